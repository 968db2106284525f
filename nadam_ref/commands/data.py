"""`nadam-ref data`: list, get and verify data sets."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .console import fail, help_of, print_table

#: Where a data set is that is computed: it has no folder.
MADE = "made when asked for"


def add(commands: Any) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser("data", help="list, get and verify data sets")
    parser.set_defaults(run=help_of(parser))
    actions = parser.add_subparsers(title="commands", metavar="COMMAND")
    listing = actions.add_parser("list", help="show every data set, where it is, and whether it is whole")
    listing.set_defaults(run=_list, extra="experiments")
    get = actions.add_parser("get", help="download what is missing of a data set")
    get.add_argument("name", metavar="NAME", help="a name that `nadam-ref data list` shows, or results")
    get.set_defaults(run=_get, extra="experiments")
    verify = actions.add_parser("verify", help="compare every file with its checksum")
    verify.add_argument("name", metavar="NAME", nargs="?", help="one data set (default: all that are there)")
    verify.set_defaults(run=_verify, extra="experiments")


def _list(_: argparse.Namespace) -> int:
    from ..experiments.datasets import registry

    print_table(
        (
            source.name,
            registry.state(source.name),
            str(registry.folder(source.name)) if source.files else MADE,
            f"{source.description}; {source.licence}",
        )
        for source in registry.SOURCES.values()
    )
    return 0


def _get(args: argparse.Namespace) -> int:
    from ..experiments import released
    from ..experiments.datasets import download, registry

    if args.name == released.NAME:
        number = len(released.registry())
        print(f"fetching {number} files of recorded results into {released.cached()}", file=sys.stderr)
        print(released.get())
    else:
        folder = download.get(args.name, progress=sys.stderr.isatty())
        print(folder if registry.SOURCES[args.name].files else MADE)
    return 0


def _verify(args: argparse.Namespace) -> int:
    from ..experiments.datasets import registry

    faults = []
    for name in [args.name] if args.name else registry.SOURCES:
        files = registry.verify(name)
        print_table((file.state, str(file.path)) for file in files)
        states = {file.state for file in files}
        damaged = [f"{f.path} expected {f.expected} found {f.actual}" for f in files if f.state == "damaged"]
        if damaged:
            sums = ", ".join(damaged)
            faults.append(f"{name} is damaged ({sums}): move these files away, then `nadam-ref data get {name}`")
        # Asked for all, a data set of which nothing is there was simply never fetched.
        elif "absent" in states and (args.name or len(states) > 1):
            faults.append(f"{name} is not all there: `nadam-ref data get {name}`")
    return fail("; ".join(faults)) if faults else 0

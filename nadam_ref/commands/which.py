"""`nadam-ref which`: which Nadam each installed library runs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from .console import print_table


def add(commands: Any) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser("which", help="say which Nadam each installed library runs")
    parser.add_argument(
        "target",
        metavar="MODULE:CLASS",
        nargs="?",
        help="any optimizer class that is used as torch's are (default: every Nadam that is installed)",
    )
    parser.add_argument("--verbose", action="store_true", help="also show the distance to every candidate")
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON")
    parser.set_defaults(run=_which)


def _which(args: argparse.Namespace) -> int:
    from .. import which

    if args.target:
        sys.path.insert(0, str(Path.cwd()))  # the class may be in a file of the user's own
    findings = [which.identify(args.target)] if args.target else which.survey()
    if args.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
        return 0
    rows = [("optimizer", "version", "dialect", "distance", "next", "what that means")]
    for x in findings:
        near, far = (f"{x.distances[name]:.0e}" if name else "" for name in (x.nearest, x.next))
        rows.append((x.target, x.version, x.dialect or "?", near, f"{x.next or ''} {far}".strip(), x.meaning))
    print_table(rows)
    if args.verbose:
        for x in findings:
            print(f"\n{x.target}: distance to every candidate")
            print_table((f"  {d:.1e}", name) for name, d in sorted(x.distances.items(), key=lambda item: item[1]))
    return 0

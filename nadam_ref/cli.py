"""The command `nadam-ref`: data sets, the book, which Nadam a library runs, and what this machine has.

Whatever needs an extra is imported inside the command that needs it, so that the others run without it.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import io
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from . import __version__, bench
from .commands import records, report, reproduce, sweep
from .errors import NadamRefError
from .files import user_path


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 it could not be done (one line says why), 130 interrupted.

    `argv` are the arguments without the program's name; None takes them from `sys.argv`.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path or a Greek letter that the terminal cannot show is no failure
        sys.stdout.reconfigure(errors="backslashreplace")
    if named := os.environ.get("NADAM_REF_DATA"):  # for programs that are started elsewhere, too
        os.environ["NADAM_REF_DATA"] = str(user_path(named))
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return _fail("interrupted", code=130)
    except ModuleNotFoundError as error:
        if args.extra is None or (error.name or "").split(".")[0] == __package__:
            raise
        return _fail(f"this needs {error.name}: pip install 'nadam_ref[{args.extra}]'")
    except NadamRefError as error:
        return _fail(str(error))


def _fail(message: str, code: int = 2) -> int:
    print("nadam-ref:", " ".join(message.split()), file=sys.stderr)
    return code


# ---------------------------------------------------------------- what can be asked


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="nadam-ref", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.set_defaults(run=_help(parser), extra=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_data(commands)
    _add_book(commands)
    _add_which(commands)
    bench.add(commands)
    sweep.add(commands)
    records.add(commands)
    reproduce.add(commands)
    report.add(commands)
    doctor = commands.add_parser("doctor", help="show versions, extras, data sets and hardware")
    doctor.set_defaults(run=_doctor)
    return parser


def _help(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    def run(_: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    return run


def _add_data(commands: Any) -> None:
    parser = commands.add_parser("data", help="list, get and verify data sets")
    parser.set_defaults(run=_help(parser))
    actions = parser.add_subparsers(title="commands", metavar="COMMAND")
    listing = actions.add_parser("list", help="show every data set, where it is, and whether it is whole")
    listing.set_defaults(run=_data_list, extra="experiments")
    get = actions.add_parser("get", help="download what is missing of a data set")
    get.add_argument("name", metavar="NAME", help="a name that `nadam-ref data list` shows, or results")
    get.set_defaults(run=_data_get, extra="experiments")
    verify = actions.add_parser("verify", help="compare every file with its checksum")
    verify.add_argument("name", metavar="NAME", nargs="?", help="one data set (default: all that are there)")
    verify.set_defaults(run=_data_verify, extra="experiments")


def _add_book(commands: Any) -> None:
    parser = commands.add_parser("book", help="execute the notebooks that changed and render the book")
    parser.add_argument("--profile", default="live", metavar="NAME", help="size of the experiments (default: live)")
    parser.add_argument("--force", action="store_true", help="execute every notebook, changed or not")
    parser.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_parameter,
        help="set a notebook parameter; may be repeated",
    )
    parser.add_argument("--zip", action="store_true", help="also pack the book into _build/nadam-ref-VERSION.zip")
    parser.set_defaults(run=_book, extra="book")


def _add_which(commands: Any) -> None:
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


def _parameter(text: str) -> tuple[str, Any]:
    """`NAME=VALUE`; a value that is a Python literal (number, string, tuple, None, …) is one, any other is text.

    A path is text: a folder may be called 2026.
    """
    from .book.build.notebooks import PATHS

    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        literal = ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
    return name, (value if name in PATHS and not isinstance(literal, str) else literal)


# ---------------------------------------------------------------- the commands


def _data_list(_: argparse.Namespace) -> int:
    from .experiments.datasets import registry

    _print_table((row.name, row.state, row.where, f"{row.description}; {row.licence}") for row in registry.listing())
    return 0


def _data_get(args: argparse.Namespace) -> int:
    from .experiments import released
    from .experiments.datasets import download

    if args.name == released.NAME:
        print(
            f"fetching {len(released.registry())} files of recorded results into {released.cached()}", file=sys.stderr
        )
        print(released.get())
    else:
        print(download.get(args.name, progress=sys.stderr.isatty()))
    return 0


def _data_verify(args: argparse.Namespace) -> int:
    from .experiments.datasets import registry

    faults = []
    for name in [args.name] if args.name else registry.names():
        files = registry.verify(name)
        _print_table((file.state, str(file.path)) for file in files)
        states = {file.state for file in files}
        if "damaged" in states:
            sums = ", ".join(f"{f.path} expected {f.expected} found {f.actual}" for f in files if f.state == "damaged")
            faults.append(f"{name} is damaged ({sums}): move these files away, then `nadam-ref data get {name}`")
        # Asked for all, a data set of which nothing is there was simply never fetched.
        elif "absent" in states and (args.name or len(states) > 1):
            faults.append(f"{name} is not all there: `nadam-ref data get {name}`")
    return _fail("; ".join(faults)) if faults else 0


def _book(args: argparse.Namespace) -> int:
    from .book.build import driver

    return driver.run_and_report(args.profile, args.force, dict(args.parameters), args.zip)


def _which(args: argparse.Namespace) -> int:
    from . import which

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
    _print_table(rows)
    if args.verbose:
        for x in findings:
            print(f"\n{x.target}: distance to every candidate")
            _print_table((f"  {d:.1e}", name) for name, d in sorted(x.distances.items(), key=lambda item: item[1]))
    return 0


def _doctor(_: argparse.Namespace) -> int:
    _print_table([*_versions(), *_extras(), *_hardware(), *_data_sets()])
    return 0


def _versions() -> Iterator[tuple[str, str]]:
    yield "nadam_ref", __version__
    yield "python", f"{platform.python_version()} on {platform.platform(terse=True)}"
    for package in ("torch", "numpy"):
        yield package, _version(package) or "missing"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> Iterator[tuple[str, str]]:
    """Each extra of the installed package, and which of its requirements are missing."""
    try:
        installed = metadata.metadata("nadam_ref")
    except metadata.PackageNotFoundError:
        yield "extras", "unknown: the package is imported from a folder, not installed"
        return
    requirements = installed.get_all("Requires-Dist") or []
    for extra in installed.get_all("Provides-Extra") or []:
        own = [text for text in requirements if re.search(rf"""extra == ['"]{extra}['"]""", text)]
        names = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in own if "python_version" not in text]
        missing = [name for name in names if _version(name) is None]
        yield f"extra {extra}", f"missing: {', '.join(missing)}" if missing else "present"


def _hardware() -> Iterator[tuple[str, str]]:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "CPUs", f"{usable}, torch uses {torch.get_num_threads()}"
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    yield "CUDA", ", ".join(torch.cuda.get_device_name(i) for i in cuda) or "none"
    for role, programs in {"compiler": ("g++", "c++", "clang++"), "node": ("node", "nodejs")}.items():
        yield role, next(filter(None, map(shutil.which, programs)), "none")


def _data_sets() -> Iterator[tuple[str, str]]:
    try:
        from .experiments.datasets import registry

        yield "data folder", str(registry.root())
        for row in registry.listing():
            yield f"data {row.name}", row.state
    except ModuleNotFoundError as error:
        yield "data", f"unknown without {error.name}"
    except registry.DataError as error:
        yield "data", str(error)


def _print_table(rows: Iterable[Sequence[str]]) -> None:
    """Print columns aligned to the left, two spaces apart."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

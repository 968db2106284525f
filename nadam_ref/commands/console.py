"""What commands share: argument types, the option `--store`, the line that says why a command failed, and tables."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ..errors import NadamRefError
from ..files import user_path
from ..tables import aligned, visible

T = TypeVar("T")


def add_store(parser: Any) -> None:
    """The option for the store of records that a command reads or writes; a group of options may be given, too."""
    parser.add_argument("--store", type=user_path, default="records", metavar="FOLDER", help="default: ./records")


def stored(folder: Path) -> tuple[list[Any], int]:
    """All whole records of a store, and the number of others, after a line for each of them.

    Raises `RecordError` where there is no store.
    """
    from ..experiments.runs.record import RecordError
    from ..experiments.runs.store import Store

    if not folder.is_dir():
        raise RecordError(f"there is no store at {folder}; name one with --store")
    with warnings.catch_warnings(record=True) as damaged:
        warnings.simplefilter("always")
        records = list(Store(folder))
    for warning in damaged:
        warn(str(warning.message))
    return records, len(damaged)


def positive(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    """The type of an argument that must be a positive integer or number."""

    def read(text: str) -> int | float:
        with contextlib.suppress(ValueError):
            if (value := kind(text)) > 0:
                return value
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive {'integer' if kind is int else 'number'}")

    return read


def cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def look_up(choices: Mapping[str, T], what: str, name: str) -> T:
    """The one of that name. Raises `NadamRefError` for an unknown name."""
    if name not in choices:
        raise NadamRefError(f"no {what} is called {name!r}; there are: {', '.join(choices)}")
    return choices[name]


def help_of(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """What a command does that needs a further word: show its help."""

    def run(_: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    return run


def warn(message: str) -> None:
    """One line on stderr that says what is wrong."""
    print("nadam-ref:", visible(" ".join(message.split())), file=sys.stderr)


def fail(message: str, code: int = 2) -> int:
    """Say in one line why a command could not be done; its exit code."""
    warn(message)
    return code


def say(text: str) -> None:
    """Print a line in which other people's words may be, such as a record's."""
    print(visible(text), flush=True)


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns."""
    for line in aligned(rows):
        say(line)

"""The command `nadam-ref`: the parser, and errors in one line."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from . import __version__
from .commands import bench, book, console, curvature, data, doctor, records, report, reproduce, sweep, which
from .errors import NadamRefError
from .files import user_path
from .tables import visible


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    - 0: done; also a sweep that `--max-minutes` ended, which says how many runs are left.
    - 1: `doctor` found what stops the package or the book.
    - 2: it could not be done, or not all of it, or what was checked is not as it should be; a line says why.
    - 130: interrupted by Ctrl-C.
    - 141: the reader of the output has closed the pipe.
    - 143: a sweep was ended by SIGTERM, and has saved its runs.

    `argv` are the arguments without the program's name; None takes them from `sys.argv`.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path or a Greek letter that the terminal cannot show is no failure
        sys.stdout.reconfigure(errors="backslashreplace")
    if named := os.environ.get("NADAM_REF_DATA"):  # for programs that are started elsewhere, too
        os.environ["NADAM_REF_DATA"] = str(user_path(named))
    args = _parser().parse_args(argv)
    try:
        code = int(args.run(args))
        print(end="", flush=True)  # a closed pipe is noticed here, not as Python exits
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes as it exits
        return 128 + 13  # SIGPIPE, as a shell has it
    except KeyboardInterrupt:
        return console.fail("interrupted", code=130)
    except ModuleNotFoundError as error:
        if args.extra is None or (error.name or "").split(".")[0] == __package__:
            raise
        return console.fail(f"this needs {error.name}: pip install 'nadam_ref[{args.extra}]'")
    except NadamRefError as error:
        return console.fail(str(error))


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line too."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, visible(f"{self.prog}: {message}; see {self.prog} --help\n"))


def _parser() -> argparse.ArgumentParser:
    """The parser of all commands. Each leaves `run`, what does it, and `extra`, the extra that this needs."""
    whole = _Parser(prog="nadam-ref", description="Optimizers, their experiments, and the book about them.")
    whole.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    whole.set_defaults(run=console.help_of(whole), extra=None)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND")
    for command in (data, book, which, bench, sweep, records, reproduce, curvature, report, doctor):
        command.add(commands)
    return whole

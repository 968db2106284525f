"""`nadam-ref book`: execute the notebooks that changed and render the book."""

from __future__ import annotations

import argparse
import ast
import json
from typing import Any


def add(commands: Any) -> None:
    """Add the command to those of the parser."""
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


def _parameter(text: str) -> tuple[str, Any]:
    """`NAME=VALUE`; a value that is a Python literal (number, string, tuple, None, …) is one, any other is text.

    A path is text: a folder may be called 2026. So is what JSON does not have, such as a set or bytes: parameters go to
    the notebook's process as JSON.
    """
    from ..book.build.notebooks import PATHS

    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        literal = ast.literal_eval(value)
        json.dumps(literal)
    except (ValueError, SyntaxError, TypeError):
        return name, value
    return name, (value if name in PATHS and not isinstance(literal, str) else literal)


def _book(args: argparse.Namespace) -> int:
    from ..book.build import driver

    return driver.run_and_report(args.profile, args.force, dict(args.parameters), args.zip)

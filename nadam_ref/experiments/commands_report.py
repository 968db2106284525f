"""`nadam-ref report`: what the recorded runs say of the papers' claims."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add"]

FORMATS = ("text", "csv", "latex", "json")
TABLES = ("verdicts", "methods", "confound", "luck")


def add(commands: Any) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser("report", help="judge the papers' claims by the recorded runs")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--store", type=Path, default=Path("records"), metavar="FOLDER", help="default: ./records")
    source.add_argument("--pack", type=Path, metavar="FOLDER", help="a pack, as `nadam-ref pack` writes it")
    parser.add_argument("--profile", default="small", metavar="NAME", help="default: small")
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text; json has all tables")
    parser.add_argument("--table", choices=TABLES, default="verdicts", help="default: verdicts")
    parser.set_defaults(run=_report, extra="experiments")


def _report(args: argparse.Namespace) -> int:
    from .report import planned_seeds, report

    records = _records(args)
    print(report(records, args.profile, args.format, args.table, planned_seeds(records, args.profile)), end="")
    return 0


def _records(args: argparse.Namespace) -> list[Any]:
    from .records import Store

    return list(Store(args.store))

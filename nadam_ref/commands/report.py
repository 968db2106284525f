"""`nadam-ref report`: what the recorded runs say of the papers' claims."""

from __future__ import annotations

import argparse
from typing import Any

from ..files import user_path

__all__ = ["add"]

STORE = "records"
FORMATS = ("text", "csv", "latex", "json")
TABLES = ("verdicts", "methods", "confound", "luck")


def add(commands: Any) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser("report", help="judge the papers' claims by the recorded runs")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--store", type=user_path, default=STORE, metavar="FOLDER", help=f"default: ./{STORE}")
    source.add_argument("--pack", type=user_path, action="append", metavar="FOLDER", help="a pack; may be repeated")
    parser.add_argument("--profile", default="small", metavar="NAME", help="default: small")
    parser.add_argument("--table", choices=TABLES, default="verdicts", help="default: verdicts")
    parser.add_argument("--format", choices=FORMATS, default="text", help="default: text; json has all tables")
    parser.add_argument("--partial", action="store_true", help="judge the reporting seeds that every arm has so far")
    parser.set_defaults(run=_report, extra="experiments")


def _report(args: argparse.Namespace) -> int:
    from ..experiments.protocol.planning import planned_seeds
    from ..experiments.verdicts.report import report

    records = [record for record in _records(args) if record.spec.profile == args.profile]
    planned = planned_seeds(records)
    print(report(records, args.profile, args.format, args.table, planned, args.partial), end="")
    return 0


def _records(args: argparse.Namespace) -> list[Any]:
    from ..experiments.runs import pack
    from ..experiments.runs.record import RecordError
    from ..experiments.runs.store import Store

    if args.pack:
        return [record for folder in args.pack for record in pack.read(folder)]
    if not args.store.is_dir():
        raise RecordError(f"there is no store at {args.store}; name one with --store, or a pack with --pack")
    return list(Store(args.store))

"""`nadam-ref report`: what the recorded runs say of the papers' claims."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import NadamRefError
from ..files import user_path
from ..tables import FORMATS
from .console import add_store, look_up, stored


def add(commands: Any) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser("report", help="judge the papers' claims by the recorded runs")
    source = parser.add_mutually_exclusive_group()
    add_store(source)
    source.add_argument("--pack", type=user_path, action="append", metavar="FOLDER", help="a pack; may be repeated")
    parser.add_argument("--profile", default="small", metavar="NAME", help="default: small")
    several = "may be repeated (default: all tasks with runs of the profile)"
    parser.add_argument("--task", action="append", default=[], metavar="NAME", help=several)
    tables = "verdicts, methods, confound or luck (default: verdicts)"
    parser.add_argument("--table", default="verdicts", metavar="NAME", help=tables)
    formats = (*FORMATS, "json")
    parser.add_argument("--format", choices=formats, default="text", help="default: text; json has all tables")
    parser.add_argument("--partial", action="store_true", help="judge the reporting seeds that every arm has so far")
    parser.set_defaults(run=_report, extra="experiments")


def _report(args: argparse.Namespace) -> int:
    from ..experiments.protocol.planning import planned_seeds
    from ..experiments.runs import pack
    from ..experiments.verdicts.report import TABLES, report

    look_up(TABLES, "table", args.table)
    _check_profile(args.profile, args.task)
    everything = [x for folder in args.pack for x in pack.read(folder)] if args.pack else stored(args.store)[0]
    records = _of_tasks(everything, args.profile, args.task) if args.task else everything
    seeds = planned_seeds(record for record in records if record.spec.profile == args.profile)
    print(report(records, args.profile, args.format, args.table, seeds, args.partial), end="")
    return 0


def _check_profile(profile: str, tasks: list[str]) -> None:
    """Raise `NadamRefError` for a profile that there is not, or that is not for verdicts."""
    from ..experiments.protocol.definition import load, profile_of

    protocol = load()
    if not any([profile_of(task, profile).judged for task in tasks or protocol.having(profile)]):
        there = ", ".join(protocol.judged())
        raise NadamRefError(f"profile {profile!r} is for looking, not for verdicts; for these there are: {there}")


def _of_tasks(records: list[Any], profile: str, tasks: list[str]) -> list[Any]:
    """The records of some tasks. Raises `NadamRefError` for a task without any of the profile."""
    from ..experiments.protocol.planning import planned

    there = {record.spec.task for record in planned(records) if record.spec.profile == profile}
    for task in tasks:
        if task not in there:
            raise NadamRefError(
                f"there are no runs of profile {profile!r} on {task}: nadam-ref sweep {profile} --task {task}"
            )
    return [record for record in records if record.spec.task in tasks]

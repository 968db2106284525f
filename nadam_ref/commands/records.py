"""`nadam-ref verify`, `pack` and `unpack`: are records whole, can they be made again, and their release."""

from __future__ import annotations

import argparse
import random
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from ..files import user_path

__all__ = ["add"]


def add(commands: Any) -> None:
    """Add the commands to those of the parser."""
    verify = commands.add_parser("verify", help="hash every record again, and repeat some of the runs")
    source = verify.add_mutually_exclusive_group()
    source.add_argument("--store", type=user_path, default="records", metavar="FOLDER", help="default: ./records")
    source.add_argument("--pack", type=user_path, metavar="FOLDER", help="a pack in place of a store")
    verify.add_argument("--rerun", type=int, default=0, metavar="N", help="repeat N random runs, compare every bit")
    verify.set_defaults(run=_verify, extra="experiments")
    unpack = commands.add_parser("unpack", help="put a pack's records into a store, so that a sweep goes on from there")
    unpack.add_argument("source", type=user_path, metavar="PACK", help="folder of the pack")
    unpack.add_argument("--store", type=user_path, default="records", metavar="FOLDER", help="default: ./records")
    unpack.set_defaults(run=_unpack, extra="experiments")
    pack = commands.add_parser("pack", help="write records as a table, curves and a manifest, for release")
    pack.add_argument("target", type=user_path, metavar="TARGET", help="folder of the pack")
    pack.add_argument("--store", type=user_path, default="records", metavar="FOLDER", help="default: ./records")
    pack.add_argument("--task", metavar="NAME", help="only this task's runs")
    pack.add_argument("--profile", metavar="NAME", help="only this profile's runs")
    pack.set_defaults(run=_pack, extra="experiments")


def _records(folder: Path) -> tuple[list[Any], list[str]]:
    """All whole records of a store, and what is to be said of the others."""
    from ..experiments.runs.record import RecordError
    from ..experiments.runs.store import Store

    if not folder.is_dir():
        raise RecordError(f"there is no store at {folder}; name one with --store")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = list(Store(folder))
    return found, [str(warning.message) for warning in caught]


def _packed(folder: Path) -> tuple[list[Any], list[str]]:
    """All records of a pack; reading it checks its hashes."""
    from ..experiments.runs.pack import read

    return read(folder), []


def _verify(args: argparse.Namespace) -> int:
    records, faults = _packed(args.pack) if args.pack else _records(args.store)
    counts = Counter(f"{r.spec.task} {r.spec.profile} {r.spec.data} {r.status}" for r in records)
    for kind, number in sorted(counts.items()):
        print(f"{number:6} {kind}")
    cpus = sorted({f"{r.provenance.get('cpu')}, {r.provenance.get('cpu_capability')}" for r in records})
    if len(cpus) > 1:
        print(f"made on {len(cpus)} kinds of processor: {'; '.join(cpus)}")
    for fault in [*faults, *_rerun(records, args.rerun)]:
        print(f"nadam-ref: {fault}", file=sys.stderr)
        faults = faults or [fault]
    return 2 if faults else 0


def _rerun(records: list[Any], number: int) -> list[str]:
    """Repeat runs that were made with this torch on this kind of CPU; what differs."""
    from ..experiments.runs.record import FAILED, provenance
    from ..experiments.runs.train import run

    if not number or not records:
        return []
    same = ("torch", "cpu_capability", "row_kernel")

    def able(record: Any) -> bool:
        here = provenance(record.spec, 0.0)
        return all(record.provenance.get(name) == here.get(name) for name in same)

    made = [record for record in records if record.status not in FAILED and record.spec.device == "cpu"]
    made = [record for record in made if able(record)]
    chosen = random.sample(made, min(number, len(made)))
    faults = []
    for record in chosen:
        again = run(record.spec)
        agrees = again.outcome_sha256 == record.outcome_sha256
        name = f"{record.spec.optimizer} lr {record.spec.lr:g} seed {record.spec.seed} ({record.spec.id[:12]})"
        print(f"{'same bits' if agrees else 'DIFFERS  '}  {name}", flush=True)
        if not agrees:
            faults.append(f"run {record.spec.id} gives other bits when it is repeated")
    if len(chosen) < number:
        print(f"{len(chosen)} of {number} repeated: only that many were made by this torch on this kind of CPU")
    return faults


def _unpack(args: argparse.Namespace) -> int:
    from ..experiments.runs.store import Store

    records, _ = _packed(args.source)
    store = Store(args.store)
    for record in records:
        store.put(record)
    print(f"{len(records)} records of {args.source} are in {args.store}")
    return 0


def _pack(args: argparse.Namespace) -> int:
    from ..experiments.runs.pack import write

    records, faults = _records(args.store)
    chosen = [r for r in records if args.task in (None, r.spec.task) and args.profile in (None, r.spec.profile)]
    for path in write(args.target, chosen):
        print(f"{path.stat().st_size:9,}  {path}")
    for fault in faults:
        print(f"nadam-ref: {fault}", file=sys.stderr)
    return 2 if faults else 0

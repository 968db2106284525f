"""`nadam-ref verify`, `pack` and `unpack`: check records, repeat runs, and release records."""

from __future__ import annotations

import argparse
import contextlib
import random
from collections import Counter
from typing import Any

from ..files import user_path
from .console import add_store, say, stored, warn


def add(commands: Any) -> None:
    """Add the commands to those of the parser."""
    verify = commands.add_parser("verify", help="hash every record again, and repeat some of the runs")
    source = verify.add_mutually_exclusive_group()
    add_store(source)
    source.add_argument("--pack", type=user_path, metavar="FOLDER", help="a pack in place of a store")
    verify.add_argument("--rerun", type=_count, default=0, metavar="N", help="repeat N random runs, compare every bit")
    verify.set_defaults(run=_verify, extra="experiments")
    unpack = commands.add_parser("unpack", help="put a pack's records into a store, so that a sweep goes on from there")
    unpack.add_argument("source", type=user_path, metavar="PACK", help="folder of the pack")
    add_store(unpack)
    unpack.set_defaults(run=_unpack, extra="experiments")
    pack = commands.add_parser("pack", help="write records as a table, curves and a manifest, for release")
    pack.add_argument("target", type=user_path, metavar="TARGET", help="folder of the pack")
    add_store(pack)
    pack.add_argument("--task", metavar="NAME", help="only this task's runs")
    pack.add_argument("--profile", metavar="NAME", help="only this profile's runs")
    pack.set_defaults(run=_pack, extra="experiments")


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        if (value := int(text)) >= 0:
            return value
    raise argparse.ArgumentTypeError(f"must be a number of runs, 0 or more, not {text!r}")


def _verify(args: argparse.Namespace) -> int:
    from ..experiments.runs.pack import read
    from ..experiments.statistics.summary import hardware

    records, faults = (read(args.pack), 0) if args.pack else stored(args.store)
    counts = Counter(f"{r.spec.task} {r.spec.profile} {r.spec.data} {r.status}" for r in records)
    for kind, number in sorted(counts.items()):
        say(f"{number:6} {kind}")
    machines = hardware(records)
    if len(machines) > 1:
        say(f"made on {len(machines)} kinds of hardware: {'; '.join(machines)}")
    return 2 if _repeat(records, args.rerun) + faults else 0


def _repeat(records: list[Any], number: int) -> int:
    """Repeat runs that were made with this torch on this processor; how many of them give other bits.

    What this package trains otherwise by now, as a version of its task or of the optimizers says, cannot be repeated.
    """
    from ..experiments.runs.optimizers import OPTIMIZER_VERSION
    from ..experiments.runs.record import DECISIVE, FAILED, provenance
    from ..experiments.runs.train import run
    from ..experiments.tasks import TASKS

    def current(record: Any) -> bool:
        task = TASKS.get(record.spec.task)
        asked = record.spec.task_version, record.spec.optimizer_version
        return task is not None and asked == (task.VERSION, OPTIMIZER_VERSION)

    def able(record: Any) -> bool:
        if record.status in FAILED or record.spec.device != "cpu":
            return False
        here = provenance(record.spec, 0.0)
        return all(record.provenance.get(name) == here.get(name) for name in DECISIVE if name != "nadam_ref")

    known = list(filter(current, records))
    if number and len(known) < len(records):
        say(f"skipped: {len(records) - len(known)} of another version of their task or of the optimizers")
    on_gpu = sum(record.spec.device != "cpu" for record in known)
    if number and on_gpu:
        say(f"skipped: {on_gpu} made on a GPU, where a run is repeated to rounding only")
    repeatable = list(filter(able, known)) if number else []
    chosen = random.sample(repeatable, min(number, len(repeatable)))
    different = 0
    for record in chosen:
        spec, agrees = record.spec, run(record.spec).outcome_sha256 == record.outcome_sha256
        name = f"{spec.optimizer} lr {spec.lr:g} seed {spec.seed} ({spec.id[:12]})"
        say(f"{'same bits' if agrees else 'DIFFERS  '}  {name}")
        if not agrees:
            warn(f"run {spec.id} gives other bits when it is repeated")
            different += 1
    if known and len(chosen) < number:
        print(f"{len(chosen)} of {number} repeated: only that many were made by this torch on this processor")
    return different


def _unpack(args: argparse.Namespace) -> int:
    from ..experiments.runs.pack import read
    from ..experiments.runs.store import Store

    records, store = read(args.source), Store(args.store)
    for record in records:
        store.put(record)
    print(f"{len(records)} records of {args.source} are in {args.store}")
    return 0


def _pack(args: argparse.Namespace) -> int:
    from ..experiments.runs.pack import write

    records, faults = stored(args.store)
    chosen = [r for r in records if args.task in (None, r.spec.task) and args.profile in (None, r.spec.profile)]
    for path in write(args.target, chosen):
        print(f"{path.stat().st_size:9,}  {path}")
    return 2 if faults else 0

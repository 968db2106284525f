"""`nadam-ref sweep`: run a profile of the protocol with a progress bar, stage by stage, until done or stopped."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

from ..tables import visible
from .console import add_store, cpus, positive, warn


def add(commands: Any) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser("sweep", help="run a profile of the protocol; what is there is not run again")
    parser.add_argument("profile", metavar="PROFILE", help="smoke, live, small, paper, choices or map")
    several = "may be repeated (default: all tasks that have the profile)"
    parser.add_argument("--task", action="append", metavar="NAME", help=several)
    parser.add_argument("--data", metavar="NAME", help="data set (default: the first of the profile's that is there)")
    add_store(parser)
    parser.add_argument("--workers", type=positive(int), metavar="N", help="default: all CPUs; 1 with --device cuda")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler that runs already, as tcp://host:8786")
    limit = "then save what runs, say how many runs are left, and stop with code 0: it was asked for"
    parser.add_argument("--max-minutes", type=positive(float), metavar="M", help=limit)
    parser.add_argument("--run-minutes", type=positive(float), metavar="M", help="longest time for one run")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument("--nice", type=_niceness, default=10, metavar="N", help="of the workers, 0 to 19 (default: 10)")
    parser.add_argument("--dry-run", action="store_true", help="print arms, runs and hours, and run nothing")
    parser.set_defaults(run=_sweep, extra="experiments")


def _niceness(text: str) -> int:
    with contextlib.suppress(ValueError):
        if 0 <= (value := int(text)) <= 19:
            return value
    raise argparse.ArgumentTypeError(f"must be an integer from 0 to 19, not {text!r}")


def _sweep(args: argparse.Namespace) -> int:
    from ..experiments.datasets.registry import first_available
    from ..experiments.protocol.cost import table, total
    from ..experiments.protocol.definition import load, profile_of
    from ..experiments.protocol.planning import Plan, run_stages
    from ..experiments.runs.driver import Control
    from ..experiments.runs.executor import executor
    from ..experiments.runs.record import FAILED, Record
    from ..experiments.runs.resources import check_device
    from ..experiments.runs.spec import RunSpec
    from ..experiments.runs.store import Store
    from ..experiments.runs.sweep import sweep

    names = args.task or load().having(args.profile)
    for task in names:
        check_device(args.device, args.profile, task)
    plans = [
        Plan(args.profile, args.data or first_available(*profile_of(task, args.profile).data), task) for task in names
    ]
    deadline = None if args.max_minutes is None else time.monotonic() + 60 * args.max_minutes
    workers = args.workers or (cpus() if args.device == "cpu" else 1)
    costs = _costs(plans, args.device)
    if args.dry_run:
        print(table(costs, workers))
        print("\n".join(_power(plans)))
        return 0
    print(total(costs, workers), file=sys.stderr)
    control, records, store = Control(deadline=deadline), {}, Store(args.store)
    limit = None if args.run_minutes is None else 60 * args.run_minutes
    with (
        _signals(control) as caught,
        _Bar(sum(cost.runs for cost in costs)) as bar,
        executor(workers, args.scheduler, nice=args.nice) as client,
    ):

        def make(specs: list[RunSpec]) -> list[Record]:
            specs = [dataclasses.replace(spec, device=args.device) for spec in specs]
            bar.expect(len(specs))
            new = sweep(specs, store, client=client, progress=bar.show, control=control, limit_seconds=limit)
            records.update({record.spec.id: record for record in new})
            return new

        left = 0 if run_stages(plans, make) else bar.left
        bar.expect(0)
    failures = sum(record.status in FAILED for record in records.values())
    done = len(records) - failures
    print(f"{done} runs are in {args.store}" + (f", {failures} failed" if failures else ""), file=sys.stderr)
    if left or failures:
        more = f"about {left:,} runs are left; " if left else ""
        warn(f"{more}the same command goes on from here; a run that is finished is not repeated")
    return (128 + caught[-1]) if caught else 2 if failures else 0


def _costs(plans: list[Any], device: str) -> list[Any]:
    """What each arm of the plans costs; how many rates the searches will try is an estimate."""
    from ..experiments.protocol.cost import Cost, seconds_per_run
    from ..experiments.protocol.planning import arm, expected_runs, specs

    costs = []
    for plan in plans:
        first = {arm(spec): dataclasses.replace(spec, device=device) for spec in specs(*plan)}
        runs = expected_runs(plan.task, plan.profile)
        costs += [Cost(plan.task, name, number, seconds_per_run(first[name])) for name, number in runs.items()]
    return costs


def _power(plans: list[Any]) -> list[str]:
    """What the reporting seeds of each plan can see, where a pilot has measured the spread."""
    from ..experiments.protocol.definition import profile_of
    from ..experiments.statistics.significance import detectable
    from ..experiments.verdicts.claims import claims, verdict_rules

    family, lines = sum(claim.primary for claim in claims()), []
    for plan in plans:
        profile = profile_of(plan.task, plan.profile)
        n, spread = len(profile.reporting), profile.pilot
        if spread is not None:
            least = 100 * math.expm1(detectable(spread, n, family, verdict_rules().alpha))
            lines.append(f"{plan.task}: {n} seeds show a difference of {least:.1f} % (pairs spread by {spread:g})")
        elif n:
            lines.append(f"{plan.task}: {n} seeds; no pilot says what they can show")
    return lines


@contextlib.contextmanager
def _signals(control: Any) -> Iterator[list[int]]:
    """Ctrl-C once: begin no more runs. Twice, or SIGTERM: save the running ones and stop. Yields what was caught."""
    caught: list[int] = []

    def handle(number: int, _: Any) -> None:
        caught.append(number)
        if number == signal.SIGINT and len(caught) == 1:
            control.finish = True
            print("\nfinishing the running ones; Ctrl-C again to save and stop them", file=sys.stderr)
        elif len(caught) <= 2:
            control.stop = True
            print("\nsaving the running ones", file=sys.stderr)
        else:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Bar:
    """The progress bar: runs done of about `total`, time left, the best so far; a line for every failure."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, unit="run", mininterval=0.5 if sys.stderr.isatty() else 30, dynamic_ncols=True)
        self.total = total
        self.best: dict[str, tuple[float, str]] = {}

    def __enter__(self) -> _Bar:
        self.warnings = warnings.catch_warnings()
        self.warnings.__enter__()
        warnings.showwarning = lambda message, *_: self.bar.write(visible(f"nadam-ref: {message}"), sys.stderr)
        return self

    def __exit__(self, *_: object) -> None:
        self.warnings.__exit__(None, None, None)
        self.bar.close()

    @property
    def left(self) -> int:
        """About how many runs are still to be made; at least 1, as long as nobody has said that there is no other."""
        return max(1, self.total - int(self.bar.n))

    def expect(self, runs: int) -> None:
        """The next stage has so many runs; none: there is no other."""
        known = int(self.bar.n) + runs
        self.total = max(self.total, known) if runs else known
        self.bar.total = self.total
        self.bar.refresh()

    def show(self, done: int, total: int, record: Any) -> None:
        """Count a record in, as `sweep` reports them."""
        from ..experiments.protocol.planning import arm
        from ..experiments.runs.record import FAILED

        spec = record.spec
        what = f"{spec.task} {arm(spec)} lr {spec.lr:g}"
        if record.status in FAILED:
            line = f"{record.status}: {what} seed {spec.seed} ({spec.id[:12]}): {record.reason}"
            self.bar.write(visible(line), sys.stderr)
        elif record.status == "finished":
            self.best[spec.task] = min(self.best.get(spec.task, (float("inf"), "")), (record.metrics["dev_loss"], what))
            loss, where = self.best[spec.task]
            self.bar.set_postfix_str(f"best dev loss {loss:.4g}: {where}", refresh=False)
        self.bar.update()

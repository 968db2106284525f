"""What a plan of runs costs in hours on this machine, from a few timed steps and evaluations."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ...tables import aligned
from ..runs.resources import arithmetic, keep_freed_memory
from ..runs.spec import RunSpec
from ..runs.training import Training

WARM_UP = 3  # steps that are not timed: they allocate and compile
SECONDS = 0.5  # how long steps are timed, or as many as the run has
ENDLESS = 2**62

_timed: dict[str, float] = {}  # what has been timed in this process


class Cost(NamedTuple):
    """Runs of an arm, and the seconds that each of them takes."""

    task: str
    arm: str
    runs: int
    seconds: float


def seconds_per_run(spec: RunSpec) -> float:
    """Seconds that a run takes when a core of this machine is free for it.

    One that diverges takes less, and so does one that a GPU makes beside others. On a CPU it is processor time that is
    measured, so that a busy machine does not make runs look longer. Steps, with the drawing of their batches, are timed
    once for each kind of optimizer, evaluations once for each task and size. The rate is 0 meanwhile, so that nothing
    diverges. Raises as `nadam_ref.experiments.runs.train.run`.
    """
    task = dataclasses.replace(spec, optimizer="", hyperparameters={}, seed=0, steps=0, evaluate_every=1).id
    step, dev, test = (f"{task} {what}" for what in (spec.optimizer, "dev", "test"))
    if not {step, dev, test} <= _timed.keys():
        keep_freed_memory()
        with arithmetic(spec.threads):
            still = {**spec.hyperparameters, "lr": 0.0}
            training = Training(dataclasses.replace(spec, hyperparameters=still, steps=ENDLESS, evaluate_every=ENDLESS))
            for split, name in (("dev", dev), ("test", test)):
                if name not in _timed:
                    _timed[name] = _seconds(functools.partial(training.evaluate, split), 1, spec.device)
            training.log.step = 1  # no development value is due
            for _ in range(WARM_UP):
                training.advance()
            _timed[step] = _seconds(training.advance, spec.steps, spec.device)
    evaluations = len({*range(0, spec.steps, spec.evaluate_every), spec.steps})
    return spec.steps * _timed[step] + evaluations * _timed[dev] + _timed[test]


def _seconds(action: Callable[[], object], most: int, device: str) -> float:
    """Mean seconds of an action, done for a while, at most so many times."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    started, passed, done = clock(), 0.0, 0
    while done < most and passed < SECONDS:
        action()
        done, passed = done + 1, clock() - started
    return passed / max(done, 1)


def total(costs: Iterable[Cost], workers: int) -> str:
    """One line: how many runs, and the hours that they take on so many workers."""
    rows = list(costs)
    runs, seconds = sum(row.runs for row in rows), sum(row.runs * row.seconds for row in rows)
    on = "1 worker" if workers == 1 else f"{workers} workers"
    return f"{runs:,} runs, about {_hours(seconds / workers)} hours on {on} of this machine"


def table(costs: Iterable[Cost], workers: int) -> str:
    """A line for each arm of each task: its runs, and their hours on one worker; then the total."""
    rows = list(costs)
    cells = [(row.task, row.arm, f"{row.runs:,}", _hours(row.runs * row.seconds)) for row in rows]
    lines = aligned([("task", "arm", "runs", "hours"), *cells], "llrr")
    return "\n".join([*lines, total(rows, workers)])


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f}"

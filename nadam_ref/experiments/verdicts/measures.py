"""What an arm's runs show besides its last value: how fast, and how sensitive to the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...rules import schedule
from ..runs.train import ROW_STEPS
from ..statistics.intervals import Interval, wilson
from ..statistics.summary import Summary, reported_metric, summarize
from .arms import Arm, Evidence

__all__ = ["Method", "expected_best", "final_momentum", "methods", "steps_to"]

REFERENCE = "Adam"  # a method's steps to target: until its development loss is as low as Adam's is in the end
TRIALS = 3


def steps_to(target: float, steps: Sequence[float], values: Sequence[float]) -> float:
    """The first of `steps` at which the value is at most `target`; +inf where it never is."""
    return next((float(step) for step, value in zip(steps, values, strict=True) if value <= target), math.inf)


def expected_best(values: Sequence[float], k: int) -> float:
    """Expected smallest of `k` values drawn from `values` without replacement; +inf where it may be one of those.

    The estimate is exact and unbiased: the i-th smallest is the best in (n−i choose k−1) of the (n choose k) draws.
    Raises `ValueError` unless 1 ≤ k ≤ n.
    """
    n = len(values)
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the {n} values, not {k}")
    ordered = sorted(values)[: n - k + 1]
    return sum(x * math.comb(n - i, k - 1) / math.comb(n, k) for i, x in enumerate(ordered, start=1))


# ---------------------------------------------------------------- a table of methods


@dataclass(frozen=True)
class Method:
    """One arm on one task: its rate, its reported runs and how it got there.

    `metrics`: summaries of the reported runs; `runner_up`: its other rate, with summaries of the runs there, if there
    are any. `steps`: the median over seeds of the steps to the mean last development loss of Adam (None where it has
    none). `trials`: expected best development loss of 3 of the rates tried. +inf where runs do not get there.
    """

    task: str
    metric: str
    name: str
    lr: float
    edge: bool
    n: int
    diverged: int
    diverged_share: Interval | None
    metrics: dict[str, Summary]
    runner_up: tuple[float, dict[str, Summary]] | None
    steps: float | None
    trials: float


def _summaries(arm: Arm) -> dict[str, Summary]:
    return {name: summarize(arm.values(name)) for name in arm.chosen.metrics}


def _method(task: str, arm: Arm, target: float | None) -> Method:
    runs = [arm.runs[seed] for seed in sorted(arm.runs)]
    steps = None
    if target is not None:
        steps = float(np.median([steps_to(target, run.curves["dev_step"], run.curves["dev_loss"]) for run in runs]))
    losses = [row.dev_loss.mean for row in arm.tuning]
    return Method(
        task=task,
        metric=reported_metric(task),
        name=arm.name,
        lr=arm.lr,
        edge=arm.chosen.edge,
        n=len(runs),
        diverged=arm.diverged,
        diverged_share=wilson(arm.diverged, len(runs)),
        metrics=_summaries(arm),
        runner_up=None if arm.runner_up is None else (arm.runner_up.lr, _summaries(arm.runner_up)),
        steps=steps,
        trials=expected_best(losses, min(TRIALS, len(losses))),
    )


def methods(evidence: Evidence) -> list[Method]:
    """Every arm of every task."""
    table = []
    for task, arms in evidence.items():
        end = arms[REFERENCE].mean("dev_loss") if REFERENCE in arms else math.inf
        table += [_method(task, arm, end if math.isfinite(end) else None) for arm in arms.values()]
    return table


def final_momentum(arms: Mapping[str, Arm]) -> list[float]:
    """The scheduled μ_t at the end of training; empty where no arm has a schedule.

    Two values where rows count their own steps: for the row with the most steps, and for the median row.
    """
    scheduled = [arm for arm in arms.values() if arm.spec.hyperparameters.get("momentum_decay") is not None]
    if not scheduled:
        return []
    record = next(iter(scheduled[0].runs.values()))
    hyper = record.spec.hyperparameters
    mu = hyper["betas"][0] if "betas" in hyper else hyper["momentum"]
    steps = [float(record.spec.steps)]
    if record.spec.row_lazy:
        steps = [record.metrics[name] for name in ROW_STEPS if name in record.metrics]
    return [float(schedule(mu, t, hyper["momentum_decay"])) for t in steps]

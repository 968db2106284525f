"""What an arm's runs show besides its last value: how fast, and how sensitive to the learning rate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...rules import schedule
from ..protocol.tuning import choose
from ..runs.training import ROW_STEPS
from ..statistics.summary import criterion, reported_metric
from .arms import Arm, Evidence

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


def median_best(values: Sequence[float], k: int) -> float:
    """Median of the smallest of `k` values drawn from `values` without replacement: +inf counts as any other value.

    The smallest value whose place i has (n−i choose k) / (n choose k) ≤ ½, the probability that all k are larger.
    Raises `ValueError` unless 1 ≤ k ≤ n.
    """
    n = len(values)
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the {n} values, not {k}")
    whole = math.comb(n, k)
    return next(x for i, x in enumerate(sorted(values), start=1) if 2 * math.comb(n - i, k) <= whole)


@dataclass(frozen=True)
class Method:
    """An arm on one task, and how it got to its last values.

    `steps`: the median over seeds of the steps until the development loss is as low as Adam's mean in the end; +inf
    where runs do not get there, None where Adam has no such mean.
    """

    task: str
    arm: Arm
    steps: float | None

    @property
    def metric(self) -> str:
        """The metric in which results are reported."""
        return reported_metric(self.task)

    @property
    def trials(self) -> float:
        """Expected best development loss of 3 of the rates tried; +inf as `expected_best`."""
        losses = [row.dev_loss.mean for row in self.arm.tuning]
        return expected_best(losses, min(TRIALS, len(losses)))


def methods(evidence: Evidence) -> list[Method]:
    """Every arm of every task."""
    table = []
    for task, arms in evidence.items():
        target = arms[REFERENCE].mean("dev_loss") if REFERENCE in arms else math.inf
        table += [Method(task, arm, _median_steps(arm, target)) for arm in arms.values()]
    return table


def _median_steps(arm: Arm, target: float) -> float | None:
    if not math.isfinite(target):
        return None
    curves = [run.curves for run in arm.runs.values()]
    return float(np.median([steps_to(target, curve["dev_step"], curve["dev_loss"]) for curve in curves]))


def rate_shares(arm: Arm) -> dict[float, float]:
    """How often the arm would choose each of its rates, had its tuning seeds been drawn again: the bootstrap over them.

    Exact: all draws with replacement, n^n of n seeds, each with the protocol's choice. The rates are in rising order.
    """
    rows = sorted(arm.tuning, key=lambda row: row.lr)
    seeds = sorted(rows[0].runs)
    draws = list(itertools.product(seeds, repeat=len(seeds)))
    chosen = [choose({row.lr: criterion([row.runs[seed] for seed in draw]) for row in rows}).lr for draw in draws]
    return {row.lr: chosen.count(row.lr) / len(draws) for row in rows}


def final_momentum(arms: Mapping[str, Arm]) -> list[float]:
    """The scheduled μ_t at the end of training; empty where no arm has a schedule.

    Two values where rows count their own steps: for the row with the most steps, and for the median row. They are
    those of the first run that says how many, as one that diverged does not.
    """
    scheduled = [arm for arm in arms.values() if arm.spec.hyperparameters.get("momentum_decay") is not None]
    runs = [run for arm in scheduled for run in arm.runs.values()]
    if runs and runs[0].spec.row_lazy:
        runs = [run for run in runs if run.metrics.keys() >= set(ROW_STEPS)]
    if not runs:
        return []
    record, hyper = runs[0], runs[0].spec.hyperparameters
    mu = hyper["betas"][0] if "betas" in hyper else hyper["momentum"]
    steps = [record.metrics[name] for name in ROW_STEPS] if record.spec.row_lazy else [float(record.spec.steps)]
    return [float(schedule(mu, t, hyper["momentum_decay"])) for t in steps]

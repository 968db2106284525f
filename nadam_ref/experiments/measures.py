"""What an arm's runs show besides its last value: how fast, how well along the way, how forgiving of the rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .evidence import Arm, Evidence
from .intervals import Interval, wilson
from .records import Record
from .statistics import Row, Summary, summary

__all__ = ["Method", "expected_best", "good_rates", "log_area", "methods", "steps_to"]

REFERENCE = "Adam"  # a method's steps to target: until its development loss is as low as Adam's is in the end
GOOD = 1.1  # a rate is good if its mean development loss is at most this times the best
TRIALS = 3


def steps_to(target: float, steps: Sequence[float], values: Sequence[float]) -> float:
    """The first of `steps` at which the value is at most `target`; +inf where it never is."""
    return next((float(step) for step, value in zip(steps, values, strict=True) if value <= target), math.inf)


def log_area(steps: Sequence[float], values: Sequence[float]) -> float:
    """Mean of log(value) over the steps, by trapezoids; +inf where a value is not finite.

    The area under the curve on a logarithmic axis, divided by its length: a difference of two is comparable with a
    difference of log(metric). Raises `ValueError` for fewer than two steps.
    """
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if len(x) < 2:
        raise ValueError("an area needs at least two evaluations")
    if not np.isfinite(y).all():
        return math.inf
    height = np.log(y)
    return float(((height[1:] + height[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))


def good_rates(table: Sequence[Row], factor: float = GOOD) -> Interval | None:
    """The smallest and largest rate around the best with a mean development loss of at most `factor` × the best.

    Only rates without a worse one between them and the best count. None where every rate diverged. The width of the
    region in decades is the difference of their logarithms.
    """
    ordered = sorted(table, key=lambda row: row.lr)
    losses = [row.dev_loss.mean for row in ordered]
    best = losses.index(min(losses))
    if not math.isfinite(losses[best]):
        return None
    good = [loss <= factor * losses[best] for loss in losses]
    low, high = best, best
    while low > 0 and good[low - 1]:
        low -= 1
    while high + 1 < len(good) and good[high + 1]:
        high += 1
    return ordered[low].lr, ordered[high].lr


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

    `metrics`: summaries of the reported runs. `steps`: the median over seeds of the steps to the mean last development
    loss of Adam (None where it has none), and `area` the mean log area of the development loss; +inf where runs do not
    get there. `good`: the region of good rates. `trials`: expected best development loss of 3 of the rates tried.
    """

    task: str
    name: str
    lr: float
    edge: bool
    n: int
    diverged: int
    diverged_share: Interval | None
    metrics: dict[str, Summary]
    steps: float | None
    area: float
    good: Interval | None
    trials: float

    @property
    def decades(self) -> float:
        """Width of the region of good rates; 0 where no rate is."""
        return 0.0 if self.good is None else math.log10(self.good[1] / self.good[0])


def _area(record: Record) -> float:
    if record.status == "diverged":
        return math.inf
    return log_area(record.curves["dev_step"], record.curves["dev_loss"])


def _method(task: str, arm: Arm, target: float | None) -> Method:
    runs = [arm.runs[seed] for seed in sorted(arm.runs)]
    names = list(arm.chosen.metrics)
    steps = None
    if target is not None:
        found = [steps_to(target, run.curves["dev_step"], run.curves["dev_loss"]) for run in runs]
        steps = float(np.median(found))
    losses = [row.dev_loss.mean for row in arm.tuning]
    return Method(
        task=task,
        name=arm.name,
        lr=arm.chosen.lr,
        edge=arm.chosen.edge,
        n=len(runs),
        diverged=arm.diverged,
        diverged_share=wilson(arm.diverged, len(runs)),
        metrics={name: summary(arm.values(name)) for name in names},
        steps=steps,
        area=float(np.mean([_area(run) for run in runs])),
        good=good_rates(arm.tuning),
        trials=expected_best(losses, min(TRIALS, len(losses))),
    )


def methods(evidence: Evidence) -> list[Method]:
    """Every arm of every task."""
    found = []
    for task, arms in evidence.items():
        end = arms[REFERENCE].mean("dev_loss") if REFERENCE in arms else math.inf
        found += [_method(task, arm, end if math.isfinite(end) else None) for arm in arms.values()]
    return found

"""From records to the numbers of a table: a summary over seeds, the best rate of each method, an interval."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .records import Record, RunSpec

Floats = npt.NDArray[np.float64]


class MissingRunsError(RuntimeError):
    """A table lacks runs. The message lists them."""


@dataclass(frozen=True)
class Summary:
    """One metric over seeds: mean, smallest, largest, number of runs, and a 95 % interval of the mean where n ≥ 3."""

    mean: float
    low: float
    high: float
    n: int
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Row:
    """One method at one learning rate. `edge` says that the rate is the smallest or largest of the method's grid.

    A diverged run counts as +inf in a loss and −inf in an accuracy; `diverged` is how many of the n there are.
    """

    optimizer: str
    hyperparameters: Mapping[str, Any]
    lr: float
    edge: bool
    diverged: int
    n: int
    dev_loss: Summary
    dev_accuracy: Summary
    test_loss: Summary
    test_accuracy: Summary


@dataclass(frozen=True)
class Curve:
    """A curve over seeds at the numbers of updates in `step`: mean, smallest and largest value, all `[len(step)]`."""

    step: npt.NDArray[np.int64]
    mean: Floats
    low: Floats
    high: Floats


# ---------------------------------------------------------------- intervals


def _t_within(angle: float, df: int) -> float:
    """P(|T| ≤ √df · tan(angle)) of Student's t (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    cosine = math.cos(angle)
    term, total = 1.0, 0.0
    if df % 2 == 0:
        for j in range(df // 2):
            total += term
            term *= cosine**2 * (2 * j + 1) / (2 * j + 2)
        return math.sin(angle) * total
    term = cosine
    for j in range((df - 1) // 2):
        total += term
        term *= cosine**2 * (2 * j + 2) / (2 * j + 3)
    return 2 / math.pi * (angle + math.sin(angle) * total)


def t_quantile(level: float, df: int) -> float:
    """The t with P(|T| ≤ t) = `level` for Student's distribution with `df` ≥ 1 degrees of freedom."""
    if not 0 < level < 1 or df < 1:
        raise ValueError(f"level must lie between 0 and 1 and df be at least 1, not {level} and {df}")
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, df) < level else (low, middle)
    return math.sqrt(df) * math.tan(low)


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student-t interval of the mean; None for fewer than 3 values or where one is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 3 or not np.isfinite(array).all():
        return None
    half = t_quantile(level, len(array) - 1) * float(array.std(ddof=1)) / math.sqrt(len(array))
    return float(array.mean()) - half, float(array.mean()) + half


def summary(values: Sequence[float]) -> Summary:
    """Mean, range, n and interval of at least one value. Raises `ValueError` for none."""
    if not values:
        raise ValueError("no values to summarize")
    array = np.asarray(values, dtype=np.float64)
    return Summary(float(array.mean()), float(array.min()), float(array.max()), len(array), interval(values))


# ---------------------------------------------------------------- tables


Arm = tuple[str, str]


def _arm(of: RunSpec | Row) -> Arm:
    """What a learning rate is tuned for: the optimizer and its other hyperparameters."""
    return of.optimizer, repr(sorted((name, value) for name, value in of.hyperparameters.items() if name != "lr"))


def _value(record: Record, metric: str) -> float:
    if record.status == "finished":
        return record.metrics[metric]
    return -math.inf if metric.endswith("accuracy") else math.inf


def _describe(spec: RunSpec) -> str:
    return f"{spec.optimizer} lr {spec.lr:g} seed {spec.seed} ({spec.id[:12]})"


def _check(records: Sequence[Record]) -> None:
    """One task, profile and data set, every run there, every cell with the same seeds."""
    crashed = [_describe(record.spec) for record in records if record.status == "crashed"]
    if crashed:
        raise MissingRunsError(f"{len(crashed)} runs crashed; run the sweep again: {'; '.join(crashed)}")
    common = {
        dataclasses.replace(r.spec, optimizer="", optimizer_version=0, hyperparameters={}, seed=0).id for r in records
    }
    if len(common) > 1:
        raise ValueError("the records are of different tasks, profiles or data; they are never put into one table")
    seeds = {record.spec.seed for record in records}
    cells: dict[tuple[Arm, float], set[int]] = {}
    for record in records:
        cells.setdefault((_arm(record.spec), record.spec.lr), set()).add(record.spec.seed)
    missing = [f"{arm[0]} lr {lr:g} seed {seed}" for (arm, lr), have in cells.items() for seed in sorted(seeds - have)]
    if missing:
        raise MissingRunsError(f"{len(missing)} runs are missing; sweep these specs first: {'; '.join(missing)}")


def _row(cell: Sequence[Record], rates: set[float]) -> Row:
    spec = cell[0].spec
    metrics = {
        metric: summary([_value(record, metric) for record in cell])
        for metric in ("dev_loss", "dev_accuracy", "test_loss", "test_accuracy")
    }
    return Row(
        optimizer=spec.optimizer,
        hyperparameters=spec.hyperparameters,
        lr=spec.lr,
        edge=spec.lr in (min(rates), max(rates)),
        diverged=sum(record.status == "diverged" for record in cell),
        n=len(cell),
        **metrics,
    )


def rows(records: Iterable[Record]) -> list[Row]:
    """One row for every method and rate, in the order in which they first appear.

    Raises `MissingRunsError` where a run crashed or a cell lacks a seed that another has, and `ValueError` where
    records of different tasks, profiles, data or lengths are mixed.
    """
    kept = list({record.spec.id: record for record in records}.values())
    _check(kept)
    arms: dict[Arm, dict[float, list[Record]]] = {}
    for record in kept:
        arms.setdefault(_arm(record.spec), {}).setdefault(record.spec.lr, []).append(record)
    return [_row(cell, set(cells)) for cells in arms.values() for cell in cells.values()]


def best(table: Iterable[Row]) -> list[Row]:
    """Of each method the row with the lowest mean development loss; of equal ones that with the smaller rate.

    Where every rate has diverged the row says so: its losses are +inf.
    """
    chosen: dict[Arm, Row] = {}
    for row in table:
        rival = chosen.get(_arm(row))
        if rival is None or (row.dev_loss.mean, row.lr) < (rival.dev_loss.mean, rival.lr):
            chosen[_arm(row)] = row
    return list(chosen.values())


def _steps(spec: RunSpec, name: str) -> list[int]:
    """The updates made when the values of a whole curve were taken."""
    if name == "train_loss":
        return list(range(spec.steps))
    return sorted({*range(0, spec.steps, spec.evaluate_every), spec.steps})


def curve(records: Iterable[Record], row: Row, name: str = "dev_loss") -> Curve:
    """A curve of a row's runs: `train_loss`, `dev_loss` or `dev_accuracy`.

    From where a run diverged its loss counts as +inf and its accuracy as −inf, so every curve has full length.
    Raises `MissingRunsError` where no record belongs to the row.
    """
    wanted = (row.optimizer, row.hyperparameters)
    cell = {r.spec.id: r for r in records if (r.spec.optimizer, r.spec.hyperparameters) == wanted}
    values = [record for record in cell.values() if record.status != "crashed"]
    if not values:
        raise MissingRunsError(f"no record of {row.optimizer} with lr {row.lr:g}")
    steps = _steps(values[0].spec, name)
    worst = -math.inf if name.endswith("accuracy") else math.inf
    padded = np.full((len(values), len(steps)), worst)
    for line, record in zip(padded, values, strict=True):
        found = np.asarray(record.curves[name], dtype=np.float64)
        line[: len(found)] = np.where(np.isfinite(found), found, worst)
    return Curve(np.asarray(steps, dtype=np.int64), padded.mean(axis=0), padded.min(axis=0), padded.max(axis=0))

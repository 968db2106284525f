"""From records to the numbers of a table: a summary over seeds, the best rate of each method, curves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import NadamRefError
from ..runs.record import FAILED, Record, RunSpec
from ..tasks import TASKS
from .intervals import Interval, t_interval

Floats = npt.NDArray[np.float64]


#: Missing runs that an error names one by one.
LISTED = 12


class RunsError(NadamRefError):
    """The runs at hand do not make a table. The message says why and what to do."""


class MissingRunsError(RunsError):
    """A table lacks runs. The message lists them, and the command that makes them."""


class MixedRunsError(RunsError):
    """Runs that cannot be compared were given for one table."""


@dataclass(frozen=True)
class Summary:
    """One metric over seeds: mean, smallest, largest, number of runs, and a 95 % interval of the mean where n ≥ 3."""

    mean: float
    low: float
    high: float
    n: int
    interval: Interval | None


@dataclass(frozen=True)
class Row:
    """One method at one learning rate. `edge` says that the rate is the smallest or largest that the method tried.

    `spec`: that of its first run. `criterion`: what rates are chosen by. `metrics` has what the task measures at the
    last step, on the development set (`dev_loss`, …) and on the test set. A diverged run counts as +inf in a loss and
    −inf in an accuracy; `diverged` is how many of the n there are.
    """

    spec: RunSpec
    edge: bool
    diverged: int
    n: int
    criterion: float
    metrics: Mapping[str, Summary]

    @property
    def optimizer(self) -> str:
        return self.spec.optimizer

    @property
    def lr(self) -> float:
        return self.spec.lr

    @property
    def dev_loss(self) -> Summary:
        return self.metrics["dev_loss"]

    @property
    def dev_accuracy(self) -> Summary:
        return self.metrics["dev_accuracy"]

    @property
    def test_loss(self) -> Summary:
        return self.metrics["test_loss"]

    @property
    def test_accuracy(self) -> Summary:
        return self.metrics["test_accuracy"]


@dataclass(frozen=True)
class Curve:
    """A curve over seeds at the numbers of updates in `step`: mean, smallest and largest value, all `[len(step)]`."""

    step: npt.NDArray[np.int64]
    mean: Floats
    low: Floats
    high: Floats


def summary(values: Sequence[float]) -> Summary:
    """Mean, range, n and interval of at least one value. Raises `ValueError` for none."""
    if not values:
        raise ValueError("no values to summarize")
    array = np.asarray(values, dtype=np.float64)
    return Summary(float(array.mean()), float(array.min()), float(array.max()), len(array), t_interval(values))


# ---------------------------------------------------------------- tables


Arm = tuple[str, str, bool]


def _arm(spec: RunSpec) -> Arm:
    """What a learning rate is tuned for: the optimizer, its other hyperparameters, and whether it is row-lazy."""
    others = sorted((name, value) for name, value in spec.hyperparameters.items() if name != "lr")
    return spec.optimizer, repr(others), spec.row_lazy


def value(record: Record, metric: str) -> float:
    """A run's metric at the last step; where it diverged +inf, −inf for an accuracy."""
    if record.status == "diverged":
        return -math.inf if metric.endswith("accuracy") else math.inf
    if metric not in record.metrics:
        there = ", ".join(record.metrics)
        raise RunsError(f"the run of {_describe(record.spec)} on {record.spec.task} has no {metric}; it has: {there}")
    return record.metrics[metric]


def criterion(cell: Sequence[Record]) -> float:
    """What a learning rate is chosen by: the mean log of the task's metric on the development set.

    The records are runs of one arm at one rate; +inf where one of them diverged.
    """
    values = [value(record, f"dev_{TASKS[record.spec.task].METRIC}") for record in cell]
    return math.inf if math.inf in values else sum(map(math.log, values)) / len(values)


def measured(record: Record) -> list[str]:
    """The metrics of the record's task. They are read from its curves, which a diverged run has too."""
    names = [name.removeprefix("dev_") for name in record.curves if name.startswith("dev_") and name != "dev_step"]
    return [f"{part}_{name}" for part in ("dev", "test") for name in names]


def _describe(spec: RunSpec) -> str:
    return f"{spec.optimizer} lr {spec.lr:g} seed {spec.seed} ({spec.id[:12]})"


def missing(specs: Sequence[RunSpec], why: str = "are missing") -> MissingRunsError:
    """The error that says which runs a table lacks and how to make them."""
    commands = sorted({f"nadam-ref sweep {spec.profile} --task {spec.task}" for spec in specs})
    more = [f"and {len(specs) - LISTED} more"] if len(specs) > LISTED else []
    listed = "; ".join([*map(_describe, specs[:LISTED]), *more])
    return MissingRunsError(f"{len(specs)} runs {why}; make them by `{'`, `'.join(commands)}`: {listed}")


def check_comparable(records: Sequence[Record]) -> None:
    """Raise `MissingRunsError` where a run failed, `MixedRunsError` where runs differ in more than arm and seed."""
    failed = [record.spec for record in records if record.status in FAILED]
    if failed:
        raise missing(failed, "failed")
    common = {
        dataclasses.replace(r.spec, optimizer="", optimizer_version=0, hyperparameters={}, row_lazy=False, seed=0)
        for r in records
    }
    if len({spec.id for spec in common}) > 1:
        kinds = sorted({f"{spec.task}/{spec.profile}/{spec.data}/{spec.steps} steps" for spec in common})
        raise MixedRunsError(
            "the records are of different tasks, profiles or data; they are never put into one table; "
            f"keep each kind in a store of its own: {', '.join(kinds)}"
        )
    protocols = {record.provenance.get("protocol_sha256") for record in records}
    if len(protocols) > 1:
        listed = ", ".join(sorted(str(sha256)[:12] for sha256 in protocols))
        raise MixedRunsError(
            f"the runs on {records[0].spec.task} were made under different protocols ({listed}); they are never put "
            "into one table: run all of it again into an empty store"
        )


def _check(records: Sequence[Record]) -> None:
    """Comparable, and every cell with the same seeds."""
    check_comparable(records)
    seeds = {record.spec.seed for record in records}
    cells: dict[tuple[Arm, float], dict[int, RunSpec]] = {}
    for record in records:
        cells.setdefault((_arm(record.spec), record.spec.lr), {})[record.spec.seed] = record.spec
    lacking = [
        dataclasses.replace(next(iter(have.values())), seed=seed)
        for have in cells.values()
        for seed in sorted(seeds - set(have))
    ]
    if lacking:
        raise missing(lacking)


def _row(cell: Sequence[Record], rates: set[float]) -> Row:
    return Row(
        spec=cell[0].spec,
        edge=cell[0].spec.lr in (min(rates), max(rates)),
        diverged=sum(record.status == "diverged" for record in cell),
        n=len(cell),
        criterion=criterion(cell),
        metrics={name: summary([value(record, name) for record in cell]) for name in measured(cell[0])},
    )


def rows(records: Iterable[Record]) -> list[Row]:
    """One row for every method and rate, in the order in which they first appear.

    Raises `MissingRunsError` where a run failed or a cell lacks a seed that another has, and `MixedRunsError` where
    records of different tasks, profiles, data, lengths or protocols are mixed.
    """
    kept = list({record.spec.id: record for record in records}.values())
    _check(kept)
    arms: dict[Arm, dict[float, list[Record]]] = {}
    for record in kept:
        arms.setdefault(_arm(record.spec), {}).setdefault(record.spec.lr, []).append(record)
    return [_row(cell, set(cells)) for cells in arms.values() for cell in cells.values()]


def best(table: Iterable[Row]) -> list[Row]:
    """For each method the row with the lowest criterion (ties: the smaller rate).

    Where every rate has diverged the row says so: its losses are +inf.
    """
    chosen: dict[Arm, Row] = {}
    for row in table:
        rival = chosen.get(_arm(row.spec))
        if rival is None or (row.criterion, row.lr) < (rival.criterion, rival.lr):
            chosen[_arm(row.spec)] = row
    return list(chosen.values())


def _steps(spec: RunSpec, name: str) -> list[int]:
    """The updates made when the values of a whole curve were taken."""
    if name == "train_loss":
        return list(range(0, spec.steps, spec.train_every))
    return sorted({*range(0, spec.steps, spec.evaluate_every), spec.steps})


def curve(records: Iterable[Record], row: Row, name: str = "dev_loss") -> Curve:
    """A curve of a row's runs: `train_loss`, `dev_loss` or `dev_accuracy`.

    From where a run diverged its loss counts as +inf and its accuracy as −inf, so every curve has full length.
    Raises `MissingRunsError` where no record belongs to the row.
    """
    wanted = (_arm(row.spec), row.lr)
    cell = {r.spec.id: r for r in records if (_arm(r.spec), r.spec.lr) == wanted}
    values = [record for record in cell.values() if record.status not in FAILED]
    if not values:
        raise MissingRunsError(f"no record of {row.optimizer} with lr {row.lr:g}")
    steps = _steps(values[0].spec, name)
    worst = -math.inf if name.endswith("accuracy") else math.inf
    padded = np.full((len(values), len(steps)), worst)
    for line, record in zip(padded, values, strict=True):
        found = np.asarray(record.curves[name], dtype=np.float64)
        line[: len(found)] = np.where(np.isfinite(found), found, worst)
    return Curve(np.asarray(steps, dtype=np.int64), padded.mean(axis=0), padded.min(axis=0), padded.max(axis=0))

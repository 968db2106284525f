"""Results of runs over seeds: one metric, curves, what rates are chosen by, and which runs may be compared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import NadamRefError
from ..runs.record import FAILED, Record
from ..runs.spec import RunSpec
from ..tasks import TASKS
from .intervals import Interval, t_interval

Floats = npt.NDArray[np.float64]

#: Missing runs that an error names one by one.
LISTED = 12


class RunsError(NadamRefError):
    """These runs do not make a table. The message says why and what to do."""


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
class Curve:
    """A curve over seeds at the numbers of updates in `step`: mean, smallest and largest value, all `[len(step)]`."""

    step: npt.NDArray[np.int64]
    mean: Floats
    low: Floats
    high: Floats


def summarize(values: Sequence[float]) -> Summary:
    """Mean, range, n and interval of at least one value. Raises `ValueError` for none."""
    if not values:
        raise ValueError("no values to summarize")
    array = np.asarray(values, dtype=np.float64)
    return Summary(float(array.mean()), float(array.min()), float(array.max()), len(array), t_interval(values))


# ---------------------------------------------------------------- the results of a run


def diverged(record: Record) -> bool:
    """Whether a run counts as diverged: it did, or what it measured at its last step is not finite."""
    return record.status == "diverged" or not all(map(math.isfinite, record.metrics.values()))


def value(record: Record, metric: str) -> float:
    """A run's metric at the last step; where it diverged +inf, −inf for an accuracy.

    Raises `RunsError` for a metric that the run does not have, and for a loss or perplexity that is not positive.
    """
    accuracy = metric.endswith("accuracy")
    if diverged(record):
        return -math.inf if accuracy else math.inf
    found = record.metrics.get(metric)
    if found is not None and (found > 0 or accuracy):
        return found
    run = f"the run of {_describe(record.spec)} on {record.spec.task}"
    if found is None:
        raise RunsError(f"{run} has no {metric}; it has: {', '.join(record.metrics)}")
    raise RunsError(
        f"{run} has a {metric} of {found:g}, and results are compared by their logarithms: it must be positive; "
        "see how the task measures it, or take the run out of the store"
    )


def reported_metric(task: str) -> str:
    """The metric in which a task's results are reported: its own, on the part of the data that its source reports."""
    return f"{TASKS[task].REPORTED}_{TASKS[task].METRIC}"


def criterion(records: Sequence[Record]) -> float:
    """What a learning rate is chosen by: the mean log of the task's metric on the development set.

    The records are runs of one arm at one rate; +inf where one of them diverged.
    """
    values = [value(record, f"dev_{TASKS[record.spec.task].METRIC}") for record in records]
    return math.inf if math.inf in values else sum(map(math.log, values)) / len(values)


def measured(record: Record) -> list[str]:
    """The metrics of the record's task. They are read from its curves, which a diverged run has too."""
    names = [name.removeprefix("dev_") for name in record.curves if name.startswith("dev_") and name != "dev_step"]
    return [f"{part}_{name}" for part in ("dev", "test") for name in names]


def hardware(records: Iterable[Record]) -> list[str]:
    """Each kind of machine that runs were made on: its processor with what torch uses of it, and the device."""
    kinds = set()
    for record in records:
        by, device = record.provenance, record.spec.device
        kinds.add(f"{by.get('cpu')}, {by.get('cpu_capability')}, {by.get('gpu') or device}")
    return sorted(kinds)


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
        kinds = sorted({f"{spec.kind}/{spec.steps} steps" for spec in common})
        raise MixedRunsError(
            "the records are of different tasks, profiles or data; they are never put into one table; "
            f"keep each kind in a store of its own: {', '.join(kinds)}"
        )
    protocols = {record.protocol_sha256 for record in records}
    if len(protocols) > 1:
        listed = ", ".join(sorted(sha256[:12] for sha256 in protocols))
        raise MixedRunsError(
            f"the runs on {records[0].spec.task} were made under different protocols ({listed}); they are never put "
            "into one table: run all of it again into an empty store"
        )


def _steps(spec: RunSpec, name: str) -> list[int]:
    """The updates made when the values of a whole curve were taken."""
    if name == "train_loss":
        return list(range(0, spec.steps, spec.train_every))
    return sorted({*range(0, spec.steps, spec.evaluate_every), spec.steps})


def curve(records: Iterable[Record], name: str = "dev_loss") -> Curve:
    """A curve over the runs of one arm at one rate: `train_loss`, `dev_loss` or another that they recorded.

    From where a run diverged its loss counts as +inf and its accuracy as −inf, so every curve has full length.
    Failed runs are left out; raises `RunsError` where no other is given.
    """
    runs = [record for record in records if record.status not in FAILED]
    if not runs:
        raise RunsError(f"there is no {name} without a run that ended")
    steps = _steps(runs[0].spec, name)
    worst = -math.inf if name.endswith("accuracy") else math.inf
    padded = np.full((len(runs), len(steps)), worst)
    for line, record in zip(padded, runs, strict=True):
        values = np.asarray(record.curves[name], dtype=np.float64)
        line[: len(values)] = np.where(np.isfinite(values), values, worst)
    return Curve(np.asarray(steps, dtype=np.int64), padded.mean(axis=0), padded.min(axis=0), padded.max(axis=0))

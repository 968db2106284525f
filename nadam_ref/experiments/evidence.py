"""What the recorded runs of a profile say of each arm: the rate that tuning chose, and the runs that are reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nadam_ref.rules import RULES

from .records import Record, RunSpec
from .statistics import MixedRunsError, Row, RunsError, best, check_comparable, missing, rows, value

__all__ = ["TUNING_FROM", "Arm", "Evidence", "arm_name", "gather"]

#: Seeds from here on chose the rates; those below are the reported ones. They are never shared.
TUNING_FROM = 1000


@dataclass(frozen=True)
class Arm:
    """One arm on one task: a row of `tuning` for each rate tried, the `chosen` one, and the reported `runs` by seed."""

    name: str
    tuning: Sequence[Row]
    chosen: Row
    runs: Mapping[int, Record]

    def values(self, metric: str) -> list[float]:
        """The metric at the last step of every reported run, in the order of the seeds; +inf where it diverged."""
        return [value(self.runs[seed], metric) for seed in sorted(self.runs)]

    def mean(self, metric: str) -> float:
        """The mean over the reported runs; +inf where one diverged."""
        values = self.values(metric)
        return sum(values) / len(values)

    @property
    def diverged(self) -> int:
        """How many of the reported runs diverged."""
        return sum(record.status == "diverged" for record in self.runs.values())

    @property
    def spec(self) -> RunSpec:
        """The specification of the first reported run."""
        return self.runs[min(self.runs)].spec


#: task → name → arm
Evidence = Mapping[str, Mapping[str, Arm]]


def arm_name(of: RunSpec | Row) -> str:
    """`Adam`, `Nadam` for the report's own rule, `Nadam-iclr` for another dialect: as in the protocol."""
    dialect = of.hyperparameters.get("dialect", "cs229")
    return of.optimizer if dialect == "cs229" else f"{of.optimizer}-{dialect}"


def gather(records: Iterable[Record], profile: str, seeds: Mapping[str, Sequence[int]] | None = None) -> Evidence:
    """The arms of every task that has records of `profile`, in one order whatever that of the records is.

    `seeds`: the reporting seeds of each task as the protocol fixed them, so that nobody stops early at a result he
    likes; None takes all that any arm of the task has.

    Raises `MissingRunsError` for a run that is not there or failed, `MixedRunsError` for runs that cannot be compared.
    """
    kept = list({record.spec.id: record for record in records}.values())
    chosen = [record for record in kept if record.spec.profile == profile]
    if not chosen:
        there = ", ".join(sorted({record.spec.profile for record in kept})) or "none"
        raise RunsError(
            f"there are no runs of profile {profile!r} (profiles with runs: {there}): nadam-ref sweep {profile}"
        )
    tasks = sorted({record.spec.task for record in chosen})
    return {
        task: _arms([r for r in chosen if r.spec.task == task], None if seeds is None else seeds[task])
        for task in tasks
    }


def _arms(records: list[Record], seeds: Sequence[int] | None) -> dict[str, Arm]:
    check_comparable(records)
    reported = [record for record in records if record.spec.seed < TUNING_FROM]
    table = rows([record for record in records if record.spec.seed >= TUNING_FROM])
    expected = sorted({record.spec.seed for record in reported}) if seeds is None else sorted(seeds)
    if not expected:
        profile = records[0].spec.profile
        raise RunsError(
            f"profile {profile!r} reports no runs on {records[0].spec.task}: it is for looking, not for verdicts"
        )
    by_id = {record.spec.id: record for record in reported}
    arms: dict[str, Arm] = {}
    lacking: list[RunSpec] = []
    for row in best(table):
        name = arm_name(row)
        if name in arms:
            raise MixedRunsError(f"{name} was tuned with two sets of hyperparameters; keep each in a store of its own")
        specs = [_spec(records, row, seed) for seed in expected]
        lacking += [spec for spec in specs if spec.id not in by_id]
        runs = {spec.seed: by_id[spec.id] for spec in specs if spec.id in by_id}
        arms[name] = Arm(name, [r for r in table if arm_name(r) == name], row, runs)
    if lacking:
        raise missing(lacking)
    if not arms:
        raise RunsError(f"no rate was tuned on {records[0].spec.task}; run nadam-ref sweep {records[0].spec.profile}")
    return {name: arms[name] for name in sorted(arms, key=_place)}


def _place(name: str) -> tuple[bool, int, str]:
    """Where an arm stands in a table: the methods in the report's order, then the dialects."""
    optimizer, _, dialect = name.partition("-")
    return bool(dialect), list(RULES).index(optimizer), dialect


def _spec(records: Sequence[Record], row: Row, seed: int) -> RunSpec:
    """The specification of a reported run at the rate of `row`."""
    (like, *_) = (
        r.spec for r in records if (r.spec.optimizer, r.spec.hyperparameters) == (row.optimizer, row.hyperparameters)
    )
    return dataclasses.replace(like, seed=seed)

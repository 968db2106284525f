"""The runs of a profile by arm: a row for each rate that was tried, the chosen rate, and the reported runs there."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..protocol import planning
from ..runs.record import Record
from ..runs.spec import RunSpec
from ..statistics.summary import RunsError, Summary, check_comparable, diverged, measured, missing, summarize, value


@dataclass(frozen=True)
class Row:
    """An arm at one learning rate, over its seeds. `edge`: the rate is the smallest or largest that the arm tried.

    `runs`: by seed. `metrics` has what the task measures after the last step, on the development set
    (`dev_loss`, …) and on the test set. A diverged run counts as +inf in a loss and −inf in an accuracy; `diverged` is
    how many of the n there are.
    """

    arm: str
    runs: Mapping[int, Record]
    edge: bool
    n: int
    diverged: int
    metrics: Mapping[str, Summary]

    @property
    def spec(self) -> RunSpec:
        """The specification of the first run."""
        return next(iter(self.runs.values())).spec

    @property
    def lr(self) -> float:
        return self.spec.lr

    @property
    def dev_loss(self) -> Summary:
        return self.metrics["dev_loss"]

    @property
    def test_loss(self) -> Summary:
        return self.metrics["test_loss"]


def rows(records: Iterable[Record]) -> list[Row]:
    """One row for every arm and rate, in the order in which they first appear.

    Raises `ProtocolError` for a run of no arm of the protocol, `MissingRunsError` where a run failed or an arm lacks at
    one rate a seed that there is at another, and `MixedRunsError` where records of different tasks, profiles, data,
    lengths or protocols are mixed.
    """
    runs = _distinct(records)
    check_comparable(runs)
    arms: dict[str, dict[float, dict[int, Record]]] = {}
    for record in runs:
        tried = arms.setdefault(planning.arm(record.spec), {})
        tried.setdefault(record.spec.lr, {})[record.spec.seed] = record
    seeds = {record.spec.seed for record in runs}
    if lacking := [
        dataclasses.replace(next(iter(by_seed.values())).spec, seed=seed)
        for tried in arms.values()
        for by_seed in tried.values()
        for seed in sorted(seeds - by_seed.keys())
    ]:
        raise missing(lacking)
    return [
        _row(name, by_seed, lr in (min(tried), max(tried)))
        for name, tried in arms.items()
        for lr, by_seed in tried.items()
    ]


def _row(arm: str, runs: Mapping[int, Record], edge: bool) -> Row:
    first, *_ = records = list(runs.values())
    return Row(
        arm=arm,
        runs=runs,
        edge=edge,
        n=len(records),
        diverged=sum(map(diverged, records)),
        metrics={name: summarize([value(record, name) for record in records]) for name in measured(first)},
    )


def best(records: Iterable[Record]) -> list[Row]:
    """The row of each arm at the rate that the protocol chooses. Raises as `rows`."""
    runs = list(records)
    chosen = planning.choices(runs)
    return [row for row in rows(runs) if row.lr == chosen[row.arm].lr]


def _distinct(records: Iterable[Record]) -> list[Record]:
    return list({record.spec.id: record for record in records}.values())


@dataclass(frozen=True)
class Arm:
    """One arm on one task: a row of `tuning` for each rate tried, the `chosen` one, and the reported `runs` by seed.

    `runner_up`, `common`: the same arm at the runner-up beside the chosen rate, and at the rate that its family has in
    common; None where those runs were not made. The latter is the arm itself where the rates are the same.
    """

    name: str
    tuning: Sequence[Row]
    chosen: Row
    runs: Mapping[int, Record]
    runner_up: Arm | None = None
    common: Arm | None = None

    @property
    def lr(self) -> float:
        return self.chosen.lr

    def values(self, metric: str) -> list[float]:
        """The metric at the last step of every reported run, in the order of the seeds; +inf where it diverged."""
        return [value(self.runs[seed], metric) for seed in sorted(self.runs)]

    def mean(self, metric: str) -> float:
        """The mean over the reported runs; +inf where one diverged."""
        values = self.values(metric)
        return sum(values) / len(values)

    @property
    def metrics(self) -> dict[str, Summary]:
        """Each metric of the task over the reported runs."""
        return {name: summarize(self.values(name)) for name in self.chosen.metrics}

    @property
    def diverged(self) -> int:
        """How many of the reported runs diverged."""
        return sum(map(diverged, self.runs.values()))

    @property
    def spec(self) -> RunSpec:
        """The specification of the first reported run."""
        return self.runs[min(self.runs)].spec


#: task → name → arm
Evidence = Mapping[str, Mapping[str, Arm]]


def gather(
    records: Iterable[Record], profile: str, seeds: Mapping[str, Sequence[int]] | None = None, *, partial: bool = False
) -> Evidence:
    """The arms of every task that has records of `profile`, in the protocol's order. Those of no protocol are left out.

    `seeds`: the reporting seeds of each task as the protocol fixed them, so that nobody stops early at a result that
    looks good; None takes all that any arm of the task has. `partial`: take as many of them, from the first on, as
    every arm has at its chosen rate.

    Raises `MissingRunsError` for a run that is missing or failed, `MixedRunsError` for runs that cannot be compared.
    """
    runs = planning.planned(_distinct(records))
    chosen = [record for record in runs if record.spec.profile == profile]
    if not chosen:
        there = ", ".join(sorted({record.spec.profile for record in runs})) or "none"
        raise RunsError(
            f"there are no runs of profile {profile!r} (profiles with runs: {there}): nadam-ref sweep {profile}"
        )
    tasks = sorted({record.spec.task for record in chosen})
    return {
        task: _arms([r for r in chosen if r.spec.task == task], None if seeds is None else seeds[task], partial)
        for task in tasks
    }


def _arms(records: list[Record], seeds: Sequence[int] | None, partial: bool) -> dict[str, Arm]:
    check_comparable(records)
    task, profile = records[0].spec.task, records[0].spec.profile
    tuned = [record for record in records if planning.tunes(record)]
    reported = {record.spec.id: record for record in records if not planning.tunes(record)}
    planned = sorted({record.spec.seed for record in reported.values()} if seeds is None else seeds)
    if not planned:
        raise RunsError(f"profile {profile!r} reports no runs on {task}: it is for looking, not for verdicts")
    if not tuned:
        raise RunsError(f"no rate was tuned on {task}; run nadam-ref sweep {profile}")
    tables: dict[str, dict[float, Row]] = {}
    for row in rows(tuned):
        tables.setdefault(row.arm, {})[row.lr] = row
    choices, shared = planning.choices(tuned), planning.common_rates(task, profile, tuned)
    names = [name for name in planning.plans_of(task, profile) if name in tables]
    wanted = {name: [_spec(tables[name][choices[name].lr], seed) for seed in planned] for name in names}
    if partial:
        n = min(_leading(spec.id in reported for spec in specs) for specs in wanted.values())
        planned, wanted = planned[:n], {name: specs[: max(1, n)] for name, specs in wanted.items()}
    if lacking := [spec for specs in wanted.values() for spec in specs if spec.id not in reported]:
        raise missing(lacking)

    def at(name: str, lr: float | None) -> Arm | None:
        """The arm at one of its rates; None where not all of those runs are there."""
        if lr is None:
            return None
        row = tables[name][lr]
        runs = {seed: reported.get(_spec(row, seed).id) for seed in planned}
        made = {seed: record for seed, record in runs.items() if record is not None}
        return Arm(name, list(tables[name].values()), row, made) if len(made) == len(planned) else None

    arms = {}
    for name in names:
        own = at(name, choices[name].lr)
        assert own is not None  # none of its runs is lacking
        arms[name] = dataclasses.replace(
            own, runner_up=at(name, choices[name].runner_up), common=at(name, shared.get(name))
        )
    return arms


def _leading(there: Iterable[bool]) -> int:
    """How many are there before the first that is not."""
    return sum(1 for _ in itertools.takewhile(bool, there))


def _spec(row: Row, seed: int) -> RunSpec:
    """The specification of a reported run of an arm at the rate of a row."""
    return dataclasses.replace(row.spec, seed=seed)

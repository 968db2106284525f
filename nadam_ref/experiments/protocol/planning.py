"""From the protocol to the specifications of runs, and back: which arm a run is, and which rate its runs chose.

An arm is an optimizer with everything fixed but the learning rate. A profile runs its arms in stages (`run_stages`):
first the rates that a paper printed, where the protocol asks for them (`printed`); then the search for each arm's rate
with the tuning seeds (`search`, again and again until it gives nothing); then the reporting seeds (`reporting`), at the
chosen rate and, for the arms that are compared, at the runner-up and at the rate their family has in common.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...checks import renamed
from ..published import reported
from ..runs.optimizers import OPTIMIZER_VERSION, hyperparameters
from ..runs.record import FAILED, Record
from ..runs.spec import RunSpec
from ..statistics.summary import criterion
from ..tasks import TASKS, model_of
from . import tuning
from .definition import ArmPlan, data_of, load, profile_of, version_of
from .reading import ProtocolError

#: Rates that a search is expected to try where nothing is known: three, one step on, one neighbour, two quarters.
TYPICAL = 7


# ---------------------------------------------------------------- what the protocol has


def arms(task: str = "images", profile: str | None = None) -> list[str]:
    """Names of a task's arms, or of those a profile runs: the methods in the report's order, then the others."""
    return list(load().task(task).arms if profile is None else profile_of(task, profile).arms)


def seeds(profile: str, task: str = "images", version: int | None = None) -> tuple[list[int], list[int]]:
    """The tuning seeds and the reporting seeds of a profile; none is in both."""
    plan = profile_of(task, profile, version)
    return list(plan.tuning), list(plan.reporting)


def dataset(profile: str, data_name: str, task: str = "images") -> Any:
    """The data a profile trains on, cut to the profile's subset; its `label` is what a figure must say.

    Raises `ProtocolError` where the protocol does not have the combination, `DataError` where the data are absent.
    """
    return TASKS[task].load(data_name, data_of(task, profile, data_name).subset)


# ---------------------------------------------------------------- what a run is


def version(record: Record) -> int:
    """The version of the protocol under which a run was made; the current one if no version has its hash."""
    return version_of(record.spec.task, record.spec.profile, record.protocol_sha256)


def tunes(record: Record) -> bool:
    """Whether a run is there to choose a rate: its seed is a tuning seed of the protocol under which it was made."""
    return record.spec.seed in profile_of(record.spec.task, record.spec.profile, version(record)).tuning


def planned(records: Iterable[Record]) -> list[Record]:
    """The records that belong to a protocol. `curvature` and `reproduce` make others, which may share a store."""
    return [record for record in records if record.protocol_sha256]


def planned_seeds(records: Iterable[Record]) -> dict[str, list[int]]:
    """The reporting seeds of each task, by the version of the protocol under which its records were made."""
    plans = {r.spec.task: profile_of(r.spec.task, r.spec.profile, version(r)) for r in planned(records)}
    return {task: list(plan.reporting) for task, plan in sorted(plans.items())}


def arm(spec: RunSpec) -> str:
    """The name of the arm that a run belongs to. Raises `ProtocolError` where the protocol has no such arm."""
    known = _arms_by_settings(spec.task, spec.profile)
    model = {item for item in spec.model.items() if item in known.model}
    name = known.names.get(_settings(spec, model, spec.batch if spec.batch in known.batches else 0))
    if name is None:
        settings = dict(spec.hyperparameters)
        raise ProtocolError(f"the protocol has no arm {spec.optimizer} with {settings} on {spec.task}")
    return name


class _Known(NamedTuple):
    """The arms of a profile by their settings, and what variants set: choices of the model, sizes of a batch."""

    names: Mapping[str, str]
    model: frozenset[tuple[str, Any]]
    batches: frozenset[int]


@functools.cache
def _arms_by_settings(task: str, profile: str) -> _Known:
    plans = plans_of(task, profile)
    return _Known(
        {_settings(plan, plan.model.items(), plan.batch): name for name, plan in plans.items()},
        frozenset(item for plan in plans.values() for item in plan.model.items()),
        frozenset(plan.batch for plan in plans.values() if plan.batch),
    )


def plans_of(task: str, profile: str) -> Mapping[str, ArmPlan]:
    """All arms that a run of a profile may belong to: those of its task, then the profile's variants."""
    whole = load().task(task)
    return whole.profiles[profile].plans if profile in whole.profiles else whole.arms


def _settings(x: RunSpec | ArmPlan, model: Iterable[tuple[str, Any]], batch: int) -> str:
    """What makes an arm, comparable however it is typed: all but the rate, defaults filled in."""
    values = hyperparameters(x.optimizer, renamed(x.hyperparameters))
    typed = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    rest = sorted((name, value) for name, value in typed.items() if name != "lr")
    return repr((x.optimizer, x.row_lazy, rest, sorted(model), batch))


# ---------------------------------------------------------------- rates


def rates(tuned: Iterable[Record]) -> dict[str, dict[float, float]]:
    """The criterion of every rate that was tried, by arm, from its tuning runs.

    The criterion is the mean log development metric; +∞ where a run diverged. A rate with a run that failed, by no
    fault of the optimizer, is left out until that run has been made.
    """
    runs: dict[str, dict[float, list[Record]]] = {}
    for record in tuned:
        runs.setdefault(arm(record.spec), {}).setdefault(record.spec.lr, []).append(record)
    return {
        name: {lr: criterion(made) for lr, made in tried.items() if not any(r.status in FAILED for r in made)}
        for name, tried in runs.items()
    }


def choices(tuned: Iterable[Record]) -> dict[str, tuning.Choice]:
    """The rate that each arm's tuning runs chose; arms none of whose rates has all its runs are left out."""
    return {name: tuning.choose(tried) for name, tried in rates(tuned).items() if tried}


def common_rates(task: str, profile: str, tuned: Iterable[Record]) -> dict[str, float]:
    """The rate that each compared arm shares with its family, by arm; without the arms whose family shares none."""
    tables = {name: tried for name, tried in rates(tuned).items() if tried}
    plan, families, shared = profile_of(task, profile), dict[str, list[str]](), dict[str, float]()
    for name in (name for name in plan.compared or () if name in tables):
        families.setdefault(plan.plans[name].family, []).append(name)
    for family in families.values():
        lr = tuning.common(tables[name] for name in family)
        shared |= {} if lr is None else dict.fromkeys(family, lr)
    return shared


def _reported_rates(task: str, profile: str, tuned: Iterable[Record]) -> dict[str, list[float]]:
    """The rates at which each arm is reported, the chosen one first; all those of its family where none is searched."""
    records, plan = list(tuned), profile_of(task, profile)
    if plan.rates:
        return {name: list(plan.rates[plan.plans[name].family]) for name in plan.arms}
    shared, compared = common_rates(task, profile, records), plan.compared or ()
    wanted = {}
    for name, choice in choices(records).items():
        also = (choice.runner_up, shared.get(name)) if name in compared else ()
        wanted[name] = list(dict.fromkeys([choice.lr, *(lr for lr in also if lr is not None)]))
    return wanted


# ---------------------------------------------------------------- specifications


def specs(profile: str, data_name: str, task: str = "images") -> list[RunSpec]:
    """The runs with which every arm's search begins, or all of them where there is no search, as in the profile `live`.

    Raises as `dataset`, which it loads for its sha256.
    """
    return search(profile, data_name, task, []) or reporting(profile, data_name, task, [])


def search(profile: str, data_name: str, task: str, tuned: Iterable[Record]) -> list[RunSpec]:
    """The next tuning runs of every arm, seed by seed; empty when all searches have ended, or none is planned.

    `tuned`: the records of earlier rounds. A rate with a failed run counts as tried, and as bad, but is never chosen.
    """
    make, plan = _maker(profile, data_name, task), profile_of(task, profile)
    if plan.rates:
        return []
    records = list(tuned)
    tried: dict[str, dict[float, float]] = {name: {} for name in plan.arms}
    for record in records:
        tried[arm(record.spec)][record.spec.lr] = math.inf
    for name, known in rates(records).items():
        tried[name].update(known)
    wanted = [
        (name, lr)
        for name, known in tried.items()
        for lr in tuning.next_rates(known, plan.middle[plan.plans[name].family], plan.most)
    ]
    return [make(name, lr, seed) for seed in plan.tuning for name, lr in wanted]


def reporting(profile: str, data_name: str, task: str, tuned: Iterable[Record]) -> list[RunSpec]:
    """The runs that are reported, seed by seed, so that what is finished is balanced over the arms."""
    make, plan = _maker(profile, data_name, task), profile_of(task, profile)
    wanted = _reported_rates(task, profile, tuned)
    return [make(name, lr, seed) for seed in plan.reporting for name in plan.arms for lr in wanted.get(name, [])]


def printed(profile: str, data_name: str, task: str) -> list[RunSpec]:
    """Runs with the reporting seeds at the rates that a paper printed, where the protocol asks for them."""
    plan = profile_of(task, profile)
    if plan.printed_rates is None:
        return []
    make, table, known = _maker(profile, data_name, task), reported(plan.printed_rates, task), load().task(task).arms
    named = {name: float(table[known[name].optimizer].value) for name in plan.arms}
    return [make(name, lr, seed) for seed in plan.reporting for name, lr in named.items()]


def _maker(profile: str, data_name: str, task: str) -> Callable[[str, float, int], RunSpec]:
    """A function (arm, rate, seed) → `RunSpec` for one profile and data set."""
    whole = load().task(task)
    plan = whole.profile(profile)
    data = data_of(task, profile, data_name)
    common: Mapping[str, Any] = {
        "task": task,
        "task_version": TASKS[task].VERSION,
        "profile": profile,
        "data": data_name,
        "data_sha256": dataset(profile, data_name, task).sha256,
        "subset": data.subset,
        "optimizer_version": OPTIMIZER_VERSION,
        "steps": data.steps,
        "evaluate_every": data.evaluate_every,
        "clip_norm": whole.clip_norm,
        "anneal": whole.anneal,
        "protocol_sha256": plan.sha256,
    }

    def make(name: str, lr: float, seed: int) -> RunSpec:
        x = plan.plans[name]
        return RunSpec(
            model=model_of(dataclasses.replace(TASKS[task].SIZES[profile], **x.model)),
            optimizer=x.optimizer,
            hyperparameters=hyperparameters(x.optimizer, {**x.hyperparameters, "lr": lr}),
            seed=seed,
            batch=x.batch or data.batch,
            row_lazy=bool(x.row_lazy),
            **common,
        )

    return make


# ---------------------------------------------------------------- stages


class Plan(NamedTuple):
    """What is run: a profile of a task, on a data set."""

    profile: str
    data: str
    task: str


def expected_runs(task: str, profile: str) -> dict[str, int]:
    """About how many runs each arm will take: the search decides how many rates there are. Known without the data."""
    plan, compared = profile_of(task, profile), profile_of(task, profile).compared or ()
    tuned, reported_at = min(TYPICAL, plan.most) * len(plan.tuning), len(plan.reporting)
    first = reported_at if plan.printed_rates else 0
    if plan.rates:
        return {name: reported_at * len(plan.rates[plan.plans[name].family]) for name in plan.arms}
    return {name: first + tuned + reported_at * (3 if name in compared else 1) for name in plan.arms}


def run_stages(plans: Sequence[Plan], make: Callable[[list[RunSpec]], list[Record]]) -> bool:
    """Make all runs of all plans through `make` (`sweep` with all but its first argument). False: it left runs out.

    The reporting runs of a plan begin when the searches of all its arms have ended.
    """
    if not _made_all(make, [spec for plan in plans for spec in printed(*plan)]):
        return False
    tuned: dict[Plan, list[Record]] = {plan: [] for plan in plans}
    while any((wanted := {plan: search(*plan, tuned[plan]) for plan in plans}).values()):
        asked = [spec for todo in wanted.values() for spec in todo]
        made = make(asked)
        if len(made) < len(asked):
            return False
        rest = iter(made)
        for plan, todo in wanted.items():
            tuned[plan] += [next(rest) for _ in todo]
    return _made_all(make, [spec for plan in plans for spec in reporting(*plan, tuned[plan])])


def _made_all(make: Callable[[list[RunSpec]], list[Record]], specs: list[RunSpec]) -> bool:
    return len(make(specs)) == len(specs) if specs else True

"""The protocol as data (`protocol.yaml`), turned into the specifications of runs.

An arm is an optimizer with everything fixed but the learning rate. A profile runs its arms in stages (`stages`): first
the rates that a paper printed, where the protocol asks for them (`printed`); then the search for each arm's rate with
the tuning seeds (`search`, again and again until it gives nothing); then the reporting seeds (`reporting`), at the
chosen rate and, for the arms that are compared, at the runner-up and at the rate their family has in common.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from ...checks import renamed
from ..published import reported
from ..runs.record import FAILED, Record
from ..runs.spec import RunSpec
from ..runs.train import OPTIMIZER_VERSION, hyperparameters
from ..statistics.summary import criterion
from ..tasks import TASKS, model_of
from . import tuning
from .definition import ProtocolError, section, sha256, tasks, version_of

__all__ = [
    "ProtocolError",
    "arm",
    "arms",
    "choices",
    "common_rates",
    "compared",
    "data_names",
    "dataset",
    "families",
    "methods",
    "most",
    "pilot",
    "planned_seeds",
    "printed",
    "printed_rates",
    "rates",
    "reporting",
    "search",
    "seeds",
    "specs",
    "tasks",
    "tunes",
]


def _chosen(kind: str, name: str, choices: Mapping[str, Any]) -> Any:
    if name not in choices:
        raise ProtocolError(f"the protocol has no {kind} {name!r}; it has: {', '.join(choices)}")
    return choices[name]


# ---------------------------------------------------------------- what the protocol has


def arms(task: str = "images", profile: str | None = None) -> list[str]:
    """Names of a task's arms, or of those a profile runs: the methods in the report's order, then the others."""
    every = section(task)["arms"]
    listed = every if profile is None else _profile(task, profile).get("arms", every)
    return [name for name in every if name in listed]


def compared(task: str) -> list[str]:
    """Names of the arms that are reported at three rates."""
    return list(section(task)["compared"])


def families(task: str, names: Iterable[str]) -> dict[str, list[str]]:
    """The arms by family: those of one family begin their search at one rate."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(section(task)["arms"][name]["family"], []).append(name)
    return found


def seeds(profile: str, task: str = "images", version: int | None = None) -> tuple[list[int], list[int]]:
    """The tuning seeds and the reporting seeds of a profile; none is in both."""
    found = _profile(task, profile, version)["seeds"]
    reported = found["reporting"]
    return list(found["tuning"]), list(range(reported) if isinstance(reported, int) else reported)


def planned_seeds(records: Iterable[Record]) -> dict[str, list[int]]:
    """The reporting seeds of each task, by the version of the protocol under which its records were made."""
    made = {(r.spec.task, r.spec.profile, str(r.provenance.get("protocol_sha256"))) for r in records}
    return {task: seeds(profile, task, version_of(task, profile, said))[1] for task, profile, said in sorted(made)}


def tunes(record: Record) -> bool:
    """Whether a run is there to choose a rate: its seed is a tuning seed of the protocol that it was made under."""
    spec = record.spec
    version = version_of(spec.task, spec.profile, str(record.provenance.get("protocol_sha256")))
    return spec.seed in seeds(spec.profile, spec.task, version)[0]


def methods(task: str = "images") -> list[str]:
    """Class names of a task's optimizers, in the report's order."""
    return list(dict.fromkeys(found["optimizer"] for found in section(task)["arms"].values()))


def most(profile: str, task: str = "images") -> int:
    """The number of rates after which the search for an arm's rate ends."""
    return int(_profile(task, profile)["most"])


def pilot(profile: str, task: str = "images") -> float | None:
    """The standard deviation over pairs of seeds of log(metric) that a pilot saw; None where there was none."""
    found: float | None = _profile(task, profile).get("pilot")
    return found


def printed_rates(profile: str, task: str) -> str | None:
    """The paper at whose printed rates the profile runs its arms first; None for most."""
    found: str | None = _profile(task, profile).get("printed_rates")
    return found


def data_names(profile: str, task: str = "images") -> list[str]:
    """Names of the data sets that a profile may run on, the preferred one first."""
    return list(_profile(task, profile)["data"])


def dataset(profile: str, data_name: str, task: str = "images") -> Any:
    """The data a profile trains on, cut to the profile's subset; its `label` is what a figure must say.

    Raises `ProtocolError` where the protocol does not have the combination, `DataError` where the data are absent.
    """
    return TASKS[task].load(data_name, _subset(_plan(task, profile, data_name)))


def _profile(task: str, profile: str, version: int | None = None) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _chosen("profile", profile, section(task, version)["profiles"])
    return found


def _plan(task: str, profile: str, data_name: str) -> Mapping[str, Any]:
    chosen = _profile(task, profile)
    plan: Mapping[str, Any] = _chosen(f"data set for profile {profile!r},", data_name, chosen["data"])
    return plan


def _subset(plan: Mapping[str, Any]) -> Any:
    return tuple(plan["subset"]) if "subset" in plan else None


# ---------------------------------------------------------------- which arm a run is


@functools.cache
def _arm_by_settings(task: str) -> dict[str, str]:
    whole = section(task)
    lazy = bool(whole.get("row_lazy", False))
    return {
        _settings(x["optimizer"], x["hyperparameters"], x.get("row_lazy", lazy)): name
        for name, x in whole["arms"].items()
    }


def _settings(optimizer: str, given: Mapping[str, Any], row_lazy: bool) -> str:
    """What makes an arm, comparable however it is typed: all but the rate, defaults filled in."""
    hyper = {
        name: list(x) if isinstance(x, tuple) else x for name, x in hyperparameters(optimizer, renamed(given)).items()
    }
    return repr((optimizer, row_lazy, sorted((name, x) for name, x in hyper.items() if name != "lr")))


def arm(spec: RunSpec) -> str:
    """The name of the arm that a run belongs to. Raises `ProtocolError` where the protocol has no such arm."""
    found = _arm_by_settings(spec.task).get(_settings(spec.optimizer, spec.hyperparameters, spec.row_lazy))
    if found is None:
        settings = dict(spec.hyperparameters)
        raise ProtocolError(f"the protocol has no arm {spec.optimizer} with {settings} on {spec.task}")
    return found


# ---------------------------------------------------------------- rates


def rates(tuned: Iterable[Record]) -> dict[str, dict[float, float]]:
    """Of each arm the criterion of every rate that was tried, by arm, from its tuning runs.

    The criterion is the mean log development metric; +∞ where a run diverged. A rate with a run that failed, by no
    fault of the optimizer, is left out until that run has been made.
    """
    cells: dict[str, dict[float, list[Record]]] = {}
    for record in tuned:
        cells.setdefault(arm(record.spec), {}).setdefault(record.spec.lr, []).append(record)
    return {
        name: {lr: criterion(cell) for lr, cell in tried.items() if not any(r.status in FAILED for r in cell)}
        for name, tried in cells.items()
    }


def choices(tuned: Iterable[Record]) -> dict[str, tuning.Choice]:
    """The rate that each arm's tuning runs chose; arms none of whose rates has all its runs are left out."""
    return {name: tuning.choose(tried) for name, tried in rates(tuned).items() if tried}


def common_rates(task: str, tuned: Iterable[Record]) -> dict[str, float]:
    """The rate that each compared arm shares with its family, by arm; without the arms whose family shares none."""
    tables = {name: tried for name, tried in rates(tuned).items() if tried}
    shared: dict[str, float] = {}
    for family in families(task, [name for name in compared(task) if name in tables]).values():
        lr = tuning.common(tables[name] for name in family)
        shared |= {} if lr is None else dict.fromkeys(family, lr)
    return shared


def _reported_rates(task: str, tuned: Iterable[Record]) -> dict[str, list[float]]:
    """The rates at which each arm is reported, the chosen one first."""
    records = list(tuned)
    shared, several = common_rates(task, records), compared(task)
    wanted = {}
    for name, choice in choices(records).items():
        also = (choice.runner_up, shared.get(name)) if name in several else ()
        wanted[name] = list(dict.fromkeys([choice.lr, *(lr for lr in also if lr is not None)]))
    return wanted


# ---------------------------------------------------------------- specifications


def specs(profile: str, data_name: str, task: str = "images") -> list[RunSpec]:
    """The runs with which every arm's search begins. For the profile `live` that is all there is.

    Raises as `dataset`, which it loads for its sha256.
    """
    return search(profile, data_name, task, [])


def search(profile: str, data_name: str, task: str, tuned: Iterable[Record]) -> list[RunSpec]:
    """The next tuning runs of every arm, seed by seed; empty when all searches have ended.

    `tuned`: the records of earlier rounds. A rate with a failed run counts as tried, and as bad, but is never chosen.
    """
    make, chosen = _maker(profile, data_name, task), _profile(task, profile)
    middle = chosen.get("middle", section(task)["middle"])
    records = list(tuned)
    tried: dict[str, dict[float, float]] = {name: {} for name in arms(task, profile)}
    for record in records:
        tried[arm(record.spec)][record.spec.lr] = float("inf")
    for name, known in rates(records).items():
        tried[name].update(known)
    wanted = [
        (name, lr)
        for family, names in families(task, tried).items()
        for name in names
        for lr in tuning.next_rates(tried[name], middle[family], chosen["most"])
    ]
    wanted.sort(key=lambda pair: list(tried).index(pair[0]))
    return [make(name, lr, seed) for seed in seeds(profile, task)[0] for name, lr in wanted]


def reporting(profile: str, data_name: str, task: str, tuned: Iterable[Record]) -> list[RunSpec]:
    """The runs that are reported, seed by seed, so that what is finished is balanced over the arms."""
    make, wanted = _maker(profile, data_name, task), _reported_rates(task, tuned)
    return [
        make(name, lr, seed)
        for seed in seeds(profile, task)[1]
        for name in arms(task, profile)
        for lr in wanted.get(name, [])
    ]


def printed(profile: str, data_name: str, task: str) -> list[RunSpec]:
    """Runs with the reporting seeds at the rates that a paper printed, where the protocol asks for them."""
    paper = printed_rates(profile, task)
    if paper is None:
        return []
    make, table, known = _maker(profile, data_name, task), reported(paper, task), section(task)["arms"]
    named = {name: float(table[known[name]["optimizer"]].value) for name in arms(task, profile)}
    return [make(name, lr, seed) for seed in seeds(profile, task)[1] for name, lr in named.items()]


def _maker(profile: str, data_name: str, task: str) -> Any:
    """A function (arm, rate, seed) → `RunSpec` for one profile and data set."""
    plan, whole = _plan(task, profile, data_name), section(task)
    common = {
        "task": task,
        "task_version": TASKS[task].VERSION,
        "profile": profile,
        "model": model_of(TASKS[task].SIZES[profile]),
        "data": data_name,
        "data_sha256": dataset(profile, data_name, task).sha256,
        "subset": _subset(plan),
        "optimizer_version": OPTIMIZER_VERSION,
        "steps": plan["steps"],
        "batch": plan.get("batch", whole["batch"]),
        "evaluate_every": plan["evaluate_every"],
        "protocol_sha256": sha256(task, profile),
        **{name: whole[name] for name in ("clip_norm", "anneal", "row_lazy") if name in whole},
    }

    def make(name: str, lr: float, seed: int) -> RunSpec:
        found = whole["arms"][name]
        hyper = hyperparameters(found["optimizer"], {**found["hyperparameters"], "lr": lr})
        own = {key: found[key] for key in ("row_lazy",) if key in found}
        return RunSpec(optimizer=found["optimizer"], hyperparameters=hyper, seed=seed, **{**common, **own})

    return make

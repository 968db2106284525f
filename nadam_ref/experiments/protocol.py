"""The protocol as data (`protocol.yaml`), turned into the specifications of runs.

An arm is an optimizer with everything fixed but the learning rate. A profile runs its arms in two stages: every rate
with the tuning seeds (`specs`, and `extension` where a best rate is at the edge), then the rate that was best on the
development set with the reporting seeds (`reporting`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from .protocol_file import ProtocolError, section, tasks
from .records import FAILED, Record, RunSpec
from .statistics import best, rows
from .tasks import TASKS
from .train import OPTIMIZER_VERSION, hyperparameters

__all__ = [
    "Choice",
    "ProtocolError",
    "arm",
    "arms",
    "choose",
    "data_names",
    "dataset",
    "extension",
    "methods",
    "reporting",
    "seeds",
    "specs",
    "tasks",
]


class Choice(NamedTuple):
    """The rate that an arm's tuning runs chose: lowest mean development loss, of equal ones the smaller rate.

    `edge`: it is the smallest or largest that was tried. `dev_loss` is +inf where every rate diverged.
    """

    lr: float
    edge: bool
    dev_loss: float


def _chosen(kind: str, name: str, choices: Mapping[str, Any]) -> Any:
    if name not in choices:
        raise ProtocolError(f"the protocol has no {kind} {name!r}; it has: {', '.join(choices)}")
    return choices[name]


# ---------------------------------------------------------------- what the protocol has


def arms(task: str = "images", profile: str | None = None) -> list[str]:
    """Names of a task's arms, or of those a profile runs: the methods in the report's order, then their dialects."""
    every = section(task)["arms"]
    if profile is None:
        return list(every)
    return list(_profile(task, profile).get("arms", every))


def seeds(profile: str, task: str = "images") -> tuple[list[int], list[int]]:
    """The tuning seeds and the reporting seeds of a profile; none is in both."""
    found = _profile(task, profile)["seeds"]
    return list(found["tuning"]), list(found["reporting"])


def methods(task: str = "images") -> list[str]:
    """Class names of a task's optimizers, in the report's order."""
    return list(dict.fromkeys(found["optimizer"] for found in section(task)["arms"].values()))


@functools.cache
def _arm_by_settings(task: str) -> dict[tuple[str, str], str]:
    found = section(task)["arms"]
    return {
        _settings(x["optimizer"], hyperparameters(x["optimizer"], x["hyperparameters"])): name
        for name, x in found.items()
    }


def _settings(optimizer: str, hyper: Mapping[str, Any]) -> tuple[str, str]:
    """What makes an arm: the optimizer and all hyperparameters but the rate, comparable however they are typed."""
    plain = {name: list(x) if isinstance(x, tuple) else x for name, x in hyper.items() if name != "lr"}
    return optimizer, repr(sorted(plain.items()))


def arm(spec: RunSpec) -> str:
    """The name of the arm that a run belongs to. Raises `ProtocolError` where the protocol has no such arm."""
    found = _arm_by_settings(spec.task).get(_settings(spec.optimizer, spec.hyperparameters))
    if found is None:
        settings = dict(spec.hyperparameters)
        raise ProtocolError(f"the protocol has no arm {spec.optimizer} with {settings} on {spec.task}")
    return found


def dataset(profile: str, data_name: str, task: str = "images") -> Any:
    """The data a profile trains on, cut to the profile's subset; its `label` is what a figure must say.

    Raises `ProtocolError` where the protocol does not have the combination, `DataError` where the data are absent.
    """
    return TASKS[task].load(data_name, _subset(_plan(task, profile, data_name)))


def data_names(profile: str, task: str = "images") -> list[str]:
    """Names of the data sets that a profile may run on, the preferred one first."""
    return list(_profile(task, profile)["data"])


def _plan(task: str, profile: str, data_name: str) -> Mapping[str, Any]:
    chosen = _profile(task, profile)
    plan: Mapping[str, Any] = _chosen(f"data set for profile {profile!r},", data_name, chosen["data"])
    return plan


def _subset(plan: Mapping[str, Any]) -> Any:
    return tuple(plan["subset"]) if "subset" in plan else None


# ---------------------------------------------------------------- specifications


def specs(profile: str, data_name: str, task: str = "images") -> list[RunSpec]:
    """The runs that choose the rates: every arm × every rate of its family × every tuning seed, in this order.

    For the profile `live` that is all there is. Raises as `dataset`, which it loads for its sha256.
    """
    make = _maker(profile, data_name, task)
    rates, (tuning, _) = _profile(task, profile)["rates"], seeds(profile, task)
    families = {name: section(task)["arms"][name]["family"] for name in arms(task, profile)}
    return [make(name, rate, seed) for name, family in families.items() for rate in rates[family] for seed in tuning]


def extension(profile: str, data_name: str, task: str, tuned: Iterable[Record]) -> list[RunSpec]:
    """Tuning runs half a decade beyond each best rate that is at an edge of what was tried; empty where none is.

    `tuned`: records of `specs` and of earlier extensions. The window moves at most `extend` times on each side.
    """
    records = list(tuned)
    make, chosen = _maker(profile, data_name, task), _profile(task, profile)
    tuning, extend = chosen["seeds"]["tuning"], chosen["seeds"]["extend"]
    found = []
    for name, choice in choose(records).items():
        window = sorted(chosen["rates"][section(task)["arms"][name]["family"]])
        tried = {record.spec.lr for record in records if arm(record.spec) == name}
        allowed = {*window}
        for _ in range(extend):
            allowed |= {_half_decade(min(allowed), -1), _half_decade(max(allowed), 1)}
        beyond = {_half_decade(choice.lr, side) for side in (-1, 1)} if choice.edge else set()
        found += [make(name, rate, seed) for rate in sorted((beyond & allowed) - tried) for seed in tuning]
    return found


def reporting(profile: str, data_name: str, task: str, tuned: Iterable[Record]) -> list[RunSpec]:
    """The runs that are reported: each arm at the rate its tuning runs chose, with every reporting seed."""
    make, (_, reported) = _maker(profile, data_name, task), seeds(profile, task)
    return [make(name, choice.lr, seed) for name, choice in choose(tuned).items() for seed in reported]


def choose(tuned: Iterable[Record]) -> dict[str, Choice]:
    """The best rate of each arm from its tuning runs. A diverged run counts as +inf.

    A rate with a run that failed, by no fault of the optimizer, is left out until that run has been made.
    """
    kept = list(tuned)
    lacking = {(arm(record.spec), record.spec.lr) for record in kept if record.status in FAILED}
    whole = [record for record in kept if (arm(record.spec), record.spec.lr) not in lacking]
    names = {_settings(record.spec.optimizer, record.spec.hyperparameters): arm(record.spec) for record in whole}
    return {
        names[_settings(row.optimizer, row.hyperparameters)]: Choice(row.lr, row.edge, row.dev_loss.mean)
        for row in best(rows(whole))
    }


def _half_decade(rate: float, side: int) -> float:
    """The neighbour of a rate on the grid 1, 3.2, 10, …, above (`side` 1) or below (−1)."""
    mantissa, exponent = f"{rate:.1e}".split("e")
    step = 2 * int(exponent) + (mantissa == "3.2") + side
    return float(f"{'3.2' if step % 2 else '1.0'}e{step // 2}")


def model(size: Any) -> dict[str, Any]:
    """A task's sizes and choices as a spec has them: without those at their default, so that new choices may come."""
    return {x.name: getattr(size, x.name) for x in fields(size) if getattr(size, x.name) != x.default}


def _profile(task: str, profile: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _chosen("profile", profile, section(task)["profiles"])
    return found


def _maker(profile: str, data_name: str, task: str) -> Any:
    """A function (arm, rate, seed) → `RunSpec` for one profile and data set."""
    plan, whole = _plan(task, profile, data_name), section(task)
    common = {
        "task": task,
        "task_version": TASKS[task].VERSION,
        "profile": profile,
        "model": model(TASKS[task].SIZES[profile]),
        "data": data_name,
        "data_sha256": dataset(profile, data_name, task).sha256,
        "subset": _subset(plan),
        "optimizer_version": OPTIMIZER_VERSION,
        "steps": plan["steps"],
        "batch": plan.get("batch", whole["batch"]),
        "evaluate_every": plan["evaluate_every"],
        **{name: whole[name] for name in ("clip_norm", "anneal", "row_lazy") if name in whole},
    }

    def make(name: str, rate: float, seed: int) -> RunSpec:
        found = whole["arms"][name]
        hyper = hyperparameters(found["optimizer"], {**found["hyperparameters"], "lr": rate})
        return RunSpec(optimizer=found["optimizer"], hyperparameters=hyper, seed=seed, **common)

    return make

"""The protocol as data (`protocol.yaml`), turned into the specifications of runs."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from .records import RunSpec
from .tasks import TASKS
from .train import OPTIMIZER_VERSION, hyperparameters


@functools.cache
def _protocol() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("protocol.yaml").read_text(encoding="utf-8"))
    return loaded


def _chosen(kind: str, name: str, choices: Mapping[str, Any]) -> Any:
    if name not in choices:
        raise ValueError(f"the protocol has no {kind} {name!r}; it has: {', '.join(choices)}")
    return choices[name]


def methods(task: str = "images") -> list[str]:
    """Class names of a task's optimizers, in the report's order."""
    return list(_chosen("task", task, _protocol()["tasks"])["methods"])


def dataset(profile: str, data_name: str, task: str = "images") -> Any:
    """The data a profile trains on, cut to the profile's subset; its `label` is what a figure must say.

    Raises `ValueError` where the protocol does not have the combination, `DataError` where the data are absent.
    """
    return TASKS[task].load(data_name, _subset(_plan(task, profile, data_name)))


def _plan(task: str, profile: str, data_name: str) -> Mapping[str, Any]:
    chosen = _chosen("profile", profile, _chosen("task", task, _protocol()["tasks"])["profiles"])
    plan: Mapping[str, Any] = _chosen(f"data set for profile {profile!r},", data_name, chosen["data"])
    return plan


def _subset(plan: Mapping[str, Any]) -> Any:
    return tuple(plan["subset"]) if "subset" in plan else None


def specs(profile: str, data_name: str, task: str = "images") -> list[RunSpec]:
    """All runs of a profile: every method × every rate of its family × every seed, in this order.

    Profiles `small` and `paper` are tuning runs. Raises as `dataset`, which it loads for its sha256.
    """
    plan = _plan(task, profile, data_name)
    section = _protocol()["tasks"][task]
    chosen = section["profiles"][profile]
    sha256 = dataset(profile, data_name, task).sha256
    return [
        RunSpec(
            task=task,
            task_version=TASKS[task].VERSION,
            profile=profile,
            model=asdict(TASKS[task].SIZES[profile]),
            data=data_name,
            data_sha256=sha256,
            subset=_subset(plan),
            optimizer=optimizer,
            optimizer_version=OPTIMIZER_VERSION,
            hyperparameters=hyperparameters(optimizer, {"lr": rate, **method["hyperparameters"]}),
            seed=seed,
            steps=plan["steps"],
            batch=section["batch"],
            evaluate_every=plan["evaluate_every"],
        )
        for optimizer, method in section["methods"].items()
        for rate in chosen["rates"][method["family"]]
        for seed in chosen["seeds"]
    ]

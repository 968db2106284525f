"""The runs of tests: one definition of the fields that a test leaves open, and what an interrupted run leaves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from nadam_ref.experiments.protocol.definition import load
from nadam_ref.experiments.runs import checkpoints
from nadam_ref.experiments.runs.driver import checkpoint_of
from nadam_ref.experiments.runs.optimizers import OPTIMIZER_VERSION, hyperparameters
from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.runs.training import Training
from nadam_ref.experiments.tasks import TASKS

#: Each task's data that need no download.
EMBEDDED = {
    "images": "digits",
    "autoencoder": "digits",
    "word2vec": "clusters",
    "language_model": "chain",
    "digits": "digits",
    "transformer": "chain",
}


def spec(
    optimizer: str = "Nadam", *, task: str = "images", hyper: Mapping[str, Any] | None = None, **fields: Any
) -> RunSpec:
    """A few steps on embedded data, with some fields of one's own; `hyper` is completed by defaults.

    A task that a test made up has the usual fields of the images.
    """
    known = task if task in EMBEDDED else "images"
    usual: dict[str, Any] = {
        "task_version": TASKS[known].VERSION,
        "profile": "smoke",
        "model": dataclasses.asdict(TASKS[known].SIZES["smoke"]),
        "data": EMBEDDED[known],
        "data_sha256": sha256(known),
        "optimizer_version": OPTIMIZER_VERSION,
        "hyperparameters": hyperparameters(optimizer, {"lr": 0.01, **(hyper or {})}),
        "row_lazy": load().task(known).row_lazy,
        "seed": 0,
        "steps": 7,
        "batch": 32,
        "evaluate_every": 3,
    }
    return RunSpec(task=task, optimizer=optimizer, **{**usual, **fields})


@cache
def sha256(task: str) -> str:
    """The sha256 of a task's embedded data."""
    return str(TASKS[task].load(EMBEDDED[task]).sha256)


def saved_after(steps: int, spec: RunSpec, store: Store) -> Path:
    """The checkpoint that a sweep has left of a run after so many steps."""
    path, training = checkpoint_of(store, (spec,)), Training(spec)
    for _ in range(steps):
        training.advance()
    checkpoints.save(training, path)
    return path

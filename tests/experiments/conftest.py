"""A run short enough for tests."""

import dataclasses

import pytest

from nadam_ref.experiments import datasets
from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.train import OPTIMIZER_VERSION, hyperparameters
from nadam_ref.experiments.tasks import TASKS

TASK = TASKS["images"]


@pytest.fixture
def make_spec():
    """A function: the spec of a few steps on digits, with some fields changed; `hyper` is completed by defaults."""

    def make(optimizer="Nadam", *, hyper=None, **changes):
        spec = RunSpec(
            task="images",
            task_version=TASK.VERSION,
            profile="smoke",
            model=dataclasses.asdict(TASK.SIZES["smoke"]),
            data="digits",
            data_sha256=datasets.load("digits").sha256,
            optimizer=optimizer,
            optimizer_version=OPTIMIZER_VERSION,
            hyperparameters=hyperparameters(optimizer, {"lr": 0.01, **(hyper or {})}),
            seed=0,
            steps=7,
            batch=32,
            evaluate_every=3,
        )
        return dataclasses.replace(spec, **changes)

    return make

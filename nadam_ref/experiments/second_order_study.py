"""The comparison of chapter 31: first and second order on the autoencoder, counted in passes over the same images.

A pass is the work of one gradient of all training images: a step on a batch of 64 of them is a part of one, a product
with curvature counts as two for the images that it looks at, a loss alone as a third.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .protocol import tuning
from .runs.optimizers import OPTIMIZER_VERSION, hyperparameters
from .runs.record import FAILED, Record
from .runs.spec import RunSpec
from .runs.store import Store
from .runs.train import run
from .statistics.summary import RunsError
from .tasks import TASKS, model_of

TASK, PROFILE, DATA = "autoencoder", "small", "mnist"
IMAGES, BATCH = 512, 64
SUBSET = (IMAGES, 500, 500)

#: Passes that every arm is given; a second-order step takes as many as it takes, so these end a little later.
PASSES = 100

#: Seeds that rates are chosen with, and seeds that are reported.
TUNING, REPORTED = (1000, 1001), (0, 1, 2)

#: Rates that a search tries at most.
MOST = 5


@dataclass(frozen=True)
class Arm:
    """A method, how many images a step sees, and how many steps it makes.

    `middle`: the rate at which its search begins; None: its step is no matter of a rate.
    """

    optimizer: str
    batch: int
    steps: int
    middle: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


MINI: dict[str, Any] = {"batch": BATCH, "steps": PASSES * IMAGES // BATCH}
ARMS = {
    "GD": Arm("GD", IMAGES, PASSES, 1.0),
    "GD, mini-batches": Arm("GD", **MINI, middle=0.32),
    "NAG": Arm("NAG", **MINI, middle=0.32, settings={"momentum": 0.975, "momentum_decay": 0.004, "form": "mean"}),
    "Nadam": Arm(
        "Nadam",
        **MINI,
        middle=3.2e-3,
        settings={"betas": (0.975, 0.999), "eps": 1e-8, "momentum_decay": 0.004, "dialect": "cs229"},
    ),
    "L-BFGS": Arm("LBFGS", IMAGES, 110),
    "Hessian-free": Arm("HessianFree", IMAGES, 8),
}


def spec(name: str, lr: float, seed: int) -> RunSpec:
    """A run of an arm. Raises `DataError` where MNIST is absent."""
    arm, task = ARMS[name], TASKS[TASK]
    return RunSpec(
        task=TASK,
        task_version=task.VERSION,
        profile=PROFILE,
        model=model_of(task.SIZES[PROFILE]),
        data=DATA,
        data_sha256=task.load(DATA, SUBSET).sha256,
        subset=SUBSET,
        optimizer=arm.optimizer,
        optimizer_version=OPTIMIZER_VERSION,
        hyperparameters=hyperparameters(arm.optimizer, {**arm.settings, "lr": lr}),
        seed=seed,
        steps=arm.steps,
        batch=arm.batch,
        evaluate_every=max(1, arm.steps // 10),
    )


def per_pass(batch: int) -> int:
    """Steps in a pass."""
    return IMAGES // batch


def arm(spec: RunSpec) -> str:
    """The arm that a run is of."""
    return next(name for name, x in ARMS.items() if (x.optimizer, x.batch) == (spec.optimizer, spec.batch))


def by_passes(record: Record) -> tuple[list[float], list[float]]:
    """Passes made, and the training loss there, over a run.

    Of a step on all images it is the loss before the step. Of smaller batches it is the mean over those of a pass,
    placed in the middle of it; these runs are short enough to keep every loss.
    """
    losses, batch = record.curves["train_loss"], record.spec.batch
    if "passes" in record.curves:
        return [0.0, *record.curves["passes"][:-1]], losses
    if batch == IMAGES:
        return [float(i) for i in range(len(losses))], losses
    n = per_pass(batch)
    parts = [losses[i : i + n] for i in range(0, len(losses), n)]
    return [i + 0.5 for i in range(len(parts))], [sum(part) / len(part) for part in parts]


def criterion(records: Iterable[Record]) -> float:
    """What a rate is chosen by: the mean log training loss at the end; +∞ where a run diverged."""
    made = list(records)
    if any(record.status == "diverged" for record in made):
        return math.inf
    return sum(math.log(by_passes(record)[1][-1]) for record in made) / len(made)


def rates(make: Callable[[RunSpec], Record]) -> dict[str, float]:
    """The rate of each arm, by the protocol's search where it has one, and else 1."""
    chosen = {}
    for name, x in ARMS.items():
        tried: dict[float, float] = {}
        while x.middle and (wanted := tuning.next_rates(tried, x.middle, MOST)):
            tried |= {lr: criterion(make(spec(name, lr, seed)) for seed in TUNING) for lr in wanted}
        chosen[name] = tuning.choose(tried).lr if tried else 1.0
    return chosen


def timed(spec: RunSpec) -> Record:
    """The record of a run that also says how many seconds of a processor it took, whatever else it does."""
    started = time.thread_time()
    record = run(spec)
    return dataclasses.replace(
        record, provenance={**record.provenance, "cpu_seconds": round(time.thread_time() - started, 3)}
    )


def study(store: Store, progress: Callable[[Record], None] = lambda record: None) -> list[Record]:
    """All runs of the comparison, those that are reported last; what the store has is not run again, unless it failed.

    `progress` is called after each. Raises what `runs.train.run` raises, and `RunsError` where a run fails.
    """

    def make(wanted: RunSpec) -> Record:
        record = store.get(wanted)
        if record is None or record.status in FAILED:
            record = timed(wanted)
            store.put(record)
        if record.status in FAILED:
            raise RunsError(
                f"the run of {arm(wanted)} lr {wanted.lr:g} seed {wanted.seed} failed: {record.status}, "
                f"{record.reason}; mend that and give the same command again, what is finished is kept"
            )
        made.append(record)
        progress(record)
        return record

    made: list[Record] = []
    chosen = rates(make)
    for seed in REPORTED:
        for name, lr in chosen.items():
            make(spec(name, lr, seed))
    return made

"""Results that others have published, repeated before optimizers are compared on their tasks.

A run that reaches such a result shows that data, network, objective and training loop are those of its source.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .runs.checkpoints import Saver, resumed
from .runs.optimizers import OPTIMIZER_VERSION, hyperparameters
from .runs.record import FAILED, Record
from .runs.spec import REPRODUCTION, RunSpec
from .runs.store import Store
from .runs.train import run
from .runs.training import Training
from .tasks import TASKS, model_of

TOLERANCE = 1.05  # a result counts as reached up to this multiple of the published one


@dataclass(frozen=True)
class Reproduction:
    """A published result on a task: `published` by metric, lower is better; `measured` reads the same from a record."""

    task: str
    source: str
    spec: Callable[[], RunSpec]
    published: Mapping[str, float]
    measured: Callable[[Record], dict[str, float]]

    def reached(self, record: Record) -> bool:
        """Whether every metric is at most 1.05 times the published one. A run that did not finish has reached none."""
        if record.status != "finished":
            return False
        values = self.measured(record)
        return all(values[name] <= TOLERANCE * value for name, value in self.published.items())


def _spec(
    name: str, data_name: str, batch: int, epochs: int, optimizer: str, settings: Mapping[str, Any], **more: Any
) -> RunSpec:
    """A run of a task at the paper's size with seed 0, evaluated after every epoch."""
    task = TASKS[name]
    size, data = task.SIZES["paper"], task.load(data_name)
    steps = task.epoch(data, size, batch)
    return RunSpec(
        task=name,
        task_version=task.VERSION,
        profile=REPRODUCTION,
        model=model_of(size),
        data=data_name,
        data_sha256=data.sha256,
        optimizer=optimizer,
        optimizer_version=OPTIMIZER_VERSION,
        hyperparameters=hyperparameters(optimizer, settings),
        seed=0,
        steps=epochs * steps,
        batch=batch,
        evaluate_every=steps,
        **more,
    )


def jones_curves() -> dict[str, list[float]]:
    """What Jones's notebook prints after every epoch (`jones.csv`): `train_loss` and `dev_loss`."""
    with Path(__file__).with_name("jones.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    return {name: [float(line[name]) for line in lines] for name in ("train_loss", "dev_loss")}


def _jones_losses(record: Record) -> dict[str, float]:
    """Training loss as Jones's library prints it, the mean over the batches of the last epoch; and validation loss."""
    spec = record.spec
    last = record.curves["train_loss"][-(spec.evaluate_every // spec.train_every) :]
    return {"train_loss": sum(last) / len(last), "dev_loss": record.metrics["dev_loss"]}


def _perplexities(record: Record) -> dict[str, float]:
    return {name: record.metrics[name] for name in ("dev_perplexity", "test_perplexity")}


REPRODUCTIONS = {
    "jones": Reproduction(
        task="autoencoder",
        source="Jones (2015), convolutional autoencoder of MNIST: NAG, rate .01, μ .975, batch 128, 20 epochs",
        spec=functools.partial(
            _spec, "autoencoder", "mnist", 128, 20, "NAG", {"lr": 0.01, "momentum": 0.975, "form": "sum"}
        ),
        published={name: values[-1] for name, values in jones_curves().items()},
        measured=_jones_losses,
    ),
    "ptb": Reproduction(
        task="language_model",
        source="TensorFlow's language-model tutorial, small configuration, Penn Treebank: gradient descent, 13 epochs",
        spec=functools.partial(
            _spec, "language_model", "ptb", 20, 13, "GD", {"lr": 1.0}, clip_norm=5.0, anneal=(0.5, 5)
        ),
        published={"dev_perplexity": 121.39, "test_perplexity": 115.91},
        measured=_perplexities,
    ),
}


def reproduce(name: str, store: Store, *, progress: Callable[[Training], None] | None = None) -> Record:
    """The record of the run that repeats a result: from the store where it is there, else made and stored.

    A run that was interrupted, or failed for want of memory, goes on from its checkpoint beside the records.
    `progress` is called as it is saved, about once a minute. Raises what `runs.train.run` raises, and
    `KeyError` for an unknown name.
    """
    spec = REPRODUCTIONS[name].spec()
    if (stored := store.get(spec)) is not None:
        return stored
    checkpoint = store.folder / "checkpoints" / f"{spec.id}.pt"
    saver = Saver(checkpoint)

    def now_and_then(training: Training) -> None:
        if saver(training) and progress:
            progress(training)

    record = resumed(checkpoint, spec.id, lambda saved: run(spec, progress=now_and_then, resume=saved))
    if record.status not in FAILED:
        store.put(record)
        checkpoint.unlink(missing_ok=True)
    return record

"""Records made up for tests: every number in them is known, nothing was trained."""

from __future__ import annotations

import math
from typing import Any

import specs

from nadam_ref.experiments.protocol.definition import load
from nadam_ref.experiments.runs.record import Record

METRIC = {
    "word2vec": "loss",
    "images": "loss",
    "language_model": "perplexity",
    "autoencoder": "loss",
    "transformer": "loss",
}
RATES = (0.01, 0.1, 1.0)
TUNING = (1000, 1001)


def spec(task: Any, arm: Any, lr: Any, seed: int, **changes: Any) -> Any:
    """The spec of an arm's run, on data that nobody loads."""
    plan = load().task(task).arms[arm]
    fields = {
        "profile": "small",
        "model": {},
        "data": {"word2vec": "text8", "language_model": "ptb", "transformer": "text8"}.get(task, "mnist"),
        "data_sha256": "0" * 64,
        "hyperparameters": {**plan.hyperparameters, "lr": lr},
        "row_lazy": plan.row_lazy,
        "steps": 4,
        "evaluate_every": 2,
    }
    return specs.spec(plan.optimizer, task=task, seed=seed, **{**fields, **changes})


def record(task: Any, arm: Any, lr: Any, seed: int, value: Any, *, provenance: Any = None, **changes: Any) -> Any:
    """A run that ends at `value` in its task's metric, on dev and test; it diverged where `value` is infinite."""
    metric = METRIC[task]
    diverged = math.isinf(value)
    dev = [4.0, 2.0] if diverged else [4.0, 2.0, value]
    metrics = {f"{part}_{name}": value for part in ("dev", "test") for name in {"loss", metric}}
    return Record(
        spec=spec(task, arm, lr, seed, **changes),
        status="diverged" if diverged else "finished",
        reason="training loss nan" if diverged else "",
        step=3 if diverged else 4,
        curves={
            "train_loss": [4.0, 3.0, 2.0],
            "dev_step": [0.0, 2.0, 4.0][: len(dev)],
            **{f"dev_{name}": dev for name in {"loss", metric}},
        },
        metrics={} if diverged else metrics,
        provenance={"protocol_sha256": "f" * 64, "cpu": "a CPU", "cpu_capability": "AVX2", **(provenance or {})},
    )


def arm(
    task: Any, name: Any, values: Any, *, best: int = 1, diverges: bool = False, rates: Any = RATES, **changes: Any
) -> Any:
    """An arm's tuning runs, of which the rate `rates[best]` comes out best, and a reported run for each of `values`."""
    tuning = [
        record(task, name, lr, seed, math.inf if diverges else 1.0 + abs(i - best), **changes)
        for i, lr in enumerate(rates)
        for seed in TUNING
    ]
    lr = rates[0] if diverges else rates[best]
    return tuning + [record(task, name, lr, seed, value, **changes) for seed, value in enumerate(values)]


def seven_steps(name: Any, lr: Any, seed: int, dev_loss: Any, **changes: Any) -> Any:
    """A run on images that ends at a development loss; `math.inf` makes it diverge after 4 of its 7 steps."""
    diverged = math.isinf(dev_loss)
    dev = [2.0, 5.0] if diverged else [2.0, 1.5, 1.0, dev_loss]
    train = [2.0, 3.0, 4.0, 9.0, math.nan] if diverged else [2.0 - 0.1 * t for t in range(7)]
    metrics = {"dev_loss": dev_loss, "dev_accuracy": 0.9, "test_loss": dev_loss + seed, "test_accuracy": 0.8}
    return Record(
        spec=spec("images", name, lr, seed, **{"steps": 7, "evaluate_every": 3, **changes}),
        status="diverged" if diverged else "finished",
        reason="training loss nan" if diverged else "",
        step=4 if diverged else 7,
        curves={"train_loss": train, "dev_step": [0, 3, 6, 7][: len(dev)], "dev_loss": dev, "dev_accuracy": dev},
        metrics={} if diverged else metrics,
        provenance={},
    )

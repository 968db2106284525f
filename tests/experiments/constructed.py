"""Records made up for tests: every number in them is known, nothing was trained."""

import math

from nadam_ref.experiments.protocol.definition import load
from nadam_ref.experiments.runs.record import Record
from nadam_ref.experiments.runs.spec import RunSpec

METRIC = {"word2vec": "loss", "images": "loss", "language_model": "perplexity", "autoencoder": "loss"}
RATES = (0.01, 0.1, 1.0)
TUNING = (1000, 1001)


def spec(task, arm, lr, seed, **changes):
    plan = load().task(task).arms[arm]
    fields = {
        "task": task,
        "task_version": 1,
        "profile": "small",
        "model": {},
        "data": {"word2vec": "text8", "language_model": "ptb"}.get(task, "mnist"),
        "data_sha256": "0" * 64,
        "optimizer": plan.optimizer,
        "optimizer_version": 1,
        "hyperparameters": {**plan.hyperparameters, "lr": lr},
        "row_lazy": plan.row_lazy,
        "seed": seed,
        "steps": 4,
        "batch": 1,
        "evaluate_every": 2,
    }
    return RunSpec(**{**fields, **changes})


def record(task, arm, lr, seed, value, *, provenance=None, **changes):
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


def arm(task, name, values, *, best=1, diverges=False, **changes):
    """An arm's tuning runs, of which the rate `RATES[best]` comes out best, and a reported run for each of `values`."""
    tuning = [
        record(task, name, lr, seed, math.inf if diverges else 1.0 + abs(i - best), **changes)
        for i, lr in enumerate(RATES)
        for seed in TUNING
    ]
    lr = RATES[0] if diverges else RATES[best]
    return tuning + [record(task, name, lr, seed, value, **changes) for seed, value in enumerate(values)]


def seven_steps(name, lr, seed, dev_loss, **changes):
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

"""What a run has shown so far, and the record that is made of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .record import Record, Status, provenance
from .spec import RunSpec

DIVERGED_FACTOR = 10.0
DIVERGED_STEPS = 50


def _divergence(losses: list[float]) -> str:
    """Why the training loss has diverged, or an empty string."""
    if not math.isfinite(losses[-1]):
        return f"training loss {losses[-1]}"
    recent = losses[max(1, len(losses) - DIVERGED_STEPS) :]
    if len(recent) == DIVERGED_STEPS and min(recent) > DIVERGED_FACTOR * losses[0]:
        return f"training loss above {DIVERGED_FACTOR:g} × its first value for {DIVERGED_STEPS} steps"
    return ""


@dataclass
class Log:
    """What a run has shown so far. `reason` says why it has diverged; empty where it has not."""

    curves: dict[str, list[float]] = field(default_factory=lambda: {"train_loss": [], "dev_step": []})
    latest: Mapping[str, float] = field(default_factory=dict)
    step: int = 0
    reason: str = ""

    def train(self, loss: float) -> None:
        """Add the training loss before an update."""
        self.curves["train_loss"].append(loss)
        self.reason = _divergence(self.curves["train_loss"])

    def dev(self, metrics: Mapping[str, float]) -> None:
        """Add the metrics on the development set after `step` updates."""
        self.latest = metrics
        self.curves["dev_step"].append(float(self.step))
        for name, value in metrics.items():
            self.curves.setdefault(f"dev_{name}", []).append(value)
        if not math.isfinite(metrics["loss"]):
            self.reason = f"development loss {metrics['loss']}"

    def state_dict(self) -> dict[str, Any]:
        """A copy of all fields."""
        return copy.deepcopy(vars(self))

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Log:
        """The log that `state_dict` was taken from; other keys of `saved` are ignored."""
        return cls(**{known.name: copy.deepcopy(saved[known.name]) for known in fields(cls)})


def record(
    spec: RunSpec, log: Log, seconds: float, test: Mapping[str, float], row_steps: Mapping[str, float]
) -> Record:
    """The record of a run that ended or diverged, with its metrics in the first case."""
    if log.reason:
        return unfinished(spec, "diverged", log.reason, log, seconds)
    metrics = {f"dev_{name}": value for name, value in log.latest.items()}
    metrics |= {f"test_{name}": value for name, value in test.items()} | dict(row_steps)
    return Record(spec, "finished", "", log.step, _kept(spec, log), metrics, provenance(spec, seconds))


def unfinished(spec: RunSpec, status: Status, reason: str, log: Log | None = None, seconds: float = 0.0) -> Record:
    """The record of a run that did not come to its end: a row, with what it has shown and no metrics."""
    log = log or Log()
    return Record(spec, status, reason, log.step, _kept(spec, log), {}, provenance(spec, seconds))


def _kept(spec: RunSpec, log: Log) -> dict[str, list[float]]:
    """The curves as a record has them: of a long run's training losses it has means."""
    losses, n = log.curves["train_loss"], spec.train_every
    if n == 1:
        return log.curves
    parts = [losses[i : i + n] for i in range(0, len(losses), n)]
    return {**log.curves, "train_loss": [sum(part) / len(part) for part in parts]}

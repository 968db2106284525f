"""One run, as a function: a specification in, a record out. It prints nothing and stores nothing."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

import nadam_ref

from .data import DataError
from .records import Record, RunSpec, Status, provenance
from .tasks import TASKS, Params, Task

__all__ = ["OPTIMIZER_VERSION", "RunSpec", "hyperparameters", "run", "stream"]

OPTIMIZER_VERSION = 1  # raised when an update's arithmetic changes, so that its old records are not taken for new ones

DIVERGED_FACTOR = 10.0
DIVERGED_STEPS = 50

# how an update is executed, not what it computes
EXECUTION = {"foreach", "fused", "capturable", "differentiable"}


def _chosen(kind: str, name: str, choices: Mapping[str, Any]) -> Any:
    if name not in choices:
        raise ValueError(f"no {kind} is called {name!r}; there are: {', '.join(choices)}")
    return choices[name]


def hyperparameters(optimizer: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument that enters the optimizer's arithmetic: those given, the rest at their defaults.

    Raises `ValueError` for an unknown optimizer or argument.
    """
    signature = inspect.signature(_chosen("optimizer", optimizer, nadam_ref.OPTIMIZERS))
    try:
        bound = signature.bind(None, **given)
    except TypeError as error:
        raise ValueError(f"{optimizer}: {error}") from error
    bound.apply_defaults()
    _, *rest = bound.arguments.items()
    return {name: value for name, value in rest if name not in EXECUTION}


def stream(seed: int, name: str) -> torch.Generator:
    """The random generator of one purpose ("init", "order", "dropout"): streams of one seed do not touch each other."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _divergence(losses: list[float]) -> str:
    """Why the training loss has diverged, or an empty string."""
    if not math.isfinite(losses[-1]):
        return f"training loss {losses[-1]}"
    recent = losses[1:][-DIVERGED_STEPS:]
    if len(recent) == DIVERGED_STEPS and min(recent) > DIVERGED_FACTOR * losses[0]:
        return f"training loss above {DIVERGED_FACTOR:g} × its first value for {DIVERGED_STEPS} steps"
    return ""


@dataclass
class _Log:
    """What a run has shown so far."""

    curves: dict[str, list[float]] = field(default_factory=lambda: {"train_loss": [], "dev_step": []})
    latest: Mapping[str, float] = field(default_factory=dict)
    step: int = 0
    reason: str = ""

    def train(self, loss: float) -> None:
        self.curves["train_loss"].append(loss)
        self.reason = _divergence(self.curves["train_loss"])

    def dev(self, metrics: Mapping[str, float]) -> None:
        self.latest = metrics
        self.curves["dev_step"].append(float(self.step))
        for name, value in metrics.items():
            self.curves.setdefault(f"dev_{name}", []).append(value)
        if not math.isfinite(metrics["loss"]):
            self.reason = f"development loss {metrics['loss']}"


def _train(task: Task, data: Any, spec: RunSpec, params: Params) -> _Log:
    optimizer = nadam_ref.OPTIMIZERS[spec.optimizer](list(params.values()), **spec.hyperparameters)
    batches = task.batches(data, spec.batch, stream(spec.seed, "order"), getattr(torch, spec.dtype))
    dropout = stream(spec.seed, "dropout")
    log = _Log()
    while True:
        if log.step % spec.evaluate_every == 0 or log.step == spec.steps:
            log.dev(task.evaluate(params, data, "dev"))
        if log.reason or log.step == spec.steps:
            return log
        loss = task.loss(params, next(batches), dropout)
        log.train(loss.item())
        if log.reason:
            return log
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        log.step += 1


def run(spec: RunSpec) -> Record:
    """Train as `spec` says and return the record. The same spec gives bitwise the same curves on the same kind of CPU.

    A loss that is NaN or infinite, or above ten times its first value for 50 steps, ends the run: its status is
    `diverged`, with the step and the reason. The test set is read once, at the end of a run that finished.

    Raises `ValueError` for an unknown task, optimizer or hyperparameter, or a task or optimizer version that is not
    this package's, and `DataError` where the data are absent or are not those of the spec.
    """
    started = time.perf_counter()
    task = _chosen("task", spec.task, TASKS)
    hyperparameters(spec.optimizer, spec.hyperparameters)
    here = (task.VERSION, OPTIMIZER_VERSION)
    if here != (spec.task_version, spec.optimizer_version):
        asked = (spec.task_version, spec.optimizer_version)
        raise ValueError(f"this package runs task and optimizer versions {here}; the spec asks for {asked}")
    data = task.load(spec.data, spec.subset)
    if data.sha256 != spec.data_sha256:
        raise DataError(f"{data.label} has sha256 {data.sha256}; the spec asks for {spec.data_sha256}")
    size = type(_chosen("profile", spec.profile, task.SIZES))(**spec.model)
    with _threads(spec.threads):
        params = task.init(data, size, stream(spec.seed, "init"), getattr(torch, spec.dtype))
        log = _train(task, data, spec, params)
        metrics = {} if log.reason else _final(log.latest, task.evaluate(params, data, "test"))
    status: Status = "diverged" if log.reason else "finished"
    elapsed = time.perf_counter() - started
    return Record(spec, status, log.reason, log.step, log.curves, metrics, provenance(elapsed))


def _final(dev: Mapping[str, float], test: Mapping[str, float]) -> dict[str, float]:
    """Metrics at the last step, named by the part of the data they were taken on."""
    return {f"{part}_{name}": value for part, found in (("dev", dev), ("test", test)) for name, value in found.items()}

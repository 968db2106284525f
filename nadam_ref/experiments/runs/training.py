"""A run in progress: its parameters, its batches, its optimizer, and one update after another."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import NadamRefError
from ..tasks import TASKS, Params, State, Task, chosen, pick, scatter
from .log import Log
from .optimizers import OPTIMIZER_VERSION, build, hyperparameters
from .record import made_with
from .resources import check_device, is_out_of_memory
from .spec import REPRODUCTION, RunSpec

#: Metrics of a finished row-lazy run: how many steps a row of the largest table took, at most and in the median.
ROW_STEPS = ("row_steps_most", "row_steps_median")


def stream(seed: int, name: str, device: str = "cpu") -> torch.Generator:
    """The random generator of one purpose ("init", "order", "dropout"): streams of one seed do not touch each other."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class CheckpointError(NadamRefError, ValueError):
    """The state of a run cannot be loaded. `fault`: why, as it follows the words "the checkpoint"."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"the checkpoint {fault}")
        self.fault = fault


class InProgress(ABC):
    """One run, or several side by side that differ in seed and in numbers of the optimizer.

    `name`: theirs in a checkpoint. `spec`: that of the first. `task`, `data`, `size` (of the network), `dtype` and
    `device` (of all tensors) are what it names.
    """

    params: Params
    optimizer: Any
    state: State

    def __init__(self, name: str, spec: RunSpec) -> None:
        """Look up and load what `spec` names; raises as `run`."""
        self.started = time.perf_counter()
        self.name, self.spec = name, spec
        self.task: Task = chosen("task", spec.task, TASKS)
        hyperparameters(spec.optimizer, spec.hyperparameters)
        here = (self.task.VERSION, OPTIMIZER_VERSION)
        if here != (spec.task_version, spec.optimizer_version):
            asked = (spec.task_version, spec.optimizer_version)
            raise ValueError(f"this package runs task and optimizer versions {here}; the spec asks for {asked}")
        check_device(spec.device, spec.profile, spec.task)
        self.data = self.task.load_verified(spec.data, spec.subset, spec.data_sha256)
        if spec.profile != REPRODUCTION:
            chosen("profile", spec.profile, self.task.SIZES)
        self.size = self.task.size(spec.model)
        self.dtype, self.device = getattr(torch, spec.dtype), torch.device(spec.device)

    def start(self, seed: int) -> tuple[Params, Iterator[Any], State]:
        """Fresh parameters (the same on every device), a run's batches, and what the first batch is handed."""
        params = self.task.init(self.data, self.size, stream(seed, "init"), self.dtype)
        params = {name: x.detach().to(self.device).requires_grad_() for name, x in params.items()}
        order, noise = (stream(seed, name, self.spec.device) for name in ("order", "dropout"))
        batches = self.task.batches(self.data, self.size, self.spec.batch, order, noise, self.dtype)
        state = self.task.state(self.size, self.spec.batch, self.dtype)
        return params, batches, tuple(x.to(self.device) for x in state)

    def rate_factor(self, step: int) -> float:
        """What `spec.anneal` multiplies the learning rate by at an update, counted from 0."""
        if self.spec.anneal is None:
            return 1.0
        factor, full = self.spec.anneal
        epoch = step // self.task.epoch(self.data, self.size, self.spec.batch)
        return float(factor ** max(epoch + 1 - full, 0))

    @property
    def seconds(self) -> float:
        """Wall-clock time spent, that before a resumption included."""
        return time.perf_counter() - self.started

    @property
    @abstractmethod
    def ended(self) -> bool:
        """Whether the last development value has been taken, or all have diverged."""

    @abstractmethod
    def advance(self) -> None:
        """Make one update or more, and evaluate where it is due."""

    def train(self, progress: Callable[[Any], None] | None, limit_seconds: float | None) -> str:
        """Go on to the end. Why it was not reached; empty where it was."""
        while not self.ended:
            self.advance()
            if limit_seconds is not None and self.seconds > limit_seconds and not self.ended:
                return f"longer than {limit_seconds:g} s"
            if progress:
                progress(self)
        return ""

    def state_dict(self) -> dict[str, Any]:
        """All that the rest depends on, for `load_state_dict`; batches and noise are drawn again there."""
        return {
            "run": self.name,
            "made_with": made_with(self.spec),
            "params": {name: x.detach().clone() for name, x in self.params.items()},
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "state": [x.clone() for x in self.state],
            "seconds": self.seconds,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, bit for bit on a CPU.

        Raises `CheckpointError` for the state of other runs, for one that was made with what gives other bits, and for
        whatever else cannot be loaded; this run is then of no use.
        """
        try:
            self._check(saved)
            self._load(saved)
        except CheckpointError:
            raise
        except Exception as error:  # what a file of another structure ends in may be anything
            if is_out_of_memory(error):
                raise
            raise CheckpointError(f"cannot be loaded ({type(error).__name__}: {str(error)[:200]!a})") from error

    def _check(self, saved: Mapping[str, Any]) -> None:
        if saved["run"] != self.name:
            raise CheckpointError(f"is of run {saved['run'][:12]}, not of {self.name[:12]}")
        there, here = saved.get("made_with", {}), made_with(self.spec)
        if other := [name for name in here if there.get(name) != here[name]]:
            words = (f"{name} {str(there.get(name, 'unknown'))[:80]!a}, here {here[name]!r}" for name in other)
            raise CheckpointError(f"was made with {'; '.join(words)}")
        if _shapes(saved) != _shapes({"params": self.params, "state": self.state}):  # some shapes would be broadcast
            raise CheckpointError("has tensors of other names or shapes")

    def _load(self, saved: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for name, x in self.params.items():
                x.copy_(saved["params"][name])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.state = tuple(x.to(self.device, copy=True) for x in saved["state"])
        self.started -= saved["seconds"]


def _shapes(saved: Mapping[str, Any]) -> tuple[dict[str, torch.Size], list[torch.Size]]:
    return {name: x.shape for name, x in saved["params"].items()}, [x.shape for x in saved["state"]]


class Training(InProgress):
    """A run in progress: `params`, the optimizer, and the log of what it has shown."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec.id, spec)
        self.params, self.batches, self.state = self.start(spec.seed)
        self.optimizer = build(spec, self.task, self.params)
        self.log = Log()

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics on `dev` or `test`."""
        with torch.no_grad():
            metrics = self.task.evaluate(self.params, self.data, split)
        return {name: float(value) for name, value in metrics.items()}

    def advance(self) -> None:
        """Evaluate where it is due, then make one update, unless the run is at its end or diverged."""
        log, spec = self.log, self.spec
        if log.step % spec.evaluate_every == 0 or log.step == spec.steps:
            log.dev(self.evaluate("dev"))
        if not self.ended:
            self.update()

    def update(self) -> None:
        """Make one update, unless the loss before it says that the run has diverged."""
        loss, state = self._backward()
        self.log.train(loss)
        if not self.log.reason:
            self._update()
            self.state = state
            self.log.step += 1

    @property
    def ended(self) -> bool:
        last = self.log.curves["dev_step"][-1:]
        return bool(self.log.reason) or last == [float(self.spec.steps)]

    def _backward(self) -> tuple[float, State]:
        """The loss of the next batch and the state after it; gradients are left in the parameters."""
        task, size, batch = self.task, self.size, next(self.batches)
        rows = task.rows(batch)
        for x in self.params.values():
            x.grad = None
        if self.spec.row_lazy:
            with torch.no_grad():
                used = pick(self.params, rows)
            loss, state, grads = task.gradients(size, used, batch, self.state)
            for name, grad in scatter(grads, rows, self.params).items():
                self.params[name].grad = grad
            return loss.item(), state
        loss, state = task.loss(size, pick(self.params, rows), batch, self.state)
        value = loss.item()
        if math.isfinite(value):
            loss.backward()  # type: ignore[no-untyped-call]
        return value, state

    def _update(self) -> None:
        if self.spec.clip_norm is not None:
            clip([x.grad for x in self.params.values() if x.grad is not None], self.spec.clip_norm)
        if self.spec.anneal is not None:
            factor = self.rate_factor(self.log.step)
            for group in self.optimizer.param_groups:
                group["lr"] = self.spec.lr * factor
        self.optimizer.step()

    def row_steps(self) -> dict[str, float]:
        """The metrics `ROW_STEPS`; empty where rows do not count their own steps."""
        table = max(self.params.values(), key=Tensor.numel)
        return row_steps(self.optimizer.state[table].get("step") if self.spec.row_lazy else None)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), **self.log.state_dict()}

    def _load(self, saved: Mapping[str, Any]) -> None:
        super()._load(saved)
        self.log = Log.of(saved)
        for _ in range(self.log.step):  # every draw of the generators, so that the next one is the next
            next(self.batches)


def row_steps(steps: Tensor | None) -> dict[str, float]:
    """The metrics `ROW_STEPS` from the steps of a table's rows; empty where there is one count or none."""
    if steps is None or steps.dim() == 0:
        return {}
    return dict(zip(ROW_STEPS, (float(steps.max()), float(steps.median())), strict=True))


def clip(grads: list[Tensor], norm: float) -> None:
    """Scale gradients in place so that their common L2 norm is at most `norm`."""
    squares = [(g.coalesce().values() if g.is_sparse else g).square().sum() for g in grads]
    scale = (norm / torch.stack(squares).sum().sqrt()).clamp(max=1.0)
    for g in grads:
        g.mul_(scale)

"""One run, as a function: a specification in, a record out. It prints nothing and stores nothing."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import functools
import hashlib
import inspect
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from ...checks import momentum_decay, renamed
from ...errors import NadamRefError
from ...rules import DIALECTS
from ..second_order.methods import SECOND_ORDER
from ..tasks import TASKS, Params, State, Task, chosen, pick, scatter
from . import optimizers
from .record import Record, Status, provenance
from .spec import RunSpec

OPTIMIZER_VERSION = 1  # raised when an update's arithmetic changes, so that its old records are not taken for new ones

#: Profile of runs that no protocol plans, because they reach a published result; their model says all sizes itself.
REPRODUCTION = "reproduction"

#: Metrics of a finished row-lazy run: how many steps a row of the largest table took, at most and in the median.
ROW_STEPS = ("row_steps_most", "row_steps_median")

DIVERGED_FACTOR = 10.0
DIVERGED_STEPS = 50

# how an update is executed, not what it computes
EXECUTION = {"foreach", "fused", "capturable", "differentiable"}

# keywords that came later: at their default they are left out, so that runs keep their names
LATER = {"eps_root", "gamma", "length", "row_counts"}


class DeviceError(NadamRefError):
    """The device that a run asks for is not there. The message names the command that runs it on the CPU."""


def hyperparameters(optimizer: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument that enters the optimizer's arithmetic: those given, the rest at their defaults.

    Those of `LATER` are left out where they are at their default, given or not.

    Raises `ValueError` for an unknown optimizer or argument.
    """
    signature = inspect.signature(chosen("optimizer", optimizer, optimizers.known()))
    try:
        bound = signature.bind(None, **given)
    except TypeError as error:
        raise ValueError(f"{optimizer}: {error}") from error
    bound.apply_defaults()
    if (dialect := renamed(bound.arguments).get("dialect")) in DIALECTS:
        bound.arguments["momentum_decay"] = momentum_decay(dialect, bound.arguments["momentum_decay"])
    _, *rest = bound.arguments.items()
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    return {
        name: value for name, value in rest if name not in EXECUTION and not (name in LATER and value == defaults[name])
    }


def stream(seed: int, name: str, device: str = "cpu") -> torch.Generator:
    """The random generator of one purpose ("init", "order", "dropout"): streams of one seed do not touch each other."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep up to 256 MB of the memory that it frees; nothing where the C library has no mallopt.

    glibc hands large blocks back at once, and so eagerly under the settings that Dask gives its workers that a step
    spends as long on page faults as on arithmetic.
    """
    trim_threshold, mmap_threshold = -1, -3  # of malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 32 << 20)  # the most it takes
        mallopt(trim_threshold, 256 << 20)


@contextlib.contextmanager
def threads(number: int) -> Iterator[None]:
    """Torch computes with this many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_device(device: str, profile: str, task: str) -> None:
    """Raise `DeviceError` where CUDA is asked for and not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "this run asks for CUDA and torch finds no CUDA device; on the CPU the command is "
            f"`nadam-ref sweep {profile} --task {task} --device cpu`"
        )


# ---------------------------------------------------------------- what a run shows


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


# ---------------------------------------------------------------- the loop


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
            "params": {name: x.detach().clone() for name, x in self.params.items()},
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "state": [x.clone() for x in self.state],
            "seconds": self.seconds,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken, bit for bit on a CPU. Raises `ValueError` for the state of other runs."""
        if saved["run"] != self.name:
            raise ValueError(f"the checkpoint is of run {saved['run'][:12]}, not of {self.name[:12]}")
        with torch.no_grad():
            for name, x in self.params.items():
                x.copy_(saved["params"][name])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.state = tuple(x.to(self.device, copy=True) for x in saved["state"])
        self.started -= saved["seconds"]


class Training(InProgress):
    """A run in progress: `params`, the optimizer, and the log of what it has shown."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec.id, spec)
        self.params, self.batches, self.state = self.start(spec.seed)
        self.optimizer = optimizers.build(spec, self.task, self.params)
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

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        super().load_state_dict(saved)
        self.log = Log.of(saved)
        for _ in range(self.log.step):  # every draw of the generators, so that the next one is the next
            next(self.batches)


def begin(spec: RunSpec) -> Training:
    """The run of a spec, with no update made yet; raises as `run`."""
    if spec.optimizer not in SECOND_ORDER:
        return Training(spec)
    from .whole import WholeTraining

    return WholeTraining(spec)


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


def run(
    spec: RunSpec,
    *,
    progress: Callable[[Training], None] | None = None,
    resume: Mapping[str, Any] | None = None,
    limit_seconds: float | None = None,
) -> Record:
    """Train as `spec` says and return the record. The same spec gives bitwise the same curves on the same kind of CPU.

    `progress(training)` is called after every update; what it raises ends the run.
    `resume`: a `Training.state_dict()` of the same spec; the run goes on from there, bit for bit.
    `limit_seconds`: of wall-clock time, that before `resume` included; a run that is longer has status `timeout`.

    A loss that is NaN or infinite, or above ten times its first value for 50 steps, ends the run: its status is
    `diverged`, with the step and the reason. Where memory runs out the status is `out_of_memory`. The test set is read
    once, at the end of a run that finished.

    Raises `ValueError` for an unknown task, optimizer or hyperparameter, or a task or optimizer version that is not
    this package's, `DataError` where the data are absent or are not those of the spec, and `DeviceError` where CUDA is
    asked for and absent.
    """
    log, started = Log(), time.perf_counter()
    keep_freed_memory()
    try:
        with threads(spec.threads):
            training = begin(spec)
            if resume is not None:
                training.load_state_dict(resume)
            log = training.log
            if late := training.train(progress, limit_seconds):
                return unfinished(spec, "timeout", late, log, training.seconds)
            test = {} if log.reason else training.evaluate("test")
            return record(spec, log, training.seconds, test, training.row_steps())
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return unfinished(spec, "out_of_memory", str(error).split("\n")[0], log, time.perf_counter() - started)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on the CPU, where torch has no class for it."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)

"""Many runs as one: R replicas of a run, which differ in seed and in numbers of the optimizer, trained side by side.

What a GPU worker does. On CUDA the step is captured in a graph once and replayed, unless updates are row-lazy, because
merging the rows that occur asks the device how many there are. The same code runs on a CPU, to be tested there.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

import nadam_ref
from nadam_ref.replicas import Replicas

from ...checks import renamed
from ..tasks import pick, scatter
from .record import Record
from .spec import RunSpec
from .train import Given, Log, failed, record, row_steps, threads

__all__ = ["Batch", "group", "identity", "run_together"]

WARM_UP = 3  # steps made one by one before the graph is captured: libraries choose their kernels in them
MOST_UNREAD = 200  # training losses are read from the device at least this often


def group(specs: Sequence[RunSpec], most: int) -> list[tuple[RunSpec, ...]]:
    """Split runs into batches of at most `most` that can be trained together."""
    kinds: dict[str, list[RunSpec]] = {}
    for spec in specs:
        kinds.setdefault(_kind(spec), []).append(spec)
    return [tuple(runs[i : i + most]) for runs in kinds.values() for i in range(0, len(runs), most)]


def _kind(spec: RunSpec) -> str:
    """What runs of one batch have in common: all but the seed and the values of numbers among the hyperparameters."""
    plain = {name: _shape(value) for name, value in spec.hyperparameters.items()}
    return repr((dataclasses.replace(spec, seed=0, hyperparameters={}).id, sorted(plain.items())))


def _shape(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_shape, value))
    return "number" if isinstance(value, float) else value


def _keywords(specs: Sequence[RunSpec]) -> dict[str, Any]:
    """Hyperparameters for `Replicas`: a list where they differ between runs."""
    found: dict[str, Any] = {}
    for name in specs[0].hyperparameters:
        values = [spec.hyperparameters[name] for spec in specs]
        if len(set(values)) == 1:
            found[name] = values[0]
        elif isinstance(values[0], tuple):
            found[name] = tuple(map(list, zip(*values, strict=True)))
        else:
            found[name] = values
    return found


def identity(specs: Sequence[RunSpec]) -> str:
    """The name of a batch, by which its checkpoint is known: a sha256 of the runs in their order."""
    return hashlib.sha256(" ".join(spec.id for spec in specs).encode()).hexdigest()


class Batch:
    """R runs in progress: stacked parameters and states, one optimizer, a log for each run.

    `done`: updates made. Raises `ValueError` for runs that differ in more than seed and numbers of the optimizer.
    """

    def __init__(self, specs: Sequence[RunSpec]) -> None:
        if len({_kind(spec) for spec in specs}) != 1:
            raise ValueError("runs that are trained together may differ only in seed and in numbers of the optimizer")
        self.specs, self.spec = specs, specs[0]
        self.given = Given.of(self.spec)
        starts = [self.given.start(spec) for spec in specs]
        self.params = {name: torch.stack([start[0][name].detach() for start in starts]) for name in starts[0][0]}
        self.batches = [start[1] for start in starts]
        self.state = tuple(torch.stack(parts) for parts in zip(*(start[2] for start in starts), strict=True))
        optimizer = nadam_ref.OPTIMIZERS[self.spec.optimizer]
        self.optimizer = Replicas(optimizer, self.params, **renamed(_keywords(specs)))
        self.rates = torch.tensor([spec.lr for spec in specs], dtype=torch.float64, device=self.given.device)
        self.optimizer.numbers["lr"] = self.rates.clone()
        self.logs = [Log() for _ in specs]
        self.inputs: tuple[Tensor, ...] = ()
        self.losses = torch.zeros(len(specs), dtype=self.given.dtype, device=self.given.device)
        self.graph: Any = None
        self.warm_ups = 0
        self.done = 0
        self.seconds = 0.0  # spent, those before a resumption included

    @property
    def running(self) -> list[Log]:
        """Logs of the runs that have not diverged."""
        return [log for log in self.logs if not log.reason]

    # ---------------------------------------------------------------- one step

    def _objective(self, params: Mapping[str, Tensor], batch: Any, state: Any) -> tuple[Tensor, Any]:
        task = self.given.task
        used = dict(params) if self.spec.row_lazy else pick(params, task.rows(batch))
        return task.loss(self.given.size, used, batch, state)

    def _compute(self) -> None:
        """The update of all replicas from `inputs`; everything it leaves behind is written in place."""
        rows = {}
        if self.spec.row_lazy:
            rows = vmap(self.given.task.rows)(self.inputs)
        used = pick(self.params, rows)
        objective = grad_and_value(self._objective, has_aux=True)
        grads, (losses, state) = vmap(objective)(used, self.inputs, self.state)
        self.losses.copy_(losses)
        for old, new in zip(self.state, state, strict=True):
            old.copy_(new)
        if self.spec.clip_norm is not None:
            squares = sum(g.square().reshape(len(self.specs), -1).sum(1) for g in grads.values())
            scale = (self.spec.clip_norm / torch.as_tensor(squares).sqrt()).clamp(max=1.0)
            grads = {name: g * scale.reshape(-1, *[1] * (g.dim() - 1)) for name, g in grads.items()}
        self.optimizer.step(scatter(grads, rows, self.params))

    def step(self) -> None:
        """One update of every replica."""
        drawn = zip(*(next(batches) for batches in self.batches), strict=True)
        inputs = tuple(torch.stack(parts) for parts in drawn)
        if self.spec.anneal is not None:
            self.optimizer.numbers["lr"].copy_(self.rates * self.given.rate_factor(self.spec, self.done))
        self.done += 1
        if self.graph is not None:
            for old, new in zip(self.inputs, inputs, strict=True):
                old.copy_(new)
            self.graph.replay()
            return
        self.inputs = inputs
        if self.given.device.type != "cuda" or self.spec.row_lazy:
            self._compute()
        elif self.warm_ups < WARM_UP:
            self._warm_up()
        else:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._compute()
            self.graph.replay()

    def _warm_up(self) -> None:
        self.warm_ups += 1
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._compute()
        torch.cuda.current_stream().wait_stream(stream)

    # ---------------------------------------------------------------- what the runs show

    def evaluate(self, split: str) -> list[dict[str, float]]:
        """Metrics of every replica on `dev` or `test`."""

        def of_one(params: dict[str, Tensor]) -> dict[str, Tensor]:
            return self.given.task.evaluate(params, self.given.data, split)

        with torch.no_grad():
            found = {name: values.tolist() for name, values in vmap(of_one)(self.params).items()}
        return [{name: values[r] for name, values in found.items()} for r in range(len(self.specs))]

    def row_steps(self) -> list[dict[str, float]]:
        """As `Training.row_steps`, for every replica."""
        largest = max(self.params, key=lambda name: self.params[name].numel())
        steps = self.optimizer.state.get(largest, {}).get("step") if self.spec.row_lazy else None
        return [{} for _ in self.specs] if steps is None else [row_steps(x) for x in steps]

    def read_dev(self) -> None:
        """Add development metrics to the logs of runs that have not diverged."""
        for log, metrics in zip(self.logs, self.evaluate("dev"), strict=True):
            if not log.reason:
                log.dev(metrics)

    def read_losses(self, losses: Tensor) -> None:
        """Add training losses `[steps, R]` to the logs, up to where a run diverged."""
        for log, values in zip(self.logs, losses.T.tolist(), strict=True):
            for value in values:
                if log.reason:
                    break
                log.train(value)
                log.step += not log.reason

    # ---------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the runs depends on, for `load_state_dict`, once the losses have been read."""
        return {
            "run": identity(self.specs),
            "done": self.done,
            "logs": [log.state_dict() for log in self.logs],
            "params": {name: x.clone() for name, x in self.params.items()},
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "state": [x.clone() for x in self.state],
            "seconds": self.seconds,
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises `ValueError` for the state of another batch."""
        if saved["run"] != identity(self.specs):
            raise ValueError(f"the checkpoint is of {saved['run'][:12]}, not of {identity(self.specs)[:12]}")
        self.logs = [Log.of(log) for log in saved["logs"]]
        for name, x in self.params.items():
            x.copy_(saved["params"][name])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.state = tuple(x.to(self.given.device, copy=True) for x in saved["state"])
        self.done, self.seconds = saved["done"], saved["seconds"]
        for batches in self.batches:
            for _ in range(self.done):  # every draw of the generators, so that the next one is the next
                next(batches)


def run_together(
    specs: Sequence[RunSpec],
    *,
    progress: Callable[[Batch], None] | None = None,
    resume: Mapping[str, Any] | None = None,
    limit_seconds: float | None = None,
) -> list[Record]:
    """Records of runs that differ in seed and in numbers of the optimizer, in their order; each as `run` would give it.

    To rounding: sums over a batch are taken in another order. `progress(batch)` is called every now and then; what it
    raises ends the runs. `resume`: a `Batch.state_dict()` of the same runs, which go on from there; on a CPU to the
    same bits. `limit_seconds`: of wall-clock time for all of them, that before `resume` included.

    Raises `ValueError` for runs that differ in more, and as `run`, also where memory runs out.
    """
    started = time.perf_counter()
    with threads(specs[0].threads):
        batch = Batch(specs)
        if resume is None:
            batch.read_dev()
        else:
            batch.load_state_dict(resume)
        end, every, before = specs[0].steps, specs[0].evaluate_every, batch.seconds
        while batch.running and batch.done < end:
            evaluation = min(end, batch.done + every - batch.done % every)
            unread = batch.losses.new_empty(min(evaluation - batch.done, MOST_UNREAD), len(specs))
            for row in unread:
                batch.step()
                row.copy_(batch.losses)
            batch.read_losses(unread)
            if batch.done == evaluation and batch.running:
                batch.read_dev()
            batch.seconds = before + time.perf_counter() - started
            if progress:
                progress(batch)
            if limit_seconds is not None and batch.seconds > limit_seconds and batch.done < end:
                return _ended(batch, f"longer than {limit_seconds:g} s")
        test = batch.evaluate("test") if batch.running else None
        batch.seconds = before + time.perf_counter() - started
        return _ended(batch, "", test)


def _ended(batch: Batch, late: str, test: list[dict[str, float]] | None = None) -> list[Record]:
    """The records; those of runs that have not diverged are timeouts where it is `late`."""
    seconds = batch.seconds / len(batch.specs)
    found = []
    of_each = zip(batch.specs, batch.logs, test or [{}] * len(batch.specs), batch.row_steps(), strict=True)
    for spec, log, metrics, steps in of_each:
        timed_out = late and not log.reason
        made = failed(spec, "timeout", late, log, seconds) if timed_out else record(spec, log, metrics, seconds, steps)
        found.append(dataclasses.replace(made, provenance={**made.provenance, "replicas": len(batch.specs)}))
    return found

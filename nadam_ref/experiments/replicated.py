"""Many runs as one: R replicas of a run, which differ in seed and in numbers of the optimizer, trained side by side.

What a GPU worker does. On CUDA the step is captured in a graph once and replayed, unless updates are row-lazy, because
merging the rows that occur asks the device how many there are. The same code runs on a CPU, to be tested there.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

import nadam_ref
from nadam_ref.replicas import Replicas

from ..checks import renamed
from .records import Record, RunSpec
from .tasks import pick, scatter
from .train import Given, Log, failed, record, threads

__all__ = ["group", "run_together"]

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


class _Batch:
    """R runs in progress: stacked parameters and states, one optimizer, a log for each run."""

    def __init__(self, specs: Sequence[RunSpec]) -> None:
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

    def step(self, number: int) -> None:
        """One update of every replica; `number` counts from 0."""
        drawn = zip(*(next(batches) for batches in self.batches), strict=True)
        inputs = tuple(torch.stack(parts) for parts in drawn)
        if self.spec.anneal is not None:
            self.optimizer.numbers["lr"].copy_(self.rates * self.given.rate_factor(self.spec, number))
        if self.graph is not None:
            for old, new in zip(self.inputs, inputs, strict=True):
                old.copy_(new)
            self.graph.replay()
            return
        self.inputs = inputs
        if self.given.device.type != "cuda" or self.spec.row_lazy:
            self._compute()
        elif number < WARM_UP:
            self._warm_up()
        else:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self._compute()
            self.graph.replay()

    def _warm_up(self) -> None:
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


def run_together(
    specs: Sequence[RunSpec],
    *,
    progress: Callable[[int], None] | None = None,
    limit_seconds: float | None = None,
) -> list[Record]:
    """Records of runs that differ in seed and in numbers of the optimizer, in their order; each as `run` would give it.

    To rounding: sums over a batch are taken in another order. `progress(step)` is called every now and then; what it
    raises ends the runs. `limit_seconds`: of wall-clock time for all of them.

    Raises `ValueError` for runs that differ in more, and as `run`, also where memory runs out.
    """
    if len({_kind(spec) for spec in specs}) != 1:
        raise ValueError("runs that are trained together may differ only in seed and in numbers of the optimizer")
    started = time.perf_counter()
    with threads(specs[0].threads):
        batch = _Batch(specs)
        end, step = specs[0].steps, 0
        batch.read_dev()
        while batch.running and step < end:
            evaluation = min(end, step + specs[0].evaluate_every - step % specs[0].evaluate_every)
            stop = min(evaluation, step + MOST_UNREAD)
            unread = batch.losses.new_empty(stop - step, len(specs))
            for row in unread:
                batch.step(step)
                row.copy_(batch.losses)
                step += 1
            batch.read_losses(unread)
            if step == evaluation and batch.running:
                batch.read_dev()
            if progress:
                progress(step)
            if limit_seconds is not None and time.perf_counter() - started > limit_seconds and step < end:
                return _ended(batch, started, f"longer than {limit_seconds:g} s")
        return _ended(batch, started, "")


def _ended(batch: _Batch, started: float, late: str) -> list[Record]:
    """The records; those of runs that have not diverged are timeouts where it is `late`."""
    test: list[Any] = batch.evaluate("test") if batch.running and not late else [{}] * len(batch.specs)
    seconds = (time.perf_counter() - started) / len(batch.specs)
    found = []
    for spec, log, metrics in zip(batch.specs, batch.logs, test, strict=True):
        timed_out = late and not log.reason
        made = failed(spec, "timeout", late, log, seconds) if timed_out else record(spec, log, metrics, seconds)
        found.append(dataclasses.replace(made, provenance={**made.provenance, "replicas": len(batch.specs)}))
    return found

"""Many runs as one: R replicas of a run, which differ in seed and in numbers of the optimizer, trained side by side.

What a GPU worker does. On CUDA the step is captured in a graph once and replayed, unless updates are row-lazy, because
merging the rows that occur asks the device how many there are. The same code runs on a CPU, to be tested there.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

import nadam_ref
from nadam_ref.replicas import Replicas

from ...checks import renamed
from ..tasks import pick, scatter
from .log import Log, record, unfinished
from .record import Record
from .resources import arithmetic
from .spec import RunSpec
from .training import InProgress, row_steps

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
    shapes = {name: _shape(value) for name, value in spec.hyperparameters.items()}
    return repr((dataclasses.replace(spec, seed=0, hyperparameters={}).id, sorted(shapes.items())))


def _shape(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_shape, value))
    return "number" if isinstance(value, float) else value


def _keywords(specs: Sequence[RunSpec]) -> dict[str, Any]:
    """Hyperparameters for `Replicas`: a list where they differ between runs."""
    keywords: dict[str, Any] = {}
    for name in specs[0].hyperparameters:
        values = [spec.hyperparameters[name] for spec in specs]
        if len(set(values)) == 1:
            keywords[name] = values[0]
        elif isinstance(values[0], tuple):
            keywords[name] = tuple(map(list, zip(*values, strict=True)))
        else:
            keywords[name] = values
    return keywords


def identity(specs: Sequence[RunSpec]) -> str:
    """The name of a batch, by which its checkpoint is known: a sha256 of the runs in their order."""
    return hashlib.sha256(" ".join(spec.id for spec in specs).encode()).hexdigest()


class Batch(InProgress):
    """R runs in progress: stacked parameters and states, one optimizer, a log for each run.

    `done`: updates made. Raises `ValueError` for runs that differ in more than seed and numbers of the optimizer.
    """

    def __init__(self, specs: Sequence[RunSpec]) -> None:
        if len({_kind(spec) for spec in specs}) != 1:
            raise ValueError("runs that are trained together may differ only in seed and in numbers of the optimizer")
        if specs[0].optimizer not in nadam_ref.OPTIMIZERS:
            raise ValueError(f"{specs[0].optimizer} has no replicas; run it with device 'cpu', one by one")
        super().__init__(identity(specs), specs[0])
        self.specs = specs
        starts = [self.start(spec.seed) for spec in specs]
        self.params = {name: torch.stack([start[0][name].detach() for start in starts]) for name in starts[0][0]}
        self.batches = [start[1] for start in starts]
        self.state = tuple(torch.stack(parts) for parts in zip(*(start[2] for start in starts), strict=True))
        optimizer = nadam_ref.OPTIMIZERS[self.spec.optimizer]
        self.optimizer = Replicas(optimizer, self.params, **renamed(_keywords(specs)))
        self.rates = torch.tensor([spec.lr for spec in specs], dtype=torch.float64, device=self.device)
        self.optimizer.numbers["lr"] = self.rates.clone()
        self.logs = [Log() for _ in specs]
        self.inputs: tuple[Tensor, ...] = ()
        self.losses = torch.zeros(len(specs), dtype=self.dtype, device=self.device)
        self.graph: Any = None
        self.warm_ups = 0
        self.done = 0

    @property
    def running(self) -> bool:
        """Whether there is a run that has not diverged."""
        return not all(log.reason for log in self.logs)

    @property
    def ended(self) -> bool:
        return self.done == self.spec.steps or not self.running

    # ---------------------------------------------------------------- one step

    def _objective(self, params: Mapping[str, Tensor], batch: Any, state: Any) -> tuple[Tensor, Any]:
        task = self.task
        used = dict(params) if self.spec.row_lazy else pick(params, task.rows(batch))
        return task.loss(self.size, used, batch, state)

    def _compute(self) -> None:
        """The update of all replicas from `inputs`; everything it leaves behind is written in place."""
        rows = {}
        if self.spec.row_lazy:
            rows = vmap(self.task.rows)(self.inputs)
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
            self.optimizer.numbers["lr"].copy_(self.rates * self.rate_factor(self.done))
        self.done += 1
        if self.graph is not None:
            for old, new in zip(self.inputs, inputs, strict=True):
                old.copy_(new)
            self.graph.replay()
            return
        self.inputs = inputs
        if self.device.type != "cuda" or self.spec.row_lazy:
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

    def advance(self) -> None:
        """Update up to the next evaluation, or until losses are to be read before that."""
        left = min(self.spec.steps - self.done, self.spec.evaluate_every - self.done % self.spec.evaluate_every)
        losses = self.losses.new_empty(min(left, MOST_UNREAD), len(self.specs))
        for row in losses:
            self.step()
            row.copy_(self.losses)
        self.read_losses(losses)
        if left <= MOST_UNREAD and self.running:
            self.read_dev()

    # ---------------------------------------------------------------- what the runs show

    def evaluate(self, split: str) -> list[dict[str, float]]:
        """Metrics of every replica on `dev` or `test`."""

        def of_one(params: dict[str, Tensor]) -> dict[str, Tensor]:
            return self.task.evaluate(params, self.data, split)

        with torch.no_grad():
            metrics = {name: values.tolist() for name, values in vmap(of_one)(self.params).items()}
        return [{name: values[r] for name, values in metrics.items()} for r in range(len(self.specs))]

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

    def records(self, late: str) -> list[Record]:
        """The records; those of runs that have not diverged are timeouts where it is `late`."""
        test = self.evaluate("test") if self.running and not late else [{} for _ in self.specs]
        seconds, records = self.seconds / len(self.specs), []
        for spec, log, metrics, steps in zip(self.specs, self.logs, test, self.row_steps(), strict=True):
            if late and not log.reason:
                made = unfinished(spec, "timeout", late, log, seconds)
            else:
                made = record(spec, log, seconds, metrics, steps)
            records.append(dataclasses.replace(made, provenance={**made.provenance, "replicas": len(self.specs)}))
        return records

    # ---------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """As the base class, once the losses have been read."""
        return {**super().state_dict(), "done": self.done, "logs": [log.state_dict() for log in self.logs]}

    def _load(self, saved: Mapping[str, Any]) -> None:
        super()._load(saved)
        self.done, self.logs = saved["done"], [Log.of(log) for log in saved["logs"]]
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
    with arithmetic(specs[0].threads):
        batch = Batch(specs)
        if resume is None:
            batch.read_dev()
        else:
            batch.load_state_dict(resume)
        return batch.records(batch.train(progress, limit_seconds))

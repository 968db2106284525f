"""Runs of the second-order methods: each step looks at one large batch several times, at as many points as it needs."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...checks import renamed
from ..second_order.curvature import Function, Product, flat, gauss_newton_product
from ..second_order.methods import SECOND_ORDER
from ..tasks import Batch, Params, Task
from .log import Log
from .spec import RunSpec
from .training import InProgress, Training


class BatchObjective:
    """A task's objective on one batch as a function of one vector, with `Objective`'s products."""

    def __init__(self, task: Task, named: Any, batch: Batch) -> None:
        self.task, self.named, self.batch = task, named, batch

    def _parts(self, batch: Batch) -> tuple[Function, Function]:
        model, loss = self.task.parts(batch)
        return lambda θ: model(self.named(θ)), loss

    def __call__(self, θ: Tensor) -> Tensor:
        model, loss = self._parts(self.batch)
        return loss(model(θ))

    def curvature(self, θ: Tensor, share: float) -> Product:
        """Products over the first examples of the batch, which come in random order."""
        n = max(1, round(share * len(self.batch[0])))
        return gauss_newton_product(*self._parts(tuple(x[:n] for x in self.batch)), θ)


class WholeTraining(Training):
    """A run of a method of `SECOND_ORDER`. Its curve `passes`: gradients of a batch that the steps so far have cost.

    Raises `ValueError` for a clipped norm, a decaying rate or row-lazy updates, which these methods do not have.
    """

    def __init__(self, spec: RunSpec) -> None:
        if spec.clip_norm is not None or spec.anneal is not None or spec.row_lazy:
            raise ValueError(f"{spec.optimizer} has no clip_norm, no anneal and no row_lazy")
        InProgress.__init__(self, spec.id, spec)
        params, self.batches, self.state = self.start(spec.seed)
        θ, self.named = flat(params)
        self.optimizer = SECOND_ORDER[spec.optimizer](θ, **renamed(spec.hyperparameters))
        self.log = Log({"train_loss": [], "dev_step": [], "passes": []})

    @property
    def params(self) -> Params:  # type: ignore[override]
        """The parameters by name: views of the method's vector."""
        return self.named(self.optimizer.θ.detach())

    def update(self) -> None:
        log = self.log
        log.train(self.optimizer.step(BatchObjective(self.task, self.named, next(self.batches))))
        log.curves["passes"].append(self.optimizer.passes)
        log.step += not log.reason

"""What a task is: `Task`, with the defaults that most tasks share, and `ImageTask` for tasks on images.

A task knows data, network and objective. A run (its specification) knows the optimizer, the batch size, the number of
steps, gradient clipping, the decay of the rate, and whether updates are row-lazy; `Task.epoch` is there for a decay by
epochs.

Tasks have no state: everything is in their arguments. They are made to be vectorized over replicas. All chance is in
the batch, so `loss` is a function of its arguments, and R runs are one `torch.func.vmap` of it over parameters, batches
and states stacked along a new first dimension:

    objective = functools.partial(task.loss, size)
    grads, (losses, states) = vmap(grad_and_value(objective, has_aux=True))(params, batches, states)

with `params` passed through `pick` where the task names rows. Tensors are made on the device of the generators.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, float32

from .. import datasets
from ..datasets import DataError, ImageData
from ..datasets.registry import Subset

Params = dict[str, Tensor]
Batch = tuple[Tensor, ...]  # same shapes at every step
State = tuple[Tensor, ...]  # what one batch hands to the next; () for most tasks

BLOCK = 500  # images that are evaluated at once, so that memory stays small


class Task(ABC):
    """A task: its data, its network at several sizes, and its objective."""

    #: Raised when the same spec would train something else.
    VERSION: ClassVar[int]
    #: What results are about, one of the metrics of `evaluate`; lower is better.
    METRIC: ClassVar[str] = "loss"
    #: The part of the data on which the task's source reports results.
    REPORTED: ClassVar[str] = "test"
    #: Profile → dataclass of the model's sizes and named choices.
    SIZES: ClassVar[Mapping[str, Any]]

    def size(self, model: Mapping[str, Any]) -> Any:
        """The size that a spec's `model` describes. Raises `TypeError` for a name that sizes do not have."""
        return type(next(iter(self.SIZES.values())))(**model)

    @abstractmethod
    def load(self, name: str, subset: Any = None) -> Any:
        """The data, with `label` and `sha256`, cut to a subset. Raises `DataError` where they are absent."""

    def load_verified(self, name: str, subset: Any, sha256: str) -> Any:
        """The data with a known sha256. Raises `DataError` where they are absent, or others."""
        data = self.load(name, subset)
        if data.sha256 != sha256:
            raise DataError(f"{data.label} has sha256 {data.sha256}; the spec asks for {sha256}")
        return data

    @abstractmethod
    def epoch(self, data: Any, size: Any, batch: int) -> int:
        """Number of batches in one pass over the training data. Raises `ValueError` where a batch does not fit."""

    @abstractmethod
    def init(self, data: Any, size: Any, generator: Generator, dtype: torch.dtype = float32) -> Params:
        """Fresh leaf parameters that require gradients."""

    @abstractmethod
    def batches(
        self, data: Any, size: Any, batch: int, order: Generator, noise: Generator, dtype: torch.dtype = float32
    ) -> Iterator[Batch]:
        """Training batches without end. `order` draws which examples, `noise` dropout and negative examples.

        The streams of a seed that a run gives here are called "order" and "dropout": records depend on the names.
        """

    def state(self, size: Any, batch: int, dtype: torch.dtype = float32) -> State:
        """What the first batch is handed, on the CPU: nothing. A batch that begins an epoch resets it by itself."""
        return ()

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        """Parameters of which `loss` uses some rows only: name → those rows, int64, repeats included. None by default.

        With a batch of R replicas, stacked, they are `[R, B]`.
        """
        return {}

    def hidden(self, params: Params) -> Sequence[str]:
        """The matrices of hidden layers, by name: those that Muon orthogonalizes. None by default."""
        return ()

    @abstractmethod
    def loss(self, size: Any, params: Params, batch: Batch, state: State = ()) -> tuple[Tensor, State]:
        """The training objective of one batch, and the state for the next one, detached.

        For a parameter named by `rows(batch)`, `params` holds those rows in place of the table (see `pick`).
        """

    def gradients(
        self, size: Any, params: Params, batch: Batch, state: State = ()
    ) -> tuple[Tensor, State, Mapping[str, Tensor]]:
        """`loss`, and its gradients with respect to `params`, those of `pick`: by autograd unless a task knows better.

        Parameters that the loss does not depend on have none.
        """
        params = {name: x.detach().requires_grad_() for name, x in params.items()}
        loss, after = self.loss(size, params, batch, state)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), after, {name: x.grad for name, x in params.items() if x.grad is not None}

    def parts(self, batch: Batch) -> tuple[Callable[[Params], Tensor], Callable[[Tensor], Tensor]]:
        """The objective of one batch as loss ∘ model: parameters → outputs, and outputs → a number.

        What a Gauss-Newton product needs; both have forward and reverse derivatives. Raises `ValueError` where a task
        does not say.
        """
        raise ValueError(f"{type(self).__name__} does not say which part of its objective is the model")

    @abstractmethod
    def evaluate(self, params: Params, data: Any, split: str) -> dict[str, Tensor]:
        """Metrics on `dev` or `test` as 0-dim float64 tensors, so that this too vectorizes; `loss` is one of them."""


class ImageTask(Task):
    """A task on images: `load`, whole batches that are reshuffled every epoch, evaluation in blocks."""

    def load(self, name: str, subset: Subset | None = None) -> ImageData:
        return datasets.load(name, subset)

    def epoch(self, data: ImageData, size: Any, batch: int) -> int:
        """Whole batches in the training set. Raises `ValueError` where a batch is larger than it."""
        if not 0 < batch <= len(data.train_images):
            raise ValueError(f"batch {batch} does not fit {len(data.train_images)} training images of {data.label}")
        return len(data.train_images) // batch

    def inputs(self, images: Tensor, white: int, dtype: torch.dtype) -> Tensor:
        """Images `[N, H, W]` as `[N, 1, H, W]` with values in [0, 1], laid out as convolutions on a CPU are fastest."""
        return images.to(dtype).unsqueeze(1).div_(white).to(memory_format=torch.channels_last)

    def targets(self, labels: Tensor, size: Any, noise: Generator) -> Batch:
        """What a batch holds after its inputs: nothing by default."""
        return ()

    def batches(
        self, data: ImageData, size: Any, batch: int, order: Generator, noise: Generator, dtype: torch.dtype = float32
    ) -> Iterator[Batch]:
        """Batches (inputs `[batch, 1, H, W]`, and the `targets`) without end, reshuffled every epoch.

        All are of the same size: what is left over at the end of an epoch is dropped. Raises `ValueError` where a batch
        is larger than the training set.
        """
        steps = self.epoch(data, size, batch)
        images, labels = (torch.tensor(array, device=order.device) for array in data.split("train"))
        while True:
            shuffled = torch.randperm(len(images), generator=order, device=order.device)
            for chosen in shuffled[: steps * batch].view(steps, batch):
                inputs = self.inputs(images[chosen], data.white, dtype)
                yield inputs, *self.targets(labels[chosen], size, noise)

    def blocks(self, data: ImageData, split: str, like: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """A part of the data in its order: inputs in the dtype and on the device of `like`, and labels."""
        images, labels = (torch.tensor(array, device=like.device) for array in data.split(split))
        for start in range(0, len(images), BLOCK):
            block = slice(start, start + BLOCK)
            yield self.inputs(images[block], data.white, like.dtype), labels[block]


def chosen(kind: str, name: str, choices: Mapping[str, Any]) -> Any:
    """The choice of a name. Raises `ValueError`, which lists the choices, for another one."""
    if name not in choices:
        raise ValueError(f"no {kind} is called {name!r}; there are: {', '.join(choices)}")
    return choices[name]


def model_of(size: Any) -> dict[str, Any]:
    """A task's sizes and choices as a spec has them: without those at their default, so that new choices may come."""
    return {x.name: getattr(size, x.name) for x in fields(size) if getattr(size, x.name) != x.default}


def pick(params: Mapping[str, Tensor], rows: Mapping[str, Tensor]) -> Params:
    """`params` with each table named in `rows` replaced by the rows in question; what `Task.loss` takes.

    With rows `[R, B]` the tables are those of R replicas, `[R, rows, …]`.
    """
    return {name: _at(x, rows[name]) if name in rows else x for name, x in params.items()}


def _at(table: Tensor, rows: Tensor) -> Tensor:
    if rows.dim() == 1:
        return table.index_select(0, rows)
    return table[torch.arange(len(rows), device=rows.device)[:, None], rows]


def scatter(grads: Mapping[str, Tensor], rows: Mapping[str, Tensor], params: Mapping[str, Tensor]) -> Params:
    """Gradients with respect to `pick(params, rows)` as gradients of `params`: sparse where a table was picked from.

    The sparse ones have `sparse_dim()` 1, or 2 (replica, row) for rows `[R, B]`: what the optimizers and
    `nadam_ref.replicas.Replicas` take for row-lazy updates. Rows that occur several times are summed there.
    """
    return {name: _sparse(g, rows[name], params[name]) if name in rows else g for name, g in grads.items()}


def _sparse(values: Tensor, rows: Tensor, table: Tensor) -> Tensor:
    lead = rows.dim()
    indices = rows.reshape(1, -1)
    if lead == 2:
        replica = torch.arange(len(rows), device=rows.device).repeat_interleave(rows.shape[1])
        indices = torch.stack([replica, rows.reshape(-1)])
    flat = values.reshape(-1, *table.shape[lead:])
    return torch.sparse_coo_tensor(indices, flat, table.shape, check_invariants=False)

"""The tasks: each module is one, with the functions that `Task` lists.

What a task knows: data, network, objective. What a run knows (its specification): optimizer, batch, number of steps,
gradient clipping, the decay of the rate, whether updates are row-lazy. `Task.epoch` is there for a decay by epochs.

Everything is made to be vectorized over replicas. All chance is in the batch, so `loss` is a function of its arguments,
and R runs are one `torch.func.vmap` of it over parameters, batches and states stacked along a new first dimension:

    objective = functools.partial(task.loss, size)
    grads, (losses, states) = vmap(grad_and_value(objective, has_aux=True))(params, batches, states)

with `params` passed through `pick` where the task names rows. Tensors are made on the device of the generators.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from . import autoencoder, images, language_model, word2vec

Params = dict[str, Tensor]
Batch = tuple[Tensor, ...]  # same shapes at every step
State = tuple[Tensor, ...]  # what one batch hands to the next; () for most tasks


class Task(Protocol):
    """What a task module offers. Functions are pure: all state is in their arguments, all chance in a generator."""

    VERSION: int  # raised when the same spec would train something else
    METRIC: str  # what results are about, one of those that `evaluate` gives; lower is better
    SIZES: dict[str, Any]  # profile → dataclass of the model's sizes and named choices; a spec's `model` is its dict

    def load(self, name: str, subset: Any) -> Any:
        """The data, with `label` and `sha256`."""

    def epoch(self, data: Any, size: Any, batch: int) -> int:
        """Number of batches in one pass over the training data. Raises `ValueError` where a batch does not fit."""

    def init(self, data: Any, size: Any, generator: torch.Generator, dtype: torch.dtype) -> Params:
        """Leaf parameters that require gradients."""

    def batches(
        self,
        data: Any,
        size: Any,
        batch: int,
        order: torch.Generator,
        noise: torch.Generator,
        dtype: torch.dtype,
    ) -> Iterator[Batch]:
        """Training batches without end. `order` draws which examples, `noise` dropout and negative examples.

        The streams of a seed that a run gives here are called "order" and "dropout": records depend on the names.
        """

    def state(self, size: Any, batch: int, dtype: torch.dtype) -> State:
        """What the first batch is handed, on the CPU. A batch that begins an epoch resets it by itself."""

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        """Parameters of which `loss` uses some rows only: name → those rows, int64, repeats included. Often empty."""

    def loss(self, size: Any, params: Params, batch: Batch, state: State) -> tuple[Tensor, State]:
        """The training objective of one batch, and the state for the next one, detached.

        For a parameter named by `rows(batch)`, `params` holds those rows in place of the table (see `pick`).
        """

    def evaluate(self, params: Params, data: Any, split: str) -> dict[str, Tensor]:
        """Metrics on `dev` or `test` as 0-dim float64 tensors, so that this too vectorizes; `loss` is one of them."""


def pick(params: Mapping[str, Tensor], rows: Mapping[str, Tensor]) -> Params:
    """`params` with each table named in `rows` replaced by the rows in question; what `Task.loss` takes.

    With rows `[R, B]` the tables are those of R replicas, `[R, rows, …]`.
    """
    return {name: _at(x, rows[name]) if name in rows else x for name, x in params.items()}


def _at(table: Tensor, rows: Tensor) -> Tensor:
    if rows.dim() == 1:
        return table.index_select(0, rows)
    return table[torch.arange(len(rows), device=rows.device)[:, None], rows]


def loss_and_gradients(
    task: Task, size: Any, used: Params, batch: Batch, state: State
) -> tuple[Tensor, State, Mapping[str, Tensor]]:
    """`task.loss`, and its gradients with respect to `used`: the task's own where it has some, or else autograd's.

    A task's own `gradients(size, params, batch)` gives the loss and the gradients of what `pick` has picked.
    """
    if by_hand := getattr(task, "gradients", None):
        loss, grads = by_hand(size, used, batch)
        return loss, state, grads
    used = {name: x.detach().requires_grad_() for name, x in used.items()}
    loss, after = task.loss(size, used, batch, state)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), after, {name: x.grad for name, x in used.items() if x.grad is not None}


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


TASKS: dict[str, Task] = {
    "images": images,
    "autoencoder": autoencoder,
    "word2vec": word2vec,
    "language_model": language_model,
}

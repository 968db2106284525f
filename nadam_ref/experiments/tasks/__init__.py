"""The tasks: each module is one, with the functions that `Task` lists."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from . import images

Params = dict[str, Tensor]


class Task(Protocol):
    """What a task module offers. Functions are pure: all state is in their arguments, all chance in a generator."""

    VERSION: int  # raised when the same spec would train something else
    SIZES: dict[str, Any]  # profile → dataclass of the model's sizes

    def load(self, name: str, subset: Any) -> Any:
        """The data, with `label` and `sha256`."""

    def init(self, data: Any, size: Any, generator: torch.Generator, dtype: torch.dtype) -> Params:
        """Leaf parameters that require gradients."""

    def batches(self, data: Any, batch: int, generator: torch.Generator, dtype: torch.dtype) -> Iterator[Any]:
        """Training batches without end."""

    def loss(self, params: Params, batch: Any, generator: torch.Generator) -> Tensor:
        """The training objective of one batch; `generator` draws the dropout."""

    def evaluate(self, params: Params, data: Any, split: str) -> dict[str, float]:
        """Metrics on `dev` or `test`; `loss` is one of them."""


TASKS: dict[str, Task] = {"images": images}

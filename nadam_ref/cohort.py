"""Parameters that take one step together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .checks import fitting, misplaced
from .kernels import Lists
from .memory import local_parts
from .state import StateKeys

__all__ = ["Cohort"]


class Cohort(NamedTuple):
    """Parameters that take a step together, with their gradients and their states."""

    params: list[Tensor]
    grads: list[Tensor]
    states: list[dict[str, Tensor]]

    def add(self, p: Tensor, grad: Tensor, state: dict[str, Tensor]) -> None:
        self.params.append(p)
        self.grads.append(grad)
        self.states.append(state)

    def check(self, keys: StateKeys) -> bool:
        """Whether the state has to follow its parameters to another dtype or device; RuntimeError if it cannot."""
        self.grads[:] = fitting(self.grads, self.params[0])
        return misplaced(self.params, self.grads, [tensors for tensors in self._accumulators(keys) if tensors])

    def _accumulators(self, keys: StateKeys) -> list[list[Tensor]]:
        return [[state[name] for state in self.states] if name else [] for name in (keys.m, keys.n)]

    def lists(self, keys: StateKeys) -> Lists:
        """θ, g, m and n; complex tensors as pairs of reals."""
        ms, ns = self._accumulators(keys)
        lists = (self.params, self.grads, ms, ns)
        if not torch.is_grad_enabled():  # autograd sees the whole
            lists = local_parts(lists)
        if self.params[0].is_complex():
            return tuple([torch.view_as_real(x) for x in tensors] for tensors in lists)  # type: ignore[return-value]
        return lists

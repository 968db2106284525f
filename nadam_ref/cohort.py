"""Parameters that take one step together."""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .checks import fitting, misplaced
from .compat import check_for_fused
from .fused import fused_update_
from .kernels import Lists, arithmetic, expression_update_, prepare_and_update_
from .memory import are_torchs_own, local_parts
from .portions import portions
from .rules import Real, Scalars
from .settings import Settings, StateKeys
from .state import Begun, Shielded, State, restored


def cohorts(settings: Settings, states: Begun) -> tuple[list[Cohort], list[Cohort]]:
    """The parameters that have a gradient, by what one call needs in common; apart, those with sparse gradients."""
    dense: defaultdict[Any, Cohort] = defaultdict(lambda: Cohort([], [], []))
    sparse: defaultdict[Any, Cohort] = defaultdict(lambda: Cohort([], [], []))
    keys, fused, symbolic = settings.keys, settings["fused"], settings.symbolic
    for p in settings.params:
        grad = p.grad
        if grad is None:
            continue
        if grad.is_sparse:
            if settings["differentiable"]:
                raise RuntimeError("sparse gradients with differentiable=True are not supported: make them dense")
            if p.dim():
                kind = p.dtype, p.device, grad.sparse_dim()
                sparse[kind].add(p, grad, states.of(p, settings, rows=True))
                continue
            grad = grad.to_dense()
        if fused and p.is_floating_point():
            check_for_fused(p)
        state = states.of(p, settings)
        key: list[Any] = [type(p), p.dtype, p.device]
        for name in keys.counts:
            count = state[name]
            key.append(id(p) if symbolic or count.dim() else count.item())
        dense[tuple(key)].add(p, grad, state)
    return list(dense.values()), list(sparse.values())


class Cohort(NamedTuple):
    """Parameters that take a step together, with their gradients and their states."""

    params: list[Tensor]
    grads: list[Tensor]
    states: list[State]

    def add(self, p: Tensor, grad: Tensor, state: State) -> None:
        self.params.append(p)
        self.grads.append(grad)
        self.states.append(state)

    def check(self, keys: StateKeys) -> bool:
        """Whether the state has to follow its parameters to another dtype or device; RuntimeError if it cannot."""
        self.grads[:] = fitting(self.grads, self.params[0])
        return misplaced(self.params, self.grads, [tensors for tensors in self._accumulators(keys) if tensors])

    def follow(self, settings: Settings) -> None:
        """Bring the state to the dtype and the device of its parameters."""
        for p, state in zip(self.params, self.states, strict=True):
            state.update({name: restored(name, Shielded(x), p, settings["capturable"]) for name, x in state.items()})

    def advance(self, settings: Settings) -> None:
        """Count the step, find its numbers, and update in the portions and the way that the flags ask for."""
        k = self._count_step(settings)
        lists = self._lists(settings.keys)
        dtype = arithmetic(lists[0][0])
        rule, prelude, numbers = settings.rule, settings.prelude, settings.coefficients(k, dtype)
        if settings["differentiable"] or Tensor in set(map(type, numbers)) or not are_torchs_own(chain(*lists)):
            expression_update_(rule, prelude, lists, numbers.to(dtype), clone=settings["differentiable"])
            return
        # A compiler fuses by itself; a captured CUDA graph would read the table again when its memory is gone.
        update = fused_update_ if settings["fused"] and not settings.symbolic else prepare_and_update_
        for portion in portions(lists, self.params, settings):
            if lists[0][0].dtype == dtype:
                update(rule, prelude, portion, numbers)
                continue
            wide = [p.to(dtype) for p in portion[0]]
            update(rule, prelude, (wide, [g.to(dtype) for g in portion[1]], portion[2], portion[3]), numbers)
            torch._foreach_copy_(portion[0], wide)

    def _count_step(self, settings: Settings) -> Scalars:
        """Advance the counts by one and give the scalars: floats, or tensors where the counts stay tensors."""
        counts = {name: [state[name] for state in self.states] for name in settings.keys.counts}
        if "step" in counts:
            torch._foreach_add_(counts["step"], 1)
        dims = self.params[0].dim() + self.params[0].is_complex()
        t, product = (
            _number(counts[name][0], dims, settings) if name in counts else 1.0 for name in ("step", "mu_product")
        )
        k, product = settings.scalars(t, product)
        if kept := counts.get("mu_product"):
            new = torch.as_tensor(product, dtype=kept[0].dtype, device=kept[0].device).reshape(kept[0].shape)
            # _foreach_copy_ has no derivative; copy_ into them is lost on the way through the compiler.
            if settings["differentiable"]:
                for count in kept:
                    count.copy_(new)
            else:
                torch._foreach_copy_(kept, [new] * len(kept))
        return k

    def _accumulators(self, keys: StateKeys) -> list[list[Tensor]]:
        return [[state[name] for state in self.states] if name else [] for name in (keys.m, keys.n)]

    def _lists(self, keys: StateKeys) -> Lists:
        """θ, g, m and n; complex tensors as pairs of reals."""
        ms, ns = self._accumulators(keys)
        lists = (self.params, self.grads, ms, ns)
        if not torch.is_grad_enabled():  # autograd sees the whole
            lists = local_parts(lists)
        if self.params[0].is_complex():
            return tuple([torch.view_as_real(x) for x in tensors] for tensors in lists)  # type: ignore[return-value]
        return lists


def _number(count: Tensor, dims: int, settings: Settings) -> Real:
    """A count as `rules.scalars` takes it; counts by row as a column that broadcasts against `dims` dimensions."""
    if count.dim():
        return count.reshape(-1, *[1] * (dims - 1))
    return count.clone() if settings.symbolic else count.item()  # autograd may keep it, and the next step counts on

"""Parameters that take one step together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from .checks import fitting, misplaced
from .compat import check_for_fused, same_kinds
from .fused import fused_update_
from .kernels import Coefficients, Lists, arithmetic, expression_update_, prepare_and_update_
from .memory import are_torchs_own, local_parts
from .portions import portions
from .rules import Real, Scalars
from .settings import Settings, StateKeys
from .state import Begun, Shielded, State, restored

GRAD = attrgetter("grad")


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
    #: The states as lists by name; only of torch's own tensors whose counts are one number each, common to all.
    columns: Mapping[str, list[Tensor]] | None = None

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
        rule, prelude, numbers = settings.rule, settings.prelude, self._coefficients(settings, k, dtype)
        if self.columns is None and (
            settings["differentiable"] or Tensor in set(map(type, numbers)) or not are_torchs_own(chain(*lists))
        ):
            expression_update_(rule, prelude, lists, numbers.to(dtype), clone=settings["differentiable"])
            return
        # A compiler fuses by itself; a captured CUDA graph would read the table again when its memory is gone.
        update = fused_update_ if settings["fused"] and not settings.symbolic else prepare_and_update_
        in_its_own = lists[0][0].dtype == dtype
        for portion in portions(lists, self.params, settings):
            if in_its_own:
                update(rule, prelude, portion, numbers)
                continue
            wide = [p.to(dtype) for p in portion[0]]
            update(rule, prelude, (wide, [g.to(dtype) for g in portion[1]], portion[2], portion[3]), numbers)
            torch._foreach_copy_(portion[0], wide)

    def _count_step(self, settings: Settings) -> Scalars:
        """Advance the counts by one and give the scalars: floats, or tensors where the counts stay tensors."""
        if self.columns is not None:
            return _count_numbers(self.columns, settings)
        counts = {name: self._column(name) for name in settings.keys.counts}
        if not (settings.symbolic or any(count[0].dim() for count in counts.values())):
            return _count_numbers(counts, settings)
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

    def _coefficients(self, settings: Settings, k: Scalars, dtype: torch.dtype) -> Coefficients:
        return settings.coefficients(k, dtype) if self.columns is None else settings.numbers(k, dtype)

    def _column(self, name: str) -> list[Tensor]:
        return self.columns[name] if self.columns else [state[name] for state in self.states]

    def _accumulators(self, keys: StateKeys) -> list[list[Tensor]]:
        return [self._column(name) if name else [] for name in (keys.m, keys.n)]

    def _lists(self, keys: StateKeys) -> Lists:
        """θ, g, m and n; complex tensors as pairs of reals."""
        ms, ns = self._accumulators(keys)
        lists = (self.params, self.grads, ms, ns)
        if self.columns is None and not torch.is_grad_enabled():  # autograd sees the whole
            lists = local_parts(lists)
        if self.params[0].is_complex():
            params, grads, ms, ns = lists
            lists = params, [g.resolve_conj() for g in grads], ms, ns  # a view that conjugates is no pairs
            return tuple([torch.view_as_real(x) for x in tensors] for tensors in lists)  # type: ignore[return-value]
        return lists


class Kept:
    """A cohort that has made a step, and can make the next one if all is of the same kinds, and counts are common."""

    def __init__(self, cohort: Cohort, keys: StateKeys) -> None:
        self.params, self.keys = cohort.params, keys
        self._of = {name: itemgetter(name) for name in keys.names}
        tensors = [*cohort.params, *cohort.grads]
        for of in self._of.values():
            tensors += map(of, cohort.states)
        by_row = any(state[name].dim() for state in cohort.states for name in keys.counts)
        # A subclass may change unseen.
        self._alike = same_kinds(tensors) if are_torchs_own(tensors) and not by_row else None

    def now(self, owner: Mapping[Tensor, State]) -> Cohort | None:
        """The cohort with the gradients and the state of this step; None where it has to be looked at closely."""
        if self._alike is None:
            return None
        grads = list(map(GRAD, self.params))
        states = cast(list[State], list(map(owner.get, self.params)) if self._of else [])
        try:
            columns = {name: list(map(of, states)) for name, of in self._of.items()}
        except (KeyError, TypeError):  # state that is no longer there
            return None
        if not self._alike(*self.params, *grads, *chain(*columns.values())):
            return None
        if len(grads) > 1 and any(len(set(map(Tensor.item, columns[name]))) > 1 for name in self.keys.counts):
            return None
        return Cohort(self.params, grads, states, columns)


def _count_numbers(columns: Mapping[str, list[Tensor]], settings: Settings) -> Scalars:
    """Advance counts that are one number each, the same for all parameters."""
    counts = settings.keys.counts
    before = {name: columns[name][0].item() for name in counts}
    t = before.get("step", 0.0) + 1
    k, product = settings.scalars(t, before.get("mu_product", 1.0))
    for name in counts:
        first, *others = columns[name]
        first.fill_(t if name == "step" else product)
        if others:
            torch._foreach_copy_(others, [first] * len(others))
    return k


def _number(count: Tensor, dims: int, settings: Settings) -> Real:
    """A count as `rules.scalars` takes it; counts by row as a column that broadcasts against `dims` dimensions."""
    if count.dim():
        return count.reshape(-1, *[1] * (dims - 1))
    return count.clone() if settings.symbolic else count.item()  # autograd may keep it, and the next step counts on

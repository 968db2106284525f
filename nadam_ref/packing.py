"""Flat memory: the state of a fused group in one tensor a name, and parameters in one (`flatten_`).

Both only choose where numbers lie. Addresses are looked at again in every step, so a tensor that was moved or replaced
costs time, and never gives a wrong result.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable, Mapping
from itertools import chain, pairwise, repeat
from operator import attrgetter, is_, itemgetter
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .compat import internal_overlap, same_kinds
from .fused import dense_kernel
from .fused.cpu import Kernel
from .fused.pointers import Table, merged, same_layout
from .memory import cut, is_memory, is_shared
from .settings import Settings, StateKeys
from .state import State

GRAD, DOUBLE = attrgetter("grad"), struct.Struct("d")


class FlatState:
    """Parameters that step together, their state flat and permanent: their state dicts show pieces of `flat`.

    Raises ValueError for parameters that do not fit together: of several dtypes or devices, half precision or complex,
    with gaps in memory, with counts that differ, or with state that other processes share.
    """

    def __init__(self, params: list[Tensor], states: list[State], keys: StateKeys) -> None:
        names, accumulators = keys.names, keys.names[len(keys.counts) :]
        _check_fit(params, states, keys.counts, accumulators)
        self.params, self.states, self.keys = params, states, keys
        self.flat = {name: torch.stack([state[name] for state in states]) for name in keys.counts}
        for name in accumulators:
            self.flat[name] = torch.cat([x[name].as_strided((x[name].numel(),), (1,)) for x in states])
        for name in names:
            pieces = cut(self.flat[name], [state[name].numel() for state in states])
            for state, piece in zip(states, pieces, strict=True):
                state[name] = piece.as_strided(state[name].shape, state[name].stride())
        kept = {name: [state[name] for state in states] for name in names}
        self._of, self._pieces = list(map(itemgetter, names)), list(chain(*kept.values()))
        self._pieces_at = _addresses(self._pieces)
        self._at, self._dtype, self._bytes = _addresses(params), params[0].dtype, [p.nbytes for p in params]
        self._alike = same_kinds([*params, *(cast(Tensor, p.grad) for p in params)])
        self._counts = {name: _Numbers(self.flat[name]) for name in keys.counts}
        self._m, self._n = (_addresses(kept[name]) if name else [0] * len(params) for name in (keys.m, keys.n))
        self._device = params[0].device
        #: The kernel, and the settings for which it was chosen.
        self._kernel: Kernel | None = None
        self._settings: Settings | None = None
        self._grads: list[int] = []
        self._table = Table()

    def prepare(self, settings: Settings, owner: Mapping[Tensor, State]) -> Callable[[], None] | None:
        """The step of all, still to be made; None where the kernel cannot make it, or counts have come to differ."""
        table, counts = self.table(owner), {name: x.common() for name, x in self._counts.items()}
        device = self._device
        if settings is not self._settings:
            self._settings = settings
            self._kernel = dense_kernel(settings.rule, settings.prelude, self._dtype, device)
        kernel = self._kernel
        if table is None or kernel is None or not all(map(math.isfinite, counts.values())):
            return None
        t = counts.get("step", 0.0) + 1
        k, product = settings.scalars(t, counts.get("mu_product", 1.0))
        numbers = settings.numbers(k, self._dtype)

        def advance() -> None:
            kernel(table, [numbers], device)
            for name, value in (("step", t), ("mu_product", product)):
                if name in counts:
                    self._counts[name].fill(value)

        return advance

    def table(self, owner: Mapping[Tensor, State]) -> Table | None:
        """The table for this step; None where a parameter, a gradient or the state in `owner` is not as it was."""
        try:
            grads = list(map(GRAD, self.params))
            if not (self._alike(*self.params, *grads) and self._keeps_state(owner)):
                return None
            if _addresses(self.params) != self._at:
                return None
            at = _addresses(grads)
        except (KeyError, RuntimeError, TypeError):  # state without a name; a tensor without address; no tensor
            return None
        if at != self._grads:
            if not is_memory(*grads):
                return None
            self._grads = at
            self._table = merged(zip(self._at, at, self._m, self._n, self._bytes, repeat(0)))
        return self._table

    # Each check runs over all tensors at once: with a thousand of them a loop in Python costs more than the update.

    def _keeps_state(self, owner: Mapping[Tensor, State]) -> bool:
        if not self.flat:
            return True
        alone = len(owner) == len(self.params) and all(map(is_, owner, self.params))  # nothing has to be looked up
        states = owner.values() if alone else map(owner.get, self.params)
        if not all(map(is_, states, self.states)):
            return False
        found = list(chain.from_iterable([map(of, self.states) for of in self._of]))
        # Lists compare objects by identity first. What is another object but equal is at another address.
        return found == self._pieces and _addresses(found) == self._pieces_at


class _Numbers:
    """The float64 numbers of a flat tensor, where they lie: one operation of torch takes longer than all of them."""

    def __init__(self, flat: Tensor) -> None:
        numbers = (ctypes.c_double * len(flat)).from_address(flat.data_ptr())
        self._bytes, self._count, self._flat = memoryview(numbers).cast("B"), len(flat), flat  # which keeps the memory

    def common(self) -> float:
        """What they all are; NaN where they differ."""
        found = self._bytes.tobytes()
        first = found[: DOUBLE.size]
        return float(DOUBLE.unpack(first)[0]) if found == first * self._count else math.nan

    def fill(self, value: float) -> None:
        self._bytes[:] = DOUBLE.pack(value) * self._count


def _check_fit(params: list[Tensor], states: list[State], counts: tuple[str, ...], others: tuple[str, ...]) -> None:
    first = params[0]
    if first.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"parameters of dtype {first.dtype} are not packed")
    for p, state in zip(params, states, strict=True):
        if any(map(is_shared, state.values())):
            raise ValueError("state that other processes share has to stay where it is")
        tensors = (p.grad, *(state[name] for name in others))
        if any(x is None or x.is_sparse for x in tensors) or p.device != first.device or p.dtype != first.dtype:
            raise ValueError("parameters of several dtypes or devices, or with sparse gradients, are not packed")
        if any(x.shape != p.shape for x in tensors if x is not None):
            raise ValueError(f"gradient or state have another shape than their parameter's, {tuple(p.shape)}")
        counted = [state[name] for name in counts]
        if any(x.dim() or not x.is_cpu or x.dtype != torch.float64 for x in counted):
            raise ValueError("counts by row, or on a device, do not lie flat")
        if not same_layout(p, *tensors) or not p.numel():
            raise ValueError(f"a parameter of shape {tuple(p.shape)} does not lie in memory as flat state needs it")
    if any(len({state[name].item() for state in states}) > 1 for name in counts):
        raise ValueError("the parameters have made different numbers of steps")


def _addresses(tensors: list[Tensor]) -> list[int]:
    return list(map(Tensor.data_ptr, tensors))


def flatten_(module: nn.Module) -> nn.Module:
    """Lay a module's parameters and gradients out in flat memory, so that a fused step is one pass; returns the module.

    For each dtype and device the parameters that require gradients follow one another in memory, in the order of
    `module.parameters()`, and so do their gradients, which are zeros at first. Values, names and the parameter objects
    stay; a tied parameter is laid out once. Optimizers, made before or after, need not know. Every parameter still
    owns its storage: it is saved, shared and moved without its neighbours. (torch cannot resize such a storage.)

    Keep the gradients where they are with `zero_grad(set_to_none=False)`. Whatever moves them or the parameters
    (`zero_grad()`, which drops the gradients, `.to()`, `share_memory()`, `load_state_dict(assign=True)`) undoes the
    layout and nothing else: steps stay right and cost what they cost unflattened, until `flatten_` is called again.

    Raises ValueError for parameters that overlap in memory, that are shared with other processes, that are not yet
    materialized, or that do not lie in memory, as sparse tensors and DTensors.
    """
    together: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for name, p in module.named_parameters():
        if is_lazy(p):
            raise ValueError(f"{name} has no dense memory yet: it is lazy; run the module once to give it a shape")
        if internal_overlap(p) == 1:
            raise ValueError(f"{name} overlaps itself in memory: it is an expanded tensor; replace it by its .clone()")
        if not is_memory(p):
            kind = f"{type(p).__name__} on {p.device} with layout {p.layout}"
            raise ValueError(f"{name} has no dense memory of its own to be laid out: it is a {kind}")
        if is_shared(p):
            raise ValueError(f"{name} is shared with other processes: call flatten_ before share_memory()")
        if p.requires_grad:
            together.setdefault((p.dtype, p.device), []).append(p)
    _check_apart(dict(module.named_parameters()))
    for params in together.values():
        _lay_out(params)
    return module


def _check_apart(params: Mapping[str, Tensor]) -> None:
    """Raise ValueError where two parameters lie in one stretch of memory: laid out, each would have its own numbers."""
    spans = []
    for name, p in params.items():
        if p.numel():
            last = sum((n - 1) * stride for n, stride in zip(p.shape, p.stride(), strict=True))
            spans.append((str(p.device), p.data_ptr(), p.data_ptr() + (last + 1) * p.element_size(), name))
    spans.sort()
    for (device, _, end, first), (other, start, _, second) in pairwise(spans):
        if device == other and start < end:
            raise ValueError(
                f"{first} and {second} lie in the same memory, and would be taken apart: to tie them, make both "
                "attributes one nn.Parameter; else replace one by its .clone()"
            )


@torch.no_grad()
def _lay_out(params: list[nn.Parameter]) -> None:
    sizes = [p.numel() for p in params]
    flat = torch.empty(sum(sizes), dtype=params[0].dtype, device=params[0].device)
    flat_grad = torch.zeros_like(flat)
    for p, to, grad in zip(params, cut(flat, sizes), cut(flat_grad, sizes), strict=True):
        dense = internal_overlap(p) == 0
        stride = p.stride() if dense else torch.empty_like(p, memory_format=torch.contiguous_format).stride()
        view, grad_view = to.as_strided(p.shape, stride), grad.as_strided(p.shape, stride)
        view.copy_(p)
        if p.grad is not None:
            grad_view.copy_(p.grad.to_dense() if p.grad.is_sparse else p.grad)
        p.data = view
        p.grad = grad_view

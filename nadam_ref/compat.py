"""The private names of torch that the package uses, each with what replaces it in a torch without that name.

No other module uses one: a name with an underscore may change or go with any release. `torch._foreach_*` are not among
them, because torch documents them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import profiler
from torch.optim import Optimizer
from torch.optim import optimizer as torchs

Step = TypeVar("Step", bound=Callable[..., Any])

#: Device types for which torch fuses, and takes foreach by default.
FUSED, FOREACH = ("cpu", "cuda", "mps", "xpu"), ("cuda", "xpu")


def _use_grad_for_differentiable(step: Step) -> Step:
    @functools.wraps(step)
    def run(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *args, **kwargs)

    return run  # type: ignore[return-value]


def _check_for_fused(p: Tensor) -> None:
    if p.device.type not in FUSED or not p.is_floating_point():
        raise RuntimeError(
            "`fused=True` requires all the params to be floating point Tensors of supported devices: "
            f"{list(FUSED)} but {p.dtype} and {p.device.type}"
        )


def _default_to_fused_or_foreach(params: list[Tensor], differentiable: bool) -> tuple[bool, bool]:
    simple = all(type(p) in (Tensor, nn.Parameter) and p.device.type in FOREACH for p in params)
    return False, simple and not differentiable


def _internal_overlap(x: Tensor) -> int:
    dims = sorted((stride, size) for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1 and x.numel())
    expected = 1
    for stride, size in dims:
        if stride != expected:
            return 1 if dims[0][0] == 0 else 2
        expected *= size
    return 0


def _stored(x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.coalesce()
    return x.indices(), x.values()


#: The indices and the values of a sparse tensor as they are stored: an index may occur several times.
stored: Callable[[Tensor], tuple[Tensor, Tensor]] = (
    (lambda x: (x._indices(), x._values())) if hasattr(Tensor, "_indices") else _stored
)

try:
    from torch._C import _set_grad_enabled as set_grad_enabled
except ImportError:
    from torch import set_grad_enabled  # type: ignore[assignment]


def use_grad_for_differentiable(step: Step) -> Step:
    """Decorates `step`: autograd sees it only with `differentiable=True`. While a compiler traces it, torch's own."""
    traced = getattr(torchs, "_use_grad_for_differentiable", _use_grad_for_differentiable)(step)

    @functools.wraps(step)
    def run(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling():
            return traced(self, *args, **kwargs)
        before = torch.is_grad_enabled()
        set_grad_enabled(self.defaults["differentiable"])
        try:
            return step(self, *args, **kwargs)
        finally:
            set_grad_enabled(before)

    return run  # type: ignore[return-value]


def watched(step: Step) -> Step:
    """Decorates `step`, in place of torch's `profile_hook_step`: the same where there are hooks, or a profiler is on.

    Where there is nothing of either, torch's wrapper takes as long as the step of a small tensor.
    """
    whole = Optimizer.profile_hook_step(step)
    try:
        before, after = torchs._global_optimizer_pre_hooks, torchs._global_optimizer_post_hooks
        _ = profiler._is_profiler_enabled
    except AttributeError:
        return whole  # type: ignore[return-value]

    @functools.wraps(step)
    def run(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if (
            profiler._is_profiler_enabled
            or self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or before
            or after
            or torch.compiler.is_compiling()
        ):
            return whole(self, *args, **kwargs)
        return step(self, *args, **kwargs)

    return run  # type: ignore[return-value]


class _Kinds:
    """torch's TensorGuards, with the same answers."""

    def __init__(self, *tensors: Tensor, **dynamic: Any) -> None:
        self.kinds = list(map(self._kind, tensors))

    def check(self, *tensors: Tensor) -> bool:
        return all(isinstance(x, Tensor) for x in tensors) and list(map(self._kind, tensors)) == self.kinds

    @staticmethod
    def _kind(x: Tensor) -> tuple[Any, ...]:
        how = None if x.layout is not torch.strided else (x.stride(), x.is_neg(), x.is_conj())
        return type(x), x.dtype, x.device, x.layout, x.requires_grad, x.shape, how


try:
    from torch._C._dynamo.guards import TensorGuards
except ImportError:
    TensorGuards = _Kinds  # type: ignore[misc, assignment]


def same_kinds(tensors: list[Tensor]) -> Callable[..., bool]:
    """A function of as many tensors: whether they are of the same kinds as these, in one call.

    A kind is class, dtype, device, layout, shape, strides, whether autograd follows it, and whether it is a view that
    negates or conjugates. What is no tensor has another kind.
    """
    return TensorGuards(*tensors, dynamic_dims_sizes=None, dynamic_dims_strides=None).check


#: Decorates what a compiler is to leave as it is, as torch does with its optimizers' methods; the public decorator
#: imports all of the compiler.
untraced: Callable[[Step], Step] = getattr(torch, "_disable_dynamo", lambda method: method)

#: Raise RuntimeError for a parameter that torch would not take with `fused=True`.
check_for_fused: Callable[[Tensor], None] = getattr(torchs, "_device_dtype_check_for_fused", _check_for_fused)

#: Whether a tensor's elements share memory: 0, no, and there are no gaps; 1, yes, it was expanded; 2, not known.
internal_overlap: Callable[[Tensor], int] = getattr(torch, "_debug_has_internal_overlap", _internal_overlap)

#: Raise RuntimeError for an optimizer that is captured in a CUDA graph without `capturable=True`.
check_graph_capture: Callable[[Optimizer], None] = getattr(
    Optimizer,
    "_accelerator_graph_capture_health_check",  # since torch 2.11
    getattr(Optimizer, "_cuda_graph_capture_health_check", lambda optimizer: None),
)


def defaults_to_foreach(params: list[Tensor], differentiable: bool) -> bool:
    """Whether torch's optimizers would take all of these at once where `foreach` is not given."""
    choose = getattr(torchs, "_default_to_fused_or_foreach", _default_to_fused_or_foreach)
    return bool(choose(params, differentiable)[1])

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

#: Decorates `step`: autograd sees it only with `differentiable=True`.
use_grad_for_differentiable: Callable[[Step], Step] = getattr(
    torchs, "_use_grad_for_differentiable", _use_grad_for_differentiable
)

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

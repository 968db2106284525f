"""The one update as one kernel over many tensors, compiled from `kernels.expression` itself.

`codegen` writes the formula down as source text, `cpu` compiles it as C++, `cuda` as Triton. Both kernels walk a table
of pointers, so that nothing is gathered, however many tensors there are; tensors that touch in memory are one span.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from ..kernels import Coefficients, Lists, Prelude, prepare_and_update_
from ..rules import Rule
from . import cpu, cuda, sparse
from .pointers import NoKernelError, Table, spans

__all__ = ["compiles", "dense_kernel", "fused_update_", "rows_kernel"]

Made = TypeVar("Made")

#: What makes the kernel of a device type.
KERNELS = {"cpu": cpu.kernel, "cuda": cuda.kernel}
#: Device types on which no kernel could be compiled.
_WITHOUT_COMPILER: set[str] = set()


def fused_update_(rule: Rule, prelude: Prelude, lists: Lists, k: Coefficients) -> None:
    """`kernels.prepare_and_update_` in one pass over memory, for tensors of one device and one dtype.

    float32 and float64. Tensors that are not contiguous are updated unfused, and so is everything, after one warning,
    where no kernel can be compiled.
    """
    device = lists[0][0].device
    kernel = dense_kernel(rule, prelude, lists[0][0].dtype, device)
    table, rest = spans(lists) if kernel else (Table(), lists)
    if kernel and table:
        kernel(table, [k], device)
    if rest[0]:
        prepare_and_update_(rule, prelude, rest, k)


def dense_kernel(rule: Rule, prelude: Prelude, dtype: torch.dtype, device: torch.device) -> cpu.Kernel | None:
    """The kernel that walks a table; None, after one warning, where it cannot be compiled."""
    return _made(device.type, KERNELS.get(device.type, _no_kernel), rule, prelude, dtype)


def compiles(device_type: str) -> bool:
    """Whether kernels for a type of device could be compiled, as far as that was tried."""
    return device_type not in _WITHOUT_COMPILER


def rows_kernel(rule: Rule, prelude: Prelude, dtype: torch.dtype) -> sparse.Kernel | None:
    """The kernel for rows on a CPU; None, after one warning, where it cannot be compiled."""
    return _made("cpu", sparse.kernel, rule, prelude, dtype)


def _no_kernel(*args: Any) -> cpu.Kernel:
    raise NoKernelError("only a CPU and CUDA have one")


def _made(device_type: str, make: Callable[..., Made], *args: Any) -> Made | None:
    if device_type in _WITHOUT_COMPILER:
        return None
    try:
        return make(*args)
    except NoKernelError as error:
        _WITHOUT_COMPILER.add(device_type)
        warnings.warn(
            f"fused=True: no kernel could be compiled for {device_type} ({error}); going on with the unfused update, "
            "whose result is the same. Fusing needs a C++ compiler (CPU) or triton (GPU).",
            stacklevel=2,
        )
        return None

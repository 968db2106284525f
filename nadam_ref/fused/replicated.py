"""The fused step of replicas: the rows of each run with the numbers of that run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from ..kernels import Coefficients, Prelude
from ..rules import Rule
from . import run
from .pointers import Row, merged, plain

__all__ = ["replicated_update_"]


def replicated_update_(rule: Rule, prelude: Prelude, k: Coefficients, tensors: list[tuple[Any, ...]]) -> bool:
    """One step in place of (θ, g, m, n), each `[R, …]`; numbers are floats or tensors of R elements.

    False where nothing was done: for tensors that are not contiguous, or where no kernel can be compiled.
    """
    first = tensors[0][0]
    if not all(x[0].is_contiguous() and plain(*x) for x in tensors):
        return False
    count = len(first)
    of_run = zip(*(x.flatten().tolist() if isinstance(x, Tensor) else [x] * count for x in k), strict=True)
    which: dict[Coefficients, int] = {}
    sets = [which.setdefault(Coefficients(*numbers), len(which)) for numbers in of_run]
    table = sorted(row for x in tensors for row in _rows(x, sets))
    return run(rule, prelude, merged(table), list(which), first.device, first.dtype)


def _rows(tensors: tuple[Any, ...], sets: list[int]) -> Iterator[Row]:
    size = tensors[0].nbytes // len(sets)
    p, g, m, n = (0 if x is None else x.data_ptr() for x in tensors)
    for r, which in enumerate(sets):
        at = r * size
        yield p + at, g + at, m and m + at, n and n + at, size, which

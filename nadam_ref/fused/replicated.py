"""The fused step of replicas: the rows of each run with the numbers of that run."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..kernels import Coefficients, Prelude
from ..rules import Rule
from . import run
from .table import Row, merged, plain

__all__ = ["replicated_update_"]


def replicated_update_(rule: Rule, prelude: Prelude, k: Coefficients, tensors: list[tuple[Any, ...]]) -> bool:
    """One step in place of (θ, g, m, n), each `[R, …]`; numbers are floats or tensors of R elements.

    False where nothing was done: for tensors that are not contiguous, or where no kernel can be compiled.
    """
    first = tensors[0][0]
    if not all(x[0].is_contiguous() and plain(*x) for x in tensors):
        return False
    count = len(first)
    numbers = zip(*([x] * count if not isinstance(x, Tensor) else x.flatten().tolist() for x in k), strict=True)
    tables: dict[tuple[Any, ...], list[Row]] = {}
    for r, of_run in enumerate(numbers):
        tables.setdefault(of_run, []).extend(_row(x, r, count) for x in tensors)
    return all(
        run(rule, prelude, merged(sorted(rows)), Coefficients(*of_run), first.device, first.dtype)
        for of_run, rows in tables.items()
    )


def _row(tensors: tuple[Any, ...], r: int, count: int) -> Row:
    size = tensors[0].nbytes // count
    p, g, m, n = (0 if x is None else x.data_ptr() + r * size for x in tensors)
    return p, g, m, n, size

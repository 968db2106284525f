"""The table that a fused kernel walks: for each span of memory the addresses of θ, g, m, n, its length, its numbers."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import cached_property
from itertools import chain
from typing import Any

from torch import Tensor

from ..compat import internal_overlap
from ..kernels import Lists
from ..memory import is_memory

#: Addresses of θ, g, m and n (0 where the rule has none), the number of bytes of each, and which of the step's
#: numbers apply: 0 but for replicas.
Span = tuple[int, int, int, int, int, int]


class Table(tuple[Span, ...]):
    """Spans as a kernel walks them. They do not change, so what a kernel reads is made once."""

    @cached_property
    def flat(self) -> array[int]:
        """All numbers of all spans, one after the other."""
        return array("q", chain.from_iterable(self))

    @cached_property
    def nbytes(self) -> int:
        """Bytes of θ."""
        return sum(span[4] for span in self)


class NoKernelError(RuntimeError):
    """There is no compiler for this device, or it failed. The message is its reason."""


def spans(lists: Lists) -> tuple[Table, Lists]:
    """The spans of all tensors that lie in memory as a kernel reads them, and the lists of those that do not."""
    params, grads, ms, ns = lists
    none: list[Any] = [None] * len(params)
    table: list[Span] = []
    rest: Lists = ([], [], [], [])
    for tensors in zip(params, grads, ms or none, ns or none, strict=True):
        if same_layout(*tensors):
            p, g, m, n = (0 if x is None else x.data_ptr() for x in tensors)
            table.append((p, g, m, n, tensors[0].nbytes, 0))
            continue
        for kept, x in zip(rest, tensors, strict=True):
            if x is not None:
                kept.append(x)
    return merged(table), rest


def merged(table: Iterable[Span]) -> Table:
    """The table of spans, with those that touch in all of their memory made one, as those of `flatten_` do."""
    done: list[Span] = []
    p = g = m = n = size = which = 0
    for span in table:
        if size and span[:4] == (p + size, g + size, m and m + size, n and n + size) and span[5] == which:
            size += span[4]
            done[-1] = (p, g, m, n, size, which)
        else:
            p, g, m, n, size, which = span
            if size:
                done.append(span)
    return Table(done)


def same_layout(p: Tensor, *others: Tensor | None) -> bool:
    """Whether all lie in memory alike and without gaps, in the dtype and on the device of `p`.

    Contiguous, or in one other order as channels_last. A kernel trusts its table: what is not so goes elsewhere.
    """
    contiguous, size, device = p.is_contiguous(), p.nbytes, p.get_device()
    there = [x for x in others if x is not None]
    if not is_memory(p, *there):
        return False
    for x in there:
        if x.nbytes != size or x.dtype != p.dtype or x.get_device() != device:
            return False
        if not (x.is_contiguous() if contiguous else x.stride() == p.stride()):
            return False
    return contiguous or internal_overlap(p) == 0

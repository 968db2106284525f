"""How many tensors one call updates, where a step is not fused."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import cast

from torch import Tensor

from .compat import defaults_to_foreach
from .kernels import Lists
from .memory import is_memory
from .settings import Settings

#: Tensors, and elements, after which a call on a CPU is full: its temporaries are to stay in a cache.
TENSORS, PORTION = 16, 1 << 18
#: Elements from which on a tensor is cut into parts: a smaller one takes as long whole.
LARGE = 1 << 20


def portions(lists: Lists, params: list[Tensor], settings: Settings) -> Iterable[Lists]:
    """What one call updates: all tensors, one, or, on a CPU by default, as much as fits its cache.

    The default elsewhere is torch's, which for `params` of a subclass, as DTensor, is one.
    """
    together = settings["fused"] or settings["foreach"]
    if together is None and not params[0].is_cpu:
        together = defaults_to_foreach(params, settings["differentiable"])
    one_pass = not (lists[2] or lists[3])  # nothing is read again
    if together or one_pass:
        return [lists]
    if together is False or settings["differentiable"]:
        return [_cut(lists, i, i + 1) for i in range(len(params))]
    sizes = [p.numel() for p in lists[0]]
    if len(params) <= TENSORS and sum(sizes) < PORTION:
        return [lists]
    portions, start, size = [], 0, 0
    for i, n in enumerate(sizes, start=1):
        size += n
        if size >= PORTION or i - start == TENSORS or i == len(params):
            portion = _cut(lists, start, i)
            portions += _parts(portion) if n >= LARGE and lists[3] else [portion]
            start, size = i, 0
    return portions


def _cut(lists: Lists, start: int, stop: int) -> Lists:
    params, grads, ms, ns = lists
    return params[start:stop], grads[start:stop], ms[start:stop], ns[start:stop]


def _parts(lists: Lists) -> list[Lists]:
    """The lists, and instead of a large last tensor its parts one by one: a denominator of its size is slow to get."""
    *_, last = zip(*filter(None, lists), strict=True)
    if not (is_memory(*last) and all(map(Tensor.is_contiguous, last))):
        return [lists]
    rest, count = len(lists[0]) - 1, last[0].numel() // PORTION
    parts = [x[rest].view(-1).chunk(count) if x else () for x in lists]
    head = [_cut(lists, 0, rest)] if rest else []
    return head + [cast(Lists, tuple([[x] if x is not None else [] for x in part])) for part in zip_longest(*parts)]

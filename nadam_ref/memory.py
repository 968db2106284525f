"""Which tensors may be touched as memory, and how memory is cut into tensors that own their part of it."""

from __future__ import annotations

from collections.abc import Iterable
from operator import add, attrgetter, ge, mul
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.dlpack import from_dlpack

from .kernels import Lists

#: Torch's own tensors; a buffer is a tensor. A subclass may keep its numbers anywhere, or nowhere.
TYPES = {Tensor, nn.Parameter}
STRIDED = {torch.strided}
LAYOUT, ITEMSIZE, NBYTES, IS_CPU, IS_CUDA = map(attrgetter, ("layout", "itemsize", "nbytes", "is_cpu", "is_cuda"))


def is_memory(*tensors: Tensor) -> bool:
    """Whether storages hold the numbers of all of these as they are: only then may addresses, views or splits be taken.

    Not so for subclasses (DTensor, wrappers, fake tensors), for meta, sparse and expanded tensors, where a storage was
    freed, and while a compiler traces the step. Every path that takes an address asks here, for many tensors at once
    where it can: each check runs over all of them without a loop in Python.
    """
    if torch.compiler.is_compiling() or set(map(type, tensors)) - TYPES or set(map(LAYOUT, tensors)) - STRIDED:
        return False
    if any(map(Tensor.is_neg, tensors)) or any(map(Tensor.is_conj, tensors)):
        return False
    if not (all(map(IS_CPU, tensors)) or all(map(IS_CUDA, tensors))):  # where a compiled kernel can follow an address
        return False
    try:
        has = map(torch.UntypedStorage.nbytes, map(Tensor.untyped_storage, tensors))
        ends = map(mul, map(Tensor.storage_offset, tensors), map(ITEMSIZE, tensors))
        return all(map(ge, has, map(add, ends, map(NBYTES, tensors))))
    except NotImplementedError:  # inside a transform of torch.func
        return False


def are_torchs_own(tensors: Iterable[Tensor]) -> bool:
    """Whether torch's operations over lists take these: as in torch's optimizers, they are no subclass."""
    return set(map(type, tensors)) <= TYPES


def local_parts(lists: Lists) -> Lists:
    """The parts of DTensors that lie in this process, which are updated as the whole would be; other lists as they are.

    That is so where θ, m and n are laid out alike, and none is a sum that is still to be made. A gradient that is laid
    out otherwise is brought there.
    """
    params, grads, ms, ns = lists
    if are_torchs_own(params):
        return lists
    layouts = [_layout(p) for p in params]
    if any(layout is None or any(x.is_partial() for x in layout[1]) for layout in layouts):
        return lists
    if any(list(map(_layout, kept)) != layouts for kept in (ms, ns) if kept) or None in map(_layout, grads):
        return lists
    brought = [cast(Any, g).redistribute(*layout) for g, layout in zip(grads, cast(Any, layouts), strict=True)]
    return cast(Lists, tuple([cast(Any, x).to_local() for x in tensors] for tensors in (params, brought, ms, ns)))


def _layout(x: Tensor) -> tuple[Any, Any] | None:
    """The mesh and the placements of a DTensor; its class is not imported for those who have none."""
    placements = getattr(x, "placements", None)
    return placements and (cast(Any, x).device_mesh, placements)


def is_shared(x: Tensor) -> bool:
    """Whether other processes see the memory of `x`, which therefore has to stay where it is."""
    return x.is_cpu and bool(x.untyped_storage().is_shared())


def cut(flat: Tensor, sizes: list[int]) -> list[Tensor]:
    """Flat memory in pieces that follow one another, each a tensor that owns its part alone.

    Not views: a view is saved with all of the memory that it looks at, and moved together with it.
    """
    return list(map(from_dlpack, torch.split(flat, sizes)))

"""The fused kernel on a GPU: Triton, one launch over all tensors."""

from __future__ import annotations

import functools
import importlib.util
import linecache
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch

from ..kernels import Coefficients, Prelude
from ..rules import Rule
from .codegen import Spelling, spell
from .cpu import Kernel
from .pointers import NoKernelError, Table

#: Elements of one program of the grid.
BLOCK = 1024
TRITON_TYPES = {torch.float32: "float32", torch.float64: "float64"}
TEMPLATE = """\
import triton
import triton.language as tl


@triton.jit
def square_root(x):
    return tl.sqrt{suffix}(x)


@triton.jit
def absolute(x):
    return tl.abs(x)


@triton.jit
def maximum(x, y):
    return tl.maximum(x, y, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def update(table, first_block, numbers, spans, BLOCK: tl.constexpr):
    program = tl.program_id(0).to(tl.int64)
    low, high = 0, spans - 1
    while low < high:  # the last span whose first block is not after this program
        middle = (low + high + 1) // 2
        if tl.load(first_block + middle) <= program:
            low = middle
        else:
            high = middle - 1
    span = table + low * 6
    i = (program - tl.load(first_block + low)) * BLOCK + tl.arange(0, BLOCK)
    inside = i < tl.load(span + 4) // {itemsize}
    k = numbers + tl.load(span + 5) * {count}
    {numbers}
    {body}
"""


def source(rule: Rule, prelude: Prelude, dtype: torch.dtype) -> str:
    """The kernel in Triton's Python: `update[grid](table, first_block, numbers, spans, BLOCK)`."""
    name = TRITON_TYPES[dtype]
    numbers = [f"{x} = tl.load(k + {i}).to(tl.{name})" for i, x in enumerate(Coefficients._fields)]
    return TEMPLATE.format(
        suffix="_rn" if dtype == torch.float32 else "",
        itemsize=dtype.itemsize,
        count=len(Coefficients._fields),
        numbers="\n    ".join(numbers),
        body="\n    ".join(_body(spell(rule, prelude), name)),
    )


def _body(spelling: Spelling, dtype: str) -> list[str]:
    return [
        *(f"at_{x} = tl.load(span + {'pgmn'.index(x)}).to(tl.pointer_type(tl.{dtype})) + i" for x in spelling.reads),
        *(f"{x} = tl.load(at_{x}, mask=inside, other=1.0)" for x in spelling.reads),
        *(f"{x} = {operation}" for x, operation in spelling.lines),
        *(f"tl.store(at_{x}, {new}, mask=inside)" for x, new in spelling.writes.items()),
    ]


@functools.cache
def kernel(rule: Rule, prelude: Prelude, dtype: torch.dtype) -> Kernel:
    """The compiled kernel: takes the table, the numbers and the device, and updates in place in one launch.

    Nothing waits for the device: table and numbers are copied to it from pinned memory. Copies and launch are on the
    current stream of the parameters' device, whichever device is the current one. Raises NoKernelError where triton is
    not installed.
    """
    if importlib.util.find_spec("triton") is None:
        raise NoKernelError("triton is not installed")
    update = _load(source(rule, prelude, dtype))

    def run(table: Table, ks: Sequence[Coefficients], device: torch.device) -> None:
        blocks = [0]
        for span in table:
            blocks.append(blocks[-1] - span[4] // dtype.itemsize // -BLOCK)
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():  # triton's interpreter has a CPU
            addresses = _to(device, table, torch.int64)
            first_block = _to(device, blocks[:-1], torch.int64)
            numbers = _to(device, ks, torch.float64)
            update[(blocks[-1],)](addresses, first_block, numbers, len(table), BLOCK=BLOCK)

    return run


def _to(device: torch.device, values: Sequence[Any], dtype: torch.dtype) -> torch.Tensor:
    x = torch.tensor(values, dtype=dtype, device="cpu")  # torch.set_default_device may name another
    return x if device.type == "cpu" else x.pin_memory().to(device, non_blocking=True)


def _load(text: str) -> Any:
    """The function `update` of a module made from text; Triton reads its source through `linecache`."""
    name = f"<nadam_ref kernel {hash(text):x}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "nadam_ref.fused.cuda"}
    exec(compile(text, name, "exec", dont_inherit=True), namespace)  # triton 3.1 reads annotations as objects
    return namespace["update"]

"""Rows of sparse gradients in one compiled call: those of all tables of a group, each row with its own numbers.

Nothing is gathered and nothing copied back: the kernel walks the gradient's indices and changes θ, m, n and the counts
where they are. Rows that occur several times are summed in the order in which they occur, as `coalesce` sums them.
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from ..kernels import Coefficients, Prelude
from ..rules import Rule
from .cpu import _library, body, head
from .spelling import spell
from .table import plain

__all__ = ["BY_COUNT", "BY_ENTRY", "COMMON", "LIMIT", "Occurring", "kernel", "occurring", "source"]

#: Which set of numbers a row takes: the one there is, that of its entry in the gradient, that of its count.
COMMON, BY_ENTRY, BY_COUNT = range(3)
#: Counts that a table of numbers holds at most: 150 MB of them.
LIMIT = 1 << 20

Kernel = Callable[[Sequence["Occurring"], Sequence[int], int, Tensor, float], int]

TEMPLATE = """\
#include <vector>
{head}
struct Table {{
    T *p, *m, *n;            // [rows, width]
    double *step, *product;  // [rows], or null
    const int64_t *index;    // [entries]
    const T *g;              // [entries, width]
    int64_t entries, rows, width;
    int64_t first;           // its first set of numbers
}};
// A set: the product of mu before and after the step, the numbers at a rate of 0, and how they grow with it.
enum {{ COUNT = {count}, SET = 2 + 2 * COUNT, BY_COUNT = {by_count} }};

// 0 where a step can be made; else the counts that must be known, or -1: these numbers are not those of every row.
static int64_t missing(const Table &x, int64_t by, int64_t known, const double *sets) {{
    int64_t needed = 0;
    for (int64_t e = 0; e < x.entries; ++e) {{
        const int64_t row = x.index[e];
        if (row < 0 || row >= x.rows) return -1;
        if (by != BY_COUNT) continue;
        const double t = x.step[row];
        if (!(t >= 0 && t < {limit}) || t != floor(t)) return -1;
        if (t >= known) {{
            needed = t + 1 > needed ? (int64_t)t + 1 : needed;
        }} else if (x.product) {{  // to the rounding of t products
            const double product = sets[SET * (int64_t)t];
            if (!(fabs(x.product[row] - product) <= t * 0x1p-51 * product + 1e-300)) return -1;
        }}
    }}
    return needed;
}}

// Entries of one row form a chain: `next` leads from each to the one after it, `firsts` begin the chains.
struct Chains {{
    std::vector<int64_t> slots, last, next, firsts;

    void find(const Table &x) {{
        int shift = 63;
        while ((int64_t)1 << (64 - shift) < 2 * x.entries) --shift;
        const uint64_t mask = ((uint64_t)1 << (64 - shift)) - 1;
        slots.assign(mask + 1, -1), last.resize(x.entries), next.assign(x.entries, -1), firsts.clear();
        for (int64_t e = 0; e < x.entries; ++e) {{
            uint64_t at = (uint64_t)x.index[e] * 0x9e3779b97f4a7c15u >> shift;
            while (slots[at] >= 0 && x.index[slots[at]] != x.index[e]) at = (at + 1) & mask;
            const int64_t first = slots[at];
            if (first < 0) slots[at] = e, firsts.push_back(e);
            else next[last[first]] = e;
            last[first < 0 ? e : first] = e;
        }}
    }}
}};

extern "C" int64_t update(
    int64_t tables, const Table *table, int64_t by, int64_t known, const double *sets, double rate
) {{
    int64_t needed = 0;
    for (int64_t i = 0; i < tables; ++i) {{
        const int64_t found = missing(table[i], by, known, sets);
        if (found < 0) return found;
        needed = found > needed ? found : needed;
    }}
    if (needed) return needed;

    Chains chains;
    std::vector<T> sum;
    for (int64_t i = 0; i < tables; ++i) {{
        const Table &x = table[i];
        chains.find(x), sum.resize(x.width);
        for (const int64_t e : chains.firsts) {{
            const int64_t row = x.index[e], start = row * x.width;
            const double *k = sets + SET * (by == BY_COUNT ? (int64_t)x.step[row] : x.first + by * e);
            if (x.step) x.step[row] += 1;
            if (x.product) x.product[row] = k[1];
            k += 2;
            const T {numbers};
            T *at_p = x.p + start, *at_m = x.m + start, *at_n = x.n + start;
            const T *at_g = x.g + e * x.width;
            if (chains.next[e] >= 0) {{
                for (int64_t j = 0; j < x.width; ++j) sum[j] = at_g[j];
                for (int64_t f = chains.next[e]; f >= 0; f = chains.next[f])
                    for (int64_t j = 0; j < x.width; ++j) sum[j] += x.g[f * x.width + j];
                at_g = sum.data();
            }}
            #pragma omp simd
            for (int64_t i = 0; i < x.width; ++i) {{
                {body}
            }}
        }}
    }}
    return 0;
}}
"""


def source(rule: Rule, prelude: Prelude, dtype: torch.dtype) -> str:
    """The kernel in C++: `update(tables, table, by, known, sets, rate)`."""
    names = Coefficients._fields
    numbers = ", ".join(f"{name} = (T)(k[{i}] + rate * k[COUNT + {i}])" for i, name in enumerate(names))
    lines = "\n                ".join(body(spell(rule, prelude)))
    return TEMPLATE.format(
        head=head(dtype), count=len(names), by_count=BY_COUNT, limit=LIMIT, numbers=numbers, body=lines
    )


class Occurring(NamedTuple):
    """The rows of a parameter that take a step: the fields of the kernel's Table, and what they point to."""

    fields: tuple[int, ...]
    p: Tensor
    state: Mapping[str, Tensor]
    rows: Tensor
    values: Tensor

    @property
    def by_row(self) -> bool:
        """Whether rows have counts of their own."""
        return self.fields[3] != 0


def occurring(p: Tensor, state: Mapping[str, Tensor], counts: Sequence[str], m: str, n: str) -> Occurring | None:
    """The rows that occur in the gradient of `p`; None where something does not lie in memory as the kernel reads it.

    `counts`: the names of step and product; `m`, `n`: those of the accumulators, empty where the rule has none.
    """
    grad, rows = cast(Tensor, p.grad), len(p)
    index, values = grad._indices().contiguous(), grad._values().contiguous()
    kept = [state[name] if name else None for name in (m, n)]
    columns = [x for x in map(state.__getitem__, counts) if x.dim()]
    if not (p.is_cpu and p.dtype in (torch.float32, torch.float64) and p.is_contiguous() and p.numel()):
        return None
    if not plain(p, *kept) or any(x.shape != (rows,) or not x.is_contiguous() for x in columns):
        return None
    if values.dtype != p.dtype or values.is_neg() or values.shape[1:] != p.shape[1:] or len(values) != index.numel():
        return None
    at = [0 if x is None else x.data_ptr() for x in (p, *kept, *columns)]
    at += [0] * (5 - len(at))
    width = p.numel() // rows
    return Occurring((*at, index.data_ptr(), values.data_ptr(), len(values), rows, width), p, state, index, values)


@functools.cache
def kernel(rule: Rule, prelude: Prelude, dtype: torch.dtype) -> Kernel:
    """The compiled kernel; it takes tables, the first set of each, how sets are chosen, the sets and the rate.

    It gives 0 where all rows took their step; otherwise nothing was changed, and it gives the counts that the sets must
    go up to, or −1 where they are not those of every row: its product is another, its count has no set, or it is none.
    Raises NoKernelError where there is no C++ compiler, or it fails.
    """
    update = _library(source(rule, prelude, dtype)).update
    number, address = ctypes.c_int64, ctypes.c_void_p
    update.argtypes, update.restype = (number, address, number, number, address, ctypes.c_double), number

    def run(tables: Sequence[Occurring], firsts: Sequence[int], by: int, sets: Tensor, rate: float) -> int:
        flat = array("q", [x for table, first in zip(tables, firsts, strict=True) for x in (*table.fields, first)])
        return int(update(len(tables), flat.buffer_info()[0], by, len(sets), sets.data_ptr(), rate))

    return run

"""Rows of sparse gradients in one compiled call: those of all tables of a group, each row with its own numbers.

Nothing is gathered and nothing copied back: the kernel walks the gradient's indices and changes θ, m, n and the counts
where they are. The gradients of a row that occurs several times are summed in the order in which they occur.
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Callable
from itertools import chain
from operator import attrgetter, is_
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from ..checks import check_rows
from ..compat import stored
from ..kernels import Coefficients, Prelude
from ..memory import is_memory
from ..rules import Rule
from ..settings import StateKeys
from .codegen import spell
from .cpu import C_TYPES, _library, body, head

#: Which set of numbers a row takes: the one there is, that of its entry in the gradient, that of its count.
COMMON, BY_ENTRY, BY_COUNT = range(3)
#: Counts that a table of numbers holds at most: 150 MB of them.
LIMIT = 1 << 20

Kernel = Callable[["Occurring", list[int], int, Tensor, float], int]
NBYTES, DTYPE, SHAPE, IS_CPU = map(attrgetter, ("nbytes", "dtype", "shape", "is_cpu"))

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

// 0 where a step can be made; else the counts that must be known, -1 where these numbers are not those of every row, or
// -2 where an index is no row.
static int64_t missing(const Table &x, int64_t by, int64_t known, const double *sets) {{
    int64_t needed = 0;
    for (int64_t e = 0; e < x.entries; ++e) {{
        const int64_t row = x.index[e];
        if (row < 0 || row >= x.rows) return -2;
        if (by != BY_COUNT) continue;
        const double t = x.step[row];
        if (!(t >= 0 && t < {limit}) || t != floor(t)) return -1;
        if (t >= known) {{
            needed = t + 1 > needed ? (int64_t)t + 1 : needed;
        }} else if (x.product) {{  // to the rounding of t products
            const double product = sets[SET * (int64_t)t];
            if (!(fabs(x.product[row] - product) <= t * 0x1p-50 * product + 1e-300)) return -1;
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

// Rows come from all over memory: the first lines of all are asked for at once, the others some rows ahead.
// Inlined, because GCC drops calls of functions that only ask.
#define ASKS static inline __attribute__((always_inline))
ASKS void ask(const Table &x, int64_t i) {{
    __builtin_prefetch(x.p + i, 1), __builtin_prefetch(x.m + i, 1), __builtin_prefetch(x.n + i, 1);
}}

ASKS void ask_for_first_lines(const Table &x) {{
    for (int64_t e = 0; e < x.entries; ++e) {{
        const int64_t row = x.index[e];
        __builtin_prefetch(x.step + row, 1), __builtin_prefetch(x.product + row, 1);
        ask(x, row * x.width);
    }}
}}

ASKS void ask_for_row(const Table &x, int64_t row) {{
    const int64_t line = 64 / sizeof(T), some = x.width < 32 * line ? x.width : 32 * line;
    for (int64_t i = 0; i < some; i += line) ask(x, row * x.width + i);
}}

extern "C" int64_t update(
    int64_t tables, const Table *table, int64_t by, int64_t known, const double *sets, double rate
) {{
    for (int64_t i = 0; i < tables; ++i) ask_for_first_lines(table[i]);
    int64_t needed = 0;
    for (int64_t i = 0; i < tables; ++i) {{
        const int64_t counts = missing(table[i], by, known, sets);
        if (counts < 0) return counts;
        needed = counts > needed ? counts : needed;
    }}
    if (needed) return needed;

    static thread_local Chains chains;  // which keep their memory
    static thread_local std::vector<T> sum;
    for (int64_t i = 0; i < tables; ++i) {{
        const Table &x = table[i];
        chains.find(x), sum.resize(x.width);
        const int64_t *const end = chains.firsts.data() + chains.firsts.size();
        for (const int64_t *at = chains.firsts.data(); at < end; ++at) {{
            if (at + 4 < end) ask_for_row(x, x.index[at[4]]);
            const int64_t e = *at, row = x.index[e], start = row * x.width;
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


# Each check runs over all tensors at once: it is quicker than a loop in Python, which would take as long as the kernel.
class Tables:
    """Where θ, m, n and the counts of parameters of one dtype lie, as the kernel reads them.

    Raises ValueError where one of them does not lie so. They may be used again in another step if they still `hold`.
    """

    def __init__(self, params: list[Tensor], states: list[dict[str, Tensor]], keys: StateKeys) -> None:
        ms, ns = ([state[name] for state in states] if name else [] for name in (keys.m, keys.n))
        columns = [[state[name] for state in states] for name in keys.counts]
        wide, tall = [*params, *ms, *ns], list(chain(*columns))
        self.heights, self.sizes = [p.shape[0] for p in params], list(map(NBYTES, params))
        self.dtype, self.by_row = params[0].dtype, bool(tall) and tall[0].dim() == 1
        shapes = [(height,) if self.by_row else () for height in self.heights] * len(keys.counts)
        if not (
            self.dtype in C_TYPES
            and all(self.sizes)
            and {self.dtype} == set(map(DTYPE, wide))
            and is_memory(*wide, *tall)
            and all(map(IS_CPU, wide))
            and all(map(Tensor.is_contiguous, chain(wide, tall)))
            and list(map(SHAPE, wide)) == list(map(SHAPE, params)) * (len(wide) // len(params))
            and list(map(SHAPE, tall)) == shapes
        ):
            raise ValueError("not as the kernel reads it")
        self.tensors = [*wide, *tall]
        self.storages = list(map(Tensor.untyped_storage, self.tensors))
        self.seen = self._look()
        none = [0] * len(params)
        at = [list(map(Tensor.data_ptr, x)) or none for x in (params, ms, ns, *(columns if self.by_row else ()))]
        self.addresses = [*at, *[none] * (5 - len(at))]
        self.widths = [p.numel() // height for p, height in zip(params, self.heights, strict=True)]

    def _look(self) -> tuple[Any, ...]:
        """What would be another if memory had moved, shrunk, or were read in another way."""
        kinds = [set(map(of, self.tensors)) for of in (type, DTYPE, Tensor.is_neg, Tensor.is_contiguous)]
        held = list(map(torch.UntypedStorage.nbytes, self.storages))
        return kinds, held, list(map(SHAPE, self.tensors)), list(map(Tensor.data_ptr, self.tensors))

    def hold(self, params: list[Tensor], states: list[dict[str, Tensor]], keys: StateKeys) -> bool:
        """Whether all lies where it lay."""
        now = list(params)
        for name in filter(None, (keys.m, keys.n, *keys.counts)):
            now += [state[name] for state in states]
        if len(now) != len(self.tensors) or not all(map(is_, now, self.tensors)):
            return False
        try:
            return self._look() == self.seen
        except RuntimeError:  # no address: swapped for a tensor of another kind
            return False


class Occurring(NamedTuple):
    """The rows of parameters that take a step: tensors, and the fields of the kernel's Tables."""

    params: list[Tensor]
    states: list[dict[str, Tensor]]
    rows: list[Tensor]
    values: list[Tensor]
    tables: Tables
    fields: list[tuple[int, ...]]

    @property
    def by_row(self) -> bool:
        """Whether rows have counts of their own."""
        return self.tables.by_row


def occurring(
    params: list[Tensor],
    grads: list[Tensor],
    states: list[dict[str, Tensor]],
    keys: StateKeys,
    before: Tables | None = None,
) -> Occurring | None:
    """The rows that occur in the gradients; None where something does not lie in memory as the kernel reads it.

    `before`: the tables of an earlier step.
    """
    try:
        tables = before if before and before.hold(params, states, keys) else Tables(params, states, keys)
    except ValueError:
        return None
    rows, values = ([x.contiguous() for x in parts] for parts in zip(*map(stored, grads), strict=True))
    if not is_memory(*rows, *values) or {tables.dtype} != set(map(DTYPE, values)):
        return None
    entries = list(map(Tensor.numel, rows))
    whole = zip(values, tables.heights, tables.sizes, entries, strict=True)
    if any(v.nbytes * height != size * e for v, height, size, e in whole):
        return None
    at = [*tables.addresses, list(map(Tensor.data_ptr, rows)), list(map(Tensor.data_ptr, values))]
    fields = list(zip(*at, entries, tables.heights, tables.widths, strict=True))
    return Occurring(params, states, rows, values, tables, fields)


@functools.cache
def kernel(rule: Rule, prelude: Prelude, dtype: torch.dtype) -> Kernel:
    """The compiled kernel; it takes tables, the first set of each, how sets are chosen, the sets and the rate.

    It gives 0 where all rows took their step. Otherwise nothing was changed, and it gives the counts that the sets must
    go up to, or −1 where they are not those of every row: its product is another, or its count has no set. Raises
    IndexError for an index that is no row, and here NoKernelError where there is no C++ compiler, or it fails.
    """
    update = _library(source(rule, prelude, dtype)).update
    number, address = ctypes.c_int64, ctypes.c_void_p
    update.argtypes, update.restype = (number, address, number, number, address, ctypes.c_double), number

    def run(part: Occurring, firsts: list[int], by: int, sets: Tensor, rate: float) -> int:
        table = array("q", chain.from_iterable((*fields, at) for fields, at in zip(part.fields, firsts, strict=True)))
        missing = int(update(len(firsts), table.buffer_info()[0], by, len(sets), sets.data_ptr(), rate))
        if missing == -2:
            for p in part.params:
                check_rows(p, cast(Tensor, p.grad))
        return missing

    return run

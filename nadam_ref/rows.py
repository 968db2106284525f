"""Row-lazy steps: the rows that occur in a sparse gradient take a step, each with its own count; the others rest.

Rows that occur several times are summed once; weight decay acts on the rows that occur. Under a common count they take
the parameter's next step instead. The boxes are `paper.row_lazy` and `paper.row_lazy_common`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from itertools import accumulate

import torch
from torch import Tensor

from .checks import check_rows
from .cohort import Cohort
from .compat import untraced
from .fused import rows_kernel
from .fused.sparse import BY_COUNT, BY_ENTRY, COMMON, Kernel, Occurring, Tables, occurring
from .rules import Real
from .settings import Settings
from .state import State

#: No sets of numbers.
NONE = torch.empty(0, 1, dtype=torch.float64, device="cpu")


def update_rows_(
    p: Tensor,
    state: State,
    at: tuple[Tensor, ...],
    common: Collection[str],
    update: Callable[[Tensor, State], None],
) -> None:
    """Gather the rows `at` of θ and its state, update them as tensors of their own, and put them back.

    `at`: their indices in the leading dimensions. `common`: names of state that is not by row.
    """
    rows, part = _rows_at(p.detach(), at), {name: x if name in common else _rows_at(x, at) for name, x in state.items()}
    update(rows, part)
    for x, new in ((p, rows), *((state[name], new) for name, new in part.items() if name not in common)):
        if len(at) == 1:
            x.index_copy_(0, at[0], new)
        else:
            x.index_put_(at, new)


def _rows_at(x: Tensor, at: tuple[Tensor, ...]) -> Tensor:
    return x.index_select(0, at[0]) if len(at) == 1 else x[at]


def by_rows(grad: Tensor) -> Tensor:
    """A sparse gradient by its rows alone: what one sparse in further dimensions leaves out of a row is zero there."""
    if grad.sparse_dim() == 1:
        return grad
    grad = grad.coalesce()
    rows, at = torch.unique(grad.indices()[0], return_inverse=True)
    values = grad.values().new_zeros(len(rows), *grad.shape[1:])
    values[(at, *grad.indices()[1:])] = grad.values()
    return torch.sparse_coo_tensor(rows[None], values, grad.shape, check_invariants=False)


class Rows:
    """The row-lazy steps of one group: compiled where it is fused and memory allows it.

    Kept between steps: where tensors lie in memory, and the numbers of a row by its count.
    """

    def __init__(self) -> None:
        self._tables: dict[torch.dtype, Tables] = {}
        self._sets: dict[torch.dtype, tuple[Settings, Tensor]] = {}

    def prepare(self, settings: Settings, cohorts: list[Cohort], alone: bool) -> Callable[[], None]:
        """The step of all rows that occur, still to be made. `alone`: nothing else has changed or will.

        Raises IndexError for an index that is no row, RuntimeError for a gradient that does not fit its parameter.
        """
        compiled: list[tuple[Kernel, Occurring]] = []
        moved: list[Cohort] = []
        rest: list[tuple[Tensor, Tensor, State]] = []
        for cohort in cohorts:
            parts = self._compiled(settings, cohort)
            if not parts or parts[0][1].params is not cohort.params:  # not all at once
                if not settings.compiling and cohort.check(settings.keys):
                    moved.append(cohort)
                    parts = []
                done = {p for _, part in parts for p in part.params}
                rest += [one for one in zip(*cohort[:3], strict=True) if one[0] not in done]
            compiled += parts
        if not (alone and len(compiled) == 1 and not rest):  # else the kernel looks before it changes anything
            for cohort in cohorts:
                for p, grad in zip(cohort.params, cohort.grads, strict=True):
                    check_rows(p, grad)

        def advance() -> None:
            for cohort in moved:
                cohort.follow(settings)
            for kernel, part in compiled:
                self._advance_compiled(kernel, settings, part)
            for p, grad, state in rest:
                _advance_alone(settings, p, grad, state)

        return advance

    def _compiled(self, settings: Settings, cohort: Cohort) -> list[tuple[Kernel, Occurring]]:
        """The parameters whose rows lie as a kernel reads them, with that kernel: all at once if possible."""
        if not settings["fused"] or settings.symbolic or cohort.grads[0].sparse_dim() != 1:
            return []
        dtype = cohort.params[0].dtype
        parts = [occurring(*cohort[:3], settings.keys, self._tables.get(dtype))]
        if parts[0]:
            self._tables[dtype] = parts[0].tables
        else:
            parts = [occurring([p], [grad], [state], settings.keys) for p, grad, state in zip(*cohort[:3], strict=True)]
        kernel = rows_kernel(settings.rule, settings.prelude, dtype) if any(parts) else None
        return [(kernel, part) for part in parts if part] if kernel else []

    def _advance_compiled(self, kernel: Kernel, settings: Settings, part: Occurring) -> None:
        if not part.by_row:
            _by_parameter(kernel, settings, part)
        elif not self._by_count(kernel, settings, part):
            _by_entry(kernel, settings, part)

    def _by_count(self, kernel: Kernel, settings: Settings, part: Occurring) -> bool:
        """Rows by a table of the numbers by count, which serves as long as the settings, but for the rate, stay.

        False where they have just changed (some schedules change them at every step), or a row has another past.
        """
        dtype = part.tables.dtype
        before, sets = self._sets.get(dtype, (None, NONE))
        if before is not settings:
            known = before and all(before[name] == x for name, x in settings.values.items() if name != "lr")
            self._sets[dtype] = settings, sets if known else NONE
            if not known:
                return False
        firsts, rate = [0] * len(part.params), settings["lr"]
        missing = kernel(part, firsts, BY_COUNT, sets, rate)
        if missing > 0:
            most = max(256, 1 << (missing - 1).bit_length())
            t = torch.arange(1, most + 1, dtype=torch.float64, device="cpu")
            mus = settings.scalars(t, torch.ones_like(t))[1]  # where products are kept: each μ_t alone
            products = torch.cat([torch.ones_like(t[:1]), mus.cumprod(0)[:-1]])
            sets = number_sets(settings, dtype, t, products)
            self._sets[dtype] = settings, sets
            missing = kernel(part, firsts, BY_COUNT, sets, rate)
        return not missing


def _by_entry(kernel: Kernel, settings: Settings, part: Occurring) -> None:
    """Rows by numbers of their own, found for each entry of the gradients from the row's count and product."""
    past = list(zip(part.states, part.rows, strict=True))
    t, product = (
        torch.cat([s[name].index_select(0, rows[0]) for s, rows in past]) if name in settings.keys.counts else 1.0
        for name in ("step", "mu_product")
    )
    sets = number_sets(settings, part.tables.dtype, t + 1, product)
    firsts = [0, *accumulate(rows.numel() for rows in part.rows)]
    kernel(part, firsts[:-1], BY_ENTRY, sets, settings["lr"])


def _by_parameter(kernel: Kernel, settings: Settings, part: Occurring) -> None:
    """All rows of a parameter by the numbers of its one count, or of none."""
    counts, pasts = settings.keys.counts, dict[tuple[float, ...], int]()
    firsts = [pasts.setdefault(tuple(s[name].item() for name in counts), len(pasts)) for s in part.states]
    sets = []
    for past in pasts:
        t, product = (*past, *(0.0, 1.0)[len(past) :])
        k, product = settings.scalars(t + 1, product)
        numbers = settings.coefficients(k, part.tables.dtype)
        sets.append([1.0, product, *numbers, *[0.0] * len(numbers)])
    kernel(part, firsts, COMMON, torch.tensor(sets, dtype=torch.float64, device="cpu"), 0.0)
    for state, first in zip(part.states, firsts, strict=True):
        for name in counts:
            state[name].copy_(state[name] + 1 if name == "step" else sets[first][1])


def number_sets(settings: Settings, dtype: torch.dtype, t: Real, product: Real) -> Tensor:
    """The sets of a rows' kernel for steps t after products of μ: `[len(t), 2 + 2F]`, F the number of numbers.

    Every number is affine in the rate, so that schedulers, which change it at every step, change no set.
    """
    made = []
    for at in (settings.replaced(lr=0.0), settings.replaced(lr=1.0)):
        k, after = at.scalars(t, product)
        made.append(at.coefficients(k, dtype))
    columns = (product, after, *made[0], *(y - x for x, y in zip(*made, strict=True)))
    return torch.stack([torch.as_tensor(x, dtype=torch.float64, device="cpu").expand(len(t)) for x in columns], dim=1)


@untraced  # no compiler of torch's makes sparse tensors
def _advance_alone(settings: Settings, p: Tensor, grad: Tensor, state: State) -> None:
    """The step of one parameter's rows without a kernel for them."""
    grad = by_rows(grad).coalesce()

    def update(rows: Tensor, part: State) -> None:
        Cohort([rows], [grad.values()], [part]).advance(settings)

    update_rows_(p, state, (grad.indices()[0],), settings.common, update)

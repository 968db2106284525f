"""R independent runs of one optimizer in one step: parameters `[R, …]`, hyperparameters of shape `[R]`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .checks import check_rows, fitting, misplaced
from .fused import dense_kernel
from .fused.pointers import Span, merged, same_layout
from .kernels import HALF, Coefficients, arithmetic, expression_update_
from .optimizer import PaperOptimizer
from .rows import update_rows_
from .settings import Settings, hyperparameters
from .state import COUNTS, Shielded, State, by_row, restored, start

__all__ = ["Replicas"]


class Replicas:
    """R runs of an optimizer that know nothing of each other, updated in place by one sequence of operations.

    It is for many small runs side by side: seeds, learning rates, an ensemble. Gradients come from the caller, as
    `torch.func.vmap(torch.func.grad(loss))` gives them:

        runs = Replicas(Nadam, params, lr=torch.tensor([1e-3, 3e-3, 1e-2]))
        runs.step(vmap(grad(loss))(params, batches))

    `optimizer`: one of the ten classes.
    `params`: tensors `[R, …]` by name, floating point; they are updated in place.
    Keywords: those of the class. A number may be a tensor or sequence `[R]`, one for each replica, `betas` a pair of
    such; everything else is common to all. With `fused`, steps on a CPU are compiled; the other flags that choose
    how a torch optimizer computes its step do not apply.

    `numbers`: the hyperparameters by name, each common to all or a float64 tensor `[R]`; `numbers["lr"]` may be
    replaced, or written in place, between steps.

    Replica r is updated as `optimizer([params[r]], …)` would update it, to rounding. With dense gradients nothing
    synchronizes with the host, and all tensors stay where they are, so that a step can be captured in a CUDA graph.

    Raises TypeError for parameters that are not floating point, ValueError for those that do not agree on R or on the
    device, and what the class raises for its keywords.
    """

    def __init__(self, optimizer: type[PaperOptimizer], params: Mapping[str, Tensor], **keywords: Any) -> None:
        self.params = dict(params)
        for name, x in self.params.items():
            if not x.is_floating_point():
                raise TypeError(f"can't optimize replicas of dtype {x.dtype} ({name}): floating point is needed")
        sizes = {name: x.shape[0] if x.dim() else None for name, x in self.params.items()}
        if len(set(sizes.values())) != 1 or None in sizes.values():
            raise ValueError(f"replicas are the first dimension of every parameter; the sizes are {sizes}")
        first = next(iter(self.params.values()))
        self.R, self.device = first.shape[0], first.device
        if len(devices := {x.device for x in self.params.values()}) > 1:
            raise ValueError(f"replicas must be on one device, not on {', '.join(sorted(map(str, devices)))}")
        for name, x in keywords.items():
            for value in x if name == "betas" and _is_sequence(x) else [x]:
                if _is_sequence(value) and len(value) != self.R:
                    raise ValueError(f"{name} has {len(value)} values for {self.R} replicas")
        each = [_hyperparameters(optimizer, keywords, r) for r in range(self.R)]
        self.numbers = {name: self._stacked(name, [values[name] for values in each]) for name in each[0]}
        self.settings = Settings(optimizer.rule, self.numbers, [])
        self.state: dict[str, State] = {}

    def _stacked(self, name: str, values: list[Any]) -> Any:
        """One value where all replicas agree, a float64 tensor `[R]` where they do not."""
        if len(set(values)) == 1:
            return values[0]
        if None in values:
            raise ValueError(f"{name} is None for some replicas only: it has to be common to all or to none")
        if isinstance(values[0], (str, bool)):
            raise ValueError(f"{name} differs between replicas, {values}: only numbers may")
        return torch.tensor(values, dtype=torch.float64, device=self.device)

    @torch.no_grad()
    def step(self, grads: Mapping[str, Tensor]) -> None:
        """One step of every replica.

        `grads`: gradients `[R, …]` by parameter name; a parameter without one is skipped. A sparse gradient with
        `sparse_dim() == 2`, indices (replica, row), is row-lazy: the rows that occur take a step of their own.

        Raises ValueError for a gradient of an unknown parameter, RuntimeError for one that does not fit its parameter,
        and IndexError for an index that is no row; nothing is changed then.
        """
        if unknown := grads.keys() - self.params.keys():
            raise ValueError(f"gradients of unknown parameters {sorted(unknown)}: there are {sorted(self.params)}")
        grads = {name: _fitting(g, self.params[name]) for name, g in grads.items()}
        self.settings = self.settings.replaced(**self.numbers)  # where one may have been replaced
        for name in grads:
            if not self.state.get(name):
                self.state[name] = self._start(self.params[name])
        done = self._step_fused({name: g for name, g in grads.items() if not g.is_sparse})
        for name in grads.keys() - done:
            p, g, state = self.params[name], grads[name], self.state[name]
            if g.is_sparse:
                self._step_rows(p, g.coalesce(), state)
            else:
                self._advance(self.settings, p, g, state)

    def _start(self, p: Tensor) -> State:
        values = {name: _column(x, p.dim()) for name, x in self.numbers.items()}
        made = {name: start(name, p, {**values, "capturable": True}) for name in self.settings.keys.names}
        return {name: by_row(x, p) if name in COUNTS else x for name, x in made.items()}

    # -- dense gradients -----------------------------------------------------------------------------------------------

    def _step_fused(self, grads: Mapping[str, Tensor]) -> set[str]:
        """With fused=True, on a CPU: one step of the parameters whose memory allows it, by name."""
        alike: defaultdict[Any, list[str]] = defaultdict(list)
        keys = self.settings.keys
        for name in grads if self.numbers["fused"] else ():
            p, kept = self.params[name], [self.state[name][key] for key in keys.counts]
            if p.is_cpu and p.dtype not in HALF and all(x.dim() == 1 for x in kept):
                alike[p.dtype, str([x.tolist() for x in kept])].append(name)
        done: set[str] = set()
        for names in alike.values():
            states = [self.state[name] for name in names]
            counts, k = _next(self.settings, states[0], self.params[names[0]].dtype)
            tensors = [(self.params[x], grads[x], *(self.state[x].get(key) for key in (keys.m, keys.n))) for x in names]
            if self._update_fused(k, tensors):
                done.update(names)
                for key, x in counts.items():
                    torch._foreach_copy_([state[key] for state in states], [x] * len(states))
        return done

    def _update_fused(self, k: Coefficients, tensors: list[tuple[Any, ...]]) -> bool:
        """One step in place of (θ, g, m, n), each `[R, …]`, by one table in which every run has its own numbers.

        False where nothing was done: for tensors that are not contiguous, or where no kernel can be compiled.
        """
        first = tensors[0][0]
        if not all(x[0].is_contiguous() and same_layout(*x) for x in tensors):
            return False
        of_run = zip(*(x.expand(self.R).tolist() if isinstance(x, Tensor) else [x] * self.R for x in k), strict=True)
        which: dict[Coefficients, int] = {}
        sets = [which.setdefault(Coefficients(*numbers), len(which)) for numbers in of_run]
        table = sorted(span for x in tensors for span in _spans(x, sets))
        kernel = dense_kernel(self.settings.rule, self.settings.prelude, first.dtype, first.device)
        if kernel:
            kernel(merged(table), list(which), first.device)
        return kernel is not None

    def _advance(self, settings: Settings, p: Tensor, g: Tensor, state: State) -> None:
        """Count a step and update `p` in place; numbers and counts lie along its leading dimensions."""
        if any(state[name].dim() > 1 for name in settings.keys.counts):  # by row
            settings = settings.map(lambda x: _column(x, 2))
        counts, k = _next(settings, state, arithmetic(p))
        for name, x in counts.items():
            state[name].copy_(x)
        self._update(p, g, state, k)

    def _update(self, p: Tensor, g: Tensor, state: State, k: Coefficients) -> None:
        m, n = ([state[key]] if key else [] for key in (self.settings.keys.m, self.settings.keys.n))
        k = Coefficients(*(_column(x, p.dim()) for x in k)).to(arithmetic(p))
        expression_update_(self.settings.rule, self.settings.prelude, ([p], [g], m, n), k)

    # -- sparse gradients ----------------------------------------------------------------------------------------------

    def _step_rows(self, p: Tensor, g: Tensor, state: State) -> None:
        at, names = tuple(g.indices()), self.settings.keys.counts

        def of_row(x: Any) -> Any:
            return x.expand(self.R)[at[0]] if isinstance(x, Tensor) else x

        if self.settings.common:
            counts, k = _next(self.settings, state, arithmetic(p))
            for name, x in counts.items():
                state[name].copy_(x)
            k = Coefficients(*map(of_row, k))
            update_rows_(p, state, at, names, lambda rows, part: self._update(rows, g.values(), part, k))
            return
        for name in names:
            if state[name].dim() == 1:
                state[name] = by_row(state[name], p, 2)
        settings = self.settings.map(of_row)
        update_rows_(p, state, at, (), lambda rows, part: self._advance(settings, rows, g.values(), part))

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, State]:
        """The state of every parameter by name, as tensors that are the state: copy them to keep them."""
        return {name: dict(state) for name, state in self.state.items()}

    def load_state_dict(self, state_dict: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over copies of what `state_dict` gave, in the dtypes that these replicas keep.

        Raises ValueError for unknown parameters, other state keys and other shapes; nothing is changed then.
        """
        keys = set(self.settings.keys.names)
        for name, state in state_dict.items():
            if name not in self.params or set(state) != keys:
                raise ValueError(
                    f"{name!r} with state {sorted(state)} does not fit: {sorted(self.params)}, {sorted(keys)}"
                )
            for key, x in state.items():
                self._check_loaded(name, key, x)
            if self.settings.common and any(state[key].dim() > 1 for key in COUNTS & keys):
                raise ValueError(f"{name!r} has rows under their own counts: make the replicas with row_counts='own'")
        self.state = {
            name: {key: restored(key, Shielded(x), self.params[name], True) for key, x in state.items()}
            for name, state in state_dict.items()
        }

    def _check_loaded(self, name: str, key: str, x: Any) -> None:
        shape = self.params[name].shape
        shapes = [shape[:1], shape[:2]] if key in COUNTS else [shape]
        if not isinstance(x, Tensor) or x.is_complex() or x.shape not in shapes:
            found = f"shape {tuple(x.shape)}, dtype {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
            needed = " or ".join(str(tuple(y)) for y in dict.fromkeys(shapes))
            raise ValueError(f"{key} of {name!r} ({found}) does not fit: real numbers of shape {needed} are needed")


def _fitting(g: Tensor, p: Tensor) -> Tensor:
    """A gradient as the step takes it. Raises RuntimeError or IndexError where it does not fit its parameter."""
    (g,) = fitting([g], p)
    misplaced([p], [g], [])
    if g.is_sparse:
        if g.sparse_dim() != 2:
            text = "a sparse gradient of replicas has sparse_dim() = 2 (replica, row)"
            raise RuntimeError(f"{text}, not {g.sparse_dim()}")
        check_rows(p, g)
    return g


def _next(settings: Settings, state: State, dtype: torch.dtype) -> tuple[dict[str, Any], Coefficients]:
    """The counts after the next step, and the numbers of that step; all broadcast together."""
    t = state.get("step", 0.0) + 1
    k, product = settings.scalars(t, state.get("mu_product", 1.0))
    counts = {"step": t, "mu_product": product}
    return {name: counts[name] for name in settings.keys.counts}, settings.coefficients(k, dtype)


def _spans(tensors: tuple[Any, ...], sets: list[int]) -> Iterator[Span]:
    """The memory of each run in (θ, g, m, n), with its set of numbers."""
    size = tensors[0].nbytes // len(sets)
    p, g, m, n = (0 if x is None else x.data_ptr() for x in tensors)
    for r, which in enumerate(sets):
        at = r * size
        yield p + at, g + at, m and m + at, n and n + at, size, which


def _column(x: Any, dims: int) -> Any:
    """A tensor along the leading of `dims` dimensions, shaped to broadcast; anything else as it is."""
    return x.reshape(*x.shape, *[1] * (dims - x.dim())) if isinstance(x, Tensor) else x


# -- keywords ----------------------------------------------------------------------------------------------------------


def _hyperparameters(optimizer: type[PaperOptimizer], keywords: Mapping[str, Any], r: int) -> dict[str, Any]:
    """What the class makes of replica r's keywords."""
    made = optimizer([torch.zeros(1)], **{name: _pick(name, x, r) for name, x in keywords.items()})
    return hyperparameters({name: made.param_groups[0][name] for name in made.defaults})


def _pick(name: str, x: Any, r: int) -> Any:
    if name == "betas" and _is_sequence(x):
        return tuple(_pick("", beta, r) for beta in x)
    if _is_sequence(x):
        return x[r].item() if isinstance(x, Tensor) else x[r]
    return x


def _is_sequence(x: Any) -> bool:
    """Whether these are numbers one for each replica: a list, a tuple, a tensor or array with a dimension."""
    return isinstance(x, (list, tuple)) or getattr(x, "ndim", 0) > 0

"""R independent runs of one optimizer in one step: parameters `[R, …]`, hyperparameters of shape `[R]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .kernels import expression_update_, fold
from .optimizer import COUNTS, HALF, PaperOptimizer, state_keys
from .rules import scalars

__all__ = ["Replicas"]

#: Hyperparameters that may differ between replicas. What is not a number (form, dialect, flags) is common to all.
NUMBERS = ("lr", "mu", "nu", "eps", "weight_decay", "momentum_decay", "lr_decay", "initial_accumulator_value")


class Replicas:
    """R runs of an optimizer that know nothing of each other, updated in place by one sequence of operations.

    It is for many small runs side by side: seeds, learning rates, an ensemble. Gradients come from the caller, as
    `torch.func.vmap(torch.func.grad(loss))` gives them:

        runs = Replicas(Nadam, params, lr=torch.tensor([1e-3, 3e-3, 1e-2]))
        runs.step(vmap(grad(loss))(params, batches))

    `optimizer`: one of the ten classes.
    `params`: tensors `[R, …]` by name, floating point; they are updated in place.
    Keywords: those of the class. A number may be a tensor or sequence `[R]`, one for each replica, `betas` a pair of
    such; everything else is common to all. Flags that choose how a torch optimizer computes its step do not apply.

    Replica r is updated as `optimizer([params[r]], …)` would update it, to rounding. Nothing synchronizes with the
    host, and all tensors stay where they are, so that a step can be captured in a CUDA graph.

    Raises ValueError for parameters that do not agree on R, and what the class raises for its keywords.
    """

    def __init__(self, optimizer: type[PaperOptimizer], params: Mapping[str, Tensor], **keywords: Any) -> None:
        self.params = dict(params)
        sizes = {name: x.shape[0] if x.dim() else None for name, x in self.params.items()}
        if len(set(sizes.values())) != 1 or None in sizes.values():
            raise ValueError(f"replicas stand along the first dimension of every parameter; found {sizes}")
        self.R: int = next(iter(self.params.values())).shape[0]
        self.device = next(iter(self.params.values())).device
        for name, x in keywords.items():
            for value in x if name == "betas" else [x]:
                if _is_sequence(value) and len(value) != self.R:
                    raise ValueError(f"{name} has {len(value)} values for {self.R} replicas")
        groups = [_group(optimizer, keywords, r) for r in range(self.R)]
        self.group = groups[0]
        self.rule = optimizer([torch.zeros(1)], **_at(keywords, 0))._rule(self.group)
        self.numbers = {name: self._stack([_number(g, name) for g in groups]) for name in NUMBERS}
        self.keys = state_keys(self.rule, self.group)
        self.state: dict[str, dict[str, Tensor]] = {}

    def _stack(self, values: list[Any]) -> Any:
        """One number where all replicas agree, a float64 tensor `[R]` where they do not."""
        if len(set(values)) == 1:
            return values[0]
        if None in values:
            raise ValueError("momentum_decay is None for some replicas only: a schedule is common to all or to none")
        return torch.tensor(values, dtype=torch.float64, device=self.device)

    @torch.no_grad()
    def step(self, grads: Mapping[str, Tensor]) -> None:
        """One step of every replica.

        `grads`: gradients `[R, …]` by parameter name; a parameter without one is skipped. A sparse gradient with
        `sparse_dim() == 2`, indices (replica, row), is row-lazy: the rows that occur take a step of their own.
        """
        for name, g in grads.items():
            p = self.params[name]
            state = self.state.setdefault(name, {}) or self._start(name)
            if g.is_sparse:
                self._step_rows(p, g.coalesce(), state)
            else:
                self._advance(p, g, state, self.numbers)

    def _start(self, name: str) -> dict[str, Tensor]:
        p, state = self.params[name], self.state[name]
        for key in self.keys.names:
            if key in COUNTS:
                start = float(key == "mu_product")
                state[key] = torch.full((self.R,), start, dtype=torch.float64, device=p.device)
            else:
                state[key] = torch.zeros_like(p, dtype=torch.float32 if p.dtype in HALF else p.dtype)
            if key == "sum":
                state[key] += _column(self.numbers["initial_accumulator_value"], p)
        return state

    def _step_rows(self, p: Tensor, g: Tensor, state: dict[str, Tensor]) -> None:
        if g.sparse_dim() != 2:
            raise RuntimeError(
                f"a sparse gradient of replicas has sparse_dim() = 2 (replica, row), not {g.sparse_dim()}"
            )
        replica, row = g.indices()
        for key in COUNTS & state.keys():
            if state[key].dim() == 1:
                state[key] = state[key][:, None].repeat(1, p.shape[1])
        at = (replica, row)
        part = {key: x[at] for key, x in state.items()}
        numbers = {k: x[replica] if isinstance(x, Tensor) else x for k, x in self.numbers.items()}
        rows = p[at]
        self._advance(rows, g.values(), part, numbers)
        p[at] = rows
        for key, x in part.items():
            state[key][at] = x

    def _advance(self, p: Tensor, g: Tensor, state: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """One update of `p` in place; whatever has a dimension lies along the leading ones of `p`."""
        if "step" in state:
            state["step"] += 1
        column = {name: _column(x, p) for name, x in {**numbers, **state}.items() if name in COUNTS or name in numbers}
        eps, decay, _ = (column.pop(name) for name in ("eps", "weight_decay", "initial_accumulator_value"))
        common = {name: self.group[name] for name in ("bias_correction", "dialect") if name in self.group}
        t, product = column.pop("step", 1.0), column.pop("mu_product", 1.0)
        k, product = scalars(self.rule, t, product, **column, **common)
        if "mu_product" in state:
            state["mu_product"].copy_(product.reshape(state["mu_product"].shape))

        θ = p.float() if p.dtype in HALF else p
        g = (-g if self.group["maximize"] else g).to(θ.dtype)
        if isinstance(decay, Tensor) or decay:
            if self.group["decoupled_weight_decay"]:
                θ.mul_(1 - k.lr * decay)
            else:
                g = g + torch.as_tensor(decay, dtype=θ.dtype, device=θ.device) * θ
        tiny = torch.finfo(θ.dtype).tiny
        eps = eps.clamp(min=tiny) if isinstance(eps, Tensor) else max(eps, tiny)
        m = [state[self.keys.m]] if self.keys.m else []
        n = [state[self.keys.n]] if self.keys.n else []
        expression_update_(self.rule, ([θ], [g], m, n), fold(k, eps).to(θ.dtype))
        if θ is not p:
            p.copy_(θ)

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The state of every parameter by name, as tensors that are the state: copy them to keep them."""
        return {name: dict(state) for name, state in self.state.items()}

    def load_state_dict(self, state_dict: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over copies of what `state_dict` gave. Raises ValueError for unknown parameters or other state keys."""
        keys = set(self.keys.names)
        for name, state in state_dict.items():
            if name not in self.params or set(state) != keys:
                raise ValueError(
                    f"{name!r} with state {sorted(state)} does not fit: {sorted(self.params)}, {sorted(keys)}"
                )
        self.state = {name: {k: x.to(self.device, copy=True) for k, x in s.items()} for name, s in state_dict.items()}


def _at(keywords: Mapping[str, Any], r: int) -> dict[str, Any]:
    """The keywords of one replica."""
    return {name: _pick(x, r, name) for name, x in keywords.items()}


def _is_sequence(x: Any) -> bool:
    return isinstance(x, (list, tuple)) or (isinstance(x, Tensor) and x.dim() > 0)


def _pick(x: Any, r: int, name: str = "") -> Any:
    if name == "betas":
        return tuple(_pick(beta, r) for beta in x)
    if _is_sequence(x):
        return None if x[r] is None else float(x[r])
    return x


def _group(optimizer: type[PaperOptimizer], keywords: Mapping[str, Any], r: int) -> dict[str, Any]:
    """The checked parameter group that the class makes of replica r's keywords."""
    group: dict[str, Any] = optimizer([torch.zeros(1)], **_at(keywords, r)).param_groups[0]
    return group


def _number(group: dict[str, Any], name: str) -> Any:
    if name in ("mu", "nu"):
        pair = group.get("betas", (group.get("momentum", 0.0), group.get("alpha", 0.0)))
        return pair[name == "nu"]
    return group.get(name, None if name == "momentum_decay" else 0.0)


def _column(x: Any, p: Tensor) -> Any:
    """A tensor along the leading dimensions of `p`, shaped to broadcast against it; a number as it is."""
    return x.reshape(*x.shape, *[1] * (p.dim() - x.dim())) if isinstance(x, Tensor) else x

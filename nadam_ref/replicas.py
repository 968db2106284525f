"""R independent runs of one optimizer in one step: parameters `[R, …]`, hyperparameters of shape `[R]`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .fused.replicated import replicated_update_
from .kernels import HALF, Coefficients, Prelude, arithmetic, expression_update_, fold
from .keywords import NUMBERS, at, group, is_sequence, number
from .optimizer import PaperOptimizer
from .rules import scalars
from .state import COUNTS, state_keys

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

    Replica r is updated as `optimizer([params[r]], …)` would update it, to rounding. With dense gradients nothing
    synchronizes with the host, and all tensors stay where they are, so that a step can be captured in a CUDA graph.

    Raises ValueError for parameters that do not agree on R or on the device, and what the class raises for its
    keywords.
    """

    def __init__(self, optimizer: type[PaperOptimizer], params: Mapping[str, Tensor], **keywords: Any) -> None:
        self.params = dict(params)
        sizes = {name: x.shape[0] if x.dim() else None for name, x in self.params.items()}
        if len(set(sizes.values())) != 1 or None in sizes.values():
            raise ValueError(f"replicas stand along the first dimension of every parameter; found {sizes}")
        self.R: int = next(iter(self.params.values())).shape[0]
        self.device = next(iter(self.params.values())).device
        if len(devices := {x.device for x in self.params.values()}) > 1:
            raise ValueError(f"replicas lie on one device; found {', '.join(sorted(map(str, devices)))}")
        for name, x in keywords.items():
            for value in x if name == "betas" and is_sequence(x) else [x]:
                if is_sequence(value) and len(value) != self.R:
                    raise ValueError(f"{name} has {len(value)} values for {self.R} replicas")
        groups = [group(optimizer, keywords, r) for r in range(self.R)]
        self.group = groups[0]
        self.numbers = {name: self._stack(name, [number(g, name) for g in groups]) for name in NUMBERS}
        one = optimizer([torch.zeros(1)], **at(keywords, 0))
        self.rule = one._rule({**self.group, "eps_root": self.numbers["eps_root"]})
        self.keys = state_keys(self.rule, self.group)
        self.state: dict[str, dict[str, Tensor]] = {}

    def _stack(self, name: str, values: list[Any]) -> Any:
        """One number where all replicas agree, a float64 tensor `[R]` where they do not."""
        if len(set(values)) == 1:
            return values[0]
        if None in values:
            raise ValueError(f"{name} is None for some replicas only: it has to be common to all or to none")
        return torch.tensor(values, dtype=torch.float64, device=self.device)

    @torch.no_grad()
    def step(self, grads: Mapping[str, Tensor]) -> None:
        """One step of every replica.

        `grads`: gradients `[R, …]` by parameter name; a parameter without one is skipped. A sparse gradient with
        `sparse_dim() == 2`, indices (replica, row), is row-lazy: the rows that occur take a step of their own.
        """
        for name in grads:
            self.state.setdefault(name, {}) or self._start(name)
        done = self._step_fused({name: g for name, g in grads.items() if not g.is_sparse})
        for name in grads.keys() - done:
            p, g, state = self.params[name], grads[name], self.state[name]
            if g.is_sparse:
                self._step_rows(p, g.coalesce(), state)
            else:
                self._advance(p, g, state, self.numbers)

    def _step_fused(self, grads: Mapping[str, Tensor]) -> set[str]:
        """With fused=True, on a CPU: one step of the parameters whose memory allows it, by name."""
        alike: defaultdict[Any, list[str]] = defaultdict(list)
        for name in grads if self.group["fused"] else ():
            p, kept = self.params[name], [self.state[name][key] for key in self.keys.counts]
            if p.is_cpu and p.dtype not in HALF and all(x.dim() == 1 for x in kept):
                alike[p.dtype, str([x.tolist() for x in kept])].append(name)
        done: set[str] = set()
        for names in alike.values():
            p, states = self.params[names[0]], [self.state[name] for name in names]
            counts = {key: x + (key == "step") for key, x in states[0].items() if key in COUNTS}
            prelude, k, product = self._coefficients({**self.numbers, **counts}, p.dtype)
            tensors = [(self.params[x], grads[x], *map(self.state[x].get, self.keys[2:])) for x in names]
            if replicated_update_(self.rule, prelude, k, tensors):
                done.update(names)
                for key, x in counts.items():
                    new = product if key == "mu_product" else x
                    torch._foreach_copy_([state[key] for state in states], [new] * len(states))
        return done

    def _start(self, name: str) -> dict[str, Tensor]:
        p, state = self.params[name], self.state[name]
        for key in self.keys.names:
            if key in COUNTS:
                start = float(key == "mu_product")
                state[key] = torch.full((self.R,), start, dtype=torch.float64, device=p.device)
            else:
                state[key] = torch.zeros_like(p, dtype=arithmetic(p))
            if key == "sum":
                state[key] += _column(self.numbers["initial_accumulator_value"], p)
        return state

    def _step_rows(self, p: Tensor, g: Tensor, state: dict[str, Tensor]) -> None:
        if g.sparse_dim() != 2:
            raise RuntimeError(
                f"a sparse gradient of replicas has sparse_dim() = 2 (replica, row), not {g.sparse_dim()}"
            )
        replica, row = g.indices()
        at = (replica, row)
        common = self.group.get("row_counts") == "common"
        for key in COUNTS & state.keys():
            if state[key].dim() == 1 and not common:
                state[key] = state[key][:, None].repeat(1, p.shape[1])
        part = {key: x[at] for key, x in state.items() if not (common and key in COUNTS)}
        rows = p[at]
        if common:
            prelude, k = self._count_step(p, state, self.numbers)
            of_row = (_column(x.flatten()[replica], rows) if isinstance(x, Tensor) else x for x in k)
            self._update(rows, g.values(), part, prelude, Coefficients(*of_row))
        else:
            numbers = {k: x[replica] if isinstance(x, Tensor) else x for k, x in self.numbers.items()}
            self._advance(rows, g.values(), part, numbers)
        p[at] = rows
        for key, x in part.items():
            state[key][at] = x

    def _advance(self, p: Tensor, g: Tensor, state: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """One update of `p` in place; whatever has a dimension lies along the leading ones of `p`."""
        self._update(p, g, state, *self._count_step(p, state, numbers))

    def _count_step(self, p: Tensor, state: dict[str, Tensor], numbers: dict[str, Any]) -> tuple[Prelude, Coefficients]:
        """Advance the counts by one and give what the kernels take, shaped to broadcast against `p`."""
        if "step" in state:
            state["step"] += 1
        column = {name: _column(x, p) for name, x in {**numbers, **state}.items() if name in COUNTS or name in numbers}
        prelude, k, product = self._coefficients(column, arithmetic(p))
        if "mu_product" in state:
            state["mu_product"].copy_(product.reshape(state["mu_product"].shape))
        return prelude, k

    def _update(self, p: Tensor, g: Tensor, state: dict[str, Tensor], prelude: Prelude, k: Coefficients) -> None:
        m, n = ([state[key]] if key else [] for key in (self.keys.m, self.keys.n))
        expression_update_(self.rule, prelude, ([p], [g], m, n), k.to(arithmetic(p)))

    def _coefficients(self, column: dict[str, Any], dtype: torch.dtype) -> tuple[Prelude, Coefficients, Any]:
        """What the kernels take, and the product of μ, from hyperparameters and counts that broadcast together."""
        eps, eps_root, decay = (column.pop(name) for name in ("eps", "eps_root", "weight_decay"))
        column.pop("initial_accumulator_value")
        common = {name: self.group[name] for name in ("bias_correction", "dialect", "length") if name in self.group}
        t, product = column.pop("step", 1.0), column.pop("mu_product", 1.0)
        k, product = scalars(self.rule, t, product, **column, **common)
        tiny = torch.finfo(dtype).tiny
        eps = eps.clamp(min=tiny) if isinstance(eps, Tensor) else max(eps, tiny)
        prelude = Prelude.of(self.group["maximize"], decay, self.group["decoupled_weight_decay"])
        return prelude, fold(k, eps, prelude, decay, eps_root), product

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
            if self.group.get("row_counts") == "common" and any(state[key].dim() > 1 for key in COUNTS & keys):
                raise ValueError(f"{name!r} has rows under their own counts: make the replicas with row_counts='own'")
        self.state = {name: {k: x.to(self.device, copy=True) for k, x in s.items()} for name, s in state_dict.items()}


def _column(x: Any, p: Tensor) -> Any:
    """A tensor along the leading dimensions of `p`, shaped to broadcast against it; a number as it is."""
    return x.reshape(*x.shape, *[1] * (p.dim() - x.dim())) if isinstance(x, Tensor) else x

"""What the state of a parameter holds: its names, which are torch's, its start, and its way back from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from .kernels import arithmetic
from .rules import Rule

__all__ = ["COUNTS", "Shielded", "StateKeys", "restored", "start", "state_keys"]

#: State that counts rather than accumulates: one number for the whole parameter, or one for every row.
COUNTS = {"step", "mu_product"}


class Shielded:
    """A state tensor on its way through torch's load_state_dict, which would cast it to the parameter's dtype."""

    def __init__(self, value: Any) -> None:
        self.value = value


class StateKeys(NamedTuple):
    """Names of a parameter's state: all of them, its counts, m and n; an empty name where the rule has none."""

    names: tuple[str, ...]
    counts: tuple[str, ...]
    m: str
    n: str


def state_keys(rule: Rule, group: Mapping[str, Any]) -> StateKeys:
    """What the state of a group's parameters holds, under torch's names, so that checkpoints interchange.

    Momentum and NAG in sum form count steps only under a schedule; GD keeps nothing.
    """
    scheduled = rule.momentum != "none" and group.get("momentum_decay") is not None
    counted = rule.norm != "none" or rule.momentum == "mean" or scheduled
    rms = "square_avg" if rule.momentum == "none" else "exp_avg_sq"
    counts = ("step",) * counted + ("mu_product",) * (scheduled and rule.momentum == "mean")
    m = {"none": "", "sum": "momentum_buffer", "mean": "exp_avg"}[rule.momentum]
    n = {"none": "", "sum": "sum", "rms": rms, "max": "exp_inf"}[rule.norm]
    return StateKeys((*counts, *[name for name in (m, n) if name]), counts, m, n)


def start(name: str, p: Tensor, group: Mapping[str, Any]) -> Tensor:
    """A parameter's state before its first step: counts are 0-dim float64, on the CPU unless capturable."""
    if name in COUNTS:
        value = float(name == "mu_product")
        if group["capturable"]:
            return torch.full((), value, dtype=torch.float64, device=p.device)
        return torch.tensor(value, dtype=torch.float64, device="cpu")  # of a fake one the value is known
    start = group.get("initial_accumulator_value", 0.0) if name == "sum" else 0.0
    start = complex(start, start) if p.is_complex() else start
    zeros = torch.zeros_like(p, dtype=arithmetic(p), memory_format=torch.preserve_format)
    return zeros.add_(start) if start else zeros


def restored(name: str, x: Any, p: Tensor, group: Mapping[str, Any]) -> Tensor:
    """A loaded state tensor where the step wants it: counts in float64, on the CPU unless capturable or by row."""
    if name in COUNTS:
        value = getattr(x, "value", x)
        dim = value.dim() if isinstance(value, Tensor) else 0
        device = p.device if group["capturable"] or dim else "cpu"
        count = torch.as_tensor(value, dtype=torch.float64, device=device)
        return count.clone() if isinstance(x, Shielded) else count
    # A copy of what is loaded: two optimizers must not go on in one buffer. Unpickled state is the optimizer's own.
    return x.value.to(p.device, arithmetic(p), copy=True) if isinstance(x, Shielded) else cast(Tensor, x)

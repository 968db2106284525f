"""Keywords of R replicas: for each number one value for all, or one for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .checks import numbers
from .optimizer import PaperOptimizer

__all__ = ["NUMBERS", "at", "group", "is_sequence", "number"]

#: Hyperparameters that may differ between replicas. What is not a number (form, dialect, flags) is common to all.
NUMBERS = (
    "lr",
    "mu",
    "nu",
    "eps",
    "eps_root",
    "weight_decay",
    "momentum_decay",
    "gamma",
    "lr_decay",
    "initial_accumulator_value",
)


def at(keywords: Mapping[str, Any], r: int) -> dict[str, Any]:
    """The keywords of one replica."""
    return {name: _pick(x, r, name) for name, x in keywords.items()}


def is_sequence(x: Any) -> bool:
    """Whether these are numbers one for each replica: a list, a tuple, a tensor or array with a dimension."""
    return isinstance(x, (list, tuple)) or getattr(x, "ndim", 0) > 0


def _pick(x: Any, r: int, name: str = "") -> Any:
    if name == "betas" and is_sequence(x):
        return tuple(_pick(beta, r) for beta in x)
    if is_sequence(x):
        return x[r].item() if isinstance(x, Tensor) else x[r]
    return x


def group(optimizer: type[PaperOptimizer], keywords: Mapping[str, Any], r: int) -> dict[str, Any]:
    """What the class makes of replica r's keywords, checked, with numbers as the update takes them."""
    return numbers(optimizer([torch.zeros(1)], **at(keywords, r)).param_groups[0])


def number(group: dict[str, Any], name: str) -> Any:
    return group.get(name, None if name in ("momentum_decay", "gamma") else 0.0)

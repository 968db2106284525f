"""What an optimizer accepts: the bounds of its numbers, in torch's words, and which tensors can be parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.parameter import is_lazy

from .compat import internal_overlap
from .rules import DIALECTS, LENGTHS

__all__ = ["BOUNDS", "CHOICES", "OLD_NAMES", "check_as_torchs_adam", "check_number", "check_parameter", "renamed"]

#: Hyperparameters that are one number: the name in the error text (torch's), and the bound they stay below.
BOUNDS = {
    "lr": ("learning rate", math.inf),
    "momentum": ("momentum value", 1.0),
    "alpha": ("alpha value", 1.0),
    "eps": ("epsilon value", math.inf),
    "eps_root": ("eps_root value", math.inf),
    "gamma": ("gamma value", 1.0),
    "weight_decay": ("weight_decay value", math.inf),
    "momentum_decay": ("momentum_decay value", math.inf),
    "lr_decay": ("lr_decay value", math.inf),
    "initial_accumulator_value": ("initial_accumulator_value value", math.inf),
}

#: Hyperparameters that are one of several words.
CHOICES = {
    "form": ("sum", "mean"),
    "dialect": tuple(DIALECTS),
    "length": LENGTHS,
    "row_counts": ("own", "common"),
}
#: Dialects by the names that they had in version 0.1.
OLD_NAMES = {"radam": "interpolated"}


def renamed(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords, those of an old record or checkpoint included, with the dialect by its name of today."""
    old = keywords.get("dialect")
    return {**keywords, "dialect": OLD_NAMES[old]} if old in OLD_NAMES else dict(keywords)


def check_number(label: str, value: Any, bound: float) -> None:
    """Raise ValueError unless 0 ≤ value < bound; NaN and infinity fail."""
    try:
        number = float(value.detach() if isinstance(value, Tensor) else value)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(f"Invalid {label}: {value!r} is not a number") from None
    if not 0.0 <= number < bound:
        raise ValueError(f"Invalid {label}: {value}")


def check_as_torchs_adam(group: dict[str, Any]) -> None:
    """What torch's Adam, alone among its classes, refuses of tensors."""
    tensors = [isinstance(beta, Tensor) for beta in group["betas"]]
    if any(tensors) and not all(tensors):
        raise ValueError("betas must be either both floats or both Tensors")
    if group["foreach"] and not group["capturable"]:
        for name, tensor in (("lr", isinstance(group["lr"], Tensor)), ("betas[0]", tensors[0])):
            if tensor:
                raise ValueError(f"{name} as a Tensor is not supported for capturable=False and foreach=True")


def check_parameter(p: Tensor) -> None:
    """Raise TypeError or ValueError for what cannot be updated: integers, tensors whose elements overlap."""
    if not (p.is_floating_point() or p.is_complex()):
        raise TypeError(f"can't optimize a parameter of dtype {p.dtype}: floating point or complex is needed")
    if not is_lazy(p) and internal_overlap(p) == 1:
        raise ValueError(
            f"can't optimize a parameter of shape {tuple(p.shape)} whose elements overlap in memory: it is an expanded "
            "tensor; optimize the tensor it was expanded from, or its .clone()"
        )

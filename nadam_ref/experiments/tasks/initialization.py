"""Named choices of a model: how weights start, and what penalty is added to the objective."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import init

from .base import chosen

Fill = Callable[..., Tensor]  # fills a tensor in place; takes `generator`

PAPER = "paper"  # the initialization that the task's source describes

INITIALIZATIONS: dict[str, Fill] = {
    "xavier_uniform": init.xavier_uniform_,
    "xavier_normal": init.xavier_normal_,
    "he_uniform": functools.partial(init.kaiming_uniform_, nonlinearity="relu"),
    "he_normal": functools.partial(init.kaiming_normal_, nonlinearity="relu"),
}

PENALTIES: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x.new_zeros(()),
    "l1": lambda x: x.abs().sum(),
    "l2": lambda x: x.square().sum() / 2,
}


def uniform(scale: float) -> Fill:
    """U(−scale, scale)."""
    return functools.partial(init.uniform_, a=-scale, b=scale)


def truncated_normal(sigma: float) -> Fill:
    """A normal of standard deviation `sigma`, cut off at 2σ and drawn again, as TensorFlow's `truncated_normal`."""
    return functools.partial(init.trunc_normal_, std=sigma, a=-2 * sigma, b=2 * sigma)


def initial(choice: str, own: Fill, shape: Iterable[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """A fresh leaf parameter that requires gradients, drawn in float64 and rounded to `dtype`.

    `choice` is a key of `INITIALIZATIONS`, or "paper", which is `own`. Fan-in and fan-out are those of `torch.nn.init`:
    the second dimension times the kernel, and the first. Raises `ValueError` for an unknown choice.
    """
    fill: Fill = chosen("initialization", choice, {PAPER: own, **INITIALIZATIONS})
    weight = torch.empty(tuple(shape), dtype=torch.float64)
    fill(weight, generator=generator)
    return weight.to(dtype).requires_grad_()


def zeros(size: int, dtype: torch.dtype) -> Tensor:
    """A bias that starts at 0: a leaf that requires gradients."""
    return torch.zeros(size, dtype=dtype, requires_grad=True)


def penalty(choice: str, strength: float, params: Mapping[str, Tensor]) -> Tensor:
    """What is added to the objective: `strength` · Σ|w| ("l1"), `strength` · ½Σw² ("l2") or 0 ("none").

    The sum is over the weights; biases, the parameters of one dimension, are left alone.
    Raises `ValueError` for an unknown choice.
    """
    function = chosen("penalty", choice, PENALTIES)
    weights = [function(x) for name, x in params.items() if not name.endswith("bias")]
    return strength * torch.stack(weights).sum()

"""How parameters start."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import torch
from torch import Generator, Tensor
from torch.nn import init

Fill = Callable[..., Tensor]  # fills a tensor in place; takes `generator`


def uniform(scale: float) -> Fill:
    """U(−scale, scale)."""
    return functools.partial(init.uniform_, a=-scale, b=scale)


def truncated_normal(sigma: float) -> Fill:
    """A normal of standard deviation `sigma`, cut off at 2σ and drawn again, as TensorFlow's `truncated_normal`."""
    return functools.partial(init.trunc_normal_, std=sigma, a=-2 * sigma, b=2 * sigma)


def initial(fill: Fill, shape: Iterable[int], generator: Generator, dtype: torch.dtype) -> Tensor:
    """A fresh leaf parameter that requires gradients, drawn in float64 and rounded to `dtype`."""
    weight = torch.empty(tuple(shape), dtype=torch.float64)
    fill(weight, generator=generator)
    return weight.to(dtype).requires_grad_()


def zeros(size: int, dtype: torch.dtype) -> Tensor:
    """A bias that starts at 0: a leaf that requires gradients."""
    return torch.zeros(size, dtype=dtype, requires_grad=True)

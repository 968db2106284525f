"""Named choices of a model that tasks share: how its weights start, and the L1 penalty on them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Generator, Tensor
from torch.nn import init

from .base import chosen

Fill = Callable[..., Tensor]  # fills a tensor in place; takes `generator`

PAPER = "paper"  # the initialization that the task's source describes

#: Glorot and Bengio (2010) draw uniformly, variance 2 / (inputs + outputs); He and others (2015) from a normal,
#: variance 2 / inputs. Inputs and outputs are counted as in `torch.nn.init`: the second dimension times the kernel, and
#: the first.
INITIALIZATIONS: dict[str, Fill] = {
    "xavier": init.xavier_uniform_,
    "he": functools.partial(init.kaiming_normal_, nonlinearity="relu"),
}


def uniform(scale: float) -> Fill:
    """U(−scale, scale)."""
    return functools.partial(init.uniform_, a=-scale, b=scale)


def truncated_normal(sigma: float) -> Fill:
    """A normal of standard deviation `sigma`, cut off at 2σ and drawn again, as TensorFlow's `truncated_normal`."""
    return functools.partial(init.trunc_normal_, std=sigma, a=-2 * sigma, b=2 * sigma)


def fill_of(choice: str, own: Fill) -> Fill:
    """How weights are filled by a name of `INITIALIZATIONS`, or by "paper", which is `own`.

    Raises `ValueError`, which lists the names, for another one.
    """
    fill: Fill = chosen("initialization", choice, {PAPER: own, **INITIALIZATIONS})
    return fill


def penalty(strength: float, params: Mapping[str, Tensor]) -> Tensor | float:
    """What an L1 penalty adds to the objective: `strength` · Σ|w| over all weights; biases are left alone."""
    if not strength:
        return 0.0
    return strength * torch.stack([x.abs().sum() for name, x in params.items() if not name.endswith("bias")]).sum()


def initial(fill: Fill, shape: Iterable[int], generator: Generator, dtype: torch.dtype) -> Tensor:
    """A fresh leaf parameter that requires gradients, drawn in float64 and rounded to `dtype`."""
    weight = torch.empty(tuple(shape), dtype=torch.float64)
    fill(weight, generator=generator)
    return weight.to(dtype).requires_grad_()


def zeros(size: int, dtype: torch.dtype) -> Tensor:
    """A bias that starts at 0: a leaf that requires gradients."""
    return torch.zeros(size, dtype=dtype, requires_grad=True)

"""Two methods beside the ten that divide by a whole matrix: Newton's and full-matrix AdaGrad, in two dimensions.

They are boxes like those of `nadam_ref.paper`, for θ of shape [..., 2]. ``static/optimizers/core.js`` has the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...paper import Clock, Gradient, steps
from ...rules import Rule

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Method(Rule):
    """What is said of a method where a rule has its lines. `matrix`: its box here, and its step in the browser."""

    matrix: Literal["newton", "adagrad"] = "newton"

    @property
    def has_rate(self) -> bool:
        """Newton's method has none."""
        return self.matrix != "newton"


METHODS = {"full-matrix AdaGrad": Method(norm="sum", matrix="adagrad"), "Newton": Method(matrix="newton")}


def newton(θ: Array, grad: Gradient, *, clock: Clock = steps) -> Iterator[Array]:
    """θ − H⁻¹ g. H is exact for a gradient that is a polynomial: its imaginary part, a tiny imaginary step away."""
    tiny = 1e-20
    for t in clock():
        (a, b), (_, c) = (np.moveaxis(grad(θ + 1j * tiny * e, t).imag / tiny, -1, 0) for e in np.eye(2))
        p, q = np.moveaxis(grad(θ, t), -1, 0)
        θ = θ - np.stack([c * p - b * q, a * q - b * p], axis=-1) / (a * c - b * b)[..., None]
        yield θ


def adagrad(θ: Array, grad: Gradient, *, η: float, ε: float = 1e-8, clock: Clock = steps) -> Iterator[Array]:
    """θ − η (G^½ + ε I)⁻¹ g with G = Σ g gᵀ.

    With s² = det G and τ² = tr G + 2 s, G^½ is (G + s I) / τ; its determinant is s, its trace τ. As adj(g gᵀ) g = 0,
    adj(G) g is the same before and after a step's g gᵀ is added. From before, nothing cancels in the first step, where
    G is singular, and det G grows by gᵀ adj(G) g.
    """
    a = b = c = det = np.zeros(θ.shape[:-1])
    for t in clock():
        g = grad(θ, t)
        p, q = np.moveaxis(g, -1, 0)
        adjoint = np.stack([c * p - b * q, a * q - b * p])
        det = det + np.maximum(p * adjoint[0] + q * adjoint[1], 0)
        a, b, c = a + p * p, b + p * q, c + q * q
        s = np.sqrt(det)
        τ = np.sqrt(a + c + 2 * s)
        under = np.where(τ > 0, τ, 1) * (s + ε * τ + ε * ε)  # without a gradient there is no step
        θ = θ - η * np.moveaxis((adjoint + (s + ε * τ) * np.stack([p, q])) / under, 0, -1)
        yield θ

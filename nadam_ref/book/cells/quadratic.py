"""Gradient descent, momentum and NAG on a quadratic: how fast they shrink the distance, in closed form.

On ½λθ² everything depends on x = ηλ and μ alone. Momentum is θ_{t+1} = (1 + μ − x) θ_t − μ θ_{t−1}, and the larger root
of r² − (1 + μ − x) r + μ = 0, in absolute value, is what a step leaves of θ in the long run. NAG is the same recursion
with μ(1 − x) in place of μ (Sutskever et al. 2013, appendix). ``widgets/static/optimizers/quadratic.js`` says the same
in JavaScript, operation by operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def damping(name: str, x: ArrayLike, μ: ArrayLike) -> Array:
    """The μ with which classical momentum follows the path of `name` (GD, Momentum, NAG) at x = ηλ and μ."""
    x, μ = np.asarray(x, dtype=np.float64), np.asarray(μ, dtype=np.float64)
    damped: dict[str, Array] = {"GD": 0 * μ, "Momentum": μ + 0 * x, "NAG": μ * (1 - x)}
    return damped[name]


def discriminant(name: str, x: ArrayLike, μ: ArrayLike) -> Array:
    """Negative where the roots are complex: there θ swings around the minimum."""
    damped = damping(name, x, μ)
    b = 1 + damped - np.asarray(x)
    value: Array = b * b - 4 * damped
    return value


def factor(name: str, x: ArrayLike, μ: ArrayLike = 0.0) -> Array:
    """What a step leaves of the distance from the minimum in the long run; from 1 on the method diverges."""
    damped, d = damping(name, x, μ), discriminant(name, x, μ)
    real = (np.abs(1 + damped - np.asarray(x)) + np.sqrt(np.maximum(d, 0))) / 2
    return np.where(d < 0, np.sqrt(np.maximum(damped, 0)), real)


def limit(name: str, μ: float = 0.0) -> float:
    """The x = ηλ from which on `name` diverges."""
    return {"GD": 2.0, "Momentum": 2 * (1 + μ), "NAG": (2 + 2 * μ) / (1 + 2 * μ)}[name]


class Settings(NamedTuple):
    """A learning rate and a momentum constant, and the factor of the slowest direction with them."""

    η: float
    μ: float
    factor: float


def slowest(name: str, η: float, μ: float, curvatures: Sequence[float] | Array) -> float:
    """The factor of the direction that shrinks least."""
    return float(factor(name, η * np.asarray(curvatures), μ).max())


def best(name: str, κ: float) -> Settings:
    """The settings with the smallest factor on curvatures from 1 to κ: Polyak (1964); Lessard et al. (2016) for NAG."""
    if name == "GD":
        return Settings(2 / (κ + 1), 0.0, (κ - 1) / (κ + 1))
    if name == "Momentum":
        root = math.sqrt(κ)
        shrunk, rate = (root - 1) / (root + 1), 2 / (root + 1)
        return Settings(rate * rate, shrunk * shrunk, shrunk)  # products, which round as they do in JavaScript
    root = math.sqrt(3 * κ + 1)
    return Settings(4 / (3 * κ + 1), (root - 2) / (root + 2), 1 - 2 / root)


def tenfold(factor: float) -> float:
    """Steps to reduce the distance tenfold."""
    return float(np.log(10) / -np.log(factor))


def course(name: str, x: float, μ: float, T: int) -> Array:
    """θ_0 = 1, θ_1, …, θ_T at x = ηλ: of NAG in the look-ahead form."""
    damped = float(damping(name, x, μ))
    θ = [1.0, 1.0 - x]
    while len(θ) <= T:
        θ.append((1 + damped - x) * θ[-1] - damped * θ[-2])
    return np.array(θ[: T + 1])


def kinked(θ: Array, t: int = 0) -> Array:
    """The slope of a convex function on which momentum, at its best settings for quadratics, never arrives.

    Curvature 25 everywhere but between 1 and 2, where it is 1 (Lessard, Recht and Packard 2016).
    """
    slope: Array = np.where(θ < 1, 25 * θ, np.where(θ < 2, θ + 24, 25 * θ - 24))
    return slope


def kinked_loss(θ: Array) -> Array:
    """The function whose slope is `kinked`; 0 at its minimum."""
    loss: Array = np.where(θ < 1, 12.5 * θ**2, np.where(θ < 2, θ**2 / 2 + 24 * θ - 12, 12.5 * θ**2 - 24 * θ + 36))
    return loss

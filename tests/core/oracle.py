"""The ten optimizers in 50 digits: written from the equations in closed form, with nothing of `nadam_ref` in it.

An accumulator is not a recursion here but what the recursion sums to, over all gradients so far:

    m_t = Σ_i q_i g_i ∏_{i<j≤t} μ_j        n_t = Σ_i (1−ν) ν^{t−i} g_i²  |  max_i ν^{t−i} |g_i|

and a corrected mean is what it means, an average whose weights sum to one; so a line misread in the package is not
misread here in the same way. Vectors are NumPy arrays of mpmath numbers; a float goes in with its exact value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt

mp = mpmath.MPContext()
mp.dps = 50
Vector = Any  # an array of mpmath numbers, or one for all elements
exact = np.vectorize(mp.mpf, otypes=[object])
root = np.vectorize(mp.sqrt, otypes=[object])


@dataclass(frozen=True)
class Settings:
    """An optimizer by its class name, and its numbers under the paper's names; ψ is the schedule's, λ weight decay."""

    name: str
    η: float = 0.01
    μ: float = 0.99
    ν: float = 0.999
    ε: float = 1e-8
    ψ: float | None = None
    form: str = "mean"
    dialect: str = ""
    γ: float = 0.05
    ε_root: float = 0.0
    length: str = "own"
    corrected: bool = True
    λ: float = 0.0
    decoupled: bool = False
    maximize: bool = False
    lr_decay: float = 0.0
    n0: float = 0.0


class Decaying:
    """w_1 x_1 … w_t x_t after each has decayed to step t, joined: Σ_i w_i x_i ∏_{i<j≤t} f_j, or the largest of them.

    Each term is kept divided by ∏_{j≤i} f_j, which makes it constant in t. No factor f may be 0.
    """

    def __init__(self, join: Callable[[Vector, Vector], Vector] = operator.add) -> None:
        self.join, self.product, self.inverse, self.joined = join, mp.mpf(1), mp.mpf(1), 0

    def push(self, x: Vector, factor: mpmath.mpf, weight: mpmath.mpf = 1) -> Vector:
        """Take in x, and give what all have come to."""
        self.product, self.inverse = self.product * factor, self.inverse / factor
        self.joined = self.join(self.joined, x * (weight * self.inverse))
        return self.joined * self.product


class Mean:
    """The decaying mean Σ_i (1−f_i) x_i ∏_{i<j≤t} f_j; corrected, the average with these weights."""

    def __init__(self, corrected: bool) -> None:
        self.values, self.weights, self.corrected = Decaying(), Decaying(), corrected

    def push(self, x: Vector, factor: mpmath.mpf) -> Vector:
        value = self.values.push(x, factor, 1 - factor)
        return value / self.weights.push(1 - factor, factor) if self.corrected else value

    def rest(self, factor: mpmath.mpf) -> None:
        """A step without x: the values stay as they are, and are corrected as if there had been one."""
        self.weights.push(1 - factor, factor)


@cache
def multiplier(μ: float, ψ: float | None, t: int) -> mpmath.mpf:
    """μ_t = μ (1 − ½ · 0.96^{tψ}), or μ without a schedule."""
    return mp.mpf(μ) if ψ is None else mp.mpf(μ) * (1 - mp.power(mp.fdiv(96, 100), t * mp.mpf(ψ)) / 2)


class Numerator:
    """What takes the gradient's place in the step: g, its momentum, or its momentum looked ahead."""

    def __init__(self, s: Settings) -> None:
        self.s, self.t, self.product = s, 0, mp.mpf(1)
        self.ψ = {"keras3": 1, "constant": None, "choi": None, "interpolated": None}.get(s.dialect, s.ψ)
        self.sum = Decaying()
        self.mean = Mean(corrected=s.corrected and s.name in ("Momentum", "Adam", "AdaMax"))

    def tick(self) -> tuple[mpmath.mpf, mpmath.mpf, mpmath.mpf]:
        """Count a step; μ_t, μ_{t+1}, and the factor by which m decays where it is a mean."""
        s = self.s
        self.t += 1
        here, ahead = (multiplier(s.μ, self.ψ, t) for t in (self.t, self.t + 1))
        self.product = self.product * here  # ∏_{i≤t} μ_i
        # The report's Nadam decays by the constant μ whatever the schedule; ICLR's, and every other mean, by μ_t.
        return here, ahead, mp.mpf(s.μ) if s.dialect in ("cs229", "keras3") else here

    def rest(self) -> None:
        """A step in which there is no gradient: only the clock goes on."""
        self.mean.rest(self.tick()[2])

    def __call__(self, g: Vector) -> Vector:
        s = self.s
        here, ahead, decay = self.tick()
        if s.name in ("GD", "AdaGrad", "RMSProp", "MaxProp"):
            return g
        if s.name in ("Momentum", "NAG") and s.form == "sum":
            m = self.sum.push(g, here)
            return m if s.name == "Momentum" else m * ahead + g
        m = self.mean.push(g, decay)
        if s.name in ("Momentum", "Adam", "AdaMax"):
            return m
        if s.dialect == "interpolated":
            γ = mp.mpf(s.γ)
            return m * ((1 - γ) / (1 - self.product if s.corrected else 1)) + g * γ
        if not s.corrected:
            return m * ahead + g * (1 - here)
        beyond = self.product if s.dialect == "choi" else self.product * ahead
        return m * (ahead / (1 - beyond)) + g * ((1 - here) / (1 - self.product))


class Denominator:
    """What the step is divided by: 1, or a norm of the gradients so far, plus ε."""

    def __init__(self, s: Settings) -> None:
        self.s, self.mean, self.max, self.sum = s, Mean(s.corrected), Decaying(np.maximum), mp.mpf(s.n0)

    def __call__(self, g: Vector) -> Vector:
        s = self.s
        if s.name in ("GD", "Momentum", "NAG"):
            return mp.mpf(1)
        if s.name in ("MaxProp", "AdaMax", "NadaMax"):
            return self.max.push(np.abs(g), mp.mpf(s.ν)) + mp.mpf(s.ε)
        if s.name == "AdaGrad":
            self.sum = self.sum + g * g
            return root(self.sum + mp.mpf(s.ε_root)) + mp.mpf(s.ε)
        return root(self.mean.push(g * g, mp.mpf(s.ν)) + mp.mpf(s.ε_root)) + mp.mpf(s.ε)

    def rest(self) -> None:
        """A step in which there is no gradient: n stays, and its correction goes on."""
        self.mean.rest(mp.mpf(self.s.ν))


class Length:
    """What the step is multiplied by: the length that is wanted over its own, both from a run on the gradient 1."""

    def __init__(self, s: Settings) -> None:
        self.s, self.own = s, Numerator(s)
        self.wanted = Numerator(replace(s, name="Nadam", dialect="cs229", ψ=self.own.ψ))

    def __call__(self) -> mpmath.mpf:
        if self.s.length == "own":
            return mp.mpf(1)
        own, wanted = self.own(mp.mpf(1)), self.wanted(mp.mpf(1))
        return (wanted if self.s.length == "report" else 1) / own


def trajectory(
    s: Settings, start: npt.NDArray[np.float64], gradient: Callable[[Vector, int], Vector], steps: int
) -> npt.NDArray[np.float64]:
    """θ_0 … θ_T, each entry rounded once to float64; `gradient(θ, t)` gets exact numbers and returns such.

    It returns None for a row that does not occur, under a count that goes on.
    """
    θ = exact(start)
    numerator, denominator, length = Numerator(s), Denominator(s), Length(s)
    path = [start]
    for t in range(1, steps + 1):
        factor, g = length(), gradient(θ, t)
        if g is None:
            numerator.rest()
            denominator.rest()
            path.append(path[-1])
            continue
        g = -g if s.maximize else g
        η = mp.mpf(s.η) / (1 + (t - 1) * mp.mpf(s.lr_decay))
        decayed = θ * (1 - η * mp.mpf(s.λ)) if s.decoupled else θ
        g = g if s.decoupled else g + θ * mp.mpf(s.λ)
        θ = decayed - numerator(g) * (factor * η) / denominator(g)
        path.append(θ.astype(np.float64))
    return np.stack(path)

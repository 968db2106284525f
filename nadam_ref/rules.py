"""What each optimizer is (`Rule`) and the six numbers that drive it at step t (`scalars`): no tensors in this file.

Every optimizer of the paper is one elementwise update,

    m ← μ m + q g                       q = 1 (decaying sum) or 1 − μ (decaying mean)
    n ← n + g²  |  ν n + (1−ν) g²  |  max(ν n, |g|)
    θ ← θ − η (a m + c g) / (d root(n) + ε)

with root = √ for the L2 norms, the identity for the max norm, and no denominator without a norm. For an L2 norm a
number may be added under the root as well, √(d² n + ε_root). A `Rule` says which of these lines there are. The momentum
schedule, the bias corrections and the differences between published Nadams live in the six numbers μ, ν, a, c, d, η
alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

__all__ = ["DIALECTS", "LENGTHS", "RULES", "Dialect", "Rule", "Scalars", "scalars", "schedule"]

#: A float, or anything that takes a float's operators: a tensor, an array.
Real = Any


@dataclass(frozen=True)
class Rule:
    """Which lines of the one update an optimizer has.

    `momentum`: none, a decaying ``sum`` (m ← μ m + g) or a decaying ``mean`` (m ← μ m + (1−μ) g).
    `norm`: none, the ``sum`` of g² (AdaGrad), its decaying mean ``rms``, or the decaying ``max`` of |g|.
    `nesterov`: the step looks ahead, a m + c g in place of a m.
    `eps_root`: a number is added under the root of an L2 norm.
    """

    momentum: Literal["none", "sum", "mean"] = "none"
    norm: Literal["none", "sum", "rms", "max"] = "none"
    nesterov: bool = False
    eps_root: bool = False


#: The ten of the paper, in the book's order, by class name.
RULES: dict[str, Rule] = {
    "GD": Rule(),
    "Momentum": Rule("sum"),
    "NAG": Rule("sum", nesterov=True),
    "AdaGrad": Rule(norm="sum"),
    "RMSProp": Rule(norm="rms"),
    "MaxProp": Rule(norm="max"),
    "Adam": Rule("mean", "rms"),
    "AdaMax": Rule("mean", "max"),
    "Nadam": Rule("mean", "rms", nesterov=True),
    "NadaMax": Rule("mean", "max", nesterov=True),
}


@dataclass(frozen=True)
class Dialect:
    """Where two published Nadams differ. All else they share.

    `summary`: what it computes; `users`: whose it is; `label`: both in a few words.
    `scheduled_recursion`: m decays by μ_t (as printed at ICLR) or by the constant μ (as printed in the report).
    `corrects_ahead`: the term in m is divided by 1 − ∏_{i≤t+1} μ_i, as printed, or by 1 − ∏_{i≤t} μ_i.
    `free_schedule`: the user chooses ψ; otherwise the dialect fixes it at `momentum_decay` (None: no schedule).
    `interpolation`: the usual γ of (1−γ) m̂ + γ g, with m̂ = m / (1 − μᵗ), which takes the place of the look-ahead; None
    where there is no such γ.
    """

    summary: str
    users: str
    label: str
    scheduled_recursion: bool = False
    corrects_ahead: bool = True
    free_schedule: bool = False
    momentum_decay: float | None = None
    interpolation: float | None = None


#: ψ of the report's schedule.
MOMENTUM_DECAY = 0.004

#: The five Nadams that are shipped or printed under one name, and the author's later test of what makes them good.
DIALECTS: dict[str, Dialect] = {
    "cs229": Dialect(
        "the 2015 report's Algorithm 8",
        "torch.optim.NAdam",
        "the report; torch",
        free_schedule=True,
        momentum_decay=MOMENTUM_DECAY,
    ),
    "iclr": Dialect(
        "the 2016 workshop paper's Algorithm 2 with the report's schedule",
        "no library",
        "ICLR",
        scheduled_recursion=True,
        free_schedule=True,
        momentum_decay=MOMENTUM_DECAY,
    ),
    "constant": Dialect("the workshop paper's Algorithm 2 without a schedule", "Optax", "optax: no schedule"),
    "keras3": Dialect("the report's schedule 250 times as fast", "Keras since 2.11", "Keras 3", momentum_decay=1.0),
    "choi": Dialect(
        "no schedule, both terms corrected alike", "timm's NAdamW, AlgoPerf", "Choi; timm", corrects_ahead=False
    ),
    "interpolated": Dialect(
        "gradient and momentum interpolated in place of the look-ahead",
        "the author's later test, Radam",
        "interpolated (a test)",
        interpolation=0.05,
    ),
}

#: How long a step is on a constant gradient: as the rule has it, 1, or as the report's Nadam has it.
Length = Literal["own", "unit", "report"]
LENGTHS = get_args(Length)


class Scalars(NamedTuple):
    """The six numbers of one step; each a float, or a tensor where a hyperparameter or the step is one."""

    mu: Real
    nu: Real
    a: Real
    c: Real
    d: Real
    lr: Real


def schedule(mu: Real, t: Real, momentum_decay: float | None) -> Real:
    """μ_t = μ (1 − ½ · 0.96^{tψ}), the report's warm-up of the momentum; μ itself where ψ is None.

    ψ = `momentum_decay` = 1/250 in the report. ψ = 0 is not "no schedule": it gives μ/2 at every step, as in torch.
    """
    if momentum_decay is None:
        return mu
    factor: Real = 1 - 0.5 * 0.96 ** (t * momentum_decay)
    return mu * factor


def one_minus_power(x: Real, t: Real) -> Real:
    """1 − xᵗ to full precision; the subtraction itself loses digits where x is near 1, five of them at 0.999999."""
    exponent = t * (x.log() if hasattr(x, "log") else math.log(x) if x else -math.inf)
    return -(math.expm1(exponent) if isinstance(exponent, float) else exponent.expm1())


def scalars(
    rule: Rule,
    t: Real,
    product: Real = 1.0,
    *,
    lr: Real,
    mu: Real = 0.0,
    nu: Real = 0.0,
    momentum_decay: float | None = None,
    bias_correction: bool = False,
    dialect: str = "cs229",
    gamma: Real | None = None,
    length: str = "own",
    lr_decay: float = 0.0,
) -> tuple[Scalars, Real]:
    """The six numbers of step t = 1, 2, …, and the product ∏_{i≤t} μ_i.

    `product` is ∏_{i<t} μ_i, which the step before returned; it is read only where there is a schedule, since without
    one it is a power of μ. `lr_decay` is AdaGrad's: η / (1 + (t−1) · lr_decay). `dialect` matters to Nadam and NadaMax;
    every other rule with a schedule decays m by μ_t. `gamma` is γ where the dialect interpolates, None: its usual one.
    `length` is one of `LENGTHS`; the others than "own" are for corrected means.
    """
    corrected = rule.norm == "rms" and bias_correction
    d = one_minus_power(nu, t) ** -0.5 if corrected else 1.0
    rate = lr / (1 + (t - 1) * lr_decay)
    if rule.momentum == "none":
        return Scalars(mu, nu, 0.0, 1.0, d, rate), product

    kind = DIALECTS[dialect]
    # NAG has no dialects.
    constant_recursion = rule.nesterov and rule.norm != "none" and not kind.scheduled_recursion
    mu_t = schedule(mu, t, momentum_decay)
    mu_next = schedule(mu, t + 1, momentum_decay)
    if momentum_decay is None:
        here, rest = mu**t, one_minus_power(mu, t)
    else:
        here = product * mu_t
        rest = 1 - here
    rest_ahead = rest + here * (1 - mu_next) if kind.corrects_ahead else rest

    recursion, a, c = mu_t, 1.0, 0.0
    if rule.momentum == "sum" and rule.nesterov:
        a, c = mu_next, 1.0
    elif rule.nesterov and kind.interpolation is not None:
        c = kind.interpolation if gamma is None else gamma
        a = 1 - c
        if bias_correction:
            a = a / rest
    elif rule.nesterov:
        recursion = mu if constant_recursion else mu_t
        a, c = mu_next, 1 - mu_t
        if bias_correction:
            a, c = a / rest_ahead, c / rest
    elif rule.momentum == "mean" and bias_correction:
        a = 1 / rest

    if length != "own":
        # A constant gradient 1 gives m = 1 − μᵗ where μ is constant in the recursion, and 1 − ∏ μ_i where it is not.
        constant = one_minus_power(mu, t)
        wanted = 1.0
        if length == "report":
            wanted = mu_next / (rest + here * (1 - mu_next)) * constant + (1 - mu_t) / rest
        factor = wanted / (a * (constant if constant_recursion else rest) + c)
        a, c = a * factor, c * factor

    return Scalars(recursion, nu, a, c, d, rate), here

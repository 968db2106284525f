"""Every optimizer in every form: the one list that all tests of the core take their optimizers from.

A variant has the box of the paper that says what it must do, where there is one, and can be told to the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
import oracle
import pytest
import torch
from numpy.typing import NDArray

from nadam_ref import OPTIMIZERS, PaperOptimizer, paper

Array = NDArray[np.float64]
Keywords = dict[str, Any]

#: The numbers of a variant where it does not give its own, under the paper's names.
COMMON = {"η": 0.01, "μ": 0.95, "ν": 0.98, "ε": 1e-6}


def numbers(name: str, η: float, μ: float, ν: float, ε: float) -> Keywords:
    """The numbers as the class takes them."""
    rule = OPTIMIZERS[name].rule
    keywords: Keywords = {"lr": η} if rule.norm == "none" else {"lr": η, "eps": ε}
    if rule.momentum == "mean":
        return {**keywords, "betas": (μ, ν)}
    if rule.momentum == "sum":
        keywords["momentum"] = μ
    if rule.norm in ("rms", "max"):
        keywords["alpha"] = ν
    return keywords


#: Keywords in the oracle's notation, and what the oracle has to be told of a class.
NOTATION = {
    "momentum_decay": "ψ",
    "bias_correction": "corrected",
    "weight_decay": "λ",
    "decoupled_weight_decay": "decoupled",
    "initial_accumulator_value": "n0",
    "eps_root": "ε_root",
    "gamma": "γ",
    "momentum": "μ",
    "alpha": "ν",
    "lr": "η",
}
DEFAULTS: dict[str, Keywords] = {
    "Momentum": {"form": "sum"},
    "NAG": {"form": "sum"},
    "RMSProp": {"corrected": False},
    "Nadam": {"dialect": "cs229", "ψ": 0.004},
    "NadaMax": {"dialect": "cs229", "ψ": 0.004},
}


@dataclass(frozen=True)
class Variant:
    """An optimizer class with keywords, and the box with the same numbers under the paper's names."""

    name: str
    keywords: Keywords = field(default_factory=dict)
    box: Any = None

    @property
    def id(self) -> str:
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.keywords.items())])

    @property
    def uses(self) -> dict[str, float]:
        """Those of the common numbers that its box takes."""
        rule = OPTIMIZERS[self.name].rule
        has = {"μ": rule.momentum != "none", "ν": rule.norm in ("rms", "max"), "ε": rule.norm != "none"}
        return {name: x for name, x in COMMON.items() if has.get(name, True)}

    def optimizer(self, params: Any, **more: Any) -> PaperOptimizer:
        make: Any = OPTIMIZERS[self.name]
        made: PaperOptimizer = make(params, **{**numbers(self.name, **COMMON), **self.keywords, **more})
        return made

    def path(self, start: Array, grad: Callable[[Array, int], Array], T: int) -> Array:
        return paper.path(self.box, start, grad, T, **self.uses)

    def settings(self, **given: Any) -> oracle.Settings:
        """For the oracle; `given` are numbers under the paper's names."""
        told = {NOTATION.get(k, k): v for k, v in self.keywords.items()}
        return oracle.Settings(self.name, **{**given, **DEFAULTS.get(self.name, {}), **told})


def rooted(n: Array, g: Array, ν: float, t: int, *, ε_root: float) -> tuple[Array, Array]:
    """Adam's norm with a number under the root."""
    n = ν * n + (1 - ν) * g**2
    return n, np.sqrt(n / (1 - ν**t) + ε_root)


@cache
def lengths(box: Any, μ: float) -> Array:
    """The steps 1 … 400 of a box on the constant gradient 1, in units of η."""
    path = paper.path(box, 0.0, lambda θ, t: np.ones(()), 400, η=1.0, μ=μ, ε=0.0)
    return -np.diff(path)


def of_length(θ: Array, grad: Callable[[Array, int], Array], *, of: Any, like: Any = None, **settings: Any) -> Any:
    """The box `of` with steps of length 1 on a constant gradient, or of the length of those of the box `like`."""
    t, before = 0, θ

    def seen(_: Array, now: int) -> Array:
        nonlocal t
        t = now
        return grad(θ, t)

    for after in of(θ, seen, **settings):
        wanted = lengths(like, settings["μ"])[t - 1] if like else 1
        θ = θ + (after - before) * (wanted / lengths(of, settings["μ"])[t - 1])
        before = after
        yield θ


ψ = 0.004
sched = {"momentum_decay": ψ}
max_norm = {"norm": paper.max_norm}
#: Those that the paper has a box for. The first of a class is as its signature has it.
WITH_BOX = [
    Variant("GD", {}, paper.gradient_descent),
    Variant("Momentum", {}, paper.momentum),
    Variant("Momentum", sched, partial(paper.momentum, ψ=ψ)),
    Variant("Momentum", {"form": "mean"}, paper.momentum_mean),
    Variant("Momentum", {"form": "mean", **sched}, partial(paper.momentum_mean, ψ=ψ)),
    Variant("Momentum", {"form": "mean", "bias_correction": False}, partial(paper.momentum_mean, corrected=False)),
    Variant("NAG", {}, paper.nag),
    Variant("NAG", sched, partial(paper.nag, ψ=ψ)),
    Variant("NAG", {"form": "mean"}, paper.nag_mean),
    Variant("NAG", {"form": "mean", **sched}, partial(paper.nag_mean, ψ=ψ)),
    Variant("NAG", {"form": "mean", "bias_correction": False}, partial(paper.nag_mean, corrected=False)),
    Variant("AdaGrad", {}, paper.adagrad),
    Variant("RMSProp", {}, paper.rmsprop),
    Variant("RMSProp", {"bias_correction": True}, partial(paper.rmsprop, corrected=True)),
    Variant("MaxProp", {}, paper.maxprop),
    Variant("Adam", {}, paper.adam),
    Variant("Adam", sched, partial(paper.adam, ψ=ψ)),
    Variant("Adam", {"bias_correction": False}, partial(paper.adam, corrected=False)),
    Variant("AdaMax", {}, paper.adamax),
    Variant("AdaMax", sched, partial(paper.adamax, ψ=ψ)),
    Variant("AdaMax", {"bias_correction": False}, partial(paper.adamax, corrected=False)),
    Variant("Nadam", {}, paper.nadam),
    Variant("Nadam", {"momentum_decay": 0.1}, partial(paper.nadam, ψ=0.1)),
    Variant("Nadam", {"momentum_decay": 0.0}, partial(paper.nadam, ψ=0.0)),
    Variant("Nadam", {"momentum_decay": None}, partial(paper.nadam, ψ=None)),
    Variant("Nadam", {"dialect": "iclr"}, paper.nadam_iclr),
    Variant("Nadam", {"dialect": "constant"}, paper.nadam_constant),
    Variant("Nadam", {"dialect": "keras3"}, paper.nadam_keras3),
    Variant("Nadam", {"dialect": "choi"}, paper.nadam_choi),
    Variant("Nadam", {"dialect": "interpolated"}, paper.nadam_interpolated),
    Variant("NadaMax", {}, paper.nadamax),
    Variant("NadaMax", {"dialect": "iclr"}, partial(paper.nadam_iclr, **max_norm)),
    Variant("NadaMax", {"dialect": "constant"}, partial(paper.nadam_constant, **max_norm)),
    Variant("NadaMax", {"dialect": "keras3"}, partial(paper.nadam_keras3, **max_norm)),
    Variant("NadaMax", {"dialect": "choi"}, partial(paper.nadam_choi, **max_norm)),
    Variant("NadaMax", {"dialect": "interpolated"}, partial(paper.nadam_interpolated, **max_norm)),
    Variant(
        "Nadam", {"dialect": "iclr", "eps_root": 1e-3}, partial(paper.nadam_iclr, norm=partial(rooted, ε_root=1e-3))
    ),
    Variant("Nadam", {"dialect": "interpolated", "gamma": 0.5}, partial(paper.nadam_interpolated, γ=0.5)),
    Variant("Nadam", {"length": "unit"}, partial(of_length, of=paper.nadam)),
    Variant("Adam", {**sched, "length": "report"}, partial(of_length, of=partial(paper.adam, ψ=ψ), like=paper.nadam)),
    Variant(
        "NadaMax",
        {"dialect": "keras3", "length": "report"},
        partial(of_length, of=partial(paper.nadam_keras3, **max_norm), like=partial(paper.nadam, ψ=1.0)),
    ),
]
decayed = {"weight_decay": 0.1}
#: Keywords that no box has.
WITHOUT_BOX = [
    Variant("Momentum", {"momentum": 0.5}),
    Variant("Momentum", {"form": "mean", **sched, **decayed}),
    Variant("NAG", {"momentum": 0.5}),
    Variant("NAG", {"form": "mean", **sched, **decayed}),
    Variant("AdaGrad", {"initial_accumulator_value": 0.1, **decayed}),
    Variant("AdaGrad", {"lr": 0.1, "lr_decay": 0.5, **decayed}),
    Variant("AdaGrad", {"eps_root": 1e-3}),
    Variant("RMSProp", {"bias_correction": True, **decayed}),
    Variant("RMSProp", {"eps_root": 1e-3}),
    Variant("MaxProp", {"alpha": 0.9}),
    Variant("Adam", {"eps_root": 1e-3}),
    Variant("AdaMax", {"length": "report", "momentum_decay": 6e-3}),
    Variant("Nadam", {"bias_correction": False}),
    Variant("Nadam", {"dialect": "iclr", **decayed}),
    Variant("Nadam", {"dialect": "interpolated", "gamma": 0.5, **decayed}),
    Variant("Nadam", {"eps_root": 1e-3}),
    Variant("NadaMax", {"bias_correction": False}),
    Variant("NadaMax", {"momentum_decay": None}),
    Variant("NadaMax", {"dialect": "interpolated", "gamma": 0.5, **decayed}),
    Variant("NadaMax", {"length": "unit"}),
]
VARIANTS = [*WITH_BOX, *WITHOUT_BOX]
TEN = [next(variant for variant in VARIANTS if variant.name == name) for name in OPTIMIZERS]


def by_id(variants: list[Variant]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("variant", variants, ids=lambda variant: variant.id)


every_variant_with_box = by_id(WITH_BOX)
ten = by_id(TEN)

#: The flags that choose how a step is computed; the result must not depend on them. The first is the ground truth.
PATHS: dict[str, Keywords] = {
    "for-loop": {"foreach": False},
    "default": {},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "capturable": {"capturable": True, "foreach": False},
    "capturable foreach": {"capturable": True, "foreach": True},
    "differentiable": {"differentiable": True},
}
#: Paths, and the rate in a tensor, that are followed over many steps.
FOLLOWED = ("for-loop", "foreach", "fused", "capturable", "tensor rate")
every_followed_path = pytest.mark.parametrize("path", FOLLOWED)


def flags(path: str, η: float = COMMON["η"]) -> Keywords:
    return {"lr": torch.tensor(η, dtype=torch.float64)} if path == "tensor rate" else PATHS[path]

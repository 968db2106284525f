"""Every optimizer in every form, beside the box of the paper that says what it must do: shared by several tests."""

from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np

import nadam_ref
from nadam_ref import paper

COMMON = {"η": 0.01, "ν": 0.98, "μ": 0.95, "ε": 1e-6}


@dataclass(frozen=True)
class Arm:
    """An optimizer class with keywords, and the box with the same numbers under the paper's names."""

    name: str
    keywords: dict[str, Any] = field(default_factory=dict)
    box: Any = None
    uses: str = "ημνε"

    @property
    def id(self):
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.keywords.items())])

    def optimizer(self, params, **more):
        numbers = {"lr": COMMON["η"], "eps": COMMON["ε"]}
        if self.name in ("Momentum", "NAG"):
            numbers = {"lr": COMMON["η"], "momentum": COMMON["μ"]}
        elif self.name == "GD":
            numbers = {"lr": COMMON["η"]}
        elif self.name in ("RMSProp", "MaxProp"):
            numbers["alpha"] = COMMON["ν"]
        elif self.name != "AdaGrad":
            numbers["betas"] = (COMMON["μ"], COMMON["ν"])
        return getattr(nadam_ref, self.name)(params, **{**numbers, **self.keywords, **more})

    def path(self, start, grad, T):
        return paper.path(self.box, start, grad, T, **{k: COMMON[k] for k in self.uses})


def rooted(n, g, ν, t, *, ε_root):
    """Adam's norm with a number under the root."""
    n = ν * n + (1 - ν) * g**2
    return n, np.sqrt(n / (1 - ν**t) + ε_root)


@cache
def lengths(box, μ):
    """The steps 1 … 400 of a box on the constant gradient 1, in units of η."""
    path = paper.path(box, 0.0, lambda θ, t: np.ones(()), 400, η=1.0, μ=μ, ε=0.0)
    return -np.diff(path)


def of_length(θ, grad, *, of, like=None, **settings):
    """The box `of` with steps of length 1 on a constant gradient, or of the length of those of the box `like`."""
    t, before = 0, θ

    def seen(_, now):
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
ARMS = [
    Arm("GD", {}, paper.gradient_descent, "η"),
    Arm("Momentum", {}, paper.momentum, "ημ"),
    Arm("Momentum", sched, partial(paper.momentum, ψ=ψ), "ημ"),
    Arm("Momentum", {"form": "mean"}, paper.momentum_mean, "ημ"),
    Arm("Momentum", {"form": "mean", **sched}, partial(paper.momentum_mean, ψ=ψ), "ημ"),
    Arm("Momentum", {"form": "mean", "bias_correction": False}, partial(paper.momentum_mean, corrected=False), "ημ"),
    Arm("NAG", {}, paper.nag, "ημ"),
    Arm("NAG", sched, partial(paper.nag, ψ=ψ), "ημ"),
    Arm("NAG", {"form": "mean"}, paper.nag_mean, "ημ"),
    Arm("NAG", {"form": "mean", **sched}, partial(paper.nag_mean, ψ=ψ), "ημ"),
    Arm("NAG", {"form": "mean", "bias_correction": False}, partial(paper.nag_mean, corrected=False), "ημ"),
    Arm("AdaGrad", {}, paper.adagrad, "ηε"),
    Arm("RMSProp", {}, paper.rmsprop, "ηνε"),
    Arm("RMSProp", {"bias_correction": True}, partial(paper.rmsprop, corrected=True), "ηνε"),
    Arm("MaxProp", {}, paper.maxprop, "ηνε"),
    Arm("Adam", {}, paper.adam),
    Arm("Adam", sched, partial(paper.adam, ψ=ψ)),
    Arm("Adam", {"bias_correction": False}, partial(paper.adam, corrected=False)),
    Arm("AdaMax", {}, paper.adamax),
    Arm("AdaMax", sched, partial(paper.adamax, ψ=ψ)),
    Arm("AdaMax", {"bias_correction": False}, partial(paper.adamax, corrected=False)),
    Arm("Nadam", {}, paper.nadam),
    Arm("Nadam", {"momentum_decay": 0.1}, partial(paper.nadam, ψ=0.1)),
    Arm("Nadam", {"momentum_decay": 0.0}, partial(paper.nadam, ψ=0.0)),
    Arm("Nadam", {"momentum_decay": None}, partial(paper.nadam, ψ=None)),
    Arm("Nadam", {"dialect": "iclr"}, paper.nadam_iclr),
    Arm("Nadam", {"dialect": "constant"}, paper.nadam_constant),
    Arm("Nadam", {"dialect": "keras3"}, paper.nadam_keras3),
    Arm("Nadam", {"dialect": "choi"}, paper.nadam_choi),
    Arm("Nadam", {"dialect": "interpolated"}, paper.nadam_interpolated),
    Arm("NadaMax", {}, paper.nadamax),
    Arm("NadaMax", {"dialect": "iclr"}, partial(paper.nadam_iclr, norm=paper.max_norm)),
    Arm("NadaMax", {"dialect": "constant"}, partial(paper.nadam_constant, norm=paper.max_norm)),
    Arm("NadaMax", {"dialect": "keras3"}, partial(paper.nadam_keras3, norm=paper.max_norm)),
    Arm("NadaMax", {"dialect": "choi"}, partial(paper.nadam_choi, norm=paper.max_norm)),
    Arm("NadaMax", {"dialect": "interpolated"}, partial(paper.nadam_interpolated, norm=paper.max_norm)),
    Arm("Nadam", {"dialect": "iclr", "eps_root": 1e-3}, partial(paper.nadam_iclr, norm=partial(rooted, ε_root=1e-3))),
    Arm("Nadam", {"dialect": "interpolated", "gamma": 0.5}, partial(paper.nadam_interpolated, γ=0.5)),
    Arm("Nadam", {"length": "unit"}, partial(of_length, of=paper.nadam)),
    Arm("Adam", {**sched, "length": "report"}, partial(of_length, of=partial(paper.adam, ψ=ψ), like=paper.nadam)),
    Arm(
        "NadaMax",
        {"dialect": "keras3", "length": "report"},
        partial(of_length, of=partial(paper.nadam_keras3, norm=paper.max_norm), like=partial(paper.nadam, ψ=1.0)),
    ),
]
#: The flags that choose how a step is computed; the result must not depend on them.
PATHS = {
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "capturable": {"capturable": True},
    "tensor-lr": {"lr": "tensor"},
}

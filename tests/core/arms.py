"""Every optimizer in every form, beside the box of the paper that says what it must do: shared by several tests."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

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
]
#: The flags that choose how a step is computed; the result must not depend on them.
PATHS = {
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "capturable": {"capturable": True},
    "tensor-lr": {"lr": "tensor"},
}

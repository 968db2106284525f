"""The optimizers that a run may name, and their arguments: the package's, Muon, and the methods of second order."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

import nadam_ref

from ...checks import momentum_decay, renamed
from ...errors import NadamRefError
from ...rules import DIALECTS
from ..second_order.methods import SECOND_ORDER
from ..tasks import Params, Task, chosen
from .spec import RunSpec

OPTIMIZER_VERSION = 1  # raised when an update's arithmetic changes, so that its old records are not taken for new ones

# how an update is executed, not what it computes
EXECUTION = {"foreach", "fused", "capturable", "differentiable"}

# keywords that came later: at their default they are left out, so that runs keep their names
LATER = {"eps_root", "gamma", "length", "row_counts"}


class MuonError(NadamRefError):
    """Muon cannot be run: torch is too old, or the task has no matrices for it."""


class Muon:
    """torch.optim.Muon for the matrices of hidden layers, `nadam_ref.Adam` with decoupled decay for all else.

    As Muon's authors advise (Jordan and others, 2024). One rate and one decay serve both: Muon's step on a matrix is
    given the size that Adam's usually has, .2 for each element in the root mean square (`match_rms_adamw`; Liu and
    others, 2025). Everything that is not named here is as torch has it: five Newton–Schulz steps in bfloat16.

    `params`: the matrices, and all other parameters. `momentum`: μ of the matrices, .95 as in torch, and
    `nesterov` whether their step looks ahead. `betas` and `eps`: those of Adam.

    Raises `MuonError` where torch has no Muon, and where there are no matrices.
    """

    def __init__(
        self,
        params: tuple[Sequence[Tensor], Sequence[Tensor]],
        lr: float = 1e-3,
        momentum: float = 0.95,
        *,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        matrices, others = params
        if not hasattr(torch.optim, "Muon"):
            raise MuonError(f"torch {torch.__version__} has no Muon; torch 2.9 and later have")
        if not matrices:
            raise MuonError("Muon is for the matrices of hidden layers, and this task names none")
        common: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        muon: Any = torch.optim.Muon
        self.parts = {
            "Muon": muon(matrices, momentum=momentum, nesterov=nesterov, adjust_lr_fn="match_rms_adamw", **common),
            "Adam": nadam_ref.Adam(others, betas=betas, eps=eps, decoupled_weight_decay=True, **common),
        }

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of both."""
        return [group for part in self.parts.values() for group in part.param_groups]

    def step(self) -> None:
        """One update of all parameters."""
        for part in self.parts.values():
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        for name, part in self.parts.items():
            part.load_state_dict(saved[name])


def known() -> dict[str, Any]:
    """Optimizers by the name that a run has for them."""
    return {**nadam_ref.OPTIMIZERS, "Muon": Muon, **SECOND_ORDER}


def hyperparameters(optimizer: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument that enters the optimizer's arithmetic: those given, the rest at their defaults.

    Those of `LATER` are left out where they are at their default, given or not.

    Raises `ValueError` for an unknown optimizer or argument.
    """
    signature = inspect.signature(chosen("optimizer", optimizer, known()))
    try:
        bound = signature.bind(None, **given)
    except TypeError as error:
        raise ValueError(f"{optimizer}: {error}") from error
    bound.apply_defaults()
    if (dialect := renamed(bound.arguments).get("dialect")) in DIALECTS:
        bound.arguments["momentum_decay"] = momentum_decay(dialect, bound.arguments["momentum_decay"])
    _, *rest = bound.arguments.items()
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    return {
        name: value for name, value in rest if name not in EXECUTION and not (name in LATER and value == defaults[name])
    }


def build(spec: RunSpec, task: Task, params: Params) -> Any:
    """The optimizer of a run, for its parameters."""
    make: Any = known()[spec.optimizer]
    if make is Muon:
        hidden = task.hidden(params)
        others = [x for name, x in params.items() if name not in hidden]
        return Muon(([params[name] for name in hidden], others), **spec.hyperparameters)
    fused = spec.row_lazy and spec.device == "cpu"  # the same bits, in less time
    return make(list(params.values()), **renamed(spec.hyperparameters), fused=fused)

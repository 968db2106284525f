"""The optimizers that a run may name: the package's, torch's Muon, and the methods of second order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

import nadam_ref

from ...checks import renamed
from ...errors import NadamRefError
from ..second_order.methods import SECOND_ORDER
from ..tasks import Params, Task
from .spec import RunSpec


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


def build(spec: RunSpec, task: Task, params: Params) -> Any:
    """The optimizer of a run, for its parameters."""
    make: Any = known()[spec.optimizer]
    if make is Muon:
        hidden = task.hidden(params)
        others = [x for name, x in params.items() if name not in hidden]
        return Muon(([params[name] for name in hidden], others), **spec.hyperparameters)
    fused = spec.row_lazy and spec.device == "cpu"  # the same bits, in less time
    return make(list(params.values()), **renamed(spec.hyperparameters), fused=fused)

"""The ten optimizers in the words of torch's own test-suite: an `OptimizerInfo` for each, with its configurations.

`INFOS` fits wherever torch's suite takes its `optim_db`. As torch asks, a configuration names none of the flags that
choose how a step is computed (foreach, fused, differentiable): each test sets those itself.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, LinearLR, ReduceLROnPlateau, StepLR
from torch.testing._internal.common_optimizers import (
    ErrorOptimizerInput,
    OptimizerInfo,
    OptimizerInput,
    get_error_inputs_for_all_optims,
)
from variants import PATHS, VARIANTS, Keywords

from nadam_ref import OPTIMIZERS, PaperOptimizer

__all__ = [
    "CONFIGURATIONS",
    "INFOS",
    "NAMED",
    "gradients",
    "make",
    "parameters",
    "run",
    "same",
    "take_step",
]

#: Whether torch's optimizers take parameters with names.
NAMED = torch.__version__ >= (2, 6)

#: What every optimizer takes: torch's "global-friendly" keywords.
EVERYWHERE: dict[str, Keywords] = {
    "defaults": {},
    "lr": {"lr": 0.01},
    "weight decay": {"weight_decay": 0.1},
    "decoupled weight decay": {"weight_decay": 0.1, "decoupled_weight_decay": True},
    "maximize": {"maximize": True},
    "maximize, weight decay": {"maximize": True, "weight_decay": 0.1},
    "maximize, decoupled weight decay": {"maximize": True, "weight_decay": 0.1, "decoupled_weight_decay": True},
}
#: Hyperparameters out of range, and the error text that torch has for them.
BETAS = {
    "Invalid beta parameter at index 0: 1.0": {"betas": (1.0, 0.0)},
    "Invalid beta parameter at index 1: 1.0": {"betas": (0.0, 1.0)},
}
OUT_OF_RANGE: dict[str, dict[str, Keywords]] = {
    "GD": {},
    "Momentum": {"Invalid momentum value: -0.5": {"momentum": -0.5}},
    "NAG": {"Invalid momentum value: -0.5": {"momentum": -0.5}},
    "AdaGrad": {
        "Invalid lr_decay value: -0.5": {"lr_decay": -0.5},
        "Invalid initial_accumulator_value value: -1.0": {"initial_accumulator_value": -1.0},
        "Invalid eps_root value: -1.0": {"eps_root": -1.0},
    },
    "RMSProp": {"Invalid alpha value: -1.0": {"alpha": -1.0}},
    "MaxProp": {"Invalid alpha value: -1.0": {"alpha": -1.0}},
    "Adam": BETAS,
    "AdaMax": BETAS,
    "Nadam": {**BETAS, "Invalid momentum_decay value: -0.2": {"momentum_decay": -0.2}},
    "NadaMax": {**BETAS, "Invalid gamma value: 1.0": {"dialect": "interpolated", "gamma": 1.0}},
}


def configurations(name: str) -> dict[str, Keywords]:
    """Every configuration of an optimizer that all paths take, by a short description."""
    return {**EVERYWHERE, **{v.id: v.keywords for v in VARIANTS if v.name == name and v.keywords}}


def inputs(name: str) -> Callable[..., list[OptimizerInput]]:
    """What torch's suite calls for the configurations; a rate that is a tensor is made afresh at each call."""

    def inputs_of(device: Any, dtype: torch.dtype | None = None) -> list[OptimizerInput]:
        every = {**configurations(name), "tensor lr": {"lr": torch.tensor(0.001), "capturable": True}}
        every["capturable"] = {"capturable": True, "weight_decay": 0.1}
        return [OptimizerInput(params=None, kwargs=dict(kwargs), desc=desc) for desc, kwargs in every.items()]

    return inputs_of


def errors(name: str) -> Callable[..., list[ErrorOptimizerInput]]:
    """What must be refused, with torch's texts."""
    wrong = {
        "Invalid learning rate: -1": {"lr": -1},
        "Invalid weight_decay value: -1": {"weight_decay": -1},
        **OUT_OF_RANGE[name],
    }

    def errors_of(device: Any, dtype: torch.dtype) -> list[ErrorOptimizerInput]:
        ours = [
            ErrorOptimizerInput(
                OptimizerInput(params=None, kwargs={"lr": 1e-2, **kwargs}), error_type=ValueError, error_regex=text
            )
            for text, kwargs in wrong.items()
        ]
        return [*get_error_inputs_for_all_optims(device, dtype), *ours]

    return errors_of


def info(name: str) -> OptimizerInfo:
    """The description of one optimizer."""
    return OptimizerInfo(
        OPTIMIZERS[name],
        optim_inputs_func=inputs(name),
        optim_error_inputs_func=errors(name),
        scheduler_inputs=(
            [lambda opt: StepLR(opt, gamma=0.9, step_size=10)],
            [lambda opt: LinearLR(opt, start_factor=0.4, total_iters=4), lambda opt: ExponentialLR(opt, gamma=0.99)],
            [lambda opt: CosineAnnealingLR(opt, T_max=50), lambda opt: ReduceLROnPlateau(opt)],
        ),
        supported_impls=("foreach", "differentiable", "fused"),
        supports_fused_on=("cpu", "cuda"),
        # torch's word for flags that a checkpoint of an older version does not have
        not_og_supported_flags=("foreach", "differentiable", "maximize", "capturable", "fused"),
        has_capturable_arg=True,
        supports_complex=True,
        # Without a memory that decays, the rows that do not occur have nothing to miss: sparse is dense.
        supports_sparse=name in ("GD", "AdaGrad"),
        metadata_for_sparse=(
            {"lr": 4.8e-3 if name == "GD" else 0.1, "weight_decay": 0, "lr_decay": 0, "maximize": False},
            [lambda opt: StepLR(opt, gamma=0.99999, step_size=300)],
        ),
    )


INFOS: list[OptimizerInfo] = [info(name) for name in OPTIMIZERS]

#: (name, keywords) of every optimizer in every configuration, by test id.
CONFIGURATIONS: dict[str, tuple[str, Keywords]] = {
    f"{name}: {desc}": (name, kwargs) for name in OPTIMIZERS for desc, kwargs in configurations(name).items()
}
every_configuration = pytest.mark.parametrize(("name", "kwargs"), CONFIGURATIONS.values(), ids=CONFIGURATIONS)
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)
faster = pytest.mark.parametrize("path", [path for path in PATHS if path != "for-loop"])
every_path = pytest.mark.parametrize("path", PATHS)
#: Without the one for parameters that are results themselves.
every_path_of_leaves = pytest.mark.parametrize("path", [path for path in PATHS if path != "differentiable"])
#: The same, where each would compile kernels of its own: one optimizer stands for the others, which are marked slow.
every_path_one_fused = pytest.mark.parametrize(
    ("name", "path"),
    [
        pytest.param(name, path, marks=[pytest.mark.slow] * (path == "fused" and name != "Nadam"))
        for name in OPTIMIZERS
        for path in PATHS
    ],
)

SHAPES = ((4, 3), (5,), (2, 3, 2))


def parameters(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Tensors of the shapes (by default `SHAPES`), the same at each call."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes or SHAPES]


def gradients(params: list[Tensor], step: int) -> list[Tensor | None]:
    """Gradients of step 0, 1, …: none at all at step 2, and none for the second parameter at steps 3 and 4."""
    generator = torch.Generator().manual_seed(step)
    grads = [torch.randn(p.shape, dtype=p.dtype, generator=generator) for p in params]
    return [None if step == 2 or (i == 1 and step in (3, 4)) else g for i, g in enumerate(grads)]


def make(name: str, params: Any, *keywords: Keywords) -> PaperOptimizer:
    """An optimizer with the keywords of several dicts together."""
    return OPTIMIZERS[name](params, **{k: v for more in keywords for k, v in more.items()})


def take_step(optimizer: PaperOptimizer, grads: list[Tensor | None]) -> None:
    """One step with these gradients, in the order of the parameters."""
    for p, g in zip((p for group in optimizer.param_groups for p in group["params"]), grads, strict=True):
        p.grad = g
    optimizer.step()


def run(optimizer: PaperOptimizer, steps: range = range(7)) -> PaperOptimizer:
    """The optimizer after its steps on `gradients`."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for step in steps:
        take_step(optimizer, gradients(params, step))
    return optimizer


def same(a: PaperOptimizer, b: PaperOptimizer, rtol: float = 0.0) -> None:
    """Assert that two optimizers have the same parameters and the same state, dtypes and layout included."""
    of_a, of_b = ([p for group in o.param_groups for p in group["params"]] for o in (a, b))
    for p, q in zip(of_a, of_b, strict=True):
        torch.testing.assert_close(p.detach(), q.detach(), rtol=rtol, atol=rtol)
        state, other = a.state.get(p, {}), b.state.get(q, {})
        assert list(state) == list(other)
        for key, x in state.items():
            torch.testing.assert_close(x.detach(), other[key].detach(), rtol=rtol, atol=rtol, check_stride=True)

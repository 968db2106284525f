"""`differentiable=True`: autograd goes through the step, against central differences (gradcheck), in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conformance import configurations, every_configuration, every_optimizer, make
from torch import Tensor

from nadam_ref import OPTIMIZERS
from nadam_ref.state import COUNTS

ON = {"differentiable": True, "lr": 0.1}
#: Values at which to differentiate by a hyperparameter.
AT = {
    "lr": 0.05,
    "weight_decay": 0.3,
    "momentum": 0.8,
    "alpha": 0.9,
    "eps": 0.1,
    "momentum_decay": 0.1,
    "lr_decay": 0.2,
    "beta1": 0.8,
    "beta2": 0.95,
}


def random(*shape: Any, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def start_of(name: str, kwargs: dict[str, Any], numel: int) -> dict[str, Any]:
    """A state in the middle of a run, everything but the step count differentiable."""
    probe = make(name, [torch.zeros(1)], kwargs)
    keys = probe._settings(probe.param_groups[0]).keys
    start = {"step": torch.tensor(10.0, dtype=torch.float64), "mu_product": torch.tensor(0.7, dtype=torch.float64)}
    start["mu_product"].requires_grad_()
    return {key: start[key] if key in COUNTS else random(numel, seed=i + 2) for i, key in enumerate(keys.names)}


@every_configuration
def test_one_step_by_parameter_gradient_and_state(name: str, kwargs: dict[str, Any]) -> None:
    kwargs = {**ON, **kwargs}
    state = start_of(name, kwargs, 4)

    def stepped(p: Tensor, g: Any, *values: Any) -> Any:
        p = p.clone()
        p.grad = g
        optimizer = make(name, [p], kwargs)
        if state:
            optimizer.state[p] = {key: x.clone() for key, x in zip(state, values, strict=True)}
        optimizer.step()
        return p, *(x for x in optimizer.state.get(p, {}).values() if x.requires_grad)

    assert torch.autograd.gradcheck(stepped, (random(4), random(4, seed=1), *state.values()))


def trained(name: str, kwargs: dict[str, Any], hyper: dict[str, Any], steps: int = 3) -> Any:
    """A loss after some steps of training, as a function of hyperparameters; betas come one by one."""
    pair = [hyper.pop(key) for key in ("beta1", "beta2") if key in hyper]
    p = (random(3).detach() + 0.5).requires_grad_().clone()
    optimizer = make(name, [p], ON, kwargs, hyper, {"betas": tuple(pair)} if pair else {})
    for _ in range(steps):
        here = p.clone()  # the step overwrites p
        loss = ((here - 1) ** 2).sum() + (here**4).sum() / 10
        (p.grad,) = torch.autograd.grad(loss, p, create_graph=True)
        optimizer.step()
    return (p**2).sum()


def differentiable_hyperparameters(name: str) -> Any:
    defaults = make(name, [torch.zeros(1)]).defaults
    own = [key for key in AT if key in defaults and not (key == "momentum" and name in ("GD", "RMSProp"))]
    return own + ["beta1", "beta2"] * ("betas" in defaults)


@pytest.mark.parametrize("decoupled", [False, True])
@every_optimizer
def test_three_steps_by_every_hyperparameter_at_once(name: str, decoupled: bool) -> None:
    """Lr, weight decay, ε, μ, ν, ψ, AdaGrad's rate decay: what the step reads can be learned through it."""
    names = differentiable_hyperparameters(name)
    values = [torch.tensor(AT[key], dtype=torch.float64) for key in names]

    def loss(*numbers: Any) -> Any:
        return trained(name, {"decoupled_weight_decay": decoupled}, dict(zip(names, numbers, strict=True)))

    assert torch.autograd.gradcheck(loss, [x.requires_grad_() for x in values])


@every_optimizer
def test_three_steps_by_the_rate_in_every_configuration(name: str) -> None:
    for kwargs in configurations(name).values():
        if "lr" in kwargs:
            continue

        def loss(lr: Any, kwargs: Any = kwargs) -> Any:
            return trained(name, kwargs, {"lr": lr})

        assert torch.autograd.gradcheck(loss, torch.tensor([0.05], dtype=torch.float64).requires_grad_())


@every_optimizer
def test_a_rate_is_learned(name: str) -> None:
    """What it is for: the rate goes down its own gradient, and the training loss with it."""
    rate = torch.tensor(0.02, dtype=torch.float64, requires_grad=True)
    losses = []
    for _ in range(5):
        loss = trained(name, {}, {"lr": rate})
        losses.append(loss.item())
        (slope,) = torch.autograd.grad(loss, rate)
        rate = (rate - 1e-3 * slope.sign()).detach().requires_grad_()
    assert losses == sorted(losses, reverse=True)


@every_optimizer
def test_complex_parameters(name: str) -> None:
    g = random(3, seed=1, dtype=torch.complex128)

    def stepped(g: Any) -> Any:
        p = random(3, dtype=torch.complex128).detach().requires_grad_().clone()
        optimizer = make(name, [p], ON, {"weight_decay": 0.1})
        for _ in range(2):
            p.grad = g
            optimizer.step()
        return torch.view_as_real(p)

    assert torch.autograd.gradcheck(stepped, g)


@every_optimizer
def test_half_precision_passes_gradients_on(name: str) -> None:
    """The derivative of a half-precision step by its gradient is that of the same step in float32, rounded."""
    slopes = {}
    for dtype in (torch.bfloat16, torch.float32):
        p = torch.ones(3, dtype=dtype, requires_grad=True).clone()
        g = torch.tensor([0.5, 1.0, 2.0], dtype=dtype, requires_grad=True)
        p.grad = g * 1.0
        optimizer = make(name, [p], ON)
        if "eps" in optimizer.defaults:
            optimizer.param_groups[0]["eps"] = 0.1
        optimizer.step()
        (slopes[dtype],) = torch.autograd.grad(p.sum(), g)
    assert slopes[torch.float32].abs().min() > 0
    torch.testing.assert_close(slopes[torch.bfloat16].float(), slopes[torch.float32], rtol=2e-2, atol=2e-3)


def test_without_it_a_step_is_invisible_to_autograd() -> None:
    for name in OPTIMIZERS:
        p = torch.ones(3, requires_grad=True)
        version, p.grad = p._version, torch.ones(3)
        make(name, [p]).step()
        assert p.is_leaf
        assert p.requires_grad
        assert p._version > version

"""The optimizers against torch.optim's, where torch has the method: parameters, checkpoints, signatures."""

from __future__ import annotations

import inspect
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

import nadam_ref

TWINS = [
    ("GD", "SGD", {}, {}),
    ("Momentum", "SGD", {}, {"momentum": 0.9}),
    ("NAG", "SGD", {}, {"momentum": 0.9, "nesterov": True}),
    ("AdaGrad", "Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.1}, {}),
    ("RMSProp", "RMSprop", {}, {}),
    ("Adam", "Adam", {}, {}),
    ("AdaMax", "Adamax", {}, {}),
    ("Nadam", "NAdam", {}, {}),
]
#: AdaMax: torch adds ε inside the maximum. Nadam: torch keeps the product of μ in float32.
TOLERANCE = {"AdaMax": 1e-7, "Nadam": 5e-9}
EXTRAS = [{}, {"weight_decay": 0.1}, {"maximize": True}, {"weight_decay": 0.1, "foreach": True}]


def pair(name: str, twin: Any, ours: Any, theirs: Any, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(0)
    p = torch.randn(4, 3, dtype=dtype).requires_grad_()
    q = p.detach().clone().requires_grad_()
    return p, q, getattr(nadam_ref, name)([p], **ours), getattr(torch.optim, twin)([q], **{**ours, **theirs})


def run(p: Tensor, q: Tensor, ours: Any, theirs: Any, steps: int = 300, seed: int = 1) -> Any:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)
        q.grad = p.grad.clone()
        ours.step()
        theirs.step()
    return ((p - q).abs().max() / q.abs().max()).item()


@pytest.mark.parametrize("extra", EXTRAS, ids=str)
@pytest.mark.parametrize(("name", "twin", "ours", "theirs"), TWINS, ids=lambda x: x if isinstance(x, str) else "")
def test_agrees_with_torch(name: str, twin: Any, ours: Any, theirs: Any, extra: Any) -> None:
    assert run(*pair(name, twin, {**ours, **extra}, theirs)) <= TOLERANCE.get(name, 1e-14)


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("name", ["Adam", "Nadam"])
def test_agrees_with_torch_in_decoupled_weight_decay(name: str, decoupled: bool) -> None:
    twin = {"Adam": "Adam", "Nadam": "NAdam"}[name]
    if "decoupled_weight_decay" not in inspect.signature(getattr(torch.optim, twin)).parameters:
        pytest.skip(f"the {twin} of torch {torch.__version__} does not decouple it")
    extra = {"weight_decay": 0.1, "decoupled_weight_decay": decoupled}
    assert run(*pair(name, twin, extra, {})) <= TOLERANCE.get(name, 1e-14)


def test_nadam_agrees_to_rounding_where_torch_keeps_its_product_in_float64() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert run(*pair("Nadam", "NAdam", {}, {})) <= 1e-14
    finally:
        torch.set_default_dtype(torch.float32)


def test_adamax_differs_from_torch_only_by_where_epsilon_stands() -> None:
    assert run(*pair("AdaMax", "Adamax", {"eps": 1e-300}, {})) <= 1e-14


@pytest.mark.parametrize(("name", "twin", "ours", "theirs"), TWINS, ids=lambda x: x if isinstance(x, str) else "")
def test_signature_and_defaults_are_torchs(name: str, twin: Any, ours: Any, theirs: Any) -> None:
    mine = inspect.signature(getattr(nadam_ref, name)).parameters
    torchs = inspect.signature(getattr(torch.optim, twin)).parameters
    own_default = {("Momentum", "momentum"), ("NAG", "momentum")}
    for keyword, p in torchs.items():
        if keyword in mine and (name, keyword) not in own_default:
            assert mine[keyword].default == p.default, keyword
    positional = [k for k, p in mine.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == list(torchs)[: len(positional)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("name", "twin", "ours", "theirs"), TWINS, ids=lambda x: x if isinstance(x, str) else "")
def test_checkpoints_interchange_both_ways(name: str, twin: Any, ours: Any, theirs: Any, dtype: torch.dtype) -> None:
    """After k steps of one class the other loads its state and goes on as the first would have."""
    tolerance = max(TOLERANCE.get(name, 0), 1e-13 if dtype == torch.float64 else 2e-6)
    p, q, mine, torchs = pair(name, twin, ours, theirs, dtype)
    run(p, q, mine, torchs, steps=20)
    q2, p2 = p.detach().clone().requires_grad_(), q.detach().clone().requires_grad_()
    from_mine = getattr(torch.optim, twin)([q2], **{**ours, **theirs})
    from_mine.load_state_dict(deepcopy(mine.state_dict()))  # torch's class would go on in our buffers
    assert run(p, q2, mine, from_mine, steps=50, seed=2) <= tolerance
    from_torch = getattr(nadam_ref, name)([p2], **ours)
    from_torch.load_state_dict(torchs.state_dict())
    assert run(p2, q, from_torch, torchs, steps=50, seed=2) <= tolerance


@pytest.mark.parametrize(
    ("name", "twin", "on"),
    [
        ("GD", "SGD", {"momentum": 0.9}),
        ("Momentum", "SGD", {"momentum": 0.9, "dampening": 0.1}),
        ("Momentum", "SGD", {"momentum": 0.9, "nesterov": True}),
        ("NAG", "SGD", {"momentum": 0.9}),
        ("RMSProp", "RMSprop", {"centered": True}),
        ("RMSProp", "RMSprop", {"momentum": 0.9}),
        ("Adam", "Adam", {"amsgrad": True}),
    ],
)
def test_what_the_update_cannot_do_names_torchs_class(name: str, twin: Any, on: Any) -> None:
    p = torch.zeros(2, requires_grad=True)
    theirs = getattr(torch.optim, twin)([p], **on)
    p.grad = torch.ones(2)
    theirs.step()
    mine = getattr(nadam_ref, name)([p])
    before = mine.state_dict()
    with pytest.raises(ValueError, match=rf"does not fit {name}: use torch\.optim\.{twin}"):
        mine.load_state_dict(theirs.state_dict())
    assert mine.state_dict() == before
    known = inspect.signature(getattr(nadam_ref, name)).parameters
    keyword = next(k for k in [*on, "nesterov"] if k not in known)
    with pytest.raises(TypeError, match=rf"no `{keyword}`: use torch\.optim\.{twin}"):
        getattr(nadam_ref, name)([p], **{keyword: True})


def test_a_schedule_on_a_checkpoint_of_sgd_starts_at_one_with_a_warning() -> None:
    p = torch.zeros(2, requires_grad=True)
    sgd = torch.optim.SGD([p], lr=0.1, momentum=0.9)
    p.grad = torch.ones(2)
    sgd.step()
    mine = nadam_ref.Momentum([p], momentum_decay=0.004)
    with pytest.warns(UserWarning, match="starts at t = 1"):
        mine.load_state_dict(sgd.state_dict())
    mine.step()
    assert mine.state[p]["step"] == 1

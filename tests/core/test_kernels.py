"""The one update over lists of tensors and as an expression, against the same written in NumPy; and how it is done."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nadam_ref.kernels import Coefficients, Prelude, expression_update_, is_on, prepare_and_update_
from nadam_ref.rules import RULES, Rule

#: Every rule; momentum as a mean too; and with a number under the root where there is one.
FORMS = {
    **RULES,
    "Momentum as a mean": Rule("mean"),
    "NAG as a mean": Rule("mean", nesterov=True),
    **{f"{name} with ε_root": dataclasses.replace(RULES[name], eps_root=True) for name in ("AdaGrad", "Adam", "Nadam")},
}
PRELUDES = [Prelude(), Prelude(True)] + [Prelude(up, how) for up in (False, True) for how in ("coupled", "decoupled")]
K = Coefficients(0.9, 0.1, 0.95, 0.05, 0.02, 0.03, 1e-3, 0.7, 1e-2)
SHAPES = ((2, 3), (4,), ())
every_form = pytest.mark.parametrize("rule", FORMS.values(), ids=FORMS)


def lists(rule: Rule, device: str = "cpu", shapes: Any = SHAPES) -> Any:
    rng = np.random.default_rng(0)
    made = [[torch.tensor(rng.normal(size=s), device=device) for s in shapes] for _ in "θgm"]
    n = [torch.tensor(rng.uniform(0.1, 1, size=s), device=device) for s in shapes]
    return made[0], made[1], made[2] if rule.momentum != "none" else [], n if rule.norm != "none" else []


def by_hand(rule: Rule, prelude: Prelude, θ: Any, g: Any, m: Any, n: Any) -> list[Any]:
    k = K
    g = -g if prelude.maximize else g
    if prelude.decay == "coupled":
        g = g + k.decay * θ
    elif prelude.decay == "decoupled":
        θ = k.decay * θ
    step = k.gamma * g if rule.nesterov or m is None else 0.0
    if m is not None:
        m = k.mu * m + (g if rule.momentum == "sum" else (1 - k.mu) * g)
        step = step + k.alpha * m
    if n is not None:
        n = {"sum": n + g**2, "rms": k.nu * n + (1 - k.nu) * g**2, "max": np.maximum(k.nu * n, abs(g))}[rule.norm]
        root = n if rule.norm == "max" else np.sqrt(n + k.eps_root * rule.eps_root)
        step = step / (root + k.eps)
    return [x for x in (θ - step, m, n) if x is not None]


@pytest.mark.parametrize("shapes", [SHAPES, SHAPES[:1]], ids=["three", "one"])
@pytest.mark.parametrize("update", [prepare_and_update_, expression_update_])
@pytest.mark.parametrize("prelude", PRELUDES, ids=str)
@every_form
def test_a_step_is_what_it_is_by_hand(rule: Rule, prelude: Prelude, update: Any, shapes: Any) -> None:
    ours = lists(rule, shapes=shapes)
    none = [None] * len(shapes)
    before = [[None if x is None else x.numpy().copy() for x in kept] for kept in
              zip(ours[0], ours[1], ours[2] or none, ours[3] or none, strict=True)]  # fmt: skip
    update(rule, prelude, ours, K)
    for kept, after in zip(before, zip(*(x for x in (ours[0], *ours[2:]) if x), strict=True), strict=True):
        for want, got in zip(by_hand(rule, prelude, *kept), after, strict=True):
            np.testing.assert_allclose(got.numpy(), want, rtol=1e-14, atol=1e-15)


def test_a_number_takes_part_unless_it_is_0() -> None:
    assert [is_on(x) for x in (0, 0.0, 0.1, -1.0, torch.tensor(0.0))] == [False, False, True, True, True]


def test_numbers_that_are_tensors_take_a_dtype_unless_they_have_no_dimension() -> None:
    """Those without one do not promote what they multiply."""
    wide, bare = torch.ones(2, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    moved = K._replace(mu=wide, nu=bare).to(torch.float32)
    assert (moved.mu.dtype, moved.nu, moved.alpha) == (torch.float32, bare, K.alpha)


@every_form
def test_with_clones_autograd_goes_back_through_the_step(rule: Rule) -> None:
    """The gradient of a step by its gradient is by a difference what it is by autograd; without clones it is lost."""
    params, grads, ms, ns = lists(rule, shapes=[(4,)])
    g = grads[0].requires_grad_()
    θ = params[0].clone()
    expression_update_(rule, Prelude(), ([θ], [g], [x.clone() for x in ms], [x.clone() for x in ns]), K, clone=True)
    (slope,) = torch.autograd.grad(θ.sum(), g)
    h, moved = 1e-6, []
    for sign in (1, -1):
        after = params[0].clone(), g.detach() + sign * h, [x.clone() for x in ms], [x.clone() for x in ns]
        with Seen() as seen:
            expression_update_(rule, Prelude(), ([after[0]], [after[1]], *after[2:]), K)
        assert "clone.default" not in seen.names
        moved.append(after[0])
    torch.testing.assert_close(slope, (moved[0] - moved[1]) / (2 * h), rtol=1e-6, atol=1e-9)


class Seen(TorchDispatchMode):
    """The operations that ran."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(str(func).removeprefix("aten."))
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_cpu_has_no_copies_and_no_float_that_is_converted_for_each_tensor(device: str) -> None:
    """There foreach's maximum makes a copy, and decay rates are tensors; elsewhere one call takes the whole list."""
    made = lists(RULES["AdaMax"], device)
    with Seen() as seen:
        prepare_and_update_(RULES["AdaMax"], Prelude(), made, K)
    here = {"maximum.out", "add.out", "_foreach_mul_.Tensor"}
    there = {"_foreach_maximum_.List", "_foreach_add.Scalar", "_foreach_mul_.Scalar"}
    wanted, unwanted = (here, there) if device == "cpu" else (there, here)
    assert seen.names >= wanted and not seen.names & unwanted

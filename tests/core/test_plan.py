"""What a step keeps for the next one: that it is used at all, what undoes it, and what it must not hold on to."""

from __future__ import annotations

import copy
import gc
import math
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from conformance import every_optimizer, make
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from variants import PATHS as WAYS

from nadam_ref import Nadam, compat
from nadam_ref.plan import Plan

PATHS = ("for-loop", "default", "foreach", "fused")
every_kept_path = pytest.mark.parametrize("path", PATHS)


def parameters() -> Any:
    return [nn.Parameter(torch.linspace(-1, 1, n)) for n in (5, 3, 1)]


def give(optimizer: Any, step: Any) -> None:
    for p in optimizer.param_groups[0]["params"]:
        p.grad = torch.cos(p.detach() + step)


@every_kept_path
@every_optimizer
def test_who_takes_part_is_found_once(name: Any, path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found, prepare = [], Plan._prepare_new
    monkeypatch.setattr(Plan, "_prepare_new", lambda *args: [found.append(1), prepare(*args)][1])
    optimizer = make(name, parameters(), WAYS[path])
    for step in range(5):
        give(optimizer, step)
        optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)
        optimizer.step()
    assert len(found) == 1


def one_count(optimizer: Any) -> None:
    optimizer.state[optimizer.param_groups[0]["params"][1]]["step"].data.fill_(7)


def all_counts(optimizer: Any) -> None:
    for state in optimizer.state.values():
        state["step"].data.fill_(7)


def products(optimizer: Any) -> None:
    for state in optimizer.state.values():
        state["mu_product"].numpy()[()] = 0.25


def a_count_of_its_own(optimizer: Any) -> None:
    state = optimizer.state[optimizer.param_groups[0]["params"][0]]
    state["step"] = state["step"].clone()


def no_gradient(optimizer: Any) -> None:
    optimizer.param_groups[0]["params"][0].grad = None


def another_order(optimizer: Any) -> None:
    optimizer.param_groups[0]["params"].reverse()


def one_less(optimizer: Any) -> None:
    optimizer.state.pop(optimizer.param_groups[0]["params"].pop())


def another_path(optimizer: Any) -> None:
    optimizer.param_groups[0].update(fused=not optimizer.param_groups[0]["fused"], foreach=None)


def another_prelude(optimizer: Any) -> None:
    optimizer.param_groups[0].update(maximize=True, weight_decay=0.1)


def no_schedule(optimizer: Any) -> None:
    optimizer.param_groups[0].update(dialect="constant", momentum_decay=None)
    for state in optimizer.state.values():
        state.pop("mu_product", None)


def another_rate(optimizer: Any) -> None:
    optimizer.param_groups[0]["lr"] *= 0.5


def a_rate_that_is_a_tensor(optimizer: Any) -> None:
    optimizer.param_groups[0]["lr"] = torch.tensor(0.03)


def another_rate_and_more(optimizer: Any) -> None:
    optimizer.param_groups[0].update(lr=0.03, betas=(0.5, 0.9))


def another_rate_and_list(optimizer: Any) -> None:
    group = optimizer.param_groups[0]
    group.update(lr=0.03, params=group["params"][::-1])


CHANGES = (
    *(one_count, all_counts, products, a_count_of_its_own, no_gradient, another_order, one_less),
    *(another_path, another_prelude, no_schedule),
    *(another_rate, a_rate_that_is_a_tensor, another_rate_and_more, another_rate_and_list),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@every_kept_path
def test_a_change_between_steps_is_noticed(path: Any, change: Any) -> None:
    """As an optimizer notices it that has just been made from a checkpoint and so has kept nothing."""
    kept = make("Nadam", parameters(), WAYS[path])
    for step in range(6):
        give(kept, step)
        if step in (3, 4):
            change(kept)
        params = copy.deepcopy(kept.param_groups[0]["params"])
        flags = {name: x for name, x in kept.param_groups[0].items() if name in kept.defaults}
        fresh = Nadam(params, **flags)
        fresh.load_state_dict(kept.state_dict())
        for p, q in zip(params, kept.param_groups[0]["params"], strict=True):
            p.grad = None if q.grad is None else q.grad.clone()
        kept.step(), fresh.step()
        for p, q in zip(params, kept.param_groups[0]["params"], strict=True):
            assert torch.equal(p, q)
            assert all(torch.equal(x, kept.state[q][name]) for name, x in fresh.state[p].items())


@every_optimizer
@pytest.mark.parametrize("rate", [-0.1, math.inf, math.nan, "0.1"])
def test_a_rate_of_a_scheduler_is_checked(name: Any, rate: Any) -> None:
    optimizer = make(name, parameters(), {})
    give(optimizer, 0)
    optimizer.step()
    optimizer.param_groups[0]["lr"] = rate
    before = [p.clone() for p in optimizer.param_groups[0]["params"]]
    for _ in range(2):
        with pytest.raises((ValueError, TypeError), match="learning rate"):
            optimizer.step()
    assert all(map(torch.equal, before, optimizer.param_groups[0]["params"]))
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()


@every_kept_path
@every_optimizer
def test_no_gradient_is_kept_alive(name: Any, path: Any) -> None:
    optimizer = make(name, parameters(), WAYS[path])
    for step in range(3):
        give(optimizer, step)
        optimizer.step()
    gradients = [weakref.ref(p.grad) for p in optimizer.param_groups[0]["params"]]
    optimizer.zero_grad()
    assert not any(gradient() is not None for gradient in gradients)


@every_kept_path
@every_optimizer
def test_no_parameter_of_a_group_that_is_gone_is_kept_alive(name: Any, path: Any) -> None:
    """Groups are cleared and added again, as where layers are thawed one by one; then one is taken away."""
    optimizer, gone = make(name, parameters(), WAYS[path]), []
    for step in range(4):
        give(optimizer, step)
        optimizer.step()
        gone += map(weakref.ref, optimizer.param_groups[0]["params"])
        optimizer.param_groups.clear(), optimizer.state.clear()
        optimizer.add_param_group({"params": parameters()})
    optimizer.add_param_group({"params": parameters()})
    gone += map(weakref.ref, optimizer.param_groups[1]["params"])
    for once in range(2):
        give(optimizer, once)
        optimizer.step()
        if not once:
            optimizer.param_groups.pop()
    gc.collect()
    assert len(optimizer._plans) == 1 and not any(p() is not None for p in gone)


def test_hooks_that_come_and_go_between_steps() -> None:
    optimizer, seen = make("Nadam", parameters(), {}), []
    give(optimizer, 0)
    for register in (
        optimizer.register_step_pre_hook,
        optimizer.register_step_post_hook,
        register_optimizer_step_post_hook,
    ):
        optimizer.step()
        handle = register(lambda *args: seen.append(args[0]))
        optimizer.step()
        handle.remove()
    optimizer.step()
    assert seen == [optimizer] * 3


def others(x: Any) -> Iterator[Any]:
    """Tensors that are not of the kind of `x`, a float32 one of shape [2, 3]."""
    yield from (x.t(), x[:1], x.double(), x.view(6), x.to_sparse(), x.to("meta"), nn.Parameter(x), torch._neg_view(x))
    yield from (x.clone().requires_grad_(), x.t().contiguous().t(), torch.view_as_complex(torch.ones(2, 3, 2)), None)


def test_kinds_are_told_apart_as_torch_does() -> None:
    x, y = torch.ones(2, 3), torch.zeros(2)
    for same in (compat.same_kinds([x, y]), compat._Kinds(x, y).check):
        assert same(x, y) and same(x + 1, torch.ones(2))
        assert not same(y, x)
        assert not any(same(other, y) for other in others(x))

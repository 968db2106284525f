"""Where the state of a parameter begins and how it comes back, on devices whose tensors have no values as well."""

from __future__ import annotations

import copy
import math
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from variants import PATHS

from nadam_ref import OPTIMIZERS, Adam, AdaMax, Momentum, Nadam, NadaMax
from nadam_ref.rules import schedule
from nadam_ref.state import Shielded, by_row, restored, start

ON_META = torch.empty(3, device="meta")


def parameter() -> torch.Tensor:
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    p.grad = torch.ones_like(p)
    return p


@pytest.mark.parametrize("name", ["step", "mu_product"])
@pytest.mark.parametrize("capturable", [False, True])
def test_counts_begin_on_the_cpu_unless_capturable(name: str, capturable: bool) -> None:
    count = start(name, ON_META, {"capturable": capturable})
    assert (count.dtype, count.shape, count.is_meta) == (torch.float64, (), capturable)
    here = start(name, torch.empty(3), {"capturable": capturable})
    assert here.item() == {"step": 0.0, "mu_product": 1.0}[name]


def test_only_adagrads_sum_begins_elsewhere_than_at_0() -> None:
    group = {"capturable": False, "initial_accumulator_value": 0.25}
    for dtype, kept, at in (
        (torch.float32, torch.float32, 0.25),
        (torch.bfloat16, torch.float32, 0.25),
        (torch.complex64, torch.complex64, 0.25 + 0.25j),
    ):
        p = torch.ones(2, dtype=dtype)
        assert start("sum", p, group).tolist() == [at, at] and start("sum", p, group).dtype == kept
        assert start("exp_avg", p, group).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("value", [3, 3.0, torch.tensor(3.0)])
def test_a_loaded_count_is_on_the_cpu_unless_capturable_or_by_row(value: Any) -> None:
    loaded = restored("step", Shielded(value), ON_META, False)
    assert (loaded.dtype, loaded.item(), loaded.is_meta) == (torch.float64, 3.0, False)
    assert restored("step", Shielded(value), ON_META, True).is_meta
    assert restored("step", Shielded(torch.full((3,), 3.0)), ON_META, False).is_meta


def test_a_count_for_every_row() -> None:
    p = torch.empty(2, 3)
    assert by_row(torch.tensor(5.0), p).tolist() == [5.0, 5.0]
    assert by_row(torch.tensor([5.0, 6.0]), p, 2).tolist() == [[5.0] * 3, [6.0] * 3]


def test_a_checkpoint_without_counts_warns_where_it_is_loaded() -> None:
    """SGD of torch counts no steps; under a schedule they begin at 1."""
    theirs = torch.optim.SGD([parameter()], lr=0.1, momentum=0.9)
    theirs.step()
    ours = Momentum([parameter()], lr=0.1, momentum=0.9, momentum_decay=0.004)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ours.load_state_dict(theirs.state_dict())
    (warning,) = caught
    assert "the momentum schedule starts at t = 1" in str(warning.message)
    assert Path(warning.filename).name == Path(__file__).name


@pytest.mark.parametrize(("name", "kept"), [("AdaGrad", "step, sum"), ("GD", "no state"), ("NAG", "momentum_buffer")])
def test_a_checkpoint_of_another_rule_says_what_this_one_keeps(name: str, kept: str) -> None:
    theirs = Nadam([parameter()])
    theirs.step()
    saved = {**theirs.state_dict(), "param_groups": [{"lr": 0.1, "params": [0]}]}
    with pytest.raises(ValueError, match=f"{name} with these settings keeps {kept}$"):
        OPTIMIZERS[name]([parameter()], lr=0.1).load_state_dict(saved)


#: What may be edited in a group, after which the rule keeps other state: the class, its keywords, the edit.
EDITED = {
    "schedule off": (Nadam, {}, {"momentum_decay": None}),
    "schedule on": (Nadam, {"momentum_decay": None}, {"momentum_decay": 0.004}),
    "dialect": (Nadam, {}, {"dialect": "constant", "momentum_decay": None}),
    "sum to mean": (Momentum, {}, {"form": "mean"}),
    "mean to sum": (Momentum, {"form": "mean", "momentum_decay": 0.004}, {"form": "sum"}),
}


@pytest.mark.parametrize("path", ["for-loop", "default", "foreach", "fused", "capturable"])
@pytest.mark.parametrize("what", EDITED)
def test_fault_23_an_optimizer_takes_its_own_checkpoint_after_a_group_was_edited(what: str, path: str) -> None:
    """Of a parameter that rests since, too. What the package does not know stays in the state."""
    cls, keywords, edit = EDITED[what]
    params = [parameter(), parameter()]
    never = torch.ones(3, requires_grad=True)
    optimizer = cls([*params, never], **keywords, **PATHS[path])
    optimizer.step()
    for p in (params[0], never):
        optimizer.state[p]["theirs"] = torch.ones(1)
    params[1].grad = None
    optimizer.param_groups[0].update(edit)
    optimizer.step()
    assert optimizer.state[params[0]].pop("theirs") == 1 and list(optimizer.state.pop(never)) == ["theirs"]
    fresh = cls([parameter()], **{**keywords, **edit})
    fresh.step()
    (kept,) = fresh.state.values()
    assert all(set(optimizer.state[p]) == set(kept) for p in params)
    optimizer.load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize("path", ["for-loop", "default", "foreach", "fused", "capturable"])
@pytest.mark.parametrize("cls", [Adam, AdaMax, Nadam, NadaMax])
def test_a_schedule_switched_on_later_goes_on_from_the_product_without_it(cls: Any, path: str) -> None:
    """μᵗ, as if the schedule had been there and constant; from a product of 1 a warm m would be corrected again."""
    p = parameter()
    optimizer = cls([p], lr=1.0, momentum_decay=None, **PATHS[path])
    for _ in range(40):
        optimizer.step()
    optimizer.param_groups[0]["momentum_decay"] = 0.004
    lengths = []
    for _ in range(3):
        before = p.detach().clone()
        optimizer.step()
        lengths.append((before - p.detach())[0].item())
    μ = [schedule(0.9, t, 0.004) for t in (41, 42, 43)]
    torch.testing.assert_close(optimizer.state[p]["mu_product"].item(), 0.9**40 * math.prod(μ), rtol=1e-12, atol=0)
    assert all(0.9 < length < 1.1 for length in lengths), lengths


@pytest.mark.parametrize("path", ["default", "fused", "capturable"])
def test_a_schedule_switched_on_later_goes_on_for_each_row(path: str) -> None:
    p = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    optimizer = Nadam([p], momentum_decay=None, **PATHS[path])
    for rows in ([0], [0, 1]):
        p.grad = torch.sparse_coo_tensor([rows], torch.ones(len(rows), 2).double(), p.shape, check_invariants=True)
        optimizer.step()
    optimizer.param_groups[0]["momentum_decay"] = 0.004
    optimizer.step()
    wanted = [0.9**2 * schedule(0.9, 3, 0.004), 0.9 * schedule(0.9, 2, 0.004), 1.0]
    assert optimizer.state[p]["step"].tolist() == [3, 2, 0]
    torch.testing.assert_close(optimizer.state[p]["mu_product"].tolist(), wanted, rtol=1e-14, atol=0)


def test_a_schedule_that_was_off_for_a_while_goes_on_from_the_power() -> None:
    p = parameter()
    optimizer = Nadam([p])
    for momentum_decay in (0.004, None, 0.004):
        optimizer.param_groups[0]["momentum_decay"] = momentum_decay
        optimizer.step()
    assert optimizer.state[p]["mu_product"].item() == pytest.approx(0.9**2 * schedule(0.9, 3, 0.004), rel=1e-14)


def test_a_product_begins_at_1_where_its_mean_begins() -> None:
    """From sum to mean under a schedule: m starts again, and needs its correction though steps were counted."""
    p = parameter()
    optimizer = Momentum([p], momentum_decay=0.004)
    for form in ("sum", "sum", "mean"):
        optimizer.param_groups[0]["form"] = form
        optimizer.step()
    assert optimizer.state[p]["mu_product"].item() == schedule(0.9, 3, 0.004)


@pytest.mark.parametrize("what", EDITED)
def test_fault_110_a_refused_step_keeps_what_the_edited_rule_would_drop(what: str) -> None:
    cls, keywords, edit = EDITED[what]
    first, last = parameter(), parameter()
    optimizer = cls([{"params": [first]}, {"params": [last]}], **keywords)
    optimizer.step()
    before = str(optimizer.state_dict()["state"])
    optimizer.param_groups[0].update(edit)
    last.data = torch.ones(2, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="does not fit its parameter"):
        optimizer.step()
    assert str(optimizer.state_dict()["state"]) == before


#: What is no state, as (name, value), and how it is refused.
NO_STATE = {
    "a list": ("exp_avg", [1, 2, 3], ValueError, "the checkpoint's exp_avg is a list, not a tensor: load what"),
    "a number": ("exp_avg_sq", 0.5, ValueError, "exp_avg_sq is a float, not a tensor"),
    "a word": ("step", "3", ValueError, "step is a str, not a number or a tensor"),
    "without values": ("exp_avg", ON_META, NotImplementedError, "Cannot copy out of meta tensor"),
}


@pytest.mark.parametrize("what", NO_STATE)
def test_fault_23_what_is_no_state_is_refused_and_changes_nothing(what: str) -> None:
    name, value, error, text = NO_STATE[what]
    p = parameter()
    optimizer, truth = Nadam([p]), Nadam([q := parameter()])
    optimizer.step(), truth.step()
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][0][name], saved["param_groups"][0]["lr"] = value, 7.0
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(error, match=text):
        optimizer.load_state_dict(saved)
    assert str(optimizer.state_dict()) == str(before)
    optimizer.step(), truth.step()
    assert torch.equal(p, q)


@pytest.mark.parametrize("shape", [(5,), (1,), (4, 2)], ids=str)
def test_fault_23_counts_of_another_shape_are_refused_and_change_nothing(shape: Any) -> None:
    """Of a parameter of four rows; such a step stopped half way, with the counts increased."""
    p = torch.ones(4, 2, dtype=torch.float64, requires_grad=True)
    p.grad = torch.ones_like(p).to_sparse(1)
    optimizer = Nadam([p])
    optimizer.step()
    saved = copy.deepcopy(optimizer.state_dict())
    for name in ("step", "mu_product"):
        wrong = copy.deepcopy(saved)
        wrong["state"][0][name] = torch.ones(shape, dtype=torch.float64)
        said = rf"{name} has shape {re.escape(str(shape))}, but its parameter has 4 rows"
        with pytest.raises(ValueError, match=said):
            optimizer.load_state_dict(wrong)
    assert str(optimizer.state_dict()) == str(saved)


@pytest.mark.parametrize("p", [torch.ones((), requires_grad=True), torch.nn.UninitializedParameter()], ids=type)
def test_fault_23_a_parameter_without_rows_has_no_counts_by_row(p: Any) -> None:
    optimizer = Adam([p])
    state = {0: {"step": 1, "exp_avg": torch.zeros(()), "exp_avg_sq": torch.zeros(())}}
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    state[0]["step"] = torch.ones(3)
    with pytest.raises(ValueError, match=r"step has shape \(3,\), but its parameter has 0 rows"):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def test_groups_that_do_not_match_are_refused_in_torchs_words() -> None:
    two = Nadam([{"params": [parameter()]}, {"params": [parameter()]}]).state_dict()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        Nadam([parameter()]).load_state_dict(two)


def test_a_key_that_users_give_their_groups_is_theirs() -> None:
    """Even one by which a checkpoint is known: with it or without it, what was saved goes on where it is."""
    plain, theirs = Adam([parameter()]), Adam([{"params": [parameter()], "dialect": "their own"}])
    theirs.step()
    plain.step()
    saved = copy.deepcopy(theirs.state_dict())
    for state_dict in (plain.state_dict(), saved):
        Adam([{"params": [parameter()], "dialect": "their own"}]).load_state_dict(state_dict)
    with pytest.raises(ValueError, match="of another rule than Adam: its groups have bias_correction, dialect"):
        plain.load_state_dict(saved)

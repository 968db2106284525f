"""Bad input and bad luck (the numbers are those of the project's fault list), and the habits of a torch optimizer."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import re
import subprocess
import sys
import warnings
from typing import Any, get_args, get_type_hints

import pytest
import torch
from conformance import every_path_of_leaves
from torch import Tensor
from variants import PATHS, TEN, Variant, ten

import nadam_ref
from nadam_ref import OPTIMIZERS, Adam, Momentum, Nadam, NadaMax, portions, scalars
from nadam_ref.checks import CHOICES

NAMES = list(OPTIMIZERS)


def step(optimizer: Any, *grads: Any) -> None:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    for p, g in zip(params, grads, strict=True):
        p.grad = g
    optimizer.step()


def parameter(*shape: Any, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=dtype, generator=generator).requires_grad_()


def values(p: Tensor) -> Any:
    return p.detach().clone()


@ten
def test_fault_01_nan_and_inf_propagate(variant: Variant) -> None:
    p = parameter(3)
    step(variant.optimizer([p]), torch.tensor([float("nan"), 1.0, float("inf")], dtype=torch.float64))
    assert p[0].isnan()
    assert p[1].isfinite()
    assert not p[2].isfinite()


@ten
def test_fault_02_huge_gradients_in_float32_do_not_move_other_elements(variant: Variant) -> None:
    p = parameter(2, dtype=torch.float32)
    q = values(p)[1:].requires_grad_()
    both, alone = variant.optimizer([p]), variant.optimizer([q])
    for _ in range(3):
        step(both, torch.tensor([1e30, 0.5]))
        step(alone, torch.tensor([0.5]))
    assert torch.equal(p[1:], q)
    if variant.optimizer([p]).rule.norm in ("sum", "rms"):  # g² is inf, the step is 0: the parameter freezes
        frozen = p[0].item()
        step(both, torch.tensor([1.0, 0.5]))
        assert p[0].item() == frozen


@ten
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_fault_03_denormal_gradients_stay_finite(variant: Variant, dtype: torch.dtype) -> None:
    p = parameter(3, dtype=dtype)
    optimizer = variant.optimizer([p])
    for _ in range(10):
        step(optimizer, torch.full_like(p, torch.finfo(dtype).tiny / 1000))
    assert p.isfinite().all()


@ten
@every_path_of_leaves
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_fault_04_zero_gradients_from_the_first_step_without_epsilon(
    variant: Variant, path: str, dtype: torch.dtype
) -> None:
    p = parameter(3, dtype=dtype)
    before = values(p)
    no_eps = {"eps": 0.0} if "eps" in variant.optimizer([p]).defaults else {}
    optimizer = variant.optimizer([p], **PATHS[path], **no_eps)
    for _ in range(3):
        step(optimizer, torch.zeros_like(p))
    assert torch.equal(p, before)


@ten
def test_fault_05_zero_for_a_thousand_steps_and_then_not(variant: Variant) -> None:
    p = parameter(3)
    optimizer = variant.optimizer([p])
    for _ in range(1000):
        step(optimizer, torch.zeros_like(p))
    before = values(p)
    step(optimizer, torch.ones_like(p))
    assert p.isfinite().all()
    assert (p < before).all()


@ten
def test_fault_06_parameters_without_gradient_are_skipped(variant: Variant) -> None:
    p, q = parameter(3), parameter(2, seed=1)
    optimizer = variant.optimizer([p, q])
    before = values(q)
    step(optimizer, torch.ones_like(p), None)
    step(optimizer, torch.ones_like(p), None)
    assert torch.equal(q, before)
    assert not optimizer.state.get(q)
    step(optimizer, None, torch.ones_like(q))
    if "step" in optimizer.state[p]:
        assert optimizer.state[p]["step"] == 2
        assert optimizer.state[q]["step"] == 1


@ten
@every_path_of_leaves
def test_fault_07_08_scalars_and_empty_tensors(variant: Variant, path: str) -> None:
    p, q = parameter(), torch.empty(0, 3, dtype=torch.float64, requires_grad=True)
    optimizer = variant.optimizer([p, q], **PATHS[path])
    before = values(p)
    step(optimizer, torch.ones_like(p), torch.empty_like(q))
    assert p < before
    assert p.dtype == torch.float64


@ten
@every_path_of_leaves
def test_fault_09_layout_does_not_matter(variant: Variant, path: str) -> None:
    """To the bit. A fused parameter that lies otherwise than its gradient takes the unfused step and its roundings."""
    start, grads = parameter(6, 4).detach().t(), [parameter(4, 6, seed=i).detach() for i in range(1, 4)]

    def trained(p: Tensor, path: str, grads: list[Tensor] = grads) -> Tensor:
        optimizer = variant.optimizer([p.requires_grad_()], **PATHS[path])
        for g in grads:
            step(optimizer, g)
        return values(p)

    wanted = trained(start.contiguous(), path)
    assert torch.equal(trained(start.clone(), path, [g.t().contiguous().t() for g in grads]), wanted)
    unfused = trained(start.contiguous(), "for-loop") if path == "fused" else wanted
    torch.testing.assert_close(unfused, wanted, rtol=1e-13, atol=0)
    memory = torch.zeros(4, 12, dtype=torch.float64)
    for p in (start.clone(), memory[:, ::2].copy_(start)):
        assert not p.is_contiguous()
        assert torch.equal(trained(p, path), unfused)
    assert not memory[:, 1::2].any()


@ten
def test_fault_10_overlapping_parameters_are_refused(variant: Variant) -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 4\) whose elements overlap"):
        variant.optimizer([torch.zeros(1, 4).expand(3, 4)])


@ten
def test_fault_11_complex_parameters_are_pairs_of_reals(variant: Variant) -> None:
    z = parameter(3, dtype=torch.complex128)
    x = torch.view_as_real(values(z)).requires_grad_()
    a, b = variant.optimizer([z]), variant.optimizer([x])
    for i in range(5):
        g = torch.randn(3, dtype=torch.complex128, generator=torch.Generator().manual_seed(i))
        step(a, g)
        step(b, torch.view_as_real(g))
    assert torch.equal(torch.view_as_real(z.detach()), x)


@ten
@every_path_of_leaves
def test_fault_11_a_gradient_may_be_a_conjugate_view(variant: Variant, path: str) -> None:
    """As that of a parameter used as `w.mH`; also before and after a step with another kind of gradient."""
    w, v = parameter(2, 3, dtype=torch.complex128), parameter(2, 3, dtype=torch.complex128)
    a, b = variant.optimizer([w], **PATHS[path]), variant.optimizer([v], **PATHS[path])
    for conjugate in (True, True, False, True):
        a.zero_grad()
        (w.mH if conjugate else w).abs().square().sum().backward()
        assert w.grad.is_conj() == conjugate
        step(b, w.grad.resolve_conj())
        a.step()
    assert torch.equal(w, v)


def test_fault_11_a_compiled_step_takes_a_gradient_that_is_a_conjugate_view() -> None:
    w, v = parameter(2, 3, dtype=torch.complex128), parameter(2, 3, dtype=torch.complex128)
    g = parameter(2, 3, dtype=torch.complex128, seed=1).detach().conj()
    w.grad = g
    torch.compile(Nadam([w]).step, backend="eager")()
    step(Nadam([v]), g.resolve_conj())
    torch.testing.assert_close(w, v, rtol=1e-13, atol=0)


def test_fault_11_a_parameter_that_is_a_conjugate_view_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3,\) that is a conjugate view .* \.resolve_conj\(\)"):
        Nadam([parameter(3, dtype=torch.complex128).detach().conj()])


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool], ids=str)
def test_fault_12_integers_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=str(dtype)):
        Nadam([torch.zeros(3, dtype=dtype)])


def test_fault_13_non_leaf_is_refused() -> None:
    with pytest.raises(ValueError, match="non-leaf"):
        Nadam([parameter(3) * 2])


@ten
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("path", ["for-loop", "foreach", "fused", "capturable"])
def test_fault_14_half_precision_is_float32_arithmetic(variant: Variant, dtype: torch.dtype, path: str) -> None:
    p = parameter(4, 3, dtype=dtype)
    optimizer = variant.optimizer([p], **PATHS[path])
    for i in range(10):
        start = p.detach().float().requires_grad_()
        g = torch.randn(4, 3, generator=torch.Generator().manual_seed(i)).to(dtype)
        twin = variant.optimizer([start])
        if p in optimizer.state:  # float32 arithmetic from the state this optimizer has
            twin.state[start] = copy.deepcopy(optimizer.state[p])
        step(twin, g.float())
        step(optimizer, g)
        assert p.dtype == dtype
        torch.testing.assert_close(p.float(), start.to(dtype).float(), rtol=2 * torch.finfo(dtype).eps, atol=1e-7)
    tensors = (
        [x for name, x in optimizer.state[p].items() if name not in ("step", "mu_product")]
        if p in optimizer.state
        else []
    )
    assert all(x.dtype == torch.float32 for x in tensors)


@ten
def test_fault_14_complex_numbers_in_half_precision_are_refused(variant: Variant) -> None:
    p = torch.view_as_complex(torch.ones(3, 2, dtype=torch.float16))
    with pytest.raises(TypeError, match=r"dtype torch\.complex32: torch lacks its arithmetic; use complex64"):
        variant.optimizer([p])


@every_path_of_leaves
def test_fault_14_110_a_parameter_that_became_complex_in_half_precision_is_refused_unchanged(path: str) -> None:
    p, z = parameter(2, 3), parameter(3, dtype=torch.complex64)
    optimizer = Nadam([p, z], **PATHS[path])
    step(optimizer, torch.ones_like(p), torch.ones_like(z))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: ComplexHalf is experimental
        z.data = z.detach().to(torch.complex32)
        before = values(p), values(z), copy.deepcopy(optimizer.state_dict())
        p.grad, z.grad = torch.ones_like(p), torch.ones(3, dtype=torch.complex64).to(torch.complex32)
    with pytest.raises(TypeError, match=r"dtype torch\.complex32"):
        optimizer.step()
    assert torch.equal(p, before[0]) and torch.equal(torch.view_as_real(z.detach()), torch.view_as_real(before[1]))
    assert str(optimizer.state_dict()) == str(before[2])


@ten
@pytest.mark.parametrize("lr", [-1.0, float("nan"), float("inf"), "0.1x", torch.tensor([1.0, 2.0])], ids=str)
def test_fault_16_rates(variant: Variant, lr: Any) -> None:
    with pytest.raises(ValueError, match=r"Invalid learning rate: |Tensor lr must be 1-element"):
        variant.optimizer([parameter(3)], lr=lr)


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
def test_fault_17_decay_rates(value: Any) -> None:
    p = parameter(3)
    for make, label in [
        (lambda: Adam([p], betas=(value, 0.9)), "beta parameter at index 0"),
        (lambda: Nadam([p], betas=(0.9, value)), "beta parameter at index 1"),
        (lambda: Momentum([p], momentum=value, form="mean"), "momentum value"),
        (lambda: nadam_ref.RMSProp([p], alpha=value), "alpha value"),
    ]:
        with pytest.raises(ValueError, match=f"Invalid {label}: {value}"):
            make()


@pytest.mark.parametrize("keyword", ["eps", "weight_decay", "momentum_decay"])
@pytest.mark.parametrize("value", [-1e-3, float("nan")])
def test_fault_18_other_numbers(keyword: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"Invalid {keyword.replace('eps', 'epsilon')} value: {value}"):
        Nadam([parameter(3)], **{keyword: value})


def test_fault_19_empty_generator_used_twice_and_duplicates() -> None:
    with pytest.raises(ValueError, match="empty parameter list"):
        Nadam([])
    used = (p for p in [parameter(3)])
    Nadam(used)
    with pytest.raises(ValueError, match="empty parameter list"):
        Nadam(used)
    p = parameter(3)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        Nadam([p, p])
    with pytest.raises(ValueError, match="more than one parameter group"):
        Nadam([{"params": [p]}, {"params": [p]}])


def test_fault_21_groups_added_mid_run_count_for_themselves_and_are_checked() -> None:
    p, q = parameter(3), parameter(3)
    optimizer = Nadam([p])
    step(optimizer, torch.ones_like(p))
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        optimizer.add_param_group({"params": [q], "lr": -1})
    with pytest.raises(TypeError, match="int64"):
        optimizer.add_param_group({"params": [torch.zeros(2, dtype=torch.int64)]})
    assert len(optimizer.param_groups) == 1
    optimizer.add_param_group({"params": [q], "lr": 0.1, "dialect": "iclr"})
    step(optimizer, torch.ones_like(p), torch.ones_like(q))
    assert (optimizer.state[p]["step"], optimizer.state[q]["step"]) == (2, 1)
    alone = parameter(3)
    step(Nadam([alone], lr=0.1, dialect="iclr"), torch.ones_like(q))
    assert torch.equal(q, alone)


@ten
def test_fault_22_closure(variant: Variant) -> None:
    p = parameter(3)
    optimizer = variant.optimizer([p])

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    first = (p**2).sum().item()
    losses = [optimizer.step(closure).item() for _ in range(5)]
    assert losses[0] == first
    assert losses[-1] < first


@ten
@pytest.mark.parametrize("steps", [0, 1, 7])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_fault_23_24_resumed_runs_go_on_bitwise(variant: Variant, steps: Any, dtype: torch.dtype) -> None:
    """Through state_dict and a weights_only file, deepcopy and pickle, at any step; half precision keeps its state."""
    p = parameter(4, 3, dtype=dtype)
    optimizer = variant.optimizer([p], weight_decay=0.01)
    grads = [torch.randn(4, 3, generator=torch.Generator().manual_seed(i)).to(dtype) for i in range(steps + 5)]
    for g in grads[:steps]:
        step(optimizer, g)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    q = values(p).requires_grad_()
    loaded = variant.optimizer([q], lr=0.5)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    others = [loaded, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    for g in grads[steps:]:
        for o in (optimizer, *others):
            step(o, g.clone())
    for o in others:
        assert torch.equal(o.param_groups[0]["params"][0], p)
        for a, b in zip(o.state_dict()["state"].values(), optimizer.state_dict()["state"].values(), strict=True):
            assert all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a | b)


def test_fault_23_schedules_do_not_hide_another_rule() -> None:
    """Adam under the schedule keeps what Nadam keeps; the keywords in the groups tell them apart."""
    p, q = parameter(3), parameter(3)
    adam, nadam = Adam([p], momentum_decay=0.004), Nadam([q])
    step(adam, torch.ones_like(p))
    step(nadam, torch.ones_like(q))
    for ours, other in ((adam, nadam), (nadam, adam)):
        with pytest.raises(ValueError, match="of another rule"):
            ours.load_state_dict(other.state_dict())


def test_fault_23_a_checkpoint_of_another_rule_is_refused_and_changes_nothing() -> None:
    made = {}
    for variant in TEN:
        p = parameter(3)
        made[variant.name] = variant.optimizer([p])
        step(made[variant.name], torch.ones_like(p))
    kinds = {name: set(next(iter(o.state_dict()["state"].values()), {})) for name, o in made.items()}
    for ours, other in ((a, b) for a in NAMES for b in NAMES if kinds[a] != kinds[b] and kinds[b]):
        before = copy.deepcopy(made[ours].state_dict())
        with pytest.raises(ValueError, match=r"does not fit|of another rule"):
            made[ours].load_state_dict(made[other].state_dict())
        assert str(made[ours].state_dict()) == str(before)


@ten
def test_fault_23_entries_that_are_missing_or_foreign_are_refused_and_change_nothing(variant: Variant) -> None:
    p, q = parameter(3), parameter(3)
    first, second = variant.optimizer([p]), variant.optimizer([q])
    for optimizer in (first, second):
        step(optimizer, torch.ones(3, dtype=torch.float64))
    if not first.state:
        return  # GD keeps nothing
    before = copy.deepcopy(second.state_dict())
    for name in [*first.state[p], "of another program"]:
        saved = copy.deepcopy(first.state_dict())
        if saved["state"][0].pop(name, None) is None:
            saved["state"][0][name] = torch.ones(3)
        if not saved["state"][0]:
            continue  # of a parameter that has not begun, as torch's SGD saves it
        with pytest.raises(ValueError, match=r"state is of another rule: it has .*; \w+ with these settings keeps"):
            second.load_state_dict(saved)
        assert str(second.state_dict()) == str(before)


def test_fault_25_26_long_runs_keep_counting_and_correcting() -> None:
    p = parameter(1)
    optimizer = Nadam([p], betas=(0.99999, 0.999))
    step(optimizer, torch.ones_like(p))
    optimizer.state[p]["step"].fill_(2.0**24)
    optimizer.state[p]["mu_product"].fill_(5e-324)
    step(optimizer, torch.ones_like(p))
    assert optimizer.state[p]["step"] == 2**24 + 1
    assert optimizer.state[p]["mu_product"] <= 5e-324
    assert p.isfinite().all()


@ten
def test_fault_27_schedulers_change_the_rate_between_steps(variant: Variant) -> None:
    p, q = parameter(3), parameter(3)
    optimizer = variant.optimizer([p], lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    by_hand = variant.optimizer([q], lr=0.1)
    for i in range(4):
        by_hand.param_groups[0]["lr"] = 0.1 * 0.5**i
        step(by_hand, torch.ones_like(q))
        step(optimizer, torch.ones_like(p))
        scheduler.step()
    assert torch.equal(p, q)


def test_fault_28_unknown_choices_list_the_known_ones() -> None:
    p = [parameter(3)]
    with pytest.raises(ValueError, match=r"unknown dialect 'torch': choose one of cs229, iclr, constant, keras3, choi"):
        Nadam(p, dialect="torch")
    with pytest.raises(ValueError, match="unknown form 'max': choose one of sum, mean"):
        Momentum(p, form="max")
    with pytest.raises(TypeError, match=r"Adam has no keyword `beta`; it has params, lr, betas, eps"):
        Adam(p, beta=0.9)
    with pytest.raises(ValueError, match="unknown length 'one': choose one of own, unit, report"):
        Adam(p, length="one")
    with pytest.raises(ValueError, match="unknown row_counts 'rows': choose one of own, common"):
        Adam(p, row_counts="rows")
    with pytest.raises(ValueError, match=r"dialect 'iclr' has no gamma, got 0.5: .* take dialect 'interpolated'"):
        Nadam(p, dialect="iclr", gamma=0.5)
    with pytest.raises(ValueError, match="length='unit' needs bias_correction=True"):
        Nadam([{"params": p, "length": "unit"}], bias_correction=False)
    for dialect in ("constant", "keras3", "choi", "interpolated"):
        with pytest.raises(ValueError, match=f"dialect '{dialect}' fixes momentum_decay at"):
            Nadam(p, dialect=dialect, momentum_decay=0.01)
    with pytest.raises(TypeError):
        Nadam(p, 1e-3, (0.9, 0.999), 1e-8, 0, 4e-3, False, "iclr")  # our own keywords are keyword-only


@pytest.mark.parametrize("given", [["cs229"], {"cs229"}, {}, None, 1], ids=str)
def test_fault_28_a_dialect_that_is_no_word_lists_the_choices(given: Any) -> None:
    p, q = parameter(3), parameter(3)
    wrong = rf"unknown dialect {re.escape(repr(given))}: choose one of cs229, iclr, constant"
    with pytest.raises(ValueError, match=wrong):
        Nadam([p], dialect=given)
    with pytest.raises(ValueError, match=wrong):
        Nadam([{"params": [p], "dialect": given}])
    optimizer = Nadam([p])
    with pytest.raises(ValueError, match=wrong):
        optimizer.add_param_group({"params": [q], "dialect": given})
    optimizer.param_groups[0]["dialect"] = given
    with pytest.raises(ValueError, match=wrong):
        step(optimizer, torch.ones_like(p))


@pytest.mark.parametrize("given", [["a"], "radam", "another", None], ids=str)
def test_fault_109_a_class_without_dialects_does_not_read_one(given: Any) -> None:
    p, q = parameter(3), parameter(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = Adam([{"params": [p], "dialect": given}])
        step(optimizer, torch.ones_like(p))
    step(Adam([q]), torch.ones_like(q))
    assert optimizer.param_groups[0]["dialect"] == given
    assert torch.equal(p, q)


def test_the_old_name_of_a_dialect_works_with_a_warning() -> None:
    p, q, r = parameter(3), parameter(3), parameter(3)
    with pytest.warns(DeprecationWarning, match="dialect 'radam' is now called 'interpolated'") as seen:
        old = Nadam([p], dialect="radam")
    assert seen[0].filename == __file__
    assert old.param_groups[0]["dialect"] == old.defaults["dialect"] == "interpolated"
    with pytest.warns(DeprecationWarning, match="dialect 'radam'"):
        old.add_param_group({"params": [r], "dialect": "radam"})
    assert old.param_groups[1]["dialect"] == "interpolated"
    step(old, torch.ones_like(p), torch.ones_like(r))
    step(Nadam([q], dialect="interpolated"), torch.ones_like(q))
    assert torch.equal(p, q)


def test_the_warning_of_an_old_name_is_on_the_users_line() -> None:
    """Else Python's default filter hides it."""

    class Mine(Nadam):
        def __init__(self, params: Any, **keywords: Any) -> None:
            super().__init__(params, **keywords)

    optimizer = Nadam([parameter(3)])
    for make in (
        lambda: Nadam([parameter(3)], dialect="radam"),
        lambda: Nadam([{"params": [parameter(3)], "dialect": "radam"}]),
        lambda: optimizer.add_param_group({"params": [parameter(3)], "dialect": "radam"}),
        lambda: Mine([parameter(3)], dialect="radam"),
    ):
        with pytest.warns(DeprecationWarning, match="dialect 'radam'") as seen:
            make()
        assert [(x.filename, x.lineno) for x in seen] == [(__file__, make.__code__.co_firstlineno)]


def test_a_checkpoint_with_the_old_name_of_a_dialect_loads_in_silence() -> None:
    p, q = parameter(3), parameter(3)
    first = Nadam([p], dialect="interpolated")
    step(first, torch.ones_like(p))
    saved = copy.deepcopy(first.state_dict())
    saved["param_groups"][0]["dialect"] = "radam"
    second = Nadam([q])
    second.load_state_dict(saved)
    assert second.param_groups[0]["dialect"] == "interpolated"


@ten
def test_a_rate_of_zero_moves_nothing(variant: Variant) -> None:
    p = parameter(3)
    before = values(p)
    step(variant.optimizer([p], lr=0.0), torch.ones_like(p))
    assert torch.equal(p, before)


@ten
def test_step_is_differentiable(variant: Variant) -> None:
    """The gradient of the updated parameter by the first gradient, against central differences."""
    start = parameter(3)

    def updated(g: Any) -> Any:
        p = start.detach().clone().requires_grad_().clone()
        optimizer = variant.optimizer([p], differentiable=True)
        p.grad = g
        optimizer.step()
        return p

    g = parameter(3, seed=5)
    assert torch.autograd.gradcheck(updated, (g,))


def test_flags_that_exclude_each_other() -> None:
    for flags, text in [
        ({"fused": True, "differentiable": True}, "`fused` does not support `differentiable`"),
        ({"fused": True, "foreach": True}, "`fused` and `foreach` cannot be `True` together"),
    ]:
        with pytest.raises(RuntimeError, match=text):
            Nadam([parameter(3)], **flags)
    with pytest.raises(ValueError, match="lr as a Tensor is not supported for capturable=False and foreach=True"):
        Adam([parameter(3)], lr=torch.tensor(0.1), foreach=True)


def test_without_a_compiler_fused_warns_once_and_gives_the_same() -> None:
    code = """
import os, warnings, torch
os.environ["CXX"] = "no-such-compiler"
import nadam_ref
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    p, q = torch.ones(3), torch.ones(3)
    a, b = nadam_ref.Nadam([p], fused=True), nadam_ref.Nadam([q])
    for _ in range(3):
        p.grad, q.grad = torch.ones(3), torch.ones(3)
        a.step(), b.step()
assert torch.equal(p, q)
print([str(w.message) for w in caught if "fused" in str(w.message)])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.count("no kernel could be compiled for cpu") == 1


def test_the_vocabulary() -> None:
    assert list(nadam_ref.RULES) == list(OPTIMIZERS) == [c.__name__ for c in OPTIMIZERS.values()]
    for name, cls in OPTIMIZERS.items():
        assert cls.rule is nadam_ref.RULES[name]
        assert cls.__doc__
        assert set(nadam_ref.__all__) >= {name}


def test_the_docstring_describes_every_dialect_as_it_describes_itself() -> None:
    words = " ".join(Nadam.__doc__.split())
    for name, dialect in nadam_ref.DIALECTS.items():
        default = " (default)" if name == inspect.signature(Nadam).parameters["dialect"].default else ""
        assert f'"{name}"{default}: {dialect.summary} ({dialect.users})' in words


def test_one_default_dialect() -> None:
    """Also where the scalars are asked for without an optimizer."""
    defaults = {inspect.signature(f).parameters["dialect"].default for f in (Nadam.__init__, NadaMax.__init__, scalars)}
    assert defaults == {"cs229"}
    k, product = scalars(Nadam.rule, 1, lr=1.0, mu=0.9, momentum_decay=0.004)
    assert k.mu == 0.9 != product


@pytest.mark.parametrize("cls", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_signature_has_the_words_that_are_checked_and_the_reports_schedule(cls: Any) -> None:
    signature, hints = inspect.signature(cls).parameters, get_type_hints(cls.__init__)
    for name in CHOICES.keys() & signature.keys():
        assert get_args(hints[name]) == CHOICES[name]
        assert signature[name].default in CHOICES[name]
    if "dialect" in signature:
        reports = nadam_ref.DIALECTS[signature["dialect"].default]
        assert signature["momentum_decay"].default == reports.momentum_decay == 1 / 250


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64], ids=str)
@pytest.mark.parametrize("name", ["AdaGrad", "RMSProp", "MaxProp", "Adam", "AdaMax", "Nadam", "NadaMax"])
def test_a_large_tensor_in_parts_is_updated_as_in_one_piece(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default a contiguous tensor of `portions.LARGE` elements is cut, with foreach=True not: the same bits."""
    parts_of, counts = portions._parts, []

    def counted(lists: Any) -> Any:
        counts.append(len(parts := parts_of(lists)))
        return parts

    monkeypatch.setattr(portions, "_parts", counted)
    torch.manual_seed(0)
    large, image = torch.randn(9, portions.LARGE // 9 + 1), torch.randn(2, 3, 512, portions.LARGE // 3072 + 1)
    start = [torch.randn(5), large, image.to(memory_format=torch.channels_last), torch.randn(7)]
    grads = [[torch.randn_like(x).to(dtype) for x in start] for _ in range(2)]

    def trained(**keywords: Any) -> Any:
        params = [x.to(dtype, copy=True).requires_grad_() for x in start]
        optimizer = OPTIMIZERS[name](params, **keywords)
        for now in grads:
            step(optimizer, *now)
        return params

    whole = trained(foreach=True)
    assert not counts
    parts = trained()
    elements = large.numel() * (2 if dtype.is_complex else 1)
    assert counts == 2 * [1 + elements // portions.PORTION, 1]  # with the small one before it; the image stays whole
    assert all(map(torch.equal, whole, parts))

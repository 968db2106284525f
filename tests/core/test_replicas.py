"""R runs in one step against R separate optimizers."""

from __future__ import annotations

import copy
import inspect
from functools import partial
from typing import Any

import pytest
import torch
from torch.func import functional_call, grad, stack_module_state, vmap
from variants import Variant, every_variant_with_box

import nadam_ref
from nadam_ref import OPTIMIZERS
from nadam_ref.replicas import Replicas

R = 3


def randn(*shape: Any, seed: int = 0, dtype: torch.dtype = torch.float64) -> Any:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def keywords_of(variant: Variant) -> Any:
    """Keywords for all replicas, with a tensor wherever they differ, and the same for each replica apart."""
    known = inspect.signature(OPTIMIZERS[variant.name]).parameters
    group = variant.optimizer([torch.zeros(1)]).param_groups[0]
    common = {k: v for k, v in group.items() if k in known and k != "params"}
    spread = {
        "lr": [0.01, 0.02, 0.005],
        "weight_decay": [0.0, 0.1, 0.01],
        "betas": ([0.95, 0.9, 0.5], [0.98, 0.99, 0.9]),
        "momentum": [0.95, 0.9, 0.5],
        "alpha": [0.95, 0.9, 0.5],
        "eps": [1e-6, 1e-8, 1e-3],
        "eps_root": [0.0, 1e-3, 1e-6],
        "gamma": [0.5, 0.05, 0.0],
    }
    spread = {k: v for k, v in spread.items() if common.get(k) is not None}
    apart = [{**common, **{k: _of_replica(k, v, r) for k, v in spread.items()}} for r in range(R)]
    double = partial(torch.tensor, dtype=torch.float64)
    return {**common, **{k: tuple(map(double, v)) if k == "betas" else double(v) for k, v in spread.items()}}, apart


def _of_replica(name: str, values: Any, r: Any) -> Any:
    return tuple(beta[r] for beta in values) if name == "betas" else values[r]


@every_variant_with_box
@pytest.mark.parametrize("more", [{}, {"maximize": True}, {"decoupled_weight_decay": True}, {"fused": True}], ids=str)
def test_equal_to_separate_optimizers(variant: Variant, more: Any) -> None:
    together, apart = keywords_of(variant)
    cls = OPTIMIZERS[variant.name]
    params = {"w": randn(R, 4, 2), "b": randn(R, seed=1)}
    single = [[x[r].clone().requires_grad_() for x in params.values()] for r in range(R)]
    runs = Replicas(cls, params, **{**together, **more})
    optimizers = [cls(single[r], **{**apart[r], **more}) for r in range(R)]
    for i in range(100):
        grads = {"w": randn(R, 4, 2, seed=10 + i), "b": randn(R, seed=1000 + i)}
        runs.step(grads)
        for r in range(R):
            for p, g in zip(single[r], grads.values(), strict=True):
                p.grad = g[r].clone()
            optimizers[r].step()
    for r in range(R):
        for p, x in zip(single[r], params.values(), strict=True):
            torch.testing.assert_close(x[r], p.detach(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("written", [False, True], ids=["replaced", "written in place"])
def test_a_rate_that_changes_between_steps(name: str, fused: bool, written: bool) -> None:
    params = {"w": randn(R, 4)}
    single = [params["w"][r].clone().requires_grad_() for r in range(R)]
    rates = torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64)
    runs = Replicas(OPTIMIZERS[name], params, lr=rates.tolist(), fused=fused)
    optimizers = [OPTIMIZERS[name]([p], lr=float(rate)) for p, rate in zip(single, rates, strict=True)]
    for i in range(5):
        now = rates * 0.7**i
        if written:
            runs.numbers["lr"].copy_(now)
        else:
            runs.numbers["lr"] = now
        grads = randn(R, 4, seed=10 + i)
        runs.step({"w": grads})
        for r in range(R):
            single[r].grad = grads[r].clone()
            optimizers[r].param_groups[0]["lr"] = float(now[r])
            optimizers[r].step()
            torch.testing.assert_close(params["w"][r], single[r].detach(), rtol=1e-12, atol=1e-13)


@every_variant_with_box
@pytest.mark.parametrize("counts", ["own", "common"])
def test_row_lazy_replicas_are_row_lazy_runs(variant: Variant, counts: str) -> None:
    together, apart = keywords_of(variant)
    if variant.name != "GD":
        together, *apart = ({**x, "row_counts": counts} for x in (together, *apart))
    cls = OPTIMIZERS[variant.name]
    rows = 5
    params = {"table": randn(R, rows, 2)}
    single = [params["table"][r].clone().requires_grad_() for r in range(R)]
    runs = Replicas(cls, params, **together)
    optimizers = [cls([single[r]], **apart[r]) for r in range(R)]
    for i in range(60):
        chosen = torch.randint(0, rows, (R, 3), generator=torch.Generator().manual_seed(i))
        values = randn(R, 3, 2, seed=i)
        index = torch.stack([torch.arange(R).repeat_interleave(3), chosen.flatten()])
        g = torch.sparse_coo_tensor(index, values.flatten(0, 1), (R, rows, 2), check_invariants=True)
        runs.step({"table": g})
        for r in range(R):
            single[r].grad = torch.sparse_coo_tensor(chosen[r][None], values[r], (rows, 2), check_invariants=True)
            optimizers[r].step()
    for r in range(R):
        torch.testing.assert_close(params["table"][r], single[r].detach(), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_other_dtypes_keep_float32_state(dtype: torch.dtype) -> None:
    params = {"w": randn(R, 4, dtype=torch.float32).to(dtype)}
    single = [params["w"][r].clone().requires_grad_() for r in range(R)]
    runs = Replicas(nadam_ref.Nadam, params, lr=[0.1, 0.01, 0.2])
    optimizers = [nadam_ref.Nadam([p], lr=lr) for p, lr in zip(single, [0.1, 0.01, 0.2], strict=True)]
    for i in range(20):
        g = randn(R, 4, seed=i).to(dtype)
        runs.step({"w": g})
        for r in range(R):
            single[r].grad = g[r].clone()
            optimizers[r].step()
    assert params["w"].dtype == dtype
    assert runs.state["w"]["exp_avg"].dtype == torch.float32
    eps = torch.finfo(dtype).eps
    for r in range(R):
        torch.testing.assert_close(params["w"][r], single[r].detach(), rtol=4 * eps, atol=4 * eps)


def test_with_torch_func_an_ensemble_trains_as_its_members_do() -> None:
    torch.manual_seed(0)
    members = [torch.nn.Linear(3, 1).double() for _ in range(R)]
    x, y = randn(20, 3), randn(20, 1, seed=1)
    stacked, _ = stack_module_state(members)
    params = {k: v.detach().clone() for k, v in stacked.items()}
    skeleton = copy.deepcopy(members[0]).to("meta")

    def loss(params: Any) -> Any:
        return (functional_call(skeleton, params, x) - y).square().mean()

    rates = [0.1, 0.03, 0.01]
    runs = Replicas(nadam_ref.Nadam, params, lr=rates)
    optimizers = [nadam_ref.Nadam(m.parameters(), lr=lr) for m, lr in zip(members, rates, strict=True)]
    for _ in range(30):
        runs.step(vmap(grad(loss))(params))
        for member, optimizer in zip(members, optimizers, strict=True):
            optimizer.zero_grad()
            (member(x) - y).square().mean().backward()
            optimizer.step()
    for r, member in enumerate(members):
        torch.testing.assert_close(params["weight"][r], member.weight.detach(), rtol=1e-10, atol=1e-12)


def test_parameters_without_gradient_rest_and_count_for_themselves() -> None:
    params = {"a": randn(R, 2), "b": randn(R, 2, seed=1)}
    before = params["b"].clone()
    runs = Replicas(nadam_ref.Nadam, params)
    runs.step({"a": torch.ones(R, 2, dtype=torch.float64)})
    assert torch.equal(params["b"], before)
    runs.step({name: torch.ones(R, 2, dtype=torch.float64) for name in params})
    assert runs.state["a"]["step"].tolist() == [2.0] * R
    assert runs.state["b"]["step"].tolist() == [1.0] * R


def test_state_goes_on_bitwise() -> None:
    params = {"w": randn(R, 4)}
    runs = Replicas(nadam_ref.Nadam, params, lr=[0.1, 0.2, 0.3])
    for i in range(5):
        runs.step({"w": randn(R, 4, seed=i)})
    other = {"w": params["w"].clone()}
    resumed = Replicas(nadam_ref.Nadam, other, lr=[0.1, 0.2, 0.3])
    resumed.load_state_dict(runs.state_dict())
    for i in range(5):
        runs.step({"w": randn(R, 4, seed=i)})
        resumed.step({"w": randn(R, 4, seed=i)})
    assert torch.equal(params["w"], other["w"])
    with pytest.raises(ValueError, match="does not fit"):
        Replicas(nadam_ref.Adam, other).load_state_dict(runs.state_dict())


def test_replicas_whose_rows_count_for_themselves_do_not_go_on_under_one_count() -> None:
    params = {"w": randn(R, 4, 2)}
    runs = Replicas(nadam_ref.Nadam, params)
    runs.step({"w": randn(R, 4, 2).to_sparse(2)})
    with pytest.raises(ValueError, match="'w' has rows under their own counts"):
        Replicas(nadam_ref.Nadam, params, row_counts="common").load_state_dict(runs.state_dict())


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="first dimension of every parameter"):
        Replicas(nadam_ref.Nadam, {"a": torch.zeros(2, 3), "b": torch.zeros(3, 3)})
    with pytest.raises(ValueError, match="first dimension of every parameter"):
        Replicas(nadam_ref.Nadam, {"a": torch.zeros(())})
    with pytest.raises(ValueError, match="replicas must be on one device, not on cpu, meta"):
        Replicas(nadam_ref.Nadam, {"a": torch.zeros(2), "b": torch.zeros(2, device="meta")})
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        Replicas(nadam_ref.Nadam, {"a": torch.zeros(2)}, lr=[0.1, -1.0])
    with pytest.raises(ValueError, match="lr has 3 values for 2 replicas"):
        Replicas(nadam_ref.Nadam, {"a": torch.zeros(2)}, lr=[0.1, 0.2, 0.3])
    with pytest.raises(TypeError, match="has no keyword `beta`"):
        Replicas(nadam_ref.Nadam, {"a": torch.zeros(2)}, beta=[0.1, 0.2])
    with pytest.raises(ValueError, match="common to all or to none"):
        Replicas(nadam_ref.Adam, {"a": torch.zeros(2)}, momentum_decay=[None, 0.004])
    with pytest.raises(ValueError, match="gamma is None for some replicas only"):
        Replicas(nadam_ref.Nadam, {"a": torch.zeros(2)}, dialect="interpolated", gamma=[None, 0.5])
    with pytest.raises(ValueError, match=r"dialect differs between replicas, \['iclr', 'choi'\]: only numbers may"):
        Replicas(nadam_ref.Nadam, {"a": torch.zeros(2)}, dialect=["iclr", "choi"], momentum_decay=None)
    runs = Replicas(nadam_ref.Nadam, {"a": torch.zeros(2, 3, 4)})
    with pytest.raises(RuntimeError, match=r"sparse_dim\(\) = 2 \(replica, row\), not 1"):
        runs.step({"a": torch.ones(2, 3, 4).to_sparse(1)})


#: Gradients of a parameter of shape (2, 4, 3) that do not fit it, and how they are refused.
GRADIENTS = {
    "another shape": (torch.ones(4), RuntimeError, r"a gradient \(shape \(4,\).*\) does not fit its parameter"),
    "complex": (torch.ones(2, 4, 3) * 1j, RuntimeError, "a gradient of dtype torch.complex64 does not fit"),
    "no row": (
        torch.sparse_coo_tensor([[0], [7]], torch.ones(1, 3), (2, 4, 3), check_invariants=False),
        IndexError,
        "the index 7 in dimension 1, where its parameter has size 4",
    ),
    "sparse in one dimension": (torch.ones(2, 4, 3).to_sparse(1), RuntimeError, r"sparse_dim\(\) = 2"),
}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("begun", [False, True], ids=["first step", "later step"])
@pytest.mark.parametrize("what", GRADIENTS)
def test_fault_110_a_step_that_raises_has_changed_nothing(what: str, begun: bool, fused: bool) -> None:
    gradient, error, text = GRADIENTS[what]
    params = {"first": torch.ones(2, 3), "last": torch.ones(2, 4, 3)}
    runs = Replicas(nadam_ref.Nadam, params, lr=[0.1, 0.2], fused=fused)
    if begun:
        runs.step({name: torch.ones_like(p) for name, p in params.items()})
    before = copy.deepcopy((params, runs.state))
    with pytest.raises(error, match=text):
        runs.step({"first": torch.ones(2, 3), "last": gradient})
    with pytest.raises(ValueError, match=r"gradients of unknown parameters \['other'\]: there are \['first', 'last'\]"):
        runs.step({"first": torch.ones(2, 3), "other": torch.ones(2, 3)})
    assert str((params, runs.state)) == str(before)


@pytest.mark.parametrize("fused", [False, True])
def test_gradients_of_another_dtype_than_their_parameters(fused: bool) -> None:
    params, truth = {"w": torch.ones(R, 2)}, {"w": torch.ones(R, 2)}
    runs, other = (Replicas(nadam_ref.Nadam, x, fused=fused) for x in (params, truth))
    for dtype in (torch.float64, torch.int32, torch.float16):
        runs.step({"w": torch.full((R, 2), 2, dtype=dtype)})
        other.step({"w": torch.full((R, 2), 2.0)})
    assert torch.equal(params["w"], truth["w"])


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64], ids=str)
def test_fault_12_replicas_are_of_floating_point(dtype: torch.dtype) -> None:
    with pytest.raises(TypeError, match=rf"can't optimize replicas of dtype {dtype} \(w\): floating point is needed"):
        Replicas(nadam_ref.GD, {"b": torch.ones(R), "w": torch.ones(R, 2, dtype=dtype)})


STATES = {
    "of three replicas": lambda state: {key: torch.cat([x, x[:1]]) for key, x in state.items()},
    "counts of other rows": lambda state: {**state, "step": torch.ones(2, 5)},
    "another shape": lambda state: {**state, "exp_avg": torch.ones(2, 3, 1)},
    "complex": lambda state: {**state, "exp_avg": torch.ones(2, 4, 3) * 1j},
    "a list": lambda state: {**state, "exp_avg_sq": [1.0, 2.0]},
}


@pytest.mark.parametrize("what", STATES)
def test_fault_23_state_that_does_not_fit_is_refused_and_changes_nothing(what: str) -> None:
    runs = Replicas(nadam_ref.Nadam, {"w": torch.ones(2, 4, 3)})
    runs.step({"w": torch.ones(2, 4, 3)})
    before = copy.deepcopy(runs.state)
    with pytest.raises(ValueError, match=r"of 'w' \(.*\) does not fit: real numbers of shape \(2,.*\) are needed"):
        runs.load_state_dict({"w": STATES[what](runs.state_dict()["w"])})
    assert str(runs.state) == str(before)


def test_fault_23_state_comes_to_the_dtype_that_is_kept_and_rows_keep_their_counts() -> None:
    grads = [torch.ones(2, 4, 3), torch.ones(2, 4, 3).to_sparse(2)]
    runs = Replicas(nadam_ref.Nadam, {"w": torch.ones(2, 4, 3, dtype=torch.float64)})
    for g in grads:
        runs.step({"w": g})
    resumed = Replicas(nadam_ref.Nadam, {"w": torch.ones(2, 4, 3)})
    resumed.load_state_dict(runs.state_dict())
    kept = {key: (x.dtype, tuple(x.shape)) for key, x in resumed.state["w"].items()}
    counts = dict.fromkeys(["step", "mu_product"], (torch.float64, (2, 4)))
    assert kept == {**counts, **dict.fromkeys(["exp_avg", "exp_avg_sq"], (torch.float32, (2, 4, 3)))}

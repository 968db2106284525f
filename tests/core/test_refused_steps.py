"""What a step takes as torch's does, and what it refuses: then it has changed nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from conformance import every_optimizer
from torch import Tensor, nn
from variants import PATHS

import nadam_ref
from nadam_ref import OPTIMIZERS

every_path = pytest.mark.parametrize("path", ["for-loop", "default", "foreach", "fused"])


def parameters() -> list[Any]:
    sizes = ((3,), (4, 2), (2, 2))
    return [nn.Parameter(torch.linspace(-1, 1, torch.Size(size).numel()).reshape(size).double()) for size in sizes]


def give(params: Any, step: int = 0) -> None:
    for p in params:
        p.grad = torch.cos(p.detach() + step)


# Each is done to the optimizer of two groups, and leaves its last parameter, or its last group, not fit for a step.


def other_shape(p: Tensor, optimizer: Any) -> None:
    p.grad = None
    p.data = torch.ones(5, dtype=p.dtype)
    p.grad = torch.ones_like(p)


def old_gradient(p: Tensor, optimizer: Any) -> None:
    """A gradient that was made for another shape."""
    p.data = torch.ones(2, dtype=p.dtype)


def integers(p: Tensor, optimizer: Any) -> None:
    gradient = p.grad
    p.requires_grad_(False).data = torch.ones(p.shape, dtype=torch.int64)
    assert p.grad is gradient


def complex_gradient(p: Tensor, optimizer: Any) -> None:
    if not hasattr(p, "grad_dtype"):
        pytest.skip("this torch refuses it earlier")
    p.grad_dtype = None
    p.grad = torch.ones_like(p, dtype=torch.complex128)


def no_row(p: Tensor, optimizer: Any) -> None:
    p.grad = torch.sparse_coo_tensor([[0]], torch.ones(1, 2).double(), p.shape, check_invariants=False)
    nadam_ref.compat.stored(p.grad)[0][0, 0] = 7


def no_column(p: Tensor, optimizer: Any) -> None:
    p.grad = torch.sparse_coo_tensor([[0], [0]], torch.ones(1).double(), p.shape, check_invariants=False)
    nadam_ref.compat.stored(p.grad)[0][1, 0] = -1


def a_string(p: Tensor, optimizer: Any) -> None:
    optimizer.param_groups[1]["lr"] = "1e-3"


def nothing(p: Tensor, optimizer: Any) -> None:
    optimizer.param_groups[1]["weight_decay"] = None


def excluding_flags(p: Tensor, optimizer: Any) -> None:
    optimizer.param_groups[1].update(fused=True, foreach=True)


def no_key(p: Tensor, optimizer: Any) -> None:
    del optimizer.param_groups[1]["maximize"]


REASONS = {
    other_shape: (RuntimeError, r"state \(shape \(2, 2\).*\) does not fit its parameter \(shape \(5,\)"),
    old_gradient: (RuntimeError, r"gradient \(shape \(2, 2\).*\) does not fit its parameter \(shape \(2,\)"),
    integers: (TypeError, "can't optimize a parameter of dtype torch.int64"),
    complex_gradient: (RuntimeError, r"a gradient of dtype torch.complex128 does not fit"),
    no_row: (IndexError, "a sparse gradient has the index 7 in dimension 0, where its parameter has size 2"),
    no_column: (IndexError, "a sparse gradient has the index -1 in dimension 1, where its parameter has size 2"),
    a_string: (ValueError, r"write 1\.0e-3 in YAML"),
    nothing: (ValueError, "weight_decay=None is a NoneType"),
    excluding_flags: (RuntimeError, "cannot be `True` together"),
    no_key: (KeyError, "maximize"),
}


@every_path
@pytest.mark.parametrize("begun", [False, True], ids=["first step", "later step"])
@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.__name__)
@every_optimizer
def test_fault_110_a_step_that_raises_has_changed_nothing(name: str, reason: Any, begun: bool, path: str) -> None:
    first, second, last = parameters()
    optimizer = OPTIMIZERS[name]([{"params": [first, second]}, {"params": [last]}], lr=0.1, **PATHS[path])
    if begun:
        give([first, second, last])
        optimizer.step()
    elif reason is other_shape:
        pytest.skip("there is no state that it does not fit")
    if reason is other_shape and last not in optimizer.state:
        pytest.skip("it keeps no state")
    give([first, second, last], 1)
    reason(last, optimizer)
    before = copy.deepcopy((first, second, dict(optimizer.state)))
    known = set(optimizer.state)
    error, text = REASONS[reason]
    with pytest.raises(error, match=text):
        optimizer.step()
    assert torch.equal(first, before[0]) and torch.equal(second, before[1])
    assert set(optimizer.state) == known
    for state, old in zip(optimizer.state.values(), before[2].values(), strict=True):
        assert list(state) == list(old) and all(torch.equal(state[key], old[key]) for key in old)


@every_path
@every_optimizer
def test_fault_110_a_closure_that_raises_has_changed_nothing(name: str, path: str) -> None:
    params = parameters()
    optimizer = OPTIMIZERS[name](params, **PATHS[path])
    give(params)

    def closure() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        optimizer.step(closure)
    assert all(map(torch.equal, params, parameters())) and not optimizer.state


@every_path
@every_optimizer
def test_fault_20_state_follows_its_parameter_to_another_dtype(name: str, path: str) -> None:
    """`module.double()` after some steps. torch's Adam and NAdam raise, after they have moved other parameters."""
    params, truth = ([nn.Parameter(p.detach().float()) for p in parameters()] for _ in range(2))
    optimizer, loop = OPTIMIZERS[name](params, **PATHS[path]), OPTIMIZERS[name](truth, foreach=False)
    for step in range(4):
        if step == 2:
            for p in params:
                p.grad, p.data = None, p.data.double()
            wide = [nn.Parameter(p.detach().double()) for p in truth]
            saved, loop = loop.state_dict(), OPTIMIZERS[name](wide, foreach=False)
            loop.load_state_dict(saved)
            truth = wide
        for some in (params, truth):
            for p in some:
                p.grad = torch.full_like(p, 0.5 + step)
        optimizer.step(), loop.step()
    for p, q in zip(params, truth, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)
        assert all(x.dtype == torch.float64 for x in optimizer.state.get(p, {}).values())


@pytest.mark.parametrize("path", ["for-loop", "default", "foreach", "capturable"])
@every_optimizer
def test_fault_20_state_follows_its_parameter_to_another_device(name: str, path: str) -> None:
    """To the meta device, which every machine has; counts stay on the CPU where they are not captured."""
    p = nn.Parameter(torch.ones(3))
    optimizer = OPTIMIZERS[name]([p], **PATHS[path])
    p.grad = torch.ones(3)
    optimizer.step()
    p.grad = None
    torch.utils.swap_tensors(p, nn.Parameter(p.detach().to("meta")))
    p.grad = torch.ones(3, device="meta")
    optimizer.step()
    on = {name: x.device.type for name, x in optimizer.state.get(p, {}).items()}
    counts = "meta" if path == "capturable" else "cpu"
    assert p.is_meta and on == {name: counts if name in ("step", "mu_product") else "meta" for name in on}


@pytest.mark.skipif(not hasattr(nn.Parameter(torch.ones(1)), "grad_dtype"), reason="this torch has no such gradients")
@every_path
@every_optimizer
def test_gradients_of_another_dtype_than_their_parameters(name: str, path: str) -> None:
    p, q = (nn.Parameter(torch.ones(3)) for _ in range(2))
    p.grad_dtype = None
    optimizers = [OPTIMIZERS[name]([x], lr=0.1, **PATHS[path]) for x in (p, q)]
    for dtype in (torch.float64, torch.int32, torch.float16, torch.float32):
        q.grad = torch.full_like(q, 2)
        p.grad = torch.full((3,), 2, dtype=dtype)
        for optimizer in optimizers:
            optimizer.step()
        assert torch.equal(p, q)


# -- sparse in more than one dimension ---------------------------------------------------------------------------------

#: torch's class, where it takes sparse gradients and means the same by them.
TWINS = {"GD": torch.optim.SGD, "AdaGrad": torch.optim.Adagrad}


def sparse(step: int, dims: int) -> Any:
    g = torch.zeros(4, 3, 2, dtype=torch.float64)
    g[step % 4, 1, 0], g[3, 2], g[3, 0, 1] = 1.0, -2.0, 0.5 + step
    return g.to_sparse(dims)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")  # of torch's Adagrad
@every_path
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", TWINS)
def test_sparse_in_several_dimensions_as_torchs_class(name: str, dims: int, path: str) -> None:
    weights = [nn.Parameter(torch.ones(4, 3, 2, dtype=torch.float64)) for _ in range(2)]
    for cls, w, flags in zip((OPTIMIZERS[name], TWINS[name]), weights, (PATHS[path], {}), strict=True):
        optimizer = cls([w], lr=0.1, **flags)
        for step in range(3):
            w.grad = sparse(step, dims)
            optimizer.step()
    torch.testing.assert_close(*weights, rtol=1e-13, atol=0)


@every_path
@every_optimizer
def test_sparse_in_several_dimensions_gives_its_rows(name: str, path: str) -> None:
    weights = [nn.Parameter(torch.ones(4, 3, 2, dtype=torch.float64)) for _ in range(3)]
    for dims, w in enumerate(weights, start=1):
        optimizer = OPTIMIZERS[name]([w], lr=0.1, weight_decay=0.1, **PATHS[path])
        for step in range(3):
            w.grad = sparse(step, dims)
            optimizer.step()
    assert torch.equal(weights[0], weights[1]) and torch.equal(weights[0], weights[2])


@every_path
@every_optimizer
def test_a_scalar_with_a_sparse_gradient_is_a_scalar(name: str, path: str) -> None:
    p, q = (nn.Parameter(torch.tensor(1.0)) for _ in range(2))
    for x, g in ((p, torch.tensor(0.5).to_sparse()), (q, torch.tensor(0.5))):
        optimizer = OPTIMIZERS[name]([x], **PATHS[path])
        for _ in range(2):
            x.grad = g.clone()
            optimizer.step()
    assert torch.equal(p, q)

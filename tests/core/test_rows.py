"""Row-lazy updates: sparse gradients, as `nn.Embedding(sparse=True)` gives them, against box and dense rule."""

import copy

import numpy as np
import pytest
import torch
from arms import ARMS, COMMON
from test_optimizer import parameter

from nadam_ref import OPTIMIZERS, paper

ROWS, WIDTH, STEPS = 7, 3, 120
arms = pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.id)
TEN = [next(arm for arm in ARMS if arm.name == name) for name in OPTIMIZERS]
ten = pytest.mark.parametrize("arm", TEN, ids=lambda arm: arm.name)


def stream(always=(), seed=0):
    """For every step the rows that occur, some of them twice, with a gradient for each occurrence."""
    rng = np.random.default_rng(seed)
    for _ in range(STEPS):
        rows = np.concatenate([np.array(always, dtype=int), rng.integers(0, ROWS, rng.integers(1, 6))])
        yield rows, rng.standard_normal((len(rows), WIDTH)) * 10.0 ** rng.uniform(-2, 1)


def summed(rows, values):
    return {int(i): values[rows == i].sum(axis=0) for i in np.unique(rows)}


def sparse(rows, values, dtype=torch.float64):
    index, values = torch.tensor(rows)[None], torch.tensor(values, dtype=dtype)
    return torch.sparse_coo_tensor(index, values, (ROWS, WIDTH), check_invariants=True)


def dense(rows, values):
    return sparse(rows, values).to_dense()


def step(optimizer, p, grad):
    p.grad = grad
    optimizer.step()


@arms
@pytest.mark.parametrize("flags", [{}, {"foreach": True}, {"fused": True}, {"capturable": True}], ids=str)
def test_fault_15_row_lazy_is_its_box(arm, flags):
    """Uncoalesced and repeated rows are summed once; every row counts its own steps."""
    p = parameter(ROWS, WIDTH)
    optimizer = arm.optimizer([p], **flags)
    names = {k: COMMON[k] for k in arm.uses}
    occurring = [summed(rows, values) for rows, values in stream()]
    box = paper.path(paper.row_lazy, p.detach().numpy(), lambda _, s: occurring[s - 1], STEPS, of=arm.box, **names)
    for rows, values in stream():
        step(optimizer, p, sparse(rows, values))
    assert np.abs(p.detach().numpy() - box[-1]).max() <= 1e-13 * np.abs(box[-1]).max()


@arms
def test_where_every_row_occurs_in_every_step_it_is_the_dense_rule(arm):
    p, q = parameter(ROWS, WIDTH), parameter(ROWS, WIDTH)
    a, b = arm.optimizer([p], weight_decay=0.01), arm.optimizer([q], weight_decay=0.01)
    for rows, values in stream(always=range(ROWS)):
        step(a, p, sparse(rows, values))
        step(b, q, dense(rows, values))
    torch.testing.assert_close(p, q, rtol=1e-13, atol=1e-13)
    for name, x in b.state[q].items():
        torch.testing.assert_close(a.state[p][name], x.expand_as(a.state[p][name]), rtol=1e-12, atol=1e-13)


@ten
def test_rows_that_do_not_occur_keep_everything(arm):
    p = parameter(ROWS, WIDTH)
    optimizer = arm.optimizer([p], weight_decay=0.1)
    for rows, values in stream():
        step(optimizer, p, sparse(rows, values))
    before, state = p.detach().clone(), copy.deepcopy(dict(optimizer.state.get(p, {})))
    step(optimizer, p, sparse(np.array([2, 5, 2]), np.ones((3, WIDTH))))
    rest = [0, 1, 3, 4, 6]
    assert torch.equal(p[rest], before[rest])
    assert (p[[2, 5]] != before[[2, 5]]).all()
    for name, x in state.items():
        assert torch.equal(optimizer.state[p][name][rest], x[rest])


@ten
def test_dense_and_sparse_gradients_may_take_turns(arm):
    """A dense gradient is one in which every row occurs."""
    p, q = parameter(ROWS, WIDTH), parameter(ROWS, WIDTH)
    mixed, lazy = arm.optimizer([p]), arm.optimizer([q])
    for i, (rows, values) in enumerate(stream()):
        if i % 3:
            step(mixed, p, sparse(rows, values))
            step(lazy, q, sparse(rows, values))
        else:
            full = dense(rows, values)
            step(mixed, p, full)
            step(lazy, q, full.to_sparse(1) if len(set(rows)) == ROWS else sparse(np.arange(ROWS), full.numpy()))
    torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)


@ten
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64], ids=str)
def test_other_dtypes(arm, dtype):
    p = parameter(ROWS, WIDTH, dtype=dtype)
    q = p.detach().clone().requires_grad_()
    a, b = arm.optimizer([p]), arm.optimizer([q])
    for rows, values in stream(always=range(ROWS)):
        g = sparse(rows, values, dtype).coalesce()
        step(a, p, g)
        step(b, q, g.to_dense())
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(p, q, rtol=8 * eps, atol=8 * eps)


@ten
def test_an_embedding_trains_and_resumes_bitwise(arm):
    torch.manual_seed(0)
    table = torch.nn.Embedding(ROWS, WIDTH, sparse=True, dtype=torch.float64)
    twin = copy.deepcopy(table)

    def train(module, optimizer, steps, seed):
        generator = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            optimizer.zero_grad()
            module(torch.randint(0, ROWS, (4,), generator=generator)).square().sum().backward()
            optimizer.step()

    first = arm.optimizer(table.parameters())
    train(table, first, 10, seed=1)
    twin.load_state_dict(table.state_dict())
    second = arm.optimizer(twin.parameters())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(table, first, 10, seed=2)
    train(twin, second, 10, seed=2)
    assert torch.equal(table.weight, twin.weight)


def test_what_is_not_rows_is_refused():
    p = parameter(3, 2)
    scattered = torch.ones(3, 2, dtype=torch.float64).to_sparse(2)
    with pytest.raises(RuntimeError, match=r"sparse gradients with sparse_dim\(\) = 2: it updates whole rows"):
        step(OPTIMIZERS["Nadam"]([p]), p, scattered)
    with pytest.raises(RuntimeError, match="sparse gradients with differentiable=True"):
        step(OPTIMIZERS["Nadam"]([p], differentiable=True), p, torch.ones(3, 2, dtype=torch.float64).to_sparse(1))

"""Row-lazy updates: sparse gradients, as `nn.Embedding(sparse=True)` gives them, against box and dense rule."""

import copy

import numpy as np
import pytest
import torch
from arms import ARMS, COMMON
from test_optimizer import parameter

from nadam_ref import OPTIMIZERS, AdaGrad, Adam, Nadam, paper

ROWS, WIDTH, STEPS = 7, 3, 120
arms = pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.id)
TEN = [next(arm for arm in ARMS if arm.name == name) for name in OPTIMIZERS]
BOXES = {"own": paper.row_lazy, "common": paper.row_lazy_common}
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
@pytest.mark.parametrize("counts", BOXES)
@pytest.mark.parametrize("flags", [{}, {"foreach": True}, {"fused": True}, {"capturable": True}], ids=str)
def test_fault_15_row_lazy_is_its_box(arm, flags, counts):
    """Uncoalesced and repeated rows are summed once; every row counts its own steps, or all have one count."""
    p = parameter(ROWS, WIDTH)
    optimizer = arm.optimizer([p], **flags, **({} if arm.name == "GD" else {"row_counts": counts}))
    names = {k: COMMON[k] for k in arm.uses}
    occurring = [summed(rows, values) for rows, values in stream()]
    box = paper.path(BOXES[counts], p.detach().numpy(), lambda _, s: occurring[s - 1], STEPS, of=arm.box, **names)
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


def follow_torch(cls, theirs, **keywords):
    """Our table and that of torch's class after the stream."""
    p, q = parameter(ROWS, WIDTH), parameter(ROWS, WIDTH)
    a, b = cls([p], row_counts="common", **keywords), theirs([q], **keywords)
    for rows, values in stream():
        step(a, p, sparse(rows, values))
        step(b, q, sparse(rows, values))
    return a, b, p, q


def test_under_one_count_adam_is_torchs_sparse_adam_and_takes_over_its_checkpoint():
    """Where ε does not matter: torch's stands beside the root of n before its correction."""
    keywords = {"lr": 0.01, "betas": (0.95, 0.98), "eps": 1e-40}
    a, b, p, q = follow_torch(Adam, torch.optim.SparseAdam, **keywords)
    torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)
    assert a.state[p]["step"].dim() == 0
    third = q.detach().clone().requires_grad_()
    resumed = Adam([third], row_counts="common")
    resumed.load_state_dict(b.state_dict())
    for rows, values in stream(seed=1):
        step(resumed, third, sparse(rows, values))
        step(b, q, sparse(rows, values))
    torch.testing.assert_close(third, q, rtol=1e-12, atol=1e-13)


def test_under_one_count_adagrad_is_torchs():
    with torch.sparse.check_sparse_tensor_invariants():
        _, _, p, q = follow_torch(AdaGrad, torch.optim.Adagrad, lr=0.1, lr_decay=0.05)
    torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)


def test_a_step_in_which_no_row_occurs_counts_where_the_count_is_common():
    nothing = sparse(np.array([], dtype=int), np.zeros((0, WIDTH)))
    for counts, expected in (("own", 0), ("common", 1)):
        p = parameter(ROWS, WIDTH)
        optimizer = Adam([p], row_counts=counts)
        step(optimizer, p, nothing)
        assert (optimizer.state[p]["step"] == expected).all()


@pytest.mark.parametrize("counts", BOXES)
def test_a_checkpoint_keeps_its_counts(counts):
    other = {"own": "common", "common": "own"}[counts]
    p = parameter(ROWS, WIDTH)
    optimizer = Nadam([p], row_counts=counts)
    for rows, values in stream():
        step(optimizer, p, sparse(rows, values))
    saved = optimizer.state_dict()
    second = Nadam([p.detach().clone().requires_grad_()], row_counts=other)
    message = f"checkpoint's rows .*count.* row_counts='{other}': make it with row_counts='{counts}'"
    before = copy.deepcopy(second.state_dict())
    with pytest.raises(ValueError, match=message):
        second.load_state_dict(copy.deepcopy(saved))
    assert str(second.state_dict()) == str(before)
    Nadam([p.detach().clone().requires_grad_()], row_counts=counts).load_state_dict(saved)


def test_rows_counted_by_an_older_version_are_told_by_their_shape():
    p = parameter(ROWS, WIDTH)
    optimizer = Nadam([p])
    for rows, values in stream():
        step(optimizer, p, sparse(rows, values))
    saved = optimizer.state_dict()
    del saved["param_groups"][0]["row_counts"]
    with pytest.raises(ValueError, match="make it with row_counts='own'"):
        Nadam([parameter(ROWS, WIDTH)], row_counts="common").load_state_dict(copy.deepcopy(saved))
    Nadam([parameter(ROWS, WIDTH)]).load_state_dict(saved)


def test_what_is_not_rows_is_refused():
    p = parameter(3, 2)
    scattered = torch.ones(3, 2, dtype=torch.float64).to_sparse(2)
    with pytest.raises(RuntimeError, match=r"sparse gradients with sparse_dim\(\) = 2: it updates whole rows"):
        step(OPTIMIZERS["Nadam"]([p]), p, scattered)
    with pytest.raises(RuntimeError, match="sparse gradients with differentiable=True"):
        step(OPTIMIZERS["Nadam"]([p], differentiable=True), p, torch.ones(3, 2, dtype=torch.float64).to_sparse(1))

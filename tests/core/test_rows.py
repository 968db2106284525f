"""Row-lazy updates: sparse gradients, as `nn.Embedding(sparse=True)` gives them, against box and dense rule."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from test_optimizer import parameter
from torch import Tensor
from variants import Variant, every_variant_with_box, ten

import nadam_ref
from nadam_ref import OPTIMIZERS, RULES, AdaGrad, Adam, Nadam, paper
from nadam_ref import rows as row_lazy
from nadam_ref.fused import sparse as fused
from nadam_ref.fused.codegen import spell
from nadam_ref.fused.pointers import NoKernelError
from nadam_ref.kernels import Prelude

ROWS, WIDTH, STEPS = 7, 3, 120
BOXES = {"own": paper.row_lazy, "common": paper.row_lazy_common}


def stream(always: Any = (), seed: int = 0) -> Iterator[Any]:
    """For every step the rows that occur, some of them twice, with a gradient for each occurrence."""
    rng = np.random.default_rng(seed)
    for _ in range(STEPS):
        rows = np.concatenate([np.array(always, dtype=int), rng.integers(0, ROWS, rng.integers(1, 6))])
        yield rows, rng.standard_normal((len(rows), WIDTH)) * 10.0 ** rng.uniform(-2, 1)


def summed(rows: Any, values: Any) -> dict[str, Any]:
    return {int(i): values[rows == i].sum(axis=0) for i in np.unique(rows)}


def sparse(rows: Any, values: Any, dtype: torch.dtype = torch.float64) -> Any:
    index, values = torch.tensor(rows)[None], torch.tensor(values, dtype=dtype)
    return torch.sparse_coo_tensor(index, values, (ROWS, WIDTH), check_invariants=True)


def dense(rows: Any, values: Any) -> Any:
    return sparse(rows, values).to_dense()


def step(optimizer: Any, p: Tensor, grad: Any) -> None:
    p.grad = grad
    optimizer.step()


@every_variant_with_box
@pytest.mark.parametrize("counts", BOXES)
@pytest.mark.parametrize("flags", [{}, {"foreach": True}, {"fused": True}, {"capturable": True}], ids=str)
def test_fault_15_row_lazy_is_its_box(variant: Variant, flags: dict[str, Any], counts: str) -> None:
    """Uncoalesced and repeated rows are summed once; every row counts its own steps, or all have one count."""
    p = parameter(ROWS, WIDTH)
    optimizer = variant.optimizer([p], **flags, **({} if variant.name == "GD" else {"row_counts": counts}))
    occurring = [summed(rows, values) for rows, values in stream()]
    box = paper.path(
        BOXES[counts], p.detach().numpy(), lambda _, s: occurring[s - 1], STEPS, of=variant.box, **variant.uses
    )
    for rows, values in stream():
        step(optimizer, p, sparse(rows, values))
    assert np.abs(p.detach().numpy() - box[-1]).max() <= 1e-13 * np.abs(box[-1]).max()


@every_variant_with_box
def test_where_every_row_occurs_in_every_step_it_is_the_dense_rule(variant: Variant) -> None:
    p, q = parameter(ROWS, WIDTH), parameter(ROWS, WIDTH)
    a, b = variant.optimizer([p], weight_decay=0.01), variant.optimizer([q], weight_decay=0.01)
    for rows, values in stream(always=range(ROWS)):
        step(a, p, sparse(rows, values))
        step(b, q, dense(rows, values))
    torch.testing.assert_close(p, q, rtol=1e-13, atol=1e-13)
    for name, x in b.state[q].items():
        torch.testing.assert_close(a.state[p][name], x.expand_as(a.state[p][name]), rtol=1e-12, atol=1e-13)


@ten
def test_rows_that_do_not_occur_keep_everything(variant: Variant) -> None:
    p = parameter(ROWS, WIDTH)
    optimizer = variant.optimizer([p], weight_decay=0.1)
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
def test_dense_and_sparse_gradients_may_take_turns(variant: Variant) -> None:
    """A dense gradient is one in which every row occurs."""
    p, q = parameter(ROWS, WIDTH), parameter(ROWS, WIDTH)
    mixed, lazy = variant.optimizer([p]), variant.optimizer([q])
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
def test_other_dtypes(variant: Variant, dtype: torch.dtype) -> None:
    p = parameter(ROWS, WIDTH, dtype=dtype)
    q = p.detach().clone().requires_grad_()
    a, b = variant.optimizer([p]), variant.optimizer([q])
    for rows, values in stream(always=range(ROWS)):
        g = sparse(rows, values, dtype).coalesce()
        step(a, p, g)
        step(b, q, g.to_dense())
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(p, q, rtol=8 * eps, atol=8 * eps)


@ten
def test_an_embedding_trains_and_resumes_bitwise(variant: Variant) -> None:
    torch.manual_seed(0)
    table = torch.nn.Embedding(ROWS, WIDTH, sparse=True, dtype=torch.float64)
    twin = copy.deepcopy(table)

    def train(module: Any, optimizer: Any, steps: Any, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            optimizer.zero_grad()
            module(torch.randint(0, ROWS, (4,), generator=generator)).square().sum().backward()
            optimizer.step()

    first = variant.optimizer(table.parameters())
    train(table, first, 10, seed=1)
    twin.load_state_dict(table.state_dict())
    second = variant.optimizer(twin.parameters())
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(table, first, 10, seed=2)
    train(twin, second, 10, seed=2)
    assert torch.equal(table.weight, twin.weight)


def follow_torch(cls: Any, theirs: Any, **keywords: Any) -> Any:
    """Our table and that of torch's class after the stream."""
    p, q = parameter(ROWS, WIDTH), parameter(ROWS, WIDTH)
    a, b = cls([p], row_counts="common", **keywords), theirs([q], **keywords)
    for rows, values in stream():
        step(a, p, sparse(rows, values))
        step(b, q, sparse(rows, values))
    return a, b, p, q


def test_under_one_count_adam_is_torchs_sparse_adam_and_takes_over_its_checkpoint() -> None:
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


def test_under_one_count_adagrad_is_torchs() -> None:
    with torch.sparse.check_sparse_tensor_invariants():
        _, _, p, q = follow_torch(AdaGrad, torch.optim.Adagrad, lr=0.1, lr_decay=0.05)
    torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-13)


def test_a_step_in_which_no_row_occurs_counts_where_the_count_is_common() -> None:
    nothing = sparse(np.array([], dtype=int), np.zeros((0, WIDTH)))
    for counts, expected in (("own", 0), ("common", 1)):
        p = parameter(ROWS, WIDTH)
        optimizer = Adam([p], row_counts=counts)
        step(optimizer, p, nothing)
        assert (optimizer.state[p]["step"] == expected).all()


@pytest.mark.parametrize("counts", BOXES)
def test_a_checkpoint_keeps_its_counts(counts: str) -> None:
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


@pytest.mark.parametrize("flags", [{}, {"foreach": True}, {"fused": True}, {"capturable": True}], ids=str)
@pytest.mark.parametrize("rows", [[1], list(range(ROWS))], ids=["a row", "every row"])
def test_fault_110_rows_with_counts_of_their_own_are_not_made_common(rows: list[int], flags: dict[str, Any]) -> None:
    """By an edit of the group: the counts would be those of other rows. The other way round, rows go on from theirs."""
    first, p = parameter(ROWS, WIDTH), parameter(ROWS, WIDTH)
    optimizer = Nadam([{"params": [first]}, {"params": [p]}], **flags)
    for x in (first, p):
        x.grad = sparse(rows, [[1.0] * WIDTH] * len(rows))
    optimizer.step()
    before, saved = copy.deepcopy((first, p)), copy.deepcopy(optimizer.state_dict()["state"])
    optimizer.param_groups[1]["row_counts"] = "common"
    with pytest.raises(ValueError, match=r"shape \(7, 3\) count their own steps, .* set it back to 'own'"):
        optimizer.step()
    assert all(map(torch.equal, (first, p), before)) and str(optimizer.state_dict()["state"]) == str(saved)
    optimizer.param_groups[1]["row_counts"] = "own"
    optimizer.step()
    assert optimizer.state[p]["step"].tolist() == [2.0 if row in rows else 0.0 for row in range(ROWS)]


def test_rows_counted_by_an_older_version_are_told_by_their_shape() -> None:
    p = parameter(ROWS, WIDTH)
    optimizer = Nadam([p])
    for rows, values in stream():
        step(optimizer, p, sparse(rows, values))
    saved = optimizer.state_dict()
    del saved["param_groups"][0]["row_counts"]
    with pytest.raises(ValueError, match="make it with row_counts='own'"):
        Nadam([parameter(ROWS, WIDTH)], row_counts="common").load_state_dict(copy.deepcopy(saved))
    Nadam([parameter(ROWS, WIDTH)]).load_state_dict(saved)


@pytest.mark.parametrize("flags", [{}, {"fused": True}], ids=str)
def test_a_schedule_switched_on_later_has_a_product_for_every_row(flags: dict[str, Any]) -> None:
    p, q = parameter(ROWS, WIDTH), parameter(ROWS, WIDTH)
    for x in (p, q):
        optimizer = OPTIMIZERS["Adam"]([x], **(flags if x is p else {"foreach": False}))
        for decay in (None, 0.5):
            optimizer.param_groups[0]["momentum_decay"] = decay
            step(optimizer, x, sparse(np.array([1, 3]), np.ones((2, WIDTH))))
            step(optimizer, x, torch.ones_like(x))
        assert optimizer.state[x]["mu_product"].shape == (ROWS,)
    torch.testing.assert_close(p, q, rtol=1e-13, atol=0)


def test_fault_15_autograd_does_not_see_rows() -> None:
    p = parameter(3, 2)
    with pytest.raises(RuntimeError, match="sparse gradients with differentiable=True"):
        step(OPTIMIZERS["Nadam"]([p], differentiable=True), p, torch.ones(3, 2, dtype=torch.float64).to_sparse(1))


# -- one compiled call, beside the unfused way -------------------------------------------------------------------------

SHAPES = [(ROWS, WIDTH), (300, 2, 2), (ROWS,)]
KINDS = ["uncoalesced", "coalesced", "not contiguous"]


def parameters(dtype: torch.dtype = torch.float64) -> list[Any]:
    """Three tables, and a parameter with dense gradients."""
    return [parameter(*shape, dtype=dtype, seed=i) for i, shape in enumerate([*SHAPES, (5,)])]


def occurrences(p: Tensor, generator: torch.Generator, kind: str) -> Any:
    """A gradient of some rows, about half of them twice."""
    rows = torch.randint(len(p), (len(p),), generator=generator)
    values = torch.randn((len(p), *p.shape[1:]), dtype=p.dtype, generator=generator)
    if kind == "not contiguous":
        values = values.flip(0).repeat_interleave(2, dim=0)[::2]
    grad = torch.sparse_coo_tensor(rows[None], values, p.shape, check_invariants=True)
    return grad.coalesce() if kind == "coalesced" else grad


def train(
    optimizer: Any, params: Any, steps: Any = range(12), change: Any = lambda optimizer, params, step: None
) -> Any:
    for i in steps:
        generator = torch.Generator().manual_seed(i)
        change(optimizer, params, i)
        for p in params[:-1]:
            p.grad = occurrences(p, generator, KINDS[i % 3])
        params[-1].grad = torch.randn(5, dtype=params[-1].dtype, generator=generator)
        optimizer.step()
    return optimizer, params


def copied(optimizer: Any, params: Any, make: Any, **flags: Any) -> Any:
    """Another optimizer that goes on from here, with parameters of its own."""
    twins = [p.detach().clone().requires_grad_() for p in params]
    twin = make(twins, **flags)
    twin.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    twin.param_groups[0]["fused"] = flags.get("fused")
    return twin, twins


def alike(one: Any, other: Any, ulps: int = 8) -> None:
    """Parameters and state, to some units in the last place of the largest element."""
    (a, ps), (b, qs) = one, other
    pairs = list(zip(ps, qs, strict=True))
    for p, q in zip(ps, qs, strict=True):
        assert list(a.state.get(p, {})) == list(b.state.get(q, {}))
        pairs += [(x, b.state[q][name]) for name, x in a.state.get(p, {}).items()]
    for x, y in pairs:
        bound = ulps * torch.finfo(x.dtype).eps
        torch.testing.assert_close(x, y, rtol=bound, atol=bound * float(y.detach().abs().max()))


def both(dtype: torch.dtype) -> Any:
    """Parameters, and the flag under which they are trained: compiled, and not."""
    return (parameters(dtype), True), (parameters(dtype), None)


@pytest.fixture
def unfused_rows(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tables of fused groups whose rows were updated the unfused way."""
    seen, advance = [], row_lazy._advance_alone

    def watched(settings: Any, p: Tensor, grad: Any, state: Any) -> None:
        seen.extend([p] if settings["fused"] else [])
        advance(settings, p, grad, state)

    monkeypatch.setattr(row_lazy, "_advance_alone", watched)
    return seen


def rate(optimizer: Any, params: Any, step: int) -> None:
    optimizer.param_groups[0]["lr"] = 0.01 / (1 + step)


@every_variant_with_box
@pytest.mark.parametrize("counts", BOXES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_fused_rows_are_the_unfused_rows(
    variant: Variant, counts: str, dtype: torch.dtype, unfused_rows: list[Tensor]
) -> None:
    """With a rate that changes, gradients of every kind, and a dense one among them."""
    flags = {} if variant.name == "GD" else {"row_counts": counts}
    runs = [train(variant.optimizer(x, **flags, fused=flag), x, change=rate) for x, flag in both(dtype)]
    alike(*runs)
    assert not unfused_rows


def betas(optimizer: Any, params: Any, step: int) -> None:
    if step == 5 and "betas" in optimizer.param_groups[0]:
        optimizer.param_groups[0]["betas"] = (0.8, 0.9)


def a_schedule_of_betas(optimizer: Any, params: Any, step: int) -> None:
    if "betas" in optimizer.param_groups[0]:
        optimizer.param_groups[0]["betas"] = (0.9 - 0.01 * step, 0.98)


def tensor_rate(optimizer: Any, params: Any, step: int) -> None:
    optimizer.param_groups[0]["lr"] = torch.tensor(0.01 / (1 + step), dtype=torch.float64)


def moved(optimizer: Any, params: Any, step: int) -> None:
    """Parameters and state somewhere else in memory."""
    for p in params:
        p.data = p.data.clone()
        for name, x in optimizer.state.get(p, {}).items():
            optimizer.state[p][name] = x.clone()


def far_on(optimizer: Any, params: Any, step: int) -> None:
    """Counts that no table of numbers goes up to, and one that is none."""
    if step == 5:
        for state in optimizer.state.values():
            if "step" in state and state["step"].dim():
                state["step"][0] += fused.LIMIT
                state["step"][1] += 0.5


def other_products(optimizer: Any, params: Any, step: int) -> None:
    """As those of a checkpoint in float32."""
    if step == 5:
        for state in optimizer.state.values():
            if "mu_product" in state:
                state["mu_product"].copy_(state["mu_product"].float())


CHANGES = [betas, a_schedule_of_betas, tensor_rate, moved, far_on, other_products]


@ten
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_whatever_changes_fused_rows_are_the_unfused_rows(
    variant: Variant, change: Any, unfused_rows: list[Tensor]
) -> None:
    runs = [train(variant.optimizer(params, fused=flag), params, change=change) for params, flag in both(torch.float64)]
    alike(*runs)
    assert not unfused_rows


@ten
@pytest.mark.parametrize(
    "keywords",
    [{"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}],
    ids=str,
)
def test_fused_rows_with_weight_decay(variant: Variant, keywords: dict[str, Any], unfused_rows: list[Tensor]) -> None:
    """AdaGrad's decay of the rate, too, is in the decoupled decay of the weights."""
    keywords = keywords | ({"lr_decay": 0.1} if variant.name == "AdaGrad" else {})
    runs = [train(variant.optimizer(x, **keywords, fused=flag), x, change=rate) for x, flag in both(torch.float64)]
    alike(*runs)
    assert not unfused_rows


@ten
def test_a_checkpoint_goes_from_fused_to_unfused_and_back(variant: Variant) -> None:
    params = parameters()
    start = train(variant.optimizer(params, fused=True), params)
    unfused, fused_again = copied(*start, variant.optimizer), copied(*start, variant.optimizer, fused=True)
    for run in (start, unfused, fused_again):
        train(*run, steps=range(12, 24))
    alike(start, unfused), alike(start, fused_again)
    fused_later = copied(*unfused, variant.optimizer, fused=True)
    for run in (start, fused_later):
        train(*run, steps=range(24, 36))
    alike(start, fused_later, ulps=256)


@ten
def test_what_the_kernel_does_not_read_goes_the_unfused_way(variant: Variant, unfused_rows: list[Tensor]) -> None:
    """A table with gaps in memory, one in half precision, and a complex one, beside tables that go the fused way."""
    runs = []
    for flag in (True, None):
        params = [parameter(ROWS, 2 * WIDTH).detach()[:, ::2].requires_grad_(), *parameters()]
        params[1:1] = [parameter(ROWS, WIDTH, dtype=dtype) for dtype in (torch.bfloat16, torch.complex64)]
        runs.append(train(variant.optimizer(params, fused=flag), params))
    alike(*runs)
    assert set(map(id, unfused_rows)) == set(map(id, runs[0][1][:3]))


def test_rows_are_summed_in_the_order_in_which_they_occur() -> None:
    generator = torch.Generator().manual_seed(0)
    p, expected = torch.zeros(20, 33, requires_grad=True), torch.zeros(20, 33)
    rows, values = torch.randint(20, (500,), generator=generator), torch.randn(500, 33, generator=generator)
    for row, x in zip(rows, values, strict=True):
        expected[row] += x
    p.grad = torch.sparse_coo_tensor(rows[None], values, p.shape, check_invariants=True)
    OPTIMIZERS["GD"]([p], lr=1.0, fused=True).step()
    assert torch.equal(-p.detach(), expected)


def test_thousands_of_steps_are_one_table_that_doubles(
    unfused_rows: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers are made for powers of two, and nothing falls back."""
    made, numbers = [], row_lazy.number_sets

    def watched(settings: Any, dtype: torch.dtype, t: Any, product: Any) -> Any:
        made.append(len(t))
        return numbers(settings, dtype, t, product)

    monkeypatch.setattr(row_lazy, "number_sets", watched)
    runs = []
    for flag in (True, None):
        p = parameter(ROWS, WIDTH)
        optimizer = Nadam([p], fused=flag)
        for _ in range(1100):
            step(optimizer, p, sparse(np.array([1, 4, 1]), np.ones((3, WIDTH))))
        runs.append((optimizer, [p]))
    alike(*runs, ulps=2000)
    assert made == [3, 256, 512, 1024, 2048]


@pytest.mark.parametrize("row", [-1, ROWS])
@ten
def test_an_index_that_is_no_row_changes_nothing_in_a_first_step(variant: Variant, row: int) -> None:
    p = parameter(ROWS, WIDTH)
    optimizer, before = variant.optimizer([p], fused=True), p.detach().clone()
    p.grad = sparse(np.array([0, 1]), np.ones((2, WIDTH)))
    p.grad._indices()[0, 1] = row
    with pytest.raises(IndexError, match=f"the index {row} in dimension 0, where its parameter has size {ROWS}"):
        optimizer.step()
    assert torch.equal(p, before) and not optimizer.state


@ten
@pytest.mark.parametrize("counts", BOXES)
def test_a_default_device_does_not_move_the_numbers(variant: Variant, counts: str) -> None:
    flags = {} if variant.name == "GD" else {"row_counts": counts}
    p, q = parameter(ROWS, WIDTH), parameter(ROWS, WIDTH)
    a, b = variant.optimizer([p], fused=True, **flags), variant.optimizer([q], fused=True, **flags)
    for rows, values in list(stream())[:3]:
        p.grad = q.grad = sparse(rows, values)
        with torch.device("meta"):
            a.step()
        b.step()
    assert torch.equal(p, q)


@pytest.mark.parametrize("row", [-1, ROWS])
@ten
def test_an_index_that_is_no_row_changes_nothing(variant: Variant, row: int) -> None:
    params = parameters()
    optimizer, _ = train(variant.optimizer(params, fused=True), params)
    before, state = copy.deepcopy(params), copy.deepcopy(optimizer.state_dict()["state"])
    for p in params[:3]:
        values = torch.ones(2, *p.shape[1:], dtype=p.dtype)
        p.grad = torch.sparse_coo_tensor(torch.tensor([[0, 1]]), values, p.shape, check_invariants=False)
    params[2].grad._indices()[0, 1] = row
    params[3].grad = None
    with pytest.raises(IndexError, match=f"the index {row} in dimension 0, where its parameter has size {ROWS}"):
        optimizer.step()
    assert all(map(torch.equal, params, before))
    assert str(optimizer.state_dict()["state"]) == str(state)


def test_without_a_compiler_rows_go_the_unfused_way(
    monkeypatch: pytest.MonkeyPatch, unfused_rows: list[Tensor]
) -> None:
    def fails(*args: Any) -> None:
        raise NoKernelError("no compiler")

    monkeypatch.setattr(nadam_ref.fused, "_WITHOUT_COMPILER", set())
    monkeypatch.setattr(fused, "kernel", fails)
    p, q = parameter(ROWS, WIDTH), parameter(ROWS, WIDTH)
    with pytest.warns(UserWarning, match="no kernel could be compiled for cpu"):
        step(Nadam([p], fused=True), p, sparse(np.array([1]), np.ones((1, WIDTH))))
    step(Nadam([q]), q, sparse(np.array([1]), np.ones((1, WIDTH))))
    assert torch.equal(p, q) and len(unfused_rows) == 1


def test_the_kernel_of_rows_has_the_lines_of_the_expression() -> None:
    text = fused.source(RULES["Nadam"], Prelude(True, "coupled"), torch.float32)
    at = [text.index(f"= {operation}") for _, operation in spell(RULES["Nadam"], Prelude(True, "coupled")).lines]
    assert at == sorted(at)

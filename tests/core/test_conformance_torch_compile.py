"""`torch.compile(optimizer.step)`: the same step, compiled once, whatever the rate does."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo
from conformance import configurations, every_optimizer, make, parameters, same
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from variants import PATHS

from nadam_ref import OPTIMIZERS, Nadam, NadaMax


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[Any]:
    """The compiler gives up on a function after eight variants; every test starts with none."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled_counts(name: str, kwargs: dict[str, Any], fullgraph: bool) -> Any:
    """How many graphs were compiled after each of ten steps at ten rates, and the two optimizers."""
    held = isinstance(kwargs["lr"], torch.Tensor)
    fast, truth = (make(name, parameters(), kwargs, {"lr": kwargs["lr"] * 1}) for _ in range(2))
    counter = CompileCounter()
    inner = fast.step.__wrapped__.__wrapped__  # without the profiler's wrapper and the one that sets the grad mode
    step = torch.compile((lambda: inner(fast)) if fullgraph else fast.step, backend=counter, fullgraph=fullgraph)
    counts = []
    for i in range(10):
        for optimizer in (fast, truth):
            group = optimizer.param_groups[0]
            group["lr"] = group["lr"].fill_(0.1 / (i + 1)) if held else 0.1 / (i + 1)
            for p in group["params"]:
                p.grad = torch.cos(p + i)
        with torch.no_grad():
            step()
        truth.step()
        counts.append(counter.frame_count)
    return counts, fast, truth


def ways() -> Iterator[Any]:
    """Every optimizer, path, kind of rate and way to compile; what follows the others closely is marked slow."""
    for name, path in itertools.product(OPTIMIZERS, ("for-loop", "foreach", "fused", "capturable foreach")):
        for held, fullgraph in itertools.product((False, True), (False, True)):
            if (name, path, held) != ("Adam", "foreach", True):  # refused, as by torch's
                fused = name in ("GD", "Momentum") and path == "fused" and held and fullgraph
                quick = fused or (name == "Nadam" and path == "for-loop")
                words = (name, path, "lr in a tensor" if held else "lr a number", "fullgraph" if fullgraph else "step")
                marks = [] if quick else [pytest.mark.slow]
                yield pytest.param(name, path, held, fullgraph, id=", ".join(words), marks=marks)


@pytest.mark.parametrize(("name", "path", "held", "fullgraph"), list(ways()))
def test_a_compiled_step_is_compiled_once_whatever_the_rate(name: str, path: str, held: bool, fullgraph: bool) -> None:
    """Once as the state is made, once with the state there; then never again."""
    if not held and torch._dynamo.config.specialize_float:
        pytest.skip("torch 2.5 compiles a graph for every value of a number")
    rate = torch.tensor(0.1, dtype=torch.float64) if held else 0.1
    kwargs = {**PATHS[path], "weight_decay": 0.1, "lr": rate}
    counts, fast, truth = compiled_counts(name, kwargs, fullgraph)
    assert counts[1:] == [counts[1]] * 9
    assert counts[1] <= 2
    same(fast, truth, 1e-12)


def tables() -> Iterator[Any]:
    for name in OPTIMIZERS:
        for path in ("for-loop", "fused", "capturable"):
            quick = (name, path) in (("Nadam", "for-loop"), ("GD", "fused"))
            yield pytest.param(name, path, marks=[] if quick else [pytest.mark.slow])


@pytest.mark.parametrize(("name", "path"), list(tables()))
def test_fault_15_a_compiled_step_takes_sparse_gradients(name: str, path: str) -> None:
    """Rows of an embedding beside a dense parameter, with counts of their own and in common; also as a first step."""
    for counts in [{}] if name == "GD" else [{"row_counts": "own"}, {"row_counts": "common"}]:
        torch.compiler.reset()
        made = []
        for compiled in (True, False):
            table = torch.nn.Embedding.from_pretrained(*parameters((6, 2)), freeze=False, sparse=True)
            weight = torch.nn.Parameter(torch.ones(2, dtype=torch.float64))
            optimizer = make(name, [table.weight, weight], counts, {"lr": 0.1, "weight_decay": 0.1, **PATHS[path]})
            step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
            for rows in ([1, 2], [4, 1, 1], [0, 2]):
                optimizer.zero_grad()
                (table(torch.tensor(rows)) * weight).square().sum().backward()
                assert table.weight.grad is not None and table.weight.grad.is_sparse
                step()
            made.append(optimizer)
        same(*made, rtol=1e-12)


def test_fault_15_a_compiled_step_takes_gradients_that_are_sparse_in_two_dimensions() -> None:
    made = []
    for compiled in (True, False):
        p = torch.nn.Parameter(torch.ones(4, 3, dtype=torch.float64))
        optimizer = Nadam([p])
        step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        for i in range(3):
            p.grad = torch.zeros_like(p).fill_diagonal_(i + 1.0).to_sparse()
            step()
        made.append(optimizer)
    same(*made, rtol=1e-12)


@pytest.mark.slow
@every_optimizer
def test_a_step_compiled_by_inductor_is_the_step(name: str) -> None:
    for kwargs in configurations(name).values():
        fast, truth = (make(name, parameters(), kwargs) for _ in range(2))
        step = torch.compile(fast.step)
        for i in range(4):
            for optimizer in (fast, truth):
                for p in optimizer.param_groups[0]["params"]:
                    p.grad = torch.cos(p + i)
            step()
            truth.step()
        same(fast, truth, 1e-12)


@pytest.mark.parametrize("cls", [Nadam, NadaMax])
def test_a_compiled_step_knows_the_old_name_of_a_dialect(cls: Any) -> None:
    p, q = (torch.nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2))
    old, new = cls([p], dialect="interpolated"), cls([q], dialect="interpolated")
    old.param_groups[0]["dialect"] = "radam"
    step = torch.compile(old.step, backend="eager")
    for i in range(2):
        p.grad, q.grad = torch.cos(p.detach() + i), torch.cos(q.detach() + i)
        step()
        new.step()
    same(old, new, 1e-13)


def made(cls: Any, p: Tensor, **kwargs: Any) -> Any:
    return cls([p], **kwargs)


def copied(cls: Any, p: Tensor, **kwargs: Any) -> Any:
    return copy.deepcopy(cls([p], **kwargs))


def pickled(cls: Any, p: Tensor, **kwargs: Any) -> Any:
    return pickle.loads(pickle.dumps(cls([p], **kwargs)))


def first_stepped(cls: Any, p: Tensor, **kwargs: Any) -> Any:
    optimizer = cls([p], **kwargs)
    p.grad = torch.ones_like(p)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("kwargs", [{}, {"fused": True}, {"dialect": "constant", "lr": np.float32(0.5)}], ids=str)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("begin", [made, copied, pickled, first_stepped], ids=lambda begin: begin.__name__)
def test_fault_112_an_optimizer_begun_in_a_compiled_function_is_one_begun_outside(
    begin: Any, backend: Any, kwargs: dict[str, Any]
) -> None:
    inside, outside = (
        way(Nadam, torch.nn.Parameter(torch.ones(3, dtype=torch.float64)), **kwargs)
        for way in (torch.compile(begin, backend=backend), begin)
    )
    for step in range(3):
        for optimizer in (inside, outside):
            for p in optimizer.param_groups[0]["params"]:
                p.grad = torch.cos(p + step)
            optimizer.step()
    same(inside, outside, 1e-13)
    mine, truth = ({k: x for k, x in o.param_groups[0].items() if k != "params"} for o in (inside, outside))
    assert mine == truth and all(type(mine[k]) is type(truth[k]) for k in truth)
    inside.add_param_group({"params": [torch.ones(1)], "dialect": "keras3"})
    assert inside.param_groups[1]["momentum_decay"] == 1.0

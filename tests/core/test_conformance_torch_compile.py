"""`torch.compile(optimizer.step)`: the same step, compiled once, whatever the rate does."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
import torch._dynamo
from conformance import configurations, every_optimizer, make, parameters, same
from torch._dynamo.testing import CompileCounter
from variants import PATHS

from nadam_ref import OPTIMIZERS, Nadam


@pytest.fixture(autouse=True)
def fresh_compiler():
    """The compiler gives up on a function after eight variants; every test starts with none."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled_counts(name, kwargs, fullgraph):
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


def ways():
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
def test_a_compiled_step_is_compiled_once_whatever_the_rate(name, path, held, fullgraph):
    """Once as the state is made, once with the state there; then never again."""
    if not held and torch._dynamo.config.specialize_float:
        pytest.skip("torch 2.5 compiles a graph for every value of a number")
    rate = torch.tensor(0.1, dtype=torch.float64) if held else 0.1
    kwargs = {**PATHS[path], "weight_decay": 0.1, "lr": rate}
    counts, fast, truth = compiled_counts(name, kwargs, fullgraph)
    assert counts[1:] == [counts[1]] * 9
    assert counts[1] <= 2
    same(fast, truth, 1e-12)


@pytest.mark.slow
@every_optimizer
def test_a_step_compiled_by_inductor_is_the_step(name):
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


def made(cls, p, **kwargs):
    return cls([p], **kwargs)


def copied(cls, p, **kwargs):
    return copy.deepcopy(cls([p], **kwargs))


def pickled(cls, p, **kwargs):
    return pickle.loads(pickle.dumps(cls([p], **kwargs)))


def first_stepped(cls, p, **kwargs):
    optimizer = cls([p], **kwargs)
    p.grad = torch.ones_like(p)
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("kwargs", [{}, {"fused": True}, {"dialect": "constant", "lr": np.float32(0.5)}], ids=str)
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("begin", [made, copied, pickled, first_stepped], ids=lambda begin: begin.__name__)
def test_fault_112_an_optimizer_begun_in_a_compiled_function_is_one_begun_outside(begin, backend, kwargs):
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

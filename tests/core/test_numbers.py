"""Hyperparameters as people pass them: of any kind, anywhere, at any time; and keys that are not the class's."""

from __future__ import annotations

import copy
import inspect
import itertools
import json
import pickle
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conformance import every_optimizer
from torch import Tensor
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR
from variants import PATHS

import nadam_ref
from nadam_ref import GD, OPTIMIZERS, Adam, Momentum, Nadam
from nadam_ref.replicas import Replicas

#: Every hyperparameter that is a number, with a value that all bounds admit; betas by element.
NUMBERS = {
    "lr": 0.25,
    "momentum": 0.5,
    "alpha": 0.5,
    "betas[0]": 0.5,
    "betas[1]": 0.75,
    "eps": 0.125,
    "eps_root": 0.125,
    "weight_decay": 0.125,
    "momentum_decay": 0.5,
    "lr_decay": 0.5,
    "gamma": 0.25,
    "initial_accumulator_value": 0.5,
}
#: Kinds of number that are taken, all of which are exact for the values above.
TAKEN = {
    "numpy.float64": np.float64,
    "numpy.float32": np.float32,
    "numpy, without a dimension": np.array,
    "fraction": Fraction,
    "tensor": torch.tensor,
    "tensor of float64": lambda x: torch.tensor(x, dtype=torch.float64),
    "tensor of one element": lambda x: torch.tensor([x]),
}
#: Kinds of number, and what is none, that are refused.
REFUSED = {
    "string": lambda x: f"{x:e}".replace("0000", ""),
    "word": lambda x: "fast",
    "None": lambda x: None,
    "decimal": lambda x: Decimal(str(x)),
    "complex": complex,
    "complex tensor": lambda x: torch.tensor(complex(x)),
    "list": lambda x: [x],
    "numpy, with a dimension": lambda x: np.array([x]),
    "too many": lambda x: torch.tensor([x, x]),
    "string in an array": lambda x: np.array(str(x)),
    "nan": lambda x: float("nan"),
    "numpy's nan": lambda x: np.float32("nan"),
    "negative": lambda x: np.float64(-x),
    "infinite": lambda x: float("inf"),
    "tensor of nan": lambda x: torch.tensor(float("nan")),
}
PAIRS = [
    (cls, name)
    for cls in OPTIMIZERS.values()
    for name in NUMBERS
    if name.split("[")[0] in cls([torch.ones(1)]).defaults
]
PAIRS = [(cls, name) for cls, name in PAIRS if name != "momentum" or cls not in (GD, nadam_ref.RMSProp)]
every_number = pytest.mark.parametrize(("cls", "name"), PAIRS, ids=[f"{cls.__name__}-{name}" for cls, name in PAIRS])


def keyword(name: str, value: Any) -> dict[str, Any]:
    """The keyword argument that has this value in this place."""
    if name.startswith("betas"):
        return {"betas": (value, 0.75) if name == "betas[0]" else (0.5, value)}
    return {name: value, **({"dialect": "interpolated", "momentum_decay": None} if name == "gamma" else {})}


def steps(optimizer: Any, n: int = 2) -> None:
    for step in range(n):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.full_like(p, 1.0 + step)
        optimizer.step()


def parameter() -> Any:
    return torch.nn.Parameter(torch.ones(3, dtype=torch.float64))


def construct(cls: Any, p: Tensor, hyper: dict[str, Any]) -> Any:
    return cls([p], **hyper)


def in_a_group(cls: Any, p: Tensor, hyper: dict[str, Any]) -> Any:
    return cls([{"params": [p], **hyper}])


def added(cls: Any, p: Tensor, hyper: dict[str, Any]) -> Any:
    optimizer = cls([parameter()])
    optimizer.add_param_group({"params": [p], **hyper})
    return optimizer


def by_hand(cls: Any, p: Tensor, hyper: dict[str, Any]) -> Any:
    optimizer = cls([p])
    optimizer.param_groups[0].update(hyper)
    return optimizer


def loaded(cls: Any, p: Tensor, hyper: dict[str, Any]) -> Any:
    """From a checkpoint that says so."""
    optimizer = cls([p])
    saved = copy.deepcopy(optimizer.state_dict())
    saved["param_groups"][0].update(hyper)
    optimizer.load_state_dict(saved)
    return optimizer


WAYS = [construct, in_a_group, added, by_hand, loaded]


@every_number
def test_fault_87_numbers_of_other_kinds_are_the_number(cls: Any, name: str) -> None:
    """On some path, and on each for some kind and way."""
    paths = itertools.cycle([{"foreach": False}, {"fused": True}, {"capturable": True}])
    for (kind, convert), way, flags in zip(
        *zip(*itertools.product(TAKEN.items(), WAYS), strict=True), paths, strict=False
    ):
        if way is by_hand and name == "initial_accumulator_value":
            continue
        both = cls is Adam and name.startswith("betas") and kind.startswith("tensor")  # both or none, as torch
        pair = {"betas": (convert(0.5), convert(0.75))}
        theirs = pair if both else keyword(name, convert(NUMBERS[name]))
        p, truth = parameter(), parameter()
        steps(way(cls, p, {**theirs, **flags}))
        steps(cls([truth], foreach=False, **({"betas": (0.5, 0.75)} if both else keyword(name, NUMBERS[name]))))
        in_float32 = "capturable" in flags and kind in ("tensor", "tensor of one element")
        torch.testing.assert_close(p, truth, rtol=1e-6 if in_float32 else 1e-13, atol=0)


@every_number
def test_fault_87_what_is_no_such_number_is_refused_where_it_is_given(cls: Any, name: str) -> None:
    for kind, convert in REFUSED.items():
        value = convert(NUMBERS[name])
        if value is None and name in ("momentum_decay", "gamma"):
            continue
        both = cls is Adam and name.startswith("betas") and isinstance(value, torch.Tensor)
        hyper = {"betas": (value, value)} if both else keyword(name, value)
        for way in WAYS:
            p = parameter()
            if way is by_hand:
                optimizer = by_hand(cls, p, hyper)
                with pytest.raises(ValueError, match=r"Invalid|must be 1-element"):
                    steps(optimizer)
                assert torch.equal(p, parameter()) and not optimizer.state, kind
            else:
                with pytest.raises(ValueError, match=r"Invalid|must be 1-element"):
                    way(cls, p, hyper)


@pytest.mark.parametrize(
    ("hyper", "text"),
    [
        ({"lr": "1e-3"}, "Invalid learning rate: lr='1e-3' is a str, not a number: write 1.0e-3 in YAML"),
        ({"lr": "1E3"}, r"write 1.0e\+3 in YAML"),
        ({"lr": "0.01"}, "write 0.01 in YAML, without quotes"),
        ({"betas": ["9e-1", "99e-2"]}, r"betas\[0\]='9e-1' is a str, not a number: write 9.0e-1 in YAML"),
        ({"lr": None}, "Invalid learning rate: lr=None is a NoneType, not a number: leave it out for the default"),
        ({"weight_decay": Decimal("0.1")}, r"weight_decay=Decimal\('0.1'\) is a Decimal, not a number"),
        ({"lr": np.float32(-1)}, r"Invalid learning rate: -1.0 \(of type float32\): needed is a finite lr ≥ 0"),
        ({"betas": (0.9, 1)}, r"Invalid beta parameter at index 1: 1 \(of type int\): needed is 0 ≤ betas\[1\] < 1"),
        ({"betas": 0.9}, "Invalid betas: 0.9 is a float, not a pair"),
        ({"betas": (0.9,)}, r"Invalid betas: \(0.9,\) is a tuple, not a pair"),
        ({"betas": "ab"}, "Invalid betas: 'ab' is a str, not a pair"),
        ({"betas": None}, "Invalid betas: None is a NoneType, not a pair"),
    ],
)
def test_fault_87_errors_say_what_was_given_and_what_to_do(hyper: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Nadam([parameter()], **hyper)
    with pytest.raises(ValueError, match=text):
        Replicas(Nadam, {"w": torch.ones(2, 3)}, **hyper)


def test_fault_87_replicas_refuse_strings_and_take_arrays() -> None:
    with pytest.raises(ValueError, match=r"write 1\.0e-3 in YAML"):
        Replicas(Nadam, {"w": torch.ones(2, 3)}, lr=[0.1, "1e-3"])
    w = {kind: torch.ones(2, 3) for kind in (list, np.array, torch.tensor)}
    for kind, x in w.items():
        Replicas(Nadam, {"w": x}, lr=kind([0.25, 0.5])).step({"w": torch.ones(2, 3)})
    assert torch.equal(w[list], w[np.array]) and torch.equal(w[list], w[torch.tensor])
    assert not torch.equal(w[list][0], w[list][1])


def test_fault_87_groups_hold_what_can_be_saved_safely(tmp_path: Path) -> None:
    optimizer = Nadam([parameter()], lr=np.float64(0.25), betas=np.array([0.5, 0.75]), eps=Fraction(1, 8))
    torch.save(optimizer.state_dict(), tmp_path / "saved")
    group = torch.load(tmp_path / "saved", weights_only=True)["param_groups"][0]
    assert (group["lr"], group["betas"], group["eps"]) == (0.25, (0.5, 0.75), 0.125)


def test_fault_87_values_that_change_in_place_are_read_at_every_step() -> None:
    """Lists and arrays as torch reads them; tensors are the usual way to change a rate."""
    for start, change in (
        ({"betas": [0.5, 0.75]}, lambda group: group["betas"].__setitem__(0, 0.25)),
        ({"lr": torch.tensor(0.5)}, lambda group: group["lr"].fill_(0.25)),
        ({"lr": np.array(0.5)}, lambda group: group["lr"].__setitem__((), 0.25)),
    ):
        p, q = parameter(), parameter()
        changed, truth = by_hand(Nadam, p, start), by_hand(Nadam, q, copy.deepcopy(start))
        steps(changed, 1), steps(truth, 1)
        change(changed.param_groups[0])
        truth.param_groups[0].update({"betas": (0.25, 0.75)} if "betas" in start else {"lr": 0.25})
        steps(changed, 1), steps(truth, 1)
        assert torch.equal(p, q)
    changed.param_groups[0]["betas"] = [0.5, 0.75]
    steps(changed, 1)
    changed.param_groups[0]["betas"][1] = "0.9"
    with pytest.raises(ValueError, match=r"betas\[1\]='0.9'"):
        steps(changed, 1)


def test_a_key_that_was_taken_away_is_missed_as_torch_misses_it() -> None:
    for cls in (torch.optim.NAdam, Nadam):
        optimizer = cls([parameter()])
        del optimizer.param_groups[0]["momentum_decay"]
        with pytest.raises(KeyError, match="momentum_decay"):
            steps(optimizer)


# -- epsilon of 0 ------------------------------------------------------------------------------------------------------

WITH_EPSILON = [name for name, cls in OPTIMIZERS.items() if "eps" in inspect.signature(cls).parameters]


@pytest.fixture
def flushing() -> Iterator[None]:
    """A CPU that takes numbers below the smallest normal one for 0."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU does not")
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.complex64], ids=str)
@pytest.mark.parametrize("path", ["for-loop", "default", "foreach", "fused", "capturable", "rows", "replicas"])
@pytest.mark.parametrize("name", WITH_EPSILON)
def test_fault_04_zero_gradients_without_epsilon_where_denormals_are_flushed(
    name: str, path: str, dtype: torch.dtype, flushing: None
) -> None:
    if dtype.is_complex and path == "replicas":
        pytest.skip("it takes no complex parameters")
    p = torch.ones(2, 3, dtype=dtype, requires_grad=True)
    p.grad = torch.zeros_like(p)
    if path == "replicas":
        runs = Replicas(OPTIMIZERS[name], {"p": p.detach()}, eps=[0.0, 0.0], lr=[0.1, 0.2])
        runs.step({"p": p.grad})
    elif path == "rows":
        p.grad = torch.sparse_coo_tensor([[0, 1]], p.grad, p.shape, check_invariants=True)
        for fused in (False, True):
            OPTIMIZERS[name]([p], eps=0, fused=fused).step()
    else:
        OPTIMIZERS[name]([p], eps=0, **PATHS[path]).step()
    assert (p == 1).all()


@pytest.mark.parametrize("narrow", [torch.float16, torch.float32, torch.int32], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("path", ["for-loop", "capturable", "capturable foreach"])
@pytest.mark.parametrize("name", WITH_EPSILON)
def test_fault_04_zero_gradients_with_an_epsilon_of_0_in_a_narrower_dtype(
    name: str, path: str, dtype: torch.dtype, narrow: torch.dtype
) -> None:
    p = torch.ones(3, dtype=dtype, requires_grad=True)
    p.grad = torch.zeros_like(p)
    OPTIMIZERS[name]([p], eps=torch.zeros((), dtype=narrow), **PATHS[path]).step()
    assert (p == 1).all()


# -- keys that a class does not have -----------------------------------------------------------------------------------

FOREIGN = {
    "alpha": 9.0,
    "form": "2d",
    "lr_decay": 0.9,
    "betas": (0.5, 2.0),
    "eps_root": 0.5,
    "eps": 0.5,
    "nu": "x",
    "mu": 0.1,
    "momentum": "x",
    "gamma": 0.5,
    "momentum_decay": 0.5,
    "dialect": "torch",
    "bias_correction": "x",
    "length": "long",
    "row_counts": 3,
    "initial_accumulator_value": 4.0,
    "amsgrad": True,
    "centered": True,
    "dampening": 1,
    "nesterov": "x",
}


@pytest.mark.parametrize("flags", [{}, {"fused": True}], ids=str)
@every_optimizer
def test_fault_109_keys_that_the_class_does_not_have_are_not_read(name: str, flags: dict[str, Any]) -> None:
    cls = OPTIMIZERS[name]
    foreign = {key: x for key, x in FOREIGN.items() if key not in cls([parameter()]).defaults}
    truth = parameter()
    plain = cls([truth], **flags)
    steps(plain, 3)
    for way in WAYS[1:]:  # as a keyword it is a mistake
        p = parameter()
        if way is loaded:  # by these three a checkpoint of another class is known, though the state may be alike
            foreign = {key: x for key, x in foreign.items() if key not in ("form", "dialect", "bias_correction")}
        optimizer = way(cls, p, {**foreign, **flags})
        steps(optimizer, 3)
        assert torch.equal(p, truth)
        assert list(optimizer.state.get(p, {})) == list(plain.state.get(truth, {}))
        assert foreign.items() <= optimizer.param_groups[-1].items()
        again = way(cls, parameter(), {**foreign, **flags})
        again.load_state_dict(optimizer.state_dict())


# -- what torch's class takes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [1.0, 1.5, torch.tensor(1.0)], ids=str)
@pytest.mark.parametrize(("ours", "nesterov"), [(Momentum, False), (nadam_ref.NAG, True)], ids=["Momentum", "NAG"])
def test_momentum_of_one_as_torchs_sgd_takes_it(ours: Any, nesterov: bool, momentum: float) -> None:
    p, q = parameter(), parameter()
    steps(ours([p], lr=0.1, momentum=momentum), 5)
    steps(torch.optim.SGD([q], lr=0.1, momentum=momentum, nesterov=nesterov), 5)
    torch.testing.assert_close(p, q, rtol=1e-13, atol=0)
    with pytest.raises(ValueError, match="Invalid momentum value"):
        ours([p], momentum=momentum, form="mean")


TWINS = {
    "Momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "NAG": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "Nadam": lambda p: torch.optim.NAdam(p, lr=0.1),
    "AdaMax": lambda p: torch.optim.Adamax(p, lr=0.1),
}
CYCLES = {
    "OneCycleLR": lambda o: OneCycleLR(o, max_lr=0.3, total_steps=12),
    "CyclicLR": lambda o: CyclicLR(o, 0.05, 0.3, step_size_up=3, cycle_momentum=True),
}


@pytest.mark.parametrize("flags", [{}, {"fused": True}, {"foreach": True}], ids=str)
@pytest.mark.parametrize("cycle", CYCLES.values(), ids=CYCLES)
@every_optimizer
def test_fault_111_schedulers_that_cycle_momentum(name: str, cycle: bool, flags: dict[str, Any]) -> None:
    """As on torch's class; what has no momentum says so, where torch's SGD and RMSprop would begin with one."""

    def run(optimizer: Any) -> None:
        scheduler = cycle(optimizer)
        for _ in range(10):
            steps(optimizer, 1)
            scheduler.step()

    p, q = parameter(), parameter()
    optimizer = OPTIMIZERS[name]([p], lr=0.1, **flags)
    if name in ("GD", "RMSProp"):
        with pytest.raises(ValueError, match=r"momentum=0\.\d+ does not fit .*: use torch.optim."):
            run(optimizer)
        assert torch.equal(p, parameter())
    elif name in ("AdaGrad", "MaxProp"):
        with pytest.raises(ValueError, match="optimizer must support momentum"):
            run(optimizer)
    elif name in TWINS:
        run(optimizer), run(TWINS[name]([q]))
        tolerance = {"AdaMax": 1e-6, "Nadam": 1e-5}.get(name, 1e-12)  # where ε is, and a product that torch rounds
        torch.testing.assert_close(p, q, rtol=tolerance, atol=0)
    else:
        run(optimizer), run(OPTIMIZERS[name]([q], lr=0.1, foreach=False))
        torch.testing.assert_close(p, q, rtol=1e-12, atol=0)


# -- what was given, and what was not ----------------------------------------------------------------------------------

scheduled = pytest.mark.parametrize("cls", [Nadam, nadam_ref.NadaMax])
FIXED = {"constant": None, "keras3": 1.0, "choi": None, "interpolated": None}


@pytest.mark.parametrize("dialect", FIXED)
@scheduled
def test_fault_88_a_default_that_was_given_is_refused_like_any_other(cls: Any, dialect: str) -> None:
    for way in WAYS[:3]:
        with pytest.raises(ValueError, match=f"dialect '{dialect}' fixes momentum_decay at .*, got 0.004"):
            way(cls, parameter(), {"dialect": dialect, "momentum_decay": 0.004})
        for hyper in ({}, {"momentum_decay": FIXED[dialect]}):
            group = way(cls, parameter(), {"dialect": dialect, **hyper}).param_groups[-1]
            assert group["momentum_decay"] == FIXED[dialect]
    optimizer = cls([parameter()])
    optimizer.param_groups[0]["dialect"] = dialect
    with pytest.raises(ValueError, match="fixes momentum_decay"):
        steps(optimizer)


@scheduled
def test_fault_88_every_group_has_the_schedule_of_its_own_dialect(cls: Any) -> None:
    dialects = {"cs229": 0.004, "iclr": 0.004, **FIXED}
    for first in dialects:
        optimizer = cls([parameter()], dialect=first)
        for other in dialects:
            optimizer.add_param_group({"params": [parameter()], "dialect": other})
        assert [group["momentum_decay"] for group in optimizer.param_groups[1:]] == list(dialects.values())
        for copied in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            copied.add_param_group({"params": [parameter()], "dialect": "keras3"})
            assert copied.param_groups[-1]["momentum_decay"] == 1.0
    given = cls([parameter()], momentum_decay=None, dialect="constant")
    given.add_param_group({"params": [parameter()], "dialect": "cs229"})
    assert given.param_groups[1]["momentum_decay"] is None


@scheduled
def test_fault_88_not_given_is_seen_nowhere(cls: Any) -> None:
    default = inspect.signature(cls).parameters["momentum_decay"].default
    assert (repr(default), json.dumps(default), default == 0.004) == ("0.004", "0.004", True)
    for dialect in ("cs229", *FIXED):
        optimizer = cls([parameter()], dialect=dialect)
        group = optimizer.state_dict()["param_groups"][0]
        assert type(group["momentum_decay"]) in (float, type(None))
        again = cls([parameter()])
        again.load_state_dict(optimizer.state_dict())
        assert again.param_groups[0]["momentum_decay"] == group["momentum_decay"]
        assert type(again.param_groups[0]["momentum_decay"]) in (float, type(None))


def test_fault_88_a_checkpoint_of_torchs_says_its_schedule() -> None:
    p, q = parameter(), parameter()
    torchs = torch.optim.NAdam([p], momentum_decay=0.5)
    steps(torchs)
    saved = torchs.state_dict()
    ours = Nadam([q])
    ours.load_state_dict(saved)
    assert ours.param_groups[0]["momentum_decay"] == 0.5
    with pytest.raises(ValueError, match=r"fixes momentum_decay at None, got 0\.5"):
        Nadam([q], dialect="constant").load_state_dict(saved)

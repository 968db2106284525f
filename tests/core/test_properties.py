"""Properties over drawn shapes, dtypes, layouts, groups, hyperparameters and flags.

The for-loop is the ground truth; every other path must leave the same parameters and the same state.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nadam_ref import OPTIMIZERS
from nadam_ref.rules import DIALECTS

SHAPES = [(), (0,), (1,), (5,), (0, 3), (3, 4), (2, 1, 3), (2, 3, 1, 2)]
HALF = [torch.float16, torch.bfloat16]
DTYPES = [*HALF, torch.float32, torch.float64, torch.complex64, torch.complex128]
LAYOUTS = ["contiguous", "transposed", "strided"]
rates = st.one_of(st.just(0.0), st.floats(0.05, 0.9995))
#: The hyperparameters by keyword; each class takes those of its signature.
HYPERPARAMETERS = {
    "lr": st.floats(1e-4, 0.1),
    "momentum": rates,
    "alpha": rates,
    "betas": st.tuples(rates, rates),
    "eps": st.floats(1e-8, 1e-2),
    "weight_decay": st.sampled_from([0.0, 0.0, 0.1]),
    "decoupled_weight_decay": st.booleans(),
    "maximize": st.booleans(),
    "bias_correction": st.booleans(),
    "form": st.sampled_from(["sum", "mean"]),
    "momentum_decay": st.sampled_from([None, 0.0, 0.004, 1.0]),
    "lr_decay": st.sampled_from([0.0, 0.1]),
    "initial_accumulator_value": st.sampled_from([0.0, 0.5]),
}


def deterministic(examples: int) -> Any:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=slow)


@st.composite
def keywords(draw: Any, name: str, given: Any = HYPERPARAMETERS) -> Any:
    """Valid hyperparameters of a class: what its signature takes of those there are."""
    takes = inspect.signature(OPTIMIZERS[name]).parameters
    chosen = {k: draw(values) for k, values in given.items() if k in takes}
    if "dialect" in takes:
        chosen["dialect"] = draw(st.sampled_from(list(DIALECTS)))
        if not DIALECTS[chosen["dialect"]].free_schedule:
            del chosen["momentum_decay"]
    return chosen


@st.composite
def tensors(draw: Any, dtypes: Any) -> Any:
    """The shape, dtype and layout of a parameter, and in which of four steps it has a gradient: often in all."""
    shape, dtype, layout = (draw(st.sampled_from(choices)) for choices in (SHAPES, dtypes, LAYOUTS))
    return shape, dtype, layout, draw(st.sampled_from([(1, 1, 1, 1), (1, 1, 1, 1), (1, 0, 1, 1), (0, 0, 1, 0)]))


@st.composite
def groups(draw: Any, name: str, dtypes: Any = DTYPES) -> Any:
    """One to three groups, each of one to six parameters of one or two dtypes, with hyperparameters of its own."""
    drawn = []
    for _ in range(draw(st.integers(1, 3))):
        of = draw(st.lists(st.sampled_from(dtypes), min_size=1, max_size=2))
        drawn.append((draw(keywords(name)), draw(st.lists(tensors(of), min_size=1, max_size=6))))
    return drawn


def make(shape: Any, dtype: torch.dtype, layout: Any, seed: int) -> Any:
    """A random tensor; the same values in every layout."""
    generator = torch.Generator().manual_seed(seed)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    x = torch.randn(shape, dtype=wide, generator=generator).to(dtype)
    if layout == "transposed" and x.dim() > 1:
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "strided" and x.dim() > 0:
        return torch.stack([x, x], dim=-1)[..., 0]
    return x


def run(name: str, drawn: Any, together: bool = True, steps: int = 4, **flags: Any) -> list[Any]:
    """Four steps, all parameters in one optimizer or each in its own.

    For each parameter: itself, its state, and how large each of these was at its largest.
    """
    made = [
        ({**numbers, **flags}, [make(*kind[:3], seed=17 * i + j) for j, kind in enumerate(kinds)], kinds)
        for i, (numbers, kinds) in enumerate(drawn)
    ]
    sets = [made] if together else [[(numbers, [p], ())] for numbers, params, _ in made for p in params]
    optimizers = [OPTIMIZERS[name]([{"params": params, **n} for n, params, _ in some]) for some in sets]
    params = [p for _, some, _ in made for p in some]
    largest: dict[Any, dict[str, float]] = {p: defaultdict(float) for p in params}
    for t in range(steps):
        for i, (_, some, kinds) in enumerate(made):
            for j, (p, kind) in enumerate(zip(some, kinds, strict=True)):
                p.grad = make(*kind[:3], seed=1000 + 289 * t + 17 * i + j) if kind[3][t] else None
        for optimizer in optimizers:
            optimizer.step()
        state = {p: kept for optimizer in optimizers for p, kept in optimizer.state.items()}
        for p in params:
            for key, x in {"": p, **state.get(p, {})}.items():
                largest[p][key] = max(largest[p][key], x.abs().max().item() if x.numel() else 0.0)
    return [(p, state.get(p, {}), largest[p]) for p in params]


def assert_equal(ours: Any, truth: Any, exact: bool = False) -> None:
    """The same keys, dtypes and shapes; values to a few roundings of their dtype at its largest.

    Not of where it ends: a sum may come to cancel, and keeps the roundings of what went into it.
    """
    for (p, state, _), (q, expected, largest) in zip(ours, truth, strict=True):
        assert list(state) == list(expected)
        for key, a, b in [("", p, q), *((key, state[key], x) for key, x in expected.items())]:
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            rounding = 0.0 if exact else 32 * torch.finfo(b.dtype).eps * largest[key]
            torch.testing.assert_close(a, b, rtol=0, atol=rounding)


name_and_groups = st.sampled_from(list(OPTIMIZERS)).flatmap(lambda name: st.tuples(st.just(name), groups(name)))


@deterministic(40)
@given(name_and_groups)
def test_foreach_equals_the_for_loop(drawn: Any) -> None:
    assert_equal(run(*drawn, foreach=True), run(*drawn, foreach=False))


@deterministic(40)
@given(name_and_groups, st.booleans())
def test_capturable_equals_the_for_loop(drawn: Any, foreach: bool) -> None:
    assert_equal(run(*drawn, capturable=True, foreach=foreach), run(*drawn, foreach=False))


@deterministic(30)
@given(name_and_groups, st.booleans(), st.floats(1e-4, 0.1))
def test_a_tensor_rate_equals_the_number(drawn: Any, capturable: Any, lr: Any) -> None:
    name, of = drawn
    of = [({**numbers, "lr": lr}, kinds) for numbers, kinds in of]
    tensor = [({**numbers, "lr": torch.tensor(lr, dtype=torch.float64)}, kinds) for numbers, kinds in of]
    assert_equal(run(name, tensor, capturable=capturable), run(name, of, foreach=False))


# one rule and few dtypes: each needs kernels of its own; the other rules' are held to the exact trajectories
@deterministic(20)
@given(groups("Nadam", dtypes=[torch.float16, torch.float64, torch.complex128]))
def test_fused_equals_the_for_loop(of: Any) -> None:
    assert_equal(run("Nadam", of, fused=True), run("Nadam", of, foreach=False))


def test_fault_07_08_09_one_kernel_serves_every_size_and_stride() -> None:
    """Dynamo compiles again for the sizes 0 and 1 and, at these, for every stride; at the ninth time it raises."""
    strided = [torch.zeros(n, 2)[:, 0] for n in (0, 1, 5)]
    plain = [torch.zeros(n) for n in (0, 1, 5)]
    params = [p for pair in zip(strided, plain, strict=True) for p in pair]
    truth = [torch.zeros(p.shape) for p in params]
    fused, loop = OPTIMIZERS["NadaMax"](params, fused=True), OPTIMIZERS["NadaMax"](truth)
    for t in range(4):
        for i, (p, q) in enumerate(zip(params, truth, strict=True)):
            p.grad = torch.ones(len(p), 2)[:, 0] if (t + i) % 3 else torch.ones(len(p))
            q.grad = torch.ones(len(q))
        fused.step()
        loop.step()
    torch.testing.assert_close(params, truth, rtol=1e-6, atol=0)


@deterministic(30)
@given(name_and_groups, st.sampled_from([{"foreach": False}, {"foreach": True}, {"capturable": True}]))
def test_parameters_do_not_see_each_other(drawn: Any, flags: dict[str, Any]) -> None:
    """Parameters and groups in one optimizer end where each ends in an optimizer of its own, bitwise."""
    assert_equal(run(*drawn, **flags), run(*drawn, together=False, **flags), exact=True)


@deterministic(30)
@given(name_and_groups)
def test_layout_does_not_matter(drawn: Any) -> None:
    name, of = drawn
    plain = [(numbers, [(kind[0], kind[1], "contiguous", kind[3]) for kind in kinds]) for numbers, kinds in of]
    assert_equal(run(*drawn, foreach=False), run(name, plain, foreach=False), exact=True)


#: Everything a constructor admits, up to where float32 itself ends.
FULL_RANGE = {
    **HYPERPARAMETERS,
    "lr": st.floats(0, 10),
    **dict.fromkeys(("momentum", "alpha"), st.floats(0, 1, exclude_max=True)),
    "betas": st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
    "eps": st.floats(1e-12, 1e30),
    "weight_decay": st.floats(0, 10),
    "momentum_decay": st.one_of(st.none(), st.floats(0, 1e300)),
    "lr_decay": st.floats(0, 1e300),
    "initial_accumulator_value": st.floats(0, 1e30),
}


@deterministic(120)
@given(
    st.sampled_from(list(OPTIMIZERS)).flatmap(lambda name: st.tuples(st.just(name), keywords(name, FULL_RANGE))),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([{"foreach": False}, {"foreach": True}, {"capturable": True}]),
)
def test_every_valid_setting_stays_finite_on_moderate_gradients(
    drawn: Any, dtype: torch.dtype, flags: dict[str, Any]
) -> None:
    name, numbers = drawn
    θ = torch.linspace(-2, 2, 5, dtype=dtype)
    optimizer = OPTIMIZERS[name]([θ], **numbers, **flags)
    for t in range(6):
        θ.grad = torch.tensor([1.0, -3.0, 1e-3, 100.0, 0.0], dtype=dtype).roll(t)
        optimizer.step()
    assert θ.isfinite().all()
    assert all(x.isfinite().all() for x in optimizer.state[θ].values())

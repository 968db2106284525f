"""What follows from the equations alone: each identity between two optimizers, or two settings of one, at rounding."""

from itertools import pairwise

import numpy as np
import oracle
import pytest
import torch
from variants import PATHS, every_followed_path, flags

import nadam_ref
from nadam_ref import GD, NAG, AdaGrad, Adam, AdaMax, MaxProp, Momentum, Nadam, NadaMax, RMSProp, paper
from nadam_ref.rules import DIALECTS

START = np.array([1.5, -2.0, 0.7, -0.3])
A = np.array([[3.0, 0.4, 0.1, 0], [0.4, 0.7, 0, 0.2], [0.1, 0, 0.3, 0], [0, 0.2, 0, 0.5]])
NORMED = [AdaGrad, RMSProp, MaxProp, Adam, AdaMax, Nadam, NadaMax]
WITH_MEAN = [Adam, AdaMax, Nadam, NadaMax]
LISTS = {name: PATHS[name] for name in ("for-loop", "foreach", "fused")}
by_name = {"ids": lambda x: getattr(x, "__name__", str(x))}


def noise(T=200, seed=0, n=4):
    """G[1] … G[T] of scales from 1e-2 to 1e2, with zeros."""
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((T + 1, n)) * 10.0 ** rng.uniform(-2, 2, (T + 1, n)) * (rng.uniform(size=(T + 1, n)) > 0.1)
    )


def follow(cls, gradient, T=200, start=START, **keywords):
    """θ_0 … θ_T of an optimizer under `gradient(θ, t)`, which may be an array of gradients in t."""
    θ = torch.tensor(start, requires_grad=True)
    optimizer = cls([θ], **keywords)
    path = [start]
    for t in range(1, T + 1):
        θ.grad = torch.as_tensor(gradient(path[-1], t) if callable(gradient) else gradient[t])
        optimizer.step()
        path.append(θ.detach().numpy().copy())
    return np.stack(path)


SIGNS = np.sign(noise(seed=4))


def noisy_slope(θ, t):
    return A @ (θ - 1) + SIGNS[t]


def distance(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("ψ", [None, 0.004, 0.3])
def test_lookahead_nag_is_the_class_nag_at_the_shifted_point(ψ, path):
    """With θ̄_t = θ_t − η μ_{t+1} m_t, the gradient taken ahead at θ − η μ m becomes the gradient at the stored θ̄."""
    η, T = 0.05, 200
    μ = [0.9 if ψ is None else 0.9 * (1 - 0.5 * 0.96 ** (ψ * t)) for t in range(T + 2)]
    θ, m, shifted = START, np.zeros(4), [START]
    for t in range(1, T + 1):
        m = μ[t] * m + noisy_slope(θ - η * μ[t] * m, t)
        θ = θ - η * m
        shifted.append(θ - η * μ[t + 1] * m)
    ours = follow(NAG, noisy_slope, T, lr=η, momentum=0.9, momentum_decay=ψ, **LISTS[path])
    assert distance(ours, np.stack(shifted)) <= 1e-14


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("cls", [Momentum, NAG], **by_name)
def test_the_sum_with_a_rate_is_the_uncorrected_mean_with_that_rate_over_one_minus_mu(cls, path):
    as_sum = follow(cls, noisy_slope, lr=0.02, momentum=0.875, **LISTS[path])
    as_mean = follow(
        cls, noisy_slope, lr=0.02 / 0.125, momentum=0.875, form="mean", bias_correction=False, **LISTS[path]
    )
    assert distance(as_mean, as_sum) <= 1e-14


@pytest.mark.parametrize(
    ("cls", "keywords", "without"),
    [
        (Momentum, {"momentum": 0.0}, (GD, {})),
        (NAG, {"momentum": 0.0}, (GD, {})),
        (Momentum, {"momentum": 0.0, "form": "mean"}, (GD, {})),
        (NAG, {"momentum": 0.0, "form": "mean", "momentum_decay": 0.004}, (GD, {})),
        (Adam, {"betas": (0.0, 0.97)}, (RMSProp, {"alpha": 0.97, "bias_correction": True})),
        (Adam, {"betas": (0.0, 0.97), "bias_correction": False}, (RMSProp, {"alpha": 0.97})),
        (AdaMax, {"betas": (0.0, 0.97)}, (MaxProp, {"alpha": 0.97})),
        *(
            case
            for dialect in DIALECTS
            if DIALECTS[dialect].interpolation is None  # g interpolated with itself is g only to rounding
            for case in (
                (
                    Nadam,
                    {"betas": (0.0, 0.97), "dialect": dialect},
                    (RMSProp, {"alpha": 0.97, "bias_correction": True}),
                ),
                (NadaMax, {"betas": (0.0, 0.97), "dialect": dialect}, (MaxProp, {"alpha": 0.97})),
            )
        ),
    ],
    **by_name,
)
@pytest.mark.parametrize("path", ["for-loop", "foreach"])
def test_without_momentum_each_is_the_rule_below_it_bitwise(cls, keywords, without, path):
    below, settings = without
    eps = {} if below is GD else {"eps": 1e-6}
    with_zero = follow(cls, noise(), lr=0.01, **keywords, **eps, **LISTS[path])
    assert np.array_equal(with_zero, follow(below, noise(), lr=0.01, **settings, **eps, **LISTS[path]))


@pytest.mark.parametrize("ψ", [None, 0.004, 0.3])
@pytest.mark.parametrize(
    ("cls", "dialect"), [*((c, d) for c in (Nadam, NadaMax) for d in DIALECTS), (Adam, ""), (AdaMax, "")]
)
def test_a_length_is_the_length_of_the_step_on_a_constant_gradient(cls, dialect, ψ):
    """1, or what the report's Nadam has with the same μ and schedule, as one sees it step."""
    settings = {"dialect": dialect} if dialect else {}
    if not dialect or DIALECTS[dialect].free_schedule:
        settings["momentum_decay"] = ψ
    schedule = cls([torch.zeros(1)], **settings).param_groups[0]["momentum_decay"]

    def lengths(cls, **keywords):
        path = follow(cls, np.full((201, 4), -2.5), lr=1.0, betas=(0.99, 0.999), eps=0.0, start=0 * START, **keywords)
        return np.diff(path[:, 0])

    report = lengths(Nadam, momentum_decay=schedule)
    assert lengths(cls, length="unit", **settings) == pytest.approx(1, rel=1e-12)
    assert lengths(cls, length="report", **settings) == pytest.approx(report, rel=1e-12)


def test_adam_at_the_reports_length_has_the_lengths_that_are_known():
    """.545 at t = 5, .552 at 10, .997 at 500: figures that were read off the libraries."""
    path = follow(Adam, np.ones((501, 4)), 500, lr=1.0, betas=(0.99, 0.999), momentum_decay=0.004, length="report")
    steps = -np.diff(path[:, 0])[[4, 9, 499]]
    assert steps == pytest.approx([0.545, 0.552, 0.997], abs=6e-4)


def test_a_length_leaves_the_direction():
    """At length 1 the dialects still part: only the factor common to m and g goes."""
    paths = [follow(Nadam, noise(), dialect=dialect, length="unit") for dialect in ("cs229", "iclr", "constant")]
    assert all(distance(a, b) > 1e-3 for a, b in pairwise(paths))
    own, report = (follow(Nadam, noise(), length=length) for length in ("own", "report"))
    assert np.array_equal(own, report)


def test_iclrs_print_is_the_dialect_with_its_epsilon_in_the_root_but_for_the_extra_nu():
    """√(ν n̂ + ε) = √ν √(n̂ + ε/ν)."""
    η, μ, ν, ε, T = 0.01, 0.95, 0.98, 1e-2, 200
    G = noise()
    printed = paper.path(paper.nadam_iclr_printed, START, lambda θ, t: G[t], T, η=η, μ=μ, ν=ν, ε=ε)
    ours = follow(Nadam, G, T, lr=η / ν**0.5, betas=(μ, ν), eps=0.0, eps_root=ε / ν, dialect="iclr")
    assert distance(ours, printed) <= 1e-14
    assert distance(follow(Nadam, G, T, lr=η, betas=(μ, ν), eps=ε, dialect="iclr"), printed) > 1e-3


def test_interpolated_with_gamma_is_quasi_hyperbolic_adam():
    """As its paper prints it, with ν₁ = 1 − γ: θ ← θ − α ((1−ν₁) g + ν₁ ĝ) / (√ŝ + ε), with normalized averages."""
    α, β1, β2, ν1, ε, T = 0.01, 0.99, 0.98, 0.3, 1e-6, 200
    G, θ, path = noise(), START, [START]
    for t in range(1, T + 1):
        weights = [np.array([β ** (t - i) for i in range(1, t + 1)])[:, None] for β in (β1, β2)]
        ĝ, ŝ = ((w * x).sum(0) / w.sum() for w, x in zip(weights, (G[1 : t + 1], G[1 : t + 1] ** 2), strict=True))
        θ = θ - α * ((1 - ν1) * G[t] + ν1 * ĝ) / (np.sqrt(ŝ) + ε)
        path.append(θ)
    ours = follow(Nadam, G, T, lr=α, betas=(β1, β2), eps=ε, dialect="interpolated", gamma=1 - ν1)
    assert distance(ours, np.stack(path)) <= 1e-13
    adam = follow(Adam, G, T, lr=α, betas=(β1, β2), eps=ε)
    assert distance(follow(Nadam, G, T, lr=α, betas=(β1, β2), eps=ε, dialect="interpolated", gamma=0.0), adam) <= 1e-14


def test_the_three_dialects_that_share_a_recursion_coincide_without_a_schedule_bitwise():
    for cls in (Nadam, NadaMax):
        constant = follow(cls, noise(), dialect="constant")
        for dialect in ("cs229", "iclr"):
            assert np.array_equal(follow(cls, noise(), dialect=dialect, momentum_decay=None), constant)
            assert distance(follow(cls, noise(), dialect=dialect), constant) > 1e-4
        assert distance(follow(cls, noise(), dialect="choi"), constant) > 1e-4
        uncorrected = follow(cls, noise(), dialect="choi", bias_correction=False)
        assert np.array_equal(uncorrected, follow(cls, noise(), dialect="constant", bias_correction=False))


def test_keras3_is_cs229_with_the_schedule_of_one_step_bitwise():
    for cls in (Nadam, NadaMax):
        keras = follow(cls, noise(), dialect="keras3")
        assert np.array_equal(keras, follow(cls, noise(), momentum_decay=1.0))
        assert distance(follow(cls, noise(), dialect="iclr", momentum_decay=1.0), keras) > 1e-6


@pytest.mark.parametrize(("cls", "name"), [(MaxProp, "RMSProp"), (AdaMax, "Adam"), (NadaMax, "Nadam")], **by_name)
def test_the_max_norm_is_the_limit_of_the_lp_norms(cls, name):
    """n_p = (Σ_i (1−νᵖ) ν^{p(t−i)} |g_i|ᵖ)^{1/p} in 50 digits: at p = 2 RMSProp's with ν², at p → ∞ the class.

    With x the largest of the terms ν^{t−i}|g_i|, (1−νᵖ)^{1/p} x ≤ n_p ≤ t^{1/p} x: the distance at least halves as p
    doubles, and no two of these terms being equal, it falls faster than any power of p.
    """
    T, η, μ, ν, ε = 12, 0.1, 0.9, 0.95, 1e-6
    G = oracle.exact(np.random.default_rng(5).standard_normal((T + 1, 3)))
    start, mp = np.zeros(3), oracle.mp
    keywords = {"alpha": ν} if cls is MaxProp else {"betas": (μ, ν)}
    ours = follow(cls, G.astype(np.float64), T, start, lr=η, eps=ε, **keywords)
    dialect, ψ = ("cs229", 0.004) if cls is NadaMax else ("", None)

    def with_lp_norm(p):
        numerator = oracle.Numerator(oracle.Settings(name, η, μ, ν, ε, ψ, dialect=dialect))
        mean, power = oracle.Mean(corrected=False), np.vectorize(mp.power, otypes=[object])
        θ = oracle.exact(start)
        for g in G[1:]:
            n = power(mean.push(power(np.abs(g), p), mp.mpf(ν) ** p), 1 / mp.mpf(p))
            θ = θ - numerator(g) * mp.mpf(η) / (n + mp.mpf(ε))
        return θ.astype(np.float64)

    distances = [distance(with_lp_norm(2**k), ours[-1]) for k in range(3, 13)]
    assert all(later < earlier / 2 for earlier, later in pairwise(distances) if later > 1e-15)
    assert distances[0] > 1e-2
    assert distances[-1] <= 1e-15
    if cls is MaxProp:
        rms = follow(RMSProp, G.astype(np.float64), T, start, lr=η, eps=ε, alpha=ν**2)
        assert distance(with_lp_norm(2), rms[-1]) <= 1e-14


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("s", [2.0**-12, 2.0**20])
@pytest.mark.parametrize("cls", NORMED, **by_name)
def test_rules_with_a_norm_do_not_see_the_scale_of_the_gradient_bitwise(cls, s, path):
    """G → s g with ε → s ε leaves θ as it was; a power of two only shifts exponents."""
    plain = follow(cls, noise(), 100, eps=2.0**-20, **LISTS[path])
    assert np.array_equal(follow(cls, s * noise(), 100, eps=s * 2.0**-20, **LISTS[path]), plain)
    assert not np.array_equal(follow(cls, s * noise(), 100, eps=2.0**-20, **LISTS[path]), plain)


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("cls", "form"),
    [(GD, {})] + [(cls, {"form": form}) for cls in (Momentum, NAG) for form in ("sum", "mean")],
    **by_name,
)
def test_rules_without_a_norm_are_linear_in_the_gradient(cls, form, path):
    keywords = {**LISTS[path], **form, "lr": 0.0625}
    plain, scaled = follow(cls, noise(), **keywords), follow(cls, 8 * noise(), **{**keywords, "lr": 0.0625 / 8})
    assert np.array_equal(scaled, plain)
    one, two = noise(seed=1), noise(seed=2)
    moved = [follow(cls, G, start=np.zeros(4), **keywords) for G in (one, two, one + two)]
    assert distance(moved[0] + moved[1], moved[2]) <= 1e-14


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("cls", nadam_ref.OPTIMIZERS.values(), **by_name)
def test_ascent_is_descent_on_the_mirrored_gradient_bitwise(cls, path):
    down = follow(cls, noise(), 100, weight_decay=0.1, **LISTS[path])
    assert np.array_equal(follow(cls, -noise(), 100, weight_decay=0.1, maximize=True, **LISTS[path]), down)
    mirrored = follow(cls, -noise(), 100, -START, weight_decay=0.1, **LISTS[path])
    assert np.array_equal(mirrored, -down)


@pytest.mark.parametrize("cls", nadam_ref.OPTIMIZERS.values(), **by_name)
def test_coupled_weight_decay_is_the_gradient_of_a_penalty(cls):
    decayed = follow(cls, noisy_slope, weight_decay=0.25, lr=0.01)
    assert distance(follow(cls, lambda θ, t: noisy_slope(θ, t) + 0.25 * θ, lr=0.01), decayed) <= 1e-14
    decoupled = follow(cls, np.zeros((11, 4)), 10, weight_decay=0.25, decoupled_weight_decay=True, lr=0.01)
    assert distance(decoupled, START * (1 - 0.01 * 0.25) ** np.arange(11)[:, None]) <= 1e-14


LIMITS = [
    (RMSProp, {"alpha": 0.97}, GD, {}),
    (RMSProp, {"alpha": 0.97, "bias_correction": True}, GD, {}),
    (MaxProp, {"alpha": 0.97}, GD, {}),
    (AdaGrad, {}, GD, {}),
    (Adam, {"betas": (0.9, 0.97)}, Momentum, {"form": "mean"}),
    (Adam, {"betas": (0.9, 0.97), "momentum_decay": 0.004}, Momentum, {"form": "mean", "momentum_decay": 0.004}),
    (AdaMax, {"betas": (0.9, 0.97)}, Momentum, {"form": "mean"}),
    (Nadam, {"betas": (0.9, 0.97), "dialect": "iclr"}, NAG, {"form": "mean", "momentum_decay": 0.004}),
    (Nadam, {"betas": (0.9, 0.97), "dialect": "constant"}, NAG, {"form": "mean"}),
    (NadaMax, {"betas": (0.9, 0.97), "dialect": "iclr"}, NAG, {"form": "mean", "momentum_decay": 0.004}),
    (NadaMax, {"betas": (0.9, 0.97), "dialect": "constant"}, NAG, {"form": "mean"}),
]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(("cls", "keywords", "limit", "settings"), LIMITS, **by_name)
def test_a_large_epsilon_takes_the_norm_away(cls, keywords, limit, settings, path):
    """With η = a ε, η m̂ / (√n̂ + ε) = a m̂ (1 − √n̂/ε + …): the distance to the rule without a norm falls as 1/ε."""
    a, T = 0.02, 100
    bare = follow(limit, noisy_slope, T, lr=a, **settings, **LISTS[path])
    εs = 10.0 ** np.arange(5, 10)
    distances = [distance(follow(cls, noisy_slope, T, lr=a * ε, eps=ε, **keywords, **LISTS[path]), bare) for ε in εs]
    slope = np.polyfit(np.log(εs), np.log(distances), 1)[0]
    assert abs(slope + 1) <= 1e-3
    assert distances[-1] <= 1e-6


@pytest.mark.parametrize("momentum_decay", [None, 0.004])
def test_on_a_constant_gradient_a_corrected_mean_is_that_gradient(momentum_decay):
    g = np.tile([0.3, -2.0, 1e-3, 50.0], (101, 1))
    descent = follow(GD, g, 100, lr=0.01)
    momentum = follow(Momentum, g, 100, lr=0.01, momentum=0.99, form="mean", momentum_decay=momentum_decay)
    assert distance(momentum, descent) <= 1e-14
    signs = START - 0.01 * np.arange(101)[:, None] * np.sign(g[0])
    for cls in (Adam, AdaMax):
        ours = follow(cls, g, 100, lr=0.01, eps=0.0, betas=(0.99, 0.999), momentum_decay=momentum_decay)
        if cls is AdaMax or momentum_decay is None:
            assert distance(ours, signs) <= 1e-13
    roots = np.concatenate([[0.0], np.cumsum(np.arange(1, 101) ** -0.5)])[:, None]
    assert distance(follow(AdaGrad, g, 100, lr=0.01, eps=0.0), START - 0.01 * roots * np.sign(g[0])) <= 1e-14


@every_followed_path
@pytest.mark.parametrize("cls", nadam_ref.OPTIMIZERS.values(), **by_name)
def test_one_tensor_is_its_elements_in_any_order(cls, path):
    """A tensor of N elements, N tensors of one, and the same permuted, are updated alike: all is elementwise."""
    n, T = 7, 20
    G, order = torch.tensor(noise(T, n=n)), torch.randperm(n, generator=torch.Generator().manual_seed(0))
    start = torch.linspace(-1, 1, n, dtype=torch.float64)
    whole, permuted, parts = start.clone(), start[order].clone(), [x.clone() for x in start]
    optimizers = [cls(params, **flags(path)) for params in ([whole], [permuted], parts)]
    for g in G[1:]:
        whole.grad, permuted.grad = g.clone(), g[order]
        for x, gx in zip(parts, g, strict=True):
            x.grad = gx.clone()
        for optimizer in optimizers:
            optimizer.step()
    # the compiled kernel may contract a product and a sum to one rounding where it is vectorized, and not elsewhere
    tolerance = {"rtol": 1e-13, "atol": 1e-14} if path == "fused" else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(permuted, whole[order], **tolerance)
    torch.testing.assert_close(torch.stack(parts), whole, **tolerance)

"""Every optimizer on every execution path against 50 digits: float64 parameters stay within 1e-14 over 1,000 steps."""

from functools import cache

import numpy as np
import oracle
import pytest
import torch
from oracle import Settings
from variants import FOLLOWED, PATHS, WITH_BOX, WITHOUT_BOX, Variant, flags, numbers

import nadam_ref
from nadam_ref.rules import DIALECTS, LENGTHS, RULES, scalars

T = 1000
#: The report's own numbers: corrections that matter for a thousand steps.
η, μ, ν, ε = 0.01, 0.99, 0.999, 1e-8
NUMBERS = {"η": η, "μ": μ, "ν": ν, "ε": ε}
#: Those that all paths are followed on come first.
CASES = [
    *WITH_BOX,
    *WITHOUT_BOX,
    Variant("GD", {"weight_decay": 0.1}),
    Variant("GD", {"weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    Variant("NAG", {"momentum_decay": 0.004, "weight_decay": 0.1, "maximize": True}),
    Variant("AdaGrad", {"lr_decay": 0.01, "initial_accumulator_value": 0.5}),
    Variant("AdaGrad", {"lr_decay": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    Variant("MaxProp", {"maximize": True}),
    Variant("Adam", {"momentum_decay": 0.004, "bias_correction": False, "weight_decay": 0.1, "maximize": True}),
    Variant("AdaMax", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    Variant("Nadam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    Variant("Nadam", {"dialect": "iclr", "momentum_decay": None, "maximize": True}),
    Variant("NadaMax", {"momentum_decay": None, "weight_decay": 0.1, "maximize": True}),
    *(Variant("Nadam", {"dialect": dialect, "bias_correction": False}) for dialect in DIALECTS),
    Variant("AdaGrad", {"eps_root": 0.25}),
    Variant("RMSProp", {"eps_root": 1e-3, "weight_decay": 0.1}),
    Variant("Adam", {"eps_root": 1e-3, "momentum_decay": 0.004, "length": "report"}),
    *(Variant("Nadam", {"dialect": dialect, "length": length}) for dialect in DIALECTS for length in LENGTHS[1:]),
]

#: The gradient is A (θ − 1) + G[t]: it follows θ in two of four elements. The noise keeps these from resting at the
#: minimum, where the norms decay until θ → next θ no longer contracts and any rounding grows without bound.
A = np.array([[3.0, 0.4, 0, 0], [0.4, 0.07, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
START = np.array([1.5, -2.0, 0.7, -0.3])


def noise():
    """G[0] … G[T]: of order 1 where the gradient follows θ; elsewhere of scales from 1e-3 to 1e2, some of them zero."""
    rng = np.random.default_rng(0)
    shape = (T + 1, 2)
    scales = 10.0 ** rng.uniform(-3, 2, shape) * (rng.uniform(size=shape) > 0.05)
    return rng.standard_normal((T + 1, 4)) * np.hstack([np.ones(shape), scales])


@cache
def exact_path(number):
    variant = CASES[number]
    valley, G = oracle.exact(A[:2, :2]), oracle.exact(noise())
    sign = -1 if variant.keywords.get("maximize") else 1

    def gradient(θ, t):
        return np.concatenate([valley @ (θ[:2] - 1) * sign + G[t, :2], G[t, 2:]])

    return oracle.trajectory(variant.settings(**NUMBERS), START, gradient, T)


def our_path(variant, path):
    θ = torch.tensor(START, requires_grad=True)
    optimizer = variant.optimizer([θ], **{**numbers(variant.name, **NUMBERS), **variant.keywords, **flags(path, η)})
    slope, path = torch.tensor(-A if variant.keywords.get("maximize") else A), [START]
    for G in torch.tensor(noise()[1:]):
        θ.grad = torch.addmv(G, slope, θ.detach() - 1)
        optimizer.step()
        path.append(θ.detach().numpy().copy())
    return np.stack(path)


def distance(ours, exact):
    """max|θ−θ*| / max|θ*| over the trajectory, for the elements with and without feedback; the larger of the two."""
    return max(np.abs(ours[:, i] - exact[:, i]).max() / np.abs(exact[:, i]).max() for i in (slice(2), slice(2, 4)))


def cases(count):
    return pytest.mark.parametrize("number", range(count), ids=[variant.id for variant in CASES[:count]])


@cases(len(CASES))
def test_every_setting_stays_within_1e14_of_the_exact_trajectory(number):
    assert distance(our_path(CASES[number], "for-loop"), exact_path(number)) <= 1e-14


@pytest.mark.parametrize("path", FOLLOWED[1:])
@cases(len(WITH_BOX))
def test_every_path_stays_within_1e14_of_the_exact_trajectory(number, path):
    assert distance(our_path(CASES[number], path), exact_path(number)) <= 1e-14


@pytest.mark.parametrize("counts", ["own", "common"])
@pytest.mark.parametrize("path", ["for-loop", "fused", "capturable"])
@pytest.mark.parametrize(
    "variant",
    [
        Variant("Momentum", {"momentum_decay": 0.1}),
        Variant("NAG", {"form": "mean", "momentum_decay": 0.1}),
        Variant("AdaGrad", {"lr_decay": 0.1, "weight_decay": 0.1}),
        Variant("RMSProp", {"bias_correction": True}),
        Variant("MaxProp", {}),
        Variant("Adam", {"momentum_decay": 0.1, "length": "report"}),
        Variant("Nadam", {"momentum_decay": 0.1, "eps_root": 1e-3}),
        Variant("Nadam", {"dialect": "interpolated", "gamma": 0.5}),
        Variant("NadaMax", {"dialect": "iclr", "momentum_decay": 0.1, "length": "unit"}),
    ],
    ids=lambda variant: variant.id,
)
def test_rows_are_exact_under_their_own_and_under_common_counts(variant, path, counts):
    """Row i occurs in every (i + 1)-th step; ψ is large, so that the counts matter."""
    rows, steps = 3, 60
    G, table = noise()[1 : steps + 1, None] * [[1], [-2], [0.5]], np.stack([START, -START, 2 * START])
    occurs = [[s for s in range(steps) if s % (i + 1) == i] for i in range(rows)]
    θ = torch.tensor(table, requires_grad=True)
    given = {**numbers(variant.name, **NUMBERS), **variant.keywords}
    optimizer = variant.optimizer([θ], **given, row_counts=counts, **PATHS[path])
    for s in range(steps):
        index = [i for i in range(rows) if s in occurs[i]]
        θ.grad = torch.sparse_coo_tensor([index], torch.tensor(G[s, index]), θ.shape, check_invariants=True)
        optimizer.step()
    exactG, settings = oracle.exact(G), variant.settings(**NUMBERS)
    for i in range(rows):
        if counts == "own":
            run = oracle.trajectory(settings, table[i], lambda θ, t, i=i: exactG[occurs[i][t - 1], i], len(occurs[i]))
        else:
            run = oracle.trajectory(
                settings, table[i], lambda θ, t, i=i: exactG[t - 1, i] if t - 1 in occurs[i] else None, steps
            )
        assert np.abs(θ[i].detach().numpy() - run[-1]).max() <= 1e-14 * np.abs(run).max()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"dialect": "iclr", "ψ": 0.004}, [1.331, 1.094, 1.008, 1.000, 1, 1, 1, 1]),
        ({"dialect": "cs229", "ψ": 0.004}, [1.007, 0.680, 0.545, 0.552, 0.698, 0.816, 0.932, 0.997]),
        ({"dialect": "cs229", "ψ": 0.004, "μ": 0.9}, [1.056, 0.784, 0.746, 0.843, 0.998, 1, 1, 1]),
        ({"dialect": "constant"}, [1.497, 1.166, 1.033, 1.009, 1, 1, 1, 1]),
        ({"dialect": "keras3"}, [1.007, 0.656, 0.466, 0.406, 0.441, 0.641, 0.867, 0.993]),
        ({"dialect": "choi"}, [1.990, 1.493, 1.194, 1.095, 1.015, 1.006, 1.002, 1]),
        ({"dialect": "interpolated"}, [1, 1, 1, 1, 1, 1, 1, 1]),
    ],
    ids=str,
)
def test_the_oracle_gives_the_known_multipliers_of_a_constant_gradient(settings, expected):
    """Steps for g = 1 in units of η; the figures were read off the libraries, not off this project."""
    s = Settings("Nadam", **{"η": 1.0, "ε": 0.0, **settings})
    θ = oracle.trajectory(s, np.zeros(1), lambda θ, t: oracle.exact(np.ones(1)), 500)[:, 0]
    assert np.allclose(-np.diff(θ)[np.array([1, 2, 5, 10, 50, 100, 200, 500]) - 1], expected, rtol=0, atol=6e-4)


def test_what_the_oracle_sums_is_what_the_recursions_sum_to():
    """Against the sums written out, Σ_i q_i g_i ∏_{i<j≤t} μ_j, which take T² terms."""
    rng = np.random.default_rng(3)
    g, f = oracle.exact(rng.standard_normal(40)), oracle.exact(rng.uniform(0.1, 1, 40))
    decaying, mean, largest = oracle.Decaying(), oracle.Mean(corrected=False), oracle.Decaying(np.maximum)
    for t in range(1, 41):
        tail = [oracle.mp.fprod(f[i + 1 : t]) for i in range(t)]
        for got, weights, join in (
            (decaying.push(g[t - 1], f[t - 1]), np.ones(t), oracle.mp.fsum),
            (mean.push(g[t - 1], f[t - 1]), 1 - f[:t], oracle.mp.fsum),
            (largest.push(abs(g[t - 1]), f[t - 1]), np.sign(g[:t]), max),
        ):
            assert abs(got - join(list(g[:t] * tail * weights))) < 1e-45


@pytest.mark.parametrize("near_one", [0.999, 0.9999, 0.999999, 1 - 1e-9])
def test_corrections_keep_all_digits_where_the_decay_rates_are_near_one(near_one):
    """At t = 2 and μ = 0.999999, 1 − μᵗ as it stands would keep eleven digits."""
    for t in [*range(1, 100), 1000, 10**5, 10**7]:
        mp = oracle.mp
        rest, ahead = (1 - mp.power(mp.mpf(near_one), n) for n in (t, t + 1))
        numbers = {"lr": 1.0, "mu": near_one, "nu": near_one, "bias_correction": True}
        adam, _ = scalars(RULES["Adam"], float(t), **numbers)
        nadam, _ = scalars(RULES["Nadam"], float(t), **numbers, dialect="constant")
        assert abs(adam.a * rest - 1) <= 1e-15
        assert abs(adam.d * mp.sqrt(rest) - 1) <= 1e-15
        assert abs(nadam.a * ahead / near_one - 1) <= 1e-15
        assert abs(nadam.c * rest / (1 - mp.mpf(near_one)) - 1) <= 1e-15


@pytest.mark.parametrize("path", ["for-loop", "capturable"])
@pytest.mark.parametrize("name", ["RMSProp", "Adam", "Nadam"])
@pytest.mark.parametrize("betas", [(0.99, 0.9999), (0.9999, 0.999999), (0.999999, 0.999999)], ids=str)
def test_trajectories_are_exact_where_the_decay_rates_are_near_one(name, betas, path):
    G = noise()[:201]
    exactG = oracle.exact(G)
    more = {"dialect": "constant"} if name == "Nadam" else {}
    s = Settings(name, η, *betas, ε, **more)
    exact = oracle.trajectory(s, START, lambda θ, t: exactG[t], 200)
    θ = torch.tensor(START, requires_grad=True)
    rates = {"alpha": betas[1], "bias_correction": True} if name == "RMSProp" else {"betas": betas}
    optimizer = getattr(nadam_ref, name)([θ], lr=η, eps=ε, **rates, **more, **PATHS[path])
    for g in torch.tensor(G[1:]):
        θ.grad = g
        optimizer.step()
    assert np.abs(θ.detach().numpy() - exact[-1]).max() / np.abs(exact).max() <= 1e-14


def product_of_multipliers(μ, ψ, T):
    """∏_{t≤T} μ (1 − ½ qᵗ), q = 0.96^ψ, from the series of its logarithm: Σ_t log(1 − ½ qᵗ) = −Σ_k Σ_t (½ qᵗ)ᵏ / k."""
    mp = oracle.mp
    q = mp.power(mp.fdiv(96, 100), mp.mpf(ψ))
    geometric = (mp.power(2, -k) / k * q**k * (1 - mp.power(q, k * T)) / (1 - q**k) for k in range(1, 180))
    return mp.exp(T * mp.log(mp.mpf(μ)) - mp.fsum(geometric))


@pytest.mark.parametrize(("dialect", "ψ"), [("keras3", 1.0), ("cs229", 0.004)])
def test_fault_26_the_product_of_a_million_multipliers(dialect, ψ):
    """It keeps twelve digits, or has fallen below the smallest float64, as the report's has after 1,100 steps."""
    μ = 1 - 1e-7
    product = 1.0
    for t in range(1, 10**6 + 1):
        k, product = scalars(
            RULES["Nadam"], float(t), product, lr=1.0, mu=μ, momentum_decay=ψ, bias_correction=True, dialect=dialect
        )
    exact = product_of_multipliers(μ, ψ, 10**6)
    assert abs(product - exact) <= 1e-12 * exact + 5e-324
    ahead = oracle.multiplier(μ, ψ, 10**6 + 1)
    assert abs(k.a * (1 - exact * ahead) / ahead - 1) <= 1e-15


def test_the_closed_form_of_the_product_is_the_product():
    for ψ in (0.004, 1.0, 3.0):
        product = oracle.mp.fprod(oracle.multiplier(0.99, ψ, t) for t in range(1, 301))
        assert abs(product_of_multipliers(0.99, ψ, 300) / product - 1) < 1e-45

"""The oracle itself: boxes against each other and against values worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nadam_ref import paper

A = np.array([[3.0, 0.4], [0.4, 0.7]])
START = np.array([1.5, -2.0])


def quadratic(θ: Any, t: Any) -> Any:
    return A @ θ


def noisy(θ: Any, t: Any) -> Any:
    return A @ θ + np.sin(np.arange(2.0) + t)


def test_every_public_box_is_a_generator_of_float64() -> None:
    others = {"path", "schedule", "l2_norm", "max_norm", "row_lazy", "row_lazy_common"}
    for name in set(paper.__all__) - others:
        θ = paper.path(getattr(paper, name), START, noisy, 3)
        assert θ.shape == (4, 2)
        assert θ.dtype == np.float64
        assert np.array_equal(θ[0], START)


def test_first_steps_by_hand() -> None:
    g = np.array([2.0, -4.0])
    constant = lambda θ, t: g  # noqa: E731
    zero = np.zeros(2)
    assert np.allclose(paper.path(paper.gradient_descent, zero, constant, 2, η=0.5)[2], -g)
    # sums: m = g, then 1.9 g
    assert np.allclose(paper.path(paper.momentum, zero, constant, 2, η=1.0, μ=0.9)[2], -2.9 * g)
    # Nesterov: 1.9 g, then 0.9 · 1.9 g + g
    assert np.allclose(paper.path(paper.nag, zero, constant, 2, η=1.0, μ=0.9)[2], -(1.9 + 2.71) * g)
    # a corrected mean of a constant is that constant, so Adam's step is η sign(g)
    assert np.allclose(paper.path(paper.adam, zero, constant, 5, η=0.1, ε=0.0)[5], -0.5 * np.sign(g))
    assert np.allclose(paper.path(paper.adamax, zero, constant, 5, η=0.1, ε=0.0)[5], -0.5 * np.sign(g))
    # AdaGrad: n = t g², the step is η / √t
    assert np.allclose(
        paper.path(paper.adagrad, zero, constant, 4, η=1.0, ε=0.0)[4], -np.sign(g) * (1 + 2**-0.5 + 3**-0.5 + 0.5)
    )


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (paper.nadam_iclr, [1.331, 1.094, 1.008, 1.000, 1, 1, 1, 1]),
        (paper.nadam, [1.007, 0.680, 0.545, 0.552, 0.698, 0.816, 0.932, 0.997]),
        (paper.nadam_constant, [1.497, 1.166, 1.033, 1.009, 1, 1, 1, 1]),
        (paper.nadam_keras3, [1.007, 0.656, 0.466, 0.406, 0.441, 0.641, 0.867, 0.993]),
        (paper.nadam_choi, [1.990, 1.493, 1.194, 1.095, 1.015, 1.006, 1.002, 1]),
        (paper.nadam_interpolated, [1, 1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_multiplier_on_a_constant_gradient(box: Any, expected: Any) -> None:
    """The step for g = 1 in units of η, μ = .99: where the Nadams part. The figures were worked out independently."""
    θ = paper.path(box, np.zeros(1), lambda θ, t: np.ones(1), 500, η=1.0, μ=0.99, ν=0.999, ε=0.0)
    steps = -np.diff(θ[:, 0])[np.array([1, 2, 5, 10, 50, 100, 200, 500]) - 1]
    assert np.allclose(steps, expected, atol=6e-4)


def test_lookahead_nag_is_rewritten_nag_at_the_shifted_point() -> None:
    """θ̄_t = θ_t − η μ m_t turns Algorithm 3 into Algorithm 7."""
    η, μ, T = 0.05, 0.9, 200
    ahead = paper.path(paper.nag_lookahead, START, noisy, T, η=η, μ=μ)
    shifted = paper.path(paper.nag, START, noisy, T, η=η, μ=μ)
    m = -np.diff(ahead, axis=0) / η
    assert np.allclose(ahead[1:] - η * μ * m, shifted[1:], rtol=0, atol=1e-13)


def test_iclr_momentum_is_the_reports_while_the_rate_is_constant() -> None:
    for iclr, report in ((paper.iclr_momentum, paper.momentum), (paper.iclr_nag_lookahead, paper.nag_lookahead)):
        assert np.allclose(paper.path(iclr, START, noisy, 200), paper.path(report, START, noisy, 200), rtol=1e-13)


def test_the_extra_nu_of_iclr_lengthens_the_step_by_its_root() -> None:
    one = lambda θ, t: np.ones(1)  # noqa: E731
    printed = paper.path(paper.nadam_iclr_printed, np.zeros(1), one, 100, μ=0.9, ε=0.0)
    without = paper.path(paper.nadam_iclr, np.zeros(1), one, 100, μ=0.9, ε=0.0)
    assert np.allclose(printed / np.sqrt(1 / 0.999), without, rtol=1e-12)


def test_the_epsilon_of_iclrs_print_is_under_the_root() -> None:
    """The step on a constant gradient g is g / √(ν g² + ε): with the usual ε, .7 of the rate at g = 1e-4."""
    g, ε = 1e-4, 1e-8
    one = lambda θ, t: np.full(1, g)  # noqa: E731
    settings = {"η": 1.0, "μ": 0.9, "ε": ε, "ψ": None}
    steps = -np.diff(paper.path(paper.nadam_iclr_printed, np.zeros(1), one, 300, **settings)[:, 0])
    assert steps[-1] == pytest.approx(g / np.sqrt(0.999 * g**2 + ε), rel=1e-9)


def test_a_row_that_always_occurs_has_the_common_count() -> None:
    """Under either count; a row that comes late begins its m and n then, but is corrected as if they were old."""

    def grad(θ: Any, s: Any) -> Any:
        return {0: noisy(θ[0], s)} if s < 5 else {0: noisy(θ[0], s), 1: np.ones(2)}

    table = np.stack([START, START])
    own = paper.path(paper.row_lazy, table, grad, 5, of=paper.adam, ε=0.0)
    common = paper.path(paper.row_lazy_common, table, grad, 5, of=paper.adam, ε=0.0)
    assert np.array_equal(own[:, 0], common[:, 0])
    first = common[4, 1] - common[5, 1]
    assert np.allclose(first, 1e-3 * (0.1 / (1 - 0.9**5)) / np.sqrt(0.001 / (1 - 0.999**5)), rtol=1e-12)
    assert np.allclose(own[4, 1] - own[5, 1], 1e-3, rtol=1e-12)


def test_the_notes_second_moment_turns_negative() -> None:
    """The note writes v where s belongs; a gradient that keeps one sign for a while and then flips makes √s NaN."""
    θ = paper.path(paper.note_nadam, np.ones(1), lambda θ, t: np.where(t < 5, -1.0, 0.1) * np.ones(1), 10)
    assert np.isnan(θ[-1]).all()
    assert np.isfinite(paper.path(paper.note_adamax, START, noisy, 10)).all()


def test_nadamax_is_nadam_with_the_max_norm() -> None:
    a = paper.path(paper.nadamax, START, noisy, 50, ψ=None)
    b = paper.path(paper.nadam_constant, START, noisy, 50, μ=0.99, norm=paper.max_norm)
    assert np.allclose(a, b, rtol=1e-12)

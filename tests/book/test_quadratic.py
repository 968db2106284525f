"""Momentum and NAG on a quadratic: the closed forms against roots and runs, and the page's own against Python's."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from chapters import prose
from test_widget import node

from nadam_ref import paper
from nadam_ref.book.cells import quadratic

NAMES = ("Momentum", "NAG")
SETTINGS = [(x, μ) for x in (1e-3, 0.03, 0.3, 0.99, 1.0, 1.2, 2.5, 4.2) for μ in (0.0, 0.4, 0.8, 0.99)]
each = pytest.mark.parametrize("name", NAMES)


def matrix(name: str, x: float, μ: float) -> Any:
    """One step of the method as it is defined, on (θ, ηm) with g = λθ."""
    m = np.array([x, μ if name == "Momentum" else μ - x * μ])  # NAG's gradient is that at θ − ημm
    return np.array([np.array([1, 0]) - m, m])


@each
def test_the_factor_is_the_largest_eigenvalue_of_a_step(name: str) -> None:
    for x, μ in SETTINGS:
        values = np.linalg.eigvals(matrix(name, x, μ))
        assert quadratic.factor(name, x, μ) == pytest.approx(np.abs(values).max(), rel=1e-6), (x, μ)
        if abs(quadratic.discriminant(name, x, μ)) > 1e-9:
            assert (quadratic.discriminant(name, x, μ) < 0) == np.iscomplex(values).any(), (x, μ)


def test_gradient_descents_factor() -> None:
    x = np.linspace(0, 3, 31)
    np.testing.assert_allclose(quadratic.factor("GD", x), np.abs(1 - x), rtol=1e-14, atol=1e-14)


@each
def test_the_course_is_the_boxs_path(name: str) -> None:
    box = {"Momentum": paper.momentum, "NAG": paper.nag_lookahead}[name]
    for x, μ in SETTINGS:
        path = paper.path(box, [1.0], lambda θ, t: 20 * θ, 40, η=x / 20, μ=μ)[:, 0]
        scale = np.maximum(1, np.abs(path))
        np.testing.assert_allclose(quadratic.course(name, x, μ, 40) / scale, path / scale, atol=1e-11)


@pytest.mark.parametrize("name", ["GD", *NAMES])
def test_below_the_limit_it_shrinks_and_above_it_grows(name: str) -> None:
    for μ in (0.0, 0.4, 0.8, 0.99):
        limit = quadratic.limit(name, μ)
        assert quadratic.factor(name, limit * (1 - 1e-6), μ) < 1 < quadratic.factor(name, limit * (1 + 1e-6), μ)


@pytest.mark.parametrize("name", ["GD", *NAMES])
@pytest.mark.parametrize("κ", [1.5, 20.0, 300.0])
def test_no_setting_is_better_than_the_best(name: str, κ: float) -> None:
    best = quadratic.best(name, κ)
    ends = (1.0, κ)
    assert quadratic.slowest(name, best.η, best.μ, np.linspace(1, κ, 500)) == pytest.approx(best.factor, abs=1e-7)
    for η in best.η * np.geomspace(0.3, 3, 201):
        for μ in np.linspace(0, 0.99, 100) if name != "GD" else [0.0]:
            assert quadratic.slowest(name, η, μ, ends) > best.factor - 1e-7


def test_steps_for_a_tenth() -> None:
    assert 0.8 ** quadratic.tenfold(0.8) == pytest.approx(0.1)


def test_the_kinked_function_is_convex_with_curvatures_from_1_to_25() -> None:
    θ = np.linspace(-3, 4, 7001)
    slopes = np.diff(quadratic.kinked(θ)) / np.diff(θ)
    assert slopes.min() == pytest.approx(1)
    assert slopes.max() == pytest.approx(25)
    assert quadratic.kinked(np.array(0.0)) == 0
    middle = (θ[1:] + θ[:-1]) / 2  # the slope has a kink at the ends of its pieces, which are points of the grid
    np.testing.assert_allclose(np.diff(quadratic.kinked_loss(θ)) / np.diff(θ), quadratic.kinked(middle), atol=1e-8)
    assert quadratic.kinked_loss(np.array(0.0)) == 0


def test_on_it_momentum_runs_in_a_circle_and_nag_arrives() -> None:
    ends = {}
    for name, box in (("Momentum", paper.momentum), ("NAG", paper.nag_lookahead)):
        η, μ, _ = quadratic.best(name, 25)
        ends[name] = paper.path(box, [3.3], quadratic.kinked, 3000, η=η, μ=μ)[-6:, 0]
    np.testing.assert_allclose(ends["Momentum"][:3], ends["Momentum"][3:], rtol=1e-9)
    assert np.abs(ends["Momentum"]).min() > 0.5
    assert np.abs(ends["NAG"]).max() < 1e-12


RUN = """
const jobs = JSON.parse(require("fs").readFileSync(0, "utf8")), q = nadamQuadratic;
const bits = (x) => Buffer.from(new Float64Array(x).buffer).toString("hex");
console.log(JSON.stringify(jobs.map(([name, x, mu]) => bits([
  q.factor(name, x, mu), q.discriminant(name, x, mu),
  ...Object.values(q.best(name, 1 + 100 * x)), ...q.course(name, x, mu, 40),
]))));
"""


def test_the_page_computes_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    jobs = [(name, x, μ) for name in NAMES for x, μ in SETTINGS]
    jobs += [(name, *map(float, rng.uniform((0, 0), (5, 1)))) for name in NAMES for _ in range(300)]
    for (name, x, μ), found in zip(jobs, node("quadratic", RUN, text=json.dumps(jobs)), strict=True):
        closed = [quadratic.factor(name, x, μ), quadratic.discriminant(name, x, μ)]
        wanted = [*closed, *quadratic.best(name, 1 + 100 * x)[:2], *quadratic.course(name, x, μ, 40)]
        np.testing.assert_array_equal(np.frombuffer(bytes.fromhex(found)), wanted, err_msg=f"{name} {x} {μ}")


def test_the_steps_to_a_tenth_along_the_floor_are_those_of_the_first_chapter() -> None:
    (said,) = re.findall(r"even at 0\.1 it takes (\d+) steps to get within a tenth", prose("01_gradient_descent"))
    assert 0.9 ** int(said) <= 0.1 < 0.9 ** (int(said) - 1)

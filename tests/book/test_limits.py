"""The limit of the one update: against the eigenvalues of a step, the closed forms, and what the chapter says."""

from __future__ import annotations

import numpy as np
import pytest

from nadam_ref.book.cells import limits, quadratic
from nadam_ref.rules import DIALECTS, RULES, Rule, Scalars, scalars


def radius(rule: Rule, k: Scalars, r: float) -> float:
    """What a step leaves of (θ, m) in the long run on ½θ², where η over the norm is r."""
    q = 1.0 if rule.momentum == "sum" else 1.0 - k.mu

    def step(θ: float, m: float) -> tuple[float, float]:
        m = k.mu * m + q * θ
        return θ - r * (k.a * m + k.c * θ), m

    return float(np.abs(np.linalg.eigvals(np.array([step(1, 0), step(0, 1)]).T)).max())


def numbers(name: str, t: int, μ: float = 0.9, dialect: str = "constant") -> Scalars:
    decay = DIALECTS[dialect].momentum_decay if RULES[name].nesterov and RULES[name].momentum == "mean" else None
    product = float(np.prod([μ * (1 - 0.5 * 0.96 ** (i / 250)) for i in range(1, t)]))
    given = {"lr": 0.1, "mu": μ, "nu": 0.99, "bias_correction": True, "dialect": dialect, "momentum_decay": decay}
    return scalars(RULES[name], t, product, **given)[0]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    ("t", "dialect"), [(2, "cs229"), (100, "cs229"), (30, "iclr"), (5, "constant"), (10**4, "choi")]
)
def test_below_the_limit_a_step_shrinks_and_above_it_grows(name: str, t: int, dialect: str) -> None:
    for μ in (0.3, 0.9, 0.99):
        k = numbers(name, t, μ, dialect)
        r = limits.limit(RULES[name], k)
        assert radius(RULES[name], k, 0.999 * r) < 1 < radius(RULES[name], k, 1.001 * r)
        assert radius(RULES[name], k, 1e-3 * r) < 1


@pytest.mark.parametrize("μ", [0.5, 0.9])
def test_those_without_a_norm_have_the_limits_of_their_chapters(μ: float) -> None:
    for name in ("GD", "Momentum", "NAG"):
        assert limits.limit(RULES[name], numbers(name, 10**5, μ)) == pytest.approx(quadratic.limit(name, μ), rel=1e-12)


def test_nadam_s_limit_is_as_far_below_adam_s_as_the_chapter_says() -> None:
    adam = limits.limit(RULES["Adam"], numbers("Adam", 10**5))
    assert adam == pytest.approx(38)  # 2 (1 + .9) / (1 − .9)
    assert limits.limit(RULES["Nadam"], numbers("Nadam", 10**5)) / adam == pytest.approx(1 / 2.8)
    assert 0.08 < limits.limit(RULES["Nadam"], numbers("Nadam", 100, dialect="cs229")) / adam < 0.12


def test_without_noise_each_method_comes_to_its_own_limit_and_nadam_before_adam() -> None:
    courses = limits.courses()
    for name, found in courses.items():
        assert 0.8 < np.median(found.steepness[-1000:] / found.limit[-1000:]) < 1.6, name
    first = {name: int(np.argmax(x.steepness > x.limit)) for name, x in courses.items()}
    assert 0 < first["RMSProp"] < first["Nadam (report)"] < first["Nadam (constant)"] < first["Adam"]
    for name, found in courses.items():  # small before, and then it bursts
        assert found.loss[first[name]] < 1e-8 * found.loss[0], name
        assert found.loss[first[name] : first[name] + 200].max() > 1e4 * found.loss[first[name]], name


def test_the_figure_shows_what_the_sentence_says() -> None:
    figure = limits.reached()
    for name, found in limits.courses().items():
        assert figure.data[f"{name}, steepness"].tolist() == found.steepness[:: limits.EVERY].tolist()
        assert f"{name} {np.median(found.steepness[limits.STEPS // 2 :]):.1f} (limit " in figure.alt

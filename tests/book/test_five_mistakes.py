"""The exercises "Five mistakes in one Nadam": every symptom is there, and goes when its solution is carried out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from chapters import carried_out, prose

from nadam_ref import paper

PAGE = "13_five_mistakes"
SOLUTIONS = re.findall(r"<summary>Solution</summary>(.*?)</details>", prose(PAGE), re.S)


@pytest.fixture(scope="module")
def page() -> Iterator[dict[str, Any]]:
    with carried_out(PAGE) as names:
        yield names


def changed(source: str, solution: str) -> str:
    """Source with the lines of a solution's diff taken out and put in, where each was exactly once."""
    for old, new in re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", solution, re.M):
        before, after = (re.sub(r"^[-+]", "", lines, flags=re.M) for lines in (old, new))
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    return source


@cache
def solved(upto: int) -> Callable[..., Any]:
    """The first rule after that many solutions."""
    source = inspect.getsource(paper.note_nadam)
    for solution in SOLUTIONS[:upto]:
        source = changed(source, solution)
    names = dict(vars(paper))
    exec(source, names)
    box: Callable[..., Any] = names["note_nadam"]
    return box


def walk(box: Callable[..., Any], start: float, **numbers: float) -> Any:
    return paper.path(box, [start], lambda θ, t: θ, 60, **numbers)[:, 0]


def steps(box: Callable[..., Any], size: float = 1.0, **numbers: float) -> Any:
    return -np.diff(paper.path(box, [0.0], lambda θ, t: np.full(1, size), 200, **numbers)[:, 0])


def test_there_are_five() -> None:
    assert len(SOLUTIONS) == 5
    assert len(re.findall(r"^## \w+ symptom: ", prose(PAGE), re.M)) == 5


def test_1_a_negative_root(page: dict[str, Any]) -> None:
    assert page["lost"][-1.0] == 2
    assert page["lost"][1.0] > 10
    assert not np.isnan(walk(solved(1), 1.0, α=0.1)).any()
    assert walk(solved(1), -1.0, α=0.1) == pytest.approx(-walk(solved(1), 1.0, α=0.1))  # both sides are alike


def test_2_no_correction(page: dict[str, Any]) -> None:
    for decay, row in zip(page["decays"], page["table"], strict=True):
        assert row == pytest.approx([np.sqrt(1 - decay**t) for t in page["shown"]], rel=1e-9)
    assert steps(solved(1), α=1.0)[0] == pytest.approx(np.sqrt(0.1))
    assert steps(solved(2), α=1.0) == pytest.approx(np.ones(200))


def test_3_one_decay_for_two(page: dict[str, Any]) -> None:
    waits, spreads = zip(*(row[1:] for row in page["rows"]), strict=True)
    assert list(waits) == sorted(waits)
    assert list(spreads) == sorted(spreads, reverse=True)
    for decay, wait, spread in page["rows"]:
        assert decay**wait <= 0.1 < decay ** (wait - 1)
        # Of √s it is half that of s, a mean of squares whose relative variance is 2 (1 − β) / (1 + β).
        assert spread == pytest.approx(np.sqrt((1 - decay) / (1 + decay) / 2), rel=0.2)
    noise = np.random.default_rng(1).standard_normal(8000)
    gains = {}
    for n in (2, 3):  # with the momentum off, the step is the gradient over the norm
        taken = -np.diff(paper.path(solved(n), [0.0], lambda θ, t: noise[t : t + 1], 7000, α=1.0, β=1e-12)[:, 0])
        gains[n] = noise[1:7001] / taken
    assert np.std(gains[3][4000:]) < 0.05 < np.std(gains[2][4000:])
    assert steps(solved(3), α=1.0, β=0.5, ν=0.9) == pytest.approx(np.ones(200))


def test_4_too_far_ahead(page: dict[str, Any]) -> None:
    assert page["far"] == pytest.approx({α: 0.9 / α for α in (0.1, 0.01, 0.001)})
    asked: list[float] = []

    def bowl(θ: Any, t: int) -> Any:
        asked.append(float(θ[0]))
        return θ

    path = paper.path(solved(4), [1.0], bowl, 10, α=0.1)
    assert asked[:10] == path[:10, 0].tolist()  # where the parameters are


def test_5_the_root_of_the_scale(page: dict[str, Any]) -> None:
    for size, (note, adamax) in zip(page["sizes"], page["thousandth"], strict=True):
        assert note == pytest.approx(np.sqrt(size), rel=1e-6)
        assert adamax == pytest.approx(1, rel=1e-6)
    names = dict(vars(paper))
    exec(changed(inspect.getsource(paper.note_adamax), SOLUTIONS[4]), names)
    assert steps(names["note_adamax"], 100.0, α=1.0)[-1] == pytest.approx(
        steps(paper.adamax, 100.0, η=1.0)[-1], rel=1e-6
    )


def corrected(**lines: str) -> Callable[..., Any]:
    """The page's corrected rule; `lines` take the place of those that assign to these names."""
    source = re.search(r"```python\n(def nadam.*?)```", prose(PAGE), re.S)[1]  # type: ignore[index]
    for name, line in lines.items():
        source, n = re.subn(rf"^( +){name} = .*$", rf"\1{line}", source, flags=re.M)
        assert n == 1
    names: dict[str, Any] = {"np": np}
    exec(source, names)
    box: Callable[..., Any] = names["nadam"]
    return box


def gradient(θ: Any, t: int) -> Any:
    return θ * [0.5, 2.0] + np.cos([t, 2 * t])


def test_the_corrected_rule_is_the_dialect_constant() -> None:
    numbers = {"η": 0.1, "μ": 0.9, "ν": 0.99}
    ours = {"α": 0.1, "β": 0.9, "ν": 0.99}
    start = np.array([1.0, -2.0])
    expected = paper.path(paper.nadam_constant, start, gradient, 50, **numbers)
    assert paper.path(corrected(), start, gradient, 50, **ours) == pytest.approx(expected, rel=1e-12)
    assert paper.path(solved(4), start, gradient, 50, **ours) == pytest.approx(expected, rel=1e-6)  # it has no ε
    s, step = re.findall(r"`((?:s|θ) = .*?)`", prose(PAGE))
    nadamax = partial(paper.nadam_constant, norm=paper.max_norm)
    expected = paper.path(nadamax, start, gradient, 50, **numbers)
    assert paper.path(corrected(s=s, θ=step), start, gradient, 50, **ours) == pytest.approx(expected, rel=1e-12)

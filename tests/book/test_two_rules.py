"""The chapter "Two printed rules": its own cells are executed, and what they compute is compared with what is known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from chapters import carried_out

from nadam_ref import DIALECTS, paper
from nadam_ref.book.cells import dialects

#: Step lengths on the gradient 1, read off the libraries' sources and worked out apart from this project.
KNOWN = {
    ("iclr", 0.99): "1.331 1.094 1.008 1.000 1.000 1.000 1.000 1.000",
    ("cs229", 0.99): "1.007 0.680 0.545 0.552 0.698 0.816 0.932 0.997",
    ("cs229", 0.9): "1.056 0.784 0.746 0.843 0.998 1.000 1.000 1.000",
    ("constant", 0.99): "1.497 1.166 1.033 1.009 1.000 1.000 1.000 1.000",
    ("keras3", 0.99): "1.007 0.656 0.466 0.406 0.441 0.641 0.867 0.993",
    ("choi", 0.99): "1.990 1.493 1.194 1.095 1.015 1.006 1.002 1.000",
}
MU = [0.9 * (1 - 0.5 * 0.96 ** (t / 250)) for t in range(10)]


@pytest.fixture(scope="module")
def page() -> Iterator[dict[str, Any]]:
    with carried_out("12_two_rules", "train(", "found", "four_curves", "ends") as names:
        yield names


def length(P: float, P_next: float, t: int) -> float:
    """The report's step on the gradient 1 with these products; m = 1 − .9ᵗ."""
    return MU[t + 1] * (1 - 0.9**t) / (1 - P_next) + (1 - MU[t]) / (1 - P)


def test_the_table_of_step_lengths(page: dict[str, Any]) -> None:
    table = {form: " ".join(f"{page['lengths'][form][t - 1]:.3f}" for t in page["at"]) for form in page["forms"]}
    assert page["at"] == [1, 2, 5, 10, 50, 100, 200, 500]
    assert table == KNOWN


def test_how_deep_the_dip_is_and_how_long(page: dict[str, Any]) -> None:
    """As the recursion gives it, worked out apart from the boxes; ICLR's multipliers are those of KNOWN or larger."""
    said = dialects.dips(0.9).data
    products = np.cumprod([0.9 * (1 - 0.5 * 0.96 ** (t / 250)) for t in range(1, 102)])
    momenta = products / np.concatenate([[1], products[:-1]])
    t = np.arange(1, 101)
    r = momenta[1:] * (1 - 0.9**t) / (1 - products[1:]) + (1 - momenta[:-1]) / (1 - products[:-1])
    assert f"to {r.min():.0%} of".replace("%", " %") in said
    assert f"over after {max(t[r < 0.99])} steps" in said
    assert dialects.step_lengths("iclr", 0.9, 1000).min() > 1 - 1e-12


def test_where_the_weight_of_torch_s_momentum_begins() -> None:
    """0.96^(0.004 t) is one half at t = ln 2 / (0.004 ln(1/0.96))."""
    said = dialects.first_weights().data
    assert f"begins at {0.9 * (1 - 0.5 * 0.96**0.004):.2f} and not at 0.9" in said
    assert f"at step {math.ceil(math.log(2) / (0.004 * -math.log(0.96))):,} has" in said


# ---------------------------------------------------------------- what a step is made of


def impulses(box: Any, t: int, **settings: Any) -> Any:
    """The weight of each gradient in step t, the newest first: how much the step grows where that gradient does.

    With ν = 0 the norm is the size of the gradient of the step itself, so the numerator is the step times that.
    """

    def numerator(gradients: Any) -> float:
        path = paper.path(box, [0.0], lambda θ, i: gradients[i : i + 1], t, η=1.0, ν=0.0, ε=0.0, **settings)
        return float((path[-2, 0] - path[-1, 0]) * gradients[t])

    plain = numerator(np.ones(t + 1))
    return np.array([numerator(np.ones(t + 1) + np.eye(t + 1)[t - k]) - plain for k in range(t)]) / plain


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_weights_of_a_step(dialect: str) -> None:
    psi = DIALECTS[dialect].momentum_decay
    found = dialects.weights("Nadam", 30, mu=0.97, momentum_decay=psi, dialect=dialect)
    assert found == pytest.approx(impulses(dialects.BOXES[dialect], 30, μ=0.97), rel=1e-9)


def test_the_report_remembers_and_iclr_does_not(page: dict[str, Any]) -> None:
    old = {name: share[11:].sum() for name, share in page["shares"].items()}
    newest = {name: share[0] for name, share in page["shares"].items()}
    assert old["Adam, scheduled μ"] < 0.001
    assert old["iclr"] < 0.001
    assert min(old["cs229"], old["interpolated, γ = 0.5"]) > 0.3
    assert newest["iclr"] > newest["Adam, scheduled μ"]
    assert newest["cs229"] > 0.5


def test_the_share_of_the_newest_gradient_falls_to_nesterovs(page: dict[str, Any]) -> None:
    share = page["share"]
    assert share == sorted(share, reverse=True)
    assert share[0] > 0.99
    assert dialects.weights("Nadam", 1000, mu=0.99, dialect="constant")[0] == pytest.approx(
        dialects.weights("Nadam", 1000, mu=0.99, dialect="interpolated", gamma=0.01)[0], rel=1e-4
    )


# ---------------------------------------------------------------- the two by two

CELLS = {
    (False, False): np.array([1.0, 2.0, 4.0]),
    (False, True): np.array([1.1, 2.2, 4.4]),
    (True, False): np.array([0.5, 1.0, 2.0]),
    (True, True): np.array([0.55, 0.99, 2.2]),
}


def test_each_change_is_between_two_cells_that_differ_in_one_thing() -> None:
    found = dialects.effects(CELLS)
    assert found["look-ahead, μ constant"] == pytest.approx(np.log([1.1] * 3))
    assert found["look-ahead, μ scheduled"] == pytest.approx(np.log([1.1, 0.99, 1.1]))
    assert found["schedule, no look-ahead"] == pytest.approx(np.log([0.5] * 3))
    assert found["schedule, look-ahead"] == pytest.approx(np.log([0.5, 0.45, 0.5]))


def test_the_table_of_four_cells() -> None:
    text = dialects.two_by_two(CELLS, name="tab-x", caption="x", note="").data
    constant, scheduled, schedule = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert "Adam: 2.333" in constant
    assert "+10.0 % (+10.0 to +10.0)" in constant
    assert "`iclr`: 1.247" in scheduled
    assert schedule.count("−50.0 % (−50.0 to −50.0)") == 1


def test_only_what_is_beyond_the_luck_of_the_seeds_both_times_is_named() -> None:
    assert "both times: schedule." in dialects.helps(CELLS).data
    same = dict.fromkeys(CELLS, CELLS[False, False])
    noisy = same | {(True, True): CELLS[False, False] * [1.3, 0.7, 1.1]}
    assert "both times: neither." in dialects.helps(noisy).data
    better = {(s, a): CELLS[False, False] * (0.9 if s else 1) * (0.8 if a else 1) for s, a in CELLS}
    assert "both times: schedule and look-ahead." in dialects.helps(better).data


def test_the_figure_has_all_four_curves_in_each_panel() -> None:
    losses = {cell: np.outer([1.0, 0.5, 0.25], x) for cell, x in CELLS.items()}
    figure = dialects.four_curves(np.arange(3), {"one": losses, "two": losses}, ylabel="loss", note="n")
    assert [[line.get_label() for line in ax.get_lines()] for ax in figure.axes] == [
        ["Adam", "Nadam, constant", "Adam, scheduled μ", "Nadam, iclr"]
    ] * 2
    assert len({str((x.get_color(), x.get_linestyle())) for x in figure.axes[0].get_lines()}) == 4
    assert figure.data["one: Adam, mean"] == pytest.approx(losses[False, False].mean(1))


# ---------------------------------------------------------------- history and slips


def test_who_took_what_is_a_graph_whose_dialects_change_only_where_the_arrow_says_so() -> None:
    assert {x for arrow in dialects.TAKEN for x in arrow[:2]} == set(dialects.PLACES)
    changed = {how for a, b, how in dialects.TAKEN if dialects.PLACES[a][2] != dialects.PLACES[b][2]}
    assert changed == {
        "another recursion",
        "1/250 lost",
        "at first",
        "on review, with the extra ν",
        "one μ, no extra ν",
    }
    assert all(place[2] in DIALECTS for place in dialects.PLACES.values())
    assert all(dialects.PLACES[a][1] < dialects.PLACES[b][1] for a, b, _ in dialects.TAKEN)  # time runs down
    assert len(dialects.history().rows()) == 1 + len(dialects.TAKEN)


def test_keras_runs_the_schedule_250_times_too_fast(page: dict[str, Any]) -> None:
    for t, printed, keras in page["keras_rows"]:
        assert printed == pytest.approx(paper.schedule(0.9, t))
        assert keras == pytest.approx(paper.schedule(0.9, 250 * t))


def test_mu_counted_twice(page: dict[str, Any]) -> None:
    steps = -np.diff(paper.path(paper.nadam, [0.0], lambda θ, t: np.ones(1), 5, η=1.0, μ=0.9, ε=0.0)[:, 0])
    for t, (fixed, before) in enumerate(page["torch_steps"], 1):
        P = math.prod(MU[1 : t + 1])
        assert fixed == pytest.approx(steps[t - 1])
        assert before == pytest.approx(length(P, P * MU[t] * MU[t + 1], t))


def test_one_product_for_three_tensors(page: dict[str, Any]) -> None:
    for t, row in enumerate(page["mxnet_steps"], 1):
        for tensor, step in enumerate(row):
            P = math.prod(MU[1:t]) ** 3 * MU[t] ** (tensor + 1)
            assert step == pytest.approx(length(P, P * MU[t + 1], t))

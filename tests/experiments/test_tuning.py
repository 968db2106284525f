"""The search for a rate: where it goes, where it stops, and what it chooses, on responses with a known best rate."""

from __future__ import annotations

import math
from typing import Any

import pytest

from nadam_ref.experiments.protocol.tuning import Choice, choose, common, next_rates, place, rate


def searched(response: Any, middle: float = 1e-2, most: int = 12) -> Any:
    """Every rate that the search tries, and the rounds it takes."""
    tried, rounds = {}, []
    while wanted := next_rates(tried, middle, most):
        rounds.append(wanted)
        tried.update((lr, response(lr)) for lr in wanted)
    return tried, rounds


def parabola(best: Any) -> Any:
    return lambda lr: (math.log10(lr) - math.log10(best)) ** 2


def test_the_grid_has_four_rates_a_decade() -> None:
    assert [rate(i) for i in range(-4, 5)] == [0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2, 5.6, 10.0]
    assert all(place(rate(i)) == i for i in range(-24, 24))
    for lr in (0.2, 0.0321, 0.0315):
        with pytest.raises(ValueError, match="not on the grid"):
            place(lr)


def test_it_begins_with_the_middle_and_its_neighbours_half_a_decade_away() -> None:
    assert next_rates({}, 1e-2, 12) == [3.2e-3, 1e-2, 3.2e-2]
    assert next_rates({}, 5.6e-1, 12) == [1.8e-1, 5.6e-1, 1.8]


def test_a_best_rate_in_the_middle_takes_five_rates() -> None:
    tried, rounds = searched(parabola(1.1e-2))
    assert rounds == [[3.2e-3, 1e-2, 3.2e-2], [5.6e-3, 1.8e-2]]
    assert choose(tried) == Choice(1e-2, parabola(1.1e-2)(1e-2), False, 1.8e-2)


@pytest.mark.parametrize(("best", "side"), [(1.0, 1), (1e-4, -1)])
def test_it_goes_on_in_half_decades_until_the_best_is_worse_on_both_sides(best: float, side: int) -> None:
    tried, rounds = searched(parabola(best))
    assert all(len(wanted) == 1 for wanted in rounds[1:-1]) and len(rounds[-1]) == 2
    assert choose(tried).lr == best
    assert len(tried) == 3 + 4 + 2
    outermost = max(tried) if side > 0 else min(tried)
    assert outermost == pytest.approx(best * 10 ** (side / 2), rel=0.02)


@pytest.mark.parametrize("i", range(-6, 7))
def test_the_chosen_rate_is_the_best_of_the_grid_and_has_a_neighbour_on_either_side(i: Any) -> None:
    """Wherever the best quarter-decade is, it is found, and both rates beside it were tried."""
    best = rate(place(1e-2) + i)
    tried, _ = searched(parabola(best))
    found = choose(tried)
    assert found.lr == best and not found.edge
    assert {rate(place(best) - 1), rate(place(best) + 1)} <= set(tried)
    assert found.runner_up in (rate(place(best) - 1), rate(place(best) + 1))


def test_fault_71_it_stops_at_twelve_rates_and_the_best_is_then_at_an_edge() -> None:
    tried, _ = searched(lambda lr: -lr)
    assert len(tried) == 12
    assert (choose(tried).lr, choose(tried).edge) == (max(tried), True)


def test_fault_71_where_everything_diverges_it_goes_down_and_says_so() -> None:
    tried, _ = searched(lambda lr: math.inf)
    found = choose(tried)
    assert len(tried) == 12 and found.lr == min(tried) and found.edge and math.isinf(found.criterion)


def test_fault_71_rates_that_diverge_are_worse_than_any_other() -> None:
    tried, _ = searched(lambda lr: math.inf if lr > 1.1e-2 else -lr)
    assert choose(tried).lr == 1e-2 and not choose(tried).edge
    assert choose(tried).runner_up == 5.6e-3


def test_with_three_rates_the_search_has_one_round() -> None:
    tried, rounds = searched(parabola(1e3), most=3)
    assert rounds == [[3.2e-3, 1e-2, 3.2e-2]]
    assert choose(tried).edge


def test_fault_69_of_equal_rates_the_smaller_is_chosen() -> None:
    assert choose({0.1: 1.0, 0.32: 1.0, 1.0: 2.0}).lr == 0.1
    with pytest.raises(ValueError, match="no rate was tried"):
        choose({})


def test_one_rate_alone_has_no_runner_up() -> None:
    assert choose({0.1: 1.0}) == Choice(0.1, 1.0, True, None)


def test_the_common_rate_is_the_best_on_average_of_those_that_all_tried() -> None:
    tables = [{0.1: 1.0, 0.32: 0.0, 1.0: 5.0}, {0.32: 3.0, 1.0: 1.0, 3.2: 0.0}, {0.1: 0.0, 0.32: 1.0, 1.0: 0.0}]
    assert common(tables) == 0.32
    assert common([{0.1: 1.0}, {1.0: 1.0}]) is None
    assert common([]) is None

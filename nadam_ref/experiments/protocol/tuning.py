"""The search for a learning rate: the same rule for every arm, as a function of what has been tried.

Rates lie on a grid of quarter-decades, 1, 1.8, 3.2, 5.6, 10, … The search begins at a given rate and goes in
half-decades until the best has a worse one on either side. Then it tries the two quarter-decades beside the best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

MANTISSAS = ("1.0", "1.8", "3.2", "5.6")


class Choice(NamedTuple):
    """The rate with the lowest criterion (ties: the smaller rate), and the better one of its two neighbours.

    `edge`: it is the smallest or largest that was tried, or all of them diverged. `runner_up` is None where only one
    rate was tried. The criterion is +∞ for a rate at which a run diverged.
    """

    lr: float
    criterion: float
    edge: bool
    runner_up: float | None


def rate(place: int) -> float:
    """The rate at a place on the grid; 0 is 1.0, and 4 places are a decade."""
    return float(f"{MANTISSAS[place % 4]}e{place // 4}")


def place(rate: float) -> int:
    """The place of a rate on the grid. Raises `ValueError` for a rate that is not on it."""
    mantissa, exponent = f"{rate:.1e}".split("e")
    if mantissa not in MANTISSAS or not math.isclose(rate, float(f"{mantissa}e{exponent}"), rel_tol=1e-9):
        raise ValueError(f"rate {rate:g} is not on the grid of quarter-decades {', '.join(MANTISSAS)}")
    return 4 * int(exponent) + MANTISSAS.index(mantissa)


def next_rates(tried: Mapping[float, float], middle: float, most: int) -> list[float]:
    """The rates to try next, in rising order; none when the search has ended.

    `tried`: the criterion of each rate tried so far. `most`: the number of rates at which the search ends.
    """
    known = {place(lr): criterion for lr, criterion in tried.items()}
    start = place(middle)
    wanted = {start - 2, start, start + 2}
    if wanted <= known.keys():
        best = _best(p for p in known.items() if (p[0] - start) % 2 == 0)
        wanted = {best - 2, best + 2}
        if wanted <= known.keys():
            best = _best(known.items())
            wanted = {best - 1, best + 1}
    room = max(0, most - len(known))
    return [rate(p) for p in sorted(wanted - known.keys())[:room]]


def _best(known: Iterable[tuple[int, float]]) -> int:
    return min(known, key=lambda item: (item[1], item[0]))[0]


def choose(tried: Mapping[float, float]) -> Choice:
    """The choice among rates with their criteria. Raises `ValueError` for none."""
    if not tried:
        raise ValueError("no rate was tried")
    rates = sorted(tried)
    i = min(range(len(rates)), key=lambda i: tried[rates[i]])
    beside = [rates[j] for j in (i - 1, i + 1) if 0 <= j < len(rates)]
    runner_up = min(beside, key=lambda lr: tried[lr], default=None)
    edge = i in (0, len(rates) - 1) or math.isinf(tried[rates[i]])
    return Choice(rates[i], tried[rates[i]], edge, runner_up)


def common(arms: Iterable[Mapping[float, float]]) -> float | None:
    """The rate with the lowest mean criterion over several arms, among those that all of them tried; None for none."""
    tables = list(arms)
    shared = set.intersection(*(set(table) for table in tables)) if tables else set()
    means = {lr: sum(table[lr] for table in tables) / len(tables) for lr in sorted(shared)}
    return min(means, key=lambda lr: means[lr], default=None)

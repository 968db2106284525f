"""Tests on paired differences of log(metric): is there one, is there none that matters, how many runs would decide."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from .intervals import LEAST, Floats, Values, t_quantile, usable

EXACT = 40  # pairs; half the signs of one side are 2^20 sums
MOST_RUNS = 1000
POWER = 0.8


def log_differences(first: Values, second: Values) -> Floats:
    """log(first) − log(second), pair by pair. +inf stands for a diverged run; where both diverged the difference is 0.

    Raises `ValueError` for unequal lengths and for values that are not positive.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"pairs need as many first as second values, not {len(a)} and {len(b)}")
    if not ((a > 0).all() and (b > 0).all()):
        raise ValueError("a logarithm needs positive values; one is zero, negative or NaN")
    both = np.isinf(a) & np.isinf(b)
    difference: Floats = np.log(np.where(both, 1.0, a)) - np.log(np.where(both, 1.0, b))
    return difference


def signed_ranks(differences: Values) -> Floats:
    """Ranks of the absolute values, from 1, ties sharing their mean rank, with the signs; 0 for a difference of 0."""
    d = np.asarray(differences, dtype=np.float64)
    signed = np.sign(d)
    signed[d != 0] *= stats.rankdata(np.abs(d[d != 0]))
    return signed


def _sums(values: Floats) -> Floats:
    """The sums of the values under every choice of their signs."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def sign_flip(differences: Values) -> float:
    """Exact two-sided p of the paired sign-flip test: the share of sign choices whose |sum| is at least the one seen.

    All 2ⁿ choices count. The sums of each half of the differences are listed, and the pairs of them counted by binary
    search. Where a difference is infinite (one run of the pair diverged), signed ranks replace all of them.
    No differences, or none but zeros, give 1. Raises `ValueError` for NaN and for more than 40 differences.
    """
    d = np.asarray(differences, dtype=np.float64)
    if len(d) > EXACT or np.isnan(d).any():
        raise ValueError(f"the exact test takes up to {EXACT} differences, none NaN; there are {len(d)}")
    if np.isinf(d).any():
        d = signed_ranks(d)
    scale = float(np.abs(d).sum())
    seen = abs(float(d.sum())) - 1e-12 * scale  # sums that differ by rounding only are equal
    half = len(d) // 2
    left, right = np.sort(_sums(d[:half])), np.sort(_sums(d[half:]))
    reached = len(right) - np.searchsorted(right, seen - left, side="left")
    return float(min(1.0, 2 * int(reached.sum()) / 2 ** len(d)))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: those at most α are rejected with a family-wise error of at most α."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    adjusted, worst = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = worst
    return adjusted


def tost(differences: Values, delta: float) -> float:
    """The p of two one-sided t tests: small where the mean difference is shown to be less than `delta` from 0.

    1, no evidence, for fewer than 3 differences or where one is infinite.
    """
    if (d := usable(differences)) is None:
        return 1.0
    n = len(d)
    room = delta - abs(float(d.mean()))
    error = float(d.std(ddof=1)) / math.sqrt(n)
    if error == 0.0:
        return 0.0 if room > 0 else 1.0
    return float(stats.t.cdf(-room / error, n - 1))


def deciding_runs(
    differences: Values, delta: float, family: int = 1, alpha: float = 0.05, comparisons: int = 1
) -> int | None:
    """How many pairs would decide, were the mean and the spread as seen: with a probability of .8 or nearly so

    either the difference is significant at `alpha` / `family` (Holm's first and hardest step) or it is shown to be
    less than `delta` from 0 at `alpha` / `comparisons`, on both sides. A plan, not a promise: the mean and the spread
    are themselves estimates. None where there is nothing to plan from (fewer than 3 differences, an infinite one) or
    1000 pairs would not do.
    """
    if (d := usable(differences)) is None:
        return None
    mean, spread = abs(float(d.mean())), float(d.std(ddof=1))
    possible = math.log2(2 * family / alpha)  # with fewer pairs the exact test cannot be significant

    def different(n: int, error: float) -> bool:
        power = t_quantile(2 * POWER - 1, n - 1)
        return n >= possible and mean > (t_quantile(1 - alpha / family, n - 1) + power) * error

    def alike(n: int, error: float) -> bool:
        if error == 0.0:
            return mean < delta
        least = t_quantile(1 - 2 * alpha / comparisons, n - 1)
        near, far = (stats.t.cdf((delta + x) / error - least, n - 1) for x in (-mean, mean))
        return bool(near + far - 1 > POWER)

    def enough(n: int) -> bool:
        error = spread / math.sqrt(n)
        return different(n, error) or alike(n, error)

    low, high = len(d) + 1, MOST_RUNS
    if not enough(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def detectable(spread: float, n: int, family: int = 1, alpha: float = 0.05) -> float:
    """The smallest mean difference of log(metric) that `n` pairs show at `alpha` / `family` with a probability of .8.

    `spread`: the standard deviation over pairs. +inf for fewer than 3 pairs, and where the exact test cannot be
    significant with so few.
    """
    if n < max(LEAST, math.log2(2 * family / alpha)):
        return math.inf
    power = t_quantile(2 * POWER - 1, n - 1)
    return (t_quantile(1 - alpha / family, n - 1) + power) * spread / math.sqrt(n)

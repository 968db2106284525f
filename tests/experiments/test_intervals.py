"""Intervals against their definitions and the literature, and where they must not be stated."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import stats

from nadam_ref.experiments.statistics import intervals


@pytest.mark.parametrize("level", [0.01, 0.5, 0.6, 0.9, 0.95, 1 - 0.05 / 9, 0.999])
def test_t_quantile_leaves_its_level_between_the_ends(level: Any) -> None:
    """P(|T| ≤ t) is a regularized incomplete beta function of t² / (df + t²), to 30 digits."""
    for df in [*range(1, 40), 199, 200, 999]:
        t = mpmath.mpf(intervals.t_quantile(level, df))
        within = mpmath.betainc(0.5, mpmath.mpf(df) / 2, 0, t**2 / (df + t**2), regularized=True)
        assert float(within) == pytest.approx(level, rel=1e-12)


@pytest.mark.parametrize(("df", "t"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (30, 2.042)])
def test_t_quantile_is_the_printed_tables(df: int, t: float) -> None:
    assert round(intervals.t_quantile(0.95, df), 3) == t


@pytest.mark.parametrize(("level", "df"), [(0.0, 3), (1.0, 3), (0.95, 0)])
def test_t_quantile_of_nonsense(level: float, df: int) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        intervals.t_quantile(level, df)


def test_t_interval_is_scipys() -> None:
    values = np.random.default_rng(0).normal(size=7)
    expected = stats.t.interval(0.9, 6, loc=values.mean(), scale=stats.sem(values))
    assert intervals.t_interval(values, 0.9) == pytest.approx(expected, rel=1e-10)


def test_prediction_interval_has_its_pivot() -> None:
    """(next − mean) / (s √(1 + 1/n)) is Student's t: the ends are its scipy quantiles, whatever the values."""
    values = np.random.default_rng(1).normal(3.0, 2.0, size=10)
    low, high = intervals.prediction_interval(values)
    scale = values.std(ddof=1) * math.sqrt(1.1)
    assert stats.t.cdf((low - values.mean()) / scale, 9) == pytest.approx(0.025, abs=1e-12)
    assert stats.t.cdf((high - values.mean()) / scale, 9) == pytest.approx(0.975, abs=1e-12)


def test_prediction_interval_covers_the_next_value() -> None:
    draws = np.random.default_rng(2).normal(size=(4000, 6))
    ends = np.array([intervals.prediction_interval(row[:5]) for row in draws])
    covered = np.mean((ends[:, 0] <= draws[:, 5]) & (draws[:, 5] <= ends[:, 1]))
    assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


@pytest.mark.parametrize(("count", "n"), [(0, 10), (1, 10), (5, 20), (20, 20), (0, 1)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilsons_ends_are_where_the_score_test_rejects(count: int, n: int, level: float) -> None:
    """(p̂ − p)² = z² p (1 − p) / n at both ends, except where one is 0 or 1."""
    low, high = intervals.wilson(count, n, level)
    z = NormalDist().inv_cdf((1 + level) / 2)
    assert 0 <= low <= count / n <= high <= 1 and low < high
    for end in (low, high):
        assert (count / n - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / n, abs=1e-14)


def test_an_interval_is_of_95_percent_unless_told() -> None:
    assert intervals.wilson(3, 10) == pytest.approx((0.1078, 0.6032), abs=5e-5)  # as R's prop.test without correction
    values = [0.3, 0.1, 0.7, 0.4]
    assert intervals.bootstrap_t(values) == intervals.bootstrap_t(values, 0.95, 9999, 0)
    for interval in (intervals.t_interval, intervals.prediction_interval):
        assert interval(values) == interval(values, 0.95)


def test_wilson_of_nothing_and_of_nonsense() -> None:
    assert intervals.wilson(0, 0) is None
    with pytest.raises(ValueError, match="greater"):
        intervals.wilson(5, 3)


def test_bootstrap_t_is_the_one_that_scipys_resamples_give() -> None:
    """The same pivot with other random resamples: ends agree to the noise of 9,999 resamples."""
    values = np.random.default_rng(3).lognormal(size=15)

    def pivot(sample: Any, axis: Any) -> Any:
        return (sample.mean(axis) - values.mean()) / stats.sem(sample, axis)

    distribution = stats.bootstrap(
        (values,), pivot, n_resamples=9999, method="percentile", rng=np.random.default_rng(4)
    ).bootstrap_distribution
    low, high = np.quantile(distribution, [0.025, 0.975])
    error = stats.sem(values)
    found = intervals.bootstrap_t(values)
    assert found == pytest.approx((values.mean() - high * error, values.mean() - low * error), rel=0.1)
    assert found[1] - values.mean() > values.mean() - found[0]  # skewed as the values are


def test_bootstrap_t_is_the_same_each_time_and_moves_with_its_values() -> None:
    values = np.random.default_rng(5).normal(size=12)
    low, high = intervals.bootstrap_t(values)
    assert (low, high) == intervals.bootstrap_t(values) != intervals.bootstrap_t(values, seed=1)
    shifted = intervals.bootstrap_t([10 * x + 5 for x in values])
    assert shifted == pytest.approx((10 * low + 5, 10 * high + 5), rel=1e-9)


ALL = [intervals.t_interval, intervals.prediction_interval, intervals.bootstrap_t]


@pytest.mark.parametrize("interval", ALL)
@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0]])
def test_fault_66_up_to_two_values_have_no_interval(interval: Any, values: list[Any]) -> None:
    assert interval(values) is None


@pytest.mark.parametrize("interval", ALL)
def test_fault_67_zero_variance(interval: Any) -> None:
    assert interval([0.5] * 5) == (0.5, 0.5)


def test_fault_67_resamples_without_spread_leave_no_interval() -> None:
    assert intervals.bootstrap_t([0.0, 1.0, 2.0]) is None  # one resample in nine has no spread
    assert intervals.bootstrap_t([0.0, 0.0, 0.0, 0.0, 1.0]) is None  # a third is all 0, which leaves one end


def test_fault_67_resamples_of_the_mean_alone_say_that_it_is_the_mean() -> None:
    """One resample in thirteen is all 0, which is the mean: in the middle of the others, not beyond them."""
    values = [-1.0, 0.0, 0.0, 0.0, 1.0]
    low, high = intervals.bootstrap_t(values)
    assert -high == pytest.approx(low, rel=0.2) and low < 0
    assert intervals.bootstrap_t(values, 0.25) == (0.0, 0.0)  # 28 % of the means are 0, a fourth of them so


@pytest.mark.parametrize("interval", ALL)
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_fault_68_infinity_among_values(interval: Any, bad: Any) -> None:
    assert interval([1.0, 2.0, bad, 4.0]) is None

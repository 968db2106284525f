"""Summaries and curves against numbers worked out by hand; runs as rows for other tools."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from constructed import record, seven_steps

from nadam_ref.experiments.statistics import summary


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0]])
def test_fault_66_one_or_two_seeds_have_no_interval(values: list[Any]) -> None:
    found = summary.summarize(values)
    assert found.interval is None and found.n == len(values)


def test_fault_66_no_seeds() -> None:
    with pytest.raises(ValueError, match="no values"):
        summary.summarize([])


def test_fault_67_zero_variance() -> None:
    assert summary.summarize([0.5, 0.5, 0.5]).interval == (0.5, 0.5)


def test_the_interval_of_a_summary() -> None:
    """Four values with mean .375 and standard deviation .25; t of 95 % and 3 degrees of freedom."""
    half = 3.18244631 * 0.25 / 2
    assert summary.summarize([0.3, 0.1, 0.7, 0.4]).interval == pytest.approx((0.375 - half, 0.375 + half), rel=1e-6)


def test_fault_68_infinity_among_values() -> None:
    found = summary.summarize([1.0, 2.0, math.inf, 4.0])
    assert (found.mean, found.low, found.high, found.n) == (math.inf, 1.0, math.inf, 4)
    assert found.interval is None


def test_a_metric_that_was_not_measured() -> None:
    with pytest.raises(summary.RunsError, match="no test_perplexity; it has: dev_loss"):
        summary.value(seven_steps("Adam", 0.1, 0, 1.0), "test_perplexity")


@pytest.mark.parametrize("last", [math.nan, math.inf, -math.inf])
def test_fault_68_a_run_that_ends_at_no_number_counts_as_diverged(last: float) -> None:
    run = seven_steps("Adam", 0.1, 0, 1.0)
    assert not summary.diverged(run) and summary.value(run, "dev_loss") == 1.0
    bad = dataclasses.replace(run, metrics={**run.metrics, "test_loss": last})
    assert summary.diverged(bad)
    assert [summary.value(bad, name) for name in ("dev_loss", "test_loss")] == [math.inf, math.inf]
    assert summary.value(bad, "test_accuracy") == -math.inf and summary.criterion([run, bad]) == math.inf


@pytest.mark.parametrize("last", [0.0, -0.5])
def test_a_loss_without_a_logarithm_names_its_run(last: float) -> None:
    run = seven_steps("Adam", 0.1, 3, 1.0)
    bad = dataclasses.replace(run, metrics={**run.metrics, "dev_loss": last, "test_accuracy": 0.0})
    named = rf"Adam lr 0\.1 seed 3 \({bad.spec.id[:12]}\) on images has a dev_loss of {last:g}, .* must be positive"
    for ask in (lambda: summary.value(bad, "dev_loss"), lambda: summary.criterion([bad])):
        with pytest.raises(summary.RunsError, match=named):
            ask()
    assert summary.value(bad, "test_accuracy") == 0.0


def test_a_rate_is_chosen_by_the_mean_logarithm_of_the_tasks_metric() -> None:
    runs = [record("language_model", "Adam", 0.1, seed, value) for seed, value in enumerate((80.0, 90.0, 125.0))]
    assert summary.criterion(runs) == pytest.approx(math.log(80 * 90 * 125) / 3)
    assert summary.criterion([*runs, record("language_model", "Adam", 0.1, 3, math.inf)]) == math.inf


@pytest.mark.parametrize(("n", "more"), [(1, ""), (12, ""), (13, "; and 1 more"), (20, "; and 8 more")])
def test_of_many_missing_runs_twelve_are_named(n: int, more: str) -> None:
    specs = [seven_steps("Adam", 0.1, seed, 1.0).spec for seed in range(n)]
    named = "; ".join(f"Adam lr 0.1 seed {spec.seed} ({spec.id[:12]})" for spec in specs[:12])
    wanted = f"{n} runs are missing; make them by `nadam-ref sweep small --task images`: {named}{more}"
    assert str(summary.missing(specs)) == wanted


def test_curve_of_one_run() -> None:
    found = summary.curve([seven_steps("GD", 0.1, 0, 0.2)])
    assert found.mean.tolist() == found.low.tolist() == found.high.tolist() == [2.0, 1.5, 1.0, 0.2]


def test_curve_over_seeds() -> None:
    records = [seven_steps("GD", 0.1, seed, loss) for seed, loss in enumerate((0.2, 0.6))]
    found = summary.curve(records)
    assert found.step.tolist() == [0, 3, 6, 7]
    assert found.mean == pytest.approx([2.0, 1.5, 1.0, 0.4])
    assert (found.low[-1], found.high[-1]) == (0.2, 0.6)
    assert len(summary.curve(records, "train_loss").mean) == 7


def test_curve_of_a_diverged_seed_goes_to_infinity_and_keeps_its_length() -> None:
    records = [seven_steps("GD", 0.1, 0, 0.2), seven_steps("GD", 0.1, 1, math.inf)]
    train = summary.curve(records, "train_loss")
    assert train.mean[:4] == pytest.approx([2.0, 2.45, 2.9, 5.35])
    assert np.isposinf(train.mean[4:]).all() and np.isfinite(train.low).all()
    assert summary.curve(records, "dev_accuracy").mean[-1] == -math.inf


def test_curve_without_records() -> None:
    with pytest.raises(summary.RunsError, match="no test_curve without a run"):
        summary.curve([], "test_curve")

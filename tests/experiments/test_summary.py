"""Summaries and curves against numbers worked out by hand; runs as rows for other tools."""

import csv
import io
import math

import numpy as np
import pytest
from constructed import seven_steps

from nadam_ref.experiments.statistics import summary


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0]])
def test_fault_66_one_or_two_seeds_have_no_interval(values):
    found = summary.summarize(values)
    assert found.interval is None and found.n == len(values)


def test_fault_66_no_seeds():
    with pytest.raises(ValueError, match="no values"):
        summary.summarize([])


def test_fault_67_zero_variance():
    assert summary.summarize([0.5, 0.5, 0.5]).interval == (0.5, 0.5)


def test_the_interval_of_a_summary():
    """Four values with mean .375 and standard deviation .25; t of 95 % and 3 degrees of freedom."""
    half = 3.18244631 * 0.25 / 2
    assert summary.summarize([0.3, 0.1, 0.7, 0.4]).interval == pytest.approx((0.375 - half, 0.375 + half), rel=1e-6)


def test_fault_68_infinity_among_values():
    found = summary.summarize([1.0, 2.0, math.inf, 4.0])
    assert (found.mean, found.low, found.high, found.n) == (math.inf, 1.0, math.inf, 4)
    assert found.interval is None


def test_a_metric_that_was_not_measured():
    with pytest.raises(summary.RunsError, match="no test_perplexity; it has: dev_loss"):
        summary.value(seven_steps("Adam", 0.1, 0, 1.0), "test_perplexity")


def test_curve_over_seeds():
    records = [seven_steps("GD", 0.1, seed, loss) for seed, loss in enumerate((0.2, 0.6))]
    found = summary.curve(records)
    assert found.step.tolist() == [0, 3, 6, 7]
    assert found.mean == pytest.approx([2.0, 1.5, 1.0, 0.4])
    assert (found.low[-1], found.high[-1]) == (0.2, 0.6)
    assert len(summary.curve(records, "train_loss").mean) == 7


def test_curve_of_a_diverged_seed_goes_to_infinity_and_keeps_its_length():
    records = [seven_steps("GD", 0.1, 0, 0.2), seven_steps("GD", 0.1, 1, math.inf)]
    train = summary.curve(records, "train_loss")
    assert train.mean[:4] == pytest.approx([2.0, 2.45, 2.9, 5.35])
    assert np.isposinf(train.mean[4:]).all() and np.isfinite(train.low).all()
    assert summary.curve(records, "dev_accuracy").mean[-1] == -math.inf


def test_curve_without_records():
    with pytest.raises(summary.RunsError, match="no test_curve without a run"):
        summary.curve([], "test_curve")


def test_runs_as_flat_rows_for_other_tools():
    records = [seven_steps("Adam", 0.1, 3, 0.5), seven_steps("GD", 1.0, 4, math.inf)]
    adam, gd = summary.to_rows(records)
    assert adam["id"] == records[0].spec.id
    assert (adam["optimizer"], adam["seed"], adam["hyperparameters.lr"], adam["status"]) == ("Adam", 3, 0.1, "finished")
    assert (adam["dev_loss"], adam["test_loss"]) == (0.5, 3.5)
    assert (gd["status"], gd["step"], "dev_loss" in gd) == ("diverged", 4, False)
    assert not any(isinstance(value, dict) for row in (adam, gd) for value in row.values())
    text = io.StringIO()
    table = csv.DictWriter(text, list(adam | gd))
    table.writeheader()
    table.writerows([adam, gd])
    text.seek(0)
    assert [row["hyperparameters.lr"] for row in csv.DictReader(text)] == ["0.1", "1.0"]

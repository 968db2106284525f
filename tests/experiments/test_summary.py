"""Tables against scipy and against numbers worked out by hand."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from nadam_ref.experiments.runs.record import FAILED, Record
from nadam_ref.experiments.statistics import summary


@pytest.fixture
def make_record(make_spec):
    """A finished record with a given development loss; `math.inf` makes a diverged one (after 4 of 7 steps)."""

    def make(optimizer, lr, seed, dev_loss, **changes):
        spec = make_spec(optimizer, hyper={"lr": lr}, seed=seed, **changes)
        diverged = math.isinf(dev_loss)
        train = [2.0, 3.0, 4.0, 9.0, math.nan] if diverged else [2.0 - 0.1 * t for t in range(7)]
        dev = [2.0, 5.0] if diverged else [2.0, 1.5, 1.0, dev_loss]
        return Record(
            spec=spec,
            status="diverged" if diverged else "finished",
            reason="training loss nan" if diverged else "",
            step=4 if diverged else 7,
            curves={"train_loss": train, "dev_step": [0, 3, 6, 7][: len(dev)], "dev_loss": dev, "dev_accuracy": dev},
            metrics={}
            if diverged
            else {"dev_loss": dev_loss, "dev_accuracy": 0.9, "test_loss": dev_loss + seed, "test_accuracy": 0.8},
            provenance={},
        )

    return make


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0]])
def test_fault_66_one_or_two_seeds_have_no_interval(values):
    found = summary.summary(values)
    assert found.interval is None and found.n == len(values)


def test_fault_66_no_seeds():
    with pytest.raises(ValueError, match="no values"):
        summary.summary([])
    assert summary.rows([]) == []


def test_fault_67_zero_variance():
    assert summary.summary([0.5, 0.5, 0.5]).interval == (0.5, 0.5)


def test_the_interval_of_a_summary_is_scipys():
    values = [0.3, 0.1, 0.7, 0.4]
    expected = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert summary.summary(values).interval == pytest.approx(expected, rel=1e-10)


def test_fault_68_infinity_among_values():
    found = summary.summary([1.0, 2.0, math.inf, 4.0])
    assert (found.mean, found.low, found.high, found.n) == (math.inf, 1.0, math.inf, 4)
    assert found.interval is None


def test_best_rate_is_by_mean_development_loss(make_record):
    losses = {0.1: (0.5, 0.6), 0.2: (0.1, 0.8), 0.4: (0.7, 0.7)}
    records = [make_record("Nadam", lr, seed, loss) for lr, pair in losses.items() for seed, loss in enumerate(pair)]
    records += [make_record("GD", lr, seed, 1.0 / lr) for lr in (1.0, 2.0) for seed in (0, 1)]
    table = summary.rows(records)
    assert [(row.optimizer, row.lr) for row in table] == [
        ("Nadam", 0.1), ("Nadam", 0.2), ("Nadam", 0.4), ("GD", 1.0), ("GD", 2.0)
    ]  # fmt: skip
    nadam, gd = summary.best(table)
    assert (nadam.lr, nadam.edge, nadam.n, nadam.diverged) == (0.2, False, 2, 0)
    assert nadam.dev_loss.mean == pytest.approx(0.45)
    assert (nadam.dev_loss.low, nadam.dev_loss.high) == (0.1, 0.8)
    assert (nadam.test_loss.low, nadam.test_loss.high) == (0.1, 1.8)
    assert (gd.lr, gd.edge) == (2.0, True)


def test_fault_69_ties_take_the_smaller_rate(make_record):
    records = [make_record("Adam", lr, 0, 0.5) for lr in (0.4, 0.1, 0.2)]
    assert [row.lr for row in summary.best(summary.rows(records))] == [0.1]


def test_one_diverged_seed_loses_to_any_finite_mean(make_record):
    records = [make_record("Adam", 0.1, 0, 0.01), make_record("Adam", 0.1, 1, math.inf)]
    records += [make_record("Adam", 0.2, seed, 5.0) for seed in (0, 1)]
    table = summary.rows(records)
    assert [row.diverged for row in table] == [1, 0]
    assert (table[0].dev_loss.mean, table[0].dev_loss.low) == (math.inf, 0.01)
    assert table[0].test_accuracy.mean == -math.inf
    assert [row.lr for row in summary.best(table)] == [0.2]


def test_fault_71_all_rates_diverge(make_record):
    records = [make_record("Adam", lr, seed, math.inf) for lr in (0.2, 0.1) for seed in (0, 1)]
    (row,) = summary.best(summary.rows(records))
    assert (row.lr, row.diverged, row.n, row.edge) == (0.1, 2, 2, True)
    assert row.dev_loss.mean == row.test_loss.mean == math.inf


def test_fault_70_a_missing_cell_is_named_with_its_id_and_the_command(make_record):
    records = [make_record("Adam", lr, seed, 1.0) for lr in (0.1, 0.2) for seed in (0, 1)]
    with pytest.raises(summary.MissingRunsError, match=r"Adam lr 0.1 seed 1") as caught:
        summary.rows([records[0], *records[2:]])
    assert records[1].spec.id[:12] in str(caught.value)
    assert "`nadam-ref sweep smoke --task images`" in str(caught.value)


@pytest.mark.parametrize("status", sorted(FAILED))
def test_fault_70_a_failed_run_is_named(make_record, status):
    record = make_record("Adam", 0.1, 0, 1.0)
    with pytest.raises(summary.MissingRunsError, match="1 runs failed.*Adam lr 0.1 seed 0.*" + record.spec.id[:12]):
        summary.rows([dataclasses.replace(record, status=status)])


def test_fault_72_runs_of_two_protocols_are_not_mixed(make_record):
    records = [
        dataclasses.replace(make_record("Adam", 0.1, seed, 1.0), provenance={"protocol_sha256": sha256})
        for seed, sha256 in enumerate(("a" * 64, "b" * 64))
    ]
    with pytest.raises(summary.MixedRunsError, match=r"different protocols \(aaaaaaaaaaaa, bbbbbbbbbbbb\)"):
        summary.rows(records)


def test_a_metric_that_was_not_measured(make_record):
    with pytest.raises(summary.RunsError, match="no test_perplexity; it has: dev_loss"):
        summary.value(make_record("Adam", 0.1, 0, 1.0), "test_perplexity")


def test_metrics_are_those_of_the_task_even_where_every_run_diverged(make_record):
    (row,) = summary.rows([make_record("Adam", 0.1, 0, math.inf)])
    assert list(row.metrics) == ["dev_loss", "dev_accuracy", "test_loss", "test_accuracy"]


@pytest.mark.parametrize("change", [{"profile": "live"}, {"data_sha256": "x"}, {"steps": 8}, {"dtype": "float64"}])
def test_what_is_not_comparable_is_never_in_one_table(make_record, change):
    with pytest.raises(summary.MixedRunsError, match="never put into one table"):
        summary.rows([make_record("GD", 0.1, 0, 1.0), make_record("Adam", 0.1, 0, 1.0, **change)])


def test_dialects_are_methods_of_their_own(make_record, make_spec):
    other = make_record("Nadam", 0.1, 0, 2.0)
    hyper = {**other.spec.hyperparameters, "dialect": "iclr"}
    other = dataclasses.replace(other, spec=dataclasses.replace(other.spec, hyperparameters=hyper))
    found = summary.best(summary.rows([make_record("Nadam", 0.1, 0, 1.0), other]))
    assert [row.spec.hyperparameters["dialect"] for row in found] == ["cs229", "iclr"]


def test_the_same_record_twice_counts_once(make_record):
    record = make_record("GD", 0.1, 0, 1.0)
    assert summary.rows([record, record])[0].n == 1


def test_curve_over_seeds(make_record):
    records = [make_record("GD", 0.1, seed, loss) for seed, loss in enumerate((0.2, 0.6))]
    (row,) = summary.rows(records)
    found = summary.curve(records, row)
    assert found.step.tolist() == [0, 3, 6, 7]
    assert found.mean == pytest.approx([2.0, 1.5, 1.0, 0.4])
    assert (found.low[-1], found.high[-1]) == (0.2, 0.6)
    assert len(summary.curve(records, row, "train_loss").mean) == 7


def test_curve_of_a_diverged_seed_goes_to_infinity_and_keeps_its_length(make_record):
    records = [make_record("GD", 0.1, 0, 0.2), make_record("GD", 0.1, 1, math.inf)]
    (row,) = summary.rows(records)
    train = summary.curve(records, row, "train_loss")
    assert train.mean[:4] == pytest.approx([2.0, 2.45, 2.9, 5.35])
    assert np.isposinf(train.mean[4:]).all() and np.isfinite(train.low).all()
    assert summary.curve(records, row, "dev_accuracy").mean[-1] == -math.inf


def test_curve_without_records(make_record):
    (row,) = summary.rows([make_record("GD", 0.1, 0, 0.2)])
    with pytest.raises(summary.MissingRunsError, match=r"GD with lr 0\.1"):
        summary.curve([], row)

"""From a heap of records to arms: nothing missing, nothing mixed, tuning and reporting apart."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import constructed
import pytest
from constructed import seven_steps

from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.protocol.definition import profile_of
from nadam_ref.experiments.runs.record import FAILED
from nadam_ref.experiments.statistics.summary import MissingRunsError, MixedRunsError, RunsError
from nadam_ref.experiments.verdicts.arms import best, gather, rows

VALUES = [0.5, 0.4, 0.6]


def test_rates_come_from_tuning_runs_and_values_from_reported_ones() -> None:
    records = constructed.arm("images", "Adam", VALUES) + constructed.arm("images", "Nadam-iclr", VALUES[::-1], best=2)
    arms = gather(reversed(records), "small")["images"]
    adam, nadam = arms["Adam"], arms["Nadam-iclr"]
    assert (adam.chosen.lr, adam.chosen.edge, adam.values("test_loss")) == (0.1, False, VALUES)
    assert (nadam.chosen.lr, nadam.chosen.edge, nadam.values("test_loss")) == (1.0, True, VALUES[::-1])
    assert sorted(adam.runs) == [0, 1, 2] and len(adam.tuning) == 3
    assert adam.mean("test_loss") == pytest.approx(0.5)


def test_arms_are_in_the_protocols_order() -> None:
    names = ["NadaMax-iclr", "NadaMax", "Nadam-constant", "Adam", "Nadam", "GD", "Nadam-iclr"]
    records = [record for name in names for record in constructed.arm("images", name, VALUES)]
    expected = ["GD", "Adam", "Nadam", "NadaMax", "Nadam-iclr", "Nadam-constant", "NadaMax-iclr"]
    assert list(gather(records, "small")["images"]) == expected


def test_reported_runs_at_a_rate_that_was_not_chosen_are_left_aside() -> None:
    stray = constructed.record("images", "Adam", 1.0, 0, 0.001)
    arms = gather([*constructed.arm("images", "Adam", VALUES), stray], "small")["images"]
    assert arms["Adam"].values("test_loss") == VALUES


def test_other_profiles_are_left_aside() -> None:
    other = constructed.arm("images", "Adam", [9.0], profile="paper")
    found = gather(constructed.arm("images", "Adam", VALUES) + other, "small")
    assert found["images"]["Adam"].values("test_loss") == VALUES


def test_no_runs_of_the_profile() -> None:
    with pytest.raises(
        RunsError, match=r"no runs of profile 'paper' \(profiles with runs: small\): nadam-ref sweep paper"
    ):
        gather(constructed.arm("images", "Adam", VALUES), "paper")


def test_fault_70_missing_reported_runs_are_listed_with_their_command() -> None:
    records = constructed.arm("images", "Adam", VALUES) + constructed.arm("images", "Nadam", VALUES[:2])
    with pytest.raises(
        MissingRunsError, match="1 runs are missing; make them by `nadam-ref sweep small --task images`"
    ) as e:
        gather(records, "small")
    absent = constructed.spec("images", "Nadam", 0.1, 2)
    assert f"Nadam lr 0.1 seed 2 ({absent.id[:12]})" in str(e.value)


def test_fault_70_nobody_stops_early() -> None:
    """All arms agree on three seeds, the protocol on four: three are not enough, however they look."""
    records = constructed.arm("images", "Adam", VALUES)
    with pytest.raises(MissingRunsError, match=r"Adam lr 0\.1 seed 3"):
        gather(records, "small", {"images": [0, 1, 2, 3]})
    assert gather(records, "small", {"images": [0, 1]})["images"]["Adam"].values("test_loss") == VALUES[:2]


@pytest.mark.parametrize("status", sorted(FAILED))
def test_fault_70_a_failed_run_is_missing(status: Any) -> None:
    records = constructed.arm("images", "Adam", VALUES)
    records[-1] = dataclasses.replace(records[-1], status=status, metrics={})
    with pytest.raises(MissingRunsError, match="1 runs failed"):
        gather(records, "small")


def test_fault_66_no_reported_runs() -> None:
    with pytest.raises(RunsError, match="profile 'small' reports no runs on images"):
        gather(constructed.arm("images", "Adam", []), "small")


def test_no_tuning_runs() -> None:
    records = [r for r in constructed.arm("images", "Adam", VALUES) if not planning.tunes(r)]
    with pytest.raises(RunsError, match="no rate was tuned on images"):
        gather(records, "small")


def test_fault_71_all_rates_diverge() -> None:
    records = constructed.arm("images", "Adam", [math.inf] * 3, diverges=True)
    adam = gather(records, "small")["images"]["Adam"]
    assert (adam.chosen.edge, adam.diverged, adam.values("test_loss")) == (True, 3, [math.inf] * 3)
    assert adam.mean("dev_loss") == math.inf


def test_fault_72_a_protocol_changed_after_runs() -> None:
    records = constructed.arm("images", "Adam", VALUES)
    records += constructed.arm("images", "Nadam", VALUES, provenance={"protocol_sha256": "e" * 64})
    with pytest.raises(
        MixedRunsError, match=r"images were made under different protocols \(eeeeeeeeeeee, ffffffffffff\)"
    ):
        gather(records, "small")


@pytest.mark.parametrize("change", [{"data": "digits"}, {"steps": 5}, {"subset": (1, 1, 1)}, {"device": "cuda"}])
def test_what_is_not_comparable_is_never_mixed(change: dict[str, Any]) -> None:
    records = constructed.arm("images", "Adam", VALUES) + constructed.arm("images", "Nadam", VALUES, **change)
    with pytest.raises(MixedRunsError, match="keep each kind in a store of its own"):
        gather(records, "small")


def test_two_settings_of_one_arm_are_not_mixed() -> None:
    records = constructed.arm("images", "Adam", VALUES)
    others = []
    for record in constructed.arm("images", "Adam", VALUES):
        hyper = {**record.spec.hyperparameters, "eps": 1e-3}
        others.append(dataclasses.replace(record, spec=dataclasses.replace(record.spec, hyperparameters=hyper)))
    with pytest.raises(planning.ProtocolError, match=r"the protocol has no arm Adam with .*0\.001"):
        gather(records + others, "small")


@pytest.mark.parametrize("version", [None, 2])
def test_which_runs_tune_is_what_the_protocol_says_that_they_were_made_under(version: Any) -> None:
    for profile in ("small", "paper"):
        tuning, reporting = planning.seeds(profile, "images", version)
        made = {"protocol_sha256": profile_of("images", profile, version).sha256}
        for seed in (*tuning, *reporting):
            run = constructed.record("images", "Adam", 0.1, seed, 1.0, profile=profile, provenance=made)
            assert planning.tunes(run) == (seed in tuning)


# ---------------------------------------------------------------- rows


def test_best_rate_is_by_mean_development_loss() -> None:
    losses = {0.1: (0.5, 0.6), 0.2: (0.1, 0.8), 0.4: (0.7, 0.7)}
    records = [seven_steps("Nadam", lr, seed, loss) for lr, pair in losses.items() for seed, loss in enumerate(pair)]
    records += [seven_steps("GD", lr, seed, 1.0 / lr) for lr in (1.0, 2.0) for seed in (0, 1)]
    table = rows(records)
    assert [(row.arm, row.lr) for row in table] == [
        ("Nadam", 0.1), ("Nadam", 0.2), ("Nadam", 0.4), ("GD", 1.0), ("GD", 2.0)
    ]  # fmt: skip
    nadam, gd = best(records)
    assert (nadam.lr, nadam.edge, nadam.n, nadam.diverged) == (0.2, False, 2, 0)
    assert nadam.dev_loss.mean == pytest.approx(0.45)
    assert (nadam.dev_loss.low, nadam.dev_loss.high) == (0.1, 0.8)
    assert (nadam.test_loss.low, nadam.test_loss.high) == (0.1, 1.8)
    assert (gd.lr, gd.edge) == (2.0, True)


def test_fault_69_ties_take_the_smaller_rate() -> None:
    records = [seven_steps("Adam", lr, 0, 0.5) for lr in (0.4, 0.1, 0.2)]
    assert [row.lr for row in best(records)] == [0.1]


def test_one_diverged_seed_loses_to_any_finite_mean() -> None:
    records = [seven_steps("Adam", 0.1, 0, 0.01), seven_steps("Adam", 0.1, 1, math.inf)]
    records += [seven_steps("Adam", 0.2, seed, 5.0) for seed in (0, 1)]
    table = rows(records)
    assert [row.diverged for row in table] == [1, 0]
    assert (table[0].dev_loss.mean, table[0].dev_loss.low) == (math.inf, 0.01)
    assert table[0].metrics["test_accuracy"].mean == -math.inf
    assert [row.lr for row in best(records)] == [0.2]


def test_fault_71_the_row_of_an_arm_whose_rates_all_diverge() -> None:
    records = [seven_steps("Adam", lr, seed, math.inf) for lr in (0.2, 0.1) for seed in (0, 1)]
    (row,) = best(records)
    assert (row.lr, row.diverged, row.n, row.edge) == (0.1, 2, 2, True)
    assert row.dev_loss.mean == row.test_loss.mean == math.inf


def test_fault_70_a_missing_cell_is_named_with_its_id_and_the_command() -> None:
    records = [seven_steps("Adam", lr, seed, 1.0) for lr in (0.1, 0.2) for seed in (0, 1)]
    with pytest.raises(MissingRunsError, match=r"Adam lr 0.1 seed 1") as caught:
        rows([records[0], *records[2:]])
    assert records[1].spec.id[:12] in str(caught.value)
    assert "`nadam-ref sweep small --task images`" in str(caught.value)


@pytest.mark.parametrize("status", sorted(FAILED))
def test_fault_70_a_failed_run_is_named(status: Any) -> None:
    record = seven_steps("Adam", 0.1, 0, 1.0)
    with pytest.raises(MissingRunsError, match="1 runs failed.*Adam lr 0.1 seed 0.*" + record.spec.id[:12]):
        rows([dataclasses.replace(record, status=status)])


def test_fault_72_runs_of_two_protocols_are_not_mixed() -> None:
    records = [
        dataclasses.replace(seven_steps("Adam", 0.1, seed, 1.0), provenance={"protocol_sha256": sha256})
        for seed, sha256 in enumerate(("a" * 64, "b" * 64))
    ]
    with pytest.raises(MixedRunsError, match=r"different protocols \(aaaaaaaaaaaa, bbbbbbbbbbbb\)"):
        rows(records)


def test_metrics_are_those_of_the_task_even_where_every_run_diverged() -> None:
    (row,) = rows([seven_steps("Adam", 0.1, 0, math.inf)])
    assert list(row.metrics) == ["dev_loss", "dev_accuracy", "test_loss", "test_accuracy"]


@pytest.mark.parametrize("change", [{"profile": "live"}, {"data_sha256": "x"}, {"steps": 8}, {"dtype": "float64"}])
def test_what_is_not_comparable_is_never_in_one_table(change: dict[str, Any]) -> None:
    with pytest.raises(MixedRunsError, match="never put into one table"):
        rows([seven_steps("GD", 0.1, 0, 1.0), seven_steps("Adam", 0.1, 0, 1.0, **change)])


def test_dialects_are_arms_of_their_own() -> None:
    found = best([seven_steps("Nadam", 0.1, 0, 1.0), seven_steps("Nadam-iclr", 0.1, 0, 2.0)])
    assert [(row.arm, row.spec.hyperparameters["dialect"]) for row in found] == [
        ("Nadam", "cs229"),
        ("Nadam-iclr", "iclr"),
    ]


def test_the_same_record_twice_counts_once() -> None:
    record = seven_steps("GD", 0.1, 0, 1.0)
    assert rows([record, record])[0].n == 1


# ---------------------------------------------------------------- other rates, and runs that are still to come


def at(name: Any, lr: Any, values: Any) -> Any:
    return [constructed.record("images", name, lr, seed, value) for seed, value in enumerate(values)]


def test_an_arm_at_its_runner_up_and_at_the_rate_of_its_family() -> None:
    """Adam chooses .1 and Nadam 1; both tried all three, and on average .1 and 1 are equally good: the smaller."""
    records = constructed.arm("images", "Adam", VALUES) + constructed.arm("images", "Nadam", VALUES, best=2)
    arms = gather(records + at("Nadam", 0.1, [0.7, 0.8, 0.9]), "small")["images"]
    nadam = arms["Nadam"]
    assert (nadam.lr, nadam.runner_up.lr, nadam.common.lr) == (1.0, 0.1, 0.1)
    assert nadam.runner_up.values("test_loss") == nadam.common.values("test_loss") == [0.7, 0.8, 0.9]
    assert arms["Adam"].common.values("test_loss") == VALUES  # its own rate
    assert arms["Adam"].runner_up is None  # no runs there


def test_runs_at_another_rate_count_only_if_all_of_them_are_there() -> None:
    records = constructed.arm("images", "Adam", VALUES) + at("Adam", 0.01, [0.7, 0.8])
    assert gather(records, "small")["images"]["Adam"].runner_up is None


def test_an_arm_that_is_not_compared_has_no_common_rate() -> None:
    assert gather(constructed.arm("images", "GD", VALUES), "small")["images"]["GD"].common is None


def test_of_a_sweep_under_way_the_seeds_that_every_arm_has() -> None:
    records = constructed.arm("images", "Adam", VALUES) + constructed.arm("images", "Nadam", VALUES[:2])
    arms = gather(records, "small", {"images": [0, 1, 2, 3]}, partial=True)["images"]
    assert [sorted(arm.runs) for arm in arms.values()] == [[0, 1], [0, 1]]
    with pytest.raises(MissingRunsError, match="seed 2"):
        gather(records, "small", {"images": [0, 1, 2, 3]})


def test_of_a_sweep_that_has_not_reported_yet_the_missing_runs() -> None:
    records = constructed.arm("images", "Adam", VALUES) + constructed.arm("images", "Nadam", [])
    with pytest.raises(MissingRunsError, match=r"1 runs are missing.*Nadam lr 0\.1 seed 0"):
        gather(records, "small", {"images": [0, 1]}, partial=True)


def test_dense_arms_are_compared_with_row_lazy_ones() -> None:
    records = constructed.arm("word2vec", "Adam", VALUES) + constructed.arm("word2vec", "Adam-dense", VALUES[::-1])
    arms = gather(records, "small")["word2vec"]
    assert arms["Adam"].values("test_loss") == VALUES and arms["Adam-dense"].values("test_loss") == VALUES[::-1]


def test_a_single_run_is_no_evidence() -> None:
    with pytest.raises(RunsError, match="reports no runs on images"):
        gather([constructed.record("images", "Adam", 0.1, constructed.TUNING[0], 1.0)], "small")
    with pytest.raises(RunsError, match="no rate was tuned on images"):
        gather([constructed.record("images", "Adam", 0.1, 0, 1.0)], "small")

"""The chapter on second-order methods: its ravine, its clocks, its counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nadam_ref import RULES
from nadam_ref.book.cells import second_order
from nadam_ref.book.widgets import surfaces
from nadam_ref.experiments import second_order_study as study
from nadam_ref.experiments.runs.log import unfinished
from nadam_ref.experiments.runs.record import Record
from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.statistics.summary import RunsError


def test_the_ravine_is_the_widgets() -> None:
    θ = np.array([0.3, -1.1])
    for angle in (0, 30, 77):
        turned = surfaces.SURFACES["ravine"].turned(angle)
        assert float(second_order.ravine(angle)(torch.tensor(θ))) == pytest.approx(float(turned.f(θ)), rel=1e-12)
        start = second_order._start(angle)
        assert float(turned.f(start)) == pytest.approx(float(surfaces.SURFACES["ravine"].f(second_order._start(0))))


def test_a_loss_has_arrived_where_it_stays_low() -> None:
    losses = np.array([[1.0, 1, 1], [1e-4, 1, np.nan], [1, 1e-4, 1e-9], [1e-4, 1e-5, np.nan]])
    found = second_order.steps_to(losses)
    assert found[:2].tolist() == [3, 2] and np.isnan(found[2])


def test_newton_needs_one_step_and_a_turn_changes_nothing_for_methods_without_coordinates() -> None:
    assert [second_order.arrival("Newton", angle, 1.0) for angle in (0, 30, 60)] == [1, 1, 1]
    lr = second_order._rate()
    assert len({second_order.arrival("full-matrix AdaGrad", angle, lr) for angle in (0, 30, 60)}) == 1


@pytest.mark.parametrize("name", RULES)
def test_a_turn_changes_what_a_method_needs_if_it_has_a_norm(name: str) -> None:
    steps = {second_order.first_order(name, angle) for angle in (0, 30, 60)}
    assert all(map(np.isfinite, steps))
    assert (len(steps) == 1) == (RULES[name].norm == "none")


# ---------------------------------------------------------------- recorded runs


def made(name: str, seed: int, losses: list[float], passes: list[float] | None = None) -> Record:
    arm = study.ARMS[name]
    spec = RunSpec(
        task="autoencoder",
        task_version=1,
        profile="small",
        model={},
        data="mnist",
        data_sha256="0",
        optimizer=arm.optimizer,
        optimizer_version=1,
        hyperparameters={"lr": 0.1},
        seed=seed,
        steps=len(losses),
        batch=arm.batch,
        evaluate_every=1,
    )
    curves = {"train_loss": losses} | ({"passes": passes} if passes else {})
    by = {"cpu_seconds": 2.0, "nadam_ref": "0", "commit": "c" * 40, "dirty": False, "cpu": "a CPU"}
    return Record(spec, "finished", "", len(losses), curves, {}, by)


def test_a_loss_is_placed_at_the_passes_made_before_it() -> None:
    assert study.by_passes(made("GD", 0, [3.0, 2.0])) == ([0.0, 1.0], [3.0, 2.0])
    assert study.by_passes(made("Hessian-free", 0, [3.0, 2.0, 1.0], [7.0, 20.0, 40.0]))[0] == [0.0, 7.0, 20.0]
    n = study.IMAGES // study.BATCH
    small = study.by_passes(made("Nadam", 0, [4.0] * (n // 2) + [2.0] * (n // 2) + [1.0] * n))
    assert small == ([0.5, 1.5], [3.0, 1.0])


def test_a_rate_is_chosen_by_the_training_loss_at_the_end() -> None:
    assert study.criterion([made("GD", 0, [9.0, 2.0]), made("GD", 1, [9.0, 8.0])]) == pytest.approx(np.log(4.0))


def test_a_run_that_failed_is_made_again_and_named_where_it_fails_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    again: list[Record] = []
    monkeypatch.setattr(study, "ARMS", {"GD": study.Arm("GD", study.IMAGES, 2)})
    monkeypatch.setattr(study, "spec", lambda name, lr, seed: made(name, seed, [2.0, 1.0]).spec)
    monkeypatch.setattr(study, "timed", lambda spec: again.pop())
    runs = [made("GD", seed, [2.0, 1.0]) for seed in study.REPORTED]
    failed = unfinished(runs[0].spec, "out_of_memory", "there is no memory")
    store = Store(tmp_path)
    for record in (failed, *runs[1:]):
        store.put(record)
    again += [failed]
    with pytest.raises(RunsError, match=r"of GD lr 0\.1 seed 0 failed: out_of_memory, there is no memory; .* again"):
        study.study(store)
    again += [runs[0]]
    assert study.study(store) == runs == study.study(store) and not again


def test_the_sentence_and_the_table_compare_at_equal_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    n = study.IMAGES // study.BATCH
    runs = [
        *(made("GD", seed, [8.0, 6.0, 4.0, 4.0]) for seed in study.REPORTED),
        *(made("Hessian-free", seed, [8.0, 2.0, 0.1], [2.0, 3.5, 9.0]) for seed in study.REPORTED),
        *(made("Nadam", seed, [5.0] * n + [1.0] * 3 * n) for seed in study.REPORTED),
        *(made("GD, mini-batches", seed, [5.0] * 2 * n + [1.5] * 2 * n) for seed in study.REPORTED),
        made("Nadam", study.TUNING[0], [1e-9] * 4 * n),  # a tuning run is not shown
    ]
    monkeypatch.setattr(second_order, "records", lambda: runs)
    second_order._reported.cache_clear()
    try:
        assert second_order.notice() is None
        said = second_order.judged().data
        # three passes: Hessian-free is at 2, its last loss comes later; GD at 4
        assert "At 3 passes" in said and "lower than gradient descent on all images by a factor of 2.0" in said
        assert "higher than gradient descent on mini-batches by a factor of 1.3" in said
        assert "that of Nadam, 2.0 times lower" in said
        lines = [line for line in second_order.ended().data.splitlines() if line.startswith("| ")][2:]
        assert [line.split(" | ")[0].strip("| ") for line in lines] == [
            "Nadam",
            "GD, mini-batches",
            "Hessian-free",
            "GD",
        ]
        picture = second_order.clocks()
        assert picture.data["Nadam, seed 0: step"].tolist() == [n / 2, 3 * n / 2, 5 * n / 2]
        assert picture.data["GD, seed 0: seconds"].tolist() == [0.0, 0.5, 1.0, 1.5]
    finally:
        second_order._reported.cache_clear()


def test_where_nothing_is_recorded_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_order, "records", list)
    second_order._reported.cache_clear()
    try:
        assert "`nadam-ref curvature`" in second_order.notice().data
        assert second_order.clocks() is second_order.judged() is second_order.ended() is second_order.setting() is None
    finally:
        second_order._reported.cache_clear()


# ---------------------------------------------------------------- counts


def test_costs_are_counted_by_hand() -> None:
    found = second_order.held_and_moved(1000, history=10, k=2)
    assert found["Nadam"] == (2000, 7000) and found["gradient descent"] == (0, 3000)
    assert found["L-BFGS, history 10"] == (21_000, 40_000)
    assert found["Hessian-free, 2 products"] == (5000, 24_000)
    assert found["Newton"][0] == 10**6
    assert second_order._amount(10**12) == "4 TB" and second_order._amount(0) == "nothing"


def test_growth_is_the_power() -> None:
    H = np.array([1e-6, 1e-4, 1e-2, 1.0, 0.0])
    assert second_order.growth(3 * H**0.5, H) == pytest.approx(0.5)

"""Runs that are trained together are the runs that are trained one by one, to rounding."""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import nadam_ref
from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.protocol.definition import profile_of
from nadam_ref.experiments.runs import batched, checkpoints, worker
from nadam_ref.experiments.runs.batched import group, identity, run_together
from nadam_ref.experiments.runs.log import unfinished
from nadam_ref.experiments.runs.train import run
from nadam_ref.replicas import Replicas


def of(task: Any, arm: Any, **changes: Any) -> Any:
    """Three runs of an arm in double precision: two rates, two seeds."""
    name = next(iter(profile_of(task, "smoke").data))
    specs = [spec for spec in planning.specs("smoke", name, task) if planning.arm(spec) == arm]
    found = sorted(specs, key=lambda spec: (spec.lr, spec.seed))[1:4]
    assert len({spec.lr for spec in found}) == len({spec.seed for spec in found}) == 2
    return [dataclasses.replace(spec, dtype="float64", steps=7, evaluate_every=3, **changes) for spec in found]


def assert_equal_to_rounding(together: Any, alone: Any) -> None:
    assert (together.spec, together.status, together.step) == (alone.spec, alone.status, alone.step)
    assert together.curves.keys() == alone.curves.keys() and together.metrics.keys() == alone.metrics.keys()
    for name, values in alone.curves.items():
        assert together.curves[name] == pytest.approx(values, rel=1e-9, nan_ok=True), name
    assert together.metrics == pytest.approx(alone.metrics, rel=1e-9)


@pytest.mark.parametrize("arm", ["GD", "NAG", "Nadam", "NadaMax-iclr"])
@pytest.mark.parametrize("task", ["images", "word2vec", "language_model"])
def test_runs_together_equal_runs_alone(task: str, arm: str) -> None:
    specs = of(task, arm)
    for record in run_together(specs):
        assert_equal_to_rounding(record, run(record.spec))
        assert record.provenance["replicas"] == 3


def test_the_autoencoder_and_dense_tables_and_hyperparameters_that_are_pairs() -> None:
    for record in run_together(of("autoencoder", "Nadam-interpolated")):
        assert_equal_to_rounding(record, run(record.spec))
    for record in run_together(of("word2vec", "Adam", row_lazy=False)):
        assert_equal_to_rounding(record, run(record.spec))
    specs = [
        dataclasses.replace(spec, hyperparameters={**spec.hyperparameters, "betas": (mu, 0.999)})
        for spec, mu in zip(of("images", "Nadam"), (0.9, 0.99, 0.95), strict=True)
    ]
    for record in run_together(specs):
        assert_equal_to_rounding(record, run(record.spec))


def test_the_rate_is_annealed_and_the_gradient_clipped_for_each_replica_by_itself() -> None:
    specs = of("images", "Momentum", clip_norm=0.1, anneal=(0.5, 0))
    for record in run_together(specs):
        assert_equal_to_rounding(record, run(record.spec))


def test_fault_30_a_run_that_diverges_leaves_the_others_alone() -> None:
    first, *rest = of("images", "GD")
    wild = dataclasses.replace(first, hyperparameters={**first.hyperparameters, "lr": 1e30})
    records = run_together([wild, *rest])
    assert [record.status for record in records] == ["diverged", "finished", "finished"]
    for record in records:
        alone = run(record.spec)
        assert (record.status, record.step, record.reason) == (alone.status, alone.step, alone.reason)
        assert_equal_to_rounding(record, alone)
    assert [r.status for r in run_together([wild, dataclasses.replace(wild, seed=5)])] == ["diverged"] * 2


def test_no_steps_and_losses_read_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [record.step for record in run_together(of("images", "GD", seed=0)[:1])] == [7]
    zero = [dataclasses.replace(spec, steps=0) for spec in of("images", "GD")]
    assert_equal_to_rounding(run_together(zero)[0], run(zero[0]))
    monkeypatch.setattr(batched, "MOST_UNREAD", 2)
    seen = []
    for record in run_together(of("images", "GD"), progress=lambda batch: seen.append(batch.done)):
        assert_equal_to_rounding(record, run(record.spec))
    assert seen == [2, 3, 5, 6, 7]


def test_fault_36_a_limit_for_all_of_them() -> None:
    records = run_together([dataclasses.replace(spec, steps=10**6) for spec in of("images", "GD")], limit_seconds=0.01)
    assert {record.status for record in records} == {"timeout"} and all(record.metrics == {} for record in records)


class Stop(Exception):
    pass


def stopped_at(step: Any, specs: Any, path: Any) -> Any:
    """The checkpoint of a batch that was stopped after so many updates."""

    def stop(batch: Any) -> None:
        if batch.done == step:
            checkpoints.save(batch, path)
            raise Stop

    with pytest.raises(Stop):
        run_together(specs, progress=stop)
    return checkpoints.load(path, identity(specs))


@pytest.mark.parametrize("step", [2, 5, 7])
@pytest.mark.parametrize("task", ["images", "word2vec", "language_model"])
def test_a_batch_goes_on_from_a_checkpoint_bit_for_bit(
    task: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between two evaluations, in the last interval, and at the end; one of the runs diverges before that."""
    monkeypatch.setattr(batched, "MOST_UNREAD", 2)
    first, *rest = of(task, "Nadam", anneal=(0.5, 0))
    wild = dataclasses.replace(first, hyperparameters={**first.hyperparameters, "lr": 1e308})
    specs = [wild, *rest]
    whole = run_together(specs)
    assert [record.status for record in whole] == ["diverged", "finished", "finished"]
    saved = stopped_at(step, specs, tmp_path / "saved.pt")
    again = run_together(specs, resume=saved)
    assert [(x.outcome_sha256, x.reason) for x in again] == [(x.outcome_sha256, x.reason) for x in whole]
    assert all(x.provenance["wall_seconds"] >= saved["seconds"] / 3 > 0 for x in again)
    with pytest.raises(ValueError, match="the checkpoint is of"):
        run_together(rest, resume=saved)


def test_a_batch_that_is_asked_to_stop_leaves_a_checkpoint_and_its_worker_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = tuple(of("word2vec", "Nadam"))
    whole = run_together(specs)
    monkeypatch.setattr(batched, "MOST_UNREAD", 2)
    monkeypatch.setattr(worker, "_stopped", {"first"})
    path = tmp_path / f"{specs[0].id}.pt"
    assert worker.work(specs, "first", path, None) == []
    (left,) = tmp_path.iterdir()
    assert checkpoints.load(left, identity(specs))["done"] == 2
    again = worker.work(specs, "second", path, None)
    assert [x.outcome_sha256 for x in again] == [x.outcome_sha256 for x in whole]
    assert list(tmp_path.iterdir()) == [left]  # until the records are stored
    worker.forget(specs, path, again)
    assert list(tmp_path.iterdir()) == []


def test_fault_49_a_batch_whose_end_was_saved_comes_to_the_same_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "APART", 0)
    specs = tuple(of("images", "Nadam"))
    first, second = (worker.work(specs, "sweep", tmp_path / "saved.pt", None) for _ in range(2))
    assert checkpoints.load(tmp_path / f"{identity(specs)}.pt", identity(specs))["done"] == specs[0].steps
    assert [x.outcome_sha256 for x in second] == [x.outcome_sha256 for x in first]


def test_the_checkpoints_that_a_batch_and_its_halves_have_left_go_with_their_results(tmp_path: Path) -> None:
    specs = tuple(of("images", "GD"))
    first, *rest = specs
    parts = {part: tmp_path / f"{identity(part)}.pt" for part in (specs, (first,), tuple(rest), *((x,) for x in rest))}

    def left(*records: Any) -> set[Any]:
        for path in parts.values():
            path.touch()
        worker.forget(specs, tmp_path / f"{first.id}.pt", records)
        return {part for part, path in parts.items() if path.exists()}

    failed = [unfinished(spec, "timeout", "longer than 1 s") for spec in specs]
    assert left(*failed) == set(parts) and left(*run_together(specs)) == set()
    assert left(unfinished(first, "diverged", "nan"), *failed[1:]) == {tuple(rest), *((x,) for x in rest)}


def test_fault_102_a_damaged_checkpoint_of_a_batch_is_set_aside(tmp_path: Path) -> None:
    specs = tuple(of("images", "GD"))
    (tmp_path / f"{identity(specs)}.pt").write_bytes(b"hello world\n" * 50)
    with pytest.warns(UserWarning, match="is damaged; moved to"):
        records = worker.work(specs, "sweep", tmp_path / f"{specs[0].id}.pt", None)
    assert [x.outcome_sha256 for x in records] == [x.outcome_sha256 for x in run_together(specs)]


def test_fault_102_a_whole_checkpoint_of_a_batch_that_cannot_be_loaded_is_set_aside(tmp_path: Path) -> None:
    specs = tuple(of("images", "GD"))
    path = tmp_path / f"{identity(specs)}.pt"
    saved = stopped_at(specs[0].evaluate_every, specs, path)
    del saved["done"]
    torch.save(saved, body := io.BytesIO())
    path.write_bytes(checkpoints._digest(body.getbuffer()) + body.getvalue())
    with pytest.warns(UserWarning, match=r"cannot be loaded \(KeyError: .*done.*; moved to"):
        records = worker.work(specs, "sweep", tmp_path / f"{specs[0].id}.pt", None)
    assert [x.outcome_sha256 for x in records] == [x.outcome_sha256 for x in run_together(specs)]


def test_groups_hold_what_differs_in_seed_and_numbers_only() -> None:
    specs = planning.specs("smoke", "digits")
    batches = group(specs, 4)
    assert sorted(spec.id for batch in batches for spec in batch) == sorted(spec.id for spec in specs)
    assert max(map(len, batches)) == 4 and len(batches) == 18 * math.ceil(6 / 4)
    for batch in batches:
        assert len({planning.arm(spec) for spec in batch}) == 1
    with pytest.raises(ValueError, match="may differ only in seed"):
        run_together([specs[0], specs[-1]])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("task", ["images", "language_model", "word2vec"])
def test_on_cuda_the_graph_gives_what_runs_alone_give(task: str) -> None:
    for record in run_together(of(task, "Nadam", device="cuda")):
        alone = run(record.spec)
        assert record.status == alone.status
        assert record.metrics == pytest.approx(alone.metrics, rel=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("task", ["images", "language_model", "word2vec"])
def test_on_cuda_a_resumed_batch_captures_its_graph_again(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched, "MOST_UNREAD", 2)
    specs = of(task, "Nadam", device="cuda", anneal=(0.5, 0))
    specs = [dataclasses.replace(spec, steps=12, evaluate_every=6) for spec in specs]
    again = run_together(specs, resume=stopped_at(6, specs, tmp_path / "saved.pt"))
    for record, whole in zip(again, run_together(specs), strict=True):
        assert_equal_to_rounding(record, whole)


@pytest.mark.parametrize("made", [run, lambda spec: run_together([spec])[0]], ids=["alone", "together"])
def test_on_a_gpu_nothing_is_rounded_to_tf32(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cuDNN may do is a setting of the process: it is off in a run, and as it was after it."""
    seen = set()
    step = nadam_ref.OPTIMIZERS["Nadam"].step
    flags = torch.backends.cudnn
    monkeypatch.setattr(Replicas, "step", noting(Replicas.step, seen))
    monkeypatch.setattr(nadam_ref.OPTIMIZERS["Nadam"], "step", noting(step, seen))
    assert flags.allow_tf32 and not flags.benchmark
    made(of("images", "Nadam")[0])
    assert seen == {(False, True)}
    assert flags.allow_tf32 and not flags.benchmark


def noting(step: Any, seen: set[tuple[bool, bool]]) -> Any:
    def noted(*args: Any, **more: Any) -> Any:
        seen.add((torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark))
        return step(*args, **more)

    return noted

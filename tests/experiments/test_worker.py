"""What a worker does with a run: its checkpoints, memory that runs out, and the GPUs."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from specs import saved_after

from nadam_ref import fused
from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.protocol.definition import profile_of
from nadam_ref.experiments.runs import checkpoints, worker
from nadam_ref.experiments.runs import record as record_
from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.runs.train import run
from nadam_ref.experiments.runs.training import Training
from nadam_ref.fused import NoKernelError


def test_fault_35_replicas_that_do_not_fit_are_made_in_halves(
    make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def run_together(job: Any, **_: Any) -> Any:
        tried.append(len(job))
        if len(job) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried\nmore")
        if job[0].seed == 2:
            raise torch.OutOfMemoryError("CUDA out of memory, even alone")
        return [run(job[0])]

    monkeypatch.setattr(worker, "run_together", run_together)
    specs = tuple(make_spec(seed=seed) for seed in range(3))
    records = worker.work(specs, "sweep", tmp_path / "saved.pt", None)
    assert tried == [3, 1, 2, 1, 1] and [record.spec for record in records] == list(specs)
    assert [record.status for record in records] == ["finished", "finished", "out_of_memory"]


@pytest.mark.parametrize(
    ("visible", "seen"),
    [(None, ["0", "1", "2", "0"]), ("5, GPU-ab", ["5", "GPU-ab", "5", "GPU-ab"]), ("3", ["3"] * 4), ("", [""] * 4)],
)
def test_fault_99_workers_take_the_gpus_that_there_are_in_turn(
    monkeypatch: pytest.MonkeyPatch, visible: Any, seen: Any
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    found = []
    for number in range(4):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        worker._take_gpu(number)
        found.append(os.environ["CUDA_VISIBLE_DEVICES"])
    assert found == seen


@pytest.mark.parametrize("count", [0, 1])
def test_fault_99_without_a_second_gpu_nothing_is_set(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    worker._take_gpu(1)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def one_bit(content: Any, weights: Any) -> Any:
    """The checkpoint with the sign of one weight turned."""
    place = content.index(weights.detach().numpy().tobytes()) + 3
    return content[:place] + bytes([content[place] ^ 128]) + content[place + 1 :]


DAMAGES = {
    "empty": lambda content, _: b"",
    "text": lambda content, _: b"hello world\n" * 50,
    "cut off": lambda content, _: content[:-1],
    "without its digest": lambda content, _: content[65:],
    "another name": lambda content, _: content.replace(b"param_groups", b"qaram_groups"),
    "one bit": one_bit,
}


def begun(make_spec: Callable[..., RunSpec], folder: Path) -> tuple[RunSpec, Path, Training]:
    """A run that has made one update, and the file of its checkpoint."""
    training = Training(make_spec())
    training.advance()
    return training.spec, folder / "saved.pt", training


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_fault_102_a_damaged_checkpoint_is_set_aside_and_the_run_begins_again(
    make_spec: Callable[..., RunSpec], tmp_path: Path, damage: Any
) -> None:
    spec, path, training = begun(make_spec, tmp_path)
    checkpoints.save(training, path)
    damaged = damage(path.read_bytes(), training.params["output.weight"])
    path.write_bytes(damaged)
    with pytest.warns(UserWarning, match=r"saved\.pt is damaged; moved to .*saved\.damaged, the run begins again"):
        (record,) = worker.work((spec,), "sweep", path, None)
    assert record.outcome_sha256 == run(spec).outcome_sha256
    assert [file.name for file in tmp_path.iterdir()] == ["saved.damaged"]
    assert (tmp_path / "saved.damaged").read_bytes() == damaged


class Saved:
    """What is saved as it is, with a digest that is right."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state


STRUCTURES = {
    "no state": lambda saved: {name: x for name, x in saved.items() if name != "state"},
    "more state": lambda saved: {**saved, "state": [torch.zeros(1)]},
    "other parameters": lambda saved: {**saved, "params": {"w": torch.zeros(1)}},
    "a number for a matrix": lambda saved: {**saved, "params": {x: torch.zeros(1) for x in saved["params"]}},
    "no optimizer": lambda saved: {**saved, "optimizer": {}},
    "another optimizer": lambda saved: {**saved, "optimizer": {"state": {0: {"x": 1}}, "param_groups": []}},
    "text for a time": lambda saved: {**saved, "seconds": "9\n9"},
    "no curves": lambda saved: {name: x for name, x in saved.items() if name != "curves"},
}


@pytest.mark.parametrize("change", STRUCTURES.values(), ids=STRUCTURES)
def test_fault_102_a_whole_checkpoint_that_cannot_be_loaded_is_set_aside_and_the_run_begins_again(
    make_spec: Callable[..., RunSpec], tmp_path: Path, change: Any
) -> None:
    """As another version of the package may have left it."""
    spec, path, training = begun(make_spec, tmp_path)
    checkpoints.save(Saved(change(training.state_dict())), path)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match=r"^the checkpoint saved\.pt .*; moved to .*, the run begins again$") as seen:
        (record,) = worker.work((spec,), "sweep", path, None)
    assert len(seen) == 1 and "\n" not in str(seen[0].message)
    assert record.outcome_sha256 == run(spec).outcome_sha256
    assert [file.name for file in tmp_path.iterdir()] == ["saved.damaged"]


OTHERS = {"nadam_ref": "0.0.1", "torch": "1.0", "cpu": "another processor", "cpu_capability": "DEFAULT?"}


@pytest.mark.parametrize(("name", "other"), OTHERS.items())
def test_fault_117_a_checkpoint_that_was_made_with_something_else_is_set_aside(
    make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, other: str
) -> None:
    spec, store, known = make_spec(), Store(tmp_path), record_._surroundings()
    with monkeypatch.context() as patch:
        patch.setattr(record_, "_surroundings", lambda: {**known, name: other})
        path = saved_after(3, spec, store)
    said = re.escape(f"was made with {name} {other!r}, here {known[name]!r}; moved to")
    with pytest.warns(UserWarning, match=rf"^the checkpoint \w+\.pt {said} .*, the run begins again$") as seen:
        (record,) = worker.work((spec,), "sweep", path, None)
    assert len(seen) == 1 and record.outcome_sha256 == run(spec).outcome_sha256
    assert list(path.parent.iterdir()) == [path.with_suffix(".damaged")]


def test_fault_117_so_is_one_that_does_not_say_what_it_was_made_with(
    make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    spec, path = make_spec(), tmp_path / "saved.pt"
    saved = Training(spec).state_dict()
    del saved["made_with"]
    checkpoints.save(Saved(saved), path)  # type: ignore[arg-type]
    with pytest.warns(UserWarning, match="was made with nadam_ref 'unknown', here '.*'; torch 'unknown', here"):
        worker.work((spec,), "sweep", path, None)


@pytest.mark.parametrize("compiler", [True, False])
def test_fault_117_whether_rows_have_a_compiled_kernel_is_tried_before_a_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiler: bool
) -> None:
    """The checkpoint is of a machine without a compiler, and goes on in a new process of one with, or without."""

    def fails(*_: Any) -> None:
        raise NoKernelError("no compiler")

    (name, *_) = profile_of("word2vec", "smoke").data
    spec = next(x for x in planning.specs("smoke", name, "word2vec") if x.optimizer == "Nadam" and x.row_lazy)
    with monkeypatch.context() as patch:
        patch.setattr(fused, "_WITHOUT_COMPILER", {"cpu"})
        path = saved_after(3, spec, Store(tmp_path))
    monkeypatch.setattr(fused, "_WITHOUT_COMPILER", set())
    if not compiler:
        monkeypatch.setattr(fused.sparse, "kernel", fails)
    said = "was made with row_kernel 'none', here 'compiled'" if compiler else "no kernel could be compiled"
    with pytest.warns(UserWarning, match=said) as seen:
        (record,) = worker.work((spec,), "sweep", path, None)
    assert len(seen) == 1 and record.provenance["row_kernel"] == ("compiled" if compiler else "none")
    assert path.exists() is not compiler


def test_fault_35_memory_that_runs_out_as_a_checkpoint_is_loaded_leaves_it(
    make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, store = make_spec(), Store(tmp_path)
    path = saved_after(3, spec, store)

    def load(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Training, "_load", load)
    (record,) = worker.work((spec,), "sweep", path, None)
    assert record.status == "out_of_memory" and list(path.parent.iterdir()) == [path]


def test_fault_100_a_slow_disk_does_not_take_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that takes 30 s, and steps of 1 s: saved after a minute, then after every ten."""
    now, saved = [0.0], []

    def save(training: Any, _: Any) -> None:
        saved.append(now[0])
        now[0] += 30

    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(checkpoints, "save", save)
    saver = checkpoints.Saver(tmp_path / "saved.pt")
    while now[0] < 1500:
        now[0] += 1
        saver(None)
    assert saved == [61, 61 + 30 + 601, 61 + 2 * (30 + 601)]


def test_fault_53_a_checkpoint_that_cannot_be_written_costs_no_run(
    make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match=r"cannot write the checkpoint .*; the run goes on without"):
        (record,) = worker.work((make_spec(),), "sweep", tmp_path / "file" / "saved.pt", None)
    assert record.outcome_sha256 == run(make_spec()).outcome_sha256


class Program:
    """What runs where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_fault_78_a_checkpoint_that_holds_a_program_is_set_aside_and_the_program_does_not_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "saved.pt", tmp_path / "it ran"
    body = io.BytesIO()
    torch.save({"run": "a", "state": Program(proof)}, body)
    path.write_bytes(checkpoints._digest(body.getbuffer()) + body.getvalue())
    with pytest.warns(UserWarning, match=r"saved\.pt holds more than tensors; moved to .*saved\.damaged"):
        assert checkpoints.load(path, "a") is None
    assert [file.name for file in tmp_path.iterdir()] == ["saved.damaged"]


def test_fault_102_a_checkpoint_of_another_run_is_set_aside(make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    path, training = tmp_path / "saved.pt", Training(make_spec(seed=1))
    checkpoints.save(training, path)
    assert checkpoints.load(path, training.spec.id)["step"] == 0
    with pytest.warns(UserWarning, match=f"is of run '{training.spec.id[:12]}'; moved to"):
        assert checkpoints.load(path, make_spec().id) is None
    assert checkpoints.load(path, training.spec.id) is None  # no longer there

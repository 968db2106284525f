"""Records: named by what decides the run, strict JSON, never half-written, never silently wrong."""

from __future__ import annotations

import collections
import dataclasses
import errno
import hashlib
import json
import math
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nadam_ref import machine
from nadam_ref.experiments.runs import store as store_
from nadam_ref.experiments.runs.record import Record, RecordError, provenance
from nadam_ref.experiments.runs.spec import RunSpec, digest
from nadam_ref.experiments.runs.store import Store
from nadam_ref.files import fcntl


@pytest.fixture
def make_record(make_spec: Callable[..., RunSpec]) -> Any:
    def make(loss: float = 0.5, spec: Any = None, **changes: Any) -> Any:
        spec = spec or make_spec()
        record = Record(
            spec=spec,
            status="finished",
            reason="",
            step=7,
            curves={"train_loss": [2.0, loss], "dev_step": [0.0, 7.0], "dev_loss": [2.0, 1 / 3]},
            metrics={"dev_loss": 1 / 3, "test_loss": 0.1},
            provenance=provenance(spec, 1.25),
        )
        return dataclasses.replace(record, **changes)

    return make


def strictly(text: Any) -> Any:
    def refuse(constant: Any) -> None:
        raise AssertionError(f"bare {constant} in JSON")

    return json.loads(text, parse_constant=refuse)


# ---------------------------------------------------------------- names


def test_the_name_is_the_sha256_of_the_canonical_config(make_spec: Callable[..., RunSpec]) -> None:
    spec = make_spec()
    later = {"clip_norm", "anneal", "row_lazy", "device"}  # not in the name where they are at their default
    fields = [f.name for f in dataclasses.fields(RunSpec) if f.name not in later | {"protocol_sha256"}]
    config = {name: getattr(spec, name) for name in fields}
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    assert spec.id == hashlib.sha256(text.encode()).hexdigest()


def test_every_field_decides_the_name(make_spec: Callable[..., RunSpec]) -> None:
    changed = {
        "task": "x", "task_version": 2, "profile": "live", "model": {"conv1": 1}, "data": "x", "data_sha256": "x",
        "optimizer": "Adam", "optimizer_version": 2, "hyperparameters": {"lr": 0.02}, "seed": 1, "steps": 8, "batch": 1,
        "evaluate_every": 1, "subset": (1, 1, 1), "dtype": "float64", "threads": 2,
        "clip_norm": 5.0, "anneal": (0.5, 4), "row_lazy": True, "device": "cuda",
    }  # fmt: skip
    assert set(changed) == {f.name for f in dataclasses.fields(RunSpec)} - {"protocol_sha256"}
    names = {dataclasses.replace(make_spec(), **{key: value}).id for key, value in changed.items()}
    assert len(names | {make_spec().id}) == len(changed) + 1


def test_the_protocol_that_planned_a_run_is_in_its_record_and_not_in_its_name(
    make_record: Any, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    """It goes to a worker by pickling, into the record, and comes back with the record's specification."""
    spec = pickle.loads(pickle.dumps(make_spec(protocol_sha256="f" * 64)))
    assert spec == make_spec() and spec.id == make_spec().id and hash(spec) == hash(make_spec())
    assert provenance(make_spec(), 1.0)["protocol_sha256"] == ""
    Store(tmp_path).put(make_record(spec=spec))
    (record,) = Store(tmp_path)
    assert record.provenance["protocol_sha256"] == record.spec.protocol_sha256 == "f" * 64


def test_fault_57_numbers_have_one_type_so_one_name(make_spec: Callable[..., RunSpec]) -> None:
    a = make_spec(hyperparameters={"lr": 1, "betas": [0, 0.5], "momentum_decay": None, "nesterov": True, "form": "sum"})
    b = make_spec(
        hyperparameters={"form": "sum", "nesterov": True, "momentum_decay": None, "betas": (0.0, 0.5), "lr": 1.0}
    )
    assert a.id == b.id and a == b and hash(a) == hash(b)
    assert make_spec(hyperparameters={"lr": 1.0, "nesterov": 1.0}).id != make_spec(hyperparameters={"lr": 1.0}).id


@pytest.mark.parametrize("value", [math.nan, math.inf, [0.9, math.nan]])
def test_fault_57_config_with_nan(make_spec: Callable[..., RunSpec], value: Any) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        make_spec(hyperparameters={"lr": value})


def test_fault_56_the_names_of_older_records_stand(make_spec: Callable[..., RunSpec]) -> None:
    """The name that a spec of version 0.1.0 had, written down then: fields that came later do not change it."""
    spec = dataclasses.replace(make_spec(), data_sha256="0" * 64, model={"conv1": 2, "conv2": 4, "dense": 16})
    assert spec.id == "5e91efe1e88b3eff3f1db60ec4438406452d5485e21316eb717fc64a57679d6e"
    assert dataclasses.replace(spec, clip_norm=None, anneal=None, row_lazy=False, device="cpu").id == spec.id


@pytest.mark.parametrize(
    "change",
    [
        *({"steps": -1}, {"batch": 0}, {"threads": 1.0}, {"dtype": "float16"}),
        *({"device": "tpu"}, {"row_lazy": "yes"}, {"clip_norm": 0.0}, {"clip_norm": math.nan}),
    ],
)
def test_fault_57_config_of_the_wrong_type(make_spec: Callable[..., RunSpec], change: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be"):
        make_spec(**change)


# ---------------------------------------------------------------- the file


def test_a_record_survives_its_file_bit_for_bit(make_record: Any, tmp_path: Path) -> None:
    store, record = Store(tmp_path / "a" / "b"), make_record(loss=0.1 + 0.2)
    assert store.get(record.spec) is None
    store.put(record)
    assert Store(store.folder).get(record.spec) == record
    assert [path.name for path in store.folder.iterdir()] == [f"{record.spec.id}.json"]


def test_nan_and_infinities_survive_strict_json(make_record: Any, tmp_path: Path) -> None:
    values = [1.0, math.nan, math.inf, -math.inf]
    record = make_record(curves={"train_loss": values}, status="diverged", metrics={})
    strictly(record.to_json())
    Store(tmp_path).put(record)
    found = Store(tmp_path).get(record.spec).curves["train_loss"]
    assert list(map(str, found)) == list(map(str, values))
    Store(tmp_path).put(record)  # NaN is unequal to itself, its record is not


def test_the_file_says_where_it_was_made(make_record: Any) -> None:
    payload = strictly(make_record().to_json())
    assert payload["schema"] == 1 and payload["provenance"]["wall_seconds"] == 1.25
    known = {"nadam_ref", "torch", "numpy", "python", "platform", "cpu", "cpu_capability", "commit", "dirty", "time"}
    assert known <= set(payload["provenance"])
    assert payload["provenance"]["protocol_sha256"] == ""  # nothing planned it


def test_fault_50_a_write_that_is_cut_off_leaves_nothing(
    make_record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(RecordError, match="No space left"):
        Store(tmp_path).put(make_record())
    assert list(tmp_path.iterdir()) == []


def test_fault_50_a_part_file_of_a_killed_writer_is_no_record(make_record: Any, tmp_path: Path) -> None:
    store, record = Store(tmp_path), make_record()
    store.put(record)
    part = tmp_path / f".{record.spec.id}.json.0123.part"
    part.write_text(record.to_json()[:100])
    assert list(store) == [record]


def test_fault_52_a_second_write_must_agree(make_record: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(make_record())
    before = store.path(make_record().spec).read_bytes()
    store.put(make_record(provenance={"torch": "another time and place"}))
    with pytest.raises(RecordError, match="two runs of one spec differ") as error:
        store.put(make_record(loss=math.nextafter(0.5, 1)))
    for record in (make_record(), make_record(loss=math.nextafter(0.5, 1))):
        assert record.outcome_sha256[:16] in str(error.value)
    assert store.path(make_record().spec).read_bytes() == before


def put_at_once(folder: Path, *records: Any) -> list[str]:
    """What each writer of a record gets: nothing, or the kind of its error."""

    def put(record: Any) -> str:
        try:
            Store(folder).put(record)
        except RecordError as error:
            assert "two runs of one spec differ" in str(error)
            return "error"
        return ""

    with ThreadPoolExecutor() as threads:
        return sorted(threads.map(put, records))


@pytest.mark.parametrize("links", [True, False])
def test_fault_52_of_two_writers_at_once_the_second_must_agree(
    make_record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Both have seen that there is no record. Where there are no hard links, one of them is a little later."""
    both, real = threading.Barrier(2), store_.write_new

    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def together(*args: Any) -> bool:
        time.sleep(0.2 * both.wait() * (not links))
        return real(*args)

    monkeypatch.setattr(store_, "write_new", together)
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    records = make_record(), make_record(loss=math.nextafter(0.5, 1))
    assert put_at_once(tmp_path, *records) == ["", "error"]
    (kept,) = Store(tmp_path)
    assert kept in records and list(tmp_path.iterdir()) == [Store(tmp_path).path(kept.spec)]
    assert put_at_once(tmp_path, kept, kept) == ["", ""]


@pytest.mark.skipif(fcntl is None, reason="files are not locked here")
def test_fault_52_so_must_the_second_where_both_replace_a_run_that_failed(
    make_record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path).put(make_record(status="crashed", reason="why", metrics={}))
    real = store_.write_whole

    def slow(*args: Any) -> None:
        time.sleep(0.2)
        real(*args)

    monkeypatch.setattr(store_, "write_whole", slow)
    assert put_at_once(tmp_path, make_record(), make_record(loss=math.nextafter(0.5, 1))) == ["", "error"]


def flip(content: Any) -> Any:
    middle = content.index(b'"train_loss":[2.0') + 14
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [flip, lambda c: c[:-20], lambda c: b"", lambda c: b"\xff" + c, lambda c: b"null", lambda c: b"[" * 9]
)
def test_fault_55_damaged_files_are_set_aside_and_run_again(make_record: Any, tmp_path: Path, damage: Any) -> None:
    store, record = Store(tmp_path), make_record()
    store.put(record)
    path = store.path(record.spec)
    spoiled = damage(path.read_bytes())
    assert spoiled != record.to_json().encode()
    path.write_bytes(spoiled)
    with pytest.warns(UserWarning, match="is damaged"):
        assert store.get(record.spec) is None
    (kept,) = (tmp_path / "damaged").iterdir()
    assert kept.read_bytes() == spoiled  # set aside, not deleted
    store.put(record)
    assert list(store) == [record]


def test_fault_55_a_whole_file_under_another_name(
    make_record: Any, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    store, other = Store(tmp_path), make_spec(seed=9)
    store.put(make_record())
    shutil.copy(store.path(make_record().spec), store.path(other))
    with pytest.warns(UserWarning, match="does not match the file's name"):
        assert store.get(other) is None


def resigned(payload: Any) -> Any:
    payload = {name: value for name, value in payload.items() if name != "sha256"}
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    return json.dumps({**payload, "sha256": hashlib.sha256(text.encode()).hexdigest()})


def test_fault_56_newer_schema_is_refused_and_left_in_place(make_record: Any, tmp_path: Path) -> None:
    store, record = Store(tmp_path), make_record()
    store.put(record)
    path = store.path(record.spec)
    path.write_text(resigned({**json.loads(path.read_text()), "schema": 2}))
    with pytest.raises(RecordError, match=r"schema 2.*up to 1.*newer"):
        store.get(record.spec)
    assert path.exists()


def test_fault_56_57_a_key_of_a_newer_package_in_a_files_config_is_refused_and_left_in_place(
    make_record: Any, tmp_path: Path
) -> None:
    """As an older package finds it: under the name that the newer one gave it, with a hash that is right."""
    payload = json.loads(make_record().to_json())
    config = {**payload["config"], "surprise": 1}
    path = tmp_path / f"{digest(config)}.json"
    path.write_text(resigned({**payload, "config": config}))
    with pytest.raises(RecordError, match=rf"{path.name}: .*does not know \('surprise'\); install a newer one"):
        list(Store(tmp_path))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("config", ["surprise", ["surprise"], None])
def test_fault_57_a_config_that_is_none_is_set_aside(make_record: Any, tmp_path: Path, config: Any) -> None:
    store, record = Store(tmp_path), make_record()
    store.path(record.spec).write_text(resigned({**json.loads(record.to_json()), "config": config}))
    with pytest.warns(UserWarning, match="is damaged"):
        assert store.get(record.spec) is None


def test_fault_62_a_store_may_be_moved(make_record: Any, tmp_path: Path) -> None:
    Store(tmp_path / "old").put(make_record())
    (tmp_path / "old").rename(tmp_path / "new")
    assert list(Store(tmp_path / "new")) == [make_record(provenance=next(iter(Store(tmp_path / "new"))).provenance)]


def test_fault_65_git_absent_dirty_or_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    package = Path(machine.__file__).parent
    answers = {"rev-parse --show-toplevel": str(package.parent), "status --porcelain -- nadam_ref": " M x.py"}
    answers["rev-parse --verify --quiet HEAD"] = "abc"
    monkeypatch.setattr(machine, "_git", lambda folder, *a: answers[" ".join(a)])
    assert machine.checkout(package.parent, "nadam_ref") == {"commit": "abc", "dirty": True}
    answers["status --porcelain -- nadam_ref"] = ""
    assert machine.checkout(package.parent, "nadam_ref") == {"commit": "abc", "dirty": False}
    # an installed package inside somebody's repository is not that repository's commit
    answers["rev-parse --show-toplevel"] = str(package.parent.parent)
    assert machine.checkout(package.parent, "nadam_ref") == {"commit": None, "dirty": None}
    answers["rev-parse --show-toplevel"] = None
    assert machine.checkout(package.parent, "nadam_ref") == {"commit": None, "dirty": None}


def test_fault_65_no_git_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine._git(tmp_path, "status") is None


@pytest.mark.parametrize("status", ["crashed", "timeout", "out_of_memory"])
def test_a_failed_run_is_a_row_until_there_is_a_result(make_record: Any, tmp_path: Path, status: str) -> None:
    store = Store(tmp_path)
    failure = make_record(status=status, reason="why", metrics={})
    store.put(failure)
    assert store.get(failure.spec) == failure
    store.put(make_record())
    store.put(failure)  # a later failure does not push out a result
    assert list(store) == [make_record(provenance=store.get(failure.spec).provenance)]


def test_on_a_gpu_a_second_result_may_differ_by_rounding(
    make_record: Any, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    store, spec = Store(tmp_path), make_spec(device="cuda")
    store.put(make_record(spec=spec))
    store.put(make_record(loss=math.nextafter(0.5, 1), spec=spec))
    assert store.get(spec).curves["train_loss"] == [2.0, 0.5]


def test_fault_53_disk_full(make_record: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"cannot write .*No space left on device.*same command"):
        Store(tmp_path).put(make_record())
    assert list(tmp_path.iterdir()) == []


def test_fault_63_every_record_is_opened_once_and_no_folder_listed_twice(
    make_record: Any, make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work of loading is counted, not timed: it grows with the number of records and no faster."""
    store = Store(tmp_path)
    for seed in range(40):
        store.put(make_record(spec=make_spec(seed=seed)))
    reads, lists = collections.Counter(), []
    read, glob = Path.read_bytes, Path.glob
    monkeypatch.setattr(Path, "read_bytes", lambda p, *a, **k: reads.update([p]) or read(p, *a, **k))
    monkeypatch.setattr(Path, "glob", lambda p, pattern: lists.append(pattern) or glob(p, pattern))
    assert len(list(store)) == 40
    assert set(reads.values()) == {1} and len(reads) == 40 and lists == ["*.json"]


@pytest.mark.soak
def test_fault_63_a_hundred_thousand_runs(make_record: Any, make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    """Four times the records take four times as long, within a factor of two."""
    seconds = []
    for number in (25_000, 100_000):
        folder = tmp_path / str(number)
        folder.mkdir()
        for seed in range(number):
            record = make_record(spec=make_spec(seed=seed))
            (folder / f"{record.spec.id}.json").write_text(record.to_json())
        start = time.perf_counter()
        assert sum(1 for _ in Store(folder)) == number
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 8 * seconds[0]


def test_iteration_is_in_the_order_of_names(
    make_record: Any, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    for seed in range(5):
        store.put(make_record(spec=make_spec(seed=seed)))
    names = [record.spec.id for record in store]
    assert names == sorted(names) and len(names) == 5
    assert list(Store(tmp_path / "nowhere")) == []

"""Packs: the same bytes for the same records, read back as the same records, refused where a byte has changed."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import math
import os
import typing
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nadam_ref.cli import main
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs.log import unfinished
from nadam_ref.experiments.runs.pack import PackError
from nadam_ref.experiments.runs.record import Record, provenance
from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.runs.train import run

RESULTS = Path(__file__).parents[2] / "book" / "results"


@pytest.fixture(scope="module")
def made() -> Any:
    """By name of the file, the pack's bytes are compared; the records are made once."""
    return {}


@pytest.fixture
def records(make_spec: Callable[..., RunSpec], made: Any) -> Any:
    """A finished run, a diverged one, one that failed, one on another machine, one of another task with odd values."""
    if not made:
        finished, diverged = run(make_spec()), run(make_spec("GD", hyper={"lr": 1e30}))
        crash = unfinished(make_spec(seed=3), "crashed", 'said "no",\nand died')
        elsewhere = run(make_spec("AdaMax", dtype="float64"))
        elsewhere = dataclasses.replace(elsewhere, provenance={**elsewhere.provenance, "cpu": "another, quite"})
        spec = make_spec(
            task="other", model={"init": "1", "scale": 0.5}, anneal=(0.5, 4), clip_norm=5.0, subset=(9, 1, 1)
        )
        odd = Record(
            spec, "finished", "", 7, {"x": [math.nan, math.inf, -0.0, 1 / 3]}, {"dev_x": 1 / 3}, provenance(spec, 1.5)
        )
        made["records"] = [finished, diverged, crash, elsewhere, odd]
    return made["records"]


def test_a_pack_is_read_back_as_it_was(records: Any, tmp_path: Path) -> None:
    pack.write(tmp_path, records)
    assert diverged_has_a_nan(records)
    found = {record.spec.id: record for record in pack.read(tmp_path)}
    assert len(found) == 5 and list(found) == sorted(found)
    for record in records:
        assert found[record.spec.id].to_json() == record.to_json()


def diverged_has_a_nan(records: Any) -> Any:
    return any(not math.isfinite(x) for record in records for values in record.curves.values() for x in values)


def test_a_folder_may_be_text_as_that_of_a_store(records: Any, tmp_path: Path) -> None:
    assert pack.write(str(tmp_path / "pack"), records)[0].parent == tmp_path / "pack"
    found = pack.read(str(tmp_path / "pack"))
    assert [record.to_json() for record in found] == [record.to_json() for record in pack.read(tmp_path / "pack")]


def test_the_same_records_give_the_same_bytes(records: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another order, through a store, at another time and in another folder."""
    first = {path.name: path.read_bytes() for path in pack.write(tmp_path / "a", records)}
    store = Store(tmp_path / "store")
    for record in reversed(records):
        store.put(record)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setattr("time.time", lambda: 2e9)
    second = {path.name: path.read_bytes() for path in pack.write(tmp_path / "b", store)}
    assert first == second and set(first) == {"runs.csv", "curves.npz", "manifest.json"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(first)


def test_the_table_is_one_that_any_program_reads(records: Any, tmp_path: Path) -> None:
    pack.write(tmp_path, records)
    with (tmp_path / "runs.csv").open(newline="", encoding="utf-8") as file:
        lines = {line["id"]: line for line in csv.DictReader(file)}
    line = lines[records[0].spec.id]
    assert (line["task"], line["optimizer"], line["seed"], line["status"]) == ("images", "Nadam", "0", "finished")
    assert float(line["test_loss"]) == records[0].metrics["test_loss"]
    assert json.loads(line["hyperparameters"])["lr"] == 0.01
    assert lines[records[2].spec.id]["test_loss"] == ""  # a failed run has no number and none is made up


def test_fault_78_curves_need_no_pickle_and_have_no_time(records: Any, tmp_path: Path) -> None:
    pack.write(tmp_path, records)
    with np.load(tmp_path / "curves.npz", allow_pickle=False) as arrays:
        assert arrays["train_loss"].dtype in (np.float32, np.float64) and arrays["x.length"].max() == 4
        # single precision only where not a digit is lost
        assert arrays["x"].dtype == np.float64 and arrays["dev_step"].dtype == np.float32
    with zipfile.ZipFile(tmp_path / "curves.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_manifest_says_what_there_is_and_fault_64_where_it_was_made(records: Any, tmp_path: Path) -> None:
    pack.write(tmp_path, records)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["statuses"] == {"crashed": 1, "diverged": 1, "finished": 3}
    assert manifest["runs"] == {"images/smoke/digits": 4, "other/smoke/digits": 1}
    assert {place["cpu"] for place in manifest["made"]} == {records[0].provenance["cpu"], "another, quite"}


@pytest.mark.parametrize("name", ["runs.csv", "curves.npz"])
@pytest.mark.parametrize("damage", [lambda c: c[:-1], lambda c: c[:50] + bytes([c[50] ^ 1]) + c[51:], lambda c: b""])
def test_fault_55_a_byte_that_changed_is_seen(
    records: Any, tmp_path: Path, name: str, damage: Callable[..., Any]
) -> None:
    pack.write(tmp_path, records)
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(PackError, match=f"{name} has sha256 [0-9a-f]+, its manifest says"):
        pack.read(tmp_path)


def with_curves(folder: Path, content: bytes) -> None:
    """Put other curves into a pack, and their sha256 into its manifest."""
    (folder / "curves.npz").write_bytes(content)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["curves.npz"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


class Program:
    """What runs where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_fault_78_curves_that_are_a_program_are_refused_and_do_not_run(records: Any, tmp_path: Path) -> None:
    pack.write(tmp_path, records)
    hostile = io.BytesIO()
    np.savez(hostile, dev_loss=np.array([Program(tmp_path / "it ran")], dtype=object))
    with_curves(tmp_path, hostile.getvalue())
    with pytest.raises(PackError, match=r"curves\.npz holds no curves: .*allow_pickle=False"):
        pack.read(tmp_path)
    assert not (tmp_path / "it ran").exists()


def header(shape: int) -> bytes:
    """An array that says how long it is, and holds nothing."""
    text = io.BytesIO()
    np.lib.format.write_array_header_1_0(text, {"descr": "<f8", "fortran_order": False, "shape": (shape,)})
    return text.getvalue()


@pytest.mark.parametrize("shape", [1 << 27, 1 << 60])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_fault_42_curves_that_say_to_be_larger_than_their_file_are_refused(
    records: Any, tmp_path: Path, shape: int, compression: int
) -> None:
    """Ten megabytes of zeros in some kilobytes, and arrays that are shorter than they say."""
    pack.write(folder := tmp_path / "pack", records)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", compression) as archive:
        archive.writestr("../dev_loss.npy", header(shape) + bytes(10**7 if compression else 0))
    with_curves(folder, bomb.getvalue())
    with pytest.raises(PackError, match=r"curves\.npz holds no curves"):
        pack.read(folder)
    assert list(tmp_path.iterdir()) == [folder]  # nothing was written beside it


def test_fault_56_a_newer_pack_and_no_pack(records: Any, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="is no pack of records"):
        pack.read(tmp_path)
    pack.write(tmp_path, records)
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema": 3}))
    with pytest.raises(PackError, match="schema 3, this nadam_ref reads up to 2"):
        pack.read(tmp_path)


def test_fault_72_runs_of_two_protocols_are_not_mixed(records: Any, tmp_path: Path) -> None:
    first, second = (
        dataclasses.replace(record, provenance={**record.provenance, "protocol_sha256": digit * 64})
        for record, digit in zip(records, "0f", strict=False)
    )
    with pytest.raises(PackError, match=r"different protocols .*images/smoke \(000000000000, ffffffffffff\)"):
        pack.write(tmp_path, [first, second])
    with pytest.raises(PackError, match="no records"):
        pack.write(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_fault_53_a_pack_that_cannot_be_written_whole_leaves_the_one_that_was_there(
    records: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    before = {path: path.read_bytes() for path in pack.write(tmp_path, records[:1])}
    synced = []

    def full(_: Any) -> None:
        synced.append(1)
        if len(synced) == nth:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PackError, match=r"cannot write .*No space left"):
        pack.write(tmp_path, records)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_pack_that_would_not_be_read_back_is_not_written(
    records: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in pack.write(tmp_path, records[:1])}
    hostile = dataclasses.replace(records[0], provenance={**records[0].provenance, "cpu": "<script>"})
    with pytest.raises(PackError, match=r"a pack that cannot be read: .*the provenance has as cpu what is no plain"):
        pack.write(tmp_path, [hostile])
    with monkeypatch.context() as patch, pytest.raises(PackError, match="would not be read back from a pack as they"):
        patch.setattr(pack, "read", lambda _: records[1:2])
        pack.write(tmp_path, records[:1])
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("reason", ["a\rb", "a\r\nb", "\r", "nul\0x", "\udcff", "\ud83d, \udca9", '"\r', "é\u2028\r"])
def test_a_reason_is_any_text(records: Any, tmp_path: Path, reason: str) -> None:
    """Beside one that has a comma, quotes and a line break, and one that looks like JSON."""
    texts = [reason, records[2].reason, '"no"', ""]
    crashed = [unfinished(dataclasses.replace(records[2].spec, seed=i), "crashed", x) for i, x in enumerate(texts)]
    crashed[0] = dataclasses.replace(crashed[0], provenance={**crashed[0].provenance, "traceback": f"in {reason}"})
    files = pack.write(tmp_path / "a", crashed)
    found = pack.read(tmp_path / "a")
    assert sorted(x.to_json() for x in found) == sorted(x.to_json() for x in crashed)
    assert json.loads((tmp_path / "a" / "manifest.json").read_text(encoding="utf-8"))["schema"] == 2
    again = pack.write(tmp_path / "b", found)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


@pytest.mark.parametrize("name", [path.parent.name for path in sorted(RESULTS.glob("*/manifest.json"))])
def test_the_book_s_packs_are_made_again_to_the_byte(name: str, tmp_path: Path) -> None:
    for path in pack.write(tmp_path, pack.read(RESULTS / name)):
        assert path.read_bytes() == (RESULTS / name / path.name).read_bytes()


def test_a_sweep_goes_on_from_a_pack(records: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store filled from a pack has the records of the one that was packed; verify takes either."""
    pack.write(tmp_path / "pack", records)
    assert main(["unpack", str(tmp_path / "pack"), "--store", str(tmp_path / "store")]) == 0
    assert {r.spec.id: r.to_json() for r in Store(tmp_path / "store")} == {r.spec.id: r.to_json() for r in records}
    capsys.readouterr()
    counts = []
    for source in (["--pack", tmp_path / "pack"], ["--store", tmp_path / "store"]):
        assert main(["verify", *map(str, source)]) == 0
        counts.append(capsys.readouterr().out)
    assert counts[0] == counts[1] != ""
    assert main(["unpack", str(tmp_path), "--store", str(tmp_path / "store")]) == 2
    assert "is no pack of records" in capsys.readouterr().err


def test_a_pack_says_which_protocol_planned_a_run(make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    spec = make_spec(protocol_sha256="f" * 64)
    pack.write(tmp_path, [unfinished(spec, "crashed", "")])
    (record,) = pack.read(tmp_path)
    assert record.spec.protocol_sha256 == record.provenance["protocol_sha256"] == "f" * 64


def test_metrics_are_in_the_order_of_the_table(make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    names = [f"dev_{letter}" for letter in "abcdefgh"]
    made = unfinished(make_spec(), "crashed", "")
    pack.write(tmp_path, [dataclasses.replace(made, metrics=dict.fromkeys(reversed(names), 1.0))])
    (record,) = pack.read(tmp_path)
    assert list(record.metrics) == names


def test_a_pack_is_read_however_annotations_are_kept(
    records: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack.write(tmp_path, records)
    hints = typing.get_type_hints(RunSpec)
    for field in dataclasses.fields(RunSpec):
        monkeypatch.setattr(field, "type", hints[field.name])  # what they are where their evaluation is not postponed
    assert {record.spec.id for record in pack.read(tmp_path)} == {record.spec.id for record in records}

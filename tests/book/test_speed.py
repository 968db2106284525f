"""The chapter on speed shows what was recorded, and its counts are those of the formula."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nadam_ref import RULES, bench
from nadam_ref.book.cells import speed
from nadam_ref.experiments import released

#: Milliseconds of the ways of one step for each tensor that the rule's update moves: the bound takes one.
TIMES = {"bound": 1, "default": 4, "fused": 2, "flattened": 1.5, "torch": 6, "torch foreach": 5, "torch fused Adam": 3}


def result(what: str, rule: str, path: str, parameters: int, median: float) -> bench.Result:
    k = bench.streams(RULES[rule])
    return bench.Result(what, rule, path, parameters, median, median / 2, median * 2, 4 * k * parameters)


@pytest.fixture
def run() -> speed.Recorded:
    """Of each rule every way on each list; of Nadam every size."""
    results = [
        result(what, rule, path, 10**6, times * bench.streams(RULES[rule]) * 1e-3)
        for what in bench.LISTS
        for rule in RULES
        for path, times in TIMES.items()
        if path in ("bound", "torch fused Adam") or rule in bench.TORCH or not path.startswith("torch")
    ]
    for what, shapes in bench.SIZES.items():
        n = sum(int(np.prod(shape)) for shape in shapes)
        results += [result(what, "Nadam", path, n, n * 1e-9 * times) for path, times in TIMES.items()]
    machine = {"device": "a CPU", "threads": 1, "capability": "AVX2", "flops": 5e10}
    bandwidth = [bench.Bandwidth("copy", 1, 1, 7.0, 6.5, 7.5), bench.Bandwidth("bound, k = 3", 2, 1, 9.0, 8.5, 9.5)]
    return speed.Recorded(results, machine, {"torch": "2.13.0", "nadam_ref": "0.1.0"}, "a kernel", bandwidth)


def test_operations_are_counted_by_hand() -> None:
    assert speed.operations("GD") == 2  # γ g, θ − that
    # m: two products and a sum; α m + γ g: three; n: ν n, g g, (1−ν) that, their sum; root, + ε, division, θ − that
    assert speed.operations("Nadam") == 3 + 3 + 4 + 4
    assert speed.intensity("Nadam") == pytest.approx(14 / 28)


def test_the_roof_is_bandwidth_and_peak(run: speed.Recorded) -> None:
    picture = speed.roofline(run)
    bandwidth = 4 * 10**6 / 1e-3  # the bound takes a millisecond for each of k tensors of a million float32
    assert picture.data["roof GFLOP/s"][0] == pytest.approx(0.05 * bandwidth / 1e9)
    assert picture.data["roof GFLOP/s"][-1] == pytest.approx(50.0)
    x, y = picture.data["Nadam fused: operations/byte, GFLOP/s"]
    assert (x, y) == (pytest.approx(0.5), pytest.approx(0.5 * bandwidth / 2 / 1e9))  # twice the bound: half the roof
    assert "Fused updates reach 50 to 50 % of the roof, torch's defaults 17 to 17 %." in picture.alt
    assert speed.roof_said(run).data == picture.alt


def test_costs_are_nanoseconds_by_size_and_number(run: speed.Recorded) -> None:
    data = speed.cost(run).data
    assert list(data["ours, fused: parameters in one tensor"]) == [10.0**e for e in range(3, 9)]
    assert list(data["ours, fused: tensors that share a million parameters"]) == [1, 10, 100, 1000, 10000]
    assert data["torch's fused Adam: ns a parameter"] == pytest.approx([3.0] * 5)
    assert data["the bound: ns a parameter"] == pytest.approx([1.0] * 5)
    first, *_, last = speed.cost_said(run).data.splitlines()
    assert first.startswith(
        "- One tensor of 1,000 parameters: 0.00150 ms (ours, fused and flattened), 0.00200 ms (ours"
    )
    assert last.startswith("- A million parameters in 10,000 tensors: 1.50 ms (ours, fused and flattened)")


def test_marks_are_times_in_units_of_the_bound(run: speed.Recorded) -> None:
    data = speed.dumbbells(run).data
    assert len(data) == len(bench.LISTS) * 5
    of = {name.split(": ")[1].split(" ÷")[0]: x for name, x in data.items() if name.startswith("A ResNet-50, 161")}
    assert of["ours, fused"] == pytest.approx([2.0] * 10)
    assert of["torch's fused Adam"] == pytest.approx([3.0] * 10)
    best = dict(zip(RULES, of["torch's own class, best path"], strict=True))
    assert best["GD"] == 5.0 and best["Adam"] == 3.0 and np.isnan([best["MaxProp"], best["NadaMax"]]).all()


def test_every_cell_has_its_spread(run: speed.Recorded) -> None:
    text = speed.list_table(run, "mlp").data
    rows = {row[0]: row[1:] for row in ([x.strip() for x in line.strip("|").split("|")] for line in text.splitlines())}
    assert rows["rule"] == ["bound", "default", "fused", "flattened", "torch's best", "torch's fused Adam"]
    medians = [re.match(r"([\d.]*)", cell)[1] for cell in rows["`GD`"]]  # type: ignore[index]
    assert medians == ["3.00", "12.0", "6.00", "4.50", "15.0", "9.00"]
    assert rows["`MaxProp`"][4] == ""
    for cell in filter(None, rows["`GD`"] + rows["`MaxProp`"]):
        median, spread = map(float, re.findall(r"[\d.]+", cell))
        assert spread == pytest.approx((2 * median - median / 2) / 2, rel=0.01)  # half of the range


def test_bandwidths_are_shown_with_their_spread_and_said(run: speed.Recorded) -> None:
    assert "| 9.00 (±0.50) |" in speed.bandwidths(run).data
    assert speed.bandwidth_said(run).data == "The kernels of the bound move 9 to 9 GB/s; STREAM's best counts 7."


def test_what_is_faster_in_torch_is_named(run: speed.Recorded) -> None:
    resnet, *_ = speed.lists_said(run).data.splitlines()
    assert resnet.startswith("- **A ResNet-50, 161 tensors.** A fused step takes 2.00 to 2.00 times the bound.")
    assert "own class takes 1.50 to 2.50 times as long as ours. " in resnet and "faster for" not in resnet
    run.results[:] = [
        x._replace(median=1e-3) if (x.what, x.rule, x.path) == ("resnet50", "NAG", "torch") else x for x in run.results
    ]
    resnet, small, _ = speed.lists_said(run).data.splitlines()
    assert "own class takes 0.10 to 2.50 times as long as ours; it is faster for NAG (0.10)." in resnet
    assert "torch's default path takes 0.05 to 1.50 times as long as ours; it is faster for NAG (0.05)." in resnet
    assert "faster" not in small


# ---------------------------------------------------------------- the record of the book, and a changed copy of it


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Multiplies the times of some results in a copy of the book's record, from which the chapter then reads."""
    original = released.folder("bench")
    for path in original.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(speed, "folder", lambda name: {"bench": tmp_path}[name])

    def write(name: str, factor: float, **where: str) -> None:
        content = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
        hits = [x for x in content["results"] if all(x[key] == value for key, value in where.items())]
        assert hits
        for x in hits:
            x |= {time: x[time] * factor for time in ("median", "low", "high")}
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    return write


def test_a_changed_record_changes_table_figure_and_sentence(change: Callable[..., None]) -> None:
    def shown() -> tuple[str, float, str]:
        run = speed.load("step")
        table = speed.list_table(run, "small").data
        (row,) = [line for line in table.splitlines() if "`Nadam`" in line]
        x = speed.dumbbells(run).data["Many small tensors, 1,000 of 32 × 32: ours, fused ÷ bound, by rule"]
        return row.split("|")[4], x[list(RULES).index("Nadam")], speed.lists_said(run).data.splitlines()[1]

    cell, mark, sentence = shown()
    change("step", 1000.0, what="small", rule="Nadam", path="fused")
    new_cell, new_mark, new_sentence = shown()
    median, new_median = (float(re.findall(r"[\d.]+", x.replace(",", ""))[0]) for x in (cell, new_cell))
    assert new_median == pytest.approx(1000 * median, rel=0.01) and new_mark == pytest.approx(1000 * mark)
    assert "Nadam (0.0" not in sentence and "Nadam (0.0" in new_sentence
    assert f"to {new_mark:.2f} times the bound" in new_sentence


def test_a_changed_record_changes_rows_and_replicas(change: Callable[..., None]) -> None:
    def ratios() -> list[float]:
        text = speed.cases_said(speed.load("sparse"), speed.load("replicas")).data
        return [float(x.replace(",", "")) for x in re.findall(r"([\d.,]+)(?: times|\sms)", text)]

    before = ratios()
    change("sparse", 100.0, path="torch SparseAdam")
    change("replicas", 100.0, path="torch, one by one")
    rows, *dense, nadams, adams = ratios()
    assert (rows, nadams) == (pytest.approx(100 * before[0], rel=0.05), pytest.approx(100 * before[3], rel=0.05))
    assert (dense, adams) == (before[1:3], before[4])
    assert "SparseAdam" in speed.cases(speed.load("sparse"), speed.load("replicas")).data


def test_a_gpus_times_are_those_of_its_record(change: Callable[..., None]) -> None:
    def shown() -> tuple[str, str]:
        run = speed.load("step-gpu")
        table = speed.gpu_table(run)
        (row,) = [x for x in table.data.splitlines() if "`small`" in x and "`Nadam`" in x]
        return row.split("|")[5], speed.lists_said(run).data.splitlines()[1]

    cell, sentence = shown()
    change("step-gpu", 1000.0, what="small", rule="Nadam", path="fused")
    new_cell, new_sentence = shown()
    median, new_median = (float(re.findall(r"[\d.]+", x.replace(",", ""))[0]) for x in (cell, new_cell))
    assert new_median == pytest.approx(1000 * median, rel=0.01)
    assert "Nadam (0.0" not in sentence and "Nadam (0.0" in new_sentence


def test_the_record_of_a_gpu_names_it_and_has_every_way() -> None:
    run = speed.load("step-gpu")
    assert "NVIDIA" in run.machine["device"] and run.bound == bench.bound_by("cuda")
    for rule in {x.rule for x in run.results}:
        for what in bench.LISTS:
            assert {"bound", "default", "fused", "flattened", speed.BEST, "torch fused Adam"} <= set(run.of(what, rule))


@pytest.mark.parametrize("name", ["step", "size", "sparse", "replicas"])
def test_the_books_record_is_whole(name: str) -> None:
    """What the chapter shows is there, with a bound that a compiler made."""
    run = speed.load(name)
    whats = {"step": bench.LISTS, "size": bench.SIZES}.get(name, {})
    for what in whats:
        for rule in RULES if name == "step" else ["Nadam"]:
            assert {"bound", "default", "fused", "flattened", "torch fused Adam"} <= set(run.of(what, rule))
    assert not run.bound.startswith("none") and bool(run.bandwidth) == bool(whats)
    assert all(x.low <= x.median <= x.high for x in [*run.results, *run.bandwidth])


def test_what_the_bench_writes_is_what_the_page_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = [result("resnet50", "Adam", "fused", 7, 1e-3)]
    bandwidth = [bench.Bandwidth("copy", 1, 1, 2.0, 1.0, 3.0)]
    monkeypatch.setattr(bench, "_peak", lambda device: 1.0)
    (tmp_path / "step.json").write_text(json.dumps(bench.report("step", 3, "cpu", written, bandwidth)))
    monkeypatch.setattr(speed, "folder", lambda name: {"bench": tmp_path}[name])
    run = speed.load("step")
    assert (run.results, run.bandwidth, run.bound) == (written, bandwidth, bench.bound_by("cpu"))

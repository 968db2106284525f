"""The chapter on speed shows what was recorded, and its counts are those of the formula."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nadam_ref import RULES, bench
from nadam_ref.book.cells import speed


def result(what: str, rule: str, path: str, parameters: int, median: float) -> bench.Result:
    k = bench.streams(RULES[rule])
    return bench.Result(what, rule, path, parameters, median, median, median, k * 1e-3, 4 * k * parameters)


@pytest.fixture
def run() -> speed.Recorded:
    """Of each rule a fused step at twice the floor, and torch's at six times; of Nadam every size and path."""
    results = [
        result("resnet50", rule, path, 10**6, times * bench.streams(RULES[rule]) * 1e-3)
        for rule in RULES
        for path, times in (("fused", 2), ("torch", 6), ("torch foreach", 5))
    ]
    for what, shapes in bench.SIZES.items():
        n = sum(int(np.prod(shape)) for shape in shapes)
        results += [result(what, "Nadam", path, n, n * 1e-9 * (i + 1)) for i, path in enumerate(speed.PATHS)]
    machine = {"device": "a CPU", "threads": 1, "capability": "AVX2", "flops": 5e10}
    return speed.Recorded(results, machine, {"torch": "2.13.0", "nadam_ref": "0.1.0"})


def test_operations_are_counted_by_hand() -> None:
    assert speed.operations("GD") == 2  # γ g, θ − that
    # m: two products and a sum; α m + γ g: three; n: ν n, g g, (1−ν) that, their sum; root, + ε, division, θ − that
    assert speed.operations("Nadam") == 3 + 3 + 4 + 4
    assert speed.intensity("Nadam") == pytest.approx(14 / 28)


def test_the_roof_is_bandwidth_and_peak(run: speed.Recorded) -> None:
    data = speed.roofline(run).data
    bandwidth = 12 * 10**6 / 3e-3  # the floor of k streams took k ms, so a.add_(b) took 3
    assert data["roof GFLOP/s"][0] == pytest.approx(0.05 * bandwidth / 1e9)
    assert data["roof GFLOP/s"][-1] == pytest.approx(50.0)
    x, y = data["Nadam fused: operations/byte, GFLOP/s"]
    assert (x, y) == (pytest.approx(0.5), pytest.approx(0.5 * bandwidth / 2 / 1e9))  # twice the floor: half the roof


def test_costs_are_nanoseconds_by_size_and_number(run: speed.Recorded) -> None:
    data = speed.cost(run).data
    assert list(data["ours, fused: parameters in one tensor"]) == [10.0**e for e in range(3, 9)]
    assert list(data["ours, fused: tensors that share a million parameters"]) == [1, 10, 100, 1000, 10000]
    assert data["torch's fused Adam: ns a parameter"] == pytest.approx([6.0] * 5)


def test_what_the_bench_writes_is_what_the_page_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = [result("resnet50", "Adam", "fused", 7, 1e-3)]
    content = {"machine": {"device": "d"}, "versions": {}, "results": [x._asdict() for x in written]}
    (tmp_path / "step.json").write_text(json.dumps(content))
    monkeypatch.setattr(speed, "folder", lambda name: {"bench": tmp_path}[name])
    assert speed.load("step").results == written

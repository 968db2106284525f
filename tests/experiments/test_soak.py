"""Sweeps under fire: processes killed, the disk full or slow, files damaged, the clock turned. Nothing is lost."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from soak import FAULTS, Round, Violation, content, damaged, soak

from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.runs.train import run

proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds a sweep's processes in /proc")


def test_fault_55_a_damaged_record_is_never_accepted(make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    """However it is damaged, the store has none, sets it aside and says so; the soak's own check refuses it."""
    store, spec, chance = Store(tmp_path), make_spec(), random.Random(1)
    store.put(run(spec))
    path = store.path(spec)
    whole, same = path.read_bytes(), content(path)
    for number in range(1, 200):
        path.write_bytes(damaged(whole, chance))
        with pytest.raises(Violation):
            content(path)
        with pytest.warns(UserWarning, match=rf"^{path.name} is damaged \(.*\); moved to [^\n]+$"):
            assert store.get(spec) is None
        assert len(list(tmp_path.glob("damaged/*"))) == number and not path.exists()
    path.write_bytes(whole)
    assert store.get(spec) is not None and content(path) == same


@proc
@pytest.mark.slow
def test_fault_48_49_50_53_55_91_100_102_a_sweep_that_meets_every_fault(tmp_path: Path) -> None:
    counts = {name: Counter[str]() for name in ("faults", "ends", "totals")}
    undisturbed = Round(tmp_path / "undisturbed", random.Random(1), counts)
    assert undisturbed.ended(0) == 0
    counts["totals"].clear()
    chance = random.Random(2)
    one = Round(tmp_path / "one", chance, counts)
    one.run(undisturbed.store, chance.sample(list(FAULTS), len(FAULTS)), drag=0.2)
    assert set(counts["faults"]) == set(FAULTS) and counts["faults"].total() > len(FAULTS) // 2
    assert counts["totals"]["asked"] == 80 and counts["totals"]["lost"] == 0


@proc
@pytest.mark.soak
def test_fault_48_49_50_53_55_91_100_102_minutes_under_fire() -> None:
    account = soak(300, seed=int(time.time()))
    assert account["totals"]["asked"] > 0 == account["totals"]["lost"], account

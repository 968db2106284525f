"""Sweeps: what is stored is not run again, workers give bitwise the same curves, a death costs one run."""

import multiprocessing
import os
import signal
import time

import pytest

from nadam_ref.experiments.records import Store
from nadam_ref.experiments.sweep import SweepError, sweep
from nadam_ref.experiments.train import run


def children():
    return multiprocessing.active_children()


def test_a_worker_gives_bitwise_what_this_process_gives_and_the_store_is_used(make_spec, tmp_path):
    specs = [make_spec(name, seed=seed) for name in ("Nadam", "GD", "AdaMax") for seed in (0, 1)]
    seen = []
    store = Store(tmp_path)
    store.put(run(specs[3]))
    records = sweep([*specs, specs[0]], store, workers=2, progress=lambda *event: seen.append(event))
    assert [record.spec for record in records] == [*specs, specs[0]]
    for record in records:
        here = run(record.spec)
        assert record.curves == here.curves and record.metrics == here.metrics
    assert [(done, total) for done, total, _ in seen] == [(i, 6) for i in range(1, 7)]
    assert seen[0][2].spec == specs[3]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert sweep(reversed(specs), store) == records[5::-1]
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} and len(before) == 6
    assert children() == []


def test_fault_48_sigkill_of_a_worker_costs_its_run_only(make_spec, tmp_path):
    long = make_spec(steps=100_000)
    specs = [make_spec(), long, make_spec(seed=1)]

    def kill_during_the_long_run(done, total, record):
        if record.spec == specs[0]:
            time.sleep(0.2)
            (child,) = children()
            os.kill(child.pid, signal.SIGKILL)

    store = Store(tmp_path)
    records = sweep(specs, store, progress=kill_during_the_long_run)
    assert [record.status for record in records] == ["finished", "crashed", "finished"]
    assert "exit code -9" in records[1].reason
    assert store.get(long) is None and store.get(specs[2]) == records[2]
    assert children() == []


def test_a_run_that_cannot_be_made_names_itself_and_keeps_what_was_done(make_spec, tmp_path):
    store = Store(tmp_path)
    with pytest.raises(
        SweepError, match=r"run of Nadam with lr 0\.01 and seed 3 failed: ValueError: batch 9999"
    ) as error:
        sweep([make_spec(), make_spec(seed=3, batch=9999), make_spec(seed=1)], store)
    assert "images.py" in str(error.value.__cause__)  # the worker's traceback
    assert store.get(make_spec()) is not None
    assert children() == []


def test_interrupting_ends_the_workers(make_spec, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep([make_spec(), make_spec(steps=100_000)], Store(tmp_path), progress=interrupt)
    assert children() == [] and Store(tmp_path).get(make_spec()) is not None


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_positive(make_spec, tmp_path, workers):
    with pytest.raises(ValueError, match=f"at least 1, not {workers}"):
        sweep([make_spec()], Store(tmp_path), workers=workers)


def test_nothing_to_do_starts_nothing(tmp_path):
    assert sweep([], Store(tmp_path), workers=2) == []

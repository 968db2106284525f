"""Sweeps: what is stored is not run again, workers give bitwise the same curves, what goes wrong costs one run."""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from distributed import KilledWorker, LocalCluster
from specs import saved_after

from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.protocol.definition import load, profile_of
from nadam_ref.experiments.runs import checkpoints, locks
from nadam_ref.experiments.runs import driver as engine
from nadam_ref.experiments.runs import executor as on_dask
from nadam_ref.experiments.runs.driver import Control
from nadam_ref.experiments.runs.executor import SweepError, executor
from nadam_ref.experiments.runs.locks import Claims
from nadam_ref.experiments.runs.record import RecordError
from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.runs.sweep import sweep
from nadam_ref.experiments.runs.train import run

LONG = 1_000_000  # steps: hours


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers, shared by the tests that do not kill them for good."""
    with executor(2) as found:
        yield found


def changed(folder: Any) -> Any:
    return {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}


def pids(client: Any) -> Any:
    return list(client.run(os.getpid).values())


def when_busy(client: Any, action: Any) -> Any:
    """Do something, once, in another thread, as soon as a worker has been at work for a moment."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any(client.processing().values()):
            time.sleep(0.05)
        time.sleep(0.5)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


# ---------------------------------------------------------------- the same bits everywhere


def test_a_sweep_with_workers_of_its_own_gives_bitwise_what_this_process_gives(
    make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    specs = [make_spec(name, seed=seed) for name in ("Nadam", "GD", "AdaMax") for seed in (0, 1)]
    seen = []
    store = Store(tmp_path)
    store.put(run(specs[3]))
    before_all = multiprocessing.active_children()
    records = sweep([*specs, specs[0]], store, workers=2, progress=lambda *event: seen.append(event))
    assert [record.spec for record in records] == [*specs, specs[0]]
    for record in records:
        here = run(record.spec)
        assert record.outcome_sha256 == here.outcome_sha256 and record.curves == here.curves
    assert [(done, total) for done, total, _ in seen] == [(i, 6) for i in range(1, 7)]
    assert seen[0][2].spec == specs[3]
    before = changed(tmp_path)
    assert sweep(reversed(specs), store) == records[5::-1]
    assert changed(tmp_path) == before and len(before) == 6
    assert multiprocessing.active_children() == before_all


@pytest.mark.parametrize("task", load().tasks)
def test_every_task_gives_the_same_bits_in_a_worker(client: Any, tmp_path: Path, task: Any) -> None:
    (name, *_) = profile_of(task, "smoke").data
    specs = [x for x in planning.specs("smoke", name, task) if (x.optimizer, x.seed) == ("Nadam", 1000)][::4]
    for record in sweep(specs, Store(tmp_path), client=client):
        assert (record.status, record.outcome_sha256) == ("finished", run(record.spec).outcome_sha256)


def test_a_scheduler_that_runs_already_gives_the_same_bits(make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    specs = [make_spec(seed=seed) for seed in range(3)]
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        executor(scheduler=cluster.scheduler_address) as client,
    ):
        records = sweep(specs, Store(tmp_path), client=client)
    assert [record.outcome_sha256 for record in records] == [run(spec).outcome_sha256 for spec in specs]


def test_fault_61_workers_have_one_thread(client: Any) -> None:
    assert set(client.nthreads().values()) == {1}
    assert set(client.run(os.environ.get, "OMP_NUM_THREADS").values()) == {"1"}
    assert set(client.run(torch.get_num_threads).values()) == {1}


# ---------------------------------------------------------------- what goes wrong


def test_fault_48_sigkill_of_a_worker_costs_nothing_but_time(make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    specs = [make_spec(steps=300), make_spec(seed=1)]
    with executor(1) as client:
        killer = when_busy(client, lambda: os.kill(pids(client)[0], signal.SIGKILL))
        records = sweep(specs, Store(tmp_path), client=client)
        killer.join()
    assert [record.status for record in records] == ["finished"] * 2
    assert [record.outcome_sha256 for record in records] == [run(spec).outcome_sha256 for spec in specs]


def test_a_worker_that_is_slow_to_come_back_is_replaced(
    make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may take longer to start than Dask waits, and a sweep without workers would wait for ever."""
    specs, records = [make_spec(steps=300), make_spec(seed=1)], []
    monkeypatch.setitem(on_dask.LOCAL, "distributed.deploy.lost-worker-timeout", "10ms")
    with executor(1) as client:
        killer = when_busy(client, lambda: os.kill(pids(client)[0], signal.SIGKILL))
        sweeper = threading.Thread(target=lambda: records.extend(sweep(specs, Store(tmp_path), client=client)))
        sweeper.start()
        sweeper.join(60)
        killer.join()
    assert [record.status for record in records] == ["finished"] * 2


@pytest.mark.slow
def test_fault_60_a_run_that_kills_its_worker_three_times_is_a_row_and_the_rest_goes_on(
    make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    deadly, harmless = make_spec(steps=LONG), make_spec()
    store, done = Store(tmp_path), threading.Event()
    with executor(1) as client:

        def kill_while_busy() -> None:
            while not done.is_set():
                busy = any(deadly.id in key for keys in client.processing().values() for key in keys)
                if busy:
                    for pid in client.run(os.getpid, on_error="ignore").values():
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.3)

        killer = threading.Thread(target=kill_while_busy)
        killer.start()
        try:
            records = sweep([deadly, harmless], store, client=client)
        finally:
            done.set()
            killer.join()
        assert [record.status for record in records] == ["crashed", "finished"]
        assert records[0].reason == "its worker process died 3 times"
        assert store.get(deadly) == records[0]
        # Asked for again it is tried again, after those that are new.
        asked = []
        monitor = Control(deadline=time.monotonic() + 5)
        new = make_spec(seed=7)
        sweep([deadly, new], store, client=client, control=monitor, progress=lambda *x: asked.append(x[2].spec))
        assert asked == [new]


@pytest.mark.parametrize(("allowed", "deaths"), [(on_dask.DEATHS - 1, 3), (9, 10)])
def test_fault_60_a_crashed_run_says_how_often_its_worker_died_on_that_scheduler(
    allowed: int, deaths: int, make_spec: Callable[..., RunSpec]
) -> None:
    killed = KilledWorker("key", None, allowed)
    (record,) = engine._answer(SimpleNamespace(status="error", exception=lambda timeout: killed), (make_spec(),))
    assert (record.status, record.reason) == ("crashed", f"its worker process died {deaths} times")


def test_a_run_that_raises_is_a_row_with_its_reason_and_the_rest_goes_on(
    client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    specs = [make_spec(), make_spec(seed=3, batch=9999), make_spec(seed=1)]
    records = sweep(specs, store, client=client)
    assert [record.status for record in records] == ["finished", "crashed", "finished"]
    assert records[1].reason.startswith("ValueError: batch 9999 does not fit")
    assert "tasks/base.py" in records[1].provenance["traceback"]
    assert list(store) == sorted(records, key=lambda record: record.spec.id)


def test_fault_36_the_limit_reaches_the_workers(client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    (record,) = sweep([make_spec(steps=LONG)], Store(tmp_path), client=client, limit_seconds=0.3)
    assert record.status == "timeout"


def test_fault_51_a_run_that_another_driver_makes_is_left_to_it(
    client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    """The other driver is another process: it holds the claim, then stores the record, then lets go."""
    spec, free = make_spec(), make_spec(seed=1)
    theirs = run(spec)
    context = multiprocessing.get_context("spawn")
    go, ready = context.Event(), context.Event()
    other = context.Process(target=hold_and_store, args=(tmp_path, theirs, ready, go))
    other.start()
    assert ready.wait(60)
    seen = []

    def progress(done: Any, total: Any, record: Any) -> None:
        seen.append(record)
        if record.spec == free:
            go.set()  # only now may the other one finish

    records = sweep([spec, free], Store(tmp_path), client=client, progress=progress)
    other.join()
    assert [record.spec for record in seen] == [free, spec]
    assert records[0] == theirs  # down to the time at which it was made


def hold_and_store(folder: Any, record: Any, ready: Any, go: Any) -> None:
    with Claims(folder) as claims:
        assert claims.take(record.spec)
        ready.set()
        assert go.wait(60)
        Store(folder).put(record)
        claims.drop(record.spec)


@pytest.mark.parametrize("code", ["ENOLCK", "ENOSYS", "ENOTSUP", "EINVAL"])
def test_fault_91_a_file_system_without_locks_is_named_once_and_the_sweep_goes_on(
    client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """NFS without lockd, Lustre without -o flock."""

    def lockf(*_: Any) -> None:
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "lockf", lockf)
    monkeypatch.setattr(locks, "_lockless", set())
    specs = [make_spec(seed=seed) for seed in range(3)]
    with pytest.warns(
        UserWarning, match="locks no files .*: two sweeps on this store may make the same run twice"
    ) as seen:
        records = sweep(specs, Store(tmp_path), client=client)
    assert len(seen) == 1
    records += sweep([more := make_spec(seed=3)], Store(tmp_path), client=client)  # as the next stage of a command
    assert [record.outcome_sha256 for record in records] == [run(spec).outcome_sha256 for spec in (*specs, more)]


def test_fault_91_two_sweeps_of_one_process_exclude_each_other_and_keep_their_locks(
    make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    """POSIX locks belong to a process, and all of them go when it closes the file once."""
    ours, theirs = make_spec(), make_spec(seed=1)
    with Claims(tmp_path) as first:
        with Claims(tmp_path) as second:
            assert first.take(ours) and not second.take(ours)
            assert second.take(theirs) and not first.take(theirs)
        assert first.take(theirs)  # with its sweep the claim ends
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(can_take, (tmp_path, ours)) is False
        first.drop(ours)
        with Claims(tmp_path) as third:
            assert third.take(ours)


def can_take(folder: Any, spec: Any) -> Any:
    with Claims(folder) as claims:
        return claims.take(spec)


class Shown:
    """What a future showed before its worker left."""

    def __init__(self, future: Any) -> None:
        self.status, self.result = future.status, future.result


@pytest.mark.parametrize("seen", [Shown, lambda future: future], ids=["hang", "lost"])
def test_fault_92_a_result_whose_worker_leaves_with_it_is_made_again(
    make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: Any
) -> None:
    """As a worker's lifetime makes it, before the driver has read that the run is finished, and after."""
    specs, answer = [make_spec(), make_spec(seed=1)], engine._answer

    async def leave(dask_worker: Any) -> None:
        dask_worker.loop.add_callback(dask_worker.close_gracefully, restart=False)

    with executor(1) as client:

        def late(future: Any, job: Any) -> Any:
            monkeypatch.setattr(engine, "_answer", answer)  # once
            shown = seen(future)
            client.run(leave)
            while client.nthreads():
                time.sleep(0.05)
            return answer(shown, job)

        monkeypatch.setattr(engine, "HANDOVER_SECONDS", 0.5)
        monkeypatch.setattr(engine, "_answer", late)
        with pytest.warns(UserWarning, match=rf"run {specs[0].id[:12]} \(images Nadam lr 0\.01 seed 0\) was lost"):
            records = sweep(specs, Store(tmp_path), client=client)
    assert [record.outcome_sha256 for record in records] == [run(spec).outcome_sha256 for spec in specs]


class Future:
    """A future of Dask's that stays as it is."""

    def __init__(self, status: Any) -> None:
        self.status = status

    def result(self, timeout: Any) -> None:
        raise TimeoutError

    def add_done_callback(self, fn: Any) -> None:
        fn(self)


@pytest.fixture
def driver(client: Any, tmp_path: Path) -> Iterator[Any]:
    with Claims(tmp_path) as claims:
        yield engine.Driver(client, Store(tmp_path), claims, Control(), None)


def test_fault_92_a_result_that_is_lost_again_and_again_is_a_row(
    driver: Any, make_spec: Callable[..., RunSpec]
) -> None:
    spec, future = make_spec(), Future("finished")
    driver.running[future] = (spec,)
    with pytest.warns(UserWarning, match="was lost"):
        found = [x for _ in range(on_dask.DEATHS * engine.LATE) for x in driver._receive(future)]
    assert [record.status for record in found] == ["crashed"] and "its result was lost 3 times" in found[0].reason
    assert not driver.running and Store(driver.store.folder).get(spec) == found[0]


def test_fault_92_a_scheduler_without_workers_is_waited_for_but_not_for_ever(
    make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENT_SECONDS", 0.2)
    monkeypatch.setattr(engine, "WORKERLESS_SECONDS", 1.0)
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as cluster,
        executor(scheduler=cluster.scheduler_address) as client,
        pytest.warns(UserWarning, match="waiting for a worker: .* start one with `dask worker tcp://") as seen,
        pytest.raises(SweepError, match=rf"{cluster.scheduler_address} has had no worker for 1 s; start one"),
    ):
        sweep([make_spec()], Store(tmp_path), client=client)
    assert len(seen) == 1


def test_fault_92_a_scheduler_that_goes_or_is_silent_ends_the_sweep(
    driver: Any, client: Any, make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.running[future := Future("cancelled")] = (make_spec(),)
    with pytest.raises(SweepError, match="scheduler was lost"):
        list(driver._receive(future))

    async def silent() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(client, "nthreads", silent)
    monkeypatch.setattr(engine, "DEAF_SECONDS", 0.05)
    driver._look()
    driver.clock.seconds += engine.SILENT_SECONDS + 1
    with pytest.raises(SweepError, match=rf"scheduler at {client.scheduler.address} does not answer"):
        driver._look()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="processes cannot be suspended here")
def test_fault_92_a_worker_that_hangs_is_left_when_the_sweep_is_to_stop_and_replaced_when_not(
    make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, control = make_spec(steps=200), Control()
    monkeypatch.setattr(engine, "DEAF_SECONDS", 1.0)
    with executor(1) as client:

        def hang() -> None:
            os.kill(pids(client)[0], signal.SIGSTOP)
            control.stop = True

        with monkeypatch.context() as patch, pytest.warns(UserWarning, match="did not stop in time"):
            patch.setattr(engine, "SAVING_SECONDS", 1.0)
            stopper = when_busy(client, hang)
            assert sweep([make_spec(steps=LONG)], Store(tmp_path), client=client, control=control) == []
            stopper.join()
        monkeypatch.setattr(engine, "HUNG_SECONDS", 8.0)
        (record,) = sweep([spec], Store(tmp_path), client=client)
    assert record.outcome_sha256 == run(spec).outcome_sha256


def test_fault_100_a_machine_that_was_asleep_has_waited_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(engine.time, "monotonic", lambda: now[0])
    clock = engine.Clock()
    for now[0] in (1.0, 2.0, 9000.0, 9001.0):
        clock.tick()
    assert clock.seconds == 3 + 2 * engine.DEAF_SECONDS


@pytest.mark.parametrize(
    ("hours", "back"), [((0, 5, 5), 0), ((0, 0, -0.01), 36), ((0, -1), 3600), ((0, 9, 3), 6 * 3600)]
)
def test_fault_100_a_clock_that_is_turned_back_ends_the_sweep(
    driver: Any, monkeypatch: pytest.MonkeyPatch, hours: Any, back: int
) -> None:
    """Dask, whose deadlines are times of day, would send nothing until they have come."""
    *before, last = hours
    ahead = [0.0]
    monkeypatch.setattr(engine, "time", SimpleNamespace(time=lambda: time.time() + ahead[0], monotonic=time.monotonic))
    for ahead[0] in (3600 * x for x in before):
        driver._look()
    ahead[0] = 3600 * last
    if back > engine.BACK_SECONDS:
        with pytest.raises(SweepError, match=f"went back by {back:,} s.*give the same command again"):
            driver._look()
    else:
        driver._look()


def test_fault_53_disk_full_ends_the_sweep_and_nothing_finished_is_lost(
    client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs, store = [make_spec(seed=seed) for seed in range(4)], Store(tmp_path)
    sweep(specs[:2], store, client=client)
    before = changed(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RecordError, match=r"No space left on device.*same command"):
            sweep(specs, store, client=client)
    assert changed(tmp_path) == before and not list(tmp_path.glob(".*.part"))
    assert len(sweep(specs, store, client=client)) == 4
    assert before.items() <= changed(tmp_path).items()


def test_fault_54_a_store_that_cannot_be_written_to_is_refused_before_the_first_run(
    client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match=r"cannot write to the store .*; name another folder"):
        sweep([make_spec(steps=LONG)], Store(tmp_path / "file" / "store"), client=client)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_fault_54_a_read_only_store_can_be_read(client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    sweep([make_spec()], store, client=client)
    store.folder.chmod(0o500)
    assert len(sweep([make_spec()], store, client=client)) == 1
    with pytest.raises(RecordError, match="Permission denied"):
        sweep([make_spec(seed=1)], store, client=client)


def test_a_gpus_job_is_a_batch_of_replicas_and_a_cpus_is_one_run(make_spec: Callable[..., RunSpec]) -> None:
    on_cpu = [make_spec(seed=seed) for seed in range(3)]
    on_gpu = [make_spec(name, seed=seed, device="cuda") for name in ("GD", "Adam") for seed in range(40)]
    jobs = engine.jobs([*on_gpu, *on_cpu])
    assert [len(job) for job in jobs] == [1, 1, 1, 32, 8, 32, 8]
    assert all({spec.device for spec in job} == {"cuda"} for job in jobs if len(job) > 1)


# ---------------------------------------------------------------- ending early


def test_fault_58_finish_begins_no_more_runs_and_the_next_sweep_does_the_rest(
    client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    specs, store, control = [make_spec(seed=seed) for seed in range(8)], Store(tmp_path), Control()

    def progress(*_: Any) -> None:
        control.finish = True

    first = sweep(specs, store, client=client, control=control, progress=progress)
    assert 1 <= len(first) <= 3 and len(list(store)) == len(first)
    before = changed(tmp_path)
    assert len(sweep(specs, store, client=client)) == 8
    assert before.items() <= changed(tmp_path).items()


def test_fault_59_stop_leaves_a_checkpoint_from_which_the_run_goes_on_to_the_same_bits(
    client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    spec, store, control = make_spec(steps=1000, evaluate_every=500), Store(tmp_path), Control()

    def stop() -> None:
        control.stop = True

    stopper = when_busy(client, stop)
    assert sweep([spec], store, client=client, control=control) == []
    stopper.join()
    (saved,) = (tmp_path / "checkpoints").iterdir()
    assert 0 < checkpoints.load(saved, spec.id)["step"] < 1000
    (record,) = sweep([spec], store, client=client)
    assert record.outcome_sha256 == run(spec).outcome_sha256
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize("steps", [5, 8])
def test_fault_49_53_a_checkpoint_stays_until_the_record_is_stored(
    client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Saved in mid-run and at its end. The worker has finished the run, and the driver's disk is full."""
    spec, store = make_spec(steps=7), Store(tmp_path)
    path = saved_after(steps, spec, store)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(RecordError, match="No space left on device"):
        patch.setattr(os, "fsync", full)
        sweep([spec], store, client=client)
    assert path.exists()
    (record,) = sweep([spec], store, client=client)
    assert record.outcome_sha256 == run(spec).outcome_sha256
    assert not path.exists()


def test_fault_36_a_run_that_took_too_long_goes_on_from_its_checkpoint(
    client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    spec, store = make_spec(steps=7), Store(tmp_path)
    path = saved_after(5, spec, store)
    (late,) = sweep([spec], store, client=client, limit_seconds=1e-9)
    assert (late.status, late.step) == ("timeout", 6) and path.exists()
    (record,) = sweep([spec], store, client=client)
    assert record.outcome_sha256 == run(spec).outcome_sha256 and not path.exists()


def test_fault_49_a_sweep_that_is_killed_as_it_stores_a_record_leaves_no_checkpoint_for_good(
    make_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    spec, other, store = make_spec(), make_spec(seed=1), Store(tmp_path / "store")
    store.put(run(spec))
    gone, stays = saved_after(1, spec, store), saved_after(1, other, store)
    sweep([spec], store)
    assert not gone.exists() and stays.exists()
    elsewhere = (store.folder / "checkpoints").rename(tmp_path / "elsewhere")
    (store.folder / "checkpoints").symlink_to(elsewhere)
    left = saved_after(1, spec, store)
    sweep([spec], store)
    assert left.exists()


def test_a_deadline_stops_the_running_ones(client: Any, make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    started = time.monotonic()
    assert sweep([make_spec(steps=LONG)], Store(tmp_path), client=client, control=Control(deadline=started + 1)) == []
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_interrupting_ends_the_workers(make_spec: Callable[..., RunSpec], tmp_path: Path) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        sweep([make_spec(), make_spec(steps=LONG)], Store(tmp_path), progress=interrupt)
    assert set(multiprocessing.active_children()) <= before and Store(tmp_path).get(make_spec()) is not None


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_positive(make_spec: Callable[..., RunSpec], tmp_path: Path, workers: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, not {workers}"):
        sweep([make_spec()], Store(tmp_path), workers=workers)


def test_nothing_to_do_starts_nothing(tmp_path: Path) -> None:
    assert sweep([], Store(tmp_path), workers=2) == []

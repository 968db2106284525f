"""Many runs on Dask: skip those the store has, make the others in worker processes of one thread each."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import dask
from distributed import Client, Future, KilledWorker, LocalCluster

from . import worker
from .records import FAILED, Record, RecordError, RunSpec, Store
from .replicated import group
from .train import failed

try:
    import fcntl
except ImportError:  # Windows: two drivers on one store may then make the same run twice; nothing is lost
    fcntl = None  # type: ignore[assignment]

__all__ = ["Control", "SweepError", "executor", "sweep"]

Progress = Callable[[int, int, Record], None]

#: A run whose worker process dies this often is given up as `crashed`.
DEATHS = 3

#: Runs that a GPU makes side by side.
REPLICAS = 32

#: How long a scheduler may take to answer.
ANSWER_SECONDS = 10.0


class SweepError(RuntimeError):
    """No worker could be reached. What was finished before is in the store."""


@dataclass
class Control:
    """How a sweep is asked to end before its time, from a signal handler or another thread.

    `finish`: begin no more runs. `stop`: also stop the running ones at their next step, with a checkpoint.
    `deadline`: `time.monotonic()` at which to stop.
    """

    finish: bool = False
    stop: bool = False
    deadline: float | None = None

    def check(self) -> None:
        """Turn a deadline that has passed into `stop`."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            self.stop = True


@contextlib.contextmanager
def executor(workers: int = 1, scheduler: str | None = None, *, nice: int = 0) -> Iterator[Client]:
    """A client of the Dask scheduler at an address, or of a cluster of `workers` processes on this machine.

    For several calls of `sweep`. `nice`: niceness of the processes, where there is such a thing; those of a scheduler
    keep their own. Raises `ValueError` for workers < 1, `SweepError` where no scheduler answers.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=ANSWER_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SweepError(f"no Dask scheduler answers at {scheduler}: {error}") from error
        with client:
            yield client
        return
    settings = {
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        "distributed.scheduler.worker-ttl": None,  # a machine that was asleep has lost no worker
        "distributed.worker.multiprocessing-method": "spawn",
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.CRITICAL,
            preload=[worker.__name__],
            env={worker.NICENESS: str(nice)},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


class _Claims:
    """Which runs a driver is making, so that two drivers on one store share the work: a byte lock for each run.

    The locks of a process vanish with it, whatever ends it.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = (folder / ".running").open("ab")
        except OSError as error:
            raise RecordError(f"cannot write to the store {folder}: {error.strerror}; name another folder") from error

    def __enter__(self) -> _Claims:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def take(self, spec: RunSpec) -> bool:
        """Claim a run; False where another process has."""
        if fcntl is not None:
            try:
                fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(spec.id[:15], 16))
            except (BlockingIOError, PermissionError):
                return False
        return True

    def drop(self, spec: RunSpec) -> None:
        """Give a claim back."""
        if fcntl is not None:
            fcntl.lockf(self.file, fcntl.LOCK_UN, 1, int(spec.id[:15], 16))


Job = tuple[RunSpec, ...]


def _jobs(specs: Sequence[RunSpec]) -> deque[Job]:
    """What one worker makes at a time: a run on a CPU, a batch of replicas on a GPU."""
    ones = [(spec,) for spec in specs if spec.device == "cpu"]
    return deque(ones + group([spec for spec in specs if spec.device != "cpu"], REPLICAS))


class _Driver:
    """Hands the runs that are missing to a Dask client, one job a thread of its workers, and stores what comes back."""

    def __init__(self, client: Client, store: Store, claims: _Claims, control: Control, limit: float | None) -> None:
        self.client, self.store, self.claims, self.control, self.limit = client, store, claims, control, limit
        self.name = uuid.uuid4().hex
        self.running: dict[Future, Job] = {}
        self.answers: SimpleQueue[Future] = SimpleQueue()

    def records(self, specs: Sequence[RunSpec]) -> Generator[Record]:
        """Records as they come, in any order."""
        queue = _jobs(specs)
        while queue or self.running:
            self.control.check()
            if self.control.finish or self.control.stop:
                queue.clear()
            if self.control.stop:
                self.stop()  # again and again: a worker that replaces another has not heard it
            yield from self._submit(queue)
            with contextlib.suppress(Empty):
                future = self.answers.get(timeout=0.2)
                job = self.running.pop(future)
                for found in _answer(future, job):
                    self.store.put(found)
                    yield found
                for spec in job:
                    self.claims.drop(spec)

    def _submit(self, queue: deque[Job]) -> Iterator[Record]:
        """Fill the workers. Runs that another driver has finished meanwhile are handed on; those it is making wait."""
        threads = self.client.nthreads()
        self._replace_lost(len(threads))
        free = max(1, sum(threads.values())) - len(self.running)
        for _ in range(len(queue)):
            if free <= 0:
                return
            job = queue.popleft()
            claimed = tuple(spec for spec in job if self.claims.take(spec))
            if elsewhere := tuple(spec for spec in job if spec not in claimed):
                queue.append(elsewhere)
            made = {spec: kept for spec in claimed if (kept := self.store.get(spec)) and kept.status not in FAILED}
            for spec, kept in made.items():
                self.claims.drop(spec)
                yield kept
            if left := tuple(spec for spec in claimed if spec not in made):
                self._begin(left)
                free -= 1

    def _replace_lost(self, workers: int) -> None:
        """Open workers of a cluster on this machine anew: Dask gives up one that does not come back within seconds."""
        cluster = self.client.cluster
        if isinstance(cluster, LocalCluster) and workers < len(cluster.worker_spec):
            cluster.scale(len(cluster.worker_spec))

    def _begin(self, job: Job) -> None:
        checkpoint = (self.store.folder / "checkpoints" / f"{job[0].id}.pt").absolute()
        key = f"{job[0].id}-{self.name}"
        future = self.client.submit(worker.work, job, self.name, checkpoint, self.limit, key=key, pure=False)
        self.running[future] = job
        future.add_done_callback(self.answers.put)

    def stop(self) -> None:
        """Have the running ones save themselves and stop."""
        if self.running:
            self.client.run(worker.stop, self.name, on_error="ignore")


def _answer(future: Future, job: Job) -> list[Record]:
    if future.status == "finished":
        answer: list[Record] = future.result()
        return answer
    if future.status == "error":
        error = future.exception()
        if isinstance(error, KilledWorker):
            return [failed(spec, "crashed", f"its worker process died {DEATHS} times") for spec in job]
        raise SweepError(f"a worker could not take run {job[0].id[:12]}: {error}") from error
    raise SweepError("the Dask scheduler was lost; run the same command again, what is finished is kept")


def sweep(
    specs: Iterable[RunSpec],
    store: Store,
    *,
    workers: int = 1,
    client: Client | None = None,
    progress: Progress | None = None,
    control: Control | None = None,
    limit_seconds: float | None = None,
) -> list[Record]:
    """Records of all `specs`, in their order; what the store has is not run again, unless it failed.

    `workers`: processes that run at once on this machine, one thread each; or `client`: what `executor` gives. Workers
    elsewhere must see the store's folder under the same path, to leave checkpoints there.
    `progress(done, total, record)` is called for every distinct run, the stored ones first.
    `control`: ends the sweep early; runs without a record are then left out of the result.
    `limit_seconds`: of wall-clock time for each run.

    Each record is stored as soon as it is there, so a sweep that was interrupted goes on where it stopped, and several
    sweeps may share a store. A run that raises, or whose worker dies three times, has status `crashed`.

    Raises `ValueError` for workers < 1, `SweepError` where no worker is to be had, `RecordError` as `Store.put`.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    ordered = list(specs)
    distinct = {spec.id: spec for spec in ordered}
    stored = {name: kept for name, spec in distinct.items() if (kept := store.get(spec)) is not None}
    records = {name: kept for name, kept in stored.items() if kept.status not in FAILED}
    for done, kept in enumerate(list(records.values()), start=1):
        if progress:
            progress(done, len(distinct), kept)
    missing = [spec for name, spec in distinct.items() if name not in records]
    missing.sort(key=lambda spec: spec.id in stored)  # those that failed before come last
    if missing:
        local = executor(min(workers, len(missing))) if client is None else contextlib.nullcontext(client)
        with _Claims(store.folder) as claims, local as found:
            driver = _Driver(found, store, claims, control or Control(), limit_seconds)
            try:
                for record in driver.records(missing):
                    records[record.spec.id] = record
                    if progress:
                        progress(len(records), len(distinct), record)
            finally:
                driver.stop()
    return [records[spec.id] for spec in ordered if spec.id in records]

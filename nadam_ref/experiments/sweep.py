"""Many runs: skip those the store has, make the others in spawned processes of one thread each."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from multiprocessing.connection import Connection, wait

from .records import Record, RunSpec, Store, provenance
from .train import run

Progress = Callable[[int, int, Record], None]


class SweepError(RuntimeError):
    """A run could not be made at all, or no worker process could start. What was finished before is in the store."""


def _work(connection: Connection) -> None:
    """The worker process: specs in, records (or a message and a traceback) out, until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    connection.send("ready")
    with contextlib.suppress(EOFError, OSError):
        while True:
            spec = connection.recv()
            try:
                connection.send(run(spec))
            except Exception as error:
                connection.send((f"{type(error).__name__}: {error}", traceback.format_exc()))


class _Worker:
    """A spawned process and the run it is busy with."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # so that the worker's death reads as the end of the connection

    def wait_until_ready(self) -> None:
        try:
            self.connection.recv()
        except (EOFError, OSError) as error:
            raise SweepError(
                "a worker process could not start; a script must call sweep under `if __name__ == '__main__':`"
            ) from error

    def give(self, spec: RunSpec) -> None:
        self.spec = spec
        with contextlib.suppress(OSError):  # a dead worker is noticed by `take`
            self.connection.send(spec)

    def take(self) -> Record:
        spec = self.spec
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            reason = f"its process ended with exit code {self.process.exitcode}"
            return Record(spec, "crashed", reason, 0, {}, {}, provenance(0.0))
        if isinstance(answer, Record):
            return answer
        message, trace = answer
        title = f"the run of {spec.optimizer} with lr {spec.lr:g} and seed {spec.seed} failed: {message}"
        raise SweepError(title) from RuntimeError(trace)

    def stop(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join()


def _execute(specs: list[RunSpec], workers: int) -> Generator[Record]:
    """Records as they come, in any order. A worker that dies costs its run only and is replaced."""
    queue = deque(specs)
    staff = [_Worker() for _ in range(min(workers, len(queue)))]
    try:
        for worker in staff:
            worker.wait_until_ready()
            worker.give(queue.popleft())
        busy = {worker.connection: worker for worker in staff}
        while busy:
            for connection in wait(list(busy)):
                worker = busy.pop(connection)  # type: ignore[call-overload]
                record = worker.take()
                if queue:
                    if record.status == "crashed":
                        staff.remove(worker)
                        worker = _Worker()
                        staff.append(worker)
                        worker.wait_until_ready()
                    worker.give(queue.popleft())
                    busy[worker.connection] = worker
                yield record
    finally:
        for worker in staff:
            worker.stop()


def sweep(
    specs: Iterable[RunSpec], store: Store, *, workers: int = 1, progress: Progress | None = None
) -> list[Record]:
    """Records of all `specs`, in their order; what the store has is not run again.

    `workers` processes run at once. Each record is stored as soon as it is there, so a sweep that was interrupted goes
    on where it stopped. A run whose process died has status `crashed` and is not stored: the next sweep tries it again.
    `progress(done, total, record)` is called for every distinct run, the stored ones first.

    Raises `ValueError` for workers < 1, `SweepError` where a run cannot be made, `RecordError` as `Store.put`.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    ordered = list(specs)
    distinct = {spec.id: spec for spec in ordered}
    records = {name: kept for name, spec in distinct.items() if (kept := store.get(spec)) is not None}
    if progress:
        for done, record in enumerate(list(records.values()), start=1):
            progress(done, len(distinct), record)
    missing = [spec for name, spec in distinct.items() if name not in records]
    with contextlib.closing(_execute(missing, workers)) as finished:
        for record in finished:
            if record.status != "crashed":
                store.put(record)
            records[record.spec.id] = record
            if progress:
                progress(len(records), len(distinct), record)
    return [records[spec.id] for spec in ordered]

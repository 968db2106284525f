"""The driver of a sweep: it hands runs to Dask's workers, stores what comes back, and sees what does not come."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import uuid
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from . import worker
from .batched import group
from .executor import DEATHS, Client, Future, KilledWorker, LocalCluster, SweepError
from .locks import Claims
from .log import unfinished
from .record import FAILED, Record
from .spec import RunSpec
from .store import Store
from .worker import Job

#: Runs that a GPU makes side by side.
REPLICAS = 32

#: How long a scheduler may be silent.
SILENT_SECONDS = 60.0

#: How long a question to it keeps a sweep from hearing that it is to stop.
DEAF_SECONDS = 2.0

#: How long a result may take to come, how often.
HANDOVER_SECONDS = 5.0
LATE = 12

#: After how long a worker on this machine that gives no sign of life is replaced: its process is stopped or stuck.
HUNG_SECONDS = 300.0

#: How far the time of day may go back: Dask has its deadlines by it, and sends nothing until they come round again.
BACK_SECONDS = 60.0

#: How long runs that are to stop may take to save themselves.
SAVING_SECONDS = 120.0

#: How long a sweep is without any worker before it says so, and before it gives up.
PATIENT_SECONDS = 10.0
WORKERLESS_SECONDS = 600.0


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


_AGAIN = "then give the same command again: what is finished is kept"


def jobs(specs: Sequence[RunSpec]) -> deque[Job]:
    """What one worker makes at a time: a run on a CPU, a batch of replicas on a GPU."""
    ones = [(spec,) for spec in specs if spec.device == "cpu"]
    return deque(ones + group([spec for spec in specs if spec.device != "cpu"], REPLICAS))


def _named(job: Job) -> str:
    """A job in words, by its first run."""
    spec = job[0]
    more = f" and {len(job) - 1} more" if len(job) > 1 else ""
    return f"run {spec.id[:12]} ({spec.task} {spec.optimizer} lr {spec.lr:g} seed {spec.seed}){more}"


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=6)  # where `sweep` was called, or near it


class Clock:
    """Seconds in which this process was running: not those in which it, or the machine, was suspended."""

    def __init__(self) -> None:
        self.seconds, self._last = 0.0, time.monotonic()
        self._ahead = -math.inf  # how far the time of day has been ahead of the seconds at most

    def tick(self) -> None:
        """To be called again and again."""
        now = time.monotonic()
        self.seconds += min(now - self._last, 2 * DEAF_SECONDS)
        self._last = now

    def back(self) -> float:
        """Seconds by which the time of day has gone back, since this was first asked."""
        ahead = time.time() - time.monotonic()
        self._ahead = max(self._ahead, ahead)
        return self._ahead - ahead


def checkpoint_of(store: Store, job: Job) -> Path:
    """Where a job is saved that is interrupted: under the name of its first run."""
    return (store.folder / "checkpoints" / f"{job[0].id}.pt").absolute()


class Driver:
    """Hands the runs that are missing to a Dask client, one job a thread of its workers, and stores what comes back.

    Its thread never waits long for Dask, so that it hears when it is to stop, and sees what does not come.
    """

    def __init__(self, client: Client, store: Store, claims: Claims, control: Control, limit: float | None) -> None:
        self.client, self.store, self.claims, self.control, self.limit = client, store, claims, control, limit
        self.name = uuid.uuid4().hex
        self.address = client.scheduler.address
        self.running: dict[Future, Job] = {}
        self.answers: SimpleQueue[Future] = SimpleQueue()
        self.losses: Counter[Job] = Counter()
        self.missing: set[Future] = set()  # results that were lost and are not made again yet
        self.late: Counter[Future] = Counter()  # how often a result was there and did not come
        self.clock = Clock()
        self.threads: dict[str, int] = {}  # by worker, as the scheduler said last
        self.heard = self.manned = 0.0  # when the scheduler last answered, and had a worker
        self.signs: dict[str, tuple[float, float]] = {}  # of life, and when they were seen, by worker
        self.stopping: float | None = None
        self.waiting = False

    def records(self, specs: Sequence[RunSpec]) -> Generator[Record]:
        """Records as they come, in any order."""
        queue = jobs(specs)
        while queue or self.running:
            self.clock.tick()
            self.control.check()
            if self.control.finish or self.control.stop:
                queue.clear()
            if self.control.stop and self._out_of_patience():
                return
            self._look()
            yield from self._submit(queue)
            yield from self._note_losses()
            with contextlib.suppress(Empty):
                yield from self._receive(self.answers.get(timeout=0.2))

    def _ask(self, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """What Dask answers. Raises `TimeoutError` where it does not in time."""

        async def answer() -> Any:
            return await call(*args, **more)  # in Dask's own thread, where a client's methods do not block

        try:
            return self.client.sync(answer, callback_timeout=DEAF_SECONDS)
        except Exception as error:  # whatever it is, there is no answer
            raise TimeoutError(str(error)) from error

    # ------------------------------------------------------------ workers

    def _look(self) -> None:
        """See which workers there are.

        Raises `SweepError` where there were none, or no scheduler, for too long, and where the clock has gone back.
        """
        now, back = self.clock.seconds, self.clock.back()
        if back > BACK_SECONDS:
            text = (
                f"the clock of this machine went back by {back:,.0f} s, and Dask would wait for as long; set it right"
            )
            raise SweepError(f"{text}, {_AGAIN}")
        try:
            self.threads = self._ask(self.client.nthreads)
        except TimeoutError:
            if now - self.heard > SILENT_SECONDS:
                raise SweepError(
                    f"the Dask scheduler at {self.address} does not answer; see that it runs, {_AGAIN}"
                ) from None
            return
        self.heard = now
        self._replace()
        if self.threads:
            self.manned = now
        start = f"start one with `dask worker {self.address}`"
        if now - self.manned > WORKERLESS_SECONDS:
            where = "this machine" if self.client.cluster else f"the Dask scheduler at {self.address}"
            raise SweepError(
                f"{where} has had no worker for {WORKERLESS_SECONDS:.0f} s; "
                f"{'free memory, or ask for fewer' if self.client.cluster else start}, {_AGAIN}"
            )
        if now - self.manned > PATIENT_SECONDS and not (self.client.cluster or self.waiting):
            self.waiting = True
            _warn(f"waiting for a worker: the Dask scheduler at {self.address} has none; {start}")

    def _replace(self) -> None:
        """On this machine: restart workers that hang, and reopen those that Dask gave up for coming back late."""
        cluster = self.client.cluster
        if not isinstance(cluster, LocalCluster):
            return
        if len(self.threads) < len(cluster.worker_spec):
            cluster.scale(len(cluster.worker_spec))
        for address, state in list(cluster.scheduler.workers.items()):
            sign, seen = self.signs.get(address, (None, 0.0))
            if sign != state.last_seen:
                self.signs[address] = state.last_seen, self.clock.seconds
            elif self.clock.seconds - seen > HUNG_SECONDS:
                del self.signs[address]
                with contextlib.suppress(TimeoutError):  # it is under way
                    self._ask(self.client.restart_workers, [address], raise_for_error=False)

    # ------------------------------------------------------------ runs

    def _submit(self, queue: deque[Job]) -> Iterator[Record]:
        """Fill the workers. Runs that another driver has finished meanwhile are handed on; those it is making wait."""
        free = max(1, sum(self.threads.values())) - len(self.running)
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

    def _begin(self, job: Job) -> None:
        checkpoint = checkpoint_of(self.store, job)
        key = f"{job[0].id}-{self.name}"
        future = self.client.submit(worker.work, job, self.name, checkpoint, self.limit, key=key, pure=False)
        self.running[future] = job
        future.add_done_callback(self.answers.put)

    def _receive(self, future: Future) -> Iterator[Record]:
        if future not in self.running:
            return
        answer = _answer(future, self.running[future])
        if answer is not None:
            yield from self._done(future, answer)
            return
        future.add_done_callback(self.answers.put)
        self.late[future] += future.status == "finished"
        if self.late[future] >= LATE:
            del self.late[future]
            yield from self._lost(future)

    def _done(self, future: Future, answer: list[Record]) -> Iterator[Record]:
        job = self.running.pop(future)
        for record in answer:
            self.store.put(record)
        worker.forget(job, checkpoint_of(self.store, job), answer)
        yield from answer
        for spec in job:
            self.claims.drop(spec)

    def _note_losses(self) -> Iterator[Record]:
        """See whose worker has left before it handed the result over. Dask makes such a run again by itself."""
        missing = {future for future in self.running if future.status == "lost"}
        for future in missing - self.missing:
            yield from self._lost(future)
        self.missing = missing

    def _lost(self, future: Future) -> Iterator[Record]:
        job = self.running[future]
        self.losses[job] += 1
        if self.losses[job] >= DEATHS:
            reason = f"its result was lost {DEATHS} times: the worker left before it handed it over"
            yield from self._done(future, [unfinished(spec, "crashed", reason) for spec in job])
        else:
            _warn(f"the result of {_named(job)} was lost: its worker left before it handed it over; it is made again")

    # ------------------------------------------------------------ the end

    def stop(self) -> None:
        """Have the running ones save themselves and stop."""
        if self.running:
            with contextlib.suppress(TimeoutError):
                self._ask(self.client.run, worker.stop, self.name, on_error="ignore")

    def close(self) -> None:
        """Have the running ones stop, and the scheduler forget them."""
        self.stop()
        if self.running:
            with contextlib.suppress(TimeoutError):
                self._ask(self.client.cancel, list(self.running))

    def _out_of_patience(self) -> bool:
        """Ask the running ones to stop, again and again: a worker that replaces another has not heard it."""
        if self.stopping is None:
            self.stopping = self.clock.seconds
        if self.clock.seconds - self.stopping > SAVING_SECONDS:
            names = ", ".join(map(_named, self.running.values()))
            _warn(f"did not stop in time, and may not be saved: {names}")
            return True
        self.stop()
        return False


def _answer(future: Future, job: Job) -> list[Record] | None:
    """What a job gave; None where its worker has left with it, or does not hand it over in time."""
    try:
        if future.status == "finished":
            answer: list[Record] = future.result(timeout=HANDOVER_SECONDS)
            return answer
        if future.status == "error":
            raise future.exception(timeout=HANDOVER_SECONDS)
    except (TimeoutError, asyncio.TimeoutError):
        return None
    except KilledWorker as error:
        deaths = error.allowed_failures + 1  # `DEATHS`, but where a person's own scheduler has its own settings
        return [unfinished(spec, "crashed", f"its worker process died {deaths} times") for spec in job]
    except Exception as error:
        if future.status != "cancelled":
            raise SweepError(f"a worker could not take {_named(job)}: {error}") from error
    if future.status == "cancelled":
        raise SweepError(f"the Dask scheduler was lost; see that it runs, {_AGAIN}")
    return None

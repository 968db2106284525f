"""What a worker process of a sweep does: one run at a time, with checkpoints, until it is asked to stop."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from .batched import identity, run_together
from .checkpoints import Saver, resumed
from .log import unfinished
from .record import FAILED, Record
from .resources import is_out_of_memory
from .spec import RunSpec
from .train import run
from .training import InProgress

#: Environment variable with the niceness of a worker process.
NICENESS = "NADAM_REF_NICENESS"

#: What a worker makes at a time.
Job = tuple[RunSpec, ...]

_stopped: set[str] = set()


class _StoppedError(Exception):
    """The run was asked to stop; it has left a checkpoint."""


def dask_setup(dask_worker: Any) -> None:
    """Called by Dask as a worker process starts on this machine: Ctrl-C is the driver's to handle, and other work comes
    first. Warnings are one line, as the driver's are. The workers take the GPUs in turn.
    """
    warnings.showwarning = lambda message, *_: print(f"nadam-ref: {message}", file=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if NICENESS in os.environ and hasattr(os, "nice"):  # not on Windows
        os.nice(max(0, int(os.environ[NICENESS]) - os.nice(0)))
    _take_gpu(int(dask_worker.name))


def _take_gpu(number: int) -> None:
    """Let this process see one of the GPUs it may see: CUDA reads the variable as it starts, and calls that one 0."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = range(torch.cuda.device_count()) if listed is None else listed.split(",")
    if len(gpus) > 1:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(gpus[number % len(gpus)]).strip()


def stop(sweep: str) -> None:
    """Ask the runs of a sweep in this process to save themselves and stop at their next step."""
    _stopped.add(sweep)


def work(job: Job, sweep: str, checkpoint: Path, limit_seconds: float | None) -> list[Record]:
    """Make a run, or several together. What is not returned was stopped, and has left a checkpoint.

    `checkpoint`: the file of a single run; that of runs together lies beside it. `forget` removes it.

    What goes wrong in a run costs that run only: its record has status `crashed`, the reason and the traceback.
    """
    try:
        if _is_alone(job):
            return [_alone(job[0], sweep, checkpoint, limit_seconds)]
        return _together(job, sweep, checkpoint.parent, limit_seconds)
    except _StoppedError:
        return []
    except Exception as error:
        crashed = [unfinished(spec, "crashed", f"{type(error).__name__}: {error}") for spec in job]
        trace = {"traceback": traceback.format_exc()}
        return [dataclasses.replace(x, provenance={**x.provenance, **trace}) for x in crashed]


def _is_alone(job: Job) -> bool:
    return len(job) == 1 and job[0].device == "cpu"


def _alone(spec: RunSpec, sweep: str, checkpoint: Path, limit_seconds: float | None) -> Record:
    """A run, from its checkpoint where there is one."""

    def make(saved: Mapping[str, Any] | None) -> Record:
        return run(spec, progress=_saving(sweep, checkpoint), resume=saved, limit_seconds=limit_seconds)

    return resumed(checkpoint, spec.id, make)


def _saving(sweep: str, checkpoint: Path) -> Callable[[InProgress], None]:
    """What is called as runs go on: saves them now and then, and where they are asked to stop."""
    saver = Saver(checkpoint)

    def progress(training: InProgress) -> None:
        stopped = sweep in _stopped
        saver(training, now=stopped)
        if stopped:
            raise _StoppedError

    return progress


def _together(job: Job, sweep: str, folder: Path, limit_seconds: float | None) -> list[Record]:
    """Replicas, from their checkpoint where there is one; where memory runs out, in halves."""
    checkpoint = _file(job, folder)

    def make(saved: Mapping[str, Any] | None) -> list[Record]:
        return run_together(job, progress=_saving(sweep, checkpoint), resume=saved, limit_seconds=limit_seconds)

    try:
        return resumed(checkpoint, identity(job), make)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(job) == 1:
            return [unfinished(job[0], "out_of_memory", str(error).split("\n")[0])]
    torch.cuda.empty_cache()
    return [x for half in _halves(job) for x in _together(half, sweep, folder, limit_seconds)]


def _file(job: Job, folder: Path) -> Path:
    return folder / f"{identity(job)}.pt"


def _halves(job: Job) -> tuple[Job, Job]:
    half = len(job) // 2
    return job[:half], job[half:]


def forget(job: Job, checkpoint: Path, records: Sequence[Record]) -> None:
    """Remove the checkpoints of a job whose records are stored. For the driver: until then they are all there is.

    That of runs which all failed stays: the next sweep tries them again, and goes on from there.
    """
    results = {record.spec.id for record in records if record.status not in FAILED}
    for part, path in [(job, checkpoint)] if _is_alone(job) else _parts(job, checkpoint.parent):
        if any(spec.id in results for spec in part):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _parts(job: Job, folder: Path) -> Iterator[tuple[Job, Path]]:
    """The runs that may have been saved together, with their file: all of a job's, and those of its halves."""
    yield job, _file(job, folder)
    if len(job) > 1:
        for half in _halves(job):
            yield from _parts(half, folder)

"""What a worker process of a sweep does: one run at a time, with checkpoints, until it is asked to stop."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .batched import identity, run_together
from .checkpoints import Saver, load
from .log import unfinished
from .record import Record
from .resources import is_out_of_memory
from .spec import RunSpec
from .train import run
from .training import InProgress

#: Environment variable with the niceness of a worker process.
NICENESS = "NADAM_REF_NICENESS"

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


def work(job: tuple[RunSpec, ...], sweep: str, checkpoint: Path, limit_seconds: float | None) -> list[Record]:
    """Make a run, or several together. What is not returned was stopped, and has left a checkpoint.

    `checkpoint`: the file of a single run; that of runs together lies beside it.

    What goes wrong in a run costs that run only: its record has status `crashed`, the reason and the traceback.
    """
    try:
        if len(job) > 1 or job[0].device != "cpu":
            return _together(job, sweep, checkpoint.parent, limit_seconds)
        return [_alone(job[0], sweep, checkpoint, limit_seconds)]
    except _StoppedError:
        return []
    except Exception as error:
        crashed = [unfinished(spec, "crashed", f"{type(error).__name__}: {error}") for spec in job]
        trace = {"traceback": traceback.format_exc()}
        return [dataclasses.replace(x, provenance={**x.provenance, **trace}) for x in crashed]


def _alone(spec: RunSpec, sweep: str, checkpoint: Path, limit_seconds: float | None) -> Record:
    """A run, from its checkpoint where there is one."""
    progress, resume = _saving(sweep, checkpoint), load(checkpoint, spec.id)
    record = run(spec, progress=progress, resume=resume, limit_seconds=limit_seconds)
    _remove(checkpoint)
    return record


def _saving(sweep: str, checkpoint: Path) -> Callable[[InProgress], None]:
    """What is called as runs go on: saves them now and then, and where they are asked to stop."""
    saver = Saver(checkpoint)

    def progress(training: InProgress) -> None:
        stopped = sweep in _stopped
        saver(training, now=stopped)
        if stopped:
            raise _StoppedError

    return progress


def _remove(checkpoint: Path) -> None:
    with contextlib.suppress(OSError):
        checkpoint.unlink(missing_ok=True)


def _together(job: tuple[RunSpec, ...], sweep: str, folder: Path, limit_seconds: float | None) -> list[Record]:
    """Replicas, from their checkpoint where there is one; where memory runs out, in halves."""
    checkpoint = folder / f"{identity(job)}.pt"
    progress, resume = _saving(sweep, checkpoint), load(checkpoint, identity(job))
    try:
        records = run_together(job, progress=progress, resume=resume, limit_seconds=limit_seconds)
        _remove(checkpoint)
        return records
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(job) == 1:
            return [unfinished(job[0], "out_of_memory", str(error).split("\n")[0])]
    torch.cuda.empty_cache()
    half = len(job) // 2
    _remove(checkpoint)
    return [x for part in (job[:half], job[half:]) for x in _together(part, sweep, folder, limit_seconds)]

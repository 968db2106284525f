"""One run, as a function: a specification in, a record out. It prints nothing and stores nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ..second_order.methods import SECOND_ORDER
from .log import Log, record, unfinished
from .record import Record
from .resources import arithmetic, is_out_of_memory, keep_freed_memory
from .spec import RunSpec
from .training import Training
from .whole import WholeTraining


def begin(spec: RunSpec) -> Training:
    """The run of a spec, with no update made yet; raises as `run`."""
    return (WholeTraining if spec.optimizer in SECOND_ORDER else Training)(spec)


def run(
    spec: RunSpec,
    *,
    progress: Callable[[Training], None] | None = None,
    resume: Mapping[str, Any] | None = None,
    limit_seconds: float | None = None,
) -> Record:
    """Train as `spec` says and return the record. The same spec gives bitwise the same curves on the same processor.

    `progress(training)` is called after every update; what it raises ends the run.
    `resume`: a `Training.state_dict()` of the same spec; the run goes on from there, bit for bit.
    `limit_seconds`: of wall-clock time, that before `resume` included; a run that is longer has status `timeout`.

    A loss that is NaN or infinite, or above ten times its first value for 50 steps, ends the run: its status is
    `diverged`, with the step and the reason. Where memory runs out the status is `out_of_memory`. The test set is read
    once, at the end of a run that finished.

    Raises `ValueError` for an unknown task, optimizer or hyperparameter, or a task or optimizer version that is not
    this package's, `DataError` where the data are absent or are not those of the spec, `DeviceError` where CUDA is
    asked for and absent, and `CheckpointError` where `resume` cannot be loaded.
    """
    log, started = Log(), time.perf_counter()
    keep_freed_memory()
    try:
        with arithmetic(spec.threads):
            training = begin(spec)
            if resume is not None:
                training.load_state_dict(resume)
            log = training.log
            if late := training.train(progress, limit_seconds):
                return unfinished(spec, "timeout", late, log, training.seconds)
            test = {} if log.reason else training.evaluate("test")
            return record(spec, log, training.seconds, test, training.row_steps())
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return unfinished(spec, "out_of_memory", str(error).split("\n")[0], log, time.perf_counter() - started)

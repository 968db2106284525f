"""Checkpoints: the state of a run in a file that says whose it is, and from which it can be told that it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from ...files import read_plain, write_whole
from .training import CheckpointError, InProgress

Made = TypeVar("Made")

#: A run that takes longer than this is saved again and again, so that it can go on after a crash.
CHECKPOINT_SECONDS = 60.0

#: Of a checkpoint, in bytes.
LARGEST = 1 << 36

#: A run is saved no more often than after this many times what saving took: on a slow disk it would do nothing else.
APART = 20


def save(training: InProgress, path: Path) -> None:
    """Write the state of a run whole or not at all: a line with the sha256 of the rest, then the rest."""
    buffer = io.BytesIO()
    torch.save(training.state_dict(), buffer)
    body = buffer.getbuffer()
    write_whole(path, lambda file: file.writelines([_digest(body), body]))


class Saver:
    """Saves a run now and then as it goes on. A checkpoint that cannot be written costs a warning, not the run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.due = time.monotonic() + CHECKPOINT_SECONDS

    def __call__(self, training: InProgress, *, now: bool = False) -> bool:
        """Save the run if it is time, or `now`; whether it was time."""
        started = time.monotonic()
        if not now and started <= self.due:
            return False
        try:
            save(training, self.path)
        except OSError as error:
            text = f"cannot write the checkpoint {self.path}: {error.strerror}; the run goes on without"
            warnings.warn(text, stacklevel=2)
        ended = time.monotonic()
        self.due = ended + max(CHECKPOINT_SECONDS, APART * (ended - started))
        return True


def _digest(body: memoryview) -> bytes:
    return f"{hashlib.sha256(body).hexdigest()}\n".encode()


def load(path: Path, run: str) -> dict[str, Any] | None:
    """The state that was saved at `path`; None where there is none.

    A file that is damaged, of another run than `run`, or that holds objects is renamed to `*.damaged`, with a warning:
    the run is then to begin again.
    """
    try:
        content = memoryview(read_plain(path, LARGEST))
    except OSError:
        return None
    digest, body = content[:65], content[65:]
    if digest == _digest(body):
        try:
            saved: dict[str, Any] = torch.load(io.BytesIO(body), weights_only=True)
        except pickle.UnpicklingError:
            fault = "holds more than tensors"
        except (RuntimeError, ValueError, EOFError, KeyError, AttributeError):
            fault = "is none of torch's"
        else:
            whose = str(saved.get("run", ""))[:64] if isinstance(saved, dict) else ""
            if whose == run:
                return saved
            fault = f"is of run {whose[:12]!a}"
    else:
        fault = "is damaged"
    _set_aside(path, fault)
    return None


def resumed(path: Path, run: str, make: Callable[[Mapping[str, Any] | None], Made]) -> Made:
    """What `make` gives of the state that was saved at `path`, as `load`; of None, where it cannot go on from there.

    Such a file is set aside as a damaged one is.
    """
    try:
        return make(load(path, run))
    except CheckpointError as error:
        _set_aside(path, error.fault)
    return make(None)


def _set_aside(path: Path, fault: str) -> None:
    aside = path.with_suffix(".damaged")
    with contextlib.suppress(OSError):
        path.replace(aside)
    warnings.warn(f"the checkpoint {path.name} {fault}; moved to {aside}, the run begins again", stacklevel=3)

"""Checkpoints: the state of a run in a file that says whose it is, and from which it can be told that it is whole."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from pathlib import Path
from typing import Any, Protocol

import torch

from ..files import write_whole

__all__ = ["Saved", "load", "save"]


class Saved(Protocol):
    """What can be saved: its state says under `run` whose it is."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings and containers of these."""


def save(training: Saved, path: Path) -> None:
    """Write the state of a run whole or not at all: a line with the sha256 of the rest, then the rest."""
    buffer = io.BytesIO()
    torch.save(training.state_dict(), buffer)
    body = buffer.getbuffer()
    write_whole(path, lambda file: file.writelines([_digest(body), body]))


def _digest(body: memoryview) -> bytes:
    return f"{hashlib.sha256(body).hexdigest()}\n".encode()


def load(path: Path, run: str) -> dict[str, Any] | None:
    """The state that was saved at `path`; None where there is none.

    A file that is damaged, or of another run than `run`, is renamed to `*.damaged`, with a warning: the run is then to
    begin again.
    """
    try:
        content = memoryview(path.read_bytes())
    except OSError:
        return None
    digest, body = content[:65], content[65:]
    if digest == _digest(body):
        saved: dict[str, Any] = torch.load(io.BytesIO(body), weights_only=True)
        if saved["run"] == run:
            return saved
        fault = f"is of run {saved['run'][:12]}"
    else:
        fault = "is damaged"
    aside = path.with_suffix(".damaged")
    with contextlib.suppress(OSError):
        path.replace(aside)
    warnings.warn(f"the checkpoint {path.name} {fault}; moved to {aside}, the run begins again", stacklevel=2)
    return None

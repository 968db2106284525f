"""`nadam-ref` in a world that fails when asked to: `python soak_driver.py ARGUMENTS`, with `SOAK` naming a folder.

The folder holds the switches, which all processes of the command map into memory, and the journal, to which they append
what they do. A worker process imports this file as it starts, so its world is the same.
"""

from __future__ import annotations

import errno
import functools
import io
import mmap
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked anyway
    fcntl = None  # type: ignore[assignment]

#: Each is a number, 0 for off. `drag`, `slow`: seconds that a training step and a sync take; `jump`: that the clock is
#: ahead; `full`: 1, no sync has space, 2, no write has; `unlocked`: the error number of every lock.
SWITCHES = ("drag", "slow", "jump", "full", "unlocked")
#: How often a run saves itself here, in seconds: it takes about one.
SAVED_AFTER = 0.1


class Switches:
    """The switches of a folder, shared by all processes that map them."""

    def __init__(self, folder: Path) -> None:
        path = folder / "switches"
        if not path.exists():
            path.write_bytes(bytes(8 * len(SWITCHES)))
        with path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)

    def __getitem__(self, name: str) -> float:
        return float(struct.unpack_from("d", self.memory, 8 * SWITCHES.index(name))[0])

    def __setitem__(self, name: str, value: float) -> None:
        struct.pack_into("d", self.memory, 8 * SWITCHES.index(name), value)


class Half(io.FileIO):
    """A file on a disk that becomes full: of what is written first, half arrives, and then nothing."""

    def write(self, data: Any, /) -> int:
        if self.tell():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(memoryview(data)[: max(1, len(data) // 2)])


def fail_on_demand(switches: Switches) -> None:
    """Put what can fail in place of what does not."""
    sync, now, opened, lockf = os.fsync, time.time, Path.open, getattr(fcntl, "lockf", None)

    def fsync(descriptor: Any) -> None:
        time.sleep(switches["slow"])
        if switches["full"] == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    def open_part(self: Path, mode: str = "r", *args: Any, **more: Any) -> Any:
        if mode == "xb" and switches["full"] == 2:
            return io.BufferedWriter(Half(self, mode))
        return opened(self, mode, *args, **more)

    def lock(*args: Any) -> None:
        if number := int(switches["unlocked"]):
            raise OSError(number, os.strerror(number))
        lockf(*args)

    os.fsync, Path.open = fsync, open_part  # type: ignore[method-assign,assignment]
    time.time = lambda: now() + switches["jump"]
    if fcntl is not None:
        fcntl.lockf = lock


def write_down(journal: Path, switches: Switches) -> None:
    """Have runs last, save themselves again and again, and be written into the journal as they begin and are kept."""
    from nadam_ref.experiments.runs import checkpoints, worker
    from nadam_ref.experiments.runs.record import FAILED
    from nadam_ref.experiments.runs.store import Store

    lines = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    work, put, save = worker.work, Store.put, checkpoints.Saver.__call__

    @functools.wraps(work)
    def begin(job: Any, *args: Any) -> Any:
        for spec in job:
            os.write(lines, f"begun {spec.id}\n".encode())
        return work(job, *args)

    def keep(self: Store, record: Any) -> None:
        put(self, record)
        if record.status not in FAILED:
            os.write(lines, f"kept {record.spec.id}\n".encode())

    def drag(self: Any, training: Any, **more: Any) -> bool:
        time.sleep(switches["drag"])
        return save(self, training, **more)

    worker.work, Store.put, checkpoints.Saver.__call__ = begin, keep, drag  # type: ignore[method-assign]
    checkpoints.CHECKPOINT_SECONDS = SAVED_AFTER


if "SOAK" in os.environ:
    _switches = Switches(Path(os.environ["SOAK"]))
    fail_on_demand(_switches)
    write_down(Path(os.environ["SOAK"], "journal"), _switches)

if __name__ == "__main__":
    from nadam_ref.cli import main

    sys.exit(main(sys.argv[1:]))

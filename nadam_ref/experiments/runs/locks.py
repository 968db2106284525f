"""Which runs a sweep is making, so that sweeps on one store, here and in other processes, share the work.

A run that is being made has a byte lock in a file of the store. Locks vanish with the process, whatever ends it. They
belong to a process: they do not exclude its own sweeps, and all of them go as it closes the file once. So its sweeps
have one open file for each store, and one set of what they have claimed.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from pathlib import Path

from .record import RecordError
from .spec import RunSpec
from .store import check_links

try:
    import fcntl
except ImportError:  # Windows: two drivers on one store may then make the same run twice; nothing is lost
    fcntl = None  # type: ignore[assignment]


class _Shared:
    """What the sweeps of this process on one store have in common."""

    def __init__(self, folder: Path, device: int) -> None:
        self.file = (folder / ".running").open("ab")
        self.locks = fcntl is not None and device not in _lockless
        self.claimed: set[str] = set()
        self.sweeps = 0


_guard = threading.Lock()
_stores: dict[tuple[int, int], _Shared] = {}  # by device and inode
_lockless: set[int] = set()  # devices whose file systems lock nothing; a command says so once, for all of its sweeps


class Claims:
    """The runs that one sweep is making. Raises `RecordError` where the store's folder cannot be written to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mine: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            check_links(folder)
            status = folder.stat()
            self.key = status.st_dev, status.st_ino
            with _guard:
                if self.key not in _stores:
                    _stores[self.key] = _Shared(folder, status.st_dev)
                self.shared = _stores[self.key]
                self.shared.sweeps += 1
        except OSError as error:
            raise RecordError(f"cannot write to the store {folder}: {error.strerror}; name another folder") from error

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *_: object) -> None:
        with _guard:
            for run in self.mine:
                self._unlock(run)
            self.shared.sweeps -= 1
            if not self.shared.sweeps:
                del _stores[self.key]
                self.shared.file.close()

    def take(self, spec: RunSpec) -> bool:
        """Claim a run; False where another sweep has."""
        with _guard:
            if spec.id in self.shared.claimed or not self._lock(spec.id):
                return False
            self.shared.claimed.add(spec.id)
        self.mine.add(spec.id)
        return True

    def drop(self, spec: RunSpec) -> None:
        """Give a claim back."""
        with _guard:
            self._unlock(spec.id)
        self.mine.discard(spec.id)

    def _lock(self, run: str) -> bool:
        if self.shared.locks:
            try:
                fcntl.lockf(self.shared.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte(run))
            except (BlockingIOError, PermissionError):
                return False
            except OSError as error:
                self.shared.locks = False
                _lockless.add(self.key[0])
                text = (
                    f"the file system of {self.folder} locks no files ({error.strerror}): two sweeps on this store may "
                    "make the same run twice"
                )
                warnings.warn(text, stacklevel=7)  # where `sweep` was called, or near it
        return True

    def _unlock(self, run: str) -> None:
        self.shared.claimed.discard(run)
        if self.shared.locks:
            with contextlib.suppress(OSError):
                fcntl.lockf(self.shared.file, fcntl.LOCK_UN, 1, _byte(run))


def _byte(run: str) -> int:
    return int(run[:15], 16)

"""Writing files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def user_path(text: str) -> Path:
    """The path that a person gave: from the folder they work in, and ``~`` is their home."""
    path = Path(text)
    with contextlib.suppress(RuntimeError):  # there is no home, or no such person
        path = path.expanduser()
    return path.absolute()


def read_plain(path: Path, most: int) -> bytes:
    """The bytes of a file. Raises `OSError` for a device or a pipe, which may have no end, or above `most` bytes."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it has {status.st_size:,} bytes, more than {most:,}", str(path))
    return path.read_bytes()


@contextlib.contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to: synced and renamed to it if the block ends well, removed if not.

    Folders that are missing are made. After an error or a crash `path` is what it was before; every writer has a name
    of its own, so two at once do not meet.
    """
    with _part_of(path) as part:
        yield part
        _sync(part)
        part.replace(path)


def write_whole(path: Path, content: str | Callable[[BinaryIO], object]) -> None:
    """Write UTF-8 text with Unix line ends, or what a function writes into the file it is given, as `part_of` does."""
    with part_of(path) as part:
        _write(part, content)


def write_new(path: Path, content: str | Callable[[BinaryIO], object]) -> bool:
    """As `write_whole` where there is no such file, and else not at all; whether there was none.

    Of two writers at once one has the file, and for the other this is False.
    """
    with _part_of(path) as part:
        _write(part, content)
        _sync(part)
        try:
            os.link(part, path)  # a rename would replace what another writer has put there meanwhile
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if os.path.lexists(path):
                return False
            part.replace(path)
        return True


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Others that hold the file at `path` wait until the block ends: it can be read and replaced without a race.

    Where there is no file, or files cannot be locked, nobody waits.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            while fcntl is not None and not _locked(stack.enter_context(path.open("r+b")), path):
                pass
        yield


def _locked(file: BinaryIO, path: Path) -> bool:
    """Lock a file as soon as nobody else has; False where it was replaced meanwhile, so that the lock is of no use."""
    fcntl.flock(file, fcntl.LOCK_EX)
    return os.path.samestat(os.fstat(file.fileno()), path.stat())


@contextlib.contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """A name beside `path`, in a folder that is there; what it names in the end is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _write(path: Path, content: str | Callable[[BinaryIO], object]) -> None:
    with path.open("xb") as file:
        if isinstance(content, str):
            file.write(content.encode())
        else:
            content(file)


def _sync(path: Path) -> None:
    with path.open("r+b") as file:  # Windows syncs no file that is open for reading only
        os.fsync(file.fileno())

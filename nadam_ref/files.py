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
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        with part.open("r+b") as file:  # Windows syncs no file that is open for reading only
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | Callable[[BinaryIO], object]) -> None:
    """Write UTF-8 text with Unix line ends, or what a function writes into the file it is given, as `part_of` does."""
    with part_of(path) as part, part.open("xb") as file:
        if isinstance(content, str):
            file.write(content.encode())
        else:
            content(file)

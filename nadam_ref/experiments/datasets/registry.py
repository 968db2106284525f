"""Data sets: which there are, where their files are, and whether they are whole. Nothing is downloaded from here."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import yaml

from ...errors import NadamRefError
from ...files import user_path

#: The parts of a data set, and their sizes where only the first items of each are used.
SPLITS = ("train", "dev", "test")
Subset = tuple[int, int, int]
#: Bytes of a file whose size nothing says.
LARGEST = 1 << 30
State = Literal["embedded", "present", "absent", "damaged", "incomplete"]


class DataError(NadamRefError):
    """Data are absent, damaged or out of reach. The message says where they were looked for and what to do."""


@dataclass(frozen=True)
class Source:
    """One data set; `sources.yaml` has them all, and says what the fields mean. `files`: sha256 by name.

    `largest`: bytes of its largest file, above which a download is given up.
    """

    name: str
    description: str
    licence: str
    files: Mapping[str, str] = field(default_factory=dict)
    mirrors: Sequence[str] = ()
    largest: int = LARGEST
    embedded: bool = False
    by_hand: str = ""
    instead: str = "digits"


def _sources() -> dict[str, Source]:
    content = yaml.safe_load(Path(__file__).with_name("sources.yaml").read_text(encoding="utf-8"))
    return {name: Source(name, **fields) for name, fields in content.items()}


SOURCES = _sources()


class FileState(NamedTuple):
    """A file of a data set: the sha256 it must have, and the one it has, None where there is no file."""

    path: Path
    expected: str
    actual: str | None

    @property
    def state(self) -> Literal["present", "absent", "damaged"]:
        """`present` (the right bytes), `absent` or `damaged` (other bytes)."""
        if self.actual is None:
            return "absent"
        return "present" if self.actual == self.expected else "damaged"


# ---------------------------------------------------------------- where things are


def root() -> Path:
    """The folder of all data sets: `NADAM_REF_DATA` if set, else a folder in the user's cache."""
    named = os.environ.get("NADAM_REF_DATA")
    return user_path(named) if named else cache() / "data"


def cache() -> Path:
    """The folder of this package in the user's cache."""
    import platformdirs  # only this line needs it

    return Path(platformdirs.user_cache_dir("nadam_ref", appauthor=False))


def source(name: str) -> Source:
    """A data set's line in the registry. Raises `DataError` for an unknown name."""
    if name not in SOURCES:
        raise DataError(f"no data set is called {name!r}; there are: {', '.join(SOURCES)}")
    return SOURCES[name]


def folder(name: str) -> Path:
    """The folder of a data set's files, whether they are there or not; a generated set has none.

    Raises `DataError` for an unknown name, and for `digits` where scikit-learn is not installed.
    """
    known = source(name)
    if not (known.embedded and known.files):
        return root() / name
    package = importlib.util.find_spec("sklearn")  # importing it would take longer than a short run
    if package is None or package.origin is None:
        raise DataError(f"data set {name!r} needs scikit-learn: pip install 'nadam_ref[experiments]'")
    return Path(package.origin).parent / "datasets" / "data"


# ---------------------------------------------------------------- what is there


def sha256_of(path: Path) -> str | None:
    """The sha256 of a file; None where there is none. Raises `DataError` where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()


def paths(name: str) -> list[Path]:
    """Where the files of a data set are, or would be. Raises as `folder`."""
    return [folder(name) / file for file in source(name).files]


def verify(name: str) -> list[FileState]:
    """The state of every file of a data set, by its hash. Raises `DataError` for an unknown name."""
    files = zip(paths(name), source(name).files.values(), strict=True)
    return [FileState(path, sha256, sha256_of(path)) for path, sha256 in files]


def state(name: str) -> State:
    """State of a whole data set; `incomplete` is some files present and some absent."""
    states = {file.state for file in verify(name)}
    if "damaged" in states:
        return "damaged"
    if len(states) > 1:
        return "incomplete"
    if "absent" in states:
        return "absent"
    return "embedded" if source(name).embedded else "present"


def first_available(*wanted: str) -> str:
    """The first of these data sets that is available, skipping only those that are wholly absent.

    Raises `DataError` where none is, about the first; for a damaged or incomplete one; and where `NADAM_REF_DATA` names
    no folder, so that a mistyped path or a half copy is never taken for a wish to use the embedded data.
    """
    if os.environ.get("NADAM_REF_DATA") and not root().is_dir():
        raise DataError(f"NADAM_REF_DATA names {root()}, which is no folder; correct it or unset it")
    for name in wanted:
        if state(name) != "absent":
            require(name)
            return name
    first, *others = wanted
    also = f" ({' or '.join(map(repr, others))} would do as well, and is not there either)"
    raise absence(first, also if others else "")


def require(name: str) -> None:
    """Raise `DataError` unless every file of a data set is there with its checksum."""
    missing = absent(name)
    if missing:
        whole = len(missing) == len(source(name).files)
        raise absence(name, "" if whole else f" (missing: {', '.join(file.path.name for file in missing)})")


def absent(name: str) -> list[FileState]:
    """The files of a data set that are not there. Raises `DataError` where one is there with another checksum."""
    files = verify(name)
    for file in files:
        if file.state == "damaged":
            raise DataError(
                f"{file.path} has the wrong checksum and is not used: expected sha256 {file.expected}, found "
                f"{file.actual}. The file is left as it is; move it away and run `nadam-ref data get {name}`"
            )
    return [file for file in files if file.state == "absent"]


def absence(name: str, more: str = "") -> DataError:
    """The error for a data set that is not there, with the ways to get it; `more` ends the message."""
    known = source(name)
    way = f"Fetch it with `nadam-ref data get {name}`" if known.mirrors else known.by_hand
    return DataError(
        f"data set {name!r} is not in {folder(name)}. {way}, or set NADAM_REF_DATA to a folder that holds {name}/, or "
        f"use the embedded data set {known.instead!r}, which needs no download{more}"
    )

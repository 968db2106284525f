"""What is wrong with this machine, in plain words: each check yields what it finds, what follows, and what to do."""

from __future__ import annotations

import codecs
import importlib.util
import json
import locale
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..fused import cpu
from ..fused.pointers import NoKernelError

#: What `make` takes, and the lowest torch of pyproject.toml.
PYTHONS = (3, 11), (3, 14)
TORCH = (2, 5)
#: The book and its environment's caches take less; a sweep's records much less.
LEAST_FREE = 1_000_000_000


class Finding(NamedTuple):
    """Something that was found. `stops`: it keeps the package or the book from working; otherwise it is a note."""

    what: str
    so: str
    do: str
    stops: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.so}. {self.do}."


def findings() -> list[Finding]:
    """What all checks find on this machine."""
    return [finding for check in CHECKS for finding in check()]


def python() -> Iterator[Finding]:
    """The versions that the pinned packages are for."""
    found = sys.version_info[:2]
    if not PYTHONS[0] <= found <= PYTHONS[1]:
        lowest, highest = (".".join(map(str, version)) for version in PYTHONS)
        yield Finding(
            f"This is Python {found[0]}.{found[1]}",
            f"the pinned packages of the book are for {lowest} to {highest}",
            f"Install one of these and name it, as in `make PYTHON=python{lowest} book`",
        )


def torch_version() -> Iterator[Finding]:
    """The lowest torch that is promised."""
    if tuple(int(x) for x in torch.__version__.split("+")[0].split(".")[:2]) < TORCH:
        lowest = ".".join(map(str, TORCH))
        yield Finding(
            f"torch {torch.__version__} is installed",
            f"the package needs {lowest} or newer",
            f"Run `pip install 'torch>={lowest}'`",
        )


def torch_build() -> Iterator[Finding]:
    """A build for GPUs where torch sees none."""
    if torch.version.cuda and not torch.cuda.is_available():
        yield Finding(
            f"torch {torch.__version__} is a build for CUDA {torch.version.cuda}, and it sees no GPU",
            "everything runs on the CPU",
            "If there is a GPU, run `nvidia-smi` to see whether its driver is new enough; if not, a build for CPUs is "
            "much smaller: `pip install torch --index-url https://download.pytorch.org/whl/cpu`",
            stops=False,
        )


def torch_copies() -> Iterator[Finding]:
    """More than one torch on the path, or another one imported than pip knows of."""
    copies = {
        str(Path(str(copy.locate_file(""))).resolve()): copy.version for copy in metadata.distributions(name="torch")
    }
    if len(copies) > 1:
        yield Finding(
            f"torch is installed {len(copies)} times, as "
            + " and ".join(f"{version} in {place}" for place, version in copies.items()),
            f"Python takes {torch.__version__}, and pip may change another one",
            "Run `pip uninstall torch` until none is left, then install it once",
            stops=False,
        )


def compiler() -> Iterator[Finding]:
    """A small program is really compiled and loaded."""
    try:
        cpu.trial()
    except NoKernelError as error:
        yield Finding(
            f"No C++ program can be compiled ({error})",
            "`fused=True` warns and is no faster than without",
            "Install g++ or clang++, or name a compiler that works in the variable CXX",
            stops=False,
        )


def data() -> Iterator[Finding]:
    """Data sets that are there in part, or with other bytes than they should have."""
    if not all(map(importlib.util.find_spec, ("yaml", "platformdirs", "sklearn"))):
        return  # without the extra there are no experiments
    from ..experiments.datasets import registry

    place = registry.root()
    if os.environ.get("NADAM_REF_DATA") and not place.is_dir():
        yield Finding(
            f"NADAM_REF_DATA names {place}, which is no folder",
            "no chapter can tell which data are meant",
            "Correct it or unset it",
        )
        return
    try:
        for name in registry.SOURCES:
            if registry.state(name) in ("damaged", "incomplete"):
                yield from (_file(name, file) for file in registry.verify(name) if file.state != "present")
    except registry.DataError as error:
        yield Finding("The data cannot be read", str(error), "Correct that, or name another folder in NADAM_REF_DATA")


def _file(name: str, file: Any) -> Finding:
    if file.actual is None:
        what, do = f"{file.path} is missing", f"Run `nadam-ref data get {name}`, which fetches it or says how to get it"
    else:
        what = f"{file.path} has sha256 {file.actual} instead of {file.expected}"
        do = f"Move it away and run `nadam-ref data get {name}`"
    return Finding(what, f"data set {name} is not used, and chapters that need it stop", do)


def jupyter_book() -> Iterator[Finding]:
    """Version 2 is another program."""
    try:
        version = metadata.version("jupyter-book")
    except metadata.PackageNotFoundError:
        return
    if not version.startswith("1."):
        yield Finding(
            f"Jupyter Book {version} is installed", "the book needs version 1", "Run `pip install 'jupyter-book<2'`"
        )


def disks() -> Iterator[Finding]:
    """Little room where things are written: here, in the temporary folder, and in the user's cache."""
    seen = set()
    for place in filter(None, (_here(), Path(tempfile.gettempdir()), _existing(_cache()))):
        try:
            device, free = place.stat().st_dev, shutil.disk_usage(place).free
        except OSError:
            continue
        if device not in seen and free < LEAST_FREE:
            yield Finding(
                f"The disk of {place} has {free / 1e6:,.0f} MB left",
                "a sweep or the book may end in the middle, though nothing that is finished is lost",
                f"Make room: {LEAST_FREE / 1e6:,.0f} MB are enough",
            )
        seen.add(device)


def encoding() -> Iterator[Finding]:
    """A locale of an older age."""
    name = locale.getpreferredencoding(False)
    if codecs.lookup(name).name != "utf-8":
        yield Finding(
            f"The locale's encoding is {name}, not UTF-8",
            "Greek letters show as codes such as \\u03b8",
            "Set LC_ALL=C.UTF-8 or PYTHONUTF8=1",
            stops=False,
        )


def cache() -> Iterator[Finding]:
    """The user's cache, where kernels and data are kept."""
    place = _cache()
    if place is None:
        what = "There is no home folder, and so no cache"
    else:
        try:
            place.mkdir(parents=True, exist_ok=True)
            (trial := place / f".{uuid.uuid4().hex}.part").touch()
            trial.unlink()
            return
        except OSError as error:
            what = f"The cache {place} cannot be written to ({error.strerror})"
    yield Finding(
        what,
        "every process compiles its kernels again, and no data can be fetched",
        "Name a folder that you may write to in XDG_CACHE_HOME",
        stops=False,
    )


def fonts() -> Iterator[Finding]:
    """The list of fonts that matplotlib keeps."""
    try:
        import matplotlib

        lists = sorted(Path(matplotlib.get_cachedir()).glob("fontlist-*.json"))
    except (ModuleNotFoundError, OSError):
        return
    for path in lists:
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            yield Finding(
                f"matplotlib's list of fonts, {path}, is damaged",
                "figures may be late, or drawn with another font",
                "Delete it; matplotlib makes a new one",
                stops=False,
            )


def _here() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # the folder was deleted
        return None


def _cache() -> Path | None:
    """The folder of this package in the user's cache."""
    try:
        return cpu.folder().parent
    except FileNotFoundError:
        return None


def _existing(path: Path | None) -> Path | None:
    return next((place for place in (path, *path.parents) if place.exists()), None) if path else None


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    python,
    torch_version,
    torch_build,
    torch_copies,
    compiler,
    data,
    jupyter_book,
    disks,
    encoding,
    cache,
    fonts,
)

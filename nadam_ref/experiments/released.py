"""The recorded results that the book shows: in `book/results` of a checkout, else in the cache once fetched by the tag.

`released.csv` lists their files with their sha256; `python -m nadam_ref.experiments.released` writes it.
"""

from __future__ import annotations

import csv
from importlib.metadata import metadata
from pathlib import Path

import nadam_ref

from .. import checkout
from ..files import write_whole
from ..tables import csv_text
from .datasets.download import fetch
from .datasets.registry import DataError, cache, sha256_of

#: What `nadam-ref data get` calls them.
NAME = "results"

REGISTRY = Path(__file__).with_name("released.csv")


def registry(path: Path = REGISTRY) -> dict[str, str]:
    """The sha256 of every released file, by its path below `book/results`."""
    with path.open(encoding="utf-8", newline="") as file:
        return {line["path"]: line["sha256"] for line in csv.DictReader(file)}


def here() -> Path | None:
    """`book/results` of the checkout that `checkout.find` finds; None outside of one."""
    root = checkout.find("book/results")
    return root and root / "book" / "results"


def folder(name: str) -> Path:
    """The folder of one recorded result, such as `images-small`, with all its files.

    Outside of a checkout they are in the cache folder, once `get` has fetched them, and never used unless their sha256
    is right. Raises `DataError` for an unknown name, and where they are not here.
    """
    wanted = {path: sha256 for path, sha256 in registry().items() if path.startswith(f"{name}/")}
    if not wanted:
        known = sorted({path.partition("/")[0] for path in registry()})
        raise DataError(f"no recorded result is called {name!r}; there are: {', '.join(known)}")
    if (results := here()) is not None:
        return results / name
    if not all(_is_whole(*file) for file in wanted.items()):
        raise DataError(
            f"the recorded result {name!r} is neither in a checkout nor whole in {cached()}; fetch it with "
            f"`nadam-ref data get {NAME}`, or clone the repository and work there"
        )
    return cached() / name


def get() -> Path:
    """Fetch all recorded results of this version into the cache folder, and return it; what is whole there is kept.

    Raises `DataError` where they cannot be fetched or written.
    """
    for path, sha256 in registry().items():
        try:
            if not _is_whole(path, sha256):
                fetch(_address(path), sha256, cached() / path)
        except DataError as error:
            raise DataError(
                f"could not fetch {_address(path)} ({error}); clone the repository and work there, or try again with "
                "a network"
            ) from error
        except OSError as error:
            raise DataError(
                f"cannot write to {cached()}: {error.strerror}; set XDG_CACHE_HOME to another folder"
            ) from error
    return cached()


def _is_whole(path: str, sha256: str) -> bool:
    file = cached() / path
    return file.is_file() and sha256_of(file) == sha256


def cached() -> Path:
    """Where `get` puts them: in this package's cache folder, never among the data sets."""
    return cache() / f"results-{nadam_ref.__version__}"


def _address(path: str) -> str:
    """Where the tag of this version has a file of `book/results`."""
    urls = dict(line.split(", ", 1) for line in metadata("nadam_ref").get_all("Project-URL") or [])
    return f"{urls['Repository']}/raw/v{nadam_ref.__version__}/book/results/{path}"


def files(place: Path) -> dict[str, str]:
    """The sha256 of every file below a folder, by path."""
    return {
        path.relative_to(place).as_posix(): str(sha256_of(path)) for path in sorted(place.rglob("*")) if path.is_file()
    }


def main() -> None:
    """Write `released.csv` for what the checkout holds."""
    place = here()
    if place is None:
        raise SystemExit("nadam-ref: there is no book/results here")
    write_whole(REGISTRY, csv_text([("path", "sha256"), *files(place).items()]))


if __name__ == "__main__":
    main()

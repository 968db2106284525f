"""The recorded results that the book shows: in `book/results` of a checkout, else fetched by the version's tag.

`released.csv` lists their files with their sha256; `python -m nadam_ref.experiments.released` writes it anew.
"""

from __future__ import annotations

import csv
import hashlib
import io
from importlib.metadata import metadata
from pathlib import Path

import nadam_ref

from .. import checkout
from ..files import write_whole
from .data import DataError, root

__all__ = ["files", "folder", "here", "registry"]

REGISTRY = Path(__file__).with_name("released.csv")


def registry() -> dict[str, str]:
    """The sha256 of every released file, by its path below `book/results`."""
    with REGISTRY.open(encoding="utf-8", newline="") as file:
        return {line["path"]: line["sha256"] for line in csv.DictReader(file)}


def here() -> Path | None:
    """`book/results` of the checkout that `checkout.find` finds; None outside of one."""
    root = checkout.find("book/results")
    return root and root / "book" / "results"


def folder(name: str) -> Path:
    """The folder of one recorded result, such as `images-small`, with all its files.

    Outside of a checkout they are fetched into the cache folder once, and never used unless their sha256 is right.
    Raises `DataError` for an unknown name, and where they are not here and cannot be fetched.
    """
    wanted = {path: sha256 for path, sha256 in registry().items() if path.startswith(f"{name}/")}
    if not wanted:
        known = sorted({path.partition("/")[0] for path in registry()})
        raise DataError(f"no recorded result is called {name!r}; there are: {', '.join(known)}")
    if (found := here()) is not None:
        return found / name
    place = root() / f"results-{nadam_ref.__version__}"
    for path, sha256 in wanted.items():
        _fetch(path, sha256, place)
    return place / name


def _fetch(path: str, sha256: str, place: Path) -> None:
    import pooch

    address = _address(path)
    target = place / path
    try:
        pooch.retrieve(address, f"sha256:{sha256}", fname=target.name, path=target.parent)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} is not in a checkout and could not be fetched from {address}: {error}; "
            "clone the repository and work there, or try again with a network"
        ) from error


def _address(path: str) -> str:
    """Where the tag of this version has a file of `book/results`."""
    urls = dict(line.split(", ", 1) for line in metadata("nadam_ref").get_all("Project-URL") or [])
    return f"{urls['Repository']}/raw/v{nadam_ref.__version__}/book/results/{path}"


def files(place: Path) -> dict[str, str]:
    """The sha256 of every file below a folder, by path."""
    return {
        path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


def main() -> None:
    """Write `released.csv` for what the checkout holds."""
    place = here()
    if place is None:
        raise SystemExit("nadam-ref: there is no book/results here")
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["path", "sha256"])
    lines.writerows(files(place).items())
    write_whole(REGISTRY, text.getvalue())


if __name__ == "__main__":
    main()

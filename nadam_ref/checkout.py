"""Which checkout of the repository is meant: where the book's sources are, and its recorded results."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).parent
#: Names the checkout to programs that run in a folder of their own: the chapters and Sphinx.
VARIABLE = "NADAM_REF_CHECKOUT"


def find(part: str, start: Path | None = None) -> Path | None:
    """The checkout from `start` upwards, else the one that holds the package, else None.

    `part`: what it must have, a path in it. `start`: by default the folder that ``NADAM_REF_CHECKOUT`` names, else the
    working directory.
    """
    start = Path(start or os.environ.get(VARIABLE) or "").absolute()
    for folder in (start, *start.parents, *PACKAGE.parents):
        if (folder / "_config.yml").is_file() and (folder / part).exists():
            return folder.resolve()
    return None

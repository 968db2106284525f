"""From notebooks to the rendered book: execute, normalise, stage, render. Needs the extra `book`."""

from __future__ import annotations

from pathlib import Path

from .. import checkout
from ..errors import NadamRefError


class BookError(NadamRefError):
    """The book cannot be built. The message is for the person who sees it: what was wrong, and what to do."""


def find_root(start: Path | None = None) -> Path:
    """The checkout with the book's sources, as `checkout.find` finds it. Raises `BookError` where there is none."""
    root = checkout.find("book/_toc.yml", start)
    if root is None:
        raise BookError(f"no book in {start or Path.cwd()} or above it: run this in a checkout of the repository")
    return root

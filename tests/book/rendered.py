"""A rendered book as files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bs4 import BeautifulSoup


def pages(html: Path) -> list[Path]:
    """Every page; not the index, which only leads on to the first of them, and not what the theme keeps for itself."""
    found = (path for path in html.rglob("*.html") if path.relative_to(html).parts[0] not in ("_static", "index.html"))
    return sorted(found)


@cache
def soup(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")

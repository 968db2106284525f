"""A rendered book as files."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from bs4 import BeautifulSoup


def pages(html: Path) -> list[Path]:
    """Every page of the book.

    Not the index, which only leads on to the first of them, what the theme keeps for itself, and the page that others
    embed, which has no theme (`test_widget_page.py`).
    """
    others = ("_static", "embed", "index.html")
    return sorted(path for path in html.rglob("*.html") if path.relative_to(html).parts[0] not in others)


@cache
def soup(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")

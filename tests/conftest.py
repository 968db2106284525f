"""How tests are marked, and in which order several processes take them."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from nadam_ref.book import faults

#: The tests that look at every page: to render the book and to look takes longest.
FIRST = "test_browser.py"
#: Fixtures that are, or may be, a rendered book.
BOOKS = {"built", "whole_book", "html"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test that is named after faults with their numbers, so that `pytest -m fault` lists it."""
    if numbers := faults.numbers(item.name):
        item.add_marker(pytest.mark.fault(*numbers))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Render first, beside tests that need one processor; what looks at the books comes when they are there."""
    rendered = {item.path for item in items if not BOOKS.isdisjoint(getattr(item, "fixturenames", ()))}

    def place(path: Path) -> int:
        if path.name == FIRST:
            return 0
        return 4 if path in rendered else {"core": 1, "experiments": 2, "book": 3}.get(path.parent.name, 5)

    items.sort(key=lambda item: place(item.path))


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of every later search for garbage: it lives to the end."""
    gc.collect()
    gc.freeze()

"""How tests are marked, and in which order several processes take them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from nadam_ref.book import faults

#: The tests that look at every page. To render the book and to look takes longest, so they begin.
FIRST = "test_browser.py"
#: A parameter for a rendered book. Such tests come late, when it is there.
RENDERED = re.compile(r"^(?:def |    ).*\b(?:whole_book: Path|html: Path|built: Built)\b", re.MULTILINE)


@cache
def place(path: Path) -> int:
    """The place of a file's tests: beside the first render are those that need one processor."""
    if path.name == FIRST:
        return 0
    if path.parent.name == "book":
        return 4 if RENDERED.search(path.read_text(encoding="utf-8")) else 3
    return {"core": 1, "experiments": 2}.get(path.parent.name, 5)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test that is named after faults with their numbers, so that `pytest -m fault` lists it."""
    if numbers := faults.numbers(item.name):
        item.add_marker(pytest.mark.fault(*numbers))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them in order."""
    items.sort(key=lambda item: place(item.path))

"""How tests are marked, and how they are shared out among processes."""

from __future__ import annotations

import re
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nadam_ref.book import faults

#: What a test that looks at a rendered book has as a parameter. To render them takes minutes.
BOOKS = {
    "the whole book": re.compile(r"^(?:def |    ).*\b(?:whole_book|html): Path\b", re.MULTILINE),
    "the small book": re.compile(r"^(?:def |    ).*\bbuilt: Built\b", re.MULTILINE),
}


@cache
def book_of(path: Path) -> str | None:
    """The book that a file's tests look at."""
    text = path.read_text(encoding="utf-8")
    return next((book for book, pattern in BOOKS.items() if pattern.search(text)), None)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test that is named after faults with their numbers, so that `pytest -m fault` lists it."""
    if numbers := faults.numbers(item.name):
        item.add_marker(pytest.mark.fault(*numbers))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The rendered books begin first, beside tests that need one processor; those that start processes come later."""
    books, folders = [*BOOKS, None], ["core", "experiments", "book"]

    def place(item: pytest.Item) -> tuple[int, int]:
        folder = item.path.parent.name
        return books.index(book_of(item.path)), folders.index(folder) if folder in folders else len(folders)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay in one process, and all tests of a rendered book, so that it is rendered once."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return book_of(config.rootpath / file) or file

    config.option.loadscopereorder = False
    return Scheduling(config, log)


@pytest.hookimpl(optionalhook=True, wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> Generator[None, int, int]:
    """One more than there are cores: many tests wait for a browser or for a worker."""
    return (yield) + 1

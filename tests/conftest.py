"""How tests are marked, and how they are shared out among processes."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest

from nadam_ref.book import faults

#: A parameter for a book that is rendered for the tests, which takes minutes.
RENDERED = re.compile(r"^(?:def |    ).*\b(?:built: Built|whole_book: Path|html: Path)\b", re.MULTILINE)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test that is named after faults with their numbers, so that `pytest -m fault` lists it."""
    if numbers := faults.numbers(item.name):
        item.add_marker(pytest.mark.fault(*numbers))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay in one process. Those of the rendered books stay in one too, so that no two render them."""
    from xdist.scheduler import LoadFileScheduling

    @cache
    def has_a_book(file: str) -> bool:
        return RENDERED.search((config.rootpath / file).read_text(encoding="utf-8")) is not None

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "the rendered books" if has_a_book(file) else file

    return Scheduling(config, log)

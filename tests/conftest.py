"""A test that is named after faults is marked with their numbers, so that `pytest -m fault` lists it."""

from __future__ import annotations

import pytest

from nadam_ref.book import faults


def pytest_itemcollected(item: pytest.Item) -> None:
    if numbers := faults.numbers(item.name):
        item.add_marker(pytest.mark.fault(*numbers))

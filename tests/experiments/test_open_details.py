"""The table of open details is whole, and says of the code what the code does."""

from __future__ import annotations

import collections
import importlib
from typing import Any

import pytest

from nadam_ref.experiments.open_details import CERTAINTY, COMPARED, Detail, details
from nadam_ref.experiments.protocol.definition import load


def test_every_task_has_its_open_details_once() -> None:
    counts = collections.Counter((row.task, row.detail) for row in details())
    assert set(counts.values()) == {1}
    assert {task for task, _ in counts} == set(load().having("paper"))
    assert {row.compared for row in details()} == set(COMPARED)
    assert {row.certainty for row in details()} == set(CERTAINTY) - {"secondary"}  # which the errata use


@pytest.mark.parametrize("row", details(), ids=lambda row: f"{row.task}: {row.detail}")
def test_a_row_is_filled_in_and_its_constants_are_the_codes(row: Any) -> None:
    for text in (row.paper, row.chosen, row.why):
        assert isinstance(text, str) and text.strip()
    for name, value in row.code.items():
        module, constant = name.split(".")
        assert getattr(importlib.import_module(f"nadam_ref.experiments.tasks.{module}"), constant) == value


def test_an_unknown_degree_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images, x: certainty must be one of found, .* not 'maybe'"):
        Detail("images", "x", "a", "maybe", "b", "same", "c")
    with pytest.raises(ValueError, match=r"images, x: compared must be one of same, .* not 'alike'"):
        Detail("images", "x", "a", "found", "b", "alike", "c")

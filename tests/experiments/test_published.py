"""The papers' table: complete, and honest about how certain each number is."""

import pytest

import nadam_ref
from nadam_ref.experiments.protocol.definition import load
from nadam_ref.experiments.published import CONFIRMED, reported


@pytest.mark.parametrize("task", ["word2vec", "images", "language_model"])
def test_every_task_of_the_report_has_nine_numbers(task):
    table = reported("cs229", task)
    assert set(table) == {arm.optimizer for arm in load().task("images").arms.values()} <= set(nadam_ref.OPTIMIZERS)
    assert all(float(row.value) > 0 for row in table.values())
    assert all(str(row) == row.value for row in table.values())


def test_the_winners_are_those_of_the_reports_text():
    lowest = {
        task: min(reported("cs229", task).values(), key=lambda r: float(r.value)).optimizer
        for task in ("word2vec", "images", "language_model")
    }
    assert lowest == {"word2vec": "Nadam", "images": "RMSProp", "language_model": "Momentum"}


def test_every_number_says_how_certain_it_is():
    tables = [reported("cs229", task) for task in ("word2vec", "images", "language_model")]
    rates = reported("iclr", "autoencoder")
    assert {row.confirmed for table in [*tables, rates] for row in table.values()} <= set(CONFIRMED)
    assert all(row.is_recalled for table in tables for row in table.values())
    assert {name: row.is_recalled for name, row in rates.items() if name in ("Adam", "Nadam")} == {
        "Adam": True,
        "Nadam": False,
    }


def test_an_unknown_table_lists_the_known():
    with pytest.raises(ValueError, match="there are: cs229/images"):
        reported("iclr", "images")

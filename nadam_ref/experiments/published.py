"""The papers' own results, from one table (`published.csv`) that says how certain each number is."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

__all__ = ["CONFIRMED", "Reported", "reported"]

#: How certain a number is: seen in the paper or in a source that is named, stated by independent readers who cite the
#: paper, or recalled.
CONFIRMED = ("seen", "secondary", "recalled")


class Reported(NamedTuple):
    """One printed result: as text with the digits that are printed, and how certain it is (`CONFIRMED`)."""

    paper: str
    task: str
    metric: str
    optimizer: str
    value: str
    confirmed: str

    @property
    def is_recalled(self) -> bool:
        """Whether nobody has seen the number in print, here or elsewhere."""
        return self.confirmed == "recalled"

    def __str__(self) -> str:
        return self.value


def reported(paper: str, task: str) -> dict[str, Reported]:
    """A paper's results on a task, by class name of the optimizer. Raises `ValueError` where there are none."""
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as lines:
        _, *rows = map(Reported._make, csv.reader(lines))
    results = {row.optimizer: row for row in rows if (row.paper, row.task) == (paper, task)}
    if not results:
        there = ", ".join(sorted({f"{row.paper}/{row.task}" for row in rows}))
        raise ValueError(f"no reported results for {paper}/{task}; there are: {there}")
    return results

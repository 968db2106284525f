"""The papers' own results, from one table (`reported.csv`) that says of each number whether it was checked in print."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

__all__ = ["Reported", "reported"]


class Reported(NamedTuple):
    """One printed result: as text with the digits that are printed, and whether it was confirmed against the PDF."""

    paper: str
    task: str
    metric: str
    optimizer: str
    value: str
    confirmed: bool

    def __str__(self) -> str:
        return self.value if self.confirmed else f"{self.value}?"


def reported(paper: str, task: str) -> dict[str, Reported]:
    """A paper's results on a task, by class name of the optimizer. Raises `ValueError` where there are none."""
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as lines:
        _, *table = csv.reader(lines)
    rows = [
        Reported(paper_, task_, metric, name, value, confirmed == "yes")
        for paper_, task_, metric, name, value, confirmed in table
    ]
    found = {row.optimizer: row for row in rows if (row.paper, row.task) == (paper, task)}
    if not found:
        there = ", ".join(sorted({f"{row.paper}/{row.task}" for row in rows}))
        raise ValueError(f"no reported results for {paper}/{task}; there are: {there}")
    return found

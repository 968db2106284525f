"""The cells of a chapter, executed as a page does it but in this process."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib as mpl
import pytest
from small_book import ROOT

from nadam_ref.book.build import notebooks
from nadam_ref.book.cells import recorded
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs.record import Record


def prose(name: str) -> str:
    """The text of a chapter."""
    return "\n".join(
        x.source for x in notebooks.read(ROOT / f"notebooks/{name}.ipynb").cells if x.cell_type == "markdown"
    )


@contextmanager
def carried_out(name: str, *without: str) -> Iterator[dict[str, Any]]:
    """A chapter's names after all of its code cells, but for those that install or contain one of `without`."""
    module, before = ModuleType("__main__"), sys.modules["__main__"]
    sys.modules["__main__"] = module  # where a page's own classes are looked for
    with mpl.rc_context():
        for cell in notebooks.read(ROOT / f"notebooks/{name}.ipynb").cells:
            if cell.cell_type == "code" and not any(x in cell.source for x in ("%pip", *without)):
                exec(cell.source, module.__dict__)
    yield module.__dict__
    sys.modules["__main__"] = before


def change_known(
    place: Path, monkeypatch: pytest.MonkeyPatch, run: Record, curve: str, last: float, **metrics: float
) -> None:
    """Let the book's results have another last value on a curve of a known run, and other metrics."""
    curves = {**run.curves, curve: [*run.curves[curve][:-1], last]}
    changed = dataclasses.replace(run, curves=curves, metrics={**run.metrics, **metrics})
    others = [r for r in pack.read(ROOT / "book" / "results" / "known") if r.spec.id != run.spec.id]
    pack.write(place / "known", [*others, changed])
    monkeypatch.setattr(recorded, "folder", lambda name: place / name)

"""The cells of a chapter, executed as a page does it but in this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import matplotlib as mpl
from small_book import ROOT

from nadam_ref.book.build import notebooks


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

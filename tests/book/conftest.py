"""The small book that several tests look at is built once."""

from __future__ import annotations

import pytest
from small_book import Built, make_book

from nadam_ref.book.build import build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Two chapters and the reference pages, built strictly, and built a second time with nothing changed."""
    root = make_book(tmp_path_factory.mktemp("a small böok"), "01_first", "02_second")
    seen: list[tuple[str, int, int]] = []
    report = build(root=root, parameters={"seed": 7}, progress=lambda *event: seen.append(event))
    return Built(root, report, build(root=root, parameters={"seed": 7}), seen)

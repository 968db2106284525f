"""The books that several tests look at are built once: a small one, with all that is difficult, and the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_book import ROOT, Built, make_book

from nadam_ref.book.build import build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Two chapters and the reference pages, built strictly, and built a second time with nothing changed."""
    root = make_book(tmp_path_factory.mktemp("a small böok"), "01_first", "02_second")
    seen: list[tuple[str, int, int]] = []
    report = build(root=root, parameters={"seed": 7}, progress=lambda *event: seen.append(event))
    return Built(root, report, build(root=root, parameters={"seed": 7}), seen)


@pytest.fixture(scope="session")
def whole_book() -> Path:
    """The pages of the project's own book, with its experiments at their smallest size; chapters are executed once."""
    index = build(root=ROOT, profile="smoke", output=ROOT / "_build" / "smoke").index
    assert index is not None
    return index.parent


@pytest.fixture(scope="session", params=["small", "whole"])
def html(request: pytest.FixtureRequest) -> Path:
    """The folder of a rendered book, of either."""
    if request.param == "small":
        return Path(request.getfixturevalue("built").html)
    return Path(request.getfixturevalue("whole_book"))

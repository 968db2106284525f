"""Two books, a small one and the whole one, are built once for all tests; a browser is started for each module."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from small_book import ROOT, Built, make_book

from nadam_ref.book.build.driver import build

QUIET = ("no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update", "disable-sync")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Built:
    """Two chapters and the reference pages, built strictly, and built a second time with nothing changed."""
    base = tmp_path_factory.getbasetemp()
    kept = (base.parent if hasattr(request.config, "workerinput") else base) / "small_book.pickle"
    with FileLock(kept.with_suffix(".lock")):  # of several processes that test, one builds and the others find it
        if not kept.exists():
            root = make_book(tmp_path_factory.mktemp("a small böok"), "01_first", "02_second")
            seen: list[tuple[str, int, int]] = []
            report = build(root=root, parameters={"seed": 7}, progress=lambda *event: seen.append(event))
            again = build(root=root, parameters={"seed": 7})
            kept.write_bytes(pickle.dumps(Built(root, report, again, seen)))
        found: Built = pickle.loads(kept.read_bytes())
    return found


@pytest.fixture(scope="session")
def whole_book() -> Path:
    """The pages of the project's own book, with its experiments at their smallest size; chapters are executed once."""
    output = ROOT / "_build" / "smoke"
    output.mkdir(parents=True, exist_ok=True)
    with FileLock(output.with_suffix(".lock")):
        index = build(root=ROOT, profile="smoke", output=output).index
    assert index is not None
    return index.parent


@pytest.fixture(scope="session", params=["small", "whole"])
def html(request: pytest.FixtureRequest) -> Path:
    """The folder of a rendered book, of either."""
    if request.param == "small":
        return Path(request.getfixturevalue("built").html)
    return Path(request.getfixturevalue("whole_book"))


@pytest.fixture(scope="module")  # not longer: while playwright runs, no other test can have an event loop
def browser() -> Iterator[Any]:
    """Chromium, headless; the test is skipped where it or playwright is absent."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=[f"--{name}" for name in (*QUIET, "no-first-run")])
        yield chromium
        chromium.close()

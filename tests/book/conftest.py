"""The small book that several tests look at is built once, and the browser they look with is started once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from small_book import Built, make_book

from nadam_ref.book.build import build

QUIET = ("no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update", "disable-sync")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Two chapters and the reference pages, built strictly, and built a second time with nothing changed."""
    root = make_book(tmp_path_factory.mktemp("a small böok"), "01_first", "02_second")
    seen: list[tuple[str, int, int]] = []
    report = build(root=root, parameters={"seed": 7}, progress=lambda *event: seen.append(event))
    return Built(root, report, build(root=root, parameters={"seed": 7}), seen)


@pytest.fixture(scope="session")
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

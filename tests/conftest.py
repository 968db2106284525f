"""How tests are shared out among processes: a file's tests stay together, and so do all that look at the book."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `-n … --dist loadgroup`: what is expensive to make, as the rendered book, is made in one process only."""
    if not hasattr(config, "workerinput"):
        return
    for item in items:
        path = item.path.relative_to(TESTS)
        item.add_marker(pytest.mark.xdist_group("book" if path.parts[0] == "book" else str(path)))
    # The longest group begins first, so that no process is left alone with it in the end.
    items.sort(key=lambda item: item.path.relative_to(TESTS).parts[0] != "book")

"""A run short enough for tests."""

from __future__ import annotations

from typing import Any

import pytest
import specs


@pytest.fixture
def make_spec() -> Any:
    """`specs.spec`: the spec of a few steps, with some fields changed."""
    return specs.spec

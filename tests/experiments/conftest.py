"""A run short enough for tests."""

import pytest
import specs


@pytest.fixture
def make_spec():
    """`specs.spec`: the spec of a few steps, with some fields changed."""
    return specs.spec

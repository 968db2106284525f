"""The chapter "Which Nadam?": its own cells are executed, and what they compute is compared with what is known."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from small_book import ROOT

from nadam_ref import paper
from nadam_ref.book.build import notebooks

#: Step lengths on the gradient 1, read off the libraries' sources and worked out apart from this project.
KNOWN = {
    ("iclr", 0.99): "1.331 1.094 1.008 1.000 1.000 1.000 1.000 1.000",
    ("cs229", 0.99): "1.007 0.680 0.545 0.552 0.698 0.816 0.932 0.997",
    ("cs229", 0.9): "1.056 0.784 0.746 0.843 0.998 1.000 1.000 1.000",
    ("constant", 0.99): "1.497 1.166 1.033 1.009 1.000 1.000 1.000 1.000",
    ("keras3", 0.99): "1.007 0.656 0.466 0.406 0.441 0.641 0.867 0.993",
    ("choi", 0.99): "1.990 1.493 1.194 1.095 1.015 1.006 1.002 1.000",
}
MU = [0.9 * (1 - 0.5 * 0.96 ** (t / 250)) for t in range(10)]


@pytest.fixture(scope="module")
def page() -> Iterator[dict[str, Any]]:
    """The chapter's names after all of its code cells, but for those that install or train."""
    module, before = ModuleType("__main__"), sys.modules["__main__"]
    sys.modules["__main__"] = module  # where the page's own optimizer is looked for
    cells = notebooks.read(ROOT / "notebooks" / "11_which_nadam.ipynb").cells
    with mpl.rc_context():
        for cell in cells:
            if cell.cell_type == "code" and not any(x in cell.source for x in ("%pip", "train(", "found")):
                exec(cell.source, module.__dict__)
    yield module.__dict__
    sys.modules["__main__"] = before


def length(P: float, P_next: float, t: int) -> float:
    """The report's step on the gradient 1 with these products; m = 1 − .9ᵗ."""
    return MU[t + 1] * (1 - 0.9**t) / (1 - P_next) + (1 - MU[t]) / (1 - P)


def test_the_table_of_step_lengths(page: dict[str, Any]) -> None:
    table = {form: " ".join(f"{page['lengths'][form][t - 1]:.3f}" for t in page["at"]) for form in page["forms"]}
    assert page["at"] == [1, 2, 5, 10, 50, 100, 200, 500]
    assert table == KNOWN


def test_keras_runs_the_schedule_250_times_too_fast(page: dict[str, Any]) -> None:
    for t, printed, keras in page["keras_rows"]:
        assert printed == pytest.approx(paper.schedule(0.9, t))
        assert keras == pytest.approx(paper.schedule(0.9, 250 * t))


def test_mu_counted_twice(page: dict[str, Any]) -> None:
    steps = -np.diff(paper.path(paper.nadam, [0.0], lambda θ, t: np.ones(1), 5, η=1.0, μ=0.9, ε=0.0)[:, 0])
    for t, (fixed, before) in enumerate(page["torch_steps"], 1):
        P = math.prod(MU[1 : t + 1])
        assert fixed == pytest.approx(steps[t - 1])
        assert before == pytest.approx(length(P, P * MU[t] * MU[t + 1], t))


def test_one_product_for_three_tensors(page: dict[str, Any]) -> None:
    for t, row in enumerate(page["mxnet_steps"], 1):
        for tensor, step in enumerate(row):
            P = math.prod(MU[1:t]) ** 3 * MU[t] ** (tensor + 1)
            assert step == pytest.approx(length(P, P * MU[t + 1], t))


def test_what_the_page_identifies(page: dict[str, Any]) -> None:
    assert [finding.dialect for finding in page["findings"]] == ["cs229", "Adam", "choi"]


def test_every_dialect_is_its_box(page: dict[str, Any]) -> None:
    assert len(page["rows"]) == 6
    assert max(float(gap) for _, gap in page["rows"]) < 1e-13

"""The network at the end of the chapters: what is shown is what was recorded."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from chapters import prose
from small_book import ROOT

from nadam_ref.book.build import notebooks
from nadam_ref.book.cells import recorded, so_far
from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.runs import pack
from nadam_ref.rules import RULES

CHAPTERS = sorted(path.stem for path in (ROOT / "notebooks").glob("0*.ipynb"))


def records() -> list[recorded.Record]:
    return recorded.runs("digits-small")


def reported(name: str, metric: str) -> list[float]:
    """A method's values at its rate, seed by seed, read without the package's statistics."""
    _, seeds = planning.seeds("small", "digits")
    runs = [r for r in records() if planning.arm(r.spec) == name and r.spec.seed in seeds]
    return [r.metrics[metric] for r in sorted(runs, key=lambda r: r.spec.seed)]


def test_every_method_has_its_place_in_the_order_of_the_rules() -> None:
    """The chapters show each method once as new, after all those before it."""
    new = []
    for chapter in CHAPTERS:
        code = "\n".join(x.source for x in notebooks.read(ROOT / f"notebooks/{chapter}.ipynb").cells)
        (call,) = re.findall(r"so_far\.trained\((.*)\)", code)
        (beside,) = re.findall(r"so_far\.ended\((.*)\)", code)
        assert re.findall(r'"(\w+)"', call) == re.findall(r"(\w+)=", beside)
        new += re.findall(r'"(\w+)"', call)
        assert "## On a network" in prose(chapter)
    assert new == list(RULES)


def test_a_chapter_shows_all_methods_so_far_and_no_other() -> None:
    figure = so_far.trained("NAG")
    assert {name.split(":")[0] for name in figure.data if name != "step"} == {"GD", "Momentum", "NAG"}
    assert figure.data["NAG: test loss"].tolist() == reported("NAG", "test_loss")
    curves = [r.curves["dev_loss"] for r in records() if planning.arm(r.spec) == "GD" and r.spec.seed < 5]
    np.testing.assert_allclose(figure.data["GD: development loss"], np.mean(curves, axis=0), rtol=1e-12)
    means = {name: np.mean(reported(name, "test_loss")) for name in ("GD", "Momentum", "NAG")}
    assert figure.alt == f"Lowest mean test loss first: {', '.join(sorted(means, key=means.__getitem__))}."
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() > 2]
    assert len(thick) == 1 and thick[0].get_ydata()[-1] == figure.data["NAG: development loss"][-1]


def test_the_sentence_has_the_paired_difference() -> None:
    first, second = (np.array(reported(name, "test_loss")) for name in ("Nadam", "Adam"))
    text = so_far.ended(Nadam="Adam").data
    assert text.startswith(f"**Nadam** ends at a test loss of {first.mean():.3f}, Adam at {second.mean():.3f}.")
    change = 100 * np.expm1(np.log(first / second).mean())
    assert f"the difference averages {change:+.1f} % (95".replace("-", "−") in text
    assert "test images correctly" in so_far.ended(GD=None).data


@pytest.mark.parametrize(
    ("factor", "said"), [(0.5, "more than seed-to-seed variation"), (1.0, "too few to separate them")]
)
def test_another_record_changes_number_sentence_and_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float, said: str
) -> None:
    """Adam's runs become RMSProp's with a test loss `factor` times theirs, now more and now less."""
    other = {(r.spec.seed): r.metrics["test_loss"] for r in records() if planning.arm(r.spec) == "RMSProp"}
    changed = []
    for r in records():
        if planning.arm(r.spec) == "Adam" and r.spec.seed in range(5):
            value = other[r.spec.seed] * factor * (1 + 0.01 * (-1) ** r.spec.seed)
            r = dataclasses.replace(r, metrics={**r.metrics, "test_loss": value})
        changed.append(r)
    pack.write(tmp_path / "digits-small", changed)
    monkeypatch.setattr(recorded, "folder", lambda name: tmp_path / name)
    assert said in so_far.ended(Adam="RMSProp").data
    mean = np.mean([r.metrics["test_loss"] for r in changed if planning.arm(r.spec) == "Adam" and r.spec.seed < 5])
    assert f"a test loss of {mean:.3f}" in so_far.ended(Adam="RMSProp").data
    assert so_far.trained("Adam").data["Adam: test loss"].mean() == pytest.approx(mean)

"""What chapter 22 says in words of the recorded runs is what the pack says in numbers."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import constructed
import numpy as np
import pytest
from small_book import ROOT

from nadam_ref.book.build import notebooks
from nadam_ref.book.cells import experiment, images, recorded
from nadam_ref.experiments.protocol.definition import load
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs.record import Record
from nadam_ref.experiments.tasks import TASKS
from nadam_ref.experiments.verdicts.arms import Evidence, gather
from nadam_ref.experiments.verdicts.report import percent
from nadam_ref.rules import schedule

PACK = Path(__file__).parents[2] / "book" / "results" / "images-small"
CHAPTER = ROOT / "notebooks" / "22_mnist.ipynb"
SEEDS = np.exp(np.random.default_rng(1).normal(0, 0.1, 10))


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return pack.read(PACK)


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    found = recorded.of("images", "small").evidence
    assert found is not None
    return found


def test_the_headline_has_the_verdict_of_each_claim(evidence: Evidence) -> None:
    said = experiment.headline(recorded.of("images", "small")).data
    for verdict in recorded.primary(evidence):
        assert verdict.comparison is not None and verdict.comparison.mean is not None
        size = percent(verdict.comparison.mean)
        line = next(line for line in said.splitlines() if f"**{verdict.side.first} against" in line)
        assert size in line and f"(*{verdict.kind.lower()}*)" in line


def test_these_runs_have_hardly_any_momentum(records: list[Record]) -> None:
    """The schedule ends below two thirds of μ, for every arm but the dialects that have none."""
    given = {r.spec.hyperparameters.get("dialect", r.spec.optimizer): r.spec.hyperparameters for r in records}
    decay = {name: x["momentum_decay"] for name, x in given.items() if "momentum_decay" in x}
    scheduled = {"Momentum", "NAG", "Adam", "AdaMax", "cs229", "iclr"}
    assert {name for name, ψ in decay.items() if ψ is not None} == scheduled
    assert {decay[name] for name in scheduled} == {0.004}
    assert {x.get("momentum", x.get("betas", (None,))[0]) for name, x in given.items() if name in decay} == {0.99}
    (steps,) = {record.spec.steps for record in records}
    assert 0.5 * 0.99 < schedule(0.99, 1, 0.004) < schedule(0.99, steps, 0.004) < 2 / 3 * 0.99
    assert f"{schedule(0.99, steps, 0.004):.2f}" in experiment.reached(recorded.of("images", "small")).data


def test_the_sizes_that_the_prose_gives_are_those_of_the_task() -> None:
    prose = "\n".join(cell.source for cell in notebooks.read(CHAPTER).cells if cell.cell_type == "markdown")
    sizes, plan = TASKS["images"].SIZES, load().task("images")
    assert f"stops after {plan.profile('small').data['mnist'].steps:,} steps" in prose
    assert sizes["paper"].conv1 == 4 * sizes["small"].conv1 and sizes["paper"].conv2 == 4 * sizes["small"].conv2
    assert plan.profile("paper").data["mnist"].steps * plan.batch // 55_000 == 9  # and so into the tenth epoch
    alt = images.network().alt
    for units in (sizes["paper"].conv1, sizes["small"].conv1, sizes["paper"].dense, sizes["small"].dense):
        assert re.search(rf"\b{units}\b", alt)


def test_the_price_of_a_rate_follows_the_tuning_runs(evidence: Evidence) -> None:
    """How many methods lose more by their better neighbouring rate than the best method gains over the next."""
    arms = {name: arm for name, arm in evidence["images"].items() if "-" not in name and name != "QHAdam"}
    best, following = sorted(arm.mean("dev_loss") for arm in arms.values())[:2]
    costs = []
    for arm in arms.values():
        rows = sorted(arm.tuning, key=lambda row: row.lr)
        at = next(i for i, row in enumerate(rows) if row.lr == arm.chosen.lr)
        beside = [rows[i].dev_loss.mean for i in (at - 1, at + 1) if 0 <= i < len(rows)]
        costs.append(min(beside) / arm.chosen.dev_loss.mean)
    said = experiment.price(evidence)
    assert said is not None
    assert f"For {sum(cost > following / best for cost in costs)} of the {len(costs)}" in said.data


# ---------------------------------------------------------------- the withdrawn finding


def nadamax(look: float, rest: float, *, at: int) -> Evidence:
    """AdaMax at the middle rate; NadaMax-iclr, `look` beside it in log, and NadaMax, `rest` beside that, at another."""
    noise = np.linspace(-0.01, 0.01, 10)
    records: list[Any] = constructed.arm("images", "AdaMax", SEEDS.tolist())
    records += constructed.arm("images", "NadaMax-iclr", (SEEDS * np.exp(look + noise)).tolist(), best=at)
    records += constructed.arm("images", "NadaMax", (SEEDS * np.exp(look + rest - noise)).tolist(), best=at)
    place = {"nadam_ref": "0.1.0", "commit": None, "dirty": None}
    return gather([dataclasses.replace(r, provenance={**r.provenance, **place}) for r in records], "small")


def said(evidence: Evidence | None) -> str:
    text = images.withdrawn(evidence)
    assert text is not None
    return str(text.data)


def test_unequal_rates_say_nothing_of_the_look_ahead() -> None:
    unequal = nadamax(0.2, -0.2, at=2)
    assert "have not been run yet" in said(unequal)
    lines = experiment.at_one_rate(unequal, "NadaMax", "look-ahead")
    assert lines is not None
    assert "at η = 1, 0.1. One rate: not run." in lines.data


def test_equal_rates_decide_whether_there_are_two_effects() -> None:
    assert "both differences are clear of zero, and opposite" in said(nadamax(0.2, -0.2, at=1))
    assert "no support" in said(nadamax(0.2, 0.2, at=1))
    assert "no support" in said(nadamax(0.0, -0.2, at=1))
    assert images.withdrawn(None) is None
    lines = experiment.at_one_rate(nadamax(0.2, -0.2, at=1), "NadaMax", "look-ahead")
    assert lines is not None
    assert f"One rate: {percent(0.2)} (" in lines.data and "at η = 0.1." in lines.data


def test_the_chapter_and_the_changelog_withdraw_it() -> None:
    prose = "\n".join(cell.source for cell in notebooks.read(CHAPTER).cells if cell.cell_type == "markdown")
    assert "That claim is withdrawn." in prose
    withdrawn = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("### Withdrawn")[2].partition("\n## ")[0]
    assert "two effects that cancel" in withdrawn


def test_the_small_network_has_a_quarter_of_the_channels_and_an_eighth_of_the_dense_units() -> None:
    """As the chapter says in words."""
    sizes = [dataclasses.astuple(TASKS["images"].SIZES[name])[:3] for name in ("paper", "small")]
    assert [large / small for large, small in zip(*sizes, strict=True)] == [4, 4, 8]

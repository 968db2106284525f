"""Claims: directions come from the printed numbers, and every name is one that exists."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.protocol.definition import load
from nadam_ref.experiments.published import Reported
from nadam_ref.experiments.verdicts import claims
from nadam_ref.experiments.verdicts.claims import Side

FILE = Path(claims.__file__).with_suffix(".yaml")


def primary() -> Any:
    return [claim for claim in claims.claims() if claim.primary]


def printed(value: Any) -> Any:
    return Reported("cs229", "images", "test_loss", "Adam", value, "recalled")


def test_the_primary_family_is_three_pairs_on_three_tasks() -> None:
    assert [(c.task, c.label) for c in primary()] == [
        (task, pair)
        for task in ("word2vec", "images", "language_model")
        for pair in ("Nadam vs Adam", "NAG vs Momentum", "NadaMax vs AdaMax")
    ]
    assert [c.metric for c in primary()] == ["test_loss"] * 6 + ["test_perplexity"] * 3


def test_three_of_the_nine_go_against_nesterov() -> None:
    against = {(c.task, c.label) for c in primary() if c.sides[0].direction > 0}
    assert against == {
        ("images", "Nadam vs Adam"),
        ("images", "NAG vs Momentum"),
        ("language_model", "NAG vs Momentum"),
    }
    for claim in primary():
        (side,) = claim.sides
        word = {-1: "lower", 1: "higher"}[side.direction]
        assert claim.sentence == f"{side.first} ends {word} than {side.second}."


def test_gaps_are_those_of_the_printed_numbers() -> None:
    gaps = {(c.task, c.label): c.sides[0].gap for c in primary()}
    assert gaps["word2vec", "Nadam vs Adam"] == pytest.approx(math.log(0.284 / 0.325))
    assert gaps["language_model", "NAG vs Momentum"] == pytest.approx(math.log(99.8 / 99.3))


def test_only_nadamax_on_word2vec_is_unresolved_in_print() -> None:
    assert [(c.task, c.label) for c in primary() if not c.sides[0].resolved] == [("word2vec", "NadaMax vs AdaMax")]


@pytest.mark.parametrize(
    ("first", "second", "resolved"),
    [(".10", ".11", False), (".10", ".12", True), ("1", "1.4", False), ("1", "1.6", True)],
)
def test_a_gap_is_resolved_beyond_its_rounding(first: str, second: str, resolved: bool) -> None:
    assert Side("Adam", "GD", 1, (printed(first), printed(second))).resolved == resolved


def test_no_number_of_a_paper_stands_in_the_claims() -> None:
    text = FILE.read_text(encoding="utf-8")
    for task in ("word2vec", "images", "language_model"):
        for row in claims.reported("cs229", task).values():
            assert row.value not in text


def test_what_is_recalled_says_so() -> None:
    """No printed result was seen in print; the one exploratory claim read in a source is ICLR's."""
    assert {c.paper for c in claims.claims() if not c.recalled} == {"iclr"}
    assert all(c.recalled for c in primary())


def test_exploratory_claims_agree_with_the_printed_table_where_there_is_one() -> None:
    for claim in claims.claims():
        for side in claim.sides:
            if not claim.primary and side.gap is not None:
                assert side.gap < 0 and side.direction == -1, (claim.label, side)


def test_claims_name_arms_of_the_protocol() -> None:
    for claim in claims.claims():
        if claim.task in load().tasks:
            named = {name for side in claim.sides for name in (side.first, side.second)}
            assert named <= set(planning.arms(claim.task))
    named = {name for part in claims.parts() for name in (part.first, part.second)}
    assert named <= {name for task in load().tasks for name in planning.arms(task)}


def test_delta_is_a_quarter_of_the_gap_or_the_least_that_matters() -> None:
    rules = claims.verdict_rules()
    assert rules.delta("test_loss", math.log(0.284 / 0.325)) == pytest.approx(-math.log(0.284 / 0.325) / 4)
    assert rules.delta("test_loss", -0.01) == rules.delta("dev_loss", None) == 0.02
    assert rules.delta("test_perplexity", 0.001) == 0.005


@pytest.mark.parametrize("place", ["pairs: [[Nadam,", "better: [Nadam]", "of: [Nadam,"])
def test_fault_73_a_claim_about_an_unknown_optimizer(place: str) -> None:
    text = FILE.read_text(encoding="utf-8")
    assert place in text
    with pytest.raises(claims.ClaimError, match="'Nedam'; there are: AdaMax, Adam, Adam-common, "):
        claims.read(text.replace(place, place.replace("Nadam", "Nedam")))


def test_equal_printed_numbers_claim_no_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "reported", lambda paper, task: {"Adam": printed(".1"), "Nadam": printed(".10")})
    with pytest.raises(claims.ClaimError, match=r"\.10 for both Nadam and Adam on word2vec; that claims no direction"):
        claims.claims()


@pytest.mark.parametrize(("paper", "metric"), [("iclr", "test_loss"), ("cs229", "dev_loss")])
def test_a_claim_without_printed_numbers_has_no_gap_and_counts_as_resolved(paper: str, metric: str) -> None:
    """The workshop paper has no table on images, and the report's is not of that metric."""
    entry = {"label": "", "sentence": "", "paper": paper, "task": "images", "metric": metric, "confirmed": "seen"}
    (side,) = claims._exploratory({**entry, "pairs": [["Nadam", "Adam"]]}).sides
    assert (side.direction, side.printed, side.gap, side.resolved) == (-1, None, None, True)

"""What the chapters show of recorded runs: the report's own rows, and figures that carry the numbers they draw."""

from __future__ import annotations

import dataclasses
import math
import re

import constructed
import numpy as np
import pytest

from nadam_ref.book.cells import experiment, recorded
from nadam_ref.experiments.protocol.definition import load, profile_of
from nadam_ref.experiments.runs.record import Record
from nadam_ref.experiments.statistics.significance import log_differences
from nadam_ref.experiments.statistics.summary import MissingRunsError
from nadam_ref.experiments.verdicts.arms import Evidence, gather
from nadam_ref.experiments.verdicts.claims import claims
from nadam_ref.experiments.verdicts.report import TABLES
from nadam_ref.rules import RULES

SEEDS = np.exp(np.random.default_rng(1).normal(0, 0.2, 10))
#: Log gap of each second method of a pair over the first.
GAPS = {("Adam", "Nadam"): 0.1, ("Momentum", "NAG"): 0.3, ("AdaMax", "NadaMax"): -0.2}
#: Ten reporting seeds are what version 2 of the protocol planned.
MADE = {"protocol_sha256": profile_of("images", "small", 2).sha256}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    records = []
    for (classical, nesterov), gap in GAPS.items():
        noise = 0.01 * np.linspace(-1, 1, 10)
        records += constructed.arm("images", classical, list(SEEDS))
        records += constructed.arm("images", nesterov, list(SEEDS * np.exp(gap + noise)))
    records += constructed.arm("images", "Nadam-iclr", list(SEEDS * 0.9))
    place = {**MADE, "nadam_ref": "0.1.0", "commit": "c" * 40, "dirty": False}
    return [dataclasses.replace(r, provenance={**r.provenance, **place}) for r in records]


@pytest.fixture(scope="module")
def evidence(records: list[Record]) -> Evidence:
    return gather(records, "small")


def test_the_seeds_are_those_of_the_version_that_the_runs_were_made_under(records: list[Record]) -> None:
    assert recorded.version(records) == 2
    assert list(recorded.evidence(records)["images"]["Adam"].runs) == list(range(10))
    now = {"protocol_sha256": profile_of("images", "small").sha256}
    today = [dataclasses.replace(r, provenance={**r.provenance, **now}) for r in records]
    assert recorded.version(today) == load().version
    with pytest.raises(MissingRunsError, match="seed 10 "):
        recorded.evidence(today)


def test_the_primary_claims_are_those_of_the_task(evidence: Evidence) -> None:
    found = recorded.primary(evidence)
    assert [v.claim.label for v in found] == ["Nadam vs Adam", "NAG vs Momentum", "NadaMax vs AdaMax"]
    assert {v.claim.task for v in found} == {"images"}


def test_the_forest_plot_carries_the_means_it_draws(evidence: Evidence) -> None:
    data = recorded.gaps(recorded.primary(evidence)).data
    mean, low, high, *_ = data["Nadam vs Adam: mean, interval, prediction"]
    adam, nadam = (evidence["images"][name].values("test_loss") for name in ("Adam", "Nadam"))
    assert mean == pytest.approx(log_differences(nadam, adam).mean())
    assert mean == pytest.approx(0.1, abs=1e-9)
    assert low < mean < high
    printed, _ = data["Nadam vs Adam: printed, δ"]
    assert printed == pytest.approx(math.log(0.0183 / 0.0175))


@pytest.mark.parametrize("name", ["verdicts", "methods", "confound", "luck"])
def test_a_table_has_the_rows_of_the_task_alone(evidence: Evidence, name: str) -> None:
    text = recorded.table(evidence, name).data
    assert f":name: tab-images-{name}" in text
    assert "word2vec" not in text and "language" not in text
    assert "; μ at the end 0.50.\n" in text.split(":name:")[0]  # after four steps
    if name == "verdicts":
        assert len([line for line in text.splitlines() if " vs " in line]) == len(GAPS)
        assert text.count("*(exploratory)*") == 2 == sum(c.task == "images" and not c.primary for c in claims())
        row = next(line for line in text.splitlines() if "NAG vs Momentum" in line)
        assert re.search(r"\+35\.0", row)  # exp(.3) − 1
        assert "Reproduced" in row


def test_the_verdict_comes_before_the_numbers_it_rests_on(evidence: Evidence) -> None:
    head, *rows = recorded.table(evidence, "verdicts").cargo["rows"]
    assert head[:3] == ["claim", "verdict", "paper"] and sorted(head) == sorted(TABLES["verdicts"](evidence).heads)
    kinds = ("Reproduced", "Reversed", "No relevant", "Inconclusive", "Not run")
    assert rows and all(row[1].startswith(kinds) for row in rows)


def test_tables_and_figures_say_where_their_runs_come_from(evidence: Evidence) -> None:
    assert recorded.note(evidence).startswith("profile small · data mnist · seeds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 · a CPU")
    assert recorded.note(evidence).endswith("runs of nadam-ref 0.1.0, commit cccccccccc")
    learning = experiment.learning(evidence)
    assert learning is not None
    assert recorded.table(evidence, "methods").cargo["note"] == learning.note == recorded.note(evidence)
    assert recorded.gaps(recorded.primary(evidence)).note == recorded.note(evidence)


def test_panels_hold_every_method_once() -> None:
    names = [name for panel in recorded.PANELS.values() for name in panel]
    assert sorted(names) == sorted(name for name, rule in RULES.items() if rule.norm != "sum")

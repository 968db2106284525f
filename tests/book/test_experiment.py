"""What the chapters on experiments show: sentences, tables and figures, all of them computed from the records."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import constructed
import numpy as np
import pytest

from nadam_ref import checkout
from nadam_ref.book.cells import experiment, recorded
from nadam_ref.book.cells.figures import Picture
from nadam_ref.experiments.protocol.definition import profile_of
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs.record import Record
from nadam_ref.experiments.verdicts.arms import Evidence, gather
from nadam_ref.experiments.verdicts.measures import rate_shares

SEEDS = np.exp(np.random.default_rng(1).normal(0, 0.2, 10))
GAPS = {("Adam", "Nadam"): -0.1, ("Momentum", "NAG"): 0.3, ("AdaMax", "NadaMax"): -0.2}
PLACE = {"nadam_ref": "0.1.0", "commit": "c" * 40, "dirty": False, "time": "now", "wall_seconds": 90.0}


def made(task: str = "word2vec", profile: str = "small") -> list[Record]:
    """Runs of six methods and two forms of Nadam, under today's protocol."""
    records = []
    changes: dict[str, Any] = {"profile": profile, "protocol_sha256": profile_of(task, profile).sha256}
    for (classical, nesterov), gap in GAPS.items():
        noise = 0.01 * np.linspace(-1, 1, 10)
        records += constructed.arm(task, classical, list(SEEDS), **changes)
        records += constructed.arm(task, nesterov, list(SEEDS * np.exp(gap + noise)), **changes)
    records += constructed.arm(task, "Nadam-iclr", list(SEEDS * 0.98), **changes)
    records += constructed.arm(task, "Nadam-unit", list(SEEDS * 0.94), **changes)
    place = {**PLACE, "protocol_sha256": changes["protocol_sha256"]}
    return [dataclasses.replace(r, provenance={**r.provenance, **place}) for r in records]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return gather(made(), "small")


def test_curves_and_rates_have_each_method_and_no_dialect(evidence: Evidence) -> None:
    methods = {name for pair in GAPS for name in pair}
    learning, rates = experiment.learning(evidence), experiment.rates(evidence)
    assert learning is not None and rates is not None
    assert {name.removesuffix(" mean") for name in learning.data if name.endswith(" mean")} == methods
    assert {name.removesuffix(" η") for name in rates.data if name.endswith(" η")} == methods
    assert list(rates.data["Adam η"]) == list(constructed.RATES)
    assert list(rates.data["Adam mean"]) == [2.0, 1.0, 2.0]  # as constructed: 1 + the distance from the best


def test_a_rate_that_diverged_is_left_out_of_the_figure() -> None:
    records = [r for r in made() if not (r.spec.lr == 1.0 and r.spec.optimizer == "Adam" and r.spec.seed >= 1000)]
    (some, *_) = (r for r in records if r.spec.optimizer == "Adam")
    lost = [constructed.record("word2vec", "Adam", 1.0, seed, math.inf) for seed in constructed.TUNING]
    sha256 = some.protocol_sha256
    records += [
        dataclasses.replace(
            r, spec=dataclasses.replace(r.spec, protocol_sha256=sha256), provenance={**r.provenance, **some.provenance}
        )
        for r in lost
    ]
    rates = experiment.rates(gather(records, "small"))
    assert rates is not None
    assert list(rates.data["Adam η"]) == [0.01, 0.1]

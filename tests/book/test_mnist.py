"""What chapter 22 says in words of the recorded runs is what the pack says in numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nadam_ref.book.cells import recorded
from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs.record import Record
from nadam_ref.experiments.verdicts.arms import Evidence
from nadam_ref.experiments.verdicts.seed_luck import seed_luck
from nadam_ref.experiments.verdicts.verdicts import confound
from nadam_ref.rules import schedule

PACK = Path(__file__).parents[2] / "book" / "results" / "images-small"


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return pack.read(PACK)


@pytest.fixture(scope="module")
def evidence(records: list[Record]) -> Evidence:
    return recorded.evidence(records)


def test_all_three_claims_are_inconclusive_and_the_printed_gaps_within_reach(evidence: Evidence) -> None:
    for verdict in recorded.primary(evidence):
        assert verdict.kind == "Inconclusive"
        assert verdict.needed is not None and verdict.needed > 10
        assert verdict.suffixes == ("approximate set-up",)
        assert verdict.comparison is not None and verdict.comparison.prediction is not None
        low, high = verdict.comparison.prediction
        assert verdict.side.gap is not None
        assert low < -abs(verdict.side.gap) and abs(verdict.side.gap) < high


def test_of_the_parts_of_the_gain_only_two_of_nadamax_are_clear_of_zero(evidence: Evidence) -> None:
    clear = {}
    for effect in confound(evidence):
        interval = effect.comparison.interval
        assert interval is not None
        if np.prod(np.sign(interval)) > 0:
            clear[effect.part.method, effect.part.part] = np.sign(interval[0])
    assert clear == {("NadaMax", "look-ahead"): 1, ("NadaMax", "memory and length"): -1}


def test_the_two_rows_of_nadamax_mix_look_ahead_and_rate(records: list[Record], evidence: Evidence) -> None:
    """Half a decade apart, chosen by two seeds, which at equal rates point both ways."""
    ahead, without = (evidence["images"][name] for name in ("NadaMax-iclr", "AdaMax"))
    assert np.log10(ahead.chosen.lr / without.chosen.lr) == pytest.approx(0.5, abs=0.01)
    assert len({record.spec.seed for record in records if planning.tunes(record)}) == 2
    lower = []
    for lr in (ahead.chosen.lr, without.chosen.lr):
        loss = [next(row.dev_loss.mean for row in arm.tuning if row.lr == lr) for arm in (ahead, without)]
        lower.append(loss[0] < loss[1])
    assert lower == [True, False]


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


def test_single_runs_would_have_written_the_sentences_as_a_coin_does(evidence: Evidence) -> None:
    shares = {claim.label: share for claim, share in seed_luck(evidence) if claim.primary}
    assert len(shares) == 3
    assert all(0.4 < share < 0.5 for share in shares.values())
    assert all(abs(share - 1 / 9) < 0.03 for claim, share in seed_luck(evidence) if not claim.primary)


def test_for_most_methods_half_a_decade_costs_more_than_the_best_gains_on_the_next(evidence: Evidence) -> None:
    arms = {name: arm for name, arm in evidence["images"].items() if "-" not in name}
    best, following = sorted(arm.mean("dev_loss") for arm in arms.values())[:2]
    costs = []
    for arm in arms.values():
        rows = sorted(arm.tuning, key=lambda row: row.lr)
        at = next(i for i, row in enumerate(rows) if row.lr == arm.chosen.lr)
        beside = [rows[i].dev_loss.mean for i in (at - 1, at + 1) if 0 <= i < len(rows)]
        costs.append(min(beside) / arm.chosen.dev_loss.mean)
    assert sum(cost > following / best for cost in costs) > len(costs) / 2

"""Nadam today: later methods against their own formulas, where decay acts, and an experiment decided by its records."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import constructed
import numpy as np
import pytest
import torch
from chapters import prose
from small_book import ROOT
from test_experiment import run_until_live

from nadam_ref import Adam, Nadam
from nadam_ref.book.cells import descendants, recorded, today
from nadam_ref.book.cells.descendants import Numerator
from nadam_ref.book.cells.figures import Picture
from nadam_ref.book.cells.recorded import Recorded
from nadam_ref.experiments.protocol.definition import load, profile_of
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs.record import Record
from nadam_ref.experiments.statistics.intervals import t_interval

GRADIENTS = np.random.default_rng(0).standard_normal((30, 4))


def upper(numbers: Any) -> np.ndarray:
    """A m + c g at every step, with the numbers of that step."""
    m, found = np.zeros(4), []
    for t, g in enumerate(GRADIENTS, 1):
        x: Numerator = numbers(t)
        m = x.mu * m + (1.0 if x.momentum == "sum" else 1 - x.mu) * g
        found.append(x.a * m + x.c * g)
    return np.array(found)


# ---------------------------------------------------------------- later methods


def test_lion_s_mixture_is_that_of_the_paper() -> None:
    """Chen and others, 2023: c = β₁ m + (1 − β₁) g, then m = β₂ m + (1 − β₂) g."""
    m, expected = np.zeros(4), []
    for g in GRADIENTS:
        expected.append(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
    assert np.allclose(upper(lambda t: descendants.lion()), expected, rtol=1e-12)


def test_adan_with_equal_decays_has_the_numerator_of_nadam() -> None:
    """Xie and others: m + μ v, with v the mean of the differences of gradients, both from 0."""
    m, v, before, expected = np.zeros(4), np.zeros(4), np.zeros(4), []
    for g in GRADIENTS:
        m, v, before = 0.98 * m + 0.02 * g, 0.98 * v + 0.02 * (g - before), g
        expected.append(m + 0.98 * v)
    assert np.allclose(upper(lambda t: descendants.adan()), expected, rtol=1e-10)
    assert descendants.adan(0.95) == descendants.muon(0.95)


def test_schedule_free_descent_is_a_decaying_sum() -> None:
    """Defazio and others: y = (1−β) z + β x; z ← z − η g(y); x ← its running mean. The steps of y are η (a m + c g)."""
    η, β = 0.1, 0.9
    z = x = np.zeros(4)
    points = [z]
    for t, g in enumerate(GRADIENTS, 1):
        z = z - η * g
        x = x + (z - x) / (t + 1)
        points.append((1 - β) * z + β * x)
    steps = np.diff(points, axis=0)
    assert np.allclose(-η * upper(descendants.schedule_free), steps, rtol=1e-9, atol=1e-12)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch 2.9 and later have Muon")
@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_orthogonalizes_the_numerator(nesterov: bool) -> None:
    """Torch's own iteration, applied to our a m + c g as a 2 × 2 matrix, gives the steps of torch's class."""
    from torch.optim._muon import _zeropower_via_newtonschulz as orthogonal

    kind: Any = torch.optim.Muon
    θ = torch.zeros(2, 2, requires_grad=True)
    optimizer = kind([θ], lr=1.0, momentum=0.95, weight_decay=0.0, nesterov=nesterov)
    ours = upper(lambda t: descendants.muon(nesterov=nesterov))
    for g, direction in zip(GRADIENTS, ours, strict=True):
        before = θ.detach().clone()
        θ.grad = torch.tensor(g, dtype=torch.float32).view(2, 2)
        optimizer.step()
        matrix = torch.tensor(direction, dtype=torch.float32).view(2, 2)
        expected = orthogonal(matrix, (3.4445, -4.775, 2.0315), 5, 1e-7).float()
        assert torch.allclose(before - θ.detach(), expected, atol=0.05)


@pytest.mark.parametrize(("name", "kind"), [("AdamW", Adam), ("NAdamW", Nadam), ("QHAdam", Nadam)])
def test_the_first_three_rows_are_the_numbers_of_the_package_s_classes(name: str, kind: Any) -> None:
    """θ's path from a m + c g over the corrected root, with decay beside it, is that of the class."""
    more = {"AdamW": {}, "NAdamW": {"dialect": "constant"}, "QHAdam": {"dialect": "interpolated", "gamma": 0.3}}[name]
    start, η, λ = np.array([1.0, -1.0, 2.0, 0.5]), 0.01, 0.1
    θ = torch.tensor(start, requires_grad=True)
    optimizer = kind([θ], lr=η, eps=0.0, weight_decay=λ, decoupled_weight_decay=True, **more)
    n, expected = np.zeros(4), start.copy()
    for t, (g, step) in enumerate(zip(GRADIENTS, upper(lambda t: descendants.numerators(t)[name]), strict=True), 1):
        n = 0.999 * n + 0.001 * g**2
        expected = (1 - η * λ) * expected - η * step / np.sqrt(n / (1 - 0.999**t))
        θ.grad = torch.tensor(g)
        optimizer.step()
    assert np.allclose(θ.detach().numpy(), expected, rtol=1e-10)


def test_the_table_has_a_row_for_each_method() -> None:
    said = descendants.fits(10).data
    for name, x in descendants.numerators(10).items():
        assert f"| {name} | {x.momentum} | {x.mu:.4g} | {x.a:.4g} | {x.c:.4g} |" in said
    assert list(descendants.numerators(10)) == list(descendants.KEPT) and "| SOAP |" in said
    lion = descendants.lion()
    assert lion.c == pytest.approx(1 - 0.9 / 0.99) and lion.a + lion.c == pytest.approx(1)


# ---------------------------------------------------------------- weight decay


def test_decoupled_decay_is_the_same_for_all_weights_and_coupled_decay_goes_by_their_gradients() -> None:
    found = descendants.shrunk()
    assert np.allclose(found["decoupled"][-1], 0.999**1000, atol=0.01)
    small, middle, large = found["coupled"][-1]
    assert abs(small) < 0.05 < middle < 0.7 < large
    figure = descendants.shrinking()
    assert list(figure.data["coupled, gradients ±10"]) == list(found["coupled"][:, 2])
    assert figure.for_phones() is not None and "left" in figure.alt


# ---------------------------------------------------------------- the experiment

SEEDS = 2.0 * np.exp(np.random.default_rng(3).normal(0, 0.01, 10))
NOISE = 0.001 * np.linspace(-1, 1, 10)
#: log ratio to AdamW at the best decay, by method; the second decay is the best of each.
GAPS = {
    "AdamW": 0.0,
    "NAdamW-constant": -0.02,
    "NAdamW-iclr": 0.0,
    "NAdamW-cs229": 0.03,
    "Muon": -0.1,
    "Muon-plain": -0.08,
    "NAG": 0.2,
}


def made(**gaps: float) -> list[Record]:
    """Runs of all arms. On the tuning seeds the second decay is best, and reported runs without decay are worse."""
    plan = profile_of("transformer", "small")
    place = {"nadam_ref": "0.1.0", "commit": "c" * 40, "dirty": False, "time": "now", "wall_seconds": 40.0}
    place["protocol_sha256"] = plan.sha256
    changes = {"profile": "small", "protocol_sha256": plan.sha256, "rates": (0.032, 0.1, 0.32)}
    records = []
    for name in load().task("transformer").arms:
        method, decay = today.split(name)
        second = decay in (0.1, 0.001)
        gap = {**GAPS, **gaps}[method] + (0.0 if second else 0.05)
        arm = constructed.arm(
            "transformer", name, (SEEDS * np.exp(gap + NOISE * (method != "AdamW"))).tolist(), **changes
        )
        for r in arm:
            tuned = r.spec.seed >= 1000 and not second
            metrics = {key: value + 0.1 * tuned for key, value in r.metrics.items()}
            records.append(dataclasses.replace(r, metrics=metrics, provenance={**r.provenance, **place}))
    return records


def of(records: list[Record]) -> Recorded:
    return Recorded("transformer", "small", records, recorded._judged(records))


@pytest.fixture(scope="module")
def small() -> Recorded:
    return of(made())


def test_each_method_is_shown_with_the_decay_of_its_tuning_seeds(small: Recorded) -> None:
    evidence = today.methods(small)
    assert evidence is not None
    chosen = {name: arm.spec.hyperparameters["weight_decay"] for name, arm in evidence["transformer"].items()}
    assert chosen == {name: 0.001 if name == "NAG" else 0.1 for name in GAPS}
    said = today.decays(small).data
    assert said.count("**") == 2 * len(GAPS) and "**1.0000 (0.1, 0.1)**" in said
    records = made()
    for i, r in enumerate(records):  # now no decay is best for AdamW
        if r.spec.seed >= 1000 and r.spec.optimizer == "Adam" and r.spec.hyperparameters["weight_decay"] == 0:
            records[i] = dataclasses.replace(r, metrics={k: v * 0.5 for k, v in r.metrics.items()})
    other = today.methods(of(records))
    assert other is not None and other["transformer"]["AdamW"].spec.hyperparameters["weight_decay"] == 0


def test_the_verdict_has_the_numbers_of_the_records(small: Recorded) -> None:
    said = today.verdict(small).data
    assert said.startswith("**On a small transformer, the look-ahead makes AdamW better.**")
    low, high = t_interval(-0.02 + NOISE) or (0, 0)
    interval = " to ".join(f"{100 * math.expm1(x):+.1f} %".replace("-", "−") for x in (low, high))
    assert (
        f"**NAdamW-constant against AdamW** (the look-ahead and nothing else): −2.0 % (95 % interval {interval}" in said
    )
    assert "**NAG against AdamW** (no norm): +22.1 %" in said and "AdamW is lower." in said
    assert "**Muon against Muon-plain**" in said and "Muon is lower." in said
    assert "NAdamW-iclr against AdamW** (the look-ahead with a schedule of $\\mu$): +0.0" in said.replace(
        "−0.0", "+0.0"
    )
    assert "within seed-to-seed variation" in said


@pytest.mark.parametrize(("gap", "words", "advised"), [(0.02, "worse", "No"), (0.0, "no difference", "no good")])
def test_another_result_changes_sentence_number_and_figure(
    small: Recorded, gap: float, words: str, advised: str
) -> None:
    changed = of(made(**{"NAdamW-constant": gap}))
    said = today.verdict(changed).data
    assert words in said.split("**")[1] and said != today.verdict(small).data
    before, after = (today.forest(it).data for it in (small, changed))
    (key,) = (name for name in after if name.startswith("NAdamW-constant / AdamW"))
    assert before[key][0] == pytest.approx(-0.02) and after[key][0] == pytest.approx(gap, abs=1e-12)
    assert today.dots(changed).data["NAdamW-constant"] == pytest.approx(SEEDS * np.exp(gap + NOISE))
    rows = dict(line.split(" | ", 2)[:2] for line in today.advice(changed).data.splitlines() if line.startswith("| "))
    assert f"In AdamW: {'It does no harm, and ' * (gap == 0)}{advised}" in rows["| Switch the look-ahead on?"]
    assert today.order(changed).data != today.order(small).data


def test_the_advice_follows_the_verdicts(small: Recorded) -> None:
    said = today.advice(small).data
    assert "| Which optimizer? | Muon, which ends −9.5 % (−9.6 % to −9.5 %) from AdamW |" in said
    assert "In AdamW: Yes, −2.0 %" in said and "In Muon: Yes, −2.0 %" in said
    assert "NAdamW-constant has the lowest mean; it is clearly below NAdamW-iclr and NAdamW-cs229" in said
    assert "AdamW with 0.1 is lower than without, −4.9 %" in said
    assert "The better of the rates a half-decade off costs +100.0 %" in said  # 2 beside 1, as constructed
    nothing = of(made(**{name: 0.1 for name in GAPS if name != "AdamW"}))
    assert "AdamW: no other method ended clearly below it" in today.advice(nothing).data


def test_a_rate_at_the_end_of_its_search_is_named() -> None:
    records = [
        dataclasses.replace(r, metrics={key: value * 0.1 for key, value in r.metrics.items()})
        if r.spec.seed >= 1000 and r.spec.lr == 0.032 and r.spec.optimizer == "NAG"
        else r
        for r in made()
    ]
    for r in [r for r in records if r.spec.seed < 1000 and r.spec.optimizer == "NAG"]:
        lower = dataclasses.replace(r.spec, hyperparameters={**r.spec.hyperparameters, "lr": 0.032})
        records.append(dataclasses.replace(r, spec=lower))
    assert "not at its best rate: NAG." in today.verdict(of(records)).data
    assert "NAG 0.032 (edge)" in today.advice(of(records)).data
    assert "best rate:" not in today.verdict(of(made())).data


def test_order_and_figures(small: Recorded) -> None:
    said = today.order(small).data
    assert said.index("Muon ") < said.index("Muon-plain") < said.index("NAdamW-constant") < said.index("NAG")
    assert "Muon is clearly lower than all others" in said
    for figure in (today.forest(small), today.dots(small), today.curves(small), today.search(small)):
        assert isinstance(figure, Picture) and figure.alt and "text8" in figure.get_suptitle()
        assert "μ" not in figure.get_suptitle()  # the methods have several
    assert [name for panel in today.PANELS.values() for name in panel] == list(GAPS)


def test_nothing_is_said_before_the_runs() -> None:
    none = Recorded("transformer", "small", [], None)
    said = today.verdict(none).data
    assert "no result yet" in said and "`nadam-ref sweep small --task transformer`" in said
    assert "{numref}" not in today.advice(none).data  # no figure is there to refer to
    assert today.advice(none).data.count(f"| {today.NOTHING} |") == len(today.ADVICE)
    assert [f(none) for f in (today.forest, today.dots, today.curves, today.search, today.order, today.decays)] == 6 * [
        None
    ]


@pytest.mark.parametrize("there", [False, True])
def test_the_chapter_s_results_are_there_when_their_pack_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    if there:
        pack.write(tmp_path / "transformer-small", made())
    monkeypatch.setattr(recorded, "here", lambda: tmp_path)
    shown = run_until_live(ROOT / "notebooks" / "33_today.ipynb")
    drawn = {name for name, x in shown.items() if isinstance(x, Picture)}
    asked = {name for name in shown if name.startswith("fig-")}
    assert drawn == (asked if there else {"fig-today-decay"})


def test_the_live_run_at_its_smallest(monkeypatch: pytest.MonkeyPatch) -> None:
    records, best = today.sweep_live("smoke", "chain", workers=1)
    assert set(best) <= set(profile_of("transformer", "live").arms) and "AdamW-0.1" in best
    said = today.demonstration(records, best).data
    assert said.count("\n| ") - 2 == len(best) and "6 steps on chain" in said


def test_the_prose_says_what_the_protocol_does() -> None:
    plan, size = load().task("transformer"), profile_of("transformer", "small")
    text = prose("33_today")
    assert (plan.clip_norm, plan.anneal) == (1.0, (0.1, 2)) and "clipped at 1" in text and "falls to a tenth" in text
    (data,) = size.data.values()
    epoch = (data.subset[0] - 1) // (data.batch * 64)
    assert 2 * epoch / data.steps == pytest.approx(2 / 3)
    assert {
        arm.hyperparameters.get("momentum", arm.hyperparameters.get("betas", [0])[0]) for arm in plan.arms.values()
    } == {
        0.9,
        0.95,
    }
    assert today.by_method({"transformer": dict.fromkeys(plan.arms)}).keys() == GAPS.keys()

"""What chapter 23 shows beyond what all chapters on experiments do: two results that do not fit, and clipping."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from chapters import change_known

from nadam_ref.book.cells import language_model
from nadam_ref.book.cells.recorded import Recorded
from nadam_ref.experiments.protocol.definition import load, profile_of
from nadam_ref.experiments.published import reported
from nadam_ref.experiments.runs import training
from nadam_ref.experiments.runs.training import Training
from nadam_ref.experiments.tasks import TASKS
from nadam_ref.rules import RULES

NAMES = ("GD", "Adam")


# ---------------------------------------------------------------- two results that do not fit


def test_the_report_s_numbers_are_all_below_the_tutorial_s_and_ours_is_near_it() -> None:
    record = language_model.known()
    said = language_model.baseline(record).data
    assert "ends at a test perplexity of 115.91, with gradient descent" in said
    assert "between 99.3 (Momentum) and 111 (Adam): 9 of 9 are below the tutorial's" in said
    assert record.metrics["test_perplexity"] / 115.91 == pytest.approx(1, abs=0.05)
    data = language_model.mismatch(record).data
    printed = {name: float(x.value) for name, x in reported("cs229", "language_model").items()}
    assert {name: values[0] for name, values in data.items() if name in printed} == printed
    assert data["the tutorial"][0] == 115.91


def test_another_known_run_changes_sentence_and_figures(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = language_model.known()
    change_known(tmp_path, monkeypatch, before, "dev_perplexity", 90.0, test_perplexity=130.0)
    after, nothing = language_model.known(), Recorded("language_model", "paper", [], None)
    assert "ends at 130.0 (+12.2 %)" in language_model.baseline(after).data
    assert language_model.mismatch(after).data["our repetition"][0] == 130.0
    recipe = language_model.recipe(after, nothing)
    assert recipe.data["the tutorial's recipe"][-1] == 90.0 and "to 90 in the end" in recipe.alt


# ---------------------------------------------------------------- the recipe


def test_the_strip_below_the_perplexities_is_the_factor_that_the_training_took() -> None:
    record = language_model.known()
    data = language_model.recipe(record, Recorded("language_model", "paper", [], None)).data
    assert list(data["factor of the rate"]) == [2.0 ** -max(0, epoch - 5) for epoch in range(1, 14)]
    assert len(data["the tutorial's recipe"]) == 13
    plan = load().task("language_model")
    assert (plan.anneal, plan.clip_norm) == ((0.5, 5), 5.0)  # as the prose says


def test_what_the_sizes_see_of_the_recipe() -> None:
    record = language_model.known()
    small, paper = (Recorded("language_model", name, [], None) for name in ("small", "paper"))
    assert "1,500 steps, 0.65 epochs of 2,323: it ends before" in language_model.epochs(small, record).data
    text = language_model.epochs(paper, record).data
    assert "30,199 steps, 13 epochs of 2,323: the first 5 at the full rate, the last at 0.0039 of it" in text
    sizes = TASKS["language_model"].SIZES
    assert sizes["small"].units / sizes["paper"].units == pytest.approx(1 / 3, rel=0.05)
    assert sizes["small"].words / sizes["paper"].words == pytest.approx(1 / 5)
    steps = [profile_of("language_model", name).data["ptb"].steps for name in ("small", "paper")]
    assert steps[0] / steps[1] == pytest.approx(1 / 20, rel=0.01)


# ---------------------------------------------------------------- clipping


def test_the_norms_are_those_that_are_clipped_and_watching_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against torch's own norm of the same gradients, in a run that nobody watches."""
    spec = dataclasses.replace(language_model._first("smoke", "chain")["Adam"], clip_norm=1.0)
    seen = []

    def clip(grads: list[torch.Tensor], norm: float) -> None:
        seen.append(float(torch.nn.utils.get_total_norm(grads)))
        original(grads, norm)

    original = training.clip
    watched = language_model.Watched(spec)
    norms = watched.walk()
    monkeypatch.setattr(training, "clip", clip)
    alone = Training(spec)
    alone.train(None, None)
    assert norms == pytest.approx(seen, rel=1e-5) and len(norms) == spec.steps
    assert all(torch.equal(x, watched.params[name]) for name, x in alone.params.items())


def test_the_share_of_clipped_steps_is_counted() -> None:
    spec = language_model._first("smoke", "chain")["GD"]
    found = {"GD": np.array([1.0, 2.0, 6.0, 7.0]), "Adam": np.array([6.0, 7.0, 8.0, 4.0])}
    figure = language_model.clipping(spec, found, {"GD": 1.0, "Adam": 0.01})
    assert figure.alt == "Share of clipped steps: Adam 75%, GD 50%."
    assert {"50 %", "75 %"} <= {text.get_text() for text in figure.axes[0].texts}
    said = language_model.shares(spec, found).data
    assert said.startswith("In these first 4 steps Adam has 75 % of its steps clipped, GD 50 %")


def test_a_method_that_divides_by_a_norm_does_not_notice_a_tighter_limit_and_gradient_descent_does() -> None:
    rates = {"GD": 1.0, "Adam": 0.01}
    ends = language_model.rescaled(NAMES, rates, "smoke", [0.1, 0.01])
    change = {name: abs(of[0.01][0] / of[0.1][0] - 1) for name, of in ends.items()}
    assert all(share == 1 for of in ends.values() for _, share in of.values())
    assert change["Adam"] < 0.01 * change["GD"]
    assert "| GD | 1 |" in language_model.limits(ends, rates).data


def test_the_sentence_on_limits_has_the_first_and_the_last() -> None:
    ends = {"GD": {None: (10.0, 0.0), 5.0: (12.0, 0.5), 0.5: (20.0, 1.0)}, "Adam": {None: (4.0, 0.0), 0.5: (3.9, 1.0)}}
    said = language_model.indifference(ends).data
    assert "GD goes from 10.0 to 20.0 (+100.0 %), Adam goes from 4.0 to 3.9 (−2.5 %)" in said


def test_rates_are_those_of_the_search_where_it_is_recorded_else_where_it_begins() -> None:
    nothing = Recorded("language_model", "small", [], None)
    rates = language_model.rates(nothing, "small")
    assert set(rates) == {name for name in RULES if name in load().task("language_model").arms}
    assert (rates["GD"], rates["NAG"], rates["Adam"], rates["AdaMax"]) == (1.0, 0.32, 0.0032, 0.01)


def test_the_demonstration_has_the_best_rate_of_each_method() -> None:
    records, best = language_model.sweep_chain("smoke", workers=1)
    table = language_model.demonstration(records, best).data
    assert table.count("\n| ") == 2 + len(best)  # the head, the line below it, and a row for each method
    for name, lr in best.items():
        chosen = [r.metrics["test_perplexity"] for r in records if (r.spec.optimizer, r.spec.lr) == (name, lr)]
        assert f"| {name} | {lr:g}" in table and f"{np.mean(chosen):.2f} (" in table

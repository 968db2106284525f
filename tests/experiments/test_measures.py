"""How fast, how sensitive to the rate, how lucky: against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import constructed
import numpy as np
import pytest

from nadam_ref.experiments.verdicts import measures, report, seed_luck
from nadam_ref.experiments.verdicts.arms import gather


def test_steps_to_a_target() -> None:
    assert measures.steps_to(1.0, [0, 10, 20, 30], [4.0, 1.5, 1.0, 2.0]) == 20.0
    assert measures.steps_to(0.5, [0, 10], [4.0, 1.5]) == math.inf
    assert measures.steps_to(5.0, [0, 10], [4.0, 1.5]) == 0.0
    with pytest.raises(ValueError, match="shorter"):
        measures.steps_to(0.5, [0, 10, 20], [4.0, 1.5])


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_expected_best_is_the_mean_over_all_draws(k: int) -> None:
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0]
    expected = np.mean([min(draw) for draw in itertools.combinations(values, k)])
    assert measures.expected_best(values, k) == pytest.approx(expected)


def test_fault_68_expected_best_with_diverged_trials() -> None:
    values = [1.0, math.inf, 2.0, math.inf]
    assert measures.expected_best(values, 2) == math.inf  # both may have diverged
    assert measures.expected_best(values, 3) == pytest.approx((1.0 + 1.0 + 1.0 + 2.0) / 4)
    with pytest.raises(ValueError, match="between 1 and the 4 values"):
        measures.expected_best(values, 5)


@pytest.mark.parametrize("values", [[3.0, 1.0, 4.0, 1.5, 5.0, 9.0], [2.0, 1.0, math.inf, math.inf]])
def test_median_best_is_the_median_of_all_draws(values: list[float]) -> None:
    for k in range(1, len(values) + 1):
        smallest = sorted(min(draw) for draw in itertools.combinations(values, k))
        assert measures.median_best(values, k) == smallest[(len(smallest) - 1) // 2]


@pytest.mark.parametrize("best", [measures.expected_best, measures.median_best])
@pytest.mark.parametrize("k", [0, 4])
def test_the_best_of_none_or_of_more_than_there_are(best: Any, k: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and the 3 values, not {k}"):
        best([1.0, 2.0, 3.0], k)


def test_methods() -> None:
    records = constructed.arm("images", "Adam", [0.5, 0.4, 0.6])
    records += constructed.arm("images", "Nadam", [0.3, math.inf, 0.2], best=0)
    evidence = gather(records, "small")
    adam, nadam = measures.methods(evidence)
    assert (adam.arm.lr, adam.arm.chosen.edge, len(adam.arm.runs), adam.arm.diverged) == (0.1, False, 3, 0)
    assert adam.arm.metrics["test_loss"].mean == pytest.approx(0.5)
    assert adam.steps == 4.0  # to its own mean .5: two seeds of three, at the last step
    assert adam.trials == 1.0
    assert (nadam.arm.lr, nadam.arm.chosen.edge, nadam.arm.diverged) == (0.01, True, 1)
    assert nadam.steps == 4.0
    (_, row) = report.TABLES["methods"](evidence).data
    ends = [row["diverged_share_low"], row["diverged_share_high"]]
    assert ends == pytest.approx([0.0615, 0.7923], abs=1e-4)
    assert nadam.arm.metrics["test_loss"].mean == math.inf


def test_a_method_at_its_runner_up() -> None:
    records = constructed.arm("images", "Adam", [0.5, 0.4, 0.6])
    records += [constructed.record("images", "Adam", 0.01, seed, 0.8) for seed in range(3)]
    (adam,) = measures.methods(gather(records, "small"))
    beside = adam.arm.runner_up
    assert (beside.lr, beside.mean("test_loss")) == (0.01, pytest.approx(0.8))


def test_a_methods_trials_are_three_of_its_rates() -> None:
    """Losses 2, 1, 2, 3 by rate: of the four draws of three rates one lacks the 1."""
    (adam,) = measures.methods(gather(constructed.arm("images", "Adam", [0.5], rates=(0.01, 0.1, 1.0, 10.0)), "small"))
    assert adam.trials == 1.25


def momentum(task: Any, name: Any, **changes: Any) -> Any:
    records = constructed.arm(task, name, [0.5], **changes)
    return measures.final_momentum(gather(records, "small")[task])


def test_the_momentum_that_a_run_ends_with() -> None:
    """μ_t = .99 (1 − .5 · .96^(t/250)): .603 after 1,500 steps."""
    assert momentum("images", "Adam", steps=1500) == [pytest.approx(0.99 * (1 - 0.5 * 0.96**6))]
    assert momentum("images", "Nadam-constant") == momentum("images", "GD") == []


def test_of_several_schedules_that_of_the_first_arm_counts() -> None:
    arms = {}
    for name, steps in {"GD": 500, "Nadam": 1500, "Adam": 3000}.items():
        arms |= gather(constructed.arm("images", name, [0.5], steps=steps), "small")["images"]
    assert measures.final_momentum(arms) == [pytest.approx(0.99 * (1 - 0.5 * 0.96**6))]


def test_the_momentum_of_rows_that_count_their_own_steps() -> None:
    records = constructed.arm("word2vec", "Adam", [0.5])
    assert measures.final_momentum(gather(records, "small")["word2vec"]) == []  # nobody counted
    steps = {"row_steps_most": 2500.0, "row_steps_median": 25.0}
    records = [dataclasses.replace(r, metrics={**r.metrics, **steps}) for r in records]
    found = measures.final_momentum(gather(records, "small")["word2vec"])
    assert found == [pytest.approx(0.99 * (1 - 0.5 * 0.96 ** (t / 250))) for t in (2500, 25)]


@pytest.mark.parametrize("adam", [[math.inf, 0.5], [math.inf, math.inf]])
def test_fault_68_the_momentum_of_rows_is_that_of_the_first_run_that_counted(adam: list[float]) -> None:
    records = constructed.arm("word2vec", "Adam", adam) + constructed.arm("word2vec", "Nadam", [0.5, 0.5])
    steps = {"row_steps_most": 2500.0, "row_steps_median": 25.0}
    records = [dataclasses.replace(r, metrics={**r.metrics, **steps}) if r.metrics else r for r in records]
    found = measures.final_momentum(gather(records, "small")["word2vec"])
    assert found == [pytest.approx(0.99 * (1 - 0.5 * 0.96 ** (t / 250))) for t in (2500, 25)]


def test_without_adam_there_are_no_steps_to_target() -> None:
    (found,) = measures.methods(gather(constructed.arm("images", "GD", [1.0]), "small"))
    assert found.steps is None and found.trials == 1.0


# ---------------------------------------------------------------- seed luck


def shares(nadam: Any, adam: Any, **changes: Any) -> Any:
    records = constructed.arm("images", "Nadam", nadam) + constructed.arm("images", "Adam", adam)
    found = seed_luck.seed_luck(gather(records, "small"), **changes)
    return {claim.label: share for claim, share in found}


def test_seed_luck_is_the_share_of_all_draws() -> None:
    """The report says that Nadam ends higher on images. That is true of five of the nine draws; one is a tie."""
    assert shares([1.0, 3.0, 5.0], [1.0, 2.0, 4.0]) == {"Nadam vs Adam": pytest.approx(5 / 9, abs=0.02)}


def test_seed_luck_of_a_sentence_that_says_lower() -> None:
    """On word2vec the report says that Nadam ends lower: true of three draws of nine; one is a tie."""
    records = constructed.arm("word2vec", "Nadam", [1.0, 3.0, 5.0])
    records += constructed.arm("word2vec", "Adam", [1.0, 2.0, 4.0])
    found = seed_luck.seed_luck(gather(records, "small"))
    assert {claim.label: share for claim, share in found}["Nadam vs Adam"] == pytest.approx(3 / 9, abs=0.02)


def test_seed_luck_is_the_same_each_time() -> None:
    values = [1.0, 3.0, 5.0], [1.0, 2.0, 4.0]
    assert shares(*values) == shares(*values) != shares(*values, seed=1)


def test_seed_luck_of_certainties() -> None:
    assert shares([2.0, 2.5], [1.0, 1.5])["Nadam vs Adam"] == 1.0
    assert shares([1.0, 1.5], [2.0, 2.5])["Nadam vs Adam"] == 0.0


def test_fault_68_a_diverged_run_is_worse_than_any_other_and_equal_to_its_like() -> None:
    assert shares([math.inf] * 2, [1.0, 2.0])["Nadam vs Adam"] == 1.0
    assert shares([math.inf] * 2, [math.inf] * 2)["Nadam vs Adam"] == 0.0


def test_a_sentence_of_several_comparisons_needs_them_all() -> None:
    names = ["Nadam", "RMSProp", "Adam"]
    values = [[1.0, 3.0], [2.0, 2.0], [2.0, 2.0]]
    records = [r for n, v in zip(names, values, strict=True) for r in constructed.arm("word2vec", n, v)]
    found = {claim.label: share for claim, share in seed_luck.seed_luck(gather(records, "small"))}
    assert found["Nadam best of its type"] == pytest.approx(0.5, abs=0.02)


def test_the_rates_of_a_bootstrap_over_the_tuning_seeds() -> None:
    """Two seeds that choose differently, and whose mean chooses the first: three draws of four, and one."""
    losses = {(0.01, 1000): 3.0, (0.01, 1001): 3.0, (0.1, 1000): 1.0, (0.1, 1001): 2.0, (1.0, 1000): 4.0}
    losses[1.0, 1001] = 1.0
    records = [constructed.record("images", "Adam", lr, seed, loss) for (lr, seed), loss in losses.items()]
    records += [constructed.record("images", "Adam", 0.1, seed, 1.0) for seed in range(3)]
    arm = gather(records, "small")["images"]["Adam"]
    assert arm.lr == 0.1  # the mean log is log(2)/2, against log(4)/2
    assert measures.rate_shares(arm) == {0.01: 0.0, 0.1: 0.75, 1.0: 0.25}


def test_a_draw_with_a_diverged_run_does_not_choose_its_rate() -> None:
    losses = {(0.1, 1000): 1.0, (0.1, 1001): 1.0, (1.0, 1000): 0.5, (1.0, 1001): math.inf}
    records = [constructed.record("images", "Adam", lr, seed, loss) for (lr, seed), loss in losses.items()]
    records += [constructed.record("images", "Adam", 0.1, seed, 1.0) for seed in range(3)]
    assert measures.rate_shares(gather(records, "small")["images"]["Adam"]) == {0.1: 0.75, 1.0: 0.25}


def test_an_arm_with_one_rate_always_chooses_it() -> None:
    arm = gather(constructed.arm("images", "Adam", [1.0], rates=(0.1,), best=0), "small")["images"]["Adam"]
    assert measures.rate_shares(arm) == {0.1: 1.0}

"""Every verdict and suffix, on runs made up so that the answer is known."""

from __future__ import annotations

import dataclasses
import itertools
import math
from types import SimpleNamespace
from typing import Any

import constructed
import numpy as np
import pytest
from scipy import stats

from nadam_ref.experiments.published import reported
from nadam_ref.experiments.statistics import summary
from nadam_ref.experiments.statistics.intervals import bootstrap_t
from nadam_ref.experiments.statistics.significance import sign_flip, signed_ranks
from nadam_ref.experiments.verdicts import arms as arms_
from nadam_ref.experiments.verdicts import claims as claims_
from nadam_ref.experiments.verdicts import measures, verdicts
from nadam_ref.experiments.verdicts.arms import gather
from nadam_ref.experiments.verdicts.claims import Side, claims, verdict_rules
from nadam_ref.experiments.verdicts.verdicts import Comparison, decide

SPREAD = np.linspace(-1.5, 1.5, 10)  # symmetric around 0, so a mean is exactly what it was made to be
SEEDS = np.exp(np.random.default_rng(0).normal(0, 0.3, 10))  # what a seed does to both runs of a pair


def pair(task: Any, first: Any, second: Any, gap: Any, spread: Any, n: int = 10, **changes: Any) -> Any:
    """Two arms whose log(metric) differ by `gap` on average, with the given spread between pairs."""
    ours = SEEDS[:n] * np.exp(gap + spread * SPREAD[:n])
    return constructed.arm(task, second, list(SEEDS[:n]), **changes) + constructed.arm(
        task, first, list(ours), **changes
    )


def judged(records: Any, profile: str = "small") -> Any:
    return {(v.claim.task, v.claim.label): v for v in verdicts.judge(gather(records, profile))}


def printed_gap(task: Any, first: Any, second: Any) -> Any:
    table = reported("cs229", task)
    return math.log(float(table[first].value) / float(table[second].value))


@pytest.mark.parametrize(
    ("gap", "spread", "kind"),
    [
        (printed_gap("images", "NAG", "Momentum"), 0.01, "Reproduced with size"),
        (0.5 * printed_gap("images", "NAG", "Momentum"), 0.002, "Reproduced"),
        (-0.1, 0.01, "Reversed"),
        (0.0, 0.005, "No relevant difference"),
        (0.01, 0.2, "Inconclusive"),
    ],
)
def test_each_verdict(gap: Any, spread: float, kind: str) -> None:
    found = judged(pair("images", "NAG", "Momentum", gap, spread))["images", "NAG vs Momentum"]
    assert found.kind == kind
    assert found.comparison.mean == pytest.approx(gap, abs=1e-12)
    expected = stats.t.interval(0.95, 9, loc=gap, scale=stats.sem(spread * SPREAD))
    assert found.comparison.interval == pytest.approx(expected, rel=1e-9)
    assert (found.n, found.suffixes) == (10, ("approximate set-up",))
    assert found.delta == max(0.02, printed_gap("images", "NAG", "Momentum") / 4)


def test_holm_counts_claims_that_were_not_run() -> None:
    found = judged(pair("images", "NAG", "Momentum", -0.1, 0.001))["images", "NAG vs Momentum"]
    assert found.comparison.p == 2 / 2**10
    assert found.p == 9 * 2 / 2**10


def test_five_pairs_are_too_few_for_any_claim() -> None:
    found = judged(pair("images", "NAG", "Momentum", 0.07, 0.001, n=5))["images", "NAG vs Momentum"]
    assert (found.kind, found.comparison.p, found.p) == ("Inconclusive", 2 / 2**5, 9 * 2 / 2**5)
    assert found.needed == 9


def test_an_inconclusive_claim_says_how_many_runs_would_decide() -> None:
    found = judged(pair("images", "NAG", "Momentum", 0.05, 0.1))["images", "NAG vs Momentum"]
    assert found.kind == "Inconclusive" and 10 < found.needed < 200
    shift = 0.05 / (0.1 * SPREAD.std(ddof=1)) * math.sqrt(found.needed)
    power = stats.nct.sf(stats.t.ppf(1 - 0.05 / 18, found.needed - 1), found.needed - 1, shift)
    assert power == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("n", [1, 2])
def test_fault_66_one_or_two_seeds_decide_nothing(n: int) -> None:
    found = judged(pair("images", "NAG", "Momentum", -5.0, 0.1, n=n))["images", "NAG vs Momentum"]
    assert (found.kind, found.n, found.needed, found.comparison.interval) == ("Inconclusive", n, None, None)


def test_fault_67_zero_variance() -> None:
    same = judged(pair("images", "NAG", "Momentum", 0.0, 0.0))["images", "NAG vs Momentum"]
    assert (same.kind, same.comparison.interval, same.p) == ("No relevant difference", (0.0, 0.0), 1.0)
    apart = judged(pair("images", "NAG", "Momentum", 0.01, 0.0))["images", "NAG vs Momentum"]
    assert apart.kind == "Reproduced"


def test_fault_68_runs_that_diverged_are_the_worst_and_nothing_is_imputed() -> None:
    """Nadam diverges on two seeds of ten and is better on the rest: the test is Wilcoxon's, and there is no mean."""
    ours = [*(SEEDS[:8] * np.exp(-0.2 + 0.01 * SPREAD[:8])), math.inf, math.inf]
    records = constructed.arm("images", "Momentum", list(SEEDS)) + constructed.arm("images", "NAG", ours)
    x = judged(records)["images", "NAG vs Momentum"].comparison
    ranks = [*(-0.2 + 0.01 * SPREAD[:8]), 1e9, 1e9]
    assert x.p == pytest.approx(stats.permutation_test(
        (np.sign(ranks) * stats.rankdata(np.abs(ranks)),), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue)  # fmt: skip
    assert (x.diverged, x.mean, x.interval, x.prediction, x.bootstrap) == ((2, 0), None, None, None, None)
    assert x.equivalence(1e9) == 1.0 and x.needed(0.02, 9, 0.05) is None


def test_fault_68_where_both_diverged_there_is_no_difference() -> None:
    ours, theirs = [*SEEDS[:9] * 1.2, math.inf], [*SEEDS[:9], math.inf]
    records = constructed.arm("images", "Momentum", theirs) + constructed.arm("images", "NAG", ours)
    found = judged(records)["images", "NAG vs Momentum"]
    assert found.comparison.p == 2 / 2**9 and found.comparison.sign == 1
    assert found.comparison.interval is None
    assert found.kind == "Reproduced"


def test_fault_71_an_arm_without_a_rate_that_works_loses() -> None:
    records = constructed.arm("images", "Momentum", list(SEEDS))
    records += constructed.arm("images", "NAG", [math.inf] * 10, diverges=True)
    found = judged(records)["images", "NAG vs Momentum"]
    assert (found.kind, found.suffixes) == ("Reproduced", ("edge", "approximate set-up"))
    assert found.comparison.diverged == (10, 0)
    everywhere = constructed.arm("images", "Momentum", [math.inf] * 10, diverges=True)
    both = judged(everywhere + constructed.arm("images", "NAG", [math.inf] * 10, diverges=True))
    assert both["images", "NAG vs Momentum"].kind == "Inconclusive"


def test_suffixes() -> None:
    small = judged(
        pair("word2vec", "NadaMax", "AdaMax", 0.1, 0.01, best=2) + pair("word2vec", "NAG", "Momentum", 0.1, 0.01)
    )
    assert small["word2vec", "NadaMax vs AdaMax"].suffixes == ("edge", "approximate set-up", "unresolved in print")
    assert small["word2vec", "NAG vs Momentum"].suffixes == ("approximate set-up",)
    assert small["images", "NAG vs Momentum"].suffixes == ()
    whole = judged(pair("word2vec", "NAG", "Momentum", 0.1, 0.01, profile="paper"), "paper")
    assert whole["word2vec", "NAG vs Momentum"].suffixes == ()
    other = judged(pair("word2vec", "NAG", "Momentum", 0.1, 0.01, profile="paper", data="wikitext-2"), "paper")
    assert other["word2vec", "NAG vs Momentum"].suffixes == ("approximate set-up",)
    part = judged(pair("word2vec", "NAG", "Momentum", 0.1, 0.01, profile="paper", subset=(9, 9, 9)), "paper")
    assert part["word2vec", "NAG vs Momentum"].suffixes == ("approximate set-up",)


# ---------------------------------------------------------------- claims of several comparisons


def comparison(gap: Any, spread: float = 0.01) -> Any:
    return Comparison(gap + spread * SPREAD, (0, 0))


def several(*gaps: Any, spread: float = 0.01) -> Any:
    sides = [Side("Nadam", other, -1, None) for other, _ in zip("abc", gaps, strict=False)]
    found = [comparison(gap, spread) for gap in gaps]
    return decide(sides, found, [x.p for x in found], [0.02] * len(gaps), 0.05)


def test_a_claim_of_several_comparisons_holds_if_all_do() -> None:
    assert several(-0.3, -0.1, -0.2) == ("Reproduced", 0)
    assert several(-0.3, 0.1, -0.2) == ("Reversed", 1)
    assert several(-0.3, -0.2, 0.0) == ("No relevant difference", 2)
    assert several(-0.9, -0.15, -0.9, spread=0.3) == ("Inconclusive", 1)


@pytest.mark.parametrize(("p", "kind"), [(0.05, "Reproduced"), (0.051, "Inconclusive")])
def test_the_line_is_drawn_at_alpha(p: float, kind: str) -> None:
    assert decide([Side("Nadam", "Adam", -1, None)], [comparison(-0.1, 0.1)], [p], [0.02], 0.05) == (kind, 0)


def decided(directions: Any, p: Any, alpha: float = 0.05) -> Any:
    """Of differences that are no smaller than any δ; a direction is 1 where it is that of the claim, else −1."""
    sides = [Side("Nadam", other, -1, None) for other, _ in zip("abc", directions, strict=False)]
    return decide(sides, [comparison(-0.1 * x) for x in directions], p, [1e-6] * len(p), alpha)


def test_the_comparison_with_least_support_decides() -> None:
    """Against the claim a smaller p is worse than a larger one, and any is worse than one in its favour."""
    assert decided([1, 1, 1], [0.01, 0.03, 0.02]) == ("Reproduced", 1)
    assert decided([1, 1], [0.3, 0.6]) == ("Inconclusive", 1)
    assert decided([-1, -1], [0.3, 0.6]) == ("Inconclusive", 0)
    assert decided([1, -1], [0.6, 0.9]) == ("Inconclusive", 1)


def test_to_reverse_a_claim_or_to_show_no_difference_the_comparisons_share_alpha() -> None:
    assert decided([1, -1], [0.01, 0.025]) == ("Reversed", 1)
    assert decided([1, -1], [0.01, 0.026]) == ("Inconclusive", 1)
    same = comparison(0.0)
    for alpha, kind in {same.equivalence(0.02): "No relevant difference", 1e-9: "Inconclusive"}.items():
        assert decide([Side("Nadam", "Adam", -1, None)], [same], [1.0], [0.02], alpha) == (kind, 0)


def test_every_comparison_has_a_side_and_a_p() -> None:
    with pytest.raises(ValueError, match="shorter"):
        decided([1, 1], [0.01])


@pytest.mark.parametrize("gap", [0.1, 0.2])
def test_a_gap_at_either_end_of_what_is_likely_is_reproduced_with_size(gap: float) -> None:
    sides: Any = [SimpleNamespace(gap=gap)]
    likely: Any = [SimpleNamespace(prediction=(0.1, 0.2))]
    assert verdicts._with_size(sides, likely) == "Reproduced with size"


def test_what_is_tested_are_differences_and_ranks_only_where_a_run_diverged() -> None:
    d = np.array([0.1, 0.2, -0.25, 1.0])
    whole = Comparison(d, (0, 0))
    assert (whole.scores == d).all() and whole.p == sign_flip(d) != sign_flip(signed_ranks(d))
    assert whole.bootstrap == bootstrap_t(d)
    diverged = Comparison(np.array([0.1, 0.2, -0.25, math.inf]), (1, 0))
    assert diverged.scores.tolist() == [1.0, 2.0, -3.0, 4.0]


def test_fault_66_without_pairs_there_is_no_mean() -> None:
    none = Comparison(np.array([]), (0, 0))
    assert (none.n, none.finite, none.mean, none.p, none.equivalence(0.1)) == (0, False, None, 1.0, 1.0)


def test_a_claim_that_was_not_run_shows_its_first_comparison() -> None:
    for verdict in verdicts.judge({}):
        claim = verdict.claim
        assert verdict.side == claim.sides[0] and verdict.delta == verdict_rules().delta(
            claim.metric, claim.sides[0].gap
        )


@pytest.mark.parametrize("module", [summary, arms_, claims_, measures, verdicts])
def test_results_cannot_be_changed(module: Any) -> None:
    made = [x for x in vars(module).values() if dataclasses.is_dataclass(x) and x.__module__ == module.__name__]
    assert made and all(x.__dataclass_params__.frozen for x in made)


def test_a_small_but_significant_difference_is_not_held_against_the_others() -> None:
    """The first comparison holds, if by less than δ; the second is open: so is the claim."""
    found = [comparison(-0.004, spread=0.0001), comparison(-0.15, spread=0.3)]
    sides = [Side("Nadam", other, -1, None) for other in "ab"]
    assert decide(sides, found, [x.p for x in found], [0.02, 0.02], 0.05) == ("Inconclusive", 1)


def test_a_significant_difference_counts_as_one_even_if_it_is_small() -> None:
    assert several(-0.004, spread=0.0001)[0] == "Reproduced"


def test_exploratory_claims_are_judged_too() -> None:
    names = ["GD", "Momentum", "NAG", "RMSProp", "Adam", "Nadam", "MaxProp", "AdaMax", "NadaMax"]
    records = []
    for i, name in enumerate(names):
        level = 0.1 if name == "RMSProp" else 1 + 0.2 * i
        records += constructed.arm("images", name, list(level * SEEDS * np.exp(0.001 * SPREAD * (-1) ** i)))
    found = judged(records)
    lowest = found["images", "RMSProp lowest on test"]
    assert (lowest.kind, lowest.claim.primary, lowest.n) == ("Reproduced", False, 10)
    assert lowest.p == 2 / 2**10  # the largest of its eight, not adjusted
    assert found["images", "Nadam lowest on dev"].kind == "Reversed"
    assert found["word2vec", "Nadam best of its type"].kind == "Not run"


# ---------------------------------------------------------------- the title

NINE = [claim for claim in claims() if claim.primary]


def titled(kinds: Any) -> Any:
    made = [verdicts.Verdict(claim, claim.sides[0], kind, (), 0.02) for claim, kind in zip(NINE, kinds, strict=True)]
    return verdicts.title(made)


@pytest.mark.parametrize(
    ("kinds", "title"),
    [
        (["Reproduced"] * 3 + ["Reproduced with size"] * 2 + ["Inconclusive"] * 4, "[Re]"),
        (["Reproduced"] * 5 + ["No relevant difference"] * 4, "[Re]"),
        (["Reproduced"] * 8 + ["Reversed"], "[Re] (partial)"),
        (["Reproduced"] * 4 + ["Inconclusive"] * 5, "[Re] (partial)"),
        (["Reversed"] * 2 + ["No relevant difference"] * 3 + ["Reproduced"] * 4, "[¬Re]"),
        (["Reversed"] * 4 + ["Inconclusive"] * 5, "[Re] (partial)"),
        (["Reproduced"] * 8 + ["Not run"], ""),
    ],
)
def test_title(kinds: Any, title: str) -> None:
    assert titled(kinds) == title


# ---------------------------------------------------------------- the confound


def test_the_parts_add_up_to_the_whole_gain() -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, (4, 10))
    level = {"Adam": 0.0, "Nadam-iclr": -0.1, "Nadam": -0.25, "Nadam-constant": -0.12}
    records = []
    for (name, mean), z in zip(level.items(), noise, strict=True):
        records += constructed.arm("images", name, list(SEEDS * np.exp(mean + z)))
    found = {e.part.part: e.comparison for e in verdicts.confound(gather(records, "small"))}
    assert set(found) == {"whole gain", "look-ahead", "memory and length", "no schedule"}
    total = found["look-ahead"].differences + found["memory and length"].differences
    assert total == pytest.approx(found["whole gain"].differences)
    for part, gap in (("look-ahead", -0.1), ("memory and length", -0.15), ("no schedule", -0.02)):
        assert found[part].mean == pytest.approx(gap, abs=0.03)
        low, high = found[part].interval
        assert low < found[part].mean < high and high - low < 0.08


def test_every_part_is_there_where_every_arm_is() -> None:
    names = ["Adam", "Nadam", "Nadam-iclr", "Nadam-constant", "Nadam-interpolated", "AdaMax", "NadaMax", "NadaMax-iclr"]
    records = list(itertools.chain(*(constructed.arm("images", name, list(SEEDS)) for name in names)))
    found = verdicts.confound(gather(records, "small"))
    assert [(e.part.method, e.part.part) for e in found] == [
        ("Nadam", "whole gain"),
        ("Nadam", "look-ahead"),
        ("Nadam", "memory and length"),
        ("Nadam", "no schedule"),
        ("Nadam", "look-ahead over interpolation"),
        ("NadaMax", "whole gain"),
        ("NadaMax", "look-ahead"),
        ("NadaMax", "memory and length"),
    ]
    assert {e.metric for e in found} == {"test_loss"}


def test_memory_length_and_look_ahead_add_up_at_one_rate() -> None:
    names = ["Adam", "Nadam-iclr", "Nadam-unit", "Nadam"]
    noise = np.random.default_rng(2).normal(0, 0.02, (4, 10))
    records = [
        r
        for name, z in zip(names, noise, strict=True)
        for r in constructed.arm("images", name, list(SEEDS * np.exp(z)))
    ]
    found = {e.part.part: e.common for e in verdicts.confound(gather(records, "small"))}
    parts = sum(found[part].differences for part in ("look-ahead", "memory", "length"))
    assert parts == pytest.approx(found["whole gain"].differences)


def test_a_difference_about_the_rule_is_taken_at_one_rate() -> None:
    """At its own rate, 1, Nadam ends a tenth lower; at Adam's, .1, a fifth higher."""
    records = constructed.arm("images", "Adam", list(SEEDS))
    records += constructed.arm("images", "Nadam", list(0.9 * SEEDS), best=2)
    (effect, *_) = verdicts.confound(gather(records, "small"))
    assert (effect.lr, effect.common, effect.common_lr) == ((1.0, 0.1), None, None)  # there are no runs for it
    records += [constructed.record("images", "Nadam", 0.1, seed, 1.2 * x) for seed, x in enumerate(SEEDS)]
    (effect, *_) = verdicts.confound(gather(records, "small"))
    assert effect.comparison.mean == pytest.approx(math.log(0.9))
    assert (effect.common.mean, effect.common_lr) == (pytest.approx(math.log(1.2)), 0.1)


# ---------------------------------------------------------------- the rate's own uncertainty


def beside(name: Any, lr: Any, gap: Any, spread: float = 0.01) -> Any:
    """Reported runs of an arm at another rate."""
    values = SEEDS * np.exp(gap + spread * SPREAD)
    return [constructed.record("images", name, lr, seed, value) for seed, value in enumerate(values)]


@pytest.mark.parametrize(
    ("gap", "flagged"),
    [(0.2, False), (-0.2, True), (0.0, True), (0.001, True)],
    ids=["the same verdict", "reversed", "no relevant difference", "no relevant difference of the same sign"],
)
def test_a_verdict_that_the_runner_up_changes_depends_on_the_rate(gap: float, flagged: bool) -> None:
    """NAG at its chosen rate ends higher than Momentum, as claimed."""
    records = pair("images", "NAG", "Momentum", 0.1, 0.01) + beside("NAG", 0.01, gap)
    found = judged(records)["images", "NAG vs Momentum"]
    assert found.kind == "Reproduced"
    assert ("depends on the rate" in found.suffixes) is flagged
    ((name, (kind, there)),) = found.elsewhere.items()
    assert name == "NAG" and there.mean == pytest.approx(gap, abs=1e-12)
    assert (kind == "Reproduced") is (gap == 0.2) or kind == "Reproduced with size"


def test_the_second_methods_runner_up_counts_as_well() -> None:
    records = pair("images", "NAG", "Momentum", 0.1, 0.01) + beside("Momentum", 0.01, 0.2)
    found = judged(records)["images", "NAG vs Momentum"]
    assert found.suffixes[0] == "depends on the rate"
    assert found.elsewhere["Momentum"][1].mean == pytest.approx(-0.1)


def test_a_difference_that_changes_its_sign_depends_on_the_rate_even_if_nothing_is_shown() -> None:
    records = pair("images", "NAG", "Momentum", 0.05, 0.3) + beside("NAG", 0.01, -0.05, 0.3)
    found = judged(records)["images", "NAG vs Momentum"]
    assert (found.kind, found.elsewhere["NAG"][0]) == ("Inconclusive", "Inconclusive")
    assert found.suffixes[0] == "depends on the rate"


def test_without_runs_at_the_runner_up_nothing_is_said_of_it() -> None:
    found = judged(pair("images", "NAG", "Momentum", 0.1, 0.01))["images", "NAG vs Momentum"]
    assert found.elsewhere == {} and "depends on the rate" not in found.suffixes

"""What our runs say of each claim, by rules fixed in advance, and what the replication may then be called.

A claim is about log(metric) over seeds that are paired: both methods start from the same initialization and see the
same data. A claim of several comparisons holds if each of them does.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..statistics.intervals import Floats, Interval, bootstrap_t, prediction_interval, t_interval
from ..statistics.significance import deciding_runs, holm, log_differences, sign_flip, signed_ranks, tost
from ..statistics.summary import reported_metric
from .arms import Arm, Evidence
from .claims import Claim, Part, Side, VerdictRules, claims, parts, verdict_rules

Kind = Literal["Reproduced", "Reproduced with size", "Reversed", "No relevant difference", "Inconclusive", "Not run"]

AS_CLAIMED = ("Reproduced", "Reproduced with size")
NOT_AS_CLAIMED = ("Reversed", "No relevant difference")


@dataclass(frozen=True)
class Comparison:
    """Paired differences of log(metric), first less second; `diverged` counts the runs of either that did.

    Where any did, the sign-flip test is on signed ranks, and there is no mean, no interval and no equivalence: nothing
    is imputed for a run without a result.
    """

    differences: Floats
    diverged: tuple[int, int]

    @property
    def n(self) -> int:
        """Number of pairs."""
        return len(self.differences)

    @property
    def finite(self) -> bool:
        """Whether every run has a result."""
        return self.n > 0 and not any(self.diverged)

    @property
    def scores(self) -> Floats:
        """The values that are tested, the differences or their signed ranks."""
        return signed_ranks(self.differences) if any(self.diverged) else self.differences

    @property
    def sign(self) -> int:
        """The sign of their sum, −1 where the first is lower."""
        return int(np.sign(self.scores.sum()))

    @functools.cached_property
    def p(self) -> float:
        """The p of the exact paired sign-flip test, not adjusted."""
        return sign_flip(self.scores)

    @property
    def mean(self) -> float | None:
        return float(self.differences.mean()) if self.finite else None

    @property
    def interval(self) -> Interval | None:
        return t_interval(self.differences) if self.finite else None

    @functools.cached_property
    def bootstrap(self) -> Interval | None:
        return bootstrap_t(self.differences) if self.finite else None

    @property
    def prediction(self) -> Interval | None:
        return prediction_interval(self.differences) if self.finite else None

    def equivalence(self, delta: float) -> float:
        """The p of the test that the mean difference is less than `delta` away from 0."""
        return tost(self.differences, delta) if self.finite else 1.0

    def needed(self, delta: float, family: int, alpha: float, comparisons: int = 1) -> int | None:
        """How many pairs would decide, as `deciding_runs`."""
        return deciding_runs(self.differences, delta, family, alpha, comparisons) if self.finite else None


@dataclass(frozen=True)
class Verdict:
    """The judgement of one claim.

    `side` is the comparison that decides it: the one that contradicts the claim, else the one with least support.
    `arms` and `comparison` are its own; None where the task was not run. `p` is that comparison's, adjusted by Holm
    over the primary family where the claim is primary. `needed` is the n that would decide an inconclusive claim.
    `elsewhere`: the verdict with one arm at the runner-up beside its rate, by the name of that arm, and the
    comparison that decides it there.
    """

    claim: Claim
    side: Side
    kind: Kind
    suffixes: tuple[str, ...]
    delta: float
    arms: tuple[Arm, Arm] | None = None
    comparison: Comparison | None = None
    p: float | None = None
    needed: int | None = None
    elsewhere: Mapping[str, tuple[Kind, Comparison]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of pairs."""
        return 0 if self.comparison is None else self.comparison.n


@dataclass(frozen=True)
class Effect:
    """A part of a method's gain on a task; below 0 where it helps.

    `comparison`: each arm at its own rate, `lr`. `common`: both at the rate `common_lr`; None where they were not run.
    """

    task: str
    metric: str
    part: Part
    comparison: Comparison
    lr: tuple[float, float]
    common: Comparison | None
    common_lr: float | None


# ---------------------------------------------------------------- one claim


def compare(first: Arm, second: Arm, metric: str) -> Comparison:
    """Pair two arms by seed. Diverged runs count as they do in `log_differences`."""
    differences = log_differences(first.values(metric), second.values(metric))
    return Comparison(differences, (first.diverged, second.diverged))


def decide(
    sides: Sequence[Side], comparisons: Sequence[Comparison], p: Sequence[float], deltas: Sequence[float], alpha: float
) -> tuple[Kind, int]:
    """The verdict, and the index of the comparison that decides it. `p` are those to be held against `alpha`.

    Reproduced: every difference has its direction, each significant. Reversed: one is significant the other way. No
    relevant difference: one of the others is shown to be smaller than its δ. The last two divide α by the number of
    comparisons. A difference that is both significant and smaller than δ counts as significant.
    """
    each = alpha / len(sides)
    holds = [x.sign == side.direction and q <= alpha for side, x, q in zip(sides, comparisons, p, strict=True)]
    against = [q if x.sign == side.direction else 2 - q for side, x, q in zip(sides, comparisons, p, strict=True)]
    weakest = against.index(max(against))
    if all(holds):
        return _with_size(sides, comparisons), weakest
    for i, (side, x) in enumerate(zip(sides, comparisons, strict=True)):
        if x.sign == -side.direction and p[i] <= each:
            return "Reversed", i
    for i, x in enumerate(comparisons):
        if not holds[i] and x.equivalence(deltas[i]) <= each:
            return "No relevant difference", i
    return "Inconclusive", weakest


def _with_size(sides: Sequence[Side], comparisons: Sequence[Comparison]) -> Kind:
    """Whether one more run of the pair could well have shown the printed gap."""
    gap, likely = sides[0].gap, comparisons[0].prediction
    if len(sides) == 1 and gap is not None and likely is not None and likely[0] <= gap <= likely[1]:
        return "Reproduced with size"
    return "Reproduced"


def _suffixes(claim: Claim, side: Side, arms: Sequence[Arm], rules: VerdictRules) -> tuple[str, ...]:
    suffixes = []
    if any(arm.chosen.edge for arm in arms):
        suffixes.append("edge")
    if any(_approximate(arm, rules) for arm in arms):
        suffixes.append("approximate set-up")
    if claim.primary and not side.resolved:
        suffixes.append("unresolved in print")
    return tuple(suffixes)


def _approximate(arm: Arm, rules: VerdictRules) -> bool:
    asked = rules.setup[arm.spec.task]
    return (arm.spec.profile, arm.spec.data) != (asked["profile"], asked["data"]) or arm.spec.subset is not None


# ---------------------------------------------------------------- all claims


#: The arms of each comparison of a claim.
Pairs = Sequence[tuple[Arm, Arm]]


def _pairs(claim: Claim, evidence: Evidence) -> list[tuple[Arm, Arm]] | None:
    """The arms of each comparison; None where the task was not run, or not with all arms of the claim."""
    there = evidence.get(claim.task, {})
    if not claim.arms <= there.keys():
        return None
    return [(there[side.first], there[side.second]) for side in claim.sides]


def _at_runner_up(pairs: Pairs) -> dict[str, list[tuple[Arm, Arm]]]:
    """The pairs with one arm at the runner-up beside its rate, for each arm that was run there."""
    arms = {arm.name: arm.runner_up for pair in pairs for arm in pair if arm.runner_up is not None}
    return {
        name: [(second if a.name == name else a, second if b.name == name else b) for a, b in pairs]
        for name, second in arms.items()
    }


def judge(evidence: Evidence) -> list[Verdict]:
    """Judge every claim, in the order of `claims()`. Exploratory claims are not adjusted for one another.

    The primary ones are, together, by Holm. There a claim not yet run counts as p = 1, so that a verdict can only get
    firmer when the rest is run.
    """
    family = {}
    for claim in claims():
        if claim.primary:
            pairs = _pairs(claim, evidence)
            family[claim] = 1.0 if pairs is None else compare(*pairs[0], claim.metric).p
    return [_verdict(claim, _pairs(claim, evidence), family) for claim in claims()]


def _adjusted(family: Mapping[Claim, float], claim: Claim, p: float) -> float:
    """Holm's p of one claim of a family, were its own p this one."""
    changed = {**family, claim: p}
    return dict(zip(changed, holm(list(changed.values())), strict=True))[claim]


def _verdict(claim: Claim, pairs: Pairs | None, family: Mapping[Claim, float]) -> Verdict:
    rules = verdict_rules()
    deltas = [rules.delta(claim.metric, side.gap) for side in claim.sides]
    if pairs is None:
        return Verdict(claim, claim.sides[0], "Not run", _suffixes(claim, claim.sides[0], [], rules), deltas[0])

    compared: dict[tuple[str, float, str, float], Comparison] = {}

    def decided(arms: Pairs) -> tuple[Kind, int, list[Comparison], list[float]]:
        keys = [(a.name, a.lr, b.name, b.lr) for a, b in arms]
        for key, pair in zip(keys, arms, strict=True):
            if key not in compared:
                compared[key] = compare(*pair, claim.metric)
        comparisons = [compared[key] for key in keys]
        p = [_adjusted(family, claim, comparisons[0].p)] if claim.primary else [x.p for x in comparisons]
        return *decide(claim.sides, comparisons, p, deltas, rules.alpha), comparisons, p

    kind, i, comparisons, p = decided(pairs)
    elsewhere = {}
    for name, arms in _at_runner_up(pairs).items():
        other, j, there, _ = decided(arms)
        elsewhere[name] = (other, there[j])
    sides = len(claim.sides)
    tests = len(family) if claim.primary else sides
    needed = comparisons[i].needed(deltas[i], tests, rules.alpha, sides) if kind == "Inconclusive" else None
    suffixes = _suffixes(claim, claim.sides[i], [arm for pair in pairs for arm in pair], rules)
    if _depends_on_rate(kind, comparisons[i], elsewhere):
        suffixes = ("depends on the rate", *suffixes)
    return Verdict(claim, claim.sides[i], kind, suffixes, deltas[i], pairs[i], comparisons[i], p[i], needed, elsewhere)


def _depends_on_rate(kind: Kind, comparison: Comparison, elsewhere: Mapping[str, tuple[Kind, Comparison]]) -> bool:
    """Whether the verdict, or the sign of the difference, changes when either arm takes its runner-up."""

    def outcome(kind: Kind, comparison: Comparison) -> tuple[str, int]:
        return "Reproduced" if kind in AS_CLAIMED else kind, comparison.sign

    return any(outcome(*there) != outcome(kind, comparison) for there in elsewhere.values())


def title(verdicts: Sequence[Verdict]) -> str:
    """What the replication is called, by the rule fixed in advance; empty until the whole primary family was run."""
    kinds = [verdict.kind for verdict in verdicts if verdict.claim.primary]
    most = verdict_rules().most
    if "Not run" in kinds:
        return ""
    if sum(kind in AS_CLAIMED for kind in kinds) >= most and "Reversed" not in kinds:
        return "[Re]"
    if sum(kind in NOT_AS_CLAIMED for kind in kinds) >= most:
        return "[¬Re]"
    return "[Re] (partial)"


# ---------------------------------------------------------------- the gains taken apart


def confound(evidence: Evidence) -> list[Effect]:
    """How much of the gains of Nadam and NadaMax is the look-ahead, how much memory, how much the length of steps.

    The report's rule lets m decay by the constant μ and corrects it by the schedule's product. That gives m a longer
    memory than ICLR's recursion has, and it shortens the first steps by up to 45 %. The arms of `claims.yaml` have one
    without the other. Only at a common rate is a difference about the rule alone.
    """
    return [
        _effect(task, reported_metric(task), part, arms[part.first], arms[part.second])
        for task, arms in evidence.items()
        for part in parts()
        if part.first in arms and part.second in arms
    ]


def _effect(task: str, metric: str, part: Part, first: Arm, second: Arm) -> Effect:
    pairs = ((first.common, second.common), (first, second))
    at_one = next(((a, b) for a, b in pairs if a is not None and b is not None and a.lr == b.lr), None)
    common, lr = (None, None) if at_one is None else (compare(*at_one, metric), at_one[0].lr)
    return Effect(task, metric, part, compare(first, second, metric), (first.lr, second.lr), common, lr)

"""What our runs say of each claim, by rules fixed beforehand, and what the replication may then be called.

A claim is about log(metric) over seeds that are paired: both methods start from the same initialization and see the
same data. A claim of several comparisons holds if each of them does.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .claims import Claim, Part, Rules, Side, claims, parts, rules
from .evidence import Arm, Evidence
from .hypotheses import deciding_runs, holm, log_differences, sign_flip, signed_ranks, tost
from .intervals import Floats, Interval, bootstrap_t, prediction_interval, t_interval

__all__ = ["Comparison", "Effect", "Kind", "Verdict", "compare", "confound", "decide", "judge", "title"]

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
        """The p of the test that the mean difference lies inside ±`delta`."""
        return tost(self.differences, delta) if self.finite else 1.0

    def needed(self, delta: float, family: int, alpha: float) -> int | None:
        """How many pairs would decide, as `deciding_runs`."""
        return deciding_runs(self.differences, delta, family, alpha) if self.finite else None


@dataclass(frozen=True)
class Verdict:
    """The judgement of one claim.

    `side` is the comparison that decides it: the one that contradicts the claim, else the one with least support.
    `arms` and `comparison` are its own; None where the task was not run. `p` is adjusted: by Holm over the primary
    family; the largest of an exploratory claim's. `needed` is the n that would decide an inconclusive claim.
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

    @property
    def n(self) -> int:
        """Number of pairs."""
        return 0 if self.comparison is None else self.comparison.n


@dataclass(frozen=True)
class Effect:
    """A part of a method's gain on a task; below 0 where it helps."""

    task: str
    metric: str
    part: Part
    comparison: Comparison


# ---------------------------------------------------------------- one claim


def compare(first: Arm, second: Arm, metric: str) -> Comparison:
    """Pair two arms by seed. Diverged runs count as they do in `log_differences`."""
    differences = log_differences(first.values(metric), second.values(metric))
    return Comparison(differences, (first.diverged, second.diverged))


def decide(
    sides: Sequence[Side], found: Sequence[Comparison], p: Sequence[float], deltas: Sequence[float], alpha: float
) -> tuple[Kind, int]:
    """The verdict, and the index of the comparison that decides it. `p` are those to be held against `alpha`.

    Reproduced: every difference has its direction, each significant. Reversed: one is significant the other way. No
    relevant difference: one of the others is shown to be smaller than its δ. The last two divide α by the number of
    comparisons. A difference that is both significant and smaller than δ counts as significant.
    """
    each = alpha / len(sides)
    holds = [x.sign == side.direction and q <= alpha for side, x, q in zip(sides, found, p, strict=True)]
    against = [q if x.sign == side.direction else 2 - q for side, x, q in zip(sides, found, p, strict=True)]
    weakest = against.index(max(against))
    if all(holds):
        return _with_size(sides, found), weakest
    for i, (side, x) in enumerate(zip(sides, found, strict=True)):
        if x.sign == -side.direction and p[i] <= each:
            return "Reversed", i
    for i, x in enumerate(found):
        if not holds[i] and x.equivalence(deltas[i]) <= each:
            return "No relevant difference", i
    return "Inconclusive", weakest


def _with_size(sides: Sequence[Side], found: Sequence[Comparison]) -> Kind:
    """Whether one more run of the pair could well have shown the printed gap."""
    gap, likely = sides[0].gap, found[0].prediction
    if len(sides) == 1 and gap is not None and likely is not None and likely[0] <= gap <= likely[1]:
        return "Reproduced with size"
    return "Reproduced"


def _suffixes(claim: Claim, side: Side, arms: Sequence[Arm], setup: Rules) -> tuple[str, ...]:
    suffixes = []
    if any(arm.chosen.edge for arm in arms):
        suffixes.append("edge")
    if any(_approximate(arm, setup) for arm in arms):
        suffixes.append("approximate set-up")
    if claim.primary and not side.resolved:
        suffixes.append("unresolved in print")
    return tuple(suffixes)


def _approximate(arm: Arm, setup: Rules) -> bool:
    asked = setup.setup[arm.spec.task]
    return (arm.spec.profile, arm.spec.data) != (asked["profile"], asked["data"]) or arm.spec.subset is not None


# ---------------------------------------------------------------- all claims


def _arms(claim: Claim, evidence: Evidence) -> list[tuple[Arm, Arm]] | None:
    """The arms of each comparison; None where the task was not run, or not with all of them."""
    there = evidence.get(claim.task, {})
    if not all(name in there for side in claim.sides for name in (side.first, side.second)):
        return None
    return [(there[side.first], there[side.second]) for side in claim.sides]


def judge(evidence: Evidence) -> list[Verdict]:
    """Judge every claim, in the order of `claims()`.

    p-values of the primary family are adjusted by Holm over all of it; a claim not yet run counts as p = 1 there, so
    that a verdict can only get firmer when the rest is run. Exploratory claims are not adjusted for one another.
    """
    listed, fixed = claims(), rules()
    arms = [_arms(claim, evidence) for claim in listed]
    found = [
        None if pairs is None else [compare(*pair, claim.metric) for pair in pairs]
        for claim, pairs in zip(listed, arms, strict=True)
    ]
    p = [[1.0] if x is None else [comparison.p for comparison in x] for x in found]
    family = [i for i, claim in enumerate(listed) if claim.primary]
    for i, adjusted in zip(family, holm([p[i][0] for i in family]), strict=True):
        p[i] = [adjusted]
    return [
        _verdict(claim, pairs, x, q, fixed, len(family))
        for claim, pairs, x, q in zip(listed, arms, found, p, strict=True)
    ]


def _verdict(
    claim: Claim,
    arms: list[tuple[Arm, Arm]] | None,
    found: list[Comparison] | None,
    p: list[float],
    fixed: Rules,
    family: int,
) -> Verdict:
    deltas = [fixed.delta(claim.metric, side.gap) for side in claim.sides]
    if arms is None or found is None:
        suffixes = _suffixes(claim, claim.sides[0], [], fixed)
        return Verdict(claim, claim.sides[0], "Not run", suffixes, deltas[0])
    kind, i = decide(claim.sides, found, p, deltas, fixed.alpha)
    tests = family if claim.primary else len(claim.sides)
    needed = found[i].needed(deltas[i], tests, fixed.alpha) if kind == "Inconclusive" else None
    every = [arm for pair in arms for arm in pair]
    suffixes = _suffixes(claim, claim.sides[i], every, fixed)
    return Verdict(claim, claim.sides[i], kind, suffixes, deltas[i], arms[i], found[i], p[i], needed)


def title(verdicts: Sequence[Verdict]) -> str:
    """What the replication is called, by the rule fixed beforehand; empty until the whole primary family was run."""
    kinds = [verdict.kind for verdict in verdicts if verdict.claim.primary]
    most = rules().most
    if "Not run" in kinds:
        return ""
    if sum(kind in AS_CLAIMED for kind in kinds) >= most and "Reversed" not in kinds:
        return "[Re]"
    if sum(kind in NOT_AS_CLAIMED for kind in kinds) >= most:
        return "[¬Re]"
    return "[Re] (partial)"


# ---------------------------------------------------------------- look-ahead or accident


def confound(evidence: Evidence) -> list[Effect]:
    """How much of Nadam's and NadaMax's gain is the look-ahead and how much the report's accidental warm-up.

    The report's rule lets m decay by the constant μ and corrects it by the schedule's product, which shrinks the first
    steps by up to 45 %. The dialect `iclr` has the look-ahead without that, so its difference from Adam, which has
    the same schedule, is the look-ahead; the rest of the whole gain is the accident. The two add up, seed by seed.
    """
    metric = {claim.task: claim.metric for claim in reversed(claims())}
    return [
        Effect(task, metric[task], part, compare(arms[part.first], arms[part.second], metric[task]))
        for task, arms in evidence.items()
        for part in parts()
        if part.first in arms and part.second in arms
    ]

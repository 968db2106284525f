"""How the sentences of the experiment chapters put sizes, rates and numbers into words."""

from __future__ import annotations

from collections.abc import Sequence

from ....experiments.verdicts.arms import Evidence
from ....experiments.verdicts.report import percent
from ....experiments.verdicts.verdicts import Comparison
from .. import recorded


def listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def at_size(evidence: Evidence) -> str:
    """The beginning of a sentence on one size: "At the small size"."""
    ((task, arms),) = evidence.items()
    words = recorded.size(task, next(iter(arms.values())).spec.profile)
    return f"A{words[1:]}"


def rate_words(first: float, second: float) -> str:
    return f"η = {first:g}" if first == second else f"η = {first:g}, {second:g}"


def percents(mean: float, low: float, high: float) -> list[str]:
    """A mean and the ends of its interval, with two decimals where one would make the ends the same."""
    digits = 2 if percent(low) == percent(high) else 1
    return [percent(x, digits=digits) for x in (mean, low, high)]


def short(x: Comparison) -> str:
    """A mean difference with its 95 % interval."""
    if x.mean is None or x.interval is None:
        return "{} and {} runs diverged".format(*x.diverged)
    return "{} ({} to {})".format(*percents(x.mean, *x.interval))

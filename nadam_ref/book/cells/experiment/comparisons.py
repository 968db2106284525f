"""What the experiment chapters compare: the pairs of the claims, at which rates, and the parts of a gain."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from ....experiments.verdicts.arms import Arm, Evidence
from ....experiments.verdicts.claims import claims
from ....experiments.verdicts.verdicts import Comparison, Effect, compare, confound
from .wording import rate_words

P = ParamSpec("P")
T = TypeVar("T")


def where_run(
    draw: Callable[Concatenate[Evidence, P], T],
) -> Callable[Concatenate[Evidence | None, P], T | None]:
    """Nothing where there is no evidence."""

    def drawn(evidence: Evidence | None, /, *args: P.args, **kwargs: P.kwargs) -> T | None:
        return draw(evidence, *args, **kwargs) if evidence else None

    return functools.update_wrapper(drawn, draw)


def sides(evidence: Evidence) -> list[tuple[Arm, Arm, str]]:
    """The arms and metric of each comparison of the primary claims; on a task without any, of its other claims."""
    ((task, arms),) = evidence.items()
    own = [claim for claim in claims() if claim.task == task]
    judged = [claim for claim in own if claim.primary] or own
    named = [(side, claim.metric) for claim in judged for side in claim.sides]
    return [(arms[x.first], arms[x.second], metric) for x, metric in named if {x.first, x.second} <= arms.keys()]


def compared(first: Arm, second: Arm, metric: str) -> list[tuple[Comparison, str]]:
    """A pair at each arm's own rate, with either at its runner-up, and at the common rate, where it was run so."""
    tried = (
        ("own", first, second),
        ("common", first.common, second.common),
        ("runner-up", first.runner_up, second),
        ("runner-up", first, second.runner_up),
    )
    names: dict[tuple[float, float], list[str]] = {}
    pairs: dict[tuple[float, float], Comparison] = {}
    for name, a, b in tried:
        if a is not None and b is not None and (name != "common" or a.lr == b.lr):  # families have none in common
            names.setdefault((a.lr, b.lr), []).append(name)
            pairs.setdefault((a.lr, b.lr), compare(a, b, metric))
    return [(x, f"{' and '.join(dict.fromkeys(names[at]))}: {rate_words(*at)}") for at, x in pairs.items()]


def effects(evidence: Evidence, method: str = "Nadam") -> dict[str, Effect]:
    """The parts of a method's gain that were run at one rate for both arms, by name."""
    return {e.part.part: e for e in confound(evidence) if e.part.method == method and e.common is not None}

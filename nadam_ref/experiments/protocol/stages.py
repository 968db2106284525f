"""The stages of a profile: printed rates, the search for each arm's rate, then the reporting seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..runs.record import Record
from ..runs.spec import RunSpec
from . import planning

__all__ = ["Plan", "expected", "stages"]

#: Rates that a search is expected to try where nothing is known: three, one step on, one neighbour, two quarters.
TYPICAL = 7


class Plan(NamedTuple):
    """What is run: a profile of a task, on a data set."""

    profile: str
    data: str
    task: str


def expected(plan: Plan) -> dict[str, int]:
    """About how many runs each arm will take: the search decides how many rates there are. Known without the data."""
    tuning, reporting = planning.seeds(plan.profile, plan.task)
    rates = min(TYPICAL, planning.most(plan.profile, plan.task))
    first = len(reporting) if planning.printed_rates(plan.profile, plan.task) else 0
    several = set(planning.compared(plan.task))
    return {
        name: first + rates * len(tuning) + len(reporting) * (3 if name in several else 1)
        for name in planning.arms(plan.task, plan.profile)
    }


def stages(plans: Sequence[Plan], make: Callable[[list[RunSpec]], list[Record]]) -> bool:
    """Make all runs of all plans through `make` (`sweep` with all but its first argument). False: it left runs out.

    The reporting runs of a plan begin when the searches of all its arms have ended.
    """
    if not _whole(make, [spec for plan in plans for spec in planning.printed(*plan)]):
        return False
    tuned: dict[Plan, list[Record]] = {plan: [] for plan in plans}
    while any((todo := {plan: planning.search(*plan, tuned[plan]) for plan in plans}).values()):
        asked = [spec for wanted in todo.values() for spec in wanted]
        made = make(asked)
        if len(made) < len(asked):
            return False
        left = iter(made)
        for plan, wanted in todo.items():
            tuned[plan] += [next(left) for _ in wanted]
    return _whole(make, [spec for plan in plans for spec in planning.reporting(*plan, tuned[plan])])


def _whole(make: Callable[[list[RunSpec]], list[Record]], specs: list[RunSpec]) -> bool:
    return len(make(specs)) == len(specs) if specs else True

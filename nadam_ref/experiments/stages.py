"""The two stages of a profile: tune the rates, on wider windows where need be, then run the reporting seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .protocol import arms, extension, reporting, seeds, specs
from .records import Record, RunSpec

__all__ = ["Plan", "expected", "stages"]


class Plan(NamedTuple):
    """What is run: a profile of a task, on a data set."""

    profile: str
    data: str
    task: str


def expected(plans: Sequence[Plan]) -> int:
    """The number of runs, without extensions of the windows."""
    reported = sum(len(arms(plan.task, plan.profile)) * len(seeds(plan.profile, plan.task)[1]) for plan in plans)
    return reported + sum(len(specs(*plan)) for plan in plans)


def stages(plans: Sequence[Plan], make: Callable[[list[RunSpec]], list[Record]]) -> bool:
    """Make all runs of all plans through `make` (`sweep` with all but its first argument). False: it left runs out.

    The reporting runs of a plan begin once none of its best rates is at an edge that may still be moved.
    """
    tuned: dict[Plan, list[Record]] = {plan: [] for plan in plans}
    todo = {plan: specs(*plan) for plan in plans}
    while any(todo.values()):
        asked = [spec for wanted in todo.values() for spec in wanted]
        made = {record.spec.id: record for record in make(asked)}
        if len(made) < len({spec.id for spec in asked}):
            return False
        left = iter(made.values())
        for plan, wanted in todo.items():
            tuned[plan] += [next(left) for _ in wanted]
        todo = {plan: extension(*plan, tuned[plan]) for plan in plans}
    last = [spec for plan in plans for spec in reporting(*plan, tuned[plan])]
    return len(make(last)) == len(last)

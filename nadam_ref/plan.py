"""The step of a parameter group: what it takes, refused or prepared before anything is changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from itertools import repeat
from operator import is_, is_not
from typing import Any

from torch import Tensor

from .cohort import GRAD, Kept, cohorts
from .compat import check_for_fused
from .packing import FlatState
from .rows import Rows
from .settings import NAMES, Settings
from .state import Begun, State

Advance = Callable[[], None]

#: How many times a group is packed before giving up: some loops change their parameters all the time.
PACKINGS = 8


class Plan:
    """How one group takes its steps, and all that is kept from one step to the next.

    Whatever is kept (settings, who takes part, flat state, addresses, tables of numbers) is compared with what there is
    before it is used: people change groups, gradients, parameters and state between steps.
    """

    def __init__(self) -> None:
        #: The settings, and what the group held when they were read.
        self.settings: Settings | None = None
        self.given: tuple[Any, ...] = ()
        #: The parameters that take a step, as far as `prepare` has found.
        self.params: list[Tensor] = []
        self._idle: list[Tensor] = []
        self._whole: list[Tensor] = []
        self._way: Any = None
        # Which of these two there is says how the last step was made.
        self.flat_state: FlatState | None = None
        self._kept: list[Kept] = []
        self._packings = 0
        self._rows = Rows()

    def prepare(self, settings: Settings, states: Begun, alone: bool) -> Advance:
        """The group's next step, still to be made. `alone`: there is no other group.

        Raises whatever a step may raise, and has then changed nothing but the state that `states` can take back.
        """
        if settings.compiling:  # which traces what the step does, not how it was found
            return self._prepare_cohorts(settings, states, alone)
        again = self._again(settings, states.optimizer.state) if self._is_for(settings) else None
        return again or self._prepare_new(settings, states, alone)

    # -- as the step before --------------------------------------------------------------------------------------------

    def _is_for(self, settings: Settings) -> bool:
        """Whether the same parameters have gradients as before, and the settings ask for the same way."""
        return (
            _way(settings) == self._way
            and len(settings.params) == len(self._whole)
            and all(map(is_, settings.params, self._whole))
            and not (self._idle and any(map(is_not, map(GRAD, self._idle), repeat(None))))
        )

    def _again(self, settings: Settings, owner: Mapping[Tensor, State]) -> Advance | None:
        """The step in the way of the one before; None where tensors are not as they were."""
        if self.flat_state:
            return self.flat_state.prepare(settings, owner)
        same = [cohort for kept in self._kept if (cohort := kept.now(owner))]
        if not same or len(same) < len(self._kept):
            return None

        def advance() -> None:
            for cohort in same:
                cohort.advance(settings)

        return advance

    # -- in a new way -------------------------------------------------------------------------------------------------

    def _prepare_new(self, settings: Settings, states: Begun, alone: bool) -> Advance:
        self.flat_state, self._kept = None, []
        self._way, self._whole = _way(settings), list(settings.params)
        self._idle = [p for p in self._whole if p.grad is None]
        self.params = [p for p in self._whole if p.grad is not None]
        for p in self._idle:  # whose state is in checkpoints, too, and has to fit there
            if not NAMES.isdisjoint(states.optimizer.state.get(p, ())):
                states.of(p, settings)
        return self._prepare_flat(settings, states) or self._prepare_cohorts(settings, states, alone)

    def _prepare_cohorts(self, settings: Settings, states: Begun, alone: bool) -> Advance:
        dense, sparse = cohorts(settings, states)
        advance_rows = self._rows.prepare(settings, sparse, alone and not states.changes) if sparse else None
        moved = [] if settings.compiling else [cohort for cohort in dense if cohort.check(settings.keys)]
        if not (settings.symbolic or moved or sparse):
            self._kept = [Kept(cohort, settings.keys) for cohort in dense]

        def advance() -> None:
            for cohort in moved:
                cohort.follow(settings)
            if advance_rows:
                advance_rows()
            for cohort in dense:
                cohort.advance(settings)

        return advance

    def _prepare_flat(self, settings: Settings, states: Begun) -> Advance | None:
        """The step of a fused group at once, from flat state; None where the group does not lie in memory for that."""
        if not settings["fused"] or settings.symbolic or not self.params or self._packings >= PACKINGS:
            return None
        self._packings += 1
        for p in self.params:
            if p.is_floating_point():
                check_for_fused(p)
        with contextlib.suppress(ValueError):
            self.flat_state = FlatState(self.params, [states.of(p, settings) for p in self.params], settings.keys)
        advance = self.flat_state.prepare(settings, states.optimizer.state) if self.flat_state else None
        if advance is None:
            self.flat_state = None
        return advance


def _way(settings: Settings) -> Any:
    """What a change of hyperparameters must leave as it was, for the way of a step to stay."""
    return settings.keys, settings["fused"], settings.symbolic

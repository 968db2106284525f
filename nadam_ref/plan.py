"""The step of a parameter group: what it takes, refused or prepared before anything is changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from .cohort import cohorts
from .compat import check_for_fused
from .packing import FlatState
from .rows import Rows
from .settings import Settings
from .state import Begun

Advance = Callable[[], None]

#: How many times a group is packed before giving up: some loops change their parameters all the time.
PACKINGS = 8


class Plan:
    """How one group takes its steps, and all that is kept from one step to the next.

    Whatever is kept (settings, flat state, addresses, tables of numbers) is compared with what there is before it is
    used: people change groups, gradients, parameters and state between steps.
    """

    def __init__(self) -> None:
        #: The settings, and what the group held when they were read.
        self.settings: Settings | None = None
        self.given: list[Any] = []
        self.flat_state: FlatState | None = None
        self._packings = 0
        self._rows = Rows()

    def prepare(self, settings: Settings, states: Begun, alone: bool) -> Advance:
        """The group's next step, still to be made. `alone`: there is no other group.

        Raises whatever a step may raise, and has then changed nothing but the state that `states` can take back.
        """
        return self._prepare_flat(settings, states) or self._prepare_cohorts(settings, states, alone)

    def _prepare_cohorts(self, settings: Settings, states: Begun, alone: bool) -> Advance:
        dense, sparse = cohorts(settings, states)
        advance_rows = self._rows.prepare(settings, sparse, alone and not states.changes) if sparse else None
        moved = [] if settings.compiling else [cohort for cohort in dense if cohort.check(settings.keys)]

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
        if not settings["fused"] or settings.symbolic or (self.flat_state is None and self._packings >= PACKINGS):
            return None
        params = [p for p in settings.params if p.grad is not None]
        if self.flat_state and not (self.flat_state.keys == settings.keys and self.flat_state.holds(params)):
            self.flat_state = None
        if self.flat_state is None and params and self._packings < PACKINGS:
            self._packings += 1
            for p in params:
                if p.is_floating_point():
                    check_for_fused(p)
            with contextlib.suppress(ValueError):
                self.flat_state = FlatState(params, [states.of(p, settings) for p in params], settings.keys)
        advance = self.flat_state.prepare(settings, states.optimizer.state) if self.flat_state else None
        if advance is None:
            self.flat_state = None
        return advance

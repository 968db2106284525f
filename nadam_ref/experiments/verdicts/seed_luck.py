"""How often reports of a single run for each method would reach each of the papers' conclusions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from .arms import Arm, Evidence
from .claims import Claim, claims

__all__ = ["seed_luck"]


def seed_luck(evidence: Evidence, replays: int = 10_000, seed: int = 0) -> list[tuple[Claim, float]]:
    """The share of replays in which each claim's sentence is true of the numbers that were drawn.

    A replay is the report's procedure on our runs: one run for every method, at its tuned rate, drawn from the reported
    ones independently of the other methods. A sentence is true if every one of its comparisons is, whatever the size
    of the difference; a diverged run is worse than any other and equal to another diverged one. Sentences on tasks
    that were not run are left out.
    """
    shares = []
    for task, arms in evidence.items():
        generator = np.random.default_rng(seed)
        drawn = {name: generator.integers(len(arm.runs), size=replays) for name, arm in arms.items()}
        judged = [claim for claim in claims() if claim.task == task and _all(claim, arms)]
        shares += [(claim, _share(claim, arms, drawn)) for claim in judged]
    return shares


def _all(claim: Claim, arms: Mapping[str, Arm]) -> bool:
    return all(name in arms for side in claim.sides for name in (side.first, side.second))


def _share(claim: Claim, arms: Mapping[str, Arm], drawn: Mapping[str, npt.NDArray[np.int64]]) -> float:
    def printed(name: str) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = np.asarray(arms[name].values(claim.metric))[drawn[name]]
        return values

    true = [
        printed(side.first) < printed(side.second) if side.direction < 0 else printed(side.first) > printed(side.second)
        for side in claim.sides
    ]
    return float(np.mean(np.all(true, axis=0)))

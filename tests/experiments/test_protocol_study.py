"""Is protocol 3 worth the change? Both versions on simulated arms, whose true difference is known.

The log metric of an arm is a parabola in log10(rate) around a best rate of its own, plus what a seed does to both arms
of a pair, plus noise. The true difference is that of the two minima. Version 2 has a half-decade grid of eight rates
and reports at the chosen rate; version 3 searches, and spends as many runs on fewer seeds at two rates.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from nadam_ref.experiments.protocol import tuning
from nadam_ref.experiments.statistics.significance import holm
from nadam_ref.experiments.verdicts import verdicts
from nadam_ref.experiments.verdicts.claims import Side

WORLDS = 60
CURVATURE = (0.6, 1.2)  # log metric a decade² away from the best rate; images at small: about 0.6
NOISE = (0.005, 0.02, 0.04, 0.09)  # of a run; images at small: about 0.09
GAPS = (0.03, 0.06)
DELTA, ALPHA, FAMILY = 0.02, 0.05, 9
TUNING, MIDDLE = 2, 1e-2
SEEDS = {2: 17, 3: 10}  # so that both versions make about 65 runs


@dataclass
class World:
    """Two arms; the first has the higher minimum, by `gap`."""

    gap: float
    curvature: float
    noise: float
    random: np.random.Generator
    known: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.best = self.random.uniform(-1, 1, 2) - 2  # of both, in decades

    def run(self, arm: Any, lr: Any, seed: int) -> Any:
        """The log metric of a run; the same run has the same result."""
        pair = self.known.setdefault(seed, self.random.normal(0, 0.3))
        off = np.log10(lr) - self.best[arm]
        if (arm, lr, seed) not in self.known:
            own = self.random.normal(0, self.noise)
            self.known[arm, lr, seed] = (self.gap if arm == 0 else 0.0) + self.curvature * off**2 + pair + own
        return self.known[arm, lr, seed]

    def criterion(self, arm: Any, lr: Any) -> Any:
        return float(np.mean([self.run(arm, lr, 1000 + seed) for seed in range(TUNING)]))

    def compared(self, rates: Any, seeds: Any) -> Any:
        differences = np.array([self.run(0, rates[0], s) - self.run(1, rates[1], s) for s in range(seeds)])
        return verdicts.Comparison(differences, (0, 0))


def grid(criterion: Any) -> Any:
    """Version 2: eight half-decades, moved on at most three times where the best is at an edge."""
    tried = {tuning.rate(i): criterion(tuning.rate(i)) for i in range(-16, 0, 2)}
    for _ in range(3):
        found = tuning.choose(tried)
        side = -2 if found.lr == min(tried) else 2 if found.lr == max(tried) else 0
        if side:
            beyond = tuning.rate(tuning.place(found.lr) + side)
            tried[beyond] = criterion(beyond)
    return tried


def search(criterion: Any) -> Any:
    """Version 3."""
    tried = {}
    while rates := tuning.next_rates(tried, MIDDLE, 12):
        tried |= {lr: criterion(lr) for lr in rates}
    return tried


def decided(comparison: Any) -> Any:
    """The verdict on the claim that the first arm ends higher, which is true."""
    (p, *_) = holm([comparison.p] + [1.0] * (FAMILY - 1))
    return verdicts.decide([Side("a", "b", 1, None)], [comparison], [p], [DELTA], ALPHA)[0]


def version_2(world: Any) -> Any:
    tables = [grid(functools.partial(world.criterion, arm)) for arm in (0, 1)]
    found = world.compared([tuning.choose(table).lr for table in tables], SEEDS[2])
    return found, sum(TUNING * len(table) + SEEDS[2] for table in tables)


def version_3(world: Any) -> Any:
    tables = [search(functools.partial(world.criterion, arm)) for arm in (0, 1)]
    choices = [tuning.choose(table) for table in tables]
    (a, b), n = choices, SEEDS[3]
    found = world.compared((a.lr, b.lr), n)
    beside = {"a": world.compared((a.runner_up, b.lr), n), "b": world.compared((a.lr, b.runner_up), n)}
    elsewhere = {name: (decided(x), x) for name, x in beside.items()}
    flagged = verdicts._depends_on_rate(decided(found), found, elsewhere)
    return found, sum(TUNING * len(table) + 2 * n for table in tables), flagged


@functools.cache
def study() -> Any:
    """For each setting: runs, how often the sign is found, wrong verdicts of version 2, those flagged by version 3."""
    rows = []
    for i, (curvature, noise, gap) in enumerate(itertools.product(CURVATURE, NOISE, GAPS)):
        random = np.random.default_rng(i)
        runs, signs, wrong, flags, unflagged = np.zeros(2), np.zeros(2), 0, 0, 0
        for _ in range(WORLDS):
            world = World(gap, curvature, noise, random)
            old, cost = version_2(world)
            new, other_cost, flagged = version_3(world)
            runs += (cost, other_cost)
            signs += (old.sign > 0, new.sign > 0)
            if decided(old) == "Reversed":
                wrong, flags = wrong + 1, flags + flagged
            unflagged += decided(new) == "Reversed" and not flagged
        rows.append((curvature, noise, gap, *runs / WORLDS, *signs / WORLDS, wrong, flags, unflagged))
    return np.array(rows)


def test_it_finds_the_sign_at_least_as_often_with_no_more_runs() -> None:
    found = study()
    print("\ncurvature  noise   gap  runs: v2    v3  sign: v2    v3  wrong in v2, of them flagged, v3 wrong unflagged")
    for row in found:
        print("{:9.1f} {:6.3f} {:5.2f} {:9.1f} {:5.1f} {:9.2f} {:5.2f} {:12.0f} {:16.0f} {:19.0f}".format(*row))
    runs, signs = found[:, 3:5].mean(axis=0), found[:, 5:7].mean(axis=0)
    print(f"all                      {runs[0]:9.1f} {runs[1]:5.1f} {signs[0]:9.3f} {signs[1]:5.3f}")
    assert runs[1] <= runs[0]
    assert signs[1] >= signs[0]
    sharp = found[found[:, 1] < 0.09]  # noise of a run smaller than what half a decade costs
    assert (sharp[:, 6] >= sharp[:, 5]).all()


def test_it_flags_nine_in_ten_of_the_verdicts_that_the_old_rule_got_wrong() -> None:
    wrong, flagged, unflagged = study()[:, 7:10].sum(axis=0)
    print(
        f"\n{wrong:.0f} wrong verdicts under version 2, {flagged:.0f} of them flagged; {unflagged:.0f} unflagged in v3"
    )
    assert wrong >= 10
    assert flagged >= 0.9 * wrong
    assert unflagged <= 0.01 * WORLDS * len(study())


def test_the_simulated_response_is_what_it_says() -> None:
    world = World(0.05, 1.0, 0.0, np.random.default_rng(0))
    at_best = [world.run(arm, 10 ** world.best[arm], 0) for arm in (0, 1)]
    assert at_best[0] - at_best[1] == pytest.approx(0.05)
    assert world.run(0, 10 ** (world.best[0] + 0.5), 0) - at_best[0] == pytest.approx(0.25)

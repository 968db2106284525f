"""The runs of the map: the same small network with every method at every rate, by what they vary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ....experiments.runs.record import Record
from ....experiments.runs.spec import RunSpec
from ....experiments.statistics.intervals import t_interval
from ....experiments.statistics.significance import log_differences
from ....experiments.statistics.summary import value

__all__ = ["Losses", "at_best", "difference", "losses", "momentum", "usual", "ν"]


USUAL = {"eps": 1e-8, "eps_root": 0.0, "bias_correction": True, "momentum_decay": None}
ν = 0.999
# The test losses of one arm by rate and seed; +inf where a run diverged.
Losses = dict[float, dict[int, tuple[float, float]]]


def momentum(spec: RunSpec) -> float:
    h = spec.hyperparameters
    return float(h["betas"][0] if "betas" in h else h["momentum"])


def usual(spec: RunSpec) -> bool:
    """Whether all is as usual but μ, the rate and the batch."""
    h = spec.hyperparameters
    return h.get("betas", (0, ν))[1] == ν and all(h.get(name, x) == x for name, x in USUAL.items())


def losses(records: Iterable[Record]) -> Losses:
    """Development and test loss of every run, by rate and seed."""
    found: Losses = {}
    for r in records:
        found.setdefault(r.spec.lr, {})[r.spec.seed] = value(r, "dev_loss"), value(r, "test_loss")
    return found


def at_best(losses: Losses) -> tuple[list[float], bool]:
    """The test loss of each seed at the rate that the other seeds choose on the development set; whether at an end.

    So no seed has a say in the rate at which it is reported.
    """
    rates, out, ends = sorted(losses), [], False
    seeds = sorted(losses[rates[0]])
    for seed in seeds:
        mean = {lr: sum(math.log(losses[lr][s][0]) for s in seeds if s != seed) for lr in rates}
        best = min(rates, key=lambda lr: mean[lr])
        ends |= best in (rates[0], rates[-1])
        out.append(losses[best][seed][1])
    return out, ends


def difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, bool]:
    if all(map(math.isinf, first)) and all(map(math.isinf, second)):
        return math.nan, False
    d = log_differences(first, second)
    if not np.isfinite(d).all():
        return float(np.sign(d[~np.isfinite(d)].sum())) * math.inf if d[~np.isfinite(d)].sum() else math.nan, True
    interval = t_interval(d)
    return float(d.mean()), interval is not None and interval[0] * interval[1] > 0

"""Whether Nadam's longer first steps are why it ends lower at small rates: Adam is trained with steps as long.

Differences are of log(test loss), seed by seed; below 0 Nadam ends lower.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from IPython.display import Markdown

from .... import Nadam
from ....experiments.protocol.definition import load
from ....experiments.runs.batched import run_together
from ....experiments.runs.record import Record
from ....experiments.runs.spec import RunSpec
from ....experiments.statistics.intervals import t_interval
from ....experiments.statistics.significance import log_differences
from ....experiments.statistics.summary import value
from ....experiments.verdicts.report import percent
from .. import show
from ..figures import Array
from ..show import markdown
from .map_runs import momentum, usual

__all__ = ["Against", "against", "compared", "explained", "lengthened"]

MOMENTUM = 0.9


class Against(NamedTuple):
    """Nadam against Adam at a rate `lr`, and against Adam at `factor` times that rate, by seed: `[seeds]`."""

    lr: float
    factor: float
    same: Array
    longer: Array
    records: Sequence[Record]

    @property
    def explained(self) -> float:
        """The part of the mean difference that goes away when Adam's steps are as long."""
        return float(1 - self.longer.mean() / self.same.mean())


def against(records: Sequence[Record], rates: int = 3) -> list[Against]:
    """Adam trained again at the smallest `rates`, each as much larger as Nadam's steps are longer; none without a map.

    How much longer they are is their mean over a run's steps on a constant gradient.
    """
    batch, found = load().task("digits").batch, dict[tuple[str, float], dict[int, Record]]()
    for r in records:
        if usual(r.spec) and momentum(r.spec) == MOMENTUM and r.spec.batch == batch:
            found.setdefault((r.spec.optimizer, r.spec.lr), {})[r.spec.seed] = r
    smallest = sorted({lr for _, lr in found})[:rates]
    if not smallest:
        return []
    pairs = {
        lr: [[found[name, lr][s] for s in sorted(found[name, lr])] for name in ("Nadam", "Adam")] for lr in smallest
    }
    factor = lengthened(pairs[smallest[0]][0][0].spec)
    again = iter(run_together([_faster(r.spec, factor) for _, adam in pairs.values() for r in adam]))
    out = []
    for lr, (nadam, adam) in pairs.items():
        losses, same, longer = (
            [value(r, "test_loss") for r in runs] for runs in (nadam, adam, [next(again) for _ in adam])
        )
        out.append(Against(lr, factor, log_differences(losses, same), log_differences(losses, longer), [*nadam, *adam]))
    return out


def lengthened(spec: RunSpec) -> float:
    """How long the steps of this run's Nadam are on a constant gradient, in the mean and in units of η."""
    θ = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    settings = {name: x for name, x in spec.hyperparameters.items() if name != "lr"}
    optimizer = Nadam([θ], lr=1.0, **settings)
    for _ in range(spec.steps):
        θ.grad = torch.ones_like(θ)
        optimizer.step()
    return -θ.item() / spec.steps


def _faster(spec: RunSpec, factor: float) -> RunSpec:
    return dataclasses.replace(spec, hyperparameters={**spec.hyperparameters, "lr": factor * spec.lr})


def compared(found: Sequence[Against]) -> Markdown | None:
    """Both mean differences at each rate, the second with its 95 % interval."""
    if not found:
        return None
    return show.table(
        ["η", "against Adam", "with steps as long"],
        [[f"{x.lr:g}", percent(float(x.same.mean())), _signed(x.longer)] for x in found],
        "rrr",
        name="tab-sensitivity-steps",
        caption=f"Nadam (ICLR) against Adam at $\\mu$ = {MOMENTUM:g}: at one rate; with Adam's rate larger by "
        f"{percent(found[0].factor - 1).lstrip('+')}, so that its steps are as long on a constant gradient. The "
        "last with its 95 % interval over the seeds.",
        note=show.provenance_note((r for x in found for r in x.records), recorded=True)
        + " · Adam with longer steps was run with the page",
    )


def _signed(d: Array) -> str:
    interval = t_interval(d)
    return percent(float(d.mean())) + (f" ({percent(interval[0])} to {percent(interval[1])})" if interval else "")


def explained(found: Sequence[Against]) -> Markdown | None:
    """At how many rates a difference is left, and how much the step length explains at the smallest and the largest."""
    if not found:
        return None
    left = sum((interval := t_interval(x.longer)) is not None and interval[1] < 0 for x in found)
    rates = f"{'all' if left == len(found) else f'{show.NUMBERS[left]} of the'} {show.NUMBERS[len(found)]} rates"
    first, last = (f"{100 * x.explained:.0f} %" for x in (found[0], found[-1]))
    return markdown(
        f"The longer steps explain {first} of the difference at the smallest of these rates and {last} at the largest. "
        f"At {rates} Nadam is clearly lower all the same."
    )

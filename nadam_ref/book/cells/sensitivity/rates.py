"""How the order of the methods depends on the number of rates that each may try."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes

from ....experiments.protocol import planning
from ....experiments.runs.record import Record
from ....experiments.verdicts.measures import median_best
from ....rules import RULES
from .. import recorded, show
from ..figures import Array, Picture, look
from ..show import markdown
from .words import titled

__all__ = ["PACKS", "Contest", "budget", "contest", "ordered", "places"]


#: The packs that may have tuning runs of the methods, in the book's order.
PACKS = (
    "word2vec-paper",
    "word2vec-small",
    "images-small",
    "language_model-small",
    "autoencoder-small",
    "digits-small",
)


class Contest(NamedTuple):
    """The nine methods on one task: the median best log metric of k of the tried rates, for k from 1."""

    task: str
    profile: str
    curves: Mapping[str, Array]
    note: str

    @property
    def title(self) -> str:
        return f"{titled(self.task)} ({self.profile})"

    @property
    def most(self) -> int:
        """The largest k, the number of rates that every method has tried."""
        return len(next(iter(self.curves.values())))

    def order(self, k: int) -> list[str]:
        """The methods, the best first, with k rates."""
        return sorted(self.curves, key=lambda name: (self.curves[name][k - 1], name))


def contest(names: Sequence[str] = PACKS) -> list[Contest]:
    """What is recorded of the search, of every pack that is there."""
    return [_contest(records) for name in names if (records := recorded.there(name))]


def _contest(records: Sequence[Record]) -> Contest:
    spec = records[0].spec
    tuned = [r for r in records if planning.tunes(r)]
    tried = planning.rates(tuned)
    methods = {name: list(tried[name].values()) for name in RULES if name in tried}
    most = min(map(len, methods.values()))
    curves = {name: np.array([median_best(values, k) for k in range(1, most + 1)]) for name, values in methods.items()}
    return Contest(spec.task, spec.profile, curves, show.provenance_note(tuned, recorded=True))


def budget(found: Sequence[Contest]) -> Picture:
    """For each task, the median best of k rates, above the best of all at the largest k, by method."""

    def above(it: Contest) -> Mapping[str, Array]:
        least = min(curve[-1] for curve in it.curves.values())
        return {name: curve - least for name, curve in it.curves.items()}

    figure, axes = _panels(found, above)
    for ax in axes:
        ax.set_ylim(-0.03, 0.7)
        ax.set_yticks(np.log1p([0, 0.1, 0.25, 0.5, 1.0]), ["0", "10 %", "25 %", "50 %", "100 %"])
    figure.supylabel("development metric above the best", fontsize=10)
    figure.data |= {f"{it.title}: {name}": curve for it in found for name, curve in it.curves.items()}
    figure.alt = " ".join(f"{it.title}: with one rate {it.order(1)[0]} is first." for it in found)
    return figure


def places(found: Sequence[Contest]) -> Picture:
    """For each task, the place of every method, by the number of rates tried."""

    def ranks(it: Contest) -> Mapping[str, Array]:
        orders = [it.order(k) for k in range(1, it.most + 1)]
        return {name: np.array([1.0 + order.index(name) for order in orders]) for name in it.curves}

    figure, axes = _panels(found, ranks)
    for ax, it in zip(axes, found, strict=True):
        ax.set_ylim(len(it.curves) + 0.5, 0.5)
        ax.set_yticks(range(1, len(it.curves) + 1))
        figure.data |= {f"{it.title}: {name}": rank for name, rank in ranks(it).items()}
    figure.supylabel("place", fontsize=10)
    figure.alt = " ".join(f"{it.title}, with {it.most} rates: {', '.join(it.order(it.most))}." for it in found)
    return figure


def _panels(found: Sequence[Contest], values: Callable[[Contest], Mapping[str, Array]]) -> tuple[Picture, list[Axes]]:
    """A panel for each task, with a line for each method against the number of rates."""
    figure = Picture(figsize=(7.0, 0.9 + 2.3 * math.ceil(len(found) / 2)))
    grid = figure.subplots(math.ceil(len(found) / 2), 2, squeeze=False)
    for ax in list(grid.flat)[len(found) :]:
        ax.remove()
    axes = list(grid.flat)[: len(found)]
    for ax, it in zip(axes, found, strict=True):
        k = np.arange(1, it.most + 1)
        for name, y in values(it).items():
            ax.plot(k, y, **look(name), label=name)
        ax.set(title=it.title, xlabel="rates tried, k")
        ax.set_xticks(k)
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9)
    figure.note = " · ".join(dict.fromkeys(it.note for it in found))
    return figure, axes


def ordered(found: Sequence[Contest]) -> Markdown:
    """How the order of the methods changes from one rate to all of them."""
    lines = []
    for it in found:
        last = it.most
        first, end = it.order(1), it.order(last)
        moved = {name: abs(first.index(name) - end.index(name)) for name in end}
        most = max(moved, key=lambda name: moved[name])
        pairs = [(a, b) for i, a in enumerate(end) for b in end[i + 1 :]]
        turned = sum(first.index(a) > first.index(b) for a, b in pairs)
        same = f" and with {last}" if first[0] == end[0] else f", {end[0]} with {last}"
        lines.append(
            f"- **{it.title}**: {first[0]} is first with one rate{same}; {turned} of {len(pairs)} "
            f"pairs of methods change places, and {most} moves most, from place {first.index(most) + 1} to "
            f"{end.index(most) + 1}."
        )
    return markdown(*lines)

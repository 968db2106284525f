"""How many seeds a difference takes to be seen, and how certain the chosen rates are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from IPython.display import Markdown

from ....experiments.runs.record import Record
from ....experiments.statistics.significance import detectable
from ....experiments.statistics.summary import criterion, reported_metric
from ....experiments.verdicts.measures import rate_shares
from ....experiments.verdicts.report import percent
from ....experiments.verdicts.verdicts import compare
from .. import recorded, show
from ..experiment.plots import WIDTH
from ..figures import Picture
from .rates import PACKS
from .words import titled

__all__ = ["Seen", "awaited", "certain", "needed", "power", "powerful"]


class Seen(NamedTuple):
    """Nadam against Adam as it was seen: the spread over pairs, their number, the mean difference."""

    title: str
    spread: float
    n: int
    mean: float
    records: Sequence[Record]


def powerful(names: Sequence[str] = PACKS) -> list[Seen]:
    """The packs with Nadam and Adam, all of whose pairs have a result."""
    found = []
    for name in names:
        task, profile = name.rsplit("-", 1)
        evidence = recorded.of(task, profile).evidence
        arms = evidence[task] if evidence else {}
        if {"Nadam", "Adam"} <= arms.keys():
            x = compare(arms["Nadam"], arms["Adam"], reported_metric(task))
            if x.mean is not None and x.n > 2:
                records = [r for arm in ("Nadam", "Adam") for r in arms[arm].runs.values()]
                title = f"{titled(task)} ({profile})"
                found.append(Seen(title, float(x.differences.std(ddof=1)), x.n, x.mean, records))
    return found


def needed(spread: float, effect: float, most: int = 1000) -> int | None:
    """Pairs with which such a difference is probably seen (α = .05, power .8); None for more than `most`."""
    low, high = 6, most
    if detectable(spread, high) > effect:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if detectable(spread, middle) <= effect else (middle + 1, high)
    return low


def power(found: Sequence[Seen]) -> Picture:
    """The smallest difference that n pairs probably show at each task's spread; the marks are what was seen."""
    figure = Picture(figsize=(WIDTH, 3.9))
    ax = figure.subplots()
    n = np.unique(np.geomspace(6, 200, 60).astype(int))
    for i, it in enumerate(found):
        ink = ("#0072B2", "#C94A00", "#00795A", "#A0568A", "#57606a", "#8a6d00")[i % 6]
        y = np.array([detectable(it.spread, int(k)) for k in n])
        ax.plot(n, y, color=ink, label=it.title)
        ax.plot(it.n, abs(it.mean), ("o", "s", "^", "D", "v", "P")[i % 6], color=ink)
        figure.data |= {f"{it.title}: pairs": n.astype(float), f"{it.title}: smallest difference": y}
        figure.data[f"{it.title}: pairs run, difference seen, spread"] = np.array([it.n, it.mean, it.spread])
    ax.set(xscale="log", yscale="log", xlabel="pairs of seeds", ylabel="difference that is probably seen")
    ax.set_xticks([6, 10, 20, 50, 100, 200], ["6", "10", "20", "50", "100", "200"])
    marks = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
    low, high = ax.get_ylim()
    ax.set_yticks(marks, [f"{100 * x:g} %" for x in marks])
    ax.set_ylim(low, high)
    ax.minorticks_off()
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    figure.alt = " ".join(f"{it.title}: {_asked(it)} pairs." for it in found)
    figure.note = show.provenance_note((r for it in found for r in it.records), recorded=True)
    return figure


def _asked(it: Seen) -> str:
    wanted = needed(it.spread, abs(it.mean))
    return "> 1,000" if wanted is None else f"{wanted}"


def awaited(found: Sequence[Seen]) -> Markdown:
    """How many pairs the difference that was seen would take, beside those that were run."""
    return show.table(
        ["task", "spread over pairs", "difference seen", "pairs run", "pairs it takes"],
        [[it.title, f"{it.spread:.3f}", percent(it.mean), it.n, _asked(it)] for it in found],
        "lrrrr",
        name="tab-sensitivity-power",
        caption="Nadam against Adam: the standard deviation over pairs of the difference in the logarithm, and the "
        "pairs with which a difference of the size seen is found with a probability of .8 at the level .05.",
        note=show.provenance_note((r for it in found for r in it.records), recorded=True),
    )


def certain(names: Sequence[str] = PACKS) -> Markdown:
    """How certain the chosen rates of Adam and Nadam are: shares of the bootstrap, and the price of the neighbour."""
    rows, records = [], list[Record]()
    for name in names:
        task, profile = name.rsplit("-", 1)
        evidence = recorded.of(task, profile).evidence
        for arm in (evidence[task][x] for x in ("Adam", "Nadam") if evidence and x in evidence[task]):
            tried = {row.lr: criterion(list(row.runs.values())) for row in arm.tuning}
            others = sorted(tried[lr] - tried[arm.lr] for lr in tried if lr != arm.lr)
            shares = rate_shares(arm)
            title = f"{titled(task)} ({profile})"
            rows.append(
                [title, arm.name, f"{arm.lr:g}", f"{shares[arm.lr]:.0%}".replace("%", " %"), percent(others[0])]
            )
            records += [r for row in arm.tuning for r in row.runs.values()]
    return show.table(
        ["task", "method", "rate", "chosen again in", "the next best rate"],
        rows,
        "llrrr",
        name="tab-sensitivity-rates",
        caption="How certain a chosen rate is: the share of all draws of the tuning seeds with repetition that choose "
        "it again, and how much higher the development metric of the second-best rate is.",
        note=show.provenance_note(records, recorded=True) if records else "",
    )

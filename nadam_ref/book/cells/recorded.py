"""What the chapters show of recorded runs: the report's tables, and figures of the same arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from IPython.display import Markdown
from matplotlib.transforms import blended_transform_factory

from ...experiments.protocol import planning
from ...experiments.released import folder
from ...experiments.runs import pack
from ...experiments.runs.record import Record
from ...experiments.statistics.summary import curve
from ...experiments.verdicts.arms import Arm, Evidence, gather
from ...experiments.verdicts.report import TABLES, reached_momentum
from ...experiments.verdicts.verdicts import Verdict, judge
from ...rules import RULES
from . import show
from .figures import Picture, curves, look

__all__ = ["PANELS", "evidence", "gaps", "learning", "note", "panels", "primary", "rates", "runs", "table", "version"]

#: The methods of a panel, by what its rules divide by.
PANELS = {
    title: [name for name, rule in RULES.items() if rule.norm == norm]
    for norm, title in (("none", "no norm"), ("rms", "L2 norm"), ("max", "max norm"))
}


def runs(name: str) -> list[Record]:
    """The records of a released pack, such as `images-small`. Raises `DataError` where it cannot be had."""
    return pack.read(folder(name))


def version(records: Sequence[Record]) -> int:
    """The version of the protocol that the runs of one task and profile were made under."""
    return planning.version(records[0])


def evidence(records: Sequence[Record]) -> Evidence:
    """The arms of one task and profile, with exactly the reporting seeds of the protocol they were made under."""
    return gather(records, records[0].spec.profile, planning.planned_seeds(records))


def primary(by_task: Evidence) -> list[Verdict]:
    """The verdicts on the primary claims of the tasks that were run."""
    return [v for v in judge(by_task) if v.claim.primary and v.claim.task in by_task]


def note(by_task: Evidence) -> str:
    """Profile, data, seeds, machine and commit of the reported runs: what every figure of them must come with."""
    (arms,) = by_task.values()
    return show.provenance_note((record for arm in arms.values() for record in arm.runs.values()), recorded=True)


def table(by_task: Evidence, name: str) -> Markdown:
    """One of the report's tables (`verdicts`, `methods`, `confound`, `luck`), with the rows of the task at hand."""
    ((task, arms),) = by_task.items()
    content = TABLES[name](by_task)
    rows = [
        [f"{first} *(exploratory)*" if group.about["exploratory"] else first, *rest]
        for group in content.groups
        if group.about["task"] == task
        for first, *rest in group.rows
    ]
    reached = reached_momentum(arms)
    return show.table(
        content.heads,
        rows,
        content.align,
        name=f"tab-{task}-{name}",
        caption=f"{content.caption}{reached and f'; {reached}'}.",
        note=note(by_task),
    )


# ---------------------------------------------------------------- figures


def gaps(verdicts: Sequence[Verdict]) -> Picture:
    """For each claim our mean log gap with its 95 % interval and, hollow, the printed one; grey: what does not matter.

    Left of 0 the first method of the pair is the better one.
    """
    figure = Picture(figsize=(7.0, 1.2 + 0.62 * len(verdicts)))
    ax = figure.subplots()
    for y, v in enumerate(verdicts):
        x = v.comparison
        ax.fill_betweenx([y - 0.32, y + 0.32], -v.delta, v.delta, color="#8c959f", alpha=0.25, linewidth=0)
        ink = look(v.side.first)["color"]
        if x is not None and x.mean is not None and x.interval is not None and x.prediction is not None:
            ax.plot(x.prediction, [y, y], color=ink, linewidth=1, label="one more run" if y == 0 else None)
            ax.plot(x.interval, [y, y], color=ink, linewidth=5, alpha=0.45, label="95 % interval" if y == 0 else None)
            ax.plot(x.mean, y, "o", color=ink, label="ours, mean" if y == 0 else None)
            figure.data[f"{v.claim.label}: mean, interval, prediction"] = np.array([x.mean, *x.interval, *x.prediction])
        if v.side.gap is not None:
            ax.plot(v.side.gap, y, "D", color=ink, markerfacecolor="none", label="as printed" if y == 0 else None)
            figure.data[f"{v.claim.label}: printed, δ"] = np.array([v.side.gap, v.delta])
    ax.axvline(0, color="#57606a", linewidth=0.8)
    ax.set_yticks(range(len(verdicts)), [f"{v.claim.label}\n{v.kind}" for v in verdicts])
    ax.invert_yaxis()
    ax.set_xlabel("log of the ratio of test metrics, first method over second")
    ax.grid(axis="y", visible=False)
    for text, place in (("first is better", 0.01), ("second is better", 0.99)):
        frame = blended_transform_factory(ax.transAxes, ax.transAxes)
        ax.text(place, 1.02, text, transform=frame, ha="left" if place < 0.5 else "right", fontsize=9, color="#57606a")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    arms = [arm for v in verdicts for arm in v.arms or ()]
    figure.note = show.provenance_note((r for arm in arms for r in arm.runs.values()), recorded=True)
    return figure


def learning(by_task: Evidence) -> Picture:
    """The reported runs of the nine methods at their tuned rates: mean and range over the seeds, by kind of norm."""
    (arms,) = by_task.values()
    at = {name: curve(arm.runs.values(), "dev_loss") for name, arm in arms.items() if name in RULES}
    return curves(
        next(iter(at.values())).step.astype(np.float64),
        {name: (c.mean, c.low, c.high) for name, c in at.items()},
        ylabel="development loss",
        panels=panels(arms),
        note=note(by_task),
    )


def rates(records: Sequence[Record]) -> Picture:
    """Mean development loss of the tuning runs against the learning rate: how sensitive each method is to it."""
    (arms,) = evidence(records).values()
    groups = panels(arms)
    figure = Picture(figsize=(2.4 + 2.6 * len(groups), 3.6))
    axes = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for ax, (title, names) in zip(axes, groups.items(), strict=True):
        for name in names:
            tried = sorted((row.lr, row.dev_loss.mean) for row in arms[name].tuning if math.isfinite(row.dev_loss.mean))
            x, y = np.array(tried).T
            ax.plot(x, y, **look(name), label=name)
            figure.data |= {f"{name} rate": x, f"{name} development loss": y}
        ax.set(title=title, xlabel="learning rate η", xscale="log", yscale="log")
        ax.legend()
    axes[0].set_ylabel("development loss")
    figure.note = show.provenance_note((r for r in records if planning.tunes(r)), recorded=True)
    return figure


def panels(arms: Mapping[str, Arm]) -> dict[str, list[str]]:
    """The methods that are there, by what their rules divide by."""
    there = {title: [name for name in names if name in arms] for title, names in PANELS.items()}
    return {title: names for title, names in there.items() if names}

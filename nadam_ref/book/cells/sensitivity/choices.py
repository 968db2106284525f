"""What an optimizer changes beside other choices, and whether the one depends on the others.

Differences are of log(test metric), seed by seed; below 0 the first of a pair ends lower.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes

from ....experiments.protocol import planning
from ....experiments.protocol.definition import load, profile_of
from ....experiments.runs.record import Record
from ....experiments.statistics.summary import RunsError, reported_metric
from ....experiments.tasks import TASKS, model_of
from ....experiments.verdicts.arms import Arm, gather
from ....experiments.verdicts.report import percent
from ....experiments.verdicts.verdicts import Comparison, compare
from .. import answer, recorded, show
from ..experiment.plots import GREY, WIDTH
from ..experiment.wording import listed
from ..figures import Picture, look
from ..show import markdown
from .words import titled

__all__ = ["Beside", "Row", "answered", "beside", "changed", "forest", "under"]


PROFILE = "choices"
#: The inks of a choice and of an optimizer.
INK = {"choice": "#57606a", "optimizer": look("Nadam")["color"]}


class Row(NamedTuple):
    """One choice in place of the paper's own on a task, by what it is called; None where it is not run yet."""

    task: str
    what: str
    kind: str
    x: Comparison | None


class Beside(NamedTuple):
    """A task's rows, Nadam in place of Adam first, and under each choice the difference between the two."""

    task: str
    rows: Sequence[Row]
    under: Sequence[Row]
    records: Sequence[Record]

    @property
    def ran(self) -> list[Row]:
        return [row for row in self.rows if row.x is not None]


def beside(packs: Mapping[str, Sequence[Record]] | None = None) -> list[Beside]:
    """Every task that has the choices, from its pack, or from `packs` by task."""
    tasks = load().having(PROFILE)
    return [
        _beside(task, recorded.there(f"{task}-{PROFILE}") if packs is None else packs.get(task, [])) for task in tasks
    ]


def _beside(task: str, records: Sequence[Record]) -> Beside:
    plans = profile_of(task, PROFILE).plans
    arms = {name: arm for name in profile_of(task, PROFILE).arms if (arm := plans[name]).optimizer == "Adam"}
    made = {name: _made(task, arm.model, records) for name, arm in arms.items()}
    own, rows, under = made["Adam"], list[Row](), list[Row]()
    metric = reported_metric(task)
    for name, arm in arms.items():
        what, there = _named(task, arm.model), made[name]
        pair = compare(there["Nadam"], there["Adam"], metric) if {"Nadam", "Adam"} <= there.keys() else None
        if name == "Adam":
            rows.append(Row(task, "Nadam in place of Adam", "optimizer", pair))
        elif "Adam" in own and "Adam" in there and len(own["Adam"].runs) == len(there["Adam"].runs):
            rows.append(Row(task, what, "choice", compare(there["Adam"], own["Adam"], metric)))
        else:
            rows.append(Row(task, what, "choice", None))
        under.append(Row(task, what, "optimizer", pair))
    return Beside(task, rows, under, records)


def _made(task: str, change: Mapping[str, Any], records: Sequence[Record]) -> Mapping[str, Arm]:
    """Adam and Nadam under one choice; nothing while a rate or a planned seed is lacking."""
    size = TASKS[task].SIZES[PROFILE]
    model = model_of(type(size)(**{**vars(size), **change}))
    chosen = [record for record in records if dict(record.spec.model) == model]
    if not chosen:
        return {}
    try:
        arms = gather(chosen, PROFILE, planning.planned_seeds(chosen))[task]
    except RunsError:
        return {}
    return {name.split()[0]: arm for name, arm in arms.items()}


def _named(task: str, change: Mapping[str, Any]) -> str:
    """What a choice is called, beside the paper's own."""
    if not change:
        return "the paper's own"
    if "cell" in change:
        return f"{change['units']} simple recurrent units"
    ((key, new),) = change.items()
    if key == "init":
        return {"xavier": "Xavier's", "he": "He's"}[new] + " initialization"
    if key == "l1":
        strengths = profile_of(task, PROFILE).variants["penalty"].model["l1"]
        return f"{'weak' if new == min(strengths) else 'strong'} L1 penalty"
    return f"{'half' if new < getattr(TASKS[task].SIZES[PROFILE], key) else 'twice'} the units"


def _size(x: Comparison) -> float:
    """How much a choice changes the result, in the logarithm; +inf where a run diverged."""
    return math.inf if x.mean is None else abs(x.mean)


def _signed(x: Comparison) -> str:
    if x.mean is None or x.interval is None:
        return "some runs diverged"
    return f"{percent(x.mean)} ({percent(x.interval[0])} to {percent(x.interval[1])})"


def answered(found: Sequence[Beside]) -> Markdown:
    """How much an optimizer changes beside the other choices, in one sentence, and what is lacking."""
    rows = [row for task in found for row in task.ran]
    optimizers, others = ([row for row in rows if row.kind == kind] for kind in ("optimizer", "choice"))
    if not optimizers or not others:
        return markdown("**Not run yet:** what other choices change beside the optimizer. " + _lacking(found))
    sizes = {row.task: _size(row.x) for row in optimizers if row.x}
    more = [row for row in others if row.x and _size(row.x) > sizes.get(row.task, math.inf)]
    largest = max(others, key=lambda row: _size(row.x) if row.x else 0.0)
    typical = [math.exp(float(np.median([_size(row.x) for row in part if row.x]))) - 1 for part in (optimizers, others)]
    tasks = [titled(row.task) for row in optimizers]
    change = "1 changes" if len(more) == 1 else f"{len(more)} change"
    clear = sum(row.x is not None and answer.sign(row.x) != 0 for row in rows)
    words = {0: "none is", 1: "1 is"}.get(clear, f"{clear} are")
    return markdown(
        f"**Of {len(others)} other choices on {listed(tasks)}, {change} the test result by more than Nadam "
        f"in place of Adam does.** Of all {len(rows)} differences, the optimizer's included, {words} clear of 0 with "
        f"its 95 % interval. The median change is {_percent(typical[0])} for the optimizer and "
        f"{_percent(typical[1])} for the others; the largest is that of {largest.what}, on "
        f"{titled(largest.task)}: {_signed(largest.x) if largest.x else ''}. {_lacking(found)}"
    )


def _percent(x: float) -> str:
    return "more than can be said, since runs diverged" if math.isinf(x) else f"{100 * x:.1f} %"


def _lacking(found: Sequence[Beside]) -> str:
    lost = [task.task for task in found if len(task.ran) < len(task.rows)]
    commands = " ".join(f"--task {task}" for task in lost)
    return f"Still to be run: `nadam-ref sweep {PROFILE} {commands}`." if lost else ""


def forest(found: Sequence[Beside]) -> Picture:
    """What each choice changes: the mean difference from the paper's own with Adam, and its 95 % interval, by task."""
    lines = [(task, row) for task in found for row in (None, *task.rows)]
    figure = Picture(figsize=(WIDTH, 0.8 + 0.27 * len(lines)))
    ax = figure.subplots()
    ax.set_yticks(range(len(lines)), [titled(task.task) if row is None else row.what for task, row in lines])
    ax.tick_params(axis="y", length=0, labelsize=9)
    for (y, (task, row)), label in zip(enumerate(lines), ax.get_yticklabels(), strict=True):
        if row is None:
            label.set_fontweight("bold")
            continue
        label.set_color(INK[row.kind])
        _interval(ax, y, row.x, INK[row.kind])
        if row.x is not None and row.x.mean is not None and row.x.interval is not None:
            figure.data[f"{titled(task.task)}, {row.what}"] = np.array([row.x.mean, *row.x.interval])
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_ylim(len(lines) - 0.5, -0.6)
    if not figure.data:
        ax.set_xlim(-0.2, 0.2)
    ax.grid(axis="y", visible=False)
    recorded.percents(ax, room=0.2)  # the names beside it leave a narrow axis
    ax.set_xlabel("← lower    test loss or perplexity    higher →", fontsize=9.5)
    ax.spines["left"].set_visible(False)
    figure.alt = " ".join(f"{name}: {percent(x[0])}." for name, x in figure.data.items()) or "Nothing is run yet."
    figure.note = _note(record for task in found for record in task.records)
    return figure


def _interval(ax: Axes, y: float, x: Comparison | None, ink: str) -> None:
    if x is None or x.mean is None or x.interval is None:
        said = "not run yet" if x is None else "{} and {} runs diverged".format(*x.diverged)
        ax.annotate(said, (0, y), (6, 0), textcoords="offset points", fontsize=9, va="center", color=GREY)
        return
    ax.plot(x.interval, [y, y], color=ink, linewidth=5, alpha=0.45, solid_capstyle="butt")
    ax.plot(x.mean, y, "o", color=ink)


def _note(records: Iterable[Record]) -> str:
    made = [record for record in records if not planning.tunes(record)]
    return show.provenance_note(made, recorded=True) if made else ""


def under(found: Sequence[Beside]) -> Markdown | None:
    """Nadam against Adam under each choice: whether the answer to one question depends on the other."""
    rows = [
        [titled(row.task), row.what, "not run yet" if row.x is None else _signed(row.x)]
        for task in found
        for row in task.under
        if task.records
    ]
    if not rows:
        return None
    return show.table(
        ["task", "with", "Nadam against Adam"],
        rows,
        "llr",
        name="tab-sensitivity-under",
        caption="The difference between Nadam and Adam under each choice, each at its own rate, with 95 % intervals.",
        note=_note(record for task in found for record in task.records),
    )


def changed(found: Sequence[Beside]) -> Markdown:
    """Under how many choices the sign of the difference between the two optimizers is that under the paper's own."""
    lines = []
    for task in found:
        means = [row.x.mean for row in task.under if row.x is not None and row.x.mean is not None]
        if len(means) > 1:
            same = sum(x * means[0] > 0 for x in means[1:])
            lines.append(f"on {titled(task.task)} under {same} of the {len(means) - 1}")
    said = f"The sign is that under the paper's own choices {listed(lines)} others."
    return markdown(said if lines else "That is not run yet.")

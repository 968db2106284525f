"""What the chapters show of recorded runs: the report's tables, and figures of the same arms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import blended_transform_factory

from ...experiments.protocol import planning
from ...experiments.released import folder, here, registry
from ...experiments.runs import pack
from ...experiments.runs.record import Record
from ...experiments.statistics.intervals import Floats
from ...experiments.statistics.summary import MixedRunsError, RunsError
from ...experiments.verdicts.arms import Arm, Evidence, gather
from ...experiments.verdicts.report import TABLES, percent, reached_momentum
from ...experiments.verdicts.verdicts import AS_CLAIMED, Verdict, judge
from ...rules import RULES
from . import show
from .figures import Picture, look

__all__ = [
    *(
        "PANELS",
        "Recorded",
        "called",
        "evidence",
        "gaps",
        "kind",
        "note",
        "of",
        "panels",
        "percents",
        "primary",
        "runs",
    ),
    *("size", "small", "table", "there", "version", "zero"),
]

#: The methods of a panel, by what its rules divide by.
PANELS = {
    title: [name for name, rule in RULES.items() if rule.norm == norm]
    for norm, title in (("none", "no norm"), ("rms", "L2 norm"), ("max", "max norm"))
}


#: Minutes of one core (EPYC or Xeon with AVX512) that a run takes, by `nadam-ref sweep PROFILE --task TASK --dry-run`.
MINUTES = {
    ("word2vec", "small"): 0.05,
    ("word2vec", "paper"): 0.74,
    ("images", "small"): 0.18,
    ("images", "paper"): 5.2,
    ("language_model", "small"): 0.28,
    ("language_model", "paper"): 45,
    ("autoencoder", "small"): 0.41,
    ("autoencoder", "paper"): 5.4,
    ("digits", "small"): 0.002,
    ("transformer", "small"): 0.67,
}


@dataclass(frozen=True)
class Recorded:
    """What is recorded of a task at one size. `evidence`: the arms, with the seeds that all of them have so far.

    It is None where nothing can be judged yet: the pack is not there, or rates are still being searched.
    """

    task: str
    profile: str
    records: Sequence[Record]
    evidence: Evidence | None

    @property
    def command(self) -> str:
        """What makes the runs that are lacking, on a GPU where those that are there were made on one."""
        return f"nadam-ref sweep {self.profile} --task {self.task}" + (" --device cuda" if self.gpu else "")

    @property
    def gpu(self) -> str:
        """The GPU that made the runs; empty for a CPU."""
        return next((r.provenance.get("gpu", "a GPU") for r in self.records if r.spec.device == "cuda"), "")

    @property
    def expected(self) -> int:
        """About how many runs there will be."""
        return sum(planning.expected_runs(self.task, self.profile).values())

    @property
    def hours(self) -> float:
        """About how many hours all of them take on that GPU, or on one core that is free for them."""
        if self.gpu:
            return self.expected * fmean(r.provenance["wall_seconds"] for r in self.records) / 3600
        return self.expected * MINUTES[self.task, self.profile] / 60

    @property
    def seeds(self) -> tuple[int, int]:
        """How many seeds are reported so far, and how many the protocol plans."""
        now = version(self.records) if self.records else None
        planned = len(planning.seeds(self.profile, self.task, now)[1])
        if self.evidence is None:
            return 0, planned
        return len(next(iter(self.evidence[self.task].values())).runs), planned

    @property
    def verdicts(self) -> list[Verdict]:
        """Those on the task's primary claims; on a task without any, those on its others. Also where it was not run."""
        own = [v for v in judge(self.evidence or {}) if v.claim.task == self.task]
        return [v for v in own if v.claim.primary] or own


def of(task: str, profile: str) -> Recorded:
    """What the book's results have of a task at one size. Raises `DataError` where they are released and not here."""
    records = there(f"{task}-{profile}")
    return Recorded(task, profile, records, _judged(records))


def there(name: str) -> list[Record]:
    """The records of a pack; none where there is no such pack yet. Raises as `of`."""
    results = here()
    if results and (results / name).is_dir():
        return pack.read(results / name)
    return [] if results or not any(path.startswith(f"{name}/") for path in registry()) else runs(name)


def _judged(records: Sequence[Record]) -> Evidence | None:
    """The evidence with the seeds that every arm has; None while a rate or the first seed is lacking."""
    if not records:
        return None
    try:
        return gather(records, records[0].spec.profile, planning.planned_seeds(records), partial=True)
    except MixedRunsError:
        raise
    except RunsError:
        return None


def runs(name: str) -> list[Record]:
    """The records of a released pack, such as `images-small`. Raises `DataError` where it cannot be had."""
    return pack.read(folder(name))


def version(records: Sequence[Record]) -> int:
    """The version of the protocol that the runs of one task and profile were made under."""
    return planning.version(records[0])


def evidence(records: Sequence[Record]) -> Evidence:
    """The arms of one task and profile, with exactly the reporting seeds of the protocol they were made under."""
    return gather(records, records[0].spec.profile, planning.planned_seeds(records))


def claimed(by_task: Evidence) -> list[Verdict]:
    """The verdicts on the primary claims; on a task without any, on its other claims."""
    own = [v for v in judge(by_task) if v.claim.task in by_task]
    return [v for v in own if v.claim.primary] or own


def primary(by_task: Evidence) -> list[Verdict]:
    """The verdicts on the primary claims of the tasks that were run."""
    return [v for v in judge(by_task) if v.claim.primary and v.claim.task in by_task]


def note(by_task: Evidence) -> str:
    """Profile, data, seeds, machine and commit of the reported runs: what every figure of them must come with."""
    (arms,) = by_task.values()
    return show.provenance_note((record for arm in arms.values() for record in arm.runs.values()), recorded=True)


def size(task: str, profile: str) -> str:
    """A size in words, as in "at the small size"; the autoencoder is not the report's."""
    paper = "at the paper's size" if task == "autoencoder" else "at the report's size"
    return paper if profile == "paper" else f"at the {profile} size"


def called(part: str) -> str:
    """A part of a gain as a page names it: the whole may be a loss."""
    return part.replace("whole gain", "whole difference")


def small(v: Verdict) -> bool:
    """Whether a difference has the claimed direction and is smaller than what matters."""
    mean = None if v.comparison is None else v.comparison.mean
    return v.kind in AS_CLAIMED and mean is not None and abs(mean) < v.delta


def kind(v: Verdict) -> str:
    """The verdict as a page names it, which says of a small difference that it is one."""
    return f"{v.kind}{', but small' * small(v)}"


def _place(column: int, head: str) -> float:
    """Where a column is on a page: a verdict comes after what it is about, or a phone would not show it."""
    return 0.5 if head == "verdict" else column


def table(by_task: Evidence, name: str) -> Markdown:
    """One of the report's tables (`verdicts`, `methods`, `confound`, `luck`), with the rows of one task."""
    ((task, arms),) = by_task.items()
    content = TABLES[name](by_task)
    rows = [
        [f"{called(first)}{' *(exploratory)*' * group.about['exploratory']}", *rest]
        for group in content.groups
        if group.about["task"] == task
        for first, *rest in group.rows
    ]
    order = sorted(range(len(content.heads)), key=lambda column: _place(column, content.heads[column]))
    reached, profile = reached_momentum(arms), next(iter(arms.values())).spec.profile
    return show.table(
        [content.heads[column] for column in order],
        [[row[column] for column in order] for row in rows],
        "".join(content.align[column] for column in order),
        name=f"tab-{task.replace('_', '-')}-{name}-{profile}",
        caption=f"{content.caption}, {size(task, profile)}{reached and f'; {reached}'}.",
        note=note(by_task),
    )


# ---------------------------------------------------------------- figures


def gaps(verdicts: Sequence[Verdict], lacking: str = "not run") -> Picture:
    """For each claim our mean log gap with its 95 % interval and, hollow, the printed one; grey: what does not matter.

    Left of 0 the first method of the pair is the better one. `lacking` is written where there is no run.
    """
    figure = Picture(figsize=(5.0, 1.1 + 0.62 * len(verdicts)))
    ax = figure.subplots()
    labelled = blended_transform_factory(ax.transAxes, ax.transData)
    for y, v in enumerate(verdicts):
        x = v.comparison
        ax.fill_betweenx([y - 0.15, y + 0.25], -v.delta, v.delta, color="#8c959f", alpha=0.25, linewidth=0)
        ink = look(v.side.first.partition("-")[0])["color"]  # a dialect has its method's
        ran = x is not None and x.mean is not None
        ax.text(0, y - 0.3, f"{v.side.first} / {v.side.second}", transform=labelled, fontsize=9.5)
        said = kind(v) if ran else lacking
        ax.text(1, y - 0.3, said, transform=labelled, fontsize=9.5, ha="right", color="k" if ran else "#57606a")
        if x is not None and x.mean is not None and x.interval is not None and x.prediction is not None:
            ax.plot(x.prediction, [y, y], color=ink, linewidth=1, label="one more run")
            ax.plot(x.interval, [y, y], color=ink, linewidth=5, alpha=0.45, label="95 % interval")
            ax.plot(x.mean, y, "o", color=ink, label="ours")
            figure.data[f"{v.claim.label}: mean, interval, prediction"] = np.array([x.mean, *x.interval, *x.prediction])
        if v.side.gap is not None:
            recalled = any(number.is_recalled for number in v.side.printed or ())
            label = "as recalled" if recalled else "as printed"
            ax.plot(v.side.gap, y, "D", color=ink if ran else "#8c959f", markerfacecolor="none", label=label)
            figure.data[f"{v.claim.label}: printed, δ"] = np.array([v.side.gap, v.delta])
    zero(ax, len(verdicts))
    ax.set_yticks([])
    ax.set_ylim(len(verdicts) - 0.55, -0.75)
    ax.grid(axis="y", visible=False)
    percents(ax)
    ax.set_xlabel("← first is better        second is better →", fontsize=10)
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    if handles:
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=4, fontsize=9, columnspacing=1.0)
    means = [(v, None if v.comparison is None else v.comparison.mean) for v in verdicts]
    figure.alt = " ".join(
        f"{v.claim.label}: {lacking if x is None else f'ours {percent(x)}, {v.kind}'}." for v, x in means
    )
    runs = [r for v in verdicts for arm in v.arms or () for r in arm.runs.values()]
    figure.note = show.provenance_note(runs, recorded=True) if runs else ""
    return figure


def zero(ax: Axes, rows: int) -> None:
    """Draw the line at 0 beside what is plotted in each row, and no line across the names or before them."""
    ax.spines["left"].set_visible(False)
    y = np.arange(rows)
    ax.vlines(np.zeros(rows), y - 0.12, y + 0.36, color="#57606a", linewidth=0.8)


#: Percents between two ticks, of which the smallest that leaves them room is taken.
STEPS = (0.5, 1, 2, 5, 10, 20, 50)


def percents(ax: Axes, room: float = 1 / 9) -> None:
    """Give the axis of a logarithmic ratio round percents, each with `room`, a share of the axis, to the next one."""
    low, high = ax.get_xlim()
    least = room * (high - low)
    step = next((step for step in STEPS if math.log1p(step / 100) >= least), STEPS[-1])
    marks = np.arange(step, 100 * math.expm1(max(abs(low), abs(high))) + step, step) / 100
    places = {0.0, *_apart(np.log1p(marks), least), *_apart(np.log1p(-marks[marks < 1]), least)}
    ax.set_xticks(sorted(x for x in places if low <= x <= high))
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda x, _: f"{100 * math.expm1(x):+.3g} %".replace("-", "−").replace("+0 ", "0 "))
    )


def _apart(places: Floats, least: float) -> list[float]:
    """Of places further and further from 0 those that are `least` or more from each other: upwards percents crowd."""
    kept = [0.0]
    for x in places:
        if abs(x - kept[-1]) >= least:
            kept.append(float(x))
    return kept


def panels(arms: Mapping[str, Arm]) -> dict[str, list[str]]:
    """The methods that are there, by what their rules divide by."""
    there = {title: [name for name in names if name in arms] for title, names in PANELS.items()}
    return {title: names for title, names in there.items() if names}

"""Is Nadam better than Adam? The answer over all tasks, as sentences and as one figure, from what is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from IPython.display import Markdown

from ...experiments.statistics.summary import reported_metric
from ...experiments.verdicts.claims import claims
from ...experiments.verdicts.report import percent
from ...experiments.verdicts.verdicts import Comparison, compare
from . import experiment, recorded
from .experiment import GREY, WIDTH
from .figures import Picture, look
from .recorded import Recorded

__all__ = ["Line", "between", "first", "in_words", "lines", "picture", "short"]

#: What the tasks are called in a sentence, and the chapters that show them.
TASKS = {
    "word2vec": ("word vectors", "21_word2vec"),
    "images": ("handwritten digits", "22_mnist"),
    "language_model": ("language model", "23_ptb"),
    "autoencoder": ("autoencoder", "24_autoencoder"),
}
SIZES = ("small", "paper")


class Line(NamedTuple):
    """A task at one size: two methods compared, each at its own rate, and at one `rate`; None where not run, or alike.

    `printed`: the log gap in the report, None where it prints none.
    """

    it: Recorded
    own: Comparison | None
    common: Comparison | None
    rate: float | None
    printed: float | None

    @property
    def title(self) -> str:
        return f"{TASKS[self.it.task][0]}, {self.it.profile}"


def between(it: Recorded, first: str = "Nadam", second: str = "Adam") -> Line:
    """Two methods on a task at one size."""
    metric = reported_metric(it.task)
    own = common = rate = None
    arms = it.evidence[it.task] if it.evidence else {}
    if first in arms and second in arms:
        a, b = arms[first], arms[second]
        own = compare(a, b, metric)
        if a.common and b.common and (a.common.lr, b.common.lr) != (a.lr, b.lr):
            common, rate = compare(a.common, b.common, metric), a.common.lr
    sides = (side for claim in claims() if claim.primary and claim.task == it.task for side in claim.sides)
    printed = next((side.gap for side in sides if (side.first, side.second) == (first, second)), None)
    return Line(it, own, common, rate, printed)


def lines(first: str = "Nadam", second: str = "Adam") -> list[Line]:
    """`between` for every task at both sizes, as far as each is run."""
    return [between(recorded.of(task, size), first, second) for size in SIZES for task in TASKS]


# ---------------------------------------------------------------- sentences


def short(found: Sequence[Line]) -> Markdown:
    """The answer in a few sentences: where Nadam was lower than Adam, by how much, why, and what is still to be run."""
    ran = [line for line in found if line.own is not None and line.own.interval is not None]
    if not ran:
        return Markdown("Nothing is recorded yet.")  # type: ignore[no-untyped-call]
    opening = f"{first(found)} Each method has its own best rate:\n"
    paragraphs = [opening, *(f"- {_line(line)}" for line in ran), "", *_why(ran), _lacking(found)]
    return Markdown("\n".join(paragraphs))  # type: ignore[no-untyped-call]


def first(found: Sequence[Line]) -> str:
    """The answer in one sentence: how many of the tasks show a difference, in which direction."""
    signs = [_sign(line.own) for line in found if line.own is not None and line.own.interval is not None]
    if not signs:
        return "Nothing is recorded yet."
    n, better, worse = len(signs), signs.count(-1), signs.count(1)
    open_ = n - better - worse
    text = f"On **{better} of {n}** recorded experiments Nadam ends lower than Adam by more than the luck of the seeds"
    text += f", on {worse} higher" if worse else ""
    return f"{text}{f', and on {open_} the runs cannot tell' if open_ else ''}."


def in_words(line: Line) -> str:
    """A task's difference, for people who do not see the figure."""
    return f"{line.title}: {'not run' if line.own is None else _size(line.own)}."


def _sign(x: Comparison | None) -> int:
    """−1 or 1 where the 95 % interval is on that side of 0, else 0."""
    if x is None or x.interval is None:
        return 0
    low, high = x.interval
    return -1 if high < 0 else int(low > 0)


def _line(line: Line) -> str:
    title, chapter = TASKS[line.it.task]
    text = f"[{title.capitalize()}](../notebooks/{chapter}.ipynb) at the size `{line.it.profile}`: {_size(line.own)}"
    if line.common is not None and line.rate is not None:
        turns = _sign(line.own) * _sign(line.common) < 0
        text += f"; at one rate for both, η = {line.rate:g}, {'it turns round: ' if turns else ''}{_size(line.common)}"
    return f"{text}."


def _size(x: Comparison | None) -> str:
    if x is None or x.mean is None or x.interval is None:
        return "some runs diverged"
    return "{} ({} to {})".format(percent(x.mean), *map(percent, x.interval))


def _why(ran: Sequence[Line]) -> list[str]:
    """The parts of the gain, where the arms that tell them apart were run."""
    parts = [(line, experiment.parts_of(line.it.evidence)) for line in ran if line.it.evidence]
    return [f"**Why?** *{TASKS[x.it.task][0].capitalize()}*, `{x.it.profile}`. {text}\n" for x, text in parts if text]


def _lacking(found: Sequence[Line]) -> str:
    names = [f"{TASKS[x.it.task][0]} (`{x.it.profile}`)" for x in found if x.own is None]
    return f"Not run, or not far enough to judge: {', '.join(names)}." if names else ""


# ---------------------------------------------------------------- the figure


def picture(found: Sequence[Line]) -> Picture:
    """Nadam against Adam on every task: the mean and its 95 % interval; hollow, the report's gap; grey, not run."""
    figure = Picture(figsize=(WIDTH, 1.0 + 0.5 * len(found)))
    ax = figure.subplots()
    above = ax.get_yaxis_transform()
    ink = look("Nadam")["color"]
    for y, line in enumerate(found):
        done, planned = line.it.seeds
        ran = line.own is not None and line.own.interval is not None
        said = f"{done} of {planned} seeds" if ran else "not run"
        ax.text(0, y - 0.28, line.title, transform=above, fontsize=9.5, color="k" if ran else GREY)
        ax.text(1, y - 0.28, said, transform=above, fontsize=9.5, ha="right", color="k" if ran else GREY)
        for at, x, size in ((y + 0.08, line.own, 5.0), (y + 0.26, line.common, 2.5)):
            if x is not None and x.mean is not None and x.interval is not None:
                name = "own rates" if x is line.own else "one rate for both"
                ax.plot(x.interval, [at, at], color=ink, linewidth=size, alpha=0.45, solid_capstyle="butt")
                ax.plot(x.mean, at, "o" if x is line.own else "|", color=ink, label=name)
                figure.data[f"{line.title}, {name}"] = np.array([x.mean, *x.interval])
        if line.printed is not None:
            ax.plot(line.printed, y + 0.08, "D", color=ink if ran else GREY, markerfacecolor="none", label="as printed")
            figure.data[f"{line.title}, printed"] = np.array([line.printed])
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_yticks([])
    ax.set_ylim(len(found) - 0.5, -0.7)
    ax.grid(axis="y", visible=False)
    recorded.percents(ax)
    ax.set_xlabel("← Nadam is lower        Adam is lower →", fontsize=10)
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=3, fontsize=9)
    figure.alt = " ".join(map(in_words, found))
    evidences = [line.it.evidence for line in found if line.it.evidence]
    figure.note = " · ".join(map(recorded.note, evidences))
    return figure

"""Is Nadam better than Adam? The answer over all tasks, as sentences and as one figure, from what is recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from IPython.display import Markdown

from ...experiments.statistics.summary import reported_metric
from ...experiments.verdicts.claims import claims
from ...experiments.verdicts.report import percent
from ...experiments.verdicts.verdicts import Comparison, Effect, Verdict, compare, judge, title
from ...tables import Column, Group, Table, to_markdown
from . import recorded, show
from .experiment.comparisons import effects
from .experiment.plots import GREY, WIDTH
from .experiment.wording import listed
from .figures import Picture, look
from .recorded import Recorded
from .show import markdown

__all__ = [
    "Line",
    "advice",
    "between",
    "factors",
    "first",
    "in_words",
    "judged",
    "lines",
    "named",
    "picture",
    "places",
    "ran",
    "short",
    "sign",
]

#: What the tasks are called in a sentence, and the chapters that show them.
TASKS = {
    "word2vec": ("word vectors", "21_word2vec"),
    "images": ("handwritten digits", "22_mnist"),
    "language_model": ("language model", "23_ptb"),
    "autoencoder": ("autoencoder", "24_autoencoder"),
}
SIZES = ("paper", "small")
NOTHING = "Nothing has been run yet."


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
        return f"{TASKS[self.it.task][0]} ({self.it.profile})"

    @property
    def words(self) -> str:
        """The title in a sentence: "word vectors at the small size"."""
        return f"{_named(self.it.task)} {recorded.size(self.it.task, self.it.profile)}"


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

#: What each factor of Nadam's difference from Adam is, and their product, by the name among the parts.
FACTORS = {
    "look-ahead": "looking ahead",
    "memory": "how long gradients are remembered",
    "length": "the length of the first steps",
    "whole gain": "together",
}


def ran(found: Sequence[Line]) -> list[Line]:
    """The lines that can be judged."""
    return [line for line in found if line.own is not None and line.own.interval is not None]


def short(found: Sequence[Line]) -> Markdown:
    """The answer in a few sentences: where Nadam was lower than Adam, by how much, why, and what is still to be run."""
    there = ran(found)
    if not there:
        return markdown(NOTHING)
    table = (
        "Change in the final loss, or perplexity, from Adam to Nadam, each at its own best learning rate, with 95 % "
        "intervals; negative means that Nadam is lower:\n"
    )
    paragraphs = [
        f"{advice(found)}\n",
        table,
        *(f"- {_line(line)}" for line in there),
        "",
        *_why(there),
        _lacking(found),
    ]
    return markdown(*paragraphs)


def judged() -> tuple[str, list[Verdict]]:
    """The larger size at which every primary claim was run, with their verdicts; "" and none where there is none."""
    tasks = dict.fromkeys(claim.task for claim in claims() if claim.primary)
    for profile in SIZES:
        found = [recorded.of(task, profile).evidence or {} for task in tasks]
        evidence = {task: arms for it in found for task, arms in it.items()}
        verdicts = [v for v in judge(evidence) if v.claim.primary]
        if title(verdicts):
            return profile, verdicts
    return "", []


def named() -> str:
    """The title that the rule gives this replication, and the counts of verdicts behind it, in one sentence."""
    profile, verdicts = judged()
    if not verdicts:
        return "The replication has no title yet: not all of the report's primary claims were run at one size."
    kinds = Counter(v.kind for v in verdicts)
    counts = ", ".join(f"{show.NUMBERS[n]} *{kind}*" for kind, n in kinds.most_common())
    size = recorded.size(verdicts[0].claim.task, profile)
    return (
        f"Of the {show.NUMBERS[len(verdicts)]} primary claims, {size}: {counts}. By the rule, which was "
        f"fixed before the runs, the title of this replication begins with **{title(verdicts)}**."
    )


def advice(found: Sequence[Line]) -> str:
    """What the runs so far say to somebody who uses Adam; a difference is clear where its interval leaves out 0."""
    there = ran(found)
    lower, higher = ([line for line in there if sign(line.own) == side] for side in (-1, 1))
    if not lower:
        worse = f", and higher in {_count(len(higher))} of them" if higher else ""
        return f"In the {_experiments(len(there))}, **Nadam is never clearly better than Adam**{worse}."
    most = min(lower, key=_mean)
    done, planned = most.it.seeds
    gain = f"{_percents(most.own)}**, on {most.words}" + ("" if done == planned else f" with {done} of {planned} seeds")
    text = (
        f"In the {_experiments(len(there))}, each method at its own best rate, "
        f"**Nadam's largest clear gain over Adam is {gain}"
    )
    text += f"; it is clearly worse in {_count(len(higher))}." if higher else "."
    turned = _at_one_rate(lower)
    return f"{text}{turned} So tune the rate of both before you compare them." if turned else text


def _at_one_rate(there: Sequence[Line]) -> str:
    """Where one rate for both reverses the sign, and where it does not; empty where it reverses none."""

    def those(reverse: bool) -> str:
        return places(
            (x, _size(x.common, False)) for x in there if x.common and sign(x.common) and _reverses(x) == reverse
        )

    if not (turned := those(True)):
        return ""
    kept = those(False)
    return f" At one learning rate for both, the sign reverses {turned}{f', and stays {kept}' if kept else ''}."


def first(found: Sequence[Line]) -> str:
    """The answer for a card, as counts: where Nadam ends lower, where higher, and what one rate for both reverses."""
    there = ran(found)
    if not there:
        return NOTHING
    sides = [sign(line.own) for line in there]
    words = {-1: "below Adam", 1: "above Adam", 0: "within seed-to-seed variation of Adam"}
    ends = [f"{word} in {_count(sides.count(side))}" for side, word in words.items() if side in sides]
    text = f"Of {_count(len(there))} experiments so far, Nadam ends {listed(ends)}."
    turned = sum(map(_reverses, there))
    return f"{text} At one learning rate for both, the sign reverses in {_count(turned)}." if turned else text


def places(found: Iterable[tuple[Line, str]]) -> str:
    """Where something was found, and what, each task once: "on word vectors (5.6 % at the report's size)"."""
    sizes: dict[str, list[str]] = {}
    for line, what in found:
        size = recorded.size(line.it.task, line.it.profile)
        sizes.setdefault(line.it.task, []).append(f"{what} {size}".strip())
    return listed([f"on {_named(task)} ({', '.join(of_task)})" for task, of_task in sizes.items()])


def _named(task: str) -> str:
    name, _ = TASKS[task]
    return name if name.endswith("s") else f"the {name}"


def in_words(line: Line) -> str:
    """A task's difference, for people who do not see the figure."""
    return f"{line.title}: {'not run' if line.own is None else _size(line.own)}."


def _experiments(n: int) -> str:
    if n == 1:
        return "one experiment so far (a task at one size)"
    return f"{_count(n)} experiments so far (a task at one size each)"


def _count(n: int) -> str:
    return show.NUMBERS[n]


def _mean(line: Line) -> float:
    assert line.own is not None and line.own.mean is not None
    return line.own.mean


def _percents(x: Comparison | None) -> str:
    """The size of a difference, without its sign."""
    assert x is not None and x.mean is not None
    return percent(x.mean)[1:]


def sign(x: Comparison | None) -> int:
    """−1 or 1 where the 95 % interval is on that side of 0, else 0."""
    if x is None or x.interval is None:
        return 0
    low, high = x.interval
    return -1 if high < 0 else int(low > 0)


def _reverses(line: Line) -> bool:
    """Whether the method that is better at its own rate is worse at one rate for both."""
    return sign(line.own) * sign(line.common) < 0


def _line(line: Line) -> str:
    title, chapter = TASKS[line.it.task]
    done, planned = line.it.seeds
    so_far = "" if done == planned else f", {done} of {planned} seeds so far"
    where = f"[{title.capitalize()}](../notebooks/{chapter}.ipynb), {recorded.size(line.it.task, line.it.profile)}"
    text = f"{where}{so_far}: {_size(line.own)}"
    if line.common is not None and line.rate is not None:
        turns = "the sign reverses: " if _reverses(line) else ""
        text += f"; at one rate for both, η = {line.rate:g}, {turns}{_size(line.common)}"
    if line.own is not None and line.own.interval is not None and not sign(line.own):
        text += ", within seed-to-seed variation"
    return f"{text}."


def _size(x: Comparison | None, interval: bool = True) -> str:
    if x is None or x.mean is None or x.interval is None:
        return "some runs diverged"
    return f"{percent(x.mean)} ({' to '.join(map(percent, x.interval))})" if interval else percent(x.mean)


def _why(there: Sequence[Line]) -> list[str]:
    """The factors of the difference at one rate, a column for each line whose arms tell them apart."""
    columns = [(line, found) for line in there if (found := factors(line))]
    if not columns:
        return []
    heads = [f"{line.title}, $\\eta$ = {found['together'].common_lr:g}" for line, found in columns]
    rows = [[what, *(_size(found[what].common) for _, found in columns)] for what in columns[0][1]]
    table = to_markdown(Table([Column("factor", "l"), *(Column(head, "l") for head in heads)], [Group(rows)]))
    return ["**Why?** With one learning rate for both, the difference is a product of three factors:\n", table]


def factors(line: Line) -> dict[str, Effect]:
    """Nadam's difference from Adam at one rate as three effects that multiply to the last; empty where not run."""
    found = effects(line.it.evidence or {})
    return {what: found[part] for part, what in FACTORS.items()} if found.keys() >= FACTORS.keys() else {}


def _lacking(found: Sequence[Line]) -> str:
    names: dict[str, list[str]] = {}
    for line in (line for line in found if line.own is None):
        names.setdefault(recorded.size(line.it.task, line.it.profile), []).append(TASKS[line.it.task][0])
    there = [f"{size}, {' and '.join(filter(None, [', '.join(x[:-1]), x[-1]]))}" for size, x in names.items()]
    return f"Not run, or not far enough to judge: {'; '.join(there)}." if there else ""


# ---------------------------------------------------------------- the figure


def picture(found: Sequence[Line]) -> Picture:
    """Nadam against Adam where it was run: the mean and its 95 % interval; thin, at one rate; hollow, the report's."""
    there = ran(found)
    figure = Picture(figsize=(WIDTH, 1.2 + 0.55 * max(1, len(there))))
    ax = figure.subplots()
    ink = look("Nadam")["color"]
    for y, line in enumerate(there):
        for at, x, size in ((y, line.own, 5.0), (y + 0.2, line.common, 2.5)):
            if x is not None and x.mean is not None and x.interval is not None:
                name = "own rates" if x is line.own else "one rate for both"
                ax.plot(x.interval, [at, at], color=ink, linewidth=size, alpha=0.45, solid_capstyle="butt")
                ax.plot(x.mean, at, "o" if x is line.own else "|", color=ink, label=name)
                figure.data[f"{line.title}, {name}"] = np.array([x.mean, *x.interval])
        if line.printed is not None:
            ax.plot(line.printed, y, "D", color=ink, markerfacecolor="none", label="the report, as recalled")
            figure.data[f"{line.title}, printed"] = np.array([line.printed])
    ax.axvline(0, color=GREY, linewidth=0.8)
    labels = [f"{line.title}\n{line.it.seeds[0]} of {line.it.seeds[1]} seeds" for line in there]
    ax.set_yticks(range(len(there)), labels, fontsize=9.5)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_ylim(max(1, len(there)) - 0.5, -0.5)
    ax.grid(axis="y", visible=False)
    recorded.percents(ax, room=0.2)  # the names beside it leave a narrow axis
    ax.set_xlabel("← Nadam is lower        Adam is lower →", fontsize=10)
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    if handles:
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=3, fontsize=9)
    figure.alt = " ".join(map(in_words, found))
    evidences = [line.it.evidence for line in found if line.it.evidence]
    figure.note = " · ".join(map(recorded.note, evidences))
    return figure

"""The landing page: what is recorded, the answer in small, the map of the rules, the picture of a shared link."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from nadam_ref import __version__, rules

from ...experiments.verdicts.report import percent
from ...experiments.verdicts.verdicts import Comparison
from .. import find_root
from ..cells import answer, dialects, recorded
from ..cells.answer import Line, ran
from ..cells.experiment.comparisons import effects
from ..cells.experiment.plots import GREY
from ..cells.figures import Picture, look, plain
from . import citation
from .numbers import number

#: The chapter that derives each rule.
CHAPTERS = {
    "GD": "01_gradient_descent",
    "Momentum": "02_momentum",
    "NAG": "03_nesterov",
    "AdaGrad": "04_adagrad",
    "RMSProp": "05_rmsprop_maxprop",
    "MaxProp": "05_rmsprop_maxprop",
    "Adam": "06_adam",
    "AdaMax": "07_adamax",
    "Nadam": "08_nadam",
    "NadaMax": "09_nadamax",
}
#: The map's rows, by whether there is a momentum and whether it looks ahead, and its columns, by norm.
MOMENTA = {
    "no momentum": (False, False),
    "classical momentum": (True, False),
    "Nesterov's momentum": (True, True),
}
NORMS: dict[str, str] = {
    "none": "nothing",
    "sum": r"sum of $g^2$",
    "rms": r"mean of $g^2$",
    "max": r"maximum of $\lvert g \rvert$",
}
#: Inches: a card, three beside each other in the page's column.
CARD = 2.6
#: Pixels of the picture that goes with a link.
SHARED = (1200, 630)
#: The dialects that are printed or shipped under one name.
NADAMS = [name for name, dialect in rules.DIALECTS.items() if dialect.interpolation is None]


def status(found: Sequence[Line]) -> str:
    """Authors, version, date, and how much has been run, as HTML: a sentence and a strip."""
    about = citation.read(find_root())
    parts = [
        ", ".join(citation.authors(about)),
        f"version {__version__}, {about['date-released']:%-d %B %Y}",
        f"{len(ran(found))} of {len(found)} experiments done (each task at two sizes)",
    ]
    seeds = [(line.title, *line.it.seeds) for line in found]
    said = ", ".join(f"{title}: {done} of {planned} seeds" for title, done, planned in seeds)
    marks = "".join(f'<i style="--done: {done / planned:.0%}"></i>' for _, done, planned in seeds)
    strip = f'<span class="recorded" role="img" aria-label="{html.escape(said)}">{marks}</span>'
    return f'<p class="status">{html.escape(" · ".join(parts))} {strip}</p>\n'


def rule_map(by_name: Mapping[str, rules.Rule] = rules.RULES) -> str:
    """The rules by momentum and by what the step is divided by, each with a link to its chapter."""
    rows = [["divided by", *NORMS.values()]]
    for title, kind in MOMENTA.items():
        cells: dict[str, str] = {
            rule.norm: f"[{name}](../notebooks/{CHAPTERS[name]}.ipynb) [{number(CHAPTERS[name])}]{{.chapter}}"
            for name, rule in by_name.items()
            if (rule.momentum != "none", rule.nesterov) == kind
        }
        rows.append([title, *(cells.get(norm, "") for norm in NORMS)])
    lines = [f"{'*' if i == 0 else ' '} - {cell}" for row in rows for i, cell in enumerate(row)]
    options = [":header-rows: 1", ":stub-columns: 1", ":class: map", ":align: left"]
    return "\n".join(["```{list-table}", *options, "", *lines, "```", ""])


# ---------------------------------------------------------------- sentences


def schedule_first(rows: Sequence[Sequence[str]]) -> str:
    """That the schedule of μ moves the network's loss more than the look-ahead, if so.

    `rows` are of the chapter's table of schedule and look-ahead.
    """
    network, ahead = (_changes(rows, part) for part in ("schedule", "look-ahead"))
    if min(abs(x) for x, *_ in network) <= max(abs(x) for x, *_ in ahead):
        return ""
    text = "In a small network the schedule of $\\mu$ matters more than the look-ahead: "
    return f"{text}it changes the loss by {_range(network)}."


def _elsewhere(found: Sequence[Line]) -> str:
    """What the schedule does where it was run with seeds and at one rate, clear or not; empty where it was not run."""
    sizes = _scheduled(found)
    clear = [(line, _size(x)) for line, x in sizes if answer.sign(x)]
    unclear = [(line, "") for line, x in sizes if not answer.sign(x)]
    said = [f"it changes the loss {answer.places(clear)}"] * bool(clear)
    said += [f"it has no measurable effect {answer.places(unclear)}"] * bool(unclear)
    return "; ".join(said)


def two_by_two(found: Sequence[Line], rows: Sequence[Sequence[str]], note: str) -> str:
    """What the chapter's table of schedule and look-ahead says, with how many seeds, and whether other tasks agree."""
    said = []
    for part, name in (("look-ahead", "looking ahead"), ("schedule", "the schedule")):
        changes = _changes(rows, part)
        clear = all(low > 0 or high < 0 for _, low, high in changes)
        said.append(
            f"{name} changes the test loss by {_range(changes)}" if clear else f"{name} has no measurable effect"
        )
    seeds = re.search(r"(\d+) seeds", note)
    text = f"Here {said[0]}, and {said[1]} ({seeds[1] if seeds else '?'} seeds)."
    elsewhere = _elsewhere(found)
    return f"{text} The schedule elsewhere, at one rate for both: {elsewhere}." if elsewhere else text


def _scheduled(found: Sequence[Line]) -> list[tuple[Line, Comparison]]:
    """The look-ahead without a schedule beside that with it, on each task that has both at one rate."""
    return [
        (line, e.common)
        for line in ran(found)
        for e in effects(line.it.evidence or {}).values()
        if e.part.part == "no schedule" and e.common and e.common.interval
    ]


def _size(x: Comparison) -> str:
    """How much the schedule changes the loss, where `x` is what its absence does."""
    assert x.mean is not None
    return percent(-x.mean)


def _changes(rows: Sequence[Sequence[str]], part: str) -> list[tuple[float, float, float]]:
    """The two changes that the look-ahead or the schedule makes, in percent, with the ends of their intervals."""
    cells = rows[-1][1:3] if part == "schedule" else [row[-1] for row in rows[1:3]]
    numbers = [re.findall(r"[+−]?\d+\.\d+", cell) for cell in cells]
    return [tuple(float(x.replace("−", "-")) for x in found) for found in numbers]  # type: ignore[misc]


def _range(changes: Sequence[tuple[float, float, float]]) -> str:
    """One or two changes in whole percents."""
    sizes = list(dict.fromkeys(f"{x:+.0f}".replace("-", "−") for x, *_ in changes))
    return f"{' to '.join(sizes)} %"


# ---------------------------------------------------------------- pictures


def forest(found: Sequence[Line]) -> Picture:
    """The answer for a card: Nadam against Adam where it was run, each at its own rate."""
    figure = Picture(figsize=(CARD, 0.75 + 0.36 * (len(ran(found)) or 1)))
    _forest(figure, figure.subplots(), found, 8.5)
    return figure


def _forest(figure: Picture, ax: Axes, found: Sequence[Line], size: float) -> None:
    """Means and 95 % intervals of the lines that were run, from the top down, with letters of this size."""
    there, ink, above = ran(found), look("Nadam")["color"], ax.get_yaxis_transform()
    for y, line in enumerate(there):
        assert line.own and line.own.mean is not None and line.own.interval
        mean, (low, high) = line.own.mean, line.own.interval
        ax.text(0, y - 0.25, line.title, transform=above, fontsize=size, va="center")
        ax.plot([low, high], [y + 0.2] * 2, color=ink, linewidth=size / 2.4, alpha=0.45, solid_capstyle="butt")
        ax.plot(mean, y + 0.2, "o", color=ink, markersize=size / 2)
        figure.data[line.title] = np.array([mean, low, high])
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_ylim((len(there) or 1) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    recorded.percents(ax)
    ax.set_xticks(ax.get_xticks()[:: 1 + len(ax.get_xticks()) // 5])
    ax.tick_params(labelsize=size)
    ax.set_xlabel("← Nadam is lower", fontsize=size, loc="left")
    lacking = len(found) - len(there)
    figure.alt = " ".join([*map(answer.in_words, there), f"Not run yet: {lacking}." if lacking else ""])


def first_steps(steps: int = 1000, mu: float = 0.99) -> Picture:
    """How long the first steps of each Nadam are, on a gradient that never changes."""
    figure = Picture(figsize=(CARD, 2.1))
    ax = figure.subplots()
    t = np.arange(1, steps + 1)
    figure.data["step"] = t.astype(float)
    for name in NADAMS:
        lengths = dialects.step_lengths(name, mu, steps)
        ax.plot(t, lengths, color=look(name)["color"], label=rules.DIALECTS[name].label.partition(":")[0])
        figure.data[name] = lengths
    ax.set(xscale="log")
    plain(ax.xaxis)
    ax.set_xlabel("step", fontsize=8.5)
    ax.set_ylabel("step length / η", fontsize=8.5)
    ax.tick_params(labelsize=8.5)
    figure.legend(
        loc="outside lower center", ncols=2, fontsize=8, handlelength=1.1, columnspacing=0.8, labelspacing=0.2
    )
    figure.alt = " ".join(f"{name} begins with {figure.data[name][0]:.2f}." for name in NADAMS)
    return figure


def shared(title: str, text: str, found: Sequence[Line]) -> Picture:
    """The picture that goes with a link to the book: its title, what it is, and the answer."""
    width, height = (pixels / 100 for pixels in SHARED)
    figure = Picture(figsize=(width, height), layout="none")
    figure.text(0.06, 0.84, title, fontsize=42, weight="bold", color="#1f2328")
    figure.text(0.06, 0.8, textwrap.fill(text, 64), fontsize=19, va="top", color=GREY, linespacing=1.4)
    ax = figure.add_axes((0.06, 0.14, 0.88, 0.38))
    _forest(figure, ax, found, 19)
    ax.text(1, -0.26, "Adam is lower →", transform=ax.transAxes, fontsize=19, ha="right", va="center")
    return figure

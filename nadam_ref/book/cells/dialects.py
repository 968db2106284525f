"""What the chapters on the published Nadams show: step lengths, memory, a two by two of four methods, who took what."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import numpy as np
import torch
from IPython.display import Markdown

from ... import paper, which
from ...experiments.statistics.intervals import t_interval
from ...experiments.verdicts.report import percent
from ...rules import DIALECTS, RULES, scalars
from . import show
from .figures import Array, Picture, look, plain
from .show import markdown

__all__ = [
    *("BOXES", "dips", "effects", "first_weights", "four_curves", "helps", "history", "meanings"),
    *("memory", "step_lengths", "two_by_two", "weights"),
]

#: The box of each dialect.
BOXES: dict[str, Callable[..., Any]] = {
    name: paper.nadam if name == "cs229" else getattr(paper, f"nadam_{name}") for name in DIALECTS
}
GREY = "#57606a"
#: Inches: what is read on a phone without scrolling.
WIDTH = 5.0


def step_lengths(dialect: str, mu: float, steps: int) -> Array:
    """Steps 1 to `steps` on a constant gradient, in units of η, by the dialect's box: `[steps]`."""
    path = paper.path(BOXES[dialect], [0.0], lambda θ, t: np.ones(1), steps, η=1.0, μ=mu, ε=0.0)
    lengths: Array = -np.diff(path[:, 0])
    return lengths


def meanings(*names: str, mu: float) -> Markdown:
    """What each dialect computes and how long its first steps are at μ, as a list."""
    lines = (
        f"- `{name}`: {DIALECTS[name].summary}, with {which.STEPS[name]} ({_measured(step_lengths(name, mu, 1000))})."
        for name in names
    )
    return markdown(*lines, "", f"The lengths are those at $\\mu$ = {mu:g}.")


def _measured(lengths: Array) -> str:
    """The first step and, where it is shorter than that and than η, the shortest."""
    shortest = "" if lengths.min() > 0.99 else f", the shortest {lengths.min():.2f} η"
    return f"the first {lengths[0]:.2f} η{shortest}"


def dips(*momenta: float, steps: int = 2000, near: float = 0.01) -> Markdown:
    """For each μ how short the report's steps become on a constant gradient, and when they are within `near` of η."""
    said = []
    for mu in momenta:
        lengths = step_lengths("cs229", mu, steps)
        last = int(np.flatnonzero(lengths < 1 - near)[-1]) + 1
        said.append(f"to {lengths.min():.0%} of $\\eta$ at $\\mu$ = {mu:g}, where the dip is over after {last} steps")
    text = f"The report's steps fall {'; '.join(said)}. ICLR's are never shorter than $\\eta$."
    return markdown(text.replace("%", " %"))


def first_weights() -> Markdown:
    """Where μ_t begins with the defaults of PyTorch's NAdam, and at which step it has made half of its way."""
    defaults = torch.optim.NAdam([torch.zeros(1)]).defaults
    (mu, _), decay = defaults["betas"], defaults["momentum_decay"]
    half = next(t for t in count(1) if paper.schedule(mu, t, decay) >= 0.75 * mu)
    return markdown(
        "So with PyTorch's defaults the weight of the momentum, $\\mu_t$, begins at "
        f"{paper.schedule(mu, 1, decay):.2f} and not at {mu:g}. Only at step {half:,} has it risen half of the way."
    )


# ---------------------------------------------------------------- memory


def weights(rule: str, t: int, **settings: Any) -> Array:
    """The weight of each gradient in the numerator of step t, the newest first: `[t]`, with the sum 1.

    `rule` is the name of a class, `settings` are those of `rules.scalars`.
    """
    found, product = np.zeros(t), 1.0
    for i in range(1, t + 1):
        k, product = scalars(RULES[rule], i, product, lr=1.0, bias_correction=True, **settings)
        found *= k.mu
        found[t - i] = 1 - k.mu
    found *= k.a
    found[0] += k.c
    found /= found.sum()
    return found


def memory(by_label: Mapping[str, Array], looks: Mapping[str, str]) -> Picture:
    """`weights` by label against the age of the gradient; `looks`: the class or the dialect whose look each has."""
    figure = Picture(figsize=(WIDTH, 3.4))
    ax = figure.subplots()
    for label, y in by_label.items():
        ax.plot(y, **look(looks[label]), markevery=max(1, len(y) // 10), label=label)
        figure.data[label] = y
    ax.set(yscale="log", ylim=(1e-4, 1.5), xlabel="age of the gradient, in steps", ylabel="its share of the step")
    ax.legend(fontsize=9)
    figure.alt = " ".join(
        f"{label}: the newest gradient {y[0]:.3g}, those more than ten steps old together {y[11:].sum():.3g}."
        for label, y in by_label.items()
    )
    return figure


# ---------------------------------------------------------------- schedule × look-ahead

#: The four methods, by whether μ has a schedule and whether the step looks ahead.
FOUR = {
    (False, False): "Adam",
    (False, True): "Nadam, `constant`",
    (True, False): "Adam, scheduled μ",
    (True, True): "Nadam, `iclr`",
}
#: The schedule has a colour and a marker, the look-ahead a line.
SCHEDULE = ({"color": "#C94A00", "marker": "s"}, {"color": "#0072B2", "marker": "^"})
LOOK_AHEAD: tuple[Any, Any] = ((0, (4, 2)), "-")


def four_curves(
    steps: Array, panels: Mapping[str, Mapping[tuple[bool, bool], Array]], *, ylabel: str, note: str
) -> Picture:
    """The four of `FOUR` in each panel: losses `[len(steps), seeds]`, as means with a band from seed to seed."""
    figure = Picture(figsize=(WIDTH, 0.9 + 2.4 * len(panels)))
    figure.data["step"] = np.asarray(steps, float)
    axes = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    last = {}
    for ax, (title, losses) in zip(axes, panels.items(), strict=True):
        for (scheduled, ahead), y in losses.items():
            style = SCHEDULE[scheduled] | {"linestyle": LOOK_AHEAD[ahead]}
            label = FOUR[scheduled, ahead].replace("`", "")
            ax.plot(steps, y.mean(1), **style, markevery=(2 * ahead, 5), label=label)
            ax.fill_between(steps, y.min(1), y.max(1), color=style["color"], alpha=0.1, linewidth=0)
            ends = {"mean": y.mean(1), "lowest": y.min(1), "highest": y.max(1)}
            figure.data |= {f"{title}: {label}, {end}": values for end, values in ends.items()}
            last[f"{title}: {label}"] = y.mean(1)[-1]
        ax.set(title=title, yscale="log", ylabel=ylabel)
    plain(axes[0].yaxis)
    axes[-1].set_xlabel("step")
    axes[0].legend(fontsize=9)
    figure.note = note
    figure.alt = " ".join(f"{label} ends at {y:.3g}." for label, y in last.items())
    return figure


def effects(losses: Mapping[tuple[bool, bool], Array]) -> dict[str, Array]:
    """What schedule and look-ahead change in log loss `[seeds]`, each with the other off and on."""
    logs = {cell: np.log(x) for cell, x in losses.items()}
    return {
        "look-ahead, μ constant": logs[False, True] - logs[False, False],
        "look-ahead, μ scheduled": logs[True, True] - logs[True, False],
        "schedule, no look-ahead": logs[True, False] - logs[False, False],
        "schedule, look-ahead": logs[True, True] - logs[False, True],
    }


def two_by_two(losses: Mapping[tuple[bool, bool], Array], *, name: str, caption: str, note: str) -> Markdown:
    """Losses `[seeds]` as four means; beside and below them what each of the two changes, with 95 % intervals."""
    change = {label: _changed(x) for label, x in effects(losses).items()}
    rows = [
        [
            f"μ {word}",
            *(f"{FOUR[scheduled, ahead]}: {losses[scheduled, ahead].mean():.3f}" for ahead in (False, True)),
            change[f"look-ahead, μ {word}"],
        ]
        for scheduled, word in ((False, "constant"), (True, "scheduled"))
    ]
    rows.append(["effect of the schedule", change["schedule, no look-ahead"], change["schedule, look-ahead"], ""])
    heads = ["μ", "no look-ahead", "look-ahead", "effect of the look-ahead"]
    return show.table(heads, rows, name=name, caption=caption, note=note)


def helps(losses: Mapping[tuple[bool, bool], Array]) -> Markdown:
    """`two_by_two` in words: what the two change, and which of them by more than the luck of the seeds."""
    found = effects(losses)
    size = {label: percent(float(x.mean())) for label, x in found.items()}
    parts = ("schedule", "look-ahead")
    clear = [part for part in parts if all(_clear(x) for label, x in found.items() if label.startswith(part))]
    text = (
        f"In this run the schedule changes the test loss by {size['schedule, no look-ahead']} without the look-ahead "
        f"and by {size['schedule, look-ahead']} with it. The look-ahead changes it by {size['look-ahead, μ constant']} "
        f"at a constant $\\mu$ and by {size['look-ahead, μ scheduled']} with the schedule. "
        f"Beyond the luck of the seeds both times: {' and '.join(clear) or 'neither'}."
    )
    return markdown(text)


def _clear(logs: Array) -> bool:
    """Whether the 95 % interval of the mean leaves out 0."""
    interval = t_interval(logs)
    return interval is not None and not interval[0] <= 0 <= interval[1]


def _changed(logs: Array) -> str:
    interval = t_interval(logs)
    ends = "" if interval is None else " ({} to {})".format(*(percent(x, unit=False) for x in interval))
    return f"{percent(float(logs.mean()))}{ends}"


# ---------------------------------------------------------------- history

#: Where a rule is printed or shipped: its place in the picture, its dialect and its label.
PLACES: dict[str, tuple[float, float, str, str]] = {
    "report": (0.0, 0.0, "cs229", "report, 2015"),
    "keras1": (0.0, 1.2, "cs229", "Keras 1, 2016"),
    "torch": (-0.3, 3.7, "cs229", "PyTorch, 2021"),
    "keras3": (0.3, 2.6, "keras3", "Keras 2.11, 2022"),
    "iclr": (1.5, 0.5, "iclr", "ICLR, 2016"),
    "ruder": (2.6, 0.8, "choi", "Ruder, 2016"),
    "flux": (1.65, 2.2, "constant", "Flux, 2018"),
    "optax": (1.3, 3.3, "constant", "Optax, 2024"),
    "choi": (2.6, 2.2, "choi", "Choi, 2019"),
    "algoperf": (2.6, 3.1, "choi", "AlgoPerf"),
    "timm": (2.6, 4.0, "choi", "timm NAdamW"),
}
#: Who took the rule from where, as sources and pull requests say, and how.
TAKEN = (
    ("report", "iclr", "another recursion"),
    ("report", "keras1", "as printed"),
    ("keras1", "torch", "as in Keras"),
    ("keras1", "keras3", "1/250 lost"),
    ("ruder", "flux", "at first"),
    ("iclr", "flux", "on review, with the extra ν"),
    ("iclr", "optax", "one μ, no extra ν"),
    ("choi", "algoperf", "from its table"),
    ("algoperf", "timm", "as there"),
)


class Graph(Picture):
    """A picture whose rows are its arrows."""

    def rows(self) -> list[list[str]]:
        return [["from", "to", "how"], *([PLACES[a][3], PLACES[b][3], how] for a, b, how in TAKEN)]


def history() -> Graph:
    """Who took which Nadam from where, from the top down; ink and marker are the dialect's."""
    figure = Graph(figsize=(WIDTH, 4.9))
    ax = figure.subplots()
    arrow = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 8, "shrinkB": 8, "linewidth": 1.2}
    for n, (a, b, _) in enumerate(TAKEN, 1):
        (x, y, *_), (x_end, y_end, *_) = PLACES[a], PLACES[b]
        ax.annotate("", (x_end, y_end), (x, y), arrowprops=arrow)
        ax.annotate(
            f"{n}",
            ((x + x_end) / 2, (y + y_end) / 2),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=9,
            color=GREY,
        )
    for x, y, dialect, label in PLACES.values():
        ax.plot(x, y, **look(dialect), markersize=10, linestyle="none")
        ax.annotate(label, (x, y), xytext=(9, 0), textcoords="offset points", fontsize=9.5, va="center")
    for dialect in dict.fromkeys(place[2] for place in PLACES.values()):
        ax.plot([], [], **look(dialect), linestyle="none", label=dialect)
    figure.legend(loc="outside upper center", ncols=5, fontsize=9, handletextpad=0.1, columnspacing=0.9)
    ax.set(xlim=(-0.45, 3.45), ylim=(4.3, -0.3))
    ax.axis("off")
    figure.alt = " ".join(f"{n}, {PLACES[a][3]} to {PLACES[b][3]}: {how}." for n, (a, b, how) in enumerate(TAKEN, 1))
    return figure

"""The book's figures: one look for each optimizer, from its rule, and the few kinds of picture the chapters use."""

from __future__ import annotations

import base64
import io
import itertools
import math
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis, YAxis
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from ... import paper
from ...files import write_whole
from ...rules import DIALECTS, RULES
from ..cargo import CARGO
from . import quadratic

Array = NDArray[np.float64]
Point = tuple[float, float]

#: Hue and marker say the norm; shade, line and the marker's filling say the momentum (none, plain, nesterov): no look
#: rests on colour alone, and in the dark, where shades come close to each other, lines and fillings remain.
COLOURS = {
    "none": ("#3E8EC9", "#1F6FB0", "#0B3C6F"),
    "sum": ("#A0568A", "#A0568A", "#A0568A"),
    "rms": ("#D97736", "#C94A00", "#8A2F00"),
    "max": ("#2C9A70", "#00795A", "#004D38"),
}
LINES = ((0, (1, 1.2)), (0, (5, 2)), "-")
FILLINGS = ("none", "bottom", "full")
MARKERS = {"none": "o", "sum": "D", "rms": "s", "max": "^"}

#: Ink and marker of the dialects of Nadam, and of lines that are no optimizers.
PENS = (("#8A2F00", "^"), ("#0072B2", "s"), ("#00795A", "o"), ("#A0568A", "D"), ("#57606a", "v"), ("#8a6d00", "P"))

#: Methods of today: the rule or the dialect that they are drawn as. Muon, of neither kind, has a pen of its own.
TODAY = {
    "AdamW": "Adam",
    **{f"NAdamW-{dialect}": dialect for dialect in ("constant", "iclr", "cs229")},
    **dict.fromkeys(("Muon", "Muon-plain")),
}

#: Methods that use more than one number for each coordinate: ink and marker, with a thicker line.
SECOND_ORDER = {"Newton": PENS[4], "L-BFGS": PENS[5], "full-matrix AdaGrad": PENS[3]}

#: Curvatures of the ravine, the quadratic on which the chapters compare paths.
RAVINE = np.array([1.0, 20.0])

#: Where methods with a norm start in the ravine. On its diagonal their two coordinates would mirror each other, and all
#: their paths would lie on one line.
OFF_DIAGONAL = (-1.2, 0.5)

STYLE = Path(__file__).with_name("book.mplstyle")

#: Inches. A figure of this width fills a phone, and its letters are still to be read.
PHONE_WIDTH = 5.0


class Picture(Figure):
    """A matplotlib figure that shows itself in a notebook as SVG, with the same bytes every time.

    `data`: the numbers that it draws, as columns by name, which may differ in length.
    `alt`: what these numbers show, in words; on the page it follows the cell's own ``image.alt``.
    `by_column`: on a phone the panels are read column by column, not row by row.
    `note`: where the numbers come from (profile, data, seeds, machine); empty where they follow from formulas alone.

    In an executed notebook it carries, beside the SVG, what a reader of the page may download.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.data: dict[str, Array] = {}
        self.alt = ""
        self.note = ""
        self.by_column = False
        self.named: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    def for_phones(self) -> Picture | None:
        """A copy whose panels lie below each other, as wide as a phone; None where this one is no wider.

        They come in the order in which they are read: row by row, or column by column where `by_column` says so.
        """
        if self.get_figwidth() <= PHONE_WIDTH:
            return None
        copy: Picture = pickle.loads(pickle.dumps(self))
        places = {ax: spec for ax in copy.axes if (spec := ax.get_subplotspec()) is not None}
        panels = sorted(places, key=lambda ax: places[ax].colspan.start) if self.by_column else list(places)
        tallest, heights = 0.6 if len(panels) > 1 else 0.75, []
        for spec in map(places.__getitem__, panels):
            box = spec.get_position(self)
            natural = box.height * self.get_figheight() / (box.width * self.get_figwidth())
            heights.append(PHONE_WIDTH * min(natural, tallest))
        grid = copy.add_gridspec(len(panels), 1, height_ratios=heights)
        for i, ax in enumerate(panels):
            ax.set_subplotspec(grid[i])
            leader = next(other for other in panels if places[other].rowspan == places[ax].rowspan)
            ax.set_ylabel(ax.get_ylabel() or leader.get_ylabel())
            if leader is not ax:
                ax.tick_params(labelleft=True)
        copy.set_size_inches(PHONE_WIDTH, 0.6 + sum(heights))
        if copy.named:
            copy.legends.clear()
            (handles, labels), options = copy.named
            columns = min(options.get("ncols", 3), 3 if max(map(len, labels)) <= 9 else 2)
            copy.legend(handles, labels, **{**options, "loc": "outside lower center", "ncols": columns})
        return copy

    def legend(self, *args: Any, **options: Any) -> Legend:
        """As matplotlib's, and kept to be made again `for_phones`."""
        self.named = (args, options)
        return super().legend(*args, **options)

    def _repr_svg_(self) -> str:
        buffer = io.StringIO()
        self.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        cargo = {
            "alt": self.alt,
            "note": self.note,
            "rows": self.rows(),
            "png": self._encoded(format="png", dpi=200, facecolor="white", metadata={"Software": None}),
            "pdf": self._encoded(format="pdf", metadata={"CreationDate": None}),
        }
        if phone := self.for_phones():
            cargo["phone"] = phone._repr_svg_()
        return {"image/svg+xml": self._repr_svg_(), CARGO: cargo}

    def _encoded(self, **options: Any) -> str:
        buffer = io.BytesIO()
        self.savefig(buffer, **options)
        return base64.b64encode(buffer.getvalue()).decode()

    def rows(self) -> list[list[str]]:
        """`data` as text: the header, then a row for each place, empty in the columns that ended above."""
        columns = ([repr(float(x)) for x in column] for column in self.data.values())
        return [list(self.data), *map(list, zip_longest(*columns, fillvalue=""))]


def _ranked(what: str, values: Mapping[str, float]) -> str:
    """A sentence: numbers by label, the lowest first."""
    finite = sorted(((x, _spoken(label)) for label, x in values.items() if np.isfinite(x)), key=lambda pair: pair[0])
    lost = [_spoken(label) for label, x in values.items() if not np.isfinite(x)]
    sentences = []
    if finite:
        sentences.append(f"{what}, from lowest to highest: {', '.join(f'{label} {x:.3g}' for x, label in finite)}.")
    if lost:
        sentences.append(f"No finite value: {', '.join(lost)}.")
    return " ".join(sentences)


def _course(label: str, x: Array, y: Array) -> str:
    """A sentence: where a line begins and ends, and its lowest and highest places in between."""
    ok = np.isfinite(y)
    if not ok.any():
        return f"{_spoken(label)}: no finite value."
    x, y = np.asarray(x)[ok], np.asarray(y)[ok]
    text = f"{_spoken(label)} goes from {y[0]:.3g} to {y[-1]:.3g}"
    for word, place in (("lowest", int(y.argmin())), ("highest", int(y.argmax()))):
        if y[place] not in (y[0], y[-1]):
            text += f", {word} {y[place]:.3g} at {x[place]:.3g}"
    return f"{text}."


def _spoken(label: str) -> str:
    """A label as it is read aloud: without dollars, and with letters for their TeX names."""
    for letter, name in (("η", "eta"), ("θ", "theta"), ("μ", "mu"), ("ν", "nu"), ("ε", "varepsilon"), ("ψ", "psi")):
        label = label.replace(f"\\{name}", letter)
    return label.replace("$", "")


def use_style() -> None:
    """Set matplotlib to the book's style: transparent ground, quiet axes, SVG without anything random in it."""
    mpl.style.use(STYLE)


def look(name: str) -> dict[str, Any]:
    """Colour, line and marker of an optimizer (from its rule alone), another method or a dialect, for `plot`."""
    if name in TODAY:
        of = TODAY[name]
        pen = {"color": "#8250df", "marker": "P", "linestyle": LINES[2 if name == "Muon" else 1]}
        return pen if of is None else look(of)
    if name in SECOND_ORDER:
        ink, marker = SECOND_ORDER[name]
        return {"color": ink, "marker": marker, "linewidth": 2.4}
    if name in DIALECTS:
        ink, marker = PENS[list(DIALECTS).index(name)]
        return {"color": ink, "marker": marker}
    rule = RULES[name]
    kind = 2 if rule.nesterov else int(rule.momentum != "none")
    return {
        "color": COLOURS[rule.norm][kind],
        "linestyle": LINES[kind],
        "marker": MARKERS[rule.norm],
        "fillstyle": FILLINGS[kind],
        "markerfacecoloralt": "none",
    }


#: Mantissas of ticks on a logarithmic axis, the closest first, and how many ticks an axis may have.
MANTISSAS: tuple[Sequence[float], ...] = (
    *(np.round(np.arange(1, 10, step), 2).tolist() for step in (0.1, 0.2, 0.5, 1)),
    *((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)),
)
MOST_TICKS = 7
#: The share of an axis that a number takes: beside the next one, and above it.
ROOM = {XAxis: 0.15, YAxis: 0.04}


def plain(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis, also where it spans less than a decade; call it when the limits are set."""
    low, high = sorted(axis.get_view_interval())
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)

    def fit(subs: Sequence[float]) -> bool:
        ticks = [y for k in decades for x in subs if low <= (y := x * 10.0**k) <= high]
        room = ROOM[type(axis)] * math.log(high / low)
        return len(ticks) <= MOST_TICKS and all(math.log(b / a) >= room for a, b in itertools.pairwise(ticks))

    subs = next(filter(fit, MANTISSAS), MANTISSAS[-1])
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(_plainly))
    axis.set_minor_formatter(NullFormatter())


def _plainly(x: float, _place: int) -> str:
    return f"{x:,.3g}" if x < 1000 else f"{x:,.0f}"


def _style(i: int, label: str) -> dict[str, Any]:
    """The look of the method or dialect that `label` is; else a pen for the i-th line."""
    ink, marker = PENS[i % len(PENS)]
    known = label in RULES or label in DIALECTS or label in SECOND_ORDER
    return look(label) if known else {"color": ink, "marker": marker}


def ravine(θ: Array) -> Array:
    """f(θ) = ½ (θ₁² + 20 θ₂²) over the last axis."""
    value: Array = 0.5 * (RAVINE * θ**2).sum(axis=-1)
    return value


def ravine_gradient(θ: Array, t: int = 0) -> Array:
    """The ravine's gradient, in the form that the boxes of `nadam_ref.paper` take."""
    return RAVINE * θ


def contours(ax: Axes, f: Callable[[Array], Array], xlim: Point, ylim: Point, minima: Sequence[Point]) -> None:
    x, y = np.linspace(*xlim, 80), np.linspace(*ylim, 60)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    values = f(grid)
    levels = np.geomspace(1e-3, 1, 8) * values.max()
    ax.contour(x, y, values, levels=levels, colors="#8c959f", linewidths=0.7, alpha=0.8)
    ax.plot(*np.transpose(minima), "+", color="#57606a", markersize=9)


def paths(
    by_label: Mapping[str, Array],
    *,
    f: Callable[[Array], Array] = ravine,
    xlim: Point = (-1.4, 4.6),
    ylim: Point = (-1.5, 1.5),
    minima: Sequence[Point] = ((0, 0),),
) -> Picture:
    """Paths `[T+1, 2]` over the contours of `f` with its `minima`, by label; beside them f against the step.

    A label that is a class name takes the look of that optimizer.
    """
    figure = Picture()
    plane, loss = figure.subplots(1, 2, width_ratios=(3, 2))
    contours(plane, f, xlim, ylim, minima)
    for i, (label, θ) in enumerate(by_label.items()):
        style = _style(i, label)
        plane.plot(θ[:, 0], θ[:, 1], **style, markersize=3, markevery=max(1, len(θ) // 40), label=label, alpha=0.9)
        loss.plot(f(θ), **style, markevery=max(1, len(θ) // 8), label=label)
        figure.data |= {f"{label} θ₁": θ[:, 0], f"{label} θ₂": θ[:, 1], f"{label} f": f(θ)}
    plane.set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", xlim=xlim, ylim=ylim)
    plane.grid(False)
    loss.set(xlabel="step", ylabel=r"$f(\theta)$", yscale="log")
    figure.legend(*loss.get_legend_handles_labels(), loc="outside upper center", ncols=min(len(by_label), 5))
    steps = max(len(θ) for θ in by_label.values()) - 1
    last = {label: f(θ)[-1] for label, θ in by_label.items()}
    figure.alt = _ranked(f"f(θ) at the end of the paths, after {steps} steps", last)
    return figure


def paths_apart(by_label: Mapping[str, Array], *, xlim: Point, ylim: Point) -> Picture:
    """Three paths `[T+1, 2]` in the ravine, each over contours of its own; in the last panel f against the step."""
    figure = Picture(figsize=(7.0, 5.6))
    *planes, loss = figure.subplots(2, 2).flat
    for i, (plane, (label, θ)) in enumerate(zip(planes, by_label.items(), strict=True)):
        style = _style(i, label) | {"label": label}
        contours(plane, ravine, xlim, ylim, [(0, 0)])
        plane.plot(θ[:, 0], θ[:, 1], **style, markersize=3)
        plane.set(title=label, xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", xlim=xlim, ylim=ylim)
        plane.grid(False)
        loss.plot(ravine(θ), **style, markevery=max(1, len(θ) // 8))
        figure.data |= {f"{label} θ₁": θ[:, 0], f"{label} θ₂": θ[:, 1], f"{label} f": ravine(θ)}
    loss.set(xlabel="step", ylabel=r"$f(\theta)$", yscale="log")
    low, high = loss.get_ylim()
    loss.set_ylim(low, high * (high / low) ** 0.35)  # room for the legend
    loss.legend(fontsize="small", loc="upper right")
    last = {label: ravine(θ)[-1] for label, θ in by_label.items()}
    figure.alt = _ranked(f"f(θ) after {len(θ) - 1} steps", last)
    return figure


#: An arrow of the step diagrams, by its part of the step.
ARROWS: dict[str, dict[str, Any]] = {
    "momentum": {"color": "#57606a", "linestyle": (0, (4, 2)), "linewidth": 1.6},
    "gradient": {"color": "#C94A00", "linewidth": 1.8},
    "step": {"color": "#1F6FB0", "linewidth": 6, "alpha": 0.35},
}


def _arrow(ax: Axes, part: str, start: Array, by: Array, label: str) -> None:
    style = ARROWS[part] | {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 12, "arrowstyle": "-|>"}
    ax.annotate("", (start[0] + by[0], start[1] + by[1]), (start[0], start[1]), arrowprops=style)
    ax.plot([], [], label=label, **ARROWS[part])


def look_ahead(θ: Array, m: Array, *, η: float, μ: float, xlim: Point, ylim: Point) -> Picture:
    """One step of momentum and one of NAG in the ravine from the same θ and m, each as its two parts."""
    figure = Picture(figsize=(7.0, 3.9))
    carried = -η * μ * m
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (title, at) in zip(axes, {"Momentum": θ, "NAG": θ + carried}.items(), strict=True):
        corrected = -η * ravine_gradient(at)
        contours(ax, ravine, xlim, ylim, [(0, 0)])
        _arrow(ax, "step", θ, carried + corrected, "the whole step")
        _arrow(ax, "momentum", θ, carried, r"momentum, $-\eta\mu m$")
        _arrow(ax, "gradient", θ + carried, corrected, r"gradient, $-\eta g$")
        ax.plot(*θ, "o", color="#1f2328", markersize=6)
        ax.plot(*at, "o", color="#C94A00", fillstyle="none", markersize=13, markeredgewidth=1.8)
        ax.annotate(r"$\theta$", (θ[0], θ[1]), xytext=(-14, 8), textcoords="offset points")
        ax.set(title=title, xlabel=r"$\theta_1$", xlim=xlim, ylim=ylim)
        ax.grid(False)
        figure.data |= {
            f"{title} {axis}": np.array([θ[i], at[i], (θ + carried + corrected)[i]])
            for i, axis in enumerate(("θ₁", "θ₂"))
        }
    axes[0].plot([], [], "o", color="#C94A00", fillstyle="none", markersize=9, label=r"$g$ is measured here")
    axes[0].set_ylabel(r"$\theta_2$")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    ends = {title: float(figure.data[f"{title} θ₂"][-1]) for title in ("Momentum", "NAG")}
    figure.alt = f"Both start at θ₂ = {θ[1]:.3g}. " + _ranked("θ₂ after the step", ends)
    return figure


def two_points(θ: Array, ahead: Array, *, xlim: Point, ylim: Point) -> Picture:
    """NAG's θ and its look-ahead points, both `[T+1, 2]`, over the ravine, with the steps between them.

    From a look-ahead point the gradient leads to the next θ, from there the momentum to the next look-ahead point.
    """
    figure = Picture(figsize=(7.0, 4.6))
    ax = figure.subplots()
    contours(ax, ravine, xlim, ylim, [(0, 0)])
    for part, start, end, label in (
        ("gradient", ahead[:-1], θ[1:], r"gradient step, $-\eta g$"),
        ("momentum", θ[1:], ahead[1:], r"momentum step, $-\eta\mu m$"),
    ):
        x, y = np.stack([start, end, np.full_like(end, np.nan)], axis=1).reshape(-1, 2).T
        ax.plot(x, y, **ARROWS[part], label=label)
    ax.plot(*θ.T, "o", color="#0B3C6F", markersize=7, label=r"$\theta$, look-ahead form")
    ax.plot(*ahead.T, "s", color="#8A2F00", fillstyle="none", markersize=7, label=r"$\bar\theta$, rewritten form")
    for t in (1, 2, 3):
        for point, by in ((θ[t], (7, 4)), (ahead[t], (-4, -16))):
            ax.annotate(str(t), (point[0], point[1]), xytext=by, textcoords="offset points")
    ax.set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", xlim=xlim, ylim=ylim)
    ax.grid(False)
    ax.legend(loc="upper right", fontsize="small")
    figure.data |= {"θ₁": θ[:, 0], "θ₂": θ[:, 1], "θ̄₁": ahead[:, 0], "θ̄₂": ahead[:, 1]}
    lowest = {"θ": float(θ[:, 1].min()), "θ̄": float(ahead[:, 1].min())}
    figure.alt = _ranked("Lowest θ₂", lowest)
    return figure


#: What the phase diagram shows of x = ηλ.
PHASES = (2e-3, 6.0)


def phases(names: Sequence[str], *, η: float, μ: float, κ: float, T: int = 40) -> Picture:
    """Where momentum or NAG creeps, swings, jumps and diverges, by x = ηλ and μ; below, θ at one setting.

    The bar of the setting reaches from the smallest curvature, 1, to the largest, κ; a thin one is at the best setting.
    """
    figure = Picture(figsize=(1.4 + 2.8 * len(names), 5.4))
    figure.by_column = True
    grid = np.meshgrid(np.geomspace(*PHASES, 500), np.linspace(0, 0.999, 300))
    ends = np.array([η, η * κ])
    axes = figure.subplots(2, len(names), height_ratios=(5, 2), sharey="row", squeeze=False)
    for (plane, trace), name in zip(axes.T, names, strict=True):
        found = quadratic.factor(name, *grid)
        swings = (quadratic.discriminant(name, *grid) < 0) & (found < 1)
        plane.contourf(*grid, swings, levels=[0.5, 1.5], colors=["#1F6FB0"], alpha=0.16)
        plane.contourf(*grid, found >= 1, levels=[0.5, 1.5], colors=["#57606a"], alpha=0.45)
        drawn = plane.contour(*grid, found, levels=[0.5, 0.7, 0.8, 0.9], colors="#57606a", linewidths=0.8)
        places = [((1 - level) * (1 - 0.15 / level), 0.15) for level in drawn.levels]  # where the larger root is real
        plane.clabel(drawn, fontsize=7.5, manual=places)
        tuned = quadratic.best(name, κ)
        plane.plot([tuned.η, tuned.η * κ], [tuned.μ] * 2, "o-", color="#1f2328", markerfacecolor="white", linewidth=1.2)
        plane.plot(ends, [μ, μ], "o-", color="#1f2328", linewidth=3, markersize=7)
        plane.text(3e-3, 0.06, "creeps", fontsize=8.5)
        plane.text(0.3, 0.93, "swings", fontsize=8.5)
        plane.text(1.35, 0.015, "jumps →", fontsize=8.5, ha="right")
        plane.text(4.9, 0.93, "diverges", fontsize=8.5, rotation=90, va="top", ha="center")
        plane.set(title=name, xscale="log", xlim=PHASES, ylim=(0, 1), xlabel=r"$\eta\lambda$")
        plane.grid(False)
        for label, x, dash in (("along", ends[0], "-"), ("across", ends[1], (0, (4, 2)))):
            θ = quadratic.course(name, x, μ, T)
            trace.plot(θ, linestyle=dash, color=look(name)["color"], label=label)
            figure.data[f"{name} {label}"] = θ
        trace.set(xlabel="step", ylim=(-1.1, 1.1))
    axes[0, 0].set_ylabel(r"$\mu$")
    axes[1, 0].set_ylabel(r"$\theta\,/\,\theta_0$")
    axes[1, 0].legend(fontsize="small", loc="upper right")
    slowest = {name: quadratic.slowest(name, η, μ, (1.0, κ)) for name in names}
    figure.alt = _ranked(f"Factor of the slower direction at η = {η:.3g} and μ = {μ:.3g}, κ = {κ:g}", slowest)
    return figure


def curves(
    x: Sequence[float] | Array,
    by_label: Mapping[str, tuple[Array, Array, Array]],
    *,
    ylabel: str,
    panels: Mapping[str, Sequence[str]] | None = None,
    looks: Mapping[str, str] | None = None,
    note: str = "",
) -> Picture:
    """Mean curves with a band from the smallest to the largest seed, `(mean, low, high)` by class name.

    `panels` groups the names under titles, side by side on one logarithmic scale; without it there is one panel.
    `looks` names, for a label that is no class name, the optimizer or the dialect whose look it takes.
    `note` says, below the panels and the figure, what is shown: profile, data, seeds, machine.
    """
    groups = panels or {"": list(by_label)}
    figure = Picture(figsize=(2.4 + 2.6 * len(groups), 3.6))
    figure.data["step"] = np.asarray(x)
    axes = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for ax, (title, names) in zip(axes, groups.items(), strict=True):
        for name in names:
            mean, low, high = by_label[name]
            figure.data |= {f"{name} mean": mean, f"{name} lowest": low, f"{name} highest": high}
            style = look((looks or {}).get(name, name))
            ax.plot(x, mean, **style, label=name)
            ax.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
        ax.set(title=title, xlabel="step", yscale="log")
        ax.legend()
    axes[0].set_ylabel(ylabel)
    figure.supxlabel(note, fontsize=8.5, color="#57606a")
    figure.note = note
    last = {name: mean[-1] for name, (mean, _, _) in by_label.items()}
    figure.alt = _ranked(f"Mean {_spoken(ylabel)} at step {x[-1]:g}", last)
    return figure


def lines(
    by_label: Mapping[str, tuple[Array, Array]],
    *,
    xlabel: str,
    ylabel: str,
    xscale: str = "linear",
    yscale: str = "linear",
    level: float | None = None,
    marks: int = 9,
    width: float = 7.0,
) -> Picture:
    """Lines (x, y) by label in one panel, each with a marker of its own; `level` draws a thin line to compare with.

    `marks`: how many markers a line has. A label that is the name of a class or a dialect takes its look. `width`: of
    the figure, in inches.
    """
    figure = Picture(figsize=(width, 3.6))
    ax = figure.subplots()
    for i, (label, (x, y)) in enumerate(by_label.items()):
        style = _style(i, label)
        places = np.geomspace(1, len(x), marks) if xscale == "log" else np.linspace(1, len(x), marks)
        ax.plot(x, y, **style, markevery=list(np.unique(places.astype(int)) - 1), label=label)
        figure.data |= {f"{label} {xlabel}": np.asarray(x), f"{label} {ylabel}": np.asarray(y)}
    figure.alt = " ".join(
        [f"{_spoken(ylabel)} against {_spoken(xlabel)}.", *(_course(k, *xy) for k, xy in by_label.items())]
    )
    if level is not None:
        ax.axhline(level, color="#57606a", linewidth=0.8)
    ax.set(xscale=xscale, yscale=yscale, xlabel=xlabel, ylabel=ylabel)
    columns = min(len(by_label), max(1, int(10.7 * width) // (7 + max(map(len, by_label)))))  # letters of a line
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=columns)
    return figure


def function_and_courses(f: Callable[[Array], Array], courses: Mapping[str, Array], *, cycle: Array) -> Picture:
    """A function of one parameter, with the points of a cycle on it; beside it θ against the step, by class name."""
    figure = Picture()
    graph, trace = figure.subplots(1, 2, width_ratios=(2, 3))
    widest = 1.15 * max(np.abs(θ).max() for θ in courses.values())
    grid = np.linspace(-widest, widest, 400)
    graph.plot(grid, f(grid), color="#57606a")
    graph.plot(cycle, f(cycle), "o", color="#1f2328", markersize=6)
    graph.set(xlabel=r"$\theta$", ylabel=r"$f(\theta)$")
    figure.data |= {"θ": grid, "f": f(grid), "cycle θ": cycle}
    for name, θ in courses.items():
        trace.plot(θ, **look(name), label=name)
        figure.data[f"{name} θ"] = θ
    trace.axhline(0, color="#57606a", linewidth=0.8)
    trace.set(xlabel="step", ylabel=r"$\theta$")
    figure.legend(*trace.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    steps = np.arange(max(map(len, courses.values())), dtype=np.float64)
    figure.alt = " ".join(_course(name, steps[: len(θ)], θ) for name, θ in courses.items())
    return figure


def multipliers(by_label: Mapping[str, Array], *, width: float = 7.0) -> Picture:
    """The step on a constant gradient in units of η, `[T]` by label, against the step number from 1.

    `width`: of the figure, in inches.
    """
    figure = lines(
        {label: (np.arange(1.0, len(y) + 1), y) for label, y in by_label.items()},
        xlabel="step t",
        ylabel="step / η on a constant gradient",
        xscale="log",
        level=1.0,
        width=width,
    )
    figure.axes[0].set_ylim(0, None)
    return figure


def landing() -> Picture:
    """The picture of the landing page and the README: five methods in the ravine, from one start."""
    start, T = OFF_DIAGONAL, 60
    by_label = {
        "GD": paper.path(paper.gradient_descent, start, ravine_gradient, T, η=0.09),
        "Momentum": paper.path(paper.momentum, start, ravine_gradient, T, η=0.03, μ=0.8),
        "NAG": paper.path(paper.nag, start, ravine_gradient, T, η=0.03, μ=0.8),
        "Adam": paper.path(paper.adam, start, ravine_gradient, T, η=0.1, μ=0.9, ν=0.99),
        "Nadam": paper.path(paper.nadam_constant, start, ravine_gradient, T, η=0.1, μ=0.9, ν=0.99),
    }
    return paths(by_label, xlim=(-1.35, 0.6), ylim=(-0.7, 0.7))


def main(target: Path) -> None:
    """Write the landing picture as SVG: `python -m nadam_ref.book.cells.figures book/_static/nadam_ravine.svg`."""
    use_style()
    picture = landing()
    picture.set_facecolor("#fbfbf8")  # a README has dark readers too, and no style sheet
    mpl.rcParams["savefig.facecolor"] = "auto"
    write_whole(target, picture._repr_svg_())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

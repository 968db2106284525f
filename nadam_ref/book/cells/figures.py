"""The book's figures: one look for each optimizer, from its rule, and the few kinds of picture the chapters use."""

from __future__ import annotations

import base64
import io
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from ... import paper
from ...files import write_whole
from ...rules import DIALECTS, RULES
from ..cargo import CARGO

Array = NDArray[np.float64]
Point = tuple[float, float]

#: Hue and marker say the norm; shade and line say the momentum (none, plain, nesterov): no look rests on colour alone.
COLOURS = {
    "none": ("#3E8EC9", "#1F6FB0", "#0B3C6F"),
    "sum": ("#A0568A", "#A0568A", "#A0568A"),
    "rms": ("#D97736", "#C94A00", "#8A2F00"),
    "max": ("#2C9A70", "#00795A", "#004D38"),
}
LINES = ((0, (1, 1.2)), (0, (5, 2)), "-")
MARKERS = {"none": "o", "sum": "D", "rms": "s", "max": "^"}

#: Ink and marker of the dialects of Nadam, and of lines that are no optimizers.
PENS = (("#8A2F00", "^"), ("#0072B2", "s"), ("#00795A", "o"), ("#A0568A", "D"), ("#57606a", "v"), ("#8a6d00", "P"))

#: Curvatures of the ravine, the quadratic on which the chapters compare paths.
RAVINE = np.array([1.0, 20.0])

STYLE = Path(__file__).with_name("book.mplstyle")


class Picture(Figure):
    """A matplotlib figure that shows itself in a notebook as SVG, with the same bytes every time.

    `data`: the numbers that it draws, as columns by name, which may differ in length.
    `alt`: what these numbers show, in words; on the page it follows the cell's own ``image.alt``.
    `note`: where the numbers come from (profile, data, seeds, machine); empty where they follow from formulas alone.

    In an executed notebook it carries, beside the SVG, what a reader of the page may download.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.data: dict[str, Array] = {}
        self.alt = ""
        self.note = ""

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
    """Colour, line and marker of an optimizer (from its rule alone) or of a dialect, as keywords for `plot`."""
    if name in DIALECTS:
        ink, marker = PENS[list(DIALECTS).index(name)]
        return {"color": ink, "marker": marker}
    rule = RULES[name]
    kind = 2 if rule.nesterov else int(rule.momentum != "none")
    return {"color": COLOURS[rule.norm][kind], "linestyle": LINES[kind], "marker": MARKERS[rule.norm]}


#: Mantissas of ticks on a logarithmic axis, the closest first, and how many ticks an axis may have.
MANTISSAS: tuple[Sequence[float], ...] = (
    *(np.round(np.arange(1, 10, step), 2).tolist() for step in (0.1, 0.2, 0.5, 1)),
    *((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)),
)
MOST_TICKS = 7


def plain(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis, also where it spans less than a decade; call it when the limits are set."""
    low, high = sorted(axis.get_view_interval())
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)

    def seen(subs: Sequence[float]) -> int:
        return sum(low <= x * 10.0**k <= high for k in decades for x in subs)

    subs = next((subs for subs in MANTISSAS if seen(subs) <= MOST_TICKS), MANTISSAS[-1])
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.3g}" if x < 1000 else f"{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def _style(i: int, label: str) -> dict[str, Any]:
    """The look of the optimizer or dialect that `label` is; else a pen for the i-th line."""
    ink, marker = PENS[i % len(PENS)]
    return look(label) if label in RULES or label in DIALECTS else {"color": ink, "marker": marker}


def ravine(θ: Array) -> Array:
    """f(θ) = ½ (θ₁² + 20 θ₂²) over the last axis."""
    value: Array = 0.5 * (RAVINE * θ**2).sum(axis=-1)
    return value


def ravine_gradient(θ: Array, t: int = 0) -> Array:
    """The ravine's gradient, in the form that the boxes of `nadam_ref.paper` take."""
    return RAVINE * θ


def _contours(ax: Axes, f: Callable[[Array], Array], xlim: Point, ylim: Point, minima: Sequence[Point]) -> None:
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
    _contours(plane, f, xlim, ylim, minima)
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
) -> Picture:
    """Lines (x, y) by label in one panel, each with a marker of its own; `level` draws a thin line to compare with.

    A label that is the name of a class or a dialect takes its look.
    """
    figure = Picture()
    ax = figure.subplots()
    for i, (label, (x, y)) in enumerate(by_label.items()):
        style = _style(i, label)
        places = np.geomspace(1, len(x), 9) if xscale == "log" else np.linspace(1, len(x), 9)
        ax.plot(x, y, **style, markevery=list(np.unique(places.astype(int)) - 1), label=label)
        figure.data |= {f"{label} {xlabel}": np.asarray(x), f"{label} {ylabel}": np.asarray(y)}
    figure.alt = " ".join(
        [f"{_spoken(ylabel)} against {_spoken(xlabel)}.", *(_course(k, *xy) for k, xy in by_label.items())]
    )
    if level is not None:
        ax.axhline(level, color="#57606a", linewidth=0.8)
    ax.set(xscale=xscale, yscale=yscale, xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return figure


def multipliers(by_label: Mapping[str, Array]) -> Picture:
    """The step on a constant gradient in units of η, `[T]` by label, against the step number from 1."""
    figure = lines(
        {label: (np.arange(1.0, len(y) + 1), y) for label, y in by_label.items()},
        xlabel="step t",
        ylabel="step / η on a constant gradient",
        xscale="log",
        level=1.0,
    )
    figure.axes[0].set_ylim(0, None)
    return figure


def landing() -> Picture:
    """The picture of the landing page and the README: five methods in the ravine, from one start."""
    start, T = np.array([-1.2, 1.2]), 60
    by_label = {
        "GD": paper.path(paper.gradient_descent, start, ravine_gradient, T, η=0.09),
        "Momentum": paper.path(paper.momentum, start, ravine_gradient, T, η=0.03, μ=0.8),
        "NAG": paper.path(paper.nag, start, ravine_gradient, T, η=0.03, μ=0.8),
        "Adam": paper.path(paper.adam, start, ravine_gradient, T, η=0.1, μ=0.9, ν=0.99),
        "Nadam": paper.path(paper.nadam_constant, start, ravine_gradient, T, η=0.1, μ=0.9, ν=0.99),
    }
    return paths(by_label, xlim=(-1.35, 0.6), ylim=(-1.35, 1.35))


def main(target: Path) -> None:
    """Write the landing picture as SVG: `python -m nadam_ref.book.cells.figures book/_static/nadam_ravine.svg`."""
    use_style()
    picture = landing()
    picture.set_facecolor("#fbfbf8")  # a README has dark readers too, and no style sheet
    mpl.rcParams["savefig.facecolor"] = "auto"
    write_whole(target, picture._repr_svg_())


if __name__ == "__main__":
    main(Path(sys.argv[1]))

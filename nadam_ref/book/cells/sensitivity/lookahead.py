"""Where the look-ahead matters: maps over the rate, the momentum and the batch, beside what the theory expects.

Differences are of log(test loss), seed by seed; below 0 the look-ahead ends lower.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from ....experiments.protocol.definition import load
from ....experiments.runs.record import Record
from ....experiments.verdicts.report import percent
from .. import show
from ..experiment.plots import GREY, WIDTH
from ..experiment.wording import listed
from ..figures import Array, Picture
from ..show import markdown
from .map_runs import at_best, difference, losses, momentum, usual

__all__ = ["batches", "maps", "noise", "where"]


#: What is compared in a map: the optimizers, by what they are called.
PAIRS = {"Nadam (ICLR) / Adam": ("Nadam", "Adam"), "NAG / Momentum": ("NAG", "Momentum")}
#: A change of more than this in the logarithm is drawn as this one.
MOST = 0.7
#: η λ from which a look-ahead is expected to matter: it then changes μ by so large a part.
TENTH = 0.1


class Field(NamedTuple):
    """A map: mean differences `[μ, x]` and whether each is clear of 0. ±inf: one of the two diverged; nan: both."""

    x: Sequence[float]
    μ: Sequence[float]
    mean: Array
    clear: Array


def _field(records: Sequence[Record], first: str, second: str, over: str) -> Field:
    """A map of a pair over μ and the rate, or over μ and the batch at the best rates."""
    of: dict[tuple[str, float, int], list[Record]] = {}
    for r in records:
        if usual(r.spec):
            of.setdefault((r.spec.optimizer, momentum(r.spec), r.spec.batch), []).append(r)
    batch = load().task("digits").batch
    if over == "rate":
        μ = sorted({m for name, m, b in of if name == first and b == batch})
        x = sorted({r.spec.lr for r in of[first, μ[0], batch]})
    else:
        sizes = sorted({b for _, _, b in of})
        μ = sorted({m for _, m, _ in of if all((first, m, b) in of for b in sizes)})
        x = [float(b) for b in sizes]
    mean, clear = np.full((len(μ), len(x)), np.nan), np.zeros((len(μ), len(x)), dtype=bool)
    for i, m in enumerate(μ):
        for j, at in enumerate(x):
            if over == "rate":
                one, two = (losses(of[name, m, batch])[at] for name in (first, second))
                pair = [[run[s][1] for s in sorted(run)] for run in (one, two)]
            else:
                pair = [at_best(losses(of[name, m, int(at)]))[0] for name in (first, second)]
            mean[i, j], clear[i, j] = difference(*pair)
    return Field(x, μ, mean, clear)


def _draw(ax: Axes, field: Field) -> Any:
    """Cells, a dot where the difference is clear, a cross where both diverged, and the line at zero."""
    shown = np.ma.masked_invalid(np.clip(field.mean, -MOST, MOST))
    norm = TwoSlopeNorm(0.0, -MOST, MOST)
    mesh = ax.pcolormesh(shown, cmap="RdBu_r", norm=norm, edgecolors="face", linewidth=0.2)
    for i, j in np.ndindex(field.mean.shape):
        if np.isnan(field.mean[i, j]):
            ax.plot(j + 0.5, i + 0.5, "x", color=GREY, markersize=5)
        elif field.clear[i, j]:
            ax.plot(j + 0.5, i + 0.5, ".", color="#1f2328", markersize=4)
    centres = np.arange(field.mean.shape[1]) + 0.5, np.arange(field.mean.shape[0]) + 0.5
    if (shown.min() < 0 < shown.max()) and min(field.mean.shape) > 1:
        ax.contour(*centres, shown, levels=[0.0], colors="#1f2328", linewidths=1.2)
    ax.set_xticks(centres[0], [f"{x:.2g}" if x < 10 else f"{x:.0f}" for x in field.x], rotation=60, fontsize=8.5)
    ax.set_yticks(centres[1], [f"{m:g}" for m in field.μ], fontsize=9)
    ax.grid(False)
    return mesh


def _bar(figure: Picture, mesh: Any, axes: Any) -> None:
    bar = figure.colorbar(mesh, ax=list(axes), fraction=0.04, pad=0.02)
    marks = [-0.5, -0.25, 0.0, 0.25, 0.5]
    bar.set_ticks(
        [math.log1p(x) for x in marks], labels=[percent(math.log1p(x), digits=0) if x else "0" for x in marks]
    )
    bar.ax.tick_params(labelsize=8.5)


def maps(records: Sequence[Record], curvature: Mapping[str, float] | None = None) -> Picture | None:
    """log(first / second) of both pairs over the rate and μ, and beside it what chapters on momentum expect.

    `curvature`: the largest curvature λ that each pair's steps meet, by the second of the pair. Solid: where momentum
    diverges on a quadratic of that curvature. Dashed: where a look-ahead changes μ by a tenth, ηλ = .1.
    """
    if not records:
        return None
    figure = Picture(figsize=(WIDTH, 7.2))
    axes = figure.subplots(2, 1)
    for ax, (title, (first, second)) in zip(axes, PAIRS.items(), strict=True):
        field = _field(records, first, second, "rate")
        mesh = _draw(ax, field)
        if curvature and second in curvature:
            _expected(ax, field, curvature[second], mean=second == "Adam")
        ax.set(title=title, xlabel="learning rate η", ylabel="μ")
        figure.data |= {f"{title}: μ = {m:g}": row for m, row in zip(field.μ, field.mean, strict=True)}
        figure.data[f"{title}: η"] = np.array(field.x)
    _bar(figure, mesh, axes)
    figure.alt = " ".join(_seen(title, records, *pair) for title, pair in PAIRS.items())
    figure.note = show.provenance_note(records, recorded=True)
    return figure


def _expected(ax: Axes, field: Field, λ: float, *, mean: bool) -> None:
    """Where momentum becomes unstable, and where η λ is a tenth; a mean has (1 − μ) η for its rate."""
    μ = np.array([m for m in field.μ if m < 1])
    own = 1 - μ if mean else np.ones_like(μ)
    for level, style in ((2 * (1 + μ), "-"), (np.full_like(μ, TENTH), "--")):
        place = np.interp(np.log(level / (λ * own)), np.log(field.x), np.arange(len(field.x)), math.nan, math.nan)
        ax.plot(place + 0.5, np.arange(len(μ)) + 0.5, color="#00795A", linestyle=style, linewidth=2)


def _clear(field: Field) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The cells where the first is clearly lower, and where it is clearly higher."""
    cells = [(i, j) for i, j in np.ndindex(field.mean.shape) if field.clear[i, j] and not np.isnan(field.mean[i, j])]
    return [c for c in cells if field.mean[c] < 0], [c for c in cells if field.mean[c] > 0]


def _seen(title: str, records: Sequence[Record], first: str, second: str) -> str:
    field = _field(records, first, second, "rate")
    lower, higher = map(len, _clear(field))
    return f"{title}: clearly lower in {lower} of {field.mean.size} cells, clearly higher in {higher}."


def where(records: Sequence[Record], curvature: Mapping[str, float]) -> Markdown | None:
    """How large the differences are where the look-ahead was expected to matter, and elsewhere."""
    if not records:
        return None
    lines = []
    for title, (first, second) in PAIRS.items():
        field, λ = _field(records, first, second, "rate"), curvature[second]
        lower, higher = _clear(field)
        own = [1 - m if second == "Adam" else 1.0 for m in field.μ]
        sizes: dict[bool, list[float]] = {True: [], False: []}
        for i, j in np.ndindex(field.mean.shape):
            if field.μ[i] and not np.isnan(field.mean[i, j]):
                sizes[field.x[j] * own[i] * λ >= TENTH].append(abs(float(field.mean[i, j])))
        typical = {large: percent(float(np.median(found)) if found else 0.0) for large, found in sizes.items()}
        lines.append(
            f"- **{title}**: the median size of the difference is {typical[True].lstrip('+')} where a look-ahead "
            f"changes $\\mu$ by a tenth or more ({len(sizes[True])} cells), and {typical[False].lstrip('+')} elsewhere "
            f"({len(sizes[False])}). Over all, the first is clearly lower in {len(lower)} cells and clearly higher in "
            f"{len(higher)}."
        )
    return markdown(*lines)


def batches(records: Sequence[Record]) -> Picture | None:
    """log(first / second) over the size of the batch and μ, each at its best rate."""
    if not records:
        return None
    figure = Picture(figsize=(WIDTH, 5.6))
    axes = figure.subplots(2, 1)
    for ax, (title, pair) in zip(axes, PAIRS.items(), strict=True):
        field = _field(records, *pair, "batch")
        mesh = _draw(ax, field)
        ax.set(title=title, xlabel="examples in a batch", ylabel="μ")
        figure.data |= {f"{title}: μ = {m:g}": row for m, row in zip(field.μ, field.mean, strict=True)}
        figure.data[f"{title}: batch"] = np.array(field.x)
    _bar(figure, mesh, axes)
    figure.alt = " ".join(
        f"{title}: from {percent(float(np.nanmin(f.mean)))} to {percent(float(np.nanmax(f.mean)))}."
        for title, pair in PAIRS.items()
        for f in [_field(records, *pair, "batch")]
    )
    figure.note = show.provenance_note(records, recorded=True)
    return figure


def noise(records: Sequence[Record]) -> Markdown | None:
    """How large the differences are with small batches and with large ones."""
    if not records:
        return None
    lines, more = [], []
    for title, pair in PAIRS.items():
        field = _field(records, *pair, "batch")
        sizes = [np.abs(column[np.isfinite(column)]) for column in field.mean.T]
        typical = [percent(float(np.median(x))).lstrip("+") for x in sizes]
        more += [title] * bool(np.median(sizes[-1]) > np.median(sizes[0]))
        lower, higher = _clear(field)
        lines.append(
            f"- **{title}**: the median difference over $\\mu$, whichever way, is {typical[0]} with {field.x[0]:.0f} "
            f"examples and {typical[-1]} with {field.x[-1]:.0f}; the first is clearly lower in {len(lower)} of "
            f"{field.mean.size} cells and clearly higher in {len(higher)}."
        )
    said = f"larger with the least noise than with the most for {listed(more)}" if more else "no larger with less noise"
    return markdown(*lines, "", f"The median difference is {said}.")

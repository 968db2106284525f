"""The row of bricks: classical and Nesterov's momentum take the same terms, and put the bracket one place further."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from .figures import ARROWS, Picture

__all__ = ["bricks"]

#: Widths of a momentum's brick and of a gradient's.
WIDTHS = (1.0, 1.3)


def bricks(classical: str, nesterov: str, steps: int = 3, weights: bool = True) -> Picture:
    """The terms of `steps` steps in a row: brackets above for the classical method, brackets below for Nesterov's.

    With `weights` the terms are those of decaying means, μ_t m and (1 − μ_t) g; without, those of sums, μ m and g.
    """
    figure = Picture(figsize=(0.886 * (steps * sum(WIDTHS) + WIDTHS[0]), 2.5))
    ax = figure.subplots()
    ends = row(ax, steps, weights)
    for t in range(1, steps + 1):
        first = 2 * (t - 1)
        bracket(ax, ends[first], ends[first + 2], 1.12, 0.16, f"{classical}, step {t}")
        bracket(ax, ends[first + 1], ends[first + 3], -0.12, -0.16, f"{nesterov}, step {t}")
    figure.data = {
        "first brick of a classical step": np.arange(0.0, 2 * steps, 2),
        "of Nesterov's": np.arange(1.0, 2 * steps, 2),
    }
    figure.alt = (
        f"Momentum and gradient take turns: {len(ends) - 1} bricks. A step of {classical} is a momentum and the "
        f"gradient after it; a step of {nesterov} is a gradient and the momentum after it."
    )
    return figure


def row(ax: Axes, steps: int, weights: bool) -> NDArray[np.float64]:
    """Draw the terms as bricks, with room for brackets on both sides; where each begins, and the last one ends."""
    names = list(_names(steps, weights))
    ends = np.concatenate([[0.0], np.cumsum([WIDTHS[i % 2] for i in range(len(names))])])
    for i, name in enumerate(names):
        part = "gradient" if i % 2 else "momentum"
        place = (ends[i] + 0.03, 0.0), WIDTHS[i % 2] - 0.06, 1.0
        ax.add_patch(Rectangle(*place, facecolor=ARROWS[part]["color"], alpha=0.16))
        ax.add_patch(Rectangle(*place, fill=False, edgecolor=ARROWS[part]["color"], linewidth=1.5))
        ax.text((ends[i] + ends[i + 1]) / 2, 0.5, name, ha="center", va="center", fontsize=11)
    ax.set(xlim=(-0.1, ends[-1] + 0.1), ylim=(-0.9, 1.9))
    ax.axis("off")
    return ends


def _names(steps: int, weights: bool) -> list[str]:
    names = []
    for t in range(1, steps + 1):
        momentum = rf"$\mu_{t} m_{t - 1}$" if weights else rf"$\mu m_{t - 1}$"
        names += [momentum, rf"$(1-\mu_{t})\, g_{t}$" if weights else rf"$g_{t}$"]
    return [*names, rf"$\mu_{steps + 1} m_{steps}$" if weights else rf"$\mu m_{steps}$"]


def bracket(ax: Axes, left: float, right: float, y: float, by: float, label: str) -> tuple[Artist, Artist]:
    """A bracket from left to right, open towards the bricks, with its label outside."""
    x = [left + 0.08, left + 0.08, right - 0.08, right - 0.08]
    (line,) = ax.plot(x, [y, y + by, y + by, y], color="#1f2328", linewidth=1.2)
    va = "bottom" if by > 0 else "top"
    return line, ax.text((left + right) / 2, y + by * 1.4, label, ha="center", va=va, fontsize=10)

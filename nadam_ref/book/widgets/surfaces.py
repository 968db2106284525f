"""The functions that the widget descends, of two parameters, with their gradients.

``static/optimizers/core.js`` says the same in JavaScript, operation by operation, so that both give the same bits:
powers are written as products, because the two languages round them differently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ..cells import figures
from ..cells.figures import Point

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Surface:
    """A function, and how it is shown: its window, contour `levels` from the lowest to the highest, and minima.

    `begin`: a start, a step and learning rates (as in `presets.State`) that suit it. `steps`: how many are taken.

    `f` and `gradient` take θ of shape [..., 2], `gradient` also a step number that it does not read.
    """

    f: Callable[[Array], Array]
    gradient: Callable[..., Array]
    title: str
    formula: str
    xlim: Point
    ylim: Point
    levels: Point
    minima: tuple[Point, ...]
    steps: int
    begin: Mapping[str, Any]

    @property
    def centre(self) -> Point:
        """The point that it is turned about: its minimum, or the middle of its minima."""
        x, y = np.mean(self.minima, axis=0)
        return float(x), float(y)

    def turned(self, degrees: float) -> Surface:
        """The surface turned about its centre, counterclockwise, in the same window."""
        if degrees == 0:
            return self
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        turn, centre = np.array([[c, -s], [s, c]]), np.array(self.centre)

        def back(θ: Array) -> Array:
            moved: Array = centre + (θ - centre) @ turn
            return moved

        return replace(
            self,
            f=lambda θ: self.f(back(θ)),
            gradient=lambda θ, t=0: self.gradient(back(θ)) @ turn.T,
            minima=tuple((float(x), float(y)) for x, y in centre + (np.array(self.minima) - centre) @ turn.T),
        )


def rosenbrock(θ: Array) -> Array:
    """f(θ) = (1 − θ₁)² + 100 (θ₂ − θ₁²)²."""
    x, y = θ[..., 0], θ[..., 1]
    u = y - x * x
    value: Array = (1 - x) * (1 - x) + 100 * (u * u)
    return value


def rosenbrock_gradient(θ: Array, t: int = 0) -> Array:
    """The gradient of `rosenbrock`."""
    x, y = θ[..., 0], θ[..., 1]
    u = y - x * x
    return np.stack([-2 * (1 - x) - 400 * x * u, 200 * u], axis=-1)


def beale(θ: Array) -> Array:
    """f(θ) = (1.5 − θ₁ + θ₁ θ₂)² + (2.25 − θ₁ + θ₁ θ₂²)² + (2.625 − θ₁ + θ₁ θ₂³)²."""
    x, y = θ[..., 0], θ[..., 1]
    p, q, r = 1.5 - x + x * y, 2.25 - x + x * y * y, 2.625 - x + x * y * y * y
    value: Array = p * p + q * q + r * r
    return value


def beale_gradient(θ: Array, t: int = 0) -> Array:
    """The gradient of `beale`."""
    x, y = θ[..., 0], θ[..., 1]
    p, q, r = 1.5 - x + x * y, 2.25 - x + x * y * y, 2.625 - x + x * y * y * y
    along_x = 2 * p * (y - 1) + 2 * q * (y * y - 1) + 2 * r * (y * y * y - 1)
    along_y = 2 * p * x + 4 * q * x * y + 6 * r * x * y * y
    return np.stack([along_x, along_y], axis=-1)


def saddle(θ: Array) -> Array:
    """f(θ) = ½ θ₁² + ¼ (θ₂² − 1)²: a saddle at the origin, between two minima."""
    x, y = θ[..., 0], θ[..., 1]
    v = y * y - 1
    value: Array = 0.5 * (x * x) + 0.25 * (v * v)
    return value


def saddle_gradient(θ: Array, t: int = 0) -> Array:
    """The gradient of `saddle`."""
    x, y = θ[..., 0], θ[..., 1]
    return np.stack([x, (y * y - 1) * y], axis=-1)


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


FUNCTIONS = {
    "ravine": (figures.ravine, figures.ravine_gradient),
    "rosenbrock": (rosenbrock, rosenbrock_gradient),
    "beale": (beale, beale_gradient),
    "saddle": (saddle, saddle_gradient),
}
#: In the order of `surfaces.yaml`, which says how they are shown.
SURFACES = {
    name: Surface(*FUNCTIONS[name], **_tuples(shown))
    for name, shown in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")).items()
}

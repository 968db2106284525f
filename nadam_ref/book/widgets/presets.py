"""What a widget begins with, as the page hands it to the browser, and the same paths in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import paper
from ...rules import DIALECTS, RULES, Rule
from ..cells import figures
from ..cells.figures import OFF_DIAGONAL, Point
from . import matrices
from .matrices import METHODS
from .noise import normals
from .surfaces import SURFACES, Surface

Array = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """All that a reader can set: what is on the screen follows from it.

    `lr` is η of GD, Momentum and NAG, `lrn` that of the rules with a norm. `psi` is the speed of the schedule of μ, or
    None: μ is constant; `dialect` is that of Nadam and NadaMax, and may fix its own. `of` is the optimizer that is
    taken apart, at step `t`. The surface is turned by `turn` degrees about its minimum. `noise` is the standard
    deviation of what each component of a gradient is off by, at each step the same for every method, from `seed`.
    With `best`, each method has a rate of its own, from `best_rates`, instead of `lr` or `lrn`.
    """

    surface: str
    show: tuple[str, ...]
    start: Point
    t: int
    lr: float
    lrn: float
    of: str
    mu: float = 0.9
    nu: float = 0.99
    dialect: str = "iclr"
    psi: float | None = None
    turn: int = 0
    noise: float = 0.0
    seed: int = 1
    best: bool = False


def on(surface: str, *show: str, **settings: Any) -> State:
    """A state on a surface as that begins; the optimizer named last is taken apart."""
    return State(surface, show, **{**SURFACES[surface].begin, "of": show[-1], **settings})


#: By name: a text alternative, and the state.
PRESETS: dict[str, tuple[str, State]] = {
    "landing": (
        "Five optimizers in a ravine: their paths over its contours, and the loss at each step",
        on("ravine", "GD", "Momentum", "NAG", "Adam", "Nadam", of="NAG", mu=0.8, start=OFF_DIAGONAL),
    ),
    "front": ("Adam and Nadam in a ravine", on("ravine", "Adam", "Nadam", start=OFF_DIAGONAL)),
    "descent": ("Gradient descent in a ravine", on("ravine", "GD")),
    "noise": ("Gradient descent in a ravine, with noise", on("ravine", "GD", lr=0.08, noise=0.5)),
    "momentum": ("Gradient descent and momentum in a ravine", on("ravine", "GD", "Momentum", mu=0.8)),
    "nesterov": ("Classical and Nesterov momentum in a ravine", on("ravine", "Momentum", "NAG", mu=0.8)),
    "adagrad": ("Gradient descent and AdaGrad in a ravine", on("ravine", "GD", "AdaGrad", start=OFF_DIAGONAL)),
    "norms": (
        "AdaGrad, RMSProp and MaxProp in a ravine",
        on("ravine", "AdaGrad", "RMSProp", "MaxProp", start=OFF_DIAGONAL),
    ),
    "adam": ("Momentum, RMSProp and Adam on Beale's function", on("beale", "Momentum", "RMSProp", "Adam")),
    "adamax": ("Adam and AdaMax on Rosenbrock's function", on("rosenbrock", "Adam", "AdaMax")),
    "nadam": ("Adam and Nadam on Rosenbrock's function", on("rosenbrock", "Adam", "Nadam", psi=0.004, t=7)),
    "nadamax": ("AdaMax and NadaMax in a ravine", on("ravine", "AdaMax", "NadaMax", start=OFF_DIAGONAL)),
    "turned": (
        "Gradient descent, AdaGrad, Nadam, full-matrix AdaGrad and Newton's method in a ravine that can be turned",
        on("ravine", "GD", "AdaGrad", "Nadam", *METHODS, start=OFF_DIAGONAL, mu=0.8, best=True),
    ),
    "all": ("All ten optimizers on a saddle", on("saddle", *RULES, of="Nadam")),
}


@dataclass(frozen=True)
class Parts:
    """What of the widget is on the page: no more than the reader has met.

    `sliders` are those of `static/optimizers/page.js`. `step` is how a step is taken apart: not at all (``none``), as
    ``arrows``, or as arrows and the six numbers of the one update (``numbers``), with dialects and schedules. `best`:
    a button gives each method its best rate.
    """

    rules: tuple[str, ...] = tuple(RULES)
    sliders: tuple[str, ...] = ("lr", "lrn", "mu", "nu", "turn", "noise")
    step: str = "numbers"
    best: bool = True


WHOLE = Parts()
SETTINGS = WHOLE.sliders[:4]
#: By preset, where it is less than the whole.
PARTS = {
    "front": Parts(("Adam", "Nadam"), ("lrn",), "none", best=False),
    "descent": Parts(("GD",), ("lr",), "none", best=False),
    "noise": Parts(("GD",), ("lr", "noise"), "none", best=False),
    "momentum": Parts(("GD", "Momentum"), ("lr", "mu", "noise"), "arrows"),
    "nesterov": Parts(("GD", "Momentum", "NAG"), ("lr", "mu"), "arrows"),
    "adagrad": Parts(("GD", "AdaGrad"), ("lr", "lrn", "turn"), "none"),
    "norms": Parts(("AdaGrad", "RMSProp", "MaxProp"), ("lrn", "nu"), "none"),
    "adam": Parts(tuple(RULES)[:7], step="arrows"),
    "adamax": Parts(tuple(RULES)[:8], SETTINGS, "arrows"),
    "nadamax": Parts(sliders=SETTINGS, step="arrows"),
    "turned": Parts(("GD", "NAG", "AdaGrad", "Adam", "Nadam", *METHODS), (*SETTINGS, "turn"), "none"),
}


def paths(state: State, steps: int | None = None) -> dict[str, Array]:
    """θ_0 … θ_T, [T+1, 2] float64, of each method that is shown, from its box. T is the surface's own."""
    surface = SURFACES[state.surface].turned(state.turn)
    T = surface.steps if steps is None else steps
    best = best_rates(state) if state.best else {}
    return {name: _path(name, state, surface, T, best.get(name)) for name in state.show}


def _path(
    name: str, state: State, surface: Surface, T: int, η: Any = None, seeds: Sequence[int] | None = None
) -> Array:
    """A path at the state's rate, or at `η`; for `seeds` and rates η of shape [R, 1] as many, [T+1, seeds, R, 2]."""
    start: Any = state.start if seeds is None else np.broadcast_to(state.start, (len(seeds), len(η), 2))

    def gradient(θ: Array, t: int) -> Array:
        g = surface.gradient(θ, t)
        if state.noise == 0:
            return g
        if seeds is None:
            return g + state.noise * np.array(normals(state.seed, t))
        return g + state.noise * np.array([normals(seed, t) for seed in seeds])[:, None]

    settings = _settings(name, state) | ({} if η is None else {"η": η})
    with np.errstate(over="ignore", invalid="ignore"):
        return paper.path(_box(name, state), start, gradient, T, **settings)


#: Rates are tried at fortieths of a decade: first at every fifth, from 10⁻⁴ to √10, then at those around the best.
FINE, COARSE = 40, 5
#: Over how many seeds the loss is averaged where there is noise.
SEEDS = 5
#: A loss below this counts as this: such differences are rounding.
ARRIVED = 1e-24


def best_rates(state: State) -> dict[str, float]:
    """Of each method shown that has one, the learning rate with which it ends lowest; the smaller of two equal ones.

    What counts is the highest loss within the last tenth of the surface's steps, so that a swing's passage through the
    minimum is no success; with noise, its mean over `SEEDS` seeds. ``static/optimizers/core.js`` does the same.
    """
    surface = SURFACES[state.surface].turned(state.turn)
    return {name: _best_rate(name, state, surface) for name in state.show if _has_rate(name)}


def _best_rate(name: str, state: State, surface: Surface) -> float:
    seeds = range(state.seed, state.seed + (SEEDS if state.noise else 1))

    def lowest(places: Sequence[int]) -> int:
        rates = np.array([rate_at(k) for k in places])[:, None]
        with np.errstate(over="ignore", invalid="ignore"):
            ends = surface.f(_path(name, state, surface, surface.steps, rates, seeds)[-(surface.steps // 10) :])
            score = ends.max(axis=0).mean(axis=0)
        return places[int(np.where(np.isnan(score), np.inf, np.maximum(score, ARRIVED)).argmin())]

    near = lowest(range(-4 * FINE, FINE // 2 + 1, COARSE))
    return rate_at(lowest(range(near - COARSE + 1, near + COARSE)))


def rate_at(place: int) -> float:
    """The rate 10^(place/40), to three digits."""
    return float(f"{10 ** (place / FINE):.2e}")


def _has_rate(name: str) -> bool:
    return name not in METHODS or METHODS[name].has_rate


def _box(name: str, state: State) -> Callable[..., Any]:
    if name in METHODS:
        return getattr(matrices, METHODS[name].matrix)  # type: ignore[no-any-return]
    if _in_dialect(name) and state.dialect != "cs229":
        return getattr(paper, f"nadam_{state.dialect}")  # type: ignore[no-any-return]
    return getattr(paper, "gradient_descent" if name == "GD" else name.lower())  # type: ignore[no-any-return]


def rule_of(name: str) -> Rule:
    return METHODS[name] if name in METHODS else RULES[name]


def _in_dialect(name: str) -> bool:
    return rule_of(name).nesterov and rule_of(name).norm != "none"


def _settings(name: str, state: State) -> dict[str, Any]:
    """A box's keywords; RMSProp corrects n, as in the report's experiments."""
    rule = rule_of(name)
    if not _has_rate(name):
        return {}
    settings: dict[str, Any] = {"η": state.lr if rule.norm == "none" else state.lrn}
    if rule.norm != "none":
        settings["ε"] = 1e-8
    if rule.norm in ("rms", "max"):
        settings["ν"] = state.nu
    if rule.momentum != "none":
        settings["μ"] = state.mu
        if not _in_dialect(name) or DIALECTS[state.dialect].free_schedule:
            settings["ψ"] = state.psi
    if name == "RMSProp":
        settings["corrected"] = True
    if name == "NadaMax" and state.dialect != "cs229":
        settings["norm"] = paper.max_norm
    return settings


def picture(state: State) -> figures.Picture:
    """What the widget shows, for paper and for browsers without JavaScript."""
    surface = SURFACES[state.surface].turned(state.turn)
    return figures.paths(paths(state), f=surface.f, xlim=surface.xlim, ylim=surface.ylim, minima=surface.minima)


def knowledge(parts: Parts = WHOLE) -> dict[str, Any]:
    """What the browser gets to know of rules, looks, dialects and surfaces, which are defined in Python alone."""
    shown = ("title", "formula", "xlim", "ylim", "levels", "minima", "centre", "steps", "begin")
    return {
        "sliders": parts.sliders,
        "step": parts.step,
        "best": parts.best,
        "rules": {name: {**asdict(rule_of(name)), **_look(name)} for name in parts.rules},
        "dialects": {name: asdict(dialect) for name, dialect in DIALECTS.items()},
        "surfaces": {name: {key: getattr(surface, key) for key in shown} for name, surface in SURFACES.items()},
    }


def _look(name: str) -> dict[str, Any]:
    """`figures.look` in the browser's words; `dash` counts line widths, as matplotlib does."""
    look = figures.look(name)
    line = look.get("linestyle", "-")
    dash = () if line == "-" else line[1]
    return {"colour": look["color"], "dash": dash, "marker": look["marker"]}

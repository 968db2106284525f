"""How large a step may be: the limit of the one update on a quadratic, and how methods without noise come to theirs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from IPython.display import Markdown
from numpy.typing import NDArray

from ... import paper
from ...rules import DIALECTS, RULES, Rule, Scalars, scalars
from .experiment.plots import GREY
from .experiment.wording import listed
from .figures import OFF_DIAGONAL, PHONE_WIDTH, RAVINE, Picture, look, plain, ravine, ravine_gradient
from .show import markdown

__all__ = ["limit", "reached", "reached_said"]

Array = NDArray[np.float64]

#: Of the runs that the figure shows, all on the ravine.
NUMBERS = {"η": 0.1, "μ": 0.9, "ν": 0.99}
STEPS = 2000
#: Every so many steps are drawn, so that the page stays light.
EVERY = 5
#: Losses below this one are rounding.
FLOOR = 1e-20


def limit(rule: Rule, k: Scalars) -> float:
    """η λ / (d root(n) + ε) from which on θ grows on ½λθ², as long as the numbers and n are these (`eq-one-limit`)."""
    q = 1.0 if rule.momentum == "sum" else 1.0 - k.mu
    return float(2 * (1 + k.mu) / (k.a * q + k.c * (1 + k.mu)))


class Course(NamedTuple):
    """A method in the ravine: η λ / (√n̂ + ε) of its steepest direction, its limit, and the loss, for each step."""

    steepness: Array
    limit: Array
    loss: Array


def course(rule: Rule, box: Callable[..., Any], dialect: str = "cs229", **settings: Any) -> Course:
    """The box's path in the ravine; the rule gives the limit."""
    η, μ, ν, ε = *NUMBERS.values(), 1e-8
    path = paper.path(box, np.array(OFF_DIAGONAL), ravine_gradient, STEPS, η=η, ν=ν, ε=ε, **settings)
    n, product, steepness, limits = np.zeros(2), 1.0, [], []
    for t, g in enumerate(map(ravine_gradient, path[:-1]), 1):
        n = ν * n + (1 - ν) * g**2
        k, product = scalars(
            rule,
            t,
            product,
            lr=η,
            mu=μ,
            nu=ν,
            bias_correction=True,
            dialect=dialect,
            momentum_decay=DIALECTS[dialect].momentum_decay if rule.nesterov else None,
        )
        steepness.append(float((η * RAVINE / (k.d * np.sqrt(n) + ε)).max()))
        limits.append(limit(rule, k))
    return Course(np.array(steepness), np.array(limits), ravine(path[1:]))


@functools.cache
def courses() -> Mapping[str, Course]:
    """The methods that divide by a mean of g², by name; Nadam as the report has it and with a constant μ."""
    μ = NUMBERS["μ"]
    return {
        "RMSProp": course(RULES["RMSProp"], paper.rmsprop, corrected=True),
        "Nadam (report)": course(RULES["Nadam"], paper.nadam, μ=μ),
        "Nadam (constant)": course(RULES["Nadam"], paper.nadam_iclr, "constant", μ=μ, ψ=None),
        "Adam": course(RULES["Adam"], paper.adam, μ=μ),
    }


#: What each is drawn as.
LOOKS = {"Nadam (report)": "cs229", "Nadam (constant)": "constant"}


def reached() -> Picture:
    """How steep the ravine is for each method as √n̂ falls, with its limit in grey; below, the losses."""
    figure = Picture(figsize=(PHONE_WIDTH, 5.4))
    above, below = figure.subplots(2, 1, sharex=True)
    t = np.arange(1, STEPS + 1)[::EVERY]
    figure.data["step"] = t.astype(float)
    for name, found in courses().items():
        pen = {key: x for key, x in look(LOOKS.get(name, name)).items() if key in ("color", "linestyle")}
        steepness, limits, loss = (x[::EVERY] for x in found)
        above.plot(t, limits, color=GREY, linewidth=0.8)
        above.plot(t, steepness, label=name, linewidth=1.3, **pen)
        above.text(1.01 * STEPS, limits[-1], name, fontsize=9, va="center")
        below.plot(t, np.maximum(loss, FLOOR), linewidth=1.3, **pen)
        figure.data |= {f"{name}, steepness": steepness, f"{name}, limit": limits, f"{name}, loss": loss}
    above.set(yscale="log", ylabel=r"$\eta\lambda\,/\,\sqrt{\hat n}$")
    plain(above.yaxis)
    below.set(yscale="log", ylabel="loss", xlabel="step", ylim=(FLOOR, 10))
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    figure.alt = str(reached_said().data)
    return figure


def reached_said() -> Markdown:
    """Where each method is in the second half of the run, beside its limit at the end."""
    half = STEPS // 2
    where = [f"{name} {np.median(x.steepness[half:]):.1f} (limit {x.limit[-1]:.1f})" for name, x in courses().items()]
    return markdown(f"The median from step {half + 1:,} on: {listed(where)}.")

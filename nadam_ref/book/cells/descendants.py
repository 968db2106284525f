"""What came after Nadam: how far each method is the one update of this book, and where weight decay acts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from IPython.display import Markdown

from ... import Nadam, rules
from ...rules import DIALECTS, RULES
from . import show
from .figures import Array, Picture
from .show import markdown

__all__ = ["KEPT", "Numerator", "fits", "installed", "numerators", "shrinking", "shrunk"]


class Numerator(NamedTuple):
    """The upper half of a step: m ← μ m + q g with q = 1 (`sum`) or 1 − μ (`mean`), and then a m + c g."""

    momentum: str
    mu: float
    a: float
    c: float


class Kept(NamedTuple):
    """A method beside the one update: what it divides by, whether it is that update, and what has no place there."""

    divides_by: str
    fits: str
    more: str


def _ours(name: str, t: int, dialect: str = "constant", gamma: float | None = None) -> Numerator:
    """A rule of this package at step t with μ = .9, all means corrected."""
    rule, product = RULES[name], 1.0
    for i in range(1, t + 1):
        psi = DIALECTS[dialect].momentum_decay if rule.nesterov else None
        k, product = rules.scalars(
            rule,
            i,
            product,
            lr=1.0,
            mu=0.9,
            nu=0.999,
            momentum_decay=psi,
            bias_correction=True,
            dialect=dialect,
            gamma=gamma,
        )
    return Numerator(rule.momentum, k.mu, k.a, k.c)


def lion(first: float = 0.9, second: float = 0.99) -> Numerator:
    """Lion's: β₁ m₋ + (1 − β₁) g with the m before this step's, which then decays with β₂; written with the new m."""
    return Numerator("mean", second, first / second, 1 - first / second)


def muon(mu: float = 0.95, *, nesterov: bool = True) -> Numerator:
    """Muon's, before the matrix is orthogonalized."""
    return Numerator("mean", mu, mu if nesterov else 1.0, 1 - mu if nesterov else 0.0)


def adan(mu: float = 0.98) -> Numerator:
    """Adan's where its mean of gradients and its mean of their differences decay alike: m + μ (m − m₋)."""
    return Numerator("mean", mu, mu, 1 - mu)


def schedule_free(t: int, beta: float = 0.9) -> Numerator:
    """That of schedule-free gradient descent at step t, for the point at which it takes its gradients."""
    return Numerator("sum", (t - 1) / t, beta / (t + 1), 1 - beta)


def numerators(t: int) -> dict[str, Numerator]:
    """The upper half of each method's step at step t, with its usual numbers."""
    return {
        "AdamW": _ours("Adam", t),
        "NAdamW": _ours("Nadam", t),
        "QHAdam": _ours("Nadam", t, "interpolated", 0.3),
        "Lion": lion(),
        "Muon": muon(),
        "Muon without look-ahead": muon(nesterov=False),
        "Adan, equal decays": adan(),
        "schedule-free": schedule_free(t),
    }


ROOT = r"$d\sqrt n + \varepsilon$"

#: By method, in the order of `numerators`; SOAP has no numerator of its own.
KEPT = {
    "AdamW": Kept(ROOT, "yes", "decay, beside it"),
    "NAdamW": Kept(ROOT, "yes", "decay, beside it"),
    "QHAdam": Kept(ROOT, "yes", "–"),
    "Lion": Kept("$|a m + c g|$", "above", "sign of the step"),
    "Muon": Kept("–", "above", "step as a matrix"),
    "Muon without look-ahead": Kept("–", "above", "step as a matrix"),
    "Adan, equal decays": Kept(r"$\sqrt n$ of $g + \mu(g - g_-)$", "above", "$g_-$, second mean"),
    "schedule-free": Kept("–", "yes", "second point"),
}


def fits(t: int = 10) -> Markdown:
    """Each method's numbers at step t beside the one update, and what has no place in it."""
    found = numerators(t)
    rows = [
        [name, x.momentum, *(f"{value:.4g}" for value in (x.mu, x.a, x.c)), *KEPT[name]] for name, x in found.items()
    ]
    rows.append(["SOAP", "mean", "–", "–", "0", ROOT, "rotated", "rotation"])
    return show.table(
        ["method", "average", r"$\mu$", "$a$", "$c$", "divides by", "fits", "no place for"],
        rows,
        "llrrrlll",
        name="tab-descendants",
        caption=f"Later methods in the numbers of the one update, at step {t}, with usual settings. *Fits*: wholly, or "
        "only in what is above the fraction bar; *no place for*: what the update has no place for.",
    )


def installed() -> Markdown:
    """What the torch that made the page has of all this."""
    nadam = inspect.signature(torch.optim.NAdam).parameters
    text = (
        f"In torch {torch.__version__.partition('+')[0]}, which made this page, `NAdam` "
        f"{'takes' if 'decoupled_weight_decay' in nadam else 'has no'} `decoupled_weight_decay`"
    )
    if kind := getattr(torch.optim, "Muon", None):
        text += f"; `Muon` has `nesterov={inspect.signature(kind).parameters['nesterov'].default}` by default"
    text += "."
    return markdown(text)


# ---------------------------------------------------------------- where weight decay acts

#: Sizes of the gradients of three weights whose loss is flat: noise that changes sign at every step.
SIZES = (0.1, 1.0, 10.0)


def shrunk(
    sizes: Sequence[float] = SIZES, *, lr: float = 0.01, decay: float = 0.1, steps: int = 1000
) -> Mapping[str, Array]:
    """Weights that start at 1 under Nadam (`constant`), gradients ±size: `[steps + 1, weights]` by kind of decay."""
    found = {}
    for kind in ("coupled", "decoupled"):
        θ = torch.ones(len(sizes), dtype=torch.float64, requires_grad=True)
        optimizer = Nadam(
            [θ],
            lr=lr,
            betas=(0.9, 0.999),
            weight_decay=decay,
            decoupled_weight_decay=kind == "decoupled",
            dialect="constant",
        )
        path = [θ.detach().clone()]
        for t in range(steps):
            θ.grad = torch.tensor(sizes, dtype=torch.float64) * (-1) ** t
            optimizer.step()
            path.append(θ.detach().clone())
        found[kind] = torch.stack(path).numpy()
    return found


def shrinking(lr: float = 0.01, decay: float = 0.1, steps: int = 1000) -> Picture:
    """`shrunk` as two panels: what the decay leaves of each weight."""
    figure = Picture(figsize=(7.0, 3.2))
    axes = figure.subplots(1, 2, sharey=True)
    found = shrunk(lr=lr, decay=decay, steps=steps)
    inks = (("#0072B2", "-"), ("#C94A00", (0, (5, 2))), ("#00795A", (0, (1, 1.2))))
    for ax, (kind, path) in zip(axes, found.items(), strict=True):
        for size, values, (color, line) in zip(SIZES, path.T, inks, strict=True):
            ax.plot(values, color=color, linestyle=line, label=f"gradients ±{size:g}")
            figure.data[f"{kind}, gradients ±{size:g}"] = values
        ax.plot((1 - lr * decay) ** np.arange(steps + 1), color="#1f2328", linewidth=0.8, label=r"$(1-\eta\lambda)^t$")
        ax.set(title=kind, xlabel="step", ylim=(0, 1.15))
    axes[0].set_ylabel("weight")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    ends = {name: values[-1] for name, values in figure.data.items()}
    figure.alt = " ".join(f"{name}: {x:.2f} is left." for name, x in ends.items())
    return figure

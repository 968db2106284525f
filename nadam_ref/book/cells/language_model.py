"""What the chapter shows of language models: two results that do not fit, the recipe epoch by epoch, and clipping."""

from __future__ import annotations

import dataclasses
import itertools
import math
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown
from matplotlib.patches import FancyBboxPatch

from ...experiments.datasets.synthetic import entropy_rate, transitions
from ...experiments.protocol import planning
from ...experiments.protocol.definition import load
from ...experiments.published import reported
from ...experiments.reproductions import REPRODUCTIONS
from ...experiments.runs.record import Record
from ...experiments.runs.resources import arithmetic
from ...experiments.runs.spec import RunSpec
from ...experiments.runs.store import Store
from ...experiments.runs.sweep import sweep
from ...experiments.runs.training import Training
from ...experiments.statistics.summary import curve
from ...experiments.verdicts.arms import rows
from ...experiments.verdicts.report import percent
from ...rules import RULES
from . import recorded, show
from .experiment.plots import WIDTH
from .figures import Array, Picture, look, plain
from .recorded import Recorded
from .show import markdown

__all__ = [
    *("baseline", "clipping", "demonstration", "epochs", "indifference", "known", "limits", "mismatch", "network"),
    *("norms", "rates", "recipe", "rescaled", "shares", "sweep_chain"),
]

TASK = "language_model"
#: The embedded text.
CHAIN = "chain"
INK, GREY, BLUE, YES = "#24292f", "#57606a", "#0072B2", "#00795A"


def known() -> Record:
    """Our repetition of the tutorial's own run."""
    return next(record for record in recorded.runs("known") if record.spec.task == TASK)


# ---------------------------------------------------------------- two results that do not fit


def baseline(record: Record) -> Markdown:
    """What the tutorial and the report have of the same model, and what our repetition of the tutorial has."""
    table = {name: float(x.value) for name, x in reported("cs229", TASK).items()}
    his = REPRODUCTIONS["ptb"].published["test_perplexity"]
    ours = record.metrics["test_perplexity"]
    below = sum(value < his for value in table.values())
    ranked = sorted(table, key=lambda name: table[name])
    return markdown(
        f"The tutorial that the report's model comes from ends at a test perplexity of {his:g}, with gradient descent. "
        f"Our repetition of it ends at {ours:.1f} ({percent(math.log(ours / his))}). "
        f"The report's nine numbers lie between {table[ranked[0]]:g} ({ranked[0]}) and {table[ranked[-1]]:g} "
        f"({ranked[-1]}): {below} of {len(table)} are below the tutorial's. "
        f"For gradient descent the report has {table['GD']:g}."
    )


def mismatch(record: Record) -> Picture:
    """The report's test perplexities on a line, with the tutorial's own and that of our repetition."""
    table = {name: float(x.value) for name, x in reported("cs229", TASK).items()}
    others = {
        "the tutorial": REPRODUCTIONS["ptb"].published["test_perplexity"],
        "our repetition": record.metrics["test_perplexity"],
    }
    figure = Picture(figsize=(WIDTH, 3.5))
    ax = figure.subplots()
    ranked = sorted(table, key=lambda name: table[name])
    for y, name in enumerate(ranked):
        ax.plot(table[name], y, "D", color=look(name)["color"], markerfacecolor="none", markersize=7)
        ax.annotate(name, (table[name], y), xytext=(9, 0), textcoords="offset points", va="center", fontsize=9)
    places = (("the tutorial", INK, (0, (4, 2)), "right", -4), ("our repetition", BLUE, "-", "left", 4))
    for name, ink, line, side, away in places:
        ax.axvline(others[name], color=ink, linewidth=1.4, linestyle=line)
        text = f"{name}\n{others[name]:.1f}"
        ax.annotate(
            text, (others[name], 0.2), xytext=(away, 0), textcoords="offset points", fontsize=9, color=ink, ha=side
        )
    low, high = min(table.values()), max(others.values())
    ax.set(xlim=(low - 2, high + 5), ylim=(len(ranked) - 0.3, -0.7), yticks=[], xlabel="test perplexity")
    ax.grid(axis="y", visible=False)
    figure.data = {name: np.array([value]) for name, value in {**table, **others}.items()}
    figure.alt = ", ".join(f"{name} {value:.1f}" for name, value in {**table, **others}.items()) + "."
    figure.note = show.provenance_note([record], recorded=True)
    return figure


# ---------------------------------------------------------------- the task


def network() -> Picture:
    """The task in one picture: words go in one by one, two layers remember, and each next word is guessed."""
    figure = Picture(figsize=(WIDTH, 3.3))
    ax = figure.subplots()
    words = ["the", "cat", "sat", "on"]
    for i, (word, after) in enumerate(itertools.pairwise([*words, "the"])):
        x = 1.0 + 2.4 * i
        ax.text(x, 0.1, word, ha="center", va="center", color=INK)
        for layer in (1.15, 2.35):
            box = FancyBboxPatch((x - 0.6, layer - 0.32), 1.2, 0.64, boxstyle="round,pad=0.06", linewidth=0)
            box.set(facecolor=BLUE, alpha=0.18)
            ax.add_patch(box)
            ax.text(x, layer, "LSTM", ha="center", va="center", fontsize=9, color=INK)
            if i:
                _arrow(ax, (x - 1.7, layer), (x - 0.72, layer))
        for below, above in ((0.32, 0.74), (1.55, 1.94), (2.75, 3.15)):
            _arrow(ax, (x, below), (x, above))
        ax.text(x, 3.4, f"{after}?", ha="center", va="center", color=YES)
    ax.text(10.0, 1.75, "what it remembers\nis handed on", fontsize=8.5, color=GREY, va="center", ha="left")
    ax.text(10.0, 3.4, "its guesses", fontsize=8.5, color=GREY, va="center", ha="left")
    ax.text(10.0, 0.1, "the text", fontsize=8.5, color=GREY, va="center", ha="left")
    ax.set(xlim=(0.2, 13.2), ylim=(-0.2, 3.7))
    ax.axis("off")
    figure.alt = "The guess after 'sat' should be 'on'."
    return figure


def _arrow(ax: object, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1})  # type: ignore[attr-defined]


# ---------------------------------------------------------------- the recipe


def epochs(it: Recorded, record: Record) -> Markdown:
    """How many epochs a size trains for, and in how many of them the rate is a smaller one."""
    length, task = record.spec.evaluate_every, load().task(TASK)
    assert task.anneal is not None
    factor, full = task.anneal
    steps = next(iter(task.profile(it.profile).data.values())).steps
    passed = steps / length
    text = f"At the size `{it.profile}` a run has {steps:,} steps, {passed:.2g} epochs of {length:,}"
    if passed <= full:
        return markdown(f"{text}: it ends before the rate would be lowered for the first time, after {full} epochs.")
    halved = math.ceil(passed) - full
    return markdown(f"{text}: the first {full} at the full rate, the last at {factor**halved:.2g} of it.")


def recipe(record: Record, it: Recorded, names: Sequence[str] = ("GD", "Momentum", "Adam", "Nadam")) -> Picture:
    """Development perplexity after each epoch, and below it what the rate is multiplied by.

    Always our repetition of the tutorial's run; beside it the mean of methods at the paper's size, where they are run.
    """
    figure = Picture(figsize=(WIDTH, 4.0))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    length = record.spec.evaluate_every
    values = np.array(record.curves["dev_perplexity"][1:])
    x = np.arange(1, len(values) + 1)
    above.plot(x, values, "o-", color=INK, label=f"the tutorial's recipe: {record.spec.optimizer}")
    figure.data |= {"epoch": x.astype(float), "the tutorial's recipe": values}
    arms = {} if it.evidence is None else it.evidence[TASK]
    for name in names:
        if name in arms:
            mean = curve(arms[name].runs.values(), "dev_perplexity").mean[1:]
            above.plot(np.arange(1, len(mean) + 1), mean, **look(name), label=name)
            figure.data[name] = mean
    assert record.spec.anneal is not None
    factor, full = record.spec.anneal
    rate = np.array([factor ** max(0, int(epoch) - full) for epoch in x])
    below.step(x, rate, where="mid", color=GREY)
    figure.data["factor of the rate"] = rate
    above.set(ylabel="development perplexity", yscale="log")
    plain(above.yaxis)
    above.legend(fontsize=9)
    below.set(xlabel=f"epoch of {length:,} steps", ylabel="× the rate", yscale="log", yticks=[1, 0.1, 0.01])
    below.set_yticklabels(["1", "0.1", "0.01"])
    below.minorticks_off()
    best = int(values.argmin())
    kept, gained = values[full - 1], values[-1]
    figure.alt = (
        f"The recipe goes from {values[0]:.4g} after the first epoch to {kept:.4g} after epoch {full}, the "
        f"last at the full rate, and to {gained:.4g} in the end. Its lowest is {values[best]:.4g}, after epoch "
        f"{best + 1}."
    )
    figure.note = show.provenance_note(
        [record, *(r for n in names if n in arms for r in arms[n].runs.values())], recorded=True
    )
    return figure


# ---------------------------------------------------------------- a text of our own


def sweep_chain(profile: str, *, workers: int) -> tuple[list[Record], dict[str, float]]:
    """The runs of the report's methods on the chain, and the best of the rates that each tried."""
    specs = [spec for spec in planning.specs(profile, CHAIN, TASK) if planning.arm(spec) in RULES]
    with tempfile.TemporaryDirectory() as folder:
        records = sweep(specs, Store(Path(folder)), workers=workers)
    choices = planning.choices(records)
    return records, {name: choices[name].lr for name in RULES if name in choices}


def demonstration(records: Sequence[Record], best: Mapping[str, float]) -> Markdown:
    """The results of `sweep_chain` at each method's best rate."""
    found = {row.arm: row for row in rows(records) if row.lr == best[row.arm]}
    cells = []
    for name, lr in best.items():
        x = found[name].metrics["test_perplexity"]
        edge = " edge" if found[name].edge else ""
        cells.append([name, f"{lr:g}{edge}", f"{x.mean:.2f} ({x.low:.2f}–{x.high:.2f})"])
    spec = records[0].spec
    return show.table(
        ["method", r"rate $\eta$", "test perplexity"],
        cells,
        "lrr",
        name="tab-language-model-live",
        caption=f"The demonstration: {spec.steps:,} steps on the chain, means over {found[name].n} seeds, in brackets "
        f"the smallest and the largest. The model that made the text has {math.exp(entropy_rate(transitions())):.2f}. "
        "Edge: the best rate is the smallest or the largest of those tried.",
        note=show.provenance_note(records),
    )


# ---------------------------------------------------------------- clipping


class Watched(Training):
    """A run that keeps the L2 norm of every gradient, as it was before clipping."""

    def __init__(self, spec: RunSpec) -> None:
        super().__init__(spec)
        self.norms: list[float] = []

    def _update(self) -> None:
        grads = [x.grad for x in self.params.values() if x.grad is not None]
        self.norms.append(float(torch.stack([g.square().sum() for g in grads]).sum().sqrt()))
        super()._update()

    def walk(self) -> Array:
        """Train to the end, or until it diverges, without an evaluation, which would take longer; the norms."""
        while self.log.step < self.spec.steps and not self.log.reason:
            loss, self.state = self._backward()
            self.log.train(loss)
            self._update()
            self.log.step += 1
        return np.array(self.norms)


def rates(it: Recorded, profile: str) -> dict[str, float]:
    """A rate for each method: that which the search chose at a size, else the one at which the search begins."""
    if it.evidence is not None:
        return {name: arm.lr for name, arm in it.evidence[TASK].items() if name in RULES}
    plan = load().task(TASK)
    middle = plan.profile(profile).middle
    return {name: middle[arm.family] for name, arm in plan.arms.items() if name in RULES}


def norms(
    rates: Mapping[str, float], profile: str, data: str, steps: int | None, *, workers: int
) -> tuple[RunSpec, dict[str, Array]]:
    """The norm of each gradient in the first steps of a run of each method (None: all), and the first run's spec."""
    specs = {name: _with(spec, rates[name], steps) for name, spec in _first(profile, data).items() if name in rates}
    with arithmetic(1), ThreadPoolExecutor(workers) as pool:
        found = dict(zip(specs, pool.map(lambda spec: Watched(spec).walk(), specs.values()), strict=True))
    return next(iter(specs.values())), found


def clipping(spec: RunSpec, found: Mapping[str, Array], rates: Mapping[str, float]) -> Picture:
    """The norms of each method's gradients against the limit, and the share of steps that are clipped."""
    limit = spec.clip_norm
    assert limit is not None
    figure = Picture(figsize=(WIDTH, 0.9 + 0.42 * len(found)))
    ax = figure.subplots()
    ax.axvspan(limit, 1e9, color=GREY, alpha=0.12, linewidth=0)
    ax.axvline(limit, color=GREY, linewidth=1)
    shares = {name: float((x > limit).mean()) for name, x in found.items()}
    for y, (name, x) in enumerate(found.items()):
        ink = look(name)["color"]
        low, q1, middle, q3, high = np.percentile(x, [5, 25, 50, 75, 95])
        ax.plot([low, high], [y, y], color=ink, linewidth=1)
        ax.plot([q1, q3], [y, y], color=ink, linewidth=6, alpha=0.5, solid_capstyle="butt")
        ax.plot(middle, y, look(name)["marker"], color=ink)
        ax.text(
            1.01,
            y,
            f"{shares[name]:.0%}".replace("%", " %"),
            transform=ax.get_yaxis_transform(),
            va="center",
            fontsize=9.5,
        )
        figure.data[name] = x
    every = np.concatenate(list(found.values()))
    ax.set(xscale="log", xlim=(np.percentile(every, 1) * 0.8, max(np.percentile(every, 99), limit) * 1.3))
    ax.set_ylim(len(found) - 0.4, -0.9)
    ax.set_yticks(range(len(found)), [f"{name}, {rates[name]:g}" for name in found], fontsize=9.5)
    ax.set_xlabel("norm before clipping; beside each name its rate η", fontsize=9.5)
    ax.text(1.01, -0.75, "clipped", transform=ax.get_yaxis_transform(), fontsize=9, color=GREY)
    plain(ax.xaxis)
    ax.grid(axis="y", visible=False)
    ranked = sorted(shares, key=lambda name: -shares[name])
    figure.alt = "Share of clipped steps: " + ", ".join(f"{name} {shares[name]:.0%}" for name in ranked) + "."
    figure.note = f"{spec.profile}: {spec.data} · first {len(next(iter(found.values()))):,} steps · seed {spec.seed}"
    return figure


def shares(spec: RunSpec, found: Mapping[str, Array]) -> Markdown:
    """Whose steps are clipped most and least, in words."""
    limit = spec.clip_norm or math.inf
    share = {name: float((x > limit).mean()) for name, x in found.items()}
    most, least = max(share, key=lambda name: share[name]), min(share, key=lambda name: share[name])
    return markdown(
        f"In these first {len(found[most]):,} steps {most} has {share[most]:.0%} of its steps clipped, {least} "
        f"{share[least]:.0%}; the median over the methods is {np.median(list(share.values())):.0%}.".replace("%", " %")
    )


#: By method: the development perplexity at the end and the share of clipped steps, for each limit.
Ends = Mapping[str, Mapping[float | None, tuple[float, float]]]


def rescaled(
    names: Sequence[str], rates: Mapping[str, float], profile: str, limits: Sequence[float | None]
) -> dict[str, dict[float | None, tuple[float, float]]]:
    """Runs on the chain with the gradient clipped at several norms, the loosest first; None: not at all.

    Development perplexities at the end, NaN where a run diverged, and shares of clipped steps.
    """
    first = _first(profile, CHAIN)

    def end(name: str, limit: float | None) -> tuple[float, float]:
        training = Watched(dataclasses.replace(_with(first[name], rates[name]), clip_norm=limit))
        training.train(None, None)
        clipped = 0.0 if limit is None else float(np.mean(np.array(training.norms) > limit))
        return math.nan if training.log.reason else training.log.latest["perplexity"], clipped

    with arithmetic(1):
        return {name: {limit: end(name, limit) for limit in limits} for name in names}


def limits(ends: Ends, rates: Mapping[str, float]) -> Markdown:
    """`rescaled` as a table."""
    cells = [
        [name, f"{rates[name]:g}", *(f"{x:.1f} ({share:.0%})".replace("%", " %") for x, share in of.values())]
        for name, of in ends.items()
    ]
    heads = ["not clipped" if limit is None else f"at {limit:g}" for limit in next(iter(ends.values()))]
    return show.table(
        ["method", r"rate $\eta$", *heads],
        cells,
        "l" + "r" * (1 + len(heads)),
        name="tab-language-model-clipping",
        caption="Development perplexity at the end with gradients clipped at several norms, at one rate; in brackets "
        "the share of clipped steps. One seed: a demonstration.",
        note="the chain",
    )


def indifference(ends: Ends) -> Markdown:
    """What becomes of each method from the loosest limit to the tightest, in words."""
    changes = []
    for name, of in ends.items():
        (before, _), *_, (after, _) = of.values()
        changes.append(f"{name} goes from {before:.1f} to {after:.1f} ({percent(math.log(after / before))})")
    return markdown(f"From no limit to the tightest, {', '.join(changes)}.")


# ---------------------------------------------------------------- runs


def _first(profile: str, data: str) -> dict[str, RunSpec]:
    """A run of each arm, in their order."""
    first: dict[str, RunSpec] = {}
    for spec in planning.specs(profile, data, TASK):
        first.setdefault(planning.arm(spec), spec)
    return first


def _with(spec: RunSpec, lr: float, steps: int | None = None) -> RunSpec:
    """The same run at another rate, and with fewer steps; evaluated at its beginning and end alone."""
    steps = steps or spec.steps
    settings = {**spec.hyperparameters, "lr": lr}
    return dataclasses.replace(spec, hyperparameters=settings, steps=steps, evaluate_every=steps)

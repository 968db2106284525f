"""The figures of the experiment chapters. Left of 0, or below it, the first method of a pair is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from ....experiments.statistics.intervals import Floats, t_interval
from ....experiments.statistics.summary import curve, reported_metric
from ....experiments.tasks import TASKS
from ....experiments.verdicts.arms import Arm, Evidence
from ....experiments.verdicts.measures import rate_shares
from ....experiments.verdicts.report import percent, reached_momentum
from ....experiments.verdicts.verdicts import Comparison, Effect, confound
from ....rules import RULES
from .. import recorded
from ..figures import TODAY, Picture, look, plain
from ..recorded import Recorded
from .comparisons import compared, sides, where_run
from .sentences import momentum
from .wording import rate_words

GREY = "#57606a"
#: Inches: what is read on a phone without scrolling.
WIDTH = 5.0
PARTS = ("mean", "low", "high")
#: How far above the best value a search for a rate is shown.
FAR = 4.0
#: Most points of a learning curve that are drawn, so that a page stays light; its data have all.
DRAWN = 26
#: Letters above a row of a forest plot that fit into one line.
LONG = 70
#: How many times the middle one of its comparisons the axis of a forest plot shows, at most.
CUT = 6
#: A row of a forest plot: what is compared, the comparison, and at which rates.
Line = tuple[str, Comparison, str]


def gaps(it: Recorded) -> Picture | None:
    """The task's claims at one size as a forest plot, with the printed gaps; nothing where there is no verdict yet."""
    if it.evidence is None:
        return None
    figure = recorded.gaps(it.verdicts, "not run")
    (done, planned), spec = it.seeds, it.records[0].spec
    words = f"{it.profile}: {spec.data}, {spec.steps:,} steps, {done} of {planned} seeds"
    figure.suptitle("\n".join([words, momentum(it)]), fontsize=9, color=GREY)
    return figure


@where_run
def dots(evidence: Evidence, metric: str | None = None) -> Picture:
    """Every arm with every reported run as a dot, the best mean on top; beside the dots the mean and its 95 % interval.

    Means and intervals are of logarithms, as verdicts are. Diverged runs are counted beside the arm's name.
    """
    ((task, arms),) = evidence.items()
    metric = metric or reported_metric(task)
    values = {name: np.array(arm.values(metric)) for name, arm in arms.items()}
    ordered = sorted(values, key=lambda name: (np.log(values[name]).mean(), name))
    figure = Picture(figsize=(WIDTH, 1.1 + 0.3 * len(ordered)))
    ax = figure.subplots()
    lost: dict[str, str] = {}
    for y, name in enumerate(ordered):
        finite = values[name][np.isfinite(values[name])]
        style = _look(arms[name])
        ax.plot(finite, np.full(len(finite), y), style["marker"], color=style["color"], alpha=0.35, markersize=4.5)
        if len(finite) == len(values[name]):
            _mean(ax, y - 0.28, np.log(finite), style["color"])
        else:
            lost[name] = f" ({len(values[name]) - len(finite)} of {len(values[name])} diverged)"
        figure.data[name] = values[name]
    ax.set_yticks(
        range(len(ordered)), [f"{name}{lost.get(name, '')}, {arms[name].lr:g}" for name in ordered], fontsize=9.5
    )
    ax.set_xscale("log")
    ax.set_xlabel(f"{_words(metric)} (with each name: its η)", fontsize=9.5)
    plain(ax.xaxis)
    ax.set_ylim(len(ordered) - 0.4, -0.7)
    ax.grid(axis="y", visible=False)
    figure.alt = f"From best to worst mean: {', '.join(ordered)}."
    return _sign(figure, evidence)


def _mean(ax: Axes, y: float, logs: Floats, color: str) -> None:
    interval = t_interval(logs)
    if interval is not None:
        ax.plot(np.exp(interval), [y, y], color=color, linewidth=2.5, solid_capstyle="butt")
    ax.plot(math.exp(logs.mean()), y, "|", color=color, markersize=9, markeredgewidth=2.5)


@where_run
def learning(evidence: Evidence, names: Mapping[str, Sequence[str]] | None = None) -> Picture:
    """Mean development curves at the chosen rates, one panel below the other, each with a band over the seeds.

    `names`: the arms of each panel by its title; by default the methods by what they divide by. The scale begins where
    a tenth of the run is over, so that the ends can be told apart.
    """
    ((task, arms),) = evidence.items()
    metric = f"dev_{TASKS[task].METRIC}"
    panels = names or recorded.panels(arms)
    figure = Picture(figsize=(WIDTH, 0.8 + 2.2 * len(panels)))
    axes = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    top, bottom = 0.0, math.inf
    for ax, (title, members) in zip(axes, panels.items(), strict=True):
        curves = {name: curve(arms[name].runs.values(), metric) for name in members}
        for name in sorted(members, key=lambda name: curves[name].mean[-1]):
            c, style = curves[name], _look(arms[name])
            drawn = np.arange(len(c.step) - 1, -1, -math.ceil(len(c.step) / DRAWN))[::-1]
            ax.plot(c.step[drawn], c.mean[drawn], **style, markevery=max(1, len(drawn) // 8), label=name)
            ax.fill_between(c.step[drawn], c.low[drawn], c.high[drawn], color=style["color"], alpha=0.15, linewidth=0)
            finite = c.mean[np.isfinite(c.mean)]
            top = max(top, *finite[min(len(finite) - 1, math.ceil(len(finite) / 10)) :])
            bottom = min(bottom, float(c.low.min()))
            figure.data |= {"step": c.step.astype(float), f"{name} mean": c.mean}
            figure.data |= {f"{name} lowest": c.low, f"{name} highest": c.high}
        ax.set(title=title, yscale="log")
        ax.legend(fontsize=9, title="best first", title_fontsize=8.5)
    axes[0].set_ylim(bottom * 0.98, top * 1.02)
    plain(axes[0].yaxis)
    axes[-1].set_xlabel("step")
    figure.supylabel(_words(metric), fontsize=10.5)
    figure.alt = "At the end, lowest first: " + ", ".join(
        f"{name} {y:.4g}" for y, name in sorted((figure.data[f"{n} mean"][-1], n) for p in panels.values() for n in p)
    )
    return _sign(figure, evidence)


@where_run
def pairs(evidence: Evidence) -> Picture | None:
    """The pairs of the claims: each arm at its own rate, either arm at its runner-up, and both at their common rate."""
    found: list[Line] = []
    for first, second, metric in sides(evidence):
        found += [(f"{first.name} / {second.name}", x, where) for x, where in compared(first, second, metric)]
    return forest(found, evidence) if found else None


@where_run
def parts(evidence: Evidence, method: str = "Nadam", *, own: bool = False) -> Picture | None:
    """A method's gain taken apart: each part at one rate for both arms where it was run so, else at their own rates.

    `own`: all of them at the arms' own rates. None where no part of it was run.
    """
    effects = [effect for effect in confound(evidence) if effect.part.method == method]
    return forest([_part(effect, own) for effect in effects], evidence) if effects else None


def _part(effect: Effect, own: bool) -> Line:
    label = f"{recorded.called(effect.part.part)}: {effect.part.first} / {effect.part.second}"
    if own or effect.common is None:
        return label, effect.comparison, rate_words(*effect.lr)
    return label, effect.common, f"η = {effect.common_lr:g}"


def forest(found: Sequence[Line], evidence: Evidence) -> Picture:
    """Comparisons of arms: mean log ratios with their 95 % intervals, in percent.

    Above each are its names, and at the right its rates, or what else there is to say of it. A few that are far larger
    than the others go off the axis, with an arrow and their mean in figures.
    """
    ((task, _),) = evidence.items()
    figure = Picture(figsize=(WIDTH, 0.9 + 0.46 * len(found)))
    ax = figure.subplots()
    above, reach = ax.get_yaxis_transform(), _reach([x for _, x, _ in found])
    size = 9.0 if max(len(label) + len(where) for label, _, where in found) < 62 else 8.0
    for y, (label, x, where) in enumerate(found):
        ink = look(next((name for name in RULES if label.startswith(f"{name} ")), "Nadam"))["color"]
        tops = (0.42, 0.18) if len(label) + len(where) > LONG else (0.28, 0.28)
        ax.text(0, y - tops[0], label, transform=above, fontsize=size, va="center")
        ax.text(1, y - tops[1], where, transform=above, fontsize=size, va="center", ha="right", color=GREY)
        if x.mean is None or x.interval is None:
            ax.text(0.5, y + 0.12, "{} and {} diverged".format(*x.diverged), transform=above, ha="center", fontsize=9)
            continue
        _interval(ax, y + 0.12, (x.mean, *x.interval), reach, ink)
        figure.data[f"{label} {where}"] = np.array([x.mean, *x.interval])
    recorded.zero(ax, len(found))
    ax.set_yticks([])
    ax.set_ylim(len(found) - 0.5, -0.65)
    recorded.percents(ax, room=1 / 7)  # of a number with three digits
    metric = _words(reported_metric(task))
    ax.set_xlabel(f"← first is lower        {metric}        first is higher →", fontsize=9.5)
    figure.alt = " ".join(f"{name}: {percent(x[0])}." for name, x in figure.data.items())
    return _sign(figure, evidence)


def _reach(found: Sequence[Comparison]) -> float:
    """How far from 0 the axis of these comparisons goes: to all ends, or to those that `CUT` medians hold."""
    ends = [float(np.abs([x.mean, *x.interval]).max()) for x in found if x.mean is not None and x.interval]
    return min(max(ends), CUT * float(np.median(ends))) if ends else 0.0


def _interval(ax: Axes, y: float, x: tuple[float, float, float], reach: float, ink: str) -> None:
    """A mean and the ends of its interval, as far as the axis goes."""
    mean, low, high = np.clip(x, -reach, reach)
    ax.plot([low, high], [y, y], color=ink, linewidth=5, alpha=0.45, solid_capstyle="butt")
    for side, marker in ((-1, "<"), (1, ">")):
        if max(side * end for end in x[1:]) > reach:
            ax.plot(side * reach, y, marker, color=ink, markersize=5)
    if mean == x[0]:
        ax.plot(mean, y, "o", color=ink)
    else:
        side = int(np.sign(mean))
        ax.text(0.96 * mean, y, percent(x[0]), fontsize=9, color=ink, va="center", ha="right" if side > 0 else "left")


def _words(metric: str) -> str:
    return metric.replace("dev_", "development ").replace("_", " ")


@where_run
def rates(evidence: Evidence, names: Mapping[str, Sequence[str]] | None = None) -> Picture:
    """The search for each arm's rate: the mean development metric at each rate, with a bar from seed to seed.

    A mark is the darker the more often the bootstrap over the tuning seeds chooses its rate (`rate_shares`); the chosen
    rate's is the large one. `names`: the arms of each panel by its title, by default the methods. A rate at which a run
    diverged is left out.
    """
    ((task, arms),) = evidence.items()
    metric = f"dev_{TASKS[task].METRIC}"
    panels = names or recorded.panels(arms)
    figure = Picture(figsize=(WIDTH, 0.8 + 2.2 * len(panels)))
    axes = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for ax, (title, members) in zip(axes, panels.items(), strict=True):
        for name in members:
            _search(ax, figure, arms[name], metric)
        ax.set(title=title, xscale="log", yscale="log")
        ax.legend(fontsize=9)
    low = min(row.metrics[metric].low for names in panels.values() for name in names for row in arms[name].tuning)
    axes[0].set_ylim(low * 0.95, min(axes[0].get_ylim()[1], FAR * low))
    plain(axes[0].yaxis)
    axes[-1].set_xlabel("learning rate η")
    figure.supylabel(_words(metric), fontsize=10.5)
    figure.alt = " ".join(
        f"{name}: {arms[name].lr:g}, in {100 * rate_shares(arms[name])[arms[name].lr]:.0f} % of draws."
        for members in panels.values()
        for name in members
    )
    return _sign(figure, evidence)


def _search(ax: Axes, figure: Picture, arm: Arm, metric: str) -> None:
    shares = rate_shares(arm)
    tried = sorted((row for row in arm.tuning if not row.diverged), key=lambda row: row.lr)
    x = np.array([row.lr for row in tried])
    mean, low, high = (np.array([getattr(row.metrics[metric], part) for row in tried]) for part in PARTS)
    style = _look(arm)
    ax.plot(x, mean, color=style["color"], linestyle=style.get("linestyle", "-"), label=arm.name)
    ax.vlines(x, low, high, color=style["color"], linewidth=1)
    for at, y in zip(x, mean, strict=True):
        size = 9 if at == arm.lr else 5
        ax.plot(at, y, style["marker"], color=style["color"], markersize=size, markerfacecolor="none")
        ax.plot(at, y, style["marker"], color=style["color"], markersize=size, alpha=shares[at], markeredgewidth=0)
    figure.data |= {
        f"{arm.name} η": x,
        f"{arm.name} mean": mean,
        f"{arm.name} lowest": low,
        f"{arm.name} highest": high,
        f"{arm.name} share of draws": np.array([shares[at] for at in x]),
    }


def _sign(figure: Picture, evidence: Evidence) -> Picture:
    """Give a figure its provenance, and above it what was run and what μ had come to."""
    (arms,) = evidence.values()
    spec = next(iter(arms.values())).spec
    n = len(next(iter(arms.values())).runs)
    words = [f"{spec.profile}: {spec.data}, {spec.steps:,} steps, {n} seeds", reached_momentum(arms)]
    figure.suptitle("\n".join(filter(None, words)), fontsize=9, color=GREY)
    figure.note = recorded.note(evidence)
    return figure


def _look(arm: Arm) -> dict[str, str]:
    """The look of an arm: that of its method, or of its dialect where the arm is another form of the method."""
    return look(arm.name) if arm.name in RULES or arm.name in TODAY else look(arm.spec.optimizer)

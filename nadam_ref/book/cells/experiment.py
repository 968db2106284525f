"""What every chapter on an experiment shows, in the same order and the same way: sentences and figures of the evidence.

All take the evidence of one task (`recorded.evidence`). Left of 0, or below it, the first method of a pair is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ...experiments.statistics.intervals import Floats, t_interval
from ...experiments.tasks import TASKS
from ...experiments.verdicts.arms import Arm, Evidence
from ...experiments.verdicts.verdicts import Comparison, Effect, Verdict, compare, confound
from ...rules import RULES
from . import recorded
from .figures import Picture, look

__all__ = ["answer", "dots", "pairs", "parts", "rates", "sentence", "verdict"]

GREY = "#57606a"
PARTS = ("mean", "low", "high")
#: Percents between two ticks, of which the smallest that leaves few ticks is taken.
STEPS = (0.5, 1, 2, 5, 10, 20, 50)

#: What a verdict says of the difference, after its size.
WORDS = {
    "Reproduced": "as the report prints it",
    "Reproduced with size": "as the report prints it, and of about that size",
    "Reversed": "the other way round than the report prints it",
    "No relevant difference": "too small to matter",
    "Inconclusive": "within the luck of the seeds",
}


# ---------------------------------------------------------------- sentences


def percent(log_gap: float) -> str:
    """A difference of logarithms as a change in percent, with its sign: −2.1 %."""
    return f"{100 * math.expm1(log_gap):+.1f} %".replace("-", "−")


def sentence(v: Verdict) -> str:
    """A verdict as a sentence: the pair, how much they differ, and what that is held to be."""
    pair = f"{v.side.first} against {v.side.second}"
    if v.comparison is None:
        return f"**{pair}**: not run."
    more = "; it depends on the rate" if "depends on the rate" in v.suffixes else ""
    return f"**{pair}**: {_size(v.comparison)}. That is {WORDS[v.kind]}{more} (*{v.kind.lower()}*)."


def _size(x: Comparison) -> str:
    if x.mean is None or x.interval is None:
        first, second = x.diverged
        return f"of {x.n} runs each, {first} of the first and {second} of the second diverged"
    low, high = map(percent, x.interval)
    return f"{percent(x.mean)} (95 % interval {low} to {high}, {x.n} pairs of runs)"


def verdict(evidence: Evidence) -> Markdown:
    """The task's primary claims as sentences, the one about Nadam first."""
    lines = [f"- {sentence(v)}" for v in recorded.primary(evidence)]
    return Markdown("\n".join(lines))  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------- figures


def dots(evidence: Evidence, metric: str | None = None) -> Picture:
    """Every arm with every reported run as a dot, the best mean on top; beside the dots the mean and its 95 % interval.

    Means and intervals are of logarithms, as verdicts are. Diverged runs are counted at the right edge.
    """
    ((task, arms),) = evidence.items()
    metric = metric or f"test_{TASKS[task].METRIC}"
    values = {name: np.array(arm.values(metric)) for name, arm in arms.items()}
    ordered = sorted(values, key=lambda name: (np.log(values[name]).mean(), name))
    figure = Picture(figsize=(7.0, 0.9 + 0.34 * len(ordered)))
    ax = figure.subplots()
    for y, name in enumerate(ordered):
        finite = values[name][np.isfinite(values[name])]
        style = _look(arms[name])
        ax.plot(finite, np.full(len(finite), y), style["marker"], color=style["color"], alpha=0.35, markersize=5)
        if len(finite) == len(values[name]):
            _mean(ax, y - 0.28, np.log(finite), style["color"])
        else:
            lost = f"{len(values[name]) - len(finite)} of {len(values[name])} diverged"
            ax.annotate(lost, (1, y), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=9)
        figure.data[name] = values[name]
    ax.set_yticks(range(len(ordered)), [f"{name}, η = {arms[name].lr:g}" for name in ordered])
    ax.set(xscale="log", xlabel=metric.replace("_", " "))
    _plain(ax.xaxis)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    figure.alt = f"From best to worst mean: {', '.join(ordered)}."
    figure.note = recorded.note(evidence)
    return figure


def _mean(ax: Axes, y: float, logs: Floats, color: str) -> None:
    interval = t_interval(logs)
    if interval is not None:
        ax.plot(np.exp(interval), [y, y], color=color, linewidth=2.5, solid_capstyle="butt")
    ax.plot(math.exp(logs.mean()), y, "|", color=color, markersize=10, markeredgewidth=2.5)


#: A row of a forest plot: what is compared, the comparison, and at which rates.
Line = tuple[str, Comparison, str]


def pairs(evidence: Evidence) -> Picture:
    """The primary pairs: each arm at its own rate, either arm at its runner-up, and both at their common rate."""
    found: list[Line] = []
    for v in recorded.primary(evidence):
        if v.arms is None or v.comparison is None:
            continue
        first, second = v.arms
        found.append((f"{first.name} / {second.name}", v.comparison, _rates(first, second)))
        others = ((first.runner_up, second), (first, second.runner_up), (first.common, second.common))
        made = {(a.lr, b.lr): (a, b) for a, b in others if a is not None and b is not None}
        made.pop((first.lr, second.lr), None)
        found += [("", compare(a, b, v.claim.metric), _rates(a, b)) for a, b in made.values()]
    return _forest(found, recorded.note(evidence))


def parts(evidence: Evidence, method: str = "Nadam") -> Picture:
    """A method's gain taken apart: each part at one rate for both arms where it was run so, else at their own rates."""
    return _forest(
        [_part(effect) for effect in confound(evidence) if effect.part.method == method], recorded.note(evidence)
    )


def _part(effect: Effect) -> Line:
    label = f"{effect.part.part}\n{effect.part.first} / {effect.part.second}"
    if effect.common is None:
        return label, effect.comparison, "η = {:g}, {:g}".format(*effect.lr)
    return label, effect.common, f"η = {effect.common_lr:g}"


def _rates(first: Arm, second: Arm) -> str:
    return f"η = {first.lr:g}" if first.lr == second.lr else f"η = {first.lr:g}, {second.lr:g}"


def _forest(found: Sequence[Line], note: str) -> Picture:
    """Mean log ratios with their 95 % intervals, a line each, in percent; the rates at the right."""
    figure = Picture(figsize=(7.0, 0.9 + 0.42 * max(len(found), 1)))
    ax = figure.subplots()
    for y, (label, x, where) in enumerate(found):
        ink = look(next((name for name in RULES if label.startswith(f"{name} ")), "Nadam"))["color"]
        ax.annotate(where, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=GREY)
        if x.mean is None or x.interval is None:
            lost = "{} and {} diverged".format(*x.diverged)
            ax.annotate(lost, (0, y), va="center", ha="center", fontsize=9)
            continue
        ax.plot(x.interval, [y, y], color=ink, linewidth=5, alpha=0.45, solid_capstyle="butt")
        ax.plot(x.mean, y, "o", color=ink)
        figure.data[f"{label or 'the same'} {where}".replace("\n", ": ")] = np.array([x.mean, *x.interval])
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_yticks(range(len(found)), [label for label, *_ in found])
    ax.grid(axis="y", visible=False)
    _percents(ax)
    ax.set_xlabel("← first is lower        test metric        first is higher →")
    figure.alt = " ".join(
        f"{label or 'The same'} at {where}: {percent(x.mean)}." for label, x, where in found if x.mean is not None
    ).replace("\n", ", ")
    figure.note = note
    return figure


def rates(evidence: Evidence, names: Sequence[str] | None = None) -> Picture:
    """The search for each arm's rate: the mean development metric at each rate, with a bar from seed to seed.

    The chosen rate is filled. How far the seeds lie apart there says how uncertain the choice is. `names`: the arms to
    show, by default the methods. A rate at which a run diverged is left out.
    """
    ((task, arms),) = evidence.items()
    metric = f"dev_{TASKS[task].METRIC}"
    panels = recorded.panels(arms) if names is None else {"": list(names)}
    rows = math.ceil(len(panels) / 2)
    figure = Picture(figsize=(7.0, 0.4 + 2.6 * rows))
    axes = list(figure.subplots(rows, min(2, len(panels)), sharex=True, sharey=True, squeeze=False).flat)
    for ax, (title, members) in zip(axes, panels.items(), strict=False):
        for name in members:
            _search(ax, figure, arms[name], metric)
        ax.set(title=title, xscale="log", yscale="log")
        _plain(ax.yaxis)
        ax.legend(fontsize=8.5)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    figure.supxlabel("learning rate η", fontsize=10.5)
    figure.supylabel(metric.replace("_", " "), fontsize=10.5)
    figure.note = recorded.note(evidence)
    return figure


def _search(ax: Axes, figure: Picture, arm: Arm, metric: str) -> None:
    tried = sorted((row for row in arm.tuning if not row.diverged), key=lambda row: row.lr)
    x = np.array([row.lr for row in tried])
    mean, low, high = (np.array([getattr(row.metrics[metric], part) for row in tried]) for part in PARTS)
    style = _look(arm)
    ax.plot(x, mean, color=style["color"], linestyle=style.get("linestyle", "-"), label=arm.name)
    ax.vlines(x, low, high, color=style["color"], linewidth=1)
    ax.plot(x, mean, style["marker"], color=style["color"], markerfacecolor="none")
    chosen = x == arm.lr
    ax.plot(x[chosen], mean[chosen], style["marker"], color=style["color"], markersize=8)
    figure.data |= {
        f"{arm.name} η": x,
        f"{arm.name} mean": mean,
        f"{arm.name} lowest": low,
        f"{arm.name} highest": high,
    }


# ---------------------------------------------------------------- over all tasks


def answer(tasks: Mapping[str, Evidence | None]) -> Picture:
    """Nadam against Adam, NAG against momentum, NadaMax against AdaMax, a line for each task; grey where not run."""
    found = {title: [] if one is None else recorded.primary(one) for title, one in tasks.items()}
    labels = list(dict.fromkeys(v.claim.label for verdicts in found.values() for v in verdicts))
    figure = Picture(figsize=(7.0, 0.8 + 0.4 * len(found) * max(1, len(labels))))
    ax = figure.subplots()
    ticks: list[str] = []
    for label in labels:
        for title, verdicts in found.items():
            y = len(ticks)
            ticks.append(f"{label}, {title}")
            v = next((v for v in verdicts if v.claim.label == label), None)
            if v is None or v.comparison is None or v.comparison.mean is None or v.comparison.interval is None:
                ax.annotate("not run", (0, y), va="center", fontsize=9, color=GREY)
                continue
            ink = look(v.side.first)["color"]
            ax.plot(v.comparison.interval, [y, y], color=ink, linewidth=5, alpha=0.45, solid_capstyle="butt")
            ax.plot(v.comparison.mean, y, "o", color=ink)
            figure.data[f"{label}, {title}"] = np.array([v.comparison.mean, *v.comparison.interval])
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_yticks(range(len(ticks)), ticks)
    ax.grid(axis="y", visible=False)
    _percents(ax)
    figure.alt = " ".join(f"{name}: {percent(x[0])}." for name, x in figure.data.items())
    figure.note = " · ".join(recorded.note(one) for one in tasks.values() if one is not None)
    return figure


# ---------------------------------------------------------------- ink


def _look(arm: Arm) -> dict[str, str]:
    """The look of an arm: that of its method, or of its dialect where the arm is another form of the method."""
    return look(arm.name) if arm.name in RULES else look(arm.spec.optimizer)


def _percents(ax: Axes) -> None:
    """A logarithmic ratio's axis with round percents, and room above the first line and below the last."""
    low, high = ax.get_xlim()
    steps = [step for step in STEPS if (high - low) * 100 / step <= 6] or [STEPS[-1]]
    last = 100 * math.expm1(max(abs(low), abs(high)))
    marks = np.arange(0, last + steps[0], steps[0])
    places = np.log1p(np.concatenate([-marks[(marks > 0) & (marks < 100)], marks]) / 100)
    ax.set_xticks([x for x in places if low <= x <= high])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * math.expm1(x):+.3g} %".replace("-", "−")))
    ax.set_ylim(len(ax.get_yticks()) - 0.4, -0.6)


def _plain(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis, also where it spans less than a decade."""
    axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.3g}"))
    axis.set_minor_formatter(NullFormatter())

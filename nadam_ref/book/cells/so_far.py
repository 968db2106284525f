"""The end of each chapter on a rule: the same small network, trained by all methods so far, from recorded runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from IPython.display import Markdown

from ...experiments import datasets
from ...experiments.protocol import planning
from ...experiments.protocol.definition import load
from ...experiments.statistics.summary import curve
from ...experiments.tasks import TASKS
from ...experiments.verdicts.arms import Arm
from ...experiments.verdicts.measures import steps_to
from ...experiments.verdicts.report import percent
from ...experiments.verdicts.verdicts import compare
from ...rules import RULES
from . import recorded
from .figures import Picture, look, plain
from .show import markdown

__all__ = ["ended", "network", "trained"]

EARLIER = {"alpha": 0.4, "linewidth": 1.1}
NEW = {"linewidth": 2.6}


def _arms() -> Mapping[str, Arm]:
    """Each optimizer at its own rate, with five seeds."""
    return recorded.evidence(recorded.runs("digits-small"))["digits"]


def _until(*new: str) -> list[str]:
    """All methods up to the last of the new ones, in the order of the chapters."""
    names = list(RULES)
    return names[: 1 + max(map(names.index, new))]


def trained(*new: str) -> Picture:
    """All methods up to the new ones, which are drawn thicker.

    Above, the development loss against the step, a mean over the seeds; below, the test loss of every seed at the end
    with its mean, the best method on top. Beside each name is its rate.
    """
    arms = _arms()
    there = {name: arms[name] for name in _until(*new)}
    ordered = sorted(there, key=lambda name: (there[name].mean("test_loss"), name))
    height = 0.75 + 0.26 * len(there)
    figure = Picture(figsize=(5.0, 2.9 + height))
    above, below = figure.subplots(2, 1, height_ratios=(2.4, height))
    for y, name in enumerate(ordered):
        style, pen = look(name), NEW if name in new else EARLIER
        mean = curve(there[name].runs.values(), "dev_loss")
        above.plot(mean.step, mean.mean, **style, **pen, markevery=(y % 4, 4), markersize=4.5)
        values = np.array(there[name].values("test_loss"))
        below.plot(values, np.full(len(values), y), style["marker"], color=style["color"], alpha=0.5, markersize=4.5)
        below.plot(values.mean(), y, "|", color=style["color"], markersize=11, markeredgewidth=2.5)
        figure.data |= {"step": mean.step.astype(float), f"{name}: development loss": mean.mean}
        figure.data[f"{name}: test loss"] = values
    lows, highs, tests = zip(*map(_range, arms.values()), strict=True)  # one scale for all chapters
    above.set(yscale="log", xlabel="step", ylabel="development loss", ylim=(min(lows) * 0.95, max(highs) * 1.05))
    plain(above.yaxis)
    below.set_yticks(range(len(ordered)), [f"{name}, η = {there[name].lr:g}" for name in ordered])
    for label, name in zip(below.get_yticklabels(), ordered, strict=True):
        label.set_fontweight("bold" if name in new else "normal")
    below.set(xscale="log", xlabel="test loss at the end", ylim=(len(ordered) - 0.4, -0.6))
    below.set_xlim(0.95 * min(map(min, tests)), 1.05 * max(map(max, tests)))
    plain(below.xaxis)
    below.grid(axis="y", visible=False)
    figure.alt = f"Lowest mean test loss first: {', '.join(ordered)}."
    figure.note = recorded.note({"digits": dict(there)})
    return figure


def _range(arm: Arm) -> tuple[float, float, list[float]]:
    """The lowest and the highest mean development loss of an arm, and its test losses."""
    mean = curve(arm.runs.values(), "dev_loss").mean
    return mean.min(), mean.max(), arm.values("test_loss")


def network() -> Markdown:
    """What is trained, and what is shown of it."""
    size, plan = TASKS["digits"].SIZES["small"], load().task("digits")
    steps, seeds = plan.profile("small").data["digits"].steps, planning.seeds("small", "digits")
    side = datasets.load("digits").train_images.shape[1]
    return markdown(
        f"It reads handwritten digits of {side} × {side} pixels through {size.layers} layers of {size.units} units "
        f"with ReLU, and is trained for {steps} steps with {plan.batch} digits each. "
        f"We choose each method's learning rate on {len(seeds[0])} random seeds, by the same search for all, and show "
        f"{len(seeds[1])} other seeds. (A *seed* fixes the random start and the order of the data. The *development "
        "loss* is measured on held-out data used for tuning; the *test loss*, on data used for nothing else.) "
        "Where two methods are compared, the percentage is the mean over the seeds of the paired difference; it is "
        "not the ratio of the two means."
    )


def ended(**beside: str | None) -> Markdown:
    """Where new methods end, each beside an earlier one; a method beside None is the first."""
    arms = _arms()
    return markdown(*(_ended(arms, name, other) for name, other in beside.items()))


def _ended(arms: Mapping[str, Arm], name: str, other: str | None) -> str:
    arm = arms[name]
    ends = f"**{name}** ends at a test loss of {arm.mean('test_loss'):.3f}"
    if other is None:
        read = f"{arm.mean('test_accuracy'):.0%}".replace("%", " %")
        return f"{ends}, the mean of {len(arm.runs)} seeds; it reads {read} of the test images correctly."
    beside = arms[other]
    x = compare(arm, beside, "test_loss")
    pair = f"{ends}, {other} at {beside.mean('test_loss'):.3f}."
    if x.mean is None or x.interval is None:
        return f"{pair} Some of these runs diverged."
    low, high = x.interval
    paired = f"Seed by seed the difference averages {percent(x.mean)} (95 % interval {percent(low)} to {percent(high)})"
    if low <= 0 <= high:
        return f"{pair} {paired}; {x.n} seeds are too few to separate them."
    return f"{pair} {paired}, more than seed-to-seed variation.{_sooner(arm, beside)}"


def _sooner(arm: Arm, beside: Arm) -> str:
    """After how many steps the mean development loss is where the other method's is at the end, if it gets there."""
    mine, target = (curve(x.runs.values(), "dev_loss") for x in (arm, beside))
    first = steps_to(float(target.mean[-1]), mine.step.tolist(), mine.mean.tolist())
    if first >= arm.spec.steps:
        return ""
    return (
        f" {arm.name} needs {first:.0f} steps to reach the development loss that {beside.name} reaches "
        f"in {arm.spec.steps}."
    )

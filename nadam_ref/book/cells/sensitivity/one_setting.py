"""What one setting of a method changes, at the best rate of each.

Differences are of log(test loss), seed by seed; below 0 the changed setting ends lower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from IPython.display import Markdown

from ....experiments.protocol.definition import load
from ....experiments.runs.record import Record
from ....experiments.runs.spec import RunSpec
from ....experiments.statistics.intervals import t_interval
from ....experiments.statistics.significance import log_differences
from ....experiments.verdicts.report import percent
from .. import show
from ..experiment.plots import GREY, WIDTH
from ..experiment.wording import listed
from ..figures import Array, Picture, look
from ..show import markdown
from .map_runs import at_best, difference, losses, momentum, ν

__all__ = ["settings", "settled"]


BASE = "as usual"


def _setting(spec: RunSpec) -> str | None:
    """What a run at μ = .9 changes of the usual settings; None for a run of the maps."""
    h, batch = spec.hyperparameters, load().task("digits").batch
    if momentum(spec) != 0.9 or spec.batch != batch:
        return None
    if h.get("bias_correction") is False:
        return "no bias correction"
    if h.get("momentum_decay") is not None:
        return "schedule of μ on"
    if h.get("betas", (0, ν))[1] != ν:
        return f"ν = {h['betas'][1]:g}"
    if h.get("eps_root"):
        return f"ε = {h['eps_root']:g} inside"
    return BASE if h.get("eps", 1e-8) == 1e-8 else f"ε = {h['eps']:g} outside"


def _by_setting(records: Sequence[Record]) -> dict[str, dict[str, tuple[list[float], bool]]]:
    """Setting → optimizer → the test losses by seed at the best rates, and whether these are at an end."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for r in records:
        if (name := _setting(r.spec)) is not None:
            groups.setdefault((name, r.spec.optimizer), []).append(r)
    found: dict[str, dict[str, tuple[list[float], bool]]] = {}
    for (name, optimizer), runs in groups.items():
        found.setdefault(name, {})[optimizer] = at_best(losses(runs))
    order = [BASE, "no bias correction", "schedule of μ on"]
    return dict(
        sorted(found.items(), key=lambda item: (order.index(item[0]) if item[0] in order else 9, _key(item[0])))
    )


def _key(name: str) -> tuple[str, float]:
    words = name.split()
    return (words[0] + words[-1] * (len(words) > 3), float(words[2])) if "=" in words else (name, 0.0)


def settings(records: Sequence[Record]) -> Picture | None:
    """What one setting changes, at its own best rate: a dot for each seed, and the mean."""
    if not records:
        return None
    found = _by_setting(records)
    names = [name for name in found if name != BASE]
    figure = Picture(figsize=(WIDTH, 0.9 + 0.36 * len(names)))
    ax = figure.subplots()
    for y, name in enumerate(names):
        for k, optimizer in enumerate(x for x in ("Momentum", "NAG", "Adam", "Nadam") if x in found[name]):
            d = log_differences(found[name][optimizer][0], found[BASE][optimizer][0])
            style, at = look(optimizer), y + 0.18 * (k - (len(found[name]) - 1) / 2)
            finite = d[np.isfinite(d)]
            dots = style | {"linestyle": "none"}
            ax.plot(finite, np.full(len(finite), at), **dots, alpha=0.5, markersize=4)
            if len(finite) == len(d):
                ax.plot(d.mean(), at, "|", color=style["color"], markersize=9, markeredgewidth=2.5)
            figure.data[f"{optimizer}, {name}"] = d
    for optimizer in ("Adam", "Nadam", "Momentum", "NAG"):
        label = "Nadam (ICLR)" if optimizer == "Nadam" else optimizer
        ax.plot([], [], **(look(optimizer) | {"linestyle": "none"}), label=label)
    ax.axvline(0, color=GREY, linewidth=0.8)
    ends = {name: any(end for _, end in by.values()) for name, by in found.items()}
    ax.set_yticks(range(len(names)), [f"{name}{' †' * ends[name]}" for name in names], fontsize=9.5)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    low, high = ax.get_xlim()
    marks = [x for x in (-0.5, -0.25, 0, 0.5, 1, 2, 4) if low <= math.log1p(x) <= high]
    ax.set_xticks([math.log1p(x) for x in marks], [percent(math.log1p(x), digits=0) if x else "0" for x in marks])
    ax.set_xlabel("change of the test loss", fontsize=9.5)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
    figure.alt = " ".join(f"{name}: {_mean_words(x)}." for name, x in figure.data.items())
    figure.note = show.provenance_note(records, recorded=True)
    return figure


def _mean_words(d: Array) -> str:
    return percent(float(d.mean())) if np.isfinite(d).all() else "some runs diverged"


def settled(records: Sequence[Record]) -> Markdown | None:
    """The settings that clearly change Adam, and those that clearly change its difference from Nadam."""
    if not records:
        return None
    found = _by_setting(records)
    base = found[BASE]
    clear, gaps = [], []
    for name in (name for name in found if name != BASE and "Adam" in found[name]):
        mean, sure = difference(found[name]["Adam"][0], base["Adam"][0])
        clear += [f"{name} ({percent(mean)})"] * sure
        own = log_differences(found[name]["Nadam"][0], found[name]["Adam"][0])
        usual = log_differences(base["Nadam"][0], base["Adam"][0])
        interval = t_interval(own - usual) if np.isfinite(own - usual).all() else None
        gaps += [name] * (interval is not None and interval[0] * interval[1] > 0)
    count = len([name for name in found if name != BASE and "Adam" in found[name]])
    said = f"Of {count} settings, {len(clear)} clearly change Adam's test loss{': ' * bool(clear)}{listed(clear)}. "
    said += f"The difference between Nadam and Adam is clearly different under {len(gaps)} of them"
    return markdown(said + (f": {listed(gaps)}." if gaps else "."))

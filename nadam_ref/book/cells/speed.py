"""What the chapter on speed shows: recorded runs of `nadam-ref bench`, as tables and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ...bench import SIZES, Result, streams
from ...experiments.released import folder
from ...fused.codegen import spell
from ...kernels import Prelude
from ...rules import RULES
from .figures import PENS, Picture, look

__all__ = ["Recorded", "cost", "intensity", "load", "note", "operations", "ratio", "roofline"]

#: Ways of one step, as the figures name them.
PATHS = {
    "default": "ours, no flag",
    "fused": "ours, fused",
    "flattened": "ours, fused and flattened",
    "torch": "torch.optim, default",
    "torch foreach": "torch.optim, foreach",
    "torch fused Adam": "torch's fused Adam",
}


@dataclass(frozen=True)
class Recorded:
    """One recorded run of the bench: its results, the machine, the versions."""

    results: list[Result]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]

    def of(self, what: str, rule: str = "Nadam") -> dict[str, Result]:
        """The results of one list of parameters and one rule, by path."""
        return {x.path: x for x in self.results if (x.what, x.rule) == (what, rule)}


def load(name: str) -> Recorded:
    """The recorded `nadam-ref bench NAME`. Raises `DataError` where it is not at hand."""
    content = json.loads((folder("bench") / f"{name}.json").read_text(encoding="utf-8"))
    return Recorded([Result(**x) for x in content["results"]], content["machine"], content["versions"])


def note(run: Recorded) -> str:
    """Where and with what a run was recorded."""
    threads = f"{run.machine['threads']} thread" + ("s" if run.machine["threads"] > 1 else "")
    return f"{run.machine['device']} ({run.machine['capability']}), {threads} · torch {run.versions['torch']}"


def operations(rule: str) -> int:
    """Arithmetic operations that one update makes for each parameter: the lines of its kernel."""
    return len(spell(RULES[rule], Prelude()).lines)


def intensity(rule: str) -> float:
    """Operations for each byte that an update of float32 parameters reads or writes."""
    return operations(rule) / (4 * streams(RULES[rule]))


def ratio(run: Recorded, what: str, rule: str, ours: str, theirs: str | None = None) -> float:
    """How many times as long as `ours` another way takes; by default the fastest of torch's own."""
    by_path = run.of(what, rule)
    own = [path for path in ("torch", "torch foreach") if path in by_path]
    return min(by_path[path].median for path in ([theirs] if theirs else own)) / by_path[ours].median


def roofline(run: Recorded, what: str = "resnet50") -> Picture:
    """Operations a second against operations a byte: every rule, fused and in torch, under the roof of the machine.

    The slope is the bandwidth that `a.add_(b)` reaches over as many elements, the flat part a matrix product.
    """
    figure = Picture(figsize=(7.0, 4.4))
    ax = figure.subplots()
    any_rule = next(x for x in run.results if x.what == what and x.floor)
    bandwidth = 4 * streams(RULES[any_rule.rule]) * any_rule.parameters / (any_rule.floor or np.nan)
    x = np.geomspace(0.05, 2 * run.machine["flops"] / bandwidth, 100)
    roof = np.minimum(bandwidth * x, run.machine["flops"])
    ax.plot(x, roof / 1e9, color="#57606a", linewidth=1.2)
    ax.annotate("memory", (0.07, bandwidth * 0.07 / 1e9), xytext=(-14, 10), textcoords="offset points")
    ax.annotate("arithmetic", (x[-1], roof[-1] / 1e9), xytext=(-4, -14), textcoords="offset points", ha="right")
    figure.data |= {"roof operations/byte": x, "roof GFLOP/s": roof / 1e9}
    for rule in RULES:
        by_path = run.of(what, rule)
        style: dict[str, Any] = {**look(rule), "linestyle": ""}
        for path in (p for p in ("fused", "torch") if p in by_path):
            height = operations(rule) * by_path[path].parameters / by_path[path].median / 1e9
            fill: dict[str, Any] = {"label": rule} if path == "fused" else {"markerfacecolor": "none"}
            ax.plot(intensity(rule), height, **style, **fill, markersize=7)
            figure.data[f"{rule} {path}: operations/byte, GFLOP/s"] = np.array([intensity(rule), height])
    ax.set(xscale="log", yscale="log", xlabel="operations for each byte", ylabel="billion operations a second")
    ax.legend(ncols=2, loc="lower right", fontsize=9)
    figure.note = note(run)
    return figure


def cost(run: Recorded) -> Picture:
    """Nanoseconds a parameter of every way of a Nadam step: against the size of one tensor, against their number."""
    figure = Picture(figsize=(7.6, 4.0))
    size, number = figure.subplots(1, 2, sharey=True)
    by_size = {shapes[0][0]: what for what, shapes in SIZES.items() if len(shapes) == 1}
    million = {len(shapes): what for what, shapes in SIZES.items() if shapes[0][0] * len(shapes) == 10**6}
    _costs(size, run, by_size, "parameters in one tensor", figure)
    _costs(number, run, million, "tensors that share a million parameters", figure)
    size.set_ylabel("nanoseconds a parameter")
    figure.note = note(run)
    figure.legend(*size.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
    return figure


def _costs(ax: Axes, run: Recorded, whats: Mapping[int, str], xlabel: str, figure: Picture) -> None:
    x = np.array(sorted(whats), dtype=np.float64)
    results = [run.of(whats[int(n)]) for n in x]
    for (path, label), (ink, marker) in zip(PATHS.items(), PENS, strict=True):
        y = np.array([by_path[path].nanoseconds for by_path in results])
        ax.plot(x, y, color=ink, marker=marker, label=label, linestyle="-" if label.startswith("ours") else (0, (4, 2)))
        figure.data |= {f"{label}: {xlabel}": x, f"{label}: ns a parameter": y}
    floor = np.array([(by_path["fused"].floor or np.nan) / by_path["fused"].parameters * 1e9 for by_path in results])
    ax.plot(x, floor, color="#57606a", linewidth=1, linestyle=":", label="floor of memory")
    ax.set(xscale="log", yscale="log", xlabel=xlabel)

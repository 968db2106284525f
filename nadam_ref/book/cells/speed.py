"""What the chapter on speed shows: recorded runs of `nadam-ref bench`, as tables, figures and sentences."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes

from ...bench import FUSED_ADAM, LISTS, SIZES, Bandwidth, Result, streams, torchs_best
from ...experiments.released import folder
from ...fused.codegen import spell
from ...kernels import Prelude
from ...rules import RULES
from . import show
from .figures import PENS, Picture, look
from .show import markdown

__all__ = [
    "Recorded",
    "bandwidths",
    "cases",
    "cases_said",
    "cost",
    "cost_said",
    "dumbbells",
    "gpu_table",
    "intensity",
    "list_table",
    "lists_said",
    "load",
    "machine",
    "note",
    "operations",
    "roof_said",
    "roofline",
]

#: Ways of one step, as the figures name them, with the pen of each.
PATHS = {
    "default": "ours, no flag",
    "fused": "ours, fused",
    "flattened": "ours, fused and flattened",
    "torch": "torch.optim, default",
    "torch foreach": "torch.optim, foreach",
    FUSED_ADAM: "torch's fused Adam",
}
INKS = dict(zip(PATHS, PENS, strict=True))
#: The best of torch's own class of a rule, among the ways: it has the pen of torch's default.
BEST = "torch's best"
LABELS = {**PATHS, BEST: "torch's own class, best path"}
#: The ways in a table's columns, and what heads those whose name is not enough.
COLUMNS = ("bound", "default", "fused", "flattened", BEST, FUSED_ADAM)
_HEADS = {FUSED_ADAM: PATHS[FUSED_ADAM]}
_BEST = (
    f"*{BEST}* is the fastest path of torch's class of the same method: default, foreach, or fused where it has one."
)
#: Lists of parameters in words, with the number of their tensors.
TITLES = {
    "resnet50": "A ResNet-50, {:,} tensors",
    "small": "Many small tensors, {:,} of 32 × 32",
    "mlp": "A network 784-512-256-10, {:,} tensors",
}
BOUND, GREY = "the bound", "#57606a"
TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


@dataclass(frozen=True)
class Recorded:
    """One recorded run of the bench: its results, the machine, the versions, how the bound was found, bandwidths."""

    results: list[Result]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    bound: str
    bandwidth: list[Bandwidth]

    def of(self, what: str, rule: str = "Nadam") -> dict[str, Result]:
        """The results of one list of parameters and one rule, by path; with `BEST` where torch has the rule."""
        found = {x.path: x for x in self.results if (x.what, x.rule) == (what, rule)}
        best = torchs_best(found.values())
        return {**found, BEST: best} if best else found


def load(name: str) -> Recorded:
    """The recorded `nadam-ref bench NAME`, as `bench.report` writes it. Raises `DataError` where it is not there."""
    content = json.loads((folder("bench") / f"{name}.json").read_text(encoding="utf-8"))
    return Recorded(
        [Result(**x) for x in content["results"]],
        content["machine"],
        content["versions"],
        content["bound"],
        [Bandwidth(**x) for x in content["bandwidth"]],
    )


def note(run: Recorded) -> str:
    """Where and with what a run was recorded."""
    threads = f"{run.machine['threads']} thread" + ("s" if run.machine["threads"] > 1 else "")
    return f"{run.machine['device']} ({run.machine['capability']}), {threads} · torch {run.versions['torch']}"


def title(what: str) -> str:
    """A list of parameters in words, with the number of its tensors."""
    return TITLES[what].format(len(LISTS[what]))


# ---------------------------------------------------------------- tables


def machine(run: Recorded) -> Markdown:
    """Where a run was recorded."""
    rows = [
        ["processor", run.machine["device"]],
        ["instructions", run.machine["capability"]],
        ["threads", run.machine["threads"]],
        ["torch", run.versions["torch"]],
        ["nadam_ref", run.versions["nadam_ref"]],
    ]
    caption = "The machine that these times were recorded on."
    return show.table(["recorded on", "value"], rows, name="tab-speed-machine", caption=caption, note=note(run))


def bandwidths(run: Recorded) -> Markdown:
    """What kernels that only move numbers reach."""
    return show.table(
        ["kernel", "tensors read", "tensors written", "GB/s"],
        [[x.kernel, x.reads, x.writes, _spread(x.median, x.low, x.high)] for x in run.bandwidth],
        align="lrrr",
        name="tab-speed-bandwidth",
        caption="Gigabytes a second of the kernels that the bound is measured with, where $k$ is the number of tensors "
        "that they read and write, and of the four kernels of the STREAM benchmark.",
        note=note(run),
    )


def list_table(run: Recorded, what: str) -> Markdown:
    """Milliseconds of every rule over one list of parameters, with half their ranges."""
    by_rule = {rule: run.of(what, rule) for rule in RULES}
    return show.table(
        ["rule", *(_HEADS.get(path, path) for path in COLUMNS)],
        [[f"`{rule}`", *(_cell(found.get(path)) for path in COLUMNS)] for rule, found in by_rule.items()],
        align="lrrrrrr",
        name=f"tab-speed-{what}",
        caption=f"{title(what)}: milliseconds a step. {_BEST}",
        note=note(run),
    )


def gpu_table(run: Recorded) -> Markdown:
    """Milliseconds of the rules that were timed on a GPU, over each list of parameters, which has the bench's name."""
    rules = list(dict.fromkeys(x.rule for x in run.results))
    columns = [path for path in COLUMNS if path != "flattened"]
    rows = [
        [f"`{what}`", f"`{rule}`", *(_cell(run.of(what, rule).get(path)) for path in columns)]
        for what in LISTS
        for rule in rules
    ]
    return show.table(
        ["list", "rule", *(_HEADS.get(path, path) for path in columns)],
        rows,
        align="llrrrrr",
        name="tab-speed-gpu",
        caption=f"On a GPU: milliseconds a step. The bound is the time in which the GPU copies as many bytes. {_BEST}",
        note=f"{run.machine['device']} · torch {run.versions['torch']}",
    )


def cases(*runs: Recorded) -> Markdown:
    """Milliseconds of rows and of replicas, beside torch."""
    results = [x for run in runs for x in run.results]
    return show.table(
        ["case", "step", "milliseconds"],
        [[CASES[x.what], STEPS.get(x.path, x.path), _cell(x)] for x in results],
        align="llr",
        name="tab-speed-cases",
        caption="Embeddings and replicas: milliseconds a step.",
        note=note(runs[0]),
    )


CASES = {
    "word2vec rows": "skip-gram, the rows of a batch",
    "all rows, dense": "the same tables, all rows",
    "16 runs": "16 runs of 102,000 parameters",
}
STEPS = {
    "row-lazy, fused": "Nadam, row-lazy and fused",
    "row-lazy": "Nadam, row-lazy",
    "torch SparseAdam": "torch's SparseAdam",
    "torch, dense": "torch's NAdam",
    f"{FUSED_ADAM}, dense": "torch's fused Adam",
    "replicas": "Nadam, one step of all",
    "torch, one by one": "torch's NAdam, a step for each",
    f"{FUSED_ADAM}, one by one": "torch's fused Adam, a step for each",
}


def _cell(x: Result | None) -> str:
    """Milliseconds, if there are any."""
    return _spread(x.median * 1e3, x.low * 1e3, x.high * 1e3) if x else ""


def _spread(median: float, low: float, high: float) -> str:
    """A median with half its range, to as many decimals: three digits, or all of those before the point."""
    decimals = _decimals(median)
    return f"{median:,.{decimals}f} (±{(high - low) / 2:,.{decimals}f})"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.{_decimals(seconds * 1e3)}f}"


def _decimals(x: float) -> int:
    return max(0, 2 - math.floor(math.log10(x)))


# ---------------------------------------------------------------- sentences


def lists_said(run: Recorded) -> Markdown:
    """How the ways compare over each list: ranges over the rules, and the rules for which torch is faster."""
    items = []
    for what in LISTS:
        found = {rule: run.of(what, rule) for rule in RULES}
        low, high = _range(_ratios(found, "fused", "bound").values())
        torchs = [
            _said("The best path of torch's own class", _ratios(found, BEST, "fused")),
            _said("Torch's fused Adam, whatever the rule,", _ratios(found, FUSED_ADAM, "fused")),
        ]
        default = _said("torch's default path", _ratios(found, "torch", "default"))
        items.append(
            f"- **{title(what)}.** A fused step takes {low:.2f} to {high:.2f} times the bound. {' '.join(torchs)} "
            f"Without a flag on either side, {default}"
        )
    return markdown(*items)


def _ratios(found: Mapping[str, Mapping[str, Result]], path: str, to: str) -> dict[str, float]:
    """Time of one path to that of another, by rule, where there are both."""
    return {rule: x[path].median / x[to].median for rule, x in found.items() if path in x and to in x}


def _said(torchs: str, ratios: Mapping[str, float]) -> str:
    """How long one of torch's ways takes, measured by ours, with the rules for which it takes less."""
    low, high = _range(ratios.values())
    faster = ", ".join(f"{rule} ({ratio:.2f})" for rule, ratio in ratios.items() if ratio < 1)
    rest = f"; it is faster for {faster}." if faster else "."
    return f"{torchs} takes {low:.2f} to {high:.2f} times as long as ours{rest}"


def _range(values: Iterable[float]) -> tuple[float, float]:
    found = list(values)
    return min(found), max(found)


def bandwidth_said(run: Recorded) -> Markdown:
    """The bandwidths of the bound's kernels and the best of STREAM's."""
    bounds = [x.median for x in run.bandwidth if x.kernel.startswith("bound")]
    stream = max(x.median for x in run.bandwidth if not x.kernel.startswith("bound"))
    text = (
        f"The kernels of the bound move {min(bounds):.0f} to {max(bounds):.0f} GB/s; STREAM's best counts {stream:.0f}."
    )
    return markdown(text)


def roof_said(run: Recorded, what: str = "resnet50") -> Markdown:
    """How much of the roof the rules reach."""
    return markdown(_roof_reached(run, what))


def _roof_reached(run: Recorded, what: str) -> str:
    (_, peak), reached = _roof(run, what), {}
    for path in ("fused", "torch"):
        reached[path] = [
            _height(run.of(what, rule)[path]) / min(peak, intensity(rule) * _roof(run, what)[0])
            for rule in RULES
            if path in run.of(what, rule)
        ]
    (low, high), (least, most) = (_range(reached[path]) for path in ("fused", "torch"))
    return (
        f"Fused updates reach {100 * low:.0f} to {100 * high:.0f} % of the roof, "
        f"torch's defaults {100 * least:.0f} to {100 * most:.0f} %."
    )


def cost_said(run: Recorded) -> Markdown:
    """What a Nadam step costs at both ends of either panel of `cost`."""
    sizes, numbers = _by_size(), _by_number()
    items = [f"- One tensor of {n:,} parameters: {_listed(run.of(sizes[n]))}." for n in (min(sizes), max(sizes))] + [
        f"- A million parameters in {n:,} tensors: {_listed(run.of(numbers[n]))}." for n in (max(numbers),)
    ]
    return markdown(*items)


def _listed(found: Mapping[str, Result]) -> str:
    """The times of the ways, the shortest first."""
    named = sorted((found[path].median, label) for path, label in PATHS.items())
    return ", ".join(f"{_ms(seconds)} ms ({label})" for seconds, label in named)


def cases_said(sparse: Recorded, replicas: Recorded) -> Markdown:
    """Rows beside rows, replicas beside one by one; and what dense updates cost, which are another algorithm."""
    time = {x.path: x.median for run in (sparse, replicas) for x in run.results}
    rows, adam = time["row-lazy, fused"], time["torch SparseAdam"]
    dense, dense_adam = time["torch, dense"], time[f"{FUSED_ADAM}, dense"]
    nadam, fused = (time[path] / time["replicas"] for path in ("torch, one by one", f"{FUSED_ADAM}, one by one"))
    text = (
        f"Torch's SparseAdam, which updates the same rows, takes {adam / rows:.1f} times as long as row-lazy Nadam "
        f"fused. Torch's NAdam takes no sparse gradients. On dense ones its step takes {_ms(dense)} ms, and that of "
        f"torch's fused Adam {_ms(dense_adam)} ms, but that is a different algorithm, which moves every row, whether "
        "its word occurred or not.\n\n"
        f"A step of torch's NAdam for each of the 16 runs takes {nadam:.1f} times as long as one step of all, "
        f"a step of torch's fused Adam for each {fused:.1f} times."
    )
    return markdown(text)


# ---------------------------------------------------------------- figures


def operations(rule: str) -> int:
    """Arithmetic operations that one update makes for each parameter: the lines of its kernel."""
    return len(spell(RULES[rule], Prelude()).lines)


def intensity(rule: str) -> float:
    """Operations for each byte that an update of float32 parameters reads or writes."""
    return operations(rule) / (4 * streams(RULES[rule]))


def _roof(run: Recorded, what: str) -> tuple[float, float]:
    """Bytes a second of the fastest of the bound's kernels over a list, and the operations a second of a product."""
    rates = [x.moved / x.median for x in run.results if x.what == what and x.path == "bound" and x.moved]
    return max(rates), run.machine["flops"]


def _height(x: Result) -> float:
    """Operations a second of the rule's update."""
    return operations(x.rule) * x.parameters / x.median


def roofline(run: Recorded, what: str = "resnet50") -> Picture:
    """Operations a second against operations a byte: every rule, fused and in torch, under the roof of the machine.

    The slope is the highest bandwidth that a kernel of the bound reaches over the list, the flat part a matrix product.
    """
    figure = Picture(figsize=(7.0, 4.4))
    ax = figure.subplots()
    bandwidth, peak = _roof(run, what)
    x = np.geomspace(0.05, 2 * peak / bandwidth, 100)
    roof = np.minimum(bandwidth * x, peak)
    ax.plot(x, roof / 1e9, color=GREY, linewidth=1.2)
    ax.annotate("memory", (0.07, bandwidth * 0.07 / 1e9), xytext=(-4, 8), textcoords="offset points", ha="right")
    ax.annotate("arithmetic", (x[-1], roof[-1] / 1e9), xytext=(-4, -14), textcoords="offset points", ha="right")
    figure.data |= {"roof operations/byte": x, "roof GFLOP/s": roof / 1e9}
    for rule in RULES:
        by_path = run.of(what, rule)
        style: dict[str, Any] = {**look(rule), "linestyle": "", "fillstyle": "full"}
        for path in (p for p in ("fused", "torch") if p in by_path):
            height = _height(by_path[path]) / 1e9
            fill: dict[str, Any] = {"label": rule} if path == "fused" else {"markerfacecolor": "none"}
            ax.plot(intensity(rule), height, **style, **fill, markersize=7)
            figure.data[f"{rule} {path}: operations/byte, GFLOP/s"] = np.array([intensity(rule), height])
    ax.set(xscale="log", yscale="log", xlabel="operations for each byte", ylabel="billion operations a second")
    ax.legend(ncols=2, loc="lower right", fontsize=9)
    figure.note = note(run)
    figure.alt = _roof_reached(run, what)
    return figure


def dumbbells(run: Recorded) -> Picture:
    """Time of each way of a step in units of the rule's bound: a panel for each list, a line for each rule.

    The bar goes from the fused step to the best path of torch's own class.
    """
    figure = Picture(figsize=(7.6, 4.6))
    panels = figure.subplots(1, len(LISTS), sharey=True)
    shown = {"default": "default", "fused": "fused", "flattened": "flattened", BEST: "torch", FUSED_ADAM: FUSED_ADAM}
    y = np.arange(len(RULES))
    for ax, what in zip(panels, LISTS, strict=True):
        found = {rule: run.of(what, rule) for rule in RULES}
        ax.axvline(1, color=GREY, linewidth=1, linestyle=":", label=BOUND)
        fused, best = (_ratios(found, path, "bound") for path in ("fused", BEST))
        for i, rule in enumerate(RULES):
            if rule in best:
                ax.plot([fused[rule], best[rule]], [i, i], color="#afb8c1", linewidth=2, zorder=1)
        for path, pen in shown.items():
            ratios = _ratios(found, path, "bound")
            x = np.array([ratios.get(rule, np.nan) for rule in RULES])
            ink, marker = INKS[pen]
            hollow = {"markerfacecolor": "none"} if path == "flattened" else {}
            ax.plot(x, y, color=ink, marker=marker, linestyle="", markersize=6, label=LABELS[path], **hollow)
            figure.data[f"{title(what)}: {LABELS[path]} ÷ bound, by rule"] = x
        ax.set(xscale="log")
        ax.set_title(title(what).replace(", ", "\n"), fontsize=10)
        low, high = ax.get_xlim()
        ticks = [tick for tick in TICKS if low <= tick <= high]
        ax.set_xticks(ticks, list(map(str, ticks)))
        ax.minorticks_off()
    panels[0].set_yticks(y, list(RULES))
    panels[0].invert_yaxis()
    panels[1].set_xlabel("time of a step in units of the bound")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
    figure.note = note(run)
    return figure


def cost(run: Recorded) -> Picture:
    """Nanoseconds a parameter of every way of a Nadam step: against the size of one tensor, against their number."""
    figure = Picture(figsize=(7.6, 4.0))
    size, number = figure.subplots(1, 2, sharey=True)
    _costs(size, run, _by_size(), "parameters in one tensor", figure)
    _costs(number, run, _by_number(), "tensors that share a million parameters", figure)
    size.set_ylabel("nanoseconds a parameter")
    figure.note = note(run)
    figure.legend(*size.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
    return figure


def _by_size() -> dict[int, str]:
    """The sizes of one tensor, with their parameters."""
    return {shapes[0][0]: what for what, shapes in SIZES.items() if len(shapes) == 1}


def _by_number() -> dict[int, str]:
    """The sizes of a million parameters, with their tensors."""
    return {len(shapes): what for what, shapes in SIZES.items() if shapes[0][0] * len(shapes) == 10**6}


def _costs(ax: Axes, run: Recorded, whats: Mapping[int, str], xlabel: str, figure: Picture) -> None:
    x = np.array(sorted(whats), dtype=np.float64)
    results = [run.of(whats[int(n)]) for n in x]
    for path, label in {**PATHS, "bound": BOUND}.items():
        y = np.array([by_path[path].nanoseconds for by_path in results])
        style: dict[str, Any] = {"color": GREY, "linewidth": 1, "linestyle": ":"}
        if path in INKS:
            ink, marker = INKS[path]
            style = {"color": ink, "marker": marker, "linestyle": (0, (4, 2)) if path.startswith("torch") else "-"}
        ax.plot(x, y, **style, label=label)
        figure.data |= {f"{label}: {xlabel}": x, f"{label}: ns a parameter": y}
    ax.set(xscale="log", yscale="log", xlabel=xlabel)

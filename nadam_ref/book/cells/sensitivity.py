"""Chapter 25: what an optimizer changes beside other choices, where its look-ahead matters, and what a budget can tell.

Differences are of log(test metric), seed by seed; below 0 the first of a pair ends lower.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from ...experiments.protocol import planning
from ...experiments.protocol.definition import load, profile_of
from ...experiments.runs.record import Record
from ...experiments.runs.spec import RunSpec
from ...experiments.statistics.intervals import t_interval
from ...experiments.statistics.significance import detectable, log_differences
from ...experiments.statistics.summary import RunsError, criterion, reported_metric, value
from ...experiments.tasks import TASKS, model_of
from ...experiments.verdicts.arms import Arm, gather
from ...experiments.verdicts.measures import median_best, rate_shares
from ...experiments.verdicts.report import percent
from ...experiments.verdicts.verdicts import Comparison, compare
from ...rules import RULES
from . import answer, recorded, show
from .experiment import GREY, WIDTH
from .figures import Array, Picture, look

__all__ = [
    *("answered", "awaited", "batches", "beside", "budget", "certain", "changed", "contest", "forest", "maps", "noise"),
    *("ordered", "places", "power", "powerful", "read", "settings", "settled", "under", "where"),
]

PROFILE = "choices"
#: The inks of a choice and of an optimizer.
INK = {"choice": "#57606a", "optimizer": look("Nadam")["color"]}
#: A change of more than this in the logarithm is drawn as this one.
MOST = 0.7
#: η λ from which a look-ahead is expected to matter: it then changes μ by so large a part.
TENTH = 0.1


# ---------------------------------------------------------------- beside the other means


def _title(task: str) -> str:
    """What a task is called; the digits are the small network of the chapters on the rules."""
    return answer.TASKS[task][0] if task in answer.TASKS else "the chapters' network"


class Row(NamedTuple):
    """One choice in place of the paper's own on a task, by what it is called; None where it is not run yet."""

    task: str
    what: str
    kind: str
    x: Comparison | None


class Beside(NamedTuple):
    """A task's rows, Nadam in place of Adam first, and under each choice the difference between the two."""

    task: str
    rows: Sequence[Row]
    under: Sequence[Row]
    records: Sequence[Record]

    @property
    def ran(self) -> list[Row]:
        return [row for row in self.rows if row.x is not None]


def read(name: str) -> list[Record]:
    """The records of a pack; none where it is not made yet."""
    return recorded.there(name)


def beside(packs: Mapping[str, Sequence[Record]] | None = None) -> list[Beside]:
    """Every task that has the choices, from its pack, or from `packs` by task."""
    tasks = load().having(PROFILE)
    return [_beside(task, read(f"{task}-{PROFILE}") if packs is None else packs.get(task, [])) for task in tasks]


def _beside(task: str, records: Sequence[Record]) -> Beside:
    plans = profile_of(task, PROFILE).plans
    arms = {name: arm for name in profile_of(task, PROFILE).arms if (arm := plans[name]).optimizer == "Adam"}
    made = {name: _made(task, arm.model, records) for name, arm in arms.items()}
    own, rows, under = made["Adam"], list[Row](), list[Row]()
    metric = reported_metric(task)
    for name, arm in arms.items():
        what, there = _named(task, arm.model), made[name]
        pair = compare(there["Nadam"], there["Adam"], metric) if {"Nadam", "Adam"} <= there.keys() else None
        if name == "Adam":
            rows.append(Row(task, "Nadam in place of Adam", "optimizer", pair))
        elif "Adam" in own and "Adam" in there and len(own["Adam"].runs) == len(there["Adam"].runs):
            rows.append(Row(task, what, "choice", compare(there["Adam"], own["Adam"], metric)))
        else:
            rows.append(Row(task, what, "choice", None))
        under.append(Row(task, what, "optimizer", pair))
    return Beside(task, rows, under, records)


def _made(task: str, change: Mapping[str, Any], records: Sequence[Record]) -> Mapping[str, Arm]:
    """Adam and Nadam under one choice; nothing while a rate or a planned seed is lacking."""
    size = TASKS[task].SIZES[PROFILE]
    model = model_of(type(size)(**{**vars(size), **change}))
    chosen = [record for record in records if dict(record.spec.model) == model]
    if not chosen:
        return {}
    try:
        arms = gather(chosen, PROFILE, planning.planned_seeds(chosen))[task]
    except RunsError:
        return {}
    return {name.split()[0]: arm for name, arm in arms.items()}


def _named(task: str, change: Mapping[str, Any]) -> str:
    """What a choice is called, beside the paper's own."""
    if not change:
        return "the paper's own"
    if "cell" in change:
        return f"{change['units']} simple recurrent units"
    ((key, new),) = change.items()
    if key == "init":
        return {"xavier": "Xavier's", "he": "He's"}[new] + " initialization"
    if key == "l1":
        strengths = profile_of(task, PROFILE).variants["penalty"].model["l1"]
        return f"{'weak' if new == min(strengths) else 'strong'} L1 penalty"
    return f"{'half' if new < getattr(TASKS[task].SIZES[PROFILE], key) else 'twice'} the units"


def _size(x: Comparison) -> float:
    """How much a choice changes the result, in the logarithm; +inf where a run diverged."""
    return math.inf if x.mean is None else abs(x.mean)


def _signed(x: Comparison) -> str:
    if x.mean is None or x.interval is None:
        return "some runs diverged"
    return f"{percent(x.mean)} ({percent(x.interval[0])} to {percent(x.interval[1])})"


def answered(found: Sequence[Beside]) -> Markdown:
    """How much an optimizer changes beside the other choices, in one sentence, and what is lacking."""
    rows = [row for task in found for row in task.ran]
    optimizers, others = ([row for row in rows if row.kind == kind] for kind in ("optimizer", "choice"))
    if not optimizers or not others:
        return _text("**Not run yet:** what other choices change beside the optimizer. " + _lacking(found))
    sizes = {row.task: _size(row.x) for row in optimizers if row.x}
    more = [row for row in others if row.x and _size(row.x) > sizes.get(row.task, math.inf)]
    largest = max(others, key=lambda row: _size(row.x) if row.x else 0.0)
    typical = [math.exp(float(np.median([_size(row.x) for row in part if row.x]))) - 1 for part in (optimizers, others)]
    tasks = [_title(row.task) for row in optimizers]
    return _text(
        f"**Of {len(others)} other choices on {_and(tasks)}, {len(more)} change the test result by more than Nadam in "
        f"place of Adam does.** The median change is {_percent(typical[0])} for the optimizer and "
        f"{_percent(typical[1])} for the others; the largest is that of {largest.what}, on "
        f"{_title(largest.task)}: {_signed(largest.x) if largest.x else ''}. {_lacking(found)}"
    )


def _percent(x: float) -> str:
    return "more than can be said, since runs diverged" if math.isinf(x) else f"{100 * x:.1f} %"


def _lacking(found: Sequence[Beside]) -> str:
    lost = [task.task for task in found if len(task.ran) < len(task.rows)]
    commands = " ".join(f"--task {task}" for task in lost)
    return f"Still to be run: `nadam-ref sweep {PROFILE} {commands}`." if lost else ""


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _text(*lines: str) -> Markdown:
    return Markdown("\n".join(lines))  # type: ignore[no-untyped-call]


def forest(found: Sequence[Beside]) -> Picture:
    """What each choice changes: the mean difference from the paper's own with Adam, and its 95 % interval, by task."""
    lines = [(task, row) for task in found for row in (None, *task.rows)]
    figure = Picture(figsize=(WIDTH, 0.8 + 0.27 * len(lines)))
    ax = figure.subplots()
    ax.set_yticks(range(len(lines)), [_title(task.task) if row is None else row.what for task, row in lines])
    ax.tick_params(axis="y", length=0, labelsize=9)
    for (y, (task, row)), label in zip(enumerate(lines), ax.get_yticklabels(), strict=True):
        if row is None:
            label.set_fontweight("bold")
            continue
        label.set_color(INK[row.kind])
        _interval(ax, y, row.x, INK[row.kind])
        if row.x is not None and row.x.mean is not None and row.x.interval is not None:
            figure.data[f"{_title(task.task)}, {row.what}"] = np.array([row.x.mean, *row.x.interval])
    ax.axvline(0, color=GREY, linewidth=0.8)
    ax.set_ylim(len(lines) - 0.5, -0.6)
    if not figure.data:
        ax.set_xlim(-0.2, 0.2)
    ax.grid(axis="y", visible=False)
    recorded.percents(ax)
    ax.set_xlabel("← lower    test loss or perplexity    higher →", fontsize=9.5)
    ax.spines["left"].set_visible(False)
    figure.alt = " ".join(f"{name}: {percent(x[0])}." for name, x in figure.data.items()) or "Nothing is run yet."
    figure.note = _note(record for task in found for record in task.records)
    return figure


def _interval(ax: Axes, y: float, x: Comparison | None, ink: str) -> None:
    if x is None or x.mean is None or x.interval is None:
        said = "not run yet" if x is None else "{} and {} runs diverged".format(*x.diverged)
        ax.text(0.5, y, said, transform=ax.get_yaxis_transform(), fontsize=9, va="center", ha="center", color=GREY)
        return
    ax.plot(x.interval, [y, y], color=ink, linewidth=5, alpha=0.45, solid_capstyle="butt")
    ax.plot(x.mean, y, "o", color=ink)


def _note(records: Iterable[Record]) -> str:
    made = [record for record in records if not planning.tunes(record)]
    return show.provenance_note(made, recorded=True) if made else ""


def under(found: Sequence[Beside]) -> Markdown | None:
    """Nadam against Adam under each choice: whether the answer to one question depends on the other."""
    rows = [
        [_title(row.task), row.what, "not run yet" if row.x is None else _signed(row.x)]
        for task in found
        for row in task.under
        if task.records
    ]
    if not rows:
        return None
    return show.table(
        ["task", "with", "Nadam against Adam"],
        rows,
        "llr",
        name="tab-sensitivity-under",
        caption="The difference between Nadam and Adam under each choice, each at its own rate, with 95 % intervals.",
        note=_note(record for task in found for record in task.records),
    )


def changed(found: Sequence[Beside]) -> Markdown:
    """Under how many choices the sign of the difference between the two optimizers is that under the paper's own."""
    lines = []
    for task in found:
        means = [row.x.mean for row in task.under if row.x is not None and row.x.mean is not None]
        if len(means) > 1:
            same = sum(x * means[0] > 0 for x in means[1:])
            lines.append(f"on {_title(task.task)} under {same} of the {len(means) - 1}")
    said = f"The sign is that under the paper's own choices {_and(lines)} others."
    return _text(said if lines else "That is not run yet.")


# ---------------------------------------------------------------- maps

#: What is compared in a map: the optimizers, by what they are called.
PAIRS = {"Nadam (ICLR) / Adam": ("Nadam", "Adam"), "NAG / Momentum": ("NAG", "Momentum")}
USUAL = {"eps": 1e-8, "eps_root": 0.0, "bias_correction": True, "momentum_decay": None}
ν = 0.999


def _mu(spec: RunSpec) -> float:
    h = spec.hyperparameters
    return float(h["betas"][0] if "betas" in h else h["momentum"])


def _usual(spec: RunSpec) -> bool:
    """Whether all is as usual but μ, the rate and the batch."""
    h = spec.hyperparameters
    return h.get("betas", (0, ν))[1] == ν and all(h.get(name, x) == x for name, x in USUAL.items())


#: The test losses of one arm by rate and seed; +inf where a run diverged.
Losses = dict[float, dict[int, tuple[float, float]]]


def _losses(records: Iterable[Record]) -> Losses:
    """Development and test loss of every run, by rate and seed."""
    found: Losses = {}
    for r in records:
        found.setdefault(r.spec.lr, {})[r.spec.seed] = value(r, "dev_loss"), value(r, "test_loss")
    return found


def _at_best(losses: Losses) -> tuple[list[float], bool]:
    """The test loss of each seed at the rate that the other seeds choose on the development set; whether at an end.

    So no seed has a say in the rate at which it is reported.
    """
    rates, out, ends = sorted(losses), [], False
    seeds = sorted(losses[rates[0]])
    for seed in seeds:
        mean = {lr: sum(math.log(losses[lr][s][0]) for s in seeds if s != seed) for lr in rates}
        best = min(rates, key=lambda lr: mean[lr])
        ends |= best in (rates[0], rates[-1])
        out.append(losses[best][seed][1])
    return out, ends


class Field(NamedTuple):
    """A map: mean differences `[μ, x]` and whether each is clear of 0. ±inf: one of the two diverged; nan: both."""

    x: Sequence[float]
    μ: Sequence[float]
    mean: Array
    clear: Array


def _difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, bool]:
    if all(map(math.isinf, first)) and all(map(math.isinf, second)):
        return math.nan, False
    d = log_differences(first, second)
    if not np.isfinite(d).all():
        return float(np.sign(d[~np.isfinite(d)].sum())) * math.inf if d[~np.isfinite(d)].sum() else math.nan, True
    interval = t_interval(d)
    return float(d.mean()), interval is not None and interval[0] * interval[1] > 0


def _field(records: Sequence[Record], first: str, second: str, over: str) -> Field:
    """A map of a pair over μ and the rate, or over μ and the batch at the best rates."""
    of: dict[tuple[str, float, int], list[Record]] = {}
    for r in records:
        if _usual(r.spec):
            of.setdefault((r.spec.optimizer, _mu(r.spec), r.spec.batch), []).append(r)
    batch = load().task("digits").batch
    if over == "rate":
        μ = sorted({m for name, m, b in of if name == first and b == batch})
        x = sorted({r.spec.lr for r in of[first, μ[0], batch]})
    else:
        sizes = sorted({b for _, _, b in of})
        μ = sorted({m for _, m, _ in of if all((first, m, b) in of for b in sizes)})
        x = [float(b) for b in sizes]
    mean, clear = np.full((len(μ), len(x)), np.nan), np.zeros((len(μ), len(x)), dtype=bool)
    for i, m in enumerate(μ):
        for j, at in enumerate(x):
            if over == "rate":
                one, two = (_losses(of[name, m, batch])[at] for name in (first, second))
                pair = [[run[s][1] for s in sorted(run)] for run in (one, two)]
            else:
                pair = [_at_best(_losses(of[name, m, int(at)]))[0] for name in (first, second)]
            mean[i, j], clear[i, j] = _difference(*pair)
    return Field(x, μ, mean, clear)


def _draw(ax: Axes, field: Field) -> Any:
    """Cells, a dot where the difference is clear, a cross where both diverged, and the line at zero."""
    shown = np.ma.masked_invalid(np.clip(field.mean, -MOST, MOST))
    norm = TwoSlopeNorm(0.0, -MOST, MOST)
    mesh = ax.pcolormesh(shown, cmap="RdBu_r", norm=norm, edgecolors="face", linewidth=0.2)
    for i, j in np.ndindex(field.mean.shape):
        if np.isnan(field.mean[i, j]):
            ax.plot(j + 0.5, i + 0.5, "x", color=GREY, markersize=5)
        elif field.clear[i, j]:
            ax.plot(j + 0.5, i + 0.5, ".", color="#1f2328", markersize=4)
    centres = np.arange(field.mean.shape[1]) + 0.5, np.arange(field.mean.shape[0]) + 0.5
    if (shown.min() < 0 < shown.max()) and min(field.mean.shape) > 1:
        ax.contour(*centres, shown, levels=[0.0], colors="#1f2328", linewidths=1.2)
    ax.set_xticks(centres[0], [f"{x:.2g}" if x < 10 else f"{x:.0f}" for x in field.x], rotation=60, fontsize=8.5)
    ax.set_yticks(centres[1], [f"{m:g}" for m in field.μ], fontsize=9)
    ax.grid(False)
    return mesh


def _bar(figure: Picture, mesh: Any, axes: Any) -> None:
    bar = figure.colorbar(mesh, ax=list(axes), fraction=0.04, pad=0.02)
    marks = [-0.5, -0.25, 0.0, 0.25, 0.5]
    bar.set_ticks([math.log1p(x) for x in marks], labels=[f"{x:+.0%}".replace("%", " %") if x else "0" for x in marks])
    bar.ax.tick_params(labelsize=8.5)


def maps(records: Sequence[Record], curvature: Mapping[str, float] | None = None) -> Picture | None:
    """log(first / second) of both pairs over the rate and μ, and beside it what chapters 2 and 3 expect.

    `curvature`: the largest curvature λ that each pair's steps meet, by the second of the pair. Solid: where momentum
    diverges on a quadratic of that curvature. Dashed: where a look-ahead changes μ by a tenth, ηλ = .1.
    """
    if not records:
        return None
    figure = Picture(figsize=(WIDTH, 7.2))
    axes = figure.subplots(2, 1)
    for ax, (title, (first, second)) in zip(axes, PAIRS.items(), strict=True):
        field = _field(records, first, second, "rate")
        mesh = _draw(ax, field)
        if curvature and second in curvature:
            _expected(ax, field, curvature[second], mean=second == "Adam")
        ax.set(title=title, xlabel="learning rate η", ylabel="μ")
        figure.data |= {f"{title}: μ = {m:g}": row for m, row in zip(field.μ, field.mean, strict=True)}
        figure.data[f"{title}: η"] = np.array(field.x)
    _bar(figure, mesh, axes)
    figure.alt = " ".join(_seen(title, records, *pair) for title, pair in PAIRS.items())
    figure.note = show.provenance_note(records, recorded=True)
    return figure


def _expected(ax: Axes, field: Field, λ: float, *, mean: bool) -> None:
    """Where momentum becomes unstable, and where η λ is a tenth; a mean has (1 − μ) η for its rate."""
    μ = np.array([m for m in field.μ if m < 1])
    own = 1 - μ if mean else np.ones_like(μ)
    for level, style in ((2 * (1 + μ), "-"), (np.full_like(μ, TENTH), "--")):
        place = np.interp(np.log(level / (λ * own)), np.log(field.x), np.arange(len(field.x)), math.nan, math.nan)
        ax.plot(place + 0.5, np.arange(len(μ)) + 0.5, color="#00795A", linestyle=style, linewidth=2)


def _clear(field: Field) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The cells where the first is clearly lower, and where it is clearly higher."""
    cells = [(i, j) for i, j in np.ndindex(field.mean.shape) if field.clear[i, j] and not np.isnan(field.mean[i, j])]
    return [c for c in cells if field.mean[c] < 0], [c for c in cells if field.mean[c] > 0]


def _seen(title: str, records: Sequence[Record], first: str, second: str) -> str:
    field = _field(records, first, second, "rate")
    lower, higher = map(len, _clear(field))
    return f"{title}: clearly lower in {lower} of {field.mean.size} cells, clearly higher in {higher}."


def where(records: Sequence[Record], curvature: Mapping[str, float]) -> Markdown | None:
    """How large the differences are where the look-ahead was expected to matter, and elsewhere."""
    if not records:
        return None
    lines = []
    for title, (first, second) in PAIRS.items():
        field, λ = _field(records, first, second, "rate"), curvature[second]
        lower, higher = _clear(field)
        own = [1 - m if second == "Adam" else 1.0 for m in field.μ]
        sizes: dict[bool, list[float]] = {True: [], False: []}
        for i, j in np.ndindex(field.mean.shape):
            if field.μ[i] and not np.isnan(field.mean[i, j]):
                sizes[field.x[j] * own[i] * λ >= TENTH].append(abs(float(field.mean[i, j])))
        typical = {large: percent(float(np.median(found)) if found else 0.0) for large, found in sizes.items()}
        lines.append(
            f"- **{title}**: the median difference, whichever way, is {typical[True].lstrip('+')} where a look-ahead "
            f"changes $\\mu$ by a tenth or more ({len(sizes[True])} cells), and {typical[False].lstrip('+')} elsewhere "
            f"({len(sizes[False])}). Over all, the first is clearly lower in {len(lower)} cells and clearly higher in "
            f"{len(higher)}."
        )
    return _text(*lines)


def batches(records: Sequence[Record]) -> Picture | None:
    """log(first / second) over the size of the batch and μ, each at its best rate."""
    if not records:
        return None
    figure = Picture(figsize=(WIDTH, 5.6))
    axes = figure.subplots(2, 1)
    for ax, (title, pair) in zip(axes, PAIRS.items(), strict=True):
        field = _field(records, *pair, "batch")
        mesh = _draw(ax, field)
        ax.set(title=title, xlabel="examples in a batch", ylabel="μ")
        figure.data |= {f"{title}: μ = {m:g}": row for m, row in zip(field.μ, field.mean, strict=True)}
        figure.data[f"{title}: batch"] = np.array(field.x)
    _bar(figure, mesh, axes)
    figure.alt = " ".join(
        f"{title}: from {percent(float(np.nanmin(f.mean)))} to {percent(float(np.nanmax(f.mean)))}."
        for title, pair in PAIRS.items()
        for f in [_field(records, *pair, "batch")]
    )
    figure.note = show.provenance_note(records, recorded=True)
    return figure


def noise(records: Sequence[Record]) -> Markdown | None:
    """How large the differences are with small batches and with large ones."""
    if not records:
        return None
    lines = []
    for title, pair in PAIRS.items():
        field = _field(records, *pair, "batch")
        sizes = [np.abs(column[np.isfinite(column)]) for column in field.mean.T]
        typical = [percent(float(np.median(x))).lstrip("+") for x in sizes]
        lower, higher = _clear(field)
        lines.append(
            f"- **{title}**: the median difference over $\\mu$, whichever way, is {typical[0]} with {field.x[0]:.0f} "
            f"examples and {typical[-1]} with {field.x[-1]:.0f}; the first is clearly lower in {len(lower)} of "
            f"{field.mean.size} cells and clearly higher in {len(higher)}."
        )
    return _text(*lines)


# ---------------------------------------------------------------- one setting at a time

BASE = "as usual"


def _setting(spec: RunSpec) -> str | None:
    """What a run at μ = .9 changes of the usual settings; None for a run of the maps."""
    h, batch = spec.hyperparameters, load().task("digits").batch
    if _mu(spec) != 0.9 or spec.batch != batch:
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
        found.setdefault(name, {})[optimizer] = _at_best(_losses(runs))
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
        mean, sure = _difference(found[name]["Adam"][0], base["Adam"][0])
        clear += [f"{name} ({percent(mean)})"] * sure
        own = log_differences(found[name]["Nadam"][0], found[name]["Adam"][0])
        usual = log_differences(base["Nadam"][0], base["Adam"][0])
        interval = t_interval(own - usual) if np.isfinite(own - usual).all() else None
        gaps += [name] * (interval is not None and interval[0] * interval[1] > 0)
    count = len([name for name in found if name != BASE and "Adam" in found[name]])
    text = f"Of {count} settings, {len(clear)} clearly change Adam's test loss{': ' * bool(clear)}{_and(clear)}. "
    text += f"The difference between Nadam and Adam is clearly another one under {len(gaps)} of them"
    return _text(text + (f": {_and(gaps)}." if gaps else "."))


# ---------------------------------------------------------------- budget


class Contest(NamedTuple):
    """The nine methods on one task: the median best log metric of k of the tried rates, for k from 1."""

    task: str
    profile: str
    curves: Mapping[str, Array]
    note: str

    @property
    def title(self) -> str:
        return f"{_title(self.task)} ({self.profile})"

    @property
    def most(self) -> int:
        """The largest k, the number of rates that every method has tried."""
        return len(next(iter(self.curves.values())))

    def order(self, k: int) -> list[str]:
        """The methods, the best first, with k rates."""
        return sorted(self.curves, key=lambda name: (self.curves[name][k - 1], name))


#: The packs that may have tuning runs of the methods, in the book's order.
PACKS = (
    "word2vec-paper",
    "word2vec-small",
    "images-small",
    "language_model-small",
    "autoencoder-small",
    "digits-small",
)


def contest(names: Sequence[str] = PACKS) -> list[Contest]:
    """What is recorded of the search, of every pack that is there."""
    return [_contest(records) for name in names if (records := read(name))]


def _contest(records: Sequence[Record]) -> Contest:
    spec = records[0].spec
    tuned = [r for r in records if planning.tunes(r)]
    tried = planning.rates(tuned)
    methods = {name: list(tried[name].values()) for name in RULES if name in tried}
    most = min(map(len, methods.values()))
    curves = {name: np.array([median_best(values, k) for k in range(1, most + 1)]) for name, values in methods.items()}
    return Contest(spec.task, spec.profile, curves, show.provenance_note(tuned, recorded=True))


def budget(found: Sequence[Contest]) -> Picture:
    """For each task, the median best of k rates, above the best of all at the largest k, by method."""

    def above(it: Contest) -> Mapping[str, Array]:
        least = min(curve[-1] for curve in it.curves.values())
        return {name: curve - least for name, curve in it.curves.items()}

    figure, axes = _panels(found, above)
    for ax in axes:
        ax.set_ylim(-0.03, MOST)
        ax.set_yticks(np.log1p([0, 0.1, 0.25, 0.5, 1.0]), ["0", "10 %", "25 %", "50 %", "100 %"])
    figure.supylabel("development metric above the best", fontsize=10)
    figure.data |= {f"{it.title}: {name}": curve for it in found for name, curve in it.curves.items()}
    figure.alt = " ".join(f"{it.title}: with one rate {it.order(1)[0]} is first." for it in found)
    return figure


def places(found: Sequence[Contest]) -> Picture:
    """For each task, the place of every method, by the number of rates tried."""

    def ranks(it: Contest) -> Mapping[str, Array]:
        orders = [it.order(k) for k in range(1, it.most + 1)]
        return {name: np.array([1.0 + order.index(name) for order in orders]) for name in it.curves}

    figure, axes = _panels(found, ranks)
    for ax, it in zip(axes, found, strict=True):
        ax.set_ylim(len(it.curves) + 0.5, 0.5)
        ax.set_yticks(range(1, len(it.curves) + 1))
        figure.data |= {f"{it.title}: {name}": rank for name, rank in ranks(it).items()}
    figure.supylabel("place", fontsize=10)
    figure.alt = " ".join(f"{it.title}, with {it.most} rates: {', '.join(it.order(it.most))}." for it in found)
    return figure


def _panels(found: Sequence[Contest], values: Callable[[Contest], Mapping[str, Array]]) -> tuple[Picture, list[Axes]]:
    """A panel for each task, with a line for each method against the number of rates."""
    figure = Picture(figsize=(7.0, 0.9 + 2.3 * math.ceil(len(found) / 2)))
    grid = figure.subplots(math.ceil(len(found) / 2), 2, squeeze=False)
    for ax in list(grid.flat)[len(found) :]:
        ax.remove()
    axes = list(grid.flat)[: len(found)]
    for ax, it in zip(axes, found, strict=True):
        k = np.arange(1, it.most + 1)
        for name, y in values(it).items():
            ax.plot(k, y, **look(name), label=name)
        ax.set(title=it.title, xlabel="rates tried, k")
        ax.set_xticks(k)
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9)
    figure.note = " · ".join(dict.fromkeys(it.note for it in found))
    return figure, axes


def ordered(found: Sequence[Contest]) -> Markdown:
    """How the order of the methods changes from one rate to all of them."""
    lines = []
    for it in found:
        last = it.most
        first, end = it.order(1), it.order(last)
        moved = {name: abs(first.index(name) - end.index(name)) for name in end}
        most = max(moved, key=lambda name: moved[name])
        pairs = [(a, b) for i, a in enumerate(end) for b in end[i + 1 :]]
        turned = sum(first.index(a) > first.index(b) for a, b in pairs)
        lines.append(
            f"- **{it.title}**: {first[0]} is first with one rate, {end[0]} with {last}; {turned} of {len(pairs)} "
            f"pairs of methods change places, and {most} moves most, from place {first.index(most) + 1} to "
            f"{end.index(most) + 1}."
        )
    return _text(*lines)


# ---------------------------------------------------------------- power


class Seen(NamedTuple):
    """Nadam against Adam as it was seen: the spread over pairs, their number, the mean difference."""

    title: str
    spread: float
    n: int
    mean: float
    records: Sequence[Record]


def powerful(names: Sequence[str] = PACKS) -> list[Seen]:
    """The packs with Nadam and Adam, all of whose pairs have a result."""
    found = []
    for name in names:
        task, profile = name.rsplit("-", 1)
        evidence = recorded.of(task, profile).evidence
        arms = evidence[task] if evidence else {}
        if {"Nadam", "Adam"} <= arms.keys():
            x = compare(arms["Nadam"], arms["Adam"], reported_metric(task))
            if x.mean is not None and x.n > 2:
                records = [r for arm in ("Nadam", "Adam") for r in arms[arm].runs.values()]
                title = f"{_title(task)} ({profile})"
                found.append(Seen(title, float(x.differences.std(ddof=1)), x.n, x.mean, records))
    return found


def needed(spread: float, effect: float, most: int = 1000) -> int | None:
    """Pairs with which such a difference is probably seen (α = .05, power .8); None for more than `most`."""
    low, high = 6, most
    if detectable(spread, high) > effect:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if detectable(spread, middle) <= effect else (middle + 1, high)
    return low


def power(found: Sequence[Seen]) -> Picture:
    """The smallest difference that n pairs probably show at each task's spread; the marks are what was seen."""
    figure = Picture(figsize=(WIDTH, 3.9))
    ax = figure.subplots()
    n = np.unique(np.geomspace(6, 200, 60).astype(int))
    for i, it in enumerate(found):
        ink = ("#0072B2", "#C94A00", "#00795A", "#A0568A", "#57606a", "#8a6d00")[i % 6]
        y = np.array([detectable(it.spread, int(k)) for k in n])
        ax.plot(n, y, color=ink, label=it.title)
        ax.plot(it.n, abs(it.mean), ("o", "s", "^", "D", "v", "P")[i % 6], color=ink)
        figure.data |= {f"{it.title}: pairs": n.astype(float), f"{it.title}: smallest difference": y}
        figure.data[f"{it.title}: pairs run, difference seen, spread"] = np.array([it.n, it.mean, it.spread])
    ax.set(xscale="log", yscale="log", xlabel="pairs of seeds", ylabel="difference that is probably seen")
    ax.set_xticks([6, 10, 20, 50, 100, 200], ["6", "10", "20", "50", "100", "200"])
    marks = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
    low, high = ax.get_ylim()
    ax.set_yticks(marks, [f"{100 * x:g} %" for x in marks])
    ax.set_ylim(low, high)
    ax.minorticks_off()
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    figure.alt = " ".join(f"{it.title}: {_asked(it)}." for it in found)
    figure.note = show.provenance_note((r for it in found for r in it.records), recorded=True)
    return figure


def _asked(it: Seen) -> str:
    wanted = needed(it.spread, abs(it.mean))
    return "more than 1,000 pairs" if wanted is None else f"{wanted} pairs"


def awaited(found: Sequence[Seen]) -> Markdown:
    """How many pairs the difference that was seen would take, beside those that were run."""
    return show.table(
        ["task", "spread over pairs", "difference seen", "pairs run", "pairs it takes"],
        [[it.title, f"{it.spread:.3f}", percent(it.mean), it.n, _asked(it)] for it in found],
        "lrrrr",
        name="tab-sensitivity-power",
        caption="Nadam against Adam: the standard deviation over pairs of the difference in the logarithm, and the "
        "pairs with which a difference of the size seen is found with a probability of .8 at the level .05.",
        note=show.provenance_note((r for it in found for r in it.records), recorded=True),
    )


def certain(names: Sequence[str] = PACKS) -> Markdown:
    """How certain the chosen rates of Adam and Nadam are: shares of the bootstrap, and the price of the neighbour."""
    rows, records = [], list[Record]()
    for name in names:
        task, profile = name.rsplit("-", 1)
        evidence = recorded.of(task, profile).evidence
        for arm in (evidence[task][x] for x in ("Adam", "Nadam") if evidence and x in evidence[task]):
            tried = {row.lr: criterion(list(row.runs.values())) for row in arm.tuning}
            others = sorted(tried[lr] - tried[arm.lr] for lr in tried if lr != arm.lr)
            shares = rate_shares(arm)
            title = f"{_title(task)} ({profile})"
            rows.append(
                [title, arm.name, f"{arm.lr:g}", f"{shares[arm.lr]:.0%}".replace("%", " %"), percent(others[0])]
            )
            records += [r for row in arm.tuning for r in row.runs.values()]
    return show.table(
        ["task", "method", "rate", "chosen again in", "the next best rate"],
        rows,
        "llrrr",
        name="tab-sensitivity-rates",
        caption="How certain a chosen rate is: the share of all draws of the tuning seeds with repetition that choose "
        "it again, and how much higher the development metric of the second-best rate is.",
        note=show.provenance_note(records, recorded=True) if records else "",
    )

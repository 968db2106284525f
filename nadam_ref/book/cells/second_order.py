"""What the chapter on second-order methods shows: the turned ravine, recorded runs by three clocks, n̂ and curvature."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from IPython.display import Markdown
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from ...experiments import second_order_study as study
from ...experiments.datasets import DataError
from ...experiments.protocol import planning
from ...experiments.runs.record import Record
from ...experiments.runs.training import Training
from ...experiments.second_order import curvature, methods
from ...experiments.tasks import TASKS
from ...rules import RULES
from ..widgets import presets, surfaces
from . import recorded, show
from .figures import OFF_DIAGONAL, PENS, RAVINE, SECOND_ORDER, Picture, look, plain
from .show import markdown

__all__ = [
    *("clocks", "costs", "ended", "judged", "notice", "ravine"),
    *("scatter", "scatter_said", "setting", "turned", "turned_said"),
]

Array = NDArray[np.float64]

# ---------------------------------------------------------------- the turned ravine

#: A path has arrived where the loss is, and stays, below this part of its first value.
ARRIVED = 1e-3
STEPS = 300
#: The same for the methods that use curvature between coordinates, whose steps cost more and which arrive within ten.
CURVED_STEPS = 50
ANGLES = tuple(range(0, 91, 10))
RATES = np.array([presets.rate_at(place) for place in range(-120, 41, 5)])


def _start(angle: float) -> Array:
    """The same place in the ravine, however it is turned."""
    a, (x, y) = math.radians(angle), OFF_DIAGONAL
    return np.array([x * math.cos(a) - y * math.sin(a), x * math.sin(a) + y * math.cos(a)])


def steps_to(losses: Array) -> Array:
    """Steps after which a loss `[T+1, …]` stays below `ARRIVED` of its first value; NaN where it does not."""
    above = ~(losses <= ARRIVED * losses[0])
    last = len(above) - 1 - above[::-1].argmax(axis=0)
    return np.where(last == len(above) - 1, np.nan, last + 1.0)


def first_order(name: str, angle: int) -> float:
    """Steps that one of the ten optimizers takes in the ravine turned by an angle, at the best of all rates there."""
    surface = surfaces.SURFACES["ravine"].turned(angle)
    state = presets.on("ravine", name, start=tuple(_start(angle)))
    with np.errstate(all="ignore"):
        path = presets._path(name, state, surface, STEPS, RATES[:, None], [0])
        return float(np.nanmin(np.append(steps_to(surface.f(path)[:, 0]), np.inf)))


@functools.cache
def _rate() -> float:
    """The best rate of full-matrix AdaGrad without a turn, which is the best at every angle."""
    return min(map(float, RATES[-12:]), key=lambda lr: (arrival("full-matrix AdaGrad", 0, lr), lr))


def arrival(name: str, angle: int, lr: float) -> float:
    """The same of a method of this chapter, at a rate if it has one."""
    f, start = ravine(angle), torch.tensor(_start(angle))
    points: dict[str, Callable[..., Iterator[Tensor]]] = {
        "Newton": methods.newton,
        "L-BFGS": _lbfgs,
        "full-matrix AdaGrad": functools.partial(methods.full_adagrad, lr=lr),
    }
    found = itertools.islice(points[name](f, start), CURVED_STEPS)
    losses = np.array([float(f(start)), *(float(f(θ)) for θ in found)])
    return float(np.nan_to_num(steps_to(losses[:, None])[0], nan=np.inf))


def _lbfgs(f: Any, θ: Tensor) -> Iterator[Tensor]:
    method = methods.LBFGS(θ)
    while True:
        method.step(f)
        yield method.θ.detach()


def ravine(angle: float) -> Callable[[Tensor], Tensor]:
    """The ravine turned by an angle in degrees, as a function for torch."""
    a = math.radians(angle)
    Q = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], dtype=torch.float64)
    H = Q @ torch.diag(torch.tensor(RAVINE)) @ Q.T
    return lambda θ: 0.5 * θ @ H @ θ


@functools.cache
def _turns() -> dict[str, Array]:
    """Steps against the angle, by method."""
    found = {name: np.array([first_order(name, angle) for angle in ANGLES]) for name in RULES}
    return found | {name: np.array([arrival(name, angle, _rate()) for angle in ANGLES]) for name in SECOND_ORDER}


PANELS = {"a norm, for each coordinate": ("sum", "rms", "max"), "no norm": ("none",)}


def turned() -> Picture:
    """Steps against the angle by which the ravine is turned: methods with a norm, and without; in both, the others."""
    found = _turns()
    figure = Picture(figsize=(7.6, 4.2))
    axes = figure.subplots(1, 2, sharey=True)
    for ax, (title, norms) in zip(axes, PANELS.items(), strict=True):
        for name in (name for name, rule in RULES.items() if rule.norm in norms):
            ax.plot(ANGLES, found[name], **look(name), markevery=2, label=name)
        for name in SECOND_ORDER:
            ax.plot(ANGLES, found[name], **look(name), markevery=2, label=name)
        ax.set(title=title, xlabel="turned by (degrees)", yscale="log", xticks=range(0, 91, 15))
        plain(ax.yaxis)
    axes[0].set_ylabel("steps")
    handles: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=5)
    figure.data = {"degrees": np.array(ANGLES, dtype=float)} | found
    figure.alt = turned_said().data
    return figure


def turned_said() -> Markdown:
    """The least and the most steps over the angles, of each kind of method."""
    found = _turns()
    normed = [name for name, rule in RULES.items() if rule.norm != "none"]
    steepest = max(normed, key=lambda name: found[name].max() / found[name].min())
    x = found[steepest]
    free = min(found[name].min() for name, rule in RULES.items() if rule.norm == "none")
    second = ", ".join(f"{name} {_span(found[name])}" for name in SECOND_ORDER)
    return markdown(
        f"Turn a ravine under an optimizer, and each of the {len(normed)} methods that divide coordinate by coordinate "
        f"takes a different number of steps: {steepest}, at its best rate for each angle, from {x.min():.0f} to "
        f"{x.max():.0f}. The {len(RULES) - len(normed)} without a norm do not notice the turn, and take at least "
        f"{free:.0f} at any angle. Steps of the methods that use curvature between coordinates: {second}."
    )


def _span(x: Array) -> str:
    return f"{x.min():.0f}" if x.min() == x.max() else f"{x.min():.0f} to {x.max():.0f}"


# ---------------------------------------------------------------- recorded runs


def records() -> list[Record]:
    """The recorded runs; none where there is no such pack."""
    try:
        return recorded.runs("second-order")
    except (DataError, NotADirectoryError, FileNotFoundError):
        return []


@functools.cache
def _reported() -> dict[str, list[Record]]:
    """The reported runs by arm."""
    runs: dict[str, list[Record]] = {}
    for record in records():
        if record.spec.seed in study.REPORTED:
            runs.setdefault(study.arm(record.spec), []).append(record)
    return {name: runs[name] for name in study.ARMS if name in runs}


def notice() -> Markdown | None:
    """What to do where the runs are not recorded."""
    if _reported():
        return None
    return markdown("The runs of this section are not recorded yet; `nadam-ref curvature` makes them.")


def _look(name: str) -> dict[str, Any]:
    inks = {"L-BFGS": PENS[5], "Hessian-free": PENS[4]}
    if name in inks:
        return {"color": inks[name][0], "marker": inks[name][1], "linewidth": 2.4}
    style = look("GD" if name.startswith("GD") else name)
    return style | ({"linestyle": "-", "fillstyle": "full"} if name == "GD" else {})


def _course(record: Record) -> tuple[Array, Array]:
    passes, losses = study.by_passes(record)
    return np.array(passes), np.array(losses)


def _steps(record: Record) -> Array:
    """The steps made at the places of a course."""
    passes = _course(record)[0]
    if "passes" in record.curves:
        return np.arange(len(passes), dtype=np.float64)
    return np.asarray(passes * (study.IMAGES / record.spec.batch))


def at(record: Record, passes: float) -> float:
    """The lowest training loss that a run has shown within so many passes."""
    x, y = _course(record)
    return float(y[x <= passes].min())


def _budget() -> float:
    """Passes that every reported run has made."""
    return float(int(min(_course(record)[0][-1] for runs in _reported().values() for record in runs)))


def _seconds(record: Record) -> float:
    """Seconds of a processor for a pass."""
    steps = record.spec.steps * record.spec.batch / study.IMAGES
    made = record.curves["passes"][-1] if "passes" in record.curves else steps
    return float(record.provenance["cpu_seconds"]) / made


def clocks() -> Picture | None:
    """Training loss by steps, by passes over the images, and by time; a line for each seed."""
    if not _reported():
        return None
    figure = Picture(figsize=(9.6, 4.0))
    axes = figure.subplots(1, 3, sharey=True)
    budget = _budget()
    for name, runs in _reported().items():
        for i, record in enumerate(runs):
            x, y = _course(record)
            keep = x <= budget
            scales = {"step": np.maximum(_steps(record), 0.5), "passes": x, "seconds": x * _seconds(record)}
            for ax, (label, values) in zip(axes, scales.items(), strict=True):
                style = _look(name) | {"alpha": 0.85, "markersize": 4.5}
                every = max(1, keep.sum() // 6)
                ax.plot(values[keep], y[keep], **style, markevery=every, label=name if i == 0 else None)
                figure.data[f"{name}, seed {record.spec.seed}: {label}"] = values[keep]
            figure.data[f"{name}, seed {record.spec.seed}: training loss"] = y[keep]
    for ax, label in zip(axes, ("step", "passes over the images", "processor time (s)"), strict=True):
        ax.set(xlabel=label, yscale="log")
        plain(ax.yaxis)
    axes[0].set(xscale="log", ylabel="training loss")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    means = {name: _mean(name) for name in _reported()}
    ranked = ", ".join(f"{name} {means[name]:.4f}" for name in sorted(means, key=lambda name: means[name]))
    figure.alt = f"Mean training loss after {budget:g} passes, from lowest to highest: {ranked}."
    figure.note = show.provenance_note([r for runs in _reported().values() for r in runs], recorded=True)
    return figure


def _mean(name: str) -> float:
    """Geometric mean over seeds of the training loss within the budget."""
    return float(np.exp(np.mean([math.log(at(record, _budget())) for record in _reported()[name]])))


def setting() -> Markdown | None:
    """What is trained, and how each arm's rate was found."""
    if not _reported():
        return None
    size = TASKS[study.TASK].SIZES[study.PROFILE]
    return markdown(
        f"The network is {{doc}}`24_autoencoder`'s at its size `{study.PROFILE}`: {size.code} numbers in the code. "
        f"It is trained on the first {study.IMAGES} training images of MNIST alone, so that a step on all of them is "
        f"affordable. Mini-batches have {study.BATCH} images. The rates were chosen by the search of the protocol, "
        f"with at most {study.MOST} rates each, on {len(study.TUNING)} seeds that are not shown, by the training loss "
        f"at the end. {len(study.REPORTED)} other seeds are shown. L-BFGS and Hessian-free optimization ran at their "
        "defaults."
    )


def ended() -> Markdown | None:
    """Where each arm ends at equal passes, with its rate and what a pass takes of a processor."""
    if not _reported():
        return None
    rows = []
    for name in sorted(_reported(), key=_mean):
        runs = _reported()[name]
        ends = [at(record, _budget()) for record in runs]
        steps = np.mean([_steps(record)[_course(record)[0] <= _budget()].max() for record in runs])
        seconds = 1e3 * float(np.median([_seconds(record) for record in runs]))
        rate = f"{runs[0].spec.lr:g}" if study.ARMS[name].middle else "—"
        rows.append(
            [name, rate, f"{steps:,.0f}", f"{_mean(name):.4f} ({min(ends):.4f}–{max(ends):.4f})", f"{seconds:.0f}"]
        )
    return show.table(
        ["method", r"rate $\eta$", "steps", "training loss", "ms a pass"],
        rows,
        "lrrrr",
        name="tab-second-order-ended",
        caption=f"After {_budget():g} passes: mean training loss and range over {len(study.REPORTED)} seeds.",
        note=show.provenance_note([r for runs in _reported().values() for r in runs], recorded=True),
    )


def judged() -> Markdown | None:
    """Hessian-free optimization against gradient descent, and against the best method, at equal passes."""
    if not _reported():
        return None
    mine, best = _mean("Hessian-free"), min(_reported(), key=_mean)
    said = [
        f"a loss {'lower' if mine < _mean(name) else 'higher'} than {words} by a factor of "
        f"{max(mine / _mean(name), _mean(name) / mine):.1f}"
        for name, words in (
            ("GD", "gradient descent on all images"),
            ("GD, mini-batches", "gradient descent on mini-batches"),
        )
    ]
    lowest = f"The lowest loss is that of {best}"
    if best != "Hessian-free":
        lowest += f", {mine / _mean(best):.1f} times lower than that of Hessian-free optimization"
    return markdown(f"At {_budget():g} passes Hessian-free optimization has reached {' and '.join(said)}. {lowest}.")


# ---------------------------------------------------------------- n̂ and the Hessian


@functools.cache
def _diagonals(steps: int = 60) -> tuple[Array, Array, Array, str]:
    """√n̂ of Adam after some steps on the small digits network, |H_ii| there over the training images, layers, data."""
    first = next(s for s in planning.specs("small", "digits", "digits") if s.optimizer == "Adam")
    training = Training(first)
    while training.log.step < steps:
        training.advance()
    adam = training.optimizer
    found = torch.cat([_second_moment(adam, x).flatten() for x in training.params.values()])
    θ, named = curvature.flat(training.params)
    images, labels = (torch.tensor(x) for x in training.data.split("train"))
    batch = (training.task.inputs(images, training.data.white, torch.float32), labels)  # type: ignore[attr-defined]
    H = curvature.diagonal(lambda θ: training.task.loss(training.size, named(θ), batch)[0], θ)
    layer = np.concatenate([np.full(x.numel(), i // 2) for i, x in enumerate(training.params.values())])
    return found.sqrt().double().numpy(), H.abs().double().numpy(), layer.astype(float), training.data.label


def _second_moment(adam: Any, x: Tensor) -> Tensor:
    """Adam's n̂ of a parameter."""
    state, ν = adam.state[x], adam.param_groups[0]["betas"][1]
    n: Tensor = state["exp_avg_sq"] / (1 - ν ** int(state["step"]))
    return n


def scatter() -> Picture:
    """√n̂ against |H_ii|, a point for each parameter, on logarithmic axes."""
    root, H, layer, label = _diagonals()
    seen = (root > 0) & (H > 0)
    figure = Picture(figsize=(5.0, 4.6))
    ax: Axes = figure.subplots()
    for i in np.unique(layer):
        mine = seen & (layer == i)
        ink, marker = PENS[int(i)]
        ax.scatter(
            H[mine], root[mine], s=7, color=ink, marker=marker, alpha=0.45, linewidths=0, label=f"layer {i + 1:.0f}"
        )
    ends = np.array([H[seen].min(), H[seen].max()])
    for power, words, dash in ((1.0, "like $|H|$", (0, (4, 2))), (0.5, r"like $\sqrt{|H|}$", "-")):
        level = np.median(root[seen] / H[seen] ** power)
        ax.plot(ends, level * ends**power, color="#57606a", linewidth=1.2, linestyle=dash, label=words)
    ax.set(xscale="log", yscale="log", xlabel=r"$|H_{ii}|$", ylabel=r"$\sqrt{\hat n_i}$")
    ax.set_xlim(np.quantile(H[seen], 0.005), 1.5 * H.max())
    ax.set_ylim(np.quantile(root[seen], 0.005), 1.5 * root.max())
    ax.legend(fontsize="small", loc="upper left", markerscale=2)
    figure.data = {"|H_ii|": H, "root of n": root, "layer": layer + 1}
    figure.alt = scatter_said().data
    figure.note = f"profile small · data {label} · one tuning seed"
    return figure


def scatter_said() -> Markdown:
    """How well √n̂ ranks the parameters as the Hessian's diagonal does, and how it grows with it."""
    root, H, _, _ = _diagonals()
    seen = (root > 0) & (H > 0)
    ρ = float(spearmanr(root[seen], H[seen]).statistic)
    low, high = np.quantile(root[seen] / H[seen], [0.05, 0.95])
    return markdown(
        f"Of {len(root):,} parameters, {seen.sum():,} have both numbers above zero. Their rank correlation is {ρ:.2f}. "
        f"But the two are not proportional: leaving out 5 % on either side, the largest ratio √n̂ / |H| is "
        f"{high / low:,.0f} times the smallest. Where |H| is ten times as large, √n̂ is {10 ** growth(root, H):.1f} "
        "times as large."
    )


def growth(root: Array, H: Array) -> float:
    """The power of H that `root` grows like: the slope between the logarithms, by the ratio of their spreads."""
    seen = (root > 0) & (H > 0)
    x, y = np.log(H[seen]), np.log(root[seen])
    spread = np.subtract(*np.quantile(y, [0.75, 0.25])) / np.subtract(*np.quantile(x, [0.75, 0.25]))
    return float(spread)


# ---------------------------------------------------------------- costs

BYTES = 4


def held_and_moved(d: int, history: int = 10, k: int = 50) -> dict[str, tuple[float, float]]:
    """Numbers that a method keeps besides θ and g, and that its step moves at least, for d parameters.

    L-BFGS reads its history twice. An iterate of CG moves 12 d: two dot products, two updates of a vector and one of
    the direction. A matrix is read once. Products and gradients themselves are not counted.
    """
    return {
        "gradient descent": (0, 3 * d),
        "Adam": (2 * d, 7 * d),
        "Nadam": (2 * d, 7 * d),
        f"L-BFGS, history {history}": ((2 * history + 1) * d, 4 * history * d),
        f"Hessian-free, {k} products": (5 * d, 12 * k * d),
        "Newton": (d * d, d * d),
        "full-matrix AdaGrad": (d * d, 2 * d * d),
    }


#: What a step asks for besides a gradient, by the first letter of the method.
ASKS = {
    "L": "1 and a line search",
    "H": "1, {k} products and a few losses",
    "N": "1 and the Hessian",
    "f": "1 and all eigenvectors of the matrix",
}


def costs(d: int = 10**6, k: int = 50) -> Markdown:
    """What each method keeps and moves for so many parameters in float32."""
    rows = [
        [name, _amount(held), _amount(moved), "1" if name == "Nadam" else ASKS.get(name[0], "1").format(k=k)]
        for name, (held, moved) in held_and_moved(d, k=k).items()
    ]
    return show.table(
        ["method", "kept", "moved a step, at least", "gradients a step"],
        rows,
        "lrrl",
        name="tab-second-order-costs",
        caption=f"What each method costs for {d:,} parameters in float32, besides parameters and gradient.",
    )


def _amount(numbers: float) -> str:
    size, units = numbers * BYTES, ("B", "kB", "MB", "GB", "TB")
    power = min(len(units) - 1, int(math.log10(size) // 3)) if size else 0
    return f"{size / 1000**power:.4g} {units[power]}" if size else "nothing"

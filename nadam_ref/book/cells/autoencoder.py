"""What the chapter shows of autoencoders: the task, a film of six methods, Jones's own run, and the printed rates."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from IPython.display import Markdown
from torch import Tensor

from ...experiments.datasets.images import ImageData
from ...experiments.protocol import planning
from ...experiments.protocol.definition import profile_of
from ...experiments.published import reported
from ...experiments.reproductions import REPRODUCTIONS, jones_curves
from ...experiments.runs.record import Record
from ...experiments.runs.resources import arithmetic
from ...experiments.runs.spec import RunSpec
from ...experiments.runs.train import run
from ...experiments.runs.training import Training
from ...experiments.statistics.summary import value
from ...experiments.tasks.autoencoder import Autoencoder
from ...experiments.verdicts.arms import Arm, Evidence, rows
from ...experiments.verdicts.report import percent
from . import recorded, show
from .experiment.comparisons import where_run
from .experiment.plots import WIDTH
from .experiment.wording import listed
from .figures import Array, Picture, look, plain
from .recorded import Recorded
from .show import markdown

__all__ = [
    *("Film", "at_printed_rates", "dead", "film", "jones", "known", "losses", "luck", "named", "network", "orders"),
    *("printed_only", "printed_rates", "rates_beside", "search", "sizes", "spread", "strip", "undercut"),
]

TASK = "autoencoder"
NETWORK = Autoencoder()
INK, GREY, CODE = "#24292f", "#57606a", "#C94A00"
#: The film shows one of each of these digits.
DIGITS = (0, 4, 7)
#: Pixels a side of MNIST's images, for which the table counts parameters.
SIDE = 28


# ---------------------------------------------------------------- the task


def network(steps: int = 300, lr: float = 0.01) -> Picture:
    """The task in one picture: a digit, the few numbers that a small network makes of it, and what it makes of these.

    The network is that of the profile `live`, trained with Adam on scikit-learn's digits, in about a second.
    """
    training = Training(_with(_first("live", "digits")["Adam"], lr=lr, steps=steps))
    with arithmetic(1):
        training.train(None, None)
        given = _examples(training.data)[:1]
        with torch.no_grad():
            code = NETWORK.encode(training.params, given)
            back = NETWORK.decode(training.params, code)
    numbers = code[0].double().numpy()
    figure = Picture(figsize=(WIDTH, 2.0))
    ax = figure.subplots()
    for x, image in ((0.0, given), (8.8, back)):
        ax.imshow(_inked(image[0, 0]), extent=(x, x + 2, 0.5, 2.5), interpolation="nearest")
        ax.plot([x, x + 2, x + 2, x, x], [0.5, 0.5, 2.5, 2.5, 0.5], color=GREY, linewidth=0.8)
    for wide, narrow, what in ((2.4, 4.6, "encoder"), (8.4, 6.2, "decoder")):
        ax.fill([wide, narrow, narrow, wide], [0.5, 1.1, 1.9, 2.5], color=GREY, alpha=0.2, linewidth=0)
        ax.text((wide + narrow) / 2, 1.5, what, ha="center", va="center", fontsize=9.5, color=INK)
    width = 1.2 / len(numbers)
    places = 4.8 + width * (np.arange(len(numbers)) + 0.5)
    ax.bar(places, 0.8 * numbers / max(numbers.max(), 1e-9), 0.8 * width, 1.1, color=CODE)
    ax.plot([4.8, 6.0], [1.1, 1.1], color=CODE, linewidth=0.8)
    pixels = given.numel()
    for x, text in (
        (1, f"a digit:\n{pixels} pixels"),
        (5.4, f"its code:\n{len(numbers)} numbers"),
        (9.8, "made from\nthe code"),
    ):
        ax.text(x, 0.3, text, ha="center", va="top", fontsize=9, color=INK)
    ax.set(xlim=(-0.1, 10.9), ylim=(-0.6, 2.6))
    ax.axis("off")
    figure.data = {"digit": _column(given), "code": numbers, "made from the code": _column(back)}
    figure.alt = f"The mean squared error of this digit is {float((back - given).square().mean()):.3f}."
    figure.note = f"{training.data.label} · {steps} steps of Adam at rate {lr:g}"
    return figure


def sizes(*profiles: str) -> Markdown:
    """The network of each profile: channels, units, numbers in the code, and parameters for images of MNIST's size."""
    blank: Any = SimpleNamespace(train_images=np.empty((0, SIDE, SIDE)))
    cells = []
    for name in profiles:
        size = NETWORK.SIZES[name]
        params = NETWORK.init(blank, size, torch.Generator())
        count = sum(x.numel() for x in params.values())
        kind = "stride of 2" if size.strided else "pooling"
        cells.append([f"`{name}`", f"{size.outer}, {size.inner}", kind, size.dense, size.code, f"{count:,}"])
    return show.table(
        ["profile", "channels", "smaller by", "dense units", "code", "parameters"],
        cells,
        "llllrr",
        name="tab-autoencoder-network",
        caption=f"The network by profile. Parameters are counted for images of {SIDE}×{SIDE} pixels.",
    )


# ---------------------------------------------------------------- a film


@dataclass(frozen=True)
class Film:
    """What several methods make of a few images, `given` `[n, H, W]`, after so many steps (`moments`).

    `frames`: by method `[moments, n, H, W]`; `losses`: by method the development losses there.
    """

    label: str
    batch: int
    given: Array
    moments: tuple[int, ...]
    rates: Mapping[str, float]
    frames: Mapping[str, Array]
    losses: Mapping[str, list[float]]


def printed_rates() -> dict[str, float]:
    """The workshop paper's rates, by method."""
    return {name: float(x.value) for name, x in reported("iclr", TASK).items()}


def film(
    rates: Mapping[str, float], data: str, moments: tuple[int, ...], *, profile: str = "live", batch: int, workers: int
) -> Film:
    """Train each method at its rate from the same start on the same batches, and look at a few images on the way."""
    first = _first(profile, data)
    specs = {name: _with(first[name], lr=lr, steps=moments[-1], batch=batch) for name, lr in rates.items()}
    with arithmetic(1), ThreadPoolExecutor(workers) as pool:
        shot = dict(zip(specs, pool.map(lambda spec: _shoot(spec, moments), specs.values()), strict=True))
    images = planning.dataset(profile, data, TASK)
    return Film(
        label=images.label,
        batch=batch,
        given=_examples(images)[:, 0].double().numpy(),
        moments=moments,
        rates=dict(rates),
        frames={name: frames for name, (frames, _) in shot.items()},
        losses={name: losses for name, (_, losses) in shot.items()},
    )


def _shoot(spec: RunSpec, moments: tuple[int, ...]) -> tuple[Array, list[float]]:
    """What a run makes of the examples at some moments, and its development losses there; NaN where it diverged."""
    training = Training(spec)
    given, frames, losses = _examples(training.data), [], []
    for moment in moments:
        while training.log.step < moment and not training.ended:
            training.advance()
        with torch.no_grad():
            frame = NETWORK.reconstruct(training.params, given)
        lost = bool(training.log.reason)
        frames.append(np.full(frame[:, 0].shape, math.nan) if lost else frame[:, 0].double().numpy())
        losses.append(math.nan if lost else training.evaluate("dev")["loss"])
    return np.stack(frames), losses


def strip(film: Film) -> Picture:
    """A film as a strip: a row for each method, a group of columns for each moment, the images themselves on top."""
    names = list(film.frames)
    figure = Picture(figsize=(WIDTH, 0.75 + 0.47 * (1 + len(names))))
    axes = figure.subplots(1, len(film.moments), sharey=True, squeeze=False)[0]
    n = len(film.given)
    for i, (ax, moment) in enumerate(zip(axes, film.moments, strict=True)):
        lines = [film.given, *(film.frames[name][i] for name in names)]
        for y, images in enumerate(lines):
            for x, image in enumerate(images):
                ax.imshow(_inked(image), extent=(x + 0.04, x + 0.96, y + 0.96, y + 0.04), interpolation="nearest")
        ax.set(xlim=(0, n), ylim=(len(lines), 0), xticks=[], aspect="equal")
        ax.set_title(f"{moment:,} steps" if moment > 1 else "1 step", fontsize=10)
        ax.axhline(1, color=GREY, linewidth=0.8)
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    axes[0].set_yticks(
        [y + 0.5 for y in range(1 + len(names))], ["given", *(f"{x}\nη = {film.rates[x]:g}" for x in names)]
    )
    axes[0].tick_params(labelsize=9)
    for label, name in zip(axes[0].get_yticklabels()[1:], names, strict=True):
        label.set_color(look(name)["color"])
    figure.data["step"] = np.array(film.moments, dtype=np.float64)
    figure.data |= {f"{name} development loss": np.array(losses) for name, losses in film.losses.items()}
    last = sorted((losses[-1], name) for name, losses in film.losses.items())
    figure.alt = f"Development loss after {film.moments[-1]:,} steps: " + ", ".join(
        f"{name} {x:.3g}" for x, name in last
    )
    figure.note = f"{film.label} · batch {film.batch} · one seed"
    return figure


def losses(**films: Film) -> Markdown:
    """The development losses at the end of films of the same methods, and each method's place among them."""
    names = list(next(iter(films.values())).losses)
    end = {title: {name: x[-1] for name, x in one.losses.items()} for title, one in films.items()}
    place = {title: sorted(names, key=lambda name: found[name]) for title, found in end.items()}
    cells = [
        [
            name,
            *(
                text
                for title, one in films.items()
                for text in (f"{one.rates[name]:g}", f"{end[title][name]:.4f}", place[title].index(name) + 1)
            ),
        ]
        for name in names
    ]
    heads = [f"{what}{title}" for title in films for what in ("rate ", "loss, ", "place, ")]
    return show.table(
        ["method", *heads],
        cells,
        "l" + "r" * len(heads),
        name="tab-autoencoder-film",
        caption="Development losses at the end of the films. One seed: a demonstration.",
        note=next(iter(films.values())).label,
    )


def search(profile: str, data: str, *, workers: int) -> dict[str, float]:
    """The best of the first rates of the protocol's search for each of the paper's methods, from one seed."""
    wanted = printed_rates()
    specs = [spec for spec in planning.specs(profile, data, TASK) if planning.arm(spec) in wanted]
    specs = [spec for spec in specs if spec.seed == specs[0].seed]
    with arithmetic(1), ThreadPoolExecutor(workers) as pool:  # processes of their own would take twice the memory
        choices = planning.choices(pool.map(run, specs))
    return {name: choices[name].lr for name in wanted}


def orders(**films: Film) -> Markdown:
    """The methods of films of the same methods, the lowest loss at the end first, and whether the order is the same."""
    found = [sorted(one.losses, key=lambda name: one.losses[name][-1]) for one in films.values()]
    each = "; ".join(f"at the {title} rates {', '.join(order)}" for title, order in zip(films, found, strict=True))
    same = "The order is the same." if all(order == found[0] for order in found) else "The order is not the same."
    return markdown(f"From the lowest loss to the highest: {each}. {same}")


# ---------------------------------------------------------------- Jones's own run


def known() -> Record:
    """Our repetition of Jones's run."""
    return next(record for record in recorded.runs("known") if record.spec.task == TASK)


def jones(record: Record) -> Picture:
    """Our repetition of Jones's run, epoch by epoch, beside what his notebook prints."""
    his, ours = jones_curves(), _epochs(record)
    figure = Picture(figsize=(WIDTH, 3.2))
    ax = figure.subplots()
    for name, ink in (("train_loss", "#0072B2"), ("dev_loss", CODE)):
        for label, values, line in (("Jones", his[name], (0, (4, 2))), ("ours", ours[name], "-")):
            epochs = np.arange(1, len(values) + 1)
            ax.plot(epochs, values, linestyle=line, color=ink, label=f"{label}, {_spoken(name)}")
            figure.data |= {"epoch": epochs.astype(float), f"{label}, {_spoken(name)}": np.array(values)}
    ax.set(xlabel="epoch", ylabel="mean squared error", yscale="log", xticks=range(0, len(epochs) + 1, 5))
    plain(ax.yaxis)
    ax.legend(fontsize=9)
    figure.alt = undercut(record).data
    figure.note = show.provenance_note([record], recorded=True)
    return figure


def _epochs(record: Record) -> dict[str, list[float]]:
    """Training loss and development loss of a run that was evaluated once an epoch, after each."""
    per_epoch = record.spec.evaluate_every // record.spec.train_every
    train, (_start, *dev) = record.curves["train_loss"], record.curves["dev_loss"]
    means = [sum(train[i : i + per_epoch]) / per_epoch for i in range(0, per_epoch * len(dev), per_epoch)]
    return {"train_loss": means, "dev_loss": dev}


def _spoken(name: str) -> str:
    return {"train_loss": "training loss", "dev_loss": "development loss"}[name]


def undercut(record: Record) -> Markdown:
    """By how much our repetition of Jones's run is below what he prints."""
    x = REPRODUCTIONS["jones"]
    ours = x.measured(record)
    sizes = [
        f"a {_spoken(name)} of {ours[name]:.5f} where his prints {value:g} ({percent(math.log(ours[name] / value))})"
        for name, value in x.published.items()
    ]
    return markdown(f"Our repetition ends with {' and '.join(sizes)}.")


def luck(seeds: int = 6, steps: int = 200, *, workers: int) -> Markdown:
    """How far runs of Jones's recipe end from each other by their seed: a small network, scikit-learn's digits."""
    recipe = known().spec
    spec = dataclasses.replace(
        _first("live", "digits")[recipe.optimizer],
        hyperparameters=recipe.hyperparameters,
        batch=recipe.batch,
        steps=steps,
        evaluate_every=steps,
    )
    with arithmetic(1), ThreadPoolExecutor(workers) as pool:
        runs = list(pool.map(run, (dataclasses.replace(spec, seed=seed) for seed in range(seeds))))
    return _apart(
        f"{seeds} short runs of his recipe on a small network, made on this page", [value(r, "dev_loss") for r in runs]
    )


def spread(it: Recorded, name: str = "NAG") -> Markdown | None:
    """The same of an arm's recorded runs at a size, at the printed rate where there are such; nothing for none."""
    evidence = at_printed_rates(it) or it.evidence
    if evidence is None or name not in evidence[TASK]:
        return None
    arm = evidence[TASK][name]
    losses = arm.values("dev_loss")
    return _apart(f"{len(losses)} recorded runs of {name} at the size `{it.profile}`, η = {arm.lr:g}", losses)


def _apart(which: str, losses: Sequence[float]) -> Markdown:
    low, high = min(losses), max(losses)
    text = f"{which}: they differ in their seed alone, and end between {low:.4g} and {high:.4g}"
    return markdown(f"- {text}. The highest is {100 * (high / low - 1):.0f} % above the lowest.")


@where_run
def dead(evidence: Evidence) -> Markdown | None:
    """The runs whose network draws nothing, and whether the tuning seeds had such; nothing where there are none.

    They end at one and the same loss, that of an empty picture, whatever the method and the seed.
    """
    arms = evidence[TASK]
    losses = {name: arm.values("dev_loss") for name, arm in arms.items()}
    loss, often = Counter(x for values in losses.values() for x in values if math.isfinite(x)).most_common(1)[0]
    if often == 1:
        return None
    found = {name: values.count(loss) for name, values in losses.items() if loss in values}
    tuned = sum(value(run, "dev_loss") == loss for name in found for run in arms[name].chosen.runs.values())
    runs = listed([f"{n} of {len(losses[name])} of {name} (η = {arms[name].lr:g})" for name, n in found.items()])
    text = (
        f"Of these runs, {runs} end at exactly the same loss, {loss:.4f}, whatever their seed. It is the loss of an "
        "empty picture: the output's ReLU is 0 in every pixel, so no gradient is left, and the network stays as it is. "
        "These runs count as they are, and make the intervals of their methods wide."
    )
    if not tuned:
        text += " The search could not know: with the tuning seeds no run at these rates ends so."
    return markdown(text)


# ---------------------------------------------------------------- the printed rates


def named() -> Markdown:
    """The rates that the workshop paper names, and how certain each is."""
    table = reported("iclr", TASK)
    return show.table(
        ["method", "learning rate", "how certain"],
        [[name, x, x.confirmed] for name, x in table.items()],
        "lrl",
        name="tab-autoencoder-named",
        caption="The learning rates that the workshop paper found best.",
    )


def rates_beside(*sizes: Recorded) -> Markdown:
    """The named rates beside those that the search chose at each size, for the arms of the paper's methods."""
    rows = []
    for name, rate in reported("iclr", TASK).items():
        arms = [None if it.evidence is None else it.evidence[TASK].get(name) for it in sizes]
        rows.append([name, rate, *("not run" if arm is None else f"{arm.lr:g}" for arm in arms)])
    return show.table(
        ["method", "named by the paper", *(f"searched, `{it.profile}`" for it in sizes)],
        rows,
        "l" + "r" * (1 + len(sizes)),
        name="tab-autoencoder-rates",
        caption="Learning rates: what the paper found best, and what the search here chose.",
        note=" · ".join(recorded.note(it.evidence) for it in sizes if it.evidence),
    )


def printed_only(it: Recorded) -> Recorded:
    """The same size with the runs at the printed rates alone as its evidence."""
    return dataclasses.replace(it, evidence=at_printed_rates(it))


def at_printed_rates(it: Recorded) -> Evidence | None:
    """The runs at the rates that the workshop paper prints, as evidence; None while an arm lacks one of them.

    With the seeds, from the first on, that every arm has. No rate was chosen, so none is at an edge.
    """
    rates, plan = printed_rates(), profile_of(TASK, it.profile)
    made: dict[str, dict[int, Record]] = {name: {} for name in plan.arms}
    for record in it.records:
        name = planning.arm(record.spec)
        if name in made and not planning.tunes(record) and record.spec.lr == rates[record.spec.optimizer]:
            made[name][record.spec.seed] = record
    seeds = [seed for seed in plan.reporting if all(seed in runs for runs in made.values())]
    if plan.printed_rates is None or not seeds:
        return None
    runs = {name: {seed: by_seed[seed] for seed in seeds} for name, by_seed in made.items()}
    found = rows(record for by_seed in runs.values() for record in by_seed.values())
    return {TASK: {row.arm: Arm(row.arm, [row], dataclasses.replace(row, edge=False), runs[row.arm]) for row in found}}


# ---------------------------------------------------------------- runs and pictures


def _first(profile: str, data: str) -> dict[str, RunSpec]:
    """A run of each arm, in their order."""
    first: dict[str, RunSpec] = {}
    for spec in planning.specs(profile, data, TASK):
        first.setdefault(planning.arm(spec), spec)
    return first


def _with(spec: RunSpec, *, lr: float, steps: int, batch: int | None = None) -> RunSpec:
    """The same run at another rate and length, evaluated at its end alone."""
    settings = {**spec.hyperparameters, "lr": lr}
    return dataclasses.replace(
        spec, hyperparameters=settings, steps=steps, evaluate_every=steps, batch=batch or spec.batch
    )


def _examples(data: ImageData) -> Tensor:
    """The first development image of each of `DIGITS`, `[n, 1, H, W]` with values in [0, 1]."""
    places = [int(np.flatnonzero(data.dev_labels == digit)[0]) for digit in DIGITS]
    return NETWORK.inputs(torch.tensor(data.dev_images[places]), data.white, torch.float32)


def _inked(image: Array | Tensor) -> Array:
    """Pixels `[H, W]` from 0 to 1 as ink on nothing, `[H, W, 4]`, so that a page may be light or dark."""
    ink = np.zeros((*image.shape, 4))
    ink[..., 3] = np.nan_to_num(np.clip(np.asarray(image), 0, 1))
    return ink


def _column(image: Tensor) -> Array:
    column: Array = image.flatten().double().numpy()
    return column

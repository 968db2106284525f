"""What the chapter shows of word vectors that it trains: the objective in one picture, and rare and frequent words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import Markdown
from matplotlib.patches import FancyArrowPatch

from ...experiments.protocol import planning
from ...experiments.protocol.definition import load
from ...experiments.published import reported
from ...experiments.runs.optimizers import hyperparameters
from ...experiments.runs.training import Training
from ...experiments.verdicts.arms import Evidence
from ...experiments.verdicts.report import percent
from ...experiments.verdicts.verdicts import compare
from ...rules import RULES, schedule
from . import show
from .figures import PENS, Array, Picture, look, plain
from .show import markdown

__all__ = ["by_frequency", "counted", "famous", "neighbours", "objective", "reading", "results", "said", "train"]

INK, GREY, YES, NO = "#24292f", "#57606a", "#00795A", "#C94A00"
#: Pairs on which the loss of words is measured, in batches of so many.
PAIRS, BATCHES = 2048, 40
#: Words with numbers from one to the next are taken together: number 0 is every word outside the vocabulary.
EDGES = (1, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)


def famous() -> Markdown:
    """The report's most striking difference between Nadam and Adam, as a sentence."""
    table = reported("cs229", "word2vec")
    nadam, adam, rmsprop = (table[name].value for name in ("Nadam", "Adam", "RMSProp"))
    less = 100 * (1 - float(nadam) / float(adam))
    return markdown(
        f"In the report's table Nadam ends at a test loss of **{nadam}**. Adam ends at {adam}, RMSProp at {rmsprop}. "
        f"So Nadam's loss is {less:.0f} % lower than Adam's. No other gap between the two in the report is as large."
    )


def objective() -> Picture:
    """One pair of words in skip-gram with noise-contrastive estimation: a true neighbour, and words drawn by chance."""
    figure = Picture(figsize=(5.0, 3.6))
    ax = figure.subplots()
    ax.set(xlim=(0, 10), ylim=(0, 6.2))
    ax.axis("off")
    ax.text(0, 5.9, "1  From a word, guess its neighbours", color=GREY, fontsize=10)
    for i, word in enumerate(["the", "king", "of", "spain", "was"]):
        weight = "bold" if word == "of" else "normal"
        ax.text(1 + 2 * i, 4.7, word, ha="center", va="center", color=INK, fontsize=12, weight=weight)
    for end, bend in ((3.0, 0.6), (7.0, -0.6)):
        arrow = FancyArrowPatch((5.0, 5.0), (end, 5.0), connectionstyle=f"arc3,rad={bend}", color=GREY)
        arrow.set(arrowstyle="-|>", mutation_scale=10)
        ax.add_patch(arrow)
    ax.text(0, 3.6, "2  Tell the neighbour from words drawn by chance", color=GREY, fontsize=10)
    ax.text(0.8, 1.5, "of", ha="center", va="center", color=INK, fontsize=12, weight="bold")
    rows = [("king", "neighbour", "1", YES), ("wheel", "by chance", "0", NO), ("two", "by chance", "0", NO)]
    for k, (word, what, target, ink) in enumerate(rows):
        y = 2.7 - 1.15 * k
        ax.plot([1.4, 3.4], [1.5, y], color=ink, linewidth=1.4)
        ax.text(3.6, y, word, va="center", color=INK, fontsize=12)
        ax.text(5.4, y, what, va="center", fontsize=10, color=ink)
        ax.text(10, y, f"logistic loss, target {target}", va="center", ha="right", fontsize=10, color=ink)
    figure.alt = "From the word 'of' lines go to its neighbour 'king' and to two words that were drawn by chance."
    return figure


def counted(evidence: Evidence | None) -> Markdown | None:
    """What Nadam is beside Adam when rows count for themselves, and what the count does to either; at own rates."""
    arms = evidence["word2vec"] if evidence else {}
    if not {"Adam", "Adam-common"} <= arms.keys():
        return None
    pairs = [("Nadam", "Adam"), ("Nadam-common", "Adam-common"), ("Nadam-dense", "Adam-dense")]
    kinds = ["with rows that count for themselves", "with one common count", "with every row at every step"]
    gains = [
        (kind, compare(arms[a], arms[b], "test_loss")) for kind, (a, b) in zip(kinds, pairs, strict=True) if a in arms
    ]
    own, common = arms["Adam"].mean("test_loss"), arms["Adam-common"].mean("test_loss")
    told = "; ".join(
        f"{kind} {percent(x.mean)} ({'clear of' if np.sign(x.interval).prod() > 0 else 'not clear of'} zero)"
        for kind, x in gains
        if x.mean is not None and x.interval is not None
    )
    profile = next(iter(arms.values())).spec.profile
    return markdown(
        f"At the size `{profile}`, Nadam against Adam, each at its own rate: {told}. The count itself moves Adam from "
        f"{own:.3f} to {common:.3f}."
    )


def train(
    rates: Mapping[str, float], profile: str, data: str, *, steps: int | None = None, seed: int = 0
) -> dict[str, Training]:
    """Runs of some arms of the task to their end, each at its rate: seconds each at the profile `small`.

    `steps`: their number, where it is not the protocol's.
    """
    usual, plans = planning.specs(profile, data, "word2vec")[0], load().task("word2vec").arms
    runs = {}
    for name, lr in rates.items():
        plan = plans[name]
        spec = dataclasses.replace(
            usual,
            optimizer=plan.optimizer,
            hyperparameters=hyperparameters(plan.optimizer, {**plan.hyperparameters, "lr": lr}),
            row_lazy=bool(plan.row_lazy),
            seed=seed,
            steps=steps or usual.steps,
        )
        runs[name] = training = Training(spec)
        training.train(None, None)
    return runs


def results(trained: Mapping[str, Training]) -> Markdown:
    """For each run its arm, its rate and its test loss."""
    spec = next(iter(trained.values())).spec
    return show.table(
        ["arm", r"rate $\eta$", "test loss"],
        [[name, f"{t.spec.lr:g}", f"{t.evaluate('test')['loss']:.3f}"] for name, t in trained.items()],
        "lrr",
        name="tab-word2vec-live",
        caption=f"Trained on this page: {spec.data}, {spec.steps:,} steps, one seed.",
    )


@torch.no_grad()
def losses(training: Training) -> tuple[Array, Array]:
    """(words, loss) of pairs from the text, the same for every run: each pair's own objective, without dropout."""
    order, noise = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    batches = training.task.batches(training.data, training.size, PAIRS, order, noise)
    vectors, weights, bias = (training.params[name] for name in ("embedding", "nce.weight", "nce.bias"))
    numbers, values = [], []
    for words, candidates, offsets, _ in (next(batches) for _ in range(BATCHES)):
        scores = bias[candidates] - offsets
        true = (vectors[words] * weights[candidates[:PAIRS]]).sum(1) + scores[:PAIRS]
        false = vectors[words] @ weights[candidates[PAIRS:]].T + scores[PAIRS:]
        numbers.append(words)
        values.append(F.softplus(-true) + F.softplus(false).sum(1))
    return torch.cat(numbers).numpy(), torch.cat(values).double().numpy()


def by_frequency(trained: Mapping[str, Training], *, mu: float, decay: float) -> Picture:
    """Above: the loss by how frequent a word is. Below: the steps that its row has had, and what μ_t has come to."""
    figure = Picture(figsize=(5.0, 5.6))
    above, below = figure.subplots(2, 1, sharex=True)
    vocabulary = max(len(training.params["embedding"]) for training in trained.values())
    edges = np.array([*(edge for edge in EDGES if edge < vocabulary), vocabulary])
    middle = np.sqrt(edges[:-1] * edges[1:])
    figure.data["word number"] = middle
    for i, (name, training) in enumerate(trained.items()):
        words, loss = losses(training)
        y = np.array([loss[(a <= words) & (words < b)].mean() for a, b in pairwise(edges)])
        ink, marker = PENS[i + 1]
        above.plot(middle, y, **(look(name) if name in RULES else {"color": ink, "marker": marker}), label=name)
        figure.data[f"{name} loss"] = y
    steps = next(x for x in map(_row_steps, trained.values()) if x is not None)
    count = np.array([float(steps[a:b].double().median()) for a, b in pairwise(edges)])
    figure.data["steps of the row"] = count
    figure.data["μ"] = np.array([float(schedule(mu, max(1, round(n)), decay)) for n in count])
    below.plot(middle, count, "o-", color=INK)
    for x, n, end in zip(middle, count, figure.data["μ"], strict=True):
        below.annotate(f"μ {end:.2f}", (x, n), xytext=(5, 4), textcoords="offset points", fontsize=9, color=GREY)
    above.set(xscale="log", yscale="log", ylabel="loss of a pair")
    below.set(xscale="log", yscale="log", xlabel="number of the word, frequent to rare", ylabel="steps of its row")
    below.margins(x=0.12, y=0.12)
    above.legend()
    for axis in (above.xaxis, above.yaxis, below.yaxis):
        plain(axis)
    rare = sorted((float(figure.data[f"{name} loss"][-1]), name) for name in trained)
    figure.alt = "Loss of the rarest words: " + ", ".join(f"{name} {y:.3g}" for y, name in rare) + "."
    return figure


def said(figure: Picture, rates: Mapping[str, float]) -> Markdown:
    """What the picture of `by_frequency` shows, in words; `rates` are those of its runs."""
    data = figure.data
    steps, mu = data["steps of the row"], data["μ"]
    ends = [{name.removesuffix(" loss"): y[at] for name, y in data.items() if name.endswith(" loss")} for at in (0, -1)]
    ranked = [", ".join(f"{name} {end[name]:.3g}" for name in sorted(end, key=lambda name: end[name])) for end in ends]
    return markdown(
        f"A row of the commonest words has had {steps[0]:,.0f} steps, and $\\mu_t$ has come to {mu[0]:.2f} there. A "
        f"row of the rarest has had {steps[-1]:,.0f}, and $\\mu_t$ is {mu[-1]:.2f}. "
        f"Losses of the commonest, lowest first: {ranked[0]}. Of the rarest: {ranked[1]}.{_crossed(ends, rates)}"
    )


def _crossed(ends: Sequence[Mapping[str, float]], rates: Mapping[str, float]) -> str:
    """What it fits with if Nadam, at the larger rate, is behind Adam on the commonest words and ahead on the rarest."""
    (common, rare), (nadam, adam) = ends, (rates["Nadam"], rates["Adam"])
    if not (common["Nadam"] > common["Adam"] and rare["Nadam"] < rare["Adam"] and nadam > adam):
        return ""
    return (
        " So Nadam is ahead of Adam where words are rare, and behind where they are common. Its rate is the larger "
        f"one, {nadam:g} against {adam:g}: rows that take only short first steps gain from that, and for the others it "
        "may be too large. One run of each cannot show that this is the reason."
    )


def _row_steps(training: Training) -> torch.Tensor | None:
    """How many steps each row of the vectors has had; None where rows do not count their own."""
    steps = training.optimizer.state[training.params["embedding"]].get("step")
    return steps if isinstance(steps, torch.Tensor) and steps.dim() else None


def reading(data: str, steps: int) -> Markdown:
    """How to read the table of neighbours after a run of so many steps."""
    if data == "clusters":
        text = "In this text a word like `t1a2` has a theme (1) and an aspect (2); good neighbours share one."
    else:
        longer = load().task("word2vec").profile("paper").data["text8"].steps / steps
        text = f"Do not look for sense in them: this run is short, and the report trained {longer:.0f} times as long."
    return markdown(text)


@torch.no_grad()
def neighbours(trained: Mapping[str, Training], words: Sequence[str], count: int = 3) -> Markdown:
    """For each of the words its nearest others by cosine in each run, the nearest first; unknown words are left out."""
    rows = []
    tables = {name: F.normalize(training.params["embedding"], dim=1) for name, training in trained.items()}
    known = next(iter(trained.values())).data.words[: len(next(iter(tables.values())))]
    for word in words:
        if word in known:
            at = known.index(word)
            found = [(table @ table[at]).topk(count + 1).indices.tolist() for table in tables.values()]
            rows.append([word, *(", ".join([known[i] for i in near if i != at][:count]) for near in found)])
    caption = "Nearest neighbours by cosine after the runs on this page."
    return show.table(["word", *tables], rows, name="tab-word2vec-neighbours", caption=caption)

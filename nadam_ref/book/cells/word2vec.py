"""What chapter 21 shows of word vectors that it trains: the objective in one picture, and rare and frequent words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.patches import FancyArrowPatch

from ...experiments.protocol import planning
from ...experiments.runs.train import Training
from ...rules import schedule
from .figures import Array, Picture, look

__all__ = ["by_frequency", "neighbours", "objective", "train"]

INK, GREY, YES, NO = "#24292f", "#57606a", "#00795A", "#C94A00"
#: Pairs on which the loss of words is measured, in batches of so many.
PAIRS, BATCHES = 2048, 40
#: Words with numbers from one to the next are taken together: number 0 is every word outside the vocabulary.
EDGES = (1, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)


def objective() -> Picture:
    """One pair of words in skip-gram with noise-contrastive estimation: a true neighbour, and words drawn by chance."""
    figure = Picture(figsize=(7.0, 2.9))
    ax = figure.subplots()
    ax.set(xlim=(0, 10), ylim=(0, 4.2))
    ax.axis("off")
    text = ["the", "king", "of", "spain", "was"]
    for i, word in enumerate(text):
        ax.text(0.7 + 1.15 * i, 3.7, word, ha="center", color=INK, weight="bold" if word == "of" else "normal")
    for j in (1, 3):
        bend = f"arc3,rad={-0.5 if j == 1 else 0.5}"
        arrow = FancyArrowPatch((3.0, 3.45), (0.7 + 1.15 * j, 3.45), connectionstyle=bend, color=GREY)
        arrow.set(arrowstyle="-|>", mutation_scale=10)
        ax.add_patch(arrow)
    ax.text(3.0, 2.55, "from a word, guess its neighbours", ha="center", fontsize=9, color=GREY)
    ax.text(0.9, 1.2, "of\n(vector)", ha="center", va="center", color=INK)
    rows = [("king", "is a neighbour", YES), ("wheel", "was drawn by chance", NO), ("two", "was drawn by chance", NO)]
    for k, (word, what, ink) in enumerate(rows):
        y = 2.0 - 0.8 * k
        ax.plot([1.6, 4.2], [1.2, y], color=ink, linewidth=1.2)
        ax.text(4.4, y, word, va="center", color=INK)
        ax.text(5.6, y, what, va="center", fontsize=9, color=ink)
    ax.text(9.9, 1.2, "each a yes-or-no\nquestion: one\nlogistic loss", ha="right", va="center", fontsize=9, color=GREY)
    figure.alt = "From the word 'of' lines go to its neighbour 'king' and to two words that were drawn by chance."
    return figure


def train(rates: Mapping[str, float], profile: str, data: str, seed: int = 0) -> dict[str, Training]:
    """Runs of some arms of the task to their end, each at its rate: seconds each at the profile `small`."""
    first = {planning.arm(spec): spec for spec in planning.specs(profile, data, "word2vec")}
    runs = {}
    for name, lr in rates.items():
        hyperparameters = {**first[name].hyperparameters, "lr": lr}
        training = Training(dataclasses.replace(first[name], seed=seed, hyperparameters=hyperparameters))
        while not training.ended:
            training.advance()
        runs[name] = training
    return runs


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
    """Left: the loss by how frequent a word is. Right: the steps that its row has had, and what μ_t has come to."""
    figure = Picture(figsize=(7.0, 3.6))
    left, right = figure.subplots(1, 2)
    vocabulary = max(len(training.params["embedding"]) for training in trained.values())
    edges = np.array([*(edge for edge in EDGES if edge < vocabulary), vocabulary])
    middle = np.sqrt(edges[:-1] * edges[1:])
    figure.data["word number"] = middle
    for name, training in trained.items():
        words, loss = losses(training)
        y = np.array([loss[(a <= words) & (words < b)].mean() for a, b in pairwise(edges)])
        left.plot(middle, y, **look(name), label=name)
        figure.data[f"{name} loss"] = y
    steps = next(s for t in trained.values() if (s := t.optimizer.state[t.params["embedding"]].get("step")) is not None)
    count = np.array([float(steps[a:b].double().median()) for a, b in pairwise(edges)])
    figure.data["steps of the row"] = count
    right.plot(middle, count, "o-", color=INK)
    for x, n in zip(middle, count, strict=True):
        text = f"{schedule(mu, max(1, round(n)), decay):.2f}"
        right.annotate(text, (x, n), xytext=(6, 4), textcoords="offset points", fontsize=8.5, color=GREY)
    left.set(xscale="log", yscale="log", xlabel="number of the word, frequent to rare", ylabel="loss of a pair")
    right.set(xscale="log", yscale="log", xlabel="number of the word, frequent to rare", ylabel="steps of its row")
    left.legend()
    rare = {name: float(y[-1]) for name, y in ((n, figure.data[f"{n} loss"]) for n in trained)}
    figure.alt = "Loss of the rarest words: " + ", ".join(
        f"{n} {y:.3g}" for n, y in sorted(rare.items(), key=lambda x: x[1])
    )
    return figure


@torch.no_grad()
def neighbours(training: Training, words: Sequence[str], count: int = 4) -> list[list[str]]:
    """For each of the words the nearest others by cosine, the nearest first; words that are not known are left out."""
    table = F.normalize(training.params["embedding"], dim=1)
    known = training.data.words
    numbers = {word: known.index(word) for word in words if word in known[: len(table)]}
    nearest = {word: (table @ table[i]).topk(count + 1).indices.tolist() for word, i in numbers.items()}
    return [[word, ", ".join(known[i] for i in rows if i != numbers[word])] for word, rows in nearest.items()]

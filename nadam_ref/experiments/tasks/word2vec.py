"""The report's word vectors: skip-gram with noise-contrastive estimation, as in TensorFlow's `word2vec_basic`.

Mikolov and others (2013) describe skip-gram and the analogies, Gutmann and Hyvärinen (2010) the objective. A batch uses
some rows of the tables only (`rows`), so that updates may be row-lazy. Pure functions over a parameter dictionary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..corpora import Int64, TextData, limited, vocabulary_size
from ..corpora import load_words as load
from .choices import PAPER, initial, penalty, truncated_normal, uniform, zeros

__all__ = [
    "METRIC",
    "SIZES",
    "VERSION",
    "Size",
    "batches",
    "epoch",
    "evaluate",
    "init",
    "load",
    "loss",
    "rows",
    "state",
]

VERSION = 1
METRIC = "loss"
SKIPS = 2  # pairs a word makes: with its left and its right neighbour
DROPOUT = 0.5


@dataclass(frozen=True)
class Size:
    """Most words of the vocabulary, dimensions of a vector, negative examples of a batch.

    `init` and `penalty` (with its `strength`; of the rows in use) are named in `choices`; "paper" is U(−1, 1) for the
    vectors and a truncated normal of σ = 1/√dimensions for the weights of the classifier.
    """

    words: int
    dimensions: int
    negatives: int
    init: str = PAPER
    penalty: str = "none"
    strength: float = 0.0


SIZES = {
    "smoke": Size(words=2_000, dimensions=8, negatives=8),
    "live": Size(words=2_000, dimensions=16, negatives=16),
    "small": Size(words=5_000, dimensions=64, negatives=64),
    "paper": Size(words=50_000, dimensions=128, negatives=64),
}


def init(
    data: TextData, size: Size, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Fresh parameters: `embedding` and `nce.weight`, `[words, dimensions]`, and `nce.bias`, 0.

    The vocabulary is that of the text, if it is smaller than the model's. Raises `ValueError` for fewer than two words.
    """
    shape = (vocabulary_size(data, size.words), size.dimensions)
    classifier = truncated_normal(1 / math.sqrt(size.dimensions))
    return {
        "embedding": initial(size.init, uniform(1.0), shape, generator, dtype),
        "nce.weight": initial(size.init, classifier, shape, generator, dtype),
        "nce.bias": zeros(size.words, dtype),
    }


# ---------------------------------------------------------------- negative examples


def log_uniform(words: int) -> Tensor:
    """Probability of each word as a negative example: ln((k + 2) / (k + 1)) / ln(words + 1), float64 `[words]`.

    Nearly Zipf's law, for words numbered by falling frequency; TensorFlow's `log_uniform_candidate_sampler`.
    """
    k = torch.arange(words, dtype=torch.float64)
    return ((k + 2) / (k + 1)).log() / math.log(words + 1)


def negatives(words: int, count: int, generator: torch.Generator) -> tuple[Int64, int]:
    """`count` different words, drawn one by one from `log_uniform` until there are as many; and the number of draws.

    Raises `ValueError` where there are not as many words.
    """
    if not 0 < count <= words:
        raise ValueError(f"{count} different negative examples cannot be drawn from {words} words")
    drawn = np.empty(0, dtype=np.int64)
    while True:
        u = torch.rand(8 * count, generator=generator, device=generator.device, dtype=torch.float64)
        more = (u * math.log(words + 1)).exp().long().sub_(1).clamp_(0, words - 1)
        drawn = np.concatenate([drawn, more.cpu().numpy()])
        _, first = np.unique(drawn, return_index=True)
        if len(first) >= count:
            places = np.sort(first)[:count]
            return drawn[places], int(places[-1]) + 1


def expected_counts(probabilities: Tensor, draws: int) -> Tensor:
    """How often a word of such probability is expected among different ones after so many draws: 1 − (1 − p)^draws."""
    return -torch.expm1(draws * torch.log1p(-probabilities))


# ---------------------------------------------------------------- batches


def epoch(data: TextData, size: Size, batch: int) -> int:
    """Batches that use every word with two neighbours about once. Raises `ValueError` where a batch does not fit."""
    centres = len(data.train) - 2
    if batch < SKIPS or batch % SKIPS:
        raise ValueError(f"batch {batch} must be a positive multiple of {SKIPS}, the pairs that one word makes")
    if SKIPS * centres < batch:
        raise ValueError(f"batch {batch} needs {batch // SKIPS + 2} words of text; {data.label} has {len(data.train)}")
    return SKIPS * centres // batch


def batches(
    data: TextData,
    size: Size,
    batch: int,
    order: torch.Generator,
    noise: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Batches without end, read from the text in its order, from a place that is drawn once, round and round.

    (words `[batch]`, their neighbours and then the negative examples `[batch + negatives]`, ln of the expected counts
    of these, kept dimensions `[dimensions]` bool). Negative examples and dropout are common to a batch.
    """
    epoch(data, size, batch)
    device, centres, vocabulary = order.device, len(data.train) - 2, vocabulary_size(data, size.words)
    text = torch.tensor(limited(data.train, vocabulary), device=device)
    likely, half = log_uniform(vocabulary).to(device), batch // SKIPS
    start = int(torch.randint(centres, (), generator=order, device=device))
    while True:
        middle = (start + torch.arange(half, device=device)) % centres + 1
        words = text[middle].repeat_interleave(SKIPS)
        neighbours = torch.stack([text[middle - 1], text[middle + 1]], dim=1).flatten()
        sampled, draws = negatives(vocabulary, size.negatives, noise)
        candidates = torch.cat([neighbours, torch.tensor(sampled, device=device)])
        offsets = expected_counts(likely[candidates], draws).log().to(dtype)
        kept = torch.rand(size.dimensions, generator=noise, device=noise.device) >= DROPOUT
        yield words, candidates, offsets, kept
        start = (start + half) % centres


def state(size: Size, batch: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Nothing is handed from one batch to the next."""
    return ()


def rows(batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The rows of each table that the batch uses."""
    words, candidates, *_ = batch
    return {"embedding": words, "nce.weight": candidates, "nce.bias": candidates}


# ---------------------------------------------------------------- objective and metric


def loss(
    size: Size, params: dict[str, Tensor], batch: tuple[Tensor, ...], state: tuple[Tensor, ...] = ()
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Noise-contrastive estimation, summed over the candidates and averaged over the pairs; `params` hold picked rows.

    A score is w·v + b − ln(expected count): the logit that a candidate is the neighbour and not a negative example.
    Half of the vectors' dimensions are dropped and the others doubled.
    """
    words, _, offsets, kept = batch
    pairs = len(words)
    vectors = params["embedding"] * kept / (1 - DROPOUT)
    weights, bias = params["nce.weight"], params["nce.bias"] - offsets
    true = (vectors * weights[:pairs]).sum(1) + bias[:pairs]
    false = torch.addmm(bias[pairs:], vectors, weights[pairs:].t())
    total = F.softplus(-true).mean() + F.softplus(false).sum() / pairs
    if size.penalty != "none":
        total = total + penalty(size.penalty, size.strength, params)
    return total, state


@torch.no_grad()
def evaluate(params: dict[str, Tensor], data: TextData, split: str) -> dict[str, Tensor]:
    """Mean of (1 − cos)/2 over the analogies (`loss`): 0 where all are right, ½ for vectors that know nothing.

    The cosine is that between b − a + c, of vectors of length 1, and the vector of d. Analogies with a word outside the
    model's vocabulary are left out. Raises `ValueError` where none is left.
    """
    table = params["embedding"]
    questions = data.split(split)
    questions = questions[(questions < len(table)).all(axis=1)]
    if not len(questions):
        raise ValueError(f"no analogy of the {split} part of {data.label} is within {len(table)} words")
    asked = torch.tensor(questions, device=table.device)
    a, b, c, d = (F.normalize(table.double(), dim=1)[asked[:, i]] for i in range(4))
    return {"loss": ((1 - F.cosine_similarity(b - a + c, d, dim=1)) / 2).mean()}

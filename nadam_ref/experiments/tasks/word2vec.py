"""The report's word vectors: skip-gram with noise-contrastive estimation, as in TensorFlow's `word2vec_basic`.

Mikolov and others (2013) describe skip-gram and the analogies, Gutmann and Hyvärinen (2010) the objective. A batch uses
some rows of the tables only (`rows`), so that updates may be row-lazy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, float32

from ..datasets.corpora import Int64, TextData, limited, load_words, vocabulary_size
from ..datasets.registry import Subset
from .base import Batch, Params, State, Task
from .initialization import initial, truncated_normal, uniform, zeros

SKIPS = 2  # pairs a word makes: with its left and its right neighbour
DROPOUT = 0.5
BLOCK = 256  # batches drawn at once; with another number a seed gives other batches


@dataclass(frozen=True)
class Size:
    """Most words of the vocabulary, dimensions of a vector, negative examples of a batch."""

    words: int
    dimensions: int
    negatives: int


class Word2vec(Task):
    """Word vectors, judged by analogies."""

    VERSION = 2
    SIZES: ClassVar = {
        "smoke": Size(words=2_000, dimensions=8, negatives=8),
        "live": Size(words=2_000, dimensions=16, negatives=16),
        "small": Size(words=5_000, dimensions=64, negatives=64),
        "paper": Size(words=50_000, dimensions=128, negatives=64),
    }

    def load(self, name: str, subset: Subset | None = None) -> TextData:
        return load_words(name, subset)

    def init(self, data: TextData, size: Size, generator: Generator, dtype: torch.dtype = float32) -> Params:
        """Fresh parameters: `embedding` and `nce.weight`, `[words, dimensions]`, and `nce.bias`, 0.

        The vectors are U(−1, 1), the weights of the classifier a truncated normal of σ = 1/√dimensions.
        The vocabulary is that of the text, if it is smaller than the model's. Raises `ValueError` for fewer than two
        words.
        """
        words = vocabulary_size(data, size.words)
        shape = (words, size.dimensions)
        classifier = truncated_normal(1 / math.sqrt(size.dimensions))
        return {
            "embedding": initial(uniform(1.0), shape, generator, dtype),
            "nce.weight": initial(classifier, shape, generator, dtype),
            "nce.bias": zeros(words, dtype),
        }

    def epoch(self, data: TextData, size: Size, batch: int) -> int:
        """Batches that use every word with two neighbours about once.

        Raises `ValueError` where a batch does not fit.
        """
        centres = len(data.train) - 2
        if batch < SKIPS or batch % SKIPS:
            raise ValueError(f"batch {batch} must be a positive multiple of {SKIPS}, the pairs that one word makes")
        if SKIPS * centres < batch:
            raise ValueError(
                f"batch {batch} needs {batch // SKIPS + 2} words of text; {data.label} has {len(data.train)}"
            )
        return SKIPS * centres // batch

    def batches(
        self, data: TextData, size: Size, batch: int, order: Generator, noise: Generator, dtype: torch.dtype = float32
    ) -> Iterator[Batch]:
        """Batches without end, read from the text in its order, from a place that is drawn once, round and round.

        (words `[batch]`, their neighbours and then the negative examples `[batch + negatives]`, ln of the expected
        counts of these, kept dimensions `[dimensions]` bool). Negative examples and dropout are common to a batch. They
        are drawn many batches at a time, so that a batch costs next to nothing.
        """
        self.epoch(data, size, batch)
        device, centres, vocabulary = order.device, len(data.train) - 2, vocabulary_size(data, size.words)
        text = torch.tensor(limited(data.train, vocabulary), device=device)
        likely, half = log_uniform(vocabulary).to(device), batch // SKIPS
        start = int(torch.randint(centres, (), generator=order, device=device))
        while True:
            middle = (start + torch.arange(BLOCK * half, device=device).view(BLOCK, half)) % centres + 1
            words = text[middle].repeat_interleave(SKIPS, dim=1)
            neighbours = torch.stack([text[middle - 1], text[middle + 1]], dim=2).flatten(1)
            sampled, draws = (
                torch.tensor(x, device=device) for x in negatives(vocabulary, size.negatives, BLOCK, noise)
            )
            candidates = torch.cat([neighbours, sampled], dim=1)
            offsets = expected_counts(likely[candidates], draws[:, None]).log().to(dtype)
            kept = torch.rand(BLOCK, size.dimensions, generator=noise, device=noise.device) >= DROPOUT
            yield from zip(words, candidates, offsets, kept, strict=True)
            start = (start + BLOCK * half) % centres

    def rows(self, batch: Batch) -> dict[str, Tensor]:
        """The rows of each table that the batch uses."""
        words, candidates, *_ = batch
        return {"embedding": words, "nce.weight": candidates, "nce.bias": candidates}

    def loss(self, size: Size, params: Params, batch: Batch, state: State = ()) -> tuple[Tensor, State]:
        """Noise-contrastive estimation, summed over the candidates and averaged over the pairs.

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
        return total, state

    @torch.no_grad()
    def gradients(self, size: Size, params: Params, batch: Batch, state: State = ()) -> tuple[Tensor, State, Params]:
        """As the base class, in closed form: in half of the time that autograd takes.

        With σ the logistic function, a score's derivative is (σ(s) − 1)/pairs for a neighbour and σ(s)/pairs for a
        negative example.
        """
        words, _, offsets, kept = batch
        pairs = len(words)
        scale = kept.to(offsets.dtype) / (1 - DROPOUT)
        vectors = params["embedding"] * scale
        weights, bias = params["nce.weight"], params["nce.bias"] - offsets
        right, wrong = weights[:pairs], weights[pairs:]
        true = torch.linalg.vecdot(vectors, right) + bias[:pairs]
        false = torch.addmm(bias[pairs:], vectors, wrong.t())
        total = (F.softplus(-true).sum() + F.softplus(false).sum()) / pairs
        of_true, of_false = true.sigmoid_().sub_(1).div_(pairs), false.sigmoid_().div_(pairs)
        of_weights = torch.empty_like(weights)
        torch.mul(vectors, of_true[:, None], out=of_weights[:pairs])
        torch.mm(of_false.t(), vectors, out=of_weights[pairs:])
        grads = {
            "embedding": torch.addmm(right * of_true[:, None], of_false, wrong).mul_(scale),
            "nce.weight": of_weights,
            "nce.bias": torch.cat([of_true, of_false.sum(0)]),
        }
        return total, state, grads

    @torch.no_grad()
    def evaluate(self, params: Params, data: TextData, split: str) -> dict[str, Tensor]:
        """Mean of (1 − cos)/2 over the analogies (`loss`): 0 where all are right, ½ for vectors that know nothing.

        The cosine is that between b − a + c, of vectors of length 1, and the vector of d. Analogies with a word outside
        the model's vocabulary are left out. Raises `ValueError` where none is left.
        """
        table = params["embedding"]
        questions = data.split(split)
        questions = questions[(questions < len(table)).all(axis=1)]
        if not len(questions):
            raise ValueError(f"no analogy of the {split} part of {data.label} is within {len(table)} words")
        words, places = np.unique(questions, return_inverse=True)
        vectors = F.normalize(table[torch.tensor(words, device=table.device)].double(), dim=1)
        a, b, c, d = (vectors[i] for i in torch.tensor(places.reshape(-1, 4).T, device=table.device))
        return {"loss": ((1 - F.cosine_similarity(b - a + c, d, dim=1)) / 2).mean()}


# ---------------------------------------------------------------- negative examples


def log_uniform(words: int) -> Tensor:
    """Probability of each word as a negative example: ln((k + 2) / (k + 1)) / ln(words + 1), float64 `[words]`.

    Nearly Zipf's law, for words numbered by falling frequency; TensorFlow's `log_uniform_candidate_sampler`.
    """
    k = torch.arange(words, dtype=torch.float64)
    return ((k + 2) / (k + 1)).log() / math.log(words + 1)


def negatives(words: int, count: int, batches: int, generator: Generator) -> tuple[Int64, Int64]:
    """For each batch `count` different words `[batches, count]`, and how many draws `[batches]` that took.

    They are drawn one by one from `log_uniform` until there are as many different ones. Raises `ValueError` where there
    are not as many words.
    """
    if not 0 < count <= words:
        raise ValueError(f"{count} different negative examples cannot be drawn from {words} words")
    drawn = np.empty((batches, 0), dtype=np.int64)
    while True:
        width = max(2 * count, drawn.shape[1])
        u = torch.rand(batches, width, generator=generator, device=generator.device, dtype=torch.float64)
        more = (u * math.log(words + 1)).exp().long().sub_(1).clamp_(0, words - 1)
        drawn = np.concatenate([drawn, more.cpu().numpy()], axis=1)
        new = _first_occurrences(drawn)
        nth = new.cumsum(axis=1)
        if (nth[:, -1] >= count).all():
            chosen = new & (nth <= count)
            return drawn[chosen].reshape(batches, count), (nth < count).sum(axis=1) + 1


def _first_occurrences(drawn: Int64) -> npt.NDArray[np.bool_]:
    """Where a number is new in its row."""
    places = drawn.shape[1]
    ordered = np.sort(drawn * places + np.arange(places), axis=1)  # by number, then by place
    number, place = np.divmod(ordered, places)
    new = np.ones_like(drawn, dtype=bool)
    np.put_along_axis(new, place[:, 1:], number[:, 1:] != number[:, :-1], axis=1)
    return new


def expected_counts(probabilities: Tensor, draws: Tensor) -> Tensor:
    """How often a word of such probability is expected among different ones after so many draws: 1 − (1 − p)^draws."""
    return -torch.expm1(draws * torch.log1p(-probabilities))

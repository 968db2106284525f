"""Text made by known models, so that what a network can reach is known: nothing to download, the same everywhere.

Only uniform random numbers are drawn, whose stream NumPy keeps the same from version to version.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

CHAIN_WORDS = 50
CHAIN_SUCCESSORS = 5
CHAIN_TOKENS = (40_000, 4_000, 4_000)

THEMES, ASPECTS = 8, 6
CLUE_WORDS = 3
CLUSTER_SENTENCES = 20_000


def transitions() -> Float64:
    """The Markov chain's matrix `[50, 50]`: row i is the distribution of the word after word i.

    A word has 5 possible successors, of unequal probability.
    """
    random = np.random.default_rng(20150608)
    matrix = np.zeros((CHAIN_WORDS, CHAIN_WORDS))
    for row in matrix:
        successors = np.argsort(random.random(CHAIN_WORDS), kind="stable")[:CHAIN_SUCCESSORS]
        weights = random.random(CHAIN_SUCCESSORS) ** 3 + 0.01
        row[successors] = weights / weights.sum()
    return matrix


def stationary(matrix: Float64) -> Float64:
    """The distribution π with π = πP, by repeated multiplication."""
    π = np.full(len(matrix), 1 / len(matrix))
    for _ in range(1000):
        π = π @ matrix
    normalized: Float64 = π / π.sum()
    return normalized


def entropy_rate(matrix: Float64) -> float:
    """Nats a word of a Markov chain: −Σᵢ πᵢ Σⱼ Pᵢⱼ ln Pᵢⱼ. No model predicts the text better."""
    logs = np.log(np.where(matrix > 0, matrix, 1.0))
    return float(-(stationary(matrix) @ (matrix * logs).sum(axis=1)))


def chain() -> list[list[str]]:
    """Training, development and test text of the chain, as words."""
    cumulative = transitions().cumsum(axis=1)
    cumulative[:, -1] = 1.0
    word, walk = 0, []
    for u in np.random.default_rng(1983).random(sum(CHAIN_TOKENS)):
        word = int(np.searchsorted(cumulative[word], u, side="right"))
        walk.append(f"w{word:02d}")
    ends = list(itertools.accumulate(CHAIN_TOKENS, initial=0))
    return [walk[a:b] for a, b in itertools.pairwise(ends)]


def clusters() -> tuple[list[str], str]:
    """A text of word clusters, and its analogies in the form of `questions-words.txt`.

    48 words have one of 8 themes and one of 6 aspects. Every sentence is one of them between a clue to its theme and a
    clue to its aspect (3 words each), in either order. So neighbours tell theme and aspect apart, and
    theme1-aspect1 is to theme1-aspect2 as theme2-aspect1 is to theme2-aspect2.
    """
    random = np.random.default_rng(1957)
    text: list[str] = []
    for u in random.random((CLUSTER_SENTENCES, 5)):
        theme, aspect = int(u[0] * THEMES), int(u[1] * ASPECTS)
        clues = [f"theme{theme}clue{int(u[2] * CLUE_WORDS)}", f"aspect{aspect}clue{int(u[3] * CLUE_WORDS)}"]
        first, last = clues if u[4] < 0.5 else clues[::-1]
        text += [first, _member(theme, aspect), last]
    questions = [
        f"{_member(i, a)} {_member(i, b)} {_member(j, a)} {_member(j, b)}"
        for i, j in itertools.permutations(range(THEMES), 2)
        for a, b in itertools.permutations(range(ASPECTS), 2)
    ]
    order = np.argsort(random.random(len(questions)), kind="stable")[:600]
    return text, "\n".join([": theme and aspect", *(questions[i] for i in order)])


def _member(theme: int, aspect: int) -> str:
    return f"t{theme}a{aspect}"

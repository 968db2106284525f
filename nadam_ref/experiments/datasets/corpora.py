"""Text as numbers of words or characters: Penn Treebank, WikiText-2, text8 with analogies, and the generated sets."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import synthetic
from .registry import SPLITS, DataError, Subset, folder, paths, require

Int64 = npt.NDArray[np.int64]

UNKNOWN = "<unk>"
END = "<eos>"
HELD_OUT = 2**16  # characters of a text in one file that are kept for development, and as many for the test


@dataclass(frozen=True)
class TextData:
    """Words as numbers, in three parts, read-only.

    `words[i]` is the word of number i: `<unk>` first, then the others by falling frequency in the training text, so
    that a vocabulary of V words is the numbers below V, and all others are `<unk>`, 0.
    `train` is int64 `[tokens]`. `dev` and `test` are the same, or, where the data are for word vectors, analogies
    `[questions, 4]`: a is to b as c is to d.
    """

    name: str
    label: str
    words: tuple[str, ...]
    train: Int64
    dev: Int64
    test: Int64

    def __post_init__(self) -> None:
        for part in SPLITS:
            self.split(part).setflags(write=False)

    def split(self, name: str) -> Int64:
        """`train`, `dev` or `test`."""
        array: Int64 = getattr(self, name)
        return array

    @functools.cached_property
    def sha256(self) -> str:
        """Identity of exactly these words and numbers in exactly this split."""
        digest = hashlib.sha256("\n".join(self.words).encode())
        for part in SPLITS:
            array = self.split(part)
            digest.update(f"\n{part} {array.shape}\n".encode())
            digest.update(array.astype("<i8").tobytes())
        return digest.hexdigest()

    def first(self, sizes: Subset) -> TextData:
        """The first `sizes = (train, dev, test)` tokens (or analogies) of each part; the label says so.

        Raises `ValueError` where a part has fewer than asked for.
        """
        parts: dict[str, Any] = {}
        for part, size in zip(SPLITS, sizes, strict=True):
            array = self.split(part)
            if not 0 < size <= len(array):
                raise ValueError(f"subset asks for {size} {part} items; {self.label} has {len(array)}")
            parts[part] = array[:size].copy()
        text = "/".join(f"{size:,}" for size in sizes)
        return replace(self, label=f"{self.label}, first {text} train/dev/test items", **parts)


# ---------------------------------------------------------------- from text to numbers


def read_text(path: Path) -> str:
    """A text in UTF-8 with any kind of line ends. Raises `DataError` for other bytes, and for fewer than two words."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from error
    if len(text.split()) < 2:
        raise DataError(f"{path} has {len(text.split())} words; there is nothing to predict in it")
    return text


def tokens(text: str) -> list[str]:
    """Words between blanks, and `<eos>` for every end of a line."""
    return text.replace("\n", f" {END} ").split()


def vocabulary(train: Sequence[str]) -> tuple[str, ...]:
    """`<unk>` and the other words by falling frequency, equal ones in alphabetical order."""
    counts = Counter(train)
    counts.pop(UNKNOWN, None)
    return (UNKNOWN, *sorted(counts, key=lambda word: (-counts[word], word)))


def numbers(words: Sequence[str], text: Sequence[str]) -> Int64:
    """The number of every word of `text`; 0 for those that are not in `words`."""
    known = {word: number for number, word in enumerate(words)}
    return np.fromiter((known.get(word, 0) for word in text), dtype=np.int64, count=len(text))


def limited(ids: Int64, words: int) -> Int64:
    """Word numbers in a vocabulary of `words` words: the rarer ones become `<unk>`."""
    return np.where(ids < words, ids, 0)


def vocabulary_size(data: TextData, most: int) -> int:
    """Words of a model's vocabulary: those of the text, but at most so many. Raises `ValueError` for fewer than 2."""
    words = min(most, len(data.words))
    if words < 2:
        raise ValueError(f"a vocabulary of {words} word leaves nothing to learn; {data.label} has {len(data.words)}")
    return words


def analogies(text: str, words: Sequence[str]) -> Int64:
    """Analogies `[questions, 4]` of a `questions-words.txt`, in lower case, those with a word not in `words` left out.

    Raises `DataError` for a line that has other than four words.
    """
    known = {word: number for number, word in enumerate(words)}
    questions = []
    for line in text.splitlines():
        parts = line.lower().split()
        if line.startswith(":") or not parts:
            continue
        if len(parts) != 4:
            raise DataError(f"an analogy has four words, not {line!r}")
        questions.append([known.get(part, 0) for part in parts])
    ids = np.array(questions, dtype=np.int64).reshape(-1, 4)
    return ids[(ids > 0).all(axis=1)]


# ---------------------------------------------------------------- the sets


def from_words(name: str, label: str, train: Sequence[str], dev: Sequence[str], test: Sequence[str]) -> TextData:
    """A language model's data from three texts, with the vocabulary of the first."""
    words = vocabulary(train)
    return TextData(name, label, words, numbers(words, train), numbers(words, dev), numbers(words, test))


def _from_files(name: str, label: str) -> TextData:
    return from_words(name, label, *(tokens(read_text(path)) for path in paths(name)))


def _chain() -> TextData:
    return from_words("chain", "generated text (Markov chain of 50 words)", *synthetic.chain())


def _with_analogies(name: str, label: str, train: list[str], questions: str) -> TextData:
    """Of the analogies every second one is for the choice of the rate (dev), the others are the test."""
    words = vocabulary(train)
    asked = analogies(questions, words)
    return TextData(name, label, words, numbers(words, train), asked[::2].copy(), asked[1::2].copy())


def _first_file_with_analogies(name: str, label: str) -> TextData:
    require("analogies")
    (questions,) = paths("analogies")
    return _with_analogies(name, label, read_text(paths(name)[0]).lower().split(), read_text(questions))


def _clusters() -> TextData:
    train, questions = synthetic.clusters()
    return _with_analogies("clusters", "generated word clusters", train, questions)


def _chain_characters() -> TextData:
    train, dev, test = (list(" ".join(words)) for words in synthetic.chain())
    return from_words("chain", "generated text (characters of a Markov chain of 50 words)", train, dev, test)


def _file_characters(name: str, label: str) -> TextData:
    """One file, of which the last characters are kept for development and the very last for the test."""
    text = list(read_text(paths(name)[0]))
    train, dev = len(text) - 2 * HELD_OUT, len(text) - HELD_OUT
    return from_words(name, label, text[:train], text[train:dev], text[dev:])


TEXTS: dict[str, Callable[[], TextData]] = {
    "chain": _chain,
    "ptb": functools.partial(_from_files, "ptb", "Penn Treebank"),
    "wikitext-2": functools.partial(_from_files, "wikitext-2", "WikiText-2"),
}
WORDS: dict[str, Callable[[], TextData]] = {
    "clusters": _clusters,
    "text8": functools.partial(_first_file_with_analogies, "text8", "text8, first 6,877,825 bytes"),
    "wikitext-2": functools.partial(_first_file_with_analogies, "wikitext-2", "WikiText-2 in lower case"),
}
CHARACTERS: dict[str, Callable[[], TextData]] = {
    "chain": _chain_characters,
    "text8": functools.partial(_file_characters, "text8", "characters of text8, first 6,877,825"),
}


@functools.lru_cache(maxsize=4)
def _load(kind: str, name: str, subset: Subset | None, place: Path) -> TextData:
    readers = {"text": TEXTS, "words": WORDS, "characters": CHARACTERS}[kind]
    if name not in readers:
        raise DataError(f"data set {name!r} does not serve this task; those that do: {', '.join(readers)}")
    require(name)
    whole = readers[name]()
    return whole if subset is None else whole.first(subset)


def load_text(name: str, subset: Subset | None = None) -> TextData:
    """Text for a language model: `chain`, `ptb` or `wikitext-2`, checked against its checksums.

    `subset` keeps the first (train, dev, test) tokens. Raises `DataError` where the set is absent, damaged or none of
    these. Nothing is downloaded. The last four sets are kept in memory.
    """
    return _load("text", name, subset, folder(name))


def load_words(name: str, subset: Subset | None = None) -> TextData:
    """Text and analogies for word vectors: `clusters`, `text8` or `wikitext-2`; otherwise as `load_text`."""
    return _load("words", name, subset, folder(name))


def load_characters(name: str, subset: Subset | None = None) -> TextData:
    """Text for a model of characters, which are its `words`: `chain` or `text8`; otherwise as `load_text`."""
    return _load("characters", name, subset, folder(name))

"""The report's language model: two LSTM layers over words, as in TensorFlow's small configuration for Penn Treebank.

Zaremba, Sutskever and Vinyals (2014) describe the network; the report trains it without dropout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.corpora import Int64, TextData, limited, load_text, vocabulary_size
from ..datasets.registry import Subset
from .base import Batch, Params, State, Task
from .initialization import PAPER, initial, penalty, uniform, zeros

__all__ = ["LanguageModel", "Size"]

SCALE = 0.1
STREAMS = {"dev": 20, "test": 1}  # pieces that a text is cut into for evaluation


@dataclass(frozen=True)
class Size:
    """Most words of the vocabulary, units of a layer, layers, words from one cut of the gradient to the next.

    `init` and `penalty` (with its `strength`) are named in `choices`; "paper" is U(−.1, .1).
    """

    words: int
    units: int
    layers: int = 2
    unroll: int = 20
    init: str = PAPER
    penalty: str = "none"
    strength: float = 0.0


class LanguageModel(Task):
    """The next word of a text."""

    VERSION = 2
    METRIC = "perplexity"
    SIZES: ClassVar = {
        "smoke": Size(words=2_000, units=8, unroll=5),
        "live": Size(words=2_000, units=32, unroll=10),
        "small": Size(words=2_000, units=64),
        "paper": Size(words=10_000, units=200),
    }

    def load(self, name: str, subset: Subset | None = None) -> TextData:
        return load_text(name, subset)

    def init(
        self, data: TextData, size: Size, generator: torch.Generator, dtype: torch.dtype = torch.float32
    ) -> Params:
        """Fresh parameters: U(−.1, .1), the LSTM's biases 0 (the forget gate's too). One bias a gate.

        A layer's gates lie one above the other: input, forget, candidate, output.
        The vocabulary is that of the text, if it is smaller than the model's. Raises `ValueError` for fewer than two
        words.
        """
        words = vocabulary_size(data, size.words)

        def weight(*shape: int) -> Tensor:
            return initial(size.init, uniform(SCALE), shape, generator, dtype)

        params = {"embedding": weight(words, size.units)}
        for layer in range(size.layers):
            params[f"lstm{layer}.input"] = weight(4 * size.units, size.units)
            params[f"lstm{layer}.hidden"] = weight(4 * size.units, size.units)
            params[f"lstm{layer}.bias"] = zeros(4 * size.units, dtype)
        params["output.weight"] = weight(words, size.units)
        params["output.bias"] = initial(PAPER, uniform(SCALE), (words,), generator, dtype)
        return params

    def epoch(self, data: TextData, size: Size, batch: int) -> int:
        """Whole stretches of `size.unroll` words in a piece of the text. Raises `ValueError` where there is none."""
        steps = (len(data.train) // batch - 1) // size.unroll
        if steps < 1:
            needed = batch * (size.unroll + 1)
            raise ValueError(
                f"batch {batch} × {size.unroll} words needs {needed} words of text; {data.label} has {len(data.train)}"
            )
        return steps

    def batches(
        self,
        data: TextData,
        size: Size,
        batch: int,
        order: torch.Generator,
        noise: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Iterator[Batch]:
        """Batches (words `[unroll, batch]`, next words `[unroll, batch]`, 0 at the start of an epoch and 1 elsewhere).

        The text is cut into `batch` pieces, read side by side. Where they are cut is drawn once, by turning the text
        round like a wheel, so that a seed has a data order of its own. They come without end.
        """
        steps = self.epoch(data, size, batch)
        ids = torch.tensor(data.train)
        turn = int(torch.randint(len(ids), (), generator=order, device=order.device))
        text = _columns(ids.roll(-turn).numpy(), size.words, batch).to(order.device)
        going = torch.ones((), dtype=dtype, device=order.device)
        while True:
            for step in range(steps):
                start = step * size.unroll
                stop = start + size.unroll
                yield text[start:stop], text[start + 1 : stop + 1], going if step else torch.zeros_like(going)

    def state(self, size: Size, batch: int, dtype: torch.dtype = torch.float32) -> State:
        """Hidden and cell values `[layers, batch, units]` before the first word: 0."""
        return tuple(torch.zeros(size.layers, batch, size.units, dtype=dtype) for _ in range(2))

    def loss(self, size: Size, params: Params, batch: Batch, state: State = ()) -> tuple[Tensor, State]:
        """Cross-entropy summed over time and averaged over the batch, plus the penalty; and the state after it.

        Clipping and rates refer to this sum. The state is handed on as values: gradients stop at the batch's beginning.
        """
        words, following, going = batch
        scores, after = _forward(params, words, tuple(x * going for x in state))
        total = F.cross_entropy(scores, following.flatten(), reduction="sum") / words.shape[1]
        if size.penalty != "none":
            total = total + penalty(size.penalty, size.strength, params)
        return total, tuple(x.detach() for x in after)

    @torch.no_grad()
    def evaluate(self, params: Params, data: TextData, split: str) -> dict[str, Tensor]:
        """Mean cross-entropy a word in nats (`loss`) and its exponential (`perplexity`), the state carried throughout.

        As the tutorial does: the development text is read as 20 pieces side by side, the test text as one. Raises
        `ValueError` where a text is too short for that.
        """
        bias = params["output.bias"]
        count, units = params["embedding"].shape
        streams = STREAMS[split]
        text = _columns(data.split(split), count, streams).to(bias.device)
        if len(text) < 2:
            raise ValueError(
                f"the {split} part of {data.label} has {data.split(split).size} words; it needs {2 * streams}"
            )
        layers = sum(name.endswith(".hidden") for name in params)
        state = tuple(bias.new_zeros(layers, streams, units) for _ in range(2))
        total = bias.new_zeros((), dtype=torch.float64)
        for start in range(0, len(text) - 1, 20):  # in stretches, so that memory stays small
            words = text[start : min(start + 20, len(text) - 1)]
            following = text[start + 1 : start + 1 + len(words)]
            scores, state = _forward(params, words, state)
            total = total + F.cross_entropy(scores, following.flatten(), reduction="sum")
        mean = total / text[1:].numel()
        return {"loss": mean, "perplexity": mean.exp()}


def _columns(ids: Int64, words: int, streams: int) -> Tensor:
    """A text cut into `streams` pieces of equal length, side by side, `[time, streams]`; a rest is dropped."""
    length = len(ids) // streams
    return torch.tensor(limited(ids[: length * streams], words)).view(streams, length).t().contiguous()


def _layer(params: Params, layer: int, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer over `x` `[time, batch, units]`: its outputs, and its last hidden and cell values.

    The input's part of all gates is one product, before the loop over time.
    """
    hidden = params[f"lstm{layer}.hidden"].t()
    given = F.linear(x, params[f"lstm{layer}.input"], params[f"lstm{layer}.bias"])
    outputs = []
    for now in given.unbind(0):
        i, f, g, o = torch.addmm(now, h, hidden).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs), h, c


def _forward(params: Params, words: Tensor, state: State) -> tuple[Tensor, State]:
    """Scores of the next word, `[time · batch, words]`, and the state after the last word."""
    x = F.embedding(words, params["embedding"])
    last = []
    for layer, (h, c) in enumerate(zip(*state, strict=True)):
        x, *after = _layer(params, layer, x, h, c)
        last.append(after)
    scores = F.linear(x.flatten(0, 1), params["output.weight"], params["output.bias"])
    return scores, tuple(torch.stack(values) for values in zip(*last, strict=True))

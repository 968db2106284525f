"""The report's language model: two LSTM layers over words, as in TensorFlow's small configuration for Penn Treebank.

Zaremba, Sutskever and Vinyals (2014) describe the network; the report trains it without dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, float32

from ...memory import is_memory
from ..datasets.corpora import Int64, TextData, limited, load_text, vocabulary_size
from ..datasets.registry import Subset
from .base import Batch, Params, State, Task, chosen
from .initialization import PAPER, fill_of, initial, penalty, uniform, zeros

SCALE = 0.1
STREAMS = {"dev": 20, "test": 1}  # pieces that a text is cut into for evaluation
AT_ONCE = 400  # words that an evaluation looks at together

GATES = {"lstm": 4, "rnn": 1}  # products with the input that a cell takes for each unit
VALUES = {"lstm": 2, "rnn": 1}  # values that a cell keeps for each unit: hidden, and the LSTM's own


@dataclass(frozen=True)
class Size:
    """Most words of the vocabulary, units of a layer, layers, words from one cut of the gradient to the next.

    `cell`: "lstm", or "rnn" for the simple recurrent unit, h ← tanh(W x + U h + b). `init`: of weights, "paper",
    "xavier" or "he"; `l1`: the strength of a penalty on them.
    """

    words: int
    units: int
    layers: int = 2
    unroll: int = 20
    cell: str = "lstm"
    init: str = PAPER
    l1: float = 0.0


class LanguageModel(Task):
    """The next word of a text."""

    VERSION = 3
    METRIC = "perplexity"
    SIZES: ClassVar = {
        "smoke": Size(words=2_000, units=8, unroll=5),
        "live": Size(words=2_000, units=32, unroll=10),
        "small": Size(words=2_000, units=64),
        "paper": Size(words=10_000, units=200),
        "choices": Size(words=2_000, units=64),
    }

    def load(self, name: str, subset: Subset | None = None) -> TextData:
        return load_text(name, subset)

    def init(self, data: TextData, size: Size, generator: Generator, dtype: torch.dtype = float32) -> Params:
        """Fresh parameters: U(−.1, .1), the LSTM's biases 0 (the forget gate's too). One bias a gate.

        A layer's gates lie one above the other: input, forget, candidate, output. A simple recurrent unit has no gates.
        The vocabulary is that of the text, if it is smaller than the model's. Raises `ValueError` for fewer than two
        words.
        """
        words, own = vocabulary_size(data, size.words), uniform(SCALE)
        fill, rows = fill_of(size.init, own), chosen("cell", size.cell, GATES) * size.units

        def weight(*shape: int) -> Tensor:
            return initial(fill, shape, generator, dtype)

        params = {"embedding": weight(words, size.units)}
        for layer in range(size.layers):
            params[f"{size.cell}{layer}.input"] = weight(rows, size.units)
            params[f"{size.cell}{layer}.hidden"] = weight(rows, size.units)
            params[f"{size.cell}{layer}.bias"] = zeros(rows, dtype)
        params["output.weight"] = weight(words, size.units)
        params["output.bias"] = initial(own, (words,), generator, dtype)
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
        self, data: TextData, size: Size, batch: int, order: Generator, noise: Generator, dtype: torch.dtype = float32
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

    def state(self, size: Size, batch: int, dtype: torch.dtype = float32) -> State:
        """Hidden and, of an LSTM, cell values `[layers, batch, units]` before the first word: 0."""
        return tuple(torch.zeros(size.layers, batch, size.units, dtype=dtype) for _ in range(VALUES[size.cell]))

    def loss(self, size: Size, params: Params, batch: Batch, state: State = ()) -> tuple[Tensor, State]:
        """Cross-entropy summed over time and averaged over the batch, plus any L1, and the state after it.

        Clipping and rates refer to this sum. The state is handed on as values: gradients stop at the batch's beginning.
        """
        words, following, going = batch
        scores, after = _forward(params, words, tuple(x * going for x in state))
        total = F.cross_entropy(scores, following.flatten(), reduction="sum") / words.shape[1]
        return total + penalty(size.l1, params), tuple(x.detach() for x in after)

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
        state = tuple(bias.new_zeros(layers, streams, units) for _ in range(VALUES[_cell(params)]))
        total = bias.new_zeros((), dtype=torch.float64)
        stretch = AT_ONCE // streams  # memory stays small
        for start in range(0, len(text) - 1, stretch):
            words = text[start : min(start + stretch, len(text) - 1)]
            following = text[start + 1 : start + 1 + len(words)]
            scores, state = _forward(params, words, state)
            total = total + F.cross_entropy(scores, following.flatten(), reduction="sum")
        mean = total / text[1:].numel()
        return {"loss": mean, "perplexity": mean.exp()}


def _columns(ids: Int64, words: int, streams: int) -> Tensor:
    """A text cut into `streams` pieces of equal length, side by side, `[time, streams]`; a rest is dropped."""
    length = len(ids) // streams
    return torch.tensor(limited(ids[: length * streams], words)).view(streams, length).t().contiguous()


def _cell(params: Params) -> str:
    """The cell that parameters are of."""
    return "rnn" if "rnn0.hidden" in params else "lstm"


def _rnn(params: Params, layer: int, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """One layer of simple recurrent units over `x` `[time, batch, units]`: its outputs, and its last hidden values."""
    hidden = params[f"rnn{layer}.hidden"].t()
    outputs = []
    for now in F.linear(x, params[f"rnn{layer}.input"], params[f"rnn{layer}.bias"]).unbind(0):
        h = torch.tanh(torch.addmm(now, h, hidden))
        outputs.append(h)
    return torch.stack(outputs), h


def _lstm(params: Params, layer: int, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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


def _by_step(params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
    """The outputs of all layers over `x`, and each layer's last values, in operations that torch.func can transform."""
    layers: dict[str, Callable[..., tuple[Tensor, ...]]] = {"lstm": _lstm, "rnn": _rnn}
    of_cell, last = layers[_cell(params)], []
    for layer, values in enumerate(zip(*state, strict=True)):
        x, *after = of_cell(params, layer, x, *values)
        last.append(after)
    return x, tuple(torch.stack(values) for values in zip(*last, strict=True))


def _by_kernel(params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
    """As `_by_step`, to rounding, by torch's own loop: several times as fast, most of all without gradients."""
    cell, layers, weights = _cell(params), len(state[0]), list[Tensor]()
    for layer in range(layers):
        bias = params[f"{cell}{layer}.bias"]
        weights += [params[f"{cell}{layer}.input"], params[f"{cell}{layer}.hidden"], bias, torch.zeros_like(bias)]
    # with biases, layers, dropout, training, bidirectional, batch first
    how = True, layers, 0.0, torch.is_grad_enabled(), False, False
    if cell == "lstm":
        x, *after = torch.lstm(x, state, weights, *how)
    else:
        x, *after = torch.rnn_tanh(x, state[0], weights, *how)
    return x, tuple(after)


def _forward(params: Params, words: Tensor, state: State) -> tuple[Tensor, State]:
    """Scores of the next word, `[time · batch, words]`, and the state after the last word."""
    x = F.embedding(words, params["embedding"])
    outputs, after = (_by_kernel if x.is_cpu and is_memory(x) else _by_step)(params, x, state)
    return F.linear(outputs.flatten(0, 1), params["output.weight"], params["output.bias"]), after

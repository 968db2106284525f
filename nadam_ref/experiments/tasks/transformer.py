"""A small transformer over characters. It is of neither paper: today's network, for today's optimizers.

The decoder of Radford and others (2019), GPT-2, in small: norms before attention and feed-forward layers, GELU, learned
positions, no dropout. It differs in that nothing has a bias, and in that the head is a matrix of its own, not the
embedding once more, so that Muon's split into hidden matrices and the rest needs no exception.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, float32
from torch.nn.init import normal_

from ..datasets.corpora import TextData, load_characters
from ..datasets.registry import Subset
from .base import Batch, Params, State, Task
from .initialization import initial

SCALE = 0.02  # standard deviation of fresh weights, as in GPT-2
HEAD = 32  # units of a head of attention
BLOCK = 32  # windows that are evaluated at once, so that memory stays small
HIDDEN = ("query", "key", "value", "project", "expand", "contract")  # the matrices of a block
PARTS = ("norm1", "norm2", *HIDDEN)  # its parameters


@dataclass(frozen=True)
class Size:
    """Units, a multiple of 32 because each head of attention has 32; blocks; characters of context."""

    units: int
    blocks: int
    context: int


class Transformer(Task):
    """The next character of a text."""

    VERSION = 1
    SIZES: ClassVar = {
        "smoke": Size(units=32, blocks=1, context=8),
        "live": Size(units=64, blocks=2, context=32),
        "small": Size(units=128, blocks=2, context=64),
    }

    def load(self, name: str, subset: Subset | None = None) -> TextData:
        return load_characters(name, subset)

    def init(self, data: TextData, size: Size, generator: Generator, dtype: torch.dtype = float32) -> Params:
        """Fresh parameters: weights N(0, .02²), those that end a branch divided by √(2 blocks), gains of norms 1."""
        characters, units = len(data.words), size.units
        ending = SCALE / math.sqrt(2 * size.blocks)

        def weight(rows: int, columns: int, scale: float = SCALE) -> Tensor:
            return initial(functools.partial(normal_, std=scale), (rows, columns), generator, dtype)

        def gain() -> Tensor:
            return torch.ones(units, dtype=dtype, requires_grad=True)

        params = {"embedding": weight(characters, units), "positions": weight(size.context, units)}
        for block in range(size.blocks):
            at = f"block{block}"
            params |= {f"{at}.norm1": gain(), f"{at}.norm2": gain()}
            params |= {f"{at}.{name}": weight(units, units) for name in ("query", "key", "value")}
            params[f"{at}.project"] = weight(units, units, ending)
            params[f"{at}.expand"] = weight(4 * units, units)
            params[f"{at}.contract"] = weight(units, 4 * units, ending)
        return params | {"norm": gain(), "head": weight(characters, units)}

    def hidden(self, params: Params) -> Sequence[str]:
        """The matrices of all blocks."""
        return [name for name in params if name.startswith("block") and name.endswith(HIDDEN)]

    def epoch(self, data: TextData, size: Size, batch: int) -> int:
        """Batches with as many characters as the text. Raises `ValueError` where the text is shorter than one."""
        steps = (len(data.train) - 1) // (batch * size.context)
        if steps < 1:
            raise ValueError(
                f"batch {batch} × {size.context} characters needs {batch * size.context + 1} characters of text; "
                f"{data.label} has {len(data.train)}"
            )
        return steps

    def batches(
        self, data: TextData, size: Size, batch: int, order: Generator, noise: Generator, dtype: torch.dtype = float32
    ) -> Iterator[Batch]:
        """Batches (characters `[batch, context]`, the next ones `[batch, context]`) without end.

        Each is of stretches that begin anywhere in the text, drawn independently.
        """
        self.epoch(data, size, batch)
        text = torch.tensor(data.train, device=order.device)
        along = torch.arange(size.context + 1, device=order.device)
        while True:
            starts = torch.randint(len(text) - size.context, (batch, 1), generator=order, device=order.device)
            stretches = text[starts + along]
            yield stretches[:, :-1], stretches[:, 1:]

    def scores(self, params: Params, text: Tensor) -> Tensor:
        """Scores of the character after each, `[N, T, characters]`, for stretches `[N, T]`, T at most the context."""
        x = F.embedding(text, params["embedding"]) + params["positions"][: text.shape[1]]
        for block in range(sum(name.endswith(".query") for name in params)):
            own = {name: params[f"block{block}.{name}"] for name in PARTS}
            x = x + _attention(own, _norm(x, own["norm1"]))
            x = x + F.linear(F.gelu(F.linear(_norm(x, own["norm2"]), own["expand"])), own["contract"])
        return F.linear(_norm(x, params["norm"]), params["head"])

    def loss(self, size: Size, params: Params, batch: Batch, state: State = ()) -> tuple[Tensor, State]:
        """Mean cross-entropy a character, in nats."""
        text, following = batch
        return F.cross_entropy(self.scores(params, text).flatten(0, 1), following.flatten()), state

    @torch.no_grad()
    def evaluate(self, params: Params, data: TextData, split: str) -> dict[str, Tensor]:
        """Mean cross-entropy a character in nats (`loss`) on a part of the text, cut into stretches of the context.

        A rest is dropped. Raises `ValueError` where the part is shorter than one stretch.
        """
        context = len(params["positions"])
        text = torch.tensor(data.split(split), device=params["head"].device)
        count = (len(text) - 1) // context
        if count < 1:
            raise ValueError(f"the {split} part of {data.label} has {len(text)} characters; it needs {context + 1}")
        inputs, following = (x[: count * context].view(count, -1) for x in (text[:-1], text[1:]))
        total = params["head"].new_zeros((), dtype=torch.float64)
        for start in range(0, count, BLOCK):
            block = slice(start, start + BLOCK)
            scores = self.scores(params, inputs[block]).flatten(0, 1)
            total = total + F.cross_entropy(scores, following[block].flatten(), reduction="sum")
        return {"loss": total / following.numel()}


def _norm(x: Tensor, gain: Tensor) -> Tensor:
    return F.layer_norm(x, gain.shape, gain)


def _attention(own: Params, x: Tensor) -> Tensor:
    """Attention of each place to itself and those before it, `[N, T, units]`."""
    n, time, units = x.shape
    q, k, v = (F.linear(x, own[name]).view(n, time, -1, HEAD).transpose(1, 2) for name in ("query", "key", "value"))
    later = torch.ones(time, time, dtype=torch.bool, device=x.device).triu(1)
    weights = (q @ k.transpose(2, 3) / math.sqrt(HEAD)).masked_fill(later, -math.inf).softmax(-1)
    return F.linear((weights @ v).transpose(1, 2).reshape(n, time, units), own["project"])

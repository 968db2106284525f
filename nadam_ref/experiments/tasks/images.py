"""The report's MNIST network: two convolutions, a dense layer with dropout, softmax.

It follows TensorFlow's tutorial `convolutional.py` of the time, at several sizes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, float32

from ..datasets.images import ImageData
from .base import Batch, ImageTask, Params, State
from .initialization import PAPER, fill_of, initial, penalty, truncated_normal

CLASSES = 10
KERNEL = 5
L2 = 5e-4
DROPOUT = 0.5


@dataclass(frozen=True)
class Size:
    """Channels of the two convolutions and units of the dense layer.

    `init`: of weights, "paper", "xavier" or "he"; `l1`: strength of a penalty on them.
    """

    conv1: int
    conv2: int
    dense: int
    init: str = PAPER
    l1: float = 0.0


class Images(ImageTask):
    """Classification of digits."""

    VERSION = 1
    SIZES: ClassVar = {
        "smoke": Size(2, 4, 16),
        "live": Size(4, 8, 32),
        "small": Size(8, 16, 64),
        "paper": Size(32, 64, 512),
        "choices": Size(8, 16, 64),
    }

    def init(self, data: ImageData, size: Size, generator: Generator, dtype: torch.dtype = float32) -> Params:
        """Fresh parameters: weights from a normal of σ = .1 cut off at 2σ; biases 0 in the first layer, else .1.

        The sides of the images must be multiples of 4. Raises `ValueError` for others.
        """
        height, width = data.train_images.shape[1:]
        if height % 4 or width % 4:
            raise ValueError(
                f"images of {height}×{width} pixels cannot be pooled twice by 2; sides must be multiples of 4"
            )
        shapes = {
            "conv1": (size.conv1, 1, KERNEL, KERNEL),
            "conv2": (size.conv2, size.conv1, KERNEL, KERNEL),
            "dense": (size.dense, size.conv2 * (height // 4) * (width // 4)),
            "output": (CLASSES, size.dense),
        }
        params, fill = Params(), fill_of(size.init, truncated_normal(0.1))
        for layer, shape in shapes.items():
            params[f"{layer}.weight"] = initial(fill, shape, generator, dtype)
            bias = 0.0 if layer == "conv1" else 0.1
            params[f"{layer}.bias"] = torch.full((shape[0],), bias, dtype=dtype, requires_grad=True)
        return params

    def inputs(self, images: Tensor, white: int, dtype: torch.dtype) -> Tensor:
        """As the base class, but with values in [−.5, .5]."""
        return super().inputs(images, white, dtype).sub_(0.5)

    def targets(self, labels: Tensor, size: Size, noise: Generator) -> Batch:
        """Labels `[batch]`, and which units of the dense layer are kept, bool `[batch, dense]`."""
        return labels, torch.rand(len(labels), size.dense, generator=noise, device=noise.device) >= DROPOUT

    def logits(self, params: Params, inputs: Tensor, kept: Tensor | None = None) -> Tensor:
        """Class scores `[N, 10]`.

        Units of the dense layer that are not `kept` (bool `[N, dense]`) are 0 and the others doubled; without `kept`
        there is no dropout.
        """
        x = inputs
        for layer in ("conv1", "conv2"):
            x = F.conv2d(x, params[f"{layer}.weight"], params[f"{layer}.bias"], padding=KERNEL // 2)
            x = F.relu(F.max_pool2d(x, 2))  # the maximum and ReLU commute; this order is the cheaper one
        x = F.relu(F.linear(x.flatten(1), params["dense.weight"], params["dense.bias"]))
        if kept is not None:
            x = x * kept / (1 - DROPOUT)
        return F.linear(x, params["output.weight"], params["output.bias"])

    def loss(self, size: Size, params: Params, batch: Batch, state: State = ()) -> tuple[Tensor, State]:
        """Mean cross-entropy with dropout, plus 5e-4 · ½‖·‖² of both dense layers, biases included, plus any L1."""
        inputs, labels, kept = batch
        squares = sum(
            params[f"{layer}.{kind}"].square().sum() for layer in ("dense", "output") for kind in ("weight", "bias")
        )
        error = F.cross_entropy(self.logits(params, inputs, kept), labels) + L2 * squares / 2
        return error + penalty(size.l1, params), state

    @torch.no_grad()
    def evaluate(self, params: Params, data: ImageData, split: str) -> dict[str, Tensor]:
        """Mean cross-entropy (`loss`, no dropout, no penalty) and `accuracy` on a part of the data."""
        blocks = self.blocks(data, split, params["output.bias"])
        return classified((self.logits(params, inputs), labels) for inputs, labels in blocks)


def classified(blocks: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Mean cross-entropy (`loss`) and `accuracy` over blocks of class scores `[N, classes]` and labels `[N]`."""
    losses, hits, count = list[Tensor](), list[Tensor](), 0
    for scores, labels in blocks:
        losses.append(F.cross_entropy(scores, labels, reduction="sum").double())
        hits.append((scores.argmax(1) == labels).sum().double())
        count += len(labels)
    return {"loss": functools.reduce(torch.add, losses) / count, "accuracy": functools.reduce(torch.add, hits) / count}

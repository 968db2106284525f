"""The small network of the chapters on the rules: dense layers from pixels to digits. It is of neither paper."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, float32
from torch.nn.init import kaiming_normal_

from ..datasets.images import ImageData
from .base import Batch, ImageTask, Params, State
from .images import CLASSES, classified
from .initialization import initial, zeros

HE = functools.partial(kaiming_normal_, nonlinearity="relu")


@dataclass(frozen=True)
class Size:
    """Hidden layers, and the units of each."""

    layers: int
    units: int


class Digits(ImageTask):
    """Classification of digits by a stack of dense layers with ReLU."""

    VERSION = 1
    SIZES: ClassVar = {"smoke": Size(1, 8), "small": Size(3, 32), "map": Size(3, 32)}

    def init(self, data: ImageData, size: Size, generator: Generator, dtype: torch.dtype = float32) -> Params:
        """Fresh parameters: weights after He et al. (2015), normal with variance 2 / inputs; biases 0."""
        height, width = data.train_images.shape[1:]
        units = [height * width, *[size.units] * size.layers, CLASSES]
        params: Params = {}
        for layer, shape in enumerate(zip(units[1:], units, strict=False)):
            params[f"dense{layer}.weight"] = initial(HE, shape, generator, dtype)
            params[f"dense{layer}.bias"] = zeros(shape[0], dtype)
        return params

    def targets(self, labels: Tensor, size: Size, noise: Generator) -> Batch:
        """Labels `[batch]`."""
        return (labels,)

    def logits(self, params: Params, inputs: Tensor) -> Tensor:
        """Class scores `[N, 10]` of images `[N, 1, H, W]`."""
        x, last = inputs.flatten(1), len(params) // 2 - 1
        for layer in range(last):
            x = F.relu(F.linear(x, params[f"dense{layer}.weight"], params[f"dense{layer}.bias"]))
        return F.linear(x, params[f"dense{last}.weight"], params[f"dense{last}.bias"])

    def loss(self, size: Size, params: Params, batch: Batch, state: State = ()) -> tuple[Tensor, State]:
        """Mean cross-entropy."""
        inputs, labels = batch
        return F.cross_entropy(self.logits(params, inputs), labels), state

    @torch.no_grad()
    def evaluate(self, params: Params, data: ImageData, split: str) -> dict[str, Tensor]:
        """Mean cross-entropy (`loss`) and `accuracy` on a part of the data."""
        blocks = self.blocks(data, split, params["dense0.bias"])
        return classified((self.logits(params, inputs), labels) for inputs, labels in blocks)

"""The workshop paper's convolutional autoencoder: Jones's network (2015), MNIST to 16 numbers and back.

The paper's size is Jones's network; the smaller ones have a stride of 2 in place of pooling, one convolution less on
either side, and so take images of 8×8 pixels too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, float32
from torch.nn.init import xavier_uniform_

from ..datasets.images import ImageData
from ..datasets.registry import Subset
from .base import Batch, ImageTask, Params, State
from .initialization import PAPER, fill_of, initial, penalty, zeros

KERNEL = 3


@dataclass(frozen=True)
class Size:
    """Channels of the outer and inner convolutions, units of the dense layers, numbers in the code.

    `strided`: a stride of 2 in place of pooling. `init`: of weights, "paper", which is "xavier", or "he"; `l1`: the
    strength of a penalty on them.
    """

    outer: int
    inner: int
    dense: int
    code: int = 16
    strided: bool = True
    init: str = PAPER
    l1: float = 0.0


class Autoencoder(ImageTask):
    """Reconstruction of digits."""

    VERSION = 1
    REPORTED = "dev"
    SIZES: ClassVar = {
        "smoke": Size(outer=2, inner=4, dense=8, code=4),
        "live": Size(outer=8, inner=16, dense=32, code=8),
        "small": Size(outer=8, inner=16, dense=64),
        "paper": Size(outer=16, inner=32, dense=128, strided=False),
        "choices": Size(outer=8, inner=16, dense=64),
    }

    def load(self, name: str, subset: Subset | None = None) -> ImageData:
        """As the base class, but MNIST's split is Jones's.

        The first 50,000 training images in file order: 40,000 for training, 10,000 for development.
        """
        images = super().load(name)
        if name == "mnist":
            images = _jones_split(images)
        return images if subset is None else images.first(subset)

    def init(self, data: ImageData, size: Size, generator: Generator, dtype: torch.dtype = float32) -> Params:
        """Fresh parameters: Glorot-uniform weights, biases 0.

        Images must be square, of 4·n pixels a side, at least 8 (12 without strides). Raises `ValueError` for others.
        """
        height, width = data.train_images.shape[1:]
        least = 8 if size.strided else 12
        if height != width or height % 4 or height < least:
            raise ValueError(
                f"the autoencoder takes square images of 4·n ≥ {least} pixels a side, not {height}×{width}"
            )
        params, fill = Params(), fill_of(size.init, xavier_uniform_)
        for layer, shape in _shapes(size, height).items():
            params[f"{layer}.weight"] = initial(fill, shape, generator, dtype)
            params[f"{layer}.bias"] = zeros(shape[0], dtype)
        return params

    def encode(self, params: Params, images: Tensor) -> Tensor:
        """The codes `[N, code]` of images `[N, 1, H, W]`. ReLU everywhere, here too."""
        if _is_strided(params):
            x = _conv(params, "conv3", _conv(params, "conv1", images, 2), 2)
        else:
            x = F.max_pool2d(_conv(params, "conv2", _conv(params, "conv1", images)), 2)
            x = F.max_pool2d(_conv(params, "conv3", x), 2)
        return _dense(params, "code", _dense(params, "dense1", x.flatten(1)))

    def decode(self, params: Params, codes: Tensor) -> Tensor:
        """Images `[N, 1, H, W]` from codes `[N, code]`. ReLU everywhere, so no pixel is below 0."""
        full = KERNEL - 1
        x = _dense(params, "dense3", _dense(params, "dense2", codes))
        channels = params["deconv1.weight"].shape[1]
        side = math.isqrt(x.shape[1] // channels)
        x = _conv(params, "deconv1", _double(x.reshape(-1, channels, side, side)), padding=full)
        if _is_strided(params):
            return _conv(params, "deconv3", _double(x), padding=KERNEL // 2)
        x = _conv(params, "deconv2", _double(x), padding=full)
        return _conv(params, "deconv3", x, padding=full)

    def reconstruct(self, params: Params, images: Tensor) -> Tensor:
        """Images `[N, 1, H, W]` as the network gives them back."""
        return self.decode(params, self.encode(params, images))

    def loss(self, size: Size, params: Params, batch: Batch, state: State = ()) -> tuple[Tensor, State]:
        """Mean squared error over all pixels, plus any L1."""
        (images,) = batch
        return F.mse_loss(self.reconstruct(params, images), images) + penalty(size.l1, params), state

    def parts(self, batch: Batch) -> tuple[Callable[[Params], Tensor], Callable[[Tensor], Tensor]]:
        """The reconstruction, and its mean squared error: written out, because torch's has no derivative forward."""
        (images,) = batch
        return lambda params: self.reconstruct(params, images), lambda outputs: (outputs - images).square().mean()

    @torch.no_grad()
    def evaluate(self, params: Params, data: ImageData, split: str) -> dict[str, Tensor]:
        """Mean squared error over all pixels (`loss`) of a part of the data, without the penalty."""
        bias = params["code.bias"]
        total, count = bias.new_zeros((), dtype=torch.float64), 0
        for images, _ in self.blocks(data, split, bias):
            total = total + F.mse_loss(self.reconstruct(params, images), images, reduction="sum")
            count += images.numel()
        return {"loss": total / count}


def _jones_split(mnist: ImageData) -> ImageData:
    pixels = np.concatenate([mnist.dev_images, mnist.train_images])  # the file's order: dev is its beginning
    labels = np.concatenate([mnist.dev_labels, mnist.train_labels])
    return replace(
        mnist,
        label="MNIST, 40,000/10,000 of the first 50,000 training images",
        train_images=pixels[:40_000],
        train_labels=labels[:40_000],
        dev_images=pixels[40_000:50_000],
        dev_labels=labels[40_000:50_000],
    )


def _shapes(size: Size, side: int) -> dict[str, tuple[int, ...]]:
    """Weights by layer, for images of `side` × `side` pixels, in the order in which they are applied."""
    o, i, k = size.outer, size.inner, (KERNEL, KERNEL)
    if size.strided:
        flat = i * (side // 4 - 1) ** 2
        before = {"conv1": (o, 1, *k), "conv3": (i, o, *k)}
        after = {"deconv1": (o, i, *k), "deconv3": (1, o, *k)}
    else:
        flat = i * (side // 4 - 2) ** 2
        before = {"conv1": (o, 1, *k), "conv2": (o, o, *k), "conv3": (i, o, *k)}
        after = {"deconv1": (o, i, *k), "deconv2": (o, o, *k), "deconv3": (1, o, *k)}
    dense = {
        "dense1": (size.dense, flat),
        "code": (size.code, size.dense),
        "dense2": (size.dense, size.code),
        "dense3": (flat, size.dense),
    }
    return {**before, **dense, **after}


def _is_strided(params: Params) -> bool:
    return "conv2.weight" not in params


def _dense(params: Params, layer: str, x: Tensor) -> Tensor:
    return F.relu(F.linear(x, params[f"{layer}.weight"], params[f"{layer}.bias"]))


def _conv(params: Params, layer: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    return F.relu(F.conv2d(x, params[f"{layer}.weight"], params[f"{layer}.bias"], stride, padding))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")

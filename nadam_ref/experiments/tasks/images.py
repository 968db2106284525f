"""The report's MNIST network: two convolutions, a dense layer with dropout, softmax.

It follows TensorFlow's tutorial `convolutional.py` of the time, at several sizes. Pure functions over a parameter
dictionary: all chance comes from the generator they are given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..datasets.images import ImageData, load

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
    "logits",
    "loss",
    "rows",
    "state",
]

VERSION = 1
METRIC = "loss"
CLASSES = 10
KERNEL = 5
L2 = 5e-4
DROPOUT = 0.5


@dataclass(frozen=True)
class Size:
    """Channels of the two convolutions and units of the dense layer."""

    conv1: int
    conv2: int
    dense: int


SIZES = {
    "smoke": Size(2, 4, 16),
    "live": Size(4, 8, 32),
    "small": Size(8, 16, 64),
    "paper": Size(32, 64, 512),
}


def init(
    data: ImageData, size: Size, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Fresh parameters: weights from a normal of σ = .1 cut off at 2σ; biases 0 in the first layer, .1 in the others.

    Images of H×W pixels, both multiples of 4. Raises `ValueError` for others.
    """
    height, width = data.train_images.shape[1:]
    if height % 4 or width % 4:
        raise ValueError(f"images of {height}×{width} pixels cannot be pooled twice by 2; sides must be multiples of 4")
    shapes = {
        "conv1": (size.conv1, 1, KERNEL, KERNEL),
        "conv2": (size.conv2, size.conv1, KERNEL, KERNEL),
        "dense": (size.dense, size.conv2 * (height // 4) * (width // 4)),
        "output": (CLASSES, size.dense),
    }
    params: dict[str, Tensor] = {}
    for layer, shape in shapes.items():
        weight = torch.empty(shape, dtype=torch.float64)
        torch.nn.init.trunc_normal_(weight, std=0.1, a=-0.2, b=0.2, generator=generator)
        bias = torch.full((shape[0],), 0.0 if layer == "conv1" else 0.1, dtype=dtype)
        params[f"{layer}.weight"] = weight.to(dtype).requires_grad_()
        params[f"{layer}.bias"] = bias.requires_grad_()
    return params


def _inputs(images: Tensor, white: int, dtype: torch.dtype) -> Tensor:
    """Images as `[N, 1, H, W]` with values in [−.5, .5], laid out as convolutions on a CPU are fastest."""
    scaled = images.to(dtype).unsqueeze(1).div_(white).sub_(0.5)
    return scaled.to(memory_format=torch.channels_last)


def epoch(data: ImageData, size: Size, batch: int) -> int:
    """Whole batches in the training set. Raises `ValueError` where a batch is larger than it."""
    if not 0 < batch <= len(data.train_images):
        raise ValueError(f"batch {batch} does not fit {len(data.train_images)} training images of {data.label}")
    return len(data.train_images) // batch


def batches(
    data: ImageData,
    size: Size,
    batch: int,
    order: torch.Generator,
    noise: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Batches (inputs `[batch, 1, H, W]`, labels `[batch]`, kept units `[batch, dense]`), reshuffled every epoch.

    They come without end, all of the same size: what is left over at the end of an epoch is dropped.
    Raises `ValueError` where a batch is larger than the training set.
    """
    steps = epoch(data, size, batch)
    images, labels = (torch.tensor(array, device=order.device) for array in data.split("train"))
    while True:
        shuffled = torch.randperm(len(images), generator=order, device=order.device)
        for chosen in shuffled[: steps * batch].view(steps, batch):
            kept = torch.rand(batch, size.dense, generator=noise, device=noise.device) >= DROPOUT
            yield _inputs(images[chosen], data.white, dtype), labels[chosen], kept


def state(size: Size, batch: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Nothing is handed from one batch to the next."""
    return ()


def rows(batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Every parameter is used whole."""
    return {}


def logits(params: dict[str, Tensor], inputs: Tensor, kept: Tensor | None = None) -> Tensor:
    """Class scores `[N, 10]`. Of the dense layer's units those not `kept` (bool `[N, dense]`) are 0, the rest doubled.

    Without `kept` there is no dropout.
    """
    x = inputs
    for layer in ("conv1", "conv2"):
        x = F.conv2d(x, params[f"{layer}.weight"], params[f"{layer}.bias"], padding=KERNEL // 2)
        x = F.relu(F.max_pool2d(x, 2))  # the maximum and ReLU commute; this order is the cheaper one
    x = F.relu(F.linear(x.flatten(1), params["dense.weight"], params["dense.bias"]))
    if kept is not None:
        x = x * kept / (1 - DROPOUT)
    return F.linear(x, params["output.weight"], params["output.bias"])


def loss(
    size: Size, params: dict[str, Tensor], batch: tuple[Tensor, ...], state: tuple[Tensor, ...] = ()
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Training objective: mean cross-entropy with dropout, plus 5e-4 · ½‖·‖² of both dense layers, biases included."""
    inputs, labels, kept = batch
    squares = sum(
        params[f"{layer}.{kind}"].square().sum() for layer in ("dense", "output") for kind in ("weight", "bias")
    )
    return F.cross_entropy(logits(params, inputs, kept), labels) + L2 * squares / 2, state


@torch.no_grad()
def evaluate(params: dict[str, Tensor], data: ImageData, split: str) -> dict[str, Tensor]:
    """Mean cross-entropy (`loss`, no dropout, no L2) and `accuracy` on a part of the data."""
    bias = params["output.bias"]
    images, labels = (torch.tensor(array, device=bias.device) for array in data.split(split))
    total = torch.zeros((), dtype=torch.float64, device=bias.device)
    right = torch.zeros_like(total)
    for start in range(0, len(images), 500):  # in blocks, so that memory stays small
        truth = labels[start : start + 500]
        scores = logits(params, _inputs(images[start : start + 500], data.white, bias.dtype))
        total = total + F.cross_entropy(scores, truth, reduction="sum")
        right = right + (scores.argmax(1) == truth).sum()
    return {"loss": total / len(images), "accuracy": right / len(images)}

"""Initial parameters against their known variances and torch.nn.init."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.init import xavier_uniform_

from nadam_ref.experiments.tasks.initialization import initial, truncated_normal, uniform, zeros

SHAPE = (200, 30, 3, 5)  # fan-in 30 · 15, fan-out 200 · 15
FAN_IN, FAN_OUT = 450, 3000


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def test_glorots_variance() -> None:
    weight = initial(xavier_uniform_, SHAPE, generator(), torch.float64).detach()
    variance = 2 / (FAN_IN + FAN_OUT)
    assert weight.mean().item() == pytest.approx(0, abs=5 * math.sqrt(variance / weight.numel()))
    assert weight.var().item() == pytest.approx(variance, rel=0.02)
    assert weight.abs().max().item() == pytest.approx(math.sqrt(3 * variance), rel=0.001)


def test_the_same_numbers_as_torch() -> None:
    ours = initial(xavier_uniform_, SHAPE, generator(3), torch.float64)
    assert torch.equal(ours, xavier_uniform_(torch.empty(SHAPE, dtype=torch.float64), generator=generator(3)))


def test_the_papers_own() -> None:
    flat = initial(uniform(0.3), (100, 100), generator(), torch.float64).detach()
    assert 0.299 < flat.abs().max() <= 0.3 and flat.std().item() == pytest.approx(0.3 / math.sqrt(3), rel=0.02)
    cut = initial(truncated_normal(0.5), (100, 100), generator(), torch.float64).detach()
    assert 0.99 < cut.abs().max() <= 1.0
    assert cut.std().item() == pytest.approx(0.5 * 0.8796, rel=0.02)  # of a normal cut at 2σ


def test_a_parameter_is_a_leaf_drawn_in_float64() -> None:
    single = initial(truncated_normal(0.1), SHAPE, generator(), torch.float32)
    double = initial(truncated_normal(0.1), SHAPE, generator(), torch.float64)
    assert single.is_leaf and single.requires_grad and torch.equal(single.detach(), double.detach().float())
    bias = zeros(3, torch.float64)
    assert bias.is_leaf and bias.requires_grad and bias.tolist() == [0.0, 0.0, 0.0] and bias.dtype == torch.float64

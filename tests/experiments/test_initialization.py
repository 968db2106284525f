"""Named initializations against their known variances and torch.nn.init; named penalties against sums by hand."""

import math

import pytest
import torch

from nadam_ref.experiments.tasks import initialization

SHAPE = (200, 30, 3, 5)  # fan-in 30 · 15, fan-out 200 · 15
FAN_IN, FAN_OUT = 450, 3000


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("choice", "variance", "bounded"),
    [
        ("xavier_uniform", 2 / (FAN_IN + FAN_OUT), True),
        ("xavier_normal", 2 / (FAN_IN + FAN_OUT), False),
        ("he_uniform", 2 / FAN_IN, True),
        ("he_normal", 2 / FAN_IN, False),
    ],
)
def test_variance(choice, variance, bounded):
    weight = initialization.initial(choice, initialization.uniform(9.0), SHAPE, generator(), torch.float64).detach()
    assert weight.mean().item() == pytest.approx(0, abs=5 * math.sqrt(variance / weight.numel()))
    assert weight.var().item() == pytest.approx(variance, rel=0.02)
    largest = weight.abs().max().item() / math.sqrt(variance)
    assert largest == pytest.approx(math.sqrt(3), rel=0.001) if bounded else largest > 4


def test_every_choice_is_tested():
    assert set(initialization.INITIALIZATIONS) == {"xavier_uniform", "xavier_normal", "he_uniform", "he_normal"}
    assert set(initialization.PENALTIES) == {"none", "l1", "l2"}


def test_the_same_numbers_as_torch():
    ours = initialization.initial("xavier_uniform", initialization.uniform(9.0), SHAPE, generator(3), torch.float64)
    theirs = torch.nn.init.xavier_uniform_(torch.empty(SHAPE, dtype=torch.float64), generator=generator(3))
    assert torch.equal(ours, theirs)


def test_the_papers_own():
    flat = initialization.initial("paper", initialization.uniform(0.3), (100, 100), generator(), torch.float64).detach()
    assert 0.299 < flat.abs().max() <= 0.3 and flat.std().item() == pytest.approx(0.3 / math.sqrt(3), rel=0.02)
    cut = initialization.initial(
        "paper", initialization.truncated_normal(0.5), (100, 100), generator(), torch.float64
    ).detach()
    assert 0.99 < cut.abs().max() <= 1.0
    assert cut.std().item() == pytest.approx(0.5 * 0.8796, rel=0.02)  # of a normal cut at 2σ


def test_a_parameter_is_a_leaf_drawn_in_float64():
    single = initialization.initial("he_normal", initialization.uniform(1.0), SHAPE, generator(), torch.float32)
    double = initialization.initial("he_normal", initialization.uniform(1.0), SHAPE, generator(), torch.float64)
    assert single.is_leaf and single.requires_grad and torch.equal(single.detach(), double.detach().float())


def test_penalties_by_hand_and_biases_are_left_alone():
    params = {"a.weight": torch.tensor([[1.0, -2.0]]), "b": torch.tensor([[3.0]]), "a.bias": torch.tensor([100.0])}
    assert initialization.penalty("l1", 0.5, params).item() == 3.0
    assert initialization.penalty("l2", 0.5, params).item() == 3.5
    assert initialization.penalty("none", 0.5, params).item() == 0.0


def test_fault_28_unknown_choice_lists_the_known():
    with pytest.raises(ValueError, match="no initialization is called 'glorot'; there are: paper, xavier_uniform"):
        initialization.initial("glorot", initialization.uniform(1.0), (2, 2), generator(), torch.float64)
    with pytest.raises(ValueError, match="no penalty is called 'l3'; there are: none, l1, l2"):
        initialization.penalty("l3", 1.0, {"w": torch.ones(2, 2)})

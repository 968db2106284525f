"""The small network of the chapters, against torch.nn's layers."""

from __future__ import annotations

import pytest
import torch

from nadam_ref.experiments.tasks import TASKS
from nadam_ref.experiments.tasks.digits import Size

TASK = TASKS["digits"]


def test_the_network_is_a_stack_of_torchs_layers() -> None:
    data = TASK.load("digits")
    params = TASK.init(data, Size(layers=3, units=32), torch.Generator().manual_seed(0), torch.float64)
    layers = [torch.nn.Linear(a, b).double() for a, b in [(64, 32), (32, 32), (32, 32), (32, 10)]]
    given = list(params.values())
    for layer, weight, bias in zip(layers, given[::2], given[1::2], strict=True):
        layer.load_state_dict({"weight": weight, "bias": bias})
    relu = torch.nn.ReLU()
    model = torch.nn.Sequential(torch.nn.Flatten(), *(x for layer in layers for x in (layer, relu)))[:-1]
    images, labels = (torch.tensor(x) for x in data.split("dev"))
    scores = model(images.double() / data.white)
    found = TASK.evaluate(params, data, "dev")
    assert found["loss"].item() == pytest.approx(torch.nn.functional.cross_entropy(scores, labels).item(), rel=1e-12)
    assert found["accuracy"].item() == pytest.approx((scores.argmax(1) == labels).double().mean().item(), rel=1e-12)
    batch = TASK.inputs(torch.tensor(data.dev_images), data.white, torch.float64), labels
    assert TASK.loss(None, params, batch)[0].item() == pytest.approx(found["loss"].item(), rel=1e-12)


def test_weights_begin_as_he_says() -> None:
    params = TASK.init(TASK.load("digits"), Size(layers=2, units=1000), torch.Generator().manual_seed(0))
    assert params["dense1.weight"].std().item() == pytest.approx((2 / 1000) ** 0.5, rel=0.01)
    assert params["dense0.weight"].std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.02)
    assert not params["dense1.bias"].any()

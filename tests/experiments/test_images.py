"""The image network against counts from the paper and against arithmetic done another way."""

import functools

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from scipy.special import log_softmax
from sklearn.metrics import log_loss
from torch.func import grad_and_value, vmap

from nadam_ref.experiments import datasets
from nadam_ref.experiments.tasks import TASKS
from nadam_ref.experiments.tasks.images import Size

TASK = TASKS["images"]
DIGITS = datasets.load("digits")
SMOKE = TASK.SIZES["smoke"]


def batches(count, seed=0, dtype=torch.float32, size=SMOKE, part=DIGITS):
    return TASK.batches(part, size, count, generator(seed), generator(seed + 10), dtype)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def blank(side):
    """A data set of one black image in each part."""
    pixels, label = np.zeros((1, side, side), np.uint8), np.zeros(1, np.int64)
    parts = {f"{s}_{k}": v.copy() for s in ("train", "dev", "test") for k, v in (("images", pixels), ("labels", label))}
    return datasets.ImageData(name="blank", label="blank", white=255, **parts)


def test_the_reports_network_has_1663370_parameters():
    params = TASK.init(blank(28), TASK.SIZES["paper"], generator())
    assert sum(p.numel() for p in params.values()) == 1_663_370


def test_initial_values():
    params = TASK.init(blank(28), TASK.SIZES["paper"], generator())
    weights = params["dense.weight"].detach().double()
    assert weights.abs().max() <= 0.2
    assert weights.std() == pytest.approx(0.1 * 0.8796, rel=0.01)  # of a normal cut at 2σ
    assert params["conv1.bias"].eq(0).all()
    for layer in ("conv2", "dense", "output"):
        assert params[f"{layer}.bias"].detach().numpy() == pytest.approx(0.1)
    assert all(p.is_leaf and p.requires_grad for p in params.values())


def test_odd_sizes_are_refused():
    with pytest.raises(ValueError, match="30×30"):
        TASK.init(blank(30), TASK.SIZES["smoke"], generator())


def by_hand(params, image, white):
    """The network on one image with scipy and NumPy."""
    p = {name: value.detach().numpy() for name, value in params.items()}
    maps = [image / white - 0.5]
    for layer in ("conv1", "conv2"):
        outputs = []
        for weight, bias in zip(p[f"{layer}.weight"], p[f"{layer}.bias"], strict=True):
            z = sum(correlate2d(m, w, mode="same") for m, w in zip(maps, weight, strict=True)) + bias
            height, width = z.shape
            outputs.append(np.maximum(z, 0).reshape(height // 2, 2, width // 2, 2).max(axis=(1, 3)))
        maps = outputs
    hidden = np.maximum(p["dense.weight"] @ np.stack(maps).ravel() + p["dense.bias"], 0)
    return p["output.weight"] @ hidden + p["output.bias"]


def test_forward_and_evaluate_agree_with_scipy():
    params = TASK.init(DIGITS, TASK.SIZES["live"], generator(), torch.float64)
    scores = np.stack([by_hand(params, image, 16) for image in DIGITS.dev_images])
    found = TASK.evaluate(params, DIGITS, "dev")
    assert found["loss"] == pytest.approx(log_loss(DIGITS.dev_labels, np.exp(log_softmax(scores, axis=1))), rel=1e-12)
    assert found["accuracy"] == pytest.approx((scores.argmax(1) == DIGITS.dev_labels).mean(), abs=0)


def test_evaluation_in_blocks_counts_every_image_once():
    params = TASK.init(DIGITS, TASK.SIZES["smoke"], generator(), torch.float64)
    count = len(DIGITS.train_images)
    assert count > 1000  # more than two blocks, the last one partial
    inputs = torch.tensor(DIGITS.train_images / 16 - 0.5).unsqueeze(1)
    whole = torch.nn.functional.cross_entropy(TASK.logits(params, inputs), torch.tensor(DIGITS.train_labels))
    assert TASK.evaluate(params, DIGITS, "train")["loss"] == pytest.approx(whole.item(), rel=1e-12)


def test_dropout_halves_the_dense_layer_and_keeps_its_mean():
    size = Size(2, 2, 64)
    params = TASK.init(DIGITS, size, generator(), torch.float64)
    with torch.no_grad():
        params["dense.weight"].zero_()
        params["dense.bias"].fill_(1.0)
        params["output.weight"].fill_(1.0)
        params["output.bias"].zero_()
    inputs = torch.zeros(500, 1, 8, 8, dtype=torch.float64)
    assert TASK.logits(params, inputs).detach().numpy() == pytest.approx(64.0)
    *_, half = next(batches(500, dtype=torch.float64, size=size))
    kept = TASK.logits(params, inputs, half)[:, 0].detach().numpy() / 2
    assert set(kept) <= set(range(65))
    assert kept.mean() == pytest.approx(32, abs=4 * 4 / np.sqrt(500))  # σ of Binomial(64, ½) is 4
    assert kept.std() == pytest.approx(4, rel=0.15)


def test_objective_is_cross_entropy_plus_l2_of_the_dense_layers():
    params = TASK.init(DIGITS, TASK.SIZES["smoke"], generator(), torch.float64)
    inputs, labels, kept = next(batches(32, 1, torch.float64))
    plain = torch.nn.functional.cross_entropy(TASK.logits(params, inputs, kept), labels).item()
    squares = sum((p.detach().numpy() ** 2).sum() for name, p in params.items() if name.startswith(("dense", "output")))
    found, state = TASK.loss(SMOKE, params, (inputs, labels, kept))
    assert state == () and found.item() == pytest.approx(plain + 5e-4 * squares / 2, rel=1e-13)


def test_inputs_lie_between_minus_and_plus_a_half():
    inputs, labels, kept = next(batches(512))
    assert kept.shape == (512, SMOKE.dense) and kept.dtype == torch.bool
    assert inputs.shape == (512, 1, 8, 8) and inputs.dtype == torch.float32 and labels.dtype == torch.int64
    assert inputs.min() == -0.5 and inputs.max() == 0.5


def test_fault_32_an_epoch_is_whole_batches_of_distinct_images():
    part = DIGITS.first((100, 10, 10))
    stream = batches(32, part=part)
    assert TASK.epoch(part, SMOKE, 32) == 3
    epochs = [torch.cat([next(stream)[0] for _ in range(3)]) for _ in range(2)]  # 100 // 32 = 3, four left over
    known = {tuple(image.ravel() / 16 - 0.5) for image in part.train_images.astype(float)}
    for epoch in epochs:
        seen = {tuple(image.ravel().double().tolist()) for image in epoch}
        assert len(seen) == 96 and seen <= known
    assert not torch.equal(*epochs)


def test_fault_32_batch_larger_than_the_data():
    with pytest.raises(ValueError, match="batch 1205 does not fit 1204"):
        next(batches(1205))


def test_same_generator_same_everything():
    for make in (
        lambda: torch.cat([p.ravel() for p in TASK.init(DIGITS, TASK.SIZES["live"], generator(3)).values()]),
        lambda: next(batches(64, 3))[0],
        lambda: next(batches(64, 3))[2],
    ):
        assert torch.equal(make(), make())


def test_noise_does_not_change_the_order_of_the_data():
    one, other = (next(TASK.batches(DIGITS, SMOKE, 64, generator(3), generator(seed))) for seed in (4, 5))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1]) and not torch.equal(one[2], other[2])


def test_vmapped_gradients_are_those_of_separate_runs():
    sets = [TASK.init(DIGITS, SMOKE, generator(seed), torch.float64) for seed in (0, 1)]
    inputs = [next(batches(16, seed, torch.float64)) for seed in (0, 1)]
    objective = grad_and_value(functools.partial(TASK.loss, SMOKE), has_aux=True)
    stacked = {name: torch.stack([s[name].detach() for s in sets]) for name in sets[0]}
    grads, (losses, _) = vmap(objective)(stacked, tuple(map(torch.stack, zip(*inputs, strict=True))), ())
    metrics = vmap(lambda params: TASK.evaluate(params, DIGITS, "dev"))(stacked)
    for r in range(2):
        alone, (loss, _) = objective(sets[r], inputs[r], ())
        assert losses[r].item() == pytest.approx(loss.item(), rel=1e-13)
        for name, g in alone.items():
            torch.testing.assert_close(grads[name][r], g, rtol=1e-10, atol=1e-14)
        for name, value in TASK.evaluate(sets[r], DIGITS, "dev").items():
            assert metrics[name][r].item() == pytest.approx(value.item(), rel=1e-12)


#: What torch's truncated normal draws first: since a release after 2.9 other numbers than before.
DRAWN = torch.nn.init.trunc_normal_(torch.empty(1), std=0.1, a=-0.2, b=0.2, generator=generator()).item()


@pytest.mark.skipif(abs(DRAWN - 0.1541) > 1e-4, reason=f"torch {torch.__version__} draws other initial values")
def test_training_is_what_it_was_in_version_1():
    """Sums over ten steps of plain gradient descent, written down with the first release of the task."""
    params = TASK.init(DIGITS, SMOKE, generator(0), torch.float64)
    stream, total = batches(32, 1, torch.float64), 0.0
    for _ in range(10):
        loss, _ = TASK.loss(SMOKE, params, next(stream))
        grads = torch.autograd.grad(loss, list(params.values()))
        with torch.no_grad():
            for p, g in zip(params.values(), grads, strict=True):
                p -= 0.1 * g
        total += loss.item()
    assert TASK.VERSION == 1 and total == pytest.approx(23.053676012730453, rel=1e-12)

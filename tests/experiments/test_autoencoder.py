"""The autoencoder against Jones's count, and against arithmetic done another way."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from torch.func import grad_and_value, vmap

from nadam_ref.experiments import datasets
from nadam_ref.experiments.datasets import registry
from nadam_ref.experiments.tasks import TASKS
from nadam_ref.experiments.tasks.autoencoder import Size

TASK = TASKS["autoencoder"]
DIGITS = TASK.load("digits")
SMOKE = TASK.SIZES["smoke"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images_of(side, count=3):
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side), dtype=np.uint8)
    kinds = (("images", pixels), ("labels", pixels[:, 0, 0].astype(np.int64)))
    parts = {f"{s}_{k}": v.copy() for s in ("train", "dev", "test") for k, v in kinds}
    return datasets.ImageData(name="made", label="made-up images", white=255, **parts)


def test_joness_network_has_224177_parameters():
    params = TASK.init(images_of(28), TASK.SIZES["paper"], generator())
    assert sum(p.numel() for p in params.values()) == 224_177
    assert params["dense1.weight"].shape == (128, 800) and params["code.weight"].shape == (16, 128)


def test_initial_weights_are_glorots():
    params = TASK.init(images_of(28), TASK.SIZES["paper"], generator())
    for layer, fans in (
        ("dense1", 128 + 800),
        ("code", 16 + 128),
        ("conv2", 16 * 9 + 16 * 9),
        ("conv3", 16 * 9 + 32 * 9),
    ):
        weight, bound = params[f"{layer}.weight"].detach().double(), (6 / fans) ** 0.5
        assert 0.98 * bound < weight.abs().max() <= bound
        assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert all(p.eq(0).all() for name, p in params.items() if name.endswith("bias"))
    assert all(p.is_leaf and p.requires_grad for p in params.values())


def scipy_conv(p, layer, maps, mode, stride=1):
    outputs = []
    for weight, bias in zip(p[f"{layer}.weight"], p[f"{layer}.bias"], strict=True):
        z = sum(correlate2d(m, w, mode=mode) for m, w in zip(maps, weight, strict=True)) + bias
        outputs.append(np.maximum(z[::stride, ::stride], 0))
    return outputs


def pool(maps):
    return [m.reshape(m.shape[0] // 2, 2, m.shape[1] // 2, 2).max(axis=(1, 3)) for m in maps]


def double(maps):
    return [np.kron(m, np.ones((2, 2))) for m in maps]


def by_hand(params, image, strided):
    """The network on one image with scipy and NumPy."""
    p = {name: value.detach().numpy() for name, value in params.items()}
    if strided:
        maps = scipy_conv(p, "conv3", scipy_conv(p, "conv1", [image], "valid", 2), "valid", 2)
    else:
        maps = pool(scipy_conv(p, "conv2", scipy_conv(p, "conv1", [image], "valid"), "valid"))
        maps = pool(scipy_conv(p, "conv3", maps, "valid"))
    x = np.stack(maps)
    shape, x = x.shape, x.ravel()
    for layer in ("dense1", "code", "dense2", "dense3"):
        x = np.maximum(p[f"{layer}.weight"] @ x + p[f"{layer}.bias"], 0)
    maps = scipy_conv(p, "deconv1", double(list(x.reshape(shape))), "full")
    if strided:
        return scipy_conv(p, "deconv3", double(maps), "same")[0]
    return scipy_conv(p, "deconv3", scipy_conv(p, "deconv2", double(maps), "full"), "full")[0]


@pytest.mark.parametrize("size", [Size(2, 3, 20, 10), Size(2, 3, 20, 10, strided=False)])
def test_reconstruction_loss_and_evaluation_agree_with_scipy(size):
    made = images_of(16)
    params = TASK.init(made, size, generator(), torch.float64)
    with torch.no_grad():  # biases that matter
        for name, p in params.items():
            if name.endswith("bias"):
                p.uniform_(0, 0.2, generator=generator(1))
    scaled = made.dev_images / 255
    expected = np.stack([by_hand(params, image, size.strided) for image in scaled])
    inputs = torch.tensor(scaled)[:, None]
    assert TASK.reconstruct(params, inputs).detach().numpy()[:, 0] == pytest.approx(expected, rel=1e-10)
    error = ((expected - scaled) ** 2).mean()
    assert expected.std() > 1e-3
    assert TASK.loss(size, params, (inputs,))[0].item() == pytest.approx(error, rel=1e-12)
    assert TASK.evaluate(params, made, "dev")["loss"].item() == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize("profile", TASK.SIZES)
def test_images_come_back_in_their_size(profile):
    for side in (8, 12, 28):
        if side == 8 and not TASK.SIZES[profile].strided:
            continue
        params = TASK.init(images_of(side), TASK.SIZES[profile], generator())
        assert TASK.reconstruct(params, torch.rand(2, 1, side, side)).shape == (2, 1, side, side)


@pytest.mark.parametrize(("side", "size"), [(30, SMOKE), (4, SMOKE), (8, TASK.SIZES["paper"])])
def test_sizes_that_do_not_fit_are_refused(side, size):
    with pytest.raises(ValueError, match=f"not {side}×{side}"):
        TASK.init(images_of(side), size, generator())


def test_inputs_lie_between_0_and_1():
    (inputs,) = next(TASK.batches(DIGITS, SMOKE, 512, generator(), generator()))
    assert inputs.shape == (512, 1, 8, 8) and inputs.min() == 0 and inputs.max() == 1


def test_fault_32_an_epoch_is_whole_batches_of_distinct_images():
    part = DIGITS.first((100, 10, 10))
    stream = TASK.batches(part, SMOKE, 32, generator(), generator())
    assert TASK.epoch(part, SMOKE, 32) == 3
    epochs = [torch.cat([next(stream)[0] for _ in range(3)]) for _ in range(2)]  # four left over
    known = {tuple(image.ravel() / 16) for image in part.train_images.astype(float)}
    for epoch in epochs:
        seen = {tuple(image.ravel().double().tolist()) for image in epoch}
        assert len(seen) == 96 and seen <= known
    assert not torch.equal(*epochs)


def test_fault_32_batch_larger_than_the_data():
    with pytest.raises(ValueError, match="batch 1205 does not fit 1204"):
        next(TASK.batches(DIGITS, SMOKE, 1205, generator(), generator()))


@pytest.mark.parametrize("strided", [True, False])
def test_vmapped_gradients_are_those_of_separate_runs(strided):
    made, size = images_of(16, 8), Size(2, 3, 20, 10, strided=strided)
    sets = [TASK.init(made, size, generator(seed), torch.float64) for seed in (0, 1)]
    inputs = [next(TASK.batches(made, size, 4, generator(s), generator(), torch.float64)) for s in (0, 1)]
    objective = grad_and_value(functools.partial(TASK.loss, size), has_aux=True)
    stacked = {name: torch.stack([s[name].detach() for s in sets]) for name in sets[0]}
    grads, (losses, _) = vmap(objective)(stacked, (torch.stack([b[0] for b in inputs]),), ())
    for r in range(2):
        alone, (loss, _) = objective(sets[r], inputs[r], ())
        assert losses[r].item() == pytest.approx(loss.item(), rel=1e-13)
        for name, g in alone.items():
            torch.testing.assert_close(grads[name][r], g, rtol=1e-10, atol=1e-14)


def test_penalty_is_added():
    batch = next(TASK.batches(DIGITS, SMOKE, 16, generator(), generator(), torch.float64))
    params = TASK.init(DIGITS, SMOKE, generator(), torch.float64)
    plain, _ = TASK.loss(SMOKE, params, batch)
    squares = sum((p.detach().numpy() ** 2).sum() for name, p in params.items() if name.endswith("weight"))
    found, _ = TASK.loss(dataclasses.replace(SMOKE, penalty="l2", strength=0.3), params, batch)
    assert (found - plain).item() == pytest.approx(0.3 * squares / 2, rel=1e-12)


@pytest.mark.skipif(registry.state("mnist") == "absent", reason="needs MNIST in NADAM_REF_DATA or the cache")
def test_joness_split_of_mnist():
    jones = TASK.load("mnist")
    assert [len(jones.split(s)[0]) for s in ("train", "dev", "test")] == [40_000, 10_000, 10_000]
    assert jones.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]  # the training file begins so
    mnist = datasets.load("mnist")
    assert np.array_equal(jones.dev_images, mnist.train_images[35_000:45_000])
    assert jones.sha256 != mnist.sha256
    assert TASK.load("mnist", (128, 100, 100)).label.endswith("first 128/100/100 train/dev/test images")

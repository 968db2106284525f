"""Every optimizer, form and dialect, on every execution path, against its box in `paper.py`."""

import numpy as np
import torch
from variants import every_followed_path, every_variant_with_box, flags

T = 300


def gradients(shape, T=T, seed=0):
    """Random gradients that do not depend on θ, of scales from 1e-3 to 1e2 and with zeros: the box gets the same."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-3, 2, size=(T + 1, *shape))
    return rng.standard_normal((T + 1, *shape)) * scale * (rng.uniform(size=(T + 1, *shape)) > 0.05)


def distance(ours, box):
    return np.abs(ours - box).max() / np.abs(box).max()


@every_followed_path
@every_variant_with_box
def test_agrees_with_its_box(variant, path):
    shapes = [(3, 4), (5,), ()]
    G = [gradients(s, seed=i) for i, s in enumerate(shapes)]
    start = [np.random.default_rng(9).standard_normal(s) for s in shapes]
    params = [torch.tensor(x, requires_grad=True) for x in start]
    optimizer = variant.optimizer(params, **flags(path))
    for t in range(1, T + 1):
        for p, g in zip(params, G, strict=True):
            p.grad = torch.tensor(g[t])
        optimizer.step()
    for p, x, g in zip(params, start, G, strict=True):
        box = variant.path(x, lambda θ, t, g=g: g[t], T)
        assert distance(p.detach().numpy(), box[-1]) <= 1e-13


@every_variant_with_box
def test_agrees_with_its_box_where_the_gradient_follows_the_parameters(variant):
    A = np.array([[3.0, 0.4], [0.4, 0.7]])
    θ = torch.tensor([1.5, -2.0], dtype=torch.float64, requires_grad=True)
    optimizer = variant.optimizer([θ])
    ours = [θ.detach().numpy().copy()]
    for _ in range(T):
        θ.grad = torch.tensor(A @ ours[-1])
        optimizer.step()
        ours.append(θ.detach().numpy().copy())
    box = variant.path(ours[0], lambda θ, t: A @ θ, T)
    assert np.abs(np.stack(ours) - box).max() <= 1e-12 * np.abs(box).max()

"""Curvature by products, and the second-order methods, against dense matrices and known minima."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest
import specs
import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, jacrev

from nadam_ref.experiments.runs.optimizers import hyperparameters
from nadam_ref.experiments.runs.train import begin, run
from nadam_ref.experiments.runs.training import Training
from nadam_ref.experiments.second_order import curvature, methods
from nadam_ref.experiments.tasks import TASKS

TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def number(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def network() -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Tensor]:
    """A model with tanh, a loss that is convex in its outputs, and a point."""
    layers = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    for i, x in enumerate(layers.parameters()):
        x.data.copy_(number(i, *x.shape))
    θ, named = curvature.flat(dict(layers.named_parameters()))
    inputs, labels = number(7, 6, 4), torch.tensor([0, 1, 2, 0, 1, 2])

    def model(θ: Tensor) -> Tensor:
        return functional_call(layers, named(θ), (inputs,))

    def loss(outputs: Tensor) -> Tensor:
        return outputs.logsumexp(1).sub(outputs[torch.arange(6), labels]).mean()

    return model, loss, θ


def test_a_flat_vector_has_all_parameters_and_gives_them_back() -> None:
    params = {"a": number(0, 2, 3), "b": number(1, 4)}
    θ, named = curvature.flat(params)
    assert θ.tolist() == [*params["a"].flatten().tolist(), *params["b"].tolist()]
    assert all(torch.equal(x, params[name]) for name, x in named(θ).items())


def test_hessian_products_are_those_of_the_dense_hessian(network) -> None:
    model, loss, θ = network
    f = lambda θ: loss(model(θ))  # noqa: E731
    H, product = hessian(f)(θ), curvature.hessian_product(f, θ)
    for seed in range(5):
        v = number(seed, len(θ))
        torch.testing.assert_close(product(v), H @ v, **TOLERANCE)
    torch.testing.assert_close(curvature.diagonal(f, θ), H.diagonal(), **TOLERANCE)
    differences = [(grad(f)(θ + 1e-6 * e) - grad(f)(θ - 1e-6 * e)) / 2e-6 for e in torch.eye(len(θ)).double()]
    torch.testing.assert_close(H, torch.stack(differences), rtol=1e-6, atol=1e-8)


def test_gauss_newton_products_are_those_of_the_dense_matrix(network) -> None:
    model, loss, θ = network
    J, outer = jacrev(model)(θ).reshape(18, -1), hessian(loss)(model(θ)).reshape(18, 18)
    G, product = J.T @ outer @ J, curvature.gauss_newton_product(model, loss, θ)
    for seed in range(5):
        v = number(seed, len(θ))
        torch.testing.assert_close(product(v), G @ v, **TOLERANCE)
    assert torch.linalg.eigvalsh(G).min() > -1e-12
    H = hessian(lambda θ: loss(model(θ)))(θ)
    assert torch.linalg.eigvalsh(H).min() < -1e-3  # the Hessian does have negative eigenvalues here


# ---------------------------------------------------------------- on a quadratic


class Quadratic:
    """½ (θ − c)ᵀ A (θ − c) with curvatures from 1 to 100, turned, and its minimum at c."""

    def __init__(self, d: int = 12) -> None:
        Q = torch.linalg.qr(number(1, d, d))[0]
        self.A = Q @ torch.diag(torch.logspace(0, 2, d, dtype=torch.float64)) @ Q.T
        self.c = number(2, d)

    def __call__(self, θ: Tensor) -> Tensor:
        return 0.5 * (θ - self.c) @ self.A @ (θ - self.c)

    def curvature(self, θ: Tensor, share: float) -> Callable[[Tensor], Tensor]:
        return lambda v: self.A @ v


def test_newton_is_at_the_minimum_of_a_quadratic_after_one_step() -> None:
    f = Quadratic()
    torch.testing.assert_close(next(methods.newton(f, number(3, 12))), f.c, **TOLERANCE)


def test_conjugate_gradients_solve_the_system_in_as_many_iterates_as_it_has_unknowns() -> None:
    f, b, x = Quadratic(), number(4, 12), number(5, 12)
    found = list(methods.conjugate_gradients(lambda v: f.A @ v, b, x, most=16))
    torch.testing.assert_close(found[-1][0], torch.linalg.solve(f.A, b), rtol=1e-8, atol=1e-8)
    φ = [value for _, value in found[:12]]
    assert φ == sorted(φ, reverse=True) and φ[0] < float(0.5 * x @ f.A @ x - b @ x)
    for x, value in found:
        assert value == pytest.approx(float(0.5 * x @ f.A @ x - b @ x), rel=1e-9)


def test_conjugate_gradients_end_where_there_is_no_positive_curvature() -> None:
    A = torch.diag(torch.tensor([2.0, -1.0]))
    found = list(methods.conjugate_gradients(lambda v: A @ v, torch.ones(2), torch.zeros(2), most=9))
    assert len(found) == 1  # the first direction, (1, 1), has curvature 1; the second has none
    assert not list(methods.conjugate_gradients(lambda v: -v, torch.ones(2), torch.zeros(2), most=9))


def test_full_adagrad_is_its_definition_in_numpy() -> None:
    f, lr = Quadratic(5), 0.3
    θ, A, c, G = number(3, 5).numpy(), f.A.numpy(), f.c.numpy(), np.zeros((5, 5))
    made = methods.full_adagrad(f, number(3, 5), lr=lr, eps=1e-2)
    for _ in range(6):
        g = A @ (θ - c)
        G += np.outer(g, g)
        U, s, _ = np.linalg.svd(G)
        θ = θ - lr * np.linalg.solve(U @ np.diag(np.sqrt(s)) @ U.T + 1e-2 * np.eye(5), g)
        np.testing.assert_allclose(next(made).numpy(), θ, rtol=1e-7, atol=1e-9)


def test_full_adagrad_does_not_notice_a_turn() -> None:
    f, Q = Quadratic(4), torch.linalg.qr(number(9, 4, 4))[0]
    start = number(3, 4)
    straight = methods.full_adagrad(f, start, lr=0.5, eps=1e-3)
    turned = methods.full_adagrad(lambda θ: f(Q.T @ θ), Q @ start, lr=0.5, eps=1e-3)
    for _ in range(8):
        torch.testing.assert_close(Q @ next(straight), next(turned), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("name", "steps"), [("LBFGS", 40), ("HessianFree", 25)])
def test_a_quadratics_minimum_is_reached(name: str, steps: int) -> None:
    f, method = Quadratic(), methods.SECOND_ORDER[name](number(3, 12))
    losses = [method.step(f) for _ in range(steps)]
    torch.testing.assert_close(method.θ.detach(), f.c, rtol=1e-5, atol=1e-5)
    assert all(b <= a for a, b in itertools.pairwise(losses))
    assert losses[0] == float(f(number(3, 12)))


def test_hessian_free_counts_what_it_asks_for() -> None:
    class Counted(Quadratic):
        gradients = products = losses = 0

        def __call__(self, θ: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                self.gradients += 1
            else:
                self.losses += 1
            return super().__call__(θ)

        def curvature(self, θ: Tensor, share: float) -> Callable[[Tensor], Tensor]:
            assert share == 0.25

            def product(v: Tensor) -> Tensor:
                self.products += 1
                return self.A @ v

            return product

    f, method = Counted(), methods.HessianFree(number(3, 12))
    for _ in range(3):
        method.step(f)
    assert f.products > 20 and f.losses > 3
    assert method.passes == pytest.approx(f.gradients + 2 * 0.25 * f.products + f.losses / 3)


def test_lbfgs_asks_for_no_gradient_twice() -> None:
    values: list[str] = []

    class Watched(Quadratic):
        def __call__(self, θ: Tensor) -> Tensor:
            values.append(str(θ.sum()))
            return super().__call__(θ)

    torch.set_printoptions(precision=16)
    f, method = Watched(), methods.LBFGS(number(3, 12))
    for _ in range(12):
        method.step(f)
    torch.set_printoptions(profile="default")
    assert len(values) == len(set(values)) == method.passes > 12


def test_damping_follows_the_prediction() -> None:
    method = methods.HessianFree(torch.zeros(2), damping=1.0)
    for ratio, damping in ((0.1, 1.5), (0.5, 1.5), (0.9, 1.0), (float("nan"), 1.5)):
        method._adapt(ratio)
        assert method.damping == pytest.approx(damping)


# ---------------------------------------------------------------- in a run


def spec(optimizer: str, steps: int = 4):
    task = "autoencoder"
    hyper = hyperparameters(optimizer, {"lr": 1.0})
    return dataclasses.replace(
        specs.spec(task=task), optimizer=optimizer, hyperparameters=hyper, steps=steps, batch=128, evaluate_every=2
    )


@pytest.mark.parametrize("name", methods.SECOND_ORDER)
def test_a_run_gives_the_same_bits_again_and_from_a_checkpoint(name: str) -> None:
    whole, states = spec(name), []
    first = run(whole, progress=lambda training: states.append(training.state_dict()))
    assert first.status == "finished" and first.step == 4 and len(first.curves["passes"]) == 4
    assert first.outcome_sha256 == run(whole).outcome_sha256 == run(whole, resume=states[1]).outcome_sha256
    losses = first.curves["train_loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", methods.SECOND_ORDER)
def test_fault_102_a_state_with_an_entry_missing_is_not_loaded(name: str) -> None:
    """It would go on from there with a fresh one, to other bits."""
    states = []
    run(spec(name, 2), progress=lambda training: states.append(training.state_dict()))
    for entry in states[0]["optimizer"]:
        less = {key: x for key, x in states[0]["optimizer"].items() if key != entry}
        with pytest.raises(ValueError, match="the checkpoint cannot be loaded"):
            run(spec(name, 2), resume={**states[0], "optimizer": less})


@pytest.mark.parametrize("name", methods.SECOND_ORDER)
def test_the_first_loss_is_that_of_gradient_descent(name: str) -> None:
    """Weights and images are those of any other run with the seed."""
    first = run(spec(name, 1)).curves["train_loss"][0]
    assert first == pytest.approx(run(spec("GD", 1)).curves["train_loss"][0], rel=1e-6)


def test_the_ten_begin_as_ever_and_the_two_refuse_what_they_do_not_have() -> None:
    assert type(begin(spec("GD"))) is Training
    for more in ({"clip_norm": 1.0}, {"anneal": (0.5, 1)}, {"row_lazy": True}):
        with pytest.raises(ValueError, match="LBFGS has no clip_norm"):
            begin(dataclasses.replace(spec("LBFGS"), **more))
    with pytest.raises(ValueError, match="Images does not say"):
        run(dataclasses.replace(specs.spec(), optimizer="HessianFree", hyperparameters={}, batch=64))


def test_the_parts_are_the_objective() -> None:
    task, size = TASKS["autoencoder"], TASKS["autoencoder"].SIZES["smoke"]
    data, generator = task.load("digits"), torch.Generator().manual_seed(0)
    params = task.init(data, size, generator)
    batch = next(task.batches(data, size, 16, generator, generator))
    model, loss = task.parts(batch)
    torch.testing.assert_close(loss(model(params)), task.loss(size, params, batch)[0])

"""Newton's method, AdaGrad with its whole matrix, L-BFGS and Hessian-free optimization.

The first two make a matrix of d × d numbers, and are for a few parameters. The other two train networks: a run may name
them where it names an optimizer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import grad, grad_and_value, hessian

from .curvature import Function, Product


def newton(f: Function, θ: Tensor) -> Iterator[Tensor]:
    """θ − H⁻¹ g, without end. Raises `torch.linalg.LinAlgError` where H is singular."""
    while True:
        θ = θ - torch.linalg.solve(hessian(f)(θ), grad(f)(θ))
        yield θ


def full_adagrad(f: Function, θ: Tensor, *, lr: float, eps: float = 1e-10) -> Iterator[Tensor]:
    """θ − η (G^½ + ε I)⁻¹ g with G = Σ g gᵀ, without end: AdaGrad before it is cut down to the diagonal of G."""
    G = torch.zeros(len(θ), len(θ), dtype=θ.dtype)
    while True:
        g = grad(f)(θ)
        G = G + torch.outer(g, g)
        λ, Q = torch.linalg.eigh(G)
        θ = θ - lr * Q @ ((Q.T @ g) / (λ.clamp(min=0).sqrt() + eps))
        yield θ


def conjugate_gradients(product: Product, b: Tensor, x: Tensor, most: int) -> Iterator[tuple[Tensor, float]]:
    """Iterates x on the way to the solution of A x = b, each with φ(x) = ½ xᵀAx − bᵀx, which falls all the way.

    A is symmetric, and `product` multiplies by it. Ends after `most` iterates, where x solves the system, and where A
    turns out to have a direction without positive curvature.
    """
    r = b - product(x)
    p, rr = r, r.dot(r)
    for _ in range(most):
        Ap = product(p)
        curvature = p.dot(Ap)
        if rr == 0 or curvature <= 0:
            return
        α = rr / curvature
        x, r = x + α * p, r - α * Ap
        yield x, float(-0.5 * x.dot(r + b))
        before, rr = rr, r.dot(r)
        p = r + (rr / before) * p


class Objective(Protocol):
    """What is minimized: f(θ), and products with its Gauss-Newton matrix over a share of the examples."""

    def __call__(self, θ: Tensor) -> Tensor: ...

    def curvature(self, θ: Tensor, share: float) -> Product: ...


class HessianFree:
    """Newton's method without a Hessian: each step solves (B + λ I) δ = −g by conjugate gradients (Martens, 2010).

    B is the Gauss-Newton matrix. From the paper come four details. CG ends when it gains little, and goes on from the
    last solution times `keep` (4.4, 4.7 there). Of its iterates the one is taken from which on the loss rises (4.6). λ,
    at first `damping`, follows how well the quadratic predicted the step (4.1). A step that does not lower the loss is
    shortened; `lr` is how long it is at first.

    `most`: iterates of CG in a step. `share`: the part of the examples that products look at. `passes`: what the steps
    so far have cost, in gradients of all examples; a product counts as two, a loss as a third.
    """

    def __init__(
        self,
        θ: Tensor,
        lr: float = 1.0,
        damping: float = 0.01,
        most: float = 50,
        keep: float = 0.95,
        share: float = 0.25,
    ) -> None:
        self.θ = θ.detach().clone()
        self.lr, self.damping, self.most, self.keep, self.share = lr, damping, int(most), keep, share
        self.last = torch.zeros_like(self.θ)
        self.passes = 0.0

    def step(self, f: Objective) -> float:
        """One step on f; f before it."""
        g, before = grad_and_value(f)(self.θ)
        self.passes += 1
        iterates = self._iterates(f, g)
        if not iterates:  # in float32, so small a λ leaves B + λ I indefinite
            self.damping *= 1.5
            return float(before)
        self.last = iterates[-1][0]
        δ, predicted, after = self._furthest_back(f, iterates)
        fell = after - float(before)
        self._adapt(fell / predicted if predicted < 0 else 0.0)
        length = self._length(f, δ, float(before), after, float(g.dot(δ)))
        self.θ = self.θ + length * δ
        return float(before)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return dict(vars(self))

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises `ValueError` where it has other entries."""
        if saved.keys() != vars(self).keys():
            raise ValueError(f"the state has entries {sorted(saved)}, not {sorted(vars(self))}")
        vars(self).update(saved)

    def _iterates(self, f: Objective, g: Tensor) -> list[tuple[Tensor, float]]:
        """Better and better δ for the damped system, with what each predicts."""
        product, λ = f.curvature(self.θ, self.share), self.damping

        def damped(v: Tensor) -> Tensor:
            self.passes += 2 * self.share
            return product(v) + λ * v

        start = self.keep * self.last
        found = conjugate_gradients(damped, -g, start, self.most)
        return spaced(until_little_is_gained(found))

    def _loss(self, f: Objective, θ: Tensor) -> float:
        self.passes += 1 / 3
        with torch.no_grad():
            return float(f(θ))

    def _furthest_back(self, f: Objective, iterates: list[tuple[Tensor, float]]) -> tuple[Tensor, float, float]:
        """From the last iterate back as long as the loss falls: that iterate, its prediction, and the loss there."""
        found = (*iterates[-1], self._loss(f, self.θ + iterates[-1][0]))
        for δ, predicted in reversed(iterates[:-1]):
            loss = self._loss(f, self.θ + δ)
            if loss >= found[2]:
                break
            found = (δ, predicted, loss)
        return found

    def _adapt(self, ratio: float) -> None:
        """More damping where the loss fell by less than a quarter of the prediction, less where by three quarters."""
        if not ratio >= 0.25:
            self.damping *= 1.5
        elif ratio > 0.75:
            self.damping /= 1.5

    def _length(self, f: Objective, δ: Tensor, before: float, whole: float, slope: float) -> float:
        """The first of lr · 1, .8, .8², … that lowers the loss by a hundredth of what the slope promises; or 0."""
        for k in range(40):
            α = self.lr * 0.8**k
            loss = whole if α == 1 else self._loss(f, self.θ + α * δ)
            if loss <= before + 0.01 * α * slope:
                return α
        return 0.0


def until_little_is_gained(found: Iterator[tuple[Tensor, float]]) -> Iterator[tuple[Tensor, float]]:
    """Iterates of CG until the last k gained less than k · 5 · 10⁻⁴ of φ, k a tenth of them and at least 10."""
    values: list[float] = []
    for x, φ in found:
        yield x, φ
        values.append(φ)
        k = max(10, len(values) // 10)
        if len(values) > k and φ < 0 and (φ - values[-1 - k]) / φ < k * 5e-4:
            return


def spaced(found: Iterator[tuple[Tensor, float]]) -> list[tuple[Tensor, float]]:
    """The iterates of CG that are looked at: each about 1.3 times as far on as the one before it, and the last."""
    kept, last, due = [], None, 1
    for number, last in enumerate(found, start=1):
        if number == due:
            kept.append(last)
            due = math.ceil(1.3 * due + 0.01)
    if last is not None and kept[-1] is not last:
        kept.append(last)
    return kept


class LBFGS:
    """torch's L-BFGS with a strong Wolfe line search (Liu and Nocedal, 1989), one iteration a step.

    It keeps `history` pairs of a step and the change of the gradient along it. `passes`: gradients so far. torch asks
    again at the beginning of a step for the gradient that ended the last line search; it is given what it knows.
    """

    def __init__(self, θ: Tensor, lr: float = 1.0, history: float = 10) -> None:
        self.θ = θ.detach().clone().requires_grad_()
        self.torch = torch.optim.LBFGS(
            [self.θ],
            lr=lr,
            max_iter=1,
            max_eval=100,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            history_size=int(history),
            line_search_fn="strong_wolfe",
        )
        self.known: list[tuple[Tensor, Tensor, Tensor]] = []
        self.passes = 0.0

    def step(self, f: Objective) -> float:
        """One iteration on f; f before it."""
        earlier, self.known = self.known, []

        def closure() -> float:
            θ = self.θ.detach().clone()
            found = next((seen for seen in (*self.known, *earlier) if torch.equal(seen[0], θ)), None)
            if found is None:
                found = (θ, *grad_and_value(f)(θ))
                self.passes += 1
            self.known.append(found)
            _, g, loss = found
            self.θ.grad = g.clone()
            return float(loss)

        return float(self.torch.step(closure))  # type: ignore[no-untyped-call]

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on."""
        return {"θ": self.θ.detach(), "torch": self.torch.state_dict(), "known": self.known, "passes": self.passes}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        with torch.no_grad():
            self.θ.copy_(saved["θ"])
        self.torch.load_state_dict(saved["torch"])
        self.known, self.passes = saved["known"], saved["passes"]


#: What a run may name where it names an optimizer, besides the ten; each of its steps looks at all training examples.
SECOND_ORDER = {"LBFGS": LBFGS, "HessianFree": HessianFree}

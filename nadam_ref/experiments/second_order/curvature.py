"""Curvature of a function f: ℝᵈ → ℝ of one vector θ by products, without the d² numbers of its Hessian."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import grad, jvp, vjp, vmap

Function = Callable[[Tensor], Tensor]  # θ [d] → a number, or a model's outputs
Product = Callable[[Tensor], Tensor]  # a vector [d] → matrix times vector [d]

AT_ONCE = 32  # products, so that memory stays small


def flat(params: Mapping[str, Tensor]) -> tuple[Tensor, Callable[[Tensor], dict[str, Tensor]]]:
    """All parameters as one vector θ `[d]`, and the function that makes named parameters, views, of such a vector."""
    shapes = {name: x.shape for name, x in params.items()}

    def named(θ: Tensor) -> dict[str, Tensor]:
        parts = torch.split(θ, [shape.numel() for shape in shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}

    return torch.cat([x.detach().reshape(-1) for x in params.values()]), named


def hessian_product(f: Function, θ: Tensor) -> Product:
    """Maps v to H v: the derivative of g along v (Pearlmutter, 1994)."""
    return lambda v: jvp(grad(f), (θ,), (v,))[1]


def gauss_newton_product(model: Function, loss: Function, θ: Tensor) -> Product:
    """The product v ↦ Jᵀ H J v for f = loss ∘ model: J is the model's Jacobian, H the loss's Hessian in the outputs.

    The matrix is what is left of the Hessian of f where the model is taken to be linear; with a convex loss it has no
    negative eigenvalue (Schraudolph, 2002).
    """
    outputs, back, *_ = vjp(model, θ)

    def product(v: Tensor) -> Tensor:
        along = jvp(model, (θ,), (v,))[1]
        result: Tensor = back(jvp(grad(loss), (outputs,), (along,))[1])[0]
        return result

    return product


def diagonal(f: Function, θ: Tensor) -> Tensor:
    """The diagonal of the Hessian `[d]`, exactly, with d products, of which many are made at once."""
    units = torch.eye(len(θ), dtype=θ.dtype)
    found: Tensor = vmap(lambda unit: unit.dot(hessian_product(f, θ)(unit)), chunk_size=AT_ONCE)(units)
    return found

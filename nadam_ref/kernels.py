"""The one update, twice: in place over lists of tensors, and as an expression for autograd and the compiler.

Both take the numbers of a step folded to seven, so that a denominator costs one addition:

    θ ← θ − (α m + γ g) / (root(n) + ε/d)      α = η a / d,  γ = η c / d
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .rules import Real, Rule, Scalars

__all__ = ["Coefficients", "expression", "expression_update_", "fold", "fused_update_", "update_"]


class Coefficients(NamedTuple):
    """One step's numbers as the kernels read them: floats, or tensors that broadcast against the parameter."""

    mu: Real
    one_minus_mu: Real
    nu: Real
    one_minus_nu: Real
    alpha: Real
    gamma: Real
    eps: Real

    def to(self, dtype: torch.dtype) -> Coefficients:
        """With tensors that have a dimension in `dtype`, so that they do not promote what they multiply."""
        return Coefficients(*(x.to(dtype) if isinstance(x, Tensor) and x.dim() else x for x in self))


def fold(k: Scalars, eps: Real) -> Coefficients:
    """The seven numbers that the kernels use, from the six of `rules.scalars` and ε."""
    return Coefficients(k.mu, 1 - k.mu, k.nu, 1 - k.nu, k.lr * k.a / k.d, k.lr * k.c / k.d, eps / k.d)


def reads_gradient(rule: Rule) -> bool:
    """Whether g itself, not only m, is in the step: without momentum, or with a look-ahead."""
    return rule.nesterov or rule.momentum == "none"


Lists = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]


def update_(rule: Rule, lists: Lists, k: Coefficients) -> None:
    """One step in place over lists (θ, g, m, n); m and n are empty where the rule has none.

    One temporary per tensor at most (two for the max norm): page faults on temporaries cost up to half of the time.
    """
    params, grads, ms, ns = lists
    if rule.momentum == "sum":
        torch._foreach_mul_(ms, k.mu)
        torch._foreach_add_(ms, grads)
    elif rule.momentum == "mean":
        torch._foreach_lerp_(ms, grads, k.one_minus_mu)

    if rule.norm == "sum":
        torch._foreach_addcmul_(ns, grads, grads)
    elif rule.norm == "rms":
        torch._foreach_mul_(ns, k.nu)
        torch._foreach_addcmul_(ns, grads, grads, k.one_minus_nu)
    elif rule.norm == "max":
        torch._foreach_mul_(ns, k.nu)
        torch._foreach_maximum_(ns, torch._foreach_abs(grads))

    terms = [(ms, k.alpha)] * (rule.momentum != "none") + [(grads, k.gamma)] * reads_gradient(rule)
    if rule.norm == "none":
        for term, weight in terms:
            torch._foreach_add_(params, term, alpha=-weight)
        return
    if rule.norm == "max":
        denominators = torch._foreach_add(ns, k.eps)
    else:
        denominators = torch._foreach_sqrt(ns)
        torch._foreach_add_(denominators, k.eps)
    for term, weight in terms:
        torch._foreach_addcdiv_(params, term, denominators, -weight)


def expression(
    rule: Rule, p: Tensor, g: Tensor, m: Tensor | None, n: Tensor | None, k: Coefficients
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """One step as new tensors (θ, m, n): differentiable, and what the compiler fuses to one kernel."""
    step: Any = k.gamma * g if reads_gradient(rule) else 0.0
    if m is not None:
        m = k.mu * m + (g if rule.momentum == "sum" else k.one_minus_mu * g)
        step = step + k.alpha * m
    if n is not None:
        if rule.norm == "sum":
            n = n + g * g
        elif rule.norm == "rms":
            n = k.nu * n + k.one_minus_nu * (g * g)
        else:
            n = torch.maximum(k.nu * n, g.abs())
        step = step / ((n if rule.norm == "max" else n.sqrt()) + k.eps)
    return p - step, m, n


def write_back(old: tuple[Tensor | None, ...], new: tuple[Tensor | None, ...]) -> None:
    """Copy what `expression` gave into the tensors it was given."""
    for to, x in zip(old, new, strict=True):
        if to is not None and x is not None:
            to.copy_(x)


def expression_update_(rule: Rule, lists: Lists, k: Coefficients) -> None:
    """`update_` through `expression`: where the numbers are tensors, or autograd is to see the step."""
    params, grads, ms, ns = lists
    none: list[Any] = [None] * len(params)
    for p, g, m, n in zip(params, grads, ms or none, ns or none, strict=True):
        write_back((p, m, n), expression(rule, p, g, m, n, k))


@functools.cache
def _compiled(rule: Rule, dtype: torch.dtype) -> Callable[..., None]:
    """The rule as one compiled kernel over flat tensors; one per rule and dtype, so that none evicts another."""

    def kernel(p: Tensor, g: Tensor, m: Tensor | None, n: Tensor | None, *k: Tensor) -> None:
        write_back((p, m, n), expression(rule, p, g, m, n, Coefficients(*k)))

    # Dynamo keeps its cache, of eight entries, on the code object: give each kernel its own.
    kernel.__code__ = kernel.__code__.replace(co_name=f"{rule.momentum}_{rule.norm}_{rule.nesterov}_{dtype}")
    return torch.compile(kernel, fullgraph=True, dynamic=True)


#: Device types on which a kernel could not be compiled.
_WITHOUT_COMPILER: set[str] = set()


def _give_up_fusing(device_type: str, error: Exception) -> None:
    _WITHOUT_COMPILER.add(device_type)
    reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    warnings.warn(
        f"fused=True: no kernel could be compiled for {device_type} ({reason}); going on with the unfused update, "
        "whose result is the same. Fusing needs a C++ compiler (CPU) or triton (GPU), and torch installed in a path "
        "without spaces.",
        stacklevel=2,
    )


def fused_update_(rule: Rule, lists: Lists, k: Coefficients) -> None:
    """`update_` as one compiled kernel per tensor; the numbers are 0-dim tensors: no recompilation as they change.

    Tensors that are not contiguous, and single numbers, are updated unfused, and so is everything, after one warning,
    where no kernel can be compiled.
    """
    params, grads, ms, ns = lists
    numbers = torch.tensor(k, dtype=params[0].dtype, device="cpu").unbind()
    none: list[Any] = [None] * len(params)
    for tensors in zip(params, grads, ms or none, ns or none, strict=True):
        flat = tensors[0].numel() > 1 and all(x is None or x.is_contiguous() for x in tensors)
        if not (flat and _run_fused(rule, tensors, numbers)):
            update_(rule, tuple([] if x is None else [x] for x in tensors), k)  # type: ignore[arg-type]


def _run_fused(rule: Rule, tensors: tuple[Tensor | None, ...], numbers: tuple[Tensor, ...]) -> bool:
    """Whether the kernel ran. What it raises comes from the compiler, before anything is written."""
    p = tensors[0]
    if p is None or p.device.type in _WITHOUT_COMPILER:
        return False
    arguments = [x if x is None else x.detach().view(-1) for x in tensors]
    try:
        _compiled(rule, p.dtype)(*arguments, *numbers)
    except torch._dynamo.exc.FailOnRecompileLimitHit:
        # Dynamo holds eight variants of a kernel, one for each global setting it was met under: start anew.
        _compiled.cache_clear()
        _compiled(rule, p.dtype)(*arguments, *numbers)
    except torch._dynamo.exc.BackendCompilerFailed as error:
        _give_up_fusing(p.device.type, error)
        return False
    return True

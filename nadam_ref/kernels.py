"""The one update, twice: in place over lists of tensors, and as an expression for autograd and the compiler.

Both take the numbers of a step folded, so that a denominator costs one addition:

    θ ← θ − (α m + γ g) / (root(n) + ε/d)      α = η a / d,  γ = η c / d

and √(n + ε_root/d²) for the root where a rule has a number under it.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from .rules import Real, Rule

HALF = (torch.float16, torch.bfloat16)


class Coefficients(NamedTuple):
    """One step's numbers as the kernels read them: floats, or tensors that broadcast against the parameter."""

    mu: Real
    one_minus_mu: Real
    nu: Real
    one_minus_nu: Real
    alpha: Real
    gamma: Real
    eps: Real
    decay: Real
    eps_root: Real

    def to(self, dtype: torch.dtype) -> Coefficients:
        """With tensors that have a dimension in `dtype`, so that they do not promote what they multiply."""
        return Coefficients(*(x.to(dtype) if isinstance(x, Tensor) and x.dim() else x for x in self))


class Prelude(NamedTuple):
    """What happens to a gradient and its parameter before the update: ascent, and weight decay."""

    maximize: bool = False
    decay: Literal["none", "coupled", "decoupled"] = "none"


def is_on(number: Real) -> bool:
    """Whether an optional number takes part in the update: it does unless it is 0, and a tensor always does."""
    return isinstance(number, Tensor) or number != 0


def arithmetic(p: Tensor) -> torch.dtype:
    """The dtype in which a parameter is updated and keeps its m and n: its own, float32 for half precision."""
    return torch.float32 if p.dtype in HALF else p.dtype


def reads_gradient(rule: Rule) -> bool:
    """Whether g itself, not only m, is in the step: without momentum, or with a look-ahead."""
    return rule.nesterov or rule.momentum == "none"


Tensors = tuple[Tensor, ...] | list[Tensor]
Lists = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]


def prepare_(prelude: Prelude, lists: Lists, k: Coefficients) -> Lists:
    """The lists with the gradients that the update is to see; decoupled decay acts on θ in place."""
    params, grads, ms, ns = lists
    if prelude.maximize:
        grads = list(torch._foreach_neg(grads))
    if prelude.decay == "coupled":
        grads = list(torch._foreach_add(grads, params, alpha=k.decay))
    elif prelude.decay == "decoupled":
        torch._foreach_mul_(params, k.decay)
    return params, grads, ms, ns


def update_(rule: Rule, lists: Lists, k: Coefficients) -> None:
    """One step in place over lists (θ, g, m, n); m and n are empty where the rule has none.

    On a CPU one temporary per tensor at most: page faults on temporaries cost up to half of the time.
    """
    params, grads, ms, ns = lists
    if rule.momentum == "sum":
        torch._foreach_mul_(ms, _as_met_by(ms, k.mu))
        torch._foreach_add_(ms, grads)
    elif rule.momentum == "mean":
        torch._foreach_lerp_(ms, grads, k.one_minus_mu)

    if rule.norm == "sum":
        torch._foreach_addcmul_(ns, grads, grads)
    elif rule.norm == "rms":
        torch._foreach_mul_(ns, _as_met_by(ns, k.nu))
        torch._foreach_addcmul_(ns, grads, grads, k.one_minus_nu)
    elif rule.norm == "max":
        scratch = torch._foreach_abs(grads)  # while g is still in the cache
        torch._foreach_mul_(ns, _as_met_by(ns, k.nu))
        _maximum_(ns, scratch)

    terms = [(ms, k.alpha)] if ms else []
    if reads_gradient(rule):
        terms.append((grads, k.gamma))
    if rule.norm == "none":
        for term, weight in terms:
            torch._foreach_add_(params, term, alpha=-weight)
        return
    if rule.norm == "max":
        denominators = _add(ns, k.eps, scratch)
    else:
        if rule.eps_root:
            denominators = torch._foreach_add(ns, k.eps_root)
            torch._foreach_sqrt_(denominators)
        else:
            denominators = torch._foreach_sqrt(ns)
        torch._foreach_add_(denominators, k.eps)
    for term, weight in terms:
        torch._foreach_addcdiv_(params, term, denominators, -weight)


def _maximum_(ns: list[Tensor], xs: Tensors) -> None:
    """The in-place maximum of n and x; on a CPU one by one, because foreach's maximum makes a copy there."""
    if not ns[0].is_cpu:
        torch._foreach_maximum_(ns, xs)
        return
    for n, x in zip(ns, xs, strict=True):
        torch.maximum(n, x, out=n)


def _add(ns: list[Tensor], eps: Real, scratch: Tensors) -> Tensors:
    """The sums n + ε; on a CPU in memory that is warm."""
    if not ns[0].is_cpu:
        return torch._foreach_add(ns, eps)
    eps = _as_met_by(ns, eps)
    return [torch.add(n, eps, out=x) for n, x in zip(ns, scratch, strict=True)]


def _as_met_by(tensors: list[Tensor], x: float) -> Any:
    """A number that stays from step to step, in the dtype of the tensors that it meets.

    As a float it is converted for each of them, which takes as long as all the rest where they are small. The product
    has the same bits.
    """
    first = tensors[0]
    if torch.compiler.is_compiling() or not first.is_cpu:
        return x
    number = _tensor(x, first.dtype)
    return number if type(number) is Tensor else x  # made while tensors were fake


@functools.lru_cache(maxsize=64)
def _tensor(x: float, dtype: torch.dtype) -> Tensor:
    return torch.tensor(x, dtype=dtype, device="cpu")


def prepare_and_update_(rule: Rule, prelude: Prelude, lists: Lists, k: Coefficients) -> None:
    """One step in place, the unfused way."""
    update_(rule, lists if prelude == Prelude() else prepare_(prelude, lists, k), k)


def prepare(prelude: Prelude, p: Tensor, g: Tensor, k: Coefficients) -> tuple[Tensor, Tensor]:
    """`prepare_` as new tensors (θ, g)."""
    if prelude.maximize:
        g = -g
    if prelude.decay == "coupled":
        g = g + k.decay * p
    elif prelude.decay == "decoupled":
        p = k.decay * p
    return p, g


def expression(
    rule: Rule,
    p: Tensor,
    g: Tensor,
    m: Tensor | None,
    n: Tensor | None,
    k: Coefficients,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """One step as new tensors (θ, m, n); fused kernels are made from it."""
    if m is None:
        step = k.gamma * g
    else:
        m = k.mu * m + (g if rule.momentum == "sum" else k.one_minus_mu * g)
        step = k.alpha * m
        if reads_gradient(rule):
            step = step + k.gamma * g
    if n is not None:
        if rule.norm == "sum":
            n = n + g * g
        elif rule.norm == "rms":
            n = k.nu * n + k.one_minus_nu * (g * g)
        else:
            n = torch.maximum(k.nu * n, g.abs())
        under = n + k.eps_root if rule.eps_root else n
        step = step / ((n if rule.norm == "max" else under.sqrt()) + k.eps)
    return p - step, m, n


def expression_update_(rule: Rule, prelude: Prelude, lists: Lists, k: Coefficients, clone: bool = False) -> None:
    """`prepare_` and `update_` through `expression`: where numbers are tensors, or autograd is to see the step.

    The arithmetic is in the dtype of m and n. With `clone`, nothing that autograd saves is overwritten.
    """
    params, grads, ms, ns = lists
    none: list[Any] = [None] * len(params)
    dtype = arithmetic(params[0])
    for kept in zip(params, grads, ms or none, ns or none, strict=True):
        p, g, m, n = (x.clone() if clone and x is not None else x for x in kept)
        p, g = prepare(prelude, p.to(dtype), g.to(dtype), k)
        for old, new in zip((kept[0], *kept[2:]), expression(rule, p, g, m, n, k), strict=True):
            if old is not None:
                old.copy_(new)

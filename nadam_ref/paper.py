"""The paper's boxes, line by line as printed, in NumPy float64: the oracle that everything else is tested against.

A box is a generator. It takes the starting parameters θ and a function `grad(θ, t)`, and yields θ after each step
t = 1, 2, …, forever, or after those that its `clock` gives; `path` collects T of them. Names are the paper's:
θ parameters, g gradient, m momentum vector, n norm accumulator, η learning rate, μ momentum constant, μ_t its
schedule, ν decay of n, ε. P_t = ∏_{i≤t} μ_i.
ψ = 1/250 is the schedule's speed; None means that μ_t = μ at every step.

Sources: CS229 is the project report (2015), ICLR the workshop paper (2016). Nothing here is fast, and nothing here is
shared with the optimizers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "adagrad",
    "adam",
    "adamax",
    "gradient_descent",
    "iclr_momentum",
    "iclr_nag_lookahead",
    "l2_norm",
    "max_norm",
    "maxprop",
    "momentum",
    "momentum_mean",
    "nadam",
    "nadam_choi",
    "nadam_constant",
    "nadam_iclr",
    "nadam_iclr_printed",
    "nadam_interpolated",
    "nadam_keras3",
    "nadamax",
    "nag",
    "nag_lookahead",
    "nag_mean",
    "note_adamax",
    "note_nadam",
    "path",
    "rmsprop",
    "row_lazy",
    "row_lazy_common",
    "schedule",
]

Array = NDArray[np.float64]
Gradient = Callable[[Array, int], Array]
Path = Iterator[Array]
Clock = Callable[[], Iterator[int]]
Norm = Callable[[Array, Array, float, int], tuple[Array, Array]]


def path(box: Callable[..., Path], θ: Any, grad: Gradient, T: int, **settings: Any) -> Array:
    """θ_0, θ_1, …, θ_T of a box, float64 of shape [T+1, *θ.shape]. `settings` are the box's keywords."""
    start = np.asarray(θ, dtype=np.float64)
    return np.stack([start, *islice(box(start, grad, **settings), T)])


def schedule(μ: float, t: int, ψ: float | None = 1 / 250) -> float:
    """CS229: μ_t = μ (1 − ½ · 0.96^{t/250})."""
    return μ if ψ is None else μ * (1 - 0.5 * 0.96 ** (t * ψ))


def product(μ: float, t: int, ψ: float | None = 1 / 250) -> float:
    """P_t = ∏_{i≤t} μ_i."""
    known = _products(μ, ψ)
    for i in range(len(known), t + 1):
        known.append(known[-1] * schedule(μ, i, ψ))
    return known[t]


@cache
def _products(μ: float, ψ: float | None) -> list[float]:
    """P_0, P_1, …, as far as they have been asked for."""
    return [1.0]


def steps() -> Iterator[int]:
    """The clock of a run: t = 1, 2, …"""
    return count(1)


def gradient_descent(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-3,
    clock: Clock = steps,
) -> Path:
    """CS229 Algorithm 1."""
    for t in clock():
        g = grad(θ, t)
        θ = θ - η * g
        yield θ


def momentum(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-3,
    μ: float = 0.9,
    ψ: float | None = None,
    clock: Clock = steps,
) -> Path:
    """CS229 Algorithm 2: classical momentum, a decaying sum."""
    m = np.zeros_like(θ)
    for t in clock():
        μ_t = schedule(μ, t, ψ)
        g = grad(θ, t)
        m = μ_t * m + g
        θ = θ - η * m
        yield θ


def nag_lookahead(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-3,
    μ: float = 0.9,
    ψ: float | None = None,
    clock: Clock = steps,
) -> Path:
    """CS229 Algorithm 3: the gradient, taken where momentum would lead."""
    m = np.zeros_like(θ)
    for t in clock():
        μ_t = schedule(μ, t, ψ)
        g = grad(θ - η * μ_t * m, t)
        m = μ_t * m + g
        θ = θ - η * m
        yield θ


def adagrad(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-2,
    ε: float = 1e-10,
    clock: Clock = steps,
) -> Path:
    """CS229 Algorithm 4."""
    n = np.zeros_like(θ)
    for t in clock():
        g = grad(θ, t)
        n = n + g**2
        θ = θ - η * g / (np.sqrt(n) + ε)
        yield θ


def rmsprop(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-2,
    ν: float = 0.99,
    ε: float = 1e-8,
    corrected: bool = False,
    clock: Clock = steps,
) -> Path:
    """CS229 Algorithm 5; its experiments are `corrected`: n / (1 − νᵗ)."""
    n = np.zeros_like(θ)
    for t in clock():
        g = grad(θ, t)
        n = ν * n + (1 - ν) * g**2
        n_hat = n / (1 - ν**t) if corrected else n
        θ = θ - η * g / (np.sqrt(n_hat) + ε)
        yield θ


def adam(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-3,
    μ: float = 0.9,
    ν: float = 0.999,
    ε: float = 1e-8,
    ψ: float | None = None,
    corrected: bool = True,
    clock: Clock = steps,
) -> Path:
    """CS229 Algorithm 6; under a schedule m is corrected by 1 − P_t."""
    m, n = np.zeros_like(θ), np.zeros_like(θ)
    for t in clock():
        μ_t = schedule(μ, t, ψ)
        P_t = product(μ, t, ψ)
        g = grad(θ, t)
        m = μ_t * m + (1 - μ_t) * g
        m_hat = m / (1 - P_t) if corrected else m
        n = ν * n + (1 - ν) * g**2
        n_hat = n / (1 - ν**t) if corrected else n
        θ = θ - η * m_hat / (np.sqrt(n_hat) + ε)
        yield θ


def nag(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-3,
    μ: float = 0.9,
    ψ: float | None = None,
    clock: Clock = steps,
) -> Path:
    """CS229 Algorithm 7: NAG, with the gradient at the stored θ."""
    m = np.zeros_like(θ)
    for t in clock():
        μ_t, μ_next = schedule(μ, t, ψ), schedule(μ, t + 1, ψ)
        g = grad(θ, t)
        m = μ_t * m + g
        m_bar = g + μ_next * m
        θ = θ - η * m_bar
        yield θ


def nadam(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 2e-3,
    μ: float = 0.99,
    ν: float = 0.999,
    ε: float = 1e-8,
    ψ: float | None = 1 / 250,
    clock: Clock = steps,
) -> Path:
    """CS229 Algorithm 8, as printed: μ in the recursion, μ_t elsewhere."""
    m, n = np.zeros_like(θ), np.zeros_like(θ)
    for t in clock():
        μ_t, μ_next = schedule(μ, t, ψ), schedule(μ, t + 1, ψ)
        P_t = product(μ, t, ψ)
        P_next = P_t * μ_next
        g = grad(θ, t)
        g_hat = g / (1 - P_t)
        m = μ * m + (1 - μ) * g
        m_hat = m / (1 - P_next)
        n = ν * n + (1 - ν) * g**2
        n_hat = n / (1 - ν**t)
        m_bar = (1 - μ_t) * g_hat + μ_next * m_hat
        θ = θ - η * m_bar / (np.sqrt(n_hat) + ε)
        yield θ


def adamax(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 2e-3,
    μ: float = 0.9,
    ν: float = 0.999,
    ε: float = 1e-8,
    ψ: float | None = None,
    corrected: bool = True,
    clock: Clock = steps,
) -> Path:
    """CS229, after Kingma and Ba, Algorithm 2: no root and no correction."""
    m, n = np.zeros_like(θ), np.zeros_like(θ)
    for t in clock():
        μ_t = schedule(μ, t, ψ)
        P_t = product(μ, t, ψ)
        g = grad(θ, t)
        m = μ_t * m + (1 - μ_t) * g
        m_hat = m / (1 - P_t) if corrected else m
        n = np.maximum(ν * n, np.abs(g))
        θ = θ - η * m_hat / (n + ε)
        yield θ


def maxprop(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-2,
    ν: float = 0.99,
    ε: float = 1e-8,
    clock: Clock = steps,
) -> Path:
    """CS229's MaxaProp: RMSProp with the norm of AdaMax."""
    n = np.zeros_like(θ)
    for t in clock():
        g = grad(θ, t)
        n = np.maximum(ν * n, np.abs(g))
        θ = θ - η * g / (n + ε)
        yield θ


def nadamax(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 2e-3,
    μ: float = 0.99,
    ν: float = 0.999,
    ε: float = 1e-8,
    ψ: float | None = 1 / 250,
    clock: Clock = steps,
) -> Path:
    """CS229's N-max: AdaMax with Nadam's m̄.

    Its other dialects are `nadam_iclr` … with `norm=max_norm`.
    """
    m, n = np.zeros_like(θ), np.zeros_like(θ)
    for t in clock():
        μ_t, μ_next = schedule(μ, t, ψ), schedule(μ, t + 1, ψ)
        P_t = product(μ, t, ψ)
        P_next = P_t * μ_next
        g = grad(θ, t)
        g_hat = g / (1 - P_t)
        m = μ * m + (1 - μ) * g
        m_hat = m / (1 - P_next)
        n = np.maximum(ν * n, np.abs(g))
        m_bar = (1 - μ_t) * g_hat + μ_next * m_hat
        θ = θ - η * m_bar / (n + ε)
        yield θ


# -- the ICLR paper ----------------------------------------------------------------------------------------------------


def iclr_momentum(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-3,
    μ: float = 0.9,
    clock: Clock = steps,
) -> Path:
    """ICLR: momentum with the learning rate inside m, which is CS229 Algorithm 2 while η is constant."""
    m = np.zeros_like(θ)
    for t in clock():
        g = grad(θ, t)
        m = μ * m + η * g
        θ = θ - m
        yield θ


def iclr_nag_lookahead(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-3,
    μ: float = 0.9,
    clock: Clock = steps,
) -> Path:
    """ICLR: NAG with the learning rate inside m, so that the look-ahead is θ − μ m."""
    m = np.zeros_like(θ)
    for t in clock():
        g = grad(θ - μ * m, t)
        m = μ * m + η * g
        θ = θ - m
        yield θ


def momentum_mean(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-3,
    μ: float = 0.9,
    ψ: float | None = None,
    corrected: bool = True,
    clock: Clock = steps,
) -> Path:
    """ICLR's experiment: momentum as a decaying mean, bias-corrected."""
    m = np.zeros_like(θ)
    for t in clock():
        μ_t = schedule(μ, t, ψ)
        P_t = product(μ, t, ψ)
        g = grad(θ, t)
        m = μ_t * m + (1 - μ_t) * g
        m_hat = m / (1 - P_t) if corrected else m
        θ = θ - η * m_hat
        yield θ


def nag_mean(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 1e-3,
    μ: float = 0.9,
    ψ: float | None = None,
    corrected: bool = True,
    clock: Clock = steps,
) -> Path:
    """ICLR's experiment: NAG as a decaying mean, corrected as ICLR's Nadam is."""
    m = np.zeros_like(θ)
    for t in clock():
        μ_t, μ_next = schedule(μ, t, ψ), schedule(μ, t + 1, ψ)
        P_t = product(μ, t, ψ)
        P_next = P_t * μ_next
        g = grad(θ, t)
        m = μ_t * m + (1 - μ_t) * g
        m_hat, g_hat = (m / (1 - P_next), g / (1 - P_t)) if corrected else (m, g)
        m_bar = μ_next * m_hat + (1 - μ_t) * g_hat
        θ = θ - η * m_bar
        yield θ


def nadam_iclr_printed(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 2e-3,
    μ: float = 0.99,
    ν: float = 0.999,
    ε: float = 1e-8,
    ψ: float | None = 1 / 250,
    clock: Clock = steps,
) -> Path:
    """ICLR Algorithm 2 as printed: ε inside the root, and the unexplained ν in n̂. The schedule is the report's."""
    m, n = np.zeros_like(θ), np.zeros_like(θ)
    for t in clock():
        μ_t, μ_next = schedule(μ, t, ψ), schedule(μ, t + 1, ψ)
        P_t = product(μ, t, ψ)
        P_next = P_t * μ_next
        g = grad(θ, t)
        m = μ_t * m + (1 - μ_t) * g
        n = ν * n + (1 - ν) * g**2
        m_hat = μ_next * m / (1 - P_next) + (1 - μ_t) * g / (1 - P_t)
        n_hat = ν * n / (1 - ν**t)
        θ = θ - η * m_hat / (np.sqrt(n_hat + ε))
        yield θ


# -- the dialects, each with either norm -------------------------------------------------------------------------------


def l2_norm(n: Array, g: Array, ν: float, t: int) -> tuple[Array, Array]:
    """Adam's n, and the root of its corrected form."""
    n = ν * n + (1 - ν) * g**2
    return n, np.sqrt(n / (1 - ν**t))


def max_norm(n: Array, g: Array, ν: float, t: int) -> tuple[Array, Array]:
    """AdaMax's n, twice: there is no root and no correction."""
    n = np.maximum(ν * n, np.abs(g))
    return n, n


def nadam_iclr(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 2e-3,
    μ: float = 0.9,
    ν: float = 0.999,
    ε: float = 1e-8,
    ψ: float | None = 1 / 250,
    norm: Norm = l2_norm,
    clock: Clock = steps,
) -> Path:
    """ICLR Algorithm 2 without the extra ν, and with ε where the report has it: μ_t in the recursion of m as well."""
    m, n = np.zeros_like(θ), np.zeros_like(θ)
    for t in clock():
        μ_t, μ_next = schedule(μ, t, ψ), schedule(μ, t + 1, ψ)
        P_t = product(μ, t, ψ)
        P_next = P_t * μ_next
        g = grad(θ, t)
        m = μ_t * m + (1 - μ_t) * g
        n, root = norm(n, g, ν, t)
        m_hat = μ_next * m / (1 - P_next) + (1 - μ_t) * g / (1 - P_t)
        θ = θ - η * m_hat / (root + ε)
        yield θ


def nadam_constant(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 2e-3,
    μ: float = 0.9,
    ν: float = 0.999,
    ε: float = 1e-8,
    norm: Norm = l2_norm,
    clock: Clock = steps,
) -> Path:
    """optax.nadam: ICLR Algorithm 2 with μ_t = μ."""
    m, n = np.zeros_like(θ), np.zeros_like(θ)
    for t in clock():
        g = grad(θ, t)
        m = μ * m + (1 - μ) * g
        n, root = norm(n, g, ν, t)
        m_hat = μ * m / (1 - μ ** (t + 1)) + (1 - μ) * g / (1 - μ**t)
        θ = θ - η * m_hat / (root + ε)
        yield θ


def nadam_keras3(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 2e-3,
    μ: float = 0.9,
    ν: float = 0.999,
    ε: float = 1e-8,
    norm: Norm = l2_norm,
    clock: Clock = steps,
) -> Path:
    """Keras 2.11 and later: CS229 Algorithm 8 with μ_t = μ (1 − ½ · 0.96^t), the 1/250 lost."""
    m, n = np.zeros_like(θ), np.zeros_like(θ)
    for t in clock():
        μ_t, μ_next = μ * (1 - 0.5 * 0.96**t), μ * (1 - 0.5 * 0.96 ** (t + 1))
        P_t = product(μ, t, 1)
        P_next = P_t * μ_next
        g = grad(θ, t)
        m = μ * m + (1 - μ) * g
        n, root = norm(n, g, ν, t)
        m_hat = μ_next * m / (1 - P_next) + (1 - μ_t) * g / (1 - P_t)
        θ = θ - η * m_hat / (root + ε)
        yield θ


def nadam_choi(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 2e-3,
    μ: float = 0.9,
    ν: float = 0.999,
    ε: float = 1e-8,
    norm: Norm = l2_norm,
    clock: Clock = steps,
) -> Path:
    """Choi et al. (2019), timm's NAdamW, AlgoPerf: both terms over 1 − μᵗ."""
    m, n = np.zeros_like(θ), np.zeros_like(θ)
    for t in clock():
        g = grad(θ, t)
        m = μ * m + (1 - μ) * g
        n, root = norm(n, g, ν, t)
        m_hat = (μ * m + (1 - μ) * g) / (1 - μ**t)
        θ = θ - η * m_hat / (root + ε)
        yield θ


def nadam_interpolated(
    θ: Array,
    grad: Gradient,
    *,
    η: float = 2e-3,
    μ: float = 0.9,
    ν: float = 0.999,
    ε: float = 1e-8,
    γ: float = 0.05,
    norm: Norm = l2_norm,
    clock: Clock = steps,
) -> Path:
    """A plain interpolation between m̂ and g in place of the look-ahead: quasi-hyperbolic Adam, the author's Radam."""
    m, n = np.zeros_like(θ), np.zeros_like(θ)
    for t in clock():
        g = grad(θ, t)
        m = μ * m + (1 - μ) * g
        n, root = norm(n, g, ν, t)
        m_hat = m / (1 - μ**t)
        m_bar = (1 - γ) * m_hat + γ * g
        θ = θ - η * m_bar / (root + ε)
        yield θ


# -- row-lazy ----------------------------------------------------------------------------------------------------


def row_lazy(
    θ: Array, grad: Callable[[Array, int], dict[int, Array]], *, of: Callable[..., Path], **settings: Any
) -> Path:
    """An embedding's rows under the box `of`, as the author's later code advises: each row is a run of its own.

    `grad(θ, s)` gives the gradients of the rows that occur in step s. The clock t of a row, its m, n and P_t move only
    in those steps; a row that does not occur keeps all of them, and its parameters.
    """
    now: dict[int, Array] = {}
    runs = [of(row, lambda _, t, i=i: now[i], **settings) for i, row in enumerate(θ)]
    for s in count(1):
        now = grad(θ, s)
        θ = θ.copy()
        for i in now:
            θ[i] = next(runs[i])
        yield θ


def row_lazy_common(
    θ: Array, grad: Callable[[Array, int], dict[int, Array]], *, of: Callable[..., Path], **settings: Any
) -> Path:
    """`row_lazy` under one clock for all rows, as torch.optim.SparseAdam and TensorFlow Addons' LazyAdam have it.

    In step s of the table t = s for every row that occurs, however often it did before: only m and n are the row's own.
    """
    now = 0

    def clock() -> Iterator[int]:
        while True:
            yield now

    def counted(θ: Array, s: int) -> dict[int, Array]:
        nonlocal now
        now = s
        return grad(θ, s)

    return row_lazy(θ, counted, of=of, clock=clock, **settings)


# -- the reader's note that this project began from: verbatim, with its faults -----------------------------------------


def note_nadam(
    θ: Array,
    grad: Gradient,
    *,
    α: float = 1e-3,
    β: float = 0.9,
) -> Path:
    """The note's Nadam. To find its mistakes is an exercise of the book."""
    v = np.zeros_like(θ)
    for t in count(1):
        g = grad(θ - β * v, t)
        s = β * v + (1 - β) * g**2
        v = β * v + (1 - β) * g
        with np.errstate(invalid="ignore"):
            θ = θ - α / np.sqrt(s) * v
        yield θ


def note_adamax(
    θ: Array,
    grad: Gradient,
    *,
    α: float = 1e-3,
    β: float = 0.9,
    β2: float = 0.999,
) -> Path:
    """The note's Nadam with the max norm."""
    v, s = np.zeros_like(θ), np.zeros_like(θ)
    for t in count(1):
        g = grad(θ - β * v, t)
        v = β * v + (1 - β) * g
        s = np.maximum(β2 * s, np.abs(g))
        θ = θ - α / np.sqrt(s) * v
        yield θ

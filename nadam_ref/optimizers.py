"""The ten optimizers of the paper: for each its signature, its equation and its source.

Signatures and defaults are torch.optim's where torch has the method, so that changing the import is all it takes.
Keywords that torch does not have are keyword-only. In the equations θ are the parameters, g their gradient, η `lr`,
μ `momentum` or `betas[0]`, ν `alpha` or `betas[1]`, and ε `eps`; all operations are elementwise.

Keywords common to all:

`weight_decay`
    λ ≥ 0, default 0. Coupled (g ← g + λ θ), or with `decoupled_weight_decay` taken off the parameters (θ ← θ − η λ θ).
`maximize`
    Ascend rather than descend. Default False.
`foreach`, `fused`, `capturable`, `differentiable`
    How the step is computed, as in torch: over lists of tensors, as one compiled kernel, with all counts on the device
    (for CUDA graphs), or with a graph for autograd. The result is the same.

Sparse gradients, as those of `torch.nn.Embedding(sparse=True)`, make the update row-lazy: only the rows that occur
are updated, and their m and n rest while they do not occur; weight decay acts on the rows that occur. This is another
algorithm than the dense update with zeros for the other rows, and the author's later code advises it. A gradient that
is sparse in further dimensions gives whole rows, with zeros where it leaves elements out.

`row_counts` (every optimizer but GD, which counts nothing)
    What step t is for a row, in the schedule, the bias corrections and `lr_decay`. "own" (default): each row is a run
    of its own that counts the steps in which it occurs; the box is :func:`nadam_ref.paper.row_lazy`. "common": all
    rows live under the one count of their parameter, which goes on whether they occur or not, as in
    torch.optim.SparseAdam, torch.optim.Adagrad and TensorFlow Addons' LazyAdam; the box is
    :func:`nadam_ref.paper.row_lazy_common`. With dense gradients the two are the same. A checkpoint keeps its counts:
    loading one of the other kind raises ValueError, and so does a step on sparse gradients after "own" was changed to
    "common".

Three more keywords occur in several classes:

`eps_root` (rules with an L2 norm)
    A number ε_root under the root, as in Optax: √n̂ + ε becomes √(n̂ + ε_root) + ε. Default 0. ICLR's Algorithm 2 prints
    its ε there; that is `eps=0, eps_root=1e-8`.
`length` (Adam, AdaMax, Nadam, NadaMax)
    How long the step is on a constant gradient, in units of η: "own" (default) leaves it as the rule has it. "unit"
    divides it by that length, so that only the direction is left. "report" makes it as long as the report's Nadam has
    it with the same μ and ψ, r_t = μ_{t+1} (1 − μᵗ) / (1 − ∏_{i≤t+1} μ_i) + (1 − μ_t) / (1 − ∏_{i≤t} μ_i): Adam, whose
    own length is 1, becomes Adam times r_t. Both need `bias_correction`.
`gamma` (Nadam, NadaMax)
    γ of the dialect "interpolated", 0 ≤ γ < 1. None (default): .05. No other dialect has one.

A number may be of any real type, or a tensor of one element; a parameter group may change it between steps. A group
may also have keys that the class does not have: as in torch, they are not read.

Each constructor raises ValueError for a value outside its range, TypeError for a keyword it does not have and for
parameters that are neither floating point nor complex. So does `step` for a value that a group was given since, and
RuntimeError for a gradient or a state that does not fit its parameter; it has then changed nothing. Where a parameter
was cast or moved, its state follows it. A step compiled by `torch.compile` checks no value of a group.

Some values that torch takes are refused. Infinity is no rate or decay. RMSProp's `alpha` is below 1: at 1 its n stays
0, above 1 it is negative. GD and RMSProp have no `momentum` that OneCycleLR or CyclicLR could cycle, where
torch.optim.SGD and RMSprop would begin with one: use Momentum, or `cycle_momentum=False`.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.optim.optimizer import ParamsT

from .checks import Counterpart, Default, Form, RowCounts
from .optimizer import PaperOptimizer
from .rules import MOMENTUM_DECAY, RULES, Length
from .state import Begun

__all__ = ["GD", "NAG", "AdaGrad", "AdaMax", "Adam", "MaxProp", "Momentum", "NadaMax", "Nadam", "RMSProp"]

DialectName = Literal["cs229", "iclr", "constant", "keras3", "choi", "interpolated"]
#: ψ of the report, which the other dialects replace by their own.
SCHEDULE = Default(MOMENTUM_DECAY)


class GD(PaperOptimizer):
    r"""Gradient descent, the report's Algorithm 1; torch.optim.SGD without momentum.

    .. math:: \theta \leftarrow \theta - \eta g
    """

    rule = RULES["GD"]
    counterpart = Counterpart("SGD", momentum=0, dampening=0, nesterov=False)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        *,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())


class Momentum(PaperOptimizer):
    r"""Classical momentum, the report's Algorithm 2 (Polyak, 1964); torch.optim.SGD with momentum.

    .. math:: m \leftarrow \mu m + g, \qquad \theta \leftarrow \theta - \eta m

    `momentum`
        μ ≥ 0, default 0.9, as in torch; below 1 in "mean" form, where 1 would divide by zero.
    `form`
        "sum" (default), as above; "mean", as in the ICLR experiment: m ← μ m + (1−μ) g, and with `bias_correction`
        (default True; the sum has none) the step takes m / (1 − μᵗ).
    `momentum_decay`
        None (default): μ is constant. A number ψ: the report's schedule, μ_t = μ (1 − ½ · 0.96^{tψ}).
    """

    rule = RULES["Momentum"]
    counterpart = Counterpart("SGD", dampening=0, nesterov=False)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.9,
        *,
        form: Form = "sum",
        bias_correction: bool = True,
        momentum_decay: float | None = None,
        row_counts: RowCounts = "own",
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())


class NAG(PaperOptimizer):
    r"""Nesterov's accelerated gradient, rewritten, the report's Algorithm 7; torch.optim.SGD with nesterov.

    .. math:: m \leftarrow \mu_t m + g, \qquad \theta \leftarrow \theta - \eta (\mu_{t+1} m + g)

    The stored θ is the look-ahead point of Algorithm 3, where the gradient is taken.

    `momentum`
        μ ≥ 0, default 0.9, as in :class:`Momentum`.
    `form`
        "sum" (default), as above; "mean": m ← μ_t m + (1−μ_t) g, and the step takes
        μ_{t+1} m / (1 − ∏_{i≤t+1} μ_i) + (1−μ_t) g / (1 − ∏_{i≤t} μ_i), without the divisions where `bias_correction`
        is False.
    `momentum_decay`
        None (default): μ_t = μ. A number ψ: the report's schedule, μ_t = μ (1 − ½ · 0.96^{tψ}).
    """

    rule = RULES["NAG"]
    counterpart = Counterpart("SGD", dampening=0, nesterov=True)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.9,
        *,
        form: Form = "sum",
        bias_correction: bool = True,
        momentum_decay: float | None = None,
        row_counts: RowCounts = "own",
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())


class AdaGrad(PaperOptimizer):
    r"""AdaGrad, the report's Algorithm 4 (Duchi et al., 2011); torch.optim.Adagrad.

    .. math:: n \leftarrow n + g^2, \qquad \theta \leftarrow \theta - \eta \frac{g}{\sqrt n + \varepsilon}

    `lr_decay`
        The rate of step t is η / (1 + (t−1) · lr_decay). Default 0.
    `initial_accumulator_value`
        n before the first step. Default 0.
    """

    rule = RULES["AdaGrad"]
    counterpart = Counterpart("Adagrad")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        eps_root: float = 0.0,
        row_counts: RowCounts = "own",
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())

    def share_memory(self) -> None:
        """Move n of every parameter to memory that processes share, as torch's Adagrad does; it starts here."""
        for settings in map(self._settings, self.param_groups):
            for p in settings.params:
                state = Begun(self).of(p, settings)
                state[settings.keys.n].untyped_storage().share_memory_()


class RMSProp(PaperOptimizer):
    r"""RMSProp, the report's Algorithm 5 (Tieleman and Hinton, 2012); torch.optim.RMSprop.

    .. math:: n \leftarrow \nu n + (1-\nu) g^2, \qquad \theta \leftarrow \theta - \eta \frac{g}{\sqrt n + \varepsilon}

    `bias_correction`
        True: the root is of n / (1 − νᵗ), as in the report's experiments. Default False, as in torch.
    """

    rule = RULES["RMSProp"]
    counterpart = Counterpart("RMSprop", momentum=0, centered=False)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        bias_correction: bool = False,
        eps_root: float = 0.0,
        row_counts: RowCounts = "own",
        decoupled_weight_decay: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())


class MaxProp(PaperOptimizer):
    r"""MaxaProp, the report's RMSProp with AdaMax's norm. No other library has it.

    .. math:: n \leftarrow \max(\nu n, |g|), \qquad \theta \leftarrow \theta - \eta \frac{g}{n + \varepsilon}

    There is no root, and n has no bias to correct.
    """

    rule = RULES["MaxProp"]

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        row_counts: RowCounts = "own",
        decoupled_weight_decay: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())


class Adam(PaperOptimizer):
    r"""Adam, the report's Algorithm 6 (Kingma and Ba, 2015); torch.optim.Adam.

    .. math::
        m &\leftarrow \mu m + (1-\mu) g, & \hat m &= m / (1-\mu^t) \\
        n &\leftarrow \nu n + (1-\nu) g^2, & \hat n &= n / (1-\nu^t) \\
        \theta &\leftarrow \theta - \eta \frac{\hat m}{\sqrt{\hat n} + \varepsilon}

    `bias_correction`
        False: m and n are used uncorrected. Default True.
    `momentum_decay`
        None (default): μ is constant. A number ψ: the report's schedule, m ← μ_t m + (1−μ_t) g and
        m / (1 − ∏_{i≤t} μ_i), as in the report's experiments.
    """

    rule = RULES["Adam"]
    counterpart = Counterpart("Adam", amsgrad=False)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        bias_correction: bool = True,
        momentum_decay: float | None = None,
        eps_root: float = 0.0,
        length: Length = "own",
        row_counts: RowCounts = "own",
        decoupled_weight_decay: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())


class AdaMax(PaperOptimizer):
    r"""AdaMax, Adam with the max norm (Kingma and Ba, 2015, Algorithm 2); torch.optim.Adamax but for the place of ε.

    .. math::
        m &\leftarrow \mu m + (1-\mu) g, & \hat m &= m / (1-\mu^t) \\
        n &\leftarrow \max(\nu n, |g|) \\
        \theta &\leftarrow \theta - \eta \frac{\hat m}{n + \varepsilon}

    Torch adds ε inside the maximum, n ← max(ν n, |g| + ε); the paper adds it to the norm. With gradients much larger
    than ε the two agree to that ratio.

    `bias_correction`
        Of m only: n has none. Default True.
    `momentum_decay`
        None (default): μ is constant. A number ψ: the report's schedule, as in :class:`Adam`.
    """

    rule = RULES["AdaMax"]
    counterpart = Counterpart("Adamax")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        foreach: bool | None = None,
        *,
        bias_correction: bool = True,
        momentum_decay: float | None = None,
        length: Length = "own",
        row_counts: RowCounts = "own",
        decoupled_weight_decay: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())


class Nadam(PaperOptimizer):
    r"""Nadam, Nesterov's momentum in Adam: the report's Algorithm 8, ICLR's Algorithm 2; torch.optim.NAdam.

    .. math::
        m &\leftarrow \mu m + (1-\mu) g, \qquad n \leftarrow \nu n + (1-\nu) g^2 \\
        \bar m &= \frac{\mu_{t+1}}{1 - \prod_{i=1}^{t+1} \mu_i} m + \frac{1-\mu_t}{1 - \prod_{i=1}^{t} \mu_i} g,
        \qquad \hat n = \frac{n}{1-\nu^t} \\
        \theta &\leftarrow \theta - \eta \frac{\bar m}{\sqrt{\hat n} + \varepsilon}

    `dialect`
        Which of the published Nadams (`rules.DIALECTS`). "cs229" (default): the 2015 report's Algorithm 8
        (torch.optim.NAdam), as above. "iclr": the 2016 workshop paper's Algorithm 2 with the report's schedule (no
        library), m ← μ_t m + (1−μ_t) g. "constant": the workshop paper's Algorithm 2 without a schedule (Optax),
        μ_t = μ. "keras3": the report's schedule 250 times as fast (Keras since 2.11), which lost the 1/250. "choi": no
        schedule, both terms corrected alike (timm's NAdamW, AlgoPerf), both over 1 − μᵗ.
        "interpolated": gradient and momentum interpolated in place of the look-ahead (the author's later test, Radam),
        (1−γ) m / (1−μᵗ) + γ g with constant μ and γ = .05. With another `gamma` it is quasi-hyperbolic Adam (Ma and
        Yarats, ICLR 2019), θ ← θ − η ((1−γ) m̂ + γ g) / (√n̂ + ε); they write ν₁ for 1 − γ and correct n alike. The
        report's rule, whose m has the constant μ as well, is a scheduled form of it, with γ_t = 1 − μ_t falling from
        one half.
    `bias_correction`
        False: neither m, g nor n is divided by its correction. Default True.
    `momentum_decay`
        ψ of the schedule μ_t = μ (1 − ½ · 0.96^{tψ}); default 0.004 = 1/250. None: no schedule. The dialects
        "constant", "keras3", "choi" and "interpolated" fix their own and refuse another, 0.004 included where it is
        given.

    With float64 parameters torch.optim.NAdam differs by about 1e-9, because it keeps the product of μ in float32.
    """

    rule = RULES["Nadam"]
    counterpart = Counterpart("NAdam")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float | None = SCHEDULE,
        decoupled_weight_decay: bool = False,
        *,
        dialect: DialectName = "cs229",
        bias_correction: bool = True,
        gamma: float | None = None,
        eps_root: float = 0.0,
        length: Length = "own",
        row_counts: RowCounts = "own",
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())


class NadaMax(PaperOptimizer):
    r"""NadaMax, Nesterov's momentum in AdaMax: the report's N-max. No other Python library has it.

    .. math::
        m &\leftarrow \mu m + (1-\mu) g, \qquad n \leftarrow \max(\nu n, |g|) \\
        \bar m &= \frac{\mu_{t+1}}{1 - \prod_{i=1}^{t+1} \mu_i} m + \frac{1-\mu_t}{1 - \prod_{i=1}^{t} \mu_i} g \\
        \theta &\leftarrow \theta - \eta \frac{\bar m}{n + \varepsilon}

    `dialect`, `gamma`, `bias_correction`, `momentum_decay`
        As in :class:`Nadam`; n has no bias to correct.
    """

    rule = RULES["NadaMax"]

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float | None = SCHEDULE,
        decoupled_weight_decay: bool = False,
        *,
        dialect: DialectName = "cs229",
        bias_correction: bool = True,
        gamma: float | None = None,
        length: Length = "own",
        row_counts: RowCounts = "own",
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(params, locals())

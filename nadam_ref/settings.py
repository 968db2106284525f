"""A group's hyperparameters as a step takes them, for optimizers and replicas alike, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .kernels import Coefficients, Prelude, is_on
from .rules import RULES, Real, Rule, Scalars, scalars

#: Hyperparameters that `rules.scalars` takes by the same name.
SCALARS = ("lr", "mu", "nu", "momentum_decay", "bias_correction", "dialect", "gamma", "length", "lr_decay")


class StateKeys(NamedTuple):
    """Names of a parameter's state: all of them, its counts, m and n; an empty name where the rule has none."""

    names: tuple[str, ...]
    counts: tuple[str, ...]
    m: str
    n: str


def state_keys(rule: Rule, scheduled: bool) -> StateKeys:
    """What a rule keeps of each parameter, under torch's names, so that checkpoints interchange.

    Momentum and NAG in sum form count steps only under a schedule; GD keeps nothing.
    """
    scheduled = scheduled and rule.momentum != "none"
    counted = rule.norm != "none" or rule.momentum == "mean" or scheduled
    rms = "square_avg" if rule.momentum == "none" else "exp_avg_sq"
    counts = ("step",) * counted + ("mu_product",) * (scheduled and rule.momentum == "mean")
    m = {"none": "", "sum": "momentum_buffer", "mean": "exp_avg"}[rule.momentum]
    n = {"none": "", "sum": "sum", "rms": rms, "max": "exp_inf"}[rule.norm]
    return StateKeys((*counts, *[name for name in (m, n) if name]), counts, m, n)


#: Every name under which one of the ten keeps something.
NAMES = frozenset(name for rule in RULES.values() for name in state_keys(rule, scheduled=True).names)


def hyperparameters(group: Mapping[str, Any]) -> dict[str, Any]:
    """Checked hyperparameters by the update's names: μ and ν whatever the class calls them, tensors 0-dimensional."""
    values = dict(group)
    pair = values.pop("betas", None)
    mu, nu = values.pop("momentum", 0.0), values.pop("alpha", 0.0)
    values["mu"], values["nu"] = pair or (mu, nu)
    return {name: x.reshape(()) if isinstance(x, Tensor) and x.dim() else x for name, x in values.items()}


class Settings:
    """Hyperparameters with what follows from them: the rule, the names of the state, the prelude.

    `rule`: the optimizer's; the hyperparameter `form` makes a decaying sum a decaying mean, and `eps_root` adds a
    number under the root. `values`: what `hyperparameters` gives; any number may be a tensor. `params`: the group's.
    `symbolic`: counts stay tensors, on the device for CUDA graphs, for the compiler, or for autograd.
    """

    def __init__(self, rule: Rule, values: dict[str, Any], params: list[Tensor]) -> None:
        self.values, self.params = values, params
        self.rule = Rule(
            values.get("form", rule.momentum), rule.norm, rule.nesterov, is_on(values.get("eps_root", 0.0))
        )
        self.keys = state_keys(self.rule, values.get("momentum_decay") is not None)
        self._derive()
        self.compiling = torch.compiler.is_compiling()
        self.symbolic = self.compiling or values["capturable"] or values["differentiable"]
        self.has_tensors = any(isinstance(x, Tensor) for x in values.values())

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def common(self) -> tuple[str, ...]:
        """The names of counts that all rows of a parameter share."""
        return self.keys.counts if self.values.get("row_counts") == "common" else ()

    def map(self, function: Callable[[Any], Any]) -> Settings:
        """The same settings with every value changed by a function."""
        return self.replaced(**{name: function(x) for name, x in self.values.items()})

    def replaced(self, **values: Any) -> Settings:
        """The same settings with some other values."""
        other, values = object.__new__(Settings), {**self.values, **values}
        other.__dict__.update(self.__dict__, values=values)
        other._derive()
        return other

    def _derive(self) -> None:
        """What every change of a value changes."""
        values = self.values
        self.prelude = _prelude(values)
        self._scalars = {name: values[name] for name in SCALARS if name in values}
        self._numbers: tuple[Any, ...] = (None, None, None)

    def scalars(self, t: Real, product: Real) -> tuple[Scalars, Real]:
        """`rules.scalars` of step t."""
        return scalars(self.rule, t, product, **self._scalars)

    def numbers(self, k: Scalars, dtype: torch.dtype) -> Coefficients:
        """`coefficients` where all are floats: those of the step before, as long as its scalars are the same."""
        before, its_dtype, numbers = self._numbers
        if before != k or its_dtype is not dtype:
            numbers = self.coefficients(k, dtype)
            self._numbers = k, dtype, numbers
        return numbers  # type: ignore[no-any-return]

    def coefficients(self, k: Scalars, dtype: torch.dtype) -> Coefficients:
        """What the kernels take for arithmetic in `dtype`, from the scalars of the step."""
        eps, root, decay = (self.values.get(name, 0.0) for name in ("eps", "eps_root", "weight_decay"))
        root = root / k.d**2 if is_on(root) else 0.0
        decay = 1 - k.lr * decay if self.prelude.decay == "decoupled" else decay
        alpha, gamma = k.lr * k.a / k.d, k.lr * k.c / k.d
        return Coefficients(k.mu, 1 - k.mu, k.nu, 1 - k.nu, alpha, gamma, _normal(eps, k.d, dtype), decay, root)


def _normal(eps: Real, d: Real, dtype: torch.dtype) -> Real:
    """ε/d, but no less than the smallest normal number of `dtype`: a CPU may take what is smaller for 0."""
    tiny = torch.finfo(dtype).tiny
    if isinstance(eps, Tensor):
        eps = eps.to(torch.promote_types(eps.dtype, dtype))  # in a narrower one that number may be 0
    x = eps / d
    return x.clamp(min=tiny) if isinstance(x, Tensor) else max(x, tiny)


def _prelude(values: dict[str, Any]) -> Prelude:
    if not is_on(values["weight_decay"]):
        return Prelude(values["maximize"])
    return Prelude(values["maximize"], "decoupled" if values["decoupled_weight_decay"] else "coupled")

"""What an optimizer accepts: its hyperparameters, its parameters, and gradients and state that fit them."""

from __future__ import annotations

import inspect
import math
import traceback
import warnings
from collections.abc import Iterable, Mapping
from itertools import chain, takewhile
from numbers import Real
from operator import attrgetter
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from .compat import internal_overlap, stored
from .kernels import arithmetic
from .rules import DIALECTS, LENGTHS

#: Hyperparameters that are one number, with the bound they stay below.
BOUNDS = {
    **dict.fromkeys(("lr", "eps", "eps_root", "weight_decay", "momentum_decay", "lr_decay"), math.inf),
    **dict.fromkeys(("momentum", "alpha", "gamma"), 1.0),
    "initial_accumulator_value": math.inf,
}
#: torch's words for them in errors; "alpha value" and so on for the others.
LABELS = {"lr": "learning rate", "eps": "epsilon value"}
#: Those that may be None.
OPTIONAL = {"gamma", "momentum_decay"}

Form = Literal["sum", "mean"]
RowCounts = Literal["own", "common"]
#: Hyperparameters that are one of several words.
CHOICES = {
    "form": get_args(Form),
    "dialect": tuple(DIALECTS),
    "length": LENGTHS,
    "row_counts": get_args(RowCounts),
}
#: Dialects by the names that they had in version 0.1.
OLD_NAMES = {"radam": "interpolated"}

Group = dict[str, Any]
SHAPE, DTYPE, DEVICE = map(attrgetter, ("shape", "dtype", "device"))


class Default(float):
    """A default that a dialect replaces by its own number; the same number given by the user is not replaced.

    It stays in the signature and in an optimizer's `defaults`; parameter groups have what replaces it.
    """


class Counterpart:
    """torch.optim's class of the same method, and what it can do that this update cannot, each with its "off" value.

    The "off" values are part of the parameter groups, so that torch's class can load the state_dict.
    """

    def __init__(self, name: str, **off: Any) -> None:
        self.name, self.off = name, off

    def check(self, group: Group, ours: str) -> None:
        """Raise ValueError where a group has one of these switched on."""
        for name, off in self.off.items():
            if group[name] != off:
                raise ValueError(f"{name}={group[name]!r} does not fit {ours}: use torch.optim.{self.name} for it")


# -- keywords ----------------------------------------------------------------------------------------------------------


def check_keywords(cls: type, counterpart: Counterpart | None, given: Iterable[str]) -> None:
    """Raise TypeError for a keyword that a class does not have, with torch's class if that has it."""
    _, *parameters = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return  # a subclass passes them on to this class, whose own check comes next
    known = [p.name for p in parameters]
    for name in set(given) - set(known):
        if counterpart and name in counterpart.off:
            raise TypeError(f"{cls.__name__} has no `{name}`: use torch.optim.{counterpart.name} for it")
        raise TypeError(f"{cls.__name__} has no keyword `{name}`; it has {', '.join(known)}")


def renamed(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords, those of an old record or checkpoint included, with the dialect by its name of today."""
    new = _new_name(keywords)
    return {**keywords, "dialect": new} if new else dict(keywords)


def warn_of_old_names(keywords: Mapping[str, Any]) -> None:
    """Warn of a dialect's former name, on the user's own line: by default Python shows no other such warning."""
    if new := _new_name(keywords):
        text = f"dialect {keywords['dialect']!r} is now called {new!r}; the next version will not know the old name"
        warnings.warn(text, DeprecationWarning, stacklevel=_level_of_the_user())


def _new_name(keywords: Mapping[str, Any]) -> str | None:
    """Today's name of a dialect that is given by its former one; None for anything else that is given."""
    given = keywords.get("dialect")
    return OLD_NAMES.get(given) if isinstance(given, str) else None


def _level_of_the_user() -> int:
    """The `stacklevel`, for a warning of the caller, of the first line that is neither of this package nor of torch."""
    frames = traceback.walk_stack(inspect.currentframe())  # of which this one is level 0
    modules = (frame.f_globals.get("__name__", "") for frame, _ in frames)
    return len(list(takewhile(lambda name: name.partition(".")[0] in ("nadam_ref", "torch"), modules)))


# -- hyperparameters ---------------------------------------------------------------------------------------------------


def checked(group: Mapping[str, Any], names: Iterable[str], counterpart: Counterpart | None, ours: str) -> Group:
    """The hyperparameters `names` of a group, each checked, the schedule settled by the dialect. Others are not read.

    Numbers are ints, floats or tensors of one element; those of other kinds (numpy's, fractions) become floats.
    Raises ValueError or RuntimeError, as torch does, in the name of the class `ours`.
    """
    own = renamed({name: group[name] for name in names})
    for name, bound in BOUNDS.items():
        if name in own and not (own[name] is None and name in OPTIONAL):
            unbounded = name == "momentum" and own.get("form") == "sum"
            label = LABELS.get(name, f"{name} value")
            own[name] = _number(name, label, own[name], math.inf if unbounded else bound)
    if "betas" in own:
        own["betas"] = _pair(own["betas"])
    if counterpart:
        counterpart.check(own, ours)
        if counterpart.name == "Adam":
            _check_as_torchs_adam(own)
    if own["fused"] and own["differentiable"]:
        raise RuntimeError("`fused` does not support `differentiable`")
    if own["fused"] and own["foreach"]:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
    for name, choices in CHOICES.items():
        if name in own and own[name] not in choices:
            raise ValueError(f"unknown {name} {own[name]!r}: choose one of {', '.join(choices)}")
    if own.get("length", "own") != "own" and not own["bias_correction"]:
        text = f"length={own['length']!r} needs bias_correction=True"
        raise ValueError(f"{text}: without it m grows from 0, and no step has the length of the gradient")
    if "dialect" in own:
        _check_gamma(own)
        own["momentum_decay"] = momentum_decay(own["dialect"], own["momentum_decay"])
    return own


def momentum_decay(dialect: str, given: Any) -> Any:
    """ψ under a dialect: the dialect's own where none was given. Raises ValueError where it fixes another."""
    kind = DIALECTS[dialect]
    if isinstance(given, Default):
        return kind.momentum_decay
    if kind.free_schedule or given == kind.momentum_decay:
        return given
    text = f"dialect {dialect!r} fixes momentum_decay at {kind.momentum_decay}, got {given!r}"
    raise ValueError(f"{text}: leave it out, or take dialect 'cs229' or 'iclr'")


def _check_gamma(group: Group) -> None:
    if group.get("gamma") is not None and DIALECTS[group["dialect"]].interpolation is None:
        text = f"dialect {group['dialect']!r} has no gamma, got {group['gamma']!r}"
        raise ValueError(f"{text}: leave it out, or take dialect 'interpolated'")


def _number(name: str, label: str, value: Any, bound: float) -> Any:
    """The value as the update can use it. Raises ValueError unless it is a number and 0 ≤ value < bound."""
    x = _read(value)
    if x is None:
        raise ValueError(f"Invalid {label}: {name}={value!r} is a {type(value).__name__}, not a number{_advice(value)}")
    if isinstance(x, Tensor):
        if x.numel() != 1:
            raise ValueError(f"Tensor {name} must be 1-element, not of shape {tuple(x.shape)}")
        if torch.compiler.is_compiling():
            return x
        try:
            seen = float(x.detach())
        except RuntimeError:  # it has no value yet: fake, meta, or under a transform of torch.func
            return x
    else:
        seen = x
    if not 0.0 <= seen < bound:
        needed = f"0 ≤ {name} < {bound:g}" if bound < math.inf else f"a finite {name} ≥ 0"
        raise ValueError(f"Invalid {label}: {value} (of type {type(value).__name__}): needed is {needed}")
    return x


def _read(value: Any) -> Any:
    """The value itself if the arithmetic takes it, a float for other numbers, None for what is no number."""
    if isinstance(value, Tensor):
        return None if value.is_complex() else value
    if type(value) in (float, int, bool, Default):
        return value
    kind = getattr(getattr(value, "dtype", None), "kind", "") if getattr(value, "ndim", None) == 0 else ""
    if isinstance(value, Real) or kind in tuple("biuf"):
        try:
            return float(value)
        except (OverflowError, TypeError, ValueError):
            return None
    return None


def _advice(value: Any) -> str:
    if value is None:
        return ": leave it out for the default"
    if not isinstance(value, str):
        return ""
    try:
        float(value)
    except ValueError:
        return ""
    mantissa, e, exponent = value.strip().lower().partition("e")
    if e and "." not in mantissa:
        mantissa += ".0"
    if e and exponent[0] not in "+-":
        exponent = "+" + exponent
    return f": write {mantissa}{e}{exponent} in YAML, without quotes"


def _pair(betas: Any) -> tuple[Any, Any]:
    try:
        if isinstance(betas, (str, bytes, set, frozenset, Mapping)):
            raise TypeError
        pair = tuple(betas)
        mu, nu = pair
    except (TypeError, ValueError):
        raise ValueError(f"Invalid betas: {betas!r} is a {type(betas).__name__}, not a pair of numbers") from None
    label = "beta parameter at index"
    return _number("betas[0]", f"{label} 0", mu, 1.0), _number("betas[1]", f"{label} 1", nu, 1.0)


def _check_as_torchs_adam(group: Group) -> None:
    """What torch's Adam, alone among its classes, refuses of tensors."""
    tensors = [isinstance(beta, Tensor) for beta in group["betas"]]
    if any(tensors) and not all(tensors):
        raise ValueError("betas must be either both floats or both Tensors")
    if group["foreach"] and not group["capturable"]:
        for name, tensor in (("lr", isinstance(group["lr"], Tensor)), ("betas[0]", tensors[0])):
            if tensor:
                raise ValueError(f"{name} as a Tensor is not supported for capturable=False and foreach=True")


# -- tensors -----------------------------------------------------------------------------------------------------------


def check_parameter(p: Tensor) -> None:
    """Raise TypeError or ValueError for what cannot be updated: its dtype, overlapping elements, a conjugate view."""
    _check_dtype(p)
    if is_lazy(p):
        return
    if p.is_conj():
        raise ValueError(
            f"can't optimize a parameter of shape {tuple(p.shape)} that is a conjugate view of another tensor: "
            "optimize that tensor, or this one's .resolve_conj()"
        )
    if internal_overlap(p) == 1:
        raise ValueError(
            f"can't optimize a parameter of shape {tuple(p.shape)} whose elements overlap in memory: it is an expanded "
            "tensor; optimize the tensor it was expanded from, or its .clone()"
        )


def _check_dtype(p: Tensor) -> None:
    if not (p.is_floating_point() or p.is_complex()):
        raise TypeError(f"can't optimize a parameter of dtype {p.dtype}: floating point or complex is needed")
    if p.dtype == torch.complex32:
        raise TypeError(f"can't optimize a parameter of dtype {p.dtype}: torch lacks its arithmetic; use complex64")


def fitting(grads: list[Tensor], p: Tensor) -> list[Tensor]:
    """The gradients of parameters like `p`; those of another dtype in that of the arithmetic.

    Raises TypeError for what is no parameter any more, RuntimeError for complex gradients of real parameters.
    """
    _check_dtype(p)
    if set(map(DTYPE, grads)) == {p.dtype}:
        return grads
    for g in grads:
        if not torch.can_cast(g.dtype, arithmetic(p)):
            raise RuntimeError(f"a gradient of dtype {g.dtype} does not fit a parameter of dtype {p.dtype}")
    return [g if g.dtype == p.dtype else g.to(arithmetic(p)) for g in grads]


# Each check runs over all tensors at once: this is done in every step.
def misplaced(params: list[Tensor], grads: list[Tensor], kept: list[list[Tensor]]) -> bool:
    """Whether state has to follow its parameters, all of one dtype and device, to another of these.

    `kept`: m and n of all parameters. Raises RuntimeError for a gradient or state that cannot be brought to its
    parameter: of another shape, complex for real, a gradient on another device.
    """
    p, shapes = params[0], list(map(SHAPE, params))
    if (
        all(list(map(SHAPE, tensors)) == shapes for tensors in (grads, *kept))
        and set(map(DEVICE, chain(grads, *kept))) == {p.device}
        and set(map(DTYPE, chain(*kept))) <= {arithmetic(p)}
    ):
        return False
    _check_each("gradient", params, grads, may_move=False)
    for tensors in kept:
        _check_each("state", params, tensors, may_move=True)
    return True


def _check_each(what: str, params: list[Tensor], others: list[Tensor], may_move: bool) -> None:
    for p, x in zip(params, others, strict=True):
        if x.shape != p.shape or x.is_complex() > p.is_complex() or not (may_move or x.device == p.device):
            kinds = [f"shape {tuple(y.shape)}, dtype {y.dtype}, on {y.device}" for y in (x, p)]
            raise RuntimeError(f"a {what} ({kinds[0]}) does not fit its parameter ({kinds[1]})")


def check_rows(p: Tensor, grad: Tensor) -> None:
    """Raise IndexError for an index of a sparse gradient that the parameter does not have."""
    for dimension, (rows, size) in enumerate(zip(stored(grad)[0], p.shape, strict=False)):
        for row in map(int, rows.aminmax()) if rows.numel() else ():
            if not 0 <= row < size:
                where = f"in dimension {dimension}, where its parameter has size {size}"
                raise IndexError(f"a sparse gradient has the index {row} {where}")

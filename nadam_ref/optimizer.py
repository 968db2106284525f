"""One `torch.optim.Optimizer` for every rule: checks, groups, state and `step`."""

from __future__ import annotations

import inspect
import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor
from torch.optim.optimizer import (
    Optimizer,
    ParamsT,
    _default_to_fused_or_foreach,
    _device_dtype_check_for_fused,
    _use_grad_for_differentiable,
)

from .kernels import Coefficients, Lists, expression, fold, fused_update_, update_, write_back
from .rules import DIALECTS, Real, Rule, Scalars, scalars

__all__ = ["PaperOptimizer"]

Group = dict[str, Any]

#: Hyperparameters that are one number: the name in the error text (torch's), and the bound they stay below.
BOUNDS = {
    "lr": ("learning rate", math.inf),
    "momentum": ("momentum value", 1.0),
    "alpha": ("alpha value", 1.0),
    "eps": ("epsilon value", math.inf),
    "weight_decay": ("weight_decay value", math.inf),
    "momentum_decay": ("momentum_decay value", math.inf),
    "lr_decay": ("lr_decay value", math.inf),
    "initial_accumulator_value": ("initial_accumulator_value value", math.inf),
}

#: State that counts rather than accumulates: one number for the whole parameter, or one for every row.
COUNTS = {"step", "mu_product"}
#: Elements of the small tensors that one call takes together on a CPU: what the smaller caches hold.
PORTION = 1 << 14
HALF = (torch.float16, torch.bfloat16)

#: Keywords that torch's classes do not have: with them in its groups, a checkpoint is one of ours.
OWN = {"form", "dialect", "bias_correction"}


class Twin:
    """torch.optim's class of the same method, and what it can do that this update cannot, each with its "off" value.

    The "off" values stand in the parameter groups, so that torch's class can load the state_dict.
    """

    def __init__(self, name: str, **off: Any) -> None:
        self.name, self.off = name, off

    def check(self, group: Group, ours: str) -> None:
        """Raise ValueError where a group has one of these switched on."""
        for name, off in self.off.items():
            if group.get(name, off) != off:
                raise ValueError(f"{name}={group[name]!r} does not fit {ours}: use torch.optim.{self.name} for it")


class Shielded:
    """A state tensor on its way through torch's load_state_dict, which would cast it to the parameter's dtype."""

    def __init__(self, value: Any) -> None:
        self.value = value


class StateKeys(NamedTuple):
    """Names of a parameter's state: its counts, m and n; an empty name where the rule has none."""

    counts: tuple[str, ...]
    m: str
    n: str

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.counts, *filter(None, (self.m, self.n)))


class Member(NamedTuple):
    """A parameter that takes part in this step, with its gradient and its state."""

    param: Tensor
    grad: Tensor
    state: dict[str, Tensor]


class PaperOptimizer(Optimizer):
    """What the ten optimizers share. A subclass gives its `rule`, its signature and torch's counterpart.

    Half-precision parameters are updated in float32 arithmetic and keep float32 state. Step counts and products of μ
    are float64. ε = 0 becomes the smallest normal number of the arithmetic's dtype: a zero gradient gives no NaN.
    """

    rule: ClassVar[Rule]
    twin: ClassVar[Twin | None] = None

    def __new__(cls, *args: Any, **kwargs: Any) -> PaperOptimizer:
        """Refuse unknown keywords: with torch's class where that has them, with the known ones otherwise."""
        parameters = inspect.signature(cls.__init__).parameters
        known = [name for name in parameters if name != "self"]
        passes_on = any(p.kind is p.VAR_KEYWORD for p in parameters.values())  # a subclass; its super() comes here too
        for name in () if passes_on else kwargs.keys() - set(known):
            if cls.twin and name in cls.twin.off:
                raise TypeError(f"{cls.__name__} has no `{name}`: use torch.optim.{cls.twin.name} for it")
            raise TypeError(f"{cls.__name__} has no keyword `{name}`; it has {', '.join(known)}")
        return super().__new__(cls)

    def __init__(self, params: ParamsT, arguments: dict[str, Any]) -> None:
        """`arguments`: the locals of a subclass's ``__init__``, every hyperparameter by name."""
        own = {name: v for name, v in arguments.items() if name not in ("self", "params", "__class__")}
        super().__init__(params, self._checked({**own, **(self.twin.off if self.twin else {})}))

    # -- checks --------------------------------------------------------------------------------------------------------

    def _checked(self, group: Group) -> Group:
        """The group itself, its values checked and its schedule settled by its dialect. Errors speak as torch's do."""
        lr = group["lr"]
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        for name, (label, bound) in BOUNDS.items():
            if group.get(name) is not None:
                _check_number(label, group[name], bound)
        for i, beta in enumerate(group.get("betas", ())):
            _check_number(f"beta parameter at index {i}", beta, 1.0)
        if self.twin:
            self.twin.check(group, type(self).__name__)
            if self.twin.name == "Adam":
                _check_as_torchs_adam(group)
        if group["fused"] and group["differentiable"]:
            raise RuntimeError("`fused` does not support `differentiable`")
        if group["fused"] and group["foreach"]:
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
        for name, choices in (("form", ("sum", "mean")), ("dialect", tuple(DIALECTS))):
            if name in group and group[name] not in choices:
                raise ValueError(f"unknown {name} {group[name]!r}: choose one of {', '.join(choices)}")
        if "dialect" in group:
            self._settle_schedule(group)
        return group

    def _settle_schedule(self, group: Group) -> None:
        dialect = DIALECTS[group["dialect"]]
        if dialect.free_schedule:
            return
        given, fixed = group["momentum_decay"], dialect.momentum_decay
        # The signature's default stands for "not given": every dialect is reached by its name alone.
        if given not in (fixed, DIALECTS["cs229"].momentum_decay):
            text = f"dialect {group['dialect']!r} fixes momentum_decay at {fixed}, got {given!r}"
            raise ValueError(f"{text}: leave it out, or take dialect 'cs229' or 'iclr'")
        group["momentum_decay"] = fixed

    def add_param_group(self, param_group: Group) -> None:
        """As torch's; every value is checked, and so is every parameter: floating point or complex, no overlap."""
        if isinstance(param_group, dict):
            self._checked({**self.defaults, **param_group})
        super().add_param_group(param_group)
        try:
            self._checked(self.param_groups[-1])
            for p in self.param_groups[-1]["params"]:
                _check_parameter(p)
        except Exception:
            self.param_groups.pop()
            raise

    # -- state ---------------------------------------------------------------------------------------------------------

    def _rule(self, group: Group) -> Rule:
        """The rule of a group: `form` turns a decaying sum into a decaying mean."""
        return replace(self.rule, momentum=group["form"]) if "form" in group else self.rule

    def _state(self, p: Tensor, group: Group, keys: StateKeys) -> dict[str, Tensor]:
        """The parameter's state, with what is missing created."""
        if not any(keys):
            return {}
        state: dict[str, Tensor] = self.state[p]
        for name in keys.counts:
            if name not in state:
                device = p.device if group["capturable"] else "cpu"
                state[name] = torch.full((), float(name == "mu_product"), dtype=torch.float64, device=device)
        for name in (keys.m, keys.n):
            if name and name not in state:
                start = group.get("initial_accumulator_value", 0.0) if name == "sum" else 0.0
                start = complex(start, start) if p.is_complex() else start
                state[name] = torch.full_like(p, start, dtype=_arithmetic(p), memory_format=torch.preserve_format)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, from this class or from torch's class of the same method; nothing is changed if it does not fit.

        State comes to the device and dtype that this optimizer keeps it in: counts and products stay float64, the rest
        of half precision float32. Raises ValueError where the checkpoint has on what this update cannot do, or holds
        the state of another rule.
        """
        handle = self.register_load_state_dict_pre_hook(lambda _, d: self._admit(d))  # after the user's own hooks
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()

    def _admit(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint, if it fits, its tensors shielded from torch's cast to the parameter's dtype."""
        admitted = dict(state_dict["state"])
        for saved in state_dict["param_groups"]:
            group = self._checked({**self.defaults, **saved})
            if (own := OWN & saved.keys()) and own != OWN & self.defaults.keys():
                has = f"its groups have {', '.join(sorted(own))}"
                raise ValueError(f"the checkpoint is of another rule than {type(self).__name__}: {has}")
            for i in saved["params"]:
                if i in admitted:
                    state = {name: x for name, x in admitted[i].items() if x is not None}
                    self._check_state(state, self._rule(group), group)
                    admitted[i] = {name: Shielded(x) for name, x in state.items()}
        return {**state_dict, "state": admitted}

    def _check_state(self, state: dict[str, Any], rule: Rule, group: Group) -> None:
        ours = state_keys(rule, group).names
        if state and set(ours) - set(state) == {"step"} and rule.momentum == "sum":
            warnings.warn("the checkpoint counts no steps: the momentum schedule starts at t = 1", stacklevel=5)
        elif state and set(state) != set(ours):
            raise ValueError(
                f"the checkpoint's state is of another rule: it has {', '.join(state)}; "
                f"{type(self).__name__} with these settings keeps {', '.join(ours) or 'no state'}"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Fill in what older or torch's own checkpoints lack, and keep counts and products in float64."""
        super().__setstate__(state)
        for group in self.param_groups:
            for name, default in self.defaults.items():
                group.setdefault(name, default)
            self._checked(group)
            for p in group["params"]:
                if p in self.state:
                    self.state[p] = {name: _restored(name, x, p, group) for name, x in self.state[p].items()}

    # -- the step ------------------------------------------------------------------------------------------------------

    @_use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient; the others keep their state and their step count.

        `closure` re-evaluates the model and returns the loss, which is returned.
        """
        self._accelerator_graph_capture_health_check()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if self.twin:  # a scheduler may have switched on what is not here
                self.twin.check(group, type(self).__name__)
            keys = state_keys(self._rule(group), group)
            dense = [p for p in group["params"] if p.grad is not None and not p.grad.is_sparse]
            for members in self._cohorts(dense, group, keys):
                self._advance(group, keys, members)
            for p in group["params"]:
                if p.grad is not None and p.grad.is_sparse:
                    self._advance_rows(group, keys, p)
        return loss

    def _cohorts(self, params: list[Tensor], group: Group, keys: StateKeys) -> Iterable[list[Member]]:
        """The parameters in lists that share what one call needs: scalars, device and dtype."""
        symbolic = _symbolic(group)
        cohorts: defaultdict[Any, list[Member]] = defaultdict(list)
        for p in params:
            if group["fused"] and not p.is_complex():
                _device_dtype_check_for_fused(p)
            state = self._state(p, group, keys)
            counts = [state[name] for name in keys.counts]
            key = tuple(id(x) if symbolic or x.dim() else x.item() for x in counts)
            cohorts[p.device, p.dtype, key].append(Member(p, cast(Tensor, p.grad), state))
        return cohorts.values()

    def _advance(self, group: Group, keys: StateKeys, members: list[Member]) -> None:
        """Count the step, find its scalars, and update in the portions that the group's flags ask for."""
        rule = self._rule(group)
        k = self._count_step(rule, group, keys, members)
        params = _real([x.param for x in members])
        grads = _real([x.grad for x in members])
        ms = _real([x.state[keys.m] for x in members]) if keys.m else []
        ns = _real([x.state[keys.n] for x in members]) if keys.n else []
        for at in _portions(params, group):
            self._update(rule, group, (params[at], grads[at], ms[at], ns[at]), k)

    def _advance_rows(self, group: Group, keys: StateKeys, p: Tensor) -> None:
        """Row-lazy: the rows that occur in a sparse gradient take a step, each with its own count; the others rest.

        Rows that occur several times are summed once; weight decay acts on the rows that occur. The box is
        `paper.row_lazy`.
        """
        grad = cast(Tensor, p.grad).coalesce()
        if grad.sparse_dim() != 1 or group["differentiable"]:
            what = "differentiable=True" if group["differentiable"] else f"sparse_dim() = {grad.sparse_dim()}"
            raise RuntimeError(
                f"{type(self).__name__} does not support sparse gradients with {what}: it updates whole rows, as those "
                "of nn.Embedding(sparse=True), outside of autograd"
            )
        rows, state = grad.indices()[0], self._state(p, group, keys)
        for name in keys.counts:
            if state[name].dim() == 0:
                state[name] = state[name].to(p.device).expand(len(p)).clone()
        part = {name: state[name].index_select(0, rows) for name in keys.names}
        values = p.detach().index_select(0, rows)
        self._advance(group, keys, [Member(values, grad.values(), part)])
        p.index_copy_(0, rows, values)
        for name, x in part.items():
            state[name].index_copy_(0, rows, x)

    def _count_step(self, rule: Rule, group: Group, keys: StateKeys, members: list[Member]) -> Scalars:
        """Advance the counts by one and give the scalars: floats, or tensors where the counts stay tensors."""
        counts = {name: [x.state[name] for x in members] for name in keys.counts}
        if "step" in counts:
            torch._foreach_add_(counts["step"], 1)
        dims = _real([members[0].param])[0].dim()
        t, product = (
            _count(counts[name][0], dims, group) if name in counts else 1.0 for name in ("step", "mu_product")
        )
        lr = group["lr"]
        if isinstance(lr, Tensor):
            lr = lr.squeeze() if isinstance(t, Tensor) or _symbolic(group) else lr.item()
        k, product = scalars(rule, t, product, lr=lr, **self._settings(group))
        if kept := counts.get("mu_product"):
            new = torch.as_tensor(product, dtype=kept[0].dtype, device=kept[0].device).reshape(kept[0].shape)
            # _foreach_copy_ has no derivative; copy_ into them is lost on the way through the compiler.
            if group["differentiable"]:
                for count in kept:
                    count.copy_(new)
            else:
                torch._foreach_copy_(kept, [new] * len(kept))
        return k

    def _settings(self, group: Group) -> dict[str, Any]:
        """A group in the words of `rules.scalars`: torch's names for μ and ν differ from class to class."""
        mu, nu = group["betas"] if "betas" in group else (group.get("momentum", 0.0), group.get("alpha", 0.0))
        names = ("momentum_decay", "bias_correction", "dialect", "lr_decay")
        return {"mu": mu, "nu": nu, **{name: group[name] for name in names if name in group}}

    def _update(self, rule: Rule, group: Group, lists: Lists, k: Scalars) -> None:
        """Gradient as the flags want it, weight decay, then the one update; all tensors in one call."""
        dtype = _arithmetic(lists[0][0])
        numbers = fold(k, max(group.get("eps", 0.0), torch.finfo(dtype).tiny))
        decay = group["weight_decay"]
        if group["differentiable"] or any(isinstance(x, Tensor) for x in (*numbers, decay)):
            self._update_by_expression(rule, group, lists, k, numbers.to(dtype))
            return
        params, grads, ms, ns = lists
        if params[0].dtype != dtype:
            params, grads = [p.to(dtype) for p in params], [g.to(dtype) for g in grads]
        if group["maximize"]:
            grads = list(torch._foreach_neg(grads))
        if decay != 0 and group["decoupled_weight_decay"]:
            torch._foreach_mul_(params, 1 - k.lr * decay)
        elif decay != 0:
            grads = list(torch._foreach_add(grads, params, alpha=decay))
        fused = group["fused"] and not torch.compiler.is_compiling()  # a compiler at work fuses by itself
        (fused_update_ if fused else update_)(rule, (params, grads, ms, ns), numbers)
        if params is not lists[0]:
            torch._foreach_copy_(lists[0], params)

    def _update_by_expression(self, rule: Rule, group: Group, lists: Lists, k: Scalars, numbers: Coefficients) -> None:
        """The same where numbers are tensors, or autograd is to see the step: nothing that it saves is overwritten."""
        params, grads, ms, ns = lists
        none: list[Any] = [None] * len(params)
        decay, dtype = group["weight_decay"], _arithmetic(params[0])
        for kept in zip(params, grads, ms or none, ns or none, strict=True):
            p, g, m, n = (x.clone() if group["differentiable"] and x is not None else x for x in kept)
            p, g = p.to(dtype), g.to(dtype)
            if group["maximize"]:
                g = -g
            if isinstance(decay, Tensor) or decay != 0:
                if group["decoupled_weight_decay"]:
                    p = p * _like(1 - k.lr * decay, p)
                else:
                    g = g + decay * p
            write_back((kept[0], *kept[2:]), expression(rule, p, g, m, n, numbers))


def state_keys(rule: Rule, group: Group) -> StateKeys:
    """What the state of a group's parameters holds, under torch's names, so that checkpoints interchange.

    Momentum and NAG in sum form count steps only under a schedule; GD keeps nothing.
    """
    scheduled = rule.momentum != "none" and group.get("momentum_decay") is not None
    counted = rule.norm != "none" or rule.momentum == "mean" or scheduled
    rms = "square_avg" if rule.momentum == "none" else "exp_avg_sq"
    return StateKeys(
        counts=("step",) * counted + ("mu_product",) * (scheduled and rule.momentum == "mean"),
        m={"none": "", "sum": "momentum_buffer", "mean": "exp_avg"}[rule.momentum],
        n={"none": "", "sum": "sum", "rms": rms, "max": "exp_inf"}[rule.norm],
    )


def _portions(params: list[Tensor], group: Group) -> Iterable[slice]:
    """What one call updates: all tensors, one (foreach=False), or, on a CPU by default, as many as fit its cache."""
    together = group["fused"] or group["foreach"]
    if together is None:
        _, together = _default_to_fused_or_foreach(params, group["differentiable"])
    if together:
        return [slice(None)]
    portion = PORTION if group["foreach"] is None and not group["differentiable"] else 0
    slices, start, size = [], 0, 0
    for i, p in enumerate(params, start=1):
        size += p.numel()
        if size >= portion or i == len(params):
            slices.append(slice(start, i))
            start, size = i, 0
    return slices


def _restored(name: str, x: Any, p: Tensor, group: Group) -> Tensor:
    """A loaded state tensor where the step wants it: counts in float64, on the CPU unless capturable or by row."""
    if name in COUNTS:
        value = getattr(x, "value", x)
        dim = value.dim() if isinstance(value, Tensor) else 0
        device = p.device if group["capturable"] or dim else "cpu"
        return torch.as_tensor(value, dtype=torch.float64, device=device).clone()
    # A copy: two optimizers must not go on in one buffer.
    return x.value.to(p.device, _arithmetic(p), copy=True) if isinstance(x, Shielded) else cast(Tensor, x)


def _arithmetic(p: Tensor) -> torch.dtype:
    """The dtype in which a parameter is updated and keeps its m and n: its own, float32 for half precision."""
    return torch.float32 if p.dtype in HALF else p.dtype


def _like(x: Any, p: Tensor) -> Any:
    """A tensor with dimensions in the dtype of `p`, so that it does not promote what it multiplies."""
    return x.to(p.dtype) if isinstance(x, Tensor) and x.dim() else x


def _symbolic(group: Group) -> bool:
    """Whether counts stay tensors: on the device for CUDA graphs, for the compiler, or for autograd."""
    return group["capturable"] or group["differentiable"] or torch.compiler.is_compiling()


def _count(count: Tensor, dims: int, group: Group) -> Real:
    """A count as `rules.scalars` takes it; counts by row as a column that broadcasts against `dims` dimensions."""
    if count.dim():
        return count.reshape(-1, *[1] * (dims - 1))
    return count.clone() if _symbolic(group) else count.item()  # autograd may keep it, and the next step counts on


def _real(tensors: list[Tensor]) -> list[Tensor]:
    """Complex tensors as pairs of reals."""
    return [torch.view_as_real(x) if torch.is_complex(x) else x for x in tensors]


def _check_number(label: str, value: Any, bound: float) -> None:
    """Raise ValueError unless 0 ≤ value < bound; NaN and infinity fail."""
    try:
        number = float(value.detach() if isinstance(value, Tensor) else value)
    except (RuntimeError, TypeError, ValueError):
        raise ValueError(f"Invalid {label}: {value!r} is not a number") from None
    if not 0.0 <= number < bound:
        raise ValueError(f"Invalid {label}: {value}")


def _check_as_torchs_adam(group: Group) -> None:
    """What torch's Adam, alone among its classes, refuses of tensors."""
    tensors = [isinstance(beta, Tensor) for beta in group["betas"]]
    if any(tensors) and not all(tensors):
        raise ValueError("betas must be either both floats or both Tensors")
    if group["foreach"] and not group["capturable"]:
        for name, tensor in (("lr", isinstance(group["lr"], Tensor)), ("betas[0]", tensors[0])):
            if tensor:
                raise ValueError(f"{name} as a Tensor is not supported for capturable=False and foreach=True")


def _check_parameter(p: Tensor) -> None:
    if not (p.is_floating_point() or p.is_complex()):
        raise TypeError(f"can't optimize a parameter of dtype {p.dtype}: floating point or complex is needed")
    if torch._debug_has_internal_overlap(p) == 1:
        raise ValueError(
            f"can't optimize a parameter of shape {tuple(p.shape)} whose elements overlap in memory: it is an expanded "
            "tensor; optimize the tensor it was expanded from, or its .clone()"
        )

"""The state of a parameter: its start, and its way back from a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from numbers import Real
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from .checks import Group
from .kernels import arithmetic, is_on
from .settings import NAMES, Settings

State = dict[str, Tensor]

#: State that counts rather than accumulates: one number for the whole parameter, or one for every row.
COUNTS = {"step", "mu_product"}
#: Keywords that torch's classes do not have: with them in its groups, a checkpoint is one of ours.
OWN = {"form", "dialect", "bias_correction"}


# -- a start -----------------------------------------------------------------------------------------------------------


def start(name: str, p: Tensor, group: Mapping[str, Any]) -> Tensor:
    """A parameter's state before its first step: counts are 0-dim float64, on the CPU unless capturable."""
    if name in COUNTS:
        value = float(name == "mu_product")
        if group["capturable"]:
            return torch.full((), value, dtype=torch.float64, device=p.device)
        return torch.tensor(value, dtype=torch.float64, device="cpu")  # of a fake one the value is known
    initial = group.get("initial_accumulator_value", 0.0) if name == "sum" else 0.0
    initial = complex(initial, initial) if p.is_complex() else initial
    zeros = torch.zeros_like(p, dtype=arithmetic(p), memory_format=torch.preserve_format)
    return zeros.add_(initial) if is_on(initial) else zeros


def _start(name: str, p: Tensor, state: State, settings: Settings) -> Tensor:
    """As `start`; but where a schedule is switched on, the product of μ is that of the steps which m has made."""
    if name == "mu_product" and settings.keys.m in state:
        with torch.no_grad():
            return cast(Tensor, settings["mu"] ** state["step"])
    return start(name, p, settings.values)


def by_row(count: Tensor, p: Tensor, dims: int = 1) -> Tensor:
    """A count with a value for every row; rows are along the first dimension, or the first `dims`."""
    return count.to(p.device).reshape(*count.shape, *[1] * (dims - count.dim())).expand(p.shape[:dims]).clone()


class Begun:
    """The states of parameters while a step is prepared: what is missing is made, and undone if the step is refused."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer  # not its state: a compiler has to find the parameters in their groups first
        #: Parameters, each with what was kept of it before a change.
        self.changes: list[tuple[Tensor, State]] = []

    def of(self, p: Tensor, settings: Settings, rows: bool = False) -> State:
        """All that is kept of a parameter. With `rows`, each row has counts of its own unless they are common.

        Raises ValueError where they are to be common, and each row has its own already.
        """
        if not settings.keys.names:
            return {}
        state: State = self.optimizer.state[p]
        own = rows and not settings.common
        if rows and not own and any(state[name].dim() for name in settings.keys.counts if name in state):
            text = f"the rows of a parameter of shape {tuple(p.shape)} count their own steps"
            raise ValueError(f"{text}, and its group now has row_counts='common': set it back to 'own'")
        for name in settings.keys.names:
            if name not in state:
                own = own or any(state[count].dim() for count in settings.keys.counts if count in state)
                self._put(p, state, name, _start(name, p, state, settings))
        if own:
            for name in settings.keys.counts:
                if not state[name].dim():
                    self._put(p, state, name, by_row(state[name], p))
        if len(state) > len(settings.keys.names):
            self._drop(p, state, NAMES.difference(settings.keys.names))
        return state

    def _put(self, p: Tensor, state: State, name: str, x: Tensor) -> None:
        self.changes.append((p, dict(state)))
        state[name] = x

    def _drop(self, p: Tensor, state: State, names: Collection[str]) -> None:
        """Forget what a schedule that is off now, or another form, has left behind; a checkpoint would not fit."""
        if stale := [name for name in state if name in names]:
            self.changes.append((p, dict(state)))
            for name in stale:
                del state[name]

    def undo(self) -> None:
        """Put back what was there before."""
        for p, before in reversed(self.changes):
            state = self.optimizer.state[p]
            state.clear()
            state.update(before)
            if not before:
                del self.optimizer.state[p]


# -- checkpoints -------------------------------------------------------------------------------------------------------


class Shielded:
    """A state tensor on its way through torch's load_state_dict, which would cast it to the parameter's dtype."""

    def __init__(self, value: Any) -> None:
        self.value = value


def restored(name: str, x: Any, p: Tensor, capturable: bool) -> Tensor:
    """A loaded state tensor where the step wants it: counts in float64, on the CPU unless capturable or by row."""
    if name in COUNTS:
        value = getattr(x, "value", x)
        dim = value.dim() if isinstance(value, Tensor) else 0
        device = p.device if capturable or dim else "cpu"
        count = torch.as_tensor(value, dtype=torch.float64, device=device)
        return count.clone() if isinstance(x, Shielded) else count
    # A copy of what is loaded: two optimizers must not go on in one buffer. Unpickled state is the optimizer's own.
    return x.value.to(p.device, arithmetic(p), copy=True) if isinstance(x, Shielded) else cast(Tensor, x)


def admitted(
    checkpoint: dict[str, Any],
    groups: Iterable[Group],
    defaults: Group,
    settings_of: Callable[[Group], Settings],
    ours: str,
) -> dict[str, Any]:
    """A checkpoint that fits the groups of the class `ours`, its tensors shielded from torch's cast.

    `settings_of` checks the hyperparameters of a group. Raises what it does, and ValueError where the checkpoint holds
    the state of another rule, or what is no state of its parameter, or counts rows in the other way.
    """
    states = dict(checkpoint["state"])
    for saved, group in zip(checkpoint["param_groups"], groups, strict=False):  # torch compares lengths
        settings = settings_of({**defaults, **saved})
        params = dict(zip(saved["params"], group["params"], strict=False))
        indices = [i for i in params if i in states]
        if "row_counts" in defaults:
            _check_row_counts(saved, group["row_counts"], [states[i] for i in indices])
        if (own := OWN & saved.keys()) and own not in (OWN & defaults.keys(), OWN & group.keys()):
            has = f"its groups have {', '.join(sorted(own))}"
            raise ValueError(f"the checkpoint is of another rule than {ours}: {has}")
        for i in indices:
            state = {name: x for name, x in states[i].items() if x is not None}
            _check_names(state, settings, ours)
            _check_kinds(state, ours)
            _check_counts(state, params[i])
            states[i] = {name: Shielded(x) for name, x in state.items()}
    return {**checkpoint, "state": states}


def _check_names(state: dict[str, Any], settings: Settings, ours: str) -> None:
    names = settings.keys.names
    if state and set(names) - set(state) == {"step"} and settings.rule.momentum == "sum":
        warnings.warn("the checkpoint counts no steps: the momentum schedule starts at t = 1", stacklevel=8)
    elif state and set(state) != set(names):
        raise ValueError(
            f"the checkpoint's state is of another rule: it has {', '.join(state)}; "
            f"{ours} with these settings keeps {', '.join(names) or 'no state'}"
        )


def _check_kinds(state: dict[str, Any], ours: str) -> None:
    for name, x in state.items():
        if not isinstance(x, Tensor) and not (name in COUNTS and isinstance(x, Real)):
            kind = "a number or a tensor" if name in COUNTS else "a tensor"
            text = f"the checkpoint's {name} is a {type(x).__name__}, not {kind}"
            raise ValueError(f"{text}: load what the state_dict() of {ours} gave")


def _check_counts(state: dict[str, Any], p: Tensor) -> None:
    """Refuse a count that is neither one number for the whole parameter nor one for each of its rows."""
    rows = () if is_lazy(p) else tuple(p.shape[:1])
    for name in COUNTS & state.keys():
        shape = tuple(getattr(state[name], "shape", ()))
        if shape not in ((), rows):
            text = f"the checkpoint's {name} has shape {shape}, but its parameter has {sum(rows)} rows"
            raise ValueError(f"{text}: a count is one number, or one for each row")


def _check_row_counts(saved: Group, wanted: str, states: list[dict[str, Any]]) -> None:
    """Refuse a checkpoint whose rows are counted in the other way; one that does not say may have such counts."""
    counts = [state[name] for state in states for name in COUNTS & state.keys()]
    own = any(isinstance(count, Tensor) and count.dim() for count in counts)
    has = "own" if own else str(saved.get("row_counts", wanted))
    if has != wanted:
        rows = {"own": "count their own steps", "common": "live under one common count"}[has]
        raise ValueError(
            f"the checkpoint's rows {rows} and this optimizer has row_counts={wanted!r}: make it with "
            f"row_counts={has!r} to load the checkpoint"
        )

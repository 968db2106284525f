"""One `torch.optim.Optimizer` for every rule: groups, checkpoints and `step`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from operator import is_, itemgetter
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from .checks import Counterpart, Group, check_keywords, check_parameter, checked, renamed, warn_of_old_names
from .compat import check_graph_capture, untraced, use_grad_for_differentiable, watched
from .plan import Advance, Plan
from .rules import Rule
from .settings import Settings, hyperparameters
from .state import Begun, admitted, restored

__all__ = ["PaperOptimizer"]


class PaperOptimizer(Optimizer):
    """What the ten optimizers share. A subclass gives its `rule`, its signature and torch's counterpart.

    Half-precision parameters are updated in float32 arithmetic and keep float32 state. Step counts and products of μ
    are float64. ε = 0 becomes the smallest normal number of the arithmetic's dtype: a zero gradient gives no NaN.
    """

    rule: ClassVar[Rule]
    counterpart: ClassVar[Counterpart | None] = None
    profile_hook_step = staticmethod(watched)  # type: ignore[assignment]  # what torch wraps `step` in

    def __new__(cls, *args: Any, **kwargs: Any) -> PaperOptimizer:
        """Refuse unknown keywords: with torch's class where that has them, with the known ones otherwise."""
        check_keywords(cls, cls.counterpart, kwargs)
        warn_of_old_names(kwargs)
        return super().__new__(cls)

    @untraced
    def __init__(self, params: ParamsT, arguments: dict[str, Any]) -> None:
        """`arguments`: the locals of a subclass's ``__init__``, every hyperparameter by name."""
        own = {name: x for name, x in arguments.items() if name not in ("self", "params", "__class__")}
        own = {**renamed(own), **(self.counterpart.off if self.counterpart else {})}
        checked(own, own, self.counterpart, type(self).__name__)
        self._forget_plans(own)
        super().__init__(params, own)

    # -- groups --------------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: Group) -> None:
        """As torch's; every value is checked, and so is every parameter: floating point or complex, no overlap."""
        if isinstance(param_group, dict):
            if "dialect" in self.defaults:  # else it is a key like any other that is not read
                warn_of_old_names(param_group)
            self._checked({**self.defaults, **param_group})
        super().add_param_group(param_group)
        try:
            group = self.param_groups[-1]
            group.update(self._checked(group))
            self._settings(group)  # which looks at tensors now, not while a CUDA graph is captured
            for p in group["params"]:
                check_parameter(p)
        except Exception:
            self.param_groups.pop()
            raise

    def _checked(self, group: Group) -> Group:
        """The group's own hyperparameters, checked; errors speak as torch's do."""
        return checked(group, self.defaults, self.counterpart, type(self).__name__)

    def _settings(self, group: Group) -> Settings:
        """A group as its step takes it; checked where something is new, but while a compiler traces the step.

        A check would fix the values it sees, and have the step compiled again for others.
        """
        if torch.compiler.is_compiling():
            own = renamed({name: group[name] for name in self.defaults})
            return Settings(self.rule, hyperparameters(own), group["params"])
        given, plan = self._read_from(group), self._plans[id(group)]
        settings = plan.settings
        if settings is None or settings.params is not group["params"] or not all(map(is_, given, plan.given)):
            settings = self._read_again(group, given, plan)
        if settings.has_tensors and not settings.symbolic:
            return settings.map(lambda x: x.item() if isinstance(x, Tensor) else x)
        return settings

    def _read(self, group: Group) -> Settings:
        return Settings(self.rule, hyperparameters(self._checked(group)), group["params"])

    def _read_again(self, group: Group, given: tuple[Any, ...], plan: Plan) -> Settings:
        """The group's settings, and in `plan`; in little time where a scheduler has set another rate."""
        kept, before = plan.settings, plan.given
        if kept and kept.params is group["params"] and all(map(is_, given[1:], before[1:])):
            rate = given[0]
            if type(rate) is type(before[0]) is float and 0 <= rate < math.inf:
                plan.given, plan.settings = given, kept.replaced(lr=rate)
                return plan.settings
        settings = self._read(group)
        plan.given, plan.settings = given, None if any(map(_may_change, given)) else settings
        return settings

    def _forget_plans(self, names: Iterable[str]) -> None:
        self._plans: defaultdict[int, Plan] = defaultdict(Plan)
        #: What a step reads of a group in one call: its hyperparameters by `names`, the rate first.
        self._read_from = itemgetter("lr", *(name for name in names if name != "lr"))

    # -- checkpoints ---------------------------------------------------------------------------------------------------

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, from this class or from torch's class of the same method; nothing is changed if it does not fit.

        State comes to the device and dtype that this optimizer keeps it in: counts and products stay float64, the rest
        of half precision float32. Raises ValueError where the checkpoint has on what this update cannot do, or holds
        the state of another rule.
        """

        def admit(_: Optimizer, checkpoint: dict[str, Any]) -> dict[str, Any]:
            return admitted(checkpoint, self.param_groups, self.defaults, self._read, type(self).__name__)

        handle = self.register_load_state_dict_pre_hook(admit)  # after the user's own hooks
        before = dict(vars(self))  # torch puts new groups and new state in their places before all of it is converted
        try:
            super().load_state_dict(state_dict)
        except BaseException:
            vars(self).update(before)
            raise
        finally:
            handle.remove()

    @untraced
    def __setstate__(self, state: dict[str, Any]) -> None:
        """Fill in what older or torch's own checkpoints lack, and keep counts and products in float64."""
        super().__setstate__(state)
        self._forget_plans(self.defaults)
        for group in self.param_groups:
            for name, default in self.defaults.items():
                group.setdefault(name, default)
            group.update(self._checked(group))
            for p in group["params"]:
                if p in self.state:
                    self.state[p] = {
                        name: restored(name, x, p, group["capturable"]) for name, x in self.state[p].items()
                    }

    # -- the step ------------------------------------------------------------------------------------------------------

    @use_grad_for_differentiable
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient; the others keep their state and their step count.

        `closure` re-evaluates the model and returns the loss, which is returned.
        """
        check_graph_capture(self)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for advance in self._prepared():  # from here on nothing is refused
            advance()
        if not torch.compiler.is_compiling():  # autograd does not see what a kernel writes
            for group in self.param_groups:
                torch.autograd.graph.increment_version(self._plans[id(group)].params)
        return loss

    def _prepared(self) -> list[Advance]:
        """The step of every group, still to be made. What cannot be done is refused here, and has changed nothing."""
        states, alone = Begun(self), len(self.param_groups) == 1
        if torch.compiler.is_compiling():  # which traces the whole step before it makes it
            return [Plan().prepare(self._settings(group), states, alone) for group in self.param_groups]
        plans = self._plans
        if len(plans) > len(self.param_groups):  # those of groups that are gone would keep their parameters alive
            for gone in plans.keys() - set(map(id, self.param_groups)):
                del plans[gone]
        try:
            return [plans[id(group)].prepare(self._settings(group), states, alone) for group in self.param_groups]
        except BaseException:
            states.undo()
            raise


def _may_change(value: Any) -> bool:
    """Whether a hyperparameter may change and stay the same object: a list, an array. Tensors are read at each step."""
    return hasattr(value, "__setitem__") and not isinstance(value, Tensor)

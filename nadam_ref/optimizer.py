"""One `torch.optim.Optimizer` for every rule: checks, groups, state and `step`."""

from __future__ import annotations

import inspect
import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import accumulate, chain
from operator import is_
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from .checks import OLD_NAMES, Twin, check_parameter, check_rows, checked, fitting, numbers, renamed
from .cohort import Cohort
from .compat import check_for_fused, check_graph_capture, untraced, use_grad_for_differentiable
from .fused import dense_kernel, fused_update_, rows_kernel
from .fused.sparse import BY_COUNT, BY_ENTRY, COMMON, Kernel, Occurring, Tables, by_rows, occurring
from .kernels import Coefficients, Prelude, arithmetic, expression_update_, fold, is_on, prepare_and_update_
from .memory import are_torchs_own
from .packing import Pack
from .portions import portions
from .rules import Real, Rule, Scalars, scalars
from .state import COUNTS, Shielded, StateKeys, restored, start, state_keys

__all__ = ["PaperOptimizer"]

Group = dict[str, Any]

#: Settings that `rules.scalars` takes by the same name.
SETTINGS = ("lr", "mu", "nu", "momentum_decay", "bias_correction", "dialect", "gamma", "length", "lr_decay")
#: How often a group's state is packed anew before that is left be: some loops change their parameters all the time.
PACKINGS = 8

#: Keywords that torch's classes do not have: with them in its groups, a checkpoint is one of ours.
OWN = {"form", "dialect", "bias_correction"}


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
        _warn_of_old_names(kwargs, stacklevel=3)
        return super().__new__(cls)

    @untraced
    def __init__(self, params: ParamsT, arguments: dict[str, Any]) -> None:
        """`arguments`: the locals of a subclass's ``__init__``, every hyperparameter by name."""
        own = {name: v for name, v in arguments.items() if name not in ("self", "params", "__class__")}
        own = {**renamed(own), **(self.twin.off if self.twin else {})}
        checked(own, own, self.twin, type(self).__name__)
        self._forget()
        super().__init__(params, own)

    # -- settings ------------------------------------------------------------------------------------------------------

    def _checked(self, group: Group) -> Group:
        """The group's own hyperparameters, checked; errors speak as torch's do."""
        return checked(group, self.defaults, self.twin, type(self).__name__)

    def _settings(self, group: Group) -> Group:
        """A group as the step reads it: `numbers`, its parameters, rule and keys. Checked where something is new.

        `symbolic`: counts stay tensors, on the device for CUDA graphs, for the compiler, or for autograd.
        """
        if torch.compiler.is_compiling():
            return self._as_read(group, {name: group[name] for name in self.defaults}, compiling=True)
        given = [group["params"], *(group[name] for name in self.defaults)]
        before, settings = self._seen.get(id(group), ([None] * len(given), {}))
        if not all(map(is_, given, before)):
            settings = self._as_read(group, self._checked(group))
            if not any(map(_changes, given[1:])):
                self._seen[id(group)] = given, settings
        if settings["symbolic"] or not settings["has_tensors"]:
            return settings
        read = {name: x.item() if isinstance(x, Tensor) else x for name, x in settings.items()}
        return {**read, "but_rate": [x.item() if isinstance(x, Tensor) else x for x in settings["but_rate"]]}

    def _as_read(self, group: Group, own: Group, compiling: bool = False) -> Group:
        found, rule = numbers(own), self._rule(own)
        return {
            **found,
            "params": group["params"],
            "rule": rule,
            "keys": state_keys(rule, own),
            "compiling": compiling,
            "symbolic": compiling or own["capturable"] or own["differentiable"],
            "has_tensors": any(isinstance(x, Tensor) for x in found.values()),
            "but_rate": [x for name, x in found.items() if name != "lr"],
        }

    def add_param_group(self, param_group: Group) -> None:
        """As torch's; every value is checked, and so is every parameter: floating point or complex, no overlap."""
        if isinstance(param_group, dict):
            _warn_of_old_names(param_group, stacklevel=3)
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

    # -- state ---------------------------------------------------------------------------------------------------------

    def _rule(self, group: Group) -> Rule:
        """The rule under settings: `form` turns a decaying sum into a decaying mean, `eps_root` adds under the root."""
        rule, rooted = self.rule, is_on(group.get("eps_root", 0.0))
        return Rule(group.get("form", rule.momentum), rule.norm, rule.nesterov, rooted)

    def _state(self, p: Tensor, group: Group, keys: StateKeys) -> dict[str, Tensor]:
        """The parameter's state, with what is missing created."""
        if not keys.names:
            return {}
        state: dict[str, Tensor] = self.state[p]
        for name in keys.names:
            if name not in state:
                made = start(name, p, group)
                if by_row := [state[count] for count in keys.counts if count in state and state[count].dim()]:
                    made = made.to(p.device).expand_as(by_row[0]).clone() if name in COUNTS else made
                state[name] = made
                self._begun.append((p, name))
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
        for saved, ours in zip(state_dict["param_groups"], self.param_groups, strict=False):  # torch compares lengths
            group = numbers(self._checked({**self.defaults, **saved}))
            if "row_counts" in self.defaults:
                self._check_row_counts(saved, ours, [admitted[i] for i in saved["params"] if i in admitted])
            if (own := OWN & saved.keys()) and own not in (OWN & self.defaults.keys(), OWN & ours.keys()):
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

    def _check_row_counts(self, saved: Group, ours: Group, states: list[dict[str, Any]]) -> None:
        """Refuse a checkpoint whose rows are counted in the other way; one that does not say may have such counts."""
        wanted = ours["row_counts"]
        counts = [state[name] for state in states for name in COUNTS & state.keys()]
        by_row = any(isinstance(count, Tensor) and count.dim() for count in counts)
        found = "own" if by_row else str(saved.get("row_counts", wanted))
        if found != wanted:
            rows = {"own": "count their own steps", "common": "live under one common count"}[found]
            raise ValueError(
                f"the checkpoint's rows {rows} and this optimizer has row_counts={wanted!r}: make it with "
                f"row_counts={found!r} to load the checkpoint"
            )

    @untraced
    def __setstate__(self, state: dict[str, Any]) -> None:
        """Fill in what older or torch's own checkpoints lack, and keep counts and products in float64."""
        super().__setstate__(state)
        self._forget()
        for group in self.param_groups:
            for name, default in self.defaults.items():
                group.setdefault(name, default)
            group.update(self._checked(group))
            for p in group["params"]:
                if p in self.state:
                    self.state[p] = {name: restored(name, x, p, group) for name, x in self.state[p].items()}

    def _forget(self) -> None:
        # What groups held when they were checked, and what was made of it.
        self._seen: dict[int, tuple[list[Any], Group]] = {}
        # State that the step in progress has created.
        self._begun: list[tuple[Tensor, str]] = []
        self._packs: dict[int, Pack] = {}
        self._packings: Counter[int] = Counter()
        # Where what sparse gradients change lies, of a group.
        self._tables: dict[int, Tables] = {}
        # Numbers of rows by count, of a group and a dtype, beside the settings that they are for.
        self._sets: dict[tuple[int, torch.dtype], tuple[list[Any], Tensor]] = {}

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
        for advance in self._plan():  # from here on nothing is refused
            advance()
        return loss

    def _plan(self) -> list[Callable[[], None]]:
        """The step of every group, still to be made. What cannot be done is refused here, and has changed nothing."""
        if torch.compiler.is_compiling():  # which traces the whole step before it makes it
            return [self._plan_group(self._settings(group)) for group in self.param_groups]
        self._begun = []
        try:
            return [self._plan_group(settings) for settings in map(self._settings, self.param_groups)]
        except BaseException:
            for p, name in self._begun:
                del self.state[p][name]
                if not self.state[p]:
                    del self.state[p]
            raise
        finally:
            self._begun = []

    def _plan_group(self, group: Group) -> Callable[[], None]:
        rule, keys = group["rule"], group["keys"]
        return self._plan_packed(rule, group, keys) or self._plan_cohorts(rule, group, keys)

    def _plan_cohorts(self, rule: Rule, group: Group, keys: StateKeys) -> Callable[[], None]:
        """The step of parameters that go together where they can, and of those whose gradients are sparse."""
        cohorts, with_rows = self._cohorts(group, keys)
        if ready := self._ready_rows(group, keys, with_rows):
            with_rows = []
        follow = [] if group["compiling"] else [c for c in (*cohorts, *with_rows) if c.check(keys)]
        sparse = [p for cohort in with_rows for p in cohort.params]
        if not group["fused"] or len(with_rows) > 1 or len(self.param_groups) > 1:  # else the kernel looks by itself
            for p in chain(sparse, ready.params if ready else ()):
                check_rows(p, cast(Tensor, p.grad))

        def advance() -> None:
            for p in chain.from_iterable(cohort.params for cohort in follow):
                state = self._state(p, group, keys)
                state.update({name: restored(name, Shielded(x), p, group) for name, x in state.items()})
            rest = self._advance_rows_fused(rule, group, keys, sparse) if sparse and group["fused"] else sparse
            if ready and not self._advance_occurring(rule, group, keys, ready):
                rest = ready.params
            for p in rest:
                self._advance_rows(rule, group, keys, p)
            for cohort in cohorts:
                self._advance(rule, group, keys, cohort)
            _note_changes(group)

        return advance

    def _cohorts(self, group: Group, keys: StateKeys) -> tuple[list[Cohort], list[Cohort]]:
        """Parameters that share what one call needs, type, scalars, device, dtype; and those with sparse gradients."""
        symbolic = group["symbolic"]
        cohorts: defaultdict[Any, Cohort] = defaultdict(lambda: Cohort([], [], []))
        with_rows: defaultdict[Any, Cohort] = defaultdict(lambda: Cohort([], [], []))
        for p in group["params"]:
            grad = p.grad
            if grad is None:
                continue
            if grad.is_sparse:
                if group["differentiable"]:
                    name = type(self).__name__
                    raise RuntimeError(f"{name} does not support sparse gradients with differentiable=True")
                if p.dim():
                    with_rows[p.dtype, p.device].add(p, grad, self._state(p, group, keys))
                    continue
                grad = grad.to_dense()
            if group["fused"] and p.is_floating_point():
                check_for_fused(p)
            state = self._state(p, group, keys)
            key: list[Any] = [type(p), p.dtype, p.device]
            for name in keys.counts:
                count = state[name]
                key.append(id(p) if symbolic or count.dim() else count.item())
            cohorts[tuple(key)].add(p, grad, state)
        return list(cohorts.values()), list(with_rows.values())

    def _advance(self, rule: Rule, group: Group, keys: StateKeys, cohort: Cohort) -> None:
        """Count the step, find its scalars, and update in the portions and the way that the group's flags ask for."""
        k = self._count_step(rule, group, keys, cohort)
        lists = cohort.lists(keys)
        dtype = arithmetic(lists[0][0])
        prelude, numbers = self._numbers(group, k, dtype)
        if group["differentiable"] or Tensor in set(map(type, numbers)) or not are_torchs_own(chain(*lists)):
            expression_update_(rule, prelude, lists, numbers.to(dtype), clone=group["differentiable"])
            return
        # A compiler fuses by itself; a captured CUDA graph would read the table again when its memory is gone.
        update = fused_update_ if group["fused"] and not group["symbolic"] else prepare_and_update_
        for portion in portions(lists, cohort.params, group):
            if lists[0][0].dtype == dtype:
                update(rule, prelude, portion, numbers)
                continue
            wide = [p.to(dtype) for p in portion[0]]
            update(rule, prelude, (wide, [g.to(dtype) for g in portion[1]], portion[2], portion[3]), numbers)
            torch._foreach_copy_(portion[0], wide)

    def _plan_packed(self, rule: Rule, group: Group, keys: StateKeys) -> Callable[[], None] | None:
        """The step of a fused group at once, from flat state; None where the group does not lie in memory for that."""
        if not group["fused"] or group["symbolic"]:
            return None
        at = id(group["params"])  # which torch 2.5 cannot compile
        if self._packings[at] >= PACKINGS and at not in self._packs:
            return None
        params = [p for p in group["params"] if p.grad is not None]
        pack = self._packed(params, group, keys) if params else None
        table = pack.rows(self.state) if pack else None
        counts = {name: pack.count(name) for name in keys.counts} if pack else {}
        if pack is None or table is None or not all(map(math.isfinite, counts.values())):
            self._packs.pop(id(group["params"]), None)
            return None
        prelude, device, dtype = _prelude(group), params[0].device, params[0].dtype
        kernel = dense_kernel(rule, prelude, dtype, device)
        if kernel is None:
            return None
        t = counts.get("step", 0.0) + 1
        k, product = self._scalars(rule, group, t, counts.get("mu_product", 1.0))
        _, numbers = self._numbers(group, k, dtype)

        def advance() -> None:
            kernel(table, [numbers], device)
            for name, value in (("step", t), ("mu_product", product)):
                if name in counts:
                    pack.flat[name].fill_(value)
            _note_changes(group)

        return advance

    def _packed(self, params: list[Tensor], group: Group, keys: StateKeys) -> Pack | None:
        """The group's pack, made anew where other parameters take part; None where they do not fit one."""
        pack = self._packs.get(at := id(group["params"]))
        if pack is None or pack.names != keys.names or not pack.holds(params):
            if self._packings[at] >= PACKINGS:
                return None
            self._packings[at] += 1
            for p in params:
                if p.is_floating_point():
                    check_for_fused(p)
            try:
                pack = Pack(params, [self._state(p, group, keys) for p in params], keys.counts, keys.m, keys.n)
            except ValueError:
                return None
            self._packs[at] = pack
        return pack

    def _advance_rows(self, rule: Rule, group: Group, keys: StateKeys, p: Tensor) -> None:
        """Row-lazy: the rows that occur in a sparse gradient take a step, each with its own count; the others rest.

        Rows that occur several times are summed once; weight decay acts on the rows that occur. Under a common count
        they take the parameter's next step instead. The boxes are `paper.row_lazy` and `paper.row_lazy_common`.
        """
        grad = by_rows(fitting([cast(Tensor, p.grad)], p)[0]).coalesce()
        rows, state = grad.indices()[0], self._row_state(p, group, keys)
        common = keys.counts if group.get("row_counts") == "common" else ()
        part = {name: state[name] if name in common else state[name].index_select(0, rows) for name in keys.names}
        values = p.detach().index_select(0, rows)
        self._advance(rule, group, keys, Cohort([values], [grad.values()], [part]))
        p.index_copy_(0, rows, values)
        for name, x in part.items():
            if name not in common:
                state[name].index_copy_(0, rows, x)

    def _row_state(self, p: Tensor, group: Group, keys: StateKeys) -> dict[str, Tensor]:
        """The parameter's state, every row with counts of its own unless they are common."""
        state = self._state(p, group, keys)
        for name in keys.counts:
            if state[name].dim() == 0 and group.get("row_counts") != "common":
                state[name] = state[name].to(p.device).expand(len(p)).clone()
        return state

    def _advance_rows_fused(self, rule: Rule, group: Group, keys: StateKeys, params: list[Tensor]) -> list[Tensor]:
        """`_advance_rows` of all parameters at once; gives back those that it cannot take."""
        if group["symbolic"]:
            return params
        whole = [p for p in params if cast(Tensor, p.grad).sparse_dim() == 1]
        grads = [cast(Tensor, p.grad) for p in whole]
        states = [self._row_state(p, group, keys) for p in whole]
        together = occurring(whole, grads, states, keys) if whole else None
        each = [] if together else zip(whole, grads, states, strict=True)
        alone = [occurring([p], [grad], [state], keys) for p, grad, state in each]
        done: set[Tensor] = set()
        for found in filter(None, [together, *alone]):
            if self._advance_occurring(rule, group, keys, found):
                done.update(found.params)
        return [p for p in params if p not in done]

    def _ready_rows(self, group: Group, keys: StateKeys, with_rows: list[Cohort]) -> Occurring | None:
        """All rows that occur, if all that a kernel reads has its form already; None sends them the longer way."""
        if not group["fused"] or group["symbolic"] or len(with_rows) != 1:
            return None
        (cohort,) = with_rows
        if any(g.sparse_dim() != 1 for g in cohort.grads):
            return None
        at = id(group["params"])
        found = occurring(cohort.params, cohort.grads, cohort.states, keys, self._tables.get(at))
        if found is None or (keys.counts and found.by_row == (group["row_counts"] == "common")):
            return None
        self._tables[at] = found.tables
        return found

    def _advance_occurring(self, rule: Rule, group: Group, keys: StateKeys, found: Occurring) -> bool:
        """The step of rows that lie as the kernel reads them; False, with nothing changed, where it has no numbers."""
        kernel = rows_kernel(rule, _prelude(group), found.params[0].dtype)
        ways = (self._by_count, self._by_entry) if found.by_row else (self._by_parameter,)
        return kernel is not None and any(way(kernel, rule, group, keys, found) for way in ways)

    def _by_count(self, kernel: Kernel, rule: Rule, group: Group, keys: StateKeys, found: Occurring) -> bool:
        """Rows by a table of the numbers by count, which serves as long as the settings, but for the rate, stay.

        False where they have just changed (some schedules change them at every step), or a row has another past.
        """
        dtype = found.params[0].dtype
        before, sets = self._sets.get(at := (id(group["params"]), dtype), (None, None))
        if sets is None or group["but_rate"] != before:
            self._sets[at] = group["but_rate"], torch.empty(0, 1, dtype=torch.float64)
            return False
        firsts, rate = [0] * len(found.params), group["lr"]
        missing = kernel(found, firsts, BY_COUNT, sets, rate)
        if missing > 0:
            t = torch.arange(1.0, max(256, 1 << (missing - 1).bit_length()) + 1, dtype=torch.float64)
            mus = self._scalars(rule, group, t, torch.ones_like(t))[1]  # where products are kept: each μ_t alone
            products = torch.cat([torch.ones(1, dtype=torch.float64), mus.cumprod(0)[:-1]])
            sets = self._rows_numbers(rule, group, dtype, t, products)
            self._sets[at] = group["but_rate"], sets
            missing = kernel(found, firsts, BY_COUNT, sets, rate)
        return not missing

    def _by_entry(self, kernel: Kernel, rule: Rule, group: Group, keys: StateKeys, found: Occurring) -> bool:
        """Rows by numbers of their own, found for each entry of the gradients from the row's count and product."""
        past = list(zip(found.states, found.rows, strict=True))
        t, product = (
            torch.cat([s[name].index_select(0, rows[0]) for s, rows in past]) if name in keys.counts else 1.0
            for name in ("step", "mu_product")
        )
        sets = self._rows_numbers(rule, group, found.params[0].dtype, t + 1, product)
        firsts = [0, *accumulate(rows.numel() for rows in found.rows)]
        return not kernel(found, firsts[:-1], BY_ENTRY, sets, group["lr"])

    def _by_parameter(self, kernel: Kernel, rule: Rule, group: Group, keys: StateKeys, found: Occurring) -> bool:
        """All rows of a parameter by the numbers of its one count, or of none."""
        pasts: dict[tuple[float, ...], int] = {}
        firsts = [pasts.setdefault(tuple(s[name].item() for name in keys.counts), len(pasts)) for s in found.states]
        sets = []
        for past in pasts:
            t, product = (*past, *(0.0, 1.0)[len(past) :])
            k, product = self._scalars(rule, group, t + 1, product)
            _, numbers = self._numbers(group, k, found.params[0].dtype)
            sets.append([1.0, product, *numbers, *[0.0] * len(numbers)])
        if kernel(found, firsts, COMMON, torch.tensor(sets, dtype=torch.float64), 0.0):
            return False
        for state, first in zip(found.states, firsts, strict=True):
            for name in keys.counts:
                state[name].copy_(state[name] + 1 if name == "step" else sets[first][1])
        return True

    def _rows_numbers(self, rule: Rule, group: Group, dtype: torch.dtype, t: Real, product: Real) -> Tensor:
        """The sets of a rows' kernel for steps t after products of μ: `[len(t), 2 + 2F]`, F the number of numbers.

        Every number is affine in the rate, so that schedulers, which change it at every step, change no set.
        """
        made = []
        for lr in (0.0, 1.0):
            k, after = self._scalars(rule, {**group, "lr": lr}, t, product)
            made.append(self._numbers({**group, "lr": lr}, k, dtype)[1])
        columns = (product, after, *made[0], *(y - x for x, y in zip(*made, strict=True)))
        return torch.stack([torch.as_tensor(x, dtype=torch.float64).expand(len(t)) for x in columns], dim=1)

    def _count_step(self, rule: Rule, group: Group, keys: StateKeys, cohort: Cohort) -> Scalars:
        """Advance the counts by one and give the scalars: floats, or tensors where the counts stay tensors."""
        counts = {name: [state[name] for state in cohort.states] for name in keys.counts}
        if "step" in counts:
            torch._foreach_add_(counts["step"], 1)
        p = cohort.params[0]
        dims = p.dim() + p.is_complex()
        t, product = (
            _count(counts[name][0], dims, group) if name in counts else 1.0 for name in ("step", "mu_product")
        )
        k, product = self._scalars(rule, group, t, product)
        if kept := counts.get("mu_product"):
            new = torch.as_tensor(product, dtype=kept[0].dtype, device=kept[0].device).reshape(kept[0].shape)
            # _foreach_copy_ has no derivative; copy_ into them is lost on the way through the compiler.
            if group["differentiable"]:
                for count in kept:
                    count.copy_(new)
            else:
                torch._foreach_copy_(kept, [new] * len(kept))
        return k

    def _scalars(self, rule: Rule, group: Group, t: Real, product: Real) -> tuple[Scalars, Real]:
        """`rules.scalars` with a group's settings."""
        return scalars(rule, t, product, **{name: group[name] for name in SETTINGS if name in group})

    def _numbers(self, group: Group, k: Scalars, dtype: torch.dtype) -> tuple[Prelude, Coefficients]:
        """What the kernels take: the scalars folded with ε, and what the group wants done to the gradient before."""
        decay, eps = group["weight_decay"], max(group.get("eps", 0.0), torch.finfo(dtype).tiny)
        prelude = _prelude(group)
        return prelude, fold(k, eps, prelude, decay, group.get("eps_root", 0.0))


def _warn_of_old_names(keywords: Group, stacklevel: int) -> None:
    if new := OLD_NAMES.get(old := keywords.get("dialect", "")):
        text = f"dialect {old!r} is now called {new!r}; the next version will not know the old name"
        warnings.warn(text, DeprecationWarning, stacklevel=stacklevel)


def _prelude(group: Group) -> Prelude:
    return Prelude.of(group["maximize"], group["weight_decay"], group["decoupled_weight_decay"])


def _note_changes(group: Group) -> None:
    if not group["compiling"]:  # autograd does not see what a kernel writes
        torch.autograd.graph.increment_version(p for p in group["params"] if p.grad is not None)


def _changes(value: Any) -> bool:
    """Whether a hyperparameter may change and stay the same object: a list, an array. Tensors are read at each step."""
    return hasattr(value, "__setitem__") and not isinstance(value, Tensor)


def _count(count: Tensor, dims: int, group: Group) -> Real:
    """A count as `rules.scalars` takes it; counts by row as a column that broadcasts against `dims` dimensions."""
    if count.dim():
        return count.reshape(-1, *[1] * (dims - 1))
    return count.clone() if group["symbolic"] else count.item()  # autograd may keep it, and the next step counts on

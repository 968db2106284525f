"""A run's specification: everything that decides the run, and so its name."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

#: Fields of a spec that came later. At their default they are not in its name, so older records keep theirs.
LATER = ("clip_norm", "anneal", "row_lazy", "device")

#: What names are made of. They appear on pages, in file names and on terminals, and come from other people's records.
#: An empty one is that of no optimizer, where runs are compared by all else.
NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63})?")

#: Profile of runs that no protocol plans, because they reach a published result; their model says all sizes itself.
REPRODUCTION = "reproduction"

#: Steps of a run from which on its record has means of the training loss in place of every value.
LONG = 1_000


def canonical(value: Any) -> str:
    """The one JSON spelling of a value: sorted keys, no spaces, no bare NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def check_names(what: str, names: Iterable[Any]) -> None:
    """Raise `ValueError` for what is no name, such as markup, a path, or a colour of the terminal."""
    for name in names:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f"{what} must be a name of letters, digits and _ . + -, not {str(name)[:80]!a}")


def _typed(value: Any, *, integers: bool = False) -> Any:
    """A value in its one type: lists are tuples, numbers floats (1 and 1.0 are one run); `integers` may stay."""
    if value is None or isinstance(value, (bool, str)) or (integers and isinstance(value, int)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(_typed(item, integers=integers) for item in value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a hyperparameter must be finite, not {value!r}")
    return number


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a run. Equal specs are the same run, bit for bit.

    `model`: sizes and named choices of the task's network.
    `subset`: how much of each part of the data is kept, as the task counts it, or None for all.
    `hyperparameters`: every argument of the optimizer that enters its arithmetic.
    `seed`: fixes initialization, data order and noise, each from its own generator and whatever the optimizer.
    `dtype`: float32 or float64. `threads`: of torch, during the run.
    `clip_norm`: the gradient is scaled down to this norm, over all parameters, where it is longer. None: as it is.
    `anneal`: (factor, full): the rate is multiplied by factor^max(epoch + 1 − full, 0), epochs counted from 0.
    `row_lazy`: tables of which a batch uses some rows get sparse gradients, so only these rows are updated.
    `device`: "cpu" or "cuda". On "cuda" the same spec gives the same curves to rounding only.
    `protocol_sha256`: hash of the protocol that planned the run, empty for a run that none did. It decides nothing, so
    it is no part of a spec's identity; the run's record carries it on.
    """

    task: str
    task_version: int
    profile: str
    model: Mapping[str, Any] = field(hash=False)
    data: str
    data_sha256: str
    optimizer: str
    optimizer_version: int
    hyperparameters: Mapping[str, Any] = field(hash=False)
    seed: int
    steps: int
    batch: int
    evaluate_every: int
    subset: tuple[int, ...] | None = None
    dtype: str = "float32"
    threads: int = 1
    clip_norm: float | None = None
    anneal: tuple[float, int] | None = None
    row_lazy: bool = False
    device: str = "cpu"
    protocol_sha256: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("steps", 0), ("batch", 1), ("evaluate_every", 1), ("threads", 1)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value < 2**63:
                raise ValueError(f"{name} must be an integer from {least} to 2^63 − 1, not {value!r}")
        for name, choices in (("dtype", ("float32", "float64")), ("device", ("cpu", "cuda")), ("row_lazy", (0, 1))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be {choices[0]} or {choices[1]}, not {getattr(self, name)!r}")
        for name in ("task", "profile", "data", "data_sha256", "optimizer"):
            check_names(name, [getattr(self, name)])
        for name in ("model", "hyperparameters"):
            values = getattr(self, name)
            check_names(f"each of {name}", [*values, *(x for x in values.values() if isinstance(x, str))])
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise ValueError(f"clip_norm must be positive and finite, not {self.clip_norm!r}")
        self._set_types()

    def _set_types(self) -> None:
        def set_to(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for name, integers in (("hyperparameters", False), ("model", True)):
            values = sorted(getattr(self, name).items())
            set_to(name, {key: _typed(value, integers=integers) for key, value in values})
        set_to("row_lazy", bool(self.row_lazy))
        set_to("subset", None if self.subset is None else tuple(self.subset))
        set_to("clip_norm", None if self.clip_norm is None else float(self.clip_norm))
        if self.anneal is not None:
            factor, full = self.anneal
            set_to("anneal", (float(factor), int(full)))

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """What decides the run, as JSON has it, without later fields that are at their default."""
        values = {name: getattr(self, name) for name in CONFIG}
        return {name: value for name, value in values.items() if name not in LATER or value != DEFAULTS[name]}

    @functools.cached_property
    def id(self) -> str:
        """sha256 of the canonical JSON of `config`."""
        return digest(self.config)

    @property
    def kind(self) -> str:
        """Task, profile and data set: what is released and compared together."""
        return f"{self.task}/{self.profile}/{self.data}"

    @property
    def lr(self) -> float:
        """The learning rate."""
        return float(self.hyperparameters["lr"])

    @property
    def train_every(self) -> int:
        """How many steps a value of a record's `train_loss` is the mean of: 1, or in a long run an evaluation's."""
        return 1 if self.steps <= LONG else self.evaluate_every


DEFAULTS = {known.name: known.default for known in fields(RunSpec)}

#: The fields that decide a run.
CONFIG = tuple(known.name for known in fields(RunSpec) if known.compare)

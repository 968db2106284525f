"""The protocol as data: what `protocol.yaml` says, in this version and in earlier ones, and the sha256 of each part."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ...checks import renamed
from ..runs.optimizers import hyperparameters
from .reading import DERIVED, Place, ProtocolError, build

T = TypeVar("T")

#: Earlier versions, under which packs in `book/results` were made: version → file.
EARLIER = {2: "protocol_2.yaml"}


# ---------------------------------------------------------------- what it says


@dataclass(frozen=True)
class ArmPlan:
    """An arm: an optimizer with everything fixed but the learning rate.

    `family`: the arms of one family begin their search at one rate. `hyperparameters`: those that the protocol names;
    the others are at their defaults. `row_lazy`: only the rows of a table that a batch uses are updated. `model`,
    `batch`: what a variant changes of the profile's network and batch.
    """

    optimizer: str
    family: str
    hyperparameters: Mapping[str, Any] = field(hash=False)
    row_lazy: bool | None = None
    model: Mapping[str, Any] = field(default_factory=dict, hash=False, metadata=DERIVED)
    batch: int = field(default=0, metadata=DERIVED)


@dataclass(frozen=True)
class Variants:
    """Arms of a profile that differ from the task's in what is named here: one for each combination of the values.

    `arms`: those that are varied; all of the task by default. Hyperparameters, named choices of the task (`model`) and
    sizes of the batch each have a list of values. An arm that is there already is not there again.
    """

    arms: tuple[str, ...] = ()
    hyperparameters: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, hash=False)
    model: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, hash=False)
    batch: tuple[int, ...] = ()

    def of(self, name: str, arm: ArmPlan) -> Iterator[tuple[str, ArmPlan]]:
        """The variants of one arm, by name: the arm's own, and what is changed."""
        keys = [*self.hyperparameters, *self.model, *(["batch"] if self.batch else [])]
        lists = [*self.hyperparameters.values(), *self.model.values(), *([self.batch] if self.batch else [])]
        for values in itertools.product(*lists):
            change = dict(zip(keys, values, strict=True))
            yield (
                " ".join([name, *(f"{key}={json.dumps(value)}" for key, value in change.items())]),
                replace(
                    arm,
                    hyperparameters={**arm.hyperparameters, **{x: change[x] for x in self.hyperparameters}},
                    model={x: change[x] for x in self.model},
                    batch=change.get("batch", 0),
                ),
            )


@dataclass(frozen=True)
class DataPlan:
    """The length of a run on one data set, and the part of the data that it uses; None is all of it."""

    steps: int
    evaluate_every: int
    batch: int = 0
    subset: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Seeds:
    """Seeds that choose rates, and those that are reported or how many of them; `extend` is of version 2."""

    tuning: tuple[int, ...]
    reporting: int | tuple[int, ...]
    extend: int = 0


@dataclass(frozen=True)
class Profile:
    """A task at one size. `sha256` is the hash, in every record, of all that the protocol says on it.

    `data`: the data sets that it may run on, the preferred one first. `arms`: those that are run, in the task's order,
    then the `variants` of some; `plans`: all that a run of it may belong to, by name. `most`: the number of rates after
    which the search for an arm's rate ends; `middle`: where it begins, by family. `rates`: the rates of each family,
    where there is no search: every arm is run at all of them. `pilot`: the standard deviation over pairs of seeds of
    log(metric) that a pilot saw, if there was one. `printed_rates`: the paper at whose printed rates the arms are run
    first, if any. `compared`: in place of the task's.
    """

    seeds: Seeds
    data: Mapping[str, DataPlan]
    arms: tuple[str, ...] = ()
    most: int = 0
    middle: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    pilot: float | None = None
    printed_rates: str | None = None
    compared: tuple[str, ...] | None = None
    variants: Mapping[str, Variants] = field(default_factory=dict)
    plans: Mapping[str, ArmPlan] = field(default_factory=dict, metadata=DERIVED)
    sha256: str = field(default="", metadata=DERIVED)

    @property
    def tuning(self) -> tuple[int, ...]:
        """The seeds that choose rates."""
        return self.seeds.tuning

    @property
    def reporting(self) -> tuple[int, ...]:
        """The seeds that are reported; none of them is a tuning seed."""
        seeds = self.seeds.reporting
        return tuple(range(seeds)) if isinstance(seeds, int) else seeds

    @property
    def judged(self) -> bool:
        """Whether it is for verdicts: it reports runs, and of the task's arms alone. Others are for looking."""
        return bool(self.reporting) and not self.variants


@dataclass(frozen=True)
class TaskPlan:
    """A task: its arms in the report's order, and what all of its runs have in common.

    `compared`: the arms that are reported at three rates. `batch`, `middle` and `row_lazy` hold where a data set, a
    profile or an arm does not say otherwise.
    """

    batch: int
    arms: Mapping[str, ArmPlan]
    profiles: Mapping[str, Profile]
    compared: tuple[str, ...] = ()
    middle: Mapping[str, float] = field(default_factory=dict)
    clip_norm: float | None = None
    anneal: tuple[float, int] | None = None
    row_lazy: bool = False

    def profile(self, name: str) -> Profile:
        """A profile. Raises `ProtocolError` for one that the task does not have."""
        return _choice("profile", name, self.profiles)


@dataclass(frozen=True)
class Protocol:
    """One version of the protocol; a change of what is run begins a new one."""

    version: int
    tasks: Mapping[str, TaskPlan]

    def task(self, name: str) -> TaskPlan:
        """A task's part. Raises `ProtocolError` for a task that the protocol does not have."""
        return _choice("task", name, self.tasks)

    def having(self, profile: str) -> list[str]:
        """The tasks that have a profile. Raises `ProtocolError` where none has."""
        _choice("profile", profile, {name: task for task in self.tasks.values() for name in task.profiles})
        return [name for name, task in self.tasks.items() if profile in task.profiles]

    def judged(self) -> list[str]:
        """The profiles that are for verdicts."""
        profiles = [item for task in self.tasks.values() for item in task.profiles.items()]
        return list(dict.fromkeys(name for name, profile in profiles if profile.judged))


def _choice(kind: str, name: str, choices: Mapping[str, T]) -> T:
    if name not in choices:
        raise ProtocolError(f"the protocol has no {kind} {name!r}; it has: {', '.join(choices)}")
    return choices[name]


@functools.cache
def load(version: int | None = None) -> Protocol:
    """The protocol, of the current version by default. Raises `ProtocolError` for a version that there is not."""
    name = EARLIER.get(version or 0, "protocol.yaml")
    protocol = read(Path(__file__).with_name(name).read_text(encoding="utf-8"), name)
    if version not in (None, protocol.version):
        versions = ", ".join(map(str, [*EARLIER, protocol.version]))
        raise ProtocolError(f"there is no version {version} of the protocol; there are: {versions}")
    return protocol


def profile_of(task: str, profile: str, version: int | None = None) -> Profile:
    """A profile of a task. Raises `ProtocolError` for names that the protocol does not have."""
    return load(version).task(task).profile(profile)


def data_of(task: str, profile: str, data_name: str) -> DataPlan:
    """The runs of a profile on a data set. Raises `ProtocolError` for names that the protocol does not have."""
    return _choice(f"data set for profile {profile!r},", data_name, profile_of(task, profile).data)


def version_of(task: str, profile: str, sha256: str) -> int:
    """The version in which a profile of a task has this hash; the current one for a hash of none."""
    for version in EARLIER:
        plan = load(version).tasks.get(task)
        if plan is not None and profile in plan.profiles and plan.profiles[profile].sha256 == sha256:
            return version
    return load().version


# ---------------------------------------------------------------- the file


def read(text: str, file: str = "protocol.yaml") -> Protocol:
    """The protocol in a file's text. Raises `ProtocolError`, with the line and the key, where something is wrong."""
    whole = Place.parse(text, file)
    for key in ("version", "tasks"):  # the others are there for their anchors
        if key not in whole.value:
            whole.fail(f"has no {key!r}")
    version, place = build(int, whole / "version"), whole / "tasks"
    tasks = build(Mapping[str, TaskPlan], place)
    return Protocol(version, {name: _complete(version, name, plan, place / name) for name, plan in tasks.items()})


def _complete(version: int, name: str, task: TaskPlan, place: Place) -> TaskPlan:
    """A task whose parts say what holds for the whole of it; checked for what they name."""
    arms = {
        key: replace(arm, row_lazy=task.row_lazy if arm.row_lazy is None else arm.row_lazy)
        for key, arm in task.arms.items()
    }
    for key, arm in arms.items():
        try:
            hyperparameters(arm.optimizer, renamed(arm.hyperparameters))
        except ValueError as error:
            (place / "arms" / key).fail(f"cannot be: {error}")
    _check_names(task.compared, arms, place / "compared")
    profiles = {}
    for key, profile in task.profiles.items():
        at = place / "profiles" / key
        _check_names(profile.arms, arms, at / "arms")
        if both := set(profile.tuning) & set(profile.reporting):
            at.fail(f"tunes and reports with seed {min(both)}")
        plans = _with_variants(arms, profile.variants, at / "variants")
        names = tuple(arm for arm in plans if arm not in arms or arm in (profile.arms or arms))
        middle = profile.middle or task.middle
        if lacking := {plans[arm].family for arm in names} - set(middle or profile.rates):
            (at / "middle" if profile.middle else place / "middle").fail(f"says nothing on the family {min(lacking)!r}")
        data = {x: replace(plan, batch=plan.batch or task.batch) for x, plan in profile.data.items()}
        sha256 = _sha256(version, name, place.value, key)
        compared = task.compared if profile.compared is None else profile.compared
        profiles[key] = replace(
            profile, arms=names, plans=plans, middle=middle, data=data, compared=compared, sha256=sha256
        )
    return replace(task, arms=arms, profiles=profiles)


def _with_variants(arms: Mapping[str, ArmPlan], variants: Mapping[str, Variants], place: Place) -> dict[str, ArmPlan]:
    """A task's arms and the variants of them, each once."""
    plans = dict(arms)
    for what, group in variants.items():
        _check_names(group.arms, arms, place / what / "arms")
        for name in group.arms or arms:
            for key, arm in group.of(name, arms[name]):
                if arm not in plans.values():
                    plans[key] = arm
    return plans


def _check_names(names: Iterable[str], known: Iterable[str], place: Place) -> None:
    for name in names:
        if name not in known:
            place.fail(f"names {name!r}; there are: {', '.join(known)}")


def _sha256(version: int, task: str, content: Mapping[str, Any], profile: str) -> str:
    """Hash of the version and of all that the file says on a profile of a task.

    Taken from the meaning, not from the text: comments and other tasks may change without making records old.
    """
    part = {"version": version, "task": task, "profile": profile, **content, "profiles": content["profiles"][profile]}
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()

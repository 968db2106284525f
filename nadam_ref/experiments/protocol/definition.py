"""The protocol as data: what `protocol.yaml` says, in this version and in earlier ones, and the sha256 of each part."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ...checks import renamed
from ..runs.train import hyperparameters
from .reading import ProtocolError, Section

__all__ = [
    "ArmPlan",
    "DataPlan",
    "Profile",
    "Protocol",
    "ProtocolError",
    "TaskPlan",
    "load",
    "profile_of",
    "read",
    "version_of",
]

T = TypeVar("T")

#: Earlier versions, under which packs in `book/results` were made: version → file.
EARLIER = {2: "protocol_2.yaml"}


# ---------------------------------------------------------------- what it says


@dataclass(frozen=True)
class ArmPlan:
    """An arm: an optimizer with everything fixed but the learning rate.

    `family`: the arms of one family begin their search at one rate. `hyperparameters`: those that the protocol names;
    the others are at their defaults. `row_lazy`: only the rows of a table that a batch uses are updated.
    """

    name: str
    optimizer: str
    family: str
    hyperparameters: Mapping[str, Any] = field(hash=False)
    row_lazy: bool


@dataclass(frozen=True)
class DataPlan:
    """The length of a run on one data set, and the part of the data that it uses; None is all of it."""

    name: str
    steps: int
    evaluate_every: int
    batch: int
    subset: tuple[int, ...] | None


@dataclass(frozen=True)
class Profile:
    """A task at one size. `sha256` is the hash, in every record, of all that the protocol says on it.

    `arms`: names of those that are run, in the task's order. `tuning`, `reporting`: the seeds that choose rates and
    those that are reported; none is both. `most`: the number of rates after which the search for an arm's rate ends.
    `middle`: where it begins, by family. `windows`: the rates of each family, in version 2, which had no `middle`.
    `pilot`: the standard deviation over pairs of seeds of log(metric) that a pilot saw, if there was one.
    `printed_rates`: the paper at whose printed rates the arms are run first, if any.
    `data`: the data sets that it may run on, the preferred one first.
    """

    name: str
    arms: tuple[str, ...]
    tuning: tuple[int, ...]
    reporting: tuple[int, ...]
    most: int
    middle: Mapping[str, float]
    windows: Mapping[str, tuple[float, ...]]
    pilot: float | None
    printed_rates: str | None
    data: Mapping[str, DataPlan]
    sha256: str

    def data_plan(self, name: str) -> DataPlan:
        """The runs on a data set. Raises `ProtocolError` for one that the profile does not have."""
        return _choice(f"data set for profile {self.name!r},", name, self.data)


@dataclass(frozen=True)
class TaskPlan:
    """A task: its arms in the report's order, those that are `compared`, and what all of its runs have in common.

    `compared`: the arms that are reported at three rates. `row_lazy`: whether arms are, unless they say otherwise.
    """

    name: str
    arms: Mapping[str, ArmPlan]
    compared: tuple[str, ...]
    clip_norm: float | None
    anneal: tuple[float, int] | None
    row_lazy: bool
    profiles: Mapping[str, Profile]

    def profile(self, name: str) -> Profile:
        """A profile. Raises `ProtocolError` for one that the task does not have."""
        return _choice("profile", name, self.profiles)

    def families(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Names of arms by family."""
        families: dict[str, list[str]] = {}
        for name in names:
            families.setdefault(self.arms[name].family, []).append(name)
        return families


@dataclass(frozen=True)
class Protocol:
    """One version of the protocol; a change of what is run begins a new one."""

    version: int
    tasks: Mapping[str, TaskPlan]

    def task(self, name: str) -> TaskPlan:
        """A task's part. Raises `ProtocolError` for a task that the protocol does not have."""
        return _choice("task", name, self.tasks)


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
    whole = Section.parse(text, file)  # keys other than these two are there for their anchors
    version = whole.take("version", "a whole number")
    return Protocol(version, {name: _task(name, part, version) for name, part in whole.section("tasks").sections()})


def _task(name: str, section: Section, version: int) -> TaskPlan:
    row_lazy = section.take("row_lazy", "true or false", False)
    arms = {key: _arm(key, part, row_lazy) for key, part in section.section("arms").sections()}
    families = {arm.family for arm in arms.values()}
    anneal = section.take("anneal", "a factor and a number of epochs", None)
    batch = section.take("batch", "a whole number")
    middle = section.by_family("middle", "a positive number", families)
    plan = TaskPlan(
        name=name,
        arms=arms,
        compared=section.names("compared", arms, ()),
        clip_norm=section.take("clip_norm", "a positive number", None),
        anneal=None if anneal is None else (anneal[0], anneal[1]),
        row_lazy=row_lazy,
        profiles={
            key: _profile(key, part, arms, middle, batch, _sha256(version, name, section.content, key))
            for key, part in section.section("profiles").sections()
        },
    )
    section.close()
    return plan


def _sha256(version: int, task: str, content: Mapping[str, Any], profile: str) -> str:
    """Hash of the version and of all that the file says on a profile of a task.

    Taken from the meaning, not from the text: comments and other tasks may change without making records old.
    """
    part = {"version": version, "task": task, "profile": profile, **content, "profiles": content["profiles"][profile]}
    return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()


def _arm(name: str, section: Section, row_lazy: bool) -> ArmPlan:
    arm = ArmPlan(
        name=name,
        optimizer=section.take("optimizer", "text"),
        family=section.take("family", "text"),
        hyperparameters=section.take("hyperparameters", "a mapping"),
        row_lazy=section.take("row_lazy", "true or false", row_lazy),
    )
    section.close()
    try:
        hyperparameters(arm.optimizer, renamed(arm.hyperparameters))
    except ValueError as error:
        section.fail(f"cannot be: {error}")
    return arm


def _profile(
    name: str, section: Section, arms: Mapping[str, ArmPlan], middle: Mapping[str, float], batch: int, sha256: str
) -> Profile:
    names = section.names("arms", arms, arms)
    families = {arms[arm].family for arm in names}
    windows = section.by_family("rates", "a list of positive numbers", families)
    seeds = section.section("seeds")
    tuning = seeds.take("tuning", "a list of whole numbers")
    reporting = seeds.take("reporting", "a whole number or a list of them")
    extend = seeds.take("extend", "a whole number", 0)
    seeds.close()
    most = 2 * extend + max(map(len, windows.values())) if windows else section.take("most", "a whole number")
    profile = Profile(
        name=name,
        arms=names,
        tuning=tuple(tuning),
        reporting=tuple(range(reporting) if isinstance(reporting, int) else reporting),
        most=most,
        middle=section.by_family("middle", "a positive number", families) or middle,
        windows=windows,
        pilot=section.take("pilot", "a positive number", None),
        printed_rates=section.take("printed_rates", "text", None),
        data={key: _data(key, part, batch) for key, part in section.section("data").sections()},
        sha256=sha256,
    )
    section.close()
    if both := set(profile.tuning) & set(profile.reporting):
        section.fail(f"tunes and reports with seed {min(both)}")
    if not (profile.middle or windows):
        section.fail("does not say where the search for a rate begins ('middle')")
    return profile


def _data(name: str, section: Section, batch: int) -> DataPlan:
    subset = section.take("subset", "a list of whole numbers", None)
    plan = DataPlan(
        name=name,
        steps=section.take("steps", "a whole number"),
        evaluate_every=section.take("evaluate_every", "a whole number"),
        batch=section.take("batch", "a whole number", batch),
        subset=None if subset is None else tuple(subset),
    )
    section.close()
    return plan

"""What the papers claim, as data (`claims.yaml`), with directions and gaps computed from their printed numbers."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from ...errors import NadamRefError
from ..protocol.definition import load
from ..published import Reported, reported


class ClaimError(NadamRefError):
    """`claims.yaml` says something that cannot be judged. The message names it and lists the choices."""


@dataclass(frozen=True)
class Side:
    """One comparison of a claim: that `first` ends lower than `second` (`direction` −1) or higher (+1).

    `printed`: the two printed results, where the paper has them in the claim's metric.
    """

    first: str
    second: str
    direction: int
    printed: tuple[Reported, Reported] | None

    @property
    def gap(self) -> float | None:
        """log(first) − log(second), as printed."""
        if self.printed is None:
            return None
        first, second = (float(x.value) for x in self.printed)
        return math.log(first / second)

    @property
    def resolved(self) -> bool:
        """Whether the printed gap is larger than the rounding of its two numbers."""
        if self.printed is None:
            return True
        first, second = (Decimal(x.value) for x in self.printed)
        rounding = sum(Decimal(1).scaleb(int(x.as_tuple().exponent)) / 2 for x in (first, second))
        return abs(first - second) > rounding


@dataclass(frozen=True)
class Claim:
    """A sentence about one metric of one task, true if all its `sides` are. `recalled`: it was not seen in print."""

    label: str
    sentence: str
    paper: str
    task: str
    metric: str
    sides: tuple[Side, ...]
    primary: bool
    recalled: bool

    @property
    def arms(self) -> set[str]:
        """Names of all arms that it compares."""
        return {name for side in self.sides for name in (side.first, side.second)}


@dataclass(frozen=True)
class VerdictRules:
    """The rules of judgement: see the comments in `claims.yaml`."""

    alpha: float
    share: float
    least: Mapping[str, float]
    most: int
    setup: Mapping[str, Mapping[str, str]]

    def delta(self, metric: str, gap: float | None) -> float:
        """The smallest difference of log(metric) that matters: a share of the printed gap, but at least a constant."""
        return max(self.share * abs(gap or 0.0), self.least[metric.rpartition("_")[2]])


@dataclass(frozen=True)
class Part:
    """A part of a method's gain: log(metric) of `first` less that of `second`."""

    method: str
    part: str
    first: str
    second: str


# ---------------------------------------------------------------- reading


@functools.cache
def _content() -> Mapping[str, Any]:
    return read(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def read(text: str) -> Mapping[str, Any]:
    """The content of a claims file. Raises `ClaimError` for an arm that the protocol does not have."""
    content: Mapping[str, Any] = yaml.safe_load(text)
    known = {name for task in load().having("paper") for name in load().task(task).arms}
    named = [name for pair in content["primary"]["pairs"] for name in pair]
    for entry in content["exploratory"]:
        named += [name for pair in _pairs(entry) for name in pair]
    named += [name for entries in content["confound"].values() for entry in entries for name in entry["of"]]
    for name in named:
        if name not in known:
            raise ClaimError(f"claims.yaml speaks of {name!r}; there are: {', '.join(sorted(known))}")
    return content


def _pairs(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "pairs" in entry:
        return [(first, second) for first, second in entry["pairs"]]
    return list(itertools.product(entry["better"], entry["than"]))


def _printed(paper: str, task: str, metric: str, pair: tuple[str, str]) -> tuple[Reported, Reported] | None:
    try:
        table = reported(paper, task)
    except ValueError:
        return None
    if not all(name in table and table[name].metric == metric for name in pair):
        return None
    return table[pair[0]], table[pair[1]]


def _primary(paper: str, task: str, pair: tuple[str, str]) -> Claim:
    table = reported(paper, task)
    printed = (table[pair[0]], table[pair[1]])
    first, second = (Decimal(x.value) for x in printed)
    if first == second:
        raise ClaimError(f"{paper} prints {first} for both {pair[0]} and {pair[1]} on {task}; that claims no direction")
    side = Side(*pair, -1 if first < second else 1, printed)
    word = "lower" if side.direction < 0 else "higher"
    return Claim(
        label=f"{pair[0]} vs {pair[1]}",
        sentence=f"{pair[0]} ends {word} than {pair[1]}.",
        paper=paper,
        task=task,
        metric=printed[0].metric,
        sides=(side,),
        primary=True,
        recalled=any(x.is_recalled for x in printed),
    )


def _exploratory(entry: Mapping[str, Any]) -> Claim:
    where = (entry["paper"], entry["task"], entry["metric"])
    sides = tuple(Side(*pair, -1, _printed(*where, pair)) for pair in _pairs(entry))
    return Claim(
        entry["label"], entry["sentence"], *where, sides, primary=False, recalled=entry["confirmed"] == "recalled"
    )


def claims() -> list[Claim]:
    """All claims: the primary family, task by task, then the exploratory ones."""
    primary = _content()["primary"]
    family = [_primary(primary["paper"], task, (a, b)) for task in primary["tasks"] for a, b in primary["pairs"]]
    return family + [_exploratory(entry) for entry in _content()["exploratory"]]


def verdict_rules() -> VerdictRules:
    """The rules by which claims are judged."""
    rules = _content()["rules"]
    delta = rules["delta"]
    return VerdictRules(rules["alpha"], delta["share"], delta["least"], rules["title"]["most"], rules["setup"])


def parts() -> list[Part]:
    """The parts into which the gains of Nadam and NadaMax are taken apart."""
    return [
        Part(method, entry["part"], *entry["of"])
        for method, entries in _content()["confound"].items()
        for entry in entries
    ]

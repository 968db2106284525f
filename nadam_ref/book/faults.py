"""What can go wrong, from `faults.yaml`, and the tests that assert what happens then.

A test says in its name which faults it asserts: `test_fault_48_49_…`. The names are read from the source of the tests.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

NAMED = re.compile(r"(?<=_)fault((?:_\d+)+)_")


class Fault(NamedTuple):
    """A line of the catalogue: its number, the part of the project, and what happens in words."""

    number: int
    part: str
    wrong: str
    seen: str
    kept: str


class Test(NamedTuple):
    """A test: its file, relative to the checkout, and its name."""

    file: str
    name: str

    @property
    def words(self) -> str:
        """Its name without the numbers, as words."""
        return NAMED.sub("", self.name).removeprefix("test_").replace("_s_", "’s_").replace("_", " ")


@cache
def catalogue() -> list[Fault]:
    """Every fault, in the order of the numbers."""
    import yaml  # pytest reads this module where torch is alone

    parts = yaml.safe_load(Path(__file__).with_name("faults.yaml").read_text(encoding="utf-8"))
    return sorted(Fault(number, part, *words) for part, faults in parts.items() for number, words in faults.items())


def numbers(test: str) -> list[int]:
    """The numbers in the name of a test."""
    found = NAMED.search(test)
    return [int(x) for x in found[1].split("_") if x] if found else []


@cache
def tests(folder: Path) -> dict[int, list[Test]]:
    """The tests in a folder, by the faults that they assert. Empty where there is no such folder."""
    found: dict[int, list[Test]] = {}
    for path in sorted(folder.rglob("test_*.py")):
        file = path.relative_to(folder.parent).as_posix()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef):
                for number in numbers(node.name):
                    found.setdefault(number, []).append(Test(file, node.name))
    return found

"""What works where several processes train, read from the source of the tests: without a test nothing is said to work.

A row is a test of every optimizer that has a docstring; its marks are the paths that the test takes.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

from ... import checkout
from .. import BookError

TESTS = "tests/core/test_distributed.py"
#: The decorator of a test of all optimizers, and the parameter that names a path.
EVERY, PATH = "every_optimizer", "path"


class Wrapper(NamedTuple):
    """What a test is about, in words; the paths that it takes; its name."""

    words: str
    paths: tuple[str, ...]
    test: str


def source() -> str:
    """The tests, of the checkout that `checkout.find` finds. Raises `BookError` where there is none."""
    if (root := checkout.find(TESTS)) is None:
        raise BookError(f"the page on several processes is made from {TESTS}, which is not here: use a clone")
    return (root / TESTS).read_text(encoding="utf-8")


def wrappers(source: str) -> list[Wrapper]:
    """The rows of a source, in its order."""
    tree, named = ast.parse(source), _assigned(source)
    return [
        Wrapper(" ".join(words.split()).removesuffix("."), paths, test.name)
        for test in tree.body
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
        if (words := ast.get_docstring(test))
        and any(isinstance(mark, ast.Name) and mark.id == EVERY for mark in test.decorator_list)
        and (paths := _paths(test, named))
    ]


def tolerance(source: str) -> float:
    """How far the tests let two processes be from one."""
    return float(ast.literal_eval(_assigned(source)["TOLERANCE"]))


def _assigned(source: str) -> dict[str, ast.expr]:
    """What a module assigns, by name."""
    lines = (line for line in ast.parse(source).body if isinstance(line, ast.Assign))
    return {name.id: line.value for line in lines for name in line.targets if isinstance(name, ast.Name)}


def _paths(test: ast.FunctionDef, named: Mapping[str, ast.expr]) -> tuple[str, ...]:
    """What `@pytest.mark.parametrize("path", …)` has; it and its values may have been given names."""

    def behind(node: ast.expr) -> Any:
        return named.get(node.id, node) if isinstance(node, ast.Name) else node

    for mark in map(behind, test.decorator_list):
        if isinstance(mark, ast.Call) and isinstance(mark.args[0], ast.Constant) and mark.args[0].value == PATH:
            return tuple(ast.literal_eval(behind(mark.args[1])))
    return ()

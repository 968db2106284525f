"""What works where several processes train, read from the source of the tests: without a test nothing is said to work.

A row is a test of every optimizer that has a docstring; its marks are the paths that the test takes.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

TESTS = "tests/core/test_distributed.py"
#: The decorator of a test of all optimizers, and the parameter that names a path.
EVERY, PATH = "every_optimizer", "path"


class Wrapper(NamedTuple):
    """What a test is about, in words; the paths that it takes; its name."""

    words: str
    paths: tuple[str, ...]
    test: str


def wrappers(source: str) -> list[Wrapper]:
    """The rows of a source, in its order."""
    tree = ast.parse(source)
    assigned = [(x.targets[0], x.value) for x in tree.body if isinstance(x, ast.Assign)]
    named = {target.id: value for target, value in assigned if isinstance(target, ast.Name)}
    return [
        Wrapper(" ".join(words.split()).removesuffix("."), paths, test.name)
        for test in tree.body
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
        if (words := ast.get_docstring(test))
        and any(_is_name(line, EVERY) for line in test.decorator_list)
        and (paths := _paths(test, named))
    ]


def tolerance(source: str) -> float:
    """How far the tests let two processes be from one."""
    assigned = (x for x in ast.parse(source).body if isinstance(x, ast.Assign))
    (value,) = [x.value for x in assigned if _is_name(x.targets[0], "TOLERANCE")]
    return float(ast.literal_eval(value))


def _is_name(node: ast.AST, name: str | None = None) -> bool:
    return isinstance(node, ast.Name) and name in (None, node.id)


def _paths(test: ast.FunctionDef, named: Mapping[str, ast.expr]) -> tuple[str, ...]:
    """What `@pytest.mark.parametrize("path", …)` has; it and its values may have been given names."""

    def behind(node: ast.expr) -> Any:
        return named.get(node.id, node) if isinstance(node, ast.Name) else node

    for mark in map(behind, test.decorator_list):
        if isinstance(mark, ast.Call) and isinstance(mark.args[0], ast.Constant) and mark.args[0].value == PATH:
            return tuple(ast.literal_eval(behind(mark.args[1])))
    return ()

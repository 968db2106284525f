"""The mark beside each displayed equation that a test checks, and what the tests say that they compare.

Both are read from the source of the tests: an equation is checked by the tests that name its label.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri

from .. import find_root

TESTS = "tests/book/test_equations.py"
PAGE = "book/equations"
#: Boxes by the label of the update that is compared with them, in `TESTS`.
BOXES = "UPDATES"
LABEL = re.compile(r"eq-[\w-]+")
NUMBER = re.compile(r'(<div class="math[^>]* id="equation-(eq-[\w-]+)">\s*<span class="eqno">)(\([^)]*\))')


class Check(NamedTuple):
    """A test of an equation: its name, and what it compares, in words."""

    test: str
    words: str


def displayed(root: Path) -> list[str]:
    """The labels of the equations that the chapters display, in order."""
    cells = (
        cell
        for path in sorted((root / "notebooks").glob("*.ipynb"))
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "markdown"
    )
    return [label for cell in cells for label in re.findall(r"^\$\$ \((eq-[\w-]+)\)", "".join(cell["source"]), re.M)]


def checks(source: str) -> dict[str, list[Check]]:
    """The tests in a source by the labels that they name; a test without a docstring has nothing to say."""
    tree, found = ast.parse(source), dict[str, list[Check]]()
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == BOXES:
            assert isinstance(node.value, ast.Dict)
            boxes = {_text(key): value for key, value in zip(node.value.keys, node.value.values, strict=True)}
    for test in (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")):
        words = " ".join((ast.get_docstring(test) or "").split())
        if not words:
            continue
        if any(isinstance(x, ast.Name) and x.id == BOXES for line in test.decorator_list for x in ast.walk(line)):
            for label, box in boxes.items():
                assert isinstance(box, ast.Tuple)
                own = words.replace("the box", f"`{ast.unparse(box.elts[0])}`")
                found.setdefault(label, []).append(Check(test.name, own))
        for label in dict.fromkeys(filter(LABEL.fullmatch, map(_text, ast.walk(test)))):
            found.setdefault(label, []).append(Check(test.name, words))
    return found


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def rows() -> Iterator[list[str]]:
    """For the table of `PAGE`: an equation, what is compared, and by which tests."""
    root = find_root()
    labels = displayed(root)
    tested = _checks(root / TESTS) if labels else {}
    for label in labels:
        of_this = tested.get(label, [])
        names = ", ".join(f"`{check.test}`" for check in of_this)
        yield [f"{{eq}}`{label}`", " ".join(check.words for check in of_this), f"[{names}]{{#tested-{label}}}"]


@cache
def _checks(path: Path) -> dict[str, list[Check]]:
    return checks(path.read_text(encoding="utf-8"))


def _mark(app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    root = find_root()
    if "body" in context and PAGE in app.env.found_docs and (root / TESTS).is_file():
        there = relative_uri(app.builder.get_target_uri(page), app.builder.get_target_uri(PAGE))
        context["body"] = NUMBER.sub(partial(_marked, _checks(root / TESTS), there), context["body"])


def _marked(tested: dict[str, list[Check]], there: str, found: re.Match[str]) -> str:
    before, label, number = found.groups()
    name = f"How equation {number} is tested"
    link = f'<a class="tested" href="{there}#tested-{label}" title="{name}" aria-label="{name}">✓</a>'
    return f"{before}{number}{link if label in tested else ''}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", _mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

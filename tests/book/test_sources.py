"""The sources of the book as they are committed."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
import yaml
from small_book import ROOT

from nadam_ref import kernels, paper, rules
from nadam_ref.book.build import notebooks, pages
from nadam_ref.experiments.second_order import curvature, methods

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOC = ROOT / "book" / "_toc.yml"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINES = 30
#: The modules and packages that only draw, print and tabulate.
CELLS = {
    path.parent.name if path.stem == "__init__" else path.stem
    for path in (ROOT / "nadam_ref" / "book" / "cells").rglob("*.py")
}
#: What makes a notebook run where nothing but Jupyter is there, as on Colab.
INSTALL = """
import importlib.util

if importlib.util.find_spec("nadam_ref") is None:
    %pip install -q "nadam_ref[experiments] @ git+{address}"
    !nadam-ref data get results
"""

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_the_table_of_contents_lists_what_there_is() -> None:
    listed = pages.files(TOC)
    chapters = {f"notebooks/{path.stem}" for path in NOTEBOOKS}
    prose = {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")}
    assert len(listed) == len(set(listed))
    assert set(listed) == chapters | prose


@each
def test_no_outputs_and_one_parameters_cell(path: Path) -> None:
    notebooks.check_source(path)


@each
def test_cells_are_short_and_have_fixed_ids(path: Path) -> None:
    nbformat.validate(nbformat.read(path, as_version=nbformat.NO_CONVERT))
    notebook = notebooks.read(path)
    assert notebook.nbformat_minor >= 5  # since then cells have ids; without, each build would make them up
    for n, cell in enumerate(notebook.cells, 1):
        assert cell.cell_type != "code" or len(cell.source.splitlines()) <= LINES, f"cell {n} is long"


@each
def test_the_kernel_is_any_python_and_no_metadata_of_one_machine(path: Path) -> None:
    metadata = notebooks.read(path).metadata
    assert metadata.kernelspec.name == "python3"
    assert set(metadata) <= {"kernelspec", "language_info"}
    assert "version" not in metadata.get("language_info", {})


@each
def test_the_package_is_installed_before_it_is_imported_and_by_the_same_cell_everywhere(path: Path) -> None:
    address = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    _title, parameters, install, *rest = notebooks.read(path).cells
    assert "parameters" in parameters.metadata.tags
    assert "nadam_ref" not in parameters.source
    assert install.source == INSTALL.format(address=address).strip()
    assert install.metadata.tags == ["remove-cell"]
    assert not [cell.id for cell in rest if cell.cell_type == "code" and "pip install" in cell.source]


def code_cells(path: Path) -> list[tuple[str, set[str], str]]:
    """The source of each cell of code, its tags, and what its toggle says; text between cells is an empty source."""
    return [
        (cell.source, set(cell.metadata.get("tags", [])), cell.metadata.get("mystnb", {}).get("code_prompt_show", ""))
        if cell.cell_type == "code"
        else ("", set(), "")
        for cell in notebooks.read(path).cells
    ]


def only_shows(source: str) -> bool:
    """Whether code does nothing but call what the book draws, prints and tabulates with, or names what it drew."""

    def shows(x: ast.expr) -> bool:
        if isinstance(x, ast.IfExp):
            return shows(x.body)
        return isinstance(x, ast.Name) or (
            isinstance(x, ast.Call) and isinstance(x.func, ast.Attribute) and getattr(x.func.value, "id", "") in CELLS
        )

    return all(
        isinstance(x, ast.Import | ast.ImportFrom) or (isinstance(x, ast.Expr) and shows(x.value))
        for x in ast.parse(source).body
    )


@each
def test_what_only_shows_something_has_no_code_on_the_page(path: Path) -> None:
    for source, tags, _ in code_cells(path):
        if source and not tags & {"remove-input", "remove-cell"}:
            assert not only_shows(source), source


@each
def test_code_behind_a_toggle_is_named_and_not_beside_another(path: Path) -> None:
    """By the figure or table it makes, which the page does by itself; else the cell says what its code is."""
    before: set[str] = set()
    for (source, tags, name), cell in zip(code_cells(path), notebooks.read(path).cells, strict=True):
        if "hide-input" in tags:
            numbered = "figure" in cell.metadata.get("mystnb", {}) or 'name="tab-' in source
            assert numbered != name.startswith("Show the code: "), source
            assert "hide-input" not in before, source
        assert "hide-cell" not in tags, source
        assert "hide-output" not in tags or "remove-input" in tags, source
        before = tags


def test_the_rule_for_code_on_the_page_can_tell() -> None:
    assert only_shows("from nadam_ref.book.cells import show\nshow.source(paper.adam)")
    assert only_shows("recorded.table(small.evidence, 'luck') if small.evidence else None")
    assert not only_shows("x = 1\nshow.table(['x'], [[x]])")
    assert not only_shows("θ = paper.path(paper.adam, start, gradient, 60)")
    assert {"show", "figures", "experiment", "speed"} <= CELLS


def test_the_package_s_code_fits_on_the_page_as_the_chapters_do() -> None:
    """`show.source` prints it as it is, beside cells whose width the notebooks' settings of the linter limit."""
    limit = tomllib.loads((ROOT / "notebooks" / "ruff.toml").read_text(encoding="utf-8"))["line-length"]
    known = {"curvature": curvature, "kernels": kernels, "methods": methods, "paper": paper}
    shown = [name for path in NOTEBOOKS for code, _, _ in code_cells(path) for name in sources_shown(code)]
    assert len(shown) >= len(rules.RULES)
    for name in shown:
        module, *path = name.split(".")
        lines = textwrap.dedent(inspect.getsource(functools.reduce(getattr, path, known[module]))).splitlines()
        assert max(map(len, lines)) <= limit, f"{name}: {max(lines, key=len)}"


def sources_shown(code: str) -> list[str]:
    """What a cell hands to `show.source`."""
    if "show.source" not in code:  # nor need it be Python
        return []
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    return [ast.unparse(arg) for call in calls if ast.unparse(call.func) == "show.source" for arg in call.args]


def test_traps_of_the_configuration() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert "html_theme_options" not in config["sphinx"]["config"]  # would delete the launch buttons
    assert "thebe" not in config["launch_buttons"]
    assert config["execute"]["execute_notebooks"] == "off"


def test_mathjax_is_in_the_book_with_its_licence() -> None:
    folder = ROOT / "book" / "_static" / "mathjax"
    assert b'VERSION="3.2.2"' in (folder / "tex-svg-full.js").read_bytes()
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")

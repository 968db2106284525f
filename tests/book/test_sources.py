"""The sources of the book as they are committed."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
import yaml
from small_book import ROOT

from nadam_ref.book.build import notebooks, pages

TOC = ROOT / "book" / "_toc.yml"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LINES = 30
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


def test_traps_of_the_configuration() -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert "html_theme_options" not in config["sphinx"]["config"]  # would delete the launch buttons
    assert "thebe" not in config["launch_buttons"]
    assert config["execute"]["execute_notebooks"] == "off"


def test_mathjax_is_in_the_book_with_its_licence() -> None:
    folder = ROOT / "book" / "_static" / "mathjax"
    assert b'VERSION="3.2.2"' in (folder / "tex-svg-full.js").read_bytes()
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")

"""The package as pip installs it, without the checkout: it is whole, and every notebook runs on it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from small_book import ROOT, save

import nadam_ref
from nadam_ref.book.build import execute, notebooks

#: Chapters of a few seconds; the others are slow.
QUICK = {"02_momentum", "08_nadam"}
CHAPTERS = [
    pytest.param(path, marks=[] if path.stem in QUICK else pytest.mark.slow, id=path.stem)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
]
WHERE = "import nadam_ref\n\nprint(nadam_ref.__file__)"


class Installed(NamedTuple):
    """A wheel of the package, and a folder that has what is in it and nothing else."""

    wheel: Path
    folder: Path


def run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    work = tmp_path_factory.mktemp("installed")
    source, folder = work / "source", work / "site"
    shutil.copytree(ROOT / "nadam_ref", source / "nadam_ref", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-CC-BY"):
        shutil.copyfile(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run([*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", ".", "./source"], work)
    (wheel,) = work.glob("*.whl")
    run([*pip, "install", "--no-index", "--no-deps", "--target", "site", f"./{wheel.name}"], work)
    return Installed(wheel, folder)


def test_the_wheel_has_every_file_of_the_package(installed: Installed) -> None:
    package = ROOT / "nadam_ref"
    files = {path.relative_to(ROOT).as_posix() for path in package.rglob("*") if path.is_file()}
    with zipfile.ZipFile(installed.wheel) as wheel:
        packed = {name for name in wheel.namelist() if name.startswith("nadam_ref/")}
    assert packed == {name for name in files if "__pycache__" not in name}


def cache_with_results(folder: Path) -> Path:
    """A cache folder with what `nadam-ref data get results` leaves there."""
    results = folder / "cache" / "nadam_ref" / f"results-{nadam_ref.__version__}"
    shutil.copytree(ROOT / "book" / "results", results)
    return folder / "cache"


@pytest.mark.parametrize("path", CHAPTERS)
def test_a_notebook_runs_with_the_installed_package_in_an_empty_folder(
    installed: Installed, path: Path, tmp_path: Path
) -> None:
    notebook = notebooks.read(path)
    notebook.cells.append(nbformat.v4.new_code_cell(WHERE, id="where"))
    source, executed, empty = save(notebook, tmp_path / "in.ipynb"), tmp_path / "out.ipynb", tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "data").mkdir()
    environment = execute.kernel_environment(tmp_path, os.environ)
    cache = cache_with_results(tmp_path)
    environment |= {"PYTHONPATH": str(installed.folder), "NADAM_REF_DATA": str(tmp_path / "data")}
    environment |= {"XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-m", "papermill", str(source), str(executed), "--no-progress-bar", "-k", "python3"]
    run(command, empty, environment)
    *_, where = notebooks.read(executed).cells
    (output,) = where.outputs
    assert Path(output.text.strip()) == installed.folder / "nadam_ref" / "__init__.py"
    assert list(empty.iterdir()) == []


@pytest.mark.slow
def test_colabs_first_cell_installs_the_package_beside_the_torch_that_is_there(
    installed: Installed, tmp_path: Path
) -> None:
    """In an environment with torch and what runs notebooks, the wheel in place of the repository."""
    (torch,) = re.findall(r"^TORCH \?= (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"XDG_CACHE_HOME": str(cache_with_results(tmp_path)), "NADAM_REF_DATA": str(tmp_path)}
    run([sys.executable, "-m", "venv", "env"], tmp_path, environment)
    python = str(tmp_path / "env" / "bin" / "python")
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    wanted = [torch, "ipykernel", "papermill"]
    done = subprocess.run([*pip, *wanted], cwd=tmp_path, env=environment, capture_output=True, text=True)
    if "(from versions: none)" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    run([python, "-m", "ipykernel", "install", "--sys-prefix", "--name", "colab"], tmp_path, environment)

    notebook = notebooks.read(ROOT / "notebooks" / "02_momentum.ipynb")
    first = next(cell for cell in notebook.cells if "%pip install" in cell.source)
    first.source, times = re.subn(r"@ git\+\S+(?=\")", f"@ {installed.wheel.as_uri()}", first.source)
    assert times == 1
    version = "import importlib.metadata\n\nprint(importlib.metadata.version('torch'))"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(version, id="before"))
    notebook.cells.append(nbformat.v4.new_code_cell(f"{version}\n{WHERE}", id="after"))
    source, executed = save(notebook, tmp_path / "in.ipynb"), tmp_path / "out.ipynb"
    command = [python, "-m", "papermill", str(source), str(executed), "--no-progress-bar", "-k", "colab"]
    run(command, tmp_path, environment)
    cells = {cell.id: cell for cell in notebooks.read(executed).cells}
    (before,), (after, place) = (cells[name].outputs[0].text.split() for name in ("before", "after"))
    assert after == before
    assert Path(place).is_relative_to(tmp_path / "env")

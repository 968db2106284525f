"""The package as pip installs it, without the checkout: it is whole, and every notebook runs on it."""

from __future__ import annotations

import os
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
    cache = tmp_path / "cache"  # with what `nadam-ref data get results` leaves there
    shutil.copytree(ROOT / "book" / "results", cache / "nadam_ref" / f"results-{nadam_ref.__version__}")
    environment |= {"PYTHONPATH": str(installed.folder), "NADAM_REF_DATA": str(tmp_path / "data")}
    environment |= {"XDG_CACHE_HOME": str(cache)}
    command = [sys.executable, "-m", "papermill", str(source), str(executed), "--no-progress-bar", "-k", "python3"]
    run(command, empty, environment)
    *_, where = notebooks.read(executed).cells
    (output,) = where.outputs
    assert Path(output.text.strip()) == installed.folder / "nadam_ref" / "__init__.py"
    assert list(empty.iterdir()) == []

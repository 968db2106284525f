"""From executed notebooks and prose to HTML: the staged sources, and Jupyter Book 1 in strict mode."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ... import checkout
from .. import BookError, faults
from ..extension import citation, equations
from ..fingerprints import PACKAGE, package_hash, sha256, tree_hash
from . import notebooks
from .execute import UTF8, fresh_home, plain

JUPYTER_BOOK = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
#: The recorded runs are read by notebooks, not by pages.
UNSTAGED = shutil.ignore_patterns("results", ".*", "__pycache__")

#: What the pages show of the checkout beside the staged sources and the names of tests; a small book has no tests.
BESIDE = ("_config.yml", "CITATION.cff", equations.TESTS)


def require_tools() -> None:
    """Raise `BookError` unless papermill and Jupyter Book 1 are installed."""
    try:
        version("papermill")
        book = version("jupyter-book")
    except PackageNotFoundError as error:
        text = f'building the book needs {error.name}, which is not installed: pip install "nadam_ref[book]"'
        raise BookError(text) from None
    if not book.startswith("1."):
        raise BookError(f'Jupyter Book {book} is installed; this book needs version 1: pip install "jupyter-book<2"')


def chapters(toc: Path) -> list[str]:
    """The notebooks of the table of contents, in its order, as paths without suffix (``notebooks/08_nadam``)."""
    return [name for name in files(toc) if name.startswith("notebooks/")]


def files(toc: Path) -> list[str]:
    """Every page of the table of contents, in its order, as a path without suffix."""
    import yaml

    content = yaml.safe_load(toc.read_text(encoding="utf-8"))
    return [content["root"], *(entry["file"] for part in content["parts"] for entry in part["chapters"])]


def stage(root: Path, target: Path, executed: Mapping[str, Path]) -> None:
    """Lay out the sources of the pages afresh: `book/` as it is, and executed notebooks on their committed paths."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "book", target / "book", ignore=UNSTAGED)
    for name, path in executed.items():
        destination = (target / name).with_suffix(".ipynb")
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, destination)


def check_staged(target: Path, keys: Mapping[str, str]) -> None:
    """Refuse a staged notebook whose results are stale, or with a cell that was not executed."""
    faults = [notebooks.fault((target / name).with_suffix(".ipynb"), key) for name, key in keys.items()]
    if any(faults):
        raise BookError("\n".join(filter(None, faults)) + "\nbuild the book again with `nadam-ref book --force`")


def render(root: Path, staged: Path, build: Path) -> float | None:
    """Render the staged sources into `build`/html, strictly; the seconds it took, or None where nothing had changed.

    All pages are rendered at once, because each shows the titles of all others. They replace the rendered book only
    when every one of them is without a warning; otherwise `BookError` lists the warnings and the old book stays.
    """
    start = time.perf_counter()
    html, stamp = build / "html", build / "html.sha256"
    wanted = _render_key(root, staged)
    if (html / "index.html").exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return None
    fresh = build / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    _jupyter_book(root, staged, fresh)
    (fresh / "_build" / "html" / ".buildinfo").unlink(missing_ok=True)  # for Sphinx alone, and other in each folder
    stamp.unlink(missing_ok=True)
    shutil.rmtree(html, ignore_errors=True)
    (fresh / "_build" / "html").replace(html)
    shutil.rmtree(fresh)
    stamp.write_text(wanted, encoding="utf-8")
    return time.perf_counter() - start


def _render_key(root: Path, staged: Path) -> str:
    beside = [path.read_bytes() for name in BESIDE if (path := root / name).exists()]
    tools = [version(name) for name in ("jupyter-book", "sphinx", "sphinx-book-theme", "myst-nb")]
    programs = tree_hash(PACKAGE / "book", (".js", ".css"))
    sources = [tree_hash(staged), package_hash(), programs, citation.commit(root), faults.tests(root / "tests")]
    return sha256(repr([*sources, *map(sha256, beside), *tools]))


def _jupyter_book(root: Path, staged: Path, output: Path) -> None:
    places = ["--toc", staged / "book" / "_toc.yml", "--config", root / "_config.yml", "--path-output", output]
    command: list[Any] = [*JUPYTER_BOOK, "build", staged, *places, "-n", "-W", "--keep-going", "-q"]
    with fresh_home() as (home, environment):
        environment[checkout.VARIABLE] = str(root)
        del environment["SOURCE_DATE_EPOCH"]  # Sphinx would write another year into the copyright line
        streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, cwd=home, env=environment, **UTF8, **streams)
    if done.returncode or not (output / "_build" / "html" / "index.html").exists():
        text = plain(done.stdout).replace(f"{staged}{os.sep}", "").strip()
        raise BookError(f"the pages are not rendered, because of these warnings:\n\n{text}")

"""The key of a notebook's results changes with everything they depend on, and with nothing else."""

from __future__ import annotations

import ast
import copy
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from nadam_ref.book import fingerprints
from nadam_ref.experiments.datasets import registry

AROUND: dict[str, Any] = {
    "package": "p",
    "data": {"mnist": [None]},
    "results": "r",
    "versions": {"python": "3.11.4", "torch": "2.13.0"},
}


def test_equal_ingredients_equal_key() -> None:
    assert fingerprints.notebook_key(b"n", {"a": 1, "b": 2}, AROUND) == fingerprints.notebook_key(
        b"n", {"b": 2, "a": 1}, AROUND
    )


@pytest.mark.parametrize(
    ("part", "value"),
    [("package", "q"), ("data", {"mnist": ["ab"]}), ("results", "s"), ("versions", {"python": "3.12.0"})],
)
def test_each_surrounding_changes_the_key(part: str, value: Any) -> None:
    changed = copy.deepcopy(AROUND) | {part: value}
    assert fingerprints.notebook_key(b"n", {}, changed) != fingerprints.notebook_key(b"n", {}, AROUND)


def test_notebook_and_parameters_change_the_key() -> None:
    found = {
        fingerprints.notebook_key(b"n", {}, AROUND),
        fingerprints.notebook_key(b"m", {}, AROUND),
        fingerprints.notebook_key(b"n", {"seed": 0}, AROUND),
        fingerprints.notebook_key(b"n", {"seed": "0"}, AROUND),
        fingerprints.notebook_key(b"n", {"profile": "0"}, AROUND),
    }
    assert len(found) == 5


def test_tree_hash_sees_content_names_and_new_files(tmp_path: Path) -> None:
    def now() -> str:
        return fingerprints.tree_hash(tmp_path, (".py",))

    seen = [now()]
    (tmp_path / "a.py").write_text("1", encoding="utf-8")
    seen.append(now())
    (tmp_path / "a.py").write_text("2", encoding="utf-8")
    seen.append(now())
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    seen.append(now())
    assert len(set(seen)) == 4
    (tmp_path / "notes.txt").write_text("aside", encoding="utf-8")
    assert now() == seen[-1]


def test_an_absent_folder_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert fingerprints.tree_hash(tmp_path / "empty") == fingerprints.tree_hash(tmp_path / "absent")


def test_surroundings_see_the_data_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path))
    without = fingerprints.surroundings(tmp_path)
    file = tmp_path / "mnist" / next(iter(registry.SOURCES["mnist"].files))
    file.parent.mkdir()
    file.write_bytes(b"damaged")
    damaged = fingerprints.surroundings(tmp_path)
    assert {part for part in without if without[part] != damaged[part]} == {"data"}


def test_surroundings_see_the_recorded_runs(tmp_path: Path) -> None:
    (tmp_path / "_config.yml").touch()  # a checkout has one
    before = fingerprints.surroundings(tmp_path)
    (tmp_path / "book" / "results").mkdir(parents=True)
    (tmp_path / "book" / "results" / "runs.csv").write_text("1", encoding="utf-8")
    after = fingerprints.surroundings(tmp_path)
    assert {part for part in before if before[part] != after[part]} == {"results"}


def test_surroundings_see_every_source_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    (package / "experiments").mkdir(parents=True)
    monkeypatch.setattr(fingerprints, "PACKAGE", package)
    found = [fingerprints.surroundings(tmp_path)["package"]]
    for name in (
        "rules.py",
        "experiments/runs/train.py",
        "experiments/protocol/protocol.yaml",
        "experiments/published.csv",
        "book/cells/book.mplstyle",
    ):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("x", encoding="utf-8")
        found.append(fingerprints.surroundings(tmp_path)["package"])
    assert len(set(found)) == 6


#: What reads, fetches, shows and spreads work, and changes no number and no picture.
CARRIERS = {"IPython", "yaml", "tqdm", "dask", "distributed", "platformdirs", "pooch", "requests"}


def imports(path: Path) -> set[str]:
    """The libraries that a module imports anywhere, without the standard one and its own package."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"nadam_ref"}


def test_every_library_that_computes_or_draws_is_in_the_key() -> None:
    """What the package imports that chapters use: all of it but its commands and what makes pages of them."""
    others = {"commands", "build", "extension", "directive.py"}
    modules = [path for path in fingerprints.PACKAGE.rglob("*.py") if not others & set(path.parts)]
    used = set().union(*map(imports, modules)) - CARRIERS
    assert {"torch", "scipy"} < used
    assert {packages_distributions()[name][0] for name in used} <= set(fingerprints.LIBRARIES)

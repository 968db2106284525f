"""A release stops at the first thing that is missing, and says which."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch_alone import ROOT

VERSION = "9.8.7"  # no release has come this far
pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Someone", "-c", "user.email=someone@example.org", "-c", "commit.gpgsign=false")
    command = ["git", *identity, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def commit(folder: Path) -> None:
    git(folder, "commit", "--all", "--quiet", "--message", "Change something")


def release(folder: Path, action: str, version: str = VERSION) -> tuple[int, str]:
    """The exit code, and the last line that is printed."""
    command = [sys.executable, folder / ".ci" / "release.py", action, version]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, (done.stderr or done.stdout).rstrip().splitlines()[-1]


@pytest.fixture(scope="module")
def program() -> Any:
    """The program as a module, so that torch is imported once for all tests."""
    found = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of what is checked out here, changes and all, on the branch main, made ready for a release."""
    folder = tmp_path_factory.mktemp("release") / "clone"
    git(ROOT, "clone", "--quiet", "--no-hardlinks", "--no-tags", str(ROOT), str(folder))
    git(folder, "checkout", "-B", "main")
    names = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    changelog = folder / "CHANGELOG.md"  # where a release is prepared, nothing is under [Unreleased]
    text = changelog.read_text(encoding="utf-8")
    changelog.write_text(text.replace("## [Unreleased]\n", "## [Unreleased]\n\n- Something.\n", 1), encoding="utf-8")
    code, said = release(folder, "prepare")
    assert code == 0, said
    git(folder, "add", "--all")
    commit(folder)
    return folder


@pytest.fixture
def clone(prepared: Path, tmp_path: Path) -> Path:
    """A copy of that to be spoiled."""
    git(prepared, "clone", "--quiet", str(prepared), str(tmp_path / "clone"))
    return tmp_path / "clone"


def test_a_prepared_checkout_is_ready(clone: Path) -> None:
    code, said = release(clone, "check")
    assert code == 0, said
    assert re.fullmatch(r"\d+ files of results have their sha256, \d+ packs hold [\d,]+ runs", said)
    assert f"## [{VERSION}] - " in (clone / "CHANGELOG.md").read_text()
    assert f"version: {VERSION}\n" in (clone / "CITATION.cff").read_text()
    assert json.loads((clone / ".zenodo.json").read_text())["version"] == VERSION


def edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    """A way to spoil a checkout: one passage of a committed file is another."""

    def spoil(clone: Path) -> None:
        content = (clone / name).read_text(encoding="utf-8")
        assert old in content
        (clone / name).write_text(content.replace(old, new, 1), encoding="utf-8")
        commit(clone)

    return spoil


def uncommitted(clone: Path) -> None:
    (clone / "nadam_ref" / "new.py").write_text("")


def elsewhere(clone: Path) -> None:
    git(clone, "checkout", "--quiet", "-b", "work")


def tagged(clone: Path) -> None:
    git(clone, "tag", "--annotate", "v9.9.0", "--message", "later")


def damaged(clone: Path) -> None:
    path = clone / "book" / "results" / "digits-small" / "runs.csv"
    path.write_bytes(path.read_bytes()[:-1])
    commit(clone)


NOT_READY = {
    "uncommitted": (uncommitted, "nadam_ref/new.py is not committed (1 in all): commit or remove it"),
    "another branch": (elsewhere, "this is the branch work; releases are made of main"),
    "an old tag": (tagged, "v9.9.0 is there already: the next version is greater than that"),
    "package": (
        edited("nadam_ref/__init__.py", f'"{VERSION}"', '"9.8.6"'),
        f"nadam_ref/__init__.py says 9.8.6: run .ci/release.py prepare {VERSION}, read the changes and commit",
    ),
    "unreleased": (
        edited("CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n- One more thing.\n"),
        f"CHANGELOG.md still has changes under [Unreleased]: they belong to [{VERSION}]",
    ),
    "changelog": (
        edited("CHANGELOG.md", f"## [{VERSION}] - ", f"## [{VERSION}] on "),
        rf"CHANGELOG.md begins with \[{VERSION}\] on \S+, not with [{VERSION}] and a date",
    ),
    "citation": (edited("CITATION.cff", VERSION, "9.8.6"), f"CITATION.cff has version 9.8.6, not {VERSION}"),
    "date": (
        edited("CITATION.cff", "date-released: 2", "date-released: 1"),
        r"CITATION.cff has date-released 1\S+, not 2\S+",
    ),
    "zenodo": (
        edited(".zenodo.json", "ten optimizers", "nine optimizers"),
        ".zenodo.json is not what CITATION.cff says: run python -m nadam_ref.book.extension.citation",
    ),
    "a damaged pack": (
        damaged,
        "book/results/digits-small/runs.csv is not the file in released.csv: "
        "find out why, then run python -m nadam_ref.experiments.released",
    ),
}


@pytest.mark.parametrize("way", NOT_READY)
def test_what_is_missing_is_said(
    clone: Path, way: str, program: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = NOT_READY[way]
    spoil(clone)
    monkeypatch.setattr(program, "ROOT", clone)
    assert program.main(["check", VERSION]) == 1
    said = capsys.readouterr().err.rstrip()
    pattern = message if "\\" in message else re.escape(message)
    assert re.fullmatch(f"not ready: {pattern.replace(f'[{VERSION}]', re.escape(f'[{VERSION}]'))}", said), said
    assert not git(clone, "tag", "--list", f"v{VERSION}")


@pytest.mark.parametrize("version", ["", "1.0", "v1.0.0", "1.0.0rc1"])
def test_a_version_has_three_numbers(program: Any, version: str) -> None:
    with pytest.raises(program.NotReady, match="is no version: three numbers are"):
        program.check(version)


def test_the_book_comes_before_the_wheel(clone: Path, program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "ROOT", clone)
    with pytest.raises(program.NotReady, match="run make zip"):
        program.build(VERSION)


def test_the_tag_is_made_where_all_is_ready(clone: Path) -> None:
    code, said = release(clone, "tag")
    assert (code, said) == (0, f"v{VERSION} is made; this publishes it: git push origin main v{VERSION}")
    assert git(clone, "cat-file", "-t", f"v{VERSION}") == "tag\n"


@pytest.mark.slow
def test_what_is_built_works_where_torch_is_alone(clone: Path) -> None:
    """A book of one line: how the book is made has tests of its own."""
    (clone / "_build").mkdir()
    (clone / "_build" / f"nadam-ref-{VERSION}.zip").write_bytes(b"a book")
    code, said = release(clone, "build")
    if "(from versions: none)" in said or "No matching distribution" in said:
        pytest.skip("no package index can be reached")
    assert code == 0, said
    made = sorted(path.name for path in (clone / "_build" / "release").iterdir())
    stem = f"nadam_ref-{VERSION}"
    assert made == ["SHA256SUMS", f"nadam-ref-{VERSION}.zip", f"{stem}-py3-none-any.whl", f"{stem}.tar.gz"]
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=clone / "_build" / "release")
    assert done.returncode == 0

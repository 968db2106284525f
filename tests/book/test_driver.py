"""The driver: what a build does and tells, and what it refuses."""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from small_book import ROOT, Built, chapter, make_book, make_notebook, save

import nadam_ref
from nadam_ref import checkout
from nadam_ref.book import BookError, find_root
from nadam_ref.book.build import archive, driver, notebooks, pages

# ---------------------------------------------------------------- a book that was built


def test_the_index_is_where_the_report_says(built: Built) -> None:
    assert built.report.index == built.root / "_build" / "html" / "index.html"
    assert built.report.index.is_file()


def test_every_code_cell_of_every_staged_notebook_was_executed(built: Built) -> None:
    staged = sorted((built.root / "_build" / "src" / "notebooks").glob("*.ipynb"))
    assert [path.stem for path in staged] == ["01_first", "02_second"]
    for path in staged:
        cells = notebooks.code_cells(notebooks.read(path))
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_the_project_s_own_staged_notebooks_were_executed() -> None:
    staged = sorted((ROOT / "_build" / "src" / "notebooks").glob("*.ipynb"))
    if not staged:
        pytest.skip("the book was not built in this checkout")
    for path in staged:
        assert all(cell.execution_count for cell in notebooks.code_cells(notebooks.read(path))), path.name


def test_parameters_reach_the_page(built: Built) -> None:
    page = html(built, "notebooks/01_first")
    assert "live 7" in page.select_one(".cell_output pre:-soup-contains('xxx')").text


def test_nothing_is_done_twice(built: Built) -> None:
    assert all(seconds is not None for seconds in built.report.notebooks.values())
    assert built.again == driver.BuildReport(built.report.index, {"01_first": None, "02_second": None}, None)


def test_progress_and_table_name_every_notebook(built: Built) -> None:
    assert {name for name, done, of in built.progress if done == of} == {"01_first", "02_second"}
    assert re.fullmatch(r"01_first   +\d+\.\d s\n02_second  +\d+\.\d s\npages      +\d+\.\d s", built.report.table())
    assert built.again.table().split() == ["01_first", "cached", "02_second", "cached", "pages", "cached"]


def html(built: Built, page: str) -> BeautifulSoup:
    path = built.root / "_build" / "html" / f"{page}.html"
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_pages_have_numbers_captions_and_descriptions(built: Built) -> None:
    page = html(built, "notebooks/02_second")
    assert page.select_one(".bd-article h1").text.startswith("2. A chapter")
    assert page.select_one("figure .caption-number").text.strip() == "Fig. 2.1"
    assert page.select_one("figure img")["alt"] == "A rising line"
    assert [cell.text for cell in page.select("table td:first-child")][:3] == ["Nadam, lr", "Nadam", "Nadam"]
    assert page.select_one('a[href="#equation-eq-02-second"]').text == "Equation (2.1)"


def test_the_reference_names_all_optimizers_with_their_arguments(built: Built) -> None:
    page = html(built, "book/api")
    for name, optimizer in nadam_ref.OPTIMIZERS.items():
        signature = page.find(id=f"nadam_ref.{name}").text
        assert "args" not in signature
        assert all(argument in signature for argument in optimizer.__init__.__annotations__ if argument != "return")


def test_the_citation_has_the_version(built: Built) -> None:
    assert f"version = {{{nadam_ref.__version__}}}" in html(built, "book/cite").text


# ---------------------------------------------------------------- the book in one file


@pytest.fixture(scope="module")
def zipped(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("zip") / "book-1.zip"
    archive.write(built.root / "_build" / "html", target)
    return target


def test_the_zip_has_every_page_below_one_folder(built: Built, zipped: Path) -> None:
    html = built.root / "_build" / "html"
    files = {path.relative_to(html).as_posix() for path in html.rglob("*") if path.is_file()}
    expected = {f"book-1/{name}" for name in files if not name.startswith(".")}
    with zipfile.ZipFile(zipped) as found:
        assert found.testzip() is None
        assert set(found.namelist()) == expected
        assert {"book-1/index.html", "book-1/notebooks/01_first.html", "book-1/_static/book.css"} <= expected
        assert found.read("book-1/book/api.html") == (html / "book" / "api.html").read_bytes()


def test_no_link_leads_out_of_the_zip(zipped: Path) -> None:
    with zipfile.ZipFile(zipped) as found:
        names = set(found.namelist())
        pages = [name for name in names if name.endswith(".html") and "/_static/" not in name]  # there, templates
        for page in pages:
            soup = BeautifulSoup(found.read(page), "html.parser")
            for tag in soup.select("[href], [src]"):
                address = urlsplit(str(tag.get("href") or tag.get("src")))
                if not address.scheme and address.path:
                    assert posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(address.path))) in names


def test_the_same_book_gives_the_same_zip(built: Built, zipped: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(built.root / "_build" / "html", tmp_path / "html", copy_function=shutil.copyfile)
    for path in copy.rglob("*.html"):
        path.chmod(0o600)
        os.utime(path, (2**30, 2**30))
    archive.write(copy, tmp_path / "book-1.zip")
    assert (tmp_path / "book-1.zip").read_bytes() == zipped.read_bytes()


def test_the_zip_is_written_when_it_is_asked_for(
    built: Built, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(driver, "build", lambda **_: built.report)
    target = built.root / "_build" / f"nadam-ref-{nadam_ref.__version__}.zip"
    assert driver.run_and_report() == 0
    assert not target.exists()
    assert driver.run_and_report(zipped=True) == 0
    assert zipfile.is_zipfile(target)
    assert str(target) in capsys.readouterr().out


# ---------------------------------------------------------------- stale results


def test_fault_75_a_stale_staged_notebook_fails_the_build(built: Built, tmp_path: Path) -> None:
    source = built.root / "_build" / "src" / "notebooks" / "01_first.ipynb"
    (tmp_path / "notebooks").mkdir()
    staged = tmp_path / "notebooks" / "01_first.ipynb"
    staged.write_bytes(source.read_bytes())
    key = notebooks.read(source).metadata[notebooks.STAMP]["key"]
    pages.check_staged(tmp_path, {"notebooks/01_first": key})
    with pytest.raises(BookError, match="stale"):
        pages.check_staged(tmp_path, {"notebooks/01_first": "0" * 64})
    notebook = notebooks.read(staged)
    notebooks.code_cells(notebook)[-1].execution_count = None
    save(notebook, staged)
    with pytest.raises(BookError, match="not executed"):
        pages.check_staged(tmp_path, {"notebooks/01_first": key})


# ---------------------------------------------------------------- refusals


@pytest.mark.slow
def test_fault_81_the_book_is_built_without_a_network(tmp_path: Path) -> None:
    """In a network namespace of its own, which has no interface but a loopback that is down."""
    alone = [shutil.which("unshare") or "", "--map-root-user", "--net"]
    if not alone[0] or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("this system gives no process a network of its own")
    (folder := tmp_path / "böok").mkdir()
    root = make_book(folder, "01_first")
    done = subprocess.run([*alone, sys.executable, "-m", "nadam_ref", "book"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (root / "_build" / "html" / "notebooks" / "01_first.html").is_file()


def test_warnings_fail_the_build_and_the_old_book_stays(tmp_path: Path) -> None:
    root = make_book(tmp_path, "01_only", reference=["bibliography"])
    staged, work = tmp_path / "_build" / "src", tmp_path / "_build"
    executed = chapter("01_only")
    for n, cell in enumerate(notebooks.code_cells(executed), 1):
        cell.execution_count = n
    notebooks.code_cells(executed)[0].outputs = [nbformat.v4.new_output("stream", name="stderr", text="a warning\n")]
    pages.stage(root, staged, {"notebooks/01_only": save(executed, tmp_path / "executed.ipynb")})
    (staged / "book" / "index.md").write_text("# Small\n\n{eq}`nowhere`\n", encoding="utf-8")
    (work / "html").mkdir()
    (work / "html" / "index.html").write_text("the old book", encoding="utf-8")
    with pytest.raises(BookError) as failure:
        pages.render(root, staged, work)
    message = str(failure.value)
    assert "book/index.md" in message
    assert "nowhere" in message
    assert "stderr" in message
    assert str(tmp_path / "_build" / "src") + "/book" not in message
    assert (work / "html" / "index.html").read_text(encoding="utf-8") == "the old book"


def test_the_stage_is_clean(tmp_path: Path) -> None:
    root = make_book(tmp_path, "01_only")
    (root / "book" / "results").mkdir()
    (root / "book" / "results" / "runs.csv").write_text("1", encoding="utf-8")
    (root / "book" / ".hidden.md").write_text("aside", encoding="utf-8")
    staged = tmp_path / "_build" / "src"
    (staged / "notebooks").mkdir(parents=True)
    (staged / "notebooks" / "stray.ipynb").write_text("{}", encoding="utf-8")
    pages.stage(root, staged, {"notebooks/01_only": root / "notebooks" / "01_only.ipynb"})
    names = {path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file()}
    assert {"notebooks/01_only.ipynb", "book/_toc.yml", "book/index.md", "book/_static/book.css"} <= names
    assert not names & {"notebooks/stray.ipynb", "book/results/runs.csv", "book/.hidden.md"}


@pytest.mark.parametrize("found", ["2.0.0", "2.1.0b1"])
def test_fault_80_jupyter_book_2_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, found: str) -> None:
    monkeypatch.setattr(pages, "version", lambda name: found if name == "jupyter-book" else "2.7.0")
    with pytest.raises(BookError) as failure:
        driver.build()
    message = str(failure.value)
    assert found in message
    assert "version 1" in message
    assert "pip install" in message
    assert "\n" not in message


@pytest.mark.parametrize("missing", ["papermill", "jupyter-book"])
def test_a_missing_tool_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def version(name: str) -> str:
        if name == missing:
            raise pages.PackageNotFoundError(name)
        return "1.0.4"

    monkeypatch.setattr(pages, "version", version)
    with pytest.raises(BookError, match=rf'{missing}, which is not installed: pip install "nadam_ref\[book\]"'):
        driver.build()


def test_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "PACKAGE", tmp_path / "site-packages" / "nadam_ref")
    with pytest.raises(BookError, match="run this in a checkout"):
        find_root(tmp_path)


def test_the_root_is_found_from_below(tmp_path: Path) -> None:
    root = make_book(tmp_path)
    assert find_root(root / "book" / "_static") == root


def test_an_unknown_chapter_is_refused_with_the_known(tmp_path: Path) -> None:
    root = make_book(tmp_path, "01_only")
    with pytest.raises(BookError, match="no notebook is called `1_only`; there are 01_only"):
        driver.build(root=root, only=["1_only"])


def test_a_failing_notebook_ends_with_code_2_and_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_book(tmp_path, "01_only")
    save(make_notebook("undefined"), root / "notebooks" / "01_only.ipynb")
    monkeypatch.chdir(root)
    assert driver.run_and_report() == 2
    streams = capsys.readouterr()
    assert "notebooks/01_only.ipynb failed in cell 2:\n\n    undefined\n" in streams.err
    assert "NameError" in streams.err
    assert "The book is at" not in streams.out
    assert not (root / "_build" / "html").exists()


def test_only_some_chapters_are_executed_and_no_page_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_book(tmp_path, "01_first", "02_second")
    ran: list[str] = []

    def run(jobs: list[driver.Job], _progress: object) -> dict[str, float]:
        ran.extend(job.source.stem for job in jobs)
        return dict.fromkeys(ran, 1.0)

    monkeypatch.setattr(driver.execute, "execute_all", run)
    assert driver.build(root=root, only=["02_second"]) == driver.BuildReport(None, {"02_second": 1.0}, None)
    assert ran == ["02_second"]
    assert not (root / "_build" / "html").exists()


def test_fault_75_results_of_sources_that_changed_meanwhile_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_book(tmp_path, "01_only")

    def run(jobs: list[driver.Job], _progress: object) -> dict[str, float]:
        for job in jobs:
            driver.execute.write_whole(job.target, "results")
        save(make_notebook("edited"), root / "notebooks" / "01_only.ipynb")
        return {"01_only": 1.0}

    monkeypatch.setattr(driver.execute, "execute_all", run)
    with pytest.raises(BookError, match="changed while notebooks ran: build again"):
        driver.build(root=root)
    assert list((root / "_build" / "executed").iterdir()) == []


def test_old_executed_forms_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "n.ipynb"
    folder = tmp_path / "executed"
    folder.mkdir()
    for n in range(8):
        (folder / f"n-{n}.ipynb").touch()
        os.utime(folder / f"n-{n}.ipynb", (n, n))
    monkeypatch.setattr(driver.execute, "execute_all", lambda jobs, _progress: {"n": 1.0})
    job = driver.Job(source, folder / "n-7.ipynb", {}, "k")
    assert driver._execute([job], lambda *_: None, still_valid=lambda: True) == {"n": 1.0}
    assert sorted(path.stem for path in folder.iterdir()) == ["n-3", "n-4", "n-5", "n-6", "n-7"]

"""The number of a chapter is that of its file, wherever a page shows it, whatever other chapters there are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rendered import pages, soup
from small_book import ROOT

from nadam_ref.book.build import notebooks
from nadam_ref.book.extension.numbers import number

CHAPTER = r"""
# A chapter

## Section A

```{figure} dot.svg
:name: fig-NAME
A figure.
```

:::{table} A table.
:name: tab-NAME

| a |
|:--|
| b |
:::

```{math}
:label: eq-NAME
a = b
```

## Section B

See {ref}`section-ANOTHER`, {numref}`fig-ANOTHER`, {numref}`tab-ANOTHER`, {eq}`eq-ANOTHER` and {doc}`ANOTHER`.
"""
CONF = """
myst_enable_extensions = ["colon_fence"]
extensions = ["myst_parser", "sphinx_external_toc", "nadam_ref.book.extension.numbers"]
external_toc_path = "_toc.yml"
numfig = math_numfig = True
html_theme = "basic"
"""
SHOWN = r"(?:Fig\. |Table |\()(\d+)\.\d+|^(\d+)\.(?:\d+\.)? "


def test_the_number_is_that_of_the_file() -> None:
    assert [number(page) for page in ("notebooks/08_nadam", "21_word2vec", "book/protocol")] == [8, 21, None]


def numbers(root: Path, *names: str) -> dict[str, list[str]]:
    """What is numbered on each page of a book with these chapters, in two parts, and what its contents show."""
    root.mkdir()
    (root / "conf.py").write_text(CONF, encoding="utf-8")
    (root / "dot.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>', encoding="utf-8")
    (root / "index.md").write_text("# Book\n", encoding="utf-8")
    parts = "".join(f"  - numbered: true\n    chapters: [{{file: {name}}}]\n" for name in names)
    (root / "_toc.yml").write_text(f"format: jb-book\nroot: index\nparts:\n{parts}", encoding="utf-8")
    for name in names:
        other = names[0] if name == names[-1] else names[-1]
        text = CHAPTER.replace("# A chapter", f"# Title of {name}").replace(
            "## Section A", f"(section-{name})=\n## Section A"
        )
        (root / f"{name}.md").write_text(text.replace("ANOTHER", other).replace("NAME", name), encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", ".", "out"]
    subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    found = {}
    for page in (root / "out" / f"{name}.html" for name in names):
        body = soup(page).select_one("[role=main]").get_text(" ", strip=True)
        found[page.stem] = re.findall(r"(?:Fig\. |Table |\()?\d+(?:\.\d+)+\)?|\d+\. (?=Title)", body)
    return found


def test_a_chapter_that_comes_between_changes_no_other_number(tmp_path: Path) -> None:
    before = numbers(tmp_path / "before", "02_early", "21_late")
    assert before["21_late"] == [
        *("21. ", "21.1", "Fig. 21.1", "Table 21.1", "(21.1)", "21.2", "Fig. 2.1", "Table 2.1", "(2.1)")
    ]
    assert numbers(tmp_path / "after", "02_early", "11_between", "21_late") | before == numbers(
        tmp_path / "again", "02_early", "11_between", "21_late"
    )


@pytest.fixture(scope="module")
def chapters(whole_book: Path) -> list[Path]:
    return [page for page in pages(whole_book) if page.parent.name == "notebooks"]


def own(page: Path) -> Iterator[str]:
    """The chapter in each number of a page's headings, captions and equations."""
    article = soup(page).article
    for heading in article.select("h1 .section-number, h2 .section-number, h3 .section-number"):
        yield heading.text.partition(".")[0]
    for caption in article.select(".caption-number"):
        yield re.sub(r"^(Fig\.|Table) ", "", caption.text).partition(".")[0]
    for equation in article.select(".eqno"):
        if found := re.match(r"\((\d+)\.\d+\)", equation.text.strip()):
            yield found[1]


def test_every_number_on_a_page_is_that_of_its_file(chapters: list[Path]) -> None:
    found = {page.stem: set(own(page)) for page in chapters}
    assert found == {name: {str(int(name[:2]))} for name in found}
    assert len(found) == len(list((ROOT / "notebooks").glob("*.ipynb")))


def test_a_reference_shows_the_number_of_the_chapter_that_it_leads_to(chapters: list[Path]) -> None:
    seen, wrong = 0, []
    for page in chapters:
        for link in soup(page).article.select("a.reference.internal"):
            leads_to = re.search(r"(\d\d)_\w+\.html", str(link["href"])) or re.match(r"(\d\d)_", page.name)
            if shown := re.fullmatch(r"(?:Fig\. |Table |Equation \()(\d+)\.\d+\)?", link.text.strip()):
                seen += 1
                wrong += [] if int(shown[1]) == int(leads_to[1]) else [f"{page.name}: {link}"]
    assert wrong == []
    assert seen > 20


def test_the_contents_show_the_numbers_of_the_files(whole_book: Path) -> None:
    entries = soup(whole_book / "book" / "index.html").select("nav.bd-links a[href*=notebooks]")
    assert len(entries) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    for entry in entries:
        assert re.match(r"(\d+)\. ", entry.text.strip())[1] == str(number(str(entry["href"])))


def test_no_text_has_the_number_of_a_chapter_typed_into_it() -> None:
    """It is shown by a reference, or the name of the chapter is."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md")}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        texts[path.name] = "\n".join(cell.source for cell in notebooks.read(path).cells)
    texts |= {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "nadam_ref" / "book").rglob("*.py")}
    typed = re.compile(r"\b[Cc]hapters? \d|\b(?:Fig\.|Figure|Table|Equation \(?)\s?\d+\.\d")
    allowed = ("numbers.py", "citation.py")  # they say what such a number looks like
    assert {name: found for name, text in texts.items() if name not in allowed and (found := typed.findall(text))} == {}

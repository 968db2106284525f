"""The row under a figure or a table on a rendered page, and the files it leads to."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pypdf
import pytest
from bs4 import BeautifulSoup, Tag
from PIL import Image
from pybtex.database import parse_string
from small_book import ROOT, RUDE, Built, chapter, make_book, save

import nadam_ref
from nadam_ref.book import BookError
from nadam_ref.book.build import notebooks, pages
from nadam_ref.book.cells.show import NamedTable
from nadam_ref.book.extension import citation, citing
from nadam_ref.book.extension.fact_tables import BLOCKS
from nadam_ref.book.light import light

BOOK = ROOT / "book"
NOTE = "profile live · data digits · seeds 0, 1 · A CPU"
UNKNOWN = f"nadam-ref {nadam_ref.__version__}, commit unknown (made outside a git checkout)"
MEANT = RUDE.replace("&amp;", "&")
FILES = {
    "fig-picture-01-first": ("svg", "pdf", "png", "csv"),
    "tab-01-first": ("csv", "tex"),
}


@pytest.fixture(scope="module")
def page(built: Built) -> BeautifulSoup:
    path = built.root / "_build" / "html" / "notebooks" / "01_first.html"
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def row(page: BeautifulSoup, name: str) -> Tag:
    place = page.find(id=name)
    found = place.find_next(class_="cite-row")
    assert found is not None
    return found


@pytest.mark.parametrize("name", [*FILES, "tab-written-01-first"])
def test_each_has_a_link_to_itself(page: BeautifulSoup, name: str) -> None:
    (link,) = page.find(id=name).select("a.headerlink")
    assert (link["href"], link.text) == (f"#{name}", "#")


@pytest.mark.parametrize("name", FILES)
def test_the_row_leads_to_files_that_are_there(built: Built, page: BeautifulSoup, name: str) -> None:
    links = row(page, name).select(".files a[download]")
    assert [link["href"] for link in links] == [f"../_downloads/{name}.{suffix}" for suffix in FILES[name]]
    for link in links:
        assert (built.root / "_build" / "html" / "notebooks" / link["href"]).stat().st_size > 100


def test_a_figure_without_numbers_and_a_table_of_text_have_no_row(page: BeautifulSoup) -> None:
    assert len(page.select(".cite-row")) == len(FILES)
    after = page.find(id="tab-written-01-first").find_parent(class_="pst-scrollable-table-container")
    assert after.find_next_sibling() is None or "cite-row" not in after.find_next_sibling()["class"]


def test_it_is_one_folded_line(page: BeautifulSoup) -> None:
    for name in FILES:
        (line,) = row(page, name).find_all(recursive=False)
        assert line.name == "details" and not line.has_attr("open")
        assert line.summary.text.startswith("Source, data, cite")


def test_a_phone_loads_a_drawing_of_its_own(built: Built, page: BeautifulSoup) -> None:
    figure = page.find(id="fig-picture-01-first")
    (source,) = figure.picture.select("source")
    assert figure.picture.img["src"].endswith(".svg")
    assert source["media"] == "(max-width: 600px)"
    drawn = (built.html / "notebooks" / source["srcset"]).read_text(encoding="utf-8")
    wide, narrow = (float(re.search(r'width="([\d.]+)pt"', text)[1]) for text in (_shown(built, figure), drawn))
    assert (wide, narrow) == (504, 360)


def _shown(built: Built, figure: Tag) -> str:
    return (built.html / "notebooks" / figure.img["src"]).read_text(encoding="utf-8")


def test_where_it_comes_from(page: BeautifulSoup) -> None:
    assert row(page, "fig-picture-01-first").select_one(".provenance").text == f"{NOTE} · {UNKNOWN}"
    assert row(page, "tab-01-first").select_one(".provenance").text == f"Computed on this page · {UNKNOWN}"


@pytest.mark.parametrize(("name", "label"), [("fig-picture-01-first", "Figure 1.2"), ("tab-01-first", "Table 1.2")])
def test_the_entry_is_read_by_a_bibtex_parser(page: BeautifulSoup, name: str, label: str) -> None:
    details = row(page, name).select_one("details")
    assert details.summary.text == f"Source, data, cite: {label}"
    entry = parse_string(details.pre.text, "bibtex").entries[f"nadam_ref:{name}"]
    assert entry.fields["howpublished"] == f"{label} of {citation.read(ROOT)['title']}"
    assert entry.fields["version"] == nadam_ref.__version__
    assert entry.fields["url"] == f"https://nadam-ref.github.io/nadam-ref/notebooks/01_first.html#{name}"
    assert entry.fields["title"] == ("Two lines" if name.startswith("fig") else r"Losses at $\mu = 0.9$")


def test_the_figure_is_described_from_its_numbers(page: BeautifulSoup) -> None:
    alt = page.find(id="fig-picture-01-first").img["alt"]
    assert alt.startswith("One line falls, one rises. loss against t. Nadam goes from 3 to 0.25, lowest 0.1 at 2.")


def test_fault_76_captions_and_labels_are_text(page: BeautifulSoup) -> None:
    for name in ("fig-picture-01-first", "tab-01-first"):
        place = page.find(id=name)
        caption = place.select_one(".caption-text")
        assert not caption.find("b")
        assert "<b>& " in caption.text
        assert "{of} a_b # $" in caption.text
    assert not page.find(id="tab-01-first").tbody.find("b")
    assert "<b>&" in page.find(id="fig-picture-01-first").img["alt"]


# ---------------------------------------------------------------- the files


@pytest.fixture(scope="module")
def files(built: Built) -> Path:
    return built.root / "_build" / "html" / "_downloads"


def test_names_are_stable(files: Path) -> None:
    first = {f"{name}.{suffix}" for name in FILES for suffix in FILES[name]} | {"fig-picture-01-first.phone.svg"}
    second = {name.replace("01-first", "02-second") for name in first}
    names = {path.name for path in files.iterdir()}
    assert {name for name in names if "01-first" in name or "02-second" in name} == first | second
    others = {name.partition(".")[0] for name in names - first - second}
    pages = "".join(map(Path.read_text, BOOK.glob("*.md")))
    facts = re.findall(r"^```\{facts\} (\S+)$", pages, re.MULTILINE)
    tables = {block.cargo["name"] for name in facts if isinstance(block := BLOCKS[name](), NamedTable)}
    animations = set(re.findall(r"^```\{animated\} \S+\n:name: (fig-\S+)$", pages, re.MULTILINE))
    assert others == {"fig-play"} | tables | animations


def test_the_pdf(files: Path) -> None:
    found = pypdf.PdfReader(files / "fig-picture-01-first.pdf", strict=True).metadata
    assert found.title == "Two lines"
    assert found.subject == f"Figure 1.2. Two lines. Rude: {MEANT}"
    assert found["/Provenance"] == f"{NOTE} · {UNKNOWN}"


def test_the_png_is_fit_for_print_on_white(files: Path) -> None:
    with Image.open(files / "fig-picture-01-first.png") as image:
        assert image.size == (1400, 720)
        assert round(image.info["dpi"][0]) == 200
        assert image.convert("RGBA").getpixel((2, 2)) == (255, 255, 255, 255)
        assert image.text["Copyright"].startswith("CC BY 4.0")


def test_the_svg_on_the_page_and_the_download_draw_the_same(built: Built, page: BeautifulSoup, files: Path) -> None:
    shown = built.root / "_build" / "html" / "notebooks" / page.find(id="fig-picture-01-first").img["src"]
    own, theirs = (path.read_text(encoding="utf-8") for path in (files / "fig-picture-01-first.svg", shown))
    assert light(own.replace(own[own.index("<title>") : own.index("</desc>") + 7], "")).strip() == theirs
    assert UNKNOWN in own and UNKNOWN not in theirs


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines if line.startswith("# ")]
    return comments, list(csv.reader(io.StringIO("\n".join(lines[len(comments) :]))))


def test_the_numbers(files: Path) -> None:
    comments, (header, *rows) = read_csv(files / "fig-picture-01-first.csv")
    assert f"# Provenance: {NOTE} · {UNKNOWN}" in comments
    assert header == ["Nadam t", "Nadam loss", f"{MEANT} t", f"{MEANT} loss"]
    assert np.array(rows, float).tolist() == [[1, 3, 1, 1], [2, 0.1, 2, 2], [4, 0.25, 4, np.inf]]


def test_the_table(files: Path) -> None:
    comments, rows = read_csv(files / "tab-01-first.csv")
    assert "# Title: Losses at $\\mu = 0.9$" in comments
    assert rows == [["rule", "loss"], ["Nadam", "0.25"], [MEANT, "–"]]
    text = (files / "tab-01-first.tex").read_text(encoding="utf-8")
    assert f"% Provenance: Computed on this page · {UNKNOWN}\n" in text
    assert "\n    \\texttt{Nadam} & 0.25 \\\\\n" in text


# ---------------------------------------------------------------- the cargo does not reach the page


def test_a_table_of_the_package_s_data_says_so(built: Built, files: Path) -> None:
    page = BeautifulSoup((built.html / "book" / "papers.html").read_text(encoding="utf-8"), "html.parser")
    assert row(page, "tab-reported-rates").select_one(".provenance").text == f"From the package's own data · {UNKNOWN}"
    numbers = (files / "tab-reported-rates.csv").read_text(encoding="utf-8")
    assert "method,learning rate,confirmed\n" in numbers
    assert "Momentum,.5,recalled\n" in numbers


def test_what_the_widget_begins_with_can_be_had_too(built: Built, files: Path) -> None:
    page = BeautifulSoup((built.html / "book" / "index.html").read_text(encoding="utf-8"), "html.parser")
    links = row(page, "fig-play").select(".files a[download]")
    assert [link["href"] for link in links] == [f"../_downloads/fig-play.{x}" for x in ("svg", "pdf", "png", "csv")]
    assert row(page, "fig-play").summary.text == "Source, data, cite: Figure 1"
    header = next(line for line in (files / "fig-play.csv").read_text(encoding="utf-8").splitlines() if line[0] != "#")
    assert header.startswith("GD")


def test_the_page_is_light(built: Built) -> None:
    html = built.root / "_build" / "html"
    assert (html / "notebooks" / "01_first.html").stat().st_size < 500_000
    images = {path.suffix for path in (html / "_images").iterdir()}
    assert images == {".svg", ".png"}  # the PNG is that of the figure which pyplot drew


def test_a_notebook_without_cargo_is_as_it_was() -> None:
    notebook = json.loads(json.dumps(chapter("01_only")))
    before = json.dumps(notebook)
    assert json.dumps(citing.unload(notebook)) == before
    assert list(citing.items(notebook)) == []


def test_git_is_asked_once_a_build_and_not_for_every_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = SimpleNamespace(
        srcdir=ROOT,
        outdir=tmp_path,
        env=SimpleNamespace(toc_fignumbers={}),
        config=SimpleNamespace(html_baseurl="https://a.book/"),
    )
    asked = []
    monkeypatch.setattr(citation, "commit", lambda root: asked.append(root) or "commit abc")
    citing._ask_once(app, app.config)
    for name in ("tab-one", "tab-two"):
        item = citing.Item("table", name, "A table.", {"rows": [["a"], ["1"]], "align": "l", "note": ""})
        assert "commit abc" in citing._row(app, "page", item, name).astext()
    assert asked == [ROOT]


# ---------------------------------------------------------------- refusals


def test_what_is_refused_is_named(tmp_path: Path, built: Built) -> None:
    root = make_book(tmp_path, "01_first", "02_second", reference=["bibliography"])
    first, second = (
        notebooks.read(built.root / "_build" / "src" / "notebooks" / f"{name}.ipynb")
        for name in ("01_first", "02_second")
    )
    for notebook in (first, second):
        for cell in notebooks.code_cells(notebook):
            cell.metadata.get("mystnb", {}).pop("image", None)
            if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == "fig-picture-01-first":
                cell.metadata.mystnb.figure.name = "picture One"
            if cell.metadata.get("mystnb", {}).get("figure", {}).get("name") == "fig-picture-02-second":
                cell.metadata.mystnb.figure.name = "fig-01-first"
    executed = {
        "notebooks/01_first": save(first, tmp_path / "1.ipynb"),
        "notebooks/02_second": save(second, tmp_path / "2.ipynb"),
    }
    staged = tmp_path / "_build" / "src"
    pages.stage(root, staged, executed)
    with pytest.raises(BookError) as failure:
        pages.render(root, staged, tmp_path / "_build")
    message = str(failure.value)
    assert message.count("an image without a text alternative") == 2  # pyplot's; a picture tells of its own numbers
    assert "'picture One'" in message
    assert "duplicate label fig-01-first" in message

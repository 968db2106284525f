"""Downloads: each is read by a program that is not ours, and says what it is in its own metadata."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pypdf
import pytest
from matplotlib.ft2font import FT2Font
from PIL import Image
from small_book import RUDE

from nadam_ref.book.cells import figures, show
from nadam_ref.book.extension import downloads

DC = "{http://purl.org/dc/elements/1.1/}"
FACTS = {
    "Title": f"A figure: {RUDE} ü θ",
    "Author": "The nadam-ref authors",
    "Description": "Figure 8.2. It shows θ₁ & more.",
    "Provenance": "Computed on this page · nadam-ref 0.1.0, commit abc",
    "Software": "nadam-ref 0.1.0",
    "Source": "https://example.org/a#b",
    "Copyright": "CC BY 4.0",
}


@pytest.fixture(scope="module")
def picture() -> figures.Picture:
    figures.use_style()
    return figures.lines({"a": (np.array([1.0, 2.0]), np.array([0.1, 1 / 3]))}, xlabel="t", ylabel="f")


def drawn(picture: figures.Picture, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.savefig(buffer, **options)
    return buffer.getvalue()


def test_svg(picture: figures.Picture) -> None:
    root = ElementTree.fromstring(downloads.svg_file(picture._repr_svg_(), FACTS, "Told <aloud> & clear"))
    svg = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{svg}svg"
    assert root.findtext(f"{svg}title") == FACTS["Title"]
    assert root.findtext(f"{svg}desc") == "Told <aloud> & clear"
    assert len(root.findall(f"{svg}metadata")) == 1
    for key, name in (("Title", "title"), ("Author", "creator"), ("Source", "source"), ("Copyright", "rights")):
        assert [found.text for found in root.iter(f"{DC}{name}")] == [FACTS[key]]
    assert [x.text for x in root.iter("{http://purl.org/dc/terms/}provenance")] == [FACTS["Provenance"]]
    assert len(list(root.iter(f"{svg}path"))) > 5


def test_fault_77_every_font_of_a_figure_comes_with_matplotlib() -> None:
    """So none can be missing, and figures are the same on every machine, in every locale."""
    own = {FT2Font(str(path)).family_name for path in Path(matplotlib.get_data_path(), "fonts", "ttf").glob("*.ttf")}
    with matplotlib.rc_context():
        figures.use_style()
        assert set(matplotlib.rcParams["font.family"]) == {"DejaVu Sans"} <= own
        assert matplotlib.rcParams["mathtext.fontset"] == "dejavusans"
        assert not matplotlib.rcParams["axes.formatter.use_locale"]  # no decimal comma


def test_png(picture: figures.Picture) -> None:
    before = drawn(picture, format="png", metadata={"Software": None})
    with Image.open(io.BytesIO(downloads.png_file(before, FACTS))) as image:
        image.load()  # checks the sums of all chunks
        assert {key: image.text[key] for key in FACTS} == FACTS
        assert image.size == (700, 360)


def test_pdf(picture: figures.Picture) -> None:
    before = drawn(picture, format="pdf", metadata={"CreationDate": None})
    reader = pypdf.PdfReader(io.BytesIO(downloads.pdf_file(before, FACTS)), strict=True)
    assert len(reader.pages) == 1
    assert reader.pages[0].mediabox.width == 7 * 72
    found = reader.metadata
    assert (found.title, found.author, found.subject) == (FACTS["Title"], FACTS["Author"], FACTS["Description"])
    assert found.creator == FACTS["Software"]
    assert (found["/Source"], found["/Provenance"]) == (FACTS["Source"], FACTS["Provenance"])
    fonts = [font.get_object() for font in reader.pages[0]["/Resources"]["/Font"].values()]
    assert {font["/Subtype"] for font in fonts} <= {"/Type0", "/TrueType"}  # no Type 3, which publishers refuse


def test_csv_keeps_every_digit(picture: figures.Picture) -> None:
    text = downloads.csv_file(picture.rows(), FACTS).decode()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert comments == [f"# {key}: {value}" for key, value in FACTS.items()]
    header, *rows = csv.reader(text.splitlines()[len(comments) :])
    assert header == ["a t", "a f"]
    assert [[float(x) for x in row] for row in rows] == [[1.0, 0.1], [2.0, 1 / 3]]


def test_columns_of_unequal_length_end_empty() -> None:
    picture = figures.Picture()
    picture.data = {"a": np.array([1.0, np.inf]), "b": np.array([2.0])}
    assert picture.rows() == [["a", "b"], ["1.0", "2.0"], ["inf", ""]]


def test_fault_76_csv() -> None:
    cells = [[RUDE, 'a "b", c'], ["two\nlines", "#"]]
    text = downloads.csv_file(cells, {}).decode()
    assert list(csv.reader(io.StringIO(text))) == cells
    assert not re.search(r"(?m)^[^\"\n]*#", text)  # only between quotes


# ---------------------------------------------------------------- LaTeX


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        ("a & b_c % d # e $ f", r"a \& b\_c \% d \# e \$ f"),
        ("<x> {y}", r"\textless{}x\textgreater{} \textbraceleft{}y\textbraceright{}"),
        (r"\z ~ ^", r"\textbackslash{}z \textasciitilde{} \textasciicircum{}"),
        (r"at $\mu_t = 0.9$ and `a_b`", r"at $\mu_t = 0.9$ and \texttt{a\_b}"),
        ("$θ$ and θ, θ₁, 3–4", r"$\theta $ and $\theta$, $\theta$\textsubscript{1}, 3--4"),
        ("10⁻⁴", r"10\textsuperscript{-}\textsuperscript{4}"),
        ("as {cite:t}`dozat2015` says, *first*", r"as \cite{dozat2015} says, \emph{first}"),
        ("$5 & 6$, $a { b$", r"$5 \& 6$, \$a \textbraceleft{} b\$"),
        ("&lt;b&gt; &amp; c", r"\textless{}b\textgreater{} \& c"),
        ('"as *printed*", 5" ¬a', r"``as \emph{printed}'', 5\textquotedbl{} $\neg$a"),
    ],
)
def test_fault_76_latex(markdown: str, expected: str) -> None:
    assert downloads.latex_of(markdown) == expected


def test_fault_76_a_cell_in_square_brackets_is_no_argument_of_the_line_break() -> None:
    text = downloads.latex_file([["a"], ["1"], ["[0, 1]"]], "l", "Ends", "tab-x", {}).decode()
    assert "    {[0, 1]} \\\\" in text


def test_a_table_in_latex_has_as_many_cells_as_it_says() -> None:
    rows = [["a & b", "c"], [RUDE, "1"], ["`x|y`", "$m & n$"]]
    text = downloads.latex_file(rows, "lr", f"At $\\mu$. {RUDE}", "tab-x", FACTS).decode()
    body = text.partition(r"\toprule")[2].partition(r"\bottomrule")[0].replace(r"\midrule", "").strip()
    lines = [line.strip() for line in body.split(r"\\") if line.strip()]
    assert [len(re.split(r"(?<!\\)&", line)) for line in lines] == [2, 2, 2]
    assert r"\begin{tabular}{lr}" in text
    assert r"\label{tab-x}" in text
    code = [line for line in text.splitlines() if not line.startswith("%")]
    assert len(text.splitlines()) - len(code) == len(FACTS) + 1
    assert not re.search(r"(?<!\\)[%#]", "\n".join(code))  # nothing is a comment by accident
    assert "\n".join(code).count("{") == "\n".join(code).count("}")


# ---------------------------------------------------------------- what is told from the numbers


def test_a_description_follows_the_numbers() -> None:
    t = np.array([1.0, 2.0, 3.0])
    alt = figures.lines(
        {"up": (t, t), r"$\mu$ valley": (t, np.array([4.0, 0.5, 2.0])), "lost": (t, t * np.nan)},
        xlabel="t",
        ylabel=r"$\theta$",
    ).alt
    assert alt == (
        "θ against t. up goes from 1 to 3. μ valley goes from 4 to 2, lowest 0.5 at 2. lost: no finite value."
    )


def test_paths_are_ranked_by_where_they_end() -> None:
    def path(*ends: float) -> np.ndarray:
        return np.array([[1.0, 1.0], ends])

    alt = figures.paths({"GD": path(1.0, 0.0), "NAG": path(0.1, 0.0), "Nadam": path(np.inf, 0.0)}).alt
    assert alt.endswith("after 1 steps, from lowest to highest: NAG 0.005, GD 0.5. No finite value: Nadam.")


def test_curves_are_ranked_and_carry_their_note() -> None:
    found = {name: (np.array([1.0, y]),) * 3 for name, y in (("Adam", 0.3), ("Nadam", 0.2))}
    picture = figures.curves([0, 40], found, ylabel="dev loss", note="profile live")
    assert picture.alt == "Mean dev loss at step 40, from lowest to highest: Nadam 0.2, Adam 0.3."
    assert picture.note == "profile live"


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize("name", ["Tab-x", "tab-../x", "fig-x", "tab-x y"])
def test_a_table_s_name_is_a_file_name(name: str) -> None:
    with pytest.raises(ValueError, match="needs a name like"):
        show.table(["a"], [["1"]], name=name, caption="A caption")


def test_a_named_table_has_a_caption() -> None:
    with pytest.raises(ValueError, match="and a caption"):
        show.table(["a"], [["1"]], name="tab-a")


def test_a_number_keeps_to_its_line_and_an_interval_may_take_the_next() -> None:
    text = str(show.table(["a", "b"], [["-2 % (-9, 3)", "-2 % (-9, 3)"]], align="lr").data)
    assert text.splitlines()[-1] == "| -2 % (-9, 3) | -2\u00a0% (-9,\u00a03) |"

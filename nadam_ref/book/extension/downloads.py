"""Self-describing downloads of figures and tables."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from html import unescape
from xml.sax.saxutils import escape

from ...tables import MATH, Column, Group, Table, csv_text, escape_latex, tabular

#: What each format calls a fact, where it has a name of its own for it.
PDF_NAMES = {"Description": "Subject", "Software": "Creator"}
SVG_NAMES = {
    "Title": "dc:title",
    "Author": "dc:creator",
    "Description": "dc:description",
    "Provenance": "dcterms:provenance",
    "Software": "dc:publisher",
    "Source": "dc:source",
    "Copyright": "dc:rights",
}

Facts = Mapping[str, str]


# ---------------------------------------------------------------- Markdown of captions and cells, as other text

_MARKUP = re.compile(
    r"\{(?P<role>[\w:-]+)\}`(?P<target>[^`]+)`|`(?P<code>[^`]+)`|\$(?P<math>[^$]+)\$"
    r"|(?<!\w)\*(?P<stress>[^*\s][^*]*)\*|\"(?P<quoted>[^\"]+)\""
)


def text_of(markdown: str) -> str:
    """Markdown as one line of plain text: formulas stay TeX between dollars, other marks go."""

    def bare(mark: re.Match[str]) -> str:
        if mark["quoted"]:
            return f'"{_MARKUP.sub(bare, mark["quoted"])}"'
        return mark[0] if mark["math"] else mark["target"] or mark["code"] or mark["stress"]

    return " ".join(unescape(_MARKUP.sub(bare, markdown)).split())


def latex_of(markdown: str) -> str:
    """Markdown as one line of LaTeX, without a brace that BibTeX would count alone."""
    parts, end = [], 0
    text = markdown.replace("\n", " ")
    for mark in _MARKUP.finditer(text):
        parts += [escape_latex(unescape(text[end : mark.start()])), _latex_of_mark(mark)]
        end = mark.end()
    return "".join([*parts, escape_latex(unescape(text[end:]))])


def _latex_of_mark(mark: re.Match[str]) -> str:
    math = mark["math"]
    if math and math.count("{") == math.count("}"):
        text = re.sub(r"(?<!\\)([&%#])", r"\\\1", math)
        return "$" + "".join(f"{MATH[x]} " if x in MATH else x for x in text) + "$"
    if mark["role"] and mark["role"].startswith("cite"):
        return f"\\cite{{{mark['target']}}}"
    if mark["code"]:
        return f"\\texttt{{{escape_latex(unescape(mark['code']))}}}"
    if mark["stress"]:
        return f"\\emph{{{latex_of(mark['stress'])}}}"
    if mark["quoted"]:
        return f"``{latex_of(mark['quoted'])}''"
    return escape_latex(unescape(mark["target"] or mark[0]))


# ---------------------------------------------------------------- files


def svg_file(svg: str, facts: Facts, description: str) -> bytes:
    """A matplotlib SVG with a title, a description for those who do not see it, and the facts as Dublin Core."""
    work = "".join(f"<{name}>{escape(facts[key])}</{name}>" for key, name in SVG_NAMES.items() if key in facts)
    spaces = (
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:dcterms="http://purl.org/dc/terms/"'
    )
    head = (
        f"<title>{escape(facts['Title'])}</title><desc>{escape(description)}</desc>"
        f'<metadata><rdf:RDF {spaces}><rdf:Description rdf:about="">{work}</rdf:Description></rdf:RDF></metadata>'
    )
    return re.sub(r"<metadata>.*?</metadata>", lambda _: head, svg, count=1, flags=re.DOTALL).encode()


def png_file(png: bytes, facts: Facts) -> bytes:
    """A PNG with the facts as international text chunks."""
    header = 8 + 4 + 4 + 13 + 4  # the signature, and the first chunk, IHDR
    chunks = (_chunk(b"iTXt", f"{key}\0\0\0\0\0{value}".encode()) for key, value in facts.items())
    return png[:header] + b"".join(chunks) + png[header:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def pdf_file(pdf: bytes, facts: Facts) -> bytes:
    """A matplotlib PDF with the facts in its document information, as an incremental update (PDF 32000-1, 7.5.6)."""
    trailer = pdf[pdf.rindex(b"trailer") :]
    size, root, info, before = (
        match[1]
        for pattern in (rb"/Size (\d+)", rb"/Root (\d+ 0 R)", rb"/Info (\d+) 0 R", rb"startxref\s+(\d+)")
        if (match := re.search(pattern, trailer))
    )
    entries = b" ".join(b"/%s %s" % (PDF_NAMES.get(k, k).encode(), _pdf_string(v)) for k, v in facts.items())
    body = pdf + b"%s 0 obj\n<< %s >>\nendobj\n" % (info, entries)
    xref = b"xref\n0 1\n0000000000 65535 f \n%s 1\n%010d 00000 n \n" % (info, len(pdf))
    end = b"trailer\n<< /Size %s /Root %s /Info %s 0 R /Prev %s >>\nstartxref\n%d\n%%%%EOF\n"
    return body + xref + end % (size, root, info, before, len(body))


def _pdf_string(text: str) -> bytes:
    return b"<%s>" % f"\ufeff{text}".encode("utf-16-be").hex().encode()


def csv_file(rows: Sequence[Sequence[str]], facts: Facts) -> bytes:
    """Rows as CSV in UTF-8, the first the header, below the facts as lines that begin with `#`."""
    return ("".join(f"# {key}: {value}\n" for key, value in facts.items()) + csv_text(rows)).encode()


def latex_file(rows: Sequence[Sequence[str]], align: str, caption: str, name: str, facts: Facts) -> bytes:
    """Rows of Markdown cells, the first the header, as a LaTeX table for the package booktabs."""
    columns = [Column(*column) for column in zip(rows[0], align, strict=True)]
    begin, *body, end = tabular(Table(columns, [Group(rows[1:])]), latex_of)
    lines = [
        *(f"% {key}: {value}" for key, value in facts.items()),
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{latex_of(caption)}}}",
        f"  \\label{{{name}}}",
        f"  {begin}",
        *(f"    {line}" for line in body),
        f"  {end}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines).encode()

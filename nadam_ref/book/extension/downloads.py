"""What a reader takes from a page: figures and tables as files that say themselves what they are, and whence."""

from __future__ import annotations

import re
import struct
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from html import unescape
from xml.sax.saxutils import escape

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
    r"\{(?P<role>[\w:-]+)\}`(?P<target>[^`]+)`|`(?P<code>[^`]+)`|\$(?P<math>[^$]+)\$|(?<!\w)\*(?P<stress>[^*\s][^*]*)\*"
)
#: Letters that LaTeX has in formulas only.
_MATH = {"α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon", "η": r"\eta"}
_MATH |= {"θ": r"\theta", "λ": r"\lambda", "μ": r"\mu", "ν": r"\nu", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma"}
_MATH |= {"τ": r"\tau", "φ": r"\varphi", "ψ": r"\psi", "Δ": r"\Delta", "∇": r"\nabla", "√": r"\surd", "∞": r"\infty"}
_MATH |= {"×": r"\times", "·": r"\cdot", "±": r"\pm", "−": "-", "≤": r"\le", "≥": r"\ge", "≈": r"\approx"}
_MATH |= {"→": r"\to", "←": r"\gets"}
_TEXT = {"\\": r"\textbackslash{}", "{": r"\textbraceleft{}", "}": r"\textbraceright{}", "~": r"\textasciitilde{}"}
_TEXT |= {"^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
_TEXT |= {"\u00a0": "~", "–": "--", "—": "---", "…": r"\dots{}", "½": r"\textonehalf{}"}
_TEXT |= {x: f"\\{x}" for x in "&%$#_"}


def plain(markdown: str) -> str:
    """Markdown as one line of plain text: formulas stay TeX between dollars, other marks go."""

    def bare(found: re.Match[str]) -> str:
        return found[0] if found["math"] else found["target"] or found["code"] or found["stress"]

    return " ".join(unescape(_MARKUP.sub(bare, markdown)).split())


def latex(markdown: str) -> str:
    """Markdown as one line of LaTeX, without a brace that BibTeX would count alone."""
    parts, end = [], 0
    text = markdown.replace("\n", " ")
    for found in _MARKUP.finditer(text):
        parts += [_latex_text(text[end : found.start()]), _latex_markup(found)]
        end = found.end()
    return "".join([*parts, _latex_text(text[end:])])


def _latex_markup(found: re.Match[str]) -> str:
    math = found["math"]
    if math:
        if math.count("{") != math.count("}"):
            return _latex_text(found[0])
        text = re.sub(r"(?<!\\)([&%#])", r"\\\1", math)
        return "$" + "".join(f"{_MATH[x]} " if x in _MATH else x for x in text) + "$"
    if found["role"]:
        return f"\\cite{{{found['target']}}}" if found["role"].startswith("cite") else _latex_text(found["target"])
    return f"\\texttt{{{_latex_text(found['code'])}}}" if found["code"] else f"\\emph{{{latex(found['stress'])}}}"


def _latex_text(text: str) -> str:
    return "".join(_latex_letter(x) for x in unescape(text))


def _latex_letter(x: str) -> str:
    kind, _, code = unicodedata.decomposition(x).partition(" ")
    if kind in ("<super>", "<sub>"):
        base = chr(int(code, 16)).replace("\u2212", "-")
        return f"\\text{'super' if kind == '<super>' else 'sub'}script{{{base}}}"
    return f"${_MATH[x]}$" if x in _MATH else _TEXT.get(x, x)


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
        found[1]
        for pattern in (rb"/Size (\d+)", rb"/Root (\d+ 0 R)", rb"/Info (\d+) 0 R", rb"startxref\s+(\d+)")
        if (found := re.search(pattern, trailer))
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
    lines = [f"# {key}: {value}" for key, value in facts.items()]
    lines += [",".join(map(_field, row)) for row in rows]
    return "\n".join([*lines, ""]).encode()


def _field(text: str) -> str:
    # a reader that takes # for a comment takes it so in the middle of a line too
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\n\r#]', text) else text


def latex_file(rows: Sequence[Sequence[str]], align: str, caption: str, name: str, facts: Facts) -> bytes:
    """Rows of Markdown cells, the first the header, as a LaTeX table for the package booktabs."""
    header, *body = [" & ".join(map(latex, row)) + r" \\" for row in rows]
    lines = [
        *(f"% {key}: {value}" for key, value in facts.items()),
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{latex(caption)}}}",
        f"  \\label{{{name}}}",
        f"  \\begin{{tabular}}{{{align}}}",
        r"    \toprule",
        f"    {header}",
        r"    \midrule",
        *(f"    {line}" for line in body),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines).encode()

"""A table as text, Markdown, LaTeX or CSV, with one escaper for each; and JSON."""

from __future__ import annotations

import json
import math
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH = 100  # of notes in text
GAP = "  "


@dataclass(frozen=True)
class Column:
    """Heading, alignment ("l" or "r"), and the widest it may be as text; longer cells go on in the next line."""

    head: str
    align: str = "l"
    width: int = WIDTH


@dataclass(frozen=True)
class Group:
    """Rows of cells under a heading, which is for people; `about` is for code, and says what the rows are about."""

    rows: Sequence[Sequence[str]]
    heading: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """`groups`: rows of cells, for people; `data`: one typed mapping a row, with more in it, for programs."""

    columns: Sequence[Column]
    groups: Sequence[Group]
    name: str = ""
    caption: str = ""
    data: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()

    @property
    def heads(self) -> list[str]:
        """The headings of the columns."""
        return [column.head for column in self.columns]

    @property
    def align(self) -> str:
        """One letter a column, l or r."""
        return "".join(column.align for column in self.columns)


# ---------------------------------------------------------------- text


def visible(text: str) -> str:
    """Text with what a terminal would obey and not show written by its number: escapes, changes of direction.

    Ends of lines and tabs stay, and the word joiner, which tables have beside a dash.
    """
    return "".join(map(_seen, text))


def _seen(x: str) -> str:
    hidden = unicodedata.category(x) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co") and x not in "\n\t\u2060"
    return x.encode("unicode_escape").decode() if hidden else x


def aligned(rows: Iterable[Sequence[str]], align: str = "") -> list[str]:
    """Lines of aligned columns. `align` has l or r for each column; those without a letter are aligned to the left."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [_line(row, align.ljust(len(widths), "l"), widths) for row in cells]


def _line(cells: Sequence[str], align: str, widths: Sequence[int]) -> str:
    placed = (
        cell.rjust(width) if letter == "r" else cell.ljust(width)
        for cell, letter, width in zip(cells, align, widths, strict=True)
    )
    return GAP.join(placed).rstrip()


def to_text(table: Table) -> str:
    """Caption, aligned columns under their headings, notes."""
    columns = zip(table.heads, *(row for group in table.groups for row in group.rows), strict=True)
    widths = [min(column.width, max(map(len, cells))) for column, cells in zip(table.columns, columns, strict=True)]
    lines = [table.caption, "", *_wrapped(table.heads, table.align, widths)]
    for group in table.groups:
        lines += ["", group.heading] if group.heading else []
        lines += [line for row in group.rows for line in _wrapped(row, table.align, widths)]
    notes = [line for note in table.notes for line in textwrap.wrap(note, WIDTH)]
    return visible("\n".join([*lines, *([""] if notes else []), *notes])) + "\n"


def _wrapped(row: Sequence[str], align: str, widths: Sequence[int]) -> list[str]:
    """One row, over as many lines as its longest cell needs."""
    cells = [
        textwrap.wrap(" ".join(cell.split()), width, break_on_hyphens=False)
        for cell, width in zip(row, widths, strict=True)
    ]
    lines = range(max(map(len, cells)))
    return [_line([cell[i] if i < len(cell) else "" for cell in cells], align, widths) for i in lines]


# ---------------------------------------------------------------- Markdown

MARKS = {"l": ":--", "r": "--:"}


def escape_markdown(text: str) -> str:
    """Markdown that cannot break out of its cell: formulas, code and emphasis keep their meaning."""
    return inert_markdown(text).replace("|", "\\|").replace("\n", " ")


def inert_markdown(text: str) -> str:
    """Markdown in which nothing is HTML, a picture, or a template, which MyST would evaluate as the book is built."""
    parts = re.split(r"(\$[^$\n]*\$|`[^`]*`)", visible(text))
    # an entity outside of formulas and code, where a backslash could be escaped itself; a space inside
    parts[::2] = [re.sub(r"\{(?=\{)|!(?=\[)", lambda x: f"&#{ord(x[0])};", part) for part in parts[::2]]
    parts[1::2] = [re.sub(r"\{(?=\{)|!(?=\[)", r"\g<0> ", part) for part in parts[1::2]]
    return re.sub(r"\{(?=\{)|!(?=\[)", r"\g<0> ", "".join(parts)).replace("<", "&lt;")


def to_markdown(table: Table) -> str:
    """Caption, table and notes; cells are Markdown, and headings of groups are rows.

    Cells of right-aligned columns wrap nowhere but before an interval in brackets and before "at".
    """
    rows = [row for group in table.groups for row in (_heading(group, table), *group.rows) if row]
    lines = [list(map(escape_markdown, table.heads)), [MARKS[letter] for letter in table.align]]
    lines += [[_cell(*cell) for cell in zip(row, table.align, strict=True)] for row in rows]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join(filter(None, [table.caption, text, *table.notes])) + "\n"


def _heading(group: Group, table: Table) -> list[str]:
    return [f"**{group.heading}**", *[""] * (len(table.columns) - 1)] if group.heading else []


def _cell(text: str, letter: str) -> str:
    text = escape_markdown(text)
    if letter == "l":
        return text
    # no-break spaces, but before an interval and before "at", and word joiners beside a dash
    kept = re.sub("\u00a0(?=[(]|at\u00a0)", " ", text.replace(" ", "\u00a0"))
    return kept.replace("–", "\u2060–\u2060")


# ---------------------------------------------------------------- LaTeX

#: Characters that LaTeX has in formulas only.
MATH = {"α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon", "η": r"\eta"}
MATH |= {"θ": r"\theta", "λ": r"\lambda", "μ": r"\mu", "ν": r"\nu", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma"}
MATH |= {"τ": r"\tau", "φ": r"\varphi", "ψ": r"\psi", "Δ": r"\Delta", "∇": r"\nabla", "√": r"\surd", "∞": r"\infty"}
MATH |= {"×": r"\times", "·": r"\cdot", "±": r"\pm", "−": "-", "≤": r"\le", "≥": r"\ge", "≈": r"\approx"}
MATH |= {"→": r"\to", "←": r"\gets", "¬": r"\neg"}
# braces by name: BibTeX counts \{ as one that opens
LATEX = {"\\": r"\textbackslash{}", "{": r"\textbraceleft{}", "}": r"\textbraceright{}", "~": r"\textasciitilde{}"}
LATEX |= {"^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
LATEX |= {'"': r"\textquotedbl{}", "\u00a0": "~", "–": "--", "—": "---", "…": r"\dots{}", "½": r"\textonehalf{}"}
LATEX |= {"\n": " ", **{x: f"\\{x}" for x in "&%$#_"}, **{x: f"${command}$" for x, command in MATH.items()}}


def escape_latex(text: str) -> str:
    """Text as LaTeX sets it, character for character: nothing in it is a command."""
    return "".join(map(_letter, visible(text)))


def _letter(x: str) -> str:
    kind, _, code = unicodedata.decomposition(x).partition(" ")
    if kind in ("<super>", "<sub>"):
        base = chr(int(code, 16)).replace("\u2212", "-")
        return f"\\text{'super' if kind == '<super>' else 'sub'}script{{{base}}}"
    return LATEX.get(x, x)


def tabular(table: Table, cell: Callable[[str], str] = escape_latex) -> list[str]:
    """Lines of a `tabular` with rules of the package booktabs; `cell` makes a cell LaTeX.

    A cell that begins with "[" is kept from being an argument of the line break before it.
    """

    def line(cells: Sequence[str]) -> str:
        return " & ".join(f"{{{cell(x)}}}" if x.startswith("[") else cell(x) for x in cells) + r" \\"

    lines = [rf"\begin{{tabular}}{{{table.align}}}", r"\toprule", line(table.heads)]
    for group in table.groups:
        lines.append(r"\midrule")
        if group.heading:
            lines.append(rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\emph{{{cell(group.heading)}}}}} \\")
        lines += map(line, group.rows)
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def to_latex(table: Table) -> str:
    """A floating table with its caption, label and notes."""
    lines = [r"\begin{table}", rf"\caption{{{escape_latex(table.caption)}}}", rf"\label{{tab:{table.name}}}"]
    notes = [rf"\par\footnotesize {escape_latex(note)}" for note in table.notes]
    return "\n".join([*lines, *tabular(table), *notes, r"\end{table}"]) + "\n"


# ---------------------------------------------------------------- for programs


def csv_text(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV with Unix line ends. None is an empty field, infinity `inf`, and a list is joined by "; "."""
    return "".join(",".join(map(_field, row)) + "\n" for row in rows)


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = "; ".join(map(str, value)) if isinstance(value, (list, tuple)) else "" if value is None else str(value)
    # a program that takes # for the start of a comment does so in the middle of a line too
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\n\r#]', text) else text


def to_csv(table: Table) -> str:
    """`data` below a line of names."""
    names = list(dict.fromkeys(name for row in table.data for name in row))
    return csv_text([names, *([row.get(name) for name in names] for row in table.data)])


def to_json(content: Any) -> str:
    """Strict JSON, one space of indentation. Numbers are numbers; none, infinite or undefined is null."""
    return json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """`value` with None for numbers that are not finite, which strict JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


FORMATS: Mapping[str, Callable[[Table], str]] = {
    "text": to_text,
    "csv": to_csv,
    "latex": to_latex,
    "markdown": to_markdown,
}

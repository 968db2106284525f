"""A table as people read it and as programs do: text, LaTeX, CSV, JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["WIDTH", "Column", "Table", "escape", "to_csv", "to_json", "to_latex", "to_text"]

WIDTH = 100
GAP = "  "


@dataclass(frozen=True)
class Column:
    """Heading, alignment ("l" or "r"), and the widest it may be as text; what is longer goes on in the next line."""

    head: str
    align: str
    width: int


@dataclass(frozen=True)
class Table:
    """`groups`: headed rows of cells, for people; `data`: one typed mapping a row, with more in it, for programs."""

    name: str
    caption: str
    columns: Sequence[Column]
    groups: Mapping[str, Sequence[Sequence[str]]]
    data: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()


# ---------------------------------------------------------------- text


def to_text(table: Table) -> str:
    """Aligned columns, at most 100 characters wide if the columns' widths allow for it; notes below."""
    rows = [row for group in table.groups.values() for row in group]
    heads = [column.head for column in table.columns]
    widths = [min(column.width, max(len(row[i]) for row in [heads, *rows])) for i, column in enumerate(table.columns)]
    lines = [table.caption, ""]
    lines += _lines(heads, table.columns, widths)
    for heading, group in table.groups.items():
        lines += ["", heading] if heading else []
        lines += [line for row in group for line in _lines(row, table.columns, widths)]
    notes = [line for note in table.notes for line in textwrap.wrap(note, WIDTH)]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _lines(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    """One row, over as many lines as its longest cell needs."""
    wrapped = [
        textwrap.wrap(" ".join(cell.split()), width, break_on_hyphens=False)
        for cell, width in zip(row, widths, strict=True)
    ]
    lines = []
    for i in range(max(map(len, wrapped))):
        cells = [cell[i] if i < len(cell) else "" for cell in wrapped]
        placed = [
            cell.rjust(width) if column.align == "r" else cell.ljust(width)
            for cell, column, width in zip(cells, columns, widths, strict=True)
        ]
        lines.append(GAP.join(placed).rstrip())
    return lines


# ---------------------------------------------------------------- LaTeX

LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
    "−": "$-$",
    "–": "--",
    "¬": r"$\neg$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "δ": r"$\delta$",
    "ε": r"$\varepsilon$",
    "μ": r"$\mu$",
    "∞": r"$\infty$",
    "\n": " ",
}


def escape(text: str) -> str:
    """Text as LaTeX sets it, character for character: nothing in it is a command."""
    return "".join(LATEX.get(character, character) for character in text)


def to_latex(table: Table) -> str:
    """A `table` with rules of the package booktabs. A cell that begins with "[" is kept from being an argument."""
    layout = "".join(column.align for column in table.columns)
    lines = [r"\begin{table}", rf"\caption{{{escape(table.caption)}}}", rf"\label{{tab:{table.name}}}"]
    lines += [rf"\begin{{tabular}}{{{layout}}}", r"\toprule", _row([column.head for column in table.columns])]
    for heading, group in table.groups.items():
        lines.append(r"\midrule")
        if heading:
            lines.append(rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\emph{{{escape(heading)}}}}} \\")
        lines += [_row(row) for row in group]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par\footnotesize {escape(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join("{" + escape(cell) + "}" if cell.startswith("[") else escape(cell) for cell in cells) + r" \\"


# ---------------------------------------------------------------- for programs


def plain(value: Any) -> Any:
    """`value` as strict JSON has it: what is not a finite number is null, pairs are lists."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(content: Any) -> str:
    """Strict JSON, one space of indentation. Numbers are numbers; none, infinite or undefined is null."""
    return json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(table: Table) -> str:
    """`data` with a line of names. None is an empty field, infinity `inf`, and a list is joined by "; "."""
    lines = io.StringIO()
    names = list(dict.fromkeys(name for row in table.data for name in row))
    writer = csv.DictWriter(lines, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _field(value) for key, value in row.items()} for row in table.data)
    return lines.getvalue()


def _field(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "; ".join(map(str, value)) if isinstance(value, (list, tuple)) else value

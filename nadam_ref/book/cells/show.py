"""What a notebook cell puts on a page besides figures: source code, tables."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from IPython.display import Markdown

from ...tables import Column, Group, Table, inert_markdown, to_markdown
from ..cargo import CARGO

if TYPE_CHECKING:
    from ...experiments.runs.record import Record

__all__ = ["NUMBERS", "markdown", "provenance_note", "source", "table"]

#: Small whole numbers as words.
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def markdown(*lines: str) -> Markdown:
    return Markdown("\n".join(lines))  # type: ignore[no-untyped-call]


def source(*objects: Callable[..., Any] | type) -> Markdown:
    """The source of functions or classes of the package as a code block: shown, never retyped."""
    code = "\n\n".join(textwrap.dedent(inspect.getsource(x)).strip() for x in objects)
    return markdown(f"```python\n{code}\n```")


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    align: str | None = None,
    *,
    name: str | None = None,
    caption: str | None = None,
    note: str = "",
) -> Markdown:
    """A Markdown table. `align` has one letter per column, l or r; numbers come as text, formatted by the caller.

    With a `name` (`tab-…`) and a `caption` (Markdown) it is numbered, can be referred to, cited and downloaded.
    `note` says where its numbers come from: `provenance_note` of the runs; empty where formulas alone give them.
    Raises `ValueError` for a name that is not `tab-` with small letters, digits and hyphens, or has no caption.

    Text is escaped, so that no label or message can break out of its cell; `$…$` and backticks keep their meaning.
    Cells of right-aligned columns wrap nowhere but before an interval in brackets and before "at".
    """
    letters = align or "l" * len(header)
    cells = [[str(x) for x in row] for row in (header, *rows)]
    columns = [Column(*column) for column in zip(cells[0], letters, strict=True)]
    text = to_markdown(Table(columns, [Group(cells[1:])])).rstrip()
    if name is None:
        return markdown(text)
    if not caption or not re.fullmatch(r"tab-[a-z0-9-]+", name):
        raise ValueError(f"a table needs a name like `tab-nadam-dialects` and a caption, not {name!r} and {caption!r}")
    caption = " ".join(caption.split())
    cargo = {"name": name, "caption": caption, "align": letters, "note": note, "rows": cells}
    return NamedTable(f":::{{table}} {inert_markdown(caption)}\n:name: {name}\n\n{text}\n:::", cargo)


class NamedTable(Markdown):
    """A table that carries, in an executed notebook, what a reader of the page may download."""

    def __init__(self, text: str, cargo: dict[str, Any]) -> None:
        super().__init__(text)  # type: ignore[no-untyped-call]
        self.cargo = cargo

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/markdown": self.data, CARGO: self.cargo}


def provenance_note(records: Iterable[Record], *, recorded: bool = False) -> str:
    """Where runs come from, for the `note` of a figure or table: profile, data, seeds, machine.

    `recorded`: they were made earlier than the page, so their own version and commit are named too.
    """
    runs = list(records)

    def each(of: Callable[[Record], Any]) -> str:
        return ", ".join(map(str, sorted({of(record) for record in runs})))

    seeds = each(lambda r: r.spec.seed)
    parts = [
        f"profile {each(lambda r: r.spec.profile)}",
        f"data {each(lambda r: r.spec.data)}",
        f"seeds {seeds}" if "," in seeds else f"seed {seeds}",
        each(lambda r: r.provenance.get("gpu") or r.provenance["cpu"]),
    ]
    if recorded:
        parts.append(f"runs of nadam-ref {each(lambda r: r.provenance['nadam_ref'])}, commit {each(_commit)}")
    return " · ".join(parts)


def _commit(record: Record) -> str:
    commit, dirty = record.provenance["commit"], record.provenance["dirty"]
    return f"{commit[:10]}{' (modified)' if dirty else ''}" if commit else "unknown"

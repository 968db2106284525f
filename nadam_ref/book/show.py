"""What a notebook cell puts on a page besides figures: source code, tables."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from IPython.display import Markdown

__all__ = ["source", "table"]


def source(*objects: Callable[..., Any] | type) -> Markdown:
    """The source of functions or classes of the package as a code block: shown, never retyped."""
    code = "\n\n".join(textwrap.dedent(inspect.getsource(x)).strip() for x in objects)
    return Markdown(f"```python\n{code}\n```")  # type: ignore[no-untyped-call]


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Any]],
    align: str | None = None,
    *,
    name: str | None = None,
    caption: str | None = None,
) -> Markdown:
    """A Markdown table. `align` has one letter per column, l or r; numbers come as text, formatted by the caller.

    With a `name` (`tab-…`) and a `caption` it is numbered, and can be referred to.

    Text is escaped, so that no label or message can break out of its cell; `$…$` and backticks keep their meaning.
    Cells of right-aligned columns do not wrap.
    """
    marks = {"l": ":--", "r": "--:"}
    letters = align or "l" * len(header)
    body = [[_cell(x, letter) for x, letter in zip(row, letters, strict=True)] for row in rows]
    lines = [[_cell(x, "l") for x in header], [marks[letter] for letter in letters], *body]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    if name:
        text = f":::{{table}} {caption}\n:name: {name}\n\n{text}\n:::"
    return Markdown(text)  # type: ignore[no-untyped-call]


def _cell(x: Any, letter: str) -> str:
    text = str(x).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
    # no-break space, and word joiners beside a dash
    return text.replace(" ", "\u00a0").replace("–", "\u2060–\u2060") if letter == "r" else text

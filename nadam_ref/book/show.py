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


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], align: str | None = None) -> Markdown:
    """A Markdown table. `align` has one letter per column, l or r; numbers come as text, formatted by the caller.

    Text is escaped, so that no label or message can break out of its cell; `$…$` and backticks keep their meaning.
    """
    marks = {"l": ":--", "r": "--:"}
    lines = [header, [marks[letter] for letter in align or "l" * len(header)], *rows]
    return Markdown("\n".join("| " + " | ".join(_cell(x) for x in line) + " |" for line in lines))  # type: ignore[no-untyped-call]


def _cell(x: Any) -> str:
    return str(x).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

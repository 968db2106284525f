"""What the parts of the chapter share: the words they say things with."""

from __future__ import annotations

from collections.abc import Sequence

from IPython.display import Markdown

from .. import answer

__all__ = ["listed", "text", "titled"]


def titled(task: str) -> str:
    """What a task is called; the digits are the small network of the chapters on the rules."""
    return answer.TASKS[task][0] if task in answer.TASKS else "the chapters' network"


def listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def text(*lines: str) -> Markdown:
    return Markdown("\n".join(lines))  # type: ignore[no-untyped-call]

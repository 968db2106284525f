"""What the parts of the chapter share: the words they say things with."""

from __future__ import annotations

from .. import answer


def titled(task: str) -> str:
    """What a task is called; the digits are the small network of the chapters on the rules."""
    return answer.TASKS[task][0] if task in answer.TASKS else "the chapters' network"

"""The contents of the reference pages by name: `BLOCKS` as Markdown, `NUMBERS` as text, `PICTURES`, and `SENTENCES`.

All come from the data files of `nadam_ref.experiments`, from `names.yaml`, or from a computation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from IPython.display import Markdown

from nadam_ref.rules import RULES

from ...cells import answer, bricks, show
from ...cells.figures import Picture
from .. import choice, landing
from . import names, papers, protocol, robustness


@cache
def lines() -> list[answer.Line]:
    """Nadam against Adam; read once, because there are many runs."""
    return answer.lines()


BLOCKS: dict[str, Callable[[], str | Markdown]] = {
    **protocol.BLOCKS,
    **papers.BLOCKS,
    **robustness.BLOCKS,
    **names.BLOCKS,
    "status": lambda: landing.status(lines()),
    "answer-first": lambda: answer.first(lines()),
    "answer": lambda: str(answer.short(lines()).data),
    "title": answer.named,
    "choice": lambda: choice.table(choice.recommended(), "../notebooks/", ".ipynb"),
    "map": landing.rule_map,
}

NUMBERS: dict[str, Callable[[], str]] = {
    **protocol.NUMBERS,
    **papers.NUMBERS,
    **robustness.NUMBERS,
    "nadams": lambda: show.NUMBERS[len(landing.NADAMS)],
    "rules": lambda: show.NUMBERS[len(RULES)],
}

PICTURES: dict[str, Callable[[], Picture]] = {
    "answer": lambda: answer.picture(lines()),
    "answer-small": lambda: landing.forest(lines()),
    "first-steps": landing.first_steps,
    "bricks": lambda: bricks.bricks("Adam", "Nadam", steps=1),
}

#: What a table says that a chapter has computed, from its rows and its note.
SENTENCES: dict[str, Callable[[Sequence[Sequence[str]], str], str]] = {
    "schedule-first": lambda rows, _note: landing.schedule_first(rows),
    "two-by-two": lambda rows, note: landing.two_by_two(lines(), rows, note),
}

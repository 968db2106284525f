"""What a browser would part at the end of a line: a formula and the marks beside it, a number and what it is of."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

#: Spaces at which no line may end: those of "5 %" and of "η = 0.1".
KEPT = re.compile(r"(?<=\d) (?=%)|(?<=\b[α-ωa-z]) (?== [\d.−])|(?<=\b[α-ωa-z] =) (?=[\d.−])")


def _glue(app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Keep `($x$),` together: to a browser a formula is a picture, after and before which a line may end."""
    if app.builder.format != "html":
        return
    for formula in list(doctree.findall(nodes.math)):
        parent, at = formula.parent, formula.parent.index(formula)
        before, after = _text(parent, at - 1), _text(parent, at + 1)
        left, right = re.split(r"\s", before)[-1], re.split(r"\s", after)[0]
        if not left and not right:
            continue
        whole = nodes.inline("", "", nodes.Text(left), formula.deepcopy(), nodes.Text(right), classes=["unbroken"])
        if after:
            parent[at + 1] = nodes.Text(after[len(right) :])
        parent[at] = whole
        if before:
            parent[at - 1] = nodes.Text(before[: len(before) - len(left)])


def _keep(app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Let no line end at the spaces of `KEPT`, outside what is shown as it was typed."""
    if app.builder.format != "html":
        return
    for text in list(doctree.findall(nodes.Text)):
        if KEPT.search(text) and not isinstance(text.parent, (nodes.literal, nodes.FixedTextElement, nodes.raw)):
            text.parent.replace(text, nodes.Text(KEPT.sub("\N{NO-BREAK SPACE}", text)))


def _text(parent: nodes.Element, at: int) -> str:
    there = 0 <= at < len(parent) and isinstance(parent[at], nodes.Text)
    return str(parent[at]) if there else ""


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("doctree-resolved", _glue)
    app.connect("doctree-resolved", _keep, priority=600)  # to a formula a space is the end of a word
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Experiments at two sizes: where a figure is there at the papers' size, the same one at a smaller size is folded.

So a chapter is as long, and as heavy to load, as with one size. What is folded is loaded when it is opened.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx

#: Ends of names: of figures at the papers' size, at searched rates or at those that a paper prints, and of the others.
LARGE, SMALL = ("-paper", "-printed"), "-small"


def fold(doctree: nodes.document, numbers: dict[str, tuple[int, ...]]) -> None:
    """Fold each figure named `…-small`, with the row beneath it, where `…-paper` or `…-printed` is on the page too.

    `numbers`: figure numbers by anchor.
    """
    figures = {name: node for node in doctree.findall(nodes.figure) for name in node.get("names", [])}
    for name, figure in figures.items():
        stem = name.removesuffix(SMALL)
        if stem == name or not any(stem + large in figures for large in LARGE):
            continue
        for image in figure.findall(nodes.image):
            image["loading"] = "lazy"
        number = ".".join(map(str, numbers.get(figure["ids"][0], ())))
        opening = f'<details class="other-size"><summary>The same at a smaller size: Fig. {number}</summary>'
        parent = figure.parent
        at = parent.index(figure)
        beneath = parent[at + 1] if at + 1 < len(parent) else None
        last = at + 1 if isinstance(beneath, nodes.container) and "cite-row" in beneath["classes"] else at
        parent.insert(last + 1, nodes.raw("", "</details>", format="html"))
        parent.insert(at, nodes.raw("", opening, format="html"))


def _fold(app: Sphinx, doctree: nodes.document, page: str) -> None:
    if app.builder.format == "html":
        fold(doctree, app.env.toc_fignumbers.get(page, {}).get("figure", {}))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx; after the rows beneath figures are there."""
    app.connect("doctree-resolved", _fold, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

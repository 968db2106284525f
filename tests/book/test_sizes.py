"""A figure of the smaller size is folded where the papers' size is there, and only there."""

from __future__ import annotations

import pytest
from docutils import nodes
from docutils.utils import new_document

from nadam_ref.book.extension.sizes import fold


def page(*names: str) -> nodes.document:
    doctree = new_document("page")
    for name in names:
        figure = nodes.figure("", nodes.image(uri=f"{name}.svg"), names=[name], ids=[name])
        doctree += [figure, nodes.container(classes=["cite-row"]), nodes.paragraph(text=f"after {name}")]
    return doctree


def shown(doctree: nodes.document) -> list[str]:
    return [node.astext() if isinstance(node, (nodes.raw, nodes.paragraph)) else node.tagname for node in doctree]


@pytest.mark.parametrize("large", ["fig-words-dots-paper", "fig-words-dots-printed"])
def test_the_smaller_size_is_folded_with_its_row_and_loaded_late(large: str) -> None:
    doctree = page(large, "fig-words-dots-small")
    fold(doctree, {"fig-words-dots-small": (21, 4)})
    assert shown(doctree) == [
        *("figure", "container", f"after {large}"),
        '<details class="other-size"><summary>The same at a smaller size: Fig. 21.4</summary>',
        *("figure", "container", "</details>", "after fig-words-dots-small"),
    ]
    late = {image["uri"]: image.get("loading") for image in doctree.findall(nodes.image)}
    assert late == {f"{large}.svg": None, "fig-words-dots-small.svg": "lazy"}


def test_a_size_alone_is_open() -> None:
    doctree = page("fig-words-dots-small", "fig-words-verdict-paper")
    before = shown(doctree)
    fold(doctree, {})
    assert shown(doctree) == before

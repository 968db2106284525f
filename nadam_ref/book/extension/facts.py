"""What the reference pages say that is data: rendered from the data files, or computed, and never retyped.

In a page, ```` ```{facts} claims ```` is a table or a list, ``{fact}`alpha` `` a number within a sentence.
`reference` says which names there are.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ..cells.show import NamedTable
from . import fact_tables


class Facts(SphinxDirective):
    """``{facts} NAME``: the block of that name in `fact_tables.BLOCKS`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The block's Markdown, as if it stood on the page."""
        (name,) = self.arguments
        if name not in fact_tables.BLOCKS:
            raise self.error(f"no block is called {name!r}; there are: {', '.join(fact_tables.BLOCKS)}")
        block = fact_tables.BLOCKS[name]()
        if isinstance(block, str):
            return self.parse_text_to_nodes(block)
        found = self.parse_text_to_nodes(block.data)
        if isinstance(block, NamedTable):
            for table in (table for node in found for table in node.findall(nodes.table)):
                table["note"] = block.cargo["note"]
        return found


class Fact(SphinxRole):
    """``{fact}`NAME` ``: the number of that name in `reference.NUMBERS`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The number as text."""
        if self.text not in fact_tables.NUMBERS:
            there = ", ".join(fact_tables.NUMBERS)
            message = f"no number is called {self.text!r}; there are: {there}"
            return [], [self.inliner.reporter.error(message, line=self.lineno)]
        return [nodes.Text(fact_tables.NUMBERS[self.text]())], []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("facts", Facts)
    app.add_role("fact", Fact())
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""What the reference pages say that is data: rendered from the data files, or computed, and never retyped.

In a page, ```` ```{facts} claims ```` is a table or a list, ``{{ alpha }}`` a number within a sentence.
`fact_tables` has them by name. A name that it does not have is a warning, and fails the build.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

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
        content = self.parse_text_to_nodes(block.data)
        if isinstance(block, NamedTable):
            for table in (table for node in content for table in node.findall(nodes.table)):
                table["note"] = block.cargo["note"]
        return content


def _substitute(_app: Sphinx, config: Config) -> None:
    numbers = {name: number() for name, number in fact_tables.NUMBERS.items()}
    config.myst_substitutions = {**config.myst_substitutions, **numbers}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("facts", Facts)
    app.connect("config-inited", _substitute)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""What the reference pages say that is data: rendered from the data files, or computed, and never retyped.

In a page, ```` ```{facts} claims ```` is a table, a list or sentences, ``{{ alpha }}`` a number within a sentence, and
```` ```{drawn} answer ```` a figure. `fact_tables` has them by name. ```` ```{animated} warm-up ```` is the last frame
of an animation of `animations`, with the moving files. A name that is not there is a warning, and fails the build.
```` ```{quoted} 12_two_rules tab-schedule-look-ahead ```` is a table that a chapter has computed, and
```` ```{read} 12_two_rules tab-schedule-look-ahead two-by-two ```` what it says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective

import nadam_ref

from ...files import write_whole
from ..cargo import CARGO
from ..cells import figures
from ..cells.show import NamedTable
from ..light import light
from . import animations, citation, citing, fact_tables


class Facts(SphinxDirective):
    """``{facts} NAME``: the block of that name in `fact_tables.BLOCKS`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The block's Markdown, as if it were written on the page."""
        (name,) = self.arguments
        if name not in fact_tables.BLOCKS:
            raise self.error(f"no block is called {name!r}; there are: {', '.join(fact_tables.BLOCKS)}")
        block = fact_tables.BLOCKS[name]()
        if isinstance(block, str):
            return self.parse_text_to_nodes(block)
        content = self.parse_text_to_nodes(block.data)
        assert isinstance(block, NamedTable), "every table of these has a name"
        for table in (table for node in content for table in node.findall(nodes.table)):
            table["note"] = block.cargo["note"]
        return content


class Drawn(SphinxDirective):
    """``{drawn} NAME``: the picture of that name in `fact_tables.PICTURES`, with `name`, `caption` (MyST) and `alt`.

    Without name and caption it has no number, and nothing to cite: a picture beside the text that explains it.
    """

    required_arguments = 1
    option_spec = {name: directives.unchanged_required for name in ("name", "caption", "alt")}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """The figure, with what a reader of the page may download."""
        (name,) = self.arguments
        if name not in fact_tables.PICTURES:
            raise self.error(f"no picture is called {name!r}; there are: {', '.join(fact_tables.PICTURES)}")
        figures.use_style()
        return [self.figure(name, fact_tables.PICTURES[name]())]

    def figure(self, name: str, picture: figures.Picture) -> nodes.figure:
        """The picture as a figure of the page."""
        drawn = picture._repr_mimebundle_()
        figure = nodes.figure()
        self.set_source_info(figure)
        self.add_name(figure)
        figure["svg"], figure["cargo"] = drawn["image/svg+xml"], drawn[CARGO]
        address = f"/_drawn/{name}.svg"
        path = Path(f"{self.env.srcdir}{address}")
        path.parent.mkdir(exist_ok=True)
        write_whole(path, light(figure["svg"]))
        figure += nodes.image(uri=address, alt=f"{self.options['alt']} {figure['cargo']['alt']}")
        if "caption" in self.options:
            text, messages = self.state.inline_text(self.options["caption"], self.lineno)
            figure += nodes.caption("", "", *text, *messages)
        return figure


class Animated(Drawn):
    """``{animated} NAME``: the animation of that name in `animations.SCENES`, standing still, and links to its files.

    Options as for ``{drawn}``. The files, SVG and GIF, are in the folder ``animations`` beside the pages.
    """

    def run(self) -> list[nodes.Node]:
        """The figure, and a line with the links."""
        (name,) = self.arguments
        if name not in animations.SCENES:
            raise self.error(f"no animation is called {name!r}; there are: {', '.join(animations.SCENES)}")
        figures.use_style()
        make, title = animations.SCENES[name]
        scene = make()
        credit = f"{' and '.join(citation.authors(self.config.nadam_ref_citation))}. {citation.LICENCE}"
        folder = Path(self.env.app.outdir) / "animations"
        folder.mkdir(parents=True, exist_ok=True)
        links = []
        for kind, content in (("SVG", scene.svg(title, credit).encode()), ("GIF", scene.gif(credit))):
            file = folder / f"{name}.{kind.lower()}"
            write_whole(file, lambda f, content=content: f.write(content))  # type: ignore[misc]
            address = f"{'../' * self.env.docname.count('/')}animations/{file.name}"
            links.append(f'<a href="{address}" aria-label="{title}, animated, as {kind}">{kind}</a>')
        figure = self.figure(name, scene.still())
        figure += nodes.legend("", nodes.raw("", f"<p>Animated: {', '.join(links)}</p>", format="html"))
        return [figure]


class Quoted(SphinxDirective):
    """``{quoted} CHAPTER NAME``: the rows of a table that a chapter has computed."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """The table without number and caption; those are the chapter's."""
        header, *body = self.table()["rows"]
        lines = [header, ["--"] * len(header), *body]
        return self.parse_text_to_nodes("\n".join(f"| {' | '.join(line)} |" for line in lines))

    def table(self) -> dict[str, Any]:
        """What the chapter's table carries."""
        chapter, name = self.arguments[:2]
        path = Path(self.env.srcdir) / "notebooks" / f"{chapter}.ipynb"
        self.env.note_dependency(str(path))
        carried = citing.items(json.loads(path.read_text(encoding="utf-8")))
        cargo: dict[str, Any] | None = next((item.cargo for item in carried if item.name == name), None)
        if cargo is None:
            raise self.error(f"{chapter} has no table {name!r}")
        return cargo


class Read(Quoted):
    """``{read} CHAPTER NAME SENTENCE``: what a table says that a chapter has computed, by `fact_tables.SENTENCES`."""

    required_arguments = 3

    def run(self) -> list[nodes.Node]:
        """The sentences as Markdown."""
        sentence = fact_tables.SENTENCES.get(self.arguments[2])
        if sentence is None:
            raise self.error(
                f"no sentence is called {self.arguments[2]!r}; there are: {', '.join(fact_tables.SENTENCES)}"
            )
        cargo = self.table()
        return self.parse_text_to_nodes(sentence(cargo["rows"], cargo["note"]))


def _substitute(_app: Sphinx, config: Config) -> None:
    numbers = {name: number() for name, number in fact_tables.NUMBERS.items()}
    config.myst_substitutions = {**config.myst_substitutions, **numbers, "version": nadam_ref.__version__}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("facts", Facts)
    app.add_directive("drawn", Drawn)
    app.add_directive("quoted", Quoted)
    app.add_directive("read", Read)
    app.add_directive("animated", Animated)
    app.connect("config-inited", _substitute)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

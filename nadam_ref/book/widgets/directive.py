"""``{optimizers}``: puts the widget on a page, with a picture of the same state where it cannot run."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from ...files import write_whole
from ...rules import RULES
from ..cargo import CARGO
from ..cells import figures
from ..fingerprints import sha256
from .presets import PRESETS, State, knowledge, picture
from .surfaces import SURFACES

STATIC = Path(__file__).parent / "static"
SCRIPTS = ("core", "state", "draw", "page", "plots", "widget")


class optimizers(nodes.Element):  # type: ignore[misc]  # docutils has no types
    """The widget's place inside its figure: the page's HTML has it, every other format has the picture alone."""


class Optimizers(SphinxDirective):
    """``{optimizers}``: a figure in which the reader runs the optimizers.

    Options: `preset` (default ``landing``); `function` and `show` (names, separated by commas) replace the preset's;
    `height` of the plots in pixels (default 320); `caption`, as MyST; `name`, under which the figure is referred to and
    links restore its state; `alt` for the picture; `autoplay`, once, unless the reader prefers reduced motion.
    """

    option_spec = {  # noqa: RUF012 - as docutils declares it
        **{name: directives.unchanged for name in ("preset", "show", "caption", "name", "alt")},
        "function": lambda text: directives.choice(text, tuple(SURFACES)),
        "height": directives.nonnegative_int,
        "autoplay": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """The figure: picture, widget, caption."""
        alt, state = self._preset()
        figure = nodes.figure(classes=["optimizers"])
        self.set_source_info(figure)
        name = self.options.get("name", f"optimizers-{self.env.new_serialno('optimizers')}")
        alt = self.options.get("alt", alt)
        self.add_name(figure)
        figures.use_style()
        drawn = picture(state)._repr_mimebundle_()  # what the widget begins with, and what a reader may download of it
        figure["svg"], figure["cargo"] = drawn["image/svg+xml"], drawn[CARGO]
        figure += nodes.image(uri=self._save(state, drawn["image/svg+xml"]), alt=alt)
        figure += optimizers(
            data={**knowledge(), "name": name, "preset": vars(state), "autoplay": "autoplay" in self.options},
            label=alt,
            height=self.options.get("height", 320),
        )
        if "caption" in self.options:
            text, messages = self.state.inline_text(self.options["caption"], self.lineno)
            figure += nodes.caption("", "", *text, *messages)
        return [figure]

    def _preset(self) -> tuple[str, State]:
        name = self.options.get("preset", "landing")
        if name not in PRESETS:
            raise self.error(f"no preset is called `{name}`; there are {', '.join(PRESETS)}")
        alt, state = PRESETS[name]
        if "function" in self.options:
            surface = self.options["function"]
            state = replace(state, surface=surface, **SURFACES[surface].begin)
        if "show" in self.options:
            shown = tuple(part.strip() for part in self.options["show"].split(","))
            for part in shown:
                if part not in RULES:
                    raise self.error(f"no optimizer is called `{part}`; there are {', '.join(RULES)}")
            state = replace(state, show=shown, of=state.of if state.of in shown else shown[-1])
        return alt, state

    def _save(self, state: State, svg: str) -> str:
        """Put the picture among the staged sources, and return its address for an image node of any page."""
        address = f"/_optimizers/{sha256(repr(state))[:16]}.svg"
        path = Path(f"{self.env.srcdir}{address}")
        path.parent.mkdir(exist_ok=True)
        write_whole(path, svg)
        return address


def visit_html(self: Any, node: optimizers) -> None:
    """The place with its data, and the call that fills the place before the page is first painted."""
    data, label = (html.escape(x) for x in (json.dumps(node["data"], ensure_ascii=False), node["label"]))
    height = f"--play-height: {node['height']}px"
    self.body.append(
        f'<div class="play" role="group" aria-label="{label}" style="{height}" data-told="{data}"></div>'
        "<script>window.nadamWidget?.start(document.currentScript.previousElementSibling)</script>\n"
    )


def skip(_self: Any, _node: optimizers) -> None:
    """Other formats have the picture."""


def _load(app: Sphinx, _page: str, _template: str, _context: dict[str, Any], doctree: Any) -> None:
    """Only pages with a widget load it."""
    if doctree is not None and next(doctree.findall(optimizers), None) is not None:
        app.add_css_file("optimizers/widget.css")
        for name in SCRIPTS:
            app.add_js_file(f"optimizers/{name}.js")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_node(optimizers, html=(visit_html, skip), latex=(skip, skip), text=(skip, skip))
    app.add_directive("optimizers", Optimizers)
    app.connect("builder-inited", lambda app: app.config.html_static_path.append(str(STATIC)))
    app.connect("html-page-context", _load)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""``{optimizers}``, ``{phases}`` and ``{budget}``: a widget on a page, and its picture where it cannot run."""

from __future__ import annotations

import html
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri

from ...files import write_whole
from ..cargo import CARGO
from ..cells import figures
from ..cells.sensitivity import rates
from ..fingerprints import sha256
from ..light import light
from .alone import WIDGET, page
from .presets import PARTS, PRESETS, WHOLE, State, knowledge, picture
from .surfaces import SURFACES

STATIC = Path(__file__).parent / "static"
#: By the kind of node: the scripts of a page that has one, in their order, and the program that starts in it.
SCRIPTS = {
    "optimizers": WIDGET,
    "phases": ("draw", "page", "quadratic", "phases"),
    "budget": ("draw", "page", "budget"),
}
PROGRAMS = {"optimizers": "nadamWidget", "phases": "nadamPhases", "budget": "nadamBudget"}


class optimizers(nodes.Element):  # type: ignore[misc]  # docutils has no types
    """The widget's place inside its figure: the page's HTML has it, every other format has the picture alone."""


class phases(nodes.Element):  # type: ignore[misc]
    """The place of the phase diagram, as that of the widget."""


class budget(nodes.Element):  # type: ignore[misc]
    """The place of the table of methods by budget, as that of the widget."""


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
        alt = self.options.get("alt", alt)
        figures.use_style()
        name = self.options.get("name", f"optimizers-{self.env.new_serialno('optimizers')}")
        parts = self.options.get("preset", "landing")
        widget = optimizers(
            data={
                **knowledge(PARTS.get(parts, WHOLE)),
                **{"name": name, "parts": parts, "preset": vars(state), "autoplay": "autoplay" in self.options},
            },
            label=alt,
            height=self.options.get("height", 320),
        )
        return self.figure(picture(state), repr(state), alt, widget)

    def figure(self, drawn: figures.Picture, key: str, alt: str, widget: nodes.Element) -> list[nodes.Node]:
        """A figure with a picture and the widget that takes its place. `key` is all that the picture depends on."""
        figure = nodes.figure(classes=["optimizers"])
        self.set_source_info(figure)
        self.add_name(figure)
        bundle = drawn._repr_mimebundle_()  # what the widget begins with, and what a reader may download of it
        figure["svg"], figure["cargo"] = bundle["image/svg+xml"], bundle[CARGO]
        figure += nodes.image(uri=self._save(key, bundle["image/svg+xml"]), alt=alt)
        figure += widget
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
            known = PARTS.get(name, WHOLE).rules
            for part in shown:
                if part not in known:
                    raise self.error(f"no optimizer is called `{part}`; there are {', '.join(known)}")
            state = replace(state, show=shown, of=state.of if state.of in shown else shown[-1])
        return alt, state

    def _save(self, key: str, svg: str) -> str:
        """Put the picture among the staged sources, and return its address for an image node of any page."""
        address = f"/_optimizers/{sha256(key)[:16]}.svg"
        path = Path(f"{self.env.srcdir}{address}")
        path.parent.mkdir(exist_ok=True)
        write_whole(path, light(svg))
        return address


class Phases(Optimizers):
    """``{phases}``: the phase diagram of momentum and NAG, with a setting that the reader moves.

    Options: `show` (default ``Momentum, NAG``), the setting `lr` and `mu` it begins with (default .03 and .8), in the
    ravine's curvatures; `caption`, `name` and `alt` as for ``{optimizers}``.
    """

    option_spec = {  # noqa: RUF012 - as docutils declares it
        **{name: directives.unchanged for name in ("show", "caption", "name", "alt")},
        **dict.fromkeys(("lr", "mu"), float),
    }

    def run(self) -> list[nodes.Node]:
        """The figure: picture, diagram, caption."""
        names = tuple(part.strip() for part in self.options.get("show", "Momentum, NAG").split(","))
        for name in names:
            if name not in ("Momentum", "NAG"):
                raise self.error(f"there is no phase diagram of `{name}`; there are those of Momentum, NAG")
        η, μ, κ = self.options.get("lr", 0.03), self.options.get("mu", 0.8), float(figures.RAVINE[-1])
        alt = self.options.get("alt", f"Phase diagram of {' and '.join(names)}")
        figures.use_style()
        data = {
            "names": names,
            "looks": {name: knowledge()["rules"][name] for name in names},
            "window": figures.PHASES,
            "preset": {"lr": η, "mu": μ, "kappa": κ},
        }
        drawn = figures.phases(names, η=η, μ=μ, κ=κ)
        return self.figure(drawn, f"phases {names} {η} {μ} {κ}", alt, phases(data=data, label=alt, height=270))


class Budget(Optimizers):
    """``{budget}``: the order of the methods by the number of rates tried, from the recorded searches.

    Options: `k`, the number of rates it begins with (default 1); `caption`, `name` and `alt` as for ``{optimizers}``.
    """

    option_spec = {  # noqa: RUF012 - as docutils declares it
        **{name: directives.unchanged for name in ("caption", "name", "alt")},
        "k": directives.positive_int,
    }

    def run(self) -> list[nodes.Node]:
        """The figure: picture of all places, table, caption."""
        found = rates.contest()
        figures.use_style()
        drawn, alt = rates.places(found), self.options.get("alt", "Methods by the number of rates tried")
        names = dict.fromkeys(name for it in found for name in it.curves)
        data = {
            "tasks": [
                {
                    "title": it.title,
                    "most": it.most,
                    "curves": {x: [y if math.isfinite(y) else None for y in c.tolist()] for x, c in it.curves.items()},
                }
                for it in found
            ],
            "looks": {name: knowledge()["rules"][name] for name in names},
            "preset": {"task": 0, "k": self.options.get("k", 1)},
        }
        return self.figure(drawn, f"budget {json.dumps(data)}", alt, budget(data=data, label=alt, height=0))


def visit_html(self: Any, node: nodes.Element) -> None:
    """The place with its data, and the call that fills the place before the page is first painted."""
    data, label = (html.escape(x) for x in (json.dumps(node["data"], ensure_ascii=False), node["label"]))
    height = f"--play-height: {node['height']}px"
    program = PROGRAMS[type(node).__name__]
    start = relative_uri(self.builder.get_target_uri(self.builder.current_docname), "_static/optimizers/start.js")
    self.body.append(
        f'<div class="play" role="group" aria-label="{label}" style="{height}" data-program="{program}" '
        f'data-given="{data}"></div><script src="{start}"></script>\n'
    )


def skip(_self: Any, _node: nodes.Element) -> None:
    """Other formats have the picture."""


def _load(app: Sphinx, _page: str, _template: str, _context: dict[str, Any], doctree: Any) -> None:
    """Only pages with a widget load it."""
    if doctree is None:
        return
    kinds = {type(node).__name__ for node in doctree.findall() if type(node).__name__ in SCRIPTS}
    if kinds:
        app.add_css_file("optimizers/widget.css")
    for script in dict.fromkeys(name for kind in sorted(kinds) for name in SCRIPTS[kind]):
        app.add_js_file(f"optimizers/{script}.js")


def _alone(app: Sphinx, failure: Exception | None) -> None:
    """The page that others embed, beside those of the book."""
    if failure is None and app.builder.format == "html":
        path = Path(app.outdir) / "embed" / "optimizers.html"
        path.parent.mkdir(exist_ok=True)
        write_whole(path, page(app.config.project))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    for node, name, directive in (
        (optimizers, "optimizers", Optimizers),
        (phases, "phases", Phases),
        (budget, "budget", Budget),
    ):
        app.add_node(node, html=(visit_html, skip), latex=(skip, skip), text=(skip, skip))
        app.add_directive(name, directive)
    app.connect("builder-inited", lambda app: app.config.html_static_path.append(str(STATIC)))
    app.connect("html-page-context", _load)
    app.connect("build-finished", _alone)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

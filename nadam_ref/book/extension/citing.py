"""Under each figure and named table of a page, in one folded line: where it comes from, its files, how to cite it.

The notebook carries the numbers; what changes with each commit is added here, so that a commit makes no notebook stale.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import logging

import nadam_ref

from ...files import write_whole
from .. import find_root
from ..cargo import CARGO
from ..light import light
from . import citation, downloads

FOLDER = "_downloads"
#: Beside `FOLDER`'s files, a figure as a phone shows it.
PHONE = "phone.svg"
#: What a figure's caption begins with, and a table's.
SHORT = {"figure": "Fig.", "table": "Table"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """A figure or a table as the notebook carries it: `svg` is empty for a table."""

    kind: str
    name: str
    caption: str
    cargo: dict[str, Any]
    svg: str = ""


def items(notebook: dict[str, Any]) -> Iterator[Item]:
    """What a notebook's outputs carry, in order."""
    for cell in notebook["cells"]:
        for data in _loaded(cell):
            cargo = data[CARGO]
            if "image/svg+xml" not in data:
                yield Item("table", cargo["name"], cargo["caption"], cargo)
            elif figure := cell["metadata"].get("mystnb", {}).get("figure"):
                svg = "".join(data["image/svg+xml"])
                yield Item("figure", figure.get("name", ""), figure.get("caption", ""), cargo, svg)


def _loaded(cell: dict[str, Any]) -> list[dict[str, Any]]:
    return [data for output in cell.get("outputs", []) if CARGO in (data := output.get("data", {}))]


def unload(notebook: dict[str, Any]) -> dict[str, Any]:
    """Take the cargo out, in place; lighten each figure, and add the text alternative that is made from its numbers."""
    for cell in notebook["cells"]:
        for data in _loaded(cell):
            cargo = data.pop(CARGO)
            if "image/svg+xml" in data:
                data.pop("image/png", None)
                data["image/svg+xml"] = light("".join(data["image/svg+xml"]))
                image = cell["metadata"].setdefault("mystnb", {}).setdefault("image", {})
                image["alt"] = f"{image.get('alt', '')} {cargo['alt']}".strip()
    return notebook


# ---------------------------------------------------------------- Sphinx


def _notebook(app: Sphinx, page: str) -> Path | None:
    path = Path(app.env.doc2path(page))
    return path if path.suffix == ".ipynb" else None


def _unload(app: Sphinx, page: str, source: list[str]) -> None:
    if _notebook(app, page):
        source[0] = json.dumps(unload(json.loads(source[0])))


def _check_images(_app: Sphinx, doctree: nodes.document, _page: str) -> None:
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            logger.warning("an image without a text alternative: %s", image["uri"], location=image)


def _cite(app: Sphinx, doctree: nodes.document, page: str) -> None:
    if app.builder.format != "html":
        return
    path = _notebook(app, page)
    places = {
        name: node for node in doctree.findall() if isinstance(node, nodes.Element) for name in node.get("names", [])
    }
    carried = list(items(json.loads(path.read_text(encoding="utf-8")))) if path else []
    for item in [*carried, *written(places, {item.name for item in carried})]:
        place = places.get(item.name)
        if place is None or not re.fullmatch(r"(fig|tab)-[a-z0-9-]+", item.name):
            text = "a figure or table needs a name like `fig-nadam-ravine` (small letters, digits, hyphens), not %r"
            logger.warning(text, item.name, location=page)
            continue
        place.parent.insert(place.parent.index(place) + 1, _row(app, page, item, place["ids"][0]))
        if narrow := item.cargo.get("phone"):
            _offer(app, page, place, item.name, narrow)
    _name_toggles(app, doctree, page)


def _offer(app: Sphinx, page: str, figure: nodes.Element, name: str, narrow: str) -> None:
    """Let a phone load the figure's drawing for it in place of the wide one."""
    path = Path(app.outdir) / FOLDER / f"{name}.{PHONE}"
    write_whole(path, light(narrow))
    image = next(figure.findall(nodes.image))
    source = f'<picture><source media="(max-width: 600px)" srcset="{_address(page, path.name)}">'
    at = image.parent.index(image)
    image.parent[at : at + 1] = [
        nodes.raw("", source, format="html"),
        image,
        nodes.raw("", "</picture>", format="html"),
    ]


def _name_toggles(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Say on a toggle which figure or table it opens or makes; a cell whose code makes none has a name of its own."""
    for toggle in doctree.findall(HideCodeCellNode):
        of_cell = toggle.parent.findall(lambda node: isinstance(node, nodes.figure | nodes.table))
        made = [
            f"{SHORT[kind]} {number}"
            for node in of_cell
            if node["ids"] and (number := _number(app, page, kind := _kind(node), node["ids"][0]))
        ]
        if "above-input" not in toggle["classes"]:
            toggle["prompt_show"] = f"Show {' and '.join(made)}"
        elif made and toggle["prompt_show"] == app.config.nb_code_prompt_show:
            toggle["prompt_show"] += f" for {' and '.join(made)}"
        toggle["prompt_hide"] = toggle["prompt_show"].replace("Show", "Hide", 1)


def _kind(node: nodes.Node) -> str:
    return "table" if isinstance(node, nodes.table) else "figure"


def _number(app: Sphinx, page: str, kind: str, anchor: str) -> str:
    """The number of a figure or table on its page, "8.2"; empty where it has none."""
    return ".".join(map(str, app.env.toc_fignumbers.get(page, {}).get(kind, {}).get(anchor, ())))


def _address(page: str, name: str) -> str:
    """Where a page finds one of `FOLDER`'s files."""
    return f"{'../' * page.count('/')}{FOLDER}/{name}"


def visit_toggle(self: Any, node: nodes.Element) -> None:
    """As myst-nb writes it, with what is written on it as its name."""
    shown, hidden = escape(node["prompt_show"]), escape(node["prompt_hide"])
    self.body.append(
        f'<details class="admonition hide {" ".join(node["classes"])}"><summary>'
        f'<p class="collapsed admonition-title">{shown}</p><p class="expanded admonition-title">{hidden}</p></summary>'
    )


def depart_toggle(self: Any, _node: nodes.Element) -> None:
    """The end of what it opens."""
    self.body.append("</details>\n")


def written(places: Mapping[str, nodes.Element], carried: Container[str]) -> Iterator[Item]:
    """What the page itself makes of data: tables with a `note` that says so, figures whose directive left them `cargo`.

    A table of text, written by hand, is no more to be downloaded than the text around it.
    """
    for name, node in places.items():
        if name in carried:
            continue
        caption = next(
            (_markdown(part) for part in node.children if isinstance(part, (nodes.title, nodes.caption))), ""
        )
        if isinstance(node, nodes.table) and name.startswith("tab-") and "note" in node:
            entries = [list(row.findall(nodes.entry)) for row in node.findall(nodes.row)]
            align = "".join("r" if "text-right" in entry["classes"] else "l" for entry in entries[0])
            rows = [[_markdown(entry) for entry in row] for row in entries]
            yield Item("table", name, caption, {"rows": rows, "align": align, "note": node["note"]})
        elif "cargo" in node:
            yield Item("figure", name, caption, node["cargo"], node["svg"])


def _markdown(node: nodes.Node) -> str:
    """Text with its formulas and code marked as `downloads.text_of` and `downloads.latex_of` read them."""
    if isinstance(node, nodes.math):
        return f"${node.astext()}$"
    if isinstance(node, nodes.literal):
        return f"`{node.astext()}`"
    return "".join(map(_markdown, node.children)) if node.children else node.astext()


def _row(app: Sphinx, page: str, item: Item, anchor: str) -> nodes.container:
    """The line under a figure or table, folded; its files are written beside the pages."""
    book, version = app.config.nadam_ref_citation, nadam_ref.__version__
    commit = app.config.nadam_ref_commit
    label = f"{item.kind.capitalize()} {_number(app, page, item.kind, anchor)}".strip()
    url = address(app, page, anchor)
    made = f"nadam-ref {version}, {commit or 'commit unknown (made outside a git checkout)'}"
    provenance = f"{item.cargo['note'] or 'Computed on this page'} · {made}"
    facts = {
        "Title": downloads.text_of(citation.title(item.caption)),
        "Author": " and ".join(citation.authors(book)),
        "Description": f"{label}. {downloads.text_of(item.caption)}",
        "Provenance": downloads.text_of(provenance),
        "Software": f"nadam-ref {version}",
        "Source": url,
        "Copyright": citation.LICENCE,
    }
    links = []
    for suffix, content in files(item, facts).items():
        name = f"{item.name}.{suffix}"
        write_whole(Path(app.outdir) / FOLDER / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
        kind = {"tex": "LaTeX"}.get(suffix, suffix.upper())
        links.append(f'<a href="{_address(page, name)}" download aria-label="{label} as {kind}">{kind}</a>')
    entry = citation.bibtex_of(item.name, label, item.caption, url, commit, book, version)
    opening = (
        f'<details class="cite"><summary>Source, data, cite<span class="visually-hidden">: {label}</span></summary>'
        f'<p class="provenance">{escape(facts["Provenance"])}</p>'
        f'<p class="files"><span>Download</span> {" ".join(links)}</p>'
    )
    return nodes.container(
        "",
        nodes.raw("", opening, format="html"),
        nodes.literal_block(entry, entry, language="text"),
        nodes.raw("", "</details>", format="html"),
        classes=["cite-row"],
    )


def files(item: Item, facts: downloads.Facts) -> dict[str, bytes]:
    """The files of a figure or a table, by suffix."""
    rows = item.cargo["rows"]
    table = {"csv": downloads.csv_file([[downloads.text_of(x) for x in row] for row in rows], facts)}
    if item.kind == "table":
        return table | {"tex": downloads.latex_file(rows, item.cargo["align"], item.caption, item.name, facts)}
    return {
        "svg": downloads.svg_file(item.svg, facts, item.cargo["alt"]),
        "pdf": downloads.pdf_file(base64.b64decode(item.cargo["pdf"]), facts),
        "png": downloads.png_file(base64.b64decode(item.cargo["png"]), facts),
        **table,
    }


def address(app: Sphinx, page: str, anchor: str) -> str:
    """Where a figure or table is published."""
    return f"{app.config.html_baseurl}{page}.html#{anchor}"


def _ask_once(_app: Sphinx, config: Config) -> None:
    root = find_root()
    config.nadam_ref_citation, config.nadam_ref_commit = citation.read(root), citation.commit(root)


def connect(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.add_config_value("nadam_ref_citation", {}, "")  # the content of CITATION.cff
    app.add_config_value("nadam_ref_commit", "", "")
    app.connect("config-inited", _ask_once)
    app.add_node(HideCodeCellNode, override=True, html=(visit_toggle, depart_toggle))
    app.connect("source-read", _unload)
    app.connect("doctree-resolved", _check_images)
    app.connect("doctree-resolved", _cite)

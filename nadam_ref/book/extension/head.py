"""What the head of each page says to search engines and to those who share it: description, address and picture."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from ...files import write_whole
from ..cells import figures
from . import landing
from .fact_tables import lines

#: Characters of a description: as many as search engines show, and enough to say something.
LONGEST, ENOUGH = 200, 60
FORMULA = "\ufffc"  # what takes the place of one
PICTURE = "_static/shared.png"
#: What the address of the book itself shows.
INDEX = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8" /><meta http-equiv="Refresh" content="0; url={first}" /><title>{title}</title>{head}</head>
<body><p><a href="{first}">{title}</a></p></body>
</html>
"""
#: Pages that Sphinx makes by itself, in words.
MADE = {
    "genindex": "Every function, class and keyword that this book explains, in the order of the alphabet.",
    "py-modindex": "The modules of the package nadam_ref, each with the page that explains it.",
    "search": "Search the book: its chapters, the rules of the comparison, and the package.",
    "_modules/index": "The modules whose source can be read in this book.",
}


def site(repository: str) -> str:
    """Where the book is published: GitHub's pages of the repository at this address. It ends in a slash."""
    owner, name = urlsplit(repository).path.strip("/").split("/")
    return f"https://{owner.lower()}.github.io/{name}/"


def description(doctree: nodes.document) -> str:
    """The first sentences of a page, up to the first that has a formula; cut at a word where they are too long."""
    paragraphs = [p for p in doctree.findall(nodes.paragraph) if isinstance(p.parent, nodes.section)]
    text = ""
    for sentence in (s for p in paragraphs if p.parent is paragraphs[0].parent for s in _sentences(p)):
        if FORMULA in sentence and text:
            break
        longer = f"{text} {sentence}".strip()
        if len(longer) > LONGEST:
            return text if len(text) >= ENOUGH else f"{longer[:LONGEST].rpartition(' ')[0].rstrip(',;:')} …"
        text = longer if FORMULA not in sentence else text
        if len(text) >= ENOUGH:
            break
    return text


def _sentences(paragraph: nodes.paragraph) -> list[str]:
    """A paragraph's sentences without citations; of formulas only letters with an index are text."""
    marked = paragraph.deepcopy()
    for formula in list(marked.findall(nodes.math)):
        plain = re.fullmatch(r"\w+", formula.astext())
        formula.replace_self(nodes.Text(formula.astext().replace("_", "") if plain else FORMULA))
    text = re.sub(r" \[[^]]*\d{4}[^]]*\]", "", " ".join(marked.astext().split()))
    return re.split(r"(?<=[.!?:]) (?=[^a-z])", text)


def _describe(app: Sphinx, page: str, doctree: nodes.document | None, title: str) -> str:
    if doctree is not None:
        return description(doctree)
    return (
        MADE.get(page) or f"The source of {title}, a module of the package nadam_ref, with links to what explains it."
    )


def tags(title: str, text: str, url: str, config: Config, *, kind: str = "article") -> str:
    """The elements of a head: what the page is, and how a link to it looks where it is shared."""
    image = f"{config.html_baseurl}{PICTURE}"
    width, height = landing.SHARED
    names = {"description": text, "twitter:card": "summary_large_image"}
    properties = {
        "og:site_name": config.html_title,
        "og:type": kind,
        "og:title": title,
        "og:description": text,
        "og:url": url,
        "og:image": image,
        "og:image:width": str(width),
        "og:image:height": str(height),
        "og:image:alt": f"{config.html_title}: a forest plot of Nadam against Adam",
    }
    lines = [f'<meta name="{name}" content="{html.escape(x)}" />' for name, x in names.items()]
    lines += [f'<meta property="{name}" content="{html.escape(x)}" />' for name, x in properties.items()]
    return "\n".join(["", *lines, ""])


def _add(app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    root = page == app.config.root_doc
    title = re.sub("<[^>]*>", "", context.get("title") or page.capitalize())
    if page in app.env.titles:
        title = app.env.titles[page].astext()
    if root:
        context["docstitle"] = None  # or the title would be there twice
    text = _describe(app, page, doctree, title)
    url = f"{app.config.html_baseurl}{page}.html"
    kind = "website" if root else "article"
    context["metatags"] = context.get("metatags", "") + tags(title, text, url, app.config, kind=kind)


def _finish(app: Sphinx, exception: Exception | None) -> None:
    """Draw the picture, and give the index, which only leads on to the first page, that page's description."""
    if exception is not None or app.builder.format != "html":
        return
    title, first = app.config.html_title, f"{app.config.root_doc}.html"
    text = description(app.env.get_doctree(app.config.root_doc))
    figures.use_style()
    buffer = io.BytesIO()
    drawn = landing.shared(title, text, lines())
    drawn.savefig(buffer, format="png", dpi=100, facecolor="white", metadata={"Software": None})
    write_whole(Path(app.outdir) / PICTURE, lambda file: file.write(buffer.getvalue()))
    head = tags(title, text, f"{app.config.html_baseurl}{first}", app.config, kind="website")
    write_whole(Path(app.outdir) / "index.html", INDEX.format(title=html.escape(title), head=head, first=first))


def _address(_app: Sphinx, config: Config) -> None:
    config.html_baseurl = config.html_baseurl or site(config.html_theme_options["repository_url"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("config-inited", _address)
    app.connect("html-page-context", _add)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

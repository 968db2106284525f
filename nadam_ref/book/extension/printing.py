"""What a printed page says at its edges: the chapter, where it is published, the version, and the page's number."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from sphinx.application import Sphinx

import nadam_ref

#: Sizes and ink of the edges; Chromium and Safari draw them, other browsers their own.
EDGE = "font: 8pt system-ui, sans-serif; color: #57606a"


def _edges(app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    book, title = str(app.config.html_title), unescape(re.sub(r"<[^>]+>", "", context.get("title") or ""))
    corners = {
        "top-left": title if title == book else f"{book} · {title}",
        "top-right": _address(app, page),
        "bottom-left": f"{book}, version {nadam_ref.__version__}",
    }
    boxes = " ".join(f"@{corner} {{ content: {_string(text)}; {EDGE} }}" for corner, text in corners.items())
    number = f"@bottom-right {{ content: counter(page); {EDGE} }}"
    style = f'<style media="print">@page {{ margin: 18mm 15mm; {boxes} {number} }}</style>'
    context["metatags"] = f"{context.get('metatags', '')}\n{style}"


def _address(app: Sphinx, page: str) -> str:
    """Where the page is published; the repository, if ``html_baseurl`` does not say where pages are."""
    base = str(app.config.html_baseurl).rstrip("/")
    return f"{base}/{page}.html" if base else str(app.config.html_theme_options.get("repository_url", ""))


def _string(text: str) -> str:
    """Text as a string of CSS, within HTML: what could end either is written by its number."""
    return '"' + re.sub(r'["\\<>&\n]', lambda sign: f"\\{ord(sign[0]):x} ", text) + '"'


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", _edges)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

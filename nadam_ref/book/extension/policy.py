"""The content-security policy of each page, which the browser enforces: what runs is the book's own.

Scripts come from the book's files. Of those within a page, the theme's are admitted by their hash, which is computed
here; the text of a page has none, or the build fails. GitHub's pages have no headers of their own, so the policy is an
element of the head. Styles may be in the page, because MathJax and the theme write them there; with no other host to
ask, a style can tell nobody anything.

The book is also read from a folder. To Chromium 'self' is then any file; to Firefox it is nothing, because a file has
no host (nsCSPUtils.cpp), so `file:` is said too. Pages on the web cannot reach files, whatever their policy.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging

from ...files import write_whole

logger = logging.getLogger(__name__)

DIRECTIVES = (
    "default-src 'self' file:",
    "script-src 'self' file: {hashes}",
    "style-src 'self' file: 'unsafe-inline'",
    "img-src 'self' file: data:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self' file:",
)
CHARSET = re.compile(r'<meta charset="utf-8" ?/?>')
#: A handler of the theme's that no hash can admit. `book.js` listens in its place.
PRINT = 'onclick="window.print()"', "data-print"


class _Programs(HTMLParser):
    """What a page would have a browser run: `scripts` within it, in their order, and `handlers` in attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self.inside = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.inside = tag == "script" and "src" not in dict(attributes)
        if self.inside:
            self.scripts.append("")
        for name, value in attributes:
            address = re.sub(r"[\s\x00-\x20]", "", value or "").lower()
            if name.startswith("on") or address.startswith(("javascript:", "data:text/html")) or name == "srcdoc":
                self.handlers.append(f"{name}={value}")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "script"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data


def policy(page: str) -> str:
    """The policy of a page, which admits the scripts that are in it."""
    digests = (hashlib.sha256(script.encode()).digest() for script in _Programs(page).scripts)
    hashes = sorted({f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests})
    return "; ".join(DIRECTIVES).format(hashes=" ".join(hashes)).replace(" ;", ";")  # where it has none


def with_policy(page: str) -> str:
    """The page with its policy in front of everything that the policy is about.

    Raises `ExtensionError` where the head does not begin as it should.
    """
    page = page.replace(*PRINT)
    element = f'<meta http-equiv="Content-Security-Policy" content="{policy(page)}" />'
    guarded, number = CHARSET.subn(lambda charset: f"{charset[0]}{element}", page)
    if number != 1 or "<script" in guarded[: guarded.index(element)]:
        raise ExtensionError("a page must declare UTF-8 once, before any script: its policy comes there")
    return guarded


def _check_text(_app: Sphinx, page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """A warning, which is an error in a strict build, for a program in the text: no label or record becomes one."""
    found = _Programs(context.get("body") or "")
    for program in (*found.scripts, *found.handlers):
        logger.warning("%s: the text holds a program: %s", page, " ".join(program.split())[:80])


def _drop_thebe(_app: Sphinx, doctree: nodes.document, _page: str) -> None:
    """Leave out what sphinx_thebe adds to each text: settings of a program that no page loads."""
    for node in list(doctree.findall(nodes.raw)):
        if "x-thebe-config" in node.astext() or node.astext().startswith("<script>kernelName"):
            node.parent.remove(node)


def _finish(app: Sphinx, failure: Exception | None) -> None:
    if failure is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for path in sorted(out.rglob("*.html")):
        if path.relative_to(out).parts[0] != "_static":  # the theme's templates
            write_whole(path, with_policy(path.read_text(encoding="utf-8")))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx; each step after all others of its kind."""
    app.connect("doctree-resolved", _drop_thebe, priority=900)
    app.connect("html-page-context", _check_text, priority=900)
    app.connect("build-finished", _finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

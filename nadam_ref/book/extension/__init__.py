"""What the pages need from Sphinx beyond Jupyter Book: the version, citations, and docstrings as written."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import inspect
from sphinx.util.docutils import SphinxDirective

import nadam_ref

from .. import find_root
from . import citation, citing

#: Theme options that _config.yml has no word for; ``html_theme_options`` there would delete the launch buttons.
THEME: dict[str, Any] = {
    "navbar_persistent": [],  # a second search button, in a bar of its own
    "primary_sidebar_end": [],  # a place for advertisements
    "use_fullscreen_button": False,
}

#: Code and references, which stay as they are, or else a sign that reStructuredText would take for markup.
MARKUP = re.compile(r"(``[^`]*``|`[^`]*`_?)|[|*]|(?<=\w)_(?!\w)")


class CiteThisBook(SphinxDirective):
    """``{cite-this-book}``: the book's own BibTeX entry, from CITATION.cff and the package's version."""

    def run(self) -> list[nodes.Node]:
        """The entry as a code block."""
        self.env.note_dependency(str(find_root() / "CITATION.cff"))
        entry = citation.bibtex(self.config.nadam_ref_citation, nadam_ref.__version__)
        return [nodes.literal_block(entry, entry, language="bibtex")]


def readable(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText that looks as the docstring does in the source.

    Formulas set off by indentation keep their lines, and no |g| or *arg is taken for markup. Directives are left as
    they are. That `x` is code is the ``default_role`` of _config.yml.
    """
    result: list[str] = []
    last = 0  # indentation of the last line
    outside: int | None = None  # indentation of what surrounds a directive or formula, while inside one
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        indent = len(block) - len(block.lstrip())
        if outside is not None and indent <= outside:
            outside = None
        if outside is None and block.lstrip().startswith(".. "):
            outside = indent
        elif outside is None and indent > last:
            result += [" " * last + "::", ""]
            outside = last
        elif outside is None:
            block = MARKUP.sub(lambda markup: markup[1] or f"\\{markup[0]}", block)
        result += [*block.split("\n"), ""]
        last = len(result[-2]) - len(result[-2].lstrip())
    return result


def _process_docstring(_app: Sphinx, what: str, name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = readable(lines)
    if what == "module":  # else it would run on from the module before
        lines[:0] = [f".. rubric:: {name}", ""]


def _skip_member(_app: Sphinx, _what: str, _name: str, member: Any, _skip: bool, _options: Any) -> bool | None:
    """Leave out the fields of named tuples, of which Python says but a number; the class's docstring explains them."""
    return True if (inspect.getdoc(member) or "").startswith("Alias for field number") else None


def _process_signature(
    _app: Sphinx, what: str, _name: str, thing: Any, _options: Any, signature: str, returns: str
) -> tuple[str, str]:
    """What a class is constructed with is what its ``__init__`` takes, even where ``__new__`` checks it first."""
    constructor = vars(thing).get("__init__") if what == "class" else None
    if constructor is not None:
        own = inspect.signature(constructor, bound_method=True)
        signature = inspect.stringify_signature(own, show_annotation=False)
    return signature, returns


def _configure(_app: Sphinx, config: Config) -> None:
    config.version = config.release = nadam_ref.__version__
    config.html_theme_options.update(THEME, logo={"text": config.html_title})


def _drop_thebe(_app: Sphinx, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """Leave out what sphinx_thebe, which Jupyter Book always loads, adds: it fails, and names another host."""
    for kind in ("script_files", "css_files"):
        if kind in context:
            context[kind] = [x for x in context[kind] if "thebe" not in f"{x.filename} {x.attributes.get('body')}"]


def _module_of_source(app: Sphinx, module: str, _: str) -> str | None:
    """The module in whose source a name is looked for; None: where it is defined.

    A source leads back to its names under one module's name, so it has no links for those that `experiments` hands on.
    """
    return module if module == "nadam_ref.experiments" else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.setup_extension("nadam_ref.book.extension.equations")
    app.setup_extension("nadam_ref.book.extension.facts")
    app.setup_extension("nadam_ref.book.extension.head")
    app.setup_extension("nadam_ref.book.extension.numbers")
    app.setup_extension("nadam_ref.book.extension.policy")
    app.setup_extension("nadam_ref.book.extension.typography")
    app.setup_extension("nadam_ref.book.extension.sizes")
    app.setup_extension("nadam_ref.book.extension.printing")
    app.add_directive("cite-this-book", CiteThisBook)
    app.setup_extension("nadam_ref.book.widgets.directive")
    app.setup_extension("sphinx.ext.viewcode")
    app.connect("viewcode-follow-imported", _module_of_source)
    app.connect("config-inited", _configure)
    app.connect("html-page-context", _drop_thebe, priority=900)
    app.connect("autodoc-process-signature", _process_signature)
    app.connect("autodoc-process-docstring", _process_docstring)
    app.connect("autodoc-skip-member", _skip_member)
    citing.connect(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""A chapter's number is that of its file: 21_word2vec is chapter 21, with Fig. 21.2, Table 21.3 and Equation (21.1).

So the numbers that people cite stay what they are when chapters come between.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def number(page: str) -> int | None:
    """The number of a chapter by its path, such as ``notebooks/08_nadam``; None for a page without one."""
    found = re.match(r"(\d+)_", page.rpartition("/")[2])
    return int(found[1]) if found else None


def _renumber(_app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Put the number of the file where Sphinx has counted: in titles, sections and contents, figures and equations."""
    for page, sections in env.toc_secnumbers.items():
        chapter = number(page)
        if chapter is None:
            continue
        for numbers in (sections, *env.toc_fignumbers.get(page, {}).values()):
            numbers.update({anchor: (chapter, *old[1:]) for anchor, old in numbers.items() if old})
        for node in (env.titles[page], *env.tocs[page].findall(nodes.reference)):
            if node.get("secnumber"):
                node["secnumber"] = [chapter, *node["secnumber"][1:]]
    return []


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("env-get-updated", _renumber, priority=900)  # after Sphinx and sphinx_external_toc have counted
    return {"parallel_read_safe": True, "parallel_write_safe": True}

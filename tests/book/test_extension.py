"""The Sphinx extension: docstrings as they are written, and the book's own citation."""

from __future__ import annotations

import textwrap

import docutils.core
import docutils.nodes
import pytest
from docutils.utils import Reporter

from nadam_ref.book.sphinx_extension import bibtex, readable

DOCSTRING = """
Of `code`, |g| and *arg; also update_ and μ_t, ``two`` and :emphasis:`role`.

`name`
    What the name means,

    m ← μ m + g
    n ← |g|

.. note:: A |bar| stays.

Last.

    θ ← θ − η m
    with *two* lines
"""


def parse(text: str) -> docutils.nodes.document:
    """As docutils reads it; any complaint is an exception."""
    lines = readable(textwrap.dedent(text).strip().splitlines())
    settings = {"halt_level": Reporter.WARNING_LEVEL, "report_level": Reporter.SEVERE_LEVEL}
    source = ".. |bar| replace:: substituted\n\n" + "\n".join(lines)
    return docutils.core.publish_doctree(source, settings_overrides=settings)


def test_docstrings_read_as_they_are_written() -> None:
    document = parse(DOCSTRING)
    first = next(document.findall(docutils.nodes.paragraph))
    assert first.astext() == "Of code, |g| and *arg; also update_ and μ_t, two and role."
    assert [code.astext() for code in document.findall(docutils.nodes.literal)] == ["code", "two", "name"]
    assert [e.astext() for e in document.findall(docutils.nodes.emphasis)] == ["role"]


def test_formulas_keep_their_lines() -> None:
    formulas = [block.astext() for block in parse(DOCSTRING).findall(docutils.nodes.literal_block)]
    assert formulas == ["θ ← θ − η m\nwith *two* lines"]


def test_directives_are_left_as_they_are() -> None:
    (note,) = parse(DOCSTRING).findall(docutils.nodes.note)
    assert note.astext() == "A substituted stays."


CITATION = {
    "title": "A title",
    "authors": [{"name": "The A authors"}, {"family-names": "Roe", "given-names": "Jane"}],
    "repository-code": "https://example.org/a",
    "date-released": "2026-02-03",
}


@pytest.mark.parametrize(
    "line",
    [
        "author  = {{The A authors} and Roe, Jane}",
        "title   = {A title}",
        "version = {1.2.3}",
        "year    = {2026}",
        "url     = {https://example.org/a}",
    ],
)
def test_bibtex_says_what_the_citation_file_says(line: str) -> None:
    assert f"  {line}" in bibtex(CITATION, "1.2.3").replace(",\n", "\n").splitlines()


def test_bibtex_is_read_by_a_bibtex_parser() -> None:
    from pybtex.database import parse_string

    entry = parse_string(bibtex(CITATION, "1.2.3"), "bibtex").entries["nadam_ref"]
    assert [str(person) for person in entry.persons["author"]] == ["{The A authors}", "Roe, Jane"]

"""The Sphinx extension: docstrings as they are written, formulas with the marks beside them."""

from __future__ import annotations

import textwrap
from types import SimpleNamespace

import docutils.core
import docutils.nodes
import yaml
from docutils.utils import Reporter
from rendered import soup
from small_book import ROOT, Built

from nadam_ref.book.extension import equations, readable, typography

DOCSTRING = """
Of `code`, (`delta`), |g| and *arg; also update_ and μ_t, ``two`` and :emphasis:`role`.

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
    """As Sphinx reads it with the book's default role; any complaint is an exception."""
    lines = readable(textwrap.dedent(text).strip().splitlines())
    settings = {"halt_level": Reporter.WARNING_LEVEL, "report_level": Reporter.SEVERE_LEVEL}
    role = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["sphinx"]["config"]["default_role"]
    source = f".. default-role:: {role}\n.. |bar| replace:: substituted\n\n" + "\n".join(lines)
    return docutils.core.publish_doctree(source, settings_overrides=settings)


def test_docstrings_read_as_they_are_written() -> None:
    document = parse(DOCSTRING)
    first = next(document.findall(docutils.nodes.paragraph))
    assert first.astext() == "Of code, (delta), |g| and *arg; also update_ and μ_t, two and role."
    assert [code.astext() for code in document.findall(docutils.nodes.literal)] == ["code", "delta", "two", "name"]
    assert [e.astext() for e in document.findall(docutils.nodes.emphasis)] == ["role"]


def test_every_name_in_backticks_is_code_on_the_page(built: Built) -> None:
    """Code that touches a letter or a sign would not be; its backticks would be seen."""
    for name in ("api", "contributors", "cells"):
        article = soup(built.html / "book" / f"{name}.html").article
        assert article.find("code", class_="literal")
        assert "`" not in article.text


def test_formulas_keep_their_lines() -> None:
    formulas = [block.astext() for block in parse(DOCSTRING).findall(docutils.nodes.literal_block)]
    assert formulas == ["θ ← θ − η m\nwith *two* lines"]


def test_directives_are_left_as_they_are() -> None:
    (note,) = parse(DOCSTRING).findall(docutils.nodes.note)
    assert note.astext() == "A substituted stays."


def test_no_line_ends_between_a_formula_and_the_mark_beside_it() -> None:
    parts = ["The ", "p", "-th root (", "a", ") of ", "b", "; ", "c", " stands ", "d", ""]
    kinds = (docutils.nodes.Text, lambda formula: docutils.nodes.math("", formula))
    document = docutils.core.publish_doctree("")
    document += docutils.nodes.paragraph("", "", *(kinds[n % 2](part) for n, part in enumerate(parts)))
    typography._glue(SimpleNamespace(builder=SimpleNamespace(format="html")), document, "page")
    kept = [x.astext() for x in document.findall(docutils.nodes.inline) if "unbroken" in x["classes"]]
    assert kept == ["p-th", "(a)", "b;"]
    assert document.astext() == "".join(parts)


def test_no_line_ends_between_a_number_and_what_it_is_of() -> None:
    text = "From 5 % to **+1.6 %**, of a % of ``7 %``, at η = 0.1 or *μ = .9*, rate = 1, n = −3.\n\n::\n\n 8 %"
    document = docutils.core.publish_doctree(text)
    typography._keep(SimpleNamespace(builder=SimpleNamespace(format="html")), document, "page")
    assert document.astext().replace("\xa0", "_") == (
        "From 5_% to +1.6_%, of a % of 7 %, at η_=_0.1 or μ_=_.9, rate = 1, n_=_−3.\n\n8 %"
    )


def test_how_the_tests_of_an_equation_are_found() -> None:
    source = """
UPDATES = {"eq-a": (partial(box, x=1), "η")}

@pytest.mark.parametrize("label", UPDATES)
def test_update(label):
    '''Its path is that of the box.'''

@pytest.mark.parametrize("label", ["eq-b"])
def test_other(label):
    '''Both sides
    are equal.'''
    assert EQUATIONS["eq-a"]
"""
    assert equations.checks(source) == {
        "eq-a": [("test_update", "Its path is that of `partial(box, x=1)`."), ("test_other", "Both sides are equal.")],
        "eq-b": [("test_other", "Both sides are equal.")],
    }

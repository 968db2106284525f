"""What a table or caption of a chapter shows is text: MyST finds no template, picture or HTML in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from docutils import nodes
from docutils.core import publish_doctree
from myst_parser.parsers.docutils_ import Parser
from small_book import ROOT

from nadam_ref.book.cells import show
from nadam_ref.tables import inert_markdown

EXTENSIONS = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["parse"]["myst_enable_extensions"]
RUN = "{{ cycler.__init__.__globals__.os.system('touch PROOF') }}"
TEXTS = {
    "plain": RUN,
    "escaped": "\\" + RUN,
    "in code": f"`{RUN}`",
    "in half code": f"`a {RUN} `` b",
    "in math": f"${RUN}$",
    "in half math": f"$ {RUN} $",
    "more braces": f"{{{RUN}}}",
    "across": "`a{`" + RUN[1:],
    "across math": "{$a$" + RUN,
    "two": f"{RUN} ` {RUN}",
}


def parse(markdown: str) -> nodes.document:
    settings = {"myst_enable_extensions": EXTENSIONS, "report_level": 5, "halt_level": 5}
    return publish_doctree(markdown, parser=Parser(), settings_overrides=settings)


def test_a_template_would_be_evaluated() -> None:
    """Why it matters: MyST's substitutions are Jinja's, and not only names."""
    assert "49" in parse("{{ 7 * 7 }}").astext()


@pytest.mark.parametrize("name", TEXTS)
def test_fault_76_a_template_in_a_table_or_a_caption_is_text(name: str, tmp_path: Path) -> None:
    proof = tmp_path / "it ran"
    hostile = TEXTS[name].replace("PROOF", str(proof))
    table = show.table(["rule", hostile], [[hostile, "1"]], name="tab-x", caption=f"Hostile: {hostile}")
    shown = parse(table.data)
    assert not proof.exists()
    assert "os.system" in shown.astext()
    assert "49" not in parse(inert_markdown(TEXTS[name].replace(RUN[3:-3], "7 * 7"))).astext()


@pytest.mark.parametrize("text", ["![x](https://example.org/x.png)", "`a ![x](/etc/passwd)``", "\\\\![x](x.png)"])
def test_fault_76_a_picture_in_a_table_is_not_loaded(text: str) -> None:
    assert list(parse(text).findall(nodes.image))
    shown = parse(show.table(["a"], [[text]], name="tab-x", caption=text).data)
    assert list(shown.findall(nodes.image)) == []


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))"]
)
def test_fault_76_html_and_programs_in_a_table_are_text(text: str) -> None:
    shown = parse(show.table(["a"], [[text]], name="tab-x", caption=text).data)
    assert list(shown.findall(nodes.raw)) == []
    assert not [x for x in shown.findall(nodes.reference) if "javascript" in x.get("refuri", "")]


def test_formulas_code_and_emphasis_keep_their_meaning() -> None:
    text = r"*a* $\frac{x_{1}}{2}$ `b{c}` [d](https://example.org) 5! {x}"
    assert inert_markdown(text) == text

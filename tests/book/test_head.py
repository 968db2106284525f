"""What a page says of itself to search engines and to those who share it."""

from __future__ import annotations

from pathlib import Path

import docutils.core
import yaml
from bs4 import BeautifulSoup
from docutils import nodes
from PIL import Image
from rendered import pages, soup
from small_book import ROOT

from nadam_ref.book.extension import head

REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
SITE = "https://nadam-ref.github.io/nadam-ref/"


def content(page: BeautifulSoup, name: str) -> str:
    (tag,) = page.select(f'meta[name="{name}"], meta[property="{name}"]')
    return str(tag["content"])


def test_the_address_follows_from_the_repository_s() -> None:
    assert head.site(REPOSITORY) == SITE
    assert head.site("https://github.com/Some-One/A.book/") == "https://some-one.github.io/A.book/"


def test_every_page_is_described_and_no_two_alike(html: Path) -> None:
    said = {page.relative_to(html).as_posix(): content(soup(page), "description") for page in pages(html)}
    assert {page: text for page, text in said.items() if not 40 <= len(text) <= 205} == {}
    assert len(set(said.values())) == len(said)
    assert [page for page, text in said.items() if "$" in text or "\\" in text or "<" in text] == []


def test_every_page_names_its_own_address(html: Path) -> None:
    for page in pages(html):
        (canonical,) = soup(page).select("link[rel=canonical]")
        assert canonical["href"] == SITE + page.relative_to(html).as_posix()
        assert content(soup(page), "og:url") == canonical["href"]


def test_a_shared_link_has_title_sentence_and_picture(html: Path) -> None:
    for page in [html / "index.html", *pages(html)]:
        there = soup(page)
        assert content(there, "og:title").strip()
        assert content(there, "og:description") == content(there, "description")
        assert content(there, "twitter:card") == "summary_large_image"
        assert content(there, "og:image") == f"{SITE}_static/shared.png"
    kinds = {page.name: content(soup(page), "og:type") for page in pages(html) if page.parent.name == "book"}
    assert {name for name, kind in kinds.items() if kind == "website"} == {"index.html"}


def test_the_picture_is_there_and_as_large_as_it_is_said_to_be(html: Path) -> None:
    page = soup(html / "book" / "index.html")
    with Image.open(html / "_static" / "shared.png") as image:
        assert (
            image.size == (int(content(page, "og:image:width")), int(content(page, "og:image:height"))) == (1200, 630)
        )
        assert len(image.getcolors(1 << 20)) > 100  # letters and lines, not an empty sheet


def test_the_home_page_has_its_title_once(whole_book: Path) -> None:
    assert soup(whole_book / "book" / "index.html").title.text == "Nadam, replicated"
    assert soup(whole_book / "book" / "index.html").select_one(".navbar-brand").text.strip() == "Nadam, replicated"
    assert "Nadam, replicated" in soup(whole_book / "book" / "glossary.html").title.text


# ---------------------------------------------------------------- descriptions


def page_of(text: str) -> nodes.document:
    return docutils.core.publish_doctree(f"Title\n=====\n\n{text}\n", settings_overrides={"doctitle_xform": False})


def test_a_description_is_the_first_sentences_that_say_enough() -> None:
    first, second = "A short one.", "A second that is long enough to be worth showing to anybody who looks for it."
    assert head.description(page_of(f"{first} {second} A third.")) == f"{first} {second}"
    assert head.description(page_of(f"{second}\n\n{first}")) == second


def test_a_description_ends_before_a_formula() -> None:
    long = "The rate decides how long a step is, and with it whether the steps end at all."
    assert head.description(page_of(f"The rate is :math:`\\eta`. {long}")) == long
    assert head.description(page_of(f"A word. The rate is :math:`\\eta`. {long}")) == "A word."
    assert head.description(page_of(f"An :math:`L_2` norm. {long}")) == f"An L2 norm. {long}"


def test_a_description_is_of_the_first_section_alone() -> None:
    assert head.description(page_of("A short one.\n\nNext\n----\n\nAnother one.")) == "A short one."


def test_a_long_sentence_is_cut_at_a_word() -> None:
    text = head.description(page_of("word " * 100))
    assert len(text) <= head.LONGEST + 2
    assert text.endswith("word …")

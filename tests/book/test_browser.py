"""Every rendered page in a browser, read from disk: at a first visit, in the dark, on a phone, on paper, by keys."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pypdf
import pytest
from browser import AXE, COLOURS_ONLY, PHONE, RUN_AXE, THIN_COLOURS, Seen, look, opened
from rendered import pages
from small_book import Built

Book = dict[str, Seen]
LIGHT_PAPER = "rgb(251, 251, 248)"
NOTHING = "rgba(0, 0, 0, 0)"


@pytest.fixture(scope="module")
def book(browser: Any, whole_book: Path, built: Built) -> Book:
    """Every page of the book as it was seen, by name, and those of a small book that are wider than any screen."""
    listings = set((whole_book / "_modules" / "nadam_ref").rglob("*.html"))  # one template around source code
    longest = max(listings, key=lambda page: page.stat().st_size)
    shown = [page for page in pages(whole_book) if page == longest or page not in listings]
    seen = {str(page.relative_to(whole_book)): look(browser, page) for page in shown}
    wide = [built.html / "book" / "index.html", *pages(built.html / "notebooks")]
    return seen | {f"small: {page.name}": look(browser, page) for page in wide}


def faults(book: Book, found: Callable[[Seen], Any]) -> dict[str, Any]:
    """What is found on each page where anything is."""
    return {name: fault for name, seen in book.items() if (fault := found(seen))}


def test_fault_81_no_page_asks_another_host(book: Book) -> None:
    assert faults(book, lambda seen: seen.asked) == {}


def test_the_console_is_silent(book: Book) -> None:
    assert faults(book, lambda seen: seen.console) == {}


def test_equations_are_typeset(book: Book) -> None:
    assert faults(book, lambda seen: seen.desk["raw"] + seen.desk["errors"]) == {}
    assert book["small: 01_first.html"].desk["equations"] >= 4  # in the text, two displayed, a reference to one of them


def test_images_are_there_and_described(book: Book) -> None:
    assert faults(book, lambda seen: seen.desk["undescribed"] + seen.desk["broken"]) == {}
    assert sum(len(seen.desk["drawings"]) for seen in book.values()) > 0


@pytest.mark.parametrize("screen", ["desk", "dark", "tablet", "phone"])
def test_nothing_reaches_out_of_the_screen(book: Book, screen: str) -> None:
    assert faults(book, lambda seen: getattr(seen, screen)["cut"]) == {}
    assert faults(book, lambda seen: getattr(seen, screen)["overflow"]) == {}


@pytest.mark.parametrize("screen", ["desk", "tablet", "phone"])
def test_no_figure_is_cut_and_no_verdict_hidden(book: Book, screen: str) -> None:
    assert faults(book, lambda seen: getattr(seen, screen)["scrolling"]) == {}
    assert faults(book, lambda seen: getattr(seen, screen)["verdicts"]) == {}


def test_on_a_phone_code_is_folded(book: Book) -> None:
    assert faults(book, lambda seen: seen.folded) == {}


def test_in_the_dark_a_figure_turns_light_and_any_other_picture_lies_on_light_paper(book: Book) -> None:
    assert {seen.desk["theme"] for seen in book.values()} == {"light"}
    assert {seen.dark["theme"] for seen in book.values()} == {"dark"}
    by_day = {tuple(drawing) for seen in book.values() for drawing in seen.desk["drawings"]}
    by_night = {tuple(drawing) for seen in book.values() for drawing in seen.dark["drawings"]}
    assert by_day == {("svg", NOTHING, "none"), ("png", NOTHING, "none")}
    assert by_night == {("svg", NOTHING, "invert(0.87) hue-rotate(180deg)"), ("png", LIGHT_PAPER, "none")}


def test_the_keyboard_reaches_everything_and_shows_where_it_is(book: Book) -> None:
    assert faults(book, lambda seen: seen.keyboard) == {}


def test_axe_finds_no_fault(book: Book) -> None:
    assert faults(book, lambda seen: seen.axe) == {}


PALE = """<html lang="en" data-theme="dark"><head><title>pale</title><style>
  [data-theme=dark] body {background: #111; color: #eee} [data-theme=light] body {background: #fff; color: #111}
  [data-theme=light] .by-day {color: #ccc} [data-theme=dark] .by-night {color: #333}
  tr:nth-child(odd) {background: #777}
</style></head><body><main><p>seen</p><p>seen</p><p style="color: #888">pale</p><p style="color: #888">pale</p>
  <p class="by-day">pale</p><p class="by-day">pale</p><p class="by-night">pale</p>
  <table><tr><td id="odd" style="color: #666">pale</td></tr><tr><td style="color: #999">in the light</td></tr></table>
</main></body></html>"""


def test_of_texts_that_look_alike_one_is_enough_and_no_other_is_passed_over(browser: Any) -> None:
    def pale(thinned: bool) -> tuple[set[str], set[str]]:
        """The elements whose colours axe finds fault with, in the dark and in the light."""
        tab = browser.new_page()
        tab.set_content(PALE)
        tab.evaluate(AXE)
        assert not thinned or tab.evaluate(THIN_COLOURS) == 6  # of nine texts
        in_the_dark = tab.evaluate(RUN_AXE, COLOURS_ONLY)
        tab.evaluate("() => document.documentElement.dataset.theme = 'light'")
        in_the_light = tab.evaluate(RUN_AXE, COLOURS_ONLY)
        tab.close()
        return tuple({fault.partition("<")[2] for fault in faults} for faults in (in_the_dark, in_the_light))  # type: ignore[return-value]

    everything, of_each_look = pale(False), pale(True)
    assert of_each_look == everything
    assert [len(faults) for faults in everything] == [2, 4]
    assert "by-night" in " ".join(everything[0]) and "by-day" in " ".join(everything[1])


def test_on_paper_there_is_the_text_and_all_of_it(book: Book) -> None:
    assert faults(book, lambda seen: seen.paper["controls"]) == {}
    assert faults(book, lambda seen: seen.paper["cut"]) == {}
    assert faults(book, lambda seen: seen.paper["closed"]) == {}


def test_on_paper_code_stays_folded(book: Book) -> None:
    assert faults(book, lambda seen: seen.paper["unfolded"]) == {}


def test_paper_is_light_and_the_screen_dark_again(book: Book) -> None:
    assert {(seen.paper["theme"], seen.paper["ground"]) for seen in book.values()} == {("light", "rgb(255, 255, 255)")}
    assert {seen.phone["theme"] for seen in book.values()} == {"dark"}


# ---------------------------------------------------------------- a reader at work


@pytest.fixture
def chapter(whole_book: Path) -> Path:
    return min((whole_book / "notebooks").glob("*.html"))


#: The element in focus: its place in the page, what it is, and what is written on it.
FOCUS = """() => {
  const e = document.activeElement;
  return [[...document.querySelectorAll("*")].indexOf(e), e.tagName, e.textContent.trim()];
}"""


def test_the_tab_key_goes_through_the_page_in_its_order(browser: Any, chapter: Path) -> None:
    with opened(browser, chapter.as_uri()) as (tab, _):
        links = tab.evaluate("() => document.querySelectorAll('a[href]').length")
        visited = []
        while len(visited) < 3 * links:
            tab.keyboard.press("Tab")
            place, tag, text = tab.evaluate(FOCUS)
            if tag == "BODY":
                break
            visited.append((place, text))
        assert visited[0][1] == "Skip to main content"
        assert tag == "BODY"  # the end was reached
        assert visited == sorted(visited)
        assert len(visited) > tab.evaluate("() => document.querySelectorAll('.bd-article a[href]').length") > 0


def test_the_first_link_leads_past_the_sidebar(browser: Any, chapter: Path) -> None:
    with opened(browser, chapter.as_uri()) as (tab, _):
        tab.keyboard.press("Tab")
        box = tab.locator("#pst-skip-link").bounding_box()
        assert min(box["x"], box["y"]) >= 0  # it shows itself
        tab.keyboard.press("Enter")
        tab.keyboard.press("Tab")
        assert tab.evaluate("() => document.activeElement.closest('main') !== null")


def test_on_a_phone_the_contents_open_and_close(browser: Any, chapter: Path) -> None:
    with opened(browser, chapter.as_uri(), PHONE) as (tab, seen):
        link = tab.locator(".bd-docs-nav a").first
        assert not link.is_visible()
        tab.click("button.primary-toggle")
        link.wait_for(state="visible")
        tab.keyboard.press("Escape")
        link.wait_for(state="hidden")
        assert seen.console == []


def test_the_search_works_without_a_server(browser: Any, whole_book: Path) -> None:
    with opened(browser, (whole_book / "book" / "api.html").as_uri()) as (tab, seen):
        tab.click("button.search-button-field")
        tab.keyboard.type("Nadam")
        tab.keyboard.press("Enter")
        tab.locator("p.search-summary", has_text="found").wait_for()
        found = [unquote(urlsplit(e.get_attribute("href")).path) for e in tab.locator("ul.search li a").all()]
        assert "notebooks/08_nadam.html" in found
        assert all((whole_book / path).is_file() for path in found)
        assert (seen.console, seen.asked) == ([], [])


def test_the_keyboard_reaches_a_figure_s_address_and_its_citation(browser: Any, built: Built) -> None:
    tab = browser.new_page()
    tab.goto((built.html / "notebooks" / "01_first.html").as_uri())
    link = tab.locator("#fig-picture-01-first figcaption a.headerlink")
    assert link.evaluate("e => getComputedStyle(e).opacity") == "0"
    for _ in range(2):  # out and back, as with the tabulator key: focus that is to be seen
        link.focus()
        tab.keyboard.press("Tab")
        tab.keyboard.press("Shift+Tab")
    assert link.evaluate("e => document.activeElement === e && getComputedStyle(e).opacity") == "1"
    tab.keyboard.press("Tab")
    assert tab.evaluate("() => document.activeElement.textContent") == "Source, data, cite: Figure 1.2"
    tab.keyboard.press("Enter")
    seen = []
    for _ in range(4):
        tab.keyboard.press("Tab")
        seen.append(tab.evaluate("() => document.activeElement.textContent"))
    assert seen == ["SVG", "PDF", "PNG", "CSV"]
    assert tab.locator(".cite-row details[open] pre").inner_text().startswith("@misc{nadam_ref:fig-picture-01-first,")
    assert tab.locator(".cite-row details[open] button.copybtn").is_visible()
    tab.close()


def test_the_open_details_can_be_filtered(browser: Any, built: Built) -> None:
    rows = "() => [...document.querySelectorAll('td .compared')].filter((e) => e.checkVisibility()).length"
    with opened(browser, (built.html / "book" / "open_details.html").as_uri()) as (tab, _):
        everything = tab.evaluate(rows)
        shown = []
        for name in ("Different", "The same", "Not known", "All"):
            tab.get_by_role("radio", name=name).check()
            shown.append(tab.evaluate(rows))
            assert f"({shown[-1]})" in tab.locator(".filter label", has_text=name).inner_text()
        assert everything == shown[-1] == sum(shown[:-1]) > max(shown[:-1]) > 0


def test_a_printed_page_has_its_chapter_and_address_at_its_edges(browser: Any, built: Built) -> None:
    page = built.html / "book" / "open_details.html"
    address = re.search(r'@top-right { content: "([^"]+)"', page.read_text(encoding="utf-8"))
    with opened(browser, page.as_uri()) as (tab, _):
        text = "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(tab.pdf(format="A4"))).pages)
    assert "Open details and errata" in text.splitlines()[0]
    assert address and text.count(address[1]) >= 3
    assert "TensorFlow" in text

"""The rendered pages in a browser, read from disk: typeset, complete, within the screen, and asking no other host."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_book import Built

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

PAGES = ("book/index", "book/api", "book/cite", "book/bibliography", "notebooks/01_first", "search")
WIDTHS = {"desktop": 1280, "phone": 390}
QUIET = ("no-sandbox", "disable-gpu", "disable-background-networking", "disable-component-update", "disable-sync")

#: What a page shows, as one object. `cut` are elements that reach out of the screen and not out of a box that scrolls.
INSPECT = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const scrolls = (e) => e && (/auto|scroll/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  return {
    equations: all("main mjx-container").length,
    raw: all("main .math").filter((e) => !e.querySelector("mjx-container")).length,
    errors: all("mjx-merror, [data-mml-node='merror']").length,
    unnamed: all("img").filter((e) => !e.alt).map((e) => e.outerHTML),
    broken: all("img").filter((e) => e.complete && !e.naturalWidth).map((e) => e.outerHTML),
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    cut: all(".bd-article :is(table, pre, figure, img, svg, mjx-container, dt, p)")
      .filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1 && !scrolls(e.parentElement))
      .map((e) => e.outerHTML.slice(0, 80)),
    unreachable: all(".bd-article :is(pre, div.math, .pst-scrollable-table-container)")
      .filter((e) => e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0).length,
    unlabelled: all("button").filter((e) => !(e.textContent.trim() || e.ariaLabel || e.title)).length,
    theme: document.documentElement.dataset.theme,
    paper: all(".bd-article figure img").map((e) => getComputedStyle(e).backgroundColor),
  };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=[f"--{name}" for name in (*QUIET, "no-first-run")])
        yield chromium
        chromium.close()


def look(browser: Any, root: Path, page: str, width: int = 1280, mode: str = "light") -> dict[str, Any]:
    """A page's `INSPECT`, with what it printed on the console and which other hosts it asked for."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.add_init_script(f"for (const k of ['mode', 'theme']) localStorage.setItem(k, '{mode}')")
    tab = context.new_page()
    console: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda line: console.append(line.text) if line.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: console.append(str(error)))
    tab.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else asked.append(r.url))
    tab.goto((root / f"{page}.html").as_uri(), wait_until="load")
    tab.evaluate("() => window.MathJax?.startup?.promise?.then(() => new Promise(requestAnimationFrame))")
    found = dict(tab.evaluate(INSPECT))
    context.close()
    return {**found, "console": console, "asked": asked}


@pytest.fixture(scope="module", params=[(page, name) for page in PAGES for name in WIDTHS], ids="-".join)
def seen(request: pytest.FixtureRequest, browser: Any, built: Built) -> dict[str, Any]:
    page, name = request.param
    return {**look(browser, built.root / "_build" / "html", page, WIDTHS[name]), "page": page}


def test_fault_81_no_page_asks_another_host(seen: dict[str, Any]) -> None:
    assert seen["asked"] == []


def test_the_console_is_silent(seen: dict[str, Any]) -> None:
    assert seen["console"] == []


def test_equations_are_typeset(seen: dict[str, Any]) -> None:
    assert (seen["raw"], seen["errors"]) == (0, 0)
    if seen["page"].startswith("notebooks/"):
        assert seen["equations"] == 5  # ℝ in the text, two displayed, a reference to one of them, μ in a caption


def test_images_are_there_and_described(seen: dict[str, Any]) -> None:
    assert (seen["unnamed"], seen["broken"]) == ([], [])


def test_nothing_reaches_out_of_the_screen(seen: dict[str, Any]) -> None:
    assert (seen["overflow"], seen["cut"]) == (0, [])


def test_the_keyboard_reaches_everything(seen: dict[str, Any]) -> None:
    assert (seen["unreachable"], seen["unlabelled"]) == (0, 0)


def test_in_the_dark_a_figure_lies_on_light_paper(browser: Any, built: Built) -> None:
    root = built.root / "_build" / "html"
    light, dark = (look(browser, root, "notebooks/01_first", mode=mode) for mode in ("light", "dark"))
    assert (light["theme"], dark["theme"]) == ("light", "dark")
    assert set(light["paper"]) == {"rgba(0, 0, 0, 0)"}
    assert set(dark["paper"]) == {"rgb(251, 251, 248)"}


def test_the_keyboard_reaches_a_figure_s_address_and_its_citation(browser: Any, built: Built) -> None:
    tab = browser.new_page()
    tab.goto((built.root / "_build" / "html" / "notebooks" / "01_first.html").as_uri())
    link = tab.locator("#fig-picture-01-first figcaption a.headerlink")
    assert link.evaluate("e => getComputedStyle(e).opacity") == "0"
    for _ in range(2):  # out and back, as with the tabulator key: focus that is to be seen
        link.focus()
        tab.keyboard.press("Tab")
        tab.keyboard.press("Shift+Tab")
    assert link.evaluate("e => document.activeElement === e && getComputedStyle(e).opacity") == "1"
    seen = []
    for _ in range(5):
        tab.keyboard.press("Tab")
        seen.append(tab.evaluate("() => document.activeElement.textContent"))
    assert seen == ["SVG", "PDF", "PNG", "CSV", "Cite Figure 1.2"]
    tab.keyboard.press("Enter")
    assert tab.locator(".cite-row details[open] pre").inner_text().startswith("@misc{nadam_ref:fig-picture-01-first,")
    assert tab.locator(".cite-row details[open] button.copybtn").is_visible()
    tab.close()

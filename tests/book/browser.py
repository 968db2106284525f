"""A page in headless Chromium, read from disk: loaded once, looked at on a desk, in the dark, on a phone, on paper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python, which carries axe-core, is missing")

AXE = Path(axe.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
DESK, TABLET, PHONE, PAPER = ({"width": width, "height": 900} for width in (1280, 768, 390, 718))  # A4 less its margins

#: What a page shows, as one object. `cut` are elements that reach out of the screen and not out of a box that scrolls.
INSPECT = r"""() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const scrolls = (e) => e && (/auto|scroll/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const isTeX = (node) => node.nodeType === Node.TEXT_NODE && /\\[(\[]|\$\$|\\begin\{/.test(node.data);
  const prose = all("main :not(pre, pre *, code, code *, script, style, mjx-container, mjx-container *)");
  return {
    equations: all("main mjx-container").length,
    raw: [
      ...prose.filter((e) => [...e.childNodes].some(isTeX)),
      ...all("main .math").filter((e) => !e.querySelector("mjx-container")),
    ].map((e) => e.outerHTML.slice(0, 200)),
    errors: all("mjx-merror, [data-mml-node='merror']").map((e) => e.outerHTML),
    undescribed: all("img").filter((e) => !e.alt).map((e) => e.outerHTML),
    broken: all("img").filter((e) => e.complete && !e.naturalWidth).map((e) => e.outerHTML),
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    cut: all(".bd-article :is(table, pre, figure, img, svg, canvas, button, input, mjx-container, dt, p, li)")
      .filter((e) => e.getBoundingClientRect().right > window.innerWidth + 1 && !scrolls(e.parentElement))
      .map((e) => e.outerHTML.slice(0, 80)),
    scrolling: all(".bd-article :is(figure, figure *)").filter((e) => e.scrollWidth > e.clientWidth + 1 && e.clientWidth
      && scrolls(e)).map((e) => e.outerHTML.slice(0, 120)),
    verdicts: all(".bd-article th").filter((e) => e.textContent.trim() === "verdict"
      && e.getBoundingClientRect().right > window.innerWidth).length,
    theme: document.documentElement.dataset.theme,
    drawings: all(".bd-article :is(figure, .cell_output) img").map((e) => [e.src.split(".").pop(), getComputedStyle(e)])
      .map(([kind, style]) => [kind, style.backgroundColor, style.filter]),
  };
}"""

#: On paper nothing can be scrolled or opened.
INSPECT_PAPER = """() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const controls = ".bd-sidebar, .bd-header-article, .skip-link, .prev-next-footer, .headerlink, button, dialog";
  return {
    controls: all(controls).filter((e) => e.checkVisibility() && e.getClientRects().length).map((e) => e.className),
    cut: all(".bd-article, .bd-article *").filter((e) => e.clientWidth && !e.closest("svg, mjx-assistive-mml")
      && (e.getBoundingClientRect().right > window.innerWidth + 1
        || (e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible")))
      .map((e) => e.outerHTML.slice(0, 80)),
    closed: all(".bd-article details:not(.cite, .above-input) > :not(summary, .cite-row)")
      .filter((e) => !e.checkVisibility({contentVisibilityAuto: true}))
      .map((e) => e.outerHTML.slice(0, 80)),
    unfolded: all(".bd-article details:is(.cite, .above-input) *").filter((e) => e.getClientRects().length
      && e.checkVisibility({contentVisibilityAuto: true})).map((e) => e.outerHTML.slice(0, 80)),
    theme: document.documentElement.dataset.theme,
    ground: getComputedStyle(document.body).backgroundColor,
  };
}"""

#: Every control in the order of the keyboard, and what is wrong with it. To be run after a key was pressed.
CONTROLS = """() => {
  const controls = "a[href], button, input, select, textarea, summary, [tabindex], [onclick], [role=button]";
  const shown = [...document.querySelectorAll(controls)].filter((e) =>
    e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length && !e.disabled
    && e.getAttribute("tabindex") !== "-1");
  const scrollers = [...document.querySelectorAll(".bd-article *")].filter((e) => e.scrollWidth > e.clientWidth + 1
    && /auto|scroll/.test(getComputedStyle(e).overflowX) && e.clientWidth);
  const faults = [];
  const fault = (e, what) => faults.push(`${what}: ${e.outerHTML.slice(0, 120)}`);
  for (const e of scrollers) if (e.tabIndex < 0) fault(e, "scrolls, but not by the keyboard");
  for (const e of shown) {
    if (e.tabIndex > 0) fault(e, "jumps the queue");
    if (e.tabIndex < 0) fault(e, "out of the keyboard's reach");
    e.focus({preventScroll: true});
    const style = getComputedStyle(e);
    const lit = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    if (document.activeElement !== e) fault(e, "takes no focus");
    else if (!lit) fault(e, "does not show that it has the focus");
  }
  return faults;
}"""

#: Code of a chapter that shows itself: none on a phone, until a reader opens it.
LISTINGS = """() => [...document.querySelectorAll(".bd-article :is(.cell_input, .highlight-python) pre")]
  .filter((e) => e.closest(".cell") && e.checkVisibility({contentVisibilityAuto: true}))
  .map((e) => e.textContent.slice(0, 80))"""

#: Shows what a reader would open, and what shows itself only at times.
OPEN = """() => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  document.getElementById("pst-back-to-top").style.display = "block";
}"""

#: For axe, which looks at every element: of the thousands of coloured words in listings one of each kind is enough,
#: and the strokes of equations have no meaning; their MathML has.
THIN = """() => {
  const seen = new Set();
  for (const word of document.querySelectorAll(".highlight span[class]")) {
    const kind = `${word.className} ${word.closest(".cell_input, .cell_output, details, article").className}`;
    if (seen.has(kind)) word.replaceWith(...word.childNodes);
    seen.add(kind);
  }
  for (const drawing of document.querySelectorAll("mjx-container > svg")) drawing.replaceChildren();
}"""

#: For axe's comparison of colours, which looks at every text and takes most of a visit: of the texts that look alike in
#: both themes, from their own letters through all grounds behind them, the first one is enough.
THIN_COLOURS = """() => {
  const root = document.documentElement, walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walk.nextNode()) if (walk.currentNode.data.trim()) texts.push(walk.currentNode);
  const looks = (theme) => {
    root.dataset.theme = theme;
    const grounds = new Map(), numbers = new Map([["", 0]]);
    const ground = (e) => {
      if (!e) return 0;
      if (!grounds.has(e)) {
        const { backgroundColor, backgroundImage, opacity, filter, position, mixBlendMode } = getComputedStyle(e);
        const own = [backgroundColor, backgroundImage, opacity, filter, position, mixBlendMode];
        const look = [ground(e.parentElement), ...own].join(" ");
        if (!numbers.has(look)) numbers.set(look, numbers.size);
        grounds.set(e, numbers.get(look));
      }
      return grounds.get(e);
    };
    return texts.map(({ parentElement: e }) => {
      const { color, fontSize, fontWeight, textShadow, visibility } = getComputedStyle(e);
      return [ground(e), color, fontSize, fontWeight, textShadow, visibility, e.closest("svg") ? "svg" : ""].join(" ");
    });
  };
  const before = root.dataset.theme, dark = looks("dark"), light = looks("light"), seen = new Set();
  root.dataset.theme = before;
  texts.forEach((text, i) => {
    const look = `${dark[i]} | ${light[i]}`;
    if (seen.has(look)) text.data = "";
    seen.add(look);
  });
  return seen.size;
}"""

RUN_AXE = """async (rules) => {
  const found = await axe.run(document, {resultTypes: ["violations"], preload: false, ...rules});
  return found.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target} ${n.html.slice(0, 120)}`));
}"""
COLOURS_ONLY = {"runOnly": ["color-contrast"]}
ALL_BUT_COLOURS = {"rules": {"color-contrast": {"enabled": False}}}


@dataclass
class Seen:
    """One page as it was seen. `console`: what it printed there; `asked`: addresses on other hosts it asked for;
    `folded`: code that a phone shows although no reader has opened it.
    """

    console: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    keyboard: list[str] = field(default_factory=list)
    desk: dict[str, Any] = field(default_factory=dict)
    dark: dict[str, Any] = field(default_factory=dict)
    tablet: dict[str, Any] = field(default_factory=dict)
    phone: dict[str, Any] = field(default_factory=dict)
    folded: list[str] = field(default_factory=list)
    paper: dict[str, Any] = field(default_factory=dict)
    axe: list[str] = field(default_factory=list)


@contextmanager
def opened(
    browser: Any, address: str, size: dict[str, int] = DESK, *, typeset: bool = True
) -> Iterator[tuple[Any, Seen]]:
    """A page as on a reader's first visit, and a `Seen` that goes on listening.

    Without `typeset`, which takes most of a visit, equations stay as they are written.
    """
    context = browser.new_context(viewport=size, color_scheme="light", reduced_motion="reduce")
    context.set_default_timeout(120_000)  # a busy machine is no fault of the page
    tab, seen = context.new_page(), Seen()
    tab.on("console", lambda line: seen.console.append(line.text) if line.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: seen.console.append(str(error)))
    tab.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else seen.asked.append(r.url))
    if not typeset:
        tab.route("**/mathjax/*", lambda route: route.fulfill(content_type="text/javascript", body=""))
    tab.goto(address, wait_until="load")
    settle(tab)
    yield tab, seen
    context.close()


def settle(tab: Any) -> None:
    """Wait until equations are typeset and what follows from them is drawn."""
    tab.evaluate("() => window.MathJax?.startup?.promise?.then(() => new Promise(requestAnimationFrame))")
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def darken(tab: Any) -> None:
    """Press the page's own button until it is dark."""
    for _ in range(3):
        if tab.evaluate("() => document.documentElement.dataset.theme") == "dark":
            break
        tab.click("button.theme-switch-button")
    tab.mouse.move(0, 0)  # and leave the button, or its tooltip stays


def look(browser: Any, page: Path) -> Seen:
    """Everything that the tests ask about a page, from one visit."""
    with opened(browser, page.as_uri()) as (tab, seen):
        seen.desk = tab.evaluate(INSPECT)
        tab.keyboard.press("Tab")
        seen.keyboard = tab.evaluate(CONTROLS)
        darken(tab)
        seen.dark = tab.evaluate(INSPECT)
        tab.emulate_media(media="print")
        tab.set_viewport_size(PAPER)
        settle(tab)
        seen.paper = tab.evaluate(INSPECT_PAPER)
        tab.emulate_media(media="screen")
        tab.set_viewport_size(TABLET)
        settle(tab)
        seen.tablet = tab.evaluate(INSPECT)
        tab.set_viewport_size(PHONE)
        settle(tab)
        seen.folded = tab.evaluate(LISTINGS)
        tab.evaluate(OPEN)
        settle(tab)
        seen.phone = tab.evaluate(INSPECT)
        tab.evaluate("() => document.activeElement.blur()")
        tab.evaluate(THIN)
        tab.evaluate(AXE)
        on_phone = tab.evaluate(RUN_AXE, ALL_BUT_COLOURS)
        tab.set_viewport_size(DESK)
        in_the_light = tab.evaluate(RUN_AXE, ALL_BUT_COLOURS)
        tab.evaluate(THIN_COLOURS)
        in_the_dark = tab.evaluate(RUN_AXE, COLOURS_ONLY)
        tab.evaluate("() => document.documentElement.dataset.theme = 'light'")
        seen.axe = [*tab.evaluate(RUN_AXE, COLOURS_ONLY), *in_the_light, *in_the_dark, *on_phone]
    return seen


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a plain web server of a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()

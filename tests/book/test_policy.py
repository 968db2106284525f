"""The content-security policy of the pages: what runs under it, from disk and from a server, and what does not."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from browser import served
from bs4 import BeautifulSoup
from rendered import pages
from small_book import Built
from sphinx.errors import ExtensionError

from nadam_ref.book.build import archive
from nadam_ref.book.extension import policy

#: Counts what a page's policy refused, from its first script on.
LISTEN = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (e) =>
  refused.push(`${e.effectiveDirective} ${e.blockedURI} ${e.sample}`));
"""
#: What an attacker would plant in a page; each one would leave a name in `window.ran`.
PLANTED = {
    "script": "<script>(window.ran ||= []).push('script')</script>",
    "handler": "<img src='missing.png' onerror=\"(window.ran ||= []).push('handler')\">",
    "svg": "<svg onload=\"(window.ran ||= []).push('svg')\"></svg>",
    "address": "<a id='planted' href=\"javascript:(window.ran ||= []).push('address')\">x</a>",
    "elsewhere": "<script src='https://example.org/x.js'></script>",
    "data": "<script src=\"data:text/javascript,(window.ran ||= []).push('data')\"></script>",
    "frame": "<iframe srcdoc=\"<script>(parent.ran ||= []).push('frame')</script>\"></iframe>",
    "picture": "<img src='https://example.org/x.png'>",
    "object": "<object data='https://example.org/x'></object>",
    "style": "<style>body { background: url(https://example.org/x.png) }</style>",
}


@pytest.fixture(params=["file", "http"])
def address(request: pytest.FixtureRequest, whole_book: Path) -> Iterator[str]:
    """Where the book is read: from a folder, as the zip is, and from a server."""
    if request.param == "file":
        yield whole_book.as_uri()
    else:
        with served(whole_book) as url:
            yield url


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[[str], Any]]:
    """Opens a page in which `window.refused` lists what its policy refused."""
    context = browser.new_context(reduced_motion="reduce")
    context.set_default_timeout(120_000)
    context.add_init_script(LISTEN)
    tab = context.new_page()

    def go(url: str) -> Any:
        tab.goto(url, wait_until="load")
        tab.evaluate("() => window.MathJax?.startup?.promise")
        return tab

    yield go
    context.close()


def refused(tab: Any) -> list[str]:
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
    return [str(line) for line in tab.evaluate("() => refused")]


# ---------------------------------------------------------------- the book under its policy


def test_fault_113_every_page_has_a_policy_before_anything_else(html: Path) -> None:
    others = [html / "index.html", *(html / "embed").glob("*.html")]
    for page in [*others, *pages(html)]:
        charset, element, *_ = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").head.find_all(True)
        assert charset.attrs == {"charset": "utf-8"}, page
        assert element["http-equiv"] == "Content-Security-Policy", page
        rules = {name: words for name, *words in map(str.split, str(element["content"]).split(";"))}
        own = {"'self'", "file:"}
        assert set(rules["default-src"]) == set(rules["form-action"]) == own
        assert set(rules["img-src"]) == own | {"data:"}
        assert set(rules["style-src"]) == own | {"'unsafe-inline'"}
        assert rules["object-src"] == rules["base-uri"] == ["'none'"]
        assert {word for word in rules["script-src"] if not word.startswith("'sha256-")} == own


@pytest.mark.slow  # what is refused is in the console too, and `test_the_console_is_silent` looks there
def test_fault_113_no_page_of_the_book_offends_its_policy(
    visit: Callable[[str], Any], address: str, whole_book: Path
) -> None:
    found = {}
    for page in [*(whole_book / "embed").glob("*.html"), *pages(whole_book)]:  # the index only leads on
        name = page.relative_to(whole_book).as_posix()
        if name.startswith("_modules/nadam_ref/"):
            continue  # one template around source code: `test_the_console_is_silent` visits one
        if lines := refused(visit(f"{address}/{name}")):
            found[name] = lines
    assert found == {}


def test_fault_113_what_a_page_can_do_it_can_do_under_its_policy(
    visit: Callable[[str], Any], address: str, whole_book: Path
) -> None:
    name = min(x.relative_to(whole_book).as_posix() for x in (whole_book / "notebooks").glob("*.html"))
    tab = visit(f"{address}/{name}")
    theme = "() => document.documentElement.dataset.theme"
    before = tab.evaluate(theme)
    for _ in range(3):
        tab.click("button.theme-switch-button >> visible=true")
    seen = {before, tab.evaluate(theme)}
    tab.click("button.theme-switch-button >> visible=true")
    assert seen | {tab.evaluate(theme)} >= {"light", "dark"}
    assert tab.locator("mjx-container svg").count() > 0
    assert tab.evaluate("() => document.querySelector('.play').widget.state.t") >= 0
    tab.evaluate("() => { window.print = () => { window.printed = true; } }")
    tab.evaluate("() => document.querySelector('[data-print]').click()")
    assert tab.evaluate("() => window.printed")
    binder, colab = (tab.locator(f'a[href*="{host}"]').count() for host in ("mybinder.org", "colab.research.google"))
    assert binder and colab  # links, to which no policy applies
    tab.click("button.search-button-field >> visible=true")
    tab.keyboard.type("accumulator")
    tab.keyboard.press("Enter")
    tab.locator("p.search-summary", has_text="found").wait_for()
    assert tab.locator("ul.search li a").count() > 0
    assert refused(tab) == []


def test_fault_113_the_widget_works_within_another_page(
    visit: Callable[[str], Any], address: str, tmp_path: Path
) -> None:
    frame = f"{address}/embed/optimizers.html#w=alone&p=nadam"
    host = tmp_path / "host.html"
    host.write_text(f'<!doctype html><title>x</title><iframe src="{frame}" width="800" height="600"></iframe>')
    tab = visit(host.as_uri())
    inside = tab.frames[-1]
    inside.locator(".play-step").wait_for()
    assert inside.evaluate("() => refused") == []


HOSTILE_ADDRESS = 'w=fig-play&of=<img src=x onerror=f()>&f="><script>f()</script>&show=<b>&dialect=__proto__'


def test_fault_113_an_address_puts_nothing_into_a_page(visit: Callable[[str], Any], built: Built) -> None:
    """The part behind # is the widget's state, and may come from anybody's link."""
    page = (built.html / "book" / "index.html").as_uri()
    state = "() => document.querySelector('#fig-play .play').widget.state"
    preset = visit(page).evaluate(state)
    tab = visit("about:blank")
    tab = visit(f"{page}#{HOSTILE_ADDRESS}")
    assert tab.evaluate(state) == preset
    assert tab.evaluate("() => document.querySelectorAll('.play :is(script, [onerror])').length") == 0
    assert refused(tab) == []


@pytest.mark.parametrize("planted", PLANTED)
def test_fault_113_what_is_planted_in_a_page_does_not_run(
    planted: str, visit: Callable[[str], Any], built: Built, browser: Any
) -> None:
    page = built.html / "book" / "cite.html"
    text = page.read_text(encoding="utf-8")
    copy = page.with_name(f"planted_{planted}.html")
    copy.write_text(text.replace("</article>", f"{PLANTED[planted]}</article>", 1), encoding="utf-8")
    try:
        tab = visit(copy.as_uri())
        if planted == "address":
            tab.click("#planted")
        assert tab.evaluate("() => window.ran") is None
        inside = [line for frame in tab.frames[1:] for line in frame.evaluate("() => window.refused ?? []")]
        assert len(refused(tab) + inside) == 1
        without = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", copy.read_text(encoding="utf-8"))
        copy.write_text(without, encoding="utf-8")
        tab = visit(copy.as_uri())
        if planted == "address":
            tab.click("#planted")
        assert refused(tab) == []  # it was the policy that refused it
        runs = tab.evaluate("() => window.ran")
        assert runs == ([planted] if "ran ||=" in PLANTED[planted] else None)
    finally:
        copy.unlink()


def test_fault_113_the_zip_is_read_from_a_folder(visit: Callable[[str], Any], built: Built, tmp_path: Path) -> None:
    target = tmp_path / "book.zip"
    archive.write(built.html, target)
    with zipfile.ZipFile(target) as zipped:
        zipped.extractall(tmp_path)
    tab = visit((tmp_path / "book" / "notebooks" / "01_first.html").as_uri())
    assert tab.locator("mjx-container svg").count() >= 4
    tab = visit((tmp_path / "book" / "book" / "index.html").as_uri())
    assert tab.evaluate("() => document.querySelectorAll('.play').length") == 2
    assert tab.evaluate("() => [...document.querySelectorAll('.play')].every((place) => place.widget)")
    assert refused(tab) == []


# ---------------------------------------------------------------- how it is made

PAGE = '<html><head><meta charset="utf-8" /><script>a = 1\n</script>{}</head><body>{}</body></html>'


def test_a_script_is_admitted_by_its_hash() -> None:
    expected = base64.b64encode(hashlib.sha256(b"a = 1\n").digest()).decode()
    assert f"script-src 'self' file: 'sha256-{expected}';" in policy.policy(PAGE.format("", ""))
    assert "script-src 'self' file:;" in policy.policy("<p>x</p>")
    assert "script-src 'self' file:;" in policy.policy('<script src="x.js"></script>')


@pytest.mark.parametrize(
    "page",
    ["<html></html>", PAGE.replace("utf-8", "latin-1"), '<script></script><meta charset="utf-8">'],
    ids=["none", "latin-1", "late"],
)
def test_a_page_that_cannot_be_guarded_is_an_error(page: str) -> None:
    with pytest.raises(ExtensionError, match="its policy comes there"):
        policy.with_policy(page)


HOSTILE = {
    "<script>alert(1)</script>": "alert(1)",
    "<SCRIPT type=module>alert(2)</SCRIPT>": "alert(2)",
    "<b onclick='alert(3)'>x</b>": "onclick=alert(3)",
    "<a href=' java\tscript:alert(4)'>x</a>": "href= java script:alert(4)",
    "<iframe srcdoc='<b>'></iframe>": "srcdoc=<b>",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_fault_113_a_program_in_the_text_of_a_page_fails_the_build(text: str, caplog: pytest.LogCaptureFixture) -> None:
    warned: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "logger", SimpleNamespace(warning=lambda line, *words: warned.append(line % words)))
        policy._check_text(SimpleNamespace(), "a/page", "page.html", {"body": f"<p>{text}</p>"}, None)
    assert warned == [f"a/page: the text holds a program: {HOSTILE[text]}"]


def test_text_that_speaks_of_programs_is_no_program() -> None:
    harmless = '<p>&lt;script&gt;alert(1)&lt;/script&gt;</p><code>onclick="x"</code><script src="x.js"></script>'
    found = policy._Programs(harmless)
    assert (found.scripts, found.handlers) == ([], [])

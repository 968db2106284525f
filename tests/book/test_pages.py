"""The rendered pages as files: links, launch buttons, weight, and what the search knows."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from rendered import pages, soup
from small_book import ROOT

from nadam_ref.book.extension import equations

REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
URL, BRANCH = REPOSITORY["url"], REPOSITORY["branch"]
OWNER = URL.removeprefix("https://github.com/")
HEAVIEST = 500_000  # bytes
REFERENCES = {"a": "href", "link": "href", "script": "src", "img": "src", "source": "srcset", "object": "data"}


def references(page: Path, *tags: str) -> list[str]:
    """The addresses in a page's elements, those of `tags` only if asked."""
    return [e[REFERENCES[e.name]] for e in soup(page).select(",".join(tags or REFERENCES)) if e.get(REFERENCES[e.name])]


def is_local(address: str) -> bool:
    parts = urlsplit(address)
    return not parts.scheme and not parts.netloc


def target(page: Path, address: str) -> Path:
    """The file that a relative address names."""
    path = unquote(urlsplit(address).path)
    return (page.parent / path).resolve() if path else page


@cache
def identifiers(page: Path) -> set[str]:
    return {str(e["id"]) for e in soup(page).select("[id]")}


def test_every_link_within_the_book_leads_somewhere(html: Path) -> None:
    missing = []
    for page in pages(html):
        for address in filter(is_local, references(page)):
            there, anchor = target(page, address), unquote(urlsplit(address).fragment)
            found = there.is_file() and (not anchor or anchor in identifiers(there))
            missing += [] if found else [f"{page.relative_to(html)}: {address}"]
    assert missing == []


def test_everything_with_numbers_in_it_can_be_cited_and_taken_along(whole_book: Path) -> None:
    """Every numbered figure, and every numbered table but those of text that chapters and pages themselves have."""
    bare, texts = [], []
    for page in pages(whole_book):
        for number in soup(page).select("article .caption-number"):
            thing = number.find_parent(["figure", "table"])
            after = (thing.find_parent(class_="pst-scrollable-table-container") or thing).find_next_sibling()
            cited = after is not None and "cite-row" in after.get("class", []) and after.select("a[download]")
            bare += [] if cited else [str(thing["id"])]
    for path in [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "book").glob("*.md")]:
        texts += re.findall(r":name: (tab-[\w-]+)", path.read_text(encoding="utf-8"))
    assert sorted(bare) == sorted(texts)


def test_every_toggle_on_a_page_has_a_name_of_its_own_and_none_is_beside_another(html: Path) -> None:
    """But solutions, which follow their exercise."""
    for page in pages(html):
        toggles = soup(page).select("article details.hide > summary, article .cite-row summary")
        names = [toggle.select_one(".collapsed") or toggle for toggle in toggles]
        texts = [name.get_text(strip=True) for name in names]
        assert len(set(texts)) == len(texts), (page.name, sorted(texts))
        assert all(text not in ("Show the code", "Hide the code") for text in texts), page.name
        assert not any(toggle.has_attr("aria-label") for toggle in toggles)  # what is written is the name
        for cell in soup(page).select("article div.cell"):
            following = cell.find_next_sibling()
            alone = not (cell.select("details.above-input") and following and following.select("details.above-input"))
            assert alone, (page.name, cell.get_text()[:80])


def test_every_displayed_equation_leads_to_its_test(whole_book: Path) -> None:
    there = (whole_book / "book" / "equations.html").resolve()
    for page in (whole_book / "notebooks").glob("*.html"):
        for number in soup(page).select("article div.math .eqno"):
            (mark,) = number.select("a.tested")
            label = str(number.parent["id"]).removeprefix("equation-")
            assert target(page, mark["href"]) == there and urlsplit(mark["href"]).fragment == f"tested-{label}"
            assert mark["aria-label"].startswith("How equation (")
    assert len(soup(there).select("#tab-equations tbody tr")) == len(equations.displayed(ROOT))


def test_a_printed_page_says_where_it_is_from(html: Path) -> None:
    for page in (page for page in pages(html) if soup(page).select("article.bd-article")):
        (style,) = (e.text for e in soup(page).select("head style[media=print]"))
        for corner, text in (("top-left", "Nadam, replicated"), ("top-right", "https://"), ("bottom-left", "version")):
            assert re.search(rf'@{corner} {{ content: "[^"]*{text}', style), (page.name, style)
        assert style.count("<") == 0


def test_no_address_leaves_the_book_s_folder(html: Path) -> None:
    """Then it works from a disk, and below any address of a server."""
    for page in [html / "index.html", *pages(html)]:
        for address in filter(is_local, references(page)):
            assert not address.startswith("/"), page
            assert target(page, address).is_relative_to(html.resolve()), (page, address)


def test_the_index_leads_on_to_the_first_page(html: Path) -> None:
    refresh = str(soup(html / "index.html").select_one("meta[http-equiv=Refresh]")["content"])
    assert (html / refresh.partition("url=")[2]).is_file()


def test_no_page_loads_anything_from_another_host(html: Path) -> None:
    for page in pages(html):
        loaded = references(page, "script", "link:not([rel=canonical])", "img", "source", "object")
        loaded += [str(e["src"]) for e in soup(page).select("iframe[src], video[src], audio[src]")]
        assert [address for address in loaded if not is_local(address) and not address.startswith("data:")] == [], page
        assert "https://" not in "".join(e.text for e in soup(page).select("script:not([src])")), page


def test_a_notebook_can_be_launched_and_edited_where_it_is_committed(html: Path) -> None:
    notebooks = [page for page in pages(html) if page.parent.name == "notebooks"]
    assert notebooks
    for page in notebooks:
        path = f"notebooks/{page.stem}.ipynb"
        wanted = {
            f"https://mybinder.org/v2/gh/{OWNER}/{BRANCH}?urlpath=lab/tree/{path}",
            f"https://colab.research.google.com/github/{OWNER}/blob/{BRANCH}/{path}",
            f"{URL}/edit/{BRANCH}/{path}",
            URL,
        }
        assert wanted <= set(references(page, "a")), page


def test_a_page_of_prose_can_be_edited_where_it_is_committed(html: Path) -> None:
    for page in pages(html):
        if page.parent == html / "book":
            assert f"{URL}/edit/{BRANCH}/book/{page.stem}.md" in references(page, "a")


def test_every_link_into_the_repository_names_a_committed_path(whole_book: Path) -> None:
    committed = re.compile(rf"{OWNER}/(?:(?:edit|blob|tree)/)?{BRANCH}(?:\?urlpath=lab/tree)?/(?P<path>[^?#]+)")
    found = {
        match["path"]
        for page in pages(whole_book)
        for address in references(page, "a")
        if (match := committed.search(unquote(address)))
    }
    assert found
    assert [path for path in sorted(found) if not (ROOT / path).exists()] == []


def test_every_page_has_a_title_of_its_own(html: Path) -> None:
    titles = [soup(page).title.text for page in pages(html)]
    assert len(set(titles)) == len(titles)
    assert all(title.strip() and "<no title>" not in title for title in titles)


def test_every_page_names_its_icon(html: Path) -> None:
    """Or browsers ask the host for /favicon.ico."""
    for page in pages(html):
        (icon,) = soup(page).select("link[rel=icon]")
        assert target(page, str(icon["href"])).suffix == ".svg"


def test_pages_are_light(html: Path) -> None:
    """A page with its pictures and our own styles and scripts; what the theme and MathJax add is loaded once.

    Without the pictures that a browser loads only when the reader unfolds them.
    """
    own = [path for path in (ROOT / "book" / "_static").iterdir() if path.suffix in (".css", ".js")]
    shared = sum(path.stat().st_size for path in own)
    assert shared > 0
    weights = {}
    for page in pages(html):
        loaded = [e["src"] for e in soup(page).select("img:not(details:not([open]) [loading=lazy])")]
        pictures = {target(page, address) for address in loaded if is_local(address)}
        weights[str(page.relative_to(html))] = shared + sum(path.stat().st_size for path in {page, *pictures})
    assert {page: weight for page, weight in weights.items() if weight > HEAVIEST} == {}


def test_the_search_knows_every_page_of_the_book(html: Path) -> None:
    text = (html / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("{") : text.rindex("}") + 1])
    known = dict(zip(index["docnames"], index["titles"], strict=True))
    for page in pages(html):
        name = page.relative_to(html).with_suffix("")
        if name.parts[0] in ("book", "notebooks"):
            assert known[name.as_posix()]

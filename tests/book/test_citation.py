"""How the book, a figure and a table are cited."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pybtex.database import parse_string
from small_book import RUDE

from nadam_ref.book.extension import citation

CITATION: dict[str, Any] = {
    "title": "A title",
    "authors": [{"name": "The A authors"}, {"family-names": "Roe", "given-names": "Jane"}],
    "repository-code": "https://example.org/a",
    "date-released": "2026-02-03",
}


def test_the_book_s_entry_says_what_the_citation_file_says() -> None:
    entry = parse_string(citation.bibtex(CITATION, "1.2.3"), "bibtex").entries["nadam_ref"]
    assert [str(person) for person in entry.persons["author"]] == ["{The A authors}", "Roe, Jane"]
    expected = {"title": "A title", "version": "1.2.3", "year": "2026", "url": "https://example.org/a"}
    assert dict(entry.fields) == expected


def test_an_entry_without_a_date_has_no_year() -> None:
    assert "year" not in citation.bibtex({**CITATION, "date-released": None}, "1")


def test_fault_76_a_figure_s_entry_is_read_by_a_bibtex_parser() -> None:
    caption = f"At $\\mu_t$, {RUDE}. The rest. Left out"
    text = citation.bibtex_of("fig-a", "Figure 8.2", caption, "https://e.org/a_b#c", "commit abc", CITATION, "1.2")
    entry = parse_string(text, "bibtex").entries["nadam_ref:fig-a"]
    assert entry.type == "misc"
    rude = r"\textless{}b\textgreater{}\& ``x'', 5 \% \textbraceleft{}of\textbraceright{} a\_b \# \$"
    assert entry.fields["title"] == rf"At $\mu_t$, {rude}"
    assert entry.fields["howpublished"] == "Figure 8.2 of A title"
    assert entry.fields["url"] == "https://e.org/a_b#c"
    assert (entry.fields["version"], entry.fields["note"]) == ("1.2", "commit abc")


@pytest.mark.parametrize(
    ("caption", "title"),
    [
        ("One sentence.", "One sentence"),
        ("Left: a. Right: b.", "Left: a"),
        ("At 0.5 and e.g. here", "At 0.5 and e.g. here"),
        ("Which?  Both.", "Which?"),
    ],
)
def test_a_title_is_the_first_sentence(caption: str, title: str) -> None:
    assert citation.title(caption) == title


# ---------------------------------------------------------------- the commit


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_commit_is_named_and_a_change_since_too(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert citation.commit(tmp_path) == ""  # there is none yet
    (tmp_path / "book").mkdir()
    page = tmp_path / "book" / "page.md"
    page.write_text("a", encoding="utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "a")
    name = f"commit {git(tmp_path, 'rev-parse', 'HEAD')[:10]}"
    assert citation.commit(tmp_path) == name
    (tmp_path / "notes.txt").write_text("aside", encoding="utf-8")
    assert citation.commit(tmp_path) == name  # no page is made of it
    page.write_text("b", encoding="utf-8")
    assert citation.commit(tmp_path) == f"{name} (modified)"


def test_outside_a_checkout_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    below = tmp_path / "unpacked"
    below.mkdir()
    assert citation.commit(below) == ""  # not somebody else's commit
    monkeypatch.setenv("PATH", "")
    assert citation.commit(tmp_path) == ""

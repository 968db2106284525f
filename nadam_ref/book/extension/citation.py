"""How this version is cited: CITATION.cff, and what is derived from it. Run as a program it writes .zenodo.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import nadam_ref

from ...files import write_whole
from ...machine import checkout
from .downloads import latex

#: Licence of text, figures and tables; the code is under the MIT licence.
LICENCE = "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/"

#: What decides a page, as paths in the checkout.
SOURCES = ("nadam_ref", "notebooks", "book", "_config.yml", "CITATION.cff")


def read(root: Path) -> dict[str, Any]:
    """The content of CITATION.cff."""
    content: dict[str, Any] = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    return content


def commit(root: Path) -> str:
    """The commit that a page is made of, short, with a word if something changed since; empty where unknown."""
    state = checkout(root, *SOURCES)
    if state["commit"] is None:
        return ""
    return f"commit {state['commit'][:10]}{' (modified)' if state['dirty'] else ''}"


def bibtex(citation: Mapping[str, Any], version: str) -> str:
    """The book as a BibTeX entry."""
    return _entry("software", "nadam_ref", citation, version, title=citation["title"], url=citation["repository-code"])


def bibtex_of(
    name: str, number: str, caption: str, url: str, commit: str, citation: Mapping[str, Any], version: str
) -> str:
    """A figure or a table of the book as a BibTeX entry: `number` is "Figure 8.2", `caption` is Markdown."""
    place = f"{number} of {latex(citation['title'])}"
    lines = {"title": latex(title(caption)), "howpublished": place, "url": url, "note": latex(commit)}
    return _entry("misc", f"nadam_ref:{name}", citation, version, **lines)


def title(caption: str) -> str:
    """The first sentence of a caption, without its full stop."""
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(caption.split()), maxsplit=1)[0].removesuffix(".")


def authors(citation: Mapping[str, Any]) -> list[str]:
    """Names of the authors, as people write them."""
    return [p.get("name") or f"{p['given-names']} {p['family-names']}" for p in citation["authors"]]


def _entry(kind: str, key: str, citation: Mapping[str, Any], version: str, **lines: str) -> str:
    released = str(citation.get("date-released") or "")[:4]
    first = {"author": " and ".join(map(_author, citation["authors"])), "title": lines.pop("title")}
    fields = {**first, **lines, "version": version, "year": released}
    width = max(map(len, fields))
    body = ",\n".join(f"  {name:<{width}} = {{{value}}}" for name, value in fields.items() if value)
    return f"@{kind}{{{key},\n{body}\n}}"


def _author(person: Mapping[str, str]) -> str:
    if "name" in person:
        return f"{{{person['name']}}}"  # braces keep BibTeX from taking a group's name apart
    return f"{person['family-names']}, {person['given-names']}"


def zenodo(citation: Mapping[str, Any], version: str) -> str:
    """The text of .zenodo.json."""
    content = {
        "title": citation["title"],
        "upload_type": citation["type"],
        "version": version,
        "description": citation["abstract"],
        "creators": [{"name": name} for name in authors(citation)],
        "license": citation["license"],
        "access_right": "open",
        "language": "eng",
        "keywords": citation["keywords"],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write_whole(Path(".zenodo.json"), zenodo(read(Path()), nadam_ref.__version__))

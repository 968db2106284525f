"""Small notebooks, and a small book made of them and of the real prose pages."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import yaml

from nadam_ref.book.build.driver import BuildReport

ROOT = Path(__file__).parents[2]

#: The prose pages. What they say of a chapter's page or equation is text here: the small book has other chapters.
REFERENCE = (
    "run_it",
    "distributed",
    "protocol",
    "protocol_details",
    "papers",
    "open_details",
    "equations",
    "faults",
    "glossary",
    "api",
    "contributors",
    "cells",
    "cite",
    "bibliography",
)
PARAMETERS = 'profile = "live"\nseed = 0'
MATHS = r"""
# A chapter

It cites {cite:t}`dozat2015`, and refers to {eq}`eq-NAME`, to {numref}`fig-NAME` and to $\mathbb{R}$.

```{math}
:label: eq-NAME
\theta_{t+1} = \theta_t - \eta \frac{m_t}{\sqrt{n_t} + \epsilon} \qquad \text{and more than a phone's screen is wide}
```

$$ a = b \tag{*} \label{star-NAME} $$

MathJax resolves $\eqref{star-NAME}$.

:::{table} Written, at $\mu$.
:name: tab-written-NAME

| rule | rate $\eta$ |
|:--|--:|
| *Nadam*, `lr` | 5 % |
:::
"""
INDEX = """
# A small book

```{optimizers}
:name: fig-play
:autoplay:
:caption: All ten, at a rate of $\\eta$.
```

```{optimizers}
:preset: nadam
:function: beale
:show: AdaMax, NadaMax
:height: 280
```

See {numref}`fig-play`, where all ten optimizers start from one place.
"""
FIGURE = """
import matplotlib.pyplot as plt

plt.plot([0, 1], [0, 1])
plt.show()
"""
FIGURE_METADATA = {"figure": {"caption": "A line.", "name": "fig-NAME"}, "image": {"alt": "A rising line"}}
TABLE = """
class Table:
    def _repr_markdown_(self):
        return "| rule |" + " a wide column |" * 9 + "\\n|" + "---|" * 10 + "\\n| Nadam |" + " .123 |" * 9

Table()
"""
#: What a label and a caption must not break: markup of HTML, CSV, LaTeX and BibTeX.
RUDE = '<b>&amp; "x", 5 % {of} a_b # $'
PICTURE = """
from nadam_ref.book.cells import figures, show

figures.use_style()
rude = RUDE
steps = [1.0, 2.0, 4.0]
found = {"Nadam": (steps, [3.0, 0.1, 0.25]), rude: (steps, [1.0, 2.0, float("inf")])}
picture = figures.lines(found, xlabel="t", ylabel="loss")
picture.note = "profile live · data digits · seeds 0, 1 · A CPU"
picture
"""
PICTURE_METADATA = {
    "figure": {"caption": f"Two lines. Rude: {RUDE}".replace("<", "&lt;"), "name": "fig-picture-NAME"},
    "image": {"alt": "One line falls, one rises."},
}
NAMED = r"""
rows = [["`Nadam`", "0.25"], [rude, "–"]]
show.table(["rule", "loss"], rows, "lr", name="tab-NAME", caption=rf"Losses at $\mu = 0.9$. Rude: {rude}")
"""


def make_notebook(*cells: str | tuple[str, dict[str, Any]], parameters: str = PARAMETERS) -> Any:
    """A source notebook: a `parameters` cell, then these code cells, each with metadata if given as a pair."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    pairs = [(parameters, {"tags": ["parameters"]}), *((c, {}) if isinstance(c, str) else c for c in cells)]
    notebook.cells = [
        nbformat.v4.new_code_cell(textwrap.dedent(source).strip(), id=f"cell-{n}", metadata=metadata)
        for n, (source, metadata) in enumerate(pairs)
    ]
    return notebook


def save(notebook: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def chapter(name: str) -> Any:
    """A chapter with an equation, figures, a wide table, wide code, a picture and a named table."""

    def named(metadata: dict[str, Any]) -> dict[str, Any]:
        return {"mystnb": yaml.safe_load(yaml.safe_dump(metadata).replace("NAME", short))}

    short = name.replace("_", "-")
    notebook = make_notebook(
        (FIGURE, named(FIGURE_METADATA)),
        TABLE,
        f'print("{"x" * 200}", profile, seed)',
        (PICTURE.replace("RUDE", repr(RUDE)), named(PICTURE_METADATA)),
        NAMED.replace("NAME", short),
    )
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(MATHS.replace("NAME", short).strip(), id="text"))
    return notebook


def make_book(root: Path, *names: str, reference: Sequence[str] = REFERENCE) -> Path:
    """A root like the project's own, with these notebooks as its chapters and a landing page of its own."""
    for name in ("_config.yml", "CITATION.cff"):
        shutil.copyfile(ROOT / name, root / name)
    shutil.copytree(ROOT / "book", root / "book", ignore=shutil.ignore_patterns("results"))
    for page in (root / "book").glob("*.md"):
        text = re.sub(r"\{(?:doc|eq)\}(`(?:\.\./notebooks/|eq-)[^`]+`)", r"\1", page.read_text(encoding="utf-8"))
        page.write_text(text, encoding="utf-8")
    (root / "book" / "index.md").write_text(INDEX, encoding="utf-8")
    toc = {
        "format": "jb-book",
        "root": "book/index",
        "parts": [
            {"caption": "Rules", "numbered": True, "chapters": [{"file": f"notebooks/{name}"} for name in names]},
            {"caption": "Reference", "chapters": [{"file": f"book/{name}"} for name in reference]},
        ],
    }
    (root / "book" / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    for name in names:
        save(chapter(name), root / "notebooks" / f"{name}.ipynb")
    return root


class Built(NamedTuple):
    """A small book that was built, and what the driver said."""

    root: Path
    report: BuildReport
    again: BuildReport
    progress: list[tuple[str, int, int]]

    @property
    def html(self) -> Path:
        return self.root / "_build" / "html"

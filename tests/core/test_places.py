"""Every optimizer and every dialect is in all the places that CONTRIBUTING.md lists; the one it lacks fails here."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

import nadam_ref
from nadam_ref import DIALECTS, OPTIMIZERS, RULES, Nadam, PaperOptimizer, bench, optimizers
from nadam_ref.book.cells import figures
from nadam_ref.book.widgets import presets

ROOT = Path(__file__).parents[2]
#: All names that the code has anywhere: whichever place was forgotten, another one knows the name.
EVERY_OPTIMIZER = {*RULES, *optimizers.__all__, *OPTIMIZERS}
EVERY_DIALECT = {*DIALECTS, *get_args(optimizers.DialectName)}

Names = Iterable[str]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def readme(title: str) -> str:
    """A section of the first page."""
    return read("README.md").partition(f"## {title}\n")[2].partition("\n## ")[0]


def classes(module: Any) -> dict[str, type[PaperOptimizer]]:
    """The optimizers among the public names of a module."""
    public = {name: getattr(module, name) for name in module.__all__ if name != "PaperOptimizer"}
    return {name: x for name, x in public.items() if inspect.isclass(x) and issubclass(x, PaperOptimizer)}


def of_tests(module: str, name: str) -> Any:
    """Read when its place is asked: such a module does not load while it lacks an optimizer."""
    return getattr(importlib.import_module(module), name)


def boxed(cls: type[PaperOptimizer]) -> Names:
    """The dialects in which a class is compared with a box."""
    default = inspect.signature(cls).parameters["dialect"].default
    variants = [x for x in of_tests("variants", "WITH_BOX") if x.name == cls.__name__]
    return {variant.keywords.get("dialect", default) for variant in variants}


def alone(names: Names) -> Names:
    """Those whose look no other one has."""
    looks = {name: str(figures.look(name)) for name in names}
    count = Counter(looks.values())
    return {name for name, look in looks.items() if count[look] == 1}


def drawn(states: dict[str, presets.State]) -> Names:
    """Those of which the widget's Python finds the box."""
    found = set()
    for name, state in states.items():
        try:
            presets.paths(state, steps=1)
        except KeyError:
            continue
        found.add(name)
    return found


def torchs() -> Names:
    """Those that torch does not have need no comparison with it."""
    return {*bench.TORCH, *(name for name, cls in OPTIMIZERS.items() if cls.counterpart is None)}


OF_AN_OPTIMIZER: dict[str, Callable[[], Names]] = {
    "nadam_ref/paper.py: a box, in WITH_BOX of variants.py": lambda: {x.name for x in of_tests("variants", "WITH_BOX")},
    "nadam_ref/rules.py: RULES": lambda: RULES,
    "nadam_ref/optimizers.py: __all__": lambda: classes(optimizers),
    "nadam_ref/optimizers.py: its rule": lambda: {x for x, c in classes(optimizers).items() if c.rule is RULES.get(x)},
    "nadam_ref/__init__.py: OPTIMIZERS": lambda: OPTIMIZERS,
    "nadam_ref/__init__.py: __all__": lambda: classes(nadam_ref),
    "nadam_ref/bench.py: TORCH": torchs,
    "nadam_ref/book/cells/figures.py: a look of its own": lambda: alone(RULES),
    "nadam_ref/book/widgets/presets.py: _box": lambda: drawn(
        {name: presets.on("ravine", name, dialect="cs229") for name in RULES}
    ),
    "nadam_ref/book/extension/names.yaml": lambda: yaml.safe_load(read("nadam_ref/book/extension/names.yaml"))[
        "optimizers"
    ],
    "nadam_ref/book/extension/landing.py: CHAPTERS": lambda: of_tests("nadam_ref.book.extension.landing", "CHAPTERS"),
    "tests/core/conformance.py: OUT_OF_RANGE": lambda: of_tests("conformance", "OUT_OF_RANGE"),
    "README.md: the table of rules": lambda: re.findall(r"`(\w+)`", readme("What is in it")),
    "book/api.md": lambda: {*re.findall(r"autoclass:: (\w+)$", read("book/api.md"), re.M)} - {"PaperOptimizer"},
}

OF_A_DIALECT: dict[str, Callable[[], Names]] = {
    "nadam_ref/paper.py: a box, in WITH_BOX of variants.py": lambda: boxed(Nadam),
    "nadam_ref/paper.py: the box with max_norm, in WITH_BOX": lambda: boxed(nadam_ref.NadaMax),
    "nadam_ref/rules.py: DIALECTS": lambda: DIALECTS,
    "nadam_ref/optimizers.py: DialectName": lambda: get_args(optimizers.DialectName),
    "nadam_ref/optimizers.py: Nadam's docstring": lambda: re.findall(
        r'"(\w+)"(?: \(default\))?:', (Nadam.__doc__ or "").partition("`bias_correction`")[0]
    ),
    "nadam_ref/which.py: STEPS": lambda: of_tests("nadam_ref.which", "STEPS"),
    "nadam_ref/book/cells/figures.py: a pen of its own": lambda: alone(DIALECTS),
    "nadam_ref/book/widgets/presets.py: _box, in dialects": lambda: drawn(
        {name: presets.on("ravine", "Nadam", dialect=name) for name in DIALECTS}
    ),
    "README.md: the table of dialects": lambda: (
        {*re.findall(r"^\| `(\w+)`", readme("Which Nadam?"), re.M)} - {"dialect"}
    ),
    "notebooks/11_which_nadam.ipynb": lambda: EVERY_DIALECT & {*re.findall(r"`(\w+)`", chapter("11_which_nadam"))},
}


def chapter(name: str) -> str:
    """The prose of a chapter."""
    cells = json.loads(read(f"notebooks/{name}.ipynb"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def compare(place: str, found: Names, every: set[str]) -> None:
    assert not every - set(found), f"{place} lacks {', '.join(sorted(every - set(found)))}"
    assert not set(found) - every, f"{place} has {', '.join(sorted(set(found) - every))}, which is nowhere else"


@pytest.mark.parametrize("place", OF_AN_OPTIMIZER)
def test_it_has_every_optimizer(place: str) -> None:
    compare(place, OF_AN_OPTIMIZER[place](), EVERY_OPTIMIZER)


@pytest.mark.parametrize("place", OF_A_DIALECT)
def test_it_has_every_dialect(place: str) -> None:
    compare(place, OF_A_DIALECT[place](), EVERY_DIALECT)


def test_the_number_of_optimizers_is_said_as_it_is() -> None:
    word = ("ten", "eleven", "twelve")[len(OPTIMIZERS) - 10]
    pages = [*ROOT.glob("*.md"), *(ROOT / "book").glob("*.md"), *(ROOT / "nadam_ref").rglob("*.py")]
    for page in [*pages, *(ROOT / "nadam_ref").rglob("*.js")]:
        if page.name != "CHANGELOG.md":
            said = re.findall(r"\b(?:the|all) (ten|eleven|twelve)\b", page.read_text(encoding="utf-8"), re.I)
            assert set(said) <= {word}, page.relative_to(ROOT)


def test_the_page_for_contributors_names_every_place() -> None:
    page = read("CONTRIBUTING.md")
    for place in (*OF_AN_OPTIMIZER, *OF_A_DIALECT):
        name = place.partition(":")[0].rpartition("/")[2]
        assert f"`{name}`" in page or f"/{name}`" in page, place

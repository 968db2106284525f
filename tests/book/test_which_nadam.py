"""The page "Which Nadam does your library run?": what its tables say is compared with what the libraries do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from chapters import carried_out, prose
from small_book import ROOT

from nadam_ref import DIALECTS, which

PAGE = "11_which_nadam"


@pytest.fixture(scope="module")
def page() -> Iterator[dict[str, Any]]:
    with carried_out(PAGE) as names:
        yield names


def rows(name: str) -> list[list[str]]:
    """The rows of a table that is written in the text."""
    table = prose(PAGE).partition(f":name: {name}\n")[2].partition(":::")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"][2:]


#: What the table says of the libraries that were stepped: dialect and version by target.
STEPPED = {
    re.sub(r"\.(\w+)$", r":\1", re.findall(r"`([\w.]+)`", where)[0]): (dialect.strip("`"), version)
    for where, dialect, version in rows("tab-who")
    if version != "source"
}


def test_every_library_that_can_be_stepped_is_in_the_table() -> None:
    other_versions = {x for x in which.LIBRARIES if "legacy" in x or x.startswith(("tensorflow:", "tf_keras."))}
    assert set(STEPPED) == set(which.LIBRARIES) - other_versions - {"nadam_ref:Nadam", "timm.optim:Nadam"}


def test_the_version_of_torch_is_the_one_that_the_book_is_made_with() -> None:
    """With another one, step every library again and date the table (`tests/dialects`)."""
    assert STEPPED["torch.optim:NAdam"][1] == re.search(r"torch==([\d.]+)", (ROOT / "Makefile").read_text())[1]  # type: ignore[index]


@pytest.mark.parametrize("target", [target for target in STEPPED if find_spec(re.split("[.:]", target)[0])])
def test_what_is_installed_here_runs_what_the_table_says(target: str) -> None:
    found = which.identify(target).dialect
    assert found is not None
    assert found.split(", ")[0] == STEPPED[target][0]


def test_every_dialect_has_its_user_and_most_have_a_use() -> None:
    five = set(DIALECTS) - {"interpolated"}
    assert {dialect.strip("`") for _, dialect, _ in rows("tab-who")} == five
    advised = {name for _, use in rows("tab-advice") for name in re.findall(r"`(\w+)`", use)}
    assert {"constant", "iclr", "cs229", "interpolated"} == advised & set(DIALECTS)


def test_every_dialect_of_the_table_has_its_meaning(page: dict[str, Any]) -> None:
    said = page["dialects"].meanings(*page["five"], mu=page["mu"]).data
    assert re.findall(r"^- `(\w+)`: .+\.$", said, re.MULTILINE) == page["five"]


def test_what_the_page_identifies(page: dict[str, Any]) -> None:
    assert page["found"].dialect == "cs229"
    assert page["found"].distances["cs229"] < 1e-8


def test_the_tenth_step_of_one_is_more_than_twice_that_of_another(page: dict[str, Any]) -> None:
    tenth = [page["dialects"].step_lengths(name, page["mu"], 10)[-1] for name in page["five"]]
    assert max(tenth) > 2 * min(tenth)
    tenth = [page["dialects"].step_lengths(name, 0.9, 10)[-1] for name in page["five"]]
    assert max(tenth) / min(tenth) == pytest.approx(4 / 3, abs=0.03)


def test_with_the_usual_momentum_the_differences_are_over_after_some_fifty_steps(page: dict[str, Any]) -> None:
    usual, closer = ([page["dialects"].step_lengths(x, mu, 60)[50:] for x in page["five"]] for mu in (0.9, 0.99))
    assert max(abs(y - 1).max() for y in usual) < 0.01
    assert max(abs(y - 1).max() for y in closer) > 0.3

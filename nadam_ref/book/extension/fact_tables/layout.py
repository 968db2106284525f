"""How the reference pages write a table, a learning rate, a name and a list of seeds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from IPython.display import Markdown

from ...cells import show

#: Provenance note for tables generated from package data.
DATA_NOTE = "From the package's own data"


def words(name: str) -> str:
    """A name of the protocol as words: `language_model` is language model."""
    return name.replace("_", " ")


def rate(x: float) -> str:
    """A learning rate as the protocol's grid writes it, 3.2 · 10⁻³."""
    mantissa, exponent = f"{x:.1e}".split("e")
    factor = "" if mantissa == "1.0" else rf"{mantissa} \cdot "
    return f"${factor}10^{{{int(exponent)}}}$"


def span(values: Iterable[int]) -> str:
    """0–9 for whole numbers without a gap, otherwise a list."""
    numbers = list(values)
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}–{numbers[-1]}"
    return ", ".join(map(str, numbers)) or "none"


def fact_table(
    header: list[str], rows: Iterable[list[Any]], align: str, name: str, caption: str, note: str = DATA_NOTE
) -> Markdown:
    return show.table(header, list(rows), align, name=f"tab-{name}", caption=caption, note=note)

"""What every chapter on an experiment shows, in the same order and the same way: sentences, tables and figures.

All that take `evidence` take that of one task (`Recorded.evidence`), and give nothing where there is none, so that a
cell leaves no trace on the page. Left of 0, or below it, the first method of a pair is better.
"""

from __future__ import annotations

from .comparisons import effects
from .mechanism import ahead, apart, at_one_rate
from .plots import dots, forest, gaps, learning, pairs, parts, rates
from .sentences import (
    HEADINGS,
    TERMS,
    absent,
    awaited,
    headline,
    lacking,
    momentum,
    names,
    order,
    reached,
    sentence,
    terms,
    verdict,
)
from .tables import claimed, made, printed
from .tuning import at_rates, certainty, price

__all__ = [
    "HEADINGS",
    "TERMS",
    "absent",
    "ahead",
    "apart",
    "at_one_rate",
    "at_rates",
    "awaited",
    "certainty",
    "claimed",
    "dots",
    "effects",
    "forest",
    "gaps",
    "headline",
    "lacking",
    "learning",
    "made",
    "momentum",
    "names",
    "order",
    "pairs",
    "parts",
    "price",
    "printed",
    "rates",
    "reached",
    "sentence",
    "terms",
    "verdict",
]

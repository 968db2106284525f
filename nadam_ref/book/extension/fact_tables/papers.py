"""What the papers say and leave open: their numbers, their details, what others published, and their errata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from IPython.display import Markdown

from nadam_ref import paper
from nadam_ref.experiments import open_details, published, reproductions
from nadam_ref.experiments.protocol.definition import load
from nadam_ref.experiments.released import folder
from nadam_ref.experiments.runs import pack

from ...cells import show
from .. import equations
from .layout import fact_table, words

#: The tasks with results in the report, in its order.
REPORTED = ("word2vec", "images", "language_model")
TEST_NOTE = f"From {equations.TESTS}"
#: What a page says of `Detail.compared`, which book.js filters by.
COMPARED = {"same": "The same", "different": "Different", "unknown": "Not known"}


def _open_details(task: str) -> Markdown:
    rows = [
        [f"{row.detail[0].upper()}{row.detail[1:]}", f"{row.paper} (*{row.certainty}*)", _chosen(row)]
        for row in open_details.details()
        if row.task == task
    ]
    caption = f"Left open: {words(task)}."
    return fact_table(["detail", "the paper", "here"], rows, "lll", f"open-{task.replace('_', '-')}", caption)


def _chosen(row: open_details.Detail) -> str:
    """What was chosen, after the word that says how it compares; "the same" is not said twice."""
    chosen = row.chosen.removeprefix("the same").lstrip(",; ") if row.compared == "same" else row.chosen
    return f"[{COMPARED[row.compared]}]{{.compared}}{f': {chosen}' if chosen else ''}. *Why:* {row.why}."


def _compared() -> str:
    """How many open details there are of each kind, in words."""
    counts = Counter(row.compared for row in open_details.details())
    return f"{counts['different']} different, {counts['same']} the same, {counts['unknown']} not known"


def _reported() -> Markdown:
    tables = {task: published.reported("cs229", task) for task in REPORTED}
    lowest = [min(table.values(), key=lambda row: float(row.value)) for table in tables.values()]
    rows = [
        [name, *(f"**{row}**" if row in lowest else str(row) for row in (table[name] for table in tables.values()))]
        for name in tables["images"]
    ]
    header = ["method", *(f"{words(row.task)}: {words(row.metric)}" for row in lowest)]
    return fact_table(header, rows, "lrrr", "reported", "The report's results. The lowest of each column is bold.")


def _recalled() -> str:
    """How many of the report's numbers are recalled."""
    recalled = [row.is_recalled for task in REPORTED for row in published.reported("cs229", task).values()]
    return f"{sum(recalled)} of {len(recalled)}"


def _reported_rates() -> Markdown:
    table = published.reported("iclr", "autoencoder")
    rows = [[name, row, row.confirmed] for name, row in table.items()]
    caption = "The workshop paper's best learning rates."
    return fact_table(["method", "learning rate", "confirmed"], rows, "lrl", "reported-rates", caption)


def _known() -> Markdown:
    """Published results beside those of the recorded runs that were to reach them."""
    records = {record.spec.task: record for record in pack.read(folder("known"))}
    rows = []
    for name, x in reproductions.REPRODUCTIONS.items():
        record = records.get(x.task)
        ours = x.measured(record) if record else {}
        reached = "yes" if record and x.reached(record) else "not yet"
        for metric, value in x.published.items():
            measured = f"{ours[metric]:.4g}" if metric in ours else ""
            rows.append([f"`{name}`", words(metric), f"{value:g}", measured, reached])
    caption = (
        "Results of others, for one optimizer each; and those of our recorded runs, made by `nadam-ref reproduce`."
    )
    note = show.provenance_note(records.values(), recorded=True)
    return fact_table(["run", "metric", "published", "ours", "reached"], rows, "llrrl", "known", caption, note)


def _known_sources() -> str:
    return "\n\n".join(f"`{name}`\n: {x.source}." for name, x in reproductions.REPRODUCTIONS.items())


# ---------------------------------------------------------------- errata


@cache
def _unit_steps(box: Callable[..., paper.Path]) -> Any:
    """The first 2000 steps of a Nadam on the constant gradient 1, in units of η, with μ = .99 and ε = 0."""
    θ = paper.path(box, [0.0], lambda _θ, _t: np.ones(1), 2000, η=1.0, μ=0.99, ε=0.0)
    return -np.diff(θ[:, 0])


def _extra_nu() -> float:
    """How much longer the printed ν makes every step."""
    ratio = _unit_steps(paper.nadam_iclr_printed) / _unit_steps(paper.nadam_iclr)
    assert np.ptp(ratio) < 1e-9, "the factor is the same at every step"
    return float(ratio[0])


def _within(box: Callable[..., paper.Path]) -> int:
    """The first step from which on every step is right to one part in a hundred."""
    return int(np.flatnonzero(np.abs(_unit_steps(box) - 1) > 0.01)[-1]) + 2


def _last_index() -> float:
    """How the last of 1000 steps changes if μ_T is taken where the list has no μ_{T+1}."""
    μ = [paper.schedule(0.99, t) for t in range(1, 1002)]
    P = np.cumprod(μ)
    step = [x * (1 - P[-2]) / (1 - P[-2] * x) + (1 - μ[-2]) / (1 - P[-2]) for x in μ[-2:]]
    return float(abs(step[0] / step[1] - 1))


# ---------------------------------------------------------------- equations


def _equations() -> Markdown:
    caption = "The numbered equations of the chapters, and what is compared with each."
    return fact_table(
        ["equation", "the test says", "its name"], equations.rows(), "lll", "equations", caption, TEST_NOTE
    )


BLOCKS: dict[str, Callable[[], str | Markdown]] = {
    **{f"open-details-{task}": partial(_open_details, task) for task in load().having("paper")},
    "equations": _equations,
    "reported": _reported,
    "reported-rates": _reported_rates,
    "known": _known,
    "known-sources": _known_sources,
}

NUMBERS: dict[str, Callable[[], str]] = {
    "known_tolerance": lambda: f"{reproductions.TOLERANCE - 1:.0%}".replace("%", " %"),
    "compared": _compared,
    "recalled": _recalled,
    "extra_nu": lambda: f"{_extra_nu():.4f}",
    "warm_up_step": lambda: str(_unit_steps(paper.nadam).argmin() + 1),
    "warm_up_length": lambda: f"{_unit_steps(paper.nadam).min():.3f}",
    "warm_up_over": lambda: str(_within(paper.nadam)),
    "iclr_first": lambda: f"{_unit_steps(paper.nadam_iclr)[0]:.3f}",
    "iclr_over": lambda: str(_within(paper.nadam_iclr)),
    "last_index": lambda: f"{_last_index():.2%}".replace("%", " %"),
}

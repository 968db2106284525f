"""Which one should I use? The table follows the records, on the landing page and in the README."""

from __future__ import annotations

import constructed
import numpy as np
from small_book import ROOT

from nadam_ref.book.cells.recorded import Recorded
from nadam_ref.book.extension import choice
from nadam_ref.experiments.verdicts.arms import gather

SEEDS = np.exp(np.random.default_rng(1).normal(0, 0.2, 10))
NOISE = 0.01 * np.linspace(-1, 1, 10)


def row(**logs: object) -> list[str]:
    """The table's row for word vectors, where each arm's log losses differ so much from Adam's."""
    records = [
        record
        for name, log in logs.items()
        for record in constructed.arm("word2vec", name.replace("_", "-"), (SEEDS * np.exp(log)).tolist())
    ]
    it = Recorded("word2vec", "small", records, gather(records, "small"))
    *_, last = choice.table([it], "at/", ".html").strip().splitlines()
    return [cell.strip() for cell in last.strip("|").split("|")]


def test_the_method_with_the_lowest_loss_is_named_with_its_rate_and_those_that_seeds_do_not_tell_apart() -> None:
    trained, best, alike, nadams = row(Adam=0 * NOISE, AdaMax=NOISE - 0.001, Nadam=0.1 + NOISE, GD=3 + NOISE)
    assert (best, alike, nadams) == ("AdaMax at 0.1", "Adam at 0.1", "`cs229`")
    assert trained.startswith("[word vectors")
    assert trained.endswith("](at/21_word2vec.html) (at the small size, 10 seeds)")


def test_other_losses_give_another_choice() -> None:
    _, best, alike, nadams = row(Adam=0 * NOISE, Nadam=NOISE - 0.1, Nadam_iclr=NOISE - 0.2, Nadam_constant=NOISE)
    assert (best, alike, nadams) == ("Nadam at 0.1", "none", "`iclr`")


def test_a_method_whose_runs_diverged_is_not_among_those_that_are_not_told_apart() -> None:
    lost = np.array([np.inf, *NOISE[1:]])
    _, best, alike, *_ = row(Adam=NOISE, Nadam=lost)
    assert (best, alike) == ("Adam at 0.1", "none")


def test_the_readme_has_the_table_of_todays_records() -> None:
    table = choice.table(choice.recommended(), "notebooks/", ".ipynb").strip()
    assert table in (ROOT / "README.md").read_text(encoding="utf-8"), f"README.md should have:\n{table}"

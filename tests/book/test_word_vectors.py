"""Chapter 21: what it draws of word vectors that it trains, and what its prose takes as given."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from small_book import ROOT

from nadam_ref.book.build import notebooks
from nadam_ref.book.cells import recorded, word2vec
from nadam_ref.experiments.protocol.definition import load
from nadam_ref.experiments.published import reported
from nadam_ref.experiments.runs.training import Training
from nadam_ref.experiments.tasks import TASKS, pick
from nadam_ref.experiments.verdicts.verdicts import confound
from nadam_ref.rules import schedule

CHAPTER = ROOT / "notebooks" / "21_word2vec.ipynb"


@pytest.fixture(scope="module")
def trained() -> dict[str, Training]:
    rates = {"GD": 0.32, "Adam": 0.032, "Nadam": 0.032, "Adam-common": 0.01}
    return word2vec.train(rates, "smoke", "clusters", steps=60)


def cells(table: Any) -> list[list[str]]:
    """What a named table holds, the header first."""
    found: list[list[str]] = table.cargo["rows"]
    return found


def test_runs_are_as_long_as_asked_and_of_the_arms_of_the_protocol(trained: dict[str, Training]) -> None:
    assert {run.log.step for run in trained.values()} == {60}
    assert trained["Adam-common"].spec.hyperparameters["row_counts"] == "common"
    _head, *rows = cells(word2vec.results(trained))
    assert [row[0] for row in rows] == list(trained)
    assert rows[1][2] == f"{trained['Adam'].evaluate('test')['loss']:.3f}"


def test_the_loss_of_words_is_the_task_s_own_objective_without_dropout(trained: dict[str, Training]) -> None:
    """The task doubles what dropout leaves: with every column kept, half of a vector gives the same."""
    run = trained["Adam"]
    words, found = word2vec.losses(run)
    assert len(words) == len(found) == word2vec.PAIRS * word2vec.BATCHES
    order, noise = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    batches = run.task.batches(run.data, run.size, word2vec.PAIRS, order, noise)
    halved = {**run.params, "embedding": run.params["embedding"] / 2}
    for n in range(3):
        batch = next(batches)
        kept = torch.ones_like(batch[3])
        used = pick(halved, run.task.rows(batch))
        with torch.no_grad():
            loss, _ = run.task.loss(run.size, used, (*batch[:3], kept))
        part = slice(n * word2vec.PAIRS, (n + 1) * word2vec.PAIRS)
        assert (words[part] == batch[0].numpy()).all()
        assert found[part].mean() == pytest.approx(float(loss), rel=1e-5)


def test_the_picture_has_the_losses_and_the_steps_of_rows_by_frequency(trained: dict[str, Training]) -> None:
    figure = word2vec.by_frequency(trained, mu=0.99, decay=0.004)
    steps = trained["Adam"].optimizer.state[trained["Adam"].params["embedding"]]["step"]
    assert figure.data["steps of the row"][0] == pytest.approx(float(steps[1:10].double().median()))
    assert figure.data["μ"][0] == pytest.approx(schedule(0.99, int(steps[1:10].double().median()), 0.004))
    words, loss = word2vec.losses(trained["Nadam"])
    assert figure.data["Nadam loss"][0] == pytest.approx(loss[(words >= 1) & (words < 10)].mean())
    rates = {"Adam": 0.032, "Nadam": 0.032}
    said = word2vec.said(figure, rates).data
    assert f"has had {figure.data['steps of the row'][0]:,.0f} steps" in said
    figure.data["Nadam loss"][-1] = 0.01
    assert "Of the rarest: Nadam 0.01, " in word2vec.said(figure, rates).data
    figure.data["Nadam loss"][0] = 2 * figure.data["Adam loss"][0]
    assert "ahead of Adam where words are rare" not in word2vec.said(figure, rates).data
    assert "the larger one, 0.18 against 0.032" in word2vec.said(figure, rates | {"Nadam": 0.18}).data


def test_neighbours_are_the_nearest_by_cosine(trained: dict[str, Training]) -> None:
    run = trained["Adam"]
    table = run.params["embedding"].detach().double().numpy()
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    word = run.data.words[5]
    _head, (found, near) = cells(word2vec.neighbours({"Adam": run}, [word, "no such word"]))
    order = np.argsort(-(table @ table[5]))
    assert found == word
    assert near.split(", ") == [run.data.words[i] for i in order if i != 5][:3]


def test_the_opening_number_is_the_report_s_and_no_gap_of_nadam_and_adam_is_larger() -> None:
    text = word2vec.famous().data
    gaps = {}
    for task in ("word2vec", "images", "language_model"):
        table = reported("cs229", task)
        nadam, adam = (float(table[name].value) for name in ("Nadam", "Adam"))
        gaps[task] = abs(np.log(nadam / adam))
    assert max(gaps, key=lambda task: gaps[task]) == "word2vec"
    assert f"**{reported('cs229', 'word2vec')['Nadam'].value}**" in text
    assert f"{100 * (1 - np.exp(-gaps['word2vec'])):.0f} % lower" in text


def test_the_sizes_that_the_prose_gives_are_those_of_the_task() -> None:
    prose = "\n".join(cell.source for cell in notebooks.read(CHAPTER).cells if cell.cell_type == "markdown")
    sizes, plan = TASKS["word2vec"].SIZES, load().task("word2vec")
    paper, small = (plan.profile(name).data["text8"].steps for name in ("paper", "small"))
    assert f"{sizes['paper'].words:,} words, {paper:,} steps" in prose
    assert sizes["paper"].words == 10 * sizes["small"].words
    assert round(paper / small) == 20
    caption = next(c.metadata.mystnb.figure.caption for c in notebooks.read(CHAPTER).cells if "objective()" in c.source)
    assert re.findall(r"\d+", caption) == [str(plan.batch), str(sizes["paper"].negatives)]


def test_a_count_of_its_own_wants_a_larger_rate_than_a_common_one() -> None:
    """The solution of exercise 1, and why those arms are compared at rates of their own."""
    evidence = recorded.of("word2vec", "small").evidence
    assert evidence is not None
    arms = evidence["word2vec"]
    for name in ("Adam", "Nadam", "Nadam-iclr"):
        assert arms[f"{name}-common"].lr < arms[name].lr / 2


def test_the_short_steps_cost_less_at_nadam_s_own_larger_rate() -> None:
    evidence = recorded.of("word2vec", "small").evidence
    assert evidence is not None
    (length,) = (e for e in confound(evidence) if (e.part.method, e.part.part) == ("Nadam", "length"))
    assert length.common is not None and length.common_lr is not None
    assert length.common.mean is not None and length.comparison.mean is not None
    assert 0 < length.comparison.mean < length.common.mean
    assert evidence["word2vec"]["Nadam"].lr > length.common_lr


def test_what_the_count_does_follows_the_pack() -> None:
    evidence = recorded.of("word2vec", "small").evidence
    assert evidence is not None
    text = word2vec.counted(evidence)
    assert text is not None
    arms = evidence["word2vec"]
    for name in ("Adam", "Adam-common"):
        assert f"{np.mean(arms[name].values('test_loss')):.3f}" in text.data
    without = {"word2vec": {name: arm for name, arm in arms.items() if name != "Adam-common"}}
    assert word2vec.counted(without) is None
    assert word2vec.counted(None) is None

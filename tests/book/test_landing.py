"""The landing page says what is recorded, and leads to where it says."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from rendered import soup
from small_book import ROOT

from nadam_ref import rules
from nadam_ref.book.cells import answer, recorded
from nadam_ref.book.extension import fact_tables, landing
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.statistics import summary
from nadam_ref.experiments.verdicts.verdicts import Comparison


@pytest.fixture(scope="module")
def lines() -> list[answer.Line]:
    return fact_tables.lines()


def changed(line: answer.Line, gap: float, spread: float = 0.01) -> answer.Line:
    """A line whose pairs of runs had differed so much."""
    return line._replace(own=Comparison(gap + np.linspace(-spread, spread, 10), diverged=(0, 0)))


def test_the_answer_is_about_what_is_recorded(lines: list[answer.Line]) -> None:
    n = len(landing.ran(lines))
    better = answer.first([changed(line, -0.2) for line in landing.ran(lines)])
    assert (
        better
        == f"On **{n} of {n}** recorded experiments Nadam ends lower than Adam by more than the luck of the seeds."
    )
    worse = answer.first([changed(line, 0.2) for line in landing.ran(lines)])
    assert f"**0 of {n}**" in worse
    assert worse.endswith(f", on {n} higher.")
    unclear = answer.first([changed(line, 0.1, spread=1) for line in landing.ran(lines)])
    assert unclear.endswith(f", and on {n} the runs cannot tell.")
    assert answer.first([line._replace(own=None) for line in lines]) == "Nothing is recorded yet."


def test_other_runs_give_another_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = summary.reported_metric("images")
    records = [
        dataclasses.replace(run, metrics={**run.metrics, metric: run.metrics[metric] / 2})
        if run.spec.optimizer == "Nadam"
        else run
        for run in pack.read(ROOT / "book" / "results" / "images-small")
    ]
    pack.write(tmp_path / "images-small", records)
    before = answer.between(recorded.of("images", "small"))
    monkeypatch.setattr(recorded, "here", lambda: tmp_path)
    after = answer.between(recorded.of("images", "small"))
    assert after.own.mean == pytest.approx(before.own.mean - math.log(2))
    assert answer.first([after]).startswith("On **1 of 1** recorded experiments Nadam ends lower")
    assert landing.forest([after]).data[after.title][0] == after.own.mean


def test_the_small_figure_has_each_line_that_was_run(lines: list[answer.Line]) -> None:
    ran = landing.ran(lines)
    figure = landing.forest([*(changed(line, -0.2) for line in ran), *(line for line in lines if line not in ran)])
    assert {name: x[0] for name, x in figure.data.items()} == {line.title: pytest.approx(-0.2) for line in ran}
    assert f"Not run yet: {len(lines) - len(ran)}." in figure.alt
    assert landing.forest([line._replace(own=None) for line in lines]).data == {}


def test_the_status_counts_chapters_and_experiments(lines: list[answer.Line]) -> None:
    shown = BeautifulSoup(landing.status(lines), "html.parser").p
    assert f" · {len(list((ROOT / 'notebooks').glob('*.ipynb')))} chapters · " in shown.text
    assert shown.text.strip().endswith(f" · {len(landing.ran(lines))} of {2 * len(answer.TASKS)} experiments recorded")
    assert f" · {len(landing.ran(lines[:1]))} of 1 experiments" in landing.status(lines[:1])
    marks = [float(mark["style"].split(":")[1].strip(" %")) for mark in shown.select("i")]
    assert marks == [pytest.approx(100 * done / planned, abs=0.5) for done, planned in (x.it.seeds for x in lines)]


def test_every_rule_is_in_the_map_at_its_momentum_and_norm_and_leads_to_its_chapter(whole_book: Path) -> None:
    page = whole_book / "book" / "index.html"
    table = soup(page).select_one("table.map")
    header, *rows = table.select("tr")
    assert [th.text for th in header.select("th")][1] == "nothing"
    found = {}
    for row, kind in zip(rows, ("no", "classical", "Nesterov's"), strict=True):
        assert row.th.text == f"{kind} momentum".replace("'", "’")
        for cell, norm in zip(row.select("td"), ("none", "sum", "rms", "max"), strict=True):
            if link := cell.a:
                leads_to = page.parent / str(link["href"])
                assert link.text in soup(leads_to).article.text
                assert cell.select_one(".chapter").text == str(int(leads_to.name[:2]))
                found[link.text] = (kind, norm)
    momenta = {(False, False): "no", (True, False): "classical", (True, True): "Nesterov's"}
    assert found == {
        name: (momenta[rule.momentum != "none", rule.nesterov], rule.norm) for name, rule in rules.RULES.items()
    }


def test_the_two_by_two_is_the_chapter_s(whole_book: Path) -> None:
    def rows(page: Path, table: str) -> list[list[str]]:
        there = soup(page).select_one(table)
        return [[" ".join(cell.text.split()) for cell in row.select("td")] for row in there.select("tbody tr")]

    quoted = rows(whole_book / "book" / "index.html", "#is-it-the-look-ahead-or-the-schedule table")
    assert quoted == rows(whole_book / "notebooks" / "12_two_rules.html", "table#tab-schedule-look-ahead")
    assert len(quoted) == 3


def test_readme_and_page_make_one_promise() -> None:
    page, readme = ((ROOT / name).read_text(encoding="utf-8") for name in ("book/index.md", "README.md"))
    promise = page.split("# Nadam, replicated\n\n")[1].split("\n")[0]
    assert promise in readme

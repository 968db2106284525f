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


def test_the_answer_counts_the_experiments(lines: list[answer.Line]) -> None:
    line = landing.ran(lines)[0]._replace(common=None)
    lower, higher, unclear = (changed(line, math.log(x), s) for x, s in ((0.8, 0.01), (1.2, 0.01), (0.9, 1)))
    assert answer.first([lower, higher, unclear, unclear]) == (
        "Of four experiments so far, Nadam ends below Adam in one, above Adam in one "
        "and within seed-to-seed variation of Adam in two."
    )
    assert answer.first([lower, lower]) == "Of two experiments so far, Nadam ends below Adam in two."
    lacking = line._replace(own=None)
    assert answer.first([lower, lower, lacking]) == answer.first([lower, lower])
    assert answer.first([lacking]) == "Nothing has been run yet."


def test_a_sign_that_reverses_at_one_rate_is_said(lines: list[answer.Line]) -> None:
    line = changed(landing.ran(lines)[0], -0.2)
    higher = line._replace(common=changed(line, math.log(1.3)).own)
    kept = line._replace(common=changed(line, math.log(0.9)).own)
    assert answer.first([higher, kept]).endswith(" At one learning rate for both, the sign reverses in one.")
    assert "reverses" not in answer.first([kept, kept])
    reverses = f"At one learning rate for both, the sign reverses {answer.places([(line, '+30.0 %')])}"
    assert f"{reverses}. So tune" in answer.advice([higher])
    assert f"{reverses}, and stays {answer.places([(line, '−10.0 %')])}. So" in answer.advice([higher, kept])


def test_a_task_is_named_once_with_all_its_sizes(lines: list[answer.Line]) -> None:
    small, paper = (line for line in sorted(lines, key=lambda x: x.it.profile == "paper") if line.it.task == "word2vec")
    assert (
        answer.places([(small, "1 %"), (paper, "")]) == "on word vectors (1 % at the small size, at the report's size)"
    )
    (model,) = (line for line in lines if (line.it.task, line.it.profile) == ("language_model", "small"))
    assert answer.places([(small, "1 %"), (model, "2 %")]) == (
        "on word vectors (1 % at the small size) and on the language model (2 % at the small size)"
    )


def test_the_advice_follows_from_the_runs(lines: list[answer.Line]) -> None:
    line = landing.ran(lines)[0]._replace(common=None)
    lower, higher, unclear = (changed(line, math.log(x), s) for x, s in ((0.8, 0.01), (1.2, 0.01), (0.9, 1)))
    turned = lower._replace(common=higher.own)
    said = f"largest clear gain over Adam is 20.0 %**, on {line.words}"
    assert said in answer.advice([lower, unclear])
    most = changed(line, math.log(0.88))  # 12.0 %, which as text would be the smaller
    assert "is 12.0 %**" in answer.advice([changed(line, math.log(0.95)), most])
    assert answer.advice([lower, higher]).endswith("; it is clearly worse in one.")
    assert "So tune the rate of both" in answer.advice([turned])
    assert "tune" not in answer.advice([lower, unclear])
    assert "never clearly better" in answer.advice([unclear])
    assert "higher in one of them" in answer.advice([higher, unclear])


def test_the_factors_multiply_to_the_whole(lines: list[answer.Line]) -> None:
    found = [made for line in landing.ran(lines) if (made := answer.factors(line))]
    assert found
    for made in found:
        *parts, whole = (effect.common.mean for effect in made.values())
        assert len(parts) == 3 and list(made)[-1] == "together"
        assert sum(parts) == pytest.approx(whole, abs=1e-12)  # logarithms
    rows = [row for row in str(answer.short(lines).data).splitlines() if row.startswith("| looking ahead")]
    assert len(rows) == 1 and rows[0].count("%") == 3 * len(found)


ROWS = [
    ["", "no look-ahead", "look-ahead", "effect"],
    ["μ constant", "Adam: 0.2", "Nadam: 0.2", "+1.0 % (−4.1 to +6.3)"],
    ["μ scheduled", "Adam: 0.1", "Nadam: 0.1", "−0.5 % (−3.3 to +3.8)"],
    ["effect", "−27.1 % (−31.5 to −22.5)", "−27.7 % (−34.9 to −19.6)", ""],
]


def test_what_the_two_by_two_says(lines: list[answer.Line]) -> None:
    said = landing.two_by_two([], ROWS, "batch 64 · 5 seeds")
    assert said == (
        "Here looking ahead has no measurable effect, and the schedule changes the test loss by −27 to −28 % (5 seeds)."
    )
    assert landing.schedule_first(ROWS).endswith("the look-ahead: it changes the loss by −27 to −28 %.")
    swapped = [ROWS[0], [*ROWS[1][:3], "−27.1 % (−31.5 to −22.5)"], [*ROWS[2][:3], "−27.2 % (−34.9 to −19.6)"], ROWS[3]]
    swapped[3] = ["effect", "+1.0 % (−4.1 to +6.3)", "−0.5 % (−3.3 to +3.8)", ""]
    assert landing.two_by_two([], swapped, "5 seeds").startswith(
        "Here looking ahead changes the test loss by −27 %, and"
    )
    assert landing.schedule_first(swapped) == ""


def test_the_schedule_s_effect_elsewhere_is_that_of_the_runs(lines: list[answer.Line]) -> None:
    (words,) = (line for line in landing.ran(lines) if line.it.task == "word2vec" and line.it.profile == "small")
    arms = words.it.evidence["word2vec"]
    means = [np.mean(np.log(arms[name].common.values("test_loss"))) for name in ("Nadam-iclr", "Nadam-constant")]
    size = f"{100 * math.expm1(means[0] - means[1]):+.1f} %".replace("-", "−")
    said = f"t changes the loss {answer.places([(words, size)])}"
    assert f"at one rate for both: i{said}." in landing.two_by_two([words], ROWS, "5 seeds")


def test_a_schedule_without_a_clear_effect_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = (line for line in fact_tables.lines() if line.it.task == "word2vec" and line.it.profile == "small")
    unclear = Comparison(np.linspace(-1, 1, 10), diverged=(0, 0))
    (effect,) = (e for e in landing.effects(line.it.evidence).values() if e.part.part == "no schedule")
    monkeypatch.setattr(landing, "effects", lambda _: {"no schedule": dataclasses.replace(effect, common=unclear)})
    assert landing.two_by_two([line], ROWS, "5 seeds").endswith(
        f" it has no measurable effect {answer.places([(line, '')])}."
    )


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
    assert landing.forest([after]).data[after.title][0] == after.own.mean


def test_the_small_figure_has_each_line_that_was_run(lines: list[answer.Line]) -> None:
    ran = landing.ran(lines)
    figure = landing.forest([*(changed(line, -0.2) for line in ran), *(line for line in lines if line not in ran)])
    assert {name: x[0] for name, x in figure.data.items()} == {line.title: pytest.approx(-0.2) for line in ran}
    assert f"Not run yet: {len(lines) - len(ran)}." in figure.alt
    assert landing.forest([line._replace(own=None) for line in lines]).data == {}


def test_the_status_counts_the_experiments(lines: list[answer.Line]) -> None:
    shown = BeautifulSoup(landing.status(lines), "html.parser").p
    done = f"{len(landing.ran(lines))} of {2 * len(answer.TASKS)} experiments done (each task at two sizes)"
    assert shown.text.strip().endswith(f" · {done}")
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


def test_the_title_waits_for_all_primary_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks of three were run at the small size: that is no title."""
    of = recorded.of
    monkeypatch.setattr(
        recorded,
        "of",
        lambda task, size: dataclasses.replace(of(task, size), evidence=None) if task == "images" else of(task, size),
    )
    assert answer.judged() == ("", [])
    assert answer.named().startswith("The replication has no title yet")

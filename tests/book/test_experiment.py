"""What the chapters on experiments show: sentences, tables and figures, all of them computed from the records."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import math
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import constructed
import matplotlib as mpl
import numpy as np
import pytest
from small_book import ROOT

from nadam_ref import checkout
from nadam_ref.book.build import notebooks
from nadam_ref.book.cells import answer, experiment, figures, recorded
from nadam_ref.book.cells.figures import Picture, plain
from nadam_ref.experiments.protocol.definition import load, profile_of
from nadam_ref.experiments.published import reported
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs.record import Record
from nadam_ref.experiments.verdicts import verdicts
from nadam_ref.experiments.verdicts.arms import Evidence, gather
from nadam_ref.experiments.verdicts.measures import rate_shares
from nadam_ref.experiments.verdicts.report import percent
from nadam_ref.experiments.verdicts.verdicts import Comparison, judge

SEEDS = np.exp(np.random.default_rng(1).normal(0, 0.2, 10))
GAPS = {("Adam", "Nadam"): -0.1, ("Momentum", "NAG"): 0.3, ("AdaMax", "NadaMax"): -0.2}
PLACE = {"nadam_ref": "0.1.0", "commit": "c" * 40, "dirty": False, "time": "now", "wall_seconds": 90.0}


def made(task: str = "word2vec", profile: str = "small") -> list[Record]:
    """Runs of six methods and two forms of Nadam, under today's protocol."""
    records = []
    changes: dict[str, Any] = {"profile": profile, "protocol_sha256": profile_of(task, profile).sha256}
    gaps = {pair: gap for pair, gap in GAPS.items() if pair[0] in load().task(task).arms}
    for (classical, nesterov), gap in gaps.items():
        noise = 0.01 * np.linspace(-1, 1, 10)
        records += constructed.arm(task, classical, SEEDS.tolist(), **changes)
        records += constructed.arm(task, nesterov, (SEEDS * np.exp(gap + noise)).tolist(), **changes)
    records += constructed.arm(task, "Nadam-iclr", (SEEDS * 0.98).tolist(), **changes)
    records += constructed.arm(task, "Nadam-unit", (SEEDS * 0.94).tolist(), **changes)
    if "NadaMax-iclr" in load().task(task).arms:
        records += constructed.arm(task, "NadaMax-iclr", (SEEDS * 0.9).tolist(), **changes)
    if task == "word2vec":
        records += constructed.arm(task, "Adam-common", (SEEDS * 0.88).tolist(), **changes)
    place = {**PLACE, "protocol_sha256": changes["protocol_sha256"]}
    return [dataclasses.replace(r, provenance={**r.provenance, **place}) for r in records]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    return gather(made(), "small")


def test_curves_and_rates_have_each_method_and_no_dialect(evidence: Evidence) -> None:
    methods = {name for pair in GAPS for name in pair}
    learning, rates = experiment.learning(evidence), experiment.rates(evidence)
    assert learning is not None and rates is not None
    assert {name.removesuffix(" mean") for name in learning.data if name.endswith(" mean")} == methods
    assert {name.removesuffix(" η") for name in rates.data if name.endswith(" η")} == methods
    assert list(rates.data["Adam η"]) == list(constructed.RATES)
    assert list(rates.data["Adam mean"]) == [2.0, 1.0, 2.0]  # as constructed: 1 + the distance from the best


def test_a_rate_that_diverged_is_left_out_of_the_figure() -> None:
    records = [r for r in made() if not (r.spec.lr == 1.0 and r.spec.optimizer == "Adam" and r.spec.seed >= 1000)]
    (some, *_) = (r for r in records if r.spec.optimizer == "Adam")
    lost = [constructed.record("word2vec", "Adam", 1.0, seed, math.inf) for seed in constructed.TUNING]
    sha256 = some.protocol_sha256
    records += [
        dataclasses.replace(
            r, spec=dataclasses.replace(r.spec, protocol_sha256=sha256), provenance={**r.provenance, **some.provenance}
        )
        for r in lost
    ]
    rates = experiment.rates(gather(records, "small"))
    assert rates is not None
    assert list(rates.data["Adam η"]) == [0.01, 0.1]


# ---------------------------------------------------------------- from a pack to the page


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without any recorded run but those that repeat published results; the folder of its packs."""
    shutil.copyfile(ROOT / "_config.yml", tmp_path / "_config.yml")
    place = tmp_path / "book" / "results"
    shutil.copytree(ROOT / "book" / "results" / "known", place / "known")
    monkeypatch.setenv(checkout.VARIABLE, str(tmp_path))
    return place


def text(x: Any) -> str:
    assert x is not None
    return str(x.data)


def test_a_size_without_a_pack_is_shown_as_not_run(results: Path) -> None:
    it = recorded.of("word2vec", "paper")
    assert it.evidence is None and it.records == [] and it.seeds == (0, 10)
    assert "no result yet. Not run: `nadam-ref sweep paper --task word2vec`, about " in text(experiment.awaited(it))
    assert "not run: `nadam-ref sweep paper" in text(experiment.made(it))
    assert experiment.headline(it) is experiment.gaps(it) is experiment.terms(it) is experiment.names(it) is None
    for draw in (experiment.dots, experiment.learning, experiment.pairs, experiment.parts, experiment.rates):
        assert draw(it.evidence) is None
    for say in (experiment.verdict, experiment.order, experiment.at_rates, experiment.apart, experiment.certainty):
        assert say(it.evidence) is None


def test_while_rates_are_searched_there_is_no_result_but_a_count(results: Path) -> None:
    pack.write(results / "word2vec-paper", [r for r in made(profile="paper") if r.spec.seed >= 1000])
    it = recorded.of("word2vec", "paper")
    assert it.evidence is None
    assert f"{len(it.records)} of about {it.expected:,} runs are made" in text(experiment.awaited(it))
    minutes = recorded.MINUTES["word2vec", "paper"]
    assert f"about {it.expected * minutes / 60:,.0f} hours on one core" in text(experiment.awaited(it))


def test_what_a_gpu_made_goes_on_there_and_takes_as_long_as_it_took() -> None:
    on_gpu = [
        dataclasses.replace(
            r,
            spec=dataclasses.replace(r.spec, device="cuda"),
            provenance={**r.provenance, "gpu": "NVIDIA H100", "wall_seconds": 9.0},
        )
        for r in made(profile="paper")
        if r.spec.seed < 2
    ]
    it = recorded.Recorded("word2vec", "paper", on_gpu, None)
    hours = it.expected * 9 / 3600
    assert f"--device cuda`, about {hours:,.0f} hours on one NVIDIA H100." in text(experiment.awaited(it))
    assert "| none yet |" in text(experiment.made(it))  # no run chose a rate
    assert text(experiment.absent(it)) == "*Not run yet, so not shown: `paper` at searched rates.*"


def test_a_sweep_that_is_partly_done_is_judged_with_the_seeds_that_all_arms_have(results: Path) -> None:
    """As by `nadam-ref report --partial`; the page says how many there are."""
    part = [r for r in made(profile="paper") if r.spec.seed >= 1000 or r.spec.seed < 4 + (r.spec.optimizer == "Adam")]
    pack.write(results / "word2vec-paper", part)
    it = recorded.of("word2vec", "paper")
    assert it.seeds == (4, 10)
    assert experiment.awaited(it) is None
    assert "So far with 4 of 10 seeds: " in text(experiment.headline(it))
    dots = experiment.dots(it.evidence)
    assert dots is not None
    assert {len(dots.data[name]) for name in ("Adam", "Nadam")} == {4}


def test_a_value_changed_in_a_pack_changes_number_figure_and_sentence(results: Path) -> None:
    shown = []
    for factor in (1.0, 1.5):
        records = [
            dataclasses.replace(r, metrics={**r.metrics, "test_loss": r.metrics["test_loss"] * factor})
            if (r.spec.optimizer, r.spec.hyperparameters.get("dialect"), r.spec.seed) == ("Nadam", "cs229", 3)
            and "length" not in r.spec.hyperparameters
            else r
            for r in made()
        ]
        pack.write(results / "word2vec-small", records)
        it = recorded.of("word2vec", "small")
        pictures = [experiment.gaps(it), experiment.dots(it.evidence), experiment.pairs(it.evidence)]
        sentences = [experiment.headline(it), experiment.at_rates(it.evidence), experiment.apart(it.evidence)]
        assert it.evidence is not None
        tables = [recorded.table(it.evidence, name) for name in ("verdicts", "methods", "confound")]
        shown.append(
            [picture.rows() for picture in pictures if picture] + [text(line) for line in [*sentences, *tables]]
        )
    assert all(before != after for before, after in zip(*shown, strict=True))
    mean = np.mean(np.log(1.5) * (np.arange(10) == 3)) - 0.1  # one of ten pairs, and the gap of all
    assert percent(mean) in shown[1][3]
    assert percent(-0.1) in shown[0][3]


def test_the_chosen_rates_and_their_certainty_follow_the_pack(results: Path) -> None:
    records = [
        dataclasses.replace(r, metrics={**r.metrics, "dev_loss": 1.9})
        if r.spec.optimizer == "Adam" and (r.spec.lr, r.spec.seed) == (1.0, 1001)
        else r
        for r in made()
    ]
    pack.write(results / "word2vec-small", records)
    evidence = recorded.of("word2vec", "small").evidence
    assert evidence is not None
    assert rate_shares(evidence["word2vec"]["Adam"])[0.1] == 1.0
    assert "choose the same rate whichever of the 2 tuning seeds" in text(experiment.certainty(evidence))


def test_the_part_of_a_gain_is_the_mean_log_ratio_at_one_rate(evidence: Evidence) -> None:
    """Constructed: .98 of Adam is ICLR's rule, .94 the report's at length 1, and exp(−.1) the report's own."""
    figure = experiment.parts(evidence)
    assert figure is not None
    sizes = {name.partition(":")[0]: values[0] for name, values in figure.data.items()}
    assert sizes["look-ahead"] == pytest.approx(np.log(0.98))
    assert sizes["memory"] == pytest.approx(np.log(0.94 / 0.98))
    assert sizes["length"] == pytest.approx(-0.1 - np.log(0.94))
    assert sum(sizes[part] for part in ("look-ahead", "memory", "length")) == pytest.approx(sizes["whole difference"])
    assert f"look-ahead {percent(np.log(0.98), digits=2)}" in text(experiment.apart(evidence))


def test_what_is_larger_than_the_three_parts_is_named(evidence: Evidence) -> None:
    assert "Larger than any" not in text(experiment.apart(evidence))
    records = made()
    changes: dict[str, Any] = {"profile": "small", "protocol_sha256": records[0].spec.protocol_sha256}
    constant = constructed.arm("word2vec", "Nadam-constant", (SEEDS * 0.49).tolist(), **changes)
    records += [dataclasses.replace(r, provenance=records[0].provenance) for r in constant]
    said = text(experiment.apart(gather(records, "small")))
    assert "*no schedule* (Nadam-constant against Nadam-iclr) −50.00 %" in said.partition("Larger than any")[2]


def with_nadam(factor: float) -> list[Record]:
    """The constructed records, with the metrics of the report's Nadam multiplied by a factor."""
    return [
        dataclasses.replace(r, metrics={n: x * factor for n, x in r.metrics.items()})
        if r.spec.optimizer == "Nadam" and r.spec.hyperparameters.get("dialect", "cs229") == "cs229"
        else r
        for r in made()
    ]


def test_a_difference_that_is_reproduced_but_small_is_said_to_be(results: Path) -> None:
    """Constructed: NAG is above momentum, against the report; Nadam as far below Adam as `factor` leaves."""
    for factor, small in ((1.0, False), (1.09, True)):
        pack.write(results / "word2vec-small", with_nadam(factor))
        it = recorded.of("word2vec", "small")
        (v,) = (v for v in it.verdicts if v.side.first == "Nadam")
        assert v.kind == "Reproduced" and v.side.gap is not None and recorded.small(v) == small
        share = 100 * (GAPS["Adam", "Nadam"] + math.log(factor)) / v.side.gap
        assert (f"the paper's sign with {share:.0f} % of its size, too small" in experiment.sentence(v)) == small
        assert f"(*reproduced{', but small' * small}*)" in experiment.sentence(v)
        figure = experiment.gaps(it)
        assert figure is not None
        assert ("Reproduced, but small" in [label.get_text() for label in figure.axes[0].texts]) == small
        against = next(experiment.sentence(v) for v in it.verdicts if v.side.first == "NAG")
        assert "(*reversed*)" in against and "too small" not in against


def test_every_word_beside_a_verdict_is_explained_where_it_is(evidence: Evidence) -> None:
    source = inspect.getsource(verdicts)
    assert {*re.findall(r'suffixes\.append\("(.+)"\)', source), "depends on the rate"} == set(experiment.TERMS)
    said = text(experiment.terms(recorded.Recorded("word2vec", "small", made(), evidence)))
    there = {suffix for v in judge(evidence) if v.claim.task == "word2vec" for suffix in v.suffixes}
    assert there and set(re.findall(r"^- \*(.+)\*: ", said, re.MULTILINE)) == {x.capitalize() for x in there}


def test_the_names_of_arms_are_explained_where_they_are(evidence: Evidence) -> None:
    said = text(experiment.names(recorded.Recorded("word2vec", "small", [], evidence)))
    assert "`-iclr`: a dialect" in said and "`-unit`:" in said
    assert "-short" not in said and "-interpolated" not in said


# ---------------------------------------------------------------- the chapters

TASKS = ("word2vec", "images", "language_model", "autoencoder")
CHAPTERS = sorted(path for number in (21, 22, 23, 24) for path in (ROOT / "notebooks").glob(f"{number}_*.ipynb"))
each = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


@each
def test_all_chapters_on_experiments_have_the_same_headings_in_one_order(path: Path) -> None:
    prose = "\n".join(cell.source for cell in notebooks.read(path).cells if cell.cell_type == "markdown")
    assert tuple(re.findall(r"^## (.+)$", prose, re.MULTILINE)) == experiment.HEADINGS


@each
def test_no_result_is_typed_into_the_prose(path: Path) -> None:
    """What is said of results in percent, or of p, is computed in a cell."""
    for cell in notebooks.read(path).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\d\s?%|p\s?[=<]\s?\.?0?\.\d", cell.source), cell.source


@pytest.mark.parametrize(("path", "task"), list(zip(CHAPTERS, TASKS, strict=True)))
@pytest.mark.parametrize("profile", ["", "small", "paper"])
def test_a_chapter_s_results_are_there_when_their_pack_is_and_leave_no_trace_before(
    results: Path, monkeypatch: pytest.MonkeyPatch, path: Path, task: str, profile: str
) -> None:
    if profile:
        records = made(task, profile)
        if (task, profile) == ("images", "small"):  # forty seeds are planned
            records = [r for r in records if r.spec.seed < 10 or r.spec.seed >= 1000]
        pack.write(results / f"{task}-{profile}", records)
    monkeypatch.delenv("NADAM_REF_DATA", raising=False)
    shown = run_until_live(path)
    figures = {name: x for name, x in shown.items() if name.startswith("fig-")}
    for size in ("paper", "small"):
        drawn = {name for name, x in figures.items() if name.endswith(f"-{size}") and isinstance(x, Picture)}
        asked = {name for name in figures if name.endswith(f"-{size}")}
        assert drawn == (asked if size == profile else set())
    for name, x in figures.items():
        assert x is None or x.alt, name


def run_until_live(path: Path) -> dict[str, Any]:
    """The value that each cell shows, by the name of its figure or its number, up to the run in front of the reader."""
    shown: dict[str, Any] = {}
    names: dict[str, Any] = {}
    with mpl.rc_context():
        for n, cell in enumerate(notebooks.read(path).cells):
            if cell.cell_type == "markdown" and "## Trained in front of you" in cell.source:
                break
            if cell.cell_type != "code" or "%pip" in cell.source:
                continue
            *rest, last = ast.parse(cell.source).body
            figure = cell.metadata.get("mystnb", {}).get("figure", {}).get("name", str(n))
            exec(compile(ast.Module(rest, []), path.name, "exec"), names)
            if isinstance(last, ast.Expr):
                shown[figure] = eval(compile(ast.Expression(last.value), path.name, "eval"), names)
            else:
                exec(compile(ast.Module([last], []), path.name, "exec"), names)
    assert "nadam_ref" in sys.modules
    return shown


def test_the_parts_about_rows_are_at_the_arms_own_rates(evidence: Evidence) -> None:
    figure = experiment.parts(evidence, "Rows of Adam and Nadam", own=True)
    assert figure is not None
    assert [values[0] for values in figure.data.values()] == [pytest.approx(np.log(0.88))]
    assert experiment.parts(evidence, "NAG", own=True) is not None
    assert experiment.parts(evidence, "nothing of this name") is None


def test_every_size_that_the_protocol_plans_has_its_minutes() -> None:
    planned = {
        (name, size) for name, task in load().tasks.items() for size in ("small", "paper") if size in task.profiles
    }
    assert set(recorded.MINUTES) == planned


@pytest.mark.parametrize("limits", [(0.3, 0.42), (0.031, 0.072), (0.04, 4.0), (3, 4000), (1e-5, 1.0), (0.5, 0.51)])
def test_a_logarithmic_axis_has_some_plain_numbers_and_not_too_many(limits: tuple[float, float]) -> None:
    axis = Picture().subplots()
    axis.set(xscale="log", xlim=limits)
    plain(axis.xaxis)
    ticks = [x for x in axis.xaxis.get_majorticklocs() if limits[0] <= x <= limits[1]]
    texts = axis.xaxis.get_major_formatter().format_ticks(ticks)
    assert 1 <= len(ticks) <= 7
    assert len(set(texts)) == len(texts)
    assert all(np.diff(np.log(ticks)) >= 0.15 * np.log(limits[1] / limits[0]))  # a number takes that much room
    assert [float(label.replace(",", "")) for label in texts] == pytest.approx(ticks, rel=1e-2)


@pytest.mark.parametrize("limits", [(-0.01, 0.02), (-0.3, 0.1), (-0.02, 0.9), (-1.2, 0.3), (-0.1, 2.5)])
def test_percents_on_the_axis_of_a_ratio_have_room_between_them(limits: tuple[float, float]) -> None:
    axis = Picture().subplots()
    axis.set_xlim(limits)
    recorded.percents(axis)
    ticks = axis.get_xticks()
    assert 3 <= len(ticks) <= 9 and 0.0 in ticks
    assert all(np.diff(ticks) >= (limits[1] - limits[0]) / 9)
    assert [float(x) for x in 100 * np.expm1(ticks)] == pytest.approx(np.round(100 * np.expm1(ticks), 1))


def test_one_large_difference_does_not_squeeze_the_others(evidence: Evidence) -> None:
    def drawn(last: float) -> Picture:
        gaps = [0.02, -0.03, 0.04, -0.05, last]
        pairs = [Comparison(gap + np.linspace(-0.005, 0.005, 10), diverged=(0, 0)) for gap in gaps]
        return experiment.plots.forest([(f"{i} / x", x, "") for i, x in enumerate(pairs)], evidence)

    usual, large = drawn(0.06), drawn(1.0)
    for figure, furthest in ((usual, 0.065), (large, experiment.plots.CUT * 0.045)):
        low, high = figure.axes[0].get_xlim()
        assert high - low < 1.5 * (furthest + 0.055)
    words = [text.get_text() for text in large.axes[0].texts]
    assert "+171.8 %" in words and not [w for w in words if w.endswith("%") and w != "+171.8 %"]
    assert not [text for text in usual.axes[0].texts if text.get_text().endswith("%")]
    assert large.data["4 / x "][0] == pytest.approx(1.0) and "4 / x : +171.8 %" in large.alt


def test_names_and_rates_above_a_row_do_not_meet(evidence: Evidence) -> None:
    x = Comparison(np.linspace(-0.01, 0.02, 10), diverged=(0, 0))
    long = "look-ahead under a common count: Nadam-iclr-common / Adam-common"
    rows = [(long, x, "η = 0.0056, 0.032"), ("whole difference: Nadam / Adam", x, "η = 0.0056, 0.032")]
    with mpl.rc_context():
        figures.use_style()
        figure = experiment.plots.forest([*rows, rows[0]], evidence)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 6
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


# ---------------------------------------------------------------- over all tasks


def test_without_any_record_there_is_no_answer(results: Path) -> None:
    found = answer.lines()
    assert [(line.it.profile, line.it.task) for line in found[:2]] == [("paper", "word2vec"), ("paper", "images")]
    assert len(found) == 8 and all(line.own is None for line in found)
    assert text(answer.short(found)) == "Nothing has been run yet."
    figure = answer.picture(found)
    assert figure.data == {}
    assert figure.alt.count("not run") == 8


def test_the_answer_is_that_of_the_records(results: Path) -> None:
    for factor, ends, words in ((1.0, "largest clear gain", "lower"), (1.4, "never clearly better", "higher in one")):
        pack.write(results / "word2vec-small", with_nadam(factor))
        found = answer.lines()
        said, figure = text(answer.short(found)), answer.picture(found)
        gap = GAPS["Adam", "Nadam"] + math.log(factor)
        assert figure.data["word vectors (small), own rates"][0] == pytest.approx(gap)
        assert percent(gap) in said and ends in said and words in said
        assert said.startswith("In the one experiment so far (a task at one size), ")
        assert "at the small size, handwritten digits, " in said.rpartition("Not run")[2]


def test_two_rates_that_turn_the_sign_are_said_to() -> None:
    it = recorded.Recorded("word2vec", "small", [], None)
    lower, higher = (Comparison(np.full(10, x) + 1e-3 * np.arange(10), (0, 0)) for x in (-0.1, 0.1))
    said = text(answer.short([answer.Line(it, lower, higher, 0.1, None)]))
    assert "at one rate for both, η = 0.1, the sign reverses: +11" in said
    assert "reverses" not in text(answer.short([answer.Line(it, lower, lower, 0.1, None)]))


def test_a_printed_gap_is_that_of_the_claim() -> None:
    line = answer.between(recorded.Recorded("word2vec", "small", [], None))
    nadam, adam = (float(reported("cs229", "word2vec")[name].value) for name in ("Nadam", "Adam"))
    assert line.printed == pytest.approx(math.log(nadam / adam))
    assert answer.between(recorded.Recorded("autoencoder", "small", [], None)).printed is None

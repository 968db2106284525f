"""The report: every verdict kind and suffix on a constructed store, in every format, with known answers."""

import csv
import dataclasses
import io
import json
import math
import re

import constructed
import numpy as np
import pytest

from nadam_ref import cli, tables
from nadam_ref.commands import report as report_command
from nadam_ref.experiments.protocol.definition import profile_of
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.verdicts import report
from nadam_ref.experiments.verdicts.arms import gather
from nadam_ref.tables import Column, Table

SPREAD = np.linspace(-1.5, 1.5, 10)
SEEDS = np.exp(np.random.default_rng(0).normal(0, 0.3, 10))

#: What is made up: (task, first, second) → log gap, spread, rate that tuning chooses.
MADE = {
    ("word2vec", "Nadam", "Adam"): (math.log(0.284 / 0.325), 0.01, 1),
    ("word2vec", "NAG", "Momentum"): (-0.2, 0.01, 2),
    ("word2vec", "NadaMax", "AdaMax"): (0.2, 0.01, 1),
    ("images", "Nadam", "Adam"): (0.0, 0.001, 1),
    ("images", "NAG", "Momentum"): (0.05, 0.1, 1),
}

EXPECTED = {
    ("word2vec", "Nadam vs Adam"): ("Reproduced with size", ["approximate set-up"]),
    ("word2vec", "NAG vs Momentum"): ("Reproduced", ["edge", "approximate set-up"]),
    ("word2vec", "NadaMax vs AdaMax"): ("Reversed", ["approximate set-up", "unresolved in print"]),
    ("images", "Nadam vs Adam"): ("No relevant difference", ["approximate set-up"]),
    ("images", "NAG vs Momentum"): ("Inconclusive", ["approximate set-up"]),
    ("images", "NadaMax vs AdaMax"): ("Not run", []),
    ("language_model", "Nadam vs Adam"): ("Not run", []),
    ("language_model", "NAG vs Momentum"): ("Not run", []),
    ("language_model", "NadaMax vs AdaMax"): ("Not run", []),
}


def made():
    records = []
    for (task, first, second), (gap, spread, best) in MADE.items():
        ours = list(SEEDS * np.exp(gap + spread * SPREAD))
        records += constructed.arm(task, second, list(SEEDS), best=best) + constructed.arm(task, first, ours, best=best)
    records += constructed.arm("images", "Nadam-iclr", list(SEEDS * np.exp(-0.1 + 0.01 * SPREAD)))
    # other commands keep time and seconds of each run, and so does a pack
    timed = {"time": "2026-01-01T00:00:00+00:00", "wall_seconds": 1.0}
    # made under version 2, whose plan has ten seeds
    hashes = {task: profile_of(task, "small", 2).sha256 for task in ("word2vec", "images")}
    return [
        dataclasses.replace(r, provenance={**r.provenance, **timed, "protocol_sha256": hashes[r.spec.task]})
        for r in records
    ]


@pytest.fixture
def store(tmp_path):
    found = Store(tmp_path / "store")
    for record in made():
        found.put(record)
    return found


def command(*words, capsys):
    assert cli.main(["report", *map(str, words)]) == 0
    return capsys.readouterr().out


def strictly(text):
    def refuse(constant):
        raise AssertionError(f"bare {constant} in JSON")

    return json.loads(text, parse_constant=refuse)


# ---------------------------------------------------------------- known answers


def test_json_has_every_verdict_typed(store, capsys):
    found = strictly(command("--store", store.folder, "--format", "json", capsys=capsys))
    primary = {(row["task"], row["claim"]): row for row in found["verdicts"] if row["primary"]}
    assert {key: (row["verdict"], row["suffixes"]) for key, row in primary.items()} == EXPECTED
    row = primary["word2vec", "Nadam vs Adam"]
    assert (row["paper_first"], row["paper_second"], row["n"], row["recalled"]) == (0.284, 0.325, 10, True)
    assert row["ours_log_gap"] == pytest.approx(row["paper_log_gap"], abs=1e-12) == math.log(0.284 / 0.325)
    assert row["interval_low"] < row["ours_log_gap"] < row["interval_high"]
    assert row["prediction_low"] < row["interval_low"] and row["interval_high"] < row["prediction_high"]
    assert row["p_sign_flip"] == 2 / 2**10 and row["p"] == 9 * 2 / 2**10
    assert primary["images", "NAG vs Momentum"]["n_to_decide"] > 10
    absent = primary["images", "NadaMax vs AdaMax"]
    assert (absent["n"], absent["ours_log_gap"], absent["p"], absent["paper_first"]) == (0, None, None, 0.0204)
    assert found["title"] is None and found["profile"] == "small"
    assert found["tasks"]["images"]["protocol_sha256"] == profile_of("images", "small", 2).sha256
    assert {row["part"] for row in found["confound"]} == {"memory and length", "look-ahead", "whole gain"}
    assert {row["arm"] for row in found["methods"] if row["task"] == "images"} >= {"Nadam-iclr", "Momentum"}
    assert all(0 <= row["share"] <= 1 for row in found["luck"])


def test_text_is_aligned_and_fits_a_hundred_columns(store, capsys):
    text = command("--store", store.folder, capsys=capsys)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    head = next(line for line in lines if line.startswith("claim"))
    at = head.index("verdict")
    row = next(line for line in lines if line.startswith("Nadam vs Adam") and "Reproduced" in line)
    assert row[at:].startswith("Reproduced with")
    assert row[:at].split() == [
        "Nadam",
        "vs",
        "Adam",
        "−12.6",
        "%",
        "−12.6",
        "%",
        "(−13.2,",
        "−12.0)",
        "10",
        "0.002",
        "0.018",
    ]
    assert "Inconclusive (n = " in text and "would decide)" in " ".join(text.split())
    assert "either a difference, or that it is smaller than δ" in " ".join(text.split())
    assert "paper: recalled, not seen in print" in text
    assert "No title yet: 4 of 9 claims were not run." in text
    assert "Profile small: " in text and "Hardware: a CPU, AVX2, cpu." in " ".join(text.split())


def test_every_verdict_and_suffix_is_in_every_format(store, capsys):
    words = {word for kind, suffixes in EXPECTED.values() for word in (kind, *suffixes)}
    assert words == {
        *("Reproduced", "Reproduced with size", "Reversed", "No relevant difference", "Inconclusive", "Not run"),
        *("edge", "approximate set-up", "unresolved in print"),
    }
    for form in report_command.FORMATS:
        found = " ".join(command("--store", store.folder, "--format", form, capsys=capsys).split())
        for word in words:
            assert word in found or form == "text", (form, word)  # in text a cell goes over several lines


def test_csv_is_one_line_a_claim_with_plain_numbers(store, capsys):
    text = command("--store", store.folder, "--format", "csv", capsys=capsys)
    rows = list(csv.DictReader(io.StringIO(text)))
    primary = [row for row in rows if row["primary"] == "yes"]
    assert {(r["task"], r["claim"]): r["verdict"] for r in primary} == {
        key: kind for key, (kind, _) in EXPECTED.items()
    }
    assert float(primary[0]["ours_log_gap"]) == pytest.approx(math.log(0.284 / 0.325))
    assert primary[1]["suffixes"] == "edge; approximate set-up"
    assert primary[-1]["ours_log_gap"] == ""


@pytest.mark.parametrize("table", report_command.TABLES)
def test_latex_has_as_many_cells_as_columns(store, capsys, table):
    text = command("--store", store.folder, "--format", "latex", "--table", table, capsys=capsys)
    (layout,) = re.findall(r"\\begin{tabular}{([lr]+)}", text)
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")].splitlines()[1:]
    cells = [line for line in body if line != r"\midrule" and not line.startswith(r"\multicolumn")]
    assert len(cells) > 4
    for line in cells:
        assert line.endswith(r" \\") and len(re.split(r"(?<!\\)&", line)) == len(layout)
    assert not set(text) - set(map(chr, range(32, 127))) - {"\n"}  # plain LaTeX, no Unicode that it may not set


@pytest.mark.parametrize("table", report_command.TABLES)
def test_every_table_fits_a_hundred_columns(store, capsys, table):
    text = command("--store", store.folder, "--table", table, capsys=capsys)
    assert max(map(len, text.splitlines())) <= 100


def test_a_pack_and_its_store_give_the_same_report(store, tmp_path, capsys):
    pack.write(tmp_path / "images", [r for r in store if r.spec.task == "images"])
    pack.write(tmp_path / "words", [r for r in store if r.spec.task == "word2vec"])
    packed = ["--pack", tmp_path / "images", "--pack", tmp_path / "words"]
    for form in report_command.FORMATS:
        direct = command("--store", store.folder, "--format", form, capsys=capsys)
        again = command(*packed, "--format", form, capsys=capsys)
        assert direct == again


def test_the_command_offers_what_there_is():
    assert set(report_command.TABLES) == set(report.TABLES)
    assert set(report_command.FORMATS) == {*report.FORMATS, "json"}


# ---------------------------------------------------------------- what is not as it should be


def fails(*words, capsys):
    assert cli.main(["report", *map(str, words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_fault_70_the_report_needs_all_runs_of_the_protocol(tmp_path, capsys):
    store = Store(tmp_path)
    for record in constructed.arm("images", "Adam", list(SEEDS[:9])):
        store.put(record)
    line = fails("--store", tmp_path, capsys=capsys)
    assert "nadam-ref sweep small --task images" in line
    assert constructed.spec("images", "Adam", 0.1, 9).id[:12] in line


def test_a_sweep_under_way_is_judged_by_the_seeds_that_every_arm_has(tmp_path, capsys):
    store = Store(tmp_path)
    for record in constructed.arm("images", "Adam", list(SEEDS[:4])) + constructed.arm("images", "Nadam", [1.0] * 3):
        store.put(record)
    text = " ".join(command("--store", tmp_path, "--partial", capsys=capsys).split())
    assert "3 of 40 seeds" in text and "Nadam vs Adam" in text
    found = strictly(command("--store", tmp_path, "--partial", "--format", "json", capsys=capsys))
    assert found["tasks"]["images"]["planned_seeds"] == 40 and found["tasks"]["images"]["seeds"] == [0, 1, 2]


def test_a_table_says_what_momentum_there_was():
    records = constructed.arm("images", "Adam", [1.0] * 3) + constructed.arm("images", "Nadam", [1.1] * 3)
    for table in ("verdicts", "methods", "confound", "luck"):
        assert "μ at the end 0.50" in report.report(records, table=table)  # four steps of the schedule


def test_a_verdict_that_depends_on_the_rate_says_so_in_every_format():
    values = list(SEEDS * np.exp(0.1 + 0.01 * SPREAD))
    records = constructed.arm("images", "Momentum", list(SEEDS)) + constructed.arm("images", "NAG", values)
    records += [constructed.record("images", "NAG", 0.01, seed, 0.9 * x) for seed, x in enumerate(SEEDS)]
    assert "Reproduced; depends on the rate" in " ".join(report.report(records).split())
    row = next(r for r in strictly(report.report(records, form="json"))["verdicts"] if r["n"])
    assert row["suffixes"][0] == "depends on the rate" and row["at_runner_up"] == ["NAG: Reversed"]
    assert row["log_gap_at_runner_up"] == [pytest.approx(math.log(0.9))]


def test_fault_72_the_report_refuses_to_mix_protocols(tmp_path, capsys):
    store = Store(tmp_path)
    for name, sha256 in (("Adam", "a"), ("Nadam", "b")):
        for record in constructed.arm("images", name, list(SEEDS), provenance={"protocol_sha256": sha256 * 64}):
            store.put(record)
    assert "different protocols" in fails("--store", tmp_path, capsys=capsys)


def test_no_store_and_no_profile(tmp_path, store, capsys):
    assert "there is no store at" in fails("--store", tmp_path / "absent", capsys=capsys)
    assert "no runs of profile 'paper'" in fails("--store", store.folder, "--profile", "paper", capsys=capsys)
    assert "is no pack" in fails("--pack", store.folder, capsys=capsys)


def test_fault_64_mixed_hardware_is_flagged():
    records = [
        dataclasses.replace(r, provenance={**r.provenance, "cpu": f"CPU {r.spec.seed % 2}"})
        for r in constructed.arm("images", "Adam", list(SEEDS))
    ]
    text = " ".join(report.report(records).split())
    assert "Mixed hardware, 2 kinds: CPU 0, AVX2, cpu; CPU 1, AVX2, cpu." in text


@pytest.mark.parametrize("n", [1, 2])
def test_fault_66_the_number_of_seeds_stands_in_place_of_an_interval(n):
    records = constructed.arm("images", "Momentum", [1.0] * n) + constructed.arm("images", "NAG", [1.1] * n)
    text = " ".join(report.report(records).split())
    assert f"+10.0 % (n = {n}) {n} {2 / 2**n:.3f} 1.000 Inconclusive; approximate set-up" in text


@pytest.mark.parametrize(
    ("mean", "ends", "text"),
    [
        (0.053461, (0.04883, 0.05812), "0.0535 (0.0488, 0.0581)"),  # half of the interval: .0046
        (-2.0004, (-2.5, -1.5), "−2.00 (−2.50, −1.50)"),
        (105.31, (103.2, 107.4), "105.3 (103.2, 107.4)"),
        (1234.5, (1000.0, 1469.0), "1234 (1000, 1469)"),
        (1.0, (1.0, 1.0), "1.0000 (1.0000, 1.0000)"),
    ],
)
def test_a_mean_has_the_digits_that_its_interval_bears(mean, ends, text):
    assert report._with_ends(mean, ends) == text


def test_fault_68_diverged_runs_are_counted_in_the_open():
    ours = [*SEEDS[:8], math.inf, math.inf]
    records = constructed.arm("images", "Momentum", list(SEEDS)) + constructed.arm("images", "NAG", ours)
    assert "diverged: 2 and 0 of 10" in report.report(records)
    row = next(r for r in strictly(report.report(records, form="json"))["verdicts"] if r["diverged_first"])
    assert (row["ours_first"], row["ours_log_gap"], row["diverged_second"]) == (None, None, 0)


def test_fault_71_a_report_of_nothing_but_divergence():
    records = constructed.arm("images", "Adam", [math.inf] * 10, diverges=True)
    for table in report_command.TABLES:
        for form in report_command.FORMATS:
            report.report(records, form=form, table=table)
    text = report.report(records, table="methods")
    assert re.search(r"Adam +0.01 edge +∞ \(n = 10\) +– +10 of 10 +–", text)


HOSTILE = r"\input{/etc/passwd} 100% & <b> $x_1$ ~ #^ {a} [b]"


def test_fault_76_latex_is_escaped_and_nothing_is_lost():
    escaped = tables.escape(HOSTILE)
    bare = escaped
    for command_ in (
        r"\textbackslash{}",
        r"\textasciitilde{}",
        r"\textasciicircum{}",
        r"\textless{}",
        r"\textgreater{}",
    ):
        bare = bare.replace(command_, "")
    assert not re.findall(r"\\[a-zA-Z]+", bare)
    assert not re.findall(r"(?<!\\)[&%$#_{}~^]", bare)


@pytest.mark.parametrize("form", ["csv", "latex", "text"])
def test_fault_76_a_hostile_cell(form):
    table = Table("x", HOSTILE, [Column(HOSTILE, "l", 60)], {HOSTILE: [[HOSTILE]]}, [{HOSTILE: HOSTILE}], [HOSTILE])
    text = report.FORMATS[form](table)
    if form == "csv":
        assert list(csv.DictReader(io.StringIO(text))) == [{HOSTILE: HOSTILE}]
    elif form == "text":
        assert text.count(HOSTILE) == 5
    else:
        assert r"\input" not in text and text.count(r"\textbackslash{}input") == 5


def test_a_cell_in_square_brackets_is_no_argument_of_the_line_break():
    table = Table("x", "c", [Column("a", "l", 9)], {"": [["one"], ["[Re]"]]}, [])
    assert "{[Re]} \\\\" in tables.to_latex(table)


def test_words_longer_than_a_column_are_broken():
    table = Table("x", "c", [Column("a", "l", 10), Column("b", "r", 3)], {"": [["x" * 25, "1"]]}, [])
    assert tables.to_text(table).splitlines()[3:] == ["x" * 10 + "  1", "x" * 10, "x" * 5]


def test_gather_and_report_agree_on_what_there_is(store):
    assert set(gather(store, "small")) == {"word2vec", "images"}

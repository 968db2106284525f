"""The report: every verdict kind and suffix on a constructed store, in every format, with known answers."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import constructed
import numpy as np
import pytest

from nadam_ref import cli, tables
from nadam_ref.experiments.protocol.definition import profile_of
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.statistics.summary import MissingRunsError
from nadam_ref.experiments.verdicts import report
from nadam_ref.experiments.verdicts.arms import gather
from nadam_ref.tables import Column, Group, Table

FORMATS = (*tables.FORMATS, "json")
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


def made() -> Any:
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
def store(tmp_path: Path) -> Any:
    found = Store(tmp_path / "store")
    for record in made():
        found.put(record)
    return found


def command(*words: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    assert cli.main(["report", *map(str, words)]) == 0
    return capsys.readouterr().out


def strictly(text: Any) -> Any:
    def refuse(constant: Any) -> None:
        raise AssertionError(f"bare {constant} in JSON")

    return json.loads(text, parse_constant=refuse)


# ---------------------------------------------------------------- known answers


def test_json_has_every_verdict_typed(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
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
    shares = {(row["task"], row["claim"]): row["share"] for row in found["luck"]}
    assert shares.keys() >= {key for key, (kind, _) in EXPECTED.items() if kind != "Not run"}
    assert all(0 < share < 1 for share in shares.values())


def test_text_is_aligned_and_fits_a_hundred_columns(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_every_verdict_and_suffix_is_in_every_format(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    words = {word for kind, suffixes in EXPECTED.values() for word in (kind, *suffixes)}
    assert words == {
        *("Reproduced", "Reproduced with size", "Reversed", "No relevant difference", "Inconclusive", "Not run"),
        *("edge", "approximate set-up", "unresolved in print"),
    }
    for form in FORMATS:
        found = " ".join(command("--store", store.folder, "--format", form, capsys=capsys).split())
        for word in words:
            assert word in found or form == "text", (form, word)  # in text a cell goes over several lines


def test_csv_is_one_line_a_claim_with_plain_numbers(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = command("--store", store.folder, "--format", "csv", capsys=capsys)
    rows = list(csv.DictReader(io.StringIO(text)))
    primary = [row for row in rows if row["primary"] == "yes"]
    assert {(r["task"], r["claim"]): r["verdict"] for r in primary} == {
        key: kind for key, (kind, _) in EXPECTED.items()
    }
    assert float(primary[0]["ours_log_gap"]) == pytest.approx(math.log(0.284 / 0.325))
    assert primary[1]["suffixes"] == "edge; approximate set-up"
    assert primary[-1]["ours_log_gap"] == ""


@pytest.mark.parametrize("table", report.TABLES)
def test_latex_has_as_many_cells_as_columns(store: Any, capsys: pytest.CaptureFixture[str], table: Any) -> None:
    text = command("--store", store.folder, "--format", "latex", "--table", table, capsys=capsys)
    (layout,) = re.findall(r"\\begin{tabular}{([lr]+)}", text)
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")].splitlines()[1:]
    cells = [line for line in body if line != r"\midrule" and not line.startswith(r"\multicolumn")]
    assert len(cells) > 4
    for line in cells:
        assert line.endswith(r" \\") and len(re.split(r"(?<!\\)&", line)) == len(layout)
    assert not set(text) - set(map(chr, range(32, 127))) - {"\n"}  # plain LaTeX, no Unicode that it may not set


@pytest.mark.parametrize("table", report.TABLES)
def test_every_table_fits_a_hundred_columns(store: Any, capsys: pytest.CaptureFixture[str], table: Any) -> None:
    text = command("--store", store.folder, "--table", table, capsys=capsys)
    assert max(map(len, text.splitlines())) <= 100


def test_a_pack_and_its_store_give_the_same_report(
    store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack.write(tmp_path / "images", [r for r in store if r.spec.task == "images"])
    pack.write(tmp_path / "words", [r for r in store if r.spec.task == "word2vec"])
    packed = ["--pack", tmp_path / "images", "--pack", tmp_path / "words"]
    for form in FORMATS:
        direct = command("--store", store.folder, "--format", form, capsys=capsys)
        again = command(*packed, "--format", form, capsys=capsys)
        assert direct == again


def test_the_command_names_the_tables_and_refuses_others(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["report", "--help"])
    assert ", ".join(report.TABLES).replace(", luck", " or luck") in " ".join(capsys.readouterr().out.split())
    message = fails("--store", store.folder, "--table", "verdict", capsys=capsys)
    assert "no table is called 'verdict'; there are: verdicts, methods, confound, luck" in message


def test_code_reads_what_a_group_is_about_from_its_fields(store: Any) -> None:
    groups = report.TABLES["verdicts"](gather(store, "small")).groups
    about = [(group.about["task"], group.about["exploratory"]) for group in groups]
    assert about[:2] == [("word2vec", False), ("images", False)] and {task for task, _ in about[2:]} >= {"images"}
    for group, (task, exploratory) in zip(groups, about, strict=True):
        assert group.heading.startswith(task) and ("exploratory" in group.heading) == exploratory


def test_a_p_is_written_with_three_digits() -> None:
    written = {None: "–", 0.0: "<0.001", 0.00049: "<0.001", 0.0005: "0.001", 0.5: "0.500", 1.0: "1.000"}
    assert {p: report._p(p) for p in written} == written


def test_momentum_in_words() -> None:
    assert report.momentum_words([]) == ""
    assert report.momentum_words([0.975]) == "μ at the end 0.97"
    two = "μ at the end 0.99 (row of the commonest word), 0.50 (median row)"
    assert report.momentum_words([0.99, 0.5]) == two


def rows_of(table: Any) -> dict[tuple[str, str], Any]:
    """The cells of a table by the task of their group and their first cell."""
    return {(group.about["task"], row[0]): row[1:] for group in table.groups for row in group.rows}


def test_what_the_table_of_verdicts_shows() -> None:
    """Adam is the lowest of three on word2vec, against both sentences. Of others there is only what is printed."""
    records = []
    for name, level in {"Adam": 1.0, "RMSProp": 1.2, "Nadam": 1.5}.items():
        records += constructed.arm("word2vec", name, list(level * SEEDS))
    found = report.TABLES["verdicts"](gather(records, "small"))
    cells = rows_of(found)
    assert cells["word2vec", "Nadam vs Adam"][:5] == ["−12.6 %", "+50.0 % (+50.0, +50.0)", "10", "0.002", "0.018"]
    assert cells["word2vec", "NAG vs Momentum"] == ["−0.8 %", "–", "0", "–", "–", "Not run"]
    ours = ["−10.1 %", "+25.0 % (+25.0, +25.0)", "10", "0.002", "–", "Reversed; approximate set-up"]
    assert cells["word2vec", "Nadam best of its type: Nadam vs RMSProp"] == ours
    assert cells["word2vec", "Nesterov beats momentum"] == ["–", "–", "0", "–", "–", "Not run"]
    data = {row["claim"]: row for row in found.data if row["task"] == "word2vec"}
    row = data["Nadam vs Adam"]
    assert (row["paper_first"], row["paper_second"]) == (0.284, 0.325)
    assert row["ours_first"] == pytest.approx(1.5 * SEEDS.mean()) and row["ours_second"] == pytest.approx(SEEDS.mean())
    assert {group.heading.partition(":")[0]: group.about["exploratory"] for group in found.groups} == {
        "word2vec": False, "images": False, "language_model": False, "word2vec, exploratory": True,
        "images, exploratory": True, "language_model, exploratory": True, "autoencoder, exploratory": True,
    }  # fmt: skip


def test_what_the_table_of_methods_shows() -> None:
    """GD never gets to where Adam ends, which takes Adam all of its four steps."""
    records = constructed.arm("images", "Adam", [0.5, 0.5, 0.5]) + constructed.arm("images", "GD", [1.5, 1.6, 1.7])
    records += [constructed.record("images", "Adam", 0.01, seed, 0.8) for seed in range(3)]
    found = report.TABLES["methods"](gather(records, "small"))
    cells = rows_of(found)
    assert cells["images", "Adam"] == ["0.1", "0.5000 (0.5000, 0.5000)", "0.8 at 0.01", "0 of 3", "4"]
    assert cells["images", "GD"][2:] == ["–", "0 of 3", "never"]
    gd, adam = found.data
    assert (adam["test_loss"], adam["test_loss_low"], adam["dev_loss"]) == (0.5, 0.5, 0.5)
    assert (adam["runner_up_lr"], adam["runner_up_test_loss"], gd["runner_up_lr"]) == (0.01, pytest.approx(0.8), None)


def test_what_the_table_of_gains_shows() -> None:
    """At its own rate, 1, Nadam ends a tenth lower than Adam; at Adam's, .1, a fifth higher, once it was run there."""
    records = constructed.arm("images", "Adam", list(SEEDS))
    records += constructed.arm("images", "Nadam", list(0.9 * SEEDS), best=2)
    own = ["Nadam vs Adam", "−10.0 % (−10.0, −10.0)", "0.002"]
    table = report.TABLES["confound"](gather(records, "small"))
    assert rows_of(table)["images", "whole gain"] == [*own, "–", "–"]
    (row,) = table.data
    assert (row["first_lr"], row["second_lr"], row["log_gap"]) == (1.0, 0.1, pytest.approx(math.log(0.9)))
    assert {row[name] for name in row if name.startswith("common_")} == {None}

    records += [constructed.record("images", "Nadam", 0.1, seed, 1.2 * x) for seed, x in enumerate(SEEDS)]
    table = report.TABLES["confound"](gather(records, "small"))
    assert rows_of(table)["images", "whole gain"] == [*own, "+20.0 % (+20.0, +20.0) at 0.1", "0.002"]
    (row,) = table.data
    assert (row["common_lr"], row["common_p_sign_flip"]) == (0.1, 2 / 2**10)
    gaps = (row["common_log_gap"], row["common_interval_low"], row["common_interval_high"])
    assert gaps == pytest.approx([math.log(1.2)] * 3)


def test_what_the_table_of_luck_shows() -> None:
    records = constructed.arm("images", "Nadam", [1.0, 3.0]) + constructed.arm("images", "Adam", [2.0, 2.0])
    found = report.TABLES["luck"](gather(records, "small"))
    (share,) = [row["share"] for row in found.data if row["claim"] == "Nadam vs Adam"]
    assert share == pytest.approx(0.5, abs=0.02)
    assert rows_of(found)["images", "Nadam ends higher than Adam."] == [f"{share:.1%}".replace("%", " %")]


def test_a_report_of_a_single_run_says_what_it_was_made_on() -> None:
    for subset, part in ((None, ""), ((9, 9, 9), " (part)")):
        records = constructed.arm("images", "Adam", [1.0], subset=subset)
        text = " ".join(report.report(records).split())
        assert f"images on mnist{part}, 4 steps, 1 seeds, protocol {'f' * 12}. Hardware: a CPU" in text


# ---------------------------------------------------------------- what is not as it should be


def fails(*words: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    assert cli.main(["report", *map(str, words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    return captured.err


def test_fault_70_the_report_needs_all_runs_of_the_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    for record in constructed.arm("images", "Adam", list(SEEDS[:9])):
        store.put(record)
    line = fails("--store", tmp_path, capsys=capsys)
    assert "nadam-ref sweep small --task images" in line
    assert constructed.spec("images", "Adam", 0.1, 9).id[:12] in line


def test_a_sweep_under_way_is_judged_by_the_seeds_that_every_arm_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    for record in constructed.arm("images", "Adam", list(SEEDS[:4])) + constructed.arm("images", "Nadam", [1.0] * 3):
        store.put(record)
    with pytest.raises(MissingRunsError, match=r"Nadam lr 0\.1 seed 3"):
        report.report(store)
    text = " ".join(command("--store", tmp_path, "--partial", capsys=capsys).split())
    assert "3 of 40 seeds" in text and "Nadam vs Adam" in text
    found = strictly(command("--store", tmp_path, "--partial", "--format", "json", capsys=capsys))
    assert found["tasks"]["images"]["planned_seeds"] == 40 and found["tasks"]["images"]["seeds"] == [0, 1, 2]


def test_a_table_says_what_momentum_there_was() -> None:
    records = constructed.arm("images", "Adam", [1.0] * 3) + constructed.arm("images", "Nadam", [1.1] * 3)
    for table in ("verdicts", "methods", "confound", "luck"):
        assert "μ at the end 0.50" in report.report(records, table=table)  # four steps of the schedule


def test_a_verdict_that_depends_on_the_rate_says_so_in_every_format() -> None:
    values = list(SEEDS * np.exp(0.1 + 0.01 * SPREAD))
    records = constructed.arm("images", "Momentum", list(SEEDS)) + constructed.arm("images", "NAG", values)
    records += [constructed.record("images", "NAG", 0.01, seed, 0.9 * x) for seed, x in enumerate(SEEDS)]
    assert "Reproduced; depends on the rate" in " ".join(report.report(records).split())
    row = next(r for r in strictly(report.report(records, form="json"))["verdicts"] if r["n"])
    assert row["suffixes"][0] == "depends on the rate" and row["at_runner_up"] == ["NAG: Reversed"]
    assert row["log_gap_at_runner_up"] == [pytest.approx(math.log(0.9))]


def test_fault_72_the_report_refuses_to_mix_protocols(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    for name, sha256 in (("Adam", "a"), ("Nadam", "b")):
        for record in constructed.arm("images", name, list(SEEDS), provenance={"protocol_sha256": sha256 * 64}):
            store.put(record)
    assert "different protocols" in fails("--store", tmp_path, capsys=capsys)


def curvature_runs() -> list[Any]:
    """What `nadam-ref curvature` leaves in the default store: the profile and a task of the protocol, and no arms."""
    changes: dict[str, Any] = {"hyperparameters": {"lr": 1.0}, "batch": 512, "provenance": {"protocol_sha256": ""}}
    return [constructed.record("autoencoder", "GD", 1.0, seed, 1.0, **changes) for seed in (1000, 0, 1)]


def test_runs_of_no_protocol_are_left_aside(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    before = command("--store", store.folder, capsys=capsys)
    for record in curvature_runs():
        store.put(record)
    assert command("--store", store.folder, capsys=capsys) == before
    message = fails("--store", store.folder, "--task", "autoencoder", capsys=capsys)
    assert "no runs of profile 'small' on autoencoder: nadam-ref sweep small --task autoencoder\n" in message


def test_a_report_of_some_tasks_needs_the_runs_of_these_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path)
    for record in [r for r in made() if r.spec.task == "word2vec" or r.spec.seed < 3]:
        store.put(record)
    assert "no rate was tuned on images" in fails("--store", tmp_path, capsys=capsys)
    one = command("--store", tmp_path, "--task", "word2vec", capsys=capsys)
    assert "Profile small: word2vec on text8" in one and "images on mnist" not in one
    both = fails("--store", tmp_path, "--task", "images", "--task", "word2vec", capsys=capsys)
    assert "no rate was tuned on images" in both


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--profile", "smal"], "no profile 'smal'; it has: smoke, live, small, paper, choices, map"),
        (["--task", "images", "--task", "poetry"], "no task 'poetry'; it has: images"),
        (["--task", "images", "--profile", "map"], "no profile 'map'; it has: smoke, live, small, paper, choices\n"),
        (["--profile", "paper"], "no runs of profile 'paper' (profiles with runs: small): nadam-ref sweep paper\n"),
        *(
            (["--profile", name], f"profile {name!r} is for looking, not for verdicts; for these there are: smoke, ")
            for name in ("live", "choices", "map")
        ),
    ],
)
def test_a_profile_without_verdicts_is_named_with_those_that_there_are(
    words: list[str], message: str, store: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in fails("--store", store.folder, *words, capsys=capsys)


def test_no_store_and_no_profile(tmp_path: Path, store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no store at" in fails("--store", tmp_path / "absent", capsys=capsys)
    assert "no runs of profile 'paper'" in fails("--store", store.folder, "--profile", "paper", capsys=capsys)
    assert "is no pack" in fails("--pack", store.folder, capsys=capsys)


def test_fault_64_mixed_hardware_is_flagged() -> None:
    records = [
        dataclasses.replace(r, provenance={**r.provenance, "cpu": f"CPU {r.spec.seed % 2}"})
        for r in constructed.arm("images", "Adam", list(SEEDS))
    ]
    text = " ".join(report.report(records).split())
    assert "Mixed hardware, 2 kinds: CPU 0, AVX2, cpu; CPU 1, AVX2, cpu." in text


def test_fault_64_gpus_are_named_and_flagged_too() -> None:
    records = [
        dataclasses.replace(r, provenance={**r.provenance, "gpu": f"GPU {r.spec.seed % 2}"})
        for r in constructed.arm("images", "Adam", list(SEEDS), device="cuda")
    ]
    text = " ".join(report.report(records).split())
    assert "Mixed hardware, 2 kinds: a CPU, AVX2, GPU 0; a CPU, AVX2, GPU 1." in text


@pytest.mark.parametrize("n", [1, 2])
def test_fault_66_the_number_of_seeds_stands_in_place_of_an_interval(n: int) -> None:
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
        (1.0, (0.988, 1.012), "1.000 (0.988, 1.012)"),
    ],
)
def test_a_mean_has_the_digits_that_its_interval_bears(mean: float, ends: tuple[Any, ...], text: str) -> None:
    assert report._with_ends(mean, ends) == text


def test_fault_68_diverged_runs_are_counted_in_the_open() -> None:
    ours = [*SEEDS[:8], math.inf, math.inf]
    records = constructed.arm("images", "Momentum", list(SEEDS)) + constructed.arm("images", "NAG", ours)
    assert "diverged: 2 and 0 of 10" in report.report(records)
    row = next(r for r in strictly(report.report(records, form="json"))["verdicts"] if r["diverged_first"])
    assert (row["ours_first"], row["ours_log_gap"], row["diverged_second"]) == (None, None, 0)


@pytest.mark.parametrize("last", [math.nan, math.inf])
def test_fault_68_a_run_that_ends_at_no_number_is_counted_as_diverged(last: float) -> None:
    records = constructed.arm("images", "Momentum", list(SEEDS)) + constructed.arm("images", "NAG", list(SEEDS))
    bad = next(i for i, r in enumerate(records) if r.spec.optimizer == "NAG" and r.spec.seed == 2)
    records[bad] = dataclasses.replace(records[bad], metrics={**records[bad].metrics, "test_loss": last})
    assert "diverged: 1 and 0 of 10" in report.report(records)
    assert "1 of 10" in report.report(records, table="methods")


def test_fault_71_a_report_of_nothing_but_divergence() -> None:
    records = constructed.arm("images", "Adam", [math.inf] * 10, diverges=True)
    for table in report.TABLES:
        for form in FORMATS:
            report.report(records, form=form, table=table)
    text = report.report(records, table="methods")
    assert re.search(r"Adam +0.01 edge +∞ \(n = 10\) +– +10 of 10 +–", text)


HOSTILE = r"\input{/etc/passwd} 100% & <b> $x_1$ ~ #^ {a} [b]"


def test_fault_76_latex_is_escaped_and_nothing_is_lost() -> None:
    escaped = tables.escape_latex(HOSTILE)
    bare = escaped
    for command_ in (
        r"\textbackslash{}",
        r"\textasciitilde{}",
        r"\textasciicircum{}",
        r"\textless{}",
        r"\textgreater{}",
        r"\textbraceleft{}",
        r"\textbraceright{}",
    ):
        bare = bare.replace(command_, "")
    assert not re.findall(r"\\[a-zA-Z]+", bare)
    assert not re.findall(r"(?<!\\)[&%$#_{}~^]", bare)


@pytest.mark.parametrize("form", tables.FORMATS)
def test_fault_76_a_hostile_cell(form: Any) -> None:
    groups = [Group([[HOSTILE]], HOSTILE)]
    table = Table([Column(HOSTILE)], groups, "x", HOSTILE, [{HOSTILE: HOSTILE}], [HOSTILE])
    text = tables.FORMATS[form](table)
    if form == "csv":
        assert list(csv.DictReader(io.StringIO(text))) == [{HOSTILE: HOSTILE}]
    elif form == "text":
        assert text.count(HOSTILE) == 5
    elif form == "markdown":
        assert [line.count("|") for line in text.splitlines() if line.startswith("|")] == [2] * 4
    else:
        assert r"\input" not in text and text.count(r"\textbackslash{}input") == 5


def test_a_cell_in_square_brackets_is_no_argument_of_the_line_break() -> None:
    table = Table([Column("a")], [Group([["one"], ["[Re]"]])])
    assert "{[Re]} \\\\" in tables.to_latex(table)


def test_words_longer_than_a_column_are_broken() -> None:
    table = Table([Column("a", "l", 10), Column("b", "r", 3)], [Group([["x" * 25, "1"]])])
    assert tables.to_text(table).splitlines()[3:] == ["x" * 10 + "  1", "x" * 10, "x" * 5]


def test_markdown_is_a_caption_a_table_with_headings_as_rows_and_notes() -> None:
    table = Table([Column("a|b"), Column("n", "r")], [Group([["x", "1 (0, 2)"]], "odd")], caption="C.", notes=["N."])
    lines = ["C.", "", "| a\\|b | n |", "| :-- | --: |", "| **odd** |  |", "| x | 1 (0,\u00a02) |", "", "N."]
    assert tables.to_markdown(table).splitlines() == lines


def test_csv_is_what_the_standard_library_reads() -> None:
    values = [None, True, float("inf"), 0.1, "a,b", 'a"b', "a\nb", "#a", ["a", "b"], "", "θ"]
    text = tables.csv_text([values, values])
    read = ["", "yes", "inf", "0.1", "a,b", 'a"b', "a\nb", "#a", "a; b", "", "θ"]
    assert list(csv.reader(io.StringIO(text, newline=""))) == [read, read] and '"#a"' in text


def test_gather_and_report_agree_on_what_there_is(store: Any) -> None:
    assert set(gather(store, "small")) == {"word2vec", "images"}

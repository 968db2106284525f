"""The reference pages: their tables and numbers are those of the data files, and what they say of the code is true."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from bs4 import BeautifulSoup
from scipy import stats
from small_book import ROOT

import nadam_ref
from nadam_ref import cli, experiments
from nadam_ref.book.extension import fact_tables
from nadam_ref.book.extension.fact_tables.protocol import runs
from nadam_ref.experiments import open_details
from nadam_ref.experiments.protocol import planning as planned
from nadam_ref.experiments.protocol.definition import load, profile_of
from nadam_ref.experiments.statistics import significance
from nadam_ref.experiments.verdicts import claims, verdicts

BOOK = ROOT / "book"
EXPERIMENTS = ROOT / "nadam_ref" / "experiments"
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in BOOK.glob("*.md")}
PROTOCOL = PAGES["protocol"] + PAGES["protocol_details"]
EVERYTHING = "\n".join(PAGES.values())


def markdown(name: str) -> str:
    block = fact_tables.BLOCKS[name]()
    return block if isinstance(block, str) else str(block.data)


def cells(name: str) -> list[list[str]]:
    """The rows of a block's table, without its header."""
    lines = [line for line in markdown(name).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture(scope="module")
def protocol() -> dict[str, Any]:
    loaded = yaml.safe_load((EXPERIMENTS / "protocol" / "protocol.yaml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


# ---------------------------------------------------------------- pages and data


def test_every_block_and_number_is_used_and_every_one_used_is_there() -> None:
    assert set(re.findall(r"^```\{facts\} (\S+)$", EVERYTHING, re.MULTILINE)) == set(fact_tables.BLOCKS)
    assert set(re.findall(r"\{\{ (\w+) \}\}", EVERYTHING)) == {*fact_tables.NUMBERS, "version"}


@pytest.mark.parametrize("name", fact_tables.NUMBERS)
def test_a_number_is_a_short_text(name: str) -> None:
    assert re.fullmatch(r"[\w., %]{1,64}", fact_tables.NUMBERS[name]())


PAGE = """
# A page

The level is {{ alpha }}, not {{ beta }}.

```{facts} reported-rates
```

```{facts} nowhere
```
"""


def test_a_page_shows_facts_and_says_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text(PAGE, encoding="utf-8")
    settings = """
extensions = ["myst_parser", "nadam_ref.book.extension.facts"]
myst_enable_extensions = ["colon_fence", "substitution"]
"""
    (tmp_path / "conf.py").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", ".", "out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    page = BeautifulSoup((tmp_path / "out" / "index.html").read_text(encoding="utf-8"), "html.parser")
    assert page.select_one("p:-soup-contains('The level')").text.startswith("The level is 0.05, not ")
    assert [row.text.split() for row in page.select("#tab-reported-rates tbody tr")][1] == [
        "Momentum",
        ".5",
        "recalled",
    ]
    assert "index.md:4: WARNING: Substitution error:UndefinedError: 'beta' is undefined" in done.stderr
    assert "no block is called 'nowhere'; there are: sizes, " in done.stderr
    assert "index.md:9" in done.stderr


def papers(protocol: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks of the papers: those that have the papers' size."""
    return [section for section in protocol["tasks"].values() if "paper" in section["profiles"]]


def test_the_sizes_are_the_protocols(protocol: dict[str, Any]) -> None:
    said = {
        (task.replace("_", " "), f"`{profile}`", data): f"{plan['steps']:,}"
        for task, section in protocol["tasks"].items()
        for profile, its in section["profiles"].items()
        if profile != "smoke"
        for data, plan in its["data"].items()
    }
    assert {tuple(row[:3]): row[3] for row in cells("sizes")} == said


@pytest.mark.parametrize(("task", "data"), [("images", "digits"), ("word2vec", "clusters"), ("autoencoder", "digits")])
def test_the_runs_are_those_that_a_sweep_makes(task: str, data: str) -> None:
    assert runs(task, "live") == len(planned.specs("live", data, task))


def test_the_runs_of_small_images_are_arms_times_rates_times_seeds() -> None:
    """Seven rates, as a search usually tries, with three seeds; then 16 arms at three rates and 2 at one."""
    assert fact_tables.NUMBERS["runs_images_small"]() == f"{18 * 7 * 3 + (16 * 3 + 2) * 40:,}"


def test_the_runs_are_known_without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "dataset", None)
    assert runs("autoencoder", "paper") == 8 * 10 + 8 * 7 * 2 + (7 * 3 + 1) * 10


def test_one_table_of_arms_speaks_for_the_three_tasks_of_the_report(protocol: dict[str, Any]) -> None:
    images, words, language = (protocol["tasks"][name]["arms"] for name in ("images", "word2vec", "language_model"))
    assert images == language
    assert images == {name: arm for name, arm in words.items() if name in images}
    assert [row[0] for row in cells("arms-words")] == [name for name in words if name not in images]


def test_rates_seeds_and_arms_are_the_protocols(protocol: dict[str, Any]) -> None:
    middle = {task.replace("_", " "): section["middle"] for task, section in protocol["tasks"].items()}
    live = {name: s["profiles"]["live"]["middle"] for name, s in protocol["tasks"].items() if "paper" in s["profiles"]}
    middle["language model, in `live`"] = live.pop("language_model")
    (middle["images, word2vec, autoencoder, in `live`"],) = _different(live.values())
    whole = [x for s in protocol["tasks"].values() for name, x in s["profiles"].items() if name in ("small", "paper")]
    assert len(whole) == 10 and not any("middle" in profile for profile in whole)
    families = ["gd", "sum", "adaptive", "max"]
    shown = {
        name: {x: float(_RATE.sub(_power, rate)) for x, rate in zip(families, rates, strict=True) if rate}
        for name, *rates in cells("rates")
    }
    assert shown == middle
    assert cells("seeds")[1:5] == [
        ["`small`", "images", "12", "1000–1002", "0–39"],
        ["`small`", "word2vec, language model, autoencoder", "12", "1000–1002", "0–9"],
        ["`small`", "digits", "12", "1000–1002", "0–4"],
        ["`small`", "transformer", "7", "1000, 1001", "0–9"],
    ]
    assert [row[0] for row in cells("arms-report")] == list(protocol["tasks"]["images"]["arms"])
    assert cells("arms-report")[5] == ["Nadam", "adaptive", "0.99", "0.004", "0.999", "$10^{-8}$", "cs229"]
    assert cells("arms-report")[-1][-1] == "interpolated, γ = 0.5"
    assert cells("arms-words")[0][-1] == "common count"
    assert cells("arms-words")[-1] == ["Nadam-iclr-dense", *cells("arms-report")[9][1:-1], "iclr, dense"]
    assert cells("arms-autoencoder")[1] == ["Momentum", "gd", "0.975", "0.004", "", "", "mean"]
    assert cells("arms-transformer")[1] == ["AdamW-0.1", "adaptive", "0.9", "", "0.999", "$10^{-8}$", "λ = 0.1"]
    assert [row[-1] for row in cells("arms-transformer")[14:19:3]] == [
        "with look-ahead, λ = 1",
        "without look-ahead, λ = 1",
    ]
    assert cells("arms-autoencoder")[-1][-2:] == ["$10^{-8}$\u00a0inside", "iclr"]


_RATE = re.compile(r"\$(?:(\S+) \\cdot )?10\^\{(.*)\}\$")


def _power(found: re.Match[str]) -> str:
    return f"{found[1] or 1}e{found[2]}"


def _different(found: Iterable[Any]) -> list[Any]:
    kept: list[Any] = []
    for x in found:
        kept += [] if x in kept else [x]
    return kept


def test_the_page_says_which_arms_are_run_and_reported_at_one_rate_only(protocol: dict[str, Any]) -> None:
    assert "every arm but gradient descent and MaxProp is reported at up to three rates" in PROTOCOL
    for section in papers(protocol):
        assert set(section["arms"]) - set(section["compared"]) == {"GD", "MaxProp"} & set(section["arms"])
    for name in {name for section in papers(protocol) for name in section["arms"]}:
        of_rows = name.endswith(("-common", "-dense"))
        assert of_rows or re.search(rf"\b{name}\b", PROTOCOL + markdown("arms-report")), name


def test_so_many_seeds_show_such_a_difference() -> None:
    """Simulated: normal pairs with the pilot's spread, whose mean is what the page says they show."""
    spread, generator = float(fact_tables.NUMBERS["pilot"]()), np.random.default_rng(0)
    level = claims.verdict_rules().alpha / 9
    for n, seen in (("n", "seen"), ("n_images", "seen_images")):
        pairs = int(fact_tables.NUMBERS[n]())
        mean = math.log1p(float(fact_tables.NUMBERS[seen]().removesuffix(" %")) / 100)
        drawn = generator.normal(mean, spread, (4000, pairs))
        t = drawn.mean(1) / (drawn.std(1, ddof=1) / math.sqrt(pairs))
        found = 2 * stats.t.sf(np.abs(t), pairs - 1) <= level
        assert found.mean() == pytest.approx(significance.POWER, abs=0.08)


def test_the_primary_table_has_the_papers_gaps() -> None:
    rows = {(row[0], row[1].replace("\u00a0", " ").replace("&lt;", "<")): row[2:] for row in cells("claims-primary")}
    assert len(rows) == 9
    printed, gap, delta = rows["word2vec", "Nadam < Adam"]
    assert printed.split(",")[0] == ".284"
    assert gap == f"−{100 * (1 - 0.284 / 0.325):.1f}\u00a0%"
    assert delta == f"{-0.25 * math.log(0.284 / 0.325):.3f}"
    assert [name for name, row in rows.items() if "†" in row[1]] == [("word2vec", "NadaMax < AdaMax")]
    assert {name for name in rows if ">" in name[1]} == {
        ("images", "Nadam > Adam"),
        ("images", "NAG > Momentum"),
        ("language model", "NAG > Momentum"),
    }
    assert fact_tables.NUMBERS["against"]() == "three"


def test_the_fingerprints_are_the_files_own() -> None:
    for room, name in (("protocol", "protocol"), ("verdicts", "claims")):
        content = (EXPERIMENTS / room / f"{name}.yaml").read_bytes()
        assert fact_tables.NUMBERS[f"{name}_sha256"]() == hashlib.sha256(content).hexdigest()
    assert cells("fingerprints")[0][2] == f"`{profile_of('images', 'small').sha256[:12]}`"


def test_the_papers_table_has_their_numbers_and_the_page_says_how_many_are_recalled() -> None:
    lines = (EXPERIMENTS / "published.csv").read_text(encoding="utf-8").splitlines()[1:]
    table = [line.split(",") for line in lines if line.startswith("cs229")]
    numbers = [cell.strip("*") for row in cells("reported") for cell in row[1:4]]
    assert sorted(numbers) == sorted(value for *_, value, _ in table)
    assert [row[2] for row in cells("reported-rates")] == ["recalled"] * 5 + ["secondary"]
    recalled = sum(confirmed == "recalled" for *_, confirmed in table)
    assert fact_tables.NUMBERS["recalled"]() == f"{recalled} of {len(table)}"
    best = [(row[0], cell) for row in cells("reported") for cell in row if "**" in cell]
    assert [name for name, _ in best] == ["Momentum", "RMSProp", "Nadam"]


# ---------------------------------------------------------------- what a page says of the rules


def definitions(page: str, heading: str) -> list[str]:
    """The terms of the definition list below a heading."""
    section = PAGES[page].split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^(\S.*)\n: ", section, re.MULTILINE)


def test_the_verdicts_are_those_that_are_given() -> None:
    assert set(definitions("protocol", "The verdicts")) == {*get_args(verdicts.Kind)} - {"Not run"}


def test_the_titles_and_the_suffixes_are_those_that_are_given() -> None:
    source = (EXPERIMENTS / "verdicts" / "verdicts.py").read_text(encoding="utf-8")
    for title in ("[Re]", "[¬Re]", "[Re] (partial)"):
        assert f'return "{title}"' in source
        assert f"- **{title}** " in PROTOCOL
    suffixes = re.findall(r'suffixes(?:\.append\(| = \()"([^"]*)"', source)
    assert len(suffixes) == 4
    for suffix in suffixes:
        assert re.search(rf"\*{suffix}\*", PROTOCOL)


def test_the_degrees_of_certainty_are_all_explained() -> None:
    introduction = PAGES["open_details"].split("## Errata")[0]
    assert re.findall(r"^(\w+)\n: ", introduction, re.MULTILINE) == list(open_details.CERTAINTY)


def test_every_degree_is_used_by_an_erratum_or_an_open_detail() -> None:
    errata = PAGES["open_details"].split("## Errata")[1].split("## Left open")[0]
    assert set(re.findall(r"; \*(\w+)\*", errata)) | {row.certainty for row in open_details.details()} == set(
        open_details.CERTAINTY
    )


def test_the_language_model_s_rate_falls_as_the_tutorial_s_did() -> None:
    """max(i − max_epoch, 0) with i from 0: what the page says of five epochs and of the last of thirteen."""
    halvings = [max(i - 4, 0) for i in range(13)]
    assert halvings.count(0) == 5 and halvings[-1] == 8
    (row,) = (row for row in open_details.details() if row.detail == "first epoch with a smaller rate")
    assert "five epochs" in row.paper and "2⁻⁸" in row.paper and "five epochs" in row.chosen


def test_every_open_detail_is_on_the_page_once() -> None:
    names = re.findall(r"\{facts\} (open-details-\w+)", PAGES["open_details"])
    rows = [row for name in names for row in cells(name)]
    assert [row[0].lower() for row in rows] == [
        row.detail.lower() for name in names for row in open_details.details() if name == f"open-details-{row.task}"
    ]
    assert len(rows) == len(open_details.details())


def test_every_open_detail_says_how_it_compares() -> None:
    words = {"same": "The same", "different": "Different", "unknown": "Not known"}
    for row in open_details.details():
        (shown,) = (x for x in cells(f"open-details-{row.task}") if x[0].lower() == row.detail.lower())
        assert shown[1].endswith(f"(*{row.certainty}*)")
        assert shown[2].startswith(f"[{words[row.compared]}]{{.compared}}")
        assert shown[2].endswith(f"*Why:* {row.why}.")
    counts = [sum(row.compared == kind for row in open_details.details()) for kind in ("different", "same", "unknown")]
    assert re.findall(r"\d+", fact_tables.NUMBERS["compared"]()) == list(map(str, counts))


# ---------------------------------------------------------------- errata


def test_the_extra_nu_lengthens_every_step_by_one_over_its_root() -> None:
    assert float(fact_tables.NUMBERS["extra_nu"]()) == pytest.approx(0.999**-0.5, abs=5e-5)


def test_the_warm_up_and_the_first_step_follow_from_the_formulas() -> None:
    def mu(t: int) -> float:
        return 0.99 * (1 - 0.5 * 0.96 ** (t / 250))

    product, report = 1.0, []
    for t in range(1, 1001):
        product *= mu(t)
        ahead = 1 - product * mu(t + 1)
        report.append(mu(t + 1) * (1 - 0.99**t) / ahead + (1 - mu(t)) / (1 - product))
    assert fact_tables.NUMBERS["warm_up_length"]() == f"{min(report):.3f}"
    assert fact_tables.NUMBERS["warm_up_step"]() == str(report.index(min(report)) + 1)
    over = int(fact_tables.NUMBERS["warm_up_over"]())
    assert abs(report[over - 2] - 1) > 0.01 >= max(abs(x - 1) for x in report[over - 1 :])
    first = mu(2) * (1 - mu(1)) / (1 - mu(1) * mu(2)) + 1
    assert fact_tables.NUMBERS["iclr_first"]() == f"{first:.3f}"


# ---------------------------------------------------------------- names


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "nadam_ref" / "book" / "extension" / "names.yaml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def known_to(optimizer: str) -> set[str]:
    """Arguments and state keys of a class of torch.optim, which is made to keep all the state that it can."""
    kind = getattr(torch.optim, optimizer)
    settings = {"momentum": 0.9} if optimizer in ("SGD", "RMSprop") else {}
    w = torch.ones(2, requires_grad=True)
    made = kind([w], lr=0.1, **settings)
    w.sum().backward()
    made.step()
    return {"params", *made.defaults, *made.state[w], *(f"betas[{i}]" for i in (0, 1) if "betas" in made.defaults)}


def test_torch_has_the_names_that_the_glossary_says(names: dict[str, Any]) -> None:
    known = {optimizer: known_to(optimizer) for _, optimizer in names["optimizers"].values() if optimizer != "–"}
    for symbol in names["symbols"]:
        for name, optimizers in symbol["torch"].items():
            for optimizer in optimizers:
                assert name in known[optimizer], (symbol["id"], name, optimizer)


def test_the_glossary_has_every_optimizer_and_its_twin(names: dict[str, Any]) -> None:
    twins = {name: getattr(getattr(c, "counterpart", None), "name", "–") for name, c in nadam_ref.OPTIMIZERS.items()}
    assert {name: torch_ for name, (_, torch_) in names["optimizers"].items()} == twins


def test_symbols_can_be_linked_and_terms_are_in_order(names: dict[str, Any]) -> None:
    identifiers = [symbol["id"] for symbol in names["symbols"]]
    assert len(identifiers) == len(set(identifiers))
    assert re.findall(r"\{#symbol-([\w-]+)\}", markdown("symbols")) == identifiers
    (glossary,) = re.findall(r"```\{glossary\}\n(.*?)```", PAGES["glossary"], re.DOTALL)
    terms = re.findall(r"^(\S.*)$", glossary, re.MULTILINE)
    assert terms == sorted(terms, key=str.lower)


# ---------------------------------------------------------------- commands


def texts() -> Iterator[str]:
    """Everything that gives a command: pages, chapters, and what GitHub shows."""
    yield EVERYTHING
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        yield "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])
    for name in ("README", "CONTRIBUTING"):
        yield (ROOT / f"{name}.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    """What is in a line of its own, as in a block of code, or between backticks."""
    pattern = r"^[ !$]*(?:python -m nadam_ref|(?:\.venv/bin/)?nadam-ref) ([^`\n]+)$|`nadam-ref ([^`]+)`"
    found = (a or b for text in texts() for a, b in re.findall(pattern, text, re.MULTILINE))
    return sorted({" ".join(shlex.split(command, comments=True)) for command in found} - {"--help"})


def test_commands_are_found_in_pages_chapters_and_beside_them() -> None:
    assert {"report --partial", "data get results", "sweep small --task autoencoder"} < set(commands())
    assert sum(command.startswith("verify --pack") for command in commands()) >= 2


@pytest.mark.parametrize("command", commands())
def test_a_command_that_a_page_gives_is_one(command: str) -> None:
    parsed = vars(cli._parser().parse_args(shlex.split(command)))
    tasks = parsed.get("task") or []
    assert {*([tasks] if isinstance(tasks, str) else tasks)} <= {*load().tasks}
    assert parsed.get("profile", "small") in ("live", "small", "paper")
    for folder in re.findall(r"\bbook/results/\S+", command):
        assert (ROOT / folder).is_dir()


def test_the_targets_of_make_that_a_page_gives_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", PAGES["run_it"], re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


# ---------------------------------------------------------------- the package


def imported_by_notebooks() -> set[str]:
    pattern, found = r"^from (nadam_ref[\w.]*) import (\([^)]+\)|.+)$", set()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for module, names in re.findall(pattern, "".join(cell["source"]), re.M):
                listed = re.findall(r"(\w+)(?: as \w+)?\s*(?:,|$)", names.strip("()"))
                found |= {f"{module}.{name}" for name in listed}
    return found


def documented(page: str) -> tuple[set[str], set[str]]:
    """The modules that a page documents, and the single names."""
    return (
        set(re.findall(r"automodule:: (\S+)", PAGES[page])),
        set(re.findall(r"auto(?:class|function|data|exception):: (\S+)", PAGES[page])),
    )


def test_the_reference_has_what_the_notebooks_import() -> None:
    pages = [documented(page) for page in ("api", "contributors", "cells")]
    modules, single = (set().union(*names) for names in zip(*pages, strict=True))
    known = modules | single | {f"nadam_ref.{name.rpartition('.')[2]}" for name in single}
    for name in imported_by_notebooks():
        assert name in known or name.rpartition(".")[0] in modules, f"{name} is on no page of the reference"


def test_the_reference_has_every_public_name_of_the_package() -> None:
    for name in nadam_ref.__all__:
        assert re.search(rf"\b{name}\b", PAGES["api"]), name


def test_every_public_name_of_the_experiments_is_there_and_has_a_docstring() -> None:
    assert "nadam_ref.experiments" in documented("api")[0]
    for name, home in experiments.HOMES.items():
        assert getattr(experiments, name) is getattr(importlib.import_module(f"nadam_ref.experiments.{home}"), name)
        assert name == "TASKS" or getattr(experiments, name).__doc__.strip()
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        experiments.nothing  # noqa: B018


def test_every_page_of_the_reference_is_listed() -> None:
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    (reference_part,) = [part for part in toc["parts"] if part["caption"] == "Reference"]
    listed = {Path(chapter["file"]).name for chapter in reference_part["chapters"]}
    assert {
        "run_it",
        "protocol",
        "papers",
        "open_details",
        "faults",
        "glossary",
        "api",
        "contributors",
        "cells",
    } <= listed


# ---------------------------------------------------------------- faults


def test_every_fault_is_on_the_page_with_a_test_that_is_there() -> None:
    rows = cells("faults")
    said = yaml.safe_load((ROOT / "nadam_ref" / "book" / "faults.yaml").read_text(encoding="utf-8"))
    words = {
        str(number): [f"[{part}]{{.compared}}: {wrong}", *other]
        for part in said
        for number, (wrong, *other) in said[part].items()
    }
    assert {re.findall(r"^\[(\d+)\]\{#fault-\1\}$", row[0])[0]: row[1:4] for row in rows} == words
    for *_, tests in rows:
        linked = re.findall(r"\]\(https://github\.com/nadam-ref/nadam-ref/blob/main/(tests/[\w/]+\.py)\)", tests)
        assert linked and all((ROOT / file).is_file() for file in linked)


def test_the_page_counts_faults_and_tests() -> None:
    """The tests by another reading of their sources: lines that begin a test with numbers in its name."""
    lines = (
        line for path in (ROOT / "tests").rglob("test_*.py") for line in path.read_text(encoding="utf-8").splitlines()
    )
    counted = sum(bool(re.match(r"def test_\w*?fault_\d+_", line)) for line in lines)
    assert fact_tables.NUMBERS["fault_tests"]() == str(counted)
    assert fact_tables.NUMBERS["faults"]() == str(len(cells("faults")))


# ---------------------------------------------------------------- the soak


def test_the_recorded_soak_lost_nothing_and_the_page_shows_the_whole_account() -> None:
    account = json.loads((BOOK / "results" / "soak" / "soak.json").read_text(encoding="utf-8"))
    faults, totals = account["faults"], account["totals"]
    assert account["violations"] == [] and account["dirty"] is False and account["seconds"] >= 3600
    assert min(faults.values()) > 0 and totals["asked"] == 80 * totals["rounds"] > 0
    assert totals["lost"] == totals["different"] == totals["repeated_without_cause"] == 0
    assert totals["repeated"] == totals["records_set_aside"] == faults["damage_a_record"]
    for name, group in (("soak-faults", faults), ("soak", totals)):
        assert sorted(int(number.replace(",", "")) for _, number in cells(name)) == sorted(group.values())
    assert f"--seconds 3600 --seed {account['seed']} --out" in markdown("soak-command")
    assert fact_tables.NUMBERS["soak_faults"]() == str(sum(faults.values()))


# ---------------------------------------------------------------- mutants


def test_the_page_has_the_recorded_mutants_and_tests_kill_nine_in_ten() -> None:
    """Lines that were changed since are no longer explained: the mutants have to be tried again."""
    recorded = json.loads((ROOT / "tests" / "mutation.json").read_text(encoding="utf-8"))
    counts = {name: list(x.values()) for name, x in recorded["modules"].items()}
    assert [[f"`{name}.py`", *map(str, x)] for name, x in counts.items()] == cells("mutation")
    assert all(made >= killed + equivalent for made, killed, equivalent in counts.values())
    made, killed, _ = (sum(column) for column in zip(*counts.values(), strict=True))
    assert killed >= 0.9 * made
    assert fact_tables.NUMBERS["mutants_killed"]() == f"{100 * killed / made:.1f} %"
    for x in recorded["equivalent"]:
        source = (ROOT / "nadam_ref" / f"{x['module']}.py").read_text(encoding="utf-8")
        assert x["line"] in map(str.strip, source.splitlines())


# ---------------------------------------------------------------- several processes


def test_a_mark_of_the_table_of_wrappers_is_a_test() -> None:
    """By what pytest collects: no row without tests of every optimizer, no mark without them, and none left out."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    listed = subprocess.run([*command, "tests/core/test_distributed.py"], cwd=ROOT, capture_output=True, text=True)
    collected: dict[tuple[str, str], set[str]] = {}
    for test, values in re.findall(r"::(\w+)\[(.*)\]", listed.stdout):
        name, *others = values.split("-")
        if path := {"default", "foreach", "fused", "capturable"} & set(others):
            collected.setdefault((test, *path), set()).add(name)
    source = (ROOT / "tests" / "core" / "test_distributed.py").read_text(encoding="utf-8")
    shown = set()
    for linked, *marks in cells("distributed"):
        (words,) = re.findall(r"^\[(.*)\]\(https://[\w./-]+/tests/core/test_distributed\.py\)$", linked)
        (name,) = re.findall(rf'def (test_\w+)\([^"]*\n    """{re.escape(words)}\."""', source)
        paths = ("default", "foreach", "fused", "capturable")
        shown |= {(name, path) for path, mark in zip(paths, marks, strict=True) if mark == "✓"}
    assert shown == collected.keys()
    assert all(names == set(nadam_ref.OPTIMIZERS) for names in collected.values())
    assert fact_tables.NUMBERS["distributed_tolerance"]() == "0.000001"

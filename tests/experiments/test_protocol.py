"""The protocol says what the report and the project's plan say; its smallest profile runs whole."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import constructed
import pytest
import torch
import yaml

import nadam_ref
from nadam_ref.experiments.datasets import registry
from nadam_ref.experiments.protocol import definition, planning
from nadam_ref.experiments.protocol.definition import load, profile_of
from nadam_ref.experiments.published import reported
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs.record import Record
from nadam_ref.experiments.runs.train import run
from nadam_ref.experiments.tasks import model_of
from nadam_ref.experiments.verdicts.arms import best, gather, rows
from nadam_ref.experiments.verdicts.verdicts import compare

RESULTS = Path(__file__).parents[2] / "book" / "results"
NINE = ["GD", "Momentum", "NAG", "RMSProp", "Adam", "Nadam", "MaxProp", "AdaMax", "NadaMax"]


def test_the_nine_methods_in_the_reports_order() -> None:
    assert list(dict.fromkeys(arm.optimizer for arm in load().task("images").arms.values())) == NINE
    assert set(NINE) < set(nadam_ref.OPTIMIZERS)


DIALECTS = ["Nadam-iclr", "Nadam-constant", "Nadam-interpolated", "NadaMax-iclr", "NadaMax-constant"]
APART = ["Nadam-unit", "Nadam-iclr-short", "Adam-short", "QHAdam"]
ROWS = [f"{name}-{how}" for how in ("common", "dense") for name in ("Adam", "Nadam", "Nadam-iclr")]


def data_of(profile: Any, task: Any) -> Any:
    """The first data set of a profile; skips where it is not there."""
    name = next(iter(profile_of(task, profile).data))
    if registry.state(name) == "absent":
        pytest.skip(f"needs {name} in NADAM_REF_DATA or the cache")
    return name


def test_the_arms() -> None:
    for task, more in (("images", []), ("word2vec", ROWS), ("language_model", [])):
        assert planning.arms(task) == NINE + DIALECTS + APART + more
        assert planning.arms(task, "live") == NINE
    assert planning.arms("word2vec", "paper") == NINE + DIALECTS + APART + ROWS[:3]
    six = ["GD", "Momentum", "NAG", "RMSProp", "Adam", "Nadam"]
    assert planning.arms("autoencoder") == six + DIALECTS[:3] + APART + ["Nadam-iclr-printed"]


@pytest.mark.parametrize("task", load().having("paper"))
def test_every_arm_but_the_two_without_a_pair_is_compared(task: Any) -> None:
    assert set(planning.arms(task)) - set(load().task(task).compared) <= {"GD", "MaxProp"}


@pytest.mark.parametrize(
    ("task", "profile"),
    [(name, x) for name, task in load().tasks.items() for x, plan in task.profiles.items() if plan.most],
)
def test_every_search_begins_with_three_rates_and_the_tuning_seeds(task: Any, profile: str) -> None:
    specs = planning.specs(profile, data_of(profile, task), task)
    arms, (tuning, reporting) = planning.arms(task, profile), planning.seeds(profile, task)
    assert len({spec.id for spec in specs}) == len(specs) == len(arms) * 3 * len(tuning)
    assert list(dict.fromkeys(map(planning.arm, specs))) == arms
    assert [spec.seed for spec in specs] == sorted(spec.seed for spec in specs)
    assert {spec.seed for spec in specs} == set(tuning) and not set(tuning) & set(reporting)
    two = [1000, 1001]
    counts = {"smoke": (two, 2), "live": ([0, 1], 0), "paper": (two, 10), "choices": (two, 5)}
    small = (two if task == "transformer" else [*two, 1002], {"images": 40, "digits": 5}.get(task, 10))
    assert (tuning, len(reporting)) == counts.get(profile, small)
    assert reporting == list(range(len(reporting)))


def test_arms_of_a_family_begin_at_the_same_rates() -> None:
    for task in load().tasks:
        specs = planning.specs("small", data_of("small", task), task)
        tried = {}
        for spec in specs:
            tried.setdefault(load().task(task).arms[planning.arm(spec)].family, set()).add(spec.lr)
        assert all(len(rates) == 3 for rates in tried.values())


def test_the_words_of_an_arm_are_what_it_runs() -> None:
    """Dense arms are not row-lazy; the others differ in the keywords that their names speak of."""
    specs = {planning.arm(spec): spec for spec in planning.specs("smoke", "clusters", "word2vec")}
    assert {name for name, spec in specs.items() if not spec.row_lazy} == {x for x in ROWS if x.endswith("dense")}
    assert {name for name, x in specs.items() if x.hyperparameters.get("row_counts") == "common"} == set(ROWS[:3])
    assert {name for name, x in specs.items() if "length" in x.hyperparameters} == set(APART[:3])
    assert specs["QHAdam"].hyperparameters["gamma"] == 0.5
    specs = {planning.arm(spec): spec for spec in planning.specs("smoke", "digits", "autoencoder")}
    printed = specs["Nadam-iclr-printed"].hyperparameters
    assert (printed["eps"], printed["eps_root"]) == (0.0, 1e-8)
    for spec in specs.values():
        assert spec.hyperparameters.get("form", "mean") == "mean"
        assert spec.hyperparameters.get("betas", (0.975, 0.999)) == (0.975, 0.999)


def test_what_tasks_fix_for_their_runs() -> None:
    (spec, *_) = planning.specs("smoke", "chain", "language_model")
    assert (spec.clip_norm, spec.anneal, spec.row_lazy, spec.batch) == (5.0, (0.5, 5), False, 20)
    (spec, *_) = planning.specs("smoke", "clusters", "word2vec")
    assert (spec.clip_norm, spec.anneal, spec.row_lazy, spec.batch) == (None, None, True, 128)
    (spec, *_) = planning.specs("smoke", "chain", "transformer")
    assert (spec.clip_norm, spec.anneal, spec.row_lazy, spec.batch) == (1.0, (0.1, 2), False, 16)


def test_the_transformers_arms_are_methods_times_decays() -> None:
    """Seven methods, each with three decays; η λ at the middle rate is the same for both families."""
    plan = load().task("transformer")
    methods = dict.fromkeys(name.rsplit("-", 1)[0] for name in plan.arms)
    dialects = ["NAdamW-constant", "NAdamW-iclr", "NAdamW-cs229"]
    assert list(methods) == ["AdamW", *dialects, "Muon", "Muon-plain", "NAG"] and len(plan.arms) == 3 * len(methods)
    for name, arm in plan.arms.items():
        method, decay = name.rsplit("-", 1)
        h = arm.hyperparameters
        assert h["weight_decay"] == float(decay)
        assert arm.optimizer == {"AdamW": "Adam", "NAG": "NAG"}.get(
            method, method.split("-")[0].replace("NAdamW", "Nadam")
        )
        assert h.get("decoupled_weight_decay", arm.optimizer == "Muon") is True
        if method.startswith("NAdamW"):
            assert h["dialect"] == method.split("-")[1]
    shrinks = {
        method: [
            plan.middle[arm.family] * arm.hyperparameters["weight_decay"]
            for name, arm in plan.arms.items()
            if name.rsplit("-", 1)[0] == method
        ]
        for method in methods
    }
    assert all(found == pytest.approx([0, 3.2e-4, 3.2e-3]) for found in shrinks.values())


def test_settings_are_the_reports() -> None:
    """μ .99 with the schedule, ν .999, ε 1e-8, corrections wherever there are any, and nothing else switched on."""
    for spec in planning.specs("live", "digits"):
        hyper = dict(spec.hyperparameters)
        assert hyper.get("eps", 1e-8) == 1e-8
        assert hyper.get("alpha", 0.999) == 0.999
        assert hyper.get("betas", (0.99, 0.999)) == (0.99, 0.999)
        assert hyper.get("momentum", 0.99) == 0.99
        assert hyper.get("momentum_decay", 0.004) == 0.004
        assert hyper.get("bias_correction", True) is True
        assert hyper.get("form", "sum") == "sum"
        assert hyper.get("dialect", "cs229") == "cs229"
        assert hyper["weight_decay"] == 0 and hyper["maximize"] is False
        nadam_ref.OPTIMIZERS[spec.optimizer](
            [torch.zeros(1, requires_grad=True)], **hyper
        )  # the class accepts all of it


@pytest.mark.skipif(registry.state("mnist") == "absent", reason="needs MNIST in NADAM_REF_DATA or the cache")
def test_sizes_and_lengths() -> None:
    for profile, steps, dense in (("small", 1500, 64), ("paper", 8593, 512)):
        specs = planning.specs(profile, "mnist")
        assert {spec.steps for spec in specs} == {steps} and {spec.model["dense"] for spec in specs} == {dense}
        assert {spec.subset for spec in specs} == {None}
    assert pytest.approx(10, abs=0.01) == 8593 * 64 / 55_000
    assert planning.dataset("live", "mnist").label.startswith("MNIST, first ")


# ---------------------------------------------------------------- from tuning to reporting


def ended(spec: Any, best: Any, *, diverged: Any = (), failed: Any = ()) -> Any:
    """A record whose log development loss is the distance of its rate from the arm's best, in decades."""
    lr = spec.lr
    loss = math.exp(abs(math.log10(lr / best.get(planning.arm(spec), 1e-2))))
    status = "diverged" if lr in diverged else "timeout" if lr in failed else "finished"
    metrics = dict.fromkeys(("dev_loss", "test_loss", "dev_perplexity"), loss) if status == "finished" else {}
    return Record(spec, status, "", 0, {"dev_loss": []}, metrics, {})


def tuned(best: Any = None, profile: str = "small", task: str = "images", **how: Any) -> Any:
    """The records of a whole search."""
    records = []
    while specs := planning.search(profile, data_of(profile, task), task, records):
        records += [ended(spec, best or {}, **how) for spec in specs]
    return records


def test_a_search_goes_on_for_the_arms_that_need_it() -> None:
    best = {"Adam": 1e-1, "NAG": 1e-1}
    records = tuned(best)
    found = planning.choices(records)
    assert (found["Adam"].lr, found["NAG"].lr) == (1e-1, 1e-1)
    assert not any(choice.edge for choice in found.values())
    tried = planning.rates(records)
    assert len(tried["NAG"]) == 5 and len(tried["Adam"]) == 3 + 3 + 2
    seeds = {(planning.arm(r.spec), r.spec.lr, r.spec.seed) for r in records}
    assert len(seeds) == len(records) == 3 * sum(map(len, tried.values()))


def test_the_reporting_runs_are_made_seed_by_seed_at_three_rates() -> None:
    best = {"GD": 0.32, "Adam": 1e-2, "Nadam": 5.6e-3, "RMSProp": 3.2e-3}
    records = tuned(best)
    reported = planning.reporting("small", "mnist", "images", records)
    assert [spec.seed for spec in reported] == sorted(spec.seed for spec in reported)
    assert {spec.seed for spec in reported} == set(range(40))
    rates = {}
    for spec in reported:
        rates.setdefault(planning.arm(spec), []).append(spec.lr)
    every = {name: list(dict.fromkeys(found)) for name, found in rates.items()}
    assert list(every) == planning.arms("images") and every["GD"] == [0.32]
    choices = planning.choices(records)
    assert every["Nadam"][:2] == [5.6e-3, choices["Nadam"].runner_up]
    common = {found[-1] for name, found in every.items() if name in ("Adam", "Nadam", "RMSProp") and len(found) == 3}
    shared = {lr for lr in planning.rates(records)["Adam"] if all(lr in every[n] for n in ("Adam", "Nadam", "RMSProp"))}
    assert shared and common <= shared


def test_a_rate_whose_runs_failed_counts_as_tried_and_is_not_chosen() -> None:
    best = {"Adam": 3.2e-3}
    assert planning.choices(tuned(best))["Adam"].lr == 3.2e-3
    assert planning.choices(tuned(best, failed={3.2e-3}))["Adam"].lr == 5.6e-3  # found from 1e-2
    assert planning.choices(tuned(best, diverged={3.2e-3}))["Adam"].lr == 5.6e-3
    nothing = tuned(best, failed={lr for tried in planning.rates(tuned(best)).values() for lr in tried})
    assert "Adam" not in planning.choices(nothing[:1])


def test_the_rates_that_a_paper_printed_are_run_first() -> None:
    specs = planning.printed("paper", data_of("paper", "autoencoder"), "autoencoder")
    named = {planning.arm(spec): spec.lr for spec in specs}
    table = reported("iclr", "autoencoder")
    assert named["Nadam-iclr-printed"] == named["Nadam-iclr"] == float(table["Nadam"].value)
    assert {name: lr for name, lr in named.items() if "-" not in name} == {n: float(x.value) for n, x in table.items()}
    assert {spec.seed for spec in specs} == set(range(10)) and len(specs) == 10 * len(named)
    assert planning.printed("small", data_of("small", "images"), "images") == []


def test_the_stages_of_a_profile() -> None:
    """Tuning, then reporting; a run that is left out ends it."""
    plans, asked = [planning.Plan("smoke", "digits", task) for task in ("images", "autoencoder")], []

    def make(specs: Any) -> Any:
        asked.append(specs)
        return [ended(spec, {}) for spec in specs]

    assert planning.run_stages(plans, make)
    arms = [len(planning.arms(task)) for task in ("images", "autoencoder")]
    assert [len(specs) for specs in asked[:1]] == [sum(arms) * 3 * 2]
    assert {spec.seed for spec in asked[0]} == {1000, 1001} and {spec.seed for spec in asked[1]} == {0, 1}
    expected = sum(sum(planning.expected_runs(plan.task, plan.profile).values()) for plan in plans)
    assert sum(arms) * 2 < len(asked[1]) <= expected - len(asked[0])
    assert not planning.run_stages(plans, lambda specs: make(specs)[1:])


@pytest.mark.parametrize("task", load().tasks)
def test_an_arm_is_known_by_its_settings_however_they_are_typed(task: Any) -> None:
    for name in load().task(task).arms:
        assert planning.arm(constructed.spec(task, name, 0.1, 0)) == name


def test_the_pilot_is_that_of_the_runs_of_version_2() -> None:
    """40 seeds for images: the spread over pairs comes from the recorded runs."""
    found = gather(pack.read(RESULTS / "images-pilot"), "small")["images"]
    spread = compare(found["Nadam"], found["Adam"], "test_loss").differences.std(ddof=1)
    assert profile_of("images", "small").pilot == pytest.approx(spread, abs=5e-4)
    assert profile_of("word2vec", "small").pilot is None


# ---------------------------------------------------------------- earlier versions


def test_packs_of_version_2_keep_their_plan() -> None:
    records = pack.read(RESULTS / "images-pilot")
    (said,) = {record.provenance["protocol_sha256"] for record in records}
    assert definition.version_of("images", "small", said) == 2
    assert definition.version_of("images", "small", profile_of("images", "small").sha256) == load().version == 3
    assert planning.version(records[0]) == 2
    assert planning.planned_seeds(records) == {"images": list(range(10))}
    assert {planning.arm(record.spec) for record in records} == set(NINE + DIALECTS)


# ---------------------------------------------------------------- the file

PROTOCOL = Path(definition.__file__).with_name("protocol.yaml").read_text(encoding="utf-8")

#: Hashes that recorded runs carry, of each version: they never change.
RECORDED = {
    (2, "images", "small"): "7480f110522dc94d7ef31330b18628cd364ac74ac72a6b997af1fcf0887808cd",
    (3, "images", "small"): "28c20c7e9a09226d6d0ce8292782d7cc67736f8968efcab7cc295fb2b274eb76",
    (3, "word2vec", "small"): "97a75b3c3887aa685eca963db5223856746a62f9dd8109c7d1d1aadfb4f15261",
    (3, "language_model", "small"): "bb161034f9fe9b8ffe41f60ad1c14cccf56413f67308712c53808a0fb32d0a7c",
    (3, "autoencoder", "small"): "2d7e9a4968dd95c2d2ad3ac357cea697739086dd98d89fa84f4c1beaf6eacab4",
    (3, "digits", "small"): "0eb6648733eaa70b8c9b6d9f1c8b6255777315f8836afb3dc89a579791e8ba17",
    (3, "transformer", "small"): "07cfded0160cfe202db0392e5ba0a175f68c2888d48ed8b8fada1f8124abea64",
    (3, "word2vec", "paper"): "390ab7ad407cfa4530aee35e971b712ef83adfd084848f2dc938e0fd3d7b377a",
}


@pytest.mark.parametrize(("version", "task", "profile"), RECORDED)
def test_the_hashes_in_recorded_runs_stay(version: Any, task: Any, profile: Any) -> None:
    assert profile_of(task, profile, version).sha256 == RECORDED[version, task, profile]


def test_the_hash_is_of_what_is_said_on_a_profile_of_a_task() -> None:
    def hashes(content: Any) -> Any:
        tasks = definition.read(yaml.safe_dump(content)).tasks
        return {
            (name, x): task.profiles[x].sha256
            for name, task in tasks.items()
            for x in ("small", "live")
            if x in task.profiles
        }

    content = yaml.safe_load(PROTOCOL)
    before = hashes(content)
    assert len(set(before.values())) == 11
    assert before == {(task, name): profile_of(task, name).sha256 for task, name in before}
    changed = copy.deepcopy(content)
    changed["tasks"]["images"]["profiles"]["small"]["data"]["mnist"]["steps"] = 1501
    after = hashes(changed)
    assert {key for key in before if before[key] != after[key]} == {("images", "small")}
    assert not set(after.values()) & set(hashes({**changed, "version": 4}).values())


def test_an_earlier_version_is_read_whole() -> None:
    plan = profile_of("images", "small", 2)
    assert plan.tuning == (1000, 1001) and plan.reporting == tuple(range(10))
    assert len(plan.rates["adaptive"]) == 8 and plan.seeds.extend == 3 and plan.middle == {}
    assert "Nadam-radam" in plan.arms
    with pytest.raises(planning.ProtocolError, match="there is no version 7 of the protocol; there are: 2, 3"):
        load(7)


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("most: 12", "most: many", "many", "tasks.images.profiles.small.most must be a whole number, not 'many'"),
        ("pilot: 0.131", "pilots: 0.131", "pilots", "small.pilots is not a key here; there are: seeds, data"),
        ("family: gd, hyper", "hyper", "  GD: {", "tasks.images.arms.GD has no 'family'"),
        ("steps: 1500, evaluate", "steps: 1.5e3, evaluate", "1.5e3", "small.data.mnist.steps must be a whole number"),
        ("reporting: 40", "reporting: [0, 1000]", "small:", "profiles.small tunes and reports with seed 1000"),
        (
            "[GD, Momentum, NAG, RMSProp, Adam, Nadam]",
            "[Gd, NAG]",
            "Gd",
            "live.arms names 'Gd'; there are: GD, Momentum",
        ),
        ("bias_correction: true", "bias: true", "  RMSProp: {", "arms.RMSProp cannot be: RMSProp: got an unexpected"),
        ("{gd: 3.2e-1, sum: 1.0e-1,", "{sum: 1.0e-1,", "middle: {sum", "images.middle says nothing on the family 'gd'"),
        (
            "anneal: [0.5, 5]",
            "anneal: [0.5]",
            "[0.5]",
            "anneal must be a list of: a positive number, a whole",
        ),
        ("batch: 64", "batch 64", "", "protocol.yaml is not YAML"),
        ("version: 3", "versions: 3", "# What is run", "the file has no 'version'"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(old: str, new: str, key: str, message: str) -> None:
    text = PROTOCOL.replace(old, new, 1)
    assert text != PROTOCOL
    with pytest.raises(planning.ProtocolError, match=re.escape(message)) as error:
        definition.read(text)
    if key:
        line = next(number for number, words in enumerate(text.splitlines(), 1) if key in words)
        assert f"protocol.yaml, line {line}: " in str(error.value)


def test_a_new_choice_of_a_task_at_its_default_changes_no_id() -> None:
    @dataclasses.dataclass
    class Size:
        units: int
        init: str = "paper"

    assert model_of(Size(3)) == {"units": 3}
    assert model_of(Size(3, "he_normal")) == {"units": 3, "init": "he_normal"}


def test_what_the_protocol_does_not_have() -> None:
    for arguments, message in (
        (("huge", "digits"), "no profile 'huge'; it has: smoke, live, small, paper, choices"),
        (("paper", "digits"), "'paper', 'digits'; it has: mnist"),
        (("live", "digits", "poetry"), "no task 'poetry'; it has: images, word2vec"),
    ):
        with pytest.raises(planning.ProtocolError, match=message):
            planning.specs(*arguments)


def test_the_smoke_profile_runs_whole() -> None:
    records = [run(spec) for spec in planning.specs("smoke", "digits")]
    table = rows(records)
    assert len(table) == 18 * 3
    assert [row.arm for row in best(records)] == NINE + DIALECTS + APART
    assert all(row.n == 2 and math.isfinite(row.dev_loss.mean) for row in table)


def test_a_live_run_learns_the_digits() -> None:
    (spec,) = [s for s in planning.specs("live", "digits") if (s.optimizer, s.lr, s.seed) == ("RMSProp", 0.01, 0)]
    assert run(spec).metrics["test_accuracy"] > 0.9

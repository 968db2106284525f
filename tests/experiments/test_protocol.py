"""The protocol says what the report and the project's plan say; its smallest profile runs whole."""

import copy
import dataclasses
import math

import pytest
import torch

import nadam_ref
from nadam_ref.experiments import data, protocol, protocol_file, stages, statistics
from nadam_ref.experiments.records import Record
from nadam_ref.experiments.train import run

NINE = ["GD", "Momentum", "NAG", "RMSProp", "Adam", "Nadam", "MaxProp", "AdaMax", "NadaMax"]


def test_the_nine_methods_in_the_reports_order():
    assert protocol.methods() == NINE
    assert set(NINE) < set(nadam_ref.OPTIMIZERS)


DIALECTS = ["Nadam-iclr", "Nadam-constant", "Nadam-radam", "NadaMax-iclr", "NadaMax-constant"]
GRID = {float(f"{digit}e{power}") for power in range(-6, 2) for digit in ("1", "3.2")}


def data_of(profile, task):
    """The first data set of a profile; skips where it is not there."""
    name = protocol.data_names(profile, task)[0]
    if not data.available(name):
        pytest.skip(f"needs {name} in NADAM_REF_DATA or the cache")
    return name


def test_the_arms():
    for task in ("images", "word2vec", "language_model"):
        assert protocol.arms(task) == NINE + DIALECTS
        assert protocol.arms(task, "live") == NINE
    six = ["GD", "Momentum", "NAG", "RMSProp", "Adam", "Nadam"]
    assert protocol.arms("autoencoder") == six + DIALECTS[:3]


@pytest.mark.parametrize("task", protocol.tasks())
@pytest.mark.parametrize("profile", ["smoke", "live", "small", "paper"])
def test_every_profile_is_arms_times_rates_times_seeds(task, profile):
    specs = protocol.specs(profile, data_of(profile, task), task)
    arms, (tuning, reporting) = protocol.arms(task, profile), protocol.seeds(profile, task)
    rates = 8 if profile in ("small", "paper") else 3
    assert len({spec.id for spec in specs}) == len(specs) == len(arms) * rates * len(tuning)
    assert list(dict.fromkeys(map(protocol.arm, specs))) == arms
    assert {spec.seed for spec in specs} == set(tuning) and not set(tuning) & set(reporting)
    assert {spec.lr for spec in specs} <= GRID
    counts = {"smoke": ([1000, 1001], 2), "live": ([0, 1], 0), "small": ([1000, 1001], 10)}
    assert (tuning, len(reporting)) == counts.get(profile, ([1000, 1001, 1002], 20))
    assert reporting == list(range(len(reporting)))


def test_the_windows_of_the_rates():
    """Those of the protocol: eight half decades, by family."""
    specs = protocol.specs("small", data_of("small", "images"))
    for spec in specs:
        low, high = (1e-3, 3.2) if spec.optimizer == "GD" else (1e-5, 3.2e-2)
        assert low <= spec.lr <= high
    assert len(specs) + 14 * 10 == 364
    for spec in protocol.specs("small", data_of("small", "autoencoder"), "autoencoder"):
        assert (spec.lr >= 1e-3) or spec.optimizer not in ("GD", "Momentum", "NAG")
        assert spec.hyperparameters.get("form", "mean") == "mean"
        assert spec.hyperparameters.get("betas", (0.975, 0.999)) == (0.975, 0.999)


def test_what_tasks_fix_for_their_runs():
    (spec, *_) = protocol.specs("smoke", "chain", "language_model")
    assert (spec.clip_norm, spec.anneal, spec.row_lazy, spec.batch) == (5.0, (0.5, 5), False, 20)
    (spec, *_) = protocol.specs("smoke", "clusters", "word2vec")
    assert (spec.clip_norm, spec.anneal, spec.row_lazy, spec.batch) == (None, None, True, 128)


def test_settings_are_the_reports():
    """μ .99 with the schedule, ν .999, ε 1e-8, corrections wherever there are any, and nothing else switched on."""
    for spec in protocol.specs("live", "digits"):
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


@pytest.mark.skipif(not data.available("mnist"), reason="needs MNIST in NADAM_REF_DATA or the cache")
def test_sizes_and_lengths():
    for profile, steps, dense in (("small", 1500, 64), ("paper", 8593, 512)):
        specs = protocol.specs(profile, "mnist")
        assert {spec.steps for spec in specs} == {steps} and {spec.model["dense"] for spec in specs} == {dense}
        assert {spec.subset for spec in specs} == {None}
    assert pytest.approx(10, abs=0.01) == 8593 * 64 / 55_000
    assert protocol.dataset("live", "mnist").label.startswith("MNIST, first ")


# ---------------------------------------------------------------- from tuning to reporting


def tuned(best, specs, diverged=(), failed=()):
    """Records whose development loss is the distance of the rate from `best[arm]`, in decades."""
    return [
        Record(
            spec=spec,
            status="diverged" if spec.lr in diverged else "timeout" if spec.lr in failed else "finished",
            reason="",
            step=0,
            curves={"dev_loss": []},
            metrics={}
            if spec.lr in (*diverged, *failed)
            else dict.fromkeys(("dev_loss", "test_loss"), abs(math.log10(spec.lr / best))),
            provenance={},
        )
        for spec in specs
        if protocol.arm(spec) == "Adam"
    ]


@pytest.fixture
def grid():
    return protocol.specs("small", data_of("small", "images"))


def test_the_best_rate_on_dev_is_reported_with_other_seeds(grid):
    records = tuned(1e-3, grid)
    assert protocol.choose(records) == {"Adam": (1e-3, False, 0.0)}
    assert protocol.extension("small", "mnist", "images", records) == []
    reported = protocol.reporting("small", "mnist", "images", records)
    assert [spec.seed for spec in reported] == list(range(10))
    assert {(protocol.arm(spec), spec.lr) for spec in reported} == {("Adam", 1e-3)}


@pytest.mark.parametrize(
    ("best", "moves", "edge"),
    [(1e-1, [1e-1, 3.2e-1], False), (1e3, [1e-1, 3.2e-1, 1.0], True), (1e-9, [3.2e-6, 1e-6, 3.2e-7], True)],
)
def test_fault_71_a_best_rate_at_the_edge_moves_the_window_and_then_says_so(grid, best, moves, edge):
    records, found = tuned(best, grid), []
    while more := protocol.extension("small", "mnist", "images", records):
        assert [spec.seed for spec in more] == [1000, 1001]
        found.append(more[0].lr)
        records += tuned(best, more)
    assert found == moves
    assert protocol.choose(records)["Adam"].edge is edge


def test_fault_71_all_rates_diverge(grid):
    everything = {spec.lr for spec in grid}
    choice = protocol.choose(tuned(1e-3, grid, diverged=everything))["Adam"]
    assert choice == (1e-5, True, math.inf)


def test_a_rate_whose_runs_failed_is_not_chosen_and_one_that_diverged_counts_as_infinite(grid):
    assert protocol.choose(tuned(1e-3, grid, failed={1e-3}))["Adam"].lr == 3.2e-4  # 1 / 3.2 is nearer than 3.2
    assert protocol.choose(tuned(1e-3, grid, diverged={1e-3, 3.2e-4}))["Adam"].lr == 3.2e-3
    assert protocol.choose(tuned(1e-3, grid, failed={spec.lr for spec in grid})) == {}


def test_the_stages_of_a_profile():
    """Tuning, then reporting; what is expected is what is asked for; a run that is left out ends it."""
    plans, asked = [stages.Plan("smoke", "digits", task) for task in ("images", "autoencoder")], []

    def make(specs):
        asked.append(specs)
        return [
            Record(
                spec,
                "finished",
                "",
                0,
                {"dev_loss": []},
                dict.fromkeys(("dev_loss", "test_loss"), float(spec.lr != 0.01)),
                {"of": spec.task},
            )
            for spec in specs
        ]

    assert stages.stages(plans, make)
    assert [len(specs) for specs in asked] == [(14 + 9) * 3 * 2, (14 + 9) * 2]
    assert stages.expected(plans) == sum(map(len, asked))
    assert {spec.seed for spec in asked[1]} == {0, 1}
    assert not stages.stages(plans, lambda specs: make(specs)[1:])


# ---------------------------------------------------------------- the hash


def test_the_hash_is_of_what_is_said_on_a_profile_of_a_task(monkeypatch):
    content = copy.deepcopy(protocol_file._content())
    monkeypatch.setattr(protocol_file, "_content", lambda: content)

    def hashes():
        protocol_file.sha256.cache_clear()
        return {
            (task, profile): protocol_file.sha256(task, profile)
            for task in protocol.tasks()
            for profile in ("small", "live")
        }

    try:
        before = hashes()
        assert len(set(before.values())) == 8 and protocol_file.sha256("images", "huge") == ""
        content["tasks"]["images"]["profiles"]["small"]["data"]["mnist"]["steps"] = 1501
        after = hashes()
        assert {key for key in before if before[key] != after[key]} == {("images", "small")}
        content["version"] += 1
        assert not set(after.values()) & set(hashes().values())
    finally:
        protocol_file.sha256.cache_clear()


def test_a_new_choice_of_a_task_at_its_default_changes_no_id():
    @dataclasses.dataclass
    class Size:
        units: int
        init: str = "paper"

    assert protocol.model(Size(3)) == {"units": 3}
    assert protocol.model(Size(3, "he_normal")) == {"units": 3, "init": "he_normal"}


def test_what_the_protocol_does_not_have():
    for arguments, message in (
        (("huge", "digits"), "no profile 'huge'; it has: smoke, live, small, paper"),
        (("paper", "digits"), "'paper', 'digits'; it has: mnist"),
        (("live", "digits", "poetry"), "no task 'poetry'; it has: images, word2vec"),
    ):
        with pytest.raises(ValueError, match=message):
            protocol.specs(*arguments)


def test_the_smoke_profile_runs_whole():
    records = [run(spec) for spec in protocol.specs("smoke", "digits")]
    table = statistics.rows(records)
    assert len(table) == 14 * 3
    found = statistics.best(table)
    assert [row.optimizer for row in found] == NINE + [name.split("-")[0] for name in DIALECTS]
    assert all(row.n == 2 and math.isfinite(row.dev_loss.mean) for row in found)


def test_a_live_run_learns_the_digits():
    (spec,) = [s for s in protocol.specs("live", "digits") if (s.optimizer, s.lr, s.seed) == ("RMSProp", 0.01, 0)]
    assert run(spec).metrics["test_accuracy"] > 0.9

"""The protocol says what the report and the project's plan say; its smallest profile runs whole."""

import collections
import math

import pytest
import torch

import nadam_ref
from nadam_ref.experiments import data, protocol, statistics
from nadam_ref.experiments.train import run

NINE = ["GD", "Momentum", "NAG", "RMSProp", "Adam", "Nadam", "MaxProp", "AdaMax", "NadaMax"]


def test_the_nine_methods_in_the_reports_order():
    assert protocol.methods() == NINE
    assert set(NINE) < set(nadam_ref.OPTIMIZERS)


@pytest.mark.parametrize("profile", ["smoke", "live"])
def test_demonstrations_are_three_rates_and_two_seeds(profile):
    specs = protocol.specs(profile, "digits")
    assert len({spec.id for spec in specs}) == 9 * 3 * 2
    for name in NINE:
        cells = collections.Counter(spec.lr for spec in specs if spec.optimizer == name)
        assert sorted(cells.values()) == [2, 2, 2]
    assert [spec.optimizer for spec in specs] == sorted([s.optimizer for s in specs], key=NINE.index)
    assert all(spec.batch == 64 and spec.threads == 1 for spec in specs)


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


def test_rates_are_on_the_half_decade_grid():
    grid = {round(float(f"{digit}e{power}"), 7) for power in range(-5, 1) for digit in ("1", "3.2")}
    for profile, name in (("live", "digits"), ("smoke", "digits")):
        assert {spec.lr for spec in protocol.specs(profile, name)} <= grid


@pytest.mark.skipif(not data.available("mnist"), reason="needs MNIST in NADAM_REF_DATA or the cache")
def test_tuning_profiles():
    for profile, seeds, steps, dense in (("small", 2, 1500, 64), ("paper", 3, 8593, 512)):
        specs = protocol.specs(profile, "mnist")
        assert len(specs) == 9 * 8 * seeds
        assert {spec.seed for spec in specs} == set(range(1000, 1000 + seeds))  # reported runs have seeds 0 … 19
        assert {spec.steps for spec in specs} == {steps} and {spec.model["dense"] for spec in specs} == {dense}
        assert {spec.subset for spec in specs} == {None}
    epochs = 8593 * 64 / 55_000
    assert epochs == pytest.approx(10, abs=0.01)
    assert protocol.dataset("live", "mnist").label.startswith("MNIST, first ")


def test_what_the_protocol_does_not_have():
    for arguments, message in (
        (("huge", "digits"), "no profile 'huge'; it has: smoke, live, small, paper"),
        (("paper", "digits"), "'paper', 'digits'; it has: mnist"),
        (("live", "digits", "poetry"), "no task 'poetry'; it has: images"),
    ):
        with pytest.raises(ValueError, match=message):
            protocol.specs(*arguments)


def test_the_smoke_profile_runs_whole():
    records = [run(spec) for spec in protocol.specs("smoke", "digits")]
    table = statistics.rows(records)
    assert len(table) == 27
    found = statistics.best(table)
    assert [row.optimizer for row in found] == NINE
    assert all(row.n == 2 and math.isfinite(row.dev_loss.mean) for row in found)


def test_a_live_run_learns_the_digits():
    (spec,) = [s for s in protocol.specs("live", "digits") if (s.optimizer, s.lr, s.seed) == ("RMSProp", 0.01, 0)]
    assert run(spec).metrics["test_accuracy"] > 0.9

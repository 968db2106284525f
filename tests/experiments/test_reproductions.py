"""Published results as runs: what is run is what their sources say, and the verdict is a comparison of numbers."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import constructed
import pytest

from nadam_ref import cli
from nadam_ref.experiments.datasets import registry
from nadam_ref.experiments.reproductions import REPRODUCTIONS, Reproduction, jones_curves, reproduce
from nadam_ref.experiments.runs import checkpoints
from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.runs.train import run
from nadam_ref.experiments.runs.training import Training
from nadam_ref.experiments.verdicts.arms import gather


def needs(name: Any) -> Any:
    return pytest.mark.skipif(registry.state(name) == "absent", reason=f"needs {name} in NADAM_REF_DATA or the cache")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, make_spec: Callable[..., RunSpec]) -> Any:
    """A known result of a few steps, called `ptb`; its published loss can be chosen."""

    def make(published: Any) -> None:
        measured = lambda record: {"dev_loss": record.metrics["dev_loss"]}  # noqa: E731
        made_up = Reproduction("images", "a made-up source", make_spec, {"dev_loss": published}, measured)
        monkeypatch.setitem(REPRODUCTIONS, "ptb", made_up)

    return make


@needs("mnist")
def test_joness_run_is_20_epochs_of_nag() -> None:
    spec = REPRODUCTIONS["jones"].spec()
    assert (spec.task, spec.profile, spec.data, spec.batch) == ("autoencoder", "reproduction", "mnist", 128)
    assert (spec.steps, spec.evaluate_every) == (20 * (40_000 // 128), 40_000 // 128)
    hyper = dict(spec.hyperparameters)
    assert (spec.optimizer, hyper["lr"], hyper["momentum"], hyper["form"]) == ("NAG", 0.01, 0.975, "sum")
    assert hyper["momentum_decay"] is None and hyper["weight_decay"] == 0
    assert spec.clip_norm is None and spec.anneal is None


@needs("ptb")
def test_tensorflows_run_is_13_epochs_of_2323_steps_of_gradient_descent() -> None:
    spec = REPRODUCTIONS["ptb"].spec()
    assert (spec.task, spec.profile, spec.data, spec.batch) == ("language_model", "reproduction", "ptb", 20)
    assert (spec.steps, spec.evaluate_every) == (13 * 2323, 2323)
    assert (spec.optimizer, spec.lr, spec.clip_norm, spec.anneal) == ("GD", 1.0, 5.0, (0.5, 5))
    assert spec.model == {"units": 200, "words": 10_000}  # the rest at its default: 2 layers, 20 words


@needs("ptb")
def test_the_last_epoch_has_a_256th_of_the_rate() -> None:
    """Five epochs at the full rate, then each at half of the one before: 2⁻⁸ in the thirteenth."""
    spec = REPRODUCTIONS["ptb"].spec()
    training = Training(spec)
    factors = [training.rate_factor(epoch * 2323 + step) for epoch in range(13) for step in (0, 2322)]
    assert factors == [2.0 ** -max(epoch - 4, 0) for epoch in range(13) for _ in range(2)]


@needs("ptb")
def test_fault_97_known_results_and_a_sweep_share_a_store(tmp_path: Path) -> None:
    """What the sweep's runs say is the same with a known result of their task, data and length beside them."""
    spec, store = REPRODUCTIONS["ptb"].spec(), Store(tmp_path)
    common = {"profile": "paper", "data_sha256": spec.data_sha256, "steps": spec.steps, "batch": spec.batch}
    swept = [
        record
        for arm in ("GD", "Adam")
        for record in constructed.arm("language_model", arm, [120.0, 121.0], model=spec.model, **common)
    ]
    for record in swept:
        store.put(record)
    assert (spec.task, spec.data) == (swept[0].spec.task, swept[0].spec.data)
    alone = gather(store, "paper")
    store.put(dataclasses.replace(swept[0], spec=spec))
    assert len(list(store)) == len(swept) + 1
    assert gather(store, "paper") == alone and set(alone["language_model"]) == {"GD", "Adam"}


def test_reached_is_at_most_a_twentieth_above_in_every_metric() -> None:
    both = Reproduction("images", "", lambda: None, {"a": 100.0, "b": 10.0}, lambda record: record.metrics)

    def reached(status: Any, **metrics: Any) -> Any:
        return both.reached(types.SimpleNamespace(status=status, metrics=metrics))

    assert reached("finished", a=105.0, b=10.5) and reached("finished", a=1.0, b=1.0)
    assert not reached("finished", a=105.1, b=1.0) and not reached("finished", a=1.0, b=10.51)
    assert not reached("diverged")


def test_jones_prints_twenty_epochs_that_end_with_his_result() -> None:
    curves = jones_curves()
    assert {name: (len(values), values[-1]) for name, values in curves.items()} == {
        "train_loss": (20, 0.01808),
        "dev_loss": (20, 0.01784),
    }
    assert all(values == sorted(values, reverse=True) for values in curves.values())
    ratios = [train / dev for train, dev in zip(*curves.values(), strict=True)]  # his third column, rounded
    assert ratios[:2] == pytest.approx([1.23542, 1.23680], abs=5e-4) and ratios[-1] == pytest.approx(1.01313, abs=5e-4)


def test_joness_training_loss_is_the_mean_of_the_last_epoch() -> None:
    spec = types.SimpleNamespace(evaluate_every=3, train_every=1)
    record = types.SimpleNamespace(spec=spec, curves={"train_loss": [9, 9, 1.0, 2.0, 6.0]}, metrics={"dev_loss": 5.0})
    assert REPRODUCTIONS["jones"].measured(record) == {"train_loss": 3.0, "dev_loss": 5.0}


def test_joness_training_loss_of_a_long_run_is_that_of_its_last_epoch_too() -> None:
    """Such a run keeps one mean for each epoch."""
    steps = {"steps": 6000, "evaluate_every": 300}
    record = constructed.record("autoencoder", "NAG", 0.01, 0, 5.0, **steps)
    record = dataclasses.replace(record, curves={**record.curves, "train_loss": [9.0] * 19 + [3.0]})
    assert REPRODUCTIONS["jones"].measured(record)["train_loss"] == 3.0


@pytest.mark.parametrize(("published", "code", "verdict"), [(1000.0, 0, "reached"), (1e-9, 2, "not reached")])
def test_the_command_says_what_was_measured_and_keeps_the_record(
    tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], published: float, code: int, verdict: str
) -> None:
    tiny(published)
    assert cli.main(["reproduce", "ptb", "--store", str(tmp_path)]) == code
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "a made-up source" and out[1].startswith("dev_loss: ") and out[2].startswith(verdict)
    (record,) = Store(tmp_path)
    assert record.spec == REPRODUCTIONS["ptb"].spec() and f"{record.metrics['dev_loss']:.5g}" in out[1]


def test_an_interrupted_run_goes_on_from_its_checkpoint_bit_for_bit(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny(1.0)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "APART", 0)
    seen = []

    def interrupt(training: Any) -> None:
        seen.append(training.log.step)
        if training.log.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce("ptb", Store(tmp_path), progress=interrupt)
    record = reproduce("ptb", Store(tmp_path), progress=lambda training: seen.append(training.log.step))
    assert seen[:5] == [1, 2, 3, 4, 5]
    whole = run(REPRODUCTIONS["ptb"].spec())
    assert record.outcome_sha256 == whole.outcome_sha256
    assert not list((tmp_path / "checkpoints").iterdir())
    before = dataclasses.asdict(record)
    assert dataclasses.asdict(reproduce("ptb", Store(tmp_path))) == before  # from the store, not made again


def test_the_command_names_what_there_is_and_refuses_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["reproduce", "--help"])
    shown = capsys.readouterr().out
    assert all(f"{name}:" in shown for name in REPRODUCTIONS)
    assert cli.main(["known", "jonas", "--store", str(tmp_path)]) == 2  # its former name
    assert capsys.readouterr().err == "nadam-ref: no reproduction is called 'jonas'; there are: jones, ptb\n"

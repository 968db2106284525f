"""One run: determinism, pairing of optimizers, divergence as a status, errors that name the value."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch

import nadam_ref
from nadam_ref.experiments import data, train
from nadam_ref.experiments.tasks import images
from nadam_ref.experiments.train import run


def test_a_run_is_what_a_plain_loop_does(make_spec):
    spec = make_spec("Adam", seed=5)
    digits = data.load("digits")
    params = images.init(digits, images.SIZES["smoke"], train.stream(5, "init"))
    optimizer = nadam_ref.Adam(params.values(), lr=0.01)
    batches, dropout = images.batches(digits, 32, train.stream(5, "order")), train.stream(5, "dropout")
    losses = []
    for _ in range(7):
        loss = images.loss(params, next(batches), dropout)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    record = run(spec)
    assert record.curves["train_loss"] == pytest.approx(losses, rel=1e-5)
    assert record.curves["dev_step"] == [0, 3, 6, 7]
    assert record.metrics["dev_loss"] == record.curves["dev_loss"][-1]
    assert record.metrics["test_loss"] == pytest.approx(images.evaluate(params, digits, "test")["loss"], rel=1e-5)
    assert (record.status, record.step, record.reason) == ("finished", 7, "")


@pytest.mark.parametrize("optimizer", nadam_ref.OPTIMIZERS)
def test_same_spec_bitwise_same_outcome(make_spec, optimizer):
    first, second = run(make_spec(optimizer)), run(make_spec(optimizer))
    assert first.curves == second.curves and first.metrics == second.metrics
    assert first.outcome_sha256 == second.outcome_sha256


def test_another_seed_is_another_run(make_spec):
    assert run(make_spec()).curves["train_loss"][0] != run(make_spec(seed=1)).curves["train_loss"][0]


def test_optimizers_are_paired(make_spec):
    """With learning rate 0 nothing moves: all optimizers see the same start, batches and dropout."""
    curves = [run(make_spec(name, hyper={"lr": 0.0})).curves for name in nadam_ref.OPTIMIZERS]
    assert all(curve == curves[0] for curve in curves)
    assert len(set(curves[0]["train_loss"])) == 7  # seven different batches


def test_streams_of_a_seed_are_independent():
    draws = {train.stream(seed, name).initial_seed() for seed in range(50) for name in ("init", "order", "dropout")}
    assert len(draws) == 150


def test_nothing_outside_is_changed(make_spec):
    before = torch.get_num_threads()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    run(make_spec(threads=1))
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_fault_61_one_thread_during_the_run_and_restored_after_an_error(make_spec, monkeypatch):
    seen = []

    def loss(*arguments):
        seen.append(torch.get_num_threads())
        raise RuntimeError("stop here")

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(images, "loss", loss)
        with pytest.raises(RuntimeError, match="stop here"):
            run(make_spec())
        assert seen == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_dtype_is_the_dtype_of_the_run(make_spec):
    single, double = run(make_spec()).curves["train_loss"], run(make_spec(dtype="float64")).curves["train_loss"]
    assert single != double and single == pytest.approx(double, rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_fault_29_loss_not_finite_at_step_0(make_spec, monkeypatch, bad):
    monkeypatch.setattr(images, "loss", lambda params, *_: params["output.bias"].sum() * bad)
    record = run(make_spec())
    assert (record.status, record.step, record.metrics) == ("diverged", 0, {})
    assert len(record.curves["train_loss"]) == 1 and not math.isfinite(record.curves["train_loss"][0])


def test_fault_30_divergence_is_a_status_with_its_step(make_spec):
    record = run(make_spec("GD", hyper={"lr": 1e30}, steps=50))
    assert record.status == "diverged" and 0 < record.step < 50 and record.reason
    assert record.metrics == {}
    assert len(record.curves["train_loss"]) == record.step + 1


def test_fault_30_divergence_after_the_last_update_is_seen(make_spec):
    record = run(make_spec("GD", hyper={"lr": 1e38}, steps=1, evaluate_every=5))
    assert (record.status, record.step, record.metrics) == ("diverged", 1, {})
    assert "development loss" in record.reason


def test_fault_30_ten_times_the_first_loss_for_fifty_steps():
    high, fine = [1.0, *[10.1] * 49], [1.0, *[10.0] * 60]
    assert train._divergence(high) == "" and train._divergence(fine) == ""
    assert "10 × its first value for 50 steps" in train._divergence([*high, 10.1])
    assert train._divergence([*high, 9.0, *[10.1] * 49]) == ""


def test_fault_1_a_nan_gradient_ends_as_diverged(make_spec, monkeypatch):
    plain = images.loss

    def loss(params, batch, generator):
        value = plain(params, batch, generator)
        value.register_hook(lambda grad: grad * math.nan)
        return value

    monkeypatch.setattr(images, "loss", loss)
    for optimizer in nadam_ref.OPTIMIZERS:
        record = run(make_spec(optimizer))
        assert (record.status, record.step) == ("diverged", 1), optimizer


def test_fault_33_no_steps(make_spec):
    record = run(make_spec(steps=0))
    assert record.status == "finished" and record.curves["train_loss"] == [] and record.curves["dev_step"] == [0]
    assert 0 < record.metrics["test_loss"] < 10


@pytest.mark.parametrize("seed", [-1, 2**63, "1", 1.0, True, None])
def test_fault_34_seed(make_spec, seed):
    with pytest.raises(ValueError, match="seed must be an integer from 0"):
        make_spec(seed=seed)


def test_fault_34_the_largest_seed_runs(make_spec):
    assert run(make_spec(seed=2**63 - 1, steps=1)).status == "finished"


def test_fault_32_batch_larger_than_the_data(make_spec):
    with pytest.raises(ValueError, match="batch 2000 does not fit 1204"):
        run(make_spec(batch=2000))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"task": "imges"}, ValueError, "no task is called 'imges'; there are: images"),
        ({"optimizer": "Nadan"}, ValueError, "no optimizer is called 'Nadan'; there are: .*Nadam"),
        ({"profile": "huge"}, ValueError, "no profile is called 'huge'"),
        ({"hyperparameters": {"lr": 0.1, "mu": 0.9}}, ValueError, "Nadam: .*mu"),
        ({"task_version": 99}, ValueError, "the spec asks for"),
        ({"data_sha256": "0" * 64}, data.DataError, "the spec asks for 0000"),
    ],
)
def test_what_cannot_be_run_says_why(make_spec, change, error, message):
    with pytest.raises(error, match=message):
        run(make_spec(**change))


def test_hyperparameters_are_all_those_that_decide(monkeypatch):
    class Odd:
        def __init__(self, params, lr=0.5, *, decay=None, foreach=None, fused=None):
            pass

    monkeypatch.setattr(nadam_ref, "OPTIMIZERS", {"Odd": Odd})
    assert train.hyperparameters("Odd", {"lr": 2}) == {"lr": 2, "decay": None}


def test_a_task_needs_no_more_than_its_interface(make_spec, monkeypatch):
    """A made-up task: minimize x² from x = 1, whose gradient descent is (1 − 2η)ᵗ."""

    @dataclasses.dataclass
    class Nothing:
        pass

    def init(data, size, generator, dtype):
        return {"x": torch.ones((), dtype=dtype, requires_grad=True)}

    task = SimpleNamespace(
        VERSION=1,
        SIZES={"smoke": Nothing()},
        load=lambda name, subset: SimpleNamespace(label="none", sha256="none"),
        init=init,
        batches=lambda *_: iter(lambda: None, 0),
        loss=lambda params, batch, generator: params["x"] ** 2,
        evaluate=lambda params, data, split: {"loss": params["x"].item() ** 2},
    )
    monkeypatch.setitem(train.TASKS, "square", task)
    spec = make_spec("GD", hyper={"lr": 0.1}, task="square", model={}, data_sha256="none", dtype="float64")
    record = run(spec)
    assert record.curves["train_loss"] == pytest.approx([0.8 ** (2 * t) for t in range(7)], rel=1e-13)
    assert record.metrics["test_loss"] == pytest.approx(0.8**14, rel=1e-13)

"""What holds for every task: the interface, runs at the smallest size, and what bad luck gets."""

import dataclasses
import inspect
import math

import pytest
import torch

from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.train import OPTIMIZER_VERSION, hyperparameters, run
from nadam_ref.experiments.tasks import TASKS, Task

EMBEDDED = {"images": "digits", "autoencoder": "digits", "word2vec": "clusters", "language_model": "chain"}
PROFILES = ["smoke", "live", "small", "paper"]

every_task = pytest.mark.parametrize("name", TASKS)


@pytest.fixture
def spec_of():
    """A function: the spec of a few steps of a task on embedded data, with some fields changed."""

    def make(name, optimizer="Nadam", lr=0.01, **changes):
        task = TASKS[name]
        spec = RunSpec(
            task=name,
            task_version=task.VERSION,
            profile="smoke",
            model=dataclasses.asdict(task.SIZES["smoke"]),
            data=EMBEDDED[name],
            data_sha256=task.load(EMBEDDED[name], None).sha256,
            optimizer=optimizer,
            optimizer_version=OPTIMIZER_VERSION,
            hyperparameters=hyperparameters(optimizer, {"lr": lr}),
            seed=0,
            steps=4,
            batch=20,
            evaluate_every=3,
            row_lazy=name == "word2vec",
        )
        return dataclasses.replace(spec, **changes)

    return make


def generators():
    return torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)


@every_task
def test_a_task_takes_what_the_interface_lists(name):
    task = TASKS[name]
    for function, declared in inspect.getmembers(Task, inspect.isfunction):
        expected = list(inspect.signature(declared).parameters)[1:]  # without self
        assert list(inspect.signature(getattr(task, function)).parameters) == expected, function
    assert type(task.VERSION) is int and list(task.SIZES) == PROFILES


@every_task
def test_sizes_grow_and_come_back_from_a_spec(name):
    sizes = TASKS[name].SIZES
    whole = TASKS[name].load(EMBEDDED[name], None)
    counts = []
    for size in (sizes["smoke"], sizes["live"]):
        params = TASKS[name].init(whole, size, generators()[0], torch.float32)
        counts.append(sum(p.numel() for p in params.values()))
        assert type(size)(**dataclasses.asdict(size)) == size
    assert counts[0] < counts[1]


@every_task
def test_batches_have_one_shape_over_epochs(name):
    task, size = TASKS[name], TASKS[name].SIZES["smoke"]
    whole = task.load(EMBEDDED[name], None)
    stream = task.batches(whole, size, 20, *generators(), torch.float32)
    shapes = {tuple(x.shape for x in next(stream)) for _ in range(min(task.epoch(whole, size, 20), 200) + 2)}
    assert len(shapes) == 1


@every_task
def test_all_chance_is_in_the_batch(name):
    task, size = TASKS[name], TASKS[name].SIZES["smoke"]
    whole = task.load(EMBEDDED[name], None)
    params = task.init(whole, size, generators()[0], torch.float64)
    batch = next(task.batches(whole, size, 20, *generators(), torch.float64))
    state, rows = task.state(size, 20, torch.float64), task.rows(batch)
    picked = {key: p[rows[key]] if key in rows else p for key, p in params.items()}
    before = torch.get_rng_state()
    first, second = (task.loss(size, picked, batch, state)[0].item() for _ in range(2))
    assert first == second and torch.equal(torch.get_rng_state(), before)


@every_task
def test_a_run_ends_and_is_the_same_again(name, spec_of):
    record = run(spec_of(name))
    assert record.status == "finished" and len(record.curves["train_loss"]) == 4
    assert all(math.isfinite(value) for value in record.metrics.values()) and "test_loss" in record.metrics
    assert run(spec_of(name)).outcome_sha256 == record.outcome_sha256
    assert run(spec_of(name, seed=1)).curves["train_loss"] != record.curves["train_loss"]


@every_task
def test_float64_is_the_same_run_more_exactly(name, spec_of):
    single, double = (run(spec_of(name, dtype=dtype)).curves["train_loss"] for dtype in ("float32", "float64"))
    assert single != double and single == pytest.approx(double, rel=1e-3)


@every_task
def test_fault_29_loss_not_finite_at_step_0(name, spec_of, monkeypatch):
    task = TASKS[name]

    def spoiled(objective):
        def of(*arguments):
            value, *rest = objective(*arguments)
            return value * math.nan, *rest

        return of

    for function in ("loss", "gradients"):
        monkeypatch.setattr(task, function, spoiled(getattr(task, function)))
    record = run(spec_of(name))
    assert (record.status, record.step, record.metrics) == ("diverged", 0, {})


@every_task
def test_fault_30_divergence_is_a_status_with_its_step(name, spec_of):
    record = run(spec_of(name, "GD", lr=1e38, steps=60))
    assert record.status == "diverged" and record.step <= 60 and record.reason and record.metrics == {}


@every_task
def test_fault_32_batch_larger_than_the_data(name, spec_of):
    with pytest.raises(ValueError, match="batch 200000 "):
        run(spec_of(name, batch=200_000))


@every_task
def test_fault_33_no_steps(name, spec_of):
    record = run(spec_of(name, steps=0))
    assert record.status == "finished" and record.curves["train_loss"] == [] and record.curves["dev_step"] == [0]
    assert math.isfinite(record.metrics["test_loss"])


@every_task
def test_a_bad_choice_is_refused_with_the_choices(name, spec_of):
    if "init" not in spec_of(name).model:
        pytest.skip("the report's network has one initialization")
    for field, text in (("init", "no initialization is called 'he'"), ("penalty", "no penalty is called 'he'")):
        with pytest.raises(ValueError, match=text):
            run(spec_of(name, model={**spec_of(name).model, field: "he"}))

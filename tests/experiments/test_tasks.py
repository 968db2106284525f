"""What holds for every task: the interface, runs at the smallest size, and what bad luck gets."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from specs import EMBEDDED

from nadam_ref.experiments.protocol.definition import load
from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.train import run
from nadam_ref.experiments.tasks import TASKS, Task

every_task = pytest.mark.parametrize("name", TASKS)


def generators() -> Any:
    return torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)


@every_task
def test_a_task_takes_what_the_interface_lists(name: Any) -> None:
    task = TASKS[name]
    for function, declared in inspect.getmembers(Task, inspect.isfunction):
        expected = list(inspect.signature(declared).parameters)[1:]  # without self
        assert list(inspect.signature(getattr(task, function)).parameters) == expected, function
    assert type(task.VERSION) is int and list(task.SIZES) == list(load().task(name).profiles)


@every_task
def test_sizes_grow_and_come_back_from_a_spec(name: Any) -> None:
    sizes = TASKS[name].SIZES
    whole = TASKS[name].load(EMBEDDED[name], None)
    counts = []
    for size in list(sizes.values())[:2]:
        params = TASKS[name].init(whole, size, generators()[0], torch.float32)
        counts.append(sum(p.numel() for p in params.values()))
        assert type(size)(**dataclasses.asdict(size)) == size
    assert counts[0] < counts[1]


@every_task
def test_batches_have_one_shape_over_epochs(name: Any) -> None:
    task, size = TASKS[name], TASKS[name].SIZES["smoke"]
    whole = task.load(EMBEDDED[name], None)
    stream = task.batches(whole, size, 20, *generators(), torch.float32)
    shapes = {tuple(x.shape for x in next(stream)) for _ in range(min(task.epoch(whole, size, 20), 200) + 2)}
    assert len(shapes) == 1


@every_task
def test_all_chance_is_in_the_batch(name: Any) -> None:
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
def test_a_run_ends_and_is_the_same_again(name: Any, make_spec: Callable[..., RunSpec]) -> None:
    record = run(make_spec(task=name))
    assert record.status == "finished" and len(record.curves["train_loss"]) == 7
    assert all(math.isfinite(value) for value in record.metrics.values()) and "test_loss" in record.metrics
    assert run(make_spec(task=name)).outcome_sha256 == record.outcome_sha256
    assert run(make_spec(task=name, seed=1)).curves["train_loss"] != record.curves["train_loss"]


@every_task
def test_float64_is_the_same_run_more_exactly(name: Any, make_spec: Callable[..., RunSpec]) -> None:
    single, double = (run(make_spec(task=name, dtype=dtype)).curves["train_loss"] for dtype in ("float32", "float64"))
    assert single != double and single == pytest.approx(double, rel=1e-3)


@every_task
def test_fault_29_loss_not_finite_at_step_0(
    name: Any, make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = TASKS[name]

    def spoiled(objective: Any) -> Any:
        def of(*arguments: Any) -> Any:
            value, *rest = objective(*arguments)
            return value * math.nan, *rest

        return of

    for function in ("loss", "gradients"):
        monkeypatch.setattr(task, function, spoiled(getattr(task, function)))
    record = run(make_spec(task=name))
    assert (record.status, record.step, record.metrics) == ("diverged", 0, {})


@every_task
def test_fault_30_divergence_is_a_status_with_its_step(name: Any, make_spec: Callable[..., RunSpec]) -> None:
    record = run(make_spec("GD", task=name, hyper={"lr": 1e38}, steps=60))
    assert record.status == "diverged" and record.step <= 60 and record.reason and record.metrics == {}


@every_task
def test_fault_32_batch_larger_than_the_data(name: Any, make_spec: Callable[..., RunSpec]) -> None:
    with pytest.raises(ValueError, match="batch 200000 "):
        run(make_spec(task=name, batch=200_000))


@every_task
def test_fault_33_no_steps(name: Any, make_spec: Callable[..., RunSpec]) -> None:
    record = run(make_spec(task=name, steps=0))
    assert record.status == "finished" and record.curves["train_loss"] == [] and record.curves["dev_step"] == [0]
    assert math.isfinite(record.metrics["test_loss"])

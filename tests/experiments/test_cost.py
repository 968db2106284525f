"""What a plan costs: structure and proportions; how fast a machine is cannot be asserted."""

import dataclasses

import pytest

from nadam_ref.experiments.protocol import cost, planning
from nadam_ref.experiments.protocol.cost import Cost, seconds_per_run, table, total
from nadam_ref.experiments.protocol.definition import load, profile_of
from nadam_ref.experiments.tasks import TASKS

TASK = TASKS["images"]


@pytest.fixture(autouse=True)
def nothing_timed(monkeypatch):
    monkeypatch.setattr(cost, "_timed", {})


def test_a_runs_cost_is_its_steps_and_its_evaluations(make_spec, monkeypatch):
    """Steps at 2 s, development values at 3 s, the test at 5 s: 7 steps, and values after 0, 3, 6 and 7 of them."""
    seconds = {"evaluate": iter([3.0, 5.0]), "advance": iter([2.0])}

    def timed(action, most, device):
        action()
        return next(seconds[getattr(action, "func", action).__name__])

    monkeypatch.setattr(cost, "_seconds", timed)
    spec = make_spec(steps=7, evaluate_every=3)
    assert seconds_per_run(spec) == 7 * 2 + 4 * 3 + 5
    longer = make_spec(steps=600, evaluate_every=100, seed=8, hyper={"lr": 3.0})
    assert seconds_per_run(longer) == 600 * 2 + 7 * 3 + 5  # nothing is timed again


def test_each_kind_of_optimizer_is_timed_once_and_each_task_evaluated_once(make_spec, monkeypatch):
    seen = []
    plain = TASK.evaluate
    monkeypatch.setattr(TASK, "evaluate", lambda *x: seen.append(x[2]) or plain(*x))
    costs = [seconds_per_run(make_spec(name, seed=seed)) for name in ("Adam", "GD") for seed in (0, 1)]
    assert all(x > 0 for x in costs) and seen == ["dev", "test"]
    assert costs[0] == costs[1] and costs[2] == costs[3]


@pytest.mark.parametrize("task", load().tasks)
def test_every_task_can_be_timed_however_wild_the_rate(task):
    (spec, *_) = planning.specs("smoke", next(iter(profile_of(task, "smoke").data)), task)
    wild = dataclasses.replace(spec, hyperparameters={**spec.hyperparameters, "lr": 1e30})
    assert 0 < seconds_per_run(wild) < seconds_per_run(dataclasses.replace(wild, steps=spec.steps + 1))
    assert seconds_per_run(dataclasses.replace(wild, steps=0)) > 0


def test_the_table_adds_up():
    costs = [Cost("images", "Adam", 20, 36.0), Cost("word2vec", "Nadam-iclr", 1000, 360.0)]
    assert table(costs, 4).splitlines() == [
        "task      arm          runs   hours",
        "images    Adam           20    0.20",
        "word2vec  Nadam-iclr  1,000  100.00",
        "1,020 runs, about 25.05 hours on 4 workers of this machine",
    ]
    assert total(costs[:1], 1) == "20 runs, about 0.20 hours on 1 worker of this machine"

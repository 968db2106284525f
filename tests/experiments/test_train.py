"""One run: determinism, pairing of optimizers, divergence as a status, errors that name the value."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

import nadam_ref
from nadam_ref import fused
from nadam_ref.experiments import datasets
from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.protocol.definition import profile_of
from nadam_ref.experiments.runs import log, optimizers, pack, resources
from nadam_ref.experiments.runs import spec as specs
from nadam_ref.experiments.runs.batched import run_together
from nadam_ref.experiments.runs.record import provenance
from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.train import run
from nadam_ref.experiments.runs.training import ROW_STEPS, Training, stream
from nadam_ref.experiments.statistics import summary
from nadam_ref.experiments.tasks import TASKS, Task
from nadam_ref.rules import DIALECTS

TASK = TASKS["images"]


def test_a_run_is_what_a_plain_loop_does(make_spec: Callable[..., RunSpec]) -> None:
    spec = make_spec("Adam", seed=5)
    digits = datasets.load("digits")
    size = TASK.SIZES["smoke"]
    params = TASK.init(digits, size, stream(5, "init"))
    optimizer = nadam_ref.Adam(params.values(), lr=0.01)
    batches = TASK.batches(digits, size, 32, stream(5, "order"), stream(5, "dropout"))
    losses = []
    for _ in range(7):
        loss, _ = TASK.loss(size, params, next(batches))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    record = run(spec)
    assert record.curves["train_loss"] == pytest.approx(losses, rel=1e-5)
    assert record.curves["dev_step"] == [0, 3, 6, 7]
    assert record.metrics["dev_loss"] == record.curves["dev_loss"][-1]
    assert record.metrics["test_loss"] == pytest.approx(float(TASK.evaluate(params, digits, "test")["loss"]), rel=1e-5)
    assert (record.status, record.step, record.reason) == ("finished", 7, "")


@pytest.mark.parametrize("optimizer", nadam_ref.OPTIMIZERS)
def test_same_spec_bitwise_same_outcome(make_spec: Callable[..., RunSpec], optimizer: Any) -> None:
    first, second = run(make_spec(optimizer)), run(make_spec(optimizer))
    assert first.curves == second.curves and first.metrics == second.metrics
    assert first.outcome_sha256 == second.outcome_sha256


def test_another_seed_is_another_run(make_spec: Callable[..., RunSpec]) -> None:
    assert run(make_spec()).curves["train_loss"][0] != run(make_spec(seed=1)).curves["train_loss"][0]


def test_optimizers_are_paired(make_spec: Callable[..., RunSpec]) -> None:
    """With learning rate 0 nothing moves: all optimizers see the same start, batches and dropout."""
    curves = [run(make_spec(name, hyper={"lr": 0.0})).curves for name in nadam_ref.OPTIMIZERS]
    assert all(curve == curves[0] for curve in curves)
    assert len(set(curves[0]["train_loss"])) == 7  # seven different batches


def test_streams_of_a_seed_are_independent() -> None:
    draws = {stream(seed, name).initial_seed() for seed in range(50) for name in ("init", "order", "dropout")}
    assert len(draws) == 150


def test_nothing_outside_is_changed(make_spec: Callable[..., RunSpec]) -> None:
    before = torch.get_num_threads()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    run(make_spec(threads=1))
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_fault_61_one_thread_during_the_run_and_restored_after_an_error(
    make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def loss(*arguments: Any) -> None:
        seen.append(torch.get_num_threads())
        raise RuntimeError("stop here")

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(TASK, "loss", loss)
        with pytest.raises(RuntimeError, match="stop here"):
            run(make_spec())
        assert seen == [1] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_dtype_is_the_dtype_of_the_run(make_spec: Callable[..., RunSpec]) -> None:
    single, double = run(make_spec()).curves["train_loss"], run(make_spec(dtype="float64")).curves["train_loss"]
    assert single != double and single == pytest.approx(double, rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_fault_29_loss_not_finite_at_step_0(
    make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch, bad: Any
) -> None:
    monkeypatch.setattr(TASK, "loss", lambda size, params, *_: (params["output.bias"].sum() * bad, ()))
    record = run(make_spec())
    assert (record.status, record.step, record.metrics) == ("diverged", 0, {})
    assert len(record.curves["train_loss"]) == 1 and not math.isfinite(record.curves["train_loss"][0])


def test_fault_30_divergence_is_a_status_with_its_step(make_spec: Callable[..., RunSpec]) -> None:
    record = run(make_spec("GD", hyper={"lr": 1e30}, steps=50))
    assert record.status == "diverged" and 0 < record.step < 50 and record.reason
    assert record.metrics == {}
    assert len(record.curves["train_loss"]) == record.step + 1


def test_fault_30_divergence_after_the_last_update_is_seen(make_spec: Callable[..., RunSpec]) -> None:
    record = run(make_spec("GD", hyper={"lr": 1e38}, steps=1, evaluate_every=5))
    assert (record.status, record.step, record.metrics) == ("diverged", 1, {})
    assert "development loss" in record.reason


def test_fault_30_ten_times_the_first_loss_for_fifty_steps() -> None:
    high, fine = [1.0, *[10.1] * 49], [1.0, *[10.0] * 60]
    assert log._divergence(high) == "" and log._divergence(fine) == ""
    assert "10 × its first value for 50 steps" in log._divergence([*high, 10.1])
    assert log._divergence([*high, 9.0, *[10.1] * 49]) == ""


def test_fault_1_a_nan_gradient_ends_as_diverged(
    make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = TASK.loss

    def loss(*arguments: Any) -> Any:
        value, state = plain(*arguments)
        value.register_hook(lambda grad: grad * math.nan)
        return value, state

    monkeypatch.setattr(TASK, "loss", loss)
    for optimizer in nadam_ref.OPTIMIZERS:
        record = run(make_spec(optimizer))
        assert (record.status, record.step) == ("diverged", 1), optimizer


def test_fault_33_no_steps(make_spec: Callable[..., RunSpec]) -> None:
    record = run(make_spec(steps=0))
    assert record.status == "finished" and record.curves["train_loss"] == [] and record.curves["dev_step"] == [0]
    assert 0 < record.metrics["test_loss"] < 10


@pytest.mark.parametrize("seed", [-1, 2**63, "1", 1.0, True, None])
def test_fault_34_seed(make_spec: Callable[..., RunSpec], seed: int) -> None:
    with pytest.raises(ValueError, match="seed must be an integer from 0"):
        make_spec(seed=seed)


def test_fault_34_the_largest_seed_runs(make_spec: Callable[..., RunSpec]) -> None:
    assert run(make_spec(seed=2**63 - 1, steps=1)).status == "finished"


def test_fault_32_batch_larger_than_the_data(make_spec: Callable[..., RunSpec]) -> None:
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
        ({"data_sha256": "0" * 64}, datasets.DataError, "the spec asks for 0000"),
    ],
)
def test_what_cannot_be_run_says_why(
    make_spec: Callable[..., RunSpec], change: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        run(make_spec(**change))


def test_hyperparameters_are_all_those_that_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd:
        def __init__(
            self, params: Any, lr: float = 0.5, *, decay: Any = None, foreach: Any = None, fused: Any = None
        ) -> None:
            pass

    monkeypatch.setattr(nadam_ref, "OPTIMIZERS", {"Odd": Odd})
    assert optimizers.hyperparameters("Odd", {"lr": 2}) == {"lr": 2, "decay": None}


def test_keywords_that_came_later_name_a_run_only_where_they_are_not_at_their_default() -> None:
    plain = optimizers.hyperparameters("Nadam", {"lr": 0.01})
    assert not optimizers.LATER & plain.keys()
    assert plain == optimizers.hyperparameters("Nadam", {"lr": 0.01, "eps_root": 0.0, "gamma": None, "length": "own"})
    assert optimizers.hyperparameters("Nadam", {"lr": 0.01, "length": "unit"}) == {**plain, "length": "unit"}
    assert optimizers.hyperparameters("Adam", {"row_counts": "common"})["row_counts"] == "common"


def test_fault_88_a_dialect_alone_is_a_complete_run() -> None:
    """The schedule that it fixes is in the hyperparameters; they make the same optimizer again from a file."""
    for name, dialect in DIALECTS.items():
        complete = json.loads(json.dumps(optimizers.hyperparameters("Nadam", {"dialect": name})))
        assert complete["momentum_decay"] == dialect.momentum_decay
        group = nadam_ref.Nadam([torch.zeros(1)], **complete).param_groups[0]
        assert (group["dialect"], group["momentum_decay"]) == (name, dialect.momentum_decay)
    with pytest.raises(ValueError, match=r"fixes momentum_decay at None, got 0\.004"):
        optimizers.hyperparameters("Nadam", {"dialect": "constant", "momentum_decay": 0.004})


def test_fault_56_a_record_with_the_old_name_of_a_dialect_runs_again_to_the_same_bits(
    make_spec: Callable[..., RunSpec],
) -> None:
    """Warnings are errors here: an old record gives none, and keeps its id."""
    folder = Path(__file__).parents[2] / "book" / "results" / "images-pilot"
    packed = pack.read(folder)
    assert len({planning.arm(record.spec) for record in packed}) == 14
    old = next(record.spec for record in packed if record.spec.hyperparameters.get("dialect") == "radam")
    assert old.id in (folder / "runs.csv").read_text(encoding="utf-8")
    assert planning.arm(old) == "Nadam-interpolated"
    today = {**old.hyperparameters, "dialect": "interpolated"}
    specs = [dataclasses.replace(make_spec(), hyperparameters=hyper) for hyper in (old.hyperparameters, today)]
    assert specs[0].id != specs[1].id
    first, second = map(run, specs)
    assert first.curves == second.curves
    (together,) = run_together([specs[0]])
    assert together.status == "finished"


@dataclasses.dataclass
class Nothing:
    """A model without sizes."""


class Square(Task):
    """A made-up task: minimize the sum of x² from x = 1. A batch is (0,)."""

    VERSION = 1
    SIZES: ClassVar = {"smoke": Nothing()}

    def load(self, name: Any, subset: Any = None) -> Any:
        return SimpleNamespace(label="none", sha256="none")

    def epoch(self, data: Any, size: Any, batch: Any) -> Any:
        return 2

    def init(self, data: Any, size: Any, generator: Any, dtype: torch.dtype = torch.float32) -> Any:
        return {"x": torch.ones(4, 1, dtype=dtype, requires_grad=True)}

    def batches(self, *_: Any) -> Any:
        return iter(lambda: (torch.tensor([0]),), None)

    def loss(self, size: Any, params: Any, batch: Any, state: Any = ()) -> Any:
        return params["x"].square().sum() / 4, state

    def evaluate(self, params: Any, data: Any, split: Any) -> Any:
        return {"loss": params["x"].square().mean().double()}


def square(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Any:
    """The specification of a run of `Square`, with some of its methods changed."""
    task = Square()
    for name, value in changes.items():
        setattr(task, name, value)
    monkeypatch.setitem(TASKS, "square", task)
    return {"task": "square", "model": {}, "data_sha256": "none", "dtype": "float64"}


def test_a_task_needs_no_more_than_its_interface(
    make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradient descent on x²/4 from 1 is (1 − η/2)ᵗ."""
    record = run(make_spec("GD", hyper={"lr": 0.4}, **square(monkeypatch)))
    assert record.curves["train_loss"] == pytest.approx([0.8 ** (2 * t) for t in range(7)], rel=1e-13)
    assert record.metrics["test_loss"] == pytest.approx(0.8**14, rel=1e-13)


def test_the_rate_is_annealed_by_epochs(make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    """Full rate for 2 epochs of 2 steps, half in the third, a quarter in the fourth."""
    spec = make_spec("GD", hyper={"lr": 0.4}, steps=8, anneal=(0.5, 2), **square(monkeypatch))
    expected = math.prod(1 - 0.2 * factor for factor in (1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25))
    assert run(spec).metrics["dev_loss"] == pytest.approx(expected**2, rel=1e-13)


def test_the_gradient_is_clipped_to_its_norm_over_all_parameters(
    make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At x = 1 in four places the gradient is ½ in each, its norm 1; clipped to ½ it is ¼ in each. At x = .6: ×.3·2."""
    changes = square(monkeypatch)
    clipped = run(make_spec("GD", hyper={"lr": 1.0}, steps=1, clip_norm=0.5, **changes))
    assert clipped.metrics["dev_loss"] == pytest.approx(0.75**2, rel=1e-13)
    free = run(make_spec("GD", hyper={"lr": 1.0}, steps=1, clip_norm=1.5, **changes))
    assert free.metrics["dev_loss"] == pytest.approx(0.5**2, rel=1e-13)


@pytest.mark.parametrize(("lazy", "left"), [(True, 1.0), (False, 0.0)])
def test_row_lazy_updates_leave_other_rows_alone(
    make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch, lazy: bool, left: float
) -> None:
    """Momentum moves a row that occurs no more on only where updates are dense."""
    rows = iter([0, 1, 1, 1])
    changes = square(
        monkeypatch,
        batches=lambda *_: ((torch.tensor([next(rows)]),) for _ in range(4)),
        rows=lambda batch: {"x": batch[0]},
        loss=lambda size, params, batch, state: (params["x"].square().sum() / 2, state),
        evaluate=lambda params, registry, split: {"loss": params["x"][0, 0].detach().double()},
    )
    spec = make_spec(
        "Momentum", hyper={"lr": 0.1, "momentum": 0.5}, steps=4, row_lazy=lazy, evaluate_every=1, **changes
    )
    after = run(spec).curves["dev_loss"]
    assert after[1] == pytest.approx(0.9)
    assert (after[4] == after[1]) is lazy
    if not lazy:
        assert after[4] == pytest.approx(0.9 - 0.1 * (0.5 + 0.25 + 0.125))


def test_row_lazy_runs_are_fused_and_without_a_compiler_agree_to_rounding() -> None:
    (name, *_) = profile_of("word2vec", "smoke").data
    spec = next(x for x in planning.specs("smoke", name, "word2vec") if x.optimizer == "Nadam" and x.row_lazy)
    quick, plain = Training(spec), Training(spec)
    assert plain.optimizer.param_groups[0]["fused"] is True
    plain.optimizer.param_groups[0]["fused"] = False
    for training in (quick, plain):
        while not training.ended:
            training.advance()
    assert quick.log.step == plain.log.step == spec.steps
    for name, values in quick.log.curves.items():
        assert values == pytest.approx(plain.log.curves[name], rel=1e-5), name


def test_a_record_says_whether_its_rows_had_a_compiled_kernel(
    make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    (name, *_) = profile_of("word2vec", "smoke").data
    spec, *_ = planning.specs("smoke", name, "word2vec")
    found = [provenance(spec, 1.0)["row_kernel"]]
    monkeypatch.setattr(fused, "_WITHOUT_COMPILER", {"cpu"})
    found.append(provenance(spec, 1.0)["row_kernel"])
    assert found == ["compiled", "none"]
    assert "row_kernel" not in provenance(make_spec(), 1.0)


# ---------------------------------------------------------------- long runs


def test_a_long_run_keeps_means_of_its_training_losses(
    make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven steps, evaluated after every third: the means of three, three and one."""
    whole = run(make_spec(steps=7, evaluate_every=3)).curves["train_loss"]
    monkeypatch.setattr(specs, "LONG", 6)
    spec = make_spec(steps=7, evaluate_every=3)
    found = run(spec).curves["train_loss"]
    assert spec.train_every == 3
    assert found == pytest.approx([sum(whole[:3]) / 3, sum(whole[3:6]) / 3, whole[6]])
    assert summary.curve([run(spec)], "train_loss").step.tolist() == [0, 3, 6]


def test_a_row_lazy_run_says_how_many_steps_its_rows_took() -> None:
    (name, *_) = profile_of("word2vec", "smoke").data
    specs = {planning.arm(spec): spec for spec in planning.specs("smoke", name, "word2vec")}
    training = Training(specs["Adam"])
    while not training.ended:
        training.advance()
    steps = training.optimizer.state[training.params["embedding"]]["step"]
    assert training.row_steps() == {"row_steps_most": steps.max().item(), "row_steps_median": steps.median().item()}
    assert 0 < steps.max() <= specs["Adam"].steps
    assert run(specs["Adam"]).metrics["row_steps_most"] == steps.max().item()
    for arm in ("Adam-common", "Adam-dense", "GD"):
        assert not set(ROW_STEPS) & set(run(specs[arm]).metrics)


class Stop(Exception):
    pass


@pytest.mark.parametrize("task", ["images", "word2vec", "language_model", "autoencoder"])
def test_a_run_goes_on_from_a_checkpoint_bit_for_bit(task: str, tmp_path: Path) -> None:
    """Saved to a file and read by another object, in the middle of an epoch and of an evaluation interval."""
    (name, *_) = profile_of(task, "smoke").data
    spec = next(x for x in planning.specs("smoke", name, task) if x.optimizer == "Nadam")
    spec = dataclasses.replace(spec, steps=9, evaluate_every=4)
    whole = run(spec)

    def stop(training: Any) -> None:
        if training.log.step == 5:
            torch.save(training.state_dict(), tmp_path / "saved")
            raise Stop

    with pytest.raises(Stop):
        run(spec, progress=stop)
    saved = torch.load(tmp_path / "saved", weights_only=True)
    again = run(spec, resume=saved)
    assert again.outcome_sha256 == whole.outcome_sha256 and again.step == 9
    assert again.provenance["wall_seconds"] > saved["seconds"] > 0
    with pytest.raises(ValueError, match="checkpoint is of run"):
        run(dataclasses.replace(spec, seed=spec.seed + 1), resume=saved)


@pytest.mark.parametrize(
    ("rate", "steps", "reason"), [(0.01, 4, ""), (1e38, 1, "development loss"), (1e30, 4, "training loss")]
)
def test_fault_96_a_run_stopped_at_its_end_comes_to_the_record_it_would_have_had(
    make_spec: Callable[..., RunSpec], rate: float, steps: int, reason: str
) -> None:
    """Stopped during its last evaluation, or at the step at which it diverged."""
    spec = make_spec("GD", hyper={"lr": rate}, steps=steps, evaluate_every=5)
    saved = []

    def stop(training: Any) -> None:
        if training.ended:
            saved.append(training.state_dict())
            raise Stop

    with pytest.raises(Stop):
        run(spec, progress=stop)
    whole = run(spec)
    assert reason in whole.reason and bool(whole.reason) == bool(reason)
    again = run(spec, resume=saved[0])
    assert (again.outcome_sha256, again.reason) == (whole.outcome_sha256, whole.reason)


def test_fault_36_wall_clock_limit_is_a_status(make_spec: Callable[..., RunSpec]) -> None:
    record = run(make_spec(steps=1_000), limit_seconds=0.05)
    assert record.status == "timeout" and "0.05 s" in record.reason
    assert 0 < record.step < 1_000 and record.metrics == {}
    assert len(record.curves["train_loss"]) == record.step
    assert run(make_spec(), limit_seconds=1e6).status == "finished"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nmore"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError("no more"),
    ],
)
def test_fault_35_out_of_memory_is_a_status(
    make_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    def loss(*_: Any) -> None:
        raise error

    monkeypatch.setattr(TASK, "loss", loss)
    record = run(make_spec())
    assert (record.status, record.step, record.metrics) == ("out_of_memory", 0, {})
    assert record.reason == str(error).split("\n")[0]
    assert record.curves["dev_step"] == [0.0]  # what it had shown


def test_fault_35_torchs_own_error_on_a_cpu_is_recognized() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 58)
    assert resources.is_out_of_memory(error.value)
    assert not resources.is_out_of_memory(RuntimeError("shape mismatch"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_fault_37_cuda_asked_for_and_absent(make_spec: Callable[..., RunSpec]) -> None:
    with pytest.raises(resources.DeviceError, match="nadam-ref sweep smoke --task images --device cpu"):
        run(make_spec(device="cuda"))


def test_progress_sees_every_update(make_spec: Callable[..., RunSpec]) -> None:
    seen = []
    run(make_spec(), progress=lambda training: seen.append(training.log.step))
    assert seen == [1, 2, 3, 4, 5, 6, 7, 7]  # the last is the evaluation after the last update


FAULTS = """
import resource, torch
from nadam_ref.experiments.runs.resources import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(1 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first, eager = faults(), faults()
keep_freed_memory()
first, kept = faults(), faults()
print(eager, kept)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_memory_that_a_step_frees_is_there_for_the_next_one() -> None:
    """Under Dask's settings for its workers every large tensor is new memory, page by page."""
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env=environment)
    eager, kept = map(int, done.stdout.split())
    if eager < 1000:
        pytest.skip("this C library keeps freed memory by itself")
    assert kept < eager / 100

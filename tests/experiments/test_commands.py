"""The commands sweep, verify and pack, as they are typed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nadam_ref.cli import main
from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.runs.train import run
from nadam_ref.machine import processor

SMALLEST = ("sweep", "smoke", "--task", "autoencoder", "--data", "digits")
ARMS = len(planning.arms("autoencoder"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A store that the command has filled."""
    folder = tmp_path_factory.mktemp("filled") / "records"
    assert main([*SMALLEST, "--workers", "1", "--store", str(folder)]) == 0
    return folder


def copy(store: Any, folder: Any) -> Any:
    for path in store.glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_profile_is_run_in_both_stages_and_not_twice(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    records = list(Store(store))
    tuned = [r for r in records if r.spec.seed >= 1000]
    assert len(tuned) == ARMS * 3 * 2 and {r.status for r in records} == {"finished"}
    reported = {(planning.arm(r.spec), r.spec.lr, r.spec.seed) for r in records if r.spec.seed < 1000}
    for name, choice in planning.choices(tuned).items():
        assert {(name, choice.lr, 0), (name, choice.lr, 1)} <= reported
        assert name == "GD" or {(name, choice.runner_up, 0), (name, choice.runner_up, 1)} <= reported
    number = len(records)
    before = {path: path.stat().st_mtime_ns for path in store.glob("*.json")}
    assert main([*SMALLEST, "--workers", "1", "--store", str(store)]) == 0
    said = capsys.readouterr().err
    assert f"{number}/{number}" in said and "best dev loss" in said and f"{number} runs are in" in said
    assert "runs, about " in said
    assert before == {path: path.stat().st_mtime_ns for path in store.glob("*.json")}


def test_a_dry_run_prints_arms_runs_and_hours_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "none"
    assert main([*SMALLEST, "--workers", "2", "--store", str(store), "--dry-run"]) == 0
    header, *lines, hours, power = capsys.readouterr().out.splitlines()
    assert header.split() == ["task", "arm", "runs", "hours"]
    runs = {arm: "8" if arm == "GD" else "12" for arm in planning.arms("autoencoder")}
    assert [line.split()[:3] for line in lines] == [["autoencoder", arm, n] for arm, n in runs.items()]
    total = sum(map(int, runs.values()))
    assert hours.startswith(f"{total} runs, about ") and hours.endswith(" hours on 2 workers of this machine")
    assert power == "autoencoder: 2 seeds; no pilot says what they can show"
    assert not store.exists()


def test_a_sweep_that_its_time_limit_ends_says_how_many_runs_are_left_and_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALLEST, "--workers", "1", "--store", str(tmp_path), "--max-minutes", "1e-9"]) == 0
    said = capsys.readouterr().err.splitlines()[-1]
    total = sum(planning.expected_runs("autoencoder", "smoke").values())
    left = f"nadam-ref: about {total} runs are left; the same command goes on from here; "
    assert said == f"{left}a run that is finished is not repeated"
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    assert "say how many runs are left, and stop with code 0" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("niceness", ["-1", "20", "very"])
def test_niceness_is_0_to_19(niceness: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "smoke", "--nice", niceness])
    assert ended.value.code == 2 and f"from 0 to 19, not {niceness!r}" in capsys.readouterr().err


def test_verify_counts_and_repeats(store: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--store", str(store), "--rerun", "2"]) == 0
    said = capsys.readouterr().out
    assert f"{len(list(Store(store)))} autoencoder smoke digits finished" in said and said.count("same bits") == 2


def test_verify_tells_a_forged_curve_and_a_damaged_file(
    store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_record import resigned

    monkeypatch.chdir(copy(store, tmp_path))
    kept, damaged, *rest = sorted(tmp_path.glob("*.json"))
    for path in rest:
        path.unlink()
    payload = json.loads(kept.read_text())
    payload["curves"]["train_loss"][0] += 1e-7
    kept.write_text(resigned(payload))  # its own hash is right: only repeating the run shows it
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert main(["verify", "--store", ".", "--rerun", "5"]) == 2
    said = capsys.readouterr()
    assert "DIFFERS" in said.out and "1 of 5 repeated" in said.out
    assert f"{damaged.name} is damaged" in said.err and f"{kept.stem} gives other bits" in said.err
    assert len(list((tmp_path / "damaged").iterdir())) == 1


def test_verify_skips_what_an_earlier_version_made_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make_spec: Any
) -> None:
    made = run(make_spec(task="language_model", steps=1))
    for change in ({}, {"task_version": 1}, {"optimizer_version": 0}, {"task": "poetry"}):
        Store(tmp_path).put(dataclasses.replace(made, spec=dataclasses.replace(made.spec, **change)))
    assert main(["verify", "--store", str(tmp_path), "--rerun", "4"]) == 0
    said = capsys.readouterr().out
    assert "skipped: 3 of another version" in said
    assert said.count("same bits") == 1 and "1 of 4 repeated" in said


def test_verify_repeats_only_what_this_processor_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make_spec: Any
) -> None:
    """Two makers' processors have the same instructions, and a library's convolutions other sums on them."""
    for seed, cpu in enumerate((processor(), "another processor")):
        made = run(make_spec(steps=1, seed=seed))
        Store(tmp_path).put(dataclasses.replace(made, provenance={**made.provenance, "cpu": cpu}))
    assert main(["verify", "--store", str(tmp_path), "--rerun", "2"]) == 0
    said = capsys.readouterr().out
    assert said.count("same bits") == 1
    assert "1 of 2 repeated: only that many were made by this torch on this processor" in said


def test_verify_skips_what_a_gpu_made_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make_spec: Any
) -> None:
    made = run(make_spec(steps=1))
    for device in ("cpu", "cuda"):
        Store(tmp_path).put(dataclasses.replace(made, spec=dataclasses.replace(made.spec, device=device)))
    assert main(["verify", "--store", str(tmp_path), "--rerun", "2"]) == 0
    said = capsys.readouterr().out
    assert "skipped: 1 made on a GPU" in said
    assert said.count("same bits") == 1 and "1 of 2 repeated" in said


@pytest.mark.parametrize("number", ["-1", "some"])
def test_verify_repeats_none_or_more(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--rerun", number])
    assert ended.value.code == 2 and f"0 or more, not {number!r}" in capsys.readouterr().err


def test_verify_of_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--store", str(tmp_path / "none")]) == 2
    assert "there is no store at" in capsys.readouterr().err


def test_fault_64_mixed_hardware_is_flagged(store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from test_record import resigned

    first, second, *_ = copy(store, tmp_path).glob("*.json")
    for path, machine in ((first, {"cpu": "Abacus"}), (second, {"gpu": "Quipu"})):
        payload = json.loads(path.read_text())
        payload["provenance"] |= machine
        path.write_text(resigned(payload))
    assert main(["verify", "--store", str(tmp_path)]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "made on" in line)
    assert line.startswith("made on 3 kinds of hardware: ") and "Abacus" in line and "Quipu" in line


def test_pack_and_its_selection(store: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pack", str(tmp_path / "pack"), "--store", str(store), "--task", "autoencoder"]) == 0
    assert "manifest.json" in capsys.readouterr().out
    assert pack.read(tmp_path / "pack") == list(Store(store))
    assert main(["pack", str(tmp_path / "none"), "--store", str(store), "--task", "images"]) == 2
    assert capsys.readouterr().err == "nadam-ref: there are no records to pack\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["smoke", "--task", "poetry"], "no task 'poetry'; it has: images"),
        (["huge"], "no profile 'huge'; it has: smoke"),
        (["small", "--task", "images", "--data", "digits"], "'small', 'digits'; it has: mnist"),
        (["smoke", "--scheduler", "tcp://127.0.0.1:1"], "no Dask scheduler answers at tcp://127.0.0.1:1"),
    ],
)
def test_what_cannot_be_run_is_one_line(
    arguments: list[Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nadam_ref.experiments.runs.executor.ANSWER_SECONDS", 0.5)
    assert main(["sweep", *arguments, "--store", str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("nadam-ref: ") and message in said


@pytest.mark.parametrize("option", [("--workers", "0"), ("--max-minutes", "-1"), ("--run-minutes", "soon")])
def test_options_are_checked_before_anything_starts(
    option: tuple[Any, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sweep", "smoke", *option])
    assert ended.value.code == 2 and f"{option[1]!r} is not a positive" in capsys.readouterr().err


def test_fault_37_cuda_asked_for_and_absent(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("CUDA is there")
    assert main(["sweep", "smoke", "--task", "images", "--device", "cuda", "--store", str(tmp_path)]) == 2
    assert "nadam-ref sweep smoke --task images --device cpu" in capsys.readouterr().err


# ---------------------------------------------------------------- signals


def start(store: Any, *more: Any) -> Any:
    command = [sys.executable, "-m", "nadam_ref", "sweep", "smoke", "--task", "images", "--data", "digits"]
    return subprocess.Popen(
        [*command, "--workers", "2", "--store", str(store), *more], stderr=subprocess.PIPE, text=True
    )


def interrupted(store: Any, *signals: Any) -> Any:
    """Start a sweep, send the signals as soon as five runs are there, and wait for its end."""
    driver = start(store)
    deadline = time.monotonic() + 120
    while len(list(store.glob("*.json"))) < 5:
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    for number in signals:
        os.kill(driver.pid, number)
        time.sleep(0.3)
    _, said = driver.communicate(timeout=120)
    return driver.returncode, said


def outcomes(store: Path) -> dict[str, str]:
    """The runs in a store, and how each ended."""
    return {record.spec.id: record.outcome_sha256 for record in Store(store)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a sweep makes that nobody disturbs: how many runs that is depends on what its search finds."""
    store = tmp_path_factory.mktemp("undisturbed")
    driver = start(store)
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    return outcomes(store)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signals", "code", "message"),
    [
        ([signal.SIGINT], 130, "finishing the running ones"),
        ([signal.SIGINT, signal.SIGINT], 130, "saving the running ones"),
        ([signal.SIGTERM], 143, "saving the running ones"),
    ],
)
def test_fault_58_59_interrupted_and_resumed(
    tmp_path: Path, undisturbed: dict[str, str], signals: list[Any], code: int, message: str
) -> None:
    found, said = interrupted(tmp_path, *signals)
    assert found == code and message in said and "the same command goes on from here" in said
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert 5 <= len(before) < len(undisturbed)
    driver = start(tmp_path)
    driver.communicate(timeout=300)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert driver.returncode == 0 and before.items() <= after.items()
    assert outcomes(tmp_path) == undisturbed


@pytest.mark.slow
def test_fault_51_two_drivers_share_a_store(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    drivers = [start(tmp_path) for _ in range(2)]
    for driver in drivers:
        _, said = driver.communicate(timeout=600)
        assert driver.returncode == 0, said
    assert outcomes(tmp_path) == undisturbed and not (tmp_path / "damaged").exists()

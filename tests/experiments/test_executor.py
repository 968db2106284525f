"""Workers of Dask, on this machine and elsewhere, and a person's own settings of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask
import pytest

from nadam_ref.experiments.runs import executor as on_dask
from nadam_ref.experiments.runs.executor import SweepError, executor


@pytest.mark.skipif(not hasattr(os, "nice"), reason="no niceness here")
def test_workers_leave_the_processor_to_others() -> None:
    with executor(1, nice=13) as client:
        assert set(client.run(os.nice, 0).values()) == {max(13, os.nice(0))}


def test_no_scheduler_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_dask, "ANSWER_SECONDS", 0.5)
    with (
        pytest.raises(SweepError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"),
        executor(scheduler="tcp://127.0.0.1:1"),
    ):
        pass


SETTINGS = """
distributed:
  comm: {require-encryption: true, default-scheme: ucx, timeouts: {connect: 1ms, tcp: x}}
  nanny: {preload: [nowhere], environ: 5}
  worker: {memory: {terminate: 0.0001}, preload: [nowhere], multiprocessing-method: no, lifetime: {duration: 1s}}
  scheduler: {preload: [nowhere], blocked-handlers: 7, worker-ttl: 1ms}
  client: {preload: [nowhere]}
temporary-directory: /nowhere
scheduler-address: tcp://127.0.0.1:1
"""


def script(tmp_path: Path, text: Any, *, settings: str = "", **environment: Any) -> Any:
    """What a script of a person's says, in a process of its own: exit code, standard output, standard error."""
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask" / "own.yaml").write_text(settings)
    (tmp_path / "script.py").write_text(text)
    environment = os.environ | environment | {"DASK_CONFIG": str(tmp_path / "dask")}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


SWEEP = """
from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.protocol.definition import load, profile_of
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.runs.sweep import sweep
"""
ONE = 'print(len(sweep(planning.specs("smoke", "digits", "images")[:1], Store("store"))))'
COMMAND = """
import sys
from nadam_ref.cli import main
if __name__ == "__main__":
    sys.exit(main(["sweep", "smoke", "--task", "images", "--store", "store", *sys.argv[1:]]))
"""


def test_fault_102_what_a_worker_warns_of_is_one_line(tmp_path: Path) -> None:
    text = """
import types, warnings
from nadam_ref.experiments.runs import worker
worker.dask_setup(types.SimpleNamespace(name="0"))
warnings.warn("the checkpoint is damaged")
"""
    assert script(tmp_path, text) == (0, "", "nadam-ref: the checkpoint is damaged\n")


def test_fault_93_workers_on_this_machine_heed_no_dask_settings_of_a_person(tmp_path: Path) -> None:
    text = f'{SWEEP}if __name__ == "__main__":\n    {ONE}'
    assert script(tmp_path, text, settings=SETTINGS) == (0, "1\n", "")


@pytest.mark.parametrize(
    ("settings", "environment", "said"),
    [
        ("distributed: [a: }", {}, r"'.*own\.yaml' is malformed"),
        ("- 1", {}, r"'.*own\.yaml' is malformed"),
        ("", {"DASK_LOGGING": "7"}, "variables DASK_LOGGING"),
    ],
)
def test_fault_93_dask_settings_that_cannot_be_read_are_named_in_one_line(
    tmp_path: Path, settings: str, environment: dict[str, Any], said: str
) -> None:
    code, _, error = script(tmp_path, COMMAND, settings=settings, **environment)
    assert code == 2 and error.count("\n") == 1
    assert re.match(f"nadam-ref: Dask cannot use its settings: .*{said}", error)


@pytest.mark.parametrize(
    ("setting", "value", "address"),
    [
        ("distributed.comm.require-encryption", True, "tcp://127.0.0.1:1"),
        ("distributed.comm.tls.ca-file", "/nowhere", "tls://127.0.0.1:1"),
        ("distributed.client.preload", ["nowhere"], "tcp://127.0.0.1:1"),
    ],
)
def test_fault_93_dask_settings_that_keep_a_scheduler_away_are_named(setting: str, value: Any, address: str) -> None:
    said = rf"no Dask scheduler answers at {address}: [^\n]*{setting}: {re.escape(repr(value))}"
    with dask.config.set({setting: value}), pytest.raises(SweepError, match=said), executor(scheduler=address):
        pass


def test_fault_94_a_script_without_a_guard_is_told_what_to_write_in_one_line(tmp_path: Path) -> None:
    code, output, error = script(tmp_path, SWEEP + ONE)
    assert (code, output, error.count("\n")) == (1, "", 1)
    assert re.match(r'nadam-ref: .*script\.py sweeps as it is imported.*`if __name__ == "__main__":` above', error)

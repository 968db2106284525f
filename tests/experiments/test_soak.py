"""A sweep under fire: workers and the driver killed, the disk full. Nothing finished is lost or made twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from soak_driver import specs

from nadam_ref.cli import main
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.runs.train import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds a driver's workers in /proc"),
]


class Soak:
    """A driver process that is started again after whatever ends it, and a check that no record is written twice."""

    def __init__(self, folder, number):
        self.store, self.number, self.full = folder / "store", number, folder / "full"
        self.seen = {}
        self.start()

    def start(self):
        script = str(Path(__file__).with_name("soak_driver.py"))
        command = [sys.executable, script, str(self.store), str(self.number), str(self.full)]
        self.driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def workers(self):
        """Process ids of the driver's workers, not of multiprocessing's helpers."""
        pid, found = self.driver.pid, []
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in task.read_text().split():
                try:
                    line = Path(f"/proc/{child}/cmdline").read_bytes()
                except OSError:
                    continue
                if b"spawn_main" in line:
                    found.append(int(child))
        return found

    def look(self):
        """How many records there are. None that was there has changed."""
        now = {path: path.stat().st_mtime_ns for path in self.store.glob("*.json")}
        assert self.seen.items() <= now.items()
        self.seen = now
        return len(now)

    def wait_for(self, number):
        deadline = time.monotonic() + 600
        while self.look() < number:
            assert self.driver.poll() is None and time.monotonic() < deadline, self.driver.stderr.read()
            time.sleep(0.02)

    def kill_a_worker(self, chance):
        while not (found := self.workers()):
            time.sleep(0.02)
        os.kill(chance.choice(found), signal.SIGKILL)

    def kill_the_driver(self):
        orphans = self.workers()
        self.driver.kill()
        self.driver.communicate()
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{pid}").exists() for pid in orphans):
            assert time.monotonic() < deadline, "workers outlive their driver"
            time.sleep(0.1)
        self.start()

    def fill_the_disk(self):
        self.full.touch()
        _, said = self.driver.communicate(timeout=600)
        assert self.driver.returncode == 1 and "No space left on device" in said
        self.look()
        self.full.unlink()
        self.start()


def soak(folder, number, kills, capsys):
    chance = random.Random(number)
    moments = sorted(chance.sample(range(1, number * 9 // 10), kills + 2))
    events = ["worker"] * kills + ["driver", "disk"]
    chance.shuffle(events)
    found = Soak(folder, number)
    for moment, event in zip(moments, events, strict=True):
        found.wait_for(moment)
        if event == "worker":
            found.kill_a_worker(chance)
        elif event == "driver":
            found.kill_the_driver()
        else:
            found.fill_the_disk()
    _, said = found.driver.communicate(timeout=1800)
    assert found.driver.returncode == 0, said
    assert found.look() == number
    assert not (found.store / "damaged").exists()
    assert main(["verify", "--store", str(found.store)]) == 0
    assert f"{number:6} images smoke digits finished" in capsys.readouterr().out
    records = {record.spec: record for record in Store(found.store)}
    assert records.keys() == set(specs(number))
    for spec in chance.sample(sorted(records, key=lambda spec: spec.id), 5):
        assert records[spec].outcome_sha256 == run(spec).outcome_sha256


def test_fault_48_49_53_a_small_sweep_under_fire(tmp_path, capsys):
    soak(tmp_path, 40, 2, capsys)


@pytest.mark.soak
def test_fault_48_49_53_eight_hundred_runs_under_fire(tmp_path, capsys):
    soak(tmp_path, 800, 10, capsys)

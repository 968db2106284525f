"""Sweeps under fire: `nadam-ref sweep` again and again while everything around it fails, and an account of it.

`python tests/experiments/soak.py --seconds 3600 --seed 1 --out soak.json`

A round is a sweep into a new store, which meets faults at random and is started again whatever ends it, until it ends
well with nothing damaged behind it. Its records are then compared with those of a sweep that nothing disturbed.
All that is random comes from the seed; what a fault meets also depends on how fast the machine is. Needs `/proc`.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from soak_driver import Switches

from nadam_ref.files import write_whole
from nadam_ref.machine import checkout, processor

#: The sweep: a profile of runs that take milliseconds, on data that come with the package.
SWEEP = ("sweep", "smoke", "--task", "digits", "--workers", "2")
#: Seconds that a training step takes at most, so that runs can be interrupted; and that pass between two faults.
DRAG, CALM = 0.06, 4.0
#: Faults of a round, from and to.
FEWEST, MOST = 8, 16
#: Seconds after which a sweep without a new record hangs, and after which a process of one that has ended is left over.
PATIENCE, GONE = 900.0, 300.0
#: What of a record is different each time.
TIMES = ("time", "wall_seconds")


class Violation(AssertionError):
    """Something that was promised did not hold."""


def content(path: Path) -> bytes:
    """All of a record that has to be the same each time. Reads it by itself, not by the package."""
    try:
        payload = json.loads(path.read_bytes())
        seal = payload.pop("sha256")
    except (ValueError, KeyError) as error:
        raise Violation(f"{path.name} is no record: {error}") from error
    if hashlib.sha256(strict(payload)).hexdigest() != seal:
        raise Violation(f"{path.name} is no whole record")
    for name in TIMES:
        del payload["provenance"][name]
    return strict(payload)


def strict(payload: Any) -> bytes:
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def damaged(content: bytes, chance: random.Random) -> bytes:
    """What a bad disk makes of a file: cut off, empty, zeros from somewhere on, or with some bytes changed."""
    at = chance.randrange(len(content) - 1)  # a record without its last newline is whole
    ways = {
        "cut": content[:at],
        "empty": b"",
        "zeros": content[:at] + bytes(len(content) - at),
        "bits": content[:at] + bytes([content[at] ^ chance.randrange(128, 256)]) + content[at + 1 :],
    }
    return ways[chance.choice(list(ways))]


class Command:
    """One start of `nadam-ref sweep`, in a session of its own, by which all its processes are found."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.log = folder / "log"
        environment = {**os.environ, "SOAK": str(folder), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
        environment.pop("NADAM_REF_DATA", None)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("soak_driver.py")), *SWEEP, "--store", str(store)],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")

    def processes(self) -> dict[int, bytes]:
        """The command lines of all its processes, by number."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state, _, _, session = (path / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.process.pid and state not in "ZX":
                    found[int(path.name)] = (path / "cmdline").read_bytes()
        return found

    def workers(self) -> list[int]:
        return sorted(pid for pid, line in self.processes().items() if b"spawn_main" in line)

    def end(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def gone(self) -> None:
        """Wait until none of its processes is left."""
        deadline = time.monotonic() + GONE
        while left := self.processes():
            if time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                raise Violation(f"{len(left)} processes outlive their sweep: {sorted(left.values())}")
            time.sleep(0.2)


class Round:
    """A sweep into a new store, the faults it meets, and the account of them."""

    def __init__(self, folder: Path, chance: random.Random, counts: dict[str, Counter[str]]) -> None:
        self.folder, self.store, self.chance, self.counts = folder, folder / "store", chance, counts
        (folder / "tmp").mkdir(parents=True)
        self.switches = Switches(folder)
        self.command: Command | None = None
        self.spoilt: Counter[str] = Counter()  # records that were damaged, by name
        self.unread: set[str] = set()  # those of them that no command has read since
        self.said = ""
        self.last: tuple[int, str] = (-1, "")  # how the last command ended, and what it said

    # ------------------------------------------------------------ the command

    def records(self) -> list[Path]:
        return sorted(self.store.glob("*.json"))

    def running(self) -> Command:
        """The command, started if it does not run."""
        if self.command is None:
            self.unread.clear()
            self.command = Command(self.folder, self.store)
            self.counts["totals"]["commands"] += 1
        return self.command

    def over(self) -> bool:
        """Whether the command has ended by itself."""
        return self.command is None or self.command.process.poll() is not None

    def ended(self, *ways: int) -> int:
        """Wait for the end of the command: one of some exit codes, plain lines, no process left."""
        command = self.running()
        self.until(self.over)
        code = command.process.wait()
        command.gone()
        self.command = None
        self.last = code, command.said
        self.said += command.said
        self.counts["ends"][str(code)] += 1
        if code not in ways:
            raise Violation(f"the command ended with {code}, not {ways}:\n{command.said[-4000:]}")
        if code != -signal.SIGKILL and any(word in command.said for word in ("Traceback", "Warning:")):
            raise Violation(f"the command did not say it in a plain line:\n{command.said[-4000:]}")
        if command.said.count("locks no files") > 1:
            raise Violation(f"the file system without locks is named more than once:\n{command.said[-4000:]}")
        return code

    def until(self, reached: Callable[[], bool], least: float = 0.0) -> None:
        """Wait while the command makes records, until something is reached."""
        seen, since = -1, time.monotonic()
        while not reached():
            if (now := len(self.records())) != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > max(PATIENCE, least):
                said = self.running().said
                self.running().end(signal.SIGKILL)
                raise Violation(f"no record for {PATIENCE:.0f} s:\n{said[-4000:]}")
            time.sleep(0.05)

    def pause(self) -> None:
        """Let the command go on: for some seconds, or for some records."""
        self.running()
        deadline, target = time.monotonic() + self.chance.uniform(0, CALM), 0
        if self.chance.random() < 0.75:
            deadline, target = float("inf"), len(self.records()) + self.chance.randrange(1, 8)
        self.until(lambda: self.over() or time.monotonic() > deadline or 0 < target <= len(self.records()))

    # ------------------------------------------------------------ faults: each says whether it happened

    def kill_the_driver(self) -> bool:
        os.kill(self.running().process.pid, signal.SIGKILL)
        return self.ended(-signal.SIGKILL, 0) < 0

    def kill_a_worker(self) -> bool:
        if not (found := self.running().workers()):
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.chance.choice(found), signal.SIGKILL)
            return True
        return False

    def fill_the_disk(self) -> bool:
        self.running()
        self.switches["full"] = self.chance.choice([1, 2])
        code = self.ended(0, 2)
        self.switches["full"] = 0
        met = f"nadam-ref: cannot write to the store {self.store}: {os.strerror(errno.ENOSPC)}; fix" in self.last[1]
        other = any(words in self.last[1] for words in ("failed", "the clock of this machine", "does not answer"))
        if met != (code == 2) and not other:
            raise Violation(f"the full disk is not what ends the command:\n{self.last[1][-4000:]}")
        return met

    def damage_a_record(self) -> bool:
        if not (found := self.records()):
            return False
        path = self.chance.choice(found)
        try:
            content(path)
        except (Violation, OSError):  # it is damaged, and about to be set aside
            return False
        path.write_bytes(damaged(path.read_bytes(), self.chance))
        self.spoilt[path.stem] += 1
        self.unread.add(path.name)
        return True

    def damage_a_checkpoint(self) -> bool:
        """Stop the command, which saves the runs it was making, and damage one of these."""
        self.running().process.send_signal(signal.SIGTERM)
        self.ended(0, 2, -signal.SIGTERM, 128 + signal.SIGTERM)
        if not (found := [path for path in sorted(self.store.glob("checkpoints/*.pt")) if path.stat().st_size > 1]):
            return False
        path = self.chance.choice(found)
        path.write_bytes(damaged(path.read_bytes(), self.chance))
        return True

    def turn_the_clock(self) -> bool:
        self.switches["jump"] = self.chance.choice([-1, 1]) * 10 ** self.chance.uniform(1, 8)
        return True

    def slow_the_disk(self) -> bool:
        self.switches["slow"] = self.chance.uniform(0.05, 0.3)
        return True

    def take_the_locks(self) -> bool:
        self.switches["unlocked"] = self.chance.choice([errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
        return True

    def suspend(self) -> bool:
        self.running().end(signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.5, 5))
        self.running().end(signal.SIGCONT)
        return True

    # ------------------------------------------------------------ the round

    def run(self, reference: Path, faults: Sequence[str], drag: float, deadline: float = float("inf")) -> None:
        """One fault after the other while there is time, steps taking `drag` seconds; then until the command ends well.

        Checks all that is then there.
        """
        self.switches["drag"] = drag
        for fault in faults:
            self.pause()
            if time.monotonic() > deadline or (self.over() and self.ended(0, 2) == 0):
                break
            if self.command is None:  # it ended because a run was given up
                continue
            self.counts["faults"][fault] += getattr(self, fault)()
        self.switches["drag"] = 0
        while self.command is not None or self.last[0] or self.unread:
            self.ended(0, 2)
        self.account(reference)

    def account(self, reference: Path) -> None:
        """What was asked for, and what is there."""
        totals = self.counts["totals"]
        theirs, ours = ({path.name: path for path in folder.glob("*.json")} for folder in (reference, self.store))
        same = {name: content(path) for name, path in ours.items()}
        different = [name for name in same if name not in theirs or same[name] != content(theirs[name])]
        lines = [line.split() for line in (self.folder / "journal").read_text().splitlines()]
        kept, begun = (Counter(run for what, run in lines if what == word) for word in ("kept", "begun"))
        again = {run: number - 1 for run, number in kept.items()}
        destroyed = sum(min(number, self.spoilt[run]) for run, number in again.items())
        totals.update(
            asked=len(theirs),
            lost=len(theirs.keys() - ours.keys()),
            different=len(different),
            repeated=destroyed,
            repeated_without_cause=sum(again.values()) - destroyed,
            interrupted=begun.total() - kept.total(),
            records_set_aside=len(list(self.store.glob("damaged/*"))),
            checkpoints_set_aside=self.said.count("; moved to ") - len(list(self.store.glob("damaged/*"))),
            unfinished_files=len(list(self.store.rglob("*.part"))),
            bytes_compared=sum(map(len, same.values())),
        )
        for path in self.store.glob("damaged/*"):
            if f"nadam-ref: {path.name[:64]}.json is damaged" not in self.said:
                raise Violation(f"{path.name} was set aside without a word")
        aside = self.spoilt.total() - len(list(self.store.glob("damaged/*")))
        wrong = {
            "runs are lost": theirs.keys() - ours.keys(),
            "records differ from those of the undisturbed sweep": different,
            "finished runs were made again without a cause": sum(again.values()) - destroyed,
            "damaged records were not set aside": aside,
            "checkpoints are left of finished runs": [path.name for path in self.store.glob("checkpoints/*.pt")],
        }
        if any(wrong.values()):
            raise Violation("; ".join(f"{what}: {value}" for what, value in wrong.items() if value))


#: The faults, and how often one of each is drawn.
FAULTS = {
    "kill_the_driver": 2,
    "kill_a_worker": 4,
    "fill_the_disk": 2,
    "damage_a_record": 5,
    "damage_a_checkpoint": 2,
    "turn_the_clock": 4,
    "slow_the_disk": 2,
    "take_the_locks": 2,
    "suspend": 2,
}


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is removed if nothing went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    yield folder
    shutil.rmtree(folder)


def soak(seconds: float, seed: int, tell: Callable[[dict[str, Any]], None] = lambda _: None) -> dict[str, Any]:
    """Rounds for so many seconds; the account of them. `tell` gets it after each round, too."""
    counts = {name: Counter[str]() for name in ("faults", "ends", "totals")}
    counts["faults"].update(dict.fromkeys(FAULTS, 0))
    root = Path(__file__).parents[2]
    account: dict[str, Any] = {
        "seed": seed,
        "command": f"python tests/experiments/soak.py --seconds {seconds:g} --seed {seed}",
        **checkout(root, "nadam_ref", "tests"),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "cpu": processor(),
            "cores": os.cpu_count(),
            "niceness": os.nice(0),
            "platform": platform.platform(),
            "python": platform.python_version(),
            "torch": version("torch"),
        },
        "violations": [],
    }
    chance, started = random.Random(seed), time.monotonic()
    with _folder() as folder:
        undisturbed = Round(folder / "undisturbed", chance, {name: Counter() for name in counts})
        undisturbed.ended(0)
        while time.monotonic() - started < seconds:
            number = counts["totals"]["rounds"]
            counts["totals"]["rounds"] += 1
            one = Round(folder / f"{number}", random.Random(f"{seed} {number}"), counts)
            faults = one.chance.choices(list(FAULTS), FAULTS.values(), k=one.chance.randint(FEWEST, MOST))
            try:
                one.run(undisturbed.store, faults, one.chance.uniform(DRAG / 4, DRAG), started + seconds)
                shutil.rmtree(one.folder)
            except Violation as violation:
                account["violations"].append(f"round {number}, in {one.folder}: {violation}")
            tell({**account, "seconds": round(time.monotonic() - started), **counts})
        if account["violations"]:
            raise Violation("\n".join(account["violations"]))
    return {**account, "seconds": round(time.monotonic() - started), **counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    def tell(account: dict[str, Any]) -> None:
        write_whole(args.out, json.dumps(account, indent=1) + "\n")
        print(account["seconds"], *account["totals"].items(), flush=True)

    soak(args.seconds, args.seed, tell)


if __name__ == "__main__":
    main()

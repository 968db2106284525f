"""What can go wrong and which tests make it happen: faults, the soak, several processes, mutants."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from IPython.display import Markdown

from nadam_ref.experiments.released import folder

from .... import checkout
from ... import BookError, faults, find_root
from .. import wrappers
from .layout import fact_table

#: Of so many tests of a fault the table has the names.
MOST = 3

# ---------------------------------------------------------------- faults


def _faults() -> Markdown:
    tested = faults.tests(find_root() / "tests")
    rows = []
    for fault in faults.catalogue():
        number, wrong = f"[{fault.number}]{{#fault-{fault.number}}}", f"[{fault.part}]{{.compared}}: {fault.wrong}"
        tests = _tests(tested.get(fault.number, []), _sources())
        rows.append([number, wrong, fault.seen, fault.kept, tests])
    header = ["no.", "what can go wrong", "what you see", "what is kept", "the tests"]
    caption = "What can go wrong, and the tests that make it happen."
    return fact_table(header, rows, "lllll", "faults", caption, "From nadam_ref/book/faults.yaml and the tests")


def _sources() -> str:
    """The address of the repository's files."""
    repository = yaml.safe_load((find_root() / "_config.yml").read_text(encoding="utf-8"))["repository"]
    return f"{repository['url']}/blob/{repository['branch']}"


def _tests(tests: Sequence[faults.Test], address: str) -> str:
    """Links to the tests; of many to the first ones, and to the files of the others."""
    named = tests if len(tests) < MOST + 2 else tests[:MOST]
    links = [f"[{test.words}]({address}/{test.file})" for test in named]
    if others := tests[len(named) :]:
        files = ", ".join(f"[{Path(file).name}]({address}/{file})" for file in dict.fromkeys(x.file for x in others))
        links.append(f"and {len(others)} more in {files}")
    return "; ".join(links)


def _fault_tests() -> int:
    """How many tests there are that assert at least one fault."""
    return len({test for tests in faults.tests(find_root() / "tests").values() for test in tests})


# ---------------------------------------------------------------- the soak


#: The faults of the recorded soak, in words.
SOAK_FAULTS = {
    "kill_the_driver": "the sweep killed (SIGKILL)",
    "kill_a_worker": "one of its workers killed (SIGKILL)",
    "fill_the_disk": "a full disk: no sync, or only half of a file, has space",
    "damage_a_record": "a record cut off, emptied, overwritten with zeros or changed in a byte",
    "damage_a_checkpoint": "the sweep stopped (SIGTERM), and a checkpoint damaged likewise",
    "turn_the_clock": "the clock turned forward or back, by seconds to years",
    "slow_the_disk": "a slow disk: every sync takes up to 0.3\u00a0s longer",
    "take_the_locks": "a file system that locks nothing from now on",
    "suspend": "all processes suspended for some seconds (SIGSTOP)",
}
#: What the account says of the runs, in words.
SOAK_TOTALS = {
    "rounds": "sweeps, each into a new store",
    "commands": "times that the command was started",
    "asked": "runs asked for",
    "lost": "runs lost",
    "different": "records unlike those of an undisturbed sweep",
    "repeated": "finished runs made again, because a fault had destroyed the record",
    "repeated_without_cause": "finished runs made again for another reason",
    "interrupted": "runs interrupted, and begun again or gone on with",
    "records_set_aside": "damaged records set aside, each with one line",
    "checkpoints_set_aside": "damaged checkpoints set aside, each with one line",
    "unfinished_files": "half-written files that a killed process left, and nobody read",
    "bytes_compared": "bytes compared with those of an undisturbed sweep",
}


@cache
def soak() -> Mapping[str, Any]:
    """The account of the recorded soak, as `tests/experiments/soak.py` writes it."""
    return json.loads((folder("soak") / "soak.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _soak_note() -> str:
    made, machine = soak(), soak()["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, torch {machine['torch']}"
    return f"Recorded on {made['started'][:10]} at commit {made['commit'][:12]}: {where}"


def _soak_faults() -> Markdown:
    rows = [[words, f"{soak()['faults'][name]:,}"] for name, words in SOAK_FAULTS.items()]
    caption = "What the sweeps of the recorded soak met, and how often."
    return fact_table(["fault", "times"], rows, "lr", "soak-faults", caption, _soak_note())


def _soak() -> Markdown:
    rows = [[words, f"{soak()['totals'][name]:,}"] for name, words in SOAK_TOTALS.items()]
    return fact_table(["what", "number"], rows, "lr", "soak", "What came of it.", _soak_note())


# ---------------------------------------------------------------- several processes


def _distributed() -> Markdown:
    found = wrappers.wrappers(wrappers.source())
    paths = list(dict.fromkeys(path for wrapper in found for path in wrapper.paths))
    address = f"{_sources()}/{wrappers.TESTS}"
    rows = [[f"[{x.words}]({address})", *("✓" if path in x.paths else "–" for path in paths)] for x in found]
    caption = "What works on several processes, each ✓ a test of every optimizer."
    header = ["wrapper", *paths]
    return fact_table(header, rows, "l" * len(header), "distributed", caption, f"From {wrappers.TESTS}")


# ---------------------------------------------------------------- mutants


MUTATION = "tests/mutation.json"


@cache
def _mutation() -> Mapping[str, Any]:
    """What `tests/mutation.py` recorded. Raises `BookError` outside of a checkout."""
    if (root := checkout.find(MUTATION)) is None:
        raise BookError(f"the table of mutants is made from {MUTATION}, which is not here: use a clone")
    path = root / MUTATION
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _mutants(name: str) -> int:
    """How many mutants there are, or of one kind."""
    return sum(counts[name] for counts in _mutation()["modules"].values())


def _mutation_table() -> Markdown:
    kinds = ("mutants", "killed", "equivalent")
    rows = [[f"`{module}.py`", *(counts[name] for name in kinds)] for module, counts in _mutation()["modules"].items()]
    header = ["module", "changes", "a test fails", "the same result"]
    note = f"From tests/mutation.py, with the operators of {_mutation()['tool']}"
    return fact_table(header, rows, "lrrr", "mutation", "Changes to one line each, and whether a test fails.", note)


BLOCKS: dict[str, Callable[[], str | Markdown]] = {
    "faults": _faults,
    "soak-faults": _soak_faults,
    "soak": _soak,
    "soak-command": lambda: f"```bash\n{soak()['command']} --out soak.json\n```",
    "distributed": _distributed,
    "mutation": _mutation_table,
}

NUMBERS: dict[str, Callable[[], str]] = {
    "faults": lambda: str(len(faults.catalogue())),
    "distributed_tolerance": lambda: f"{wrappers.tolerance(wrappers.source()):f}",
    "soak_minutes": lambda: f"{soak()['seconds'] / 60:.0f}",
    "soak_faults": lambda: f"{sum(soak()['faults'].values()):,}",
    "fault_tests": lambda: str(_fault_tests()),
    "mutants": lambda: f"{_mutants('mutants'):,}",
    "mutants_killed": lambda: f"{_mutants('killed') / _mutants('mutants'):.1%}".replace("%", " %"),
    "mutants_equivalent": lambda: str(_mutants("equivalent")),
    "mutants_left": lambda: str(_mutants("mutants") - _mutants("killed") - _mutants("equivalent")),
}

"""The catalogue of faults is whole: every number has a test, and every test that has a number is of the catalogue."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from nadam_ref.book import faults

TESTS = Path(__file__).parent


def test_every_fault_has_a_test_and_every_number_of_a_test_is_a_fault() -> None:
    listed = [fault.number for fault in faults.catalogue()]
    assert listed == list(range(1, len(listed) + 1))
    assert sorted(faults.tests(TESTS)) == listed


class Collected:
    """What pytest collects: file, name, and the numbers of the mark."""

    def __init__(self) -> None:
        self.found: set[tuple[str, str, int]] = set()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            file, name = item.path.relative_to(TESTS.parent).as_posix(), item.name.partition("[")[0]
            self.found |= {(file, name, n) for mark in item.iter_markers("fault") for n in mark.args}


def test_what_pytest_selects_by_the_mark_is_what_the_book_reads() -> None:
    """In two files; in all of them it would take a minute."""
    files = [TESTS / "experiments" / "test_intervals.py", TESTS / "experiments" / "test_claims.py"]
    collected = Collected()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(
            ["-m", "fault", "--collect-only", "-q", "-p", "no:cacheprovider", *map(str, files)], [collected]
        )
    assert code == 0, said.getvalue()
    read = {(x.file, x.name, n) for n, found in faults.tests(TESTS).items() for x in found}
    assert collected.found == {x for x in read if TESTS.parent / x[0] in files}
    assert {n for _, _, n in collected.found} == {66, 67, 68, 73}


def test_the_number_of_a_fault_is_in_the_name_of_a_test() -> None:
    assert faults.numbers("test_fault_07_08_09_one_kernel") == [7, 8, 9]
    assert faults.numbers("test_the_manifest_and_fault_64_where[3_4]") == [64]
    assert faults.numbers("test_default_7_steps") == faults.numbers("test_defaults") == []
    assert faults.Test("f.py", "test_fault_07_08_scalars_and_more").words == "scalars and more"


def test_a_fault_is_said_in_short_plain_words() -> None:
    for fault in faults.catalogue():
        assert re.match(r"[A-Z0-9`]", fault.wrong) and len(fault.wrong) <= 110, fault
        assert fault.seen and fault.kept and not any(text.endswith(".") for text in fault[2:]), fault

"""What `nadam-ref doctor` finds: every fault is given to the machine, one at a time, and named with what to do."""

from __future__ import annotations

import collections
import locale
import re
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import matplotlib
import pytest
import torch
from packaging.requirements import Requirement

from nadam_ref import cli
from nadam_ref.commands import checkup
from nadam_ref.experiments.datasets import registry
from nadam_ref.fused import cpu

ROOT = Path(__file__).parents[1]


def only(check: Any) -> checkup.Finding:
    (finding,) = check()
    assert finding.so and finding.do and "\n" not in str(finding)
    return finding  # type: ignore[no-any-return]


def test_a_machine_without_a_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(checkup, "CHECKS", (lambda: iter(()),))
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("\n\nnothing is wrong\n")


@pytest.mark.parametrize(("stops", "code", "word", "last"), [(True, 1, "wrong", False), (False, 0, "note", True)])
def test_what_stops_nothing_is_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stops: bool, code: int, word: str, last: bool
) -> None:
    monkeypatch.setattr(
        checkup, "CHECKS", (lambda: iter([checkup.Finding("It rains", "you get wet", "Go in", stops)]),)
    )
    assert cli.main(["doctor"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert f"{word}: It rains: you get wet. Go in." in lines
    assert (lines[-1] == "nothing is wrong") is last


def test_every_check_is_carried_out_here() -> None:
    """Whatever this machine has, each check ends, and says what it finds in a sentence."""
    for finding in checkup.findings():
        assert re.fullmatch(r"\S.*: .*\. .*\.", str(finding)), finding


@pytest.mark.parametrize(("version", "wrong"), [((3, 10), True), ((3, 11), False), ((3, 14), False), ((3, 15), True)])
def test_python(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], wrong: bool) -> None:
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    found = list(checkup.python())
    assert bool(found) is wrong
    if found:
        assert (
            found[0].stops
            and f"Python {version[0]}.{version[1]}" in found[0].what
            and "PYTHON=python3.11" in found[0].do
        )


def test_the_bounds_are_those_of_the_makefile_and_of_the_package() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    ((lowest, highest),) = re.findall(r"\((3, \d+)\) <= v <= \((3, \d+)\)", text)
    assert ", ".join(map(str, checkup.PYTHONS[0])) == lowest and ", ".join(map(str, checkup.PYTHONS[1])) == highest
    (bound,) = re.findall(r'^dependencies = \["(torch.*)"\]$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert str(Requirement(bound).specifier) == f">={'.'.join(map(str, checkup.TORCH))}"


@pytest.mark.parametrize(
    ("version", "wrong"), [("2.4.1", True), ("2.5.0+cpu", False), ("2.13.0", False), ("3.0.0a0", False)]
)
def test_torch_version(monkeypatch: pytest.MonkeyPatch, version: str, wrong: bool) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    found = list(checkup.torch_version())
    assert [finding.stops for finding in found] == [True] * wrong and all(version in finding.what for finding in found)


@pytest.mark.parametrize(("cuda", "gpu", "noted"), [("13.0", False, True), ("13.0", True, False), (None, False, False)])
def test_torch_build(monkeypatch: pytest.MonkeyPatch, cuda: Any, gpu: bool, noted: bool) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    found = list(checkup.torch_build())
    assert [(finding.stops, "nvidia-smi" in finding.do) for finding in found] == [(False, True)] * noted


def test_torch_copies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for place, version in (("a", "2.5.0"), ("b", "2.6.0")):
        (info := tmp_path / place / f"torch-{version}.dist-info").mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), str(tmp_path / "a")])
    assert list(checkup.torch_copies()) == []
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), str(tmp_path / "b")])
    finding = only(checkup.torch_copies)
    assert not finding.stops
    assert f"2 times, as 2.5.0 in {tmp_path / 'a'} and 2.6.0 in {tmp_path / 'b'}" in finding.what


def test_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (shutil.which("c++") is None) or list(checkup.compiler()) == []
    monkeypatch.setenv("CXX", "no-such-compiler")
    finding = only(checkup.compiler)
    assert not finding.stops and "CXX=no-such-compiler, which is not there" in finding.what
    (broken := tmp_path / "broken").write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert "out of order" in only(checkup.compiler).what
    (empty := tmp_path / "empty").write_text('#!/bin/sh\nfor x; do last=$now; now=$x; done\necho > "$last"\n')
    empty.chmod(0o755)
    monkeypatch.setenv("CXX", str(empty))
    assert "kernel.so" in only(checkup.compiler).what or "trial" in only(checkup.compiler).what


def test_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path))
    assert list(checkup.data()) == []  # none at all is no fault: there are embedded sets
    (tmp_path / "ptb").mkdir()
    other = tmp_path / "ptb" / "ptb.train.txt"
    other.write_text("other bytes")
    found = {finding.what.split()[0]: finding for finding in checkup.data()}
    assert {Path(name).name for name in found} == set(registry.SOURCES["ptb"].files)
    assert all(finding.stops and "nadam-ref data get ptb" in finding.do for finding in found.values())
    assert registry.SOURCES["ptb"].files["ptb.train.txt"] in found[str(other)].what
    monkeypatch.setenv("NADAM_REF_DATA", str(other))
    finding = only(checkup.data)
    assert finding.stops and f"names {other}, which is no folder" in finding.what


@pytest.mark.parametrize(("version", "wrong"), [("1.0.4.post1", False), ("2.0.0", True)])
def test_jupyter_book(monkeypatch: pytest.MonkeyPatch, version: str, wrong: bool) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: version)
    found = list(checkup.jupyter_book())
    assert [(f.stops, version in f.what, "jupyter-book<2" in f.do) for f in found] == [(True, True, True)] * wrong


def test_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = collections.namedtuple("usage", "total used free")
    for free, wrong in ((2e9, False), (3e8, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(1e12, 0, free))
        found = list(checkup.disks())
        assert bool(found) is wrong
        assert all(finding.stops and "300 MB left" in finding.what for finding in found)


def test_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, noted in (("UTF-8", False), ("utf8", False), ("ANSI_X3.4-1968", True), ("ISO-8859-1", True)):
        monkeypatch.setattr(locale, "getpreferredencoding", lambda _=True, name=name: name)
        found = list(checkup.encoding())
        assert [(f.stops, name in f.what, "LC_ALL=C.UTF-8" in f.do) for f in found] == [(False, True, True)] * noted


def test_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert list(checkup.cache()) == []
    assert list((tmp_path / "nadam_ref").iterdir()) == []  # it leaves nothing there
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    finding = only(checkup.cache)
    assert not finding.stops and str(tmp_path / "file") in finding.what and "XDG_CACHE_HOME" in finding.do

    def homeless() -> Path:
        raise FileNotFoundError("there is no home folder")

    monkeypatch.setattr(cpu, "folder", homeless)
    assert "no home folder" in only(checkup.cache).what
    assert all("home" not in finding.what for finding in checkup.disks())


def test_fonts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(matplotlib, "get_cachedir", lambda: str(tmp_path))
    (fonts := tmp_path / "fontlist-v390.json").write_text('{"ttflist": []}')
    assert list(checkup.fonts()) == []
    fonts.write_text('{"ttflist": [')
    finding = only(checkup.fonts)
    assert not finding.stops and str(fonts) in finding.what and "Delete it" in finding.do

"""Compiled kernels are files like any other: whole or rebuilt, wherever the cache is and whatever compiles them."""

from __future__ import annotations

import ctypes
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch

import nadam_ref
from nadam_ref import fused
from nadam_ref.fused import cpu
from nadam_ref.fused.pointers import NoKernelError

SOURCE = 'extern "C" int answer() { return 42; }\n'
OTHER = 'extern "C" int answer() { return 13; }\n'

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler on this machine"
)


def answer() -> int:
    """What the compiled function says, as a new process would find it."""
    return int(cpu._library.__wrapped__(SOURCE).answer())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty folder for the user's cache, and the folder of kernels in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    return tmp_path / "cache" / "nadam_ref" / "kernels"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The folder of this process, empty again."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(cpu, "_scratch", lambda: folder)
    return folder


def program(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


# -- what is in the cache ----------------------------------------------------------------------------------------------


def test_what_is_kept_is_not_compiled_again(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer() == 42
    monkeypatch.setattr(cpu, "_compile", None)  # raises if it were called
    assert answer() == 42
    assert len(list(cache.iterdir())) == 1


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def one_bit_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def text_instead(path: Path) -> None:
    path.write_text("no library\n")


def another_library(path: Path) -> None:
    path.write_bytes(cpu._compile(cpu._compiler(), OTHER))


def a_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    "damage",
    [emptied, cut_short, one_bit_flipped, text_instead, another_library, a_dangling_link],
    ids=lambda f: f.__name__,
)
def test_fault_103_a_bad_file_in_the_cache_is_rebuilt(cache: Any, damage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer()
    (path,) = cache.iterdir()
    sound = path.read_bytes()
    # Not written over: it is mapped into this process.
    path.rename(path.with_suffix(".mapped"))
    path.write_bytes(sound)
    damage(path)
    assert answer() == 42
    assert path.read_bytes() == sound
    monkeypatch.setattr(cpu, "_compile", None)
    assert answer() == 42


def test_fault_78_103_a_program_under_a_kernel_s_name_is_not_loaded(cache: Any, tmp_path: Path) -> None:
    """Its name does not end in its own digest; a library runs as it is loaded."""
    proof = tmp_path / "it ran"
    hostile = f'#include <stdio.h>\n__attribute__((constructor)) void run() {{ fclose(fopen("{proof}", "w")); }}\n'
    content = cpu._compile(cpu._compiler(), hostile + OTHER)
    answer()
    (path,) = cache.iterdir()
    path.rename(path.with_suffix(".mapped"))
    path.write_bytes(content)
    assert answer() == 42 and not proof.exists()
    pickled = path.with_name(path.name.replace(path.stem[-24:], "0" * 24))
    pickled.write_bytes(pickle.dumps(Path(proof)))
    assert answer() == 42 and not proof.exists()
    ctypes.CDLL(str(program_file(tmp_path, content)))
    assert proof.exists()  # it would have run


def program_file(folder: Path, content: bytes) -> Path:
    path = folder / "hostile.so"
    path.write_bytes(content)
    return path


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
def test_fault_115_a_cache_in_which_others_could_write_is_emptied_and_closed(cache: Any, mode: int) -> None:
    """A kernel that another user planted there has the right name for what it is."""
    answer()
    (path,) = cache.iterdir()
    planted = cpu._compile(cpu._compiler(), OTHER)
    path.unlink()
    path.with_name(cpu._file_name(path.name.split("-")[0], planted)).write_bytes(planted)
    assert answer() == 13  # it would be loaded
    cache.chmod(mode)
    assert answer() == 42
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no owners")
def test_fault_115_another_user_s_cache_is_not_used(cache: Any, scratch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir(parents=True)
    own = os.geteuid()
    owners = iter([own + 1, own])
    monkeypatch.setattr(os, "geteuid", lambda: next(owners))
    assert answer() == 42
    assert list(cache.iterdir()) == []
    assert len(list(scratch.iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_fault_115_a_new_cache_is_this_person_s_alone(cache: Any) -> None:
    answer()
    assert cache.stat().st_mode & 0o777 == 0o700


def test_fault_103_a_file_that_cannot_be_replaced_is_gone_round(cache: Any, scratch: Any) -> None:
    answer()
    (path,) = cache.iterdir()
    path.unlink()
    path.mkdir()
    assert answer() == 42
    assert path.is_dir()
    assert len(list(scratch.iterdir())) == 1


def test_fault_103_a_damaged_kernel_of_a_rule_is_rebuilt(tmp_path: Path) -> None:
    code = (
        "import torch, nadam_ref, warnings; warnings.simplefilter('error'); p = torch.ones(3); p.grad = torch.ones(3);"
        "nadam_ref.NadaMax([p], fused=True).step(); print(p.tolist())"
    )

    def run() -> bytes:
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment).stdout

    first = run()
    (path,) = tmp_path.rglob("*.so")
    path.write_bytes(path.read_bytes()[:1000])
    assert run() == first


def test_processes_that_compile_at_once_leave_one_whole_file(cache: Any) -> None:
    code = f"from nadam_ref.fused import cpu; print(cpu._library({SOURCE!r}).answer())"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in running] == ["42\n"] * 3
    assert [path.suffix for path in cache.iterdir()] == [".so"]


# -- where the cache is ------------------------------------------------------------------------------------------------


def test_fault_95_a_relative_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scratch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert answer() == 42
    assert len(list((tmp_path / "here" / "nadam_ref" / "kernels").glob("*.so"))) == 1
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("home", [None, "/dev/null", "/proc"])
def test_fault_95_without_a_home(home: Any, monkeypatch: pytest.MonkeyPatch, scratch: Any) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home if home is None else lambda: Path(home))
    assert answer() == 42
    assert len(list(scratch.iterdir())) == 1


def test_fault_95_a_full_disk(cache: Any, scratch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cpu.write_whole

    def full(path: Path, content: Any) -> None:
        if cache in path.parents:
            raise OSError(28, "No space left on device")
        whole(path, content)

    monkeypatch.setattr(cpu, "write_whole", full)
    assert answer() == 42
    assert len(list(scratch.iterdir())) == 1


def test_fault_95_a_cache_in_which_nothing_can_run(cache: Any, scratch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load = ctypes.CDLL

    def mounted_noexec(path: str) -> Any:
        if str(cache) in path:
            raise OSError(f"{path}: failed to map segment from shared object")
        return load(path)

    monkeypatch.setattr(ctypes, "CDLL", mounted_noexec)
    assert answer() == 42
    assert not list(cache.iterdir())
    monkeypatch.setattr(cpu, "_scratch", lambda: cache)
    with pytest.raises(NoKernelError, match="failed to map segment"):
        answer()


def test_fault_95_a_real_folder_mounted_noexec(monkeypatch: pytest.MonkeyPatch, scratch: Any) -> None:
    mounts = [place for place in ("/dev/shm", "/run", "/run/lock") if os.access(place, os.W_OK)]
    noexec = [place for place in mounts if os.statvfs(place).f_flag & os.ST_NOEXEC]
    if not noexec:
        pytest.skip("no writable folder is mounted noexec")
    with tempfile.TemporaryDirectory(dir=noexec[0]) as folder:
        monkeypatch.setenv("XDG_CACHE_HOME", folder)
        assert answer() == 42
    assert len(list(scratch.iterdir())) == 1


# -- what compiles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", ["-O1", "-O1 -DA='a b'", "-std=c++17"])
def test_fault_95_a_compiler_with_arguments(cache: Any, arguments: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", f"{shutil.which('c++')} {arguments}")
    assert answer() == 42


def test_fault_95_arguments_have_kernels_of_their_own(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in ("", " -DONE", " -DTWO"):
        monkeypatch.setenv("CXX", f"{shutil.which('c++')}{arguments}")
        assert answer() == 42
    assert len({path.name.partition("-")[0] for path in cache.iterdir()}) == 3


def test_fault_95_a_compiler_behind_another_program(
    cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    wrapper = program(tmp_path / "bin", "ccache", f'echo "$1" >> {seen}', 'exec "$@"')
    monkeypatch.setenv("PATH", str(wrapper.parent), prepend=os.pathsep)
    monkeypatch.setenv("CXX", "ccache c++")
    assert answer() == 42
    assert set(seen.read_text().split()) == {"c++"}


def test_fault_95_a_compiler_whose_path_has_a_space(
    cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(program(tmp_path / "my programs", "c++", f'exec {shutil.which("c++")} "$@"')))
    assert answer() == 42


def test_fault_95_a_blank_variable_names_no_compiler(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", " ")
    assert answer() == 42


FAILURES = {
    "fails": (["echo 'no room' >&2", "exit 1"], "no room"),
    "fails in Latin-1": (["printf '\\344\\n' >&2", "exit 1"], "\N{REPLACEMENT CHARACTER}"),
    "fails without a word": (["exit 3"], "exit code 3"),
    "is killed": (["kill -9 $$"], "exit code -9"),
    "makes nothing": (["exit 0"], "No such file"),
    "makes no library": (['while [ "$1" != -o ]; do shift; done; echo text > "$2"'], "too short|invalid ELF"),
    "hangs": (["exec sleep 600"], r"not done in 0\.5 s"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_fault_95_a_compiler_that_does_not_compile(
    cache: Any, name: str, tmp_path: Path, scratch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, message = FAILURES[name]
    guard = [] if name == "hangs" else ['case "$*" in *-dM*) exit 0;; esac']  # it is asked for its target first
    monkeypatch.setattr(cpu, "COMPILER_TIMEOUT_S", 0.5 if name == "hangs" else 60)
    monkeypatch.setenv("CXX", str(program(tmp_path, "c++ that fails", *guard, *lines)))
    with pytest.raises(NoKernelError, match=message):
        answer()
    assert not list(scratch.iterdir())
    assert not cache.exists() or not list(cache.iterdir())


@pytest.mark.parametrize(
    ("named", "message"),
    [("no-such-compiler -O1", "CXX=no-such-compiler -O1, which is not there"), ("c++ 'a", "No closing quotation")],
)
def test_fault_95_a_compiler_that_is_none(
    cache: Any, named: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", named)
    with pytest.raises(NoKernelError, match=message):
        answer()


def test_fault_95_a_program_that_cannot_be_run(cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c++"
    path.write_bytes(b"\x7fELF of another machine")
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    with pytest.raises(NoKernelError, match=r"c\+\+: .*Exec format error"):
        answer()


def test_fault_95_without_a_kernel_there_is_one_warning_and_the_same_result(
    cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused, "_WITHOUT_COMPILER", set())
    cpu.kernel.cache_clear(), cpu._library.cache_clear()
    monkeypatch.setenv("CXX", "c++ 'a")
    results = []
    with pytest.warns(UserWarning, match="No closing quotation") as caught:
        for flags in ({"fused": True}, {"foreach": False}):
            p = torch.ones(3, dtype=torch.float64, requires_grad=True)
            optimizer = nadam_ref.Nadam([p], **flags)
            for _ in range(3):
                p.grad = torch.full_like(p, 0.5)
                optimizer.step()
            results.append(p.detach())
    assert len(caught) == 1
    torch.testing.assert_close(*results, rtol=1e-14, atol=0)

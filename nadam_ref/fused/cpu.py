"""The fused kernel on a CPU: C++, compiled once for each rule and dtype, and kept on disk."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import torch

from ..files import write_whole
from ..kernels import Coefficients, Prelude
from ..rules import Rule
from .codegen import Spelling, spell
from .pointers import NoKernelError, Span

__all__ = ["body", "head", "kernel", "source"]

Kernel = Callable[[list[Span], Sequence[Coefficients], torch.device], None]

# No contraction: a product and a sum are rounded one by one, as in torch. Without traps and errno loops vectorize.
FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-shared", "-fPIC")
NATIVE = "-march=native" if platform.machine() in ("x86_64", "AMD64", "i386", "i686") else "-mcpu=native"
#: A kernel takes a second or two to compile.
COMPILER_TIMEOUT_S = 120
#: What one thread is given at least: less is not worth waking another for. Shares are whole cache lines.
BYTES_A_THREAD = 1 << 18
LINE = 64

C_TYPES = {torch.float32: ("float", "f"), torch.float64: ("double", "")}
#: What every kernel begins with.
HEAD = """\
#include <math.h>
#include <stdint.h>

typedef {type} T;

static inline T square_root(T x) {{ return sqrt{suffix}(x); }}
static inline T absolute(T x) {{ return fabs{suffix}(x); }}
static inline T maximum(T x, T y) {{ return x > y || x != x ? x : y; }}
"""
TEMPLATE = """\
{head}
extern "C" void update(int64_t spans, const int64_t *span, const double *all_numbers) {{
    for (; spans--; span += 6) {{
        const double *k = all_numbers + {count} * span[5];
        const T {numbers};
        T *at_p = (T *)span[0], *at_g = (T *)span[1], *at_m = (T *)span[2], *at_n = (T *)span[3];
        const int64_t size = span[4] / (int64_t)sizeof(T);
        #pragma omp simd
        for (int64_t i = 0; i < size; ++i) {{
            {body}
        }}
    }}
}}
"""


def source(rule: Rule, prelude: Prelude, dtype: torch.dtype) -> str:
    """The kernel in C++: `update(spans, table, numbers)`; a span names its set of numbers."""
    numbers = ", ".join(f"{name} = (T)k[{i}]" for i, name in enumerate(Coefficients._fields))
    lines = "\n            ".join(body(spell(rule, prelude)))
    return TEMPLATE.format(head=head(dtype), count=len(Coefficients._fields), numbers=numbers, body=lines)


def head(dtype: torch.dtype) -> str:
    """The type T and its functions."""
    ctype, suffix = C_TYPES[dtype]
    return HEAD.format(type=ctype, suffix=suffix)


def body(spelling: Spelling) -> list[str]:
    """One element's update: element i of what `at_p`, `at_g`, `at_m` and `at_n` point to."""
    return [
        *(f"const T {x} = at_{x}[i];" for x in spelling.reads),
        *(f"const T {x} = {operation};" for x, operation in spelling.lines),
        *(f"at_{x}[i] = {new};" for x, new in spelling.writes.items()),
    ]


@functools.cache
def kernel(rule: Rule, prelude: Prelude, dtype: torch.dtype) -> Kernel:
    """The compiled kernel: takes the table, the numbers and the device, and updates in place.

    It works on as many threads as torch does. Raises NoKernelError where there is no C++ compiler, or it fails.
    """
    update = _library(source(rule, prelude, dtype)).update
    update.argtypes, update.restype = (ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p), None

    def run(table: list[Span], ks: Sequence[Coefficients], device: torch.device) -> None:
        numbers = array("d", chain.from_iterable(ks))

        def work(part: list[Span]) -> None:
            flat = array("q", chain.from_iterable(part))
            update(len(part), flat.buffer_info()[0], numbers.buffer_info()[0])

        threads = torch.get_num_threads()
        shares = _shares(table, threads) if threads > 1 else [table]
        if len(shares) == 1:
            work(shares[0])
        else:  # ctypes lets go of the interpreter, so they run at once
            list(_threads(os.getpid(), len(shares)).map(work, shares))

    return run


def _shares(table: list[Span], threads: int) -> list[list[Span]]:
    """The table cut into one for each thread, each of about as many bytes."""
    total = sum(span[4] for span in table)
    threads = min(threads, total // BYTES_A_THREAD)
    if threads < 2:
        return [table]
    share = -(-total // threads // LINE) * LINE
    shares: list[list[Span]] = [[]]
    room = share
    for p, g, m, n, size, which in table:
        done = 0
        while done < size:
            if room <= 0:
                shares.append([])
                room = share
            taken = min(room, size - done)
            shares[-1].append((p + done, g + done, m and m + done, n and n + done, taken, which))
            done, room = done + taken, room - taken
    return shares


@functools.cache
def _threads(process: int, number: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked one has to start its own."""
    return ThreadPoolExecutor(number, thread_name_prefix="nadam_ref")


@functools.cache
def _library(text: str) -> ctypes.CDLL:
    """The compiled text: kept in the user's cache, or in a folder of this process where that does not work.

    The cache may be damaged, be on a full disk, or be mounted so that nothing in it can run. Raises NoKernelError.
    """
    compiler = _compiler()
    name = hashlib.sha256("\n".join([_target(compiler), *compiler, *FLAGS, text]).encode()).hexdigest()[:24]
    compiled = functools.cache(lambda: _compile(compiler, text))
    for folder in (_cache, _scratch):
        try:
            place = folder()
            return _kept(place, name) or _keep(place, name, compiled())
        except OSError as error:
            reason = error
    raise NoKernelError(str(reason)) from reason


def _kept(place: Path, name: str) -> ctypes.CDLL | None:
    """The library of this name, if there is a sound one. The name of its file ends in the digest of its bytes."""
    for path in place.glob(f"{name}-*.so"):
        with contextlib.suppress(OSError):
            if path.name == _file_name(name, path.read_bytes()):
                return ctypes.CDLL(str(path))
        path.unlink(missing_ok=True)  # damaged, or of no use on this machine
    return None


def _keep(place: Path, name: str, content: bytes) -> ctypes.CDLL:
    """Write a library and load it; what cannot be loaded does not stay."""
    path = place / _file_name(name, content)
    write_whole(path, lambda file: file.write(content))
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _file_name(name: str, content: bytes) -> str:
    return f"{name}-{hashlib.sha256(content).hexdigest()[:24]}.so"


def _compile(compiler: tuple[str, ...], text: str) -> bytes:
    """The shared library that the compiler makes of the text."""
    with tempfile.TemporaryDirectory(prefix="nadam_ref-") as folder:
        made = Path(folder, "kernel.so")
        done = _run([*compiler, *FLAGS, NATIVE, "-x", "c++", "-", "-o", str(made), "-lm"], text)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise NoKernelError(f"{shlex.join(compiler)}: {said[0]}")
        return made.read_bytes()


def _compiler() -> tuple[str, ...]:
    """The C++ compiler with its arguments: what the variable CXX says, else the first of the usual ones."""
    named = os.environ.get("CXX", "").strip()
    for name in [named] if named else ["c++", "g++", "clang++"]:
        for words in ([name], _words(name)):  # a path with a space in it is a compiler, too
            if found := shutil.which(words[0]):
                return found, *words[1:]
    raise NoKernelError(f"CXX={named}, which is not there" if named else "no C++ compiler is on the PATH")


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise NoKernelError(f"CXX={command}: {error}") from error


@functools.cache
def _target(compiler: tuple[str, ...]) -> str:
    """What the compiler defines for this processor: a cache on a shared disk serves several kinds of machine."""
    done = _run([*compiler, NATIVE, "-dM", "-E", "-x", "c++", os.devnull])
    return done.stdout + done.stderr


def _run(command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
            timeout=COMPILER_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise NoKernelError(f"{command[0]} was not done in {COMPILER_TIMEOUT_S} s") from error
    except OSError as error:
        raise NoKernelError(f"{command[0]}: {error}") from error


def _cache() -> Path:
    """The folder of compiled kernels in the user's cache."""
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise FileNotFoundError("there is no home folder") from error
    return caches.absolute() / "nadam_ref" / "kernels"


@functools.cache
def _scratch() -> Path:
    """A folder for the kernels of this process."""
    folder = tempfile.TemporaryDirectory(prefix="nadam_ref-")
    atexit.register(folder.cleanup)
    return Path(folder.name)

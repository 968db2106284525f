"""The fused kernel on a CPU: C++, compiled once for each rule and dtype, and kept on disk."""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import torch

from ..kernels import Coefficients, Prelude
from ..rules import Rule
from .spelling import Spelling, spell
from .table import NoKernelError, Row

__all__ = ["body", "head", "kernel", "source"]

Kernel = Callable[[list[Row], Sequence[Coefficients], torch.device], None]

# No contraction: a product and a sum are rounded one by one, as in torch. Without traps and errno loops vectorize.
FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-shared", "-fPIC")
NATIVE = "-march=native" if platform.machine() in ("x86_64", "AMD64", "i386", "i686") else "-mcpu=native"
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
extern "C" void update(int64_t rows, const int64_t *row, const double *all_numbers) {{
    for (; rows--; row += 6) {{
        const double *k = all_numbers + {count} * row[5];
        const T {numbers};
        T *at_p = (T *)row[0], *at_g = (T *)row[1], *at_m = (T *)row[2], *at_n = (T *)row[3];
        const int64_t size = row[4] / (int64_t)sizeof(T);
        #pragma omp simd
        for (int64_t i = 0; i < size; ++i) {{
            {body}
        }}
    }}
}}
"""


def source(rule: Rule, prelude: Prelude, dtype: torch.dtype) -> str:
    """The kernel in C++: `update(rows, table, numbers)`; a row names its set of numbers."""
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

    def run(table: list[Row], ks: Sequence[Coefficients], device: torch.device) -> None:
        numbers = array("d", chain.from_iterable(ks))

        def work(part: list[Row]) -> None:
            flat = array("q", chain.from_iterable(part))
            update(len(part), flat.buffer_info()[0], numbers.buffer_info()[0])

        shares = _shares(table, torch.get_num_threads())
        if len(shares) == 1:
            work(shares[0])
        else:  # ctypes lets go of the interpreter, so they run at once
            list(_threads(os.getpid(), len(shares)).map(work, shares))

    return run


def _shares(table: list[Row], threads: int) -> list[list[Row]]:
    """The table cut into one for each thread, each of about as many bytes."""
    total = sum(row[4] for row in table)
    threads = min(threads, total // BYTES_A_THREAD)
    if threads < 2:
        return [table]
    share = -(-total // threads // LINE) * LINE
    shares: list[list[Row]] = [[]]
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
    """The compiled text, from the cache folder where it is there. Raises NoKernelError."""
    compiler = _compiler()
    name = hashlib.sha256("\n".join([_target(compiler), *FLAGS, text]).encode()).hexdigest()[:24]
    path = _folder() / f"{name}.so"
    try:
        if not path.exists():
            _compile(compiler, text, path)
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise NoKernelError(str(error)) from error


def _compile(compiler: str, text: str, path: Path) -> None:
    """To a temporary file beside `path`, then renamed over it: other processes see all of it or nothing."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder, path.name)
        command = [compiler, *FLAGS, NATIVE, "-x", "c++", "-", "-o", str(made), "-lm"]
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise NoKernelError(f"{compiler}: {said[0]}")
        made.replace(path)


def _compiler() -> str:
    """The C++ compiler: the one that the variable CXX names, else the first of the usual ones."""
    named = os.environ.get("CXX")
    for name in [named] if named else ["c++", "g++", "clang++"]:
        if found := shutil.which(name):
            return found
    raise NoKernelError(f"CXX={named}, which is not there" if named else "no C++ compiler is on the PATH")


@functools.cache
def _target(compiler: str) -> str:
    """What the compiler defines for this processor: a cache on a shared disk serves several kinds of machine."""
    command = [compiler, NATIVE, "-dM", "-E", "-x", "c++", os.devnull]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    return done.stdout + done.stderr


@functools.cache
def _folder() -> Path:
    """Where compiled kernels are kept: the user's cache, or a folder of this process where that cannot be written."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nadam_ref" / "kernels"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        scratch = tempfile.TemporaryDirectory(prefix="nadam_ref-")
        atexit.register(scratch.cleanup)
        return Path(scratch.name)
    return folder

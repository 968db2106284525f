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
from itertools import chain
from pathlib import Path

import torch

from ..files import write_whole
from ..kernels import Coefficients, Prelude
from ..rules import Rule
from .codegen import Spelling, spell
from .pointers import NoKernelError, Table

Kernel = Callable[[Table, Sequence[Coefficients], torch.device], None]

# No contraction: a product and a sum are rounded one by one, as in torch. Without traps and errno loops vectorize.
ARITHMETIC = ("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
# Unrolled, the shortest loop with a root, AdaGrad's, takes a seventh less; the others take as long.
FLAGS = ("-O3", "-funroll-loops", *ARITHMETIC, "-fopenmp-simd", "-pthread", "-shared", "-fPIC")
NATIVE = "-march=native" if platform.machine() in ("x86_64", "AMD64", "i386", "i686") else "-mcpu=native"
#: A kernel takes a second or two to compile.
COMPILER_TIMEOUT_S = 120
#: The least that a thread is given: below this a second thread does not pay.
BYTES_A_THREAD = 1 << 18

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
#: One update by several threads, which wait for the next one when it is done.
SHARING = """\
#include <condition_variable>
#include <mutex>
#include <pthread.h>
#include <stdint.h>
#include <system_error>
#include <thread>

typedef void (*Update)(int64_t, const int64_t *, const double *);
enum { LINE = 64 };  // of a cache, in bytes: shares are whole ones

struct Work {
    Update update;
    int64_t spans;
    const int64_t *table;
    const double *numbers;
    int64_t share;  // bytes

    void make(int64_t i) const {
        int64_t from = i * share, to = from + share;
        const int64_t *end = table + 6 * spans;
        for (const int64_t *x = table; x < end && to > 0; from -= x[4], to -= x[4], x += 6) {
            const int64_t low = from > 0 ? from : 0, high = to < x[4] ? to : x[4];
            if (low >= high) continue;
            const int64_t part[6] = {x[0] + low, x[1] + low, x[2] ? x[2] + low : 0, x[3] ? x[3] + low : 0,
                                     high - low, x[5]};
            update(1, part, numbers);
        }
    }
};

struct Pool {
    std::mutex turn, guard;
    std::condition_variable wake, done;
    int64_t threads = 0, next = 0, shares = 0, left = 0;
    Work work;

    void take(std::unique_lock<std::mutex> &lock) {
        const int64_t i = next++;
        lock.unlock();
        work.make(i);
        lock.lock();
        if (!--left) done.notify_one();
    }

    void serve() {
        for (std::unique_lock<std::mutex> lock(guard);;) {
            wake.wait(lock, [this] { return next < shares; });
            take(lock);
        }
    }

    void make(const Work &given, int64_t number) {
        std::lock_guard<std::mutex> mine(turn);
        std::unique_lock<std::mutex> lock(guard);
        work = given, next = 0, shares = left = number;
        try {
            for (; threads < number - 1; ++threads) std::thread(&Pool::serve, this).detach();
        } catch (const std::system_error &) {  // there are no more threads: those that there are do the work
        }
        wake.notify_all();
        while (next < shares) take(lock);
        done.wait(lock, [this] { return !left; });
    }
};

// It is never destroyed, because its threads wait in it until the process ends. A forked process has none of them.
static Pool *pool = new Pool;
static const int registered = pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });

extern "C" void share(int64_t threads, Update update, int64_t spans, const int64_t *table, const double *numbers) {
    int64_t total = 0;
    for (int64_t i = 0; i < spans; ++i) total += table[6 * i + 4];
    pool->make({update, spans, table, numbers, (total + threads * LINE - 1) / (threads * LINE) * LINE}, threads);
}
"""


def source(rule: Rule, prelude: Prelude, dtype: torch.dtype) -> str:
    """The kernel in C++."""
    return written(spell(rule, prelude), dtype)


def written(spelling: Spelling, dtype: torch.dtype) -> str:
    """A spelling in C++: `update(spans, table, numbers)`; a span names its set of numbers."""
    numbers = ", ".join(f"{name} = (T)k[{i}]" for i, name in enumerate(Coefficients._fields))
    lines = "\n            ".join(body(spelling))
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
    return compiled(spell(rule, prelude), dtype)


def compiled(spelling: Spelling, dtype: torch.dtype) -> Kernel:
    """`kernel` for any spelling of what is done to an element."""
    update = _library(written(spelling, dtype)).update
    number, address = ctypes.c_int64, ctypes.c_void_p
    update.argtypes, update.restype = (number, address, address), None
    where = ctypes.cast(update, address)

    def run(table: Table, ks: Sequence[Coefficients], device: torch.device) -> None:
        numbers = array("d", chain.from_iterable(ks))
        work = len(table), table.flat.buffer_info()[0], numbers.buffer_info()[0]
        threads = torch.get_num_threads()
        if threads > 1:
            threads = min(threads, table.nbytes // BYTES_A_THREAD)
        if threads > 1 and (share := _share()):
            share(threads, where, *work)
        else:
            update(*work)

    return run


@functools.cache
def _share() -> Callable[..., None] | None:
    """`share(threads, update, spans, table, numbers)`: one update by several threads; None where it cannot be made."""
    try:
        share = _library(SHARING).share
    except NoKernelError:
        return None
    number, address = ctypes.c_int64, ctypes.c_void_p
    share.argtypes, share.restype = (number, address, number, address, address), None
    return share


@functools.cache
def _library(text: str) -> ctypes.CDLL:
    """The compiled text: kept in the user's cache, or in a folder of this process where that does not work.

    The cache may be damaged, be on a full disk, or be mounted so that nothing in it can run. Raises NoKernelError.
    """
    compiler = _compiler()
    name = hashlib.sha256("\n".join([_target(compiler), *compiler, *FLAGS, text]).encode()).hexdigest()[:24]
    compiled = functools.cache(lambda: _compile(compiler, text))
    for place_of in (folder, _scratch):
        try:
            place = _private(place_of())
            return _kept(place, name) or _keep(place, name, compiled())
        except OSError as error:
            reason = error
    raise NoKernelError(str(reason)) from reason


def _private(place: Path) -> Path:
    """The folder, made where it is missing, as one that this person alone can write: what is loaded from it runs.

    Where others could, it is closed, and what was in it goes. Raises `PermissionError` for another person's folder.
    """
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "geteuid"):  # not on Windows, where a home is its owner's
        status = place.stat()
        if status.st_uid != os.geteuid():
            raise PermissionError(f"{place} belongs to another user")
        if status.st_mode & 0o022:
            place.chmod(0o700)
            for path in place.glob("*.so"):
                path.unlink()
    return place


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
        library = Path(folder, "kernel.so")
        done = _run([*compiler, *FLAGS, NATIVE, "-x", "c++", "-", "-o", str(library), "-lm"], text)
        if done.returncode:
            first, *_ = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise NoKernelError(f"{shlex.join(compiler)}: {first}")
        return library.read_bytes()


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


def trial() -> None:
    """Compile a small program and load it, whatever the cache has. Raises NoKernelError where that fails."""
    try:
        _keep(_scratch(), "trial", _compile(_compiler(), 'extern "C" int answer() { return 42; }'))
    except OSError as error:
        raise NoKernelError(str(error)) from error


def folder() -> Path:
    """The folder of compiled kernels in the user's cache. Raises FileNotFoundError where there is no home."""
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

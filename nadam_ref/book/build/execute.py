"""Execute notebooks through papermill, each in its own process with its own settings.

As a program (``python -m nadam_ref.book.build.execute``) it runs one notebook and reports on standard output, one
JSON object a line; `execute_all` starts such programs, some at a time, and reads along.
"""

from __future__ import annotations

import functools
import json
import os
import re
import site
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import IO, Any

from ... import checkout
from ...files import user_path, write_whole
from ...tables import visible
from .. import BookError
from ..fingerprints import INHERITED, LIBRARIES, LOADED, PACKAGE
from . import notebooks

#: At a time. Each kernel has one thread: two OpenMP threads beside other work cost more than they bring.
WORKERS = 2
CELL_TIMEOUT_S = 900
EVENT = "@nadam-ref-book "
#: Beside the libraries, what a notebook is executed with.
TOOLS = ("papermill", "nbclient", "ipykernel", "ipython", "distributed", "dask", "PyYAML")
KERNEL = {"display_name": "Python 3", "language": "python"}
#: Sockets are files beside the notebook where the system has such: a free TCP port that was chosen for a kernel may be
#: taken by another program before the kernel opens it. The path is relative, as paths of sockets must be short.
SOCKETS = {"transport": "ipc", "ip": "kernel"} if os.name == "posix" else {}
#: Variables that name a folder of settings; each gets one of its own.
SETTINGS = (
    *("IPYTHONDIR", "JUPYTER_PATH", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"),
    *("MPLCONFIGDIR", "DASK_CONFIG", "DASK_ROOT_CONFIG"),
)
#: What the programs write, whatever the locale of this one.
UTF8: Any = {"encoding": "utf-8", "errors": "replace"}
SOURCE_LINES = 6
ERROR_LINES = 6

#: Called as work goes on: what is worked on, how many of its parts are done, and how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Job:
    """One notebook to execute: where it is, where its executed form goes, its parameters and its key."""

    source: Path
    target: Path
    parameters: Mapping[str, Any]
    key: str


def execute_all(jobs: Sequence[Job], progress: Progress) -> dict[str, float]:
    """Run the jobs, and return the seconds each took, by notebook name.

    Raises `BookError` with every failure; what succeeded is kept at its target.
    """
    pool = ThreadPoolExecutor(WORKERS)
    try:
        running = {job.source.stem: pool.submit(_execute, job, progress) for job in jobs}
        failures = [str(error) for error in map(Future.exception, running.values()) if isinstance(error, BookError)]
        if failures:
            raise BookError("\n\n".join(failures))
        return {name: future.result() for name, future in running.items()}
    finally:
        pool.shutdown(cancel_futures=True)


def _execute(job: Job, progress: Progress) -> float:
    """Run one job in its own process and follow it; the seconds it took."""
    start = time.perf_counter()
    request = json.dumps([notebooks.with_whole_paths(job.parameters), job.key])
    with fresh_home() as (home, environment), tempfile.TemporaryFile("w+", **UTF8) as errors:
        if root := checkout.find("book/_toc.yml", job.source.parent):
            environment[checkout.VARIABLE] = str(root)
        # The paths are words of their own: the two processes may spell a file name's bytes differently.
        command = [sys.executable, "-m", __name__, *map(str, (job.source.absolute(), job.target.absolute())), request]
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": errors}
        with subprocess.Popen(command, cwd=home, env=environment, **UTF8, **streams) as process:
            assert process.stdout is not None
            failure = _follow(process.stdout, job.source.stem, progress)
        if failure is None and process.returncode:
            errors.seek(0)
            failure = {"text": "\n".join(errors.read().strip().splitlines()[-ERROR_LINES:])}
    if failure is not None:
        raise BookError(describe(job.source, failure))
    return time.perf_counter() - start


def _follow(lines: IO[str], name: str, progress: Progress) -> dict[str, Any] | None:
    """Pass each finished cell on to `progress`; the failure, if one was reported."""
    failure = None
    for line in lines:
        if line.startswith(EVENT):
            event = json.loads(line.removeprefix(EVENT))
            if "done" in event:
                progress(name, event["done"], event["cells"])
            else:
                failure = event
    return failure


@contextmanager
def fresh_home() -> Iterator[tuple[Path, dict[str, str]]]:
    """A home with no setting in it, and the environment of a program there; deleted in the end."""
    with tempfile.TemporaryDirectory(prefix="nadam-ref-book-") as folder:
        home = Path(folder)
        environment = kernel_environment(home, os.environ)
        kernel = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], **KERNEL}
        write_whole(Path(environment["JUPYTER_PATH"], "kernels", "python3", "kernel.json"), json.dumps(kernel))
        for name, fonts in _fonts().items():
            write_whole(Path(environment["MPLCONFIGDIR"], name), fonts)
        yield home, environment


@functools.cache
def _fonts() -> dict[str, str]:
    """The list of fonts that matplotlib makes, as files by name: made once, here, where no page shows that it is.

    In a process without the person's settings, because with some of them matplotlib cannot be imported. Not from the
    person's cache either: its list may be of fonts that another environment had.
    """
    with tempfile.TemporaryDirectory(prefix="nadam-ref-book-") as home:
        environment = kernel_environment(Path(home), os.environ)
        command = [sys.executable, "-c", "import matplotlib.font_manager"]
        subprocess.run(command, cwd=home, env=environment, capture_output=True)
        lists = Path(environment["MPLCONFIGDIR"]).glob("fontlist-*.json")
        return {path.name: path.read_text(encoding="utf-8") for path in lists}


def kernel_environment(home: Path, outside: Mapping[str, str]) -> dict[str, str]:
    """The environment of a kernel: one thread, fixed hashes, locale and clock, and none of the user's settings.

    Of `outside` only `INHERITED` and `LOADED` come in, the data folder, and the folders of libraries (`python_path`).
    So no start-up file, matplotlibrc, profile or kernel, no configuration of IPython, Jupyter or Dask, no variable of
    Python, torch, threads or locale reaches a chapter. Programs look for their settings in `home`, which has none.
    """
    return {
        **{name: outside[name] for name in (*INHERITED, *LOADED) if name in outside},
        **{name: str(home / f".{name.lower()}") for name in SETTINGS},
        **_data_folder(outside),
        "HOME": str(home),
        "USERPROFILE": str(home),
        "GIT_CONFIG_GLOBAL": outside.get("GIT_CONFIG_GLOBAL") or str(user_path("~/.gitconfig")),  # safe.directory
        "TMPDIR": tempfile.gettempdir(),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": python_path(outside),
        "PYTHONUTF8": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "SOURCE_DATE_EPOCH": "0",
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


def _data_folder(outside: Mapping[str, str]) -> dict[str, str]:
    """The variable that names the data folder: the person's, or the default one if it is there."""
    from ...experiments.datasets import registry

    named = outside.get("NADAM_REF_DATA")
    folder = user_path(named) if named else registry.root()
    return {"NADAM_REF_DATA": str(folder)} if named or folder.is_dir() else {}


def python_path(outside: Mapping[str, str]) -> str:
    """A PYTHONPATH on which the package that is running comes first.

    Of the user's PYTHONPATH and user site it keeps the folders that `LIBRARIES` or `TOOLS` are installed in,
    because no chapter runs without them, and nothing else. A package of the user's that lies beside them is seen.
    """
    own = [*filter(None, outside.get("PYTHONPATH", "").split(os.pathsep)), site.getusersitepackages()]
    libraries = {Path(str(distribution(name).locate_file(""))).resolve() for name in (*LIBRARIES, *TOOLS)}
    needed = [str(Path(folder).absolute()) for folder in own if Path(folder).resolve() in libraries]
    return os.pathsep.join(dict.fromkeys([str(PACKAGE.parent), *needed]))


def describe(source: Path, failure: Mapping[str, Any]) -> str:
    """A failure for the person who sees it: notebook, cell, how the cell begins, and the traceback as plain text."""
    where = f"{source.parent.name}/{source.name}"
    if "cell" not in failure:
        return f"{where} could not be executed\n\n{plain(failure['text'])}"
    lines = failure["source"].splitlines()
    shown = lines[:SOURCE_LINES] + ["…"] * (len(lines) > SOURCE_LINES)
    cell = "\n".join(f"    {line}" for line in shown)
    return plain(f"{where} failed in cell {failure['cell']}:\n\n{cell}\n\n{failure['text']}")


def plain(text: str) -> str:
    """Text without terminal colours and without control characters other than newline and tab.

    Other signs that a terminal obeys are there by their numbers.
    """
    bare = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))
    return visible(bare)


def main(source: str, target: str, request: str) -> int:
    """Run one notebook: the other side of `_execute`."""
    import papermill
    from traitlets.config import Config

    parameters, key = json.loads(request)
    notebook = notebooks.read(Path(source))

    def report(**event: Any) -> None:
        print(EVENT + json.dumps(event), flush=True)

    cells = len(notebook.cells) + bool(parameters)

    def count(cell_index: int, **_: Any) -> None:
        report(done=cell_index + 1, cells=cells)

    try:
        executed = papermill.execute_notebook(
            notebook,
            None,
            parameters,
            kernel_name="python3",
            progress_bar=False,
            cwd=str(Path.cwd()),
            execution_timeout=CELL_TIMEOUT_S,
            coalesce_streams=True,
            on_cell_complete=count,
            config=Config({"KernelManager": SOCKETS}),
        )
    except papermill.PapermillExecutionError as error:
        # papermill counts from zero, and counts the cell that it injected after the one tagged `parameters`
        injected = bool(parameters) and error.cell_index > _parameters_index(notebook)
        report(cell=error.cell_index + 1 - injected, source=error.source, text="\n".join(error.traceback))
        return 1
    write_whole(Path(target), notebooks.stamped(notebooks.normalise(executed), key))
    report(done=cells, cells=cells)
    return 0


def _parameters_index(notebook: Any) -> int:
    return next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Execute notebooks through papermill, each in its own process with its own settings.

As a program (``python -m nadam_ref.book.execute``) it runs one notebook and reports on standard output, one JSON object
a line; `execute_all` starts such programs, some at a time, and reads along.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..files import write_whole
from . import BookError, notebooks
from .keys import PACKAGE

#: At a time. Each kernel has one thread: two OpenMP threads beside other work cost more than they bring.
WORKERS = 2
CELL_TIMEOUT_S = 900
EVENT = "@nadam-ref-book "
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
    request = json.dumps([str(job.source), str(job.target), dict(job.parameters), job.key])
    with tempfile.TemporaryDirectory(prefix="nadam-ref-book-") as home, tempfile.TemporaryFile("w+") as errors:
        command = [sys.executable, "-m", __name__, request]
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": errors}
        environment = kernel_environment(Path(home), os.environ)
        with subprocess.Popen(command, text=True, cwd=home, env=environment, **streams) as process:
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


def kernel_environment(home: Path, outside: Mapping[str, str]) -> dict[str, str]:
    """The environment of a kernel: one thread, fixed hashes, locale and clock, and no settings of the person's own."""
    inherited = {name: value for name, value in outside.items() if name not in ("MPLBACKEND", "MATPLOTLIBRC")}
    return inherited | {
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": python_path(outside),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "SOURCE_DATE_EPOCH": "0",
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_DATA_DIR": str(home / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(home / "jupyter"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


def python_path(outside: Mapping[str, str]) -> str:
    """A PYTHONPATH on which the package that is running comes first."""
    return os.pathsep.join([str(PACKAGE.parent), *filter(None, [outside.get("PYTHONPATH")])])


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
    """Text without terminal colours and without control characters other than newline and tab."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))


def main(request: str) -> int:
    """Run one notebook: the other side of `_execute`."""
    import papermill

    source, target, parameters, key = json.loads(request)
    notebook = notebooks.read(Path(source))

    def report(**event: Any) -> None:
        print(EVENT + json.dumps(event), flush=True)

    cells = len(notebook.cells) + bool(parameters)

    def count(cell_index: int, **_: Any) -> None:
        report(done=cell_index + 1, cells=cells)

    options = {"execution_timeout": CELL_TIMEOUT_S, "coalesce_streams": True, "on_cell_complete": count}
    try:
        executed = papermill.execute_notebook(
            notebook, None, parameters, kernel_name="python3", progress_bar=False, cwd=str(Path.cwd()), **options
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
    sys.exit(main(sys.argv[1]))

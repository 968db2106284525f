"""Build the book: execute what changed, stage, render. The driver behind `nadam-ref book`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ... import __version__
from ...tables import aligned
from .. import BookError, find_root, fingerprints
from ..fingerprints import PACKAGE
from . import archive, execute, notebooks, pages
from .execute import Job, Progress

#: Executed forms kept for each notebook, so that going back to another profile or to other data costs nothing.
KEPT = 5


@dataclass(frozen=True)
class BuildReport:
    """What a build did. Times in seconds; None where nothing had changed and the earlier result was kept."""

    index: Path | None
    notebooks: Mapping[str, float | None]
    pages: float | None

    def table(self) -> str:
        """Lines for people: the time of each notebook and of the pages."""
        times = {**self.notebooks, **({"pages": self.pages} if self.index else {})}
        return "\n".join(aligned([(n, "cached" if s is None else f"{s:.1f} s") for n, s in times.items()], "lr"))


def build(
    *,
    profile: str = "live",
    only: Collection[str] | None = None,
    force: bool = False,
    parameters: Mapping[str, Any] | None = None,
    root: Path | None = None,
    output: Path | None = None,
    progress: Progress = lambda name, done, of: None,
) -> BuildReport:
    """Execute the notebooks whose results are out of date, and render the book into ``_build/html``.

    `profile`: the size of the experiments, handed to every notebook that has a parameter of this name.
    `only`: names of notebooks (``08_nadam``) to execute; then no page is rendered, because pages refer to each other.
    `force`: execute even what is up to date. `parameters`: values for other notebook parameters, by name.
    `root`: the checkout; by default the one that `checkout.find` finds.
    `output`: another folder than ``_build`` to render into; executed notebooks are kept in ``_build`` all the same.
    `progress`: called with a name, how many of its parts are done, and how many there are.

    Raises `BookError`: a tool is missing, the checkout cannot be written or has another package, a notebook is
    malformed or fails, a parameter is unknown, a page has a warning. What was executed before the error is kept, and so
    is the book that was rendered last.
    """
    pages.require_tools()
    root = find_root() if root is None else root.resolve()
    work = root / "_build"
    output = work if output is None else output.resolve()
    for folder in (work, output):
        _require_usable(folder)
    _require_own_package(root)
    plan = partial(_plan, root, work, _select(root, only), profile, notebooks.with_whole_paths(parameters or {}))
    jobs = plan()
    stale = [job for job in jobs.values() if force or notebooks.fault(job.target, job.key)]
    seconds = _execute(stale, progress, still_valid=lambda: plan() == jobs) if stale else {}
    times = {job.source.stem: seconds.get(job.source.stem) for job in jobs.values()}
    if only is not None:
        return BuildReport(None, times, None)
    staged = output / "src"
    pages.stage(root, staged, {name: job.target for name, job in jobs.items()})
    pages.check_staged(staged, {name: job.key for name, job in jobs.items()})
    return BuildReport(output / "html" / "index.html", times, pages.render(root, staged, output))


def _require_usable(folder: Path) -> None:
    """Refuse a folder that cannot be written, or whose name Sphinx cannot write down."""
    try:
        os.fsencode(folder).decode("utf-8")
    except UnicodeDecodeError:
        raise BookError(
            f"the name of {str(folder)!r} is not UTF-8, and Sphinx cannot work there: rename or move it"
        ) from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        text = f"cannot write to {folder}: {error.strerror}; the book needs a checkout that can be written"
        raise BookError(text) from None


def _require_own_package(root: Path) -> None:
    """Refuse a book whose checkout has another version of the package than the one that is running."""
    own = root / PACKAGE.name
    if own.is_dir() and fingerprints.package_hash(own) != fingerprints.package_hash():
        raise BookError(
            f"this is the book of {root}, but {PACKAGE.name} is imported from {PACKAGE.parent}, and they differ: use "
            "`make book`, or `pip install -e .` here first"
        )


def _select(root: Path, only: Collection[str] | None) -> list[str]:
    names = pages.chapters(root / "book" / "_toc.yml")
    known = {Path(name).name: name for name in names}
    for name in only or ():
        if name not in known:
            raise BookError(f"no notebook is called `{name}`; there are {', '.join(known)}")
    return [name for short, name in known.items() if only is None or short in only]


def _plan(root: Path, work: Path, names: list[str], profile: str, asked: dict[str, Any]) -> dict[str, Job]:
    """For every notebook, by its path without suffix: what it takes to execute it, with the key of its results."""
    sources = {name: (root / name).with_suffix(".ipynb") for name in names}
    for source in sources.values():
        notebooks.check_source(source)
    known = {name: notebooks.known_parameters(source) for name, source in sources.items()}
    chosen = notebooks.choose_parameters(known, profile, asked)
    around = fingerprints.surroundings(root)
    jobs = {}
    for name, source in sources.items():
        key = fingerprints.notebook_key(source.read_bytes(), chosen[name], around)
        jobs[name] = Job(source, work / "executed" / f"{source.stem}-{key[:16]}.ipynb", chosen[name], key)
    return jobs


def _execute(jobs: list[Job], progress: Progress, still_valid: Callable[[], bool]) -> dict[str, float]:
    """Run the jobs; their results are kept only if what they depend on is still what their keys say."""
    seconds = execute.execute_all(jobs, progress)
    if not still_valid():
        for job in jobs:
            job.target.unlink()
        raise BookError("the notebooks, the package or the data changed while notebooks ran: build again")
    for job in jobs:
        forms = sorted(job.target.parent.glob(f"{job.source.stem}-*.ipynb"), key=lambda path: path.stat().st_mtime)
        for path in forms[:-KEPT]:
            path.unlink()
    return seconds


def run_and_report(
    profile: str = "live", force: bool = False, parameters: Mapping[str, Any] | None = None, zipped: bool = False
) -> int:
    """`build` for a terminal: shows progress, prints the times and where the book is; the exit code.

    `zipped`: also write the book as one file, ``_build/nadam-ref-VERSION.zip``.
    """
    try:
        with ExitStack() as bars:
            report = build(profile=profile, force=force, parameters=parameters, progress=_presenter(bars))
    except BookError as error:  # printed as it is: the command line makes one line of any other error
        print(f"nadam-ref: {error}", file=sys.stderr)
        return 2
    print(report.table())
    print(f"The book is at {report.index}")
    if zipped and report.index:
        html = report.index.parent
        target = html.with_name(f"nadam-ref-{__version__}.zip")
        archive.write(html, target)
        print(f"The book in one file: {target}, {target.stat().st_size / 1e6:.1f} MB")
    return 0


def _presenter(bars: ExitStack) -> Progress:
    """A bar for every notebook at work on a terminal; elsewhere one line for each when it is done."""
    from tqdm import tqdm

    shown: dict[str, Any] = {}

    def draw(name: str, done: int, of: int) -> None:
        if name not in shown:
            shown[name] = bars.enter_context(tqdm(total=of, desc=name, unit="cell", leave=False))
        shown[name].update(done - shown[name].n)

    def line(name: str, done: int, of: int) -> None:
        if done == of and name not in shown:
            shown[name] = done
            print(f"executed {name}", flush=True)

    return draw if sys.stderr.isatty() else line

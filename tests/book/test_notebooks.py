"""One notebook: what is refused, what is injected, what is kept; and notebooks run in processes of their own."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from small_book import make_notebook, save

from nadam_ref.book import BookError
from nadam_ref.book.build import execute, notebooks

# ---------------------------------------------------------------- sources


def test_a_clean_source_passes(tmp_path: Path) -> None:
    notebooks.check_source(save(make_notebook("1 + 1"), tmp_path / "clean.ipynb"))


def test_a_source_with_outputs_is_refused(tmp_path: Path) -> None:
    notebook = make_notebook("print(1)")
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="1\n")]
    with pytest.raises(BookError, match="cell 2 holds outputs"):
        notebooks.check_source(save(notebook, tmp_path / "run.ipynb"))


def test_fault_74_a_source_that_was_run_by_hand_is_refused(tmp_path: Path) -> None:
    notebook = make_notebook("x = 1")
    notebook.cells[1].execution_count = 3
    with pytest.raises(BookError, match="cell 2 holds outputs"):
        notebooks.check_source(save(notebook, tmp_path / "run.ipynb"))


@pytest.mark.parametrize(("tagged", "found"), [([], "none is"), ([0, 1], "cells 1, 2 are")])
def test_exactly_one_parameters_cell(tmp_path: Path, tagged: list[int], found: str) -> None:
    notebook = make_notebook("y = 2")
    for n, cell in enumerate(notebook.cells):
        cell.metadata["tags"] = ["parameters"] if n in tagged else []
    with pytest.raises(BookError, match=found):
        notebooks.check_source(save(notebook, tmp_path / "tags.ipynb"))


@pytest.mark.parametrize("content", ["", "not a notebook", "{}", "[1]", "\x00\xff"])
def test_what_is_no_notebook_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "odd.ipynb"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(BookError, match=r"odd\.ipynb is no notebook"):
        notebooks.read(path)


def test_a_missing_notebook_is_named(tmp_path: Path) -> None:
    with pytest.raises(BookError, match=r"gone\.ipynb is in book/_toc\.yml, but there is no such file"):
        notebooks.read(tmp_path / "gone.ipynb")


# ---------------------------------------------------------------- parameters


def test_known_parameters(tmp_path: Path) -> None:
    source = save(make_notebook(parameters="profile = 'live'\nseeds = [0, 1]\nrate = 1e-3"), tmp_path / "p.ipynb")
    assert notebooks.known_parameters(source) == {"profile": "live", "seeds": [0, 1], "rate": 1e-3}


def test_only_what_a_notebook_knows_and_what_differs_is_injected() -> None:
    known = {"a": {"profile": "live", "seed": 0}, "b": {"profile": "live"}}
    assert notebooks.choose_parameters(known, "live", {}) == {"a": {}, "b": {}}
    assert notebooks.choose_parameters(known, "smoke", {"seed": 3}) == {
        "a": {"profile": "smoke", "seed": 3},
        "b": {"profile": "smoke"},
    }


def test_fault_79_unknown_parameter() -> None:
    known = {"a": {"profile": "live", "seed": 0}, "b": {"steps": 10}}
    with pytest.raises(BookError, match="no notebook has a parameter `sede`; the parameters are profile, seed, steps"):
        notebooks.choose_parameters(known, "live", {"sede": 1})


# ---------------------------------------------------------------- executed notebooks


def volatile_notebook() -> Any:
    notebook = make_notebook("1")
    notebook.metadata["papermill"] = {"duration": 1.5, "start_time": "now"}
    notebook.metadata["widgets"] = {"state": {"a1b2": {}}}
    notebook.metadata["language_info"] = {"name": "python", "version": "3.11.4"}
    cell = notebook.cells[1]
    cell.metadata = nbformat.from_dict(
        {"papermill": {"duration": 1.0}, "execution": {"iopub.execute_input": "now"}, "tags": ["injected-parameters"]}
    )
    cell["id"] = "f00ba4"
    data = {"text/plain": "bar", notebooks.WIDGET_VIEW: {"model_id": "a1b2"}}
    cell.outputs = [nbformat.v4.new_output("display_data", data=data)]
    return notebook


def test_normalise_drops_what_changes_and_keeps_what_is_shown() -> None:
    notebook = notebooks.normalise(volatile_notebook())
    assert notebook.metadata == {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    cell = notebook.cells[1]
    assert cell.metadata == {"tags": ["injected-parameters"]}
    assert cell.id == "injected-parameters"
    assert cell.outputs[0].data == {"text/plain": "bar"}
    assert notebook.cells[0].id == "cell-0"


def test_normalise_is_idempotent() -> None:
    once = notebooks.normalise(volatile_notebook())
    assert notebooks.normalise(copy.deepcopy(once)) == once


def executed_notebook(key: str = "k") -> Any:
    notebook = make_notebook("1", "")
    for n, cell in enumerate(notebook.cells[:2], 1):
        cell.execution_count = n
    notebook.metadata[notebooks.STAMP] = {"key": key}
    return notebook


def test_a_whole_executed_notebook_has_no_fault(tmp_path: Path) -> None:
    assert notebooks.fault(save(executed_notebook(), tmp_path / "n.ipynb"), "k") is None


def test_fault_75_stale_results(tmp_path: Path) -> None:
    assert "stale" in str(notebooks.fault(save(executed_notebook("old"), tmp_path / "n.ipynb"), "new"))


def test_an_unexecuted_cell_is_a_fault(tmp_path: Path) -> None:
    notebook = executed_notebook()
    notebook.cells[1].execution_count = None
    assert "not executed" in str(notebooks.fault(save(notebook, tmp_path / "n.ipynb"), "k"))


def test_a_truncated_executed_notebook_is_a_fault(tmp_path: Path) -> None:
    path = save(executed_notebook(), tmp_path / "n.ipynb")
    path.write_bytes(path.read_bytes()[:-40])
    assert notebooks.fault(path, "k") is not None


# ---------------------------------------------------------------- notebooks run

SAME = """
import os, sys, time
print(seed, os.environ["OMP_NUM_THREADS"], {"a", "b", "c", "d", "e"})
print("aside", file=sys.stderr)
for n in range(3):
    print(n, flush=True)
    time.sleep(0.02 * hash(os.getpid()) % 0.05)
"""
PICTURE = """
import matplotlib.pyplot as plt
figure, axes = plt.subplots()
axes.plot([0, 1]);
"""
DRAWN = """
from nadam_ref.book.cells import figures
figures.use_style()
figures.landing()
"""
SOCKETS = """
from ipykernel.connect import get_connection_info
print("by", get_connection_info(unpack=True)["transport"])
"""
ELSEWHERE = """
import locale, pathlib, time
print((pathlib.Path.cwd() / "_config.yml").exists(), time.tzname[0], 1.5)
"""
BROKEN = """
# the first line
def divide(a, b):
    return a / b
# the fourth line

# the sixth line
# the seventh line
divide(1, 0)
"""
RUDE = 'raise ValueError("<script>alert(1)</script> \\x1b[31mred\\x07\\u202e")'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[tuple[str, int, int]]]:
    """Five notebooks in one go: two equal ones, and three that fail each in its way."""
    folder = tmp_path_factory.mktemp("run {with} braces")
    same = make_notebook(SAME, PICTURE, DRAWN, ELSEWHERE, SOCKETS)
    sources = {
        "same_1": same,
        "same_2": same,
        "broken": make_notebook("x = 1", BROKEN, "never = 1"),
        "rude": make_notebook(RUDE),
        "dead": make_notebook("import os", "os._exit(1)"),
    }
    jobs = [
        execute.Job(save(notebook, folder / "notebooks" / f"{name}.ipynb"), folder / f"{name}.ipynb", {"seed": 5}, "k")
        for name, notebook in sources.items()
    ]
    seen: list[tuple[str, int, int]] = []
    with pytest.raises(BookError) as failure:
        execute.execute_all(jobs, lambda *event: seen.append(event))
    return folder, str(failure.value), seen


Run = tuple[Path, str, list[tuple[str, int, int]]]


def outputs(path: Path) -> str:
    return json.dumps([cell.get("outputs") for cell in notebooks.read(path).cells])


def test_fault_74_two_runs_are_byte_identical(run: Run) -> None:
    first, second = ((run[0] / f"same_{n}.ipynb").read_bytes() for n in (1, 2))
    assert len(first) > 1000
    assert first == second


def test_what_succeeded_beside_a_failure_is_kept_and_whole(run: Run) -> None:
    assert notebooks.fault(run[0] / "same_1.ipynb", "k") is None
    assert sorted(path.name for path in run[0].iterdir()) == ["notebooks", "same_1.ipynb", "same_2.ipynb"]


def test_fault_74_a_notebook_runs_elsewhere_with_settings_of_its_own(run: Run) -> None:
    text = outputs(run[0] / "same_1.ipynb")
    assert "5 1 {" in text  # the parameter, and one thread
    assert "False UTC 1.5" in text  # not in the project's folder
    assert "image/png" in text  # figures appear under their cell


@pytest.mark.skipif(os.name != "posix", reason="kernels speak by TCP on this system")
def test_a_kernel_takes_no_port_that_another_program_could_take_first(run: Run) -> None:
    assert "by ipc" in outputs(run[0] / "same_1.ipynb")


def test_a_failing_cell_is_named_with_its_source_and_traceback(run: Run) -> None:
    message = run[1]
    assert "notebooks/broken.ipynb failed in cell 3:" in message  # as counted in the source: no injected cell
    assert "    # the first line\n    def divide(a, b):" in message
    assert "the seventh line" not in message.partition("Traceback")[0]
    assert "ZeroDivisionError: division by zero" in message
    assert "return a / b" in message


def test_all_failures_are_told_at_once(run: Run) -> None:
    assert "notebooks/rude.ipynb failed in cell 2:" in run[1]
    assert "notebooks/dead.ipynb could not be executed" in run[1]
    assert "Kernel died" in run[1]


def test_fault_76_114_an_exception_is_shown_as_plain_text(run: Run) -> None:
    assert r"<script>alert(1)</script> red\u202e" in run[1]  # a terminal shows it as it is, without colours or a bell
    assert not set(run[1]) & {"\x1b", "\x07", "\r", "\u202e"}


def test_progress_counts_to_the_end(run: Run) -> None:
    steps = [(done, of) for name, done, of in run[2] if name == "same_1"]
    assert steps == sorted(steps)
    assert steps[-1] == (7, 7)  # six cells and the injected one


def test_fault_77_the_environment_of_a_kernel(tmp_path: Path) -> None:
    outside = {"MPLBACKEND": "Agg", "LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Tokyo", "PATH": "/bin", "PYTHONPATH": "/else"}
    inside = execute.kernel_environment(tmp_path, outside)
    assert "MPLBACKEND" not in inside  # figures would not appear under their cells
    assert (inside["LC_ALL"], inside["TZ"], inside["PATH"]) == ("C.UTF-8", "UTC", "/bin")
    assert (inside["OMP_NUM_THREADS"], inside["PYTHONHASHSEED"]) == ("1", "0")
    assert inside["PYTHONPATH"] == str(execute.PACKAGE.parent)  # no library is in /else
    assert inside["IPYTHONDIR"].startswith(str(tmp_path))


def test_write_whole_leaves_the_old_file_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "file"
    execute.write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        execute.write_whole(path, "new \ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]

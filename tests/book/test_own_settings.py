"""A chapter runs with none of the settings of the person who builds the book, and with their paths."""

from __future__ import annotations

import json
import os
import re
import shutil
import site
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from small_book import ROOT, Built, make_book, make_notebook, save

import nadam_ref
from nadam_ref import checkout, cli
from nadam_ref.book import BookError, find_root, fingerprints
from nadam_ref.book.build import driver, execute, notebooks
from nadam_ref.experiments import released

PACKAGE_PARENT = str(Path(nadam_ref.__file__).parents[1])

#: What a setting could change, in the words of each program.
SHOW = """
import hashlib, json, locale, os, shutil, sys, time, warnings
import dask, matplotlib, numpy, torch

print(sys.executable, sys.flags, sys.warnoptions, sys.getdefaultencoding(), sys.stdout.encoding, locale.getlocale())
print([path for path in sys.path if path], [name for name in ("yaml", "evil") if name in sys.modules])
print(sorted(os.environ), time.tzname, hash("a"), shutil.get_terminal_size())
print(torch.get_default_dtype(), torch.get_num_threads(), torch.backends.cpu.get_cpu_capability(), torch.ones(2) / 3)
print(numpy.get_printoptions(), warnings.filters[:3])
text = json.dumps([sorted(matplotlib.rcParams.items()), matplotlib.get_backend()], default=str)
print(hashlib.sha256(text.encode()).hexdigest(), matplotlib.matplotlib_fname())
text = json.dumps({name: x for name, x in dask.config.config.items() if "config" not in name})
print(hashlib.sha256(text.encode()).hexdigest())
"""
CONFIGURATION = """
shell = get_ipython()
print(shell.profile, shell.xmode, shell.ast_node_interactivity, shell.user_ns.get("from_the_profile"))
{"é": 1 / 3}
"""
FIGURE = """
import matplotlib.pyplot as plt
plt.plot([0, 1])
plt.title("π");
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def hostile(folder: Path) -> dict[str, str]:
    """Variables that name, or are, settings of every kind, with the files that they name."""
    home = folder / "home"
    evil = "import builtins, torch; torch.set_default_dtype(torch.float64); builtins.evil = print('evil') or 1\n"
    matplotlibrc = "figure.dpi: 31\nlines.linewidth: 9\naxes.facecolor: red\n"
    ipython = "c.InteractiveShellApp.exec_lines = ['from_the_profile = 1']\nc.InteractiveShell.xmode = 'Minimal'\n"
    broken_kernel = json.dumps({"argv": ["false"], "display_name": "Python 3", "language": "python"})
    kinds = {
        "ipython": {
            "profile_default/startup/00.py": evil,
            "profile_default/ipython_config.py": ipython,
            "profile_default/ipython_kernel_config.py": ipython,
        },
        "jupyter": {
            "kernels/python3/kernel.json": broken_kernel,
            "jupyter_config.json": '{"KernelManager": {"kernel_cmd": ["false"]}}',
        },
        "dask": {"own.yaml": "distributed: {comm: {timeouts: {connect: 1ms}}}\n"},
        "modules": {"sitecustomize.py": evil, "usercustomize.py": evil, "evil.py": evil, "yaml.py": "1 / 0\n"},
        "matplotlib": {"matplotlibrc": matplotlibrc},
    }
    user = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for kind, files in kinds.items():
        places = {"ipython": [".ipython"], "jupyter": [".jupyter", ".local/share/jupyter"], "dask": [".config/dask"]}
        places |= {"modules": [f".local/{user}"], "matplotlib": [".config/matplotlib", ".matplotlib"]}
        for name, text in files.items():
            for place in (folder / kind, *(home / place for place in places[kind])):
                write(place / name, text)
    write(home / ".pdbrc", "1 / 0\n")
    write(home / f".local/{user}" / "evil.pth", "import evil\n")
    return {
        "HOME": str(home),
        "PYTHONSTARTUP": str(write(folder / "startup.py", evil)),
        "PYTHONPATH": f"{folder / 'modules'}{os.pathsep}relative",
        "PYTHONHOME": str(folder / "nowhere"),
        "PYTHONUSERBASE": str(home / ".local"),
        **{"PYTHONHASHSEED": "7", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2", "PYTHONSAFEPATH": "1"},
        **{"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONDEVMODE": "1", "PYTHONINSPECT": "1"},
        **{"PYTHONNODEBUGRANGES": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONINTMAXSTRDIGITS": "640"},
        **{"PYTHONCOERCECLOCALE": "0", "PYTHONPLATLIBDIR": "lib128", "PYTHONEXECUTABLE": "/bin/false"},
        "MATPLOTLIBRC": str(folder / "matplotlib" / "matplotlibrc"),
        **{"MPLCONFIGDIR": str(folder / "matplotlib"), "MPLBACKEND": "no-such-backend"},
        "IPYTHONDIR": str(folder / "ipython"),
        **{"JUPYTER_PATH": str(folder / "jupyter"), "JUPYTER_DATA_DIR": str(folder / "jupyter")},
        **{"JUPYTER_CONFIG_DIR": str(folder / "jupyter"), "JUPYTER_CONFIG_PATH": str(folder / "jupyter")},
        **{"JUPYTER_PREFER_ENV_PATH": "0", "JUPYTER_PLATFORM_DIRS": "1", "JUPYTER_RUNTIME_DIR": "/nowhere"},
        **{"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "OMP_DYNAMIC": "true"},
        **{"KMP_AFFINITY": "compact", "MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"},
        **{"LC_ALL": "C", "LANG": "de_DE", "LANGUAGE": "de", "LC_NUMERIC": "de_DE.UTF-8", "TZ": "Asia/Tokyo"},
        **{"COLUMNS": "20", "LINES": "5", "TERM": "dumb", "NO_COLOR": "1", "FORCE_COLOR": "1", "PAGER": "false"},
        **{"TORCH_LOGS": "+all", "TORCH_SHOW_CPP_STACKTRACES": "1", "PYTORCH_JIT": "0", "TORCH_HOME": "relative"},
        **{"TORCHDYNAMO_DISABLE": "1", "NPY_DISABLE_CPU_FEATURES": "AVX2", "CXX": "no-such-compiler"},
        **{"DASK_CONFIG": str(folder / "dask"), "DASK_ROOT_CONFIG": str(folder / "dask")},
        **{"DASK_DISTRIBUTED__WORKER__DAEMON": "false", "DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:1"},
        **{"XDG_CONFIG_HOME": str(home / ".config"), "XDG_CACHE_HOME": "relative", "XDG_DATA_HOME": "relative"},
        **{"http_proxy": "http://127.0.0.1:1", "SSL_CERT_FILE": "/nowhere", "REQUESTS_CA_BUNDLE": "/nowhere"},
        **{"SOURCE_DATE_EPOCH": "99", "CUDA_VISIBLE_DEVICES": "7", "PAPERMILL_NOTHING": "1", "TMPDIR": "relative"},
        **{"GIT_DIR": "/nowhere", "DOCUTILSCONFIG": "/nowhere"},
    }


def run(source: Path, target: Path) -> str:
    """Execute a notebook, and the text of what it printed."""
    execute.execute_all([execute.Job(source, target, {"seed": 5}, "k")], lambda *_: None)
    return "".join(
        output.get("text", "") for cell in notebooks.read(target).cells for output in cell.get("outputs", [])
    )


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the process settings of every kind; its working directory has a package that no chapter must see."""
    monkeypatch.chdir(write(tmp_path / "own" / "work" / "numpy" / "__init__.py", "1 / 0\n").parents[1])
    for name, value in hostile(tmp_path / "own").items():
        monkeypatch.setenv(name, value)
    execute._fonts.cache_clear()


def test_fault_90_no_setting_of_the_persons_own_reaches_a_chapter(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = save(make_notebook(SHOW, CONFIGURATION, FIGURE), tmp_path / "n.ipynb")
    text = run(source, tmp_path / "without.ipynb")
    assert text.startswith(f"{sys.executable} sys.flags")
    assert "torch.float32 1 " in text
    request.getfixturevalue("settings")
    run(source, tmp_path / "with.ipynb")
    assert (tmp_path / "with.ipynb").read_bytes() == (tmp_path / "without.ipynb").read_bytes()


@pytest.mark.slow
def test_fault_90_no_setting_of_the_persons_own_reaches_a_page(
    built: Built, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = make_book(tmp_path, "01_first", "02_second")
    request.getfixturevalue("settings")
    driver.build(root=root, parameters={"seed": 7})

    ours, theirs = content(root / "_build" / "html"), content(built.html)
    assert ours.keys() == theirs.keys()
    assert [name for name, page in ours.items() if page != theirs[name]] == []


def content(html: Path) -> dict[str, bytes]:
    """Every file that a reader gets, by name; where an object of the small book was in memory is left out."""
    files = {path.relative_to(html).as_posix(): path for path in html.rglob("*") if path.is_file()}
    return {name: re.sub(rb"Table at 0x[0-9a-f]+", b"Table", path.read_bytes()) for name, path in files.items()}


def test_fault_90_the_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    startup = write(tmp_path / "startup.py", "import torch; torch.set_default_dtype(torch.float64)")
    monkeypatch.setenv("PYTHONSTARTUP", str(startup))
    source = save(make_notebook("import torch; print(torch.ones(1).dtype)"), tmp_path / "n.ipynb")
    assert run(source, tmp_path / "out.ipynb") == "torch.float32\n"


def test_fault_90_what_is_loaded_is_in_the_key_and_what_does_not_come_in_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprints.surroundings(tmp_path)
    monkeypatch.setenv("PYTHONSTARTUP", "startup.py")
    assert fingerprints.surroundings(tmp_path) == before
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    assert fingerprints.surroundings(tmp_path) != before


def test_fault_90_only_what_libraries_are_imported_from_stays_of_the_persons_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries = str(distribution("torch").locate_file(""))
    given = os.pathsep.join(["/else", "", libraries, "relative"])
    assert execute.python_path({"PYTHONPATH": given}) == os.pathsep.join([PACKAGE_PARENT, libraries])
    assert execute.python_path({}) == PACKAGE_PARENT
    monkeypatch.setattr(site, "getusersitepackages", lambda: libraries)  # pip install --user
    assert execute.python_path({}) == os.pathsep.join([PACKAGE_PARENT, libraries])


# ---------------------------------------------------------------- paths

KEEP = """
from pathlib import Path

Path(store).mkdir()
Path(store, "run.json").write_text("x");
"""


def test_fault_101_records_are_kept_where_the_person_asked_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(make_notebook(KEEP, parameters='store = ""'), tmp_path / "n.ipynb")
    job = execute.Job(Path("n.ipynb"), Path("out.ipynb"), {"store": "my-records"}, "k")
    execute.execute_all([job], lambda *_: None)
    assert (tmp_path / "my-records" / "run.json").read_text(encoding="utf-8") == "x"


def test_fault_101_the_command_takes_a_path_from_where_the_person_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_book(tmp_path, "01_only")
    save(make_notebook("1", parameters='store = ""'), root / "notebooks" / "01_only.ipynb")
    ran: list[driver.Job] = []

    def execute_all(jobs: list[driver.Job], _progress: object) -> dict[str, float]:
        ran.extend(jobs)
        raise BookError("far enough")

    monkeypatch.setattr(driver.execute, "execute_all", execute_all)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    expected = {"my-records": root / "book" / "my-records", "2026": root / "book" / "2026"}
    expected |= {"'a b'": root / "book" / "a b", "~/x": tmp_path / "home" / "x", "/x": Path("/x")}
    for folder in (root / "book", root):
        monkeypatch.chdir(folder)
        for given in expected:
            assert cli.main(["book", "-p", f"store={given}"]) == 2
    assert [job.parameters for job in ran[: len(expected)]] == [{"store": str(x)} for x in expected.values()]
    assert ran[0].key != ran[len(expected)].key  # the same word, elsewhere
    ran.clear()
    cli.main(["book", "-p", "store="])
    assert ran[0].parameters == {}


def test_fault_101_every_parameter_that_is_a_path_is_known() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        (cell,) = (c for c in notebooks.read(path).cells if "parameters" in c.metadata.get("tags", []))
        for line in cell.source.splitlines():
            name, _, comment = line.partition("#")
            if any(word in comment for word in ("folder", "file", "path")):
                assert name.split(" =")[0] in notebooks.PATHS, f"{path.name}: {line}"


def test_fault_101_variables_that_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inside = execute.kernel_environment(tmp_path / "home", {"NADAM_REF_DATA": "data"})
    assert inside["NADAM_REF_DATA"] == str(tmp_path / "data")
    monkeypatch.delenv("NADAM_REF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert "NADAM_REF_DATA" not in execute.kernel_environment(tmp_path / "home", {})
    (tmp_path / "caches" / "nadam_ref" / "data").mkdir(parents=True)
    inside = execute.kernel_environment(tmp_path / "home", {})
    assert inside["NADAM_REF_DATA"] == str(tmp_path / "caches" / "nadam_ref" / "data")


# ---------------------------------------------------------------- which checkout


@pytest.fixture
def another(tmp_path: Path) -> Path:
    """A second checkout: the book's sources, and recorded results of its own."""
    (tmp_path / "another").mkdir()
    root = make_book(tmp_path / "another", "01_only")
    write(root / "book" / "results" / "runs.csv", "1")
    return root


def test_fault_98_one_answer_to_which_checkout(another: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, root in ((ROOT, ROOT), (another, another), (another / "notebooks", another), (Path("/"), ROOT)):
        monkeypatch.chdir(folder)
        assert find_root() == root
        assert released.here() == root / "book" / "results"
    monkeypatch.setenv(checkout.VARIABLE, str(another))
    assert find_root() == another
    assert released.here() == another / "book" / "results"


def test_fault_98_chapters_read_the_results_of_their_own_checkout(another: Path) -> None:
    source = save(
        make_notebook("from nadam_ref.experiments import released\nprint(released.here())"),
        another / "notebooks" / "01_only.ipynb",
    )
    assert run(source, another / "out.ipynb") == f"{another / 'book' / 'results'}\n"


def test_fault_98_the_package_of_another_checkout_is_refused(another: Path) -> None:
    shutil.copytree(ROOT / "nadam_ref", another / "nadam_ref", ignore=shutil.ignore_patterns("__pycache__"))
    driver._require_own_package(another)  # another copy of the same package
    write(another / "nadam_ref" / "rules.py", "changed")
    with pytest.raises(BookError, match=rf"book of {another}, but nadam_ref is imported from {PACKAGE_PARENT}"):
        driver.build(root=another)


# ---------------------------------------------------------------- what can be written, and its name


@pytest.mark.parametrize("how", ["a file", "read-only"])
def test_fault_106_a_checkout_that_cannot_be_written_is_noticed_first(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_book(tmp_path, "01_only")
    if how == "a file":
        (root / "_build").write_text("", encoding="utf-8")
    else:

        def read_only(*_: object, **__: object) -> None:
            raise OSError(30, "Read-only file system")

        monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setattr(driver, "_plan", None)  # raises if it were called
    monkeypatch.chdir(root)
    assert cli.main(["book"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nadam-ref: cannot write to {root / '_build'}: ")
    assert error.count("\n") == 1


def test_fault_106_a_name_that_is_not_utf_8_is_refused_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xf6ok"))
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    monkeypatch.chdir(make_book(folder, "01_only"))
    assert driver.run_and_report() == 2
    assert "is not UTF-8" in capsys.readouterr().err


LEGACY = """
import sys
from pathlib import Path
from nadam_ref.book.build.execute import Job, execute_all

execute_all([Job(Path(sys.argv[1]), Path(sys.argv[2]), {"seed": 5}, "k")], lambda *_: None)
"""


def test_fault_106_a_chapter_runs_in_any_locale_and_below_any_name(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + "/bö\u00df ".encode() + b"\xff"
    try:
        Path(os.fsdecode(folder)).mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    source = save(make_notebook("print('θ', seed)"), Path(os.fsdecode(folder), "n.ipynb"))
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", LEGACY, os.fsencode(source), folder + b"/out.ipynb"]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    (output,) = notebooks.read(Path(os.fsdecode(folder), "out.ipynb")).cells[-1].outputs
    assert output.text == "θ 5\n"

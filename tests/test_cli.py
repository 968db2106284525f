"""The command line: what it prints, and how it fails."""

from __future__ import annotations

import importlib
import io
import json
import os
import pkgutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch_alone

import nadam_ref
from nadam_ref import cli, which
from nadam_ref.commands import checkup
from nadam_ref.errors import NadamRefError
from nadam_ref.experiments.datasets import download, registry
from nadam_ref.files import user_path


def one_line(text: str) -> str:
    """The text, which must be one line of the program's own."""
    assert text.startswith("nadam-ref")
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return text


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with files of MNIST's names and other bytes."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name in registry.SOURCES["mnist"].files:
        (folder / name).write_bytes(b"not these")
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path))
    return folder


# ---------------------------------------------------------------- the program


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.main(["--version"])
    assert leaving.value.code == 0
    assert capsys.readouterr().out == f"nadam-ref {nadam_ref.__version__}\n"


def test_the_installed_command_is_main() -> None:
    (command,) = metadata.entry_points(group="console_scripts", name="nadam-ref")
    assert command.load() is cli.main


@pytest.mark.parametrize("words", [[], ["data"]])
def test_without_a_command_it_shows_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    assert capsys.readouterr().out.startswith("usage: nadam-ref")


@pytest.mark.parametrize(
    "words", [["dta"], ["data", "fetch"], ["data", "get"], ["book", "-p", "3"], ["book", "-p=1=2"]]
)
def test_a_wrong_word_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        cli.main(words)
    assert leaving.value.code == 2
    assert "--help" in one_line(capsys.readouterr().err)


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "state", interrupted)
    assert cli.main(["data", "list"]) == 130
    assert one_line(capsys.readouterr().err) == "nadam-ref: interrupted\n"


@pytest.mark.parametrize("words", [["data", "list"], ["data", "get", "digits"]])  # each line, and in the end
def test_a_pipe_that_its_reader_has_closed_is_no_traceback(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "nadam_ref", *words]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(registry, "state", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["data", "list"])


def test_every_error_of_the_package_is_one_line_on_the_command_line() -> None:
    for _, name, _ in pkgutil.walk_packages(nadam_ref.__path__, "nadam_ref."):
        if not name.endswith("__main__"):
            importlib.import_module(name)
    own = [kind for kind in subclasses(Exception) if kind.__module__.split(".")[0] == "nadam_ref"]
    names = {kind.__name__ for kind in own if not issubclass(kind, NadamRefError)}
    assert names == {"NoKernelError", "_StoppedError"}  # a kernel's absence is a RuntimeError, as in torch


def subclasses(kind: type) -> set[type]:
    below = type.__subclasses__(kind)
    return {*below, *(x for one in below for x in subclasses(one))}


@pytest.mark.parametrize(("words", "extra"), [(["data", "list"], "experiments"), (["book"], "book")])
def test_a_missing_extra_is_one_line(words: list[str], extra: str) -> None:
    done = torch_alone.run("-m", "nadam_ref", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"nadam_ref[{extra}]" in one_line(done.stderr)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["sweep", "smoke", "--store", "x"], ["store"]),
        (["sweep", "smoke"], ["store"]),
        (["reproduce", "jones", "--store", "x"], ["store"]),
        (["curvature", "--store", "x"], ["store"]),
        (["verify", "--store", "x"], ["store"]),
        (["pack", "x", "--store", "x"], ["target", "store"]),
        (["report", "--store", "x"], ["store"]),
        (["report", "--pack", "x", "--pack", "~/y"], ["pack"]),
        (["bench", "step", "--json", "x"], ["json"]),
    ],
)
def test_fault_101_a_path_is_counted_from_where_the_person_is(
    words: list[str], names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    args = cli._parser().parse_args(words)
    for name in names:
        given = getattr(args, name)
        for path in given if isinstance(given, list) else [given]:
            assert path in (tmp_path / "x", tmp_path / "records", tmp_path / "home" / "y")


def test_fault_101_the_data_folder_is_the_callers_for_every_program_that_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NADAM_REF_DATA", "own")
    assert registry.root() == tmp_path / "own"
    assert cli.main([]) == 0
    assert os.environ["NADAM_REF_DATA"] == str(tmp_path / "own")


def test_fault_101_a_home_that_is_not_known_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert user_path("~no-such-person/x") == tmp_path / "~no-such-person" / "x"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_fault_106_what_a_terminal_cannot_show_is_no_failure(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding))
    monkeypatch.setattr(download, "get", lambda name, progress: "θ \udcff")
    assert cli.main(["data", "get", "mnist"]) == 0
    sys.stdout.flush()
    theta = "θ" if encoding == "utf-8" else "\\u03b8"
    assert shown.getvalue().decode(encoding) == f"{theta} \\udcff\n"


# ---------------------------------------------------------------- data


def test_data_list(mnist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == set(registry.SOURCES)
    assert lines["digits"].split()[1] == "embedded"
    assert lines["mnist"].split()[1] == "damaged"
    assert str(mnist) in lines["mnist"]


def test_data_get_prints_the_folder(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(download, "get", lambda name, progress: Path("somewhere") / name)
    assert cli.main(["data", "get", "mnist"]) == 0
    assert capsys.readouterr().out == f"{Path('somewhere/mnist')}\n"


@pytest.mark.parametrize("name", ["chain", "clusters"])
def test_data_get_of_a_generated_set_names_no_folder(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "get", name]) == 0
    assert capsys.readouterr().out == "made when asked for\n"


def test_data_get_of_an_unknown_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "get", "minst"]) == 2
    line = one_line(capsys.readouterr().err)
    assert "'minst'" in line
    assert all(name in line for name in registry.SOURCES)


def test_fault_38_verify_prints_both_checksums(mnist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "verify", "mnist"]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("damaged") == 4
    line = one_line(captured.err)
    assert next(iter(registry.SOURCES["mnist"].files.values())) in line
    assert "e5be27a64e06683c6568ca684ab714d94c54e50fa02ba5f159f8d3f13d5836b8" in line  # of "not these"
    assert all(path.read_bytes() == b"not these" for path in mnist.iterdir())


def test_verify_of_an_absent_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path))
    assert cli.main(["data", "verify"]) == 0  # never fetched is no fault
    assert cli.main(["data", "verify", "mnist"]) == 2  # asked for by name it is
    assert "data get mnist" in one_line(capsys.readouterr().err)


def test_verify_of_a_generated_set_has_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "verify", "chain"]) == 0
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- book


def test_book_passes_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from nadam_ref.book.build import driver

    asked: list[Any] = []

    def run_and_report(*arguments: Any) -> int:
        asked.append(arguments)
        return 7

    monkeypatch.setattr(driver, "run_and_report", run_and_report)
    words = [
        "book",
        "--profile",
        "paper",
        "--force",
        "--zip",
        "-p",
        "epochs=3",
        "-p",
        "lr=1e-3",
        "-p",
        "data=mnist",
        "-p",
        "x=a=b",
    ]
    assert cli.main(words) == 7
    assert asked == [("paper", True, {"epochs": 3, "lr": 0.001, "data": "mnist", "x": "a=b"}, True)]
    assert cli.main(["book"]) == 7
    assert asked[1] == ("live", False, {}, False)


@pytest.mark.parametrize("text", ["{1, 2}", "b'1'", "1j", "...", "[1, {2}]", "{(1,): 2}"])
def test_a_parameter_that_json_does_not_have_is_text(text: str) -> None:
    args = cli._parser().parse_args(["book", "-p", f"x={text}", "-p", "y=(1, None)"])
    assert dict(args.parameters) == {"x": text, "y": (1, None)}


# ---------------------------------------------------------------- which


def test_which_is_one_line_a_library(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["which"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    starts = [header.index(word) for word in ("version", "dialect", "distance", "next", "what")]
    found = which.survey()
    assert len(lines) == len(found)
    for line, x in zip(lines, found, strict=True):
        assert line.startswith(x.target)
        assert line.endswith(x.meaning)
        assert all(line[i - 2 : i] == "  " != line[i] for i in starts)  # aligned
    assert any(line.split()[:3] == ["torch.optim:NAdam", metadata.version("torch"), "cs229"] for line in lines)


def test_which_verbose_shows_every_candidate(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["which", "nadam_ref:Nadam", "--verbose"]) == 0
    _, distances = capsys.readouterr().out.split("\n\n")
    title, nearest, *others = distances.splitlines()
    assert title.startswith("nadam_ref:Nadam")
    assert nearest.split() == ["0.0e+00", "cs229"]
    assert {line.split(maxsplit=1)[1] for line in [nearest, *others]} == set(which.CANDIDATES)


def test_which_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["which", "torch.optim:NAdam", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["dialect"], found["version"]) == ("cs229", metadata.version("torch"))
    assert found["distances"]["cs229"] <= 5e-9


def test_which_finds_a_file_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_own_nadam.py").write_text("from torch.optim import NAdam as Mine\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert cli.main(["which", "my_own_nadam:Mine"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["my_own_nadam:Mine", "cs229"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("torch.optim:Nadam", "torch.optim has no Nadam; it has NAdam"),
        ("no_such_module:Nadam", "cannot be imported"),
        ("torch.optim", "module:Class"),
        ("torch.optim:LBFGS", "cannot be stepped"),
    ],
)
def test_which_says_in_one_line_why_not(
    target: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert cli.main(["which", target]) == 2
    assert says in one_line(capsys.readouterr().err)


def test_which_shows_a_broken_library_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_library.py").write_text("import a_module_that_is_absent\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(which, "LIBRARIES", {"broken_library:Nadam": None, **which.LIBRARIES})
    assert cli.main(["which"]) == 0
    _, broken, torchs, *_ = capsys.readouterr().out.splitlines()
    assert "broken_library cannot be imported: ModuleNotFoundError" in broken
    assert "cs229" in torchs


def test_which_where_torch_is_alone() -> None:
    done = torch_alone.run("-m", "nadam_ref", "which")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["torch.optim:NAdam", "nadam_ref:Nadam"]


def test_which_costs_the_package_no_import() -> None:
    done = torch_alone.run("-c", "import nadam_ref, sys; print('nadam_ref.which' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


# ---------------------------------------------------------------- doctor


def test_doctor(mnist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 1
    facts, _, findings = capsys.readouterr().out.partition("\n\n")
    assert findings.count("wrong: ") == 4  # the files of MNIST
    lines = facts.splitlines()
    table = {line[: line.index("  ")]: line[line.index("  ") :].strip() for line in lines}
    assert table["torch"] == metadata.version("torch")
    assert table["data folder"] == str(mnist.parent)
    assert table["data mnist"] == "damaged"
    assert table["extra experiments"] == "present"
    starts = {len(line) - len(line[line.index("  ") :].lstrip()) for line in lines}
    assert len(starts) == 1  # aligned


def test_doctor_names_what_an_extra_lacks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    installed = metadata.version

    def version(name: str) -> str:
        if name == "pooch":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(checkup, "CHECKS", ())
    assert cli.main(["doctor"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("extra experiments")]
    assert line.endswith("missing: pooch")


def test_doctor_where_torch_is_alone() -> None:
    done = torch_alone.run("-m", "nadam_ref", "doctor")
    assert done.returncode in (0, 1) and not done.stderr  # the machine may have its faults
    assert "unknown without numpy" in done.stdout

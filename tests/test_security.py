"""What comes from others is data: it is never run, leads nowhere, and is shown as it is.

Records, packs, checkpoints, data files and compiled kernels may be anybody's. The code of a checkout, its notebooks
among it, is trusted: it is run.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import io
import json
import os
import pickle
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from torch_alone import ROOT

from nadam_ref.cli import main
from nadam_ref.experiments import datasets
from nadam_ref.experiments.datasets import registry
from nadam_ref.experiments.protocol import reading
from nadam_ref.experiments.runs import pack
from nadam_ref.experiments.runs import store as store_module
from nadam_ref.experiments.runs.log import unfinished
from nadam_ref.experiments.runs.optimizers import hyperparameters
from nadam_ref.experiments.runs.record import Record, checked
from nadam_ref.experiments.runs.spec import CONFIG, RunSpec, digest
from nadam_ref.experiments.runs.store import Store
from nadam_ref.tables import visible

# ---------------------------------------------------------------- nothing unpickles

#: What runs code that it is given, or turns data into objects. A call with one of the words is as it should be.
RUNS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path", "shelve.open"}
RUNS |= {f"{module}.{name}" for module in ("pickle", "marshal", "joblib", "dill") for name in ("load", "loads")}
RUNS |= {"pickle.Unpickler", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"}
UNLESS = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
#: What writes where an archive says.
EXTRACTS = ("extract", "extractall", "unpack_archive")
#: Arguments that switch a protection off.
NEVER = {("shell", True), ("allow_pickle", True), ("weights_only", False), ("verify", False)}

#: What is there nevertheless, and why nobody else's data come to it.
ARGUED = {
    ("nadam_ref/fused/cuda.py", "exec"): "Triton reads a kernel as source, which codegen spells from the rules",
    ("nadam_ref/fused/cuda.py", "compile"): "the same source",
    ("nadam_ref/book/cells/figures.py", "pickle.loads"): "a copy of a figure, pickled within the same call",
    ("nadam_ref/experiments/protocol/reading.py", "yaml.load"): "with a subclass of SafeLoader, which makes no objects",
}


def dangers(source: str) -> Iterator[str]:
    """The calls in a source that might run what they are given."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name, words = ast.unparse(node.func), {(x.arg, getattr(x.value, "value", None)) for x in node.keywords}
        if name in RUNS or (name in UNLESS and UNLESS[name] not in words) or name.split(".")[-1] in EXTRACTS:
            yield name
        yield from (f"{name}({word}={value})" for word, value in words & NEVER)


def sources() -> Iterator[tuple[str, str]]:
    """Every Python source of the project but its tests, a notebook's cells as one."""
    for path in [*sorted((ROOT / "nadam_ref").rglob("*.py")), *sorted((ROOT / ".ci").glob("*.py"))]:
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        lines = "\n".join(code).splitlines()
        shell = [line.strip() for line in lines if line.lstrip().startswith(("%", "!"))]
        assert {line for line in shell if line[0] == "!"} <= {"!nadam-ref data get results"}, path
        yield path.relative_to(ROOT).as_posix(), "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines)


def test_fault_78_no_source_runs_what_it_reads() -> None:
    found = {(file, call) for file, source in sources() for call in dangers(source)}
    assert found == set(ARGUED)
    assert issubclass(reading._Loader, yaml.SafeLoader)


@pytest.mark.parametrize(
    "line",
    [
        *("eval(x)", "pickle.load(f)", "pickle.loads(x)", "pickle.Unpickler(f)", "marshal.loads(x)", "joblib.load(f)"),
        *("torch.load(f)", "torch.load(f, weights_only=False)", "np.load(f)", "np.load(f, allow_pickle=True)"),
        *(
            "yaml.load(f)",
            "yaml.unsafe_load(f)",
            "subprocess.run(x, shell=True)",
            "os.system(x)",
            "requests.get(u, verify=False)",
        ),
        *("tarfile.open(f).extractall(p)", "zipfile.ZipFile(f).extract(x)", "shutil.unpack_archive(f)"),
    ],
)
def test_the_search_for_such_calls_finds_each(line: str) -> None:
    assert list(dangers(line)) != []
    assert list(dangers("torch.load(f, weights_only=True); np.load(f, allow_pickle=False); yaml.safe_load(f)")) == []


class Program:
    """What runs where it is unpickled: it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[bytes]:
    """A pickled program, which must not have run in the end; it would have, where anything unpickles it."""
    proof = tmp_path / "it ran"
    content = pickle.dumps(Program(proof))
    pickle.loads(content)
    assert proof.exists()
    proof.unlink()
    yield content
    assert not proof.exists()


def test_fault_78_a_record_that_is_a_program_is_set_aside(
    program: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / f"{'0' * 64}.json").write_bytes(program)
    assert main(["verify", "--store", str(store)]) == 2
    assert "is damaged" in capsys.readouterr().err
    (aside,) = (store / "damaged").iterdir()
    assert aside.read_bytes() == program


@pytest.mark.parametrize("name", ["manifest.json", "runs.csv", "curves.npz"])
def test_fault_78_a_pack_with_a_program_in_it_is_refused(
    name: str, program: bytes, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(packed, name, program)
    for command in (["verify", "--pack"], ["report", "--pack"], ["unpack"]):
        assert main([*command, str(packed)]) == 2
        assert str(packed) in one_line(capsys)


def test_fault_78_a_data_file_that_is_a_program_is_never_used(
    program: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path))
    folder = tmp_path / "mnist"
    folder.mkdir()
    for file in registry.source("mnist").files:
        (folder / file).write_bytes(program)
    assert main(["data", "verify", "mnist"]) == main(["data", "get", "mnist"]) == 2
    assert "mnist is damaged" in capsys.readouterr().err
    with pytest.raises(registry.DataError, match="wrong checksum and is not used"):
        datasets.load("mnist")


# ---------------------------------------------------------------- a stranger's records


def spec(**fields: Any) -> RunSpec:
    given = {
        **{"task": "images", "task_version": 1, "profile": "smoke", "model": {"units": 8}, "data": "digits"},
        **{"data_sha256": "0" * 64, "optimizer": "Nadam", "optimizer_version": 1},
        "hyperparameters": hyperparameters("Nadam", {"lr": 0.01}),
        **{"seed": 0, "steps": 3, "batch": 8, "evaluate_every": 1},
    }
    return RunSpec(**{**given, **fields})


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A pack of one run."""
    record = unfinished(spec(), "crashed", "no reason")
    pack.write(tmp_path / "pack", [record])
    return tmp_path / "pack"


def replace(folder: Path, name: str, content: bytes) -> None:
    """Put another file into a pack, and its sha256 into the manifest, as a stranger would."""
    (folder / name).write_bytes(content)
    if name != "manifest.json":
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        manifest["files"][name] = hashlib.sha256(content).hexdigest()
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def rewrite(folder: Path, **fields: str) -> None:
    """Put other values into the line of a pack's run, which keeps an id that fits them."""
    (line,) = csv.DictReader(io.StringIO((folder / "runs.csv").read_text(encoding="utf-8"), newline=""))
    line |= fields
    config = {
        name: line[name] if name in pack.TEXTS else json.loads(line[name]) for name in CONFIG if name in spec().config
    }
    line["id"] = digest(config)
    text = io.StringIO(newline="")
    lines = csv.DictWriter(text, line, lineterminator="\n")
    lines.writeheader()
    lines.writerow(line)
    replace(folder, "runs.csv", text.getvalue().encode("utf-8", "surrogatepass"))


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What a command said on stderr: one line, with nothing in it that a terminal obeys."""
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("nadam-ref: ") and said.err.count("\n") == 1
    assert harmless(said.err)
    return said.err


def harmless(text: str) -> bool:
    """Whether a terminal shows all of a text and obeys nothing in it."""
    return not [x for x in text if unicodedata.category(x) in ("Cc", "Cf", "Zl", "Zp", "Cs") and x != "\n"]


#: What a stranger might call a task or an optimizer.
HOSTILE = {
    "script": "<script>alert(1)</script>",
    "template": "{{ cycler.__init__.__globals__.os.system('touch /tmp/x') }}",
    "file": "{download}`/etc/passwd`",
    "picture": "![x](https://example.org/x.png)",
    "latex": r"\input{/etc/passwd}",
    "formula": "$\\frac{",
    "cell": "=HYPERLINK(1)",
    "colour": "\x1b[31mred\x1b[2J\x07",
    "c1": "\x9b31m",
    "direction": "lr‮gnp.exe",
    "lines": "a\nb\u2028c",
    "path": "../../outside",
    "absolute": "/etc/passwd",
    "drive": "C:\\windows",
    "null": "a\x00b",
    "long": "x" * 10_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("field", ["task", "profile", "data", "data_sha256", "optimizer"])
def test_fault_76_a_name_is_a_name(field: str, name: str) -> None:
    with pytest.raises(
        ValueError, match=f"{field} must be a name of letters, digits and _ . \\+ -, not ['\"]"
    ) as error:
        spec(**{field: HOSTILE[name]})
    assert harmless(str(error.value)) and len(str(error.value)) < 200


@pytest.mark.parametrize("name", HOSTILE)
def test_fault_76_so_are_sizes_hyperparameters_and_curves(name: str) -> None:
    for field in ("model", "hyperparameters"):
        with pytest.raises(ValueError, match=f"each of {field} must be a name"):
            spec(**{field: {HOSTILE[name]: 1.0}})
        with pytest.raises(ValueError, match=f"each of {field} must be a name"):
            spec(**{field: {"lr": HOSTILE[name]}})
    whole = vars(unfinished(spec(), "crashed", ""))
    for field in ("curves", "metrics", "provenance"):
        with pytest.raises(ValueError, match="must be a name"):
            checked(**{**whole, field: {HOSTILE[name]: 1.0 if field == "metrics" else [1.0]}})
    if name not in ("path", "absolute", "cell"):  # plain text, which leads nowhere from there
        with pytest.raises(ValueError, match="has as cpu what is no plain text"):
            checked(**{**whole, "provenance": {**whole["provenance"], "cpu": HOSTILE[name]}})


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("field", ["task", "optimizer", "reason"])
def test_fault_76_114_a_stranger_s_pack_is_refused_in_one_harmless_line(
    field: str, name: str, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(tmp_path.rglob("*"))
    rewrite(packed, **{field: HOSTILE[name]})
    store = tmp_path / "store"
    for command in (["verify", "--pack", str(packed)], ["unpack", str(packed), "--store", str(store)]):
        code = main(command)
        if field == "reason":  # any text, which is kept as it is and never printed as it is
            assert code == 0
            said = capsys.readouterr()
            assert harmless(said.out + said.err)
        else:
            assert code == 2
            assert "must be a name" in one_line(capsys)
    if field == "reason":
        (kept,) = Store(store)
        assert kept.reason == HOSTILE[name]
        assert {path.parent for path in set(tmp_path.rglob("*")) - before} <= {tmp_path, store}
    else:
        assert set(tmp_path.rglob("*")) == before


def test_fault_76_114_a_stranger_s_store_is_reported_without_harm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each record is whole by its own sha256; only what it says is hostile."""
    store = tmp_path / "store"
    store.mkdir()
    for name in HOSTILE.values():
        payload = json.loads(unfinished(spec(), "crashed", name).to_json())
        del payload["sha256"]
        payload["config"]["task"] = name
        text = json.dumps({**payload, "sha256": digest(payload)})
        (store / f"{digest(payload['config'])}.json").write_text(text, encoding="utf-8")
    assert main(["verify", "--store", str(store)]) == 2
    said = capsys.readouterr()
    assert said.err.count("is damaged (task must be a name") == len(HOSTILE) == said.err.count("\n")
    assert harmless(said.err + said.out)
    assert len(list((store / "damaged").iterdir())) == len(HOSTILE)


def test_fault_114_a_file_name_that_a_terminal_would_obey(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "\x1b[2J\u202e.json").write_text("{}")
    assert main(["verify", "--store", str(tmp_path)]) == 2
    assert r"\x1b[2J\u202e.json is damaged" in one_line(capsys)
    for command in (["verify", "--pack", "\x1b[2J"], ["data", "get", "\x1b[2J"], ["verify", "--store", "a\x1b[2J"]):
        assert main(command) == 2
        assert "x1b[2J" in one_line(capsys)
    with pytest.raises(SystemExit):
        main(["\x1b[2J"])
    assert harmless(capsys.readouterr().err)


def test_fault_114_what_is_seen_of_a_text() -> None:
    assert visible("a\x1b[1mb\x9b\u202ec\u2028\ud800\x7f") == r"a\x1b[1mb\x9b\u202ec\u2028\ud800\x7f"
    assert visible("μ ν θ – “x” \u00a0\n\té 漢字") == "μ ν θ – “x” \u00a0\n\té 漢字"


# ---------------------------------------------------------------- files that are none, and endless ones

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")


def endless(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")


@needs_pipes
@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["manifest.json", "runs.csv", "curves.npz"])
def test_fault_42_a_pack_whose_file_has_no_end_is_refused(
    kind: str, name: str, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endless(packed / name, kind)
    assert main(["verify", "--pack", str(packed)]) == 2
    assert "it is no plain file" in one_line(capsys)


@needs_pipes
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_fault_42_a_record_without_an_end_is_refused(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endless(tmp_path / "x.json", kind)
    assert main(["verify", "--store", str(tmp_path)]) == 2
    assert "it is no plain file" in one_line(capsys)


@needs_pipes
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_fault_42_a_checkpoint_without_an_end_is_none(kind: str, tmp_path: Path) -> None:
    from nadam_ref.experiments.runs import checkpoints

    endless(tmp_path / "x.pt", kind)
    assert checkpoints.load(tmp_path / "x.pt", "x") is None


def test_fault_42_a_pack_that_is_too_large_is_not_read(
    packed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pack, "LARGEST", 9)
    assert main(["verify", "--pack", str(packed)]) == 2
    assert "bytes, more than 9" in one_line(capsys)


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


#: Packs whose files fit their manifest and are nonsense.
NONSENSE: dict[str, Callable[[Path], None]] = {
    "deep manifest": lambda p: replace(p, "manifest.json", b"[" * 200_000),
    "list for a manifest": lambda p: replace(p, "manifest.json", b"[1, 2]"),
    "no files": lambda p: replace(p, "manifest.json", b'{"schema": 1, "made": [], "files": {}}'),
    "deep field": lambda p: replace(p, "runs.csv", (p / "runs.csv").read_bytes().replace(b"0.01", b"[" * 100_000)),
    "long field": lambda p: replace(p, "runs.csv", b"id\n" + b"x" * 200_000),
    "huge number": lambda p: rewrite(p, hyperparameters='{"lr":1' + "0" * 400 + "}"),
    "no column": lambda p: replace(p, "runs.csv", b"id\nx\n"),
    "other place": lambda p: rewrite(p, made="-1"),
    "no lengths": lambda p: replace(p, "curves.npz", npz(x=np.zeros(3))),
    "other lengths": lambda p: replace(p, "curves.npz", npz(x=np.zeros(3), **{"x.length": np.array([2])})),
    "strings": lambda p: replace(p, "curves.npz", npz(x=np.array(["a"]), **{"x.length": np.array([1])})),
    "hostile curve": lambda p: replace(p, "curves.npz", npz(**{"../x": np.zeros(1), "../x.length": np.array([1])})),
    "status": lambda p: rewrite(p, status="<b>"),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_fault_42_a_pack_of_nonsense_is_refused_in_one_line(
    kind: str, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    NONSENSE[kind](packed)
    before = set(tmp_path.rglob("*"))
    assert main(["unpack", str(packed), "--store", str(tmp_path / "store")]) == 2
    assert str(packed) in one_line(capsys)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", store_module.BESIDE)
def test_fault_42_a_store_leads_nothing_out_of_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, outside = tmp_path / "store", tmp_path / "outside"
    store.mkdir()
    (store / name).symlink_to(outside)
    if name != ".running":
        outside.mkdir()
    (store / "x.json").write_text("{}")
    for command in (
        ["verify", "--store", str(store)],
        ["sweep", "smoke", "--task", "images", "--data", "digits", "--workers", "1", "--store", str(store)],
    ):
        assert main(command) == 2
        assert "is a link, so what is written there would lie outside of the store" in capsys.readouterr().err
    assert not outside.exists() or list(outside.iterdir()) == []


# ---------------------------------------------------------------- names that would be paths

OUTSIDE = ["../outside", "/etc", "..", "a/b", "~", "C:\\x", "a\x00b"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_fault_42_a_name_is_looked_up_and_never_a_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    store = ["--store", str(tmp_path / "store")]
    for command in (
        ["data", "get", name],
        ["data", "verify", name],
        ["sweep", name, *store],
        ["sweep", "smoke", "--task", name, *store],
        ["sweep", "smoke", "--task", "images", "--data", name, *store],
        ["reproduce", name, *store],
        ["report", "--table", name, *store],
    ):
        assert main(command) == 2, command
        one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_run_s_own_record_is_one_that_others_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from nadam_ref.experiments.runs import record

    monkeypatch.setattr(record, "processor", lambda: "A <b>CPU</b> {{ 7 }}\x1b[1m")
    record._surroundings.cache_clear()
    try:
        made = unfinished(spec(), "crashed", "any\x1b[1m text")
    finally:
        record._surroundings.cache_clear()
    assert made.provenance["cpu"] == "A _b_CPU_/b_ __ 7 ____1m"
    assert Record.from_json(made.to_json()) == made

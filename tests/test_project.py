"""What the project says of itself: the same everywhere, and true."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import metadata
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from torch_alone import ROOT, required_by, run

import nadam_ref
from nadam_ref.book.cells import answer
from nadam_ref.book.extension.citation import zenodo
from nadam_ref.experiments.verdicts.verdicts import title

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOP_LEVEL = {
    *("nadam_ref", "notebooks", "book", "tests", ".ci", ".github"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "LICENSE-CC-BY", "CITATION.cff", ".zenodo.json"),
    *("pyproject.toml", "requirements.txt", "Makefile", "environment.yml", "_config.yml", ".gitignore"),
}
DATA_SUFFIXES = {".bin", ".gz", ".npy", ".npz", ".parquet", ".pickle", ".pkl", ".pt", ".pth", ".tar", ".zip"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def load_yaml(name: str) -> dict[str, Any]:
    content = yaml.safe_load(read(name))
    assert isinstance(content, dict)
    return content


def tracked() -> list[Path]:
    """What git tracks; the test is skipped outside a checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(name) for name in done.stdout.split("\0") if name]


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    return load_yaml("CITATION.cff")


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))


@pytest.fixture(scope="module")
def torch_pin() -> str:
    (pin,) = re.findall(r"^TORCH \?= torch==(\S+)$", read("Makefile"), re.MULTILINE)
    return str(pin)


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    """Version by canonical name; every line is an exact pin."""
    lines = [line for line in read("requirements.txt").splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


# ---------------------------------------------------------------- one version, one address, one author


def test_one_version(citation: dict[str, Any]) -> None:
    first = re.search(r"^## \[(?P<version>\S+)\] - (?P<date>\S+)$", read("CHANGELOG.md"), re.MULTILINE)
    assert first is not None
    assert first["version"] == str(citation["version"]) == nadam_ref.__version__
    assert first["date"] == str(citation["date-released"])
    assert metadata.version("nadam_ref") == nadam_ref.__version__


def test_one_address(citation: dict[str, Any], pyproject: dict[str, Any]) -> None:
    address = load_yaml("_config.yml")["repository"]["url"]
    assert citation["repository-code"] == address
    assert pyproject["project"]["urls"]["Repository"] == address


def test_a_hole_is_reported_to_the_repository() -> None:
    address = load_yaml("_config.yml")["repository"]["url"]
    (security,) = re.findall(r"^## Security$(.*?)^## ", read("CONTRIBUTING.md"), re.MULTILINE | re.DOTALL)
    assert re.findall(r"<(.*?)>", security) == [f"{address}/security/advisories/new"]


def test_no_other_address() -> None:
    address = load_yaml("_config.yml")["repository"]["url"]
    for name in tracked():
        if name.suffix in {".py", ".md", ".ipynb", ".yml", ".yaml", ".toml", ".cff", ".json", ".html"}:
            found = set(re.findall(r"https?://github\.com/[\w.-]+/nadam[-_]ref\b", read(str(name))))
            assert found <= {address}, name


def test_zenodo_is_the_citation(citation: dict[str, Any]) -> None:
    text = read(".zenodo.json")
    assert text == zenodo(citation, nadam_ref.__version__), "run python -m nadam_ref.book.extension.citation"
    content = json.loads(text)
    assert content["creators"] == citation["authors"] == [{"name": "The nadam-ref authors"}]
    assert (content["license"], content["upload_type"]) == ("MIT", "software")
    for ours, theirs in (("title", "title"), ("version", "version"), ("description", "abstract"), ("keywords",) * 2):
        assert content[ours] == citation[theirs]


def test_title_and_abstract_are_what_the_rule_and_the_records_give(citation: dict[str, Any]) -> None:
    _, verdicts = answer.judged()
    given = title(verdicts)
    assert given and citation["title"].startswith(f"{given} Incorporating Nesterov Momentum into Adam: ")
    counts, _, last = answer.named().partition(" By the rule")
    assert counts.replace("*", "") in " ".join(citation["abstract"].split()) and f"**{given}**" in last


def test_the_package_agrees_with_the_citation(citation: dict[str, Any], pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    assert project["authors"] == citation["authors"]
    assert project["license"] == citation["license"]
    assert project["keywords"] == citation["keywords"]
    assert load_yaml("_config.yml")["author"] == citation["authors"][0]["name"]


def test_the_licences_are_whole() -> None:
    mit, cc = read("LICENSE"), read("LICENSE-CC-BY")
    assert mit.startswith("MIT License\n\nCopyright (c) 2026 The nadam-ref authors\n")
    assert "WITHOUT WARRANTY OF ANY KIND" in mit
    assert cc.startswith("Attribution 4.0 International\n")
    assert [f"Section {n} -- " in cc for n in range(1, 9)] == [True] * 8


# ---------------------------------------------------------------- dependencies


def requirements(pyproject: dict[str, Any]) -> Iterator[Requirement]:
    project = pyproject["project"]
    for text in [*project["dependencies"], *(t for extra in project["optional-dependencies"].values() for t in extra)]:
        requirement = Requirement(text)
        if requirement.name != "nadam_ref":
            yield requirement


def test_the_core_needs_torch_only(pyproject: dict[str, Any]) -> None:
    assert [Requirement(text).name for text in pyproject["project"]["dependencies"]] == ["torch"]


def test_fault_86_the_lowest_python_and_torch_are_the_same_everywhere(pyproject: dict[str, Any]) -> None:
    (torch_bound,) = Requirement(*pyproject["project"]["dependencies"]).specifier
    python = pyproject["project"]["requires-python"].removeprefix(">=")
    assert f"needs Python {python} or newer and torch {torch_bound.version} or newer" in read("README.md")
    assert f"needs PyTorch {torch_bound.version} or newer and nothing else" in read("book/api.md")
    jobs = load_yaml(".github/workflows/tests.yml")["jobs"]
    lowest, newest = jobs["lowest"]["steps"], jobs["newest"]
    assert [x["python-version"] for step in lowest if "python-version" in (x := step.get("with", {}))] == [python]
    assert any("--resolution lowest-direct" in step.get("run", "") for step in lowest)
    assert newest["strategy"]["matrix"]["python"][0] == python
    assert jobs["bare"]["strategy"]["matrix"] == {**newest["strategy"]["matrix"], "torch": ["lowest", "newest"]}


def test_dependencies_have_lower_bounds_only(pyproject: dict[str, Any]) -> None:
    for requirement in requirements(pyproject):
        operators = {specifier.operator for specifier in requirement.specifier}
        exact = requirement.name == "jupyter-book"  # version 2 is another program
        assert operators == ({"=="} if exact else {">="}), requirement


def test_the_pins_satisfy_the_bounds(pyproject: dict[str, Any], pins: dict[str, str], torch_pin: str) -> None:
    pins = {**pins, "torch": torch_pin}
    for requirement in requirements(pyproject):
        if requirement.marker is None or requirement.marker.evaluate({"python_version": "3.11"}):
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_conda_installs_what_the_notebooks_need_with_the_same_bounds(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    needed = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["experiments"]])
    ours = {canonicalize_name(requirement.name): str(requirement.specifier) for requirement in needed}
    conda_names = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib", "dask-core": "dask"}
    *packages, pip = load_yaml("environment.yml")["dependencies"]
    assert pip == {"pip": ["-e .[experiments]"]}
    bounds = {name: bound for name, bound in (re.split(r"(?==|>=)", text, maxsplit=1) for text in packages[:-1])}
    assert bounds.pop("python") == "=3.11"
    bounds.pop("jupyterlab")
    assert {conda_names.get(name, name): bound for name, bound in bounds.items()} == ours


def test_torch_is_pinned_in_one_version(torch_pin: str, pins: dict[str, str]) -> None:
    assert "torch" not in pins
    for name in tracked():
        if name.suffix in {".yml", ".yaml", ".md", ".toml", ".txt", ".ipynb", ""}:
            assert set(re.findall(r"torch==([\w.]+)", read(str(name)))) <= {torch_pin}, name


@pytest.mark.skipif(Path(sys.prefix) != ROOT / ".venv", reason="the environment is not the one that make makes")
def test_the_pins_are_what_is_needed(pins: dict[str, str], pyproject: dict[str, Any]) -> None:
    names = [r.name for r in requirements(pyproject) if not r.marker or r.marker.evaluate()]
    beside_torch = required_by("torch")
    assert required_by(*names) - {"setuptools"} - beside_torch == set(pins) - beside_torch, "run make pins"


@pytest.fixture(scope="module")
def pythons() -> tuple[str, str]:
    """The first release of the lowest Python that the Makefile admits, and the newest one."""
    ((lowest, newest),) = re.findall(r"\((3, \d+)\) <= v <= \((3, \d+)\)", read("Makefile"))
    return f"{lowest.replace(', ', '.')}.0", newest.replace(", ", ".")


def test_fault_89_the_pins_admit_every_python_that_make_admits(pins: dict[str, str], pythons: tuple[str, str]) -> None:
    checked = 0
    for name, pin in pins.items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            about = metadata.metadata(name)
            if about["Version"] == pin:
                admitted = SpecifierSet(about.get("Requires-Python", ""))
                assert all(admitted.contains(python) for python in pythons), f"{name}=={pin} needs Python {admitted}"
                checked += 1
    if not checked:
        pytest.skip("none of the pins is installed")


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["lowest", "newest"])
def test_fault_89_every_pin_has_a_wheel(which: int, pythons: tuple[str, str], torch_pin: str, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
    target = ["--python-version", pythons[which], "--only-binary", ":all:", "--target", str(tmp_path)]
    what = [f"torch=={torch_pin}", "-r", str(ROOT / "requirements.txt")]
    done = subprocess.run([*pip, *target, *what], capture_output=True, text=True)
    if "(from versions: none)" in done.stderr:
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr


def other_pythons() -> list[str]:
    """Python programs that `make` admits, of other versions than this one."""
    found = {}
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15))):
        for path in filter(None, dict.fromkeys([shutil.which(name), shutil.which(name, path=os.defpath)])):
            show = [str(path), "-c", "import sys; print(sys.version_info >= (3, 11), *sys.version_info[:3])"]
            admitted, *version = subprocess.run(show, capture_output=True, text=True).stdout.split() or ["False"]
            if admitted == "True" and tuple(map(int, version)) != sys.version_info[:3]:
                found[".".join(version)] = str(path)
    return list(found.values())


@pytest.mark.parametrize("python", other_pythons())
def test_fault_89_pages_are_parsed_on_every_python_at_hand(python: str, pins: dict[str, str]) -> None:
    if metadata.version("soupsieve") != pins["soupsieve"]:
        pytest.skip("the pinned soupsieve is not installed")
    code = "from bs4 import BeautifulSoup; print(BeautifulSoup('<li>', 'html.parser').select('li'))"
    places = {str(metadata.distribution(name).locate_file("")) for name in ("beautifulsoup4", "typing_extensions")}
    environment = {"PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run([python, "-s", "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "[<li></li>]\n", done.stderr


@pytest.mark.parametrize(("version", "message"), [("3.10", "this is 3.10"), ("3.15", "this is 3.15"), ("3.11", "")])
def test_fault_89_make_says_at_once_which_python_it_needs(version: str, message: str) -> None:
    (check,) = re.findall(r"@\$\(PYTHON\) -c '(import sys; .*)'", read("Makefile"))
    major, minor = version.split(".")
    pretend = f"import sys; sys.version_info = ({major}, {minor}, 0)\n{check}"
    done = subprocess.run([sys.executable, "-c", pretend], capture_output=True, text=True)
    assert (done.returncode != 0) == bool(message)
    assert message in done.stderr
    assert done.stderr.count("\n") <= 1


def imported(*folders: str) -> set[str]:
    """Top-level modules that the Python files below these folders import, anywhere in them."""
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found


def test_what_is_imported_is_declared(pyproject: dict[str, Any]) -> None:
    declared = {canonicalize_name(requirement.name) for requirement in requirements(pyproject)} | {"nadam-ref"}
    by_way_of = dict.fromkeys(("docutils", "myst-parser", "pybtex", "sphinx"), "jupyter-book")
    by_way_of |= dict.fromkeys(("ipython", "matplotlib-inline"), "ipykernel")
    by_way_of |= {"nbclient": "papermill", "pillow": "matplotlib", "traitlets": "papermill"}
    owners = metadata.packages_distributions()
    for module in imported("nadam_ref", "tests") & set(owners):
        names = {canonicalize_name(owner) for owner in owners[module]}
        assert declared & (names | {by_way_of.get(name, name) for name in names}), f"{module} is not in pyproject.toml"


def imported_from(path: Path) -> set[str]:
    """What a module imports, anywhere in it, by the full names."""
    package = ".".join(path.relative_to(ROOT).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            found |= {f"{source}.{alias.name}" for alias in node.names}
    return found


def test_every_layer_imports_only_those_below_it() -> None:
    layers = ("experiments", "book", "commands")  # on top of the core; the program `cli.py` is on top of all
    package = ROOT / "nadam_ref"
    for path in package.rglob("*.py"):
        layer = path.relative_to(package).parts[0]
        above = layers[layers.index(layer) + 1 :] if layer in layers else layers
        found = imported_from(path)
        if layer != "cli.py":
            assert not {name for name in found if name.startswith(tuple(f"nadam_ref.{x}" for x in above))}, path
        if layer not in (*layers, "paper.py"):
            assert not {name for name in found if name.split(".")[0] == "numpy"}, path


def test_files_beside_the_modules_are_installed_with_them(pyproject: dict[str, Any]) -> None:
    patterns = pyproject["tool"]["setuptools"]["package-data"]["nadam_ref"]
    package = Path("nadam_ref")
    for name in tracked():
        if package in name.parents and name.suffix != ".py":
            assert any(fnmatch(str(name.relative_to(package)), pattern) for pattern in patterns), name


def test_style_is_checked_in_every_source() -> None:
    """Ruff leaves out what git ignores, tracked or not."""
    command = [sys.executable, "-m", "ruff", "check", "--show-files"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seen = {Path(line).relative_to(ROOT) for line in done.stdout.splitlines()}
    assert {name for name in tracked() if name.suffix in {".py", ".ipynb"}} <= seen


def test_it_imports_where_torch_is_alone() -> None:
    done = run("-c", "import nadam_ref, sys; print(*sorted({name.split('.')[0] for name in sys.modules}))")
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    assert {"torch", "nadam_ref"} <= modules
    assert not modules & {"numpy", "matplotlib", "sklearn", "yaml", "tqdm", "pooch", "papermill", "sphinx"}


# ---------------------------------------------------------------- the first page


def test_the_first_screen_has_the_two_commands() -> None:
    first_screen = "\n".join(read("README.md").splitlines()[:16])
    (block,) = re.findall(r"```sh\n(.*?)```", first_screen, re.DOTALL)
    assert [line.split("#")[0].strip() for line in block.splitlines()] == ["make book", "make test"]


# At a rate that is too high, the last steps burst on a few draws only, such as 116; processors draw different numbers.
@pytest.mark.parametrize("seed", [0, 116])
def test_the_example_prints_what_it_promises(seed: int) -> None:
    example, *_ = re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL)
    (promise,) = re.findall(r"# prints (.*)$", example, re.MULTILINE)
    assert "manual_seed(0)" in example
    done = run("-c", example.replace("manual_seed(0)", f"manual_seed({seed})"))
    assert done.stdout == f"{promise}\n", done.stderr


def test_the_links_lead_somewhere() -> None:
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", read(page)):
            assert (ROOT / target).exists(), f"{page}: {target}"


def test_the_table_of_dialects_says_what_they_say_of_themselves() -> None:
    rows = re.findall(r"^\| `(\w+)` (?:\(default\))? *\| (.*?) *\|$", read("README.md"), re.MULTILINE)
    ours = [(name, f"{dialect.summary}; {dialect.users}") for name, dialect in nadam_ref.DIALECTS.items()]
    assert [row for row in rows if row[0] in nadam_ref.DIALECTS] == ours


def make(*words: str, **variables: str) -> str:
    """What `make` prints, in an environment that no outer make has marked."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment = {**outer, **variables}
    done = subprocess.run(["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def test_make_lists_its_targets() -> None:
    listed = {line.split()[1] for line in make().splitlines()}
    (phony,) = re.findall(r"^\.PHONY: (.*)$", read("Makefile"), re.MULTILINE)
    assert listed == set(phony.split())


@pytest.mark.parametrize(
    ("given", "seen"),
    [("../some data", f"{ROOT}/../some data"), ("/some data", "/some data"), ("~/data", "~/data"), ("", "")],
)
def test_make_resolves_the_data_folder(given: str, seen: str, tmp_path: Path) -> None:
    show = tmp_path / "show.mk"
    show.write_text('include Makefile\nshow:\n\t@echo "[$$NADAM_REF_DATA]"\n')
    assert make("-f", str(show), "show", NADAM_REF_DATA=given) == f"[{seen}]\n"
    assert make("-f", str(show), "show", f"NADAM_REF_DATA={given}") == f"[{seen}]\n"


def test_fault_90_make_runs_python_without_the_persons_packages_and_settings(tmp_path: Path) -> None:
    show = tmp_path / "show.mk"
    show.write_text("include Makefile\nshow:\n\t@env | grep ^PYTHON || true\n")
    own = {name: "/own" for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONWARNINGS")}
    shown = make("-f", str(show), "show", **own)
    assert not set(own) & {line.partition("=")[0] for line in shown.splitlines()}


# ---------------------------------------------------------------- workflows and audit

WORKFLOWS = sorted(path.name for path in (ROOT / ".github" / "workflows").glob("*.yml"))


def jobs(workflow: str) -> dict[str, Any]:
    found = load_yaml(f".github/workflows/{workflow}")["jobs"]
    assert found
    return dict(found)


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_fault_116_every_action_is_one_commit_whose_version_is_beside_it(workflow: str) -> None:
    used = re.findall(r"uses: (.*)", read(f".github/workflows/{workflow}"))
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_fault_116_an_action_has_one_pin() -> None:
    text = "".join(read(f".github/workflows/{workflow}") for workflow in WORKFLOWS)
    used = set(re.findall(r"uses: (\S+)@(.*)", text))
    assert len(used) == len({action for action, _ in used})


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_fault_116_a_job_may_do_no_more_than_its_work_needs(workflow: str) -> None:
    assert load_yaml(f".github/workflows/{workflow}")["permissions"] == {}
    granted = {(name, *right) for name, job in jobs(workflow).items() for right in job["permissions"].items()}
    writes = {right for right in granted if right[2] != "read"}
    publishing = {("deploy", "pages", "write"), ("deploy", "id-token", "write"), ("release", "contents", "write")}
    assert writes == (publishing if workflow == "pages.yml" else set())


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_fault_116_no_step_keeps_a_token_or_runs_what_an_event_says(workflow: str) -> None:
    for job in jobs(workflow).values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", "")


def test_fault_116_newer_actions_are_proposed() -> None:
    updates = load_yaml(".github/dependabot.yml")["updates"]
    assert [update["package-ecosystem"] for update in updates] == ["github-actions"]


VULNERABLE = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3"]}]}
AUDITS = [
    ([{"name": "a", "version": "1", "vulns": []}], "", 0, "1 of 1 packages audited, 0 known vulnerabilities"),
    ([VULNERABLE], "", 1, "b 2: PYSEC-1, mended in 3"),
    ([{"name": "a", "skip_reason": "not found"}], "", 2, "not audited: a: is there a network?"),
    (None, "ConnectionError: no such host", 2, "nothing was audited: ConnectionError: no such host"),
]


@pytest.mark.parametrize(("packages", "error", "code", "line"), AUDITS)
def test_an_audit_that_could_not_ask_is_no_clean_one(
    packages: Any, error: str, code: int, line: str, tmp_path: Path
) -> None:
    said = "" if packages is None else json.dumps({"dependencies": packages, "fixes": []})
    pins = ["torch==0.0.1", *(line for line in read("requirements.txt").splitlines() if not line.startswith("#"))]
    (tmp_path / "pip_audit.py").write_text(
        "import sys\n"
        "asked = open(sys.argv[-1]).read().splitlines()\n"
        f"assert [line for line in asked if line[0] != '#'] == {pins!r}\n"
        f"print({said!r})\nsys.exit({error!r} or None)\n"
    )
    command = [sys.executable, ".ci/audit.py", pins[0]]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert line in (done.stdout + done.stderr).splitlines()


# ---------------------------------------------------------------- what is committed


def test_nothing_else_at_the_top() -> None:
    assert {name.parts[0] for name in tracked()} <= TOP_LEVEL


def test_no_data_is_committed() -> None:
    exempt = {Path("book/results"), Path("book/_static/mathjax")}  # recorded runs; one large program
    for name in tracked():
        if not exempt & set(name.parents):
            assert not DATA_SUFFIXES & set(name.suffixes), name
            assert (ROOT / name).stat().st_size < 300_000, name

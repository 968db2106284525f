#!/usr/bin/env python3
"""What a release needs, one thing after the other; it stops at the first that is missing.

`release.py prepare VERSION` writes the version and today's date into the files that name them, to be committed.
`release.py check VERSION` changes nothing: it says whether the checkout is ready.
`release.py build VERSION` makes _build/release: the wheel, the source archive, the book and SHA256SUMS.
`release.py tag VERSION` makes the tag; pushing it publishes.

`make release VERSION=…` is check, lint, test, the book, build and tag; with DRY_RUN=1 it makes no tag.
"""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # this checkout's package, whichever is installed

from nadam_ref.book.extension import citation  # noqa: E402
from nadam_ref.errors import NadamRefError  # noqa: E402
from nadam_ref.experiments import released  # noqa: E402
from nadam_ref.experiments.runs import pack  # noqa: E402
from nadam_ref.files import write_whole  # noqa: E402

PACKAGE, CHANGELOG, CITATION, ZENODO = "nadam_ref/__init__.py", "CHANGELOG.md", "CITATION.cff", ".zenodo.json"
REGISTRY = "nadam_ref/experiments/released.csv"
NUMBER = re.compile(r"\d+\.\d+\.\d+")
MAIN = "main"  # the branch that releases are made of


class NotReady(NadamRefError):
    """One thing that a release needs and this checkout lacks."""


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


# ---------------------------------------------------------------- what a release needs


def number(version: str) -> str:
    if not NUMBER.fullmatch(version):
        raise NotReady(f"{version!r} is no version: three numbers are, as in make release VERSION=1.2.3")
    return f"the version is {version}"


def branch(version: str) -> str:
    here = git("rev-parse", "--abbrev-ref", "HEAD")
    if here != MAIN:
        raise NotReady(f"this is the branch {here}; releases are made of {MAIN}")
    return f"this is {MAIN}"


def tree(version: str) -> str:
    changed = git("status", "--porcelain").splitlines()
    if changed:
        raise NotReady(f"{changed[0].split()[-1]} is not committed ({len(changed)} in all): commit or remove it")
    return f"nothing is uncommitted at {git('rev-parse', '--short=10', 'HEAD')}"


def tag_is_free(version: str) -> str:
    tags = [name.removeprefix("v") for name in git("tag", "--list", "v*").splitlines()]
    newest = max((name for name in tags if NUMBER.fullmatch(name)), key=parts, default=None)
    if newest and parts(version) <= parts(newest):
        raise NotReady(f"v{newest} is there already: the next version is greater than that")
    return f"no tag v{version} yet"


def package(version: str) -> str:
    (written,) = re.findall(r'^__version__ = "(.*)"$', text(PACKAGE), re.MULTILINE)
    if written != version:
        raise NotReady(f"{PACKAGE} says {written}: run .ci/release.py prepare {version}, read the changes and commit")
    return f"{PACKAGE} says so"


def changelog(version: str) -> str:
    """The section of this version comes first, has its date and says something; nothing is left as unreleased."""
    sections = re.split(r"^## (.+)$", text(CHANGELOG), flags=re.MULTILINE)[1:]
    content = dict(zip(sections[::2], map(str.strip, sections[1::2]), strict=True))
    if content.pop("[Unreleased]", ""):
        raise NotReady(f"{CHANGELOG} still has changes under [Unreleased]: they belong to [{version}]")
    heading, said = next(iter(content.items()))
    if not re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", heading):
        raise NotReady(f"{CHANGELOG} begins with {heading}, not with [{version}] and a date")
    if not said:
        raise NotReady(f"{CHANGELOG} says nothing under [{version}]")
    return f"{CHANGELOG} has {heading}"


def cited(version: str) -> str:
    """CITATION.cff has the version and the changelog's date, .zenodo.json what follows from it."""
    content = citation.read(ROOT)
    (date,) = re.findall(rf"^## \[{re.escape(version)}\] - (\S+)$", text(CHANGELOG), re.MULTILINE)
    for name, wanted in (("version", version), ("date-released", date)):
        if str(content[name]) != wanted:
            raise NotReady(f"{CITATION} has {name} {content[name]}, not {wanted}")
    if text(ZENODO) != citation.zenodo(content, version):
        raise NotReady(f"{ZENODO} is not what {CITATION} says: run python -m nadam_ref.book.extension.citation")
    return f"{CITATION} and {ZENODO} agree"


def results(version: str) -> str:
    """Every file of the recorded results is the one that readers will fetch, and every pack can be read."""
    folder = ROOT / "book" / "results"
    there, listed = released.files(folder), released.registry(ROOT / REGISTRY)
    for name in sorted({*there, *listed}):
        if there.get(name) != listed.get(name):
            raise NotReady(
                f"book/results/{name} is not the file in {Path(REGISTRY).name}: "
                "find out why, then run python -m nadam_ref.experiments.released"
            )
    packs = sorted(path.parent for path in folder.rglob(pack.MANIFEST))
    try:
        runs = sum(len(pack.read(path)) for path in packs)
    except pack.PackError as error:
        raise NotReady(str(error)) from error
    return f"{len(there)} files of results have their sha256, {len(packs)} packs hold {runs:,} runs"


CHECKS: tuple[Callable[[str], str], ...] = (number, branch, tree, tag_is_free, package, changelog, cited, results)


def check(version: str) -> None:
    for needed in CHECKS:
        print(needed(version), flush=True)


# ---------------------------------------------------------------- making it


def replaced(name: str, pattern: str, by: str) -> None:
    content, times = re.subn(pattern, lambda match: by, text(name), count=1, flags=re.MULTILINE)
    if not times:
        raise NotReady(f"{name} has no line like {pattern}")
    write_whole(ROOT / name, content)


def prepare(version: str) -> None:
    """Write the version and today's date where they are named."""
    number(version)
    tag_is_free(version)
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    replaced(PACKAGE, r'^__version__ = ".*"$', f'__version__ = "{version}"')
    replaced(CHANGELOG, r"^## \[Unreleased\]$", f"## [Unreleased]\n\n## [{version}] - {today}")
    replaced(CITATION, r"^version: .*$", f"version: {version}")
    replaced(CITATION, r"^date-released: .*$", f"date-released: {today}")
    write_whole(ROOT / ZENODO, citation.zenodo(citation.read(ROOT), version))
    print(f"{PACKAGE}, {CHANGELOG}, {CITATION} and {ZENODO} say {version}: read them, make test, and commit")


def run(*command: Any) -> None:
    if subprocess.run(list(map(str, command)), cwd=ROOT).returncode:
        raise NotReady(f"this failed: {' '.join(map(str, command))}")


def build(version: str) -> None:
    """Wheel and source archive, each installed and tried in an environment with torch alone, and the book."""
    book = ROOT / "_build" / f"nadam-ref-{version}.zip"
    if not book.is_file():
        raise NotReady(f"there is no {book.relative_to(ROOT)}: run make zip")
    folder = ROOT / "_build" / "release"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # an old one would go into the wheel
    run(sys.executable, "-m", "build", "--outdir", folder)
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    made = sorted(folder.iterdir())
    wanted = [f"nadam_ref-{version}-py3-none-any.whl", f"nadam_ref-{version}.tar.gz"]
    if [path.name for path in made] != wanted:
        raise NotReady(f"{', '.join(path.name for path in made)} was built, not {' and '.join(wanted)}")
    for path in made:
        run(sys.executable, ROOT / ".ci" / "bare.py", path)
    shutil.copyfile(book, folder / book.name)
    sums = released.files(folder)
    write_whole(folder / "SHA256SUMS", "".join(f"{sha256}  {name}\n" for name, sha256 in sums.items()))
    tree(version)  # nothing of this may have touched what is committed
    for name, sha256 in sums.items():
        print(f"{sha256[:12]}  {name}, {(folder / name).stat().st_size / 1e6:.1f} MB")


def tag(version: str) -> None:
    check(version)
    git("tag", "--annotate", f"v{version}", "--message", f"nadam-ref {version}")
    print(f"v{version} is made; this publishes it: git push origin {MAIN} v{version}")


ACTIONS = {"prepare": prepare, "check": check, "build": build, "tag": tag}


def main(words: Iterable[str]) -> int:
    match list(words):
        case [action, version] if action in ACTIONS:
            try:
                ACTIONS[action](version)
            except NotReady as error:
                print(f"not ready: {error}", file=sys.stderr)
                return 1
            return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

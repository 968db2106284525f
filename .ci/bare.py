#!/usr/bin/env python3
"""Does a built package install and work where nothing but torch is? `bare.py PACKAGE [PYTHON [TORCH]]`

PACKAGE: a wheel or a source archive. PYTHON: the program, by default this one. TORCH: `lowest`, the first release that
pyproject.toml admits, `newest`, or `pinned`, the Makefile's (default). A new environment gets both, and runs the
README's example in an empty folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def requirement(torch: str) -> str:
    (pin,) = re.findall(r"^TORCH \?= (\S+)$", text("Makefile"), re.MULTILINE)
    (bound,) = re.findall(r'^dependencies = \["torch>=(\S+)"\]$', text("pyproject.toml"), re.MULTILINE)
    return {"lowest": f"torch=={bound}", "newest": "torch", "pinned": str(pin)}[torch]


def example() -> tuple[str, str]:
    """The README's first example, and what it promises to print."""
    code, *_ = re.findall(r"```python\n(.*?)```", text("README.md"), re.DOTALL)
    (promise,) = re.findall(r"# prints (.*)$", code, re.MULTILINE)
    return code, promise


def run(*command: str | Path, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"this failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def main(package: str, python: str = sys.executable, torch: str = "pinned") -> None:
    built, (code, promise) = Path(package).absolute(), example()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(python, "-m", "venv", folder / "env", folder=folder)
        own = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
        pip = (own, "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
        run(*pip, requirement(torch), folder=folder)
        run(*pip, built, folder=folder)
        run(own, "-m", "pip", "check", folder=folder)
        empty = folder / "empty"
        empty.mkdir()
        # torch says once that NumPy is not there, on stderr
        printed = run(own, "-c", code, folder=empty)
        if printed != f"{promise}\n":
            sys.exit(f"{built.name}: the README's example printed {printed!r}, not {promise!r}")
        where = run(
            own, "-c", "import nadam_ref, sys, torch\nprint(nadam_ref.__file__, torch.__version__)", folder=empty
        )
        version = run(own.with_name("nadam-ref"), "--version", folder=empty).strip()
        (place, of_torch), of_python = where.split(), run(own, "-V", folder=empty).strip()
        if not Path(place).is_relative_to(folder.resolve()):
            sys.exit(f"{built.name}: {place} was imported, which is not the one that was installed")
    print(f"{built.name} works with {of_python} and torch {of_torch} alone: {version}")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])

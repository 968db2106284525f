"""What the results of a notebook depend on, as one sha256: equal keys need no second run."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nadam_ref
from nadam_ref import checkout

PACKAGE = Path(nadam_ref.__file__).parent
#: Variables that a chapter inherits, because programs may not start without them: those that change no result, and
#: those through which other libraries may be loaded.
INHERITED = ("PATH", "USER", "LOGNAME", "SYSTEMROOT")
LOADED = ("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES")
#: Their version can change a number or a picture in an executed notebook.
LIBRARIES = ("torch", "numpy", "scipy", "matplotlib", "scour", "scikit-learn", "sympy")


def sha256(content: bytes | str) -> str:
    """The hexadecimal sha256 of bytes, or of a text in UTF-8."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def tree_hash(folder: Path, suffixes: Iterable[str] | None = None) -> str:
    """One hash of the names and bytes of all files below a folder, of some suffixes only if asked; absent is empty."""
    wanted = None if suffixes is None else set(suffixes)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and (wanted is None or p.suffix in wanted))
    return sha256(json.dumps([(p.relative_to(folder).as_posix(), sha256(p.read_bytes())) for p in files]))


def package_hash(package: Path | None = None) -> str:
    """One hash of all sources of the package, or of another copy of it."""
    return tree_hash(package or PACKAGE, (".py", ".yaml", ".csv", ".mplstyle"))


def surroundings(root: Path) -> dict[str, Any]:
    """What every notebook's results depend on: the package, the data that are there, the recorded runs, the libraries.

    Of the person's environment variables a chapter sees none that is not here, see `execute.kernel_environment`.
    """
    from nadam_ref.experiments.datasets import registry

    shown = checkout.find("book/results", root)  # as the chapters find it
    return {
        "package": package_hash(),
        "data": {name: [file.actual for file in registry.verify(name)] for name in registry.SOURCES},
        "results": tree_hash(shown / "book" / "results") if shown else None,
        "loaded": {name: os.environ[name] for name in LOADED if name in os.environ},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }


def notebook_key(source: bytes, parameters: Mapping[str, Any], around: Mapping[str, Any]) -> str:
    """The key of one notebook: its bytes, its parameters, and its `surroundings`."""
    parts = {"notebook": sha256(source), "parameters": dict(parameters), **around}
    return sha256(json.dumps(parts, sort_keys=True, default=repr))

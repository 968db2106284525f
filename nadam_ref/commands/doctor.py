"""`nadam-ref doctor`: versions, extras, hardware and data sets of this machine, and what is wrong with it."""

from __future__ import annotations

import argparse
import platform
import re
import shutil
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import torch

from .. import __version__
from . import checkup
from .console import cpus, print_table


def add(commands: Any) -> None:
    """Add the command to those of the parser."""
    doctor = commands.add_parser("doctor", help="show what this machine has, and what is wrong with it")
    doctor.set_defaults(run=_doctor)


def _doctor(_: argparse.Namespace) -> int:
    print_table([*_versions(), *_extras(), *_hardware(), *_data_sets()])
    found = checkup.findings()
    print()
    for finding in found:
        print(f"{'wrong' if finding.stops else 'note'}: {finding}")
    wrong = any(finding.stops for finding in found)
    if not wrong:
        print("nothing is wrong")
    return int(wrong)


def _versions() -> Iterator[tuple[str, str]]:
    yield "nadam_ref", __version__
    yield "python", f"{platform.python_version()} on {platform.platform(terse=True)}"
    for package in ("torch", "numpy"):
        yield package, _version(package) or "missing"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> Iterator[tuple[str, str]]:
    """Each extra of the installed package, and which of its requirements are missing."""
    try:
        installed = metadata.metadata("nadam_ref")
    except metadata.PackageNotFoundError:
        yield "extras", "unknown: the package is imported from a folder, not installed"
        return
    requirements = installed.get_all("Requires-Dist") or []
    for extra in installed.get_all("Provides-Extra") or []:
        own = [text for text in requirements if re.search(rf"""extra == ['"]{extra}['"]""", text)]
        names = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in own if "python_version" not in text]
        missing = [name for name in names if _version(name) is None]
        yield f"extra {extra}", f"missing: {', '.join(missing)}" if missing else "present"


def _hardware() -> Iterator[tuple[str, str]]:
    yield "CPUs", f"{cpus()}, torch uses {torch.get_num_threads()}"
    cuda = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    yield "CUDA", ", ".join(torch.cuda.get_device_name(i) for i in cuda) or "none"
    for role, programs in {"compiler": ("g++", "c++", "clang++"), "node": ("node", "nodejs")}.items():
        yield role, next(filter(None, map(shutil.which, programs)), "none")


def _data_sets() -> Iterator[tuple[str, str]]:
    try:
        from ..experiments.datasets import registry

        yield "data folder", str(registry.root())
        for name in registry.SOURCES:
            yield f"data {name}", registry.state(name)
    except ModuleNotFoundError as error:
        yield "data", f"unknown without {error.name}"
    except registry.DataError as error:
        yield "data", str(error)

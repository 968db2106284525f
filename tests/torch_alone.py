"""Python as it is where torch is the only package installed."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

BLOCK = """
import sys
from importlib.machinery import PathFinder

class TorchAlone(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {absent!r} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = TorchAlone
"""


def required_by(*names: str) -> set[str]:
    """These distributions and all that they require on this machine without extras, as canonical names."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            needed = map(Requirement, metadata.requires(name) or [])
            waiting += [canonicalize_name(r.name) for r in needed if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python *arguments` (`-c CODE` or `-m MODULE …`) so that only torch's own requirements can be imported."""
    present = required_by("torch")
    absent = {
        module
        for module, owners in metadata.packages_distributions().items()
        if module != "nadam_ref" and not present & {canonicalize_name(owner) for owner in owners}
    }
    option, target, *rest = arguments
    work = f"exec({target!r})" if option == "-c" else f"import runpy; runpy.run_module({target!r}, run_name='__main__')"
    code = f"{BLOCK.format(absent=absent)}\nsys.argv[1:] = {rest!r}\n{work}"
    quiet = ["-W", "ignore:Failed to initialize NumPy"]  # torch's own remark, once a process
    return subprocess.run([sys.executable, *quiet, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)

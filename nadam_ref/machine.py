"""What a number was made on and with: the processor, and the commit of the checkout."""

from __future__ import annotations

import contextlib
import platform
import subprocess
from pathlib import Path
from typing import Any


def processor() -> str:
    """The name of this machine's processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def checkout(top: Path, *parts: str) -> dict[str, Any]:
    """Commit of the checkout at `top`, and whether `parts` of it were changed since; None where `top` is not one."""
    found = _git(top, "rev-parse", "--show-toplevel")
    if found is None or Path(found).resolve() != top.resolve():
        return {"commit": None, "dirty": None}
    changed = _git(top, "status", "--porcelain", "--", *parts)
    return {"commit": _git(top, "rev-parse", "--verify", "--quiet", "HEAD"), "dirty": changed != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, errors="surrogateescape", check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

"""Ask whether a pinned package has a known vulnerability: `audit.py REQUIREMENT...` beside requirements.txt.

Exits with 0 where none has, with 1 where one has, and with 2 where not every package could be asked about: pip-audit
itself calls that clean.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PINS = Path(__file__).parents[1] / "requirements.txt"

#: Vulnerabilities that do not concern this project, by id: why not.
ARGUED: dict[str, str] = {}


def main(more: list[str]) -> int:
    packages = ask(more)
    unasked = [package["name"] for package in packages if "skip_reason" in package]
    found = [(package, fault) for package in packages for fault in package.get("vulns", ())]
    for package, fault in found:
        what = reason(fault) or f"mended in {', '.join(fault['fix_versions']) or 'no version'}"
        print(f"{package['name']} {package['version']}: {fault['id']}, {what}")
    print(f"{len(packages) - len(unasked)} of {len(packages)} packages audited, {len(found)} known vulnerabilities")
    if any(reason(fault) is None for _, fault in found):
        return 1
    if unasked:
        print(
            f"not audited: {', '.join(unasked[:5])}{', …' * (len(unasked) > 5)}: is there a network?", file=sys.stderr
        )
        return 2
    return 0


def ask(more: list[str]) -> list[dict[str, Any]]:
    """What pip-audit says of every package. It ends the program where it cannot say anything."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text("\n".join([*more, PINS.read_text(encoding="utf-8")]), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json"]
        done = subprocess.run([*command, "--requirement", wanted], capture_output=True, text=True)
    try:
        return json.loads(done.stdout)["dependencies"]
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        print(f"nothing was audited: {last}", file=sys.stderr)
        sys.exit(2)


def reason(fault: dict[str, Any]) -> str | None:
    """Why a vulnerability does not concern this project; None where nothing says so."""
    return next((f"argued: {ARGUED[name]}" for name in (fault["id"], *fault["aliases"]) if name in ARGUED), None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

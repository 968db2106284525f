"""What a number was made on and with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = """
import os, sys
from pathlib import Path
from nadam_ref.machine import checkout

print(checkout(Path(sys.argv[1]), "file")["commit"])
"""


def test_fault_106_the_commit_of_a_checkout_in_any_locale_and_below_any_name(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + "/bö ".encode() + b"\xff"
    try:
        Path(os.fsdecode(folder)).mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True).stdout
    for locale in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        command = [sys.executable, "-c", SHOW, folder]
        done = subprocess.run(command, env={**os.environ, **locale}, capture_output=True, text=True)
        assert done.stdout == commit, done.stderr

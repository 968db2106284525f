"""What stands in `protocol.yaml`, and the sha256 by which every record says which protocol it was made under."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["ProtocolError", "section", "sha256", "tasks", "version"]


class ProtocolError(ValueError):
    """The protocol does not have what is asked for. The message lists what it has."""


@functools.cache
def _content() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("protocol.yaml").read_text(encoding="utf-8"))
    return loaded


def version() -> int:
    """The protocol's version; a change of what is run begins a new one."""
    return int(_content()["version"])


def tasks() -> list[str]:
    """The tasks the protocol has."""
    return list(_content()["tasks"])


def section(task: str) -> Mapping[str, Any]:
    """A task's part of the protocol. Raises `ProtocolError` for a task it does not have."""
    if task not in tasks():
        raise ProtocolError(f"the protocol has no task {task!r}; it has: {', '.join(tasks())}")
    found: Mapping[str, Any] = _content()["tasks"][task]
    return found


@functools.cache
def sha256(task: str, profile: str) -> str:
    """Hash of the version and of all that the protocol says on a profile of a task; empty where it has no such thing.

    Taken from the meaning, not from the file: comments and other tasks may change without making records old.
    """
    if task not in tasks() or profile not in section(task)["profiles"]:
        return ""
    said = {"version": _content()["version"], "task": task, "profile": profile, **section(task)}
    said["profiles"] = section(task)["profiles"][profile]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

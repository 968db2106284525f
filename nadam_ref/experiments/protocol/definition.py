"""What `protocol.yaml` says, in this version and in earlier ones, and the sha256 that records carry of it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ...errors import NadamRefError

__all__ = ["ProtocolError", "section", "sha256", "tasks", "version", "version_of"]

#: Earlier versions, under which packs in `book/results` were made: version → file.
EARLIER = {2: "protocol_2.yaml"}


class ProtocolError(NadamRefError):
    """The protocol does not have what is asked for. The message lists what it has."""


@functools.cache
def _content(version: int | None = None) -> Mapping[str, Any]:
    """The file of a version; None is the current one."""
    name = EARLIER.get(version or 0, "protocol.yaml")
    loaded: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return loaded


def version() -> int:
    """The protocol's current version; a change of what is run begins a new one."""
    return int(_content()["version"])


def tasks() -> list[str]:
    """The tasks the protocol has."""
    return list(_content()["tasks"])


def section(task: str, version: int | None = None) -> Mapping[str, Any]:
    """A task's part of the protocol, of the current version by default.

    Raises `ProtocolError` for a task it does not have.
    """
    known = _content(version)["tasks"]
    if task not in known:
        raise ProtocolError(f"the protocol has no task {task!r}; it has: {', '.join(known)}")
    found: Mapping[str, Any] = known[task]
    return found


@functools.cache
def sha256(task: str, profile: str, version: int | None = None) -> str:
    """Hash of the version and of all that the protocol says on a profile of a task; empty where it has no such thing.

    Taken from the meaning, not from the file: comments and other tasks may change without making records old.
    """
    content = _content(version)
    if task not in content["tasks"] or profile not in content["tasks"][task]["profiles"]:
        return ""
    said = {"version": content["version"], "task": task, "profile": profile, **content["tasks"][task]}
    said["profiles"] = content["tasks"][task]["profiles"][profile]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def version_of(task: str, profile: str, hash_: str) -> int | None:
    """The earlier version whose `sha256` a record carries; None for the current one, and for a hash of none."""
    return next((earlier for earlier in EARLIER if sha256(task, profile, earlier) == hash_), None)

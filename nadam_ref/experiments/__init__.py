"""The replication's experiments. What a notebook needs of them is here; each name is imported when it is first used.

The modules below are for contributors, and may change from version to version.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: The public names, and the modules that define them.
HOMES = {
    "load": "datasets",
    "first_available": "datasets",
    "TASKS": "tasks",
    "reported": "published",
    "arms": "protocol.planning",
    "seeds": "protocol.planning",
    "dataset": "protocol.planning",
    "specs": "protocol.planning",
    "RunSpec": "runs.spec",
    "Record": "runs.record",
    "Store": "runs.store",
    "run": "runs.train",
    "sweep": "runs.sweep",
    "to_rows": "statistics.summary",
    "best": "verdicts.arms",
    "gather": "verdicts.arms",
    "judge": "verdicts.verdicts",
    "report": "verdicts.report",
}

__all__ = list(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})

"""What the papers leave open, and what was chosen: the table `open_details.yaml`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

#: How certain we are of what a paper says.
CERTAINTY = ("found", "secondary", "inferred", "recalled", "silent")
#: What was chosen here, beside the paper.
COMPARED = ("same", "different", "unknown")


@dataclass(frozen=True)
class Detail:
    """One open detail: what the paper says, how certain that is, what was chosen here, how the two compare, and why.

    `code` names constants of the task modules that carry the choice, with their values.
    """

    task: str
    detail: str
    paper: str
    certainty: str
    chosen: str
    compared: str
    why: str
    code: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name, known in (("certainty", CERTAINTY), ("compared", COMPARED)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{self.task}, {self.detail}: {name} must be one of {', '.join(known)}, not {value!r}")


@functools.cache
def details() -> tuple[Detail, ...]:
    """All open details, task by task."""
    text = Path(__file__).with_name("open_details.yaml").read_text(encoding="utf-8")
    return tuple(Detail(**row) for row in yaml.safe_load(text))

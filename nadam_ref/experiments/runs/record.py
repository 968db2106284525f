"""What a run did, and where, when and with what it was made."""

from __future__ import annotations

import functools
import json
import math
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

import nadam_ref

from ...errors import NadamRefError
from ...fused import compiles, rows_kernel
from ...kernels import Prelude
from ...machine import checkout, processor
from ...rules import RULES
from .spec import CONFIG, RunSpec, canonical, check_names, digest

SCHEMA = 1

Status = Literal["finished", "diverged", "crashed", "timeout", "out_of_memory"]

#: What is in no description of a machine: marks of HTML, Markdown, LaTeX or a template, and what cannot be seen.
MARKUP = re.compile(r"[^\w ()@.,:;+/'=®™~-]")

#: Ways to end without a result. Such a run is a row too, and the next sweep tries it again.
FAILED = frozenset({"crashed", "timeout", "out_of_memory"})

#: Of a run's provenance, what decides its bits. On a GPU they are the same to rounding only. The processor is among it:
#: with the same instructions, a library's convolutions take their sums in another order on another maker's.
DECISIVE = ("nadam_ref", "torch", "cpu", "cpu_capability", "row_kernel", "gpu")


class RecordError(NadamRefError):
    """A record cannot be read, or contradicts another of the same run. The message names the file and what to do."""


@dataclass(frozen=True)
class Record:
    """What a run did.

    `step` is the number of updates made; less than `spec.steps` where the run diverged. `curves` are lists by name:
    `train_loss` (before each update, or its mean over `spec.train_every` of them), and `dev_loss` and the task's other
    metrics at the updates listed in `dev_step`. `metrics` holds the task's, `dev_loss`, `test_loss`, …, at the last
    step; it is empty unless the run finished, because a diverged run has no such number and none is made up for it.
    """

    spec: RunSpec
    status: Status
    reason: str
    step: int
    curves: Mapping[str, list[float]]
    metrics: Mapping[str, float]
    provenance: Mapping[str, Any]

    @property
    def protocol_sha256(self) -> str:
        """Hash of the protocol that planned the run; empty where none did."""
        return str(self.provenance.get("protocol_sha256", ""))

    @property
    def outcome_sha256(self) -> str:
        """Hash of all that must be the same, bit for bit, when the same spec is run again."""
        return digest([self.status, self.step, _strict(self.curves), _strict(self.metrics)])

    def to_json(self) -> str:
        """One line of strict JSON with the payload's own sha256."""
        payload = {
            "schema": SCHEMA,
            "config": self.spec.config,
            "status": self.status,
            "reason": self.reason,
            "step": self.step,
            "curves": _strict(self.curves),
            "metrics": _strict(self.metrics),
            "provenance": dict(self.provenance),
        }
        return canonical({**payload, "sha256": digest(payload)}) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read `to_json`'s line. Raises `ValueError` where it is damaged, `RecordError` for that of a newer package."""
        payload = json.loads(text)
        if not isinstance(payload, dict) or payload.pop("sha256", None) != digest(payload):
            raise ValueError("the content does not match its sha256")
        if payload["schema"] > SCHEMA:
            raise RecordError(
                f"the record has schema {payload['schema']}, this nadam_ref reads up to {SCHEMA}; install a newer one"
            )
        config = payload["config"]
        if unknown := config.keys() - set(CONFIG):  # the hash is right, so nothing is damaged
            names = ", ".join(sorted(unknown))[:80]
            raise RecordError(
                f"the record's config has keys that this nadam_ref does not know ({names!a}); install a newer one"
            )
        return checked(
            spec=RunSpec(**config, protocol_sha256=payload["provenance"].get("protocol_sha256", "")),
            status=payload["status"],
            reason=payload["reason"],
            step=payload["step"],
            curves={name: [float(v) for v in values] for name, values in payload["curves"].items()},
            metrics={name: float(value) for name, value in payload["metrics"].items()},
            provenance=payload["provenance"],
        )


def checked(**fields: Any) -> Record:
    """A record as others wrote it. Raises `ValueError` where a name or a description of a machine is none.

    What is written here reaches pages, tables and terminals. The reason and the traceback are any text: they reach
    terminals alone, which show them by `visible`.
    """
    record = Record(**fields)
    if record.status not in get_args(Status):
        raise ValueError(f"a status must be one of {', '.join(get_args(Status))}, not {str(record.status)[:80]!a}")
    if type(record.step) is not int or not isinstance(record.reason, str):
        raise ValueError("the step must be an integer and the reason text")
    check_names("each curve and metric", [*record.curves, *record.metrics])
    check_names("each entry of the provenance", record.provenance)
    for name, value in record.provenance.items():
        if name == "traceback" or value is None or isinstance(value, (bool, int, float)):
            continue
        if not isinstance(value, str) or len(value) > 300 or MARKUP.search(value):
            raise ValueError(f"the provenance has as {name} what is no plain text: {str(value)[:80]!a}")
    return record


def _strict(value: Any) -> Any:
    """NaN and infinities as the strings "nan", "inf", "-inf": JSON has no numbers for them, `float` reads them back."""
    if isinstance(value, Mapping):
        return {name: _strict(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return value if math.isfinite(value) else str(value)


@functools.cache
def _surroundings() -> dict[str, Any]:
    package = Path(nadam_ref.__file__).parent
    known = {
        "nadam_ref": nadam_ref.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **checkout(package.parent, package.name),
    }
    return {name: _plain(value) for name, value in known.items()}


def _plain(value: Any) -> Any:
    """A description of this machine as `checked` admits it."""
    return MARKUP.sub("_", value)[:300] if isinstance(value, str) else value


def provenance(spec: RunSpec, wall_seconds: float) -> dict[str, Any]:
    """Where, when, with what and under which protocol a run was made, and how long it took."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    more = {"gpu": _plain(torch.cuda.get_device_name())} if spec.device == "cuda" and torch.cuda.is_available() else {}
    if spec.row_lazy and spec.device == "cpu":  # with a compiler and without, rows are equal to rounding only
        more["row_kernel"] = "compiled" if compiles("cpu") else "none"
    made = {"protocol_sha256": spec.protocol_sha256, "time": now, "wall_seconds": round(wall_seconds, 6)}
    return {**_surroundings(), **more, **made}


def made_with(spec: RunSpec) -> dict[str, str]:
    """What decides the bits of a run that is made here, beside its specification, as its provenance has it."""
    if spec.row_lazy and spec.device == "cpu":
        rows_kernel(RULES["GD"], Prelude(), torch.float32)  # any one: whether a kernel can be compiled has to be tried
    known = provenance(spec, 0.0)
    return {name: str(known[name]) for name in DECISIVE if name in known}

"""A run's specification, its record, and the folder that keeps records: one run, one JSON file.

The file is named by the sha256 of everything that decides the run. Hardware, versions and time stand inside only.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import platform
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import nadam_ref

from ...errors import NadamRefError
from ...files import write_whole
from ...fused import compiles
from ...machine import checkout, processor
from ..protocol import definition

SCHEMA = 1

Status = Literal["finished", "diverged", "crashed", "timeout", "out_of_memory"]

#: Ways to end without a result. Such a run is a row too, and the next sweep tries it again.
FAILED = frozenset({"crashed", "timeout", "out_of_memory"})

#: Fields of a spec that came later. At their default they are not in its name, so older records keep theirs.
LATER = ("clip_norm", "anneal", "row_lazy", "device")


#: Steps of a run from which on its record has means of the training loss in place of every value.
LONG = 10_000


class RecordError(NadamRefError):
    """A record cannot be read, or contradicts another of the same run. The message names the file and what to do."""


def _canonical(value: Any) -> str:
    """The one JSON spelling of a value: sorted keys, no spaces, no bare NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


# ---------------------------------------------------------------- the specification


def _typed(value: Any, *, integers: bool = False) -> Any:
    """A value in its one type: lists are tuples, numbers floats (1 and 1.0 are one run); `integers` may stay."""
    if value is None or isinstance(value, (bool, str)) or (integers and isinstance(value, int)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(_typed(item, integers=integers) for item in value)
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a hyperparameter must be finite, not {value!r}")
    return number


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides a run, and nothing else. Equal specs are the same run, bit for bit.

    `model`: sizes and named choices of the task's network.
    `subset`: how much of each part of the data is kept, as the task counts it, or None for all.
    `hyperparameters`: every argument of the optimizer that enters its arithmetic.
    `seed`: fixes initialization, data order and noise, each from its own generator and whatever the optimizer.
    `dtype`: float32 or float64. `threads`: of torch, during the run.
    `clip_norm`: the gradient is scaled down to this norm, over all parameters, where it is longer. None: as it is.
    `anneal`: (factor, full): the rate is multiplied by factor^max(epoch + 1 − full, 0), epochs counted from 0.
    `row_lazy`: tables of which a batch uses some rows get sparse gradients, so only these rows are updated.
    `device`: "cpu" or "cuda". On "cuda" the same spec gives the same curves to rounding only.
    """

    task: str
    task_version: int
    profile: str
    model: Mapping[str, Any] = field(hash=False)
    data: str
    data_sha256: str
    optimizer: str
    optimizer_version: int
    hyperparameters: Mapping[str, Any] = field(hash=False)
    seed: int
    steps: int
    batch: int
    evaluate_every: int
    subset: tuple[int, ...] | None = None
    dtype: str = "float32"
    threads: int = 1
    clip_norm: float | None = None
    anneal: tuple[float, int] | None = None
    row_lazy: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("steps", 0), ("batch", 1), ("evaluate_every", 1), ("threads", 1)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value < 2**63:
                raise ValueError(f"{name} must be an integer from {least} to 2^63 − 1, not {value!r}")
        for name, choices in (("dtype", ("float32", "float64")), ("device", ("cpu", "cuda")), ("row_lazy", (0, 1))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be {choices[0]} or {choices[1]}, not {getattr(self, name)!r}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise ValueError(f"clip_norm must be positive and finite, not {self.clip_norm!r}")
        self._set_types()

    def _set_types(self) -> None:
        def set_to(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for name, integers in (("hyperparameters", False), ("model", True)):
            values = sorted(getattr(self, name).items())
            set_to(name, {key: _typed(value, integers=integers) for key, value in values})
        set_to("row_lazy", bool(self.row_lazy))
        set_to("subset", None if self.subset is None else tuple(self.subset))
        set_to("clip_norm", None if self.clip_norm is None else float(self.clip_norm))
        if self.anneal is not None:
            factor, full = self.anneal
            set_to("anneal", (float(factor), int(full)))

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """All fields as JSON has them, without later ones that are at their default."""
        defaults = {known.name: known.default for known in fields(self)}
        return {name: value for name, value in asdict(self).items() if name not in LATER or value != defaults[name]}

    @functools.cached_property
    def id(self) -> str:
        """sha256 of the canonical JSON of `config`."""
        return _digest(self.config)

    @property
    def lr(self) -> float:
        """The learning rate."""
        return float(self.hyperparameters["lr"])

    @property
    def train_every(self) -> int:
        """How many steps a value of a record's `train_loss` is the mean of: 1, or in a long run an evaluation's."""
        return 1 if self.steps <= LONG else self.evaluate_every


# ---------------------------------------------------------------- the record


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
    def outcome_sha256(self) -> str:
        """Hash of all that must be the same, bit for bit, when the same spec is run again."""
        return _digest([self.status, self.step, _strict(self.curves), _strict(self.metrics)])

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
        return _canonical({**payload, "sha256": _digest(payload)}) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read `to_json`'s line. Raises `ValueError` where it is damaged, `RecordError` for a newer schema."""
        payload = json.loads(text)
        if not isinstance(payload, dict) or payload.pop("sha256", None) != _digest(payload):
            raise ValueError("the content does not match its sha256")
        if payload["schema"] > SCHEMA:
            raise RecordError(
                f"the record has schema {payload['schema']}, this nadam_ref reads up to {SCHEMA}; install a newer one"
            )
        config = payload["config"]
        unknown = set(config) - {known.name for known in fields(RunSpec)}
        if unknown:
            raise ValueError(f"the config has unknown keys: {', '.join(sorted(unknown))}")
        return cls(
            spec=RunSpec(**config),
            status=payload["status"],
            reason=payload["reason"],
            step=payload["step"],
            curves={name: [float(v) for v in values] for name, values in payload["curves"].items()},
            metrics={name: float(value) for name, value in payload["metrics"].items()},
            provenance=payload["provenance"],
        )


def _strict(value: Any) -> Any:
    """NaN and infinities as the strings "nan", "inf", "-inf": JSON has no numbers for them, `float` reads them back."""
    if isinstance(value, Mapping):
        return {name: _strict(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    return value if math.isfinite(value) else str(value)


# ---------------------------------------------------------------- provenance


@functools.cache
def _surroundings() -> dict[str, Any]:
    package = Path(nadam_ref.__file__).parent
    return {
        "nadam_ref": nadam_ref.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        **checkout(package.parent, package.name),
    }


def provenance(spec: RunSpec, wall_seconds: float) -> dict[str, Any]:
    """Where, when, with what and under which protocol a run was made, and how long it took."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    protocol = definition.sha256(spec.task, spec.profile)
    more = {"gpu": torch.cuda.get_device_name()} if spec.device == "cuda" and torch.cuda.is_available() else {}
    if spec.row_lazy and spec.device == "cpu":  # with a compiler and without, rows are equal to rounding only
        more["row_kernel"] = "compiled" if compiles("cpu") else "none"
    return {**_surroundings(), **more, "protocol_sha256": protocol, "time": now, "wall_seconds": round(wall_seconds, 6)}


# ---------------------------------------------------------------- the store


class Store:
    """A folder of records. Several processes may use one at once; it may be moved or copied."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, spec: RunSpec) -> Path:
        """Where the record of `spec` stands or would stand."""
        return self.folder / f"{spec.id}.json"

    def get(self, spec: RunSpec) -> Record | None:
        """The record of `spec`, or None where there is none. A damaged file is set aside, with a warning."""
        return self._read(self.path(spec))

    def put(self, record: Record) -> None:
        """Keep a record. A second one of the same spec must agree with the first bit for bit; the first is kept.

        A run that failed (`FAILED`) gives way to any later one of its spec, and to an earlier one with a result.
        Raises `RecordError` where two results on a CPU differ, a free audit of determinism, and where the record cannot
        be written.
        """
        kept = self.get(record.spec)
        if kept is None or kept.status in FAILED:
            try:
                write_whole(self.path(record.spec), record.to_json())
            except OSError as error:
                raise RecordError(
                    f"cannot write to the store {self.folder}: {error.strerror}; mend that and give the same command "
                    "again, what is finished is kept"
                ) from error
        elif record.status in FAILED or record.spec.device != "cpu":
            return
        elif kept.outcome_sha256 != record.outcome_sha256:
            raise RecordError(_contradiction(self.path(record.spec), kept, record))

    def __iter__(self) -> Iterator[Record]:
        """All whole records, in the order of their names."""
        for path in sorted(self.folder.glob("*.json")):
            record = self._read(path)
            if record is not None:
                yield record

    def _read(self, path: Path) -> Record | None:
        try:
            record = Record.from_json(path.read_text(encoding="utf-8"))
            if record.spec.id != path.stem:
                raise ValueError("the config does not match the file's name")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RecordError(f"cannot read {path}: {error.strerror}") from error
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            self._set_aside(path, error)
            return None
        return record

    def _set_aside(self, path: Path, error: Exception) -> None:
        quarantine = self.folder / "damaged"
        target = quarantine / f"{path.stem}.{uuid.uuid4().hex[:8]}.json"
        try:
            quarantine.mkdir(exist_ok=True)
            path.replace(target)
        except OSError as problem:
            raise RecordError(f"{path} is damaged ({error}) and cannot be set aside: {problem.strerror}") from problem
        warnings.warn(f"{path.name} is damaged ({error}); moved to {target}, the run is to be made again", stacklevel=4)


def _contradiction(path: Path, kept: Record, new: Record) -> str:
    def made(record: Record) -> str:
        by = record.provenance
        kernel = f", row kernel {by['row_kernel']}" if "row_kernel" in by else ""
        where = f"torch {by.get('torch')}, {by.get('cpu')}, {by.get('cpu_capability')}{kernel}"
        return f"{record.outcome_sha256[:16]} ({where})"

    return (
        f"two runs of one spec differ: {path} has {made(kept)}, the new run {made(new)}. With the same wheel, CPU "
        "capability and row kernel this is a fault; otherwise keep the records of each machine in a store of their own"
    )

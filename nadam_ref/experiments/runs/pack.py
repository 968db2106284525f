"""A release of records: a folder of three files, the same bytes for the same records, small enough for a repository.

`runs.csv`: a line for each run: its specification, how it ended, its metrics.
`curves.npz`: every curve, end to end in the order of the lines: NAME has the values, NAME.length how many a run has.
`manifest.json`: what the pack holds, where the runs were made, and the sha256 of the other two.

In a pack of schema 1 reasons are text as it is. One of schema 2 has them as JSON, because there is one that a table
cannot hold: csv leaves a carriage return without quotes, and surrogates have no UTF-8.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import numpy.typing as npt

from ...errors import NadamRefError
from ...files import read_plain, write_whole
from .record import Record, checked
from .spec import CONFIG, RunSpec, canonical

PLAIN, SCHEMA = 1, 2
RUNS, CURVES, MANIFEST = "runs.csv", "curves.npz", "manifest.json"
ENDING = ("status", "reason", "step")
OWN = ("time", "wall_seconds")  # of a run's provenance; all else is common to many runs
CPU = "cpu_seconds"  # its own too, where it was measured
Array = npt.NDArray[Any]

#: Fields of a spec that are text; all others are in the table as JSON.
TEXTS = frozenset(name for name, kind in get_type_hints(RunSpec).items() if kind is str)

#: What a reason may have in it that a table cannot hold as it is.
UNTABLED = re.compile(r"[\x00\r\ud800-\udfff]")

#: What reading content that somebody else made up can end in.
MALFORMED = (ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError, EOFError, RecursionError)
UNPACKED = (OSError, MemoryError, NotImplementedError, RuntimeError, zlib.error, zipfile.BadZipFile)

#: Of a pack's file, in bytes.
LARGEST = 1 << 31


class PackError(NadamRefError):
    """A pack cannot be made of these records, or its files are not those that were released."""


# ---------------------------------------------------------------- writing


def write(folder: str | Path, records: Iterable[Record]) -> list[Path]:
    """Write the pack of `records` into `folder` and return its files. The manifest comes last.

    It is read back before it takes the place of an older one, which is lost only then.

    Raises `PackError` for no records, where runs of one task and profile were made under different protocols, where a
    file cannot be written, and where the pack would not be read back as these records.
    """
    folder, ordered = Path(folder), sorted(records, key=lambda record: record.spec.id)
    if not ordered:
        raise PackError("there are no records to pack")
    _check_protocols(ordered)
    contents = _contents(ordered)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".part") as made:
            for name, content in contents.items():
                write_whole(Path(made) / name, lambda file, content=content: file.write(content))  # type: ignore[misc]
            _check_reading(Path(made), contents)
            return [(Path(made) / name).replace(folder / name) for name in contents]
    except OSError as error:
        raise PackError(f"cannot write the pack {folder}: {error.strerror}") from error


def _contents(records: Sequence[Record]) -> dict[str, bytes]:
    """The files of a pack by name."""
    by_text = {canonical(_place(record)): _place(record) for record in records}
    places = [by_text[text] for text in sorted(by_text)]
    schema = SCHEMA if any(UNTABLED.search(record.reason) for record in records) else PLAIN
    contents = {RUNS: _table(records, places, schema), CURVES: _npz(_arrays(records))}
    manifest = {
        "schema": schema,
        "runs": dict(sorted(Counter(record.spec.kind for record in records).items())),
        "statuses": dict(sorted(Counter(record.status for record in records).items())),
        "made": places,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    contents[MANIFEST] = text.encode(errors="backslashreplace")  # a surrogate of a traceback as JSON spells it
    return contents


def _check_reading(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Raise `PackError` where what is read from a folder is not what these files were made of."""
    try:
        same = _contents(read(folder)) == contents
    except PackError as error:
        raise PackError(f"these records would make a pack that cannot be read: {error}") from error
    if not same:
        raise PackError("these records would not be read back from a pack as they are; report it, with their store")


def _check_protocols(records: Sequence[Record]) -> None:
    protocols: dict[str, set[str]] = {}
    for record in records:
        protocols.setdefault(f"{record.spec.task}/{record.spec.profile}", set()).add(record.protocol_sha256[:12])
    mixed = [f"{part} ({', '.join(sorted(hashes))})" for part, hashes in protocols.items() if len(hashes) > 1]
    if mixed:
        raise PackError(
            f"runs of different protocols do not go into one pack: {'; '.join(mixed)}; sweep into an empty store"
        )


def _place(record: Record) -> dict[str, Any]:
    """The surroundings that a record was made in."""
    return {name: value for name, value in record.provenance.items() if name not in (*OWN, CPU)}


def _table(records: Sequence[Record], places: Sequence[Mapping[str, Any]], schema: int) -> bytes:
    metrics = sorted({name for record in records for name in record.metrics})
    number = {canonical(place): index for index, place in enumerate(places)}
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    own = [*OWN, CPU] if any(CPU in record.provenance for record in records) else OWN
    lines.writerow(["id", *CONFIG, *ENDING, *metrics, *own, "made"])
    for record in records:
        config = {name: getattr(record.spec, name) for name in CONFIG}
        lines.writerow(
            [
                record.spec.id,
                *(value if name in TEXTS else canonical(value) for name, value in config.items()),
                record.status,
                record.reason if schema == PLAIN else canonical(record.reason),
                record.step,
                *(repr(float(record.metrics[name])) if name in record.metrics else "" for name in metrics),
                *(canonical(record.provenance[name]) if name in record.provenance else "" for name in own),
                number[canonical(_place(record))],
            ]
        )
    return text.getvalue().encode()


def _arrays(records: Sequence[Record]) -> dict[str, Array]:
    """Each curve of all runs, end to end, in single precision where no digit is lost; −1 where a run has no such."""
    arrays: dict[str, Array] = {}
    for name in sorted({name for record in records for name in record.curves}):
        values = np.array([x for record in records for x in record.curves.get(name, [])], dtype=np.float64)
        values[np.isnan(values)] = np.nan  # one NaN for all: they come with signs that a record does not keep
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        arrays[name] = single if np.array_equal(single, values, equal_nan=True) else values
        lengths = [len(record.curves[name]) if name in record.curves else -1 for record in records]
        arrays[f"{name}.length"] = np.array(lengths, dtype=np.int64)
    return arrays


def _npz(arrays: Mapping[str, Array]) -> bytes:
    """An npz file without time stamps and without compression, whose bytes would depend on the zlib that made them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, array.astype(array.dtype.newbyteorder("<")), (1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), entry.getvalue())
    return buffer.getvalue()


# ---------------------------------------------------------------- reading


def read(folder: str | Path) -> list[Record]:
    """The records of a pack, in the order of their ids, equal to those that were packed.

    Raises `PackError` where a file is missing, is not the one in the manifest, is of a newer schema or holds no curves.
    """
    folder = Path(folder)
    try:
        manifest = json.loads(read_plain(folder / MANIFEST, LARGEST).decode())
        contents = {name: read_plain(folder / name, LARGEST) for name in (RUNS, CURVES)}
        schema, places = int(manifest["schema"]), list(manifest["made"])
        wanted = {name: str(manifest["files"][name]) for name in contents}
    except (*MALFORMED, OSError) as error:
        raise PackError(f"{folder} is no pack of records: {error}") from error
    if schema > SCHEMA:
        raise PackError(f"{folder} has schema {schema}, this nadam_ref reads up to {SCHEMA}")
    for name, content in contents.items():
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != wanted[name]:
            raise PackError(f"{folder / name} has sha256 {sha256}, its manifest says {wanted[name]}")
    try:
        curves = _unzipped(contents[CURVES])
    except (*MALFORMED, *UNPACKED) as error:
        raise PackError(f"{folder / CURVES} holds no curves: {error}") from error
    try:
        table = list(csv.DictReader(io.StringIO(contents[RUNS].decode(), newline="")))
        split = _split(curves, len(table))
        if schema > PLAIN:
            table = [{**line, "reason": json.loads(line["reason"])} for line in table]
        return [_record(line, curve, places) for line, curve in zip(table, split, strict=True)]
    except (*MALFORMED, csv.Error) as error:
        raise PackError(f"{folder} holds what is no record: {type(error).__name__}: {error}") from error


def _unzipped(content: bytes) -> dict[str, Array]:
    """The arrays of an npz file. Raises `ValueError` for pickled ones, and where there is more in it than its size."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > len(content):
        raise ValueError(f"{len(content):,} bytes that unpack to {size:,}")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _split(arrays: Mapping[str, Array], runs: int) -> list[dict[str, list[float]]]:
    """The curves of each run."""
    split: list[dict[str, list[float]]] = [{} for _ in range(runs)]
    for name in (name for name in arrays if not name.endswith(".length")):
        values, at = arrays[name].astype(np.float64).tolist(), 0
        for run, length in zip(split, arrays[f"{name}.length"].tolist(), strict=True):
            if length >= 0:
                run[name] = values[at : at + length]
                at += length
        if at != len(values):
            raise ValueError(f"the curves {name} have {len(values):,} values, the lengths of the runs add up to {at:,}")
    return split


def _record(line: Mapping[str, str], curves: Mapping[str, list[float]], places: Sequence[Any]) -> Record:
    config: dict[str, Any] = {name: line[name] if name in TEXTS else json.loads(line[name]) for name in CONFIG}
    place = dict(enumerate(places))[int(line["made"])]
    spec = RunSpec(**config, protocol_sha256=place.get("protocol_sha256", ""))
    if spec.id != line["id"]:
        raise PackError(f"the pack's run {line['id']} has the specification of {spec.id}")
    metrics = [name for name in line if name not in {"id", "made", *CONFIG, *ENDING, *OWN, CPU}]
    return checked(
        spec=spec,
        status=line["status"],
        reason=line["reason"],
        step=int(line["step"]),
        curves=curves,
        metrics={name: float(line[name]) for name in metrics if line[name]},
        provenance={**place, **{name: json.loads(line[name]) for name in (*OWN, CPU) if line.get(name)}},
    )

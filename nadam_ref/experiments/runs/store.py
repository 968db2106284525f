"""The folder that keeps records: one run, one JSON file, named by the run's id."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

from ...files import held, read_plain, write_new, write_whole
from .record import FAILED, Record, RecordError
from .spec import RunSpec

#: Of a record, in bytes. The longest of this book has a thousandth of it.
LARGEST = 1 << 28


#: Beside records, what is written into a store.
BESIDE = (".running", "checkpoints", "damaged")


def check_links(folder: Path) -> None:
    """Raise `RecordError` where a store leads elsewhere what is written into it. It may itself be a link."""
    for path in (folder / name for name in BESIDE):
        if path.is_symlink():
            raise RecordError(f"{path} is a link, so what is written there would lie outside of the store; remove it")


class Store:
    """A folder of records. Several processes may use one at once; it may be moved or copied."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def path(self, spec: RunSpec) -> Path:
        """The file of the record of `spec`, whether it is there or not."""
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
        kept = self._keep(record)
        if kept is None or record.status in FAILED or record.spec.device != "cpu":
            return
        if kept.outcome_sha256 != record.outcome_sha256:
            raise RecordError(_contradiction(self.path(record.spec), kept, record))

    def _keep(self, record: Record) -> Record | None:
        """Write a record unless there is a result; that result.

        Of two writers at once the second sees what the first has written.
        """
        path, text = self.path(record.spec), record.to_json()
        try:
            if self.get(record.spec) is None and write_new(path, text):
                return None
            with held(path):
                kept = self.get(record.spec)
                if kept is None or kept.status in FAILED:
                    write_whole(path, text)
                    return None
                return kept
        except OSError as error:
            raise RecordError(
                f"cannot write to the store {self.folder}: {error.strerror}; fix that and give the same command "
                "again, what is finished is kept"
            ) from error

    def __iter__(self) -> Iterator[Record]:
        """All whole records, in the order of their names."""
        for path in sorted(self.folder.glob("*.json")):
            record = self._read(path)
            if record is not None:
                yield record

    def _read(self, path: Path) -> Record | None:
        try:
            record = Record.from_json(read_plain(path, LARGEST).decode())
            if record.spec.id != path.stem:
                raise ValueError("the config does not match the file's name")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RecordError(f"cannot read {path}: {error.strerror}") from error
        except RecordError as error:
            raise RecordError(f"{path}: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            self._set_aside(path, error)
            return None
        return record

    def _set_aside(self, path: Path, error: Exception) -> None:
        check_links(self.folder)
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
        f"two runs of one spec differ: {path} has {made(kept)}, the new run {made(new)}. With the same wheel, "
        "processor, CPU capability and row kernel this is a fault; otherwise keep the records of each machine in a "
        "store of their own"
    )

"""Many runs: skip those that the store has, have the others made, and store each as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Container, Iterable

from .driver import Control, Driver
from .executor import Client, executor
from .locks import Claims
from .record import FAILED, Record
from .spec import RunSpec
from .store import Store


def sweep(
    specs: Iterable[RunSpec],
    store: Store,
    *,
    workers: int = 1,
    client: Client | None = None,
    progress: Callable[[int, int, Record], None] | None = None,
    control: Control | None = None,
    limit_seconds: float | None = None,
) -> list[Record]:
    """Records of all `specs`, in their order; what the store has is not run again, unless it failed.

    `workers`: processes that run at once on this machine, one thread each; or `client`: what `executor` gives. Workers
    elsewhere must see the store's folder under the same path, to leave checkpoints there.
    `progress(done, total, record)` is called for every distinct run, the stored ones first.
    `control`: ends the sweep early; runs without a record are then left out of the result.
    `limit_seconds`: of wall-clock time for each run.

    Each record is stored as soon as it is there, so a sweep that was interrupted goes on where it stopped, and several
    sweeps may share a store. A run that raises, or whose worker dies three times (on a scheduler of one's own as often
    as its settings say), has status `crashed`.

    Raises `ValueError` for workers < 1, `SweepError` where no worker is to be had, `RecordError` as `Store.put`.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    ordered = list(specs)
    distinct = {spec.id: spec for spec in ordered}
    stored = {name: kept for name, spec in distinct.items() if (kept := store.get(spec)) is not None}
    records = {name: kept for name, kept in stored.items() if kept.status not in FAILED}
    _forget_finished(store, records)
    for done, kept in enumerate(list(records.values()), start=1):
        if progress:
            progress(done, len(distinct), kept)
    missing = [spec for name, spec in distinct.items() if name not in records]
    missing.sort(key=lambda spec: spec.id in stored)  # those that failed before come last
    if missing:
        local = executor(min(workers, len(missing))) if client is None else contextlib.nullcontext(client)
        with Claims(store.folder) as claims, local as dask_client:
            driver = Driver(dask_client, store, claims, control or Control(), limit_seconds)
            try:
                for record in driver.records(missing):
                    records[record.spec.id] = record
                    if progress:
                        progress(len(records), len(distinct), record)
            finally:
                driver.close()
    return [records[spec.id] for spec in ordered if spec.id in records]


def _forget_finished(store: Store, finished: Container[str]) -> None:
    """Remove the checkpoints of runs that have a result, which a sweep leaves that is killed as it stores one."""
    folder = store.folder / "checkpoints"
    if folder.is_symlink():  # what lies there is not the store's
        return
    for path in folder.glob("*.pt"):
        if path.stem in finished:
            with contextlib.suppress(OSError):
                path.unlink()

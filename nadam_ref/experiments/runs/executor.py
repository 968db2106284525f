"""Worker processes for a sweep: Dask's, on this machine or under a scheduler that runs already."""

from __future__ import annotations

import contextlib
import gc
import logging
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import NadamRefError
from . import worker

# All of Dask that a sweep uses is imported here: its settings are read by that, and may be wrong.
__all__ = ["DEATHS", "Client", "Future", "KilledWorker", "LocalCluster", "SweepError", "executor"]


class SweepError(NadamRefError):
    """No worker could be reached. What was finished before is in the store."""


try:
    import dask
    from distributed import Client, Future, KilledWorker, LocalCluster
    from distributed.security import Security
except ModuleNotFoundError:
    raise
except Exception as error:  # it reads its settings as it is imported
    variables = ", ".join(name for name in os.environ if name.startswith("DASK_")) or "DASK_*, of which none is set"
    raise SweepError(
        f"Dask cannot use its settings: {error}; correct or remove them: variables {variables}, and files "
        "~/.config/dask/*.yaml"
    ) from error

#: A run whose worker process dies this often, or leaves with its result, is given up as `crashed`.
DEATHS = 3

#: Settings of Dask for workers on this machine; all others are its defaults, whatever a person has set.
LOCAL: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": DEATHS - 1,
    "distributed.scheduler.worker-ttl": None,  # a machine that was asleep has lost no worker
    "distributed.worker.multiprocessing-method": "spawn",
}

#: Environment variable with a file that a worker process makes where it imports a script that sweeps.
IMPORTED = "NADAM_REF_IMPORTED"

#: How long a scheduler may take to answer as it is connected to.
ANSWER_SECONDS = 10.0


@contextlib.contextmanager
def executor(workers: int = 1, scheduler: str | None = None, *, nice: int = 0) -> Iterator[Client]:
    """A client of the Dask scheduler at an address, or of a cluster of `workers` processes on this machine.

    For several calls of `sweep`. `nice`: niceness of the processes, where there is such a thing; those of a scheduler
    keep their own. Raises `ValueError` for workers < 1, `SweepError` where no scheduler answers or no worker starts,
    `SystemExit` where a script calls it outside of `if __name__ == "__main__":`.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    _refuse_import()
    if scheduler is not None:
        with _connected(scheduler) as client:
            yield client
        return
    own = _own_settings()
    with dask.config.set({**dask.config.merge(*dask.config.defaults), **LOCAL}), contextlib.ExitStack() as stack:
        with tempfile.TemporaryDirectory() as folder:
            imported = Path(folder, "imported")
            try:
                os.environ[IMPORTED] = str(imported)
                cluster = stack.enter_context(_cluster(workers, nice))
                client = stack.enter_context(Client(cluster, set_as_default=False))
            except Exception as error:
                if imported.exists():
                    sys.exit(_unguarded())
                text = f"no worker could be started on this machine: {error.__cause__ or error}{own}"
                raise SweepError(text) from error
            finally:
                del os.environ[IMPORTED]
        yield client


def _connected(address: str) -> Client:
    try:
        return Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except Exception as error:  # of many kinds: addresses, certificates, versions
        text = f"no Dask scheduler answers at {address}: {error}{_own_settings()}"
    gc.collect()  # ends the half-made client here: where a later collection does, Dask can lock itself
    raise SweepError(text)


def _cluster(workers: int, nice: int) -> LocalCluster:
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        protocol="tcp",
        security=Security(require_encryption=False),
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        silence_logs=logging.CRITICAL,
        preload=[worker.__name__],
        env={worker.NICENESS: str(nice)},
    )


def _refuse_import() -> None:
    """End a worker process that imports a script which sweeps as it is imported: it would start workers, and so on."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        with contextlib.suppress(KeyError, OSError):
            Path(os.environ[IMPORTED]).touch()
        sys.exit(1)


def _unguarded() -> str:
    script = getattr(sys.modules["__main__"], "__file__", "the script")
    return (
        f"nadam-ref: {script} sweeps as it is imported, and every worker process imports it: write "
        '`if __name__ == "__main__":` above what calls `sweep` or `executor`, and indent that'
    )


def _own_settings() -> str:
    """The Dask settings of a person that may be why it does not work."""
    usual = dict(_flat(dask.config.merge(*dask.config.defaults)))
    settings = [(name, value) for name, value in _flat(dask.config.config) if name.startswith("distributed")]
    own = [f"{name}: {value!r}" for name, value in settings if usual.get(name) != value]
    return f"; Dask settings (DASK_* variables, ~/.config/dask): {', '.join(own)}" if own else ""


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        where = f"{above}{name.replace('_', '-')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{where}.")
        else:
            yield where, value

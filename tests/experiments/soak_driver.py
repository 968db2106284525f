"""A driver to be killed: sweeps NUMBER tiny runs into STORE with two workers; while the file FULL exists the disk is.

`python soak_driver.py STORE NUMBER FULL`
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

from specs import spec

from nadam_ref.experiments.runs.record import RecordError
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.runs.sweep import sweep


def runs(number: Any) -> Any:
    """Short runs of two optimizers, each with a seed of its own."""
    return [spec(("Adam", "Nadam")[seed % 2], seed=seed) for seed in range(number)]


def main(store: Any, number: Any, full: Any) -> None:
    sync = os.fsync

    def fsync(descriptor: Any) -> None:
        if Path(full).exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    os.fsync = fsync
    try:
        sweep(runs(int(number)), Store(store), workers=2)
    except RecordError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])

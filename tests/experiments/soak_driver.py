"""A driver to be killed: sweeps NUMBER tiny runs into STORE with two workers; while the file FULL exists the disk is.

`python soak_driver.py STORE NUMBER FULL`
"""

import dataclasses
import errno
import os
import sys
from pathlib import Path

from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.runs.record import RecordError
from nadam_ref.experiments.runs.store import Store
from nadam_ref.experiments.runs.sweep import sweep


def specs(number):
    """The smoke runs of the images, with further seeds."""
    first = planning.specs("smoke", "digits")
    return [
        dataclasses.replace(spec, seed=spec.seed + 10 * i) for i in range(-(-number // len(first))) for spec in first
    ][:number]


def main(store, number, full):
    sync = os.fsync

    def fsync(descriptor):
        if Path(full).exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    os.fsync = fsync
    try:
        sweep(specs(int(number)), Store(store), workers=2)
    except RecordError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])

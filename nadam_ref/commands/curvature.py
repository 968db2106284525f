"""`nadam-ref curvature`: the runs of the chapter on second-order methods."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from .console import add_store

if TYPE_CHECKING:
    from ..experiments.runs.record import Record


def add(commands: Any) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser("curvature", help="train by first- and second-order methods, counted in passes")
    add_store(parser)
    parser.set_defaults(run=_curvature, extra="experiments")


def _curvature(args: argparse.Namespace) -> int:
    from ..experiments.runs.store import Store
    from ..experiments.second_order_study import study

    records = study(Store(args.store), _show)
    print(f"{len(records)} runs are in {args.store}")
    return 0


def _show(record: Record) -> None:
    from ..experiments.second_order_study import arm, by_passes

    spec, losses = record.spec, by_passes(record)[1]
    print(
        f"{arm(spec)}, η = {spec.lr:g}, seed {spec.seed}: {record.status}, training loss {losses[-1]:.4g}",
        file=sys.stderr,
        flush=True,
    )

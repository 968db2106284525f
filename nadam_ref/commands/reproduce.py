"""`nadam-ref known`: repeat a published result on real data."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from ..files import user_path

if TYPE_CHECKING:
    from ..experiments.runs.train import Training

__all__ = ["NAMES", "add"]

NAMES = {"jones": "the autoencoder, ten minutes", "ptb": "the language model, an hour or more"}


def add(commands: Any) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser("known", help="repeat a published result on real data, to check the experiments")
    parser.add_argument("name", choices=NAMES, help="; ".join(f"{name}: {what}" for name, what in NAMES.items()))
    parser.add_argument("--store", type=user_path, default="records", metavar="FOLDER", help="default: ./records")
    parser.set_defaults(run=_known, extra="experiments")


def _known(args: argparse.Namespace) -> int:
    from ..experiments.reproductions import KNOWN, reach
    from ..experiments.runs.store import Store

    known, record = KNOWN[args.name], reach(args.name, Store(args.store), progress=_show)
    print(known.source)
    if record.status == "finished":
        for metric, value in known.measured(record).items():
            print(f"{metric}: {value:.5g} (published {known.published[metric]:.5g})")
    reached = known.reached(record)
    print("reached" if reached else f"not reached: {record.status} {record.reason}".rstrip())
    return 0 if reached else 2


def _show(training: Training) -> None:
    log, spec = training.log, training.spec
    dev = ", ".join(f"dev {name} {value:.5g}" for name, value in log.latest.items())
    pace = training.seconds / max(log.step, 1) * 1e3
    print(f"step {log.step:,}/{spec.steps:,}, {pace:.0f} ms a step, {dev}", file=sys.stderr, flush=True)

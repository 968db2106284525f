"""`nadam-ref reproduce`: repeat a published result on real data."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from .console import add_store, look_up, say

if TYPE_CHECKING:
    from ..experiments.runs.training import Training


def add(commands: Any) -> None:
    """Add the command to those of the parser; it was called `known` once."""
    what = "repeat a published result on real data, to check the experiments"
    parser = commands.add_parser("reproduce", aliases=["known"], help=what)
    names = "jones: the autoencoder, ten minutes; ptb: the language model, an hour or more"
    parser.add_argument("name", metavar="NAME", help=names)
    add_store(parser)
    parser.set_defaults(run=_reproduce, extra="experiments")


def _reproduce(args: argparse.Namespace) -> int:
    from ..experiments.reproductions import REPRODUCTIONS, reproduce
    from ..experiments.runs.store import Store

    published = look_up(REPRODUCTIONS, "reproduction", args.name)
    record = reproduce(args.name, Store(args.store), progress=_show)
    print(published.source)
    if record.status == "finished":
        for metric, value in published.measured(record).items():
            print(f"{metric}: {value:.5g} (published {published.published[metric]:.5g})")
    reached = published.reached(record)
    say("reached" if reached else f"not reached: {record.status} {record.reason}".rstrip())
    return 0 if reached else 2


def _show(training: Training) -> None:
    log, spec = training.log, training.spec
    dev = ", ".join(f"dev {name} {value:.5g}" for name, value in log.latest.items())
    pace = training.seconds / max(log.step, 1) * 1e3
    print(f"step {log.step:,}/{spec.steps:,}, {pace:.0f} ms a step, {dev}", file=sys.stderr, flush=True)

"""`nadam-ref bench`: how long a step takes."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from .. import OPTIMIZERS, bench
from ..errors import NadamRefError
from ..files import user_path, write_whole
from ..fused.pointers import NoKernelError
from .console import fail, positive, print_table


def add(commands: Any) -> None:
    """Add the command to those of the parser."""
    parser = commands.add_parser(
        "bench", help="how long a step takes, beside the memory-bandwidth bound and torch's optimizers"
    )
    parser.add_argument(
        "what",
        choices=("step", "size", "sparse", "replicas"),
        help="step: each rule over three lists; size: 10^3 to 10^8 parameters, 1 to 10,000 tensors; "
        "sparse: rows of embeddings, beside SparseAdam; replicas: 16 runs in one step",
    )
    parser.add_argument(
        "--list", action="append", choices=tuple(bench.LISTS), help="of `step`; may be repeated (default: all)"
    )
    rules = "may be repeated (default: all; for `size` Nadam)"
    parser.add_argument("--rule", action="append", choices=tuple(OPTIMIZERS), help=rules)
    parser.add_argument("--rounds", type=positive(int), default=7, metavar="N", help="default: 7")
    parser.add_argument("--threads", type=positive(int), default=1, metavar="N", help="default: 1")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument(
        "--json", type=user_path, metavar="FILE", help="write the results with machine and versions, too"
    )
    parser.set_defaults(run=_bench)


def _bench(args: argparse.Namespace) -> int:
    if args.device == "cuda" and not torch.cuda.is_available():
        return fail(f"there is no CUDA device: nadam-ref bench {args.what} --device cpu")
    if args.device == "cuda" and args.what == "sparse":
        return fail("sparse is measured on the CPU alone: nadam-ref bench sparse --device cpu")
    if args.json:
        _check_place(args.json)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.what == "step":
        lists, rules = args.list or list(bench.LISTS), args.rule or list(OPTIMIZERS)
        results = bench.step(lists, rules, args.device, args.rounds, _bar)
    elif args.what == "size":
        results = bench.size(args.rule or ["Nadam"], args.device, args.rounds, _bar)
    elif args.what == "sparse":
        results = bench.sparse(args.rounds)
    else:
        results = bench.replicas(args.rounds, args.device)
    print_table(bench.rows(results))
    bandwidths = []
    if args.what in ("step", "size"):
        print(f"\nbound: {bench.bound_by(args.device)}")
        if args.device == "cpu":
            with contextlib.suppress(NoKernelError):  # as was just said
                bandwidths = bench.bandwidth(args.rounds)
                print_table(bench.bandwidth_rows(bandwidths))
    if args.json:
        report = bench.report(args.what, args.rounds, args.device, results, bandwidths)
        with _writing(args.json):
            write_whole(args.json, json.dumps(report, indent=1) + "\n")
    return 0


def _check_place(path: Path) -> None:
    """Raise `NadamRefError` where no file can be written, before minutes are spent on what it is for."""
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        with tempfile.TemporaryFile(dir=path.parent):
            pass


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NadamRefError(f"cannot write {path}: {error}; name another file with --json") from error


def _bar(cases: list[bench.Case]) -> Iterable[bench.Case]:
    """A progress bar on a terminal, where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return cases
    return tqdm(cases, unit="list", leave=False, disable=None)

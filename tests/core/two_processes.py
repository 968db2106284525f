"""Run by `test_distributed`: one of two processes, which trains by every wrapper beside an optimizer of one process.

`python two_processes.py RANK FOLDER` writes `RANK.json` into the folder: by case, how far the two are apart at most,
or what was raised.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.distributed.fsdp
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from nadam_ref import OPTIMIZERS

PATHS = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}
#: Inputs and hidden units. A weight of 2¹⁹ elements is large; of the huge one each process has a large part. An odd
#: number of units is shared out unevenly, which torch does not allow tensor parallel.
SMALL, LARGE, HUGE, EVEN = (6, 5), (725, 725), (1026, 1025), (725, 726)
STEPS = 2


def net_of(widths: Any, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    first, second = widths
    return nn.Sequential(nn.Linear(first, second), nn.Tanh(), nn.Linear(second, 2)).to(dtype)


def whole(x: Any) -> Any:
    return x.detach().full_tensor() if isinstance(x, DTensor) else x.detach()


def apart(ours: Any, theirs: Any) -> Any:
    """How far two tensors are apart at most; numbers above 1 by their ratio."""
    a, b = ours.double(), theirs.double()
    return float(((a - b).abs() / b.abs().clamp(min=1)).max())


def backward(net: nn.Module, widths: Any, step: int, dtype: torch.dtype) -> None:
    x = torch.randn(4, widths[0], generator=torch.Generator().manual_seed(step)).to(dtype)  # the same on both
    net(x).square().mean().backward()


class Pair:
    """A wrapped net with its optimizer, and the same net in one process, which gets the same gradients."""

    def __init__(
        self,
        name: str,
        flags: dict[str, Any],
        widths: Any,
        wrap: Any,
        dtype: torch.dtype = torch.float32,
        optimizer: Any = None,
    ) -> None:
        self.widths, self.dtype = widths, dtype
        alone, net = net_of(widths, dtype), net_of(widths, dtype)
        self.net = wrap(net)
        make = optimizer or (lambda params, **kwargs: OPTIMIZERS[name](params, **kwargs))
        self.optimizer = make(self.net.parameters(), lr=0.01, **flags)
        self.alone = OPTIMIZERS[name](alone.parameters(), lr=0.01, **{**flags, "foreach": False, "fused": None})
        self.params = list(zip(self.net.parameters(), alone.parameters(), strict=True))
        self.step_number = 0

    def step(self, times: Any = STEPS) -> Any:
        """Steps; the largest distance of parameters and state after them."""
        for _ in range(times):
            self.optimizer.zero_grad()
            backward(self.net, self.widths, self.step_number, self.dtype)
            for p, q in self.params:
                q.grad = whole(p.grad).clone()
            self.optimizer.step()
            self.alone.step()
            self.step_number += 1
        return self.distance()

    def distance(self) -> Any:
        distances = [apart(whole(p), q) for p, q in self.params]
        for p, q in self.params:
            state = self.optimizer.state.get(p, {})
            if not isinstance(self.optimizer, ZeroRedundancyOptimizer):
                assert list(state) == list(self.alone.state.get(q, {}))
            for key, x in state.items():
                other = self.alone.state[q][key]
                assert x.dtype == other.dtype
                assert isinstance(x, DTensor) == (isinstance(p, DTensor) and other.dim() > 0)
                distances.append(apart(whole(x), other))
        return max(distances)


def run(*args: Any, **kwargs: Any) -> Any:
    return Pair(*args, **kwargs).step()


def sharded(mesh: Any) -> Any:
    return lambda net: torch.distributed.fsdp.fully_shard(net, mesh=mesh)


def first_layer_plain(mesh: Any) -> Any:
    def wrap(net: nn.Module) -> Any:
        torch.distributed.fsdp.fully_shard(net[2], mesh=mesh)
        return net

    return wrap


def tensor_parallel(mesh: Any) -> Any:
    plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    return lambda net: parallelize_module(net, mesh, plan)


def zero(name: str) -> Any:
    return lambda params, **kwargs: ZeroRedundancyOptimizer(params, optimizer_class=OPTIMIZERS[name], **kwargs)


def checkpointed(name: str, flags: dict[str, Any], mesh: Any, folder: Any, full: Any) -> Any:
    """Steps, saved through torch.distributed.checkpoint, loaded into another pair's optimizer, more steps."""
    first, second = (Pair(name, flags, SMALL, sharded(mesh)) for _ in range(2))
    first.step()
    options = StateDictOptions(full_state_dict=full)
    saved = get_optimizer_state_dict(first.net, first.optimizer, options=options)
    if not full:
        dcp.save({"optimizer": saved}, checkpoint_id=folder)
        saved = get_optimizer_state_dict(second.net, second.optimizer)
        dcp.load({"optimizer": saved}, checkpoint_id=folder)
    set_optimizer_state_dict(second.net, second.optimizer, saved, options=options)
    with torch.no_grad():
        for (p, _), (q, _) in zip(first.params, second.params, strict=True):
            q.copy_(p)
    second.alone, second.step_number = first.alone, first.step_number
    second.params = [(p, q) for (p, _), (_, q) in zip(second.params, first.params, strict=True)]
    return second.step()


def otherwise_laid_out(name: str, flags: dict[str, Any], mesh: Any) -> Any:
    """Gradients laid out unlike their parameters, and parameters on two meshes in one group."""
    both = init_device_mesh("cpu", (2, 1))
    layouts = [
        (mesh, [Shard(0)], [Replicate()]),
        (mesh, [Replicate()], [Partial()]),
        (mesh, [Shard(1)], [Shard(0)]),
        (both, [Shard(0), Replicate()], [Shard(0), Replicate()]),
    ]
    values = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    params = [nn.Parameter(distribute_tensor(values.clone(), on, of_p)) for on, of_p, _ in layouts]
    alone = nn.Parameter(values.clone())
    ours, one = (
        OPTIMIZERS[name](params, **flags),
        OPTIMIZERS[name]([alone], **{**flags, "fused": None, "foreach": False}),
    )
    for step in range(STEPS):
        alone.grad = torch.randn(5, 3, generator=torch.Generator().manual_seed(10 + step))
        for p, (on, _, of_g) in zip(params, layouts, strict=True):
            if of_g[0].is_partial():
                p.grad = DTensor.from_local(alone.grad / 2, on, of_g)
            else:
                p.grad = distribute_tensor(alone.grad.clone(), on, of_g)
        ours.step(), one.step()
    return max(apart(whole(p), alone.detach()) for p in params)


def cases(folder: Any) -> Iterator[Any]:
    """By name, a function that gives the distance."""
    mesh = init_device_mesh("cpu", (2,))
    shard, parallel, ddp = sharded(mesh), tensor_parallel(mesh), DistributedDataParallel
    for name, (path, flags) in itertools.product(OPTIMIZERS, PATHS.items()):
        at = f"{name}, {path}"
        for size, widths in {"small": SMALL, "large": HUGE}.items():
            yield f"FSDP2, {at}, {size}", partial(run, name, flags, widths, shard)
        yield f"tensor parallel, {at}", partial(run, name, flags, EVEN, parallel)
        yield f"DDP, {at}", partial(run, name, flags, LARGE, ddp)
        yield f"ZeRO, {at}", partial(run, name, flags, LARGE, ddp, optimizer=zero(name))
        yield f"mixed with plain, {at}", partial(run, name, flags, SMALL, first_layer_plain(mesh))
        yield f"otherwise laid out, {at}", partial(otherwise_laid_out, name, flags, mesh)
        for dtype in (torch.bfloat16, torch.float16):
            yield f"{dtype}, {at}", partial(run, name, flags, SMALL, shard, dtype)
        yield f"checkpoint, {at}", partial(checkpointed, name, flags, mesh, folder / at, full=False)
        if name != "GD":  # of an optimizer without state, as SGD, torch refuses it
            yield f"checkpoint of the whole, {at}", partial(checkpointed, name, flags, mesh, folder, full=True)
    for name, more in itertools.product(OPTIMIZERS, ({"capturable": True}, {"maximize": True, "weight_decay": 0.1})):
        yield f"FSDP2, {name}, {', '.join(more)}", partial(run, name, more, SMALL, shard)


def main(rank: Any, folder: Any) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo", init_method=(folder / "store").as_uri(), rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    found = {}
    for case, distance in cases(folder):
        try:
            found[case] = distance()
        except Exception:
            found[case] = traceback.format_exc(limit=-6)
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

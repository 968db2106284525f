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

PATHS: dict[str, dict[str, Any]] = {
    "default": {},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "capturable": {"capturable": True},
}
#: Inputs, hidden units, outputs. A weight of 2¹⁹ elements is large; of the huge one each process has a large part. An
#: odd number of units is shared out unevenly, which torch does not allow tensor parallel; of one output, a process has
#: nothing.
SMALL, EVEN, LARGE, HUGE, PARALLEL = (6, 5, 1), (6, 4, 2), (725, 725, 2), (1026, 1025, 2), (725, 726, 2)
SIZES = {"even": EVEN, "uneven": SMALL}
STEPS = 2


def net_of(widths: Any, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    first, second, third = widths
    return nn.Sequential(nn.Linear(first, second), nn.Tanh(), nn.Linear(second, third)).to(dtype)


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
        shared_out = isinstance(self.optimizer, ZeroRedundancyOptimizer)
        states = (self.optimizer.optim if shared_out else self.optimizer).state
        distances = [apart(whole(p), q) for p, q in self.params]
        for p, q in self.params:
            state = states.get(p, {})
            assert list(state) == list(self.alone.state.get(q, {})) or (shared_out and p not in states)
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


def checkpointed(name: str, flags: dict[str, Any], widths: Any, wrap: Any, again: Any, folder: Any = None) -> Any:
    """Steps under one wrapper, saved, loaded into another's optimizer, more steps: to a folder, or else in whole."""
    first, second = (Pair(name, flags, widths, how) for how in (wrap, again))
    first.step()
    options = StateDictOptions(full_state_dict=folder is None)
    saved = get_optimizer_state_dict(first.net, first.optimizer, options=options)
    if folder is not None:
        dcp.save({"optimizer": saved}, checkpoint_id=folder)
        saved = get_optimizer_state_dict(second.net, second.optimizer)
        dcp.load({"optimizer": saved}, checkpoint_id=folder)
    set_optimizer_state_dict(second.net, second.optimizer, saved, options=options)
    with torch.no_grad():
        for (p, _), (q, _) in zip(first.params, second.params, strict=True):
            q.copy_(distribute_tensor(whole(p), q.device_mesh, q.placements) if isinstance(q, DTensor) else whole(p))
    second.alone, second.step_number = first.alone, first.step_number
    second.params = [(p, q) for (p, _), (_, q) in zip(second.params, first.params, strict=True)]
    return second.step()


def consolidated(name: str, flags: dict[str, Any]) -> Any:
    """Steps under ZeRO, its parts gathered in the first process, loaded by all, more steps."""
    first, second = (Pair(name, flags, SMALL, DistributedDataParallel, optimizer=zero(name)) for _ in range(2))
    first.step()
    try:
        first.optimizer.state_dict()
        raise AssertionError("a part of the state was taken for all of it")
    except RuntimeError as error:
        assert "consolidate_state_dict" in str(error)
    first.optimizer.consolidate_state_dict(to=0)
    saved = [first.optimizer.state_dict() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(saved)
    second.optimizer.load_state_dict(saved[0])
    with torch.no_grad():
        for (p, _), (q, _) in zip(first.params, second.params, strict=True):
            q.copy_(p)
    second.alone, second.step_number = first.alone, first.step_number
    second.params = [(p, q) for (p, _), (_, q) in zip(second.params, first.params, strict=True)]
    return second.step()


def whole_state_of_sgd(mesh: Any) -> Any:
    """What torch makes of an optimizer without state of its own."""
    net = sharded(mesh)(net_of(SMALL))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    options = StateDictOptions(full_state_dict=True)
    set_optimizer_state_dict(net, optimizer, get_optimizer_state_dict(net, optimizer, options=options), options=options)


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
        for size, widths in SIZES.items():
            yield f"FSDP2, {at}, {size}", partial(run, name, flags, widths, shard)
        yield f"tensor parallel, {at}", partial(run, name, flags, PARALLEL, parallel)
        yield f"DDP, {at}", partial(run, name, flags, LARGE, ddp)
        yield f"ZeRO, {at}", partial(run, name, flags, LARGE, ddp, optimizer=zero(name))
        yield f"checkpoint of ZeRO, {at}", partial(consolidated, name, flags)
        yield f"mixed with plain, {at}", partial(run, name, flags, SMALL, first_layer_plain(mesh))
        yield f"otherwise laid out, {at}", partial(otherwise_laid_out, name, flags, mesh)
        for dtype in (torch.bfloat16, torch.float16):
            yield f"{dtype}, {at}", partial(run, name, flags, SMALL, shard, dtype)
        yield f"checkpoint, {at}", partial(checkpointed, name, flags, SMALL, shard, shard, folder / at)
        yield f"checkpoint of the whole, {at}", partial(checkpointed, name, flags, SMALL, shard, shard)
    for name, path in itertools.product(OPTIMIZERS, ("default", "fused")):
        at, flags = f"{name}, {path}", PATHS[path]
        yield f"FSDP2, {at}, large", partial(run, name, flags, HUGE, shard)
        resharded = partial(checkpointed, name, flags, EVEN, shard, parallel, folder / f"{at}, to reshard")
        yield f"checkpoint, resharded, {at}", resharded
    for name in OPTIMIZERS:
        more = {"maximize": True, "weight_decay": 0.1}
        yield f"FSDP2, {name}, {', '.join(more)}", partial(run, name, more, SMALL, shard)
    yield "the whole state of SGD", partial(whole_state_of_sgd, mesh)
    yield "tensor parallel, uneven", partial(run, "Nadam", {}, LARGE, parallel)


def loaded_alone(name: str, flags: dict[str, Any], folder: Any) -> Any:
    """A checkpoint of two processes in an optimizer of one, which knows of no other, then more steps."""
    alone, net = net_of(SMALL), net_of(SMALL)
    trained, loaded = (OPTIMIZERS[name](x.parameters(), lr=0.01, **flags) for x in (alone, net))

    def step(number: int, *pairs: Any) -> None:
        for model, optimizer in pairs:
            optimizer.zero_grad()
            backward(model, SMALL, number, torch.float32)
            optimizer.step()

    for number in range(STEPS):
        step(number, (alone, trained))
    saved = get_optimizer_state_dict(net, loaded)
    dcp.load({"optimizer": saved}, checkpoint_id=folder)
    set_optimizer_state_dict(net, loaded, saved)
    net.load_state_dict(alone.state_dict())
    for number in range(STEPS, 2 * STEPS):
        step(number, (alone, trained), (net, loaded))
    return max(apart(p.detach(), q.detach()) for p, q in zip(net.parameters(), alone.parameters(), strict=True))


def cases_in_one_process(folder: Any) -> Iterator[Any]:
    """As `cases`, once the processes have parted."""
    for name, (path, flags) in itertools.product(OPTIMIZERS, PATHS.items()):
        at = f"{name}, {path}"
        yield f"checkpoint, in one process, {at}", partial(loaded_alone, name, flags, folder / at)


def results(cases: Iterator[Any]) -> dict[str, Any]:
    """The distances, or what was raised."""
    found = {}
    for case, distance in cases:
        try:
            found[case] = distance()
        except Exception:
            found[case] = traceback.format_exc(limit=-6)
    return found


def main(rank: Any, folder: Any) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo", init_method=(folder / "store").as_uri(), rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    found = results(cases(folder))
    dist.barrier()
    dist.destroy_process_group()
    found |= results(cases_in_one_process(folder))
    Path(folder, f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))

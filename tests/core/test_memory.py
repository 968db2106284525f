"""Tensors that do not lie in memory, memory that moves or is shared, and what a flat layout saves."""

from __future__ import annotations

import copy
import io
import pickle
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
import torch
from conformance import every_optimizer, every_path, every_path_of_leaves, make
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._pytree import tree_map
from variants import PATHS

import nadam_ref
from nadam_ref.memory import is_memory
from nadam_ref.portions import LARGE


class Owner(torch.Tensor):
    """A subclass that owns storage."""


class Wrapper(torch.Tensor):
    """A subclass without storage: its numbers lie in `inner`."""

    @staticmethod
    def __new__(cls: Any, inner: Any) -> Any:
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), dtype=inner.dtype, device=inner.device
        )
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args_inside, kwargs_inside = tree_map(lambda x: x.inner if isinstance(x, cls) else x, (args, kwargs or {}))
        out = func(*args_inside, **kwargs_inside)
        if func._schema.name.endswith("_"):
            return args[0]
        return tree_map(lambda x: cls(x) if isinstance(x, torch.Tensor) else x, out)


def plain(x: Any) -> Any:
    return x.detach().inner if isinstance(x, Wrapper) else x.detach().as_subclass(torch.Tensor)


def train(optimizer: Any, kind: Any = lambda x: x, steps: Any = range(3)) -> None:
    """Steps on gradients that depend on the number of the step alone."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = kind(torch.randn(p.shape, generator=generator).to(p.dtype))
        optimizer.step()


def weights(*sizes: Any, dtype: torch.dtype = torch.float32) -> list[Any]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(size, generator=generator).to(dtype) for size in sizes]


def agree(a: Any, b: Any) -> None:
    """Parameters and state of two optimizers, to float32's rounding and one step of half precision."""
    for one, other in zip(a.param_groups, b.param_groups, strict=True):
        for p, q in zip(one["params"], other["params"], strict=True):
            rtol = 1e-5 if p.dtype in (torch.float32, torch.complex64) else torch.finfo(p.dtype).eps
            torch.testing.assert_close(plain(p), plain(q), rtol=rtol, atol=1e-6)
            assert list(a.state.get(p, {})) == list(b.state.get(q, {}))
            for name, x in b.state.get(q, {}).items():
                torch.testing.assert_close(plain(a.state[p][name]), plain(x), rtol=1e-5, atol=1e-6)


# -- no memory ---------------------------------------------------------------------------------------------------------


def test_what_is_memory() -> None:
    x = torch.arange(12.0)
    assert all(map(is_memory, (x, x[3:5], x.view(3, 4).t(), nn.Parameter(x), nn.Buffer(x), torch.empty(0))))
    freed = torch.ones(3)
    freed.untyped_storage().resize_(8)
    imaginary = torch.ones(3, dtype=torch.complex64).conj().imag
    others = (Owner(), Wrapper(x), x.expand(2, 12), torch.empty(3, device="meta"), x.to_sparse(), freed, imaginary)
    assert not any(map(is_memory, others))
    with FakeTensorMode():
        assert not is_memory(torch.ones(3))
    torch.func.vmap(lambda y: y if not is_memory(y) else pytest.fail("a batched tensor is no memory"))(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.complex64], ids=str)
@pytest.mark.parametrize("kind", [Wrapper, lambda x: x.as_subclass(Owner)], ids=["wrapper", "owner"])
@every_path_of_leaves
@every_optimizer
def test_fault_84_subclasses_are_updated_through_torchs_operations(
    name: str, path: str, kind: str, dtype: torch.dtype
) -> None:
    """Beside a plain parameter in the same group, and as the plain tensor with the same numbers would be."""
    sizes = (5, (3, 4))
    mine = [nn.Parameter(kind(x)) for x in weights(*sizes, dtype=dtype)]
    truth = [nn.Parameter(x) for x in weights(*sizes, dtype=dtype)]
    mixed = make(name, [*mine, *map(nn.Parameter, weights(6))], PATHS[path], {"weight_decay": 0.1})
    alone = make(name, [*truth, *map(nn.Parameter, weights(6))], {"foreach": False, "weight_decay": 0.1})
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        for p, q in zip(mixed.param_groups[0]["params"], alone.param_groups[0]["params"], strict=True):
            q.grad = torch.randn(q.shape, generator=generator).to(q.dtype)
            p.grad = q.grad.clone() if type(p) is nn.Parameter else kind(q.grad.clone())
        mixed.step(), alone.step()
    agree(mixed, alone)


@pytest.mark.parametrize("path", ["default", "foreach", "fused"])
@every_optimizer
def test_fault_84_large_wrappers_are_not_cut(name: str, path: str) -> None:
    mine, truth = nn.Parameter(Wrapper(*weights(LARGE))), nn.Parameter(*weights(LARGE))
    wrapped, alone = make(name, [mine], PATHS[path]), make(name, [truth], {"foreach": False})
    train(wrapped, Wrapper), train(alone)
    torch.testing.assert_close(plain(mine), truth.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [Wrapper, lambda x: x.as_subclass(Owner)], ids=["wrapper", "owner"])
@pytest.mark.parametrize("path", ["default", "fused"])
@every_optimizer
def test_fault_84_rows_of_subclasses(name: str, path: str, kind: str) -> None:
    values = [torch.full((3, 2), 1.0 + i) for i in range(3)]
    rows = [torch.sparse_coo_tensor([[i, 4, i]], x, (6, 2), check_invariants=True) for i, x in enumerate(values)]
    mine, truth = nn.Parameter(kind(*weights((6, 2)))), nn.Parameter(*weights((6, 2)))
    wrapped, alone = make(name, [mine], PATHS[path]), make(name, [truth])
    for g in rows:
        mine.grad, truth.grad = g, g.clone()
        wrapped.step(), alone.step()
    agree(wrapped, alone)


@every_path
@every_optimizer
def test_fake_tensors_take_steps(name: str, path: str) -> None:
    if path == "differentiable":
        pytest.skip("leaves are not updated in the sight of autograd")
    with FakeTensorMode():
        net = nn.Linear(1000, 1000)
        optimizer = make(name, net.parameters(), PATHS[path])
        for _ in range(2):
            net(torch.ones(2, 1000)).sum().backward()
            optimizer.step()


@pytest.mark.parametrize("path", ["for-loop", "default", "foreach", "capturable"])
@every_optimizer
def test_meta_tensors_take_steps(name: str, path: str) -> None:
    p = nn.Parameter(torch.empty(LARGE, device="meta"))
    optimizer = make(name, [p], PATHS[path])
    for _ in range(2):
        p.grad = torch.empty_like(p)
        optimizer.step()
    assert all(x.is_meta for x in optimizer.state[p].values() if x.dim())


@every_path
@every_optimizer
def test_fault_105_lazy_parameters(name: str, path: str) -> None:
    """Given before they have a shape, as torch's optimizers take them."""
    if path == "differentiable":
        pytest.skip("leaves are not updated in the sight of autograd")
    torch.manual_seed(0)
    lazy = nn.LazyLinear(3)
    optimizer = make(name, [{"params": lazy.parameters()}], PATHS[path])
    optimizer.step()
    lazy(torch.ones(2, 4))
    eager = nn.Linear(4, 3)
    eager.load_state_dict(lazy.state_dict())
    other = make(name, eager.parameters(), {"foreach": False})
    train(optimizer), train(other)
    agree(optimizer, other)


def test_fault_105_a_lazy_module_is_not_flattened() -> None:
    with pytest.raises(ValueError, match=r"weight has no dense memory yet: it is lazy; run the module once"):
        nadam_ref.flatten_(nn.LazyLinear(3))


def test_flatten_refuses_what_is_not_memory_and_what_is_shared() -> None:
    net = nn.Linear(2, 2)
    net.weight = nn.Parameter(Wrapper(torch.ones(2, 2)))
    with pytest.raises(ValueError, match=r"weight has no dense memory .* it is a Wrapper on cpu with layout"):
        nadam_ref.flatten_(net)
    with pytest.raises(ValueError, match=r"weight is shared .* call flatten_ before share_memory"):
        nadam_ref.flatten_(nn.Linear(2, 2).share_memory())


def test_flatten_refuses_parameters_that_share_memory_and_keeps_one_that_is_there_twice() -> None:
    numbers, net = torch.ones(5), nn.Module()
    net.whole, net.inside = nn.Parameter(numbers), nn.Parameter(numbers[3:], requires_grad=False)
    with pytest.raises(
        ValueError, match=r"whole and inside lie in the same memory, .* make both attributes one nn\.Par"
    ):
        nadam_ref.flatten_(net)
    assert net.whole.data_ptr() == numbers.data_ptr() and net.whole.grad is None  # nothing was touched
    net.whole, net.inside = nn.Parameter(numbers[:3]), nn.Parameter(numbers[3:])  # neighbours
    net.again = net.whole
    nadam_ref.flatten_(net)
    assert net.again is net.whole and torch.equal(net.whole, torch.ones(3))
    assert net.inside.data_ptr() == net.whole.data_ptr() + net.whole.nbytes


# -- memory that moves -------------------------------------------------------------------------------------------------


def each_state(change: Any) -> Any:
    def moved(optimizer: Any, net: nn.Module) -> None:
        for state in optimizer.state.values():
            for name, x in state.items():
                change(state, name, x)

    return moved


def each_parameter(change: Any) -> Any:
    return lambda optimizer, net: [change(p) for p in net.parameters()]


def resized(x: Any) -> None:
    """Freed and allocated again, with the same numbers."""
    kept, storage = x.detach().clone(), x.untyped_storage()
    bytes_before = storage.nbytes()
    storage.resize_(0)
    storage.resize_(bytes_before)
    x.detach().copy_(kept)


def assign_data(x: Any) -> None:
    x.data = x.data.clone()


def twice(x: Any) -> None:
    """The second copy may lie where the first tensor was."""
    assign_data(x), assign_data(x)


def swap(p: Tensor) -> None:
    other = nn.Parameter(p.detach().clone())
    other.grad = p.grad
    torch.utils.swap_tensors(p, other)


def to_double_and_back(optimizer: Any, net: nn.Module) -> None:
    net.double(), net.float()


def share_one_count(optimizer: Any, net: nn.Module) -> None:
    next(iter(optimizer.state.values()), {}).get("step", torch.zeros(())).share_memory_()


MOVES = {
    "share state": each_state(lambda state, name, x: x.share_memory_()),
    "share one count": share_one_count,
    "state.data": each_state(lambda state, name, x: assign_data(x)),
    "state.data twice": each_state(lambda state, name, x: twice(x)),
    "replaced state": each_state(lambda state, name, x: state.update({name: x.clone()})),
    "share parameters": lambda optimizer, net: net.share_memory(),
    "parameter.data": each_parameter(assign_data),
    "parameter.data twice": each_parameter(twice),
    "resized parameters": each_parameter(resized),
    "share gradients": each_parameter(lambda p: p.grad.share_memory_()),
    "gradient.data": each_parameter(lambda p: assign_data(p.grad)),
    "resized gradients": each_parameter(lambda p: resized(p.grad)),
    "swapped parameters": each_parameter(swap),
    "to and back": to_double_and_back,
    "flatten": lambda optimizer, net: nadam_ref.flatten_(net),
    "loaded": lambda optimizer, net: optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict())),
    "zeroed gradients": lambda optimizer, net: optimizer.zero_grad(set_to_none=False),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("path", ["default", "foreach", "fused", "fused, flattened"])
@pytest.mark.parametrize("name", ["GD", "Momentum", "AdaGrad", "Nadam", "AdaMax"])
def test_fault_85_memory_moves_between_steps(name: str, path: str, move: Any) -> None:
    """The optimizer follows, as a for-loop over tensors that stay where they are."""
    if path == "fused, flattened" and move.startswith("resized"):
        with pytest.raises(RuntimeError, match="storage that is not resizable"):  # torch's own word
            resized(nadam_ref.flatten_(nn.Linear(2, 2)).weight)
        return
    path, _, flat = path.partition(", ")
    nets, optimizers = [], []
    for flags in (PATHS[path], {"foreach": False}):
        torch.manual_seed(0)
        nets.append(nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 1)))
        optimizers.append(make(name, nets[-1].parameters(), flags))
    if flat:
        nadam_ref.flatten_(nets[0])
    for round_ in range(3):
        for net, optimizer in zip(nets, optimizers, strict=True):
            for step in range(2):
                generator = torch.Generator().manual_seed(10 * round_ + step)
                for p in net.parameters():
                    g = torch.randn(p.shape, generator=generator)
                    if p.grad is None:
                        p.grad = g
                    else:
                        p.grad.copy_(g)
                optimizer.step()
        if round_ < 2:
            MOVES[move](optimizers[0], nets[0])
    agree(*optimizers)


@pytest.mark.parametrize("path", ["default", "fused"])
@pytest.mark.parametrize("shares", [lambda: torch.optim.Adagrad, lambda: nadam_ref.AdaGrad], ids=["torch", "ours"])
def test_fault_107_share_memory(shares: Any, path: str) -> None:
    """As torch's Adagrad has it; steps go on in the shared memory, where another process would see them."""
    net = nn.Linear(3, 2)
    optimizer = shares()(
        net.parameters(), initial_accumulator_value=0.5, **({"fused": True} if path == "fused" else {})
    )
    optimizer.share_memory()
    sums = [optimizer.state[p]["sum"] for p in net.parameters()]
    assert all(x.is_shared() and bool((x == 0.5).all()) for x in sums)
    train(optimizer)
    assert all(x is optimizer.state[p]["sum"] and x.is_shared() for x, p in zip(sums, net.parameters(), strict=True))
    assert all(bool((x != 0.5).all()) for x in sums)


def shared_and_its_twin(path: str) -> Any:
    torch.manual_seed(0)
    net = nn.Linear(5, 4)
    twin = copy.deepcopy(net)
    optimizer, alone = nadam_ref.Nadam(net.parameters(), **PATHS[path]), nadam_ref.Nadam(twin.parameters())
    train(optimizer), train(alone)
    net.share_memory()
    for state in optimizer.state.values():
        for x in state.values():
            x.share_memory_()
    return optimizer, alone


@pytest.mark.parametrize("path", ["default", "fused"])
def test_fault_85_a_forked_process_steps_in_shared_memory(path: str) -> None:
    """Hogwild, A3C: the parameters, accumulators and counts that a child moves are the parent's."""
    optimizer, alone = shared_and_its_twin(path)
    child = torch.multiprocessing.get_context("fork").Process(target=train, args=(optimizer,))
    child.start()
    child.join(100)
    assert child.exitcode == 0
    train(alone)
    agree(optimizer, alone)


@pytest.mark.parametrize("path", ["default", "fused"])
def test_fault_85_an_optimizer_sent_to_another_process_goes_on_in_shared_memory(path: str) -> None:
    """As a spawned process gets it: pickled, its shared tensors by name."""
    optimizer, alone = shared_and_its_twin(path)
    sent = pickle.loads(ForkingPickler.dumps(optimizer))
    train(sent), train(alone)
    agree(optimizer, alone)


@pytest.mark.parametrize("path", ["for-loop", "default", "foreach", "fused"])
def test_autograd_sees_every_step(path: str) -> None:
    """A second backward pass through parameters that have moved is an error, as it is with torch's for-loop."""
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    optimizer = nadam_ref.Nadam(net.parameters(), **PATHS[path])
    loss = net(torch.ones(2, 3)).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# -- what is saved -----------------------------------------------------------------------------------------------------


def saved_bytes(x: Any) -> Any:
    file = io.BytesIO()
    torch.save(x, file)
    return len(file.getvalue())


def flat_and_fused() -> Any:
    net = nadam_ref.flatten_(nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 3), nn.Conv2d(3, 2, 2)))
    net[2].to(memory_format=torch.channels_last)
    optimizer = nadam_ref.Nadam(net.parameters(), fused=True)
    train(optimizer)
    return net, optimizer


def test_fault_104_a_layer_is_saved_without_its_neighbours() -> None:
    net, optimizer = flat_and_fused()
    for layer in net:
        assert saved_bytes(layer.state_dict()) == saved_bytes(copy.deepcopy(layer.state_dict()))
        for p in layer.parameters():
            assert p.untyped_storage().nbytes() == p.nbytes == p.grad.untyped_storage().nbytes()
            for x in optimizer.state[p].values():
                assert x.untyped_storage().nbytes() == x.nbytes
    own = {name: x.clone() for name, x in optimizer.state[net[1].weight].items()}
    assert saved_bytes(optimizer.state[net[1].weight]) == saved_bytes(own)


def test_fault_104_safetensors_saves_a_layer_of_a_flattened_module(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    net, other = nadam_ref.flatten_(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))), nn.Linear(3, 4)
    safetensors.save_model(net[0], tmp_path / "layer")
    safetensors.load_model(other, tmp_path / "layer")
    assert all(torch.equal(p, q) for p, q in zip(net[0].parameters(), other.parameters(), strict=True))
    assert (tmp_path / "layer").stat().st_size < 1000


def test_pieces_outlive_their_neighbours_and_their_optimizer() -> None:
    net, optimizer = flat_and_fused()
    weight, average = net[1].weight, optimizer.state[net[1].weight]["exp_avg"]
    before = weight.detach().clone(), average.clone()
    del net, optimizer
    _ = [torch.full((1000,), torch.nan) for _ in range(100)]  # what was freed is written over
    assert torch.equal(weight, before[0]) and torch.equal(average, before[1])

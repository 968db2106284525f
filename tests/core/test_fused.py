"""The fused kernels: spelled from the one expression, right in every layout, and never compiled twice."""

from __future__ import annotations

import collections
import contextlib
import copy
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from variants import Variant, every_variant_with_box

import nadam_ref
from nadam_ref import OPTIMIZERS, RULES
from nadam_ref.fused import cpu, cuda
from nadam_ref.fused.codegen import spell
from nadam_ref.fused.pointers import merged, same_layout, spans
from nadam_ref.kernels import Coefficients, Prelude, expression, prepare

KINDS = {**RULES, "eps_root": replace(RULES["Nadam"], eps_root=True)}
PRELUDES = [Prelude(), Prelude(maximize=True), Prelude(False, "coupled"), Prelude(True, "decoupled")]
SHAPES = [(3,), (4, 5), (), (1,), (2, 3, 4, 5), (70001,)]


def numbers(seed: int = 0) -> Any:
    values = torch.rand(len(Coefficients._fields), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Coefficients(*(0.1 + 0.8 * values).tolist())


def tensors(count: int, dtype: torch.dtype, size: int = 1000) -> Any:
    generator = torch.Generator().manual_seed(1)
    made = [torch.randn(size, dtype=dtype, generator=generator) for _ in range(count)]
    return made[0], made[1], made[2], made[3].abs()


def params(shapes: Any = SHAPES, dtype: torch.dtype = torch.float64, seed: int = 3) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes]
    return [p.requires_grad_() for p in made]


def gradients(of: Any, step: int) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for p in of:
        p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator).as_strided(p.shape, p.stride())


def train(optimizer: Any, of: Any, steps: int = 4) -> None:
    for step in range(steps):
        gradients(of, step)
        optimizer.step()


def same(a: Any, b: Any, rtol: float = 1e-12) -> None:
    for x, y in zip(a, b, strict=True):
        torch.testing.assert_close(x, y, rtol=rtol, atol=1e-14)


# -- one formula -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("prelude", PRELUDES, ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_the_kernel_is_the_expression(name: str, prelude: Any, dtype: torch.dtype) -> None:
    """Bit for bit where there is no root; torch's root, which MKL makes, is not always the nearest number."""
    rule, k = KINDS[name], numbers()
    p, g, m, n = tensors(4, dtype)
    m, n = (m if rule.momentum != "none" else None), (n if rule.norm != "none" else None)
    exact = Coefficients(*(torch.tensor(x, dtype=dtype) for x in k))
    want = expression(rule, *prepare(prelude, p, g, exact), m, n, exact)
    lists = ([p], [g], [m] if m is not None else [], [n] if n is not None else [])
    table, rest = spans(lists)
    assert len(table) == 1 and not rest[0]
    cpu.kernel(rule, prelude, dtype)(table, [k], p.device)
    for got, expected in zip((p, m, n), want, strict=True):
        assert (got is None) == (expected is None)
        if got is not None and rule.norm in ("none", "max"):
            assert torch.equal(got, expected)
        elif got is not None:
            torch.testing.assert_close(got, expected, rtol=0, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("name", RULES)
def test_the_spelling_reads_and_writes_what_the_rule_has(name: str) -> None:
    spelling = spell(RULES[name], Prelude())
    has = {"p", "g", *("m" * (RULES[name].momentum != "none")), *("n" * (RULES[name].norm != "none"))}
    assert set(spelling.reads) == has
    assert set(spelling.writes) == has - {"g"}


def test_both_languages_have_the_same_lines() -> None:
    lines = [operation for _, operation in spell(RULES["Nadam"], Prelude(True, "coupled")).lines]
    for language in (cpu, cuda):
        text = language.source(RULES["Nadam"], Prelude(True, "coupled"), torch.float32)
        at = [text.index(f"= {operation}") for operation in lines]
        assert at == sorted(at)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_goes_through_as_unfused(value: Any) -> None:
    for name, cls in OPTIMIZERS.items():
        p, q = params([(5,)])[0], params([(5,)])[0]
        for of, flags in ((p, {"fused": True}), (q, {"foreach": False})):
            optimizer = cls([of], **flags)
            for g in (1.0, value, 1.0):
                of.grad = torch.tensor([g, 1, 2, 3, -1], dtype=torch.float64)
                optimizer.step()
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-14, equal_nan=True, msg=name)


# -- memory ------------------------------------------------------------------------------------------------------------


@every_variant_with_box
def test_packed_state_is_the_loops_state(variant: Variant) -> None:
    mine, truth = params(), params()
    fused, loop = variant.optimizer(mine, fused=True), variant.optimizer(truth, foreach=False)
    train(fused, mine), train(loop, truth)
    same(mine, truth)
    for p, q in zip(mine, truth, strict=True):
        assert list(fused.state.get(p, {})) == list(loop.state.get(q, {}))
        same(fused.state.get(p, {}).values(), loop.state.get(q, {}).values())


def test_the_state_is_flat_and_stays_where_it_is() -> None:
    of = params()
    optimizer = nadam_ref.Nadam(of, fused=True)
    train(optimizer, of, 1)
    averages = [optimizer.state[p]["exp_avg"] for p in of]
    assert all(x.data_ptr() + x.nbytes == y.data_ptr() for x, y in pairwise(averages))
    before = {name: x.data_ptr() for name, x in optimizer.state[of[1]].items()}
    train(optimizer, of, 3)
    assert {name: x.data_ptr() for name, x in optimizer.state[of[1]].items()} == before


def disturb_nothing(of: Any, optimizer: Any) -> None:
    pass


def disturb_state(of: Any, optimizer: Any) -> None:
    optimizer.state[of[1]]["exp_avg"] = optimizer.state[of[1]]["exp_avg"].clone()


def disturb_data(of: Any, optimizer: Any) -> None:
    of[1].data = of[1].data.clone()


def disturb_layout(of: Any, optimizer: Any) -> None:
    of[1].data = of[1].data.t().contiguous().t()


def disturb_grad(of: Any, optimizer: Any) -> None:
    of[1].grad = of[1].grad.t().contiguous().t()


def disturb_missing(of: Any, optimizer: Any) -> None:
    of[0].grad = None


def disturb_load(of: Any, optimizer: Any) -> None:
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def disturb_step(of: Any, optimizer: Any) -> None:
    optimizer.state[of[0]]["step"].add_(5)


def disturb_reset_of_one(of: Any, optimizer: Any) -> None:
    optimizer.state[of[1]] = {}


def disturb_reset(of: Any, optimizer: Any) -> None:
    optimizer.state.clear()


def disturb_new_state(of: Any, optimizer: Any) -> None:
    optimizer.state = collections.defaultdict(dict)


def disturb_group(of: Any, optimizer: Any) -> None:
    optimizer.param_groups[0]["lr"] = 0.5


@pytest.mark.parametrize("name", ["Nadam", "AdaMax", "Adam"])
@pytest.mark.parametrize("disturb", [f for name, f in globals().items() if name.startswith("disturb_")])
def test_whatever_is_disturbed_the_result_is_right(disturb: Any, name: str) -> None:
    runs = []
    for flags in ({"fused": True}, {"foreach": False}):
        of = params()
        optimizer = OPTIMIZERS[name](of, lr=0.01, **flags)
        train(optimizer, of, 2)
        for step in range(2, 6):
            gradients(of, step)
            disturb(of, optimizer)
            optimizer.step()
        runs.append((of, optimizer))
    (mine, fused), (truth, loop) = runs
    same(mine, truth)
    for p, q in zip(mine, truth, strict=True):
        same(fused.state[p].values(), loop.state[q].values())


def test_a_parameter_that_comes_and_goes_for_long() -> None:
    runs = []
    for flags in ({"fused": True}, {"foreach": False}):
        of = params()
        optimizer = nadam_ref.Nadam(of, **flags)
        for step in range(30):
            gradients(of, step)
            if step % 2:
                of[step % len(of)].grad = None
            optimizer.step()
        runs.append(of)
    same(*runs)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_one_layout_or_the_other_is_one_span(memory_format: Any) -> None:
    p = torch.randn(2, 3, 4, 5).to(memory_format=memory_format)
    table, rest = spans(([p], [torch.randn_like(p)], [], []))
    assert [span[4] for span in table] == [p.nbytes] and not rest[0]


def test_what_does_not_lie_alike_is_of_another_layout() -> None:
    p = torch.randn(4, 6)
    assert same_layout(p, p.clone(), None)
    assert not same_layout(p, p.t().contiguous().t())
    assert not same_layout(p[:, ::2], p[:, ::2].clone())
    assert not same_layout(p, p.double())
    assert not same_layout(p, p[:2])
    assert not same_layout(torch.ones(1), torch.complex(torch.ones(1), torch.ones(1)).conj().imag)


def test_spans_that_touch_are_one() -> None:
    touching = [(0, 100, 0, 200, 8, 0), (8, 108, 0, 208, 4, 0)]
    assert list(merged([*touching, (12, 112, 0, 216, 4, 0)])) == [(0, 100, 0, 200, 12, 0), (12, 112, 0, 216, 4, 0)]
    with_numbers_of_its_own = (12, 112, 0, 212, 4, 1)
    assert list(merged([*touching, with_numbers_of_its_own])) == [(0, 100, 0, 200, 12, 0), with_numbers_of_its_own]


def test_threads_share_the_work_and_change_nothing() -> None:
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            of = params([(70001,), (5,), (300, 301), (1000,)] * 3, torch.float32)
            train(nadam_ref.Nadam(of, fused=True), of)
            results.append(of)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(p, q) for p, q in zip(*results, strict=True))


def stepped(threads: Any, steps: int = 3) -> Any:
    """A parameter that is large enough for several threads, after some steps."""
    p = torch.nn.Parameter(torch.linspace(-1, 1, 1 << 18))
    p.grad = p.detach().cos()
    optimizer, before = nadam_ref.Nadam([p], fused=True), torch.get_num_threads()
    optimizer.step()  # in which torch's operations make its state: a forked process may not use torch's threads
    torch.set_num_threads(threads)
    try:
        for _ in range(steps):
            optimizer.step()
    finally:
        torch.set_num_threads(before)
    return p.detach()


def step_and_compare(want: Any) -> None:
    assert torch.equal(stepped(4), want)


def test_a_forked_process_has_threads_of_its_own() -> None:
    """The parent's are not there: a pool that counts on them waits for ever."""
    want = stepped(1)
    step_and_compare(want)
    child = torch.multiprocessing.get_context("fork").Process(target=step_and_compare, args=(want,))
    child.start()
    child.join(100)
    code = child.exitcode
    child.kill()
    assert code == 0


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system does not list threads")
def test_no_thread_is_made_in_a_later_step() -> None:
    stepped(4)
    before = set(Path("/proc/self/task").iterdir())
    stepped(4, 100)
    assert set(Path("/proc/self/task").iterdir()) == before


def test_optimizers_in_threads_of_their_own() -> None:
    def one(seed: int) -> Any:
        of = params(seed=seed)
        train(nadam_ref.Nadam(of, fused=True), of)
        return of

    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(one, range(8)), map(one, range(8)), strict=True):
            assert all(torch.equal(p, q) for p, q in zip(got, want, strict=True))


# -- the compiler ------------------------------------------------------------------------------------------------------


def test_a_thousand_steps_with_a_changing_rate_compile_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    of = params()
    optimizer = nadam_ref.Nadam(of, fused=True)
    train(optimizer, of, 1)
    monkeypatch.setattr(cpu, "_compile", None)  # raises if it were called
    made = cpu.kernel.cache_info().misses
    for step in range(1000):
        optimizer.param_groups[0]["lr"] = 1e-3 / (1 + step)
        optimizer.step()
    assert cpu.kernel.cache_info().misses == made


PROGRAM = """
import time, torch, nadam_ref, warnings
warnings.simplefilter("error")
p = torch.ones(3); p.grad = torch.ones(3)
nadam_ref.NadaMax([p], fused=True).step()
print(p.tolist())
"""


@pytest.mark.parametrize("cache", ["fresh", "a file", "absent"])
def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Any) -> None:
    if cache == "a file":
        (tmp_path / "nadam_ref").write_text("not a folder")
    environment = {"XDG_CACHE_HOME": str(tmp_path)} if cache != "absent" else {"XDG_CACHE_HOME": "/proc/none"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outputs = {subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True).stdout for _ in "12"}
    assert len(outputs) == 1
    made = list(tmp_path.rglob("*.so"))
    assert len(made) == (cache == "fresh")


def test_a_compiler_that_fails_is_one_warning_with_its_words(tmp_path: Path) -> None:
    failing = tmp_path / "failing-c++"
    failing.write_text("#!/bin/sh\necho 'no room on the device' >&2\nexit 1\n")
    failing.chmod(0o755)
    code = PROGRAM.replace('warnings.simplefilter("error")', "").replace("nadam_ref.NadaMax", "nadam_ref.Nadam")
    environment = {"CXX": str(failing), "XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stderr.count("no kernel could be compiled for cpu") == 1
    assert "no room on the device" in done.stderr
    assert done.stdout.startswith("[0.99")


# -- flatten_ ----------------------------------------------------------------------------------------------------------


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 7), torch.nn.Linear(7, 2))
    return net.double()


def learn(
    net: nn.Module, optimizer: Any, steps: int = 4, to_none: bool = False, between: Any = lambda step: None
) -> list[Any]:
    x = torch.randn(16, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    for step in range(steps):
        optimizer.zero_grad(set_to_none=to_none)
        net(x).square().mean().backward()
        between(step)
        optimizer.step()
    return [p.detach().clone() for p in net.parameters()]


@every_variant_with_box
def test_flattened_is_unflattened(variant: Variant) -> None:
    plain_net, flat = network(), nadam_ref.flatten_(network())
    want = learn(plain_net, variant.optimizer(plain_net.parameters(), foreach=False))
    same(learn(flat, variant.optimizer(flat.parameters(), fused=True)), want)


def table_of(optimizer: Any) -> Any:
    (plan,) = optimizer._plans.values()
    return plan.flat_state.table(optimizer.state)


def test_a_flattened_step_is_one_span() -> None:
    net = nadam_ref.flatten_(network())
    optimizer = nadam_ref.Nadam(net.parameters(), fused=True)
    learn(net, optimizer)
    assert len(table_of(optimizer)) == 1


@pytest.mark.parametrize(
    "other", [torch.Tensor.clone, torch.Tensor.item, lambda x: None], ids=["clone", "float", "None"]
)
def test_equal_state_that_is_not_the_kept_object_is_noticed(other: Any) -> None:
    """The kept state and the one that there is are compared by lists, which take equal objects for the same."""
    net = network()
    optimizer = nadam_ref.Nadam(net.parameters(), fused=True)
    learn(net, optimizer)
    assert table_of(optimizer) is not None
    state = optimizer.state[net[0].weight]
    state["step"] = other(state["step"])
    assert table_of(optimizer) is None


def test_flatten_keeps_parameters_values_gradients_and_ties() -> None:
    net = network()
    net[0].twin = net[2]
    net(torch.ones(1, 5, dtype=torch.float64)).sum().backward()
    before = {name: (p, p.detach().clone(), p.grad.clone()) for name, p in net.named_parameters()}
    assert nadam_ref.flatten_(net) is net
    for name, p in net.named_parameters():
        old, value, grad = before[name]
        assert p is old and torch.equal(p, value) and torch.equal(p.grad, grad)
    assert all(p.data_ptr() + p.nbytes == q.data_ptr() for p, q in pairwise(net.parameters()))
    assert net[0].twin.weight is net[2].weight


def moved_to_float(net: nn.Module, step: int) -> None:
    if step == 1:
        net.to(torch.float64).to(torch.float32).to(torch.float64)


def assigned(net: nn.Module, step: int) -> None:
    if step == 1:
        net.load_state_dict({name: x.clone() for name, x in net.state_dict().items()}, assign=True)


def flattened_again(net: nn.Module, step: int) -> None:
    if step % 2:
        nadam_ref.flatten_(net)


@pytest.mark.parametrize("to_none", [False, True])
@pytest.mark.parametrize("between", [None, flattened_again], ids=["nothing", "flattened again"])
def test_flattened_nets_may_be_disturbed(between: Any, to_none: bool) -> None:
    runs = []
    for flat in (True, False):
        net = nadam_ref.flatten_(network()) if flat else network()
        optimizer = nadam_ref.Nadam(net.parameters(), fused=flat)

        def then(step: int, net: Any = net, flat: Any = flat) -> None:
            if flat and between:
                between(net, step)

        runs.append(learn(net, optimizer, 8, to_none, then))
    same(*runs)


@pytest.mark.parametrize("change", [moved_to_float, assigned], ids=lambda f: f.__name__)
def test_moving_a_flattened_net_gives_what_moving_any_net_gives(change: Any) -> None:
    runs = []
    for flat in (True, False):
        net = nadam_ref.flatten_(network()) if flat else network()
        optimizer = nadam_ref.Nadam(net.parameters(), fused=flat)
        runs.append(learn(net, optimizer, 5, True, lambda step, net=net: change(net, step)))
    same(*runs, rtol=1e-6)


def test_flatten_refuses_what_has_no_dense_memory() -> None:
    with pytest.raises(ValueError, match=r"weight has no dense memory"):
        nadam_ref.flatten_(torch.nn.Linear(2, 3, device="meta"))
    with pytest.raises(ValueError, match=r"weight has no dense memory"):
        nadam_ref.flatten_(torch.nn.LazyLinear(3))
    net = torch.nn.Linear(2, 3)
    net.weight = torch.nn.Parameter(torch.ones(1, 1).expand(3, 2))
    with pytest.raises(ValueError, match=r"weight overlaps itself"):
        nadam_ref.flatten_(net)


def test_a_checkpoint_of_packed_state_goes_on(tmp_path: Path) -> None:
    of, more = params(), params()
    optimizer = nadam_ref.Nadam(of, fused=True)
    train(optimizer, of)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    for p, q in zip(more, of, strict=True):
        p.data.copy_(q.detach())
    other = nadam_ref.Nadam(more, fused=True)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    train(optimizer, of), train(other, more)
    same(of, more, rtol=0)


def test_a_graph_that_may_be_captured_keeps_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step of GD needs are plain numbers, with capturable=True too: a replay would read a table that is gone."""
    monkeypatch.setattr(nadam_ref.cohort, "fused_update_", None)
    monkeypatch.setattr(nadam_ref.packing, "dense_kernel", None)
    for name, cls in OPTIMIZERS.items():
        of = params()
        train(cls(of, capturable=True, fused=True), of, 1)
        assert all(p.isfinite().all() for p in of), name


def test_a_device_without_a_kernel_is_not_taken_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nadam_ref.fused, "_WITHOUT_COMPILER", set())
    with pytest.warns(UserWarning, match="no kernel could be compiled for mps \\(only a CPU and CUDA have one\\)"):
        kernel = nadam_ref.fused.dense_kernel(RULES["GD"], Prelude(), torch.float32, torch.device("mps"))
    assert kernel is None


@pytest.mark.parametrize("current", [0, 1])
def test_the_gpu_kernel_runs_on_the_device_of_the_parameters(monkeypatch: pytest.MonkeyPatch, current: Any) -> None:
    """Copies and launch alike, whichever of two devices is the current one; here with fakes of both."""
    now, seen = [current], []

    @contextlib.contextmanager
    def on(device: Any) -> Iterator[Any]:
        now.append(device.index)
        yield
        now.pop()

    class Launch:
        def __getitem__(self, grid: Any) -> Any:
            return lambda *args, BLOCK: seen.append(("launch", now[-1], grid))

    monkeypatch.setattr(torch.cuda, "device", on)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(cuda, "_load", lambda text: Launch())
    monkeypatch.setattr(cuda, "_to", lambda device, values, dtype: seen.append(("copy", now[-1], device.index)))
    kernel = cuda.kernel.__wrapped__(RULES["GD"], Prelude(), torch.float32)
    kernel([(0, 0, 0, 0, 4 * 1025, 0)], [Coefficients(*[0.5] * 9)], torch.device("cuda", 1))
    assert seen == [("copy", 1, 1)] * 3 + [("launch", 1, (2,))]
    assert now == [current]


def test_a_default_device_does_not_move_the_table() -> None:
    with torch.device("meta"):
        assert cuda._to(torch.device("cpu"), [(1, 2)], torch.int64).tolist() == [[1, 2]]


# -- the GPU's kernel, run by Triton's interpreter ---------------------------------------------------------------------


INTERPRETED = """
import dataclasses
import torch
from nadam_ref import RULES
from nadam_ref.fused import cuda
from nadam_ref.fused.pointers import spans
from nadam_ref.kernels import Coefficients, Prelude, expression, prepare
kinds = {**RULES, "eps_root": dataclasses.replace(RULES["Nadam"], eps_root=True)}
for name, rule in kinds.items():
    for prelude in (Prelude(), Prelude(True, "decoupled")):
        for dtype in (torch.float32, torch.float64):
            torch.manual_seed(0)
            k = Coefficients(*torch.rand(9, dtype=torch.float64).add(.1).tolist())
            exact = Coefficients(*(torch.tensor(x, dtype=dtype) for x in k))
            lists, wants = ([], [], [], []), []
            for size in (1, 5000, 1024):
                p, g, m, n = (torch.randn(size, dtype=dtype) for _ in range(4))
                n = n.abs()
                lists[0].append(p), lists[1].append(g)
                m = m if rule.momentum != "none" else None
                n = n if rule.norm != "none" else None
                lists[2].append(m) if m is not None else None
                lists[3].append(n) if n is not None else None
                wants.append(((p, m, n), expression(rule, *prepare(prelude, p, g, exact), m, n, exact)))
            cuda.kernel(rule, prelude, dtype)(spans(lists)[0], [k], torch.device("cpu"))
            for got, want in wants:
                for a, b in zip(got, want):
                    tolerance = 8 * torch.finfo(dtype).eps
                    assert a is None or torch.allclose(a, b, rtol=tolerance, atol=tolerance), name
print("right")
"""


def test_the_triton_kernel_in_the_interpreter() -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], capture_output=True, text=True, env={"TRITON_INTERPRET": "1"}, check=False
    )
    assert done.stdout == "right\n", done.stderr

"""How long a step takes, beside the memory-bandwidth bound and torch's optimizers.

All that is compared takes turns, round after round, in one process: what slows the machine slows all alike. A figure
is the median over the rounds; the spread is their range.

The bound is the time of a kernel that reads and writes exactly what the rule's own kernel does, and computes next to
nothing (`fused.bound`). It is compiled in the same way and walks the same memory: that of the fused step, tensor by
tensor, and that of the flattened step in one piece, of which the faster counts. So no step that reads and writes these
numbers once is faster, but by noise. One call from Python, of some microseconds, is in it. `bandwidth` says what such
kernels reach beside those of the STREAM benchmark. Without a C++ compiler there is no bound. On a GPU it is k/2 device
copies, where k is the number of tensors that an update reads and writes, until a device calibrates it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from . import OPTIMIZERS, __version__, flatten_
from .fused import bound, cpu
from .fused.codegen import Spelling
from .fused.pointers import NoKernelError
from .machine import checkout, processor
from .replicas import Replicas
from .rules import RULES, Rule
from .settings import state_keys

Step = Callable[[], Any]
Shapes = list[tuple[int, ...]]
#: What is measured at one time: the name of the list, the rule, the shapes.
Case = tuple[str, str, Shapes]
Progress = Callable[[list[Case]], Iterable[Case]]

PACKAGE = Path(__file__).parent
#: Shapes of the parameters of a step.
LISTS: dict[str, Shapes] = {
    "resnet50": [(64, 3, 7, 7), *[(256, 256, 3, 3)] * 40, *[(256,)] * 119, (1000, 2048)],
    "small": [(32, 32)] * 1000,
    "mlp": [(512, 784), (512,), (256, 512), (256,), (10, 256), (10,)],
}
#: Shapes that show how the cost grows: 10³ to 10⁸ parameters in one tensor, and 10⁶ parameters in 1 to 10⁴ tensors.
SIZES: dict[str, Shapes] = {
    **{f"1e{e}": [(10**e,)] for e in range(3, 9)},
    **{f"1e6 in {10**e}": [(10 ** (6 - e),)] * 10**e for e in range(1, 5)},
}
#: torch's class of the same method; MaxProp and NadaMax have none.
TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "GD": ("SGD", {}),
    "Momentum": ("SGD", {"momentum": 0.9}),
    "NAG": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "AdaGrad": ("Adagrad", {}),
    "RMSProp": ("RMSprop", {}),
    "Adam": ("Adam", {}),
    "AdaMax": ("Adamax", {}),
    "Nadam": ("NAdam", {}),
}
#: The path that is the same whatever the rule: the fastest optimizer that torch has.
FUSED_ADAM = "torch fused Adam"
#: A rate at which nothing overflows, however often a step is repeated with one gradient.
RATE = 1e-6


class Result(NamedTuple):
    """One line of the table. Times are seconds a step: the median over the rounds, the least and the largest.

    `moved`: bytes that one step reads and writes, None where that is not known.
    """

    what: str
    rule: str
    path: str
    parameters: int
    median: float
    low: float
    high: float
    moved: int | None = None

    @property
    def nanoseconds(self) -> float:
        """Nanoseconds a parameter."""
        return self.median / self.parameters * 1e9

    @property
    def gigabytes(self) -> float | None:
        """Gigabytes a second that a step moves."""
        return self.moved / self.median / 1e9 if self.moved else None


def streams(rule: Rule) -> int:
    """Tensors that one update reads and writes: θ twice, g once, m and n twice each."""
    return 3 + 2 * (rule.momentum != "none") + 2 * (rule.norm != "none")


class Bandwidth(NamedTuple):
    """Gigabytes a second of one kernel: the median over the rounds, the least and the largest.

    `reads`, `writes`: tensors that it reads and writes, of which the bytes are counted.
    """

    kernel: str
    reads: int
    writes: int
    median: float
    low: float
    high: float


def interleaved(steps: dict[str, Step], rounds: int, seconds: float, device: str = "cpu") -> dict[str, list[float]]:
    """Seconds a step, for each of `steps` one number a round; a round repeats each for about `seconds`.

    Times end when `device` has done what it was given.
    """
    repeats = {}
    for name, run in steps.items():
        run(), run()  # the first ones allocate and compile
        repeats[name] = max(1, int(seconds / _time(run, 1, device)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, run in steps.items():
            times[name].append(_time(run, repeats[name], device))
    return times


def _time(run: Step, repeats: int, device: str) -> float:
    """Seconds that a run takes on the device, on average."""
    _wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    _wait(device)
    return (time.perf_counter() - started) / repeats


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


class _Net(nn.Module):
    """A module that is nothing but its parameters, with gradients."""

    def __init__(self, shapes: Shapes, device: str) -> None:
        super().__init__()
        self.all = nn.ParameterList(torch.randn(shape, device=device) for shape in shapes)
        for p in self.all:
            p.grad = torch.randn_like(p)


def _optimizers(name: str, shapes: Shapes, device: str) -> Iterator[tuple[str, torch.optim.Optimizer]]:
    """The ways of one step. All but the flattened one share parameters and gradients: where these lie has an effect."""
    params = list(_Net(shapes, device).parameters())
    ours: Any = OPTIMIZERS[name]
    yield "default", ours(params, lr=RATE)
    yield "fused", ours(params, lr=RATE, fused=True)
    yield "flattened", ours(list(flatten_(_Net(shapes, device)).parameters()), lr=RATE, fused=True)
    if name in TORCH:
        theirs, keywords = TORCH[name]
        yield "torch", getattr(torch.optim, theirs)(params, lr=RATE, **keywords)
        yield "torch foreach", getattr(torch.optim, theirs)(params, lr=RATE, **keywords, foreach=True)
        if theirs != "Adam":
            with contextlib.suppress(TypeError, RuntimeError):  # not every class has it, nor on every device
                fused = getattr(torch.optim, theirs)(params, lr=RATE, **keywords, fused=True)
                fused.step()  # Adagrad refuses a GPU only here
                yield "torch fused", fused
    yield FUSED_ADAM, torch.optim.Adam(params, lr=RATE, fused=True)


def step(
    lists: list[str], rules: list[str], device: str, rounds: int, progress: Progress = lambda cases: cases
) -> list[Result]:
    """A step of each rule over each list of parameters: default, fused, flattened, and torch's ways."""
    cases = [(what, name, LISTS[what]) for what in lists for name in rules]
    return [result for case in progress(cases) for result in _compared(*case, device, rounds)]


def size(rules: list[str], device: str, rounds: int, progress: Progress = lambda cases: cases) -> list[Result]:
    """`step` over `SIZES`: what a step costs as parameters, or tensors, become more."""
    cases = [(what, name, shapes) for what, shapes in SIZES.items() for name in rules]
    return [result for case in progress(cases) for result in _compared(*case, device, rounds)]


def _compared(what: str, name: str, shapes: Shapes, device: str, rounds: int) -> list[Result]:
    """The bound and all ways of one step; on a GPU a device copy, too."""
    count = sum(torch.Size(shape).numel() for shape in shapes)
    rule = OPTIMIZERS[name].rule
    k = streams(rule)
    optimizers = dict(_optimizers(name, shapes, device))
    steps: dict[str, Step] = {path: optimizer.step for path, optimizer in optimizers.items()}
    bounds: dict[str, Step] = {}
    if device == "cpu":
        with contextlib.suppress(NoKernelError):
            bounds = {path: _walk(rule, optimizers[path]) for path in ("fused", "flattened")}
    else:
        a, b = torch.zeros(count, device=device), torch.ones(count, device=device)
        steps = {"device copy": functools.partial(a.copy_, b), **steps}
    times = interleaved({**{f"bound, {path}": walk for path, walk in bounds.items()}, **steps}, rounds, 0.1, device)
    walks = [times.pop(f"bound, {path}") for path in bounds]
    if device != "cpu":
        walks = [[k / 2 * seconds for seconds in times["device copy"]]]
    if walks:
        times = {"bound": min(walks, key=statistics.median), **times}
    moves = {"device copy": 2, FUSED_ADAM: streams(RULES["Adam"])}
    return [
        _result(what, name, path, count, seconds, moves.get(path, k) * count * torch.float32.itemsize)
        for path, seconds in times.items()
    ]


def _walk(rule: Rule, optimizer: torch.optim.Optimizer) -> Step:
    """The bound's kernel over the memory that a step of the optimizer reads and writes; numbers there stay as they are.

    Raises NoKernelError without a C++ compiler.
    """
    optimizer.step()  # which makes the state
    params, keys = optimizer.param_groups[0]["params"], state_keys(rule, scheduled=False)
    ms, ns = ([optimizer.state[p][name] for p in params] if name else [] for name in (keys.m, keys.n))
    return bound.walk(bound.moving(rule), (params, [p.grad for p in params], ms, ns))


def bandwidth(rounds: int, elements: int = 1 << 25) -> list[Bandwidth]:
    """What the bound's kernels reach, for each k, beside the four of the STREAM benchmark, over tensors of `elements`.

    Each is 128 MiB, and so far larger than a cache. Raises NoKernelError without a C++ compiler.
    """
    kernels: dict[str, Spelling] = {**bound.STREAM}
    for rule in RULES.values():
        kernels.setdefault(f"bound, k = {streams(rule)}", bound.moving(rule))
    p, g, m, n = (torch.ones(elements) for _ in "pgmn")
    steps = {name: bound.walk(kernel, ([p], [g], [m], [n])) for name, kernel in kernels.items()}
    times = interleaved(steps, rounds, 0.1)
    found = []
    for name, (_, reads, writes) in kernels.items():
        size = (len(reads) + len(writes)) * p.nbytes / 1e9
        rates = [size / seconds for seconds in times[name]]
        found.append(Bandwidth(name, len(reads), len(writes), statistics.median(rates), min(rates), max(rates)))
    return found


def bound_by(device: str) -> str:
    """How the bound is found on a device, in words."""
    if device != "cpu":
        return "k/2 device copies, not calibrated"
    try:
        cpu.compiled(bound.moving(RULES["GD"]), torch.float32)
    except NoKernelError as error:
        return f"none: {error}"
    return "a kernel that reads and writes what the rule's own kernel does, and computes next to nothing"


def sparse(rounds: int, rows: int = 50_000, width: int = 128) -> list[Result]:
    """The optimizer's step alone on given sparse gradients of word2vec: row-lazy Nadam beside torch.optim.SparseAdam.

    Three tables, `[rows, width]` for words and for contexts, and `[rows]` for the contexts' biases, all of which
    SparseAdam takes, too. torch's NAdam takes no sparse gradients. What it costs on dense ones of the same tables, and
    what torch's fused Adam does, are lines of their own, because that is a different algorithm, which moves every row.
    """
    shapes = [(rows, width), (rows, width), (rows,)]
    ours: Any = OPTIMIZERS["Nadam"]
    lazy = {
        "row-lazy, fused": functools.partial(ours, fused=True),
        "row-lazy": ours,
        "torch SparseAdam": torch.optim.SparseAdam,
    }
    batches = list(_word_gradients(shapes))
    steps = {path: _over_batches(optimizer, shapes, batches) for path, optimizer in lazy.items()}
    params = list(_Net(shapes, "cpu").parameters())
    dense: dict[str, Step] = {
        "torch, dense": torch.optim.NAdam(params, lr=RATE).step,
        f"{FUSED_ADAM}, dense": torch.optim.Adam(params, lr=RATE, fused=True).step,
    }
    count = sum(torch.Size(shape).numel() for shape in shapes)
    times = {"word2vec rows": _one_by_one(steps, rounds, 64), "all rows, dense": interleaved(dense, rounds, 0.1)}
    return [
        _result(what, "Nadam", path, count, seconds)
        for what, by_path in times.items()
        for path, seconds in by_path.items()
    ]


def _one_by_one(steps: dict[str, Step], rounds: int, repeats: int) -> dict[str, list[float]]:
    """`interleaved` for steps of microseconds: in a round each is timed `repeats` times by itself.

    The figure of a round is the median of these, so that the times in which another program had the core do not count.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, run in steps.items():
            single = []
            for _ in range(repeats):
                started = time.perf_counter()
                run()
                single.append(time.perf_counter() - started)
            times[name].append(statistics.median(single))
    return {name: seconds[1:] for name, seconds in times.items()}  # in the first round they allocate and compile


def _word_gradients(shapes: Shapes, number: int = 256, batch: int = 128, negatives: int = 64) -> Iterator[list[Tensor]]:
    """Gradients of skip-gram batches as `nn.Embedding(sparse=True)` gives them, uncoalesced: words come by Zipf's law.

    A word occurs with both of its neighbours, so twice; a negative example once. All batches share their values: those
    of a gradient that backward has just made are in the cache, and the rows that it is for are not.
    """
    generator = torch.Generator().manual_seed(0)
    likely = torch.arange(1, shapes[0][0] + 1, dtype=torch.float64).reciprocal()
    entries = (batch, batch + negatives, batch + negatives)
    values = [torch.randn(n, *shape[1:], generator=generator) for n, shape in zip(entries, shapes, strict=True)]
    for _ in range(number):
        drawn = torch.multinomial(likely, batch // 2 + batch, replacement=True, generator=generator)
        noise = torch.multinomial(likely, negatives, generator=generator)
        centres, contexts = drawn[: batch // 2].repeat_interleave(2), torch.cat([drawn[batch // 2 :], noise])
        yield [
            torch.sparse_coo_tensor(rows[None], x, shape, check_invariants=False)
            for rows, x, shape in zip((centres, contexts, contexts), values, shapes, strict=True)
        ]


def _over_batches(optimizer: Any, shapes: Shapes, batches: list[list[Tensor]]) -> Step:
    """A step with the gradients of the next batch, round and round."""
    params = [torch.randn(shape).requires_grad_() for shape in shapes]
    update = optimizer(params, lr=RATE)
    turns = itertools.cycle(batches)

    def run() -> None:
        for p, grad in zip(params, next(turns), strict=True):
            p.grad = grad
        update.step()

    return run


def replicas(rounds: int, device: str, count: int = 16) -> list[Result]:
    """`count` runs of a network of 102,000 parameters: one step of all beside a torch step for each."""
    shapes = [(128, 784), (128,), (10, 128), (10,)]
    shared = {str(i): torch.randn(count, *shape, device=device) for i, shape in enumerate(shapes)}
    grads = {name: torch.randn_like(x) for name, x in shared.items()}
    together = Replicas(OPTIMIZERS["Nadam"], shared, lr=torch.linspace(RATE, 2 * RATE, count).tolist(), fused=True)
    apart = [list(_Net(shapes, device).parameters()) for _ in range(count)]
    nadams = [torch.optim.NAdam(params, lr=RATE) for params in apart]
    adams = [torch.optim.Adam(params, lr=RATE, fused=True) for params in apart]
    steps: dict[str, Step] = {
        "replicas": lambda: together.step(grads),
        "torch, one by one": lambda: [optimizer.step() for optimizer in nadams],
        f"{FUSED_ADAM}, one by one": lambda: [optimizer.step() for optimizer in adams],
    }
    times = interleaved(steps, rounds, 0.2, device)
    total = sum(x.numel() for x in shared.values())
    return [_result(f"{count} runs", "Nadam", path, total, seconds) for path, seconds in times.items()]


def _result(what: str, rule: str, path: str, parameters: int, times: list[float], moved: int | None = None) -> Result:
    return Result(what, rule, path, parameters, statistics.median(times), min(times), max(times), moved)


# ---------------------------------------------------------------- what is shown of it


def torchs_best(results: Iterable[Result]) -> Result | None:
    """The fastest path of torch's own class, among results of one list and one rule; None where torch has none.

    Its fused path is one of them where it has one: for Adam that is torch's fused Adam, and for no other rule.
    """
    own = [x for x in results if x.path.startswith("torch") and (x.rule == "Adam" or not _is_fused_adam(x))]
    return min(own, key=lambda x: x.median, default=None)


def _is_fused_adam(result: Result) -> bool:
    return result.path.startswith(FUSED_ADAM)


def rows(results: list[Result]) -> list[tuple[str, ...]]:
    """Rows of a table, the first the header: the median with its range, ns a parameter, GB/s, and three ratios.

    `× bound`: this to the bound. `torch ÷`: the best path of torch's own class to this. `fused Adam ÷`: torch's fused
    Adam to this, whatever the rule. They are empty where there is nothing to compare with.
    """
    table: list[tuple[str, ...]] = [
        ("list", "rule", "path", "ms", "range", "ns/param", "GB/s", "× bound", "torch ÷", "fused Adam ÷")
    ]
    for x in results:
        peers = [y for y in results if (y.what, y.rule) == (x.what, x.rule)]
        least, adam = (next(filter(kind, peers), None) for kind in (_is_bound, _is_fused_adam))
        table.append(
            (
                x.what,
                x.rule,
                x.path,
                f"{x.median * 1e3:.3f}",
                f"{x.low * 1e3:.3f}-{x.high * 1e3:.3f}",
                f"{x.nanoseconds:.2f}",
                f"{x.gigabytes:.1f}" if x.gigabytes else "",
                _ratio(x, least),
                _ratio(torchs_best(peers), x),
                _ratio(adam, x),
            )
        )
    return table


def _is_bound(result: Result) -> bool:
    return result.path == "bound"


def _ratio(x: Result | None, y: Result | None) -> str:
    return f"{x.median / y.median:.2f}" if x and y else ""


def bandwidth_rows(found: list[Bandwidth]) -> list[tuple[str, ...]]:
    """Rows of a table of `bandwidth`, the first the header."""
    header = ("kernel", "reads", "writes", "GB/s", "range")
    return [
        header,
        *((x.kernel, str(x.reads), str(x.writes), f"{x.median:.1f}", f"{x.low:.1f}-{x.high:.1f}") for x in found),
    ]


def report(
    what: str, rounds: int, device: str, results: list[Result], bandwidths: Sequence[Bandwidth] = ()
) -> dict[str, Any]:
    """The results as JSON takes them; measures the peak of the device meanwhile.

    - `bench`, `rounds`: what was measured, and how many numbers a median is of;
    - `machine`: `device`, `threads`, `capability` (torch's name of the instructions), `flops` (float32 operations a
      second of a matrix product);
    - `versions`: of `nadam_ref`, `torch` and `python`; `commit`, `dirty`: of the checkout, where there is one;
    - `bound`: how the bound was found, in words (`bound_by`);
    - `bandwidth`: a mapping for each `Bandwidth`, in GB/s; none but for `step` and `size` on a CPU;
    - `results`: a mapping for each `Result`, in seconds. The bound is the path "bound" of its list and rule.
    """
    return {
        "bench": what,
        "rounds": rounds,
        "machine": {
            "device": torch.cuda.get_device_name() if device == "cuda" else processor(),
            "threads": torch.get_num_threads(),
            "capability": torch.backends.cpu.get_cpu_capability(),
            "flops": _peak(device),
        },
        "versions": {"nadam_ref": __version__, "torch": torch.__version__, "python": platform.python_version()},
        **checkout(PACKAGE.parent, PACKAGE.name),
        "bound": bound_by(device),
        "bandwidth": [x._asdict() for x in bandwidths],
        "results": [x._asdict() for x in results],
    }


def _peak(device: str, n: int = 1024) -> float:
    """Float32 operations a second that a matrix product reaches: the flat part of the roofline."""
    a = torch.rand(n, n, device=device)
    times = interleaved({"product": lambda: a @ a}, 5, 0.1, device)["product"]
    return 2 * n**3 / min(times)

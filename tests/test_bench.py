"""The bench: what it reports adds up, and its command writes what it shows."""

import functools
import json
import re

import pytest
import torch

from nadam_ref import OPTIMIZERS, RULES, bench, fused
from nadam_ref.cli import main
from nadam_ref.commands import bench as bench_command
from nadam_ref.fused import bound, codegen, cpu
from nadam_ref.fused.pointers import NoKernelError
from nadam_ref.kernels import Prelude


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(bench, "LISTS", {"tiny": [(3, 4), (5,)]})
    monkeypatch.setattr(bench, "interleaved", one_round)
    monkeypatch.setattr(bench, "bandwidth", functools.partial(bench.bandwidth, elements=100))


def one_round(steps, rounds, seconds, device="cpu"):
    times = {}
    for i, (name, run) in enumerate(steps.items(), start=1):
        run()
        times[name] = [i * 1e-3, i * 2e-3, i * 3e-3]
    return times


def test_the_lists_are_the_ones_of_the_claims():
    counts = {name: sum(torch.Size(s).numel() for s in shapes) for name, shapes in bench.LISTS.items()}
    assert counts == {"resnet50": 25_680_832, "small": 1_024_000, "mlp": 535_818}


def test_streams_count_what_an_update_reads_and_writes():
    found = {name: bench.streams(cls.rule) for name, cls in OPTIMIZERS.items()}
    assert found["GD"] == 3
    assert {found[x] for x in ("Momentum", "NAG", "AdaGrad", "RMSProp", "MaxProp")} == {5}
    assert {found[x] for x in ("Adam", "AdaMax", "Nadam", "NadaMax")} == {7}


#: What is read and written for one parameter, by hand.
TRAFFIC = {
    **dict.fromkeys(["GD"], ("pg", "p")),
    **dict.fromkeys(["Momentum", "NAG"], ("pgm", "pm")),
    **dict.fromkeys(["AdaGrad", "RMSProp", "MaxProp"], ("pgn", "pn")),
    **dict.fromkeys(["Adam", "AdaMax", "Nadam", "NadaMax"], ("pgmn", "pmn")),
}


def traffic(spelling):
    """What a kernel reads and writes, as its C++ has it."""
    text = cpu.written(spelling, torch.float32)
    return "".join(re.findall(r"= at_(\w)\[i\];", text)), "".join(re.findall(r"at_(\w)\[i\] = ", text))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_bounds_kernel_moves_what_the_rules_own_kernel_does(name):
    rule = RULES[name]
    own = traffic(codegen.spell(rule, Prelude()))
    assert traffic(bound.moving(rule)) == own == TRAFFIC[name]
    assert len("".join(own)) == bench.streams(rule)


def lists_of(rule, dtype=torch.float32):
    """θ, g, m and n of two tensors each, of small whole numbers."""
    generator = torch.Generator().manual_seed(0)
    there = (True, True, rule.momentum != "none", rule.norm != "none")
    return tuple(
        [torch.randint(-9, 9, shape, generator=generator).to(dtype) for shape in [(3, 5), (7,)]] if x else []
        for x in there
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_bounds_kernel_writes_all_that_it_should_and_changes_nothing(name, monkeypatch):
    lists = lists_of(RULES[name])
    before = [[x.clone() for x in tensors] for tensors in lists]
    bound.walk(bound.moving(RULES[name]), lists)()
    assert all(torch.equal(x, y) for xs, ys in zip(lists, before, strict=True) for x, y in zip(xs, ys, strict=True))
    monkeypatch.setattr(bound, "ZEROS", bound.ZEROS._replace(gamma=2.0))
    bound.walk(bound.moving(RULES[name]), lists)()
    for letter, tensors, olds in zip("pgmn", lists, before, strict=True):
        for x, old, g in zip(tensors, olds, before[1] if tensors else [], strict=True):
            assert torch.equal(x, old + 2 * g * (letter in TRAFFIC[name][1]))


def test_the_kernels_of_stream_are_those_of_its_definition(monkeypatch):
    monkeypatch.setattr(bound, "ZEROS", bound.ZEROS._replace(gamma=3.0))
    a, b = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([8.0, 16.0, 32.0])
    wanted = {"copy": a, "scale": 3 * a, "add": a + b, "triad": a + 3 * b}
    for name, kernel in bound.STREAM.items():
        c = torch.zeros(3)
        bound.walk(kernel, ([c], [a], [b], [torch.zeros(3)]))()
        assert torch.equal(c, wanted[name]), name
    assert {name: tuple(map(len, traffic(kernel))) for name, kernel in bound.STREAM.items()} == {
        "copy": (1, 1),
        "scale": (1, 1),
        "add": (2, 1),
        "triad": (2, 1),
    }


def test_the_bound_walks_no_gaps():
    x = torch.zeros(4, 4)[:, ::2]
    with pytest.raises(ValueError, match="1 of 1 tensors do not lie in memory"):
        bound.walk(bound.moving(RULES["GD"]), ([x], [x], [], []))


def test_bandwidth_is_bytes_by_seconds(monkeypatch):
    monkeypatch.setattr(bench, "interleaved", one_round)
    found = bench.bandwidth(3, elements=1000)
    names = ["copy", "scale", "add", "triad", "bound, k = 3", "bound, k = 5", "bound, k = 7"]
    assert [x.kernel for x in found] == names
    assert [(x.reads, x.writes) for x in found] == [(1, 1), (1, 1), (2, 1), (2, 1), (2, 1), (3, 2), (4, 3)]
    last = found[-1]  # the seventh took 7, 14 and 21 ms
    assert last.median == pytest.approx(7 * 4 * 1000 / 14e-3 / 1e9)
    assert (last.low, last.high) == (pytest.approx(last.median * 14 / 21), pytest.approx(last.median * 2))


def test_a_step_of_every_rule_on_every_path(tiny):
    results = bench.step(["tiny"], list(OPTIMIZERS), "cpu", 3)
    paths = {name: [x.path for x in results if x.rule == name] for name in OPTIMIZERS}
    ours = ["bound", "default", "fused", "flattened"]
    for name, found in paths.items():
        theirs = ["torch", "torch foreach"] if name in bench.TORCH else []
        theirs += ["torch fused"] if name in ("GD", "Momentum", "NAG", "AdaGrad") else []
        assert found == [*ours, *theirs, "torch fused Adam"]
    least, default, *_ = results
    assert least.median == 2e-3  # the kernel over the memory of the fused step; that of the flattened one took 4
    assert default.parameters == 17
    assert (default.median, default.low, default.high) == pytest.approx((6e-3, 3e-3, 9e-3))
    assert default.nanoseconds == pytest.approx(6e-3 / 17 * 1e9)
    assert default.gigabytes == pytest.approx(3 * 4 * 17 / 6e-3 / 1e9)  # three streams of 17 floats
    adam = next(x for x in results if x.path == "torch fused Adam")
    assert adam.rule == "GD" and adam.moved == 7 * 4 * 17


def test_the_bound_is_the_faster_of_its_two_walks(tiny, monkeypatch):
    monkeypatch.setattr(bench, "interleaved", lambda steps, *_: {x: [9.0 - i] for i, x in enumerate(steps)})
    results = bench.step(["tiny"], ["Adam"], "cpu", 1)
    assert results[0].path == "bound" and results[0].median == 8.0


def test_the_bound_walks_the_memory_of_the_step(monkeypatch):
    walked = []
    monkeypatch.setattr(bound, "walk", lambda spelling, lists: walked.append(lists))
    optimizers = dict(bench._optimizers("Nadam", [(3, 4), (5,)], "cpu"))
    bench._walk(RULES["Nadam"], optimizers["fused"])
    params = optimizers["fused"].param_groups[0]["params"]
    state = [optimizers["fused"].state[p] for p in params]
    expected = params, [p.grad for p in params], [s["exp_avg"] for s in state], [s["exp_avg_sq"] for s in state]
    (found,) = walked
    for xs, ys in zip(found, expected, strict=True):
        assert [x.data_ptr() for x in xs] == [y.data_ptr() for y in ys]


def test_without_a_compiler_there_is_no_bound_and_it_says_why(tiny, monkeypatch, capsys, tmp_path):
    def no_compiler(*_):
        raise NoKernelError("no C++ compiler is on the PATH")

    monkeypatch.setattr(cpu, "_library", no_compiler)
    monkeypatch.setattr(fused, "_WITHOUT_COMPILER", {"cpu"})  # so that no step warns
    file = tmp_path / "bench.json"
    assert main(["bench", "step", "--list", "tiny", "--rule", "Nadam", "--json", str(file)]) == 0
    written = json.loads(file.read_text())
    assert "bound" not in {x["path"] for x in written["results"]}
    assert written["bound"] == "none: no C++ compiler is on the PATH" and written["bandwidth"] == []
    assert "bound: none: no C++ compiler is on the PATH" in capsys.readouterr().out


def test_a_gpus_bound_is_device_copies_and_not_calibrated(monkeypatch):
    monkeypatch.setattr(bench, "_optimizers", lambda *_: {})
    monkeypatch.setattr(bench, "interleaved", one_round)
    least, copy = bench._compared("x", "Nadam", [(8,)], "meta", 3)  # as far as a device that has no memory goes
    assert (least.path, copy.path) == ("bound", "device copy")
    assert least.median == pytest.approx(7 / 2 * copy.median)
    assert least.gigabytes == pytest.approx(copy.gigabytes)
    assert "not calibrated" in bench.bound_by("cuda")


def timed(path, median, rule="GD"):
    return bench.Result("list", rule, path, 1000, median, median / 2, median * 2)


def test_ratios_are_to_the_bound_to_torchs_best_and_to_its_fused_adam():
    times = {"bound": 1e-3, "fused": 2e-3, "torch": 9e-3, "torch fused": 3e-3, "torch fused Adam": 1.5e-3}
    header, *lines = bench.rows([timed(*x) for x in times.items()])
    assert header[-3:] == ("× bound", "torch ÷", "fused Adam ÷")
    assert [line[2:5] for line in lines][1] == ("fused", "2.000", "1.000-4.000")
    assert {line[2]: line[-3:] for line in lines} == {
        "bound": ("1.00", "3.00", "1.50"),
        "fused": ("2.00", "1.50", "0.75"),
        "torch": ("9.00", "0.33", "0.17"),
        "torch fused": ("3.00", "1.00", "0.50"),
        "torch fused Adam": ("1.50", "2.00", "1.00"),
    }
    _, line = bench.rows([timed("fused", 1e-3)])
    assert line[-3:] == ("", "", "")


def test_torchs_fused_adam_is_of_adams_own_class_alone():
    times = {"fused": 1.0, "torch": 3.0, "torch foreach": 2.5, "torch fused Adam": 2.0}
    for rule, best in (("GD", "torch foreach"), ("Adam", "torch fused Adam")):
        assert bench.torchs_best(timed(*x, rule) for x in times.items()).path == best
    assert bench.torchs_best([timed("fused", 1.0), timed("torch fused Adam", 1.0)]) is None


def test_sizes_span_what_they_say():
    counts = {name: (sum(torch.Size(s).numel() for s in shapes), len(shapes)) for name, shapes in bench.SIZES.items()}
    assert [n for n, tensors in counts.values() if tensors == 1] == [10**e for e in range(3, 9)]
    assert [tensors for n, tensors in counts.values() if n == 10**6] == [1, 10, 100, 1000, 10000]


def test_every_size_is_a_case_of_its_own(tiny, monkeypatch):
    monkeypatch.setattr(bench, "SIZES", {"3": [(3,)], "4 in 2": [(2,)] * 2})
    seen = []
    results = bench.size(["Nadam"], "cpu", 1, lambda cases: seen.extend(cases) or cases)
    assert [case[0] for case in seen] == ["3", "4 in 2"]
    assert [(x.what, x.parameters) for x in results if x.path == "fused"] == [("3", 3), ("4 in 2", 4)]


def test_interleaving_takes_turns():
    order = []
    steps = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    times = bench.interleaved(steps, 3, 0.0)
    assert "".join(order[6:]) == "ababab"
    assert {name: len(found) for name, found in times.items()} == {"a": 3, "b": 3}


def test_steps_one_by_one_take_turns_by_rounds_and_the_first_is_for_warming_up(monkeypatch):
    clock, order = iter(range(1000)), []
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock) ** 2)
    steps = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    times = bench._one_by_one(steps, 2, 3)
    assert "".join(order) == "aaabbb" * 3
    durations = [(2 * i + 1) ** 2 - (2 * i) ** 2 for i in range(18)]
    assert times == {"a": [durations[7], durations[13]], "b": [durations[10], durations[16]]}


def test_word2vecs_gradients_are_as_its_batches_give_them():
    batches = list(bench._word_gradients([(300, 4), (300, 4), (300,)], number=5))
    assert len(batches) == 5
    for words, contexts, bias in batches:
        assert [x._nnz() for x in (words, contexts, bias)] == [128, 192, 192]
        assert not words.is_coalesced() and not contexts.is_coalesced() and words.coalesce()._nnz() <= 64
        assert torch.equal(contexts._indices(), bias._indices())
        assert len(set(contexts._indices()[0, 128:].tolist())) == 64


def test_times_of_a_gpu_end_when_it_has_done_its_work(monkeypatch):
    """A step takes a millisecond of host time and ten of the device's, which only a wait shows."""
    clock, queued, calls = [0.0], [0.0], []

    def run():
        calls.append(clock[0])
        clock[0] += 1e-3
        queued[0] += 10e-3

    def synchronize(device):
        assert device == "cuda"
        clock[0] += queued[0]
        queued[0] = 0.0

    monkeypatch.setattr(bench.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert bench.interleaved({"a": run}, 2, 0.1, "cuda")["a"] == pytest.approx([11e-3] * 2)
    assert len(calls) == 2 + 1 + 2 * 9  # 0.1 s of 11 ms each


def test_a_cpu_is_timed_without_a_word_to_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", None)
    assert len(bench.interleaved({"a": lambda: None}, 2, 0.0)["a"]) == 2


def test_the_command_prints_and_writes_the_same(tiny, tmp_path, capsys):
    file = tmp_path / "bench.json"
    threads = torch.get_num_threads()
    try:
        assert main(["bench", "step", "--list", "tiny", "--rule", "Nadam", "--json", str(file)]) == 0
    finally:
        torch.set_num_threads(threads)
    table, rest = capsys.readouterr().out.split("\n\n")
    lines, (words, header, *kernels) = table.splitlines(), rest.splitlines()
    written = json.loads(file.read_text())
    assert [line.split()[1] for line in lines[1:]] == [x["rule"] for x in written["results"]]
    assert words == f"bound: {written['bound']}" and "GB/s" in header
    assert [line.split("  ")[0] for line in kernels] == [x["kernel"] for x in written["bandwidth"]]
    assert written["versions"]["torch"] == torch.__version__
    assert written["machine"]["threads"] == 1
    assert "torch ÷" in lines[0]


def test_the_report_has_the_fields_that_it_documents():
    found = bench.report("sparse", 3, "cpu", [timed("fused", 1.0)], [bench.Bandwidth("copy", 1, 1, 2.0, 1.0, 3.0)])
    assert json.loads(json.dumps(found)) == found
    documented = re.findall(r"`(\w+)`", "".join(re.findall(r"^ *- (`.*?):", bench.report.__doc__, re.M)))
    assert set(found) == {*documented, "versions", "commit", "dirty"}
    assert set(found["machine"]) == {"device", "threads", "capability", "flops"}
    assert found["results"] == [
        {
            "what": "list",
            "rule": "GD",
            "path": "fused",
            "parameters": 1000,
            "median": 1.0,
            "low": 0.5,
            "high": 2.0,
            "moved": None,
        }
    ]
    assert found["bandwidth"] == [{"kernel": "copy", "reads": 1, "writes": 1, "median": 2.0, "low": 1.0, "high": 3.0}]


def test_small_sparse_and_replicas_run():
    lazy = {("word2vec rows", path) for path in ("row-lazy, fused", "row-lazy", "torch SparseAdam")}
    assert {(x.what, x.path) for x in bench.sparse(1, rows=300, width=4)} == {
        *lazy,
        ("all rows, dense", "torch, dense"),
        ("all rows, dense", "torch fused Adam, dense"),
    }
    single = {"torch, one by one", "torch fused Adam, one by one"}
    assert {x.path for x in bench.replicas(1, "cpu", count=2)} == {"replicas", *single}


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--threads", "0"]])
def test_bad_numbers_are_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["bench", "replicas", *arguments])
    assert leaving.value.code == 2 and "'0' is not a positive integer" in capsys.readouterr().err


def test_no_cuda_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "step", "--device", "cuda"]) == 2
    assert "nadam-ref bench step --device cpu" in capsys.readouterr().err


def test_sparse_on_a_gpu_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(bench, "sparse", None)
    assert main(["bench", "sparse", "--device", "cuda"]) == 2
    assert capsys.readouterr().err.endswith("on the CPU alone: nadam-ref bench sparse --device cpu\n")


@pytest.mark.parametrize("place", ["", "file/bench.json"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(place, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "step", None)
    (tmp_path / "file").touch()
    assert main(["bench", "step", "--json", str(tmp_path / place)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"nadam-ref: cannot write {tmp_path / place}: ") and said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_written_after_all_is_one_line(tiny, monkeypatch, tmp_path, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bench_command, "write_whole", full)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    assert main(["bench", "step", "--list", "tiny", "--rule", "GD", "--json", str(tmp_path / "bench.json")]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "No space left on device; name another file" in said.err and "GD" in said.out

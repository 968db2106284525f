"""The bench: what it reports adds up, and its command writes what it shows."""

import json

import pytest
import torch

from nadam_ref import OPTIMIZERS, bench
from nadam_ref.cli import main


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(bench, "LISTS", {"tiny": [(3, 4), (5,)]})
    monkeypatch.setattr(bench, "interleaved", one_round)


def one_round(steps, rounds, seconds, device):
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


def test_a_step_of_every_rule_on_every_path(tiny):
    results = bench.step(["tiny"], list(OPTIMIZERS), "cpu", 3)
    paths = {name: [x.path for x in results if x.rule == name] for name in OPTIMIZERS}
    ours = ["default", "fused", "flattened"]
    for name, found in paths.items():
        theirs = ["torch", "torch foreach"] if name in bench.TORCH else []
        assert found == [*ours, *theirs, "torch fused Adam"]
    first = results[0]
    assert (first.parameters, first.median, first.low, first.high) == (17, 4e-3, 2e-3, 6e-3)
    assert first.floor == pytest.approx(2e-3)  # the floor took the first turn, and GD has its three streams
    assert first.nanoseconds == pytest.approx(4e-3 / 17 * 1e9)
    assert first.gigabytes == pytest.approx(3 * 4 * 17 / 4e-3 / 1e9)  # three streams of 17 floats
    adam = next(x for x in results if x.path == "torch fused Adam")
    assert adam.rule == "GD" and adam.moved == 7 * 4 * 17


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
    lines = capsys.readouterr().out.splitlines()
    written = json.loads(file.read_text())
    assert [line.split()[1] for line in lines[1:]] == [x["rule"] for x in written["results"]]
    assert written["versions"]["torch"] == torch.__version__
    assert written["machine"]["threads"] == 1
    assert "torch ÷" in lines[0]


def test_small_sparse_and_replicas_run():
    lazy = {("word2vec rows", path) for path in ("row-lazy, fused", "row-lazy", "torch SparseAdam")}
    assert {(x.what, x.path) for x in bench.sparse(1, rows=300, width=4)} == {
        *lazy,
        ("all rows, dense", "torch, dense"),
    }
    assert {x.path for x in bench.replicas(1, "cpu", count=2)} == {"replicas", "torch, one by one"}


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--threads", "0"]])
def test_bad_numbers_are_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["bench", "replicas", *arguments])
    assert leaving.value.code == 2 and "'0' is not a positive integer" in capsys.readouterr().err


def test_no_cuda_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", "step", "--device", "cuda"]) == 2
    assert "nadam-ref bench step --device cpu" in capsys.readouterr().err

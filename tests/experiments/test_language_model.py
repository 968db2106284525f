"""The language model against torch.nn.LSTM, the paper's count, and a text whose best perplexity is known."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import grad_and_value, vmap

from nadam_ref.experiments.datasets import corpora, synthetic
from nadam_ref.experiments.tasks import TASKS
from nadam_ref.experiments.tasks.language_model import Size

TASK = TASKS["language_model"]
CHAIN = corpora.load_text("chain")
SIZE = Size(words=30, units=7, unroll=5)


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def first_batch(size: Any, batch: Any, seed: int = 1, dtype: torch.dtype = torch.float64) -> Any:
    return next(TASK.batches(CHAIN, size, batch, generator(seed), generator(), dtype))


def words(count: Any) -> Any:
    """A made-up text of `count` different words."""
    ids = np.arange(count)
    return corpora.TextData("made", "made-up text", tuple(map(str, ids)), ids.copy(), ids.copy(), ids.copy())


def test_the_reports_network_has_4651600_parameters() -> None:
    params = TASK.init(words(10_000), TASK.SIZES["paper"], generator())
    assert sum(p.numel() for p in params.values()) == 4_651_600


def test_initial_values() -> None:
    params = TASK.init(words(10_000), TASK.SIZES["paper"], generator())
    for name, x in params.items():
        assert x.is_leaf and x.requires_grad
        if name.startswith("lstm") and name.endswith("bias"):
            assert x.eq(0).all()
        else:
            x = x.detach().double()
            assert 0.0995 < x.abs().max() <= 0.1 and abs(x.mean()) < 0.002
            assert x.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.02)


def torch_model(params: Any) -> Any:
    """The same network from torch.nn, whose second bias is 0."""
    lstm = torch.nn.LSTM(SIZE.units, SIZE.units, SIZE.layers, dtype=torch.float64)
    with torch.no_grad():
        for layer in range(SIZE.layers):
            getattr(lstm, f"weight_ih_l{layer}").copy_(params[f"lstm{layer}.input"])
            getattr(lstm, f"weight_hh_l{layer}").copy_(params[f"lstm{layer}.hidden"])
            getattr(lstm, f"bias_ih_l{layer}").copy_(params[f"lstm{layer}.bias"])
            getattr(lstm, f"bias_hh_l{layer}").zero_()
    return lstm


def test_loss_gradients_and_state_are_those_of_torch() -> None:
    params = TASK.init(CHAIN, SIZE, generator(), torch.float64)
    with torch.no_grad():  # biases that matter
        for layer in range(SIZE.layers):
            params[f"lstm{layer}.bias"].uniform_(-1, 1, generator=generator(3))
    inputs, following, _ = first_batch(SIZE, 4)
    before = tuple(torch.rand(2, 4, 7, dtype=torch.float64, generator=generator(4)) for _ in range(2))
    one = torch.ones((), dtype=torch.float64)
    loss, after = TASK.loss(SIZE, params, (inputs, following, one), before)
    loss.backward()

    lstm = torch_model(params)
    outputs, states = lstm(params["embedding"].detach()[inputs], before)
    scores = outputs @ params["output.weight"].detach().T + params["output.bias"].detach()
    logs = torch.log_softmax(scores, -1).gather(-1, following[..., None])
    expected = -logs.sum() / 4  # summed over time, averaged over the batch
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-13)
    for ours, theirs in zip(after, states, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-14)
        assert not ours.requires_grad
    for layer in range(SIZE.layers):
        for ours, theirs in (("input", "weight_ih"), ("hidden", "weight_hh"), ("bias", "bias_ih")):
            expected_grad = getattr(lstm, f"{theirs}_l{layer}").grad
            torch.testing.assert_close(params[f"lstm{layer}.{ours}"].grad, expected_grad, rtol=1e-11, atol=1e-13)


def test_a_batch_that_begins_an_epoch_resets_the_state() -> None:
    params = TASK.init(CHAIN, SIZE, generator(), torch.float64)
    inputs, following, going = first_batch(SIZE, 4)
    assert going == 0
    fresh = TASK.state(SIZE, 4, torch.float64)
    used = tuple(torch.ones_like(x) for x in fresh)
    first, _ = TASK.loss(SIZE, params, (inputs, following, going), used)
    assert first == TASK.loss(SIZE, params, (inputs, following, going), fresh)[0]
    assert first != TASK.loss(SIZE, params, (inputs, following, torch.ones(())), used)[0]


def test_batches_read_the_text_on_and_on() -> None:
    """Words of a batch follow those of the one before, in every column; an epoch begins again at the same place."""
    text = words(103)
    size = Size(words=103, units=4, unroll=4)
    stream = TASK.batches(text, size, 5, generator(2), generator())
    steps = TASK.epoch(text, size, 5)
    assert steps == (103 // 5 - 1) // 4 == 4
    epochs = [[next(stream) for _ in range(steps)] for _ in range(2)]
    for inputs, following, _ in epochs[0]:
        assert ((following - inputs) % 103 == 1).all()
    read = torch.cat([inputs for inputs, *_ in epochs[0]])
    assert ((read[1:] - read[:-1]) % 103 == 1).all() and read.unique().numel() == 80
    for first, second in zip(*epochs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert [int(batch[2]) for batch in epochs[0]] == [0, 1, 1, 1]
    other = next(TASK.batches(text, size, 5, generator(9), generator()))
    assert not torch.equal(other[0], epochs[0][0][0])


def test_rare_words_are_unknown() -> None:
    inputs, following, _ = first_batch(Size(words=10, units=2, unroll=20), 20)
    assert inputs.max() < 10 and following.max() < 10 and (inputs == 0).sum() > 100


def test_vmapped_gradients_are_those_of_separate_runs() -> None:
    sets = [TASK.init(CHAIN, SIZE, generator(seed), torch.float64) for seed in (0, 1)]
    inputs = [first_batch(SIZE, 4, seed) for seed in (0, 1)]
    states = [tuple(torch.rand(2, 4, 7, dtype=torch.float64) for _ in range(2)) for _ in (0, 1)]
    objective = grad_and_value(functools.partial(TASK.loss, SIZE), has_aux=True)
    alone = [objective(*run) for run in zip(sets, inputs, states, strict=True)]
    together = vmap(objective)(
        {name: torch.stack([s[name].detach() for s in sets]) for name in sets[0]},
        *(tuple(map(torch.stack, zip(*both, strict=True))) for both in (inputs, states)),
    )
    for r in range(2):
        assert together[1][0][r].item() == pytest.approx(alone[r][1][0].item(), rel=1e-13)
        for name, g in alone[r][0].items():
            torch.testing.assert_close(together[0][name][r], g, rtol=1e-11, atol=1e-14)
        for ours, theirs in zip(together[1][1], alone[r][1][1], strict=True):
            torch.testing.assert_close(ours[r], theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_torchs_loop_gives_what_the_written_out_steps_give(cell: str, dtype: torch.dtype, close: float) -> None:
    """Torch has a kernel for each dtype; a transform of torch.func takes the steps as they are written."""
    size = dataclasses.replace(SIZE, cell=cell)
    exact = TASK.init(CHAIN, size, generator(), torch.float64)
    with torch.no_grad():
        for layer in range(size.layers):
            exact[f"{cell}{layer}.bias"].uniform_(-1, 1, generator=generator(3))
    inputs, following, _ = first_batch(size, 4)
    one = torch.ones((), dtype=torch.float64)
    state = tuple(torch.rand(x.shape, dtype=x.dtype, generator=generator(4)) for x in TASK.state(size, 4, one.dtype))
    objective = grad_and_value(functools.partial(TASK.loss, size), has_aux=True)
    grads, (value, after) = objective(exact, (inputs, following, one), state)

    params = {name: x.detach().to(dtype).requires_grad_() for name, x in exact.items()}
    loss, found = TASK.loss(size, params, (inputs, following, one.to(dtype)), tuple(x.to(dtype) for x in state))
    loss.backward()
    torch.testing.assert_close(loss.double(), value, rtol=close, atol=close)
    for ours, steps in zip(found, after, strict=True):
        torch.testing.assert_close(ours.double(), steps, rtol=close, atol=close)
    for name, g in grads.items():
        torch.testing.assert_close(params[name].grad.double(), g.detach(), rtol=close, atol=close)


@pytest.mark.parametrize(("split", "streams"), [("dev", 20), ("test", 1)])
def test_evaluation_carries_the_state_and_counts_every_word_once(split: str, streams: int) -> None:
    """As TensorFlow's tutorial: 20 pieces of the development text side by side; the test text word by word, whole."""
    params = TASK.init(CHAIN, SIZE, generator(), torch.float64)
    found = TASK.evaluate(params, CHAIN, split)
    ids = np.where(CHAIN.split(split) < 30, CHAIN.split(split), 0)
    text = torch.tensor(ids[: len(ids) // streams * streams].reshape(streams, -1).T)
    with torch.no_grad():
        outputs, _ = torch_model(params)(params["embedding"][text[:-1]])
        scores = outputs @ params["output.weight"].T + params["output.bias"]
    expected = torch.nn.functional.cross_entropy(scores.flatten(0, 1), text[1:].flatten()).item()
    assert found["loss"].item() == pytest.approx(expected, rel=1e-12)
    assert found["perplexity"].item() == pytest.approx(math.exp(expected), rel=1e-12)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_evaluation_vectorizes(split: str) -> None:
    sets = [TASK.init(CHAIN, SIZE, generator(seed), torch.float64) for seed in (0, 1)]
    stacked = {name: torch.stack([s[name].detach() for s in sets]) for name in sets[0]}
    both = vmap(lambda params: TASK.evaluate(params, CHAIN, split))(stacked)
    for r in range(2):
        expected = TASK.evaluate(sets[r], CHAIN, split)["loss"].item()
        assert both["loss"][r].item() == pytest.approx(expected, rel=1e-12)


def test_entropy_rate_of_a_chain_that_is_solved_by_hand() -> None:
    a, b = 0.1, 0.4  # two states: π = (b, a) / (a + b), a mixture of two coins
    coin = lambda p: -p * math.log(p) - (1 - p) * math.log(1 - p)  # noqa: E731
    found = synthetic.entropy_rate(np.array([[1 - a, a], [b, 1 - b]]))
    assert found == pytest.approx((b * coin(a) + a * coin(b)) / (a + b), rel=1e-12)


def test_the_generated_text_has_the_perplexity_of_its_model() -> None:
    """The model that made the text predicts it as well as is said, to the sampling error."""
    matrix = synthetic.transitions()
    number = {word: int(word[1:]) for word in CHAIN.words[1:]}
    assert sorted(number.values()) == list(range(50))
    for split in ("train", "dev", "test"):
        states = np.array([number[CHAIN.words[i]] for i in CHAIN.split(split)])
        losses = -np.log(matrix[states[:-1], states[1:]])
        error = losses.std() / math.sqrt(len(losses))
        assert losses.mean() == pytest.approx(synthetic.entropy_rate(matrix), abs=4 * error)
        assert error < 0.02


def test_fault_31_vocabulary_too_small() -> None:
    params = TASK.init(CHAIN, TASK.SIZES["small"], generator())
    assert len(params["embedding"]) == len(params["output.bias"]) == 51  # no more than the text has
    with pytest.raises(ValueError, match="a vocabulary of 1 word leaves nothing to learn; made-up text has 1"):
        TASK.init(words(1), SIZE, generator())


def test_fault_32_text_shorter_than_a_batch() -> None:
    short = CHAIN.first((100, 40, 40))
    with pytest.raises(ValueError, match=r"batch 20 × 5 words needs 120 words of text; .* has 100"):
        first = TASK.batches(short, SIZE, 20, generator(), generator())
        next(first)
    with pytest.raises(ValueError, match=r"the dev part of .* has 20 words; it needs 40"):
        TASK.evaluate(TASK.init(CHAIN, SIZE, generator()), CHAIN.first((100, 20, 40)), "dev")
    with pytest.raises(ValueError, match=r"the test part of .* has 1 words; it needs 2"):
        TASK.evaluate(TASK.init(CHAIN, SIZE, generator()), CHAIN.first((100, 40, 1)), "test")

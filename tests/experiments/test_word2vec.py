"""Word vectors: TensorFlow's sampler and objective on cases worked by hand, the metric on a hand-made embedding."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from torch.func import grad_and_value, vmap

from nadam_ref import Nadam
from nadam_ref.experiments.datasets import corpora, registry
from nadam_ref.experiments.tasks import TASKS, pick, scatter, word2vec
from nadam_ref.experiments.tasks.word2vec import Size

TASK = TASKS["word2vec"]
CLUSTERS = corpora.load_words("clusters")
SIZE = Size(words=91, dimensions=6, negatives=5)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def first_batch(size=SIZE, batch=8, seed=1, dtype=torch.float64):
    return next(TASK.batches(CLUSTERS, size, batch, generator(seed), generator(seed + 10), dtype))


def counting(tokens, words=None):
    """A made-up text 0, 1, 2, … in which a word's number is its place."""
    ids = np.arange(tokens)
    return corpora.TextData("made", "made-up text", tuple(map(str, ids[:words])), ids, ids[:4].reshape(1, 4), ids[:0])


# ---------------------------------------------------------------- the sampler


def test_log_uniform_probabilities_are_tensorflows():
    """Its documentation: P(class) = (log(class + 2) − log(class + 1)) / log(range_max + 1)."""
    found = word2vec.log_uniform(50_000)
    assert found.sum().item() == pytest.approx(1, rel=1e-12)
    assert found[0].item() == pytest.approx(math.log(2) / math.log(50_001), rel=1e-12)
    assert found[999].item() == pytest.approx((math.log(1001) - math.log(1000)) / math.log(50_001), rel=1e-9)


def test_single_draws_follow_these_probabilities():
    drawn = word2vec.negatives(9, 1, 4000, generator())[0][:, 0]
    expected = word2vec.log_uniform(9).numpy()
    share = np.bincount(drawn, minlength=9) / len(drawn)
    assert np.abs(share - expected).max() < 4 * math.sqrt(0.25 / len(drawn))


def test_negatives_are_different_words_and_all_of_them_where_all_are_asked_for():
    sampled, draws = word2vec.negatives(40, 12, 50, generator())
    assert sampled.shape == (50, 12) and draws.shape == (50,)
    assert all(len(set(words)) == 12 for words in sampled.tolist())
    assert draws.min() >= 12 and sampled.min() >= 0 and sampled.max() < 40
    assert sorted(word2vec.negatives(6, 6, 1, generator())[0][0].tolist()) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="7 different negative examples cannot be drawn from 6 words"):
        word2vec.negatives(6, 7, 1, generator())


def test_draws_are_counted_as_tensorflow_counts_them():
    """Read one by one, words that come again are passed over and counted; the count ends with the last word taken."""
    words, count, batches, stream = 12, 9, 30, generator(3)
    # for every batch the sampler reads 2 · count numbers, then as many again as it has, until all batches have enough
    widths = [2 * count << max(i - 1, 0) for i in range(8)]
    read = np.concatenate(
        [torch.rand(batches, width, generator=stream, dtype=torch.float64).numpy() for width in widths], axis=1
    )
    sampled, draws = word2vec.negatives(words, count, batches, generator(3))
    for u, found, number in zip(read, sampled.tolist(), draws.tolist(), strict=True):
        taken, drawn = [], 0
        while len(taken) < count:
            word = min(int(math.exp(u[drawn] * math.log(words + 1))) - 1, words - 1)
            drawn += 1
            taken += [word] if word not in taken else []
        assert (found, number) == (taken, drawn)
    assert draws.max() > 2 * count  # some had to go on drawing


def test_expected_counts_are_what_is_counted():
    """Mean number of times a word is among 3 different of 10, given the number of draws that it took."""
    sampled, draws = word2vec.negatives(10, 3, 3000, generator())
    seen = np.bincount(sampled.ravel(), minlength=10)
    expected = word2vec.expected_counts(word2vec.log_uniform(10), torch.tensor(draws)[:, None]).sum(0).numpy()
    # TensorFlow's formula takes the number of draws as fixed beforehand; that it is not costs a few per cent
    assert seen.sum() == 9000 and expected.sum() == pytest.approx(9000, rel=0.05)
    assert np.abs(seen / 3000 - expected / 3000).max() < 0.05
    quarter = torch.tensor([0.25], dtype=torch.float64)
    assert word2vec.expected_counts(quarter, torch.tensor(2)).item() == pytest.approx(1 - 0.75**2)


# ---------------------------------------------------------------- batches


def test_a_batch_is_consecutive_words_each_with_both_neighbours(monkeypatch):
    monkeypatch.setattr(word2vec, "BLOCK", 5)  # nor does it matter where a block of batches ends
    text = counting(50)
    size = Size(words=50, dimensions=4, negatives=3)
    stream = TASK.batches(text, size, 8, generator(), generator())
    centres = []
    for _ in range(2 * TASK.epoch(text, size, 8)):
        words, candidates, offsets, kept = next(stream)
        assert words.shape == (8,) and candidates.shape == offsets.shape == (11,) and kept.shape == (4,)
        assert (words[::2] == words[1::2]).all()
        assert ((candidates[:8:2] - words[::2]) == -1).all() and ((candidates[1:8:2] - words[::2]) == 1).all()
        centres += words[::2].tolist()
    assert all((b - a) % 48 == 1 for a, b in itertools.pairwise(centres))
    assert set(centres) == set(range(1, 49))


def test_offsets_are_logs_of_expected_counts():
    _, candidates, offsets, _ = first_batch()
    stream = generator(11)
    sampled, draws = word2vec.negatives(91, 5, word2vec.BLOCK, stream)
    assert candidates[8:].tolist() == sampled[0].tolist()
    expected = [math.log(1 - (1 - math.log((k + 2) / (k + 1)) / math.log(92)) ** draws[0]) for k in candidates.tolist()]
    assert offsets.numpy() == pytest.approx(expected, rel=1e-10)


def test_half_of_the_dimensions_are_kept():
    stream = TASK.batches(CLUSTERS, Size(91, 64, 5), 8, generator(), generator())
    kept = np.array([next(stream)[3].sum().item() for _ in range(200)])
    assert kept.mean() == pytest.approx(32, abs=4 * 4 / math.sqrt(200)) and kept.std() == pytest.approx(4, rel=0.25)


def test_rare_words_are_unknown():
    words, candidates, *_ = first_batch(Size(words=10, dimensions=2, negatives=5), 64)
    assert words.max() < 10 and candidates.max() < 10 and (words == 0).sum() > 20


# ---------------------------------------------------------------- the objective


def test_loss_of_a_case_worked_by_hand():
    """Two pairs, one negative example, two dimensions of which the first is dropped."""
    log = math.log
    params = {
        "embedding": torch.tensor([[5.0, 0.5], [7.0, -1.0]], dtype=torch.float64),
        "nce.weight": torch.tensor([[9.0, 1.0], [9.0, 2.0], [9.0, -0.5]], dtype=torch.float64),
        "nce.bias": torch.tensor([0.25, 0.0, -1.0], dtype=torch.float64),
    }
    offsets = torch.tensor([log(0.5), log(0.25), log(2.0)], dtype=torch.float64)
    batch = (torch.tensor([3, 4]), torch.tensor([7, 8, 9]), offsets, torch.tensor([False, True]))
    true = [1.0 * 1.0 + 0.25 - log(0.5), -2.0 * 2.0 - log(0.25)]  # the kept dimension is doubled
    false = [1.0 * -0.5 - 1.0 - log(2.0), -2.0 * -0.5 - 1.0 - log(2.0)]
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    expected = sum(-log(sigmoid(s)) for s in true) / 2 + sum(-log(1 - sigmoid(s)) for s in false) / 2
    found, state = TASK.loss(Size(10, 2, 1), params, batch)
    assert found.item() == pytest.approx(expected, rel=1e-13) and state == ()


def test_initial_values():
    made = counting(50_000)
    params = TASK.init(made, TASK.SIZES["paper"], generator())
    assert {name: tuple(p.shape) for name, p in params.items()} == {
        "embedding": (50_000, 128),
        "nce.weight": (50_000, 128),
        "nce.bias": (50_000,),
    }
    vectors, weights = params["embedding"].detach(), params["nce.weight"].detach()
    assert 0.9999 < vectors.abs().max() <= 1 and vectors.std().item() == pytest.approx(1 / math.sqrt(3), rel=0.01)
    assert weights.abs().max() <= 2 / math.sqrt(128)
    assert weights.std().item() == pytest.approx(0.8796 / math.sqrt(128), rel=0.01)
    assert params["nce.bias"].eq(0).all()


def test_sparse_gradients_are_the_dense_ones():
    params = TASK.init(CLUSTERS, SIZE, generator(), torch.float64)
    batch = first_batch(batch=32)
    rows = TASK.rows(batch)
    assert len(rows["embedding"].unique()) < 32  # some rows occur more than once
    loss, _ = TASK.loss(SIZE, pick(params, rows), batch)
    loss.backward()
    picked = {name: x.detach().requires_grad_() for name, x in pick(params, rows).items()}
    TASK.loss(SIZE, picked, batch)[0].backward()
    for name, g in scatter({name: x.grad for name, x in picked.items()}, rows, params).items():
        assert g.is_sparse and g.sparse_dim() == 1
        torch.testing.assert_close(g.to_dense(), params[name].grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("choice", ["none", "l1", "l2"])
def test_gradients_in_closed_form_are_autograds(choice):
    size = Size(words=91, dimensions=6, negatives=5, penalty=choice, strength=0.1)
    params = TASK.init(CLUSTERS, size, generator(), torch.float64)
    with torch.no_grad():
        params["nce.bias"].uniform_(-1, 1, generator=generator(3))
    batch = first_batch(batch=32)
    picked = {name: x.detach().requires_grad_() for name, x in pick(params, TASK.rows(batch)).items()}
    expected, _ = TASK.loss(size, picked, batch)
    expected.backward()
    found, state, grads = TASK.gradients(size, picked, batch)
    assert state == ()
    assert found.item() == pytest.approx(expected.item(), rel=1e-14) and not found.requires_grad
    assert grads.keys() == picked.keys()
    for name, g in grads.items():
        torch.testing.assert_close(g, picked[name].grad, rtol=1e-12, atol=1e-16)


def test_vmapped_gradients_are_those_of_separate_runs():
    sets = [TASK.init(CLUSTERS, SIZE, generator(seed), torch.float64) for seed in (0, 1)]
    inputs = [first_batch(seed=seed) for seed in (1, 2)]
    objective = grad_and_value(functools.partial(TASK.loss, SIZE), has_aux=True)
    stacked = {name: torch.stack([s[name].detach() for s in sets]) for name in sets[0]}
    batches = tuple(map(torch.stack, zip(*inputs, strict=True)))
    rows = TASK.rows(batches)
    grads, (losses, _) = vmap(objective)(pick(stacked, rows), batches, ())
    whole = scatter(grads, rows, stacked)
    for r in range(2):
        alone, (loss, _) = objective(pick(sets[r], TASK.rows(inputs[r])), inputs[r], ())
        assert losses[r].item() == pytest.approx(loss.item(), rel=1e-13)
        dense = scatter(alone, TASK.rows(inputs[r]), sets[r])
        for name, g in whole.items():
            assert g.sparse_dim() == 2
            torch.testing.assert_close(g.to_dense()[r], dense[name].to_dense(), rtol=1e-12, atol=1e-15)


# ---------------------------------------------------------------- the metric


def made_of(vectors, questions):
    table = torch.tensor(np.array(vectors), dtype=torch.float64)
    asked = np.array(questions)
    words = tuple(map(str, range(len(table))))
    return {"embedding": table}, corpora.TextData("made", "made-up", words, np.arange(9), asked, asked[:1])


def test_analogies_of_a_hand_made_embedding():
    """Length does not count. From b − a + c = (0, 1) the angles to d are 0°, 180°, 90° and 45°."""
    vectors = [[0, 0], [2, 0], [0, 3], [0, -5], [-1, 0], [7, 7]]
    params, made = made_of(vectors, [[1, 1, 2, 2], [1, 1, 2, 3], [1, 1, 2, 4], [1, 1, 2, 5]])
    expected = (0 + 1 + 0.5 + (1 - math.sqrt(0.5)) / 2) / 4
    assert TASK.evaluate(params, made, "dev")["loss"].item() == pytest.approx(expected, rel=1e-12)
    assert TASK.evaluate(params, made, "test")["loss"].item() == pytest.approx(0, abs=1e-12)


def test_parallelograms_are_right_and_chance_is_a_half():
    angle = np.deg2rad([0, 20, 70, 90])
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    a, b, c = circle[:3]
    params, made = made_of([a, b, c, 4 * (b - a + c)], [[0, 1, 2, 3]])
    assert TASK.evaluate(params, made, "dev")["loss"].item() == pytest.approx(0, abs=1e-12)
    params = TASK.init(CLUSTERS, TASK.SIZES["live"], generator())
    assert TASK.evaluate(params, CLUSTERS, "test")["loss"].item() == pytest.approx(0.5, abs=0.1)


def test_analogies_outside_the_vocabulary_are_left_out():
    params, made = made_of([[1, 0], [0, 1], [1, 1]], [[1, 1, 0, 0], [1, 2, 3, 0]])
    assert TASK.evaluate(params, made, "dev")["loss"].item() == pytest.approx(0, abs=1e-12)
    _, none = made_of([[1, 0]], [[1, 2, 3, 0]])
    with pytest.raises(ValueError, match="no analogy of the dev part of made-up is within 3 words"):
        TASK.evaluate(params, none, "dev")


def test_the_generated_clusters_can_be_learnt():
    """300 batches bring the analogies from chance to nearly right: the text says what its analogies ask."""
    size = TASK.SIZES["live"]
    params = TASK.init(CLUSTERS, size, generator())
    optimizer = Nadam(list(params.values()), lr=0.03)
    stream = TASK.batches(CLUSTERS, size, 128, generator(), generator())
    for _ in range(300):
        batch = next(stream)
        optimizer.zero_grad()
        TASK.loss(size, pick(params, TASK.rows(batch)), batch)[0].backward()
        optimizer.step()
    assert TASK.evaluate(params, CLUSTERS, "test")["loss"] < 0.15


# ---------------------------------------------------------------- faults


def test_fault_31_vocabulary_too_small():
    params = TASK.init(CLUSTERS, TASK.SIZES["small"], generator())
    assert {len(x) for x in params.values()} == {91}
    text = counting(20, 1)
    with pytest.raises(ValueError, match="a vocabulary of 1 word leaves nothing to learn; made-up text has 1"):
        TASK.init(text, SIZE, generator())
    with pytest.raises(ValueError, match="92 different negative examples cannot be drawn from 91 words"):
        next(TASK.batches(CLUSTERS, Size(2_000, 4, 92), 8, generator(), generator()))


@pytest.mark.parametrize(
    ("tokens", "batch", "message"),
    [(5, 8, "batch 8 needs 6 words of text; made-up text has 5"), (50, 7, "multiple of 2"), (50, 0, "multiple of 2")],
)
def test_fault_32_batch_that_does_not_fit(tokens, batch, message):
    with pytest.raises(ValueError, match=message):
        next(TASK.batches(counting(tokens), SIZE, batch, generator(), generator()))


@pytest.mark.skipif(registry.state("text8") == "absent", reason="needs text8 in NADAM_REF_DATA or the cache")
def test_real_text8_has_the_vocabulary_that_the_report_names():
    text8 = TASK.load("text8")
    assert text8.words[:6] == ("<unk>", "the", "of", "one", "and", "in") and len(text8.words) > 50_000
    assert [text8.words[i] for i in text8.train[:5]] == ["anarchism", "originated", "as", "a", "term"]
    assert min(len(text8.dev), len(text8.test)) > 5000

"""The transformer against torch.nn's layers, and what its data and its attention may see."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from nadam_ref.experiments.datasets import registry, synthetic
from nadam_ref.experiments.datasets.corpora import load_characters
from nadam_ref.experiments.tasks import TASKS
from nadam_ref.experiments.tasks.transformer import Size, Transformer

TASK = TASKS["transformer"]
assert isinstance(TASK, Transformer)
SIZE = Size(units=64, blocks=2, context=16)
DATA = TASK.load("chain")


def parameters(scale: float = 10.0) -> dict[str, torch.Tensor]:
    """Parameters in double precision, larger than fresh ones so that attention is far from uniform."""
    params = TASK.init(DATA, SIZE, torch.Generator().manual_seed(0), torch.float64)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, x in params.items():
            if x.dim() == 2:
                x.mul_(scale)
            else:
                x.add_(torch.rand(x.shape, generator=random, dtype=x.dtype))
            assert x.requires_grad, name
    return params


def by_torch(params: dict[str, torch.Tensor], text: torch.Tensor) -> torch.Tensor:
    """Scores by torch.nn.TransformerEncoder with a causal mask."""
    units = SIZE.units
    layer = nn.TransformerEncoderLayer(
        units, units // 32, 4 * units, 0.0, "gelu", batch_first=True, norm_first=True, bias=False, dtype=torch.float64
    )
    encoder = nn.TransformerEncoder(layer, SIZE.blocks, nn.LayerNorm(units, bias=False, dtype=torch.float64), False)
    state = {"norm.weight": params["norm"]}
    for i in range(SIZE.blocks):
        own = {name.split(".")[1]: x for name, x in params.items() if name.startswith(f"block{i}.")}
        state |= {
            f"layers.{i}.self_attn.in_proj_weight": torch.cat([own["query"], own["key"], own["value"]]),
            f"layers.{i}.self_attn.out_proj.weight": own["project"],
            f"layers.{i}.linear1.weight": own["expand"],
            f"layers.{i}.linear2.weight": own["contract"],
            f"layers.{i}.norm1.weight": own["norm1"],
            f"layers.{i}.norm2.weight": own["norm2"],
        }
    encoder.load_state_dict(state)
    x = params["embedding"][text] + params["positions"][: text.shape[1]]
    mask = nn.Transformer.generate_square_subsequent_mask(text.shape[1], dtype=torch.float64)
    return encoder(x, mask=mask, is_causal=True) @ params["head"].T


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    order, noise = torch.Generator().manual_seed(2), torch.Generator()
    text, following = next(TASK.batches(DATA, SIZE, 5, order, noise))
    return text, following


def test_scores_and_loss_are_those_of_torchs_layers() -> None:
    params, (text, following) = parameters(), batch()
    expected = by_torch(params, text)
    assert expected.std() > 0.5
    torch.testing.assert_close(TASK.scores(params, text), expected, rtol=1e-10, atol=1e-10)
    loss, state = TASK.loss(SIZE, params, (text, following))
    of_all = -expected.log_softmax(-1).gather(-1, following[..., None]).mean()
    assert loss.item() == pytest.approx(of_all.item(), rel=1e-12) and state == ()


def test_no_score_sees_a_later_character() -> None:
    params, (text, _) = parameters(), batch()
    scores = TASK.scores(params, text)
    for place in range(SIZE.context):
        changed = text.clone()
        changed[:, place] = (changed[:, place] + 1) % len(DATA.words)
        differs = (TASK.scores(params, changed) != scores).any(-1)
        assert not differs[:, :place].any() and differs[:, place:].all()


def test_evaluation_cuts_the_text_into_stretches() -> None:
    params = parameters()
    small = DATA.first((100, 40 * SIZE.context + 3, 2 * SIZE.context))
    text = torch.tensor(small.dev)
    inputs, following = (x[: 40 * SIZE.context].view(40, -1) for x in (text[:-1], text[1:]))
    expected = -by_torch(params, inputs).log_softmax(-1).gather(-1, following[..., None]).mean()
    assert TASK.evaluate(params, small, "dev")["loss"].item() == pytest.approx(expected.item(), rel=1e-12)
    with pytest.raises(ValueError, match="has 16 characters; it needs 17"):
        TASK.evaluate(params, DATA.first((100, SIZE.context, SIZE.context)), "dev")


def test_batches_are_stretches_of_the_text_with_what_follows() -> None:
    text, following = batch()
    assert text.shape == following.shape == (5, SIZE.context)
    assert torch.equal(text[:, 1:], following[:, :-1])
    windows = np.lib.stride_tricks.sliding_window_view(DATA.train, SIZE.context)
    assert all((windows == row.numpy()).all(1).any() for row in text)
    assert TASK.epoch(DATA, SIZE, 5) == (len(DATA.train) - 1) // (5 * SIZE.context)


def test_fresh_parameters_are_gpt_2s() -> None:
    size = TASK.SIZES["small"]
    params = TASK.init(DATA, size, torch.Generator().manual_seed(0))
    assert params["block1.expand"].std().item() == pytest.approx(0.02, rel=0.02)
    assert params["block1.contract"].std().item() == pytest.approx(0.02 / math.sqrt(2 * size.blocks), rel=0.02)
    assert (params["norm"] == 1).all() and params["head"] is not params["embedding"]
    fresh = TASK.evaluate(params, DATA.first((100, 2_000, 2_000)), "dev")["loss"].item()
    assert fresh == pytest.approx(math.log(len(DATA.words)), rel=0.05)  # it knows nothing yet


def test_hidden_matrices_are_those_of_the_blocks() -> None:
    params = parameters()
    others = set(params) - set(TASK.hidden(params))
    assert others == {"embedding", "positions", "norm", "head"} | {f"block{i}.norm{j}" for i in (0, 1) for j in (1, 2)}
    assert all(params[name].dim() == 2 for name in TASK.hidden(params))


def test_the_characters_of_the_chain_are_its_text() -> None:
    text = " ".join(synthetic.chain()[0])
    assert "".join(DATA.words[i] for i in DATA.train) == text
    assert set(DATA.words[1:]) == set(text)


@pytest.mark.skipif(registry.state("text8") == "absent", reason="needs text8 in NADAM_REF_DATA or the cache")
def test_the_characters_of_text8_are_letters_and_blanks() -> None:
    data = load_characters("text8", (1_000, 100, 100))
    assert sorted(data.words[1:]) == [" ", *"abcdefghijklmnopqrstuvwxyz"]
    assert "".join(data.words[i] for i in data.train).startswith(" anarchism originated as a term of abuse")

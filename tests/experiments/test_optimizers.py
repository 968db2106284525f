"""Muon among the optimizers of runs: against torch's own two classes, and what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from nadam_ref.experiments.protocol import planning
from nadam_ref.experiments.runs import optimizers
from nadam_ref.experiments.runs.batched import run_together
from nadam_ref.experiments.runs.optimizers import Muon, MuonError, hyperparameters
from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.train import run
from nadam_ref.experiments.runs.training import Training

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch 2.9 and later have Muon")


def muon(**changes: Any) -> RunSpec:
    """A run of Muon at the smallest size."""
    specs = planning.specs("smoke", "chain", "transformer")
    found = next(spec for spec in specs if planning.arm(spec) == "Muon-0.1")
    return dataclasses.replace(found, **changes)


def tensors(seed: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Two matrices, and an embedding and a gain, with the same gradients for the same seed."""
    random = torch.Generator().manual_seed(seed)
    shapes = [(6, 4), (4, 8), (9, 4), (4,)]
    made = [torch.randn(shape, generator=random).requires_grad_() for shape in shapes]
    return made[:2], made[2:]


@needs_muon
@pytest.mark.parametrize("nesterov", [True, False])
def test_it_is_torchs_muon_for_matrices_and_torchs_adamw_for_the_rest(nesterov: bool) -> None:
    (matrices, others), (same, rest) = tensors(0), tensors(0)
    ours = Muon((matrices, others), lr=0.02, momentum=0.9, nesterov=nesterov, weight_decay=0.3)
    kind: Any = torch.optim.Muon
    muon = kind(same, lr=0.02, momentum=0.9, weight_decay=0.3, nesterov=nesterov, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(rest, lr=0.02, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.3)
    random = torch.Generator().manual_seed(1)
    for _ in range(6):
        for x, y in zip([*matrices, *others], [*same, *rest], strict=True):
            x.grad = y.grad = torch.randn(x.shape, generator=random)
        ours.step()
        muon.step()
        adamw.step()
    assert all(torch.equal(x, y) for x, y in zip(matrices, same, strict=True))
    torch.testing.assert_close(others, rest, rtol=1e-5, atol=1e-6)


@needs_muon
def test_a_run_gives_it_the_matrices_of_the_blocks() -> None:
    training = Training(muon())
    ids = {id(x): name for name, x in training.params.items()}
    parts = {
        name: [ids[id(x)] for x in part.param_groups[0]["params"]] for name, part in training.optimizer.parts.items()
    }
    assert parts["Muon"] == training.task.hidden(training.params)
    assert sorted(parts["Muon"] + parts["Adam"]) == sorted(training.params)


@needs_muon
def test_nesterov_is_another_run() -> None:
    spec = muon()
    plain = dataclasses.replace(spec, hyperparameters={**spec.hyperparameters, "nesterov": False})
    assert planning.arm(plain) == "Muon-plain-0.1"
    assert run(spec).curves["train_loss"] != run(plain).curves["train_loss"]


@needs_muon
def test_it_goes_on_from_a_checkpoint_to_the_same_bits() -> None:
    spec, saved = muon(), []

    def progress(training: Training) -> None:
        if training.log.step == 3 and not saved:
            saved.append(training.state_dict())

    whole = run(spec, progress=progress)
    assert run(spec, resume=saved[0]).outcome_sha256 == whole.outcome_sha256


@needs_muon
def test_the_rate_of_both_parts_is_annealed() -> None:
    training = Training(muon(anneal=(0.5, 0)))
    training.advance()
    assert {group["lr"] for group in training.optimizer.param_groups} == {training.spec.lr * 0.5}


def test_what_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="Muon has no replicas; run it with device 'cpu'"):
        run_together([muon()])
    with pytest.raises(ValueError, match="got an unexpected keyword argument 'ns_steps'"):
        hyperparameters("Muon", {"ns_steps": 3})
    with pytest.raises(ValueError, match=r"no optimizer is called 'Muonn'; there are: GD, .*, Muon, "):
        hyperparameters("Muonn", {})
    x = torch.zeros(2, 2, requires_grad=True)
    if hasattr(torch.optim, "Muon"):
        with pytest.raises(MuonError, match="this task names none"):
            Muon(([], [x]))
        monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(MuonError, match=r"has no Muon; torch 2\.9 and later have"):
        Muon(([x], []))
    assert optimizers.known()["Muon"] is Muon

"""The six numbers of a step, against the boxes by way of the one update of one float; and their defaults."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from variants import TEN, Variant, every_variant_with_box

from nadam_ref import Nadam
from nadam_ref.rules import DIALECTS, RULES, Scalars, one_minus_power, scalars
from nadam_ref.settings import Settings

T = 30


def settings_of(variant: Variant) -> Settings:
    optimizer = variant.optimizer([torch.zeros(1, requires_grad=True)])
    return optimizer._settings(optimizer.param_groups[0])


@every_variant_with_box
def test_the_update_of_one_float_is_the_box(variant: Variant) -> None:
    settings = settings_of(variant)
    rule, ε, ε_root = settings.rule, settings.values.get("eps", 0.0), settings.values.get("eps_root", 0.0)
    gradients = np.random.default_rng(0).normal(size=T + 1).tolist()
    ours, θ, m, n, product = [0.0], 0.0, 0.0, 0.0, 1.0
    for t in range(1, T + 1):
        g = gradients[t]
        k, product = settings.scalars(t, product)
        m = k.mu * m + (g if rule.momentum == "sum" else (1 - k.mu) * g)
        n = {"none": 0.0, "sum": n + g**2, "rms": k.nu * n + (1 - k.nu) * g**2, "max": max(k.nu * n, abs(g))}[rule.norm]
        root = k.d * n if rule.norm == "max" else math.sqrt(k.d**2 * n + ε_root)
        step = (k.a * m if rule.momentum != "none" else 0.0) + k.c * g
        θ -= k.lr * (step if rule.norm == "none" else step / (root + ε))
        ours.append(θ)
    box = variant.path(np.zeros(()), lambda _, t: np.asarray(gradients[t]), T)
    assert np.abs(np.asarray(ours) - box).max() <= 1e-12 * np.abs(box).max()


def test_the_rule_of_a_class_is_the_one_of_its_step() -> None:
    for variant in TEN:
        assert settings_of(variant).rule == RULES[variant.name]


def test_what_is_not_given_has_no_part_in_the_step() -> None:
    """At t = 3, where every decay, schedule and correction would show."""
    assert scalars(RULES["GD"], 3, lr=0.1) == (Scalars(0.0, 0.0, 0.0, 1.0, 1.0, 0.1), 1.0)
    assert scalars(RULES["Adam"], 3, lr=0.1, mu=0.9, nu=0.99)[0] == Scalars(0.9, 0.99, 1.0, 0.0, 1.0, 0.1)
    assert scalars(RULES["NAG"], 3, lr=0.1, mu=0.9)[0] == Scalars(0.9, 0.0, 0.9, 1.0, 1.0, 0.1)


@pytest.mark.parametrize("t", [1, 2, 5])
def test_adagrads_rate_decays_as_in_torch(t: int) -> None:
    assert scalars(RULES["AdaGrad"], t, lr=0.5, lr_decay=0.25)[0].lr == 0.5 / (1 + (t - 1) * 0.25)


def test_one_minus_a_power() -> None:
    assert [one_minus_power(x, 3) for x in (0.0, 0.5)] == [1.0, 0.875]
    assert one_minus_power(torch.tensor(0.5), 3).item() == 0.875
    assert one_minus_power(1 - 1e-12, 2) == pytest.approx(2e-12, rel=1e-4)  # 1 − x² has no such digits


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_without_a_free_schedule_takes_no_other(dialect: str) -> None:
    """The report's and the workshop paper's leave ψ to the user."""
    if dialect in ("cs229", "iclr"):
        assert Nadam([torch.zeros(1, requires_grad=True)], dialect=dialect, momentum_decay=0.1).param_groups
        assert DIALECTS[dialect].momentum_decay == 0.004
    else:
        with pytest.raises(ValueError, match="momentum_decay"):
            Nadam([torch.zeros(1, requires_grad=True)], dialect=dialect, momentum_decay=0.1)


def test_rules_and_dialects_cannot_be_changed() -> None:
    for x in (RULES["Nadam"], DIALECTS["cs229"]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            x.label = "another"

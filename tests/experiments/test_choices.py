"""Named choices of the tasks against torch's own, and the profiles that vary them: `choices` and `map`."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from specs import EMBEDDED, sha256
from torch.func import grad_and_value, vmap

from nadam_ref.experiments.datasets import registry
from nadam_ref.experiments.protocol import definition, planning
from nadam_ref.experiments.protocol.definition import load, profile_of
from nadam_ref.experiments.protocol.reading import ProtocolError
from nadam_ref.experiments.runs.batched import run_together
from nadam_ref.experiments.runs.record import Record
from nadam_ref.experiments.runs.spec import RunSpec
from nadam_ref.experiments.runs.train import run
from nadam_ref.experiments.tasks import TASKS, model_of
from nadam_ref.experiments.tasks.language_model import Size
from nadam_ref.experiments.verdicts.arms import gather

CHOICES = load().having("choices")
RNN = Size(words=30, units=7, unroll=5, cell="rnn")
TASK = TASKS["language_model"]
CHAIN = TASK.load("chain")


def generator(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def first_batch(task: str, size: Any, count: int = 4) -> Any:
    data = TASKS[task].load(EMBEDDED[task])
    return next(TASKS[task].batches(data, size, count, generator(1), generator(2), torch.float64))


def smallest(task: str, **changes: Any) -> Any:
    return dataclasses.replace(TASKS[task].SIZES["smoke"], **changes)


# ---------------------------------------------------------------- how weights start


@pytest.mark.parametrize("task", CHOICES)
def test_weights_start_with_torchs_numbers(task: str) -> None:
    """One generator through all weights in their order; biases as the paper has them."""
    data, own = TASKS[task].load(EMBEDDED[task]), TASKS[task].init
    for choice, fill in (
        ("xavier", torch.nn.init.xavier_uniform_),
        ("he", lambda x, generator: torch.nn.init.kaiming_normal_(x, nonlinearity="relu", generator=generator)),
    ):
        params, stream = own(data, smallest(task, init=choice), generator(3), torch.float64), generator(3)
        for name, x in params.items():
            if x.dim() > 1:
                assert torch.equal(x.detach(), fill(torch.empty_like(x, requires_grad=False), generator=stream)), name
        paper = own(data, smallest(task), generator(3), torch.float64)
        assert params.keys() == paper.keys()
        same = [name for name, x in params.items() if torch.equal(x, paper[name])]
        constant = {name for name, x in params.items() if x.dim() == 1 and name != "output.bias"}
        assert constant <= set(same)
        assert (task, choice) == ("autoencoder", "xavier") or not any(name.endswith("weight") for name in same)


def test_a_bad_choice_is_refused_with_the_choices() -> None:
    for task in CHOICES:
        with pytest.raises(ValueError, match="no initialization is called 'glorot'; there are: paper, xavier, he"):
            TASKS[task].init(TASKS[task].load(EMBEDDED[task]), smallest(task, init="glorot"), generator())
    with pytest.raises(ValueError, match="no cell is called 'gru'; there are: lstm, rnn"):
        TASK.init(CHAIN, smallest("language_model", cell="gru"), generator())


# ---------------------------------------------------------------- the penalty


@pytest.mark.parametrize("task", CHOICES)
def test_the_penalty_is_the_sum_of_absolute_weights(task: str) -> None:
    data, plain = TASKS[task].load(EMBEDDED[task]), smallest(task)
    params, batch = TASKS[task].init(data, plain, generator(), torch.float64), first_batch(task, plain)
    state = TASKS[task].state(plain, 4, torch.float64)
    by_hand = sum(abs(x.detach().numpy()).sum() for name, x in params.items() if "bias" not in name)
    before, _, old = TASKS[task].gradients(plain, params, batch, state)
    after, _, new = TASKS[task].gradients(smallest(task, l1=0.25), params, batch, state)
    assert (after - before).item() == pytest.approx(0.25 * by_hand, rel=1e-10)
    for name, x in params.items():
        slope = torch.zeros_like(x) if "bias" in name else 0.25 * x.detach().sign()
        torch.testing.assert_close(new[name] - old[name], slope, rtol=0, atol=1e-12)
    metrics = TASKS[task].evaluate(params, data, "dev")
    assert metrics["loss"].item() < before.item() + 0.25 * by_hand


# ---------------------------------------------------------------- the simple recurrent unit


@torch.no_grad()
def torchs(params: Any) -> torch.nn.RNN:
    """The same simple recurrent units as torch has them."""
    theirs = torch.nn.RNN(RNN.units, RNN.units, RNN.layers, dtype=torch.float64)
    for layer in range(RNN.layers):
        for name, of in (("weight_ih", "input"), ("weight_hh", "hidden"), ("bias_ih", "bias")):
            getattr(theirs, f"{name}_l{layer}").copy_(params[f"rnn{layer}.{of}"])
        getattr(theirs, f"bias_hh_l{layer}").zero_()
    return theirs


def test_simple_recurrent_units_are_torchs() -> None:
    params, batch = TASK.init(CHAIN, RNN, generator(), torch.float64), first_batch("language_model", RNN)
    with torch.no_grad():
        for layer in range(RNN.layers):
            params[f"rnn{layer}.bias"].uniform_(-1, 1, generator=generator(3))
    theirs = torchs(params)
    words, following, _ = batch
    (state,) = TASK.state(RNN, 4, torch.float64)
    state = state + 0.3
    outputs, last = theirs(torch.nn.functional.embedding(words, params["embedding"]), state)
    scores = outputs.flatten(0, 1) @ params["output.weight"].t() + params["output.bias"]
    expected = torch.nn.functional.cross_entropy(scores, following.flatten(), reduction="sum") / 4
    found, (after,) = TASK.loss(RNN, params, (words, following, torch.ones((), dtype=torch.float64)), (state,))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(after, last.detach(), rtol=1e-12, atol=1e-14)
    (slope,) = torch.autograd.grad(found, params["rnn0.hidden"])
    (their_slope,) = torch.autograd.grad(expected, theirs.weight_hh_l0)
    torch.testing.assert_close(slope, their_slope, rtol=1e-10, atol=1e-14)


def test_evaluation_of_simple_units_carries_the_state_throughout() -> None:
    params = TASK.init(CHAIN, dataclasses.replace(RNN, words=2_000), generator(), torch.float64)
    text = torch.tensor(CHAIN.test)
    theirs = torchs(params)
    with torch.no_grad():
        outputs, _ = theirs(params["embedding"][text[:-1, None]])
        scores = outputs.flatten(0, 1) @ params["output.weight"].t() + params["output.bias"]
    expected = torch.nn.functional.cross_entropy(scores, text[1:]).item()
    assert TASK.evaluate(params, CHAIN, "test")["loss"].item() == pytest.approx(expected, rel=1e-9)


def test_simple_units_vectorize() -> None:
    starts = [TASK.init(CHAIN, RNN, generator(seed), torch.float64) for seed in (0, 1)]
    stacked = {name: torch.stack([start[name].detach() for start in starts]) for name in starts[0]}
    words, following, going = first_batch("language_model", RNN)
    state = TASK.state(RNN, 4, torch.float64)

    def objective(params: Any) -> Any:
        return TASK.loss(RNN, params, (words, following, going), state)[0]

    grads, losses = vmap(grad_and_value(objective))(stacked)
    for r, start in enumerate(starts):
        loss, _, own = TASK.gradients(RNN, start, (words, following, going), state)
        assert losses[r].item() == pytest.approx(loss.item(), rel=1e-12)
        for name, g in own.items():
            torch.testing.assert_close(grads[name][r], g, rtol=1e-9, atol=1e-14)


def test_simple_units_make_as_many_parameters_as_the_lstms() -> None:
    sizes = {spec.model["units"]: spec for spec in models("language_model") if spec.model.get("cell") == "rnn"}
    assert list(sizes) == [75]
    base, own = TASK.SIZES["choices"], TASK.size(sizes[75].model)

    def count(size: Any, v: int = 2000) -> int:
        words, n = v * (2 * size.units + 1), size.units
        return words + size.layers * (1 if size.cell == "rnn" else 4) * (2 * n * n + n)

    assert base.words == 2000 and abs(count(own) / count(base) - 1) < 0.005
    for size in (dataclasses.replace(own, words=30), dataclasses.replace(base, words=30)):
        params = TASK.init(CHAIN, size, generator())
        assert sum(x.numel() for x in params.values()) == count(size, len(params["embedding"]))


# ---------------------------------------------------------------- the profile `choices`


def models(task: str) -> list[RunSpec]:
    """The first specs of the profile, one for each arm, on the embedded data; no other data are needed."""
    whole = load().tasks[task]
    plan = whole.profile("choices")
    specs = []
    for name in plan.arms:
        arm = plan.plans[name]
        model = model_of(dataclasses.replace(TASKS[task].SIZES["choices"], **arm.model))
        spec = planning.specs("smoke", EMBEDDED[task], task)[0]
        specs.append(
            dataclasses.replace(
                spec, profile="choices", model=model, optimizer=arm.optimizer, hyperparameters=settings(arm), steps=2
            )
        )
    return specs


def settings(arm: Any) -> Any:
    from nadam_ref.experiments.runs.optimizers import hyperparameters

    return hyperparameters(arm.optimizer, {**arm.hyperparameters, "lr": 1e-3})


@pytest.mark.parametrize("task", CHOICES)
def test_one_choice_at_a_time_for_either_optimizer(task: str) -> None:
    plan, base = profile_of(task, "choices"), model_of(TASKS[task].SIZES["choices"])
    assert TASKS[task].SIZES["choices"] == TASKS[task].SIZES["small"]
    assert plan.arms[:2] == ("Adam", "Nadam") and plan.compared == ()
    changed: dict[str, list[dict[str, Any]]] = {"Adam": [], "Nadam": []}
    for spec in models(task):
        arm = planning.arm(spec)
        assert plan.plans[arm].hyperparameters == load().task(task).arms[arm.split()[0]].hyperparameters
        changed[arm.split()[0]].append({k: v for k, v in spec.model.items() if base.get(k) != v})
    assert changed["Adam"] == changed["Nadam"] and changed["Adam"][0] == {}
    assert all(len(x) == 1 or set(x) == {"cell", "units"} for x in changed["Adam"][1:])
    units = {v for x in changed["Adam"] if len(x) == 1 for k, v in x.items() if k in ("units", "dense")}
    assert units == {32, 128} and base.get("units", base.get("dense")) == 64
    inits = [x["init"] for x in changed["Adam"] if "init" in x]
    assert inits == (["he"] if task == "autoencoder" else ["xavier", "he"])
    assert sum("l1" in x for x in changed["Adam"]) == 2


@pytest.mark.parametrize("task", CHOICES)
def test_an_arm_of_a_profile_is_known_again_after_json(task: str) -> None:
    specs = models(task)
    assert tuple(planning.arm(spec) for spec in specs) == profile_of(task, "choices").arms
    for spec in specs:
        again = RunSpec(**json.loads(json.dumps(spec.config)))
        assert again.id == spec.id and planning.arm(again) == planning.arm(spec)
        assert planning.arm(dataclasses.replace(spec, profile="small")) == planning.arm(spec).split()[0]


@pytest.mark.parametrize("task", CHOICES)
def test_every_choice_trains_alone_and_beside_others(task: str) -> None:
    """At the size of `smoke`, two steps: the choices meet the engine, alone and as replicas."""
    for spec in models(task)[2::2]:
        changes = {k: v for k, v in spec.model.items() if k in ("init", "l1", "cell")}
        model = {**model_of(TASKS[task].SIZES["smoke"]), **changes}
        small = dataclasses.replace(spec, model=model, batch=16)
        alone = run(small)
        (beside, _) = run_together([small, dataclasses.replace(small, seed=1)])
        assert alone.status == beside.status == "finished"
        assert beside.metrics["test_loss"] == pytest.approx(alone.metrics["test_loss"], rel=1e-4)


def ended(spec: RunSpec, loss: float) -> Record:
    metrics = dict.fromkeys(("dev_loss", "test_loss", "dev_perplexity", "test_perplexity"), loss)
    curves = {"dev_step": [0.0], "dev_loss": [loss], "dev_perplexity": [loss]}
    return Record(spec, "finished", "", spec.steps, curves, metrics, {"protocol_sha256": spec.protocol_sha256})


@pytest.mark.parametrize("task", CHOICES)
def test_a_sweep_of_the_choices_searches_every_rate_and_reports_at_the_chosen_one(task: str) -> None:
    plan = profile_of(task, "choices")
    data = next(iter(plan.data))
    if registry.state(data) == "absent":
        pytest.skip(f"needs {data} in NADAM_REF_DATA or the cache")
    tuned: list[Record] = []
    while specs := planning.search("choices", data, task, tuned):
        tuned += [ended(spec, 1.0 + abs(spec.lr - 0.01)) for spec in specs]
    reported = planning.reporting("choices", data, task, tuned)
    assert len(reported) == 5 * len(plan.arms) and {spec.seed for spec in reported} == set(range(5))
    assert {spec.seed for spec in (r.spec for r in tuned)} == {1000, 1001}
    assert all(len(tried) <= 8 for tried in planning.rates(tuned).values())
    by_model: dict[str, list[Record]] = {}
    for record in [*tuned, *(ended(spec, 2.0) for spec in reported)]:
        by_model.setdefault(json.dumps(record.spec.model), []).append(record)
    assert len(by_model) == len(plan.arms) // 2
    for records in by_model.values():
        arms = gather(records, "choices")[task]
        assert [name.split()[0] for name in arms] == ["Adam", "Nadam"]
        assert all(len(arm.runs) == 5 and arm.runner_up is None for arm in arms.values())


# ---------------------------------------------------------------- the profile `map`


def test_the_map_is_a_whole_grid() -> None:
    """Every arm at nine rates with five seeds; four methods at eight μ, and at five sizes of batch for four of them."""
    specs = planning.specs("map", "digits", "digits")
    plan = profile_of("digits", "map")
    assert len({spec.id for spec in specs}) == len(specs) == len(plan.arms) * 9 * 5
    assert planning.search("map", "digits", "digits", []) == []
    assert planning.reporting("map", "digits", "digits", []) == specs
    assert sum(planning.expected_runs("digits", "map").values()) == len(specs)
    by_name: dict[str, set[tuple[Any, ...]]] = {}
    for spec in specs:
        h = spec.hyperparameters
        usual = h.get("eps", 1e-8) == 1e-8 and not h.get("eps_root") and h.get("betas", (0, 0.999))[1] == 0.999
        if usual and h.get("bias_correction", True) and h.get("momentum_decay") is None:
            μ = h["momentum"] if "momentum" in h else h["betas"][0]
            by_name.setdefault(spec.optimizer, set()).add((μ, spec.batch, spec.lr, spec.seed))
    assert set(by_name) == {"Momentum", "NAG", "Adam", "Nadam"}
    for found in by_name.values():
        assert len({μ for μ, batch, *_ in found if batch == 64}) == 8
        for μ in (0.5, 0.9, 0.97, 0.99):
            assert {batch for m, batch, *_ in found if m == μ} == {4, 16, 64, 256, 1024}
        assert len(found) == (8 + 4 * 4) * 9 * 5
    assert {s.hyperparameters.get("dialect") for s in specs if s.optimizer == "Nadam"} == {"iclr"}


def test_every_arm_of_the_map_is_known_by_its_settings() -> None:
    plan = profile_of("digits", "map")
    specs = planning.specs("map", "digits", "digits")[::9]
    assert {planning.arm(spec) for spec in specs} == set(plan.arms)
    for spec in specs:
        arm = plan.plans[planning.arm(spec)]
        assert (arm.optimizer, arm.batch or 64) == (spec.optimizer, spec.batch)
        assert planning.arm(dataclasses.replace(spec, seed=4)) == planning.arm(spec)


def test_a_cell_of_the_map_trains() -> None:
    specs = planning.specs("map", "digits", "digits")
    for batch in (4, 1024):
        spec = next(s for s in specs if s.batch == batch and s.optimizer == "Nadam" and s.lr == 1e-2)
        assert run(dataclasses.replace(spec, steps=2)).status == "finished"
    assert all(spec.data_sha256 == sha256("digits") for spec in specs[:3])


# ---------------------------------------------------------------- the file

CONTENT = yaml.safe_load(Path(definition.__file__).with_name("protocol.yaml").read_text(encoding="utf-8"))


def test_what_a_profile_varies_changes_its_own_hash_alone() -> None:
    changed = copy.deepcopy(CONTENT)
    changed["tasks"]["images"]["profiles"]["choices"]["variants"]["penalty"]["model"]["l1"] = [1e-5]
    after = definition.read(yaml.safe_dump(changed)).task("images").profiles
    before = load().task("images").profiles
    assert {name for name in before if before[name].sha256 != after[name].sha256} == {"choices"}
    assert len(before["choices"].arms) - len(after["choices"].arms) == 2


def test_a_variant_of_no_arm_is_named() -> None:
    changed = copy.deepcopy(CONTENT)
    changed["tasks"]["images"]["profiles"]["choices"]["variants"]["penalty"]["arms"] = ["AdamW"]
    message = "images.profiles.choices.variants.penalty.arms names 'AdamW'; there are: "
    with pytest.raises(ProtocolError, match=re.escape(message)):
        definition.read(yaml.safe_dump(changed))

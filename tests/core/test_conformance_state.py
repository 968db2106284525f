"""Checkpoints, copies and hooks: whatever leaves a run and comes back to it goes on as if it had never left."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from typing import Any

import pytest
import torch
from conformance import (
    INFOS,
    NAMED,
    configurations,
    every_optimizer,
    every_path,
    gradients,
    make,
    parameters,
    run,
    same,
    take_step,
)
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from variants import PATHS

from nadam_ref import OPTIMIZERS, Momentum, Nadam
from nadam_ref.state import COUNTS

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: torch's class, its keywords, and ours.
TWINS = [
    ("Momentum", torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9}),
    ("NAG", torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9, "nesterov": True}),
    ("AdaGrad", torch.optim.Adagrad, {}),
    ("RMSProp", torch.optim.RMSprop, {}),
    ("Adam", torch.optim.Adam, {}),
    ("AdaMax", torch.optim.Adamax, {}),
    ("Nadam", torch.optim.NAdam, {}),
]


def params_of(optimizer: Any) -> list[Any]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def saved_and_loaded(state_dict: Any) -> Any:
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_equal(a: Any, b: Any) -> None:
    """Nested dicts, lists and tensors, equal to the bit."""
    torch.testing.assert_close(a, b, rtol=0, atol=0) if isinstance(a, torch.Tensor) else None
    if isinstance(a, dict):
        assert a.keys() == b.keys()
    if isinstance(a, (dict, list, tuple)):
        for x, y in zip(*((x.values() if isinstance(x, dict) else x) for x in (a, b)), strict=True):
            assert_equal(x, y)
    elif not isinstance(a, torch.Tensor):
        assert a == b
        assert type(a) is type(b)


def named(params: Any, names: Any) -> Any:
    return [(f"name{i}", p) for i, p in enumerate(params)] if names and NAMED else params


# -- state_dict --------------------------------------------------------------------------------------------------------


@every_path
@every_optimizer
def test_a_loaded_run_goes_on_to_the_bit(name: str, path: str) -> None:
    """In every configuration, from a weights_only file, with and without names, into an optimizer of other defaults."""
    for i, kwargs in enumerate(configurations(name).values()):
        names = (i % 2 == 0, i % 3 == 0)
        first = make(name, named(parameters(), names[0]), kwargs, PATHS[path])
        run(first)
        before = copy.deepcopy(first.state_dict())
        file = saved_and_loaded(first.state_dict())
        assert_equal(file, before)
        second = make(name, named([p.detach().clone() for p in params_of(first)], names[1]), kwargs)
        second.param_groups[0]["lr"] = 123.0
        second.load_state_dict(file)
        assert_equal(file, before)
        for optimizer in (first, second):
            run(optimizer, range(7, 10))
        same(second, first)
        plain = [o.state_dict() for o in (first, second)]
        for state_dict in plain:
            for group in state_dict["param_groups"]:
                group.pop("param_names", None)
        assert_equal(*plain)


@every_optimizer
def test_before_the_first_step_there_is_nothing_to_load(name: str) -> None:
    fresh = make(name, parameters())
    other = run(make(name, parameters()))
    other.load_state_dict(fresh.state_dict())
    assert not other.state
    take_step(other, gradients(params_of(other), 0))


@every_optimizer
def test_loading_shares_no_memory(name: str) -> None:
    """Not even the step count: two optimizers loaded from one checkpoint know nothing of each other."""
    first = run(make(name, parameters()))
    state_dict = first.state_dict()
    before = copy.deepcopy(state_dict)
    second = make(name, [p.clone() for p in params_of(first)])
    second.load_state_dict(state_dict)
    run(second, range(7, 10))
    assert_equal(first.state_dict(), before)


@pytest.mark.parametrize("there", DTYPES, ids=str)
@pytest.mark.parametrize("here", DTYPES, ids=str)
@every_optimizer
def test_fault_23_a_checkpoint_comes_to_parameters_of_another_dtype(name: str, here: Any, there: Any) -> None:
    """State is kept in the arithmetic's dtype: float32 for half precision, the parameter's otherwise."""
    first = run(make(name, parameters(dtype=here)))
    moved = [p.to(there) for p in params_of(first)]
    truth = make(name, [p.clone() for p in moved])
    arithmetic = torch.float64 if there == torch.float64 else torch.float32
    for p, q in zip(params_of(first), params_of(truth), strict=True):
        if p in first.state:
            state = first.state[p]
            truth.state[q] = {k: x.clone() if k in COUNTS else x.to(arithmetic) for k, x in state.items()}
    second = make(name, moved)
    second.load_state_dict(first.state_dict())
    for path in ({}, {"foreach": True}):
        for optimizer in (second, truth):
            optimizer.param_groups[0].update(path)
            take_step(optimizer, gradients(moved, 0))
    same(second, truth)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "twin", "kwargs"), TWINS, ids=lambda x: x if isinstance(x, str) else "")
def test_torchs_checkpoints_of_every_dtype_go_on(
    name: str, twin: Any, kwargs: dict[str, Any], dtype: torch.dtype
) -> None:
    """Torch keeps the state of half precision in half precision: it comes over into float32, and the run goes on."""
    theirs = twin(parameters(dtype=dtype), **kwargs)
    for step in (0, 1):
        take_step(theirs, gradients(params_of(theirs), step))
    ours = make(name, [p.clone() for p in params_of(theirs)], {"lr": theirs.defaults["lr"]})
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    for optimizer in (ours, theirs):
        take_step(optimizer, gradients(params_of(theirs), 5))
    unit = {torch.float16: 4e-3, torch.bfloat16: 4e-2, torch.float32: 1e-5, torch.float64: 1e-7}[dtype]
    for p, q in zip(params_of(ours), params_of(theirs), strict=True):
        assert p.dtype == dtype
        torch.testing.assert_close(p, q, rtol=unit, atol=unit)
        halves = [x.dtype in (torch.float16, torch.bfloat16) for x in ours.state[p].values()]
        assert not any(halves)


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
def test_older_checkpoints_load(info: Any) -> None:
    """Without the flags that came later, and with a step that is a number."""
    optimizer = run(make(info.name, parameters()))
    state_dict = copy.deepcopy(optimizer.state_dict())
    for group in state_dict["param_groups"]:
        for flag in info.not_og_supported_flags:
            del group[flag]
        for keyword in {"eps_root", "gamma", "length", "row_counts"} & group.keys():
            del group[keyword]
    for state in state_dict["state"].values():
        if "step" in state:
            state["step"] = int(state["step"])
    second = make(info.name, [p.clone() for p in params_of(optimizer)])
    second.load_state_dict(state_dict)
    for o in (optimizer, second):
        run(o, range(7, 10))
    same(second, optimizer)


@every_optimizer
def test_a_repeated_group_has_the_same_ids(name: str) -> None:
    optimizer = run(make(name, parameters()))
    alone = optimizer.state_dict()["param_groups"][-1]
    optimizer.param_groups.extend(optimizer.param_groups)
    assert_equal(optimizer.state_dict()["param_groups"][-1], alone)


@pytest.mark.skipif(not NAMED, reason="torch 2.5 takes no names")
@pytest.mark.parametrize("names", [(True, False), (False, True), (True, True)], ids=str)
@every_optimizer
def test_names_are_kept_where_either_side_has_them(name: str, names: Any) -> None:
    first = run(make(name, named(parameters(), names[0])))
    second = make(name, named(parameters(), names[1]))
    second.load_state_dict(first.state_dict())
    assert second.state_dict()["param_groups"][0]["param_names"] == ["name0", "name1", "name2"]


def test_fault_23_checkpoints_of_other_parameters_are_refused_in_torchs_words() -> None:
    state_dict = run(Nadam(parameters())).state_dict()
    with pytest.raises(ValueError, match="loaded state dict has a different number of parameter groups"):
        Nadam([{"params": [p]} for p in parameters()]).load_state_dict(state_dict)
    with pytest.raises(ValueError, match="contains a parameter group that doesn't match the size"):
        Nadam(parameters()[:2]).load_state_dict(state_dict)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")
@pytest.mark.parametrize("flat", [False, True])
@every_optimizer
def test_distributed_checkpoints_load_without_moving_a_parameter(name: str, flat: Any) -> None:
    """They make the state with a step of its own, at a rate of zero."""
    from torch.distributed.checkpoint import state_dict as dcp

    options = dcp.StateDictOptions(flatten_optimizer_state_dict=flat)
    models = [torch.nn.Linear(3, 2, dtype=torch.float64) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    first, second = (make(name, model.parameters(), {"weight_decay": 0.1}) for model in models)
    run(first)
    models[1].load_state_dict(models[0].state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        saved = dcp.get_optimizer_state_dict(models[0], first, options=options)
        dcp.set_optimizer_state_dict(models[1], second, saved, options=options)
    for optimizer in (first, second):
        run(optimizer, range(7, 9))
    same(second, first)


# -- copies ------------------------------------------------------------------------------------------------------------


@every_optimizer
def test_copies_are_independent_and_go_on_to_the_bit(name: str) -> None:
    for kwargs in configurations(name).values():
        first = run(make(name, parameters(), kwargs))
        copies = [copy.deepcopy(first), pickle.loads(pickle.dumps(first))]
        before = copy.deepcopy(copies[0].state_dict())
        run(first, range(7, 9))
        for other in copies:
            assert {k for k in vars(other) if k[0] != "_"} == {k for k in vars(first) if k[0] != "_"}
            assert_equal(other.state_dict(), before)
            same(run(other, range(7, 9)), first)


@every_optimizer
def test_printing_names_the_class_and_every_hyperparameter(name: str) -> None:
    optimizer = make(name, parameters())
    text = repr(optimizer)
    assert text.startswith(f"{name} (")
    assert all(f"{key}: {value}" in text for key, value in optimizer.defaults.items())


# -- hooks -------------------------------------------------------------------------------------------------------------


@every_optimizer
def test_step_hooks_run_around_the_step_local_inside_global(name: str) -> None:
    seen = []

    def note(word: str) -> Any:
        return lambda optimizer, args, kwargs: seen.append(word)

    optimizer = make(name, parameters())
    handles = [
        register_optimizer_step_pre_hook(note("global before")),
        register_optimizer_step_post_hook(note("global after")),
        optimizer.register_step_pre_hook(note("before")),
        optimizer.register_step_post_hook(note("after")),
    ]
    try:
        run(optimizer, range(2))
    finally:
        for handle in handles:
            handle.remove()
    run(optimizer, range(2))
    assert seen == ["global before", "before", "after", "global after"] * 2


@every_optimizer
def test_state_dict_hooks_see_and_replace_the_dict(name: str) -> None:
    optimizer = run(make(name, parameters()))

    def before(opt: Any) -> None:
        opt.state["seen"] = 1

    def after(opt: Any, state_dict: Any) -> dict[str, Any]:
        return {**state_dict, "popped": state_dict["state"].pop("seen")}

    optimizer.register_state_dict_pre_hook(before)
    assert optimizer.state_dict()["state"]["seen"] == 1
    optimizer.register_state_dict_post_hook(after)
    assert optimizer.state_dict()["popped"] == 1
    assert "seen" not in optimizer.state_dict()["state"]


@every_optimizer
def test_load_hooks_change_and_replace_what_is_loaded(name: str) -> None:
    """In the order in which they stand; what the last one returns is what is loaded, and checked."""
    optimizer = run(make(name, parameters()))
    state_dict = copy.deepcopy(optimizer.state_dict())

    def in_place(opt: Any, loaded: Any) -> None:
        loaded["param_groups"][0]["lr"] = 0.002

    def replaced(opt: Any, loaded: Any) -> Any:
        other = copy.deepcopy(loaded)
        other["param_groups"][0]["lr"] = 0.003
        return other

    def finished(opt: Any) -> None:
        seen.append(opt.param_groups[0]["lr"])

    seen: list[float] = []
    optimizer.register_load_state_dict_post_hook(finished)
    handle = optimizer.register_load_state_dict_pre_hook(in_place)
    optimizer.load_state_dict(copy.deepcopy(state_dict))
    optimizer.register_load_state_dict_pre_hook(replaced, prepend=True)
    optimizer.load_state_dict(copy.deepcopy(state_dict))
    handle.remove()
    optimizer.load_state_dict(copy.deepcopy(state_dict))
    assert seen == [0.002, 0.002, 0.003]
    assert len(optimizer._optimizer_load_state_dict_pre_hooks) == 1
    same(optimizer, run(make(name, parameters())))


def test_a_load_hook_may_bring_a_checkpoint_into_shape() -> None:
    """A hook that renames the state of another library runs before the state is judged."""
    theirs = run(OPTIMIZERS["Momentum"](parameters()))
    foreign = copy.deepcopy(theirs.state_dict())
    foreign["state"] = {i: {"velocity": state["momentum_buffer"]} for i, state in foreign["state"].items()}
    ours = Momentum([p.clone() for p in params_of(theirs)])
    with pytest.raises(ValueError, match="of another rule"):
        ours.load_state_dict(copy.deepcopy(foreign))

    def rename(optimizer: Any, loaded: Any) -> None:
        loaded["state"] = {i: {"momentum_buffer": state["velocity"]} for i, state in loaded["state"].items()}

    ours.register_load_state_dict_pre_hook(rename)
    ours.load_state_dict(foreign)
    same(ours, theirs)

"""In company: what else of torch meets an optimizer, and what it may expect."""

import math
import warnings

import pytest
import torch
from conformance import (
    NAMED,
    configurations,
    every_optimizer,
    every_path,
    every_path_one_fused,
    gradients,
    make,
    parameters,
    run,
    same,
    take_step,
)
from torch.optim import lr_scheduler, swa_utils
from variants import PATHS

from nadam_ref import GD, OPTIMIZERS, Adam, MaxProp, Nadam, RMSProp


def line(p):
    """The loss of a parameter, and its gradient left on it."""
    p.grad = None
    loss = (p**2).sum()
    loss.backward()
    return loss


# -- learning-rate schedulers ------------------------------------------------------------------------------------------

SCHEDULERS = {
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2, gamma=0.5),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 8),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t)),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 1e-3, 1e-2, step_size_up=2),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 1e-2, total_steps=9),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, total_iters=3), lr_scheduler.ExponentialLR(o, 0.9)], [3]
    ),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.1, 2), lr_scheduler.ExponentialLR(o, 0.9)], o
    ),
}


#: torch 2.5's SequentialLR calls the others in a way that it deprecates itself.
WITHOUT_EPOCHS = pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step:UserWarning")


def scheduled(optimizer, scheduler):
    """Eight steps; rate and momentum are as the scheduler leaves them."""
    schedule = SCHEDULERS[scheduler](optimizer)
    seen = []
    for step in range(8):
        run(optimizer, range(step, step + 1))
        schedule.step(*[1.0] * (scheduler == "ReduceLROnPlateau"))
        group = optimizer.param_groups[0]
        seen.append((float(group["lr"]), group.get("momentum"), group.get("betas")))
    return optimizer, seen


@WITHOUT_EPOCHS
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize(
    ("name", "twin", "kwargs"),
    [
        ("Momentum", torch.optim.SGD, {"momentum": 0.9}),
        ("NAG", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ("Adam", torch.optim.Adam, {}),
        ("AdaMax", torch.optim.Adamax, {"eps": 1e-300}),
    ],
)
def test_every_scheduler_drives_ours_as_it_drives_torchs(name, twin, kwargs, scheduler):
    """Those that cycle the momentum too: a μ that changes in mid-run means the same in both."""
    theirs, their_rates = scheduled(twin(parameters(), lr=0.01, **kwargs), scheduler)
    kwargs = {k: v for k, v in kwargs.items() if k != "nesterov"}
    ours, our_rates = scheduled(make(name, parameters(), {"lr": 0.01}, kwargs), scheduler)
    assert our_rates == their_rates
    for p, q in zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True):
        torch.testing.assert_close(p, q, rtol=1e-12, atol=1e-12)


@WITHOUT_EPOCHS
@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS.keys() - {"CyclicLR", "OneCycleLR"}))
@pytest.mark.parametrize("path", ["for-loop", "capturable foreach"])
@every_optimizer
def test_a_scheduler_may_hold_the_rate_in_a_tensor(name, path, scheduler):
    if scheduler == "SequentialLR" and torch.__version__ < (2, 10):
        pytest.skip("before torch 2.10 its first scheduler overwrites the initial rate of the others (pytorch#162359)")
    rate = {"lr": torch.tensor(0.01, dtype=torch.float64)}
    held, _ = scheduled(make(name, parameters(), PATHS[path], rate), scheduler)
    truth, _ = scheduled(make(name, parameters(), {"lr": 0.01, "foreach": False}), scheduler)
    same(held, truth, 1e-12)


def test_a_momentum_that_is_not_there_cannot_be_cycled():
    """Torch's SGD and RMSprop would take the momentum up in mid-run; GD and RMSProp have none, and say so."""
    for optimizer, twin in ((GD(parameters()), "SGD"), (RMSProp(parameters()), "RMSprop")):
        SCHEDULERS["OneCycleLR"](optimizer)
        before = [p.clone() for p in optimizer.param_groups[0]["params"]]
        with pytest.raises(ValueError, match=rf"momentum=0\.95 does not fit .*: use torch\.optim\.{twin} for it"):
            run(optimizer, range(1))
        assert all(torch.equal(p, q) for p, q in zip(optimizer.param_groups[0]["params"], before, strict=True))
    with pytest.raises(ValueError, match="must support momentum or beta1"):
        SCHEDULERS["OneCycleLR"](MaxProp(parameters()))


# -- mixed precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overflow", [False, True])
@every_path
@every_optimizer
def test_grad_scaler_unscales_a_good_step_and_skips_a_bad_one(name, path, overflow):
    p, q = parameters((3, 2), (3, 2))
    q.copy_(p)
    scaled, plain = (make(name, [x], PATHS[path]) for x in (p, q))
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for _ in range(2):
        scaler.scale(torch.ones(()))  # sets the scale up
        p.grad, q.grad = 8.0 * torch.ones_like(p), torch.ones_like(q)
        if overflow:
            p.grad[0, 0] = math.inf
        scaler.step(scaled)
        scaler.update()
        plain.step()
    if overflow:
        assert torch.equal(p, parameters((3, 2), (3, 2))[0])
        assert all(not state for state in scaled.state.values())
        assert scaler.get_scale() == 2.0
    else:
        same(scaled, plain)


# -- closures ----------------------------------------------------------------------------------------------------------


@every_path
@every_optimizer
def test_a_closure_is_called_once_with_autograd_on_and_its_loss_comes_back(name, path):
    p = parameters((3,))[0]
    leaf = p if path == "differentiable" else p.requires_grad_()
    optimizer, calls = make(name, [p], PATHS[path]), []

    def closure():
        calls.append(torch.is_grad_enabled())
        q = leaf.detach().requires_grad_()
        loss = line(q)
        p.grad = q.grad
        return loss

    for outside in (torch.no_grad(), torch.enable_grad()):
        with outside:
            before, expected = torch.is_grad_enabled(), (p.detach() ** 2).sum()
            assert torch.equal(optimizer.step(closure), expected)
            assert torch.is_grad_enabled() == before
    assert calls == [True, True]


# -- habits of users and of other parts of torch -----------------------------------------------------------------------


@every_optimizer
def test_a_users_subclass_keeps_its_own_keywords(name):
    parent = OPTIMIZERS[name]

    class Named(parent):
        def __init__(self, params, tag="mine", **kwargs):
            super().__init__(params, **kwargs)
            self.tag = tag

    class Loud(Named):
        def step(self, closure=None):
            self.loud = True
            return super().step(closure)

    kwargs = list(configurations(name).values())[-1]
    ours = Loud(parameters(), tag="yours", **kwargs)
    assert ours.tag == "yours"
    same(run(ours), run(make(name, parameters(), kwargs)))
    assert ours.loud
    with pytest.raises(TypeError, match="momentun"):
        Named(parameters(), momentun=0.9)


@every_path_one_fused
def test_the_default_device_is_for_the_user_alone(name, path):
    """Numbers, counts and state stand beside the parameters, whatever torch.set_default_device says."""
    grads = [gradients(parameters(), step) for step in range(4)]
    truth, here = (make(name, parameters(), PATHS[path]) for _ in range(2))
    for g in grads:
        take_step(truth, g)
        with torch.device("meta"):
            take_step(here, g)
            here.load_state_dict(here.state_dict())
    same(here, truth)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
@every_path_one_fused
def test_the_default_dtype_changes_nothing(name, path, dtype):
    truth = run(make(name, parameters(), PATHS[path]))
    torch.set_default_dtype(dtype)
    try:
        same(run(make(name, parameters(), PATHS[path])), truth)
    finally:
        torch.set_default_dtype(torch.float32)


@every_optimizer
def test_functional_models_see_the_parameters_move(name):
    """torch.func users hold the parameters in a dict, and hand over gradients from torch.func.grad."""
    model = torch.nn.Linear(3, 1, dtype=torch.float64)
    params = {key: p.detach().clone() for key, p in model.named_parameters()}
    optimizer = make(name, params.items() if NAMED else params.values(), {"lr": 0.01})
    x = parameters((8, 3))[0]

    def loss(params):
        return (torch.func.functional_call(model, params, x) ** 2).mean()

    losses = []
    for _ in range(10):
        grads, value = torch.func.grad_and_value(loss)(params)
        losses.append(value.item())
        take_step(optimizer, list(grads.values()))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
    assert optimizer.param_groups[0].get("param_names") == (["weight", "bias"] if NAMED else None)


def test_an_optimizer_for_each_parameter_steps_inside_backward():
    model = torch.nn.Linear(3, 2)
    twin = torch.nn.Linear(3, 2)
    twin.load_state_dict(model.state_dict())
    inside = {p: Nadam([p]) for p in model.parameters()}
    for p in model.parameters():
        p.register_post_accumulate_grad_hook(lambda p: inside[p].step())
    after = Nadam(twin.parameters())
    for m in (model, twin):
        (m(torch.ones(4, 3)) ** 2).sum().backward()
    after.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_averaged_models_and_their_schedule():
    model = torch.nn.Linear(3, 2)
    optimizer = Adam(model.parameters(), lr=0.1)
    average, schedule = swa_utils.AveragedModel(model), swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=2)
    visited = []
    for _ in range(4):
        optimizer.zero_grad()
        (model(torch.ones(4, 3)) ** 2).sum().backward()
        optimizer.step()
        average.update_parameters(model)
        schedule.step()
        visited.append(model.weight.detach().clone())
    torch.testing.assert_close(average.module.weight.detach(), torch.stack(visited).mean(0))
    assert optimizer.param_groups[0]["lr"] == 0.05


@every_optimizer
def test_the_profiler_knows_the_step_by_name(name):
    optimizer = make(name, parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the profiler's own
        with torch.autograd.profiler.profile() as profile:
            run(optimizer, range(1))
            optimizer.zero_grad()
    assert {f"Optimizer.step#{name}.step", f"Optimizer.zero_grad#{name}.zero_grad"} <= {
        e.name for e in profile.function_events
    }


@every_optimizer
def test_memory_format_is_kept_by_state_and_checkpoint(name):
    p = parameters((2, 3, 4, 4))[0].to(memory_format=torch.channels_last)
    optimizer = run(make(name, [p]))
    other = make(name, [p.clone()])
    other.load_state_dict(optimizer.state_dict())
    same(other, optimizer)
    for state in optimizer.state.values():
        assert all(x.stride() == p.stride() for x in state.values() if x.dim())

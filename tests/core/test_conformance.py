"""One step, whichever way it is computed: the for-loop is the ground truth, as in torch's own test-suite.

Every configuration of every optimizer (see `conformance.py`) takes part. Each faster path is compared with the for-loop
in parameters and state.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conformance import (
    CONFIGURATIONS,
    INFOS,
    configurations,
    every_configuration,
    every_optimizer,
    every_path,
    every_path_one_fused,
    faster,
    gradients,
    make,
    parameters,
    run,
    same,
    take_step,
)
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.testing._internal.common_optimizers import OptimizerErrorEnum
from variants import PATHS

from nadam_ref import OPTIMIZERS, Adam

by_info = pytest.mark.parametrize("info", INFOS, ids=lambda info: info.name)
#: What the paths may differ by: foreach does the same operations, the others may round elsewhere.
ROUNDING = {"for-loop": 0.0, "default": 0.0, "foreach": 0.0, "fused": 1e-12, "capturable": 1e-12}
ROUNDING |= {"capturable foreach": 1e-12, "differentiable": 1e-12}
#: float16 and bfloat16 are rounded from float32 arithmetic: at most to the neighbouring number.
UNIT = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 2e-6, torch.complex64: 2e-6}


# -- the faster paths --------------------------------------------------------------------------------------------------


@faster
@every_configuration
def test_every_path_is_the_for_loop(name: str, kwargs: dict[str, Any], path: str) -> None:
    """Seven steps, some without gradients: parameters that were skipped count fewer steps."""
    truth = run(make(name, parameters(), kwargs, PATHS["for-loop"]))
    same(run(make(name, parameters(), kwargs, PATHS[path])), truth, ROUNDING[path])


@every_path_one_fused
def test_every_path_takes_parameters_of_every_dtype_together(name: str, path: str) -> None:
    dtypes = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex128)
    params = [p for dtype in dtypes for p in parameters((4, 3), (5,), dtype=dtype)]
    together = make(name, params, {"weight_decay": 0.1}, PATHS[path])
    alone = [make(name, [p.clone()], {"weight_decay": 0.1}, PATHS["for-loop"]) for p in params]
    for step in range(5):
        grads = gradients(params, step)
        take_step(together, grads)
        for optimizer, g in zip(alone, grads, strict=True):
            take_step(optimizer, [g])
    for p, optimizer in zip(params, alone, strict=True):
        q = optimizer.param_groups[0]["params"][0]
        unit = UNIT.get(p.dtype, 1e-12)
        torch.testing.assert_close(p, q, rtol=unit, atol=unit)
        for key, x in optimizer.state.get(q, {}).items():
            torch.testing.assert_close(together.state[p][key], x, rtol=min(unit, 2e-6), atol=2e-6)


@pytest.mark.parametrize("count", [1, 2, 300])
@pytest.mark.parametrize("path", ["foreach", "capturable foreach"])
@every_optimizer
def test_lists_of_any_length_with_scalars_and_empty_tensors(name: str, path: str, count: int) -> None:
    shapes = [((), (0,), (3,), (0, 2), (1,), (2, 2))[i % 6] for i in range(count)]
    truth = run(make(name, parameters(*shapes), {"foreach": False}), range(2))
    same(run(make(name, parameters(*shapes), PATHS[path]), range(2)), truth, 1e-12)


@pytest.mark.slow
@every_optimizer
def test_fused_takes_scalars_and_empty_tensors(name: str) -> None:
    shapes = ((), (0,), (1,), (0, 2), (1, 1), (2, 3))
    truth = run(make(name, parameters(*shapes), {"foreach": False}))
    same(run(make(name, parameters(*shapes), {"fused": True})), truth, 1e-12)


@pytest.mark.slow
@every_configuration
def test_fused_in_single_and_half_precision(name: str, kwargs: dict[str, Any]) -> None:
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        truth = run(make(name, parameters(dtype=dtype), kwargs, {"foreach": False}))
        same(run(make(name, parameters(dtype=dtype), kwargs, {"fused": True})), truth, UNIT[dtype])


@every_optimizer
def test_a_capturable_step_reads_no_tensor_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device no tensor has a value: whatever asks for one, and would break a CUDA graph, raises.

    A rate that is a tensor must stay one, too: a graph would go on with the number that it was when captured.
    """
    for kwargs in configurations(name).values():
        params = [p.to("meta") for p in parameters()]
        optimizer = make(name, params, kwargs, {"capturable": True, "lr": torch.tensor(0.1)})
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "item", lambda x: pytest.fail("a tensor was read back"))
            for _ in range(2):
                take_step(optimizer, [torch.empty_like(p) for p in params])
        assert all(x.is_meta for state in optimizer.state.values() for x in state.values())


@every_optimizer
def test_fused_on_the_meta_device_is_torchs_error(name: str) -> None:
    p = torch.empty(3, device="meta")
    optimizer = make(name, [p], {"fused": True})
    text = "`fused=True` requires all the params to be floating point Tensors of supported devices"
    with pytest.raises(RuntimeError, match=text):
        take_step(optimizer, [torch.empty_like(p)])
    assert all(not state for state in optimizer.state.values())


# -- what every step must and must not do ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contiguous", "schedulers"), [(True, None), (False, None), (True, 0), (False, 1), (True, 2)], ids=str
)
@by_info
def test_the_loss_goes_the_right_way(info: Any, contiguous: Any, schedulers: Any) -> None:
    for optim_input in info.optim_inputs_func(device="cpu"):
        make_schedulers = [] if schedulers is None else info.scheduler_inputs[schedulers]
        weight, bias, x = (torch.randn(*shape, 2)[..., 0] for shape in ((10, 5), (10,), (5,)))
        weight, bias = (p.clone() if contiguous else p for p in (weight, bias))
        optimizer = info.optim_cls([weight.requires_grad_(), bias.requires_grad_()], **optim_input.kwargs)
        schedule = [make_scheduler(optimizer) for make_scheduler in make_schedulers]
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = (weight.mv(x) + bias).pow(2).sum()
            loss.backward()
            losses.append(loss.item())
            optimizer.step()
            for s in schedule:
                s.step(*[losses[-1]] * isinstance(s, ReduceLROnPlateau))
        assert (losses[-1] > losses[0]) == optim_input.kwargs.get("maximize", False)


@every_path
@every_optimizer
def test_groups_are_as_good_as_optimizers_of_their_own(name: str, path: str) -> None:
    """One group for each configuration, against one optimizer for each."""
    every = list(configurations(name).values())
    defaults = PATHS[path]
    groups = make(name, [{"params": parameters(), **kwargs} for kwargs in every], defaults)
    run_alone = [make(name, parameters(), kwargs, defaults) for kwargs in every]
    for step in range(5):
        grads = gradients(parameters(), step)
        take_step(groups, grads * len(every))
        for optimizer in run_alone:
            take_step(optimizer, grads)
    for group, optimizer in zip(groups.param_groups, run_alone, strict=True):
        for p, q in zip(group["params"], optimizer.param_groups[0]["params"], strict=True):
            assert torch.equal(p, q)


@pytest.mark.parametrize("dimensions", [0, 1, 2])
@every_path
@every_optimizer
def test_a_rate_that_is_a_tensor_is_the_rate(name: str, path: str, dimensions: int) -> None:
    if (name, path) == ("Adam", "foreach"):
        return  # torch's own restriction, see the test of its error text
    for kwargs in configurations(name).values() if dimensions == 0 else [{}]:
        kwargs = {**kwargs, "lr": 0.01}
        truth = run(make(name, parameters(), kwargs, {"foreach": False}), range(2))
        rate = torch.tensor(0.01, dtype=torch.float64).reshape([1] * dimensions)
        same(run(make(name, parameters(), kwargs, PATHS[path], {"lr": rate}), range(2)), truth, 1e-12)
        assert rate.item() == 0.01


@every_path
@pytest.mark.parametrize("name", ["Adam", "AdaMax", "Nadam", "NadaMax"])
def test_betas_that_are_tensors_are_the_betas(name: str, path: str) -> None:
    if (name, path) == ("Adam", "foreach"):
        return
    betas = (0.8, 0.95)
    tensors = {"betas": tuple(torch.tensor(beta, dtype=torch.float64) for beta in betas)}
    for kwargs in configurations(name).values():
        truth = run(make(name, parameters(), kwargs, {"foreach": False, "betas": betas}), range(2))
        same(run(make(name, parameters(), kwargs, PATHS[path], tensors), range(2)), truth, 1e-12)


@every_path
@every_optimizer
def test_complex_parameters_are_pairs_of_reals(name: str, path: str) -> None:
    """As one tensor of pairs, bit by bit; and as two parameters, since all operations are elementwise."""
    for kwargs in configurations(name).values():
        z = parameters((3, 2), dtype=torch.complex128)[0]
        pairs, real, imaginary = torch.view_as_real(z).clone(), z.real.clone(), z.imag.clone()
        optimizers = [make(name, params, kwargs, PATHS[path]) for params in ([z], [pairs], [real, imaginary])]
        for step in range(3):
            g = torch.randn(3, 2, dtype=z.dtype, generator=torch.Generator().manual_seed(step))
            for optimizer, grads in zip(optimizers, ([g], [torch.view_as_real(g)], [g.real, g.imag]), strict=True):
                take_step(optimizer, grads)
        assert torch.equal(torch.view_as_real(z), pairs)
        torch.testing.assert_close(z, torch.complex(real, imaginary), rtol=1e-12, atol=1e-12)


@every_path
@every_optimizer
def test_fault_04_06_no_gradient_and_zero_gradients_move_nothing(name: str, path: str) -> None:
    start = parameters()
    for kwargs in configurations(name).values():
        optimizer = make(name, [p.clone() for p in start], kwargs, PATHS[path])
        take_step(optimizer, [None] * len(start))
        assert not optimizer.state
        if "weight_decay" not in kwargs:
            take_step(optimizer, [torch.zeros_like(p) for p in start])
        assert all(torch.equal(p, q) for p, q in zip(optimizer.param_groups[0]["params"], start, strict=True))


@every_path
@every_optimizer
def test_a_step_writes_to_parameters_and_state_alone(name: str, path: str) -> None:
    """Gradients keep their values and versions; state is nothing but tensors."""
    for kwargs in configurations(name).values():
        params = parameters()
        grads = gradients(params, 0)
        before, versions = [g.clone() for g in grads], [g._version for g in grads]
        optimizer = make(name, params, kwargs, PATHS[path])
        for _ in range(3):
            take_step(optimizer, grads)
        assert versions == [g._version for g in grads]
        assert all(torch.equal(g, old) for g, old in zip(grads, before, strict=True))
        assert all(
            state and all(isinstance(x, torch.Tensor) for x in state.values()) for state in optimizer.state.values()
        )


# -- sparse gradients, where they are the dense ones -------------------------------------------------------------------


@pytest.mark.parametrize("info", [info for info in INFOS if info.supports_sparse], ids=lambda info: info.name)
def test_sparse_gradients_are_the_dense_ones_where_nothing_decays(info: Any) -> None:
    """Without a memory that fades, rows that do not occur have nothing to miss. Uncoalesced: a row comes twice."""
    for path in ({"foreach": False}, {"foreach": True}, {"capturable": True}):
        dense, sparse = (info.optim_cls(parameters((4, 2)), lr=0.1, **path) for _ in range(2))
        for step in range(20):
            row = step % 4
            halves = torch.randn(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
            g = torch.zeros(4, 2, dtype=torch.float64)
            g[row] = halves.sum(0)
            twice = torch.sparse_coo_tensor([[row, row]], halves, (4, 2), check_invariants=True)
            take_step(dense, [g])
            take_step(sparse, [twice])
        torch.testing.assert_close(*(o.param_groups[0]["params"][0] for o in (sparse, dense)), rtol=1e-12, atol=1e-12)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")
@by_info
def test_errors_are_torchs(info: Any) -> None:
    for error in info.optim_error_inputs_func(device="cpu", dtype=torch.float32):
        assert error.error_on == OptimizerErrorEnum.CONSTRUCTION_ERROR
        expect = pytest.warns if issubclass(error.error_type, Warning) else pytest.raises
        wrong = error.optimizer_error_input
        with expect(error.error_type, match=error.error_regex):
            info.optim_cls(wrong.params, **wrong.kwargs)


def test_tensors_that_torchs_adam_refuses() -> None:
    """Only its Adam does: every other class of torch's takes a tensor in the foreach path."""
    beta, betas = torch.tensor(0.9), (torch.tensor(0.9), torch.tensor(0.99))
    for kwargs, text in [
        ({"betas": (0.9, beta)}, "betas must be either both floats or both Tensors"),
        ({"betas": (beta, 0.9)}, "betas must be either both floats or both Tensors"),
        (
            {"betas": betas, "foreach": True},
            r"betas\[0\] as a Tensor is not supported for capturable=False and foreach",
        ),
        ({"lr": beta, "foreach": True}, "lr as a Tensor is not supported for capturable=False and foreach=True"),
    ]:
        for adam in (Adam, torch.optim.Adam) if torch.__version__ >= (2, 6) else (Adam,):
            with pytest.raises(ValueError, match=text):
                adam(parameters(), **kwargs)


def test_the_descriptions_are_complete() -> None:
    """All ten, and no configuration decides how a step is computed: the tests do."""
    assert [info.name for info in INFOS] == list(OPTIMIZERS)
    for name, kwargs in CONFIGURATIONS.values():
        assert not kwargs.keys() & {"foreach", "fused", "differentiable", "capturable"}
        assert OPTIMIZERS[name](parameters(), **kwargs)

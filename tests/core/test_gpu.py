"""On a GPU: the fused step is right, is one launch, and never waits for the device. Skipped where there is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import nadam_ref

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
SHAPES = [(300, 301), (7,), (), (64, 3, 7, 7)]


def params(device: Any) -> Any:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=generator).to(device).requires_grad_() for shape in SHAPES]
    for p in made:
        p.grad = torch.randn(p.shape, generator=generator).to(device)
    return made


def stepped(name: str, device: Any, steps: int = 3, **keywords: Any) -> Any:
    of = params(device)
    optimizer = nadam_ref.OPTIMIZERS[name](of, **keywords)
    for _ in range(steps):
        optimizer.step()
    return optimizer, of


@pytest.mark.parametrize("keywords", [{}, {"fused": True}, {"capturable": True}], ids=str)
@pytest.mark.parametrize("name", nadam_ref.RULES)
def test_equal_to_the_cpu(name: str, keywords: dict[str, Any]) -> None:
    _, here = stepped(name, "cpu")
    _, there = stepped(name, "cuda", **keywords)
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(b.detach().cpu(), a.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keywords", [{}, {"foreach": True}, {"fused": True}], ids=str)
@pytest.mark.parametrize("name", nadam_ref.RULES)
def test_fault_20_state_follows_its_parameter_to_another_device(name: str, keywords: dict[str, Any]) -> None:
    """`module.cuda()` after some steps, and back: the same trajectory as where nothing moves."""
    optimizer, moving = stepped(name, "cpu", **keywords)
    loop, staying = stepped(name, "cpu", foreach=False)
    for device in ("cuda", "cpu"):
        for p in moving:
            p.data, p.grad = p.data.to(device), p.grad.to(device)
        optimizer.step(), loop.step()
        for a, b in zip(moving, staying, strict=True):
            assert a.device.type == device
            torch.testing.assert_close(a.detach().cpu(), b.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", nadam_ref.RULES)
def test_a_fused_step_is_one_launch(name: str) -> None:
    optimizer, _ = stepped(name, "cuda", fused=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
        optimizer.step()
        torch.cuda.synchronize()
    on_device = [event.name for event in seen.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    kernels = [name for name in on_device if not name.startswith(("Memcpy", "Memset"))]
    assert len(kernels) == 1, kernels


@pytest.mark.parametrize("keywords", [{}, {"fused": True}], ids=str)
@pytest.mark.parametrize("name", nadam_ref.RULES)
def test_a_step_does_not_wait_for_the_device(name: str, keywords: dict[str, Any]) -> None:
    optimizer, _ = stepped(name, "cuda", **keywords)
    torch.cuda.set_sync_debug_mode("error")
    try:
        optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", nadam_ref.RULES)
def test_a_captured_step_replays(name: str) -> None:
    optimizer, of = stepped(name, "cuda", capturable=True)
    _, want = stepped(name, "cuda", steps=5, capturable=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    graph.replay()
    graph.replay()
    for a, b in zip(of, want, strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), rtol=1e-5, atol=1e-6)

"""Torch's private names: one module reaches them, and the optimizers are the same without them."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nadam_ref
from nadam_ref import compat

#: What compat looks up, by owner.
NAMES = {
    "torch": ["_debug_has_internal_overlap", "_disable_dynamo"],
    "sys.modules['torch.optim.optimizer']": [
        "_default_to_fused_or_foreach",
        "_device_dtype_check_for_fused",
        "_use_grad_for_differentiable",
    ],
    "torch.Tensor": ["_indices"],
    "torch.optim.Optimizer": ["_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"],
}

#: Steps of every optimizer in every way, with an error of each kind, printed exactly.
STEPS = """
import torch, nadam_ref
WAYS = {}, {"foreach": True}, {"fused": True}, {"differentiable": True}, {"capturable": True, "foreach": False}
for name, cls in nadam_ref.OPTIMIZERS.items():
    for keywords in WAYS:
        leaves = [torch.linspace(-1, 1, 12).reshape(3, 4).t(), torch.ones(5)]
        ps = [x.clone(memory_format=torch.preserve_format).requires_grad_() for x in leaves]
        of = [p.clone() for p in ps] if keywords.get("differentiable") else ps
        optimizer = cls(of, lr=0.1, **keywords)
        for _ in range(3):
            for p in of:
                p.grad = torch.full_like(p, 0.5)
            optimizer.step()
        print(name, keywords, torch.is_grad_enabled(), *(p.tolist() for p in of), *(p.requires_grad for p in of))
for what, keywords in (torch.ones(1).expand(3), {}), (torch.ones(3, device="meta"), {"fused": True}):
    try:
        p = what.requires_grad_()
        optimizer = nadam_ref.Nadam([p], **keywords)
        p.grad = torch.ones_like(p)
        optimizer.step()
    except (RuntimeError, ValueError) as error:
        print(type(error).__name__, str(error).split("devices")[0])
"""


def private(tree: ast.AST) -> set[str]:
    """Private names that code takes from torch, or from a tensor, a module or an optimizer."""
    inherited = {name for cls in (torch.Tensor, nn.Module, torch.optim.Optimizer) for name in dir(cls)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            root = ast.unparse(node.value).split(".")[0]
            if (root == "torch" and not node.attr.startswith("_foreach_")) or node.attr in inherited:
                found.add(node.attr)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None)
            names = [f"{module}.{alias.name}" if module else alias.name for alias in node.names]
            found |= {name for name in names if name.startswith("torch.") and "._" in name}
    return found


def test_one_module_reaches_private_names() -> None:
    folder = Path(nadam_ref.__file__).parent
    found = {
        str(path.relative_to(folder)): private(ast.parse(path.read_text("utf-8"))) for path in folder.rglob("*.py")
    }
    assert {name for name, names in found.items() if names} <= {"compat.py"}, found


@pytest.mark.parametrize(
    "code",
    ["torch._C._nn.x", "from torch.optim.optimizer import _x", "import torch._dynamo", "p._base", "torch.optim._x"],
)
def test_private_names_are_found(code: str) -> None:
    assert private(ast.parse(code))


def test_compat_looks_up_these_names() -> None:
    tree = ast.parse(Path(compat.__file__).read_text("utf-8"))
    literals = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    own = {name for name in literals if name.startswith("_")}
    assert own == {name for names in NAMES.values() for name in names}


def printed(code: str) -> Any:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fault_86_the_same_without_private_names() -> None:
    gone = "\n".join(
        f"if hasattr({owner}, {name!r}): del {owner}.{name}"
        for owner, names in NAMES.items()
        for name in names
        if owner != "torch.Tensor"  # whose methods cannot be deleted
        and name != "_disable_dynamo"  # which torch itself cannot do without
    )
    want = printed(STEPS)
    assert want.count("\n") == 5 * len(nadam_ref.OPTIMIZERS) + 2
    assert printed(f"import sys, torch\n{gone}\n{STEPS}") == want


@pytest.mark.parametrize("size", [(), (0,), (1,), (3,), (2, 3), (0, 2), (2, 1), (1, 1), (2, 3, 2)], ids=str)
def test_overlap_is_torchs(size: Any) -> None:
    base = torch.zeros(200)
    for strides in itertools.product([0, 1, 2, 3, 6, 7], repeat=len(size)):
        x = base.as_strided(size, strides)
        assert compat._internal_overlap(x) == compat.internal_overlap(x), (size, x.stride())


def test_what_is_stored_is_the_same_tensor() -> None:
    x = torch.sparse_coo_tensor([[2, 0, 2]], [[1.0, 2], [3, 4], [5, 6]], (4, 2), check_invariants=True)
    indices, values = compat.stored(x)
    assert indices.tolist() == [[2, 0, 2]]
    assert values.tolist() == [[1, 2], [3, 4], [5, 6]]
    indices, values = compat._stored(x)
    assert indices.tolist() == [[0, 2]]
    assert values.tolist() == [[3, 4], [6, 8]]


@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_foreach_is_torchs_default(device: Any, differentiable: bool) -> None:
    for params in [nn.Parameter(torch.ones(2, device=device))], [torch.ones(2, device=device)], []:
        assert compat._default_to_fused_or_foreach(params, differentiable)[1] == compat.defaults_to_foreach(
            params, differentiable
        )

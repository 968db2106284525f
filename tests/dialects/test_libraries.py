"""Each dialect against the libraries that run it, really stepped.

These libraries are in no extra: timm needs a torchvision of the same build as torch, and Keras, JAX and TensorFlow
bring more than this package ever uses. In an environment apart from `.venv`:

    pip install torch torchvision numpy pytest timm optax "jax[cpu]" keras heavyball pytorch_optimizer
    pip install --no-deps -e .
    python -m pytest -m dialects -rs tests/dialects

torch and torchvision have to come from one index, as both do by default. Keras runs on torch unless KERAS_BACKEND says
otherwise; `tensorflow` and `tf_keras` add Keras 2, whose last version within TensorFlow was 2.15. A test is skipped,
with the reason, where its library is absent.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from nadam_ref import Nadam, which

# Importing another library may warn, and that is no fault of ours.
pytestmark = [pytest.mark.dialects, pytest.mark.filterwarnings("ignore")]

FLOAT64 = 1e-12
#: What is left where a library keeps the product of μ, the constant .96, or all of its arithmetic in float32.
PRODUCT, CONSTANT, ALL = 5e-9, 1e-6, 1e-5

CASES = [
    ("torch.optim:NAdam", "cs229", PRODUCT),
    ("pytorch_optimizer:NAdam", "cs229", PRODUCT),
    ("timm.optim:NAdamLegacy", "cs229", FLOAT64),
    ("timm.optim:Nadam", "cs229", FLOAT64),
    ("timm.optim:NAdamW", "choi", FLOAT64),
    ("optax:nadam", "constant", FLOAT64),
    ("keras.optimizers:Nadam", "keras3", FLOAT64),
    ("tensorflow:keras.optimizers.Nadam", "keras3", FLOAT64),
    ("tf_keras.optimizers:Nadam", "keras3", CONSTANT),
    ("keras.optimizers:legacy.Nadam", "cs229", CONSTANT),
    ("tensorflow:keras.optimizers.legacy.Nadam", "cs229", CONSTANT),
    ("tf_keras.optimizers:legacy.Nadam", "cs229", CONSTANT),
    ("heavyball:NAdam", "cs229", ALL),
]
#: Keras of the version that is installed: 2 has TensorFlow's casts.
KERAS = {"keras.optimizers:Nadam", "tensorflow:keras.optimizers.Nadam"}
NUMBERS = [which.Numbers((0.9, 0.999), lr=0.002), which.Numbers((0.99, 0.999), lr=0.002)]


def stepped(target: str, gradients: Tensor, numbers: which.Numbers) -> Tensor:
    try:
        path, used = which.step(target, gradients, numbers)
    except which.WhichError as error:
        if "cannot be imported" in str(error) or isinstance(error, which.NoSuchClassError):
            pytest.skip(str(error))
        raise
    assert used == numbers
    return path


def ours(dialect: str, gradients: Tensor, numbers: which.Numbers) -> Tensor:
    params = [torch.zeros(3, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)]
    optimizer = Nadam(params, numbers.lr, numbers.betas, numbers.eps, dialect=dialect)  # type: ignore[arg-type]
    path = []
    for row in gradients:
        params[0].grad, params[1].grad = row[:3].clone(), row[3:].clone()
        optimizer.step()
        path.append(torch.cat(params))
    return torch.stack(path)


def distance(target: str, dialect: str, numbers: which.Numbers) -> float:
    gradients = torch.randn(300, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(7)) + 0.2
    theirs = stepped(target, gradients, numbers)
    box = ours(dialect, gradients, numbers)
    return float((theirs - box).abs().max() / box.abs().max())


@pytest.fixture
def float64_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("numbers", NUMBERS, ids=lambda numbers: f"mu={numbers.betas[0]}")
@pytest.mark.parametrize(("target", "dialect", "tolerance"), CASES, ids=[case[0] for case in CASES])
def test_the_dialect_equals_the_library(
    target: str, dialect: str, tolerance: float, numbers: which.Numbers, record_property: Callable[[str, Any], None]
) -> None:
    found = distance(target, dialect, numbers)
    record_property("distance", found)
    if target in KERAS and sys.modules["keras"].__version__ < "3":
        tolerance = CONSTANT
    assert found <= tolerance


@pytest.mark.parametrize("numbers", NUMBERS, ids=lambda numbers: f"mu={numbers.betas[0]}")
@pytest.mark.parametrize("target", ["torch.optim:NAdam", "pytorch_optimizer:NAdam"])
def test_torch_equals_it_to_rounding_with_its_product_in_float64(
    target: str, numbers: which.Numbers, float64_by_default: None
) -> None:
    assert distance(target, "cs229", numbers) <= FLOAT64


@pytest.mark.parametrize(("target", "dialect"), [case[:2] for case in CASES], ids=[case[0] for case in CASES])
def test_which_names_the_dialect(target: str, dialect: str) -> None:
    stepped(target, torch.ones(1, 7, dtype=torch.float64), NUMBERS[0])
    assert which.identify(target).dialect == (f"{dialect}, eps elsewhere" if "heavyball" in target else dialect)


def test_every_library_that_is_looked_for_has_its_case() -> None:
    assert {case[0] for case in CASES} == set(which.LIBRARIES) - {"nadam_ref:Nadam"}


# ---------------------------------------------------------------- who uses it (the chapter on Nadam today)


def test_optax_s_nadamw_is_the_constant_dialect_with_decoupled_decay() -> None:
    optax, numpy = pytest.importorskip("optax"), pytest.importorskip("numpy")
    start, gradients = numpy.array([1.0, -2.0, 0.5]), torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    theirs = optax.nadamw(0.01, b1=0.9, b2=0.999, weight_decay=0.1)
    state, params = theirs.init(start), start
    ours = torch.tensor(start, requires_grad=True)
    optimizer = Nadam([ours], lr=0.01, weight_decay=0.1, decoupled_weight_decay=True, dialect="constant")
    for g in gradients.double():
        updates, state = theirs.update(g.numpy(), state, params)
        params = numpy.asarray(optax.apply_updates(params, updates))
        ours.grad = g
        optimizer.step()
    assert numpy.allclose(params, ours.detach().numpy(), rtol=1e-4)


def test_muon_looks_ahead_by_default_where_the_chapter_says_so() -> None:
    contrib = pytest.importorskip("optax.contrib")
    assert inspect.signature(contrib.muon).parameters["nesterov"].default is True


def test_timm_s_nmuon_looks_ahead_and_takes_nadamw_for_the_rest() -> None:
    optim = pytest.importorskip("timm.optim")
    known = optim.get_optimizer_info("nmuon")
    assert known.defaults == {"nesterov": True} and "NAdamW fallback" in known.description

"""Which Nadam a library runs: its own code steps a fixed stream of gradients, and so does every Nadam of this package.

There is no formula here. The candidates are `Nadam` in each dialect, the same class with other numbers for its near
relatives, and `Adam`. Only torch is needed; every other library is imported when it is stepped.
"""

from __future__ import annotations

import difflib
import math
import os
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module, metadata
from importlib.util import find_spec
from itertools import combinations
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from .errors import NadamRefError
from .optimizers import Adam, Nadam
from .rules import DIALECTS

__all__ = ["LIBRARIES", "Finding", "Numbers", "WhichError", "identify", "step", "survey"]

#: A path this close to a candidate's is the candidate: far above what float32 loses, far below what parts two of them.
MATCH = 1e-4

#: The steps of each dialect, by length.
STEPS = {
    "cs229": "a full first step, then short ones",
    "iclr": "somewhat long first steps",
    "constant": "long first steps",
    "keras3": "a full first step, then shorter ones, for longer",
    "choi": "the longest first steps",
    "interpolated": "full steps at once",
}
#: What each verdict means for the user, before the lengths of the steps in numbers.
MEANING = {
    **{name: f"{dialect.summary}: {STEPS[name]}" for name, dialect in DIALECTS.items()},
    "Adam": "no Nadam: it does not look ahead",
    "none": "no published Nadam; {nearest} is nearest, at distance {distance:.1g}",
}

#: Descriptions of near relatives, by the suffix that their name adds to the dialect's.
RELATIVES = {
    "extra nu": "with the unexplained nu that ICLR printed in the norm",
    "uncorrected": "without bias correction",
    "eps in the root": "with eps inside the root, which matters where gradients are small",
    "eps elsewhere": "with eps neither beside nor inside the root, which matters where gradients are small",
}

#: Whatever a path is compared with, the dialects first.
CANDIDATES = (
    *DIALECTS,
    *(f"{name}, extra nu" for name in DIALECTS),
    # Without a correction nothing is left of a difference in it.
    *(f"{name}, uncorrected" for name, dialect in DIALECTS.items() if dialect.corrects_ahead),
    "Adam",
)

#: What is set before a library is imported, unless it is set already.
ENVIRONMENT = {"KERAS_BACKEND": "torch", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}


class WhichError(NadamRefError):
    """An optimizer could not be stepped; the message says why."""


class NoSuchClassError(WhichError):
    """The module is there, and has no such class."""


class Numbers(NamedTuple):
    """The hyperparameters of a run, as torch names them. ν is far from 1, so that an extra ν shows."""

    betas: tuple[float, float] = (0.9, 0.98)
    lr: float = 2.0**-7
    eps: float = 1e-8


#: Where the dialect is read: at the default momentum and at the report's. ε is too small to matter.
STREAMS = (Numbers(), Numbers((0.99, 0.98)))
#: Where it is read what ε is added to.
LARGE_EPS = Numbers(eps=2.0**-7)
#: What a class is taken to run with where it neither takes nor shows its numbers.
USUAL = Numbers((0.9, 0.999))

#: The elements of the two parameters; two, so that a product of μ kept once for all of them is found out.
SIZES = (3, 4)


def _gradients(steps: int = 60) -> Tensor:
    """The fixed stream, [steps, 7], float64: noise about a drift, of sizes from .03 to 1."""
    noise = torch.randn(steps, sum(SIZES), dtype=torch.float64, generator=torch.Generator().manual_seed(2015))
    return (noise + 0.5) * torch.logspace(-1.5, 0, sum(SIZES), dtype=torch.float64)


@dataclass(frozen=True)
class Finding:
    """What was found out about one optimizer.

    `dialect`: a dialect's name, a near relative's ("iclr, extra nu"), "Adam" or "none"; None where it could not be
    stepped, and `meaning` then says why. `distances`: max|θ−θ*| / max|θ*| over the paths to every candidate; `nearest`
    is the least of them, and `next` the nearest of another dialect.
    """

    target: str
    version: str
    meaning: str
    dialect: str | None = None
    nearest: str | None = None
    next: str | None = None
    distances: dict[str, float] = field(default_factory=dict)


def survey() -> list[Finding]:
    """Every Nadam of `LIBRARIES` that is installed, in that order; of a library that fails the finding says so."""
    findings: list[Finding] = []
    for target in LIBRARIES:
        try:
            if find_spec(_package(target)):
                findings.append(identify(target))
        except NoSuchClassError:
            continue  # it is in another version of the library
        except WhichError as error:
            if str(error) not in [x.meaning for x in findings]:  # a library is broken once, whatever is in it
                findings.append(Finding(target, _version(target), str(error)))
    return findings


def identify(target: str) -> Finding:
    """Step `module:Class`, one of `LIBRARIES` or any class that is made and stepped as torch's are, and name it.

    Raises WhichError where it cannot be imported, made or stepped, or leaves the parameters where they are.
    """
    distances = dict.fromkeys(CANDIDATES, 0.0)
    for numbers in STREAMS:
        path, used = step(target, _gradients(), numbers)
        for name in CANDIDATES:
            distances[name] = max(distances[name], _distance(path, _candidate_path(name, used)))
    # In order: where a class's own numbers leave two of them equal, the dialect is named before its relative.
    verdict = next((name for name in CANDIDATES if distances[name] <= MATCH), "none")
    eps = "" if verdict == "none" else _place_of_eps(verdict, *step(target, _gradients(), LARGE_EPS))
    lengths = _step_lengths(*step(target, torch.ones(100, sum(SIZES), dtype=torch.float64), STREAMS[-1]))
    nearest, *others = sorted(CANDIDATES, key=lambda name: (name != verdict, distances[name]))
    second = next(name for name in others if name == _dialect(name) != _dialect(nearest))
    dialect = f"{verdict}, {eps}" if eps else verdict
    meaning = _meaning(dialect).format(nearest=nearest, distance=distances[nearest])
    return Finding(target, _version(target), f"{meaning}; {lengths}", dialect, nearest, second, distances)


def step(target: str, gradients: Tensor, numbers: Numbers) -> tuple[Tensor, Numbers]:
    """The path of an optimizer from 0 along gradients [steps, 7], float64 of the same shape, and the numbers it used.

    Those are the given ones, but for keywords that a class does not take. Raises WhichError as `identify` does.
    """
    with _quiet():
        make = _load(target)
        try:
            path, used = LIBRARIES.get(target, _step_torch)(make, gradients, numbers)
        except (Exception, SystemExit) as error:
            raise WhichError(f"{target} cannot be stepped: {_brief(error)}") from error
    if not path.isfinite().all():
        raise WhichError(f"{target} takes its parameters to NaN or infinity")
    if not path.any():
        raise WhichError(f"{target} does not move its parameters")
    return path, used


def _dialect(name: str) -> str:
    return name.split(", ")[0]


def _distance(path: Tensor, candidate: Tensor) -> float:
    return float((path - candidate).abs().max() / candidate.abs().max())


def _place_of_eps(verdict: str, path: Tensor, used: Numbers) -> str:
    """What to add to a verdict whose ε is not beside the root."""
    if _distance(path, _candidate_path(verdict, used)) <= MATCH:
        return ""
    inside = _distance(path, _candidate_path(verdict, used, inside=True)) <= MATCH
    return "eps in the root" if inside else "eps elsewhere"


def _meaning(dialect: str) -> str:
    name, *relatives = dialect.split(", ")
    return ", ".join([MEANING[name], *(RELATIVES[relative] for relative in relatives)])


def _step_lengths(path: Tensor, used: Numbers) -> str:
    """How long three steps of a path under a constant gradient are beside Adam's."""
    params = _parameters(torch.float64)
    adam = _follow(Adam(params, **used._asdict()), params, torch.ones_like(path))
    ours, adams = (torch.diff(x[:, 0], prepend=torch.zeros(1, dtype=x.dtype)) for x in (path, adam))
    shares = ", ".join(f"{100 * float(ours[t - 1] / adams[t - 1]):.0f}" for t in (1, 10, 100))
    return f"steps 1, 10, 100 are {shares} % of Adam's at momentum {used.betas[0]:g}"


# -- the candidates ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _candidate_path(name: str, numbers: Numbers, inside: bool = False) -> Tensor:
    """The path of a candidate along the fixed stream; `inside`: with ε inside the root."""
    params = _parameters(torch.float64)
    return _follow(_candidate(name, params, numbers, inside), params, _gradients())


def _candidate(name: str, params: list[Tensor], numbers: Numbers, inside: bool) -> Optimizer:
    """Nadam in a dialect, with the numbers that make it the relative; or Adam."""
    # √(ν n̂) + ε = √ν (√n̂ + ε/√ν): the extra ν divides η and ε.
    root = math.sqrt(numbers.betas[1]) if name.endswith("extra nu") else 1.0
    settings: dict[str, Any] = {
        "lr": numbers.lr / root,
        "betas": numbers.betas,
        "eps": 0.0 if inside else numbers.eps / root,
        "eps_root": numbers.eps / root**2 if inside else 0.0,
        "bias_correction": not name.endswith("uncorrected"),
    }
    dialect: Any = _dialect(name)
    return Adam(params, **settings) if name == "Adam" else Nadam(params, **settings, dialect=dialect)


# -- the libraries -----------------------------------------------------------------------------------------------------

#: What `step` does, for what a target names.
Stepper = Callable[[Any, Tensor, Numbers], tuple[Tensor, Numbers]]


def _parameters(dtype: torch.dtype) -> list[Tensor]:
    return [torch.zeros(size, dtype=dtype, requires_grad=True) for size in SIZES]


def _follow(optimizer: Any, params: list[Tensor], gradients: Tensor) -> Tensor:
    path = []
    for row in gradients.to(params[0].dtype):
        for p, g in zip(params, row.split(SIZES), strict=True):
            p.grad = g.clone()
        optimizer.step()
        path.append(torch.cat([p.detach() for p in params]).double())
    return torch.stack(path)


def _step_torch(make: Any, gradients: Tensor, numbers: Numbers) -> tuple[Tensor, Numbers]:
    """In float64 where the class allows it, else in float32."""
    for dtype in (torch.float64, torch.float32):
        params = _parameters(dtype)
        optimizer, used = _construct(make, params, numbers)
        try:
            return _follow(optimizer, params, gradients), used
        except Exception as error:
            failed = error
    raise failed


def _construct(make: Any, params: list[Tensor], numbers: Numbers) -> tuple[Any, Numbers]:
    """The optimizer with as many keywords as it takes; what it does not take is read from its groups, or the usual."""
    keywords = {**numbers._asdict(), "weight_decay": 0.0}
    for size in range(len(keywords), -1, -1):
        for names in combinations(keywords, size):
            try:
                optimizer = make(params, **{name: keywords[name] for name in names})
            except TypeError as error:
                refused = error
                continue
            given = {name: keywords[name] for name in names if name in Numbers._fields}
            (b1, b2), lr, eps = Numbers(**{**USUAL._asdict(), **_visible(optimizer), **given})
            return optimizer, Numbers((float(b1), float(b2)), float(lr), float(eps))
    raise refused


def _visible(optimizer: Any) -> dict[str, Any]:
    """The numbers that an optimizer keeps in its first group."""
    group = optimizer.param_groups[0]
    return {name: group[name] for name in Numbers._fields if name in group}


def _step_optax(make: Any, gradients: Tensor, numbers: Numbers) -> tuple[Tensor, Numbers]:
    jax, optax = import_module("jax"), import_module("optax")
    (b1, b2), lr, eps = numbers
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        optimizer = make(lr, b1=b1, b2=b2, eps=eps)
        params = [jax.numpy.zeros(size, dtype="float64") for size in SIZES]
        state, path = optimizer.init(params), []
        for row in gradients:
            grads = [jax.numpy.array(g.tolist(), dtype="float64") for g in row.split(SIZES)]
            updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            path.append([x for p in params for x in p.tolist()])
    finally:
        jax.config.update("jax_enable_x64", before)
    return torch.tensor(path, dtype=torch.float64), numbers


def _step_keras(make: Any, gradients: Tensor, numbers: Numbers) -> tuple[Tensor, Numbers]:
    """Keras 3 on any backend; Keras 2, which has TensorFlow's variables."""
    keras = import_module(make.__module__.partition(".")[0])
    if hasattr(keras, "Variable"):
        variable, constant = keras.Variable, keras.ops.convert_to_tensor
    else:
        tensorflow = import_module("tensorflow")
        variable, constant = tensorflow.Variable, tensorflow.constant
    (b1, b2), lr, eps = numbers
    before = keras.backend.floatx()
    keras.backend.set_floatx("float64")
    try:
        optimizer = make(learning_rate=lr, beta_1=b1, beta_2=b2, epsilon=eps)
        params = [variable([0.0] * size, dtype="float64") for size in SIZES]
        path = []
        for row in gradients:
            grads = [constant(g.tolist(), dtype="float64") for g in row.split(SIZES)]
            optimizer.apply_gradients(list(zip(grads, params, strict=True)))
            path.append([x for p in params for x in p.numpy().tolist()])
    finally:
        keras.backend.set_floatx(before)
    return torch.tensor(path, dtype=torch.float64), numbers


#: Every Nadam that is looked for, and how it is stepped. Those of other versions of a library are among them.
LIBRARIES: dict[str, Stepper] = {
    "torch.optim:NAdam": _step_torch,
    "nadam_ref:Nadam": _step_torch,
    "timm.optim:NAdamW": _step_torch,
    "timm.optim:NAdamLegacy": _step_torch,
    "timm.optim:Nadam": _step_torch,
    "optax:nadam": _step_optax,
    "keras.optimizers:Nadam": _step_keras,
    "keras.optimizers:legacy.Nadam": _step_keras,
    "tensorflow:keras.optimizers.Nadam": _step_keras,
    "tensorflow:keras.optimizers.legacy.Nadam": _step_keras,
    "tf_keras.optimizers:Nadam": _step_keras,
    "tf_keras.optimizers:legacy.Nadam": _step_keras,
    "heavyball:NAdam": _step_torch,
    "pytorch_optimizer:NAdam": _step_torch,
}


# -- what other people's code may do -----------------------------------------------------------------------------------


def _load(target: str) -> Any:
    """What `module:Class` names."""
    module, _, name = target.partition(":")
    if not (module and name):
        raise WhichError(f"{target!r} is not of the form module:Class, as torch.optim:NAdam is")
    try:
        named = import_module(module)
        for part in name.split("."):
            if not hasattr(named, part):
                classes = [key for key, value in vars(named).items() if isinstance(value, type)]
                close = difflib.get_close_matches(part, classes)
                there = f"; it has {', '.join(close)}" if close else ""
                raise NoSuchClassError(f"{module} has no {name}{there}")
            named = getattr(named, part)
    except WhichError:
        raise
    except (Exception, SystemExit) as error:
        raise WhichError(f"{module} cannot be imported: {_brief(error)}") from error
    if not callable(named):
        raise WhichError(f"{target} is {named!r}, not a class")
    return named


def _brief(error: BaseException) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" …")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings, remarks on stdout, and compiling, which takes far longer than a few steps."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    stance = getattr(torch.compiler, "set_stance", None)  # since torch 2.6
    eager: AbstractContextManager[Any] = stance("force_eager") if stance else nullcontext()
    with warnings.catch_warnings(), redirect_stdout(sys.stderr), eager:
        warnings.simplefilter("ignore")
        yield


def _package(target: str) -> str:
    return target.split(":")[0].split(".")[0]


def _version(target: str) -> str:
    """The version of the target's library; empty where it has none."""
    package = _package(target)
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", ""))

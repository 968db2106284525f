"""`nadam_ref.which`: every verdict, on optimizers that step the paper's boxes, and everything that can go wrong."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from nadam_ref import DIALECTS, Nadam, paper, which


class Box:
    """A box of the paper, made and stepped as torch's optimizers are."""

    dtype = torch.float64

    def __init__(self, box: Any, params: Any, lr: float, betas: Any, eps: float, **_: Any) -> None:
        self.params = list(params)
        self.param_groups = [{"params": self.params, "lr": lr, "betas": betas, "eps": eps}]
        settings = {"η": lr, "μ": betas[0], "ν": betas[1], "ε": eps}
        self.runs = [box(p.detach().numpy(), lambda θ, t, p=p: p.grad.numpy(), **settings) for p in self.params]

    def step(self) -> None:
        for p, run in zip(self.params, self.runs, strict=True):
            assert p.dtype == self.dtype
            p.data.copy_(torch.from_numpy(next(run)))


def box_class(box: Any, **members: Any) -> type:
    """The class of optimizers that step `box`."""
    return type(
        "Fake", (Box,), {"__init__": lambda self, *args, **more: Box.__init__(self, box, *args, **more), **members}
    )


def inside(box: Any) -> Any:
    """A box with ε inside the root."""

    def norm(n: Any, g: Any, ν: float, t: int, ε: float) -> Any:
        n = ν * n + (1 - ν) * g**2
        return n, np.sqrt(n / (1 - ν**t) + ε)

    def run(θ: Any, grad: Any, *, ε: float, **more: Any) -> Any:
        return box(θ, grad, ε=0.0, norm=partial(norm, ε=ε), **more)

    return run


def extra_nu(n: Any, g: Any, ν: float, t: int) -> Any:
    """Adam's norm with ICLR's ν in it."""
    n, root = paper.l2_norm(n, g, ν, t)
    return n, np.sqrt(ν) * root


def floor(box: Any) -> Any:
    """A box whose denominator is √n̂, but at least ε."""

    def norm(n: Any, g: Any, ν: float, t: int, ε: float) -> Any:
        n, root = paper.l2_norm(n, g, ν, t)
        return n, np.maximum(root, ε)

    def run(θ: Any, grad: Any, *, ε: float, **more: Any) -> Any:
        return box(θ, grad, ε=0.0, norm=partial(norm, ε=ε), **more)

    return run


def uncorrected(θ: Any, grad: Any, *, η: float, μ: float, ν: float, ε: float) -> Any:
    """Nadam without schedule and corrections."""
    m = n = np.zeros_like(θ)
    while True:
        g = grad(θ, 0)
        m, n = μ * m + (1 - μ) * g, ν * n + (1 - ν) * g**2
        θ = θ - η * (μ * m + (1 - μ) * g) / (np.sqrt(n) + ε)
        yield θ


def half_as_long_again(θ: Any, grad: Any, **settings: Any) -> Any:
    """No published rule: Nadam with steps of one and a half."""
    before = θ
    for now in paper.nadam(θ, grad, **settings):
        θ, before = θ + 1.5 * (now - before), now
        yield θ


VERDICTS = {
    "cs229": paper.nadam,
    "iclr": paper.nadam_iclr,
    "constant": paper.nadam_constant,
    "keras3": paper.nadam_keras3,
    "choi": paper.nadam_choi,
    "interpolated": paper.nadam_interpolated,
    "Adam": paper.adam,
    "iclr, extra nu": partial(paper.nadam_iclr, norm=extra_nu),
    "constant, uncorrected": uncorrected,
    "constant, eps in the root": inside(paper.nadam_constant),
    "keras3, eps in the root": inside(paper.nadam_keras3),
    "iclr, extra nu, eps in the root": paper.nadam_iclr_printed,
    "choi, eps elsewhere": floor(paper.nadam_choi),
    "none": half_as_long_again,
}


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Puts a class into a module and gives its name as `which` takes it."""

    def put(value: Any, module: str = "fakelib", name: str = "Fake") -> str:
        there = ModuleType(module)
        setattr(there, name, value)
        monkeypatch.setitem(sys.modules, module, there)
        return f"{module}:{name}"

    return put


# -- verdicts ----------------------------------------------------------------------------------------------------------


def test_all_candidates_part_clearly() -> None:
    paths = [[which._candidate_path(name, numbers) for numbers in which.STREAMS] for name in which.CANDIDATES]
    for i, a in enumerate(paths):
        for b in paths[:i]:
            assert max(map(which._distance, a, b)) > 50 * which.MATCH


@pytest.mark.parametrize("verdict", VERDICTS)
def test_verdict(verdict: str, library: Callable[..., str]) -> None:
    found = which.identify(library(box_class(VERDICTS[verdict])))
    assert found.dialect == verdict
    assert found.nearest is not None
    least = found.distances[found.nearest]
    assert least == min(found.distances.values())
    if verdict == "none":
        assert least > 0.1
    else:  # away from the root, even the small ε leaves a trace
        assert least <= (1e-5 if "eps" in verdict else 1e-12)
    assert found.next in {*DIALECTS, "Adam"} - {verdict.split(",")[0]}
    assert set(found.distances) == set(which.CANDIDATES)


def test_torch_runs_the_reports() -> None:
    found = which.identify("torch.optim:NAdam")
    assert (found.target, found.version) == ("torch.optim:NAdam", metadata.version("torch"))
    assert (found.dialect, found.nearest) == ("cs229", "cs229")
    assert found.distances["cs229"] <= 5e-9  # it keeps the product of μ in float32
    assert min(found.distances[name] for name in DIALECTS if name != "cs229") > 0.1


@pytest.mark.parametrize(
    ("verdict", "shares"),
    [
        ("cs229", "101, 55, 82"),
        ("constant", "150, 101, 100"),
        ("keras3", "101, 41, 64"),
        ("choi", "199, 109, 101"),
        ("interpolated", "100, 100, 100"),
        ("iclr", "133, 100, 100"),
        ("Adam", "100, 100, 100"),
    ],
)
def test_the_sentence_gives_the_lengths_of_the_steps(verdict: str, shares: str, library: Callable[..., str]) -> None:
    """The multipliers of a constant gradient, as worked out from the published formulas at μ = .99."""
    found = which.identify(library(box_class(VERDICTS[verdict])))
    assert found.meaning.startswith(which.MEANING[verdict])
    assert found.meaning.endswith(f"; steps 1, 10, 100 are {shares} % of Adam's at momentum 0.99")


def test_the_sentence_of_none_names_the_nearest(library: Callable[..., str]) -> None:
    found = which.identify(library(box_class(half_as_long_again)))
    assert f"no published Nadam; {found.nearest} is nearest, at distance 0." in found.meaning


def test_every_dialect_and_relative_has_its_sentence() -> None:
    assert set(which.MEANING) == {*DIALECTS, "Adam", "none"}
    added = {name.partition(", ")[2] for name in which.CANDIDATES} - {""}
    assert set(which.RELATIVES) == added | {"eps in the root", "eps elsewhere"}


# -- classes that are not quite torch's --------------------------------------------------------------------------------


def test_a_class_in_float32_only(library: Callable[..., str]) -> None:
    found = which.identify(library(box_class(paper.nadam_choi, dtype=torch.float32)))
    assert found.dialect == "choi"
    assert 1e-12 < found.distances["choi"] <= 1e-5


def test_fewer_keywords(library: Callable[..., str]) -> None:
    """A class that has its own numbers is compared with them; an ε of 1e-9 cannot show where it stands."""

    class Fixed(Box):
        def __init__(self, params: Any, lr: float = 0.1) -> None:
            super().__init__(inside(paper.nadam_keras3), params, lr, (0.95, 0.9), 1e-9)

    found = which.identify(library(Fixed))
    assert found.dialect == "keras3"
    assert found.distances["keras3"] <= which.MATCH
    assert found.meaning.endswith("at momentum 0.95")


@pytest.mark.parametrize("shown", [("lr", "betas", "eps"), ("lr",)])
def test_no_keywords_at_all(shown: tuple[str, ...], library: Callable[..., str]) -> None:
    """What a class neither takes nor shows is taken to be as usual."""

    class Fixed(Box):
        def __init__(self, params: Any) -> None:
            super().__init__(paper.nadam_constant, params, 0.1, [0.9, 0.999], 1e-8)
            self.param_groups = [{key: value for key, value in self.param_groups[0].items() if key in shown}]

    found = which.identify(library(Fixed))
    assert found.dialect == "constant"
    assert found.distances["constant"] <= 1e-12
    assert found.meaning.endswith("at momentum 0.9")


def test_a_class_that_takes_no_epsilon(library: Callable[..., str]) -> None:
    class Fixed(Box):
        def __init__(self, params: Any, lr: float, betas: Any) -> None:
            super().__init__(paper.nadam_constant, params, lr, betas, 1e-8)
            del self.param_groups[0]["eps"]

    assert which.identify(library(Fixed)).dialect == "constant"


def test_weight_decay_is_switched_off(library: Callable[..., str]) -> None:
    """As timm's NAdamW, whose default is 0.01."""

    class Decaying(Box):
        def __init__(self, params: Any, lr: float, betas: Any, eps: float, weight_decay: float = 0.01) -> None:
            assert weight_decay == 0
            super().__init__(paper.nadam_choi, params, lr, betas, eps)

    assert which.identify(library(Decaying)).dialect == "choi"


def test_one_product_for_all_parameters_is_found_out(library: Callable[..., str]) -> None:
    """MXNet's fault: the product of μ is multiplied once for every tensor, so it runs ahead of the steps."""

    class Shared(Nadam):
        def step(self, closure: Any = None) -> Any:
            params = self.param_groups[0]["params"]
            products = [self.state[p]["mu_product"] for p in params if p in self.state]
            if products:
                products[1].copy_(products[0])
                t = self.state[params[0]]["step"].item()
                products[0].mul_(0.9 * (1 - 0.5 * 0.96 ** (t / 250)))
            return super().step(closure)

    assert which.identify(library(Shared)).dialect == "none"


# -- the adapters of libraries that are no torch's ---------------------------------------------------------------------


def fake_optax(box: Any) -> tuple[ModuleType, ModuleType]:
    """`jax` and `optax` as far as they are used, with NumPy's arrays."""
    config = SimpleNamespace(jax_enable_x64=False)
    config.update = lambda name, value: setattr(config, name, value)
    jax: Any = ModuleType("jax")
    jax.config, jax.numpy = config, np

    def nadam(lr: float, b1: float, b2: float, eps: float) -> Any:
        def update(grads: Any, state: Any, params: Any) -> Any:
            assert config.jax_enable_x64
            state["grads"] = grads
            return [next(run) - p for run, p in zip(state["runs"], params, strict=True)], state

        def init(params: Any) -> Any:
            state: dict[str, Any] = {}
            numbers = {"η": lr, "μ": b1, "ν": b2, "ε": eps}
            state["runs"] = [box(p, lambda θ, t, i=i: state["grads"][i], **numbers) for i, p in enumerate(params)]
            return state

        return SimpleNamespace(init=init, update=update)

    optax: Any = ModuleType("optax")
    optax.nadam, optax.apply_updates = (
        nadam,
        lambda params, updates: [p + u for p, u in zip(params, updates, strict=True)],
    )
    return jax, optax


class Variable:
    """A variable of Keras or TensorFlow."""

    def __init__(self, value: Any, dtype: str) -> None:
        self.value = np.array(value, dtype=dtype)

    def numpy(self) -> Any:
        return self.value


def fake_keras(box: Any, version: int) -> dict[str, Any]:
    """`keras` as far as it is used; version 2 has its variables from `tensorflow`."""
    keras: Any = ModuleType("keras")
    floatx = ["float32"]
    keras.backend = SimpleNamespace(floatx=lambda: floatx[0], set_floatx=lambda x: floatx.__setitem__(0, x))

    class Nadam:
        __module__ = "keras.src.optimizers.nadam"

        def __init__(self, learning_rate: float, beta_1: float, beta_2: float, epsilon: float) -> None:
            assert floatx == ["float64"]
            self.numbers = {"η": learning_rate, "μ": beta_1, "ν": beta_2, "ε": epsilon}
            self.runs: list[Any] = []

        def apply_gradients(self, pairs: Any) -> None:
            self.grads = [g for g, _ in pairs]
            self.runs = self.runs or [
                box(v.value, lambda θ, t, i=i: self.grads[i], **self.numbers) for i, (_, v) in enumerate(pairs)
            ]
            for (_, v), run in zip(pairs, self.runs, strict=True):
                v.value = next(run)

    keras.optimizers = ModuleType("keras.optimizers")
    keras.optimizers.Nadam = Nadam
    here: Any = keras if version == 3 else ModuleType("tensorflow")
    here.Variable = Variable
    if version == 3:
        keras.ops = SimpleNamespace(convert_to_tensor=np.array)
    else:
        here.constant = np.array
    return {"keras": keras, "keras.optimizers": keras.optimizers, "tensorflow": here if version == 2 else None}


def test_optax(monkeypatch: pytest.MonkeyPatch) -> None:
    jax, optax = fake_optax(paper.nadam_constant)
    monkeypatch.setitem(sys.modules, "jax", jax)
    monkeypatch.setitem(sys.modules, "optax", optax)
    found = which.identify("optax:nadam")
    assert found.dialect == "constant"
    assert found.distances["constant"] <= 1e-13
    assert not jax.config.jax_enable_x64  # as it was


@pytest.mark.parametrize("version", [2, 3])
def test_keras(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = fake_keras(paper.nadam_keras3, version)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    found = which.identify("keras.optimizers:Nadam")
    assert found.dialect == "keras3"
    assert found.distances["keras3"] <= 1e-13
    assert modules["keras"].backend.floatx() == "float32"  # as it was


# -- all that is installed ---------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Installs a module of the given source for the time of a test."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def install(name: str, source: str) -> str:
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        names.append(name)
        return name

    yield install
    for name in names:
        sys.modules.pop(name, None)


def test_survey(installed: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    good = "import torch\n__version__ = '7.1'\nclass Nadam(torch.optim.NAdam): pass\n"
    installed("good_library", good)
    installed("other_version", "class Adam: pass\n")
    installed("broken_library", "import a_module_that_is_absent\n")  # one line, though two classes are looked for
    installed("leaving_library", "raise SystemExit('no GPU')\n")
    installed(
        "failing_library", "class Nadam:\n    def __init__(self, params, **more):\n        raise OSError('a\\nb')\n"
    )
    names = ["good", "other", "broken", "leaving", "failing", "absent"]
    names = [f"{name}_{'version' if name == 'other' else 'library'}:Nadam" for name in names]
    names.append("broken_library:Other")
    monkeypatch.setattr(which, "LIBRARIES", {name: which.LIBRARIES["torch.optim:NAdam"] for name in names})
    good_one, *broken = which.survey()
    assert (good_one.target, good_one.version, good_one.dialect) == ("good_library:Nadam", "7.1", "cs229")
    assert [(x.target, x.dialect, x.distances) for x in broken] == [
        (f"{name}_library:Nadam", None, {}) for name in ("broken", "leaving", "failing")
    ]
    assert "cannot be imported: ModuleNotFoundError: No module named 'a_module_that_is_absent'" in broken[0].meaning
    assert "cannot be imported: SystemExit: no GPU" in broken[1].meaning
    assert "cannot be stepped: OSError: a b" in broken[2].meaning


def test_survey_of_what_is_here() -> None:
    found = {x.target: x for x in which.survey()}
    assert found["torch.optim:NAdam"].dialect == found["nadam_ref:Nadam"].dialect == "cs229"
    assert found["nadam_ref:Nadam"].distances["cs229"] == 0


def test_the_same_twice() -> None:
    assert asdict(which.identify("torch.optim:NAdam")) == asdict(which.identify("torch.optim:NAdam"))


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("torch.optim", "'torch.optim' is not of the form module:Class"),
        (":NAdam", "is not of the form"),
        ("torch.optim:", "is not of the form"),
        ("no_such_module:X", "no_such_module cannot be imported: ModuleNotFoundError"),
        (".relative:X", ".relative cannot be imported: TypeError"),
        ("torch.optim:Nadam", "torch.optim has no Nadam; it has NAdam"),
        ("torch.optim:NAdam.Other", "torch.optim has no NAdam.Other"),
        ("torch:nn", "torch:nn is <module .* not a class"),
        ("torch.nn:Linear", r"torch.nn:Linear cannot be stepped: TypeError: .*'out_features'"),
        ("torch.optim:LBFGS", "torch.optim:LBFGS cannot be stepped: TypeError: .*'closure'"),
        ("torch.optim:SparseAdam", "does not support dense gradients"),
    ],
)
def test_a_target_that_cannot_be_named(target: str, says: str) -> None:
    with pytest.raises(which.WhichError, match=says):
        which.identify(target)


def test_a_class_that_does_not_move(library: Callable[..., str]) -> None:
    class Still(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            pass

    with pytest.raises(which.WhichError, match="does not move its parameters"):
        which.identify(library(Still))


def test_a_class_that_ends_in_nan(library: Callable[..., str]) -> None:
    class Wild(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            self.param_groups[0]["params"][0].data.fill_(float("nan"))

    with pytest.raises(which.WhichError, match="NaN or infinity"):
        which.identify(library(Wild))


def test_what_a_class_says_is_kept_off_the_page(
    library: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    class Talkative(torch.optim.NAdam):
        def step(self, closure: Any = None) -> Any:
            warnings.warn("I step", stacklevel=1)
            print("I step")
            return super().step(closure)

    assert which.identify(library(Talkative)).dialect == "cs229"
    assert capsys.readouterr().out == ""

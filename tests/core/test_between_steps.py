"""What people do between steps, in random sequences: all paths keep the same parameters, or raise the same error."""

from __future__ import annotations

import copy
import io
import pickle
import random
from typing import Any

import pytest
import torch
import variants
from torch import nn

import nadam_ref
from nadam_ref import OPTIMIZERS

PATHS = {
    **{path: variants.PATHS[path] for path in ("for-loop", "foreach", "fused")},
    "flattened": {"fused": True},
}
#: How near the paths stay, by the least dtype that a parameter has had.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-4}


class Side:
    """A module and its optimizer on one path. Every operation takes its choices from a generator of its own."""

    def __init__(self, path: str, name: str, keywords: dict[str, Any]) -> None:
        self.path = path
        generator = torch.Generator().manual_seed(1)
        sizes = [(3, 4), (), (5,), (6, 2), (2, 1, 3)]
        params = [nn.Parameter(torch.randn(size, dtype=torch.float64, generator=generator)) for size in sizes]
        self.net = nn.ParameterList(params)
        self.flatten(None)
        groups = [{"params": params[:3]}, {"params": params[3:], "lr": 0.02}]
        self.optimizer = OPTIMIZERS[name](groups, **keywords, **PATHS[path])

    @property
    def params(self) -> list[Any]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def some(self, rng: random.Random) -> Any:
        return rng.choice(self.params)

    def states(self, rng: random.Random) -> Any:
        return self.optimizer.state.get(self.some(rng), {})

    # -- steps ---------------------------------------------------------------------------------------------------------

    def step(self, rng: random.Random, kinds: Any = ("new", "new", "in place", "none", "kept")) -> None:
        for p in self.params:
            kind = rng.choice(kinds)
            generator = torch.Generator().manual_seed(rng.randrange(1 << 30))
            g = torch.randn(p.shape, dtype=torch.float64, generator=generator).to(p.dtype)
            if kind == "none":
                p.grad = None
            elif kind == "in place" and p.grad is not None and not p.grad.is_sparse and p.grad.shape == p.shape:
                p.grad.copy_(g)
            elif kind == "sparse" and p.dim():
                rows = torch.randint(len(p), (3,), generator=generator)
                p.grad = torch.sparse_coo_tensor(rows[None], g[rows], p.shape, check_invariants=True)
            elif kind == "sparse in all dimensions":
                p.grad = (g * (g > 0)).to_sparse()
            elif kind != "kept":
                p.grad = g
        self.optimizer.step()

    def steps(self, rng: random.Random) -> None:
        for _ in range(3):
            self.step(rng, ("new",))

    def sparse_step(self, rng: random.Random) -> None:
        self.step(rng, ("new", "none", "sparse", "sparse", "sparse in all dimensions"))

    def closure_that_fails(self, rng: random.Random) -> None:
        def closure() -> None:
            raise ZeroDivisionError

        self.optimizer.step(closure)

    # -- memory --------------------------------------------------------------------------------------------------------

    def share(self, rng: random.Random) -> None:
        self.net.share_memory()

    def share_state(self, rng: random.Random) -> None:
        for x in self.states(rng).values():
            x.share_memory_()

    def reassign(self, rng: random.Random) -> None:
        p = self.some(rng)
        p.data = p.data.clone()

    def reassign_gradient(self, rng: random.Random) -> None:
        p = self.some(rng)
        if p.grad is not None:
            p.grad = p.grad.clone()

    def transpose(self, rng: random.Random) -> None:
        p = self.some(rng)
        if p.dim() == 2:
            p.data = p.data.t().contiguous().t()

    def reassign_state(self, rng: random.Random) -> None:
        state = self.states(rng)
        for name, x in state.items():
            if rng.random() < 0.5:
                state[name] = x.clone()
            else:
                x.data = x.data.clone()

    def write_state(self, rng: random.Random) -> None:
        for name, x in self.states(rng).items():
            if name not in ("step", "mu_product"):
                x.mul_(0.5)

    def forget_state(self, rng: random.Random) -> None:
        self.optimizer.state.pop(self.some(rng), None)

    def flatten(self, rng: random.Random) -> None:
        """Which gives gradients of zero to all, and makes sparse ones dense."""
        if any(p.is_shared() or (p.grad is not None and p.grad.shape != p.shape) for p in self.net.parameters()):
            return
        if self.path == "flattened":
            nadam_ref.flatten_(self.net)
        for p in self.net.parameters():
            if p.requires_grad:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad.to_dense().to(p.dtype)

    def swap(self, rng: random.Random) -> None:
        p = self.some(rng)
        other = nn.Parameter(p.detach().clone() + 1)
        p.data, other.data = other.data, p.data

    # -- dtypes, shapes, flags -----------------------------------------------------------------------------------------

    def cast(self, rng: random.Random) -> None:
        self.net.to(rng.choice([torch.float32, torch.float64]))

    def cast_one(self, rng: random.Random) -> None:
        p = self.some(rng)
        p.data = p.data.to(rng.choice([torch.float32, torch.float64]))

    def reshape(self, rng: random.Random) -> None:
        p = self.some(rng)
        p.data = p.data.reshape(-1)

    def freeze(self, rng: random.Random) -> None:
        p = self.some(rng)
        p.requires_grad_(not p.requires_grad)

    def zero_grad(self, rng: random.Random) -> None:
        self.optimizer.zero_grad(set_to_none=rng.random() < 0.5)

    # -- groups --------------------------------------------------------------------------------------------------------

    def edit(self, rng: random.Random) -> None:
        group = rng.choice(self.optimizer.param_groups)
        name, choices = rng.choice(list(EDITS.items()))
        value = rng.choice(choices)
        if callable(value) and type(self.optimizer) is nadam_ref.Adam:  # with foreach=True torch's refuses a tensor
            return
        if name in group:
            group[name] = value() if callable(value) else value

    def edit_badly(self, rng: random.Random) -> None:
        group = rng.choice(self.optimizer.param_groups)
        name, value = rng.choice(list(WRONG.items()))
        old = group.get(name)
        group[name] = value
        try:
            self.step(rng)
        finally:
            group[name] = old
            if old is None:
                del group[name]

    def rate(self, rng: random.Random) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = float(group["lr"]) * 0.9

    def add_group(self, rng: random.Random) -> None:
        p = nn.Parameter(torch.linspace(-1, 1, rng.randrange(1, 5), dtype=self.params[0].dtype))
        extra = rng.choice([{}, {"lr": 0.03}, {"nesterov": "x", "alpha2": 1}, {"lr": "0.1"}, {"weight_decay": -1}])
        self.optimizer.add_param_group({"params": [p], **extra})
        self.net.append(p)

    def move_between_groups(self, rng: random.Random) -> None:
        first, *_, last = self.optimizer.param_groups
        if first is not last and len(first["params"]) > 1:
            last["params"].append(first["params"].pop())

    def reverse(self, rng: random.Random) -> None:
        group = rng.choice(self.optimizer.param_groups)
        group["params"] = group["params"][::-1]

    # -- copies --------------------------------------------------------------------------------------------------------

    def load(self, rng: random.Random) -> None:
        saved = self.optimizer.state_dict()
        if rng.random() < 0.5:
            file = io.BytesIO()
            torch.save(saved, file)
            file.seek(0)
            saved = torch.load(file, weights_only=True)
        self.optimizer.load_state_dict(saved)

    def load_assign(self, rng: random.Random) -> None:
        self.net.load_state_dict({k: x.clone() for k, x in self.net.state_dict().items()}, assign=rng.random() < 0.3)

    def deepcopy(self, rng: random.Random) -> None:
        self.net, self.optimizer = copy.deepcopy((self.net, self.optimizer))

    def pickle(self, rng: random.Random) -> None:
        self.net, self.optimizer = pickle.loads(pickle.dumps((self.net, self.optimizer)))

    def seen(self) -> Any:
        """Everything that a step may change."""
        params = self.params
        states = [self.optimizer.state.get(p, {}) for p in params]
        return [p.detach().clone() for p in params], [
            {name: x.clone() for name, x in state.items()} for state in states
        ]


EDITS = {
    "lr": [0.05, 0, torch.tensor(0.03, dtype=torch.float64).clone, 1],
    "weight_decay": [0.0, 0.1, 0.01],
    "decoupled_weight_decay": [True, False],
    "maximize": [True, False],
    "betas": [(0.8, 0.9), [0.5, 0.99], (0.0, 0.999)],
    "momentum": [0.5, 0],
    "eps": [1e-3, 1e-8],
    "momentum_decay": [None, 0.01, 0.004],
    "form": ["sum", "mean"],
    "row_counts": ["own", "common"],
    "capturable": [True, False],
}
WRONG = {
    "lr": "1e-3",
    "weight_decay": None,
    "lr ": 3,
    "betas": (0.9, 1.0),
    "alpha": "x",
}
OPERATIONS = [
    name for name, x in vars(Side).items() if callable(x) and name[0] != "_" and name not in ("seen", "some", "states")
]


def sequence(seed: int, length: int = 10) -> Any:
    """The class, its keywords, and operations, each with the seed of its choices; every other one is a step."""
    rng = random.Random(seed)
    name = rng.choice(list(OPTIMIZERS))
    keywords = {"lr": 0.05, "weight_decay": rng.choice([0.0, 0.1])}
    if name != "GD":
        keywords["row_counts"] = rng.choice(["own", "common"])
    steps = ["step", "steps", "sparse_step"]
    chosen = [
        "step",
        *(rng.choice(OPERATIONS if i % 2 else [*steps, rng.choice(OPERATIONS)]) for i in range(length)),
        "steps",
    ]
    return name, keywords, [(operation, rng.randrange(1 << 30)) for operation in chosen]


def act(side: Any, operation: Any, seed: int) -> Any:
    """The error that an operation raises; it must have changed nothing that a step changes."""
    before = side.seen()
    try:
        getattr(side, operation)(random.Random(seed))
    except Exception as error:
        if operation != "steps":  # the first of them may have been made
            agree(side.seen(), before, 0.0)
        return error
    return None


def agree(found: Any, wanted: Any, tolerance: float) -> None:
    """The same parameters and the same state, to rounding."""
    for x, y in zip(found[0], wanted[0], strict=True):
        alike(x, y, tolerance)
    for state, other in zip(found[1], wanted[1], strict=True):
        assert list(state) == list(other)
        for name, x in state.items():
            alike(x, other[name], tolerance)


def alike(x: Any, y: Any, tolerance: float) -> None:
    if x.dtype != y.dtype or not torch.equal(x, y):  # which is quick
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance, equal_nan=True)


def check(seed: int) -> None:
    name, keywords, operations = sequence(seed)
    sides = [Side(path, name, keywords) for path in PATHS]
    tolerance, done = TOLERANCE[torch.float64], []
    for operation, choices in operations:
        done.append(operation)
        text = f"seed {seed}, {name}, {keywords}: {', '.join(done)}"
        errors = [act(side, operation, choices) for side in sides]
        kinds = {type(error) for error in errors}
        assert len(kinds) == 1, f"{text}: {dict(zip(PATHS, errors, strict=True))}"
        truth = sides[0].seen()
        tolerance = max(tolerance, *(TOLERANCE[p.dtype] for p in truth[0]))
        for side in sides[1:]:
            try:
                agree(side.seen(), truth, tolerance)
            except AssertionError as error:
                raise AssertionError(f"{text}: {side.path} is not the for-loop: {error}") from error


BLOCK = 20


@pytest.mark.parametrize("block", range(10))
def test_all_paths_agree_whatever_is_done_between_steps(block: Any) -> None:
    for seed in range(BLOCK * block, BLOCK * (block + 1)):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10, 510))
def test_all_paths_agree_in_many_more_sequences(block: Any) -> None:
    for seed in range(BLOCK * block, BLOCK * (block + 1)):
        check(seed)

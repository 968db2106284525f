"""The widget's arithmetic, in node, against the paper's boxes, and what Python tells the browser."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docutils.parsers.rst import DirectiveError

from nadam_ref import paper
from nadam_ref.book import widgets
from nadam_ref.book.cells import figures
from nadam_ref.book.widgets import noise, presets
from nadam_ref.book.widgets.directive import Optimizers, Phases
from nadam_ref.book.widgets.matrices import METHODS
from nadam_ref.book.widgets.presets import PARTS, PRESETS, State
from nadam_ref.book.widgets.surfaces import SURFACES
from nadam_ref.rules import DIALECTS, RULES, scalars

STATIC = Path(widgets.__file__).parent / "static" / "optimizers"
STEPS = 300
#: A start on each surface, and rates with which no path leaves it.
STARTS = {"ravine": (-1.2, 1.2), "rosenbrock": (-1.2, 1.0), "beale": (1.0, 1.5), "saddle": (-1.2, 0.02)}
RATES = {"ravine": 0.02, "rosenbrock": 1e-4, "beale": 1e-4, "saddle": 0.02}

RUN = """
const jobs = JSON.parse(require("fs").readFileSync(0, "utf8"));
const bits = (x) => Buffer.from(new Float64Array(x).buffer).toString("hex");
console.log(JSON.stringify(jobs.map((job) => {
  const steps = job.steps ?? nadamCore.numbers(job.rule, job.kind, job.hyper, job.T);
  const made = nadamCore.run({ ...job, steps });
  const arrows = steps.map((_, k) => nadamCore.anatomy(made, k + 1));
  return {
    path: bits(made.theta), loss: bits(made.loss), steps, best: job.search ? nadamCore.bestRate({ ...job, steps }) : 0,
    scalars: steps.map((_, k) => nadamCore.scalars(made, k + 1)),
    arrows,
  };
})));
"""


def node(*programs: str, text: str = "") -> Any:
    """What a program prints as JSON after the named files of the widget have run."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is not installed")
    source = "\n".join([*((STATIC / f"{name}.js").read_text(encoding="utf-8") for name in programs[:-1]), programs[-1]])
    done = subprocess.run([path, "-e", source], input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def box_numbers(name: str, state: State, T: int) -> list[dict[str, float]]:
    """The numbers of each step exactly as the box of `name` computes them, with Python's powers."""
    rule, kind = RULES[name], DIALECTS[state.dialect]
    dialects = rule.nesterov and rule.momentum == "mean"
    psi = kind.momentum_decay if dialects and not kind.free_schedule else state.psi
    by_power = dialects and state.dialect in ("constant", "choi", "interpolated")
    product, found = 1.0, []
    for t in range(1, T + 1):
        now, following = paper.schedule(state.mu, t, psi), paper.schedule(state.mu, t + 1, psi)
        product *= now
        rest, ahead = 1 - product, 1 - product * following
        if by_power:
            rest, ahead = 1 - state.mu**t, 1 - state.mu ** (t + 1)
        found.append(
            {
                "mu": state.mu if dialects and not kind.scheduled_recursion else now,
                "now": now,
                "next": following,
                "rest": rest if rule.momentum == "mean" else 1.0,
                "ahead": ahead if rule.momentum == "mean" else 1.0,
                "nu": state.nu,
                "spread": 1 - state.nu**t if rule.norm == "rms" else 1.0,
                "eta": state.lr if rule.norm == "none" else state.lrn,
            }
        )
    return found


def job(name: str, state: State, **more: Any) -> dict[str, Any]:
    hyper = {"mu": state.mu, "nu": state.nu, "psi": state.psi, "lr": state.lr, "lrn": state.lrn}
    return {
        **{"rule": dataclasses.asdict(presets.rule_of(name)), "dialect": state.dialect, "T": STEPS, "hyper": hyper},
        **{"kind": dataclasses.asdict(DIALECTS[state.dialect]), "surface": state.surface, "start": state.start},
        **{"turn": state.turn, "centre": SURFACES[state.surface].centre, "noise": state.noise, "seed": state.seed},
        **more,
    }


def run(states: list[tuple[str, State]], given: bool) -> list[dict[str, Any]]:
    """The runs in node; `given` hands in the boxes' own numbers of each step."""
    jobs = [job(n, s, **({"steps": box_numbers(n, s, STEPS)} if given else {})) for n, s in states]
    found: list[dict[str, Any]] = node("core", RUN, text=json.dumps(jobs))
    for one in found:
        one["path"] = np.frombuffer(bytes.fromhex(one["path"])).reshape(-1, 2)
        one["loss"] = np.frombuffer(bytes.fromhex(one["loss"]))
    return found


def base(surface: str, **settings: Any) -> State:
    given = {"lr": RATES[surface], "lrn": 0.05, **settings}
    return State(surface, (), STARTS[surface], 0, of="", **given)


def cases(surface: str) -> list[tuple[str, State]]:
    """Every rule in every dialect, with and without a schedule."""
    found = []
    for psi in (None, 1 / 250):
        for name in RULES:
            for dialect in DIALECTS if name in ("Nadam", "NadaMax") else ("cs229",):
                found.append((name, base(surface, psi=psi, dialect=dialect)))
    return found


each_surface = pytest.mark.parametrize("surface", SURFACES)


@each_surface
def test_given_the_scalars_it_is_the_paper_to_the_last_bit(surface: str) -> None:
    wanted = cases(surface)
    for (name, state), found in zip(wanted, run(wanted, given=True), strict=True):
        path = presets.paths(dataclasses.replace(state, show=(name,)), STEPS)[name]
        assert np.isfinite(path).all()
        assert np.unique(path, axis=0).shape[0] > 20
        np.testing.assert_array_equal(found["path"], path, err_msg=f"{name} {state}")
        np.testing.assert_array_equal(found["loss"], SURFACES[surface].f(path), err_msg=f"{name} {state}")


@each_surface
def test_a_path_that_diverges_is_the_papers_too(surface: str) -> None:
    wanted = [(name, base(surface, lr=5.0)) for name in ("GD", "Momentum", "NAG")]
    for (name, state), found in zip(wanted, run(wanted, given=True), strict=True):
        path = presets.paths(dataclasses.replace(state, show=(name,)), STEPS)[name]
        assert not np.isfinite(path).all()
        np.testing.assert_array_equal(found["path"], path)


def test_by_itself_it_is_the_paper_where_no_power_enters() -> None:
    names = ("GD", "Momentum", "NAG", "AdaGrad", "MaxProp", "AdaMax", "NadaMax")
    wanted = [(name, base("rosenbrock", dialect="cs229")) for name in names]
    for (name, state), found in zip(wanted, run(wanted, given=False), strict=True):
        path = presets.paths(dataclasses.replace(state, show=(name,)), STEPS)[name]
        np.testing.assert_array_equal(found["path"], path, err_msg=name)


def test_its_own_numbers_are_the_boxes_up_to_rounding() -> None:
    wanted = cases("ravine")
    for (name, state), found in zip(wanted, run(wanted, given=False), strict=True):
        for mine, box in zip(found["steps"], box_numbers(name, state, STEPS), strict=True):
            assert mine == pytest.approx(box, rel=1e-13), f"{name} {state}"


def test_the_six_numbers_are_those_of_rules() -> None:
    for (name, state), found in zip(wanted := cases("ravine"), run(wanted, given=False), strict=True):
        rule, kind = RULES[name], DIALECTS[state.dialect]
        dialects = rule.nesterov and rule.momentum == "mean"
        psi = kind.momentum_decay if dialects and not kind.free_schedule else state.psi
        product = 1.0
        for t, six in enumerate(found["scalars"], 1):
            rate = state.lr if rule.norm == "none" else state.lrn
            options = {"momentum_decay": psi, "bias_correction": True, "dialect": state.dialect}
            wanted_six, product = scalars(rule, t, product, lr=rate, mu=state.mu, nu=state.nu, **options)
            expected = {**wanted_six._asdict(), "eta": wanted_six.lr}
            del expected["lr"]
            if rule.momentum == "none":
                del expected["mu"], six["mu"]  # nothing reads it
            assert six == pytest.approx(expected, rel=1e-11), f"{name} {state} {t}"


@each_surface
def test_the_arrows_of_a_step_lead_from_one_point_to_the_next(surface: str) -> None:
    wanted = cases(surface)
    for (name, _), found in zip(wanted, run(wanted, given=False), strict=True):
        for t in (1, 2, 7, 100):
            arrows = found["arrows"][t - 1]
            assert arrows["from"] == found["path"][t - 1].tolist()
            assert arrows["to"] == found["path"][t].tolist()
            tip = np.add(np.add(arrows["from"], arrows["momentum"]), arrows["gradient"])
            np.testing.assert_allclose(tip, arrows["to"], rtol=1e-12, atol=1e-12, err_msg=name)
            if RULES[name].momentum == "none":
                assert arrows["momentum"] == [0, 0]


def test_turned_and_noisy_it_is_python_but_for_rounding() -> None:
    """Steps that do not amplify a rounding error: with a norm, a gradient near zero would."""
    wanted = [
        (name, base("ravine", turn=turn, noise=0.3, seed=seed))
        for name in RULES
        for turn, seed in ((0, 1), (35, 2), (90, 3))
    ]
    for (name, state), found in zip(wanted, run(wanted, given=True), strict=True):
        path = presets.paths(dataclasses.replace(state, show=(name,)), STEPS)[name]
        np.testing.assert_allclose(found["path"], path, rtol=1e-10, atol=1e-12, err_msg=f"{name} {state}")
        loss = SURFACES["ravine"].turned(state.turn).f(path)
        np.testing.assert_allclose(found["loss"], loss, rtol=1e-9, atol=1e-20, err_msg=f"{name} {state}")


@each_surface
def test_a_quarter_turn_of_the_surface_is_a_quarter_turn_of_the_path(surface: str) -> None:
    """Every method treats the two axes alike, so a turned start on the turned surface gives the turned path."""
    plain = base(surface)
    centre = np.array(SURFACES[surface].centre)
    x, y = np.array(plain.start) - centre
    turned = dataclasses.replace(plain, start=(float(centre[0] - y), float(centre[1] + x)), turn=90)
    for name in RULES:
        one, other = (presets.paths(dataclasses.replace(s, show=(name,)), 20)[name] - centre for s in (plain, turned))
        np.testing.assert_allclose(other, np.stack([-one[:, 1], one[:, 0]], axis=-1), rtol=1e-6, atol=1e-9)


@each_surface
def test_a_turned_surface_keeps_its_minima_and_has_the_gradient_of_its_values(surface: str) -> None:
    it, h = SURFACES[surface].turned(25), 1e-6
    for point in np.random.default_rng(1).uniform(-1.5, 1.5, (20, 2)):
        slope = [(it.f(point + h * e) - it.f(point - h * e)) / (2 * h) for e in np.eye(2)]
        np.testing.assert_allclose(it.gradient(point), slope, rtol=1e-5, atol=1e-5)
    for minimum in it.minima:
        assert it.f(np.array(minimum)) == pytest.approx(0, abs=1e-20)


def off_the_axes(turn: int) -> State:
    """On an axis of the ravine all gradients are on one line, and what a whole matrix divides across it is rounding."""
    return dataclasses.replace(base("ravine", turn=turn, lrn=0.5), start=figures.OFF_DIAGONAL)


@pytest.mark.parametrize("turn", [0, 15, 35, 90])
def test_the_methods_with_a_matrix_are_those_of_chapter_31(turn: int) -> None:
    torch, methods = pytest.importorskip("torch"), pytest.importorskip("nadam_ref.experiments.second_order.methods")
    from nadam_ref.book.cells import second_order

    state, f = off_the_axes(turn), second_order.ravine(turn)
    start = torch.tensor(state.start, dtype=torch.float64)
    known = {
        "Newton": methods.newton(f, start),
        "full-matrix AdaGrad": methods.full_adagrad(f, start, lr=0.5, eps=1e-8),
    }
    assert set(known) == set(METHODS)
    for (name, θ), found in zip(known.items(), run([(name, state) for name in known], given=False), strict=True):
        path = presets.paths(dataclasses.replace(state, show=(name,)), STEPS)[name]
        np.testing.assert_allclose(found["path"], path, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(path[1:61], list(itertools.islice(θ, 60)), atol=1e-12, err_msg=name)


def test_full_matrix_adagrad_has_the_digits_that_eigenvectors_lose() -> None:
    """At 45° those of float64 are off by a hundred millionth in the first step, where the matrix is singular."""
    mp = pytest.importorskip("mpmath").mp.clone()
    mp.dps = 40
    state, turn = off_the_axes(45), mp.mpf(45) * mp.pi / 180
    Q = mp.matrix([[mp.cos(turn), -mp.sin(turn)], [mp.sin(turn), mp.cos(turn)]])
    θ, G, path = mp.matrix(state.start), mp.zeros(2), []
    for _ in range(60):
        g = Q * mp.diag([1, 20]) * Q.T * θ
        G += g * g.T
        λ, V = mp.eigsy(G)
        θ -= state.lrn * V * mp.diag([1 / (mp.sqrt(abs(x)) + mp.mpf("1e-8")) for x in λ]) * V.T * g
        path.append([float(x) for x in θ])
    (found,) = run([("full-matrix AdaGrad", state)], given=False)
    np.testing.assert_allclose(found["path"][1:61], path, rtol=0, atol=1e-12)


def test_the_first_step_of_full_matrix_adagrad_is_as_long_as_the_rate() -> None:
    """η g / (|g| + ε): the matrix of one gradient has no other direction."""
    for turn in (0, 20, 45, 70):
        (found,) = run([("full-matrix AdaGrad", base("ravine", turn=turn, lrn=0.5))], given=False)
        g = SURFACES["ravine"].turned(turn).gradient(found["path"][0])
        step = -0.5 * g / (np.hypot(*g) + 1e-8)
        np.testing.assert_allclose(found["path"][1] - found["path"][0], step, rtol=0, atol=1e-15)


@pytest.mark.parametrize("turn", [0, 25])
@each_surface
def test_newton_is_newtons_on_every_surface(surface: str, turn: int) -> None:
    """Against the Hessian from differences of the gradient, along the path until it rests."""
    state = base(surface, turn=turn)
    (found,), it, h = run([("Newton", state)], given=False), SURFACES[surface].turned(turn), 1e-5
    path = presets.paths(dataclasses.replace(state, show=("Newton",)), STEPS)["Newton"]
    np.testing.assert_allclose(found["path"], path, rtol=1e-10, atol=1e-12)
    for θ, after in itertools.pairwise(found["path"][:8]):
        H = np.stack([(it.gradient(θ + h * e) - it.gradient(θ - h * e)) / (2 * h) for e in np.eye(2)], axis=-1)
        np.testing.assert_allclose(after, θ - np.linalg.solve(H, it.gradient(θ)), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_with_a_matrix_rests_where_it_starts_at_a_minimum(name: str) -> None:
    (found,) = run([(name, dataclasses.replace(base("ravine"), start=(0.0, 0.0)))], given=False)
    assert not found["path"].any()
    assert not presets.paths(State("ravine", (name,), (0.0, 0.0), 0, 0.1, 0.1, name))[name].any()


NORMALS = """
const wanted = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(wanted.map(([seed, t]) => nadamCore.normals(seed, t))));
"""


def test_the_noise_is_one_in_both_languages() -> None:
    wanted = [(seed, t) for seed in (1, 2, 77, 999_999) for t in range(1, 301)]
    found = node("core", NORMALS, text=json.dumps(wanted))
    np.testing.assert_allclose(found, [noise.normals(*at) for at in wanted], rtol=1e-12, atol=1e-14)


def test_the_noise_is_normal_and_independent_from_step_to_step() -> None:
    drawn = np.array([[noise.normals(seed, t) for t in range(1, 301)] for seed in range(1, 101)])
    stats = pytest.importorskip("scipy.stats")
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 0.01
    for one, other in (
        (drawn[..., 0], drawn[..., 1]),
        (drawn[:, 1:, 0], drawn[:, :-1, 0]),
        (drawn[1:], drawn[:-1]),
        (drawn[..., 0] ** 2, drawn[..., 1] ** 2),
    ):
        size = one.size
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 3.5 / np.sqrt(size)


def test_gradient_descent_ends_on_the_floor_that_chapter_1_derives() -> None:
    """ησ²/(4 − 2ηλ) in each coordinate."""
    state = presets.on("ravine", "GD", lr=0.05, noise=0.4)
    ends = [presets.paths(dataclasses.replace(state, seed=seed), 400)["GD"][200:] for seed in range(1, 31)]
    floor = sum(0.05 * 0.4**2 / (4 - 2 * 0.05 * λ) for λ in figures.RAVINE)
    assert SURFACES["ravine"].f(np.array(ends)).mean() == pytest.approx(floor, rel=0.1)


SEARCHED = [
    presets.on("ravine", *RULES, start=figures.OFF_DIAGONAL, mu=0.8),
    presets.on("ravine", *RULES, turn=40, psi=0.004, dialect="keras3"),
    presets.on("ravine", *RULES, noise=0.5, seed=4),
    presets.on("ravine", "full-matrix AdaGrad", turn=40, start=figures.OFF_DIAGONAL),
    presets.on("rosenbrock", "GD", "Momentum", "AdaMax"),
    presets.on("saddle", "GD", "AdaGrad", "Adam", noise=0.1),
]


@pytest.mark.parametrize("state", SEARCHED, ids=lambda state: f"{state.surface}-{state.turn}-{state.noise}")
def test_the_best_rates_are_pythons(state: State) -> None:
    T = SURFACES[state.surface].steps
    jobs = [job(name, state, search=True, T=T) for name in state.show]
    found = {name: one["best"] for name, one in zip(state.show, node("core", RUN, text=json.dumps(jobs)), strict=True)}
    assert found == presets.best_rates(state)


def test_gradient_descents_best_rate_is_that_of_the_closed_form() -> None:
    """Its loss falls at every step, so what counts is ½ Σ λ (1 − ηλ)^2t θ₀² where the last tenth begins."""
    state = presets.on("ravine", "GD")
    rates = np.array([10 ** (k / 40) for k in range(-160, 41)])[:, None]
    left = (1 - rates * figures.RAVINE) ** 55 * np.array(state.start)
    best = rates[(figures.RAVINE * left**2).sum(axis=1).argmin(), 0]
    assert presets.best_rates(state)["GD"] == pytest.approx(best, rel=5e-3)


def test_no_rate_nearby_ends_lower_than_the_best() -> None:
    state = presets.on("ravine", "Momentum", "RMSProp", "Nadam", start=figures.OFF_DIAGONAL)
    for name, rate in presets.best_rates(state).items():

        def end(η: float, name: str = name) -> float:
            changed = dataclasses.replace(state, show=(name,), lr=η, lrn=η)
            return float(SURFACES["ravine"].f(presets.paths(changed)[name][-6:]).max())

        assert end(rate) <= min(end(rate * by) for by in (0.5, 0.8, 0.9, 1.1, 1.25, 2)) or end(rate) < presets.ARRIVED


def test_the_gradient_arrow_of_a_rule_without_norm_is_its_rate_times_the_gradient() -> None:
    wanted = [(name, base("ravine")) for name in ("GD", "Momentum", "NAG")]
    for (_, state), found in zip(wanted, run(wanted, given=False), strict=True):
        for t in (1, 5, 50):
            slope = figures.ravine_gradient(found["path"][t - 1])
            np.testing.assert_allclose(found["arrows"][t - 1]["gradient"], -state.lr * slope, rtol=1e-12)


@each_surface
def test_the_gradients_are_the_functions_own(surface: str) -> None:
    it, h = SURFACES[surface], 1e-6
    for point in np.random.default_rng(0).uniform(-1.5, 1.5, (20, 2)):
        slope = [(it.f(point + h * e) - it.f(point - h * e)) / (2 * h) for e in np.eye(2)]
        np.testing.assert_allclose(it.gradient(point), slope, rtol=1e-6, atol=1e-6)
    for minimum in it.minima:
        assert it.f(np.array(minimum)) == pytest.approx(0, abs=1e-20)
        np.testing.assert_allclose(it.gradient(np.array(minimum)), 0, atol=1e-12)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_starts_in_the_window_and_goes_down(name: str) -> None:
    _, state = PRESETS[name]
    surface = SURFACES[state.surface]
    assert state.of in state.show
    for path in presets.paths(state).values():
        assert all(low <= x <= high for x, (low, high) in zip(state.start, (surface.xlim, surface.ylim), strict=True))
        assert surface.f(path[-1]) < 0.5 * surface.f(path[0])


@pytest.mark.parametrize("name", [name for name, (_, state) in PRESETS.items() if state.surface == "ravine"])
def test_no_path_in_the_ravine_is_a_straight_line_but_newtons(name: str) -> None:
    """As all paths of methods with a norm are from the ravine's diagonal: there their coordinates mirror each other."""
    for optimizer, path in presets.paths(PRESETS[name][1]).items():
        away = path - path[0]
        assert (np.linalg.svd(away, compute_uv=False)[1] > 0.1) == (optimizer != "Newton"), optimizer


def test_looks_are_those_of_the_figures() -> None:
    given = presets.knowledge()["rules"]
    assert {(r["colour"], r["marker"]) for r in given.values()} == {
        (figures.look(name)["color"], figures.look(name)["marker"]) for name in RULES
    }
    assert given["NAG"]["dash"] == ()
    assert given["GD"]["dash"] == (1, 1.2)
    assert math.isclose(given["Adam"]["dash"][0], 5)
    json.dumps(presets.knowledge(), allow_nan=False)


def asked_for(**options: str) -> State:
    """The state that a directive with these options begins with."""
    directive = Optimizers.__new__(Optimizers)
    directive.options = options
    return directive._preset()[1]


def test_a_function_brings_its_own_start_and_rates() -> None:
    state = asked_for(preset="nadam", function="beale", show="GD, NadaMax")
    begin = SURFACES["beale"].begin
    assert (state.surface, state.start, state.lr) == ("beale", begin["start"], begin["lr"])
    assert (state.show, state.of) == (("GD", "NadaMax"), "NadaMax")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "nowhere"}, "no preset is called `nowhere`; there are landing, "),
        ({"show": "Adam, SGD"}, "no optimizer is called `SGD`; there are GD, "),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_ones(options: dict[str, str], message: str) -> None:
    with pytest.raises(DirectiveError) as failure:
        asked_for(**options)
    assert message in failure.value.msg


@pytest.mark.parametrize("name", PARTS)
def test_a_preset_shows_nothing_that_it_leaves_out(name: str) -> None:
    _, state = PRESETS[name]
    parts = PARTS[name]
    given = presets.knowledge(parts)
    assert set(state.show) <= set(given["rules"]) == set(parts.rules)
    assert all(rule["norm"] == "none" for rule in given["rules"].values()) or "lrn" in given["sliders"]
    if name != "front":  # the first page, with the fewest controls
        assert "mu" in given["sliders"] or all(rule["momentum"] == "none" for rule in given["rules"].values())
    for left_out in set(RULES) - set(parts.rules):
        with pytest.raises(DirectiveError) as failure:
            asked_for(preset=name, show=f"{parts.rules[0]}, {left_out}")
        assert failure.value.msg == f"no optimizer is called `{left_out}`; there are {', '.join(parts.rules)}"


def test_there_is_no_phase_diagram_of_other_rules() -> None:
    directive = Phases.__new__(Phases)
    directive.options = {"show": "Momentum, GD"}
    with pytest.raises(DirectiveError) as failure:
        directive.run()
    assert failure.value.msg == "there is no phase diagram of `GD`; there are those of Momentum, NAG"


STATES = """
const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
const other = { ...given.preset, surface: "beale", show: ["GD", "NadaMax"], start: [-0.25, 1e-3], psi: 0.004, t: 7,
  turn: 45, noise: 0.5, seed: 12, best: true };
const written = nadamState.write(other, given);
console.log(JSON.stringify([written, other, nadamState.read(written, given), nadamState.read("#w=else", given)]));
"""


def test_a_fragment_can_be_read_by_people_and_by_the_widget() -> None:
    given = {**presets.knowledge(), "name": "fig-play", "preset": vars(PRESETS["landing"][1])}
    written, state, read, of_another = node("state", STATES, text=json.dumps(given))
    assert written.startswith("#w=fig-play&f=beale&show=GD,NadaMax&start=-0.25,0.001&lr=0.03&")
    assert read == state
    assert of_another is None

"""Every displayed update equation is carried out as it stands on the page and compared with the paper's box."""

import inspect
import itertools
import json
import re
from functools import partial
from pathlib import Path

import latex
import numpy as np
import pytest
import torch

import nadam_ref
from nadam_ref import paper
from nadam_ref.book.cells import figures, limits, quadratic
from nadam_ref.book.extension import equations
from nadam_ref.rules import RULES, Scalars

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
HYPER = {"η": 0.01, "μ": 0.95, "ν": 0.98, "ε": 1e-6, "ψ": 0.004, "γ": 0.3}
T = 25
START = np.array([0.7, -1.3, 2.0])
A = np.diag([0.5, 1.0, 2.0])


def displayed():
    """Every labelled equation of the chapters, by label."""
    found = {}
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                for body, label in re.findall(r"\$\$\s*(.*?)\s*\$\$ \(([\w-]+)\)", "".join(cell["source"]), re.S):
                    found[label] = body
    return found


EQUATIONS = displayed()


def gradient(θ, t):
    return A @ θ + np.cos(t * np.arange(1.0, 4.0))


def environment(t, env, psi=HYPER["ψ"]):
    """The scalars of step t under their printed names; θ, m, n and the product of μ stay from the step before."""
    here, ahead = (paper.schedule(HYPER["μ"], i, psi) for i in (t, t + 1))
    env["P_{t}"] = env.get("P_{t}", 1.0) * here
    env |= {"P_{t+1}": env["P_{t}"] * ahead, "\\mu_{t}": here, "\\mu_{t+1}": ahead, "t": float(t)}
    env |= {"\\mu": HYPER["μ"], "\\nu": HYPER["ν"], "\\eta": HYPER["η"], "\\varepsilon": HYPER["ε"]}
    env |= {"\\gamma": HYPER["γ"]}
    env |= {"\\nabla f": partial(gradient, t=t)}
    return env


def carry_out(equation, psi=HYPER["ψ"], **more):
    """The path of an equation; `more` are values for its names besides the common ones."""
    env = {"\\theta": START.copy(), "m": np.zeros(3), "n": np.zeros(3)}
    path = [START]
    for t in range(1, T + 1):
        environment(t, env, psi)
        env |= more | {"g": gradient(env["\\theta"], t)}
        latex.execute(equation, env)
        path.append(env["\\theta"])
    return np.stack(path)


def printed(box, *names, **more):
    return paper.path(box, START, gradient, T, **{k: HYPER[k] for k in names}, **more)


UPDATES = {
    "eq-gd": (paper.gradient_descent, "η"),
    "eq-momentum": (paper.momentum, "ημ"),
    "eq-momentum-mean": (partial(paper.momentum_mean, corrected=False), "ημ"),
    "eq-nag-lookahead": (paper.nag_lookahead, "ημ"),
    "eq-nag": (paper.nag, "ημψ"),
    "eq-adagrad": (paper.adagrad, "ηε"),
    "eq-rmsprop": (paper.rmsprop, "ηνε"),
    "eq-rmsprop-corrected": (partial(paper.rmsprop, corrected=True), "ηνε"),
    "eq-maxprop": (paper.maxprop, "ηνε"),
    "eq-adam": (paper.adam, "ημνεψ"),
    "eq-adam-constant": (paper.adam, "ημνε"),
    "eq-adamax": (paper.adamax, "ημνε"),
    "eq-nadamax": (paper.nadamax, "ημνεψ"),
    "eq-nadam-iclr-printed": (paper.nadam_iclr_printed, "ημνεψ"),
    "eq-nadam": (paper.nadam, "ημνεψ"),
    "eq-quasi-hyperbolic": (paper.nadam_interpolated, "ημνεγ"),
}
OTHERS = {"eq-one-update", "eq-adam-p", "eq-five-nadams", "eq-decoupled"}


def test_every_displayed_update_is_tested():
    assert {label for label, body in EQUATIONS.items() if "\\leftarrow" in body} == set(UPDATES) | OTHERS


def test_every_displayed_equation_has_a_test_that_says_what_it_compares():
    source = Path(__file__).read_text(encoding="utf-8")
    found = equations.checks(source)
    assert set(found) == set(EQUATIONS) == set(equations.displayed(NOTEBOOKS[0].parents[1]))
    assert [label for label, checks in found.items() for check in checks if not check.words.endswith(".")] == []


@pytest.mark.parametrize("label", UPDATES)
def test_update_equation_is_the_box(label):
    """Carried out as it is printed, step by step; its path is that of the box."""
    box, names = UPDATES[label]
    assert np.allclose(carry_out(EQUATIONS[label]), printed(box, *names), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("label", UPDATES)
def test_a_changed_equation_is_noticed(label):
    # The comparison can fail: a sign turned over anywhere in the equation shows.
    box, names = UPDATES[label]
    body = EQUATIONS[label]
    for at in [
        m.start() for m in re.finditer(r"[-+](?![^{}]*\}\})", body) if not re.match(r"\+1\}", body[m.start() :])
    ]:
        turned = body[:at] + {"-": "+", "+": "-"}[body[at]] + body[at + 1 :]
        with np.errstate(all="ignore"):
            assert not np.allclose(carry_out(turned), printed(box, *names), rtol=1e-9), turned


def test_decoupled_decay():
    """Carried out for one step, it is the step of `nadam_ref.Nadam` with `decoupled_weight_decay`."""
    θ = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    before, g, η, λ, μ, ε = θ.detach().numpy().copy(), np.array([0.3, 0.1, -2.0]), 0.1, 0.2, 0.9, 1e-8
    optimizer = nadam_ref.Nadam(
        [θ], lr=η, betas=(μ, 0.99), eps=ε, weight_decay=λ, decoupled_weight_decay=True, dialect="constant"
    )
    θ.grad = torch.tensor(g)
    optimizer.step()
    env = {"\\theta": before, "\\eta": η, "\\lambda": λ, "\\varepsilon": ε, "\\hat n": g**2}
    env["\\bar m"] = μ * (1 - μ) * g / (1 - μ**2) + g
    latex.execute(EQUATIONS["eq-decoupled"], env)
    assert np.allclose(env["\\theta"], θ.detach().numpy(), rtol=1e-12)


def test_schedule():
    """Its value at three steps is that of `paper.schedule`."""
    for t in (1, 250, 5000):
        env = {"\\mu": 0.99, "t": float(t)}
        latex.execute(EQUATIONS["eq-schedule"], env)
        assert env["\\mu_{t}"] == pytest.approx(paper.schedule(0.99, t), rel=1e-15)


def test_the_ravine_and_its_gradient():
    """Its value is that of the figures' ravine, and its slopes, by central differences, are the figures' gradient."""
    (_, ravine), h = latex.assignments(EQUATIONS["eq-ravine"])[0], 1e-6

    def f(θ):
        return latex.Parser(ravine, {"\\theta_{1}": θ[0], "\\theta_{2}": θ[1]}).value()

    θ = np.array([-1.2, 0.7])
    assert f(θ) == pytest.approx(figures.ravine(θ), rel=1e-14)
    slopes = [(f(θ + h * e) - f(θ - h * e)) / (2 * h) for e in np.eye(2)]
    assert slopes == pytest.approx(figures.ravine_gradient(θ), rel=1e-8)


def test_momentum_as_one_recursion_and_its_best_factor():
    """On ½λθ² the box obeys the printed recursion; at the best rate and μ the two roots have the printed size."""
    _, recursion = latex.assignments(EQUATIONS["eq-momentum-recursion"])[0]
    (older, old, new), λ = paper.path(paper.momentum, 1.0, lambda θ, t: 7.0 * θ, 2, η=0.01, μ=0.95), 7.0
    env = {"\\theta_{t}": old, "\\theta_{t-1}": older, "\\eta": 0.01, "\\mu": 0.95, "\\lambda": λ}
    assert latex.Parser(recursion, env).value() == pytest.approx(new, rel=1e-14)

    left, right = EQUATIONS["eq-momentum-factor"].split("=")
    κ = 20.0
    factor = latex.Parser(right, {"\\kappa": κ}).value()
    μ = factor**2
    assert latex.Parser(left, {"\\mu": μ}).value() == pytest.approx(factor)
    for curvature in (1.0, 5.0, κ):
        x = (1 - factor) ** 2 * curvature
        assert np.abs(np.roots([1, x - 1 - μ, μ])) == pytest.approx(factor, rel=1e-6)


def value(latex_text, **env):
    """An expression with Greek keywords under their printed names."""
    names = {"η": "\\eta", "μ": "\\mu", "λ": "\\lambda", "κ": "\\kappa", "θ": "\\theta"}
    return latex.Parser(latex_text.rstrip(" ,."), {names.get(k, k): v for k, v in env.items()}).value()


def test_gradient_descents_factor_and_its_best_rate():
    """Both sides are equal, and the best rate and factor are those that the figures use."""
    left, right = EQUATIONS["eq-gd-factor"].split("=")
    env = {"θ": 0.7, "η": 0.03, "λ": 20.0}
    assert value(left, g=20.0 * 0.7, **env) == pytest.approx(value(right, **env), rel=1e-15)
    rate, factors = EQUATIONS["eq-gd-best"].split("\\qquad")
    curved = {"\\lambda_{1}": 3.0, "\\lambda_{2}": 60.0}
    η = value(rate.split("=")[1], **curved)
    best = [value(part, η=η, κ=20.0, **curved) for part in factors.split("=")]
    assert best == pytest.approx([quadratic.best("GD", 20.0).factor] * 3, rel=1e-14)
    assert η == pytest.approx(quadratic.best("GD", 20.0).η / 3, rel=1e-14)


def test_the_floor_of_the_noise_is_where_the_variance_stays():
    """The variance of a step, followed for 500 steps, ends there."""
    v, η, λ, σ = 0.0, 0.03, 20.0, 0.5
    for _ in range(500):
        v = (1 - η * λ) ** 2 * v + η**2 * σ**2
    left, right = EQUATIONS["eq-noise-floor"].split("=")
    assert value(left, v=v, λ=λ) == pytest.approx(value(right, η=η, λ=λ, **{"\\sigma": σ}), rel=1e-12)


def test_the_sum_of_equal_gradients_and_the_mean_as_a_part_of_the_sum():
    """The sum after 400 equal gradients is the printed one, and both sides of the recursion are equal."""
    total = 0.0
    for _ in range(400):
        total = 0.8 * total + 3.0
    assert value(EQUATIONS["eq-geometric"], g=3.0, μ=0.8) == pytest.approx(total, rel=1e-12)
    left, right = EQUATIONS["eq-mean-of-sum"].split("=")
    env = {"s": -1.3, "g": 0.4, "μ": 0.85}
    assert value(left, **env) == pytest.approx(value(right, **env), rel=1e-14)


def test_the_roots_of_momentum_and_where_they_leave_the_circle():
    """The roots of the recursion that the box's path obeys are its zeros; the limit is that of the figures."""
    _, polynomial = EQUATIONS["eq-momentum-roots"].split("=")
    for η, μ in ((0.03, 0.8), (0.2, 0.4), (0.001, 0.9)):
        path = paper.path(paper.momentum, 1.0, lambda θ, t: 7.0 * θ, 60, η=η, μ=μ)
        (a, b), *_ = np.linalg.lstsq(np.stack([path[1:5], path[:4]], axis=1), path[2:6])  # its own recursion
        for r in np.roots([1, -a, -b]):
            assert value(polynomial, r=r, η=η, μ=μ, λ=7.0) == pytest.approx(0, abs=1e-9)
    low, product, high = EQUATIONS["eq-momentum-limit"].split("<")
    assert (float(low), value(product, η=3.0, λ=0.5)) == (0, 1.5)
    assert value(high, μ=0.8) == pytest.approx(quadratic.limit("Momentum", 0.8))


def test_nag_as_one_recursion_its_limit_and_its_best_factor():
    """The box's path obeys the recursion; limit and best factor are those of the figures."""
    _, recursion = latex.assignments(EQUATIONS["eq-nag-recursion"])[0]
    (older, old, new), λ = paper.path(paper.nag_lookahead, 1.0, lambda θ, t: 7.0 * θ, 2, η=0.01, μ=0.95), 7.0
    env = {"\\theta_{t}": old, "\\theta_{t-1}": older}
    assert value(recursion, η=0.01, μ=0.95, λ=λ, **env) == pytest.approx(new, rel=1e-14)
    product, limit = EQUATIONS["eq-nag-limit"].split("<")
    assert value(product, η=3.0, λ=0.5) == 1.5
    assert value(limit, μ=0.8) == pytest.approx(quadratic.limit("NAG", 0.8))
    assert value(EQUATIONS["eq-nag-factor"], κ=20.0) == pytest.approx(quadratic.best("NAG", 20.0).factor)


def test_the_limit_of_the_one_update():
    """Printed, it is the limit of the table and the figure, which a test holds against the eigenvalues of a step."""
    left, right = EQUATIONS["eq-one-limit"].split("<")
    env = {"η": 3.0, "λ": 0.5, "d": 2.0, "n": 0.7, "\\varepsilon": 0.1}
    assert value(left.replace("\\operatorname{root}(n)", "n"), **env) == pytest.approx(1.0)
    for rule, q in ((RULES["Nadam"], 0.1), (RULES["NAG"], 1.0)):
        k = Scalars(0.9, 0.99, 0.7, 0.4, 2.0, 3.0)
        assert value(right, μ=k.mu, a=k.a, c=k.c, q=q) == pytest.approx(limits.limit(rule, k), rel=1e-12)


def nesterovs_momenta(T, recursion=EQUATIONS["eq-nesterov-mu"]):
    """μ_1 … μ_T by the printed recursion, from a_1 = 1."""
    (_, a_next), (_, mu_next) = latex.assignments(recursion)
    a, found = 1.0, [0.0]
    while len(found) < T:
        following = value(a_next, **{"a_{t}": a})
        found.append(value(mu_next, **{"a_{t}": a, "a_{t+1}": following}))
        a = following
    return found


def test_nesterovs_momentum_and_its_approximation():
    """The momenta by the recursion rise from 0, and the approximation is within 0.003 of them from step 50 on."""
    momenta = nesterovs_momenta(1000, EQUATIONS["eq-nesterov-mu"])
    assert momenta[:2] == [0, 0]
    assert all(a < b for a, b in itertools.pairwise(momenta[1:]))
    formula = EQUATIONS["eq-nesterov-schedule"].split("\\approx")[1]
    for t in (50, 100, 1000):
        assert value(formula, t=float(t)) == pytest.approx(momenta[t - 1], abs=0.003)


def test_the_guarantee_holds_and_is_not_idle():
    """It holds on four convex functions, and on Huber's the loss comes within a tenth of the bound."""
    shares = {}
    flat = 2e-4
    functions = {
        "kinked": (quadratic.kinked, lambda θ: 12.5 * θ**2 if θ < 1 else θ**2 / 2 + 24 * θ - 12),
        "steep": (lambda θ: 25 * θ, lambda θ: 12.5 * θ**2),
        "flat": (lambda θ: flat * θ, lambda θ: flat * θ**2 / 2),
        "huber": (lambda θ: np.clip(25 * θ, -1e-2, 1e-2), lambda θ: 1e-2 * abs(θ) - 2e-6),
    }
    left, right = EQUATIONS["eq-nag-guarantee"].split("\\le")
    assert left.split() == ["f(\\theta_t)", "-", "f(\\theta^*)"]
    right = right.replace("\\lVert \\theta_0 - \\theta^* \\rVert", "d")
    for name, (slope, f) in functions.items():
        θ, m, shares[name] = 1.9, 0.0, []
        for t, μ in enumerate(nesterovs_momenta(300), 1):
            g = float(slope(θ - μ * m / 25))
            m = μ * m + g
            θ -= m / 25
            shares[name].append(f(θ) / value(right, t=float(t), d=1.9, **{"\\lambda_{2}": 25.0}))
    assert max(map(max, shares.values())) <= 1
    assert max(shares["huber"]) > 0.1


def test_nadams_step_in_adam_is_iclrs_nadam():
    """Put into Adam as the text says, it gives ICLR's Algorithm 2 without the extra ν."""
    adam = EQUATIONS["eq-adam"]
    step = EQUATIONS["eq-nadam-mbar"].replace("m_t ", "m ").replace("m_t}", "m}").replace("g_t", "g")
    step = step.replace("\\bar m_t =", "\\bar m \\leftarrow").replace("\\bar m =", "\\bar m \\leftarrow")
    joined = adam.replace("\\hat m}", "\\bar m}").replace("\\hat m &\\leftarrow \\frac{m}{1 - P_t}", step)
    assert joined.count("\\bar m") == 2
    assert np.allclose(carry_out(joined), printed(paper.nadam_iclr, *"ημνεψ"), rtol=1e-12)


def test_nadamaxs_step_in_adamax_is_the_dialect_constant():
    """Put into AdaMax as chapter 9 says, with a constant μ, it gives the dialect `constant`."""
    step = EQUATIONS["eq-nadam-mbar"].replace("m_t ", "m ").replace("m_t}", "m}").replace("g_t", "g")
    step = step.replace("\\bar m =", "\\bar m \\leftarrow").replace("\\bar m_t =", "\\bar m \\leftarrow")
    adamax = EQUATIONS["eq-adamax"]
    joined = adamax.replace("{\\hat m}", "{\\bar m}").replace("\\hat m &\\leftarrow \\frac{m}{1 - \\mu^t}", step)
    assert joined.count("\\bar m") == 2
    box = partial(paper.nadam_constant, norm=paper.max_norm)
    assert np.allclose(carry_out(joined, psi=None), printed(box, *"ημνε"), rtol=1e-12)


def test_adams_step_written_out():
    """Both terms together are the corrected mean of a step."""
    env = environment(1, {}) | {"m_{t-1}": 0.3, "g_{t}": -0.8, "P_{t}": 0.4}
    latex.execute(EQUATIONS["eq-adam-expanded"], env)
    μ_t = env["\\mu_{t}"]
    assert env["\\hat m_{t}"] == pytest.approx((μ_t * 0.3 + (1 - μ_t) * -0.8) / 0.6)


def test_the_shift_of_the_rewritten_nag():
    """The proof's two lines are equal, and equal to the step of the rewritten form."""
    first, second = (
        re.sub(r"&|\\begin\{aligned\}|\\end\{aligned\}|,\s*$", "", line).split("=")[1].strip(" ,\n")
        for line in EQUATIONS["eq-nag-proof"].split("\\\\")
    )
    rng = np.random.default_rng(0)
    env = environment(3, {"\\bar \\theta_{t-1}": rng.normal(), "m_{t-1}": rng.normal(), "g_{t}": rng.normal()})
    env["\\bar\\theta_{t-1}"] = env["\\bar \\theta_{t-1}"]
    env["m_{t}"] = env["\\mu_{t}"] * env["m_{t-1}"] + env["g_{t}"]
    a, b = latex.Parser(first, env).value(), latex.Parser(second, env).value()
    step = env["\\bar \\theta_{t-1}"] - HYPER["η"] * (env["g_{t}"] + env["\\mu_{t+1}"] * env["m_{t}"])
    assert a == pytest.approx(b, rel=1e-14)
    assert b == pytest.approx(step, rel=1e-14)


def test_the_rewritten_nag_stores_the_look_ahead_point():
    """Carried out along the path of `paper.nag_lookahead` it gives that of `paper.nag`."""
    _, right = EQUATIONS["eq-shift"].split("=")
    θ, rewritten = printed(paper.nag_lookahead, "η", "μ"), printed(paper.nag, "η", "μ")
    for t, m in enumerate(-np.diff(θ, axis=0) / HYPER["η"], 1):
        env = {"\\theta_{t}": θ[t], "m_{t}": m, "\\mu_{t+1}": HYPER["μ"], "\\eta": HYPER["η"]}
        np.testing.assert_allclose(latex.Parser(right, env).value(), rewritten[t], rtol=1e-12)


def test_the_one_update_with_its_three_norms():
    """Carried out with each of its three norms; the paths are those of AdaGrad, RMSProp and MaxProp."""
    lines = [x.strip() for x in re.sub(r"\\(begin|end)\{aligned\}", "", EQUATIONS["eq-one-update"]).split("\\\\")]
    m_line, n_line, step = lines
    norms = [x.strip() for x in n_line.split("\\;")[1].split(", \\quad")]
    boxes = {
        0: (paper.adagrad, "ηε", np.sqrt, (0.0, 1.0)),
        1: (paper.rmsprop, "ηνε", np.sqrt, (0.0, 1.0)),
        2: (paper.maxprop, "ηνε", lambda n: n, (0.0, 1.0)),
    }
    for i, (box, names, root, (a, c)) in boxes.items():
        equation = f"{m_line} \\\\ n &\\leftarrow {norms[i]} \\\\ {step}"
        env = {
            "\\theta": START.copy(),
            "m": np.zeros(3),
            "n": np.zeros(3),
            "a": a,
            "c": c,
            "d": 1.0,
            "q": 1.0,
            "\\root": root,
        }
        for t in range(1, T + 1):
            environment(t, env)
            env["g"] = gradient(env["\\theta"], t)
            latex.execute(equation, env)
        assert np.allclose(env["\\theta"], printed(box, *names)[-1], rtol=1e-12)


@pytest.mark.parametrize(("p", "box", "ν", "rtol"), [(2, paper.adam, 0.98**2, 1e-12), (200, paper.adamax, 0.98, 0.02)])
def test_the_power_p_runs_from_adam_to_adamax(p, box, ν, rtol):
    """Carried out with p = 2 it is Adam, with p = 200 AdaMax to 2 %."""
    steps = np.diff(carry_out(EQUATIONS["eq-adam-p"], p=float(p)), axis=0)
    expected = np.diff(printed(box, *"ημε", ν=ν), axis=0)
    assert np.abs(steps - expected).max() < rtol * np.abs(expected).max()


def steps_of(box, gradients, *names, **settings):
    """The length of each step on these gradients, in units of η."""
    box, g = partial(box, **{name: HYPER[name] for name in names}, **settings), np.asarray(gradients)[:, None]
    return -np.diff(paper.path(box, [0.0], lambda θ, t: g[t - 1], len(g), η=1.0)[:, 0])


def test_how_far_adagrad_comes():
    """Each summand is the length of the box's step, and after 10,000 steps the sum is right to 1 %."""
    left, right = EQUATIONS["eq-adagrad-distance"].split("\\approx")
    summand = re.fullmatch(r"\s*\\sum_\{i=1\}\^\{t\} (.*?)\s*", left)[1]
    steps = steps_of(paper.adagrad, np.ones(10_000), ε=0.0)
    for t in (1, 10, 10_000):
        assert value(summand, i=float(t)) == pytest.approx(steps[t - 1], rel=1e-12)
    assert value(right, t=1e4) == pytest.approx(steps.sum(), rel=0.01)


def test_the_weight_that_a_mean_has_gathered():
    """Term by term, and as the mean of a constant gradient in the box."""
    left, right = EQUATIONS["eq-gathered"].split("=")
    kept, terms = re.fullmatch(r"\s*\((.*?)\)\\,\(1 \+ \\nu \+ \\dots \+ (.*?)\)\s*", left).groups()
    ν = {"\\nu": 0.98}
    for t in (1, 7, 30):
        total = sum(value(terms, t=float(k), **ν) for k in range(1, t + 1))
        n = steps_of(paper.rmsprop, np.ones(t), ν=0.98, ε=0.0)[-1] ** -2
        assert value(right, t=float(t), **ν) == pytest.approx(value(kept, **ν) * total, rel=1e-13)
        assert value(right, t=float(t), **ν) == pytest.approx(n, rel=1e-13)
        m = steps_of(partial(paper.momentum_mean, corrected=False), np.full(t, 3.0), μ=0.95)[-1]
        expected = EQUATIONS["eq-adam-expectation"].split("=")[1].replace("\\mathbb E[g]", "g")
        assert value(expected, μ=0.95, t=float(t), g=3.0) == pytest.approx(m, rel=1e-13)


def summed(latex_text, g, **env):
    """An expression with a sum over i = 1 … t of terms in g_i, for t = len(g)."""
    head, terms = latex_text.replace("|g_i|", "\\lvert g_i \\rvert").split("\\sum_{i=1}^{t}")
    each = [value(terms, i=float(i), t=float(len(g)), **{"g_{i}": x}, **env) for i, x in enumerate(g, 1)]
    return value(head, **env) * sum(each)


def test_averages_as_weighted_sums():
    """The printed sum, or maximum, of twelve random gradients is the box's average of them."""
    g, ν, p = np.random.default_rng(0).normal(size=12), {"\\nu": 0.98}, 3.0
    m = steps_of(partial(paper.momentum_mean, corrected=False), g, μ=0.95)[-1]
    assert summed(EQUATIONS["eq-adam-weights"].split("=", 1)[1], g, μ=0.95) == pytest.approx(m, rel=1e-12)
    n = 0.0
    for x in g:
        n = 0.98**p * n + (1 - 0.98**p) * abs(x) ** p
    assert summed(EQUATIONS["eq-adamax-sum"].split("=", 1)[1], g, p=p, **ν) == pytest.approx(n, rel=1e-12)

    largest = EQUATIONS["eq-adamax-limit"].split("\\max_{i \\le t}")[1].replace("|g_i|", "\\lvert g_i \\rvert")
    sizes = [value(largest, i=float(i), t=12.0, **{"g_{i}": x}, **ν) for i, x in enumerate(g, 1)]
    assert g[-1] / max(sizes) == pytest.approx(steps_of(paper.adamax, g, μ=0.0, ν=0.98, ε=0.0)[-1], rel=1e-12)


def test_the_mean_step_on_a_noisy_gradient():
    """The mean of 35,000 steps of the box on noisy gradients is the printed one, to 6 %."""
    _, between, right = re.split(r"\\approx|=", EQUATIONS["eq-adam-snr"])
    rng = np.random.default_rng(0)
    for s, σ in ((1.0, 0.5), (0.4, 2.0)):
        expected = value(right, s=s, **{"\\sigma": σ})
        assert value(between, s=s, **{"\\sigma": σ}) == pytest.approx(expected, rel=1e-14)
        steps = steps_of(paper.adam, rng.normal(s, σ, size=40_000), μ=0.9, ν=0.999)
        assert steps[5_000:].mean() == pytest.approx(expected, rel=0.06)


def test_corrected_rmsprop_that_never_forgets_is_adagrad_with_a_growing_rate():
    g = np.random.default_rng(0).normal(size=50)
    t = np.arange(1, 51)
    never = steps_of(paper.rmsprop, g, ν=1 - 1e-9, ε=0.0, corrected=True)
    np.testing.assert_allclose(never, np.sqrt(t) * steps_of(paper.adagrad, g, ε=0.0), rtol=1e-6)


def test_how_the_weight_of_the_zero_shrinks():
    """Both sides are equal."""
    left, right = EQUATIONS["eq-adam-distance"].split("=")
    env = {"\\mu_{t}": 0.7, "m": 0.4}
    assert value(left, **env) == pytest.approx(value(right, **env), rel=1e-15)


def test_adams_steps_without_corrections():
    """The printed length is that of the box's step at three steps."""
    steps = steps_of(partial(paper.adam, corrected=False), np.ones(300), *"μν", ε=0.0)
    for t in (1, 12, 300):
        env = {"t": float(t), "\\nu": HYPER["ν"]}
        assert value(EQUATIONS["eq-adam-uncorrected"], μ=HYPER["μ"], **env) == pytest.approx(steps[t - 1], rel=1e-12)


@pytest.mark.parametrize(
    ("label", "box", "growth"), [("eq-adam-bound", paper.adam, 0.98 / 0.9), ("eq-adamax-bound", paper.adamax, 0.98)]
)
def test_no_step_is_longer_than_the_bound_and_one_is_as_long(label, box, growth):
    """No step of the box on heavy-tailed gradients is longer, and on the worst sequence one is as long."""
    settings = {"μ": 0.9, "ν": 0.98, "ε": 0.0}
    right = EQUATIONS[label].split("\\le")[-1]
    bound = value(right, μ=0.9, η=1.0, **{"\\nu": 0.98})
    worst = growth ** np.arange(-1500.0 if growth > 1 else 0.0, 1.0 if growth > 1 else 1500.0)
    assert abs(steps_of(box, worst, **settings)[-1]) == pytest.approx(bound, rel=1e-9)
    rng = np.random.default_rng(0)
    for tail in (1, 3):
        g = np.concatenate([np.full(1500, 1e-3), rng.standard_t(tail, size=1000)])
        assert np.abs(steps_of(box, g, **settings)[1400:]).max() < bound


def test_the_step_with_epsilon_outside_and_inside_the_root():
    """Outside, it is the box's step. Inside, the norm is that of (g, √ε), and never further than √2 from √ε outside."""
    outside, inside = EQUATIONS["eq-epsilon"].split("\\qquad\\text{and}\\qquad")
    for g in (-0.3, 1e-10, 1e-6, 3e-5, 1e-4, 2.0):
        env = {"g": g, "\\varepsilon": 1e-8}
        box, as_outside = (
            abs(paper.path(paper.adam, [0.0], lambda θ, t, g=g: np.full(1, g), 1, η=1.0, ε=ε)[1, 0])
            for ε in (1e-8, 1e-4)
        )
        found = latex.Parser(inside, env).value()
        assert latex.Parser(outside, env).value() == pytest.approx(box, rel=1e-12)
        assert found == pytest.approx(abs(g) / np.hypot(g, 1e-4), rel=1e-12)
        assert 1 <= found / as_outside <= np.sqrt(2) * (1 + 1e-12)


def words(stem):
    """The text of a chapter."""
    cells = json.loads(next(path for path in NOTEBOOKS if path.stem == stem).read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def test_torchs_adamax_has_epsilon_inside_the_maximum():
    """With the other n of the chapter's last note it is torch's AdaMax."""
    inside = re.search(
        r"PyTorch adds .*? inside the maximum, \$(n .*?)\$, and divides by \$n\$ alone", words("07_adamax")
    )[1]
    equation = EQUATIONS["eq-adamax"].replace(r"n &\leftarrow \max(\nu n, |g|)", inside)
    equation = equation.replace(r"{n + \varepsilon}", "n")
    assert equation.count("\\varepsilon") == 1
    θ = torch.tensor(START)
    optimizer = torch.optim.Adamax([θ], lr=HYPER["η"], betas=(HYPER["μ"], HYPER["ν"]), eps=0.1)
    for t in range(1, T + 1):
        θ.grad = torch.tensor(gradient(θ.numpy(), t))
        optimizer.step()
    path = carry_out(equation, **{"\\varepsilon": 0.1})
    assert np.allclose(path[-1], θ.numpy(), rtol=1e-12)


def five_nadams():
    """Each row of the table of chapter 12: the dialect's ρ, a, c and μ_t as they are printed."""
    path = next(path for path in NOTEBOOKS if path.stem == "12_two_rules")
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    text = next(text for text in cells if ":name: tab-five-nadams" in text)
    table = text.partition(":name: tab-five-nadams")[2].partition(":::")[0]
    return {name: re.findall(r"\$(.*?)\$", row) for name, row in re.findall(r"^\| `(\w+)` \|(.*)$", table, re.M)}


FIVE = {
    "cs229": (paper.nadam, "ημνεψ"),
    "iclr": (paper.nadam_iclr, "ημνεψ"),
    "constant": (paper.nadam_constant, "ημνε"),
    "keras3": (paper.nadam_keras3, "ημνε"),
    "choi": (paper.nadam_choi, "ημνε"),
}


def numbers_in_print(row, t, product):
    """The environment of step t by a row of the table, with `product` = P_{t−1}."""
    env = {"\\mu": HYPER["μ"], "t": float(t)}
    ahead = latex.Parser(row[3], env | {"t": t + 1.0}).value()
    here = latex.Parser(row[3], env).value()
    env |= {"\\mu_{t}": here, "\\mu_{t+1}": ahead, "P_{t}": product * here, "P_{t+1}": product * here * ahead}
    return env | {
        name: latex.Parser(text, env).value()
        for name, text in zip(("\\rho_{t}", "a_{t}", "c_{t}"), row[:3], strict=True)
    }


def test_the_table_has_the_five_dialects():
    assert list(five_nadams()) == list(FIVE) == [name for name in nadam_ref.DIALECTS if name != "interpolated"]


@pytest.mark.parametrize("dialect", FIVE)
def test_the_one_update_of_the_five_nadams_with_the_row_of_each(dialect):
    """Carried out with each row of the table of dialects; the paths are those of the five boxes."""
    row, (box, names) = five_nadams()[dialect], FIVE[dialect]
    env, path = {"\\theta": START.copy(), "m": np.zeros(3), "n": np.zeros(3), "P_{t}": 1.0}, [START]
    for t in range(1, T + 1):
        product = env["P_{t}"]
        env["g"] = gradient(env["\\theta"], t)
        env = environment(t, env) | numbers_in_print(row, t, product)
        latex.execute(EQUATIONS["eq-five-nadams"], env)
        path.append(env["\\theta"])
    assert np.allclose(np.stack(path), printed(box, *names), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("dialect", "box"), [("cs229", paper.nadam), ("iclr", paper.nadam_iclr)])
def test_the_length_of_a_step_on_a_constant_gradient(dialect, box):
    """Carried out with the rows of the two printed rules; the lengths are those of the boxes' steps."""
    row, m, product = five_nadams()[dialect], 0.0, 1.0
    lengths = -np.diff(paper.path(box, [0.0], lambda θ, t: np.ones(1), T, η=1.0, μ=HYPER["μ"], ε=0.0)[:, 0])
    for t in range(1, T + 1):
        env = numbers_in_print(row, t, product)
        m, product = env["\\rho_{t}"] * m + 1 - env["\\rho_{t}"], env["P_{t}"]
        env["m_{t}"] = m
        latex.execute(EQUATIONS["eq-step-length"], env)
        assert env["s_{t}"] == pytest.approx(lengths[t - 1], rel=1e-12)


@pytest.mark.parametrize(("label", "box"), [("eq-report-length", paper.nadam), ("eq-iclr-length", paper.nadam_iclr)])
def test_the_length_that_chapter_8_displays(label, box):
    """Its value at 25 steps is the length of the box's step on a constant gradient."""
    settings = {key: HYPER[key] for key in "μψ"}
    lengths = -np.diff(paper.path(partial(box, **settings), [0.0], lambda θ, t: np.ones(1), T, η=1.0, ε=0.0)[:, 0])
    env = {}
    for t in range(1, T + 1):
        environment(t, env)
        latex.execute(EQUATIONS[label], env)
        assert env["r_{t}"] == pytest.approx(lengths[t - 1], rel=1e-12)


def test_the_nadam_to_copy_is_the_packages():
    (code,) = (
        "".join(cell["source"])
        for cell in json.loads((NOTEBOOKS[0].parent / "08_nadam.ipynb").read_text(encoding="utf-8"))["cells"]
        if "class TinyNadam" in "".join(cell["source"])
    )
    namespace = {}
    exec(code, namespace)
    tiny, ours = (torch.nn.Parameter(torch.linspace(-1, 1, 7, dtype=torch.float64)) for _ in range(2))
    one = namespace["TinyNadam"]([tiny, torch.nn.Parameter(torch.ones(2))])  # the second never has a gradient
    other = nadam_ref.Nadam([ours], lr=2e-3, betas=(0.9, 0.999), eps=1e-8, dialect="constant")
    for step in range(50):
        for p in (tiny, ours):
            p.grad = torch.cos(3 * p.detach() + step)
        one.step(), other.step()
    torch.testing.assert_close(tiny, ours, rtol=1e-12, atol=1e-14)


def test_the_reports_direction_is_quasi_hyperbolic():
    """The report's direction over its length is the printed mixture, with the printed share of the gradient."""
    left, right = EQUATIONS["eq-report-direction"].split("=")
    _, share = EQUATIONS["eq-report-share"].split("=")
    path = paper.path(paper.nadam, [0.0], lambda θ, t: np.array([np.cos(t)]), T, η=1.0, μ=HYPER["μ"], ν=0.0, ε=0.0)
    m, env = 0.0, {}
    for t, step in enumerate(-np.diff(path[:, 0]), 1):
        environment(t, env)
        g = np.cos(t)
        m = HYPER["μ"] * m + (1 - HYPER["μ"]) * g
        latex.execute(EQUATIONS["eq-report-length"], env)
        env |= {"m_{t}": m, "g_{t}": g, "\\bar m_{t}": step * abs(g)}  # with ν = 0 the norm is |g|
        env["\\gamma_{t}"] = latex.Parser(share, env).value()
        assert latex.Parser(right, env).value() == pytest.approx(latex.Parser(left, env).value(), rel=1e-11)


def test_the_shortfall_of_the_accidental_warm_up():
    """At three steps the box's step falls short by the printed amount, to 1 %."""
    lengths = -np.diff(paper.path(paper.nadam, [0.0], lambda θ, t: np.ones(1), 400, η=1.0, μ=0.99, ε=0.0)[:, 0])
    for t in (20, 100, 400):
        env = {"\\mu": 0.99, "\\mu_{t}": paper.schedule(0.99, t), "t": float(t), "s_{t}": lengths[t - 1]}
        short, formula = (latex.Parser(x, env).value() for x in EQUATIONS["eq-warm-up"].split("\\approx"))
        assert short == pytest.approx(formula, rel=0.01)


def test_the_notes_equations_are_its_boxes():
    """Carried out as it is printed; its path is that of the box."""
    first, adamax = EQUATIONS["eq-note-nadam"], EQUATIONS["eq-note-adamax"]
    g_and_v = " \\\\ ".join(re.sub(r"\\begin\{aligned\}", "", first).split("\\\\")[:2])
    for equation, box in ((first, paper.note_nadam), (f"{g_and_v} \\\\ {adamax}", paper.note_adamax)):
        θ = np.abs(START)
        env = {"\\alpha": 0.01, "\\beta": 0.9, "\\beta_{2}": 0.999, "\\nabla f": lambda θ: A @ θ}
        env |= {"\\theta_{t+1}": θ, "v_{t}": 0 * θ, "s_{t}": 0 * θ}
        for _ in range(8):
            env |= {"\\theta_{t}": env["\\theta_{t+1}"], "v_{t-1}": env["v_{t}"], "s_{t-1}": env["s_{t}"]}
            latex.execute(equation, env)
        expected = paper.path(box, θ, lambda θ, t: A @ θ, 8, α=0.01, β=0.9)[-1]
        assert np.allclose(env["\\theta_{t+1}"], expected, rtol=1e-13)


DOCSTRINGS = {
    "GD": (paper.gradient_descent, "η", None),
    "Momentum": (paper.momentum, "ημ", None),
    "NAG": (paper.nag, "ημψ", HYPER["ψ"]),
    "AdaGrad": (paper.adagrad, "ηε", None),
    "RMSProp": (paper.rmsprop, "ηνε", None),
    "MaxProp": (paper.maxprop, "ηνε", None),
    "Adam": (paper.adam, "ημνε", None),
    "AdaMax": (paper.adamax, "ημνε", None),
    "Nadam": (paper.nadam, "ημνεψ", HYPER["ψ"]),
    "NadaMax": (paper.nadamax, "ημνεψ", HYPER["ψ"]),
}


@pytest.mark.parametrize("name", nadam_ref.OPTIMIZERS)
def test_the_equation_of_a_docstring_is_the_box(name):
    box, names, psi = DOCSTRINGS[name]
    docstring = inspect.cleandoc(nadam_ref.OPTIMIZERS[name].__doc__)  # Python 3.13 has no indents left in it
    body = re.search(r"\.\. math::(.*?)\n\n\S", docstring + "\n\nend", re.S)[1]
    assert np.allclose(carry_out(body, psi), printed(box, *names), rtol=1e-12, atol=1e-12)

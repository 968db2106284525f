"""Every *Try it* of the chapters: a test carries out what it says, in the browser, and looks for what it promises."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import opened
from small_book import ROOT

from nadam_ref.book.build import notebooks
from nadam_ref.book.cells import quadratic
from nadam_ref.rules import DIALECTS, RULES

NUMBERS = "arrow => arrow.textContent.split(': ')[1]"
POWER = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


class Play:
    """One widget on a chapter's page, and what a reader does to it."""

    def __init__(self, tab: Any, name: str) -> None:
        self.tab, self.box = tab, tab.locator(f"#{name} .play")

    def slide(self, key: str, value: float) -> None:
        """Move a slider, by its arrow keys, until it shows the value."""
        slider = self.box.locator(f'[data-slide="{key}"]')
        shown = slider.locator("+ output")
        slider.focus()
        slider.press("Home")
        self.settle()
        for _ in range(500):
            if float(shown.text_content()) >= value:
                break
            slider.press("ArrowRight")
            self.settle()
        assert float(shown.text_content()) == value

    def settle(self) -> None:
        self.tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def step_to(self, t: int) -> None:
        self.box.locator("[data-scrub]").fill(str(t))
        self.settle()

    def drag(self, grip: str, by: tuple[float, float]) -> None:
        box = self.box.locator(grip).first.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        self.tab.mouse.move(x, y)
        self.tab.mouse.down()
        self.tab.mouse.move(x + by[0], y + by[1], steps=5)
        self.tab.mouse.up()
        self.settle()

    @property
    def shown(self) -> list[str]:
        """The optimizers that are drawn."""
        return [
            str(chip.get_attribute("data-name")) for chip in self.box.locator("[data-name][aria-pressed=true]").all()
        ]

    def path(self, name: str) -> list[list[float]]:
        """θ_0 … θ_T of an optimizer."""
        flat = self.box.evaluate(f"(box) => [...box.widget.runs['{name}'].theta]")
        return [flat[k : k + 2] for k in range(0, len(flat), 2)]

    def steps(self, name: str) -> list[tuple[float, float]]:
        """θ_t − θ_{t−1} for t = 1, 2, …"""
        return [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(self.path(name))]

    def press(self, name: str) -> None:
        self.box.locator(f'[data-do="{name}"]').click()
        self.settle()

    def start_at(self, x: float, y: float) -> None:
        """Drag the start to a point of the plane."""
        self.box.locator(".play-plane").scroll_into_view_if_needed()
        place = """(box, [x, y]) => {
          const { widget } = box, [a, b] = widget.state.start, { plots } = widget;
          return [plots.x(x) - plots.x(a), plots.y(y) - plots.y(b)];
        }"""
        self.drag(".play-ring", tuple(self.box.evaluate(place, [x, y])))

    def level(self, name: str, steps: int) -> float:
        """The mean loss of the last `steps` steps."""
        losses = self.box.evaluate(f"(box) => [...box.widget.runs['{name}'].loss.slice(-{steps})]")
        return float(sum(losses) / steps)

    def take_apart(self, name: str) -> None:
        self.box.locator('[data-select="of"]').select_option(name)
        self.settle()

    def loss(self, name: str, t: int) -> float:
        return float(self.box.evaluate(f"(box) => box.widget.runs['{name}'].loss[{t}]"))

    def arrow(self, part: str) -> list[float]:
        """What is written beside an arrow of the step that is taken apart."""
        text = self.box.locator(f'[data-arrow="{part}"]').evaluate(NUMBERS)
        return [float(x.replace("−", "-").replace("·10", "e").translate(POWER)) for x in text.split(", ")]

    def outs(self) -> tuple[int, int]:
        """Arrows at the edge, where something leaves the picture for good: of the plane and of the losses."""
        return tuple(self.box.locator(f".play-{name} .play-out:not([d=''])").count() for name in ("plane", "loss"))  # type: ignore[return-value]

    def cell(self, name: str, which: str) -> tuple[float, str]:
        """The factor of a direction in a phase diagram, and how θ goes."""
        number, kind = self.box.locator(f'[data-cell="{name} {which}"]').text_content().split(maxsplit=1)
        return float(number), kind

    def worst(self, name: str) -> float:
        return max(self.cell(name, which)[0] for which in ("along", "across"))

    def best(self, name: str) -> None:
        self.box.locator(f'[data-best="{name}"]').click()
        self.settle()

    @property
    def setting(self) -> dict[str, float]:
        return dict(self.box.evaluate("(box) => box.phases.state"))

    def bar(self, name: str) -> tuple[list[float], list[float]]:
        """The ends of a phase diagram's bar, and those of the swinging wedge at its height, in pixels."""
        return tuple(  # type: ignore[return-value]
            self.box.evaluate(
                """(box, name) => {
          const { x, ends } = box.phases.planes.find((plane) => plane.name === name), { mu } = box.phases.state;
          const wedge = [(1 - Math.sqrt(mu)) ** 2, (1 + Math.sqrt(mu)) ** 2].map((at) => x(Math.log10(at)));
          return [ends.map((end) => Number(end.getAttribute("cx"))), wedge];
        }""",
                name,
            )
        )


@pytest.fixture
def play(browser: Any, whole_book: Path) -> Callable[[str, str], AbstractContextManager[Play]]:
    """Opens a chapter's page at one of its widgets; afterwards nothing may have been said on the console."""

    @contextmanager
    def go(chapter: str, name: str) -> Iterator[Play]:
        address = (whole_book / "notebooks" / f"{chapter}.html").as_uri()
        with opened(browser, address, typeset=False) as (tab, seen):
            yield Play(tab, name)
            assert (seen.console, seen.asked) == ([], [])

    return go


#: The widgets of these chapters' *Try it*s: each has its tests below.
TRIED = {
    "01_gradient_descent": ["fig-try-descent", "fig-try-noise"],
    "02_momentum": ["fig-try-momentum", "fig-momentum-phases"],
    "03_nesterov": ["fig-try-nesterov", "fig-phases"],
    "04_adagrad": ["fig-try-adagrad"],
    "05_rmsprop_maxprop": ["fig-try-norms"],
    "06_adam": ["fig-try-adam"],
    "07_adamax": ["fig-try-adamax"],
    "08_nadam": ["fig-try-nadam"],
    "09_nadamax": ["fig-try-nadamax"],
    "10_one_update": ["fig-try-all"],
    "31_second_order": ["fig-try-turned"],
}


@pytest.mark.parametrize("chapter", TRIED)
def test_every_try_it_is_tried(chapter: str) -> None:
    cells = notebooks.read(ROOT / "notebooks" / f"{chapter}.ipynb").cells
    texts = [cell.source for cell in cells if "**Try it.**" in cell.source]
    assert [re.search(r":name: (\S+)", text)[1] for text in texts] == TRIED[chapter]  # type: ignore[index]


def test_chapter_1_the_rate_and_the_floor(play: Any) -> None:
    with play("01_gradient_descent", "fig-try-descent") as it:
        assert it.box.locator("[data-name]").count() == 1  # what the chapter has introduced, and no more
        assert it.box.locator("[data-slide]").count() == 1
        assert not it.box.locator(".play-anatomy").is_visible()
        for rate, grows in ((0.08, -1), (0.1, 0), (0.12, 1)):
            it.slide("lr", rate)
            across = [θ[1] for θ in it.path("GD")]
            last = abs(across[-1])
            assert all(a * b < 0 for a, b in itertools.pairwise(across))  # it swings
            assert [last < 1e-6, last == pytest.approx(1.2), last > 1e3][grows + 1]
            assert it.outs() == ((1, 1) if grows == 1 else (0, 0))
        it.slide("lr", 0.08)
        up = it.box.evaluate("(box) => { const { y } = box.widget.plots; return y(0) - y(1.2); }")
        it.drag(".play-ring", (0, up))
        assert it.path("GD")[0][1] == 0
        for rate in (0.05, 0.08, 0.1):
            it.slide("lr", rate)
            along = [θ[0] for θ in it.path("GD")]
            assert all(b / a > 0.9 - 1e-9 for a, b in itertools.pairwise(along))
        assert next(t for t, θ in enumerate(along) if abs(θ) < abs(along[0]) / 10) == 22


def test_chapter_1_the_floor_of_the_noise(play: Any) -> None:
    with play("01_gradient_descent", "fig-try-noise") as it:

        def levels() -> list[float]:
            found = []
            for _ in range(6):
                it.press("seed")
                found.append(it.level("GD", 20))
            assert len(set(found)) == 6
            return found

        before = levels()
        assert all(1e-3 < level < it.loss("GD", 0) / 50 for level in before)
        it.slide("noise", 2)
        noisy = levels()
        assert min(noisy) > max(before)
        it.slide("lr", 0.04)
        assert sum(levels()) < sum(noisy) / 2


def test_chapter_2_momentum_strays_further(play: Any) -> None:
    with play("02_momentum", "fig-try-momentum") as it:
        it.start_at(0, 0)
        assert it.path("GD")[0] == pytest.approx([0, 0], abs=0.02)
        it.slide("noise", 0.5)
        assert it.level("Momentum", 40) > 2 * it.level("GD", 40)
        heights = "(box) => Math.min(...box.widget.runs['Momentum'].loss.slice(1).map((x) => box.widget.plots.ly(x)))"
        assert it.box.evaluate(heights) >= 0  # within the picture


def test_chapter_2_less_and_more_momentum(play: Any) -> None:
    with play("02_momentum", "fig-try-momentum") as it:
        assert [chip.get_attribute("data-name") for chip in it.box.locator("[data-name]").all()] == ["GD", "Momentum"]
        it.slide("mu", 0)
        assert it.path("Momentum") == it.path("GD")
        late = []
        for μ in (0.5, 0.8, 0.9, 0.95):
            it.slide("mu", μ)
            late.append(max(abs(θ[1]) for θ in it.path("Momentum")[30:]))
        assert late == sorted(late)
        it.slide("lr", 0.12)
        it.slide("mu", 0.4)
        assert it.outs() == (1, 1)
        assert it.loss("GD", 30) > 1e3
        assert it.loss("Momentum", 30) < 1e-6


def test_chapter_2_the_bar_and_the_wedge(play: Any) -> None:
    with play("02_momentum", "fig-momentum-phases") as it:
        assert it.box.locator("[data-phase]").count() == 1
        it.best("Momentum")
        ends, wedge = it.bar("Momentum")
        assert ends == pytest.approx(wedge, abs=0.5)
        assert it.worst("Momentum") == pytest.approx(quadratic.best("Momentum", 20).factor, abs=6e-4)
        tuned = it.setting["mu"]
        it.slide("mu", 0.38)  # lower: the bar sticks out of the wedge at both ends
        assert [it.cell("Momentum", which)[1] for which in ("along", "across")] == ["creeps", "jumps"]
        rate = it.setting["lr"]
        it.slide("kappa", 100)
        ends, wedge = it.bar("Momentum")
        assert ends[0] < wedge[0] - 5 and ends[1] > wedge[1] + 5
        assert it.setting["lr"] < rate
        assert [it.cell("Momentum", which)[1] for which in ("along", "across")] == ["creeps", "diverges"]
        assert it.box.locator('[data-cell="Momentum steps"]').text_content() == "never"
        it.best("Momentum")
        ends, wedge = it.bar("Momentum")
        assert ends == pytest.approx(wedge, abs=0.5)
        assert it.setting["mu"] > tuned


def test_chapter_3_when_the_gradient_turns(play: Any) -> None:
    with play("03_nesterov", "fig-try-nesterov") as it:
        for name, turns in (("NAG", 2), ("Momentum", 3)):
            it.take_apart(name)
            for t in range(1, turns + 1):
                it.step_to(t)
                momentum, gradient = it.arrow("momentum")[1], it.arrow("gradient")[1]
                assert (momentum * gradient < 0) == (t == turns), (name, t)


def test_chapter_3_each_at_its_best(play: Any) -> None:
    with play("03_nesterov", "fig-phases") as it:
        it.best("Momentum")
        momentums, tuned = it.worst("Momentum"), it.setting["mu"]
        ends, wedge = it.bar("Momentum")
        assert ends == pytest.approx(wedge, abs=0.5)
        assert it.cell("NAG", "across")[1] == "diverges"
        assert it.box.locator('[data-cell="NAG steps"]').text_content() == "never"
        it.best("NAG")
        assert momentums < it.worst("NAG") < it.worst("Momentum") < 1
        nags = it.setting["mu"]
        it.slide("kappa", 100)
        for name, before in (("Momentum", tuned), ("NAG", nags)):
            it.best(name)
            assert it.setting["mu"] > before


def test_chapter_8_each_dialect_takes_another_step(play: Any) -> None:
    with play("08_nadam", "fig-try-nadam") as it:
        (x, y), (u, v) = it.arrow("momentum"), it.arrow("gradient")
        assert abs(x * v - y * u) > 0.3 * math.hypot(x, y) * math.hypot(u, v)  # they do not lie on one line
        it.step_to(5)
        steps = {}
        for dialect in DIALECTS:
            it.box.locator('[data-select="dialect"]').select_option(dialect)
            it.settle()
            steps[dialect] = (*it.arrow("momentum"), *it.arrow("gradient"))
        assert len(set(steps.values())) == len(DIALECTS)


def test_chapter_8_the_schedule_is_offered_to_those_who_follow_it(play: Any) -> None:
    with play("08_nadam", "fig-try-nadam") as it:
        schedule, hint = (it.box.locator(f'label:has([data-select="psi"]) {part}') for part in ("select", "small"))
        for dialect, free in (("iclr", True), ("constant", False)):
            it.box.locator('[data-select="dialect"]').select_option(dialect)
            it.settle()
            assert hint.inner_text() == ("schedule" if free else "of the others")
            assert schedule.is_enabled()  # Adam follows it
        it.box.locator('[data-name="Adam"]').click()
        it.settle()
        assert schedule.is_disabled()


def test_chapter_4_ten_times_the_rate(play: Any) -> None:
    with play("04_adagrad", "fig-try-adagrad") as it:
        assert it.box.locator("[data-name]").count() == 2
        before = it.loss("AdaGrad", 60)
        it.slide("lrn", 1)
        lengths = [abs(step[1]) for step in it.steps("AdaGrad")]
        assert it.steps("AdaGrad")[0] == pytest.approx((1, -1))
        assert it.path("AdaGrad")[1][1] < 0  # across the floor
        assert all(b < a for a, b in itertools.pairwise(lengths[:20]))
        assert it.loss("AdaGrad", 20) < 1e-6 < before
        assert it.outs() == (0, 0)
        it.slide("lr", 0.3)
        assert it.outs() == (1, 1)
        assert it.loss("GD", 60) > 1e6


def test_chapter_4_a_turned_ravine(play: Any) -> None:
    with play("04_adagrad", "fig-try-adagrad") as it:
        it.press("best")
        assert it.loss("AdaGrad", 60) < 1e-15 < it.loss("GD", 60)
        it.slide("turn", 45)
        assert it.loss("AdaGrad", 60) > 3 * it.loss("GD", 60)


def test_chapter_5_a_short_memory_and_one_without_end(play: Any) -> None:
    with play("05_rmsprop_maxprop", "fig-try-norms") as it:
        adagrad = it.path("AdaGrad")
        it.slide("nu", 0.5)
        for name in ("RMSProp", "MaxProp"):
            for i in (0, 1):
                last = [θ[i] for θ in it.path(name)[-11:]]
                assert all(a * b < 0 for a, b in itertools.pairwise(last))
                assert [abs(b - a) for a, b in itertools.pairwise(last)] == pytest.approx([0.1] * 10, rel=0.1)
        it.slide("nu", 0.9999)
        first, second, third = sorted(("AdaGrad", "RMSProp", "MaxProp"), key=lambda name: it.loss(name, 60))
        assert (first, second, third) == ("RMSProp", "MaxProp", "AdaGrad")
        for name in ("RMSProp", "MaxProp"):
            assert max(abs(x) for step in it.steps(name)[-10:] for x in step) < 2e-3
        for i in (0, 1):  # gradient descent keeps a constant share of the distance
            shares = [b[i] / a[i] for a, b in itertools.pairwise(it.path("MaxProp"))]
            assert shares == pytest.approx([shares[0]] * 60, rel=0.01)
        assert it.path("AdaGrad") == adagrad


def test_chapter_6_where_the_gradient_is_large(play: Any) -> None:
    with play("06_adam", "fig-try-adam") as it:
        assert it.box.locator("[data-name='AdaMax']").count() == 0
        arrives = {
            name: next(t for t, θ in enumerate(it.path(name)) if abs(θ[0] - 3) + abs(θ[1] - 0.5) < 0.1)
            for name in ("Momentum", "Adam", "RMSProp")
        }
        assert min(arrives, key=lambda name: arrives[name]) == "Momentum"
        it.box.locator(".play-plane").scroll_into_view_if_needed()
        plane = it.box.locator(".play-plane").bounding_box()
        ring = it.box.locator(".play-ring").first.bounding_box()
        corner = (plane["x"] + 0.93 * plane["width"], plane["y"] + 0.85 * plane["height"])
        it.drag(".play-ring", (corner[0] - ring["x"], corner[1] - ring["y"]))
        at = it.path("Adam")[0]
        assert at[0] > 3.5
        assert at[1] < -1.4
        assert it.outs()[0] == 1
        assert not it.loss("Momentum", 60) < 1e6
        for name in ("RMSProp", "Adam"):
            assert [abs(x) for x in it.steps(name)[0]] == pytest.approx([0.08, 0.08], rel=1e-3)
            assert it.loss(name, 300) < it.loss(name, 0) / 100
        it.take_apart("Adam")
        it.step_to(1)
        assert [abs(x) for x in it.arrow("whole")] == pytest.approx([0.08, 0.08], rel=0.01)


def test_chapter_6_noise_is_averaged(play: Any) -> None:
    with play("06_adam", "fig-try-adam") as it:
        it.slide("noise", 0.5)
        for _ in range(3):
            lengths = {name: sum(math.hypot(*step) for step in it.steps(name)[-100:]) for name in ("RMSProp", "Adam")}
            assert lengths["RMSProp"] > 3 * lengths["Adam"]
            assert it.level("RMSProp", 30) > it.level("Adam", 30)
            it.step_to(300)
            last = {}
            for name in lengths:
                it.take_apart(name)
                last[name] = math.hypot(*it.arrow("whole"))
            assert last["RMSProp"] > 3 * last["Adam"]
            it.press("seed")


def test_chapter_6_a_turned_ravine(play: Any) -> None:
    with play("06_adam", "fig-try-adam") as it:
        it.box.locator('[data-select="surface"]').select_option("ravine")
        it.settle()
        it.start_at(-1.2, 0.6)
        before = {name: it.loss(name, 60) for name in ("RMSProp", "Adam")}
        it.slide("turn", 45)
        assert it.loss("RMSProp", 60) > 1e6 * before["RMSProp"]
        assert it.loss("Adam", 60) > 2 * before["Adam"]


def test_chapter_7_what_the_wall_leaves_behind(play: Any) -> None:
    with play("07_adamax", "fig-try-adamax") as it:
        lengths = {}
        it.step_to(60)
        for name in ("Adam", "AdaMax"):
            it.take_apart(name)
            lengths[name] = math.hypot(*it.arrow("whole"))
        assert lengths["AdaMax"] < 0.75 * lengths["Adam"]
        before = {name: it.loss(name, 300) for name in lengths}
        it.slide("nu", 0.9)
        for name, loss in before.items():
            assert it.loss(name, 300) < loss / 4


def test_chapter_9_the_overshoot(play: Any) -> None:
    with play("09_nadamax", "fig-try-nadamax") as it:
        it.slide("lrn", 0.02)
        apart = [math.dist(a, b) for a, b in zip(it.path("AdaMax"), it.path("NadaMax"), strict=True)]
        assert max(apart) < 0.03
        for rate in (0.05, 0.1, 0.2, 0.3, 0.5):
            it.slide("lrn", rate)
            past = {name: (max(θ[0] for θ in it.path(name)), -min(θ[1] for θ in it.path(name))) for name in it.shown}
            for plain, ahead in zip(past["AdaMax"], past["NadaMax"], strict=True):
                assert plain > ahead > 0


def test_chapter_10_which_numbers_are_zero(play: Any) -> None:
    with play("10_one_update", "fig-try-all") as it:
        assert it.shown == list(RULES)
        for name, rule in RULES.items():
            it.take_apart(name)
            a, c = (it.box.locator(f'[data-number="{key}"]').text_content() for key in "ac")
            assert (a == "0") == (rule.momentum == "none")
            assert (c == "0") == (rule.momentum != "none" and not rule.nesterov)
            if name != "AdaGrad":
                assert it.loss(name, 120) < 1e-3  # in one of the two minima


def test_chapter_31_who_notices_the_turn(play: Any) -> None:
    with play("31_second_order", "fig-try-turned") as it:
        last = 60
        before = {name: it.loss(name, last) for name in it.shown}
        lead = {name: before["GD"] / before[name] for name in ("AdaGrad", "Nadam")}
        assert min(lead.values()) > 1e15
        halfway = next(t for t in range(last) if it.loss("AdaGrad", t) < 1e-12)
        for turn in (15, 45):
            it.slide("turn", turn)
            assert it.loss("Newton", 1) < 1e-25
            assert it.loss("full-matrix AdaGrad", last) < 1e-24
        assert it.loss("AdaGrad", last) > it.loss("GD", last)
        assert 1 < it.loss("GD", last) / it.loss("Nadam", last) < lead["Nadam"] ** 0.2
        assert next(t for t in range(last) if it.loss("full-matrix AdaGrad", t) < 1e-12) < 1.25 * halfway
        assert it.box.locator('[data-name="Newton"] small').text_content() == ""  # it has no rate


def test_chapter_31_adam_is_slow_at_every_angle(play: Any) -> None:
    with play("31_second_order", "fig-try-turned") as it:
        it.box.locator('[data-name="Adam"]').click()
        it.settle()
        nadam = it.loss("Nadam", 60)
        for turn in (0, 20, 45):
            it.slide("turn", turn)
            assert 1e-6 < it.loss("Adam", 60) < 1e-4
        assert nadam < 1e-20


def test_chapter_31_newton_stays_on_the_saddle(play: Any) -> None:
    with play("31_second_order", "fig-try-turned") as it:
        it.box.locator('[data-select="surface"]').select_option("saddle")
        it.settle()
        assert it.path("Newton")[5:] == [[0, 0]] * 116
        assert all(it.loss(name, 120) < 1e-20 for name in it.shown if name != "Newton")
        assert it.loss("Newton", 120) == 0.25


@pytest.mark.parametrize(("chapter", "name"), [("02_momentum", "fig-momentum-phases"), ("03_nesterov", "fig-phases")])
def test_the_bar_follows_mouse_and_keys(play: Any, chapter: str, name: str) -> None:
    with play(chapter, name) as it:
        it.box.locator(".phase-plane").first.scroll_into_view_if_needed()
        before = it.setting
        it.drag(".phase-bar", (20, 30))
        after = it.setting
        assert after["lr"] > before["lr"]
        assert after["mu"] < before["mu"]
        it.box.locator(".play-handle").last.focus()
        for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowUp"):
            it.tab.keyboard.press(key)
        it.settle()
        assert it.setting["lr"] == pytest.approx(after["lr"] * 10**-0.05, rel=0.01)
        assert it.setting["mu"] == pytest.approx(after["mu"] + 0.06, abs=2e-3)
        it.tab.wait_for_function(f"() => document.querySelector('#{name} [role=status]').textContent")
        heard = it.box.locator("[role=status]").text_content()
        assert it.box.locator('[data-cell="Momentum along"]').text_content() in heard

"""The widget in a browser, on a page that the book's own build made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from browser import AXE, COLOURS_ONLY, RUN_AXE, opened, served
from small_book import Built

from nadam_ref.book.widgets import presets
from nadam_ref.book.widgets.presets import State
from nadam_ref.book.widgets.surfaces import SURFACES
from nadam_ref.rules import DIALECTS, RULES, scalars

LANDING = presets.PRESETS["landing"][1]
Open = Callable[..., "Page"]


class Page:
    """The first widget of the landing page, as a reader has it."""

    def __init__(self, context: Any, built: Built, fragment: str = "") -> None:
        self.console: list[str] = []
        self.asked: list[str] = []
        self.tab = context.new_page()
        self.tab.on("console", lambda line: self.console.append(line.text) if line.type in ("error", "warning") else 0)
        self.tab.on("pageerror", lambda error: self.console.append(str(error)))
        self.tab.on(
            "request", lambda r: 0 if r.url.startswith(("file:", "data:", "blob:")) else self.asked.append(r.url)
        )
        address = (built.root / "_build" / "html" / "book" / "index.html").as_uri()
        self.tab.goto(address + fragment, wait_until="load")
        self.widget = self.tab.locator("#fig-play .play")

    def settle(self) -> None:
        """Until what was asked for is drawn."""
        self.tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def press(self, name: str) -> None:
        self.widget.locator(f'[data-do="{name}"]').click()
        self.settle()

    def text(self, selector: str) -> str:
        return str(self.widget.locator(selector).text_content())

    def loss(self, name: str) -> str:
        return self.text(f'[data-name="{name}"] i')

    @property
    def step(self) -> int:
        return int(self.text(".play-step").split("/")[0])

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.tab.evaluate("() => document.querySelector('#fig-play .play').widget.state"))

    def centre(self) -> tuple[float, float]:
        box = self.widget.locator(".play-ring").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.fixture
def visit(browser: Any, built: Built) -> Iterator[Open]:
    """Opens the page; afterwards nothing may have been said on the console or asked of another host."""
    opened = []

    def go(fragment: str = "", reduced_motion: str = "reduce", init: str = "", **settings: Any) -> Page:
        size = {"width": 1280, "height": 1000}
        context = browser.new_context(**{"viewport": size, "reduced_motion": reduced_motion, **settings})
        context.add_init_script(f"for (const k of ['mode', 'theme']) localStorage.setItem(k, 'light'); {init}")
        opened.append((context, page := Page(context, built, fragment)))
        return page

    yield go
    for context, page in opened:
        assert (page.console, page.asked) == ([], [])
        context.close()


def number(text: str) -> float:
    """The number that a text shows: 1.2·10⁻⁵ is 1.2e-5."""
    plain = text.replace("−", "-").replace("∞", "inf")
    if "·10" in plain:
        lead, power = plain.split("·10")
        plain = f"{lead}e{power.translate(str.maketrans('⁰¹²³⁴⁵⁶⁷⁸⁹⁻', '0123456789-'))}"
    return float(plain)


def rounded(x: float, digits: int) -> float:
    return float(f"{x:.{digits - 1}e}")


def fragment(state: State) -> str:
    """The link to a state."""
    parts = {
        **{"f": state.surface, "show": ",".join(state.show), "start": f"{state.start[0]},{state.start[1]}"},
        **{"lr": state.lr, "lrn": state.lrn, "mu": state.mu, "nu": state.nu, "dialect": state.dialect},
        **{"psi": "none" if state.psi is None else state.psi, "of": state.of, "t": state.t},
        **{"turn": state.turn, "noise": state.noise, "seed": state.seed, "best": str(state.best).lower()},
    }
    return "#w=fig-play&" + "&".join(f"{key}={value}" for key, value in parts.items())


def rate_of(state: State, name: str) -> float:
    """η of an optimizer that is shown."""
    if state.best:
        return presets.best_rates(state)[name]
    return state.lr if RULES[name].norm == "none" else state.lrn


def six(state: State) -> dict[str, float | None]:
    """The numbers of step t of the optimizer that is taken apart, from `rules`; None where the rule reads none."""
    rule, kind, product = RULES[state.of], DIALECTS[state.dialect], 1.0
    dialects = rule.nesterov and rule.momentum == "mean"
    psi = kind.momentum_decay if dialects and not kind.free_schedule else state.psi
    rate = rate_of(state, state.of)
    options = {"momentum_decay": psi, "bias_correction": True, "dialect": state.dialect}
    for t in range(1, state.t + 1):
        found, product = scalars(rule, t, product, lr=rate, mu=state.mu, nu=state.nu, **options)
    wanted = {**found._asdict(), "eta": found.lr}
    del wanted["lr"]
    unread = {"mu": rule.momentum == "none", "nu": rule.norm in ("none", "sum")}
    return {key: None if unread.get(key) else value for key, value in wanted.items()}


STATES = [
    presets.on("ravine", *RULES, of="NAG", t=7),
    presets.on("rosenbrock", "GD", "Adam", "Nadam", dialect="cs229", psi=0.004, t=90),
    presets.on("beale", "AdaGrad", "RMSProp", "NadaMax", dialect="choi", t=33, mu=0.95, nu=0.999),
    presets.on("saddle", "MaxProp", "AdaMax", "Adam", psi=0.004, t=64),
    presets.on("ravine", *RULES, t=40, turn=35, noise=0.5, seed=3),
    presets.on("ravine", "GD", "Momentum", "RMSProp", "Adam", "Nadam", t=40, turn=45, noise=0.2, best=True),
]


@pytest.mark.parametrize("state", STATES, ids=lambda state: f"{state.surface}-{state.turn}-{state.best}")
def test_what_it_says_is_what_python_says(visit: Open, state: State) -> None:
    page = visit(fragment(state))
    assert page.step == state.t
    for name, path in presets.paths(state).items():
        loss = float(SURFACES[state.surface].turned(state.turn).f(path)[state.t])
        digits = 1 if loss < 1e-3 or loss >= 1e4 else 2
        assert number(page.loss(name)) == rounded(loss, digits), name
        rate = page.text(f'[data-name="{name}"] small')
        assert rate == "" if not state.best else number(rate.removeprefix("η ")) == rate_of(state, name)
    for key, value in six(state).items():
        said = page.text(f'[data-number="{key}"]')
        assert said == "–" if value is None else number(said) == rounded(value, 4), key
    path = presets.paths(state)[state.of]
    moved = [number(text) for text in page.text('[data-arrow="whole"]').removeprefix("step: ").split(", ")]
    assert moved == [rounded(x, 2) for x in path[state.t] - path[state.t - 1]]


def test_it_plays_by_itself_once_and_pauses(visit: Open) -> None:
    page = visit(reduced_motion="no-preference")
    ended = (
        "() => { const w = document.querySelector('#fig-play .play').widget; return w.state.t === w.T && !w.playing; }"
    )
    page.tab.wait_for_function(ended)
    page.widget.locator("[data-scrub]").fill("3")
    said = page.widget.locator('[data-do="play"]').evaluate("""async (button) => {
      const frame = () => new Promise(requestAnimationFrame), said = [];
      button.click();
      for (let k = 0; k < 3; k++) await frame();
      said.push(button.textContent);
      button.click();
      await frame();
      return [...said, button.textContent];
    }""")
    assert said == ["Pause", "Play"]
    assert 3 <= page.step < SURFACES["ravine"].steps
    assert page.state["t"] == page.step
    page.press("play")
    page.tab.wait_for_function(ended)
    assert page.step == SURFACES["ravine"].steps


def test_who_prefers_no_motion_steps(visit: Open) -> None:
    page = visit()
    page.tab.wait_for_timeout(200)
    assert page.step == LANDING.t
    assert not page.widget.locator('[data-do="play"]').is_visible()
    page.press("step")
    assert page.step == LANDING.t + 1
    page.press("back")
    page.press("back")
    assert page.step == LANDING.t - 1
    assert page.widget.locator("[data-scrub]").get_attribute("aria-valuetext") == f"{LANDING.t - 1} of 60"
    assert page.widget.locator("[data-scrub]").get_attribute("aria-valuetext") == f"{LANDING.t - 1} of 60"
    page.widget.locator("[data-scrub]").focus()
    page.tab.keyboard.press("End")
    page.settle()
    assert page.step == SURFACES["ravine"].steps
    page.press("reset")
    assert page.step == LANDING.t


def test_the_start_follows_the_mouse_and_the_paths_follow_the_start(visit: Open) -> None:
    page = visit()
    x, y = page.centre()
    page.tab.mouse.move(x, y)
    page.tab.mouse.down()
    page.tab.mouse.move(x + 60, y + 40, steps=4)
    page.tab.mouse.up()
    page.settle()
    assert page.centre() == pytest.approx((x + 60, y + 40), abs=2)
    start = page.state["start"]
    assert start[0] > LANDING.start[0]
    assert start[1] < LANDING.start[1]
    moved = State(**{**vars(LANDING), "start": tuple(start)})
    loss = SURFACES["ravine"].f(presets.paths(moved)["NAG"])[LANDING.t]
    assert number(page.loss("NAG")) == rounded(float(loss), 2)


def test_the_start_follows_a_finger(visit: Open) -> None:
    page = visit(viewport={"width": 390, "height": 800}, has_touch=True)
    page.widget.locator(".play-plane").scroll_into_view_if_needed()
    x, y = page.centre()
    touch = page.tab.context.new_cdp_session(page.tab)
    for kind, dx in (("touchStart", 0), ("touchMove", 15), ("touchMove", 30)):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x + dx, "y": y + dx}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.settle()
    assert page.centre() == pytest.approx((x + 30, y + 30), abs=2)


def test_the_start_follows_the_arrow_keys(visit: Open) -> None:
    page = visit()
    page.widget.locator(".play-handle").focus()
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowDown"):
        page.tab.keyboard.press(key)
    page.settle()
    assert page.state["start"] == pytest.approx([-1.1, 0.39])
    assert page.tab.evaluate("() => document.activeElement.getAttribute('aria-label')").startswith("Start, −1.1, 0.39.")


def test_the_keyboard_reaches_every_control(visit: Open) -> None:
    page = visit()
    wanted = page.widget.locator("button:visible, select, input, .play-handle").count()
    page.tab.evaluate("() => { const w = document.querySelector('#fig-play .play'); w.tabIndex = -1; w.focus(); }")
    seen = set()
    for _ in range(wanted):
        page.tab.keyboard.press("Tab")
        inside = "() => { const e = document.activeElement; return e.closest('#fig-play .play') ? e.outerHTML : ''; }"
        seen.add(page.tab.evaluate(inside))
    assert len(seen - {""}) == wanted


def test_one_chooses_what_is_shown(visit: Open) -> None:
    page = visit()
    for name in set(RULES) - set(LANDING.show):
        page.widget.locator(f'[data-name="{name}"]').click()
    page.settle()
    assert page.state["show"] == list(RULES)
    assert page.widget.locator(".play-plane .play-head").count() == len(RULES)
    for name in RULES:
        page.widget.locator(f'[data-name="{name}"]').click()
    page.settle()
    assert page.state["show"] == ["NadaMax"]  # the last one stays
    assert page.state["of"] == "NadaMax"


def test_a_path_that_diverges_is_shown_as_such(visit: Open) -> None:
    page = visit(fragment(presets.on("rosenbrock", "GD", "Adam", lr=1.0, t=100)))
    assert page.loss("GD") == "∞"
    assert number(page.loss("Adam")) < 100
    page.press("step")
    assert page.step == 101
    drawn = page.widget.locator(".play-plane .play-ghost").first.get_attribute("d")
    assert max(map(abs, map(float, re.findall(r"-?[\d.]+", drawn)))) < 1e5
    for plot in ("plane", "loss"):
        (out,) = page.widget.locator(f".play-{plot} .play-out").all()
        assert out.get_attribute("d")
    assert page.text(".play-loss").endswith("GD → ∞")
    levels = page.widget.locator(".play-loss .play-ghost").first.get_attribute("d")
    assert float(levels.split()[-1]) < 0  # out through the upper edge, and no plateau along it


def test_a_link_restores_the_state(visit: Open) -> None:
    page = visit()
    page.widget.locator('[data-select="surface"]').select_option("saddle")
    page.widget.locator('[data-slide="mu"]').fill("9")
    page.widget.locator('[data-select="dialect"]').select_option("keras3")
    page.widget.locator('[data-select="psi"]').select_option("0.004")
    page.widget.locator('[data-name="NadaMax"]').click()
    page.press("step")
    page.widget.locator('[data-slide="turn"]').fill("6")
    page.widget.locator('[data-slide="noise"]').fill("4")
    page.press("seed")
    page.press("best")
    page.press("link")
    kept = page.state
    assert (kept["turn"], kept["noise"], kept["seed"], kept["best"]) == (30, 0.1, 2, True)
    assert kept["dialect"] == "keras3"
    link = page.tab.url.partition("#")[2]
    again = visit(f"#{link}")
    assert again.state == kept
    assert again.widget.locator(".play-plane").inner_html() == page.widget.locator(".play-plane").inner_html()
    again.tab.evaluate("() => { location.hash = '#w=fig-play&f=beale&t=5'; }")
    again.tab.wait_for_function("() => document.querySelector('#fig-play .play-step').textContent === '5 / 300'")


def test_moving_a_rate_ends_the_best_ones(visit: Open) -> None:
    page = visit()
    page.press("best")
    button = page.widget.locator('[data-do="best"]')
    assert button.get_attribute("aria-pressed") == "true"
    shown = page.widget.locator('[data-slide="lr"] + output')
    assert shown.text_content() == "best"
    assert page.text('[data-name="GD"] small') == f"η {presets.best_rates(LANDING)['GD']}"
    page.widget.locator('[data-slide="mu"]').fill("5")
    page.settle()
    assert page.state["best"]  # and follows what else is moved
    moved = State(**{**vars(LANDING), "mu": page.state["mu"]})
    assert page.text('[data-name="NAG"] small') == f"η {presets.best_rates(moved)['NAG']}"
    page.widget.locator('[data-slide="lrn"]').focus()
    page.tab.keyboard.press("ArrowRight")
    page.settle()
    assert not page.state["best"]
    assert float(shown.text_content()) == LANDING.lr
    assert page.text('[data-name="GD"] small') == ""
    assert button.get_attribute("aria-pressed") == "false"


def test_new_noise_is_offered_where_there_is_some(visit: Open) -> None:
    page = visit()
    button = page.widget.locator('[data-do="seed"]')
    assert not button.is_visible()
    page.widget.locator('[data-slide="noise"]').fill("5")
    page.settle()
    before = page.widget.locator(".play-plane").inner_html()
    page.press("seed")
    assert page.state["seed"] == 2
    assert page.widget.locator(".play-plane").inner_html() != before


@pytest.mark.parametrize(
    "text",
    [
        "#w=fig-play",
        "#w=fig-play&f=plain&show=SGD&start=1,&lr=-1&mu=NaN&dialect=x&psi=&of=&t=1e9",
        "#w=fig-play&turn=91&noise=-1&seed=a&best=toString",
        "#w=other&t=9",
        "#%",
    ],
)
def test_a_malformed_link_is_the_preset(visit: Open, text: str) -> None:
    assert visit(text).state == visit().state


def test_who_listens_hears_the_losses_once_it_rests(visit: Open) -> None:
    page = visit()
    for _ in range(3):
        page.press("step")
    said = page.widget.locator('[role="status"]')
    page.tab.wait_for_function("() => document.querySelector('#fig-play [role=status]').textContent")
    losses = ", ".join(f"{name} {page.loss(name)}" for name in LANDING.show)
    assert said.text_content() == f"Step {LANDING.t + 3}. Loss: {losses}."


def test_what_is_embedded_elsewhere_is_the_widget_as_it_is_here(browser: Any, built: Built) -> None:
    console: list[str] = []
    asked: list[str] = []
    with (
        served(built.html) as address,
        closing(browser.new_context(color_scheme="dark")) as it,
    ):
        it.on("request", lambda r: asked.append(r.url))
        here = it.new_page()
        here.goto(f"{address}/book/index.html")
        widget = here.locator("#fig-play .play")
        widget.locator('[data-name="AdaMax"]').click()
        widget.locator('[data-slide="turn"]').fill("9")
        for name in ("best", "step", "embed"):
            widget.locator(f'[data-do="{name}"]').click()
        field = widget.locator(".play-embed")
        snippet = field.input_value()
        assert field.evaluate("(e) => e.value.slice(e.selectionStart, e.selectionEnd)") == snippet
        wanted = widget.evaluate("(box) => [box.widget.state, box.widget.rates]")
        widget.locator('[data-do="embed"]').click()
        assert not field.is_visible()

        elsewhere = it.new_page()
        elsewhere.on("console", lambda line: console.append(line.text))
        elsewhere.on("pageerror", lambda error: console.append(str(error)))
        elsewhere.set_content(f"<!doctype html><title>Elsewhere</title><p>{'An article. ' * 99}</p>{snippet}")
        frame = elsewhere.locator("iframe")
        assert frame.get_attribute("src").startswith(f"{address}/embed/optimizers.html#w=alone&")
        assert "Five optimizers" in frame.get_attribute("title")
        assert frame.get_attribute("loading") == "lazy"
        inside = elsewhere.frame_locator("iframe")
        assert inside.locator(".play").evaluate("(box) => [box.widget.state, box.widget.rates]") == wanted
        assert inside.locator('[data-do="embed"]').count() == 0
        root = inside.locator("html")
        assert root.evaluate("(e) => e.scrollHeight <= window.innerHeight + 1 && e.scrollWidth <= window.innerWidth")
        assert root.get_attribute("data-theme") == "dark"
        credit = inside.locator("footer a").first
        assert credit.evaluate("(a) => a.href") == f"{address}/index.html"
        assert credit.get_attribute("target") == "_top"
        assert elsewhere.evaluate("() => window.scrollY") == 0
    assert console == []
    assert {url for url in asked if not url.startswith((address, "data:", "blob:"))} == set()


@pytest.mark.parametrize("name", ["descent", "nobody", "constructor"])
def test_the_page_alone_has_the_parts_of_its_preset(browser: Any, built: Built, name: str) -> None:
    with opened(browser, f"{(built.html / 'embed' / 'optimizers.html').as_uri()}#w=alone&p={name}") as (tab, seen):
        sliders = [e.get_attribute("data-slide") for e in tab.locator("[data-slide]").all()]
        assert sliders == list(presets.PARTS.get(name, presets.WHOLE).sliders)
        assert tab.evaluate("() => document.querySelector('.play').widget.state.t") == (4 if name == "descent" else 20)
        tab.evaluate(AXE)
        assert tab.evaluate(RUN_AXE, {}) == []
        darken_alone(tab)
        assert tab.evaluate(RUN_AXE, COLOURS_ONLY) == []
        assert (seen.console, seen.asked) == ([], [])


def darken_alone(tab: Any) -> None:
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")


#: How much lighter or darker than the page the sample of each unselected optimizer is.
CONTRASTS = """(box) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 })
    .getContext("2d", { willReadFrequently: true });
  const light = (...colours) => {
    canvas.globalAlpha = 1;
    for (const [colour, alpha] of colours) {
      Object.assign(canvas, { fillStyle: colour, globalAlpha: alpha });
      canvas.fillRect(0, 0, 1, 1);
    }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((x) => x / 255)
      .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = [getComputedStyle(document.body).backgroundColor, 1];
  return [...box.querySelectorAll('.play-chip[aria-pressed="false"] .play-sample')].map((sample) => {
    const ink = getComputedStyle(sample.querySelector(".play-line")).stroke, { opacity } = getComputedStyle(sample);
    const [dark, bright] = [light(ground), light(ground, [ink, Number(opacity)])].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  });
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_samples_of_what_is_not_shown_can_be_seen(visit: Open, theme: str) -> None:
    page = visit()
    page.tab.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    page.widget.locator('[data-name="Momentum"]').click()
    found = page.widget.evaluate(CONTRASTS)
    assert len(found) == len(RULES) - len(LANDING.show) + 1
    assert min(found) >= 3


def test_without_javascript_and_on_paper_there_is_a_picture(visit: Open) -> None:
    page = visit(java_script_enabled=False)
    picture = page.tab.locator("#fig-play img")
    assert picture.is_visible()
    assert "Five optimizers" in picture.get_attribute("alt")
    assert not page.widget.is_visible()
    live = visit()
    assert not live.tab.locator("#fig-play img").is_visible()
    live.tab.emulate_media(media="print")
    assert live.tab.locator("#fig-play img").is_visible()
    assert not live.widget.is_visible()


#: Collects what moves up or down after it was painted. (The theme moves letters sideways by a pixel or two.)
WATCH = """
  window.moved = [];
  new PerformanceObserver((list) => {
    for (const { sources } of list.getEntries()) {
      const far = sources.filter(({ previousRect: a, currentRect: b }) => Math.abs(a.y - b.y) > 1);
      window.moved.push(...far.map((source) => source.node));
    }
  }).observe({ type: "layout-shift", buffered: true });
"""


def test_nothing_moves_when_it_appears(visit: Open) -> None:
    page = visit(init=WATCH)
    page.tab.wait_for_timeout(200)
    ours = "(box) => window.moved.filter((node) => box.contains(node)).length"
    assert page.tab.locator("#fig-play").evaluate(ours) == 0
    page.tab.evaluate("() => document.querySelector('.bd-article').prepend(document.createElement('hr'))")
    page.tab.wait_for_function("() => window.moved.length > 0")  # it does watch


def test_options_replace_what_the_preset_says(visit: Open) -> None:
    page = visit()
    second = page.tab.locator(".play").nth(1)
    said = second.evaluate("(box) => [box.widget.state.show, box.widget.state.surface, box.firstChild.clientHeight]")
    assert said == [["AdaMax", "NadaMax"], "beale", 280]
    assert page.text("~ figcaption .caption-number").strip() == "Fig. 1"

"""The animations for slides: what they show at each moment, in a browser and in the GIF."""

from __future__ import annotations

import io
import itertools
import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import opened
from docutils.parsers.rst import DirectiveError
from PIL import Image
from small_book import Built

from nadam_ref.book.cells import figures
from nadam_ref.book.extension import animations
from nadam_ref.book.extension.animations import SCENES, Scene
from nadam_ref.book.extension.facts import Animated
from nadam_ref.book.widgets import presets
from nadam_ref.rules import RULES

CREDIT = "The authors. CC BY 4.0"


@cache
def made(name: str) -> tuple[Scene, str, bytes]:
    """A scene, as SVG and as GIF."""
    figures.use_style()
    scene = SCENES[name][0]()
    gif = scene.gif(CREDIT)
    return scene, scene.svg("A title & more", CREDIT), gif  # the axes stay where the SVG has them


@pytest.mark.parametrize("name", SCENES)
def test_it_is_small_and_says_whose_it_is(name: str) -> None:
    _, svg, gif = made(name)
    assert len(svg.encode()) < 150_000
    root = ET.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert [root.find(f"{space}{tag}").text for tag in ("title", "desc")] == ["A title & more", CREDIT]  # type: ignore[union-attr]
    assert "http" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", svg)  # it asks nobody
    assert len(gif) < 400_000
    assert Image.open(io.BytesIO(gif)).info["comment"] == CREDIT.encode()


@pytest.mark.parametrize("name", SCENES)
def test_the_gif_lasts_as_long_as_the_scene_and_ends_with_a_rest(name: str) -> None:
    scene, _, gif = made(name)
    image, times, seen = Image.open(io.BytesIO(gif)), [], set()
    for frame in range(image.n_frames):
        image.seek(frame)
        times.append(image.info["duration"])
        seen.add(image.convert("RGB").tobytes())
    assert sum(times) == pytest.approx(1000 * (scene.frames / scene.rate + scene.rest), rel=0.05)
    assert times[-1] >= 1000 * scene.rest
    assert len(seen) == image.n_frames


#: Stops the clock of the picture at a time, in seconds; the places of the markers that can be seen then.
AT = """(seconds) => {
  for (const animation of document.getAnimations()) {
    animation.pause();
    animation.currentTime = 1000 * seconds;
  }
  const marks = [...document.querySelectorAll('g[class^="p"] use[x][y]')];
  const seen = marks.filter((e) => getComputedStyle(e).visibility === "visible");
  return seen.map((e) => [e.x.baseVal.value, e.y.baseVal.value]);
}"""


def places(scene: Scene, frame: int) -> list[list[float]]:
    """Where the ten methods are after so many steps, in the SVG's points."""
    state = presets.on("ravine", *RULES, start=figures.OFF_DIAGONAL, best=True)
    picture = scene.picture
    at = [picture.axes[0].transData.transform(path[frame]) for path in presets.paths(state).values()]
    scale = 72 / picture.dpi
    return [[x * scale, picture.get_figheight() * 72 - y * scale] for x, y in at]


def within(found: list[list[float]], wanted: list[list[float]]) -> None:
    for place in wanted:
        assert min(np.hypot(*np.subtract(found, place).T)) < animations.SMALL + 0.1, place


def test_each_method_is_where_it_is_after_that_step(browser: Any, tmp_path: Path) -> None:
    figures.use_style()
    scene, file = animations.ten_methods(), tmp_path / "ten-methods.svg"
    file.write_text(scene.svg("Ten methods", CREDIT), encoding="utf-8")
    with opened(browser, file.as_uri()) as (tab, seen):
        tab.emulate_media(reduced_motion="no-preference")
        for frame in (0, 1, 7, 20, 60):
            found = tab.evaluate(AT, (frame + 0.5) / scene.rate)
            assert len(found) == len(RULES)
            within(found, places(scene, frame))
        tab.emulate_media(reduced_motion="reduce")
        assert tab.evaluate("() => document.getAnimations().length") == 0
        found = tab.evaluate(AT, 0)
        assert len(found) == len(RULES)
        within(found, places(scene, scene.frames - 1))
        assert (seen.console, seen.asked) == ([], [])


def test_the_page_shows_each_as_a_still_and_leads_to_its_files(built: Built) -> None:
    page = (built.html / "book" / "cite.html").read_text(encoding="utf-8")
    for name in SCENES:
        assert f'id="fig-animation-{name}"' in page
        for kind in ("svg", "gif"):
            assert f'href="../animations/{name}.{kind}"' in page
            assert b"CC BY 4.0" in (built.html / "animations" / f"{name}.{kind}").read_bytes()


def test_a_name_that_is_no_animation_is_refused_with_those_that_are() -> None:
    directive = Animated.__new__(Animated)
    directive.arguments = ["warmup"]
    with pytest.raises(DirectiveError) as failure:
        directive.run()
    assert failure.value.msg == "no animation is called 'warmup'; there are: ten-methods, regrouping, warm-up"


def test_the_brackets_move_on_by_one_brick() -> None:
    scene = animations.regrouping(steps=2)
    lines = {(first, last): [] for _, first, last in scene.parts}
    for artist, first, last in scene.parts:
        if hasattr(artist, "get_xdata"):
            lines[first, last].append((min(artist.get_xdata()), max(artist.get_xdata()), artist.get_ydata()[0] > 0))
    at = lambda frame: [line for (first, last), found in lines.items() if first <= frame < last for line in found]  # noqa: E731
    ends = scene.picture.data["end of each brick"]
    last = at(scene.frames - 1)
    for t in (0, 1):
        for above, first in ((True, 2 * t), (False, 2 * t + 1)):
            (bracket,) = [b for b in last if b[2] == above and abs(b[0] - ends[first]) < 0.1]
            assert bracket[1] == pytest.approx(ends[first + 2], abs=0.1)
    assert at(0) == []
    below = [sorted(b[0] for b in at(frame) if not b[2]) for frame in range(scene.frames)]
    moved = [places for places in below if places]
    assert moved[0] == pytest.approx(sorted(b[0] for b in last if b[2]))  # it begins as Adam's
    assert all(b[0] >= a[0] for a, b in itertools.pairwise(moved))


def test_the_warm_up_draws_what_the_boxes_step() -> None:
    data = made("warm-up")[0].picture.data
    t = data["step"]
    assert data["μ_t"] == pytest.approx(0.99 * (1 - 0.5 * 0.96 ** (t / 250)))
    power = 0.99**t  # with m = 1 − μᵗ the step is μ m / (1 − μᵗ⁺¹) + (1 − μ) / (1 − μᵗ)
    assert data["constant"] == pytest.approx(0.99 * (1 - power) / (1 - 0.99 * power) + 0.01 / (1 - power))

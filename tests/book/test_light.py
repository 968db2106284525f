"""What a page loads of a figure: smaller than what matplotlib writes, and the same to the eye."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from nadam_ref.book.cells import figures
from nadam_ref.book.light import light


def picture() -> str:
    figures.use_style()
    drawn = figures.Picture(figsize=(5.0, 3.0))
    ax = drawn.subplots()
    x = np.linspace(0, 1, 60)
    ax.plot(x, np.sin(math.tau * x), "o-", label=r"$\sqrt{\hat n} + \varepsilon$", alpha=0.5)
    ax.fill_between(x, -x, x, alpha=0.2)
    ax.set(xlabel="η", title="Reads as before", yscale="symlog")
    ax.legend()
    return drawn._repr_svg_()


def seen(browser: Any, svg: str) -> Any:
    tab = browser.new_page(viewport={"width": 500, "height": 320})
    tab.set_content(f"<body style='margin:0;background:white'>{svg[svg.index('<svg') :]}</body>")
    image = Image.open(io.BytesIO(tab.screenshot())).convert("L")
    tab.close()
    return np.asarray(image, dtype=float)


def test_a_light_figure_looks_as_before(browser: Any) -> None:
    before = picture()
    after = light(before)
    assert len(after) < 0.65 * len(before)
    one, other = seen(browser, before), seen(browser, after)
    assert one.std() > 10  # something is drawn
    assert np.abs(one - other).mean() < 0.3
    assert (np.abs(one - other) > 64).mean() < 1e-3


def test_it_is_the_same_every_time() -> None:
    assert light(picture()) == light(picture())

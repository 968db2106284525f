"""The row of bricks: the brackets hold what the two updates add."""

from __future__ import annotations

from nadam_ref.book.cells.bricks import bricks


def test_each_bracket_holds_the_terms_of_its_step() -> None:
    figure = bricks("Adam", "Nadam", steps=2)
    ax = figure.axes[0]
    boxes = [patch for patch in ax.patches if not patch.get_fill()]
    names = [text for text in ax.texts if "step" not in text.get_text()]
    within: dict[str, str] = {}
    for text in (text for text in ax.texts if "step" in text.get_text()):
        x, y = text.get_position()
        near = [line for line in ax.lines if abs(line.get_ydata()[1] - y) < 0.2]
        line = next(line for line in near if abs(sum(line.get_xdata()) / 4 - x) < 1e-9)
        low, high = min(line.get_xdata()), max(line.get_xdata())
        within[text.get_text()] = " + ".join(n.get_text().strip("$") for n in names if low < n.get_position()[0] < high)
    assert within == {
        "Adam, step 1": r"\mu_1 m_0 + (1-\mu_1)\, g_1",
        "Adam, step 2": r"\mu_2 m_1 + (1-\mu_2)\, g_2",
        "Nadam, step 1": r"(1-\mu_1)\, g_1 + \mu_2 m_1",
        "Nadam, step 2": r"(1-\mu_2)\, g_2 + \mu_3 m_2",
    }
    assert len(boxes) == len(names) == 5


def test_sums_have_no_weights_beside_the_gradient() -> None:
    names = [text.get_text() for text in bricks("Momentum", "NAG", weights=False).axes[0].texts]
    assert r"$\mu m_2$" in names
    assert "$g_3$" in names

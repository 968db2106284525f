"""What the chapter shows beside what all experiments do: the network in one picture, and what was withdrawn."""

from __future__ import annotations

from IPython.display import Markdown
from matplotlib.patches import FancyBboxPatch

from ...experiments.tasks import TASKS
from ...experiments.verdicts.arms import Evidence
from ...experiments.verdicts.verdicts import confound
from .figures import Picture
from .show import markdown

__all__ = ["network", "withdrawn"]

INK, GREY, PAPER = "#24292f", "#57606a", "#8c959f"


def network() -> Picture:
    """The network as a chain of boxes, with its sizes at the profiles `paper` and, in brackets, `small`."""
    sizes = TASKS["images"].SIZES
    paper, small = sizes["paper"], sizes["small"]
    figure = Picture(figsize=(5.0, 2.9))
    ax = figure.subplots()
    ax.set(xlim=(0, 10), ylim=(0, 5.4))
    ax.axis("off")
    chain = [
        ("28 × 28\npixels", ""),
        ("5 × 5\nconvolution", f"{paper.conv1} ({small.conv1})"),
        ("5 × 5\nconvolution", f"{paper.conv2} ({small.conv2})"),
        ("dense\nlayer", f"{paper.dense} ({small.dense})"),
        ("softmax", "10"),
    ]
    for i, (what, units) in enumerate(chain):
        x, height = 0.1 + 2.02 * i, (3.4, 3.0, 2.4, 2.8, 1.6)[i]
        box = FancyBboxPatch((x, 2.9 - height / 2), 1.3, height, boxstyle="round,pad=0.08", facecolor="none")
        box.set_edgecolor(PAPER)
        ax.add_patch(box)
        ax.text(x + 0.65, 3.1, what, ha="center", va="center", fontsize=9, color=INK, rotation=90)
        ax.text(x + 0.65, 0.85, units, ha="center", fontsize=9.5, color=INK)
        if i:
            ax.annotate("", (x - 0.12, 2.9), (x - 0.6, 2.9), arrowprops={"arrowstyle": "->", "color": GREY})
    for i, after in ((1, "pool"), (2, "pool"), (3, "dropout")):
        ax.text(0.75 + 2.02 * i, 0.15, after, ha="center", fontsize=9, color=GREY)
    figure.alt = ", then ".join(f"{what} {units}".replace("\n", " ").strip() for what, units in chain) + "."
    return figure


def withdrawn(evidence: Evidence | None) -> Markdown | None:
    """What the runs at equal rates say of the effects that were held to cancel; nothing where nothing is run."""
    if not evidence:
        return None
    effects = {e.part.part: e for e in confound(evidence) if e.part.method == "NadaMax"}
    look, rest = (effects[part].common for part in ("look-ahead", "memory and length"))
    if look is None or rest is None:
        text = "At equal rates these arms have not been run yet. So nothing is said here of what the look-ahead does."
    elif look.interval is None or rest.interval is None:
        text = "At equal rates some of these runs diverged. So nothing is said here of what the look-ahead does."
    elif look.interval[0] > 0 > rest.interval[1]:
        text = (
            "At equal rates both differences are clear of zero, and opposite. So both effects are there in these runs. "
            "The earlier version had no ground to say so."
        )
    else:
        text = "At equal rates there are no two opposite effects that are clear of zero. So the claim has no support."
    return markdown(text)

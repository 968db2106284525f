"""Which one should I use? What the recorded runs say of each task: the best methods, their rates, and which Nadam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...experiments.statistics.summary import reported_metric
from ...experiments.verdicts.arms import Arm
from ...experiments.verdicts.verdicts import compare
from ...rules import RULES
from ...tables import Column, Group, Table, to_markdown
from ..cells import recorded
from ..cells.answer import SIZES, TASKS
from ..cells.recorded import Recorded

__all__ = ["leaders", "recommended", "table"]

#: What somebody trains who has a problem like a task's.
TRAINED = {
    "word2vec": "word vectors, or a table of which a batch uses few rows",
    "images": "a convolutional network on small images",
    "language_model": "a recurrent language model",
    "autoencoder": "a deep autoencoder",
}
#: The arms that are one Nadam each, and how the package calls it.
NADAMS = {"Nadam": "cs229", "Nadam-iclr": "iclr", "Nadam-constant": "constant"}


def recommended() -> list[Recorded]:
    """Each task at the largest size that has been run far enough to judge."""
    sizes = {task: [recorded.of(task, size) for size in SIZES] for task in TASKS}
    return [found[0] for its in sizes.values() if (found := [it for it in its if it.evidence])]


def leaders(arms: Mapping[str, Arm], metric: str) -> list[Arm]:
    """The arm with the lowest mean, then those not told apart from it: 0 is in the 95 % interval of the pairs."""
    first, *others = sorted(arms.values(), key=lambda arm: arm.mean(metric))
    return [first, *(arm for arm in others if not _apart(arm, first, metric))]


def _apart(arm: Arm, first: Arm, metric: str) -> bool:
    interval = compare(arm, first, metric).interval
    return interval is None or interval[0] > 0


def table(found: Sequence[Recorded], notebooks: str, suffix: str) -> str:
    """What to take for each kind of problem, in Markdown; a link is `notebooks`, the chapter's name and `suffix`."""
    heads = ["you train", "lowest test loss", "not told apart from it", "which Nadam"]
    rows = [_row(it, notebooks, suffix) for it in found]
    return to_markdown(Table([Column(head, "l") for head in heads], [Group(rows)]))


def _row(it: Recorded, notebooks: str, suffix: str) -> list[str]:
    assert it.evidence is not None
    arms, metric = it.evidence[it.task], reported_metric(it.task)
    best, *alike = leaders({name: arm for name, arm in arms.items() if name in RULES}, metric)
    nadams = leaders({name: arm for name, arm in arms.items() if name in NADAMS}, metric)
    _, chapter = TASKS[it.task]
    evidence = f"{recorded.size(it.task, it.profile)}, {it.seeds[0]} seeds"
    return [
        f"[{TRAINED[it.task]}]({notebooks}{chapter}{suffix}) ({evidence})",
        _called(best.name, best),
        ", ".join(_called(arm.name, arm) for arm in alike) or "none",
        ", ".join(f"`{NADAMS[arm.name]}`" for arm in nadams),
    ]


def _called(name: str, arm: Arm) -> str:
    return f"{name} at {arm.lr:g}"

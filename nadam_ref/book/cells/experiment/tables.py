"""What was recorded, what the papers claim and what they print, as tables."""

from __future__ import annotations

from IPython.display import Markdown

from ....experiments.protocol import planning
from ....experiments.protocol.definition import load
from ....experiments.published import reported
from ....experiments.statistics.summary import diverged
from ....experiments.verdicts.claims import claims
from .. import recorded, show
from ..recorded import Recorded
from .sentences import lacking, momentum


def made(it: Recorded) -> Markdown:
    """What was recorded: data, steps, μ, arms, seeds, runs and hours; what is lacking, and the command."""
    plan = load().task(it.task).profile(it.profile)
    rows: list[tuple[str, object]] = []
    if it.records:
        spec, version = it.records[0].spec, recorded.version(it.records)
        tuned = sorted({r.spec.seed for r in it.records if planning.tunes(r)})
        rows += [
            ("data", spec.data),
            ("steps and batch size", f"{spec.steps:,} and {spec.batch}"),
            ("momentum", momentum(it)),
            ("version of the protocol", version),
            ("seeds that chose the rate", ", ".join(map(str, tuned)) or "none yet"),
            ("seeds that are reported", "{} of {}".format(*it.seeds)),
            ("runs, of them diverged", f"{len(it.records):,}, {sum(map(diverged, it.records))}"),
        ]
    arms = len(plan.arms) if it.evidence is None else len(it.evidence[it.task])
    rows.insert(min(len(rows), 4), ("arms", arms))
    if todo := lacking(it):
        rows.append(("still to be made", todo))
    return show.table(
        ["recorded runs", f"`{it.profile}`"],
        rows,
        name=f"tab-{it.task.replace('_', '-')}-recorded-{it.profile}",
        caption=f"What is recorded at the size `{it.profile}`.",
        note=recorded.note(it.evidence) if it.evidence else "",
    )


def claimed(task: str) -> Markdown:
    """The sentences of the papers on the task, and how certain each is."""
    rows = [[c.sentence, "recalled" if c.recalled else "seen"] for c in claims() if c.task == task]
    return show.table(
        ["what the paper claims", "how certain"],
        rows,
        name=f"tab-{task.replace('_', '-')}-claims",
        caption="The paper's sentences on this task, and whether the sentence, or the numbers that it follows from, "
        "were seen in print or are recalled.",
    )


def printed(task: str, paper: str = "cs229") -> Markdown:
    """The numbers that a paper prints on a task."""
    table = reported(paper, task)
    metric = next(iter(table.values())).metric.replace("_", " ")
    return show.table(
        ["method", metric, "how certain"],
        [[name, x.value, x.confirmed] for name, x in table.items()],
        "lrl",
        name=f"tab-{task.replace('_', '-')}-printed",
        caption=f"The report's own {metric}, one run each.",
    )

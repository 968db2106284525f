"""What was found, as sentences: verdicts, what is lacking, the words of the tables, the order of the methods."""

from __future__ import annotations

import numpy as np
from IPython.display import Markdown

from ....experiments.protocol.definition import load
from ....experiments.runs.training import ROW_STEPS
from ....experiments.statistics.summary import reported_metric
from ....experiments.verdicts.arms import Evidence
from ....experiments.verdicts.claims import claims
from ....experiments.verdicts.report import momentum_words, percent, reached_momentum
from ....experiments.verdicts.verdicts import Comparison, Verdict, judge
from ....rules import DIALECTS, RULES, schedule
from .. import recorded
from ..recorded import Recorded
from ..show import markdown
from .comparisons import compared, where_run
from .wording import at_size, percents

#: The headings of every such chapter, in this order; others may come between them.
HEADINGS = (
    "The verdict",
    "The task in one picture",
    "What the paper claims",
    "Every run",
    "Learning curves",
    "The pairs",
    "The rule taken apart",
    "How much the learning rate matters",
    "Trained in front of you",
    "What differs from the paper",
    "Exercises",
    "References",
)

#: What a verdict says of the difference, after its size.
WORDS = {
    "Reproduced": "as the paper has it",
    "Reproduced with size": "as the paper has it, and of about that size",
    "Reversed": "the opposite of what the paper has",
    "No relevant difference": "too small to matter",
    "Inconclusive": "within the luck of the seeds",
}

#: What follows a verdict in its table.
TERMS = {
    "depends on the rate": "the verdict, or its sign, changes when one of the two methods takes its runner-up, "
    "the better of the two rates next to the chosen one",
    "edge": "a chosen rate is the smallest or the largest of those tried",
    "approximate set-up": "the runs are not of the paper's own size or not on its data; what is compared is the "
    "direction, and the size in percent",
    "unresolved in print": "the two printed numbers differ by no more than their rounding",
}
#: What the names of arms say beside the method and its dialect.
NAMES = {
    "-unit": "`-unit`: the direction of the report's rule, with steps that are $\\eta$ long on a constant gradient",
    "-short": "`-short`: the first steps as short as those of the report's rule, and nothing else of it",
    "QHAdam": "`QHAdam`: half the gradient and half a long memory, with no look-ahead",
}


def sentence(v: Verdict) -> str:
    """A verdict as a sentence: the pair, how much they differ, and which verdict that is."""
    pair = f"{v.side.first} against {v.side.second}"
    if v.comparison is None:
        return f"**{pair}**: not run."
    return f"**{pair}**: {_size(v.comparison)}. That is {_words(v)} (*{recorded.kind(v).lower()}*){_turned(v)}."


def _words(v: Verdict) -> str:
    """What the verdict says of the difference; of one in the paper's direction also that it is too small to matter.

    An interval may be clear of 0 where the test, which is exact, has too few pairs to say so.
    """
    x = v.comparison
    if v.kind == "Inconclusive" and x is not None and x.interval is not None and x.interval[0] * x.interval[1] > 0:
        least = 2.0 ** (1 - x.n)
        return f"too few pairs of runs to decide: with {x.n} the smallest possible $p$ is {least:.2g}"
    if not recorded.small(v):
        return WORDS[v.kind]
    mean = None if x is None else x.mean
    share = "" if not (mean and v.side.gap) else f" with {100 * mean / v.side.gap:.0f} % of its size"
    return f"the paper's sign{share}, too small to matter"


def _turned(v: Verdict) -> str:
    """Whether at another rate the difference clearly has the other sign, or else the verdict depends on the rate."""
    own = None if v.comparison is None else v.comparison.mean
    if own is not None and v.arms is not None:
        for x, where in compared(*v.arms, v.claim.metric):
            if x.mean is not None and x.interval is not None and max(np.array(x.interval) * np.sign(own)) < 0:
                return f"; at another rate the sign reverses, {percent(x.mean)} ({where})"
    return "; it depends on the rate" if "depends on the rate" in v.suffixes else ""


def _size(x: Comparison) -> str:
    if x.mean is None or x.interval is None:
        first, second = x.diverged
        return f"of {x.n} runs each, {first} of the first and {second} of the second diverged"
    mean, low, high = percents(x.mean, *x.interval)
    return f"{mean} (95 % interval {low} to {high}, {x.n} pairs of runs)"


@where_run
def verdict(evidence: Evidence) -> Markdown:
    """The task's claims as sentences, the one about Nadam first."""
    return markdown(*(f"- {sentence(v)}" for v in recorded.claimed(evidence)))


def lacking(it: Recorded) -> str:
    """What is not there yet, with the command and the hours; empty for a sweep that is whole."""
    done, planned = it.seeds
    if done == planned:
        return ""
    made, all_of_it = len(it.records), f"`{it.command}`, about {_hours(it)} on one {it.gpu or 'core'}"
    if not made:
        return f"not run: {all_of_it}"
    return f"{made:,} of about {it.expected:,} runs are made; the whole: {all_of_it}"


def _hours(it: Recorded) -> str:
    return f"{it.hours:,.0f} hours" if it.hours >= 1.5 else "an hour"


def headline(it: Recorded, where: str = "") -> Markdown | None:
    """The verdicts at one size as sentences; nothing where there is none yet. `where`: more about which runs these are.

    What is not there yet is said by `awaited`, after what is.
    """
    if it.evidence is None:
        return None
    todo = lacking(it)
    done, planned = it.seeds
    sofar = f" So far with {done} of {planned} seeds: {todo}." if todo else ""
    return markdown(f"{_title(it, where)}, {_length(it)}.{sofar}", "", *(f"- {sentence(v)}" for v in it.verdicts))


def awaited(it: Recorded, where: str = "") -> Markdown | None:
    """That there is no verdict yet at this size, with what is lacking; nothing where there is one."""
    todo = lacking(it)
    return None if it.evidence else markdown(f"{_title(it, where)}: no result yet. {todo[0].upper()}{todo[1:]}.")


def _title(it: Recorded, where: str) -> str:
    return f"**At the size `{it.profile}`{where}**"


def terms(*sizes: Recorded) -> Markdown | None:
    """What the columns of the table of verdicts are, and those of its words that are there."""
    verdicts = [v for it in sizes if it.evidence for v in judge(it.evidence) if v.claim.task == it.task]
    if not verdicts:
        return None
    family = sum(claim.primary for claim in claims())
    lines = [
        "*Paper*: how much lower (−) or higher (+) the first method's value is in the paper; *ours*: the same as a "
        "mean over $n$ pairs of runs. $p$ is that of an exact test over the pairs.",
    ]
    if any(v.claim.primary for v in verdicts):
        lines.append(
            f"*Holm p* is adjusted for the {family} primary claims of this book, and their verdicts go by it. Claims "
            "not run yet count as $p = 1$, so running the other claims can only lower a Holm $p$."
        )
    if any(len(v.claim.sides) > 1 for v in verdicts):
        lines.append(
            "A claim about several pairs is shown with the pair that decides it, which may be in another row as well."
        )
    if any(v.kind == "Inconclusive" for v in verdicts):
        lines.append(
            "With as many pairs as *would decide*, the difference would probably be either clear of 0 or shown to be "
            "smaller than what matters."
        )
    there = {suffix for v in verdicts for suffix in v.suffixes}
    explained = (f"- *{term.capitalize()}*: {words}." for term, words in TERMS.items() if term in there)
    return markdown(" ".join(lines), "", *explained)


def names(*sizes: Recorded) -> Markdown | None:
    """What the names of a task's arms say beside the method; nothing where none says more."""
    arms = {name for it in sizes if it.evidence for name in it.evidence[it.task]}
    dialects = [f"`-{name}`" for name in DIALECTS if any(f"-{name}" in arm for arm in arms)]
    said = [f"{', '.join(dialects)}: a dialect ({{doc}}`11_which_nadam`)"] * bool(dialects)
    said += [words for part, words in NAMES.items() if any(part in arm for arm in arms)]
    return (
        markdown("The names of the arms say beside the method:", "", *(f"- {words}." for words in said))
        if said
        else None
    )


def absent(*sizes: Recorded) -> Markdown | None:
    """At which sizes there is nothing to show yet; nothing where all were run.

    Of a size that has some runs, but none to judge by, it is the searched rates that are lacking.
    """
    names = [f"`{it.profile}`{' at searched rates' if it.records else ''}" for it in sizes if it.evidence is None]
    return markdown(f"*Not run yet, so not shown: {' and '.join(names)}.*") if names else None


def _length(it: Recorded) -> str:
    spec = it.records[0].spec
    return f"{spec.steps:,} steps on {spec.data}; {momentum(it)}"


def momentum(it: Recorded) -> str:
    """What μ comes to by the end of training, in words; of a table whose rows count their own steps also the median."""
    if it.evidence:
        return reached_momentum(it.evidence[it.task])
    plan = load().task(it.task)
    settings = plan.arms["Momentum"].hyperparameters
    counted = next((r for r in it.records if all(name in r.metrics for name in ROW_STEPS)), None)
    steps: list[float] = [next(iter(plan.profile(it.profile).data.values())).steps]
    if counted is not None:
        steps = [counted.metrics[name] for name in ROW_STEPS]
    return momentum_words([schedule(settings["momentum"], t, settings["momentum_decay"]) for t in steps])


def reached(*sizes: Recorded) -> Markdown:
    """What μ comes to at each size: where there is hardly any momentum there is hardly any look-ahead to test."""
    return markdown(*(f"- `{it.profile}`: {momentum(it)}." for it in sizes))


@where_run
def order(evidence: Evidence) -> Markdown:
    """The best of all arms and of the report's methods, and where Nadam and Adam are among these."""
    ((task, arms),) = evidence.items()
    metric = reported_metric(task)
    means = {name: arm.mean(metric) for name, arm in arms.items()}
    ranked = sorted(means, key=lambda name: means[name])
    nine = [name for name in ranked if name in RULES]
    one_of_them = f", one of the paper's {len(nine)} methods," if nine[0] == ranked[0] else ""
    best = f"{ranked[0]}{one_of_them} has the lowest mean of all {len(ranked)} arms ({means[ranked[0]]:.4g})"
    if not one_of_them:
        best += f", and {nine[0]} that of the paper's {len(nine)} methods ({means[nine[0]]:.4g})"
    places = " and ".join(f"{name} is number {nine.index(name) + 1}" for name in ("Nadam", "Adam") if name in nine)
    return markdown(f"{at_size(evidence)}, {best}. Among these methods {places}.")

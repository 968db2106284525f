"""What every chapter on an experiment shows, in the same order and the same way: sentences and figures of the evidence.

All that take `evidence` take that of one task (`Recorded.evidence`), and give nothing where there is none, so that a
cell leaves no trace on the page. Left of 0, or below it, the first method of a pair is better.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
from IPython.display import Markdown
from matplotlib.axes import Axes

from ...experiments.protocol import planning
from ...experiments.protocol.definition import load
from ...experiments.protocol.tuning import choose
from ...experiments.published import reported
from ...experiments.runs.training import ROW_STEPS
from ...experiments.statistics.intervals import Floats, t_interval
from ...experiments.statistics.summary import curve, reported_metric
from ...experiments.tasks import TASKS
from ...experiments.verdicts.arms import Arm, Evidence
from ...experiments.verdicts.claims import claims
from ...experiments.verdicts.measures import rate_shares
from ...experiments.verdicts.report import momentum_words, percent, reached_momentum
from ...experiments.verdicts.verdicts import Comparison, Effect, Verdict, compare, confound, judge
from ...rules import DIALECTS, RULES, schedule
from . import recorded, show
from .figures import TODAY, Picture, look, plain
from .recorded import Recorded

__all__ = [
    *("HEADINGS", "absent", "ahead", "awaited", "effects", "names", "reached", "terms"),
    *(
        "apart",
        "at_one_rate",
        "at_rates",
        "certainty",
        "claimed",
        "dots",
        "forest",
        "gaps",
        "headline",
        "lacking",
        "learning",
    ),
    *("made", "momentum", "order", "pairs", "parts", "price", "printed", "rates", "sentence", "verdict"),
]

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

GREY = "#57606a"
PARTS = ("mean", "low", "high")
#: Inches: what is read on a phone without scrolling.
WIDTH = 5.0
#: How far above the best value a search for a rate is shown.
FAR = 4.0
#: Most points of a learning curve that are drawn, so that a page stays light; its data have all.
DRAWN = 26

#: What a verdict says of the difference, after its size.
WORDS = {
    "Reproduced": "as the paper has it",
    "Reproduced with size": "as the paper has it, and of about that size",
    "Reversed": "the other way round than the paper has it",
    "No relevant difference": "too small to matter",
    "Inconclusive": "within the luck of the seeds",
}

#: What follows a verdict in its table.
TERMS = {
    "depends on the rate": "the verdict, or its sign, changes when one of the two methods takes the second-best of its "
    "learning rates",
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

P = ParamSpec("P")
T = TypeVar("T")


def _where_run(
    draw: Callable[Concatenate[Evidence, P], T],
) -> Callable[Concatenate[Evidence | None, P], T | None]:
    """Nothing where there is no evidence."""

    def drawn(evidence: Evidence | None, /, *args: P.args, **kwargs: P.kwargs) -> T | None:
        return draw(evidence, *args, **kwargs) if evidence else None

    return functools.update_wrapper(drawn, draw)


def _text(*lines: str) -> Markdown:
    return Markdown("\n".join(lines))  # type: ignore[no-untyped-call]


def _at(evidence: Evidence) -> str:
    """The beginning of a sentence on one size: "At the small size"."""
    ((task, arms),) = evidence.items()
    words = recorded.size(task, next(iter(arms.values())).spec.profile)
    return f"A{words[1:]}"


# ---------------------------------------------------------------- sentences


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
        for x, where in _compared(*v.arms, v.claim.metric):
            if x.mean is not None and x.interval is not None and max(np.array(x.interval) * np.sign(own)) < 0:
                return f"; at another rate the sign reverses, {percent(x.mean)} ({where})"
    return "; it depends on the rate" if "depends on the rate" in v.suffixes else ""


def _size(x: Comparison) -> str:
    if x.mean is None or x.interval is None:
        first, second = x.diverged
        return f"of {x.n} runs each, {first} of the first and {second} of the second diverged"
    mean, low, high = _percents(x.mean, *x.interval)
    return f"{mean} (95 % interval {low} to {high}, {x.n} pairs of runs)"


def _percents(mean: float, low: float, high: float) -> list[str]:
    """A mean and the ends of its interval, with two decimals where one would make the ends the same."""
    digits = 2 if percent(low) == percent(high) else 1
    return [percent(x, digits=digits) for x in (mean, low, high)]


@_where_run
def verdict(evidence: Evidence) -> Markdown:
    """The task's claims as sentences, the one about Nadam first."""
    return _text(*(f"- {sentence(v)}" for v in recorded.claimed(evidence)))


def lacking(it: Recorded) -> str:
    """What is not there yet, with the command and the hours; empty for a sweep that is whole."""
    done, planned = it.seeds
    if done == planned:
        return ""
    made, all_of_it = len(it.records), f"`{it.command}`, about {_hours(it)} on one core"
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
    return _text(f"{_title(it, where)}, {_length(it)}.{sofar}", "", *(f"- {sentence(v)}" for v in it.verdicts))


def awaited(it: Recorded, where: str = "") -> Markdown | None:
    """That there is no verdict yet at this size, with what is lacking; nothing where there is one."""
    todo = lacking(it)
    return None if it.evidence else _text(f"{_title(it, where)}: no result yet. {todo[0].upper()}{todo[1:]}.")


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
    return _text(" ".join(lines), "", *explained)


def names(*sizes: Recorded) -> Markdown | None:
    """What the names of a task's arms say beside the method; nothing where none says more."""
    arms = {name for it in sizes if it.evidence for name in it.evidence[it.task]}
    dialects = [f"`-{name}`" for name in DIALECTS if any(f"-{name}" in arm for arm in arms)]
    said = [f"{', '.join(dialects)}: a dialect ({{doc}}`11_which_nadam`)"] * bool(dialects)
    said += [words for part, words in NAMES.items() if any(part in arm for arm in arms)]
    return (
        _text("The names of the arms say beside the method:", "", *(f"- {words}." for words in said)) if said else None
    )


def absent(*sizes: Recorded) -> Markdown | None:
    """At which sizes there is nothing to show yet; nothing where all were run."""
    names = [f"`{it.profile}`" for it in sizes if it.evidence is None]
    return _text(f"*Not run yet, so not shown: {' and '.join(names)}.*") if names else None


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
    return _text(*(f"- `{it.profile}`: {momentum(it)}." for it in sizes))


@_where_run
def order(evidence: Evidence) -> Markdown:
    """The best of all arms and of the report's methods, and where Nadam and Adam are among these."""
    ((task, arms),) = evidence.items()
    metric = reported_metric(task)
    means = {name: arm.mean(metric) for name, arm in arms.items()}
    ranked = sorted(means, key=lambda name: means[name])
    nine = [name for name in ranked if name in RULES]
    best = f"{ranked[0]} has the lowest mean of all {len(ranked)} arms ({means[ranked[0]]:.4g})"
    first = "" if nine[0] == ranked[0] else f", and {nine[0]} that of the paper's {len(nine)} methods"
    places = " and ".join(f"{name} is number {nine.index(name) + 1}" for name in ("Nadam", "Adam") if name in nine)
    value = f" ({means[nine[0]]:.4g})" if first else f", one of the paper's {len(nine)} methods"
    return _text(f"{_at(evidence)}, {best}{first}{value}. Among these methods {places}.")


@_where_run
def at_rates(evidence: Evidence) -> Markdown:
    """What becomes of each pair's difference at other rates."""
    lines = []
    for first, second, metric in _sides(evidence):
        found = [(x.mean, where) for x, where in _compared(first, second, metric) if x.mean is not None]
        if not found:
            continue
        same = len({mean > 0 for mean, _ in found}) == 1
        sizes = "; ".join(f"{percent(mean)} ({where})" for mean, where in found)
        end = "The sign is the same at all of them" if same else "The sign changes with the rate"
        if len(found) == 1:
            end = "It was run at no other rate"
        lines.append(f"- **{first.name} against {second.name}**: {sizes}. {end}.")
    return _text(f"{_at(evidence)}:", "", *lines) if lines else _text()


def _sides(evidence: Evidence) -> list[tuple[Arm, Arm, str]]:
    """The arms and metric of each comparison of the primary claims; on a task without any, of its other claims."""
    ((task, arms),) = evidence.items()
    own = [claim for claim in claims() if claim.task == task]
    judged = [claim for claim in own if claim.primary] or own
    sides = [(side, claim.metric) for claim in judged for side in claim.sides]
    return [(arms[x.first], arms[x.second], metric) for x, metric in sides if {x.first, x.second} <= arms.keys()]


def _compared(first: Arm, second: Arm, metric: str) -> list[tuple[Comparison, str]]:
    """A pair at each arm's own rate, with either at its runner-up, and at the common rate, where it was run so."""
    tried = (
        ("own", first, second),
        ("common", first.common, second.common),
        ("runner-up", first.runner_up, second),
        ("runner-up", first, second.runner_up),
    )
    names: dict[tuple[float, float], list[str]] = {}
    pairs: dict[tuple[float, float], Comparison] = {}
    for name, a, b in tried:
        if a is not None and b is not None and (name != "common" or a.lr == b.lr):  # families have none in common
            names.setdefault((a.lr, b.lr), []).append(name)
            pairs.setdefault((a.lr, b.lr), compare(a, b, metric))
    return [(x, f"{' and '.join(dict.fromkeys(names[at]))}: {_rates(*at)}") for at, x in pairs.items()]


@_where_run
def apart(evidence: Evidence) -> Markdown:
    """How much of Nadam's gain is the look-ahead, how much the memory, how much the length of its steps."""
    text = _parts(evidence)
    if not text:
        return _text(f"{_at(evidence)}, the arms that tell memory and length apart, at a common rate, are not run yet.")
    return _text(text + _larger(evidence))


#: The parts whose factors multiply to the whole, and what is made of several of them.
THREE = ("look-ahead", "memory", "length")
PRODUCTS = ("whole gain", "memory and length")


def effects(evidence: Evidence, method: str = "Nadam") -> dict[str, Effect]:
    """The parts of a method's gain that were run at one rate for both arms, by name."""
    return {e.part.part: e for e in confound(evidence) if e.part.method == method and e.common is not None}


def _larger(evidence: Evidence) -> str:
    """Which comparisons of other arms show more than any of the three parts, at one rate."""
    means = {name: (e.common and e.common.mean) or 0.0 for name, e in effects(evidence).items()}
    most = max(abs(means[part]) for part in THREE)
    found = [
        f"*{name}* ({e.part.first} against {e.part.second}) {_effect(e)}"
        for name, e in effects(evidence).items()
        if abs(means[name]) > most and name not in PRODUCTS
    ]
    return f" Larger than any of the three at one rate: {'; '.join(found)}." if found else ""


def _parts(evidence: Evidence) -> str:
    """`apart` as text; empty where the arms that tell memory and length apart were not run."""
    found = effects(evidence)
    if not {"whole gain", *THREE} <= found.keys():
        return ""
    whole = found["whole gain"]
    sizes = ", ".join(f"{part} {_effect(found[part])}" for part in THREE)
    clear = [part for part in THREE if _below(found[part])]
    helps = f"Where the interval is below 0, the part helps: {' and '.join(clear)}." if clear else "None of them helps."
    return (
        f"{_at(evidence)} and one rate for all, $\\eta$ = {whole.common_lr:g}: {sizes}. "
        f"Multiplied, these are Nadam's whole difference from Adam there, {_effect(whole)}. {helps}"
    )


def ahead(*sizes: Recorded) -> Markdown | None:
    """How much of Nadam's difference from Adam comes from looking ahead, at each size where that was run."""
    found = [text for it in sizes if it.evidence and (text := _ahead(it.evidence))]
    return _text("Does it come from looking ahead? " + " ".join(found)) if found else None


def _ahead(evidence: Evidence) -> str:
    """The look-ahead beside the whole difference, at one rate for all; empty where either was not run so."""
    found = effects(evidence)
    if not {"whole gain", "look-ahead"} <= found.keys():
        return ""
    whole, part = (found[name].common for name in ("whole gain", "look-ahead"))
    if whole is None or part is None or not whole.mean or part.mean is None:
        return ""
    share = part.mean / whole.mean
    if whole.mean > 0:
        answer = "there is no gain to explain"
    else:
        answer = "most of it does" if share > 0.5 else "a smaller part of it does" if share > 0 else "it does not"
    return (
        f"{_at(evidence)} and at one rate for all arms, {answer}: Nadam differs from Adam by {_short(whole)}, and the "
        f"look-ahead alone makes {_short(part)}."
    )


@_where_run
def at_one_rate(evidence: Evidence, method: str, *names: str) -> Markdown:
    """Parts of a method's gain, each at the arms' own rates and at one rate for both."""
    lines = []
    for e in confound(evidence):
        if e.part.method == method and e.part.part in names:
            equal = "not run" if e.common is None else f"{_short(e.common)} at η = {e.common_lr:g}"
            own = f"{_short(e.comparison)} at {_rates(*e.lr)}"
            lines.append(
                f"- *{recorded.called(e.part.part)}*, {e.part.first} against {e.part.second}. "
                f"Own rates: {own}. One rate: {equal}."
            )
    return _text(*lines)


def _short(x: Comparison) -> str:
    """A mean difference with its 95 % interval."""
    if x.mean is None or x.interval is None:
        return "{} and {} runs diverged".format(*x.diverged)
    return "{} ({} to {})".format(*_percents(x.mean, *x.interval))


def _effect(e: Effect) -> str:
    return "diverged" if e.common is None or e.common.mean is None else _short(e.common)


def _below(e: Effect) -> bool:
    """Whether the 95 % interval at the common rate is below 0."""
    return e.common is not None and e.common.interval is not None and e.common.interval[1] < 0


@_where_run
def certainty(evidence: Evidence) -> Markdown:
    """How certain the choice of the rates is, from the bootstrap over the tuning seeds."""
    (arms,) = evidence.values()
    shares = {name: rate_shares(arm)[arm.lr] for name, arm in arms.items()}
    sure = sum(share == 1 for share in shares.values())
    n = len(next(iter(arms.values())).chosen.runs)
    least = min(shares, key=lambda name: shares[name])
    text = (
        f"{_at(evidence)}, {sure} of {len(arms)} arms choose the same rate "
        f"whichever of the {n} tuning seeds are drawn again."
    )
    if shares[least] < 1:
        text += (
            f" The least certain is {least}: it takes its rate, {arms[least].lr:g}, in {shares[least]:.0%} of draws."
        )
    lost = {name: [f"{row.lr:g}" for row in arms[name].tuning if row.diverged] for name in RULES if name in arms}
    gone = "; ".join(f"{name} at {', '.join(sorted(rates, key=float))}" for name, rates in lost.items() if rates)
    text += f" The figure leaves out the rates at which runs diverged: {gone}." if gone else ""
    return _text(text.replace("%", " %"))


@_where_run
def price(evidence: Evidence) -> Markdown:
    """What the nearest rate beside the chosen one costs, beside what the best method gains over the next."""
    ((task, arms),) = evidence.items()
    metric = f"dev_{TASKS[task].METRIC}"
    costs = {}
    for name in (name for name in arms if name in RULES):
        means = {row.lr: row.metrics[metric].mean for row in arms[name].tuning}
        beside = choose({lr: math.log(mean) for lr, mean in means.items()}).runner_up
        costs[name] = math.inf if beside is None else math.log(means[beside] / means[arms[name].lr])
    first, second, *_ = sorted(arms[name].mean(metric) for name in costs)
    gain = math.log(second / first)
    dearer = sum(cost > gain for cost in costs.values())
    return _text(
        f"On the development set the second-best of the {len(costs)} methods ends {percent(gain)} above the best. For "
        f"{dearer} of the {len(costs)}, the better neighbour of the chosen rate costs more than that."
    )


# ---------------------------------------------------------------- tables


def made(it: Recorded) -> Markdown:
    """What was recorded: data, steps, μ, arms, seeds, runs and hours; what is lacking, and the command."""
    plan = load().task(it.task).profile(it.profile)
    rows: list[tuple[str, object]] = []
    if it.records:
        spec, version = it.records[0].spec, recorded.version(it.records)
        tuning, _ = planning.seeds(it.profile, it.task, version)
        diverged = sum(record.status == "diverged" for record in it.records)
        rows += [
            ("data", spec.data),
            ("steps and batch size", f"{spec.steps:,} and {spec.batch}"),
            ("momentum", momentum(it)),
            ("version of the protocol", version),
            ("seeds that chose the rate", ", ".join(map(str, tuning))),
            ("seeds that are reported", "{} of {}".format(*it.seeds)),
            ("runs, of them diverged", f"{len(it.records):,}, {diverged}"),
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


# ---------------------------------------------------------------- figures


def gaps(it: Recorded) -> Picture | None:
    """The task's claims at one size as a forest plot, with the printed gaps; nothing where there is no verdict yet."""
    if it.evidence is None:
        return None
    figure = recorded.gaps(it.verdicts, "not run")
    (done, planned), spec = it.seeds, it.records[0].spec
    words = f"{it.profile}: {spec.data}, {spec.steps:,} steps, {done} of {planned} seeds"
    figure.suptitle("\n".join([words, momentum(it)]), fontsize=9, color=GREY)
    return figure


def _sign(figure: Picture, evidence: Evidence) -> Picture:
    """Give a figure its provenance, and above it what was run and what μ had come to."""
    (arms,) = evidence.values()
    spec = next(iter(arms.values())).spec
    n = len(next(iter(arms.values())).runs)
    words = [f"{spec.profile}: {spec.data}, {spec.steps:,} steps, {n} seeds", reached_momentum(arms)]
    figure.suptitle("\n".join(filter(None, words)), fontsize=9, color=GREY)
    figure.note = recorded.note(evidence)
    return figure


@_where_run
def dots(evidence: Evidence, metric: str | None = None) -> Picture:
    """Every arm with every reported run as a dot, the best mean on top; beside the dots the mean and its 95 % interval.

    Means and intervals are of logarithms, as verdicts are. Diverged runs are counted beside the arm's name.
    """
    ((task, arms),) = evidence.items()
    metric = metric or reported_metric(task)
    values = {name: np.array(arm.values(metric)) for name, arm in arms.items()}
    ordered = sorted(values, key=lambda name: (np.log(values[name]).mean(), name))
    figure = Picture(figsize=(WIDTH, 1.1 + 0.3 * len(ordered)))
    ax = figure.subplots()
    lost: dict[str, str] = {}
    for y, name in enumerate(ordered):
        finite = values[name][np.isfinite(values[name])]
        style = _look(arms[name])
        ax.plot(finite, np.full(len(finite), y), style["marker"], color=style["color"], alpha=0.35, markersize=4.5)
        if len(finite) == len(values[name]):
            _mean(ax, y - 0.28, np.log(finite), style["color"])
        else:
            lost[name] = f" ({len(values[name]) - len(finite)} of {len(values[name])} diverged)"
        figure.data[name] = values[name]
    ax.set_yticks(
        range(len(ordered)), [f"{name}{lost.get(name, '')}, {arms[name].lr:g}" for name in ordered], fontsize=9.5
    )
    ax.set(xscale="log", xlabel=f"{metric.replace('_', ' ')}; beside each name its rate η")
    plain(ax.xaxis)
    ax.set_ylim(len(ordered) - 0.4, -0.7)
    ax.grid(axis="y", visible=False)
    figure.alt = f"From best to worst mean: {', '.join(ordered)}."
    return _sign(figure, evidence)


def _mean(ax: Axes, y: float, logs: Floats, color: str) -> None:
    interval = t_interval(logs)
    if interval is not None:
        ax.plot(np.exp(interval), [y, y], color=color, linewidth=2.5, solid_capstyle="butt")
    ax.plot(math.exp(logs.mean()), y, "|", color=color, markersize=9, markeredgewidth=2.5)


@_where_run
def learning(evidence: Evidence, names: Mapping[str, Sequence[str]] | None = None) -> Picture:
    """Mean development curves at the chosen rates, one panel below the other, each with a band over the seeds.

    `names`: the arms of each panel by its title; by default the methods by what they divide by. The scale begins where
    a tenth of the run is over, so that the ends can be told apart.
    """
    ((task, arms),) = evidence.items()
    metric = f"dev_{TASKS[task].METRIC}"
    panels = names or recorded.panels(arms)
    figure = Picture(figsize=(WIDTH, 0.8 + 2.2 * len(panels)))
    axes = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    top, bottom = 0.0, math.inf
    for ax, (title, members) in zip(axes, panels.items(), strict=True):
        curves = {name: curve(arms[name].runs.values(), metric) for name in members}
        for name in sorted(members, key=lambda name: curves[name].mean[-1]):
            c, style = curves[name], _look(arms[name])
            drawn = np.arange(len(c.step) - 1, -1, -math.ceil(len(c.step) / DRAWN))[::-1]
            ax.plot(c.step[drawn], c.mean[drawn], **style, markevery=max(1, len(drawn) // 8), label=name)
            ax.fill_between(c.step[drawn], c.low[drawn], c.high[drawn], color=style["color"], alpha=0.15, linewidth=0)
            finite = c.mean[np.isfinite(c.mean)]
            top = max(top, *finite[min(len(finite) - 1, math.ceil(len(finite) / 10)) :])
            bottom = min(bottom, float(c.low.min()))
            figure.data |= {"step": c.step.astype(float), f"{name} mean": c.mean}
            figure.data |= {f"{name} lowest": c.low, f"{name} highest": c.high}
        ax.set(title=title, yscale="log")
        ax.legend(fontsize=9, title="best first", title_fontsize=8.5)
    axes[0].set_ylim(bottom * 0.98, top * 1.02)
    plain(axes[0].yaxis)
    axes[-1].set_xlabel("step")
    figure.supylabel(metric.replace("dev_", "development "), fontsize=10.5)
    figure.alt = "At the end, lowest first: " + ", ".join(
        f"{name} {y:.4g}" for y, name in sorted((figure.data[f"{n} mean"][-1], n) for p in panels.values() for n in p)
    )
    return _sign(figure, evidence)


#: A row of a forest plot: what is compared, the comparison, and at which rates.
Line = tuple[str, Comparison, str]


@_where_run
def pairs(evidence: Evidence) -> Picture | None:
    """The pairs of the claims: each arm at its own rate, either arm at its runner-up, and both at their common rate."""
    found: list[Line] = []
    for first, second, metric in _sides(evidence):
        found += [(f"{first.name} / {second.name}", x, where) for x, where in _compared(first, second, metric)]
    return _sign(_forest(found), evidence) if found else None


@_where_run
def parts(evidence: Evidence, method: str = "Nadam", *, own: bool = False) -> Picture | None:
    """A method's gain taken apart: each part at one rate for both arms where it was run so, else at their own rates.

    `own`: all of them at the arms' own rates. None where no part of it was run.
    """
    effects = [effect for effect in confound(evidence) if effect.part.method == method]
    return _sign(_forest([_part(effect, own) for effect in effects]), evidence) if effects else None


def _part(effect: Effect, own: bool) -> Line:
    label = f"{recorded.called(effect.part.part)}: {effect.part.first} / {effect.part.second}"
    if own or effect.common is None:
        return label, effect.comparison, _rates(*effect.lr)
    return label, effect.common, f"η = {effect.common_lr:g}"


def _rates(first: float, second: float) -> str:
    return f"η = {first:g}" if first == second else f"η = {first:g}, {second:g}"


def _forest(found: Sequence[Line]) -> Picture:
    """Mean log ratios with their 95 % intervals, in percent: above each its names, at the right its rates."""
    figure = Picture(figsize=(WIDTH, 0.9 + 0.46 * len(found)))
    ax = figure.subplots()
    above = ax.get_yaxis_transform()
    size = 9.0 if max(len(label) + len(where) for label, _, where in found) < 62 else 8.0
    for y, (label, x, where) in enumerate(found):
        ink = look(next((name for name in RULES if label.startswith(f"{name} ")), "Nadam"))["color"]
        ax.text(0, y - 0.28, label, transform=above, fontsize=size, va="center")
        ax.text(1, y - 0.28, where, transform=above, fontsize=size, va="center", ha="right", color=GREY)
        if x.mean is None or x.interval is None:
            ax.text(0.5, y + 0.12, "{} and {} diverged".format(*x.diverged), transform=above, ha="center", fontsize=9)
            continue
        ax.plot(x.interval, [y + 0.12, y + 0.12], color=ink, linewidth=5, alpha=0.45, solid_capstyle="butt")
        ax.plot(x.mean, y + 0.12, "o", color=ink)
        figure.data[f"{label} {where}"] = np.array([x.mean, *x.interval])
    recorded.zero(ax, len(found))
    ax.set_yticks([])
    ax.set_ylim(len(found) - 0.5, -0.6)
    recorded.percents(ax)
    ax.set_xlabel("← first is lower        test metric        first is higher →", fontsize=9.5)
    figure.alt = " ".join(f"{name}: {percent(x[0])}." for name, x in figure.data.items())
    return figure


def forest(found: Sequence[Line], evidence: Evidence) -> Picture:
    """Comparisons of arms, each with its names above it and at the right with what else there is to say of it."""
    return _sign(_forest(found), evidence)


@_where_run
def rates(evidence: Evidence, names: Mapping[str, Sequence[str]] | None = None) -> Picture:
    """The search for each arm's rate: the mean development metric at each rate, with a bar from seed to seed.

    A mark is the darker the more often the bootstrap over the tuning seeds chooses its rate (`rate_shares`); the chosen
    rate's is the large one. `names`: the arms of each panel by its title, by default the methods. A rate at which a run
    diverged is left out.
    """
    ((task, arms),) = evidence.items()
    metric = f"dev_{TASKS[task].METRIC}"
    panels = names or recorded.panels(arms)
    figure = Picture(figsize=(WIDTH, 0.8 + 2.2 * len(panels)))
    axes = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for ax, (title, members) in zip(axes, panels.items(), strict=True):
        for name in members:
            _search(ax, figure, arms[name], metric)
        ax.set(title=title, xscale="log", yscale="log")
        ax.legend(fontsize=9)
    low = min(row.metrics[metric].low for names in panels.values() for name in names for row in arms[name].tuning)
    axes[0].set_ylim(low * 0.95, min(axes[0].get_ylim()[1], FAR * low))
    plain(axes[0].yaxis)
    axes[-1].set_xlabel("learning rate η")
    figure.supylabel(metric.replace("dev_", "development "), fontsize=10.5)
    figure.alt = " ".join(
        f"{name}: {arms[name].lr:g}, in {rate_shares(arms[name])[arms[name].lr]:.0%} of draws."
        for members in panels.values()
        for name in members
    )
    return _sign(figure, evidence)


def _search(ax: Axes, figure: Picture, arm: Arm, metric: str) -> None:
    shares = rate_shares(arm)
    tried = sorted((row for row in arm.tuning if not row.diverged), key=lambda row: row.lr)
    x = np.array([row.lr for row in tried])
    mean, low, high = (np.array([getattr(row.metrics[metric], part) for row in tried]) for part in PARTS)
    style = _look(arm)
    ax.plot(x, mean, color=style["color"], linestyle=style.get("linestyle", "-"), label=arm.name)
    ax.vlines(x, low, high, color=style["color"], linewidth=1)
    for at, y in zip(x, mean, strict=True):
        size = 9 if at == arm.lr else 5
        ax.plot(at, y, style["marker"], color=style["color"], markersize=size, markerfacecolor="none")
        ax.plot(at, y, style["marker"], color=style["color"], markersize=size, alpha=shares[at], markeredgewidth=0)
    figure.data |= {
        f"{arm.name} η": x,
        f"{arm.name} mean": mean,
        f"{arm.name} lowest": low,
        f"{arm.name} highest": high,
        f"{arm.name} share of draws": np.array([shares[at] for at in x]),
    }


# ---------------------------------------------------------------- ink


def _look(arm: Arm) -> dict[str, str]:
    """The look of an arm: that of its method, or of its dialect where the arm is another form of the method."""
    return look(arm.name) if arm.name in RULES or arm.name in TODAY else look(arm.spec.optimizer)

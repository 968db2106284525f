"""The experiment of the chapter on Nadam today: methods of today on a small transformer, as sentences and figures.

A method has an arm for each weight decay. It is shown with the decay that was best on the tuning seeds (`methods`).
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from IPython.display import Markdown

from ...experiments.protocol import planning
from ...experiments.protocol.definition import load, profile_of
from ...experiments.runs.record import Record
from ...experiments.runs.store import Store
from ...experiments.runs.sweep import sweep
from ...experiments.statistics.summary import criterion
from ...experiments.verdicts.arms import Arm, Evidence, rows
from ...experiments.verdicts.report import percent
from ...experiments.verdicts.verdicts import Comparison, compare
from . import experiment, recorded, show
from .experiment.plots import GREY
from .figures import Picture
from .recorded import Recorded
from .show import markdown

__all__ = [
    *("PAIRS", "PANELS", "advice", "curves", "decays", "demonstration", "dots", "forest", "methods", "order"),
    *("search", "sweep_live", "verdict"),
]

TASK = "transformer"
METRIC = "test_loss"

#: The pairs that are shown, and what each asks.
PAIRS = {
    ("NAdamW-constant", "AdamW"): "the look-ahead and nothing else",
    ("NAdamW-iclr", "AdamW"): "the look-ahead with a schedule of $\\mu$",
    ("NAdamW-cs229", "AdamW"): "the report's rule, which PyTorch has",
    ("Muon", "Muon-plain"): "the look-ahead within Muon",
    ("Muon", "AdamW"): "steps of another kind",
    ("NAG", "AdamW"): "no norm",
}
#: The panels of curves and of searches.
PANELS = {
    "AdamW and NAdamW": ["AdamW", "NAdamW-constant", "NAdamW-iclr", "NAdamW-cs229"],
    "Muon and NAG": ["Muon", "Muon-plain", "NAG"],
}
NOTHING = "Not run yet"


def split(arm: str) -> tuple[str, float]:
    """An arm's method and weight decay."""
    method, _, decay = arm.rpartition("-")
    return method, float(decay)


def by_method(evidence: Evidence) -> dict[str, dict[float, Arm]]:
    """The arms of each method by their decay."""
    found: dict[str, dict[float, Arm]] = {}
    for name, arm in evidence[TASK].items():
        method, decay = split(name)
        found.setdefault(method, {})[decay] = arm
    return found


def _tuned(arm: Arm) -> float:
    """What the rate was chosen by, at the chosen rate: the mean log development loss over the tuning seeds."""
    return float(criterion(list(arm.chosen.runs.values())))


def _best_decay(arms: Mapping[float, Arm]) -> float:
    return min(arms, key=lambda decay: (_tuned(arms[decay]), decay))


def methods(it: Recorded) -> Evidence | None:
    """Each method with the decay that was best on the tuning seeds; None where nothing can be judged yet."""
    if it.evidence is None:
        return None
    found = by_method(it.evidence)
    best = {name: dataclasses.replace(arms[_best_decay(arms)], name=name) for name, arms in found.items()}
    return {TASK: best}


# ---------------------------------------------------------------- sentences


def _sign(x: Comparison) -> int:
    """−1 or 1 where the 95 % interval is on that side of 0, else 0."""
    if x.interval is None:
        return 0
    low, high = x.interval
    return -1 if high < 0 else int(low > 0)


def _size(x: Comparison, words: str = "{} (95 % interval {} to {}, {} pairs of runs)") -> str:
    """A mean difference with its 95 % interval."""
    if x.mean is None or x.interval is None:
        return "{} and {} runs diverged".format(*x.diverged)
    digits = 2 if max(map(abs, (x.mean, *x.interval))) < 0.02 else 1
    return words.format(*(percent(value, digits=digits) for value in (x.mean, *x.interval)), x.n)


def _brief(x: Comparison) -> str:
    return _size(x, "{} ({} to {})")


def _said(x: Comparison, first: str, second: str) -> str:
    """A comparison in words: which is lower, or that the luck of the seeds could have made the difference."""
    words = {-1: f"{first} is lower", 1: f"{second} is lower", 0: "within seed-to-seed variation"}
    return f"{_size(x)}: {words[_sign(x)]}" if x.interval is not None else _size(x)


def compared(evidence: Evidence) -> dict[tuple[str, str], Comparison]:
    """`PAIRS`, as far as both methods were run."""
    arms = evidence[TASK]
    return {(a, b): compare(arms[a], arms[b], METRIC) for a, b in PAIRS if {a, b} <= arms.keys()}


def verdict(it: Recorded) -> Markdown:
    """The pairs as sentences; before there is any result, what is lacking and the command."""
    evidence = methods(it)
    if evidence is None:
        return experiment.awaited(it) or markdown(NOTHING)
    spec, (done, planned) = next(iter(evidence[TASK].values())).spec, it.seeds
    sofar = "" if done == planned else f" So far with {done} of {planned} seeds: {experiment.lacking(it)}."
    found = compared(evidence)
    lines = [f"- **{a} against {b}** ({PAIRS[a, b]}): {_said(x, a, b)}." for (a, b), x in found.items()]
    if edge := [name for name, arm in evidence[TASK].items() if arm.chosen.edge]:
        lines += ["", f"At the end of its search, and so perhaps not at its best rate: {', '.join(edge)}."]
    first = found.get(("NAdamW-constant", "AdamW"))
    head = "" if first is None else f"**On a small transformer, the look-ahead {HEADS[_sign(first)]}.** "
    text = f"{head}{spec.steps:,} steps on {spec.data}, each method at its own rate and weight decay.{sofar}"
    return markdown(text, "", *lines)


#: What the first sentence says, by the sign of the look-ahead's difference.
HEADS = {
    -1: "makes AdamW better",
    0: "makes no difference to AdamW that these runs would show",
    1: "makes AdamW worse",
}


def order(it: Recorded) -> Markdown | None:
    """The methods from the lowest mean test loss up, and which of them differ clearly from the first."""
    evidence = methods(it)
    if evidence is None:
        return None
    arms = evidence[TASK]
    ranked = sorted(arms, key=lambda name: (arms[name].mean(METRIC), name))
    first, *others = ranked
    tied = [name for name in others if _sign(compare(arms[first], arms[name], METRIC)) == 0]
    means = ", ".join(f"{name} {arms[name].mean(METRIC):.4g}" for name in ranked)
    end = f"{first} is clearly lower than all others" if not tied else f"Not clearly above the first: {', '.join(tied)}"
    return markdown(f"Mean test loss, lowest first: {means}. {end}.")


# ---------------------------------------------------------------- tables


def decays(it: Recorded) -> Markdown | None:
    """What each weight decay came to on the tuning seeds, at its own best rate; the chosen one in bold."""
    if it.evidence is None:
        return None
    found = by_method(it.evidence)
    cells = []
    for name, arms in found.items():
        best = _best_decay(arms)
        row = [f"{math.exp(_tuned(arm)):.4f} ({decay:g}, {arm.lr:g})" for decay, arm in arms.items()]
        cells.append([name, *(f"**{x}**" if decay == best else x for x, decay in zip(row, arms, strict=True))])
    return show.table(
        ["method", "no decay", "some", "ten times that"],
        cells,
        "llll",
        name="tab-transformer-decays",
        caption="Development loss on the tuning seeds; in brackets the weight decay and the rate that it chose. "
        "Bold: the decay with which the method is reported.",
        note=recorded.note(it.evidence),
    )


def advice(it: Recorded) -> Markdown:
    """What to do, with what the runs say of it; every answer is computed from the comparison it links to."""
    evidence = methods(it)
    found = [[what, say(it, evidence), where] if evidence else [what, NOTHING, "–"] for what, say, where in ADVICE]
    return show.table(
        ["question", "what this chapter's runs say", "where"],
        found,
        "lll",
        name="tab-today-advice",
        caption="Advice, and its evidence on a small transformer.",
        note=recorded.note(it.evidence) if it.evidence else "",
    )


def _which_optimizer(it: Recorded, evidence: Evidence) -> str:
    arms = evidence[TASK]
    better = [a for a in arms if a != "AdamW" and _sign(compare(arms[a], arms["AdamW"], METRIC)) < 0]
    if not better:
        return "AdamW: no other method ended clearly below it"
    best = min(better, key=lambda name: arms[name].mean(METRIC))
    return f"{best}, which ends {_brief(compare(arms[best], arms['AdamW'], METRIC))} from AdamW"


def _ahead(it: Recorded, evidence: Evidence) -> str:
    arms = evidence[TASK]
    words = {-1: "Yes", 0: "It does no harm, and no good that shows", 1: "No"}
    x = compare(arms["NAdamW-constant"], arms["AdamW"], METRIC)
    y = compare(arms["Muon"], arms["Muon-plain"], METRIC)
    return f"In AdamW: {words[_sign(x)]}, {_brief(x)}. In Muon: {words[_sign(y)]}, {_brief(y)}"


def _which_nadam(it: Recorded, evidence: Evidence) -> str:
    arms = {name: arm for name, arm in evidence[TASK].items() if name.startswith("NAdamW")}
    best = min(arms, key=lambda name: (arms[name].mean(METRIC), name))
    rest = [name for name in arms if name != best]
    clear = [name for name in rest if _sign(compare(arms[best], arms[name], METRIC)) < 0]
    return (
        f"{best} has the lowest mean; it is clearly below {' and '.join(clear) if clear else 'neither of the others'}"
    )


def _which_rate(it: Recorded, evidence: Evidence) -> str:
    arms = evidence[TASK]
    chosen = ", ".join(f"{name} {arm.lr:g}{' (edge)' * arm.chosen.edge}" for name, arm in arms.items())
    costs = {name: cost for name, arm in arms.items() if (cost := _half_decade(arm)) is not None}
    if not costs:
        return f"Chosen: {chosen}"
    low, high = (pick(costs, key=lambda name: costs[name]) for pick in (min, max))
    return (
        f"Chosen: {chosen}. The better of the rates a half-decade off costs {percent(costs[low])} ({low}) to "
        f"{percent(costs[high])} ({high})"
    )


def _half_decade(arm: Arm) -> float | None:
    """By how much the tuned log loss rises at the better of the rates a half-decade beside the chosen one."""
    tried = {row.lr: float(criterion(list(row.runs.values()))) for row in arm.tuning}
    beside = [value for lr, value in tried.items() if 0.45 < abs(math.log10(lr / arm.lr)) < 0.55]
    return min(beside) - tried[arm.lr] if beside and math.isfinite(min(beside)) else None


def _which_decay(it: Recorded, evidence: Evidence) -> str:
    assert it.evidence is not None
    lines = []
    for name, arms in by_method(it.evidence).items():
        best = _best_decay(arms)
        if best and 0.0 in arms and (sign := _sign(x := compare(arms[best], arms[0.0], METRIC))):
            lines.append(f"{name} with {best:g} is {'lower' if sign < 0 else 'higher'} than without, {_brief(x)}")
    return "; ".join(lines) if lines else "For no method does the chosen decay differ clearly from none"


#: Question, the function that answers it, and where its evidence is.
ADVICE: list[tuple[str, Callable[[Recorded, Evidence], str], str]] = [
    ("Which optimizer?", _which_optimizer, "{numref}`fig-today-dots`"),
    ("Switch the look-ahead on?", _ahead, "{numref}`fig-today-pairs`"),
    ("Which Nadam?", _which_nadam, "{numref}`fig-today-dots`, {doc}`11_which_nadam`"),
    ("Which rate first?", _which_rate, "{numref}`fig-today-rates`"),
    ("How much weight decay?", _which_decay, "{numref}`tab-transformer-decays`"),
]


# ---------------------------------------------------------------- figures


def _titled(figure: Picture, it: Recorded) -> Picture:
    """The figure with what was run above it, and without one μ: the methods have several."""
    spec, (done, planned) = it.records[0].spec, it.seeds
    figure.suptitle(
        f"{it.profile}: {spec.data}, {spec.steps:,} steps, {done} of {planned} seeds",
        fontsize=9,
        color=GREY,
    )
    return figure


def forest(it: Recorded) -> Picture | None:
    """`PAIRS` as a forest plot, each method at its own rate and decay."""
    evidence = methods(it)
    if evidence is None:
        return None
    arms = evidence[TASK]
    lines = [(f"{a} / {b}", x, f"η = {arms[a].lr:g}, {arms[b].lr:g}") for (a, b), x in compared(evidence).items()]
    return _titled(experiment.forest(lines, evidence), it)


def dots(it: Recorded) -> Picture | None:
    """Every method with every reported run as a dot."""
    figure = experiment.dots(methods(it), METRIC)
    return None if figure is None else _titled(figure, it)


def curves(it: Recorded) -> Picture | None:
    """Development curves of the methods."""
    figure = experiment.learning(methods(it), PANELS)
    return None if figure is None else _titled(figure, it)


def search(it: Recorded) -> Picture | None:
    """The search for each method's rate, with its chosen decay."""
    figure = experiment.rates(methods(it), PANELS)
    return None if figure is None else _titled(figure, it)


# ---------------------------------------------------------------- in front of the reader


def sweep_live(profile: str, data: str, *, workers: int) -> tuple[list[Record], dict[str, float]]:
    """The runs of the live profile, and the best of the rates that each arm tried."""
    live = profile_of(TASK, "live").arms
    specs = [spec for spec in planning.specs(profile, data, TASK) if planning.arm(spec) in live]
    with tempfile.TemporaryDirectory() as folder:
        records = sweep(specs, Store(Path(folder)), workers=workers)
    return records, {name: x.lr for name, x in planning.choices(records).items()}


def demonstration(records: Sequence[Record], best: Mapping[str, float]) -> Markdown:
    """The results of `sweep_live` at each arm's best rate."""
    found = {row.arm: row for row in rows(records) if row.lr == best.get(row.arm)}
    cells = []
    for name in (name for name in load().task(TASK).arms if name in found):
        (method, decay), row = split(name), found[name]
        x = row.test_loss
        cells.append(
            [method, f"{decay:g}", f"{row.lr:g}{' edge' * row.edge}", f"{x.mean:.3f} ({x.low:.3f}–{x.high:.3f})"]
        )
    spec = records[0].spec
    return show.table(
        ["method", "decay", r"rate $\eta$", "test loss, nats a character"],
        cells,
        "lrrr",
        name="tab-today-live",
        caption=f"The demonstration: {spec.steps:,} steps on {spec.data}, means over two seeds, in brackets both. "
        "Edge: the best rate is the smallest or the largest of the three tried.",
        note=show.provenance_note(records),
    )

"""The report: what our runs say of the papers' claims, as tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...tables import FORMATS, Column, Group, Table, to_json
from ..runs.record import Record
from ..statistics.intervals import Interval, wilson
from ..statistics.significance import MOST_RUNS
from ..statistics.summary import hardware
from .arms import Arm, Evidence, gather
from .claims import Claim
from .measures import Method, final_momentum, methods
from .seed_luck import seed_luck
from .verdicts import Comparison, Effect, Verdict, confound, judge, title

EXPLORATORY = "exploratory"


# ---------------------------------------------------------------- how numbers are written


def percent(log_gap: float, *, unit: bool = True, digits: int = 1) -> str:
    """A difference of logarithms as a change in percent: log(.9) is −10.0 %."""
    return f"{100 * math.expm1(log_gap):+.{digits}f}{' %' if unit else ''}".replace("-", "−")


def _effect(x: Comparison) -> str:
    """The mean change with its interval; without one, how many pairs there are, or how many runs diverged."""
    if x.mean is None:
        return f"diverged: {x.diverged[0]} and {x.diverged[1]} of {x.n}"
    if x.interval is None:
        return f"{percent(x.mean)} (n = {x.n})"
    low, high = (percent(end, unit=False) for end in x.interval)
    return f"{percent(x.mean)} ({low}, {high})"


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def _ends(name: str, ends: Interval | None) -> dict[str, float | None]:
    low, high = (None, None) if ends is None else ends
    return {f"{name}_low": low, f"{name}_high": high}


def _groups(evidence: Evidence, rows: Iterable[tuple[str, str, list[str]]]) -> list[Group]:
    """Rows by task and part of it, under a heading that names both and says what μ had come to."""
    parts: dict[tuple[str, str], list[list[str]]] = {}
    for task, part, row in rows:
        parts.setdefault((task, part), []).append(row)
    groups = []
    for (task, part), cells in parts.items():
        title, reached = ", ".join(filter(None, (task, part))), reached_momentum(evidence.get(task, {}))
        heading = f"{title}: {reached}" if reached else title
        groups.append(Group(cells, heading, {"task": task, "exploratory": part == EXPLORATORY}))
    return groups


def _part(claim: Claim) -> str:
    return "" if claim.primary else EXPLORATORY


def reached_momentum(arms: Mapping[str, Arm]) -> str:
    """What μ had come to, in words: a Nesterov term without momentum is not one. Empty where no arm has a schedule."""
    return momentum_words(final_momentum(arms))


def momentum_words(values: Sequence[float]) -> str:
    """Values of `final_momentum` in words; empty for none."""
    reached = [f"{mu:.2f}" for mu in values]
    if len(reached) == 2:
        return f"μ at the end {reached[0]} (row of the commonest word), {reached[1]} (median row)"
    return f"μ at the end {reached[0]}" if reached else ""


# ---------------------------------------------------------------- verdicts


def _verdict_table(evidence: Evidence) -> Table:
    verdicts = judge(evidence)
    return Table(
        name="verdicts",
        caption="What the runs say of the papers' claims",
        columns=[
            Column("claim", "l", 21),
            Column("paper", "r"),
            Column("ours (95 % interval)", "r", 24),
            Column("n", "r"),
            Column("p", "r"),
            Column("Holm p", "r"),
            Column("verdict", "l", 20),
        ],
        groups=_groups(evidence, ((v.claim.task, _part(v.claim), _verdict_cells(v)) for v in verdicts)),
        data=[_verdict_data(v) for v in verdicts],
        notes=_verdict_notes(verdicts),
    )


def _verdict_cells(v: Verdict) -> list[str]:
    label = (
        v.claim.label
        if len(v.claim.sides) == 1 or v.comparison is None
        else f"{v.claim.label}: {v.side.first} vs {v.side.second}"
    )
    several = len(v.claim.sides) > 1 and v.comparison is None  # no comparison decides it
    paper = "–" if several or v.side.gap is None else percent(v.side.gap)
    ours = "–" if v.comparison is None else _effect(v.comparison)
    raw = _p(None if v.comparison is None else v.comparison.p)
    adjusted = _p(v.p) if v.claim.primary and v.comparison is not None else "–"
    return [label, paper, ours, str(v.n), raw, adjusted, "; ".join([_kind(v), *v.suffixes])]


def _kind(v: Verdict) -> str:
    if v.kind != "Inconclusive" or v.comparison is None or v.comparison.interval is None:
        return v.kind
    n = f"n = {v.needed}" if v.needed else f"n > {MOST_RUNS}"
    return f"{v.kind} ({n} would decide)"


def _verdict_data(v: Verdict) -> dict[str, Any]:
    x = v.comparison
    printed = [None, None] if v.side.printed is None else [float(number.value) for number in v.side.printed]
    ours = [None, None] if v.arms is None else [arm.mean(v.claim.metric) for arm in v.arms]
    return {
        "primary": v.claim.primary,
        "task": v.claim.task,
        "metric": v.claim.metric,
        "claim": v.claim.label,
        "sentence": v.claim.sentence,
        "recalled": v.claim.recalled,
        "first": v.side.first,
        "second": v.side.second,
        "paper_first": printed[0],
        "paper_second": printed[1],
        "paper_log_gap": v.side.gap,
        "ours_first": ours[0],
        "ours_second": ours[1],
        "ours_log_gap": None if x is None else x.mean,
        **_ends("interval", None if x is None else x.interval),
        **_ends("bootstrap_t", None if x is None else x.bootstrap),
        **_ends("prediction", None if x is None else x.prediction),
        "delta": v.delta,
        "n": v.n,
        "diverged_first": None if x is None else x.diverged[0],
        "diverged_second": None if x is None else x.diverged[1],
        "p_sign_flip": None if x is None else x.p,
        "p": v.p,
        "p_equivalence": None if x is None else x.equivalence(v.delta),
        "rates": None if v.arms is None else [arm.lr for arm in v.arms],
        "at_runner_up": [f"{name}: {kind}" for name, (kind, _) in v.elsewhere.items()],
        "log_gap_at_runner_up": [there.mean for _, there in v.elsewhere.values()],
        "verdict": v.kind,
        "n_to_decide": v.needed,
        "suffixes": list(v.suffixes),
    }


def _verdict_notes(verdicts: Sequence[Verdict]) -> list[str]:
    family = [v.kind for v in verdicts if v.claim.primary]
    name, absent = title(verdicts), f"No title yet: {family.count('Not run')} of {len(family)} claims were not run."
    notes = [
        f"Title by the rule: {name}" if name else absent,
        "paper, ours: the first method's metric relative to the second's, as a geometric mean over pairs of runs with "
        "one seed. p: exact paired sign-flip test. Holm p: adjusted over the primary family; exploratory claims are "
        "not adjusted. A claim of several comparisons shows the one that decides it. n would decide: with so many "
        "pairs the runs would probably show either a difference, or that it is smaller than δ, the least that "
        "matters. μ: of the scheduled arms.",
    ]
    if any(number.is_recalled for v in verdicts for number in v.side.printed or ()):
        notes.append(
            'paper: recalled, not seen in print; the book\'s page "What the papers report" says how sure it is.'
        )
    return notes


# ---------------------------------------------------------------- the other tables


def _method_table(evidence: Evidence) -> Table:
    summaries = methods(evidence)
    return Table(
        name="methods",
        caption="Every arm at its tuned rate",
        columns=[
            Column("arm", "l", 18),
            Column("rate", "r", 12),
            Column("last value (95 % interval)", "r", 28),
            Column("at the runner-up", "r", 16),
            Column("diverged", "r"),
            Column("steps", "r"),
        ],
        groups=_groups(evidence, ((m.task, m.metric, _method_cells(m)) for m in summaries)),
        data=[_method_data(m) for m in summaries],
        notes=[
            "at the runner-up: the mean at the better neighbour of the chosen rate, and that rate. steps: median "
            "number of updates until the development loss is as low as Adam's in the end. edge: the chosen rate is the "
            "smallest or largest of those tried."
        ],
    )


def _method_cells(m: Method) -> list[str]:
    arm, beside, x = m.arm, m.arm.runner_up, m.arm.metrics[m.metric]
    return [
        arm.name,
        f"{arm.lr:g}{' edge' if arm.chosen.edge else ''}",
        f"{_number(x.mean)} (n = {x.n})" if x.interval is None else _with_ends(x.mean, x.interval),
        "–" if beside is None else f"{_number(beside.mean(m.metric))} at {beside.lr:g}",
        f"{arm.diverged} of {x.n}",
        "–" if m.steps is None else "never" if math.isinf(m.steps) else f"{m.steps:g}",
    ]


def _with_ends(mean: float, ends: Interval) -> str:
    """A mean with its interval, to the second digit of the interval's half."""
    half = (ends[1] - ends[0]) / 2
    places = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 4
    return f"{mean:.{places}f} ({ends[0]:.{places}f}, {ends[1]:.{places}f})".replace("-", "−")


def _number(x: float) -> str:
    return "∞" if math.isinf(x) else f"{x:.4g}".replace("-", "−")


def _method_data(m: Method) -> dict[str, Any]:
    arm, beside, n = m.arm, m.arm.runner_up, len(m.arm.runs)
    data = {
        "task": m.task,
        "arm": arm.name,
        "lr": arm.lr,
        "edge": arm.chosen.edge,
        "n": n,
        "diverged": arm.diverged,
        **_ends("diverged_share", wilson(arm.diverged, n)),
        "steps_to_adam": m.steps,
        "runner_up_lr": None if beside is None else beside.lr,
        **({} if beside is None else {f"runner_up_{name}": x.mean for name, x in beside.metrics.items()}),
        "expected_best_of_3_rates": m.trials,
    }
    for name, x in arm.metrics.items():
        data |= {name: x.mean, **_ends(name, x.interval)}
    return data


def _confound_table(evidence: Evidence) -> Table:
    effects = confound(evidence)
    return Table(
        name="confound",
        caption="Where the gain comes from",
        columns=[
            Column("part", "l", 26),
            Column("arms", "l", 24),
            Column("at own rates (95 %)", "r", 19),
            Column("p", "r"),
            Column("at one rate (95 %)", "r", 19),
            Column("p", "r"),
        ],
        groups=_groups(evidence, ((e.task, e.part.method, _effect_cells(e)) for e in effects)),
        data=[_effect_data(e) for e in effects],
        notes=[
            "Below 0 the first arm ends lower. Exploratory: p is not adjusted. At own rates a difference is also one "
            "of the rates that tuning chose; at one rate, the best of those that the whole family tried, it is about "
            "the rule."
        ],
    )


def _effect_cells(e: Effect) -> list[str]:
    common = ["–", "–"] if e.common is None else [f"{_effect(e.common)} at {e.common_lr:g}", _p(e.common.p)]
    return [
        e.part.part,
        f"{e.part.first} vs {e.part.second}",
        _effect(e.comparison),
        _p(e.comparison.p),
        *common,
    ]


def _effect_data(e: Effect) -> dict[str, Any]:
    x, y = e.comparison, e.common
    return {
        "task": e.task,
        "metric": e.metric,
        "method": e.part.method,
        "part": e.part.part,
        "first": e.part.first,
        "second": e.part.second,
        "first_lr": e.lr[0],
        "second_lr": e.lr[1],
        "log_gap": x.mean,
        **_ends("interval", x.interval),
        "n": x.n,
        "p_sign_flip": x.p,
        "common_lr": e.common_lr,
        "common_log_gap": None if y is None else y.mean,
        **_ends("common_interval", None if y is None else y.interval),
        "common_p_sign_flip": None if y is None else y.p,
    }


def _luck_table(evidence: Evidence) -> Table:
    shares = seed_luck(evidence)
    return Table(
        name="luck",
        caption="How often one run per method would have supported each sentence",
        columns=[Column("sentence", "l", 84), Column("replays", "r")],
        groups=_groups(
            evidence, ((claim.task, _part(claim), [claim.sentence, f"{100 * share:.1f} %"]) for claim, share in shares)
        ),
        data=[
            {"task": c.task, "primary": c.primary, "claim": c.label, "sentence": c.sentence, "share": share}
            for c, share in shares
        ],
        notes=["10,000 replays: one run of every method, each with a seed of its own, at the tuned rate."],
    )


TABLES: Mapping[str, Callable[[Evidence], Table]] = {
    "verdicts": _verdict_table,
    "methods": _method_table,
    "confound": _confound_table,
    "luck": _luck_table,
}


# ---------------------------------------------------------------- the whole


def _sources(evidence: Evidence, profile: str, planned: Mapping[str, Sequence[int]] | None) -> dict[str, Any]:
    """What the runs were made on and with, and how many reporting seeds are still to come."""
    tasks = {}
    for task, arms in evidence.items():
        runs = _runs(arms)
        tasks[task] = {
            "data": runs[0].spec.data,
            "subset": runs[0].spec.subset,
            "steps": runs[0].spec.steps,
            "seeds": sorted({r.spec.seed for r in runs}),
            "planned_seeds": None if planned is None else len(planned[task]),
            "protocol_sha256": runs[0].provenance.get("protocol_sha256"),
        }
    machines = hardware(record for arms in evidence.values() for record in _runs(arms))
    return {"profile": profile, "hardware": machines, "tasks": tasks}


def _runs(arms: Mapping[str, Arm]) -> list[Record]:
    return [record for arm in arms.values() for record in arm.runs.values()]


def _source_notes(sources: Mapping[str, Any]) -> list[str]:
    tasks = [
        f"{task} on {x['data']}{'' if x['subset'] is None else ' (part)'}, {x['steps']} steps, "
        f"{_seeds(x)} seeds, protocol {str(x['protocol_sha256'])[:12]}"
        for task, x in sources["tasks"].items()
    ]
    machines = sources["hardware"]
    mixed = f" Mixed hardware, {len(machines)} kinds:" if len(machines) > 1 else " Hardware:"
    return [f"Profile {sources['profile']}: {'; '.join(tasks)}.{mixed} {'; '.join(machines)}."]


def _seeds(source: Mapping[str, Any]) -> str:
    made, planned = len(source["seeds"]), source["planned_seeds"]
    return str(made) if planned in (None, made) else f"{made} of {planned}"


def report(
    records: Iterable[Record],
    profile: str = "small",
    form: str = "text",
    table: str = "verdicts",
    seeds: Mapping[str, Sequence[int]] | None = None,
    partial: bool = False,
) -> str:
    """One of the `TABLES` in one of `nadam_ref.tables.FORMATS`, or for "json" all of them with the source of the runs.

    `records`: those of a store or a pack, tuning and reporting runs together; other profiles are left aside.
    `seeds`, `partial`: as for `gather`, whose errors are raised.
    """
    evidence = gather(records, profile, seeds, partial=partial)
    sources = _sources(evidence, profile, seeds)
    if form == "json":
        data = {name: make(evidence).data for name, make in TABLES.items()}
        return to_json({**sources, "title": title(judge(evidence)) or None, **data})
    content = TABLES[table](evidence)
    return FORMATS[form](replace(content, notes=[*content.notes, *_source_notes(sources)]))

"""The report: what our runs say of the papers' claims, as tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .claims import Claim, claims
from .evidence import Evidence, gather
from .intervals import Interval
from .luck import seed_luck
from .measures import Method, methods
from .records import Record
from .tables import Column, Table, to_csv, to_json, to_latex, to_text
from .verdicts import Comparison, Effect, Verdict, confound, judge, title

__all__ = ["FORMATS", "TABLES", "report"]


# ---------------------------------------------------------------- how numbers are written


def _percent(log_gap: float, *, unit: bool = True) -> str:
    """A difference of logarithms as a change in percent: log(.9) is −10.0 %."""
    return f"{100 * math.expm1(log_gap):+.1f}{' %' if unit else ''}".replace("-", "−")


def _effect(x: Comparison) -> str:
    """The mean change with its interval; without one, how many pairs there are, or how many runs diverged."""
    if x.mean is None:
        return f"diverged: {x.diverged[0]} and {x.diverged[1]} of {x.n}"
    if x.interval is None:
        return f"{_percent(x.mean)} (n = {x.n})"
    low, high = (_percent(end, unit=False) for end in x.interval)
    return f"{_percent(x.mean)} ({low}, {high})"


def _p(p: float | None) -> str:
    if p is None:
        return "–"
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def _ends(name: str, ends: Interval | None) -> dict[str, float | None]:
    low, high = (None, None) if ends is None else ends
    return {f"{name}_low": low, f"{name}_high": high}


def _grouped(rows: Iterable[tuple[str, list[str]]]) -> dict[str, list[list[str]]]:
    groups: dict[str, list[list[str]]] = {}
    for heading, cells in rows:
        groups.setdefault(heading, []).append(cells)
    return groups


# ---------------------------------------------------------------- verdicts


def _verdict_table(evidence: Evidence) -> Table:
    verdicts = judge(evidence)
    return Table(
        name="verdicts",
        caption="What the runs say of the papers' claims",
        columns=[
            Column("claim", "l", 22),
            Column("paper", "r", 9),
            Column("ours (95 % interval)", "r", 24),
            Column("n", "r", 3),
            Column("p", "r", 6),
            Column("verdict", "l", 26),
        ],
        groups=_grouped((_heading(v.claim), _verdict_cells(v)) for v in verdicts),
        data=[_verdict_data(v) for v in verdicts],
        notes=[*_title_notes(verdicts), *_verdict_notes(verdicts)],
    )


def _heading(claim: Claim) -> str:
    return claim.task if claim.primary else f"{claim.task}, exploratory"


def _verdict_cells(v: Verdict) -> list[str]:
    label = (
        v.claim.label
        if len(v.claim.sides) == 1 or v.comparison is None
        else f"{v.claim.label}: {v.side.first} vs {v.side.second}"
    )
    several = len(v.claim.sides) > 1 and v.comparison is None  # no comparison decides it
    paper = "–" if several or v.side.gap is None else _percent(v.side.gap)
    ours = "–" if v.comparison is None else _effect(v.comparison)
    return [label, paper, ours, str(v.n), _p(v.p), "; ".join([_kind(v), *v.suffixes])]


def _kind(v: Verdict) -> str:
    if v.kind != "Inconclusive" or v.comparison is None or v.comparison.interval is None:
        return v.kind
    return f"{v.kind} (n = {v.needed} would decide)" if v.needed else f"{v.kind} (n > 1000 would decide)"


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
        "verdict": v.kind,
        "n_to_decide": v.needed,
        "suffixes": list(v.suffixes),
    }


def _title_notes(verdicts: Sequence[Verdict]) -> list[str]:
    family = [v for v in verdicts if v.claim.primary]
    absent = sum(v.kind == "Not run" for v in family)
    name = title(verdicts)
    return [f"Title by the rule: {name}" if name else f"No title yet: {absent} of {len(family)} claims were not run."]


def _verdict_notes(verdicts: Sequence[Verdict]) -> list[str]:
    notes = [
        "paper, ours: the first method's metric relative to the second's, as a geometric mean over pairs of runs with "
        "one seed. p: exact paired sign-flip test, adjusted by Holm over the primary family; not adjusted where "
        "exploratory. A claim of several comparisons shows the one that decides it."
    ]
    if any(number.is_recalled for v in verdicts for number in v.side.printed or ()):
        notes.append(
            'paper: recalled, not seen in print; the book\'s page "What the papers report" says how sure it is.'
        )
    return notes


# ---------------------------------------------------------------- the other tables


def _method_table(evidence: Evidence) -> Table:
    found = methods(evidence)
    metric = {claim.task: claim.metric for claim in reversed(claims())}
    return Table(
        name="methods",
        caption="Every arm at its tuned rate",
        columns=[
            Column("arm", "l", 16),
            Column("rate", "r", 12),
            Column("last value (95 % interval)", "r", 28),
            Column("diverged", "r", 8),
            Column("steps", "r", 6),
            Column("log area", "r", 8),
            Column("good decades", "r", 12),
        ],
        groups=_grouped((f"{m.task}: {metric[m.task]}", _method_cells(m, metric[m.task])) for m in found),
        data=[_method_data(m) for m in found],
        notes=[
            "steps: median number of updates until the development loss is as low as Adam's in the end. log area: mean "
            "logarithm of the development loss along the run. good decades: width of the region around the best rate "
            "where the development loss is at most 1.1 × the best. edge: the best rate is the last of those tried."
        ],
    )


def _method_cells(m: Method, metric: str) -> list[str]:
    x = m.metrics[metric]
    rate = f"{m.lr:g}{' edge' if m.edge else ''}"
    steps = "–" if m.steps is None else "never" if math.isinf(m.steps) else f"{m.steps:g}"
    last = f"{_number(x.mean)} (n = {m.n})" if x.interval is None else _with_ends(x.mean, x.interval)
    return [m.name, rate, last, f"{m.diverged} of {m.n}", steps, _number(m.area), f"{m.decades:.1f}"]


def _with_ends(mean: float, ends: Interval) -> str:
    """A mean with its interval, to the second digit of the interval's half."""
    half = (ends[1] - ends[0]) / 2
    places = max(0, 1 - math.floor(math.log10(half))) if half > 0 else 4
    return f"{mean:.{places}f} ({ends[0]:.{places}f}, {ends[1]:.{places}f})".replace("-", "−")


def _number(x: float) -> str:
    return "∞" if math.isinf(x) else f"{x:.4g}".replace("-", "−")


def _method_data(m: Method) -> dict[str, Any]:
    values: dict[str, float | None] = {}
    for name, x in m.metrics.items():
        values |= {name: x.mean, **_ends(name, x.interval)}
    return {
        "task": m.task,
        "arm": m.name,
        "lr": m.lr,
        "edge": m.edge,
        "n": m.n,
        "diverged": m.diverged,
        **_ends("diverged_share", m.diverged_share),
        "steps_to_adam": m.steps,
        "log_area": m.area,
        **_ends("good_rate", m.good),
        "good_decades": m.decades,
        "expected_best_of_3_rates": m.trials,
        **values,
    }


def _confound_table(evidence: Evidence) -> Table:
    found = confound(evidence)
    return Table(
        name="confound",
        caption="Where the gain comes from: look-ahead or accident",
        columns=[
            Column("part", "l", 30),
            Column("arms", "l", 32),
            Column("change (95 % interval)", "r", 24),
            Column("n", "r", 2),
            Column("p", "r", 6),
        ],
        groups=_grouped((f"{e.task}: {e.part.method}", _effect_cells(e)) for e in found),
        data=[_effect_data(e) for e in found],
        notes=[
            "Below 0 the first arm ends lower. Exploratory: p is not adjusted. The logarithms of look-ahead and "
            "accidental warm-up add up to that of the whole gain."
        ],
    )


def _effect_cells(e: Effect) -> list[str]:
    x = e.comparison
    return [e.part.part, f"{e.part.first} vs {e.part.second}", _effect(x), str(x.n), _p(x.p)]


def _effect_data(e: Effect) -> dict[str, Any]:
    x = e.comparison
    return {
        "task": e.task,
        "metric": e.metric,
        "method": e.part.method,
        "part": e.part.part,
        "first": e.part.first,
        "second": e.part.second,
        "log_gap": x.mean,
        **_ends("interval", x.interval),
        "n": x.n,
        "p_sign_flip": x.p,
    }


def _luck_table(evidence: Evidence) -> Table:
    found = seed_luck(evidence)
    return Table(
        name="luck",
        caption="How often single runs would have written each sentence",
        columns=[Column("sentence", "l", 84), Column("replays", "r", 8)],
        groups=_grouped((_heading(claim), [claim.sentence, f"{100 * share:.1f} %"]) for claim, share in found),
        data=[
            {"task": c.task, "primary": c.primary, "claim": c.label, "sentence": c.sentence, "share": share}
            for c, share in found
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


def _sources(evidence: Evidence, profile: str) -> dict[str, Any]:
    """What the runs were made on and with."""
    tasks, machines = {}, set()
    for task, arms in evidence.items():
        runs = [record for arm in arms.values() for record in arm.runs.values()]
        machines |= {f"{r.provenance.get('cpu')}, {r.provenance.get('cpu_capability')}, {r.spec.device}" for r in runs}
        tasks[task] = {
            "data": runs[0].spec.data,
            "subset": runs[0].spec.subset,
            "steps": runs[0].spec.steps,
            "seeds": sorted({r.spec.seed for r in runs}),
            "protocol_sha256": runs[0].provenance.get("protocol_sha256"),
        }
    return {"profile": profile, "hardware": sorted(machines), "tasks": tasks}


def _source_notes(sources: Mapping[str, Any]) -> list[str]:
    tasks = [
        f"{task} on {x['data']}{'' if x['subset'] is None else ' (part)'}, {x['steps']} steps, "
        f"{len(x['seeds'])} seeds, protocol {str(x['protocol_sha256'])[:12]}"
        for task, x in sources["tasks"].items()
    ]
    hardware = sources["hardware"]
    mixed = f" Mixed hardware, {len(hardware)} kinds:" if len(hardware) > 1 else " Hardware:"
    return [f"Profile {sources['profile']}: {'; '.join(tasks)}.{mixed} {'; '.join(hardware)}."]


FORMATS: Mapping[str, Callable[[Table], str]] = {"text": to_text, "csv": to_csv, "latex": to_latex}


def report(
    records: Iterable[Record],
    profile: str = "small",
    form: str = "text",
    table: str = "verdicts",
    seeds: Mapping[str, Sequence[int]] | None = None,
) -> str:
    """One of the `TABLES` in one of the `FORMATS`, or as `form="json"` all tables with the source of the runs.

    `records`: those of a store or a pack, tuning and reporting runs together; other profiles are left aside.
    `seeds`: as for `gather`, whose errors are raised.
    """
    evidence = gather(records, profile, seeds)
    sources = _sources(evidence, profile)
    if form == "json":
        data = {name: make(evidence).data for name, make in TABLES.items()}
        return to_json({**sources, "title": title(judge(evidence)) or None, **data})
    made = TABLES[table](evidence)
    notes = [*made.notes, *_source_notes(sources)]
    return FORMATS[form](Table(made.name, made.caption, made.columns, made.groups, made.data, notes))

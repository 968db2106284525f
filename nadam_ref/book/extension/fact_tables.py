"""The contents of the reference pages: `BLOCKS`, tables and lists as Markdown, and `NUMBERS`, each as text.

All come from the data files of `nadam_ref.experiments`, from `names.yaml` beside this module, or from a computation.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from IPython.display import Markdown

from nadam_ref import paper
from nadam_ref.experiments import open_details, published, reproductions
from nadam_ref.experiments.protocol import definition, planning
from nadam_ref.experiments.protocol.definition import ArmPlan, load, profile_of
from nadam_ref.experiments.released import folder, registry
from nadam_ref.experiments.runs import checkpoints, pack, sweep, train
from nadam_ref.experiments.runs import record as run_records
from nadam_ref.experiments.statistics import intervals, significance
from nadam_ref.experiments.verdicts import claims, seed_luck

from ..cells import show
from ..fingerprints import sha256

__all__ = ["BLOCKS", "NUMBERS", "runs"]

DATA = {"protocol.yaml": definition.__file__, "claims.yaml": claims.__file__}
#: The sizes a reader may run; `smoke` is for the tests alone.
PROFILES = ("live", "small", "paper")
#: The task whose arms are those of all three of the report's; `WORDS_OWN` has further ones.
REPORT = "images"
WORDS_OWN = "word2vec"
NO_BREAK = "\u00a0"
#: Provenance note for tables generated from package data.
SAID = "From the package's own data"
WORDS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def _words(name: str) -> str:
    """A name of the protocol as words: `language_model` is language model."""
    return name.replace("_", " ")


def _rate(x: float) -> str:
    """A learning rate as the protocol's grid writes it, 3.2 · 10⁻³."""
    mantissa, exponent = f"{x:.1e}".split("e")
    factor = "" if mantissa == "1.0" else rf"{mantissa} \cdot "
    return f"${factor}10^{{{int(exponent)}}}$"


def _span(values: Iterable[int]) -> str:
    """0–9 for whole numbers without a gap, otherwise a list."""
    found = list(values)
    if len(found) > 2 and found == list(range(found[0], found[-1] + 1)):
        return f"{found[0]}–{found[-1]}"
    return ", ".join(map(str, found)) or "none"


def _percent(log_gap: float) -> str:
    return f"{100 * math.expm1(log_gap):+.1f} %".replace("-", "−")


def _table(
    header: list[str], rows: Iterable[list[Any]], align: str, name: str, caption: str, note: str = SAID
) -> Markdown:
    return show.table(header, list(rows), align, name=f"tab-{name}", caption=caption, note=note)


# ---------------------------------------------------------------- the protocol


def runs(task: str, profile: str) -> int:
    """About how many runs a profile of a task has; known without its data."""
    return sum(planning.expected_runs(task, profile).values())


def _last_momentum(task: str, steps: int) -> float:
    """μ_t of the momentum methods at the last step."""
    settings = load().task(task).arms["Momentum"].hyperparameters
    return paper.schedule(settings["momentum"], steps, settings["momentum_decay"])


def _sizes() -> Markdown:
    rows = []
    for task in load().tasks:
        for profile in PROFILES:
            for data, plan in profile_of(task, profile).data.items():
                number, μ = f"{runs(task, profile):,}", f"{_last_momentum(task, plan.steps):.3f}"
                rows.append([_words(task), f"`{profile}`", data, f"{plan.steps:,}", plan.batch, number, μ])
    header = ["task", "profile", "data", "steps", "batch", "runs, about", r"last $\mu_t$"]
    caption = "What is run. Of several data sets the first that is at hand is taken."
    return _table(header, rows, "lllrrrr", "sizes", caption)


def _seeds() -> Markdown:
    rows = []
    for profile in PROFILES:
        found: dict[tuple[Any, ...], list[str]] = {}
        for task in load().tasks:
            plan = profile_of(task, profile)
            found.setdefault((plan.most, _span(plan.tuning), _span(plan.reporting)), []).append(task)
        rows += [[f"`{profile}`", ", ".join(map(_words, tasks)), *said] for said, tasks in found.items()]
    header = ["profile", "tasks", "most rates", "tuning seeds", "reporting seeds"]
    return _table(header, rows, "llrll", "seeds", "Rates and seeds of each profile.")


def _arms(task: str, caption: str, without: str | None = None) -> Markdown:
    """The arms of a task, without those that another one has too."""
    known = {} if without is None else load().task(without).arms
    rows = []
    for name, arm in load().task(task).arms.items():
        if name in known:
            continue
        said = arm.hyperparameters
        μ, ν = said.get("betas", (said.get("momentum"), said.get("alpha")))
        numbers = ["" if x is None else f"{x:g}" for x in (μ, said.get("momentum_decay"), ν)]
        ε = f"{_rate(said['eps_root'])} inside" if "eps_root" in said else _rate(said["eps"]) if "eps" in said else ""
        rows.append([name, arm.family, *numbers, ε, _further(arm, load().task(task).row_lazy)])
    header = ["arm", "family", "μ", "ψ", "ν", "ε", "form or dialect"]
    return _table(header, rows, "llrrrrl", f"arms-{task}", caption)


def _further(arm: ArmPlan, row_lazy: bool) -> str:
    """What an arm has besides its numbers: form or dialect, γ, length of its steps, and how it treats rows."""
    said = arm.hyperparameters
    parts = [
        said.get("form", said.get("dialect")),
        f"γ = {said['gamma']:g}" if "gamma" in said else None,
        f"{said['length']} length" if "length" in said else None,
        f"{said['row_counts']} count" if "row_counts" in said else None,
        "dense" if row_lazy and not arm.row_lazy else None,
    ]
    return ", ".join(part for part in parts if part)


def _rates() -> Markdown:
    """The rate at which each family's search begins, for each task; those of `live` are the same for all tasks."""
    begins = {_words(task): profile_of(task, "paper").middle for task in load().tasks}
    families = list(begins[_words(REPORT)])
    begins["all, in `live`"] = profile_of(REPORT, "live").middle
    rows = [[name, *(_rate(at[x]) if x in at else "" for x in families)] for name, at in begins.items()]
    return _table(["task", *families], rows, "l" * (1 + len(families)), "rates", "Where the search begins.")


def _primary() -> Markdown:
    rules, rows = claims.verdict_rules(), []
    for claim in _family():
        (side,) = claim.sides
        gap, delta = _percent(side.gap or 0.0), f"{rules.delta(claim.metric, side.gap):.3f}"
        order = "<" if side.direction < 0 else ">"
        sentence = f"{side.first} {order} {side.second}".replace(" ", NO_BREAK)
        printed = ", ".join(map(str, side.printed or ()))
        rows.append([_words(claim.task), sentence, printed, gap if side.resolved else f"{gap} †", delta])
    header = ["task", "claim", "printed", "gap", "δ"]
    return _table(header, rows, "llrrr", "primary", "The primary family: the claims that decide the title.")


def _family() -> list[claims.Claim]:
    return [claim for claim in claims.claims() if claim.primary]


def _exploratory() -> Markdown:
    rows = [
        [f"{_words(claim.task)}, {_words(claim.metric)}", claim.sentence, "recalled" if claim.recalled else "seen"]
        for claim in claims.claims()
        if not claim.primary
    ]
    header = ["about", "sentence", "confirmed"]
    return _table(header, rows, "lll", "exploratory", "What the papers say in words.")


def _confound() -> Markdown:
    rows = [[x.method, x.part, f"{x.first} against {x.second}"] for x in claims.parts()]
    caption = "Where the gain of Nadam and of NadaMax comes from."
    return _table(["gain of", "part", "comparison"], rows, "lll", "confound", caption)


def _fingerprints() -> Markdown:
    rows = [
        [_words(task), *(f"`{profile_of(task, profile).sha256[:12]}`" for profile in PROFILES)] for task in load().tasks
    ]
    caption = "The first twelve digits of the sha256 of what the protocol says on each profile of each task."
    return _table(["task", *(f"`{name}`" for name in PROFILES)], rows, "llll", "fingerprints", caption)


def _file_sha256(name: str) -> str:
    return sha256(Path(DATA[name]).with_name(name).read_bytes())


# ---------------------------------------------------------------- the papers


def _open_details(task: str) -> str:
    parts = [
        f"{row.detail[0].upper()}{row.detail[1:]}\n: *The paper* ({row.certainty}): {row.paper}.\n"
        f": *Here:* {row.chosen}. *Why:* {row.why}."
        for row in open_details.details()
        if row.task == task
    ]
    return "\n\n".join(parts)


def _reported() -> Markdown:
    tasks = [task for task in load().tasks if task != "autoencoder"]
    tasks.sort(key=["word2vec", "images", "language_model"].index)
    tables = {task: published.reported("cs229", task) for task in tasks}
    metric = {task: next(iter(table.values())).metric for task, table in tables.items()}
    lowest = {task: min(table.values(), key=lambda row: float(row.value)) for task, table in tables.items()}
    rows = []
    for name in tables[REPORT]:
        found = [tables[task][name] for task in tasks]
        numbers = [f"**{row}**" if row == lowest[row.task] else str(row) for row in found]
        rows.append([name, *numbers])
    header = ["method", *(f"{_words(task)}: {_words(metric[task])}" for task in tasks)]
    return _table(header, rows, "lrrr", "reported", "The report's results. The lowest of each column is bold.")


def _recalled() -> str:
    """How many of the report's numbers are recalled."""
    found = [
        row for task in ("word2vec", "images", "language_model") for row in published.reported("cs229", task).values()
    ]
    return f"{sum(row.is_recalled for row in found)} of {len(found)}"


def _reported_rates() -> Markdown:
    table = published.reported("iclr", "autoencoder")
    rows = [[name, row, row.confirmed] for name, row in table.items()]
    caption = "The workshop paper's best learning rates."
    return _table(["method", "learning rate", "confirmed"], rows, "lrl", "reported-rates", caption)


def _known() -> Markdown:
    """Published results beside those of the recorded runs that were to reach them."""
    there = any(path.startswith("known/") for path in registry())
    records = {record.spec.task: record for record in (pack.read(folder("known")) if there else [])}
    rows = []
    for name, x in reproductions.KNOWN.items():
        record = records.get(x.task)
        found = x.measured(record) if record else {}
        reached = "yes" if record and x.reached(record) else "not yet"
        rows += [
            [f"`{name}`", _words(metric), f"{value:g}", f"{found[metric]:.4g}" if metric in found else "", reached]
            for metric, value in x.published.items()
        ]
    caption = "Results of others, for one optimizer each; and those of our recorded runs, made by `nadam-ref known`."
    note = show.provenance_note(records.values(), recorded=True) if records else ""
    return _table(["run", "metric", "published", "ours", "reached"], rows, "llrrl", "known", caption, note)


def _known_sources() -> str:
    return "\n\n".join(f"`{name}`\n: {x.source}." for name, x in reproductions.KNOWN.items())


# ---------------------------------------------------------------- errata


@cache
def _unit_steps(box: Callable[..., paper.Path], steps: int, **settings: Any) -> Any:
    """The steps of a Nadam on the constant gradient 1, in units of η, with μ = .99 and ε = 0."""
    θ = paper.path(box, [0.0], lambda _θ, _t: np.ones(1), steps, η=1.0, μ=0.99, ε=0.0, **settings)
    return -np.diff(θ[:, 0])


def _extra_nu() -> float:
    """How much longer the printed ν makes every step."""
    ratio = _unit_steps(paper.nadam_iclr_printed, 100) / _unit_steps(paper.nadam_iclr, 100)
    assert np.ptp(ratio) < 1e-9, "the factor is the same at every step"
    return float(ratio[0])


def _shortest() -> tuple[int, float]:
    steps = _unit_steps(paper.nadam, 2000)
    return int(steps.argmin()) + 1, float(steps.min())


def _within(box: Callable[..., paper.Path], share: float) -> int:
    """The first step from which on every step is right to this share."""
    return int(np.flatnonzero(np.abs(_unit_steps(box, 2000) - 1) > share)[-1]) + 2


def _last_index(steps: int = 1000) -> float:
    """How the last step changes if μ_T is taken where the list has no μ_{T+1}."""
    μ = [paper.schedule(0.99, t) for t in range(1, steps + 2)]
    P = np.cumprod(μ)
    step = [x * (1 - P[-2]) / (1 - P[-2] * x) + (1 - μ[-2]) / (1 - P[-2]) for x in μ[-2:]]
    return float(abs(step[0] / step[1] - 1))


# ---------------------------------------------------------------- names


@cache
def _names() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("names.yaml").read_text(encoding="utf-8"))
    return loaded


def _formula(text: str) -> str:
    return text if text == "–" else f"${text}$"


def _papers_names(symbol: Mapping[str, str]) -> str:
    """What the papers write, said once where they agree."""
    report, iclr = (_formula(symbol[paper_]) for paper_ in ("report", "iclr"))
    if report == iclr:
        return report
    return f"{report}; at ICLR {iclr}" if iclr != "–" else f"{report}, in the report"


def _symbols() -> Markdown:
    rows = [
        [
            f"[{_formula(x['symbol'])}]{{#symbol-{x['id']}}}",
            x["what"],
            x["range"],
            _papers_names(x),
            ", ".join(f"`{name}`" for name in x["torch"]) or "–",
        ]
        for x in _names()["symbols"]
    ]
    header = ["symbol", "what it is", "range", "the papers", "PyTorch"]
    return _table(header, rows, "lllll", "symbols", "The symbols, and what others call them.")


def _optimizers() -> Markdown:
    rows = [
        [f"`{name}`", report, "–" if torch == "–" else f"`{torch}`"]
        for name, (report, torch) in _names()["optimizers"].items()
    ]
    header = ["here", "the report", "`torch.optim`"]
    return _table(header, rows, "lll", "optimizer-names", "The optimizers, and what others call them.")


# ---------------------------------------------------------------- what there is

BLOCKS: dict[str, Callable[[], str | Markdown]] = {
    "sizes": _sizes,
    "seeds": _seeds,
    "arms-report": partial(_arms, REPORT, "The arms of word2vec, images and the language model."),
    "arms-words": partial(_arms, WORDS_OWN, "Further arms of word2vec.", without=REPORT),
    "arms-autoencoder": partial(_arms, "autoencoder", "The arms of the autoencoder."),
    "rates": _rates,
    "claims-primary": _primary,
    "claims-exploratory": _exploratory,
    "confound": _confound,
    "fingerprints": _fingerprints,
    **{f"open-details-{task}": partial(_open_details, task) for task in load().tasks},
    "reported": _reported,
    "reported-rates": _reported_rates,
    "known": _known,
    "known-sources": _known_sources,
    "symbols": _symbols,
    "optimizers": _optimizers,
}


#: Read here, when this module is imported: autodoc changes the signatures of what it documents.
RESAMPLES = inspect.signature(intervals.bootstrap_t).parameters["resamples"].default
REPLAYS = inspect.signature(seed_luck.seed_luck).parameters["replays"].default


def _reporting(profile: str, task: str) -> int:
    return len(profile_of(task, profile).reporting)


#: The reporting seeds of `small` where no pilot says how many.
UNTRIED = _reporting("small", WORDS_OWN)


def _smallest_p(n: int) -> float:
    """The sign-flip test's smallest p with so many pairs: all differences have one sign."""
    return significance.sign_flip(np.arange(1.0, n + 1))


def _pilot() -> float:
    found = profile_of(REPORT, "small").pilot
    assert found is not None, "the page says what it was"
    return found


def _seen(n: int) -> str:
    """The smallest difference that so many pairs show, in percent, in the hardest step of the primary family."""
    least = significance.detectable(_pilot(), n, len(_family()), claims.verdict_rules().alpha)
    return f"{100 * math.expm1(least):.1f} %"


NUMBERS: dict[str, Callable[[], str]] = {
    "protocol_version": lambda: str(load().version),
    "protocol_sha256": lambda: _file_sha256("protocol.yaml"),
    "claims_sha256": lambda: _file_sha256("claims.yaml"),
    "alpha": lambda: f"{claims.verdict_rules().alpha:g}",
    "delta_share": lambda: f"{claims.verdict_rules().share:.0%}".replace("%", " %"),
    "delta_loss": lambda: f"{claims.verdict_rules().least['loss']:g}",
    "delta_perplexity": lambda: f"{claims.verdict_rules().least['perplexity']:g}",
    "title_most": lambda: str(claims.verdict_rules().most),
    "family": lambda: WORDS[len(_family())],
    "against": lambda: WORDS[sum(claim.sides[0].direction > 0 for claim in _family())],
    "n_images": lambda: str(_reporting("small", REPORT)),
    "n": lambda: str(UNTRIED),
    "pilot": lambda: f"{_pilot():g}",
    "seen_images": lambda: _seen(_reporting("small", REPORT)),
    "seen": lambda: _seen(UNTRIED),
    "smallest_p": lambda: f"{_smallest_p(UNTRIED):.3g}",
    "smallest_adjusted_p": lambda: f"{len(_family()) * _smallest_p(UNTRIED):.3g}",
    "least": lambda: str(intervals.LEAST),
    "resamples": lambda: f"{RESAMPLES:,}",
    "replays": lambda: f"{REPLAYS:,}",
    "power": lambda: f"{significance.POWER:.0%}".replace("%", " %"),
    "diverged_factor": lambda: f"{train.DIVERGED_FACTOR:g}",
    "diverged_steps": lambda: str(train.DIVERGED_STEPS),
    "failed": lambda: ", ".join(sorted(map(_words, run_records.FAILED))),
    "known_tolerance": lambda: f"{reproductions.TOLERANCE - 1:.0%}".replace("%", " %"),
    "runs_images_small": lambda: f"{runs('images', 'small'):,}",
    "deaths": lambda: str(sweep.DEATHS),
    "replicas": lambda: str(sweep.REPLICAS),
    "checkpoint_seconds": lambda: f"{checkpoints.CHECKPOINT_SECONDS:g}",
    "recalled": _recalled,
    "extra_nu": lambda: f"{_extra_nu():.4f}",
    "warm_up_step": lambda: str(_shortest()[0]),
    "warm_up_length": lambda: f"{_shortest()[1]:.3f}",
    "warm_up_over": lambda: str(_within(paper.nadam, 0.01)),
    "iclr_first": lambda: f"{_unit_steps(paper.nadam_iclr, 2000)[0]:.3f}",
    "iclr_over": lambda: str(_within(paper.nadam_iclr, 0.01)),
    "last_index": lambda: f"{_last_index():.2%}".replace("%", " %"),
}

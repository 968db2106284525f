"""The page of the protocol: sizes, seeds, arms, rates, claims, and the numbers in its text."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import Markdown

from nadam_ref import paper
from nadam_ref.experiments.protocol import definition, planning
from nadam_ref.experiments.protocol.definition import ArmPlan, load, profile_of
from nadam_ref.experiments.runs import checkpoints, driver, executor
from nadam_ref.experiments.runs import log as run_logs
from nadam_ref.experiments.runs import record as run_records
from nadam_ref.experiments.statistics import intervals, significance
from nadam_ref.experiments.verdicts import claims, seed_luck
from nadam_ref.experiments.verdicts.report import percent

from ...cells import show
from ...fingerprints import sha256
from .layout import fact_table, rate, span, words

#: The sizes a reader may run; `smoke` is for the tests alone.
PROFILES = ("live", "small", "paper", "choices", "map")
#: The task whose arms are those of all three of the report's; `WORDS_OWN` has further ones.
REPORT = "images"
WORDS_OWN = "word2vec"
PRIMARY = [claim for claim in claims.claims() if claim.primary]
#: Read here, when this module is imported: autodoc changes the signatures of what it documents.
RESAMPLES = inspect.signature(intervals.bootstrap_t).parameters["resamples"].default
REPLAYS = inspect.signature(seed_luck.seed_luck).parameters["replays"].default
#: The one profile with a pilot.
PILOTED = profile_of(REPORT, "small")
PILOT = PILOTED.pilot or math.nan
#: The numbers of reporting seeds there, and in `small` where no pilot says how many.
TRIED, UNTRIED = len(PILOTED.reporting), len(profile_of(WORDS_OWN, "small").reporting)
#: The sign-flip test's smallest p with so many pairs: all differences have one sign.
SMALLEST_P = significance.sign_flip(np.arange(1.0, UNTRIED + 1))


def runs(task: str, profile: str) -> int:
    """About how many runs a profile of a task has; known without its data."""
    return sum(planning.expected_runs(task, profile).values())


def _sizes() -> Markdown:
    rows = []
    for task, whole in load().tasks.items():
        momentum = whole.arms["Momentum"].hyperparameters if "Momentum" in whole.arms else None
        for profile in (name for name in PROFILES if name in whole.profiles):
            for data, plan in whole.profile(profile).data.items():
                μ = "differs" if momentum is None else f"{_last_momentum(momentum, plan.steps):.3f}"
                numbers = [f"{plan.steps:,}", plan.batch, f"{runs(task, profile):,}", μ]
                rows.append([words(task), f"`{profile}`", data, *numbers])
    header = ["task", "profile", "data", "steps", "batch", "runs, about", r"last $\mu_t$"]
    caption = "What is run. Of several data sets, the first that is available is taken."
    return fact_table(header, rows, "lllrrrr", "sizes", caption)


def _last_momentum(settings: Mapping[str, Any], steps: int) -> float:
    return float(paper.schedule(settings["momentum"], steps, settings.get("momentum_decay")))


def _seeds() -> Markdown:
    rows = []
    for profile in PROFILES:
        alike: dict[tuple[Any, ...], list[str]] = {}
        for task in load().having(profile):
            plan = profile_of(task, profile)
            most = plan.most or max(map(len, plan.rates.values()))  # without a search all are tried
            alike.setdefault((most, span(plan.tuning), span(plan.reporting)), []).append(words(task))
        rows += [[f"`{profile}`", ", ".join(tasks), *numbers] for numbers, tasks in alike.items()]
    header = ["profile", "tasks", "most rates", "tuning seeds", "reporting seeds"]
    return fact_table(header, rows, "llrll", "seeds", "Rates and seeds of each profile.")


def _arms(task: str, caption: str, without: str | None = None) -> Markdown:
    """The arms of a task, without those that another one has too."""
    plan, others = load().task(task), load().task(without).arms if without else ()
    header = ["arm", "family", "μ", "ψ", "ν", "ε", "form or dialect"]
    rows = [_arm(name, arm, plan.row_lazy) for name, arm in plan.arms.items() if name not in others]
    return fact_table(header, rows, "llrrrrl", f"arms-{task}", caption)


def _arm(name: str, arm: ArmPlan, row_lazy: bool) -> list[str]:
    """An arm's row: its numbers, then form or dialect, γ, the length of its steps, and how it treats rows."""
    h = arm.hyperparameters
    μ, ν = h.get("betas", (h.get("momentum"), h.get("alpha")))
    numbers = ["" if x is None else f"{x:g}" for x in (μ, h.get("momentum_decay"), ν)]
    ε = f"{rate(h['eps_root'])} inside" if "eps_root" in h else rate(h["eps"]) if "eps" in h else ""
    further = [
        h.get("form", h.get("dialect")),
        f"γ = {h['gamma']:g}" if "gamma" in h else None,
        f"{h['length']} length" if "length" in h else None,
        ("with" if h["nesterov"] else "without") + " look-ahead" if "nesterov" in h else None,
        f"λ = {h['weight_decay']:g}" if "weight_decay" in h else None,
        f"{h['row_counts']} count" if "row_counts" in h else None,
        "dense" if row_lazy and not arm.row_lazy else None,
    ]
    return [name, arm.family, *numbers, ε, ", ".join(filter(None, further))]


def _rates() -> Markdown:
    """The rate at which each family's search begins, for each task, and for those that begin elsewhere in `live`."""
    begins = {words(name): task.middle for name, task in load().tasks.items()}
    families = list(begins[words(REPORT)])
    live: dict[tuple[tuple[str, float], ...], list[str]] = {}
    for name in load().having("live"):
        middle = profile_of(name, "live").middle
        if middle != load().task(name).middle:
            live.setdefault(tuple(middle.items()), []).append(words(name))
    begins |= {f"{', '.join(names)}, in `live`": dict(middle) for middle, names in live.items()}
    rows = [[name, *(rate(at[x]) if x in at else "" for x in families)] for name, at in begins.items()]
    return fact_table(["task", *families], rows, "l" * (1 + len(families)), "rates", "Where the search begins.")


def _primary() -> Markdown:
    rules, rows = claims.verdict_rules(), []
    for claim in PRIMARY:
        (side,) = claim.sides
        sentence = f"{side.first}\u00a0{'<' if side.direction < 0 else '>'}\u00a0{side.second}"
        printed = ", ".join(map(str, side.printed or ()))
        gap = f"{percent(side.gap or 0.0)}{'' if side.resolved else ' †'}"
        rows.append([words(claim.task), sentence, printed, gap, f"{rules.delta(claim.metric, side.gap):.3f}"])
    header = ["task", "claim", "printed", "gap", "δ"]
    return fact_table(header, rows, "llrrr", "primary", "The primary family: the claims that decide the title.")


def _exploratory() -> Markdown:
    rows = [
        [f"{words(claim.task)}, {words(claim.metric)}", claim.sentence, "recalled" if claim.recalled else "seen"]
        for claim in claims.claims()
        if not claim.primary
    ]
    header = ["about", "sentence", "confirmed"]
    return fact_table(header, rows, "lll", "exploratory", "What the papers say in words.")


def _confound() -> Markdown:
    rows = [[x.method, x.part, f"{x.first} against {x.second}"] for x in claims.parts()]
    caption = "Where the gain of Nadam and of NadaMax comes from."
    return fact_table(["gain of", "part", "comparison"], rows, "lll", "confound", caption)


def _fingerprints() -> Markdown:
    rows = [
        [words(name), *(f"`{task.profiles[x].sha256[:12]}`" if x in task.profiles else "" for x in PROFILES)]
        for name, task in load().tasks.items()
    ]
    caption = "The first twelve digits of the sha256 of what the protocol says on each profile of each task."
    return fact_table(
        ["task", *(f"`{name}`" for name in PROFILES)], rows, "l" * (1 + len(PROFILES)), "fingerprints", caption
    )


def _seen(n: int) -> str:
    """The smallest difference that so many pairs show, in percent, in the hardest step of the primary family."""
    least = significance.detectable(PILOT, n, len(PRIMARY), claims.verdict_rules().alpha)
    return f"{100 * math.expm1(least):.1f} %"


BLOCKS: dict[str, Callable[[], str | Markdown]] = {
    "sizes": _sizes,
    "seeds": _seeds,
    "arms-report": partial(_arms, REPORT, "The arms of word2vec, images and the language model."),
    "arms-words": partial(_arms, WORDS_OWN, "Further arms of word2vec.", without=REPORT),
    "arms-autoencoder": partial(_arms, "autoencoder", "The arms of the autoencoder."),
    "arms-digits": partial(_arms, "digits", "The arms of the small network of the chapters."),
    "arms-transformer": partial(_arms, "transformer", "The arms of the transformer. λ is the weight decay."),
    "rates": _rates,
    "claims-primary": _primary,
    "claims-exploratory": _exploratory,
    "confound": _confound,
    "fingerprints": _fingerprints,
}

NUMBERS: dict[str, Callable[[], str]] = {
    "protocol_version": lambda: str(load().version),
    "protocol_sha256": lambda: sha256(Path(definition.__file__).with_name("protocol.yaml").read_bytes()),
    "claims_sha256": lambda: sha256(Path(claims.__file__).with_name("claims.yaml").read_bytes()),
    "alpha": lambda: f"{claims.verdict_rules().alpha:g}",
    "delta_share": lambda: f"{claims.verdict_rules().share:.0%}".replace("%", " %"),
    "delta_loss": lambda: f"{claims.verdict_rules().least['loss']:g}",
    "delta_perplexity": lambda: f"{claims.verdict_rules().least['perplexity']:g}",
    "title_most": lambda: str(claims.verdict_rules().most),
    "family": lambda: show.NUMBERS[len(PRIMARY)],
    "against": lambda: show.NUMBERS[sum(claim.sides[0].direction > 0 for claim in PRIMARY)],
    "n_images": lambda: str(TRIED),
    "n": lambda: str(UNTRIED),
    "pilot": lambda: f"{PILOT:g}",
    "seen_images": lambda: _seen(TRIED),
    "seen": lambda: _seen(UNTRIED),
    "smallest_p": lambda: f"{SMALLEST_P:.3g}",
    "smallest_adjusted_p": lambda: f"{len(PRIMARY) * SMALLEST_P:.3g}",
    "least": lambda: str(intervals.LEAST),
    "resamples": lambda: f"{RESAMPLES:,}",
    "replays": lambda: f"{REPLAYS:,}",
    "power": lambda: f"{significance.POWER:.0%}".replace("%", " %"),
    "diverged_factor": lambda: f"{run_logs.DIVERGED_FACTOR:g}",
    "diverged_steps": lambda: str(run_logs.DIVERGED_STEPS),
    "failed": lambda: ", ".join(sorted(map(words, run_records.FAILED))),
    "runs_images_small": lambda: f"{runs('images', 'small'):,}",
    "deaths": lambda: str(executor.DEATHS),
    "replicas": lambda: str(driver.REPLICAS),
    "checkpoint_seconds": lambda: f"{checkpoints.CHECKPOINT_SECONDS:g}",
}

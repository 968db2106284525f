"""The contents of the reference pages: `BLOCKS` as Markdown, `NUMBERS` as text, and `PICTURES`.

All come from the data files of `nadam_ref.experiments`, from `names.yaml` beside this module, or from a computation.
"""

from __future__ import annotations

import inspect
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from nadam_ref.experiments.released import folder
from nadam_ref.experiments.runs import checkpoints, pack, sweep
from nadam_ref.experiments.runs import log as run_logs
from nadam_ref.experiments.runs import record as run_records
from nadam_ref.experiments.statistics import intervals, significance
from nadam_ref.experiments.verdicts import claims, seed_luck
from nadam_ref.experiments.verdicts.report import percent
from nadam_ref.rules import RULES

from ... import checkout
from .. import BookError, faults, find_root
from ..cells import answer, bricks, show
from ..cells.figures import Picture
from ..fingerprints import sha256
from . import choice, equations, landing, wrappers

#: The sizes a reader may run; `smoke` is for the tests alone.
PROFILES = ("live", "small", "paper", "choices", "map")
#: The task whose arms are those of all three of the report's; `WORDS_OWN` has further ones.
REPORT = "images"
WORDS_OWN = "word2vec"
#: The tasks with results in the report, in its order.
REPORTED = ("word2vec", REPORT, "language_model")
#: Provenance note for tables generated from package data.
DATA_NOTE = "From the package's own data"
TEST_NOTE = f"From {equations.TESTS}"
#: Of so many tests of a fault the table has the names.
MOST = 3
PRIMARY = [claim for claim in claims.claims() if claim.primary]


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
    numbers = list(values)
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}–{numbers[-1]}"
    return ", ".join(map(str, numbers)) or "none"


def _table(
    header: list[str], rows: Iterable[list[Any]], align: str, name: str, caption: str, note: str = DATA_NOTE
) -> Markdown:
    return show.table(header, list(rows), align, name=f"tab-{name}", caption=caption, note=note)


# ---------------------------------------------------------------- the protocol


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
                rows.append([_words(task), f"`{profile}`", data, *numbers])
    header = ["task", "profile", "data", "steps", "batch", "runs, about", r"last $\mu_t$"]
    caption = "What is run. Of several data sets, the first that is available is taken."
    return _table(header, rows, "lllrrrr", "sizes", caption)


def _last_momentum(settings: Mapping[str, Any], steps: int) -> float:
    return float(paper.schedule(settings["momentum"], steps, settings.get("momentum_decay")))


def _seeds() -> Markdown:
    rows = []
    for profile in PROFILES:
        alike: dict[tuple[Any, ...], list[str]] = {}
        for task in load().having(profile):
            plan = profile_of(task, profile)
            most = plan.most or max(map(len, plan.rates.values()))  # without a search all are tried
            alike.setdefault((most, _span(plan.tuning), _span(plan.reporting)), []).append(_words(task))
        rows += [[f"`{profile}`", ", ".join(tasks), *numbers] for numbers, tasks in alike.items()]
    header = ["profile", "tasks", "most rates", "tuning seeds", "reporting seeds"]
    return _table(header, rows, "llrll", "seeds", "Rates and seeds of each profile.")


def _arms(task: str, caption: str, without: str | None = None) -> Markdown:
    """The arms of a task, without those that another one has too."""
    plan, others = load().task(task), load().task(without).arms if without else ()
    header = ["arm", "family", "μ", "ψ", "ν", "ε", "form or dialect"]
    rows = [_arm(name, arm, plan.row_lazy) for name, arm in plan.arms.items() if name not in others]
    return _table(header, rows, "llrrrrl", f"arms-{task}", caption)


def _arm(name: str, arm: ArmPlan, row_lazy: bool) -> list[str]:
    """An arm's row: its numbers, then form or dialect, γ, the length of its steps, and how it treats rows."""
    h = arm.hyperparameters
    μ, ν = h.get("betas", (h.get("momentum"), h.get("alpha")))
    numbers = ["" if x is None else f"{x:g}" for x in (μ, h.get("momentum_decay"), ν)]
    ε = f"{_rate(h['eps_root'])} inside" if "eps_root" in h else _rate(h["eps"]) if "eps" in h else ""
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
    begins = {_words(name): task.middle for name, task in load().tasks.items()}
    families = list(begins[_words(REPORT)])
    live: dict[tuple[tuple[str, float], ...], list[str]] = {}
    for name in load().having("live"):
        middle = profile_of(name, "live").middle
        if middle != load().task(name).middle:
            live.setdefault(tuple(middle.items()), []).append(_words(name))
    begins |= {f"{', '.join(names)}, in `live`": dict(middle) for middle, names in live.items()}
    rows = [[name, *(_rate(at[x]) if x in at else "" for x in families)] for name, at in begins.items()]
    return _table(["task", *families], rows, "l" * (1 + len(families)), "rates", "Where the search begins.")


def _primary() -> Markdown:
    rules, rows = claims.verdict_rules(), []
    for claim in PRIMARY:
        (side,) = claim.sides
        sentence = f"{side.first}\u00a0{'<' if side.direction < 0 else '>'}\u00a0{side.second}"
        printed = ", ".join(map(str, side.printed or ()))
        gap = f"{percent(side.gap or 0.0)}{'' if side.resolved else ' †'}"
        rows.append([_words(claim.task), sentence, printed, gap, f"{rules.delta(claim.metric, side.gap):.3f}"])
    header = ["task", "claim", "printed", "gap", "δ"]
    return _table(header, rows, "llrrr", "primary", "The primary family: the claims that decide the title.")


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
        [_words(name), *(f"`{task.profiles[x].sha256[:12]}`" if x in task.profiles else "" for x in PROFILES)]
        for name, task in load().tasks.items()
    ]
    caption = "The first twelve digits of the sha256 of what the protocol says on each profile of each task."
    return _table(
        ["task", *(f"`{name}`" for name in PROFILES)], rows, "l" * (1 + len(PROFILES)), "fingerprints", caption
    )


# ---------------------------------------------------------------- the papers


#: What a page says of `Detail.compared`, which book.js filters by.
COMPARED = {"same": "The same", "different": "Different", "unknown": "Not known"}


def _open_details(task: str) -> Markdown:
    rows = [
        [f"{row.detail[0].upper()}{row.detail[1:]}", f"{row.paper} (*{row.certainty}*)", _chosen(row)]
        for row in open_details.details()
        if row.task == task
    ]
    caption = f"Left open: {_words(task)}."
    return _table(["detail", "the paper", "here"], rows, "lll", f"open-{task.replace('_', '-')}", caption)


def _chosen(row: open_details.Detail) -> str:
    """What was chosen, after the word that says how it compares; "the same" is not said twice."""
    chosen = row.chosen.removeprefix("the same").lstrip(",; ") if row.compared == "same" else row.chosen
    return f"[{COMPARED[row.compared]}]{{.compared}}{f': {chosen}' if chosen else ''}. *Why:* {row.why}."


def _compared() -> str:
    """How many open details there are of each kind, in words."""
    counts = Counter(row.compared for row in open_details.details())
    return f"{counts['different']} different, {counts['same']} the same, {counts['unknown']} not known"


def _reported() -> Markdown:
    tables = {task: published.reported("cs229", task) for task in REPORTED}
    lowest = [min(table.values(), key=lambda row: float(row.value)) for table in tables.values()]
    rows = [
        [name, *(f"**{row}**" if row in lowest else str(row) for row in (table[name] for table in tables.values()))]
        for name in tables[REPORT]
    ]
    header = ["method", *(f"{_words(row.task)}: {_words(row.metric)}" for row in lowest)]
    return _table(header, rows, "lrrr", "reported", "The report's results. The lowest of each column is bold.")


def _recalled() -> str:
    """How many of the report's numbers are recalled."""
    recalled = [row.is_recalled for task in REPORTED for row in published.reported("cs229", task).values()]
    return f"{sum(recalled)} of {len(recalled)}"


def _reported_rates() -> Markdown:
    table = published.reported("iclr", "autoencoder")
    rows = [[name, row, row.confirmed] for name, row in table.items()]
    caption = "The workshop paper's best learning rates."
    return _table(["method", "learning rate", "confirmed"], rows, "lrl", "reported-rates", caption)


def _known() -> Markdown:
    """Published results beside those of the recorded runs that were to reach them."""
    records = {record.spec.task: record for record in pack.read(folder("known"))}
    rows = []
    for name, x in reproductions.REPRODUCTIONS.items():
        record = records.get(x.task)
        ours = x.measured(record) if record else {}
        reached = "yes" if record and x.reached(record) else "not yet"
        for metric, value in x.published.items():
            measured = f"{ours[metric]:.4g}" if metric in ours else ""
            rows.append([f"`{name}`", _words(metric), f"{value:g}", measured, reached])
    caption = (
        "Results of others, for one optimizer each; and those of our recorded runs, made by `nadam-ref reproduce`."
    )
    note = show.provenance_note(records.values(), recorded=True)
    return _table(["run", "metric", "published", "ours", "reached"], rows, "llrrl", "known", caption, note)


def _known_sources() -> str:
    return "\n\n".join(f"`{name}`\n: {x.source}." for name, x in reproductions.REPRODUCTIONS.items())


# ---------------------------------------------------------------- errata


@cache
def _unit_steps(box: Callable[..., paper.Path]) -> Any:
    """The first 2000 steps of a Nadam on the constant gradient 1, in units of η, with μ = .99 and ε = 0."""
    θ = paper.path(box, [0.0], lambda _θ, _t: np.ones(1), 2000, η=1.0, μ=0.99, ε=0.0)
    return -np.diff(θ[:, 0])


def _extra_nu() -> float:
    """How much longer the printed ν makes every step."""
    ratio = _unit_steps(paper.nadam_iclr_printed) / _unit_steps(paper.nadam_iclr)
    assert np.ptp(ratio) < 1e-9, "the factor is the same at every step"
    return float(ratio[0])


def _within(box: Callable[..., paper.Path]) -> int:
    """The first step from which on every step is right to one part in a hundred."""
    return int(np.flatnonzero(np.abs(_unit_steps(box) - 1) > 0.01)[-1]) + 2


def _last_index() -> float:
    """How the last of 1000 steps changes if μ_T is taken where the list has no μ_{T+1}."""
    μ = [paper.schedule(0.99, t) for t in range(1, 1002)]
    P = np.cumprod(μ)
    step = [x * (1 - P[-2]) / (1 - P[-2] * x) + (1 - μ[-2]) / (1 - P[-2]) for x in μ[-2:]]
    return float(abs(step[0] / step[1] - 1))


# ---------------------------------------------------------------- equations


def _equations() -> Markdown:
    caption = "The numbered equations of the chapters, and what is compared with each."
    return _table(["equation", "the test says", "its name"], equations.rows(), "lll", "equations", caption, TEST_NOTE)


# ---------------------------------------------------------------- faults


def _faults() -> Markdown:
    tested = faults.tests(find_root() / "tests")
    rows = []
    for fault in faults.catalogue():
        number, wrong = f"[{fault.number}]{{#fault-{fault.number}}}", f"[{fault.part}]{{.compared}}: {fault.wrong}"
        tests = _tests(tested.get(fault.number, []), _sources())
        rows.append([number, wrong, fault.seen, fault.kept, tests])
    header = ["no.", "what can go wrong", "what you see", "what is kept", "the tests"]
    caption = "What can go wrong, and the tests that make it happen."
    return _table(header, rows, "lllll", "faults", caption, "From nadam_ref/book/faults.yaml and the tests")


def _sources() -> str:
    """The address of the repository's files."""
    repository = yaml.safe_load((find_root() / "_config.yml").read_text(encoding="utf-8"))["repository"]
    return f"{repository['url']}/blob/{repository['branch']}"


def _tests(tests: Sequence[faults.Test], address: str) -> str:
    """Links to the tests; of many to the first ones, and to the files of the others."""
    named = tests if len(tests) < MOST + 2 else tests[:MOST]
    links = [f"[{test.words}]({address}/{test.file})" for test in named]
    if others := tests[len(named) :]:
        files = ", ".join(f"[{Path(file).name}]({address}/{file})" for file in dict.fromkeys(x.file for x in others))
        links.append(f"and {len(others)} more in {files}")
    return "; ".join(links)


def _fault_tests() -> int:
    """How many tests there are that assert at least one fault."""
    return len({test for tests in faults.tests(find_root() / "tests").values() for test in tests})


# ---------------------------------------------------------------- the soak

#: The faults of the recorded soak, in words.
SOAK_FAULTS = {
    "kill_the_driver": "the sweep killed (SIGKILL)",
    "kill_a_worker": "one of its workers killed (SIGKILL)",
    "fill_the_disk": "a full disk: no sync, or only half of a file, has space",
    "damage_a_record": "a record cut off, emptied, overwritten with zeros or changed in a byte",
    "damage_a_checkpoint": "the sweep stopped (SIGTERM), and a checkpoint damaged likewise",
    "turn_the_clock": "the clock turned forward or back, by seconds to years",
    "slow_the_disk": "a slow disk: every sync takes up to 0.3\u00a0s longer",
    "take_the_locks": "a file system that locks nothing from now on",
    "suspend": "all processes suspended for some seconds (SIGSTOP)",
}
#: What the account says of the runs, in words.
SOAK_TOTALS = {
    "rounds": "sweeps, each into a new store",
    "commands": "times that the command was started",
    "asked": "runs asked for",
    "lost": "runs lost",
    "different": "records unlike those of an undisturbed sweep",
    "repeated": "finished runs made again, because a fault had destroyed the record",
    "repeated_without_cause": "finished runs made again for another reason",
    "interrupted": "runs interrupted, and begun again or gone on with",
    "records_set_aside": "damaged records set aside, each with one line",
    "checkpoints_set_aside": "damaged checkpoints set aside, each with one line",
    "unfinished_files": "half-written files that a killed process left, and nobody read",
    "bytes_compared": "bytes compared with those of an undisturbed sweep",
}


@cache
def soak() -> Mapping[str, Any]:
    """The account of the recorded soak, as `tests/experiments/soak.py` writes it."""
    return json.loads((folder("soak") / "soak.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _soak_note() -> str:
    made, machine = soak(), soak()["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, torch {machine['torch']}"
    return f"Recorded on {made['started'][:10]} at commit {made['commit'][:12]}: {where}"


def _soak_faults() -> Markdown:
    rows = [[words, f"{soak()['faults'][name]:,}"] for name, words in SOAK_FAULTS.items()]
    caption = "What the sweeps of the recorded soak met, and how often."
    return _table(["fault", "times"], rows, "lr", "soak-faults", caption, _soak_note())


def _soak() -> Markdown:
    rows = [[words, f"{soak()['totals'][name]:,}"] for name, words in SOAK_TOTALS.items()]
    return _table(["what", "number"], rows, "lr", "soak", "What came of it.", _soak_note())


# ---------------------------------------------------------------- several processes


def _distributed() -> Markdown:
    found = wrappers.wrappers(wrappers.source())
    paths = list(dict.fromkeys(path for wrapper in found for path in wrapper.paths))
    address = f"{_sources()}/{wrappers.TESTS}"
    rows = [[f"[{x.words}]({address})", *("✓" if path in x.paths else "–" for path in paths)] for x in found]
    caption = "What works on several processes, each ✓ a test of every optimizer."
    header = ["wrapper", *paths]
    return _table(header, rows, "l" * len(header), "distributed", caption, f"From {wrappers.TESTS}")


# ---------------------------------------------------------------- mutants

MUTATION = "tests/mutation.json"


@cache
def _mutation() -> Mapping[str, Any]:
    """What `tests/mutation.py` recorded. Raises `BookError` outside of a checkout."""
    if (root := checkout.find(MUTATION)) is None:
        raise BookError(f"the table of mutants is made from {MUTATION}, which is not here: use a clone")
    path = root / MUTATION
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _mutants(name: str) -> int:
    """How many mutants there are, or of one kind."""
    return sum(counts[name] for counts in _mutation()["modules"].values())


def _mutation_table() -> Markdown:
    kinds = ("mutants", "killed", "equivalent")
    rows = [[f"`{module}.py`", *(counts[name] for name in kinds)] for module, counts in _mutation()["modules"].items()]
    header = ["module", "changes", "a test fails", "the same result"]
    note = f"From tests/mutation.py, with the operators of {_mutation()['tool']}"
    return _table(header, rows, "lrrr", "mutation", "Changes to one line each, and whether a test fails.", note)


# ---------------------------------------------------------------- names


@cache
def _names() -> Mapping[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("names.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _symbols() -> Markdown:
    rows = [
        [
            f"[${x['symbol']}$]{{#symbol-{x['id']}}}",
            x["what"],
            x["range"],
            x["papers"],
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


# ---------------------------------------------------------------- the answer


@cache
def lines() -> list[answer.Line]:
    """Nadam against Adam; read once, because there are many runs."""
    return answer.lines()


# ---------------------------------------------------------------- what there is

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
    **{f"open-details-{task}": partial(_open_details, task) for task in load().having("paper")},
    "status": lambda: landing.status(lines()),
    "answer-first": lambda: answer.first(lines()),
    "answer": lambda: str(answer.short(lines()).data),
    "choice": lambda: choice.table(choice.recommended(), "../notebooks/", ".ipynb"),
    "map": landing.rule_map,
    "equations": _equations,
    "faults": _faults,
    "soak-faults": _soak_faults,
    "soak": _soak,
    "soak-command": lambda: f"```bash\n{soak()['command']} --out soak.json\n```",
    "distributed": _distributed,
    "mutation": _mutation_table,
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


#: The one profile with a pilot.
PILOTED = profile_of(REPORT, "small")
PILOT = PILOTED.pilot or math.nan
#: The numbers of reporting seeds there, and in `small` where no pilot says how many.
TRIED, UNTRIED = len(PILOTED.reporting), len(profile_of(WORDS_OWN, "small").reporting)


#: The sign-flip test's smallest p with so many pairs: all differences have one sign.
SMALLEST_P = significance.sign_flip(np.arange(1.0, UNTRIED + 1))


def _seen(n: int) -> str:
    """The smallest difference that so many pairs show, in percent, in the hardest step of the primary family."""
    least = significance.detectable(PILOT, n, len(PRIMARY), claims.verdict_rules().alpha)
    return f"{100 * math.expm1(least):.1f} %"


PICTURES: dict[str, Callable[[], Picture]] = {
    "answer": lambda: answer.picture(lines()),
    "answer-small": lambda: landing.forest(lines()),
    "first-steps": landing.first_steps,
    "bricks": lambda: bricks.bricks("Adam", "Nadam", steps=1),
}

#: What a table says that a chapter has computed, from its rows and its note.
SENTENCES: dict[str, Callable[[Sequence[Sequence[str]], str], str]] = {
    "schedule-first": lambda rows, _note: landing.schedule_first(lines(), rows),
    "two-by-two": lambda rows, note: landing.two_by_two(lines(), rows, note),
}

NUMBERS: dict[str, Callable[[], str]] = {
    "faults": lambda: str(len(faults.catalogue())),
    "distributed_tolerance": lambda: f"{wrappers.tolerance(wrappers.source()):f}",
    "soak_minutes": lambda: f"{soak()['seconds'] / 60:.0f}",
    "soak_faults": lambda: f"{sum(soak()['faults'].values()):,}",
    "fault_tests": lambda: str(_fault_tests()),
    "mutants": lambda: f"{_mutants('mutants'):,}",
    "mutants_killed": lambda: f"{_mutants('killed') / _mutants('mutants'):.1%}".replace("%", " %"),
    "mutants_equivalent": lambda: str(_mutants("equivalent")),
    "mutants_left": lambda: str(_mutants("mutants") - _mutants("killed") - _mutants("equivalent")),
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
    "failed": lambda: ", ".join(sorted(map(_words, run_records.FAILED))),
    "known_tolerance": lambda: f"{reproductions.TOLERANCE - 1:.0%}".replace("%", " %"),
    "runs_images_small": lambda: f"{runs('images', 'small'):,}",
    "deaths": lambda: str(sweep.DEATHS),
    "replicas": lambda: str(sweep.REPLICAS),
    "checkpoint_seconds": lambda: f"{checkpoints.CHECKPOINT_SECONDS:g}",
    "compared": _compared,
    "recalled": _recalled,
    "extra_nu": lambda: f"{_extra_nu():.4f}",
    "warm_up_step": lambda: str(_unit_steps(paper.nadam).argmin() + 1),
    "warm_up_length": lambda: f"{_unit_steps(paper.nadam).min():.3f}",
    "warm_up_over": lambda: str(_within(paper.nadam)),
    "iclr_first": lambda: f"{_unit_steps(paper.nadam_iclr)[0]:.3f}",
    "iclr_over": lambda: str(_within(paper.nadam_iclr)),
    "nadams": lambda: show.NUMBERS[len(landing.NADAMS)],
    "rules": lambda: show.NUMBERS[len(RULES)],
    "last_index": lambda: f"{_last_index():.2%}".replace("%", " %"),
}

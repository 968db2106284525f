"""Where a gain comes from, as sentences: the look-ahead, the memory and the length of the steps."""

from __future__ import annotations

from IPython.display import Markdown

from ....experiments.verdicts.arms import Evidence
from ....experiments.verdicts.verdicts import Effect, confound
from .. import recorded
from ..recorded import Recorded
from ..show import markdown
from .comparisons import effects, where_run
from .wording import at_size, rate_words, short

#: The parts whose factors multiply to the whole, and what is made of several of them.
THREE = ("look-ahead", "memory", "length")
PRODUCTS = ("whole gain", "memory and length")


@where_run
def apart(evidence: Evidence) -> Markdown:
    """How much of Nadam's gain is the look-ahead, how much the memory, how much the length of its steps."""
    text = _parts(evidence)
    if not text:
        return markdown(
            f"{at_size(evidence)}, the arms that separate memory from length have not been run at a common rate yet."
        )
    return markdown(text + _larger(evidence))


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
        f"{at_size(evidence)} and one rate for all, $\\eta$ = {whole.common_lr:g}: {sizes}. "
        f"Multiplied, these are Nadam's whole difference from Adam there, {_effect(whole)}. {helps}"
    )


def ahead(*sizes: Recorded) -> Markdown | None:
    """How much of Nadam's difference from Adam comes from looking ahead, at each size where that was run."""
    found = [text for it in sizes if it.evidence and (text := _ahead(it.evidence))]
    return markdown("Does it come from looking ahead? " + " ".join(found)) if found else None


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
        f"{at_size(evidence)} and at one rate for all arms, {answer}: Nadam differs from Adam by {short(whole)}, and "
        f"the look-ahead alone makes {short(part)}."
    )


@where_run
def at_one_rate(evidence: Evidence, method: str, *names: str) -> Markdown:
    """Parts of a method's gain, each at the arms' own rates and at one rate for both."""
    lines = []
    for e in confound(evidence):
        if e.part.method == method and e.part.part in names:
            equal = "not run" if e.common is None else f"{short(e.common)} at η = {e.common_lr:g}"
            own = f"{short(e.comparison)} at {rate_words(*e.lr)}"
            lines.append(
                f"- *{recorded.called(e.part.part)}*, {e.part.first} against {e.part.second}. "
                f"Own rates: {own}. One rate: {equal}."
            )
    return markdown(*lines)


def _effect(e: Effect) -> str:
    return "diverged" if e.common is None or e.common.mean is None else short(e.common)


def _below(e: Effect) -> bool:
    """Whether the 95 % interval at the common rate is below 0."""
    return e.common is not None and e.common.interval is not None and e.common.interval[1] < 0

"""What the choice of the learning rates does to a comparison, as sentences."""

from __future__ import annotations

import math

from IPython.display import Markdown

from ....experiments.protocol.tuning import choose
from ....experiments.tasks import TASKS
from ....experiments.verdicts.arms import Evidence
from ....experiments.verdicts.measures import rate_shares
from ....experiments.verdicts.report import percent
from ....rules import RULES
from ..show import markdown
from .comparisons import compared, sides, where_run
from .wording import at_size


@where_run
def at_rates(evidence: Evidence) -> Markdown:
    """What becomes of each pair's difference at other rates."""
    lines = []
    for first, second, metric in sides(evidence):
        found = [(x.mean, where) for x, where in compared(first, second, metric) if x.mean is not None]
        if not found:
            continue
        same = len({mean > 0 for mean, _ in found}) == 1
        sizes = "; ".join(f"{percent(mean)} ({where})" for mean, where in found)
        end = "The sign is the same at all of them" if same else "The sign changes with the rate"
        if len(found) == 1:
            end = "It was run at no other rate"
        lines.append(f"- **{first.name} against {second.name}**: {sizes}. {end}.")
    return markdown(f"{at_size(evidence)}:", "", *lines) if lines else markdown()


@where_run
def certainty(evidence: Evidence) -> Markdown:
    """How certain the choice of the rates is, from the bootstrap over the tuning seeds."""
    (arms,) = evidence.values()
    shares = {name: rate_shares(arm)[arm.lr] for name, arm in arms.items()}
    sure = sum(share == 1 for share in shares.values())
    n = len(next(iter(arms.values())).chosen.runs)
    least = min(shares, key=lambda name: shares[name])
    text = (
        f"{at_size(evidence)}, {sure} of {len(arms)} arms choose the same rate "
        f"whichever of the {n} tuning seeds are drawn again."
    )
    if shares[least] < 1:
        text += (
            f" The least certain is {least}: it takes its rate, {arms[least].lr:g}, in {shares[least]:.0%} of draws."
        )
    lost = {name: [f"{row.lr:g}" for row in arms[name].tuning if row.diverged] for name in RULES if name in arms}
    gone = "; ".join(f"{name} at {', '.join(sorted(rates, key=float))}" for name, rates in lost.items() if rates)
    text += f" The figure leaves out the rates at which runs diverged: {gone}." if gone else ""
    return markdown(text.replace("%", " %"))


@where_run
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
    above = percent(gain).removeprefix("+")
    return markdown(
        f"On the development set the second-best of the {len(costs)} methods ends {above} above the best. For "
        f"{dearer} of the {len(costs)}, the better neighbour of the chosen rate costs more than that."
    )

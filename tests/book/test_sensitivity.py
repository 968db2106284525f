"""What chapter 25 shows is what the packs say: numbers, sentences and figures follow a value that is changed."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import chapters
import constructed
import numpy as np
import pytest
import torch
from small_book import ROOT
from torch.func import hessian

from nadam_ref.book.cells import recorded
from nadam_ref.book.cells.sensitivity import certainty, choices, lookahead, map_runs, one_setting, rates, step_length
from nadam_ref.book.widgets import directive
from nadam_ref.experiments.protocol.definition import load, profile_of
from nadam_ref.experiments.runs import pack, train
from nadam_ref.experiments.runs.record import Record
from nadam_ref.experiments.statistics.significance import detectable
from nadam_ref.experiments.tasks import TASKS, model_of
from nadam_ref.experiments.verdicts.measures import median_best
from nadam_ref.experiments.verdicts.report import percent

RESULTS = ROOT / "book" / "results"
MADE = {"nadam_ref": "1", "commit": "0" * 40, "dirty": False}
RNG = np.random.default_rng(0)
#: The luck of five seeds, which every arm shares.
LUCK = RNG.normal(0, 0.05, 5)


# ---------------------------------------------------------------- beside the other means


def made(task: str, name: str, level: float) -> list[Record]:
    """An arm's search over three rates and its five reported runs, whose log metric is `level` and their luck."""
    arm = profile_of(task, "choices").plans[name]
    size = TASKS[task].SIZES["choices"]
    fields: dict[str, Any] = {
        "profile": "choices",
        "model": model_of(dataclasses.replace(size, **arm.model)),
        "provenance": MADE,
    }
    base = name.split()[0]
    tuned = [
        constructed.record(task, base, lr, seed, 1.0 + abs(i - 1), **fields)
        for i, lr in enumerate((0.001, 0.01, 0.1))
        for seed in (1000, 1001)
    ]
    return tuned + [
        constructed.record(task, base, 0.01, seed, math.exp(level + luck), **fields) for seed, luck in enumerate(LUCK)
    ]


def levels(task: str) -> dict[str, float]:
    """A level for every arm: each choice changes something else, and Nadam is 2 % lower than Adam under all of them."""
    plans = profile_of(task, "choices").plans
    models = sorted({json.dumps(dict(arm.model)) for arm in plans.values() if arm.model})
    return {
        name: (0.03 * (1 + models.index(json.dumps(dict(plans[name].model)))) if plans[name].model else 0.0)
        - 0.02 * name.startswith("Nadam")
        for name in profile_of(task, "choices").arms
    }


def packs(task: str, changed: Mapping[str, float] | None = None, without: str = "nothing") -> dict[str, list[Record]]:
    level = {**levels(task), **(changed or {})}
    return {task: [r for name, x in level.items() if without not in name for r in made(task, name, x)]}


@pytest.mark.parametrize("task", load().having("choices"))
def test_every_row_is_the_difference_that_the_records_have(task: str) -> None:
    found = choices.beside(packs(task))
    (own,) = (x for x in found if x.task == task)
    arms, level = profile_of(task, "choices").arms, levels(task)
    adam = [name for name in arms if name.startswith("Adam")]
    expected = [-0.02, *(level[name] for name in adam[1:])]
    means = [row.x.mean for row in own.ran if row.x is not None]
    assert means == pytest.approx(expected, abs=1e-12) and len(own.rows) == len(adam)
    assert [row.x.mean for row in own.under if row.x is not None] == pytest.approx([-0.02] * len(adam), abs=1e-12)
    assert len({row.what for row in own.rows}) == len(own.rows)
    drawn = choices.forest(found).data
    assert [x[0] for x in drawn.values()] == pytest.approx(expected, abs=1e-12)
    other = [x for x in found if x.task != task]
    assert not any(x.ran for x in other)


def test_sentence_figure_and_table_follow_a_value_that_is_changed() -> None:
    before = choices.beside(packs("images"))
    after = choices.beside(packs("images", {'Adam init="he"': 0.5, 'Nadam init="he"': 0.6}))
    said = [choices.answered(x).data for x in (before, after)]
    assert "the largest is that of He's initialization" in said[1] and percent(0.5) in said[1]
    assert percent(0.5) not in said[0] and said[0] != said[1]
    key = "handwritten digits, He's initialization"
    drawn = [choices.forest(x).data[key][0] for x in (before, after)]
    assert drawn[1] == pytest.approx(0.5) and drawn[0] != pytest.approx(0.5)
    tables = [str(x and x.data).replace("\xa0", " ") for x in map(choices.under, (before, after))]
    assert percent(0.1) in tables[1] and percent(0.1) not in tables[0]
    assert "under 6 of the 6 others" in choices.changed(before).data
    assert "under 5 of the 6 others" in choices.changed(after).data


def test_how_many_choices_change_more_than_the_optimizer_does() -> None:
    plans = profile_of("images", "choices").plans
    others = [name for name in profile_of("images", "choices").arms if name.startswith("Adam ")]
    small = {name: 0.001 for name in others[:4]}
    assert plans.keys() >= small.keys()
    said = choices.answered(choices.beside(packs("images", {**dict.fromkeys(others, 0.3), **small}))).data
    assert f"Of {len(others)} other choices on handwritten digits, {len(others) - 4} change" in said
    one = choices.answered(choices.beside(packs("images", {**dict.fromkeys(others, 0.001), others[0]: 0.3}))).data
    assert f"Of {len(others)} other choices on handwritten digits, 1 changes" in one


def test_a_difference_is_clear_where_its_interval_leaves_out_nought() -> None:
    """All pairs of runs made up here differ by the same, so all their intervals are points."""
    found = choices.beside(packs("images"))
    apart = [row for task in found for row in task.ran if row.x and abs(row.x.mean or 0.0) > 1e-9]
    assert f"Of all {len(found[0].ran)} differences, the optimizer's included, {len(apart)} are clear of 0" in (
        choices.answered(found).data
    )


def test_what_is_not_run_is_said_with_the_command() -> None:
    nothing = choices.beside({})
    for said in (choices.answered(nothing).data, choices.changed(nothing).data):
        assert "ot run yet" in said
    assert "nadam-ref sweep choices --task images --task language_model --task autoencoder" in (
        choices.answered(nothing).data
    )
    assert choices.under(nothing) is None and choices.forest(nothing).data == {}
    part = choices.beside(packs("images", without='init="he"'))
    (images,) = (x for x in part if x.task == "images")
    assert [row.what for row in images.rows if row.x is None] == ["He's initialization"]
    assert "--task images" in choices.answered(part).data
    half = packs("images")["images"]
    dropped = [r for r in half if not (r.spec.seed == 4 and r.spec.model.get("dense") == 128)]
    rows = choices.beside({"images": dropped})[0].rows
    assert [row.what for row in rows if row.x is None] == ["twice the units"]


def test_a_run_that_diverged_is_no_number() -> None:
    found = choices.beside(packs("images", {"Adam dense=128": math.inf}))
    figure = choices.forest(found)
    assert not any("twice" in name for name in figure.data)
    assert any("5 and 0 runs diverged" in text.get_text() for text in figure.axes[0].texts)
    assert "some runs diverged" in choices.answered(found).data


# ---------------------------------------------------------------- maps


@pytest.fixture(scope="module")
def runs() -> list[Record]:
    return pack.read(RESULTS / "digits-map")


def cell(optimizer: str, μ: float, lr: float, batch: int = 64) -> dict[int, float]:
    """Test losses by seed, read from the table of the pack by other means."""
    found = {}
    with (RESULTS / "digits-map" / "runs.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            h = json.loads(line["hyperparameters"])
            usual = h.get("eps", 1e-8) == 1e-8 and not h.get("eps_root") and h.get("bias_correction", True)
            plain = usual and h.get("momentum_decay") is None and h.get("betas", [0, 0.999])[1] == 0.999
            at = (line["optimizer"], h["betas"][0] if "betas" in h else h["momentum"], h["lr"], int(line["batch"]))
            if plain and at == (optimizer, μ, lr, batch):
                found[int(line["seed"])] = float(line["test_loss"])
    return found


def test_a_cell_of_the_map_is_the_mean_over_pairs(runs: list[Record]) -> None:
    figure = lookahead.maps(runs)
    assert figure is not None
    for title, first, second in (("NAG / Momentum", "NAG", "Momentum"), ("Nadam (ICLR) / Adam", "Nadam", "Adam")):
        a, b = cell(first, 0.97, 0.032), cell(second, 0.97, 0.032)
        assert sorted(a) == list(range(5))
        at = figure.data[f"{title}: η"].tolist().index(0.032)
        expected = np.mean([math.log(a[s] / b[s]) for s in a])
        assert figure.data[f"{title}: μ = 0.97"][at] == pytest.approx(expected, rel=1e-12)
        assert np.abs(figure.data[f"{title}: μ = 0"]).max() < 1e-4  # as Exercise 1 says, to rounding


def test_map_and_sentence_follow_the_pack(runs: list[Record], tmp_path: Path) -> None:
    def worse(r: Record) -> Record:
        nag = r.spec.optimizer == "NAG" and r.spec.lr == 1e-3 and r.spec.batch == 64
        return dataclasses.replace(r, metrics={**r.metrics, "test_loss": 3 * r.metrics["test_loss"]}) if nag else r

    pack.write(tmp_path, [worse(r) for r in runs])
    changed = pack.read(tmp_path)
    before, after = (lookahead.maps(x) for x in (runs, changed))
    assert before is not None and after is not None
    at = before.data["NAG / Momentum: η"].tolist().index(1e-3)
    for μ in ("0.5", "0.99"):
        rows = [x.data[f"NAG / Momentum: μ = {μ}"] for x in (before, after)]
        assert rows[1][at] - rows[0][at] == pytest.approx(math.log(3), rel=1e-9)
    curvature = {"Momentum": 10.0, "Adam": 300.0}
    said = [x.data for r in (runs, changed) if (x := lookahead.where(r, curvature))]
    assert said[0].splitlines()[0] == said[1].splitlines()[0] and said[0].splitlines()[1] != said[1].splitlines()[1]
    assert before.axes[0].lines != after.axes[0].lines and after.alt != before.alt


def test_no_seed_has_a_say_in_its_own_rate() -> None:
    """At rate 1 seed 0 is by far the best on the development set; without it the others choose rate 2."""
    losses = {
        1.0: {0: (0.001, 10.0), 1: (5.0, 11.0), 2: (5.0, 12.0)},
        2.0: {0: (1.0, 20.0), 1: (1.0, 21.0), 2: (1.0, 22.0)},
    }
    assert map_runs.at_best(losses) == ([20.0, 11.0, 12.0], True)


def test_batches_and_settings_follow_the_pack(runs: list[Record]) -> None:
    def change(r: Record) -> Record:
        h = r.spec.hyperparameters
        hit = r.spec.optimizer == "Adam" and (r.spec.batch == 4 or h["betas"][1] == 0.99)
        return dataclasses.replace(r, metrics={k: 2 * x for k, x in r.metrics.items()}) if hit else r

    changed = [change(r) for r in runs]
    for draw, key in ((lookahead.batches, "Nadam (ICLR) / Adam: μ = 0.9"), (one_setting.settings, "Adam, ν = 0.99")):
        before, after = draw(runs), draw(changed)
        assert before is not None and after is not None
        assert np.abs(after.data[key] - before.data[key]).max() == pytest.approx(math.log(2), rel=1e-9)
    for say in (lookahead.noise, one_setting.settled):
        texts = [x.data for r in (runs, changed) if (x := say(r))]
        assert texts[0] != texts[1]
    settled = one_setting.settled(changed)
    assert settled is not None and "ν = 0.99 (" in settled.data


def test_longer_steps_are_those_of_the_dialect_and_their_differences_those_of_the_pack(runs: list[Record]) -> None:
    (found,) = step_length.against(runs, rates=1)
    μ, t = 0.9, np.arange(1, 101)
    own = (1 - μ) / (1 - μ**t) + μ * (1 - μ**t) / (1 - μ ** (t + 1))  # ICLR's m̄ of a gradient of one
    assert found.lr == 3.2e-4 and found.factor == pytest.approx(own.mean(), rel=1e-6)
    a, b = cell("Nadam", μ, 3.2e-4), cell("Adam", μ, 3.2e-4)
    assert found.same == pytest.approx([math.log(a[s] / b[s]) for s in range(5)], rel=1e-9)
    # A longer step at so small a rate gets further, by less than the whole way to the next rate.
    further = cell("Adam", μ, 1e-3)
    gained = found.longer - found.same
    assert (gained > 0).all() and (gained < [math.log(b[s] / further[s]) for s in range(5)]).all()
    said = step_length.explained([found])
    assert said is not None and f"explain {100 * gained.mean() / -found.same.mean():.0f} % of" in said.data


def test_longer_steps_are_only_a_part_of_the_answer(runs: list[Record]) -> None:
    """As the prose says; also by runs one at a time."""
    found = step_length.against(runs)
    assert "at most a part of the answer" in chapters.prose("25_sensitivity")
    assert [0 < x.explained < 0.75 for x in found] == [True] * 3
    said = step_length.explained(found)
    assert said is not None and "At all three rates Nadam is clearly lower all the same." in said.data
    spec = next(r.spec for r in found[2].records if r.spec.optimizer == "Adam" and r.spec.seed == 0)
    alone = train.run(
        dataclasses.replace(spec, hyperparameters={**spec.hyperparameters, "lr": spec.lr * found[2].factor})
    )
    nadam = cell("Nadam", 0.9, 3.2e-3)[0]
    assert found[2].longer[0] == pytest.approx(math.log(nadam / alone.metrics["test_loss"]), abs=1e-3)


def test_the_prose_on_noise_is_what_the_map_shows(runs: list[Record]) -> None:
    """Both places that say that the expectation of little noise fails."""
    text = chapters.prose("25_sensitivity")
    assert "do not bear out the third" in text and "this expectation fails here" in text
    said = lookahead.noise(runs)
    assert said is not None and "no larger with less noise" in said.data
    figure = lookahead.batches(runs)
    assert figure is not None
    for title in ("NAG / Momentum", "Nadam (ICLR) / Adam"):
        sizes = np.abs([x for name, x in figure.data.items() if name.startswith(f"{title}: μ")])
        assert np.median(sizes[:, -1]) < np.median(sizes[:, 0])


def test_without_a_map_nothing_is_shown() -> None:
    for draw in (lookahead.maps, lookahead.batches, lookahead.noise, one_setting.settings, one_setting.settled):
        assert draw([]) is None
    assert lookahead.where([], {}) is None
    assert step_length.against([]) == [] and step_length.compared([]) is None is step_length.explained([])


# ---------------------------------------------------------------- budget and power


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_median_best_is_that_of_all_draws(k: int) -> None:
    values = [0.3, math.inf, 0.1, 0.7, 0.2, math.inf, 0.5]
    best = sorted(min(draw) for draw in itertools.combinations(values, k))
    assert median_best(values, k) == best[(len(best) + 1) // 2 - 1]
    with pytest.raises(ValueError, match="k must lie between 1 and the 7 values, not 8"):
        median_best(values, 8)


def test_the_order_of_the_methods_follows_the_tuning_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (before,) = rates.contest(["digits-small"])
    everything = pack.read(RESULTS / "digits-small")

    def better(r: Record) -> Record:
        return (
            dataclasses.replace(r, metrics={k: x / 50 for k, x in r.metrics.items()}) if r.spec.optimizer == "GD" else r
        )

    pack.write(tmp_path / "digits-small", [better(r) for r in everything])
    monkeypatch.setattr(recorded, "here", lambda: tmp_path)
    (after,) = rates.contest(["digits-small"])
    assert before.order(before.most)[-1] == "GD" and after.order(after.most)[0] == "GD"
    last = f"GD is first with one rate and with {after.most};"
    assert last in rates.ordered([after]).data and "GD is first" not in rates.ordered([before]).data
    title = f"{after.title}: GD"
    assert rates.places([after]).data[title][-1] == 1 != rates.places([before]).data[title][-1]
    shift = rates.budget([before]).data[title][-1] - rates.budget([after]).data[title][-1]
    assert shift == pytest.approx(math.log(50))


def test_power_is_that_of_the_pairs_in_the_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (it,) = certainty.powerful(["word2vec-small"])
    arms = recorded.of("word2vec", "small").evidence
    assert arms is not None
    d = np.log(arms["word2vec"]["Nadam"].values("test_loss")) - np.log(arms["word2vec"]["Adam"].values("test_loss"))
    assert (it.n, it.mean, it.spread) == (len(d), pytest.approx(d.mean()), pytest.approx(d.std(ddof=1)))
    for effect in (0.01, 0.1):
        n = certainty.needed(0.1, effect)
        assert n is not None and detectable(0.1, n) <= effect and (n == 6 or detectable(0.1, n - 1) > effect)
    assert certainty.needed(1.0, 1e-4) is None

    def nearer(r: Record) -> Record:
        return dataclasses.replace(r, metrics={k: x * 1.01 for k, x in r.metrics.items()})

    records = [nearer(r) if r.spec.optimizer == "Nadam" else r for r in pack.read(RESULTS / "word2vec-small")]
    pack.write(tmp_path / "word2vec-small", records)
    monkeypatch.setattr(recorded, "here", lambda: tmp_path)
    (other,) = certainty.powerful(["word2vec-small"])
    assert other.mean - it.mean == pytest.approx(math.log(1.01))
    assert certainty.awaited([it]).data != certainty.awaited([other]).data
    assert "word vectors (small) | Nadam" in certainty.certain(["word2vec-small"]).data


# ---------------------------------------------------------------- the chapter


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own, as jvp is first used
def test_power_iteration_finds_the_largest_eigenvalue() -> None:
    """Against the whole Hessian of a smaller network, plain and scaled."""
    with chapters.carried_out(
        "25_sensitivity", "curvatures(", "show.table(", "(recorded_map", "(longer)", "(found)", "(seen)"
    ) as names:
        pass
    task, size = TASKS["digits"], TASKS["digits"].SIZES["smoke"]
    names["size"] = size
    p = {k: x.detach() for k, x in task.init(names["digits"], size, torch.Generator().manual_seed(3)).items()}
    flat = torch.cat([x.flatten() for x in p.values()])
    places = np.cumsum([0, *(x.numel() for x in p.values())])

    def loss(v: Any) -> Any:
        return names["loss"](
            {k: v[a:b].view(x.shape) for (k, x), a, b in zip(p.items(), places, places[1:], strict=False)}
        )

    whole = hessian(loss)(flat).double()
    scale = {k: torch.rand(x.shape, generator=torch.Generator().manual_seed(5)) + 0.5 for k, x in p.items()}
    root = torch.cat([x.flatten() for x in scale.values()]).double()
    one = {k: torch.ones_like(x) for k, x in p.items()}
    for D, matrix in ((one, whole), (scale, root[:, None] * whole * root)):
        values = torch.linalg.eigvalsh(matrix)
        assert values[-1] > -values[0]
        assert names["largest"](p, D, 300) == pytest.approx(values[-1].item(), rel=1e-3)


def test_the_prose_says_what_the_protocol_varies() -> None:
    text = chapters.prose("25_sensitivity")
    assert "five seeds" in text and len(profile_of("digits", "map").reporting) == 5
    assert "two tuning seeds" in text
    plans = {task: profile_of(task, "choices") for task in load().having("choices")}
    assert {(len(x.tuning), len(x.reporting)) for x in plans.values()} == {(2, 5)} and len(plans) == 3
    assert "best of nine rates" in text and {len(x) for x in profile_of("digits", "map").rates.values()} == {9}
    assert "a batch of 64" in text and load().task("digits").batch == 64
    assert "100 steps long" in text and profile_of("digits", "map").data["digits"].steps == 100


def test_the_table_of_methods_follows_the_slider(browser: Any) -> None:
    """The widget alone, with data made up: its order at every budget, by mouse and by keys."""
    curves = {"Adam": [0.5, 0.1, 0.1], "NAG": [0.2, 0.2, 0.2], "GD": [None, 0.9, 0.0]}
    look = {"colour": "#C94A00"}
    given = {
        "tasks": [{"title": "one", "most": 3, "curves": curves}, {"title": "two", "most": 1, "curves": {"GD": [1.0]}}],
        "looks": dict.fromkeys(curves, look),
        "preset": {"task": 0, "k": 1},
    }
    static = directive.STATIC / "optimizers"
    scripts = "".join(
        f"<script>{(static / f'{x}.js').read_text(encoding='utf-8')}</script>" for x in directive.SCRIPTS["budget"]
    )
    page = browser.new_page()
    page.set_content(f"<meta charset='utf-8'>{scripts}<figure><div class='play'></div></figure>")
    page.evaluate(
        "(given) => { const box = document.querySelector('.play'); box.dataset.given = JSON.stringify(given);"
        " nadamBudget.start(box); }",
        given,
    )

    def rows() -> list[str]:
        return [x.inner_text().split("\t")[0].strip() for x in page.locator("tbody th").all()]

    assert [x.split(" ")[0] for x in rows()] == ["NAG", "Adam", "GD"]
    assert "diverged" in page.locator("tbody").inner_text()
    page.locator("[data-k]").focus()
    page.keyboard.press("ArrowRight")
    assert [x.split(" ")[0] for x in rows()] == ["Adam", "NAG", "GD"]
    page.keyboard.press("ArrowRight")
    assert [x.split(" ")[0] for x in rows()] == ["GD", "Adam", "NAG"]
    page.wait_for_function("() => document.querySelector('[role=status]').textContent.startsWith('3 rates: GD, Adam')")
    page.locator("[data-task]").select_option("1")
    assert [x.split(" ")[0] for x in rows()] == ["GD"] and "1 of 1" in page.locator("output").inner_text()
    page.close()

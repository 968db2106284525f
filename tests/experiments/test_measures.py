"""How fast, how well along the way, how forgiving, how lucky: against numbers worked out by hand."""

import itertools
import math

import constructed
import numpy as np
import pytest

from nadam_ref.experiments import luck, measures
from nadam_ref.experiments.evidence import gather


def test_steps_to_a_target():
    assert measures.steps_to(1.0, [0, 10, 20, 30], [4.0, 1.5, 1.0, 2.0]) == 20.0
    assert measures.steps_to(0.5, [0, 10], [4.0, 1.5]) == math.inf
    assert measures.steps_to(5.0, [0, 10], [4.0, 1.5]) == 0.0


def test_area_under_the_log_curve():
    assert measures.log_area([0, 1, 3], [math.e, math.e, math.e**3]) == pytest.approx((1 * 1 + 2 * 2) / 3)
    whole = [0.0, 2.0, 5.0], np.array([4.0, 2.0, 1.0])
    assert measures.log_area(whole[0], whole[1] * 1.1) - measures.log_area(*whole) == pytest.approx(math.log(1.1))


def test_fault_68_area_of_a_diverged_curve():
    assert measures.log_area([0, 1], [1.0, math.inf]) == math.inf
    with pytest.raises(ValueError, match="two evaluations"):
        measures.log_area([0], [1.0])


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_expected_best_is_the_mean_over_all_draws(k):
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0]
    expected = np.mean([min(draw) for draw in itertools.combinations(values, k)])
    assert measures.expected_best(values, k) == pytest.approx(expected)


def test_fault_68_expected_best_with_diverged_trials():
    values = [1.0, math.inf, 2.0, math.inf]
    assert measures.expected_best(values, 2) == math.inf  # both may have diverged
    assert measures.expected_best(values, 3) == pytest.approx((1.0 + 1.0 + 1.0 + 2.0) / 4)
    with pytest.raises(ValueError, match="between 1 and the 4 values"):
        measures.expected_best(values, 5)


class Tried:
    """A rate and the mean development loss it reached: all that `good_rates` looks at."""

    def __init__(self, lr, loss):
        self.lr = lr
        self.dev_loss = self
        self.mean = loss


def good(*losses):
    return measures.good_rates([Tried(10.0**i, loss) for i, loss in enumerate(losses)])


def test_the_region_of_good_rates():
    assert good(5.0, 1.05, 1.0, 1.09, 3.0) == (10.0, 1000.0)
    assert good(1.05, 2.0, 1.0, math.inf) == (100.0, 100.0)  # a good rate beyond a bad one does not count
    assert good(math.inf, 1.0, 1.0) == (10.0, 100.0)


def test_fault_71_no_good_rate():
    assert good(math.inf, math.inf) is None


def test_methods():
    records = constructed.arm("images", "Adam", [0.5, 0.4, 0.6])
    records += constructed.arm("images", "Nadam", [0.3, math.inf, 0.2], best=0)
    adam, nadam = measures.methods(gather(records, "small"))
    assert (adam.lr, adam.edge, adam.n, adam.diverged, adam.decades) == (0.1, False, 3, 0, 0.0)
    assert adam.metrics["test_loss"].mean == pytest.approx(0.5)
    assert adam.steps == 4.0  # to its own mean .5: two seeds of three, at the last step
    assert adam.area == pytest.approx(
        np.mean([(math.log(4) + 2 * math.log(2) + math.log(x)) / 4 for x in (0.5, 0.4, 0.6)])
    )
    assert adam.trials == 1.0
    assert (nadam.lr, nadam.edge, nadam.diverged, nadam.area) == (0.01, True, 1, math.inf)
    assert nadam.steps == 4.0
    assert nadam.diverged_share == pytest.approx((0.0615, 0.7923), abs=1e-4)
    assert nadam.metrics["test_loss"].mean == math.inf


def test_without_adam_there_are_no_steps_to_target():
    (found,) = measures.methods(gather(constructed.arm("images", "GD", [1.0]), "small"))
    assert found.steps is None and found.diverged_share is not None


# ---------------------------------------------------------------- seed luck


def shares(nadam, adam, **changes):
    records = constructed.arm("images", "Nadam", nadam) + constructed.arm("images", "Adam", adam)
    found = luck.seed_luck(gather(records, "small"), **changes)
    return {claim.label: share for claim, share in found}


def test_seed_luck_is_the_share_of_all_draws():
    """The report says that Nadam ends higher on images. That is true of five of the nine draws; one is a tie."""
    assert shares([1.0, 3.0, 5.0], [1.0, 2.0, 4.0]) == {"Nadam vs Adam": pytest.approx(5 / 9, abs=0.02)}


def test_seed_luck_is_the_same_each_time():
    values = [1.0, 3.0, 5.0], [1.0, 2.0, 4.0]
    assert shares(*values) == shares(*values) != shares(*values, seed=1)


def test_seed_luck_of_certainties():
    assert shares([2.0, 2.5], [1.0, 1.5])["Nadam vs Adam"] == 1.0
    assert shares([1.0, 1.5], [2.0, 2.5])["Nadam vs Adam"] == 0.0


def test_fault_68_a_diverged_run_is_worse_than_any_other_and_equal_to_its_like():
    assert shares([math.inf] * 2, [1.0, 2.0])["Nadam vs Adam"] == 1.0
    assert shares([math.inf] * 2, [math.inf] * 2)["Nadam vs Adam"] == 0.0


def test_a_sentence_of_several_comparisons_needs_them_all():
    names = ["Nadam", "RMSProp", "Adam"]
    values = [[1.0, 3.0], [2.0, 2.0], [2.0, 2.0]]
    records = [r for n, v in zip(names, values, strict=True) for r in constructed.arm("word2vec", n, v)]
    found = {claim.label: share for claim, share in luck.seed_luck(gather(records, "small"))}
    assert found["Nadam best of its type"] == pytest.approx(0.5, abs=0.02)

"""The ladder: the simplest model that is not shown to be worse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.models.ladder import choose_simplest, paired_costs
from mlsys.objective.cost import Costs

COSTS = Costs(0, 1, 1, 0)


def with_errors(rows, **errors):
    """Outcomes, and for each model scores that are wrong on its own number of rows."""
    y = np.arange(rows) % 2
    scores = {}
    for name, wrong in errors.items():
        flipped = y.copy()
        flipped[:wrong] = 1 - flipped[:wrong]
        scores[name] = flipped * 0.8 + 0.1
    return y, scores


def test_equal_models_mean_the_simplest():
    y, scores = with_errors(500, constant=50, rule=50, logistic=50, boosted=50)
    choice = choose_simplest(y, scores, COSTS)
    assert choice.chosen == "constant"
    assert all(rung.is_good_enough and rung.low == rung.high == 0 for rung in choice.rungs)


def test_a_clear_difference_means_the_better_one():
    y, scores = with_errors(2000, constant=1000, rule=600, logistic=400, boosted=100)
    choice = choose_simplest(y, scores, COSTS)
    assert choice.chosen == "boosted"
    assert "logistic costs 150 more" in choice.reason and "shown to be worse at all" in choice.reason


def test_the_tolerance_is_what_a_simpler_model_may_lose():
    y, scores = with_errors(20_000, logistic=1600, boosted=1000)
    assert choose_simplest(y, scores, COSTS, tolerance=20).chosen == "boosted"
    choice = choose_simplest(y, scores, COSTS, tolerance=40)
    assert choice.chosen == "logistic"
    assert choice.reason.startswith("logistic is the simplest model that is not shown to be worse than boosted by more than 40")


def test_few_rows_show_little():
    few, many = with_errors(60, logistic=12, boosted=10), with_errors(6000, logistic=1200, boosted=1000)
    assert choose_simplest(*few, COSTS).chosen == "logistic"
    assert choose_simplest(*many, COSTS).chosen == "boosted"


def test_a_simple_model_that_is_cheapest_wins_over_complex_ones():
    y, scores = with_errors(1000, rule=100, logistic=300, boosted=300)
    choice = choose_simplest(y, scores, COSTS)
    assert choice.chosen == "rule" and "nothing simpler was tried" in choice.reason


def test_the_order_of_the_rungs_is_not_that_of_the_arguments():
    y, scores = with_errors(100, boosted=10, constant=10)
    assert [rung.name for rung in choose_simplest(y, scores, COSTS).rungs] == ["constant", "boosted"]
    assert choose_simplest(y, scores, COSTS, order=("boosted", "constant")).chosen == "boosted"


def test_the_difference_is_paired():
    """Two models that err on nearly the same rows have a difference far better known than their costs."""
    y, scores = with_errors(4000, logistic=1020, boosted=1000)
    rung = choose_simplest(y, scores, COSTS).rungs[0]
    assert rung.difference == pytest.approx(5.0)
    unpaired = 2 * 1.96 * np.sqrt(2 * 0.25 * 0.75 / 4000) * 1000
    assert rung.high - rung.low < unpaired / 5
    assert rung.low > 0


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**16), st.integers(30, 200), st.floats(0, 100))
def test_what_is_chosen_obeys_the_rule(seed, rows, tolerance):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    scores = {name: np.clip(0.5 + (y - 0.5) * skill + rng.normal(0, 0.3, rows), 0, 1)
              for name, skill in zip(("constant", "rule", "logistic", "boosted"), rng.random(4), strict=True)}  # fmt: skip
    choice = choose_simplest(y, scores, COSTS, tolerance, n_bootstrap=100, seed=seed)
    place = [rung.name for rung in choice.rungs].index(choice.chosen)
    assert choice.rungs[place].low <= tolerance
    assert all(rung.low > tolerance for rung in choice.rungs[:place])
    for rung in choice.rungs:
        assert rung.cost_per_1000 == pytest.approx(COSTS.per_1000(y, COSTS.decide(scores[rung.name])))
        assert rung.difference >= 0
    assert choice.to_dict()["rungs"][place]["name"] == choice.chosen


def test_the_draws_have_the_spread_that_rows_would_give():
    """The covariance of means of rows drawn with replacement is that of the rows, divided by their number."""
    rng = np.random.default_rng(0)
    y, decisions, costs = rng.integers(0, 2, 300), rng.integers(0, 2, (300, 2)), Costs(0, 1, 5, 0)
    values, draws = paired_costs(y, decisions, costs, 20_000, seed=0)
    prices = 1000 * np.column_stack([costs.of(y, column) for column in decisions.T])
    expected = np.cov(prices.T, bias=True) / 300
    assert values == pytest.approx(prices.mean(axis=0))
    assert draws.mean(axis=0) == pytest.approx(prices.mean(axis=0), abs=4 * np.sqrt(expected.max() / 20_000))
    assert np.cov(draws.T) == pytest.approx(expected, abs=0.05 * expected.max())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([0, 1], {"logistik": [0.1, 0.9]}), "Did you mean logistic"),
        (([0, 1], {}), "0 models"),
        (([], {"rule": []}), "0 rows"),
        (([0, 1], {"rule": [0.1, 0.2, 0.3]}), "as many rows as y has: 2"),
        (([0, 3], {"rule": [0.1, 0.2]}), "y: received 3"),
    ],
)
def test_bad_input_is_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        choose_simplest(*arguments, COSTS)


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ConfigError, match="tolerance: received -1"):
        choose_simplest([0, 1], {"rule": [0.1, 0.9]}, COSTS, tolerance=-1)

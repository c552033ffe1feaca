"""The ladder: the simplest model that is not shown to be worse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.models.ladder import choice_of, choose_simplest, paired_costs, step_table
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


def test_each_rung_is_compared_with_the_one_below():
    y, scores = with_errors(2000, constant=1000, rule=600, logistic=400, boosted=420)
    rungs = choose_simplest(y, scores, COSTS).rungs
    assert [rung.below for rung in rungs] == ["", "constant", "rule", "logistic"]
    assert [round(rung.saving) for rung in rungs] == [0, 200, 100, -10]
    assert all(rung.saving_low <= rung.saving <= rung.saving_high for rung in rungs)
    assert rungs[1].saving_low > 0 > rungs[3].saving_high  # the same rows are wrong: the steps are known well


def test_the_paired_interval_is_that_of_the_rows():
    """Of normal sums: 1.96 standard errors of the per-row difference, to a few per cent."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 4000)
    scores = {name: np.where(rng.random(4000) < wrong, 1 - y, y) * 0.8 + 0.1 for name, wrong in (("rule", 0.3), ("logistic", 0.2))}
    rung = choose_simplest(y, scores, COSTS, n_bootstrap=4000).rungs[1]
    paid = {name: COSTS.of(y, COSTS.decide(score)) for name, score in scores.items()}
    error = 1000 * (paid["rule"] - paid["logistic"]).std() / np.sqrt(4000)
    assert (rung.saving_high - rung.saving_low) / 2 == pytest.approx(1.96 * error, rel=0.06)


def test_rows_that_belong_together_show_less():
    """The same rows 30 times over are no better evidence; drawn as what they are, the interval says so."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 80)
    scores = {name: np.where(rng.random(80) < wrong, 1 - y, y) * 0.8 + 0.1 for name, wrong in (("rule", 0.35), ("logistic", 0.25))}
    many, repeated = np.repeat(y, 30), {name: np.repeat(score, 30) for name, score in scores.items()}
    units = {"people": np.repeat(np.arange(80), 30)}
    naive, honest = (choose_simplest(many, repeated, COSTS, units=known) for known in (None, units))
    assert naive.chosen == "logistic" and naive.units == "rows"
    assert honest.chosen == "rule" and honest.units == "people"
    widths = [choice.rungs[0].high - choice.rungs[0].low for choice in (naive, honest)]
    assert widths[1] == pytest.approx(widths[0] * np.sqrt(30), rel=0.15)


def test_one_unit_is_no_evidence_and_the_simplest_stays():
    y, scores = with_errors(200, constant=100, boosted=5)
    choice = choose_simplest(y, scores, COSTS, units={"people": np.zeros(200)})
    assert choice.chosen == "constant" and choice.rungs[0].low == -np.inf
    kept = choice.to_dict()
    kept["rungs"][0] |= {"low": None, "high": None}  # what JSON makes of an end that is not known
    assert np.isnan(choice_of(kept).rungs[0].low) and choice_of(kept).chosen == "constant"


def test_the_price_of_each_rung_stands_beside_its_saving():
    y, scores = with_errors(2000, constant=1000, rule=600, boosted=400)
    choice = choose_simplest(y, scores, COSTS)
    table = step_table(choice, {"rule": {"train_seconds": 0.1, "bytes": 10}, "boosted": {"train_seconds": 2.0, "bytes": 1000}})
    assert list(table.index) == ["constant", "rule", "boosted"]
    assert table.loc["boosted", "bytes"] == 1000 and table.loc["boosted", "chosen"] == "yes" and (table["chosen"] != "").sum() == 1
    assert table.iloc[0, 0] == "-" and table.iloc[1, 0].startswith("200 [")


@pytest.mark.parametrize("wrong", [0, 500])
def test_perfect_classifiers_and_one_prediction_for_all(wrong):
    y = np.arange(1000) % 2
    scores = {"rule": np.full(1000, 0.9), "boosted": y.astype(float)}
    choice = choose_simplest(y, scores if wrong else {**scores, "rule": y * 1.0}, COSTS)
    assert choice.chosen == ("boosted" if wrong else "rule")
    assert choice.rungs[-1].cost_per_1000 == 0

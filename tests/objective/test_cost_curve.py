"""The cost curve: every point is what that threshold does, and its minimum is what brute force finds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.evaluate.curve import threshold_curve
from mlsys.objective.cost import Costs
from mlsys.objective.curve import (
    cost_curve,
    cost_of_moving,
    moved_threshold,
    odds_factor,
    threshold_note,
    tuned_factor,
)

PRICE = st.floats(0.01, 100)
ROW = st.tuples(st.booleans(), st.integers(0, 8), PRICE, PRICE, st.floats(-10, 10))


def case(rows, per_row):
    """Truths, scores with ties, 0 and 1 among them, and costs."""
    y, level, alarm, miss, right = map(np.array, zip(*rows, strict=True))
    costs = Costs(right, alarm, right + miss, 0) if per_row else Costs(float(right[0]), float(alarm[0]), float(right[0] + miss[0]), 0)
    return y.astype(int), level / 8, costs


@settings(deadline=None)
@given(st.lists(ROW, min_size=1, max_size=25), st.booleans())
def test_every_point_is_what_that_factor_does(rows, per_row):
    y, scores, costs = case(rows, per_row)
    factor, curve = odds_factor(scores, costs), cost_curve(y, scores, costs)
    for place, dial in enumerate(curve.factor):
        decisions = (factor >= dial).astype(int) if place else np.zeros_like(y)
        assert curve.cost_per_1000[place] == pytest.approx(costs.per_1000(y, decisions), abs=1e-6)
        assert curve.positive_rate[place] == pytest.approx(decisions.mean())
    assert (np.diff(curve.factor[1:]) < 0).all() and curve.positive_rate[-1] == 1
    assert curve.cost_per_1000[curve.best] == pytest.approx(curve.cost_per_1000.min(), abs=1e-6)


@settings(deadline=None)
@given(st.lists(ROW, min_size=1, max_size=25), st.booleans())
def test_a_factor_of_one_decides_as_the_costs_do(rows, per_row):
    y, scores, costs = case(rows, per_row)
    assert ((odds_factor(scores, costs) >= 1) == (costs.decide(scores) == 1)).all()
    curve = cost_curve(y, scores, costs)
    assert curve.cost_per_1000[curve.at(1.0)] == pytest.approx(costs.per_1000(y, costs.decide(scores)), abs=1e-6)


@settings(deadline=None)
@given(st.lists(ROW, min_size=1, max_size=25))
def test_the_threshold_minimises_the_expected_cost_of_every_row(rows):
    """With the scores as the true probabilities no other decision of any row is expected to cost less, and no common factor either."""
    _, scores, costs = case(rows, True)
    expected = np.array([(1 - scores) * costs.true_negative + scores * costs.false_negative, (1 - scores) * costs.false_positive + scores * costs.true_positive])
    taken = costs.decide(scores)
    assert np.allclose(expected[taken, np.arange(len(scores))], expected.min(axis=0))
    factor = odds_factor(scores, costs)
    by_factor = [expected[(factor >= dial).astype(int), np.arange(len(scores))].sum() for dial in (*factor, 0.3, 1.0, 3.0)]
    assert min(by_factor) >= expected[taken, np.arange(len(scores))].sum() - 1e-9


@settings(deadline=None)
@given(st.lists(ROW, min_size=2, max_size=25).filter(lambda rows: 0 < sum(row[0] for row in rows) < len(rows)))
def test_one_price_gives_the_curve_over_thresholds(rows):
    y, scores, costs = case(rows, False)
    ours, theirs = cost_curve(y, scores, costs), threshold_curve(y, scores, costs)
    assert ours.threshold.tolist() == theirs["threshold"].tolist()
    assert ours.cost_per_1000 == pytest.approx(theirs["cost_per_1000"].to_numpy(), abs=1e-6)


@settings(deadline=None)
@given(st.lists(ROW, min_size=2, max_size=25).filter(lambda rows: 0 < sum(row[0] for row in rows) < len(rows)))
def test_a_common_threshold_is_priced_row_by_row(rows):
    y, scores, costs = case(rows, True)
    for row in threshold_curve(y, scores, costs).itertuples():
        assert row.cost_per_1000 == pytest.approx(costs.per_1000(y, scores >= row.threshold), abs=1e-6)


@given(st.floats(0.001, 0.999), st.floats(0.01, 100))
def test_moving_a_threshold_multiplies_its_odds(threshold, factor):
    moved = moved_threshold(threshold, factor)
    assert moved / (1 - moved) == pytest.approx(factor * threshold / (1 - threshold))


def test_twice_the_odds_is_twice_the_price_of_a_false_alarm():
    costs, dearer = Costs(0, 1, 5, 0), Costs(0, 2, 5, 0)
    assert moved_threshold(costs.threshold, 2.0) == pytest.approx(dearer.threshold)


def world(rows, seed, power=1.0):
    rng = np.random.default_rng(seed)
    truth = rng.beta(1, 4, rows)
    return (rng.random(rows) < truth).astype(int), truth**power


@pytest.mark.parametrize("per_row", [False, True])
def test_moving_from_what_the_costs_ask_for_costs_more(per_row):
    y, scores = world(20_000, 0)
    price = np.random.default_rng(1).lognormal(0, 0.5, 20_000) if per_row else 1.0
    table = cost_of_moving(y, scores, Costs(0, price, 4 * price, 0), [0.1, 1.0, 10.0])
    assert table[1]["more"] == table[1]["low"] == table[1]["high"] == 0
    assert table[0]["low"] > 0 and table[2]["low"] > 0
    assert table[0]["positive_rate"] > table[1]["positive_rate"] > table[2]["positive_rate"]
    assert math.isnan(table[0]["threshold"]) == per_row


def test_honest_scores_keep_the_threshold_and_boastful_ones_do_not():
    costs = Costs(0, 1, 5, 0)
    for power, expected in ((1.0, False), (0.4, True)):
        factor = tuned_factor(*world(20_000, 1, power), costs)
        found, words = threshold_note(factor, *world(20_000, 2, power), costs)
        assert found == expected
        assert ("recalibrate" in words) == expected
    # A factor that was fitted to noise is shown to cost more.
    assert "costs more" in threshold_note(8.0, *world(20_000, 3), costs)[1]


def test_the_ends_of_the_dial():
    costs = Costs(0, 1, 5, 0)
    assert tuned_factor([0, 0, 0], [0.2, 0.4, 0.9], costs) == math.inf
    assert tuned_factor([1, 1, 1], [0.5, 0.4, 0.9], costs) == 1.0  # everybody is positive at 1 already
    assert tuned_factor([0, 0, 0], [0.02, 0.04, 0.09], costs) == 1.0  # nobody is
    assert threshold_note(1.0, [0, 1], [0.1, 0.9], costs) == (False, "The validation rows ask for the threshold that follows from the costs.")
    assert "nobody to be decided positively" in threshold_note(math.inf, [0, 1], [0.1, 0.9], costs)[1]
    low = tuned_factor([1, 1, 0], [0.01, 0.02, 0.0], costs)
    assert 0 < low < 0.06
    single = tuned_factor([1], [0.0], costs)
    assert single == 0.0
    assert "everybody to be decided positively" in threshold_note(single, [1, 0], [0.0, 0.0], costs)[1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda costs: cost_curve([0, 1], [0.1], costs), "as many rows as y has"),
        (lambda costs: cost_curve([], [], costs), "at least one"),
        (lambda costs: odds_factor([0.1, 1.2], costs), "scores: received 1.2; allowed: probabilities"),
        (lambda costs: cost_of_moving([0, 1], [0.1, 0.9], costs, []), "factors"),
        (lambda costs: cost_of_moving([0, 1], [0.1, 0.9], costs, [0.0]), "numbers above 0"),
        (lambda costs: cost_of_moving([0, 1], [0.1, float("nan")], costs), "scores: received nan"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ConfigError, match=words):
        call(Costs(0, 1, 5, 0))

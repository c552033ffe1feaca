"""Costs: the threshold is where expected cost turns, whatever the four amounts are."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.objective.cost import Costs, as_binary, cheapest_constant

AMOUNT = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


@st.composite
def reasonable_costs(draw):
    """Four amounts in which every error costs more than the right decision."""
    right = [draw(AMOUNT), draw(AMOUNT)]
    extra = [draw(st.floats(0.01, 1e6)), draw(st.floats(0.01, 1e6))]
    return Costs(right[0], right[1] + extra[1], right[0] + extra[0], right[1])


@given(reasonable_costs(), st.floats(0, 1))
def test_deciding_by_the_threshold_never_costs_more_in_expectation(costs, score):
    positive = score * costs.true_positive + (1 - score) * costs.false_positive
    negative = score * costs.false_negative + (1 - score) * costs.true_negative
    decided = positive if costs.decide([score])[0] else negative
    scale = max(abs(positive), abs(negative), 1.0)
    assert decided <= min(positive, negative) + 1e-9 * scale


def test_the_threshold_of_a_known_matrix():
    # German credit: accepting a bad risk costs five times refusing a good one, so the threshold is 1/6.
    assert Costs(0, 1, 5, 0).threshold == pytest.approx(1 / 6)
    assert Costs(0, 1, 1, 0).threshold == 0.5


@given(reasonable_costs(), st.floats(-1e5, 1e5), st.floats(0.01, 100))
def test_the_threshold_does_not_depend_on_currency_or_on_a_fixed_fee(costs, fee, rate):
    amounts = [costs.true_positive, costs.false_positive, costs.false_negative, costs.true_negative]
    changed = [rate * amount + fee for amount in amounts]
    assume(changed[1] > changed[3] and changed[2] > changed[0])
    assert Costs(*changed).threshold == pytest.approx(costs.threshold, rel=1e-3, abs=1e-6)


def test_a_score_at_the_threshold_is_positive():
    assert Costs(0, 1, 1, 0).decide([0.5, np.nextafter(0.5, 0)]).tolist() == [1, 0]


@given(reasonable_costs(), st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_costs_of_rows_add_up(costs, rows):
    y, decisions = map(list, zip(*rows, strict=True))
    price = {(1, 1): costs.true_positive, (0, 1): costs.false_positive, (1, 0): costs.false_negative, (0, 0): costs.true_negative}
    expected = [price[int(truth), int(decision)] for truth, decision in rows]
    assert costs.of(y, decisions).tolist() == expected
    assert costs.per_1000(y, decisions) == pytest.approx(1000 * np.mean(expected))


@given(reasonable_costs(), st.lists(st.booleans(), min_size=1, max_size=50))
def test_the_cheapest_constant_is_the_cheaper_of_two(costs, y):
    both = [costs.per_1000(y, [constant] * len(y)) for constant in (0, 1)]
    assert both[cheapest_constant(y, costs)] == min(both)


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        ((0, 0, 5, 0), "cost_false_positive: received 0.0; allowed: more than cost_true_negative"),
        ((5, 1, 5, 0), "cost_false_negative: received 5.0; allowed: more than cost_true_positive"),
        ((0, float("nan"), 5, 0), "cost_false_positive: received nan; allowed: a finite number"),
        ((0, float("inf"), 5, 0), "cost_false_positive: received inf"),
        ((0, "1", 5, 0), "cost_false_positive: received '1'"),
        ((0, True, 5, 0), "cost_false_positive: received True"),
        ((None, 1, 5, 0), "cost_true_positive: received None"),
    ],
)
def test_unreasonable_amounts_are_refused_by_name(amounts, words):
    with pytest.raises(ConfigError, match="cost_") as caught:
        Costs(*amounts)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [([0, 1, 2], "received 2"), (["no", "yes"], "numbers 0 and 1"), ([[0, 1]], "one dimension"), ([0.0, float("nan")], "received nan")],
)
def test_outcomes_that_are_not_binary_are_refused(values, words):
    with pytest.raises(ConfigError, match=words):
        as_binary(values)


def test_lengths_must_agree_and_there_must_be_rows():
    costs = Costs(0, 1, 5, 0)
    with pytest.raises(ConfigError, match="decisions: received '2 rows'; allowed: as many rows as y has: 3"):
        costs.of([0, 1, 1], [0, 1])
    with pytest.raises(ConfigError, match="at least one row"):
        costs.per_1000([], [])

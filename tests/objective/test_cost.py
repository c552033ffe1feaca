"""Costs: the threshold is where expected cost turns, whatever the four amounts are."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.objective.cost import Costs, as_binary, cheapest_constant, decision_change

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


@st.composite
def priced_rows(draw):
    """Prices per row, truths and scores."""
    rows = draw(st.integers(1, 12))
    right = [draw(st.lists(AMOUNT, min_size=rows, max_size=rows)) for _ in range(2)]
    extra = [draw(st.lists(st.floats(0.01, 1e6), min_size=rows, max_size=rows)) for _ in range(2)]
    costs = Costs(right[0], np.add(right[1], extra[1]), np.add(right[0], extra[0]), right[1])
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=rows, max_size=rows)))
    return costs, y, np.array(draw(st.lists(st.floats(0, 1), min_size=rows, max_size=rows)))


@given(priced_rows())
def test_every_row_is_decided_by_its_own_prices(case):
    costs, _, scores = case
    positive = scores * costs.true_positive + (1 - scores) * costs.false_positive
    negative = scores * costs.false_negative + (1 - scores) * costs.true_negative
    decided = np.where(costs.decide(scores) == 1, positive, negative)
    scale = np.maximum(np.maximum(abs(positive), abs(negative)), 1.0)
    assert (decided <= np.minimum(positive, negative) + 1e-9 * scale).all()


@given(priced_rows())
def test_a_row_alone_is_decided_and_priced_as_among_others(case):
    costs, y, scores = case
    decisions = costs.decide(scores)
    together = costs.of(y, decisions)
    for row in range(len(y)):
        alone = Costs(*(getattr(costs, name)[row] for name in ("true_positive", "false_positive", "false_negative", "true_negative")))
        part = costs.take([row])
        assert alone.decide(scores[[row]]) == part.decide(scores[[row]]) == decisions[[row]]
        assert alone.of(y[[row]], decisions[[row]]) == part.of(y[[row]], decisions[[row]]) == together[[row]]


@given(priced_rows())
def test_what_a_decision_changes_is_the_difference_of_the_constants(case):
    costs, y, _ = case
    change = decision_change(y, costs)
    assert np.allclose(change, costs.of(y, np.ones_like(y)) - costs.of(y, np.zeros_like(y)))
    both = [costs.per_1000(y, np.full_like(y, constant)) for constant in (0, 1)]
    assert both[cheapest_constant(y, costs)] == min(both)


def test_the_same_price_in_every_row_is_one_price():
    one, rows = Costs(-1, 2, 7, -0.5), Costs([-1] * 4, [2] * 4, [7] * 4, -0.5)
    assert rows.threshold.tolist() == pytest.approx([one.threshold] * 4)
    assert rows.of([0, 1, 0, 1], [0, 0, 1, 1]).tolist() == one.of([0, 1, 0, 1], [0, 0, 1, 1]).tolist()
    assert rows.average() == one and rows.take(slice(0, 2)).n_rows == 2 and one.take([0]) == one and one.n_rows is None


def test_elkans_transactions():
    # Elkan 2001, section 1: refusing a fraudulent transaction of size x gains 20, refusing a legitimate one loses 20,
    # approving a fraudulent one loses x, approving a legitimate one gains 0.02 x.
    sizes = np.array([50.0, 1000.0, 50_000.0])
    costs = Costs(true_positive=-20, false_positive=20, false_negative=sizes, true_negative=-0.02 * sizes)
    assert costs.threshold == pytest.approx((20 + 0.02 * sizes) / (40 + 1.02 * sizes))
    assert costs.decide([0.1, 0.1, 0.1]).tolist() == [0, 1, 1]


def test_letters_to_donors():
    # Zadrozny and Elkan 2001: a letter costs 0.68, so it is sent to whoever gives x with a probability of 0.68 / x or more.
    gifts = np.array([1.0, 10.0, 50.0])
    letters = Costs(true_positive=0.68 - gifts, false_positive=0.68, false_negative=0, true_negative=0)
    assert letters.threshold == pytest.approx(0.68 / gifts)
    assert letters.decide([0.05, 0.05, 0.05]).tolist() == [0, 0, 1]


def test_columns_of_a_table_are_prices():
    table = pd.DataFrame({"loss": pd.array([5, 3, 8], dtype="Int64"), "fee": [1, 2, 1]})
    costs = Costs(0, table["fee"], table["loss"], 0)
    assert costs.n_rows == 3 and costs.prices.tolist() == [[0, 1, 5, 0], [0, 2, 3, 0], [0, 1, 8, 0]]
    with pytest.raises(ValueError, match="read-only"):
        costs.false_negative[0] = 0
    table.loc[0, "fee"] = 9
    assert costs.false_positive[0] == 1


@pytest.mark.parametrize(
    ("amounts", "words"),
    [
        ((0, 1, [5, float("nan"), 5], 0), "cost_false_negative: received 'missing or infinite in 1 of 3 rows (the first: 1)'"),
        ((0, [1, float("inf")], 5, 0), "cost_false_positive: received 'missing or infinite in 1 of 2 rows (the first: 1)'"),
        ((0, 1, pd.array([5, None], dtype="Int64"), 0), "missing or infinite in 1 of 2 rows (the first: 1)"),
        ((0, 1, ["5", "6"], 0), "cost_false_negative: received 'a column of <U1'"),
        ((0, 1, [[5, 6]], 0), "cost_false_negative: received [[5, 6]]"),
        ((0, [1, 1], [5, 5, 5], 0), "as many rows in each"),
        ((0, 1, [5, 0, -1, 5], 0), "cost_false_negative: received 'no more in 2 of 4 rows (the first: 1, 2)'; allowed: more than cost_true_positive = 0"),
        ((0, [1, 1], 5, [0, 1]), "more than cost_true_negative of the same row"),
        (([0] * 2, [0] * 2, [0] * 2, [0] * 2), "no more in 2 of 2 rows (the first: 0, 1)"),
    ],
)
def test_unreasonable_rows_are_counted_and_named(amounts, words):
    with pytest.raises(ConfigError) as caught:
        Costs(*amounts)
    assert words in str(caught.value)


def test_prices_of_other_rows_are_refused():
    costs = Costs(0, 1, [5, 6, 7], 0)
    for call in (lambda: costs.decide([0.1, 0.2]), lambda: costs.of([0, 1], [0, 1])):
        with pytest.raises(ConfigError, match=r"as many rows as have a price: 3. Use costs.take\(rows\)"):
            call()
    assert Costs(0, 1, np.empty(0), 0).decide([]).tolist() == []
    assert "nine rows in ten" in costs.threshold_text and Costs(0, 1, 5, 0).threshold_text == "0.1667"

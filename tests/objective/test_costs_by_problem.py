"""Costs of classes and of amounts: what is decided costs least, and lines of text say what they mean."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError, ContractError
from mlsys.objective.cost import Costs
from mlsys.objective.problem import (
    ClassCosts,
    ErrorCosts,
    cheapest_answer,
    cost_columns,
    cost_table,
    describe_decision,
    make_costs,
    parse_costs,
    weighted_quantile,
)

KINDS = SimpleNamespace(problem="multiclass", classes=["card", "cash", "no charge"])
AMOUNT = SimpleNamespace(problem="regression", classes=[])
YES_NO = SimpleNamespace(problem="binary", classes=["no", "yes"])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 6), st.booleans())
def test_no_other_class_is_expected_to_cost_less(seed, size, is_priced):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(size), 40)
    matrix = rng.uniform(1, 9, (size, size)) * (1 - np.eye(size))
    priced = {(0, 1): rng.uniform(0, 20, 40)} if is_priced else {}
    costs = ClassCosts([str(code) for code in range(size)], matrix, priced)
    every = np.stack([np.column_stack([costs.of(np.full(40, actual), np.full(40, decided)) for actual in range(size)]) for decided in range(size)], axis=1)
    expected = (every * probabilities[:, None, :]).sum(axis=2)
    assert np.allclose(expected, costs.expected(probabilities))
    assert np.allclose(expected.min(axis=1), expected[np.arange(40), costs.decide(probabilities)])


def test_two_classes_decide_as_the_threshold_of_two_outcomes_does():
    scores = np.linspace(0, 1, 98)  # none on the threshold itself
    two = ClassCosts(["no", "yes"], [[-1, 2], [7, 0]])
    ours = two.decide(np.column_stack([1 - scores, scores]))
    assert (ours == Costs(true_positive=0, false_positive=2, false_negative=7, true_negative=-1).decide(scores)).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=25), st.integers(0, 2**16))
def test_the_cheapest_number_is_cheapest_with_a_price_for_each_row(values, seed):
    y, rng = np.array(values), np.random.default_rng(seed)
    costs = ErrorCosts(rng.uniform(0.1, 5, len(y)), rng.uniform(0.1, 5, len(y)))
    best = costs.of(y, np.full(len(y), cheapest_answer(y, costs))).sum()
    assert all(best <= costs.of(y, np.full(len(y), value)).sum() + 1e-6 for value in np.append(y, y.mean()))


def test_the_weighted_quantile_of_equal_weights_is_the_lower_median():
    assert weighted_quantile(np.array([4.0, 1, 3, 2]), 1.0, 1.0) == 2.0
    assert weighted_quantile(np.array([4.0, 1, 3, 2]), np.array([9.0, 1, 1, 1]), 1.0) == 4.0


def test_amounts():
    costs = ErrorCosts(under=3, over=1)
    assert costs.of([10, 10], [8, 12]).tolist() == [6, 2] and costs.per_1000([10, 10], [8, 12]) == 4000 and costs.quantile == 0.75
    assert costs.decide([1.0, 2]).tolist() == [1, 2]
    each = ErrorCosts(under=np.array([0.0, 3]), over=np.array([0.0, 1]))
    assert each.quantile.tolist() == [0.5, 0.75] and each.take([1]).n_rows == 1 and each.average().under == 1.5
    with pytest.raises(ConfigError, match="the 2 rows whose prices"):
        each.of([1, 2, 3], [1, 2, 3])


# Lines


@pytest.mark.parametrize("line, name, value", [
    ("under = 3", "under", 3.0), ("under=1_000.5", "under", 1000.5), ("under = price", "under", "price"), ("a -> b = -2e1", "a -> b", -20.0),
    ("x = y -> b = 2", "x = y -> b", 2.0), ("over = 3 months", "over", "3 months"), ("over = inf", "over", "inf"),
])
def test_lines(line, name, value):
    assert parse_costs([line]) == {name: value}


def test_columns_are_named_once():
    assert cost_columns(["under = price", "over = price", "a -> b = other", "true_positive = 3"]) == ["price", "other"]


@pytest.mark.parametrize("lines, roles, words", [
    (["under"], AMOUNT, "NAME = VALUE"), (["= 3"], AMOUNT, "NAME = VALUE"), (["under = 1", "under = 2"], AMOUNT, "each name once"),
    (["undr = 3"], AMOUNT, "Did you mean under"), (["under = 0"], AMOUNT, "cost_under: received 0"), (["over = -1"], AMOUNT, "cost_over"),
    (["under = prise"], AMOUNT, "Did you mean price"), (["card -> cahs = 3"], KINDS, "Did you mean cash"), (["card -> card = 5"], KINDS, "card -> cash"),
    (["false_positive = -1"], YES_NO, "cost_false_positive"),
])
def test_what_is_wrong_is_named(lines, roles, words):
    with pytest.raises(ConfigError, match=words):
        make_costs(lines, roles, pd.DataFrame({"price": [1.0, 2]}))


@pytest.mark.parametrize("prices", [[1.0, None], ["a", "b"], [1.0, np.inf]])
def test_a_price_column_must_hold_prices(prices):
    with pytest.raises(ContractError, match="cost under, column price: .* 2 rows without"):
        make_costs(["under = price"], AMOUNT, pd.DataFrame({"price": prices}))


def test_lines_of_other_problems_are_left_alone():
    lines = ["true_positive = 0", "false_positive = 1", "false_negative = 5", "true_negative = 0", "under = 2", "card -> cash = 4"]
    assert make_costs(lines, YES_NO).false_negative == 5 and make_costs(lines, AMOUNT).under == 2
    assert make_costs(lines, KINDS).matrix[0].tolist() == [0, 4, 1]
    assert make_costs([], YES_NO).threshold == 0.5 and make_costs([], AMOUNT).quantile == 0.5


def test_labels_may_hold_arrows_and_signs():
    odd = SimpleNamespace(problem="multiclass", classes=["a -> b", "b", "x = y"])
    costs = make_costs(["a -> b -> b = 7", "x = y -> a -> b = 3", "b->x = y = 2"], odd)
    assert costs.matrix[0, 1] == 7 and costs.matrix[2, 0] == 3 and costs.matrix[1, 2] == 2


def test_words_for_people():
    assert "0.75" in describe_decision(ErrorCosts(3, 1)) and "0.1667" in describe_decision(Costs(0, 1, 5, 0))
    assert "nine of ten" in describe_decision(ErrorCosts(np.arange(1.0, 9), 1.0))
    assert cost_table(ClassCosts(["a", "b"])).loc["truly a", "decided b"] == 1 and cost_table(ErrorCosts(3, 1)).iloc[0, 0] == 3


@pytest.mark.parametrize("call, words", [
    (lambda: ClassCosts(["a", "b"]).of([0, 2], [0, 1]), "from 0 to 1"), (lambda: ClassCosts(["a", "b"]).of([0], [0, 1]), "as many rows"),
    (lambda: ClassCosts(["a", "b"]).decide([[0.5, 0.6]]), "sum to 1"), (lambda: ClassCosts(["a", "b"]).decide([0.5]), r"shape \(n_rows, 2\)"),
    (lambda: ClassCosts(["a", "b"], [[0, 1]]), "a matrix of shape"), (lambda: ClassCosts(["a", "b"]).per_1000([], []), "0 rows"),
    (lambda: ErrorCosts().of([np.nan], [1.0]), "nan in row 0"), (lambda: ErrorCosts().of(["a"], [1.0]), "numbers"),
    (lambda: ErrorCosts([1.0, 2], [1.0]), "cost_over"), (lambda: ErrorCosts(True), "cost_under"), (lambda: cheapest_answer([], ErrorCosts()), "0 rows"),
])
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(ConfigError, match=words):
        call()

"""Rules for classes and for quantities: scikit-learn's contract, and no other rule is cheaper."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlsys.core import ConfigError
from mlsys.models.condition import fulfils
from mlsys.models.rule import IfThenClassifier, IfThenRegressor, cheapest_split
from mlsys.objective.problem import ClassCosts, ErrorCosts, weighted_quantile


@parametrize_with_checks([IfThenClassifier(), IfThenRegressor()])
@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks provoke warnings on purpose
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def every_condition(frame):
    """All conditions there are, one at a time: the slow way."""
    for name, column in frame.items():
        if column.isna().any():
            yield name, "is missing", ""
        numeric = pd.api.types.is_numeric_dtype(column)
        for value in column.dropna().unique():
            yield from ((name, kind, value) for kind in (("at least", "below") if numeric else ("is",)))


def cost_of(frame, losses, rule):
    """What a rule costs with the best answer on either side."""
    holds = fulfils(frame[rule[0]], rule[1], rule[2]) if rule[1] else np.zeros(len(frame), dtype=bool)
    return losses[holds].sum(axis=0).min(initial=np.inf if holds.any() else 0) + losses[~holds].sum(axis=0).min()


ROWS = st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), st.integers(0, 4).map(float)), st.one_of(st.none(), st.sampled_from("abc"))),
                min_size=4, max_size=30)


@settings(max_examples=100, deadline=None)
@given(ROWS, st.integers(0, 2**16))
def test_no_other_condition_is_cheaper(rows, seed):
    frame = pd.DataFrame({"x": pd.Series([row[1] for row in rows], dtype=float), "kind": pd.Series([row[2] for row in rows], dtype="str")})
    losses = np.random.default_rng(seed).integers(0, 5, (len(rows), 3)).astype(float)
    found = cheapest_split(frame, losses)
    others = [cost_of(frame, losses, rule) for rule in every_condition(frame)]
    assert cost_of(frame, losses, found) == pytest.approx(min([losses.sum(axis=0).min(), *others]))


def test_prices_of_single_rows_move_the_decision():
    frame = pd.DataFrame({"x": [0.0, 0, 0, 1, 1, 1] * 20})
    y = np.tile([0, 0, 1, 1, 2, 2], 20)
    costs = ClassCosts(["a", "b", "c"], priced={(1, 2): np.tile([0, 0, 0, 50.0, 0, 0], 20)})
    assert list(IfThenClassifier().fit(frame, y).decisions_) == [0, 2]
    assert list(IfThenClassifier().fit(frame, y, costs=costs).decisions_) == [0, 1]


def test_the_sentence_names_classes_and_a_class_without_rows_is_never_decided():
    frame = pd.DataFrame({"x": np.arange(40.0)})
    rule = IfThenClassifier(1 - np.eye(4), ["card", "cash", "dispute", "free"]).fit(frame, np.where(np.arange(40) < 10, 3, 1))
    assert rule.sentence_.startswith("If x is at least 10, decide cash") and "otherwise free" in rule.sentence_
    assert set(rule.predict(frame)) == {1, 3} and rule.predict_proba(frame).shape == (40, 2)


def test_one_class_and_constant_columns_need_no_condition():
    frame = pd.DataFrame({"x": np.arange(9.0), "one": 1.0})
    assert IfThenClassifier().fit(frame, np.ones(9, dtype=int)).rule_ == ("", "", "")
    assert IfThenRegressor().fit(frame[["one"]], np.arange(9.0)).sentence_.startswith("No condition")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.floats(0.1, 9), st.floats(0.1, 9))
def test_the_weighted_quantile_costs_least(values, under, over):
    values = np.array(values)
    costs = ErrorCosts(under, over)
    best = costs.per_1000(values, np.full(len(values), weighted_quantile(values, under, over)))
    assert all(best <= costs.per_1000(values, np.full(len(values), value)) + 1e-6 for value in values)


def test_a_rule_for_a_quantity_follows_the_prices_and_the_rows():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.uniform(size=3000), "noise": rng.normal(size=3000)})
    y = np.where(frame["x"] > 0.6, 50, 10) + rng.exponential(5, 3000)
    rule = IfThenRegressor(cost_under=4.0).fit(frame, y)
    assert rule.rule_[:2] == ("x", "at least") and abs(rule.rule_[2] - 0.6) < 0.01
    assert abs((y[frame["x"] > 0.6] <= rule.answers_[1]).mean() - 0.8) < 0.01
    thinned = IfThenRegressor(cost_under=4.0, max_rows=500).fit(frame, y)
    assert thinned.rule_[:2] == ("x", "at least") and abs(thinned.rule_[2] - 0.6) < 0.02


@pytest.mark.parametrize("estimator", [IfThenClassifier(min_share=0.7), IfThenRegressor(min_share=-0.1), IfThenRegressor(cost_under=-1)])
def test_wrong_arguments_are_named(estimator):
    with pytest.raises(ConfigError, match="min_share|cost_under"):
        estimator.fit(pd.DataFrame({"x": [1.0, 2, 3, 4]}), [0, 1, 0, 1])


def test_a_cost_matrix_that_does_not_cover_the_classes_is_named():
    with pytest.raises(ConfigError, match="cost_matrix"):
        IfThenClassifier(1 - np.eye(3)).fit(pd.DataFrame({"x": [1.0, 2, 3, 4]}), ["a", "b", "a", "b"])


def test_prices_of_zero_ask_for_no_rule():
    frame = pd.DataFrame({"x": np.arange(300.0), "z": np.arange(300) % 7})
    free = ClassCosts(["a", "b", "c"], np.zeros((3, 3)))
    assert IfThenClassifier(np.zeros((3, 3))).fit(frame, np.arange(300) % 3).rule_ == ("", "", "")
    assert IfThenClassifier().fit(frame, np.arange(300) % 3, costs=free).rule_ == ("", "", "")
    some = ErrorCosts(np.where(np.arange(300) < 150, 0.0, 1.0), 1.0)  # half of the rows may be too low for nothing
    assert np.isfinite(IfThenRegressor().fit(frame, frame["x"], costs=some).predict(frame)).all()

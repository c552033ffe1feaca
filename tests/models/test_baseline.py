"""The constant and the rule: scikit-learn's contract, and a rule that no other rule beats."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlsys.core import ConfigError
from mlsys.models.baseline import ConstantClassifier, IfThenRuleClassifier, cheapest_rule
from mlsys.models.condition import fulfils
from mlsys.objective.cost import Costs


@parametrize_with_checks([ConstantClassifier(), IfThenRuleClassifier()])
@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks provoke warnings on purpose
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def every_rule(frame):
    """All conditions there are, one at a time: the slow way."""
    for name, column in frame.items():
        known = column.dropna()
        if column.isna().any():
            yield from ((name, kind, "") for kind in ("is missing", "is known"))
        if pd.api.types.is_numeric_dtype(column):
            yield from ((name, kind, value) for value in known.unique() for kind in ("at least", "below"))
        else:
            yield from ((name, kind, value) for value in known.unique() for kind in ("is", "is not"))


COLUMNS = st.tuples(
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 4).map(float)),
    st.one_of(st.none(), st.sampled_from(["web", "branch", "broker"])),
    st.floats(-3, 3, allow_nan=False),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(COLUMNS, min_size=2, max_size=25), st.integers(1, 4), st.sampled_from([(0, 1, 1, 0), (0, 1, 5, 0), (-3, 2, 1, -1)]))
def test_no_other_rule_costs_less(rows, fewest, amounts):
    y, number, text, fine = (list(column) for column in zip(*rows, strict=True))
    y, costs = np.array(y, dtype=int), Costs(*amounts)
    frame = pd.DataFrame({"number": pd.Series(number, dtype=float), "text": pd.Series(text, dtype="str"), "fine": fine})
    change = np.where(y == 1, costs.true_positive - costs.false_negative, costs.false_positive - costs.true_negative)

    def cost(rule):
        return costs.of(y, fulfils(frame[rule[0]], rule[1], rule[2]).astype(int)).sum()

    allowed = [
        rule for rule in every_rule(frame) if fewest <= fulfils(frame[rule[0]], rule[1], rule[2]).sum() <= len(frame) - fewest
    ]
    found = cheapest_rule(frame, change, fewest)
    if not allowed:
        assert found == ("", "", "")
    else:
        assert cost(found) == pytest.approx(min(map(cost, allowed)), abs=1e-9)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"income": rng.gamma(3, 15, 600), "channel": rng.choice(["web", "branch", "broker"], 600)})
    frame.loc[rng.random(600) < 0.1, "income"] = np.nan
    frame.loc[rng.random(600) < 0.1, "channel"] = None
    return frame, (rng.random(600) < np.where(frame["channel"] == "broker", 0.6, 0.1)).astype(int)


def test_the_scores_are_the_shares_on_the_two_sides(table):
    frame, y = table
    rule = IfThenRuleClassifier(cost_false_negative=2.0).fit(frame, y)
    assert rule.rule_ == ("channel", "is", "broker")
    broker = (frame["channel"] == "broker").to_numpy()
    scores = rule.predict_proba(frame)[:, 1]
    assert set(scores[broker]) == {y[broker].mean()} and set(scores[~broker]) == {y[~broker].mean()}
    assert rule.rows_.tolist() == [(~broker).sum(), broker.sum()]
    assert (rule.predict(frame) == broker).all()
    assert rule.sentence_.startswith("If channel is broker, decide positive (")


def test_unseen_and_missing_values_are_on_the_other_side(table):
    frame, y = table
    rule = IfThenRuleClassifier(cost_false_negative=2.0).fit(frame, y)
    tomorrow = pd.DataFrame({"income": [np.nan, 5.0], "channel": pd.Series(["carrier pigeon", None], dtype="str")})
    assert rule.predict(tomorrow).tolist() == [0, 0]


def test_a_rule_about_missing_values_is_found():
    rng = np.random.default_rng(1)
    missing = rng.random(500) < 0.2
    frame = pd.DataFrame({"employer": pd.Series(np.where(missing, None, "known"), dtype="str"), "noise": rng.random(500)})
    y = (rng.random(500) < np.where(missing, 0.8, 0.1)).astype(int)
    rule = IfThenRuleClassifier().fit(frame, y)
    assert rule.rule_ == ("employer", "is missing", "")
    assert rule.sentence_.startswith("If employer is missing, decide positive")


def test_a_rule_about_a_handful_of_rows_is_not_taken():
    frame = pd.DataFrame({"x": [0.0] * 198 + [1.0] * 2, "z": [0.0, 1.0] * 100})
    y = np.array([0, 1] * 99 + [1, 1])
    y[1:20:2] = 0  # z is a good rule, not a perfect one
    assert IfThenRuleClassifier(min_share=0.05).fit(frame, y).rule_[0] == "z"


def test_when_nothing_divides_the_rows_the_base_rate_remains():
    frame = pd.DataFrame({"x": [1.0] * 10, "c": ["a"] * 10})
    rule = IfThenRuleClassifier().fit(frame, [1, 0] * 5)
    assert rule.predict_proba(frame)[:, 1].tolist() == [0.5] * 10
    assert rule.sentence_ == "No column divides the rows: decide positive (50.0% of 10 rows were positive)."


def test_categories_booleans_and_nullable_types_are_columns_too():
    base = [True, False] * 50
    frame = pd.DataFrame({
        "flag": base,
        "kind": pd.Categorical(["x", "y"] * 50),
        "whole": pd.array([1, None] * 50, dtype="Int64"),
        "empty": [np.nan] * 100,
    })  # fmt: skip
    y = np.array([1, 0] * 50)
    for name in ("flag", "kind", "whole"):
        rule = IfThenRuleClassifier().fit(frame[[name, "empty"]], y)
        assert rule.rule_[0] == name
        assert (rule.predict(frame[[name, "empty"]]) == y).all()


def test_labels_may_be_words(table):
    frame, y = table
    words = np.where(y == 1, "yes", "no")
    assert set(IfThenRuleClassifier(cost_false_negative=2.0).fit(frame, words).predict(frame)) == {"yes", "no"}
    assert ConstantClassifier().fit(frame, words).predict(frame).tolist() == ["no"] * 600


def test_the_constant_is_the_base_rate(table):
    frame, y = table
    scores = ConstantClassifier().fit(frame, y).predict_proba(frame)
    assert np.allclose(scores, [1 - y.mean(), y.mean()])


@pytest.mark.parametrize("estimator", [ConstantClassifier(), IfThenRuleClassifier()])
def test_columns_are_checked_at_prediction(estimator, table):
    frame, y = table
    model = clone(estimator).fit(frame, y)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict_proba(frame.rename(columns={"income": "pay"}))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"min_share": 0.7}, "min_share: received 0.7"), ({"cost_false_negative": -1.0}, "cost_false_negative: received -1.0")],
)
def test_settings_are_checked_when_fitting(options, words, table):
    with pytest.raises(ConfigError, match=words):
        IfThenRuleClassifier(**options).fit(*table)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(COLUMNS, st.floats(0.1, 50), st.floats(0.1, 50)), min_size=2, max_size=25))
def test_no_other_rule_costs_less_where_rows_have_prices(rows):
    columns, alarm, miss = map(list, zip(*rows, strict=True))
    y, number, text, fine = (list(column) for column in zip(*columns, strict=True))
    y, costs = np.array(y, dtype=int), Costs(0, alarm, miss, 0)
    if len(set(y)) < 2:
        return
    frame = pd.DataFrame({"number": pd.Series(number, dtype=float), "text": pd.Series(text, dtype="str"), "fine": fine})
    rule = IfThenRuleClassifier(min_share=0.0).fit(frame, y, costs)
    decided = rule.predict(frame)
    paid = costs.of(y, decided).sum()
    for constant in (0, 1):
        assert paid <= costs.of(y, np.full_like(y, constant)).sum() + 1e-9
    for name, kind, value in every_rule(frame):
        holds = fulfils(frame[name], kind, value).astype(int)
        if 0 < holds.sum() < len(y):
            assert paid <= costs.of(y, holds).sum() + 1e-9


def test_a_dear_row_turns_the_rule_and_the_sentence():
    frame, y = pd.DataFrame({"x": [0.0, 0, 1, 1], "z": [0.0, 1, 0, 1]}), [0, 1, 1, 1]
    rule = IfThenRuleClassifier().fit(frame, y, Costs(0, 1, [1, 100, 1, 1], 0))
    assert rule.predict(frame)[1] == 1 and rule.decisions_.tolist().count(1) >= 1
    assert ("decide positive" in rule.sentence_) and rule.predict_proba(frame).shape == (4, 2)
    with pytest.raises(ConfigError, match="as many rows as have a price: 2"):
        IfThenRuleClassifier().fit(frame, y, Costs(0, 1, [5, 5], 0))

"""The decisions are those of Fairlearn's ThresholdOptimizer, the cost is that of the objective, and odd groups get a rule."""

import warnings

import numpy as np
import pandas as pd
import pytest
from fairlearn.postprocessing import ThresholdOptimizer
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from mlsys.core import ConfigError
from mlsys.fairness.assess import GroupWarning, assess_groups
from mlsys.fairness.mitigate import CONSTRAINTS, GroupThresholdClassifier, threshold_points, upper_hull
from mlsys.models.persistence import load_model, save_model
from mlsys.objective.cost import Costs

quiet = pytest.mark.filterwarnings("ignore::mlsys.fairness.assess.GroupWarning")


class ScoreColumn(ClassifierMixin, BaseEstimator):
    "A model whose score is a column of the table."

    def fit(self, X, y=None):
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X):
        score = np.asarray(X["score"], dtype=float)
        return np.column_stack([1 - score, score])

    def __sklearn_is_fitted__(self):
        return True


def scored(seed, count=1200, digits=3):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"sex": rng.choice(["F", "M"], count, p=[0.4, 0.6]), "region": rng.choice(["n", "s"], count)})
    y = (rng.random(count) < np.where(table["sex"] == "F", 0.3, 0.45)).astype(int)
    signal = 1.4 * y + rng.normal(size=count) + 0.5 * (table["sex"] == "M") - 0.2 * (table["region"] == "s")
    return table.assign(score=np.round(1 / (1 + np.exp(1 - signal)), digits)), y


def fairlearns(constraint, sensitive, table, y):
    peer = ThresholdOptimizer(estimator=ScoreColumn(), constraints=constraint, objective="accuracy_score", prefit=True, predict_method="predict_proba")
    return peer.fit(table, y, sensitive_features=table[sensitive])


@pytest.mark.parametrize("sensitive", [["sex"], ["sex", "region"]])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_decisions_are_fairlearns_in_law(constraint, seed, sensitive):
    table, y = scored(seed)
    ours = GroupThresholdClassifier(ScoreColumn(), sensitive=sensitive, constraint=constraint).fit(table, y)
    theirs = fairlearns(constraint, sensitive, table, y)
    likely, expected = ours.decision_probability(table), theirs._pmf_predict(table, sensitive_features=table[sensitive])[:, 1]
    for rows in table.groupby(sensitive).indices.values():
        for outcome in (0, 1):
            inside = rows[y[rows] == outcome]
            assert likely[inside].mean() == pytest.approx(expected[inside].mean(), abs=1e-9)
    # Row by row they agree too, but where three points of a curve lie on one line and two pairs of thresholds give the same rates.
    assert np.mean(np.abs(likely - expected) > 1e-9) < (1e-9 if sensitive == ["sex"] else 0.2)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_what_was_asked_for_is_alike_on_the_rows_it_was_fitted_on(constraint):
    table, y = scored(3)
    likely = GroupThresholdClassifier(ScoreColumn(), sensitive=["sex"], constraint=constraint, cost_false_negative=4.0).fit(table, y).decision_probability(table)
    women, men = table["sex"] == "F", table["sex"] == "M"
    kept = {"demographic_parity": [slice(None)], "true_positive_rate_parity": [y == 1], "false_positive_rate_parity": [y == 0]}.get(constraint, [y == 0, y == 1])
    for rows in kept:
        inside = np.zeros(len(y), dtype=bool)
        inside[rows] = True
        assert likely[inside & women].mean() == pytest.approx(likely[inside & men].mean(), abs=1e-9)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_with_unequal_costs_it_costs_less_than_keeping_accuracy(constraint):
    table, y = scored(4)
    costs = Costs(0, 1, 6, 0)
    ours = GroupThresholdClassifier(ScoreColumn(), sensitive=["sex"], constraint=constraint, cost_false_negative=6.0).fit(table, y).decision_probability(table)
    theirs = fairlearns(constraint, ["sex"], table, y)._pmf_predict(table, sensitive_features=table["sex"])[:, 1]

    def expected_cost(likely):
        return np.where(y == 1, likely * costs.true_positive + (1 - likely) * costs.false_negative, likely * costs.false_positive).mean()

    assert expected_cost(ours) < 0.9 * expected_cost(theirs)


def test_coins_are_fair_and_seeded():
    table, y = scored(5)
    rule = GroupThresholdClassifier(ScoreColumn(), sensitive=["sex"], constraint="equalized_odds", random_state=1).fit(table, y)
    likely = rule.decision_probability(table)
    assert ((likely > 0.01) & (likely < 0.99)).sum() > 100
    assert np.array_equal(rule.predict(table), rule.predict(table))
    shares = np.mean([rule.set_params(random_state=seed).predict(table) for seed in range(400)], axis=0)
    assert np.abs(shares - likely).max() < 5 * np.sqrt(0.25 / 400)
    assert np.array_equal(shares[likely == 1], np.ones((likely == 1).sum()))


def test_a_saved_rule_decides_the_same(tmp_path):
    table, y = scored(6)
    model = LogisticRegression().fit(table[["score"]], y)
    rule = GroupThresholdClassifier(model, sensitive=["sex"], features=["score"]).fit(table, y)
    digest = save_model(rule, tmp_path / "mitigated.skops")
    again = load_model(tmp_path / "mitigated.skops", digest)
    assert np.array_equal(again.decision_probability(table), rule.decision_probability(table))
    assert np.array_equal(again.predict(table), rule.predict(table))


def test_small_groups_are_pooled_and_said():
    table, y = scored(7)
    table["town"] = np.where(np.arange(len(y)) < 30, "ham", np.where(np.arange(len(y)) < 60, "by", "city"))
    with pytest.warns(GroupWarning, match=r"these are pooled: by \(30\), ham \(30\)"):
        rule = GroupThresholdClassifier(ScoreColumn(), sensitive=["town"]).fit(table, y)
    assert rule.groups_.tolist() == ["(pooled)", "city"]
    likely = rule.decision_probability(table)
    assert likely[table["town"] == "city"].mean() == pytest.approx(likely[table["town"] != "city"].mean(), abs=1e-9)


def test_a_group_with_one_outcome_gets_the_threshold_of_the_costs():
    table, y = scored(8)
    table["town"] = np.where(np.arange(len(y)) < 200, "ham", table["sex"])
    y = np.where(table["town"] == "ham", 0, y)
    with pytest.warns(GroupWarning, match=r"one outcome only for a rule of their own, so these are pooled: ham \(200\)"):
        rule = GroupThresholdClassifier(ScoreColumn(), sensitive=["town"], cost_false_negative=3.0).fit(table, y)
    assert rule.groups_.tolist() == ["F", "M"]
    inside = table["town"] == "ham"
    assert np.array_equal(rule.predict(table)[inside], (table["score"][inside] >= 0.25).astype(int))


@quiet
def test_a_group_that_was_never_seen_and_a_missing_one_get_a_decision():
    table, y = scored(9)
    rule = GroupThresholdClassifier(ScoreColumn(), sensitive=["sex"]).fit(table, y)
    unseen = table.head(50).assign(sex=[None, "X"] * 25)
    assert np.array_equal(rule.predict(unseen), (unseen["score"] >= 0.5).astype(int))


@pytest.mark.parametrize("town", ["city", None])
def test_one_group_alone_is_not_mitigated(town):
    table, y = scored(10)
    with pytest.warns(GroupWarning, match="nothing is mitigated"):
        rule = GroupThresholdClassifier(ScoreColumn(), sensitive=["town"], cost_false_negative=3.0).fit(table.assign(town=town), y)
    assert np.array_equal(rule.predict(table.assign(town=town)), (table["score"] >= 0.25).astype(int))


@quiet
def test_numbers_are_cut_in_the_same_places_later():
    table, y = scored(11)
    table["age"] = np.random.default_rng(0).integers(18, 90, len(y))
    rule = GroupThresholdClassifier(ScoreColumn(), sensitive=["age"]).fit(table, y)
    assert len(rule.groups_) == 4
    assert np.array_equal(rule.decision_probability(table.head(3)), rule.decision_probability(table)[:3])


def test_bad_arguments_are_named():
    table, y = scored(12)
    with pytest.raises(ConfigError, match="Did you mean equalized_odds"):
        GroupThresholdClassifier(ScoreColumn(), sensitive=["sex"], constraint="equalised_odds").fit(table, y)
    with pytest.raises(ConfigError, match="sensitive: received 'sexx'.*Did you mean sex"):
        GroupThresholdClassifier(ScoreColumn(), sensitive=["sexx"]).fit(table, y)
    with pytest.raises(ConfigError, match="cost_false_positive: received 0"):
        GroupThresholdClassifier(ScoreColumn(), sensitive=["sex"], cost_false_positive=0.0).fit(table, y)


@settings(max_examples=50, deadline=None)
@given(points=st.lists(st.tuples(st.integers(0, 20), st.integers(-20, 20)), min_size=2, max_size=30))
def test_the_hull_is_concave_and_above_every_point(points):
    x, y = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    hull = upper_hull(x, y)
    assert (np.diff(x[hull]) > 0).all()
    assert (np.interp(x, x[hull], y[hull]) >= y - 1e-9).all()
    assert (np.diff(np.diff(y[hull]) / np.diff(x[hull])) < 1e-9).all()


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=20))
def test_points_count_what_thresholds_decide(rows):
    y, scores = np.array([row[0] for row in rows]), np.array([row[1] / 5 for row in rows])
    for point in threshold_points(y, scores).itertuples():
        decided = scores > point.threshold
        assert (decided & (y == 1)).sum() == point.true_positives
        assert (decided & (y == 0)).sum() == point.false_positives


def test_on_adult_the_gap_by_sex_closes_on_rows_not_seen(real_data):
    folder = real_data / "adult"
    train, test = (pd.read_csv(folder / name, header=None, skipinitialspace=True, skiprows=skip).rename(columns=str) for name, skip in (("adult.data", 0), ("adult.test", 1)))
    numbers = ["0", "4", "10", "11", "12"]
    truth = [part["14"].str.startswith(">50K").to_numpy().astype(int) for part in (train, test)]
    scale = train[numbers].std()
    train[numbers], test[numbers] = train[numbers] / scale, test[numbers] / scale
    model = LogisticRegression(max_iter=500).fit(train[numbers][:20_000], truth[0][:20_000])
    before = model.predict(test[numbers])
    rule = GroupThresholdClassifier(model, sensitive=["9"], features=numbers).fit(train[20_000:], truth[0][20_000:])
    with warnings.catch_warnings():
        warnings.simplefilter("error", GroupWarning)
        gaps = [assess_groups(truth[1], decided, sensitive_features=test[["9"]], costs=Costs(0, 1, 1, 0)).gaps["demographic_parity_difference:9"]
                for decided in (before, rule.predict(test))]
    assert gaps[0]["low"] > 0.05
    assert gaps[1]["value"] < 0.03

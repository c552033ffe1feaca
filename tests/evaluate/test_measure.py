"""Figures of classes and quantities: as scikit-learn computes them, with intervals that hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from mlsys.core import ConfigError
from mlsys.evaluate.measure import key_metrics, measure, reliability_of, what_if_curve
from mlsys.evaluate.multiclass import class_scorecard, confusion_table
from mlsys.evaluate.regression import amount_scorecard
from mlsys.evaluate.scorecard import scorecard
from mlsys.objective.cost import Costs
from mlsys.objective.problem import ClassCosts, ErrorCosts, cheapest_answer


def classes_of(n, size, seed=0):
    rng = np.random.default_rng(seed)
    y = np.append(np.arange(size), rng.integers(0, size, n - size))
    probabilities = (rng.dirichlet(np.ones(size), n) + 0.5 * np.eye(size)[y]).round(2)
    return y, probabilities / probabilities.sum(axis=1, keepdims=True)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.integers(3, 8))
def test_classes_as_scikit_learn_measures_them(seed, size):
    y, probabilities = classes_of(120, size, seed)
    costs = ClassCosts([str(code) for code in range(size)])
    card = {name: entry["value"] for name, entry in class_scorecard(y, probabilities, costs, n_bootstrap=2).items()}
    decided = costs.decide(probabilities)
    assert probabilities[np.arange(len(y)), decided] == pytest.approx(probabilities.max(axis=1)), "either of two classes that tie to the last bit"
    assert card["accuracy"] == pytest.approx(metrics.accuracy_score(y, decided))
    assert card["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, decided))
    assert card["macro_f1"] == pytest.approx(metrics.f1_score(y, decided, average="macro"))
    assert card["weighted_f1"] == pytest.approx(metrics.f1_score(y, decided, average="weighted"))
    assert card["log_loss"] == pytest.approx(metrics.log_loss(y, np.clip(probabilities, np.finfo(float).eps, 1)), rel=1e-6)
    assert card["macro_auc"] == pytest.approx(metrics.roc_auc_score(y, probabilities, multi_class="ovr"))
    assert card["brier"] == pytest.approx(((probabilities - np.eye(size)[y]) ** 2).sum(axis=1).mean())
    assert card["cost_per_1000"] == pytest.approx(1000 * (y != decided).mean())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.floats(0.2, 5))
def test_quantities_as_scikit_learn_measures_them(seed, under):
    rng = np.random.default_rng(seed)
    y = rng.normal(10, 3, 90)
    guess = y + rng.normal(0.5, 2, 90)
    card = {name: entry["value"] for name, entry in amount_scorecard(y, guess, ErrorCosts(under, 1.5), n_bootstrap=2).items()}
    assert card["mae"] == pytest.approx(metrics.mean_absolute_error(y, guess)) and card["r2"] == pytest.approx(metrics.r2_score(y, guess))
    assert card["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, guess)) and card["median_ae"] == pytest.approx(metrics.median_absolute_error(y, guess))
    assert card["mape"] == pytest.approx(metrics.mean_absolute_percentage_error(y, guess)) and card["mean_error"] == pytest.approx((guess - y).mean())
    if under != 1.5:
        assert card["pinball_loss"] == pytest.approx(metrics.mean_pinball_loss(y, guess, alpha=under / (under + 1.5)))
    assert card["covered_share"] == pytest.approx((y <= guess).mean())


def test_intervals_of_a_quantity_hold_the_truth():
    """Over 200 samples, the 95 % interval of the mean absolute error holds its true value about as often as it says."""
    rng, inside = np.random.default_rng(0), 0
    for seed in range(200):
        error = rng.exponential(1, 150)
        entry = amount_scorecard(np.arange(150.0), np.arange(150.0) + error, ErrorCosts(), n_bootstrap=200, seed=seed)["mae"]
        inside += entry["low"] <= 1.0 <= entry["high"]
    assert 175 <= inside


def test_what_cannot_be_said_is_left_open():
    zero = amount_scorecard([0.0, 1, 2], [1.0, 1, 1], ErrorCosts(), n_bootstrap=5)
    assert np.isnan(zero["mape"]["value"]) and "pinball_loss" not in zero and zero["r2"]["value"] == 0.0
    constant = amount_scorecard([3.0] * 5, [3.0] * 5, ErrorCosts(), n_bootstrap=5)
    assert np.isnan(constant["r2"]["value"]) and constant["rmse"]["value"] == 0
    single = class_scorecard([1, 1], [[0.2, 0.8, 0.0]] * 2, ClassCosts(["a", "b", "c"]), n_bootstrap=5)
    assert np.isnan(single["macro_auc"]["value"]) and single["balanced_accuracy"]["value"] == 1
    one = amount_scorecard([1.0], [2.0], ErrorCosts(), n_bootstrap=5)
    assert one["mae"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def test_a_class_that_was_given_no_chance_is_charged_for_not_infinite():
    card = class_scorecard([0, 2], [[0.9, 0.1, 0], [0.5, 0.5, 0]], ClassCosts(["a", "b", "c"]), n_bootstrap=5)
    assert 15 < card["log_loss"]["value"] < 40


def test_binary_costs_go_to_the_binary_scorecard():
    rng = np.random.default_rng(0)
    y, scores = rng.integers(0, 2, 200), rng.random(200)
    costs = Costs(0, 1, 3, 0)
    assert measure(costs, y, scores, n_bootstrap=20) == scorecard(y, scores, costs, n_bootstrap=20)
    assert reliability_of(costs, y, scores)["rows"].sum() == 200 and "recall" in what_if_curve(costs, y, scores)


@pytest.mark.parametrize("costs, y, predictions, problem", [
    (ClassCosts(list("abc")), *classes_of(200, 3), "multiclass"),
    (ErrorCosts(3, 1), np.arange(200.0), np.arange(200.0) + np.tile([2, -1, 0, 5], 50), "regression"),
])
def test_curves_and_bins_agree_with_the_card(costs, y, predictions, problem):
    card = measure(costs, y, predictions, n_bootstrap=5)
    assert set(key_metrics(problem)) - {"epsilon"} <= set(card)
    curve = what_if_curve(costs, y, predictions)
    asked = curve.iloc[(curve["threshold"] - 0).abs().argmin()]
    assert asked["cost_per_1000"] == pytest.approx(card["cost_per_1000"]["value"])
    bins = reliability_of(costs, y, predictions)
    assert bins["rows"].sum() == 200 and (bins["low"] <= bins["positive_share"]).all() and list(bins) == ["rows", "mean_score", "positive_share", "low", "high"]
    if problem == "multiclass":
        plain = costs.per_1000(y, np.full(200, cheapest_answer(y, costs)))
        assert card["saving_per_1000"]["value"] == pytest.approx(plain - card["cost_per_1000"]["value"])


def test_decisions_without_predictions():
    assert measure(ErrorCosts(), [1.0, 2], None, decisions=[1.0, 3], n_bootstrap=5)["mae"]["value"] == 0.5
    card = measure(ClassCosts(["a", "b", "c"]), [0, 1, 2], None, decisions=[0, 1, 1], n_bootstrap=5)
    assert card["accuracy"]["value"] == pytest.approx(2 / 3) and "log_loss" not in card


def test_the_table_of_confusion():
    table = confusion_table([0, 0, 1], [0, 1, 1], ["a", "b", "c"])
    assert table.loc["a", "b"] == 1 and table["recognised"].iloc[:2].tolist() == [0.5, 1.0] and np.isnan(table["recognised"].iloc[2])


@pytest.mark.parametrize("call, words", [
    (lambda: measure(ErrorCosts(), [], []), "0 rows"), (lambda: measure(ErrorCosts(), [1.0], [2.0], n_bootstrap=0), "n_bootstrap"),
    (lambda: measure(ClassCosts(["a", "b"]), [0], None), "probabilities"), (lambda: measure(ErrorCosts(), [1.0, 2], [2.0]), "as many rows"),
    (lambda: measure(ErrorCosts(), [1.0], [np.nan]), "predictions: received 'nan in row 0'"),
])
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(ConfigError, match=words):
        call()

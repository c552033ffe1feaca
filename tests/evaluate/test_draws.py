"""Every bootstrap draw is what scikit-learn says of the rows drawn, and rows are drawn as the bootstrap draws them."""

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn import metrics

from mlsys.evaluate.measure import measure
from mlsys.evaluate.multiclass import ClassSample, confusion_metrics
from mlsys.evaluate.scorecard import RankedCells, bootstrap, score_metrics
from mlsys.objective.cost import Costs
from mlsys.objective.problem import ClassCosts, ErrorCosts


def binary(digits, rows=400, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.02, 0.98, rows).round(digits)
    return (rng.random(rows) < scores).astype(int), scores


def classes(digits, rows=300, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet([1, 1, 0.5], rows)
    scores = np.floor(scores * 10**digits) / 10**digits
    scores[:, 0] += 1 - scores.sum(axis=1)
    return (scores.cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1).clip(0, 2), scores.clip(0, 1)


@pytest.mark.parametrize("digits", [1, 2, 15])
def test_a_draw_of_two_outcomes_is_what_sklearn_says_of_its_rows(digits):
    y, scores = binary(digits)
    cells = RankedCells(y, scores)
    first = {(score, truth): place for place, (score, truth) in enumerate(zip(cells.scores, cells.y, strict=True))}
    rng = np.random.default_rng(1)
    for _ in range(20):
        rows = rng.integers(0, len(y), len(y))
        weights = np.bincount([first[scores[row], y[row]] for row in rows], minlength=len(cells.y))
        found = score_metrics(cells, weights)
        assert found["auc_roc"] == pytest.approx(metrics.roc_auc_score(y[rows], scores[rows]), abs=1e-12)
        assert found["average_precision"] == pytest.approx(metrics.average_precision_score(y[rows], scores[rows]), abs=1e-12)
        assert found["log_loss"] == pytest.approx(metrics.log_loss(y[rows], scores[rows]), abs=1e-12)
        assert found["brier"] == pytest.approx(metrics.brier_score_loss(y[rows], scores[rows]), abs=1e-12)


@pytest.mark.parametrize("digits", [1, 2, 15])
def test_a_draw_of_several_classes_is_what_sklearn_says_of_its_rows(digits):
    y, scores = classes(digits)
    sample, rng = ClassSample(y, scores), np.random.default_rng(1)
    for _ in range(10):
        rows = rng.integers(0, len(y), len(y))
        found = sample.metrics(np.bincount(rows, minlength=len(y)).astype(float))
        areas = [metrics.roc_auc_score(y[rows] == code, scores[rows][:, code]) for code in range(3)]
        assert found["macro_auc"] == pytest.approx(np.mean(areas), abs=1e-12)
        given = np.clip(scores[rows, y[rows]], np.finfo(float).eps, 1)
        assert found["log_loss"] == pytest.approx(-np.log(given).mean(), abs=1e-12)
        assert found["brier"] == pytest.approx(((scores[rows] - np.eye(3)[y[rows]]) ** 2).sum(axis=1).mean(), abs=1e-12)


def test_values_are_those_of_sklearn_to_the_twelfth_digit():
    y, scores = binary(15, 3000)
    costs = Costs(0, 1, 3, 0)
    card, decided = measure(costs, y, scores, n_bootstrap=2), costs.decide(scores)
    expected = {"f1": metrics.f1_score(y, decided), "precision": metrics.precision_score(y, decided), "recall": metrics.recall_score(y, decided), "accuracy": metrics.accuracy_score(y, decided),
                "auc_roc": metrics.roc_auc_score(y, scores), "average_precision": metrics.average_precision_score(y, scores), "log_loss": metrics.log_loss(y, scores), "brier": metrics.brier_score_loss(y, scores)}
    assert {name: card[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-12)
    y, scores = classes(15, 3000)
    card, decided = measure(ClassCosts(["a", "b", "c"]), y, scores, n_bootstrap=2), scores.argmax(axis=1)
    expected = {"accuracy": metrics.accuracy_score(y, decided), "balanced_accuracy": metrics.balanced_accuracy_score(y, decided), "macro_f1": metrics.f1_score(y, decided, average="macro"),
                "weighted_f1": metrics.f1_score(y, decided, average="weighted"), "log_loss": metrics.log_loss(y, scores), "macro_auc": metrics.roc_auc_score(y, scores, multi_class="ovr")}
    assert {name: card[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-12)
    truth = np.random.default_rng(0).gamma(2, 2, 3000) + 0.1
    guess = truth + np.random.default_rng(1).normal(0, 1, 3000)
    card = measure(ErrorCosts(1, 2), truth, guess, n_bootstrap=2)
    expected = {"mae": metrics.mean_absolute_error(truth, guess), "rmse": metrics.root_mean_squared_error(truth, guess), "r2": metrics.r2_score(truth, guess), "median_ae": metrics.median_absolute_error(truth, guess),
                "mape": metrics.mean_absolute_percentage_error(truth, guess), "pinball_loss": metrics.mean_pinball_loss(truth, guess, alpha=1 / 3)}
    assert {name: card[name]["value"] for name in expected} == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("digits", "rows"), [(1, 2000), (15, 300)])
def test_the_law_of_the_draws_is_that_of_a_slow_bootstrap(digits, rows):
    y, scores = binary(digits, rows)
    cells, rng = RankedCells(y, scores), np.random.default_rng(2)
    quick = [score_metrics(cells, cells.draw(rng)) for _ in range(400)]
    slow = [rng.integers(0, rows, rows) for _ in range(400)]
    for name, by_sklearn in (("auc_roc", metrics.roc_auc_score), ("average_precision", metrics.average_precision_score), ("log_loss", metrics.log_loss), ("brier", metrics.brier_score_loss)):
        assert ks_2samp([draw[name] for draw in quick], [by_sklearn(y[some], scores[some]) for some in slow]).pvalue > 1e-3, name


def test_a_draw_has_as_many_rows_as_the_sample_and_the_variance_of_a_multinomial():
    seen = []
    bootstrap(lambda weights: seen.append(weights) or {"a": 0.0}, 50, 4000, 0)
    drawn = np.array(seen[:-1])
    assert (drawn.sum(axis=1) == 50).all() and drawn.mean() == 1
    covariance = np.cov(drawn.T)
    assert np.diag(covariance).mean() == pytest.approx(1 - 1 / 50, rel=0.02)
    assert covariance[~np.eye(50, dtype=bool)].mean() == pytest.approx(-1 / 50, rel=0.02)


def test_a_perfect_model_and_one_that_says_one_thing():
    y = np.array([0, 1] * 200)
    perfect, same = measure(Costs(0, 1, 1, 0), y, y * 0.98 + 0.01, n_bootstrap=50), measure(Costs(0, 1, 1, 0), y, np.full(400, 0.3), n_bootstrap=50)
    assert perfect["auc_roc"] == {"value": 1, "low": 1, "high": 1} and perfect["f1"]["low"] == 1 and perfect["cost_per_1000"]["value"] == 0
    assert same["auc_roc"] == {"value": 0.5, "low": 0.5, "high": 0.5} and same["precision"]["value"] == 0 and same["cost_per_1000"]["value"] == 500
    codes = np.array([0, 1, 2] * 100)
    card = measure(ClassCosts(["a", "b", "c"]), codes, np.tile([0.4, 0.3, 0.3], (300, 1)), n_bootstrap=20)
    assert card["macro_auc"]["value"] == 0.5 and card["accuracy"]["value"] == pytest.approx(1 / 3)
    assert confusion_metrics(np.diag([5, 5, 5]))["macro_f1"] == 1

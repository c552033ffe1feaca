"""Corrections of probabilities: right where one is needed, none where none helps."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlsys.core import ConfigError
from mlsys.models.calibrate import (
    CalibratedClassifier,
    apply_map,
    compare_maps,
    deal_folds,
    fit_map,
    methods_for,
    row_losses,
)
from mlsys.models.persistence import load_model, save_model


@parametrize_with_checks([CalibratedClassifier(), CalibratedClassifier(min_rows=20, n_folds=2, method="isotonic")])
@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks provoke warnings on purpose
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def too_sure(rows, n_classes=2, factor=3.0, seed=0):
    """Outcomes, the true probabilities, and probabilities that are `factor` times too sure."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, n_classes))
    shares = [np.exp(scale * logits) / np.exp(scale * logits).sum(axis=1, keepdims=True) for scale in (1.0, factor)]
    codes = (shares[0].cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    return codes, *shares


@pytest.mark.parametrize("n_classes", [2, 4])
def test_what_is_too_sure_is_put_right(n_classes):
    codes, true, sure = too_sure(8000, n_classes)
    for method in methods_for(n_classes)[1:]:
        found = apply_map(method, fit_map(method, sure, codes), sure)
        assert np.allclose(found.sum(axis=1), 1) and (found > 0).all()
        assert np.abs(found - true).mean() < 0.35 * np.abs(sure - true).mean()


def test_the_sigmoid_and_the_temperature_are_those_that_made_the_scores():
    codes, _, sure = too_sure(20_000)
    line = fit_map("sigmoid", sure, codes)
    assert line["slope"] == pytest.approx(1 / 3, rel=0.05) and abs(line["shift"]) < 0.05
    codes, _, sure = too_sure(20_000, 5)
    assert fit_map("temperature", sure, codes)["temperature"] == pytest.approx(3, rel=0.05)


def test_the_isotonic_curve_is_that_of_scikit_learn_within_laplace():
    codes, _, sure = too_sure(500)
    expected = IsotonicRegression(out_of_bounds="clip").fit(sure[:, 1], codes).predict(sure[:, 1])
    found = apply_map("isotonic", fit_map("isotonic", sure, codes), sure)[:, 1]
    np.testing.assert_allclose(found, np.clip(expected, 1 / 502, 501 / 502), atol=1e-9)


def test_an_honest_model_is_left_alone_and_a_too_sure_one_is_not():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3))
    y = (rng.random(3000) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
    honest = CalibratedClassifier(LogisticRegression()).fit(X, y)
    assert honest.method_ == "none" and np.array_equal(honest.predict_proba(X), honest.estimator_.predict_proba(X))
    sure = CalibratedClassifier(GaussianNB()).fit(np.repeat(X[:, :1], 6, axis=1) + rng.normal(size=(3000, 6)) / 9, y)
    assert sure.method_ in ("sigmoid", "isotonic")
    assert sure.compared_[sure.method_]["log_loss"] < sure.compared_["none"]["log_loss"]
    assert sure.compared_[sure.method_]["brier"] < sure.compared_["none"]["brier"]


@pytest.mark.parametrize("labels", [["no", "yes"], ["a", "b", "c"]])
def test_fresh_rows_agree_that_the_correction_helps(labels):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(4000, 4))
    y = np.array(labels)[(X[:, 0] + rng.logistic(size=4000) > 0).astype(int) + (len(labels) == 3) * (X[:, 1] + rng.logistic(size=4000) > 1)]
    trees = HistGradientBoostingClassifier(max_iter=300, max_leaf_nodes=31, random_state=0)  # learn 2,000 noisy rows by heart
    model = CalibratedClassifier(trees).fit(X[:2000], y[:2000])
    codes = np.searchsorted(model.classes_, y[2000:])
    before, after = (row_losses(one.predict_proba(X[2000:]), codes).mean() for one in (model.estimator_, model))
    assert model.method_ != "none" and after < before - 0.05


def test_the_choice_is_paid_for_by_rows_that_had_no_part_in_it():
    """A curve through every point looks perfect where it was learnt; held-out folds see through it."""
    rng = np.random.default_rng(2)
    noise, codes = rng.random(600), rng.integers(0, 2, 600)
    scores = np.column_stack([1 - noise, noise]) * 0.02 + 0.49
    compared = compare_maps(scores, codes, deal_folds(codes, 3), methods_for(2))
    learnt = row_losses(apply_map("isotonic", fit_map("isotonic", scores, codes), scores), codes).mean()
    assert learnt < compared["none"]["log_loss"] and compared["isotonic"]["gain"] <= 2 * compared["isotonic"]["standard_error"]


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 5), st.integers(2, 60), st.integers(0, 2**16))
def test_folds_keep_groups_and_classes(n_folds, rows, seed):
    rng = np.random.default_rng(seed)
    codes, groups = rng.integers(0, 3, rows), rng.integers(0, 8, rows)
    folds = deal_folds(codes, n_folds, random_state=seed)
    for code in range(3):
        counts = np.bincount(folds[codes == code], minlength=n_folds)
        assert counts.max() - counts.min() <= 1
    kept = pd.DataFrame({"group": groups, "fold": deal_folds(codes, n_folds, groups, random_state=seed)})
    assert (kept.groupby("group")["fold"].nunique() == 1).all()
    assert (np.diff(deal_folds(codes, n_folds, shuffle=False)) >= 0).all()


@pytest.mark.parametrize("y", [np.ones(300, dtype=int), np.r_[np.zeros(298), 1, 1].astype(int), np.arange(12) % 2])
def test_one_class_a_rare_one_and_few_rows_are_left_alone(y):
    X = np.random.default_rng(0).normal(size=(len(y), 2))
    model = CalibratedClassifier(GaussianNB(var_smoothing=1.0)).fit(X, y)
    assert model.method_ == "none" and model.compared_ == {}
    assert model.predict_proba(X).shape == (len(y), len(set(y)))


def test_a_class_that_one_fold_lacks_and_a_perfect_classifier_do_no_harm():
    X = np.arange(600.0).reshape(-1, 1)
    y = np.where(X[:, 0] < 250, 0, np.where(X[:, 0] < 300, 2, 1))  # in time order: stretches lack whole classes
    model = CalibratedClassifier(HistGradientBoostingClassifier(max_iter=30), shuffle=False).fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all() and np.allclose(model.predict_proba(X).sum(axis=1), 1)
    perfect = CalibratedClassifier(HistGradientBoostingClassifier(max_iter=30)).fit(X, y)
    assert (perfect.predict(X) == y).mean() > 0.99
    alone = CalibratedClassifier(GaussianNB()).fit(X, y, groups=np.zeros(600))  # all rows are one person's
    assert alone.method_ == "none"


def test_it_is_kept_and_comes_back(tmp_path):
    rng = np.random.default_rng(3)
    X = np.repeat(rng.normal(size=(1000, 1)), 4, axis=1) + rng.normal(size=(1000, 4)) / 5
    y = (rng.random(1000) < 1 / (1 + np.exp(-X[:, 0]))).astype(int)
    for method in ("sigmoid", "isotonic"):
        model = CalibratedClassifier(GaussianNB(), method).fit(X, y)
        again = load_model(tmp_path / "m.skops", save_model(model, tmp_path / "m.skops"))
        assert again.method_ == method and np.array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize(("settings", "words"), [({"method": "isotonik"}, "Did you mean isotonic"), ({"n_folds": 1}, "n_folds"), ({"method": "temperature"}, "for 2 classes: none, sigmoid, isotonic")])
def test_settings_are_checked_when_fitting(settings, words):
    X = np.random.default_rng(0).normal(size=(400, 2))
    with pytest.raises(ConfigError, match=words):
        CalibratedClassifier(GaussianNB(), **settings).fit(X, np.arange(400) % 2)

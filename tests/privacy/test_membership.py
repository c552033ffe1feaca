"""Membership attacks: known areas, coverage under nothing to find, bad input."""
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from mlsys.core import ConfigError
from mlsys.privacy.membership import (
    attack_membership,
    attack_scores,
    draw_members,
    lira_scores,
    membership_auc,
    rate_of_hits,
    read_rows,
    sample_rows,
)


def test_the_area_is_scikit_learns_with_ties_and_without():
    rng = np.random.default_rng(0)
    for digits in (1, 8):
        scores, members = rng.normal(size=500).round(digits), rng.random(500) < 0.3
        assert membership_auc(scores, members)["value"] == pytest.approx(roc_auc_score(members, scores))


def test_the_interval_holds_the_true_area_as_often_as_promised():
    rng, true = np.random.default_rng(1), norm.cdf(0.6 / np.sqrt(2))
    found = []
    for _ in range(400):
        members = rng.random(150) < 0.5
        found.append(membership_auc(rng.normal(size=150) + 0.6 * members, members))
    covered = np.mean([each["low"] <= true <= each["high"] for each in found])
    assert 0.92 < covered < 0.98


def test_rows_of_one_person_are_not_taken_for_independent():
    rng = np.random.default_rng(2)
    members, scores, people = np.repeat(rng.random(100) < 0.5, 5), np.repeat(rng.normal(size=100), 5), np.repeat(np.arange(100), 5)
    alone, together = membership_auc(scores, members), membership_auc(scores, members, units=people)
    assert together["high"] - together["low"] > 2 * (alone["high"] - alone["low"])


def test_where_there_is_nothing_to_find_no_attack_finds_it():
    areas, missed = [], 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        members = draw_members(300, 6, seed=seed)
        seen = rng.normal(size=(6, 300)) + 2 * rng.normal(size=300)  # some rows are harder than others
        found = {name: membership_auc(scores, members) for name, scores in attack_scores(seen, members, False).items()}
        areas.append([each["value"] for each in found.values()])
        missed += sum(not each["low"] <= 0.5 <= each["high"] for each in found.values())
    assert np.abs(np.mean(areas, axis=0) - 0.5).max() < 0.01 and missed / 180 < 0.08


def test_likelihood_ratios_find_what_losses_do_not():
    rng = np.random.default_rng(4)
    members = draw_members(2000, 16, seed=4)
    seen = 5 * rng.normal(size=2000) + 1.0 * members + rng.normal(size=(16, 2000))  # hardness hides membership
    areas = {name: membership_auc(scores, members)["value"] for name, scores in attack_scores(seen, members, False).items()}
    assert areas["loss"] < 0.58 < 0.7 < min(areas["LiRA"], areas["LiRA, offline"])


def test_the_ratio_is_that_of_two_normal_densities():
    seen = np.array([[1.0], [0.2], [0.6], [2.0], [2.4]])
    members = np.array([[True], [False], [False], [True], [True]])
    spread = np.sqrt(0.16 / 2)  # squares 4 * 0.04, less two means
    ratio = norm.logpdf(1.0, 2.2, spread) - norm.logpdf(1.0, 0.4, spread)
    assert lira_scores(seen, members, 0)[0] == pytest.approx(ratio)


def test_every_row_is_in_half_of_the_models_and_a_person_as_a_whole():
    people = np.repeat(np.arange(50), 3)
    members = draw_members(150, 8, units=people, seed=0)
    assert (members.sum(axis=0) == 4).all() and (members[:, ::3] == members[:, 2::3]).all()


@pytest.mark.parametrize("kind", ["binary", "several classes", "number", "labels"])
def test_a_learner_that_remembers_is_found_out(kind):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(300, 4))
    y = {"binary": rng.integers(0, 2, 300), "several classes": rng.integers(0, 4, 300), "number": rng.normal(size=300), "labels": rng.choice(["x", "y", "z"], 300)}[kind]
    learner = KNeighborsRegressor if kind == "number" else KNeighborsClassifier
    found = attack_membership(lambda half: learner(2).fit(X[half], y[half]), X, y, n_models=6, seed=1)
    assert found.auc["low"] > 0.6 and found.strongest in found.table().index


def test_a_learner_that_reads_nothing_is_not():
    class Constant:
        classes_ = np.array([0, 1])

        def predict_proba(self, X):
            return np.full((len(X), 2), 0.5)

    y = np.random.default_rng(6).integers(0, 2, 200)
    found = attack_membership(lambda half: Constant(), np.zeros((200, 1)), y, n_models=4)
    assert found.attacks["loss"]["auc"]["value"] == 0.5


def test_a_class_that_a_half_did_not_have_is_seen_as_unlikely():
    X, y = np.arange(6.0)[:, None], np.array(["a", "a", "a", "b", "b", "c"])
    model = KNeighborsClassifier(1).fit(X[:5], y[:5])
    seen = read_rows(model, X, y)
    assert np.isfinite(seen).all() and seen[5] < -10 < 10 < seen[0]


def test_hits_are_counted_at_the_false_alarms_asked_for():
    rng = np.random.default_rng(8)
    members = draw_members(4000, 6, seed=8)
    found = rate_of_hits(rng.normal(size=(6, 4000)) + 2.0 * members, members, false_alarms=0.05)
    assert found["value"] == pytest.approx(norm.sf(norm.isf(0.05) - 2.0), abs=0.03) and found["low"] < found["value"] < found["high"]
    assert rate_of_hits(rng.normal(size=(2, 100)), draw_members(100, 4)[:2])["value"] is None


def test_samples_take_whole_people():
    people = pd.Series(np.repeat(np.arange(40), 5))
    places = sample_rows(200, 50, units=people, seed=1)
    assert 40 <= len(places) <= 50 and (people.iloc[places].value_counts() == 5).all()


@pytest.mark.parametrize("count", [0, 2, 3, 5, 7, 4.0, True])
def test_numbers_of_models_that_leave_no_shadows_are_refused(count):
    with pytest.raises(ConfigError, match="n_models"):
        draw_members(10, count)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ConfigError, match="members"):
        membership_auc(np.arange(5.0), np.ones(5, dtype=bool))
    with pytest.raises(ConfigError, match="scores"):
        membership_auc(np.array([1.0, np.nan]), np.array([True, False]))
    with pytest.raises(ConfigError, match="false_alarms"):
        rate_of_hits(np.arange(5.0), np.ones(5, dtype=bool), false_alarms=0.0)

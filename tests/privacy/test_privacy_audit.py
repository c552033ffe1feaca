"""The one-run audit: known answers, coverage, planted faults."""
import math

import numpy as np
import pytest
from scipy.stats import binom

import mlsys.privacy.dpsgd as dpsgd
from mlsys.core import ConfigError
from mlsys.privacy.audit import (
    audit_learner,
    audit_p_value,
    audit_scores,
    canaries_needed,
    draw_canaries,
    epsilon_lower_bound,
    most_provable,
)
from mlsys.privacy.classifier import PrivateLogisticRegression, PrivateNetworkClassifier
from mlsys.privacy.regressor import PrivateLinearRegression, PrivateNetworkRegressor


@pytest.mark.parametrize("counts, printed", [((1000, 100, 75, 1e-4), 0.673), ((100_000, 1510, 1439, 1e-5), 2.675)])
def test_the_papers_own_figures(counts, printed):
    names = ("n_canaries", "n_guesses", "n_right", "delta")
    assert epsilon_lower_bound(**dict(zip(names, counts, strict=True))) == pytest.approx(printed, abs=1e-3)


@pytest.mark.parametrize("canaries, guesses, right, epsilon, delta", [(1000, 100, 75, 0.5, 1e-4), (400, 400, 1, 1.0, 1e-3), (5000, 3000, 2500, 1.4, 1e-5), (300, 300, 300, 4.0, 1e-3), (50, 20, 0, 1.0, 1e-5)])
def test_the_p_value_is_the_theorem_written_out(canaries, guesses, right, epsilon, delta):
    likely = math.exp(epsilon) / (1 + math.exp(epsilon))
    masses = binom.pmf(np.arange(guesses + 1), guesses, likely)
    falls = [masses[right - i : right].sum() / i for i in range(1, right + 1)] or [0.0]
    expected = min(1.0, masses[right:].sum() + 2 * canaries * delta * max(falls))
    assert audit_p_value(n_canaries=canaries, n_guesses=guesses, n_right=right, epsilon=epsilon, delta=delta) == pytest.approx(expected, rel=1e-9)


def test_without_delta_the_bound_is_that_of_clopper_and_pearson():
    from scipy.stats import beta

    low = beta.ppf(0.05, 160, 41)  # of 160 right of 200
    assert epsilon_lower_bound(n_canaries=200, n_guesses=200, n_right=160, delta=0.0) == pytest.approx(math.log(low / (1 - low)), abs=1e-6)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_randomised_response_is_bounded_as_often_as_promised(epsilon):
    rng, likely = np.random.default_rng(7), math.exp(epsilon) / (1 + math.exp(epsilon))
    rights = rng.binomial(600, likely, 600)
    bounds = {int(right): epsilon_lower_bound(n_canaries=600, n_guesses=600, n_right=int(right), delta=0.0) for right in np.unique(rights)}
    too_high = np.mean([bounds[int(right)] > epsilon for right in rights])
    assert 0.01 < too_high < 0.08 and np.median([bounds[int(right)] for right in rights]) > 0.7 * epsilon


def test_trying_several_numbers_of_guesses_keeps_the_confidence():
    rng, wrong, epsilon = np.random.default_rng(3), 0, 1.0
    for _ in range(300):  # an answer for each canary by randomised response, as a score with ties broken at random
        coins = rng.random(200) < 0.5
        answers = np.where(rng.random(200) < math.exp(epsilon) / (1 + math.exp(epsilon)), coins, ~coins)
        wrong += audit_scores(answers + 0.01 * rng.random(200), coins, claimed_epsilon=epsilon, delta=0.0).lower_bound > epsilon
    assert wrong / 300 < 0.08


def test_a_perfect_attack_proves_what_its_canaries_allow():
    coins = np.random.default_rng(0).random(300) < 0.5
    found = audit_scores(coins * 1.0, coins, claimed_epsilon=8.0, delta=1e-5)
    assert found.lower_bound <= found.provable == most_provable(300, delta=1e-5) < 8 and found.verdict == "not enough evidence"
    assert "no number of canaries" in found.describe()
    assert f"{canaries_needed(5.0, delta=1e-5):,}" in audit_scores(coins * 1.0, coins, claimed_epsilon=5.0, delta=1e-5).describe()
    assert audit_scores(coins * 1.0, coins, claimed_epsilon=1.0, delta=1e-5).verdict == "fails"


def test_as_many_canaries_as_needed_are_enough_and_fewer_are_not():
    needed = canaries_needed(3.0, delta=1e-5)
    assert most_provable(needed, delta=1e-5) > 3.0 > most_provable(needed // 2, delta=1e-5)
    assert canaries_needed(8.0, delta=1e-3) is None


def learners():
    return {"logistic": PrivateLogisticRegression(target_epsilon=1.0), "three classes": PrivateLogisticRegression(target_epsilon=1.0, classes=["a", "b", "c"]),
            "linear": PrivateLinearRegression(target_epsilon=1.0, target_range=(0, 50), quantile=0.8),
            "network": PrivateNetworkClassifier(target_epsilon=1.0), "network of a number": PrivateNetworkRegressor(target_epsilon=1.0, target_range=(0, 50))}


def plant(monkeypatch, *, noise=1.0, clipping=1.0):
    "Train with other noise or other clipping than the accountant is told."
    train = dpsgd.train_private

    def faulty(*arguments, **settings):
        told = settings["noise_multiplier"]
        fit = train(*arguments, **settings | {"noise_multiplier": told * noise / clipping, "max_grad_norm": settings["max_grad_norm"] * clipping})
        fit.accountant.history = [(told, *rest) for _, *rest in fit.accountant.history]
        return fit

    monkeypatch.setattr(dpsgd, "train_private", faulty)


@pytest.mark.parametrize("name", learners())
def test_noise_too_small_by_ten_is_caught(monkeypatch, name):
    plant(monkeypatch, noise=0.1)
    found = audit_learner(learners()[name], n_canaries=1000, seed=1)
    assert found.verdict == "fails" and found.lower_bound > found.claimed_epsilon, found.describe()


@pytest.mark.parametrize("name", learners())
def test_clipping_switched_off_is_caught(monkeypatch, name):
    plant(monkeypatch, clipping=1e6)
    found = audit_learner(learners()[name], n_canaries=1000, seed=1)
    assert found.verdict == "fails" and found.lower_bound > found.claimed_epsilon, found.describe()


@pytest.mark.parametrize("name", learners())
def test_a_correct_run_keeps_its_claim(name):
    for seed in range(3):
        found = audit_learner(learners()[name], n_canaries=300, seed=seed)
        assert found.verdict == "holds" and found.lower_bound <= found.claimed_epsilon <= 1.0, found.describe()


def test_the_bound_comes_near_a_large_epsilon():
    bounds = [audit_learner(PrivateLogisticRegression(target_epsilon=4.0), n_canaries=1000, seed=seed).lower_bound for seed in range(2)]
    assert 0.3 < min(bounds) <= max(bounds) <= 4.0


def test_the_audit_is_the_same_twice():
    first, second = (audit_learner(PrivateLogisticRegression(target_epsilon=1.0), n_canaries=100, seed=5) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("wrong, named", [
    (dict(scores=np.ones(50)), "scores that differ"), (dict(scores=np.full(50, np.nan)), "finite"), (dict(scores=np.arange(49.0)), "one score and one coin"),
    (dict(claimed_epsilon=math.inf), "claimed_epsilon"), (dict(claimed_epsilon=0.0), "claimed_epsilon"), (dict(claimed_epsilon=-1.0), "claimed_epsilon"),
    (dict(delta=1.0), "delta"), (dict(delta=-0.1), "delta"), (dict(confidence=1.0), "confidence"),
])
def test_what_proves_nothing_is_refused(wrong, named):
    usual = {"scores": np.arange(50.0), "included": np.arange(50) % 2 == 0, "claimed_epsilon": 1.0, "delta": 1e-5}
    with pytest.raises(ConfigError, match=named):
        audit_scores(**usual | wrong)


@pytest.mark.parametrize("count", [1, 0, -5, 20_000, 10.5, True])
def test_numbers_of_canaries_that_make_no_audit_are_refused(count):
    with pytest.raises(ConfigError, match="n_canaries"):
        draw_canaries(count)


def test_impossible_counts_are_refused():
    for counts in ((10, 20, 5), (10, 5, 6), (10, -1, -1), (0, 0, 0)):
        with pytest.raises(ConfigError, match="n_right"):
            audit_p_value(**dict(zip(("n_canaries", "n_guesses", "n_right"), counts, strict=True)), epsilon=1.0, delta=0.0)

"""Paired comparisons: equal to their textbook forms, and as sure as they say."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from mlsys.core import ConfigError
from mlsys.evaluate.compare import compare_auc, compare_decisions, compare_paired


def pair(seed, rows=400, gap=0.0):
    rng = np.random.default_rng(seed)
    hard = rng.exponential(10, rows)
    return hard + rng.normal(gap, 1, rows), hard + rng.normal(0, 1, rows)


def test_the_value_and_the_interval_are_those_of_a_paired_test():
    challenger, champion = pair(0, rows=3000, gap=-0.2)
    found = compare_paired(challenger, champion, n_bootstrap=4000)
    difference = 1000 * (challenger - champion)
    error = difference.std(ddof=1) / math.sqrt(3000)
    assert found["value"] == pytest.approx(difference.mean())
    assert found["low"] == pytest.approx(difference.mean() - 1.96 * error, abs=0.15 * error)
    assert found["high"] == pytest.approx(difference.mean() + 1.96 * error, abs=0.15 * error)
    assert set(found) >= {"value", "low", "high", "verdict", "p_value"}


def test_two_equal_models_are_rarely_told_apart():
    verdicts = [compare_paired(*pair(seed), n_bootstrap=300, seed=seed) for seed in range(200)]
    wrong = sum(found["verdict"] != "not enough evidence" for found in verdicts)
    assert wrong <= 19  # 5 % of 200, and three standard deviations
    assert wrong == sum(found["p_value"] < 0.05 for found in verdicts) or abs(wrong - sum(found["p_value"] < 0.05 for found in verdicts)) <= 3


@pytest.mark.parametrize(("gap", "margin", "verdict"), [(-0.5, 0, "holds"), (0.5, 0, "fails"), (0.5, 2000, "holds"), (0.0, 0, "not enough evidence"), (0.02, 1000, "holds")])
def test_verdicts_are_about_the_margin(gap, margin, verdict):
    assert compare_paired(*pair(3, gap=gap), margin=margin, n_bootstrap=300)["verdict"] == verdict


def test_models_that_decide_alike_pass():
    found = compare_paired([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (found["value"], found["low"], found["high"], found["verdict"], found["p_value"]) == (0, 0, 0, "holds", 1)


def test_one_row_or_one_unit_is_no_evidence():
    for given in ({}, {"units": {"people": np.zeros(1)}}):
        found = compare_paired([1.0], [2.0], **given)
        assert found["verdict"] == "not enough evidence" and found["p_value"] == 1
    assert compare_paired(*pair(0), units=np.zeros(400))["verdict"] == "not enough evidence"


def test_the_units_that_leave_most_doubt_count():
    challenger, champion = pair(1)
    person = np.repeat(np.arange(20), 20)
    challenger = challenger + np.random.default_rng(2).normal(0, 5, 20)[person]
    found = compare_paired(challenger, champion, units={"pairs": np.arange(400) // 2, "people": person})
    assert found["units"] == "people" and found["n_units"] == 20
    assert found["high"] - found["low"] > 2 * np.ptp([compare_paired(challenger, champion)[end] for end in ("low", "high")])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (([], []), "at least one row"), (([1.0], [1.0, 2.0]), "A paired test needs both models on the same rows"), (([np.nan], [1.0]), "missing or infinite in 1 rows"),
        (([[1.0]], [[1.0]]), "shape \\(n_rows,\\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(given, words):
    with pytest.raises(ConfigError, match=words):
        compare_paired(*given)


@pytest.mark.parametrize("margin", [-1, math.nan, math.inf, "much"])
def test_a_margin_is_a_number_from_0(margin):
    with pytest.raises(ConfigError, match="margin"):
        compare_paired([1.0], [1.0], margin=margin)


def test_mcnemar_is_exact_and_symmetric():
    y = np.array([1] * 30)
    first, second = np.r_[np.ones(25), np.zeros(5)], np.r_[np.ones(10), np.zeros(15), np.ones(5)]
    found, turned = compare_decisions(y, first, second), compare_decisions(y, second, first)
    assert (found["only_challenger"], found["only_champion"]) == (15, 5) and found["p_value"] == pytest.approx(0.041389, abs=1e-6)  # binomial tables, 20 tosses
    assert turned["p_value"] == found["p_value"] and turned["value"] == -found["value"]
    assert compare_decisions(y, first, first)["p_value"] == 1


def slow_delong(y, first, second):
    """The covariance of two AUCs by equations 4 to 6 of DeLong et al. (1988), pair by pair."""
    scores = np.stack([first, second])
    positive, negative = scores[:, y == 1], scores[:, y == 0]
    kernel = (positive[:, :, None] > negative[:, None, :]) + 0.5 * (positive[:, :, None] == negative[:, None, :])
    areas, ten, one = kernel.mean(axis=(1, 2)), kernel.mean(axis=2), kernel.mean(axis=1)
    covariance = np.cov(ten) / positive.shape[1] + np.cov(one) / negative.shape[1]
    contrast = np.array([1, -1])
    return areas, float(contrast @ covariance @ contrast)


@pytest.mark.parametrize("digits", [1, 8])
def test_the_auc_test_is_delongs(digits):
    rng = np.random.default_rng(digits)
    y = rng.integers(0, 2, 150)
    first, second = ((1 / (1 + np.exp(-y - rng.normal(0, spread, 150)))).round(digits) for spread in (0.7, 1.5))
    areas, variance = slow_delong(y, first, second)
    found = compare_auc(y, first, second)
    assert found["challenger"] == pytest.approx(roc_auc_score(y, first), abs=1e-12) and found["champion"] == pytest.approx(areas[1], abs=1e-12)
    assert found["high"] - found["value"] == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-6)
    assert found["p_value"] == pytest.approx(2 * norm.sf(abs(areas[0] - areas[1]) / math.sqrt(variance)), rel=1e-9)


def test_repeating_every_row_adds_nothing_where_units_are_told():
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 200)
    first, second = (np.clip(0.3 * y + rng.uniform(0, 0.7, 200), 0, 1) for _ in range(2))
    once = compare_auc(y, first, second)
    copied = compare_auc(np.tile(y, 4), np.tile(first, 4), np.tile(second, 4), units=np.tile(np.arange(200), 4))
    assert np.ptp([copied["low"], copied["high"]]) == pytest.approx(np.ptp([once["low"], once["high"]]), rel=0.02)


def test_perfect_and_one_sided_are_answered_or_refused():
    y = np.array([0, 1, 0, 1])
    assert compare_auc(y, y * 1.0, y * 1.0)["p_value"] == 1
    with pytest.raises(ConfigError, match="both outcomes"):
        compare_auc([1, 1], [0.1, 0.2], [0.1, 0.2])

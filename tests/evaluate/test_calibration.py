"""Calibration: bins by mass, ties together, Wilson's interval, the definition of the error."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlsys.evaluate.calibration import calibration_error, equal_mass_bins, plot_reliability, reliability_table

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=80)


@given(SCORES, st.integers(1, 15))
def test_bins_follow_the_scores_and_keep_ties_together(scores, n_bins):
    scores = np.array(scores)
    bins = equal_mass_bins(scores, n_bins)
    order = np.argsort(scores, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert set(bins) == set(range(bins.max() + 1)) and bins.max() < n_bins
    for score in set(scores):
        assert len(set(bins[scores == score])) == 1


def test_distinct_scores_fill_bins_evenly():
    rng = np.random.default_rng(0)
    assert set(np.bincount(equal_mass_bins(rng.random(1000), 10))) == {100}


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=80), st.integers(1, 12))
def test_the_error_is_its_definition(rows, n_bins):
    y, scores = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    bins = equal_mass_bins(scores, n_bins)
    expected = sum(
        (bins == number).mean() * abs(y[bins == number].mean() - scores[bins == number].mean()) for number in set(bins)
    )
    assert calibration_error(y, scores, n_bins) == pytest.approx(expected, abs=1e-12)


def test_the_interval_is_wilsons():
    y, scores = [1] * 3 + [0] * 17, [0.2] * 20
    row = reliability_table(y, scores).iloc[0]
    interval = stats.binomtest(3, 20).proportion_ci(method="wilson")
    assert (row["low"], row["high"]) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_the_curve_is_drawn_with_its_interval():
    figure, axes = plt.subplots()
    plot_reliability(reliability_table([0, 1, 1], [0.1, 0.6, 0.9], 3), axes, "model")
    plot_reliability(reliability_table([0, 0], [0.2, 0.3], 1), axes, "other")
    assert axes.get_legend_handles_labels()[1] == ["model", "other"]
    assert axes.get_xlim()[0] <= 0 and axes.get_xlim()[1] >= 0.9  # both models are in the picture, whichever came first
    assert axes.get_ylim()[0] <= 0 and axes.get_ylim()[1] >= 1
    plt.close(figure)

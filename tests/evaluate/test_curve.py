"""Curves: the same points as scikit-learn, and the cost of each threshold as if it had been used."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import metrics

from mlsys.core import ConfigError
from mlsys.evaluate.curve import plot_cost, plot_roc_and_pr, threshold_curve
from mlsys.objective.cost import Costs

COSTS = Costs(-1, 2, 7, -0.5)
ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40)


@given(ROWS)
def test_every_row_of_the_curve_is_what_that_threshold_does(rows):
    y, scores = np.array([int(truth) for truth, _ in rows]), np.array([level / 8 for _, level in rows])
    assume(0 < y.sum() < len(y))
    for row in threshold_curve(y, scores, COSTS).itertuples():
        decisions = scores >= row.threshold
        assert row.cost_per_1000 == pytest.approx(COSTS.per_1000(y, decisions))
        assert row.positive_rate == pytest.approx(decisions.mean())
        assert row.recall == pytest.approx(metrics.recall_score(y, decisions))
        assert row.precision == pytest.approx(metrics.precision_score(y, decisions, zero_division=1))


@given(ROWS)
def test_the_area_under_the_curve_is_the_auc(rows):
    y, scores = np.array([int(truth) for truth, _ in rows]), np.array([level / 8 for _, level in rows])
    assume(0 < y.sum() < len(y))
    curve = threshold_curve(y, scores, COSTS)
    area = np.trapezoid(curve["recall"], curve["false_positive_rate"])
    assert area == pytest.approx(metrics.roc_auc_score(y, scores))


def test_the_cost_plot_shows_the_cost_between_two_scores():
    figure, axes = plt.subplots()
    curve = threshold_curve([0, 1], [0.2, 0.6], Costs(0, 1, 5, 0))
    plot_cost({"model": curve}, Costs(0, 1, 5, 0), axes, "EUR")
    plot_roc_and_pr({"model": curve}, plt.subplots(1, 2)[1])
    steps = axes.patches[0].get_data()
    assert steps.edges.tolist() == [0.0, 0.2, 0.6, 1.0]
    assert steps.values.tolist() == [500.0, 0.0, 2500.0]  # everybody, from 0.2 on only the positive, nobody
    assert "EUR" in axes.get_ylabel()
    plt.close("all")


def test_one_class_has_no_curve():
    with pytest.raises(ConfigError, match="both outcomes"):
        threshold_curve([1, 1], [0.2, 0.6], COSTS)

"""Values equal Fairlearn's, intervals cover, habits are named, and no group is lost."""

import warnings

import fairlearn.metrics
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.fairness.assess import GroupWarning, draw_group_sums
from mlsys.fairness.errors import ERROR_METRICS, assess_errors, error_changes, error_sums, metrics_of_sums
from mlsys.objective.gate import judge_gates
from mlsys.objective.problem import ErrorCosts

COSTS = ErrorCosts(under=3.0, over=1.0)
quiet = pytest.mark.filterwarnings("ignore::mlsys.fairness.assess.GroupWarning")


def random_rows(seed, count=400, scale=1.0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"sex": rng.choice(["F", "M"], count), "race": rng.choice(["a", "b", "c"], count)})
    y = scale * rng.lognormal(1, 1, count)
    return y, y * rng.uniform(0.5, 1.4, count), frame


@quiet
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 1.0, 1e6]), priced=st.booleans())
def test_values_and_gaps_are_fairlearns(seed, scale, priced):
    y, predictions, frame = random_rows(seed, scale=scale)
    costs = ErrorCosts(under=np.random.default_rng(seed).uniform(0, 5, len(y)), over=1.0) if priced else COSTS
    found = assess_errors(y, predictions, sensitive_features=frame, costs=costs, n_bootstrap=20)
    theirs = {
        "mean_absolute_error": sklearn.metrics.mean_absolute_error, "root_mean_squared_error": sklearn.metrics.root_mean_squared_error,
        "r2": sklearn.metrics.r2_score, "mean_error": lambda truth, said: np.mean(said - truth), "mean_prediction": fairlearn.metrics.mean_prediction,
        "mean_outcome": lambda truth, said: np.mean(truth), "share_under": lambda truth, said: np.mean(said < truth), "count": fairlearn.metrics.count,
    }
    for feature in found.features:
        peer = fairlearn.metrics.MetricFrame(metrics=theirs, y_true=y, y_pred=predictions, sensitive_features=frame[feature.split(" & ")])
        by_group = peer.by_group
        by_group.index = [" & ".join(key) if isinstance(key, tuple) else key for key in by_group.index]
        ours = found.table(feature)
        for metric in theirs:
            assert np.allclose(ours[metric], by_group.loc[ours.index, metric].astype(float), rtol=1e-12, atol=1e-12)
        for metric in ("mean_absolute_error", "root_mean_squared_error", "r2", "mean_error", "share_under"):
            assert found.gaps[f"{metric}_difference:{feature}"]["value"] == pytest.approx(float(peer.difference()[metric]), rel=1e-12, abs=1e-12)
        row_costs = pd.Series(costs.of(y, predictions)).groupby([frame[name] for name in feature.split(" & ")]).mean().to_numpy()
        assert np.allclose(ours["cost_per_1000"], 1000 * row_costs, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.sampled_from([0.0, 1e5]))
def test_sums_and_rows_say_the_same(seed, shift):
    y, predictions, _ = random_rows(seed, 60)
    y, predictions = y + shift, predictions + shift
    figures = metrics_of_sums(error_sums(y, predictions, COSTS.of(y, predictions)).sum(axis=0))
    assert figures["r2"] == pytest.approx(sklearn.metrics.r2_score(y, predictions), rel=1e-8)
    assert figures["root_mean_squared_error"] == pytest.approx(sklearn.metrics.root_mean_squared_error(y, predictions), rel=1e-12)
    assert figures["cost_per_1000"] == pytest.approx(COSTS.per_1000(y, predictions), rel=1e-12)


@pytest.mark.parametrize("counts", [np.ones(120, dtype=int), np.r_[np.full(3, 400), np.ones(117, dtype=int)]])
def test_draws_keep_rows_together_over_features_and_have_the_size_of_the_table(counts):
    rng = np.random.default_rng(0)
    values = rng.normal(size=120)
    fine, coarse = np.arange(120) % 6, np.arange(120) % 2
    drawn = draw_group_sums(np.column_stack([np.ones(120), values]), {"fine": fine, "coarse": coarse}, counts, 300, rng)
    assert np.allclose(drawn["fine"][:, :, 0].sum(axis=1), counts.sum())
    assert np.allclose(drawn["fine"].reshape(300, 3, 2, 2).sum(axis=1), drawn["coarse"])
    expected = np.bincount(coarse, weights=counts * values)
    assert np.allclose(drawn["coarse"][:, :, 1].mean(axis=0), expected, atol=4 * np.sqrt((counts * values**2).sum() / 300))


def test_the_interval_of_a_gap_in_mean_errors_covers_the_truth():
    rng, covered, truth = np.random.default_rng(0), 0, 20.0
    frame = pd.DataFrame({"sex": ["F"] * 300 + ["M"] * 300})
    for _ in range(120):
        y = rng.gamma(2, 50, 600)
        predictions = y + rng.normal(0, 80, 600) - np.where(frame["sex"] == "F", truth, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GroupWarning)
            entry = assess_errors(y, predictions, sensitive_features=frame, costs=COSTS, n_bootstrap=200, seed=1).gaps["mean_error_difference:sex"]
        covered += entry["low"] <= truth <= entry["high"]
    assert 0.88 <= covered / 120 < 1


def test_the_interval_of_an_error_covers_the_truth():
    rng, covered = np.random.default_rng(1), 0
    truth = 80 * np.sqrt(2 / np.pi)
    for _ in range(120):
        y = rng.normal(size=400)
        errors = rng.normal(0, 80, 400)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GroupWarning)
            found = assess_errors(y, y + errors, sensitive_features=pd.DataFrame({"sex": ["F", "M"] * 200}), costs=COSTS, n_bootstrap=200, seed=1)
        row = found.groups.query("group == 'F' and metric == 'mean_absolute_error'").iloc[0]
        covered += row["low"] <= truth <= row["high"]
    assert 0.88 <= covered / 120 < 1


def test_a_habit_is_named_and_chance_is_not():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"town": np.repeat(["east", "west", "tiny"], [500, 490, 10])})
    y = rng.normal(1000, 100, 1000)
    predictions = y + np.where(frame["town"] == "west", -30, 0) + rng.normal(0, 50, 1000)
    predictions[990:] = y[990:] - 500
    with pytest.warns(GroupWarning) as caught:
        found = assess_errors(y, predictions, sensitive_features=frame, costs=COSTS)
    said = "\n".join(found.notes)
    assert "town: under-estimated on average, beyond chance: west (by" in said
    assert "over-estimated" not in said and "east" not in said
    assert "town: fewer than 50 rows, so these figures may be chance: tiny (10)." in said
    assert "tiny" not in said.split("beyond chance:")[1].splitlines()[0]
    assert len(caught) == len(found.notes)


def test_r2_is_undefined_where_nothing_varies():
    y = np.r_[np.full(60, 5.0), np.arange(60.0)]
    frame = pd.DataFrame({"sex": ["A"] * 60 + ["B"] * 60})
    with pytest.warns(GroupWarning):
        found = assess_errors(y, y + 1, sensitive_features=frame, costs=COSTS, n_bootstrap=50)
    assert "sex: no varying outcomes, so the r2 is undefined and in no gap: A." in found.notes
    assert np.isnan(found.table("sex").loc["A", "r2"]) and found.table("sex").loc["B", "r2"] > 0.9
    assert found.gaps["r2_difference:sex"]["value"] == 0.0


@quiet
def test_every_gap_can_be_a_gate():
    y, predictions, frame = random_rows(0)
    found = assess_errors(y, predictions, sensitive_features=frame, costs=COSTS, n_bootstrap=50)
    gates = [f"{metric}_difference:{feature} <= 1e9" for metric in ERROR_METRICS for feature in found.features]
    assert all(judgement.passes for judgement in judge_gates(gates, found.gaps))


@quiet
def test_the_same_seed_gives_the_same_intervals():
    y, predictions, frame = random_rows(1)
    one, same, other = (assess_errors(y, predictions, sensitive_features=frame, costs=COSTS, seed=seed).gaps for seed in (1, 1, 2))
    assert one == same != other


def test_wrong_arguments_are_named():
    frame = pd.DataFrame({"sex": ["F", "M"]})
    with pytest.raises(ConfigError, match="the same number of rows"):
        assess_errors([0, 1, 1], [0, 1, 1], sensitive_features=frame, costs=COSTS)
    with pytest.raises(ConfigError, match="predictions: received 'nan in row 1'"):
        assess_errors([0, 1], [0, np.nan], sensitive_features=frame, costs=COSTS)
    with pytest.raises(ConfigError, match="the same number of rows"):
        error_changes([0, 1], [0, 1], y=[0, 1, 2], sensitive_features=frame)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_changes_are_differences_of_errors(seed):
    y, before, frame = random_rows(seed, 60)
    after = before + np.random.default_rng(seed).normal(size=60)
    table = error_changes(before, after, y=y, sensitive_features=frame)
    for feature in frame.columns:
        for group, row in table.loc[feature].iterrows():
            of_group = (frame[feature] == group).to_numpy()
            expected = sklearn.metrics.mean_absolute_error(y[of_group], after[of_group]) - sklearn.metrics.mean_absolute_error(y[of_group], before[of_group])
            assert row["error change"] == pytest.approx(expected, abs=1e-12)
            assert row["low"] <= row["error change"] <= row["high"]
            assert row["share closer"] + row["share farther"] == pytest.approx(1.0)


@quiet
def test_the_errors_on_bicycles_differ_by_season(real_data):
    "The plain mean is too high in winter (season 1, mean 111.1) and too low in autumn (season 3, mean 236.0): figures of the file itself."
    table = pd.read_csv(real_data / "bike_sharing" / "hour.csv")
    y = table["cnt"].to_numpy(dtype=float)
    found = assess_errors(y, np.full(len(y), y.mean()), sensitive_features=table[["season"]].astype(str), costs=COSTS, n_bootstrap=100)
    means = table.groupby(table["season"].astype(str))["cnt"].mean()
    assert np.allclose(found.table("season")["mean_error"], y.mean() - means, atol=1e-9)
    assert found.gaps["mean_error_difference:season"]["value"] == pytest.approx(means.max() - means.min(), abs=1e-9)
    assert found.gaps["mean_error_difference:season"]["low"] > 100

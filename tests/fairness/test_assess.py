"""Values equal Fairlearn's, intervals cover, and no group is lost."""

import warnings

import fairlearn.metrics
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.fairness.assess import (
    MISSING,
    GroupWarning,
    assess_groups,
    decision_changes,
    gap_interval,
    group_edges,
    group_values,
    metrics_of_counts,
    sensitive_groups,
)
from mlsys.objective.cost import Costs

COSTS = Costs(true_positive=-2.0, false_positive=1.0, false_negative=5.0, true_negative=0.0)
quiet = pytest.mark.filterwarnings("ignore::mlsys.fairness.assess.GroupWarning")


def random_rows(seed, count=400, groups=("a", "b", "c")):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"sex": rng.choice(["F", "M"], count), "race": rng.choice(groups, count)})
    return rng.integers(0, 2, count), rng.integers(0, 2, count), frame


@quiet
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_values_and_gaps_are_fairlearns(seed):
    y, decisions, frame = random_rows(seed)
    found = assess_groups(y, decisions, sensitive_features=frame, costs=COSTS, n_bootstrap=20)
    theirs = {
        "selection_rate": fairlearn.metrics.selection_rate, "accuracy": sklearn.metrics.accuracy_score,
        "true_positive_rate": fairlearn.metrics.true_positive_rate, "false_positive_rate": fairlearn.metrics.false_positive_rate,
        "precision": sklearn.metrics.precision_score, "cost_per_1000": COSTS.per_1000, "count": fairlearn.metrics.count,
    }
    for feature in found.features:
        names = feature.split(" & ")
        frame_of_feature = fairlearn.metrics.MetricFrame(metrics=theirs, y_true=y, y_pred=decisions, sensitive_features=frame[names]).by_group
        frame_of_feature.index = [" & ".join(key) if isinstance(key, tuple) else key for key in frame_of_feature.index]
        ours = found.table(feature)
        for metric in theirs:
            assert np.allclose(ours[metric], frame_of_feature.loc[ours.index, metric].astype(float), rtol=0, atol=1e-9 if metric == "cost_per_1000" else 1e-12)
        for gap in ("demographic_parity_difference", "equalized_odds_difference"):
            expected = getattr(fairlearn.metrics, gap)(y, decisions, sensitive_features=frame[names])
            assert found.gaps[f"{gap}:{feature}"]["value"] == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(cells=st.lists(st.lists(st.integers(0, 30), min_size=4, max_size=4).filter(any), min_size=1, max_size=5))
def test_counts_and_fairlearn_say_the_same(cells):
    names = np.array([f"g{place}" for place in range(len(cells))])
    values, counted = group_values(np.array(cells), names, COSTS), metrics_of_counts(cells, COSTS)
    for metric, expected in counted.items():
        assert np.allclose(values[metric], expected, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_the_interval_of_a_gap_covers_the_truth():
    rng, covered, truth = np.random.default_rng(0), 0, 0.10
    frame = pd.DataFrame({"sex": ["F"] * 400 + ["M"] * 400})
    for _ in range(120):
        decisions = (rng.random(800) < np.where(frame["sex"] == "F", 0.30, 0.40)).astype(int)
        gap = assess_groups(rng.integers(0, 2, 800), decisions, sensitive_features=frame, costs=COSTS, n_bootstrap=200, seed=1)
        entry = gap.gaps["demographic_parity_difference:sex"]
        covered += entry["low"] <= truth <= entry["high"]
    assert 0.89 <= covered / 120 < 1


def test_many_groups_alike_are_not_found_to_differ_by_their_own_noise():
    "The plain percentile interval of a largest difference over ten groups lies above its value."
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"town": np.repeat([f"t{place}" for place in range(10)], 80)})
    y, decisions = rng.integers(0, 2, 800), rng.integers(0, 2, 800)
    entry = assess_groups(y, decisions, sensitive_features=frame, costs=COSTS).gaps["demographic_parity_difference:town"]
    assert entry["low"] < entry["value"] < entry["high"]


def test_a_small_group_is_listed_and_warned_of():
    y, decisions, frame = random_rows(0)
    frame.loc[:2, "race"] = "rare"
    with pytest.warns(GroupWarning, match=r"race: fewer than 50 rows, so these figures may be chance: rare \(3\)"):
        found = assess_groups(y, decisions, sensitive_features=frame[["race"]], costs=COSTS, n_bootstrap=20)
    assert found.table("race").loc["rare", "count"] == 3


def test_an_undefined_rate_is_missing_and_in_no_gap():
    y = np.array([0] * 60 + [0, 1] * 30 + [0, 1] * 30)
    decisions = np.array([0, 1] * 90)
    frame = pd.DataFrame({"sex": ["A"] * 60 + ["B"] * 60 + ["C"] * 60})
    with pytest.warns(GroupWarning, match="no positive outcomes, so the true positive rate is undefined and in no gap: A"):
        found = assess_groups(y, decisions, sensitive_features=frame, costs=COSTS, n_bootstrap=50)
    assert np.isnan(found.table("sex").loc["A", "true_positive_rate"])
    assert found.gaps["true_positive_rate_difference:sex"]["value"] == 0.0
    assert found.interval_table("sex").loc["A", "true_positive_rate"] == "-"


def test_one_group_alone_has_no_gap():
    with pytest.warns(GroupWarning, match="all rows are in one group"):
        found = assess_groups([0, 1] * 50, [0, 1] * 50, sensitive_features=pd.DataFrame({"sex": ["F"] * 100}), costs=COSTS, n_bootstrap=20)
    assert found.gaps["demographic_parity_difference:sex"]["value"] == 0.0


def test_the_same_seed_gives_the_same_intervals():
    y, decisions, frame = random_rows(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GroupWarning)
        one, same, other = (assess_groups(y, decisions, sensitive_features=frame, costs=COSTS, seed=seed).gaps for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_numbers_are_cut_in_quarters_and_missing_ones_kept():
    ages = pd.DataFrame({"age": [float(age) for age in range(20, 100)] + [None]})
    edges = group_edges(ages)
    groups = sensitive_groups(ages, edges)["age"]
    assert groups.value_counts().tolist() == [20, 20, 20, 20, 1]
    assert groups.iloc[-1] == MISSING
    assert sensitive_groups(pd.DataFrame({"age": [1000.0]}), edges)["age"].tolist() == ["over 79.25"]
    assert group_edges(pd.DataFrame({"flag": [0, 1] * 50, "yes": [True, False] * 50})) == {}


def test_wrong_arguments_are_named():
    frame = pd.DataFrame({"sex": ["F", "M"]})
    with pytest.raises(ConfigError, match="the same number of rows"):
        assess_groups([0, 1, 1], [0, 1, 1], sensitive_features=frame, costs=COSTS)
    with pytest.raises(ConfigError, match="decisions: received 2"):
        assess_groups([0, 1], [0, 2], sensitive_features=frame, costs=COSTS)
    with pytest.raises(ConfigError, match="a DataFrame with one column or more"):
        assess_groups([0, 1], [0, 1], sensitive_features=frame[[]], costs=COSTS)


def test_a_gap_without_a_value_has_no_interval():
    entry = gap_interval(float("nan"), np.full(10, np.nan))
    assert all(np.isnan(value) for value in entry.values())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_changes_add_up(seed):
    y, before, frame = random_rows(seed, 60)
    after = np.random.default_rng(seed + 1).integers(0, 2, 60)
    table = decision_changes(before, after, y=y, sensitive_features=frame)
    for feature in frame.columns:
        part = table.loc[feature]
        assert part["from 0 to 1"].sum() - part["from 1 to 0"].sum() == after.sum() - before.sum()
        assert part["newly right"].sum() - part["newly wrong"].sum() == (after == y).sum() - (before == y).sum()
        assert (part["low"] <= part["accuracy change"]).all() and (part["accuracy change"] <= part["high"]).all()


def test_the_labels_of_adult_differ_by_sex_as_published(real_data):
    "P(>50K) over all 48,842 rows is 0.1093 for women and 0.3038 for men; decisions equal to the labels have that gap."
    folder = real_data / "adult"
    table = pd.concat([pd.read_csv(folder / name, header=None, skipinitialspace=True, skiprows=skip) for name, skip in (("adult.data", 0), ("adult.test", 1))])
    y = table[14].str.startswith(">50K").to_numpy().astype(int)
    found = assess_groups(y, y, sensitive_features=pd.DataFrame({"sex": table[9].to_numpy()}), costs=COSTS)
    assert found.table("sex")["selection_rate"].round(4).to_dict() == {"Female": 0.1093, "Male": 0.3038}
    assert found.gaps["demographic_parity_difference:sex"]["value"] == pytest.approx(0.1945, abs=5e-5)
    assert found.gaps["equalized_odds_difference:sex"]["value"] == 0.0

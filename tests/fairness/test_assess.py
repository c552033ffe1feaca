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
    draw_group_sums,
    group_edges,
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


def metric_frame(y, decisions, groups, **more):
    metrics = {"selection_rate": fairlearn.metrics.selection_rate, "accuracy": sklearn.metrics.accuracy_score,
               "true_positive_rate": fairlearn.metrics.true_positive_rate, "false_positive_rate": fairlearn.metrics.false_positive_rate}
    return fairlearn.metrics.MetricFrame(metrics=metrics, y_true=y, y_pred=decisions, sensitive_features=groups, **more)


@quiet
@settings(max_examples=25, deadline=None)
@given(cells=st.lists(st.lists(st.integers(1, 30), min_size=4, max_size=4), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_weighted_rows_are_measured_as_fairlearn_does(cells, seed):
    "Of groups in which every figure is defined; a weight may be 0."
    codes = np.repeat(np.arange(4 * len(cells)), np.ravel(cells))
    y, decisions, groups = codes % 4 // 2, codes % 2, np.array([f"g{code // 4}" for code in codes])
    weights = np.random.default_rng(seed).integers(0, 3, len(codes)) + np.append(0.5, np.zeros(len(codes) - 1))
    weights[np.flatnonzero(np.append(True, np.diff(codes) > 0))] += 0.25  # no cell is empty
    found = assess_groups(y, decisions, sensitive_features=pd.DataFrame({"group": groups}), costs=COSTS, n_bootstrap=5, sample_weight=weights)
    theirs = metric_frame(y, decisions, groups, sample_params={name: {"sample_weight": weights} for name in ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate")}).by_group
    ours = found.table("group")
    for metric in theirs.columns:
        assert np.allclose(ours[metric], theirs.loc[ours.index, metric].astype(float), rtol=0, atol=1e-12)


@quiet
def test_rows_of_weight_zero_count_for_nothing_and_no_group_is_lost():
    y, decisions, frame = random_rows(0)
    weights = (frame["race"] != "c").to_numpy().astype(float)
    found = assess_groups(y, decisions, sensitive_features=frame[["race"]], costs=COSTS, n_bootstrap=20, sample_weight=weights)
    kept = weights > 0
    without = assess_groups(y[kept], decisions[kept], sensitive_features=frame.loc[kept, ["race"]], costs=COSTS, n_bootstrap=20)
    assert np.allclose(found.table("race").loc[["a", "b"]], without.table("race"))
    assert found.table("race").loc["c", "count"] == (~kept).sum() and np.isnan(found.table("race").loc["c", "selection_rate"])
    assert found.interval_table("race").loc["c", "accuracy" if "accuracy" in found.headline else "selection_rate"] == "-"
    for flawed, words in ((np.zeros(400), "only zeros"), (np.full(400, -1.0), "below 0"), (np.ones(3), "shape")):
        with pytest.raises(ConfigError, match=f"sample_weight: received .*{words}"):
            assess_groups(y, decisions, sensitive_features=frame, costs=COSTS, sample_weight=flawed)


@quiet
def test_intervals_are_those_of_metric_frames_bootstrap_in_law():
    "Ends of 95 % intervals over 400 draws each: the distance is a few times the error that 400 draws leave in a quantile."
    y, decisions, frame = random_rows(3, 600, ("a", "b"))
    decisions[(frame["race"] == "a") & (y == 0)] &= np.random.default_rng(1).integers(0, 2, ((frame["race"] == "a") & (y == 0)).sum())
    theirs = metric_frame(y, decisions, frame["race"], n_boot=400, ci_quantiles=[0.025, 0.975], random_state=0).by_group_ci
    ours = assess_groups(y, decisions, sensitive_features=frame[["race"]], costs=COSTS, n_bootstrap=4000).groups
    for end, expected in zip(("low", "high"), theirs, strict=True):
        for metric in expected.columns:
            mine = ours[ours["metric"] == metric].set_index("group")
            spread = (mine["high"] - mine["low"]) / 3.92
            assert (np.abs(mine[end] - expected[metric]) < 0.5 * spread).all(), (metric, end)


def test_draws_have_the_moments_of_the_multinomial():
    counts, rng = np.array([900, 100, 500, 500]), np.random.default_rng(0)
    drawn = draw_group_sums(np.eye(4), {"group": np.array([0, 0, 1, 1])}, counts, 4000, rng)["group"].reshape(4000, 2, 4)
    flat = drawn.sum(axis=1)
    share = counts / counts.sum()
    assert (flat.sum(axis=1) == counts.sum()).all()
    assert np.allclose(flat.mean(axis=0), counts, rtol=0.02)
    assert np.allclose(flat.var(axis=0), counts * (1 - share), rtol=0.1)


def test_people_who_return_are_drawn_whole():
    "Each person stands in ten rows that are alike: the rows say no more than the people."
    rng = np.random.default_rng(0)
    frame, y = pd.DataFrame({"sex": np.repeat(rng.choice(["F", "M"], 120), 10)}), np.repeat(rng.integers(0, 2, 120), 10)
    once = assess_groups(y[::10], y[::10], sensitive_features=frame.iloc[::10], costs=COSTS)
    whole = assess_groups(y, y, sensitive_features=frame, costs=COSTS, units=np.repeat(np.arange(120), 10))
    as_if_apart = assess_groups(y, y, sensitive_features=frame, costs=COSTS)
    width = [entry["high"] - entry["low"] for entry in (item.gaps["demographic_parity_difference:sex"] for item in (once, whole, as_if_apart))]
    assert width[1] == pytest.approx(width[0], rel=0.15) and width[2] < 0.5 * width[1]


def test_the_interval_of_a_gap_covers_the_truth():
    rng, covered, truth = np.random.default_rng(0), 0, 0.10
    frame = pd.DataFrame({"sex": ["F"] * 400 + ["M"] * 400})
    for _ in range(120):
        decisions = (rng.random(800) < np.where(frame["sex"] == "F", 0.30, 0.40)).astype(int)
        gap = assess_groups(rng.integers(0, 2, 800), decisions, sensitive_features=frame, costs=COSTS, n_bootstrap=200, seed=1)
        entry = gap.gaps["demographic_parity_difference:sex"]
        covered += entry["low"] <= truth <= entry["high"]
    assert 0.89 <= covered / 120 < 1


def test_many_groups_alike_are_rarely_found_to_differ():
    "In 95 of 100 samples at least, no gap of ten groups that are treated alike is found to be there, and none of their figures stands out."
    rng, gaps, standouts = np.random.default_rng(0), 0, 0
    frame = pd.DataFrame({"town": np.repeat([f"t{place}" for place in range(10)], 120)})
    for seed in range(60):
        y, decisions = rng.integers(0, 2, 1200), rng.integers(0, 2, 1200)
        found = assess_groups(y, decisions, sensitive_features=frame, costs=COSTS, n_bootstrap=200, seed=seed)
        entry = found.gaps["demographic_parity_difference:town"]
        assert entry["low"] < entry["value"] < entry["high"]
        gaps += entry["low"] > 0
        standouts += len(found.standouts) > 0
    assert gaps <= 8 and standouts <= 8  # a binomial of 60 with 0.05 exceeds 8 once in 500


def test_a_group_that_is_treated_otherwise_stands_out_from_all_others():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"town": np.repeat([f"t{place}" for place in range(10)], 200)})
    y, decisions = rng.integers(0, 2, 2000), (rng.random(2000) < np.where(frame["town"] == "t3", 0.8, 0.4)).astype(int)
    first = assess_groups(y, decisions, sensitive_features=frame, costs=COSTS).standouts
    assert set(first["group"]) == {"t3"} and "selection_rate" in set(first["metric"])
    row = first[first["metric"] == "selection_rate"].iloc[0]
    assert row["others"] == pytest.approx(decisions[frame["town"] != "t3"].mean(), abs=1e-12)


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


# True negatives, false positives, false negatives, true positives of the COMPAS score within two years (Larson, Mattu, Kirchner and Angwin 2016, ProPublica, "How We Analyzed the COMPAS Recidivism Algorithm").
COMPAS = {"Black": (990, 805, 532, 1369), "white": (1139, 349, 461, 505)}


@quiet
def test_the_error_rates_of_compas_are_those_that_propublica_published():
    y, decisions, race = (np.concatenate([np.repeat(values, cells) for values, cells in zip(parts, COMPAS.values(), strict=True)])
                          for parts in ([[0, 0, 1, 1]] * 2, [[0, 1, 0, 1]] * 2, [[name] * 4 for name in COMPAS]))
    found = assess_groups(y, decisions, sensitive_features=pd.DataFrame({"race": race}), costs=COSTS)
    rates = (100 * found.table("race")).round(2)
    assert rates["false_positive_rate"].to_dict() == {"Black": 44.85, "white": 23.45}
    assert (100 - rates["true_positive_rate"]).round(2).to_dict() == {"Black": 27.99, "white": 47.72}
    assert found.gaps["false_positive_rate_difference:race"]["low"] > 0.17
    assert {"false_positive_rate", "true_positive_rate"} <= set(found.standouts["metric"])


@quiet
def test_the_example_of_fairlearns_user_guide():
    "Performing a fairness assessment, https://fairlearn.org/main/user_guide/assessment/perform_fairness_assessment.html."
    y = [0, 1, 1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    decisions = [0, 0, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0]
    found = assess_groups(y, decisions, sensitive_features=pd.DataFrame({"letter": list("bbabbcccaacabccbcc")}), costs=COSTS)
    table = found.table("letter")
    assert table["true_positive_rate"].round(6).to_dict() == {"a": 0.5, "b": 0.6, "c": 0.4}
    assert table["false_positive_rate"].round(6).to_dict() == {"a": 1.0, "b": 0.0, "c": 0.666667}
    assert table["selection_rate"].to_dict() == {"a": 0.75, "b": 0.5, "c": 0.5} and table["count"].to_dict() == {"a": 4, "b": 6, "c": 8}
    expected = {"true_positive_rate": 0.20, "false_positive_rate": 1.00, "demographic_parity": 0.25, "equalized_odds": 1.00}
    for name, value in expected.items():
        assert found.gaps[f"{name}_difference:letter"]["value"] == pytest.approx(value, abs=1e-12)


@quiet
@pytest.mark.parametrize(("y", "decisions"), [([0, 1] * 30, [0, 1] * 30), ([0, 1] * 30, [1] * 60), ([0, 1] * 30, [0] * 60), ([1] * 60, [1] * 60)])
def test_perfect_and_constant_decisions_have_no_gap_but_an_interval(y, decisions):
    "Nothing varies in the draws, and yet sixty rows do not prove that two groups are alike."
    found = assess_groups(y, decisions, sensitive_features=pd.DataFrame({"sex": ["F", "F", "M", "M"] * 15}), costs=COSTS)
    entry = found.gaps["accuracy_difference:sex"]
    assert entry["value"] == 0.0 == entry["low"] and 0.05 < entry["high"] < 0.5
    assert not len(found.standouts)

"""Values equal Fairlearn's, gaps are those of the worst class, and no group is lost."""

import fairlearn.metrics
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.fairness.assess import GroupWarning, assess_groups
from mlsys.fairness.classes import assess_classes, class_changes
from mlsys.objective.cost import Costs
from mlsys.objective.gate import judge_gates
from mlsys.objective.problem import ClassCosts

LABELS = ["card", "cash", "dispute"]
COSTS = ClassCosts(LABELS, np.array([[0.0, 1.0, 2.0], [5.0, -1.0, 3.0], [7.0, 1.0, 0.0]]))
quiet = pytest.mark.filterwarnings("ignore::mlsys.fairness.assess.GroupWarning")


def random_rows(seed, count=500, share=(0.6, 0.35, 0.05)):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"sex": rng.choice(["F", "M"], count), "race": rng.choice(["a", "b", "c"], count)})
    y = rng.choice(3, count, p=share)
    return y, np.where(rng.random(count) < 0.3, rng.choice(3, count), y), frame


def theirs_of(y):
    "scikit-learn's metrics, one call each."
    macro = {"average": "macro", "zero_division": np.nan}
    found = {
        "accuracy": sklearn.metrics.accuracy_score, "macro_f1": lambda truth, said: sklearn.metrics.f1_score(truth, said, average="macro"),
        "macro_recall": lambda truth, said: sklearn.metrics.recall_score(truth, said, labels=np.unique(truth), **macro),
        "count": fairlearn.metrics.count, "cost_per_1000": COSTS.per_1000,
    }
    for code, label in enumerate(LABELS):
        found[f"selection_rate: {label}"] = lambda truth, said, code=code: fairlearn.metrics.selection_rate(truth == code, said == code, pos_label=True)
        found[f"recall: {label}"] = lambda truth, said, code=code: sklearn.metrics.recall_score(truth, said, labels=[code], **macro)
    return found


@quiet
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_values_and_gaps_are_fairlearns(seed):
    y, decisions, frame = random_rows(seed)
    found = assess_classes(y, decisions, sensitive_features=frame, costs=COSTS, n_bootstrap=20)
    for feature in found.features:
        peer = fairlearn.metrics.MetricFrame(metrics=theirs_of(y), y_true=y, y_pred=decisions, sensitive_features=frame[feature.split(" & ")])
        by_group = peer.by_group
        by_group.index = [" & ".join(key) if isinstance(key, tuple) else key for key in by_group.index]
        ours = found.table(feature)
        for metric in by_group.columns:
            atol = 1e-9 if metric == "cost_per_1000" else 1e-12
            assert np.allclose(ours[metric], by_group.loc[ours.index, metric].astype(float), rtol=0, atol=atol, equal_nan=True), metric
        spread = by_group.astype(float).max() - by_group.astype(float).min()
        for metric in ("accuracy", "macro_recall", "macro_f1"):
            assert found.gaps[f"{metric}_difference:{feature}"]["value"] == pytest.approx(spread[metric], abs=1e-12)
        for gap, prefix in (("demographic_parity", "selection_rate"), ("recall", "recall")):
            assert found.gaps[f"{gap}_difference:{feature}"]["value"] == pytest.approx(spread.filter(like=f"{prefix}: ").max(), abs=1e-12)


@quiet
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_two_classes_are_measured_as_before(seed):
    "With two classes the worst class's gaps are those of the binary assessment."
    rng = np.random.default_rng(seed)
    y, decisions = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    frame = pd.DataFrame({"sex": rng.choice(["F", "M", "X"], 300)})
    binary = assess_groups(y, decisions, sensitive_features=frame, costs=Costs(0, 1, 5, 0), n_bootstrap=20)
    several = assess_classes(y, decisions, sensitive_features=frame, costs=ClassCosts(["no", "yes"], np.array([[0.0, 1.0], [5.0, 0.0]])), n_bootstrap=20)
    for gap in ("demographic_parity_difference", "equalized_odds_difference", "accuracy_difference", "cost_per_1000_difference"):
        assert several.gaps[f"{gap}:sex"]["value"] == pytest.approx(binary.gaps[f"{gap}:sex"]["value"], abs=1e-9)
    assert np.allclose(several.table("sex")["recall: yes"], binary.table("sex")["true_positive_rate"], atol=1e-12)


@quiet
def test_a_small_class_cannot_hide():
    "Everybody of a rare class is missed in one group: accuracy hardly differs, the gap is whole."
    y = np.r_[np.zeros(960, dtype=int), np.full(40, 2)]
    frame = pd.DataFrame({"sex": np.arange(1000) % 2}).astype(str)
    decisions = np.where((y == 2) & (frame["sex"] == "1"), 0, y)
    found = assess_classes(y, decisions, sensitive_features=frame, costs=COSTS, n_bootstrap=50)
    assert found.gaps["recall_difference:sex"]["value"] == 1.0 and found.gaps["equalized_odds_difference:sex"]["value"] == 1.0
    assert found.gaps["accuracy_difference:sex"]["value"] == pytest.approx(0.04)


@quiet
def test_the_interval_of_a_gap_covers_the_truth():
    rng, covered, truth = np.random.default_rng(0), 0, 0.2
    frame = pd.DataFrame({"sex": ["F"] * 400 + ["M"] * 400})
    for _ in range(100):
        y = rng.choice(3, 800, p=[0.5, 0.4, 0.1])
        wrong = (y == 1) & (rng.random(800) < np.where(frame["sex"] == "F", 0.4, 0.4 - truth))
        found = assess_classes(y, np.where(wrong, 0, y), sensitive_features=frame, costs=COSTS, n_bootstrap=150, seed=1)
        covered += found.gaps["recall_difference:sex"]["low"] <= truth <= found.gaps["recall_difference:sex"]["high"]
    assert 0.88 <= covered / 100 <= 1


@quiet
def test_prices_of_single_rows_reach_the_groups():
    y, decisions, frame = random_rows(3)
    price = np.random.default_rng(0).uniform(1, 100, len(y))
    costs = ClassCosts(LABELS, priced={(1, 0): price})
    found = assess_classes(y, decisions, sensitive_features=frame[["sex"]], costs=costs, n_bootstrap=50)
    expected = 1000 * pd.Series(costs.of(y, decisions)).groupby(frame["sex"]).mean()
    assert np.allclose(found.table("sex")["cost_per_1000"], expected, rtol=1e-12)


def test_what_is_undefined_is_said_and_a_class_without_rows_is_not_repeated():
    y, decisions = np.array([0, 1] * 60 + [0] * 60), np.array([0, 1] * 60 + [1] * 60)
    frame = pd.DataFrame({"sex": ["A"] * 120 + ["B"] * 60})
    with pytest.warns(GroupWarning):
        found = assess_classes(y, decisions, sensitive_features=frame, costs=COSTS, n_bootstrap=20)
    assert found.notes == ["sex: no rows of cash, so the recall of cash is undefined and in no gap: B."]
    assert np.isnan(found.table("sex").loc["B", "recall: cash"])


@quiet
def test_every_gap_can_be_a_gate():
    y, decisions, frame = random_rows(0)
    found = assess_classes(y, decisions, sensitive_features=frame, costs=COSTS, n_bootstrap=20)
    assert all(judgement.passes for judgement in judge_gates([f"{name} <= 1e9" for name in found.gaps], found.gaps))


def test_wrong_arguments_are_named():
    frame = pd.DataFrame({"sex": ["F", "M"]})
    with pytest.raises(ConfigError, match="the same number of rows"):
        assess_classes([0, 1, 1], [0, 1, 1], sensitive_features=frame, costs=COSTS)
    with pytest.raises(ConfigError, match="decisions: received 3; allowed: class codes, whole numbers from 0 to 2"):
        assess_classes([0, 1], [0, 3], sensitive_features=frame, costs=COSTS)
    with pytest.raises(ConfigError, match="the same number of rows"):
        class_changes([0, 1], [0, 1], y=[0, 1, 1], sensitive_features=frame, n_classes=3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000))
def test_changes_add_up(seed):
    y, before, frame = random_rows(seed, 60)
    after = np.random.default_rng(seed + 1).integers(0, 3, 60)
    table = class_changes(before, after, y=y, sensitive_features=frame, n_classes=3)
    for feature in frame.columns:
        part = table.loc[feature]
        assert part["changed"].sum() == (before != after).sum()
        assert part["newly right"].sum() - part["newly wrong"].sum() == (after == y).sum() - (before == y).sum()
        assert (part["low"] <= part["accuracy change"]).all() and (part["accuracy change"] <= part["high"]).all()

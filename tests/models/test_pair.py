"""Rules with two conditions: none is cheaper, and luck alone never makes one."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.models.baseline import IfThenRuleClassifier
from mlsys.models.condition import NO_RULE, rule_holds, rule_text
from mlsys.models.pair import cheapest_pair, search_rule, split_cost
from mlsys.models.rule import IfThenClassifier, IfThenRegressor, cheapest_split


def conditions(name, column):
    """All conditions on a column, one at a time: the slow way."""
    if column.isna().any():
        yield from ((name, "is missing", ""), (name, "is known", ""))
    kinds = ("at least", "below") if pd.api.types.is_numeric_dtype(column) else ("is", "is not")
    for value in sorted(column.dropna().unique()):
        yield from ((name, kind, value) for kind in kinds)


def every_pair(frame):
    for one, two in combinations(frame.columns, 2):
        for first in conditions(one, frame[one]):
            for second in conditions(two, frame[two]):
                yield from ((*first, joint, *second) for joint in ("and", "or"))


ROWS = st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 3).map(float)), st.one_of(st.none(), st.sampled_from("abc")), st.integers(0, 2).map(float)),
                min_size=5, max_size=25)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 3), st.integers(2, 4), st.integers(0, 2**16))
def test_no_other_pair_of_conditions_is_cheaper(rows, fewest, answers, seed):
    x, kind, z = (list(column) for column in zip(*rows, strict=True))
    frame = pd.DataFrame({"x": pd.Series(x, dtype=float), "kind": pd.Series(kind, dtype="str"), "z": z})
    losses = np.random.default_rng(seed).integers(0, 6, (len(rows), answers)).astype(float)
    allowed = [rule for rule in every_pair(frame) if fewest <= rule_holds(frame, rule).sum() <= len(frame) - fewest]
    found = cheapest_pair(frame, losses, fewest)
    if not allowed:
        assert found == NO_RULE
    else:
        best = min(split_cost(losses, rule_holds(frame, rule)) for rule in allowed)
        assert split_cost(losses, rule_holds(frame, found)) == pytest.approx(best)
        assert fewest <= rule_holds(frame, found).sum() <= len(frame) - fewest


def people(rows, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"income": rng.gamma(3, 15, rows).round(2), "channel": rng.choice(["web", "branch", "broker"], rows), "age": rng.integers(18, 80, rows)})
    frame.loc[rng.random(rows) < 0.05, "income"] = np.nan
    return frame, rng


@pytest.mark.parametrize("joint", ["and", "or"])
def test_a_planted_pair_is_found_to_the_cut(joint):
    frame, rng = people(6000)
    low, broker = frame["income"] < 30, frame["channel"] == "broker"
    risky = low & broker if joint == "and" else low | broker
    y = (rng.random(6000) < np.where(risky, 0.5, 0.05)).astype(int)
    rule = IfThenRuleClassifier(cost_false_negative=4.0).fit(frame, y)
    assert len(rule.rule_) == 7 and {rule.rule_[0], rule.rule_[4]} == {"income", "channel"}
    assert (rule.predict(frame) == risky).mean() > 0.99
    assert f" {rule.rule_[3]} " in rule.sentence_ and rule_text(rule.rule_) in rule.sentence_
    assert len(IfThenRuleClassifier(cost_false_negative=4.0, max_conditions=1).fit(frame, y).rule_) == 3


def test_several_classes_and_a_quantity_find_the_pair_too():
    frame, rng = people(4000, 1)
    both = ((frame["income"] < 35) & (frame["channel"] != "web")).to_numpy()
    kinds = np.where(both, rng.choice(3, 4000, p=[0.1, 0.1, 0.8]), rng.choice(3, 4000, p=[0.7, 0.2, 0.1]))
    rule = IfThenClassifier(class_names=["no", "perhaps", "yes"]).fit(frame, kinds)
    assert len(rule.rule_) == 7 and (rule.predict(frame) == np.where(both, 2, 0)).mean() > 0.97
    amount = IfThenRegressor(max_rows=2500).fit(frame, np.where(both, 50, 10) + rng.exponential(5, 4000))
    assert len(amount.rule_) == 7 and amount.answers_[1] > 40 > 20 > amount.answers_[0]


def test_an_exclusive_or_that_no_single_condition_sees_is_found():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"a": rng.choice(["x", "y"], 3000), "b": rng.choice(["u", "v"], 3000), "noise": rng.normal(size=3000)})
    y = ((frame["a"] == "x") & (frame["b"] == "u")).to_numpy() ^ (rng.random(3000) < 0.05)
    rule = IfThenRuleClassifier().fit(frame, y.astype(int))
    assert {rule.rule_[0], rule.rule_[4]} == {"a", "b"} and (rule.predict(frame) == y).mean() > 0.93


def test_luck_alone_makes_no_second_condition():
    """Thirty columns of noise: over half a million pairs to be fooled by. One table in twenty would be too many of twenty."""
    longer = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        frame, y = pd.DataFrame(rng.normal(size=(400, 12))).add_prefix("c"), rng.integers(0, 2, 400)
        longer += len(IfThenRuleClassifier(random_state=seed).fit(frame, y).rule_) == 7
    assert longer <= 3


def test_people_with_many_rows_do_not_vouch_for_a_rule():
    """Forty people with 30 rows each: whatever tells the people apart is no rule about new people."""
    rng = np.random.default_rng(3)
    traits, fate = pd.DataFrame(rng.normal(size=(40, 6))).add_prefix("trait "), rng.integers(0, 2, 40)
    who = np.repeat(np.arange(40), 30)
    frame, y = traits.iloc[who].reset_index(drop=True), fate[who]
    assert len(IfThenRuleClassifier().fit(frame, y).rule_) == 7  # taken for independent, they do
    assert len(IfThenRuleClassifier().fit(frame, y, groups=who).rule_) == 3


def test_the_longer_rule_is_never_dearer_on_the_rows_it_was_made_from():
    frame, rng = people(500, 4)
    losses = rng.exponential(size=(500, 3))

    def one(part, costs):
        return cheapest_split(part, costs, 5)

    rule = search_rule(frame, losses, one, 5)
    assert split_cost(losses, rule_holds(frame, rule)) <= split_cost(losses, rule_holds(frame, one(frame, losses))) + 1e-9


@pytest.mark.parametrize("estimator", [IfThenRuleClassifier(max_conditions=3), IfThenClassifier(max_conditions=0), IfThenRegressor(max_conditions=9)])
def test_more_conditions_are_refused(estimator):
    with pytest.raises(ConfigError, match="max_conditions.*1 or 2"):
        estimator.fit(pd.DataFrame({"x": [1.0, 2, 3, 4]}), [0, 1, 0, 1])


def test_columns_without_conditions_are_left_out():
    frame = pd.DataFrame({"one": 1.0, "empty": np.nan, "x": np.arange(300) % 2})
    y = np.arange(300) % 2
    rule = IfThenRuleClassifier().fit(frame, y)
    assert rule.rule_[0] == "x" and len(rule.rule_) == 3
    assert cheapest_pair(frame[["one"]], np.ones((300, 2))) == NO_RULE

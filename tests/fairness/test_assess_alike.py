"""What the three assessments promise alike, whatever the answer is."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.fairness.assess import GroupWarning, assess_groups, decision_changes
from mlsys.fairness.classes import assess_classes, class_changes
from mlsys.fairness.errors import assess_errors, error_changes
from mlsys.objective.cost import Costs
from mlsys.objective.problem import ClassCosts, ErrorCosts

WAYS = {
    "two classes": (assess_groups, Costs(0, 1, 5, 0), st.integers(0, 1), st.integers(0, 1)),
    "several classes": (assess_classes, ClassCosts(["a", "b", "c"]), st.integers(0, 2), st.integers(0, 2)),
    "numbers": (assess_errors, ErrorCosts(1, 3), st.integers(-3, 3), st.floats(-1e6, 1e6)),
}


@pytest.mark.filterwarnings("ignore::mlsys.fairness.assess.GroupWarning")
@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_tiny_tables_do_not_break_it_and_no_row_is_lost(way, data):
    assess, costs, truths, answers = WAYS[way]
    rows = data.draw(st.lists(st.tuples(truths, answers, st.sampled_from(["a", "b", None]), st.sampled_from(["x", None])), min_size=1, max_size=12))
    y, answered, first, second = (list(column) for column in zip(*rows, strict=True))
    found = assess(y, answered, sensitive_features=pd.DataFrame({"first": first, "second": second}), costs=costs, n_bootstrap=20)
    for feature in found.features:
        assert found.table(feature)["count"].sum() == len(rows)
    for entry in found.gaps.values():
        if not np.isnan(entry["value"]):
            assert 0 <= entry["low"] <= entry["value"] <= entry["high"]


@pytest.mark.parametrize("way", WAYS)
def test_people_who_do_not_match_are_refused_and_warnings_name_the_callers_line(way):
    assess, costs, *_ = WAYS[way]
    people = pd.DataFrame({"sex": ["F", "M", "F"]})
    with pytest.raises(ConfigError, match=r"and sensitive_features: received \[2, 2, 3\]; allowed: the same number of rows"):
        assess([0, 1], [1, 1], sensitive_features=people, costs=costs)
    with pytest.raises(ConfigError, match="at least one row"):
        assess([], [], sensitive_features=people.iloc[:0], costs=costs)
    with pytest.warns(GroupWarning) as caught:
        assess([0, 1, 1], [1, 1, 0], sensitive_features=people, costs=costs, n_bootstrap=5)
    assert any("fewer than 50 rows" in str(warning.message) for warning in caught) and {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize("change", [decision_changes, lambda *args, **more: class_changes(*args, n_classes=3, **more), error_changes])
def test_changes_of_other_people_are_refused(change):
    with pytest.raises(ConfigError, match=r"before, after, y and sensitive_features: received \[2, 2, 2, 3\]"):
        change([0, 1], [1, 1], y=[0, 1], sensitive_features=pd.DataFrame({"sex": ["F", "M", "F"]}))

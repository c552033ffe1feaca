"""Upheld complaints by group: exact intervals, one decision counted once, and a group is listed where it is right to complain more often."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, fisher_exact

from mlsys.core import ConfigError
from mlsys.data.compare import holm
from mlsys.fairness.complaint import case_column, complaint_notes, complaints_by_group, exact_limits
from mlsys.fairness.evidence import judge_gaps


def state_of(rows):
    return pd.DataFrame(rows, columns=["case", "status"]).assign(kind="complaint", id=[str(place) for place in range(len(rows))])


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 500), data=st.data())
def test_intervals_are_clopper_and_pearsons(rows, data):
    count = data.draw(st.integers(0, rows))
    expected = binomtest(count, rows).proportion_ci(0.9)
    assert np.allclose(np.ravel(exact_limits(np.array([count]), np.array([rows]), 0.9)), [expected.low, expected.high], atol=1e-9)


def test_counts_of_every_group_and_fishers_test():
    people = pd.DataFrame({"town": ["n"] * 300 + ["s"] * 100 + [None] * 20})
    state = state_of([(str(case), "upheld") for case in range(6)] + [(str(case), "upheld") for case in range(300, 315)] + [("3", "rejected"), ("301", "open"), ("999", "upheld")])
    found = complaints_by_group(state, np.arange(420), people)
    table = found.groups.set_index("group")
    assert table["decisions"].to_dict() == {"n": 300, "s": 100, "(missing)": 20}
    assert table["upheld"].to_dict() == {"n": 6, "s": 15, "(missing)": 0} and table.loc["s", "open"] == 1 and table.loc["n", "rejected"] == 1
    assert found.unmatched == 1 and found.complaints == 24
    expected = [fisher_exact([[table.loc[name, "upheld"], table.loc[name, "decisions"] - table.loc[name, "upheld"]], [21 - table.loc[name, "upheld"], 420 - table.loc[name, "decisions"] - 21 + table.loc[name, "upheld"]]],
                             alternative="greater")[1] for name in table.index]
    assert np.allclose(table["p_value"], holm(expected))
    assert found.gaps["upheld_complaints_difference:town"]["value"] == pytest.approx(150.0)
    assert any("upheld of s than" in note for note in complaint_notes(found))


def test_a_decision_is_counted_once_and_numbers_of_cases_are_read_alike():
    people = pd.DataFrame({"sex": ["F", "F", "M"]})
    state = state_of([("1", "upheld"), ("1", "upheld"), ("2", "upheld")])
    for cases in ([1, 2, 3], [1.0, 2.0, 3.0], ["1", "2", "3"], pd.array([1, 2, None], dtype="Int64")):
        table = complaints_by_group(state, cases, people).groups.set_index("group")
        assert table.loc["F", "upheld"] == 2
    twice = complaints_by_group(state, ["1", "1", "2"], people).groups.set_index("group")
    assert twice["decisions"].to_dict() == {"F": 1, "M": 1} and twice.loc["F", "upheld"] == 1


def test_groups_that_are_alike_are_rarely_listed_and_one_that_is_not_is():
    rng, listed = np.random.default_rng(0), 0
    people = pd.DataFrame({"town": np.repeat([f"t{place}" for place in range(10)], 300)})
    for _ in range(60):
        upheld = np.flatnonzero(rng.random(3000) < 0.02)
        listed += (complaints_by_group(state_of([(str(case), "upheld") for case in upheld]), np.arange(3000), people).groups["p_value"] < 0.05).any()
    assert listed <= 8  # a binomial of 60 with 0.05 exceeds 8 once in 500
    upheld = np.flatnonzero(rng.random(3000) < np.where(people["town"] == "t4", 0.12, 0.02))
    table = complaints_by_group(state_of([(str(case), "upheld") for case in upheld]), np.arange(3000), people).groups
    assert set(table.loc[table["p_value"] < 0.05, "group"]) == {"t4"}


def test_a_gate_on_complaints_needs_enough_decisions():
    people = pd.DataFrame({"town": ["n"] * 3000 + ["s"] * 3000 + ["w"] * 5})
    found = complaints_by_group(state_of([(str(case), "upheld") for case in [*range(30), *range(3000, 3030)]]), np.arange(6005), people)
    verdict, = judge_gaps(["upheld_complaints_difference:town <= 10"], found.gaps, found.evidence)
    assert verdict.verdict == "not enough evidence" and verdict.short_of[0] == "w (5)"
    without = complaints_by_group(state_of([(str(case), "upheld") for case in [*range(30), *range(3000, 3030)]]), np.arange(6000), people.iloc[:6000])
    assert judge_gaps(["upheld_complaints_difference:town <= 10"], without.gaps, without.evidence)[0].verdict == "holds"


def test_no_complaint_one_group_and_nobody_that_can_be_named():
    nobody = complaints_by_group(state_of([]), ["a", "b"], pd.DataFrame({"sex": ["F", "F"]}))
    assert nobody.groups["upheld"].tolist() == [0] and nobody.gaps["upheld_complaints_difference:sex"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert complaint_notes(nobody)[0].startswith("0 complaints")
    with pytest.raises(ConfigError, match="at least one decision that can be named"):
        complaints_by_group(state_of([]), [None, ""], pd.DataFrame({"sex": ["F", "F"]}))
    with pytest.raises(ConfigError, match="the same number of rows"):
        complaints_by_group(state_of([]), ["a"], pd.DataFrame({"sex": ["F", "F"]}))
    with pytest.raises(ConfigError, match=r"set fairness\.case"):
        case_column(pd.DataFrame({"a": [1]}), "")
    with pytest.raises(ConfigError, match=r"fairness\.case: received 'lone'"):
        case_column(pd.DataFrame({"loan": [1]}), "lone")


def test_silence_is_said_to_be_no_evidence():
    found = complaints_by_group(state_of([("1", "rejected")]), ["1", "2"], pd.DataFrame({"sex": ["F", "M"]}))
    assert any("Nobody complained in: M (1)" in note and "no evidence" in note for note in complaint_notes(found))

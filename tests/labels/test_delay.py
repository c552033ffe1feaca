"""Outcomes that arrive late: nothing from after the day, nothing of rows that are too young."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError, ContractError
from mlsys.data.roles import Roles
from mlsys.labels.attach import attach_labels, gold_codes, keep_mature, label_weakly
from mlsys.labels.delay import join_outcomes, label_column, parse_day
from mlsys.labels.function import match_function

LOANS = pd.DataFrame({"row_id": range(4), "loan": [1, 2, 3, 4], "day": pd.to_datetime(["2024-01-01", "2024-01-10", "2024-02-01", "2024-03-01"]), "x": [1.0, 2, 3, 4]})
EVENTS = pd.DataFrame({
    "loan": [1, 2, 1, 3, 9], "status": ["paid", "paid", "default", "default", "paid"],
    "seen": ["2024-02-01", "2024-02-05", "2024-03-15", "2024-02-02", "2024-02-02"],
})  # fmt: skip
JOIN = {"key": "loan", "outcome": "status", "known_at": "seen", "time": "day", "delay_days": 30}


def test_a_correction_counts_from_the_day_on_which_it_was_known():
    before, after = (join_outcomes(LOANS, EVENTS, as_of=day, **JOIN).outcome.tolist() for day in ("2024-03-14", "2024-03-15"))
    assert before[:3] == ["paid", "paid", "default"] and after[:3] == ["default", "paid", "default"]


def test_a_young_row_waits_whatever_its_outcome():
    late = join_outcomes(LOANS, EVENTS, as_of="2024-02-20", **JOIN)
    assert late.status.tolist() == ["mature", "mature", "not mature", "not mature"]
    assert late.outcome.notna().tolist() == [True, True, False, False] and late.counts == {"mature": 2, "not mature": 2, "unknown": 0}
    assert any("1 keys of the outcomes" in note for note in late.notes)


def test_silence_means_something_only_if_somebody_says_so():
    plain = join_outcomes(LOANS, EVENTS, as_of="2024-06-01", **JOIN)
    told = join_outcomes(LOANS, EVENTS, as_of="2024-06-01", absent_outcome="paid", **JOIN)
    assert plain.status.tolist()[3] == "unknown" and told.outcome.tolist()[3] == "paid"
    young = join_outcomes(LOANS, EVENTS, as_of="2024-03-20", absent_outcome="paid", **JOIN)
    assert young.status.tolist()[3] == "not mature" and young.outcome.isna()[3]


def test_without_a_day_the_last_time_in_the_outcomes_counts():
    late = join_outcomes(LOANS, EVENTS, **JOIN)
    assert late.as_of == pd.Timestamp("2024-03-15") and late.status.tolist()[3] == "not mature"
    undated = join_outcomes(LOANS, EVENTS.drop(columns="seen").drop_duplicates("loan"), key="loan", outcome="status")
    assert undated.counts == {"mature": 3, "not mature": 0, "unknown": 1}


@pytest.mark.parametrize(
    ("events", "change", "error", "words"),
    [
        (EVENTS.assign(loan=[1, None, 1, 3, 9]), {}, ContractError, "without a key"),
        (EVENTS.assign(seen=[None, *EVENTS["seen"][1:]]), {}, ContractError, "without a time"),
        (EVENTS.assign(seen="2024-02-05"), {}, ContractError, "two outcomes at the same moment"),
        (EVENTS.assign(seen=["2023-02-01", *EVENTS["seen"][1:]]).head(2), {}, ContractError, "known before the decision"),
        (EVENTS.drop(columns="seen"), {"known_at": "", "as_of": ""}, ConfigError, "which rows are mature"),
        (EVENTS.drop(columns="seen"), {"known_at": "", "delay_days": 0, "as_of": ""}, ContractError, "occur again"),
        (EVENTS, {"outcome": "state"}, ConfigError, "state"),
        (EVENTS, {"key": "loans"}, ConfigError, "Did you mean loan"),
        (EVENTS, {"as_of": "yesterday"}, ConfigError, "a date such as"),
        (EVENTS.drop(columns="seen").head(2), {"known_at": "", "time": ""}, ConfigError, "labels.as_of"),
    ],
)
def test_bad_outcomes_are_named(events, change, error, words):
    with pytest.raises(error) as caught:
        join_outcomes(LOANS, events, **{**JOIN, "as_of": "2024-06-01", **change})
    assert words in str(caught.value)


def test_keys_of_different_types_meet():
    as_words = join_outcomes(LOANS, EVENTS.assign(loan=EVENTS["loan"].astype("str")), as_of="2024-03-20", **JOIN)
    assert as_words.outcome.equals(join_outcomes(LOANS, EVENTS, as_of="2024-03-20", **JOIN).outcome)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 300), st.booleans()), min_size=1, max_size=20), st.integers(0, 320), st.integers(0, 60))
def test_nothing_known_after_the_day_is_ever_used(events, day, delay):
    """Changing what became known later changes nothing; every outcome given was known, and its row old enough."""
    begin = pd.Timestamp("2024-01-01")
    table = pd.DataFrame({"loan": range(5), "day": begin})
    frame = pd.DataFrame(events, columns=["loan", "seen", "status"]).drop_duplicates(["loan", "seen"])
    seen = begin + pd.to_timedelta(frame["seen"], unit="D")
    as_of = str((begin + pd.Timedelta(days=day)).date())
    options = {"key": "loan", "outcome": "status", "known_at": "seen", "time": "day", "delay_days": delay, "as_of": as_of}
    found = join_outcomes(table, frame.assign(seen=seen), **options)
    changed = frame.assign(status=np.where(seen > parse_day(as_of), ~frame["status"], frame["status"]), seen=seen)
    assert found.outcome.equals(join_outcomes(table, changed, **options).outcome)
    if delay > day:
        assert found.outcome.isna().all()


def test_a_finished_table_keeps_every_row():
    table = LOANS.assign(default=[0, 1, 0, 1])
    finished = label_column(table, "default", time="day", delay_days=90)
    assert finished.counts["mature"] == 4 and "taken to be finished" in finished.notes[0]
    dated = label_column(table, "default", time="day", delay_days=30, as_of="2024-03-05")
    assert dated.counts == {"mature": 3, "not mature": 1, "unknown": 0}
    kept = keep_mature(table, Roles("default", "yes", "no", time="day", numeric=["x"]), dated, drop=["loan"])
    assert kept["row_id"].tolist() == [0, 1, 2] and "loan" not in kept
    known = label_column(table.assign(known="2024-03-04"), "default", known_at="known", as_of="2024-03-03")
    assert known.counts["not mature"] == 4
    with pytest.raises(ConfigError, match="which rows were known"):
        label_column(table, "default", as_of="2024-03-05")
    with pytest.raises(ContractError, match="before the first outcome"):
        keep_mature(table, Roles("default", "yes", "no"), known)


def test_days_count_until_their_end_and_zones_are_read():
    assert parse_day("2024-03-31") > pd.Timestamp("2024-03-31 23:00") and parse_day("2024-03-31T12:00") == pd.Timestamp("2024-03-31 12:00")
    assert parse_day("2024-03-31T12:00+02:00") == pd.Timestamp("2024-03-31 10:00")


def test_weak_labels_and_their_gold_rows():
    generator = np.random.default_rng(0)
    spam = generator.random(2_000) < 0.5
    said = pd.DataFrame({f"word{number}": np.where(generator.random(2_000) < 0.85, np.where(spam, "a", "b"), np.where(spam, "b", "a")) for number in range(5)})
    rules = [match_function(name, letter, vote, f"{name}{letter}") for name in said for letter, vote in (("a", 1), ("b", 0))]
    gold = pd.Series(np.where(spam, "spam", "ham")).where(pd.Series(range(2_000)) % 10 == 0)
    weak = label_weakly(said, rules, ["ham", "spam"], gold)
    assert weak.counts["gold"] == 200 and weak.verdict.n_gold == 200
    assert (weak.outcome[weak.is_gold] == gold[weak.is_gold]).all()
    table, roles = attach_labels(said.assign(row_id=range(2_000)), Roles("spam", "spam", "", categorical=list(said)), weak.outcome, positive_label="spam", test_rows=weak.is_gold)
    assert table["part"].value_counts()["test"] == 200 and roles.classes == ["ham", "spam"] and table["spam"].dtype == "int8"
    with pytest.raises(ContractError, match="another label"):
        gold_codes(pd.Series(["spam", "eggs"]), ["ham", "spam"])
    with pytest.raises(ContractError, match="needs no weak labels"):
        label_weakly(said, rules, ["ham", "spam"], pd.Series(np.where(spam, "spam", "ham")))
    with pytest.raises(ConfigError, match="two different labels"):
        label_weakly(said, rules, ["spam"])
    with pytest.raises(ContractError, match="no row with a label"):
        attach_labels(said, Roles("spam", "spam", "", categorical=list(said)), pd.Series([None] * 2_000), positive_label="spam")

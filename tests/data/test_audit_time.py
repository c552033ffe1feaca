"""Time travel: known times in every row, labels before the test, windows recomputed from events nobody here made."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.data.audit_time import audit_known_times, audit_label_times, parse_known
from mlsys.data.audit_window import audit_windows, faults, parse_window

DAY = pd.Timedelta("1D")


def table(**columns):
    """Four rows, a day apart."""
    return pd.DataFrame({"row_id": [10, 11, 12, 13], "at": pd.date_range("2024-01-01", periods=4), **columns})


def test_every_row_is_checked_and_the_violating_ones_are_named():
    late = table(x=1, seen=pd.to_datetime(["2024-01-01", "2024-01-03", "2024-01-03", "2024-01-06"]))
    findings, proof = audit_known_times(late, "at", ["x = seen"], ["x"])
    row = proof.iloc[0]
    assert (row["rows"], row["violations"], row["examples"], row["verdict"]) == (4, 2, [11, 13], "violated")
    assert row["largest_lead"] == 2 * DAY
    assert [(f.rule, f.where, f.stands, f.columns, f.kind) for f in findings] == [("known-later", "x", True, ("x",), "L2")]


def test_a_value_known_at_the_very_moment_is_fine():
    findings, proof = audit_known_times(table(x=1), "at", ["x = time"], ["x"])
    assert not findings and proof.iloc[0]["verdict"] == "proven"


def test_silence_is_not_proof():
    findings, proof = audit_known_times(table(x=1, z=2), "at", ["x = time - 7 days"], ["x", "z"])
    assert dict(zip(proof["feature"], proof["verdict"], strict=True)) == {"x": "proven", "z": "not proven"}
    assert [(f.rule, f.where, f.stands) for f in findings] == [("not-proven", "z", False)]


def test_a_missing_moment_is_not_proof_unless_the_value_is_missing_too():
    seen = pd.to_datetime(["2024-01-01", None, "2024-01-01", "2024-01-01"])
    _, proof = audit_known_times(table(x=1.0, seen=seen), "at", ["x = seen"], ["x"])
    assert proof.iloc[0]["verdict"] == "not proven" and proof.iloc[0]["without_moment"] == 1
    _, proof = audit_known_times(table(x=[1.0, np.nan, 1.0, 1.0], seen=seen), "at", ["x = seen"], ["x"])
    assert proof.iloc[0]["verdict"] == "proven"


def test_a_delay_after_the_row_is_always_a_violation():
    _, proof = audit_known_times(table(x=1), "at", ["x = at + 1 hour"], ["x"])
    assert proof.iloc[0]["violations"] == 4


def test_numeric_clocks_and_zones():
    steps = pd.DataFrame({"step": [1, 2, 3], "x": 1, "seen": [1, 2, 4]})
    _, proof = audit_known_times(steps, "step", ["x = seen"], ["x"])
    assert proof.iloc[0]["violations"] == 1
    _, proof = audit_known_times(steps, "step", ["x = seen - 1"], ["x"])
    assert proof.iloc[0]["violations"] == 0
    zoned = table(x=1, seen=pd.date_range("2024-01-01 01:30", periods=4, tz="Europe/Berlin"))
    _, proof = audit_known_times(zoned, "at", ["x = seen"], ["x"])
    assert proof.iloc[0]["violations"] == 4  # 00:30 UTC is after midnight


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x", "FEATURE = MOMENT"),
        ("x = sen", "seen"),
        ("q = time", "nearest|allowed|Did you mean|known"),
        ("x = seen + 2 fortnights", "weeks, days, hours"),
        ("x = seen + 2", "with a unit"),
    ],
)
def test_a_wrong_declaration_is_explained(line, words):
    with pytest.raises(ConfigError, match=words):
        audit_known_times(table(x=1, seen=pd.Timestamp("2024-01-01")), "at", [line], ["x"])


def test_the_last_line_counts_and_patterns_fit():
    known = parse_known(["c_* = time", "c_2 = seen + 1 week"], ["c_1", "c_2", "seen"], "at")
    assert known["c_1"].base == "" and known["c_2"].delay == 7 * DAY


def test_labels_that_arrive_too_late_are_named():
    days = pd.DataFrame({"row_id": range(10), "at": pd.date_range("2024-01-01", periods=10), "paid_at": pd.date_range("2024-01-02", periods=10)})
    findings, proof = audit_label_times({"train": days[:6], "validation": days[6:8], "test": days[8:]}, "at", "time + 3 days")
    assert proof.set_index(["part", "before"])["violations"].to_dict() == {("train", "validation"): 2, ("train", "test"): 0, ("validation", "test"): 2}
    assert {f.kind for f in findings} == {"L3.1"} and len(findings) == 2
    assert not audit_label_times({"train": days[:6], "test": days[6:]}, "at", "paid_at")[0]


def test_a_split_with_purging_passes_and_one_without_does_not(repo):
    from mlsys.data.roles import Roles
    from mlsys.data.split import split_table

    rows = pd.read_parquet(repo / "data" / "applications.parquet")[["application_id", "applied_at", "default", "amount"]]
    rows = rows.assign(default=rows["default"].astype("int8")).rename(columns={"application_id": "row_id"}).sample(3000, random_state=0)
    rows["applied_at"] = pd.to_datetime(rows["applied_at"])
    split = split_table(rows, Roles("default", "1", "0", "applied_at", numeric=["amount"], label_delay_days=90), "time")
    findings, proof = audit_label_times(split.parts, "applied_at", "time + 90 days")
    assert not findings and set(proof["verdict"]) == {"proven"}
    assert audit_label_times(split.parts, "applied_at", "time + 200 days")[0]


@pytest.mark.parametrize("line", ["n = count(x) by a", "n = sum() by a", "n = median(x) by a", "n: count() by a", "n = count() by a over seven days", "n = count() by a over 7 moons"])
def test_a_wrong_window_is_explained(line):
    with pytest.raises(ConfigError):
        parse_window(line)


def by_hand(rows, events, window):
    """Recompute a window row by row, in plain Python."""
    found = []
    for row in rows.itertuples():
        mine = events[(events["who"] == row.who) & (events["at"] + window.delay <= row.at)]
        if window.length is not None:
            mine = mine[mine["at"] > row.at - window.delay - window.length]
        if window.is_open:
            mine = mine[mine["at"] < row.at]
        found.append(len(mine) if window.how == "count" else getattr(mine["value"], window.how)() if len(mine) else np.nan)
    return np.array(found, dtype=float)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    how=st.sampled_from(["count()", "sum(value)", "mean(value)", "min(value)", "max(value)"]),
    length=st.sampled_from(["", " over 1 day", " over 3 days"]),
    rest=st.sampled_from(["", " known after 2 days", " without the row"]),
)
def test_recomputing_agrees_with_plain_python(seed, how, length, rest):
    random = np.random.default_rng(seed)
    events = pd.DataFrame({"who": random.integers(0, 3, 40), "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 200, 40), "h"), "value": random.normal(size=40)})
    line = f"v = {how} by who{length}{rest}"
    rows = events.sample(15, random_state=0).assign(v=lambda part: by_hand(part, events, parse_window(line)))
    findings, proof = audit_windows(rows, events, [line], time="at", event_time="at")
    assert not findings and proof.iloc[0]["equal"] == 15


def events_of(seed=0, n=600):
    """Payments of ten cards over sixty days."""
    random = np.random.default_rng(seed)
    moments = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(random.choice(60 * 86400, n, replace=False)), "s")
    return pd.DataFrame({"who": random.integers(0, 10, n), "at": moments, "value": random.gamma(2, 10, n).round(2)})


@pytest.mark.parametrize("line", ["v = count() by who over 7 days", "v = mean(value) by who over 7 days known after 3 days", "v = max(value) by who over 5 days", "v = sum(value) by who over 2 days without the row"])
def test_each_fault_is_found_and_named(line):
    from mlsys.data.audit_window import _joined

    events, window = events_of(n=300), parse_window(line)
    # An hour more or less hardly ever holds an event here, and days beyond the last event hold none.
    within_data = [span for span in faults(window)[1:] if "hour" not in span.name and (span.end is None or abs(span.end) <= 10 * DAY)]
    assert len(within_data) > 20
    for span in within_data[::2]:
        stored = _joined(events, events, window, [span], "at", "at")[span.name]
        findings, proof = audit_windows(events.assign(v=stored), events, [line], time="at", event_time="at")
        assert (proof.iloc[0]["verdict"] == "violated") == span.is_late, span.name
        assert [finding.stands for finding in findings] == [True] * span.is_late, span.name


def test_a_moment_of_its_own_counts():
    events = events_of().assign(booked_at=lambda part: part["at"] + pd.to_timedelta(np.arange(len(part)) % 5, "D"))
    line = "v = sum(value) by who over 10 days known at booked_at"
    right = [events.loc[(events["who"] == row.who) & (events["at"] > row.at - 10 * DAY) & (events["at"] <= row.at) & (events["booked_at"] <= row.at), "value"].sum() for row in events.itertuples()]
    wrong = [events.loc[(events["who"] == row.who) & (events["at"] > row.at - 10 * DAY) & (events["at"] <= row.at), "value"].sum() for row in events.itertuples()]
    assert audit_windows(events.assign(v=right), events, [line], time="at", event_time="at")[1].iloc[0]["verdict"] == "proven"
    proof = audit_windows(events.assign(v=wrong), events, [line], time="at", event_time="at")[1].iloc[0]
    assert proof["verdict"] == "violated" and proof["difference"] == "ignores booked_at"


def test_a_few_impossible_values_are_found_among_many_right_ones():
    events = events_of()
    line = "v = count() by who over 7 days"
    right = by_hand(events, events, parse_window(line))
    right[[5, 100, 300]] = 900
    findings, proof = audit_windows(events.assign(v=right, row_id=np.arange(len(events))), events, [line], time="at", event_time="at")
    assert proof.iloc[0]["violations"] == 3 and proof.iloc[0]["examples"] == [5, 100, 300] and findings[0].stands


def test_what_nothing_explains_is_a_note():
    events = events_of()
    findings, proof = audit_windows(events.assign(v=np.pi / 10), events, ["v = sum(value) by who over 7 days"], time="at", event_time="at")
    assert proof.iloc[0]["verdict"] != "proven"
    random = np.random.default_rng(1)
    stored = by_hand(events, events, parse_window("v = mean(value) by who")) * random.uniform(0.99, 1.01, len(events))
    findings, proof = audit_windows(events.assign(v=stored), events, ["v = mean(value) by who"], time="at", event_time="at")
    assert proof.iloc[0]["verdict"] in ("not proven", "violated") and not (proof.iloc[0]["verdict"] == "not proven" and findings[0].stands)


def test_the_handbooks_own_features_are_proven_and_shifted_ones_are_not(real_data):
    """Twelve windows of the Fraud Detection Handbook, by its authors: customers' windows hold the row, terminals' end seven days before."""
    raw = pd.read_parquet(real_data / "fraud_handbook" / "transactions_raw_2018-06-18_2018-08-14.parquet")
    rows = pd.read_parquet(real_data / "fraud_handbook" / "transactions_features_2018-07-25_2018-08-07.parquet")
    lines = []
    for days in (1, 7, 30):
        for who, value, name, known in (("CUSTOMER_ID", "TX_AMOUNT", "AVG_AMOUNT", ""), ("TERMINAL_ID", "TX_FRAUD", "RISK", " known after 7 days")):
            lines.append(f"{who}_NB_TX_{days}DAY_WINDOW = count() by {who} over {days} days{known}")
            lines.append(f"{who}_{name}_{days}DAY_WINDOW = mean({value}) by {who} over {days} days{known}")
    clock = {"time": "TX_DATETIME", "event_time": "TX_DATETIME", "row_id": "TRANSACTION_ID"}
    findings, proof = audit_windows(rows, raw, lines, **clock)
    assert not findings and len(proof) == 12 and set(proof["verdict"]) == {"proven"}
    assert (proof["rows"] == 134_215).all() and (proof["rows"] - proof["equal"] <= 2).all()
    risk = next(line for line in lines if "RISK_7DAY" in line)
    findings, proof = audit_windows(rows, raw, [risk.replace("after 7 days", "after 8 days")], **clock)
    assert proof.iloc[0]["verdict"] == "violated" and "1 day" in proof.iloc[0]["difference"] and findings[0].stands
    findings, proof = audit_windows(rows, raw, [risk.replace(" known after 7 days", "")], **clock)
    assert not findings and proof.iloc[0]["verdict"] == "proven" and proof.iloc[0]["difference"] == "is 7 days old"

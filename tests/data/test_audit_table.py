"""The data view of the audit: known leaks are found, honest columns are not, and any table gets an answer or an error in words."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError, ContractError, MlsysError
from mlsys.data.audit_table import audit_table


def standing(table, target, **options):
    return {finding.name for finding in audit_table(table, target, **options).standing}


def noted(table, target, **options):
    return {finding.name for finding in audit_table(table, target, **options).findings if not finding.stands}


def people(n=3000, seed=0):
    """Honest inputs, and a risk that explains part of the outcome."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=n)
    table = pd.DataFrame({"score": (risk + rng.normal(size=n)).round(3), "income": rng.gamma(3, 9000, n).round(2), "kind": rng.choice(["a", "b", "c"], n)})
    return table, risk + rng.logistic(size=n) > 1, rng


@pytest.mark.parametrize("shape", ["copy", "other words", "finer", "threshold", "exactly missing", "mostly copied"])
def test_the_target_in_other_words_is_found(shape):
    table, bad, rng = people()
    leaks = {
        "copy": bad, "other words": np.where(bad, "charged off", "paid"), "finer": np.where(bad, rng.choice(["x", "y"], len(bad)), "z"),
        "threshold": np.where(bad, rng.uniform(5, 9, len(bad)), rng.uniform(0, 5, len(bad))), "exactly missing": np.where(bad, rng.gamma(2, 9, len(bad)), np.nan),
        "mostly copied": np.where(rng.random(len(bad)) < 0.002, ~bad, bad),
    }
    found = audit_table(table.assign(leak=leaks[shape], bad=bad), "bad").standing
    assert [finding.columns for finding in found] == [("leak",)], shape


@pytest.mark.parametrize("formula", ["sum", "difference", "weighted", "product", "ratio", "with strange rows"])
def test_formulas_of_a_quantity_are_found(formula):
    rng = np.random.default_rng(1)
    a, b, other = rng.integers(10, 400, 2000).astype(float), rng.integers(10, 400, 2000).astype(float), rng.normal(size=2000)
    y = {"sum": a + b, "difference": a - b, "weighted": 2 * a + 0.5 * b + 7, "product": a * b, "ratio": a / b,
         "with strange rows": a + b + np.where(rng.random(2000) < 0.2, rng.gamma(2, 30, 2000).round(), 0)}[formula]
    assert standing(pd.DataFrame({"a": a, "b": b, "other": other, "y": y}), "y") == {"together-the-target:a + b"}


def test_a_good_model_is_no_formula():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3000, 5))
    table = pd.DataFrame(x, columns=list("abcde")).assign(y=x @ [3, 2, 1, 1, 1] + 0.3 * rng.normal(size=3000))
    assert not standing(table, "y")


def test_what_is_filled_in_afterwards_is_found_although_two_cover_for_each_other():
    table, bad, rng = people(5000)
    recovered = np.where(bad & (rng.random(5000) < 0.4), rng.gamma(2, 300, 5000).round(2), 0)
    assert standing(table.assign(recoveries=recovered, fee=(recovered * 0.18).round(2), bad=bad), "bad") == {"only-after:recoveries", "only-after:fee"}


def test_a_lifeboat_and_a_body_number_are_found():
    rng = np.random.default_rng(3)
    saved = rng.random(1300) < 0.38
    boat = np.where(saved & (rng.random(1300) < 0.95), rng.integers(1, 16, 1300).astype(str), None)
    body = np.where(~saved & (rng.random(1300) < 0.15), rng.integers(1, 330, 1300), np.nan)
    table = pd.DataFrame({"age": rng.integers(1, 80, 1300), "boat": boat, "body": body, "saved": saved.astype(int)})
    assert standing(table, "saved") == {"missing-when:boat", "missing-when:body"}


@pytest.mark.parametrize("seed", range(3))
def test_honest_columns_of_a_scorecard_are_not_accused(seed):
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=6000)
    bureau = risk + 0.4 * rng.normal(size=6000)
    bad = 1.6 * risk + rng.logistic(size=6000) > 2
    table = pd.DataFrame({"bureau": bureau, "income": rng.gamma(3, 9000, 6000).round(), "region": rng.choice(list("abcd"), 6000), "bad": bad})
    audit = audit_table(table, "bad")
    assert audit.scores["bureau"].value > 0.75 and not audit.standing


def test_the_last_value_and_the_hour_of_a_series_are_not_accused():
    rng = np.random.default_rng(0)
    n = 6000
    level = np.zeros(n)
    for step in range(1, n):
        level[step] = 0.97 * level[step - 1] + 0.2 * rng.normal()
    hour = np.arange(n) % 24
    y = level + 2 * np.sin(hour / 24 * 2 * np.pi)
    table = pd.DataFrame({"hour": hour, "before": np.r_[np.nan, y[:-1]], "wind": rng.normal(size=n), "at": pd.date_range("2024", periods=n, freq="h"), "y": y})
    assert not standing(table, "y", time="at")


def test_a_call_that_lasts_when_the_client_buys_is_accused():
    table, bought, rng = people(6000, 4)
    seconds = rng.gamma(3, np.where(bought, 250, 60)).round()
    assert standing(table.assign(seconds=seconds, bought=bought), "bought") == {"predicts-alone:seconds"}


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_well_known_honest_tables_get_no_finding(name):
    from sklearn import datasets

    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    assert not standing(frame, "target") and not standing(frame.sample(frac=1, random_state=0), "target")


def test_times_are_told_apart():
    table, bad, rng = people(2000)
    asked = pd.Timestamp("2023-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 9000, 2000)), unit="h")
    table = table.assign(asked=asked.astype(str), known=(asked + pd.Timedelta(days=90)).astype(str), closed=asked + pd.to_timedelta(rng.integers(1, 99, 2000), unit="D"),
                         number=range(2000), born=pd.Timestamp("1970-01-01") + pd.to_timedelta(rng.integers(0, 9999, 2000), unit="D"), bad=bad)
    assert standing(table, "bad", time="asked") == {"known-later:closed"}
    assert {"clock-again:known", "identifier:number"} <= noted(table, "bad", time="asked")
    assert not standing(table, "bad") and "known-later:closed" in noted(table, "bad")


def test_rows_and_groups_across_a_given_split_are_findings():
    table, bad, rng = people(2000)
    table = table.assign(who=np.r_[np.arange(1500), np.arange(500)], bad=bad)
    part = np.array(["train"] * 1500 + ["test"] * 500)
    assert standing(table, "bad", part=part, group="who") == {"group-on-both-sides:who"}
    copied = pd.concat([table.iloc[:1500], table.iloc[:100], table.iloc[1600:]], ignore_index=True)
    assert "shared-rows:train + test" in standing(copied, "bad", part=part, exclude=["who"])
    late = table.assign(at=np.arange(2000)[::-1])
    assert "test-before-train:at" in standing(late, "bad", part=part, time="at")


def test_few_values_are_no_copies():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({name: rng.integers(0, 3, 2000) for name in "abcd"}).assign(y=rng.integers(0, 2, 2000))
    assert not standing(table, "y", part=["train"] * 1500 + ["test"] * 500)


def test_a_file_sorted_by_its_label_is_told_by_its_number():
    table, bad, _ = people(1000)
    table = table.assign(bad=bad).sort_values("bad", ignore_index=True).assign(number=range(1000))
    assert standing(table, "bad") == {"identifier:number"}


@pytest.mark.parametrize("target, error, words", [
    ([1] * 50, ContractError, "at least two different values"), ([None] * 50, ContractError, "0 different values"),
    ([f"u{i}" for i in range(50)], ContractError, "classes with ten rows"),
])
def test_targets_that_cannot_be_predicted_are_errors_in_words(target, error, words):
    with pytest.raises(error, match=words):
        audit_table(pd.DataFrame({"x": range(50), "y": target}), "y")


def test_a_table_of_one_column_is_an_error_in_words():
    with pytest.raises(ConfigError, match="one column or more beside y"):
        audit_table(pd.DataFrame({"y": [0, 1] * 30}), "y")


def test_odd_tables_get_an_answer():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    table = pd.DataFrame({"y": y, "mixed": pd.Series([1, "a", None, 2.5, True] * 60, dtype=object), "gone": [None] * 300, "lists": [[1]] * 300,
                          "infinite": np.where(rng.random(300) < 0.1, np.inf, 1.0), "whole": pd.array([1, None] * 150, dtype="Int64"),
                          "zone": pd.date_range("2020", periods=300, tz="Europe/Berlin"), "yes": pd.array([True, None] * 150, dtype="boolean"),
                          "kind": pd.Categorical(rng.choice(list("ab"), 300)), "length": pd.to_timedelta(rng.integers(0, 9, 300), unit="h")})
    assert not audit_table(table, "y").standing
    assert not audit_table(table.assign(y=["a"] * 150 + ["b"] * 149 + ["c"]).drop(columns="zone").sample(frac=1, random_state=0), "y").standing
    assert audit_table(table.iloc[:2].assign(y=[0, 1]), "y").fall.empty


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_small_table_gets_an_answer_or_an_error_of_ours(data):
    n = data.draw(st.integers(1, 60))
    values = st.one_of(st.none(), st.integers(-3, 3), st.floats(allow_nan=True), st.sampled_from(["a", "b", "", "2024-01-01"]), st.booleans())
    table = pd.DataFrame({name: pd.Series(data.draw(st.lists(values, min_size=n, max_size=n)), dtype=object) for name in ("a", "b", "y")})
    try:
        audit_table(table, "y")
    except MlsysError as error:
        assert str(error)


def test_the_same_table_gives_the_same_audit():
    table, bad, rng = people(2000)
    table = table.assign(bad=bad)
    first, second = audit_table(table, "bad"), audit_table(table, "bad")
    assert first.findings == second.findings and first.fall.equals(second.fall)

"""Labelling functions: what they may give, and what is said when they give something else."""

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.labels.analysis import analyse_votes, wilson_interval
from mlsys.labels.function import (
    apply_functions,
    labelling_function,
    load_functions,
    match_function,
    sql_functions,
)
from mlsys.labels.pattern import cut_columns, find_patterns, make_units

TABLE = pd.DataFrame({"text": ["Buy now", "hello", None], "n": [1, 2, 3], "default": [True, False, True]}, index=[7, 8, 9])


@pytest.mark.parametrize(
    ("given", "votes"),
    [
        (np.array([0, 1, -1]), [0, 1, -1]),
        ([1, 1, 0], [1, 1, 0]),
        (np.array([True, False, True]), [1, 0, 1]),
        (pd.Series([1, None, 0], dtype="Int64", index=TABLE.index), [1, -1, 0]),
        (pd.Series([True, None, False], dtype="boolean", index=TABLE.index), [1, -1, 0]),
        (pd.Series([1, None, 0], dtype="object", index=TABLE.index), [1, -1, 0]),
        (np.array([1, 2, 0], dtype="uint8"), [1, 2, 0]),
        ([None, None, None], [-1, -1, -1]),
        (np.array([np.nan] * 3), [-1, -1, -1]),
    ],
)
def test_what_a_function_may_give(given, votes):
    assert labelling_function(lambda table: given, name="f")(TABLE).tolist() == votes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.array([0.2, 0.9, 0.1]), "values of type float64"),
        (np.array([0.0, np.nan, 1.0]), "pd.NA"),
        ([0, 1], "2 votes"),
        (np.array([[0], [1], [0]]), "shape (3, 1)"),
        (np.array([0, -2, 0]), "received -2"),
        (np.array([0, 500, 0]), "received 500"),
        (["spam", "ham", "spam"], "whole numbers or a condition"),
        (None, "is there a return?"),
        (1, "shape ()"),
        (pd.Series([0, 1, 0], index=[9, 8, 7]), "another order"),
    ],
)
def test_what_is_no_vote_names_the_function(given, words):
    with pytest.raises(ConfigError) as caught:
        labelling_function(lambda table: given, name="rule_of_thumb")(TABLE)
    assert "labelling function rule_of_thumb" in str(caught.value) and words in str(caught.value)


def test_an_exception_names_function_and_column_but_no_value():
    @labelling_function
    def wrong_column(table):
        return table["txt"] == "x"

    @labelling_function
    def wrong_value(table):
        return table["text"].astype("int64")

    with pytest.raises(ConfigError, match=r"wrong_column.*KeyError: 'txt' \(line \d+"):
        wrong_column(TABLE)
    with pytest.raises(ConfigError, match="wrong_value.*Error") as caught:
        wrong_value(TABLE)
    assert "Buy now" not in str(caught.value)


def test_a_function_cannot_change_the_table():
    @labelling_function
    def careless(table):
        table["n"] = 0
        return table["n"]

    before = TABLE.copy()
    careless(TABLE)
    pd.testing.assert_frame_equal(TABLE, before)


def test_one_call_for_a_table():
    calls = []

    @labelling_function(votes_for=2, name="counted")
    def counts(table):
        calls.append(len(table))
        return table["n"] > 1

    assert apply_functions([counts], TABLE, 3).ravel().tolist() == [-1, 2, 2] and calls == [3]
    assert apply_functions([counts], TABLE.head(0)).shape == (0, 1)


@pytest.mark.parametrize(
    ("functions", "words"),
    [([], "one labelling function or more"), ([len], "Put @labelling_function"), ([match_function("text", "a", 1, "x")] * 2, "names that occur once")],
)
def test_what_cannot_be_applied(functions, words):
    with pytest.raises(ConfigError, match=words):
        apply_functions(functions, TABLE)


def test_a_class_outside_the_range_is_named():
    with pytest.raises(ConfigError, match="labelling function late.*received 3"):
        apply_functions([match_function("text", "now", 3, "late")], TABLE, n_classes=2)


def test_words():
    buys = match_function("text", ["buy", "sell."], 1)
    assert buys(TABLE).tolist() == [1, -1, -1] and "buy" in buys.name
    assert match_function("text", "BUY", 1, ignore_case=False)(TABLE).tolist() == [-1, -1, -1]
    with pytest.raises(ConfigError, match="regular expression"):
        match_function("text", "(", 1)
    with pytest.raises(ConfigError, match="at least one word"):
        match_function("text", [], 1)
    with pytest.raises(ConfigError, match="KeyError: 'body'"):
        match_function("body", "x", 1)(TABLE)


def test_sql():
    made = sql_functions(["long = CASE WHEN length(text) > 5 THEN 'spam' WHEN n = 2 THEN 'ham' END", "paid = \"default\""], ["ham", "spam", "true", "false"])
    assert apply_functions(made, TABLE).tolist() == [[1, 2], [0, 3], [-1, 2]]
    for line, words in (("no equals sign", "name = SQL expression"), ("f = nonsense(", "labels.functions"), ("f = text", "rows with another value"), ("f = (SELECT 1; SELECT 2)", "labels.functions")):
        with pytest.raises(ConfigError) as caught:
            apply_functions(sql_functions([line], ["ham", "spam"]), TABLE)
        assert words in str(caught.value) and "hello" not in str(caught.value)


def test_a_module_of_functions(tmp_path, monkeypatch):
    (tmp_path / "my_rules.py").write_text("from mlsys.labels.function import labelling_function\n\n@labelling_function\ndef b(t):\n    return t['n'] * 0\n\n@labelling_function\ndef a(t):\n    return t['n'] * 0\n")
    (tmp_path / "my_broken_rules.py").write_text("1 / 0\n")
    (tmp_path / "my_empty_rules.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert [function.name for function in load_functions("my_rules")] == ["b", "a"]
    for name, words in (("my_broken_rules", "ZeroDivisionError"), ("my_empty_rules", "Put @labelling_function"), ("my_missing_rules", "exported")):
        with pytest.raises(ConfigError, match=words):
            load_functions(name)
    for name in ("my_rules", "my_empty_rules"):
        sys.modules.pop(name, None)


def test_the_analysis_counts_what_it_says():
    votes = np.array([[0, 0, -1], [1, 0, -1], [-1, -1, -1], [1, -1, -1]])
    table = analyse_votes(votes, 2, gold=[0, 1, 0, -1])
    assert table["coverage"].tolist() == [0.75, 0.5, 0] and table["overlap"].tolist() == [0.5, 0.5, 0]
    assert table["conflict"].tolist() == [0.25, 0.25, 0] and table["polarity"].tolist() == [[0, 1], [0], []]
    assert table["gold_votes"].tolist() == [2, 2, 0] and table["right"].tolist() == [2, 1, 0] and np.isnan(table["accuracy"].iloc[2])
    assert (table["low"] <= table["accuracy"]).iloc[:2].all() and list(analyse_votes(pd.DataFrame({"a": [0], "b": [1]}), 2).index) == ["a", "b"]
    with pytest.raises(ConfigError, match="one for each of the 4 rows"):
        analyse_votes(votes, 2, gold=[0])
    with pytest.raises(ConfigError, match="one name for each"):
        analyse_votes(votes, 2, names=["a"])


def test_wilson_is_what_the_textbook_says():
    low, high = wilson_interval(np.array([0, 8, 10]), 10)
    assert np.allclose(low, [0, 0.4902, 0.7225], atol=1e-3) and np.allclose(high, [0.2775, 0.9433, 1], atol=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4).flatmap(lambda k: st.tuples(st.just(k), st.lists(st.lists(st.integers(-1, k - 1), min_size=9, max_size=9), min_size=1, max_size=30))))
def test_patterns_and_units_lose_nothing(drawn):
    n_classes, rows = drawn
    votes = np.array(rows)
    patterns = find_patterns(votes, n_classes, with_inverse=True)
    assert (patterns.symbols[patterns.inverse].astype(int) - 1 == votes).all() and patterns.counts.sum() == len(votes)
    assert len(np.unique(votes, axis=0)) == len(patterns.counts) == len(find_patterns(votes, n_classes).counts)
    for unit in make_units(patterns.symbols, [*cut_columns(range(9), n_classes + 1, 10_000), range(9)], n_classes + 1):
        assert (unit.table[unit.code].reshape(len(patterns.counts), -1, n_classes + 1).argmax(2) == patterns.symbols[:, unit.members]).all()

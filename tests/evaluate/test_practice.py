"""Today's rule: a condition in SQL that decides rows, and sees everything but the truth."""

import numpy as np
import pandas as pd
import pytest

from mlsys.core import ConfigError
from mlsys.data.roles import Roles
from mlsys.evaluate.practice import dependent_rows, practice_decisions

TABLE = pd.DataFrame({
    "income": [10.0, None, 30.0, 40.0], "city": pd.Series(["a", "b", None, "a"], dtype="str"), "late": [True, False, True, False], "bad": [1, 0, 0, 1],
})  # fmt: skip
BINARY = Roles("bad", "yes", "no", numeric=["income"], categorical=["city", "late"])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("income < 20", [1, 0, 0, 0]),
        ("city = 'a' AND income >= 10", [1, 0, 0, 1]),
        ("city = 'a' OR income IS NULL", [1, 1, 0, 1]),
        ("late", [1, 0, 1, 0]),
        ("true", [1, 1, 1, 1]),
        ("false", [0, 0, 0, 0]),
        ("NULL", [0, 0, 0, 0]),
        ("CASE WHEN late THEN income > 20 END", [0, 0, 1, 0]),
        ("income > 5 -- a comment", [1, 0, 1, 1]),
    ],
)
def test_a_condition_decides(rule, expected):
    decisions = practice_decisions(rule, TABLE, BINARY)
    assert decisions.tolist() == expected and decisions.dtype == np.int8


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("bad = 1", "objective.plain_rule"),
        ("incme < 20", "income"),
        ("income", "a condition, true or false in each row; it gives DOUBLE"),
        ("city", "it gives VARCHAR"),
        ("income <", "objective.plain_rule"),
        ("true), (false", "objective.plain_rule"),
        ("sum(income) > 3", "one expression"),
        ("income > 3 FROM source; DROP TABLE source; --", "objective.plain_rule"),
        ("read_text('/etc/hostname') IS NOT NULL", "objective.plain_rule"),
    ],
)
def test_what_is_no_condition_on_the_columns_is_refused(rule, words):
    with pytest.raises(ConfigError) as caught:
        practice_decisions(rule, TABLE, BINARY)
    assert words in str(caught.value) and "objective.plain_rule" in str(caught.value)


def test_classes_and_quantities():
    classes = Roles("bad", "", "", numeric=["income"], problem="multiclass", classes=["lo", "mid", "hi"])
    rule = "CASE WHEN income > 35 THEN 'hi' WHEN income > 20 THEN 'mid' ELSE 'lo' END"
    assert practice_decisions(rule, TABLE, classes).tolist() == [0, 0, 1, 2]
    with pytest.raises(ConfigError, match="Did you mean mid"):
        practice_decisions("'midd'", TABLE, classes)
    quantity = Roles("bad", "", "", numeric=["income"], problem="regression")
    assert practice_decisions("coalesce(income, 0) + 1", TABLE, quantity).tolist() == [11, 1, 31, 41]
    for words, rule in (("1 of 4 have none", "income"), ("an expression that gives numbers", "coalesce(city, 'x')")):
        with pytest.raises(ConfigError, match=words):
            practice_decisions(rule, TABLE, quantity)


def test_rows_that_belong_together():
    rows = 90
    table = pd.DataFrame({"who": np.arange(rows) // 3, "day": pd.date_range("2024-01-01", periods=rows)[::-1], "y": 0})
    units = dependent_rows(table, Roles("y", "1", "0", time="day", group="who"))
    assert set(units) == {"who", "stretches of time"}
    assert len(set(units["who"])) == 30 and len(set(units["stretches of time"])) == 30
    assert units["stretches of time"][0] == 29  # the latest row stands first
    ordered = dependent_rows(table, Roles("y", "1", "0", rows_in_time_order=True))
    assert ordered["stretches of time"][0] == 0
    assert dependent_rows(table, Roles("y", "1", "0")) == {}

"""An expression means the same as a Python function and in every engine: random trees over random rows."""

import functools
import math
import os
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.features.expression import (
    compile_expression,
    compile_expressions,
    derived_sql,
    expression_sql,
    expression_types,
    inputs,
    order_expressions,
)
from mlsys.features.formula import MOST_LEVELS, parse_formula
from mlsys.features.view import Column, Expression, FeatureView

TYPES = {"a": "DOUBLE", "b": "DOUBLE", "n": "BIGINT", "m": "INTEGER", "s": "VARCHAR", "t": "VARCHAR", "f": "BOOLEAN",
         "g": "BOOLEAN", "v": "TIMESTAMP", "w": "TIMESTAMP"}  # fmt: skip
KINDS = {"number": "abnm", "text": "st", "bool": "fg", "time": "vw"}

numbers = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 1e-300, 1e300, math.nan, math.inf, -math.inf, 2.0**53]),
    st.integers(-20, 20).map(lambda value: value / 4),
    st.floats(-1e6, 1e6),
)
texts = st.none() | st.text("aBcÄß é'\\%0123.-e+ \n", max_size=6) | st.sampled_from(["true", "No", "12", " -1.5e2 ", "1e5", "3\n", "yes", "Σσς"])
moments = st.none() | st.datetimes(datetime(1901, 1, 1), datetime(2100, 1, 1))
rows = st.fixed_dictionaries({
    "a": numbers, "b": numbers, "n": st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), "m": st.none() | st.integers(-9, 9),
    "s": texts, "t": texts, "f": st.none() | st.booleans(), "g": st.none() | st.booleans(), "v": moments, "w": moments,
})  # fmt: skip

LITERALS = {
    "number": ["0", "1", "2.5", "-3", "0.1", "1e-7", "1234567.25", "7", "NULL"],
    "text": ["''", "'a'", "'It''s'", "'12'", "'\\'", "NULL"],
    "bool": ["TRUE", "FALSE", "NULL"],
    "time": ["TIMESTAMP '2024-02-29 23:59:59.5'", "DATE '1969-12-31'", "TIMESTAMP '2024-01-01 00:30:00+02:00'"],
}
EXACT = ["{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} / {1}", "{0} % {1}", "-{0}", "ABS({0})", "SQRT({0})", "FLOOR({0})", "CEIL({0})",
         "ROUND({0})", "ROUND({0}, 2)", "ROUND({0}, -1)", "CAST({0} AS INTEGER)", "CAST({0} AS DOUBLE)"]  # fmt: skip
INEXACT = ["LN({0})", "LOG2({0})", "LOG10({0})", "EXP({0})", "POWER({0}, {1})", "{0} ^ 2"]
PARTS = ["YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "DAYOFWEEK", "EPOCH"]


@functools.cache
def trees(kind, depth, inexact=True):
    """SQL expressions of a kind, at most DEPTH operations within each other."""
    leaf = st.sampled_from([*KINDS[kind], *KINDS[kind], *LITERALS[kind]])
    if depth == 0:
        return leaf

    def sub(other):
        return trees(other, depth - 1, inexact)

    def fill(templates, *kinds):
        return st.tuples(st.sampled_from(templates), *map(sub, kinds)).map(
            lambda drawn: drawn[0].format(*[f"({item})" for item in drawn[1:]]))

    chosen = fill(["COALESCE({0}, {1})", "NULLIF({0}, {1})", "GREATEST({0}, {1})", "LEAST({0}, {1}, {0})"], kind, kind)
    case = fill(["CASE WHEN {0} THEN {1} END", "CASE WHEN {0} THEN {1} ELSE {2} END", "IF({0}, {2}, {1})"], "bool", kind, kind)
    options = [leaf, chosen, case]
    if kind == "number":
        options += [fill(EXACT, "number", "number")] * 3
        options += [fill(["LENGTH({0})", "CAST({0} AS DOUBLE)", "CAST({0} AS INTEGER)"], "text"), fill(["CAST({0} AS DOUBLE)"], "bool")]
        options += [fill([f"{part}({{0}})" for part in PARTS], "time"), fill(["CASE {0} WHEN {1} THEN 1 ELSE 0 END"], "text", "text")]
        options += [fill(INEXACT, "number", "number")] if inexact else []
    elif kind == "time":
        options += [fill(["{0} + INTERVAL '90' MINUTE", "{0} - INTERVAL 1 WEEK", "{0} - INTERVAL '1' SECOND"], "time")]
    elif kind == "text":
        options += [fill(["LOWER({0})", "UPPER({0})", "{0} || {1}", "CONCAT({0}, {1})"], "text", "text")]
        options += [fill(["CAST(CAST({0} AS INTEGER) AS TEXT)"], "number"), fill(["CAST({0} AS TEXT)"], "bool")]
    elif kind == "bool":
        compare = ["{0} = {1}", "{0} <> {1}", "{0} < {1}", "{0} <= {1}", "{0} > {1}", "{0} >= {1}", "{0} IN ({1}, {2})", "{0} NOT IN ({1}, NULL)",
                   "{0} BETWEEN {1} AND {2}", "{0} NOT BETWEEN {1} AND {2}", "{0} IS NULL", "{0} IS NOT NULL"]  # fmt: skip
        options += [fill(compare, other, other, other) for other in ("number", "text", "time")]
        options += [fill(["{0} AND {1}", "{0} OR {1}", "NOT {0}", "{0} IS TRUE", "{0} IS NOT FALSE", "{0} = {1}", "{0} > 0.5"], "bool", "bool")] * 2
        options += [fill(["CAST({0} AS BOOLEAN)"], "number"), fill(["CAST({0} AS BOOLEAN)"], "text")]
    return st.one_of(options)


def table_of(drawn):
    """The rows as an Arrow table of the types above."""
    import pyarrow as pa

    types = {"DOUBLE": pa.float64(), "BIGINT": pa.int64(), "INTEGER": pa.int32(), "VARCHAR": pa.string(), "BOOLEAN": pa.bool_(), "TIMESTAMP": pa.timestamp("us")}
    return pa.table({name: pa.array([row[name] for row in drawn], types[kind]) for name, kind in TYPES.items()})


def through_duckdb(table, statements):
    """The values of SQL expressions by row, from DuckDB."""
    import duckdb

    connection = duckdb.connect()
    connection.register("given", table)
    names = ", ".join(f"{sql} AS x{i}" for i, sql in enumerate(statements))
    return connection.execute(f"SELECT {names} FROM given").fetchall()


def through_spark(table, statements):
    """The values of SQL expressions by row, from Spark in this process, with ANSI mode on."""
    from pyspark.sql import SparkSession
    from pyspark.sql.types import (
        BooleanType,
        DoubleType,
        IntegerType,
        LongType,
        StringType,
        StructField,
        StructType,
        TimestampNTZType,
    )

    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.sql.session.timeZone", "UTC").config(
        "spark.sql.shuffle.partitions", "1").getOrCreate()  # fmt: skip
    kinds = {"DOUBLE": DoubleType(), "BIGINT": LongType(), "INTEGER": IntegerType(), "VARCHAR": StringType(), "BOOLEAN": BooleanType(), "TIMESTAMP": TimestampNTZType()}
    frame = spark.createDataFrame([tuple(row.values()) for row in table.to_pylist()], StructType([StructField(name, kinds[kind]) for name, kind in TYPES.items()]))
    return [tuple(row) for row in frame.coalesce(1).selectExpr(*[f"{sql} AS x{i}" for i, sql in enumerate(statements)]).collect()]


ENGINES = {"duckdb": through_duckdb, "spark": through_spark}


@pytest.fixture(params=ENGINES)
def engine(request):
    """An engine's name; Spark where it is asked for, since it takes half a minute to start."""
    if request.param == "spark" and not os.environ.get("MLSYS_SPARK"):
        pytest.skip("MLSYS_SPARK is not set: Spark is not started")
    return request.param


def alike(one, other):
    """Whether two results are the same value of the same kind."""
    if one is None or other is None or isinstance(one, (bool, str)):
        return type(one) is type(other) and one == other
    return isinstance(other, float) and math.isclose(one, other, rel_tol=1e-12, abs_tol=0.0)


def check(engine, sql, drawn):
    """Compare the function with the engine, on every row."""
    if sql_kind(sql) is None:
        return
    found = ENGINES[engine](table_of(drawn), [expression_sql(sql, engine, TYPES)])
    function = compile_expression(sql, TYPES)
    for row, (value,) in zip(drawn, found, strict=True):
        assert alike(function(row), value), (sql, expression_sql(sql, engine, TYPES), row, function(row), value)


def sql_kind(sql):
    """The type of an expression's result; None where a bare NULL leaves two kinds side by side."""
    try:
        return expression_types([Expression("x", sql)], TYPES)["x"]
    except ConfigError:
        return None


def test_every_tree_means_the_same(engine):
    n_examples = 120 if engine == "duckdb" else 80

    @settings(max_examples=n_examples, deadline=None)
    @given(st.sampled_from(["number", "text", "bool"]).flatmap(lambda kind: trees(kind, 3, engine == "duckdb")), st.lists(rows, min_size=1, max_size=6))
    def run(sql, drawn):
        check(engine, sql, drawn)

    run()


def test_functions_of_plain_columns_mean_the_same(engine):
    """Logarithms, powers and the like, whose last digit differs from library to library, where nothing magnifies the difference."""
    statements = [template.format(*names) for template in [*EXACT, *INEXACT] for names in (("a", "b"), ("n", "a"), ("b", "m"))]

    @settings(max_examples=150 if engine == "duckdb" else 30, deadline=None)
    @given(st.lists(rows, min_size=4, max_size=12))
    def run(drawn):
        found = ENGINES[engine](table_of(drawn), [expression_sql(sql, engine, TYPES) for sql in statements])
        functions = [compile_expression(sql, TYPES) for sql in statements]
        for row, values in zip(drawn, found, strict=True):
            for sql, function, value in zip(statements, functions, values, strict=True):
                assert alike(function(row), value), (sql, row, function(row), value)

    run()


SETTLED = [  # expression, row, value
    ("1 / 2", {}, 0.5),
    ("n / 2", {"n": 1}, 0.5),
    ("n * n", {"n": 2**62}, 2.0**124),
    ("a / 0", {"a": 1.0}, None),
    ("a % 0", {"a": 1.0}, None),
    ("LN(a)", {"a": 0.0}, None),
    ("SQRT(a)", {"a": -1.0}, None),
    ("SQRT(a)", {"a": 0.0}, 0.0),
    ("EXP(a)", {"a": 1e4}, None),
    ("1 / EXP(a)", {"a": 1e4}, 0.0),
    ("POWER(a, 0)", {"a": math.nan}, None),
    ("POWER(a, b)", {"a": -8.0, "b": 1 / 3}, None),
    ("a - a IS NULL", {"a": math.inf}, True),
    ("COALESCE(a, 7)", {"a": math.nan}, 7.0),
    ("a > 3", {"a": math.nan}, None),
    ("a = b", {"a": 0.0, "b": -0.0}, True),
    ("GREATEST(a, b)", {"a": None, "b": 2.0}, 2.0),
    ("LEAST(a, b)", {"a": math.nan, "b": 2.0}, 2.0),
    ("GREATEST(a, b)", {"a": None, "b": None}, None),
    ("ROUND(a)", {"a": -2.5}, -3.0),
    ("ROUND(a)", {"a": 0.49999999999999994}, 0.0),
    ("ROUND(a, -2)", {"a": 150.0}, 200.0),
    ("CAST(a AS INTEGER)", {"a": 2.5}, 3.0),
    ("FLOOR(a)", {"a": 1e30}, 1e30),
    ("CAST(CAST(a AS INTEGER) AS TEXT)", {"a": 1e19}, None),
    ("CAST(n AS TEXT)", {"n": 7}, "7"),
    ("CAST(n AS TEXT)", {"n": 2**63 - 1}, "9223372036854775807"),
    ("CAST(s AS DOUBLE)", {"s": "1_000"}, None),
    ("CAST(s AS DOUBLE)", {"s": "3\n"}, None),
    ("CAST(s AS DOUBLE)", {"s": " +.5e1 "}, 5.0),
    ("CAST(s AS BOOLEAN)", {"s": "maybe"}, None),
    ("CAST(f AS TEXT)", {"f": True}, "true"),
    ("f + f", {"f": True}, 2.0),
    ("f AND g", {"f": False, "g": None}, False),
    ("f OR g", {"f": False, "g": None}, None),
    ("a IN (1, NULL)", {"a": 2.0}, None),
    ("a NOT IN (1, NULL)", {"a": 1.0}, False),
    ("s || t", {"s": "x", "t": None}, None),
    ("CONCAT(s, t)", {"s": "x", "t": None}, "x"),
    ("LENGTH(s)", {"s": "Äß"}, 2.0),
    ("UPPER(s)", {"s": "straße"}, "STRAẞE"),
    ("LOWER(s)", {"s": "ΑΣ"}, "ασ"),
    ("s < t", {"s": "Z", "t": "a"}, True),
    ("HOUR(v)", {"v": datetime(1969, 12, 31, 23, 30)}, 23.0),
    ("DAYOFWEEK(v)", {"v": datetime(2024, 1, 7)}, 0.0),
    ("EPOCH(v) - EPOCH(w)", {"v": datetime(2024, 1, 2), "w": datetime(2024, 1, 1, 23, 59, 59, 500_000)}, 0.5),
    ("EPOCH(v + INTERVAL '1 day') - EPOCH(v)", {"v": datetime(2024, 2, 28)}, 86_400.0),
    ("DAY(v - INTERVAL 1 SECOND)", {"v": datetime(2024, 3, 1)}, 29.0),
    ("v >= TIMESTAMP '2024-01-01 01:00+01:00'", {"v": datetime(2024, 1, 1)}, True),
    ("CASE WHEN a > 1 THEN 1 ELSE 0 END", {"a": None}, 0.0),
    ("CASE s WHEN 'x' THEN 0.5 END", {"s": "y"}, None),
    ("NULL", {}, None),
    ("3", {}, 3.0),
    ("0.1 + 0.2", {}, 0.1 + 0.2),
    ("- -a", {"a": 2.0}, 2.0),
    ("a - (b - 1) - -1", {"a": 1.0, "b": 2.0}, 1.0),
    ("a / (b * 2)", {"a": 1.0, "b": 2.0}, 0.25),
    ("NOT (f OR g)", {"f": False, "g": False}, True),
    ("(f AND g) = f", {"f": True, "g": True}, True),
]


def test_the_stated_meaning(engine):
    """Each line of the meaning that the notebook states."""
    blank = dict.fromkeys(TYPES)
    drawn = [blank | row for _, row, _ in SETTLED]
    found = ENGINES[engine](table_of(drawn), [expression_sql(sql, engine, TYPES) for sql, _, _ in SETTLED])
    for i, (sql, row, value) in enumerate(SETTLED):
        assert alike(compile_expression(sql, TYPES)(blank | row), value), (sql, row)
        assert alike(found[i][i], value), (sql, row, found[i][i])


def test_sqlglot_does_not_change_the_meaning():
    """The SQL can be put into a statement that sqlglot writes anew."""
    import sqlglot

    blank = dict.fromkeys(TYPES)
    table = table_of([blank | row for _, row, _ in SETTLED])
    again = [sqlglot.parse_one(expression_sql(sql, "duckdb", TYPES), read="duckdb").sql("duckdb") for sql, _, _ in SETTLED]
    for i, values in enumerate(through_duckdb(table, again)):
        assert alike(values[i], SETTLED[i][2]), (again[i], values[i])


def test_without_types_the_use_decides():
    """Columns of unknown type are converted, and what cannot be is empty."""
    sql = "CASE WHEN flag AND LOWER(place) = 'fr' THEN amount * 2 ELSE HOUR(at) END"
    import duckdb

    source = "(SELECT '3' AS amount, 1 AS flag, 'FR' AS place, TIMESTAMPTZ '2024-01-01 01:00:00+01' AS at)"
    assert duckdb.execute(f"SELECT {expression_sql(sql)} FROM {source}").fetchone() == (6.0,)
    assert compile_expression(sql)({"amount": 3, "flag": 1, "place": "FR", "at": None}) == 6.0


def test_a_time_with_a_zone_counts_in_utc():
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'Asia/Tokyo'")
    query = "SELECT {} FROM (SELECT TIMESTAMPTZ '2024-01-01 01:30:00+02' AS at)"
    for types in (None, {"at": "TIMESTAMP WITH TIME ZONE"}):
        assert connection.execute(query.format(expression_sql("HOUR(at)", types=types))).fetchone() == (23.0,)
    moment = datetime(2023, 12, 31, 23, 30, tzinfo=UTC)
    for value in (moment, pd.Timestamp(moment).tz_convert("Asia/Tokyo"), np.datetime64("2023-12-31T23:30"), moment.replace(tzinfo=None)):
        assert compile_expression("HOUR(at)")({"at": value}) == 23.0


def test_every_way_of_saying_nothing_is_empty():
    function = compile_expression("COALESCE(a, -1)")
    for value in (None, math.nan, np.nan, np.float32("nan"), pd.NA, pd.NaT):
        assert function({"a": value}) == -1.0
    assert compile_expression("HOUR(v) IS NULL")({"v": np.datetime64("NaT")}) is True
    assert compile_expression("s IS NULL OR s = ''", {"s": "VARCHAR"})({"s": math.nan}) is True


def test_numbers_of_every_library_are_numbers():
    from decimal import Decimal
    from fractions import Fraction

    function = compile_expression("a * 2")
    for value in (3, 3.0, np.int16(3), np.float32(3), np.uint64(3), Decimal("3"), Fraction(3)):
        assert function({"a": value}) == 6.0
    assert function({"a": True}) == function({"a": np.bool_(True)}) == 2.0


def test_a_value_of_the_wrong_kind_is_named_and_not_shown():
    with pytest.raises(ConfigError, match="expression ratio, column a: received 'str'; allowed: a number") as caught:
        compile_expression(Expression("ratio", "a / 2"))({"a": "4711-secret"})
    assert "4711" not in str(caught.value)
    with pytest.raises(ConfigError, match="Did you mean amuont"):
        compile_expression("amount / 2")({"amuont": 1.0})


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SUM(a)", "An expression sees one row"),
        ("SUM(a) OVER (PARTITION BY b)", "An expression sees one row"),
        ("(SELECT 1)", "no tables"),
        ("a IN (SELECT b FROM t)", "allowed: columns"),
        ("EXISTS (SELECT 1)", "allowed: columns"),
        ("read_csv('x.csv')", "allowed: columns"),
        ("SQRTT(a)", "Did you mean SQRT"),
        ("LOG(a)", "write LN, LOG2 or LOG10"),
        ("LOG(3, a)", "write LN, LOG2 or LOG10"),
        ("t.a", "Name the column alone"),
        ("a AS b", "allowed: columns"),
        ("a // 2", "allowed: columns"),
        ("a LIKE 'x%'", "allowed: columns"),
        ("a; b", "one SQL expression"),
        ("", "one SQL expression"),
        ("a +", "can be read"),
        ("a 'b", "can be read"),
        ("*", "allowed: columns"),
        ("a[1]", "allowed: columns"),
        ("CAST(a AS DATE)", "CAST goes to DOUBLE"),
        ("CAST(a AS DECIMAL(3, 1))", "CAST goes to DOUBLE"),
        ("ROUND(a, n)", "digits of ROUND"),
        ("ROUND(a, 99)", "digits of ROUND"),
        ("EXTRACT(century FROM v)", "year"),
        ("TIMESTAMP 'soon'", "a time such as"),
        ("9007199254740993", "double precision keeps"),
        ("1e999", "double precision keeps"),
        ("$1", "allowed: columns"),
        ("INTERVAL 1 DAY", "allowed: columns"),
        ("v + INTERVAL 1 MONTH", "a distance in time"),
        ("v + INTERVAL (n) DAY", "a distance in time"),
        ("UPDATE t SET a = 1", "allowed: columns"),
        ("(" * 4000 + "a" + ")" * 4000, "Part it into several"),
        ("-(" * (MOST_LEVELS + 1) + "a" + ")" * (MOST_LEVELS + 1), "Part it into several"),
        ("+".join(["a"] * 1100), "Part it into several"),
        ("a" * 30_000, "20,000 letters"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_named(sql, words):
    with pytest.raises(ConfigError) as caught:
        parse_formula(sql, "expression x")
    assert words in str(caught.value) and str(caught.value).startswith("expression x")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("a + s", "CAST(s AS DOUBLE)"),
        ("a AND f", "Write a <> 0"),
        ("v - w", "EPOCH(v)"),
        ("a = s", "values of one kind"),
        ("COALESCE(a, 'none')", "values of one kind"),
        ("CASE WHEN f THEN a ELSE s END", "values of one kind"),
        ("LENGTH(a)", "CAST(CAST(a AS INTEGER) AS TEXT)"),
        ("CAST(a AS TEXT)", "Every engine writes decimals"),
        ("HOUR(s)", "allowed: a time"),
        ("v", "EPOCH"),
        ("o + 1", "numbers, texts, flags and times"),
    ],
)
def test_what_does_not_fit_is_named(sql, words):
    with pytest.raises(ConfigError) as caught:
        compile_expression(Expression("x", sql), TYPES | {"o": "STRUCT(x INTEGER)"})
    assert words in str(caught.value)


def test_a_default_stands_in_where_the_result_is_empty(engine):
    blank = dict.fromkeys(TYPES)
    for sql, default, value in (("a / b", -1, -1.0), ("LOWER(s)", "it's \\", "it's \\"), ("f", False, False)):
        expression = Expression("x", sql, default)
        assert compile_expression(expression, TYPES)(blank) == value
        assert ENGINES[engine](table_of([blank]), [expression_sql(expression, engine, TYPES)]) == [(value,)]
    for sql, default in (("a / b", "none"), ("LOWER(s)", 0), ("f", 0.5), ("a", math.inf)):
        with pytest.raises(ConfigError, match="default"):
            compile_expression(Expression("x", sql, default), TYPES)


def test_names_are_taken_as_written():
    import duckdb

    sql = '"Amount (EUR)" / "select" + "a""b"'
    assert inputs(sql) == ("Amount (EUR)", "select", 'a"b')
    source = '(SELECT 6 AS "Amount (EUR)", 2 AS "select", 1 AS "a""b")'
    assert duckdb.execute(f"SELECT {expression_sql(sql)} FROM {source}").fetchone() == (4.0,)
    assert "`Amount (EUR)`" in expression_sql(sql, "spark")


@given(st.permutations(["e", "d", "c", "b"]), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_expressions_are_computed_in_the_order_they_need(order, start):
    texts = {"b": "a + 1", "c": "b * 2 + a", "d": "CASE WHEN c > b THEN c - b END", "e": "d + c + b"}
    expressions = [Expression(name, texts[name]) for name in order]
    assert [item.name for item in order_expressions(expressions, ["a"])] == ["b", "c", "d", "e"]
    b = start + 1.0
    c = b * 2 + start
    wanted = {"b": b, "c": c, "d": c - b, "e": c - b + c + b}
    assert compile_expressions(expressions)({"a": start}) == {name: wanted[name] for name in order}
    assert list(compile_expressions(expressions)({"a": start})) == order


def test_a_circle_is_shown():
    with pytest.raises(ConfigError, match="x -> y -> x"):
        order_expressions([Expression("z", "x"), Expression("x", "y + 1"), Expression("y", "x - 1")])
    with pytest.raises(ConfigError, match="x -> x"):
        order_expressions([Expression("x", "x + 1")])
    chain = [Expression(f"x{i}", f"x{i + 1} + 1") for i in range(3000)]
    assert order_expressions(chain, ["x3000"])[0].name == "x2999"


def test_an_unknown_name_has_its_nearest():
    with pytest.raises(ConfigError, match="Did you mean amount_mean_30d"):
        order_expressions([Expression("x", "amount_mean_3d + 1")], ["amount_mean_30d", "age"])


def test_text_that_would_explode_is_refused():
    sql = "a"
    for _ in range(30):
        sql = f"SQRT({sql})"
    with pytest.raises(ConfigError, match="letters of SQL"):
        expression_sql(sql)
    assert compile_expression(sql)({"a": 1.0}) == 1.0


def test_every_letter_changes_as_in_duckdb():
    import duckdb
    import pyarrow as pa

    letters = pa.table({"s": [chr(code) for code in range(1, 0x30000) if not 0xD800 <= code < 0xE000]})
    lower, upper = compile_expression("LOWER(s)"), compile_expression("UPPER(s)")
    found = duckdb.connect().register("letters", letters).execute("SELECT s, LOWER(s), UPPER(s) FROM letters").fetchall()
    assert [letter for letter, low, high in found if (low, high) != (lower({"s": letter}), upper({"s": letter}))] == []


VIEW = FeatureView("loans", "k", "v", [Column("a")], derive=["late = days > 3", "twice = days * 2", "fourfold = twice * 2", "known = v + INTERVAL '36 hours'"])


def test_derived_columns_are_the_same_in_python_and_in_sql():
    import duckdb

    schema = {"days": "DOUBLE", "v": "TIMESTAMP"}
    rows = [(1.0, datetime(2024, 2, 28, 12)), (math.nan, datetime(1969, 12, 31)), (None, None), (4.0, datetime(2024, 1, 1))]
    connection = duckdb.connect()
    connection.execute("CREATE TABLE loans (days DOUBLE, v TIMESTAMP)")
    connection.executemany("INSERT INTO loans VALUES (?, ?)", rows)
    found = connection.execute(f"SELECT late, twice, fourfold, EPOCH_US(known) FROM {derived_sql(VIEW, 'loans', schema)}").fetchall()
    function = compile_expressions(VIEW.derived, schema, may_be_time=True)
    assert [tuple(function(dict(zip(("days", "v"), row, strict=True))).values()) for row in rows] == found
    assert expression_types(VIEW.derived, schema, may_be_time=True) == {"late": "BOOLEAN", "twice": "DOUBLE", "fourfold": "DOUBLE", "known": "TIMESTAMP"}


def test_derived_columns_must_be_new_and_made_of_what_is_there():
    with pytest.raises(ConfigError, match="view loans, derive: received .'late'.; allowed: names that the source does not have"):
        derived_sql(VIEW, "loans", {"days": "DOUBLE", "v": "TIMESTAMP", "late": "BOOLEAN"})
    with pytest.raises(ConfigError, match="expression late, column: received 'days'.*Did you mean day"):
        derived_sql(VIEW, "loans", {"day": "DOUBLE", "v": "TIMESTAMP"})
    assert derived_sql(FeatureView("loans", "k", "v", [Column("a")]), "loans", {}) == "loans"


def test_categories_are_texts():
    import duckdb

    connection = duckdb.connect()
    connection.register("given", pd.DataFrame({"c": pd.Categorical(["a", None, "B"])}))
    types = {"c": dict((name, kind) for name, kind, *_ in connection.execute("DESCRIBE given").fetchall())["c"]}
    sql = expression_sql("COALESCE(UPPER(c), 'none') || LEAST(c, 'b')", types=types)
    assert connection.execute(f"SELECT {sql} FROM given").fetchall() == [("Aa",), ("noneb",), ("BB",)]


@pytest.mark.parametrize("name", ["INTEGER[]", "STRUCT(a INTEGER)", "TIME", "INTERVAL", "BLOB", "MAP(VARCHAR, INTEGER)", "UUID", "binary"])
def test_types_without_a_use_are_refused_only_where_they_are_used(name):
    with pytest.raises(ConfigError, match="column odd: received"):
        expression_sql("a + odd", types={"odd": name, "a": "DOUBLE"})
    assert expression_sql("a + 1", types={"odd": name, "a": "DOUBLE"})

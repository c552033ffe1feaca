"""Reading: every form that is promised, and every bad input with its error."""

import csv
import gzip
import io
import sqlite3
from datetime import timedelta
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError, ContractError, MlsysError
from mlsys.data.dialect import sniff_delimiter
from mlsys.data.query import derive_columns, plain_types, query_tables
from mlsys.data.source import missing_table, read_openml, read_source, read_tables, source_files
from mlsys.data.text import as_number, mark_missing, read_text

LOANS = "id,amount,region\n1,900,north\n2,4000,south\n3,2500,north\n"


# What is promised


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
def test_delimiters_are_found(write, delimiter):
    table, report = read_source(write(LOANS.replace(",", delimiter)))
    assert report["delimiter"] == delimiter
    assert table["amount"].tolist() == [900, 4000, 2500] and table.columns.tolist() == ["id", "amount", "region"]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\x85\u2028\u2029"), max_size=8),
                           min_size=3, max_size=3), min_size=1, max_size=20),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_what_the_standard_writer_writes_is_read_back(tmp_path_factory, rows, delimiter):
    rows = [[value.strip() for value in row] for row in rows]
    rows = [row for row in rows if not (row[0].startswith("|") and delimiter != "|")]
    if not rows:
        return
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["a", "b", "c"], *rows])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    table, report = read_text(path, delimiter=delimiter)
    assert len(table) == len(rows) == report["rows"]
    for position, name in enumerate("abc"):
        for value, row in zip(table[name], rows, strict=True):
            if pd.isna(value):
                assert row[position] == ""
            elif isinstance(value, str):
                assert value == row[position]
            else:
                assert float(value) == float(row[position])


def test_gzip_is_known_by_its_bytes_not_its_name(write):
    table, _ = read_source(write(gzip.compress(LOANS.encode(), mtime=0), "loans.csv"))
    assert len(table) == 3


def test_byte_order_mark_and_windows_lines(write):
    table, _ = read_source(write(b"\xef\xbb\xbf" + LOANS.replace("\n", "\r\n").encode()))
    assert table.columns[0] == "id" and table["region"].tolist() == ["north", "south", "north"]


def test_no_header_and_names_by_position(write):
    path = write("1 A11 3\n2 A12 4\n")
    assert read_source(path, has_header=False)[0].columns.tolist() == ["column_1", "column_2", "column_3"]
    assert read_source(path, has_header=False, columns=["a", "b", "c"])[0]["b"].tolist() == ["A11", "A12"]
    assert read_source(write(LOANS, "h.csv"), columns=["a", "b", "c"])[0].columns.tolist() == ["a", "b", "c"]


def test_missing_markers_are_counted_and_others_stay(write):
    table, report = read_source(write("a,b\n?,NA\n 3 ,x\n,y\n"), missing_values=["?"])
    assert report["missing"] == {"a": {"?": 1, "(empty)": 1}} and table["b"].tolist() == ["NA", "x", "y"] and table["a"][1] == 3.0
    assert missing_table({"all": report})["rows"].sum() == 2


def test_codes_stay_text():
    assert as_number(pd.Series(["007", "012"], dtype="str")).tolist() == ["007", "012"]
    assert as_number(pd.Series(["12345678901234567890"], dtype="str")).tolist() == ["12345678901234567890"]
    assert as_number(pd.Series(["1", "2"], dtype="str")).dtype == "int64"
    assert as_number(pd.Series(["1e3", "-.5"], dtype="str")).tolist() == [1000.0, -0.5]


@given(st.lists(st.floats(allow_nan=False, width=64), min_size=1, max_size=30))
def test_floats_survive_as_text(values):
    column = as_number(pd.Series([repr(value) for value in values], dtype="str"))
    assert column.tolist() == values


@settings(deadline=None)
@given(st.lists(st.integers(-10**17, 10**17), min_size=1, max_size=30))
def test_whole_numbers_survive_as_text(values):
    assert as_number(pd.Series([str(value) for value in values], dtype="str")).tolist() == values


@given(st.lists(st.sampled_from(["?", "NA", "", " ", "x", "1"]), min_size=1, max_size=40))
def test_missing_counts_add_up(values):
    marked, found = mark_missing(pd.DataFrame({"a": pd.Series(values, dtype="str")}), ["?"])
    assert sum(found.get("a", {}).values()) == marked["a"].isna().sum() == sum(value.strip() in ("?", "") for value in values)


def test_parquet_a_folder_and_a_pattern(tmp_path):
    for month in ("01", "02"):
        pd.DataFrame({"a": [int(month)], "b": ["x"]}).to_parquet(tmp_path / f"m{month}.parquet")
    (tmp_path / "notes.txt").write_text("not data\n")
    assert read_source(tmp_path)[0]["a"].tolist() == [1, 2], "a folder is its Parquet files"
    assert read_source(tmp_path / "m*.parquet")[0]["a"].tolist() == [1, 2]
    assert [file.name for file in source_files(tmp_path / "m0[1].parquet")] == ["m01.parquet"]


def test_parquet_types_become_plain(tmp_path):
    table = pd.DataFrame({
        "day": pd.to_datetime(["2024-01-01", None]).date, "money": [Decimal("1.50"), None], "kind": pd.Categorical(["a", None]),
        "zone": pd.to_datetime(["2024-01-01T12:00+02:00", None], utc=True), "flag": [True, None], "count": pd.array([1, None], dtype="Int64"),
    })
    table.to_parquet(tmp_path / "t.parquet")
    plain, report = read_source(tmp_path / "t.parquet")
    assert plain.dtypes.astype(str).to_dict() == {"day": "datetime64[us]", "money": "float64", "kind": "str", "zone": "datetime64[us]",
                                                   "flag": "str", "count": "float64"}
    assert plain["zone"][0] == pd.Timestamp("2024-01-01 10:00") and plain["flag"][0] == "true"
    assert report["missing"]["kind"] == {"(null)": 1}


def test_a_query_over_a_file(write):
    table, report = read_source(write(LOANS), query="SELECT region, sum(amount) AS total FROM source GROUP BY region ORDER BY region")
    assert table.to_dict("list") == {"region": ["north", "south"], "total": [3400, 4000]} and len(report["files"]) == 1


def test_a_query_over_a_folder_sees_each_file(tmp_path, write):
    write(LOANS, "loans.csv")
    pd.DataFrame({"id": [1, 1, 3], "paid": [10.0, 20.0, 5.0]}).to_parquet(tmp_path / "payments.parquet")
    query = "SELECT loans.id, sum(paid) AS paid FROM loans LEFT JOIN payments USING (id) GROUP BY loans.id ORDER BY 1"
    table, report = read_source(tmp_path, query=query)
    assert table["paid"].fillna(0).tolist() == [30.0, 0.0, 5.0] and len(report["files"]) == 2


def test_databases(tmp_path):
    with duckdb.connect(str(tmp_path / "a.duckdb")) as connection:
        connection.execute("CREATE TABLE loans AS SELECT i AS id, 1.5::DECIMAL(5, 2) AS rate FROM range(3) AS r(i)")
    connection = sqlite3.connect(tmp_path / "a.sqlite")
    connection.execute("CREATE TABLE loans (id INTEGER, rate REAL)")
    connection.executemany("INSERT INTO loans VALUES (?, ?)", [(0, 1.5), (1, 1.5), (2, None)])
    connection.commit()
    connection.close()
    for name in ("a.duckdb", "a.sqlite"):
        assert len(read_source(tmp_path / name)[0]) == 3, "the only table needs no query"
        assert read_source(tmp_path / name, query="SELECT rate FROM loans WHERE id < 2")[0]["rate"].tolist() == [1.5, 1.5]
        with pytest.raises(ConfigError, match="data.query"):
            read_source(tmp_path / name, query="SELECT nothing FROM loans")


def test_rows_keep_the_order_of_the_source(write):
    rows = "\n".join(f"{i},{(i * 7919) % 1000}" for i in range(5000))
    table, _ = read_source(write("id,x\n" + rows + "\n"), query="SELECT id, x * 2 AS y FROM source WHERE x > 10")
    assert table["id"].is_monotonic_increasing and len(table) > 4000


def test_a_test_file_of_its_own(write):
    train, test = write("1,a\n2,b\n", "train.csv"), write("|comment\n3,a.\n", "test.csv")
    table, reports = read_tables(train, test, has_header=False, columns=["x", "y"])
    assert table["part"].tolist() == ["train", "train", "test"] and table["row_id"].tolist() == [0, 1, 2]
    assert reports["test"]["skipped_lines"]["comment"] == 1


def test_derived_columns_see_those_before_them():
    table = derive_columns(pd.DataFrame({"a b": [1, 2], "c": ["x", None]}), ['d = "a b" * 2', "c = coalesce(c, 'none')", "e = d + 1"])
    assert table.columns.tolist() == ["a b", "c", "d", "e"] and table["e"].tolist() == [3, 5] and table["c"].tolist() == ["x", "none"]


# What bad input gets


def failing(call, *words, kind=ConfigError):
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "received" in message and "allowed" in message
    for word in words:
        assert word in message, message
    return message


def test_missing_file_names_the_nearest(write, tmp_path):
    write(LOANS)
    failing(lambda: read_source(tmp_path / "lones.csv"), "data.path", "loans.csv")
    failing(lambda: read_source(tmp_path / "no_folder" / "a.csv"), "does not exist")
    failing(lambda: read_source(tmp_path / "*.parquet"), "data.path")


def test_empty_file_and_header_only(write):
    failing(lambda: read_source(write("")), "empty")
    failing(lambda: read_source(write("\n \n")), "empty")
    failing(lambda: read_source(write("a,b\n")), "header but no rows")
    failing(lambda: read_source(write("|only a comment\n")), "at least one row")


def test_ragged_rows_have_their_lines(write):
    failing(lambda: read_source(write("a,b\n1,2\n3\n4,5,6\n")), "2 ragged rows", "line 3 has 1", "line 4 has 3", kind=ContractError)
    failing(lambda: read_source(write('a,b\n1,"open\n2,3\n')), "Line", kind=ContractError)


def test_line_numbers_count_lines_inside_quotes(write):
    failing(lambda: read_source(write('a,b\n"two\nlines",2\n3\n')), "line 4 has 1", kind=ContractError)


def test_not_utf8_has_its_line(write):
    message = failing(lambda: read_source(write("name,age\nAnna,3\nJosé,4\n".encode("latin-1")), encoding="utf-8"), "Line 3", "0xe9", "iconv")
    assert "Jos" not in message
    failing(lambda: read_source(write("a,b\n1,2\n".encode("utf-16")), encoding="utf-8"), "UTF-8")


def test_duplicate_names(write):
    failing(lambda: read_source(write("a,b,a\n1,2,3\n")), "[1, 3]")
    failing(lambda: read_source(write(LOANS), columns=["a", "a", "b"]), "every name once")
    failing(lambda: read_source(write(LOANS), columns=["a"]), "3 names")
    failing(lambda: read_source(write("a,A\n1,2\n"), query="SELECT * FROM source"), "capitals")


@pytest.mark.parametrize("name, content", [
    ("a.parquet", b"PAR1 cut short"), ("a.parquet", b"<html>not found</html>"), ("a.parquet", b""), ("a.sqlite", b"no database"),
    ("a.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9]), ("a.zip", b"PK\x03\x04rest"), ("a.duckdb", b"x" * 40),
])
def test_broken_containers(write, name, content):
    failing(lambda: read_source(write(content, name)), name)


@pytest.mark.parametrize("path", ["https://example.org/a.csv", "s3://bucket/a.parquet", "SELECT * FROM 'a.csv'", ""])
def test_what_is_no_path(path):
    failing(lambda: read_source(path), "data.path")


@pytest.mark.parametrize("query", [
    "SELECT * FROM 'other.csv'", "SELECT * FROM read_csv('other.csv')", "SELECT * FROM loans_in_python", "COPY source TO 'x.csv'",
    "ATTACH 'x.db'", "SELECT 1; SELECT 2", "DROP TABLE source", "SELEC 1", "SELECT nothing FROM source", "INSTALL httpfs", "",
])
def test_queries_that_reach_too_far(tmp_path, monkeypatch, query):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text(LOANS)
    loans_in_python = pd.DataFrame({"a": [1]})
    failing(lambda: query_tables(query, {"source": loans_in_python}), "data.query")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.csv"], "nothing is written"


def test_a_view_in_a_database_that_reads_a_file(tmp_path):
    (tmp_path / "other.csv").write_text(LOANS)
    with duckdb.connect(str(tmp_path / "a.duckdb")) as connection:
        connection.execute(f"CREATE VIEW v AS SELECT * FROM read_csv('{tmp_path / 'other.csv'}')")
    failing(lambda: read_source(tmp_path / "a.duckdb", query="SELECT * FROM v"), "through data.path")


def test_sqlite_cannot_be_written(tmp_path):
    sqlite3.connect(tmp_path / "a.sqlite").execute("CREATE TABLE t (a)").connection.close()
    for query in ("DROP TABLE t", "INSERT INTO t VALUES (1)", "ATTACH 'b.sqlite' AS b", "PRAGMA table_info(t)"):
        failing(lambda query=query: read_source(tmp_path / "a.sqlite", query=query), "data.query")


def test_a_query_without_a_path():
    failing(lambda: read_tables(query="SELECT * FROM 'a.csv'"), "data.path")
    failing(lambda: read_tables(), "data.openml")
    failing(lambda: read_tables(openml="adult", query="SELECT * FROM source"), "data.path")


def test_a_query_without_rows(write):
    failing(lambda: read_source(write(LOANS), query="SELECT * FROM source WHERE amount < 0"), "at least one row")


def test_a_failing_cast_does_not_show_the_value(write):
    path = write("name,age\nSecretName,3\n")
    for call in (lambda: read_source(path, query="SELECT CAST(name AS INT) AS x FROM source"),
                 lambda: derive_columns(read_source(path)[0], ["x = CAST(name AS INT)"])):
        with pytest.raises(ConfigError) as caught:
            call()
        assert "SecretName" not in str(caught.value)


@pytest.mark.parametrize("line", ["no equals sign", "= 3", "x = ", "x = unknown_column", "x = sum(a)", "x = 1) AS y, (2"])
def test_bad_derivations(line):
    failing(lambda: derive_columns(pd.DataFrame({"a": [1, 2]}), [line] if line != "x = 1) AS y, (2" else ["x = 1); DROP TABLE source; --"]),
            "data.derive")


def test_files_that_do_not_fit_together(write, tmp_path):
    write("a,b\n1,x\n", "p1.csv")
    write("a,c\n1,x\n", "p2.csv")
    failing(lambda: read_source(tmp_path / "p*.csv"), "same columns", kind=ContractError)
    failing(lambda: read_tables(write("a\n1\n", "t1.csv"), write("a\nx\n", "t2.csv")), "one type", kind=ContractError)


def test_values_without_a_plain_form():
    for value in ([1, 2], timedelta(days=1), {"a": 1}):
        failing(lambda value=value: plain_types(pd.DataFrame({"odd": [value, value]})), "column odd", kind=ContractError)


def test_reserved_names(write):
    failing(lambda: read_tables(write("row_id,a\n1,2\n")), "row_id")


def test_bad_delimiter(write):
    failing(lambda: read_source(write(LOANS), delimiter=", "), "data.delimiter")
    assert sniff_delimiter("one\ntwo\n") == ","


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_table_or_an_error_of_ours(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "a.csv"
    path.write_bytes(content)
    try:
        table, _ = read_source(path)
    except MlsysError:
        return
    assert len(table) and table.columns.is_unique


# OpenML, without a network


def test_openml_says_what_to_do_without_a_network(monkeypatch):
    import sklearn.datasets

    def offline(**_):
        raise OSError("network is unreachable")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", offline)
    failing(lambda: read_openml("adult", 2), "data.openml", "adult (version 2)", "unreachable", "data.path=FILE")
    failing(lambda: read_tables(openml="adult", openml_version=2), "data.path=FILE")


def test_openml_columns_are_renamed_by_position(monkeypatch):
    import sklearn.datasets

    frame = pd.DataFrame({"V1": [30.0, 40.0], "V2": pd.Categorical(["a", None]), "Class": pd.Categorical(["1", "2"])})
    asked = {}

    def fetch(**arguments):
        asked.update(arguments)
        return type("Bunch", (), {"frame": frame})

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    table, reports = read_tables(openml="bank-marketing", openml_version=1, columns=["age", "job", "y"])
    assert asked["name"] == "bank-marketing" and asked["version"] == 1
    assert table.columns.tolist() == ["row_id", "age", "job", "y"] and reports["all"]["missing"] == {"job": {"(null)": 1}}
    assert table["y"].dtype == "str" and np.isclose(table["age"].sum(), 70)

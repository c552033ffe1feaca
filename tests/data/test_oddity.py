"""Oddities: each kind is found with its counts, ordinary columns are left alone, and nothing sensitive is shown."""

import numpy as np
import pandas as pd
import pytest

from mlsys.data.oddity import find_oddities, propose_missing_values
from mlsys.data.profile import profile_source, profile_table, read_as_missing


def found(table, column, **options):
    oddities = find_oddities(table, **options)
    return {row.oddity: row for row in oddities[oddities["column"] == column].itertuples()}


def one(values):
    return pd.DataFrame({"x": values})


def test_a_column_of_mixed_types_is_named_with_counts():
    values = [str(i) for i in range(9950)] + ["n/a"] * 40 + ["about ten"] * 8 + ["2024-01-01", "2024-02-01"]
    row = found(one(values), "x")["mixed types: 9,950 numbers, 48 texts, 2 dates"]
    assert row.rows == 50 and row.examples == "'n/a' 40, 'about ten' 8"


def test_the_same_counts_from_a_file_in_pieces(tmp_path):
    rng = np.random.default_rng(0)
    values = np.where(rng.random(200_000) < 0.001, "oops", rng.integers(0, 10**6, 200_000).astype(str))
    (tmp_path / "t.csv").write_text("x,y\n" + "\n".join(f"{value},1" for value in values) + "\n")
    profile, oops = profile_source(tmp_path / "t.csv"), int((values == "oops").sum())
    assert profile.columns["x"].numbers == 200_000 - oops and profile.columns["x"].others == {"oops": oops}
    assert f"mixed types: {200_000 - oops:,} numbers, {oops:,} texts" in found(profile, "x")


@pytest.mark.parametrize("marker", ["?", "NA", "N/A", "n/a", "null", "NULL", "NaN", "-", "--", "#N/A", "."])
def test_markers_are_proposed(marker):
    table = one(["red", "green", marker, "blue"] * 10)
    assert propose_missing_values(table) == [marker]
    assert found(table, "x")["stands for a missing value"].rows == 10


def test_what_may_be_a_true_answer_is_shown_and_not_proposed():
    table = one(["yes", "no", "unknown", "no"] * 10)
    assert propose_missing_values(table) == [] and "may stand for a missing value" in found(table, "x")
    assert propose_missing_values(one(["12", "13", "unknown"] * 10)) == ["unknown"], "among numbers it is no answer"
    countries = one(["NA", "DE", "FR", "US", "ZA", "BR", "IN", "CN"] * 5)
    assert propose_missing_values(countries) == [] and "may stand for a missing value" in found(countries, "x")


def test_a_text_that_is_a_value_elsewhere_is_not_proposed():
    table = pd.DataFrame({"age": ["12", "13", "unknown"] * 10, "answer": ["yes", "no", "unknown"] * 10})
    assert propose_missing_values(table) == []


def test_sentinel_numbers():
    rng = np.random.default_rng(0)
    days = np.where(rng.random(500) < 0.3, 999, rng.integers(0, 30, 500))
    assert "'999'" in found(one(days), "x")['a number that stands apart and may mean "none"'].examples
    asked = np.where(rng.random(500) < 0.1, -1, rng.integers(0, 10, 500))
    assert "'-1'" in found(one(asked), "x")['a number that stands apart and may mean "none"'].examples
    income = np.where(rng.random(5000) < 0.01, 99_999.0, rng.gamma(2, 300, 5000).round(2))
    assert any("stands apart" in name for name in found(one(income), "x"))


@pytest.mark.parametrize("values", [
    np.random.default_rng(1).integers(1, 100, 2000), np.random.default_rng(1).normal(0, 1, 2000), np.random.default_rng(1).integers(0, 2, 2000),
    np.random.default_rng(1).choice([-1, 1], 2000), np.random.default_rng(1).poisson(3, 2000), np.random.default_rng(1).integers(-5, 6, 2000),
    np.random.default_rng(1).choice(["red", "green", "blue"], 2000),
])
def test_ordinary_columns_are_left_alone(values):
    assert find_oddities(one(values)).empty


def test_spellings():
    assert found(one(["Male", "male", "Female", "Male"] * 5), "x")["the same word in different capitals or blanks"].rows == 5
    assert found(one(["a ", "b", "c", "b"] * 5), "x")["blanks before or after values"].rows == 5
    assert found(one(["<=50K.", ">50K.", "<=50K."] * 5), "x")["labels that end with a full stop"].rows == 15
    assert found(one(["yes.", "yes", "no"] * 5), "x")["labels that end with a full stop"].rows == 5
    assert "labels that end with a full stop" not in found(one(["admin.", "services", "student"] * 5), "x")


def test_forms():
    assert "yes and no as text" in found(one(["Y", "N", "N", "?"] * 5), "x")
    assert "dates that are not ISO 8601" in found(one(["03/04/2024", "31/12/2024", "1/1/2025"] * 5), "x")
    assert any(name.startswith("numbers with a unit (%)") for name in found(one(["12%", "13.5 %", "99%"] * 5), "x"))
    assert any(name.startswith("numbers that begin with 0") for name in found(one(["007", "012", "100"] * 5), "x"))
    assert "a comma that parts thousands, or decimals" in found(one(["1,234", "5,678", "12"] * 5), "x")
    assert "letters of a wrong encoding" in found(one(["MÃ¼nchen", "Berlin", "KÃ¶ln"] * 5), "x")


def test_columns_that_say_nothing_and_names_that_differ_in_capitals():
    table = pd.DataFrame({"a": [1, 1, 1], "b": pd.Series([None] * 3, dtype="str"), "Age": [1, 2, 3], "age": [1, 2, 4]})
    oddities = find_oddities(table)
    assert set(oddities["oddity"]) == {"the same value in every row", "every value is missing", "names that differ in capitals only"}


def test_values_of_sensitive_columns_are_not_shown():
    table = pd.DataFrame({"religion": ["Hindu", "hindu", "Jew", "n/a"] * 5})
    assert "indu" in find_oddities(table).to_string() and "indu" not in find_oddities(table, ["religion"]).to_string()


def test_reading_markers_as_missing_afterwards_gives_what_reading_them_so_gives(tmp_path):
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"n": rng.choice(["1", "2", "3.5", "?"], 300), "i": rng.choice(["1", "2", "?"], 300), "c": rng.choice(["a", "b", "?"], 300), "t": rng.choice(["2024-01-01", "?"], 300)})
    table.to_csv(tmp_path / "t.csv", index=False)
    afterwards, at_once = read_as_missing(profile_source(tmp_path / "t.csv"), ["?"]), profile_source(tmp_path / "t.csv", missing_values=["?"])
    for name, column in at_once.columns.items():
        other = afterwards.columns[name]
        for key in ("type", "rows", "missing", "low", "high", "values", "numbers", "others"):
            assert getattr(other, key) == getattr(column, key), (name, key)


def test_the_real_tables(real_data):
    adult = profile_source(real_data / "adult" / "adult.test", has_header=None)
    assert propose_missing_values(adult) == ["?"] and "labels that end with a full stop" in found(adult, "column_15")
    bank = profile_source(real_data / "bank_marketing" / "bank-additional-full.csv.gz")
    assert propose_missing_values(bank) == [] and "'999' 39,673" in find_oddities(bank).to_string()
    for name in ("german_credit/german.data", "cookie_cats/cookie_cats.csv", "elec2/elecNormNew.arff.gz"):
        assert find_oddities(profile_source(real_data / name, has_header=None)).empty, name


def test_a_profile_of_a_table_and_of_its_file_agree(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"id": np.arange(500), "x": rng.normal(size=500), "c": rng.choice(["a", "b"], 500), "at": pd.date_range("2024-01-01", periods=500, freq="h")})
    table.to_parquet(tmp_path / "t.parquet")
    one_way, other = profile_table(table), profile_source(tmp_path / "t.parquet")
    assert one_way.columns == other.columns and one_way.columns["id"].unique and one_way.columns["at"].rising

"""Contracts: every rule is found, every fault of the file is named, nothing is dropped."""

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError, ContractError
from mlsys.data.contract import (
    ColumnContract,
    Contract,
    as_text,
    check_contract,
    conform,
    contract_for,
    find_violations,
    infer_contract,
    load_contract,
    parse_time,
    shape_of,
)


def rules(table, **columns):
    contract = Contract(columns)
    return {(item.column, item.rule): (item.rows, item.first_rows) for item in find_violations(conform(table, contract), contract).itertuples()}


def test_every_rule_is_found_with_its_rows():
    table = pd.DataFrame({
        "a": [1.0, 2.5, -3.0, 200.0, np.nan], "b": ["x", "y", None, "x", "x"], "c": [1, 1, 2, 3, 4],
        "d": pd.to_datetime(["2020-01-01", "2021-01-01", "2022-01-01", "2023-01-01", "2024-01-01"]), "e": [0.0, np.inf, 1.0, -np.inf, 2.0],
    })
    found = rules(table, a=ColumnContract("int", 0, 100), b=ColumnContract("category", values=["x"]), c=ColumnContract("int", unique=True),
                  d=ColumnContract("time", "2021-01-01", "2023-06-01"), f=ColumnContract("text"))
    assert found == {
        ("a", "a whole number"): (1, [1]), ("a", "at least 0"): (1, [2]), ("a", "at most 100"): (1, [3]), ("a", "not missing"): (1, [4]),
        ("b", "one of the 1 values declared"): (1, [1]), ("b", "not missing"): (1, [2]), ("c", "no value twice"): (2, [0, 1]),
        ("d", "at least 2021-01-01"): (1, [0]), ("d", "at most 2023-06-01"): (1, [4]), ("e", "finite"): (2, [1, 3]),
        ("f", "the column is there"): (5, []),
    }


def test_rows_are_named_by_their_place_in_the_source():
    table = pd.DataFrame({"row_id": [7, 8, 9], "a": [1, 50, 2]})
    assert rules(table, a=ColumnContract("int", 0, 10))[("a", "at most 10")] == (1, [8])


def test_the_error_lists_all_rules_and_no_values():
    table = pd.DataFrame({"name": ["SecretName", "x"], "age": [17, 300]})
    with pytest.raises(ContractError) as caught:
        check_contract(table, Contract({"name": ColumnContract("category", values=["x"]), "age": ColumnContract("int", 18, 99)}))
    message = str(caught.value)
    assert "3 rules" in message and "at least 18" in message and "at most 99" in message and "first rows: 0" in message
    assert "SecretName" not in message and "300" not in message


def test_extra_columns_may_be_refused():
    table = pd.DataFrame({"a": [1], "b": [2]})
    assert find_violations(table, Contract({"a": ColumnContract("int")})).empty
    assert len(find_violations(table, Contract({"a": ColumnContract("int")}, extra_columns="refuse"))) == 1


def test_wrong_types_are_a_rule_and_lossless_ones_are_brought_in_line():
    assert ("a", "of type int (it is str)") in rules(pd.DataFrame({"a": ["x", "1"]}), a=ColumnContract("int"))
    assert ("a", "of type bool (it is int64)") in rules(pd.DataFrame({"a": [0, 1]}), a=ColumnContract("bool"))
    table = conform(pd.DataFrame({"a": [1, 2], "b": ["true", "false"], "c": ["2024-01-01", None], "d": [1.0, np.nan]}),
                    Contract({"a": ColumnContract("category"), "b": ColumnContract("bool"), "c": ColumnContract("time"), "d": ColumnContract("text")}))
    assert table["a"].tolist() == ["1", "2"] and table["b"].tolist() == [True, False] and table["c"][0] == pd.Timestamp("2024-01-01")
    assert table["d"][0] == "1" and pd.isna(table["d"][1])


def test_a_table_that_keeps_its_contract_loses_no_row():
    table = pd.DataFrame({"a": [1, 2, None], "b": ["x", None, "y"]})
    kept = check_contract(table, Contract({"a": ColumnContract("int", nullable=True), "b": ColumnContract("category", values=["x", "y"], nullable=True)}))
    pd.testing.assert_frame_equal(kept, table, check_dtype=False)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_table_keeps_the_contract_inferred_from_it(tmp_path_factory, data):
    n = data.draw(st.integers(1, 15))
    table = pd.DataFrame({
        "number": data.draw(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=n, max_size=n)),
        "whole": data.draw(st.lists(st.integers(-10**6, 10**6), min_size=n, max_size=n)),
        "text": pd.Series(data.draw(st.lists(st.one_of(st.none(), st.sampled_from(["no", "yes", "1", "a: b", "'"])), min_size=n, max_size=n)), dtype="str"),
        "flag": data.draw(st.lists(st.booleans(), min_size=n, max_size=n)),
        "when": pd.to_datetime(data.draw(st.lists(st.dates(), min_size=n, max_size=n))).astype("datetime64[us]"),
    }).astype({"number": "float64"})
    contract = infer_contract(table)
    assert contract.inferred and find_violations(table, contract).empty
    path = tmp_path_factory.mktemp("contract") / "c.yaml"
    contract.save(path)
    assert load_contract(path) == contract


@pytest.mark.parametrize("text, word", [
    ("colums: {}", "columns"), ("columns: {a: {type: integer}}", "int"), ("columns: {a: int}", "type"), ("columns: {a: {type: int, maximum: 3}}", "max"),
    ("columns: {a: {type: category, values: [no, yes]}}", "Quote"), ("columns: {a: {type: category, values: []}}", "list of texts"),
    ("columns: {a: {type: int, min: 5, max: 1}}", "at most max"), ("columns: {a: {type: int, min: low}}", "finite"),
    ("columns: {a: {type: int, min: .inf}}", "finite"), ("extra_columns: maybe", "refuse"), ("- a", "mapping"), ("a: [", "valid YAML"),
])
def test_faults_of_the_file_are_named(tmp_path, text, word):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=word):
        load_contract(path)


def test_a_missing_contract_names_the_nearest(tmp_path):
    (tmp_path / "lending.yaml").write_text("columns: {}")
    with pytest.raises(ConfigError, match="lending"):
        load_contract(tmp_path / "landing.yaml")


def test_none_asks_for_an_inferred_contract(repo):
    contract = contract_for(pd.DataFrame({"a": [1, 2]}), repo / "conf" / "contract" / "none.yaml")
    assert contract.inferred and contract.columns["a"] == ColumnContract("int", 1, 2)
    with pytest.raises(ContractError, match="finite"):
        table = pd.DataFrame({"a": [1.0, np.inf]})
        check_contract(table, contract_for(table, repo / "conf" / "contract" / "none.yaml"))


def test_every_contract_in_conf_loads_and_declares_a_domain(repo):
    for path in sorted((repo / "conf" / "contract").glob("*.yaml")):
        contract = load_contract(path)
        assert not contract.inferred
        for name, item in contract.domain().items():
            if item["type"] == "category":
                assert len(item["values"]) == len(set(item["values"])) > 1, (path.name, name)


def test_times_are_iso_or_an_error_with_the_row():
    with pytest.raises(ContractError) as caught:
        parse_time(pd.Series(["2024-01-01", "31/12/2024", "2024-13-01"], name="day"))
    message = str(caught.value)
    assert "2 values" in message and "row 1" in message and "99/99/9999" in message and "31/12" not in message and "strptime(day" in message
    with pytest.raises(ContractError, match="int64"):
        parse_time(pd.Series([20240101], name="day"))
    assert parse_time(pd.Series(["2024-01-01 10:00", None]))[0] == pd.Timestamp("2024-01-01 10:00")
    assert parse_time(pd.Series(pd.to_datetime(["2024-01-01"])))[0] == pd.Timestamp("2024-01-01")


@given(st.text(max_size=60))
def test_a_shape_holds_no_value(text):
    shape = shape_of(text)
    assert len(shape) <= 40 and not any((c.isalpha() and c != "a") or (c.isascii() and c.isdigit() and c != "9") for c in shape)


def test_as_text():
    assert as_text(pd.Series([1.0, np.nan, 2.5])).fillna("-").tolist() == ["1", "-", "2.5"]
    assert as_text(pd.Series([True, False])).tolist() == ["true", "false"] and as_text(pd.Series([1, 2])).tolist() == ["1", "2"]


def test_every_data_set_names_a_contract_that_exists(repo):
    for path in sorted((repo / "conf" / "data").glob("*.yaml")):
        assert (repo / yaml.safe_load(path.read_text())["contract"]).is_file(), path.name

"""Contracts that are read off, kept, and enforced: every row is either kept or set aside with its reasons."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError, ContractError
from mlsys.data.contract import ColumnContract, Contract, find_violations, load_contract
from mlsys.data.enforce import hold
from mlsys.data.infer import form_of, missing_range, propose_contract, widen

AGE = Contract({"age": ColumnContract("int", 18, 99), "c": ColumnContract("category", values=["x", "y"], nullable=True)})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 120)), st.sampled_from(["x", "y", "z", None])), min_size=1, max_size=30))
def test_no_row_is_lost_and_what_is_kept_keeps_the_contract(rows):
    table = pd.DataFrame({"row_id": range(len(rows)), "age": pd.Series([row[0] for row in rows], dtype="float64"), "c": pd.Series([row[1] for row in rows], dtype="str")})
    good = [age is not None and 18 <= age <= 99 and c != "z" for age, c in rows]
    if not any(good):
        return
    done = hold(table, AGE).enforce("quarantine", 1.0)
    assert done.table["row_id"].tolist() == [i for i, kept in enumerate(good) if kept]
    assert done.quarantined["row_id"].tolist() == [i for i, kept in enumerate(good) if not kept] and (done.quarantined["broken_rules"] != "").all()
    assert find_violations(done.table, AGE).empty


def test_too_many_rows_stop_and_faults_of_the_table_always_do():
    table = pd.DataFrame({"age": [17, 20, 30, 40], "c": ["x"] * 4})
    with pytest.raises(ContractError, match="1 of 4 rows .25.0%. would be quarantined; data.max_quarantined allows 5.0%"):
        hold(table, AGE).enforce("quarantine")
    with pytest.raises(ContractError, match="data.on_violation=quarantine"):
        hold(table, AGE).enforce()
    with pytest.raises(ContractError, match="the column c is gone"):
        hold(table.drop(columns="c"), AGE).enforce("quarantine", 1.0)
    with pytest.raises(ConfigError, match="stop, quarantine"):
        hold(table, AGE).enforce("ignore")


def test_a_gone_column_names_what_may_be_it_and_a_changed_type_says_so():
    with pytest.raises(ContractError, match="the column age is gone; Age"):
        hold(pd.DataFrame({"Age": [20], "c": ["x"]}), AGE).enforce()
    with pytest.raises(ContractError, match="the column age changed from int to str"):
        hold(pd.DataFrame({"age": ["old", "young"], "c": ["x", "y"]}), AGE).enforce()


def test_a_few_texts_among_numbers_are_rows_and_not_the_column():
    table = pd.DataFrame({"age": ["20"] * 97 + ["n/a", "n/a", "old"], "c": ["x"] * 100})
    verdict = hold(table, AGE)
    assert verdict.listed()[["rule", "rows", "first_rows", "examples"]].values.tolist() == [["a number", 3, [97, 98, 99], ["n/a", "old"]]]
    assert verdict.listed(sensitive=["age"])["examples"][0] == ["a/a", "aaa"]
    done = verdict.enforce("quarantine")
    assert done.table["age"].dtype == "int64" and done.quarantined["broken_rules"].tolist() == ["age: a number"] * 3


def test_the_new_rules():
    table = pd.DataFrame({"at": pd.to_datetime(["2024-01-01", "2024-01-03", "2024-01-02", "2024-01-04"]), "code": ["AB1", "AB2", "x", "AB3"], "note": ["a", "bbbb", "cc", None],
                          "m": [1.0, None, None, None]})
    contract = Contract({"at": ColumnContract("time", monotone=True), "code": ColumnContract("text", regex="[A-Z]{2}[0-9]"), "note": ColumnContract("text", nullable=True, max_length=3),
                         "m": ColumnContract("float", nullable=True, max_missing=0.5)})
    found = {item.column: (item.rule, item.first_rows) for item in find_violations(table, contract).itertuples()}
    assert found == {"at": ("not before a row above it", [2]), "code": ("of the form [A-Z]{2}[0-9]", [2]), "note": ("at most 3 letters", [1]), "m": ("0.0% to 50.0% missing", [])}


def test_the_pandera_schema_has_the_same_rules():
    import pandera.pandas as pandera

    table = pd.DataFrame({"age": [20.0, 17.0, 30.5], "c": ["x", "z", None]})
    with pytest.raises(pandera.errors.SchemaErrors) as caught:
        AGE.to_pandera().validate(table, lazy=True)
    assert set(caught.value.failure_cases["check"]) == {"at least 18", "a whole number", "one of the 2 values declared"}
    assert len(AGE.to_pandera().validate(pd.DataFrame({"age": [20], "c": ["x"]}))) == 1


NAMES = st.text(min_size=1, max_size=40).filter(lambda name: name.strip() == name and name.isprintable())


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(NAMES, st.builds(
    ColumnContract, st.sampled_from(["int", "float"]), st.one_of(st.none(), st.integers(-10**6, 0)), st.one_of(st.none(), st.floats(1, 1e9)), nullable=st.just(True),
    min_missing=st.one_of(st.none(), st.floats(0, 0.5)), max_missing=st.one_of(st.none(), st.floats(0.5, 1)), unique=st.booleans(), monotone=st.booleans(), description=st.text(max_size=60).filter(str.isprintable),
    seen=st.one_of(st.none(), st.dictionaries(st.sampled_from(["missing", "low", "high"]), st.floats(0, 1), min_size=1)),
) | st.builds(ColumnContract, st.just("category"), values=st.lists(st.text(max_size=20).filter(str.isprintable), min_size=1, max_size=30)), max_size=8), st.dictionaries(NAMES, st.text(max_size=50), max_size=3))
def test_a_contract_survives_its_file(tmp_path_factory, columns, comments):
    path = tmp_path_factory.mktemp("contract") / "c.yaml"
    contract = Contract(columns, "any", rows=7)
    contract.save(path, {name: text for name, text in comments.items()} | {name: "seen: {x}" for name in columns})
    assert load_contract(path) == contract


@pytest.mark.parametrize(("text", "word"), [
    ("{type: int, max_missing: 2, nullable: true}", "share"), ("{type: int, max_missing: 0.1}", "nullable: true"), ("{type: text, regex: '['}", "regular expression"),
    ("{type: text, max_length: 0}", "from 1"), ("{type: int, unique: maybe}", "true, false"), ("{type: int, nullable: true, min_missing: 0.5, max_missing: 0.1}", "at most max_missing"),
])
def test_faults_of_the_new_keys_are_named(tmp_path, text, word):
    (tmp_path / "c.yaml").write_text(f"columns: {{a: {text}}}")
    with pytest.raises(ConfigError, match=word):
        load_contract(tmp_path / "c.yaml")


def test_next_months_ordinary_rows_keep_a_proposed_contract():
    def month(seed, n=1500):
        rng = np.random.default_rng(seed)
        return pd.DataFrame({"fare": rng.gamma(2, 6, n), "debt": rng.normal(0, 5, n), "c": rng.choice(["a", "b", "c"], n), "m": np.where(rng.random(n) < 0.02, np.nan, 1.0 * rng.integers(0, 9, n)),
                             "code": [f"K{i:05d}" for i in rng.integers(0, 99_999, n)]})

    contract, _ = propose_contract(month(0))
    assert contract.columns["code"].regex == "[A-Z][0-9]{5}" or contract.columns["code"].regex == "K[0-9]{5}" or contract.columns["code"].regex
    for seed in range(1, 9):
        assert hold(month(seed), contract).found == []
    cents = hold(month(9).assign(fare=lambda table: table["fare"] * 100), contract)
    assert {item.column for item in cents.found} == {"fare"}


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_the_share_that_was_seen_is_always_allowed(rows, share):
    missing = round(share * rows)
    low, high = missing_range(missing, rows)
    assert 0 <= low <= missing / rows <= high <= 1


@given(st.floats(-1e9, 1e9), st.floats(0.001, 1e9))
def test_a_range_holds_what_was_seen_and_no_other_sign(low, width):
    least, most, _ = widen(low, low + width, False)
    assert least <= low and low + width <= most and (low < 0 or least == 0) and (low + width > 0 or most == 0)


def test_five_thousand_columns_are_examined():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.integers(0, 50, (50, 5000)), columns=[f"x{i}" for i in range(5000)])
    contract, _ = propose_contract(table)
    table.loc[3, "x17"] = 10_000
    assert [(item.column, item.positions.tolist()) for item in hold(table, contract).found] == [("x17", [3])]


def test_forms_are_only_found_where_there_are_some():
    assert form_of(pd.Series(["abc"] * 60)) == "" and form_of(pd.Series([f"{i}" for i in range(60)])) == ""

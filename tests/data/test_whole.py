"""Every row of a source held against its contract in pieces: what is found does not depend on the cuts, is what a whole table shows, and needs no more memory for more rows."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ContractError
from mlsys.data.audit_source import read_pair_for_audit
from mlsys.data.audit_table import audit_table
from mlsys.data.contract import ColumnContract, Contract
from mlsys.data.enforce import describe_check, hold
from mlsys.data.infer import propose_contract
from mlsys.data.profile import KeyCheck, profile_source
from mlsys.data.query import derive_columns
from mlsys.data.repeat import Repeats, fingerprints
from mlsys.data.source import read_source, read_tables
from mlsys.data.whole import hold_whole, piecewise

PROMISED = Contract({
    "key": ColumnContract("int", 0, unique=True), "at": ColumnContract("time", "2020-01-01", monotone=True), "size": ColumnContract("float", 0, 100, nullable=True, max_missing=0.5),
    "kind": ColumnContract("category", values=["1", "2", "x"]), "code": ColumnContract("text", regex="[A-Z]{2}[0-9]{3}"), "flag": ColumnContract("bool"), "decade": ColumnContract("int", 0, 9),
})
DERIVE = ["decade = CAST(floor(coalesce(TRY_CAST(size AS DOUBLE), 0) / 10) AS BIGINT)"]


def sound(rows, seed=0):
    rng = np.random.default_rng(seed)
    at = (np.datetime64("2021-01-01T00:00:00") + np.arange(rows).astype("timedelta64[m]")).astype(str)
    return pd.DataFrame({"key": np.arange(rows).astype(str), "at": at, "size": np.where(rng.random(rows) < 0.1, None, rng.uniform(0, 99, rows).round(3).astype(str)),
                         "kind": rng.choice(["1", "2", "x"], rows), "code": [f"AB{i % 1000:03d}" for i in range(rows)], "flag": rng.choice(["true", "False"], rows)})


def broken(rows, seed=0):
    """Return a table in which every rule of a row is broken somewhere."""
    table = sound(rows, seed)
    table.loc[[5, rows - 3], "key"] = "17"
    table.loc[9, "key"], table.loc[11, "key"] = "-4", "oops"
    table.loc[20, "at"], table.loc[22, "at"], table.loc[30, "at"] = "2021-01-01T00:00:01", "soon", "1999-01-01T00:00:00"
    table.loc[[40, 41], "size"] = ["1000.5", "much"]
    table.loc[[50, 51], "kind"], table.loc[60, "code"], table.loc[70, "flag"] = ["y", None], "ab12", "maybe"
    return table


def write(folder, table, cuts):
    folder.mkdir(exist_ok=True)
    for i, (low, high) in enumerate(zip([0, *cuts], [*cuts, len(table)], strict=True)):
        table.iloc[low:high].to_csv(folder / f"{i:03d}.csv", index=False)
    return folder / "*.csv"


@pytest.mark.parametrize("cuts", [[], [100], [1, 2, 50, 51, 52, 299], list(range(10, 300, 10))])
@pytest.mark.parametrize("make", [sound, broken])
def test_what_is_found_is_what_the_whole_table_shows_wherever_it_is_cut(tmp_path, cuts, make):
    path = write(tmp_path / "t", make(300), cuts)
    sample, _ = read_tables(path, max_rows=250, whole_bytes=1)
    check = hold_whole([path], PROMISED, sample, DERIVE)
    table, _ = read_source(write(tmp_path / "one", make(300), []))
    table.insert(0, "row_id", range(len(table)))
    verdict = hold(derive_columns(table, DERIVE), PROMISED)
    expected = verdict.listed()
    got = check.listed(list(PROMISED.columns))
    assert list(zip(got["column"], got["rule"], got["rows"], got["first_rows"], strict=True)) == list(zip(expected["column"], expected["rule"], expected["rows"], expected["first_rows"], strict=True))
    rows = np.unique(np.concatenate([item.positions for item in verdict.found] or [np.empty(0, dtype=int)]))
    assert check.rows == 300 and check.broken_rows == len(rows) and (len(rows) > 0) == (make is broken)
    assert sorted(check.of_sample) == sorted(set(rows.tolist()) & set(sample["row_id"].tolist()))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=60), st.lists(st.integers(0, 40), max_size=60), st.integers(1, 70))
def test_repeats_are_those_of_a_table_in_memory_whatever_fits_into_a_share(first, second, share):
    one, two = Repeats(share), Repeats(share)
    for start in range(0, len(first), 7):
        one.add(fingerprints(pd.Series(first[start:start + 7], dtype="float64" if start % 2 else "int64")))
    two.add(fingerprints(pd.Series(second, dtype="int64")))
    values = pd.Series(first, dtype="int64")
    assert one.places().tolist() == np.flatnonzero(values.duplicated(keep=False)).tolist() and one.count() == values.duplicated().sum()
    assert two.count_in(one) == sum(value in set(first) for value in second)


def test_large_numbers_texts_and_times_are_told_apart():
    assert len(set(fingerprints(pd.Series([2**60, 2**60 + 1, -1])))) == 3 and fingerprints(pd.Series([0.0]))[0] == fingerprints(pd.Series([-0.0]))[0]
    times = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02"]))
    assert (fingerprints(times) == fingerprints(times.astype("datetime64[ns]"))).all() and len(set(fingerprints(pd.Series(["a", "b", "1"])))) == 3


@pytest.mark.parametrize("twice", [False, True])
def test_a_key_is_checked_beyond_what_memory_holds(twice):
    check = KeyCheck(in_memory=100)
    for start in range(0, 1000, 50):
        check.add(pyarrow.array(np.arange(start, start + 50)))
    if twice:
        check.add(pyarrow.array([3]))
    assert check.result() is not twice and check.spilled is not None


def test_rows_of_the_sample_are_set_aside_for_what_all_rows_show(tmp_path):
    path = write(tmp_path / "t", broken(300), [150])
    sample, reports = read_tables(path, max_rows=290, whole_bytes=1, seed=3)
    contract = Contract({name: item for name, item in PROMISED.columns.items() if name != "decade"})
    check = hold_whole([path], contract, sample)
    verdict = hold(sample, contract, check)
    with pytest.raises(ContractError, match="key: broken in 3 of 300 rows: no value twice"):
        verdict.enforce()
    with pytest.raises(ContractError, match=rf"{check.broken_rows} of 300 rows .* would be quarantined"):
        verdict.enforce("quarantine", 0.001)
    done = verdict.enforce("quarantine", 0.2)
    assert sorted([*done.table["row_id"], *done.quarantined["row_id"]]) == sorted(sample["row_id"])
    assert set(done.quarantined["row_id"]) == set(check.of_sample) and done.quarantined["broken_rules"].str.len().gt(0).all()
    assert done.table["size"].dtype == "float64" and "Every one of the 300 rows" in describe_check(verdict, 10)
    assert "much" not in verdict.listed(["size"]).to_string() and "much" in verdict.listed().to_string()


def test_a_fault_that_no_sampled_row_has_stops_and_one_of_the_table_too(tmp_path):
    table = sound(2000)
    table.loc[1234, "kind"] = "new"
    path = write(tmp_path / "t", table, [700])
    sample, _ = read_tables(path, max_rows=20, whole_bytes=1, seed=1)
    contract = Contract({"kind": PROMISED.columns["kind"]})
    assert 1234 not in set(sample["row_id"])
    with pytest.raises(ContractError, match="kind: broken in 1 of 2000 rows.*first rows: 1234"):
        hold(sample, contract, hold_whole([path], contract, sample)).enforce()
    assert len(hold(sample, contract, hold_whole([path], contract, sample)).enforce("quarantine").table) == 20
    gone = Contract({"kinds": ColumnContract("text"), "size": ColumnContract("int"), "key": ColumnContract("time")}, extra_columns="refuse")
    words = str(hold_whole([path], gone, sample).listed()["change"].tolist())
    assert "the column kinds is gone; kind" in words and "the column key changed from time" in words and "the column flag is new" in words


def test_a_column_that_looks_at_other_rows_is_checked_in_the_sample_and_named(tmp_path):
    derive = ["double = CAST(key AS BIGINT) * 2", "place = rank() OVER (ORDER BY key)", "top = place < 3"]
    assert piecewise(derive) == (derive[:1], ["place", "top"])
    path = write(tmp_path / "t", sound(500), [250])
    sample, _ = read_tables(path, max_rows=100, whole_bytes=1)
    contract = Contract({"double": ColumnContract("int", 0, 997), "place": ColumnContract("int", 1, 50)})
    check = hold_whole([path], contract, sample, derive)
    verdict = hold(derive_columns(sample, derive), contract, check)
    assert check.unchecked == ["place", "top"] and set(verdict.listed()["column"]) == {"double", "place"} and "`place`" in describe_check(verdict, 400)
    assert describe_check(hold(sample, contract), 400).startswith("**Held against 100 of 500 rows**")


def test_the_form_of_texts_is_that_of_all_rows_and_not_of_a_sample(tmp_path):
    codes = [f"AB{i % 1000:03d}" for i in range(30_000)]
    for name, odd in (("same", "ZZ000"), ("other", "zz000"), ("longer", "ZZ0000")):
        pd.DataFrame({"code": [*codes[:17_000], odd, *codes[17_000:]]}).to_csv(tmp_path / f"{name}.csv", index=False)
        contract, _ = propose_contract(profile_source(tmp_path / f"{name}.csv", sample_rows=200))
        assert contract.columns["code"].regex == ({"same": "[A-Z]{2}[0-9]{3}", "other": "[0-9A-Za-z]{2}[0-9]{3}"}.get(name, "")), name


def test_rows_in_both_of_two_large_files_are_counted_in_all_of_them(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(6000, 4)), columns=list("abcd"))
    table["y"] = (table["a"] + rng.normal(size=6000) > 0).astype(int)
    table.iloc[:4000].to_csv(tmp_path / "train.csv", index=False)
    pd.concat([table.iloc[4000:], table.iloc[100:200]]).to_csv(tmp_path / "test.csv", index=False)
    train, test, whole = read_pair_for_audit(tmp_path / "train.csv", tmp_path / "test.csv", whole_bytes=1, sample_rows=500)
    assert len(train) == len(test) == 500 and whole["shared_rows"] == 100 and whole["test_rows_in_source"] == 2100
    audit = audit_table(pd.concat([train, test], ignore_index=True), "y", part=["train"] * 500 + ["test"] * 500, whole=whole)
    shared = [finding for finding in audit.findings if finding.rule == "shared-rows"]
    assert len(shared) == 1 and shared[0].stands and "100 of 2,100 test rows" in shared[0].what


def test_memory_of_the_check_does_not_grow_with_the_file(tmp_path):
    """Seven times as many rows need no more memory, unique values included."""
    peaks = []
    for blocks in (2, 14):
        path = tmp_path / f"{blocks}.csv"
        for block in range(blocks):
            rows = np.arange(block * 50_000, (block + 1) * 50_000)
            pd.DataFrame({"key": rows, "kind": rows % 3, "note": [f"word {row % 977} " * 3 for row in rows]}).to_csv(path, mode="a", header=block == 0, index=False)
        program = f"""
import resource
from mlsys.data.contract import ColumnContract, Contract
from mlsys.data.source import read_tables
from mlsys.data.whole import hold_whole
contract = Contract({{"key": ColumnContract("int", 0, unique=True), "kind": ColumnContract("category", values=["0", "1", "2"]), "note": ColumnContract("text", max_length=60)}})
sample, _ = read_tables({str(path)!r}, max_rows=1000, whole_bytes=1)
check = hold_whole([{str(path)!r}], contract, sample)
assert check.rows == {blocks * 50_000} and not check.faults, check.faults
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
        peaks.append(int(done.stdout) // (1024 if sys.platform != "darwin" else 1024**2))
    assert peaks[1] < peaks[0] + 30, peaks

"""Comparisons: real changes are named, and what sampling alone explains is not."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlsys.cli.command import app
from mlsys.data.compare import compare_contracts, compare_sources, compare_tables, holm, share_p_value
from mlsys.data.contract import ColumnContract, Contract
from mlsys.data.enforce import hold
from mlsys.data.infer import propose_contract
from mlsys.data.profile import profile_source
from mlsys.data.source import read_source


def month(seed, n=2000):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        "trip_id": np.arange(n) + 10_000 * seed, "fare": rng.gamma(2, 6, n).round(2), "payment": rng.choice(["card", "cash"], n, p=[0.8, 0.2]), "zone": rng.integers(1, 260, n),
        "share": rng.random(n), "tip": np.where(rng.random(n) < 0.3, np.nan, rng.gamma(1, 2, n)), "note": rng.choice(["a", "b", "c", None], n),
    })


def changes(table, base=None):
    found = compare_tables(month(1) if base is None else base, table)
    return {(row.column, row.change): row for row in found.itertuples()}


def test_the_same_kind_of_month_has_not_changed():
    assert sum(len(compare_tables(month(seed), month(seed + 100))) > 0 for seed in range(1, 13)) == 0


def test_noise_is_not_reported_in_many_columns():
    """In 300 columns of missing values by chance, a test at 1 % each would find three changes."""
    rng = np.random.default_rng(0)
    old, new = [pd.DataFrame(np.where(rng.random((400, 300)) < 0.2, np.nan, 1.5)).rename(columns=lambda i: f"x{i}") for _ in range(2)]
    assert compare_tables(old, new).empty


def test_columns_that_are_gone_new_or_renamed():
    table = month(2).drop(columns="note").rename(columns={"fare": "Fare_", "zone": "zoneID"}).assign(extra=1.5)
    found = changes(table)
    assert found["fare", "renamed"].after == "Fare_" and found["zone", "renamed"].after == "zoneID" and found["note", "gone"].breaks
    assert not found["extra", "new"].breaks and len(found) == 4


@pytest.mark.parametrize("factor", [100, 1000, 0.01, 60])
def test_units(factor):
    table = month(2)
    found = changes(table.assign(fare=table["fare"] * factor))
    assert [change for column, change in found if column == "fare"] == [f"about {factor:,.4g} times what it was: another unit?"]
    assert all(row.breaks for row in found.values())


def test_types_and_categories_and_ranges():
    table = month(2)
    found = changes(table.assign(zone=table["zone"].astype(str).where(table.index % 10 > 0, "n/k"), payment=table["payment"].replace("cash", "coins"), share=table["share"] * 1.5,
                                 trip_id=1))
    assert found["zone", "type"].after == "text (1,800 numbers, 0 dates, 200 texts)" and found["zone", "type"].breaks
    assert "'coins'" in found["payment", "new categories"].after and found["payment", "new categories"].breaks
    assert found["payment", "a category vanished"].before.startswith("'cash'") and not found["payment", "a category vanished"].breaks
    assert found["share", "outside the range allowed"].breaks and found["trip_id", "no longer a key"].breaks


def test_missing_values():
    table = month(2)
    found = changes(table.assign(tip=table["tip"].fillna(0), share=table["share"].mask(table.index % 50 == 0), note=None))
    assert (found["tip", "missing values"].after, found["tip", "missing values"].breaks) == ("none missing", False)
    assert found["share", "missing values"].breaks and found["note", "missing values"].after == "all missing"


def test_a_vanished_rare_category_is_chance():
    old = pd.DataFrame({"c": ["a"] * 500 + ["b"] * 497 + ["rare"] * 3})
    assert compare_tables(old, pd.DataFrame({"c": ["a", "b"] * 100})).empty


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_is_between_the_raw_values_and_bonferroni(p_values):
    adjusted = holm(p_values)
    assert all(p <= q <= min(1, p * len(p_values)) or np.isclose(q, max(q, p)) for p, q in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all() and adjusted.max() <= 1


def test_shares_against_scipy():
    from scipy.stats import fisher_exact

    assert share_p_value(0, 20, 6, 20) == pytest.approx(fisher_exact([[0, 20], [6, 14]]).pvalue)
    assert share_p_value(0, 10, 0, 20) == 1.0 and share_p_value(6329, 10_000, 0, 10_000) < 1e-300


def test_contracts():
    old = Contract({"a": ColumnContract("int", 0, 10), "b": ColumnContract("category", values=["x", "y"]), "c": ColumnContract("text", unique=True), "d": ColumnContract("text")})
    new = Contract({"a": ColumnContract("int", 0, 5), "b": ColumnContract("category", values=["x", "y", "z"], nullable=True), "c": ColumnContract("text")})
    found = {(row.column, row.change): row.breaks for row in compare_contracts(old, new).itertuples()}
    assert found == {("a", "max"): False, ("b", "values"): True, ("b", "nullable"): True, ("c", "unique"): True, ("d", "gone"): True}
    assert compare_contracts(old, old).empty


def test_taxi(real_data, tmp_path):
    january, february = [real_data / "nyc_yellow_taxi" / f"yellow_tripdata_sample_2019-{m}.csv.gz" for m in ("01", "02")]
    found = compare_sources(january, february).set_index(["column", "change"])
    assert found.loc[("congestion_surcharge", "missing values"), ["before", "after"]].tolist() == ["63.3% missing", "none missing"]
    assert compare_sources(february, real_data / "nyc_yellow_taxi" / "yellow_tripdata_sample_2019-03.csv.gz").empty
    contract, comments = propose_contract(profile_source(january))
    contract.save(tmp_path / "taxi.yaml", comments)
    assert hold(read_source(january)[0], contract).found == [], "the month that it was read off keeps it"
    with pytest.raises(Exception, match="the column congestion_surcharge changed from 63.3% missing to none missing"):
        hold(read_source(february)[0], contract).enforce("quarantine")
    by_contract = compare_sources(tmp_path / "taxi.yaml", february).set_index(["column", "change"])
    assert by_contract.loc[("congestion_surcharge", "missing values"), "before"] == "63.3% missing"


def test_the_command(tmp_path):
    month(1).to_csv(tmp_path / "may.csv", index=False)
    month(2).to_csv(tmp_path / "june.csv", index=False)
    month(2).drop(columns="fare").to_csv(tmp_path / "july.csv", index=False)
    month(2).assign(more=1).to_csv(tmp_path / "august.csv", index=False)

    def call(*names):
        return CliRunner().invoke(app, ["data", "compare", *[str(tmp_path / name) for name in names]])

    assert call("may.csv", "june.csv").exit_code == 0 and "nothing changed" in call("may.csv", "june.csv").stdout
    gone = call("may.csv", "july.csv")
    assert gone.exit_code == 1 and "fare" in gone.stdout and "breaks the contract" in gone.stdout
    assert call("may.csv", "august.csv").exit_code == 0, "a new column breaks nothing"
    assert CliRunner().invoke(app, ["data", "infer", str(tmp_path / "may.csv"), "--output", str(tmp_path / "may.yaml")]).exit_code == 0
    assert call("may.yaml", "june.csv").exit_code == 0 and call("may.yaml", "july.csv").exit_code == 1 and call("may.yaml", "may.yaml").exit_code == 0

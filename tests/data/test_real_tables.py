"""The real tables, as their owners publish them, through the configurations that ship with mlsys."""

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

from mlsys.data.contract import check_contract, contract_for
from mlsys.data.query import derive_columns
from mlsys.data.source import read_tables
from mlsys.data.split import random_and_time, split_table
from mlsys.data.table import prepare_table

SOURCE = ("openml", "openml_version", "query", "delimiter", "has_header", "columns", "missing_values")
PARTS = ("target", "positive_label", "time", "group", "sensitive", "exclude", "sensitive_as_features", "label_delay_days", "rows_in_time_order")


def prepare(repo, name, **changes):
    conf = yaml.safe_load((repo / "conf" / "data" / f"{name}.yaml").read_text()) | changes
    table, reports = read_tables(conf["path"], conf["test_path"], **{key: conf[key] for key in SOURCE})
    table = derive_columns(table, conf["derive"])
    table = check_contract(table, contract_for(table, repo / conf["contract"]))
    return prepare_table(table, **{key: conf[key] for key in PARTS}), reports


def test_adult(repo, real_data):
    folder = real_data / "adult"
    prepared, reports = prepare(repo, "adult", path=str(folder / "adult.data"), test_path=str(folder / "adult.test"))
    assert reports["train"]["rows"] == 32_561 and reports["test"]["rows"] == 16_281 and reports["test"]["skipped_lines"]["comment"] == 1
    assert reports["train"]["missing"] == {"workclass": {"?": 1836}, "occupation": {"?": 1843}, "native-country": {"?": 583}}
    assert prepared.counts["labels_with_full_stop"] == 16_281
    table = prepared.table
    rate = table.groupby("sex")["income"].mean()
    assert rate.round(4).to_dict() == {"Female": 0.1093, "Male": 0.3038}
    split = split_table(table, prepared.roles)
    assert split.report["method"] == "given" and len(split.test) == 16_281
    assert round(split.test["income"].mean(), 4) == 0.2362 and "fnlwgt" not in table


def test_bank_marketing(repo, real_data):
    path = real_data / "bank_marketing" / "bank-additional-full.csv.gz"
    prepared, _ = prepare(repo, "bank_marketing", path=str(path))
    assert len(prepared.table) == 41_188 and "duration" not in prepared.table
    assert round(prepared.table["y"].mean(), 4) == 0.1127
    assert prepared.table["pdays"].isna().eq(prepared.table["contacted_before"] == "no").all()
    split = split_table(prepared.table, prepared.roles, test_share=0.25)
    assert split.report["method"] == "time" and split.train["row_id"].max() < split.validation["row_id"].min() < split.test["row_id"].min()
    compared = random_and_time(prepared.table, prepared.roles, 0.25)
    assert compared.loc["random rows", "auc"] == pytest.approx(0.80, abs=0.02)
    assert compared.loc["latest rows", "auc"] == pytest.approx(0.71, abs=0.02)
    assert compared["test_positive_rate"].round(3).tolist() == [0.113, 0.258]


def test_german_credit_reads_the_same_from_both_sources(repo, real_data, monkeypatch):
    import sklearn.datasets

    path = real_data / "german_credit" / "german.data"
    local, _ = prepare(repo, "german_credit", path=str(path))
    assert len(local.table) == 1_000 and local.table["class"].sum() == 300 and local.roles.negative_label == "good"
    assert set(local.table["sex"]) == {"female", "male"} and {"personal_status", "age"} <= set(local.left_out)

    conf = yaml.safe_load((repo / "conf" / "data" / "german_credit.yaml").read_text())
    raw, _ = read_tables(str(path), has_header=False, columns=conf["columns"])
    written_out = derive_columns(raw, [line for line in conf["derive"] if not line.startswith(("sex", "age_group"))]).drop(columns="row_id")
    frame = pd.DataFrame({name: written_out[name].astype("category") if written_out[name].dtype == "str" else written_out[name] for name in written_out})
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda **_: type("Bunch", (), {"frame": frame}))
    online, _ = prepare(repo, "german_credit")
    pd.testing.assert_frame_equal(local.table, online.table)
    assert local.roles == online.roles


def test_lending(repo):
    if not (repo / "data" / "applications.parquet").exists():
        pytest.skip("the bundled data is not here: run `dvc pull`")
    prepared, _ = prepare(repo, "lending", path=str(repo / "data" / "applications.parquet"))
    assert len(prepared.table) == 40_000 and not {"collection_calls", "age", "label_known_at"} & set(prepared.table.columns)
    split = split_table(prepared.table, prepared.roles)
    assert split.report["method"] == "time" and len(split.test) == 10_000
    assert not set(split.train["applicant"]) & set(split.test["applicant"])
    assert (split.train["applied_at"] + pd.Timedelta(days=90) <= split.validation["applied_at"].min()).all()
    compared = random_and_time(prepared.table, prepared.roles)
    assert compared["auc"].between(0.75, 0.84).all()


def test_lending_is_the_same_table_as_csv_and_from_a_database(repo, tmp_path):
    if not (repo / "data" / "applications.parquet").exists():
        pytest.skip("the bundled data is not here: run `dvc pull`")
    whole, _ = prepare(repo, "lending", path=str(repo / "data" / "applications.parquet"))
    source = pd.read_parquet(repo / "data" / "applications.parquet")
    source.to_csv(tmp_path / "a.csv.gz", index=False, date_format="%Y-%m-%dT%H:%M:%S")
    with duckdb.connect(str(tmp_path / "a.duckdb")) as connection:
        connection.execute(f"CREATE TABLE applications AS SELECT * FROM '{repo / 'data' / 'applications.parquet'}'")
    for name in ("a.csv.gz", "a.duckdb"):
        other, _ = prepare(repo, "lending", path=str(tmp_path / name))
        pd.testing.assert_frame_equal(other.table, whole.table)
        assert other.roles == whole.roles


def test_other_public_tables_are_read_without_a_configuration(real_data):
    for name, rows, columns in (("elec2/elec.csv", None, None), ("bike_sharing/hour.csv", 17_379, 17), ("cookie_cats/cookie_cats.csv", 90_189, 5)):
        table, reports = read_tables(real_data / name)
        assert rows is None or len(table) == rows, name
        assert columns is None or table.shape[1] == columns + 1, name
        assert reports["all"]["rows"] == len(table) > 0


def test_the_openml_form_of_bank_marketing(repo, monkeypatch):
    """The columns V1 to V17 of OpenML get their names, and its codes 1 and 2 the words no and yes."""
    import sklearn.datasets

    rng = np.random.default_rng(0)
    n = 300
    frame = pd.DataFrame({f"V{i}": pd.Categorical(rng.choice(["a", "b"], n)) for i in range(1, 17)})
    for position in (1, 6, 10, 12, 13, 15):
        frame[f"V{position}"] = rng.integers(20, 70, n).astype("float64")
    frame["V14"] = np.where(np.arange(n) % 3 == 0, 90.0, -1.0)
    frame["Class"] = pd.Categorical(np.where(np.arange(n) % 5 == 0, "2", "1"))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda **_: type("Bunch", (), {"frame": frame}))
    prepared, _ = prepare(repo, "bank_marketing_openml")
    assert prepared.table["y"].tolist() == (np.arange(n) % 5 == 0).astype(int).tolist() and prepared.roles.negative_label == "no"
    assert prepared.table["pdays"].isna().sum() == 200 and (prepared.table["contacted_before"] == "yes").sum() == 100
    assert "duration" not in prepared.table and split_table(prepared.table, prepared.roles).report["method"] == "time"

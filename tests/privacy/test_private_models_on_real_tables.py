"""The published tables: what privacy costs there, and that the settings need no tuning from one to the next."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from mlsys.data.contract import load_contract
from mlsys.privacy.domain import declared_domain
from mlsys.privacy.pipeline import declared_range, private_pipeline

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning")


def private_settings(model="linear"):
    conf = yaml.safe_load((ROOT / "conf/privacy/dpsgd.yaml").read_text())
    own = {"learning_rate": conf["network_learning_rate"], "hidden_units": tuple(conf["hidden_units"])} if model == "network" else {"learning_rate": conf["learning_rate"]}
    return {key: conf[key] for key in ("target_delta", "max_grad_norm", "epochs")} | own | {"model": model, "batch_size": conf["batch_size"] or None}


@pytest.fixture(scope="module")
def adult(real_data):
    folder = real_data / "adult"
    names = yaml.safe_load((ROOT / "conf/data/adult.yaml").read_text())["columns"]
    parts = [pd.read_csv(folder / file, names=names, skipinitialspace=True, na_values="?", skiprows=skip) for file, skip in (("adult.data", 0), ("adult.test", 1))]
    domain = declared_domain(load_contract(ROOT / "conf/contract/adult.yaml"))
    return [(part, part["income"].str.startswith(">50K").to_numpy().astype(int)) for part in parts], domain


@pytest.mark.parametrize("kind, target, least_accuracy", [("linear", 1.0, 0.845), ("linear", 3.0, 0.848), ("linear", 8.0, 0.848), ("network", 1.0, 0.835), ("network", 3.0, 0.845), ("network", 8.0, 0.848)])
def test_adult(adult, kind, target, least_accuracy):
    ((train, y), (test, truth)), domain = adult
    categorical = [name for name in train if train[name].dtype.kind not in "if" and name != "income"]
    numeric = [name for name in train if train[name].dtype.kind in "if" and name != "fnlwgt"]
    model = private_pipeline(numeric, categorical, domain, target_epsilon=target, random_state=0, **private_settings(kind)).fit(train, y)
    scores = model.predict_proba(test)[:, 1]
    assert model["encode"].undeclared_ == []
    assert model["classify"].epsilon_ <= target
    assert np.mean((scores > 0.5) == truth) >= least_accuracy
    assert roc_auc_score(truth, scores) >= (0.90 if kind == "linear" else 0.885)


def read_german(folder):
    table = pd.read_csv(folder / "german_credit/german.data", sep=r"\s+", header=None).rename(columns=str)
    return table.drop(columns="20"), (table["20"] == 2).to_numpy().astype(int)


def read_bank(folder):
    with gzip.open(folder / "bank_marketing/bank-additional-full.csv.gz", "rt") as file:
        table = pd.read_csv(file, sep=";")
    return table.drop(columns=["y", "duration"]), (table["y"] == "yes").to_numpy().astype(int)


@pytest.mark.parametrize("read, least_auc", [(read_german, 0.70), (read_bank, 0.75)])
def test_the_defaults_serve_tables_without_a_contract(real_data, read, least_auc):
    table, y = read(real_data)
    held_out = np.random.default_rng(0).random(len(table)) < 0.25
    categorical = [name for name in table if table[name].dtype.kind not in "if"]
    numeric = [name for name in table if name not in categorical]
    model = private_pipeline(numeric, categorical, {}, target_epsilon=3.0, random_state=0, **private_settings()).fit(table[~held_out], y[~held_out])
    assert model["classify"].epsilon_ <= 3.0
    assert roc_auc_score(y[held_out], model.predict_proba(table[held_out])[:, 1]) >= least_auc


@pytest.fixture(scope="module")
def bicycles(real_data):
    table = pd.read_csv(real_data / "bike_sharing" / "hour.csv")
    numeric = ["season", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit", "temp", "atemp", "hum", "windspeed"]
    contract = load_contract(ROOT / "conf/contract/bike_sharing.yaml")
    return table, numeric, declared_domain(contract), declared_range(contract, "cnt"), np.random.default_rng(0).random(len(table)) < 0.25


@pytest.mark.parametrize("target, most_lost", [(1.0, 0.06), (3.0, 0.03), (8.0, 0.02)])
def test_bicycles_by_the_hour(bicycles, target, most_lost):
    "R² lost beside least squares on the same encoding, without casual and registered, which sum to the target."
    table, numeric, domain, target_range, held_out = bicycles
    y = table["cnt"].to_numpy(dtype=float)
    model = private_pipeline(numeric, [], domain, problem="regression", target_range=target_range, target_epsilon=target, random_state=0, **private_settings())
    model.fit(table[~held_out], y[~held_out])
    encoded = model["encode"].transform(table)
    plain = Ridge(1.0).fit(encoded[~held_out], y[~held_out])
    assert model["encode"].undeclared_ == [] and model["regress"].epsilon_ <= target
    assert model["regress"].range_[1] < 2000
    lost = plain.score(encoded[held_out], y[held_out]) - model.score(table[held_out], y[held_out])
    assert lost < most_lost


@pytest.mark.parametrize("target, most_lost", [(1.0, 0.02), (3.0, 0.015), (8.0, 0.015)])
def test_how_a_taxi_is_paid(real_data, target, most_lost):
    "Accuracy lost beside multinomial logistic regression on the same encoding; the tip is left in, so there is something to learn."
    table = pd.read_csv(real_data / "nyc_yellow_taxi" / "yellow_tripdata_sample_2019-02.csv.gz")
    numeric = ["passenger_count", "trip_distance", "fare_amount", "extra", "tolls_amount", "congestion_surcharge", "tip_amount"]
    categorical = ["vendor_id", "rate_code_id", "store_and_fwd_flag", "pickup_location_id"]
    table[categorical] = table[categorical].astype(str)
    held_out, y = np.random.default_rng(0).random(len(table)) < 0.25, table["payment_type"].to_numpy()
    model = private_pipeline(numeric, categorical, {}, problem="multiclass", classes=[1, 2, 3, 4], target_epsilon=target, random_state=0, **private_settings())
    model.fit(table[~held_out], y[~held_out])
    encoded = model["encode"].transform(table)
    plain = LogisticRegression(max_iter=300).fit(encoded[~held_out], y[~held_out])
    assert model["classify"].epsilon_ <= target
    found = model.score(table[held_out], y[held_out])
    assert found > np.mean(y[held_out] == 1) + 0.15
    assert plain.score(encoded[held_out], y[held_out]) - found < most_lost

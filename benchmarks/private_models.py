"""What privacy costs a class among several and a number, beside the same model without a promise, on the same encoding and rows.

    MLSYS_REAL_DATA=DIR python benchmarks/private_models.py

DIR holds bike_sharing/hour.csv and nyc_yellow_taxi/yellow_tripdata_sample_2019-02.csv.gz. A quarter of the rows is held out at random. Settings are those of conf/privacy/dpsgd.yaml.
"""

import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_absolute_error

from mlsys.data.contract import load_contract
from mlsys.privacy.domain import declared_domain
from mlsys.privacy.pipeline import declared_range, private_pipeline

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MLSYS_REAL_DATA", "data"))
SETTINGS = yaml.safe_load((ROOT / "conf/privacy/dpsgd.yaml").read_text(encoding="utf-8"))
BUDGETS = SETTINGS.pop("target_epsilon")


def bicycles():
    """Give the table, its columns, and what is declared of them; `casual` and `registered`, which sum to the target, are left out."""
    contract = load_contract(ROOT / "conf/contract/bike_sharing.yaml")
    numeric = ["season", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit", "temp", "atemp", "hum", "windspeed"]
    table = pd.read_csv(DATA / "bike_sharing" / "hour.csv")
    return table, table["cnt"].to_numpy(dtype=float), numeric, [], declared_domain(contract), {"problem": "regression", "target_range": declared_range(contract, "cnt")}


def taxis():
    """Give the table and its columns; nothing is declared of them."""
    table = pd.read_csv(DATA / "nyc_yellow_taxi" / "yellow_tripdata_sample_2019-02.csv.gz")
    categorical = ["vendor_id", "rate_code_id", "store_and_fwd_flag", "pickup_location_id"]
    table[categorical] = table[categorical].astype(str)
    numeric = ["passenger_count", "trip_distance", "fare_amount", "extra", "tolls_amount", "congestion_surcharge", "tip_amount"]
    return table, table["payment_type"].to_numpy(), numeric, categorical, {}, {"problem": "multiclass", "classes": [1, 2, 3, 4]}


def figures(model, X, y):
    """Give two figures: R² and mean absolute error of a number, accuracy and log loss of classes."""
    if hasattr(model, "predict_proba"):
        return f"accuracy {model.score(X, y):.3f}, log loss {log_loss(y, model.predict_proba(X), labels=model.classes_):.3f}"
    return f"R² {model.score(X, y):.3f}, mean absolute error {mean_absolute_error(y, model.predict(X)):.1f}"


def main():
    """Print the table."""
    warnings.simplefilter("ignore")
    shown = Table("table", "without a promise", *(f"epsilon {budget:g}" for budget in BUDGETS))
    for read, plain in ((bicycles, Ridge()), (taxis, LogisticRegression(max_iter=300))):
        table, y, numeric, categorical, domain, task = read()
        held_out, cells = np.random.default_rng(0).random(len(table)) < 0.25, []
        for budget in BUDGETS:
            model = private_pipeline(numeric, categorical, domain, target_epsilon=budget, random_state=0, **task, **SETTINGS).fit(table[~held_out], y[~held_out])
            cells.append(figures(model, table[held_out], y[held_out]))
        encoded = model[0].transform(table)
        shown.add_row(read.__name__, figures(plain.fit(encoded[~held_out], y[~held_out]), encoded[held_out], y[held_out]), *cells)
    Console(width=200).print(shown)


if __name__ == "__main__":
    main()

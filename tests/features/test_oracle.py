"""The 12 features of the Fraud Detection Handbook, computed by its authors, rebuilt from the raw transactions."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlsys.features.training import training_set
from mlsys.features.view import Aggregate, FeatureView

WINDOWS = ("1d", "7d", "30d")
CUSTOMERS = FeatureView(
    "customers", "CUSTOMER_ID", "moment", (Aggregate("count", windows=WINDOWS, name="customer_nb"), Aggregate("mean", "TX_AMOUNT", WINDOWS, name="customer_mean")),
    doc="What the customer spends; the transaction itself counts.")
TERMINALS = FeatureView(
    "terminals", "TERMINAL_ID", "moment", (Aggregate("count", windows=WINDOWS, name="terminal_nb", default=0), Aggregate("rate", "TX_FRAUD", WINDOWS, name="terminal_risk", default=0.0)),
    known="7 days", doc="How often a terminal saw fraud; a fraud is known a week late.")
THEIRS = {
    **{f"customer_nb_{days}d": f"CUSTOMER_ID_NB_TX_{days}DAY_WINDOW" for days in (1, 7, 30)},
    **{f"customer_mean_{days}d": f"CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW" for days in (1, 7, 30)},
    **{f"terminal_nb_{days}d": f"TERMINAL_ID_NB_TX_{days}DAY_WINDOW" for days in (1, 7, 30)},
    **{f"terminal_risk_{days}d": f"TERMINAL_ID_RISK_{days}DAY_WINDOW" for days in (1, 7, 30)},
}


def in_order(table, first):
    """Give each transaction a moment of its own. The clock ticks in seconds, and of two transactions in one second the authors
    count the one with the smaller number first; so its number is added to the time, as microseconds."""
    return table.assign(moment=table["TX_DATETIME"] + pd.to_timedelta(table["TRANSACTION_ID"] - first, unit="us"))


@pytest.fixture(scope="module")
def fraud(real_data):
    folder = real_data / "fraud_handbook"
    raw = pd.read_parquet(folder / "transactions_raw_2018-06-18_2018-08-14.parquet")
    theirs = pd.read_parquet(folder / "transactions_features_2018-07-25_2018-08-07.parquet")
    first = raw["TRANSACTION_ID"].min()
    assert raw["TRANSACTION_ID"].max() - first < 1_000_000  # less than the second between two ticks
    raw = in_order(raw, first)
    spine = in_order(raw[["TRANSACTION_ID", "CUSTOMER_ID", "TERMINAL_ID", "TX_DATETIME", "TX_AMOUNT", "TX_FRAUD"]], first)
    everything = training_set(spine, [CUSTOMERS, TERMINALS], time="moment", sources={"customers": raw, "terminals": raw})
    assert len(everything) == len(raw)
    return theirs, everything


def test_all_rows_and_features_of_the_authors_are_reproduced(fraud):
    theirs, everything = fraud
    ours = everything.set_index("TRANSACTION_ID").loc[theirs["TRANSACTION_ID"]]
    assert len(ours) == len(theirs) == 134_215
    gaps = {name: np.abs(ours[name].to_numpy(float) - theirs[other].to_numpy(float)).max() for name, other in THEIRS.items()}
    print({name: f"{gap:.1e}" for name, gap in gaps.items()})
    assert len(gaps) == 12 and max(gaps.values()) <= 1e-9


def test_a_model_on_our_features_is_as_good_as_on_theirs(fraud, real_data):
    """Chapter 3: train on a week, leave a week for the labels to come in, test on the next; known compromised cards are left out."""
    theirs, everything = fraud
    everything = everything.assign(
        TX_DURING_WEEKEND=(everything["TX_DATETIME"].dt.day_of_week >= 5).astype(int), TX_DURING_NIGHT=(everything["TX_DATETIME"].dt.hour <= 6).astype(int))
    assert everything.set_index("TRANSACTION_ID").loc[theirs["TRANSACTION_ID"], ["TX_DURING_WEEKEND", "TX_DURING_NIGHT"]].to_numpy().tolist() == theirs[["TX_DURING_WEEKEND", "TX_DURING_NIGHT"]].to_numpy().tolist()
    day = everything["TX_DATETIME"].dt.normalize()
    train = everything[day.between("2018-07-25", "2018-07-31")]
    test = everything[day.between("2018-08-08", "2018-08-14")]
    known = set(train.loc[train["TX_FRAUD"] == 1, "CUSTOMER_ID"])
    kept = []
    for today in pd.date_range("2018-08-08", "2018-08-14"):  # a day's frauds are known a week later
        reported = everything[(day == today - pd.Timedelta(days=8)) & (everything["TX_FRAUD"] == 1)]
        known |= set(reported["CUSTOMER_ID"])
        kept.append(test[(test["TX_DATETIME"].dt.normalize() == today) & ~test["CUSTOMER_ID"].isin(known)])
    test = pd.concat(kept)
    names = ["TX_AMOUNT", "TX_DURING_WEEKEND", "TX_DURING_NIGHT", *THEIRS]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train[names], train["TX_FRAUD"])
    auc = roc_auc_score(test["TX_FRAUD"], model.predict_proba(test[names])[:, 1])
    print(f"{len(test):,} test rows, AUC {auc:.4f}")
    assert abs(auc - 0.871) <= 0.005  # the handbook's figure for logistic regression on its own features

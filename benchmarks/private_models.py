"""What privacy costs: in time, beside a plain epoch and Opacus' own modes; and in accuracy, beside the same model without a promise.

    python benchmarks/private_models.py speed
    MLSYS_REAL_DATA=DIR python benchmarks/private_models.py adult
    MLSYS_REAL_DATA=DIR python benchmarks/private_models.py tables

DIR holds adult/, bike_sharing/hour.csv and nyc_yellow_taxi/yellow_tripdata_sample_2019-02.csv.gz. Settings are those of conf/privacy/dpsgd.yaml. Speed is processor time of one epoch on one thread,
which other programs disturb least; the kinds take turns, seed by seed, and each seed's time is divided by that seed's plain epoch.
"""

import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

from mlsys.data.contract import load_contract
from mlsys.privacy.accounting import ledger_epsilon
from mlsys.privacy.domain import declared_domain
from mlsys.privacy.dpsgd import as_table, make_model, one_quiet_thread, train_private
from mlsys.privacy.pipeline import declared_range, private_pipeline

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MLSYS_REAL_DATA", "data"))
CONF = yaml.safe_load((ROOT / "conf/privacy/dpsgd.yaml").read_text(encoding="utf-8"))
BUDGETS = CONF["target_epsilon"]
N_ROWS, N_FEATURES, BATCH, SEEDS = 48_000, 100, 1024, 5
STEPS = -(-N_ROWS // BATCH)
NOISE, BOUND, RATE, DELTA = 1.0, 1.0, 0.02, 1e-5


def settings(model):
    """Give what conf/privacy/dpsgd.yaml says of a kind of model."""
    shared = {name: CONF[name] for name in ("target_delta", "max_grad_norm", "epochs")} | {"batch_size": CONF["batch_size"] or None, "model": model}
    return shared | ({"learning_rate": CONF["network_learning_rate"], "hidden_units": tuple(CONF["hidden_units"])} if model == "network" else {"learning_rate": CONF["learning_rate"]})


def made_up():
    """Give rows for training and for testing, of which two columns matter by their product."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(N_ROWS + 12_000, N_FEATURES)) / np.sqrt(N_FEATURES)).astype(np.float32)
    y = (rng.random(len(X)) < 1 / (1 + np.exp(-12 * (X[:, :5].sum(axis=1) + 5 * X[:, 5] * X[:, 6])))).astype(np.float32)
    return X[:N_ROWS], y[:N_ROWS], torch.from_numpy(X[N_ROWS:]), y[N_ROWS:]


def plain(model, X, y, seed):
    """Train for an epoch in memory, without a promise."""
    rows, outcomes, optimizer = torch.from_numpy(X), torch.from_numpy(y), torch.optim.Adam(model.parameters(), lr=RATE)
    for batch in torch.randperm(N_ROWS, generator=torch.Generator().manual_seed(seed)).split(BATCH):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(rows[batch]).squeeze(1), outcomes[batch]).backward()
        optimizer.step()


def ours(mode):
    """Give an epoch of `train_private`."""
    def train(model, X, y, seed):
        fit = train_private(model, as_table(X, y, "logistic"), noise_multiplier=NOISE, sample_rate=1 / STEPS, steps=STEPS, max_grad_norm=BOUND, learning_rate=RATE, averaged_share=1e-9, seeds=(seed, seed + 1), mode=mode)
        return ledger_epsilon(fit.accountant, delta=DELTA)

    return train


class OneLossARow(torch.nn.BCEWithLogitsLoss):
    """The usual loss, of the shape (rows,): with (rows, 1), Opacus' ghost mode clips nothing."""

    def forward(self, outputs, outcomes):
        return super().forward(outputs.squeeze(1), outcomes)


def opacus(mode):
    """Give an epoch of Opacus as its documentation has it."""
    def train(model, X, y, seed):
        from opacus import PrivacyEngine

        torch.manual_seed(seed)
        loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), batch_size=BATCH)
        engine, criterion = PrivacyEngine(), OneLossARow()
        known = dict(module=model, optimizer=torch.optim.Adam(model.parameters(), lr=RATE), data_loader=loader, noise_multiplier=NOISE, max_grad_norm=BOUND, grad_sample_mode=mode)
        private, optimizer, *rest = engine.make_private(**known, **({"criterion": criterion} if mode == "ghost" else {}))
        criterion, loader = (rest[0], rest[1]) if mode == "ghost" else (criterion, rest[0])
        for rows, outcomes in loader:
            optimizer.zero_grad()
            criterion(private(rows), outcomes).backward()
            optimizer.step()
        return ledger_epsilon(engine.accountant, delta=DELTA)

    return train


KINDS = {"plain, in memory": plain, "mlsys, fused": ours("fused"), "Opacus ghost": opacus("ghost"), "Opacus hooks": opacus("hooks"), "Opacus ghost in our loop": ours("ghost"), "Opacus hooks in our loop": ours("hooks")}


def speed():
    """Print times and accuracies of one epoch, side by side."""
    X, y, rows, truth = made_up()
    for name, hidden in (("logistic regression, 100-1", ()), ("network, 100-256-128-1", (256, 128))):
        seconds, right, spent = ({kind: [] for kind in KINDS} for _ in range(3))
        for seed in range(-1, SEEDS):  # the first is not counted: it pays for imports
            for kind, train in KINDS.items():
                if seed < 0 and kind.startswith("Opacus hooks") and hidden:
                    continue
                model = make_model(N_FEATURES, hidden_units=hidden, seed=max(seed, 0))
                with one_quiet_thread():
                    begun = time.process_time()
                    epsilon = train(model, X, y, max(seed, 0))
                    took = time.process_time() - begun
                if seed >= 0:
                    with torch.no_grad():
                        right[kind].append(float(np.mean((model.eval()(rows).squeeze(1).numpy() > 0) == truth)))
                    seconds[kind].append(took)
                    spent[kind].append(epsilon)
        shown = Table("kind", "seconds an epoch", "times the plain epoch", "times as long as fused", "epsilon", f"accuracy, {SEEDS} seeds", title=f"{name}; {N_ROWS:,} x {N_FEATURES}, batch {BATCH:,}, one thread")
        for kind in KINDS:
            over = [np.median(np.divide(seconds[kind], seconds[base])) for base in ("plain, in memory", "mlsys, fused")]
            epsilon = "-" if kind.startswith("plain") else f"{np.mean(spent[kind]):.3f}"
            shown.add_row(kind, f"{np.median(seconds[kind]):.3f}", f"{over[0]:.2f}", f"{over[1]:.2f}", epsilon, f"{np.mean(right[kind]):.4f} ± {np.std(right[kind]):.4f}")
        Console(width=160).print(shown)


def read_adult(file, skip):
    """Give one part of Adult and its outcomes."""
    names = yaml.safe_load((ROOT / "conf/data/adult.yaml").read_text(encoding="utf-8"))["columns"]
    table = pd.read_csv(DATA / "adult" / file, names=names, skipinitialspace=True, na_values="?", skiprows=skip)
    return table, table["income"].str.startswith(">50K").to_numpy().astype(int)


def adult():
    """Print accuracy and AUC on Adult's own test file, over seeds."""
    (train, y), (test, truth) = read_adult("adult.data", 0), read_adult("adult.test", 1)
    categorical = [name for name in train if train[name].dtype.kind not in "if" and name != "income"]
    numeric = [name for name in train if train[name].dtype.kind in "if" and name != "fnlwgt"]
    domain = declared_domain(load_contract(ROOT / "conf/contract/adult.yaml"))
    shown = Table("model", *(f"epsilon {budget:g}" for budget in BUDGETS), title=f"Adult: accuracy (AUC) on the test file, mean and deviation over {SEEDS} seeds")
    for kind in ("linear", "network"):
        cells = []
        for budget in BUDGETS:
            found = []
            for seed in range(SEEDS):
                scores = private_pipeline(numeric, categorical, domain, target_epsilon=budget, random_state=seed, **settings(kind)).fit(train, y).predict_proba(test)[:, 1]
                found.append((np.mean((scores > 0.5) == truth), roc_auc_score(truth, scores)))
            cells.append(f"{np.mean(found, axis=0)[0]:.4f} ± {np.std(found, axis=0)[0]:.4f} ({np.mean(found, axis=0)[1]:.4f})")
        shown.add_row(kind, *cells)
    Console(width=160).print(shown)


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


def tables():
    """Print a class among several and a number, a quarter of the rows held out at random."""
    shown = Table("table", "model", "without a promise", *(f"epsilon {budget:g}" for budget in BUDGETS))
    for read, without in ((bicycles, Ridge()), (taxis, LogisticRegression(max_iter=300))):
        table, y, numeric, categorical, domain, task = read()
        held_out = np.random.default_rng(0).random(len(table)) < 0.25
        for kind in ("linear", "network"):
            models = [private_pipeline(numeric, categorical, domain, target_epsilon=budget, random_state=0, **task, **settings(kind)).fit(table[~held_out], y[~held_out]) for budget in BUDGETS]
            encoded = models[0][0].transform(table)
            beside = figures(without.fit(encoded[~held_out], y[~held_out]), encoded[held_out], y[held_out]) if kind == "linear" else ""
            shown.add_row(read.__name__, kind, beside, *(figures(model, table[held_out], y[held_out]) for model in models))
    Console(width=220).print(shown)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for part in sys.argv[1:] or ["speed", "adult", "tables"]:
        {"speed": speed, "adult": adult, "tables": tables}[part]()

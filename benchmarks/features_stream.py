"""How many events a second a stream reader takes into an online store, with its features held against the offline side.

    python benchmarks/features_stream.py RAW.parquet [--events 100000] [--redis URL]

RAW is the Fraud Detection Handbook's table of raw transactions: two views with 12 features, of customers and of terminals.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from mlsys.features.packing import unpack_state
from mlsys.features.reading import read
from mlsys.features.state import StatePlan
from mlsys.features.store import open_store
from mlsys.features.stream import read_stream
from mlsys.features.training import training_set
from mlsys.features.value import to_micros
from mlsys.features.view import Aggregate, FeatureView

WINDOWS = ("1d", "7d", "30d")
VIEWS = (
    FeatureView(
        "customers",
        "CUSTOMER_ID",
        "moment",
        (
            Aggregate("count", windows=WINDOWS, name="customer_nb"),
            Aggregate("mean", "TX_AMOUNT", WINDOWS, name="customer_mean"),
        ),
    ),
    FeatureView(
        "terminals",
        "TERMINAL_ID",
        "moment",
        (
            Aggregate("count", windows=WINDOWS, name="terminal_nb", default=0),
            Aggregate("rate", "TX_FRAUD", WINDOWS, name="terminal_risk", default=0.0),
        ),
        known="7 days",
    ),
)


def prepare(raw, folder, count):
    """Write the first transactions as Parquet and as JSON lines; each has a moment of its own, as the handbook counts them."""
    table = pd.read_parquet(raw, columns=["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"])
    table = table.iloc[: count or None]
    table["moment"] = table["TX_DATETIME"] + pd.to_timedelta(table["TRANSACTION_ID"] - table["TRANSACTION_ID"].min(), unit="us")
    table = table.drop(columns=["TX_DATETIME", "TRANSACTION_ID"])
    table.to_parquet(folder / "events.parquet", index=False)
    lines = table.assign(moment=table["moment"].dt.strftime("%Y-%m-%dT%H:%M:%S.%f"))
    lines.to_json(folder / "events.jsonl", orient="records", lines=True)
    return table


def online_table(store, plans, spine, moment):
    """Read the features of all entities at one moment from the states of a store."""
    found = {}
    for view, plan in plans.items():
        name = plan.view.entity[0]
        keys = [str(value) for value in spine[name]]
        states = [unpack_state(plan, blob) if blob else None for blob in store.states(view, keys)]
        values = [plan.defaults if state is None else read(state, moment).values for state in states]
        found |= {feature: [row[place] for row in values] for place, feature in enumerate(plan.names)}
    return pd.DataFrame(found)


def parity_gap(store, table, moments):
    """Return the largest difference between online and offline features of all entities at some moments, and how many were compared."""
    plans = {
        "customers": StatePlan(VIEWS[0], {"TX_AMOUNT": "float"}),
        "terminals": StatePlan(VIEWS[1], {"TX_FRAUD": "int"}),
    }
    customers, terminals = (np.sort(table[name].unique()) for name in ("CUSTOMER_ID", "TERMINAL_ID"))
    size = max(len(customers), len(terminals))
    spine = pd.DataFrame({"CUSTOMER_ID": np.resize(customers, size), "TERMINAL_ID": np.resize(terminals, size)})
    worst, compared = 0.0, 0
    for moment in moments:
        asked = spine.assign(time=pd.Timestamp(moment, unit="us"))
        offline = training_set(asked, VIEWS, time="time", sources={"customers": table, "terminals": table})
        online = online_table(store, plans, spine, moment)
        for name in online:
            one, other = online[name].to_numpy(float), offline[name].to_numpy(float)
            if (np.isnan(one) != np.isnan(other)).any():
                return np.inf, compared
            worst = max(worst, float(np.nanmax(np.abs(one - other), initial=0.0)))
            compared += len(one)
    return worst, compared


def measure(source, store, table, name):
    """Read a stream into an empty store; return a row of the table."""
    cpu, wall = time.process_time(), time.perf_counter()
    report = read_stream(source, store, VIEWS, idle_seconds=0.5)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    last = to_micros(table["moment"].max())
    moments = [last, last + 3_600_000_000, last + 10 * 86_400_000_000]  # windows expire without an event
    gap, compared = parity_gap(store, table, moments)
    return {
        "what": name,
        "events": report.events,
        "seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "events_per_cpu_second": round(report.events / cpu),
        "values_compared": compared,
        "largest_difference": gap,
    }


def measurements(raw, events=0, redis_url="", done=lambda: None):
    """Measure all sources and stores; return rows of a table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        table = prepare(raw, folder, events)
        for kind in ("parquet", "jsonl"):
            with open_store("sqlite", path=folder / f"{kind}.db") as store:
                rows.append(measure(folder / f"events.{kind}", store, table, f"{kind} to SQLite"))
            done()
        if redis_url:
            with open_store("redis", url=redis_url, namespace="benchmark") as store:
                rows.append(measure(folder / "events.parquet", store, table, "parquet to Redis"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return [{**row, "peak_mb": peak} for row in rows]


def stream_rows(folder, progress):
    """Measure the handbook's whole table; return rows for the table of benchmarks/features.py: section, what, figures, note."""
    raw = sorted((Path(os.environ.get("MLSYS_REAL_DATA", "")) / "fraud_handbook").glob("transactions_raw_*.parquet"))
    if not raw:
        return [("stream", "events a second", {"note": "MLSYS_REAL_DATA names no folder with fraud_handbook"}, "")]
    task = progress.add_task("stream", total=2)
    rows = []
    for row in measurements(raw[0], done=lambda: progress.advance(task)):
        figures = {"seconds": f"{row['seconds']:.2f}", "processor": f"{row['cpu_seconds']:.2f}", "peak": f"{row['peak_mb']:,.0f}"}
        note = f"{row['events_per_cpu_second']:,} of {row['events']:,} events a second; largest difference {row['largest_difference']:.0e} over {row['values_compared']:,} values"
        rows.append(("stream", row["what"], figures, note))
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw")
    parser.add_argument("--events", type=int, default=0, help="how many of the first events; 0 is all")
    parser.add_argument("--redis", default="", help="address of a Redis server to measure too")
    parser.add_argument("--json", default="", help="where to write the table")
    given = parser.parse_args()
    result = measurements(given.raw, given.events, given.redis)
    print(pd.DataFrame(result).to_string(index=False))
    if given.json:
        Path(given.json).write_text(json.dumps(result, indent=2))

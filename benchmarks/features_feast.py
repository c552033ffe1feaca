"""The Feast side of features.py. It runs in an environment of its own and prints one line of JSON; `features.py` starts it.

    python features_feast.py join STORE FOLDER DAYS        STORE: duckdb, or dask (Feast's file store)
    python features_feast.py online STORE FOLDER REPEAT [ADDRESS]        STORE: sqlite, or redis at ADDRESS
"""

import json
import resource
import statistics
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path

warnings.filterwarnings("ignore")

import feast  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig  # noqa: E402
from feast.types import Float64, Int64  # noqa: E402
from feast.value_type import ValueType  # noqa: E402

TYPES = {"amount": Float64, "balance": Float64, "visits": Int64}


def peak():
    """Return the peak memory of this process in MB. The kernel's own note of it starts with this program; `ru_maxrss` would begin with the memory of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def open_store(folder, name, offline, online):
    """Make an empty repository and open it."""
    repository = folder / f"feast_{name}"
    repository.mkdir(exist_ok=True)
    for old in repository.iterdir():
        old.unlink()
    if online["type"] == "sqlite":
        online = {**online, "path": str(repository / "online.db")}
    return FeatureStore(config=RepoConfig(project="bench", provider="local", registry=str(repository / "registry.db"), offline_store=offline, online_store=online, entity_key_serialization_version=3))


def declare(store, source, features, days):
    """Declare one view of the customers."""
    customer = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)
    schema = [Field(name=name, dtype=kind) for name, kind in features.items()]
    view = FeatureView(name="history", entities=[customer], ttl=timedelta(days=days), schema=schema, source=FileSource(path=str(source), timestamp_field="event_time"), online=True)
    store.apply([customer, view])


def join(kind, folder, days):
    """Time one point-in-time join after a small one has warmed up."""

    def run(name, features, spine):
        store = open_store(folder, f"{kind}_{name}", {"type": kind}, {"type": "sqlite"})
        declare(store, features, TYPES, days)
        begun, used = time.perf_counter(), time.process_time()
        asked = pd.read_parquet(spine).rename(columns={"event_time": "event_timestamp"})
        found = store.get_historical_features(asked, [f"history:{name}" for name in TYPES]).to_df()
        return time.perf_counter() - begun, time.process_time() - used, found

    run("small", folder / "small_features.parquet", folder / "small_spine.parquet")
    seconds, processor, found = run("whole", folder / "features.parquet", folder / "spine.parquet")
    used = peak()
    found = found.sort_values("row")
    answers = np.column_stack([found["row"].to_numpy(np.float64), *(pd.to_numeric(found[name]).to_numpy(np.float64) for name in TYPES)])
    np.save(folder / f"answers_feast-{kind}.npy", answers)
    return {"seconds": seconds, "processor": processor, "peak": used, "rows": len(found)}


def online(kind, folder, repeat, address):
    """Time writes to the online store, and reads of 1 and of 100 entities."""
    table = pd.read_parquet(folder / "online.parquet")
    names = [name for name in table if name.startswith("f")]
    store = open_store(folder, f"online_{kind}", {"type": "dask"}, {"type": "sqlite"} if kind == "sqlite" else {"type": "redis", "connection_string": address})
    declare(store, folder / "online.parquet", dict.fromkeys(names, Float64), 36_500)
    begun = time.perf_counter()
    store.write_to_online_store("history", table)
    writing = time.perf_counter() - begun
    begun = time.perf_counter()
    store.materialize(table["event_time"].min().to_pydatetime() - timedelta(days=1), table["event_time"].max().to_pydatetime() + timedelta(days=1))
    found = {"write_rate": len(table) / writing, "materialize_rate": len(table) / (time.perf_counter() - begun)}
    generator = np.random.default_rng(0)
    wanted = [f"history:{name}" for name in names]
    for size in (1, 100):
        times = []
        for turn in range(repeat + 5):
            entities = [{"customer": int(number)} for number in generator.integers(0, len(table), size)]
            begun = time.perf_counter_ns()
            got = store.get_online_features(features=wanted, entity_rows=entities)
            if turn >= 5:
                times.append((time.perf_counter_ns() - begun) / 1_000)
        found[f"p50_{size}"] = statistics.median(times)
    got = got.to_dict()
    expected = table.set_index("customer").loc[[row["customer"] for row in entities]]
    found["right"] = all(np.array_equal(got[name], expected[name].to_numpy()) for name in names)
    return found


if __name__ == "__main__":
    what, kind, folder, number, *rest = sys.argv[1:]
    result = join(kind, Path(folder), int(number)) if what == "join" else online(kind, Path(folder), int(number), *(rest or [""]))
    print(json.dumps({**result, "version": feast.__version__}))

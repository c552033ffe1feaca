"""Measure the online stores: reads beside a hand-written read of one packed blob for each entity, writes beside Feast's. `features.py` calls `online_rows`; alone it makes its own data.

    python benchmarks/features_online.py [--entities 10000] [--reads 500]

- base, SQLite: a table (key, blob) and one prepared statement, `struct.unpack` of ten numbers, no status, no time, no check.
- base, Redis: one MGET of the same blobs, nothing unpacked.
"""

import argparse
import shutil
import socket
import sqlite3
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from mlsys.features.materialize import materialize
from mlsys.features.online import OnlineReader
from mlsys.features.store import open_store
from mlsys.features.view import Aggregate, Column, FeatureView

SIZES = (1, 100)
LAYOUT = struct.Struct("<10d")


def declare(names):
    """The ten newest values of a customer."""
    return FeatureView("history", "customer", "event_time", [Column(name) for name in names], ttl="36500d")


def alternate(calls, reads, size, entities):
    """Time several ways of reading the same random entities in turn; return the median of each in microseconds."""
    generator, times = np.random.default_rng(0), {name: [] for name in calls}
    for turn in range(reads + 20):
        wanted = [int(number) for number in generator.integers(0, entities, size)]
        for name, call in calls.items():
            begun = time.perf_counter_ns()
            call(wanted)
            if turn >= 20:
                times[name].append((time.perf_counter_ns() - begun) / 1_000)
    return {name: statistics.median(found) for name, found in times.items()}


def base_sqlite(folder, values):
    """A file with one blob for each entity; return how it is read."""
    connection = sqlite3.connect(folder / "base.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE blobs (key INTEGER PRIMARY KEY, blob BLOB)")
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO blobs VALUES (?, ?)", ((number, LAYOUT.pack(*row)) for number, row in enumerate(values)))
    connection.execute("COMMIT")
    one, many, unpack = "SELECT blob FROM blobs WHERE key = ?", f"SELECT key, blob FROM blobs WHERE key IN ({', '.join('?' * 100)})", LAYOUT.unpack

    def read(wanted):
        if len(wanted) == 1:
            return [unpack(connection.execute(one, wanted).fetchone()[0])]
        found = dict(connection.execute(many, wanted).fetchall())
        return [unpack(found[number]) for number in wanted]

    return read


def base_redis(address, values):
    """A key with one blob for each entity; return how it is read."""
    import redis

    client = redis.Redis.from_url(f"redis://{address}")
    for first in range(0, len(values), 1000):
        client.mset({f"base:{number}": LAYOUT.pack(*values[number]) for number in range(first, min(first + 1000, len(values)))})

    def read(wanted):
        return client.mget([f"base:{number}" for number in wanted])

    return read


def larger(table, folder):
    """Write the table twenty times, each time with other customers, so that a rate is not that of starting."""
    parts = [table.set_column(table.column_names.index("customer"), "customer", pc.add(table["customer"], number * table.num_rows)) for number in range(20)]
    pq.write_table(pa.concat_tables(parts), folder / "many.parquet")
    return folder / "many.parquet"


def measure(kind, folder, path, address, reads):
    """Write a view, read it, and return the figures."""
    table = pq.read_table(path)
    names = [name for name in table.column_names if name.startswith("f")]
    values = np.column_stack([table[name].to_numpy() for name in names])
    view = declare(names)
    store = open_store("sqlite", path=folder / "online.db") if kind == "sqlite" else open_store("redis", url=f"redis://{address}", namespace="bench")
    latest = int(table["event_time"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy().max())
    many = larger(table, folder)
    begun = time.perf_counter()
    written = int(materialize(view, store, latest, {"history": many}, rebuild=True)["entities"].sum())
    found = {"write_rate": written / (time.perf_counter() - begun), "written": written}
    materialize(view, store, latest, {"history": path}, rebuild=True)
    reader = OnlineReader(store, view)
    base = base_sqlite(folder, values) if kind == "sqlite" else base_redis(address, values)
    for size in SIZES:
        medians = alternate({"ours": reader.read, "base": base}, reads, size, len(values))
        found |= {f"p50_{size}": medians["ours"], f"base_{size}": medians["base"]}
    some = list(range(0, len(values), 7))
    found["right"] = bool(np.array_equal(np.array(reader.read(some).values), values[some]))
    store.close()
    return found


def online_rows(path, address, peers, reads):
    """Rows of the table: (section, what, figures, ratio). `peers` holds Feast's figures by kind of store."""
    rows = []
    for kind in ["sqlite", *(["redis"] if address else [])]:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(kind, Path(folder), path, address, reads)
        peer = peers.get(kind, {})
        said = "values right" if found["right"] else "VALUES WRONG"
        for size in SIZES:
            ratio = f"{found[f'p50_{size}'] / found[f'base_{size}']:.2f} x base"
            if f"p50_{size}" in peer:
                ratio += f", {peer[f'p50_{size}'] / found[f'p50_{size}']:.0f} x as fast as Feast"
            note = f"p50 {found[f'p50_{size}']:,.1f} us; base {found[f'base_{size}']:,.1f} us; {said}"
            rows.append(("online", f"{kind}, 10 features of {size}", {"note": note}, ratio))
        ratio = f"{found['write_rate'] / max(peer['write_rate'], peer['materialize_rate']):.1f} x Feast" if "write_rate" in peer else ""
        rows.append(("online", f"{kind}, materialize {found['written']:,} entities", {"note": f"{found['write_rate']:,.0f} entities/s"}, ratio))
    return rows + [renewal_row(reads)]


def renewal_row(reads):
    """Time the read that finds a vector whose time is over: 12 windowed features of an entity with 300 rows."""
    hour, start = 3_600_000_000, 1_700_000_000_000_000
    figures = [Aggregate(function, "amount", ("1d", "7d", "30d")) for function in ("count", "mean", "max", "std")]
    view = FeatureView("payments", "customer", "at", figures)
    rows = pa.table({"customer": np.repeat(np.arange(20), 300), "at": np.tile(start + hour * np.arange(300), 20), "amount": np.random.default_rng(0).normal(size=6000)})
    times = []
    with tempfile.TemporaryDirectory() as folder, open_store("sqlite", path=Path(folder) / "online.db") as store:
        materialize(view, store, start + 300 * hour, {"payments": rows})
        reader = OnlineReader(store, view, refresh=False)
        for turn in range(reads):
            begun = time.perf_counter_ns()
            reader.read([turn % 20], start + (301 + turn) * hour)
            times.append((time.perf_counter_ns() - begun) / 1_000)
    return ("online", "sqlite, 12 windows made anew from 300 rows", {"note": f"p50 {statistics.median(times):,.0f} us for 1"}, "")


def main():
    """Make data and a server, measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entities", type=int, default=10_000, help="entities in the store")
    parser.add_argument("--reads", type=int, default=500, help="reads of each size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path, generator = Path(name) / "online.parquet", np.random.default_rng(4)
        moments = pa.array(np.full(options.entities, 1_700_000_000_000_000)).cast(pa.timestamp("us", "UTC"))
        numbers = {f"f{number}": generator.normal(size=options.entities) for number in range(10)}
        pq.write_table(pa.table({"customer": np.arange(options.entities), "event_time": moments, **numbers}), path)
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
        program = shutil.which("redis-server")
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", name]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL) if program else None
        try:
            time.sleep(1 if server else 0)
            rows = online_rows(path, f"127.0.0.1:{port}" if server else "", {}, options.reads)
        finally:
            if server:
                server.terminate()
                server.wait(timeout=10)
    table = Table("what", "figures", "ratio", title="online stores")
    for _, what, figures, ratio in rows:
        table.add_row(what, figures["note"], ratio)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()

"""Point-in-time features beside their peers: seconds, memory, and whether the answers are the same.

    python benchmarks/features.py [--only join,large,windows,growth,online,stream] [--repeat 5] [--environment FOLDER] [--folder FOLDER]

- join: a million moments, five million rows of ten thousand entities, from Parquet to a table in memory, times to live of 30 days and of one. Polars, DuckDB, pandas and Feast's offline stores read the
  unsorted file, and so do `read_unsorted` and `training_set`; `read_asof` reads mlsys's own layout, whose writing is timed apart. All take turns, every run is a process of its own after a small join has warmed it up, and
  memory is the peak of that process. The answers of all are compared with those of DuckDB's ASOF JOIN, row by row.
- large: a hundred million rows, with the address space of each process limited to 6 GB.
- windows: the twelve windowed features of the Fraud Detection Handbook over its whole raw table (in the folder named by MLSYS_REAL_DATA), compared with the authors' own.
- growth: the same features from half a million to twenty million simulated events, and the exponent p of time ~ (n log n)^p.
- online: ten features of ten thousand entities from SQLite and from a real Redis server, beside Feast's stores.
- stream: events a second.

Feast is installed into an environment of its own (made once, in the folder given or in a temporary one), because its requirements are not ours. Polars comes with the extra `bench`. Redis is measured if
`redis-server` is on the path.
"""

import argparse
import importlib.util
import json
import math
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

HERE = Path(__file__).resolve().parent
SECTIONS = ("join", "large", "windows", "growth", "online", "stream")
VALUES = ("amount", "balance", "visits")
START, YEAR, DAY = 1_700_000_000_000_000, 365 * 86_400_000_000, 86_400_000_000  # microseconds
GIGABYTE = 2**30
console = Console(width=160)
sys.path.insert(0, str(HERE.parent))  # this repository's mlsys, whether it is installed or not


# Data


def write_features(path, rows, entities, seed=0, part=1_000_000):
    """Write rows of a view in random order, part by part."""
    generator, writer = np.random.default_rng(seed), None
    for begin in range(0, rows, part):
        size = min(part, rows - begin)
        table = pa.table({
            "customer": generator.integers(0, entities, size),
            "event_time": pa.array(START + generator.integers(0, YEAR, size)).cast(pa.timestamp("us", "UTC")),
            "amount": generator.normal(size=size), "balance": generator.normal(size=size), "visits": generator.integers(0, 1_000, size),
        })
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def write_spine(path, rows, entities, seed=1):
    """Write moments in random order; `row` is the position of each."""
    generator = np.random.default_rng(seed)
    moments = pa.array(START + generator.integers(0, YEAR, rows)).cast(pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"row": np.arange(rows), "customer": generator.integers(0, entities, rows), "event_time": moments}), path)


def write_transactions(path, rows, seed=0):
    """Write simulated card transactions, as dense as the handbook's: a hundred a customer, fifty a terminal."""
    generator = np.random.default_rng(seed)
    moments = np.sort(START + generator.integers(0, 58 * DAY, rows))
    pq.write_table(pa.table({
        "TX_DATETIME": pa.array(moments).cast(pa.timestamp("us")), "CUSTOMER_ID": generator.integers(0, max(rows // 110, 1), rows),
        "TERMINAL_ID": generator.integers(0, max(rows // 55, 1), rows), "TX_AMOUNT": generator.gamma(2, 25, rows).round(2), "TX_FRAUD": (generator.random(rows) < 0.009).astype(int),
    }), path)


# What runs in a process of its own, one function each; the peers as their manuals say, reading the same files


def history(days):
    """Declare the view of the join."""
    from mlsys.features.view import Column, FeatureView

    return FeatureView("history", "customer", "event_time", [Column(name) for name in VALUES], ttl=f"{days}d")


def join_layout(folder, size, days):
    """Ours, from the layout."""
    from mlsys.features.layout import read_asof

    spine = pq.read_table(folder / f"{size}spine.parquet")
    found = read_asof(folder / f"{size}layout", spine, ttl=f"{days}d")
    return pa.table({**{name: spine[name] for name in spine.column_names}, **{name: found[name] for name in VALUES}}).to_pandas()


def join_unsorted(folder, size, days):
    """Ours, from the unsorted file, plain columns."""
    from mlsys.features.unsorted import read_unsorted

    spine = pq.read_table(folder / f"{size}spine.parquet")
    found = read_unsorted(history(days), folder / f"{size}features.parquet", spine)
    return pa.table({**{name: spine[name] for name in spine.column_names}, **{name: found[name] for name in VALUES}}).to_pandas()


def join_training_set(folder, size, days):
    """Ours, from the unsorted file, as one statement that DuckDB runs."""
    from mlsys.features.training import training_set

    return training_set(folder / f"{size}spine.parquet", history(days), sources={"history": folder / f"{size}features.parquet"})


def join_polars(folder, size, days):
    """Polars' join_asof."""
    import polars

    spine, features = (polars.scan_parquet(folder / f"{size}{name}.parquet").sort("event_time") for name in ("spine", "features"))
    return spine.join_asof(features, on="event_time", by="customer", tolerance=f"{days}d").collect()


def join_duckdb(folder, size, days, where="TRUE"):
    """DuckDB's ASOF JOIN."""
    import duckdb

    values = ", ".join(f"CASE WHEN s.event_time - f.event_time <= INTERVAL {days} DAY THEN {name} END AS {name}" for name in VALUES)
    spine, features = (f"(SELECT * FROM read_parquet('{folder / f'{size}{name}.parquet'}') WHERE {where})" for name in ("spine", "features"))
    return duckdb.connect().sql(f"SELECT s.*, {values} FROM {spine} s ASOF LEFT JOIN {features} f ON s.customer = f.customer AND s.event_time >= f.event_time").to_arrow_table()


def join_pandas(folder, size, days):
    """pandas.merge_asof."""
    import pandas

    spine, features = (pandas.read_parquet(folder / f"{size}{name}.parquet").sort_values("event_time") for name in ("spine", "features"))
    return pandas.merge_asof(spine, features, on="event_time", by="customer", tolerance=pandas.Timedelta(days=days))


JOINS = {"mlsys, layout": join_layout, "mlsys, unsorted, parts": join_unsorted, "mlsys, training_set": join_training_set, "Polars": join_polars, "DuckDB": join_duckdb, "pandas": join_pandas}


def peak():
    """Return the peak memory of this process in MB. The kernel's own note of it starts with this program; `ru_maxrss` would begin with the memory of the process that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(work):
    """Return seconds, seconds of the processor, and the result."""
    begun, used = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - begun, time.process_time() - used, result


def work_join(name, folder, days):
    """Time one join after a small one has warmed up, and keep its answers."""
    JOINS[name](folder, "small_", days)
    seconds, processor, found = timed(lambda: JOINS[name](folder, "", days))
    used = peak()
    np.save(folder / f"answers_{name}.npy", answers_of(found))
    return {"seconds": seconds, "processor": processor, "peak": used, "rows": len(found)}


def work_write(folder, size, memory_limit):
    """Write a layout."""
    from mlsys.features.layout import write_layout

    seconds, processor, layout = timed(lambda: write_layout(history(30), folder / f"{size}features.parquet", folder / f"{size}layout", memory_limit=memory_limit))
    return {"seconds": seconds, "processor": processor, "peak": peak(), "rows": layout.rows, "bytes": sum(file.size() for file in layout.files.values())}


def answers_of(found):
    """Return the rows of a join as numbers, in the order of the spine."""
    frame = found if hasattr(found, "iloc") else found.to_pandas()
    frame = frame.sort_values("row")
    return np.column_stack([frame[column].to_numpy(np.float64, na_value=np.nan) for column in ("row", *VALUES)])


def work_large(folder):
    """Read a large layout, and compare the answers for some customers with DuckDB's."""
    seconds, processor, found = timed(lambda: join_layout(folder, "large_", 30))
    used, some = peak(), found[found["customer"] < 20]
    theirs = answers_of(join_duckdb(folder, "large_", 30, "customer < 20"))
    return {"seconds": seconds, "processor": processor, "peak": used, "rows": len(found), "known": int(found["amount"].notna().sum()), "compared": len(some),
            "same": np.array_equal(answers_of(some), theirs, equal_nan=True)}


def fraud_views():
    """Declare the handbook's features: windows of a customer with the current transaction, those of a terminal as known a week later."""
    from mlsys.features.view import Aggregate, FeatureView

    windows = ("1d", "7d", "30d")
    customer = FeatureView("customer", "CUSTOMER_ID", "TX_DATETIME", [Aggregate("count", windows=windows, name="customer_count"), Aggregate("mean", "TX_AMOUNT", windows, name="customer_mean")])
    terminal = FeatureView("terminal", "TERMINAL_ID", "TX_DATETIME", [Aggregate("count", windows=windows, name="terminal_count"), Aggregate("rate", "TX_FRAUD", windows, name="terminal_risk", default=0.0)],
                           known="7 days")
    return [customer, terminal]


def work_windows(path, published="", memory_limit=""):
    """Compute twelve windowed features for every row of a table of transactions, and compare them with published ones."""
    import pandas

    from mlsys.features.training import DuckEngine, training_set

    views, sources = fraud_views(), {view.name: path for view in fraud_views()}
    with tempfile.TemporaryDirectory(dir=path.parent if memory_limit else None) as spill:
        engine = DuckEngine(memory_limit=memory_limit, temp_folder=spill)
        seconds, processor, found = timed(lambda: training_set(path, views, time="TX_DATETIME", sources=sources, engine=engine))
        engine.close()
    result = {"seconds": seconds, "processor": processor, "peak": peak(), "rows": len(found)}
    if published:
        theirs = pandas.read_parquet(published).set_index("TRANSACTION_ID")
        ours = found.set_index("TRANSACTION_ID").loc[theirs.index]
        names = {"customer_count": "CUSTOMER_ID_NB_TX", "customer_mean": "CUSTOMER_ID_AVG_AMOUNT", "terminal_count": "TERMINAL_ID_NB_TX", "terminal_risk": "TERMINAL_ID_RISK"}
        pairs = [(f"{own}_{days}d", f"{their}_{days}DAY_WINDOW") for own, their in names.items() for days in (1, 7, 30)]
        differences = np.max([np.abs(ours[own].fillna(0).to_numpy(float) - theirs[their].to_numpy(float)) for own, their in pairs], axis=0)
        tied = theirs.index.isin(found.loc[found.duplicated(["CUSTOMER_ID", "TX_DATETIME"], keep=False), "TRANSACTION_ID"])  # the authors' answer depends on the order of their file
        result |= {"compared": int((~tied).sum()), "difference": float(differences[~tied].max()), "tied": int(tied.sum()), "tied_differ": int((differences[tied] > 1e-9).sum())}
    return result


def work_rolling(path):
    """Compute the same as the handbook's authors do: pandas, a rolling window for each customer and terminal."""
    import pandas

    def of_customer(rows):
        rows = rows.sort_values("TX_DATETIME").set_index("TX_DATETIME", drop=False)
        for days in (1, 7, 30):
            window = rows["TX_AMOUNT"].rolling(f"{days}d")
            rows[f"customer_count_{days}d"], rows[f"customer_mean_{days}d"] = window.count(), window.mean()
        return rows.set_index("TRANSACTION_ID")

    def of_terminal(rows):
        rows = rows.sort_values("TX_DATETIME").set_index("TX_DATETIME", drop=False)
        delay = rows["TX_FRAUD"].rolling("7d")
        for days in (1, 7, 30):
            window = rows["TX_FRAUD"].rolling(f"{7 + days}d")
            rows[f"terminal_count_{days}d"] = window.count() - delay.count()
            rows[f"terminal_risk_{days}d"] = (window.sum() - delay.sum()) / rows[f"terminal_count_{days}d"]
        return rows.set_index("TRANSACTION_ID")

    def both():
        table = pandas.read_parquet(path)
        for column, make in (("CUSTOMER_ID", of_customer), ("TERMINAL_ID", of_terminal)):
            table = pandas.concat([make(rows) for _, rows in table.groupby(column)]).reset_index()
        return table

    seconds, processor, found = timed(both)
    return {"seconds": seconds, "processor": processor, "peak": peak(), "rows": len(found)}


def worker(what, arguments):
    """Do one thing in this process, and print what was measured."""
    first, *rest = [Path(argument) if os.sep in argument else argument for argument in arguments]
    tasks = {
        "join": lambda: work_join(first, rest[0], int(rest[1])), "write": lambda: work_write(first, *rest), "large": lambda: work_large(first),
        "windows": lambda: work_windows(first, *rest), "rolling": lambda: work_rolling(first),
    }
    print(json.dumps(tasks[what]()))


# Starting processes


def call(command, limit=0.0, timeout=3_600, **environment):
    """Run a command, with at most so many GB of address space; return the JSON of its last line, or why there is none."""
    def bound():
        resource.setrlimit(resource.RLIMIT_AS, (int(limit * GIGABYTE), int(limit * GIGABYTE)))

    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout, preexec_fn=bound if limit else None, env={**os.environ, **environment})
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished after {timeout} s"}
    if done.returncode:
        words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return {"failed": (words[-1] if words else f"ended by signal {-done.returncode}")[:150]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def ours(what, *arguments, limit=0.0):
    """Run a task of this file in a process of its own."""
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    return call([sys.executable, __file__, "--worker", what, *arguments], limit, PYTHONPATH=path)


def peers_python(folder):
    """Make an environment with the newest Feast that installs, and return its interpreter."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if subprocess.run([python, "-c", "import feast, ibis, redis"], capture_output=True).returncode == 0 if python.exists() else False:
        return python
    console.print(f"installing feast into {folder} (once)")
    venv.create(folder, with_pip=True)
    done = subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "feast[duckdb,redis]"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"pip could not install feast:\n{done.stderr[-2000:]}")
    return python


def middle(runs):
    """Return the run with the median time."""
    good = [run for run in runs if "failed" not in run]
    return sorted(good, key=lambda run: run["seconds"])[(len(good) - 1) // 2] if good else runs[0]


def bars():
    """Return progress bars."""
    return Progress(TextColumn("{task.description:42}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console)


# Sections: each returns rows for the table, (section, what, figures, ratio)


def compare(folder, name, judge):
    """Say how the answers of one differ from those of the judge."""
    theirs, own = np.load(folder / f"answers_{judge}.npy"), np.load(folder / f"answers_{name}.npy")
    lost = len(theirs) - len(own)
    if lost:
        theirs = theirs[np.isin(theirs[:, 0], own[:, 0])]
    differ = len(theirs) if theirs.shape != own.shape else int((~((theirs == own) | (np.isnan(theirs) & np.isnan(own)))).any(axis=1).sum())
    return "the same" if not lost and not differ else f"{lost:,} rows lost, {differ:,} differ"


def section_join(options, folder, progress):
    """Time all joins in turn."""
    python = "" if options.no_feast else peers_python(options.environment)
    write_features(folder / "features.parquet", options.features, options.entities)
    write_spine(folder / "spine.parquet", options.moments, options.entities)
    write_features(folder / "small_features.parquet", 5_000, 100)
    write_spine(folder / "small_spine.parquet", 1_000, 100)
    for size in ("small_", ""):
        written = ours("write", folder, size, "512MB")
    rows = [("join", "write the layout, once", figures(written) | {"note": f"{written.get('bytes', 0) / 1e6:,.0f} MB"}, "")]
    feast = [] if options.no_feast else ["Feast, DuckDB store"]
    for days in options.days:
        names, runs = [*JOINS, *feast], {}
        task = progress.add_task(f"join, {days} days to live", total=len(names) * options.repeat)
        for _ in range(options.repeat):
            for name in names:
                if name in JOINS:
                    run = ours("join", name, folder, days)
                else:
                    run = call([python, HERE / "features_feast.py", "join", "duckdb", folder, days], timeout=1_800)
                    if "failed" not in run:
                        shutil.move(folder / "answers_feast-duckdb.npy", folder / f"answers_{name}.npy")
                runs.setdefault(name, []).append(run)
                progress.advance(task)
        best = min(middle(runs[name])["seconds"] for name in ("Polars", "DuckDB", "pandas") if "seconds" in middle(runs[name]))
        own = middle(runs["mlsys, layout"])["seconds"]
        for name in names:
            run = middle(runs[name])
            if "failed" in run:
                rows.append((f"join, {days} d", name, {"note": run["failed"]}, ""))
                continue
            ratio = f"{best / run['seconds']:.2f} x best of three" if name.startswith("mlsys") else f"layout {run['seconds'] / own:.1f} x as fast"
            rows.append((f"join, {days} d", name + (f" {run['version']}" if "version" in run else ""), figures(run) | {"note": compare(folder, name, "DuckDB")}, ratio))
    return rows + ([] if options.no_feast else feast_file_store(options, folder, python, progress))


def feast_file_store(options, folder, python, progress):
    """Try Feast's file store, which works on all pairs of a moment and a row: on fifty times fewer moments, and on all of them with a bound on memory."""
    task, found = progress.add_task("Feast's file store", total=2), []
    part = folder / "part"
    part.mkdir(exist_ok=True)
    for name in ("features", "small_features", "small_spine"):
        shutil.copy(folder / f"{name}.parquet", part / f"{name}.parquet")
    for moments in (options.moments // 50, options.moments):
        pq.write_table(pq.read_table(folder / "spine.parquet").slice(0, moments), part / "spine.parquet")
        run = call([python, HERE / "features_feast.py", "join", "dask", part, 30], limit=options.peer_memory, timeout=600)
        note = run.get("failed") or f"{moments - run['rows']:,} of {moments:,} rows lost"
        found.append(("join, 30 d", f"Feast, file store, {moments:,} moments", (figures(run) if "seconds" in run else {}) | {"note": note}, ""))
        progress.advance(task)
    return found


def section_large(options, folder, progress):
    """Write and read a large layout with little memory."""
    task = progress.add_task(f"large, {options.large:,} rows", total=3)
    write_features(folder / "large_features.parquet", options.large, options.entities, seed=2)
    write_spine(folder / "large_spine.parquet", options.moments, options.entities, seed=3)
    progress.advance(task)
    written = ours("write", folder, "large_", "2GB", limit=options.memory)
    progress.advance(task)
    read = ours("large", folder, limit=options.memory) if "failed" not in written else {"failed": "not written"}
    progress.advance(task)
    for path in folder.glob("large_*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = read.get("failed") or f"{read['rows']:,} rows back, {read['known']:,} known; {read['compared']:,} compared with DuckDB: {'the same' if read['same'] else 'NOT THE SAME'}"
    return [("large", f"write {options.large:,} rows, limit {options.memory:g} GB", figures(written), ""), ("large", f"read as of {options.moments:,} moments, limit {options.memory:g} GB", figures(read) | {"note": said}, "")]


def section_windows(options, folder, progress):
    """Compute the handbook's features."""
    data = Path(os.environ.get("MLSYS_REAL_DATA", "")) / "fraud_handbook"
    raw = next(iter(sorted(data.glob("transactions_raw_*.parquet"))), None)
    if raw is None:
        return [("windows", "the handbook's features", {"note": "MLSYS_REAL_DATA names no folder with fraud_handbook/"}, "")]
    published = next(iter(sorted(data.glob("transactions_features_*.parquet"))))
    task, runs = progress.add_task("windows, the handbook's features", total=options.repeat + 1), []
    for _ in range(options.repeat):
        runs.append(ours("windows", raw.resolve(), published.resolve()))
        progress.advance(task)
    rolling = ours("rolling", raw.resolve())
    progress.advance(task)
    run = middle(runs)
    note = ""
    if "difference" in run:
        note = (f"largest difference {run['difference']:.1e} in {run['compared']:,} published rows; {run['tied_differ']} of {run['tied']} rows differ whose customer paid twice "
                "in one second, where the authors' answer depends on the order of their file")
    ratio = f"{rolling['seconds'] / run['seconds']:.0f} x as fast as the authors'" if "seconds" in rolling and "seconds" in run else ""
    return [("windows", f"12 features, {run.get('rows', 0):,} rows", figures(run) | ({"note": note} if note else {}), ratio), ("windows", "the same as its authors do, pandas", figures(rolling), "")]


def section_growth(options, folder, progress):
    """Let the table grow."""
    task, rows, points = progress.add_task("growth", total=len(options.growth)), [], []
    for size in options.growth:
        write_transactions(folder / "transactions.parquet", size)
        run = ours("windows", folder / "transactions.parquet", "", "4GB", limit=options.peer_memory)
        rows.append(("growth", f"12 features, {size:,} events", figures(run), ""))
        if "seconds" in run:
            points.append((math.log(size * math.log(size)), math.log(run["seconds"]), math.log(run["processor"])))
        progress.advance(task)
    if len(points) > 1:
        x, wall, processor = np.array(points).T
        rows.append(("growth", "time ~ (n log n)^p", {"note": f"p = {np.polyfit(x, wall, 1)[0]:.2f} by the clock, {np.polyfit(x, processor, 1)[0]:.2f} by the processor"}, ""))
    return rows


def free_port():
    """Return a port that nobody uses."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


class Redis:
    """A Redis server of our own, on loopback and without a file."""

    def __init__(self, folder):
        self.port, program = free_port(), shutil.which("redis-server")
        self.address = f"127.0.0.1:{self.port}" if program else ""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
        self.process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) if program else None

    def __enter__(self):
        for _ in range(100 if self.process else 0):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.05)
        if self.process:
            self.process.terminate()
            sys.exit("redis-server does not answer")
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=10)


def section_online(options, folder, progress):
    """Time reads and writes of the online stores."""
    generator = np.random.default_rng(4)
    moments = pa.array(np.full(options.entities, START)).cast(pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"customer": np.arange(options.entities), "event_time": moments, **{f"f{number}": generator.normal(size=options.entities) for number in range(10)}}), folder / "online.parquet")
    rows = []
    with Redis(folder) as redis:
        kinds = ["sqlite", *(["redis"] if redis.address else [])]
        task = progress.add_task("online", total=len(kinds) + 1)
        peers = {}
        if not options.no_feast:
            python = peers_python(options.environment)
            for kind in kinds:
                peers[kind] = call([python, HERE / "features_feast.py", "online", kind, folder, options.reads, redis.address], timeout=1_800)
                progress.advance(task)
                rows.append(("online", f"Feast, {kind}", {"note": online_note(peers[kind])}, ""))
        if importlib.util.find_spec("features_online"):
            from features_online import online_rows

            rows += online_rows(folder / "online.parquet", redis.address, peers, options.reads)
        progress.advance(task)
    return rows + ([] if redis.address else [("online", "redis", {"note": "no redis-server on the path"}, "")])


def online_note(run):
    """Say what was measured of an online store."""
    if "failed" in run:
        return run["failed"]
    return (f"p50 {run['p50_1']:,.0f} us for 1, {run['p50_100']:,.0f} us for 100; writes {run['write_rate']:,.0f} rows/s, materialize {run['materialize_rate']:,.0f} rows/s; "
            f"{'values right' if run['right'] else 'VALUES WRONG'}")


def section_stream(options, folder, progress):
    """Time the stream reader, where there is one."""
    if not (HERE.parent / "mlsys" / "features" / "stream.py").is_file() or not importlib.util.find_spec("features_stream"):
        return [("stream", "events a second", {"note": "mlsys.features.stream or benchmarks/features_stream.py is not there"}, "")]
    from features_stream import stream_rows

    return stream_rows(folder, progress)


def figures(run):
    """Return the figures of a run for the table."""
    if "failed" in run:
        return {"note": run["failed"]}
    return {"seconds": f"{run['seconds']:.2f}", "processor": f"{run['processor']:.2f}", "peak": f"{run['peak']:,.0f}"}


def main():
    """Measure, and print one table."""
    if sys.argv[1:2] == ["--worker"]:
        return worker(sys.argv[2], sys.argv[3:])
    numbers = lambda text: [int(float(part)) for part in text.split(",") if part]  # noqa: E731 - a type for the parser
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"sections, of {', '.join(SECTIONS)}")
    parser.add_argument("--repeat", type=int, default=5, help="how often each join and the windows are timed; the median counts")
    parser.add_argument("--environment", default="", help="folder of the peers' environment, made if it is not there; a temporary one by default")
    parser.add_argument("--folder", default="", help="folder for the data, some GB; a temporary one by default, removed at the end")
    parser.add_argument("--moments", type=int, default=1_000_000, help="rows of the spine")
    parser.add_argument("--features", type=int, default=5_000_000, help="rows of the features")
    parser.add_argument("--entities", type=int, default=10_000, help="entities")
    parser.add_argument("--days", type=numbers, default=[30, 1], help="times to live, in days")
    parser.add_argument("--large", type=int, default=100_000_000, help="rows of the large table")
    parser.add_argument("--memory", type=float, default=6.0, help="GB of address space for the large table")
    parser.add_argument("--peer-memory", type=float, default=20.0, help="GB of address space for Feast's file store, and for the table that grows")
    parser.add_argument("--growth", type=numbers, default=[500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000], help="sizes of the table that grows")
    parser.add_argument("--reads", type=int, default=500, help="reads of the online stores, each size")
    parser.add_argument("--no-feast", action="store_true", help="leave Feast out")
    options = parser.parse_args()
    chosen = [section for section in options.only.split(",") if section]
    if set(chosen) - set(SECTIONS):
        sys.exit(f"--only takes {', '.join(SECTIONS)}; received {options.only}")
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder or None) as name, bars() as progress:
        options.environment = Path(options.environment).resolve() if options.environment else Path(name) / "peers"
        for section in chosen:
            rows += globals()[f"section_{section}"](options, Path(name), progress)
    table = Table("section", "what", "seconds", "of the processor", "peak MB", "ratio", "answers and notes", title=f"features, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for section, what, found, ratio in rows:
        table.add_row(section, what, found.get("seconds", ""), found.get("processor", ""), found.get("peak", ""), ratio, found.get("note", ""))
    console.print(table)


if __name__ == "__main__":
    main()

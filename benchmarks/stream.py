"""A file larger than it should be: memory and time of `mlsys data infer`.

    python benchmarks/stream.py [--gigabytes 2]

Writes a CSV of ten columns (keys, amounts, times, mixed types, quoted text) into a temporary folder, infers its contract in a process of its own, and prints the file's size, the peak memory of the
process and its time. The file is removed afterwards.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv


def write_rows(path, size, n=200_000):
    """Write rows until the file has the size."""
    rng, start = np.random.default_rng(0), 0
    with open(path, "wb") as file:
        while file.tell() < size:
            rows = np.arange(start, start + n)
            table = pa.table({
                "id": rows, "fare": rng.gamma(2, 6, n).round(2), "payment": rng.choice(["card", "cash", "n/a"], n, p=[0.7, 0.29, 0.01]),
                "at": (np.datetime64("2020-01-01T00:00:00") + rows.astype("timedelta64[s]")).astype(str), "zone": rng.integers(1, 266, n), "tip": rng.normal(2, 1, n).round(3),
                "mixed": np.where(rng.random(n) < 1e-4, "oops", rng.integers(0, 10_000, n).astype(str)), "note": rng.choice(["quick brown fox", "lazy dog, jumping"], n),
                "target": rng.integers(0, 2, n), "person": rng.integers(0, 2_000_000, n),
            })
            csv.write_csv(table, file, csv.WriteOptions(include_header=start == 0))
            start += n


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the file")
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "big.csv"
    write_rows(path, parser.parse_args().gigabytes * 1e9)
    begin = time.perf_counter()
    program = f"from mlsys.cli.command import app; app(['data', 'infer', {str(path)!r}, '--output', {folder + '/c.yaml'!r}])"
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"file {path.stat().st_size / 1e6:,.0f} MB, peak memory {used.ru_maxrss / 1024:,.0f} MB, {time.perf_counter() - begin:,.0f} s ({used.ru_utime + used.ru_stime:,.0f} s of one core)")

"""Files larger than a table should be: peak memory and time of `mlsys data infer`, `new`, `audit` and of a project's stages.

    python benchmarks/stream.py [--gigabytes 2] [--shape mixed texts] [--only infer audit new prepare stages]

Writes a CSV of each shape into a temporary folder (MIXED: 30 columns of keys, times, amounts, categories, mixed types and notes; TEXTS: free texts, hexadecimal ids and addresses), runs each command on it in
a process of its own, and prints the peak memory of the process with all its children, the time, and the time of one core. `stages` runs `mlsys run` for every stage of the project that `new` has made,
with what `new` proposes for a large file. Everything is removed afterwards. Needs twice the file's size of disk, three times with `stages`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml
from pyarrow import csv

from mlsys.pipeline.stage import grid_points

WORDS = np.array("the a quick brown fox jumps over lazy dog order paid late again customer called about refund, parcel \"lost\" in transit since monday asked for new date fine closed".split())


def mixed(rng, rows):
    """Return 30 columns of many kinds, and a target that three of them tell something about."""
    n, table = len(rows), {"id": rows, "customer": rng.integers(0, 2_000_000, len(rows))}
    moment = np.datetime64("2020-01-01T00:00:00") + rows.astype("timedelta64[s]")
    table |= {"at": moment.astype(str), "born": (np.datetime64("1940-01-01") + rng.integers(0, 22_000, n)).astype(str), "fare": rng.gamma(2, 6, n).round(2)}
    table |= {f"amount_{k}": rng.normal(k, 1 + k, n).round(3) for k in range(8)}
    table |= {f"count_{k}": rng.poisson(1 + 3 * k, n) for k in range(5)}
    table |= {"payment": rng.choice(["card", "cash", "n/a"], n, p=[0.7, 0.29, 0.01]), "zone": rng.integers(1, 266, n), "sex": rng.choice(["f", "m"], n), "city": np.char.add("city ", rng.integers(0, 5000, n).astype(str))}
    table |= {"mixed": np.where(rng.random(n) < 1e-4, "oops", rng.integers(0, 10_000, n).astype(str)), "rare": np.where(rng.random(n) < 0.4, "", rng.normal(0, 1, n).round(4).astype(str)), "flag": rng.choice(["true", "false"], n)}
    table |= {"device": np.char.add("d-", rng.integers(0, 100_000, n).astype(str)), "note": rng.choice(["quick brown fox", "lazy dog, jumping", "none of it"], n), "share": rng.random(n).round(5), "level": rng.choice(["low", "mid", "high"], n)}
    logit = 0.5 * (table["amount_1"] - 1) + (table["payment"] == "cash") - 0.05 * table["fare"] - 1
    return table | {"constant": np.full(n, 7), "target": (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(int)}


def texts(rng, rows):
    """Return columns of text: ids, addresses, free words; hardly any value comes twice."""
    n = len(rows)
    raw = rng.bytes(24 * n).hex()
    table = {"uuid": [raw[48 * i:48 * i + 32] for i in range(n)], "session": [raw[48 * i + 32:48 * i + 48] for i in range(n)]}
    for name, length in (("subject", 5), ("body", 25), ("reply", 12)):
        chosen = WORDS[rng.integers(0, len(WORDS), (n, length))]
        table[name] = [" ".join(row) for row in chosen.tolist()]
    table |= {"mail": np.char.add(np.char.add("user", rng.integers(0, 4_000_000, n).astype(str)), "@example.com"), "day": (np.datetime64("2021-01-01") + rows // 4000).astype(str)}
    return table | {"size": rng.integers(0, 100_000, n), "answer": np.where(rng.random(n) < 0.2 + 0.3 * (np.char.find(np.array(table["subject"]), "late") >= 0), "yes", "no")}


SHAPES = {"mixed": (mixed, "target"), "texts": (texts, "answer")}


def write_rows(path, shape, size, n=200_000):
    """Write rows until the file has the size; return their number."""
    rng, start = np.random.default_rng(0), 0
    with open(path, "wb") as file:
        while file.tell() < size:
            csv.write_csv(pa.table(SHAPES[shape][0](rng, np.arange(start, start + n))), file, csv.WriteOptions(include_header=start == 0))
            start += n
    return start


def resident(pid):
    """Return the bytes in memory of a process and all its children, counting what they share once for each."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        try:
            total += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{one}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return total


def measure(name, command, folder, limit):
    """Run a command and print what it took; return its exit code."""
    before, begin, peak, done = os.times(), time.perf_counter(), [0], threading.Event()
    log = open(Path(folder) / f"{name.replace(' ', '_')}.log", "w+")
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)

    def watch():
        while not done.wait(0.05):
            peak[0] = max(peak[0], resident(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        code = f"stopped after {limit} s"
    done.set()
    watcher.join()
    after = os.times()
    core = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{name:34} {peak[0] / 1e6:8,.0f} MB {time.perf_counter() - begin:7,.0f} s {core:7,.0f} s of one core   exit {code}", flush=True)
    log.seek(0)
    if code != 0 and "--quiet" not in sys.argv:
        print("    " + "\n    ".join(log.read().strip().splitlines()[-12:]), flush=True)
    log.close()
    return code


def run(shape, folder, size, only, limit):
    """Measure every command on a file of one shape."""
    path, target, project = folder / f"{shape}.csv", SHAPES[shape][1], folder / f"project_{shape}"
    rows = write_rows(path, shape, size)
    print(f"\n{shape}: {path.stat().st_size / 1e6:,.0f} MB, {rows:,} rows", flush=True)
    mlsys = [sys.executable, "-c", "from mlsys.cli.main import main; main()"]
    if "infer" in only:
        measure(f"{shape} data infer", [*mlsys, "data", "infer", str(path), "--output", f"{shape}.yaml"], folder, limit)
    if "audit" in only:
        measure(f"{shape} audit", [*mlsys, "audit", str(path), "--target", target, "--json", f"{shape}.json"], folder, limit)
    if {"new", "prepare", "stages"} & set(only):
        measure(f"{shape} new", [*mlsys, "new", str(project), "--data", str(path), "--target", target, "--entity", "none", "--sensitive", "none", "--yes"], folder, limit)
    if {"prepare", "stages"} & set(only) and project.is_dir():
        stages = list(yaml.safe_load((project / "dvc.yaml").read_text())["stages"])
        params = yaml.safe_load((project / "params.yaml").read_text())
        for stage in stages if "stages" in only else ["digest", "prepare"]:
            for point in grid_points(params, stage) or [""]:
                measure(f"{shape} run {stage} {point}".strip(), [*mlsys, "run", stage, *filter(None, point.split(","))], project, limit)
    path.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of each file")
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=list(SHAPES), help="what the files hold")
    parser.add_argument("--only", nargs="+", choices=["infer", "audit", "new", "prepare", "stages"], default=["infer", "audit", "new", "stages"], help="what to measure")
    parser.add_argument("--limit", type=float, default=3600, help="seconds after which a command is stopped")
    parser.add_argument("--quiet", action="store_true", help="do not print the end of what a failing command says")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for item in given.shape:
            run(item, Path(place), given.gigabytes * 1e9, given.only, given.limit)

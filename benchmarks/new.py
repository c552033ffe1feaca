"""`mlsys new` on published tables: does a project made with no edit by hand run, or stop with a finding about its data?

    MLSYS_REAL_DATA=DIR python benchmarks/new.py [NAME ...]     all tables by default; prints one line a table

A table is a file in DIR. `options` are what its owner knows and no proposal can: nothing, for most of them.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Case:
    """One table, what is said of it, and the columns that a finding must name; none where the run must be green."""

    name: str
    file: str  # relative to the folder of the real tables
    options: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    problem: str = "binary"
    also: tuple[str, ...] = ()  # what a person who agrees leaves out beside them


@dataclass
class Outcome:
    """How far it came."""

    state: str  # "green", "finding" or "failed"
    words: str  # what the first failure said; "" where all is green
    seconds: dict[str, float] = field(default_factory=dict)  # of `new` and of `repro`


TAXI = "nyc_yellow_taxi/yellow_tripdata_sample_2019-02.csv.gz"
CASES = [
    Case("adult", "adult/adult.data"),
    Case("german_credit", "german_credit/german.data"),
    Case("bank_marketing", "bank_marketing/bank-additional-full.csv.gz", ("--in-time-order",), ("duration",)),
    Case("elec_csv", "elec2/elec.csv", ("--in-time-order",)),
    Case("elec_arff", "elec2/elecNormNew.arff.gz"),
    Case("cookie_cats", "cookie_cats/cookie_cats.csv"),
    Case("fraud", "fraud_handbook/transactions_features_2018-07-25_2018-08-07.parquet", (), ("TX_FRAUD_SCENARIO",)),
    Case("bike_sharing", "bike_sharing/hour.csv", (), ("casual", "registered"), "regression"),
    Case("taxi_tip", TAXI, ("--target", "tip_amount"), ("total_amount",), "regression", ("payment_type",)),  # the total less the other amounts is the tip
    Case("taxi_payment", TAXI, ("--target", "payment_type"), ("tip_amount",), "multiclass", ("total_amount",)),  # a tip is entered when a card is charged; the total holds it
]


def call(command, folder):
    """Run a command of this environment in a folder."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", "")])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800)


def failure(folder, done):
    """What stopped the run: the stage, and the words of its error."""
    note = folder / "reports" / "timing" / "failed.json"
    stage = json.loads(note.read_text())["stage"] if note.is_file() else "mlsys"
    words = done.stderr[done.stderr.find("error: ") :].split("ERROR: failed to reproduce")[0]
    return stage, words.removeprefix("error: ").strip()


# Small models and few draws, but all rows: an audit of a sample sees less than there is.
OVERRIDES = ("profile=smoke", "profile.max_rows=0")


def try_table(case, data, folder):
    """Make a project from a table and run it."""
    begun = time.perf_counter()
    made = call(["mlsys", "new", str(folder), "--data", str(data / case.file), "--yes", *case.options], folder.parent)
    seconds = {"new": time.perf_counter() - begun}
    if made.returncode:
        return Outcome("failed", made.stderr.strip(), seconds)
    composed = call(["mlsys", "compose", *OVERRIDES], folder)
    if composed.returncode:
        return Outcome("failed", composed.stderr.strip(), seconds)
    begun = time.perf_counter()
    done = call(["mlsys", "repro"], folder)
    seconds["repro"] = time.perf_counter() - begun
    if done.returncode == 0:
        return Outcome("green", "", seconds)
    stage, words = failure(folder, done)
    return Outcome("finding" if "LeakageError" in words else "failed", f"{stage}: {words}", seconds)


def main(names):
    """Print one line a table."""
    data = Path(os.environ["MLSYS_REAL_DATA"]).resolve()
    print(f"{'table':16} {'problem':12} {'outcome':9} {'new s':>6} {'repro s':>8}  words")
    known = {case.name: case for case in CASES}
    for case in [known[name] for name in names or known]:
        base = Path(tempfile.mkdtemp())
        try:
            outcome = try_table(case, data, base / case.name)
        finally:
            shutil.rmtree(base, ignore_errors=True)
        shown = " ".join(outcome.words.split())[:400]
        print(f"{case.name:16} {case.problem:12} {outcome.state:9} {outcome.seconds['new']:6.1f} {outcome.seconds.get('repro', 0):8.1f}  {shown}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

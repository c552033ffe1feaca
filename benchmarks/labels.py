"""Labelling functions and the label model beside Snorkel and crowd-kit: seconds, and accuracy on three kinds of votes.

    python benchmarks/labels.py [--repeat 5] [--rows 100000] [--environment FOLDER]

Two measurements, in seconds of the processor, one thread each, so that what else the machine does counts little. Ten rules over a table of comments (three look for words, seven compare numbers): our functions get the table, Snorkel's `PandasLFApplier` calls the same rules row by row. And twenty functions' votes on the same rows: the fit
of `LabelModel` beside that of `snorkel.labeling.model.LabelModel`, both warm, and the accuracy of both, of crowd-kit's Dawid-Skene, of the majority vote and of the Bayes rule that
knows the truth. Snorkel and crowd-kit are installed into an environment of their own (made once, in the folder given or a temporary one), because their requirements are not ours.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
import warnings
from configparser import ConfigParser
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

REPO = Path(__file__).resolve().parents[1]
KINDS = {"independent": {}, "one_sided": {}, "echoes": {"accuracy": (0.6, 0.9)}}
WORDS = ("subscribe", "http", "check out")
LIMITS = (("likes", 90), ("capitals", 40), ("words", 13), ("hour", 21), ("replies", 8), ("lines", 3), ("age_days", 300))  # columns, and above which number a rule votes
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

PEERS = '''
import json, statistics, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np, pandas as pd, torch
torch.set_num_threads(1)
from snorkel.labeling import PandasLFApplier, labeling_function
from snorkel.labeling.model import LabelModel
folder, repeat, words = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])

def timed(work):
    begun = time.process_time()
    result = work()
    return time.process_time() - begun, result

def rule(word, vote):
    @labeling_function(name=word)
    def votes(row):
        return vote if word in row.text else -1
    return votes

def limit(column, number, vote):
    @labeling_function(name=column)
    def votes(row):
        return vote if row[column] > number else -1
    return votes

table = pd.read_parquet(f"{folder}/comments.parquet")
words, limits = words
rules = [rule(word, number % 2) for number, word in enumerate(words)] + [limit(column, most, number % 2) for number, (column, most) in enumerate(limits)]
seconds, votes = timed(lambda: PandasLFApplier(lfs=rules).apply(table, progress_bar=False))
found = {"apply": seconds, "votes": int((votes + 1).sum())}
for kind in json.loads(sys.argv[4]):
    data = np.load(f"{folder}/{kind}.npz")
    votes, truth, runs = data["votes"].astype(int), data["truth"], []
    for _ in range(repeat + 1):  # the first one warms up
        model = LabelModel(cardinality=2, verbose=False)
        runs.append(timed(lambda: model.fit(votes, seed=1, progress_bar=False))[0])
    found[kind] = {"fit": statistics.median(runs[1:]), "snorkel": float((model.predict(votes) == truth).mean())}
    try:
        from crowdkit.aggregation import DawidSkene
        row, column = np.nonzero(votes >= 0)
        long = pd.DataFrame({"task": row, "worker": column, "label": votes[row, column]})
        answer = DawidSkene(n_iter=50).fit_predict(long).reindex(range(len(truth))).fillna(0)
        found[kind]["crowd-kit"] = float((answer.to_numpy() == truth).mean())
    except ImportError:
        found[kind]["crowd-kit"] = None
print(json.dumps(found))
'''


def peers_python(folder):
    """Make an environment with Snorkel and crowd-kit, PyTorch first by its exact version, and return its interpreter."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        print(f"installing snorkel and crowd-kit into {folder} (once)")
        venv.create(folder, with_pip=True)
    config = ConfigParser(delimiters=["="])
    config.read(REPO / "settings.ini")
    torch = re.search(r"torch==\S+", config["DEFAULT"]["requirements"])[0]
    for packages, needed in (([torch], True), (["snorkel", "pyarrow"], True), (["crowd-kit"], False)):
        done = subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *packages], capture_output=True, text=True)
        if done.returncode and needed:
            sys.exit(f"pip could not install {packages}:\n{done.stderr[-2000:]}")
    return python


def comments(n_rows, seed=0):
    """Draw a table of comments, some with the words that the rules look for."""
    generator = np.random.default_rng(seed)
    fill = np.array(["the", "video", "is", "so", "nice", "I", "watch", "it", "every", "day"])
    texts = [" ".join(fill[generator.integers(0, 10, 12)]) for _ in range(1_000)]
    extra = np.array(["", *WORDS])
    numbers = {"likes": 100, "capitals": 50, "words": 16, "hour": 24, "replies": 10, "lines": 6, "age_days": 365}
    return pd.DataFrame({name: generator.integers(0, most, n_rows) for name, most in numbers.items()} | {"text": [f"{texts[a]} {extra[b]} {extra[c]}" for a, b, c in zip(generator.integers(0, 1_000, n_rows), *generator.integers(0, len(extra), (2, n_rows)), strict=True)]})


def measure_ours(table, drawn, repeat):
    """Time our functions and our fit, warm; return seconds and accuracies."""
    from mlsys.labels.function import apply_functions, labelling_function
    from mlsys.labels.model import LabelModel, LabelWarning

    warnings.simplefilter("ignore", LabelWarning)
    rules = [labelling_function(lambda frame, word=word: frame["text"].str.contains(word, regex=False), name=word, votes_for=number % 2) for number, word in enumerate(WORDS)]
    rules += [labelling_function(lambda frame, column=column, most=most: frame[column] > most, name=column, votes_for=number % 2)
              for number, (column, most) in enumerate(LIMITS)]

    def timed(work):
        begun = time.process_time()
        result = work()
        return time.process_time() - begun, result

    runs = [timed(lambda: apply_functions(rules, table, 2)) for _ in range(repeat + 1)]
    found = {"apply": statistics.median(seconds for seconds, _ in runs[1:]), "votes": int((runs[0][1] + 1).sum())}
    for kind, simulated in drawn.items():
        fits = [timed(lambda simulated=simulated: LabelModel(2).fit(simulated.votes.astype(int))) for _ in range(repeat + 1)]
        found[kind] = {"fit": statistics.median(seconds for seconds, _ in fits[1:]), "mlsys": float((fits[-1][1].predict(simulated.votes) == simulated.truth).mean())}
    return found


def main():
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="how often each fit is timed after warming up; the median counts")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of both tables")
    parser.add_argument("--environment", default="", help="folder of the peers' environment, made if it is not there; a temporary one by default")
    options = parser.parse_args()
    os.environ.update(ONE_THREAD)
    from mlsys.labels.simulate import simulate_votes

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = peers_python(Path(options.environment).resolve() if options.environment else folder / "peers")
        table = comments(options.rows)
        table.to_parquet(folder / "comments.parquet")
        drawn = {kind: simulate_votes(kind, options.rows, 20, seed=0, **settings) for kind, settings in KINDS.items()}
        for kind, simulated in drawn.items():
            np.savez(folder / f"{kind}.npz", votes=simulated.votes, truth=simulated.truth)
        ours = measure_ours(table, drawn, max(1, options.repeat))
        command = [str(python), "-c", PEERS, name, str(max(1, options.repeat)), json.dumps([WORDS, LIMITS]), json.dumps(list(KINDS))]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ONE_THREAD})
        if done.returncode:
            sys.exit(f"the peers failed:\n{done.stderr[-2000:]}")
        peers = json.loads(done.stdout.strip().splitlines()[-1])
    if ours["votes"] != peers["votes"]:
        sys.exit("the rules of both sides do not vote alike; their times cannot be compared")
    report(ours, peers, drawn, options.rows)


def report(ours, peers, drawn, n_rows):
    """Print speed and accuracy side by side."""
    speed = Table("what", "mlsys, s", "Snorkel, s", "times as fast", title=f"speed, {n_rows:,} rows, one thread")
    speed.add_row("apply ten functions", f"{ours['apply']:.3f}", f"{peers['apply']:.2f}", f"{peers['apply'] / ours['apply']:.0f}")
    right = Table("votes of 20 functions", "mlsys", "Snorkel", "crowd-kit", "majority", "Bayes rule", title="accuracy, class balance not given")
    for kind, simulated in drawn.items():
        speed.add_row(f"fit, {kind}", f"{ours[kind]['fit']:.3f}", f"{peers[kind]['fit']:.3f}", f"{peers[kind]['fit'] / ours[kind]['fit']:.1f}")
        kit = peers[kind]["crowd-kit"]
        right.add_row(kind, f"{ours[kind]['mlsys']:.3f}", f"{peers[kind]['snorkel']:.3f}", "not installed" if kit is None else f"{kit:.3f}",
                      f"{simulated.majority_accuracy:.3f}", f"{simulated.bayes_accuracy:.3f}")
    for printed in (speed, right):
        Console().print(printed)


if __name__ == "__main__":
    main()

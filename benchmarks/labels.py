"""Labelling functions and the label model beside Snorkel and crowd-kit: seconds, and accuracy on three kinds of votes.

    python benchmarks/labels.py [--repeat 5] [--rows 100000] [--environment FOLDER]

Two measurements, one thread each. Ten rules over a table of comments (three look for words, seven compare numbers), written as pandas and Snorkel's tutorial write such rules (a word by
`str.contains` as it is; its option `regex=False` takes half as long again, in pandas' own search): our functions get the table, Snorkel's `PandasLFApplier` calls the same rules row by row. And twenty functions' votes on the same rows: the fit of `LabelModel` beside that of `snorkel.labeling.model.LabelModel`, and the
accuracy of both, of crowd-kit's Dawid-Skene, of the majority vote and of the Bayes rule that knows the truth.

Both sides run in turns, once each, until each has been timed as often as was asked, after one round to warm up; so what else the machine does hits both. Seconds are those of the processor, the median
of the rounds; beside their ratio stands that of the seconds on the wall. Snorkel and crowd-kit are installed into an environment of their own (made once, in the folder given or a temporary one),
because their requirements are not ours.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import venv
import warnings
from configparser import ConfigParser
from contextlib import suppress
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
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np, pandas as pd, torch
torch.set_num_threads(1)
from snorkel.labeling import PandasLFApplier, labeling_function
from snorkel.labeling.model import LabelModel
folder, words, limits = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])

def timed(work):
    begun = time.process_time(), time.perf_counter()
    result = work()
    return [time.process_time() - begun[0], time.perf_counter() - begun[1]], result

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
rules = [rule(word, number % 2) for number, word in enumerate(words)] + [limit(column, most, number % 2) for number, (column, most) in enumerate(limits)]

def apply(_):
    seconds, votes = timed(lambda: PandasLFApplier(lfs=rules).apply(table, progress_bar=False))
    return {"seconds": seconds, "votes": int((votes + 1).sum())}

def fit(kind):
    data, model = np.load(f"{folder}/{kind}.npz"), LabelModel(cardinality=2, verbose=False)
    votes = data["votes"].astype(int)
    seconds, _ = timed(lambda: model.fit(votes, seed=1, progress_bar=False))
    return {"seconds": seconds, "right": float((model.predict(votes) == data["truth"]).mean())}

def crowd_kit(kind):
    try:
        from crowdkit.aggregation import DawidSkene
    except ImportError:
        return None
    data = np.load(f"{folder}/{kind}.npz")
    row, column = np.nonzero(data["votes"] >= 0)
    long = pd.DataFrame({"task": row, "worker": column, "label": data["votes"][row, column]})
    answer = DawidSkene(n_iter=50).fit_predict(long).reindex(range(len(data["truth"]))).fillna(0)
    return float((answer.to_numpy() == data["truth"]).mean())

for line in sys.stdin:
    what, _, kind = line.strip().partition(" ")
    print(json.dumps({"apply": apply, "fit": fit, "crowd-kit": crowd_kit}[what](kind)), flush=True)
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


def timed(work):
    """Return the seconds of the processor and on the wall that a call takes, and what it returns."""
    begun = time.process_time(), time.perf_counter()
    result = work()
    return [time.process_time() - begun[0], time.perf_counter() - begun[1]], result


def our_rules():
    """Write the rules as functions of the whole table."""
    from mlsys.labels.function import labelling_function

    rules = [labelling_function(lambda frame, word=word: frame["text"].str.contains(word), name=word, votes_for=number % 2) for number, word in enumerate(WORDS)]
    return rules + [labelling_function(lambda frame, column=column, most=most: frame[column] > most, name=column, votes_for=number % 2)
                    for number, (column, most) in enumerate(LIMITS)]


def in_turns(ours, peer, repeat):
    """Run both sides in turns, and return for each the medians of its seconds and its last answer."""
    seconds = [], []
    for _ in range(repeat + 1):
        took, answer = timed(ours)
        found = peer()
        seconds[0].append(took)
        seconds[1].append(found["seconds"])
    return [np.median(side[1:], axis=0) for side in seconds], answer, found


def compare(ask, table, drawn, repeat):
    """Time both sides; return the rows of the table of speed and of the table of accuracy."""
    from mlsys.labels.function import apply_functions
    from mlsys.labels.model import LabelModel, LabelWarning

    warnings.simplefilter("ignore", LabelWarning)
    rules = our_rules()
    seconds, votes, peer = in_turns(lambda: apply_functions(rules, table, 2), lambda: ask("apply"), repeat)
    if int((votes + 1).sum()) != peer["votes"]:
        sys.exit("the rules of both sides do not vote alike; their times cannot be compared")
    speed, right = [("apply ten functions", *seconds)], []
    for kind, simulated in drawn.items():
        votes = simulated.votes.astype(int)
        seconds, model, peer = in_turns(lambda votes=votes: LabelModel(2).fit(votes), lambda kind=kind: ask(f"fit {kind}"), repeat)
        speed.append((f"fit, {kind}", *seconds))
        ours = float((model.predict(votes) == simulated.truth).mean())
        right.append((kind, ours, peer["right"], ask(f"crowd-kit {kind}"), simulated.majority_accuracy, simulated.bayes_accuracy))
    return speed, right


def main():
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="how often each side is timed after warming up; the median counts")
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
        command = [str(python), "-c", PEERS, name, json.dumps(WORDS), json.dumps(LIMITS)]
        with open(folder / "errors.txt", "w+") as errors, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env={**os.environ, **ONE_THREAD}) as peers:
            def ask(what):
                """Let the peers do something, and return their answer."""
                with suppress(BrokenPipeError):  # they ended; the answer is empty then, and their errors say why
                    print(what, file=peers.stdin, flush=True)
                answer = peers.stdout.readline()
                if not answer:
                    errors.seek(0)
                    sys.exit(f"the peers failed:\n{errors.read()[-2000:]}")
                return json.loads(answer)

            report(*compare(ask, table, drawn, max(1, options.repeat)), options.rows)


def report(speed, right, n_rows):
    """Print speed and accuracy side by side."""
    fast = Table("what", "mlsys, s", "Snorkel, s", "times as fast", "by the wall", title=f"speed, {n_rows:,} rows, one thread")
    for what, ours, peer in speed:
        fast.add_row(what, f"{ours[0]:.4f}", f"{peer[0]:.3f}", f"{peer[0] / ours[0]:.1f}", f"{peer[1] / ours[1]:.1f}")
    shares = Table("votes of 20 functions", "mlsys", "Snorkel", "crowd-kit", "majority", "Bayes rule", title="accuracy, class balance not given")
    for kind, *found in right:
        shares.add_row(kind, *["not installed" if share is None else f"{share:.3f}" for share in found])
    for printed in (fast, shares):
        Console().print(printed)


if __name__ == "__main__":
    main()

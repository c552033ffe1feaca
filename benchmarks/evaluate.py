"""Intervals of every metric beside a loop over scikit-learn's metrics, and the search for slices: seconds, one thread.

    python benchmarks/evaluate.py [--repeat 3] [--rows 100000] [--draws 1000] [--loop 10]

Three kinds of target. Scores are all different, which is the hard case: nothing can be counted together. Each side measures the same figures; ours in `--draws` bootstrap draws of the rows, scikit-learn's functions in `--loop` draws, whose time is
scaled (the loop has no memory: each draw takes as long as another). The values of the sample are compared first, and a figure that differs ends the run. Sides run in turns, after one round to warm up; seconds are those of the processor, the median of the
rounds, and both sides carry the drawing of the rows. The law of the draws is the plain bootstrap's on both sides: rows with replacement, as many as there are.

The search goes through every slice of one or two conditions of a table of 50,000 rows and 50 columns with a planted slice, and confirms on the half of the rows that was not searched.
"""

import argparse
import statistics
import sys
import time
import warnings

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from sklearn import metrics
from threadpoolctl import threadpool_limits

from mlsys.evaluate.measure import measure
from mlsys.evaluate.search import SliceSearch
from mlsys.objective.cost import Costs
from mlsys.objective.problem import ClassCosts, ErrorCosts


def make_binary(rows, rng):
    """A binary outcome with calibrated scores, and what scikit-learn has to say of rows."""
    scores = rng.beta(0.5, 2, rows)
    y, costs = (rng.random(rows) < scores).astype(int), Costs(0, 1, 5, 0)
    decided = costs.decide(scores)

    def loop(some):
        truth, score, decision = y[some], scores[some], decided[some]
        return {
            "auc_roc": metrics.roc_auc_score(truth, score), "average_precision": metrics.average_precision_score(truth, score), "log_loss": metrics.log_loss(truth, score),
            "brier": metrics.brier_score_loss(truth, score), "accuracy": metrics.accuracy_score(truth, decision), "precision": metrics.precision_score(truth, decision),
            "recall": metrics.recall_score(truth, decision), "f1": metrics.f1_score(truth, decision),
        }  # fmt: skip

    return costs, y, scores, loop


def make_classes(rows, rng):
    """Three classes."""
    scores = rng.dirichlet([1, 1, 1], rows)
    y, costs = (scores.cumsum(axis=1) < rng.random(rows)[:, None]).sum(axis=1).clip(0, 2), ClassCosts(["a", "b", "c"])
    decided = costs.decide(scores)

    def loop(some):
        truth, score, decision = y[some], scores[some], decided[some]
        return {
            "macro_auc": metrics.roc_auc_score(truth, score, multi_class="ovr"), "log_loss": metrics.log_loss(truth, score), "accuracy": metrics.accuracy_score(truth, decision),
            "balanced_accuracy": metrics.balanced_accuracy_score(truth, decision), "macro_f1": metrics.f1_score(truth, decision, average="macro"),
            "weighted_f1": metrics.f1_score(truth, decision, average="weighted"),
        }  # fmt: skip

    return costs, y, scores, loop


def make_amounts(rows, rng):
    """A quantity."""
    y = rng.gamma(2, 2, rows) + 0.1
    scores = y + rng.normal(0, 1, rows)

    def loop(some):
        truth, score = y[some], scores[some]
        return {
            "mae": metrics.mean_absolute_error(truth, score), "rmse": metrics.root_mean_squared_error(truth, score), "r2": metrics.r2_score(truth, score),
            "median_ae": metrics.median_absolute_error(truth, score), "mape": metrics.mean_absolute_percentage_error(truth, score),
            "pinball_loss": metrics.mean_pinball_loss(truth, score, alpha=1 / 3),
        }  # fmt: skip

    return ErrorCosts(1, 2), y, scores, loop


def clocked(work):
    """Return the seconds of the processor that some work takes."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def compare(make, options):
    """Return our seconds and those of the loop, scaled to as many draws."""
    rng = np.random.default_rng(0)
    costs, y, scores, loop = make(options.rows, rng)
    card, peer = measure(costs, y, scores, n_bootstrap=2), loop(np.arange(options.rows))
    wrong = {name: (card[name]["value"], value) for name, value in peer.items() if abs(card[name]["value"] - value) > 1e-9 * max(1, abs(value))}
    if wrong:
        sys.exit(f"the two sides do not measure the same: {wrong}")

    def ours():
        return clocked(lambda: measure(costs, y, scores, n_bootstrap=options.draws))

    def theirs():
        return clocked(lambda: [loop(rng.integers(0, options.rows, options.rows)) for _ in range(options.loop)]) * options.draws / options.loop

    rounds = [(ours(), theirs()) for _ in range(options.repeat + 1)][1:]
    return [statistics.median(side) for side in zip(*rounds, strict=True)], len(card), len(peer)


def search(repeat):
    """Return the seconds of preparing and of one search, and what was found, on 50,000 rows and 50 columns."""
    rng, rows = np.random.default_rng(0), 50_000
    table = pd.DataFrame({f"number_{place}": rng.normal(size=rows) for place in range(40)} | {f"kind_{place}": rng.choice(list("abcdef"), rows) for place in range(10)})
    planted = (table["number_3"] > table["number_3"].quantile(0.6)) & (table["kind_2"] == "b")
    losses = np.where(rng.random(rows) < np.where(planted, 0.2, 0.1), 5.0, 0.0)
    made = []
    prepare = statistics.median(clocked(lambda: made.append(SliceSearch(table, list(table.columns)))) for _ in range(repeat))
    found = []
    find = statistics.median(clocked(lambda: found.append(made[-1].find(losses))) for _ in range(repeat))
    return prepare, find, found[-1]


def main():
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3, help="how often each side is timed after warming up; the median counts")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the sample")
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap draws behind the intervals")
    parser.add_argument("--loop", type=int, default=10, help="draws of the loop over scikit-learn's functions")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        report(options)


def report(options):
    """Measure and print."""
    shown = Table("target", "mlsys, s", "figures", "scikit-learn in a loop, s (scaled)", "figures", "times as fast", title=f"{options.draws:,} draws of {options.rows:,} rows, all scores different, one thread")
    for name, make in (("two outcomes", make_binary), ("three classes", make_classes), ("a quantity", make_amounts)):
        (ours, theirs), count, peers = compare(make, options)
        shown.add_row(name, f"{ours:.2f}", str(count), f"{theirs:.1f}", str(peers), f"{theirs / ours:.1f}")
    prepare, find, found = search(options.repeat)
    slices = Table("prepare, s", "search and confirm, s", "slices searched", "confirmed", "the worst", title="slices, 50,000 rows × 50 columns, one thread")
    slices.add_row(f"{prepare:.2f}", f"{find:.2f}", f"{found.attrs['searched']:,}", str(int((found["verdict"] == "fails").sum())), found["slice"][0] if len(found) else "-")
    for printed in (shown, slices):
        Console().print(printed)


if __name__ == "__main__":
    main()

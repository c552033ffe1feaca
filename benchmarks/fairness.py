"""Metrics of every group with intervals: from one count table, and by Fairlearn's MetricFrame, in one run.

    python benchmarks/fairness.py [rows] [groups]

100,000 rows, 10 groups and four metrics by default; `MetricFrame` draws 100 bootstrap samples, `assess_groups` 1,000, with a correction for all pairs of groups, a table of every figure beside everybody else's, and three more metrics.
Prints seconds, their ratio, and the largest distance between the two sets of values.
"""

import sys
import time
import warnings

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from sklearn.metrics import accuracy_score

from mlsys.fairness.assess import assess_groups
from mlsys.objective.cost import Costs

METRICS = {"selection_rate": selection_rate, "accuracy": accuracy_score, "true_positive_rate": true_positive_rate, "false_positive_rate": false_positive_rate}


def rows_of(rows, groups, seed=0):
    rng = np.random.default_rng(seed)
    town = np.array([f"town {place}" for place in range(groups)], dtype=object)[rng.integers(0, groups, rows)]
    y = (rng.random(rows) < 0.3).astype(int)
    return y, (rng.random(rows) < np.where(y == 1, 0.7, 0.2)).astype(int), pd.DataFrame({"town": town})


def fastest(call, repeats):
    spent = []
    for _ in range(repeats):
        begun = time.perf_counter()
        result = call()
        spent.append(time.perf_counter() - begun)
    return min(spent), result


def main(rows=100_000, groups=10):
    y, decisions, people = rows_of(rows, groups)
    costs = Costs(0, 1, 5, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, found = fastest(lambda: assess_groups(y, decisions, sensitive_features=people, costs=costs, n_bootstrap=1000), 7)
        theirs, frame = fastest(lambda: MetricFrame(metrics=METRICS, y_true=y, y_pred=decisions, sensitive_features=people["town"], n_boot=100, ci_quantiles=[0.025, 0.975], random_state=0), 1)
    table = found.table("town")
    distance = max(float(np.abs(table[name] - frame.by_group.loc[table.index, name].astype(float)).max()) for name in METRICS)
    width = np.mean([float((end - start).abs().mean()) for start, end in [(frame.by_group_ci[0][name], frame.by_group_ci[1][name]) for name in METRICS]])
    mine = found.groups[found.groups["metric"].isin(METRICS)]
    print(f"{rows:,} rows, {groups} groups, {len(METRICS)} metrics")
    print(f"MetricFrame,    100 draws  {theirs:9.3f} s")
    print(f"assess_groups, 1,000 draws {ours:9.4f} s")
    print(f"ratio {theirs / ours:,.0f}")
    print(f"largest distance of values {distance:.1e}; mean width of intervals {width:.4f} and {float((mine['high'] - mine['low']).mean()):.4f}")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))

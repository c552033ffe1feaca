"""Latency: what is slow is seen to be slow, what only stalls once is not."""

import gc
import time

import numpy as np
import pandas as pd
import pytest

from mlsys.core import ConfigError
from mlsys.evaluate.latency import budget_table, measure_latency, tail_interval, time_calls
from mlsys.objective.budget import Budget


class Sleeper:
    """A model that takes 2 ms a call, and 20 ms for a row with a large value."""

    def __init__(self):
        self.shapes = []

    def predict_proba(self, rows):
        self.shapes.append(len(rows))
        time.sleep(0.02 if rows["x"].iloc[0] > 90 else 0.002)
        return np.tile([0.5, 0.5], (len(rows), 1))


def test_median_and_tail_are_told_apart():
    model = Sleeper()
    latency = measure_latency(model, pd.DataFrame({"x": range(100)}), single_rows=100, batches=3)
    assert 2_000 <= latency["p50_us"] < 15_000
    assert latency["p99_us"] >= 20_000
    assert latency["batch_rows"] == 100 and latency["batch_p50_us_per_row"] >= 20
    assert set(model.shapes) == {1, 100} and model.shapes.count(100) == 4  # three batches and one to warm up


def test_a_stall_that_happens_once_does_not_count():
    stalls = iter([0.0] * 4 + [0.05] + [0.0] * 100)
    assert time_calls(lambda _: time.sleep(next(stalls)), [0] * 10, warm_up=3).max() < 40_000


def test_rows_are_used_again_when_there_are_few():
    model = Sleeper()
    measure_latency(model, pd.DataFrame({"x": [1, 2]}), single_rows=7, batches=1)
    assert model.shapes.count(1) == 3 + 2 * 7


def test_the_collector_is_left_as_it_was():
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        time_calls(lambda _: 1 / 0, [0], warm_up=0)
    assert gc.isenabled()


@pytest.mark.parametrize(("options", "words"), [({"single_rows": 0}, "single_rows"), ({"batches": 0}, "batches")])
def test_nothing_to_time_is_an_error(options, words):
    with pytest.raises(ConfigError, match=words):
        measure_latency(Sleeper(), pd.DataFrame({"x": [1]}), **options)
    with pytest.raises(ConfigError, match="rows: received 0"):
        measure_latency(Sleeper(), pd.DataFrame({"x": []}))


def test_the_interval_of_the_tail_covers_it():
    rng, true = np.random.default_rng(0), -np.log(0.01)
    found = [tail_interval(rng.exponential(1, 2000)) for _ in range(300)]
    assert sum(entry["p99_low_us"] <= true <= entry["p99_high_us"] for entry in found) >= 0.93 * 300
    assert tail_interval(np.array([5.0])) == {"p99_low_us": 5.0, "p99_high_us": 5.0}


def test_a_budget_is_judged_by_three_verdicts_and_no_limit_by_none():
    took = {"p99_us": 100.0, "p99_low_us": 80.0, "p99_high_us": 130.0, "compute_us_per_answer": 50.0, "bytes": 1000}
    table = budget_table({"a": took}, Budget(max_latency_us=110, max_bytes=2000, max_compute_us=40)).set_index("measure")["verdict"]
    assert table.to_dict() == {"latency_p99_us": "not enough evidence", "bytes": "holds", "compute_us_per_answer": "fails"}
    assert set(budget_table({"a": took}, Budget())["verdict"]) == {""}

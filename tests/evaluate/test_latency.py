"""Latency: what is slow is seen to be slow, what only stalls once is not."""

import gc
import time

import numpy as np
import pandas as pd
import pytest

from mlsys.core import ConfigError
from mlsys.evaluate.latency import measure_latency, time_calls


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

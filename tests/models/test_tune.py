"""The search for settings: later rows judge earlier ones, nobody is on both sides, nothing is lost by an interrupt."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.data.roles import Roles
from mlsys.models import tune
from mlsys.models.tune import Trials, forward_folds, parse_ranges, tune_rung

EAGER = {"learning_rate": 0.3, "max_iter": 20, "max_leaf_nodes": 31, "min_samples_leaf": 5}
SEARCH = ["boosted.learning_rate = 0.01 .. 0.3 log", "boosted.max_leaf_nodes = 2 | 31"]


def table_of(rows, seed=0):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"x": rng.normal(size=rows), "z": rng.normal(size=rows), "who": rng.integers(0, max(2, rows // 5), rows),
                          "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 400, rows)), "D")})
    return table.assign(y=(rng.random(rows) < 1 / (1 + np.exp(-2 * table["x"]))).astype(int), amount=3 * table["x"] + rng.normal(size=rows))


@settings(max_examples=60, deadline=None)
@given(st.integers(40, 200), st.integers(1, 4), st.integers(0, 30), st.booleans(), st.booleans(), st.integers(0, 2**16))
def test_what_is_judged_was_not_known(rows, n_folds, delay, in_time, by_person, seed):
    table = table_of(rows, seed).sample(frac=1, random_state=seed).reset_index(drop=True)
    roles = Roles("y", "1", "0", numeric=["x"], time="when" if in_time else "", group="who" if by_person else "", label_delay_days=delay if in_time else 0)
    for fitted, judged in forward_folds(table, roles, n_folds, seed):
        assert not set(fitted) & set(judged) and len(set(fitted)) == len(fitted)
        if by_person:
            assert not set(table["who"].iloc[fitted]) & set(table["who"].iloc[judged])
        if in_time:
            assert table["when"].iloc[fitted].max() + pd.Timedelta(days=delay) <= table["when"].iloc[judged].min()
            assert table["when"].iloc[fitted].is_monotonic_increasing


def test_rows_in_time_order_without_a_clock_go_forward_too():
    folds = forward_folds(table_of(90), Roles("y", "1", "0", numeric=["x"], rows_in_time_order=True), 2)
    assert [(fitted.max() + 1, judged.min()) for fitted, judged in folds] == [(30, 30), (60, 60)]


def test_a_search_finds_better_settings_and_says_so():
    roles = Roles("y", "1", "0", numeric=["x", "z"])
    found = tune_rung("boosted", table_of(600), roles, [], EAGER, SEARCH, n_trials=5, n_folds=2)
    assert found.settings["learning_rate"] < 0.3 and set(found.settings) == set(EAGER)
    last = [trial for trial in found.trials if trial["share_of_rows"] == 1]
    assert last[0]["learning_rate"] == 0.3 and min(trial["loss"] for trial in last) < last[0]["loss"]  # the configuration is in the last round
    assert "instead of" in found.reason and "learning_rate" in found.reason


def test_rounds_halve_the_settings_and_the_configuration_stays():
    roles = Roles("y", "1", "0", numeric=["x", "z"])
    found = tune_rung("boosted", table_of(2000), roles, [], EAGER, SEARCH[:1], n_trials=6, n_folds=1)
    shares = pd.Series([trial["share_of_rows"] for trial in found.trials]).value_counts()
    assert shares.to_dict() == {0.25: 7, 0.5: 4, 1.0: 3}
    assert sum(trial["learning_rate"] == 0.3 for trial in found.trials) == 3


@pytest.mark.parametrize("problem", ["multiclass", "regression"])
def test_other_problems_are_tuned_too(problem):
    table = table_of(400)
    if problem == "multiclass":
        roles, table["y"] = Roles("y", "", "", numeric=["x"], problem=problem, classes=["a", "b", "c", "never"]), np.digitize(table["x"], [-0.5, 0.5])
    else:
        roles, table["y"] = Roles("y", "", "", numeric=["x"], problem=problem), table["amount"]
    found = tune_rung("boosted", table, roles, [], EAGER, SEARCH, n_trials=2, n_folds=2)
    assert all(np.isfinite(trial["loss"]) for trial in found.trials)
    name = "linear" if problem == "regression" else "logistic"
    sums = tune_rung(name, table, roles, [], {"inverse_regularisation": 1e-5, "logistic_max_iter": 50}, ["logistic.inverse_regularisation = 0.1 .. 10 log"], n_trials=2, n_folds=2)
    assert sums.settings["inverse_regularisation"] >= 0.1


def test_an_interrupted_search_goes_on_where_it_stopped(tmp_path, monkeypatch):
    roles, path, fits = Roles("y", "1", "0", numeric=["x", "z"]), tmp_path / "deep" / "trials.jsonl", []
    real = tune.fit_rung

    def counted(*arguments):
        fits.append(1)
        if len(fits) == stop_at:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(tune, "fit_rung", counted)
    call = {"n_trials": 3, "n_folds": 2}
    stop_at = 0
    whole = tune_rung("boosted", table_of(300), roles, [], EAGER, SEARCH, **call)
    needed, stop_at = len(fits), len(fits) + 4
    with pytest.raises(KeyboardInterrupt):
        tune_rung("boosted", table_of(300), roles, [], EAGER, SEARCH, **call, path=path)
    assert sum(bool(line) for line in path.read_text().splitlines()) == 3
    fits.clear()
    stop_at = 0
    assert tune_rung("boosted", table_of(300), roles, [], EAGER, SEARCH, **call, path=path) == whole
    assert len(fits) == needed - 3
    fits.clear()
    assert tune_rung("boosted", table_of(300), roles, [], EAGER, SEARCH, **call, path=path) == whole and not fits
    tune_rung("boosted", table_of(300, seed=1), roles, [], EAGER, SEARCH, **call, path=path)  # other rows: other questions
    assert len(fits) == needed


def test_a_line_that_was_cut_short_is_not_believed(tmp_path):
    path = tmp_path / "trials.jsonl"
    path.write_bytes(b'{"trial": "a", "loss": 1.5}\n{"trial": "b"}\n[1]\n\xff\xfe\n{"trial": "c", "loss": 0.')
    assert Trials(path).known == {"a": 1.5}
    Trials(path).add("d", 2.0)
    assert Trials(path).known == {"a": 1.5, "d": 2.0}
    assert json.loads(path.read_bytes().splitlines()[-1]) == {"trial": "d", "loss": 2.0}


def test_nothing_is_searched_where_nothing_was_asked_for():
    roles = Roles("y", "1", "0", numeric=["x"])
    for options, why in (({"n_trials": 0}, "nothing to search"), ({"search": []}, "nothing to search")):
        found = tune_rung("boosted", table_of(60), roles, [], EAGER, **({"search": SEARCH} | options))
        assert found.settings == EAGER and not found.trials and why in found.reason
    lonely = table_of(60).assign(y=0)
    assert "no fold with two classes" in tune_rung("boosted", lonely, roles, [], EAGER, SEARCH).reason


def test_one_class_in_a_fold_does_not_end_the_search():
    """The first stretch of time knows one class only: that fold is left out, the others judge."""
    table = table_of(300).assign(y=np.r_[np.zeros(150), np.arange(150) % 2].astype(int))
    roles = Roles("y", "1", "0", numeric=["x"], rows_in_time_order=True)
    for rung, start in (("boosted", EAGER), ("network", {"hidden": [4], "epochs": 1})):
        search = ["network.learning_rate = 0.001 | 0.01", *SEARCH]
        found = tune_rung(rung, table, roles, [], start | ({"learning_rate": 0.003} if rung == "network" else {}), search, n_trials=2, n_folds=3)
        assert found.trials and all(np.isfinite(trial["loss"]) for trial in found.trials if trial["share_of_rows"] == 1)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("boosted.learning_rate 0.1 .. 0.2", "RUNG.SETTING"),
        ("learning_rate = 0.1 .. 0.2", "RUNG.SETTING"),
        ("forest.depth = 1 .. 3", "forest"),
        ("boosted.learning_rate = 0.2 .. 0.1", "a lower and a higher end"),
        ("boosted.learning_rate = -1 .. 1 log", "above 0"),
        ("boosted.learning_rate = a .. b", "a number"),
        ("boosted.learning_rate = nan .. inf", "a number"),
        ("boosted.learning_rate = __import__('os')", "a number"),
    ],
)
def test_a_range_that_says_nothing_is_refused(line, words):
    with pytest.raises(ConfigError, match=words):
        parse_ranges([line], "boosted")


def test_settings_are_named_once_and_have_to_exist():
    with pytest.raises(ConfigError, match="each setting once"):
        parse_ranges(["logistic.inverse_regularisation = 1 | 2", "linear.inverse_regularisation = 1 | 2"], "linear")
    with pytest.raises(ConfigError, match="Did you mean boosted.learning_rate"):
        tune_rung("boosted", table_of(60), Roles("y", "1", "0", numeric=["x"]), [], EAGER, ["boosted.learning_rat = 0.1 | 0.2"])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from(["0.001 .. 10 log", "3 .. 64 log", "-2.5 .. 4", "1 | 2.5 | 9"]))
def test_what_is_drawn_lies_in_the_range(seed, text):
    (spread,) = parse_ranges([f"boosted.l2 = {text}"], "boosted")
    value = spread.draw(np.random.default_rng(seed))
    if "|" in text:
        assert value in (1, 2.5, 9)
    else:
        low, high = spread.values
        assert low <= value <= high and isinstance(value, int) == (text[0] == "3")

"""The scorecard: equal to scikit-learn in value, honest in its intervals, fast."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from mlsys.core import ConfigError
from mlsys.evaluate.calibration import calibration_error
from mlsys.evaluate.scorecard import RankedCells, format_interval, score_metrics, scorecard, scorecard_table
from mlsys.objective.cost import Costs, cheapest_constant

COSTS = Costs(-2, 1, 5, 0)


def by_sklearn(y, scores):
    """The same figures, computed by scikit-learn."""
    y, decisions = np.asarray(y), COSTS.decide(scores)
    constant = np.full(len(y), cheapest_constant(y, COSTS))
    expected = {
        "accuracy": metrics.accuracy_score(y, decisions),
        "precision": metrics.precision_score(y, decisions, zero_division=0),
        "recall": metrics.recall_score(y, decisions, zero_division=0),
        "f1": metrics.f1_score(y, decisions, zero_division=0),
        "log_loss": metrics.log_loss(y, scores, labels=[0, 1]),
        "brier": metrics.brier_score_loss(y, scores, pos_label=1) if len(set(y)) == 2 else np.mean((scores - y) ** 2),
        "positive_rate": decisions.mean(),
        "cost_per_1000": COSTS.per_1000(y, decisions),
        "saving_per_1000": COSTS.per_1000(y, constant) - COSTS.per_1000(y, decisions),
        "calibration_error": calibration_error(y, scores),
    }
    if len(set(y.tolist())) == 2:
        expected["auc_roc"] = metrics.roc_auc_score(y, scores)
        expected["average_precision"] = metrics.average_precision_score(y, scores)
    return expected


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=1, max_size=60), st.sampled_from([12, 11.3]))
def test_values_equal_those_of_sklearn_with_many_ties(rows, scale):
    y = np.array([int(truth) for truth, _ in rows])
    scores = np.minimum(np.array([level for _, level in rows]) / scale, 1.0)
    card = scorecard(y, scores, COSTS, n_bootstrap=2)
    for name, expected in by_sklearn(y, scores).items():
        assert card[name]["value"] == pytest.approx(expected, abs=1e-9), name


@pytest.mark.parametrize("digits", [1, 2, 17])
def test_values_equal_those_of_sklearn_on_many_rows(digits):
    rng = np.random.default_rng(digits)
    truth = rng.beta(0.5, 2, 30_000)
    y, scores = (rng.random(30_000) < truth).astype(int), truth.round(digits)
    card = scorecard(y, scores, COSTS, n_bootstrap=2)
    for name, expected in by_sklearn(y, scores).items():
        assert card[name]["value"] == pytest.approx(expected, abs=1e-9), name


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 4)), min_size=2, max_size=30))
def test_weights_mean_repeated_rows(rows):
    y, scores, times = (np.array(column) for column in zip(*rows, strict=True))
    y, scores = y.astype(int), scores / 5
    cells = RankedCells(y, scores)
    order = np.lexsort((-y, -scores))
    weights = np.bincount(cells.cell_of_row, weights=times[order], minlength=len(cells.counts)).astype(np.int64)
    repeated_y, repeated = np.repeat(y, times), np.repeat(scores, times)
    if not 0 < repeated_y.sum() < len(repeated_y):
        return
    got = score_metrics(cells, weights)
    assert got["auc_roc"] == pytest.approx(metrics.roc_auc_score(repeated_y, repeated), abs=1e-9)
    assert got["average_precision"] == pytest.approx(metrics.average_precision_score(repeated_y, repeated), abs=1e-9)
    assert got["brier"] == pytest.approx(np.mean((repeated - repeated_y) ** 2), abs=1e-9)
    assert got["log_loss"] == pytest.approx(metrics.log_loss(repeated_y, repeated, labels=[0, 1]), abs=1e-9)


@pytest.mark.parametrize("digits", [17, 1])
def test_intervals_are_those_of_a_plain_bootstrap(digits):
    """Drawing rows one by one and calling scikit-learn gives the same intervals, up to the noise of drawing."""
    rng = np.random.default_rng(3)
    truth = rng.beta(1, 3, 800)
    y, scores = (rng.random(800) < truth).astype(int), truth.round(digits)
    card = scorecard(y, scores, COSTS, n_bootstrap=1000, seed=1)
    drawn = [rng.integers(0, 800, 800) for _ in range(400)]
    plain = {
        "auc_roc": [metrics.roc_auc_score(y[rows], scores[rows]) for rows in drawn],
        "average_precision": [metrics.average_precision_score(y[rows], scores[rows]) for rows in drawn],
        "f1": [metrics.f1_score(y[rows], COSTS.decide(scores[rows])) for rows in drawn],
        "brier": [np.mean((scores[rows] - y[rows]) ** 2) for rows in drawn],
        "cost_per_1000": [COSTS.per_1000(y[rows], COSTS.decide(scores[rows])) for rows in drawn],
    }
    for name, values in plain.items():
        low, high = np.quantile(values, [0.025, 0.975])
        width = high - low
        assert card[name]["low"] == pytest.approx(low, abs=0.2 * width), name
        assert card[name]["high"] == pytest.approx(high, abs=0.2 * width), name


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """Of 150 samples from a known population, close to 95 % of the intervals hold the population's value."""
    rng = np.random.default_rng(11)
    population = rng.beta(1, 3, 400_000)
    outcome = (rng.random(400_000) < population).astype(int)
    true = {name: entry["value"] for name, entry in scorecard(outcome, population, COSTS, n_bootstrap=1).items()}
    true["calibration_error"] = 0.0
    names = ("auc_roc", "average_precision", "brier", "log_loss", "accuracy", "cost_per_1000", "recall", "calibration_error")
    hits = dict.fromkeys(names, 0)
    for sample in range(150):
        rows = rng.integers(0, 400_000, 500)
        card = scorecard(outcome[rows], population[rows], COSTS, n_bootstrap=300, seed=sample)
        for name in names:
            hits[name] += card[name]["low"] <= true[name] + 1e-12 and true[name] <= card[name]["high"]
    # 150 draws of a 95 % event: fewer than 132 has a probability below one in two thousand.
    assert min(hits.values()) >= 132, hits


def test_every_value_lies_in_its_interval_and_the_seed_decides():
    rng = np.random.default_rng(0)
    scores = rng.random(400)
    y = (rng.random(400) < scores).astype(int)
    card = scorecard(y, scores, COSTS, seed=4)
    assert all(entry["low"] <= entry["value"] <= entry["high"] for entry in card.values())
    assert card == scorecard(y, scores, COSTS, seed=4)
    assert card != scorecard(y, scores, COSTS, seed=5)


def test_more_rows_make_narrower_intervals():
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 3, 8000)
    y = (rng.random(8000) < truth).astype(int)
    width = {}
    for rows in (500, 8000):
        auc = scorecard(y[:rows], truth[:rows], COSTS)["auc_roc"]
        width[rows] = auc["high"] - auc["low"]
    assert 2.5 < width[500] / width[8000] < 6.5


def test_a_model_that_only_decides_has_no_figures_of_scores():
    card = scorecard([0, 1, 1, 0], None, COSTS, decisions=[0, 1, 0, 0])
    assert set(card) == {"accuracy", "precision", "recall", "f1", "positive_rate", "cost_per_1000", "saving_per_1000"}
    assert card["accuracy"]["value"] == 0.75


def test_given_decisions_are_taken_instead_of_the_threshold():
    card = scorecard([0, 1, 1, 0], [0.9, 0.1, 0.1, 0.9], COSTS, decisions=[0, 1, 1, 0])
    assert card["accuracy"]["value"] == 1 and card["auc_roc"]["value"] == 0


@pytest.mark.parametrize("outcome", [0, 1])
def test_one_class_has_no_auc_and_still_a_card(outcome):
    card = scorecard([outcome] * 20, np.linspace(0.1, 0.9, 20), COSTS, n_bootstrap=50)
    assert np.isnan(card["auc_roc"]["value"])
    assert np.isfinite(card["log_loss"]["value"]) and np.isfinite(card["cost_per_1000"]["high"])


def test_one_row_is_enough():
    assert scorecard([1], [0.7], COSTS, n_bootstrap=10)["accuracy"]["value"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([0, 1], [0.1, 1.2]), "scores: received '1.2 in row 1'"),
        (([0, 1], [0.1, float("nan")]), "nan in row 1"),
        (([0, 1], [[0.1, 0.9], [0.2, 0.8]]), "second column of predict_proba"),
        (([0, 1, 1], [0.1, 0.2]), "as many rows as y has: 3"),
        (([0, 2], [0.1, 0.2]), "y: received 2"),
        (([], []), "at least one row"),
        (([0, 1], None), "or None when decisions are given"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, words):
    with pytest.raises(ConfigError, match=words):
        scorecard(*arguments, COSTS)


@pytest.mark.parametrize("draws", [0, -1, 2.5])
def test_draws_must_be_a_positive_number(draws):
    with pytest.raises(ConfigError, match="n_bootstrap"):
        scorecard([0, 1], [0.1, 0.9], COSTS, n_bootstrap=draws)


def test_a_hundred_thousand_rows_take_seconds():
    """About 1 s on an idle core; the bound leaves room for a busy machine, and a plain bootstrap takes minutes."""
    rng = np.random.default_rng(0)
    scores = rng.beta(1, 4, 100_000)
    y = (rng.random(100_000) < scores).astype(int)
    begun = time.process_time()
    scorecard(y, scores, COSTS, n_bootstrap=1000)
    assert time.process_time() - begun < 10


def test_the_table_shows_values_with_intervals():
    cards = {"a": {"auc_roc": {"value": 0.5, "low": 0.4, "high": 0.6}}, "b": {"cost_per_1000": {"value": -12345.6, "low": -2e4, "high": -1e4}}}
    table = scorecard_table(cards, ["auc_roc", "cost_per_1000"])
    assert table.loc["auc_roc"].tolist() == ["0.500 [0.400, 0.600]", "-"]
    assert table.loc["cost_per_1000", "b"] == "-12,346 [-20,000, -10,000]"
    assert format_interval({"value": float("nan"), "low": 0, "high": 1}) == "-"
    assert format_interval({"value": 0.25, "low": None, "high": None}) == "0.250 [?, ?]"


def test_the_same_price_in_every_row_gives_the_same_card():
    rng = np.random.default_rng(2)
    scores = rng.beta(1, 3, 2000)
    y = (rng.random(2000) < scores).astype(int)
    one = scorecard(y, scores, COSTS, seed=1)
    rows = scorecard(y, scores, Costs([-2] * 2000, 1, [5] * 2000, 0), seed=1)
    assert set(one) == set(rows)
    for name in one:
        width = one[name]["high"] - one[name]["low"]
        assert rows[name]["value"] == pytest.approx(one[name]["value"], abs=1e-9), name
        for end in ("low", "high"):
            assert rows[name][end] == pytest.approx(one[name][end], abs=0.2 * width), name


def test_prices_per_row_have_the_intervals_of_a_plain_bootstrap():
    rng = np.random.default_rng(3)
    truth, price = rng.beta(1, 3, 600), rng.lognormal(0, 1, 600)
    y = (rng.random(600) < truth).astype(int)
    costs = Costs(0, 0.2 * price, price, 0)
    card = scorecard(y, truth, costs, n_bootstrap=2000, seed=1)
    constant = np.full(600, cheapest_constant(y, costs))
    assert card["cost_per_1000"]["value"] == pytest.approx(costs.per_1000(y, costs.decide(truth)))
    paid, saved = costs.of(y, costs.decide(truth)), costs.of(y, constant) - costs.of(y, costs.decide(truth))
    drawn = [rng.integers(0, 600, 600) for _ in range(1000)]
    for name, values in {"cost_per_1000": paid, "saving_per_1000": saved}.items():
        low, high = np.quantile([1000 * values[rows].mean() for rows in drawn], [0.025, 0.975])
        assert card[name]["low"] == pytest.approx(low, abs=0.2 * (high - low)), name
        assert card[name]["high"] == pytest.approx(high, abs=0.2 * (high - low)), name


def test_prices_of_other_rows_are_refused():
    with pytest.raises(ConfigError, match="as many rows as have a price: 3"):
        scorecard([0, 1], [0.1, 0.9], Costs(0, 1, [5, 5, 5], 0))

"""A number under a budget: the range, the budget, and what must be warned of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from mlsys.core import BudgetError, ConfigError
from mlsys.data.contract import ColumnContract, Contract
from mlsys.privacy.accounting import PrivacyWarning, epsilon_spent
from mlsys.privacy.pipeline import declared_range
from mlsys.privacy.regressor import (
    PrivateLinearRegression,
    PrivateNetworkRegressor,
    check_range,
    count_threshold,
    find_range,
    range_edges,
)

quiet = pytest.mark.filterwarnings("ignore::mlsys.privacy.accounting.PrivacyWarning")


def rows(count=3000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, 4)) / 2
    return X, 100 + 30 * X[:, 0] - 10 * X[:, 1] + 5 * rng.normal(size=count)


@quiet
@pytest.mark.parametrize("target", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("target_range, share", [((0, 200), 0.0), ((0, 200), 0.1), (None, 0.2)])
def test_the_budget_is_kept_range_and_all(target, target_range, share):
    X, y = rows()
    model = PrivateLinearRegression(target_epsilon=target, target_range=target_range, range_share=share, batch_size=500, epochs=5, random_state=0).fit(X, y)
    known = dict(noise_multiplier=model.noise_multiplier_, sample_rate=model.sample_rate_, steps=model.n_steps_, delta=1e-5)
    assert model.range_epsilon_ == share * target
    assert model.epsilon_ == epsilon_spent(**known) + model.range_epsilon_ <= target
    assert model.n_steps_ == 30


@quiet
def test_it_comes_close_to_least_squares():
    X, y = rows(6000)
    plain = LinearRegression().fit(X[:3000], y[:3000]).score(X[3000:], y[3000:])
    private = {target: PrivateLinearRegression(target_epsilon=target, target_range=(0, 200), random_state=0).fit(X[:3000], y[:3000]).score(X[3000:], y[3000:]) for target in (0.05, 1.0, 8.0)}
    assert plain - private[8.0] < 0.02
    assert plain - private[1.0] < 0.05
    assert private[0.05] < private[1.0]


@quiet
@pytest.mark.parametrize("quantile", [0.25, 0.5, 0.8])
def test_a_quantile_is_above_the_truth_as_often_as_it_says(quantile):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8000, 3)) / 2
    y = 40 + 20 * X[:, 0] + rng.exponential(20, 8000)
    model = PrivateLinearRegression(target_epsilon=3.0, target_range=(0, 150), quantile=quantile, random_state=0).fit(X[:4000], y[:4000])
    assert np.mean(model.predict(X[4000:]) > y[4000:]) == pytest.approx(quantile, abs=0.05)


@quiet
def test_one_row_out_of_range_counts_as_the_end_of_it():
    X, y = rows(300)
    fits = []
    for worst in (200.0, 1e12):
        y[0] = worst
        fits.append(PrivateLinearRegression(target_range=(0, 200), range_share=0.0, epochs=5, random_state=0).fit(X, y).coef_)
    assert np.array_equal(*fits)


@quiet
def test_units_do_not_matter_and_predictions_stay_inside():
    X, y = rows()
    small = PrivateLinearRegression(target_range=(0, 200), range_share=0.0, epochs=5, random_state=0).fit(X, y)
    large = PrivateLinearRegression(target_range=(0, 200_000), range_share=0.0, epochs=5, random_state=0).fit(X, 1000 * y)
    assert np.allclose(large.predict(X), 1000 * small.predict(X), rtol=1e-6)
    wild = small.predict(1e6 * X)
    assert wild.min() >= 0 and wild.max() <= 200


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=60), row=st.integers(0, 59), epsilon=st.floats(0.05, 3), seed=st.integers(0, 10_000))
def test_the_range_is_a_function_of_noisy_counts_alone(values, row, epsilon, seed):
    "Neighbouring tables differ by one in one count, so equal noise gives ranges of two neighbouring histograms; values inside a bin do not matter."
    from mlsys.privacy.domain import PUBLIC_KNOTS

    y = np.array(values)
    inside = np.clip(np.searchsorted(PUBLIC_KNOTS, y, side="right") - 1, 0, len(PUBLIC_KNOTS) - 2)
    low, high = find_range(y, epsilon=epsilon, seed=seed)
    assert (low, high) == find_range(PUBLIC_KNOTS[inside], epsilon=epsilon, seed=seed)
    assert low in PUBLIC_KNOTS and high in PUBLIC_KNOTS and low < high


@settings(max_examples=60, deadline=None)
@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e7))
def test_edges_rise_and_end_where_declared(low, width):
    edges = range_edges((low, low + width))
    assert (np.diff(edges) > 0).all() and edges[0] == low and edges[-1] == low + width


@quiet
def test_a_wide_declaration_costs_little():
    X, y = rows(8000)
    scores = [PrivateLinearRegression(target_epsilon=1.0, target_range=(0, high), random_state=0).fit(X, y).score(X, y) for high in (200, 20_000)]
    assert scores[1] > scores[0] - 0.05


def test_few_rows_leave_a_declared_range_as_it_is():
    y = np.random.default_rng(0).uniform(40, 60, 100)
    found = [find_range(y, epsilon=0.1, seed=seed, edges=range_edges((0, 200)), is_declared=True) for seed in range(100)]
    assert found.count((0.0, 200.0)) >= 85


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-500.0, -100.0), (1e4, 1e6), (-3.0, 7.0)])
def test_the_range_holds_nearly_all_values_and_is_not_much_too_wide(low, high):
    y = np.random.default_rng(0).uniform(low, high, 20_000)
    found = find_range(y, epsilon=0.3, seed=0)
    assert np.mean((y >= found[0]) & (y <= found[1])) > 0.97
    assert found[1] - found[0] <= 5 * (high - low)


def test_empty_bins_hardly_ever_stand_out():
    y = np.full(5000, 150.0)
    assert all(find_range(y, epsilon=0.1, seed=seed) == (100.0, 200.0) for seed in range(200))
    assert count_threshold(epsilon=0.1, n_bins=100) > count_threshold(epsilon=1.0, n_bins=100) > 0


def test_a_range_that_is_not_declared_is_paid_for_aloud():
    with pytest.warns(PrivacyWarning) as caught:
        PrivateLinearRegression(epochs=2, random_state=0).fit(*rows())
    assert any("no range is declared for the target; epsilon = 0.1 of the budget of 1 found" in str(warning.message) for warning in caught)


@quiet
def test_a_seed_repeats_and_none_does_not():
    X, y = rows(600)
    fits = [PrivateLinearRegression(epochs=3, random_state=seed).fit(X, y).coef_ for seed in (5, 5, None, None)]
    assert np.array_equal(fits[0], fits[1])
    assert not np.array_equal(fits[2], fits[3])


@quiet
@pytest.mark.parametrize("wrong, error, words", [
    ({"target_epsilon": 0.01}, BudgetError, "target_epsilon: received"),
    ({"target_range": (1, 1)}, ConfigError, r"target_range: received \(1, 1\); allowed: two finite numbers"),
    ({"target_range": None, "range_share": 0}, ConfigError, "target_range: received None; allowed: two numbers, because range_share = 0"),
    ({"range_share": 1.0}, ConfigError, "range_share: received 1.0"),
    ({"quantile": 1.0}, ConfigError, "quantile: received 1.0; allowed: a number above 0 and below 1"),
    ({"target_range": 5}, ConfigError, "target_range: received 5; allowed: two numbers"),
    ({"max_grad_norm": 0}, ConfigError, "max_grad_norm: received 0"),
    ({"epochs": 0}, ConfigError, "epochs: received 0"),
    ({"random_state": -1}, ConfigError, "random_state: received -1"),
])
def test_bad_settings_are_refused_by_name(wrong, error, words):
    with pytest.raises(error, match=words):
        PrivateLinearRegression(**{"random_state": 0, "target_range": (0, 200), **wrong}).fit(*rows(60))


@quiet
def test_a_model_that_overspent_does_not_exist(monkeypatch):
    monkeypatch.setattr("mlsys.privacy.classifier.calibrate_noise", lambda **budget: 0.8)
    model = PrivateLinearRegression(random_state=0, target_range=(0, 200))
    with pytest.raises(BudgetError, match="epsilon spent: received"):
        model.fit(*rows(60))
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize("column, inferred, expected", [
    (ColumnContract("int", min=0, max=1000), False, (0.0, 1000.0)), (ColumnContract("float", min=-1.5, max=2), False, (-1.5, 2.0)),
    (ColumnContract("int", min=0, max=1000), True, None), (ColumnContract("int", min=0), False, None), (ColumnContract("int", min=3, max=3), False, None),
    (ColumnContract("time", min="2020-01-01", max="2021-01-01"), False, None),
])
def test_only_a_declared_range_is_taken(column, inferred, expected):
    assert declared_range(Contract({"target": column}, inferred=inferred), "target") == expected


def test_a_range_is_two_finite_numbers():
    assert check_range([0, np.float64(2)]) == (0.0, 2.0)
    for wrong in ((0,), (0, 1, 2), ("a", "b"), (float("nan"), 1), (-1e308, 1e308)):
        with pytest.raises(ConfigError, match="target_range"):
            check_range(wrong)


@quiet
def test_a_network_follows_a_bend_within_the_budget():
    X, _ = rows(6000)
    y = 100 + 90 * np.abs(X[:, 0]) + 5 * np.random.default_rng(1).normal(size=6000)
    line, network = (kind(target_epsilon=3.0, target_range=(0, 300), epochs=100, random_state=0).fit(X[:4000], y[:4000]) for kind in (PrivateLinearRegression, PrivateNetworkRegressor))
    assert network.epsilon_ <= 3.0
    assert network.score(X[4000:], y[4000:]) > max(0.7, line.score(X[4000:], y[4000:]) + 0.3)


@quiet
def test_a_range_for_people_pays_for_all_their_rows():
    "One person's rows move the counts by as many; the noise grows with the bound, and other rows do not count."
    y = np.append(np.full(4000, 150.0), np.full(8, 1e6))
    people = np.append(np.arange(4000) // 2, np.full(8, 9999))
    model = PrivateLinearRegression(target_epsilon=8.0, max_rows_per_person=2, epochs=2, random_state=0).fit(np.random.default_rng(0).normal(size=(4008, 2)), y, groups=people)
    assert model.range_[1] < 1e6 and model.unit_ == "person" and model.n_units_ == 2001
    spread = [np.std([find_range(np.linspace(0, 1, 3000), epsilon=0.02, seed=seed, rows_of_one=most)[1] for seed in range(60)]) for most in (1, 20)]
    assert spread[1] > spread[0]

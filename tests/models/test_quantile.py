"""A regressor that predicts the quantile that the prices ask for."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlsys.core import ConfigError
from mlsys.models.quantile import ResidualQuantileRegressor, out_of_fold


@parametrize_with_checks([ResidualQuantileRegressor()])
@pytest.mark.filterwarnings("ignore")  # scikit-learn's checks provoke warnings on purpose
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 5, (n, 2))
    return X, X[:, 0] + (0.2 + X[:, 1]) * rng.standard_t(4, n)


@pytest.mark.parametrize("level", [0.05, 0.25, 0.5, 0.8, 0.97])
def test_new_rows_lie_below_as_often_as_promised(level):
    model = ResidualQuantileRegressor(quantile=level).fit(*rows(6000))
    X, y = rows(20_000, 1)
    assert abs((y <= model.predict(X)).mean() - level) < 0.015


def test_each_row_may_have_a_quantile_of_its_own_and_quantiles_do_not_cross():
    model = ResidualQuantileRegressor().fit(*rows(2000))
    X, _ = rows(50, 1)
    levels = np.linspace(0, 1, 50)
    each = model.predict_quantile(X, levels)
    assert all(each[row] == pytest.approx(model.predict_quantile(X[[row]], levels[row])[0]) for row in range(50))
    grid = np.stack([model.predict_quantile(X, level) for level in levels])
    assert (np.diff(grid, axis=0) >= -1e-9).all()


def test_what_belongs_together_stays_in_one_fold():
    """A model that only remembers the group must miss every row by as much as a stranger does."""
    groups = np.repeat(np.arange(40), 10)
    effect = np.random.default_rng(0).normal(size=40) * 100
    X, y = pd.DataFrame(np.eye(40)[groups]), effect[groups]
    apart, mixed = (np.abs(y - out_of_fold(LinearRegression(), X, y, who)).mean() for who in (groups, None))
    assert mixed < 1 < 30 < apart


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_tiny_tables(n):
    X, y = rows(n)
    assert np.isfinite(ResidualQuantileRegressor(quantile=0.9).fit(X, y).predict(X)).all()


def test_a_constant_regressor_has_one_class_of_predictions():
    model = ResidualQuantileRegressor(quantile=0.75).fit(np.zeros((3000, 1)), np.arange(3000.0))
    assert abs(model.predict([[0.0]])[0] - 2250) < 60


@pytest.mark.parametrize("given", [{"quantile": 0.0}, {"quantile": 1.0}, {"n_folds": 1}, {"max_bins": 0}, {"rows_per_bin": 0.5}])
def test_wrong_arguments_are_named(given):
    with pytest.raises(ConfigError, match=next(iter(given))):
        ResidualQuantileRegressor(**given).fit(*rows(10))
    with pytest.raises(ConfigError, match="from 0 to 1"):
        ResidualQuantileRegressor().fit(*rows(10)).predict_quantile(rows(3)[0], 1.2)

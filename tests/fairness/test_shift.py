"""A correction per group closes the gap it was made for, keeps the whole where it was, and can be saved."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.linear_model import LinearRegression

from mlsys.core import ConfigError
from mlsys.fairness.assess import GroupWarning
from mlsys.fairness.shift import GroupShiftRegressor, group_shifts
from mlsys.models.persistence import load_model, save_model
from mlsys.models.quantile import ResidualQuantileRegressor

quiet = pytest.mark.filterwarnings("ignore::mlsys.fairness.assess.GroupWarning")


def wages(seed=0, count=3000):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"town": rng.choice(["east", "north", "west"], count, p=[0.6, 0.1, 0.3]), "sex": rng.choice(["F", None], count), "skill": rng.normal(size=count)})
    return table, 3000 + 400 * table["skill"].to_numpy() + table["town"].map({"east": 0, "north": 300, "west": -200}).to_numpy() + rng.normal(0, 200, count)


@settings(max_examples=40, deadline=None)
@given(residuals=st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=80), parts=st.integers(1, 5), least=st.integers(1, 10))
def test_on_the_rows_it_learnt_from_every_group_has_the_mean_of_all(residuals, parts, least):
    residuals, groups = np.array(residuals), (np.arange(len(residuals)) % parts).astype(str)
    shifts, pooled = group_shifts(residuals, groups, least)
    named = np.where(np.isin(groups, pooled), "(pooled)", groups)
    left = residuals - pd.Series(named).map(shifts).fillna(0).to_numpy()
    for group in shifts.index:
        assert (named == group).sum() >= least
        assert left[named == group].mean() == pytest.approx(residuals.mean(), abs=1e-4)
    assert set(shifts.index) - {"(pooled)"} == {group for group in groups if (groups == group).sum() >= least}


@pytest.mark.parametrize("sensitive", [["town"], ["town", "sex"]])
def test_the_gap_in_mean_errors_closes_on_other_rows(sensitive):
    table, y = wages()
    model = LinearRegression().fit(table[["skill"]][:1000], y[:1000])
    shifted = GroupShiftRegressor(model, sensitive=sensitive, features=["skill"], min_group_size=20).fit(table[1000:2000], y[1000:2000])
    errors = {name: pd.Series(predicted - y[2000:]).groupby(table["town"][2000:].to_numpy()).mean()
              for name, predicted in {"before": model.predict(table[["skill"]][2000:]), "after": shifted.predict(table[2000:])}.items()}
    assert np.ptp(errors["before"]) > 400
    assert np.ptp(errors["after"]) < 100


def test_it_keeps_the_contract_and_can_be_saved(tmp_path):
    table, y = wages()
    model = LinearRegression().fit(table[["skill"]], y)
    shifted = GroupShiftRegressor(model, sensitive=["town"], features=["skill"])
    assert clone(shifted).get_params(deep=False).keys() == shifted.get_params(deep=False).keys()
    assert shifted.fit(table, y) is shifted
    digest = save_model(shifted, tmp_path / "model.skops")
    assert np.array_equal(load_model(tmp_path / "model.skops", digest).predict(table), shifted.predict(table))


@quiet
def test_small_and_unseen_groups():
    table, y = wages()
    model = LinearRegression().fit(table[["skill"]], y)
    with pytest.warns(GroupWarning, match="too few rows .under 400. for a correction of their own, so these are pooled: north"):
        shifted = GroupShiftRegressor(model, sensitive=["town"], features=["skill"], min_group_size=400).fit(table, y)
    assert shifted.groups_.tolist() == ["east", "west"]
    unseen = table.head(4).assign(town=["south", "north", "east", None])
    moved = shifted.predict(unseen) - model.predict(unseen[["skill"]])
    assert moved[[0, 1, 3]].tolist() == [0.0, 0.0, 0.0] and moved[2] != 0


def test_a_row_gets_the_same_answer_alone_and_among_others():
    table, y = wages()
    ages = table.assign(age=np.random.default_rng(0).integers(18, 90, len(table)))
    shifted = GroupShiftRegressor(LinearRegression().fit(table[["skill"]], y), sensitive=["age"], features=["skill"]).fit(ages, y)
    together = shifted.predict(ages.head(20))
    assert [float(shifted.predict(ages.iloc[[row]])[0]) for row in range(20)] == together.tolist()


def test_quantiles_pass_through_where_the_model_has_them():
    table, y = wages()
    quantile = ResidualQuantileRegressor(LinearRegression(), 0.5).fit(table[["skill"]], y)
    shifted = GroupShiftRegressor(quantile, sensitive=["town"], features=["skill"]).fit(table, y)
    assert np.allclose(shifted.predict_quantile(table, 0.5), shifted.predict(table))
    assert (shifted.predict_quantile(table, 0.9) > shifted.predict(table)).all()
    assert not hasattr(GroupShiftRegressor(LinearRegression(), sensitive=["town"]), "predict_quantile")


def test_wrong_arguments_are_named():
    table, y = wages()
    model = LinearRegression().fit(table[["skill"]], y)
    with pytest.raises(ConfigError, match="min_group_size: received 0"):
        GroupShiftRegressor(model, sensitive=["town"], features=["skill"], min_group_size=0).fit(table, y)
    with pytest.raises(ConfigError, match="sensitive: received 'twon'"):
        GroupShiftRegressor(model, sensitive=["twon"], features=["skill"]).fit(table, y)

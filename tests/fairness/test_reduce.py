"""What is kept decides as Fairlearn's mixture does, keeps its constraint, costs by the objective, and survives a file."""

import warnings

import numpy as np
import pandas as pd
import pytest
from fairlearn.reductions import BoundedGroupLoss, EqualizedOdds, ErrorRate, ExponentiatedGradient, SquareLoss
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from mlsys.core import ConfigError
from mlsys.fairness.assess import GroupWarning, assess_groups
from mlsys.fairness.mitigate import CONSTRAINTS, row_coins
from mlsys.fairness.reduce import BoundedLossRegressor, ReducedClassifier
from mlsys.models.persistence import load_model, save_model
from mlsys.objective.cost import Costs


def prepare():
    return make_column_transformer((StandardScaler(), ["income", "debt"]))


def lent(seed=0, rows=3000):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"town": rng.choice(["east", "west"], rows, p=[0.6, 0.4]), "income": rng.normal(size=rows), "debt": rng.normal(size=rows)})
    table["income"] += 0.8 * (table["town"] == "west")
    y = (rng.random(rows) < 1 / (1 + np.exp(0.5 - 1.2 * table["income"] + 0.6 * table["debt"]))).astype(int)
    return table, y


KNOWN = {"sensitive": ["town"], "features": ["income", "debt"]}


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_what_was_asked_for_is_alike_on_the_rows_it_was_trained_on(constraint):
    table, y = lent()
    model = ReducedClassifier(prepare(), constraint=constraint, max_iter=25, **KNOWN).fit(table, y)
    likely = model.decision_probability(table)
    kept = {"demographic_parity": [y >= 0], "true_positive_rate_parity": [y == 1], "false_positive_rate_parity": [y == 0]}.get(constraint, [y == 0, y == 1])
    for rows in kept:
        rates = [likely[rows & (table["town"] == town).to_numpy()].mean() for town in ("east", "west")]
        assert abs(np.subtract(*rates)) < 0.05
    free = LogisticRegression().fit(prepare().fit_transform(table), y).predict(prepare().fit_transform(table))
    before = max(abs(np.subtract(*[free[rows & (table["town"] == town).to_numpy()].mean() for town in ("east", "west")])) for rows in kept)
    assert before > 0.1


of_fairlearn = pytest.mark.filterwarnings("ignore:Setting an? :DeprecationWarning")  # Fairlearn 0.15 on pandas 3


@of_fairlearn
def test_the_kept_numbers_decide_as_fairlearns_own_mixture():
    table, y = lent()
    ours = ReducedClassifier(prepare(), constraint="equalized_odds", cost_false_negative=3.0, **KNOWN).fit(table, y)
    inputs = ours.prepare_.transform(table)
    theirs = ExponentiatedGradient(LogisticRegression(C=0.3, solver="newton-cholesky", max_iter=50, tol=1e-3), EqualizedOdds(difference_bound=0.01),
                                   objective=ErrorRate(costs={"fp": 0.5, "fn": 1.5}), max_iter=10).fit(inputs, y, sensitive_features=table["town"])
    assert np.allclose(ours.decision_probability(table), theirs._pmf_predict(inputs)[:, 1], atol=1e-8)


def test_the_objective_is_the_cost():
    table, y = lent(1)
    costs = {ratio: ReducedClassifier(prepare(), cost_false_negative=ratio, difference_bound=1.0, **KNOWN).fit(table, y).decision_probability(table).mean() for ratio in (0.25, 1.0, 8.0)}
    assert costs[0.25] < costs[1.0] < costs[8.0]
    shifted = ReducedClassifier(prepare(), cost_false_negative=300.0, cost_false_positive=100.0, **KNOWN).fit(table, y)
    plain = ReducedClassifier(prepare(), cost_false_negative=3.0, cost_false_positive=1.0, **KNOWN).fit(table, y)
    assert np.allclose(shifted.decision_probability(table), plain.decision_probability(table))  # the unit of costs does not matter


def test_a_row_gets_the_same_decision_alone_and_the_group_is_not_read():
    table, y = lent()
    model = ReducedClassifier(prepare(), **KNOWN).fit(table, y)
    decided = model.predict(table)
    assert [int(model.predict(table.iloc[[place]])[0]) for place in range(60)] == decided[:60].tolist()
    assert np.array_equal(model.predict(table.drop(columns="town")), decided)
    assert np.array_equal(model.predict(table.assign(town="elsewhere")), decided)
    assert decided.mean() == pytest.approx(model.decision_probability(table).mean(), abs=0.03)


def test_coins_are_spread_evenly_and_turn_with_the_seed():
    rows = pd.DataFrame({"number": np.arange(20_000), "word": ["x", "y"] * 10_000})
    first, second = row_coins(rows, 0), row_coins(rows, 1)
    assert np.allclose(np.histogram(first, 10, (0, 1))[0], 2000, atol=200)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03 and abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.03
    assert np.array_equal(row_coins(rows.astype({"number": float}), 0), first)


@pytest.mark.parametrize("way", [ReducedClassifier, BoundedLossRegressor])
def test_a_file_holds_it_without_pickle_and_with_our_type_alone(tmp_path, way):
    table, y = lent(rows=800)
    model = way(prepare(), **KNOWN).fit(table, y)
    copy = load_model(tmp_path / "model.skops", save_model(model, tmp_path / "model.skops"))
    assert np.array_equal(copy.predict(table), model.predict(table))


def test_a_small_group_is_pooled_and_one_group_alone_leaves_nothing_to_mitigate():
    table, y = lent(rows=900)
    table.loc[:29, "town"] = "islands"
    with pytest.warns(GroupWarning, match=r"these are pooled: islands \(30\)"):
        model = ReducedClassifier(prepare(), **KNOWN).fit(table, y)
    assert model.groups_.tolist() == ["east", "west"] and model.pooled_.tolist() == ["islands"]
    with pytest.warns(GroupWarning, match="nothing is mitigated"):
        alone = ReducedClassifier(prepare(), cost_false_negative=3.0, **KNOWN).fit(table.assign(town="east"), y)
    expected = LogisticRegression(C=0.3, solver="newton-cholesky").fit(prepare().fit_transform(table), y, sample_weight=np.where(y == 1, 1.5, 0.5))
    assert np.mean(alone.predict(table) == expected.predict(prepare().fit_transform(table))) > 0.99


@pytest.mark.filterwarnings("ignore::mlsys.fairness.assess.GroupWarning")
def test_missing_values_are_a_group():
    table, y = lent()
    table.loc[::5, "town"] = None
    assert "(missing)" in ReducedClassifier(prepare(), **KNOWN).fit(table, y).groups_


@pytest.mark.parametrize(("settings", "words"), [
    ({"constraint": "parity"}, "constraint: received 'parity'"), ({"features": ["wage"]}, "features: received 'wage'"),
    ({"sensitive": ["city"]}, "sensitive: received 'city'"), ({"max_rows": 0}, "max_rows: received 0")])
def test_wrong_settings_are_named(settings, words):
    table, y = lent(rows=200)
    with pytest.raises(ConfigError, match=words):
        ReducedClassifier(prepare(), **(KNOWN | settings)).fit(table, y)
    with pytest.raises(ConfigError, match="one outcome only"):
        ReducedClassifier(prepare(), **KNOWN).fit(table, np.zeros(200))


def wages(seed=0, rows=3000):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"town": rng.choice(["east", "west"], rows, p=[0.85, 0.15]), "income": rng.normal(size=rows), "debt": rng.normal(size=rows)})
    return table, 1000 * table["income"] * np.where(table["town"] == "west", 0.2, 1.0) + rng.normal(0, 200, rows)


def test_the_worst_groups_loss_is_bounded_and_the_unit_does_not_matter():
    table, wage = wages()
    model = BoundedLossRegressor(prepare(), **KNOWN).fit(table, wage)
    plain = Ridge(alpha=1 / 0.3).fit(prepare().fit_transform(table), wage)
    losses = {name: pd.Series((wage - values) ** 2).groupby(table["town"]).mean() for name, values in {"plain": plain.predict(prepare().fit_transform(table)), "bounded": model._matrix(table) @ model.coefficients_ + model.intercept_}.items()}
    assert losses["bounded"].max() < 0.75 * losses["plain"].max()
    cents = BoundedLossRegressor(prepare(), **KNOWN).fit(table, 100 * wage)
    assert np.allclose(cents.predict(table), 100 * model.predict(table), rtol=1e-6) and cents.bound_ == pytest.approx(1e4 * model.bound_)


@of_fairlearn
def test_the_mean_of_the_mixture_has_at_most_its_mean_loss_in_every_group():
    "Jensen: nothing has to be drawn."
    table, wage = wages()
    inputs, target = prepare().fit_transform(table), ((wage - wage.mean()) / wage.std(ddof=0)).to_numpy()
    game = ExponentiatedGradient(Ridge(alpha=1 / 0.3), BoundedGroupLoss(SquareLoss(target.min(), target.max()), upper_bound=0.2), max_iter=10).fit(inputs, target, sensitive_features=table["town"])
    shares = game.weights_[game.predictors_.index].to_numpy()
    each = np.stack([model.predict(inputs) for model in game.predictors_])
    for town in ("east", "west"):
        rows = (table["town"] == town).to_numpy()
        assert ((target - shares @ each) ** 2)[rows].mean() <= shares @ ((target - each) ** 2)[:, rows].mean(axis=1) + 1e-12


def test_prices_move_a_quantity_to_their_quantile():
    table, wage = wages()
    high = BoundedLossRegressor(prepare(), quantile=0.9, **KNOWN).fit(table, wage)
    assert np.mean(wage <= high.predict(table)) == pytest.approx(0.9, abs=0.01)
    assert np.array_equal(high.predict_quantile(table, np.full(len(table), 0.9)), high.predict(table))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GroupWarning)
        alone = BoundedLossRegressor(prepare(), **KNOWN).fit(table.assign(town="east"), wage)
    assert np.allclose(alone._matrix(table) @ alone.coefficients_ + alone.intercept_, Ridge(alpha=1 / 0.3).fit(prepare().fit_transform(table), wage).predict(prepare().fit_transform(table)))


@pytest.mark.filterwarnings("ignore::mlsys.fairness.assess.GroupWarning")
def test_the_gap_closes_on_rows_that_were_not_seen():
    table, y = lent(7, 6000)
    model = ReducedClassifier(prepare(), **KNOWN).fit(table[:3000], y[:3000])
    free = LogisticRegression().fit(table[["income", "debt"]][:3000], y[:3000])
    gap = [assess_groups(y[3000:], decided, sensitive_features=table[["town"]][3000:], costs=Costs(0, 1, 1, 0), n_bootstrap=50).gaps["demographic_parity_difference:town"]
           for decided in (free.predict(table[["income", "debt"]][3000:]), model.predict(table[3000:]))]
    assert gap[1]["high"] < gap[0]["low"]

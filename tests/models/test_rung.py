"""Odd tables of every kind go the whole way: prepared, divided, fitted, saved, decided, measured, compared and drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mlsys.core import ConfigError
from mlsys.data.roles import Roles
from mlsys.data.split import random_and_time, split_table
from mlsys.data.table import prepare_table
from mlsys.evaluate.measure import (
    key_metrics,
    measure,
    plot_evidence,
    plot_reliability_of,
    plot_what_if,
    reliability_of,
    what_if_curve,
)
from mlsys.models.boosted import staged_losses
from mlsys.models.calibrate import CalibratedClassifier
from mlsys.models.ladder import choose_simplest
from mlsys.models.linear import weight_table
from mlsys.models.persistence import load_models, save_models
from mlsys.models.rung import describe_rung, fit_rung, importance_table, make_rung, predictions_of, rung_names
from mlsys.objective.problem import cheapest_answer, make_costs

plt.switch_backend("Agg")


def table_of(n=240, seed=0, **columns):
    """Rows that say something about whatever target is added."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({
        "row_id": range(n), "x": rng.normal(size=n), "gap": np.where(rng.random(n) < 0.2, np.nan, rng.gamma(2, 2, n)),
        "kind": pd.Series(rng.choice(["a", "b", "c"], n)).mask(rng.random(n) < 0.1), "person": rng.integers(0, max(n // 3, 2), n).astype(str),
        "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 200, n), "D"),
    })  # fmt: skip
    return table.assign(**columns)


X = table_of()["x"].to_numpy()
RARE = np.where(X > 0.5, "card", "cash").astype(object)
RARE[100] = "dispute"
LATE = np.where(X > 0, "card", "cash").astype(object)
LATE[table_of()["when"].to_numpy().argsort(kind="stable")[-20:]] = "voucher"

TABLES = {
    "three classes": np.select([X > 0.6, X < -0.6], ["high", "low"], "middle"),
    "a class of one row": RARE,
    "thirty classes": np.array([f"class {code:02}" for code in np.arange(240) % 30]),
    "numbers for names": np.where(X > 0, "2", np.where(X > -1, "1", "10")),
    "codes": np.where(X > 0, 3, np.where(X > -1, 1, 7)),
    "labels with arrows and signs": np.where(X > 0, "a -> b", np.where(X > -1, "x = y", "z")),
    "a class that only the latest rows have": LATE,
    "a quantity": 10 * X + np.random.default_rng(1).normal(size=240),
    "below zero and zero": np.round(X * 3) / 2,
    "a heavy tail": np.exp(4 * X),
    "mostly zero": np.where(X > 1.2, 1e6 * X, 0.0),
    "huge": 1e12 + X,
    "tiny": 1e-9 * X,
    "noise": np.random.default_rng(2).normal(size=240),
}
COSTS = ["under = 3", "over = 1"]


def go_through(values, folder, table=None, lines=COSTS, method="random", **parts):
    """Every step that the stages take; returns the scorecards of the test rows."""
    table = table_of(len(values)) if table is None else table
    prepared = prepare_table(table.assign(y=values), target="y", **parts)
    roles = prepared.roles
    split = split_table(prepared.table, roles, method)
    train, validation, test = split.train, split.validation, split.test
    models = {}
    for name in rung_names(roles.problem):
        trees = {"boosted": {"max_iter": 8, "min_samples_leaf": 5, "calibration": "auto"}, "network": {"hidden": [4], "epochs": 1, "calibration": "auto"}}.get(name, {})
        models[name] = fit_rung(make_rung(name, roles, make_costs(lines, roles, train), **trees), train, roles, make_costs(lines, roles, train))
    save_models(models, folder / "models.json", {name: describe_rung(name, model, roles) for name, model in models.items()})
    loaded = load_models(folder / "models.json")
    priced = make_costs(lines, roles, validation)
    guesses = {name: predictions_of(model, validation, roles, priced) for name, model in loaded.items()}
    choice = choose_simplest(validation["y"], guesses, priced, n_bootstrap=20)
    costs = make_costs(lines, roles, test)
    scores = {name: predictions_of(model, test, roles, costs) for name, model in loaded.items()}
    for name, model in models.items():
        np.testing.assert_allclose(scores[name], predictions_of(model, test, roles, costs))
    curves = {name: what_if_curve(costs, test["y"], score) for name, score in scores.items()}
    figure, axes = plt.subplots(1, 4)
    plot_evidence(costs, test["y"], scores, choice.chosen, axes[:2])
    plot_what_if(costs, curves, axes[2])
    plot_reliability_of(costs, {name: reliability_of(costs, test["y"], score) for name, score in scores.items()}, axes[3])
    plt.close(figure)
    assert len(staged_losses(models["boosted"], test[roles.features], test["y"])) == 8
    assert np.isfinite(weight_table(models[rung_names(roles.problem)[2]], roles.classes)["weight"]).all()
    cards = {name: measure(costs, test["y"], score, n_bootstrap=20) for name, score in scores.items()}
    constant = costs.per_1000(test["y"], np.full(len(test), cheapest_answer(test["y"], costs)))
    for card in cards.values():
        assert set(key_metrics(roles.problem)) - {"epsilon"} <= set(card)
        assert card["cost_per_1000"]["value"] + card["saving_per_1000"]["value"] == pytest.approx(constant, rel=1e-6, abs=1e-6)
    return cards, roles, split


@pytest.mark.parametrize("method", ["random", "time"])
@pytest.mark.parametrize("name", TABLES)
def test_every_kind_of_target_goes_the_whole_way(name, method, tmp_path):
    cards, roles, _ = go_through(TABLES[name], tmp_path, method=method, **({"time": "when"} if method == "time" else {}))
    assert (roles.problem == "regression") == (TABLES[name].dtype.kind == "f")
    if name == "a quantity":
        assert cards["boosted"]["r2"]["value"] > 0.2 and cards["linear"]["r2"]["value"] > 0.6 > 0.1 > cards["constant"]["r2"]["value"]
    if name == "three classes":
        assert cards["logistic"]["macro_auc"]["low"] > 0.8 and cards["constant"]["macro_auc"]["value"] == 0.5


@pytest.mark.parametrize("name", ["three classes", "a class of one row", "a quantity", "a heavy tail"])
@pytest.mark.parametrize("parts", [{"group": "person"}, {"group": "person", "time": "when", "label_delay_days": 5}, {"rows_in_time_order": True}])
def test_groups_and_clocks_hold_for_every_problem(name, parts, tmp_path):
    _, roles, split = go_through(TABLES[name], tmp_path, method="auto", **parts)
    if roles.group:
        people = [set(rows["person"]) for rows in split.parts.values()]
        assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]
    if roles.time or roles.rows_in_time_order:
        compared = random_and_time(pd.concat(split.parts.values()), roles)
        assert compared.columns[0] == ("r2" if roles.problem == "regression" else "macro_auc")


def test_a_class_that_only_the_test_rows_have_costs_what_it_must(tmp_path):
    cards, roles, split = go_through(LATE, tmp_path, method="time", time="when")
    unseen = roles.classes.index("voucher")
    assert unseen not in set(split.train["y"]) and unseen in set(split.test["y"])
    assert cards["boosted"]["log_loss"]["value"] > 1 and cards["boosted"]["balanced_accuracy"]["value"] < 0.7


@pytest.mark.parametrize("values", [np.arange(12) % 3, np.arange(12) / 7])
def test_a_table_of_twelve_rows(values, tmp_path):
    go_through(np.array([f"c{value}" for value in values]) if values.dtype.kind == "i" else values, tmp_path)


def test_prices_may_differ_from_row_to_row(tmp_path):
    rng = np.random.default_rng(3)
    table = table_of(900, price=rng.uniform(1, 9, 900))
    amount = table["x"] * 5 + rng.normal(size=900) * 4
    priced, roles, _ = go_through(amount, tmp_path, table, ["under = price", "over = 1"], cost_columns=["price"])
    assert roles.cost_columns == ["price"] and "price" not in roles.features
    flat, _, _ = go_through(amount, tmp_path, table, ["under = 1", "over = 1"], cost_columns=["price"])
    assert priced["linear"]["covered_share"]["value"] > 0.7 > 0.6 > flat["linear"]["covered_share"]["value"]
    classes = np.select([table["x"] > 0.6, table["x"] < -0.6], ["high", "low"], "middle")
    go_through(classes, tmp_path, table, ["low -> high = price", "high -> low = 4"], cost_columns=["price"])


def test_a_price_column_is_checked(tmp_path):
    table = table_of(60, price="dear")
    with pytest.raises(ValueError, match="cost under, column price"):
        go_through(table["x"] * 5, tmp_path, table, ["under = price"], cost_columns=["price"])
    with pytest.raises(ConfigError, match="a cost in conf/objective"):
        go_through(table["x"] * 5, tmp_path, table, ["under = prize"], cost_columns=["prize"])


def test_the_quantile_that_prices_ask_for_is_covered(tmp_path):
    table = table_of(3000)
    amount = table["x"] * 5 + np.random.default_rng(4).gamma(2, 3, 3000)
    cards, _, _ = go_through(amount, tmp_path, table, ["under = 9", "over = 1"])
    assert all(abs(cards[name]["covered_share"]["value"] - 0.9) < 0.03 for name in ("constant", "linear", "boosted"))
    assert cards["boosted"]["cost_per_1000"]["value"] < cards["constant"]["cost_per_1000"]["value"]


def test_importance_finds_the_column_that_counts():
    table = table_of(400, y=table_of(400)["x"] * 3)
    roles = Roles("y", "", "", numeric=["x", "gap"], categorical=["kind"], problem="regression")
    model = fit_rung(make_rung("boosted", roles, make_costs([], roles), max_iter=20), table, roles, make_costs([], roles))
    falls = importance_table(model, table, roles, max_rows=200)
    assert falls.index[-1] == "x" and falls["mean"].iloc[-1] > 0.5 > falls["mean"].iloc[-2]


def test_rungs_are_named_for_the_problem():
    assert rung_names("binary", ["boosted", "linear"]) == ["logistic", "boosted"]
    with pytest.raises(ConfigError, match="forest"):
        rung_names("regression", ["forest"])


def test_a_rare_class_counts_by_its_cost_and_not_by_repeating_it():
    """One row in fifty: probabilities stay those of the rows, and the costs alone move the decisions."""
    table = table_of(4000)
    rng = np.random.default_rng(6)
    table["y"] = (rng.random(4000) < 1 / (1 + np.exp(5 - 1.5 * table["x"]))).astype(int)
    roles = Roles("y", "1", "0", numeric=["x"])
    rate, dear, even = table["y"].mean(), make_costs(["false_negative = 40"], roles), make_costs([], roles)
    assert rate < 0.05
    for name in rung_names("binary"):
        settings = {"max_iter": 40} if name == "boosted" else {}
        by_cost = {"dear": dear, "even": even}
        models = {key: fit_rung(make_rung(name, roles, costs, **settings), table, roles, costs) for key, costs in by_cost.items()}
        scores = {key: predictions_of(model, table, roles, by_cost[key]) for key, model in models.items()}
        assert scores["dear"].mean() == pytest.approx(rate, abs=0.015), name
        if name not in ("constant", "rule"):  # a rule is searched for by the costs, all else is the same model
            np.testing.assert_array_equal(scores["dear"], scores["even"])
            assert dear.decide(scores["dear"]).mean() > even.decide(scores["even"]).mean() + 0.02
            parts = getattr(models["dear"], "named_steps", {"model": models["dear"]})
            assert parts["model"].get_params().get("class_weight") is None


def test_groups_reach_rules_and_corrections():
    table = table_of(600)
    table["person"] = np.arange(600) % 3
    table["y"] = (np.random.default_rng(7).random(600) < 0.4).astype(int)
    roles = Roles("y", "1", "0", numeric=["x"], group="person")
    model = fit_rung(make_rung("network", roles, make_costs([], roles), hidden=[4], epochs=1, calibration="auto"), table, roles, make_costs([], roles))
    assert isinstance(model, CalibratedClassifier) and set(model.compared_) == {"none", "sigmoid", "isotonic"}
    assert describe_rung("network", model, roles).startswith("A network with 4 hidden units")
    alone = table.assign(person=0)
    assert fit_rung(make_rung("network", roles, make_costs([], roles), hidden=[4], epochs=1, calibration="auto"), alone, roles, make_costs([], roles)).compared_ == {}

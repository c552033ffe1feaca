"""Every kind of problem has the variants that suit it, each can be kept and decides rows, and the trade-off is what was measured."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mlsys.data.roles import Roles
from mlsys.evaluate.measure import measure
from mlsys.fairness.problem import assess, changes
from mlsys.fairness.variant import (
    WAYS,
    describe,
    make_variants,
    plot_tradeoff,
    tradeoff_table,
    variant_answers,
)
from mlsys.models.persistence import load_model, save_model
from mlsys.models.rung import fit_rung, make_rung, predictions_of
from mlsys.objective.problem import make_costs

quiet = pytest.mark.filterwarnings("ignore::mlsys.fairness.assess.GroupWarning")


def table_of(problem, seed=0, rows=1500):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"sex": rng.choice(["F", "M", None], rows, p=[0.45, 0.5, 0.05]), "income": rng.lognormal(8, 0.5, rows), "job": rng.choice(["clerk", "driver", "cook"], rows), "price": rng.uniform(1, 5, rows)})
    table["income"] *= np.where(table["sex"] == "F", 0.75, 1.0)
    risk = 1 / (1 + np.exp(table["income"] / 1000 - 1.5))
    y = {"binary": (rng.random(rows) < risk).astype(int), "multiclass": (3 * np.clip(risk + rng.normal(0, 0.2, rows), 0, 0.999)).astype(int), "regression": 100 * risk + rng.normal(0, 5, rows)}[problem]
    labels = {"binary": ("true", "false"), "multiclass": ("", ""), "regression": ("", "")}[problem]
    return table.assign(y=y), Roles("y", *labels, sensitive=["sex"], numeric=["income"], categorical=["job"], problem=problem,
                                    classes=["low", "middle", "high"] if problem == "multiclass" else [], cost_columns=["price"])


COSTS = {"binary": ["false_negative = 3"], "multiclass": ["high -> low = 4"], "regression": ["under = 2"]}
PRICED = {"binary": ["false_negative = price", "false_positive = 0.5"], "multiclass": ["high -> low = price"], "regression": ["under = price"]}
EXPECTED = {"binary": ["mitigated", "reduced", "decorrelated"], "multiclass": ["decorrelated"], "regression": ["mitigated", "reduced", "decorrelated"]}


@quiet
@pytest.mark.parametrize("lines", [COSTS, PRICED], ids=["one price", "a price per row"])
@pytest.mark.parametrize("problem", COSTS)
def test_every_kind_of_problem_from_the_model_to_the_trade_off(tmp_path, problem, lines):
    table, roles = table_of(problem)
    parts = table[:700], table[700:1100].reset_index(drop=True), table[1100:].reset_index(drop=True)
    costs = [make_costs(lines[problem], roles, part) for part in parts]
    model = fit_rung(make_rung("linear" if problem == "regression" else "logistic", roles, costs[0]), parts[0], roles, costs[0])
    predictions = predictions_of(model, parts[2], roles, costs[2])
    variants = make_variants(model, parts[0], parts[1], roles, costs[0], costs[1], max_iter=5)
    assert list(variants) == EXPECTED[problem] and set(variants) <= set(WAYS)
    cards, gaps, y = {"model": measure(costs[2], parts[2]["y"], predictions, n_bootstrap=50)}, {}, parts[2]["y"].to_numpy()
    gaps["model"] = assess(y, costs[2].decide(predictions), sensitive_features=parts[2][["sex"]], costs=costs[2], n_bootstrap=50).gaps
    for name, variant in variants.items():
        assert describe(name, variant, "logistic", "demographic_parity").endswith(".")
        kept = load_model(tmp_path / f"{name}.skops", save_model(variant, tmp_path / f"{name}.skops"))
        answer = variant_answers(name, kept, parts[2], roles, costs[2], predictions, parts[1])[name]
        again = variant_answers(name, variant, parts[2], roles, costs[2], predictions, parts[1])[name]
        assert np.array_equal(answer.decisions, again.decisions) and len(answer.decisions) == len(y)
        if lines is COSTS:  # where rows have no prices of their own, a variant decides the same by itself, as whoever serves it will ask
            assert np.mean(np.asarray(kept.predict(parts[2])) == answer.decisions) > 0.999
        cards[name] = measure(costs[2], y, answer.predictions, decisions=answer.decisions, n_bootstrap=50)
        assert cards[name]["cost_per_1000"]["value"] == pytest.approx(costs[2].per_1000(y, answer.decisions))
        gaps[name] = assess(y, answer.decisions, sensitive_features=parts[2][["sex"]], costs=costs[2], n_bootstrap=50).gaps
        assert changes(costs[2].decide(predictions), answer.decisions, y=y, sensitive_features=parts[2][["sex"]], costs=costs[2])["rows"].sum() == len(y)
    gap = ("mean_absolute_error" if problem == "regression" else "demographic_parity") + "_difference:sex"
    table = tradeoff_table(cards, gaps, gap)
    assert list(table.index) == ["model", *variants] and (table["gap_low"] <= table["gap"]).all() and (table["cost"] <= table["cost_high"]).all()
    axes = plt.figure().subplots()
    plot_tradeoff(axes, table, "model", gap, "EUR")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["model (chosen)", *variants]
    plt.close("all")


@quiet
@pytest.mark.parametrize("problem", COSTS)
def test_without_a_sensitive_column_there_is_no_variant(problem):
    table, roles = table_of(problem, rows=300)
    nobody = Roles(**{**vars(roles), "sensitive": []})
    costs = make_costs(COSTS[problem], roles, table)
    assert make_variants(None, table, table, nobody, costs, costs) == {}


@quiet
def test_where_all_inputs_are_sensitive_nothing_can_be_taken_out_of_them():
    table, roles = table_of("binary", rows=600)
    only = Roles("y", "true", "false", sensitive=["job"], categorical=["job"])
    costs = make_costs(COSTS["binary"], only, table)
    model = fit_rung(make_rung("logistic", only, costs), table, only, costs)
    assert list(make_variants(model, table, table, only, costs, costs, max_iter=2)) == ["mitigated", "reduced"]


def test_a_way_that_is_beaten_on_both_sides_is_named():
    entry = {"low": 0.0, "high": 9.0}
    cards = {name: {"cost_per_1000": entry | {"value": cost}} for name, cost in (("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 3.0))}
    gaps = {name: {"g:x": entry | {"value": gap}} for name, gap in (("a", 0.5), ("b", 0.1), ("c", 0.2), ("d", 0.2))}
    assert tradeoff_table(cards, gaps, "g:x")["beaten_by"].to_dict() == {"a": "", "b": "", "c": "b", "d": "b"}

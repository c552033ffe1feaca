"""One call for three problems, a variant only where a method exists, and prices of single rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from mlsys.data.roles import Roles
from mlsys.fairness.assess import average_costs
from mlsys.fairness.problem import (
    NO_VARIANT,
    advice,
    assess,
    base_table,
    changes,
    describe_harms,
    describe_variant,
    headline_gaps,
    mitigate,
    rule_table,
    variant_decisions,
)
from mlsys.objective.cost import Costs
from mlsys.objective.problem import ClassCosts, ErrorCosts

pytestmark = pytest.mark.filterwarnings("ignore::mlsys.fairness.assess.GroupWarning")
ROWS = 4500
rng = np.random.default_rng(0)
TABLE = pd.DataFrame({"x": rng.normal(size=ROWS), "sex": rng.choice(["F", "M"], ROWS)})
SIGNAL = TABLE["x"] + 0.8 * (TABLE["sex"] == "M") + rng.normal(0, 0.5, ROWS)
PROBLEMS = {
    "binary": (Roles("y", "yes", "no", numeric=["x"], sensitive=["sex"]), Costs(0, 1, 2, 0), (SIGNAL > 0.5).astype(int), LogisticRegression()),
    "multiclass": (Roles("y", "", "", numeric=["x"], sensitive=["sex"], problem="multiclass", classes=["a", "b", "c"]), ClassCosts(["a", "b", "c"]), np.digitize(SIGNAL, [0, 1]), LogisticRegression()),
    "regression": (Roles("y", "", "", numeric=["x"], sensitive=["sex"], problem="regression"), ErrorCosts(2.0, 1.0), SIGNAL.to_numpy(), LinearRegression()),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_way_of_the_stage(problem):
    roles, costs, y, model = PROBLEMS[problem]
    table = TABLE.assign(y=y)
    fit, judge = table[1500:3000], table[3000:]
    model.fit(TABLE[["x"]][:1500], y[:1500])
    score = {"binary": lambda: model.predict_proba(judge[["x"]])[:, 1], "multiclass": lambda: model.predict_proba(judge[["x"]]), "regression": lambda: model.predict(judge[["x"]])}[problem]()
    truth = judge["y"].to_numpy()
    found = assess(truth, costs.decide(score), sensitive_features=judge[["sex"]], costs=costs, n_bootstrap=50)
    assert all(np.isfinite(found.gaps[f"{gap}:sex"]["value"]) for gap in headline_gaps(costs))
    assert set(found.headline) <= set(found.table("sex").columns)
    assert base_table(truth, judge[["sex"]], roles)["count"].sum() == len(judge)
    assert roles.target in describe_harms(roles, costs)
    variant = mitigate(model, fit, roles, costs, constraint="true_positive_rate_parity")
    if problem == "multiclass":
        assert variant is None and advice(costs) == NO_VARIANT
        return
    decided = variant_decisions(variant, fit, judge, roles, costs)
    assert set(decided) == {"mitigated"} | ({"ThresholdOptimizer"} if problem == "binary" else set())
    after = assess(truth, decided["mitigated"], sensitive_features=judge[["sex"]], costs=costs, n_bootstrap=50)
    gap = "true_positive_rate_difference:sex" if problem == "binary" else "mean_error_difference:sex"
    assert after.gaps[gap]["value"] < found.gaps[gap]["value"] / 2
    assert len(rule_table(variant)) == 2 and "sex" in describe_variant(variant, "linear", "true_positive_rate_parity")
    assert changes(costs.decide(score), decided["mitigated"], y=truth, sensitive_features=judge[["sex"]], costs=costs)["rows"].sum() == len(judge)


def test_nothing_is_mitigated_without_a_sensitive_column():
    roles, costs, y, model = PROBLEMS["regression"]
    bare = Roles("y", "", "", numeric=["x"], problem="regression")
    assert mitigate(model.fit(TABLE[["x"]], y), TABLE.assign(y=y), bare, costs) is None


def test_prices_of_single_rows_make_the_cost_of_a_group():
    y, decisions = rng.integers(0, 2, ROWS), rng.integers(0, 2, ROWS)
    costs = Costs(true_positive=0.0, false_positive=rng.uniform(1, 9, ROWS), false_negative=rng.uniform(10, 90, ROWS), true_negative=0.0)
    found = assess(y, decisions, sensitive_features=TABLE[["sex"]], costs=costs, n_bootstrap=400)
    expected = 1000 * pd.Series(costs.of(y, decisions)).groupby(TABLE["sex"]).mean()
    assert np.allclose(found.table("sex")["cost_per_1000"], expected, rtol=1e-12)
    row = found.groups.query("group == 'F' and metric == 'cost_per_1000'").iloc[0]
    of_group = 1000 * costs.of(y, decisions)[TABLE["sex"] == "F"]
    assert (row["high"] - row["low"]) / 2 == pytest.approx(1.96 * of_group.std() / np.sqrt(len(of_group)), rel=0.15)


def test_one_price_for_all_needs_no_rows():
    costs = Costs(0, 1, 2, 0)
    assert average_costs(costs) is costs
    assert average_costs(Costs(0.0, np.array([1.0, 3.0]), 5.0, 0.0)).false_positive == 2.0

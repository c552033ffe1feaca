"""The champion meets the candidates on the same rows, whatever kind of model it is; and what can stand in the way of that."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mlsys.core import StageError, sha256_of
from mlsys.data.roles import Roles
from mlsys.models.persistence import save_model
from mlsys.objective.problem import make_costs
from mlsys.registry.against import METRIC, Champion, champion_costs, over_champion
from mlsys.registry.candidate import Candidate, pick
from mlsys.registry.record import NO_CARD, lineage, make_record
from mlsys.registry.store import Registry, add, promote

COSTS = {"binary": ["true_positive = 0", "false_positive = 1", "false_negative = 5", "true_negative = 0"], "multiclass": ["a -> b = 3"], "regression": ["under = 3", "over = 1"]}


def table(problem, n=300):
    """Rows with an input that says something, a category and a sensitive column."""
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"income": rng.normal(0, 1, n), "region": rng.choice(["n", "s"], n), "sex": rng.choice(["f", "m"], n)})
    signal = rows["income"] + rng.normal(0, 1, n)
    target = {"binary": (signal > 0).astype(int), "multiclass": pd.cut(signal, [-9, -0.5, 0.5, 9], labels=[0, 1, 2]).astype(int), "regression": signal}[problem]
    labels = {"binary": {"positive_label": "yes", "negative_label": "no"}, "multiclass": {"positive_label": "", "negative_label": "", "classes": ["a", "b", "c"]}, "regression": {"positive_label": "", "negative_label": ""}}
    return rows.assign(y=target), Roles(target="y", problem=problem, numeric=["income"], categorical=["region"], sensitive=["sex"], **labels[problem])


def fitted(rows, roles, columns):
    """A model of the kind that the problem needs, on some of the inputs."""
    prepare = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [name for name in columns if name in roles.categorical]), remainder="passthrough")
    learner = LinearRegression() if roles.problem == "regression" else LogisticRegression()
    return make_pipeline(prepare, learner).fit(rows[columns], rows["y"])


def crown(root, model, roles, inputs, **other):
    """Register a model and promote it."""
    path = root / "model.skops"
    save_model(model, path)
    facts = {"problem": roles.problem, "classes": roles.classes, "inputs": inputs, "sensitive": [], **other}
    record = make_record(lineage({"train rows": path}, {}, sha256_of(path)), name="old", description="the old model", stage="baseline", threshold=None, file=path.name, parameters={}, measured={}, gates=[],
                         compared_with="", card_sha256=NO_CARD, **facts)  # fmt: skip
    registry = Registry(root)
    add(registry, record, path, by="Ada")
    promote(registry, by="Ada")
    return registry, record


@pytest.mark.parametrize("problem", COSTS)
def test_the_champion_decides_about_the_rows_as_it_would(problem, tmp_path):
    rows, roles = table(problem)
    costs = make_costs(COSTS[problem], roles, rows)
    model = fitted(rows, roles, ["income", "region"])
    registry, record = crown(tmp_path, model, roles, ["income", "region"])
    champion = champion_costs(registry, rows, roles, costs)
    if problem == "regression":
        expected = costs.of(rows["y"], model.predict(rows[["income", "region"]]))
    else:
        scores = model.predict_proba(rows[["income", "region"]])
        expected = costs.of(rows["y"], costs.decide(scores[:, 1] if problem == "binary" else scores))
    assert champion.version == record["version"] and np.allclose(champion.costs, expected)


def test_a_champion_with_rules_for_groups_decides_by_them(tmp_path):
    from mlsys.fairness.mitigate import GroupThresholdClassifier

    rows, roles = table("binary", 600)
    costs = make_costs(COSTS["binary"], roles, rows)
    inner = fitted(rows, roles, ["income", "region"])
    variant = GroupThresholdClassifier(inner, sensitive=["sex"], features=roles.features).fit(rows, rows["y"])
    registry, _ = crown(tmp_path, variant, roles, ["income", "region"], sensitive=["sex"])
    assert np.allclose(champion_costs(registry, rows, roles, costs).costs, costs.of(rows["y"], variant.predict(rows)))
    gone = champion_costs(registry, rows.drop(columns="sex"), roles, costs)
    assert gone.costs is None and "columns that are not there: sex" in gone.note


def test_a_champion_with_fewer_inputs_is_compared_and_one_with_others_is_not(tmp_path):
    rows, roles = table("binary")
    costs = make_costs(COSTS["binary"], roles, rows)
    registry, _ = crown(tmp_path, fitted(rows, roles, ["region"]), roles, ["region"])
    assert champion_costs(registry, rows, roles, costs).costs is not None
    gone = champion_costs(registry, rows.drop(columns="region"), roles, costs)
    assert gone.costs is None and "reads columns that are not there: region" in gone.note
    other = Roles("y", "true", "false", numeric=["income"], categorical=["region"])
    assert "answers another question" in champion_costs(registry, rows, other, costs).note


def test_where_the_champion_cannot_decide_its_gate_does_not_pass_and_says_why():
    item = Candidate("new", "train", "new.skops", "1" * 64, "new", {"cost_per_1000": {"value": 1.0, "low": 0.0, "high": 2.0}})
    costs = pd.DataFrame({"new": np.zeros(10)})
    compared = over_champion([item], Champion("a" * 12, "old", "0" * 64, None, "the champion reads columns that are not there: region"), costs, pd.DataFrame())
    judged = compared[0].judge([f"{METRIC} <= 0"], [METRIC])[0]
    assert (judged.passes, judged.verdict) == (False, "not enough evidence") and "region" in judged.note
    choice = pick(compared, ["cost_per_1000 <= 5", f"{METRIC} <= 0"], "new")
    assert choice.candidate.name == "new" and "the champion stays" in choice.reason


def test_other_rows_than_those_of_the_stages_are_an_error():
    item = Candidate("new", "train", "new.skops", "1" * 64, "new", {})
    with pytest.raises(StageError, match="dvc repro"):
        over_champion([item], Champion("a" * 12, "old", "0" * 64, np.zeros(9)), pd.DataFrame({"new": np.zeros(10)}), pd.DataFrame())


def compared(difference, units, champion=0.0):
    """The figure of a candidate that costs more than the champion by `difference` in each row."""
    old = np.zeros(len(difference)) + champion
    item = Candidate("new", "train", "new.skops", "1" * 64, "new", {})
    return over_champion([item], Champion("a" * 12, "old", "0" * 64, old), pd.DataFrame({"new": old + difference}), units)[0].measured[METRIC]


def test_pairs_settle_what_two_intervals_cannot():
    """A known answer: normal differences with a known spread; the interval of the pair is far narrower than that of either model."""
    rng = np.random.default_rng(4)
    difference, old = rng.normal(-0.1, 0.5, 4000), rng.normal(0, 10, 4000)
    found, half = compared(difference, pd.DataFrame(), old), 1000 * 1.96 * 0.5 / np.sqrt(4000)
    assert found["value"] == pytest.approx(1000 * difference.mean()) and (found["high"] - found["low"]) / 2 == pytest.approx(half, rel=0.1)
    assert found["high"] < 0 and 1000 * 1.96 * 10 / np.sqrt(4000) > 100


def test_rows_of_one_person_count_as_one():
    difference = np.repeat(np.random.default_rng(4).normal(0, 1, 100), 10)
    alone, together = (compared(difference, units) for units in (pd.DataFrame(), pd.DataFrame({"person": np.repeat(np.arange(100), 10)})))
    assert together["high"] - together["low"] > 2.5 * (alone["high"] - alone["low"])


def test_a_candidate_that_beats_the_champion_goes_first_and_the_ladder_decides_among_those():
    def made(name, cost):
        return Candidate(name, "train", "m.skops", "1" * 64, name, {"cost_per_1000": {"value": 1.0, "low": 0.0, "high": 2.0}, METRIC: {"value": cost, "low": cost - 1, "high": cost + 1}})

    gates = ["cost_per_1000 <= 5", f"{METRIC} <= 0"]
    better = pick([made("simple", 3.0), made("boosted", -3.0)], gates, "simple", {"simple": 1.0, "boosted": 2.0})
    assert better.candidate.name == "boosted" and "fails cost_over_champion <= 0" in better.reason
    neither = pick([made("simple", 3.0), made("boosted", 4.0)], gates, "simple", {"simple": 1.0, "boosted": 2.0})
    assert neither.candidate.name == "simple" and "the champion stays" in neither.reason
    both = pick([made("simple", -1.0), made("boosted", -3.0)], gates, "simple", {"simple": 1.0, "boosted": 2.0})
    assert both.candidate.name == "simple"

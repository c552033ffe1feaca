"""Behavioural tests: each kind is broken by a model that breaks it, for every kind of target, and bad declarations are named."""

import json

import numpy as np
import pandas as pd
import pytest

from mlsys.core import ConfigError
from mlsys.data.roles import Roles
from mlsys.evaluate.behaviour import (
    Followers,
    Subject,
    behaviour_failures,
    check_behaviour,
    perturb,
    share_interval,
)
from mlsys.evaluate.expectation import expectation_from, expectations_from
from mlsys.features.view import Expression
from mlsys.objective.cost import Costs
from mlsys.objective.problem import ClassCosts, ErrorCosts


def make_rows(rows=600, seed=0):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"income": rng.integers(10, 90, rows), "debt": rng.uniform(0, 60, rows), "sex": rng.choice(["f", "m"], rows), "home": rng.choice(["rent", "own"], rows), "y": rng.integers(0, 2, rows)})
    table.loc[::20, "home"] = None
    return table.assign(ratio=table["debt"] / table["income"])


def roles_of(problem="binary", sensitive_is_input=True, extra=()):
    names = {"binary": {"positive_label": "bad", "negative_label": "good"}, "multiclass": {"positive_label": "", "negative_label": "", "classes": ["a", "b", "c"]}, "regression": {"positive_label": "", "negative_label": ""}}[problem]
    return Roles(target="y", problem=problem, sensitive=["sex"], numeric=["income", "debt", *extra], categorical=["home", *(["sex"] if sensitive_is_input else [])], **names)


def number_of(rows, sex=0.0, falls=False):
    income = rows["income"].to_numpy(dtype=float)
    income = np.where(np.isnan(income), 50, income)
    debt = np.nan_to_num(rows["debt"].to_numpy(dtype=float))
    found = debt / 200 - income / 400 + 0.4 + sex * (rows["sex"] == "f").to_numpy()
    return found + (np.where(income > 60, 0.15, 0) if falls else 0)


def shaped(problem, **faults):
    """A model of a kind of target, with the faults asked for."""
    def predict(rows, costs):
        number = number_of(rows, **faults)
        if problem == "regression":
            return 100 * number
        number = np.clip(number, 0.01, 0.98)
        return number if problem == "binary" else np.column_stack([number, (1 - number) / 2, (1 - number) / 2])
    return predict


COSTS = {"binary": Costs(0, 1, 2, 0), "multiclass": ClassCosts(["a", "b", "c"]), "regression": ErrorCosts(1, 2)}


def told(problem, tests, predict=None, rows=None, roles=None, **options):
    rows = make_rows() if rows is None else rows
    subject = Subject(predict or shaped(problem), rows, roles or roles_of(problem), COSTS[problem], rows, options.pop("followers", Followers()))
    return check_behaviour(expectations_from(tests), subject, **options)


@pytest.mark.parametrize("problem", list(COSTS))
def test_each_kind_holds_for_a_sane_model_and_fails_for_a_planted_fault(problem):
    unit = 100 if problem == "regression" else 1
    of = {"of": "a"} if problem == "multiclass" else {}
    case = {"row": {"income": 80, "debt": 0}, "score": [0, 0.25 * unit], **of}
    tests = [
        {"kind": "invariance", "column": "sex", "at_most": 0.01 * unit},
        {"kind": "directional", "change": {"income": {"times": 1.2}}, "score": "never_rises", "allowed_share": 0.01, **of},
        {"kind": "minimum_functionality", "fill": "typical", "cases": [case]},
        {"kind": "perturbation", "columns": ["income", "debt"], "noise": 0.01, "at_most": 0.02 * unit, "allowed_share": 0.05},
    ]
    assert told(problem, tests)["verdict"].tolist() == ["holds"] * 4
    broken = told(problem, tests, shaped(problem, sex=0.2))
    assert broken["verdict"].tolist() == ["fails", "holds", "holds" if broken["broken"][2] == 0 else "fails", "holds"]
    assert broken["share"][0] == pytest.approx(1.0, abs=0.05) and broken["worst"][0].startswith("row ")
    falls = told(problem, tests, shaped(problem, falls=True))
    assert falls["verdict"][1] == "fails" and 0.05 < falls["share"][1] < 0.5 and "income × 1.2" in falls["worst"][1]
    turned = told(problem, [tests[2]], lambda rows, costs: shaped(problem)(rows.assign(income=10, debt=60), costs))
    assert turned["verdict"].tolist() == ["fails"] and "case 0, expected score in" in turned["worst"][0]


def test_decisions_that_flip_are_counted():
    rows = make_rows()
    near = {"kind": "perturbation", "columns": ["debt"], "noise": 0.5, "decision": "same", "allowed_share": 0.01}
    found = told("binary", [near], rows=rows)
    faulty = perturb(expectation_from(near), rows, ["debt"], rows, np.random.default_rng(0))
    flips = (COSTS["binary"].decide(shaped("binary")(rows, None)) != COSTS["binary"].decide(shaped("binary")(faulty, None))).sum()
    assert found["broken"][0] == flips > 10 and found["verdict"][0] == "fails"


def test_a_column_that_is_no_input_is_kept_trivially_and_the_table_says_so():
    found = told("binary", [{"kind": "invariance", "column": "sex", "at_most": 0}], shaped("binary", sex=0.2), roles=roles_of(sensitive_is_input=False))
    assert found["verdict"][0] == "holds" and "no input of the model and cannot move it" in found["note"][0]


def test_a_sensitive_column_that_an_input_is_computed_from_is_tried():
    rows = make_rows()
    rows["is_f"] = (rows["sex"] == "f").astype(float)
    followers = Followers([Expression("is_f", "CASE WHEN sex = 'f' THEN 1 ELSE 0 END")])
    found = told("binary", [{"kind": "invariance", "column": "sex", "at_most": 0}], lambda rows, costs: 0.2 + 0.5 * rows["is_f"].to_numpy(), rows,
                 roles_of(sensitive_is_input=False, extra=["is_f"]), followers=followers)
    assert found["verdict"][0] == "fails" and found["share"][0] == 1 and "is_f" in found["note"][0]


def test_what_is_computed_from_a_changed_input_changes_with_it():
    rows, roles = make_rows(), roles_of(extra=["ratio"])
    followers = Followers([Expression("double", "ratio * 2"), Expression("ratio", "debt / income")])
    again = followers.apply(rows, ["income"])
    assert followers.reached(["income"]) == ["ratio", "double"] and np.allclose(again["ratio"], rows["ratio"])
    change = {"kind": "directional", "change": {"income": {"times": 2}}, "score": "never_falls"}
    def by_ratio(rows, costs):
        return np.clip(rows["ratio"].to_numpy(dtype=float) / 7, 0, 1)
    assert told("binary", [change], by_ratio, rows, roles, followers=followers)["share"][0] > 0.95
    assert told("binary", [change], by_ratio, rows, roles)["share"][0] == 0


def test_sensitive_values_are_not_shown():
    rows = make_rows().assign(sex=lambda table: table["sex"].map({"f": "secret-f", "m": "secret-m"}))
    found = told("binary", [{"kind": "invariance", "column": "sex", "at_most": 0}], lambda rows, costs: np.where(rows["sex"] == "secret-f", 0.2, 0.6), rows)
    assert found["verdict"][0] == "fails" and "secret" not in found.to_json()


def test_a_model_that_gives_no_answer_breaks_the_test():
    def brittle(rows, costs):
        if rows["income"].isna().any():
            raise ValueError("Input contains NaN")
        return np.full(len(rows), 0.3)
    found = told("binary", [{"kind": "perturbation", "missing": 0.2, "decision": "same", "allowed_share": 0.5}], brittle)
    assert found["verdict"][0] == "fails" and found["share"][0] == 1 and "no answer" in found["worst"][0]


def test_of_many_categories_the_most_frequent_of_training_are_tried():
    training = make_rows(3000).assign(home=lambda table: [f"kind {place % 30 if place < 1500 else place % 15}" for place in range(len(table))])
    rows, tried = make_rows(100).assign(home="only in these rows"), set()

    def spy(rows, costs):
        tried.update(rows["home"].unique())
        return np.full(len(rows), 0.3)

    found = check_behaviour(expectations_from([{"kind": "invariance", "column": "home", "at_most": 0}]), Subject(spy, rows, roles_of(), COSTS["binary"], training))
    assert len(tried) == 21 and {f"kind {place}" for place in range(15)} < tried and "20 most frequent of 30" in found["note"][0]


def test_a_category_never_seen_can_be_asked_for():
    seen = set()
    def spy(rows, costs):
        seen.update(rows["home"].dropna().unique())
        return np.full(len(rows), 0.3)
    found = told("binary", [{"kind": "perturbation", "unseen": 1.0, "columns": ["home"], "at_most": 0}], spy)
    assert "(never seen)" in seen and found["verdict"][0] == "holds"


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ({"kind": "invariance", "column": "sx", "at_most": 0}, "Did you mean sex"),
        ({"kind": "invariance", "column": "y", "at_most": 0}, "column"),
        ({"kind": "invariance", "column": "home", "values": ["rented"], "at_most": 0}, "Did you mean rent"),
        ({"kind": "invariance", "column": "income", "at_most": 0}, "the values to try, because income is a quantity"),
        ({"kind": "invariance", "column": "income", "values": ["much"], "at_most": 0}, "a number, because income is a quantity"),
        ({"kind": "directional", "change": {"home": {"add": 1}}, "score": "never_rises"}, "set, because home is no quantity"),
        ({"kind": "directional", "change": {"income": {"add": 1}}, "score": "never_rises", "of": "a"}, "nothing, because there is one score"),
        ({"kind": "minimum_functionality", "cases": [{"row": {"income": 10, "home": "rent", "sex": "f"}, "decision": "bad"}]}, "every input; missing: debt. Add them, or write fill: typical"),
        ({"kind": "minimum_functionality", "fill": "typical", "cases": [{"row": {"home": "palace"}, "decision": "bad"}]}, "allowed: own, rent"),
        ({"kind": "minimum_functionality", "fill": "typical", "cases": [{"row": {"incme": 1}, "decision": "bad"}]}, "Did you mean income"),
        ({"kind": "minimum_functionality", "fill": "typical", "cases": [{"row": {"income": 1}, "decision": "goood"}]}, "Did you mean good"),
        ({"kind": "perturbation", "noise": 0.1, "at_most": 0, "where": "incom > 3"}, "Did you mean income"),
    ],
)  # fmt: skip
def test_a_test_about_another_table_is_named(test, words):
    with pytest.raises(ConfigError, match=words):
        told("binary", [test])


@pytest.mark.parametrize(
    ("test", "words"),
    [
        ("{", "a test as JSON"), ([1], "a mapping with a kind"), ({"kind": "invariant"}, "Did you mean invariance"), ({"kind": "invariance"}, "this kind of test needs column"),
        ({"kind": "invariance", "column": "sex"}, "decision: same"), ({"kind": "invariance", "column": "sex", "at_mots": 1}, "Did you mean at_most"),
        ({"kind": "invariance", "column": "sex", "at_most": -1}, "a number from 0"), ({"kind": "invariance", "column": "sex", "at_most": 0, "allowed_share": 2}, "from 0 to 1"),
        ({"kind": "invariance", "column": ["sex"], "at_most": 0}, "a text"), ({"kind": "directional", "change": {}, "score": "never_rises"}, "keys with values"),
        ({"kind": "directional", "change": {"a": {"plus": 1}}, "score": "never_rises"}, "add, times, set"), ({"kind": "directional", "change": {"a": {"add": 1}}, "score": "rises"}, "never_rises"),
        ({"kind": "perturbation", "at_most": 0}, "noise, missing or unseen above 0"), ({"kind": "minimum_functionality", "cases": []}, "one case or more"),
        ({"kind": "minimum_functionality", "cases": [{"row": {"a": 1}}]}, "decision: good, or score"), ({"kind": "minimum_functionality", "cases": [{"row": {"a": 1}, "score": [1, 0]}]}, "a range"),
    ],
)  # fmt: skip
def test_a_declaration_that_says_nothing_is_named(test, words):
    with pytest.raises(ConfigError, match=words):
        expectation_from(test)


def test_names_occur_once():
    test = {"kind": "invariance", "column": "sex", "at_most": 0}
    with pytest.raises(ConfigError, match="tests whose names differ"):
        expectations_from([test, json.dumps(test)])


def test_decisions_of_a_quantity_cannot_stay_the_same():
    with pytest.raises(ConfigError, match="the decision is the number itself"):
        told("regression", [{"kind": "perturbation", "noise": 0.1, "decision": "same"}])


def test_a_condition_keeps_the_rows_that_a_test_is_about():
    rows = make_rows()
    test = {"kind": "directional", "change": {"income": {"times": 1.2}}, "score": "never_rises", "where": "income > 75"}
    found = told("binary", [test, test | {"name": "nobody", "where": "income > 500"}], shaped("binary", falls=True), rows)
    assert found["rows"].tolist() == [int((rows["income"] > 75).sum()), 0] and found["verdict"].tolist() == ["holds", "not enough evidence"]


def test_costs_of_each_row_stay_with_their_rows():
    rows = make_rows(900)
    costs = Costs(0, rows["income"].to_numpy(dtype=float), 20.0, 0)
    subject = Subject(shaped("binary"), rows, roles_of(), costs, rows)
    found = check_behaviour(expectations_from([{"kind": "perturbation", "noise": 0.001, "decision": "same", "allowed_share": 0.05, "where": "debt > 10"},
                                               {"kind": "minimum_functionality", "fill": "typical", "cases": [{"row": {"debt": 0}, "decision": "good"}]}]), subject, max_rows=300)
    assert found["verdict"].tolist() == ["holds", "holds"] and found["rows"][0] < 300


def test_the_interval_of_a_share_covers_and_knows_of_people():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(200):
        shares = np.repeat(rng.beta(0.3, 2.7, 60), 10)
        entry = share_interval(rng.random(600) < shares, {"people": np.repeat(np.arange(60), 10)})
        hits += entry["low"] <= 0.1 <= entry["high"]
    assert hits >= 180
    assert share_interval(np.zeros(10, dtype=bool), {})["high"] == pytest.approx(1 - 0.025**0.1) and share_interval(np.ones(10, dtype=bool), {})["high"] == 1


def test_the_count_for_a_gate_says_how_sure_it_is():
    table = pd.DataFrame({"verdict": ["holds", "fails", "not enough evidence", "not enough evidence"], "share": [0, 1, 0.06, 0.04], "allowed_share": [0, 0, 0.05, 0.05]})
    assert behaviour_failures(table) == {"value": 2, "low": 1, "high": 3}
    assert behaviour_failures(told("binary", [])) == {"value": 0, "low": 0, "high": 0}

"""What a target asks, and how its answers become numbers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys.core import ConfigError, ContractError
from mlsys.data.outcome import describe_outcome, outcome_level, outcome_over_time
from mlsys.data.roles import Roles
from mlsys.data.table import prepare_table, rate_over_time
from mlsys.data.target import encode_classes, encode_outcome, encode_quantity, resolve_problem


@pytest.mark.parametrize("values, problem", [
    (["yes", "no"] * 5, "binary"), ([0, 1] * 5, "binary"), ([True, False] * 5, "binary"), ([0.5, 2.5, None] * 4, "binary"),
    (list("abc") * 5, "multiclass"), (["1", "2", "x"] * 5, "multiclass"), ([1, 2, 3] * 5, "multiclass"), ([1.0, 2.0, 3.0, None] * 5, "multiclass"),
    (["1", "2", "3"] * 5, "multiclass"), (list(range(20)) * 3, "multiclass"), (list(range(21)) * 3, "regression"), ([1, 2, 3, 4, 5, 6], "regression"),
    ([0.5, 1.5, 2.5] * 9, "regression"), (["0.5", "1.5", "2.5"] * 9, "regression"), ([-1, 0, 1] * 5, "multiclass"), (np.arange(50) * 100, "regression"),
    (["<=50K", ">50K", "<=50K.", ">50K."] * 5, "binary"),
])
def test_the_values_say_what_is_asked(values, problem):
    assert resolve_problem(pd.Series(values, name="y"))[0] == problem


def test_a_doubtful_case_says_how_to_overrule_it():
    kind, why = resolve_problem(pd.Series([1, 2, 3] * 9, name="stars"))
    assert kind == "multiclass" and "data.problem: regression" in why
    assert encode_outcome(pd.Series([1, 2, 3] * 9, name="stars"), "regression").values.dtype == "float64"
    assert encode_outcome(pd.Series(np.arange(60), name="code"), "multiclass").classes[-1] == "59"
    assert resolve_problem(pd.Series([1, 2, 3] * 9), "auto", "3")[0] == "binary"


@pytest.mark.parametrize("values, kind, words", [
    ([f"name {row}" for row in range(300)], ContractError, ["300 different texts", "data.problem: multiclass"]),
    (pd.date_range("2024-01-01", periods=4), ContractError, ["times", "data.derive"]), ([7.0] * 4, ContractError, ["one value", "data.query"]),
    ([None] * 4, ContractError, ["no value"]), ([1.0, np.nan, np.nan], ContractError, ["one value"]),
])
def test_what_is_no_question_is_refused(values, kind, words):
    with pytest.raises(kind) as caught:
        resolve_problem(pd.Series(values, name="y"))
    assert all(word in str(caught.value) for word in words)


def test_an_unknown_problem_is_named():
    with pytest.raises(ConfigError, match="data.problem: received 'classification'"):
        resolve_problem(pd.Series([1, 2]), "classification")


# Several classes


@given(st.lists(st.one_of(st.none(), st.sampled_from(["card", "cash", "no charge", "a.", "10", "9"])), min_size=3, max_size=40))
def test_codes_lead_back_to_labels(values):
    column = pd.Series(values, name="y", dtype="str")
    if column.nunique() < 2:
        with pytest.raises(ContractError):
            encode_classes(column)
        return
    codes, labels, joined = encode_classes(column)
    assert [None if pd.isna(code) else labels[code] for code in codes] == values and joined == 0


def test_numbers_are_ordered_by_size_and_texts_by_alphabet():
    assert encode_classes(pd.Series([10, 9, 100, 1]))[1] == ["1", "9", "10", "100"]
    assert encode_classes(pd.Series(["10", "9", "x"]))[1] == ["10", "9", "x"]


def test_a_full_stop_joins_twins_only():
    codes, labels, joined = encode_classes(pd.Series(["Inc.", "seal", "seal.", "valve", "Ltd."]))
    assert labels == ["Inc.", "Ltd.", "seal", "valve"] and joined == 1 and codes[1] == codes[2]


@pytest.mark.parametrize("values, positive", [(["no", "yes"], "yes"), ([0, 1], "1"), ([False, True], "true"), (["Y", "N"], "Y"), (["yes.", "no.", "yes", "no"], "yes")])
def test_a_label_that_affirms_is_the_positive_one(values, positive):
    assert encode_outcome(pd.Series(values * 3, name="y")).classes[1] == positive


def test_two_labels_that_do_not_speak_for_themselves_need_a_positive_one():
    with pytest.raises(ConfigError, match="data.positive_label.*'good' or 'poor'"):
        encode_outcome(pd.Series(["good", "poor"] * 3, name="y"))


# Quantities


@pytest.mark.parametrize("values, words", [
    ([1.0, np.inf, -np.inf, 2], ["2 infinite", "first row 1, 2", "isfinite"]), (["1", "2", "many"], ["1 value(s) that are no numbers", "'many'"]),
    ([3, 3, None], ["one value in every row"]), ([True, False, True], ["no numbers"]), ([1e200, 1.0], ["infinite"]),
])
def test_quantities_that_cannot_be_learned(values, words):
    with pytest.raises(ContractError) as caught:
        encode_quantity(pd.Series(values, name="y"))
    assert all(word in str(caught.value) for word in words)


def test_a_quantity_keeps_its_gaps_and_reads_text():
    assert encode_quantity(pd.Series([" 1.5", "2", None], name="y")).tolist()[:2] == [1.5, 2.0]


# Prepared


def source(values, **columns):
    n = len(values)
    rng = np.random.default_rng(0)
    return pd.DataFrame({"row_id": range(n), "x": rng.normal(size=n), "kind": rng.choice(["a", "b"], n), "y": values}).assign(**columns)


@pytest.mark.parametrize("values, kind, dtype", [(["no", "yes"] * 30, "binary", "int8"), (list("abc") * 20, "multiclass", "int16"), (np.arange(60) / 7, "regression", "float64")])
def test_the_prepared_table_and_its_roles(values, kind, dtype, tmp_path):
    prepared = prepare_table(source(values, price=1.0 + np.arange(60)), target="y", cost_columns=["price"])
    roles = prepared.roles
    assert (roles.problem, str(prepared.table["y"].dtype)) == (kind, dtype) and prepared.table["price"].sum() > 0
    assert roles.cost_columns == ["price"] and roles.features == ["x", "kind"] and "prices" in prepared.left_out["price"]
    assert (roles.positive_label == "yes") == (kind == "binary") and len(roles.classes) == {"binary": 2, "multiclass": 3, "regression": 0}[kind]
    roles.save(tmp_path / "roles.json")
    assert Roles.load(tmp_path / "roles.json") == roles
    assert any(kind in note for note in prepared.notes) == (kind != "binary")


def test_roles_of_an_older_run_are_binary(tmp_path):
    (tmp_path / "roles.json").write_text('{"target": "y", "positive_label": "yes", "negative_label": "no"}')
    assert Roles.load(tmp_path / "roles.json").classes == ["no", "yes"]


@pytest.mark.parametrize("parts, words", [
    ({"problem": "ranking"}, "problem"), ({"problem": "multiclass"}, "classes"), ({"problem": "regression", "classes": ["a"]}, "classes"),
    ({"cost_columns": ["x"]}, "cost_columns"), ({"cost_columns": ["y"]}, "cost_columns"),
])
def test_roles_that_contradict_themselves(parts, words):
    with pytest.raises(ConfigError, match=words):
        Roles("y", "", "", numeric=["x"], **parts)


def test_a_sample_keeps_every_class():
    values = np.where(np.arange(3000) < 2990, "usual", np.array([f"rare {row % 9}" for row in range(3000)]))
    for seed in range(20):
        prepared = prepare_table(source(values), target="y", problem="multiclass", max_rows=30, seed=seed)
        assert len(prepared.table) == 30 and prepared.table["y"].nunique() == 10 and prepared.table["row_id"].is_monotonic_increasing
    with pytest.raises(ContractError, match="profile.max_rows.*10 classes"):
        prepare_table(source(values), target="y", problem="multiclass", max_rows=9)


# Level and time


def test_the_level_in_figures_and_words():
    several = Roles("y", "", "", problem="multiclass", classes=["a", "b", "c"])
    y = pd.Series([0, 0, 0, 1], dtype="int16")
    assert outcome_level(y, several) == {"most_frequent_share": 0.75, "rarest_share": 0.0, "classes_present": 2.0}
    assert "`a`, in 75.0%" in describe_outcome(y, several)
    assert outcome_level(pd.Series([1.0, 2, 6]), Roles("y", "", "", problem="regression"))["mean"] == 3
    assert outcome_level(pd.Series([0, 1]), Roles("y", "1", "0")) == {"positive_rate": 0.5}


def test_curves_over_time_add_up():
    n = 600
    table = source(np.zeros(n), y=np.arange(n).astype("int16") % 3)
    several = Roles("y", "", "", rows_in_time_order=True, problem="multiclass", classes=["a", "b", "c"])
    curves = outcome_over_time(table, several, n_bins=4)
    assert np.allclose(sum(curve["value"] for curve in curves.values()), 1) and len(curves) == 3
    amount = Roles("x", "", "", rows_in_time_order=True, problem="regression")
    means = rate_over_time(table, amount, n_bins=4)
    assert (means["low"] < means["mean"]).all() and means["mean"].mean() == pytest.approx(table["x"].mean())

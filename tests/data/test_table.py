"""From a table that was read to a table that can be learned from."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys.core import ConfigError, ContractError
from mlsys.data.roles import Roles
from mlsys.data.table import describe_columns, note_groups, prepare_table, rate_over_time
from mlsys.data.target import encode_target


def source(n=40, **columns):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "row_id": range(n), "x": rng.normal(size=n), "kind": rng.choice(["a", "b"], n), "sex": rng.choice(["f", "m"], n),
        "y": np.where(np.arange(n) % 4 == 0, "yes", "no"),
    })
    return table.assign(**columns)


PARTS = {"target": "y", "positive_label": "yes"}


# Target


@pytest.mark.parametrize("values, positive, negative", [
    (["no", "yes"], "yes", "no"), ([0, 1], "1", "0"), ([0.0, 1.0, np.nan], "1", "0"), ([True, False], "true", "false"), ([True, False], "True", "false"), (["True", "False"], "true", "false"),
    ([2, 1], "2", "1"), (["a", "b", None], "b", "a"), (["<=50K.", ">50K."], ">50K", "<=50K"), ([">50K", "<=50K.", "<=50K"], ">50K", "<=50K"),
    (["Dr.", "Mr."], "Dr.", "Mr."),
])
def test_targets(values, positive, negative):
    outcome, other, _ = encode_target(pd.Series(values, name="y"), positive)
    assert other == negative and set(outcome.dropna()) == {0, 1}
    assert outcome.isna().tolist() == pd.isna(pd.Series(values)).tolist()


@given(st.lists(st.sampled_from(["yes", "no", None]), min_size=2, max_size=50).filter(lambda values: {"yes", "no"} <= set(values)))
def test_encoding_loses_nothing(values):
    outcome, _, joined = encode_target(pd.Series(values, name="y", dtype="str"), "yes")
    assert [None if pd.isna(value) else ("no", "yes")[value] for value in outcome] == values and joined == 0


@pytest.mark.parametrize("values, positive, kind, words", [
    (["no", "no"], "yes", ContractError, ["one value", "two outcomes"]), ([None, None], "yes", ContractError, ["exactly two"]),
    (list("abc"), "a", ContractError, ["'a', 'b', 'c'", "exactly two"]), (range(9), "1", ContractError, ["9 different values"]),
    (["no", "yes"], "Yes", ConfigError, ["data.positive_label", "'no' or 'yes'"]),
])
def test_targets_that_cannot_be_learned(values, positive, kind, words):
    with pytest.raises(kind) as caught:
        encode_target(pd.Series(list(values), name="y", dtype=None if not isinstance(values, list) or values[0] else "str"), positive)
    for word in words:
        assert word in str(caught.value)


# Parts


def test_what_comes_out():
    prepared = prepare_table(source(), **PARTS, sensitive=["sex"])
    assert prepared.roles.features == ["x", "kind"] and prepared.left_out["sex"].startswith("sensitive")
    assert prepared.table.columns.tolist() == ["row_id", "x", "kind", "sex", "y"] and prepared.table["y"].dtype == "int8"
    assert prepared.table["y"].sum() == 10 and prepared.counts["prepared"] == 40
    as_inputs = prepare_table(source(), **PARTS, sensitive=["sex"], sensitive_as_features=True)
    assert as_inputs.roles.features == ["x", "kind", "sex"] and as_inputs.roles.sensitive == ["sex"]


def test_excluded_columns_go_and_sensitive_ones_stay():
    prepared = prepare_table(source(), **PARTS, sensitive=["sex"], exclude=["kind", "sex"])
    assert "kind" not in prepared.table and "sex" in prepared.table and prepared.roles.features == ["x"]


def test_columns_that_cannot_be_inputs_are_listed_with_the_reason():
    n = 400
    table = source(n, name=[f"person {i}" for i in range(n)], when=pd.Timestamp("2024-01-01"), one=1, empty=pd.Series([None] * n, dtype="str"),
                   flag=np.arange(n) % 2 == 0)
    prepared = prepare_table(table, **PARTS)
    assert set(prepared.left_out) == {"name", "when", "one", "empty"} and "key" in prepared.left_out["name"]
    assert prepared.roles.categorical == ["kind", "sex", "flag"] and set(prepared.table["flag"]) == {"true", "false"}
    described = describe_columns(prepared)
    assert described.loc["name", "why no input"] and described.loc["y", "part"] == "target"


def test_rows_without_an_outcome_are_counted():
    table = source()
    table.loc[:4, "y"] = None
    prepared = prepare_table(table, **PARTS)
    assert prepared.counts["without_outcome"] == 5 and prepared.table["row_id"].min() == 5


def test_max_rows_keeps_the_order_and_the_seed():
    one, two, other = (prepare_table(source(400), **PARTS, max_rows=100, seed=seed).table for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, two)
    assert len(one) == 100 and one["row_id"].is_monotonic_increasing and not one["row_id"].equals(other["row_id"])
    with pytest.raises(ConfigError, match="max_rows"):
        prepare_table(source(), **PARTS, max_rows=-1)


def test_missing_categories_stay_missing():
    table = source(kind=pd.Series(["a", None] * 20, dtype="str"))
    assert prepare_table(table, **PARTS).table["kind"].isna().sum() == 20


@pytest.mark.parametrize("setting, word", [
    ({"target": "why"}, "data.target"), ({"time": "wen"}, "data.time"), ({"group": "sec"}, "sex"), ({"sensitive": ["gender"]}, "data.sensitive"),
    ({"exclude": ["knd"]}, "Did you mean kind"), ({"exclude": ["y"]}, "data.target"), ({"exclude": ["x", "kind", "sex"]}, "left as an input"),
    ({"sensitive": ["y"]}, "target"),
])
def test_names_that_do_not_work(setting, word):
    with pytest.raises(ConfigError, match=word):
        prepare_table(source(), **{**PARTS, **setting})


def test_times_must_be_there():
    table = source(when=["2024-01-01"] * 39 + [None])
    with pytest.raises(ContractError, match="first row 39"):
        prepare_table(table, **PARTS, time="when")
    with pytest.raises(ContractError, match="row 39 has the shape '99.99.9999'"):
        prepare_table(source(when=["2024-01-01"] * 39 + ["01.02.2024"]), **PARTS, time="when")


# Groups


def test_groups_of_none_and_one_are_said_without_names():
    table = pd.DataFrame({"sex": ["f"] * 60 + ["m"] * 60 + ["secret"]})
    notes = note_groups(table, ["sex"], declared={"sex": ["f", "m", "secret", "other"]})
    assert any("1 declared group(s) have 0 rows" in note for note in notes) and any("1 group(s) have a single row" in note for note in notes)
    assert not any("secret" in note or "other" in note for note in notes)
    assert note_groups(pd.DataFrame({"sex": ["f", "m"] * 60}), ["sex"]) == []


def test_a_single_row_group_does_not_stop_the_stage():
    prepared = prepare_table(source(sex=["f"] * 39 + ["x"]), **PARTS, sensitive=["sex"])
    assert any("single row" in note for note in prepared.notes)
    one = prepare_table(source(sex="f"), **PARTS, sensitive=["sex"])
    assert any("nothing to compare" in note for note in one.notes)


def test_a_sensitive_column_without_values_is_said():
    prepared = prepare_table(source(sex=pd.Series([None] * 40, dtype="str")), **PARTS, sensitive=["sex"])
    assert any("nothing to compare" in note for note in prepared.notes)


# Rates and roles


def test_rates_add_up():
    table = source(200, when=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(200), unit="D"))
    prepared = prepare_table(table, **PARTS, time="when")
    rates = rate_over_time(prepared.table, prepared.roles)
    assert rates["rows"].sum() == 200 and (rates["rows"] * rates["positive_rate"]).sum() == pytest.approx(50)
    assert ((rates["low"] <= rates["positive_rate"]) & (rates["positive_rate"] <= rates["high"])).all()


def test_roles_survive_a_file(tmp_path):
    roles = prepare_table(source(), **PARTS, sensitive=["sex"]).roles
    roles.save(tmp_path / "roles.json")
    assert Roles.load(tmp_path / "roles.json") == roles
    (tmp_path / "roles.json").write_text('{"target": "y", "positive_label": "1", "negative_label": "0", "grup": "a"}')
    with pytest.raises(ConfigError, match="Did you mean group"):
        Roles.load(tmp_path / "roles.json")


@pytest.mark.parametrize("setting", [{"numeric": ["y"]}, {"numeric": ["a"], "categorical": ["a"]}, {"time": "a", "numeric": ["a"]},
                                     {"group": "a", "categorical": ["a"]}, {"sensitive": ["y"]}, {"label_delay_days": -1}, {"target": ""}])
def test_roles_that_contradict_themselves(setting):
    with pytest.raises(ConfigError):
        Roles(**{"target": "y", "positive_label": "1", "negative_label": "0", **setting})

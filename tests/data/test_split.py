"""Splits: no row, person or moment on two sides, whatever the table looks like."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mlsys.core import ConfigError, LeakageError
from mlsys.data.roles import Roles
from mlsys.data.split import (
    PARTS,
    auc_with_interval,
    check_split,
    group_codes,
    macro_auc,
    r2_with_interval,
    random_and_time,
    split_table,
)


def table_of(n, seed=0, n_groups=0, days=400, ties=False):
    rng = np.random.default_rng(seed)
    day = rng.integers(0, days, n) // (30 if ties else 1)
    columns = {"row_id": np.arange(n), "x": rng.normal(size=n), "kind": rng.choice(["a", "b", "c"], n),
               "when": pd.Timestamp("2023-01-01") + pd.to_timedelta(day, unit="D"), "y": (rng.random(n) < 0.3).astype("int8")}
    table = pd.DataFrame(columns)
    if n_groups:
        table["person"] = pd.Series(rng.integers(0, n_groups, n)).map("p{}".format)
    return table


def roles_of(table, **settings):
    return Roles("y", "1", "0", group="person" if "person" in table else "", numeric=["x"], categorical=["kind"], **settings)


def accounted(split):
    return sum(split.report["rows"].values()) + sum(item["rows"] for item in split.report["removed"])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(200, 600), people=st.sampled_from([0, 60, 300]), test=st.floats(0.1, 0.4),
       validation=st.floats(0.1, 0.4), delay=st.integers(0, 60), ties=st.booleans())
def test_by_time_nothing_crosses(seed, n, people, test, validation, delay, ties):
    table = table_of(n, seed, people, ties=ties)
    roles = roles_of(table, time="when", label_delay_days=delay)
    try:
        split = split_table(table, roles, test_share=test, validation_share=validation, seed=seed)
    except ConfigError as error:
        assert "split" in str(error)
        return
    assert accounted(split) == n
    wait = pd.Timedelta(days=delay)
    assert (split.train["when"] < split.validation["when"].min()).all() and (split.validation["when"] < split.test["when"].min()).all()
    assert (split.train["when"] + wait <= split.validation["when"].min()).all()
    assert (split.validation["when"] + wait <= split.test["when"].min()).all()
    ids = [set(rows["row_id"]) for rows in split.parts.values()]
    assert not ids[0] & ids[1] and not ids[0] & ids[2] and not ids[1] & ids[2]
    if people:
        people_in = [set(rows["person"]) for rows in split.parts.values()]
        assert not people_in[0] & people_in[1] and not people_in[0] & people_in[2] and not people_in[1] & people_in[2]
    if not ties:
        assert len(split.test) == pytest.approx(test * n, abs=0.02 * n)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(200, 600), people=st.sampled_from([0, 60, 300]), test=st.floats(0.1, 0.4), validation=st.floats(0.1, 0.4))
def test_at_random_groups_stay_whole_and_shares_hold(seed, n, people, test, validation):
    table = table_of(n, seed, people)
    split = split_table(table, roles_of(table), "random", test_share=test, validation_share=validation, seed=seed)
    assert accounted(split) == n == sum(split.report["rows"].values()), "nothing is removed"
    assert len(split.test) == pytest.approx(test * n, abs=0.06 * n if people else 2)
    assert len(split.validation) == pytest.approx(validation * (1 - test) * n, abs=0.06 * n if people else 2)
    if not people:
        rates = split.report["positive_rate"].values()
        assert max(rates) - min(rates) < 0.02 + 2 / min(split.report["rows"].values()), "stratified, but for a row on either side"
    else:
        names = [set(rows["person"]) for rows in split.parts.values()]
        assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]


def test_same_seed_same_split():
    table = table_of(500)
    one, two, other = (split_table(table, roles_of(table), "random", seed=seed) for seed in (1, 1, 2))
    for name in PARTS:
        pd.testing.assert_frame_equal(one.parts[name], two.parts[name])
    assert set(one.test["row_id"]) != set(other.test["row_id"])


def test_purged_rows_are_exactly_those_whose_label_is_not_known():
    table = table_of(3_000, days=300).sort_values("when", kind="stable").reset_index(drop=True)
    table["row_id"] = range(3_000)
    split = split_table(table, roles_of(table, time="when", label_delay_days=30), test_share=0.2, validation_share=0.2)
    begin = split.test["when"].min()
    not_known = ((table["when"] < begin) & (table["when"] + pd.Timedelta(days=30) > begin)).sum()
    assert [item["rows"] for item in split.report["removed"] if "before test" in item["reason"]] == [not_known]
    assert split.report["from"]["test"].startswith(str(begin.date()))


def test_row_order_is_a_clock():
    table = table_of(400)
    split = split_table(table, roles_of(table, rows_in_time_order=True), test_share=0.25, validation_share=0.2)
    assert split.report["method"] == "time" and split.test["row_id"].tolist() == list(range(300, 400))
    assert split.validation["row_id"].tolist() == list(range(240, 300)) and split.train["row_id"].tolist() == list(range(240))


def test_a_given_test_file_is_used():
    table = table_of(400, n_groups=300)
    table["part"] = np.where(table["row_id"] % 4 == 0, "test", "train")
    split = split_table(table, roles_of(table))
    assert split.report["method"] == "given" and set(split.test["row_id"]) == set(range(0, 400, 4))
    assert "part" not in split.train and accounted(split) == 400
    assert not set(split.train["person"]) & set(split.test["person"])


def test_auto_takes_what_the_table_allows():
    table = table_of(300)
    assert split_table(table, roles_of(table)).report["method"] == "random"
    assert split_table(table, roles_of(table, time="when")).report["method"] == "time"
    forced = split_table(table, roles_of(table, time="when"), "random")
    assert forced.report["method"] == "random" and "better than they are" in forced.report["why"]


@pytest.mark.parametrize("setting, word", [
    ({"method": "tim"}, "split.method"), ({"method": "time"}, "data.time"), ({"method": "given"}, "data.test_path"), ({"test_share": 0}, "test_share"),
    ({"test_share": 1.5}, "test_share"), ({"validation_share": float("nan")}, "validation_share"), ({"test_share": True}, "test_share"),
])
def test_settings_that_do_not_work(setting, word):
    with pytest.raises(ConfigError, match=word):
        split_table(table_of(100), roles_of(table_of(100)), **setting)


def test_a_table_that_cannot_be_divided_says_so():
    table = table_of(100).assign(when=pd.Timestamp("2024-01-01"))
    with pytest.raises(ConfigError, match="split.test_share"):
        split_table(table, roles_of(table, time="when"))
    with pytest.raises(ConfigError, match="label_delay_days"):
        split_table(table_of(100), roles_of(table, time="when", label_delay_days=3_000))
    with pytest.raises(ConfigError, match="both outcomes"):
        split_table(table_of(3), roles_of(table))
    with pytest.raises(ConfigError, match="wen"):
        split_table(table_of(100), Roles("y", "1", "0", time="wen", numeric=["x"]))


def test_rows_without_a_group_stand_alone():
    table = table_of(6).assign(person=pd.Series(["a", None, "a", None, "b", None], dtype="str"))
    codes = group_codes(table, roles_of(table))
    assert codes[0] == codes[2] and len(set(codes)) == 5


def test_leaks_are_found():
    table = table_of(400, n_groups=200)
    roles = roles_of(table, time="when", label_delay_days=10)
    split = split_table(table, roles)
    check_split(split.parts, roles, by_time=True)
    for broken, word in [
        ({"train": pd.concat([split.train, split.test.head(1)])}, "row_id"),
        ({"train": pd.concat([split.train, split.test.head(1).assign(row_id=10**6)])}, "person"),
        ({"train": pd.concat([split.train, split.test.head(1).assign(row_id=10**6, person="new")])}, "label is not known"),
        ({"validation": pd.concat([split.validation, split.test.head(1).assign(row_id=10**6, person="new", when=split.test["when"].min() - pd.Timedelta(days=1))])},
         "label is not known"),
    ]:
        with pytest.raises(LeakageError, match=word):
            check_split({**split.parts, **broken}, roles, by_time=True)


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_auc_equals_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    outcome = np.concatenate([[0, 1], rng.integers(0, 2, 60)])
    scores = rng.integers(0, 8, 62) / 8 + 0.2 * outcome
    auc, low, high = auc_with_interval(outcome, scores)
    assert auc == pytest.approx(roc_auc_score(outcome, scores)) and 0 <= low <= auc <= high <= 1


def test_auc_interval_covers():
    rng = np.random.default_rng(0)
    truth = 0.7602499389065233  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt(2))
    hits = 0
    for _ in range(400):
        outcome = np.repeat([0, 1], [150, 60])
        _, low, high = auc_with_interval(outcome, rng.normal(size=210) + outcome)
        hits += low <= truth <= high
    assert 0.92 <= hits / 400 <= 0.975


def test_a_moving_world_shows_in_the_comparison():
    rng = np.random.default_rng(1)
    n = 4_000
    period = np.arange(n) // 200
    kind = pd.Series(period).map("k{}".format)
    level = rng.normal(0, 1.5, period.max() + 1)[period]
    table = pd.DataFrame({"row_id": range(n), "x": rng.normal(size=n), "kind": kind, "y": (rng.random(n) < 1 / (1 + np.exp(-level))).astype("int8")})
    compared = random_and_time(table, roles_of(table, rows_in_time_order=True))
    assert compared.loc["random rows", "auc"] > compared.loc["latest rows", "auc"] + 0.1, "the period helps only a random split"
    steady = random_and_time(table.assign(y=(rng.random(n) < 1 / (1 + np.exp(-table["x"]))).astype("int8")), roles_of(table, rows_in_time_order=True))
    assert abs(steady["auc"].iloc[0] - steady["auc"].iloc[1]) < 0.06


@given(seed=st.integers(0, 10**6), n=st.integers(60, 400), people=st.sampled_from([0, 50]), n_classes=st.integers(3, 30))
def test_every_class_is_learnt_from_and_shares_hold(seed, n, people, n_classes):
    assume(not people or n >= 10 * n_classes)  # fewer may leave a part without a whole person, which is an error of its own
    rng = np.random.default_rng(seed)
    table = table_of(n, seed, people).assign(y=np.sort(rng.integers(0, n_classes, n)).astype("int16"))
    roles = replace(roles_of(table), problem="multiclass", classes=[str(code) for code in range(n_classes)], positive_label="", negative_label="")
    split = split_table(table, roles, "random", test_share=0.25, validation_share=0.2, seed=seed)
    assert accounted(split) == n
    if not people:
        assert set(split.train["y"]) == set(table["y"]), "what is never seen cannot be learnt"
        assert len(split.test) == pytest.approx(0.25 * n, abs=2) and len(split.validation) == pytest.approx(0.15 * n, abs=2)


@given(seed=st.integers(0, 10**6), n=st.integers(100, 500))
def test_a_quantity_is_alike_in_all_parts(seed, n):
    table = table_of(n, seed).assign(y=np.sort(np.random.default_rng(seed).lognormal(size=n)))
    roles = replace(roles_of(table), problem="regression", classes=[], positive_label="", negative_label="")
    split = split_table(table, roles, "random", test_share=0.25, validation_share=0.2, seed=seed)
    order = table["y"].rank(pct=True).to_numpy()
    assert all(abs(order[rows["row_id"]].mean() - 0.5) < 0.07 for rows in split.parts.values())
    assert set(split.report["outcome"]["test"]) == {"mean", "median", "standard_deviation"}


def test_the_mean_area_of_two_classes_is_delongs():
    rng = np.random.default_rng(0)
    outcome, scores = rng.integers(0, 2, 300), rng.random(300).round(1)
    both = np.column_stack([1 - scores, scores])
    assert macro_auc(outcome, both) == pytest.approx(auc_with_interval(outcome, scores), rel=0.01)
    assert np.isnan(macro_auc(np.zeros(5, dtype=int), both[:5])[0])


def test_the_interval_of_r2_holds_the_truth():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(200):
        x, noise = rng.normal(size=(2, 400))
        _, low, high = r2_with_interval(x + noise, x)
        inside += low <= 0.5 <= high
    assert inside >= 180 and np.isnan(r2_with_interval(np.ones(9), np.ones(9))[0])

"""Proposals: names in several languages, types, places; and silence where nothing stands out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.data.propose import age_groups, plain_words, propose_positive, propose_roles

N = 120


def table(**columns):
    """A table with an amount and the columns given."""
    generator = np.random.default_rng(0)
    return pd.DataFrame({"amount_x": generator.normal(size=N), **columns})


def two(one="1", other="0", share=0.3):
    """A column of two values."""
    return np.random.default_rng(1).choice([one, other], N, p=[share, 1 - share])


@pytest.mark.parametrize(
    "name",
    ["target", "Class", "isDefault", "churn", "Kündigung", "KUENDIGUNG", "zahlungsausfall", "défaut", "résilié_fraude", "impago", "frode", "inadimplência", "wanbetaling", "目标", "解約", "fraud_flag", "y"],
)
def test_a_target_is_known_by_its_name(name):
    proposal = propose_roles(table(**{name: two(), "colour": two("a", "b"), "other": two("x", "z")}))
    assert proposal.target.is_clear and proposal.target.best.column == name
    assert proposal.target.best.why


@pytest.mark.parametrize("name", ["customer_id", "Kundennummer", "clientId", "userid", "id_cliente", "numéro client"])
def test_who_returns_is_known_by_its_name(name):
    proposal = propose_roles(table(**{name: np.random.default_rng(2).integers(0, 40, N), "target": two()}))
    if proposal.entity.best is None:
        pytest.fail(f"{name} was not seen")
    assert proposal.entity.best.column == name and name not in proposal.excluded


def test_the_beginning_is_the_clock_and_a_birth_is_none():
    days = pd.date_range("2024-01-01", periods=N).astype(str)
    proposal = propose_roles(table(closed_at=days, opened_at=days, date_of_birth=days, target=two()))
    assert proposal.time.is_clear and proposal.time.best.column == "opened_at"
    alone = propose_roles(table(date_of_birth=days[::-1], target=two()))
    assert alone.time.best is None


def test_a_clock_with_a_gap_is_none():
    days = pd.Series(pd.date_range("2024-01-01", periods=N).astype(str))
    days[3] = None
    assert propose_roles(table(opened_at=days, target=two())).time.best is None


def test_numbers_of_rows_are_no_inputs_and_codes_are():
    proposal = propose_roles(table(n=np.arange(N) + 5, order_id=np.random.default_rng(3).permutation(N) * 7, branch=np.arange(N) % 4, target=two()))
    assert set(proposal.excluded) == {"n", "order_id"}


@pytest.mark.parametrize("name", ["sex", "Geschlecht", "género", "Race", "âge", "性别"])
def test_sensitive_columns_are_known_by_their_names(name):
    assert set(propose_roles(table(**{name: two("a", "b"), "target": two()})).sensitive) == {name}


def test_sensitive_values_are_known_and_colours_of_cars_are_not():
    people = table(status=np.random.default_rng(4).choice(["male single", "female div"], N), paint=np.random.default_rng(5).choice(["white", "black", "red"], N), target=two())
    assert set(propose_roles(people).sensitive) == {"status"}


@pytest.mark.parametrize(
    ("one", "other", "positive"),
    [("yes", "no", "yes"), ("good", "bad", "bad"), ("0", "1", "1"), ("nein", "ja", "ja"), ("False", "True", "True"), ("alive", "ill", "ill"), ("1", "2", "2"), ("paid", "default", "default"), ("1", "-1", "1")],
)
def test_the_positive_outcome(one, other, positive):
    column = pd.Series([one] * 70 + [other] * 30)
    assert propose_positive(column)[0] == positive


def test_a_full_stop_is_no_label_of_its_own():
    assert propose_positive(pd.Series([">50K", ">50K."] * 5 + ["<=50K", "<=50K."] * 20))[0] == ">50K"


def test_nothing_stands_out_and_it_says_so():
    proposal = propose_roles(table(a=two(), b=two(), c=two()))
    assert not proposal.target.is_clear


def test_a_detail_of_the_outcome_is_not_the_outcome():
    proposal = propose_roles(table(FRAUD=np.array(two(), dtype="int64"), FRAUD_KIND=np.random.default_rng(6).integers(0, 4, N)))
    assert proposal.target.is_clear and proposal.target.best.column == "FRAUD"


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=6, unique=True),
    seed=st.integers(0, 1000),
)
def test_any_table_gets_a_proposal(names, seed):
    """Whatever the columns are called and hold: no error, no column in two parts that exclude each other, scores from 0 to 1."""
    generator = np.random.default_rng(seed)
    makers = [
        lambda: generator.normal(size=30), lambda: generator.integers(0, 3, 30), lambda: generator.choice(["a", "b", None], 30), lambda: np.arange(30),
        lambda: [None] * 30, lambda: pd.date_range("2024-01-01", periods=30), lambda: generator.choice([True, False], 30), lambda: ["same"] * 30,
    ]  # fmt: skip
    frame = pd.DataFrame({name: makers[generator.integers(len(makers))]() for name in names})
    proposal = propose_roles(frame)
    for choice in (proposal.target, proposal.time, proposal.entity):
        assert all(0 < item.score <= 1 and item.why and item.column in names for item in choice.candidates)
    assert set(proposal.table()["column"]) <= set(names)


def test_words_are_cut_at_signs_and_capitals():
    assert plain_words("TX_IsFraud2.flag") == ["tx", "is", "fraud", "flag"]
    assert plain_words("Straße-Größe") == ["strasse", "grosse"]


def test_ages_become_groups():
    import duckdb

    line = age_groups('the "age"', "age_group")
    ages = pd.DataFrame({'the "age"': [20, 30, 44, 60]})
    assert duckdb.sql(f"SELECT {line.partition(' = ')[2]} AS g FROM ages").df()["g"].tolist() == ["under 30", "30 to 44", "30 to 44", "60 or over"]
    assert len(ages) == 4

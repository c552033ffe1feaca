"""The encoder reads what was declared, never the rows."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.data.contract import ColumnContract, Contract, infer_contract
from mlsys.privacy.domain import PUBLIC_KNOTS, DomainEncoder, declared_domain, domain_knots, hat_basis

DOMAIN = {"age": {"type": "int", "min": 17, "max": 90}, "gain": {"min": 0, "max": 99_999}, "sex": {"values": ["F", "M"]}}
numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.integers(-10**6, 10**6))
texts = st.one_of(st.none(), st.sampled_from(["F", "M"]), st.text(max_size=5))
rows = st.lists(st.tuples(numbers, numbers, numbers, texts, texts), min_size=1, max_size=20)


def table_of(values):
    table = pd.DataFrame(values, columns=["age", "gain", "free", "sex", "job"])
    return table.astype({"age": float, "gain": float, "free": float, "sex": object, "job": object})


def encoder_for(table):
    return DomainEncoder(["age", "gain", "free"], ["sex", "job"], DOMAIN).fit(table)


@settings(max_examples=60, deadline=None)
@given(values=rows)
def test_every_row_is_finite_and_no_longer_than_one(values):
    table = table_of(values)
    encoded = encoder_for(table).transform(table)
    assert np.isfinite(encoded).all()
    assert (np.linalg.norm(encoded.astype(float), axis=1) <= 1 + 1e-5).all()


@settings(max_examples=30, deadline=None)
@given(first=rows, second=rows)
def test_the_rows_that_it_is_fitted_on_do_not_matter(first, second):
    one, other = encoder_for(table_of(first)), encoder_for(table_of(second))
    assert one.get_feature_names_out().tolist() == other.get_feature_names_out().tolist()
    assert np.array_equal(one.transform(table_of(second)), other.transform(table_of(second)))


@settings(max_examples=40, deadline=None)
@given(value=st.floats(-1e12, 1e12), knots=st.lists(st.integers(-1000, 1000), min_size=2, max_size=9, unique=True))
def test_hats_interpolate_their_knots(value, knots):
    knots = np.sort(np.array(knots, dtype=float))
    basis = hat_basis(np.array([value]), knots)
    assert basis.min() >= 0
    assert basis.sum() == pytest.approx(1, abs=1e-6)
    assert (basis @ knots)[0] == pytest.approx(np.clip(value, knots[0], knots[-1]), abs=1e-3)


def test_missing_and_undeclared_values_have_slots_of_their_own():
    table = table_of([(30, 0, 1, "F", "cook"), (None, np.inf, None, None, None), (30, 0, 1, "X", "cook")])
    encoder = encoder_for(table)
    encoded = pd.DataFrame(encoder.transform(table), columns=encoder.get_feature_names_out())
    for name in ("age", "gain", "free", "sex", "job"):
        assert encoded[f"{name}=(missing)"].gt(0).tolist() == [False, True, False]
    assert encoded["sex=(other)"].gt(0).tolist() == [False, False, True]
    assert encoder.undeclared_ == ["free", "job"]


def test_the_same_category_has_the_same_slot_in_every_column_type():
    text = pd.DataFrame({"code": pd.Series(["1", "2", None], dtype="str")})
    kind = pd.DataFrame({"code": pd.Categorical(["1", "2", None])})
    plain = pd.DataFrame({"code": pd.Series(["1", "2", None], dtype=object)})
    encoded = [DomainEncoder([], ["code"], {}).fit(table).transform(table) for table in (text, kind, plain)]
    assert np.array_equal(encoded[0], encoded[1])
    assert np.array_equal(encoded[0], encoded[2])


@pytest.mark.parametrize("domain, expected", [
    ({}, len(PUBLIC_KNOTS)), ({"min": 0}, 40), ({"min": 5, "max": 5}, len(PUBLIC_KNOTS)), ({"min": 1, "max": 3, "type": "int"}, 3), ({"min": 0, "max": 1}, 16),
])
def test_knots_follow_the_declaration(domain, expected):
    knots = domain_knots(domain, 16)
    assert len(knots) == expected
    assert (np.diff(knots) > 0).all()


def test_what_was_read_off_the_rows_counts_as_undeclared():
    table = pd.DataFrame({"age": [20, 30], "sex": ["F", "M"]})
    assert declared_domain(infer_contract(table)) == {}
    people = Contract({"age": ColumnContract("int", 0, 120), "name": ColumnContract("text"), "day": ColumnContract("time", "2024-01-01", "2025-01-01")})
    assert declared_domain(people) == {"age": {"type": "int", "min": 0, "max": 120}}


def test_bad_input_is_named():
    table = pd.DataFrame({"age": [1.0]})
    with pytest.raises(ConfigError, match="Did you mean age"):
        DomainEncoder(["agee"], [], {}).fit(table)
    with pytest.raises(ConfigError, match="at least one column"):
        DomainEncoder([], [], {}).fit(table)
    with pytest.raises(ConfigError, match="n_knots: received 1"):
        DomainEncoder(["age"], [], {}, n_knots=1).fit(table)
    with pytest.raises(ConfigError, match="pandas DataFrame"):
        DomainEncoder(["age"], [], {}).fit(np.zeros((2, 1)))

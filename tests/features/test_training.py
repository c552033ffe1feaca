"""A training set is what the seven rules say, on any table."""

import math
import warnings

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import empty, reference_features
from worlds import worlds

from mlsys.core import ConfigError, ContractError
from mlsys.features.training import DuckEngine, FeatureWarning, training_set
from mlsys.features.view import Aggregate, Column, FeatureView


def same(found, wanted):
    "Whether two values are the same feature."
    if empty(wanted) or wanted is None:
        return pd.isna(found)
    if isinstance(wanted, (int, float)) and not isinstance(wanted, bool):
        return math.isclose(float(found), float(wanted), rel_tol=1e-9, abs_tol=1e-7)
    return found == wanted


def check(world, engine, zone=None):
    "Compare a training set with the reference, row by row."
    source, spine = world.tables(zone)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FeatureWarning)
        found = training_set(spine, world.view, time="moment", sources={"world": source}, engine=engine, status=True)
    assert len(found) == len(spine)
    assert found[["who", "moment"]].equals(spine)
    for number, asked in enumerate(world.spine):
        values, status = reference_features(world.rows, world.view, (asked["who"],), asked["moment"])
        assert found["world__status"].iloc[number] == status, (number, asked)
        for name, value in values.items():
            assert same(found[name].iloc[number], value), (number, name, found[name].iloc[number], value)


@pytest.fixture(scope="module")
def duck():
    engine = DuckEngine(threads=1)
    yield engine
    engine.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds(), zone=st.sampled_from([None, "UTC", "America/New_York"]))
def test_any_table_gives_what_the_rules_say(duck, world, zone):
    check(world, duck, zone)

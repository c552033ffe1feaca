"""A training set is what the seven rules say, on any table."""

import dataclasses
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
from mlsys.features.view import Aggregate, Column, Expression, FeatureSet, FeatureView


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
        since = found["world__known_at"].iloc[number]
        assert pd.isna(since) == (status != "known") and (pd.isna(since) or since.value // 1000 <= asked["moment"])
        for name, value in values.items():
            assert same(found[name].iloc[number], value), (number, name, found[name].iloc[number], value)


@pytest.fixture(scope="module")
def duck():
    engine = DuckEngine(threads=1)
    yield engine
    engine.close()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds(), zone=st.sampled_from([None, "UTC", "America/New_York"]))
def test_any_table_gives_what_the_rules_say(duck, world, zone):
    check(world, duck, zone)


def visits(**columns):
    "A small source."
    table = {"customer": [1, 1, 2], "at": pd.to_datetime(["2026-03-01", "2026-03-02", "2026-03-02"]), "pages": [3.0, 5.0, 1.0]}
    return pd.DataFrame({**table, **columns})


def asked(**columns):
    "A small spine, with rows that occur twice and an index of its own."
    table = {"customer": [2, 1, 1], "event_time": pd.to_datetime(["2026-03-04", "2026-03-04", "2026-03-04"]), "limit": [10.0, 20.0, 20.0]}
    return pd.DataFrame({**table, **columns}, index=[7, 7, 3])


VIEW = FeatureView("visits", "customer", "at", [Column("pages"), Aggregate("mean", "pages", ("7d",)), Aggregate("count", windows="7d")])


def test_the_spine_comes_back_as_it_was_with_features_behind_it():
    found = training_set(asked(), VIEW, sources={"visits": visits()})
    pd.testing.assert_frame_equal(found[list(asked().columns)], asked())
    assert list(found.columns) == ["customer", "event_time", "limit", "pages", "pages_mean_7d", "count_7d"]
    assert found["pages"].tolist() == [1.0, 5.0, 5.0] and found["count_7d"].tolist() == [1, 2, 2]


def test_expressions_see_features_the_spine_and_one_another(tmp_path):
    visits().to_parquet(tmp_path / "visits.parquet")
    view = FeatureView("visits", "customer", "at", [Aggregate("sum", "many", "7d"), Aggregate("rate", "is_long", "7d")], source="visits.parquet",
                       derive=["many = pages * 10", "is_long = pages > 2"])
    twice = Expression("twice", "share * 2")
    share = Expression("share", "many_sum_7d / \"limit\"")
    found = training_set(asked(), FeatureSet([view], [twice, share]), root=tmp_path, status=True)
    assert found["share"].tolist() == [1.0, 4.0, 4.0] and found["twice"].tolist() == [2.0, 8.0, 8.0] and found["is_long_rate_7d"].tolist() == [0.0, 1.0, 1.0]
    assert list(found.columns[3:]) == ["many_sum_7d", "is_long_rate_7d", "visits__status", "visits__known_at", "twice", "share"]


def test_a_path_and_a_folder_are_read_like_a_table(tmp_path):
    folder = tmp_path / "visits"
    folder.mkdir()
    visits().head(1).to_parquet(folder / "one.parquet")
    visits().tail(2).to_parquet(folder / "two.parquet")
    visits().to_csv(tmp_path / "visits.csv", index=False)
    asked().to_parquet(tmp_path / "spine.parquet", index=False)
    wanted = training_set(asked().reset_index(drop=True), VIEW, sources={"visits": visits()})
    for source in (folder, tmp_path / "visits.csv", str(folder / "*.parquet")):
        pd.testing.assert_frame_equal(training_set(tmp_path / "spine.parquet", VIEW, sources={"visits": source}), wanted)


def test_a_zone_is_named_where_one_is_missing():
    berlin = FeatureView("visits", "customer", "at", [Column("pages")], timezone="Europe/Berlin")
    spine = asked(event_time=pd.to_datetime(["2026-03-01 23:30", "2026-03-01 22:59", "2026-03-01 23:00"], utc=True))
    assert training_set(spine, berlin, sources={"visits": visits()})["pages"].tolist()[0] == 1.0  # half past midnight of March 2 in Berlin
    assert training_set(spine, berlin, sources={"visits": visits()})["pages"].tolist()[1:] == [3.0, 5.0]


@pytest.mark.parametrize("features", [[Column("pages")], [Aggregate("last", "pages")]])
def test_a_text_that_names_its_distance_to_utc_knows_better_than_the_zone(features):
    berlin = FeatureView("visits", "customer", "at", features, timezone="Europe/Berlin")
    source = pd.DataFrame({"customer": 1, "at": ["2024-01-01T00:00:00+05:00", "2024-01-01 00:30:00", "2024-01-01 00:00:00.5Z"], "pages": [1.0, 2.0, 3.0]})
    spine = pd.DataFrame({"customer": 1, "event_time": pd.to_datetime(["2023-12-31 18:59", "2023-12-31 19:00", "2023-12-31 23:30", "2024-01-01 00:01"], utc=True)})
    assert training_set(spine, berlin, sources={"visits": source})[berlin.names[0]].fillna(0).tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_zone_that_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match="view visits, timezone: .*Did you mean Europe/Berlin"):
        FeatureView("visits", "customer", "at", [Column("pages")], timezone="Europe/Berlino")
    with pytest.raises(ConfigError, match="timezone: received .Mars/Base"):
        training_set(asked(), VIEW, sources={"visits": visits()}, timezone="Mars/Base")


FAULTS = {
    "a column that is not there": (dict(view=FeatureView("visits", "customer", "at", [Column("page")])), "view visits, features: received 'page'.*Did you mean pages"),
    "an entity that is not in the spine": (dict(spine=asked().rename(columns={"customer": "person"})), "entity .a column of the spine.: received 'customer'"),
    "a spine without its time": (dict(spine=asked().rename(columns={"event_time": "when"})), "time: received 'event_time'"),
    "a feature that is also a column": (dict(spine=asked(pages=1)), "columns that are not also features"),
    "numbers and texts for one entity": (dict(spine=asked(customer=["2", "1", "1"])), "BIGINT in the source, VARCHAR in the spine"),
    "zones on one side": (dict(spine=asked(event_time=pd.to_datetime(["2026-03-04"] * 3, utc=True))), "without a zone, the spine's time with"),
    "a mean of texts": (dict(source=visits(pages=["a", "b", "c"])), "a column of numbers"),
    "a time that is none": (dict(source=visits(at=[1.5, 2.5, 3.5])), "times .or whole microseconds"),
    "kinds in one column": (dict(source=visits(pages=[1, "b", 2.0])), "columns that each hold one kind"),
    "a table for no view": (dict(sources={"orders": visits()}), "view: received 'orders'"),
    "no table": (dict(sources={}), "view visits, source"),
    "an engine that is not there": (dict(engine="dask"), "engine: received 'dask'"),
    "a row without a time": (dict(source=visits(at=pd.to_datetime(["2026-03-01", None, None]))), "2 rows without a time"),
    "a moment that is missing": (dict(spine=asked(event_time=pd.to_datetime(["2026-03-01", None, None]))), "spine, event_time: received '2 rows without a time'"),
    "a window before what is known": (dict(view=FeatureView("visits", "customer", "at", [Aggregate("count", windows="1d", offset="1d")], known="7 days")), "windows that hold rows which are known"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_right_is_refused(fault):
    given, message = FAULTS[fault]
    settings = {"sources": {"visits": given.get("source", visits())}, **{name: value for name, value in given.items() if name in ("sources", "engine")}}
    with pytest.raises((ConfigError, ContractError), match=message):
        training_set(given.get("spine", asked()), given.get("view", VIEW), **settings)


def test_rows_of_nobody_and_rows_never_known_are_counted():
    source = visits(customer=[1.0, None, 2.0], seen=pd.to_datetime([None, "2026-03-02", "2026-03-02"]))
    view = FeatureView("visits", "customer", "at", [Column("pages")], known="seen")
    with pytest.warns(FeatureWarning) as said:
        found = training_set(asked(), view, sources={"visits": source}, status=True)
    assert [str(item.message) for item in said] == ["view visits: 1 rows without customer belong to nobody and are left out", "view visits: 1 rows without seen were never known and are left out"]
    assert found["visits__status"].tolist() == ["known", "unknown", "unknown"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(world=worlds(row_keys=False), zone=st.sampled_from([None, "America/New_York"]))
def test_newest_rows_looked_up_in_arrays_are_those_of_the_statement(duck, world, zone):
    """`engine="duckdb"` looks plain columns up; an engine that is open always runs the statement."""
    plain = dataclasses.replace(world.view, features=tuple(item for item in world.view.features if isinstance(item, Column)) or (Column("number"),))
    source, spine = world.tables(zone)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FeatureWarning)
        quick, slow = (training_set(spine, plain, time="moment", sources={"world": source}, engine=engine) for engine in ("duckdb", duck))
    pd.testing.assert_frame_equal(quick, slow, check_dtype=False)

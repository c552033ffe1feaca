"""What files hold is read as it is: NaN, nanoseconds, times as text, categories; and what is written is whole."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlsys.core import ConfigError, ContractError
from mlsys.features.training import open_engine, training_set, write_training_set
from mlsys.features.view import Aggregate, Column, FeatureView

VIEW = FeatureView("world", "who", "at", (Column("n"), Aggregate("count", "n"), Aggregate("sum", "n"), Aggregate("count_distinct", "n")))


def spine(*moments, unit="us"):
    return pa.table({"who": [1] * len(moments), "event_time": pa.array(moments, pa.timestamp(unit))})


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
@pytest.mark.parametrize("statistics", [True, False])
def test_nan_in_a_file_is_an_empty_value(tmp_path, kind, statistics):
    """Writers leave NaN out of a file's statistics, from which DuckDB concludes that there is none (duckdb issue 25521)."""
    table = pa.table({"who": [1, 1, 1], "at": pa.array([1, 2, 3], pa.timestamp("us")), "n": pa.array([1.5, -0.0, np.nan], kind)})
    pq.write_table(table, tmp_path / "world.parquet", write_statistics=statistics)
    found = training_set(spine(1, 2, 3), VIEW, sources={"world": tmp_path / "world.parquet"})
    assert found["n_count"].tolist() == [1, 2, 2] and found["n_sum"].tolist() == [1.5, 1.5, 1.5] and found["n_count_distinct"].tolist() == [1, 2, 2]
    assert found["n"].tolist()[:2] == [1.5, 0.0] and np.isnan(found["n"][2])
    pd.testing.assert_frame_equal(found, training_set(spine(1, 2, 3), VIEW, sources={"world": table}))


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_nanoseconds_are_cut_off(tmp_path, zone):
    """A cast would round 1.9 microseconds up to 2, and a row would be there before anybody knew of it or later than it was."""
    table = pa.table({"who": [1, 1], "at": pa.array([1900, 2100], pa.timestamp("ns", zone)), "n": [1.0, 2.0]})
    pq.write_table(table, tmp_path / "world.parquet")
    moments = spine(1, 2).set_column(1, "event_time", spine(1, 2)["event_time"].cast(pa.timestamp("us", zone)))
    for source in (table, tmp_path / "world.parquet"):
        assert training_set(moments, VIEW, sources={"world": source})["n"].tolist() == [1.0, 2.0]


def test_a_text_may_name_its_distance_to_utc():
    source = pd.DataFrame({"who": 1, "at": ["2026-03-01T12:00:00+02:00", "2026-03-01 11:00"], "n": [1.0, 2.0]})
    asked = pd.DataFrame({"who": 1, "event_time": pd.to_datetime(["2026-03-01 09:59", "2026-03-01 10:00", "2026-03-01 11:00"])})
    assert training_set(asked, VIEW, sources={"world": source})["n"].fillna(0).tolist() == [0.0, 1.0, 2.0]


def test_categories_are_compared_by_their_values():
    source = pd.DataFrame({"who": 1, "at": pd.to_datetime(["2026-01-01"] * 2), "level": pd.Categorical(["low", "high"], ["high", "low"])})
    view = FeatureView("world", "who", "at", (Aggregate("max", "level"), Column("level")))
    reverse = source.assign(level=pd.Categorical(source["level"], ["low", "high"]))
    for table in (source, reverse):
        found = training_set(pd.DataFrame({"who": [1], "event_time": pd.to_datetime(["2026-01-02"])}), view, sources={"world": table})
        assert found[["level_max", "level"]].to_numpy().tolist() == [["low", "low"]]


@pytest.mark.parametrize("place", ["set.parquet", "deep/set"])
def test_a_training_set_in_files(tmp_path, place):
    source = pa.table({"who": [1, 1], "at": pa.array([1, 2], pa.timestamp("us")), "n": [1.0, 2.0]})
    to = write_training_set(spine(2, 1), VIEW, place, sources={"world": source}, root=tmp_path)
    assert to == tmp_path / place and pq.read_table(to)["n"].to_pylist() == [2.0, 1.0]
    with pytest.raises(ConfigError, match="a file or a folder that does not exist"):
        write_training_set(spine(2, 1), VIEW, place, sources={"world": source}, root=tmp_path)


def test_a_run_that_fails_leaves_nothing(tmp_path):
    source = pd.DataFrame({"who": 1, "at": ["yesterday"], "n": [1.0]})
    with pytest.raises(ContractError, match="values that can be read as declared"):
        write_training_set(spine(1), VIEW, "set.parquet", sources={"world": source}, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_by_its_settings():
    source = pa.table({"who": [1], "at": pa.array([1], pa.timestamp("us")), "n": [1.0]})
    asked = {"name": "duckdb", "memory_limit": "500MB", "threads": 1, "master": "", "settings": []}
    assert training_set(spine(1), VIEW, sources={"world": source}, engine=asked)["n"].tolist() == [1.0]
    with pytest.raises(ConfigError, match="engine: received 'polars'"):
        open_engine("polars")
    with pytest.raises(ConfigError, match="engine duckdb: received 'settings'"):
        open_engine({**asked, "settings": ["spark.executor.cores=2"]})

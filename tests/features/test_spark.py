"""Spark gives the same answers as DuckDB and as the rules in plain Python, on a real cluster of one master and two workers."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cluster import SETTINGS, Cluster, await_true
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from test_oracle import CUSTOMERS, TERMINALS, in_order
from test_training import check
from worlds import worlds

from mlsys.core import ConfigError, ContractError
from mlsys.features.spark import SparkEngine, check_java, check_master, load_pyspark
from mlsys.features.training import DuckEngine, FeatureWarning, open_engine, training_set, write_training_set
from mlsys.features.view import Aggregate, Column, Expression, FeatureSet, FeatureView

# py4j leaves the sockets between Python and Java to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


ROOT = Path(__file__).resolve().parents[2]


def need_spark():
    """Skip where Spark cannot run; fail there if the servers are required."""
    try:
        check_java()
        load_pyspark()
    except ConfigError as error:
        pytest.fail(str(error)) if os.environ.get("MLSYS_REQUIRE_SERVERS") == "1" else pytest.skip(str(error))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    need_spark()
    with Cluster(tmp_path_factory.mktemp("spark")) as running:
        yield running
    assert running.left() == []


@pytest.fixture(scope="module")
def engine(cluster):
    found = SparkEngine(cluster.url, SETTINGS)
    yield found
    found.close()


@pytest.fixture(scope="module")
def duck():
    found = DuckEngine(threads=1)
    yield found
    found.close()


def drawn(count):
    """Worlds, the same in each run: a world costs a second here, so there are few, and DuckDB's test draws new ones each time."""
    found = []

    @settings(max_examples=count, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(worlds(), st.sampled_from([None, "UTC", "America/New_York"]))
    def collect(world, zone):
        found.append((world, zone))

    collect()
    return found


def same_tables(left, right, tolerance=1e-9):
    """Both tables have the same rows, columns and gaps."""
    assert list(left.columns) == list(right.columns) and len(left) == len(right)
    for name in left.columns:
        if pd.api.types.is_float_dtype(left[name]) or pd.api.types.is_float_dtype(right[name]):
            np.testing.assert_allclose(left[name].to_numpy(float), right[name].to_numpy(float), rtol=0, atol=tolerance, err_msg=name)
        else:
            assert left[name].isna().equals(right[name].isna()) and (left[name].isna() | (left[name] == right[name])).all(), name


def test_the_cluster_has_two_workers(cluster, engine):
    assert cluster.log("master").count("Registering worker") == 2
    await_true(lambda: len(engine.spark.sparkContext._jsc.sc().statusTracker().getExecutorInfos()) == 3, 60, "an executor on each worker, and the driver")
    assert engine.spark.range(0, 1000, 1, 8).toArrow().num_rows == 1000


def test_any_table_gives_what_the_rules_say(engine, duck):
    """The reference decides; DuckDB is compared with it by `test_training` and here once more on the same worlds."""
    found = drawn(24)
    kinds = {("late" if world.view.known_column or world.view.row_key else "line", world.view.closed) for world, _ in found}
    assert kinds == {("late", "right"), ("late", "left"), ("line", "right"), ("line", "left")}
    assert any(world.view.row_key for world, _ in found) and any(world.view.ttl for world, _ in found) and {zone for _, zone in found} == {None, "UTC", "America/New_York"}
    functions = {part["function"] for world, _ in found for part in world.view.parts()}
    assert functions >= {"value", "count", "sum", "mean", "min", "max", "std", "last", "count_distinct", "rate"}
    for world, zone in found:
        check(world, engine, zone)
        check(world, duck, zone)


def both(spine, views, engine, duck, **arguments):
    """The training set of each engine, Spark's first."""
    return [training_set(spine, views, engine=each, **arguments) for each in (engine, duck)]


def test_the_fraud_handbook_on_a_cluster(engine, duck, real_data, tmp_path):
    """The oracle's views, over 20 customers and 20 terminals, from a file that both workers read."""
    raw = pd.read_parquet(real_data / "fraud_handbook" / "transactions_raw_2018-06-18_2018-08-14.parquet")
    customers, terminals = (raw[name].drop_duplicates().sample(20, random_state=0) for name in ("CUSTOMER_ID", "TERMINAL_ID"))
    raw = raw[raw["CUSTOMER_ID"].isin(customers) | raw["TERMINAL_ID"].isin(terminals)]
    raw = in_order(raw, raw["TRANSACTION_ID"].min())
    raw.to_parquet(tmp_path / "raw.parquet", row_group_size=500, index=False)
    views = [CUSTOMERS, TERMINALS]
    compiled = SparkEngine(settings={"spark.sql.codegen.wholeStage": "true", "spark.sql.codegen.factoryMode": "FALLBACK"})  # the same Spark
    spark, other = both("raw.parquet", views, compiled, duck, time="moment", root=tmp_path, sources={"customers": "raw.parquet", "terminals": "raw.parquet"}, status=True)
    same_tables(spark, other)
    print(f"{len(spark):,} rows, {len(FeatureSet(views).names)} features")
    assert len(spark) == len(raw) > 2000 and spark["TRANSACTION_ID"].tolist() == raw["TRANSACTION_ID"].tolist() and spark["terminal_risk_30d"].max() > 0


LOCAL = FeatureView("world", "who", "at", (Aggregate("count", windows=("1h", "1d")), Column("n"), Aggregate("mean", "n", "1d")), timezone="Europe/Berlin")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_local_times_mean_the_same_when_clocks_change(engine, duck, zone):
    """Each quarter of an hour around both changes of the year, also the one that does not exist and the one that comes twice."""
    days = {"Europe/Berlin": ("2026-03-29", "2026-10-25"), "America/New_York": ("2026-03-08", "2026-11-01"), "Australia/Lord_Howe": ("2026-04-05", "2026-10-04")}[zone]
    times = pd.DatetimeIndex(np.concatenate([pd.date_range(day, periods=28, freq="15min") for day in days]))
    source = pd.DataFrame({"who": 1, "at": times.as_unit("us"), "n": range(len(times))})
    spine = pd.DataFrame({"who": 1, "event_time": times.tz_localize("UTC").as_unit("us")})
    found, other = both(spine, replace(LOCAL, timezone=zone), engine, duck, sources={"world": source}, status=True)
    same_tables(found, other)
    plain = spine.assign(event_time=spine["event_time"].dt.tz_localize(None))
    found, other = both(plain, replace(LOCAL, timezone=zone), engine, duck, sources={"world": source}, timezone=zone, status=True)
    same_tables(found, other)
    assert found["n"].notna().all()


def test_a_text_may_name_its_own_distance_to_utc(engine, duck):
    source = pd.DataFrame({"who": 1, "at": ["2024-01-01T00:00:00+05:00", "2024-01-01 00:30:00", "2024-01-01 00:00:00.5Z"], "n": [1, 2, 3]})
    spine = pd.DataFrame({"who": 1, "event_time": pd.date_range("2023-12-31 18:45", "2024-01-01 01:00", freq="15min", tz="UTC").as_unit("us")})
    found, other = both(spine, LOCAL, engine, duck, sources={"world": source}, status=True)
    same_tables(found, other)
    assert found["n"].dropna().unique().tolist() == [1, 2, 3]


def odd_table():
    """Every kind of column that Parquet has and Spark may lack."""
    nanos = 1_767_225_600_123_456_789
    return pa.table({
        "who": pa.array([1, 1, 2], pa.uint32()), "At": pa.array([nanos, nanos + 10**9, nanos], pa.timestamp("ns")), "n": pa.array([3, 2, 1]), "Größe (€)": pa.array([1.5, np.nan, -0.0], pa.float32()),
        "big": pa.array([2**63, 1, None], pa.uint64()), "price": pa.array([None, "1.25", "-0.50"]).cast(pa.decimal128(9, 2)), "day": pa.array([1, None, 3], pa.date32()),
        "clock": pa.array([1, 2, 3], pa.time64("us")), "colour": pa.array(["red", None, "blue"]).dictionary_encode(), "small": pa.array([200, 0, 255], pa.uint8()),
        "seen": pa.array([nanos] * 3, pa.timestamp("ns", tz="Europe/Berlin")), "flag": pa.array([True, False, None]), "a`b\"c": pa.array([1, 2, 3])})


ODD = FeatureView("odd", "who", "At", (
    *(Column(name) for name in ("Größe (€)", "price", "day", "colour", "small", "flag", "a`b\"c", "n")), Aggregate("sum", "Größe (€)"), Aggregate("max", "price"), Aggregate("min", "day"),
    Aggregate("last", "colour"), Aggregate("sum", "small"), Aggregate("rate", "flag"), Aggregate("count_distinct", "Größe (€)"), Aggregate("std", "price"), Aggregate("sum", "big")))


@pytest.mark.parametrize("place", ["memory", "file"])
def test_types_that_spark_lacks(engine, duck, place, tmp_path):
    table = odd_table()
    pq.write_table(table, tmp_path / "odd [1] {ü}.parquet")
    spine = pa.table({"who": pa.array([1, 2, 3]), "event_time": pa.array([1_767_225_600_123_457 + shift for shift in (0, 0, 10**6)], pa.timestamp("us"))})
    found, other = both(spine, ODD, engine, duck, sources={"odd": table if place == "memory" else tmp_path / "odd [1] {ü}.parquet"}, status=True)
    same_tables(found, other)
    assert found["odd__status"].tolist() == ["known", "known", "unknown"] and found["a`b\"c"][0] == 1
    assert found["Größe (€)"][0] == 1.5 and other["Größe (€)_sum"].tolist()[:2] == [1.5, 0.0]
    early = spine.set_column(1, "event_time", pa.array([1_767_225_600_123_456] * 3, pa.timestamp("us")))  # nanoseconds are cut off, not rounded up
    assert training_set(early, ODD, engine=engine, sources={"odd": table})["n"].tolist()[:2] == training_set(early, ODD, engine=duck, sources={"odd": table})["n"].tolist()[:2] == [3, 1]
    aware = spine.set_column(1, "event_time", spine["event_time"].cast(pa.timestamp("us", tz="UTC")))
    found, other = both(aware, replace(ODD, event_time="seen"), engine, duck, sources={"odd": table if place == "memory" else tmp_path / "odd [1] {ü}.parquet"})
    same_tables(found, other)


def test_expressions_and_derived_columns(engine, duck):
    """Nothing by which DuckDB is content may stop Spark: a division by zero, a text that is no number, a value that is missing."""
    view = FeatureView(
        "world", "who", "at", (Aggregate("sum", "cost", ("1d", "30d")), Aggregate("rate", "dear", "30d"), Column("word"), Aggregate("count", windows="1d")),
        derive=("cost = price * pieces", "dear = price > 2"), known="1 hour")
    source = pd.DataFrame({"who": [1, 1, 2, 3], "at": pd.to_datetime(["2026-03-01", "2026-03-02", "2026-03-02", "2026-03-03"]), "price": [1.5, 2.5, None, 0.0], "pieces": [2, 0, 3, 1],
                           "word": ["7", "it's \\ odd", None, ""]})
    spine = pd.DataFrame({"who": [1, 2, 3, 4], "event_time": pd.to_datetime(["2026-03-02 12:00"] * 3 + ["2026-03-04 00:00"]), "asked": [1.0, 0.0, 2.0, np.nan]})
    features = FeatureSet([view], [Expression("ratio", "cost_sum_1d / cost_sum_30d"), Expression("share", "asked / count_1d", default=-1.0), Expression("more", "ratio + share"),
                                   Expression("named", "word = 'it''s \\ odd'")])
    found, other = both(spine, features, engine, duck, sources={"world": source}, status=True)
    same_tables(found, other)
    assert found["share"].tolist()[2] == -1.0 and bool(found["named"][0]) and found["cost_sum_30d"][0] == 3.0


def test_whole_numbers_stay_whole_and_narrow_floats_narrow(engine, duck):
    spine = pa.table({"who": pa.array([1, 2, 9]), "event_time": pa.array([1_767_225_601_000_000] * 3, pa.timestamp("us"))})
    view = FeatureView("odd", "who", "At", (Column("n"), Column("Größe (€)"), Aggregate("count"), Aggregate("max", "price"), Aggregate("count_distinct", "colour")))
    kinds = []
    for each in (engine, duck):
        each.add("spine", spine, ".", numbered=True)
        from mlsys.features.training import _prepare

        kinds.append(each.run(_prepare(each, spine, FeatureSet([view]), {"odd": odd_table()}, ".", "event_time", "", False)).schema)
    assert kinds[0].types == kinds[1].types and kinds[0].field("n").type == pa.int64() and kinds[0].field("Größe (€)").type == pa.float32()


def test_rows_keep_their_place_over_files_and_row_groups(engine, duck, tmp_path):
    """The last file by name is the largest, so Spark would take it first; names need escaping in addresses."""
    random, folder = np.random.default_rng(0), tmp_path / "spine of ü %20"
    folder.mkdir()
    start = 0
    for name, rows in (("a.parquet", 700), ("b c.parquet", 40), ("b%20d.parquet", 3), ("zü.parquet", 5000)):
        pq.write_table(pa.table({"place": range(start, start + rows), "who": random.integers(0, 50, rows), "event_time": pa.array(random.integers(0, 10**13, rows), pa.timestamp("us"))}),
                       folder / name, row_group_size=100)
        start += rows
    source = pd.DataFrame({"who": random.integers(0, 45, 3000), "at": pd.to_datetime(random.integers(0, 10**13, 3000), unit="us").as_unit("us"), "n": random.normal(size=3000)})
    found, other = both(folder, FeatureView("world", "who", "at", (Column("n"), Aggregate("mean", "n", "10d"))), engine, duck, sources={"world": source}, status=True)
    assert found["place"].tolist() == list(range(start))
    same_tables(found, other)


def test_a_spine_in_memory_keeps_its_order_and_index(engine, duck):
    spine = pd.DataFrame({"who": [3, 1, None, 2], "event_time": pd.to_datetime(["2026-01-04", "2026-01-02", "2026-01-03", "2026-01-01"])}, index=["d", "b", "c", "a"])
    source = pd.DataFrame({"who": pd.Categorical(["a", "b", "a"], ["b", "a"]), "at": pd.to_datetime(["2026-01-01"] * 3), "level": pd.Categorical(["low", "high", "mid"], ["low", "mid", "high"])})
    text = spine.assign(who=["b", "a", None, "c"])
    found, other = both(text, FeatureView("world", "who", "at", (Aggregate("max", "level"), Column("level"))), engine, duck, sources={"world": source}, status=True)
    same_tables(found, other)
    assert found.index.tolist() == ["d", "b", "c", "a"] and found["level_max"].tolist()[:2] == ["high", "mid"]
    empty = source.iloc[:0]
    found, other = both(text, FeatureView("world", "who", "at", (Aggregate("max", "level"), Aggregate("count"))), engine, duck, sources={"world": empty}, status=True)
    same_tables(found, other)
    assert set(found["world__status"]) == {"unknown", "null_entity"}


def test_times_as_text_and_a_text_that_is_none(engine, duck):
    view = FeatureView("world", "who", "at", (Aggregate("count", windows="1h"), Column("n")))
    source = pd.DataFrame({"who": 1, "at": ["2026-03-01", "2026-03-01 10:00", "2026-03-01T12:00:00.5", "2026-03-01T12:00:00+02:00", "2026-03-01T13:00:00Z"], "n": range(5)})
    spine = pd.DataFrame({"who": 1, "event_time": pd.to_datetime(["2026-03-01 00:30", "2026-03-01 10:15", "2026-03-01 12:30", "2026-03-01 13:30"])})
    found, other = both(spine, view, engine, duck, sources={"world": source})
    same_tables(found, other)
    assert found["count_1h"].tolist() == [1, 2, 1, 1]
    for each in (engine, duck):
        with pytest.raises(ContractError, match="values that can be read as declared"):
            training_set(spine, view, engine=each, sources={"world": source.assign(at="the day before")})


def test_what_is_left_out_is_said_and_what_is_wrong_is_refused(engine):
    view = FeatureView("world", "who", "at", (Column("n"),))
    spine = pd.DataFrame({"who": [1, 2], "event_time": pd.to_datetime(["2026-01-04", "2026-01-02"])})
    source = pd.DataFrame({"who": [1, None], "at": pd.to_datetime(["2026-01-01", "2026-01-01"]), "n": [1, 2]})
    with pytest.warns(FeatureWarning, match="1 rows without who"):
        assert training_set(spine, view, sources={"world": source}, engine=engine)["n"].tolist()[0] == 1
    with pytest.raises(ContractError, match="1 rows without a time"):
        training_set(spine, view, sources={"world": source.assign(at=source["at"].where([True, False]))}, engine=engine)
    with pytest.raises(ConfigError, match="who: received 'VARCHAR in the source, BIGINT in the spine'"):
        training_set(spine, view, sources={"world": source.assign(who=["1", "2"])}, engine=engine)
    with pytest.raises(ConfigError, match="without a zone, the spine's time with"):
        training_set(spine.assign(event_time=spine["event_time"].dt.tz_localize("UTC")), view, sources={"world": source.iloc[:1]}, engine=engine)


@pytest.mark.parametrize("place", ["set.parquet", "set"])
def test_a_training_set_is_written_without_passing_through_here(engine, duck, tmp_path, place):
    random = np.random.default_rng(1)
    pq.write_table(pa.table({"place": range(2000), "who": random.integers(0, 9, 2000), "event_time": pa.array(random.integers(0, 10**12, 2000), pa.timestamp("us"))}), tmp_path / "spine.parquet", row_group_size=300)
    source = pd.DataFrame({"who": range(9), "at": pd.to_datetime(range(9), unit="h").as_unit("us"), "n": range(9)})
    view = FeatureView("world", "who", "at", (Column("n"), Aggregate("count")))
    tables = []
    for name, each in (("spark", engine), ("duckdb", duck)):
        (tmp_path / name).mkdir()
        to = write_training_set(tmp_path / "spine.parquet", view, tmp_path / name / place, engine=each, sources={"world": source})
        tables.append(pq.read_table(to))
        assert [path.name for path in (tmp_path / name).iterdir()] == [place] and to.is_dir() == (place == "set")
        with pytest.raises(ConfigError, match="does not exist"):
            write_training_set(tmp_path / "spine.parquet", view, to, engine=each, sources={"world": source})
    assert tables[0]["place"].to_pylist() == list(range(2000))
    assert tables[0].schema.types == tables[1].schema.types
    same_tables(tables[0].to_pandas(), tables[1].to_pandas())


def test_an_address_is_read_and_written_by_the_workers(engine, duck, tmp_path):
    """`file://` stands for the stores that a cluster reads by an address."""
    odd = odd_table()
    spine = pa.table({"who": pa.array([2, 1, 3], pa.int64()), "event_time": pa.array([1_767_225_700_000_000] * 3, pa.timestamp("us"))})
    for folder, tables in (("spine", (spine, spine.slice(0, 2))), ("world", (odd.select(["who", "n", "flag"]).append_column("at", odd["At"].cast(pa.timestamp("us"), safe=False)),)), ("nanos", (odd,))):
        (tmp_path / folder).mkdir()
        for number, table in enumerate(tables):
            pq.write_table(table, tmp_path / folder / f"{number}.parquet")
    view = FeatureView("world", "who", "at", (Column("n"), Aggregate("rate", "flag")))
    found = training_set(f"file://{tmp_path}/spine/", view, sources={"world": f"file://{tmp_path}/world/"}, engine=engine)
    same_tables(found, training_set(tmp_path / "spine", view, sources={"world": tmp_path / "world"}, engine=duck))
    assert found["who"].tolist() == [2, 1, 3, 2, 1]
    to = write_training_set(f"file://{tmp_path}/spine/", view, f"file://{tmp_path}/set", sources={"world": tmp_path / "world"}, engine=engine)
    assert to == f"file://{tmp_path}/set" and pq.read_table(tmp_path / "set")["who"].to_pylist() == [2, 1, 3, 2, 1]
    with pytest.raises(ContractError, match="TIMESTAMP\\(NANOS"):  # never read as if they were microseconds
        training_set(f"file://{tmp_path}/spine/", view, sources={"world": f"file://{tmp_path}/nanos/"}, engine=engine)
    with pytest.raises(ConfigError, match="a path on this machine"):
        write_training_set(tmp_path / "spine", view, f"file://{tmp_path}/other", sources={"world": tmp_path / "world"}, engine=duck)


def test_files_of_a_folder_have_to_agree(engine, tmp_path):
    folder = tmp_path / "world"
    folder.mkdir()
    pq.write_table(pa.table({"who": [1], "at": pa.array([1], pa.timestamp("ns"))}), folder / "a.parquet")
    pq.write_table(pa.table({"who": [1], "at": pa.array([1], pa.timestamp("us"))}), folder / "b.parquet")
    spine = pd.DataFrame({"who": [1], "event_time": pd.to_datetime(["2026-01-04"])})
    view = FeatureView("world", "who", "at", (Aggregate("count"),))
    with pytest.raises(ContractError, match="b.parquet.*times in the same unit"):
        training_set(spine, view, sources={"world": folder}, engine=engine)
    (folder / "b.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(ContractError, match="a whole Parquet file"):
        training_set(spine, view, sources={"world": folder}, engine=engine)


def test_one_process_runs_one_spark(cluster, engine):
    with pytest.raises(ConfigError, match="one process runs one Spark"):
        SparkEngine("local[2]")
    second = open_engine({"name": "spark", "master": cluster.url, "settings": ["spark.sql.shuffle.partitions=1"], "threads": 0, "memory_limit": ""})
    assert second.spark.conf.get("spark.sql.shuffle.partitions") == "1" and engine.spark.conf.get("spark.sql.shuffle.partitions") == "2"
    assert second.run("SELECT 1 AS one").to_pylist() == [{"one": 1}]
    third = SparkEngine(session=engine.spark)
    third.add("only_here", pd.DataFrame({"a": [1]}), ".")
    assert third.spark.catalog.tableExists("only_here") and not engine.spark.catalog.tableExists("only_here")
    second.close()
    third.close()
    assert engine.run("SELECT 2 AS two").to_pylist() == [{"two": 2}]  # still open
    with pytest.raises(ConfigError, match="spark.executor.memory.*while Spark runs"):
        SparkEngine(settings={"spark.executor.memory": "3g"})


def test_a_worker_that_dies_does_not_end_the_job(cluster, engine, tmp_path):
    """One worker, and its executor, are killed while both work; the other finishes."""
    rows = 20_000
    random = np.random.default_rng(2)
    spine = pd.DataFrame({"who": random.integers(0, 40, rows), "event_time": pd.to_datetime(random.integers(0, 10**12, rows), unit="us").as_unit("us")})
    source = pd.DataFrame({"who": random.integers(0, 40, rows), "at": pd.to_datetime(random.integers(0, 10**12, rows), unit="us").as_unit("us"), "n": random.normal(size=rows)})
    spine.to_parquet(tmp_path / "spine.parquet", row_group_size=1000)
    source.to_parquet(tmp_path / "world.parquet", row_group_size=1000)
    view = FeatureView("world", "who", "at", (Aggregate("mean", "n", ("1h", "1d")), Column("n")))
    answer = {}

    def work():
        answer["spark"] = training_set(tmp_path / "spine.parquet", view, sources={"world": tmp_path / "world.parquet"}, engine=engine)

    tracker = engine.spark.sparkContext._jsc.sc().statusTracker()
    job = threading.Thread(target=work)
    job.start()
    await_true(lambda: sum(executor.numRunningTasks() for executor in tracker.getExecutorInfos()) > 0, 60, "tasks that run")
    cluster.kill(cluster.processes["worker0"])
    assert job.is_alive()  # it was in the middle of it
    job.join(240)
    assert not job.is_alive() and cluster.processes["worker0"].poll() == -signal.SIGKILL
    same_tables(answer["spark"], training_set(tmp_path / "spine.parquet", view, sources={"world": tmp_path / "world.parquet"}))


@pytest.mark.parametrize("master", ["spark://127.0.0.1:PORT", "spark://127.0.0.1:PORT,127.0.0.1:PORT"])
def test_no_master_is_said_at_once(master):
    """In a process of its own, as a person would meet it."""
    need_spark()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound, but nobody listens
        asked = {"name": "spark", "master": master.replace("PORT", str(probe.getsockname()[1]))}
        done = subprocess.run([sys.executable, "-c", f"from mlsys.features.training import open_engine\nopen_engine({asked!r})"], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 1 and "ConfigError: master: received" in done.stderr and "a master that answers" in done.stderr and "Connection refused" in done.stderr


@pytest.mark.parametrize("master", ["spark://127.0.0.1", "spark://:7077", "spark://host:70777", "sparky", "local[two]"])
def test_what_is_no_master(master):
    with pytest.raises(ConfigError, match="master: received"):
        check_master(master)


def test_no_java_no_pyspark_an_old_java(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no Java.*release 17 or newer.*openjdk-17"):
        check_java()
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(ConfigError, match="Java 11"):
        check_java()
    monkeypatch.setitem(__import__("sys").modules, "pyspark", None)
    monkeypatch.delitem(__import__("sys").modules, "pyspark.sql", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'mlsys\[spark\]'"):
        load_pyspark()


def test_settings_of_an_engine():
    with pytest.raises(ConfigError, match="engine: received 'sparc'.*Did you mean spark"):
        open_engine("sparc")
    with pytest.raises(ConfigError, match="engine duckdb: received 'master'"):
        open_engine({"name": "duckdb", "master": "local[2]"})
    with pytest.raises(ConfigError, match="memory_limit: received 'lots'"):
        open_engine({"name": "spark", "memory_limit": "lots"})
    with pytest.raises(ConfigError, match="spark.executor.cores=2"):
        open_engine({"name": "spark", "settings": ["cores: 2"]})
    duck = open_engine({"name": "duckdb", "memory_limit": "1GB", "threads": 1, "master": "", "settings": []})
    assert duck.run("SELECT 1 AS one").to_pylist() == [{"one": 1}]
    duck.close()
    assert shutil.which("true")  # the path is back

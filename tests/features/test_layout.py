"""The layout against the seven rules in plain Python, and what happens to files that are damaged or replaced."""

import json
import math
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from reference import order, reference_features
from worlds import worlds

from mlsys.core import ConfigError, ContractError
from mlsys.features.asof import entity_codes, order_asof, search_asof
from mlsys.features.layout import open_layout, read_asof, read_view, write_layout
from mlsys.features.training import FeatureWarning, training_set
from mlsys.features.unsorted import deal, read_unsorted, sort_part
from mlsys.features.view import Aggregate, Column, FeatureView

DAY = 86_400_000_000
VALUES = st.one_of(st.none(), st.just(math.nan), st.sampled_from([-0.0, 0.0, 1.5, -2.0, 3.25]))
WORDS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "é", "z"]))
TIMES = st.integers(0, 12)


@st.composite
def tables(draw):
    """Draw rows with few times and few entities, so that ties, late rows and corrections are common."""
    rows = [
        {"shop": draw(st.sampled_from(["n", "s", None])), "customer": draw(st.sampled_from([1, 2, 7, None])), "at": draw(TIMES) * DAY,
         "known_at": draw(st.one_of(st.none(), TIMES.map(lambda day: day * DAY))), "fact": draw(st.integers(0, 4)), "x": draw(VALUES), "word": draw(WORDS)}
        for _ in range(draw(st.integers(0, 14)))
    ]
    moments = [(draw(st.sampled_from(["n", "s", None])), draw(st.sampled_from([1, 2, 7, 9, None])), draw(st.integers(-1, 14)) * DAY) for _ in range(draw(st.integers(0, 14)))]
    return rows, moments


@st.composite
def declarations(draw):
    """Draw views of every kind."""
    return FeatureView(
        "v", draw(st.sampled_from([("customer",), ("shop", "customer"), ("shop",)])), "at", [Column("x"), Column("word")],
        known=draw(st.sampled_from(["", "2 days", "known_at"])), ttl=draw(st.sampled_from(["", "1d", "3d"])), closed=draw(st.sampled_from(["right", "left"])),
        row_key=draw(st.sampled_from([(), ("fact",)])),
    )


def as_table(rows):
    """Make an Arrow table with times of rows."""
    kinds = {"shop": pa.string(), "customer": pa.int64(), "at": pa.timestamp("us"), "known_at": pa.timestamp("us"), "fact": pa.int64(), "x": pa.float64(), "word": pa.string()}
    return pa.table({name: pa.array([row[name] for row in rows], pa.int64() if pa.types.is_timestamp(kind) else kind).cast(kind) for name, kind in kinds.items()})


def same(ours, theirs):
    """Compare two values, NaN being empty."""
    theirs = None if isinstance(theirs, float) and math.isnan(theirs) else theirs
    return ours == theirs


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore::mlsys.features.training.FeatureWarning")
@given(table=tables(), view=declarations(), part_rows=st.integers(1, 5), threads=st.integers(1, 2))
def test_equals_the_rules_in_plain_python(tmp_path, table, view, part_rows, threads):
    """Every value and every status, whatever the parts are cut into."""
    rows, moments = table
    owners = {}
    for row in rows if view.row_key else []:  # which of two owners of one version has it, no rule says
        version = (*(row[name] for name in view.row_key), row["at"], row["known_at"] if view.known_column else 0, *(order(row[name]) for name in view.columns))
        owners.setdefault(version, set()).add(tuple(row[name] for name in view.entity))
    assume(all(len(found) == 1 for found in owners.values()))
    layout = write_layout(view, as_table(rows), tmp_path / "layout", part_rows=part_rows, threads=1)
    spine = pa.table({"shop": pa.array([shop for shop, _, _ in moments], pa.string()), "customer": pa.array([customer for _, customer, _ in moments], pa.int64()),
                      "event_time": pa.array([moment for _, _, moment in moments], pa.int64()).cast(pa.timestamp("us"))})
    found = read_asof(layout, spine, threads=threads).to_pylist()
    assert len(found) == len(moments)
    for got, (shop, customer, moment) in zip(found, moments, strict=True):
        entity = tuple({"shop": shop, "customer": customer}[name] for name in view.entity)
        expected, status = reference_features(rows, view, entity, moment)
        assert got["status"] == status and same(got["x"], expected["x"]) and same(got["word"], expected["word"]), (got, expected)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore::mlsys.features.training.FeatureWarning")
@given(world=worlds(), default=st.sampled_from([None, 0, 0.5]), part_rows=st.integers(1, 5), zone=st.sampled_from([None, "UTC", "America/New_York"]))
def test_a_view_from_its_layout_is_its_training_set(tmp_path, monkeypatch, world, default, part_rows, zone):
    """With times that nearly meet, names, defaults and zones."""
    view = replace(world.view, features=(Column("number", name="n", default=default), Column("word"), Column("whole", default=default), Column("flag")), prefix="p_")
    source, spine = world.tables(zone)
    write_layout(view, source, tmp_path / "layout", part_rows=part_rows, threads=1)
    found = read_view(view, tmp_path / "layout", spine, time="moment", status=True)
    wanted = training_set(spine, view, time="moment", sources={"world": source}, status=True)
    assert found.column_names == [*view.names, "world__status"] and len(found) == len(spine)
    for name in found.column_names:
        own, theirs = found[name].to_pylist(), [None if pd.isna(value) else value for value in wanted[name]]
        assert own == theirs, name
    if not (view.known_column or view.row_key):
        monkeypatch.setattr("mlsys.features.unsorted.PART_ROWS", part_rows)
        assert read_unsorted(view, source, spine, time="moment", status=True).to_pylist() == found.to_pylist()


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(-20, 20)), max_size=30), wanted=st.lists(st.tuples(st.integers(0, 6), st.integers(-25, 25)), max_size=30),
    scale=st.sampled_from([1, 2**40, 2**57]), far=st.sampled_from([1, 70_000, 2**33]), size=st.integers(1, 40),
)
def test_the_search_equals_a_scan(rows, wanted, scale, far, size):
    """Whatever the distance of the times and of the codes, and wherever the parts are cut."""
    rows = sorted((code * far, moment * scale) for code, moment in rows)
    code, moment = (np.array([row[place] for row in rows], np.int64) for place in (0, 1))
    asked, when = np.array([code * far for code, _ in wanted], np.int64), np.array([moment * scale for _, moment in wanted], np.int64)
    starts = range(0, len(rows), size)
    order, bounds = order_asof(asked, when, [rows[start] for start in starts])
    asked, when = asked[order], when[order]
    found = np.full(len(wanted), -1)
    for number, start in enumerate(starts):
        mine = slice(bounds[number], bounds[number + 1])
        place = search_asof(code[start : start + size], moment[start : start + size], asked[mine], when[mine])
        found[mine] = np.where(place < 0, -1, place + start)
    for place, entity, at in zip(found, asked, when, strict=True):
        fitting = [number for number, row in enumerate(rows) if row[0] == entity and row[1] <= at]
        assert place == (max(fitting) if fitting else -1)


@pytest.mark.parametrize(
    ("known", "wanted", "codes"),
    [
        (pa.array([3, 10**15, -5]), pa.array([10**15, 4, None, -5]), [1, -1, -1, 2]),
        (pa.array([3, 4], pa.int8()), pa.array([3.0, 4.5, math.nan, 300.0]), [0, -1, -1, -1]),
        (pa.array([2**64 - 1, 4], pa.uint64()), pa.array([4, -1, 5], pa.int64()), [1, -1, -1]),
        (pa.array(["a", "b"]), pa.array(["b", None, "c"]).dictionary_encode(), [1, -1, -1]),
        (pa.array([1.5, 2.0]), pa.array([2, 3], pa.int32()), [1, -1]),
        (pa.array([], pa.int64()), pa.array([2, 3]), [-1, -1]),
        (pa.array([True, False]), pa.array([False, None]), [1, -1]),
        (pa.array([1, 2]), pa.nulls(2), [-1, -1]),
    ],
    ids=["far apart", "floats", "unsigned", "categories", "numbers", "empty", "flags", "nothing"],
)
def test_codes_of_entities_of_any_type(known, wanted, codes):
    """An entity is found by its value, not by the width of its type."""
    assert entity_codes(pa.table({"id": known}), pa.table({"id": wanted}))[0].tolist() == codes


def test_many_columns_make_one_code():
    """Also where the product of their numbers of values would not fit into 64 bits."""
    rng = np.random.default_rng(0)
    columns = {f"c{number}": rng.permutation(5_000) for number in range(8)}
    known = pa.table(columns)
    order = rng.permutation(5_000)
    codes, missing = entity_codes(known, known.take(pa.array(order)))
    assert codes.tolist() == order.tolist() and not missing.any()
    wrong = known.slice(0, 10).set_column(7, "c7", pa.array(columns["c7"][1:11]))
    assert entity_codes(known, wrong)[0].tolist() == [-1] * 10


VIEW = FeatureView("v", "customer", "at", [Column("x"), Column("word")], ttl="30d")


def plain(n=1_000, seed=0):
    """Draw rows of a plain view."""
    rng = np.random.default_rng(seed)
    at = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 60 * 24, n), "h")
    return pd.DataFrame({"customer": rng.integers(0, 20, n), "at": at, "x": rng.normal(size=n), "word": rng.choice(["a", "b"], n)})


@pytest.fixture
def folder(tmp_path):
    """Write a layout of a thousand rows in ten parts."""
    write_layout(VIEW, plain(), tmp_path / "layout", part_rows=100)
    return tmp_path / "layout"


SPINE = pd.DataFrame({"customer": [1, 2, 99], "event_time": pd.to_datetime(["2026-02-01", "2026-02-02", "2026-02-03"])})


def test_the_order_of_rows_in_the_source_decides_nothing(tmp_path, folder):
    """The same bytes, whatever the order."""
    shuffled = plain().sample(frac=1, random_state=1)
    write_layout(VIEW, shuffled, tmp_path / "other", part_rows=100)
    assert {path.name: path.read_bytes() for path in (tmp_path / "other").iterdir()} == {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["rows.parquet", "entities.parquet"])
@pytest.mark.parametrize("harm", ["cut", "emptied", "gone", "end", "middle"])
def test_damage_is_noticed(folder, name, harm):
    """A file that is cut, gone or changed is an error that says which, before anything is read."""
    path = folder / name
    content = bytearray(path.read_bytes())
    if harm == "gone":
        path.unlink()
    else:
        place = len(content) // 2 if harm == "middle" else len(content) - 20
        content[place] ^= 255
        path.write_bytes(b"" if harm == "emptied" else content[: len(content) // 2] if harm == "cut" else bytes(content))
    with pytest.raises(ContractError, match=name.replace(".", r"\.")):
        open_layout(folder, full=harm == "middle")


def test_a_damaged_description_is_an_error(folder):
    """What is no layout is said to be none."""
    (folder / "layout.json").write_text("{")
    with pytest.raises((ConfigError, ContractError), match=r"layout\.json"):
        open_layout(folder)
    (folder / "layout.json").unlink()
    with pytest.raises(ConfigError, match="write_layout"):
        open_layout(folder)


def test_only_the_view_it_was_written_for(folder):
    """Time to live and names may differ; what decides the rows may not."""
    other = FeatureView("v", "customer", "at", [Column("word", name="w"), Column("x")], ttl="3d", closed="left")
    with pytest.raises(ConfigError, match="features"):
        open_layout(folder, FeatureView("v", "customer", "at", [Aggregate("count", windows="1d")]))
    with pytest.raises(ConfigError, match="known"):
        open_layout(folder, FeatureView("v", "customer", "at", [Column("x"), Column("word")], known="1 day"))
    with pytest.raises(ConfigError, match="features"):
        open_layout(folder, other)  # the order of columns decides ties
    assert open_layout(folder, FeatureView("w", "customer", "at", [Column("x", name="y"), Column("word")], ttl="1d", closed="left")).rows == 1_000


def test_a_reader_keeps_what_it_opened(folder):
    """A layout that is replaced while it is read stays what it was."""
    layout = open_layout(folder)
    before = read_asof(layout, SPINE)
    write_layout(VIEW, plain(seed=1), folder, part_rows=70)
    assert read_asof(layout, SPINE).equals(before)
    assert not read_asof(folder, SPINE).equals(before)


def test_readers_beside_a_writer(folder):
    """Whoever opens it gets the old or the new one, whole."""
    new = plain(seed=1)
    answers = [read_asof(folder, SPINE)]
    write_layout(VIEW, new, folder, part_rows=70)
    answers.append(read_asof(folder, SPINE))
    stop, failures, seen = threading.Event(), [], []

    def read():
        while not stop.is_set():
            try:
                seen.append(read_asof(folder, SPINE, threads=1))
            except Exception as error:
                failures.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(6):
            write_layout(VIEW, plain() if turn % 2 else new, folder, part_rows=100 if turn % 2 else 70, threads=1)
    finally:
        stop.set()
        reader.join(timeout=60)
    assert not failures and seen and all(any(found.equals(answer) for answer in answers) for found in seen)


def test_a_writer_that_fails_leaves_the_old_one(folder):
    """No half of a layout is ever seen."""
    before = read_asof(folder, SPINE)
    broken = plain()
    broken.loc[5, "at"] = pd.NaT
    with pytest.raises(ContractError, match="without a time"):
        write_layout(VIEW, broken, folder)
    assert read_asof(folder, SPINE).equals(before) and [path.name for path in folder.parent.iterdir()] == ["layout"]


def test_rows_without_entity_are_counted(tmp_path):
    """They are left out, and it is said."""
    rows = plain(10).astype({"customer": "Int64"})
    rows.loc[3, "customer"] = None
    with pytest.warns(FeatureWarning, match="1 rows without customer"):
        assert write_layout(VIEW, rows, tmp_path / "layout").rows == 9


def test_zones(tmp_path):
    """Times with and without a zone do not mix, unless the view says the zone."""
    rows = plain(50)
    layout = write_layout(VIEW, rows, tmp_path / "naive")
    aware = SPINE.assign(event_time=SPINE["event_time"].dt.tz_localize("UTC"))
    with pytest.raises(ConfigError, match="zone"):
        read_asof(layout, aware)
    berlin = FeatureView("v", "customer", "at", [Column("x")], timezone="Europe/Berlin")
    local = write_layout(berlin, pd.DataFrame({"customer": [1], "at": pd.to_datetime(["2026-07-01 12:00"]), "x": [5.0]}), tmp_path / "local")
    moments = pd.to_datetime(["2026-07-01 11:59", "2026-07-01 12:00"])
    assert read_asof(local, pd.DataFrame({"customer": [1, 1], "event_time": moments}))["x"].to_pylist() == [None, 5.0]
    assert read_asof(local, pd.DataFrame({"customer": [1, 1], "event_time": (moments - pd.Timedelta("2h")).tz_localize("UTC")}))["x"].to_pylist() == [None, 5.0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_units_of_time(tmp_path, unit):
    """The unit in which a table keeps its times decides nothing."""
    rows = plain(200)
    layout = write_layout(VIEW, rows.assign(at=rows["at"].astype(f"datetime64[{unit}]")), tmp_path / "layout")
    spine = SPINE.assign(event_time=SPINE["event_time"].astype(f"datetime64[{unit}]"))
    assert read_asof(layout, spine).equals(read_asof(write_layout(VIEW, rows, tmp_path / "other"), SPINE))


def test_types_are_kept(tmp_path):
    """Whole numbers beyond 2^53, flags, texts, dates and decimals come back as they went in."""
    big = 2**60 + 1
    columns = {"n": pa.array([big, None, 3]), "flag": pa.array([True, None, False]), "day": pa.array([1, None, 3], pa.date32()), "small": pa.array([1, 2, None], pa.int8()),
               "price": pa.array([1, None, 3], pa.decimal128(20, 2)), "text": pa.array(["a", None, "c"]), "when": pa.array([1, None, 3], pa.timestamp("us"))}
    rows = pa.table({"customer": [1, 2, 3], "at": pa.array([0, 0, 0], pa.timestamp("us")), **columns})
    layout = write_layout(FeatureView("v", "customer", "at", [Column(name) for name in columns]), rows, tmp_path / "layout")
    found = read_asof(layout, pa.table({"customer": [3, 2, 1, 4], "event_time": pa.array([9, 9, 9, 9], pa.timestamp("us"))}))
    for name, column in columns.items():
        assert found[name].to_pylist() == [*column.to_pylist()[::-1], None] and found[name].type == column.type


def test_what_a_spine_must_have(folder):
    """Errors name the column, the rows and the types."""
    with pytest.raises(ConfigError, match="customer"):
        read_asof(folder, SPINE.drop(columns="customer"))
    with pytest.raises(ContractError, match="1 rows without a time"):
        read_asof(folder, SPINE.assign(event_time=[pd.NaT, *SPINE["event_time"][1:]]))
    with pytest.raises(ConfigError, match="a text equals no number"):
        read_asof(folder, SPINE.assign(customer=["1", "2", "99"]))
    with pytest.raises(ConfigError, match="columns"):
        read_asof(folder, SPINE, columns=["y"])
    with pytest.raises(ConfigError, match="closed"):
        read_asof(folder, SPINE, closed="both")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-2, 2), VALUES, WORDS), min_size=1, max_size=25), st.sampled_from([1, 2**60]))
def test_a_part_is_sorted_by_entity_time_and_values(found, scale):
    """Rows of one time by their values, an empty one first; also where no single number holds entity and time."""
    cleaned = [(code, at * scale, None if x is None or math.isnan(x) else x + 0.0, word) for code, at, x, word in found]
    rows = pa.table({"x": pa.array([row[2] for row in cleaned], pa.float64()), "word": pa.array([row[3] for row in cleaned], pa.string())})
    code, at = np.array([row[0] for row in cleaned], np.int64), np.array([row[1] for row in cleaned], np.int64)
    place, _, _ = sort_part(rows, np.arange(len(found)), code, at, ["x", "word"])
    in_order = sorted(cleaned, key=lambda row: (row[0], row[1], row[2] is not None, row[2] or 0, row[3] is not None, row[3] or ""))
    assert [cleaned[number] for number in place] == in_order


@pytest.mark.parametrize("entities", [1, 2, 3, 64, 65, 1_000])
def test_dealing_keeps_entities_together(entities):
    """Every row is in the part of its entity, whatever the number of parts."""
    code = np.random.default_rng(0).integers(0, entities, 5_000)
    for shift in range(0, 11):
        parts = ((entities - 1) >> shift) + 1
        order, bounds = deal(code, shift, parts)
        assert sorted(order.tolist()) == list(range(len(code))) and bounds[-1] == len(code)
        assert all((code[order[bounds[part] : bounds[part + 1]]] >> shift == part).all() for part in range(parts))


def test_what_is_refused_of_an_unsorted_source():
    """Late rows and corrections, and entities of another type."""
    with pytest.raises(ConfigError, match="write_layout"):
        read_unsorted(FeatureView("v", "customer", "at", [Column("x")], row_key="word"), plain(), SPINE)
    with pytest.raises(ConfigError, match="int64 in the features, (large_)?string in the spine"):
        read_unsorted(VIEW, plain(), SPINE.assign(customer=["1", "2", "99"]))


@pytest.mark.parametrize("entity", [("customer",), ("customer", "word")])
def test_many_rows_unsorted_and_sorted(tmp_path, monkeypatch, entity):
    """The two readers agree on a table of many parts."""
    monkeypatch.setattr("mlsys.features.unsorted.PART_ROWS", 300)
    rng = np.random.default_rng(5)
    view = replace(VIEW, entity=entity, features=(Column("x"),), closed="left", ttl="2d")
    spine = pd.DataFrame({"customer": rng.integers(0, 25, 3_000), "word": rng.choice(["a", "b", "c"], 3_000), "event_time": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(-50, 1_500, 3_000), "h")})
    write_layout(view, plain(20_000), tmp_path / "layout", part_rows=999)
    sorted_, unsorted = read_view(view, tmp_path / "layout", spine, status=True), read_unsorted(view, plain(20_000), spine, status=True)
    assert sorted_.equals(unsorted) and 100 < unsorted["x"].null_count < 2_900


def test_windows_are_not_answered(folder):
    """A layout knows the newest row, not the rows of a window."""
    with pytest.raises(ConfigError, match="x_mean_1d"):
        read_view(FeatureView("v", "customer", "at", [Column("x"), Column("word"), Aggregate("mean", "x", "1d")]), folder, SPINE)


def test_a_spine_from_a_file(folder, tmp_path):
    """A path is read as the table would be."""
    pq.write_table(pa.Table.from_pandas(SPINE), tmp_path / "spine.parquet")
    assert read_asof(folder, tmp_path / "spine.parquet").equals(read_asof(folder, SPINE))


def test_the_description_holds_no_clock(folder):
    """A layout can be compared byte by byte, so nothing in it may depend on when or where it was written."""
    facts = json.loads((folder / "layout.json").read_text())
    assert set(facts) == {"format", "view", "zoned", "delay", "files", "firsts"} and str(Path(folder).parent) not in json.dumps(facts)

"""What is served is what training would have seen: for any rows, any stores, any moments."""

import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import reference_features, same
from worlds import DAY, START, worlds

from mlsys.core import ConfigError
from mlsys.features.entry import view_entry
from mlsys.features.materialize import SourceRows, _fresh_items, _items, entity_rows, materialize
from mlsys.features.online import OnlineReader, get_online
from mlsys.features.state import StatePlan
from mlsys.features.store import StoreError, StoreUnreachable, open_store
from mlsys.features.training import DuckEngine, FeatureWarning
from mlsys.features.view import Aggregate, Column, Expression, FeatureSet, FeatureView


@pytest.fixture(scope="module")
def duck():
    """One engine for many tables."""
    engine = DuckEngine(threads=1)
    yield engine
    engine.close()


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(request, tmp_path_factory):
    """A store of each kind."""
    if request.param == "sqlite":
        opened = open_store("sqlite", path=tmp_path_factory.mktemp("online") / "online.db")
    else:
        opened = open_store("redis", url=request.getfixturevalue("redis_server").url, namespace="parity")
    with opened:
        yield opened


def compare(store, world, rows, moment, reader=None):
    """Read all entities at a moment, and compare with the reference."""
    entities = [1, 2, 3, 4, None]
    found = (reader or OnlineReader(store, world.view)).read(entities, moment)
    for number, entity in enumerate(entities):
        values, status = reference_features(rows, world.view, (entity,), moment)
        assert found.status["world"][number] == status
        for name, wanted in values.items():
            assert same(found[number][name], wanted), (name, entity, moment, found[number][name], wanted)


def has_tied_owners(world):
    """Whether two entities claim one version of a fact: no rule says whose it is."""
    owners = {}
    for row in world.rows:
        version = tuple(repr(value) for name, value in row.items() if name != "who")
        if row["who"] is not None and owners.setdefault(version, row["who"]) != row["who"]:
            return True
    return False


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(), cut=st.integers(0, 16), moments=st.lists(st.integers(0, 60), min_size=4, max_size=4).map(sorted), rebuild=st.booleans())
def test_online_is_what_the_rules_say(store, duck, world, cut, moments, rebuild):
    if world.view.row_key and has_tied_owners(world):
        return
    first, asked, second, last = (START + moment * DAY // 5 for moment in moments)
    source, _ = world.tables()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FeatureWarning)
        materialize(world.view, store, first, {"world": source.iloc[:cut]}, engine=duck, rebuild=True)
        compare(store, world, world.rows[:cut], first)
        compare(store, world, world.rows[:cut], asked)
        materialize(world.view, store, second, {"world": source}, engine=duck, rebuild=rebuild)
        assert materialize(world.view, store, second, {"world": source}, engine=duck)["written"].tolist() == ["nothing"]
        compare(store, world, world.rows, second)
        compare(store, world, world.rows, last)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(), as_of=st.integers(0, 60), later=st.integers(0, 60))
def test_new_rows_alone_give_the_same_as_all_rows(store, duck, world, as_of, later):
    """Rows that count by the first moment are in the source already, all others come later: the usual case."""
    if world.view.row_key and has_tied_owners(world):
        return
    as_of, later = sorted((START + as_of * DAY // 5, START + later * DAY // 5))
    known = [row[world.view.known_column] if world.view.known_column else row["at"] + world.view.delay for row in world.rows]
    early = [moment is None or max(moment, row["at"]) <= as_of for moment, row in zip(known, world.rows, strict=True)]
    source, _ = world.tables()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FeatureWarning)
        materialize(world.view, store, as_of, {"world": source[np.array(early, bool)]}, engine=duck, rebuild=True)
        how = materialize(world.view, store, later, {"world": source}, engine=duck)["written"].item()
        assert how != "full" or world.view.row_key
        compare(store, world, world.rows, later)
        compare(store, world, world.rows, later + 3 * DAY)


VISITS = FeatureView(
    "visits", "shop", "at",
    [Column("weather"), Column("open_since"), Aggregate("mean", "paid", "7d"), Aggregate("count", windows="1d", default=0)], ttl="30d",
)  # fmt: skip
SOURCES = {
    "visits": pd.DataFrame(
        {
            "shop": [7, 7, 8],
            "at": pd.to_datetime(["2024-05-01 12:00", "2024-05-02 12:00", "2024-05-02 09:00"]),
            "weather": ["sun", "rain", None],
            "open_since": pd.to_datetime(["2020-01-01", "2020-01-01", None]),
            "paid": [10, 20, 5],
        }
    )
}
NOON = "2024-05-02T12:00:00+00:00"


@pytest.fixture
def served(tmp_path):
    """A small store."""
    with open_store("sqlite", path=tmp_path / "online.db") as opened:
        materialize(VISITS, opened, NOON, SOURCES)
        yield opened


def test_values_come_in_the_order_asked_for_and_in_their_types(served):
    found = get_online(served, VISITS, [8, 7, 9, 7, None], ["count_1d", "open_since", "weather"], NOON)
    since = datetime(2020, 1, 1, tzinfo=UTC)
    assert found.values == [(1, None, None), (1, since, "rain"), (0, None, None), (1, since, "rain"), (0, None, None)]
    assert found.status == {"visits": ["known", "known", "unknown", "known", "null_entity"]}
    assert found.frame()["visits__status"].tolist() == found.status["visits"] and len(found) == 5


@pytest.mark.parametrize("entities", [7, [7], [7.0], np.array([7]), [np.int32(7)], {"shop": 7}, [{"shop": 7, "more": 1}], pd.DataFrame({"shop": [7]}), (7,)])
def test_an_entity_may_be_written_in_many_ways(served, entities):
    assert get_online(served, VISITS, entities, "weather", NOON).values == [("rain",)]


def test_what_is_asked_wrongly_is_named(served):
    with pytest.raises(ConfigError, match="features: received 'wether'.*Did you mean weather"):
        get_online(served, VISITS, [7], ["wether"])
    with pytest.raises(ConfigError, match="entities, column: received 'shop'.*Did you mean shops"):
        get_online(served, VISITS, [{"shops": 7}])
    with pytest.raises(ConfigError, match="now: received .*a moment from 2024-05-02 12:00"):
        get_online(served, VISITS, [7], now="2024-05-01")
    with pytest.raises(ConfigError, match="Call materialize"):
        get_online(served, FeatureView("other", "shop", "at", [Column("weather")]), [7])
    with pytest.raises(ConfigError, match="feature .*7d.* is gone; feature .*8d.* is new.*rebuild=True"):
        get_online(served, FeatureView("visits", "shop", "at", [*VISITS.features[:2], Aggregate("mean", "paid", "8d"), VISITS.features[3]], ttl="30d"), [7])


def test_the_present_is_never_before_what_was_materialised(tmp_path):
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        materialize(VISITS, store, "2999-01-01", SOURCES)
        assert get_online(store, VISITS, [7]).status["visits"] == ["expired"]


def test_a_vector_is_made_anew_when_its_time_is_over_and_kept_for_the_next(tmp_path):
    source = {"visits": SOURCES["visits"].assign(at=pd.Timestamp.now().floor("s") - pd.to_timedelta([2, 3, 4], "h"))}
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        materialize(VISITS, store, pd.Timestamp.now() - pd.Timedelta("25h"), {"visits": source["visits"].assign(at=lambda table: table["at"] - pd.Timedelta("23h30min"))})
        before = store.vectors("visits", ["7"])
        first = get_online(store, VISITS, [7], ["count_1d", "weather"]).values
        after = store.vectors("visits", ["7"])
        assert before != after and get_online(store, VISITS, [7], ["count_1d", "weather"]).values == first == [(0, "sun")]
        assert store.vectors("visits", ["7"]) == after


def test_a_damaged_vector_and_a_damaged_state_are_noticed(served):
    (vector,), (state,) = served.vectors("visits", ["7"]), served.states("visits", ["7"])
    served.write({"visits": [("7", vector[:30] + b"?" + vector[31:], state)]})
    with pytest.raises(StoreError, match="checksum does not match.*rebuild=True"):
        get_online(served, VISITS, [7], now=NOON)
    served.write({"visits": [("7", vector, state[:-1])]})
    assert get_online(served, VISITS, [7], "weather", now=NOON).values == [("rain",)]
    with pytest.raises(StoreError, match="checksum does not match"):
        get_online(served, VISITS, [7], now="2024-05-08")


def test_a_reader_that_was_opened_before_a_rebuild_says_so(served):
    reader = OnlineReader(served, VISITS)
    materialize(VISITS, served, NOON, {"visits": SOURCES["visits"].assign(paid=[1.5, 2.5, 3.5])}, rebuild=True)
    with pytest.raises(ConfigError, match="Open a new OnlineReader"):
        reader.read([7], NOON)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"paid": [1.5, 2.0, 3.0]}, "column paid was int and is float"),
        ({"weather": [1, 2, 3]}, "column weather was text and is int"),
        ({"open_since": ["a", "b", "c"]}, "column open_since was time and is text"),
        ({"weather": [["a"], ["b"], ["c"]]}, "column weather: received 'VARCHAR"),
    ],
)
def test_a_changed_type_is_refused_by_name_and_nothing_is_written(served, change, said):
    before = served.vectors("visits", ["7", "8"]), view_entry(served, VISITS)
    with pytest.raises(ConfigError, match=said):
        materialize(VISITS, served, "2024-05-03", {"visits": SOURCES["visits"].assign(**change)})
    assert (served.vectors("visits", ["7", "8"]), view_entry(served, VISITS)) == before


def test_types_that_lose_nothing_are_taken(served):
    gaps = pd.concat([SOURCES["visits"], pd.DataFrame({"shop": [7], "at": [pd.Timestamp("2024-05-02 18:00")], "paid": [None]})]).astype({"paid": float})
    materialize(VISITS, served, "2024-05-03", {"visits": gaps})
    assert view_entry(served, VISITS)["kinds"]["paid"] == "int"
    assert get_online(served, VISITS, [7], ["paid_mean_7d", "weather"], "2024-05-03").values == [(15.0, None)]


def test_several_columns_texts_and_mixed_numbers_name_an_entity(tmp_path):
    view = FeatureView("pairs", ("user", "item"), "at", [Column("score")])
    table = pd.DataFrame({"user": ["a", "a", "ü|1"], "item": [1, 2, 1], "at": pd.Timestamp("2024-01-01"), "score": [0.1, 0.2, 0.3]})
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        materialize(view, store, "2024-01-02", {"pairs": table})
        assert get_online(store, view, [("a", 2), ("ü|1", 1.0), ("a", "1"), ("a", None)], now="2024-01-02").values == [(0.2,), (0.3,), (None,), (None,)]
        assert get_online(store, view, ("a", 1), now="2024-01-02").values == [(0.1,)]
        assert get_online(store, view, {"item": 1, "user": "a"}, now="2024-01-02").values == [(0.1,)]
        with pytest.raises(ConfigError, match="a tuple of 2 values"):
            get_online(store, view, ["a"], now="2024-01-02")


def test_several_views_and_expressions_are_read_together(tmp_path):
    limits = FeatureView("limits", "customer", "since", [Column("credit_limit", default=100.0)])
    features = FeatureSet([VISITS, limits], [Expression("share", "amount / credit_limit"), Expression("is_high", "share > 0.5 AND count_1d >= 0", default=False)])
    sources = SOURCES | {"limits": pd.DataFrame({"customer": ["x"], "since": pd.to_datetime(["2024-01-01"]), "credit_limit": [400.0]})}
    rows = [{"shop": 7, "customer": "x", "amount": 300}, {"shop": 7, "customer": "y", "amount": 10}, {"shop": None, "customer": "x", "amount": None}]
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        materialize(features, store, NOON, sources)
        found = get_online(store, features, rows, ["is_high", "share", "weather"], NOON)
        assert found.values == [(True, 0.75, "rain"), (False, 0.1, "rain"), (False, None, None)]
        assert found.status == {"visits": ["known", "known", "null_entity"], "limits": ["known", "unknown", "known"]}
        with pytest.raises(ConfigError, match="amount"):
            get_online(store, features, [{"shop": 7, "customer": "x"}], ["share"], NOON)
        with pytest.raises(ConfigError, match="mappings .*with shop, customer"):
            get_online(store, features, [7], ["weather", "credit_limit"], NOON)


def test_what_was_derived_for_training_is_derived_for_serving(tmp_path):
    view = FeatureView("loans", "who", "at", [Aggregate("rate", "was_late", "30d"), Aggregate("sum", "late", "30d")], derive=["late = days_late", "was_late = days_late > 0"])
    table = pd.DataFrame({"who": [1, 1, 1], "at": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]), "days_late": [0, 3, 5]})
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        materialize(view, store, "2024-01-04", {"loans": table})
        assert get_online(store, view, [1], now="2024-01-04").values == [(pytest.approx(2 / 3), 8.0)]


def test_rows_that_count_later_are_held_and_reported(tmp_path):
    view = FeatureView("frauds", "card", "at", [Aggregate("count", windows="unbounded")], known="7 days")
    table = pd.DataFrame({"card": [1, 1, 1], "at": pd.to_datetime(["2024-01-01", "2024-01-05", "2024-03-01"])})
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        with pytest.warns(FeatureWarning, match="view frauds: 2 rows count only after 2024-01-10 00:00 and are held"):
            report = materialize(view, store, "2024-01-10", {"frauds": table})
        assert report["held"].tolist() == [2]
        assert [get_online(store, view, [1], now=day).values[0][0] for day in ("2024-01-10", "2024-01-12", "2024-03-07", "2024-03-08")] == [1, 2, 2, 3]


def test_a_store_that_goes_away_is_an_error_or_a_stated_default(redis_server):
    with open_store("redis", url=redis_server.url, namespace="gone", attempts=2) as store:
        materialize(VISITS, store, NOON, SOURCES)
        strict, lenient = OnlineReader(store, VISITS), OnlineReader(store, VISITS, fallback=True)
        assert strict.read([7], NOON).values == lenient.read([7], NOON).values
        redis_server.stop()
        try:
            with pytest.raises(StoreUnreachable, match="2 attempts failed"):
                strict.read([7], NOON)
            with pytest.warns(FeatureWarning, match="the defaults of 4 features are served for 2 entities, for online store"):
                found = lenient.read([7, 8], NOON)
            assert found.values == [(None, None, None, 0)] * 2 and found.status == {"visits": ["fallback", "fallback"]}
            late = open_store("redis", url=redis_server.url, namespace="gone", attempts=1, lazy=True)
            with pytest.raises(StoreUnreachable):
                OnlineReader(late, VISITS)
            waiting = OnlineReader(late, VISITS, fallback=True)
            with pytest.warns(FeatureWarning, match="are served"):
                assert waiting.read([7], NOON).status == {"visits": ["fallback"]}
        finally:
            redis_server.start()
        assert waiting.read([7], NOON).values == strict.read([7], NOON).values == lenient.read([7], NOON).values
        late.close()


def test_many_threads_may_share_a_reader(served):
    reader, wanted, failed = OnlineReader(served, VISITS), get_online(served, VISITS, [7, 8, 9], now=NOON).values, []

    def ask():
        try:
            failed.extend(1 for _ in range(200) if reader.read([7, 8, 9], NOON).values != wanted)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []


def test_many_states_at_a_time_are_the_same_bytes_as_one_by_one(duck):
    chance, count = np.random.default_rng(0), 3000
    gone = chance.random((count, 5)) < 0.2
    table = pd.DataFrame(
        {
            "who": chance.integers(0, 900, count),
            "part": chance.choice(["a", "b|", "ü"], count),
            "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(chance.integers(0, 40, count), "D"),
            "number": np.where(gone[:, 0], np.nan, chance.normal(size=count)),
            "whole": pd.array(np.where(gone[:, 1], None, chance.integers(-5, 5, count)), dtype="Int64"),
            "word": np.where(gone[:, 2], None, chance.choice(["", "x", "größer"], count)),
            "flag": pd.array(np.where(gone[:, 3], None, chance.random(count) < 0.5), dtype="boolean"),
            "when": pd.Series(pd.Timestamp("2020-01-01") + pd.to_timedelta(chance.integers(0, 99, count), "h")).where(~gone[:, 4]),
        }
    )
    columns = [Column(name, default=value) for name, value in {"number": None, "whole": 7, "word": "none", "flag": None, "when": None}.items()]
    as_of = int(pd.Timestamp("2024-02-05", tz="UTC").value // 1000)
    for rules in ({}, {"ttl": "10d"}, {"known": "2 days", "closed": "left"}):
        for rows_of in (table, table.drop_duplicates(["who", "part"])):
            view = FeatureView("newest", ("who", "part"), "at", [*columns, Column("word", name="again")], **rules)
            rows = SourceRows(duck, view, rows_of, Path("."))
            plan, quick, slow = StatePlan(view, rows.kinds), {"rows": 0, "held": 0, "late": 0}, {"rows": 0, "held": 0}
            found = sorted(_fresh_items(None, rows, plan, as_of, None, quick))
            assert found == sorted(_items(None, plan, entity_rows(rows, plan), as_of, None, None, slow))
            assert len(found) > 1000 and quick == slow

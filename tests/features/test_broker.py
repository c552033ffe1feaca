"""A Redis stream delivers at least once; the reader counts exactly once, whoever is killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from mlsys.core import ConfigError, ContractError
from mlsys.features.broker import RedisStream, id_of
from mlsys.features.event import Feed
from mlsys.features.online import get_online
from mlsys.features.store import StoreUnreachable, open_store
from mlsys.features.stream import dead_letters, read_stream, stream_entry
from mlsys.features.training import training_set
from mlsys.features.value import to_micros
from mlsys.features.view import Aggregate, FeatureView

redis = pytest.importorskip("redis")
VISITS = FeatureView("visits", "who", "at", (Aggregate("sum", "amount", ("1d", "unbounded")), Aggregate("count", name="n")))
FEED = Feed(VISITS, kinds={"who": "int", "amount": "float"})
START = to_micros("2024-01-01")


@pytest.fixture
def broker(redis_server):
    """A client of an empty server."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
        yield client


@pytest.fixture(params=["sqlite", "redis"])
def store(request, tmp_path, redis_server, broker):
    """An empty store of each kind."""
    options = {"path": tmp_path / "online.db"} if request.param == "sqlite" else {"url": redis_server.url}
    with open_store(request.param, **options) as opened:
        yield opened


def events(count):
    """Visits of some people, out of order."""
    return [{"who": n % 13, "at": START + (n * 7919 % 5000) * 60_000_000, "amount": n / 8} for n in range(count)]


def send(client, rows, key="visits"):
    """Put events into a stream, as fields."""
    with client.pipeline(transaction=False) as pipe:
        for row in rows:
            pipe.xadd(key, {name: str(value) for name, value in row.items()})
        return pipe.execute()


def check(store, rows):
    """Compare what is served with what training would have seen."""
    source = pd.DataFrame(rows)
    for moment in (max(row["at"] for row in rows) + hours * 3_600_000_000 for hours in (0, 5, 30)):
        spine = pd.DataFrame({"who": range(14), "time": moment})
        offline = training_set(spine, VISITS, time="time", sources={"visits": source})
        online = get_online(store, VISITS, list(range(14)), now=moment).frame()
        for name in VISITS.names:
            assert online[name].astype(float).to_numpy() == pytest.approx(offline[name].to_numpy(float), rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("group", ["", "features"])
def test_events_come_as_fields_or_as_json_and_count_once(store, broker, redis_server, group):
    rows = events(700)
    send(broker, rows[:500])
    source = RedisStream(redis_server.url, "visits", group=group)
    report = read_stream(source, store, FEED, batch_size=64, idle_seconds=0)
    assert (report.ended, report.events, report.batches) == ("idle", 500, 8)
    for row in rows[500:]:
        broker.xadd("visits", {"who": row["who"], "at": row["at"], "amount": row["amount"]})
    assert read_stream(RedisStream(redis_server.url, "visits", group=group), store, FEED, idle_seconds=0).events == 200
    check(store, rows)
    if group:
        assert broker.xpending("visits", group)["pending"] == 0
    for row in rows:
        broker.xadd("json", {"data": json.dumps(row)})
    source = RedisStream(redis_server.url, "json", payload="data")
    assert read_stream(source, store, FEED, idle_seconds=0).counts.rows == {"visits": 700}
    assert get_online(store, VISITS, 1, now="2024-06-01")[0]["n"] == 2 * sum(row["who"] == 1 for row in rows)


def test_what_is_delivered_again_is_passed_over_and_a_true_repeat_counts(store, broker, redis_server):
    send(broker, [events(1)[0]] * 3)
    first = RedisStream(redis_server.url, "visits", group="g")
    done, first.done = first.done, lambda: None  # killed before it confirmed
    assert read_stream(first, store, FEED, idle_seconds=0).events == 3
    assert broker.xpending("visits", "g")["pending"] == 3
    again = RedisStream(redis_server.url, "visits", group="g")
    report = read_stream(again, store, FEED, idle_seconds=0)
    assert (report.events, report.repeated) == (0, 3) and broker.xpending("visits", "g")["pending"] == 0
    assert get_online(store, VISITS, 0, now="2024-06-01")[0]["n"] == 3
    assert done is not None


def test_what_was_delivered_but_not_applied_comes_again(store, broker, redis_server):
    send(broker, events(20))
    lost = RedisStream(redis_server.url, "visits", group="g")
    lost.start(None)
    assert len(lost.read(15)) == 15  # and then it is killed
    report = read_stream(RedisStream(redis_server.url, "visits", group="g"), store, FEED, batch_size=4, idle_seconds=0)
    assert (report.events, report.repeated) == (20, 0)
    check(store, events(20))


def test_bad_events_of_a_broker_are_put_aside(store, broker, redis_server):
    good = {"who": "1", "at": "2024-01-01T00:00:00", "amount": "1.5"}
    for bad in (good, {**good, "amount": "much"}, {**good, "who": ""}, {**good, "who": "one"}, {"who": "1", "amount": "1"}, {**good, "at": ""}, {"x": b"\xff"}, good):
        broker.xadd("visits", bad)
    report = read_stream(RedisStream(redis_server.url, "visits"), store, FEED, idle_seconds=0)
    assert report.counts.rejected == {"wrong_type": 2, "null_entity": 1, "missing_column": 2, "no_event_time": 1}
    assert get_online(store, VISITS, 1, now="2024-01-01")[0]["n"] == 2 and len(list(dead_letters(store, report.stream))) == 6


def test_a_view_of_texts_needs_to_know_what_its_entity_is(store, broker, redis_server):
    send(broker, events(1))
    with pytest.raises(ConfigError, match="a kind for who, since the stream has texts only"):
        read_stream(RedisStream(redis_server.url, "visits"), store, Feed(VISITS, kinds={"amount": "float"}), idle_seconds=0)


def test_events_that_were_trimmed_before_they_were_read_are_no_secret(store, broker, redis_server):
    ids = send(broker, events(30))
    read_stream(RedisStream(redis_server.url, "visits"), store, FEED, max_events=10, idle_seconds=0)
    broker.xtrim("visits", minid=ids[5].decode(), approximate=False)  # what was read may go
    read_stream(RedisStream(redis_server.url, "visits"), store, FEED, max_events=1, idle_seconds=0)
    broker.xtrim("visits", minid=ids[20].decode(), approximate=False)
    with pytest.raises(ContractError, match="some were deleted before they were read"):
        read_stream(RedisStream(redis_server.url, "visits"), store, FEED, idle_seconds=0)
    assert read_stream(RedisStream(redis_server.url, "visits", allow_gap=True), store, FEED, idle_seconds=0).events == 10


def test_a_group_that_trimmed_events_is_no_secret_either(store, broker, redis_server):
    ids = send(broker, events(30))
    read_stream(RedisStream(redis_server.url, "visits", group="g"), store, FEED, max_events=10, batch_size=10, idle_seconds=0)
    broker.xtrim("visits", minid=ids[20].decode(), approximate=False)
    with pytest.raises(ContractError, match="some were deleted before they were read"):
        read_stream(RedisStream(redis_server.url, "visits", group="g"), store, FEED, idle_seconds=0)


def test_a_group_that_served_another_store_is_refused(store, broker, redis_server, tmp_path):
    send(broker, events(5))
    read_stream(RedisStream(redis_server.url, "visits", group="g"), store, FEED, idle_seconds=0)
    with open_store("sqlite", path=tmp_path / "other.db") as other, pytest.raises(ContractError, match="confirmed events for another store"):
        read_stream(RedisStream(redis_server.url, "visits", group="g"), other, FEED, idle_seconds=0)


def test_a_key_that_is_no_stream_is_said(store, broker, redis_server):
    broker.set("visits", "text")
    with pytest.raises(ConfigError, match="Is the key of another kind"):
        read_stream(RedisStream(redis_server.url, "visits"), store, FEED, idle_seconds=0)


def test_a_broker_that_does_not_answer_is_asked_again_and_then_it_is_an_error(redis_server, broker, tmp_path):
    send(broker, events(10))
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        source = RedisStream(redis_server.url, "visits", attempts=3)
        read_stream(source, store, FEED, max_events=5, idle_seconds=0)
        redis_server.stop()
        try:
            with pytest.raises(StoreUnreachable, match=r"3 attempts failed.*what was read so far is kept"):
                read_stream(source, store, FEED, idle_seconds=0)
        finally:
            redis_server.start()
        assert read_stream(RedisStream(redis_server.url, "visits", attempts=8), store, FEED, idle_seconds=0).events == 5
        check(store, events(10))


PROGRAM = """
import sys
from mlsys.features.broker import RedisStream
from mlsys.features.event import Feed
from mlsys.features.store import open_store
from mlsys.features.stream import read_stream
from mlsys.features.view import Aggregate, FeatureView

url, group, kind, path = sys.argv[1:]
visits = FeatureView("visits", "who", "at", (Aggregate("sum", "amount", ("1d", "unbounded")), Aggregate("count", name="n")))
options = {"path": path} if kind == "sqlite" else {"url": url}
with open_store(kind, **options) as store:
    source = RedisStream(url, "visits", group=group)
    read_stream(source, store, Feed(visits, kinds={"who": "int", "amount": "float"}), batch_size=20, idle_seconds=0.2, watch=lambda counts: print(counts.events, flush=True))
"""


@pytest.mark.parametrize("group", ["", "features"])
def test_a_reader_that_is_killed_again_and_again_counts_each_event_once(store, broker, redis_server, tmp_path, group):
    rows, kills, name = events(4000), 0, "redis:visits:features:reader" if group else "redis:visits"
    send(broker, rows[:2000])
    for attempt in range(40):
        if attempt == 5:
            send(broker, rows[2000:])
        batches = 1 + attempt * 7 % 30
        with subprocess.Popen([sys.executable, "-c", PROGRAM, redis_server.url, group, store.kind, tmp_path / "online.db"], stdout=subprocess.PIPE, text=True) as process:
            for _ in process.stdout:
                batches -= 1
                if batches == 0:
                    time.sleep(attempt * 0.0004)
                    os.kill(process.pid, signal.SIGKILL)
            assert process.wait(timeout=60) in (0, -signal.SIGKILL)
        kills += process.returncode != 0
        if attempt > 5 and process.returncode == 0:
            break
    counts, _ = stream_entry(store, name)
    assert kills >= 8 and counts.events == 4000 and counts.rows == {"visits": 4000} and id_of(counts.position.split()[0]) > (0, 0)
    check(store, rows)

"""Whatever comes, in whatever order and portions: online is what the rules say, and nothing is dropped without a word."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference import reference_features, same
from worlds import worlds

from mlsys.core import ConfigError, ContractError
from mlsys.features.event import Batch, Feed
from mlsys.features.materialize import materialize
from mlsys.features.online import get_online
from mlsys.features.replay import Replay
from mlsys.features.store import StoreConflict, open_store
from mlsys.features.stream import StreamWriter, dead_letters, read_stream, stream_entry
from mlsys.features.training import training_set
from mlsys.features.value import to_micros
from mlsys.features.view import Aggregate, Column, FeatureView

DAY = 24 * 3600 * 1_000_000
KINDS = {"number": "float", "whole": "int", "word": "text", "flag": "bool"}
NOW = to_micros("2025-01-01")
VISITS = FeatureView(
    "visits",
    "who",
    "at",
    (Column("amount"), Aggregate("sum", "amount", ("1d", "unbounded")), Aggregate("count", name="n")),
)
FEED = Feed(VISITS, kinds={"amount": "float"})


def check_online(store, view, rows, asked):
    """Compare what is served with the reference."""
    for who, moment in asked:
        found = get_online(store, view, [who], now=moment)
        values, status = reference_features(rows, view, (who,), moment)
        assert found.status["world"] == [status], (who, moment)
        for name, wanted in values.items():
            assert same(found[0][name], wanted), (who, moment, name, found[0][name], wanted)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds(), data=st.data())
def test_in_any_order_and_any_portions_online_is_what_the_rules_say(tmp_path_factory, world, data):
    view = world.view
    rows = data.draw(st.permutations(world.rows), label="order of delivery")
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=3), label="cuts")
    keep = data.draw(st.sampled_from(["unbounded", "1 day"]), label="keep")
    asked = [(item["who"], item["moment"]) for item in world.spine]
    edges = sorted({0, *cuts, len(rows)})
    with open_store("sqlite", path=tmp_path_factory.mktemp("world") / "online.db") as store:
        writer = StreamWriter(store, "events", [Feed(view, kinds=KINDS)], keep=keep)
        for first, end in zip(edges, edges[1:], strict=False):
            if data.draw(st.booleans(), label="a new process"):
                writer = StreamWriter(store, "events", [Feed(view, kinds=KINDS)], keep=keep)
            writer.apply(Batch(range(first, end), rows[first:end]), str(end), NOW)
            early = writer.counts.times["world"] if keep != "unbounded" else 0
            check_online(store, view, rows[:end], [(who, max(moment, early)) for who, moment in asked])
        if not rows:
            return
        counts, _ = stream_entry(store, "events")
        nobody = sum(row["who"] is None for row in rows)
        never = sum(row["who"] is not None and view.known == "seen" and row["seen"] is None for row in rows)
        wanted = {"null_entity": nobody, "never_known": never}
        assert counts.rejected == {name: count for name, count in wanted.items() if count}
        assert counts.rows["world"] == len(rows) - nobody - never and counts.events == len(rows)
        assert len(list(dead_letters(store, "events"))) == nobody + never


def test_online_is_what_training_would_have_seen(tmp_path):
    rows = [{"who": n % 7, "at": f"2024-03-{1 + n % 28:02d}T{n % 24:02d}:{n % 60:02d}", "amount": n / 3} for n in range(400)]
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = pd.DataFrame(rows).assign(at=lambda table: pd.to_datetime(table["at"]))
    source.to_parquet(tmp_path / "e.parquet")
    spine = pd.DataFrame({"who": list(range(8)) * 3, "time": pd.to_datetime(["2024-03-28 23:00", "2024-03-30 00:00", "2024-05-01 00:00"]).repeat(8)})
    offline = training_set(spine, VISITS, time="time", sources={"visits": source})
    for number, name in enumerate(("e.jsonl", "e.parquet")):
        for order in ("file", "time", "shuffle"):
            with open_store("sqlite", path=tmp_path / f"{number}{order}.db") as store:
                report = read_stream(Replay(tmp_path / name, order=order, time="at", seed=3), store, VISITS, batch_size=37)
                assert (report.ended, report.events, report.batches) == ("end", 400, 11)
                assert (report.counts.disorder > 0) == (order != "time")
                for moment, part in offline.groupby("time"):
                    found = get_online(store, VISITS, list(part["who"]), now=moment).frame()
                    for column in VISITS.names:
                        wanted = part[column].astype(float).to_numpy()
                        assert found[column].astype(float).to_numpy() == pytest.approx(wanted, rel=1e-12, nan_ok=True)


BAD = [
    ({"who": 1, "amount": 1.0}, "missing_column"),
    ({"who": 1, "at": "2024-01-01"}, "missing_column"),
    ({"who": None, "at": "2024-01-01", "amount": 1.0}, "null_entity"),
    ({"who": math.nan, "at": "2024-01-01", "amount": 1.0}, "null_entity"),
    ({"who": 1, "at": None, "amount": 1.0}, "no_event_time"),
    ({"who": 1, "at": "soon", "amount": 1.0}, "wrong_time"),
    ({"who": 1, "at": 1.5, "amount": 1.0}, "wrong_time"),
    ({"who": 1, "at": True, "amount": 1.0}, "wrong_time"),
    ({"who": 1, "at": 2**70, "amount": 1.0}, "wrong_time"),
    ({"who": 1, "at": [2024], "amount": 1.0}, "wrong_time"),
    ({"who": 1, "at": "2024-01-01", "amount": "1"}, "wrong_type"),
    ({"who": 1, "at": "2024-01-01", "amount": {"a": 1}}, "wrong_type"),
    ({"who": [1], "at": "2024-01-01", "amount": 1.0}, "wrong_type"),
    ({"who": "half a character \ud800", "at": "2024-01-01", "amount": 1.0}, "wrong_type"),
    ({"who": {"a": 1}, "at": "2024-01-01", "amount": 1.0}, "wrong_type"),
    ({"who": 1, "at": "2024-01-01", "amount": True}, "wrong_type"),
]


@pytest.mark.parametrize(("event", "fault"), BAD)
def test_a_bad_event_is_put_aside_with_a_reason_and_the_reader_goes_on(tmp_path, event, fault):
    good = {"who": 1, "at": "2024-01-01", "amount": 2.0}
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        writer = StreamWriter(store, "s", [FEED])
        writer.apply(Batch(["1", "2", "3"], [good, event, good]), "3", NOW)
        assert writer.counts.rejected == {fault: 1} and writer.counts.rows == {"visits": 2}
        (letter,) = dead_letters(store, "s")
        assert (letter["id"], letter["view"], letter["fault"]) == ("2", "visits", fault) and letter["reason"]
        assert letter["event"] == event or "nan" in str(event)
        assert get_online(store, VISITS, 1, now="2024-01-01")[0] == {"amount": 2.0, "amount_sum_1d": 4.0, "amount_sum": 4.0, "n": 2}


def test_lines_that_are_no_events_are_kept_as_they_are(tmp_path):
    lines = ['{"who": 1, "at": "2024-01-01", "amount": 2.0}', "{", "[1]", "", "null", '{"who": 1, "at": "2024-01-01", "amount": 3}', '{"who": 1, "a']
    (tmp_path / "e.jsonl").write_text("\n".join(lines))
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        report = read_stream(tmp_path / "e.jsonl", store, FEED)
        assert report.counts.rejected == {"unreadable": 3} and report.events == 5
        assert [letter["event"]["line"] for letter in dead_letters(store, report.stream)] == ["{", "[1]", "null"]
        with open(tmp_path / "e.jsonl", "a") as file:  # the writer of the file finishes its last line
            file.write('t": "2024-01-02", "amount": 5.0}\n')
        assert read_stream(tmp_path / "e.jsonl", store, FEED).events == 1
        assert get_online(store, VISITS, 1, now="2024-01-02")[0]["amount_sum"] == 10.0


def test_an_event_may_fail_in_one_view_and_count_in_another(tmp_path):
    shops = FeatureView("shops", "shop", "at", Aggregate("count", name="visits_n"))
    events = [{"who": 1, "shop": 5, "at": "2024-01-01", "amount": 1.0}, {"who": None, "shop": 5, "at": "2024-01-01", "amount": 1.0}, {"ping": 1}]
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        writer = StreamWriter(store, "s", [FEED, Feed(shops)])
        writer.apply(Batch([1, 2, 3], events), "3", NOW)
        assert writer.counts.rows == {"visits": 1, "shops": 2}
        assert get_online(store, shops, 5, now="2024-01-02")[0] == {"visits_n": 2}
        assert [(letter["id"], letter["view"]) for letter in dead_letters(store, "s")] == [("2", "visits"), ("3", "shops"), ("3", "visits")]


def test_fields_have_other_names_and_kinds_of_events_share_a_stream(tmp_path):
    feeds = [
        Feed(VISITS, fields={"who": "user", "at": "ts", "amount": "value"}, when={"type": ["visit", "call"]}, kinds={"amount": "float"}),
        Feed(FeatureView("mails", "who", "ts", Aggregate("count", name="mails_n")), fields={"who": "user"}, when={"type": "mail"}),
    ]
    events = [{"type": kind, "user": 3, "ts": "2024-01-01", "value": 2} for kind in ("visit", "mail", "call", "other")]
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        writer = StreamWriter(store, "s", feeds)
        writer.apply(Batch(range(4), events), "4", NOW)
        assert writer.counts.rows == {"visits": 2, "mails": 1} and writer.counts.unused == 1 and not writer.counts.rejected
    with pytest.raises(ConfigError, match=r"fields.*who, at, amount"):
        Feed(VISITS, fields={"whom": "user"})


def test_events_from_the_future_are_held_and_counted(tmp_path):
    events = [{"who": 1, "at": moment, "amount": 1.0} for moment in ("2024-01-01", "2024-06-01", "9999-12-31")]
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        writer = StreamWriter(store, "s", [FEED])
        for number, event in enumerate(events * 8):
            writer.apply(Batch([number], [event]), str(number), to_micros("2024-03-01"))
        assert writer.counts.future == 16 and writer.counts.times["visits"] == to_micros("2024-01-01")
        assert [get_online(store, VISITS, 1, now=moment)[0]["n"] for moment in ("2024-01-01", "2024-05-31", "2024-06-01")] == [8, 8, 16]


def test_a_second_reader_of_a_stream_or_of_a_view_is_refused(tmp_path):
    batch = Batch([1], [{"who": 1, "at": "2024-01-01", "amount": 1.0}])
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        first, second, other = StreamWriter(store, "s", [FEED]), StreamWriter(store, "s", [FEED]), StreamWriter(store, "t", [FEED])
        first.apply(batch, "1", NOW)
        for late in (second, other):
            with pytest.raises(StoreConflict, match="one writer at a time for visits"):
                late.apply(batch, "1", NOW)
        StreamWriter(store, "t", [FEED]).apply(batch, "1", NOW)  # one after the other they may
        with pytest.raises(StoreConflict):
            first.apply(batch, "2", NOW)
        assert get_online(store, VISITS, 1, now="2024-01-01")[0]["n"] == 2


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    batch = Batch([1], [{"who": 1, "at": "2024-01-01", "amount": 1.0}])
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        writer = StreamWriter(store, "s", [FEED])
        writer.apply(batch, "1", NOW)
        write = store.write
        monkeypatch.setattr(store, "write", lambda *_: (_ for _ in ()).throw(RuntimeError("no room")))
        for _ in range(3):
            with pytest.raises(RuntimeError, match="no room"):
                writer.apply(batch, "2", NOW)
        monkeypatch.setattr(store, "write", write)
        writer.apply(batch, "2", NOW)
        assert get_online(store, VISITS, 1, now="2024-01-01")[0]["n"] == 2


def test_a_write_whose_answer_was_lost_is_recognised(tmp_path, monkeypatch):
    from mlsys.features.store import StoreUnreachable

    batch = Batch([1], [{"who": 1, "at": "2024-01-01", "amount": 1.0}])
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        writer, write = StreamWriter(store, "s", [FEED]), store.write

        def lossy(*arguments):
            write(*arguments)
            raise StoreUnreachable("the connection broke after the write")

        monkeypatch.setattr(store, "write", lossy)
        writer.apply(batch, "1", NOW)
        writer.apply(batch, "2", NOW)
        assert get_online(store, VISITS, 1, now="2024-01-01")[0]["n"] == 2


def test_a_replay_that_has_changed_is_refused(tmp_path):
    (tmp_path / "e.jsonl").write_text('{"who": 1, "at": "2024-01-01", "amount": 2.0}\n' * 3)
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        read_stream(tmp_path / "e.jsonl", store, FEED, max_events=2)
        with pytest.raises(ConfigError, match="changed or is read in another order"):
            read_stream(Replay(tmp_path / "e.jsonl", order="shuffle"), store, FEED)
        (tmp_path / "e.jsonl").write_text('{"who": 2, "at": "2024-01-01", "amount": 2.0}\n' * 3)
        with pytest.raises(ConfigError, match="changed"):
            read_stream(tmp_path / "e.jsonl", store, FEED)


@pytest.mark.parametrize("name", ["none.jsonl", "e.csv"])
def test_what_cannot_be_replayed_is_said(tmp_path, name):
    (tmp_path / "e.csv").write_text("who\n1\n")
    with pytest.raises(ConfigError, match=r"a file"):
        Replay(tmp_path / name)


def test_kinds_must_be_known(tmp_path):
    with open_store("sqlite", path=tmp_path / "online.db") as store, pytest.raises(ConfigError, match=r"a kind for amount.*Feed\(view, kinds="):
        StreamWriter(store, "s", [Feed(VISITS)])


def test_a_stream_takes_over_from_a_table_and_a_table_from_a_stream(tmp_path):
    table = pd.DataFrame({"who": [1] * 30, "at": pd.date_range("2024-01-01", periods=30), "amount": 1.0})
    events = [{"who": 1, "at": str(moment), "amount": 1.0} for moment in pd.date_range("2024-01-20", periods=30)]
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        materialize(VISITS, store, "2024-01-31", {"visits": table})
        with pytest.raises(ConfigError, match="begin: received None"):
            StreamWriter(store, "s", [FEED])
        writer = StreamWriter(store, "s", [FEED], begin=to_micros("2024-01-30"))
        for number, event in enumerate(events):
            writer.apply(Batch([number], [event]), str(number + 1), NOW)
        assert (writer.counts.rows["visits"], writer.counts.covered) == (19, 11)
        assert get_online(store, VISITS, 1, now="2024-02-18")[0] == {"amount": 1.0, "amount_sum_1d": 1.0, "amount_sum": 49.0, "n": 49}
        later = pd.DataFrame({"who": [1] * 49, "at": pd.date_range("2024-01-01", periods=49), "amount": 1.0})
        materialize(VISITS, store, "2024-02-18", {"visits": later})
        assert get_online(store, VISITS, 1, now="2024-02-18")[0]["n"] == 49
        with pytest.raises(StoreConflict, match="was the view materialised"):
            writer.apply(Batch([99], [events[0]]), "99", NOW)
        again = StreamWriter(store, "s", [FEED], begin=to_micros("2024-02-18"))
        again.apply(Batch(range(30), events), "30", NOW)
        assert get_online(store, VISITS, 1, now="2024-02-18")[0]["n"] == 49 and again.counts.covered == 30
        with pytest.raises(ConfigError, match="begin"):
            StreamWriter(store, "s", [FEED], begin=to_micros("2024-02-17"))


def test_a_fact_that_moves_after_a_table_was_written_is_taken_from_its_first_owner(tmp_path):
    view = FeatureView("world", "who", "at", Aggregate("sum", "amount"), row_key="fact", known="seen")
    rows = [{"who": who, "at": NOW - 9 * DAY, "seen": NOW - 9 * DAY + who, "amount": 1.0 + who, "fact": who} for who in (1, 2)]
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        materialize(view, store, NOW - 8 * DAY, {"world": pd.DataFrame(rows)})
        moved = {"who": 3, "at": NOW - 9 * DAY, "seen": NOW - 2 * DAY, "amount": 5.0, "fact": 1}
        writer = StreamWriter(store, "s", [Feed(view)], begin=NOW - 10 * DAY)
        writer.apply(Batch([1], [moved]), "1", NOW)
        check_online(store, view, [*rows, moved], [(who, NOW - days * DAY) for who in (1, 2, 3) for days in (3, 2, 1)])


PROGRAM = """
import sys, threading
from mlsys.features.event import Feed
from mlsys.features.store import open_store
from mlsys.features.stream import read_stream
from mlsys.features.view import Aggregate, FeatureView

visits = FeatureView("visits", "who", "at", (Aggregate("sum", "amount", ("1d", "unbounded")), Aggregate("count", name="n")))
with open_store("sqlite", path=sys.argv[2]) as store:
    print("begins", flush=True)
    report = read_stream(sys.argv[1], store, Feed(visits, kinds={"amount": "float"}), batch_size=50, watch=lambda counts: print(counts.events, flush=True))
    print(report.ended, flush=True)
"""


def start(folder):
    """Start a reader as a process of its own."""
    command = [sys.executable, "-c", PROGRAM, folder / "e.jsonl", folder / "online.db"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_reader_that_is_told_to_stop_finishes_its_batch(tmp_path):
    (tmp_path / "e.jsonl").write_text('{"who": 1, "at": "2024-01-01", "amount": 2.0}\n' * 200_000)
    with start(tmp_path) as process:
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if lines[-1] == "500":
                process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0 and lines[-1] == "signal"
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        counts, _ = stream_entry(store, "replay:e.jsonl")
        assert counts.events == counts.rows["visits"] == int(lines[-2]) < 200_000


def test_a_reader_in_a_thread_stops_when_asked(tmp_path):
    (tmp_path / "e.jsonl").write_text('{"who": 1, "at": "2024-01-01", "amount": 2.0}\n' * 5000)
    stop, reports = threading.Event(), []
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        thread = threading.Thread(target=lambda: reports.append(read_stream(tmp_path / "e.jsonl", store, FEED, batch_size=10, stop=stop, watch=lambda _: stop.set())))
        thread.start()
        thread.join(60)
        assert reports[0].ended == "signal" and reports[0].events == 10


def test_a_reader_that_is_killed_again_and_again_counts_each_event_once(tmp_path):
    rows = [{"who": n % 211, "at": to_micros("2024-01-01") + (n * 7919 % 20_000) * 60_000_000, "amount": n / 7} for n in range(20_000)]
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    view = FeatureView("visits", "who", "at", (Aggregate("sum", "amount", ("1d", "unbounded")), Aggregate("count", name="n")))
    kills, seen = 0, []
    for attempt in range(60):
        lines = 1 + attempt * 7 % 40  # batches until it is killed, and then some microseconds
        with start(tmp_path) as process:
            for _ in process.stdout:
                lines -= 1
                if lines == 0:
                    time.sleep(attempt * 0.00037)
                    os.kill(process.pid, signal.SIGKILL)
            assert process.wait(timeout=60) in (0, -signal.SIGKILL)
        with open_store("sqlite", path=tmp_path / "online.db") as store:
            seen.append(stream_entry(store, "replay:e.jsonl")[0].events)
        if process.returncode == 0:
            break
        kills += 1
    assert kills >= 10 and seen == sorted(seen) and seen[-1] == 20_000
    with open_store("sqlite", path=tmp_path / "online.db") as killed, open_store("sqlite", path=tmp_path / "other.db") as whole:
        read_stream(tmp_path / "e.jsonl", whole, Feed(view, kinds={"amount": "float"}), batch_size=777)
        source = pd.DataFrame(rows)
        for moment in (max(row["at"] for row in rows) + hours * 3_600_000_000 for hours in (0, 13, 40)):
            offline = training_set(pd.DataFrame({"who": range(211), "time": moment}), view, time="time", sources={"visits": source})
            one, other = (get_online(store, view, list(range(211)), now=moment).frame() for store in (killed, whole))
            assert one.equals(other)
            for name in view.names:
                assert one[name].to_numpy(float) == pytest.approx(offline[name].to_numpy(float), rel=1e-9)


def test_a_damaged_note_is_said(tmp_path):
    with open_store("sqlite", path=tmp_path / "online.db") as store:
        store.write({}, {"stream s": "{"})
        with pytest.raises(ContractError, match="damaged"):
            stream_entry(store, "s")

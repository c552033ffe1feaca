"""Both stores keep one promise: all or nothing, in order, and never an answer from a damaged file."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mlsys.core import ConfigError
from mlsys.features.store import StoreConflict, StoreError, StoreUnreachable, open_store


@pytest.fixture(params=["sqlite", "redis"])
def store(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "sqlite":
        opened = open_store("sqlite", path=tmp_path / "online.db")
    else:
        opened = open_store("redis", url=request.getfixturevalue("redis_server").url, namespace=request.node.name)
    with opened:
        yield opened


def items(numbers, word=b"a"):
    return [(f"{number}", b"v%d" % number + word, b"s%d" % number + word) for number in numbers]


def test_what_is_written_is_read_in_the_order_asked_for(store):
    store.write({"visits": items(range(1200)), "other view": items([5], b"other")}, {"position": "1200"})
    assert store.vectors("visits", ["7", "none", "3", "7"]) == [b"v7a", None, b"v3a", b"v7a"]
    assert store.states("visits", [f"{number}" for number in range(1200)]) == [item[2] for item in items(range(1200))]
    assert store.vectors("other view", ["5"]) == [b"v5other"]
    assert store.vectors("visits", []) == [] and store.vectors("nothing", ["1"]) == [None] == store.states("nothing", ["1"])
    assert store.notes(["position", "none"]) == ["1200", None]
    assert store.count("visits") == 1200 == len(set(store.keys("visits"))) and store.count("nothing") == 0
    store.check()
    store.drop("visits")
    assert store.count("visits") == 0 and store.vectors("visits", ["7"]) == [None] and store.vectors("other view", ["5"]) == [b"v5other"]


def test_keys_are_any_text(store):
    keys = ["'ü", "'it's", "'a\"b", "'\x00nul", "'%", "1:a|1:b", "'" + "x" * 5000, "'\n"]
    store.write({"v": [(key, key.encode(), b"s" + key.encode()) for key in keys]})
    assert store.vectors("v", keys) == [key.encode() for key in keys] and sorted(store.keys("v")) == sorted(keys)


def test_a_write_is_all_or_nothing(store):
    store.write({"v": items([1])}, {"at": "1"})

    def failing():
        yield from items([1, 2], b"b")
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="source broke"):
        store.write({"v": failing()}, {"at": "2"})
    with pytest.raises(RuntimeError, match="source broke"):
        store.write_view("v", failing(), lambda: {"at": "2"}, fresh=True)
    assert store.vectors("v", ["1", "2"]) == [b"v1a", None] and store.notes(["at"]) == ["1"]


def test_a_view_is_replaced_or_added_to(store):
    assert store.write_view("v", iter(items(range(2500))), lambda: {"as_of": "1"}) == 2500
    assert store.write_view("v", items([7, 5000], b"b"), lambda: {"as_of": "2"}) == 2 and store.count("v") == 2501
    assert store.vectors("v", ["7", "8"]) == [b"v7b", b"v8a"] and store.notes(["as_of"]) == ["2"]
    assert store.write_view("v", items([9], b"c"), fresh=True) == 1 and list(store.keys("v")) == ["9"]
    assert store.write_view("v", [], fresh=True) == 0 and store.count("v") == 0


def test_of_two_writers_the_second_learns_of_the_first(store):
    store.write({"v": items([1])}, {"position": "1"}, {"position": None})
    with pytest.raises(StoreConflict, match="note position: received .*1.*allowed: None"):
        store.write({"v": items([1], b"b")}, {"position": "2"}, {"position": None})
    store.write({"v": items([1], b"c")}, {"position": "2"}, {"position": "1"})
    assert store.vectors("v", ["1"]) == [b"v1c"] and store.notes(["position"]) == ["2"]


def test_only_an_unchanged_vector_is_refreshed(store):
    store.write({"v": items([1, 2])})
    store.refresh("v", [("1", b"v1a", b"new"), ("2", b"not what is there", b"new"), ("3", b"nothing", b"new")])
    assert store.vectors("v", ["1", "2", "3"]) == [b"new", b"v2a", None]


def test_readers_see_the_old_view_until_the_new_one_is_whole(store):
    store.write_view("v", items(range(100)))
    seen, failed, done = set(), [], threading.Event()

    def look():
        while not done.is_set():
            found = store.vectors("v", [f"{number}" for number in range(100)])
            seen.add(len({vector[-1:] for vector in found if vector}))
            failed.extend(number for number, vector in enumerate(found) if vector is None)

    thread = threading.Thread(target=look)
    thread.start()
    for word in (b"b", b"c", b"d", b"e"):
        store.write_view("v", items(range(100), word), fresh=True)
    done.set()
    thread.join(20)
    assert seen == {1} and not failed


WRITER = """
import sys
from mlsys.features.store import open_store
with open_store("sqlite", path=sys.argv[1]) as store:
    (position,) = store.notes(["position"])
    for number in range(int(position or 0) + 1, 1_000_000):
        store.write({"v": [(f"{key}", b"%d" % number, b"%d" % number) for key in range(20)]}, {"position": f"{number}"})
        print(number, flush=True)
"""


def test_a_killed_writer_leaves_states_and_notes_in_step(tmp_path):
    path = tmp_path / "online.db"
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        said = [process.stdout.readline() for _ in range(30)][-1]
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
        process.stdout.close()
        with open_store("sqlite", path=path) as store:
            store.check()
            (position,) = store.notes(["position"])
            assert int(position) >= int(said)
            assert store.vectors("v", [f"{key}" for key in range(20)]) == [position.encode()] * 20 == store.states("v", [f"{key}" for key in range(20)])


@pytest.mark.parametrize("damage", ["cut", "cut a little", "another file", "a page of noise", "empty head"])
def test_a_damaged_file_says_so_and_how_to_mend_it(tmp_path, damage):
    path = tmp_path / "online.db"
    with open_store("sqlite", path=path) as store:
        store.write_view("v", [(f"{number}", os.urandom(60), os.urandom(400)) for number in range(3000)])
    whole = path.read_bytes()
    changed = {
        "cut": whole[: len(whole) // 3],
        "cut a little": whole[:-1],
        "another file": b"customer,amount\n1,2\n" * 100,
        "a page of noise": whole[:8192] + os.urandom(len(whole) - 3 * 8192) + whole[-2 * 8192 :],
        "empty head": bytes(4096) + whole[4096:],
    }[damage]
    path.write_bytes(changed)
    with pytest.raises(StoreError, match="online store: received .*online.db.*Restore it from a copy, or delete it and call materialize again"):
        with open_store("sqlite", path=path) as store:
            store.check()
            store.vectors("v", [f"{number}" for number in range(3000)])


def test_another_database_and_a_folder_are_refused(tmp_path):
    import sqlite3

    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE customers (id INTEGER)")
    other.close()
    with pytest.raises(ConfigError, match="a file of its own"):
        open_store("sqlite", path=tmp_path / "other.db")
    with pytest.raises(ConfigError, match="path: received .*allowed: a file"):
        open_store("sqlite", path=tmp_path)
    with pytest.raises(ConfigError, match="allowed: path"):
        open_store("sqlite", file=tmp_path / "x.db")
    with pytest.raises(ConfigError, match="Did you mean redis"):
        open_store("rediss", url="x")


def test_a_server_that_comes_back_is_waited_for_and_one_that_does_not_is_an_error(redis_server):
    store = open_store("redis", url=redis_server.url, namespace="back", attempts=8)
    store.write({"v": items([1])})
    redis_server.stop()
    with pytest.raises(StoreUnreachable, match="online store: received 'redis://127.0.0.1:.*3 attempts failed.*Start the server"):
        open_store("redis", url=redis_server.url, attempts=3)
    timer = threading.Timer(0.4, redis_server.start)
    timer.start()
    started = time.monotonic()
    assert store.vectors("v", ["1"]) == [b"v1a"] and time.monotonic() - started > 0.3
    timer.join(20)
    store.close()


def test_keys_of_another_program_and_a_wrong_address_are_named(redis_server):
    with open_store("redis", url=redis_server.url, namespace="clash") as store:
        store.client.set("clash:v:v", "a text of another program")
        with pytest.raises(StoreError, match="WRONGTYPE"):
            store.vectors("v", ["1"])
    with pytest.raises(ConfigError, match="url: received"):
        open_store("redis", url="http://localhost:6379")

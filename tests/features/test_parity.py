"""What was served is held against what training would have seen, whatever a crash left of the log."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner
from worlds import worlds

from mlsys.core import ConfigError, GateError
from mlsys.features.event import Batch, Feed
from mlsys.features.online import OnlineReader
from mlsys.features.parity import compare_parity, parity_of
from mlsys.features.served import ServingLog, definition_digest, read_served, write_served
from mlsys.features.store import open_store
from mlsys.features.stream import StreamWriter
from mlsys.features.value import to_micros
from mlsys.features.view import Aggregate, Column, Expression, FeatureView

VIEW = FeatureView("visits", "who", "at", (Column("word"), Column("when"), Aggregate("sum", "amount"), Aggregate("count", name="n")))
ROWS = pd.DataFrame({
    "who": [1, 2],
    "at": pd.to_datetime(["2024-01-01", "2024-01-02"]),
    "word": ["a", None],
    "when": pd.to_datetime(["2023-05-05 12:00", None]),
    "amount": [1.5, math.inf],
    "n": 1,
})  # fmt: skip
RIGHT = {1: {"word": "a", "when": datetime(2023, 5, 5, 12), "amount_sum": 1.5, "n": 1}, 2: {"word": None, "when": None, "amount_sum": math.inf, "n": 1}}


def serve(folder, served, view=VIEW, at="2024-02-01"):
    """Write a log."""
    with ServingLog(folder / "served.jsonl", view) as log:
        for who, values in served:
            log.append({"who": who}, values, {view.name: "known" if who in RIGHT else "unknown"}, at=at)
    return folder / "served.jsonl"


def test_equal_values_of_every_kind_are_equal(tmp_path):
    empty = dict.fromkeys(VIEW.names)
    report = parity_of(serve(tmp_path, [*RIGHT.items(), (3, empty)]), VIEW, {"visits": ROWS})
    assert (report.table[["mismatch", "missing", "extra"]] == 0).all(axis=None) and report.rows == 3
    report.check()


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [("word", "b", "mismatch"), ("word", None, "missing"), ("when", datetime(2023, 5, 5, 13), "mismatch"), ("amount_sum", 1.5 + 1e-6, "mismatch"),
     ("amount_sum", math.nan, "missing"), ("n", 2, "mismatch"), ("amount_sum", -math.inf, "mismatch"), ("amount_sum", "1.5", "mismatch")],
)  # fmt: skip
def test_one_wrong_value_is_found_where_it_is(tmp_path, name, value, problem):
    report = parity_of(serve(tmp_path, [(1, {**RIGHT[1], name: value}), (2, RIGHT[2])]), VIEW, {"visits": ROWS})
    wrong = {(feature, kind) for feature, row in report.table.iterrows() for kind in ("mismatch", "missing", "extra") if row[kind] > 0}
    assert wrong == {(name, problem)} and report.table.loc[name, problem] == 0.5
    (example,) = report.examples.to_dict("records")
    assert (example["feature"], example["problem"], example["entity"]) == (name, problem, "who=1")
    with pytest.raises(GateError, match=rf"{name}: {problem} 50.0000% of 2 \(limit 0.0000%\)"):
        report.check()
    report.check(**{f"max_{problem}": 0.5})


def test_extra_values_are_found(tmp_path):
    report = parity_of(serve(tmp_path, [(2, {**RIGHT[2], "word": "leaked"})]), VIEW, {"visits": ROWS})
    assert report.table.loc["word", "extra"] == 1.0
    with pytest.raises(GateError, match="word: extra"):
        report.check(max_mismatch=1.0, max_missing=1.0)


def test_whole_numbers_are_compared_exactly():
    log, offline = pd.DataFrame({"n": pd.array([2**60, 5], dtype="Int64")}), pd.DataFrame({"n": pd.array([2**60 + 1, 5], dtype="Int64")})
    assert compare_parity(log, offline).table.loc["n", "mismatch"] == 0.5


def test_another_definition_is_set_aside(tmp_path):
    other = FeatureView("visits", "who", "at", (Column("word"), Aggregate("sum", "amount", "1d")))
    serve(tmp_path, [(1, {"word": "z", "amount_sum_1d": 9.0})], other)
    report = parity_of(serve(tmp_path, RIGHT.items()), VIEW, {"visits": ROWS})
    assert (report.rows, report.other, report.worst("mismatch")) == (2, 1, 0.0)
    told = FeatureView("visits", "who", "at", VIEW.features, doc="A sentence.", owner="somebody", source="elsewhere.parquet")
    assert definition_digest(told) == definition_digest(VIEW) != definition_digest(other)
    with pytest.raises(GateError, match="not one vector could be compared"):
        parity_of(read_served(tmp_path / "served.jsonl").only(pd.Series([True, False, False])), VIEW, {"visits": ROWS}).check()


def test_only_what_is_named_is_logged(tmp_path):
    features = [FeatureView("visits", "who", "at", Aggregate("sum", "amount")), Expression("share", "asked / amount_sum")]
    with ServingLog(tmp_path / "served.jsonl", features, request=("asked",)) as log:
        log.append({"who": 1}, {"amount_sum": 1.5, "share": 2.0}, {"visits": "known"}, at="2024-02-01", request={"asked": 3.0, "sex": "f"})
        for entity, values in (({"who": 1, "sex": "f"}, {}), ({"who": 1}, {"sex": "f"})):
            with pytest.raises(ConfigError, match="sex"):
                log.append(entity, values, {})
    text = (tmp_path / "served.jsonl").read_text()
    assert "sex" not in text and text.count("\n") == 1
    assert parity_of(tmp_path / "served.jsonl", features, {"visits": ROWS[:1]}).worst("mismatch") == 0


def test_entities_of_all_kinds_come_back_as_they_were(tmp_path):
    view = FeatureView("v", ("day", "word", "number"), "at", Aggregate("count", name="n"))
    source = pd.DataFrame({"day": [date(2024, 1, 1)], "word": ["ü\n\u2028"], "number": [2**60 + 1], "at": pd.to_datetime(["2024-01-01"])})
    with ServingLog(tmp_path / "served.jsonl", view) as log:
        log.append({"day": date(2024, 1, 1), "word": "ü\n\u2028", "number": np.int64(2**60 + 1)}, {"n": 1}, {"v": "known"}, at="2024-01-02")
        log.append({"day": None, "word": "ü", "number": 1}, {"n": None}, {"v": "null_entity"}, at="2024-01-02")
    report = parity_of(tmp_path / "served.jsonl", view, {"v": source.assign(day=pd.to_datetime(source["day"]))})
    assert report.rows == 2 and (report.table[["mismatch", "missing", "extra"]] == 0).all(axis=None)


def test_lines_that_are_not_whole_are_counted(tmp_path):
    path = serve(tmp_path, RIGHT.items())
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines()[1])):
        path.write_bytes(whole[:-cut - 1])
        serve(tmp_path, [(1, RIGHT[1])])
        served = read_served(path)
        assert (len(served), served.skipped) == ((3, 0) if cut == 0 else (2, 1))
        path.unlink()
    path.write_text('{"at": 1}\n[]\nnull\n{"at": "x", "digest": "d", "entity": {}, "values": {}, "statuses": {}}\n')
    assert (len(read_served(path)), read_served(path).skipped) == (0, 4)
    with pytest.raises(ConfigError, match="a file of served vectors"):
        read_served(tmp_path / "none.jsonl")


def test_a_log_is_kept_as_parquet_too(tmp_path):
    served = read_served(serve(tmp_path, RIGHT.items()))
    write_served(served, tmp_path / "served.parquet")
    report = parity_of(tmp_path / "served.parquet", VIEW, {"visits": ROWS})
    assert report.rows == 2 and report.worst("mismatch") == report.worst("missing") == 0


PROGRAM = """
import sys
from mlsys.features.served import ServingLog
from mlsys.features.view import Aggregate, FeatureView

log = ServingLog(sys.argv[1], FeatureView("visits", "who", "at", Aggregate("count", name="n")))
for number in range(10**9):
    log.append({"who": number}, {"n": number}, {"visits": "known"}, at=number)
    print(number, flush=True)
"""


def test_a_server_that_is_killed_loses_no_vector_that_it_had_logged(tmp_path):
    logged = 0
    for attempt in range(8):
        with subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path / "served.jsonl"], stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if int(line) == 20 + attempt:
                    time.sleep(attempt * 0.0003)
                    os.kill(process.pid, signal.SIGKILL)
                if line.endswith("\n"):
                    last = int(line)
        logged += last + 1
        served = read_served(tmp_path / "served.jsonl")
        assert logged <= len(served) <= logged + attempt + 1 and served.skipped <= attempt + 1
        logged = len(served)


@pytest.mark.filterwarnings("ignore::mlsys.features.training.FeatureWarning")
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds())
def test_what_a_store_serves_has_parity_with_training_at_any_moment(tmp_path_factory, world):
    folder, view = tmp_path_factory.mktemp("world"), world.view
    if not world.rows:
        return
    with open_store("sqlite", path=folder / "online.db") as store, ServingLog(folder / "served.jsonl", view) as log:
        writer = StreamWriter(store, "s", [Feed(view, kinds={"number": "float", "whole": "int", "word": "text", "flag": "bool"})], keep="unbounded")
        writer.apply(Batch(range(len(world.rows)), world.rows), "1", to_micros("2025-01-01"))
        reader = OnlineReader(store, view)
        for asked in world.spine:
            found = reader.read([asked["who"]], now=asked["moment"])
            log.append({"who": asked["who"]}, found[0], {"world": found.status["world"][0]}, at=asked["moment"])
    source, _ = world.tables()
    report = parity_of(folder / "served.jsonl", view, {"world": source}, tolerance=1e-9)
    wrong = report.examples[~((report.examples["problem"] == "mismatch") & (report.table["largest_gap"].reindex(report.examples["feature"]).to_numpy() < 1e-6))]
    assert report.rows == len(world.spine) and wrong.empty, wrong


@pytest.mark.filterwarnings("ignore::mlsys.features.training.FeatureWarning")
def test_the_command_has_a_gate(tmp_path):
    from mlsys.cli.command import app

    (tmp_path / "f.yaml").write_text("name: f\nviews:\n  - {name: visits, entity: who, event_time: at, features: [word, when, {function: sum, column: amount}, {function: count, name: n}]}\n")
    ROWS.to_parquet(tmp_path / "rows.parquet")
    serve(tmp_path, [(1, {**RIGHT[1], "n": 2}), (2, RIGHT[2])])
    command = ["features", "parity", str(tmp_path / "served.jsonl"), "--file", str(tmp_path / "f.yaml"), "--source", f"visits={tmp_path / 'rows.parquet'}", "--json", str(tmp_path / "out.json")]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, GateError) and done.exception.exit_code == 1 and "n: mismatch 50.0000% of 2" in str(done.exception)
    assert json.loads((tmp_path / "out.json").read_text())["worst"] == {"mismatch": 0.5, "missing": 0.0, "extra": 0.0}
    done = CliRunner().invoke(app, [*command, "--max-mismatch", "0.5"])
    assert done.exit_code == 0 and "within the limits" in done.stdout
    assert "a share from 0 to 1" in str(CliRunner().invoke(app, [*command, "--max-extra", "2"]).exception)

"""Complaints are kept once, in order and for good; whoever changes the file is found out; nobody's words leave it."""

import json
import multiprocessing
import os
import stat

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlsys.cli.command import app
from mlsys.core import ConfigError, ContractError
from mlsys.fairness.feedback import (
    FeedbackLog,
    as_case,
    as_moment,
    feedback_counts,
    feedback_state,
    read_feedback_table,
)

SECRET = "They said that my illness is a risk"


def complaint(case="1", **more):
    return {"case": case, "kind": "complaint", "text": SECRET, "time": "2026-03-01T09:30Z"} | more


@pytest.fixture
def log(tmp_path):
    return FeedbackLog(tmp_path / "feedback" / "events.jsonl")


def test_an_upheld_decision_is_a_line_of_its_own_and_what_was_said_before_stays(log):
    number, = log.add([complaint()])
    before = log.path.read_bytes()
    log.decide(number, "rejected", "2026-03-02")
    log.decide(number, "upheld", "2026-06-01", "The letter was found.")
    assert log.path.read_bytes().startswith(before)
    assert [event.get("status") for event in log.events()] == [None, "rejected", "upheld"]
    assert feedback_state(log.events()).loc[0, ["status", "decided"]].tolist() == ["upheld", "2026-06-01T00:00:00Z"]
    log.decide(number, "open", "2026-06-02")
    assert feedback_state(log.events()).loc[0, ["status", "decided"]].tolist() == ["open", ""]


def test_the_file_is_its_owners_alone(log):
    log.add([complaint()])
    for path in [log.path, *log.path.parent.glob(".*.lock")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.path.parent.stat().st_mode) & 0o077 == 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.integers(0, 5), st.text(max_size=40), st.sampled_from(["", "open", "upheld", "rejected"])), max_size=8), data=st.data())
def test_any_change_of_the_file_is_found_out(tmp_path_factory, rows, data):
    log = FeedbackLog(tmp_path_factory.mktemp("log") / "events.jsonl")
    log.add([complaint(str(case), text=text, status=status) for case, text, status in rows])
    events = log.events()
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    if not events:
        return
    lines = log.path.read_bytes().splitlines(keepends=True)
    place = data.draw(st.integers(0, len(lines) - 1))
    way = data.draw(st.sampled_from(["remove", "edit", "repeat", "swap", "cut", "nonsense"]))
    spoiled = list(lines)
    if way == "remove":
        del spoiled[place]
    elif way == "edit":
        spoiled[place] = lines[place].replace(b'"time": "2026', b'"time": "2025')
    elif way == "repeat":
        spoiled.insert(place, lines[place])
    elif way == "swap" and len(lines) > 1:
        other = (place + 1) % len(lines)
        spoiled[place], spoiled[other] = lines[other], lines[place]
    elif way == "cut":
        spoiled = lines[:place]
    else:
        spoiled[place] = b"[]\n"
    log.path.write_bytes(b"".join(spoiled))
    with pytest.raises(ContractError, match="Restore"):
        log.events()
    with pytest.raises(ContractError, match="Restore"):
        log.add([complaint("99")])


def test_an_edit_with_a_hash_made_anew_breaks_the_next_line_or_the_head(log):
    from mlsys.fairness.feedback import _event_hash

    log.add([complaint("1"), complaint("2")])
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    for place in (0, 1):
        changed = [dict(line) for line in lines]
        changed[place]["text"] = "Thank you."
        changed[place]["hash"] = _event_hash(changed[place])
        log.path.write_text("".join(json.dumps(line) + "\n" for line in changed))
        with pytest.raises(ContractError):
            log.events()


def test_a_line_that_was_cut_short_was_never_confirmed_and_is_written_over(log):
    log.add([complaint("1")])
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"number": 2, "event": "rec')
    assert len(log.events()) == 1
    log.add([complaint("2")])
    assert [event["case"] for event in log.events()] == ["1", "2"]
    assert log.path.read_bytes().startswith(whole) and log.path.read_bytes().endswith(b"\n")


def test_lines_that_were_written_before_the_head_was_are_kept(log):
    "A process that is killed between the two writes leaves a head that is behind."
    log.add([complaint("1")])
    head = log.path.with_name(f".{log.path.name}.head")
    before = head.read_text()
    log.add([complaint("2")])
    head.write_text(before)
    assert len(log.events()) == 2
    log.add([complaint("3")])
    assert head.read_text().split()[0] == "3"


def write_some(path, first):
    for case in range(first, first + 10):
        FeedbackLog(path).add([complaint(str(case))])


def test_writers_at_the_same_time_lose_nothing(log):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_some, args=(log.path, first)) for first in (0, 100, 200)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert sorted(int(event["case"]) for event in log.events()) == [*range(10), *range(100, 110), *range(200, 210)]


def test_the_same_complaint_is_kept_once_and_a_later_decision_is_added(log, tmp_path):
    table = pd.DataFrame({"case": [7, 8], "kind": ["complaint", "appeal"], "text": [SECRET, None], "time": ["2026-01-01", "2026-01-02"]})
    table.to_parquet(tmp_path / "desk.parquet")
    log.add(read_feedback_table(tmp_path / "desk.parquet"))
    log.add(read_feedback_table(tmp_path / "desk.parquet"))
    assert len(log.events()) == 2
    table.assign(status=["upheld", None], decided_at=["2026-02-01", None]).to_json(tmp_path / "desk.jsonl", orient="records", lines=True)
    log.add(read_feedback_table(tmp_path / "desk.jsonl"))
    assert [event["event"] for event in log.events()] == ["received", "received", "decided"]
    assert feedback_counts(feedback_state(log.events())).loc["complaint"].to_dict() == {"open": 0, "upheld": 1, "rejected": 0, "all": 1}


@pytest.mark.parametrize(("row", "words"), [
    ({"kind": "praise"}, "kind: received 'praise'; allowed: complaint, appeal"),
    ({"case": " "}, "case: received '0 characters'"),
    ({"case": "x" * 201}, "1 to 200 printable characters"),
    ({"case": "a\nb"}, "printable"),
    ({"time": "yesterday"}, "time: received '9 characters'"),
    ({"time": "2026-13-01"}, "time: received '2026-13-01'"),
    ({"status": "won"}, "status: received 'won'"),
    ({"text": "x" * 20_001}, "text: received '20,001 characters'"),
    ({"status": "upheld", "reason": "x" * 20_001}, "reason: received '20,001 characters'"),
])
def test_a_wrong_row_is_named_and_keeps_the_others_out(log, row, words):
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        log.add([complaint("1"), complaint() | row])
    assert not log.path.exists()


def test_an_unknown_number_cannot_be_decided(log):
    log.add([complaint()])
    with pytest.raises(ConfigError, match="the number of one of the 1 complaints"):
        log.decide("0" * 16, "upheld", "2026-01-01")


def test_a_wrong_table_is_refused_whole_without_repeating_what_anybody_wrote(log, tmp_path):
    path = tmp_path / "desk.csv"
    pd.DataFrame({"case": ["1", "2", SECRET * 9], "kind": ["complaint", SECRET, "appeal"], "text": [SECRET] * 3, "time": ["2026-01-01", "2026-01-02", SECRET]}).to_csv(path, index=False)
    with pytest.raises(ContractError) as caught:
        read_feedback_table(path)
    assert "2 of 3 rows cannot be taken, and none was" in str(caught.value) and "row 2, kind" in str(caught.value) and "illness" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"column time of desk.csv: .*--column time=COLUMN"):
        read_feedback_table(pd.DataFrame({"case": [], "kind": []}).to_csv(path, index=False) or path)
    with pytest.raises(ConfigError, match=r"\.csv, \.parquet or \.jsonl"):
        read_feedback_table(tmp_path / "desk.xlsx")
    with pytest.raises(ConfigError, match="a file that can be read"):
        read_feedback_table(tmp_path / "gone.csv")
    (tmp_path / "broken.jsonl").write_text('{"case": 1,\n')
    with pytest.raises(ContractError, match="a whole .jsonl file"):
        read_feedback_table(tmp_path / "broken.jsonl")


def test_cases_have_one_form():
    assert [as_case(value) for value in (12, 12.0, "12", " 12 ", "012", None, float("nan"), pd.NA)] == ["12", "12", "12", "12", "012", "", "", ""]
    assert as_moment("2026-03-01") == "2026-03-01T00:00:00Z" and as_moment(pd.Timestamp("2026-03-01 10:00", tz="Europe/Berlin")) == "2026-03-01T09:00:00Z"


def run(*words, said=None):
    return CliRunner().invoke(app, ["feedback", *words], input=said)


def test_the_commands_from_the_first_complaint_to_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    number = run("add", "--case", "5", "--kind", "appeal", "--text", "-", said=SECRET).stdout.strip()
    assert len(number) == 16 and (tmp_path / "feedback" / "events.jsonl").is_file()
    assert run("decide", number, "--status", "upheld", "--reason", SECRET).stdout == f"{number}: upheld\n"
    (tmp_path / "desk.csv").write_text(f"loan,kind,text,time\n6,complaint,{SECRET},2026-01-01\n")
    assert "1 rows read; 1 lines added" in run("import", "desk.csv", "--column", "case=loan").stdout
    pd.DataFrame({"loan": range(10), "town": ["a", "b"] * 5}).to_parquet(tmp_path / "loans.parquet")
    report = run("report", "--table", "loans.parquet", "--case", "loan", "--by", "town")
    assert report.exit_code == 0 and "3 lines, whole and in order" in report.stdout and "upheld_per_1000" in report.stdout
    assert "illness" not in report.stdout + run("report").stdout
    assert "name the decisions" in run("report").stdout


@pytest.mark.parametrize(("words", "answer"), [
    (["decide", "0", "--status", "upheld"], "the number of one of the 0 complaints"),
    (["add", "--case", "1", "--kind", "praise"], "allowed: complaint, appeal"),
    (["import", "gone.csv"], "a file that can be read"),
    (["import", "gone.csv", "--column", "case"], "NAME=COLUMN"),
    (["report", "--table", "gone.parquet", "--case", "a", "--by", "b"], "a Parquet file that exists"),
])
def test_a_users_mistake_is_an_error_with_a_cure(tmp_path, monkeypatch, words, answer):
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code != 0 and answer in str(result.exception) + result.output


def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    folder = tmp_path / "events.jsonl"
    os.mkdir(folder)
    with pytest.raises(ConfigError, match="a file that can be read"):
        FeedbackLog(folder).events()

"""What `mlsys audit` prints and says on the way: tables that fit a screen, copies counted early, and the time view."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from mlsys.cli.audit import _findings_table, audit
from mlsys.cli.command import app
from mlsys.core import ConfigError
from mlsys.data.audit_rows import count_repeats
from mlsys.data.finding import Finding


def printed(count):
    """Return what stands on the screen of that many findings."""
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(_findings_table("Findings", [Finding("strong-alone", f"column_{k}", "data", "L2", "w " * 900, "Ask.") for k in range(count)], "cure", "bold"))
    return console.export_text()


@pytest.mark.parametrize("count, shown, more", [(3, 3, ""), (15, 15, ""), (16, 15, "... and 1 more"), (1400, 15, "... and 1,385 more")])
def test_a_table_of_findings_has_fifteen_rows_and_says_how_many_are_left(count, shown, more):
    text = printed(count)
    assert sum(f"column_{k}" in text.split() or f"alone:column_{k}" in text for k in range(count)) == shown
    assert ("more" in text) == bool(more) and more in text


@pytest.fixture
def orders(tmp_path):
    rng = np.random.default_rng(0)
    at = pd.date_range("2024-01-01", periods=600, freq="h")
    table = pd.DataFrame({"asked": at, "score": rng.normal(size=600).round(3), "amount": rng.normal(size=600).round(3), "paid_at": at + pd.Timedelta(days=3), "late": rng.integers(0, 2, 600)})
    path = tmp_path / "orders.csv"
    table.to_csv(path, index=False)
    return path


def told(path, *options):
    """Run the command; return its screen and its report."""
    report = path.with_suffix(".json")
    done = CliRunner().invoke(app, ["audit", str(path), "--target", "late", "--json", str(report), *options], env={"COLUMNS": "200"})
    assert done.exit_code in (0, 1), done.output
    return done, json.loads(report.read_text())


def test_what_is_known_later_than_the_decision_is_a_finding_of_the_time_view(orders):
    done, report = told(orders, "--time", "asked", "--known", "score = asked + 2 days", "--known", "amount = asked")
    accused = [item for item in report["findings"] if item["view"] == "time" and item["stands"]]
    assert done.exit_code == 1 and [item["where"] for item in accused] == ["score"] and "score" in done.output


def test_a_label_without_a_split_is_noted_and_does_not_stand(orders):
    _, report = told(orders, "--time", "asked", "--known", "late = paid_at")
    notes = [item for item in report["findings"] if item["rule"] == "label-delay"]
    assert len(notes) == 1 and not notes[0]["stands"] and "paid_at" in notes[0]["what"] and "no split yet" in notes[0]["what"]


def test_the_label_is_held_against_the_test_file_where_there_is_one(orders, tmp_path):
    rows = orders.read_text().splitlines(keepends=True)
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text("".join(rows[:451]))
    test.write_text("".join([rows[0], *rows[451:]]))
    done, report = told(train, "--test", str(test), "--time", "asked", "--known", "late = paid_at")
    assert done.exit_code == 1 and any(item["view"] == "time" and item["stands"] for item in report["findings"])


def test_a_declaration_without_a_time_is_refused(orders):
    done = CliRunner().invoke(app, ["audit", str(orders), "--target", "late", "--known", "score = asked"])
    assert isinstance(done.exception, ConfigError) and "--time" in str(done.exception) and callable(audit)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 2)] * 5), max_size=40), st.integers(1, 6))
def test_copies_are_those_of_the_whole_table_however_many_columns_are_looked_at_first(rows, block):
    table = pd.DataFrame(rows, columns=list("abcde")).assign(f=lambda made: made["a"] / 7, g="x")
    assert count_repeats(table, list(table.columns), block=block) == int(table.duplicated().sum())

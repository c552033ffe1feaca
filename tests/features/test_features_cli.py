"""`mlsys features`: tables, words, SQL, and errors without a traceback."""

import re

import duckdb
import pytest
from typer.testing import CliRunner

from mlsys.cli.command import app
from mlsys.core import ConfigError

TEXT = """
name: orders
views:
  - name: orders
    doc: What was bought.
    owner: shop
    entity: customer
    source: orders.parquet
    event_time: at
    features: [{function: sum, column: amount, windows: [7d]}, {function: count}]
"""


@pytest.fixture
def declared(write, tmp_path, monkeypatch):
    """A folder with a file of features and their source."""
    monkeypatch.chdir(tmp_path)
    duckdb.execute("COPY (SELECT 1 AS customer, TIMESTAMP '2024-01-01' AS at, 2.5::DOUBLE AS amount) TO 'orders.parquet'")
    return str(write(TEXT, "orders.yaml"))


def call(*arguments):
    """The text of a command that ends well; its error is raised."""
    result = CliRunner().invoke(app, ["features", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_list_names_every_feature(declared):
    shown = call("list", "--file", declared)
    assert re.search(r"amount_sum_7d +orders +sum\(amount\) +1 week +at at", shown)
    assert "orders: What was bought. (shop)" in shown and "2 features of 1 view and 0 expressions" in shown


def test_show_takes_views_and_features(declared):
    assert "amount_sum_7d: sum of amount over 1 week up to t." in call("show", "amount_sum_7d", "--file", declared)
    both = call("show", "orders", "--file", declared)
    assert "amount_sum_7d" in both and "count: count over all that is known" in both and "kept by shop" in both
    with pytest.raises(ConfigError, match="Did you mean amount_sum_7d"):
        call("show", "amount_sum_30d", "--file", declared)


def test_the_sql_that_is_printed_runs(declared):
    sql = call("sql", "--file", declared, "--time", "asked_at")
    assert "`" not in sql
    connection = duckdb.connect()
    connection.execute("CREATE VIEW orders AS SELECT * FROM 'orders.parquet'")
    connection.execute("CREATE TABLE spine AS SELECT 1 AS customer, TIMESTAMP '2024-01-03' AS asked_at, 0 AS __row UNION ALL SELECT 1, TIMESTAMP '2023-12-03', 1")
    found = connection.execute(sql).df()
    assert found["amount_sum_7d"].tolist()[0] == 2.5 and found["amount_sum_7d"].isna().tolist() == [False, True]


def test_the_sql_of_spark_is_in_its_words(declared):
    import sqlglot

    sql = call("sql", "--file", declared, "--dialect", "spark")
    assert "`" in sql and sqlglot.parse_one(sql, read="spark").key == "select"
    with pytest.raises(ConfigError, match="Did you mean spark"):
        call("sql", "--file", declared, "--dialect", "sparc")


def test_the_sql_needs_no_data(write, tmp_path, monkeypatch):
    """Where the sources are not at hand, columns of unknown type are cast."""
    monkeypatch.chdir(tmp_path)
    text = TEXT.replace("event_time: at", 'event_time: at\n    known: seen\n    derive: ["seen = at + INTERVAL 1 DAY", "big = amount > 3"]')
    shown = call("sql", "--file", str(write(text, "orders.yaml")))
    assert 'TRY_CAST("amount" AS DOUBLE)' in shown and "INTERVAL" in shown


def test_the_project_that_declares_none_says_how(repo, monkeypatch):
    monkeypatch.chdir(repo)
    from mlsys.pipeline.config import load_params

    if load_params()["features"]["views"]:
        assert "features of" in call("list")
    else:
        with pytest.raises(ConfigError, match="mlsys compose features=lending"):
            call("list")
    assert "paid_days_late_mean_90d" in call("list", "--file", "conf/features/lending.yaml")


def test_a_file_that_is_not_there_is_named(declared):
    with pytest.raises(ConfigError, match="orders.yaml"):
        call("list", "--file", "order.yaml")


@pytest.fixture
def later(declared, tmp_path):
    """What happened after the source was written, as a stream; the last line is no event."""
    lines = ['{"customer": 1, "at": "2024-01-05T00:00:00", "amount": 4.0}', '{"customer": 2, "at": "2024-01-06T00:00:00", "amount": 1.0}', "no event"]
    (tmp_path / "later.jsonl").write_text("\n".join(lines) + "\n")
    return "later.jsonl"


def served(declared, now):
    from mlsys.cli.features import chosen_features
    from mlsys.features.online import get_online
    from mlsys.features.store import open_store

    with open_store("sqlite", path="store.db") as store:
        return get_online(store, chosen_features(declared), [1, 2], now=now).frame()


def test_materialize_and_stream_fill_one_store(declared, later, tmp_path):
    shown = call("materialize", "--file", declared, "--as-of", "2024-01-04", "--store", "store.db")
    assert re.search(r"orders: .*1 entities, 1 rows, 0 held", shown)
    command = ("stream", later, "--file", declared, "--store", "store.db", "--idle-seconds", "0", "--begin", "2024-01-04", "--letters", "letters.jsonl")
    first, again = call(*command), call(*command)
    assert "2" in first and first != again, (first, again)
    vectors = served(declared, "2024-01-07")
    assert vectors["amount_sum_7d"].tolist() == [6.5, 1.0] and vectors["count"].tolist() == [2, 1]
    assert len((tmp_path / "letters.jsonl").read_text().splitlines()) == 1


def test_what_the_commands_cannot_do_is_said(declared, later):
    with pytest.raises(ConfigError, match="COLUMN=VALUE"):
        call("stream", later, "--file", declared, "--store", "store.db", "--field", "amount")
    with pytest.raises(ConfigError, match="--key"):
        call("stream", "redis://127.0.0.1:1", "--file", declared, "--store", "store.db")
    with pytest.raises(ConfigError, match="as_of"):
        call("materialize", "--file", declared, "--as-of", "yesterday", "--store", "store.db")


@pytest.mark.parametrize("command", ["list", "show", "sql", "materialize", "stream", "parity"])
def test_every_option_has_help(command):
    import typer

    group = typer.main.get_command(app).commands["features"]
    for parameter in group.commands[command].params:
        assert getattr(parameter, "help", None), f"{command} {parameter.name}"
    assert group.commands[command].help

"""A real PostgreSQL server: a snapshot in plain types, read-only, with no secret anywhere."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from mlsys.core import ConfigError, ContractError
from mlsys.data.postgres import Pull, load_pull, pull, stream_postgres
from mlsys.data.source import read_source

PASSWORD = "only-for-this-test"


def find_binaries():
    """The folder of initdb and pg_ctl: on the path, or where Debian puts them; None when there is no server."""
    folders = [Path(found).parent for found in [shutil.which("initdb")] if found] + sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


@pytest.fixture(scope="module")
def server():
    """A cluster of its own in a temporary folder, on the loopback address, gone afterwards."""
    binaries = find_binaries()
    if binaries is None:
        reason = "no PostgreSQL server is installed (Debian: apt-get install postgresql)"
        pytest.fail(reason) if os.environ.get("MLSYS_REQUIRE_SERVERS") == "1" else pytest.skip(reason)
    pytest.importorskip("psycopg", reason="the driver is not installed: pip install 'mlsys[postgres]'") if os.environ.get("MLSYS_REQUIRE_SERVERS") != "1" else None
    folder = Path(tempfile.mkdtemp(prefix="mlsys-postgres-"))
    (folder / "password").write_text(PASSWORD)
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
        shutil.chown(folder / "password", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def call(program, *arguments):
        subprocess.run([*as_user, str(binaries / program), "-D", str(folder / "cluster"), *arguments], check=True, timeout=120, cwd=folder, stdout=subprocess.DEVNULL)

    call("initdb", "-U", "reader", "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-E", "UTF8", "--no-sync")
    call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off", "start")
    try:
        yield port
    finally:
        call("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def loans(server):
    """A table with every kind of column, and a note that must not be written."""
    import psycopg

    with psycopg.connect(host="127.0.0.1", port=server, dbname="postgres", user="reader", password=PASSWORD) as connection:
        connection.execute("CREATE TYPE colour AS ENUM ('red', 'green')")
        connection.execute("""CREATE TABLE loans AS SELECT i AS id, (i * 1.25)::numeric(10, 2) AS amount, CASE WHEN i % 10 = 0 THEN NULL ELSE i END AS gap, 'näme ' || i AS name,
                              i % 2 = 0 AS paid, date '2024-01-01' + (i % 100)::int AS day, timestamptz '2024-01-01 12:00+02' AS at, (ARRAY['red', 'green'])[1 + i % 2]::colour AS colour,
                              '{}'::jsonb AS extra FROM generate_series(1, 25000) AS r(i)""")
    return server


@pytest.fixture
def ask(loans, monkeypatch, tmp_path):
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.delenv("PGPASSFILE", raising=False)

    def make(query="SELECT id, amount, gap, name, paid, day, at, colour FROM loans ORDER BY id", **changes):
        return Pull(**{"host": "127.0.0.1", "port": loans, "database": "postgres", "user": "reader", "query": query, "output": "data/loans.parquet"} | changes)

    return make


def test_a_snapshot_in_plain_types(ask, tmp_path):
    done = pull(ask(), tmp_path)
    assert done["rows"] == 25_000 and done["changed"] and done["ordered"]
    table, report = read_source(tmp_path / "data" / "loans.parquet")
    assert table.dtypes.astype(str).to_dict() == {"id": "int64", "amount": "float64", "gap": "float64", "name": "str", "paid": "bool", "day": "datetime64[us]", "at": "datetime64[us]",
                                                  "colour": "str"}
    assert table["amount"].iloc[-1] == 31_250.0 and table["name"][0] == "näme 1" and table["at"][0] == pd.Timestamp("2024-01-01 10:00") and set(table["colour"]) == {"red", "green"}
    assert report["missing"] == {"gap": {"(null)": 2500}} and table["id"].is_monotonic_increasing


def test_an_unchanged_answer_leaves_the_snapshot_alone(ask, tmp_path):
    pull(ask(), tmp_path)
    before = (tmp_path / "data" / "loans.parquet").stat().st_mtime_ns
    assert not pull(ask(), tmp_path)["changed"] and (tmp_path / "data" / "loans.parquet").stat().st_mtime_ns == before
    assert pull(ask("SELECT id FROM loans WHERE id < 5"), tmp_path)["changed"] and not pull(ask("SELECT id FROM loans WHERE id < 5"), tmp_path)["ordered"]


def test_rows_come_in_pieces(ask):
    assert [table.num_rows for table in stream_postgres(ask(), 10_000)] == [10_000, 10_000, 5000]


@pytest.mark.parametrize(("query", "kind", "words"), [
    ("DROP TABLE loans", ConfigError, "one SELECT"), ("SELECT nothing FROM loans", ConfigError, "nothing"), ("SELECT 1; DELETE FROM loans", ConfigError, "one SELECT"),
    ("WITH gone AS (DELETE FROM loans RETURNING id) SELECT * FROM gone", ConfigError, "one SELECT"), ("SELECT id, id FROM loans", ConfigError, "every name once"),
    ("SELECT id FROM loans WHERE id < 0", ConfigError, "at least one row"), ("SELECT extra FROM loans", ContractError, "jsonb"),
    ("SELECT CAST(name AS int) FROM loans", ConfigError, "The server says"),
])
def test_what_is_no_answer(ask, tmp_path, query, kind, words):
    with pytest.raises(kind, match=words) as caught:
        pull(ask(query), tmp_path)
    assert "näme 1" not in str(caught.value) and not list(tmp_path.rglob("*.parquet*"))
    assert pull(ask(), tmp_path)["rows"] == 25_000, "nothing was deleted"


def test_a_wrong_password_or_server_says_so_without_it(ask, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="lets the user in"):
        pull(ask(port=1, connect_timeout=2), tmp_path)
    monkeypatch.setenv("PGPASSWORD", "wrong-and-secret")
    with pytest.raises(ConfigError, match="password authentication failed") as caught:
        pull(ask(), tmp_path)
    assert "wrong-and-secret" not in str(caught.value)


def test_the_password_file_is_used_as_by_every_client(ask, loans, tmp_path, monkeypatch):
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{loans}:*:reader:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    assert pull(ask(), tmp_path)["rows"] == 25_000


def test_the_command_writes_no_secret(ask, loans, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from mlsys.cli.command import app

    (tmp_path / "conf" / "pull").mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "conf" / "pull" / "loans.yaml").write_text(f"host: 127.0.0.1\nport: {loans}\ndatabase: postgres\nuser: reader\nquery: SELECT id FROM loans ORDER BY id\noutput: data/l.parquet\n")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["data", "pull", "loans"])
    assert result.exit_code == 0 and "25,000 rows" in result.stdout
    assert all(PASSWORD.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) and PASSWORD not in result.output


# Without a server


@pytest.mark.parametrize(("text", "words"), [
    ("host: a\npassword: hunter2", "PGPASSWORD"), ("url: postgresql://reader:hunter2@a/b", "no secrets"), ("hots: a", "host"), ("host: a", "no database, user, query, output"),
    ("- a", "mapping"), ("host: 7", "type str"), ("host: [", "valid YAML"),
])
def test_faults_of_the_file_are_named(tmp_path, text, words):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        load_pull(tmp_path / "p.yaml")
    assert "hunter2" not in str(caught.value)

"""Sources in pieces: a sample is uniform, ordered and repeatable, counts are exact, and memory does not grow with the file."""

import gzip
import sqlite3
import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError, ContractError
from mlsys.data.profile import profile_source, profile_table
from mlsys.data.source import Sampler, read_source, read_tables, rows_not_read, sample_source
from mlsys.data.table import prepare_table

N = 30_000


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    table = pd.DataFrame({"id": np.arange(N), "x": np.random.default_rng(0).normal(size=N).round(4), "c": np.random.default_rng(1).choice(["a", "b, c", "d"], N)})
    table.to_csv(folder / "t.csv", index=False)
    (folder / "t.csv.gz").write_bytes(gzip.compress((folder / "t.csv").read_bytes(), 1))
    table.to_parquet(folder / "t.parquet", row_group_size=4000)
    with duckdb.connect(str(folder / "t.duckdb")) as connection:
        connection.register("frame", table)
        connection.execute("CREATE TABLE t AS SELECT * FROM frame")
    connection = sqlite3.connect(folder / "t.sqlite")
    table.to_sql("t", connection, index=False)
    connection.close()
    rows = "\n".join(f"{row.id},{row.x!r},'{row.c}'" for row in table.itertuples())
    (folder / "t.arff").write_text("@relation t\n@attribute id numeric\n@attribute x numeric\n@attribute c {a,'b, c',d}\n@data\n" + rows + "\n")
    return folder, table


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.duckdb", "t.sqlite", "t.arff"])
def test_a_sample_is_part_of_the_source_in_its_order(sources, name):
    folder, table = sources
    sample, report = sample_source(folder / name, 500, seed=3)
    assert len(sample) == 500 == report["sampled"] and report["rows"] == N and sample.index.is_monotonic_increasing
    pd.testing.assert_frame_equal(sample, table.loc[sample.index], check_dtype=False)
    again, _ = sample_source(folder / name, 500, seed=3)
    pd.testing.assert_frame_equal(sample, again)
    assert not sample.index.equals(sample_source(folder / name, 500, seed=4)[0].index)


def test_the_sample_depends_on_the_seed_and_not_on_the_kind_of_file(sources):
    folder, _ = sources
    places = [sample_source(folder / name, 200, seed=1)[0].index.tolist() for name in ("t.csv", "t.parquet", "t.sqlite", "t.duckdb", "t.arff")]
    assert all(item == places[0] for item in places)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.duckdb", "t.sqlite", "t.arff"])
def test_a_profile_of_any_kind_is_that_of_the_table(sources, name):
    folder, table = sources
    expected, found = profile_table(table), profile_source(folder / name)
    for column in table:
        for key in ("rows", "missing", "low", "high", "unique", "type"):
            assert getattr(found.columns[column], key) == getattr(expected.columns[column], key), (column, key)
    assert found.columns["c"].values == table["c"].value_counts().to_dict()


def test_a_query_is_streamed(sources):
    folder, table = sources
    sample, report = sample_source(folder / "t.duckdb", 100, query="SELECT id FROM t WHERE x > 0")
    assert report["rows"] == (table["x"] > 0).sum() and list(sample.columns) == ["id"]
    with pytest.raises(ConfigError, match="needs them whole"):
        sample_source(folder / "t.csv", 100, query="SELECT * FROM source")


def test_several_files_are_one_source(tmp_path):
    for month in range(3):
        pd.DataFrame({"a": np.arange(100) + 100 * month}).to_csv(tmp_path / f"m{month}.csv", index=False)
    sample, report = sample_source(tmp_path / "m*.csv", 50, seed=0)
    assert report["rows"] == 300 and (sample["a"] == sample.index).all()
    pd.DataFrame({"b": [1]}).to_csv(tmp_path / "m9.csv", index=False)
    with pytest.raises(ContractError, match="same columns"):
        sample_source(tmp_path / "m*.csv", 50)


def test_more_rows_than_there_are(sources):
    folder, table = sources
    assert len(sample_source(folder / "t.csv", 10 * N)[0]) == N
    with pytest.raises(ConfigError, match="max_rows"):
        sample_source(folder / "t.csv", 0)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=12), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_a_sample_does_not_depend_on_how_the_source_is_cut(sizes, max_rows, seed):
    import pyarrow

    whole, cut, rows = Sampler(max_rows, seed), Sampler(max_rows, seed), pyarrow.table({"a": np.arange(sum(sizes))})
    whole.add(rows)
    for start, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        cut.add(rows.slice(int(start), size))
    assert whole.table()[1].tolist() == cut.table()[1].tolist() == cut.table()[0]["a"].to_pylist() and len(cut.table()[1]) == min(max_rows, sum(sizes))


def test_every_row_has_the_same_chance():
    import pyarrow

    counts, rows, draws = np.zeros(40), pyarrow.table({"a": np.arange(10)}), 3000
    for seed in range(draws):
        sampler = Sampler(10, seed)
        for _ in range(4):
            sampler.add(rows)
        counts[sampler.table()[1]] += 1
    expected = draws / 4
    assert ((counts - expected) ** 2 / (expected * 0.75)).sum() < 80, "chi-squared with 39 degrees of freedom stays below its 0.9999 quantile"


def test_a_large_source_is_sampled_where_few_rows_are_wanted(sources):
    folder, table = sources
    sample, reports = read_tables(folder / "t.csv", max_rows=400, seed=2, whole_bytes=1000)
    assert len(sample) == 400 and rows_not_read(reports) == N - 400 and (sample["row_id"] == sample["id"]).all()
    whole, reports = read_tables(folder / "t.csv", max_rows=400, seed=2)
    assert len(whole) == N and rows_not_read(reports) == 0, "a small one is read whole"
    prepared = prepare_table(sample.assign(y=sample["x"] > 0), target="y", positive_label="true", max_rows=400)
    assert len(prepared.table) == 400


def test_memory_does_not_grow_with_the_file(tmp_path):
    """Seven times as many rows, 30 MB more, need no more memory than the blocks and the sample do."""
    block = "".join(f"{i},{i % 97}.5,category {i % 7},2024-01-{i % 28 + 1:02d},{'word ' * (i % 5)}\n" for i in range(60_000))
    peaks = []
    for repeats in (2, 15):
        path = tmp_path / f"{repeats}.csv"
        with open(path, "w") as file:
            file.write("key,amount,kind,day,note\n")
            for _ in range(repeats):
                file.write(block)
        program = (f"import resource; from mlsys.data.profile import profile_source; profile_source({str(path)!r}); "
                   "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
        peaks.append(int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300).stdout) // (1024 if sys.platform != "darwin" else 1024**2))
        path.unlink()
    assert peaks[1] < peaks[0] + 25, peaks


def test_five_thousand_columns(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.integers(0, 100, (60, 5000)), columns=[f"x{i}" for i in range(5000)])
    table["x7"] = np.where(rng.random(60) < 0.1, "oops", table["x7"].astype(str))
    table.to_csv(tmp_path / "wide.csv", index=False)
    read, _ = read_source(tmp_path / "wide.csv")
    assert read.shape == (60, 5000) and profile_source(tmp_path / "wide.csv").columns["x7"].n_others == (table["x7"] == "oops").sum()

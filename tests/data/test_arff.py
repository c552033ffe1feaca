"""ARFF: every kind of column, sparse rows, and each contradiction with its line."""

import gzip

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError, ContractError
from mlsys.data.arff import ArffReader
from mlsys.data.infer import propose_contract
from mlsys.data.profile import profile_source
from mlsys.data.reader import kind_of
from mlsys.data.source import read_source

HEAD = """% A remark
@RELATION 'loan book'
@attribute amount\treal
@ATTRIBUTE 'home of the applicant' {rent,'own, paid' , "it's complicated", family}
@attribute note string
@attribute applied date "yyyy-MM-dd HH:mm"
@attribute term INTEGER
@data
"""


@pytest.fixture
def read(tmp_path):
    def read_arff(rows, head=HEAD, **options):
        path = tmp_path / "t.arff"
        path.write_text(head + rows)
        return read_source(path, **options)

    return read_arff


def test_every_kind_of_column(read):
    table, report = read("900.5,rent,'first, loan','2024-01-05 10:30',12\n% a remark\n\n?,'own, paid',?,?,24\n1e3,\"it's complicated\",'?',\"2024-03-01 00:00\",6\n")
    assert table.dtypes.astype(str).tolist() == ["float64", "str", "str", "datetime64[us]", "int64"]
    assert table["home of the applicant"].tolist() == ["rent", "own, paid", "it's complicated"]
    assert table["note"].tolist()[0] == "first, loan" and pd.isna(table["note"][1]) and table["note"][2] == "?", "a quoted question mark is a value"
    assert table["applied"][0] == pd.Timestamp("2024-01-05 10:30") and report["missing"] == {"amount": {"?": 1}, "note": {"?": 1}, "applied": {"?": 1}}
    assert report["declared"]["home of the applicant"] == ["rent", "own, paid", "it's complicated", "family"] and report["kind"] == "arff"


def test_sparse_rows_and_weights(read):
    table, report = read("{0 250, 3 '2024-03-01 00:00'}\n{1 family, 4 12}\n7,rent,x,'2024-01-05 10:30',3, {0.5}\n{}\n")
    assert table["amount"].tolist() == [250, 0, 7, 0] and table["home of the applicant"].tolist() == ["rent", "family", "rent", "rent"]
    assert table["term"].tolist() == [0, 12, 3, 0] and report["weighted_rows"] == 1 and report["missing"]["note"] == {"?": 3}


def test_escapes_and_tabs(read):
    table, _ = read("a\\'b\n", head="@relation r\n@attribute x string\n@data\n'it\\'s'\n\"say \\\"no\\\"\"\n")
    assert table["x"].tolist()[:2] == ["it's", 'say "no"']
    table, _ = read("1\tx\n2\ty\n", head="@relation r\n@attribute a numeric\n@attribute b {x,y}\n@data\n")
    assert table["a"].tolist() == [1, 2] and table["b"].tolist() == ["x", "y"]


@pytest.mark.parametrize(("rows", "words"), [
    ("1,rent,x\n", "line 9 has 3"), ("1,boat,x,?,3\n", "first on line 9, not one of its declared values"), ("1,rent,x,2024/01/01,3\n", "line 9, not a date"),
    ("much,rent,x,?,3\n", "amount: 1 values, first on line 9, not a numeric"), ("{9 3}\n", "line 9 has 0"), ("", "at least one row"),
])
def test_rows_that_contradict_the_head(read, rows, words):
    with pytest.raises((ContractError, ConfigError), match=words.replace("(", r"\(")) as caught:
        read(rows)
    assert "boat" not in str(caught.value) and "much" not in str(caught.value)


@pytest.mark.parametrize(("head", "words"), [
    ("@relation r\n@attribute a numeric\n", "no @data"), ("@relation r\n@attribute a complex\n@data\n", "line 2.*numeric, real"), ("@relation r\n@attribute a relational\n@data\n", "inside a column"),
    ("@relation r\nhello\n@data\n", "line 2"), ("@relation r\n@attribute a numeric\n@attribute a numeric\n@data\n1,2\n", "every name once"),
])
def test_broken_heads(read, head, words):
    with pytest.raises((ContractError, ConfigError), match=words):
        read("", head=head)


def test_it_is_known_by_its_bytes_packed_or_not(tmp_path):
    (tmp_path / "a.txt").write_text(HEAD + "1,rent,x,?,3\n")
    (tmp_path / "a.gz").write_bytes(gzip.compress((HEAD + "1,rent,x,?,3\n").encode()))
    assert kind_of(tmp_path / "a.txt") == kind_of(tmp_path / "a.gz") == "arff" and len(read_source(tmp_path / "a.gz")[0]) == 1
    (tmp_path / "b.arff").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="a arff file"):
        read_source(tmp_path / "b.arff")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(-1e9, 1e9)), st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\x85\u2028\u2029"), min_size=1, max_size=8)),
                min_size=1, max_size=20))
def test_what_weka_would_write_is_read_back(tmp_path_factory, rows):
    rows = [(number, text.strip() or "x") for number, text in rows]
    quoted = ["'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'" for _, text in rows]
    path = tmp_path_factory.mktemp("arff") / "t.arff"
    body = "".join(f"{'?' if number is None else repr(number)},{text}\n" for (number, _), text in zip(rows, quoted, strict=True))
    path.write_text("@relation r\n@attribute n numeric\n@attribute t string\n@data\n" + body, encoding="utf-8")
    table, _ = read_source(path)
    assert table["t"].tolist() == [text for _, text in rows]
    assert [None if pd.isna(value) else float(value) for value in table["n"]] == [number for number, _ in rows]


def test_pieces_are_the_whole(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "t.arff"
    path.write_text("@relation r\n@attribute n numeric\n@attribute c {a,b}\n@data\n" + "\n".join(f"{value},{kind}" for value, kind in zip(rng.integers(0, 99, 1000), rng.choice(["a", "b"], 1000), strict=True)))
    assert [piece.num_rows for piece in ArffReader(path).pieces(300)] == [300, 300, 300, 100]


def test_elec2(real_data):
    table, report = read_source(real_data / "elec2" / "elecNormNew.arff.gz")
    assert table.shape == (45_312, 9) and set(table["class"]) == {"UP", "DOWN"} and round((table["class"] == "DOWN").mean(), 4) == 0.5755
    other, _ = read_source(real_data / "elec2" / "elec.csv")
    assert np.allclose(table["nswprice"], other["nswprice"]) and report["declared"]["class"] == ["UP", "DOWN"]
    contract, _ = propose_contract(profile_source(real_data / "elec2" / "elecNormNew.arff.gz"))
    assert contract.columns["class"].values == ["UP", "DOWN"] and contract.columns["nswprice"].max == 1.0

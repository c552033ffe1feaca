"""Text in every encoding, packing and custom that is promised, and each finding with its reason."""

import bz2
import csv
import gzip
import io
import lzma
import zipfile

import pandas as pd
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError, ContractError
from mlsys.data.dialect import find_dialect, looks_like_header, sniff_delimiter
from mlsys.data.encoding import find_encoding, guess_encoding
from mlsys.data.source import describe_source, read_source, read_tables
from mlsys.data.text import TextReader, as_number, cut_plain_block, cut_rows, line_blocks

NAMES = "name,city,age\nJosé,São Paulo,34\nBjörn,Malmö,41\nZoë,Liège,29\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252"])
def test_western_text_is_read_in_every_encoding(write, encoding):
    table, report = read_source(write(NAMES.encode(encoding)))
    assert table["name"].tolist() == ["José", "Björn", "Zoë"] and table.columns.tolist() == ["name", "city", "age"]
    assert report["encoding"] in report["found"]["encoding"] and table["age"].dtype == "int64"


@pytest.mark.parametrize(("encoding", "text"), [
    ("cp1251", "имя;город\nАнна Петрова;Москва\nИван Сидоров;Нижний Новгород\nОльга Кузнецова;Санкт-Петербург\n" * 4),
    ("koi8-r", "имя;город\nАнна Петрова;Москва\nИван Сидоров;Нижний Новгород\nОльга Кузнецова;Санкт-Петербург\n" * 4),
    ("cp1250", "jméno;miasto\nZażółć gęślą jaźń;Łódź\nStanisław Wójcik;Kraków\nMałgorzata Wiśniewska;Gdańsk\n" * 4),
    ("shift_jis", "名前;都市\n山田太郎さんは日本の東京に住んでいます;東京都\n" * 6),
    ("gb18030", "姓名;城市\n张三住在中国的北京市;北京\n李四住在上海市;上海\n" * 6),
])
def test_other_scripts_are_guessed_and_say_so(write, encoding, text):
    table, report = read_source(write(text.encode(encoding)), has_header=False)
    assert table.iloc[1, 1] == text.splitlines()[1].split(";")[1]
    assert "guessed" in report["found"]["encoding"] and "data.encoding" in report["found"]["encoding"]


def test_a_configured_encoding_is_held_to_its_word(write):
    path = write(NAMES.encode("latin-1"))
    assert read_source(path, encoding="latin-1")[1]["found"]["encoding"].endswith("as configured")
    with pytest.raises(ConfigError, match="Line 2 holds the byte 0xe9"):
        read_source(path, encoding="utf-8")
    with pytest.raises(ConfigError, match="data.encoding.*utf-8, cp1252"):
        read_source(path, encoding="klingon")
    with pytest.raises(ConfigError, match="data.encoding"):
        read_source(path, encoding="base64")


def test_the_guess_is_the_same_wherever_the_letter_stands(write):
    """A letter beyond ASCII after a megabyte of plain text is found, and its line named."""
    content = b"a,b\n" + b"1,plain\n" * 300_000 + "2,café\n".encode("latin-1")
    encoding, how = find_encoding(write(content))
    assert encoding == "cp1252" and "line 300002" in how
    assert read_source(write(content))[0]["b"].iloc[-1] == "café"


def test_noise_is_no_text():
    assert guess_encoding(bytes(range(128, 256)) * 3) == ""


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: pyarrow.compress(data, "zstd", asbytes=True)])
def test_packed_files_are_known_by_their_bytes(write, pack):
    table, report = read_source(write(pack(NAMES.encode()), "table.csv"))
    assert len(table) == 3 and report["found"]["packing"] in ("gzip", "bz2", "xz", "zstd")


def test_an_archive_of_one_file_is_read_and_one_of_two_is_not(tmp_path):
    for name, members in (("one.zip", ["a.csv"]), ("two.zip", ["a.csv", "b.csv"]), ("book.xlsx", ["[Content_Types].xml", "sheet.xml"])):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member in members:
                archive.writestr(member, NAMES)
    assert len(read_source(tmp_path / "one.zip")[0]) == 3
    with pytest.raises(ConfigError, match="a.csv, b.csv"):
        read_source(tmp_path / "two.zip")
    with pytest.raises(ConfigError, match="Excel"):
        read_source(tmp_path / "book.xlsx")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "~", "\x01"])
def test_delimiters_beside_other_delimiters(write, delimiter):
    rows = [["name", "at", "amount"], ["a b", "2024-01-01 10:00", "1.5"], ["c d e", "2024-01-02 11:00", "2.25"], ["f", "2024-01-03 12:00", "3.0"]]
    table, report = read_source(write("\n".join(delimiter.join(row) for row in rows) + "\n"))
    assert report["delimiter"] == delimiter and table["amount"].tolist() == [1.5, 2.25, 3.0]


def test_quotes_hide_delimiters_and_line_breaks(write):
    table, _ = read_source(write('id,note\n1,"two\nlines, and a comma"\n2,"a ""quoted"" word"\n3,plain\n'))
    assert table["note"].tolist() == ["two\nlines, and a comma", 'a "quoted" word', "plain"]
    assert sniff_delimiter('a;b\n"x,y,z";1\n"u,v,w";2\n') == ";"


def test_decimal_commas_and_thousands(write):
    table, report = read_source(write("id;amount;share;code\n1;1.234,50;0,5;1,234\n2;12,00;0,75;5,678\n3;1.000.000,00;1,0;9,012\n"))
    assert report["decimal"] == "," and table["amount"].tolist() == [1234.5, 12.0, 1_000_000.0] and table["share"].tolist() == [0.5, 0.75, 1.0]
    assert table["code"].tolist() == [1.234, 5.678, 9.012], "the file's custom is proved by its other columns"
    table, report = read_source(write('id,amount,share\n1,"1,234.50",0.5\n2,12.00,0.75\n'))
    assert report["decimal"] == "." and table["amount"].tolist() == [1234.5, 12.0]


def test_an_unproved_comma_stays_text_and_can_be_configured(write):
    path = write("id;amount\n1;1,234\n2;5,678\n")
    assert read_source(path)[0]["amount"].tolist() == ["1,234", "5,678"]
    assert read_source(path, decimal=",")[0]["amount"].tolist() == [1.234, 5.678]
    assert read_source(path, decimal=".")[0]["amount"].tolist() == [1234, 5678]
    with pytest.raises(ConfigError, match="data.decimal"):
        read_source(path, decimal=";")


def test_a_point_in_a_file_of_decimal_commas_is_not_a_decimal():
    assert as_number(pd.Series(["1.234", "2.000"], dtype="str"), ",").tolist() == [1234, 2000]
    assert as_number(pd.Series(["3.14", "2.71"], dtype="str"), ",").tolist() == ["3.14", "2.71"]


def test_headers_are_found_or_missed_in_words(write):
    path = write("39, State-gov, <=50K\n50, Private, >50K\n38, Private, <=50K\n")
    table, report = read_source(path, has_header=None)
    assert table.columns.tolist() == ["column_1", "column_2", "column_3"] and len(table) == 3 and not report["has_header"]
    assert "BUT the first row looks like values" in read_source(path)[1]["found"]["header"]
    assert looks_like_header([["country", "1990", "1991", "1992"], ["France", "5.1", "6.2", "7.3"], ["Chad", "0.2", "0.4", "0.1"]])
    assert not looks_like_header([["a", "b"], ["b", "a"], ["a", "a"]])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["red", "green", "blue"]), st.floats(0, 1)), min_size=5, max_size=30), st.booleans())
def test_a_header_over_numbers_is_always_found(rows, with_header):
    written = [[str(value) for value in row] for row in rows]
    assert looks_like_header(([["age", "colour", "share"]] if with_header else []) + written) == with_header


def test_comments_preambles_and_trailing_delimiters(write):
    table, report = read_source(write("# exported by the branch\n# on a Monday\nid;b;\n1;x;\n2;y;\n"))
    assert table.columns.tolist() == ["id", "b"] and report["preamble_lines"] == 2 and report["trailing_delimiter"]
    assert read_source(write("sep=;\na;b\n1,5;2\n"))[0].columns.tolist() == ["a", "b"]
    table, report = read_source(write("a,b\n1,x,\n2,y,\n"))
    assert table.columns.tolist() == ["a", "b"] and table["b"].tolist() == ["x", "y"]
    assert read_source(write("#id,b\n1,x\n"))[0].columns.tolist() == ["#id", "b"], "a first line that is cut like the rows is a header"


def test_a_value_behind_the_last_delimiter_is_no_secret(write):
    text = "a,b,\n" + "1,x,\n" * 1500 + "2,y,surprise\n"
    with pytest.raises(ContractError, match="ends with a delimiter"):
        read_source(write(text))


def test_blanks_are_trimmed_and_counted(write):
    table, report = read_source(write("a,b\n1,  x\n2,y \n3,z\n"))
    assert table["b"].tolist() == ["x", "y", "z"] and report["blanks"] == {"b": 2}


def test_ragged_rows_after_a_block_have_their_lines(write):
    """Rows are cut in blocks; the line of a bad one is counted over all of them."""
    rows = "".join(f"{i},{'x' * 40}\n" for i in range(150_000))
    with pytest.raises(ContractError) as caught:
        read_source(write("a,b\n" + rows + "7\n" + rows + "8,9,10\n"))
    assert "2 ragged rows" in str(caught.value) and "line 150002 has 1" in str(caught.value) and "line 300003 has 3" in str(caught.value)


TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\x85\u2028\u2029"), max_size=6)


@settings(max_examples=120, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=30), delimiter=st.sampled_from([",", ";", "\t"]), quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
       end=st.sampled_from(["\n", "\r\n"]))
def test_the_fast_way_gives_what_the_reference_gives(rows, delimiter, quoting, end):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)
    fast = cut_plain_block(text.getvalue().encode(), delimiter, 3)
    if fast is None:
        return
    slow, _, skipped = cut_rows(text.getvalue(), delimiter)
    assert not any(skipped.values())
    assert [[value.strip() for value in row] for row in slow] == [[value.strip() for value in row.values()] for row in fast.to_pylist()]


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=60), size=st.integers(1, 200))
def test_blocks_hold_all_of_a_file_however_they_are_cut(tmp_path_factory, rows, size):
    path = tmp_path_factory.mktemp("blocks") / "t.csv"
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("a", "b"), *[(f"x{left}", right) for left, right in rows]])
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    dialect = find_dialect(path, encoding="utf-8", delimiter=",")
    assert b"".join(line_blocks(path, dialect, size)) == text.getvalue().encode()
    reader = TextReader(path, encoding="utf-8", delimiter=",")
    assert sum(piece.num_rows for piece in reader.pieces()) == len(rows) == reader.report()["rows"]


def test_what_was_found_is_shown_for_each_part(write):
    train, test = write(NAMES, "train.csv"), write(NAMES.encode("latin-1"), "test.csv")
    _, reports = read_tables(train, test)
    shown = describe_source(reports)
    assert shown.columns.tolist() == ["train", "test"] and "guessed" in shown.loc["encoding", "test"] and shown.loc["rows", "train"] == "3"

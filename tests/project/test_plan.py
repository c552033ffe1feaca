"""Plans: files as people have them, names as people write them, and what nobody can know is asked for."""

import gzip
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsys.core import ConfigError
from mlsys.pipeline.plan import Choice, library_of, make_plan, safe_file, safe_name
from mlsys.pipeline.project import behaviour_option, data_option, objective_option, yaml_entry

ODD = [">50K", "<=50K", "-", "=", "~", "y", "on", "1", "with blank", "größe", 'say "hi"', "it's", "select", "a=b", "a.b", "1st", "x" * 300, "${seed}", "# no", "a: b", "null", "50%", "tab\there", "[0]", "{k}", "new\\line", "\u202fthin", "目的"]


def write(folder, text, name="table.csv", encoding="utf-8"):
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def rows(n=80):
    """Rows of a small table with an outcome."""
    return [(i, 20 + i * 7 % 50, "fm"[i % 2], 100 + i * 37 % 900, "yes" if i % 4 == 0 else "no") for i in range(n)]


def csv(header, body, delimiter=","):
    return delimiter.join(header) + "\n" + "".join(delimiter.join(map(str, row)) + "\n" for row in body)


def test_what_is_said_is_taken_and_checked(tmp_path):
    path = write(tmp_path, csv(["n", "age", "sex", "amount", "bought"], rows()))
    plan = make_plan(tmp_path / "shop", path, target="sex", positive="f", sensitive=[], time="none", entity="none")
    assert (plan.target, plan.positive, plan.sensitive) == ("sex", "f", [])
    with pytest.raises(ConfigError, match="Did you mean bought"):
        make_plan(tmp_path / "shop", path, target="boght")
    with pytest.raises(ConfigError, match="--positive"):
        make_plan(tmp_path / "shop", path, positive="maybe")
    with pytest.raises(ConfigError, match="holds text"):
        make_plan(tmp_path / "shop", path, problem="regression")
    with pytest.raises(ConfigError, match="--sensitive"):
        make_plan(tmp_path / "shop", path, sensitive=["sexx"])


def test_what_is_not_clear_is_asked_for(tmp_path):
    path = write(tmp_path, csv(["a", "b", "c"], [(i % 2, i // 2 % 2, i // 3 % 2) for i in range(60)]))
    with pytest.raises(ConfigError, match=r"(?s)Candidates.*--target COLUMN"):
        make_plan(tmp_path / "shop", path)
    asked = []

    def ask(choice, option):
        asked.append((choice.part, option))
        return "b"

    assert make_plan(tmp_path / "shop", path, ask=ask).target == "b" and asked == [("target", "--target")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_delimiters_and_encodings(tmp_path, delimiter, encoding):
    body = [(i, "Köln" if i % 2 else "Málaga", i * 1.5, i % 3 // 2) for i in range(60)]
    plan = make_plan(tmp_path / "shop", write(tmp_path, csv(["nr", "stadt", "betrag", "ausfall"], body, delimiter), encoding=encoding))
    assert plan.target == "ausfall" and set(plan.reading.table["stadt"]) == {"Köln", "Málaga"} and plan.exclude == ["nr"]


def test_no_header_is_noticed_and_names_can_be_given(tmp_path):
    path = write(tmp_path, "".join(",".join(map(str, row)) + "\n" for row in rows()))
    plan = make_plan(tmp_path / "shop", path)
    assert plan.target == "column_5" and "no header" in plan.notes[0]
    named = make_plan(tmp_path / "shop", path, columns=["n", "age", "sex", "amount", "bought"])
    assert named.target == "bought" and named.reading.options["has_header"] is False and len(named.reading.table) == 80


def test_a_name_that_stands_twice_or_is_reserved_is_changed(tmp_path):
    path = write(tmp_path, csv(["part", "age", "x", "x", "bought"], rows()))
    plan = make_plan(tmp_path / "shop", path)
    assert plan.reading.options["columns"] == ["part_2", "age", "x", "x_2", "bought"] and "renamed" in " ".join(plan.notes)


def test_markers_and_dots_and_blanks_are_seen(tmp_path):
    body = [(i, "?" if i % 9 == 0 else i, " clerk" if i % 2 else "cook", ">50K." if i % 4 == 0 else "<=50K.") for i in range(80)]
    plan = make_plan(tmp_path / "shop", write(tmp_path, csv(["n", "pay", "job", "income"], body)))
    assert plan.reading.options["missing_values"] == ["?"] and plan.positive == ">50K"
    assert plan.contract.columns["pay"].nullable and set(plan.contract.columns["job"].values) == {"clerk", "cook"}
    assert any("?" in note for note in plan.notes) and any("blanks" in note for note in plan.notes)


def test_dates_in_another_form_are_converted(tmp_path):
    body = [(f"{1 + i % 28:02d}.{1 + i // 28:02d}.2023", i % 7, i % 4 // 3) for i in range(80)]
    plan = make_plan(tmp_path / "shop", write(tmp_path, csv(["Antragsdatum", "x", "Ausfall"], body)))
    assert plan.time == "Antragsdatum" and plan.contract.columns["Antragsdatum"].type == "time" and "strptime" in plan.derive[0]
    unclear = [(f"{1 + i % 12:02d}/{1 + i % 11:02d}/2023", i % 7, i % 4 // 3) for i in range(80)]
    plan = make_plan(tmp_path / "shop", write(tmp_path, csv(["date", "x", "Ausfall"], unclear)))
    assert plan.time == "" and any("fit all of them" in note for note in plan.notes)


def test_an_age_is_assessed_in_groups_and_is_no_input(tmp_path):
    plan = make_plan(tmp_path / "shop", write(tmp_path, csv(["n", "age", "sex", "amount", "bought"], rows())))
    assert plan.sensitive == ["age_group", "sex"] and "age" in plan.exclude and plan.derive[0].startswith("age_group = CASE")
    wealth = make_plan(tmp_path / "shop", write(tmp_path, csv(["n", "age", "sex", "amount", "bought"], rows())), sensitive=["amount"])
    assert wealth.sensitive == ["amount_group"] and "amount" in wealth.exclude


def test_problems(tmp_path):
    body = [(i, i % 3, i * 1.7 % 11, ["red", "green", "blue"][i % 3]) for i in range(120)]
    path = write(tmp_path, csv(["i", "k", "cost", "kind"], body))
    assert make_plan(tmp_path / "s", path, target="kind").problem == "multiclass"
    assert make_plan(tmp_path / "s", path, target="cost").problem == "regression"
    assert make_plan(tmp_path / "s", path, target="k", problem="regression").problem == "regression"
    assert make_plan(tmp_path / "s", path, target="cost").positive == ""
    path = write(tmp_path, csv(["i", "same"], [(i, 1) for i in range(30)]))
    with pytest.raises(ConfigError, match="the same in every row"):
        make_plan(tmp_path / "s", path, target="same")


def test_a_test_file_belongs_to_the_contract(tmp_path):
    path = write(tmp_path, csv(["n", "age", "sex", "amount", "bought"], rows()))
    test = write(tmp_path, csv(["n", "age", "sex", "amount", "bought"], [(999, 30, "d", 5, "yes"), (1000, 31, "d", 5, "no")]), "test.csv")
    assert "d" in make_plan(tmp_path / "s", path, test=test).contract.columns["sex"].values


def test_gzip_parquet_and_a_database(tmp_path):
    import sqlite3

    table = pd.DataFrame(rows(), columns=["n", "age", "sex", "amount", "bought"])
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    table.to_parquet(tmp_path / "a.parquet")
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:
        table.to_sql("sales", connection, index=False)
    connection.close()
    for name, query in (("a.csv.gz", ""), ("a.parquet", ""), ("a.sqlite", "SELECT * FROM sales WHERE n < 60"), ("a.parquet", "SELECT * FROM source WHERE n < 60")):
        plan = make_plan(tmp_path / "s", tmp_path / name, query=query)
        assert plan.target == "bought" and len(plan.reading.table) == (60 if query else 80), name


@pytest.mark.parametrize("text", ["", "\n\n", "a,b\n", "a,b\n1,2\n1,2,3\n"])
def test_a_file_that_is_no_table_is_refused_in_words(tmp_path, text):
    from mlsys.core import MlsysError

    with pytest.raises(MlsysError, match="allowed|row"):
        make_plan(tmp_path / "s", write(tmp_path, text), target="a")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_name_becomes_a_safe_one(text):
    name = safe_name(text)
    assert re.fullmatch(r"[a-z_][a-z0-9_]{0,47}", name)
    assert library_of(name).isidentifier()
    if text.strip("/. \0") and "\0" not in text:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", safe_file(Path(text.strip("/") or "x")))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=30), st.sampled_from(ODD)), max_size=4))
def test_any_text_survives_the_configuration(values):
    """Through our YAML, OmegaConf and the writing of params.yaml."""
    from omegaconf import OmegaConf

    values = [value for value in values if yaml.reader.Reader.NON_PRINTABLE.search(value) is None]
    text = yaml_entry("names", values, "a comment") + "\n" + yaml_entry("one", values[0] if values else "")
    config = OmegaConf.create(yaml.safe_load(text))
    OmegaConf.resolve(config)
    assert OmegaConf.to_container(config) == {"names": values, "one": values[0] if values else ""}


def test_every_key_of_the_schema_is_written_with_its_type(tmp_path):
    from mlsys.pipeline.schema import (
        BehaviourConfig,
        DataConfig,
        ObjectiveConfig,
        _group_faults,
        behaviour_faults,
    )

    for options, problem in (({"target": "bought"}, "binary"), ({"target": "amount"}, "regression")):
        plan = make_plan(tmp_path / "s", write(tmp_path, csv(["n", "age", "sex", "amount", "bought"], rows())), **options)
        assert plan.problem == problem
        data, behaviour = yaml.safe_load(data_option(plan, "data/x.csv")), yaml.safe_load(behaviour_option(plan))
        assert data.pop("defaults")[0] == {"override /behaviour@_global_.behaviour": plan.name}
        assert not _group_faults("data", DataConfig, data) and not _group_faults("behaviour", BehaviourConfig, behaviour) and not behaviour_faults(behaviour)
        assert [test["kind"] for test in behaviour["tests"]] == ["invariance"] * len(plan.sensitive) + ["perturbation"] * 2 and plan.sensitive
        objective = yaml.safe_load(objective_option(plan))
        assert not _group_faults("objective", ObjectiveConfig, objective) and objective["tolerance"] > 0


def test_a_large_file_is_sampled_and_its_contract_knows_all_rows(tmp_path, monkeypatch):
    from mlsys.pipeline import plan as module

    monkeypatch.setattr(module, "WHOLE_BYTES", 10)
    monkeypatch.setattr(module, "SAMPLE", 50)
    plan = make_plan(tmp_path / "s", write(tmp_path, csv(["n", "age", "sex", "amount", "bought"], rows(400))), target="bought", sensitive=[])
    assert len(plan.reading.table) == 50 and plan.contract.rows == 400 and any("large" in note for note in plan.notes)


def test_nothing_stands_out_in_an_empty_choice():
    assert Choice("time").best is None and not Choice("time").is_clear


def test_five_thousand_columns(tmp_path):
    import numpy as np

    generator = np.random.default_rng(0)
    table = pd.DataFrame(generator.normal(size=(40, 5000)).round(2), columns=[f"c{i}" for i in range(5000)]).assign(target=[i % 2 for i in range(40)])
    table.to_parquet(tmp_path / "wide.parquet")
    plan = make_plan(tmp_path / "s", tmp_path / "wide.parquet")
    assert plan.target == "target" and len(plan.contract.columns) == 5001

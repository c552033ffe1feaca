"""A fault in the input is a message and exit code 2, through the command line, with nothing half-written."""

import gzip
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPO, run

ROWS = 300


def good_table():
    """A table with a time, a group, a sensitive column and a target that can be learnt."""
    rng = np.random.default_rng(1)
    age = rng.integers(18, 80, ROWS)
    return pd.DataFrame({
        "seen_at": pd.date_range("2025-01-01", periods=ROWS, freq="D").strftime("%Y-%m-%d"),
        "customer": np.arange(ROWS) // 2,
        "age": age,
        "income": rng.normal(30, 8, ROWS).round(2),
        "sex": rng.choice(["f", "m"], ROWS),
        "late": np.where(rng.random(ROWS) < age / 100, "yes", "no"),
    })  # fmt: skip


def settings(path, **changes):
    """conf/data/mine.yaml for a table at a path."""
    lending = yaml.safe_load((REPO / "conf/data/lending.yaml").read_text())
    mine = {**lending, "name": "mine", "path": path, "target": "late", "positive_label": "yes", "time": "seen_at", "group": "customer"}
    mine |= {"sensitive": ["sex"], "exclude": [], "derive": [], "contract": "conf/contract/none.yaml", "label_delay_days": 0}
    return {**mine, **changes}


@pytest.fixture
def mine(project):
    """A project whose stage prepare reads the file that a test writes."""
    shutil.copy(REPO / "nbs/stages/prepare.ipynb", project.root / "nbs/stages")
    shutil.copy(REPO / "conf/objective/adult.yaml", project.root / "conf/objective/mine.yaml")

    def prepare(content, name="mine.csv", **changes):
        if content is not None:
            path = project.root / name
            path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
        (project.root / "conf/data/mine.yaml").write_text(yaml.safe_dump(settings(name, **changes)))
        composed = project.run("compose", "data=mine")
        return composed if composed.returncode else project.run("run", "prepare")

    prepare.root = project.root
    return prepare


def csv(**changes):
    """The good table as CSV, with some columns replaced."""
    return good_table().assign(**changes).to_csv(index=False)


def with_line(number, text):
    """The good table as CSV with one line replaced."""
    lines = csv().splitlines()
    lines[number] = text
    return "\n".join(lines) + "\n"


FAULTS = {
    "a missing file": (None, {}, r"mine\.csv"),
    "an empty file": ("", {}, "empty"),
    "a header only": (csv().splitlines()[0] + "\n", {}, "row"),
    "no such target": (csv(), {"target": "lat"}, "Did you mean late"),
    "a constant target": (csv(late="yes"), {}, "late"),
    "three outcomes": (csv(late=["yes", "no", "maybe"] * (ROWS // 3)), {}, "late"),
    "a positive label that is not there": (csv(), {"positive_label": "true"}, "positive_label"),
    "no such column": (csv(), {"exclude": ["incme"]}, "Did you mean income"),
    "no such sensitive column": (csv(), {"sensitive": ["sx"]}, "Did you mean sex"),
    "a date that is none": (with_line(7, "soon,3,40,30.1,f,no"), {}, r"seen_at.*(row|line)|(row|line).*seen_at"),
    "two columns of one name": (csv().replace("income", "age", 1), {}, "age"),
    "not UTF-8": (csv().replace("sex", "s\xe9x").encode("latin-1"), {"encoding": "utf-8"}, "(?i)utf-8"),
    "ragged rows": (with_line(5, "2025-01-05,2,40,30.1"), {}, "(?i)line 6|row 5|fields|columns"),
    "infinite values": (with_line(4, "2025-01-04,1,40,inf,f,no"), {}, "income: broken in 1 of 300 rows: finite"),
    "an infinite target": (with_line(4, "2025-01-04,1,40,inf,f,no"), {"target": "income", "positive_label": "", "problem": "regression"}, "income.*infinite|income: broken in 1 of 300"),
    "a target of names": (csv(late=[f"name {row}" for row in range(ROWS)]), {"positive_label": ""}, "300 different texts"),
    "a target of words that should be numbers": (csv(late=["much"] + ["3"] * (ROWS - 1)), {"positive_label": "", "problem": "regression"}, "no numbers.*'much'"),
    "an unknown problem": (csv(), {"problem": "classification"}, "data.problem"),
    "a truncated gzip": (gzip.compress(csv().encode())[:-20], {"path": "mine.csv.gz"}, r"mine\.csv\.gz"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_explained(mine, fault):
    content, changes, words = FAULTS[fault]
    done = mine(content, changes.get("path", "mine.csv"), **{key: value for key, value in changes.items() if key != "path"})
    message = done.stdout + done.stderr
    assert done.returncode == 2, message
    assert re.search(words, message, re.DOTALL), message
    assert "Traceback" not in message
    assert not (mine.root / "artifacts/prepare").exists() and not (mine.root / "reports/metrics").exists()


def test_the_good_table_passes(mine):
    done = mine(csv())
    assert done.returncode == 0, done.stderr
    assert len(pd.read_parquet(mine.root / "artifacts/prepare/table.parquet")) == ROWS


@pytest.mark.parametrize("rows", [0, 1])
def test_a_group_of_no_or_one_row_is_said_not_fatal(mine, rows):
    sex = ["x"] * rows + ["f", "m"] * ROWS
    done = mine(csv(sex=sex[:ROWS]))
    assert done.returncode == 0, done.stderr


def test_a_missing_source_stops_repro_before_dvc(mine):
    mine(csv())
    (mine.root / "mine.csv").rename(mine.root / "mini.csv")
    done = run(["mlsys", "repro"], mine.root)
    assert done.returncode == 2 and "mini.csv" in done.stderr

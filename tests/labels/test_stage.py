"""The stages prepare and label on small tables of each kind: a finished one, late outcomes, votes."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPO

DATA = ["data.name=small", "data.test_path=", "data.openml=", "data.group=", "data.sensitive=[]", "data.exclude=[]", "data.contract=conf/contract/none.yaml"]


@pytest.fixture
def stages(project):
    """A project with the stages prepare and label, and a table of 400 rows."""
    for name in ("prepare", "label"):
        shutil.copy(REPO / "nbs" / "stages" / f"{name}.ipynb", project.root / "nbs" / "stages")
    generator = np.random.default_rng(0)
    bad = generator.random(400) < 0.4
    project.table = pd.DataFrame({
        "loan": range(400), "day": pd.date_range("2024-01-01", periods=400, freq="6h"), "x": generator.normal(bad, 1), "z": generator.normal(-1.0 * bad, 1),
        "known": pd.Series(np.where(bad, "bad", "good")).where(pd.Series(range(400)) % 4 == 0),
    })  # fmt: skip
    project.bad = bad
    return project


def run(project, *overrides):
    """Compose, run both stages, and return what the second wrote."""
    project.table.to_csv(project.root / "table.csv", index=False)
    project.compose(*DATA, "data.path=table.csv", "data.target=bad", "data.positive_label=bad", "data.time=day", "data.label_delay_days=10", *overrides)
    for stage in ("prepare", "label"):
        done = project.run("run", stage)
        if done.returncode:
            return done
    folder = project.root / "artifacts" / "label"
    metrics = json.loads((project.root / "reports" / "metrics" / "label.json").read_text())
    return pd.read_parquet(folder / "table.parquet"), json.loads((folder / "roles.json").read_text()), metrics


def test_a_finished_table_and_a_day(stages):
    stages.table = stages.table.drop(columns="known").assign(bad=np.where(stages.bad, "bad", "good"))
    table, roles, metrics = run(stages)
    assert len(table) == 400 and roles["classes"] == ["good", "bad"] and metrics["maturity"]["mature"] == 400
    table, _, metrics = run(stages, "labels.as_of=2024-03-31", "labels.keep=[loan]")
    assert table["day"].max() <= pd.Timestamp("2024-03-21 23:59:59") and "loan" not in table
    assert metrics["maturity"]["not mature"] == 400 - len(table) > 0


def test_late_outcomes(stages):
    seen = stages.table["day"] + pd.Timedelta(days=5)
    pd.DataFrame({"loan": range(400), "status": np.where(stages.bad, "bad", "good"), "seen": seen})[stages.bad].to_csv(stages.root / "outcomes.csv", index=False)
    stages.table = stages.table.drop(columns="known")
    chosen = ["labels=delayed", "labels.outcomes_path=outcomes.csv", "labels.key=loan", "labels.outcome=status", "labels.outcome_known_at=seen"]
    table, roles, metrics = run(stages, *chosen, "labels.absent_outcome=good", "labels.as_of=2024-03-31")
    assert (table["bad"] == stages.bad[table["row_id"]]).all() and "loan" not in table and roles["positive_label"] == "bad"
    assert metrics["maturity"] == {"mature": len(table), "not mature": 400 - len(table), "unknown": 0}
    assert table["day"].max() <= pd.Timestamp("2024-03-21 23:59:59")


def test_votes(stages):
    rules = ["high_x = CASE WHEN x > 0.8 THEN 'bad' END", "low_x = CASE WHEN x < 0 THEN 'good' END", "high_z = CASE WHEN z > -0.2 THEN 'good' END", "low_z = CASE WHEN z < -1 THEN 'bad' END"]
    chosen = yaml.safe_load((stages.root / "conf" / "labels" / "weak.yaml").read_text()) | {"functions": rules, "classes": ["good", "bad"], "gold": "known"}
    (stages.root / "conf" / "labels" / "mine.yaml").write_text(yaml.safe_dump(chosen))
    table, roles, metrics = run(stages, "labels=mine")
    assert (table["part"] == "test").sum() == 100 and metrics["verdict"]["n_gold"] == 100 and "known" not in table
    test = table[table["part"] == "test"]
    assert (test["bad"] == stages.bad[test["row_id"]]).all() and roles["classes"] == ["good", "bad"]
    train = table[table["part"] == "train"]
    assert (train["bad"] == stages.bad[train["row_id"]]).mean() > 0.6


def test_a_rule_that_cannot_be_read_is_a_message(stages):
    done = run(stages, "labels=weak", "labels.classes=[good,bad]", 'labels.functions=["rule = CASE WHEN y > 1 THEN \'bad\' END"]')
    assert done.returncode and "rule = CASE" in done.stderr + done.stdout and "Traceback" not in done.stderr

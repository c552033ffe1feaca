"""A quantity and several classes, on generated tables: from a file to a model card, with the stages as they are."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import REPO, make_once, run
from test_end_to_end import make_copy

ROWS = 900


def generated():
    """Trips with a tip, which has a heavy tail, and a way to pay, one of which is rare and one of which comes once."""
    rng = np.random.default_rng(5)
    miles = rng.gamma(2, 2, ROWS).round(2)
    table = pd.DataFrame({
        "began": (pd.Timestamp("2025-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 90 * 24, ROWS)), "h")).strftime("%Y-%m-%d %H:%M"),
        "driver": rng.integers(0, 300, ROWS), "miles": miles, "zone": rng.choice(["north", "south", "west"], ROWS), "sex": rng.choice(["f", "m"], ROWS),
        "repair": rng.uniform(1, 9, ROWS).round(2),
    })  # fmt: skip
    table["tip"] = (np.exp(rng.normal(0, 0.7, ROWS)) * miles + 2 * (table["zone"] == "south")).round(2)
    table["payment"] = np.where(miles + rng.normal(0, 2, ROWS) > 3.5, "1", np.where(rng.random(ROWS) < 0.06, "3", "2"))
    table.loc[40, "payment"] = "4"
    return table


PROBLEMS = {
    "regression": {"target": "tip", "exclude": ["payment"], "objective": {"cost_under": "repair", "cost_over": 2.0}, "metrics": {"mae", "rmse", "r2", "covered_share", "pinball_loss"}},
    "multiclass": {"target": "payment", "exclude": ["tip", "repair"], "objective": {"class_costs": ["3 -> 1 = 4", "1 -> 3 = 2"]}, "metrics": {"macro_auc", "macro_f1", "log_loss", "balanced_accuracy"}},
}


def run_problem(problem, folder):
    """Copy the repository, and run it with few rows of a generated table."""
    told = PROBLEMS[problem]
    make_copy(folder)
    generated().to_csv(folder / "trips.csv", index=False)
    data = yaml.safe_load((REPO / "conf/data/lending.yaml").read_text()) | {
        "name": "trips", "path": "trips.csv", "target": told["target"], "positive_label": "", "problem": problem, "time": "began", "group": "",
        "sensitive": ["sex"], "exclude": told["exclude"], "derive": [], "contract": "conf/contract/none.yaml", "label_delay_days": 0,
    }  # fmt: skip
    del data["defaults"]  # the features of the bundled table
    if problem == "multiclass":
        data["derive"] = ["payment = CAST(payment AS VARCHAR)"]
    objective = {"statement": "Be prepared.", "unit": "USD", "tolerance": 1.0, "gates": ["cost_per_1000 <= 1e12"]} | told["objective"]
    (folder / "conf/data/trips.yaml").write_text(yaml.safe_dump(data))
    (folder / "conf/objective/trips.yaml").write_text(yaml.safe_dump(objective))
    composed = run(["mlsys", "compose", "data=trips", "profile=smoke"], folder)
    assert composed.returncode == 0, composed.stderr
    process = run(["mlsys", "repro"], folder)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    (folder / "screen.txt").write_text(process.stdout)


@pytest.fixture(scope="module", params=PROBLEMS)
def done(request, tmp_path_factory):
    """A copy of the repository after a smoke run on a generated table, and what the run printed."""
    folder = make_once(tmp_path_factory, request.param, lambda folder: run_problem(request.param, folder))
    return request.param, folder, (folder / "screen.txt").read_text()


def test_the_whole_pipeline_runs_and_says_what_suits(done):
    problem, folder, screen = done
    cards = json.loads((folder / "reports/metrics/evaluate.json").read_text())
    third = "linear" if problem == "regression" else "logistic"
    assert set(cards) == {"constant", "rule", third, "boosted", "network"}
    assert all(PROBLEMS[problem]["metrics"] | {"cost_per_1000", "saving_per_1000"} <= set(card) for card in cards.values())
    assert "auc_roc" not in cards[third] and ("MAE" in screen) == (problem == "regression") and ("macro F1" in screen) == (problem == "multiclass")


def test_what_is_learnt_beats_the_constant(done):
    problem, folder, _ = done
    cards = json.loads((folder / "reports/metrics/evaluate.json").read_text())
    metric = "macro_auc" if problem == "multiclass" else "r2"
    assert cards["boosted"][metric]["value"] > cards["constant"][metric]["value"] + 0.05


def test_the_files_are_what_later_stages_and_people_read(done):
    problem, folder, _ = done
    roles = json.loads((folder / "artifacts/prepare/roles.json").read_text())
    assert roles["problem"] == problem and roles["cost_columns"] == (["repair"] if problem == "regression" else [])
    assert roles["classes"] == (["1", "2", "3", "4"] if problem == "multiclass" else []) and "repair" not in roles["numeric"]
    model = json.loads((folder / "artifacts/select/model.json").read_text())
    assert model["problem"] == problem and model["threshold"] is None and model["costs"]
    for name, columns in (("reliability", ["model", "rows", "mean_score", "positive_share", "low", "high"]), ("cost", ["model", "threshold", "cost_per_1000"])):
        table = pd.read_csv(folder / f"artifacts/evaluate/{name}.csv")
        assert set(columns) <= set(table) and np.isfinite(table[columns[1:]]).all().all()
    card = (folder / "artifacts/select/card.md").read_text()
    assert ("`mae`" in card) == (problem == "regression") and "Be prepared." in card
    assert "cash" not in card and not re.search(r"\bnan\b", card)


def test_the_same_seed_gives_the_same_files(done):
    _, folder, _ = done
    before = {path: path.read_bytes() for name in ("baseline", "train") for path in (folder / "artifacts" / name).glob("*.s*s")}
    assert len(before) == 5
    for stage in ("train", "baseline"):
        assert run(["mlsys", "run", stage], folder).returncode == 0
    assert all(path.read_bytes() == content for path, content in before.items())

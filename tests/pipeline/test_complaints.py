"""Complaints reach the stage that assesses, by the case that they are about, and a gate on them can be judged; nobody's words do."""

import json

import pandas as pd
import pytest
import yaml
from conftest import REPO, run
from test_end_to_end import make_copy
from test_problems import PROBLEMS, generated

SECRET = "They read my name and laughed"


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """A smoke run of what assess needs, on a quantity, with complaints of which those of one sex are upheld."""
    folder, table = make_copy(tmp_path_factory.mktemp("heard") / "project"), generated()
    table.assign(trip=[f"T{row}" for row in range(len(table))]).to_csv(folder / "trips.csv", index=False)
    data = yaml.safe_load((REPO / "conf/data/lending.yaml").read_text()) | {
        "name": "trips", "path": "trips.csv", "target": "tip", "positive_label": "", "problem": "regression", "time": "began", "group": "", "sensitive": ["sex"],
        "exclude": ["payment", "trip"], "derive": [], "contract": "conf/contract/none.yaml", "label_delay_days": 0,
    }  # fmt: skip
    del data["defaults"]
    gates = ["cost_per_1000 <= 1e12", "upheld_complaints_difference:sex <= 2", "mean_absolute_error_difference:sex <= 1e6"]
    (folder / "conf/data/trips.yaml").write_text(yaml.safe_dump(data))
    (folder / "conf/objective/trips.yaml").write_text(yaml.safe_dump({"statement": "Be prepared.", "unit": "USD", "tolerance": 1.0, "gates": gates} | PROBLEMS["regression"]["objective"]))
    profile = yaml.safe_load((folder / "conf/profile/smoke.yaml").read_text())
    del profile["objective"]  # its gates ask for nothing; those above stay
    (folder / "conf/profile/smoke.yaml").write_text("# @package _global_\n" + yaml.safe_dump(profile))
    women = [row for row in range(len(table)) if table.loc[row, "sex"] == "f"]
    pd.DataFrame({"trip": [f"T{row}" for row in [*women[:60], *range(0, 900, 30)]] + ["T9999"], "kind": "complaint", "text": SECRET, "time": "2025-05-01",
                  "status": ["upheld"] * 60 + ["rejected"] * 31}).to_csv(folder / "desk.csv", index=False)
    for command in (["mlsys", "compose", "data=trips", "profile=smoke", "fairness.case=trip", "fairness.feedback=feedback/events.jsonl"],
                    ["mlsys", "feedback", "import", "desk.csv", "--column", "case=trip"], ["mlsys", "repro", "assess"]):
        done = run(command, folder)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def test_the_upheld_complaints_of_groups_are_measured_of_every_candidate(heard):
    measured = json.loads((heard / "artifacts/assess/measured.json").read_text())
    assert {"constant", "rule", "linear", "boosted", "mitigated", "reduced", "decorrelated"} <= set(measured)
    entry = measured["linear"]["upheld_complaints_difference:sex"]
    assert entry["low"] > 2 and 50 < entry["value"] < 250
    verdicts = {item["gate"]: item["verdict"] for item in json.loads((heard / "artifacts/assess/verdicts.json").read_text())["linear"]}
    assert verdicts == {"mean_absolute_error_difference:sex <= 1000000": "holds", "upheld_complaints_difference:sex <= 2": "fails"}


def test_the_page_lists_the_group_and_nobody_is_quoted(heard):
    page = (heard / "reports/notebooks/assess.ipynb").read_text()
    assert "more complaints are upheld of f than of everybody else" in page and "1 of them are about cases that this table does not have" in page
    for path in [*(heard / "artifacts").rglob("*"), *(heard / "reports").rglob("*")]:
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    shown = run(["mlsys", "feedback", "report"], heard)
    assert "upheld_per_1000" in shown.stdout and SECRET not in shown.stdout + shown.stderr


def test_the_case_is_no_input_and_git_does_not_see_the_file(heard):
    roles = json.loads((heard / "artifacts/featurize/roles.json").read_text())
    assert "trip" not in [*roles["numeric"], *roles["categorical"]]
    assert "/feedback/" in (heard / ".gitignore").read_text().split()


def test_a_new_complaint_runs_assess_again_and_a_changed_file_stops_it(heard):
    before = (heard / "artifacts/assess/measured.json").read_text()
    assert run(["mlsys", "feedback", "add", "--case", "T5", "--kind", "appeal", "--time", "2025-06-01"], heard).returncode == 0
    again = run(["dvc", "repro", "assess"], heard)
    assert again.returncode == 0 and "Running stage 'assess'" in again.stdout and "Running stage 'train'" not in again.stdout
    assert (heard / "artifacts/assess/measured.json").read_text() == before  # an open appeal is not upheld
    path = heard / "feedback/events.jsonl"
    path.write_text(path.read_text().replace('"status": "rejected"', '"status": "upheld"', 1))
    spoiled = run(["mlsys", "run", "assess"], heard)
    assert spoiled.returncode != 0 and "a line that does not follow from the one before" in spoiled.stdout + spoiled.stderr

"""What has to hold in this project, whatever its table: run with `make test`. Tests of your own go into files of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[1]
CHOSEN = ROOT / "artifacts" / "select"


@pytest.fixture(scope="module")
def params():
    """The parameters, which must be those that conf/ and the installed mlsys give."""
    from mlsys.pipeline.config import load_params

    return load_params(ROOT)


def chosen(name):
    """A file of the chosen model."""
    path = CHOSEN / name
    assert path.exists(), "no model has been chosen yet: run `make repro`"
    return path


def test_params_are_fresh(params):
    assert params["data"]["name"]


def test_the_data_keeps_its_contract(params):
    """The source, read as the pipeline reads it."""
    from mlsys.data.contract import contract_for
    from mlsys.data.enforce import hold
    from mlsys.data.query import derive_columns
    from mlsys.data.source import read_tables

    data = params["data"]
    options = {key: data[key] for key in ("query", "encoding", "delimiter", "has_header", "decimal", "columns", "missing_values")}
    table, _ = read_tables(ROOT / data["path"], data["test_path"] and ROOT / data["test_path"], **options)
    table = derive_columns(table, data["derive"])
    kept = hold(table, contract_for(table, ROOT / data["contract"])).enforce(data["on_violation"], data["max_quarantined"])
    assert len(kept.table) + len(kept.quarantined) == len(table)


def test_no_finding_is_accepted_in_silence(params):
    """What the audit found has been mended, or is accepted by name in conf/audit, with a reason."""
    path = ROOT / "artifacts" / "audit" / "findings.json"
    assert path.exists(), "the audit has not passed yet: run `make repro`"
    report = json.loads(path.read_text(encoding="utf-8"))
    said = [line.partition(" = ") for line in params["audit"]["accept"]]
    reasons = {name.strip(): reason.strip() for name, _, reason in said}
    assert report["passed"] and all(reasons.values())
    assert {finding["name"] for finding in report["findings"] if finding["accepted"]} <= set(reasons)


def test_the_pipeline_is_up_to_date():
    done = subprocess.run([sys.executable, "-m", "dvc", "status", "--json"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}, "something has changed since the last run: run `make repro`"


def test_the_chosen_model_answers():
    """It is the file that was registered, and it gives one answer for every row."""
    import mlsys.fairness.mitigate
    import mlsys.privacy.classifier  # noqa: F401  (a model file may hold their types)
    from mlsys.data.roles import Roles
    from mlsys.models.persistence import load_model

    record = json.loads(chosen("model.json").read_text(encoding="utf-8"))
    model = load_model(chosen("model.skops"), record["sha256"])
    rows = pd.read_parquet(ROOT / "artifacts" / "split" / "test.parquet").head(20)
    roles = Roles.load(ROOT / "artifacts" / "label" / "roles.json")
    columns = dict.fromkeys([*roles.features, *(roles.sensitive if hasattr(model, "sensitive") else [])])
    assert len(model.predict(rows[list(columns)])) == len(rows)


def test_every_gate_of_the_chosen_model_holds():
    record = json.loads(chosen("model.json").read_text(encoding="utf-8"))
    gates = json.loads(chosen("gates.json").read_text(encoding="utf-8"))[record["name"]]
    assert [gate["gate"] for gate in gates if not gate["passes"]] == []

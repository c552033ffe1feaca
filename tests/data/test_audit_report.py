"""The joined report, the command and the stage: what stands closes the gate, what is accepted stays visible."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import REPO, run

from mlsys.core import ConfigError, LeakageError
from mlsys.data.audit_report import (
    check_report,
    info_sheet,
    make_report,
    read_acceptances,
    to_json,
    to_markdown,
)
from mlsys.data.audit_table import audit_table
from mlsys.data.finding import Finding
from mlsys.data.roles import Roles


def leaky(n=900):
    rng = np.random.default_rng(0)
    left = rng.random(n) < 0.3
    return pd.DataFrame({"months": rng.integers(1, 60, n) + rng.random(n).round(3), "refund": np.where(left, rng.gamma(2, 30, n).round(2), 0), "left": left})


@pytest.fixture(scope="module")
def audit():
    return audit_table(leaky(), "left")


def test_an_acceptance_opens_the_gate_and_stays_visible(audit):
    with pytest.raises(LeakageError, match="is-the-target:refund") as raised:
        check_report(make_report("x", audit))
    assert raised.value.exit_code == 1
    report = make_report("x", audit, accept=["is-the-target:refund = paid before", "only-after:gone = an old line"])
    check_report(report)
    written = to_json(report)
    assert [(item["accepted"], item["reason"]) for item in written["findings"] if item["stands"]] == [(True, "paid before")]
    assert written["passed"] and written["stale_acceptances"] == ["only-after:gone"] and json.dumps(written)
    assert "Accepted: paid before" in to_markdown(report) and "only-after:gone" in to_markdown(report)


@pytest.mark.parametrize("line", ["", "refund", "is-the-target:refund", "is-the-target:refund =", "refund = a reason"])
def test_an_acceptance_without_name_or_reason_is_refused(line):
    with pytest.raises(ConfigError, match="accept"):
        read_acceptances([line])


def test_names_may_hold_an_equals_sign():
    assert read_acceptances(["rule:a = b = why"], ["rule:a = b"]) == {"rule:a = b": "why"}


def test_code_and_time_stand_in_the_same_gate(audit):
    fitted = Finding("fitted-before-split", "train.ipynb:cell 3:line 1", "code", "L1.2", "The scaler saw the test rows.", "Fit it after the split.")
    report = make_report("x", audit, code=[fitted], accept=["is-the-target:refund = fine"])
    assert [finding.name for finding in report.standing] == [fitted.name] and report.views == ("data", "code")
    answers = {question: answer for _, question, answer in info_sheet(report)}
    assert any("The scaler saw the test rows." in answer for answer in answers.values())


def test_the_sheet_says_who_must_answer_what_was_not_looked_at(audit):
    answers = [answer for _, question, answer in info_sheet(make_report("x", audit)) if question.startswith(("L1.2", "L1.3"))]
    assert len(answers) == 2 and all("A person must answer" in answer for answer in answers)


def test_the_command_has_three_exit_codes(tmp_path):
    leaky().to_csv(tmp_path / "shop.csv", index=False)
    done = run(["mlsys", "audit", "shop.csv", "--target", "left", "--json", "out/audit.json", "--report", "audit.md"], tmp_path)
    assert done.returncode == 1 and "is-the-target:refund" in done.stdout and "The fall" in done.stdout, done.stdout + done.stderr
    written = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert written["format"] == 1 and not written["passed"] and "Model info sheet" in (tmp_path / "audit.md").read_text()
    done = run(["mlsys", "audit", "shop.csv", "--target", "left", "--exclude", "refund"], tmp_path)
    assert done.returncode == 0 and "Nothing stands" in done.stdout, done.stdout + done.stderr
    for wrong in (["--target", "lift"], ["--target", "left", "--time", "when"], ["--target", "left", "--accept", "refund"]):
        done = run(["mlsys", "audit", "shop.csv", *wrong], tmp_path)
        assert done.returncode == 2 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr, done.stderr


def test_a_finding_stops_the_stage_with_its_evidence_kept(project):
    shutil.copy(REPO / "nbs" / "stages" / "audit.ipynb", project.root / "nbs" / "stages" / "audit.ipynb")
    table = leaky().assign(row_id=range(900), left=lambda rows: rows["left"].astype("int8"))
    roles = Roles("left", "true", "false", numeric=["months", "refund"])
    for folder in ("prepare", "featurize", "split"):
        (project.root / "artifacts" / folder).mkdir(parents=True)
    table.to_parquet(project.root / "artifacts" / "prepare" / "table.parquet", index=False)
    roles.save(project.root / "artifacts" / "featurize" / "roles.json")
    table[["row_id"]].to_parquet(project.root / "artifacts" / "featurize" / "proof.parquet", index=False)
    (project.root / "artifacts" / "featurize" / "known.txt").write_text("")
    for name, rows in (("train", table[:500]), ("validation", table[500:600]), ("test", table[600:])):
        rows.to_parquet(project.root / "artifacts" / "split" / f"{name}.parquet", index=False)
    done = project.run("run", "audit")
    assert done.returncode == 1 and "is-the-target:refund" in done.stderr and "Traceback" not in done.stderr, done.stderr
    kept = (project.root / "reports" / "notebooks" / "audit.failed.ipynb").read_text()
    assert "is-the-target:refund" in kept and not (project.root / "artifacts" / "audit").exists()
    project.compose('audit.accept=["is-the-target:refund = paid before"]')
    done = project.run("run", "audit")
    assert done.returncode == 0, done.stderr
    assert json.loads((project.root / "artifacts" / "audit" / "passed.json").read_text()) == {"passed": True}
    findings = json.loads((project.root / "artifacts" / "audit" / "findings.json").read_text())["findings"]
    assert [item["reason"] for item in findings if item["accepted"]] == ["paid before"]

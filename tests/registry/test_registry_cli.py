"""`mlsys registry` in a small project with git and DVC: from the files of a run to a champion in another clone."""

import hashlib
import json
import re
import subprocess

import pandas as pd
import pytest
import yaml
from conftest import REPO, run

from mlsys.core import sha256_of, write_json
from mlsys.models.baseline import IfThenRuleClassifier
from mlsys.models.persistence import save_model
from mlsys.registry.record import lineage, make_record, record_text

GIT = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]


def leave_a_run(root, compared_with=""):
    """What the stages leave: two candidates, of which `rule` passes its gate and `weak` does not."""
    folder, summary = root / "artifacts" / "select", []
    entries = {}
    for number, (name, passes) in enumerate([("rule", True), ("weak", False)]):
        path = root / "artifacts" / "baseline" / f"{name}.skops"
        sha256 = save_model(IfThenRuleClassifier().fit(pd.DataFrame({"income": [1.0, 2.0 + number, 3.0 + number, 9.0]}), [1, 1, 0, 0]), path)
        entries[name] = {"file": path.name, "sha256": sha256, "description": f"a {name}"}
        gate = {"gate": "auc_roc >= 0.7", "kind": "quality", "value": 0.8 - number / 5, "low": 0.78 - number / 5, "high": 0.82 - number / 5, "passes": passes, "verdict": "holds" if passes else "fails", "applies": True, "note": ""}
        made, card = lineage({"train rows": path, "code of baseline": path}, {"seed": 1}, sha256), f"# Model card: {name}\n"
        record = make_record(made, name=name, description=f"a {name}", stage="baseline", problem="binary", classes=["no", "yes"], inputs=["income"], sensitive=[], threshold=0.5, file=path.name, parameters={},
                             measured={"auc_roc": {"value": gate["value"], "low": gate["low"], "high": gate["high"]}}, gates=[gate], compared_with=compared_with, card_sha256=hashlib.sha256(card.encode()).hexdigest())  # fmt: skip
        (folder / "versions").mkdir(parents=True, exist_ok=True)
        (folder / "versions" / f"{made['version']}.json").write_text(record_text(record))
        (folder / "versions" / f"{made['version']}.md").write_text(card)
        summary.append({"name": name, "version": made["version"], "passes": passes, "measured": {}})
    write_json(root / "artifacts" / "baseline" / "models.json", entries)
    write_json(folder / "summary.json", {"chosen": "rule", "candidates": summary})
    return [item["version"] for item in summary]


@pytest.fixture
def project(tmp_path):
    """A project that git and DVC know, with a remote inside it, and a run."""
    root = tmp_path / "project"
    root.mkdir()
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"], ["dvc", "remote", "add", "--default", "-q", "kept", ".dvc/kept"]):
        done = run(command, root)
        assert done.returncode == 0, done.stderr
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / ".gitignore").write_text("/artifacts\n")
    (root / "params.yaml").write_text("baseline: {max_iter: 5}\nsplit: {seed: 3}\n")
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"baseline": {"cmd": "x", "params": {"params.yaml": {"baseline": {"max_iter": 4}}}}}}))
    versions = leave_a_run(root)
    commit(root)
    return root, versions


def commit(root):
    """Commit everything."""
    for command in ([*GIT, "add", "-A"], [*GIT, "commit", "-qm", "more"]):
        subprocess.run(command, cwd=root, check=True)


def registry(root, *arguments, code=0, by="Ada"):
    """Call `mlsys registry`; return what it said."""
    done = run(["mlsys", "registry", *arguments, *(["--by", by] if by and arguments[0] in ("add", "promote", "rollback") else [])], root)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_champion_reaches_another_clone_and_nothing_else_is_needed(project, tmp_path):
    root, (rule, weak) = project
    said = registry(root, "add")
    assert f"{rule} (rule) is registered and is the challenger. It passes every gate." in said and "dvc push registry/models/" in said and "git add .dvc/kept" in said
    named = re.search(r"Commit: git add (.*)", said)[1].split()
    assert set(named) == {name for name in git_status(root) if name.startswith("registry/") and "lock" not in name}, "the files to commit are those that are new"
    assert "is the champion, by Ada" in registry(root, "promote")
    record = json.loads((root / f"registry/versions/{rule}.json").read_text())
    assert record["parameters"]["baseline"] == {"max_iter": 4} and record["parameters"]["split"] == {"seed": 3}, "what DVC ran with, else what is composed"
    assert run(["dvc", "push", "-q", *[str(path.relative_to(root)) for path in (root / "registry/models").glob("*.dvc")]], root).returncode == 0
    commit(root)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(root), str(clone)], check=True)
    missing = registry(clone, "verify", code=1)
    assert "the model is not there. Get it: `dvc pull registry/models/" in missing
    pulled = run(["dvc", "pull", "-q"], clone)
    assert pulled.returncode == 0, pulled.stderr
    assert "1 versions: every file is what it was" in registry(clone, "verify")
    from mlsys.registry.store import Registry

    assert Registry(clone).load("champion").sentence_
    assert json.loads(registry(clone, "show", "--json"))["champion"] is True


def git_status(root):
    """The files that git does not know."""
    done = subprocess.run(["git", "status", "--porcelain", "-uall"], cwd=root, capture_output=True, text=True, check=True)
    return [line[3:] for line in done.stdout.splitlines() if line.startswith("??")]


def test_an_override_is_asked_for_named_listed_and_undone(project):
    root, (rule, weak) = project
    registry(root, "add")
    registry(root, "promote")
    leave_a_run(root, compared_with=rule)
    assert "It does not pass: auc_roc >= 0.7." in registry(root, "add", "weak")
    said = registry(root, "promote", weak[:7], code=1)
    assert "auc_roc >= 0.7 (fails: measured 0.6 (0.58 to 0.62))" in said and "--override --by NAME --reason" in said
    assert "An override is somebody's" in registry(root, "promote", weak, "--override", "--reason", "x", code=2, by="")
    assert "An override needs a reason" in registry(root, "promote", weak, "--override", code=2)
    assert "Overruled, and on the record for good: auc_roc >= 0.7" in registry(root, "promote", weak, "--override", "--reason", "the rule reads a dead column")
    listed = registry(root, "list")
    assert re.search(rf"{weak} +weak +champion \(override\) +1 fail", listed) and re.search(rf"{rule} +rule +was champion +pass", listed)
    assert "**Overruled** by Ada" in registry(root, "show", "champion", "--card") and "the rule reads a dead column" in registry(root, "show", weak)
    assert f"{rule} is the champion again, in place of {weak}" in registry(root, "rollback")
    assert "is the first champion" in registry(root, "rollback", code=2)
    rows = {row["version"]: row for row in json.loads(registry(root, "list", "--json"))}
    assert rows[rule]["state"] == "champion" and rows[weak]["override"] == ["auc_roc >= 0.7"]
    assert json.loads(registry(root, "verify", "--json")) == []


def test_what_is_mistyped_is_named(project):
    root, (rule, _) = project
    assert "Did you mean rule" in registry(root, "add", "rul", code=2)
    registry(root, "add", rule)
    assert f"Did you mean {rule}" in registry(root, "show", rule[:-1] + "z", code=2)
    assert "an alias that means something" in registry(root, "show", code=2)
    assert "Did you mean challenger" in registry(root, "promote", "chalenger", code=2)


def test_who_decides_comes_from_git_or_is_asked_for(project):
    root, _ = project
    nobody = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = run(["mlsys", "registry", "add"], root, **nobody)
    assert done.returncode == 2 and "Say who decides" in done.stderr
    subprocess.run(["git", "config", "user.name", "Grace Hopper"], cwd=root, check=True)
    assert run(["mlsys", "registry", "add"], root, **nobody).returncode == 0
    assert '"by": "Grace Hopper"' in (root / "registry/aliases/challenger.jsonl").read_text()


def test_a_run_whose_files_have_changed_is_not_registered(project):
    root, (rule, _) = project
    path = root / "artifacts/baseline/rule.skops"
    path.write_bytes(path.read_bytes() + b" ")
    assert "not the one that was judged" in registry(root, "add", code=1)
    assert not (root / "registry/versions").exists()
    record = root / f"artifacts/select/versions/{rule}.json"
    record.write_text(record.read_text().replace('"rule"', '"wonder"'))
    assert "changed after it was written" in registry(root, "add", code=1)


def test_nothing_is_tampered_with_unseen(project):
    root, (rule, _) = project
    registry(root, "add")
    registry(root, "promote")
    commit(root)
    model = next((root / "registry/models").glob("*.skops"))
    before = model.read_bytes()
    model.unlink()
    model.write_bytes(before + b" ")
    assert "it is not the file that was registered. Do not use it. Restore it: `dvc checkout --force registry/models/" in registry(root, "verify", code=1)
    assert run(["dvc", "checkout", "--force", f"{model}.dvc"], root).returncode == 0 and "every file is what it was" in registry(root, "verify")
    card = root / f"registry/cards/{rule}.md"
    card.write_text(card.read_text() + "It is perfect.\n")
    assert "the model card is not the one that was registered" in registry(root, "verify", code=1)
    assert run([*GIT, "checkout", "HEAD", "--", f"registry/cards/{rule}.md"], root).returncode == 0 and "every file is what it was" in registry(root, "verify")


def test_only_select_depends_on_the_champion_and_every_project_has_its_file(repo):
    """A promotion must train nothing: no stage but `select` may reach the registry, and `select` feeds no stage."""
    stages = yaml.safe_load((repo / "dvc.yaml").read_text())["stages"]
    assert [name for name, stage in stages.items() if any(str(dep).startswith("registry") for dep in stage["deps"])] == ["select"]
    assert not [name for name, stage in stages.items() if any("artifacts/select" in str(dep) for dep in stage["deps"])]
    assert (repo / "registry/aliases/champion.jsonl").is_file()
    from mlsys.pipeline.template import managed_files

    made = managed_files(REPO, "churn", "churn")
    assert made["registry/aliases/champion.jsonl"] == b"" and made["registry/.gitignore"] == (repo / "registry/.gitignore").read_bytes()


def test_the_repositorys_own_registry_is_whole(repo):
    """Apart from model files that a clone has not pulled."""
    from mlsys.registry.verify import verify

    assert [str(fault) for fault in verify(repo) if "the model is not there" not in fault.what] == []
    for path in (repo / "registry/models").glob("*.skops"):
        assert sha256_of(path) == path.stem

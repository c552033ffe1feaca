"""The repository's own pipeline in a copy: what runs, what does not, what is left behind. One copy serves all tests of this file, in order."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import nbformat
import pandas as pd
import pytest
from conftest import BIN, REPO, make_once, run

LEFT_OUT = (".venv", ".git", "artifacts", "reports", "_docs", "_proc", ".site", "tmp", "cache", "__pycache__", ".ipynb_checkpoints", ".hypothesis")


def make_copy(folder):
    """Copy the repository's files into a folder, as a fresh clone would have them, and get the data."""
    shutil.copytree(REPO, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    run(["git", "init", "-q"], folder)
    pulled = run(["dvc", "pull", "--quiet", "data.dvc"], folder)
    assert pulled.returncode == 0, pulled.stderr
    return folder


def smoke_run(folder):
    """Make a copy of the repository, and run it with few rows."""
    make_copy(folder)
    assert run(["mlsys", "compose", "profile=smoke"], folder).returncode == 0
    done = run(["mlsys", "repro"], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "first.txt").write_text(done.stdout)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the repository after a smoke run."""
    return make_once(tmp_path_factory, "pipeline", smoke_run)


def ran(process):
    """The stages that a `dvc repro` ran."""
    assert process.returncode == 0, process.stdout + process.stderr
    return set(re.findall(r"Running stage '([^'@]+)", process.stdout))


def edit_notebook(path, change):
    """Change the first cell that a function accepts."""
    notebook = nbformat.read(path, as_version=4)
    assert any(change(cell) for cell in notebook.cells), f"nothing to change in {path.name}"
    nbformat.write(notebook, path)


def test_the_screen_shows_stages_models_gates_and_places(copy):
    screen = (copy / "first.txt").read_text()
    for word in ("prepare", "select", "ran", "logistic", "boosted", "epsilon", "model card", "reports/notebooks/", "_docs/index.html"):
        assert word in screen, word
    assert "ran" in screen and "pass" in screen


def test_a_second_run_does_nothing(copy):
    done = run(["mlsys", "repro"], copy)
    assert "up to date" in done.stdout and not ran(done)
    assert "cached" in done.stdout
    assert json.loads(run(["dvc", "status", "--json"], copy).stdout) == {}


def test_outputs_are_only_where_they_are_declared(copy):
    listed = run(["dvc", "ls", ".", "--recursive", "--dvc-only"], copy).stdout.split()
    made = {str(path.relative_to(copy)) for name in ("artifacts", "reports") for path in (copy / name).rglob("*") if path.is_file()}
    free = {name for name in made if name.startswith("reports/timing/") or name.endswith(".gitignore")}
    metrics = {name for name in made if name.startswith("reports/metrics/")}
    assert made - free - metrics == {name for name in listed if name.startswith(("artifacts", "reports"))} - metrics


def test_a_promotion_trains_nothing_and_the_next_run_compares(copy):
    """Only `select` runs after `mlsys registry promote`, and it sets every candidate beside the champion on the same rows."""
    summary = json.loads((copy / "artifacts/select/summary.json").read_text())
    other = next(item for item in summary["candidates"] if item["name"] not in (summary["chosen"], "constant", "rule") and item["passes"])
    for command in (["add", other["name"]], ["promote"], ["verify"]):
        done = run(["mlsys", "registry", *command, *(["--by", "Ada"] if command != ["verify"] else [])], copy)
        assert done.returncode == 0, done.stdout + done.stderr
    assert ran(run(["dvc", "repro"], copy)) == {"select"} and not ran(run(["dvc", "repro"], copy))
    compared = json.loads((copy / "artifacts/select/over_champion.json").read_text())
    assert other["version"] in compared[other["name"]]["note"]
    paid = pd.concat([pd.read_parquet(path) for path in sorted((copy / "artifacts").rglob("costs.parquet"))], axis=1)
    for name, entry in compared.items():
        if name != other["name"]:
            assert entry["value"] == pytest.approx(1000 * (paid[name] - paid[other["name"]]).mean(), rel=1e-4, abs=1e-2), name
    card = (copy / "artifacts/select/card.md").read_text()
    assert f"that is {other['version']}" in card and json.loads((copy / "artifacts/select/summary.json").read_text())["chosen"] == summary["chosen"]
    shutil.rmtree(copy / "registry")
    shutil.copytree(REPO / "registry", copy / "registry")
    assert ran(run(["dvc", "repro"], copy)) == {"select"}


def test_every_stage_notebook_runs_in_jupyter(copy, tmp_path):
    """By hand, with a kernel, in the notebook's own folder: the pipeline's values and inputs, and its outputs untouched."""
    for path in sorted((copy / "nbs" / "stages").glob("*.ipynb")):
        output = tmp_path / path.name
        done = run(["jupyter", "execute", "--timeout=300", f"--output={output}", str(path)], copy)
        assert done.returncode == 0, f"{path.name}: {done.stderr[-2000:]}"
        told = "".join(item.get("text", "") for cell in nbformat.read(output, as_version=4).cells for item in cell.get("outputs", []))
        assert f"{path.stem}: parameters from params.yaml: " in told
    assert json.loads(run(["dvc", "status", "--json"], copy).stdout) == {}


def test_no_machine_is_named_in_what_people_read(copy):
    for path in [*(copy / "reports").rglob("*.ipynb"), copy / "artifacts/select/card.md", copy / "params.yaml"]:
        text = path.read_text()
        assert str(copy) not in text and str(REPO) not in text, path


def test_the_same_seed_gives_the_same_files(copy):
    """Later stages first, so that each finds the inputs of the first run: their measured times are inputs like any other."""
    before = {path: path.read_bytes() for name in ("metrics", "notebooks") for path in (copy / "reports" / name).rglob("*.*")}
    models = {path: path.read_bytes() for path in (copy / "artifacts").rglob("*.skops")}
    assert len(models) >= 6
    for stage in ("select", "privatize target_epsilon=3.0 model=linear", "assess", "evaluate", "train", "baseline", "split", "prepare", "digest"):
        done = run(["mlsys", "run", *stage.split()], copy)
        assert done.returncode == 0, done.stderr
    shifted = [str(path.relative_to(copy)) for path, content in (before | models).items() if path.read_bytes() != content]
    assert not shifted
    assert run(["dvc", "checkout", "--force"], copy).returncode == 0


def test_prose_reruns_nothing_but_digest(copy):
    def reword(cell):
        if cell.cell_type == "markdown":
            cell.source += "\n\nOne more sentence."
        return cell.cell_type == "markdown"

    def comment(cell):
        if cell.cell_type == "code" and "import" in cell.source:
            cell.source = "# a comment\n" + cell.source
            return True
        return False

    edit_notebook(copy / "nbs/stages/train.ipynb", reword)
    edit_notebook(copy / "nbs/stages/train.ipynb", comment)
    module = copy / "mlsys" / "evaluate" / "scorecard.py"
    module.write_text("# a comment\n" + module.read_text())
    assert ran(run(["dvc", "repro"], copy)) == {"digest"}
    assert json.loads(run(["dvc", "status", "--json"], copy).stdout) == {}


def test_a_function_reruns_the_stages_that_reach_it(copy):
    """A function of mlsys.fairness that no other stage reaches: assess and what follows it run, nothing else."""
    digests = {path.stem: set(json.loads(path.read_text())) for path in (copy / "artifacts/digest").glob("*.json")}
    others = set.union(*[names for stage, names in digests.items() if stage != "assess"])
    only = sorted(name for name in digests["assess"] - others if name.startswith("mlsys.") and not name.endswith(":"))
    assert only, "assess reaches nothing of its own"
    for name in only:
        dotted, symbol = name.split(":")
        path = copy.joinpath(*dotted.split(".")).with_suffix(".py")
        found = re.search(rf"^def {symbol}\(.*?\n    (?=return |raise |[a-z_]+ = )", path.read_text(), re.M | re.S)
        if found:
            break
    assert found, f"no function among {only}"
    text = path.read_text()
    path.write_text(text[: found.end()] + "assert True\n    " + text[found.end() :])
    assert ran(run(["dvc", "repro"], copy)) == {"digest", "audit", "assess", "select"}  # the audit reads all code, and passes as before


def test_a_changed_parameter_reruns_what_it_reaches(copy):
    assert run(["mlsys", "compose", "profile=smoke", "fairness.min_group_size=40"], copy).returncode == 0
    assert ran(run(["dvc", "repro"], copy)) == {"assess", "select"}
    assert run(["mlsys", "compose", "profile=smoke"], copy).returncode == 0
    run(["dvc", "repro"], copy)


def test_a_stale_params_file_stops_dvc(copy):
    path = copy / "conf" / "split" / "auto.yaml"
    before = path.read_text()
    path.write_text(before.replace("test_share: 0.25", "test_share: 0.3"))
    done = run(["dvc", "repro"], copy)
    assert done.returncode != 0 and "mlsys compose" in done.stdout + done.stderr
    path.write_text(before)
    assert run(["dvc", "repro"], copy).returncode == 0


def test_another_source_reruns_prepare(copy):
    source = copy / "mine.parquet"
    shutil.copy(copy / "data" / "applications.parquet", source)
    assert run(["mlsys", "compose", "profile=smoke", "data.path=mine.parquet"], copy).returncode == 0
    assert "prepare" in ran(run(["dvc", "repro", "prepare"], copy))
    import pandas as pd

    table = pd.read_parquet(source)
    table.head(len(table) - 100).to_parquet(source)
    assert "prepare" in ran(run(["dvc", "repro", "prepare"], copy))
    assert json.loads((copy / "reports/metrics/prepare.json").read_text())["rows"]["source"] == len(table) - 100
    assert run(["mlsys", "compose", "profile=smoke"], copy).returncode == 0
    assert run(["dvc", "repro"], copy).returncode == 0


def test_a_killed_stage_leaves_the_last_run_and_the_next_repro_finishes(copy):
    kept = {path: path.read_bytes() for path in (copy / "artifacts/train").rglob("*") if path.is_file()}
    assert kept
    edit_notebook(copy / "nbs/stages/train.ipynb", lambda cell: _append(cell, "import time\nopen('begun', 'w').close()\ntime.sleep(30)"))
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    process = subprocess.Popen(
        ["dvc", "repro", "train"], cwd=copy, env={**os.environ, "PATH": path}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (copy / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    assert (copy / "begun").exists()
    assert {path: path.read_bytes() for path in kept} == kept
    edit_notebook(copy / "nbs/stages/train.ipynb", lambda cell: _remove(cell, "import time\nopen('begun', 'w').close()\ntime.sleep(30)"))
    done = run(["dvc", "repro"], copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(run(["dvc", "status", "--json"], copy).stdout) == {}


def _append(cell, code):
    if cell.cell_type == "code" and "open_stage(" in cell.source:
        cell.source += "\n" + code
        return True
    return False


def _remove(cell, code):
    if cell.cell_type == "code" and code in cell.source:
        cell.source = cell.source.replace("\n" + code, "")
        return True
    return False


def test_experiments_and_a_queued_sweep(copy):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    run(["git", "add", "-A"], copy)
    assert run(["git", *identity, "commit", "-qm", "Begin"], copy).returncode == 0
    smoke = ["-S", "profile=smoke"]
    done = run(["dvc", "exp", "run", "-n", "one", *smoke, "-S", "privacy.target_epsilon=1"], copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (copy / "artifacts/privatize/target_epsilon=1.0,model=linear/model.skops").is_file()
    assert "digest" not in ran(done)
    done = run(["dvc", "exp", "run", "-n", "two", *smoke, "-S", "model=boosted"], copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((copy / "artifacts/train/ladder.json").read_text())["chosen"] == "boosted"
    queued = run(["dvc", "exp", "run", "--queue", *smoke, "-S", "model.max_iter=10,20"], copy)
    assert queued.returncode == 0, queued.stdout + queued.stderr
    done = run(["dvc", "exp", "run", "--run-all", "--jobs", "1"], copy)
    assert done.returncode == 0, done.stdout + done.stderr
    table = json.loads(run(["dvc", "exp", "show", "--json"], copy).stdout)
    names = [item["name"] for entry in table for item in (entry.get("experiments") or [])]
    assert {"one", "two"} <= set(names) and len(names) >= 4

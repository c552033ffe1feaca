"""`mlsys new` and `mlsys upgrade`: all of a project or nothing, green at the first try, and never over what is yours."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import REPO, make_once, run

IDENTITY = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.com", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@example.com"}
NAMES = ["row nr", 'grö"ße', "select", "a.b", "1st=x", "it's ${seed}", "Betrag, netto", "#no: null", "customer_id", "applied at", "sex", "Ausfall"]


def odd_table(n=400):
    """A table whose columns have the names that break things, with a signal in it."""
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(0)
    signal = generator.normal(size=n)
    columns = [np.arange(n), signal.round(3), generator.integers(0, 5, n), generator.choice(["x", "y", "?"], n, p=[0.5, 0.4, 0.1]), generator.normal(size=n).round(3),
               generator.choice(["p", "q"], n), generator.integers(1, 900, n), generator.normal(size=n).round(3), generator.integers(0, 90, n),
               pd.date_range("2023-01-01", periods=n, freq="12h").astype(str), generator.choice(["f", "m"], n),
               np.where(signal + generator.normal(size=n) > 1, "ja", "nein")]
    return pd.DataFrame(dict(zip(NAMES, columns, strict=True)))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The odd table as a file with an odd name."""
    path = tmp_path_factory.mktemp("table") / "Meine Kredite (neu).csv"
    odd_table().to_csv(path, index=False, sep=";")
    return path


def new(folder, table, *options, **environment):
    """Call `mlsys new`."""
    return run(["mlsys", "new", str(folder), "--data", str(table), "--yes", *options], folder.parent, **IDENTITY, **environment)


def smoke_run(folder, table):
    """Make a project from the odd table, and run it with few rows."""
    folder.mkdir(parents=True)
    made = folder / "Kreditausfälle 2024"
    done = new(made, table)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "said.txt").write_text(done.stdout)
    assert run(["mlsys", "compose", "profile=smoke"], made).returncode == 0
    done = run(["dvc", "repro"], made)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def project(tmp_path_factory, table):
    """A project from the odd table, after a smoke run; one serves the tests below, in order."""
    return make_once(tmp_path_factory, "made", lambda folder: smoke_run(folder, table)) / "Kreditausfälle 2024"


def ran(process):
    """The stages that a `dvc repro` ran."""
    assert process.returncode == 0, process.stdout + process.stderr
    return set(re.findall(r"Running stage '([^'@]+)", process.stdout))


def test_the_screen_says_what_was_decided_and_why(project):
    said = (project.parent / "said.txt").read_text()
    for word in ("Ausfall = ja", "applied at", "customer_id", "sex", "row nr", "'?'", "first commit", "make repro", "conf/objective/kreditausfalle_2024.yaml"):
        assert word in said, word
    assert len(said.splitlines()) < 45


def test_everything_is_committed_and_nothing_else_is_said(project):
    assert run(["git", "log", "--format=%s"], project).stdout.startswith("Begin with mlsys")
    tracked = set(run(["git", "-c", "core.quotePath=off", "ls-files"], project).stdout.splitlines())
    assert {"dvc.yaml", "data.dvc", "params.yaml", "README.md", "Makefile", "settings.ini", "requirements.lock", "conf/config.yaml", "nbs/index.ipynb", "nbs/stages/prepare.ipynb",
            "tests/test_project.py", ".dvc/config", ".mlsys/template.json"} <= tracked
    assert not [name for name in tracked if name.startswith(("data/", ".mlsys/local", "artifacts/"))]
    for name in tracked:
        text = (project / name).read_text(encoding="utf-8")
        assert str(REPO) not in text and str(project) not in text and str(Path.home()) not in text, name


def test_the_run_is_green_and_the_second_does_nothing(project):
    assert (project / "artifacts" / "select" / "card.md").is_file()
    done = run(["dvc", "repro"], project)
    assert not ran(done) and json.loads(run(["dvc", "status", "--json"], project).stdout) == {}


def test_every_column_has_the_part_that_was_proposed(project):
    roles = json.loads((project / "artifacts/prepare/roles.json").read_text())
    assert roles["target"] == "Ausfall" and roles["time"] == "applied at" and roles["group"] == "customer_id" and roles["sensitive"] == ["sex"]
    assert set(roles["numeric"] + roles["categorical"]) == set(NAMES) - {"row nr", "Ausfall", "applied at", "customer_id", "sex"}


def test_make_test_is_green_and_fails_when_something_is_wrong(project):
    done = run(["make", "test"], project)
    assert done.returncode == 0, done.stdout + done.stderr
    model = project / "artifacts" / "select" / "model.skops"
    content = model.read_bytes()
    model.unlink()
    model.write_bytes(content + b"x")
    done = run(["make", "test"], project)
    assert done.returncode != 0 and "test_the_chosen_model_answers" in done.stdout
    run(["dvc", "checkout", "--force", "--quiet"], project)
    assert model.read_bytes() == content


def test_the_makefile_finds_mlsys_or_says_how(project):
    bare = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(["make", "MLSYS=/nowhere/mlsys", "repro"], cwd=project, env=bare, capture_output=True, text=True)
    assert done.returncode != 0 and "make MLSYS=" in done.stderr
    shown = subprocess.run(["make", "-n", "repro"], cwd=project, env=bare, capture_output=True, text=True)
    assert shown.returncode == 0, "without an environment the mlsys that made the project is used"


def test_the_export_and_the_notebooks_are_fresh(project, tmp_path):
    """nbdev changes nothing in a new project."""
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".git", "artifacts", "data", "reports"))
    names = [path for path in project.rglob("*") if path.is_file() and path.relative_to(project).parts[0] in ("nbs", "kreditausfalle_2024", "pyproject.toml", "settings.ini")]
    assert run(["nbdev_export"], copy).returncode == 0
    assert run(["nbdev_clean"], copy).returncode == 0
    for path in names:
        if "__pycache__" not in path.parts:
            assert (copy / path.relative_to(project)).read_bytes() == path.read_bytes(), path
    done = run(["ruff", "check", "."], copy)
    assert done.returncode == 0, done.stdout
    shown = [sys.executable, "-c", "import kreditausfalle_2024.feature as f, pandas as pd; print(f.share(pd.Series([1.0]), pd.Series([4.0]))[0])"]
    assert run(shown, copy).stdout.strip() == "0.25"


def test_a_function_of_the_project_reruns_the_stages_that_reach_it(project):
    """Its own package counts, and a stage can import it with no installation."""
    path = project / "nbs" / "stages" / "select.ipynb"
    before = path.read_text(encoding="utf-8")
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code" and "open_stage(" in cell.source)
    cell.source = "import pandas as pd\nfrom kreditausfalle_2024.feature import share\n" + cell.source + "\nshare(pd.Series([1.0]), pd.Series([2.0]))"
    nbformat.write(notebook, path)
    assert ran(run(["dvc", "repro"], project)) == {"digest", "audit", "select"}, "the audit reads the code of every stage"
    module = project / "kreditausfalle_2024" / "feature.py"
    text = module.read_text()
    module.write_text(text.replace("whole != 0", "whole > 0"))
    assert ran(run(["dvc", "repro"], project)) == {"digest", "audit", "select"}
    module.write_text(text)
    path.write_text(before, encoding="utf-8")
    run(["dvc", "repro"], project)


def test_an_upgrade_of_the_package_reruns_what_reaches_changed_code(project, tmp_path):
    """mlsys is installed elsewhere: DVC cannot see it, so its digest stands in params.yaml, is checked, and is renewed by compose."""
    shutil.copytree(REPO / "mlsys", tmp_path / "mlsys", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("template", "nbs/stages", "nbs/_static", "conf"):
        shutil.copytree(REPO / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "settings.ini", ".dvcignore", ".gitattributes", ".gitignore", ".pre-commit-config.yaml"):
        shutil.copy(REPO / name, tmp_path / name)
    newer = {"PYTHONPATH": str(tmp_path)}
    assert ran(run(["dvc", "repro"], project, **newer)) == set(), "the same code at another place is the same code"
    card = tmp_path / "mlsys" / "registry" / "show.py"
    found = re.search(r"^def gate_table\(.*?\n    (?=return |lines|rows|[a-z_]+ = )", card.read_text(), re.M | re.S)
    assert found, "mlsys.registry.show.gate_table is no longer there"
    card.write_text(card.read_text()[: found.end()] + "assert True\n    " + card.read_text()[found.end() :])
    stale = run(["mlsys", "run", "split"], project, **newer)
    assert stale.returncode == 2 and "mlsys compose" in stale.stderr and "mlsys has changed" in stale.stderr
    assert run(["mlsys", "compose", "profile=smoke"], project, **newer).returncode == 0
    assert ran(run(["dvc", "repro"], project, **newer)) == {"digest", "audit", "select"}
    assert run(["mlsys", "compose", "profile=smoke"], project).returncode == 0
    assert ran(run(["dvc", "repro"], project)) <= {"digest", "audit", "select"}


def test_upgrade_leaves_touched_files_alone(project, tmp_path):
    """A newer mlsys: an untouched notebook is renewed, a touched one stays, a deleted one stays away, a new file comes."""
    from mlsys.pipeline.template import template_root, upgrade_project

    copy, source = tmp_path / "copy", tmp_path / "newer"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".git", "artifacts", "data", "reports", ".dvc"))
    for name in ("template", "nbs/stages", "nbs/_static", "conf"):
        shutil.copytree(template_root() / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore", ".gitattributes", ".gitignore", ".pre-commit-config.yaml"):
        shutil.copy(template_root() / name, source / name)
    assert upgrade_project(copy, source).lines() == [], "the same version changes nothing"

    def add(path, text):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[0].source += text
        nbformat.write(notebook, path)

    for name in ("train", "split", "prepare"):
        add(source / f"nbs/stages/{name}.ipynb", "\n\nNewer words.")
    add(copy / "nbs/stages/train.ipynb", "\n\nMy own words.")
    ran_only = nbformat.read(copy / "nbs/stages/split.ipynb", as_version=4)
    ran_only.cells[1].execution_count = 3
    nbformat.write(ran_only, copy / "nbs/stages/split.ipynb")
    (copy / "conf/split/time.yaml").unlink()
    (source / "conf/split/newer.yaml").write_text("method: time\n")
    (copy / "Makefile").write_text((copy / "Makefile").read_text() + "\nmine:\n\techo mine\n")
    own = {name: (copy / name).read_bytes() for name in ("nbs/stages/train.ipynb", "Makefile", "README.md", "nbs/index.ipynb", "nbs/lib/feature.ipynb")}
    done = upgrade_project(copy, source)
    assert (done.replaced, done.beside, done.deleted) == (["nbs/stages/prepare.ipynb", "nbs/stages/split.ipynb"], ["nbs/stages/train.ipynb"], ["conf/split/time.yaml"])
    assert done.added == ["conf/split/newer.yaml"] and not (copy / "conf/split/time.yaml").exists()
    assert {name: (copy / name).read_bytes() for name in own} == own
    assert "Newer words" in (copy / "nbs/stages/train.ipynb.new").read_text() and "Newer words" in (copy / "nbs/stages/split.ipynb").read_text()
    assert not list(copy.rglob("*.new.ipynb")), "a copy beside a stage must not look like a stage"
    (copy / "nbs/stages/train.ipynb.new").unlink()
    again = upgrade_project(copy, source)
    assert (again.replaced, again.added, again.beside) == ([], [], []) and not (copy / "nbs/stages/train.ipynb.new").exists()


def test_the_command_upgrade_says_what_it_did(project, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".git", "artifacts", "data", "reports"))
    done = run(["mlsys", "upgrade"], copy)
    assert done.returncode == 0 and "every file is that of mlsys" in done.stdout and "mlsys compose" in done.stdout
    lock = copy / "requirements.lock"
    lock.write_text(lock.read_text() + "pandas==0.1\n")
    done = run(["mlsys", "upgrade"], copy)
    assert "requirements.lock: renewed" in done.stdout and "pandas==0.1" not in lock.read_text()
    done = run(["mlsys", "upgrade"], REPO)
    assert done.returncode == 2 and "mlsys new" in done.stderr


def test_the_site_of_a_project(project):
    done = run(["mlsys", "docs"], project)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (project / "_docs" / "library" / "feature.html").read_text(encoding="utf-8")
    assert "api-kreditausfalle-2024-feature-share" in page and (project / "_docs" / "pipeline" / "select.html").is_file()


def test_a_folder_that_holds_anything_is_refused(tmp_path, table):
    folder = tmp_path / "mine"
    folder.mkdir()
    assert new(folder, table).returncode == 0, "an empty folder is as good as a new one"
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    done = new(tmp_path / "full", table)
    assert done.returncode == 2 and "an empty one" in done.stderr and [path.name for path in (tmp_path / "full").iterdir()] == ["letter.txt"]
    (tmp_path / "file").write_text("x")
    assert new(tmp_path / "file", table).returncode == 2


def test_a_failure_leaves_nothing_behind(tmp_path, table, monkeypatch):
    from mlsys.core import StageError
    from mlsys.pipeline import project as module
    from mlsys.pipeline.plan import make_plan

    plan = make_plan(tmp_path / "half", table)

    def fail(root, *rest):
        assert (root / "params.yaml").is_file()
        raise StageError("the disk is full")

    monkeypatch.setattr(module, "start_history", fail)
    with pytest.raises(StageError, match="disk"):
        module.make_project(tmp_path / "half", plan)
    assert list(tmp_path.iterdir()) == []


def test_without_an_identity_nothing_is_committed(tmp_path, table):
    home = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "home"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    (tmp_path / "home").mkdir()
    folder = tmp_path / "anonymous"
    done = run(["mlsys", "new", str(folder), "--data", str(table), "--yes"], tmp_path, **home)
    assert done.returncode == 0 and "git does not know who you are" in done.stdout
    assert run(["git", "status", "--short"], folder, **home).stdout.startswith("A ")


def test_inside_a_repository_no_other_is_made(tmp_path, table):
    run(["git", "init", "-q"], tmp_path)
    done = new(tmp_path / "part", table)
    assert done.returncode == 0 and "inside a git repository" in done.stdout
    assert not (tmp_path / "part" / ".git").exists() and (tmp_path / "part" / "data.dvc").is_file()
    assert run(["dvc", "status", "data.dvc"], tmp_path / "part").returncode == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--target", "Ausfal"], "Did you mean Ausfall"),
        (["--problem", "guess"], "classification, regression"),
        (["--time", "none", "--positive", "vielleicht"], "ja or nein"),
        (["--sensitive", "sexx"], "sex"),
        (["--columns", "a,b"], "names"),
    ],
)
def test_a_mistake_is_said_in_words(tmp_path, table, options, words):
    done = new(tmp_path / "p", table, *options)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "p").exists()


def test_a_file_that_is_not_there(tmp_path):
    done = new(tmp_path / "p", tmp_path / "nowhere.csv")
    assert done.returncode == 2 and "nowhere.csv" in done.stderr and "Traceback" not in done.stderr


def test_a_wheel_brings_its_templates(tmp_path, table):
    """What a wheel holds makes the same project as the repository."""
    source = tmp_path / "source"
    tracked = run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], REPO).stdout.split("\n")
    for name in tracked:
        if name and (REPO / name).is_file() and not name.startswith((".dvc/", "tests/", "reports/", "nbs/lib/", "nbs/guides/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, source / name)
    built = run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp_path / "wheels"), str(source)], tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    site = tmp_path / "site"
    shutil.unpack_archive(next((tmp_path / "wheels").glob("*.whl")), site, "zip")
    folder = tmp_path / "made"
    done = new(folder, table, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stdout + done.stderr
    here = tmp_path / "here"
    assert new(here, table, "--name", "made").returncode == 0
    names = {path.relative_to(here) for path in here.rglob("*") if path.is_file() and path.relative_to(here).parts[0] not in (".git", ".dvc", ".mlsys", "params.yaml", "made", "here")}
    for name in sorted(names):
        assert (folder / name).is_file(), name
        assert (folder / name).read_bytes() == (here / name).read_bytes(), name
    assert str(site) in run([sys.executable, "-c", "import mlsys; print(mlsys.__path__)"], folder, PYTHONPATH=str(site)).stdout


@pytest.fixture
def terminal(monkeypatch):
    """A person at a terminal, who types what is given."""
    from typer.testing import CliRunner

    from mlsys.cli import new as module
    from mlsys.cli.command import app

    monkeypatch.setattr(module, "_at_terminal", lambda: True)
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    return lambda typed, *arguments: CliRunner().invoke(app, ["new", *map(str, arguments)], input=typed)


def test_a_person_is_asked_and_may_say_no(tmp_path, table, terminal):
    done = terminal("n\n", tmp_path / "p", "--data", table)
    assert done.exit_code == 1 and "Make it?" in done.output and list(tmp_path.iterdir()) == []
    assert terminal("\n", tmp_path / "p", "--data", table).exit_code == 0 and (tmp_path / "p" / "dvc.yaml").is_file()


def test_a_person_chooses_where_nothing_is_clear(tmp_path, terminal):
    path = tmp_path / "vague.csv"
    path.write_text("a,b,c\n" + "".join(f"{i % 2},{i // 2 % 2},{i // 4 % 2}\n" for i in range(80)))
    done = terminal("b\ny\n", tmp_path / "p", "--data", path)
    assert done.exit_code == 0, done.output
    assert "Candidates" in done.output and "target: b " in (tmp_path / "p" / "conf" / "data" / "p.yaml").read_text()


def test_more_than_a_gigabyte_is_not_copied_unasked(tmp_path, monkeypatch, terminal):
    from mlsys.cli import new as module
    from mlsys.core import ConfigError

    path = tmp_path / "large.csv"
    with open(path, "wb") as file:
        file.truncate((1 << 30) + 1)  # a hole: it takes no room
    assert terminal("n\n", tmp_path / "p", "--data", path).exit_code == 1
    monkeypatch.setattr(module, "_at_terminal", lambda: False)
    with pytest.raises(ConfigError, match="--yes"):
        module._large(path, yes=False)
    module._large(path, yes=True)

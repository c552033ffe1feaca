"""What several test folders need: small projects to break, and the real tables where they are at hand."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import settings
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from redis_server import redis_server  # noqa: F401, a fixture

settings.register_profile("unhurried", deadline=None)  # a busy machine is not a defect
settings.load_profile("unhurried")

REPO = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def repo():
    """The repository's folder."""
    return REPO


@pytest.fixture(scope="session")
def real_data():
    """The folder with the real tables, from the environment variable MLSYS_REAL_DATA."""
    folder = os.environ.get("MLSYS_REAL_DATA", "")
    if not folder:
        pytest.skip("MLSYS_REAL_DATA is not set: the real tables are not part of the repository")
    path = Path(folder) if Path(folder).is_absolute() else REPO / folder
    assert path.is_dir(), f"MLSYS_REAL_DATA={folder} is not a folder"
    return path.resolve()


def run(command, cwd, **environment):
    """Run a command of this environment in a folder; return the finished process with its text."""
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True, timeout=600
    )


def make_once(tmp_path_factory, name, make):
    """Call `make(folder)` once however many workers run the tests, and return a copy of the folder for this worker's own."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    first, made = shared / "once" / name, shared / f"{name}.made"
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(first, ignore_errors=True)
            make(first)
            made.touch()
    return shutil.copytree(first, tmp_path_factory.mktemp("own") / name, symlinks=True)


class Project:
    """A project in a folder of its own, with the repository's conf/ and one tiny stage."""

    PARAMETERS = "share: float = 0.5  # a share, 0 to 1\nseed: int = 0  # the seed"
    OPEN = "from mlsys.pipeline.stage import open_stage\nstage = open_stage('tiny', globals())"

    def __init__(self, root):
        self.root = root
        (root / "nbs" / "stages").mkdir(parents=True)
        (root / "dvc.yaml").write_text("stages: {}\n")
        shutil.copytree(REPO / "conf", root / "conf", ignore=shutil.ignore_patterns("__pycache__"))
        with open(root / "conf" / "stages.yaml", "a") as file:
            file.write("\ntiny:\n  share: 0.25\n  seed: ${seed}\n")
        self.compose()

    def compose(self, *overrides):
        """Write params.yaml."""
        from mlsys.pipeline.config import compose, write_params

        return write_params(compose(overrides, self.root), self.root)

    def notebook(self, *cells, parameters=PARAMETERS, tags=("parameters",), name="tiny"):
        """Write the stage's notebook: a heading, the parameters, the opening line, and the cells given."""
        first = new_code_cell(parameters, metadata={"tags": list(tags)} if tags else {})
        body = [new_code_cell(cell) for cell in [self.OPEN.replace("tiny", name), *cells]]
        path = self.root / "nbs" / "stages" / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=[new_markdown_cell("# tiny"), first, *body]), path)
        return path

    def run(self, *arguments):
        """Call the command line in the project."""
        return run(["mlsys", *arguments], self.root)


@pytest.fixture
def project(tmp_path):
    """A project with one tiny stage."""
    return Project(tmp_path / "project")


@pytest.fixture
def write(tmp_path):
    """A function that writes text or bytes to a file of the test's own folder and returns its path."""

    def write_file(content, name="loans.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file

"""The strict runner: what it refuses, what it keeps, what it says."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import nbformat
import pytest
from conftest import BIN

from mlsys.core import ConfigError, StageError
from mlsys.pipeline.runner import drop_old_points, run_stage
from mlsys.pipeline.summary import stage_keys
from mlsys.site.layout import stage_pages

MARK = "import pathlib; pathlib.Path('ran').touch()"


def test_runs_with_the_pipelines_values(project):
    project.notebook("stage.output('x.txt').write_text(str(share)); stage.write_metrics({'b': share / 3, 'a': 1})")
    done = project.run("run", "tiny")
    assert done.returncode == 0, done.stderr
    assert (project.root / "artifacts/tiny/x.txt").read_text() == "0.25"
    assert (project.root / "reports/metrics/tiny.json").read_text() == '{\n  "a": 1,\n  "b": 0.0833333\n}\n'
    executed = nbformat.read(project.root / "reports/notebooks/tiny.ipynb", as_version=4)
    nbformat.validate(executed)
    assert "share = 0.25" in executed.cells[2].source


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("share: 0.25", "shre: 0.25"), r"shre.*Did you mean share"),
        (lambda text: text.replace("share: 0.25", "share: 'much'"), r"tiny\.share: received 'much'; allowed: a value of type float"),
        (lambda text: text.replace("share: 0.25", "share: '0.25'"), r"tiny\.share: received '0\.25'"),
        (lambda text: text.replace("share: 0.25", "share: true"), r"tiny\.share: received True"),
        (lambda text: text.replace("  share: 0.25\n", ""), r"tiny\.share: received None.*conf/"),
    ],
)
def test_wrong_parameters_stop_before_the_first_cell(project, change, words):
    project.notebook(MARK)
    stages = project.root / "conf" / "stages.yaml"
    stages.write_text(change(stages.read_text()))
    project.compose()
    done = project.run("run", "tiny")
    assert done.returncode == 2
    assert re.search(words, done.stderr, re.DOTALL), done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.root / "ran").exists() and not (project.root / "artifacts").exists()


@pytest.mark.parametrize("tags", [(), ("parameter",), ("Parameters",)])
def test_a_missing_tag_stops_before_the_first_cell(project, tags):
    project.notebook(MARK, tags=tags)
    done = project.run("run", "tiny")
    assert done.returncode == 2 and "0 cells tagged 'parameters'" in done.stderr
    assert not (project.root / "ran").exists()


def test_two_tagged_cells_stop_before_the_first_cell(project):
    path = project.notebook(MARK)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[3].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, path)
    done = project.run("run", "tiny")
    assert done.returncode == 2 and "2 cells tagged" in done.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("share = 0.5", "name: type = default"),
        ("share: float = 'x'", "default of share"),
        ("share: dict = {}", "list[str]"),
        ("share: float = float('inf')", "a literal value"),
        ("share: float = 1.0\nshare: float = 2.0", "each parameter once"),
        ("share: float = (", "valid Python"),
    ],
)
def test_the_parameters_cell_is_a_signature(project, line, words):
    project.notebook(MARK, parameters=line)
    with pytest.raises(ConfigError, match=re.escape(words)):
        run_stage("tiny", root=project.root)


def test_a_stale_params_file_names_the_cure(project):
    project.notebook(MARK)
    with open(project.root / "conf" / "stages.yaml", "a") as file:
        file.write("# a comment is enough: it could be a package line\n")
    done = project.run("run", "tiny")
    assert done.returncode == 2 and "mlsys compose" in done.stderr and "stale" in done.stderr
    project.compose()
    assert project.run("run", "tiny").returncode == 0


def test_a_failing_cell_is_explained_and_kept(project):
    project.notebook("print('before')", "values = {}\n\nvalues['missing']", "print('after')")
    done = project.run("run", "tiny")
    assert done.returncode == 1
    assert "nbs/stages/tiny.ipynb, cell 5 of 6, line 3:\n    values['missing']\nKeyError: 'missing'" in done.stderr
    assert "Traceback" not in done.stderr and "papermill" not in done.stderr
    kept = nbformat.read(project.root / "reports/notebooks/tiny.failed.ipynb", as_version=4)
    outputs = [output for cell in kept.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.output_type for output in outputs] == ["stream", "error"]


def test_an_error_in_the_library_names_its_place(project):
    project.notebook("import json\njson.loads('{')")
    done = project.run("run", "tiny")
    assert "line 2:\n    json.loads('{')" in done.stderr and "raised in" in done.stderr and "decoder.py" in done.stderr


def test_a_syntax_error_is_located(project):
    project.notebook("x = 1\ny = = 2")
    done = project.run("run", "tiny")
    assert done.returncode == 1 and "line 2:\n    y = = 2\nSyntaxError" in done.stderr


def test_a_fault_of_the_input_keeps_exit_code_2(project):
    project.notebook("from mlsys.core import ContractError\nraise ContractError('no such column')")
    done = project.run("run", "tiny")
    assert done.returncode == 2 and "ContractError: no such column" in done.stderr


def test_a_failure_leaves_the_last_complete_run(project):
    project.notebook("stage.output('x.txt').write_text('good')")
    assert project.run("run", "tiny").returncode == 0
    before = (project.root / "reports/notebooks/tiny.ipynb").read_bytes()
    project.notebook("stage.output('x.txt').write_text('bad')", "raise SystemExit(0)")
    assert project.run("run", "tiny").returncode == 1
    assert (project.root / "artifacts/tiny/x.txt").read_text() == "good"
    assert (project.root / "reports/notebooks/tiny.ipynb").read_bytes() == before
    assert not list((project.root / "artifacts").glob(".partial/tiny*"))


def test_status_says_first_that_the_last_run_failed(project):
    (project.root / "dvc.yaml").write_text("stages:\n  tiny:\n    cmd: mlsys run tiny\n")
    project.notebook("stage.output('x.txt').write_text('good')")
    assert project.run("run", "tiny").returncode == 0
    assert "FAILED" not in project.run("status").stdout
    project.notebook("raise KeyError('[bold]income[/bold]')")
    assert project.run("run", "tiny").returncode == 1
    first, second, *_ = project.run("status").stdout.splitlines()
    assert re.fullmatch(r"The last run FAILED at \d{4}-\d\d-\d\d \d\d:\d\d UTC in stage tiny: KeyError: '\[bold\]income\[/bold\]'", first), first
    assert second == "What follows is from the run before."
    assert project.run("run", "tinny").returncode == 2
    assert project.run("status").stdout.startswith(first), "a slip of the pen hides no failure"
    assert project.run("run", "tiny", "other=1").returncode == 2
    assert "in stage tiny/other=1: " in project.run("status").stdout
    project.notebook("stage.output('x.txt').write_text('better')")
    assert project.run("run", "tiny").returncode == 0
    assert "FAILED" in project.run("status").stdout, "another point of the stage has failed, and has not run since"
    (project.root / "reports/timing/failed.json").write_text('{"exit_code": 1, "stage": "tiny"}')  # as older versions wrote it
    assert project.run("status").stdout.startswith("The last run FAILED in stage tiny: its notebook says why\n")
    assert project.run("run", "tiny").returncode == 0
    assert not (project.root / "reports/timing/failed.json").exists() and "FAILED" not in project.run("status").stdout


def test_the_points_of_a_grid_are_spelt_alike_everywhere(project):
    grid = {"matrix": {"tiny": {"share": [0.25, 0.5], "seed": [0, 1]}}}
    (project.root / "dvc.yaml").write_text("stages:\n  tiny:\n    matrix: {}\n    cmd: mlsys run tiny\n  other: {cmd: x}\n")
    (project.root / "params.yaml").write_text(json.dumps(grid))
    points = ["share=0.25,seed=0", "share=0.25,seed=1", "share=0.5,seed=0", "share=0.5,seed=1"]
    assert stage_keys(project.root) == [*(f"tiny/{point}" for point in points), "other"]
    for point in [*points, "share=0.75,seed=0", "seed=0,share=0.25"]:
        (project.root / "artifacts" / "tiny" / point).mkdir(parents=True)
    drop_old_points(project.root, grid)
    assert sorted(item.name for item in (project.root / "artifacts/tiny").iterdir()) == sorted(points)
    project.notebook(MARK)
    for point in [*points, "share=0.75,seed=0"]:
        copy = project.root / "reports" / "notebooks" / "tiny" / f"{point}.ipynb"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project.root / "nbs/stages/tiny.ipynb", copy)
    assert [page.source for page in stage_pages(project.root)] == [f"reports/notebooks/tiny/{point}.ipynb" for point in points]


def test_a_killed_run_leaves_the_last_complete_run(project):
    project.notebook("stage.output('x.txt').write_text('good')")
    assert project.run("run", "tiny").returncode == 0
    project.notebook(
        "stage.output('x.txt').write_text('bad'); open('half', 'w').close()", "import time\ntime.sleep(60)"
    )
    process = subprocess.Popen([BIN / "mlsys", "run", "tiny"], cwd=project.root)
    deadline = time.monotonic() + 60
    while not (project.root / "half").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    assert (project.root / "half").exists()
    assert (project.root / "artifacts/tiny/x.txt").read_text() == "good"
    project.notebook("stage.output('x.txt').write_text('new')")
    assert project.run("run", "tiny").returncode == 0
    assert (project.root / "artifacts/tiny/x.txt").read_text() == "new"
    assert not list((project.root / "artifacts").glob(".partial/tiny*"))


def test_equal_inputs_give_equal_files(project):
    cells = [
        "import random, numpy as np, uuid\nprint(random.random(), np.random.rand(), {'b', 'a', 'c'}, object())",
        "import pandas as pd\npd.DataFrame({'a': [1.5]}).style.format('{:.1f}')",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
        "import warnings; warnings.warn('careful')",
        "stage.output('x.txt').write_text(str(np.random.rand()))",
    ]
    project.notebook(*cells)
    files = []
    for _ in range(2):
        assert project.run("run", "tiny").returncode == 0
        files.append([(project.root / name).read_bytes() for name in ("reports/notebooks/tiny.ipynb", "artifacts/tiny/x.txt")])
    assert files[0] == files[1]
    assert str(project.root).encode() not in files[0][0]


def test_rich_outputs_are_kept(project):
    project.notebook(
        "from IPython.display import display, Markdown\nhandle = display(Markdown('a'), display_id='x')",
        "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])",
        "import sys\nprint('out'); print('err', file=sys.stderr)\n1 + 1",
        "%time 1",
    )
    assert project.run("run", "tiny").returncode == 0
    cells = nbformat.read(project.root / "reports/notebooks/tiny.ipynb", as_version=4).cells[4:]
    assert cells[0].outputs[0].data["text/markdown"] == "a"
    assert "image/png" in cells[1].outputs[0].data
    assert [output.output_type for output in cells[2].outputs] == ["stream", "stream", "execute_result"]


def test_torch_is_seeded_when_it_is_imported(project):
    project.notebook("import torch\nstage.output('x.txt').write_text(str(torch.rand(3).tolist()))")
    drawn = []
    for _ in range(2):
        assert project.run("run", "tiny").returncode == 0
        drawn.append((project.root / "artifacts/tiny/x.txt").read_text())
    assert drawn[0] == drawn[1]


def test_a_grid_needs_its_point(project):
    with open(project.root / "conf" / "stages.yaml", "a") as file:
        file.write("  tiny:\n    share: [0.1, 0.2]\n")
    text = (project.root / "conf" / "stages.yaml").read_text()
    moved = text.replace("  tiny:\n    share: [0.1, 0.2]\n", "").replace("  share: 0.25\n", "")
    moved = moved.replace("matrix:\n", "matrix:\n  tiny:\n    share: [0.1, 0.2]\n")
    (project.root / "conf" / "stages.yaml").write_text(moved)
    project.compose()
    project.notebook("stage.output('x.txt').write_text(str(share))")
    done = project.run("run", "tiny")
    assert done.returncode == 2 and "mlsys run tiny share=0.1" in done.stderr
    assert project.run("run", "tiny", "share=0.2").returncode == 0
    assert (project.root / "artifacts/tiny/share=0.2/x.txt").read_text() == "0.2"
    assert (project.root / "reports/notebooks/tiny/share=0.2.ipynb").is_file()
    assert project.run("run", "tiny", "share=much").returncode == 2
    assert project.run("run", "tiny", "shre=0.1").returncode == 2


def test_by_hand_the_pipelines_values_win_and_outputs_stay_apart(project, monkeypatch):
    from mlsys.pipeline.stage import open_stage

    folder = project.root / "nbs" / "stages"
    monkeypatch.chdir(folder)
    namespace = {"share": 0.5, "seed": 0}
    stage = open_stage("tiny", namespace)
    assert namespace["share"] == 0.25
    stage.output("x.txt").write_text("by hand")
    assert not (project.root / "artifacts" / "tiny").exists()
    with pytest.raises(StageError, match="dvc repro earlier"):
        stage.input("earlier/table.parquet")


def test_an_unknown_stage_names_the_nearest(project):
    project.notebook()
    done = project.run("run", "tny")
    assert done.returncode == 2 and "Did you mean tiny" in done.stderr


def test_a_broken_notebook_file_is_named(project):
    project.notebook().write_text("{")
    done = project.run("run", "tiny")
    assert done.returncode == 2 and "tiny.ipynb" in done.stderr and "Traceback" not in done.stderr


def test_the_time_is_noted_apart_from_the_outputs(project):
    project.notebook()
    assert project.run("run", "tiny").returncode == 0
    noted = json.loads((project.root / "reports/timing/tiny.json").read_text())
    assert noted["seconds"] > 0 and noted["finished"].endswith("+00:00")


def test_two_runs_of_a_stage_wait_for_each_other(project):
    """A killed `dvc repro` leaves its stage running; the next run must not mix files with it."""
    wait = "import time, pathlib\nfor _ in range(1200):\n    time.sleep(0 if pathlib.Path('go').exists() else 0.05)"
    project.notebook("stage.output('a.txt').write_text('a'); open('begun', 'w').close()", wait, "stage.output('b.txt').write_text('b')")

    def until(is_true):
        deadline = time.monotonic() + 60
        while not is_true() and time.monotonic() < deadline:
            time.sleep(0.02)

    said = project.root / "said.txt"
    with open(said, "w") as words:
        first = subprocess.Popen([BIN / "mlsys", "run", "tiny"], cwd=project.root, stdout=subprocess.DEVNULL)
        until((project.root / "begun").exists)
        second = subprocess.Popen([BIN / "mlsys", "run", "tiny"], cwd=project.root, stdout=subprocess.DEVNULL, stderr=words)
        until(lambda: "waiting for another run" in said.read_text())
        (project.root / "go").touch()
        assert first.wait(timeout=60) == 0 and second.wait(timeout=60) == 0
    assert "waiting for another run" in said.read_text()
    assert {path.name for path in (project.root / "artifacts/tiny").iterdir()} == {"a.txt", "b.txt"}


def test_a_point_outside_the_grid_is_refused(project):
    project.notebook()
    done = project.run("run", "tiny", "share=0.9")
    assert done.returncode == 2 and "it has none" in done.stderr


def test_outputs_stay_inside(project):
    for name in ("../x.txt", str(project.root / "x.txt")):
        project.notebook(f"stage.output({name!r}).write_text('')")
        done = project.run("run", "tiny")
        assert done.returncode == 2 and "stays inside" in done.stderr
        assert not (project.root / "x.txt").exists()


def test_two_styled_tables_keep_two_names(project):
    project.notebook("import pandas as pd\ndisplay(pd.DataFrame({'a': [1]}).style, pd.DataFrame({'a': [2]}).style)")
    assert project.run("run", "tiny").returncode == 0
    text = (project.root / "reports/notebooks/tiny.ipynb").read_text()
    assert {"T_00000", "T_00001"} == set(re.findall(r"T_[0-9a-f]{5}", text))


def test_a_stage_that_stops_measuring_leaves_no_old_metrics(project):
    project.notebook("stage.write_metrics({'a': 1})")
    assert project.run("run", "tiny").returncode == 0
    project.notebook("1")
    assert project.run("run", "tiny").returncode == 0
    assert not (project.root / "reports/metrics/tiny.json").exists()

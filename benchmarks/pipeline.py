"""The runner beside papermill: one empty stage, and twelve under `dvc repro`.

    python benchmarks/pipeline.py [--repeat 5]

Both run the same notebooks in the same project on the same machine, one after the other. `mlsys` is `mlsys run STAGE` with all its checks;
`papermill` is the papermill command with a kernel; `true` is a command that does nothing, which shows what DVC itself needs.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook
from rich.console import Console
from rich.progress import track
from rich.table import Table

REPO = Path(__file__).resolve().parents[1]
STAGES = [f"stage{number:02}" for number in range(1, 13)]
COMMANDS = {
    "mlsys": "mlsys run {name}",
    "papermill": "papermill --no-progress-bar --log-level ERROR nbs/stages/{name}.ipynb reports/{name}.ipynb -k python3",
    "true": "true",
}


def call(command, folder):
    """Run a command to its end and return its seconds; stop where it fails."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    begun = time.perf_counter()
    done = subprocess.run(command, shell=True, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command} failed:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - begun


def make_project(folder):
    """Write a project with twelve trivial notebooks."""
    (folder / "nbs" / "stages").mkdir(parents=True)
    (folder / "reports").mkdir()
    shutil.copytree(REPO / "conf", folder / "conf", ignore=shutil.ignore_patterns("__pycache__"))
    with open(folder / "conf" / "stages.yaml", "a") as file:
        for name in STAGES:
            file.write(f"\n{name}:\n  seed: ${{seed}}\n")
            cells = [new_code_cell("seed: int = 0  # the seed", metadata={"tags": ["parameters"]}), new_code_cell("1 + 1")]
            nbformat.write(new_notebook(cells=cells), folder / "nbs" / "stages" / f"{name}.ipynb")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    call("git init --quiet && dvc init --quiet && mlsys compose", folder)


def write_pipeline(folder, kind):
    """Write a dvc.yaml whose twelve stages run the same command."""
    text = "stages:\n"
    for name in STAGES:
        text += f"  {name}:\n    cmd: '{COMMANDS[kind].format(name=name)}'\n    deps:\n      - nbs/stages/{name}.ipynb\n"
    (folder / "dvc.yaml").write_text(text)
    (folder / "dvc.lock").unlink(missing_ok=True)


def main():
    """Measure, and print a table of medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5, help="how often each command is timed; the median counts")
    repeat = max(1, parser.parse_args().repeat)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder)
        one, twelve = {kind: [] for kind in COMMANDS}, {kind: [] for kind in COMMANDS}
        python = []
        for _ in track(range(repeat), description="one empty stage"):
            python.append(call(f"{sys.executable} -c pass", folder))
            for kind, command in COMMANDS.items():
                one[kind].append(call(command.format(name=STAGES[0]), folder))
        for _ in track(range(max(1, repeat // 2)), description="dvc repro over twelve"):
            for kind in COMMANDS:
                write_pipeline(folder, kind)
                twelve[kind].append(call("dvc repro --quiet", folder))
        nothing = [call("dvc repro --quiet", folder) for _ in range(2)]
    table = Table("command", "one empty stage, s", "over python, s", "dvc repro of 12, s", "of papermill's")
    base = statistics.median(python)
    for kind in COMMANDS:
        single, dozen = statistics.median(one[kind]), statistics.median(twelve[kind])
        ratio = dozen / statistics.median(twelve["papermill"])
        table.add_row(kind, f"{single:.2f}", f"{single - base:.2f}", f"{dozen:.1f}", f"{ratio:.2f}")
    Console().print(table)
    print(f"dvc repro with nothing to do: {statistics.median(nothing):.1f} s; an empty Python process: {base:.3f} s")


if __name__ == "__main__":
    main()

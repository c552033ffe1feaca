"""`mlsys new` on every published table: green with no edit by hand, or stopped by a true finding that a person then decides on."""

import importlib.util
import sys

import pytest
import yaml
from conftest import REPO

SPEC = importlib.util.spec_from_file_location("benchmark_new", REPO / "benchmarks" / "new.py")
benchmark = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = benchmark
SPEC.loader.exec_module(benchmark)


def exclude(folder, columns):
    """Do what a person does who agrees with a finding: name the columns in data.exclude, and compose."""
    path = folder / "conf" / "data" / f"{folder.name}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["exclude"] = [*content["exclude"], *columns]
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    composed = benchmark.call(["mlsys", "compose", *benchmark.OVERRIDES], folder)
    assert composed.returncode == 0, composed.stderr


@pytest.mark.parametrize("case", benchmark.CASES, ids=lambda case: case.name)
def test_a_project_runs_or_stops_with_a_true_finding(real_data, tmp_path, case):
    folder = tmp_path / case.name
    outcome = benchmark.try_table(case, real_data, folder)
    if not case.leaks:
        assert outcome.state == "green", outcome.words
        return
    assert outcome.state == "finding", outcome.words
    assert outcome.words.startswith("audit:") and all(name in outcome.words for name in case.leaks), outcome.words
    if case.name not in ("bike_sharing", "taxi_payment"):
        return  # the whole way after a decision is gone once for a quantity and once for classes
    exclude(folder, [*case.leaks, *case.also])
    done = benchmark.call(["mlsys", "repro"], folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "artifacts" / "select" / "card.md").is_file()

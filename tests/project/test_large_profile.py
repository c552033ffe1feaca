"""A project of a file that is too large to be held: the profile that samples it, what keeps it, and how many rows are drawn."""

import shutil

import numpy as np
import pandas as pd
import pyarrow
import pytest
import yaml

from mlsys.core import read_json
from mlsys.data.source import SAMPLE_CELLS, Sampler, sample_source
from mlsys.pipeline import plan as planning
from mlsys.pipeline.plan import make_plan
from mlsys.pipeline.project import write_files
from mlsys.pipeline.template import RECORD, template_root, upgrade_project


def profile_of(root):
    """Return the option of conf/profile that a project composes with."""
    return next(item["profile"] for item in yaml.safe_load((root / "conf/config.yaml").read_text())["defaults"] if isinstance(item, dict) and "profile" in item)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"size": rng.normal(size=400).round(3), "kind": rng.choice(["a", "b"], 400), "late": rng.integers(0, 2, 400)})
    path = tmp_path_factory.mktemp("large") / "orders.csv"
    table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("limit, expected", [(100, "large"), (1 << 28, "full")])
def test_the_size_of_the_file_decides_the_profile_and_an_upgrade_keeps_it(file, tmp_path, monkeypatch, limit, expected):
    monkeypatch.setattr(planning, "WHOLE_BYTES", limit)
    plan = make_plan(tmp_path / "p", file, target="late", time="none", entity="none", sensitive=[])
    write_files(tmp_path / "p", plan)
    assert plan.profile == profile_of(tmp_path / "p") == read_json(tmp_path / "p" / RECORD)["profile"] == expected
    assert any("profile=large" in note for note in plan.notes) == (expected == "large")
    source = tmp_path / "newer"
    for name in ("template", "nbs/stages", "nbs/_static", "conf"):
        shutil.copytree(template_root() / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", ".dvcignore", ".gitattributes", ".gitignore", ".pre-commit-config.yaml"):
        shutil.copy(template_root() / name, source / name)
    assert upgrade_project(tmp_path / "p", source).replaced == []
    config = source / "conf/config.yaml"
    config.write_text(config.read_text() + "# a newer line\n")
    assert upgrade_project(tmp_path / "p", source).replaced == ["conf/config.yaml"]
    assert "a newer line" in (tmp_path / "p/conf/config.yaml").read_text() and profile_of(tmp_path / "p") == expected


def test_a_test_file_alone_can_ask_for_the_profile(file, tmp_path, monkeypatch):
    rows = file.read_text().splitlines(keepends=True)
    small, long = tmp_path / "small.csv", tmp_path / "long.csv"
    small.write_text("".join(rows[:101]))
    long.write_text("".join(rows))
    monkeypatch.setattr(planning, "WHOLE_BYTES", (small.stat().st_size + long.stat().st_size) // 2)
    chosen = {test.stem: make_plan(tmp_path / "p", small, test=test, target="late", time="none", entity="none", sensitive=[]).profile for test in (small, long)}
    assert chosen == {"small": "full", "long": "large"}


@pytest.mark.parametrize("columns, expected", [(1, 500), (3, 333), (10, 100), (2000, 1)])
def test_cells_decide_how_many_rows_are_drawn(columns, expected):
    sampler = Sampler(500, 0, max_cells=1000)
    for start in range(0, 3000, 700):
        piece = np.arange(start, min(start + 700, 3000))
        sampler.add(pyarrow.table({f"c{k}": piece for k in range(columns)}))
    table, places = sampler.table()
    assert sampler.rows == 3000 and table.num_rows == len(places) == expected
    assert places.tolist() == sorted(set(places.tolist())) == table.column("c0").to_pylist()


def test_a_table_of_usual_width_is_sampled_as_asked(file):
    table, report = sample_source(file, 50)
    assert len(table) == 50 and report["rows"] == 400 and SAMPLE_CELLS // 200 == 200_000

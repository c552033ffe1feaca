"""The stage featurize, on tables and declarations of a project of one's own."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import REPO

VIEW = {"name": "visits", "entity": "shopper", "source": "shops/visits.parquet", "event_time": "at", "known": "1 day",
        "features": [{"function": "mean", "column": "pages", "windows": ["7d", "unbounded"]}, {"function": "last", "column": "device"}]}
SETTINGS = ["data.name=small", "data.path=orders.csv", "data.test_path=", "data.target=returned", "data.positive_label=yes", "data.time=ordered", "data.group=", "data.sensitive=[]",
            "data.exclude=[]", "data.contract=conf/contract/none.yaml", "data.label_delay_days=0"]


@pytest.fixture
def shop(project):
    """A project with orders, visits in another table, and the first three stages."""
    for name in ("prepare", "label", "featurize"):
        shutil.copy(REPO / "nbs" / "stages" / f"{name}.ipynb", project.root / "nbs" / "stages")
    generator = np.random.default_rng(0)
    orders = pd.DataFrame({"shopper": generator.integers(0, 40, 300), "ordered": pd.date_range("2026-01-01", periods=300, freq="4h"), "amount": generator.normal(50, 10, 300),
                           "returned": np.where(generator.random(300) < 0.3, "yes", "no")})
    orders.to_csv(project.root / "orders.csv", index=False)
    (project.root / "shops").mkdir()
    project.visits = pd.DataFrame({"shopper": generator.integers(0, 30, 500), "at": pd.date_range("2026-01-01", periods=500, freq="2h"), "pages": generator.integers(1, 9, 500),
                                   "device": generator.choice(["phone", "desk"], 500)})
    project.visits.to_parquet(project.root / "shops" / "visits.parquet", index=False)
    project.orders = orders
    return project


def run(project, declared, *overrides):
    """Declare features, run the stages, and return what the last one did."""
    (project.root / "conf" / "features" / "shop.yaml").write_text(json.dumps({"defaults": ["none"], **declared}))
    project.compose(*SETTINGS, "features=shop", *overrides)
    for stage in ("prepare", "label", "featurize"):
        done = project.run("run", stage)
        if done.returncode:
            break
    return done


def read(project):
    """Return the table, the roles and the metrics that the stage wrote."""
    folder = project.root / "artifacts" / "featurize"
    metrics = json.loads((project.root / "reports" / "metrics" / "featurize.json").read_text())
    return pd.read_parquet(folder / "table.parquet"), json.loads((folder / "roles.json").read_text()), metrics, (folder / "known.txt").read_text().splitlines()


def test_features_become_inputs_and_keys_do_not(shop):
    declared = {"views": [VIEW], "expressions": {"pages_ratio": "pages_mean_7d / pages_mean"}, "keep": ["shopper"]}
    done = run(shop, declared, "features.status=true")
    assert done.returncode == 0, done.stderr
    table, roles, metrics, known = read(shop)
    assert "shopper" not in table.columns and "shopper" not in roles["numeric"]
    assert roles["numeric"] == ["amount", "pages_mean_7d", "pages_mean", "pages_ratio"] and roles["categorical"] == ["device_last", "visits__status"]
    assert metrics["rows"] == len(table) == 300 and sum(metrics["status"]["visits"].values()) == 300 and metrics["features"] == 4
    assert known[0] == '"pages_mean_7d" = visits__known_at' and known[-1] == '"pages_ratio" = features__known_at'
    seen = shop.visits.assign(known=shop.visits["at"] + pd.Timedelta(days=1))
    for place in (10, 150, 299):
        order = shop.orders.iloc[place]
        mine = seen[(seen["shopper"] == order["shopper"]) & (seen["known"] <= order["ordered"])]
        assert table["pages_mean"].iloc[place] == pytest.approx(mine["pages"].mean(), nan_ok=True)


def test_a_table_without_features_passes_as_it_is(shop):
    assert run(shop, {}).returncode == 0
    table, roles, metrics, known = read(shop)
    pd.testing.assert_frame_equal(table, pd.read_parquet(shop.root / "artifacts" / "label" / "table.parquet"))
    assert roles == json.loads((shop.root / "artifacts" / "label" / "roles.json").read_text()) and metrics["features"] == 0 and known == []


FAULTS = {
    "a source that is not there": ({"views": [{**VIEW, "source": "shops/visit.parquet"}], "keep": ["shopper"]}, [], "visits.parquet"),
    "an entity that nobody kept": ({"views": [{**VIEW, "entity": "customer"}]}, [], "customer"),
    "a column that the source lacks": ({"views": [{**VIEW, "features": ["page"]}], "keep": ["shopper"]}, [], "Did you mean pages"),
    "a table without a clock": ({"views": [VIEW], "keep": ["shopper"]}, ["data.time="], "data.time"),
    "an expression of something unknown": ({"views": [VIEW], "expressions": {"share": "pages_mean / amnt"}, "keep": ["shopper"]}, [], "Did you mean amount"),
    "an engine that is not there": ({"views": [VIEW], "keep": ["shopper"]}, ["engine.name=dask"], "dask"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_right_stops_the_stage_in_a_sentence(shop, fault):
    declared, overrides, words = FAULTS[fault]
    try:
        done = run(shop, declared, *overrides)
    except Exception as error:  # refused when the configuration is put together
        assert words in str(error)
        return
    assert done.returncode in (1, 2) and words in done.stderr and "Traceback" not in done.stderr, done.stderr

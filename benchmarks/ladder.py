"""What each rung of the ladder costs, saves and asks for, on real tables.

    MLSYS_REAL_DATA=DIR python benchmarks/ladder.py [adult] [german_credit] [--trials 3]

DIR holds adult/adult.data, adult/adult.test and german_credit/german.data. Everything is as in conf/: costs, split, settings, search, calibration, tolerance. Cost and AUC are those of the test rows, with 95 %
intervals; what a rung saves against the one below, and which is chosen, is decided on the validation rows.
"""

import argparse
import os
import tempfile
import warnings
from pathlib import Path
from time import perf_counter

import pandas as pd
from rich.console import Console
from rich.table import Table

from mlsys.data.query import derive_columns
from mlsys.data.source import read_tables
from mlsys.data.split import split_table
from mlsys.data.table import prepare_table
from mlsys.evaluate.latency import measure_latency
from mlsys.evaluate.measure import measure
from mlsys.evaluate.practice import dependent_rows
from mlsys.evaluate.scorecard import format_interval
from mlsys.models.ladder import choose_simplest, step_table
from mlsys.models.persistence import save_models
from mlsys.models.rung import describe_rung, fit_rung, make_rung, predictions_of, rung_names
from mlsys.models.tune import tune_rung
from mlsys.objective.problem import make_costs
from mlsys.pipeline.config import compose

DATA = Path(os.environ.get("MLSYS_REAL_DATA", "data")).resolve()
TABLES = {
    "adult": ["data=adult", f"data.path={DATA}/adult/adult.data", f"data.test_path={DATA}/adult/adult.test"],
    "german_credit": ["data=german_credit", f"data.path={DATA}/german_credit/german.data"],
}
READING = ("query", "encoding", "delimiter", "has_header", "decimal", "columns", "missing_values")
PREPARING = ("target", "positive_label", "problem", "cost_columns", "time", "group", "sensitive", "exclude", "sensitive_as_features", "label_delay_days", "rows_in_time_order")


def parts_of(params):
    """Read, prepare and divide a table as the stages do."""
    prepare, split = params["prepare"], params["split"]
    files = [name for name in (prepare["path"], prepare["test_path"]) if name]
    source, _ = read_tables(*files, **{key: prepare[key] for key in READING})
    prepared = prepare_table(derive_columns(source, prepare["derive"]), **{key: prepare[key] for key in PREPARING})
    return prepared.roles, split_table(prepared.table, prepared.roles, split["method"], test_share=split["test_share"], validation_share=split["validation_share"], seed=split["seed"])


def fitted_rungs(params, roles, train):
    """Tune and fit every candidate; give models, seconds and what the search said."""
    baseline, larger = params["baseline"], params["train"]
    settings = {name: {"inverse_regularisation": baseline["inverse_regularisation"], "logistic_max_iter": baseline["max_iter"]} for name in ("logistic", "linear")}
    settings |= {"boosted": {key: larger[key] for key in ("learning_rate", "max_iter", "max_leaf_nodes", "min_samples_leaf", "l2")},
                 "network": {key: larger[f"network_{key}"] for key in ("hidden", "epochs", "learning_rate", "weight_decay")}}
    models, seconds, said = {}, {}, []
    for name in rung_names(roles.problem, larger["candidates"]):
        chosen = {}
        if name in settings:
            found = tune_rung(name, train, roles, larger["costs"], settings[name], larger["search"], n_trials=larger["trials"], n_folds=2, seed=larger["seed"])
            chosen = found.settings
            said.append(found.reason)
        costs, begun = make_costs(larger["costs"], roles, train), perf_counter()
        models[name] = fit_rung(make_rung(name, roles, costs, seed=larger["seed"], calibration=larger["calibration"], **chosen), train, roles, costs)
        seconds[name] = perf_counter() - begun
    return models, seconds, said


def main():
    """Print one table for each data set."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; all by default")
    parser.add_argument("--trials", type=int, default=3, help="settings to draw for each rung")
    asked, console = parser.parse_args(), Console(width=200)
    for name in asked.tables or TABLES:
        params = compose([*TABLES[name], f"profile.trials={asked.trials}"])
        roles, parts = parts_of(params)
        models, seconds, said = fitted_rungs(params, roles, parts.train)
        train = params["train"]
        prices = {part: make_costs(train["costs"], roles, getattr(parts, part)) for part in ("validation", "test")}
        scores = {rung: predictions_of(model, parts.validation, roles, prices["validation"]) for rung, model in models.items()}
        choice = choose_simplest(parts.validation[roles.target], scores, prices["validation"], train["tolerance"], n_bootstrap=train["n_bootstrap"], seed=train["seed"], units=dependent_rows(parts.validation, roles))
        cards = {rung: measure(prices["test"], parts.test[roles.target], predictions_of(model, parts.test, roles, prices["test"]), n_bootstrap=train["n_bootstrap"], seed=train["seed"]) for rung, model in models.items()}
        with tempfile.TemporaryDirectory() as folder:
            records = save_models(models, Path(folder, "models.json"), {rung: describe_rung(rung, model, roles) for rung, model in models.items()})
            sizes = {rung: Path(folder, record["file"]).stat().st_size for rung, record in records.items()}
        speed = {rung: measure_latency(model, parts.validation[roles.features], 20, 3)["batch_p50_us_per_row"] for rung, model in models.items()}
        steps = step_table(choice, {rung: {"seconds": f"{seconds[rung]:.2f}", "bytes": f"{sizes[rung]:,}", "us a row": f"{speed[rung]:.1f}"} for rung in models})
        skill = {"binary": "auc_roc", "multiclass": "macro_auc", "regression": "r2"}[roles.problem]
        steps.insert(0, "cost of 1,000 test decisions", [format_interval(cards[rung]["cost_per_1000"]) for rung in steps.index])
        steps.insert(1, skill, [format_interval(cards[rung][skill]) for rung in steps.index])
        shown = Table("rung", *steps.columns, title=f"{name}: {len(parts.train):,} training, {len(parts.validation):,} validation, {len(parts.test):,} test rows")
        for rung, row in steps.iterrows():
            shown.add_row(rung, *("" if pd.isna(value) else str(value) for value in row))
        console.print(shown)
        console.print("\n".join([f"Chosen: {choice.reason}", f"The rule: {models['rule'].sentence_}", *said, *(record["description"] for record in records.values())]), soft_wrap=True)


if __name__ == "__main__":
    main()

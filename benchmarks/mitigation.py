"""Gaps between groups before and after each mitigation, and what each costs, on Adult and German credit.

    MLSYS_REAL_DATA=DIR python benchmarks/mitigation.py [constraint]

DIR holds adult/adult.data, adult/adult.test and german_credit/german.data. Tables, prices and limits are those of conf/; the model is the logistic regression of the ladder, and Adult's test rows are those of its own file.
"""

import os
import sys
import warnings
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from mlsys.data.query import derive_columns
from mlsys.data.source import read_tables
from mlsys.data.split import split_table
from mlsys.data.table import prepare_table
from mlsys.evaluate.measure import measure
from mlsys.evaluate.scorecard import format_interval
from mlsys.fairness.evidence import judge_gaps
from mlsys.fairness.problem import assess
from mlsys.fairness.variant import make_variants, variant_answers
from mlsys.models.linear import make_logistic
from mlsys.models.rung import predictions_of
from mlsys.objective.problem import make_costs

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MLSYS_REAL_DATA", "data"))
FILES = {"adult": ("adult/adult.data", "adult/adult.test"), "german_credit": ("german_credit/german.data", "")}
READING = ("query", "delimiter", "has_header", "columns", "missing_values")
PREPARING = ("target", "positive_label", "time", "group", "sensitive", "exclude", "sensitive_as_features", "rows_in_time_order")
PRICES = ("true_positive", "false_positive", "false_negative", "true_negative")


def settings(group, name):
    """Give the values of a file of conf/."""
    return yaml.safe_load((ROOT / "conf" / group / f"{name}.yaml").read_text(encoding="utf-8"))


def ways(name, constraint):
    """Give the roles, the costs of the test rows, the truth, the people and, by way to decide, predictions and decisions."""
    conf, prices = settings("data", name), settings("objective", name)
    table, _ = read_tables(*(DATA / file if file else "" for file in FILES[name]), **{key: conf[key] for key in READING})
    prepared = prepare_table(derive_columns(table, conf["derive"]), **{key: conf[key] for key in PREPARING})
    parts, roles = split_table(prepared.table, prepared.roles, seed=0), prepared.roles
    costs = make_costs([f"{kind} = {prices[f'cost_{kind}']}" for kind in PRICES], roles)
    model = make_logistic(roles).fit(parts.train[roles.features], parts.train[roles.target])
    scores = predictions_of(model, parts.test, roles, costs)
    made = make_variants(model, parts.train, parts.validation, roles, costs, costs, constraint=constraint, min_group_size=settings("fairness", "default")["min_group_size"],
                         max_rows=settings("profile", "full")["profile"]["reduction_rows"], max_iter=settings("profile", "full")["profile"]["reduction_rounds"])
    answers = {key: (answer.predictions, answer.decisions) for way, variant in made.items()
               for key, answer in variant_answers(way, variant, parts.test, roles, costs, scores, parts.validation).items()}
    return roles, costs, parts.test, {"logistic": (scores, costs.decide(scores))} | answers, prices["gates"]


def main(constraint="demographic_parity"):
    """Print a table per data set."""
    warnings.simplefilter("ignore")
    console = Console(width=170)
    for name in FILES:
        roles, costs, test, answers, gates = ways(name, constraint)
        y, people = test[roles.target].to_numpy(), test[roles.sensitive]
        gaps = [f"{gap}:{feature}" for feature in roles.sensitive for gap in ("demographic_parity_difference", "equalized_odds_difference")]
        shown = Table("way to decide", "cost of 1,000", *(gap.replace("_difference", "").replace("_", " ") for gap in gaps), "gates on groups", title=f"{name}: {len(test):,} test rows, {constraint}")
        for way, (predictions, decisions) in answers.items():
            found = assess(y, decisions, sensitive_features=people, costs=costs)
            card = measure(costs, y, predictions, decisions=decisions)
            verdicts = judge_gaps(gates, found.gaps, found.evidence)
            shown.add_row(way, format_interval(card["cost_per_1000"]), *(format_interval(found.gaps[gap]) for gap in gaps), "; ".join(f"{item.verdict}" + (f" (about {item.rows_needed:,} rows in each group)" if item.rows_needed else "") for item in verdicts))
        console.print(shown)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""How often the audit is wrong, and how long it takes.

    python benchmarks/audit.py [--tables 20] [--only errors|time]

Errors: tables are simulated with honest columns of every strength, and with one leak of a known strength beside them. A false alarm is a
standing finding on an honest column; a miss is a leak without a standing finding. Strength is what the column reaches alone: an AUC for
classes, R² for quantities. Time: seconds of one core for tables of 50,000 rows and 50 columns, and of 5,000 columns.
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import norm

from mlsys.data.audit_table import audit_table

STRENGTHS = {"binary": (0.75, 0.8, 0.85, 0.9, 0.95, 0.99), "regression": (0.5, 0.7, 0.9, 0.95, 0.98, 0.999)}


def people(rng, rows):
    """Draw honest inputs, and a risk that they and nobody else can see make."""
    base = rng.normal(size=(rows, 4))
    table = pd.DataFrame({
        "score": base[:, 0] + 0.6 * rng.normal(size=rows), "income": np.exp(10 + 0.5 * base[:, 1]).round(-2), "visits": rng.poisson(np.exp(base[:, 2] / 2)),
        "region": rng.choice(list("abcdef"), rows), "noise": rng.normal(size=rows), "hour": rng.integers(0, 24, rows),
    })
    table.loc[rng.random(rows) < 0.1, "income"] = np.nan
    return table, base @ np.array([1.0, 0.6, 0.4, 0.8]) + 0.5 * np.sin(table["hour"].to_numpy() / 24 * 2 * np.pi)


def honest_binary(rng, rows, strength):
    """Classes from a risk, with one honest column of the strength given that overlaps with the others."""
    table, risk = people(rng, rows)
    y = risk + rng.logistic(size=rows) > np.quantile(risk, 0.8)
    distance = np.sqrt(2) * norm.ppf(strength)
    seen = risk + rng.logistic(size=rows) / 3  # known before: it sees the risk, not the outcome
    spread = (seen[y].mean() - seen[~y].mean()) / distance
    extra = np.sqrt(max(spread**2 - np.var(seen[y]), 0))
    return table.assign(strong=seen + extra * rng.normal(size=rows), y=y.astype(int))


def leaky_binary(rng, rows, strength):
    """Classes, with one column that saw the outcome: its distributions lie as far apart as the strength says."""
    table, risk = people(rng, rows)
    y = risk + rng.logistic(size=rows) > np.quantile(risk, 0.8)
    return table.assign(leak=rng.normal(size=rows) + np.sqrt(2) * norm.ppf(strength) * y, y=y.astype(int))


def honest_regression(rng, rows, strength):
    """A quantity that persists, with its last value known: an honest column of the strength given (R²)."""
    table, risk = people(rng, rows)
    lasting = risk + 2 * rng.normal(size=rows)
    now = lasting + rng.normal(size=rows) * lasting.std() * np.sqrt(1 / np.sqrt(strength) - 1)
    before = lasting + rng.normal(size=rows) * lasting.std() * np.sqrt(1 / np.sqrt(strength) - 1)
    return table.assign(strong=before, y=np.exp(now / 4).round(3))


def leaky_regression(rng, rows, strength):
    """A quantity, with one column that is the quantity and some noise."""
    table, risk = people(rng, rows)
    y = risk + 2 * rng.normal(size=rows)
    return table.assign(leak=y + rng.normal(size=rows) * y.std() * np.sqrt(1 / strength - 1), y=np.exp(y / 4).round(3))


GENERATORS = {"binary": (honest_binary, leaky_binary), "regression": (honest_regression, leaky_regression)}


def rates(problem, strength, tables, rows):
    """Return the share of tables with a false alarm, and the share whose leak is found."""
    honest, leaky = GENERATORS[problem]
    alarms = found = others = 0
    for seed in range(tables):
        alarms += bool(audit_table(honest(np.random.default_rng(seed), rows, strength), "y", seed=seed).standing)
        standing = audit_table(leaky(np.random.default_rng(1000 + seed), rows, strength), "y", seed=seed).standing
        found += any("leak" in finding.columns for finding in standing)
        others += any("leak" not in finding.columns for finding in standing)
    return alarms / tables, found / tables, others / tables


def errors(console, tables, rows):
    """Print how often the audit is wrong."""
    shown = Table(title=f"{tables} tables of {rows:,} rows for each line")
    for name in ("problem", "strength alone", "honest column of this strength: false alarm", "leak of this strength: found", "another column accused beside it"):
        shown.add_column(name, justify="right")
    cases = [(problem, strength) for problem, strengths in STRENGTHS.items() for strength in strengths]
    for problem, strength in track(cases, console=console, transient=True):
        alarms, found, others = rates(problem, strength, tables, rows)
        shown.add_row(problem, f"{'AUC' if problem == 'binary' else 'R²'} {strength}", f"{alarms:.0%}", f"{found:.0%}", f"{others:.0%}")
    console.print(shown)


def times(console):
    """Print seconds of processor time."""
    rng, shown = np.random.default_rng(0), Table(title="processor time of one audit")
    for name in ("table", "seconds"):
        shown.add_column(name, justify="right")
    for rows, columns, texts in ((50_000, 50, 0), (50_000, 50, 15), (20_000, 5_000, 0)):
        X = pd.DataFrame(rng.normal(size=(rows, columns - texts)).round(3), columns=[f"x{j}" for j in range(columns - texts)])
        X = pd.concat([X, pd.DataFrame({f"c{j}": rng.choice([f"v{k}" for k in range(30)], rows) for j in range(texts)})], axis=1)
        X["leak"] = (y := X["x0"] + rng.normal(size=rows) > 1).to_numpy() * 2.5 + rng.normal(size=rows)
        X["y"], begun = y, time.process_time()
        audit_table(X, "y")
        shown.add_row(f"{rows:,} x {columns:,}, {texts} of text", f"{time.process_time() - begun:.1f}")
    console.print(shown)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=20)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--only", choices=("errors", "time"), default=None)
    arguments, console = parser.parse_args(), Console()
    warnings.simplefilter("ignore", category=pd.errors.PerformanceWarning)
    if arguments.only != "time":
        errors(console, arguments.tables, arguments.rows)
    if arguments.only != "errors":
        times(console)


if __name__ == "__main__":
    main()

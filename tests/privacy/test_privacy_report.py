"""The report of private variants on tables of every kind."""
import warnings

import matplotlib
import numpy as np
import pandas as pd
import pytest

from mlsys.core import write_json
from mlsys.data.contract import Contract
from mlsys.data.roles import Roles
from mlsys.models.rung import fit_rung, make_rung, rung_names
from mlsys.objective.problem import make_costs
from mlsys.privacy.accounting import PrivacyWarning
from mlsys.privacy.audit import audit_learner
from mlsys.privacy.budget import statement
from mlsys.privacy.pipeline import describe_privacy, fit_private, private_pipeline, task_of
from mlsys.privacy.report import (
    audit_record,
    check_accountant,
    ledger_of,
    measured_privacy,
    membership_of,
    plot_evidence,
    plot_variants,
    read_reference,
    read_variants,
    variants_markdown,
)

matplotlib.use("Agg")


def make_table(problem, *, has_people=False, n_rows=240):
    rng = np.random.default_rng(0)
    size, place = rng.normal(size=n_rows), rng.choice(["a", "b"], n_rows)
    truth = size + (place == "b") + 0.5 * rng.normal(size=n_rows)
    target = {"binary": (truth > 0.5).astype(int), "multiclass": np.digitize(truth, [0.0, 1.0]), "regression": 10 * truth}[problem]
    classes = {"binary": ["no", "yes"], "multiclass": ["low", "mid", "high"], "regression": []}[problem]
    roles = Roles("target", "yes" if problem == "binary" else "", "", problem=problem, classes=classes, numeric=["size"], categorical=["place"], group="who" if has_people else "")
    return pd.DataFrame({"size": size, "place": place, "target": target, "who": np.arange(n_rows) // 2}), roles


PRICES = {"binary": ["false_positive = 1", "false_negative = 5"], "multiclass": [], "regression": ["under = 3", "over = 1"]}


@pytest.mark.parametrize("problem, has_people", [("binary", True), ("multiclass", False), ("regression", True)])
def test_every_kind_of_table_is_reported(problem, has_people, tmp_path):
    table, roles = make_table(problem, has_people=has_people)
    costs, people = make_costs(PRICES[problem], roles, table), table["who"] if has_people else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyWarning)
        private = fit_private(private_pipeline(["size"], ["place"], {"size": {"min": -4, "max": 4}}, **task_of(roles, Contract({}), costs), target_epsilon=2.0, epochs=5, random_state=0),
                              table[roles.features], table["target"], people)
    name = rung_names(problem)[2]
    plain = fit_rung(make_rung(name, roles, costs), table, roles, costs)
    found = {kind: membership_of(model, table, roles, costs, n_models=4, at_most=160, people=people) for kind, model in (("private", private), (name, plain))}
    assert all(0.25 < attack.auc["value"] < 0.85 for attack in found.values()) and found["private"].n_rows == 160
    learner = private[-1]
    assert check_accountant(learner) <= learner.epsilon_ + 0.01
    ledger = ledger_of(learner, undeclared=private[0].undeclared_, attacked=True)
    said = statement(ledger, describe_privacy(learner, 1e-5) | {"rows_of_one_person_at_most": 2}, learner.epsilon_)
    assert ("each person" if has_people else "each row") in said and ("range of the target" in [entry.what for entry in ledger.entries]) == (problem == "regression")
    audit = audit_learner(learner, n_canaries=60)
    assert audit.lower_bound <= 2.0
    folder, card = tmp_path / "variant", {"mae" if problem == "regression" else "accuracy_at_half": {"value": 1.0, "low": 0.9, "high": 1.1}}
    measured = measured_privacy("private, epsilon 2", audit, found["private"], name, found[name])
    write_json(folder / "models.json", {"private, epsilon 2": {}})
    write_json(folder / "privacy.json", describe_privacy(learner, 1e-5) | audit_record(audit, found["private"]))
    write_json(folder / "scorecard.json", card)
    write_json(folder / "groups.json", {"gaps": {}, "groups": [], f"beside_{name}": []})
    write_json(folder / "measured.json", measured)
    write_json(folder / "reference.json", {"name": name, "card": card, "measured": measured[name]})
    variants, reference = read_variants([folder, tmp_path]), read_reference([tmp_path, folder])
    text = variants_markdown(variants, reference, "private, epsilon 2")
    assert "no promise" in text and f"{audit.lower_bound:.3g}" in text and reference["name"] == name
    draw(lambda axes: plot_variants(axes, variants, reference))
    draw(lambda axes: plot_evidence(axes, audit, found, 0.9))


def draw(into):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1)
    into(axes)
    figure.canvas.draw()
    plt.close(figure)


def test_without_variants_it_says_so(tmp_path):
    assert "No private variant" in variants_markdown(read_variants([tmp_path])) and read_reference([tmp_path]) is None
    draw(lambda axes: plot_variants(axes, []))


@pytest.mark.parametrize("problem, kept", [("binary", lambda table: table["target"].eq(0) | (np.arange(len(table)) < 8)), ("regression", lambda table: np.arange(len(table)) < 30)])
def test_too_few_rows_give_no_figure(problem, kept):
    table, roles = make_table(problem)
    few = table[kept(table)]
    assert membership_of(None, few, roles, None) is None


def test_a_refuted_claim_is_said_aloud(tmp_path):
    variant = {"name": "private, epsilon 1", "privacy": {"epsilon": 1.0, "delta": 1e-5, "noise_multiplier": 5.0, "sample_rate": 0.1, "steps": 200, "audit": {"verdict": "fails"}},
               "card": {}, "measured": {}, "payers": []}
    assert "The audit refutes what is claimed of private, epsilon 1" in variants_markdown([variant])

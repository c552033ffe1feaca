"""The answer on the first page: from the stages' files to the card, the screen, the site and the errors."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mlsys.core import BudgetError, GateError, StageError, write_json
from mlsys.data.roles import Roles
from mlsys.objective.value import Business, yearly_value
from mlsys.pipeline.summary import show
from mlsys.registry.candidate import Candidate, pick
from mlsys.registry.card import CardFacts, cautions, model_card
from mlsys.registry.record import lineage
from mlsys.registry.worth import row_costs, weigh
from mlsys.site.layout import Page, index_pages, worth_text


@pytest.fixture
def folders(tmp_path):
    """What the stages leave about 200 test rows."""
    rng = np.random.default_rng(0)
    made = {name: tmp_path / name for name in ("baseline", "evaluate", "assess")}
    for folder in made.values():
        folder.mkdir()
    rule = rng.normal(5, 2, 200)
    pd.DataFrame({"constant": rule + 1, "rule": rule, "boosted": rule - 1, "today": rule + 0.5}).to_parquet(made["evaluate"] / "costs.parquet", index=False)
    pd.DataFrame({"who": np.repeat(np.arange(100), 2)}).to_parquet(made["evaluate"] / "units.parquet", index=False)
    pd.DataFrame({"mitigated": rule + rng.normal(0, 5, 200)}).to_parquet(made["assess"] / "costs.parquet", index=False)
    return made


def test_every_candidate_is_weighed_on_the_same_rows(folders):
    assert list(row_costs(folders)) == ["constant", "rule", "boosted", "today", "mitigated"]
    business = Business(decisions_per_year=1000)
    assert weigh("boosted", folders, business).verdict == "use the model"
    assert weigh("mitigated", folders, business).use == "rule"
    assert weigh("rule", folders, business).line == "use the rule: no model was chosen"


def test_where_a_rule_was_picked_the_nearest_model_is_weighed(folders, tmp_path):
    folders["train"] = tmp_path / "train"
    rungs = [{"name": "constant", "cost_per_1000": 3.0}, {"name": "rule", "cost_per_1000": 1.0}, {"name": "linear", "cost_per_1000": 0.5}, {"name": "boosted", "cost_per_1000": 1.5}]
    write_json(folders["train"] / "ladder.json", {"chosen": "rule", "rungs": rungs})
    value = weigh("rule", folders, Business(decisions_per_year=1000))
    assert value.model == "boosted" and value.verdict == "use the model"  # linear has no costs on these rows
    assert value.notes[0].startswith("What is registered is the best if-then rule")
    assert weigh("boosted", folders, Business(decisions_per_year=1000)).notes == []


def test_without_sensitive_columns_and_without_units(folders):
    pd.DataFrame().to_parquet(folders["assess"] / "costs.parquet", index=False)
    pd.DataFrame(index=range(200)).to_parquet(folders["evaluate"] / "units.parquet", index=False)
    assert weigh("boosted", folders, Business(decisions_per_year=10)).units == "rows"


def test_other_rows_and_unknown_candidates_are_refused(folders):
    with pytest.raises(StageError, match="candidate in costs.parquet: received 'bosted'.*Did you mean boosted"):
        weigh("bosted", folders, Business(decisions_per_year=10))
    pd.DataFrame({"mitigated": [1.0]}).to_parquet(folders["assess"] / "costs.parquet")
    with pytest.raises(StageError, match="the same test rows in every stage"):
        row_costs(folders)


MEASURED = {"auc_roc": {"value": 0.8, "low": 0.7, "high": 0.9}, "cost_per_1000": {"value": 1.0, "low": 0.0, "high": 2.0}, "bytes": {"value": 9000, "low": 9000, "high": 9000}}
BOOSTED = Candidate("boosted", "train", "boosted.skops", "0" * 64, "trees", MEASURED)


def test_a_candidate_that_is_only_too_large_is_an_error_about_the_budget():
    with pytest.raises(BudgetError, match="boosted: max_bytes: received 9000; allowed: at most 1,000; 9 times the limit"):
        pick([BOOSTED], ["auc_roc >= 0.7", "bytes <= 1000"], "boosted")
    with pytest.raises(GateError, match="fails auc_roc >= 0.95"):
        pick([BOOSTED], ["auc_roc >= 0.95", "bytes <= 1000"], "boosted")
    small = Candidate("logistic", "baseline", "logistic.skops", "1" * 64, "weights", {**MEASURED, "bytes": {"value": 100, "low": 100, "high": 100}})
    assert pick([BOOSTED, small], ["auc_roc >= 0.7", "bytes <= 1000"], "boosted").candidate is small


def test_the_card_opens_with_the_answer_and_names_the_prices(tmp_path):
    choice = pick([BOOSTED], [], "boosted")
    roles = Roles("y", "1", "0", cost_columns=["amount"])
    told = cautions(choice, roles)
    assert any("whoever asks for a decision has to send amount as well" in text for text in told)
    facts = CardFacts(objective="Why.", unit="EUR", cautions=tuple(told))
    card = model_card(choice, [BOOSTED], lineage({}, {}, "0" * 64), replace(facts, worth="**Use the rule.** Because."))
    assert card.index("## Is it worth it?\n\n**Use the rule.**") < card.index("## Intended use")
    assert "worth it" not in model_card(choice, [BOOSTED], lineage({}, {}, "0" * 64), facts)


def test_the_screen_and_the_site_show_the_answer(tmp_path, capsys):
    one = yearly_value({"constant": [3.0], "model": [1.0]}, "model", Business(decisions_per_year=10, unit="EUR"))
    folder = tmp_path / "artifacts" / "select"
    assert worth_text(tmp_path) == ""
    write_json(folder / "value.json", one.to_dict())
    write_json(folder / "summary.json", {"chosen": "model", "candidates": []})
    write_json(folder / "gates.json", {"model": []})
    show(tmp_path)
    screen = capsys.readouterr().out
    assert "Is it worth it?  not enough evidence: model +20 EUR a year [unknown, unknown] against one answer for all" in screen
    stage = Page("pipeline/select", "reports/notebooks/select.ipynb", "select")
    listed = index_pages([stage], worth_text(tmp_path))["pipeline/index"]
    assert "**Is it worth it? Not enough evidence.** `model` gains 20 EUR a year" in listed
    assert "worth" not in index_pages([stage])["pipeline/index"]
    assert json.loads((folder / "value.json").read_text())["gain"]["low"] is None


def test_a_sensitive_price_is_refused():
    with pytest.raises(Exception, match="a sensitive price would decide by who the person is"):
        Roles("y", "1", "0", sensitive=["age"], cost_columns=["age"])
